//! The connections of a driver's readers: bytes in, bytes out, nothing decided.

use crate::serving::{MAX_CHUNK, ReaderId, Serving};
use nut_os::socket::{OutBuffer, Progress};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::ops::Bound;
use std::task::{Context, Poll};
use tokio::net::UnixStream;

/// All connections.
#[derive(Debug, Default)]
pub(super) struct Readers {
    open: BTreeMap<ReaderId, Connection>,
    /// Whose turn it was last: so that one who talks without end does not keep the others waiting.
    last: Option<ReaderId>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    out: OutBuffer,
}

/// What a connection brought.
#[derive(Debug)]
pub(super) enum Heard {
    Bytes(ReaderId, Vec<u8>),
    /// So many bytes that had to wait are on their way.
    Written(ReaderId, usize),
    Left(ReaderId),
}

impl Readers {
    pub(super) fn add(&mut self, id: ReaderId, stream: UnixStream) {
        // The bound is the machine's: it never asks for more to be kept than it said.
        let out = OutBuffer::with_limit(usize::MAX);
        self.open.insert(id, Connection { stream, out });
    }

    pub(super) fn remove(&mut self, id: ReaderId) {
        self.open.remove(&id);
    }

    /// Queues bytes; [`Readers::send`] writes them.
    pub(super) fn queue(&mut self, id: ReaderId, bytes: &[u8]) {
        if let Some(connection) = self.open.get_mut(&id) {
            // With such a limit it cannot be full.
            let _ = connection.out.push(bytes);
        }
    }

    /// Writes what the connections take without waiting, and says how much that was, or who is gone.
    pub(super) fn send(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        for (id, connection) in &mut self.open {
            if connection.out.is_empty() {
                continue;
            }
            let before = connection.out.len();
            let stream = &connection.stream;
            match connection.out.try_write(|bytes| stream.try_write(bytes)) {
                Ok(Progress::Done | Progress::Blocked) => {
                    let count = before - connection.out.len();
                    if count > 0 {
                        heard.push(Heard::Written(*id, count));
                    }
                }
                Err(_) => heard.push(Heard::Left(*id)),
            }
        }
        heard
    }

    /// Whether anybody has not taken what is for him.
    pub(super) fn any_waits(&self) -> bool {
        self.open.values().any(|connection| !connection.out.is_empty())
    }

    /// Waits until some connection brings something. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self, serving: &Serving) -> Heard {
        poll_fn(|context| self.poll(serving, context)).await
    }

    fn poll(&mut self, serving: &Serving, context: &mut Context<'_>) -> Poll<Heard> {
        let behind = match self.last {
            Some(last) => (Bound::Excluded(last), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let after: Vec<ReaderId> = self.open.range(behind).map(|(id, _)| *id).collect();
        let before = self.open.keys().copied().filter(|id| self.last.is_some_and(|last| *id <= last));
        for id in after.into_iter().chain(before.collect::<Vec<_>>()) {
            let Some(connection) = self.open.get_mut(&id) else { continue };
            if let Poll::Ready(heard) = connection.poll(id, serving, context) {
                self.last = Some(id);
                return Poll::Ready(heard);
            }
        }
        Poll::Pending
    }
}

impl Connection {
    fn poll(&mut self, id: ReaderId, serving: &Serving, context: &mut Context<'_>) -> Poll<Heard> {
        let Self { stream, out } = self;
        while !out.is_empty() && stream.poll_write_ready(context).is_ready() {
            let before = out.len();
            if out.try_write(|bytes| stream.try_write(bytes)).is_err() {
                return Poll::Ready(Heard::Left(id));
            }
            if out.len() < before {
                return Poll::Ready(Heard::Written(id, before - out.len()));
            }
        }
        while serving.wants_input(id) && stream.poll_read_ready(context).is_ready() {
            let mut buffer = [0; MAX_CHUNK];
            match stream.try_read(&mut buffer) {
                Ok(0) => return Poll::Ready(Heard::Left(id)),
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    return Poll::Ready(Heard::Bytes(id, bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Heard::Left(id)),
            }
        }
        Poll::Pending
    }
}
