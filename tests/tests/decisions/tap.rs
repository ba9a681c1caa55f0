//! A tap on the wire between one upsmon and upsd: it carries lines on, and tells the record what was asked and answered.
//!
//! So a scenario can wait for "two more polls" instead of for two seconds, and see who was told to force what.

use nut_drill::record::{Recorder, What};
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The "program" whose lines are what passes the wire: `GET VAR u1 ups.status = VAR u1 ups.status "OL"`.
pub(super) const WIRE: &str = "wire";

/// What is written down when upsmon closes a connection.
const HUNG_UP: &str = "hung up";

/// Most connections that wait to be taken.
const BACKLOG: u32 = 16;

/// A tap, for as long as it lives.
pub(super) struct Tap {
    /// Where upsmon finds it.
    pub(super) port: u16,
    /// Keeps the port for us while nothing listens there.
    _kept: TcpSocket,
    task: JoinHandle<()>,
}

impl Tap {
    /// Starts one. `upsd` is upsd's port, `None` while there is none: then connections are refused, and those that were
    /// open are closed.
    pub(super) fn start(who: &'static str, recorder: Recorder, upsd: watch::Receiver<Option<u16>>) -> Self {
        let kept = socket(SocketAddr::from(([127, 0, 0, 1], 0)));
        let at = kept.local_addr().unwrap();
        let task = tokio::spawn(serve(who, recorder, upsd, at));
        Self { port: at.port(), _kept: kept, task }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket(at: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(at).unwrap();
    socket
}

async fn serve(
    who: &'static str,
    recorder: Recorder,
    mut upsd: watch::Receiver<Option<u16>>,
    at: SocketAddr,
) {
    loop {
        let Ok(Some(port)) = upsd.wait_for(Option::is_some).await.map(|port| *port) else { return };
        let listener = socket(at).listen(BACKLOG).unwrap();
        tokio::select! {
            () = accept(listener, port, who, &recorder) => {}
            _ = upsd.wait_for(|now| *now != Some(port)) => {}
        }
    }
}

async fn accept(listener: TcpListener, port: u16, who: &'static str, recorder: &Recorder) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            near = listener.accept() => {
                connections.spawn(carry(near.unwrap().0, port, who, recorder.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut near: TcpStream, port: u16, who: &'static str, recorder: Recorder) {
    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut asked, mut requests, mut answers) = (VecDeque::new(), Lines::default(), Lines::default());
    let (mut from_near, mut from_far) = ([0; 4096], [0; 4096]);
    let tell = |text: String| recorder.tell(who, What::Line { program: WIRE.to_owned(), text });
    loop {
        tokio::select! {
            count = near.read(&mut from_near) => {
                let Ok(count @ 1..) = count else {
                    tell(HUNG_UP.to_owned()).await;
                    return;
                };
                asked.extend(requests.push(&from_near[..count]));
                if far.write_all(&from_near[..count]).await.is_err() {
                    return;
                }
            }
            count = far.read(&mut from_far) => {
                let Ok(count @ 1..) = count else { return };
                if near.write_all(&from_far[..count]).await.is_err() {
                    return;
                }
                // Told when it has been passed on: who waits for a poll finds upsmon behind it.
                for answer in answers.push(&from_far[..count]) {
                    let request = asked.pop_front().unwrap_or_default();
                    tell(format!("{request} = {answer}")).await;
                }
            }
        }
    }
}

/// Bytes to whole lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.0.drain(..=end).collect();
            whole.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        whole
    }
}
