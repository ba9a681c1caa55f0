//! Going to the background such that success is only said when it is true.
//!
//! The launcher (what the user or the init script started) runs the same program again with a pipe as its standard
//! output and waits. The second process leaves the terminal's session, starts up with its errors still shown on the
//! caller's standard error, and says over the pipe that it is ready, or why not. The launcher ends with that result.

pub mod notify;
pub mod orphans;
pub mod pid;
pub mod signals;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus, Stdio};

use thiserror::Error;
use tracing::{info, warn};

pub use notify::{
    Watchdog, notify_ready, notify_reloaded, notify_reloading, notify_status, notify_stopping,
    notify_watchdog, watchdog_interval,
};
pub use orphans::{Orphans, Ours};
pub use pid::{Order, PidError, PidFile, ProcessId, SignalError, TellError, read_pid, signal, tell};
pub use signals::{Signal, Signals, hold_signals};

use crate::log::{self, Destination};
use crate::options::{complain, say};
use crate::reexec::{READY, again, identity, null};

/// Longest result text taken from a daemon in the making, in bytes.
const MAX_WORD: u64 = 16 * 1024;

/// Why no process could be put into the background.
#[derive(Debug, Error)]
#[error("cannot go to the background: {doing} failed")]
pub struct StartError {
    doing: &'static str,
    source: io::Error,
}

impl StartError {
    fn at(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { doing, source }
    }
}

/// How a daemon starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program's name, for messages.
    pub program: String,
    /// Whether it leaves its caller; [`Foreground`](crate::options::Foreground) decides.
    pub background: bool,
    /// What the program says first of all on standard output, once: its banner.
    pub banner: Option<String>,
    /// The arguments of the process in the background, if not the same as ours.
    pub args: Option<Vec<OsString>>,
}

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Started {
    /// The one the caller sees. The other has been started, and this came of it.
    Launcher(Launched),
    /// The daemon itself, in the background or in the foreground. It must say when it is ready.
    Daemon(ReadySignal),
}

/// What became of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launched {
    /// It is ready and goes on by itself.
    Ready,
    /// It ended, or gave up, before it was ready.
    Failed {
        /// The exit code, which the launcher should end with too. 128 and the number if it died of a signal.
        code: u8,
        /// Why, unless the daemon has said so on standard error itself.
        text: Option<String>,
    },
}

impl Launched {
    /// Says on standard error what went wrong, if anything did, and gives the code to end with.
    #[must_use]
    pub fn report(self, program: &str) -> ExitCode {
        match self {
            Self::Ready => ExitCode::SUCCESS,
            Self::Failed { code, text } => {
                if let Some(text) = text {
                    complain(program, &text);
                }
                ExitCode::from(code)
            }
        }
    }
}

/// The start of a daemon.
#[derive(Debug)]
pub struct Daemon;

impl Daemon {
    /// Starts as planned. To be called before threads or a runtime exist, and before anything is opened.
    ///
    /// In the foreground this is the daemon at once. Else the launcher waits here until the daemon is ready or has
    /// failed; it does not read any configuration.
    ///
    /// # Errors
    /// When the second process cannot be made.
    pub fn start(plan: &Plan) -> Result<Started, StartError> {
        if let Some(pipe) = in_the_making() {
            return become_daemon(plan, pipe?).map(Started::Daemon);
        }
        if let Some(banner) = &plan.banner {
            say(banner);
        }
        if !plan.background {
            return Ok(Started::Daemon(ReadySignal { program: plan.program.clone(), background: None }));
        }
        launch(plan).map(Started::Launcher)
    }
}

/// Starts this program in the background and waits until it is ready; for those that then go on themselves.
///
/// # Errors
/// When the process cannot be made.
pub fn launch(plan: &Plan) -> Result<Launched, StartError> {
    let (mut from_daemon, pipe) = io::pipe().map_err(StartError::at("making a pipe"))?;
    let mark = identity(&pipe).map_err(StartError::at("making a pipe"))?;
    let mut command = again(plan.args.clone()).map_err(StartError::at("finding our own program"))?;
    command.env(READY, mark).stdin(Stdio::null()).stdout(pipe);
    let mut child = command.spawn().map_err(StartError::at("running ourselves again"))?;
    // It holds the writing end; as long as we do too, its end would never be seen.
    drop(command);

    let mut word = Vec::new();
    let read = (&mut from_daemon).take(MAX_WORD).read_to_end(&mut word);
    read.map_err(StartError::at("waiting for the daemon"))?;
    if let Some(launched) = parse_word(&word) {
        return Ok(launched);
    }
    let status = child.wait().map_err(StartError::at("waiting for the daemon"))?;
    Ok(ended(status))
}

/// What the daemon said, if it said anything that makes sense.
fn parse_word(word: &[u8]) -> Option<Launched> {
    if word == b"ready\n" {
        return Some(Launched::Ready);
    }
    let word = String::from_utf8_lossy(word);
    let (head, text) = word.split_once('\n')?;
    let code = head.strip_prefix("failed ")?.parse().ok()?;
    let text = text.trim_end();
    Some(Launched::Failed { code, text: (!text.is_empty()).then(|| text.to_owned()) })
}

