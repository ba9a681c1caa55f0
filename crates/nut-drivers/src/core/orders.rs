//! What readers want of a driver: the core's own commands and variables, and orders for the device, one at a time.

use super::shutdown::Why;
use super::{Action, Core, Errand, Exit, Life, ORDER_LIMIT, Port, Reload, Running};
use crate::driver::{Order, OrderId, Weight};
use nut_proto::Moment;
use nut_proto::device::Value;
use nut_proto::driver::Judgement;
use nut_proto::names::VarName;

/// A command of the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    KillPower,
    ShutDown,
    Exit,
    Reload(Reload),
}

/// The core's commands. All but `driver.exit` are shown to readers, as in NUT: so `upsd` cannot forward that one.
pub(super) const COMMANDS: [(&str, Command); 6] = [
    ("driver.exit", Command::Exit),
    ("driver.killpower", Command::KillPower),
    ("driver.reload", Command::Reload(Reload::Keep)),
    ("driver.reload-or-error", Command::Reload(Reload::OrError)),
    ("driver.reload-or-exit", Command::Reload(Reload::OrExit)),
    ("shutdown.default", Command::ShutDown),
];

impl Core {
    pub(super) fn order(&mut self, now: Moment, id: OrderId, order: Order) {
        match &order {
            Order::Command { name, .. } => {
                let known = COMMANDS.iter().find(|(text, _)| name.is(text));
                if let Some((_, command)) = known {
                    return self.command(now, id, *command);
                }
            }
            Order::Set { name, value } => {
                if let Some(judgement) = self.set_own(name, value) {
                    return self.judge(id, judgement);
                }
            }
        }
        let serving = matches!(self.port, Port::Ready { .. }) && self.life == Life::Serving;
        if serving {
            self.orders.push_back((now + ORDER_LIMIT, id, order));
        } else {
            self.judge(id, Judgement::Failed);
        }
    }

    pub(super) fn command(&mut self, now: Moment, id: OrderId, command: Command) {
        match command {
            Command::KillPower => {
                let allowed =
                    self.device.get("driver.flag.allow_killpower").is_some_and(|v| v.as_str() == "1");
                if !allowed {
                    self.tell(
                        Weight::Warning,
                        "driver.killpower refused: driver.flag.allow_killpower is not set",
                    );
                    return self.judge(id, Judgement::Invalid);
                }
                self.begin_shutdown(now, Why::KillPower(id));
            }
            Command::ShutDown => self.begin_shutdown(now, Why::Default(id)),
            Command::Exit => {
                self.tell(Weight::Info, "told to end by driver.exit");
                self.judge(id, Judgement::Handled);
                self.leave(now, Exit::SUCCESS);
            }
            Command::Reload(reload) => self.begin_reload(reload, Some(id)),
        }
    }

    /// Sets one of the core's own variables; nothing if it is none.
    pub(super) fn set_own(&mut self, name: &VarName, value: &Value) -> Option<Judgement> {
        if name.is("driver.debug") {
            let Ok(level) = value.as_str().trim().parse::<i64>() else { return Some(Judgement::Invalid) };
            let level = match u8::try_from(level) {
                Ok(level) => level,
                Err(_) if level < 0 => self.settings.debug,
                Err(_) => u8::MAX,
            };
            self.set("driver.debug", &level.to_string());
            self.out.push(Action::SetDebug(level));
            return Some(Judgement::Handled);
        }
        if name.is("driver.flag.allow_killpower") {
            self.set("driver.flag.allow_killpower", if means_yes(value.as_str()) { "1" } else { "0" });
            return Some(Judgement::Handled);
        }
        let known = self.device.variable(name.as_str());
        let is_cores = name.as_str().to_ascii_lowercase().starts_with("driver.");
        match known {
            Some(variable) if variable.is_fixed() || is_cores => Some(Judgement::Invalid),
            None if is_cores => Some(Judgement::Unknown),
            Some(_) | None => None,
        }
    }

    pub(super) fn judge(&mut self, id: OrderId, judgement: Judgement) {
        self.show_status();
        self.out.push(Action::Done(id, judgement));
    }

    pub(super) fn ended(&mut self, now: Moment, id: OrderId, judgement: Judgement) {
        match &self.running {
            Some(Running { what: Errand::Order(running), .. }) if *running == id => {
                self.running = None;
                self.judge(id, judgement);
            }
            Some(Running { what: Errand::Step(running, name), .. }) if *running == id => {
                let result = if judgement == Judgement::Handled {
                    Ok(())
                } else {
                    Err(format!("{name}: result {}", judgement.code()))
                };
                self.running = None;
                self.step_ended(now, result);
            }
            // The end of something that has been given up.
            Some(_) | None => {}
        }
    }

    /// What runs takes too long: it is given up, and what comes after it gets its turn.
    pub(super) fn out_of_time(&mut self) {
        match self.running.take().map(|running| running.what) {
            Some(Errand::Order(id)) => {
                self.tell(Weight::Warning, "an order had no result within its time");
                self.judge(id, Judgement::Failed);
            }
            Some(Errand::Step(_, name)) => self.note_failure(format!("{name}: no result within its time")),
            Some(Errand::ShutDown) => self.note_failure("shutdown.default: no result within its time".into()),
            None => {}
        }
    }

    pub(super) fn fail_orders(&mut self) {
        let running = match self.running.take().map(|running| running.what) {
            Some(Errand::Order(id)) => Some(id),
            Some(Errand::Step(..) | Errand::ShutDown) | None => None,
        };
        let waiting: Vec<OrderId> = self.orders.drain(..).map(|(_, id, _)| id).collect();
        for id in running.into_iter().chain(waiting) {
            self.judge(id, Judgement::Failed);
        }
        if let Some(sequence) = self.sequence.take() {
            match sequence.why {
                Why::KillPower(id) | Why::Default(id) => self.judge(id, Judgement::Failed),
                Why::CommandLine => {}
            }
        }
        if let Some((_, Some(id))) = self.reload.take() {
            self.judge(id, Judgement::Failed);
        }
    }
}

/// What counts as yes for `driver.flag.allow_killpower`.
fn means_yes(text: &str) -> bool {
    let text = text.trim();
    match text.parse::<i64>() {
        Ok(number) => number > 0,
        Err(_) => text.starts_with("enable") || ["true", "yes", "on"].contains(&text),
    }
}
