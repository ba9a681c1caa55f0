//! The driver for APC units with the "smart" serial protocol (UPS-Link).
//!
//! Pure: no I/O, no clock, no log. Specifications: apc-smart-protocol (the unit's side), apcsmart-driver (NUT's side).
//!
//! | file | what |
//! |---|---|
//! | [`protocol`] | bytes as replies, alerts, confirmations |
//! | `exchange` | one exchange: bytes with their pauses, then at most one reply |
//! | `question` | one question whose answer is judged before anybody believes it |
//! | `power` | the status byte, the alerts that change it, when it is believed |
//! | `variables` | the table of variables |
//! | [`capability`] | which values a setting may have (`^Z`) |
//! | `firmware` | units that cannot tell their commands |
//! | `unit` | what is known of the unit |
//! | `start` | getting to know it |
//! | `round` | one round of questions |
//! | `commands` | instant commands |
//! | `set` | changing settings |
//! | `shutdown` | cutting the power |
//! | `options`, `timing` | what is configured, how long everything takes |
//!
//! Two layers: an exchange knows bytes and moments; a task (start, round, order, shutdown) only knows answers and what
//! to ask next. [`ApcSmart`] holds at most one of each and decides between two exchanges what goes on.

use crate::driver::{
    About, Action, Driver, Event, Note, Order, OrderId, PortPlan, Weight,
};
use crate::options::{Given, Kind, OptionsError};
use nut_proto::Moment;
use nut_proto::driver::Judgement;
use std::collections::VecDeque;

pub mod capability;
pub mod protocol;

mod commands;
mod exchange;
mod firmware;
mod options;
mod power;
mod question;
mod round;
mod set;
mod shutdown;
mod start;
mod timing;
mod unit;
mod variables;

#[cfg(test)]
mod tests;

use commands::{Job, Twice};
use exchange::{Answer, Ask, Entry, Exchange, SMART_MODE, SmartEntry, Turn};
use options::Options;
use power::{Checked, Power, StatusCheck};
use protocol::{Alert, Decoder, Input};
use round::{Round, RoundEnd};
use set::Setting;
use shutdown::ShutDown;
use start::{Start, StartEnd};
use timing::{FULL_SCAN_EVERY, QUERY, REOPEN_AFTER, TRY_EVERY};
use unit::{Scope, Unit};

/// What this driver says of itself.
pub const ABOUT: About = About {
    name: "apcsmart",
    title: "APC Smart protocol driver",
    version: "1.0",
    options: options::TABLE,
};

/// The driver, as its program needs it.
pub const KIND: Kind = Kind { about: &ABOUT, make };

fn make(given: &Given<'_>) -> Result<(Box<dyn Driver>, PortPlan), OptionsError> {
    let options = given.options.iter().map(|option| (option.name.as_str(), option.value.as_deref()));
    let (driver, plan) = ApcSmart::configure(options)?;
    Ok((Box::new(driver), plan))
}

/// Most orders that wait. The core sends one at a time.
const MAX_WAITING: usize = 16;

/// Starts of a unit that enters smart mode and then cannot be read, before the driver gives up.
const STARTS: u8 = 3;

/// Leaves smart mode.
const GOODBYE: u8 = b'R';

/// What every task may use.
struct Context<'a> {
    now: Moment,
    options: &'a Options,
    unit: &'a mut Unit,
    power: &'a mut Power,
    out: &'a mut Vec<Action>,
}

impl Context<'_> {
    /// Something a person should know.
    fn tell(&mut self, weight: Weight, text: &str) {
        self.out.push(Action::Tell(Note { weight, text: text.to_owned() }));
    }
}

/// The driver.
#[derive(Debug)]
pub struct ApcSmart {
    options: Options,
    decoder: Decoder,
    exchange: Option<Exchange>,
    task: Task,
    contact: Contact,
    unit: Unit,
    power: Power,
    twice: Twice,
    waiting: VecDeque<(OrderId, Job)>,
    wants: Wants,
    /// Whether the unit was told of as ready once: from then on the driver does not give up.
    was_ready: bool,
    /// Whether [`Action::DataOk`] was said last, and not [`Action::DataStale`].
    is_fresh: bool,
    /// Whether the unit answered `Y` and has not fallen silent since.
    is_smart: bool,
    /// Whether the last exchange was just that.
    is_just_smart: bool,
    last_full_scan: Option<Moment>,
    /// The moment last asked for.
    wake: Option<Moment>,
}

