//! Our own time: the clock without the spans in which we did not run.
//!
//! A machine that was suspended, a process that was stopped or starved: when it runs again every wait seems to be over,
//! and every UPS to be silent for long, although nobody has asked. Such a span must decide nothing, so it is left out.
//! All moments inside the monitor are of this time.

use nut_proto::Moment;
use std::time::Duration;

/// How late a wake-up may be before the delay counts as a span in which we did not run. NUT's own limit.
pub const LATE: Duration = Duration::from_secs(5);

/// The clock without the spans in which we did not run.
#[derive(Debug, Clone, Default)]
pub struct OwnTime {
    skipped: Duration,
    /// When we asked to be woken, in real time.
    due: Option<Moment>,
}

impl OwnTime {
    /// Takes the real time and gives ours, and how long we did not run if that was long.
    pub fn take(&mut self, real: Moment) -> (Moment, Option<Duration>) {
        let late = self.due.take().map(|due| real.since(due)).filter(|late| *late > LATE);
        self.skipped = self.skipped.saturating_add(late.unwrap_or_default());
        (Moment::from_start(real.since_start().saturating_sub(self.skipped)), late)
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

    #[test]
    fn a_span_in_which_we_did_not_run_is_left_out() {
        let mut time = OwnTime::default();
        assert_eq!(time.take(Moment::from_secs(10)), (Moment::from_secs(10), None));
        assert_eq!(time.wake_at(Moment::from_secs(15)), Moment::from_secs(15));
        let (own, slept) = time.take(Moment::from_secs(615));
        assert_eq!((own, slept), (Moment::from_secs(15), Some(Duration::from_secs(600))));
        assert_eq!(time.wake_at(own.after(Duration::from_secs(5))), Moment::from_secs(620));
        assert_eq!(time.take(Moment::from_secs(620)), (Moment::from_secs(20), None));
    }

    #[test]
    fn being_a_little_late_or_woken_early_is_no_such_span() {
        let mut time = OwnTime::default();
        time.wake_at(Moment::from_secs(15));
        assert_eq!(time.take(Moment::from_secs(12)), (Moment::from_secs(12), None));
        time.wake_at(Moment::from_secs(15));
        assert_eq!(time.take(Moment::from_secs(20)), (Moment::from_secs(20), None));
        // Nobody asked to be woken: then nothing can be late.
        assert_eq!(time.take(Moment::from_secs(9999)), (Moment::from_secs(9999), None));
    }
}
