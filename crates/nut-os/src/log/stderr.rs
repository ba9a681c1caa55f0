//! Standard error, written to such that a reader who has stopped reading does not stop us.
//!
//! In the foreground it is a pipe or a socket to somebody: a service manager's log, `tee`, a pager. When that hangs, a
//! program that waits for it hangs too, and a monitor that hangs stops no host. We cannot make the descriptor
//! non-blocking, since others share it; so we ask before each piece whether there is room.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long one message may wait for a reader who is busy, in milliseconds.
const PATIENCE: u16 = 100;

/// What fits if there is room at all (`PIPE_BUF`).
const PIECE: usize = 4096;

/// A place to write lines to.
#[derive(Debug)]
pub(super) struct LineSink<F> {
    fd: F,
    /// It let a message wait in vain; until it takes one again nobody waits for it.
    stalled: bool,
    /// It broke off in the middle of a line.
    is_half: bool,
    /// How many messages it did not take since the last one that it took.
    lost: u64,
}

impl<F: AsFd> LineSink<F> {
    pub(super) const fn new(fd: F) -> Self {
        Self { fd, stalled: false, is_half: false, lost: 0 }
    }

    /// Writes a line, and before it, if there were some, how many are missing.
    pub(super) fn send(&mut self, line: &str) {
        if self.lost > 0 {
            let lost = format!("{} messages are missing here: nobody took them\n", self.lost);
            if self.try_send(&lost) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.try_send(line) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn try_send(&mut self, line: &str) -> bool {
        let end_of_the_half = if self.is_half { &b"\n"[..] } else { &[] };
        let pieces = std::iter::once(end_of_the_half).chain(line.as_bytes().chunks(PIECE));
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            self.stalled = !self.has_room();
            if self.stalled || self.write(piece).is_err() {
                return false;
            }
        }
        true
    }

    /// Whether a piece can be written without waiting, or after a short wait.
    fn has_room(&self) -> bool {
        let patience = if self.stalled { PollTimeout::ZERO } else { PollTimeout::from(PATIENCE) };
        loop {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut fds, patience) {
                // Where nobody is left there is "room", too: writing fails at once.
                Ok(ready) => return ready > 0,
                Err(Errno::EINTR) => {}
                // Not this descriptor's fault; writing will show.
                Err(_) => return true,
            }
        }
    }

    fn write(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            match nix::unistd::write(&self.fd, piece) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    let (written, rest) = piece.split_at_checked(count).unwrap_or((piece, &[]));
                    self.is_half = !written.ends_with(b"\n");
                    piece = rest;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use std::io::Read as _;
    use std::time::Duration;

    #[test]
    fn lines_arrive_whole_also_long_ones() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = LineSink::new(writer);
        let long = format!("{}\n", "x".repeat(3 * PIECE));
        for line in ["one\n", &long, "two\n"] {
            sink.send(line);
        }
        drop(sink);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert_eq!(read, format!("one\n{long}two\n"));
    }

    #[test]
    fn a_reader_who_has_stopped_holds_us_up_once_and_briefly() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = LineSink::new(writer);
        let before = clock::now();
        for number in 0..2000 {
            sink.send(&format!("message {number} {}\n", "x".repeat(500)));
        }
        let took = clock::now().since(before);
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(sink.stalled && sink.lost > 0);
        // It reads again: what it gets is whole, then comes the count.
        let kept = 2000 - sink.lost;
        let mut buffer = vec![0; 1 << 20];
        let len = reader.read(&mut buffer).unwrap();
        let read = String::from_utf8_lossy(&buffer[..len]).into_owned();
        assert_eq!(read.lines().count(), usize::try_from(kept).unwrap());
        sink.send("last\n");
        drop(sink);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("{} messages are missing here: nobody took them\nlast\n", 2000 - kept));
    }

    #[test]
    fn a_line_that_broke_off_does_not_run_into_the_next_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut sink = LineSink::new(writer);
        // The first pieces fit, the last one does not.
        sink.send(&format!("{}\n", "x".repeat(1 << 20)));
        assert_eq!(sink.lost, 1);
        let mut buffer = vec![0; 1 << 20];
        let len = reader.read(&mut buffer).unwrap();
        assert!(buffer[..len].iter().all(|byte| *byte == b'x'));
        sink.send("next\n");
        drop(sink);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\n1 messages are missing here: nobody took them\nnext\n");
    }

    #[test]
    fn where_nobody_reads_any_more_nothing_is_waited_for() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut sink = LineSink::new(writer);
        sink.send("into the void\n");
        assert!(!sink.stalled);
    }
}
