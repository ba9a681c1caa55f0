//! What must hold whatever happens: seven promises, checked against all that happened to a host and all that it did.
//!
//! The judge knows what a bystander knows ([`super::bystander`]) and what people are owed ([`super::messenger`]). He
//! looks at what went into the machine and what came out, step by step, and at nothing inside.

use super::bystander::{Bystander, Clock, Limits, Sure};
use super::herald::Herald;
use super::messenger::{Messenger, Owed, settle};
use super::world::Host;
use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What a host promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Promise {
    /// It does not stop while enough supplies are known to be good, and not unless UPSes that feed it were confirmed to be
    /// on battery (low, or silent for too long), forced, or off or overloaded for as long as configured; or by order.
    StopsOnlyWithCause,
    /// After a standstill, whether the kernel tells of it or not, it decides by what it has asked afterwards; who does not
    /// answer that is waited for, but not for long.
    DecidesByFreshAnswers,
    /// Once too few supplies are left it stops: at once if it has just been told so, and however its questions end when
    /// the delays configured are over, whatever else happens.
    StopsInTime,
    /// FSD for all it is primary of, then SHUTDOWN, then FINALDELAY, then the command; one way down, one command.
    OneWayDown,
    /// The secondaries are waited for, for HOSTSYNC at most.
    WaitsForOthers,
    /// Each notice that is owed is told, at once and once; no other is.
    TellsAllOnce,
    /// Each UPS that the file in force names, and no other, is asked in its rhythm and at once behind a standstill, one
    /// question at a time, until the way down begins.
    AsksOn,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) at: Moment,
    pub(super) how: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is broken at {:?}: {}", self.promise, self.at, self.how)
    }
}

/// One step: when, upon what, and what was done.
pub(super) type Step<'a> = (Moment, &'a Event, &'a [(Moment, Action)]);

/// All that happened to a host.
#[derive(Debug, Clone)]
pub(super) struct Record<'a> {
    pub(super) conf: &'a UpsmonConf,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) absent: &'a [(Moment, Moment)],
    /// Until when it was watched.
    pub(super) end: Moment,
}

impl<'a> Record<'a> {
    pub(super) fn of(host: &'a Host, end: Moment) -> Self {
        let mut rest = host.actions();
        let mut before = 0;
        let steps: Vec<Step<'a>> = host
            .trace
            .iter()
            .zip(&host.done)
            .map(|((at, event), done)| {
                let (actions, after) = rest.split_at(done - before);
                (rest, before) = (after, *done);
                (*at, event, actions)
            })
            .collect();
        let last = steps.last().map_or(end, |(at, ..)| *at);
        Self {
            conf: &host.conf,
            steps,
            absent: &host.absent,
            end: if host.is_running() { end } else { last },
        }
    }

    pub(super) fn judge(&self) -> Result<(), Broken> {
        let mut judge = Judge::new(self);
        for step in &self.steps {
            let broken = |(promise, how)| Broken { promise, at: step.0, how };
            judge.step(step).map_err(broken)?;
        }
        judge.end(self.end).map_err(|(promise, how)| Broken { promise, at: self.end, how })
    }
}

type Judged = Result<(), (Promise, String)>;

fn broken<T>(promise: Promise, how: impl Into<String>) -> Result<T, (Promise, String)> {
    Err((promise, how.into()))
}

/// Where the host is.
#[derive(Debug)]
enum Way {
    Watching,
    Down(Box<Down>),
    /// Its command has failed, then; it watches on.
    Failed(Moment),
    Over,
}

/// A way down.
#[derive(Debug)]
struct Down {
    decided: Moment,
    conf: UpsmonConf,
    /// For whom FSD must be set, in order; and those of them whose secondaries may be left alone.
    primary_of: Vec<u32>,
    out_of_reach: BTreeSet<u32>,
    forced: Vec<u32>,
    counts: BTreeMap<u32, usize>,
    is_waiting_told: bool,
    announced: Option<Moment>,
    commanded: Option<Moment>,
    /// It has ended well.
    is_carried_out: bool,
}

struct Judge<'a> {
    conf: UpsmonConf,
    limits: Limits,
    absent: &'a [(Moment, Moment)],
    upses: BTreeMap<u32, (Bystander, Messenger)>,
    herald: Herald,
    way: Way,
    decisions: usize,
    /// When the kernel said that the machine was suspended.
    awake: Vec<Moment>,
    parent_told: Option<Moment>,
    /// Since when there may be too few supplies.
    perhaps_short: Option<Moment>,
    /// Since when there are too few supplies for sure.
    short: Option<Moment>,
    /// Since when all delays are over.
    overdue: Option<Moment>,
    last: Moment,
    /// The step before all those of that moment.
    before: Option<Moment>,
}

