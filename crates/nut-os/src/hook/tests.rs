//! Programs that end, do not end, are given evil words, or leave children behind.

use super::*;
use crate::daemon::{self, Order, ProcessId};
use nut_drill::scratch::Scratch;
use std::sync::{Arc, Mutex};
use tracing_subscriber::layer::SubscriberExt as _;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("within the deadline")
}

fn sh(script: &str) -> Hook {
    Hook::new("/bin/sh").arg("-c").arg(script).arg("sh")
}

fn written(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn the_end_is_told_as_it_was() {
    assert!(soon(sh("exit 0").run()).await.is_success());
    assert_eq!(soon(sh("exit 3").run()).await.to_string(), "ended with code 3");
    assert_eq!(soon(sh("kill -9 $$").run()).await.to_string(), "was killed by signal 9");
    // We ignore SIGPIPE; a program we run must not.
    assert_eq!(soon(sh("kill -PIPE $$").run()).await.to_string(), "was killed by signal 13");
    let end = soon(Hook::new("/no/such/program").run()).await;
    assert!(end.to_string().starts_with("could not be started: "), "{end}");
    assert_eq!(soon(Hook::shell("exit 4").run()).await.to_string(), "ended with code 4");
}

#[tokio::test]
async fn arguments_are_not_read_by_any_shell() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let evil = "$(touch x) `id` \"'\n;*";
    let hook = sh("printf '%s|%s' \"$1\" \"$NOTIFYTYPE\" > \"$OUT\"").arg(evil);
    assert!(soon(hook.env("NOTIFYTYPE", evil).env("OUT", &out).run()).await.is_success());
    assert_eq!(written(&out), format!("{evil}|{evil}"));
}

#[tokio::test]
async fn the_environment_is_what_was_stated() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let hook = Hook::new("/usr/bin/env").clear_env().env("PATH", "/usr/bin:/bin");
    let hook =
        Hook { program: "/bin/sh".into(), ..hook }.args(["-c", "/usr/bin/env > \"$OUT\""]).env("OUT", &out);
    assert!(soon(hook.run()).await.is_success());
    let names: Vec<String> =
        written(&out).lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
    for name in &names {
        assert!(["PATH", "OUT", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name.as_str()), "{names:?}");
    }
    assert!(names.contains(&"OUT".to_owned()));
}

#[tokio::test]
async fn it_has_no_input_and_a_group_of_its_own() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let hook = sh("cat; ps -o pgid= -p $$ > \"$OUT\" || echo $$ > \"$OUT\"; echo $$ >> \"$OUT\"");
    assert!(soon(hook.env("OUT", &out).run()).await.is_success());
    let text = written(&out);
    let numbers: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
}

/// All that is logged on this thread while `what` runs.
async fn logged<T>(what: impl Future<Output = T>) -> (T, Vec<String>) {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            struct Text(String);
            impl tracing::field::Visit for Text {
                fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                    if field.name() == "message" {
                        self.0 = format!("{value:?}");
                    }
                }
            }
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
    }
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let done = what.await;
    let lines = lines.0.lock().unwrap().clone();
    (done, lines)
}

#[tokio::test]
async fn what_it_says_is_logged_line_by_line_under_its_name() {
    let hook = sh("echo out; printf 'err\\033[1m\\n' >&2; printf last").called("NOTIFYCMD");
    let (end, lines) = logged(async { soon(hook.start_logged(Some(&HEARD)).unwrap().end()).await }).await;
    assert!(end.is_success());
    assert_eq!(lines, ["NOTIFYCMD: out", "NOTIFYCMD: err\u{1b}[1m", "NOTIFYCMD: last"]);
    // Its file name, where it has no other; and no more than a thousand lines.
    let hook = sh("i=0; while [ $i -lt 1010 ]; do echo $i; i=$((i+1)); done");
    let (_, lines) = logged(async { soon(hook.start_logged(Some(&HEARD)).unwrap().end()).await }).await;
    assert_eq!((lines.len(), lines[999].as_str()), (1001, "sh: 999"));
    assert_eq!(lines[1000], "a program said more than is logged");
}

