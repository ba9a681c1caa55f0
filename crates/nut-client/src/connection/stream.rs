//! The bytes of a connection, in clear or encrypted.

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A stream of either kind.
pub enum Stream {
    /// As it comes.
    Clear(TcpStream),
    /// By TLS.
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Without what passes through it.
impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "Clear",
            Self::Encrypted(_) => "Encrypted",
        })
    }
}

impl Stream {
    /// Shakes hands. The name is not sent: servers of NUT have but one certificate.
    pub(super) async fn encrypted(stream: TcpStream, config: Arc<ClientConfig>) -> io::Result<Self> {
        let name = ServerName::try_from("upsd").map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self::Encrypted(Box::new(stream)))
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Clear(stream) => stream.write_all(bytes).await,
            Self::Encrypted(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Writes some of the bytes and says how many; [`flush`](Self::flush) sends them off. Giving up waiting loses
    /// nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes).await,
            Self::Encrypted(stream) => stream.write(bytes).await,
        }
    }

    /// Sends off what was written. Giving up waiting loses nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(_) => Ok(()),
            Self::Encrypted(stream) => stream.flush().await,
        }
    }

    /// Some of what comes; nothing at the end, be it told or not: NUT's servers do not tell it. Giving up waiting loses
    /// nothing.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(into).await,
            Self::Encrypted(stream) => or_end(stream.read(into).await),
        }
    }

    /// As [`Stream::read`] what is there already, without waiting.
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.try_read(into),
            Self::Encrypted(stream) => {
                let mut buffer = ReadBuf::new(into);
                match Pin::new(stream).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer) {
                    Poll::Ready(read) => or_end(read.map(|()| buffer.filled().len())),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }
}

fn or_end(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    }
}
