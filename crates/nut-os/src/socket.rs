//! Listening on Unix and TCP sockets, and output that never makes us wait.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, setsockopt, socket, sockopt,
};
use nix::unistd::{Gid, chown};
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tracing::warn;

use crate::files::group_name;

/// How many connections may wait to be accepted; NUT has 16. The kernel may cut it (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// Longest path of a Unix socket, in bytes: what the kernel's address has room for, less the final NUL.
pub const MAX_SOCKET_PATH: usize = 107;

/// Why we cannot listen.
#[derive(Debug, Error)]
pub enum SocketError {
    /// The path does not fit into the kernel's address.
    #[error("the socket path {} is {len} bytes long, {MAX_SOCKET_PATH} are possible: choose a shorter state path or UPS name", path.display())]
    PathTooLong {
        /// Which path.
        path: PathBuf,
        /// Its length.
        len: usize,
    },
    /// Somebody listens there already.
    #[error("another program answers on {}", path.display())]
    Taken {
        /// Where.
        path: PathBuf,
    },
    /// Something else is there, which we will not remove.
    #[error("{} is there already and is no socket: move it away", path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refused a Unix socket.
    #[error("cannot listen on {}: {doing} failed (its directory: {})", path.display(), crate::files::describe_permissions(path.parent().unwrap_or(path)))]
    Unix {
        /// Where.
        path: PathBuf,
        /// What failed.
        doing: &'static str,
        /// Why.
        source: Errno,
    },
    /// The system refused a TCP socket.
    #[error("cannot listen on {address}{}", hint(source))]
    Tcp {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// In words, what the system's own words leave open.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => ": no such address on this host",
        io::ErrorKind::AddrInUse => ": another program listens there",
        io::ErrorKind::PermissionDenied => ": ports below 1024 are for root",
        _ => "",
    }
}

/// What to do if somebody already listens on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Leave it to him and fail.
    Respect,
    /// Take the place, as NUT's drivers do. The other's clients stay with him, new ones come to us.
    TakeOver,
}

/// A Unix socket we listen on. Its file is removed when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, to know the file by.
    file: (u64, u64),
}

impl UnixSocket {
    /// Listens on `path` with this file mode (NUT: 0660) and, if given and possible, group.
    ///
    /// A file left over by a process that is gone is removed; something that is no socket never. Nobody can connect
    /// before mode and group are set. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the place is taken or the system refuses. A group that cannot be set is only warned about, as in NUT.
    pub fn listen(
        path: &Path,
        mode: u32,
        group: Option<Gid>,
        existing: Existing,
    ) -> Result<Self, SocketError> {
        let refused = |doing| move |source| SocketError::Unix { path: path.to_path_buf(), doing, source };
        let io_refused = |doing| move |error: io::Error| refused(doing)(errno_of(&error));
        check_path(path)?;
        make_room(path, existing)?;

        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(refused("socket"))?;
        let address = UnixAddr::new(path).map_err(refused("bind"))?;
        bind(fd.as_raw_fd(), &address).map_err(refused("bind"))?;
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).map_err(io_refused("chmod"))?;
        if let Some(group) = group
            && let Err(error) = chown(path, None, Some(group))
        {
            warn!(path = %path.display(), group = group_name(group), %error, "cannot give the socket to this group");
        }
        let backlog = i32::try_from(BACKLOG).ok().and_then(|size| Backlog::new(size).ok());
        listen(&fd, backlog.unwrap_or(Backlog::MAXCONN)).map_err(refused("listen"))?;