/// As at our own end: the one who read is gone. (A pipe without a reader kills who writes to it.)
#[tokio::test]
async fn nobody_is_harmed_who_speaks_when_nobody_listens_any_more() {
    let dir = Scratch::new();
    let (go, out) = (dir.path("go"), dir.path("out"));
    // Both it and what it leaves behind speak late, and far more than a pipe holds.
    let late = "while [ ! -e \"$GO\" ]; do sleep 0.05; done; head -c 300000 /dev/zero; echo late; echo late >&2\n\
                echo survived $1 >> \"$OUT\"";
    let hook = sh(&format!("({late}) & {late}; wait")).arg("it").env("GO", &go).env("OUT", &out);
    let running = hook.start_logged(Some(&HEARD)).unwrap();
    running.log.as_ref().unwrap().abort();
    tokio::task::yield_now().await;
    assert!(running.log.as_ref().unwrap().is_finished());
    std::fs::write(&go, "").unwrap();
    assert!(soon(running.end()).await.is_success());
    assert_eq!(written(&out).lines().count(), 2);
}

/// What a script leaves behind may hold its output for ever, and at each notice.
#[tokio::test]
async fn so_many_are_listened_to_and_no_more_and_all_run() {
    static TWO: Ears = Ears::new(2);
    let dir = Scratch::new();
    let out = dir.path("out");
    let leaves = sh("sleep 600 & echo $! > \"$OUT\"").env("OUT", &out);
    assert!(soon(leaves.start_logged(Some(&TWO)).unwrap().end()).await.is_success());
    let speaks = || sh("echo out").called("X");
    let run = async |hook: Hook| soon(hook.start_logged(Some(&TWO)).unwrap().end()).await.is_success();
    let (_, lines) = logged(run(speaks())).await;
    assert_eq!(lines, ["X: out"]);
    let other = dir.path("other");
    assert!(run(leaves.env("OUT", &other)).await);
    let (has_run, lines) = logged(run(speaks())).await;
    assert!(has_run);
    assert_eq!(lines, ["what X says is not logged: 2 programs, or what they left behind, are listened to"]);
    for left in [&out, &other] {
        daemon::signal(number_in(left).await, Order::Kill, &[]).unwrap();
    }
    let is_free = async {
        while TWO.taken.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(is_free).await;
    let (_, lines) = logged(run(speaks())).await;
    assert_eq!(lines, ["X: out"]);
}

/// The number a program writes first thing, of a process that it starts.
async fn number_in(path: &Path) -> ProcessId {
    let number = async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            match ProcessId::parse(&text).filter(|_| text.ends_with('\n')) {
                Some(pid) => return pid,
                None => tokio::task::yield_now().await,
            }
        }
    };
    soon(number).await
}

fn is_running(pid: ProcessId) -> bool {
    daemon::signal(pid, Order::Probe, &[]).is_ok()
}

#[tokio::test]
async fn what_takes_too_long_is_ended_with_all_it_started() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let hook = sh("sleep 600 & echo $! > \"$OUT\"; wait").env("OUT", &out);
    let running = hook.deadline(Duration::from_millis(100)).start().unwrap();
    let sleeper = number_in(&out).await;
    let end = soon(running.end()).await;
    assert_eq!(end.to_string(), "took longer than 100ms and was stopped");
    let gone = async {
        while is_running(sleeper) {
            tokio::task::yield_now().await;
        }
    };
    soon(gone).await;
}

#[tokio::test]
async fn what_does_not_listen_to_sigterm_is_killed() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let hook = sh("trap '' TERM; echo $$ > \"$OUT\"; while :; do sleep 600; done").env("OUT", &out);
    let mut running = hook.deadline(Duration::from_millis(100)).start().unwrap();
    running.grace = Duration::from_millis(100);
    let stubborn = number_in(&out).await;
    assert!(matches!(soon(running.end()).await, HookEnd::TimedOut { .. }));
    assert!(!is_running(stubborn));
}

#[tokio::test]
async fn a_child_left_behind_does_not_hold_up_the_result() {
    let dir = Scratch::new();
    let out = dir.path("out");
    let end = soon(sh("sleep 600 & echo $! > \"$OUT\"; exit 7").env("OUT", &out).run()).await;
    assert_eq!(end.to_string(), "ended with code 7");
    let sleeper = number_in(&out).await;
    assert!(is_running(sleeper));
    daemon::signal(sleeper, Order::Kill, &[]).unwrap();
}