/// What others wait for.
#[derive(Debug, Default)]
struct Wants {
    update: bool,
    shut_down: bool,
    leave: bool,
    /// [`Action::Ready`] for the last [`Event::Opened`].
    ready: bool,
}

/// How things stand between us and the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    /// There is no port, or nothing is to be said on it any more.
    None,
    /// The unit is not known yet.
    Unknown {
        /// When to try.
        next_try: Moment,
        /// How often that failed behind the first reply.
        failures: u8,
    },
    /// It is known and answers.
    Good,
    /// It is known and does not.
    Lost {
        /// Since when, or since the port was last opened again for it.
        since: Moment,
        /// When to try.
        next_try: Moment,
    },
}

/// What is being done.
#[derive(Debug)]
enum Task {
    Nothing,
    Start(Start),
    Recover(Recovery),
    Update(Round),
    Confirm(StatusCheck),
    Order(OrderId, Job),
    ShutDown(ShutDown),
    Leave,
}

/// One try to reach a silent unit.
#[derive(Debug)]
struct Recovery {
    began: Moment,
    entry: Option<SmartEntry>,
    round: Round,
}

/// How a task ended.
enum End {
    Started(StartEnd),
    Recovered(Moment, Option<RoundEnd>),
    Updated(Scope, RoundEnd),
    Confirmed(Checked),
    Ordered(OrderId, Judgement),
    ShutDown(Result<(), String>),
    Left,
    Nothing,
}

impl ApcSmart {
    /// A driver with these options, and how its port is opened. A name without value counts as not given; names of
    /// other parts are not looked at.
    ///
    /// # Errors
    /// The first value, in NUT's order, that is not possible.
    pub fn configure<'a>(
        options: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(Self, PortPlan), OptionsError> {
        let (options, plan) = options::read(options)?;
        Ok((Self::new(options), plan))
    }

    fn new(options: Options) -> Self {
        Self {
            options,
            decoder: Decoder::default(),
            exchange: None,
            task: Task::Nothing,
            contact: Contact::None,
            unit: Unit::default(),
            power: Power::default(),
            twice: Twice::default(),
            waiting: VecDeque::new(),
            wants: Wants::default(),
            was_ready: false,
            is_fresh: false,
            is_smart: false,
            is_just_smart: false,
            last_full_scan: None,
            wake: None,
        }
    }

    fn opened(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.lost(now, out);
        self.wants.ready = true;
        self.contact = if self.was_ready && self.last_full_scan.is_some() {
            Contact::Lost { since: now, next_try: now }
        } else {
            Contact::Unknown { next_try: now, failures: 0 }
        };
    }

    /// The port is gone: everything under way ends.
    fn lost(&mut self, now: Moment, out: &mut Vec<Action>) {
        let task = std::mem::replace(&mut self.task, Task::Nothing);
        self.exchange = None;
        self.decoder.rest();
        self.contact = Contact::None;
        self.wake = None;
        self.fall_silent();
        match task {
            Task::Order(id, _) => out.push(Action::Done(id, Judgement::Failed)),
            Task::ShutDown(_) => {
                self.wants.shut_down = false;
                out.push(Action::ShutDownEnded(Err("the port was lost on the way".to_owned())));
            }
            Task::Nothing
            | Task::Start(_)
            | Task::Recover(_)
            | Task::Update(_)
            | Task::Confirm(_)
            | Task::Leave => {}
        }
        self.tell_stale("the port is gone", out);
        self.pick(now, out);
    }

    fn heard(&mut self, now: Moment, bytes: &[u8], out: &mut Vec<Action>) {
        for input in self.decoder.push(bytes) {
            match input {
                Input::Alert(alert) => self.alert(alert, out),
                Input::PerhapsAlert => self.power.to_confirm = true,
                Input::Reply(_) | Input::Star | Input::Overlong => {
                    let Some(exchange) = &mut self.exchange else { continue };
                    if let Some(answer) = exchange.take(now, input, &mut self.decoder) {
                        self.answered(now, answer, out);
                    }
                }
            }
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.heard(now, &self.decoder);
        }
    }

