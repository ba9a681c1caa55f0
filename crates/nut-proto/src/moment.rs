//! A point in time that no clock change can move.

use std::fmt;
use std::time::Duration;

/// Time since the machine was started, sleep included (`CLOCK_BOOTTIME`).
///
/// Only a shell can make a real one, from `nut_os::clock`; a test can make any. Setting the wall clock, or a leap
/// second, does not change the distance between two moments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The moment the machine started.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment this long after the machine started.
    #[must_use]
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The moment this many seconds after the machine started; for tests and tables.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// The moment this many milliseconds after the machine started; for tests and tables.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// How long after the machine's start this is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How much time has passed since `earlier`; nothing if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment `wait` after this one; the end of time if that is beyond what can be counted.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, wait: Duration) -> Self {
        self.after(wait)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0.as_secs(), self.0.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_never_goes_below_zero() {
        assert_eq!(Moment::from_secs(5).since(Moment::from_secs(2)), Duration::from_secs(3));
        assert_eq!(Moment::from_secs(2).since(Moment::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn the_end_of_time_is_a_moment_too() {
        let end = Moment::from_secs(1).after(Duration::MAX);
        assert_eq!(end.since_start(), Duration::MAX);
    }
}
