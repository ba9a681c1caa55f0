//! The drivers: a thread that gives whoever connects the same data, and says that it is alive when asked.

use crate::error::{BenchError, Doing as _};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

const STOP: u64 = u64::MAX;

/// A UPS and its data.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// Its name in ups.conf.
    pub(crate) name: String,
    /// What its driver tells.
    dump: Arc<str>,
}

impl Unit {
    /// A UPS with this many variables; one of them is `ups.status`.
    pub(crate) fn new(name: &str, variables: usize) -> Self {
        let mut dump = String::new();
        for nth in 1..variables {
            dump.push_str(&format!("SETINFO outlet.{nth:04}.realpower \"{}.5\"\n", 100 + nth % 100));
        }
        dump.push_str("SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
        Self { name: name.to_owned(), dump: dump.into() }
    }

    /// Its section of ups.conf.
    pub(crate) fn section(&self) -> String {
        format!("[{}]\n driver = dummy-ups\n port = none\n desc = \"One of the bench\"\n", self.name)
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Feeder {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Feeder {
    /// Listens for all these UPSes in each of the state directories.
    pub(crate) fn start(folders: &[&Path], units: &[Unit]) -> Result<Self, BenchError> {
        let (stop, stopped) = UnixStream::pair().doing("making a socket pair")?;
        let mut work = Work {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("making an epoll")?,
            listeners: Vec::new(),
            streams: HashMap::new(),
            next: 0,
        };
        work.epoll.add(&stopped, EpollEvent::new(EpollFlags::EPOLLIN, STOP)).doing("watching a socket")?;
        for folder in folders {
            for unit in units {
                let path = folder.join(format!("dummy-ups-{}", unit.name));
                let listener = UnixListener::bind(path).doing("making a driver's socket")?;
                listener.set_nonblocking(true).doing("making a driver's socket")?;
                let event = EpollEvent::new(EpollFlags::EPOLLIN, work.next);
                work.epoll.add(&listener, event).doing("watching a driver's socket")?;
                work.listeners.push((listener, unit.dump.clone()));
                work.next += 1;
            }
        }
        let thread = std::thread::spawn(move || {
            work.run();
            drop(stopped);
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
    }
}

struct Work {
    epoll: Epoll,
    listeners: Vec<(UnixListener, Arc<str>)>,
    streams: HashMap<u64, (UnixStream, Arc<str>)>,
    next: u64,
}

impl Work {
    fn run(&mut self) {
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return,
            };
            for event in events.iter().take(count) {
                if event.data() == STOP {
                    return;
                }
                // Whatever goes wrong here ends that connection; the measurement then fails by what upsd answers.
                let is_listener = usize::try_from(event.data()).ok().and_then(|at| self.listeners.get(at));
                match is_listener {
                    Some((listener, dump)) => {
                        let Ok((stream, _)) = listener.accept() else { continue };
                        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.next);
                        if self.epoll.add(&stream, event).is_ok() {
                            self.streams.insert(self.next, (stream, dump.clone()));
                            self.next += 1;
                        }
                    }
                    None => {
                        if let Some((stream, dump)) = self.streams.get_mut(&event.data())
                            && answer(stream, dump).is_err()
                        {
                            self.streams.remove(&event.data());
                        }
                    }
                }
            }
        }
    }
}

/// upsd's orders are short and come whole.
fn answer(stream: &mut UnixStream, dump: &str) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for line in String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()).lines() {
        match line.trim() {
            "DUMPALL" => stream.write_all(dump.as_bytes())?,
            "PING" => stream.write_all(b"PONG\n")?,
            _ => {}
        }
    }
    Ok(())
}
