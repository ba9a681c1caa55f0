//! PID files, and signals to the process one names.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::{self as sys, kill};
use nix::unistd::Pid;
use nut_proto::words::truth;
use thiserror::Error;

use crate::files::{FileError, read_limited, write_whole};

/// The number of a process that may be signalled: 1 or above. 0 and negative ones mean groups or everybody; process 1 is told
/// nothing unless it is seen to be the program meant, as in a container without an init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId(Pid);

impl ProcessId {
    /// This process.
    #[must_use]
    pub fn ours() -> Self {
        Self(Pid::this())
    }

    /// The process of that number, if it is one that may be signalled.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        (number >= 1).then(|| Self(Pid::from_raw(number)))
    }

    /// Reads a number as `-P` or a PID file has it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.trim_ascii().parse().ok()?)
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Our own PID file, removed when dropped if it is still ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes our number and a line feed, mode 0644, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(path: &Path) -> Result<Self, FileError> {
        write_whole(path, format!("{}\n", ProcessId::ours()).as_bytes(), 0o644)?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now, unless another instance has written its own number into it meanwhile.
    pub fn remove(self) {}
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if read_pid(&self.path).is_ok_and(|pid| pid == ProcessId::ours()) {
            // After giving up root we may not be allowed to; then the next start finds a dead process' number.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Why a PID file tells nothing.
#[derive(Debug, Error)]
pub enum PidError {
    /// It cannot be read; see [`FileError::is_not_found`].
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds no number of a process.
    #[error("{} does not hold a process number", path.display())]
    Nonsense {
        /// Which file.
        path: PathBuf,
    },
}

/// The number in a PID file.
///
/// # Errors
/// When there is none.
pub fn read_pid(path: &Path) -> Result<ProcessId, PidError> {
    let text = read_limited(path, 64)?;
    std::str::from_utf8(&text)
        .ok()
        .and_then(ProcessId::parse)
        .ok_or_else(|| PidError::Nonsense { path: path.to_path_buf() })
}

/// What to tell a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing: only see whether it is there.
    Probe,
    /// SIGHUP.
    Reload,
    /// SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGUSR1: `upsmon -c fsd`, a driver's `-c reload-or-exit`.
    User1,
}

/// Why a process was not told.
#[derive(Debug, Error)]
pub enum SignalError {
    /// There is no such process (any more).
    #[error("no process {pid} is running")]
    NotRunning {
        /// Its number.
        pid: ProcessId,
    },
    /// There is one, but it is another program: the number is old and has been given away again.
    #[error("process {pid} is {found}, not {wanted}")]
    NotOurs {
        /// Its number.
        pid: ProcessId,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// The system refused, most likely because it belongs to another user.
    #[error("cannot signal process {pid}")]
    Refused {
        /// Its number.
        pid: ProcessId,
        /// Why not.
        source: Errno,
    },
}

/// Tells a process something, having looked whether it is one of the programs in `names` (any, if there are none).
///
/// The look is left out if nothing can be seen, or `NUT_IGNORE_CHECKPROCNAME` is set. Who names programs means another
/// instance: we ourselves, and the launcher that waits for us, are [`SignalError::NotOurs`], though they are called so. In
/// a container numbers begin anew with each start, and a PID file that was left behind often holds ours.
///
/// # Errors
/// When it was not told. A process that may not be signalled by us is [`SignalError::Refused`], so it is there.
pub fn signal(pid: ProcessId, order: Order, names: &[&str]) -> Result<(), SignalError> {
    if !names.is_empty() && is_of_this_start(pid) {
        let found = "the one that looks for it".to_owned();
        return Err(SignalError::NotOurs { pid, found, wanted: names.join(" or ") });
    }
    let process = Process::look(Path::new("/proc"), pid);
    if process.is_dead {
        return Err(SignalError::NotRunning { pid });
    }
    let is_first = pid.number() == 1;
    let is_wrong = !names.is_empty() && !check_is_off() && !process.is_one_of(names);
    if is_wrong || is_first && (process.names.is_empty() || !process.is_one_of(names)) {
        let found = process.names.first().cloned().unwrap_or_default();
        return Err(SignalError::NotOurs { pid, found, wanted: names.join(" or ") });
    }
    let signal = match order {
        Order::Probe => None,
        Order::Reload => Some(sys::Signal::SIGHUP),
        Order::Stop => Some(sys::Signal::SIGTERM),
        Order::Kill => Some(sys::Signal::SIGKILL),
        Order::User1 => Some(sys::Signal::SIGUSR1),
    };
    match kill(pid.0, signal) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => Err(SignalError::NotRunning { pid }),
        Err(source) => Err(SignalError::Refused { pid, source }),
    }
}

/// Why a running daemon was not told (`-c`), with what to do.
#[derive(Debug, Error)]
pub enum TellError {
    /// There is no PID file.
    #[error(
        "no {program} is running: there is no PID file {}. Start {program}, or name its process with -P ({but})",
        path.display()
    )]
    NoPidFile {
        /// Whom to tell.
        program: String,
        /// The file that is not there.
        path: PathBuf,
        /// When it runs without one.
        but: &'static str,
    },
    /// The process that the PID file names is gone, or is another program.
    #[error("no {program} is running: the PID file {} is an old one. Start {program}", path.display())]
    Old {
        /// Whom to tell.
        program: String,
        /// The file.
        path: PathBuf,
        /// What became of the process.
        source: SignalError,
    },
    /// The PID file cannot be read.
    #[error(transparent)]
    Pid(PidError),
    /// The process was not told.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

