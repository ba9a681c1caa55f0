//! A connection to the system bus, at home in our own loop.
//!
//! zbus would connect in a thread of its own, and take descriptors in such a way that every hook inherits them: one that
//! keeps the machine awake would then do so for as long as a hook lives. So the socket is ours.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nut_os::log::plain;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::task::consume_budget;
use zbus::address::Transport;
use zbus::address::transport::UnixSocket;
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::{Address, Connection};

/// Most descriptors that one read takes in; we ask for one at a time, and further ones are closed.
const MAX_DESCRIPTORS: usize = 16;

/// Most bytes that the other end may say until the connection stands; a bus needs some hundred. zbus itself would read on for
/// as long as no line ends. (A message has a limit of its own there, 128 MiB; it takes root to send one of those.)
const MAX_GREETING: usize = 64 * 1024;

/// Connects to the system bus: where `DBUS_SYSTEM_BUS_ADDRESS` says, else at its usual place.
///
/// # Errors
/// Why there is none, in one clause. Has no deadline of its own.
pub(super) async fn connect() -> Result<Connection, String> {
    let address = Address::system().map_err(|error| error.to_string())?;
    let Transport::Unix(socket) = address.transport() else {
        return Err(format!("{address}: only a bus at a local socket can hand out descriptors"));
    };
    let stream = match socket.path() {
        UnixSocket::File(path) => UnixStream::connect(path).await,
        UnixSocket::Abstract(name) => UnixStream::connect(Path::new(&abstract_name(name))).await,
        UnixSocket::Dir(_) | UnixSocket::TmpDir(_) => Err(io::Error::from(ErrorKind::Unsupported)),
        _ => Err(io::Error::from(ErrorKind::Unsupported)),
    };
    let (read, write) = stream.map_err(|error| format!("{address}: {}", plain(&error)))?.into_split();
    let left = Arc::new(AtomicUsize::new(MAX_GREETING));
    let read = Reader { stream: read, left: Arc::clone(&left) };
    let (read, write): (Box<dyn ReadHalf>, Box<dyn WriteHalf>) = (Box::new(read), Box::new(write));
    let built = Builder::socket(Split::new(read, write)).build().await;
    left.store(usize::MAX, Ordering::Relaxed);
    built.map_err(|error| format!("{address}: {error}"))
}

/// An abstract name as the path that the system takes for one.
fn abstract_name(name: &OsStr) -> OsString {
    let mut path = OsString::from("\0");
    path.push(name);
    path
}

/// The end that is read from. What descriptors come are closed in every program that we start.
#[derive(Debug)]
struct Reader {
    stream: OwnedReadHalf,
    /// How many bytes it may still bring; no matter how many once the connection stands.
    left: Arc<AtomicUsize>,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let stream: &UnixStream = self.stream.as_ref();
        loop {
            // Whoever always has something to say must not have all the time there is.
            consume_budget().await;
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || receive(stream.as_fd(), buffer)) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
                Ok((count, descriptors)) => {
                    let left = self.left.load(Ordering::Relaxed);
                    if left < count {
                        return Err(io::Error::other("it says too much, and is no bus"));
                    }
                    if left < usize::MAX {
                        self.left.store(left - count, Ordering::Relaxed);
                    }
                    return Ok((count, descriptors));
                }
            }
        }
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags)?;
    if message.bytes == 0 {
        return Err(io::Error::from(ErrorKind::UnexpectedEof));
    }
    let descriptors = ancillary.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
        _ => Vec::new(),
    });
    Ok((message.bytes, descriptors.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::io::IoSlice;

    fn reader(stream: OwnedReadHalf) -> Reader {
        Reader { stream, left: Arc::new(AtomicUsize::new(MAX_GREETING)) }
    }

    #[tokio::test]
    async fn a_descriptor_that_comes_is_closed_in_every_program_we_start() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (sent, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let sent = [sent.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&sent)));
        sendmsg(&theirs, &[IoSlice::new(b"here")], &mut ancillary, SendFlags::empty()).unwrap();
        let (read, _write) = ours.into_split();
        let mut buffer = [0; 16];
        let (count, descriptors) = reader(read).recvmsg(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..count], descriptors.len()), (&b"here"[..], 1));
        assert!(fcntl_getfd(&descriptors[0]).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[tokio::test]
    async fn a_bus_that_hangs_up_is_gone_and_not_silent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let (read, _write) = ours.into_split();
        let error = reader(read).recvmsg(&mut [0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn who_says_much_before_the_connection_stands_is_no_bus() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (read, _write) = ours.into_split();
        let mut reader = reader(read);
        // Text without end, and always some of it there.
        let pouring = async {
            loop {
                theirs.writable().await.unwrap();
                let _ = theirs.try_write(&[b'A'; 4096]);
                consume_budget().await;
            }
        };
        let reading = async {
            let mut buffer = [0; 1024];
            let mut taken = 0;
            loop {
                match reader.recvmsg(&mut buffer).await {
                    Ok((count, _)) => taken += count,
                    Err(error) => return (taken, error.to_string()),
                }
            }
        };
        let said = tokio::select! {
            () = pouring => unreachable!("it goes on for ever"),
            said = reading => said,
        };
        assert!(said.0 <= MAX_GREETING && said.1.contains("too much"), "{said:?}");
        reader.left.store(usize::MAX, Ordering::Relaxed);
        let _ = theirs.try_write(b"more");
        assert!(reader.recvmsg(&mut [0; 1024]).await.is_ok());
    }
}