/// What its end means, if it ended without a word.
fn ended(status: ExitStatus) -> Launched {
    if let Some(signal) = status.signal() {
        let code = u8::try_from(128 + signal).unwrap_or(u8::MAX);
        let text = format!("the daemon was killed by signal {signal} before it was ready");
        return Launched::Failed { code, text: Some(text) };
    }
    // Whatever it ended with, it has said why on standard error; with 0 there was nothing to run.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Launched::Failed { code, text: None }
}

/// The pipe to the launcher, if this process is a daemon in the making.
fn in_the_making() -> Option<Result<PipeWriter, StartError>> {
    let mark = std::env::var(READY).ok()?;
    let pipe = io::stdout().as_fd().try_clone_to_owned().ok()?;
    (identity(&pipe).ok()? == mark).then(|| Ok(PipeWriter::from(pipe)))
}

fn become_daemon(plan: &Plan, pipe: PipeWriter) -> Result<ReadySignal, StartError> {
    pid::note_launcher();
    let doing = "leaving the terminal";
    nix::unistd::setsid().map_err(|errno| StartError::at(doing)(errno.into()))?;
    let null = null().map_err(StartError::at(doing))?;
    // From here on the mark fits nothing any more.
    nix::unistd::dup2_stdout(&null).map_err(|errno| StartError::at(doing)(errno.into()))?;
    Ok(ReadySignal { program: plan.program.clone(), background: Some(Background { pipe, null }) })
}

/// The daemon's duty to say when it is ready, or that it never will be.
///
/// Dropped without a word it lets the launcher wait until this process ends, and take its exit code.
#[derive(Debug)]
#[must_use = "the launcher waits for it"]
pub struct ReadySignal {
    program: String,
    /// None in the foreground.
    background: Option<Background>,
}

#[derive(Debug)]
struct Background {
    /// To the launcher.
    pipe: PipeWriter,
    /// For standard error later on: behind a change of root directory there may be no `/dev/null`.
    null: File,
}

impl ReadySignal {
    /// Whether a launcher is waiting, that is whether we are in the background.
    #[must_use]
    pub fn is_background(&self) -> bool {
        self.background.is_some()
    }

    /// Everything is open, listening, dropped and checked: the launcher may end with success, the service manager be
    /// told. In the background standard error is left and the log goes to the system log from here on.
    pub fn ready(self) {
        notify_ready();
        let Some(Background { mut pipe, null }) = self.background else { return };
        leave_stderr_for(Ok(null));
        info!("Startup successful: {}", self.program);
        if let Err(error) = pipe.write_all(b"ready\n") {
            // Somebody lost patience with it. We are ready nevertheless, and protection is what we are for.
            warn!(%error, "the launcher was gone before it could be told");
        }
    }

    /// It will not work, for this reason. The launcher says so and ends with this code, and so should we.
    pub fn failed(self, code: u8, text: &str) -> ExitCode {
        match self.background {
            Some(Background { mut pipe, .. }) => {
                if pipe.write_all(format!("failed {code}\n{text}").as_bytes()).is_err() {
                    complain(&self.program, &text);
                }
            }
            None => complain(&self.program, &text),
        }
        ExitCode::from(code)
    }
}

/// Sends the log to the system log and standard error to nowhere (`NUT_DEBUG_SYSLOG` may say otherwise).
///
/// [`ReadySignal::ready`] does this; a second half of a daemon in the background must do it by itself.
pub fn leave_stderr() {
    leave_stderr_for(null());
}

fn leave_stderr_for(null: io::Result<File>) {
    let to = Destination::in_background();
    log::redirect(to);
    if !to.has_stderr() {
        let gone = null.and_then(|null| Ok(nix::unistd::dup2_stderr(null)?));
        if let Err(error) = gone {
            warn!(%error, "standard error stays open");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_word_means_ready() {
        assert_eq!(parse_word(b"ready\n"), Some(Launched::Ready));
        for word in [&b""[..], b"ready", b"ready\nx", b"failed", b"failed x\n", b"failed 999\n", b"\xff\n"] {
            assert_eq!(parse_word(word), None, "{word:?}");
        }
        assert_eq!(
            parse_word(b"failed 3\nno key:\nx\n"),
            Some(Launched::Failed { code: 3, text: Some("no key:\nx".into()) })
        );
        assert_eq!(parse_word(b"failed 1\n"), Some(Launched::Failed { code: 1, text: None }));
    }

    #[test]
    fn a_silent_end_keeps_its_code() {
        let failed = |raw| match ended(ExitStatus::from_raw(raw)) {
            Launched::Failed { code, text } => (code, text.is_some()),
            Launched::Ready => panic!("it is not ready"),
        };
        assert_eq!(failed(0x0300), (3, false));
        assert_eq!(failed(0), (0, false));
        assert_eq!(failed(9), (137, true));
    }
}
