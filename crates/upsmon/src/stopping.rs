//! The way down, once it is decided: FSD, waiting for the secondaries, last notices, the parent.
//!
//! Pure: no I/O, no clock, no log. There is one way in, [`Stopping::begin`], and no way back: power that returns
//! meanwhile changes nothing, since others are stopping already because of us.

mod standing;

use nut_conf::upsmon_conf::{NoticeKind, ShutdownExit, UpsmonConf};
use nut_proto::Moment;
use std::time::Duration;

use crate::link::{FromParent, ToParent};
use crate::monitor::REMIND_EVERY;
use crate::remarks::Remark;
use crate::server::UpsId;
use crate::verdict::Reason;
use crate::watch::longer;

/// How often the secondaries still logged in are counted.
pub const COUNT_EVERY: Duration = Duration::from_millis(250);

/// How often servers hear from us while we stay after the command (`SHUTDOWNEXIT`).
pub const SIGN_EVERY: Duration = Duration::from_secs(1);

/// The directives a shutdown follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a primary waits for its secondaries to log out before it stops without them.
    ///
    /// `HOSTSYNC`, 15 s unless set. Counted from our own FSD, not from `OB LB`.
    pub host_sync: Duration,
    /// `FINALDELAY`: between the last notice and the command. Nothing shortens it.
    pub final_delay: Duration,
    /// `SHUTDOWNEXIT`: how long we stay after the command.
    pub exit: ShutdownExit,
}

impl From<&UpsmonConf> for Terms {
    fn from(conf: &UpsmonConf) -> Self {
        Self { host_sync: conf.host_sync, final_delay: conf.final_delay, exit: conf.shutdown_exit }
    }
}

/// Whom a shutdown concerns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Concerned {
    /// The UPSes this host is primary for, whatever their power value, in the order of the configuration.
    pub primary_of: Vec<UpsId>,
    /// Those whose server does not answer at present. They are told all the same, but nobody is waited for there: as in
    /// NUT, a server that cannot say who is logged in keeps nobody waiting.
    pub out_of_reach: Vec<UpsId>,
    /// All UPSes.
    pub all: Vec<UpsId>,
}

/// What happens during a shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// `upsd` has set FSD for this UPS, or has failed to.
    FsdAnswered(UpsId),
    /// How many are logged in to this UPS; nothing if that cannot be known.
    Logins(UpsId, Option<usize>),
    /// The root half has ended.
    ParentGone,
    /// What the root half tells.
    FromParent(FromParent),
    /// Somebody wants us to end.
    Stop {
        /// By this signal.
        signal: i32,
    },
}

/// What must be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Tell this UPS's server that all who depend on it must stop.
    SetFsd(UpsId),
    /// Ask how many are logged in to this UPS.
    CountLogins(UpsId),
    /// People must know.
    Notify(NoticeKind),
    /// Every terminal must show [`EXECUTING`](crate::remarks::EXECUTING), whatever the flags say.
    Wall,
    /// The log should hold it.
    Log(Remark),
    /// To the root half.
    ToParent(ToParent),
    /// Close all connections without a word: this is how a primary sees that we are gone.
    HangUp,
    /// The command did not work, and no other will be tried.
    Fail,
    /// All is done: end.
    Exit,
}

/// A shutdown under way.
#[derive(Debug, Clone)]
pub struct Stopping {
    reason: Reason,
    begun: Moment,
    terms: Terms,
    /// All UPSes.
    all: Vec<UpsId>,
    parent_gone: bool,
    /// The root half was told, and has not said that the power-down flag could not be written.
    flag_is_set: bool,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// FSD is set; secondaries log out.
    Syncing { secondaries: Vec<(UpsId, Known)>, next_count: Option<Moment>, told: bool },
    /// Everybody has been told.
    Pausing { until: Moment },
    /// The parent has been told.
    Ordered {
        at: Moment,
        next_sign: Option<Moment>,
        carried_out: bool,
        /// When it was last told that the command has not ended.
        told: Moment,
    },
    /// It did not work.
    Failed,
}

/// What is known of those who depend on a UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing: FSD is being set.
    Nothing,
    /// Nothing yet: they are being counted.
    Asked,
    /// So many are logged in, ourselves included.
    Logins(usize),
}

