//! What a bystander knows of a UPS who has heard every answer a host got: written from the list of scenarios, without a
//! look at the machine, and without its clock.
//!
//! The bystander has a watch of his own, and knows when the host did not run. How much of such a span the host counts is
//! its own affair, so a time has two ends for him: at most all that has passed, at least that without the spans. Where the
//! two say different things he knows that he does not know ([`Sure::Perhaps`]).

use super::*;
use nut_conf::upsmon_conf::Monitor as MonitorLine;
use nut_proto::status::{Feed, Status, Word};
use std::time::Duration;

/// Whether something is so, as far as a bystander can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Sure {
    #[default]
    No,
    Perhaps,
    Yes,
}

impl Sure {
    /// `late` counts all the time there may have been, `early` only what there was for sure.
    pub(super) fn of(early: bool, late: bool) -> Self {
        match (early, late) {
            (true, _) => Self::Yes,
            (false, true) => Self::Perhaps,
            (false, false) => Self::No,
        }
    }

    fn and(self, other: Self) -> Self {
        self.min(other)
    }

    fn or(self, other: Self) -> Self {
        self.max(other)
    }

    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Sure {
    fn from(is_so: bool) -> Self {
        if is_so { Self::Yes } else { Self::No }
    }
}

/// How long a host must not have run for what it knows to be old: five seconds, NUT's own limit, behind the next look at the
/// clock, which comes within a second while a question is out.
const STANDSTILL: Duration = Duration::from_secs(6);

/// How long it may not run without noticing that it comes late.
const A_LITTLE: Duration = Duration::from_millis(250);

/// The same while it waits for a moment: the moment, and a little.
const HICCUP: Duration = Duration::from_millis(1250);

/// How long it must have run before a standstill is left out of its time for sure.
const STEADY: Duration = Duration::from_secs(20);

/// The bystander's watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock<'a> {
    pub(super) now: Moment,
    /// The spans in which the host did not run.
    pub(super) absent: &'a [(Moment, Moment)],
    /// When it ran last before that: then it took all that was waiting for it.
    pub(super) before: Option<Moment>,
    /// The slowest rhythm of its questions: it cannot tell where within that it ceased to run.
    pub(super) rhythm: Duration,
}

