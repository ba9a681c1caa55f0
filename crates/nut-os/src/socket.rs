//! Sockets as a server needs them: listening, never waiting for a reader, and what may be in the way.

mod out_buffer;
mod tcp;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thiserror::Error;

pub use out_buffer::{Full, OutBuffer, Progress};
pub use tcp::{Accepted, TcpAcceptor};
pub use unix::{BoundSocket, Existing, MAX_SOCKET_PATH, UnixSocket, check_path, is_answered};

/// How many connections may wait to be accepted; NUT has 16. The kernel may cut it (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

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

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what).await.expect("within the deadline")
    }

    #[test]
    fn the_descriptor_limit_can_be_asked_for_again() {
        let limit = raise_descriptor_limit().unwrap();
        assert_eq!(raise_descriptor_limit().unwrap(), limit);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, limit);
    }
}
