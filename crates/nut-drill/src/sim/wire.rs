//! When each byte leaves the unit: replies take time, alerts do not interrupt them, and nothing overtakes.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use nut_proto::Moment;

/// Most bytes that wait to be sent. A host that asks faster than the line carries loses replies, not our memory.
pub const MAX_WAITING: usize = 4096;

/// One byte at 2400 bit/s, 8N1.
const BYTE_TIME: Duration = Duration::from_micros(4167);

/// How fast the unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pace {
    /// As the real unit: 40 ms and 10 ms a character, or what its profile says.
    #[default]
    Real,
    /// This many times faster, order and proportions kept: for rehearsals.
    Faster(NonZeroU32),
    /// At once, for fast tests.
    Immediate,
}

/// What waits to be sent, in order.
#[derive(Clone, Debug)]
pub struct Outbox {
    pace: Pace,
    waiting: VecDeque<(Moment, Vec<u8>)>,
    bytes: usize,
    /// When the line is free again.
    free_at: Moment,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, waiting: VecDeque::new(), bytes: 0, free_at: Moment::START }
    }

    /// Puts a reply in line: complete `latency` after the line is free. Returns false if there is no room.
    pub fn reply(&mut self, now: Moment, latency: Duration, bytes: Vec<u8>) -> bool {
        self.push(now, latency, bytes)
    }

    /// Puts bytes in line that nobody asked for. Returns false if there is no room.
    pub fn unasked(&mut self, now: Moment, bytes: Vec<u8>) -> bool {
        let time = BYTE_TIME * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.push(now, time, bytes)
    }

    fn push(&mut self, now: Moment, time: Duration, bytes: Vec<u8>) -> bool {
        if self.bytes + bytes.len() > MAX_WAITING {
            return false;
        }
        let due = match self.pace {
            Pace::Real => self.free_at.max(now) + time,
            Pace::Faster(times) => self.free_at.max(now) + time / times.get(),
            Pace::Immediate => now,
        };
        self.free_at = due;
        self.bytes += bytes.len();
        self.waiting.push_back((due, bytes));
        true
    }

    /// Takes the next thing that is due by `now`.
    pub fn take_due(&mut self, now: Moment) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, bytes) = self.waiting.pop_front()?;
        self.bytes -= bytes.len();
        Some(bytes)
    }

    /// When the next thing is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        self.waiting.front().map(|(due, _)| *due)
    }

    /// Forgets all that waits: the unit lost its power, or its cable.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
        self.free_at = Moment::START;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn replies_follow_each_other_and_alerts_wait_for_the_running_one() {
        let mut outbox = Outbox::new(Pace::Real);
        outbox.reply(at(0), Duration::from_millis(90), b"13.61\r\n".to_vec());
        outbox.unasked(at(10), b"!".to_vec());
        outbox.reply(at(20), Duration::from_millis(60), b"10\r\n".to_vec());
        assert_eq!(outbox.take_due(at(89)), None);
        assert_eq!(outbox.take_due(at(95)).as_deref(), Some(&b"13.61\r\n"[..]));
        assert_eq!(outbox.take_due(at(95)).as_deref(), Some(&b"!"[..]));
        assert_eq!(outbox.take_due(at(150)), None);
        assert_eq!(outbox.next_due(), Some(at(90) + BYTE_TIME + Duration::from_millis(60)));
        assert_eq!(outbox.take_due(at(155)).as_deref(), Some(&b"10\r\n"[..]));
        assert_eq!(outbox.next_due(), None);
    }

    #[test]
    fn the_immediate_pace_has_no_waits() {
        let mut outbox = Outbox::new(Pace::Immediate);
        outbox.reply(at(5), Duration::from_secs(2), b"x".to_vec());
        assert_eq!(outbox.take_due(at(5)).as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn a_faster_line_keeps_the_order() {
        let mut outbox = Outbox::new(Pace::Faster(NonZeroU32::new(8).unwrap()));
        outbox.reply(at(0), Duration::from_millis(80), b"a".to_vec());
        outbox.reply(at(0), Duration::from_millis(40), b"b".to_vec());
        assert_eq!(outbox.take_due(at(10)).as_deref(), Some(&b"a"[..]));
        assert_eq!(outbox.next_due(), Some(at(15)));
    }

    #[test]
    fn a_host_in_a_hurry_cannot_fill_the_memory() {
        let mut outbox = Outbox::new(Pace::Real);
        let accepted = (0..100).filter(|_| outbox.reply(at(0), Duration::ZERO, vec![0; 100])).count();
        assert_eq!(accepted, MAX_WAITING / 100);
    }
}
