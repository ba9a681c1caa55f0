//! The clients: connections that ask, wait for the whole answer, and ask again.

use crate::contestants::Server;
use crate::error::{BenchError, Doing as _};
use crate::usage;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt};
use nut_os::clock;
use nut_proto::Moment;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

/// How long one answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is asked.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// What is asked, line feed included.
    pub(crate) request: String,
    /// Connections that ask all the time.
    pub(crate) connections: usize,
    /// Requests sent at once by each.
    pub(crate) depth: usize,
}

/// What one slice of time showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slice {
    /// Answers a second.
    pub(crate) rate: f64,
    /// The server's CPU time an answer, in microseconds.
    pub(crate) cpu_us: f64,
    /// From a request to the end of its answer, in microseconds, sorted; of a batch if several are sent at once.
    pub(crate) latencies: Vec<f64>,
}

/// Waits. A measurement's clock runs meanwhile, a server's CPU time should not.
pub(crate) fn pause(time: Duration) {
    let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
    // An early end by a signal does no harm.
    let _ = poll(&mut [], PollTimeout::from(millis));
}

/// Asks once on a connection of its own, and gives the whole answer.
pub(crate) fn ask(address: SocketAddr, request: &str) -> Result<String, BenchError> {
    let mut stream = connection(address)?;
    stream.write_all(request.as_bytes()).doing("asking")?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let end = request.strip_prefix("LIST ").map(|what| format!("END LIST {what}"));
    loop {
        let count = stream.read(&mut buffer).doing("reading an answer")?;
        if count == 0 {
            return Err(BenchError::Broken);
        }
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let is_error = answer.starts_with(b"ERR ");
        let whole = match &end {
            Some(end) if !is_error => answer.ends_with(end.as_bytes()),
            _ => answer.ends_with(b"\n"),
        };
        if whole {
            return Ok(String::from_utf8_lossy(&answer).into_owned());
        }
    }
}

/// Connects, and waits until that is done.
pub(crate) fn connection(address: SocketAddr) -> Result<TcpStream, BenchError> {
    let stream = TcpStream::connect(address).doing("connecting")?;
    stream.set_nodelay(true).doing("connecting")?;
    stream.set_read_timeout(Some(PATIENCE)).doing("connecting")?;
    // Closed by a reset: thousands of ports would wait for stragglers otherwise.
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger).doing("connecting")?;
    Ok(stream)
}

/// This many connections, each of which has been answered once: NUT's upsd has room for 16 that wait to be let in, and
/// the kernel makes the others wait for a second.
pub(crate) fn connections(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>, BenchError> {
    (0..count)
        .map(|_| {
            let mut stream = connection(address)?;
            stream.write_all(b"NETVER\n").doing("asking")?;
            let mut answer = [0; 64];
            let count = stream.read(&mut answer).doing("reading an answer")?;
            if count > 0 { Ok(stream) } else { Err(BenchError::Broken) }
        })
        .collect()
}

/// Asks for this long, after a moment to warm up.
pub(crate) fn run(server: &Server, load: &Load, time: Duration) -> Result<Slice, BenchError> {
    let answer = ask(server.address, &load.request)?.len() * load.depth;
    let batch = load.request.repeat(load.depth);
    let mut streams = connections(server.address, load.connections)?;
    let mut turn = |time| match streams.as_mut_slice() {
        [one] => alone(one, batch.as_bytes(), answer, time),
        several => together(several, batch.as_bytes(), answer, time),
    };
    turn(time / 10)?;
    let (began, cpu) = (clock::now(), usage::cpu(server.pid())?);
    let latencies = turn(time)?;
    let (ended, cpu_after) = (clock::now(), usage::cpu(server.pid())?);
    let answers = float(latencies.len() * load.depth);
    Ok(slice(answers, ended.since(began), cpu_after.saturating_sub(cpu), latencies))
}

fn slice(answers: f64, time: Duration, cpu: Duration, mut latencies: Vec<f64>) -> Slice {
    latencies.sort_by(f64::total_cmp);
    Slice { rate: answers / time.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / answers, latencies }
}

/// Polls as upsmons do that come at different times: one of `count` connections asks, then the next.
pub(crate) fn in_turn(
    server: &Server,
    request: &str,
    count: usize,
    time: Duration,
) -> Result<Slice, BenchError> {
    let answer = ask(server.address, request)?.len();
    let mut streams = connections(server.address, count)?;
    let mut latencies = Vec::new();
    // The last one is let in when it is answered.
    if let Some(last) = streams.last_mut() {
        exchange(last, request.as_bytes(), answer)?;
    }
    let (began, cpu) = (clock::now(), usage::cpu(server.pid())?);
    'all: loop {
        for stream in &mut streams {
            let at = clock::now();
            exchange(stream, request.as_bytes(), answer)?;
            let now = clock::now();
            latencies.push(micros(now.since(at)));
            if now.since(began) >= time {
                break 'all;
            }
        }
    }
    let (ended, cpu_after) = (clock::now(), usage::cpu(server.pid())?);
    Ok(slice(float(latencies.len()), ended.since(began), cpu_after.saturating_sub(cpu), latencies))
}

