//! What is being done, how it ends, and what is done next.

use super::commands::Job;
use super::contact::Contact;
use super::exchange::{Answer, Ask, Entry, Exchange, SMART_MODE, SmartEntry, Turn};
use super::power::{Checked, StatusCheck};
use super::round::{Round, RoundEnd};
use super::shutdown::ShutDown;
use super::start::{Start, StartEnd};
use super::timing::{FULL_SCAN_EVERY, QUERY, REOPEN_AFTER, TRY_EVERY};
use super::unit::Scope;
use super::{ApcSmart, Context};
use crate::driver::{Action, OrderId};
use nut_proto::Moment;
use nut_proto::driver::Judgement;

/// Starts of a unit that enters smart mode and then cannot be read, before the driver gives up.
const STARTS: u8 = 3;

/// Leaves smart mode.
const GOODBYE: u8 = b'R';

/// What is being done; it begins with the first question asked of it.
#[derive(Debug)]
pub(super) enum Task {
    Nothing,
    Start(Start),
    Recover(Recovery),
    Update(Round),
    Confirm(Option<StatusCheck>),
    Order(OrderId, Job),
    ShutDown(ShutDown),
    Leave,
}

/// One try to reach a silent unit.
#[derive(Debug)]
pub(super) struct Recovery {
    began: Moment,
    entry: Option<SmartEntry>,
    round: Round,
}

/// How a task ended.
pub(super) enum End {
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
    /// An exchange is over.
    pub(super) fn answered(&mut self, now: Moment, answer: Answer, out: &mut Vec<Action>) {
        self.exchange = None;
        self.is_just_smart = matches!(&answer, Answer::Reply(text) if text == SMART_MODE);
        self.is_smart |= self.is_just_smart;
        self.go_on(now, Some(answer), out);
    }

    /// Asks what the task wants next; when it has ended, takes the next one.
    pub(super) fn go_on(&mut self, now: Moment, mut answer: Option<Answer>, out: &mut Vec<Action>) {
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

    pub(super) fn drop_task(&mut self, out: &mut Vec<Action>) {
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
            Task::Confirm(check) => match (check, answer) {
                (Some(check), Some(answer)) => match check.take(answer, cx.power) {
                    Checked::Ask(ask) => Turn::Ask(ask),
                    end => Turn::End(End::Confirmed(end)),
                },
                (check, _) => {
                    let (begun, ask) = StatusCheck::begin(cx.power);
                    *check = Some(begun);
                    Turn::Ask(ask)
                }
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
            End::Started(StartEnd::Good) => self.known(out),
            End::Started(StartEnd::Dumb) if self.was_ready => {
                self.try_later(now, 0, "Y is not answered", out)
            }
            End::Started(StartEnd::Dumb) => {
                let why = self.why_not_smart();
                self.give_up(&why, out);
            }
            End::Started(StartEnd::Failed(why)) => {
                self.power.lose();
                let failures = match self.contact {
                    Contact::Unknown { failures, .. } => failures.saturating_add(1),
                    Contact::None | Contact::Good | Contact::Lost { .. } => 1,
                };
                if failures >= STARTS && !self.was_ready {
                    self.give_up(
                        &format!(
                            "the unit enters smart mode, but then cannot be read: {why}; check the cable"
                        ),
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
                    // It was never heard whole: what was found out of it may be wrong.
                    RoundEnd::Stale(why) if scope == Scope::First => self.try_later(now, 0, &why, out),
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
                self.peace_until = now.after(TRY_EVERY);
            }
            End::Left => self.left(out),
            End::Confirmed(Checked::Ask(_)) | End::Nothing => {}
        }
    }

    /// Chooses what to do when nothing is being done; gives whether there is something.
    pub(super) fn pick(&mut self, now: Moment, out: &mut Vec<Action>) -> bool {
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
        if now < self.peace_until {
            return Task::Nothing;
        }
        if let (Contact::Good, true) = (self.contact, self.power.to_confirm) {
            return Task::Confirm(None);
        }
        match self.contact {
            Contact::Good | Contact::Lost { .. } => {
                if let Some((id, job)) = self.waiting.pop_front() {
                    return Task::Order(id, job);
                }
            }
            Contact::None | Contact::Unknown { .. } => self.refuse_orders(out),
        }
        match self.contact {
            Contact::Good if self.wants.update => {
                let scope = match self.last_full_scan {
                    None => Scope::First,
                    Some(last) if now.since(last) <= FULL_SCAN_EVERY => Scope::Poll,
                    // Perhaps only noise kept it from telling what it has.
                    Some(_) if self.unit.is_doubtful => {
                        self.updated(out);
                        return Task::Start(Start::new());
                    }
                    Some(_) => Scope::Hourly,
                };
                Task::Update(Round::new(scope))
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