    fn alert(&mut self, alert: Alert, out: &mut Vec<Action>) {
        if let Some(reading) = self.power.alert(alert) {
            out.push(Action::Report(reading));
        }
        if alert == Alert::SwitchingOff && self.contact == Contact::Good {
            let text = "the unit says that it is about to switch its output off".to_owned();
            out.push(Action::Tell(Note { weight: Weight::Warning, text }));
        }
    }

    fn ordered(&mut self, now: Moment, id: OrderId, order: Order, out: &mut Vec<Action>) {
        let can_wait = self.waiting.len() < MAX_WAITING && self.contact != Contact::None;
        let (options, unit, power) = (&self.options, &mut self.unit, &mut self.power);
        let mut cx = Context { now, options, unit, power, out };
        let job = match order {
            Order::Command { name, param } => {
                commands::dispatch(&name, param.as_deref(), &mut self.twice, &mut cx)
            }
            Order::Set { name, value } => Setting::new(&name, &value, cx.unit).map(Job::Set),
        };
        match job {
            Ok(job) if can_wait => self.waiting.push_back((id, job)),
            Ok(_) => out.push(Action::Done(id, Judgement::Failed)),
            Err(judgement) => out.push(Action::Done(id, judgement)),
        }
    }

    /// The driver shall end. A question under way is dropped, a command is not.
    fn leave(&mut self, out: &mut Vec<Action>) {
        self.wants.leave = true;
        let may_be_dropped = match &self.task {
            Task::Start(_) | Task::Recover(_) | Task::Update(_) | Task::Confirm(_) => true,
            Task::Nothing | Task::Order(..) | Task::ShutDown(_) | Task::Leave => false,
        };
        if may_be_dropped && self.exchange.as_ref().is_none_or(Exchange::may_be_dropped) {
            self.exchange = None;
            self.decoder.rest();
            self.drop_task(out);
        }
    }

    fn drop_task(&mut self, out: &mut Vec<Action>) {
        match std::mem::replace(&mut self.task, Task::Nothing) {
            Task::Update(_) => self.updated(out),
            Task::Order(id, _) => out.push(Action::Done(id, Judgement::Failed)),
            Task::Nothing
            | Task::Start(_)
            | Task::Recover(_)
            | Task::Confirm(_)
            | Task::ShutDown(_)
            | Task::Leave => {}
        }
    }

    /// An exchange is over.
    fn answered(&mut self, now: Moment, answer: Answer, out: &mut Vec<Action>) {
        self.exchange = None;
        self.is_just_smart = matches!(&answer, Answer::Reply(text) if text == SMART_MODE);
        self.is_smart |= self.is_just_smart;
        self.go_on(now, Some(answer), out);
    }

    /// Asks what the task wants next; when it has ended, takes the next one.
    fn go_on(&mut self, now: Moment, mut answer: Option<Answer>, out: &mut Vec<Action>) {
        loop {
            match self.turn(now, answer.take(), out) {
                Turn::Ask(_) if self.is_cut_short() => self.drop_task(out),
                Turn::Ask(ask) => {
                    self.exchange = Some(Exchange::begin(ask, now, &mut self.decoder, out));
                    return;
                }
                Turn::End(end) => {
                    self.task = Task::Nothing;
                    self.conclude(now, end, out);
                }
            }
            if !self.pick(now, out) {
                return;
            }
        }
    }

    /// Whether the task gives way to something that does not wait.
    fn is_cut_short(&self) -> bool {
        match &self.task {
            Task::Start(_) | Task::Recover(_) | Task::Update(_) | Task::Confirm(_) => {
                self.wants.shut_down || self.wants.leave
            }
            Task::Order(_, job) => self.wants.leave && !self.wants.shut_down && job.may_be_dropped(),
            Task::Nothing | Task::ShutDown(_) | Task::Leave => false,
        }
    }

