//! Listening on a TCP socket, also when no descriptor is left.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::{BACKLOG, SocketError, is_out_of_descriptors, is_transient};

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

#[cfg(test)]
mod tests {
    use super::super::tests::soon;
    use super::*;

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
}
