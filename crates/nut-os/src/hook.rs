//! Running somebody else's program: an argument list, a stated environment, a deadline, and a truthful result.
//!
//! The program gets no input, a process group of its own (so that all it started can be ended with it), default
//! signals, and none of our descriptors but, where its output is logged, that pipe's. What it writes goes where our log
//! goes: to our standard error as it is, or to the system log line by line.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nut_proto::lines::LineBuffer;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Sleep, timeout};
use tracing::{info, warn};

use crate::daemon::Ours;
use crate::log;
use crate::reexec::PRIVATE;

/// How long a program told to end (SIGTERM) may take before it is made to (SIGKILL).
const GRACE: Duration = Duration::from_secs(5);

/// How long the last words of a program that has ended may take to the log; longer only if it has left somebody behind
/// who holds its output, and then nobody waits.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Most lines of one program that are logged; the rest is counted.
const MAX_LINES: u32 = 1000;

/// Longest line of a program that is logged, in bytes.
const MAX_LINE: usize = 1024;

/// Most programs whose output is waited for at a time, those counted that have ended and left somebody behind who holds it.
/// Each costs a descriptor, of which a process mostly has 1024: without a limit no server could be reached some day.
const MAX_HEARD: usize = 384;

/// Those of this process.
static HEARD: Ears = Ears::new(MAX_HEARD);

/// How many may be listened to, and how many are.
#[derive(Debug)]
struct Ears {
    most: usize,
    taken: AtomicUsize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
struct Ear(&'static Ears);

impl Ears {
    const fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    fn take(&'static self) -> Option<Ear> {
        let one_more = |taken: usize| (taken < self.most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Ear(self))
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What makes one word a piece of shell, unless it names a program nevertheless. Without a slash: that is for both.
const SHELL_CHARACTERS: &str = " \t\n|&;<>(){}$`\\\"'*?[]#~=!";

/// A program to run.
#[derive(Clone, Debug)]
pub struct Hook {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    clear_env: bool,
    deadline: Option<Duration>,
    /// What its lines in the log begin with; its file name unless one is given.
    called: Option<String>,
}

impl Hook {
    /// This program, without arguments, with our environment, without deadline.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            clear_env: false,
            deadline: None,
            called: None,
        }
    }

    /// What `/bin/sh -c` makes of this text. For `SHUTDOWNCMD` and the like, whose text comes from the configuration;
    /// text from a device or the wire must never become part of it.
    #[must_use]
    pub fn shell(text: impl Into<OsString>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(text)
    }

    /// What these words of a configuration file (`NOTIFYCMD`, `CMDSCRIPT`) mean; nothing if they name no program.
    ///
    /// NUT up to 2.8.5 takes one word and lets a shell read it, later ones run the words without a shell; files of both
    /// kinds must work. So the words are a program (a path, or a name found in `PATH`) and its arguments, except that a
    /// single word which names no program, but holds blanks or other characters of the shell, is a piece of shell.
    ///
    /// Arguments added later can come from a device or the wire, so they stay arguments, whatever they hold: of the
    /// program or, as in NUT, of the last command in the piece of shell. There they are never part of the text, as they
    /// are in NUT, but its `"$@"`. Where a new command would begin behind the text (it ends with `&` or `;`), they are
    /// only there for the text to use, as `$1`, `$2`, ...
    ///
    /// Whoever starts a program is held up until its file has been found and opened, and on a file system that hangs (one of
    /// a server that has lost its power already) that is for ever. So it is always a shell that we start, which looks for
    /// the file, and becomes the program; one that is not there has that shell end with code 127. A script whose first line
    /// names no interpreter is that shell's own, as in NUT.
    #[must_use]
    pub fn words(words: &[String]) -> Option<Self> {
        let (first, rest) = words.split_first()?;
        if first.trim_ascii().is_empty() {
            return None;
        }
        // What follows the text is `$0`, the name under which the shell complains.
        let shell =
            |text: &str| Self::new("/bin/sh").args(["-c", text, "sh"]).arg(first).called(file_name(first));
        let could_be_shell = rest.is_empty() && first.contains(|c| SHELL_CHARACTERS.contains(c));
        if !could_be_shell {
            return Some(shell("exec \"$@\"").args(rest));
        }
        // Without blanks behind it: a line feed there would be the beginning of a new command.
        let text = first.trim_ascii_end();
        let is_closed = text.ends_with(['&', ';', '|', '(', '{', '!']);
        let arguments = if is_closed { "" } else { " \"$@\"" };
        let is_program =
            if first.contains('/') { "[ -f \"$1\" ]" } else { "command -v \"$1\" >/dev/null 2>&1" };
        // A shell reads line by line: what is no shell at all is never read as such.
        Some(shell(&format!("if {is_program}; then exec \"$@\"; fi; shift\n{text}{arguments}")))
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

    /// With this name before its lines in the log: that of the directive it stands in.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.called = Some(name.to_owned());
        self
    }

    /// Starts it. To be called inside a tokio runtime; output is logged by a task of its own.
    ///
    /// # Errors
    /// When it cannot be started: not there, not executable, no process left.
    pub fn start(&self) -> io::Result<Running> {
        self.start_logged(log::destination().has_syslog().then_some(&HEARD))
    }

    /// Starts it, with its output to the log line by line as long as there is an ear for it, or where ours goes.
    fn start_logged(&self, by_line: Option<&'static Ears>) -> io::Result<Running> {
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
        // What cannot be logged must run all the same.
        let unheard = |error: io::Error| warn!(%error, "what {} says cannot be logged", self.name());
        let ear = by_line.and_then(|ears| {
            let ear = ears.take();
            if ear.is_none() {
                warn!(
                    "what {} says is not logged: {} programs, or what they left behind, are listened to",
                    self.name(),
                    ears.most
                );
            }
            ear
        });
        let said = ear.and_then(|ear| Some((listen_to(&mut command).map_err(unheard).ok()?, ear)));
        let child = command.spawn()?;
        let ours = Ours::new(child.id());
        // Our writing ends are closed with it: the end of the program's output is seen.
        drop(command);
        let said = said.and_then(|(said, ear)| Said::nonblocking(said, ear).map_err(unheard).ok());
        let log = said.map(|said| tokio::spawn(log_lines(self.name(), said)));
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        #[expect(
            clippy::disallowed_methods,
            reason = "what counts is the program's time, not the boot clock's"
        )]
        let deadline = self.deadline.map(|after| (after, Box::pin(tokio::time::sleep(after))));
        Ok(Running { child, _ours: ours, group, deadline, grace: GRACE, log })
    }

