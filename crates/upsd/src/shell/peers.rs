//! All sockets: listeners, clients, drivers; reading and writing them without ever waiting for one.

use crate::events::{Action, ClientId, Event, Outputs, UpsId};
use crate::notes::Note;
use crate::repeats::Repeats;
use crate::server::Server;
use crate::shell::poller::{Poller, Ready, Wanted};
use crate::shell::tls::{Progressed, Session};
use crate::shell::verifier::Verifier;
use crate::slab::{Key, Slab};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nut_os::log::plain;
use nut_os::socket::{OutBuffer, Progress, is_out_of_descriptors};
use nut_proto::Moment;
use rustls::ServerConfig;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, trace, warn};

/// Bytes read from a socket at once.
const READ: usize = 64 * 1024;

/// How often a driver is read in a turn before the others have theirs.
const READS_OF_A_DRIVER: usize = 4;

/// How many clients are let in, in a turn, before the others have theirs.
const ACCEPTS: usize = 512;

/// Most bytes that wait for one client to take them; beyond, it is cut off. A list of 20,000 variables fits.
const MAX_WAITING: usize = 8 * 1024 * 1024;

/// Most bytes that wait for all clients together; beyond, whoever has most of them waiting is cut off.
const MAX_WAITING_OF_ALL: usize = 64 * 1024 * 1024;

/// Most bytes of TLS clients together that begin something and are not whole yet; beyond, whoever has most of them is
/// cut off. One alone can make us keep 64 KiB.
const MAX_HALF_OF_ALL: usize = 16 * 1024 * 1024;

/// How many clients may go on with a handshake in a turn, before the others have theirs.
const HANDSHAKES: usize = 8;

/// How long nobody is let in when the system has nothing left to let him in with.
const PAUSE: Duration = Duration::from_secs(1);

/// How often it is said that clients had to be sent away.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A socket, and what belongs to it.
#[derive(Debug)]
enum Peer {
    Listener(TcpListener),
    Client(Client),
    Driver(Driver),
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    address: IpAddr,
    out: OutBuffer,
    /// Behind `STARTTLS`.
    tls: Option<Box<Session>>,
    /// The server has more to answer when all is written.
    unfinished: bool,
    /// All is written, and the server is to be told so in the next turn.
    owed: bool,
    /// To be closed when all is written.
    finishing: bool,
    /// Its password is being checked.
    held: bool,
    /// It has told the end of its stream: it is over when it has got what it asked for before.
    ended: bool,
    wanted: Wanted,
}

impl Client {
    /// Bytes it may make us keep because what they begin is not whole yet.
    fn half(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.half())
    }

    /// Whether it is read from: not before it has taken what it asked for.
    fn is_read(&self) -> bool {
        self.out.is_empty() && !self.unfinished && !self.finishing && !self.held
    }
}

#[derive(Debug)]
struct Driver {
    stream: UnixStream,
    ups: UpsId,
}

/// What carrying out an action led to.
#[derive(Debug)]
enum After {
    ClientDrained(ClientId),
    Settled(ClientId),
    ClientGone(ClientId),
    DriverConnected(UpsId),
    DriverGone(UpsId),
    ConnectFailed { ups: UpsId, path: String, error: String },
    OrderSent { client: ClientId, sent: bool },
}

/// All sockets.
#[derive(Debug)]
pub(crate) struct Peers {
    poller: Poller,
    peers: Slab<Peer>,
    drivers: HashMap<UpsId, Key>,
    listeners: Vec<Key>,
    state_path: PathBuf,
    random: File,
    verifier: Verifier,
    buffer: Vec<u8>,
    /// What a TLS client said, decrypted.
    plain: Vec<u8>,
    /// What goes to a TLS client, encrypted.
    wire: Vec<u8>,
    ready: Vec<Ready>,
    after: VecDeque<After>,
    /// Clients that have taken everything and are still owed answers: the others have their turn first.
    owed: Vec<ClientId>,
    /// Clients that have told the end of their stream and seem to be owed nothing any more.
    ended: Vec<ClientId>,
    waiting_of_all: usize,
    half_of_all: usize,
    /// What `STARTTLS` leads to, if anything.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// How many clients may go on with a handshake in this turn.
    handshakes: usize,
    /// Handshakes that failed, to be logged.
    failed: Repeats,
    /// Clients cut off for not reading, to be logged.
    too_slow: Repeats,
    reserve: Option<File>,
    paused_until: Option<Moment>,
    sent_away: u64,
    said: Option<Moment>,
    /// What is to be logged.
    pub(crate) notes: Vec<Note>,
}

