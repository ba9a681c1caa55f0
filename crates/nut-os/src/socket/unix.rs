//! Listening on a Unix socket, in a place that may not be empty.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Gid;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use super::{BACKLOG, SocketError, errno_of, is_transient};
use crate::files::{directory_of, group_name};
use crate::privilege::RunAs;

/// Longest path of a Unix socket, in bytes: what the kernel's address has room for, less the final NUL.
pub const MAX_SOCKET_PATH: usize = 107;

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
    entry: Entry,
}

/// A Unix socket on which nobody is answered yet: it needs no runtime, so that root can make it for a user whom it
/// becomes later. Its file is removed when this is dropped, if it is still ours.
#[derive(Debug)]
pub struct BoundSocket {
    listener: StdUnixListener,
    entry: Entry,
}

/// The file of a socket of ours.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    /// Device and inode, to know the file by.
    file: (u64, u64),
}

impl Entry {
    fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_in_place() {
            // Where we may not, the next one to listen here will.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl BoundSocket {
    /// Takes `path` with this file mode and, if given and possible, group; see [`UnixSocket::listen`].
    ///
    /// # Errors
    /// When the place is taken or the system refuses. A group that cannot be set is only warned about, as in NUT.
    pub fn bind(path: &Path, mode: u32, group: Option<Gid>, existing: Existing) -> Result<Self, SocketError> {
        let refused = |doing| move |source| SocketError::Unix { path: path.to_path_buf(), doing, source };
        let io_refused = |doing| move |error: io::Error| refused(doing)(errno_of(&error));
        check_path(path)?;
        make_room(path, existing)?;

        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).map_err(refused("socket"))?;
        let address = UnixAddr::new(path).map_err(refused("bind"))?;
        // Made with its mode: a path that is given one afterwards could lead elsewhere by then.
        let usual = umask(Mode::from_bits_truncate(!mode & 0o777));
        let bound = bind(fd.as_raw_fd(), &address);
        umask(usual);
        bound.map_err(refused("bind"))?;
        if let Some(group) = group
            && let Err(error) = lchown(path, None, Some(group.as_raw()))
        {
            warn!(path = %path.display(), group = group_name(group), %error, "cannot give the socket to this group");
        }
        let backlog = i32::try_from(BACKLOG).ok().and_then(|size| Backlog::new(size).ok());
        listen(&fd, backlog.unwrap_or(Backlog::MAXCONN)).map_err(refused("listen"))?;

        let meta = std::fs::symlink_metadata(path).map_err(io_refused("stat"))?;
        let entry = Entry { path: path.to_path_buf(), file: (meta.dev(), meta.ino()) };
        Ok(Self { listener: StdUnixListener::from(fd), entry })
    }

    /// Makes one as root that belongs to somebody else, in a directory where he could not make it himself.
    ///
    /// Gives nothing where others may write: there he can, and there somebody might put another file into its place
    /// before it is given away.
    ///
    /// # Errors
    /// As [`BoundSocket::bind`].
    pub fn bind_for(who: &RunAs, path: &Path, mode: u32) -> Result<Option<Self>, SocketError> {
        let is_roots_alone = |meta: std::fs::Metadata| meta.uid() == 0 && meta.mode() & 0o022 == 0;
        if !std::fs::symlink_metadata(directory_of(path)).is_ok_and(is_roots_alone) {
            return Ok(None);
        }
        let bound = Self::bind(path, mode, None, Existing::TakeOver)?;
        lchown(path, Some(who.uid.as_raw()), Some(who.gid.as_raw())).map_err(|error| SocketError::Unix {
            path: path.to_path_buf(),
            doing: "chown",
            source: errno_of(&error),
        })?;
        Ok(Some(bound))
    }

    /// Begins to answer. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn serve(self) -> Result<UnixSocket, SocketError> {
        let Self { listener, entry } = self;
        let path = entry.path.clone();
        let listener = UnixListener::from_std(listener).map_err(|error| SocketError::Unix {
            path,
            doing: "epoll",
            source: errno_of(&error),
        })?;
        Ok(UnixSocket { listener, entry })
    }
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
        BoundSocket::bind(path, mode, group, existing)?.serve()
    }

    /// The next connection.
    ///
    /// # Errors
    /// When the system has no room for it; see [`is_out_of_descriptors`](super::is_out_of_descriptors).
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
        &self.entry.path
    }

    /// Whether the file is still the one we made: not removed, not taken over.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.entry.is_in_place()
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