    /// Starts it and waits for its end.
    pub async fn run(&self) -> HookEnd {
        match self.start() {
            Ok(running) => running.end().await,
            Err(error) => HookEnd::NotStarted(error),
        }
    }

    /// What the log calls it.
    fn name(&self) -> String {
        let file = || Path::new(&self.program).file_name().unwrap_or(OsStr::new("hook"));
        self.called.clone().unwrap_or_else(|| file().to_string_lossy().into_owned())
    }
}

/// Gives the command a pipe for its output, and gives the end that is read.
///
/// The program holds that end, too: whoever writes to a pipe that nobody can read any more is killed, and our end often
/// comes before that of the program (what it leaves behind to stop the host a minute later, above all). What it says
/// then is lost, which is all. At our end [`Said`] sees to it that somebody reads; only if we are killed nobody does, and
/// then some 64 KiB fit before the program would have to wait.
fn listen_to(command: &mut Command) -> io::Result<PipeReader> {
    let (said, pipe) = io::pipe()?;
    fcntl(&said, FcntlArg::F_SETFD(FdFlag::empty()))?;
    command.stdout(pipe.try_clone()?).stderr(pipe);
    Ok(said)
}

/// What a program says. Dropped before the program has said its last it leaves `cat` behind, which takes the rest and
/// ends with it: a program that says much must neither wait for ever for a reader nor be killed for having none.
#[derive(Debug)]
struct Said {
    /// Nothing once nobody can write any more.
    pipe: Option<pipe::Receiver>,
    _ear: Ear,
}

impl Said {
    /// The end that we read, and no later program inherits.
    fn nonblocking(said: PipeReader, ear: Ear) -> io::Result<Self> {
        fcntl(said.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        pipe::Receiver::from_owned_fd(OwnedFd::from(said)).map(|pipe| Self { pipe: Some(pipe), _ear: ear })
    }

    /// The next piece; nothing any more once nobody can write.
    async fn read<'a>(&mut self, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let count = self.pipe.as_mut()?.read(buffer).await.unwrap_or(0);
        if count == 0 {
            self.pipe = None;
        }
        buffer.get(..count).filter(|piece| !piece.is_empty())
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        // Where no process can be made, nothing is worse than without this.
        if let Some(pipe) = self.pipe.take().and_then(|pipe| pipe.into_blocking_fd().ok()) {
            let mut cat = std::process::Command::new("cat");
            cat.stdin(pipe).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
            let _ = cat.spawn();
        }
    }
}

/// What a program is called whose path this is.
fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(OsStr::to_str).unwrap_or(path)
}

/// A program that has been started. Dropping this lets it go on, unwatched.
#[derive(Debug)]
pub struct Running {
    child: Child,
    _ours: Ours,
    /// Its process group, whose number is its own.
    group: Option<Pid>,
    /// How long it may take, counted from its start, and the timer of that.
    deadline: Option<(Duration, Pin<Box<Sleep>>)>,
    grace: Duration,
    /// What logs its output, where that is logged line by line.
    log: Option<JoinHandle<()>>,
}

impl Running {
    /// The process number, as long as it has not ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end, and ends it if it takes longer than its deadline.
    pub async fn end(mut self) -> HookEnd {
        let end = self.its_end().await;
        if let Some(log) = self.log.take() {
            let _ = timeout(LAST_WORDS, log).await;
        }
        end
    }

    async fn its_end(&mut self) -> HookEnd {
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
            // The shell's words for what we would have been told had we started the program ourselves.
            Self::Exited(126) => {
                f.write_str("ended with code 126: it, or what it runs, is no program or may not be run")
            }
            Self::Exited(127) => f.write_str("ended with code 127: it, or what it runs, is not there"),
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut { after } => write!(f, "took longer than {after:?} and was stopped"),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
        }
    }
}

/// Logs what a program writes until nobody can write any more: it may have left a child that still does.
async fn log_lines(program: String, mut from: Said) {
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
    while let Some(piece) = from.read(&mut buffer).await {
        lines.push(piece, |line| match line {
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
mod tests;