impl<'a> Judge<'a> {
    fn new(record: &Record<'a>) -> Self {
        let mut limits = Limits::default();
        limits.take(record.conf);
        Self {
            conf: record.conf.clone(),
            limits,
            absent: record.absent,
            upses: BTreeMap::new(),
            herald: Herald::default(),
            way: Way::Watching,
            decisions: 0,
            awake: Vec::new(),
            parent_told: None,
            perhaps_short: None,
            short: None,
            overdue: None,
            last: Moment::START,
            before: None,
        }
    }

    fn clock(&self, now: Moment) -> Clock<'a> {
        Clock { now, absent: self.absent, before: self.before, rhythm: self.limits.rhythm }
    }

    fn is_watching(&self) -> bool {
        matches!(self.way, Way::Watching | Way::Failed(_))
    }

    fn step(&mut self, (now, event, actions): &Step<'_>) -> Judged {
        if *now > self.last {
            self.before = Some(self.last);
            self.last = *now;
        }
        let (now, clock) = (*now, self.clock(*now));
        if matches!(self.way, Way::Over) {
            return broken(Promise::OneWayDown, "it goes on after its end");
        }
        let mut owed: BTreeMap<u32, Vec<Owed>> = BTreeMap::new();
        self.takes(clock, event, &mut owed);
        self.is_given_other_upses(now, event, actions);
        let was_failed = matches!(self.way, Way::Failed(_));
        // An order ends the watching before anything else is looked at.
        let ends_it = match event {
            Event::ForceShutdown { .. } => matches!(self.way, Way::Watching),
            event => matches!(event, Event::Stop { .. }),
        };
        if self.is_watching() && !ends_it {
            self.misses_what_is_late(clock, &mut owed);
        }
        self.herald.judge(clock, event, actions).map_err(|how| (Promise::TellsAllOnce, how))?;
        for (ups, kind) in self.tells(clock, event, actions, owed)? {
            if let Some((_, messenger)) = self.upses.get_mut(&ups) {
                messenger.told(now, kind);
            }
        }
        for action in *actions {
            self.does(clock, event, &action.1)?;
        }
        self.goes_on(clock, event, was_failed)?;
        Ok(())
    }

    /// What the event itself says.
    fn takes(&mut self, clock: Clock<'_>, event: &Event, owed: &mut BTreeMap<u32, Vec<Owed>>) {
        let is_watching = self.is_watching();
        match event {
            Event::Server(UpsId(ups), report) => {
                let Some((known, messenger)) = self.upses.get_mut(ups) else { return };
                match report {
                    Report::Polled(_) | Report::PollFailed(_) if !is_watching => known.is_answered(clock.now),
                    Report::Polled(heard) if !heard.status.is_empty() => {
                        known.is_answered(clock.now);
                        let low = known.low;
                        known.hears(clock, &self.conf, &heard.status);
                        let name = known.line.system.clone();
                        owed.insert(*ups, messenger.hears(clock, &self.conf, &name, heard, low));
                    }
                    Report::Polled(_) | Report::PollFailed(_) => {
                        known.is_answered(clock.now);
                        known.misses(clock, &self.conf);
                        owed.insert(*ups, messenger.misses(clock, &self.conf, known, Sure::Yes));
                    }
                    Report::FsdSet => owed.entry(*ups).or_default().extend(messenger.is_forced()),
                    Report::Logins(count) => {
                        if let Way::Down(down) = &mut self.way {
                            down.counts.insert(*ups, count.unwrap_or(0));
                        }
                    }
                    Report::LoggedIn | Report::LoginFailed { .. } | Report::FsdFailed(_) => {}
                }
            }
            Event::Reload(conf) if is_watching && is_possible(conf) => {
                self.conf = (**conf).clone();
                self.limits.take(conf);
                for (known, _) in self.upses.values_mut() {
                    if let Some(line) = conf.monitors.iter().find(|line| line.system == known.line.system) {
                        known.line = line.clone();
                    }
                }
            }
            Event::Awake(_) => self.awake.push(clock.now),
            Event::FromParent(FromParent::Ended(0)) => {
                if let Way::Down(down) = &mut self.way {
                    down.is_carried_out = down.commanded.is_some();
                }
            }
            _ => {}
        }
    }

    /// Which UPSes are watched from now on; that is between the machine and its shell.
    fn is_given_other_upses(&mut self, now: Moment, event: &Event, actions: &[(Moment, Action)]) {
        for (_, action) in actions {
            match action {
                Action::Open(UpsId(ups), line) => {
                    let new = || (Bystander::new(line.monitor.clone()), Messenger::new());
                    let (known, _) = self.upses.entry(*ups).or_insert_with(new);
                    known.asked = Some(known.asked.unwrap_or(now));
                }
                Action::Close(UpsId(ups)) => drop(self.upses.remove(ups)),
                Action::Ask(UpsId(ups), Order::Reconnect(_)) if matches!(event, Event::Reload(_)) => {
                    if let Some((_, messenger)) = self.upses.get_mut(ups) {
                        messenger.is_renewed();
                    }
                }
                _ => {}
            }
        }
    }

    /// A question that is out for long counts as unanswered.
    fn misses_what_is_late(&mut self, clock: Clock<'_>, owed: &mut BTreeMap<u32, Vec<Owed>>) {
        for (ups, (known, messenger)) in &mut self.upses {
            let Some(out) = known.out.filter(|out| clock.at_most(*out) >= FASTEST) else { continue };
            let is_late = match messenger.is_lost() {
                // As soon as the next question would be due: that depends on how the other UPSes are.
                true => Sure::Perhaps,
                false => Sure::of(clock.at_least_anew(out) >= PATIENCE, clock.at_most(out) >= PATIENCE),
            };
            if is_late != Sure::No {
                owed.entry(*ups).or_default().extend(messenger.misses(clock, &self.conf, known, is_late));
                known.may_miss(clock, &self.conf);
            }
        }
    }

    /// Compares the notices of this step with those owed, and gives those of UPSes.
    fn tells(
        &mut self,
        clock: Clock<'_>,
        event: &Event,
        actions: &[(Moment, Action)],
        owed: BTreeMap<u32, Vec<Owed>>,
    ) -> Result<Vec<(u32, NoticeKind)>, (Promise, String)> {
        let wrong = |how: String| (Promise::TellsAllOnce, how);
        let notices = actions.iter().filter_map(|(_, action)| match action {
            Action::Notify(notice) => Some(notice),
            _ => None,
        });
        let mut told: BTreeMap<u32, Vec<&Notice>> = owed.keys().map(|ups| (*ups, Vec::new())).collect();
        let mut parent = 0;
        for notice in notices {
            if let Some(name) = notice.ups.as_deref() {
                let named = self.upses.iter().find(|(_, (known, _))| known.line.system == name);
                let (ups, _) =
                    named.ok_or_else(|| wrong(format!("{} of {name}, who is not watched", notice.kind)))?;
                told.entry(*ups).or_default().push(notice);
                continue;
            }
            match notice.kind {
                // Part of the way down.
                NoticeKind::Shutdown | NoticeKind::ShutdownHostSync => {}
                NoticeKind::NoParent => parent += 1,
                // The herald's.
                NoticeKind::SuspendStarting | NoticeKind::SuspendFinished | NoticeKind::SuspendTimeJump => {}
                kind => return Err(wrong(format!("{kind} was told of nothing"))),
            }
        }
        let is_watching = self.is_watching();
        for (ups, told) in &told {
            let (known, _) =
                self.upses.get(ups).ok_or_else(|| wrong("somebody is owed who is gone".into()))?;
            let owed = owed.get(ups).map(Vec::as_slice).unwrap_or_default();
            settle(&known.line.system, owed, told).map_err(wrong)?;
            if told.iter().skip(1).any(|notice| notice.kind == NoticeKind::CommOk) {
                return Err(wrong("COMMOK came behind what was heard".into()));
            }
        }
        // The root half: told when it is gone, and again every two minutes while the host is watched.
        let is_news = matches!(event, Event::ParentGone) && self.parent_told.is_none();
        let fails =
            actions.iter().any(|(_, action)| matches!(action, Action::Log(Remark::NotStopped { .. })));
        let again = self.parent_told.map_or(Sure::No, |told| {
            let is_sure = is_watching && clock.at_least(told) >= REMIND_EVERY;
            Sure::of(is_sure, (is_watching || fails) && clock.at_most(told) >= REMIND_EVERY)
        });
        match (parent, is_news, again) {
            (1, true, _) | (1, false, Sure::Yes | Sure::Perhaps) => self.parent_told = Some(clock.now),
            (0, false, Sure::No | Sure::Perhaps) => {}
            // An order in this very step ends the watching.
            (0, false, Sure::Yes) if matches!(event, Event::ForceShutdown { .. } | Event::Stop { .. }) => {}
            _ => return Err(wrong(format!("NOPARENT was told {parent} times"))),
        }
        Ok(told.iter().flat_map(|(ups, told)| told.iter().map(|notice| (*ups, notice.kind))).collect())
    }

    /// One action.
    fn does(&mut self, clock: Clock<'_>, event: &Event, action: &Action) -> Judged {
        match action {
            Action::Log(Remark::ShuttingDown { reason }) => self.decides(clock, event, reason),
            Action::Log(Remark::NotStopped { .. }) => {
                match &self.way {
                    Way::Down(down) if down.announced.is_none() => {
                        return broken(Promise::OneWayDown, "it gave up before anybody was told");
                    }
                    Way::Down(down) if down.is_carried_out => {
                        return broken(Promise::OneWayDown, "what has ended well has failed");
                    }
                    Way::Failed(_) => return Ok(()),
                    Way::Down(_) => {}
                    Way::Watching | Way::Over => {
                        return broken(Promise::OneWayDown, "what was never tried has failed");
                    }
                }
                self.way = Way::Failed(clock.now);
                // All connections are made anew.
                for (known, _) in self.upses.values_mut() {
                    (known.out, known.asked) = (None, Some(clock.now));
                }
                Ok(())
            }
            Action::Ask(UpsId(ups), order) => self.asks(clock, *ups, order),
            Action::LogOutAndExit => {
                let is_told = matches!(event, Event::Stop { .. });
                let may = is_told && self.is_watching();
                self.way = Way::Over;
                if may { Ok(()) } else { broken(Promise::OneWayDown, "it left without need") }
            }
            Action::Exit => {
                let has_commanded = matches!(&self.way, Way::Down(down) if down.commanded.is_some());
                self.way = Way::Over;
                if has_commanded {
                    Ok(())
                } else {
                    broken(Promise::OneWayDown, "it ended without the command")
                }
            }
            Action::Log(Remark::Executing)
            | Action::Log(Remark::HostSyncExpired)
            | Action::ToParent(ToParent::ShutDown) => self.goes_down(clock, action),
            Action::Notify(notice) => match notice.kind {
                NoticeKind::Shutdown | NoticeKind::ShutdownHostSync => self.goes_down(clock, action),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn asks(&mut self, clock: Clock<'_>, ups: u32, order: &Order) -> Judged {
        let is_watching = self.is_watching();
        let Some((known, _)) = self.upses.get_mut(&ups) else {
            return broken(Promise::AsksOn, format!("UPS {ups} is asked and is not watched"));
        };
        match (order, &mut self.way) {
            (Order::Poll { .. }, _) => {
                if !is_watching {
                    return broken(Promise::OneWayDown, "it asks for news on its way down");
                }
                if known.out.replace(clock.now).is_some() {
                    return broken(Promise::AsksOn, "it asks while a question is out");
                }
                known.asked = Some(clock.now);
                Ok(())
            }
            (Order::SetFsd, Way::Down(down)) => {
                down.forced.push(ups);
                if down.announced.is_some() || down.decided != clock.now {
                    return broken(Promise::OneWayDown, "FSD comes late");
                }
                Ok(())
            }
            (Order::SetFsd, _) => broken(Promise::OneWayDown, "FSD without a decision"),
            (Order::CountLogins | Order::Use(_) | Order::Reconnect(_), _) => Ok(()),
        }
    }

    /// The decision.
    fn decides(&mut self, clock: Clock<'_>, event: &Event, reason: &Reason) -> Judged {
        let cause = Promise::StopsOnlyWithCause;
        self.decisions += 1;
        if !matches!(self.way, Way::Watching) || self.decisions > 1 {
            return broken(Promise::OneWayDown, "it decides a second time");
        }
        match reason {
            Reason::Ordered => {
                if !matches!(event, Event::ForceShutdown { .. }) {
                    return broken(cause, "nobody has ordered that");
                }
            }
            Reason::TooFewSupplies { have, need, down } => {
                let all: u64 = self.upses.values().map(|(known, _)| known.value()).sum();
                let good = self.upses.values().filter(|(known, _)| known.lost == Sure::No);
                let good: u64 = good.map(|(known, _)| known.value()).sum();
                if *need != u64::from(self.conf.min_supplies) || good >= *need || have >= need {
                    return broken(cause, format!("{good} supplies are known to be good, {need} are enough"));
                }
                let mut lost = 0;
                let short = self.perhaps_short.unwrap_or(clock.now);
                for (name, why) in down {
                    let named = self.upses.values().find(|(known, _)| known.line.system == **name);
                    match named {
                        Some((known, _)) if known.lost != Sure::No && known.value() > 0 => {
                            lost += known.value()
                        }
                        _ => return broken(cause, format!("{name} is no reason: {why}")),
                    }
                    if named.is_some_and(|(known, _)| !known.is_fresh(clock, &self.awake, short)) {
                        let how = format!("what is known of {name} is older than a standstill: {why}");
                        return broken(Promise::DecidesByFreshAnswers, how);
                    }
                }
                if have + lost != all {
                    return broken(cause, format!("the reason does not add up: {reason}"));
                }
            }
        }
        let is_primary = |known: &Bystander| known.line.role == Role::Primary;
        let may_be_mute = |(known, messenger): &(Bystander, Messenger)| {
            messenger.is_lost() && known.out.is_some_and(|out| clock.at_most(out) >= FASTEST)
        };
        self.way = Way::Down(Box::new(Down {
            decided: clock.now,
            conf: self.conf.clone(),
            primary_of: self
                .upses
                .iter()
                .filter(|(_, one)| is_primary(&one.0))
                .map(|(ups, _)| *ups)
                .collect(),
            out_of_reach: self
                .upses
                .iter()
                .filter(|(_, one)| may_be_mute(one))
                .map(|(ups, _)| *ups)
                .collect(),
            forced: Vec::new(),
            counts: BTreeMap::new(),
            is_waiting_told: false,
            announced: None,
            commanded: None,
            is_carried_out: false,
        }));
        Ok(())
    }

    /// What belongs to the way down.
    fn goes_down(&mut self, clock: Clock<'_>, action: &Action) -> Judged {
        let way = Promise::OneWayDown;
        let Way::Down(down) = &mut self.way else {
            return broken(way, format!("{action:?} without a decision"));
        };
        let others = Promise::WaitsForOthers;
        match action {
            Action::Log(Remark::HostSyncExpired) => {
                let host_sync = down.conf.host_sync;
                if clock.is_longer(down.decided, host_sync) == Sure::No || down.announced.is_some() {
                    return broken(others, "HOSTSYNC is not over");
                }
                // Nobody need be counted any more.
                down.out_of_reach = down.primary_of.iter().copied().collect();
            }
            Action::Log(Remark::Executing) => {
                let mut forced = down.forced.clone();
                forced.sort_unstable();
                if forced != down.primary_of {
                    return broken(
                        way,
                        format!("FSD for {forced:?}, but it is primary of {:?}", down.primary_of),
                    );
                }
                let waited_for = down.primary_of.iter().filter(|ups| !down.out_of_reach.contains(ups));
                for ups in waited_for {
                    match down.counts.get(ups) {
                        None => {
                            return broken(others, format!("nobody has counted who is logged in to {ups}"));
                        }
                        Some(0 | 1) => {}
                        Some(count) => {
                            return broken(others, format!("{count} are still logged in to {ups}"));
                        }
                    }
                }
                if down.announced.replace(clock.now).is_some() {
                    return broken(way, "it is told twice that it executes");
                }
            }
            Action::Notify(notice) if notice.kind == NoticeKind::Shutdown => {
                if down.announced != Some(clock.now) || down.commanded.is_some() {
                    return broken(way, "SHUTDOWN is told out of order");
                }
                if notice.reason.is_none() {
                    return broken(way, "SHUTDOWN gives no reason");
                }
            }
            Action::Notify(_) => {
                let is_true = down.counts.values().any(|count| *count > 1);
                if !is_true || std::mem::replace(&mut down.is_waiting_told, true) {
                    return broken(
                        Promise::TellsAllOnce,
                        "SHUTDOWN_HOSTSYNC, and nobody is waited for, or again",
                    );
                }
            }
            _ => {
                let Some(announced) = down.announced else {
                    return broken(way, "the command comes before SHUTDOWN is told");
                };
                if self.parent_told.is_some() {
                    return broken(way, "the command is asked of a root half that is known to be gone");
                }
                if clock.at_most(announced) < down.conf.final_delay {
                    return broken(way, "FINALDELAY was cut short");
                }
                if down.commanded.replace(clock.now).is_some() {
                    return broken(way, "a second command");
                }
            }
        }
        Ok(())
    }

    /// After a step: what must have been done by now.
    fn goes_on(&mut self, clock: Clock<'_>, event: &Event, was_failed: bool) -> Judged {
        self.is_on_time(clock)?;
        if let (Way::Down(down), Event::Server(UpsId(ups), Report::Logins(Some(count)))) = (&self.way, event)
            && *count > 1
            && down.primary_of == [*ups]
            && down.announced.is_none()
            && !down.is_waiting_told
            && !down.out_of_reach.contains(ups)
        {
            return broken(Promise::TellsAllOnce, "SHUTDOWN_HOSTSYNC was not told");
        }
        let has_failed = match event {
            Event::ParentGone => true,
            Event::FromParent(report) => !matches!(report, FromParent::Ended(0) | FromParent::FlagFailed),
            _ => false,
        };
        if let (Way::Down(down), true) = (&self.way, has_failed)
            && down.commanded.is_some()
            && !down.is_carried_out
        {
            return broken(Promise::OneWayDown, "the command has failed, and nobody says so");
        }
        let watched: BTreeSet<&str> =
            self.upses.values().map(|(known, _)| known.line.system.as_str()).collect();
        let named: BTreeSet<&str> = self.conf.monitors.iter().map(|line| line.system.as_str()).collect();
        if watched != named || watched.len() < self.upses.len() {
            return broken(Promise::AsksOn, format!("it watches {watched:?}, and its file names {named:?}"));
        }
        if was_failed && self.decisions > 1 {
            return broken(Promise::OneWayDown, "a second shutdown");
        }
        Ok(())
    }

    fn is_on_time(&mut self, clock: Clock<'_>) -> Judged {
        if let Way::Down(down) = &self.way {
            return is_down_on_time(clock, down);
        }
        if !self.is_watching() {
            return Ok(());
        }
        // A poll's time, an answer that stays out (and has its time anew after a sleep), the last word, and what rounding
        // hides.
        let awake = self.awake.last().copied().max(clock.last_standstill());
        let slack = self.limits.rhythm * 2 + PATIENCE * 2 + SECOND_WORD + Duration::from_secs(2);
        for (known, messenger) in self.upses.values() {
            let asked = known.asked.unwrap_or_default();
            if known.out.is_none() && clock.at_least(asked) > self.limits.rhythm + Duration::from_millis(10) {
                let how = format!("{} was asked last at {asked:?}", known.line.system);
                return broken(Promise::AsksOn, how);
            }
            if let Some(awake) = awake.filter(|awake| known.out.is_none() && asked < *awake) {
                let how =
                    format!("{} was not asked behind the standstill until {awake:?}", known.line.system);
                return broken(Promise::AsksOn, how);
            }
            let limit = self.limits.no_comm_warn_time + slack;
            let heard = known.heard.as_ref().map(|(at, _)| *at);
            // On the way down nothing is told of UPSes.
            let since = match &self.way {
                Way::Failed(since) => heard.max(Some(*since)),
                _ => heard,
            };
            if messenger.is_absence_overdue(clock, limit, since) {
                let how = format!("NOCOMM of {} is overdue", known.line.system);
                return broken(Promise::TellsAllOnce, how);
            }
        }
        if !matches!(self.way, Way::Watching) {
            return Ok(());
        }
        let need = u64::from(self.conf.min_supplies);
        let left = |is_left: &dyn Fn(&Bystander) -> bool| -> u64 {
            self.upses.values().map(|(known, _)| if is_left(known) { known.value() } else { 0 }).sum()
        };
        // It was told so, or all delays are over; the last word that may change it is waited for, but not for long.
        let is_short = left(&|known| known.lost != Sure::Yes) < need;
        let is_perhaps = left(&|known| known.lost == Sure::No) < need;
        let is_overdue = left(&|known| !known.is_overdue(clock, &self.limits, slack)) < need;
        self.perhaps_short = self.perhaps_short.or(Some(clock.now)).filter(|_| is_perhaps);
        for (is_so, since) in [(is_short, &mut self.short), (is_overdue, &mut self.overdue)] {
            *since = since.or(Some(clock.now)).filter(|_| is_so);
            // A moment, and one more for each time it did not run meanwhile.
            let moments = |since| SECOND_WORD * clock.times_absent(since).saturating_add(1);
            if since.is_some_and(|since| clock.at_least(since) >= moments(since)) {
                let how = format!("too few supplies are left since {since:?}, and it still runs");
                return broken(Promise::StopsInTime, how);
            }
        }
        Ok(())
    }

    /// When nobody looks any more.
    fn end(&mut self, end: Moment) -> Judged {
        if matches!(self.way, Way::Over) || end <= self.last {
            return Ok(());
        }
        self.is_on_time(self.clock(end))
    }
}

fn is_down_on_time(clock: Clock<'_>, down: &Down) -> Judged {
    match (down.announced, down.commanded) {
        (None, _) if clock.at_least(down.decided) > down.conf.host_sync + Duration::from_secs(1) => {
            broken(Promise::WaitsForOthers, "HOSTSYNC is over, and it still waits")
        }
        (Some(announced), None) if clock.at_least(announced) > down.conf.final_delay => {
            broken(Promise::OneWayDown, "FINALDELAY is over, and there is no command")
        }
        _ => Ok(()),
    }
}

/// Whether a host could ever run with it: each UPS counts once.
fn is_possible(conf: &UpsmonConf) -> bool {
    let mut values: BTreeMap<&str, u64> = BTreeMap::new();
    for line in &conf.monitors {
        values.entry(&line.system).or_insert(u64::from(line.power_value.0));
    }
    values.values().sum::<u64>() >= u64::from(conf.min_supplies)
}

/// The judge himself: what he says when something has gone wrong. A good record is spoilt in one way each time.
mod judged {
    use super::super::trace::{Trace, moment_of};
    use super::*;

    type Spoilt = Vec<(Moment, Event, Vec<(Moment, Action)>)>;

    /// A primary whose secondary takes a moment, on mains, on battery, lost and back, low.
    fn good() -> (World, Spoilt) {
        let text = "[file pri.conf]\nMONITOR u1@localhost 1 pri pp primary\nPOLLFREQ 1\nPOLLFREQALERT 1\n\
                    HOSTSYNC 15\nFINALDELAY 2\n[events]\n0 ups u1@localhost says OL\n\
                    0 ups u1@localhost strangers 1\n0 host pri starts pri.conf\n3.5 ups u1@localhost says OB\n\
                    5.5 ups u1@localhost refuses DATA-STALE\n7.5 ups u1@localhost says OB RB\n\
                    9.5 ups u1@localhost says OB LB\n15 ups u1@localhost strangers 0\n60 end\n";
        let world = Trace::parse(text).unwrap().play().unwrap();
        let record = Record::of(&world.hosts[0], world.now);
        let steps = record.steps.iter().map(|(at, event, actions)| (*at, (*event).clone(), actions.to_vec()));
        let steps = steps.collect();
        (world, steps)
    }

    fn judge(conf: &UpsmonConf, steps: &Spoilt) -> Result<(), Broken> {
        let steps: Vec<Step<'_>> =
            steps.iter().map(|(at, event, actions)| (*at, event, actions.as_slice())).collect();
        let end = steps.last().unwrap().0;
        Record { conf, steps, absent: &[], end }.judge()
    }

    /// Whether the action is this notice.
    fn tells(kind: NoticeKind) -> impl Fn(&Action) -> bool {
        move |action| matches!(action, Action::Notify(notice) if notice.kind == kind)
    }

    /// The step with this action, and the action's place in it.
    fn find(steps: &Spoilt, is_it: impl Fn(&Action) -> bool) -> (usize, usize) {
        let found = steps.iter().enumerate().find_map(|(step, (_, _, actions))| {
            Some((step, actions.iter().position(|(_, action)| is_it(action))?))
        });
        found.expect("it is in the good record")
    }

    fn remove(steps: &mut Spoilt, is_it: impl Fn(&Action) -> bool) {
        let (step, nth) = find(steps, is_it);
        steps[step].2.remove(nth);
    }

    fn is_decision(action: &Action) -> bool {
        matches!(action, Action::Log(Remark::ShuttingDown { .. }))
    }

    fn is_command(action: &Action) -> bool {
        *action == Action::ToParent(ToParent::ShutDown)
    }

    #[test]
    fn the_judge_finds_nothing_where_nothing_is() {
        let (world, steps) = good();
        judge(&world.hosts[0].conf, &steps).unwrap();
        world.expect(
            0,
            "4 ONBATT u1@localhost
             6 COMMBAD u1@localhost
             8 COMMOK u1@localhost
             8 REPLBATT u1@localhost
             10 LOWBATT u1@localhost
             10 FSD u1@localhost
             10 SHUTDOWN_HOSTSYNC
             15 SHUTDOWN
             17 CMD
             17 exit",
        );
    }

    /// A host that stood still, and was then told that its battery is low; and the same without having asked after that.
    #[test]
    fn the_judge_finds_a_decision_by_what_is_older_than_a_standstill() {
        for (verb, waits) in [("sleeps", 20), ("suspended", 20), ("suspended", 2)] {
            let text = format!(
                "[file pri.conf]\nMONITOR u1@localhost 1 pri pp primary\nPOLLFREQ 1\nPOLLFREQALERT 1\n[events]\n\
                 0 ups u1@localhost says OB\n0 host pri starts pri.conf\n5.2 host pri {verb} {waits}\n\
                 6 ups u1@localhost says OB LB\n60 end\n"
            );
            let world = Trace::parse(&text).unwrap().play().unwrap();
            let host = &world.hosts[0];
            let mut record = Record::of(host, world.now);
            record.judge().unwrap();
            let steps: Spoilt = record
                .steps
                .iter()
                .map(|(at, event, actions)| (*at, (*event).clone(), actions.to_vec()))
                .collect();
            let mut spoilt = steps.clone();
            let back = moment_of(5_200) + Duration::from_secs(waits);
            let asks = |(_, action): &(Moment, Action)| matches!(action, Action::Ask(_, Order::Poll { .. }));
            let after =
                spoilt.iter().position(|(at, _, actions)| *at >= back && actions.iter().any(asks)).unwrap();
            let before = spoilt.iter().rposition(|(at, ..)| *at < back).unwrap();
            let nth = spoilt[after].2.iter().position(asks).unwrap();
            let ask = spoilt[after].2.remove(nth);
            spoilt[before].2.push(ask);
            record.steps =
                spoilt.iter().map(|(at, event, actions)| (*at, event, actions.as_slice())).collect();
            let broken = record.judge().expect_err(verb);
            assert_eq!(broken.promise, Promise::DecidesByFreshAnswers, "{verb} {waits}: {broken}");
        }
    }

    #[test]
    fn the_judge_finds_each_promise_that_is_broken() {
        use NoticeKind::{CommBad, CommOk, Fsd, LowBatt, OnBatt, ReplBatt, Shutdown, ShutdownHostSync};
        type Spoil = fn(&mut Spoilt);
        let ways: [(&str, Promise, Spoil); 21] = [
            ("ONBATT of u1@localhost was not told", Promise::TellsAllOnce, |steps| {
                remove(steps, tells(OnBatt))
            }),
            ("LOWBATT of u1@localhost was not told", Promise::TellsAllOnce, |steps| {
                remove(steps, tells(LowBatt))
            }),
            ("REPLBATT of u1@localhost was not told", Promise::TellsAllOnce, |steps| {
                remove(steps, tells(ReplBatt))
            }),
            ("COMMBAD of u1@localhost was not told", Promise::TellsAllOnce, |steps| {
                remove(steps, tells(CommBad))
            }),
            ("FSD of u1@localhost was not told", Promise::TellsAllOnce, |steps| remove(steps, tells(Fsd))),
            ("SHUTDOWN_HOSTSYNC was not told", Promise::TellsAllOnce, |steps| {
                remove(steps, tells(ShutdownHostSync))
            }),
            ("COMMOK of u1@localhost was told and is no news", Promise::TellsAllOnce, |steps| {
                let (step, nth) = find(steps, tells(CommOk));
                let again = steps[step].2[nth].clone();
                steps[step].2.insert(nth, again);
            }),
            ("COMMBAD of u1@localhost was told and is no news", Promise::TellsAllOnce, |steps| {
                // A second later once more.
                let (step, nth) = find(steps, tells(CommBad));
                let again = steps[step].2[nth].clone();
                let later =
                    (step + 1..steps.len()).find(|nth| matches!(steps[*nth].1, Event::Server(..))).unwrap();
                steps[later].2.push(again);
            }),
            ("COMMOK came behind what was heard", Promise::TellsAllOnce, |steps| {
                let (step, nth) = find(steps, tells(CommOk));
                let told = steps[step].2.remove(nth);
                steps[step].2.push(told);
            }),
            ("supplies are known to be good", Promise::StopsOnlyWithCause, |steps| {
                // The decision is made when the UPS is on battery, and not low.
                let (from, nth) = find(steps, is_decision);
                let (to, _) = find(steps, tells(OnBatt));
                let down = steps[from].2.split_off(nth);
                steps[to].2.extend(down);
            }),
            ("nobody has ordered that", Promise::StopsOnlyWithCause, |steps| {
                let (step, nth) = find(steps, is_decision);
                steps[step].2[nth].1 = Action::Log(Remark::ShuttingDown { reason: Reason::Ordered });
            }),
            ("u2@localhost is no reason", Promise::StopsOnlyWithCause, |steps| {
                let (step, nth) = find(steps, is_decision);
                if let Action::Log(Remark::ShuttingDown { reason: Reason::TooFewSupplies { down, .. } }) =
                    &mut steps[step].2[nth].1
                {
                    down[0].0 = "u2@localhost".into();
                }
            }),
            ("too few supplies are left", Promise::StopsInTime, |steps| {
                let (step, nth) = find(steps, is_decision);
                steps[step].2.truncate(nth);
                steps.truncate(step + 1);
                let (at, event, actions) = steps[step].clone();
                let asks = |(_, action): &(Moment, Action)| matches!(action, Action::WakeAt(_));
                steps.push((at + SECOND_WORD, event, actions.into_iter().filter(asks).collect()));
            }),
            ("FSD for [], but it is primary of [0]", Promise::OneWayDown, |steps| {
                remove(steps, |action| matches!(action, Action::Ask(_, Order::SetFsd)));
            }),
            ("FSD without a decision", Promise::OneWayDown, |steps| {
                let (step, nth) = find(steps, |action| matches!(action, Action::Ask(_, Order::SetFsd)));
                steps[step].2.swap(nth, nth - 1);
            }),
            ("the command comes before SHUTDOWN", Promise::OneWayDown, |steps| {
                let (from, nth) = find(steps, is_command);
                let command = steps[from].2.remove(nth);
                let (to, _) = find(steps, is_decision);
                steps[to].2.push(command);
            }),
            ("FINALDELAY was cut short", Promise::OneWayDown, |steps| {
                let (from, nth) = find(steps, is_command);
                let command = steps[from].2.remove(nth);
                let (to, _) = find(steps, tells(Shutdown));
                steps[to].2.push(command);
            }),
            ("a second command", Promise::OneWayDown, |steps| {
                let (step, nth) = find(steps, is_command);
                let again = steps[step].2[nth].clone();
                steps[step].2.insert(nth, again);
            }),
            ("there is no command", Promise::OneWayDown, |steps| {
                let (step, _) = find(steps, is_command);
                steps[step].2.clear();
                let (at, ..) = steps[step];
                steps.truncate(step + 1);
                steps.push((at + Duration::from_secs(1), Event::Tick, Vec::new()));
            }),
            ("2 are still logged in to 0", Promise::WaitsForOthers, |steps| {
                let (from, nth) = find(steps, |action| *action == Action::Log(Remark::Executing));
                let down: Vec<_> = steps[from].2.drain(nth..).collect();
                let (to, _) = find(steps, tells(ShutdownHostSync));
                steps[to].2.extend(down);
            }),
            ("was asked last", Promise::AsksOn, |steps| {
                // From some moment on nobody asks.
                let (step, _) = find(steps, tells(OnBatt));
                for (_, _, actions) in steps.iter_mut().skip(step) {
                    actions.retain(|(_, action)| !matches!(action, Action::Ask(_, Order::Poll { .. })));
                }
            }),
        ];
        for (expected, promise, spoil) in ways {
            let (world, mut steps) = good();
            spoil(&mut steps);
            let broken = judge(&world.hosts[0].conf, &steps).expect_err(expected);
            assert_eq!(broken.promise, promise, "{expected}: {broken}");
            assert!(broken.how.contains(expected), "{expected}: {broken}");
        }
    }
}
