//! CMDSCRIPT: as a command to run, and what is said about its end.

use nut_os::clock;
use nut_os::hook::{Hook, HookEnd};
use tracing::{debug, error, info, warn};

use super::{AGAIN, is_shortage};
use crate::pipe::Origin;

/// How often a script is tried for which the system lacks something. On a host that is losing its power very much goes
/// on at once, and no timer fires twice.
const TRIES: u32 = 30;

/// Runs CMDSCRIPT with this argument in the environment of this event, and waits for its end.
pub(crate) async fn run(script: &[String], argument: &str, origin: &Origin) {
    let Some(hook) = hook(script, argument) else {
        error!("CMDSCRIPT is empty, so {argument} is not run");
        return;
    };
    let hook = hook
        .env("UPSNAME", &origin.ups)
        .env("NOTIFYTYPE", &origin.notice)
        .env("NOTIFYMSG", &origin.message)
        .called("CMDSCRIPT");
    let call = format!("exec_cmd({} {argument})", script.join(" "));
    let end = patiently(&call, || hook.run()).await;
    match end {
        HookEnd::Exited(0) => debug!("{call} returned 0"),
        // The last two codes: it is not there, or may not be run.
        end @ (HookEnd::NotStarted(_) | HookEnd::TimedOut { .. } | HookEnd::Exited(126 | 127)) => {
            error!("{call} {end}; see CMDSCRIPT in upssched.conf");
        }
        HookEnd::Exited(code) => info!("{call} returned {code}"),
        HookEnd::Killed(signal) => warn!("{call} terminated with signal {signal}"),
    }
}

/// Starts it, and again as long as the system only lacks something for it.
async fn patiently<F: Future<Output = HookEnd>>(call: &str, start: impl Fn() -> F) -> HookEnd {
    let mut end = start().await;
    for nth in 1..TRIES {
        match &end {
            HookEnd::NotStarted(error) if is_shortage(error) => {}
            _ => break,
        }
        if nth == 1 {
            warn!("{call} {end}; trying again");
        }
        clock::until(clock::now() + AGAIN).await;
        end = start().await;
    }
    end
}

/// The argument is always one argument, whatever it holds, and never read by a shell.
///
/// NUT up to 2.8.5 lets a shell read both together, later versions run the words; [`Hook::words`] does either.
fn hook(script: &[String], argument: &str) -> Option<Hook> {
    Some(Hook::words(script)?.arg(argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the script writes when it is called like this.
    async fn written(script: &[&str], argument: &str, name: &str) -> String {
        let out = std::env::temp_dir().join(format!("upssched-script-{name}-{}", std::process::id()));
        let script: Vec<String> =
            script.iter().map(|word| word.replace("OUT", &out.display().to_string())).collect();
        let hook = hook(&script, argument).unwrap().env("NOTIFYTYPE", "ONBATT");
        let deadline = std::time::Duration::from_secs(30);
        assert!(hook.deadline(deadline).run().await.is_success());
        let text = std::fs::read_to_string(&out).unwrap();
        std::fs::remove_file(&out).unwrap();
        text
    }

    #[tokio::test]
    async fn a_script_for_which_the_system_lacks_something_is_tried_again() {
        use nix::errno::Errno::{EAGAIN, ENOENT, ENOMEM};
        let tried = std::cell::Cell::new(0);
        let ends = |errnos: &'static [nix::errno::Errno]| {
            tried.set(0);
            let tried = &tried;
            move || {
                let nth = tried.replace(tried.get() + 1);
                let end =
                    errnos.get(nth).map_or(HookEnd::Exited(0), |errno| HookEnd::NotStarted((*errno).into()));
                std::future::ready(end)
            }
        };
        assert!(patiently("x", ends(&[EAGAIN, ENOMEM])).await.is_success());
        assert_eq!(tried.get(), 3);
        // What is not there will not be there in a moment.
        let end = patiently("x", ends(&[ENOENT])).await;
        assert!(matches!(end, HookEnd::NotStarted(_)), "{end}");
        assert_eq!(tried.get(), 1);
    }

    const EVIL: &str = "two words $(id) `id` ; \"'";

    #[tokio::test]
    async fn words_are_a_program_and_its_arguments() {
        let script = ["/bin/sh", "-c", "printf '%s.' \"$#\" \"$@\" $NOTIFYTYPE > OUT", "sh", "lead"];
        assert_eq!(written(&script, EVIL, "words").await, format!("2.lead.{EVIL}.ONBATT."));
    }

    #[tokio::test]
    async fn one_word_of_shell_gets_the_argument_whole() {
        assert_eq!(written(&["printf '%s|' > OUT lead"], EVIL, "shell").await, format!("lead|{EVIL}|"));
        assert_eq!(
            written(&["exec > OUT; printf '%s|' $NOTIFYTYPE"], EVIL, "exec").await,
            format!("ONBATT|{EVIL}|")
        );
    }
}
