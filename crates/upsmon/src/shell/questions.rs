//! Answering `upsmon --explain`: a local socket beside the PID file, for our own user and root alone.
//!
//! One request, one answer, and the connection is over. Who asks gets what the monitor says of itself; nothing that he
//! sends, and no way of being slow, reaches the monitor.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nut_os::clock;
use nut_os::log::Chain;
use nut_os::privilege::RunAs;
use nut_os::socket::{BoundSocket, Existing, UnixSocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

/// What is asked.
pub const REQUEST: &[u8] = b"EXPLAIN\n";

/// What the answer begins with; its length in bytes and a line feed follow, then the text.
pub const ANSWER: &str = "OK ";

/// The file mode: whom we run as, and nobody else but root.
const MODE: u32 = 0o600;

/// Most that are answered at the same time; others wait to be let in.
const MAX_CLIENTS: usize = 8;

/// How long one may take to ask and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody is let in after that did not work.
const PAUSE: Duration = Duration::from_secs(1);

/// Where somebody waits for the answer.
pub(super) type Asker = oneshot::Sender<String>;

/// Where questions are taken.
#[derive(Debug)]
pub struct QuestionPlace {
    path: PathBuf,
    /// Made by root for us.
    bound: Option<BoundSocket>,
}

impl QuestionPlace {
    /// Here.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf(), bound: None }
    }

    /// Here, made now as root if the one we become could not make it.
    #[must_use]
    pub fn at_for(path: &Path, who: &RunAs) -> Self {
        let bound = BoundSocket::bind_for(who, path, MODE).unwrap_or_else(|error| {
            tell_refused(&error);
            None
        });
        Self { path: path.to_path_buf(), bound }
    }
}

/// The socket, and those who ask at present.
#[derive(Debug)]
pub(super) struct Questions {
    /// Nothing if it could not be had: then nobody can ask, and that is all.
    socket: Option<UnixSocket>,
    clients: JoinSet<()>,
    patience: Duration,
    sender: mpsc::Sender<Asker>,
    asked: mpsc::Receiver<Asker>,
}

impl Questions {
    /// Begins to take questions. Whoever listened here before has ended, or had no right to: we are the instance of
    /// this name.
    pub(super) fn open(place: QuestionPlace) -> Self {
        let socket = match place.bound {
            Some(bound) => bound.serve(),
            None => UnixSocket::listen(&place.path, MODE, None, Existing::TakeOver),
        };
        let (sender, asked) = mpsc::channel(MAX_CLIENTS);
        let socket = socket.map_err(|error| tell_refused(&error)).ok();
        Self { socket, clients: JoinSet::new(), patience: PATIENCE, sender, asked }
    }

    /// The next who asks. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Asker {
        loop {
            let has_room = self.clients.len() < MAX_CLIENTS;
            tokio::select! {
                // It never ends, since we hold a sender ourselves.
                Some(asker) = self.asked.recv() => return asker,
                Some(_) = self.clients.join_next() => {}
                client = let_in(self.socket.as_ref()), if has_room => {
                    self.clients.spawn(serve(client, self.sender.clone(), self.patience));
                }
            }
        }
    }
}

fn tell_refused(error: &nut_os::socket::SocketError) {
    warn!("{}: upsmon --explain will not reach this instance", Chain(error));
}

async fn let_in(socket: Option<&UnixSocket>) -> UnixStream {
    loop {
        match socket {
            None => return std::future::pending().await,
            Some(socket) => match socket.accept().await {
                Ok(client) => return client,
                Err(error) => {
                    debug!(%error, "who asks cannot be let in");
                    clock::until(clock::now() + PAUSE).await;
                }
            },
        }
    }
}

/// Serves one; one who is slow, or asks something else, costs his connection.
async fn serve(mut client: UnixStream, sender: mpsc::Sender<Asker>, patience: Duration) {
    let served = timeout(patience, async {
        let mut request = [0; REQUEST.len()];
        client.read_exact(&mut request).await?;
        if request != REQUEST {
            return Err(io::Error::other("that is no question"));
        }
        let (asker, answer) = oneshot::channel();
        let nobody = || io::Error::other("nobody answers any more");
        sender.send(asker).await.map_err(|_| nobody())?;
        let text = answer.await.map_err(|_| nobody())?;
        client.write_all(format!("{ANSWER}{}\n{text}", text.len()).as_bytes()).await?;
        client.shutdown().await
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a question came to nothing"),
        Err(_) => debug!("somebody takes too long to ask, or to take the answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::explain;
    use super::*;
    use nut_drill::scratch::Scratch;

    /// Those who ask nothing, ask nonsense, or do not take what they asked for cost themselves their connection, and
    /// others a little time.
    #[test]
    fn who_stalls_is_cut_off_and_all_others_are_answered() {
        let dir = Scratch::new();
        let path = dir.path("upsmon.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut questions = Questions::open(QuestionPlace::at(&path));
            questions.patience = Duration::from_millis(200);
            let answering = async {
                loop {
                    // More than a socket holds.
                    let _ = questions.next().await.send("x".repeat(1_000_000));
                }
            };
            let asking = async {
                let mut stalled = Vec::new();
                for request in
                    [&b""[..], b"EXPL", b"NONSENSE", b"EXPLAIN\n"].iter().cycle().take(3 * MAX_CLIENTS)
                {
                    let mut client = UnixStream::connect(&path).await.unwrap();
                    client.write_all(request).await.unwrap();
                    stalled.push(client);
                }
                let places = [path.clone()];
                let answer = explain::ask(&places, || None).await.unwrap();
                assert_eq!(answer.len(), 1_000_000);
            };
            tokio::select! {
                () = answering => unreachable!("it goes on for ever"),
                () = asking => {}
            }
        });
        assert!(!path.exists());
    }
}
