//! The monitor: all watches, when each is asked, what is told, and the decision to stop this host.
//!
//! Pure: no I/O, no clock, no log. Every event and every action is a value, so a recorded list of events replays what
//! happened in the field. [`crate::shell`] carries the actions out.

mod asking;
mod explain;
mod reload;

use nut_client::dialog::Refusal;
use nut_conf::upsmon_conf::{self, NoticeKind, Role, UpsmonConf};
use nut_proto::Moment;
use std::time::Duration;

use crate::gaps::{LATE, Look, OwnTime};
use crate::link::{FromParent, ToParent};
use crate::notices::{Notice, Notices};
use crate::remarks::{Again, EXECUTING, NO_FAILURE, Remark, in_seconds};
use crate::server::{Failure, Line, Order, Report, UpsId};
use crate::stopping::{self, Concerned, Stopping, Terms};
use crate::verdict::{Reason, Supply, Verdict, verdict};
use crate::watch::{self, Rules, Watch};
use asking::Out;

pub use crate::verdict::{TooLittlePower, enough_configured};
pub use asking::{FASTEST, PATIENCE};
pub use explain::{Instance, MAX_DESCRIBED};

/// How long a decision waits for answers that are on their way and could still change it.
///
/// All UPSes are asked at the same moment, and the first bad answer must not decide alone. It is not long, so that a
/// server that does not answer delays no decision.
pub const SECOND_WORD: Duration = Duration::from_secs(1);

/// How often it is told again that this host cannot be shut down.
pub const REMIND_EVERY: Duration = Duration::from_secs(120);

/// What happens to the monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything is ready: begin.
    Start,
    /// Time has passed.
    Tick,
    /// The machine was suspended for so long, and is awake again.
    Awake(Duration),
    /// The machine is about to be suspended, and waits a moment for us (see [`Action::LetSleep`]).
    SleepAnnounced,
    /// What was announced is over, whether the machine was suspended or not.
    SleepOver,
    /// What came of an order to this UPS's connection.
    Server(UpsId, Report),
    /// SIGUSR1: shut down, whatever the power.
    ForceShutdown {
        /// The signal's number.
        signal: i32,
    },
    /// SIGTERM and the like.
    Stop {
        /// The signal's number.
        signal: i32,
    },
    /// SIGHUP, and what the file says now. Directives it does not name have their old values.
    Reload(Box<UpsmonConf>),
    /// SIGHUP, and why the file cannot be used.
    ReloadFailed {
        /// In one clause.
        why: String,
    },
    /// The root half has ended.
    ParentGone,
    /// What the root half tells.
    FromParent(FromParent),
}

/// What must be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Give this UPS a connection (which is made with the first poll).
    Open(UpsId, Box<Line>),
    /// Have this done on the UPS's connection.
    Ask(UpsId, Order),
    /// The UPS is not watched any more: log out and forget it.
    Close(UpsId),
    /// Close all connections without a word, and forget them.
    HangUp,
    /// Deliver a notice.
    Notify(Notice),
    /// Show this on every terminal.
    Wall(&'static str),
    /// Log this.
    Log(Remark),
    /// This configuration is in force from now on.
    Adopt(Box<UpsmonConf>),
    /// Say this to the root half.
    ToParent(ToParent),
    /// The machine may be suspended as soon as what was told before this has gone out.
    LetSleep,
    /// Wake us then, if nothing happens before; a later one replaces it.
    WakeAt(Moment),
    /// Log out everywhere and end.
    LogOutAndExit,
    /// End, this host is going down: connections just close.
    Exit,
}

