//! Processes that others leave to us: as process 1 (a container without an init) we are everybody's parent at last.
//!
//! Whoever does not take in the ends of his children keeps a number of the process table occupied for each; a script that
//! leaves something behind at each notice would have filled it some day, and then no command can be started any more.
//! Those that we have started ourselves are left alone: whoever waits for one wants to hear how it ended.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::prctl::get_child_subreaper;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::signal::unix::{self, SignalKind};

/// Processes that somebody here waits for.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn ours() -> MutexGuard<'static, BTreeSet<i32>> {
    // Nothing can panic while it is locked.
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that we have started and wait for ourselves, as long as this lives. To be made in the same breath as the
/// process: before the next look at who has ended.
#[derive(Debug)]
pub struct Ours(Option<i32>);

impl Ours {
    /// The process of this number.
    #[must_use]
    pub fn new(pid: Option<u32>) -> Self {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        ours().extend(pid);
        Self(pid)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            ours().remove(&pid);
        }
    }
}

/// Takes in the ends of those that are not [`Ours`], if they come to us at all.
#[derive(Debug)]
pub struct Orphans {
    ended: Option<unix::Signal>,
}

impl Orphans {
    /// Does nothing, at no cost, unless we are process 1 or have been made a parent of orphans otherwise. Must be called
    /// inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the system refuses to tell us of ends.
    pub fn new() -> io::Result<Self> {
        let are_left_to_us = getpid().as_raw() == 1 || get_child_subreaper() == Ok(true);
        let ended = are_left_to_us.then(|| unix::signal(SignalKind::child())).transpose()?;
        Ok(Self { ended })
    }

    /// Waits until some have ended, and takes them in; for ever if they do not come to us. Giving up waiting loses nothing.
    pub async fn taken_in(&mut self) {
        match &mut self.ended {
            None => std::future::pending().await,
            Some(ended) => {
                ended.recv().await;
                take_in();
            }
        }
    }
}

/// Takes in all that have ended and are not ours.
fn take_in() {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::All, look) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Err(Errno::EINTR) => {}
            Ok(status) if status.pid().is_some_and(|pid| !ours().contains(&pid.as_raw())) => {
                let _ = status.pid().map(take_in_one);
            }
            // One of ours stands before the others until it is waited for (or one ended in a way that has no name).
            Ok(_) | Err(_) => return take_in_one_by_one(),
        }
    }
}

/// The same where the first to be found is not to be taken in.
fn take_in_one_by_one() {
    for pid in children().into_iter().filter(|pid| !ours().contains(pid)) {
        take_in_one(Pid::from_raw(pid));
    }
}

/// If it has ended. How is nobody's business any more.
fn take_in_one(pid: Pid) {
    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
}

/// All children, as far as the kernel shows them.
fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}
