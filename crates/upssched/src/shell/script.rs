//! CMDSCRIPT: as a command to run, and what is said about its end.

use std::path::Path;

use nut_os::hook::{Hook, HookEnd, Output};
use tracing::{debug, error, info, warn};

use crate::pipe::Origin;

/// What makes one word that names no file a piece of shell rather than the name of a program.
const SHELL_CHARACTERS: &str = " \t|&;<>()$`\\\"'*?[]#~=%!{}";

/// Runs CMDSCRIPT with this argument in the environment of this event, and waits for its end.
///
/// Its output goes where ours goes: what it leaves running when we end must not be killed by a closed log.
pub(crate) async fn run(script: &[String], argument: &str, origin: &Origin) {
    let Some(hook) = hook(script, argument) else {
        error!("CMDSCRIPT is empty, so {argument} is not run");
        return;
    };
    let hook = hook
        .env("UPSNAME", &origin.ups)
        .env("NOTIFYTYPE", &origin.notice)
        .env("NOTIFYMSG", &origin.message)
        .output(Output::Inherit);
    let call = format!("exec_cmd({} {argument})", script.join(" "));
    match hook.run().await {
        HookEnd::Exited(0) => debug!("{call} returned 0"),
        HookEnd::Exited(code) => info!("{call} returned {code}"),
        HookEnd::Killed(signal) => warn!("{call} terminated with signal {signal}"),
        end @ (HookEnd::NotStarted(_) | HookEnd::TimedOut { .. }) => {
            error!("{call} {end}; see CMDSCRIPT in upssched.conf");
        }
    }
}

/// The argument is always one argument, whatever it holds, and never read by a shell.
///
/// NUT up to 2.8.5 lets a shell read both together, later versions run the words. Of one word we do either: what names
/// a file is run, what looks like a piece of shell is one, with the argument behind it.
fn hook(script: &[String], argument: &str) -> Option<Hook> {
    let (first, rest) = script.split_first()?;
    let is_shell =
        rest.is_empty() && first.contains(|c| SHELL_CHARACTERS.contains(c)) && !Path::new(first).is_file();
    Some(if is_shell {
        Hook::new("/bin/sh").arg("-c").arg(format!("{first} \"$@\"")).arg("upssched").arg(argument)
    } else if first.is_empty() {
        return None;
    } else {
        Hook::new(first).args(rest).arg(argument)
    })
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

    #[test]
    fn a_file_is_run_whatever_its_name() {
        let file = std::env::temp_dir().join(format!("upssched $(script) {}", std::process::id()));
        let name = file.display().to_string();
        let shown = || format!("{:?}", hook(std::slice::from_ref(&name), "x").unwrap());
        assert!(shown().contains("\"/bin/sh\""), "{}", shown());
        std::fs::write(&file, "").unwrap();
        let is_run = !shown().contains("\"/bin/sh\"");
        std::fs::remove_file(&file).unwrap();
        assert!(is_run);
        // A name without such characters is looked for in PATH.
        assert!(!format!("{:?}", hook(&["upssched-cmd".into()], "x").unwrap()).contains("\"/bin/sh\""));
        assert!(hook(&[], "x").is_none() && hook(&[String::new()], "x").is_none());
    }
}