fn words(words: &[&str]) -> Option<Hook> {
    Hook::words(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
}

#[test]
fn words_that_name_nothing_are_no_command() {
    for none in [&[][..], &[""], &[" \t"], &["", "argument"]] {
        assert!(words(none).is_none(), "{none:?}");
    }
}

#[tokio::test]
async fn arguments_stay_whole_behind_words_and_behind_a_piece_of_shell() {
    let dir = Scratch::new();
    let touch = format!("touch '{}'", dir.path("read by a shell").display());
    let evil = format!("$({touch}) `{touch}` \"'; {touch}\n{touch} & \\ * $HOME ${{HOME}} #");
    let script = dir.path("my $(script)").display().to_string();
    std::fs::write(&script, "exec > \"$OUT\"; printf '%s|' \"$@\"").unwrap();
    // A command, and what it writes before the argument.
    let commands: [(&[&str], &str); 6] = [
        (&["/bin/sh", &script, "a b", "$HOME"], "a b|$HOME|"),
        (&["sh", "-c", "printf '%s|' \"$@\" > \"$OUT\"", "sh", "lead"], "lead|"),
        (&["/bin/sh -c 'printf \"%s|\" \"$@\" > \"$OUT\"' sh lead"], "lead|"),
        (&["printf '%s|' > \"$OUT\" lead"], "lead|"),
        (&["exec > \"$OUT\"; printf '%s|' $#; printf '%s|'"], "1|"),
        (&["  printf '%s|' \"$1\" > \"$OUT\"; \n"], ""),
    ];
    for (command, before) in commands {
        let out = dir.path("out");
        let hook = words(command).unwrap().arg(&evil).env("OUT", &out);
        assert!(soon(hook.run()).await.is_success(), "{command:?}");
        assert_eq!(written(&out), format!("{before}{evil}|"), "{command:?}");
    }
    assert_eq!(dir.names(), ["my $(script)", "out"]);
}

#[tokio::test]
async fn an_argument_is_never_the_name_of_a_command() {
    // The argument, run as a command behind the text, would make each of them end the other way.
    for (text, argument, success) in [
        ("true;", "false", true),
        ("true & ", "false", true),
        ("true \n\n", "false", true),
        ("true |", "true", false),
        ("false ||", "true", false),
        ("true && !", "false", false),
    ] {
        let end = soon(words(&[text]).unwrap().arg(argument).run()).await;
        assert_eq!(end.is_success(), success, "{text}: {end}");
    }
}

#[tokio::test]
async fn a_file_is_run_as_it_is_whatever_its_name() {
    let dir = Scratch::new();
    let path = dir.path("my $(notify) | program; ");
    let hook = || {
        let hook = words(&[&path.display().to_string()]).unwrap();
        hook.args(["-c", "printf '%s|' \"$@\" > \"$OUT\"", "sh", "x y"]).env("OUT", dir.path("out"))
    };
    let end = soon(hook().run()).await;
    assert!(matches!(end, HookEnd::Exited(127)), "as long as it is not there, this is shell: {end}");
    // A link and no script: what was written a moment ago may still be open in a child just being started elsewhere.
    std::os::unix::fs::symlink("/bin/sh", &path).unwrap();
    assert!(soon(hook().run()).await.is_success());
    assert_eq!(written(&dir.path("out")), "x y|");
    // A name that looks like shell, but is found in PATH.
    assert!(soon(words(&["["]).unwrap().args(["1", "=", "1", "]"]).run()).await.is_success());
    // What does not look like shell is no shell's business, wherever it is.
    let end = soon(words(&["no-such-program"]).unwrap().run()).await.to_string();
    assert_eq!(end, "ended with code 127: it, or what it runs, is not there");
    // Nor one that may not be run.
    let end = soon(words(&["/dev/null"]).unwrap().run()).await.to_string();
    assert_eq!(end, "ended with code 126: it, or what it runs, is no program or may not be run");
}

#[tokio::test]
async fn a_script_that_names_no_interpreter_is_a_shells() {
    let dir = Scratch::new();
    let script = dir.path("my script");
    std::fs::write(&script, "printf '%s|' \"$0\" \"$@\" > \"$OUT\"; exit 5\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let out = dir.path("out");
    let hook = words(&[&script.display().to_string(), "lead"]).unwrap().arg("$(id) x").env("OUT", &out);
    // What was written a moment ago may still be open in a child just being started elsewhere.
    let end = loop {
        match soon(hook.run()).await {
            HookEnd::Exited(126) => {}
            end => break end,
        }
    };
    assert!(matches!(end, HookEnd::Exited(5)), "{end}");
    assert_eq!(written(&out), format!("{}|lead|$(id) x|", script.display()));
    // What may not be run is not read by a shell either.
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let end = soon(hook.run()).await;
    assert!(matches!(end, HookEnd::Exited(126)), "{end}");
}
