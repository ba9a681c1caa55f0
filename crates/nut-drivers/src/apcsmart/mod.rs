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
//! | `task` | what is being done, how it ends, what is done next |
//! | `contact` | how things stand with the unit, and what is said of it |
//! | `options`, `timing` | what is configured, how long everything takes |
//!
//! Two layers: an exchange knows bytes and moments; a task (start, round, order, shutdown) only knows answers and what
//! to ask next. [`ApcSmart`] holds at most one of each and decides between two exchanges what goes on.

use crate::driver::{About, Action, Driver, Event, Note, Order, OrderId, PortPlan, Weight};
use crate::options::{Given, Kind, Made, OptionsError};
use nut_proto::Moment;
use nut_proto::driver::Judgement;
use std::collections::VecDeque;

pub mod capability;
pub mod protocol;

mod commands;
mod contact;
mod exchange;
mod firmware;
mod options;
mod power;
mod question;
mod round;
mod set;
mod shutdown;
mod start;
mod task;
mod timing;
mod unit;
mod variables;

#[cfg(test)]
mod tests;

use commands::{Job, Twice};
use contact::Contact;
use exchange::Exchange;
use options::Options;
use power::Power;
use protocol::{Alert, Decoder, Input};
use set::Setting;
use task::Task;
use unit::Unit;

/// What this driver says of itself.
pub const ABOUT: About =
    About { name: "apcsmart", title: "APC Smart protocol driver", version: "1.0", options: options::TABLE };

/// The driver, as its program needs it.
pub const KIND: Kind = Kind { about: &ABOUT, make };

fn make(given: &Given<'_>) -> Result<Made, OptionsError> {
    let options = given.options.iter().map(|option| (option.name.as_str(), option.value.as_deref()));
    let (driver, plan) = ApcSmart::configure(options)?;
    Ok((Box::new(driver), plan))
}

/// Most orders that wait. The core sends one at a time.
const MAX_WAITING: usize = 16;

/// Most bytes of a wrong device that are shown.
const MAX_FIRST: usize = 40;

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
    /// The first bytes that ever came: for who must find out what is at the other end. At most [`MAX_FIRST`].
    first_bytes: Vec<u8>,
    /// Whether [`Action::DataOk`] was said last, and not [`Action::DataStale`].
    is_fresh: bool,
    /// Whether the unit answered `Y` and has not fallen silent since.
    is_smart: bool,
    /// Whether the last exchange was just that.
    is_just_smart: bool,
    last_full_scan: Option<Moment>,
    /// Until then nothing is begun that nobody asked for.
    peace_until: Moment,
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
            first_bytes: Vec::new(),
            is_fresh: false,
            is_smart: false,
            is_just_smart: false,
            last_full_scan: None,
            peace_until: Moment::START,
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
        if !self.was_ready {
            let room = MAX_FIRST - self.first_bytes.len();
            self.first_bytes.extend(bytes.iter().take(room));
        }
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
        // An order is not kept for a unit that must be got to know first: who gave it may have given it up by then.
        let is_known = matches!(self.contact, Contact::Good | Contact::Lost { .. });
        let can_wait = is_known && self.waiting.len() < MAX_WAITING;
        let (options, unit, power) = (&self.options, &mut self.unit, &mut self.power);
        let mut cx = Context { now, options, unit, power, out };
        let job = match order {
            Order::Command { name, param } => {
                commands::dispatch(&name, param.as_deref(), id.is_shutdown(), &mut self.twice, &mut cx)
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
            (None, Contact::Unknown { next_try, .. } | Contact::Lost { next_try, .. }) => {
                Some(next_try.max(self.peace_until))
            }
            (None, Contact::Good) if now < self.peace_until => Some(self.peace_until),
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
