//! Cutting the power: `-k`, `driver.killpower`, `shutdown.default`; one thing after another until one succeeds.

use super::settings::ShutdownStep;
use super::{ACQUAINTANCE, Core, Errand, Exit, Life, ORDER_LIMIT, PATIENCE, Port, Running};
use crate::driver::{Event as DriverEvent, Order, OrderId, Weight};
use nut_proto::Moment;
use nut_proto::driver::Judgement;
use std::collections::VecDeque;

/// A shutdown being tried.
pub(super) struct Sequence {
    pub(super) why: Why,
    steps: VecDeque<ShutdownStep>,
    tried: u64,
    failures: Vec<String>,
    /// Until when it waits for an update to end.
    pub(super) patience: Moment,
    /// Until when it waits for the device to be known.
    pub(super) known_by: Moment,
}

/// Who wants the power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// `-k`.
    CommandLine,
    /// `driver.killpower`: afterwards the process ends.
    KillPower(OrderId),
    /// `shutdown.default`.
    Default(OrderId),
}

impl Sequence {
    /// Whether what comes next can be done while the driver still gets to know the device.
    pub(super) fn needs_no_greeting(&self) -> bool {
        match self.steps.front() {
            Some(ShutdownStep::Default) | None => true,
            Some(ShutdownStep::Command(_)) => false,
        }
    }
}

impl Core {
    pub(super) fn begin_shutdown(&mut self, now: Moment, why: Why) {
        let possible = (matches!(self.port, Port::Ready { .. }) || why == Why::CommandLine)
            && self.sequence.is_none()
            && matches!(self.life, Life::Starting | Life::Serving);
        let steps = match why {
            Why::CommandLine | Why::KillPower(_) => self.settings.shutdown.clone(),
            Why::Default(_) => vec![ShutdownStep::Default],
        };
        if !possible {
            if let Why::KillPower(id) | Why::Default(id) = why {
                self.tell(
                    Weight::Error,
                    "cannot cut the power now: the device is out of reach, or it is being done",
                );
                self.judge(id, Judgement::Failed);
            }
            return;
        }
        self.tell(Weight::Warning, "Initiating UPS shutdown");
        self.state("fsd.killpower");
        self.sequence = Some(Sequence {
            why,
            steps: steps.into(),
            tried: 0,
            failures: Vec::new(),
            patience: now + PATIENCE,
            known_by: now + ACQUAINTANCE,
        });
    }

    pub(super) fn next_shutdown_step(&mut self, now: Moment) {
        let Some(sequence) = &mut self.sequence else { return };
        let until = now + ORDER_LIMIT;
        let Some(step) = sequence.steps.pop_front() else {
            let failures = std::mem::take(&mut sequence.failures);
            let text = if failures.is_empty() { "nothing to try".to_owned() } else { failures.join("; ") };
            return self.shutdown_ended(now, Err(text));
        };
        sequence.tried += 1;
        let id = OrderId::for_shutdown(sequence.tried);
        match step {
            ShutdownStep::Default => {
                self.running = Some(Running { what: Errand::ShutDown, until });
                self.hand(now, DriverEvent::ShutDown);
            }
            ShutdownStep::Command(name) => {
                self.running = Some(Running { what: Errand::Step(id, name.clone()), until });
                self.hand(now, DriverEvent::Order(id, Order::Command { name, param: None }));
            }
        }
    }

    /// The device has not become known in time: the command that waits for that has failed.
    pub(super) fn skip_shutdown_step(&mut self) {
        let step = self.sequence.as_mut().and_then(|sequence| sequence.steps.pop_front());
        if let Some(ShutdownStep::Command(name)) = step {
            let limit = ACQUAINTANCE.as_secs();
            self.note_failure(format!("{name}: the device has not told what it can do within {limit} s"));
        }
    }

    pub(super) fn step_ended(&mut self, now: Moment, result: Result<(), String>) {
        match result {
            Ok(()) => self.shutdown_ended(now, Ok(())),
            Err(failure) => self.note_failure(failure),
        }
    }

    pub(super) fn note_failure(&mut self, failure: String) {
        self.tell(Weight::Warning, format!("shutdown: {failure}"));
        if let Some(sequence) = &mut self.sequence {
            sequence.failures.push(failure);
        }
    }

    pub(super) fn shutdown_ended(&mut self, now: Moment, result: Result<(), String>) {
        let Some(sequence) = self.sequence.take() else { return };
        let failure = result.err().map(|why| format!("the power could not be cut: {why}"));
        let judgement = if failure.is_none() { Judgement::Handled } else { Judgement::Failed };
        match &failure {
            None => self.tell(Weight::Info, "the device took the order to cut the power"),
            // Of `-k` it is the process' last word.
            Some(_) if sequence.why == Why::CommandLine => {}
            Some(text) => self.tell(Weight::Error, text.clone()),
        }
        self.at_rest();
        match (sequence.why, failure) {
            (Why::CommandLine, failure) => {
                let exit = failure.map_or(Exit::SUCCESS, Exit::failure);
                self.leave(now, exit);
            }
            (Why::KillPower(id), None) => {
                self.judge(id, judgement);
                self.leave(now, Exit::SUCCESS);
            }
            (Why::KillPower(id) | Why::Default(id), _) => self.judge(id, judgement),
        }
    }
}
