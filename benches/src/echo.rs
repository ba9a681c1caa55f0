//! The limit: one thread, one epoll, one read and one write a batch of requests, and no thought in between.
//!
//! It knows a few requests and the bytes to return for each; that is all a server could possibly save.

use crate::error::{BenchError, Doing as _};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{Backlog, listen};
use std::collections::HashMap;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// The first argument that makes this program the echo server.
pub(crate) const WORD: &str = "echo-server";

/// As many connections may wait as the kernel allows.
const BACKLOG: i32 = 4096;

const LISTENER: u64 = u64::MAX;
const PARENT: u64 = u64::MAX - 1;

/// A request and what is answered.
pub(crate) type Answers = Vec<(String, String)>;

struct Client {
    stream: TcpStream,
    half: Vec<u8>,
    /// What the client has not taken yet.
    out: Vec<u8>,
}

/// Takes the answers from stdin (one line of JSON), says its port on stdout, serves until stdin ends.
pub(crate) fn serve() -> Result<(), BenchError> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).doing("reading the answers")?;
    let answers: Answers =
        serde_json::from_str(&line).map_err(io::Error::from).doing("reading the answers")?;
    // Big enough already: what the listener can hold is said by the second listen().
    let listener = TcpListener::bind(("127.0.0.1", 0)).doing("listening")?;
    listener.set_nonblocking(true).doing("listening")?;
    listen(&listener, Backlog::new(BACKLOG).doing("listening")?).doing("listening")?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("making an epoll")?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).doing("watching the listener")?;
    epoll.add(io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, PARENT)).doing("watching stdin")?;
    let port = listener.local_addr().doing("asking for the port")?.port();
    writeln!(io::stdout(), "{port}").doing("telling the port")?;

    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut number = 0;
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.doing("waiting")?,
        };
        for event in events.iter().take(count) {
            match event.data() {
                PARENT => return Ok(()),
                LISTENER => {
                    while let Ok((stream, _)) = listener.accept() {
                        let made = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
                        number += 1;
                        if made.is_ok() && epoll.add(&stream, wanted(EpollFlags::EPOLLIN, number)).is_ok() {
                            clients.insert(number, Client { stream, half: Vec::new(), out: Vec::new() });
                        }
                    }
                }
                number => {
                    let Some(client) = clients.get_mut(&number) else { continue };
                    match client.serve(&answers, &mut buffer) {
                        Ok(before) => {
                            let flags = match client.out.is_empty() {
                                true => EpollFlags::EPOLLIN,
                                false => EpollFlags::EPOLLOUT,
                            };
                            if before == client.out.is_empty() {
                                continue;
                            }
                            epoll.modify(&client.stream, &mut wanted(flags, number)).doing("watching")?;
                        }
                        Err(_) => drop(clients.remove(&number)),
                    }
                }
            }
        }
    }
}

fn wanted(flags: EpollFlags, number: u64) -> EpollEvent {
    EpollEvent::new(flags, number)
}

impl Client {
    /// Serves what is ready; says whether nothing was waiting to be written before.
    fn serve(&mut self, answers: &Answers, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.out.is_empty() {
            self.write(&[])?;
            return Ok(false);
        }
        let count = match self.stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let half = std::mem::take(&mut self.half);
        if half.is_empty()
            && let Some((_, answer)) = answers.iter().find(|(request, _)| request.as_bytes() == bytes)
        {
            // One request: its answer is written from where it lies.
            self.write(answer.as_bytes())?;
            return Ok(true);
        }
        let all = [half.as_slice(), bytes].concat();
        let mut reply = Vec::new();
        let mut rest = all.as_slice();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, tail) = rest.split_at(at + 1);
            rest = tail;
            let answer = answers.iter().find(|(request, _)| request.as_bytes() == line);
            reply.extend_from_slice(answer.map_or(b"ERR UNKNOWN-COMMAND\n", |(_, answer)| answer.as_bytes()));
        }
        self.half = rest.to_vec();
        self.write(&reply)?;
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.out.is_empty() {
            let count = written(self.stream.write(bytes))?;
            self.out.extend_from_slice(bytes.get(count..).unwrap_or_default());
        } else {
            self.out.extend_from_slice(bytes);
            let count = written(self.stream.write(&self.out))?;
            self.out.drain(..count);
        }
        Ok(())
    }
}

fn written(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