        let meta = std::fs::symlink_metadata(path).map_err(io_refused("stat"))?;
        let listener = UnixListener::from_std(StdUnixListener::from(fd)).map_err(io_refused("epoll"))?;
        Ok(Self { listener, path: path.to_path_buf(), file: (meta.dev(), meta.ino()) })
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the system has no room for it; see [`is_out_of_descriptors`].
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still the one we made: not removed, not taken over.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if self.is_in_place() {
            // Where we may not, the next one to listen here will.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether a Unix socket can have this path.
///
/// # Errors
/// When it is longer than [`MAX_SOCKET_PATH`].
pub fn check_path(path: &Path) -> Result<(), SocketError> {
    let len = path.as_os_str().as_bytes().len();
    if len > MAX_SOCKET_PATH {
        return Err(SocketError::PathTooLong { path: path.to_path_buf(), len });
    }
    Ok(())
}

/// Whether somebody listens on this Unix socket. Never waits.
#[must_use]
pub fn is_answered(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let tried = UnixAddr::new(path).and_then(|address| {
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(fd.as_raw_fd(), &address)
    });
    // EAGAIN: he listens, but has a long queue. EACCES: somebody's, and not ours to judge.
    matches!(tried, Ok(()) | Err(Errno::EAGAIN | Errno::EACCES | Errno::EPERM))
}

fn make_room(path: &Path, existing: Existing) -> Result<(), SocketError> {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        // Nothing there, or nothing to be seen: then bind will say why.
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_path_buf() });
    }
    if existing == Existing::Respect && is_answered(path) {
        return Err(SocketError::Taken { path: path.to_path_buf() });
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let source = errno_of(&error);
            Err(SocketError::Unix { path: path.to_path_buf(), doing: "removing the old socket", source })
        }
        _ => Ok(()),
    }
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A TCP socket we listen on, with one descriptor in reserve for the day when there are no more.
#[derive(Debug)]
pub struct TcpAcceptor {
    listener: TcpListener,
    address: SocketAddr,
    reserve: Option<File>,
}

/// What came of waiting for a connection.
#[derive(Debug)]
pub enum Accepted {
    /// A client. Its output is sent without delay (`TCP_NODELAY`).
    Client(TcpStream, SocketAddr),
    /// A client who was sent away, because no descriptor is left. Worth counting, not worth a line each.
    SentAway,
}

impl TcpAcceptor {
    /// Listens on this address; an IPv6 one takes IPv6 clients only. Port 0 lets the system choose.
    ///
    /// Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(address: SocketAddr) -> Result<Self, SocketError> {
        let refused = |source| SocketError::Tcp { address, source };
        let listener = listen_tcp(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, reserve: File::open("/dev/null").ok() })
    }

    /// Where it listens, with the port the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Giving up waiting loses none.
    ///
    /// # Errors
    /// When the system has no memory, or the socket is broken.
    pub async fn accept(&mut self) -> io::Result<Accepted> {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    // A client who is gone already will be noticed at the first read.
                    let _ = stream.set_nodelay(true);
                    return Ok(Accepted::Client(stream, from));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) if is_out_of_descriptors(&error) && self.reserve.is_some() => {
                    self.reserve = None;
                    let sent_away = self.listener.accept().await.map(drop);
                    self.reserve = File::open("/dev/null").ok();
                    return sent_away.map(|()| Accepted::SentAway);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.is_ipv6() {
        setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Whether no descriptor is left, for this process or the whole machine.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(errno_of(error), Errno::EMFILE | Errno::ENFILE)
}

/// The client went away between knocking and being let in, or the network has a word; the next one may be fine.
fn is_transient(error: &io::Error) -> bool {
    use Errno::{
        ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT, EOPNOTSUPP,
        EPROTO,
    };
    matches!(
        errno_of(error),
        ECONNABORTED
            | EINTR
            | EPROTO
            | ENETDOWN
            | ENOPROTOOPT
            | EHOSTDOWN
            | ENONET
            | EHOSTUNREACH
            | EOPNOTSUPP
            | ENETUNREACH
    )
}

/// Raises our limit of open descriptors as far as we may, and says what it is now.
///
/// # Errors
/// When the system refuses; the limit is then as it was.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

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
mod tests;