#[cfg(test)]
mod tests {
    use super::super::tests::soon;
    use super::*;
    use nut_drill::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn listen_at(path: &Path, existing: Existing) -> Result<UnixSocket, SocketError> {
        UnixSocket::listen(path, 0o660, None, existing)
    }

    #[tokio::test]
    async fn a_socket_has_its_mode_takes_clients_and_goes_with_us() {
        let dir = Scratch::new();
        let path = dir.path("apcsmart-nicole");
        let socket = UnixSocket::listen(&path, 0o660, Some(Gid::effective()), Existing::Respect).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o660);
        let (client, served) = tokio::join!(soon(UnixStream::connect(&path)), soon(socket.accept()));
        served.unwrap().write_all(b"PONG\n").await.unwrap();
        let mut heard = String::new();
        soon(client.unwrap().read_to_string(&mut heard)).await.unwrap();
        assert_eq!(heard, "PONG\n");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_left_over_socket_is_replaced_but_not_one_that_answers() {
        let dir = Scratch::new();
        let path = dir.path("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists() && !is_answered(&path));
        let first = listen_at(&path, Existing::Respect).unwrap();
        assert!(is_answered(&path));
        assert!(matches!(listen_at(&path, Existing::Respect), Err(SocketError::Taken { .. })));
        assert!(first.is_in_place());
    }

    #[tokio::test]
    async fn who_was_taken_over_leaves_his_successors_socket_alone() {
        let dir = Scratch::new();
        let path = dir.path("s");
        let first = listen_at(&path, Existing::Respect).unwrap();
        let second = listen_at(&path, Existing::TakeOver).unwrap();
        assert!(!first.is_in_place());
        drop(first);
        assert!(second.is_in_place() && is_answered(&path));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_never_removed() {
        let dir = Scratch::new();
        std::fs::write(dir.path("file"), "precious").unwrap();
        let error = listen_at(&dir.path("file"), Existing::TakeOver).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }));
        assert_eq!(std::fs::read_to_string(dir.path("file")).unwrap(), "precious");
    }

    #[tokio::test]
    async fn root_makes_one_for_another_only_where_nobody_else_may_write() {
        if !crate::privilege::is_root() {
            eprintln!("skipped: only root can give something away");
            return;
        }
        let dir = Scratch::new();
        let path = dir.path("s");
        let who = RunAs { name: "nobody".into(), uid: 65_534.into(), gid: 65_534.into() };
        for (mode, is_made) in [(0o777, false), (0o1777, false), (0o770, false), (0o755, true)] {
            std::fs::set_permissions(dir.path(""), std::fs::Permissions::from_mode(mode)).unwrap();
            let bound = BoundSocket::bind_for(&who, &path, 0o600).unwrap();
            assert_eq!((bound.is_some(), path.exists()), (is_made, is_made), "{mode:o}");
        }
        let socket = BoundSocket::bind_for(&who, &path, 0o600).unwrap().unwrap().serve().unwrap();
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (65_534, 65_534, 0o600));
        assert!(is_answered(&path));
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_is_named_with_what_to_do() {
        let dir = Scratch::new();
        let base = dir.path("").as_os_str().len();
        let longest = dir.path(&"x".repeat(MAX_SOCKET_PATH - base));
        listen_at(&longest, Existing::Respect).unwrap();
        let error =
            listen_at(&dir.path(&"x".repeat(MAX_SOCKET_PATH - base + 1)), Existing::Respect).unwrap_err();
        assert!(error.to_string().contains("is 108 bytes long, 107 are possible"), "{error}");
        let error = listen_at(&dir.path("none/s"), Existing::Respect).unwrap_err();
        assert!(error.to_string().contains("bind failed"), "{error}");
    }
}
