//! How often wrong passwords may be tried from one place: ten at once, then one a second.
//!
//! Pure. Only wrong passwords count, and only against the place they came from and the user they were meant for: nobody
//! else's check is ever later for it.

use core::net::{IpAddr, Ipv6Addr};
use nut_proto::Moment;
use nut_proto::names::UserName;
use std::collections::HashMap;
use std::time::Duration;

/// Wrong passwords that cost nothing, if a place has tried none before.
pub const FREE: u32 = 10;

/// How long until one more may be tried when those are spent. A place that tries none for [`FREE`] times as long has
/// all of them again.
pub const EACH: Duration = Duration::from_secs(1);

/// Most places that are remembered. Beyond, the one that would be forgotten first is.
pub const MAX_SOURCES: usize = 4096;

/// A place that passwords come from: an IPv4 address, or the first 64 bits of an IPv6 one, of which a single host has
/// as many as it wants; with the user whose password is tried, so that who guesses one user's does not keep out
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    net: IpAddr,
    user: Option<UserName>,
    is_local: bool,
}

impl Source {
    /// The place of this address; all names that are no user's are one.
    #[must_use]
    pub fn new(address: IpAddr, user: Option<&UserName>) -> Self {
        let address = address.to_canonical();
        let net = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        };
        Self { net, user: user.cloned(), is_local: address.is_loopback() }
    }

    /// Whether it is this host itself.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

/// Who tried wrong passwords lately.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When each will have all its free tries again: one [`EACH`] later for each wrong password.
    whole_again: HashMap<Source, Moment>,
}

impl Throttle {
    /// When the next password from there may be checked; nothing if at once.
    #[must_use]
    pub fn opens_at(&self, now: Moment, source: &Source) -> Option<Moment> {
        let whole_again = self.whole_again.get(source)?;
        let wait = whole_again.since(now.after(EACH * (FREE - 1)));
        (!wait.is_zero()).then(|| now.after(wait))
    }

    /// A password from there was wrong.
    pub fn failed(&mut self, now: Moment, source: &Source) {
        if !self.whole_again.contains_key(source) && self.whole_again.len() >= MAX_SOURCES {
            self.make_room(now);
        }
        let whole_again = self.whole_again.entry(source.clone()).or_insert(now);
        // Several may fail at once where one calculation answers for all of them: no wait grows beyond one `EACH`.
        *whole_again = (*whole_again).max(now).after(EACH).min(now.after(EACH * FREE));
    }

    fn make_room(&mut self, now: Moment) {
        self.whole_again.retain(|_, whole_again| *whole_again > now);
        if self.whole_again.len() < MAX_SOURCES {
            return;
        }
        let first = self.whole_again.iter().min_by_key(|(_, whole_again)| **whole_again);
        if let Some(first) = first.map(|(source, _)| source.clone()) {
            self.whole_again.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(address: &str) -> Source {
        Source::new(address.parse().unwrap(), None)
    }

    #[test]
    fn ten_are_free_then_one_a_second() {
        let mut throttle = Throttle::default();
        let one = source("192.0.2.1");
        let at = Moment::from_millis;
        for _ in 0..FREE {
            assert_eq!(throttle.opens_at(at(5_000), &one), None);
            throttle.failed(at(5_000), &one);
        }
        for second in 6..20 {
            assert_eq!(throttle.opens_at(at(second * 1000 - 1), &one), Some(at(second * 1000)));
            assert_eq!(throttle.opens_at(at(second * 1000), &one), None);
            throttle.failed(at(second * 1000), &one);
        }
        // Three seconds of silence: three tries. Long silence: ten and no more.
        for (silence, free) in [(3, 3), (10, 10), (1_000_000, 10)] {
            let mut throttle = Throttle::default();
            (0..FREE).for_each(|_| throttle.failed(at(5_000), &one));
            let now = at((5 + silence) * 1000);
            let tries = std::iter::from_fn(|| {
                throttle.opens_at(now, &one).is_none().then(|| throttle.failed(now, &one))
            });
            assert_eq!(tries.count(), free, "after {silence} s");
        }
    }

    #[test]
    fn a_place_is_an_address_a_net_of_64_bits_and_a_user() {
        let user = |name| Some(UserName::new(name));
        let with =
            |address: &str, user: Option<UserName>| Source::new(address.parse().unwrap(), user.as_ref());
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(with("192.0.2.1", user("a")), with("192.0.2.1", user("b")));
        assert_ne!(with("192.0.2.1", user("a")), source("192.0.2.1"));
        assert!(source("127.0.0.9").is_local() && source("::1").is_local());
        assert!(!source("192.0.2.1").is_local() && !source("::2").is_local());
    }

    #[test]
    fn no_number_of_places_makes_it_grow() {
        let mut throttle = Throttle::default();
        let now = Moment::from_secs(1);
        let hot = source("192.0.2.1");
        (0..FREE).for_each(|_| throttle.failed(now, &hot));
        for n in 0..20_000u32 {
            throttle.failed(now, &Source::new(IpAddr::from(n.to_be_bytes()), None));
        }
        assert_eq!(throttle.whole_again.len(), MAX_SOURCES);
        assert!(throttle.opens_at(now, &hot).is_some(), "who tries most is remembered longest");
        throttle.failed(Moment::from_secs(100), &source("198.51.100.1"));
        assert_eq!(throttle.whole_again.len(), 1, "what is over is forgotten");
    }

    proptest! {
        /// Whatever one does, another is never throttled by it, and nobody waits longer than a second.
        #[test]
        fn nobody_waits_for_another_or_longer_than_a_second(steps in prop::collection::vec((0u8..4, 0u64..3000), 0..200)) {
            let mut throttle = Throttle::default();
            let innocent = source("192.0.2.200");
            let mut now = Moment::from_secs(1);
            for (who, millis) in steps {
                now = now.after(Duration::from_millis(millis));
                let who = Source::new(IpAddr::from([192, 0, 2, who]), None);
                throttle.failed(now, &who);
                prop_assert_eq!(throttle.opens_at(now, &innocent), None);
                if let Some(opens) = throttle.opens_at(now, &who) {
                    prop_assert!(opens > now && opens.since(now) <= EACH);
                    prop_assert_eq!(throttle.opens_at(opens, &who), None);
                }
            }
        }
    }
}