/// How upsmon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// A root half that only stops the host, and this one.
    Split,
    /// One process (`-p`, or not root).
    One,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Monitor {
    conf: UpsmonConf,
    /// What it said at the start, for a root half that reads nothing again.
    started: Option<Box<UpsmonConf>>,
    rules: Rules,
    notices: Notices,
    halves: Halves,
    /// In the order of the configuration; a reload appends.
    watched: Vec<Watched>,
    next_id: u32,
    phase: Phase,
    /// There are too few supplies, and the decision waits for a last word.
    short: Option<Short>,
    /// When it was last told that the root half is gone, if it is.
    parent_gone: Option<Moment>,
    /// SUSPEND_STARTING was told, and SUSPEND_FINISHED not yet.
    is_going_to_sleep: bool,
    /// What the file says, if the last reload was refused: it is not what is in force.
    refused: Option<Refused>,
    time: OwnTime,
}

/// A span in which we did not run.
#[derive(Debug, Clone, Copy)]
enum Gap {
    /// The machine was suspended: the kernel says so.
    Suspended(Duration),
    /// We were stopped, or starved: that is a guess, since we come so late.
    Guessed(Duration),
}

/// A reload that came to nothing.
#[derive(Debug, Clone)]
struct Refused {
    at: Moment,
    /// What was logged.
    why: Remark,
}

#[derive(Debug, Clone)]
enum Phase {
    Watching,
    Stopping(Stopping),
    /// A shutdown has failed. Notices go on; no second one is tried.
    Failed {
        decided: Moment,
        reason: Option<Reason>,
        /// The power-down flag, if it has been set.
        flag: Option<Box<str>>,
        told: Moment,
    },
    Over,
}

/// Too few supplies are left, and nothing is decided yet.
#[derive(Debug, Clone, Copy)]
struct Short {
    since: Moment,
    /// We have come late since, and have begun to wait anew for what was said meanwhile: that happens once, and once more
    /// behind each suspension that the kernel tells of.
    is_heard_out: bool,
}

/// One `MONITOR` line at work.
#[derive(Debug, Clone)]
struct Watched {
    id: UpsId,
    line: upsmon_conf::Monitor,
    /// Since when it is watched.
    added: Moment,
    watch: Watch,
    logged_in: bool,
    /// The refusal that was logged last.
    refusal: Option<Refusal>,
    /// When it was asked last; nothing if it is to be asked as soon as it can be.
    asked: Option<Moment>,
    /// The question that is out.
    out: Option<Out>,
    trouble: Trouble,
}

/// Failed polls in a row, for the log.
#[derive(Debug, Clone, Default)]
struct Trouble {
    last: Option<Failure>,
    count: u64,
}

impl Trouble {
    /// Notes a failed poll and says whether it is to be logged (`POLLFAIL_LOG_THROTTLE_MAX`).
    fn note(&mut self, failure: &Failure, throttle: i64) -> bool {
        let is_new = self.last.as_ref() != Some(failure);
        self.count = if is_new { 0 } else { self.count.saturating_add(1) };
        self.last = Some(failure.clone());
        match u64::try_from(throttle) {
            _ if is_new => true,
            Ok(0) => false,
            Ok(every) => self.count.is_multiple_of(every),
            Err(_) => true,
        }
    }

    /// The number of the failure that is going on.
    fn number(&self) -> i32 {
        self.last.as_ref().map_or(NO_FAILURE, Failure::number)
    }
}

impl Watched {
    fn new(now: Moment, id: UpsId, line: &upsmon_conf::Monitor) -> Self {
        Self {
            id,
            line: line.clone(),
            added: now,
            watch: Watch::new(line.role),
            logged_in: false,
            refusal: None,
            asked: None,
            out: None,
            trouble: Trouble::default(),
        }
    }

    fn name(&self) -> Box<str> {
        self.line.system.as_str().into()
    }
}

impl Monitor {
    /// A monitor for this configuration, whose power values must suffice (see [`enough_configured`]).
    #[must_use]
    pub fn new(conf: UpsmonConf, halves: Halves) -> Self {
        Self {
            rules: Rules::from(&conf),
            notices: Notices::from(&conf),
            started: (halves == Halves::Split).then(|| Box::new(conf.clone())),
            conf,
            halves,
            watched: Vec::new(),
            next_id: 0,
            phase: Phase::Watching,
            short: None,
            parent_gone: None,
            is_going_to_sleep: false,
            refused: None,
            time: OwnTime::default(),
        }
    }

