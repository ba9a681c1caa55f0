//! Where to listen: what was asked for, what works, and when the rest is tried again.
//!
//! Pure: no I/O, no clock, no log. [`crate::shell`] tries the places and tells what came of it. A server often starts
//! before its network does: an address that this host does not have yet, or a name that cannot be looked up yet, must
//! not end it. What is missing is said once, tried again every few seconds, and said when it works.

use crate::notes::Note;
use core::fmt;
use core::net::IpAddr;
use nut_conf::upsd_conf::UpsdConf;
use nut_proto::Moment;
use nut_proto::names::DEFAULT_PORT;
use std::time::Duration;
use thiserror::Error;

/// How long after the first failure a place is tried again; each time twice as long, up to [`LONGEST_WAIT`].
pub const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest time between two tries. With nothing missing there are none.
pub const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Which addresses to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Of both kinds.
    #[default]
    Both,
    /// IPv4 only (`-4`).
    V4,
    /// IPv6 only (`-6`).
    V6,
}

/// One place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As configured: an address, a name, or `*`.
    pub address: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// Which addresses it means.
    pub how: How,
    /// No `LISTEN` names it: it is what upsd listens at by itself. Such a one is not waited for once another works.
    pub is_implied: bool,
}

/// Which addresses a place means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The first one that works.
    First,
    /// Every address of this host: both families if possible, one at least.
    Every,
}

impl Place {
    fn new(address: &str, port: u16, is_implied: bool) -> Self {
        let how = if address == "*" { How::Every } else { How::First };
        Self { address: address.to_owned(), port, how, is_implied }
    }

    /// Whether who listens here listens there, too.
    fn covers(&self, other: &Self) -> bool {
        // Ports that the system chooses are different ones.
        let is_wider = self.port != 0
            && matches!(
                (self.address.as_str(), other.address.parse()),
                ("*", _) | ("0.0.0.0", Ok(IpAddr::V4(_))) | ("::", Ok(IpAddr::V6(_)))
            );
        self.port == other.port && (is_wider || self.address == other.address)
    }

    /// Whether it means only this host: NUT lets such a one be missing.
    fn is_localhost(&self) -> bool {
        ["localhost", "localhost6", "127.0.0.1", "::1"].contains(&self.address.as_str())
    }
}

/// What the configuration asks for. A place named twice is one, and so is one within another: whoever writes
/// `LISTEN *` and `LISTEN 127.0.0.1` is listened to at both.
///
/// Without `LISTEN`: this host only. A file in NUT 2.0's manner, with access rules, means every address: NUT 2.0
/// listened there, and the rules keep strangers out.
#[must_use]
pub fn wanted(conf: &UpsdConf, family: Family) -> Vec<Place> {
    if conf.listen.is_empty() {
        if conf.has_access_rules() {
            return vec![Place::new("*", DEFAULT_PORT, true)];
        }
        let both = [("::1", Family::V4), ("127.0.0.1", Family::V6)];
        let fits = both.into_iter().filter(|(_, without)| *without != family);
        return fits.map(|(address, _)| Place::new(address, DEFAULT_PORT, true)).collect();
    }
    let mut places: Vec<Place> = Vec::new();
    for listen in &conf.listen {
        let place = Place::new(&listen.address, listen.port, false);
        if !places.iter().any(|one| one.covers(&place)) {
            places.retain(|one| !place.covers(one));
            places.push(place);
        }
    }
    places
}

/// Most sockets that these places together can have.
#[must_use]
pub fn most_sockets(places: &[Place]) -> usize {
    places.iter().map(|place| if place.how == How::Every { 2 } else { 1 }).sum()
}

/// Why a place cannot be listened at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// The host has no such address, yet or ever.
    NoAddress,
    /// The name leads to no address.
    NoName {
        /// The system's words.
        text: String,
        /// The name servers know that there is none; else they could not be asked.
        is_final: bool,
    },
    /// Only to addresses that `-4` or `-6` exclude.
    WrongFamily,
    /// Another program listens there.
    Taken,
    /// We may not.
    Denied,
    /// Anything else, in words.
    Other(String),
}

impl Miss {
    /// Whether it may pass when the network is up, without anybody's doing.
    fn may_come(&self) -> bool {
        matches!(self, Self::NoAddress | Self::NoName { .. })
    }

    /// Whether there is hope enough to start with nothing else to listen at.
    fn is_hope(&self) -> bool {
        matches!(self, Self::NoAddress | Self::NoName { is_final: false, .. })
    }