impl Peers {
    /// No sockets yet. Those of drivers are in the working directory; see [`Peers::set_state_path`].
    pub(crate) fn new(random: File, verifier: Verifier) -> io::Result<Self> {
        Ok(Self {
            poller: Poller::new()?,
            peers: Slab::default(),
            drivers: HashMap::new(),
            listeners: Vec::new(),
            state_path: PathBuf::new(),
            random,
            verifier,
            buffer: vec![0; READ],
            plain: Vec::new(),
            wire: Vec::new(),
            ready: Vec::new(),
            after: VecDeque::new(),
            owed: Vec::new(),
            ended: Vec::new(),
            waiting_of_all: 0,
            half_of_all: 0,
            tls: None,
            handshakes: 0,
            failed: Repeats::default(),
            too_slow: Repeats::default(),
            reserve: File::open("/dev/null").ok(),
            paused_until: None,
            sent_away: 0,
            said: None,
            notes: Vec::new(),
        })
    }

    /// What people know the working directory as.
    pub(crate) fn set_state_path(&mut self, state_path: PathBuf) {
        self.state_path = state_path;
    }

    /// Lets clients in from now on.
    pub(crate) fn listen(&mut self, listener: TcpListener) -> io::Result<Key> {
        let key = self.peers.insert(Peer::Listener(listener));
        let wanted = if self.paused_until.is_some() { Wanted::Nothing } else { Wanted::Read };
        if let Err(error) = self.watch(key, wanted) {
            self.peers.remove(key);
            return Err(error);
        }
        self.listeners.push(key);
        Ok(key)
    }

    /// Lets nobody in here any more. Those who are in stay.
    pub(crate) fn stop_listening(&mut self, key: Key) {
        self.listeners.retain(|one| *one != key);
        self.peers.remove(key);
    }

    /// Waits until a socket is ready.
    pub(crate) async fn ready(&mut self) -> io::Result<()> {
        self.poller.ready().await
    }

