//! A server that stands for a device: reaching it, and the bytes to and from it.

use super::serial::Brought;
use nut_client::{ClientError, Connection, Deadlines, Family, Security, Stream};
use nut_os::log::plain;
use nut_proto::names::Server;
use std::fmt;
use std::io;
use std::pin::Pin;

/// Most bytes for the server that may wait until it takes them: a few questions, each of at most a line.
const MAX_WAITING: usize = 16 * 1024;

/// Most bytes taken from the server at once.
const CHUNK: usize = 4096;

/// A connection to a server, from the first try on.
pub(super) struct Upstream {
    server: Server,
    stage: Stage,
    waiting: Vec<u8>,
    /// Something was written that may not be on its way yet.
    unflushed: bool,
}

enum Stage {
    /// Kept here, so that who gives up waiting for bytes does not give up connecting.
    Reaching(Pin<Box<dyn Future<Output = Result<Stream, ClientError>>>>),
    Reached(Stream),
}

impl Upstream {
    /// Begins to reach it. Nothing happens but in [`next`](Self::next).
    pub(super) fn open(server: Server) -> Self {
        let reaching = Box::pin(reach(server.clone()));
        Self { server, stage: Stage::Reaching(reaching), waiting: Vec::new(), unflushed: false }
    }

    /// Waits for bytes, writing what waits to be written. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Brought {
        match self.bytes().await {
            Ok(bytes) => Brought::Bytes(bytes),
            Err(reason) => Brought::Gone(format!("{}: {reason}", self.server)),
        }
    }

    async fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let stream = match &mut self.stage {
            Stage::Reached(stream) => stream,
            Stage::Reaching(reaching) => {
                let stream = reaching.as_mut().await.map_err(|error| error.to_string())?;
                self.stage = Stage::Reached(stream);
                match &mut self.stage {
                    Stage::Reached(stream) => stream,
                    Stage::Reaching(_) => return Err("not reached".to_owned()),
                }
            }
        };
        let said = |error: io::Error| plain(&error);
        while !self.waiting.is_empty() {
            let count = stream.write(&self.waiting).await.map_err(said)?;
            self.waiting.drain(..count.min(self.waiting.len()));
            self.unflushed = true;
        }
        if self.unflushed {
            stream.flush().await.map_err(said)?;
            self.unflushed = false;
        }
        let mut buffer = [0; CHUNK];
        match stream.read(&mut buffer).await.map_err(said)? {
            0 => Err("the server has hung up".to_owned()),
            count => Ok(buffer.get(..count).unwrap_or_default().to_vec()),
        }
    }

    /// Keeps the bytes until [`next`](Self::next) writes them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.waiting.len() + bytes.len() > MAX_WAITING {
            return Err(format!("{}: does not take what is sent", self.server));
        }
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }
}

/// By TLS if the server speaks it, whatever its certificate, as NUT's does.
async fn reach(server: Server) -> Result<Stream, ClientError> {
    let mut connection = Connection::open(&server, Deadlines::default(), Family::Any).await?;
    connection.secure(&Security::attempt()?).await?;
    connection.into_stream().ok_or(ClientError::Disconnected)
}

/// Without what is said: a password may be among it.
impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("server", &self.server).finish_non_exhaustive()
    }
}