    /// Whether trying again can help: root is given up for good, and so are the options.
    fn is_tried_again(&self) -> bool {
        !matches!(self, Self::WrongFamily | Self::Denied)
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("this host has no such address"),
            Self::NoName { text, is_final: true } => write!(f, "no such host is known: {text}"),
            Self::NoName { text, is_final: false } => write!(f, "the name cannot be looked up: {text}"),
            Self::WrongFamily => f.write_str("it is of the kind that -4 or -6 excludes"),
            Self::Taken => f.write_str("another program listens there"),
            Self::Denied => f.write_str("we may not; ports below 1024 are for root, at the start only"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Why upsd does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotEnough {
    /// Not one place works, and none of them can be expected to.
    #[error(
        "no listening interface available: see the lines above, LISTEN in upsd.conf, and whether upsd runs already"
    )]
    Nothing,
    /// Not all of them do.
    #[error(
        "Fatal error: some listening interfaces were not available: see the lines above; \
         write ALLOW_NOT_ALL_LISTENERS true in upsd.conf to start nevertheless"
    )]
    NotAll,
}

/// A place's number. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaceId(u64);

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The configuration asks for these places.
    Wanted(Vec<Place>),
    /// We listen there now.
    Opened(PlaceId),
    /// We cannot.
    Missed(PlaceId, Miss),
    /// The moment asked for by [`Places::wake_at`] has come.
    Tick,
}

/// What is to be done, in order; before what an earlier step has asked for and is not done yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Try to listen, and say how it went.
    Try(PlaceId, Place),
    /// Listen there no longer, if we do.
    Close(PlaceId),
    /// Log this.
    Say(Note),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The shell is at it.
    Trying,
    Open,
    Missing(Miss),
    /// Open, and no longer asked for: closed as soon as something that is asked for works.
    Leaving,
}

#[derive(Debug)]
struct Entry {
    id: PlaceId,
    place: Place,
    state: State,
    /// When to try again.
    again: Option<Moment>,
    wait: Duration,
    /// What was last said about its missing.
    said: Option<Miss>,
}

/// All places: those asked for, in the file's order, and those being left.
#[derive(Debug, Default)]
pub struct Places {
    entries: Vec<Entry>,
    count: u64,
    /// It was said that the old places stay in use.
    said_leaving: bool,
}