impl Clock<'_> {
    /// All the time since then.
    pub(super) fn at_most(self, since: Moment) -> Duration {
        self.now.since(since)
    }

    /// The time since then in which the host ran.
    pub(super) fn at_least(self, since: Moment) -> Duration {
        let absent: Duration =
            self.absent.iter().map(|(from, to)| self.now.min(*to).since(since.max(*from))).sum();
        self.at_most(since).saturating_sub(absent)
    }

    /// The same, for a wait that begins anew with a span in which the host did not run, as soon as it notices that.
    pub(super) fn at_least_anew(self, since: Moment) -> Duration {
        let began = self
            .absent
            .iter()
            .filter(|(from, to)| *from < self.now && *to > since)
            .map(|(_, to)| *to + self.rhythm);
        self.at_most(began.max().unwrap_or(since).max(since)).min(self.at_least(since))
    }

    /// When the last standstill ended that it must have noticed.
    pub(super) fn last_standstill(self) -> Option<Moment> {
        let is_it =
            |(from, to): &&(Moment, Moment)| *to <= self.now && to.since(*from) > STANDSTILL + self.rhythm;
        self.absent.iter().filter(is_it).map(|(_, to)| *to).max()
    }

    /// How often the host did not run since then.
    pub(super) fn times_absent(self, since: Moment) -> u32 {
        let times = self.absent.iter().filter(|(from, to)| *from < self.now && *to > since).count();
        u32::try_from(times).unwrap_or(u32::MAX)
    }

    /// All the time of a silence: what begins anew with the first standstill in it.
    fn at_most_anew(self, since: Moment) -> Duration {
        let first = self.absent.iter().find(|(from, to)| *from >= since && to.since(*from) >= A_LITTLE);
        // What of it came before the next look at the clock, or was no standstill of its own, counts.
        let left_out = first
            .filter(|(_, to)| *to <= self.now)
            .map(|(from, to)| to.since(*from).saturating_sub(STANDSTILL + self.rhythm));
        self.at_most(since).saturating_sub(left_out.unwrap_or_default())
    }

    /// Whether a standstill is no part of the host's time: there was none for long before it.
    fn is_left_out_for_sure(self, (from, to): (Moment, Moment)) -> bool {
        let last = self.absent.iter().filter(|span| span.1 <= from && span.1.since(span.0) > A_LITTLE);
        let ran = |last| Clock { now: from, ..self }.at_least(last);
        to.since(from) > STANDSTILL + self.rhythm
            && last.map(|(_, to)| *to).max().is_none_or(|last| ran(last) >= STEADY)
    }

    /// Whether more than `limit` has passed, in whole seconds as everybody counts them.
    pub(super) fn is_longer(self, since: Moment, limit: Duration) -> Sure {
        Sure::of(longer(self.at_least(since), limit), longer(self.at_most(since), limit))
    }

    fn is_reached(self, since: Moment, limit: Duration) -> Sure {
        let reached = |elapsed: Duration| seconds(elapsed) >= limit.as_secs();
        Sure::of(reached(self.at_least(since)), reached(self.at_most(since)))
    }

    /// Whether a silence has become longer than `limit`.
    pub(super) fn is_silent_for_longer(self, since: Moment, limit: Duration) -> Sure {
        Sure::of(longer(self.at_least_anew(since), limit), longer(self.at_most_anew(since), limit))
    }

    pub(super) fn is_silent_for(self, since: Moment, limit: Duration) -> Sure {
        let reached = |elapsed: Duration| seconds(elapsed) >= limit.as_secs();
        Sure::of(reached(self.at_least_anew(since)), reached(self.at_most(since)))
    }
}

/// To the nearest whole second.
fn seconds(elapsed: Duration) -> u64 {
    (elapsed + Duration::from_millis(500)).as_secs()
}

fn longer(elapsed: Duration, limit: Duration) -> bool {
    seconds(elapsed) > limit.as_secs()
}

/// One UPS, as he knows it.
#[derive(Debug, Clone)]
pub(super) struct Bystander {
    pub(super) line: MonitorLine,
    /// When it was heard last, and what it said; nothing if it never was.
    pub(super) heard: Option<(Moment, Status)>,
    /// A question after that got no answer.
    pub(super) is_missed: bool,
    /// The last of mains and battery that was said.
    pub(super) feed: Feed,
    /// The battery is low: it said so, or was silent on battery for too long.
    pub(super) low: Sure,
    /// Since when each answer says on battery with low battery, not calibrating.
    low_since: Option<Moment>,
    /// Since when a secondary waits for its primary: at the earliest, at the latest.
    waits: (Moment, Moment),
    off_since: Option<Moment>,
    is_off_too_long: Sure,
    over_since: Option<Moment>,
    /// When it was asked, if the question is out; and when it was asked last.
    pub(super) out: Option<Moment>,
    pub(super) asked: Option<Moment>,
    /// When the question was asked whose end is the last thing that is known of it, and when it ended.
    rests_on: Option<(Moment, Moment)>,
    /// Whether it is lost as a supply, as of the last time that it was judged.
    pub(super) lost: Sure,
}

impl Bystander {
    pub(super) fn new(line: MonitorLine) -> Self {
        Self {
            line,
            heard: None,
            is_missed: false,
            feed: Feed::Unsaid,
            low: Sure::No,
            low_since: None,
            waits: (Moment::START, Moment::START),
            off_since: None,
            is_off_too_long: Sure::No,
            over_since: None,
            out: None,
            asked: None,
            rests_on: None,
            lost: Sure::No,
        }
    }

    pub(super) fn value(&self) -> u64 {
        u64::from(self.line.power_value.0)
    }