/// Tells the daemon `program`, known by any of `names`, something: the process `pid`, else the one in the PID file. `but`
/// says when it runs without such a file, as in `in the foreground it has one only with -FF`.
///
/// # Errors
/// When none runs, or it cannot be told.
pub fn tell(
    program: &str,
    names: &[&str],
    pid: Option<ProcessId>,
    (path, but): (&Path, &'static str),
    order: Order,
) -> Result<(), TellError> {
    if let Some(pid) = pid {
        return Ok(signal(pid, order, names)?);
    }
    let (program, path) = (program.to_owned(), path.to_path_buf());
    let pid = match read_pid(&path) {
        Ok(pid) => pid,
        Err(PidError::File(error)) if error.is_not_found() => {
            return Err(TellError::NoPidFile { program, path, but });
        }
        Err(error) => return Err(TellError::Pid(error)),
    };
    signal(pid, order, names).map_err(|error| match error {
        SignalError::NotRunning { .. } | SignalError::NotOurs { .. } => {
            TellError::Old { program, path, source: error }
        }
        SignalError::Refused { .. } => error.into(),
    })
}

/// Who has put us into the background.
static LAUNCHER: OnceLock<Pid> = OnceLock::new();

/// Notes that our parent is the launcher, which ends as soon as we are ready.
pub(super) fn note_launcher() {
    let _ = LAUNCHER.set(Pid::parent());
}

fn is_of_this_start(pid: ProcessId) -> bool {
    pid == ProcessId::ours()
        || LAUNCHER.get().is_some_and(|launcher| *launcher == pid.0 && Pid::parent() == pid.0)
}

fn check_is_off() -> bool {
    std::env::var("NUT_IGNORE_CHECKPROCNAME").is_ok_and(|value| truth(&value) == Some(true))
}

/// What the system shows of a process.
struct Process {
    /// Ended, but its parent has not noticed.
    is_dead: bool,
    /// The program's file name and the process' own name, as far as they may be seen.
    names: Vec<String>,
}

impl Process {
    /// The kernel cuts a process' own name to this many bytes.
    const COMM: usize = 15;

    fn look(proc: &Path, pid: ProcessId) -> Self {
        let dir = proc.join(pid.to_string());
        let exe = std::fs::read_link(dir.join("exe")).ok().and_then(|path| {
            let name = path.file_name()?.to_str()?;
            // The file has been replaced, as by an upgrade.
            Some(name.strip_suffix(" (deleted)").unwrap_or(name).to_owned())
        });
        let read = |name: &str| -> io::Result<String> { std::fs::read_to_string(dir.join(name)) };
        let comm = read("comm").ok().map(|name| name.trim_end_matches('\n').to_owned());
        let state = read("stat").ok().and_then(|stat| {
            let (_, after) = stat.rsplit_once(')')?;
            after.trim_start().chars().next()
        });
        Self { is_dead: matches!(state, Some('Z' | 'X')), names: exe.into_iter().chain(comm).collect() }
    }

    fn is_one_of(&self, wanted: &[&str]) -> bool {
        let cut = |name: &str| name.as_bytes().iter().copied().take(Self::COMM).collect::<Vec<_>>();
        let same = |found: &String, wanted: &&str| {
            found == wanted || found.len() == Self::COMM && found.as_bytes() == cut(wanted)
        };
        self.names.is_empty()
            || self.names.iter().any(|found| wanted.iter().any(|wanted| same(found, wanted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn numbers_that_mean_more_than_one_process_are_refused() {
        for text in ["0", "-0", "-1", "-77", "", "abc", "99999999999", "12 13"] {
            assert_eq!(ProcessId::parse(text), None, "{text}");
        }
        assert_eq!(ProcessId::parse("1\n").unwrap().number(), 1);
    }

    #[test]
    fn a_pid_file_says_who_we_are_and_goes_with_us() {
        let dir = Scratch::new();
        let path = dir.path("upsd.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(read_pid(&path).unwrap(), ProcessId::ours());
        file.remove();
        assert!(matches!(read_pid(&path), Err(PidError::File(error)) if error.is_not_found()));
    }

    #[test]
    fn another_instances_pid_file_stays() {
        let dir = Scratch::new();
        let path = dir.path("upsd.pid");
        let file = PidFile::write(&path).unwrap();
        std::fs::write(&path, "4711\n").unwrap();
        drop(file);
        assert_eq!(read_pid(&path).unwrap().number(), 4711);
        std::fs::write(&path, "rubbish").unwrap();
        assert!(matches!(read_pid(&path), Err(PidError::Nonsense { .. })));
    }

    #[test]
    fn a_process_is_told_only_if_it_is_the_program_meant() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = ProcessId::new(i32::try_from(child.id()).unwrap()).unwrap();
        let error = signal(pid, Order::Stop, &["upsd", "lt-upsd"]).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("process {pid} is ")) && error.ends_with(", not upsd or lt-upsd"),
            "{error}"
        );
        signal(pid, Order::Probe, &[]).unwrap();
        // Where all small tools are one program (busybox, uutils), its own name still is what it was called by.
        signal(pid, Order::Stop, &["sleep"]).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert!(matches!(signal(pid, Order::Probe, &[]), Err(SignalError::NotRunning { .. })));
    }

    #[test]
    fn process_one_is_told_nothing_unless_it_is_the_program_meant() {
        let init = ProcessId::new(1).unwrap();
        for names in [&[][..], &["upsd"]] {
            let error = signal(init, Order::Probe, names).unwrap_err();
            assert!(matches!(error, SignalError::NotOurs { .. }), "{error}");
        }
    }

    #[test]
    fn nobody_takes_himself_for_another_instance() {
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        let error = signal(ProcessId::ours(), Order::Kill, &[comm.trim_end()]).unwrap_err();
        assert!(matches!(error, SignalError::NotOurs { .. }), "{error}");
        signal(ProcessId::ours(), Order::Probe, &[]).unwrap();
    }

    #[test]
    fn who_tells_a_daemon_that_does_not_run_learns_where_it_was_sought() {
        let dir = Scratch::new();
        let path = dir.path("upsd.pid");
        let told = || tell("upsd", &["upsd"], None, (&path, "never"), Order::Reload).unwrap_err();
        let text = told().to_string();
        assert!(
            text.starts_with(&format!("no upsd is running: there is no PID file {}", path.display())),
            "{text}"
        );
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        std::fs::write(&path, format!("{}\n", child.id())).unwrap();
        child.wait().unwrap();
        let text = told().to_string();
        assert!(text.contains(&format!("the PID file {} is an old one", path.display())), "{text}");
        // This is a test, and no upsd.
        std::fs::write(&path, format!("{}\n", std::process::id())).unwrap();
        assert!(matches!(told(), TellError::Old { source: SignalError::NotOurs { .. }, .. }));
        let gone = ProcessId::new(i32::try_from(child.id()).unwrap());
        let error = tell("upsd", &["upsd"], gone, (&path, "never"), Order::Reload).unwrap_err();
        assert!(error.to_string().starts_with("no process "), "{error}");
    }

    #[test]
    fn a_long_name_is_recognised_though_the_kernel_cuts_it() {
        let process =
            |names: &[&str]| Process { is_dead: false, names: names.iter().map(|&n| n.to_owned()).collect() };
        assert!(process(&["blazer_usb_with"]).is_one_of(&["blazer_usb_with_a_long_name"]));
        assert!(!process(&["blazer_usb"]).is_one_of(&["blazer_usb_with_a_long_name"]));
        assert!(process(&["busybox", "upsd"]).is_one_of(&["upsd"]));
        assert!(process(&[]).is_one_of(&["upsd"]));
    }

    #[test]
    fn a_process_that_only_waits_to_be_buried_counts_as_dead() {
        let dir = Scratch::new();
        std::fs::create_dir(dir.path("4711")).unwrap();
        std::fs::write(dir.path("4711/stat"), "4711 (ups) d) Z 1 2 3").unwrap();
        assert!(Process::look(&dir.path(""), ProcessId::new(4711).unwrap()).is_dead);
        std::fs::write(dir.path("4711/stat"), "4711 (ups) d) S 1 2 3").unwrap();
        assert!(!Process::look(&dir.path(""), ProcessId::new(4711).unwrap()).is_dead);
    }
}
