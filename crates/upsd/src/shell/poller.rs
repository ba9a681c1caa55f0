//! Which of our thousands of sockets are ready: one epoll for all of them, inside tokio's.
//!
//! One task owns all sockets, so that the server can be asked directly, without a channel or a task switch for each
//! request. Measured on loopback, requests a second and CPU per request equal those of a bare epoll server, and those
//! of a tokio task per connection, which would need the server shared between tasks.

use crate::slab::Key;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many are taken at once.
const BATCH: usize = 512;

/// What one waits for at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// That something can be read, or that it is over.
    Read,
    /// That something can be written.
    Write,
    /// Only that it is over.
    Nothing,
}

impl Wanted {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::Nothing => EpollFlags::empty(),
        }
    }
}

/// A socket that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// Which.
    pub(crate) key: Key,
    /// It is broken, or both sides have closed it.
    pub(crate) is_over: bool,
}

#[derive(Debug)]
struct Fd(Epoll);

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// The sockets being watched. A socket is no longer watched once it is closed.
#[derive(Debug)]
pub(crate) struct Poller {
    fd: AsyncFd<Fd>,
    batch: Vec<EpollEvent>,
    /// The last batch was full, or somebody has not read all there was.
    more: bool,
}

impl Poller {
    /// Watches nothing yet. Must be called inside a tokio runtime with I/O enabled.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; `Fd` keeps one descriptor as long as it lives"
        )]
        let fd = AsyncFd::with_interest(Fd(epoll), Interest::READABLE)?;
        Ok(Self { fd, batch: vec![EpollEvent::empty(); BATCH], more: false })
    }

    /// Watches a socket under this key.
    pub(crate) fn add(&self, socket: impl AsFd, key: Key, wanted: Wanted) -> io::Result<()> {
        Ok(self.fd.get_ref().0.add(socket, EpollEvent::new(wanted.flags(), key.to_number()))?)
    }

    /// Waits for something else at a socket.
    pub(crate) fn change(&self, socket: impl AsFd, key: Key, wanted: Wanted) -> io::Result<()> {
        let mut event = EpollEvent::new(wanted.flags(), key.to_number());
        Ok(self.fd.get_ref().0.modify(socket, &mut event)?)
    }

    /// There is still something to be read that will not be announced again: do not wait.
    pub(crate) fn go_on(&mut self) {
        self.more = true;
    }

    /// Waits until something is ready. Giving up waiting loses nothing.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        if self.more {
            return Ok(());
        }
        // Cleared before looking, not after: what becomes ready meanwhile is announced anew.
        self.fd.readable().await?.clear_ready();
        Ok(())
    }

    /// Adds what is ready now to the list.
    pub(crate) fn take(&mut self, into: &mut Vec<Ready>) -> io::Result<()> {
        let count = match self.fd.get_ref().0.wait(&mut self.batch, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.more = count == self.batch.len();
        into.extend(self.batch.iter().take(count).map(|event| Ready {
            key: Key::from_number(event.data()),
            is_over: event.events().intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP),
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    async fn next(poller: &mut Poller) -> Vec<Ready> {
        let mut ready = Vec::new();
        let waiting = async {
            while ready.is_empty() {
                poller.ready().await.unwrap();
                poller.take(&mut ready).unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("within the deadline");
        ready
    }

    #[tokio::test]
    async fn what_is_ready_is_told_and_told_again_when_more_comes() {
        let mut poller = Poller::new().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let key = Slab::default().insert(());
        poller.add(&theirs, key, Wanted::Read).unwrap();
        for _ in 0..3 {
            // Never read: each byte is news nevertheless.
            ours.write_all(b"x").unwrap();
            let ready = next(&mut poller).await;
            assert_eq!((ready.len(), ready[0].key, ready[0].is_over), (1, key, false));
        }
        poller.change(&theirs, key, Wanted::Nothing).unwrap();
        drop(ours);
        let ready = next(&mut poller).await;
        assert!(ready[0].is_over);
    }

    #[tokio::test]
    async fn going_on_means_not_waiting() {
        let mut poller = Poller::new().unwrap();
        poller.go_on();
        poller.ready().await.unwrap();
        let mut ready = Vec::new();
        poller.take(&mut ready).unwrap();
        assert!(ready.is_empty() && !poller.more);
    }
}
