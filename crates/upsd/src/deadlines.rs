//! What is due when: one heap for all clients and drivers, so that nobody is looked at before its time.

use crate::events::{ClientId, UpsId};
use nut_proto::Moment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Something to look after when its moment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// A UPS: connect, ask whether it is alive, or find it stale.
    Ups(UpsId),
    /// A client that may have been silent for too long.
    Client(ClientId),
    /// A place that tried too many wrong passwords may try another.
    Proofs,
}

/// The heap. An entry stays when its client goes: whoever is looked after too soon puts
/// itself in again, and [`Deadlines::retain`] clears away when too many have gone.
#[derive(Debug, Default)]
pub struct Deadlines {
    heap: BinaryHeap<Reverse<(Moment, Due)>>,
}

impl Deadlines {
    /// Has `due` looked after at this moment.
    pub fn set(&mut self, at: Moment, due: Due) {
        self.heap.push(Reverse((at, due)));
    }

    /// The next moment at which somebody is to be looked after.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out what is due by now, the earliest first.
    pub fn pop(&mut self, now: Moment) -> Option<(Moment, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// Takes out all of whom this does not hold.
    pub fn retain(&mut self, is_wanted: impl Fn(Due) -> bool) {
        self.heap.retain(|Reverse((_, due))| is_wanted(*due));
    }

    /// How many entries there are, past ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// The next full second: for deadlines that need no more precision, so that thousands of them share one wakeup.
#[must_use]
pub fn on_the_second(moment: Moment) -> Moment {
    let since = moment.since_start();
    if since.subsec_nanos() == 0 {
        return moment;
    }
    Moment::from_secs(since.as_secs()).after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_nothing_before_its_time() {
        let due = Due::Ups(UpsId(crate::slab::Slab::default().insert(())));
        let mut deadlines = Deadlines::default();
        deadlines.set(Moment::from_secs(5), due);
        deadlines.set(Moment::from_secs(2), due);
        assert_eq!(deadlines.next(), Some(Moment::from_secs(2)));
        assert_eq!(deadlines.pop(Moment::from_secs(1)), None);
        assert_eq!(deadlines.pop(Moment::from_secs(9)), Some((Moment::from_secs(2), due)));
        assert_eq!(deadlines.len(), 1);
    }

    #[test]
    fn seconds_are_rounded_up() {
        for (millis, expected) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(on_the_second(Moment::from_millis(millis)), Moment::from_secs(expected), "{millis}");
        }
        let end = Moment::START.after(Duration::MAX);
        assert_eq!(on_the_second(end), end);
    }
}