    /// A question has ended, whatever it brought.
    pub(super) fn is_answered(&mut self, now: Moment) {
        self.rests_on = self.out.take().map(|asked| (asked, now)).or(self.rests_on);
    }

    /// Whether what is known of it may be decided by: it was asked after the last standstill, and that question has ended,
    /// or has had a moment. `awake`: when the kernel has said that the machine was suspended; `short`: since when there may
    /// have been too few supplies.
    ///
    /// A host that stands still again and again cannot keep to that for ever, or it would never stop. Once it is short, it
    /// waits anew after each suspension that the kernel tells of, after a standstill that is left out of its time, and
    /// after one more.
    pub(super) fn is_fresh(&self, clock: Clock<'_>, awake: &[Moment], short: Moment) -> bool {
        let (asked, ended) = self.rests_on.unwrap_or_default();
        let told = awake.iter().copied().filter(|awake| *awake > asked).max();
        // One that was over before the next question was due is not noticed, and what is known no older than always.
        if told.is_none() && clock.at_most(asked) <= clock.rhythm {
            return true;
        }
        let over = || clock.absent.iter().filter(|(_, to)| *to <= clock.now);
        let length = |(from, to): &(Moment, Moment)| to.since(*from);
        let stood_still = |span: &&(Moment, Moment)| span.1 > asked && length(span) > STANDSTILL;
        let Some(last) = over().filter(stood_still).map(|(_, to)| *to).chain(told).max() else { return true };
        let behind = awake.iter().copied().max().unwrap_or_default().max(short);
        let again = || over().filter(|span| span.1 > behind && length(span) > A_LITTLE);
        let is_left_out = again().next().is_some_and(|span| clock.is_left_out_for_sure(*span));
        if again().count() >= if is_left_out { 3 } else { 2 } {
            return true;
        }
        let hiccup = over().filter(|span| length(span) > HICCUP).map(|(_, to)| *to).max();
        let has_waited = clock.at_most(last.max(hiccup.unwrap_or(last))) >= SECOND_WORD;
        // A question of before, too, whose end it has waited for so long.
        (self.out.is_some() && has_waited) || ended.since(last) >= SECOND_WORD
    }

    /// An answer.
    pub(super) fn hears(&mut self, clock: Clock<'_>, conf: &UpsmonConf, status: &Status) {
        let now = clock.now;
        let was_low = if self.feed == Feed::Battery { self.low } else { Sure::No };
        if status.feed != Feed::Unsaid {
            self.feed = status.feed;
        }
        self.low = status.low_battery().into();
        let is_low = self.feed == Feed::Battery && status.low_battery() && !status.says(Word::Cal);
        self.low_since = is_low.then(|| self.low_since.unwrap_or(now));
        // The wait goes on only from one low battery to the next.
        match if is_low { was_low } else { Sure::No } {
            Sure::Yes => {}
            Sure::Perhaps => self.waits.1 = now,
            Sure::No => self.waits = (now, now),
        }
        self.off_since = status.says(Word::Off).then(|| self.off_since.unwrap_or(now));
        self.is_off_too_long = match (self.off_since, conf.off_duration) {
            (Some(_), Some(limit)) if limit.is_zero() => Sure::Yes,
            (Some(since), Some(limit)) => clock.is_longer(since, limit),
            _ => Sure::No,
        };
        self.over_since = status.says(Word::Over).then(|| self.over_since.unwrap_or(now));
        self.heard = Some((now, status.clone()));
        self.is_missed = false;
        self.judge(clock, conf);
    }

    /// A question that got no answer.
    pub(super) fn misses(&mut self, clock: Clock<'_>, conf: &UpsmonConf) {
        self.is_missed = true;
        self.judge(clock, conf);
    }

