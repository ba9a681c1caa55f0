//! How many lines of the log anybody may cause: neither a client nor a driver fills the disk.
//!
//! [`crate::repeats`] keeps each single complaint from being repeated; this is the limit for all that is left, such as
//! the orders of somebody who knows a password. Whoever goes beyond it is counted, and the count is told with the next
//! line about him. Nobody uses up what belongs to another: a flood hides its own lines, not those of others.

use crate::notes::Note;
use crate::repeats::network;
use core::net::IpAddr;
use nut_proto::Moment;
use nut_proto::names::UpsName;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Lines that one address, or one driver, may cause at once.
pub const BURST: u32 = 200;

/// How long it takes until it may cause another one.
pub const EVERY: Duration = Duration::from_secs(5);

/// Lines that all clients together may cause at once.
pub const BURST_OF_ALL: u32 = 2_000;

/// How long it takes until they may cause another one.
pub const EVERY_OF_ALL: Duration = Duration::from_millis(500);

/// Most addresses that are counted one by one; those beyond share one count.
pub const MAX_ADDRESSES: usize = 256;

/// Most drivers that are counted one by one.
pub const MAX_DRIVERS: usize = 4_096;

/// Who causes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A client at this address.
    Client(IpAddr),
    /// A client or a driver; the line does not say which.
    Somebody,
    /// The driver of this UPS.
    Driver(&'a UpsName),
    /// Whoever changed the files, or something that happens once.
    House,
}

/// What each may still cause.
#[derive(Debug)]
pub struct Quotas {
    clients: Shares<IpAddr>,
    drivers: Shares<UpsName>,
    of_all: Share,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            clients: Shares::with_limit(MAX_ADDRESSES),
            drivers: Shares::with_limit(MAX_DRIVERS),
            of_all: Share::default(),
        }
    }
}

impl Quotas {
    /// Counts a line. If it is to be written, says how many from there were not before it.
    pub fn count(&mut self, now: Moment, note: &Note) -> Option<u64> {
        let share = match note.origin() {
            Origin::House => return Some(0),
            Origin::Driver(ups) => self.drivers.of(now, ups),
            Origin::Client(address) => self.clients.of(now, &network(address)),
            Origin::Somebody => &mut self.clients.others,
        };
        let is_client = !matches!(note.origin(), Origin::Driver(_));
        if !share.has_one(now, BURST, EVERY)
            || is_client && !self.of_all.has_one(now, BURST_OF_ALL, EVERY_OF_ALL)
        {
            share.untold = share.untold.saturating_add(1);
            return None;
        }
        share.take_one(now, EVERY);
        if is_client {
            self.of_all.take_one(now, EVERY_OF_ALL);
        }
        Some(std::mem::take(&mut share.untold))
    }
}

/// The shares of one kind.
#[derive(Debug)]
struct Shares<K> {
    each: HashMap<K, Share>,
    others: Share,
    limit: usize,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    fn with_limit(limit: usize) -> Self {
        Self { each: HashMap::new(), others: Share::default(), limit }
    }

    fn of(&mut self, now: Moment, key: &K) -> &mut Share {
        if !self.each.contains_key(key) && self.each.len() >= self.limit {
            self.each.retain(|_, share| !share.is_untouched(now));
            if self.each.len() >= self.limit {
                return &mut self.others;
            }
        }
        self.each.entry(key.clone()).or_default()
    }
}

/// What one may still cause, as the moment at which he may cause all of it again.
#[derive(Debug, Clone, Copy)]
struct Share {
    full_at: Moment,
    untold: u64,
}

impl Default for Share {
    fn default() -> Self {
        Self { full_at: Moment::START, untold: 0 }
    }
}

impl Share {
    fn has_one(&self, now: Moment, burst: u32, every: Duration) -> bool {
        self.full_at.since(now) <= every.saturating_mul(burst.saturating_sub(1))
    }

    fn take_one(&mut self, now: Moment, every: Duration) {
        self.full_at = self.full_at.max(now).after(every);
    }

    fn is_untouched(&self, now: Moment) -> bool {
        self.full_at <= now && self.untold == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notes::Asker;

    fn order(from: [u8; 4]) -> Note {
        Note::Command {
            asker: Asker { user: None, from: from.into() },
            ups: "a".parse().unwrap(),
            command: "beeper.on".into(),
            param: None,
            id: None,
        }
    }

    fn stale(ups: &str) -> Note {
        Note::Stale { ups: ups.parse().unwrap() }
    }

    #[test]
    fn a_client_with_a_password_does_not_fill_the_disk() {
        let mut quotas = Quotas::default();
        let mut written = 0;
        let mut untold = 0;
        // A thousand orders a second for a day.
        for second in 0..86_400u64 {
            for _ in 0..10 {
                if let Some(before) = quotas.count(Moment::from_secs(1000 + second), &order([192, 0, 2, 1])) {
                    written += 1;
                    untold += before;
                }
            }
        }
        assert!((17_000..17_600).contains(&written), "{written}");
        assert!(untold + written >= 863_000, "what was not told was counted: {untold}");
    }

    #[test]
    fn a_flood_hides_nobody_else() {
        let mut quotas = Quotas::default();
        let now = Moment::from_secs(1000);
        let told = (0..100_000).filter(|_| quotas.count(now, &order([192, 0, 2, 1])).is_some()).count();
        assert_eq!(told, 200);
        let told = (0..100_000).filter(|_| quotas.count(now, &stale("flaps")).is_some()).count();
        assert_eq!(told, 200);
        assert_eq!(quotas.count(now, &order([192, 0, 2, 2])), Some(0));
        assert_eq!(quotas.count(now, &stale("other")), Some(0));
        let forced = Note::Forced {
            asker: Asker { user: None, from: [192, 0, 2, 1].into() },
            ups: "a".parse().unwrap(),
        };
        assert_eq!(quotas.count(now, &forced), Some(0), "a forced shutdown is always written");
        assert_eq!(quotas.count(Moment::from_secs(1005), &order([192, 0, 2, 1])), Some(99_800));
        assert_eq!(quotas.count(Moment::from_secs(1005), &order([192, 0, 2, 1])), None);
    }

    #[test]
    fn an_attack_from_everywhere_is_bounded_in_lines_and_memory() {
        let mut quotas = Quotas::default();
        let mut written = 0;
        for second in 0..1_000u64 {
            for n in 0..1_000u32 {
                let [a, b, ..] = n.to_le_bytes();
                let now = Moment::from_secs(1000 + second);
                written += usize::from(quotas.count(now, &order([10, 0, a, b])).is_some());
            }
        }
        assert!(written <= 2_000 + 2 * 1_000, "{written}");
        assert!(quotas.clients.each.len() <= MAX_ADDRESSES);
    }
}
