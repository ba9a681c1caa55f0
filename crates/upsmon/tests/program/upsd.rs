//! A server that knows just enough of the protocol, and what its UPSes say is set by the test.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::stage::DEADLINE;

#[derive(Default)]
struct State {
    statuses: BTreeMap<String, String>,
    /// `ups.alarm` of all, as it goes over the wire.
    alarm: Option<String>,
    fsd: bool,
    logins: usize,
    lines: Vec<String>,
}

/// The server. Its threads end with the test's process.
pub(crate) struct Upsd {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
    pub(crate) port: u16,
}

impl Upsd {
    pub(crate) fn start(ups: &str, status: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upsd = Self { state: Arc::default(), changed: Arc::default(), port };
        upsd.set(ups, status);
        let (state, changed) = (upsd.state.clone(), upsd.changed.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, state, changed) = (client.unwrap(), state.clone(), changed.clone());
                thread::spawn(move || serve(&client, &state, &changed));
            }
        });
        upsd
    }

    /// One that takes connections and never says a word.
    pub(crate) fn mute() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// One whose queue is full: whoever connects now is not even told so. As long as both are held.
    pub(crate) fn swallows() -> (TcpListener, Vec<TcpStream>, u16) {
        let (listener, port) = Self::mute();
        let mut queue = Vec::new();
        // The kernel drops what does not fit, without a word.
        while let Ok(one) =
            TcpStream::connect_timeout(&listener.local_addr().unwrap(), Duration::from_secs(1))
        {
            queue.push(one);
            assert!(queue.len() < 10_000);
        }
        (listener, queue, port)
    }

    /// One that answers everybody with a byte now and then, and never with a whole line.
    pub(crate) fn trickles() -> u16 {
        let (listener, port) = Self::mute();
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                thread::spawn(move || {
                    let (_never, nothing) = mpsc::channel::<()>();
                    while client.write_all(b"O").is_ok() {
                        let _ = nothing.recv_timeout(Duration::from_millis(300));
                    }
                });
            }
        });
        port
    }

    /// How often each UPS was asked for its status.
    pub(crate) fn polls(&self) -> BTreeMap<String, usize> {
        let mut polls = BTreeMap::new();
        for line in &self.state.lock().unwrap().lines {
            if let ["GET", "VAR", ups, "ups.status"] = line.split(' ').collect::<Vec<_>>()[..] {
                *polls.entry(ups.to_owned()).or_default() += 1;
            }
        }
        polls
    }

    /// Waits until a UPS has been asked so often.
    pub(crate) fn wait_for_polls(&self, ups: &str, count: usize) {
        let line = format!("GET VAR {ups} ups.status");
        let state = self.state.lock().unwrap();
        let too_few = |state: &mut State| state.lines.iter().filter(|one| **one == line).count() < count;
        let waited = self.changed.wait_timeout_while(state, DEADLINE, too_few);
        assert!(!waited.unwrap().1.timed_out(), "{ups} was not asked {count} times");
    }

    /// What it says from now on; `ERR ...` is a refusal of the server.
    pub(crate) fn set(&self, ups: &str, status: &str) {
        self.state.lock().unwrap().statuses.insert(ups.to_owned(), status.to_owned());
    }

    /// What all its UPSes give as their alarm, escaped as on the wire.
    pub(crate) fn set_alarm(&self, alarm: &str) {
        self.state.lock().unwrap().alarm = Some(alarm.to_owned());
    }

    pub(crate) fn has_fsd(&self) -> bool {
        self.state.lock().unwrap().fsd
    }

    /// As after a restart of the driver.
    pub(crate) fn forget_fsd(&self) {
        self.state.lock().unwrap().fsd = false;
    }

    /// Waits until so many are logged in.
    pub(crate) fn wait_for_logins(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let waited = self.changed.wait_timeout_while(state, DEADLINE, |state| state.logins != count);
        assert!(!waited.unwrap().1.timed_out(), "there are not {count} logged in");
    }

    /// Everything that clients said.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.state.lock().unwrap().lines.clone()
    }
}

fn serve(client: &TcpStream, state: &Mutex<State>, changed: &Condvar) {
    let mut logged_in = false;
    for line in BufReader::new(client).lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split(' ').collect();
        let mut state = state.lock().unwrap();
        state.lines.push(line.clone());
        changed.notify_all();
        let answer = match words[..] {
            ["USERNAME" | "PASSWORD", _] => "OK".to_owned(),
            ["LOGIN", _] => {
                logged_in = true;
                state.logins += 1;
                changed.notify_all();
                "OK".to_owned()
            }
            ["PRIMARY", _] => "OK PRIMARY-GRANTED".to_owned(),
            ["GET", "VAR", ups, "ups.status"] => match state.statuses.get(ups) {
                Some(refusal) if refusal.starts_with("ERR ") => refusal.clone(),
                Some(status) if state.fsd => format!("VAR {ups} ups.status \"FSD {status}\""),
                Some(status) => format!("VAR {ups} ups.status \"{status}\""),
                None => "ERR UNKNOWN-UPS".to_owned(),
            },
            ["GET", "VAR", ups, "ups.alarm"] => {
                let alarm = state.alarm.as_deref().unwrap_or("Fire! $(id) \\\"quoted\\\"");
                format!("VAR {ups} ups.alarm \"{alarm}\"")
            }
            ["GET", "VAR", ..] => "ERR VAR-NOT-SUPPORTED".to_owned(),
            ["GET", "NUMLOGINS", ups] => format!("NUMLOGINS {ups} {}", state.logins),
            ["FSD", _] => {
                state.fsd = true;
                "OK FSD-SET".to_owned()
            }
            ["LOGOUT"] => "OK Goodbye".to_owned(),
            _ => "ERR UNKNOWN-COMMAND".to_owned(),
        };
        drop(state);
        let mut client = client;
        if client.write_all(format!("{answer}\n").as_bytes()).is_err() {
            break;
        }
    }
    if logged_in {
        state.lock().unwrap().logins -= 1;
    }
}
