//! Running somebody else's program: an argument list, a stated environment, a deadline, and a truthful result.
//!
//! The program gets no input, a process group of its own (so that all it started can be ended with it), default
//! signals, and none of our descriptors. What it writes goes to the log line by line, or where our own output goes.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nut_proto::lines::LineBuffer;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Sleep, timeout};
use tracing::{info, warn};

use crate::reexec::PRIVATE;

/// How long a program told to end (SIGTERM) may take before it is made to (SIGKILL).
const GRACE: Duration = Duration::from_secs(5);

/// Most lines of one program that are logged; the rest is counted.
const MAX_LINES: u32 = 1000;

/// Longest line of a program that is logged, in bytes.
const MAX_LINE: usize = 1024;

/// Where a program's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output and error, line by line, to the log.
    Log,
    /// Where ours goes: nowhere, once a daemon is in the background. For programs that must outlive us unharmed: a
    /// program writing to a log pipe whose reader has ended is killed by that.
    Inherit,
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct Hook {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    deadline: Option<Duration>,
    output: Output,
}

impl Hook {
    /// This program, without arguments, with our environment, without deadline, its output to the log.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
            deadline: None,
            output: Output::Log,
        }
    }

    /// What `/bin/sh -c` makes of this text, its output where ours goes. For `SHUTDOWNCMD` and the like, whose text
    /// comes from the configuration; text from a device or the wire must never become part of it.
    #[must_use]
    pub fn shell(text: impl Into<OsString>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(text).output(Output::Inherit)
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With this in its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With nothing in its environment but what [`env`](Self::env) says.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// To be ended if it takes longer, counted from its start. Sleep of the machine does not count: the program slept too.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// With its output going there.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Starts it. To be called inside a tokio runtime; output is logged by a task of its own.
    ///
    /// # Errors
    /// When it cannot be started: not there, not executable, no process left.
    pub fn start(&self) -> io::Result<Running> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        if self.clear_env {
            command.env_clear();
        }
        for name in PRIVATE {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(false);
        if self.output == Output::Log {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut child = command.spawn()?;
        let name = self.name();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(log_lines(name.clone(), stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log_lines(name, stderr));
        }
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        #[expect(
            clippy::disallowed_methods,
            reason = "what counts is the program's time, not the boot clock's"
        )]
        let deadline = self.deadline.map(|after| (after, Box::pin(tokio::time::sleep(after))));
        Ok(Running { child, group, deadline, grace: GRACE })
    }

    /// Starts it and waits for its end.
    pub async fn run(&self) -> HookEnd {
        match self.start() {
            Ok(running) => running.end().await,
            Err(error) => HookEnd::NotStarted(error),
        }
    }

    /// The program's file name, for the log.
    fn name(&self) -> String {
        let path = std::path::Path::new(&self.program);
        path.file_name().unwrap_or(OsStr::new("hook")).to_string_lossy().into_owned()
    }
}

/// A program that has been started. Dropping this lets it go on, unwatched.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Its process group, whose number is its own.
    group: Option<Pid>,
    /// How long it may take, counted from its start, and the timer of that.
    deadline: Option<(Duration, Pin<Box<Sleep>>)>,
    grace: Duration,
}

impl Running {
    /// The process number, as long as it has not ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and ends it if it takes longer than its deadline.
    pub async fn end(mut self) -> HookEnd {
        let Some((after, timer)) = &mut self.deadline else {
            return HookEnd::of(self.child.wait().await);
        };
        let after = *after;
        tokio::select! {
            biased;
            ended = self.child.wait() => return HookEnd::of(ended),
            () = timer => {}
        }
        self.stop().await;
        HookEnd::TimedOut { after }
    }

    /// Ends it, kindly and then not, and tells all it started to end too. Returns when it is gone, or cannot be killed.
    async fn stop(&mut self) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // As long as we have not seen its end, the number is not given away.
            if let (Some(_), Some(group)) = (self.child.id(), self.group) {
                let _ = killpg(group, signal);
            }
            if timeout(self.grace, self.child.wait()).await.is_ok() {
                return;
            }
        }
        warn!(pid = self.child.id(), "a program that ran too long cannot be killed");
    }
}

/// How a program ended.
#[derive(Debug)]
pub enum HookEnd {
    /// By itself, with this code; 0 means success.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// By us, because it took too long.
    TimedOut {
        /// Longer than this.
        after: Duration,
    },
    /// It never ran.
    NotStarted(io::Error),
}

impl HookEnd {
    /// Whether it ended by itself with 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }

    fn of(ended: io::Result<ExitStatus>) -> Self {
        match ended {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Self::Exited(code),
                (None, signal) => Self::Killed(signal.unwrap_or(0)),
            },
            Err(error) => Self::NotStarted(error),
        }
    }
}

/// As in `ended with code 3`.
impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut { after } => write!(f, "took longer than {after:?} and was stopped"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
        }
    }
}

/// Logs what a program writes until nobody holds the pipe any more: it may have left a child that still writes, which
/// a closed pipe would kill.
async fn log_lines(program: String, mut pipe: impl AsyncRead + Unpin) {
    let mut lines = LineBuffer::with_limit(MAX_LINE);
    let mut said = 0_u32;
    let mut say = |line: &[u8]| {
        said = said.saturating_add(1);
        if said <= MAX_LINES {
            let line = String::from_utf8_lossy(line);
            info!("{program}: {line}");
        }
    };
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        lines.push(buffer.get(..count).unwrap_or_default(), |line| match line {
            Ok(line) => say(line),
            Err(error) => say(format!("({error})").as_bytes()),
        });
    }
    if lines.is_half() {
        lines.push(b"\n", |line| say(line.unwrap_or(b"(a line too long)")));
    }
    if said > MAX_LINES {
        warn!(program, lines = said, logged = MAX_LINES, "a program said more than is logged");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::{self, Order, ProcessId};
    use crate::files::scratch::Scratch;
    use std::path::Path;

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
        let hook = Hook { program: "/bin/sh".into(), ..hook }
            .args(["-c", "/usr/bin/env > \"$OUT\""])
            .env("OUT", &out);
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
}
