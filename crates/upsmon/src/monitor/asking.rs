//! When each UPS is asked, and what becomes of a question that stays out.

use nut_proto::Moment;
use std::time::Duration;

use super::{Action, Monitor, Phase, Watched};
use crate::server::{Failure, Order};
use crate::watch::{self, Rules, Watch};

/// The fastest a UPS is asked. NUT takes `POLLFREQ 0` for "without a pause".
pub const FASTEST: Duration = Duration::from_secs(1);

/// How long a question may be out before the UPS counts as not answering, whatever its connection is still waiting for.
/// A little more than the 10 s that connecting may take by default, so that its own failure is heard first.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// A question without an answer yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) since: Moment,
    /// When it counts as not answered; moved on each time it has.
    pub(super) late_at: Moment,
    /// We came late when it was late, and have given its answer a moment more: that happens once.
    pub(super) is_heard_out: bool,
}

/// How often each UPS is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    pub(super) every: Duration,
    /// The directive it follows from.
    pub(super) says: &'static str,
}

impl Watched {
    /// When it is to be asked next; nothing while a question is out.
    pub(super) fn due(&self, rhythm: Duration) -> Option<Moment> {
        match self.out {
            Some(_) => None,
            None => Some(self.asked.map_or(Moment::START, |asked| asked + rhythm)),
        }
    }

    /// A question that goes out now.
    ///
    /// Of one that is lost already, the answer is missed as soon as the next question would be due: else DEADTIME would end
    /// as late as connecting happens to take.
    pub(super) fn question(&self, now: Moment, rhythm: Duration) -> Out {
        let patience = if self.watch.is_lost() { rhythm.min(PATIENCE) } else { PATIENCE };
        Out { since: now, late_at: now + patience, is_heard_out: false }
    }

    /// Whether its server has failed to answer, and leaves the next question unanswered, too.
    pub(super) fn is_out_of_reach(&self, now: Moment) -> bool {
        self.watch.is_lost() && self.out.is_some_and(|out| now.since(out.since) >= FASTEST)
    }
}

impl Monitor {
    /// How often each UPS is asked: faster for all while any of them is not well.
    pub(super) fn rhythm(&self) -> Duration {
        self.rhythm_and_why().every
    }

    /// The same, with what it follows from.
    pub(super) fn rhythm_and_why(&self) -> Rhythm {
        let any = |is: fn(&Watch, &Rules) -> bool| self.watched.iter().any(|one| is(&one.watch, &self.rules));
        let (every, says) = if any(Watch::is_bearing_low_battery) {
            let (alert, limit) = (self.conf.poll_frequency_alert, self.rules.low_battery_duration);
            let both = common_divisor(alert.as_secs(), limit.as_secs());
            (Duration::from_secs(both), "what POLLFREQALERT and OBLBDURATION have in common")
        } else if any(Watch::is_alert) {
            (self.conf.poll_frequency_alert, "POLLFREQALERT")
        } else {
            (self.conf.poll_frequency, "POLLFREQ")
        };
        Rhythm { every: every.max(FASTEST), says }
    }

    pub(super) fn ask_who_is_due(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.is_shutting_down() {
            return;
        }
        let rhythm = self.rhythm();
        for nth in 0..self.watched.len() {
            if self.watched.get(nth).and_then(|one| one.due(rhythm)).is_some_and(|due| due <= now) {
                self.ask(now, nth, actions);
            }
        }
    }

    /// Asks one now, whatever was asked before.
    pub(super) fn ask(&mut self, now: Moment, nth: usize, actions: &mut Vec<Action>) {
        let rhythm = self.rhythm();
        // Who cannot be stopped any more must keep nobody waiting: then we ask without being logged in.
        let log_in = matches!(self.phase, Phase::Watching);
        let Some(one) = self.watched.get_mut(nth) else { return };
        one.asked = Some(now);
        one.out = Some(one.question(now, rhythm));
        actions.push(Action::Ask(one.id, Order::Poll { log_in }));
    }

    /// A question that is out for too long counts as not answered, and again once a poll's time later.
    pub(super) fn count_late_answers(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let rhythm = self.rhythm();
        for nth in 0..self.watched.len() {
            let late = self.watched.get_mut(nth).and_then(|one| one.out.as_mut());
            let Some(out) = late.filter(|out| out.late_at <= now) else { continue };
            out.late_at = now + rhythm;
            if now.since(out.since) >= PATIENCE {
                self.poll_failed(now, nth, Failure::Late, actions);
            } else {
                // No failure of its own in the log: the connection will tell what is wrong.
                self.watch(now, nth, watch::Event::PollFailed, actions);
            }
        }
    }
}

/// The greatest number of whole seconds that divides both; at least 1.
pub(super) fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}
