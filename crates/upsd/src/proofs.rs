//! Who must prove that he is who he says waits here: one hash is calculated at a time, one place after the other.
//!
//! Pure. A connection proves itself once; from then on nothing here concerns it. A password in plain text is compared at
//! once, unless its place has tried too many wrong ones ([`crate::throttle`]).

use crate::events::ClientId;
use crate::repeats::Repeats;
use crate::throttle::{Source, Throttle};
use crate::users::Stamp;
use nut_proto::Moment;
use nut_proto::names::{Secret, UserName};
use std::collections::{HashMap, VecDeque};

/// Most connections of one place that wait for their password to be checked: all hosts of a school may share one, and
/// log in at the same moment when the power is back.
pub const MAX_OF_ONE: usize = 256;

/// The same for a place that has tried too many wrong ones. One is checked each second, and clients are not patient:
/// NUT's own gives up after 5 s.
pub const MAX_THROTTLED: usize = 4;

/// Most connections that wait, all places together. Those of this host itself are let in beyond that.
pub const MAX_WAITING: usize = 1024;

/// A password whose hash is being calculated.
#[derive(Debug, Clone)]
pub struct Check {
    /// Whose.
    pub client: ClientId,
    /// Where it is.
    pub source: Source,
    /// Who he says he is.
    pub user: UserName,
    /// The password he gave.
    pub password: Secret,
    /// The state of the user that the answer will be about.
    pub stamp: Stamp,
    /// Whether there is such a user. If not, the calculation is for show.
    pub is_known: bool,
}

/// All who wait, and what is being calculated.
#[derive(Debug, Default)]
pub struct Proofs {
    throttle: Throttle,
    lanes: HashMap<Source, VecDeque<ClientId>>,
    /// The places that have somebody waiting, the one whose turn it is in front.
    ring: VecDeque<Source>,
    waiting: usize,
    busy: Option<Check>,
    /// Somebody may have his turn now who had not before.
    stirred: bool,
    /// When we are to be called; an earlier call may come.
    armed: Option<Moment>,
    /// Places that are throttled from now on, to be logged.
    throttled: Repeats,
    /// Connections closed because too many wait, to be logged.
    pub turned_away: Repeats,
    /// Checks that could not be done, to be logged.
    pub unable: Repeats,
}

impl Proofs {
    /// Whether a password from there may be checked now.
    #[must_use]
    pub fn is_open(&self, now: Moment, source: &Source) -> bool {
        self.throttle.opens_at(now, source).is_none()
    }

    /// A password from there was wrong. If that one was too many, and it is to be told, says how many like it were not.
    pub fn failed(&mut self, now: Moment, source: &Source, from: core::net::IpAddr) -> Option<u64> {
        self.throttle.failed(now, source);
        if self.is_open(now, source) { None } else { self.throttled.count(now, from) }
    }

    /// A password from there was wrong, and whoever gave it did not wait to hear it.
    pub fn gone(&mut self, now: Moment, source: &Source) {
        self.throttle.failed(now, source);
    }

    /// Has a client wait for its turn; whether there is room.
    pub fn wait(&mut self, now: Moment, client: ClientId, source: &Source) -> bool {
        let most = if self.is_open(now, source) { MAX_OF_ONE } else { MAX_THROTTLED };
        let is_full = self.waiting >= MAX_WAITING && !source.is_local();
        let lane = self.lanes.get(source).map_or(0, VecDeque::len);
        if is_full || lane >= most {
            return false;
        }
        if lane == 0 {
            self.ring.push_back(source.clone());
        }
        self.lanes.entry(source.clone()).or_default().push_back(client);
        self.waiting += 1;
        self.stirred = true;
        true
    }

    /// A client does not wait any more.
    pub fn leave(&mut self, client: ClientId, source: &Source) {
        let Some(lane) = self.lanes.get_mut(source) else { return };
        let before = lane.len();
        lane.retain(|one| *one != client);
        self.waiting -= before - lane.len();
        if lane.is_empty() {
            self.lanes.remove(source);
            self.ring.retain(|one| one != source);
        }
    }

    /// Those who have come last from a place where too many wait, now that it has tried too many wrong passwords: they
    /// wait no more.
    pub fn trim(&mut self, now: Moment, source: &Source) -> Vec<ClientId> {
        if self.is_open(now, source) {
            return Vec::new();
        }
        let Some(lane) = self.lanes.get_mut(source) else { return Vec::new() };
        let last = lane.split_off(lane.len().min(MAX_THROTTLED));
        self.waiting -= last.len();
        last.into()
    }

