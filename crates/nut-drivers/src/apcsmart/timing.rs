//! Every length of time this driver knows (apcsmart-driver §13), in one place.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Wait for the reply to `Y` and to `ESC`.
pub(super) const SMART: Duration = Duration::from_millis(1_500);

/// Wait for the reply to a query, a setting step, a simple command, `R`.
pub(super) const QUERY: Duration = Duration::from_millis(3_000);

/// Wait for `a` and `^Z`, which are long on a line of 2400 bit/s.
pub(super) const LONG_QUERY: Duration = Duration::from_millis(6_000);

/// Wait for the reply to a command that cuts the power, and to `Q` in front of it.
pub(super) const CONFIRMATION: Duration = Duration::from_millis(1_500);

/// After the first byte of a command of several bytes: a unit that cannot do it says so within this.
pub(super) const PEEK: Duration = Duration::from_millis(200);

/// Between that and the repeated byte of `K K`, `Z Z`, `^N ^N`.
///
/// A unit counts the pause between the two and wants more than 1.5 s. NUT's measures 1.50 to 1.53 s; the 20 ms beyond
/// 1.3 s are for a first byte that left a little late: a repetition that comes too early cuts no power.
pub(super) const REPEAT_GAP: Duration = Duration::from_millis(1_320);

/// Between the further bytes of a command of several bytes; a unit that is hurried may stop answering.
pub(super) const BYTE_GAP: Duration = Duration::from_millis(50);

/// After a `*`: silence that ends it.
pub(super) const DRAIN_QUIET: Duration = Duration::from_millis(200);

/// After a `*`: the longest wait for that silence.
pub(super) const DRAIN_MOST: Duration = Duration::from_millis(1_000);

/// Each byte of a reply renews the wait for the next, but the whole takes at most so much longer than the wait.
pub(super) const TRICKLE: Duration = Duration::from_secs(5);

/// Before a question is repeated that was answered `SM` ("not ready").
pub(super) const NOT_READY: Duration = Duration::from_millis(200);

/// From one try to reach a silent unit to the next, at least.
pub(super) const TRY_EVERY: Duration = Duration::from_secs(1);

/// A unit silent for so long: close the port and open it again.
pub(super) const REOPEN_AFTER: Duration = Duration::from_secs(300);

/// From one reading of everything to the next.
pub(super) const FULL_SCAN_EVERY: Duration = Duration::from_secs(3_600);

/// `cshdelay` unless set: between `U` and `S`.
pub(super) const FORCED_WAIT: Duration = Duration::from_millis(3_500);

/// The second call of a command that must be given twice comes so many whole seconds after the first.
pub(super) const TWICE: RangeInclusive<u64> = 3..=15;
