//! One client of the timer process: its lines in, their answers out.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nut_os::clock;
use nut_proto::lines::{LineBuffer, LineError};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use crate::pipe::MAX_LINE;

/// How long a client may take for its next request, or to read its answer.
const CLIENT: Duration = Duration::from_secs(10);

/// A line from a client, who waits for the answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) line: Result<Vec<u8>, LineError>,
    pub(super) client: Arc<UnixStream>,
    pub(super) answer: oneshot::Sender<Vec<u8>>,
}

/// Whether the other side has closed its end altogether. (One that only has nothing more to say still listens.)
pub(super) fn is_gone(client: &UnixStream) -> bool {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::empty())];
    let seen = poll(&mut fds, PollTimeout::ZERO);
    let [fd] = fds;
    seen.is_ok()
        && fd.revents().is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
}

/// Brings a client's lines to the timers and their answers back, until it leaves or says nothing for [`CLIENT`].
pub(super) async fn serve(client: UnixStream, ask: mpsc::Sender<Asked>) {
    let client = Arc::new(client);
    let mut lines = LineBuffer::with_limit(MAX_LINE);
    let mut buffer = [0; 4096];
    let mut deadline = clock::now() + CLIENT;
    loop {
        tokio::select! {
            biased;
            ready = client.ready(Interest::READABLE) => if ready.is_err() { return },
            () = clock::until(deadline) => return,
        }
        let count = match client.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        let mut found = Vec::new();
        lines.push(buffer.get(..count).unwrap_or_default(), |line| found.push(line.map(<[u8]>::to_vec)));
        for line in found {
            let (answer, answered) = oneshot::channel();
            if ask.send(Asked { line, client: Arc::clone(&client), answer }).await.is_err() {
                return;
            }
            let Ok(text) = answered.await else { return };
            deadline = clock::now() + CLIENT;
            tokio::select! {
                biased;
                written = write_all(&client, &text) => if written.is_err() { return },
                () = clock::until(deadline) => return,
            }
        }
    }
}

async fn write_all(client: &UnixStream, text: &[u8]) -> io::Result<()> {
    let mut rest = text;
    while !rest.is_empty() {
        client.writable().await?;
        match client.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream as StdUnixStream;

    #[tokio::test]
    async fn who_has_only_finished_speaking_is_not_gone() {
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        assert!(!is_gone(&ours));
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!is_gone(&ours));
        drop(theirs);
        assert!(is_gone(&ours));
    }
}
