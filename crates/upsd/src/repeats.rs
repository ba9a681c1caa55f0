//! What is logged once and then counted: a peer who knocks a thousand times fills no disk.

use core::net::{IpAddr, Ipv6Addr};
use nut_proto::Moment;
use std::collections::HashMap;
use std::time::Duration;

/// How long an address is only counted after a line about it.
pub const QUIET: Duration = Duration::from_secs(60);

/// Most addresses that are counted one by one; those beyond share one count.
pub const MAX_ADDRESSES: usize = 256;

/// The counts of one kind of line.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: HashMap<IpAddr, Seen>,
    others: Option<Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    told: Moment,
    untold: u64,
}

impl Repeats {
    /// Counts one. If it is to be told now, says how many before it were not.
    pub fn count(&mut self, now: Moment, address: IpAddr) -> Option<u64> {
        let address = network(address);
        if !self.seen.contains_key(&address) && self.seen.len() >= MAX_ADDRESSES {
            self.seen.retain(|_, seen| now.since(seen.told) < QUIET);
            if self.seen.len() >= MAX_ADDRESSES {
                return tell(now, self.others.get_or_insert(Seen { told: Moment::START, untold: 0 }));
            }
        }
        match self.seen.get_mut(&address) {
            Some(seen) => tell(now, seen),
            None => {
                self.seen.insert(address, Seen { told: now, untold: 0 });
                Some(0)
            }
        }
    }
}

/// What one person may have many addresses of: the address itself, or the first half of an IPv6 address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn tell(now: Moment, seen: &mut Seen) -> Option<u64> {
    if now.since(seen.told) < QUIET {
        seen.untold = seen.untold.saturating_add(1);
        return None;
    }
    let untold = seen.untold;
    *seen = Seen { told: now, untold: 0 };
    Some(untold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_the_others_counted() {
        let mut repeats = Repeats::default();
        let one = IpAddr::from([192, 0, 2, 1]);
        let told = |repeats: &mut Repeats, secs| repeats.count(Moment::from_secs(secs), one);
        assert_eq!(told(&mut repeats, 100), Some(0));
        assert_eq!(told(&mut repeats, 101), None);
        assert_eq!(told(&mut repeats, 159), None);
        assert_eq!(told(&mut repeats, 160), Some(2));
        assert_eq!(told(&mut repeats, 161), None);
    }

    #[test]
    fn all_addresses_of_one_network_are_one() {
        let mut repeats = Repeats::default();
        let mut told = |address: &str| repeats.count(Moment::from_secs(100), address.parse().unwrap());
        assert_eq!(told("2001:db8:0:1::1"), Some(0));
        assert_eq!(told("2001:db8:0:1:ffff::2"), None);
        assert_eq!(told("2001:db8:0:2::1"), Some(0));
        assert_eq!(told("192.0.2.1"), Some(0));
        assert_eq!(told("::ffff:192.0.2.1"), None);
    }

    #[test]
    fn an_attack_from_everywhere_costs_no_memory_and_few_lines() {
        let mut repeats = Repeats::default();
        let now = Moment::from_secs(1000);
        let told =
            (0..100_000u32).filter(|n| repeats.count(now, IpAddr::from(n.to_be_bytes())).is_some()).count();
        assert_eq!(told, MAX_ADDRESSES + 1);
        assert_eq!(repeats.seen.len(), MAX_ADDRESSES);
        assert_eq!(repeats.count(Moment::from_secs(1100), IpAddr::from([1, 1, 1, 1])), Some(0));
        assert_eq!(repeats.seen.len(), 1);
    }
}