    /// When [`Peers::tick`] is wanted.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.paused_until
    }

    /// Lets clients in again after a pause.
    pub(crate) fn tick(&mut self, now: Moment) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.watch_listeners(Wanted::Read);
        }
    }

    /// Serves all sockets that are ready, the drivers first: no client is told that an order is out to a driver who
    /// has just gone.
    pub(crate) fn turn(&mut self, server: &mut Server, out: &mut Outputs) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        let now = self.poller.take(&mut ready)?;
        self.handshakes = HANDSHAKES;
        for one in &ready {
            if let Some(Peer::Driver(_)) = self.peers.get(one.key) {
                self.read_driver(now, one.key, server, out);
            }
        }
        for client in std::mem::take(&mut self.ended) {
            // Now all that came of its last requests is done: orders have reached drivers, or not.
            if matches!(self.peers.get(client.0), Some(Peer::Client(one)) if one.is_read()) {
                self.say_goodbye(now, client);
                self.over(client.0);
                self.act(now, server, out);
            }
        }
        for client in std::mem::take(&mut self.owed) {
            self.after.push_back(After::ClientDrained(client));
            self.act(now, server, out);
        }
        for one in ready.drain(..) {
            match self.peers.get(one.key) {
                Some(Peer::Client(_)) => self.serve_client(now, one, server, out),
                Some(Peer::Listener(_)) => self.accept(now, one.key, server, out),
                Some(Peer::Driver(_)) | None => {}
            }
        }
        self.ready = ready;
        if !self.owed.is_empty() {
            self.poller.go_on();
        }
        Ok(())
    }

    /// Does what the server asks, and tells it what came of that, until it asks for nothing more.
    pub(crate) fn act(&mut self, now: Moment, server: &mut Server, out: &mut Outputs) {
        loop {
            self.notes.append(&mut out.notes);
            for action in &out.actions {
                self.perform(now, action, out);
            }
            out.clear();
            self.give_random(now, server, out);
            let Some(after) = self.after.pop_front() else { return };
            match after {
                After::ClientDrained(client) => {
                    if let Some(Peer::Client(one)) = self.peers.get_mut(client.0) {
                        (one.unfinished, one.owed) = (false, false);
                        server.step(now, Event::ClientDrained { client }, out);
                        self.after.push_back(After::Settled(client));
                    }
                }
                After::Settled(client) => self.settle(client),
                After::ClientGone(client) => server.step(now, Event::ClientGone { client }, out),
                After::DriverConnected(ups) => server.step(now, Event::DriverConnected { ups }, out),
                After::DriverGone(ups) => server.step(now, Event::DriverGone { ups }, out),
                After::ConnectFailed { ups, path, error } => {
                    server.step(now, Event::ConnectFailed { ups, path: &path, error: &error }, out);
                }
                After::OrderSent { client, sent } => {
                    server.step(now, Event::OrderSent { client, sent }, out);
                }
            }
        }
    }

    fn give_random(&mut self, now: Moment, server: &mut Server, out: &mut Outputs) {
        let wanted = server.wants_random();
        if wanted == 0 {
            return;
        }
        let mut bytes = vec![0; wanted];
        match self.random.read_exact(&mut bytes) {
            Ok(()) => server.step(now, Event::Random(&bytes), out),
            // Cannot be; then there are no tracked orders.
            Err(error) => warn!(%error, "no random bytes"),
        }
    }

    fn perform(&mut self, now: Moment, action: &Action, out: &Outputs) {
        match action {
            Action::Write { client, bytes } => self.say_to_client(now, *client, out.get(bytes)),
            Action::Encrypt { client } => self.encrypt(*client),
            Action::Unfinished { client } => {
                if let Some(Peer::Client(one)) = self.peers.get_mut(client.0) {
                    one.unfinished = true;
                }
                self.settle(*client);
            }
            Action::Finish { client } => {
                self.say_goodbye(now, *client);
                if let Some(Peer::Client(one)) = self.peers.get_mut(client.0) {
                    one.finishing = true;
                }
                self.settle(*client);
            }
            Action::Hold { client } => self.hold(*client, true),
            Action::Release { client } => self.hold(*client, false),
            Action::Verify { client, password, hash } => {
                self.verifier.start(*client, password.clone(), hash.clone());
            }
            Action::Close { client } => self.close_client(client.0),
            Action::Connect { ups, socket } => self.connect(*ups, socket),
            Action::Tell { ups, bytes, order_of } => self.tell(*ups, bytes, *order_of, out),
            Action::Disconnect { ups } => {
                if let Some(key) = self.drivers.remove(ups) {
                    self.peers.remove(key);
                }
            }
        }
    }

    // Clients.

    fn accept(&mut self, now: Moment, key: Key, server: &mut Server, out: &mut Outputs) {
        for _ in 0..ACCEPTS {
            let Some(Peer::Listener(listener)) = self.peers.get(key) else { return };
            match listener.accept() {
                Ok((stream, from)) => self.let_in(now, stream, from.ip(), server, out),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_descriptors(&error) && self.reserve.is_some() => {
                    self.send_away(now, key);
                }
                Err(error) if is_out_of_resources(&error) => {
                    warn!("no client is let in for a second: {error}");
                    self.paused_until = Some(now.after(PAUSE));
                    self.watch_listeners(Wanted::Nothing);
                    return;
                }
                // This one client has gone away again.
                Err(_) => {}
            }
        }
        self.poller.go_on();
    }

    fn let_in(
        &mut self,
        now: Moment,
        stream: TcpStream,
        address: IpAddr,
        server: &mut Server,
        out: &mut Outputs,
    ) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // One that is gone already will be noticed at the first read.
        let _ = stream.set_nodelay(true);
        let client = Client {
            stream,
            address,
            out: OutBuffer::with_limit(MAX_WAITING),
            tls: None,
            unfinished: false,
            owed: false,
            finishing: false,
            held: false,
            ended: false,
            wanted: Wanted::Read,
        };
        debug!("Connect from {address}");
        let key = self.peers.insert(Peer::Client(client));
        let client = ClientId(key);
        server.step(now, Event::ClientConnected { client, address }, out);
        self.act(now, server, out);
        // Whoever was rejected is closed by now, and was never watched.
        if self.peers.get(key).is_some() && self.watch(key, Wanted::Read).is_err() {
            self.over(key);
            self.act(now, server, out);
        }
    }

    /// No descriptor is left: the one in reserve is spent on closing the door properly.
    fn send_away(&mut self, now: Moment, key: Key) {
        self.reserve = None;
        if let Some(Peer::Listener(listener)) = self.peers.get(key) {
            drop(listener.accept());
        }
        self.reserve = File::open("/dev/null").ok();
        self.sent_away += 1;
        if self.said.is_none_or(|said| now.since(said) >= SAY_EVERY) {
            self.said = Some(now);
            warn!("out of descriptors: {} clients were sent away so far; raise LimitNOFILE", self.sent_away);
        }
    }

    fn serve_client(&mut self, now: Moment, ready: Ready, server: &mut Server, out: &mut Outputs) {
        let key = ready.key;
        let Some(Peer::Client(client)) = self.peers.get_mut(key) else { return };
        if !client.out.is_empty() {
            self.go_on_writing(key);
        } else if client.is_read() && client.tls.is_some() {
            self.read_encrypted(now, key, server, out);
        } else if client.is_read() {
            match client.stream.read(&mut self.buffer) {
                Ok(0) => self.over(key),
                Ok(count) => {
                    if count == self.buffer.len() {
                        self.poller.go_on();
                    }
                    let bytes = self.buffer.get(..count).unwrap_or_default();
                    server.step(now, Event::ClientBytes { client: ClientId(key), bytes }, out);
                }
                Err(error) if is_no_matter(&error) => {}
                Err(_) => self.over(key),
            }
        } else if ready.is_over {
            self.over(key);
        }
        self.act(now, server, out);
    }

    /// From now on this client and we speak TLS.
    fn encrypt(&mut self, id: ClientId) {
        let Some(Peer::Client(client)) = self.peers.get_mut(id.0) else { return };
        match self.tls.clone().and_then(Session::new) {
            Some(session) => client.tls = Some(Box::new(session)),
            None => self.over(id.0),
        }
    }

    /// A handshake costs a signature, about a millisecond of ours: those of many clients at once are spread over turns,
    /// so that the others are answered in between.
    fn read_encrypted(&mut self, now: Moment, key: Key, server: &mut Server, out: &mut Outputs) {
        let Some(Peer::Client(client)) = self.peers.get_mut(key) else { return };
        let Some(tls) = client.tls.as_mut() else { return };
        if tls.is_handshaking() {
            let Some(left) = self.handshakes.checked_sub(1) else { return self.poller.go_on() };
            self.handshakes = left;
        }
        let was_handshaking = tls.is_handshaking();
        let before = tls.half();
        let read = tls.read(&mut client.stream, &mut self.plain);
        self.half_of_all = self.half_of_all.saturating_sub(before).saturating_add(tls.half());
        let mut wire = std::mem::take(&mut self.wire);
        tls.take_wire(&mut wire);
        let from = client.address;
        self.write_client(now, ClientId(key), &wire);
        wire.clear();
        self.wire = wire;
        if !self.plain.is_empty() {
            let plain = std::mem::take(&mut self.plain);
            server.step(now, Event::ClientBytes { client: ClientId(key), bytes: &plain }, out);
            self.act(now, server, out);
            self.plain = plain;
            self.plain.clear();
        }
        while self.half_of_all > MAX_HALF_OF_ALL {
            self.cut_off_whoever_is_half(now);
        }
        match read {
            Ok(Progressed::Blocked) => {}
            Ok(Progressed::Read) => self.poller.go_on(),
            // The end may have come in one piece with requests that are not answered yet.
            Ok(Progressed::End) => {
                if let Some(Peer::Client(client)) = self.peers.get_mut(key) {
                    client.ended = true;
                }
                self.settle(ClientId(key));
            }
            Err(reason) => {
                if was_handshaking && let Some(untold) = self.failed.count(now, from) {
                    self.notes.push(Note::HandshakeFailed { from, reason: reason.to_string(), untold });
                }
                self.over(key);
            }
        }
    }

    /// Writes what the server says, encrypted if the client wants it so.
    fn say_to_client(&mut self, now: Moment, id: ClientId, bytes: &[u8]) {
        let Some(Peer::Client(client)) = self.peers.get_mut(id.0) else { return };
        let Some(tls) = client.tls.as_mut() else { return self.write_client(now, id, bytes) };
        let mut wire = std::mem::take(&mut self.wire);
        tls.encrypt(bytes, &mut wire);
        self.write_client(now, id, &wire);
        wire.clear();
        wire.shrink_to(READ);
        self.wire = wire;
    }

    /// The end of a TLS stream is told, so that nobody can cut it short unnoticed.
    fn say_goodbye(&mut self, now: Moment, id: ClientId) {
        let Some(Peer::Client(client)) = self.peers.get_mut(id.0) else { return };
        let Some(tls) = client.tls.as_mut() else { return };
        let mut wire = Vec::new();
        tls.close(&mut wire);
        self.write_client(now, id, &wire);
    }

    fn write_client(&mut self, now: Moment, id: ClientId, bytes: &[u8]) {
        let Some(Peer::Client(client)) = self.peers.get_mut(id.0) else { return };
        let mut rest = bytes;
        // What waits must go out first.
        while client.out.is_empty() && !rest.is_empty() {
            match client.stream.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.over(id.0),
            }
        }
        if rest.is_empty() {
            return;
        }
        if client.out.push(rest).is_err() {
            return self.too_slow(now, id.0);
        }
        self.waiting_of_all += rest.len();
        self.settle(id);
        while self.waiting_of_all > MAX_WAITING_OF_ALL {
            self.cut_off_the_slowest(now);
        }
    }

    fn cut_off_the_slowest(&mut self, now: Moment) {
        match self.whoever_has_most(|client| client.out.len()) {
            Some((key, _)) => self.too_slow(now, key),
            None => self.waiting_of_all = 0,
        }
    }

    fn cut_off_whoever_is_half(&mut self, now: Moment) {
        let Some((key, from)) = self.whoever_has_most(Client::half) else {
            self.half_of_all = 0;
            return;
        };
        if let Some(untold) = self.failed.count(now, from) {
            self.notes.push(Note::Hoards { from, untold });
        }
        self.over(key);
    }

    /// Each is cut off once: whoever makes us look through all of them here pays for it with a connection.
    fn whoever_has_most(&self, of: impl Fn(&Client) -> usize) -> Option<(Key, IpAddr)> {
        let clients = self.peers.iter().filter_map(|(key, peer)| match peer {
            Peer::Client(client) => Some((of(client), key, client.address)),
            Peer::Driver(_) | Peer::Listener(_) => None,
        });
        clients.max_by_key(|(most, _, _)| *most).map(|(_, key, from)| (key, from))
    }

    fn too_slow(&mut self, now: Moment, key: Key) {
        let Some(Peer::Client(client)) = self.peers.get(key) else { return };
        let from = client.address;
        if let Some(untold) = self.too_slow.count(now, from) {
            self.notes.push(Note::TooSlow { from, untold });
        }
        self.over(key);
    }

    fn go_on_writing(&mut self, key: Key) {
        let Some(Peer::Client(client)) = self.peers.get_mut(key) else { return };
        let before = client.out.len();
        let mut stream = &client.stream;
        let written = client.out.try_write(|bytes| stream.write(bytes));
        let done = before.saturating_sub(client.out.len());
        self.waiting_of_all = self.waiting_of_all.saturating_sub(done);
        match written {
            Ok(Progress::Blocked) => {}
            Ok(Progress::Done) => self.settle(ClientId(key)),
            Err(_) => self.over(key),
        }
    }

    fn hold(&mut self, id: ClientId, held: bool) {
        if let Some(Peer::Client(one)) = self.peers.get_mut(id.0) {
            one.held = held;
        }
        self.settle(id);
    }

    /// Decides what to wait for at a client, and what follows if it has taken everything.
    fn settle(&mut self, id: ClientId) {
        let Some(Peer::Client(client)) = self.peers.get_mut(id.0) else { return };
        let is_empty = client.out.is_empty();
        if is_empty && client.finishing {
            return self.over(id.0);
        }
        if is_empty && client.unfinished && !client.owed {
            client.owed = true;
            self.owed.push(id);
            self.poller.go_on();
        }
        if client.ended && client.is_read() {
            self.ended.push(id);
            self.poller.go_on();
        }
        let wanted = match (is_empty, client.is_read()) {
            (false, _) => Wanted::Write,
            (true, true) => Wanted::Read,
            (true, false) => Wanted::Nothing,
        };
        if client.wanted == wanted {
            return;
        }
        client.wanted = wanted;
        let changed = self.poller.change(&client.stream, id.0, wanted);
        if changed.is_err() {
            self.over(id.0);
        }
    }

    /// A client is gone, or is to go: the server is told.
    fn over(&mut self, key: Key) {
        self.close_client(key);
        self.after.push_back(After::ClientGone(ClientId(key)));
    }

    fn close_client(&mut self, key: Key) {
        if let Some(Peer::Client(client)) = self.peers.remove(key) {
            debug!("Disconnect from {}", client.address);
            self.waiting_of_all = self.waiting_of_all.saturating_sub(client.out.len());
            self.half_of_all = self.half_of_all.saturating_sub(client.half());
        }
    }

    // Drivers.

    fn connect(&mut self, ups: UpsId, name: &str) {
        match open(name).and_then(|stream| self.add_driver(ups, stream)) {
            Ok(()) => self.after.push_back(After::DriverConnected(ups)),
            Err(error) => {
                let path = self.state_path.join(name).display().to_string();
                self.after.push_back(After::ConnectFailed { ups, path, error: plain(&error) });
            }
        }
    }

    fn add_driver(&mut self, ups: UpsId, stream: UnixStream) -> io::Result<()> {
        let key = self.peers.insert(Peer::Driver(Driver { stream, ups }));
        if let Err(error) = self.watch(key, Wanted::Read) {
            self.peers.remove(key);
            return Err(error);
        }
        if let Some(before) = self.drivers.insert(ups, key) {
            self.peers.remove(before);
        }
        Ok(())
    }

    fn read_driver(&mut self, now: Moment, key: Key, server: &mut Server, out: &mut Outputs) {
        for _ in 0..READS_OF_A_DRIVER {
            let Some(Peer::Driver(driver)) = self.peers.get_mut(key) else { return };
            let ups = driver.ups;
            let count = match driver.stream.read(&mut self.buffer) {
                Ok(0) => None,
                Ok(count) => Some(count),
                Err(error) if is_no_matter(&error) => return,
                Err(_) => None,
            };
            let Some(count) = count else {
                self.driver_over(ups, key);
                return self.act(now, server, out);
            };
            let bytes = self.buffer.get(..count).unwrap_or_default();
            trace!("<- {}", bytes.escape_ascii());
            server.step(now, Event::DriverBytes { ups, bytes }, out);
            self.act(now, server, out);
            if count < self.buffer.len() {
                return;
            }
        }
        self.poller.go_on();
    }

    /// All or nothing: a driver that takes only half a line is as good as gone, as for NUT's upsd. One that takes nothing
    /// now is not: a stopped driver whose socket is full is stale by its silence, and once it goes on it goes on.
    fn tell(&mut self, ups: UpsId, bytes: &Range<usize>, order_of: Option<ClientId>, out: &Outputs) {
        let bytes = out.get(bytes);
        let key = self.drivers.get(&ups).copied();
        let (sent, is_over) = match key.and_then(|key| self.peers.get_mut(key)) {
            Some(Peer::Driver(driver)) => {
                trace!("-> {}", bytes.escape_ascii());
                match driver.stream.write(bytes) {
                    Ok(count) => (count == bytes.len(), count != bytes.len()),
                    Err(error) => (false, !is_no_matter(&error)),
                }
            }
            _ => (false, false),
        };
        if let (true, Some(key)) = (is_over, key) {
            self.driver_over(ups, key);
        }
        if let Some(client) = order_of {
            self.after.push_back(After::OrderSent { client, sent });
        }
    }

    fn driver_over(&mut self, ups: UpsId, key: Key) {
        self.peers.remove(key);
        self.drivers.remove(&ups);
        self.after.push_back(After::DriverGone(ups));
    }

    // All of them.

    fn watch(&self, key: Key, wanted: Wanted) -> io::Result<()> {
        match self.peers.get(key) {
            Some(Peer::Listener(listener)) => self.poller.add(listener, key, wanted),
            Some(Peer::Client(client)) => self.poller.add(&client.stream, key, wanted),
            Some(Peer::Driver(driver)) => self.poller.add(&driver.stream, key, wanted),
            None => Ok(()),
        }
    }

    fn watch_listeners(&self, wanted: Wanted) {
        for key in &self.listeners {
            if let Some(Peer::Listener(listener)) = self.peers.get(*key)
                && let Err(error) = self.poller.change(listener, *key, wanted)
            {
                warn!(%error, "a listener cannot be watched");
            }
        }
    }
}

/// Connects to a driver without ever waiting: a driver whose queue is full is tried again later.
fn open(name: &str) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(name)?)?;
    Ok(UnixStream::from(fd))
}

fn is_no_matter(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The system has no descriptor or no memory for a connection that waits: it would only be announced again at once.
fn is_out_of_resources(error: &io::Error) -> bool {
    use nix::errno::Errno::{ENOBUFS, ENOMEM};
    let number = error.raw_os_error().map(nix::errno::Errno::from_raw);
    is_out_of_descriptors(error) || matches!(number, Some(ENOBUFS | ENOMEM))
}