    /// Takes one event and says what the shell must now do, in order.
    pub fn step(&mut self, real: Moment, event: Event) -> Vec<Action> {
        let suspended = if let Event::Awake(time) = event { Some(time) } else { None };
        self.time.leave_out(suspended.unwrap_or_default());
        let (now, look) = self.time.take(real);
        let mut actions = Vec::new();
        // Behind a suspension we can be late on our own account, too.
        if let Look::Late(by) = look {
            self.hear_out(now, by);
        }
        match (suspended, look) {
            // The kernel knows, and what of it we come too late for belongs to it.
            (Some(time), _) => self.wake_up(now, Gap::Suspended(time), &mut actions),
            (None, Look::LeftOut(time)) => self.wake_up(now, Gap::Guessed(time), &mut actions),
            (None, Look::Late(_) | Look::InTime) => {}
        }
        match event {
            Event::Start => self.start(now, &mut actions),
            // What it means to have been away was seen to above.
            Event::Tick | Event::Awake(_) => {}
            Event::SleepAnnounced => self.sleep_is_announced(&mut actions),
            Event::SleepOver => {
                // The kernel has told it already, unless the machine has not slept after all.
                if self.is_going_to_sleep {
                    self.sleep_is_over(Duration::ZERO, &mut actions);
                }
            }
            Event::Server(ups, report) => self.reported(now, ups, report, &mut actions),
            Event::ForceShutdown { signal } => self.force(now, signal, &mut actions),
            Event::Stop { signal } => self.stop(now, signal, &mut actions),
            Event::Reload(conf) => self.reload(now, *conf, &mut actions),
            Event::ReloadFailed { why } => {
                actions.push(Action::Log(Remark::Reloading));
                self.refuse(now, Remark::ReloadFailed { why }, &mut actions);
            }
            Event::ParentGone => self.parent_is_gone(now, &mut actions),
            Event::FromParent(report) => {
                self.stopping(now, stopping::Event::FromParent(report), &mut actions);
            }
        }
        self.go_on(now, &mut actions);
        if let Some(next) = self.next_wake(now) {
            actions.push(Action::WakeAt(self.time.wake_at(next.max(now))));
        }
        actions
    }

    /// The configuration in force.
    #[must_use]
    pub fn conf(&self) -> &UpsmonConf {
        &self.conf
    }

    /// The configuration that says how this host is stopped: where a root half does that, the one of the start.
    fn last_orders(&self) -> &UpsmonConf {
        self.started.as_deref().unwrap_or(&self.conf)
    }

