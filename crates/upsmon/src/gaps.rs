//! Our own time: the clock without the spans in which we did not run.
//!
//! A machine that was suspended, a process that was stopped or starved: when it runs again every wait seems to be over,
//! and every UPS to be silent for long, although nobody has asked. Such a span must decide nothing, so it is left out.
//! All moments inside the monitor are of this time.
//!
//! A host that always runs late must stop in time all the same: only one span in [`STEADY`] of our time is left out, so
//! that a wait of `W` is drawn out by at most `W / STEADY + 1` of them. The others count like any other time; but who
//! looks at the clock is told, so that what came meanwhile is heard before anything is decided by the time it took.

use nut_proto::Moment;
use std::time::Duration;

/// How late a wake-up may be before the delay counts as a span in which we did not run. NUT's own limit.
pub const LATE: Duration = Duration::from_secs(5);

/// How late a wake-up may be before what came meanwhile is to be heard first. Far below a second, after which the question
/// to a UPS that is lost counts as missed: its answer may have come in that second, and wait.
pub const A_LITTLE_LATE: Duration = Duration::from_millis(250);

/// How much of our time must pass after one span before the next one is left out.
pub const STEADY: Duration = Duration::from_secs(15);

/// Whether we look at the clock when we meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Yes, or not much later.
    InTime,
    /// So much later, more than [`A_LITTLE_LATE`], and that has passed like any other time.
    Late(Duration),
    /// So much later, and that is left out.
    LeftOut(Duration),
}

/// The clock without the spans in which we did not run.
#[derive(Debug, Clone, Default)]
pub struct OwnTime {
    skipped: Duration,
    /// When we asked to be woken, in real time.
    due: Option<Moment>,
    /// When a span was left out last, in our time.
    left_out: Option<Moment>,
}

impl OwnTime {
    /// Takes the real time and gives ours.
    pub fn take(&mut self, real: Moment) -> (Moment, Look) {
        let late = self.due.take().map(|due| real.since(due)).unwrap_or_default();
        if late > LATE && self.has_run_since_the_last(self.ours(real), late) {
            self.skipped = self.skipped.saturating_add(late);
            let ours = self.ours(real);
            self.left_out = Some(ours);
            return (ours, Look::LeftOut(late));
        }
        (self.ours(real), if late > A_LITTLE_LATE { Look::Late(late) } else { Look::InTime })
    }

    /// Leaves out a span in which nobody ran, for the machine was suspended: the kernel has told us, nothing is guessed.
    pub fn leave_out(&mut self, suspended: Duration) {
        self.skipped = self.skipped.saturating_add(suspended);
        self.due = self.due.map(|due| due + suspended);
    }

    /// How much has been left out since the start.
    #[must_use]
    pub fn left_out(&self) -> Duration {
        self.skipped
    }

    /// Whether enough of our time has passed since the last span, this one not counted.
    fn has_run_since_the_last(&self, ours: Moment, late: Duration) -> bool {
        self.left_out.is_none_or(|last| ours.since(last) >= STEADY.saturating_add(late))
    }

    fn ours(&self, real: Moment) -> Moment {
        Moment::from_start(real.since_start().saturating_sub(self.skipped))
    }

    /// Notes when the next step is due in our time, and gives the real moment to be woken at.
    pub fn wake_at(&mut self, own: Moment) -> Moment {
        let real = own.after(self.skipped);
        self.due = Some(real);
        real
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_in_which_we_did_not_run_is_left_out() {
        let mut time = OwnTime::default();
        assert_eq!(time.take(Moment::from_secs(10)), (Moment::from_secs(10), Look::InTime));
        assert_eq!(time.wake_at(Moment::from_secs(15)), Moment::from_secs(15));
        let (own, look) = time.take(Moment::from_secs(615));
        assert_eq!((own, look), (Moment::from_secs(15), Look::LeftOut(Duration::from_secs(600))));
        assert_eq!(time.wake_at(own.after(Duration::from_secs(5))), Moment::from_secs(620));
        assert_eq!(time.take(Moment::from_secs(620)), (Moment::from_secs(20), Look::InTime));
    }

    /// What it takes to see `wait` of our time pass, if each step comes `late` after it was due, `step` after the last.
    fn takes(wait: u64, step: u64, late: u64) -> (u64, u64) {
        let secs = Duration::from_secs;
        let mut time = OwnTime::default();
        let start = Moment::from_secs(1000);
        let (mut real, mut spans) = (start, 0);
        let (mut ours, _) = time.take(real);
        while ours.since(start) < secs(wait) {
            real = time.wake_at(ours + secs(step)) + secs(late);
            let look;
            (ours, look) = time.take(real);
            spans += u64::from(matches!(look, Look::LeftOut(_)));
        }
        (real.since(start).as_secs(), spans)
    }

    #[test]
    fn who_always_runs_late_waits_a_little_longer_and_not_for_ever() {
        assert_eq!(takes(15, 1, 0), (15, 0));
        assert_eq!(takes(15, 5, 5), (20, 0));
        assert_eq!(takes(15, 1, 6), (21, 1));
        assert_eq!(takes(15, 5, 6), (22, 1));
        assert_eq!(takes(60, 1, 60), (122, 1));
    }

    #[test]
    fn what_the_kernel_calls_a_suspension_is_left_out_however_often() {
        let hour = Duration::from_secs(3600);
        let mut time = OwnTime::default();
        time.take(Moment::from_secs(10));
        time.wake_at(Moment::from_secs(11));
        time.leave_out(hour);
        assert_eq!(time.take(Moment::from_secs(3611)), (Moment::from_secs(11), Look::InTime));
        assert_eq!(time.wake_at(Moment::from_secs(12)), Moment::from_secs(3612));
        time.leave_out(hour);
        assert_eq!(time.take(Moment::from_secs(7212)), (Moment::from_secs(12), Look::InTime));
    }

    proptest! {
        #[test]
        fn a_wait_is_drawn_out_by_few_spans(wait in 1u64..600, step in 0u64..30, late in 6u64..5000) {
            let (took, spans) = takes(wait, step, late);
            prop_assert!(spans <= wait / STEADY.as_secs() + 1, "{spans} spans");
            prop_assert!(took <= wait + spans * late + step + late, "{took} s");
        }
    }

    #[test]
    fn being_a_little_late_or_woken_early_is_no_such_span() {
        let mut time = OwnTime::default();
        time.wake_at(Moment::from_secs(15));
        assert_eq!(time.take(Moment::from_secs(12)), (Moment::from_secs(12), Look::InTime));
        time.wake_at(Moment::from_secs(15));
        assert_eq!(time.take(Moment::from_millis(15_250)), (Moment::from_millis(15_250), Look::InTime));
        time.wake_at(Moment::from_secs(15));
        let late = Look::Late(Duration::from_millis(251));
        assert_eq!(time.take(Moment::from_millis(15_251)), (Moment::from_millis(15_251), late));
        time.wake_at(Moment::from_secs(15));
        let late = Look::Late(Duration::from_secs(5));
        assert_eq!(time.take(Moment::from_secs(20)), (Moment::from_secs(20), late));
        // Nobody asked to be woken: then nothing can be late.
        assert_eq!(time.take(Moment::from_secs(9999)), (Moment::from_secs(9999), Look::InTime));
    }
}
