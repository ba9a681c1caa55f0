//! Which of our thousands of sockets are ready: one epoll for all of them, inside tokio's.
//!
//! One task owns all sockets, so that the server can be asked directly, without a channel or a task switch for each
//! request. Measured on loopback, requests a second and CPU per request equal those of a bare epoll server, and those
//! of a tokio task per connection, which would need the server shared between tasks.
//!
//! The way through tokio's epoll to ours takes one system call more than a bare server makes: 5 % of the rate at which
//! one client can ask. In a rush, the next batch is therefore waited for at ours, and tokio's has its turn in between.

use crate::slab::Key;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nut_os::clock;
use nut_proto::Moment;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many are taken at once.
const BATCH: usize = 512;

/// Batches that come closer to each other than this may be a rush. Of a client that asks again as soon as it has its
/// answer they come ten times as close.
const CLOSE: Duration = Duration::from_micros(250);

/// So many close ones in a row are a rush: more than one client causes that comes, asks and goes.
const RUSH: u8 = 8;

/// So many more, and signals have their chance.
const LONG_RUSH: u8 = RUSH + 32;

/// How long, in a rush, the next batch is waited for at our own epoll. A signal ends that, but for one that comes in the
/// instant before; so does nothing else, not even a password that has been checked.
const LINGER_MILLIS: u8 = 10;

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
            Self::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
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
    /// Signals have had their chance since the last batch.
    has_yielded: bool,
    /// When the last batch came.
    last: Moment,
    /// How many came close to the one before, up to this one.
    close: u8,
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
        let batch = vec![EpollEvent::empty(); BATCH];
        Ok(Self { fd, batch, more: false, has_yielded: false, last: Moment::START, close: 0 })
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
            // Clients that never stop asking must not keep signals from us: those come only when we yield. Once a batch
            // is enough, even if a signal was served meanwhile: a storm of signals must not keep clients away either.
            if !std::mem::replace(&mut self.has_yielded, true) {
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        if self.is_rush() {
            // Then `take` waits.
            if self.close >= LONG_RUSH {
                self.close = RUSH;
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        // Cleared before looking, not after: what becomes ready meanwhile is announced anew.
        poll_fn(|context| self.fd.poll_read_ready(context)).await?.clear_ready();
        Ok(())
    }

    fn is_rush(&self) -> bool {
        self.close >= RUSH
    }

    /// Adds what is ready to the list, and says when that was. In a rush it waits a moment for something.
    pub(crate) fn take(&mut self, into: &mut Vec<Ready>) -> io::Result<Moment> {
        let waits = self.is_rush() && !self.more;
        let timeout = if waits { EpollTimeout::from(LINGER_MILLIS) } else { EpollTimeout::ZERO };
        let count = match self.fd.get_ref().0.wait(&mut self.batch, timeout) {
            Ok(count) => count,
            // A signal: the rush is over, and tokio sees it.
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let now = clock::now();
        if count == 0 || now.since(self.last) >= CLOSE {
            self.close = 0;
        } else {
            self.close = self.close.saturating_add(1);
        }
        self.last = now;
        let ends = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let batch = self.batch.iter().take(count);
        // An end that stands behind the last bytes is told together with them, and tokio's epoll not told again.
        let has_end = batch.clone().any(|event| event.events().intersects(ends | EpollFlags::EPOLLRDHUP));
        self.more = has_end || count == self.batch.len();
        self.has_yielded = false;
        into.extend(batch.map(|event| Ready {
            key: Key::from_number(event.data()),
            is_over: event.events().intersects(ends),
        }));
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use std::io::{Read, Write};
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
    async fn an_end_behind_the_last_bytes_is_told_too() {
        let mut poller = Poller::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let key = Slab::default().insert(());
        poller.add(&theirs, key, Wanted::Read).unwrap();
        ours.write_all(b"bye").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut buffer = [0; 8];
        for expected in [3, 0] {
            assert_eq!(next(&mut poller).await[0].key, key);
            assert_eq!(theirs.read(&mut buffer).unwrap(), expected);
        }
    }

    /// A socket of tokio's own stands for the signals: both are seen only when the runtime has its turn.
    #[tokio::test]
    async fn who_goes_on_and_on_lets_signals_have_their_turn() {
        let mut poller = Poller::new().unwrap();
        let (signal, mut sender) = UnixStream::pair().unwrap();
        signal.set_nonblocking(true).unwrap();
        let signal = tokio::net::UnixStream::from_std(signal).unwrap();
        sender.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        for turn in 0.. {
            assert!(turn < 1000, "no signal was seen");
            poller.go_on();
            tokio::select! {
                biased;
                seen = signal.readable() => {
                    seen.unwrap();
                    break;
                }
                waited = poller.ready() => waited.unwrap(),
            }
            poller.take(&mut ready).unwrap();
        }
    }

    /// Whether it counts as one depends on how fast this machine is: what is asserted holds either way.
    #[tokio::test]
    async fn a_rush_keeps_neither_signals_nor_those_who_come_late_from_us() {
        let mut poller = Poller::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let key = Slab::default().insert(());
        poller.add(&theirs, key, Wanted::Read).unwrap();
        let (signal, mut sender) = UnixStream::pair().unwrap();
        signal.set_nonblocking(true).unwrap();
        let signal = tokio::net::UnixStream::from_std(signal).unwrap();
        sender.write_all(b"x").unwrap();
        let mut seen_after = None;
        let mut was_rush = false;
        for turn in 0..1000 {
            ours.write_all(b"x").unwrap();
            let mut ready = Vec::new();
            while ready.is_empty() {
                tokio::select! {
                    biased;
                    seen = signal.readable(), if seen_after.is_none() => {
                        seen.unwrap();
                        seen_after = Some(turn);
                    }
                    waited = poller.ready() => {
                        waited.unwrap();
                        poller.take(&mut ready).unwrap();
                    }
                }
            }
            was_rush |= poller.is_rush();
            assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 1);
        }
        assert!(seen_after.is_some_and(|turn| turn <= usize::from(LONG_RUSH)), "{seen_after:?}, {was_rush}");
        // The rush is over, and everything is waited for as before.
        let late = std::thread::spawn(move || {
            nix::poll::poll(&mut [], 50u8).unwrap();
            ours.write_all(b"x").unwrap();
            ours
        });
        assert_eq!(next(&mut poller).await[0].key, key);
        assert!(!poller.is_rush());
        drop(late.join().unwrap());
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