    /// Whether a shutdown has been decided.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_))
    }

    /// Each UPS as a supply, in the order of the configuration.
    #[must_use]
    pub fn supplies(&self) -> Vec<Supply<'_>> {
        self.watched
            .iter()
            .map(|one| Supply {
                ups: &one.line.system,
                power_value: one.line.power_value,
                lost: one.watch.cause(),
            })
            .collect()
    }

    fn start(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let lines = self.conf.monitors.clone();
        for line in &lines {
            self.add(now, line, actions);
        }
    }

    fn add(&mut self, now: Moment, line: &upsmon_conf::Monitor, actions: &mut Vec<Action>) {
        if self.watched.iter().any(|one| one.line.system == line.system) {
            actions.push(Action::Log(Remark::Duplicate { ups: line.system.as_str().into() }));
            return;
        }
        let id = UpsId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        let one = Watched::new(now, id, line);
        actions.push(Action::Log(Remark::Watching {
            ups: one.name(),
            role: line.role,
            power_value: line.power_value,
        }));
        actions.push(Action::Open(id, Box::new(Line::new(line, &self.conf.tls))));
        self.watched.push(one);
    }

    /// We did not run for a while, and that is left out of our time. A question that was out has its time anew, and a decision
    /// that was waited with is waited with anew.
    fn wake_up(&mut self, now: Moment, gap: Gap, actions: &mut Vec<Action>) {
        match gap {
            Gap::Suspended(time) => self.sleep_is_over(time, actions),
            Gap::Guessed(time) => {
                actions.push(Action::Log(Remark::Slept { time }));
                let kind = NoticeKind::SuspendTimeJump;
                actions.push(Action::Notify(self.notices.render(kind, None, Some(&in_seconds(time)))));
            }
        }
        self.ask_anew(now, watch::Event::Slept);
        let rhythm = self.rhythm();
        for one in &mut self.watched {
            one.out =
                one.out.map(|Out { is_heard_out, .. }| Out { is_heard_out, ..one.question(now, rhythm) });
        }
        self.short = self.short.map(|short| Short {
            since: now,
            is_heard_out: short.is_heard_out && matches!(gap, Gap::Guessed(_)),
        });
    }

    /// What we know is as old as a standstill that is just over: everybody is asked at once, before anything is decided. So is
    /// what a question brings that was out all the time: it is waited for, since its connection is busy with it, and then
    /// asked once more.
    fn ask_anew(&mut self, now: Moment, event: watch::Event) {
        for one in &mut self.watched {
            one.watch.step(now, &self.rules, event.clone());
            one.asked = None;
        }
    }

    /// People learn of it before the machine sleeps. It is watched on until then: a sleep that never comes, or whose end we
    /// do not hear of, must not leave it alone.
    fn sleep_is_announced(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.is_going_to_sleep, true) {
            actions.push(Action::Log(Remark::GoingToSleep));
            actions.push(Action::Notify(self.notices.render(NoticeKind::SuspendStarting, None, None)));
        }
        actions.push(Action::LetSleep);
    }

    /// The machine is awake again after so long. One that was not announced is told as well.
    fn sleep_is_over(&mut self, slept: Duration, actions: &mut Vec<Action>) {
        let was_announced = std::mem::take(&mut self.is_going_to_sleep);
        let remark = if was_announced { Remark::Awake { slept } } else { Remark::Slept { time: slept } };
        actions.push(Action::Log(remark));
        actions.push(Action::Notify(self.notices.render(NoticeKind::SuspendFinished, None, None)));
    }

    /// We come late, and the time has passed all the same. But what was said meanwhile is heard before anybody counts as
    /// silent, and before anything is decided: what is waited for has a moment more, once, or a host that always comes late
    /// would never stop. A standstill that is not left out of our time makes what we know as old as one that is.
    fn hear_out(&mut self, now: Moment, by: Duration) {
        if by > LATE {
            self.ask_anew(now, watch::Event::Starved);
        }
        let moment = now + SECOND_WORD;
        for out in self.watched.iter_mut().filter_map(|one| one.out.as_mut()) {
            if out.late_at < moment && !std::mem::replace(&mut out.is_heard_out, true) {
                out.late_at = moment;
            }
        }
        if let Some(short) = &mut self.short
            && !std::mem::replace(&mut short.is_heard_out, true)
        {
            short.since = now;
        }
    }

    fn reported(&mut self, now: Moment, ups: UpsId, report: Report, actions: &mut Vec<Action>) {
        // A late word about a UPS that is not watched any more.
        let Some(nth) = self.watched.iter().position(|one| one.id == ups) else { return };
        let Some(one) = self.watched.get_mut(nth) else { return };
        match report {
            Report::LoggedIn => {
                one.logged_in = true;
                if one.refusal.take().is_some() {
                    actions.push(Action::Log(Remark::LoggedIn { ups: one.name() }));
                }
            }
            Report::LoginFailed { step, refusal } => {
                // Without the primary's rights we are logged in all the same.
                one.logged_in = step == nut_client::Step::Primary;
                if one.refusal.as_ref() != Some(&refusal) {
                    let line = refusal.line.clone();
                    actions.push(Action::Log(Remark::LoginFailed { ups: one.name(), step, line }));
                    one.refusal = Some(refusal);
                }
            }
            Report::Polled(heard) => {
                one.out = None;
                let (ups, from) = (one.name(), std::mem::take(&mut one.trouble).number());
                if from != NO_FAILURE && self.log_again().is_some() {
                    actions.push(Action::Log(Remark::Recovered { ups, from }));
                }
                self.watch(now, nth, watch::Event::Polled(heard), actions);
            }
            Report::PollFailed(failure) => {
                one.out = None;
                self.poll_failed(now, nth, failure, actions);
            }
            Report::FsdSet => {
                self.watch(now, nth, watch::Event::Forced, actions);
                self.stopping(now, stopping::Event::FsdAnswered(ups), actions);
            }
            Report::FsdFailed(failure) => {
                actions.push(Action::Log(Remark::FsdFailed { ups: one.name(), failure }));
                self.stopping(now, stopping::Event::FsdAnswered(ups), actions);
            }
            Report::Logins(count) => {
                self.stopping(now, stopping::Event::Logins(ups, count), actions);
            }
        }
    }

    fn poll_failed(&mut self, now: Moment, nth: usize, failure: Failure, actions: &mut Vec<Action>) {
        let Some(one) = self.watched.get_mut(nth) else { return };
        if failure.ends_connection() {
            one.logged_in = false;
        }
        if self.is_shutting_down() {
            return;
        }
        let again = self.log_again();
        let Some(one) = self.watched.get_mut(nth) else { return };
        let (from, to) = (one.trouble.number(), failure.number());
        if one.trouble.note(&failure, self.conf.poll_fail_log_throttle) {
            if let (Some(again), true) = (again, from != to) {
                actions.push(Action::Log(Remark::FailureChanged { ups: one.name(), from, to, again }));
            }
            let monitor = Box::new(one.line.clone());
            actions.push(Action::Log(Remark::PollFailed { monitor, failure }));
        }
        self.watch(now, nth, watch::Event::PollFailed, actions);
    }

    /// How often a failure that goes on is logged, if not each time.
    fn log_again(&self) -> Option<Again> {
        match u64::try_from(self.conf.poll_fail_log_throttle) {
            Ok(0) => Some(Again::Never),
            Ok(1) | Err(_) => None,
            Ok(every) => {
                let polls = u32::try_from(every).unwrap_or(u32::MAX);
                Some(Again::Every(every, self.rhythm().saturating_mul(polls)))
            }
        }
    }

    /// Has a watch take an event, and tells what follows.
    fn watch(&mut self, now: Moment, nth: usize, event: watch::Event, actions: &mut Vec<Action>) {
        // Once the way down has begun nothing a UPS says is news any more, but that its shutdown is forced.
        if self.is_shutting_down() && event != watch::Event::Forced {
            return;
        }
        let Some(one) = self.watched.get_mut(nth) else { return };
        let follows = one.watch.step(now, &self.rules, event);
        let name = one.name();
        let is_secondary = one.watch.role() == Role::Secondary;
        for action in follows {
            match action {
                watch::Action::Notify(kind, extra) => {
                    let notice = self.notices.render(kind, Some(&name), extra.as_deref());
                    actions.push(Action::Notify(notice));
                }
                watch::Action::Note(note) => {
                    actions.push(Action::Log(Remark::Watch { ups: name.clone(), note }));
                }
                watch::Action::Absolve(cause) => {
                    actions.push(Action::Log(Remark::Absolved { ups: name.clone(), cause }));
                }
                watch::Action::Condemn(cause) => {
                    if let (true, Some(waited)) = (is_secondary, cause.waited_for_primary()) {
                        actions.push(Action::Log(Remark::GivingUp { ups: name.clone(), waited }));
                    }
                    actions.push(Action::Log(Remark::Condemned { ups: name.clone(), cause }));
                }
            }
        }
    }

    fn force(&mut self, now: Moment, signal: i32, actions: &mut Vec<Action>) {
        actions.push(Action::Log(Remark::FsdSignal { signal }));
        match self.phase {
            Phase::Watching => self.begin_stopping(now, Reason::Ordered, actions),
            Phase::Failed { .. } => actions.push(Action::Log(Remark::AlreadyTried)),
            Phase::Stopping(_) | Phase::Over => {}
        }
    }

    fn stop(&mut self, now: Moment, signal: i32, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::Watching | Phase::Failed { .. } => {
                actions.extend([Action::Log(Remark::Exiting { signal }), Action::LogOutAndExit]);
                self.phase = Phase::Over;
            }
            Phase::Stopping(_) => self.stopping(now, stopping::Event::Stop { signal }, actions),
            Phase::Over => {}
        }
    }

    fn parent_is_gone(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.parent_gone.is_some() {
            return;
        }
        self.parent_gone = Some(now);
        self.tell_parent_is_gone(actions);
        self.stopping(now, stopping::Event::ParentGone, actions);
    }

    fn tell_parent_is_gone(&self, actions: &mut Vec<Action>) {
        actions.push(Action::Notify(self.notices.render(NoticeKind::NoParent, None, None)));
        actions.push(Action::Log(Remark::ParentDied));
    }

    /// What time alone brings about: reminders, late answers, the decision, and then the next questions.
    fn go_on(&mut self, now: Moment, actions: &mut Vec<Action>) {
        match &mut self.phase {
            Phase::Over => return,
            Phase::Stopping(_) => return self.stopping(now, stopping::Event::Tick, actions),
            Phase::Watching => {}
            Phase::Failed { decided, flag, told, .. } => {
                if now.since(*told) >= REMIND_EVERY {
                    *told = now;
                    let (since, flag) = (now.since(*decided), flag.clone());
                    actions.push(Action::Log(Remark::NotStopped { since, flag }));
                }
            }
        }
        if self.parent_gone.is_some_and(|told| now.since(told) >= REMIND_EVERY) {
            self.parent_gone = Some(now);
            self.tell_parent_is_gone(actions);
        }
        self.count_late_answers(now, actions);
        self.decide(now, actions);
        self.ask_who_is_due(now, actions);
    }

    fn decide(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if !matches!(self.phase, Phase::Watching) {
            return;
        }
        match verdict(&self.supplies(), self.conf.min_supplies) {
            Verdict::Enough { .. } => self.short = None,
            Verdict::ShutDown(reason) => {
                let short = *self.short.get_or_insert(Short { since: now, is_heard_out: false });
                if now.since(short.since) >= SECOND_WORD || !self.is_help_on_its_way() {
                    self.begin_stopping(now, reason, actions);
                }
            }
        }
    }

    /// Whether a lost UPS has been asked and has not answered yet, or is to be asked at once since what we know of it is old,
    /// so that its answer could change everything. Not only one that was asked just now: if we did not run for some seconds,
    /// the answer may be there and not have been heard.
    fn is_help_on_its_way(&self) -> bool {
        let feeds = |one: &&Watched| one.line.power_value.0 > 0;
        let is_asked = |one: &Watched| one.out.is_some() || one.asked.is_none();
        self.watched.iter().filter(feeds).any(|one| one.watch.cause().is_some() && is_asked(one))
    }

    fn begin_stopping(&mut self, now: Moment, reason: Reason, actions: &mut Vec<Action>) {
        let is_primary = |one: &&Watched| one.watch.role() == Role::Primary;
        let is_mute = |one: &&Watched| one.is_out_of_reach(now);
        let concerned = Concerned {
            primary_of: self.watched.iter().filter(is_primary).map(|one| one.id).collect(),
            out_of_reach: self.watched.iter().filter(is_mute).map(|one| one.id).collect(),
            all: self.watched.iter().map(|one| one.id).collect(),
        };
        let terms = Terms::from(&self.conf);
        let (stopping, follows) = Stopping::begin(now, reason, concerned, terms, self.parent_gone.is_some());
        self.phase = Phase::Stopping(stopping);
        self.short = None;
        self.carry_on(now, follows, actions);
    }

    /// Has the shutdown take an event, if one is under way.
    fn stopping(&mut self, now: Moment, event: stopping::Event, actions: &mut Vec<Action>) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            let follows = stopping.step(now, event);
            self.carry_on(now, follows, actions);
        }
    }

    fn carry_on(&mut self, now: Moment, follows: Vec<stopping::Action>, actions: &mut Vec<Action>) {
        for action in follows {
            match action {
                stopping::Action::SetFsd(ups) => actions.push(Action::Ask(ups, Order::SetFsd)),
                stopping::Action::CountLogins(ups) => actions.push(Action::Ask(ups, Order::CountLogins)),
                stopping::Action::Notify(kind) => {
                    let reason = self.stopping_for().map(|reason| reason.to_string().into());
                    let notice = self.notices.render(kind, None, None);
                    actions.push(Action::Notify(Notice { reason, ..notice }));
                }
                stopping::Action::Wall => actions.push(Action::Wall(EXECUTING)),
                stopping::Action::Log(remark) => actions.push(Action::Log(remark)),
                stopping::Action::ToParent(word) => actions.push(Action::ToParent(word)),
                stopping::Action::HangUp => actions.push(Action::HangUp),
                stopping::Action::Fail => self.watch_on(now, actions),
                stopping::Action::Exit => {
                    actions.push(Action::Exit);
                    self.phase = Phase::Over;
                }
            }
        }
    }

    /// A shutdown has failed. Leaving now would leave the host unwatched as well: so go on telling what happens.
    fn watch_on(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let (decided, flag_is_set) = match &self.phase {
            Phase::Stopping(stopping) => (stopping.begun(), stopping.flag_is_set()),
            Phase::Watching | Phase::Failed { .. } | Phase::Over => (now, false),
        };
        let reason = self.stopping_for().cloned();
        let flag = self.last_orders().power_down_flag.as_deref().filter(|_| flag_is_set).map(Into::into);
        actions.push(Action::Log(Remark::NotStopped { since: now.since(decided), flag: flag.clone() }));
        self.phase = Phase::Failed { decided, reason, flag, told: now };
        actions.push(Action::HangUp);
        for one in &mut self.watched {
            one.asked = None;
            one.out = None;
            one.logged_in = false;
            let line = Line::new(&one.line, &self.conf.tls);
            actions.push(Action::Open(one.id, Box::new(line)));
        }
    }

    /// Why this host is being stopped, if it is.
    fn stopping_for(&self) -> Option<&Reason> {
        match &self.phase {
            Phase::Stopping(stopping) => Some(stopping.reason()),
            Phase::Watching | Phase::Failed { .. } | Phase::Over => None,
        }
    }

    fn is_shutting_down(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_) | Phase::Over)
    }

    fn next_wake(&self, now: Moment) -> Option<Moment> {
        match &self.phase {
            Phase::Over => return None,
            Phase::Stopping(stopping) => return stopping.next_wake(),
            Phase::Watching | Phase::Failed { .. } => {}
        }
        let rhythm = self.rhythm();
        let asks = self.watched.iter().filter_map(|one| one.due(rhythm));
        // While a question is out we look at the clock all the same: a standstill is only seen by who is late, and the
        // answer that waits when it is over would pass for a fresh one, with all that time between it and the last.
        let late = self.watched.iter().filter_map(|one| Some(one.out?.late_at.min(now + FASTEST)));
        let remind = |told: Moment| told + REMIND_EVERY;
        let failed = match self.phase {
            Phase::Failed { told, .. } => Some(remind(told)),
            Phase::Watching | Phase::Stopping(_) | Phase::Over => None,
        };
        asks.chain(late)
            .chain(self.short.map(|short| short.since + SECOND_WORD))
            .chain(self.parent_gone.map(remind))
            .chain(failed)
            .min()
    }
}

#[cfg(test)]
mod tests;