    fn turn(&mut self, now: Moment, answer: Option<Answer>, out: &mut Vec<Action>) -> Turn<End> {
        let (options, unit, power) = (&self.options, &mut self.unit, &mut self.power);
        let mut cx = Context { now, options, unit, power, out };
        match &mut self.task {
            Task::Nothing => Turn::End(End::Nothing),
            Task::Start(start) => start.next(answer, &mut cx).map(End::Started),
            Task::Recover(recovery) => recovery.next(answer, &mut cx),
            Task::Update(round) => {
                let scope = round.scope();
                round.next(answer, &mut cx).map(|end| End::Updated(scope, end))
            }
            Task::Confirm(check) => match answer {
                None => {
                    let (begun, ask) = StatusCheck::begin(cx.power);
                    *check = begun;
                    Turn::Ask(ask)
                }
                Some(answer) => match check.take(answer, cx.power) {
                    Checked::Ask(ask) => Turn::Ask(ask),
                    end => Turn::End(End::Confirmed(end)),
                },
            },
            Task::Order(id, job) => {
                let id = *id;
                job.next(answer, &mut cx).map(|judgement| End::Ordered(id, judgement))
            }
            Task::ShutDown(shut_down) => shut_down.next(answer, &mut cx).map(End::ShutDown),
            Task::Leave => match answer {
                None => Turn::Ask(Ask::value(GOODBYE, QUERY)),
                Some(_) => Turn::End(End::Left),
            },
        }
    }

    fn conclude(&mut self, now: Moment, end: End, out: &mut Vec<Action>) {
        match end {
            End::Started(StartEnd::Good) => self.known(now, out),
            End::Started(StartEnd::Dumb) if self.was_ready => self.try_later(now, 0, "Y is not answered", out),
            End::Started(StartEnd::Dumb) => {
                self.give_up(
                    "the unit does not answer: check that it is on, that the port is the right one and no other \
                     program uses it, and that the cable is a smart one (940-0024; with 940-0095 set cable = \
                     940-0095B). Units of the SMT, SMX and later series speak another protocol (Microlink); with \
                     APC's card AP9620 (Legacy Communications SmartSlot Card) they speak this one",
                    out,
                );
            }
            End::Started(StartEnd::Failed(why)) => {
                self.power.lose();
                let failures = match self.contact {
                    Contact::Unknown { failures, .. } => failures.saturating_add(1),
                    Contact::None | Contact::Good | Contact::Lost { .. } => 1,
                };
                if failures >= STARTS && !self.was_ready {
                    self.give_up(
                        &format!("the unit enters smart mode, but then cannot be read: {why}; check the cable"),
                        out,
                    );
                } else {
                    self.try_later(now, failures, &why, out);
                }
            }
            End::Recovered(_, Some(RoundEnd::Good)) => self.good_again(now, Scope::Recovery, out),
            End::Recovered(began, _) => {
                self.fall_silent();
                let since = match self.contact {
                    Contact::Lost { since, .. } => since,
                    Contact::None | Contact::Unknown { .. } | Contact::Good => now,
                };
                self.contact = Contact::Lost { since, next_try: began.after(TRY_EVERY).max(now) };
                if let End::Recovered(_, Some(RoundEnd::Swapped(how))) = end {
                    self.swapped(now, &how, out);
                }
            }
            End::Updated(scope, end) => {
                match end {
                    RoundEnd::Good => self.good_again(now, scope, out),
                    RoundEnd::Stale(why) => self.stale(now, &why, out),
                    RoundEnd::Swapped(how) => self.swapped(now, &how, out),
                }
                self.updated(out);
            }
            End::Confirmed(Checked::Believed(status)) => {
                out.push(Action::Report(self.power.believe(status)));
            }
            End::Confirmed(Checked::Failed(why)) => self.stale(now, &why, out),
            End::Ordered(id, judgement) => out.push(Action::Done(id, judgement)),
            End::ShutDown(result) => {
                self.wants.shut_down = false;
                out.push(Action::ShutDownEnded(result));
                // The unit is left in peace for a moment: a driver that only cuts the power says goodbye now.
                match &mut self.contact {
                    Contact::Unknown { next_try, .. } | Contact::Lost { next_try, .. } => {
                        *next_try = now.after(TRY_EVERY);
                    }
                    Contact::None | Contact::Good => {}
                }
            }
            End::Left => self.left(out),
            End::Confirmed(Checked::Ask(_)) | End::Nothing => {}
        }
    }

