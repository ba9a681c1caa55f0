//! Waits that run, so that people can see them: what ends when, and what follows then.
//!
//! A timer decides nothing. Each is worked out from the same moments as the decision it foretells.

use nut_proto::Moment;
use std::time::Duration;

/// What rounding to whole seconds takes off a wait, or adds to it (see [`crate::watch`]).
const HALF: Duration = Duration::from_millis(500);

/// One wait that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// The directive that says how long.
    pub directive: &'static str,
    /// How long.
    pub limit: Duration,
    /// From when on it can be over.
    pub ends: Moment,
    /// What follows then, as a clause.
    pub then: &'static str,
}

impl Timer {
    /// One that is over when more than `limit` has passed, in whole seconds.
    #[must_use]
    pub fn more_than(directive: &'static str, limit: Duration, since: Moment, then: &'static str) -> Self {
        Self { directive, limit, ends: since + limit + HALF, then }
    }

    /// One that is over when `limit` has passed, in whole seconds.
    #[must_use]
    pub fn at_least(directive: &'static str, limit: Duration, since: Moment, then: &'static str) -> Self {
        Self { directive, limit, ends: since + limit.saturating_sub(HALF), then }
    }

    /// One that is over to the point.
    #[must_use]
    pub fn exactly(directive: &'static str, limit: Duration, since: Moment, then: &'static str) -> Self {
        Self { directive, limit, ends: since + limit, then }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self, now: Moment) -> Duration {
        self.ends.since(now)
    }

    /// The wait in one line.
    #[must_use]
    pub fn text(&self, now: Moment) -> String {
        let Self { directive, then, .. } = self;
        let limit = self.limit.as_secs();
        match self.left(now) {
            Duration::ZERO => format!("{directive} {limit}: over; at the next step {then}"),
            left => format!("{directive} {limit}: {} left, then {then}", lasting(round_up(left))),
        }
    }
}

/// A part of a second that is left counts as a whole one: nothing that runs has 0 s left.
fn round_up(left: Duration) -> Duration {
    Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

/// A time as people say it, in its two greatest units: `45 s`, `3 min 5 s`, `2 h 3 min`, `4 d 2 h`.
#[must_use]
pub fn lasting(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = time.as_secs();
    let mut parts = Vec::new();
    for (unit, word) in UNITS {
        if rest >= unit && (parts.is_empty() || parts.len() < 2) {
            parts.push(format!("{} {word}", rest / unit));
        } else if !parts.is_empty() {
            break;
        }
        rest %= unit;
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_two_greatest_units() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (185, "3 min 5 s"),
            (3600, "1 h"),
            (3605, "1 h"),
            (7380, "2 h 3 min"),
            (86_400, "1 d"),
            (90_061, "1 d 1 h"),
            (352_800, "4 d 2 h"),
        ];
        for (secs, expected) in cases {
            assert_eq!(lasting(Duration::from_secs(secs)), expected, "{secs}");
        }
    }

    #[test]
    fn what_is_left_is_rounded_up_and_nothing_left_is_said_so() {
        let secs = Duration::from_secs;
        let timer = Timer::more_than("DEADTIME", secs(15), Moment::from_secs(100), "it is dead");
        assert_eq!(timer.text(Moment::from_secs(100)), "DEADTIME 15: 16 s left, then it is dead");
        assert_eq!(timer.text(Moment::from_secs(115)), "DEADTIME 15: 1 s left, then it is dead");
        assert_eq!(timer.text(Moment::from_secs(116)), "DEADTIME 15: over; at the next step it is dead");
        let timer = Timer::at_least("OBLBDURATION", secs(30), Moment::from_secs(100), "x");
        assert_eq!(timer.ends, Moment::from_millis(129_500));
        assert_eq!(
            Timer::exactly("FINALDELAY", secs(5), Moment::from_secs(1), "x").ends,
            Moment::from_secs(6)
        );
    }
}