fn exchange(stream: &mut TcpStream, batch: &[u8], answer: usize) -> Result<(), BenchError> {
    let mut buffer = [0; 64 * 1024];
    stream.write_all(batch).doing("asking")?;
    let mut missing = answer;
    while missing > 0 {
        let count = stream.read(&mut buffer).doing("reading an answer")?;
        if count == 0 || count > missing {
            return Err(BenchError::Broken);
        }
        missing -= count;
    }
    Ok(())
}

fn alone(
    stream: &mut TcpStream,
    batch: &[u8],
    answer: usize,
    time: Duration,
) -> Result<Vec<f64>, BenchError> {
    let began = clock::now();
    let mut latencies = Vec::new();
    let mut at = began;
    while at.since(began) < time {
        exchange(stream, batch, answer)?;
        let now = clock::now();
        latencies.push(micros(now.since(at)));
        at = now;
    }
    Ok(latencies)
}

/// A connection among several.
struct Asker<'a> {
    stream: &'a mut TcpStream,
    missing: usize,
    asked: Moment,
}

fn together(
    streams: &mut [TcpStream],
    batch: &[u8],
    answer: usize,
    time: Duration,
) -> Result<Vec<f64>, BenchError> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("making an epoll")?;
    let mut askers = Vec::new();
    for (nth, stream) in (0..).zip(streams) {
        epoll.add(&*stream, EpollEvent::new(EpollFlags::EPOLLIN, nth)).doing("watching a connection")?;
        stream.write_all(batch).doing("asking")?;
        askers.push(Asker { stream, missing: answer, asked: clock::now() });
    }
    let began = clock::now();
    let mut latencies = Vec::new();
    let mut events = vec![EpollEvent::empty(); 64];
    let mut buffer = [0; 64 * 1024];
    let mut busy = askers.len();
    while busy > 0 {
        let patience = EpollTimeout::try_from(PATIENCE).unwrap_or(EpollTimeout::MAX);
        let count = epoll.wait(&mut events, patience).doing("waiting for answers")?;
        if count == 0 {
            return Err(BenchError::Broken);
        }
        for event in events.iter().take(count) {
            let asker = usize::try_from(event.data()).ok().and_then(|at| askers.get_mut(at));
            let Some(asker) = asker else { continue };
            let count = asker.stream.read(&mut buffer).doing("reading an answer")?;
            if count == 0 || count > asker.missing {
                return Err(BenchError::Broken);
            }
            asker.missing -= count;
            if asker.missing > 0 {
                continue;
            }
            let now = clock::now();
            latencies.push(micros(now.since(asker.asked)));
            if now.since(began) < time {
                asker.stream.write_all(batch).doing("asking")?;
                (asker.missing, asker.asked) = (answer, now);
            } else {
                busy -= 1;
            }
        }
    }
    Ok(latencies)
}

/// What came of many connecting at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rush {
    /// How many had their answer.
    pub(crate) served: usize,
    /// When the last of them had it.
    pub(crate) last: Duration,
}

/// So many connect at one instant and ask; waits for the answers, but no longer than `limit`.
pub(crate) fn rush(
    address: SocketAddr,
    request: &str,
    count: usize,
    limit: Duration,
) -> Result<Rush, BenchError> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("making an epoll")?;
    let SocketAddr::V4(address) = address else { return Err(BenchError::Broken) };
    let began = clock::now();
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    for nth in (0..).take(count) {
        let stream = start_connecting(address).doing("connecting")?;
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLOUT, nth)).doing("watching a connection")?;
        streams.push(Some(stream));
    }
    let mut rush = Rush { served: 0, last: Duration::ZERO };
    let mut open = count;
    let mut events = vec![EpollEvent::empty(); 512];
    let mut buffer = [0; 4096];
    while open > 0 {
        let left = limit.saturating_sub(clock::now().since(began));
        if left.is_zero() {
            break;
        }
        let timeout = EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX);
        let ready = epoll.wait(&mut events, timeout).doing("waiting for answers")?;
        for event in events.iter().take(ready) {
            let place = usize::try_from(event.data()).ok().and_then(|at| streams.get_mut(at));
            let Some(place) = place else { continue };
            let Some(stream) = place else { continue };
            let goes_on = if event.events().contains(EpollFlags::EPOLLIN) {
                if matches!(stream.read(&mut buffer), Ok(1..)) {
                    rush.served += 1;
                    rush.last = clock::now().since(began);
                }
                false
            } else {
                let mut reading = EpollEvent::new(EpollFlags::EPOLLIN, event.data());
                stream.write_all(request.as_bytes()).is_ok() && epoll.modify(&*stream, &mut reading).is_ok()
            };
            if !goes_on {
                // It stays open until all have their answer: the others must not find a place free.
                epoll.delete(&*stream).doing("watching a connection")?;
                open -= 1;
            }
        }
    }
    Ok(rush)
}

fn start_connecting(address: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&fd, sockopt::Linger, &linger)?;
    match connect(fd.as_fd().as_raw_fd(), &SockaddrIn::from(address)) {
        Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the server has let in everybody so far: one more asks, and is answered.
pub(crate) fn settle(server: &Server, request: &str) -> Result<(), BenchError> {
    ask(server.address, request)?;
    let stream = connection(server.address)?;
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    // Nothing comes; it is only time for the server to come to rest.
    poll(&mut fds, PollTimeout::from(200u16)).doing("waiting")?;
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A count as a number to divide by.
pub(crate) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}
