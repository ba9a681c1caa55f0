//! What people may know of a watch: how a UPS stands, since when, and which of its waits run.

use nut_conf::upsmon_conf::Role;
use nut_proto::Moment;
use nut_proto::status::{Feed, Word};

use super::{Contact, Rules, Touch, Watch};
use crate::timer::Timer;

/// How a UPS stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Heard, and no reason not to count it.
    Good,
    /// Not heard: never, or not at the last question. It counts all the same.
    Unknown,
    /// It does not count as a supply.
    Critical,
}

/// What follows when a UPS is condemned.
const LOST: &str = "it does not count as a supply any more";

impl Watch {
    /// How it stands, as of the last question.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match (&self.cause, &self.contact) {
            (Some(_), _) => Standing::Critical,
            (None, Contact::Fresh { .. }) => Standing::Good,
            (None, Contact::Never | Contact::Lost { .. }) => Standing::Unknown,
        }
    }

    /// Since when it stands so; nothing if that is since it is watched.
    #[must_use]
    pub fn standing_since(&self) -> Option<Moment> {
        self.standing_since
    }

    /// Where its load's power comes from, as heard last, and since when.
    #[must_use]
    pub fn feed(&self) -> (Feed, Option<Moment>) {
        (self.feed, self.feed_since)
    }

    /// Its waits that run, those first that could end in a shutdown.
    #[must_use]
    pub fn timers(&self, now: Moment, rules: &Rules) -> Vec<Timer> {
        let mut timers = Vec::new();
        if self.cause.is_none() {
            self.add_what_could_condemn(rules, &mut timers);
        }
        if self.touch == Touch::Lost {
            let limit = rules.no_comm_warn_time;
            let then = "NOCOMM is told";
            let again = self.absence_told.map(|told| Timer::more_than("NOCOMMWARNTIME", limit, told, then));
            let first = self.silence().map(|heard| Timer::at_least("NOCOMMWARNTIME", limit, heard, then));
            timers.extend(again.into_iter().chain(first).max_by_key(|timer| timer.ends));
        }
        if let Some(told) = self.battery_told {
            let limit = rules.replace_battery_warn_time;
            let timer = Timer::more_than("RBWARNTIME", limit, told, "REPLBATT can be told again");
            timers.extend((!timer.left(now).is_zero()).then_some(timer));
        }
        timers
    }

    /// The waits of [`find_cause`](Watch::find_cause), which must name the same moments.
    fn add_what_could_condemn(&self, rules: &Rules, timers: &mut Vec<Timer>) {
        let silent_since = self.silence();
        let is_on_battery = self.feed == Feed::Battery;
        let low_since = self.low_since.filter(|_| is_on_battery && !self.last_says(Word::Cal));
        let over = self.over_since.zip(rules.overload_duration);
        if let Some(heard) = silent_since.filter(|_| is_on_battery || over.is_some()) {
            timers.push(Timer::more_than("DEADTIME", rules.dead_time, heard, LOST));
        }
        if let Some((since, limit)) = over {
            let then = "silence for DEADTIME is enough for it not to count as a supply";
            timers.push(Timer::at_least("OVERDURATION", limit, since, then));
        }
        if let Some(since) = low_since
            && !rules.low_battery_duration.is_zero()
        {
            timers.push(Timer::at_least("OBLBDURATION", rules.low_battery_duration, since, LOST));
        }
        let is_waited_for = low_since.is_some() || (is_on_battery && silent_since.is_some());
        if self.role == Role::Secondary && is_waited_for {
            let then = "its primary is not waited for any longer";
            timers.push(Timer::more_than("HOSTSYNC", rules.host_sync, self.fine, then));
        }
        if let (Some(since), None, Some(limit)) = (self.off_since, silent_since, rules.off_duration) {
            timers.push(Timer::more_than("OFFDURATION", limit, since, LOST));
        }
    }

    /// Since when it is silent, if the last question got no answer.
    fn silence(&self) -> Option<Moment> {
        match self.contact {
            Contact::Lost { heard, .. } => Some(self.silent_since(heard)),
            Contact::Never | Contact::Fresh { .. } => None,
        }
    }

    fn last_says(&self, word: Word) -> bool {
        match &self.contact {
            Contact::Never => false,
            Contact::Fresh { status: last, .. } | Contact::Lost { last, .. } => last.says(word),
        }
    }
}