    /// The unit is known, from the beginning or again from the beginning.
    fn known(&mut self, now: Moment, out: &mut Vec<Action>) {
        let (variables, commands) = self.unit.counts();
        let name = |name: &str| self.unit.value(name).map_or("?", |value| value.as_str().trim_end());
        let text = format!(
            "the unit is a {}, firmware {}: {variables} variables, {commands} commands",
            name("ups.model"),
            name("ups.firmware"),
        );
        out.push(Action::Tell(Note { weight: Weight::Info, text }));
        self.good_again(now, Scope::First, out);
    }

    /// All that was asked is known.
    fn good_again(&mut self, now: Moment, scope: Scope, out: &mut Vec<Action>) {
        self.contact = Contact::Good;
        if scope != Scope::Poll {
            self.last_full_scan = Some(now);
        }
        if !self.is_fresh {
            self.is_fresh = true;
            out.push(Action::DataOk);
        }
        if self.wants.ready {
            self.wants.ready = false;
            self.was_ready = true;
            out.push(Action::Ready);
        }
    }

    fn stale(&mut self, now: Moment, why: &str, out: &mut Vec<Action>) {
        self.fall_silent();
        self.contact = Contact::Lost { since: now, next_try: now.after(TRY_EVERY) };
        self.tell_stale(why, out);
    }

    fn fall_silent(&mut self) {
        self.is_smart = false;
        self.power.lose();
    }