impl Stopping {
    /// Begins. The reason is a decision's: there is no other way in.
    #[must_use]
    pub fn begin(
        now: Moment,
        reason: Reason,
        concerned: Concerned,
        terms: Terms,
        parent_gone: bool,
    ) -> (Self, Vec<Action>) {
        let answers = |ups: &&UpsId| !concerned.out_of_reach.contains(ups);
        let secondaries: Vec<_> =
            concerned.primary_of.iter().filter(answers).map(|ups| (*ups, Known::Nothing)).collect();
        let mut actions = vec![Action::Log(Remark::ShuttingDown { reason: reason.clone() })];
        actions.extend(concerned.primary_of.iter().map(|ups| Action::SetFsd(*ups)));
        let is_alone = secondaries.is_empty();
        let stage = Stage::Syncing { secondaries, next_count: None, told: false };
        let flag_is_set = false;
        let mut stopping =
            Self { reason, begun: now, terms, all: concerned.all, parent_gone, flag_is_set, stage };
        if is_alone {
            stopping.announce(now, &mut actions);
        }
        (stopping, actions)
    }

    /// Takes one event and says what must now be done, in order.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => self.tick(now, &mut actions),
            Event::FsdAnswered(ups) => {
                if self.learn(ups, Known::Nothing, Known::Asked) {
                    actions.push(Action::CountLogins(ups));
                }
            }
            Event::Logins(ups, count) => {
                // A server that cannot say how many there are keeps nobody waiting.
                if self.learn(ups, Known::Asked, Known::Logins(count.unwrap_or(0))) {
                    self.weigh(now, &mut actions);
                }
            }
            Event::ParentGone => self.parent_is_gone(&mut actions),
            Event::FromParent(report) => self.reported(report, &mut actions),
            Event::Stop { signal } => match self.stage {
                // Others are stopping already; the command must come.
                Stage::Syncing { .. } | Stage::Pausing { .. } => {
                    actions.push(Action::Log(Remark::NotNow { signal }));
                }
                Stage::Ordered { .. } | Stage::Failed => {
                    actions.extend([Action::Log(Remark::Exiting { signal }), Action::Exit]);
                }
            },
        }
        actions
    }

    /// When [`Event::Tick`] is due next.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Syncing { next_count, .. } => {
                // The half second: waits count whole seconds, and more than HOSTSYNC must have passed.
                let expires = self.begun + self.terms.host_sync + Duration::from_millis(500);
                Some(next_count.map_or(expires, |next| next.min(expires)))
            }
            Stage::Pausing { until } => Some(*until),
            Stage::Ordered { next_sign, carried_out, told, .. } => {
                let reminder = (!carried_out).then(|| *told + REMIND_EVERY);
                next_sign.iter().copied().chain(reminder).min()
            }
            Stage::Failed => None,
        }
    }

    /// Why this host stops.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// When that was decided.
    #[must_use]
    pub fn begun(&self) -> Moment {
        self.begun
    }

    /// Whether the power-down flag has been set for it, if one is configured.
    #[must_use]
    pub fn flag_is_set(&self) -> bool {
        self.flag_is_set
    }

    fn tick(&mut self, now: Moment, actions: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Syncing { secondaries, next_count, .. } => {
                if longer(now.since(self.begun), self.terms.host_sync) {
                    actions.push(Action::Log(Remark::HostSyncExpired));
                    self.announce(now, actions);
                } else if next_count.is_some_and(|next| next <= now) {
                    *next_count = None;
                    for (ups, known) in secondaries {
                        *known = Known::Asked;
                        actions.push(Action::CountLogins(*ups));
                    }
                }
            }
            Stage::Pausing { until } if *until <= now => self.order(now, actions),
            Stage::Ordered { .. } => self.stay(now, actions),
            Stage::Pausing { .. } | Stage::Failed => {}
        }
    }

    /// Notes what is known of a UPS now, if this is what was known before. Says whether it was.
    fn learn(&mut self, ups: UpsId, before: Known, now: Known) -> bool {
        let Stage::Syncing { secondaries, .. } = &mut self.stage else {
            return false;
        };
        let one = secondaries.iter_mut().find(|(of, known)| *of == ups && *known == before);
        one.map(|(_, known)| *known = now).is_some()
    }

    /// Goes on if nobody is left but ourselves, else has them counted again, once all have been counted.
    fn weigh(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Stage::Syncing { secondaries, next_count, told } = &mut self.stage else {
            return;
        };
        let counted = secondaries.iter().map(|(_, known)| match known {
            Known::Logins(count) => Some(*count),
            Known::Nothing | Known::Asked => None,
        });
        let Some(counts) = counted.collect::<Option<Vec<_>>>() else {
            return;
        };
        if counts.iter().all(|count| *count <= 1) {
            return self.announce(now, actions);
        }
        if !std::mem::replace(told, true) {
            actions.push(Action::Notify(NoticeKind::ShutdownHostSync));
        }
        *next_count = Some(now + COUNT_EVERY);
    }

    fn announce(&mut self, now: Moment, actions: &mut Vec<Action>) {
        actions.extend([Action::Log(Remark::Executing), Action::Wall, Action::Notify(NoticeKind::Shutdown)]);
        self.stage = Stage::Pausing { until: now + self.terms.final_delay };
        if self.terms.final_delay.is_zero() {
            self.order(now, actions);
        }
    }

    fn order(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.parent_gone {
            actions.push(Action::Log(Remark::ParentUnreachable));
            return self.fail(actions);
        }
        actions.extend([Action::Log(Remark::CallingParent), Action::ToParent(ToParent::ShutDown)]);
        self.flag_is_set = true;
        let next_sign = match self.terms.exit {
            ShutdownExit::AtOnce => {
                actions.push(Action::HangUp);
                None
            }
            ShutdownExit::After(time) => {
                actions.push(Action::Log(Remark::StayingFor { time }));
                Some(now + SIGN_EVERY)
            }
            ShutdownExit::Never => {
                actions.push(Action::Log(Remark::Staying));
                Some(now + SIGN_EVERY)
            }
        };
        self.stage = Stage::Ordered { at: now, next_sign, carried_out: false, told: now };
    }

    /// Tells if the command does not end; keeps the logins alive, until it is time to go.
    fn stay(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Stage::Ordered { at, next_sign, carried_out, told } = &mut self.stage else {
            return;
        };
        if !*carried_out && now.since(*told) >= REMIND_EVERY {
            *told = now;
            actions.push(Action::Log(Remark::StillRunning { since: now.since(*at) }));
        }
        if next_sign.is_none_or(|next| next > now) {
            return;
        }
        if let ShutdownExit::After(time) = self.terms.exit
            && longer(now.since(*at), time)
        {
            *next_sign = None;
            actions.push(Action::Log(Remark::LeavingAfterShutdown));
            actions.push(if *carried_out { Action::Exit } else { Action::HangUp });
            return;
        }
        *next_sign = Some(now + SIGN_EVERY);
        actions.extend(self.all.iter().map(|ups| Action::CountLogins(*ups)));
    }

    fn reported(&mut self, report: FromParent, actions: &mut Vec<Action>) {
        match report {
            FromParent::Ended(0) => {
                if let Stage::Ordered { next_sign, carried_out, .. } = &mut self.stage {
                    *carried_out = true;
                    if next_sign.is_none() {
                        actions.push(Action::Exit);
                    }
                }
            }
            FromParent::FlagFailed => {
                self.flag_is_set = false;
                actions.push(Action::Log(Remark::Failed { report }));
            }
            FromParent::Ended(_) | FromParent::Killed(_) | FromParent::NotRun => {
                actions.push(Action::Log(Remark::Failed { report }));
                self.fail(actions);
            }
        }
    }

    fn parent_is_gone(&mut self, actions: &mut Vec<Action>) {
        self.parent_gone = true;
        if let Stage::Ordered { carried_out: false, .. } = self.stage {
            actions.push(Action::Log(Remark::ParentLost));
            self.fail(actions);
        }
    }

    fn fail(&mut self, actions: &mut Vec<Action>) {
        self.stage = Stage::Failed;
        actions.push(Action::Fail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: UpsId = UpsId(0);
    const B: UpsId = UpsId(1);

    fn terms(host_sync: u64, final_delay: u64) -> Terms {
        Terms {
            host_sync: Duration::from_secs(host_sync),
            final_delay: Duration::from_secs(final_delay),
            exit: ShutdownExit::AtOnce,
        }
    }

    fn begin(primary_of: &[UpsId], terms: Terms) -> (Stopping, Vec<Action>) {
        let concerned =
            Concerned { primary_of: primary_of.to_vec(), all: vec![A, B], ..Concerned::default() };
        Stopping::begin(Moment::START, Reason::Ordered, concerned, terms, false)
    }

    fn is_announced(actions: &[Action]) -> bool {
        let told = [Action::Log(Remark::Executing), Action::Wall, Action::Notify(NoticeKind::Shutdown)];
        actions.windows(3).any(|three| three == told)
    }

    #[test]
    fn who_is_primary_of_nothing_waits_for_nobody() {
        let (stopping, actions) = begin(&[], terms(15, 5));
        assert!(is_announced(&actions));
        assert_eq!(stopping.next_wake(), Some(Moment::from_secs(5)));
    }

    #[test]
    fn everybody_is_waited_for_on_every_ups() {
        let (mut stopping, actions) = begin(&[A, B], terms(15, 5));
        assert_eq!(actions[1..], [Action::SetFsd(A), Action::SetFsd(B)]);
        let now = Moment::from_millis(10);
        assert_eq!(stopping.step(now, Event::FsdAnswered(B)), [Action::CountLogins(B)]);
        assert_eq!(stopping.step(now, Event::Logins(B, Some(1))), []);
        // A's server is slow; nobody goes on without it.
        assert_eq!(stopping.step(now, Event::FsdAnswered(A)), [Action::CountLogins(A)]);
        let told = stopping.step(now, Event::Logins(A, Some(3)));
        assert_eq!(told, [Action::Notify(NoticeKind::ShutdownHostSync)]);
        let again = Moment::from_millis(260);
        assert_eq!(stopping.next_wake(), Some(again));
        assert_eq!(stopping.step(again, Event::Tick), [Action::CountLogins(A), Action::CountLogins(B)]);
        assert_eq!(stopping.step(again, Event::Logins(A, None)), []);
        assert!(is_announced(&stopping.step(again, Event::Logins(B, Some(1)))));
    }

    #[test]
    fn a_server_that_answers_nothing_is_waited_for_no_longer_than_host_sync() {
        let (mut stopping, _) = begin(&[A], terms(5, 0));
        assert_eq!(stopping.step(Moment::from_secs(5), Event::Tick), []);
        let expired = stopping.next_wake().unwrap();
        assert_eq!(expired, Moment::from_millis(5500));
        let actions = stopping.step(expired, Event::Tick);
        assert_eq!(actions[0], Action::Log(Remark::HostSyncExpired));
        assert!(is_announced(&actions));
        // Without FINALDELAY the command follows at once.
        assert!(actions.contains(&Action::ToParent(ToParent::ShutDown)));
        assert_eq!(stopping.step(expired, Event::FsdAnswered(A)), []);
    }

    #[test]
    fn nobody_is_waited_for_behind_a_server_that_does_not_answer() {
        let begin = |out_of_reach: &[UpsId]| {
            let concerned =
                Concerned { primary_of: vec![A, B], out_of_reach: out_of_reach.to_vec(), all: vec![A, B] };
            Stopping::begin(Moment::START, Reason::Ordered, concerned, terms(15, 5), false)
        };
        let (mut stopping, actions) = begin(&[A]);
        assert_eq!(actions[1..], [Action::SetFsd(A), Action::SetFsd(B)]);
        assert_eq!(stopping.step(Moment::START, Event::FsdAnswered(A)), []);
        stopping.step(Moment::START, Event::FsdAnswered(B));
        stopping.step(Moment::START, Event::Logins(B, Some(2)));
        let again = Moment::from_millis(250);
        assert_eq!(stopping.step(again, Event::Tick), [Action::CountLogins(B)]);
        assert!(is_announced(&stopping.step(again, Event::Logins(B, Some(1)))));
        assert!(is_announced(&begin(&[A, B]).1));
    }

    /// `SHUTDOWNCMD` hangs, or the root half was stopped: the host is up, and nobody would know why.
    #[test]
    fn a_command_that_does_not_end_is_told_again_and_again() {
        for exit in [ShutdownExit::AtOnce, ShutdownExit::Never] {
            let (mut stopping, _) = begin(&[], Terms { exit, ..terms(15, 0) });
            let mut told = Vec::new();
            let mut now = Moment::START;
            while now < Moment::from_secs(240) {
                now = stopping.next_wake().unwrap();
                let actions = stopping.step(now, Event::Tick);
                let is_reminder =
                    |action: &Action| matches!(action, Action::Log(Remark::StillRunning { .. }));
                told.extend(actions.iter().any(is_reminder).then_some(now));
            }
            assert_eq!(told, [120, 240].map(Moment::from_secs), "{exit:?}");
            stopping.step(now, Event::FromParent(FromParent::Ended(0)));
            let next = stopping.next_wake();
            assert_eq!(next, (exit == ShutdownExit::Never).then(|| now + SIGN_EVERY), "{exit:?}");
        }
    }

    #[test]
    fn a_second_answer_or_a_late_one_changes_nothing() {
        let (mut stopping, _) = begin(&[A], terms(15, 5));
        stopping.step(Moment::START, Event::FsdAnswered(A));
        assert_eq!(stopping.step(Moment::START, Event::FsdAnswered(A)), []);
        assert!(is_announced(&stopping.step(Moment::START, Event::Logins(A, Some(1)))));
        assert_eq!(stopping.step(Moment::START, Event::Logins(A, Some(9))), []);
        assert_eq!(stopping.step(Moment::START, Event::FromParent(FromParent::Ended(0))), []);
    }

    #[test]
    fn a_command_that_has_ended_well_is_told_no_more() {
        let (mut stopping, _) = begin(&[], Terms { exit: ShutdownExit::Never, ..terms(15, 0) });
        stopping.step(Moment::from_secs(1), Event::FromParent(FromParent::Ended(0)));
        for second in 2..400 {
            let actions = stopping.step(Moment::from_secs(second), Event::Tick);
            let is_told = |action: &Action| matches!(action, Action::Log(Remark::StillRunning { .. }));
            assert!(!actions.iter().any(is_told), "{second}");
        }
        // Its work is done, and so is the root half's.
        assert_eq!(stopping.step(Moment::from_secs(400), Event::ParentGone), []);
    }

    #[test]
    fn who_leaves_before_the_command_has_ended_only_hangs_up() {
        let exit = ShutdownExit::After(Duration::from_secs(5));
        let (mut stopping, _) = begin(&[], Terms { exit, ..terms(15, 0) });
        for second in 1..=5 {
            let counts = [Action::CountLogins(A), Action::CountLogins(B)];
            assert_eq!(stopping.step(Moment::from_secs(second), Event::Tick), counts, "{second}");
        }
        let leaves = [Action::Log(Remark::LeavingAfterShutdown), Action::HangUp];
        assert_eq!(stopping.step(Moment::from_secs(6), Event::Tick), leaves);
        assert_eq!(stopping.step(Moment::from_secs(7), Event::Tick), []);
        assert_eq!(
            stopping.step(Moment::from_secs(8), Event::FromParent(FromParent::Ended(0))),
            [Action::Exit]
        );
    }

    /// The host goes down; what is lost is that the UPS is switched off behind it.
    #[test]
    fn a_flag_that_cannot_be_written_is_told_and_stops_nothing() {
        let (mut stopping, _) = begin(&[], terms(15, 0));
        assert!(stopping.flag_is_set());
        let report = FromParent::FlagFailed;
        let told = Action::Log(Remark::Failed { report });
        assert_eq!(stopping.step(Moment::START, Event::FromParent(report)), [told]);
        assert!(!stopping.flag_is_set());
        assert_eq!(stopping.step(Moment::START, Event::FromParent(FromParent::Ended(0))), [Action::Exit]);
    }

    #[test]
    fn an_early_tick_does_not_shorten_the_final_delay() {
        let (mut stopping, _) = begin(&[], terms(15, 5));
        for millis in [0, 1000, 4999] {
            assert_eq!(stopping.step(Moment::from_millis(millis), Event::Tick), []);
        }
        let actions = stopping.step(Moment::from_secs(5), Event::Tick);
        assert!(actions.contains(&Action::ToParent(ToParent::ShutDown)));
        assert_eq!(stopping.step(Moment::from_secs(6), Event::Tick), []);
    }
}