    /// Whether nobody waits and nothing is being calculated.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.ring.is_empty() && self.busy.is_none()
    }

    /// All who wait.
    pub fn waiting(&self) -> impl Iterator<Item = ClientId> {
        self.ring.iter().filter_map(|source| self.lanes.get(source)).flatten().copied()
    }

    /// Whether somebody may have his turn who had not before; says so once.
    pub fn is_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    /// Whose turn it is, if nothing is being calculated: he waits no more.
    pub fn next(&mut self, now: Moment) -> Option<ClientId> {
        if self.busy.is_some() {
            return None;
        }
        for _ in 0..self.ring.len() {
            let source = self.ring.pop_front()?;
            if !self.is_open(now, &source) {
                self.ring.push_back(source);
                continue;
            }
            let client = self.lanes.get_mut(&source).and_then(VecDeque::pop_front);
            self.waiting -= usize::from(client.is_some());
            if self.lanes.get(&source).is_some_and(|lane| !lane.is_empty()) {
                self.ring.push_back(source);
            } else {
                self.lanes.remove(&source);
            }
            if client.is_some() {
                return client;
            }
        }
        None
    }

    /// A hash is being calculated from now on.
    pub fn begin(&mut self, check: Check) {
        self.busy = Some(check);
    }

    /// The calculation for this client has come to its end.
    pub fn end(&mut self, client: ClientId) -> Option<Check> {
        self.stirred = true;
        self.busy.take_if(|check| check.client == client)
    }

    /// When [`Proofs::next`] is to be asked again; nothing if that is known already, or if nobody waits for time to pass.
    pub fn arm(&mut self, now: Moment) -> Option<Moment> {
        if self.busy.is_some() {
            return None;
        }
        let first = self.ring.iter().map(|one| self.throttle.opens_at(now, one).unwrap_or(now)).min()?;
        if self.armed.is_some_and(|armed| armed <= first) {
            return None;
        }
        self.armed = Some(first);
        self.armed
    }

    /// The moment that [`Proofs::arm`] gave has come.
    pub fn woken(&mut self, at: Moment) {
        if self.armed == Some(at) {
            self.armed = None;
        }
        self.stirred = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use crate::throttle::{EACH, FREE};
    use core::net::IpAddr;

    fn source(last: u8) -> Source {
        Source::new(IpAddr::from([192, 0, 2, last]), None)
    }

    fn clients(count: usize) -> Vec<ClientId> {
        let mut slab = Slab::default();
        (0..count).map(|_| ClientId(slab.insert(()))).collect()
    }

    #[test]
    fn places_take_turns_and_within_one_the_first_comes_first() {
        let mut proofs = Proofs::default();
        let now = Moment::from_secs(1);
        let clients = clients(6);
        for (client, from) in clients.iter().zip([1, 1, 1, 1, 2, 3]) {
            assert!(proofs.wait(now, *client, &source(from)));
        }
        let order: Vec<_> = std::iter::from_fn(|| proofs.next(now)).collect();
        let expected: Vec<_> = [0, 4, 5, 1, 2, 3].map(|nth| clients[nth]).into();
        assert_eq!(order, expected);
        assert!(proofs.lanes.is_empty() && proofs.is_idle());
        assert_eq!(proofs.arm(now), None, "no timers at idle");
    }

    #[test]
    fn a_throttled_place_waits_and_the_others_do_not() {
        let mut proofs = Proofs::default();
        let now = Moment::from_secs(1);
        let clients = clients(3);
        (0..FREE).for_each(|_| proofs.gone(now, &source(1)));
        assert!(proofs.wait(now, clients[0], &source(1)) && proofs.wait(now, clients[1], &source(2)));
        assert_eq!((proofs.next(now), proofs.next(now)), (Some(clients[1]), None));
        let opens = now.after(EACH);
        assert_eq!((proofs.arm(now), proofs.arm(now)), (Some(opens), None));
        proofs.woken(opens);
        assert!(proofs.is_stirred() && !proofs.is_stirred());
        assert_eq!((proofs.next(opens), proofs.next(opens)), (Some(clients[0]), None));
    }

    #[test]
    fn room_is_bounded_for_each_and_for_all_but_not_for_this_host() {
        let mut proofs = Proofs::default();
        let now = Moment::from_secs(1);
        let clients = clients(MAX_WAITING + 2 * MAX_OF_ONE);
        let mut clients = clients.iter().copied();
        let mut wait =
            |proofs: &mut Proofs, source: &Source| proofs.wait(now, clients.next().unwrap(), source);
        let one = source(1);
        assert_eq!((0..MAX_OF_ONE + 9).filter(|_| wait(&mut proofs, &one)).count(), MAX_OF_ONE);
        // It turns out that it guesses: those who came last must go.
        (0..FREE).for_each(|_| proofs.gone(now, &one));
        assert_eq!(proofs.trim(now, &one).len(), MAX_OF_ONE - MAX_THROTTLED);
        assert!(!wait(&mut proofs, &one));
        assert_eq!(proofs.waiting, MAX_THROTTLED);
        for last in 2..=255 {
            for _ in 0..4 {
                wait(&mut proofs, &source(last));
            }
        }
        assert_eq!((proofs.waiting, proofs.waiting().count()), (4 * 255, 4 * 255));
        assert_eq!((0..8).filter(|_| wait(&mut proofs, &source(2))).count(), MAX_WAITING - 4 * 255);
        assert!(wait(&mut proofs, &Source::new(IpAddr::from([127, 0, 0, 1]), None)));
    }

    #[test]
    fn who_goes_leaves_no_trace() {
        let mut proofs = Proofs::default();
        let now = Moment::from_secs(1);
        let clients = clients(2);
        assert!(clients.iter().all(|client| proofs.wait(now, *client, &source(1))));
        proofs.leave(clients[0], &source(2));
        proofs.leave(clients[0], &source(1));
        assert_eq!(proofs.waiting, 1);
        proofs.leave(clients[1], &source(1));
        assert!(proofs.lanes.is_empty() && proofs.is_idle());
    }
}