    fn tell_stale(&mut self, why: &str, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.is_fresh) {
            out.push(Action::DataStale { reason: why.to_owned() });
        }
    }

    /// Another unit answers: what was known of the old one is no longer true.
    fn swapped(&mut self, now: Moment, how: &str, out: &mut Vec<Action>) {
        let text = format!("another unit answers: {how}; getting to know it");
        self.tell_stale(&text, out);
        out.push(Action::Tell(Note { weight: Weight::Warning, text }));
        self.unit.forget(out);
        self.power.forget();
        self.last_full_scan = None;
        self.contact = Contact::Unknown { next_try: now, failures: 0 };
    }

    fn try_later(&mut self, now: Moment, failures: u8, why: &str, out: &mut Vec<Action>) {
        self.fall_silent();
        self.tell_stale(why, out);
        self.contact = Contact::Unknown { next_try: now.after(TRY_EVERY), failures };
    }

    fn give_up(&mut self, why: &str, out: &mut Vec<Action>) {
        self.contact = Contact::None;
        out.push(Action::GiveUp { reason: why.to_owned() });
    }

    fn left(&mut self, out: &mut Vec<Action>) {
        self.wants.leave = false;
        self.contact = Contact::None;
        self.power.lose();
        out.push(Action::Farewell);
    }

    fn updated(&mut self, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.wants.update) {
            out.push(Action::Updated);
        }
    }

    /// Chooses what to do when nothing is being done; gives whether there is something.
    fn pick(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
        if !matches!(self.task, Task::Nothing) {
            return true;
        }
        if self.contact == Contact::None {
            self.refuse_everything(out);
            return false;
        }
        if self.wants.shut_down {
            self.task = Task::ShutDown(ShutDown::new(self.is_just_smart));
        } else if self.wants.leave {
            if !self.is_smart {
                // A unit that does not answer is not waited for.
                out.push(Action::Send(vec![GOODBYE]));
                self.left(out);
                self.refuse_everything(out);
                return false;
            }
            self.task = Task::Leave;
        } else {
            self.task = self.pick_ordinary(now, out);
        }
        !matches!(self.task, Task::Nothing)
    }

    fn pick_ordinary(&mut self, now: Moment, out: &mut Vec<Action>) -> Task {
        if let (Contact::Good, true) = (self.contact, self.power.to_confirm) {
            return Task::Confirm(StatusCheck::begin(&mut self.power).0);
        }
        if matches!(self.contact, Contact::Good | Contact::Lost { .. })
            && let Some((id, job)) = self.waiting.pop_front()
        {
            return Task::Order(id, job);
        }
        match self.contact {
            Contact::Good if self.wants.update => {
                let is_full_due =
                    self.last_full_scan.is_none_or(|last| now.since(last) > FULL_SCAN_EVERY);
                if is_full_due && self.unit.is_doubtful {
                    // Perhaps only noise kept it from telling what it has.
                    self.updated(out);
                    return Task::Start(Start::new());
                }
                Task::Update(Round::new(if is_full_due { Scope::Hourly } else { Scope::Poll }))
            }
            Contact::Unknown { next_try, .. } if now >= next_try => Task::Start(Start::new()),
            Contact::Lost { since, next_try } if now >= next_try => {
                if now.since(since) >= REOPEN_AFTER {
                    self.contact = Contact::Lost { since: now, next_try: now.after(TRY_EVERY) };
                    let reason = format!("the unit has been silent for {} s", REOPEN_AFTER.as_secs());
                    out.push(Action::Reopen { reason });
                    return Task::Nothing;
                }
                let (entry, round) = (Some(SmartEntry::new(1)), Round::new(Scope::Recovery));
                Task::Recover(Recovery { began: now, entry, round })
            }
            Contact::None | Contact::Unknown { .. } | Contact::Good | Contact::Lost { .. } => Task::Nothing,
        }
    }

    /// Without a port, whoever waits is told so.
    fn refuse_everything(&mut self, out: &mut Vec<Action>) {
        for (id, _) in self.waiting.drain(..) {
            out.push(Action::Done(id, Judgement::Failed));
        }
        if std::mem::take(&mut self.wants.shut_down) {
            out.push(Action::ShutDownEnded(Err("the port is not open".to_owned())));
        }
        if std::mem::take(&mut self.wants.leave) {
            out.push(Action::Farewell);
        }
    }

    /// Does what is due at this moment.
    fn attend(&mut self, now: Moment, out: &mut Vec<Action>) {
        if let Some(exchange) = &mut self.exchange
            && let Some(answer) = exchange.tick(now, &mut self.decoder, out)
        {
            self.answered(now, answer, out);
        }
        if self.exchange.is_none() && self.pick(now, out) {
            self.go_on(now, None, out);
        }
        // An update is not kept waiting by a unit that does not answer.
        if self.contact != Contact::Good && !matches!(self.task, Task::Update(_)) {
            self.updated(out);
        }
        self.ask_to_be_woken(now, out);
    }

    fn ask_to_be_woken(&mut self, now: Moment, out: &mut Vec<Action>) {
        let next = match (&self.exchange, self.contact) {
            (Some(exchange), _) => Some(exchange.deadline()),
            (None, Contact::Unknown { next_try, .. } | Contact::Lost { next_try, .. }) => Some(next_try),
            (None, Contact::None | Contact::Good) => None,
        };
        let has_passed = self.wake.is_some_and(|wake| wake <= now);
        if let Some(next) = next
            && (has_passed || self.wake != Some(next))
        {
            self.wake = Some(next);
            out.push(Action::WakeAt(next));
        }
    }
}

impl Driver for ApcSmart {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, now: Moment, event: Event<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Opened => self.opened(now, &mut out),
            Event::Received(bytes) => self.heard(now, bytes, &mut out),
            Event::Lost => self.lost(now, &mut out),
            Event::Tick => {}
            Event::Update => self.wants.update = true,
            Event::Order(id, order) => self.ordered(now, id, order, &mut out),
            Event::ShutDown => self.wants.shut_down = true,
            Event::Leave => self.leave(&mut out),
        }
        self.attend(now, &mut out);
        out
    }
}

impl Recovery {
    fn next(&mut self, answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<End> {
        let began = self.began;
        let Some(entry) = &mut self.entry else {
            return self.round.next(answer, cx).map(|end| End::Recovered(began, Some(end)));
        };
        match entry.next(answer) {
            Entry::Ask(ask) => Turn::Ask(ask),
            Entry::Dumb => Turn::End(End::Recovered(began, None)),
            Entry::Smart => {
                self.entry = None;
                self.round.next(None, cx).map(|end| End::Recovered(began, Some(end)))
            }
        }
    }
}
