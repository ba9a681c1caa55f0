//! Listening and queued output, with real sockets in private places.

use super::*;
use crate::files::scratch::Scratch;
use proptest::prelude::*;
use std::time::Duration;
use tokio::io::AsyncReadExt;

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("within the deadline")
}

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
async fn a_path_that_cannot_be_is_named_with_what_to_do() {
    let dir = Scratch::new();
    let base = dir.path("").as_os_str().len();
    let longest = dir.path(&"x".repeat(MAX_SOCKET_PATH - base));
    listen_at(&longest, Existing::Respect).unwrap();
    let error = listen_at(&dir.path(&"x".repeat(MAX_SOCKET_PATH - base + 1)), Existing::Respect).unwrap_err();
    assert!(error.to_string().contains("is 108 bytes long, 107 are possible"), "{error}");
    let error = listen_at(&dir.path("none/s"), Existing::Respect).unwrap_err();
    assert!(error.to_string().contains("bind failed"), "{error}");
}

#[tokio::test]
async fn tcp_clients_are_served_without_delay() {
    let mut acceptor = TcpAcceptor::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let (client, accepted) =
        tokio::join!(soon(TcpStream::connect(acceptor.address())), soon(acceptor.accept()));
    let Accepted::Client(served, from) = accepted.unwrap() else { panic!("there are descriptors") };
    assert!(served.nodelay().unwrap());
    assert_eq!(from, client.unwrap().local_addr().unwrap());
}

#[tokio::test]
async fn an_address_that_is_taken_or_not_ours_is_said_plainly() {
    let acceptor = TcpAcceptor::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = acceptor.address();
    let error = TcpAcceptor::listen(address).unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen on {address}: another program listens there"));
    let error = TcpAcceptor::listen("192.0.2.7:3493".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "cannot listen on 192.0.2.7:3493: no such address on this host");
}

#[tokio::test]
async fn an_ipv6_address_leaves_the_ipv4_port_free() {
    let Ok(six) = TcpAcceptor::listen("[::]:0".parse().unwrap()) else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    let four = SocketAddr::from(([127, 0, 0, 1], six.address().port()));
    TcpAcceptor::listen(four).expect("IPV6_V6ONLY is on");
}

#[test]
fn the_descriptor_limit_can_be_asked_for_again() {
    let limit = raise_descriptor_limit().unwrap();
    assert_eq!(raise_descriptor_limit().unwrap(), limit);
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, limit);
}

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