impl Places {
    /// Takes one event and appends what must now be done.
    pub fn step(&mut self, now: Moment, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Wanted(places) => self.want(places, out),
            Event::Opened(id) => match self.find(id) {
                // A name that was looked up for longer than anybody wanted it.
                None => out.push(Action::Close(id)),
                Some(entry) => {
                    entry.state = State::Open;
                    (entry.again, entry.wait, entry.said) = (None, FIRST_WAIT, None);
                }
            },
            Event::Missed(id, miss) => self.missed(now, id, miss, out),
            Event::Tick => self.tick(now, out),
        }
        self.settle(out);
    }

    /// When the next [`Event::Tick`] is wanted: never, if all is listened at.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        self.entries.iter().filter_map(|entry| entry.again).min()
    }

    /// The places that the shell still has to say something about.
    #[must_use]
    pub fn being_tried(&self) -> Vec<PlaceId> {
        self.entries.iter().filter(|entry| entry.state == State::Trying).map(|entry| entry.id).collect()
    }

    /// Whether what works is enough to start with. `allow` is what `ALLOW_NOT_ALL_LISTENERS` says.
    ///
    /// NUT wants every place that is not of localhost's kind, unless it says `true`; and at least one. So do we if it
    /// says `false`. If it says nothing, addresses and names that may come with the network are waited for.
    ///
    /// # Errors
    /// When it is not enough.
    pub fn enough(&self, allow: Option<bool>) -> Result<(), NotEnough> {
        let missing = || {
            self.entries.iter().filter_map(|entry| match &entry.state {
                State::Missing(miss) => Some((&entry.place, miss)),
                _ => None,
            })
        };
        if !self.is_any_open() {
            let is_hopeful = allow != Some(false) && missing().all(|(_, miss)| miss.is_hope());
            return if is_hopeful { Ok(()) } else { Err(NotEnough::Nothing) };
        }
        let may_miss = |(place, miss): (&Place, &Miss)| match allow {
            Some(true) => true,
            Some(false) => place.is_localhost(),
            None => place.is_localhost() || miss.may_come(),
        };
        if missing().all(may_miss) { Ok(()) } else { Err(NotEnough::NotAll) }
    }

    /// Whether anybody can reach us.
    #[must_use]
    pub fn is_any_open(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.state, State::Open | State::Leaving))
    }

    /// What is waited for, for people who ask the service manager; nothing if nothing is.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        let waiting = self.entries.iter().filter(|entry| entry.again.is_some());
        let names: Vec<_> =
            waiting.map(|entry| format!("{} port {}", entry.place.address, entry.place.port)).collect();
        (!names.is_empty()).then(|| format!("waiting to listen on {}", names.join(", ")))
    }

    fn find(&mut self, id: PlaceId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    fn want(&mut self, places: Vec<Place>, out: &mut Vec<Action>) {
        let mut old = std::mem::take(&mut self.entries);
        let mut new = Vec::new();
        for place in places {
            let kept = old.iter().position(|entry| {
                // `LISTEN 127.0.0.1` is what was listened at without it.
                (&entry.place.address, entry.place.port) == (&place.address, place.port)
            });
            match kept.map(|at| old.remove(at)) {
                Some(mut entry) => {
                    entry.place = place;
                    match entry.state {
                        State::Leaving => entry.state = State::Open,
                        // Whoever asks again wants to know at once.
                        State::Missing(_) => {
                            new.push(Action::Try(entry.id, entry.place.clone()));
                            (entry.state, entry.again) = (State::Trying, None);
                            (entry.wait, entry.said) = (FIRST_WAIT, None);
                        }
                        State::Trying | State::Open => {}
                    }
                    self.entries.push(entry);
                }
                None => {
                    self.count += 1;
                    let id = PlaceId(self.count);
                    new.push(Action::Try(id, place.clone()));
                    let (state, wait) = (State::Trying, FIRST_WAIT);
                    self.entries.push(Entry { id, place, state, again: None, wait, said: None });
                }
            }
        }
        for mut entry in old {
            if matches!(entry.state, State::Open | State::Leaving) {
                (entry.state, entry.again) = (State::Leaving, None);
                self.entries.push(entry);
            }
        }
        self.said_leaving = false;
        // What is left makes room first, if anything stays.
        self.leave(out);
        out.append(&mut new);
    }

    fn missed(&mut self, now: Moment, id: PlaceId, miss: Miss, out: &mut Vec<Action>) {
        let Some(entry) = self.find(id) else { return };
        let port = entry.place.port;
        let again = Action::Try(id, entry.place.clone());
        entry.again = miss.is_tried_again().then(|| now.after(entry.wait));
        entry.wait = entry.wait.saturating_mul(2).min(LONGEST_WAIT);
        let is_taken = miss == Miss::Taken;
        entry.state = State::Missing(miss);
        // Perhaps it is we ourselves who listen there: `LISTEN *` became `LISTEN 127.0.0.1`.
        let before = out.len();
        if is_taken {
            self.close_leaving(|place| place.port == port, out);
        }
        if out.len() > before {
            if let Some(entry) = self.find(id) {
                (entry.state, entry.again, entry.wait) = (State::Trying, None, FIRST_WAIT);
            }
            out.push(again);
        }
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Action>) {
        for entry in &mut self.entries {
            if entry.again.is_some_and(|again| again <= now) {
                (entry.state, entry.again) = (State::Trying, None);
                out.push(Action::Try(entry.id, entry.place.clone()));
            }
        }
    }

    /// Says what is missing, unless it was said already.
    fn settle(&mut self, out: &mut Vec<Action>) {
        self.leave(out);
        let is_tried = |entry: &Entry| entry.state == State::Trying;
        // Whether one that nobody has named is waited for depends on the other one.
        let is_open_question = self.entries.iter().any(|entry| is_tried(entry) && entry.place.is_implied);
        let is_any_open = self.entries.iter().any(|entry| entry.state == State::Open);
        for entry in &mut self.entries {
            let State::Missing(miss) = &entry.state else { continue };
            if entry.place.is_implied && is_open_question {
                continue;
            }
            if entry.place.is_implied && is_any_open {
                entry.again = None;
            }
            // Other words for the same are no news.
            let is_news = entry
                .said
                .as_ref()
                .is_none_or(|said| core::mem::discriminant(said) != core::mem::discriminant(miss));
            if is_news {
                entry.said = Some(miss.clone());
                let address = entry.place.address.clone();
                let (port, why) = (entry.place.port, miss.to_string());
                let again = entry.again.is_some();
                out.push(Action::Say(Note::NotListening { address, port, why, again }));
            }
        }
        let leaves = self.entries.iter().any(|entry| entry.state == State::Leaving);
        if leaves && !self.entries.iter().any(is_tried) && !std::mem::replace(&mut self.said_leaving, true) {
            out.push(Action::Say(Note::OldListenersStay));
        }
    }

    /// Closes what is no longer asked for, if something that is asked for works: a slip of the pen shuts nobody out.
    fn leave(&mut self, out: &mut Vec<Action>) {
        if self.entries.iter().any(|entry| entry.state == State::Open) {
            self.close_leaving(|_| true, out);
        }
    }

    fn close_leaving(&mut self, is_meant: impl Fn(&Place) -> bool, out: &mut Vec<Action>) {
        self.entries.retain(|entry| {
            let closes = entry.state == State::Leaving && is_meant(&entry.place);
            if closes {
                out.push(Action::Close(entry.id));
                let (address, port) = (entry.place.address.clone(), entry.place.port);
                out.push(Action::Say(Note::ListeningNoLonger { address, port }));
            }
            !closes
        });
    }
}

#[cfg(test)]
mod tests;
