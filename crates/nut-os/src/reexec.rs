//! A second process of this same program, made by running it again: no `fork`, no `unsafe`.
//!
//! The new process must know that it is the second one. The environment says so, together with the identity (device
//! and inode) of the pipe or socket it got as standard output or input. Processes further down inherit the environment
//! but not that descriptor, so nobody takes himself for the second one by mistake.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::stat::fstat;

/// Tells a daemon in the making which pipe its launcher waits at.
pub(crate) const READY: &str = "COBNUT_READY";

/// Tells a second half which socket leads to the first.
const HALF: &str = "COBNUT_HALF";

/// What the environment of a process further down must not hold: marks of this file, and the service manager's, who
/// wants to hear from us alone.
pub(crate) const PRIVATE: [&str; 5] = [READY, HALF, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// This program with other arguments, or with the same if there are none. The marks are taken out of its environment.
pub(crate) fn again(args: Option<Vec<OsString>>) -> io::Result<Command> {
    let path = std::env::current_exe()?;
    // After an upgrade the file is gone, but what is running can still be run.
    let mut command = if path.exists() { Command::new(path) } else { Command::new("/proc/self/exe") };
    let mut ours = std::env::args_os();
    if let Some(name) = ours.next() {
        command.arg0(name);
    }
    command.args(args.unwrap_or_else(|| ours.collect()));
    command.env_remove(READY).env_remove(HALF);
    Ok(command)
}

/// What tells one pipe or socket from all others on this machine.
pub(crate) fn identity(fd: impl AsFd) -> io::Result<String> {
    let stat = fstat(fd)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// What reading gives nothing from and writing disappears in.
pub(crate) fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Starts this program once more with the same arguments, as its second half, with a socket between the two.
///
/// Standard output and error are shared with the first half. When either half ends, the other reads the end of the
/// socket. The second half finds its end by [`half`] with the same `role`.
///
/// # Errors
/// When no socket or process can be made.
pub fn start_half(role: &str) -> io::Result<(Child, UnixStream)> {
    start_half_with(role, None)
}

/// As [`start_half`], with other arguments.
///
/// # Errors
/// When no socket or process can be made.
pub fn start_half_with(role: &str, args: Option<Vec<OsString>>) -> io::Result<(Child, UnixStream)> {
    start(role, args, None, &[])
}

/// As [`start_half_with`], with a descriptor that the second half finds as its standard output, and without these
/// variables in its environment.
///
/// Both halves then share one open file: a lock on it passes to the second half without a gap.
///
/// # Errors
/// When no socket or process can be made.
pub fn start_half_holding(
    role: &str,
    args: Option<Vec<OsString>>,
    held: OwnedFd,
    without: &[&str],
) -> io::Result<(Child, UnixStream)> {
    start(role, args, Some(held), without)
}

fn start(
    role: &str,
    args: Option<Vec<OsString>>,
    held: Option<OwnedFd>,
    without: &[&str],
) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mark = format!("{role} {}", identity(&theirs)?);
    let mut command = again(args)?;
    for name in without {
        command.env_remove(name);
    }
    command.env(HALF, mark).stdin(Stdio::from(OwnedFd::from(theirs)));
    if let Some(held) = held {
        command.stdout(Stdio::from(held));
    }
    Ok((command.spawn()?, ours))
}

/// If this process is the second half in that `role`: its end of the socket, once. To be asked first thing in `main`.
#[must_use]
pub fn half(role: &str) -> Option<UnixStream> {
    let mark = std::env::var(HALF).ok()?;
    let socket = io::stdin().as_fd().try_clone_to_owned().ok()?;
    if mark != format!("{role} {}", identity(&socket).ok()?) {
        return None;
    }
    // From here on the mark fits nothing any more.
    nix::unistd::dup2_stdin(null().ok()?).ok()?;
    Some(UnixStream::from(socket))
}
