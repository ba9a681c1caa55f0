//! A network cable: a remote host's way to `upsd`, with an address of its own, which can be cut, slowed and restored.
//!
//! The host connects to the relay; the relay connects on from the host's address (127.x.y.z, which needs no set-up on
//! Linux), so that `upsd` sees each host come from where it should.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes carried at a time.
const PIECE: usize = 4096;

/// What the cable is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cable {
    /// As it should be.
    #[default]
    Good,
    /// Each piece of data comes so much later.
    Slow(Duration),
    /// Nothing passes, nobody is told: connections stand, new ones are not answered.
    Cut,
}

/// A running relay; dropped, it takes its connections with it.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    cable: watch::Sender<Cable>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Listens on a port of loopback that the kernel gives, and carries each connection to `to`, coming from `from`.
    ///
    /// # Errors
    /// When loopback cannot be listened on.
    pub async fn start(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (cable, seen) = watch::channel(Cable::Good);
        let task = tokio::spawn(accept(listener, IpAddr::V4(from), to, seen));
        Ok(Self { port, cable, task })
    }

    /// Where the host connects to, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes the cable like that, for connections that stand and for new ones.
    pub fn set(&self, cable: Cable) {
        self.cable.send_replace(cable);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, from: IpAddr, to: SocketAddr, cable: watch::Receiver<Cable>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            near = listener.accept() => match near {
                Ok((near, _)) => {
                    connections.spawn(carry(near, from, to, cable.clone()));
                }
                // Too many open files: others may be closed soon.
                Err(_) => crate::stage::turn().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until either side ends it.
async fn carry(near: TcpStream, from: IpAddr, to: SocketAddr, mut cable: watch::Receiver<Cable>) {
    pass(&mut cable).await;
    let far = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        socket.connect(to).await
    };
    let Ok(far) = far.await else { return };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        () = pump(near_in, far_out, cable.clone()) => {}
        () = pump(far_in, near_out, cable) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cable: watch::Receiver<Cable>) {
    let mut piece = vec![0; PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        pass(&mut cable).await;
        if to.write_all(piece.get(..count).unwrap_or_default()).await.is_err() {
            break;
        }
    }
    pass(&mut cable).await;
}

/// Waits as long as the cable makes a piece of data wait.
async fn pass(cable: &mut watch::Receiver<Cable>) {
    let slow = match cable.wait_for(|cable| *cable != Cable::Cut).await.map(|cable| *cable) {
        Ok(Cable::Slow(by)) => by,
        // The relay is gone, and this connection with it.
        Ok(Cable::Good | Cable::Cut) | Err(_) => return,
    };
    nut_os::clock::until(nut_os::clock::now().after(slow)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_with_source(listener: TcpListener) {
        while let Ok((mut stream, source)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.write_all(format!("{}\n", source.ip()).as_bytes()).await;
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            });
        }
    }

    async fn read_line(stream: &mut TcpStream) -> String {
        let mut line = String::new();
        loop {
            let byte = stream.read_u8().await.unwrap();
            if byte == b'\n' {
                return line;
            }
            line.push(char::from(byte));
        }
    }

    #[tokio::test]
    async fn a_host_comes_from_its_own_address_and_its_cable_can_be_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        tokio::spawn(echo_with_source(listener));
        let relay = Relay::start(Ipv4Addr::new(127, 0, 1, 11), to).await.unwrap();
        let mut host = TcpStream::connect(("127.0.0.1", relay.port())).await.unwrap();
        assert_eq!(read_line(&mut host).await, "127.0.1.11");

        relay.set(Cable::Cut);
        host.write_all(b"x").await.unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(100), host.read_u8()).await;
        assert!(silent.is_err(), "nothing passes a cut cable");

        relay.set(Cable::Good);
        let byte = tokio::time::timeout(Duration::from_secs(10), host.read_u8()).await.unwrap().unwrap();
        assert_eq!(byte, b'x');
    }
}