    /// A question that is out may count as unanswered by now, or not.
    pub(super) fn may_miss(&mut self, clock: Clock<'_>, conf: &UpsmonConf) {
        let mut other = self.clone();
        other.misses(clock, conf);
        // But no host may stop for a question that it had no time to hear the answer to.
        let had_time = self.out.is_some_and(|out| {
            clock.at_least(out) + A_LITTLE >= FASTEST
                || clock.before.is_some_and(|before| before.since(out) >= FASTEST)
        });
        if other.lost < self.lost || (had_time && other.lost != self.lost) {
            self.lost = Sure::Perhaps;
        }
        if other.low != self.low {
            self.low = Sure::Perhaps;
        }
    }

    fn judge(&mut self, clock: Clock<'_>, conf: &UpsmonConf) {
        let Some((heard, status)) = self.heard.clone() else {
            self.lost = Sure::No;
            return;
        };
        let dead = match self.is_missed {
            true => clock.is_silent_for_longer(heard, conf.dead_time),
            false => Sure::No,
        };
        let over = match (self.over_since, conf.overload_duration) {
            (Some(since), Some(limit)) => dead.and(clock.is_reached(since, limit)),
            _ => Sure::No,
        };
        let plainly = Sure::from(status.forced_shutdown()).or(over).or(self.is_off_too_long);
        let mut on_battery = Sure::No;
        if self.feed == Feed::Battery {
            // Silent on battery for too long, its battery counts as low; unless there was a plainer reason before.
            let is_taken_for_low = dead.and(plainly.not());
            let low = match self.low_since {
                Some(since) if !status.says(Word::Cal) => clock.is_reached(since, conf.low_battery_duration),
                _ => Sure::No,
            };
            on_battery = dead.or(low);
            self.low = self.low.or(is_taken_for_low);
            if self.line.role == Role::Secondary {
                let early = clock.is_longer(self.waits.1, conf.host_sync);
                let late = clock.is_longer(self.waits.0, conf.host_sync);
                on_battery = on_battery.and(Sure::of(early == Sure::Yes, late != Sure::No));
            }
        }
        self.lost = plainly.or(on_battery);
    }

    /// Whether it must have been judged lost by now, however its questions ended: on battery with low battery, or silent
    /// on battery, for longer than these limits allow, with `slack` on top.
    pub(super) fn is_overdue(&self, clock: Clock<'_>, limits: &Limits, slack: Duration) -> bool {
        let Some((heard, status)) = &self.heard else { return false };
        if self.feed != Feed::Battery || status.forced_shutdown() {
            return status.forced_shutdown() && clock.at_least(*heard) > slack;
        }
        let wait = match limits.was_secondary {
            true => limits.host_sync,
            false => Duration::ZERO,
        };
        let has_waited = clock.at_least(self.waits.1) > wait + slack;
        let is_low =
            self.low_since.is_some_and(|since| clock.at_least(since) > limits.low_battery_duration + slack);
        let is_silent =
            (self.out.is_some() || self.is_missed) && clock.at_least_anew(*heard) > limits.dead_time + slack;
        has_waited && (is_low || is_silent)
    }
}

/// The longest delays a host was ever configured with.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    pub(super) dead_time: Duration,
    pub(super) host_sync: Duration,
    pub(super) low_battery_duration: Duration,
    pub(super) no_comm_warn_time: Duration,
    /// The slowest rhythm of its questions.
    pub(super) rhythm: Duration,
    pub(super) was_secondary: bool,
}

impl Limits {
    pub(super) fn take(&mut self, conf: &UpsmonConf) {
        self.dead_time = self.dead_time.max(conf.dead_time);
        self.host_sync = self.host_sync.max(conf.host_sync);
        self.low_battery_duration = self.low_battery_duration.max(conf.low_battery_duration);
        self.no_comm_warn_time = self.no_comm_warn_time.max(conf.no_comm_warn_time);
        self.rhythm = self.rhythm.max(conf.poll_frequency).max(conf.poll_frequency_alert).max(FASTEST);
        self.was_secondary |= conf.monitors.iter().any(|line| line.role == Role::Secondary);
    }
}
