//! Trying the places to listen at: looking names up, binding sockets, handing them to the others (upsd §7).
//!
//! Names are looked up beside the loop: name servers that do not answer hold up nobody.

use crate::notes::Note;
use crate::places::{
    Action, Event, Family, How, Miss, NotEnough, Place, PlaceId, Places, most_sockets, wanted,
};
use crate::shell::peers::Peers;
use crate::slab::Key;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nut_conf::upsd_conf::UpsdConf;
use nut_os::clock;
use nut_os::daemon::notify_status;
use nut_os::log::plain;
use nut_proto::Moment;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// How many connections may wait to be accepted; NUT has 16. The kernel may cut it (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// How long the start waits for names; beyond that it goes on, and they are tried again.
const LOOKUP: Duration = Duration::from_secs(5);

/// What comes of a question to the resolver; one that panics is a failure like any other, and its place is tried again.
async fn told(
    asking: impl Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    tokio::spawn(asking).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What came of looking a name up.
#[derive(Debug)]
pub(crate) struct Looked {
    id: PlaceId,
    place: Place,
    found: io::Result<Vec<SocketAddr>>,
}

/// Where we listen and want to.
#[derive(Debug)]
pub(crate) struct Listening {
    places: Places,
    family: Family,
    /// The sockets of a place.
    sockets: HashMap<PlaceId, Vec<Key>>,
    lookups: JoinSet<Looked>,
    being_looked_up: HashSet<PlaceId>,
    /// What the service manager was last told that we wait for.
    status: Option<String>,
}

impl Listening {
    /// Listens nowhere yet.
    pub(crate) fn new(family: Family) -> Self {
        Self {
            places: Places::default(),
            family,
            sockets: HashMap::new(),
            lookups: JoinSet::new(),
            being_looked_up: HashSet::new(),
            status: None,
        }
    }

    /// Listens where the configuration says, for the first time: waits until it is known what works.
    ///
    /// # Errors
    /// When that is not enough.
    pub(crate) async fn start(&mut self, conf: &UpsdConf, peers: &mut Peers) -> Result<(), NotEnough> {
        self.follow(conf, peers);
        let deadline = clock::now().after(LOOKUP);
        while !self.places.being_tried().is_empty() {
            tokio::select! {
                looked = self.looked() => self.take(looked, peers),
                () = clock::until(deadline) => break,
            }
        }
        for id in self.places.being_tried() {
            let text = format!("no answer within {} seconds", LOOKUP.as_secs());
            self.step(Event::Missed(id, Miss::NoName { text, is_final: false }), peers);
        }
        let enough = self.places.enough(conf.allow_not_all_listeners);
        if enough.is_err() {
            // Nobody will be there to try.
            for note in &mut peers.notes {
                if let Note::NotListening { again, .. } = note {
                    *again = false;
                }
            }
        }
        enough
    }

    /// Listens where the configuration says now, and no longer where it does not.
    pub(crate) fn follow(&mut self, conf: &UpsdConf, peers: &mut Peers) {
        self.step(Event::Wanted(wanted(conf, self.family)), peers);
    }

    /// Tries again what is due.
    pub(crate) fn tick(&mut self, peers: &mut Peers) {
        if self.wake_at().is_some_and(|at| at <= clock::now()) {
            self.step(Event::Tick, peers);
        }
    }

    /// When [`Listening::tick`] is wanted.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.places.wake_at()
    }

    /// Most sockets that this configuration can lead to.
    pub(crate) fn most_sockets(&self, conf: &UpsdConf) -> usize {
        most_sockets(&wanted(conf, self.family))
    }

    /// Whether anybody can reach us.
    pub(crate) fn is_any_open(&self) -> bool {
        self.places.is_any_open()
    }

    /// Waits until a name was looked up. Giving up waiting loses nothing.
    pub(crate) async fn looked(&mut self) -> Looked {
        loop {
            match self.lookups.join_next().await {
                Some(Ok(looked)) => return looked,
                // Whatever becomes of a look-up, it tells; this is the end of the runtime.
                Some(Err(error)) => warn!("looking up a name failed: {error}"),
                None => std::future::pending().await,
            }
        }
    }

    /// Goes on with a name that was looked up.
    pub(crate) fn take(&mut self, looked: Looked, peers: &mut Peers) {
        let Looked { id, place, found } = looked;
        self.being_looked_up.remove(&id);
        let event = match found {
            Ok(addresses) => self.open_first(id, &place, &addresses, peers),
            Err(error) => Event::Missed(id, no_name(&error)),
        };
        self.step(event, peers);
    }

    fn step(&mut self, event: Event, peers: &mut Peers) {
        let mut actions = Vec::new();
        self.places.step(clock::now(), event, &mut actions);
        let mut todo = VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            let event = match action {
                Action::Try(id, place) => self.attempt(id, place, peers),
                Action::Close(id) => {
                    self.close(id, peers);
                    None
                }
                Action::Say(note) => {
                    peers.notes.push(note);
                    None
                }
            };
            if let Some(event) = event {
                let mut actions = Vec::new();
                self.places.step(clock::now(), event, &mut actions);
                // What follows from this comes before what was still to be done.
                for action in actions.into_iter().rev() {
                    todo.push_front(action);
                }
            }
        }
        self.tell_status();
    }

    fn close(&mut self, id: PlaceId, peers: &mut Peers) {
        for key in self.sockets.remove(&id).unwrap_or_default() {
            peers.stop_listening(key);
        }
    }

    fn tell_status(&mut self) {
        let status = self.places.waiting_for();
        if status != self.status {
            notify_status(status.as_deref().unwrap_or("listening everywhere"));
            self.status = status;
        }
    }

    /// Tries one place; says nothing yet if its name must be looked up first.
    fn attempt(&mut self, id: PlaceId, place: Place, peers: &mut Peers) -> Option<Event> {
        if place.how == How::Every {
            return Some(self.open_every(id, &place, peers));
        }
        if let Ok(ip) = place.address.parse::<IpAddr>() {
            let address = SocketAddr::new(ip, place.port);
            return Some(self.open_first(id, &place, &[address], peers));
        }
        // One lookup of a place at a time: it will tell.
        if self.being_looked_up.insert(id) {
            self.lookups.spawn(async move {
                let (name, port) = (place.address.clone(), place.port);
                let asking =
                    async move { Ok(tokio::net::lookup_host((name.as_str(), port)).await?.collect()) };
                Looked { id, found: told(asking).await, place }
            });
        }
        None
    }

    fn open_first(&mut self, id: PlaceId, place: &Place, found: &[SocketAddr], peers: &mut Peers) -> Event {
        let fits = |address: &&SocketAddr| match self.family {
            Family::Both => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found.iter().filter(fits) {
            // The resolver has each address once for each kind of socket.
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        let mut last = Miss::WrongFamily;
        for (nth, address) in addresses.iter().enumerate() {
            match bind(*address) {
                Ok(listener) => {
                    let others = addresses.len() - nth - 1;
                    if others > 0 {
                        warn!(
                            "{} has {others} more addresses, which are not listened on: give each its own LISTEN",
                            place.address
                        );
                    }
                    return self.opened(id, vec![(place.address.clone(), listener)], peers);
                }
                Err(error) => {
                    debug!("cannot listen on {address}: {error}");
                    last = miss(&error, *address);
                }
            }
        }
        Event::Missed(id, last)
    }

    fn open_every(&mut self, id: PlaceId, place: &Place, peers: &mut Peers) -> Event {
        let all = [
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), Family::V4),
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Family::V6),
        ];
        let mut listeners: Vec<(String, TcpListener)> = Vec::new();
        let mut last = Miss::WrongFamily;
        for (ip, without) in all {
            if without == self.family {
                continue;
            }
            // With port 0 the second family takes the port that the system chose for the first.
            let port = listeners.first().and_then(|(_, one)| one.local_addr().ok());
            let address = SocketAddr::new(ip, port.map_or(place.port, |one| one.port()));
            match bind(address) {
                Ok(listener) => listeners.push((ip.to_string(), listener)),
                Err(error) => {
                    debug!("cannot listen on {address}: {error}");
                    last = miss(&error, address);
                    // Somebody else has half of it: whoever comes by that family would reach him.
                    if last == Miss::Taken {
                        return Event::Missed(id, last);
                    }
                }
            }
        }
        if listeners.is_empty() { Event::Missed(id, last) } else { self.opened(id, listeners, peers) }
    }

    fn opened(&mut self, id: PlaceId, listeners: Vec<(String, TcpListener)>, peers: &mut Peers) -> Event {
        for (address, listener) in listeners {
            // Where the system chose the port, it is shown: tests read it here.
            let port = listener.local_addr().map_or(0, |address| address.port());
            match peers.listen(listener) {
                Ok(key) => self.sockets.entry(id).or_default().push(key),
                Err(error) => {
                    self.close(id, peers);
                    return Event::Missed(id, Miss::Other(plain(&error)));
                }
            }
            peers.notes.push(Note::Listening { address, port });
        }
        Event::Opened(id)
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.is_ipv6() {
        setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &true)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// What it means that the system refused this address.
fn miss(error: &io::Error, address: SocketAddr) -> Miss {
    let is_link_local = matches!(address, SocketAddr::V6(one)
        if one.ip().is_unicast_link_local() && one.scope_id() == 0);
    match error.raw_os_error().map(Errno::from_raw) {
        // ENODEV: the interface behind the % is gone again.
        Some(Errno::EADDRNOTAVAIL | Errno::ENODEV | Errno::ENXIO) => Miss::NoAddress,
        Some(Errno::EADDRINUSE) => Miss::Taken,
        Some(Errno::EACCES | Errno::EPERM) => Miss::Denied,
        Some(Errno::EAFNOSUPPORT) => Miss::Other("this host has no IPv6".into()),
        Some(Errno::EINVAL) if is_link_local => {
            Miss::Other(format!("a link-local address needs its interface, as in {}%eth0", address.ip()))
        }
        _ => Miss::Other(plain(error)),
    }
}

/// What it means that a name leads nowhere. The resolver's number is not to be had, only its words.
fn no_name(error: &io::Error) -> Miss {
    let text = plain(error);
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned();
    // glibc's and musl's words for EAI_NONAME.
    let is_final = ["Name or service not known", "Name does not resolve", "No address associated"]
        .iter()
        .any(|words| text.starts_with(words));
    Miss::NoName { text, is_final }
}

#[cfg(test)]
mod tests;
