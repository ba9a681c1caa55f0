//! Output that never makes us wait.

use std::io;

use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// A queue is full: whoever should read does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more than {limit} bytes wait to be read by the other side")]
pub struct Full {
    /// The limit that would have been passed.
    pub limit: usize,
}

/// How far writing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Everything is written.
    Done,
    /// The other side takes no more for now; go on when it is writable again.
    Blocked,
}

/// Bytes on their way out: queued at once, written as the other side takes them, never more than a limit.
#[derive(Debug)]
pub struct OutBuffer {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    limit: usize,
}

impl OutBuffer {
    /// An empty buffer keeps at most this much memory: there may be thousands of idle clients.
    const KEPT: usize = 512;

    /// A buffer that holds at most `limit` bytes.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        Self { bytes: Vec::new(), written: 0, limit }
    }

    /// Queues all of `bytes`.
    ///
    /// # Errors
    /// When they would not fit; then none of them is queued.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if self.len().saturating_add(bytes.len()) > self.limit {
            return Err(Full { limit: self.limit });
        }
        if self.written > 0 && self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes what can be written without waiting; `write` is tokio's `try_write` of the stream.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn try_write(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<Progress> {
        while !self.is_empty() {
            match write(self.waiting()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Blocked),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Progress::Done)
    }

    /// Writes everything, waiting for the other side. Giving up waiting loses and repeats nothing.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn write_to(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while !self.is_empty() {
            let count = to.write(self.waiting()).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(count);
        }
        Ok(())
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.advance(self.len());
    }

    fn waiting(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.written = self.written.saturating_add(count).min(self.bytes.len());
        if self.is_empty() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(Self::KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::soon;
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn a_full_queue_takes_nothing_of_what_does_not_fit() {
        let mut out = OutBuffer::with_limit(8);
        out.push(b"123456").unwrap();
        assert_eq!(out.push(b"789"), Err(Full { limit: 8 }));
        out.push(b"78").unwrap();
        let mut seen = Vec::new();
        let progress = out.try_write(|bytes| {
            seen.extend_from_slice(bytes);
            Ok(bytes.len())
        });
        assert_eq!(progress.unwrap(), Progress::Done);
        assert_eq!(seen, b"12345678");
        assert!(out.is_empty());
    }

    #[test]
    fn an_emptied_queue_gives_its_memory_back() {
        let mut out = OutBuffer::with_limit(1 << 20);
        out.push(&[b'x'; 100_000]).unwrap();
        out.try_write(|bytes| Ok(bytes.len())).unwrap();
        assert!(out.bytes.capacity() <= OutBuffer::KEPT, "{}", out.bytes.capacity());
    }

    #[test]
    fn a_broken_stream_is_an_error_and_a_busy_one_is_not() {
        let mut out = OutBuffer::with_limit(8);
        out.push(b"12").unwrap();
        assert_eq!(out.try_write(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap(), Progress::Blocked);
        assert!(out.try_write(|_| Err(io::ErrorKind::BrokenPipe.into())).is_err());
        assert!(out.try_write(|_| Ok(0)).is_err());
        assert_eq!(out.len(), 2);
    }

    #[tokio::test]
    async fn everything_arrives_at_a_slow_reader() {
        let (mut ours, mut theirs) = tokio::io::duplex(3);
        let mut out = OutBuffer::with_limit(100);
        out.push(b"a line longer than the pipe\n").unwrap();
        let read = async {
            let mut seen = [0; 28];
            theirs.read_exact(&mut seen).await.unwrap();
            seen
        };
        let (written, seen) = tokio::join!(soon(out.write_to(&mut ours)), soon(read));
        written.unwrap();
        assert_eq!(&seen, b"a line longer than the pipe\n");
    }

    proptest! {
        #[test]
        fn bytes_come_out_once_and_in_order(steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0usize..60), 0..40)) {
            let mut out = OutBuffer::with_limit(100);
            let (mut expected, mut seen) = (Vec::new(), Vec::new());
            for (bytes, mut room) in steps {
                if out.push(&bytes).is_ok() {
                    expected.extend_from_slice(&bytes);
                }
                out.try_write(|bytes| {
                    let count = bytes.len().min(room).min(7);
                    if count == 0 {
                        return Err(io::ErrorKind::WouldBlock.into());
                    }
                    room -= count;
                    seen.extend_from_slice(&bytes[..count]);
                    Ok(count)
                }).unwrap();
                prop_assert!(out.len() <= 100);
            }
            out.try_write(|bytes| { seen.extend_from_slice(bytes); Ok(bytes.len()) }).unwrap();
            prop_assert_eq!(seen, expected);
        }
    }
}
