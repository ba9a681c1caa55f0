//! Taking over a configuration that was read again while the driver runs.

use super::settings::Settings;
use super::variables::Source;
use super::{Action, Core, EXIT_FOR_RESTART, Exit, Life, Reload, status};
use crate::driver::{OrderId, Weight};
use nut_proto::Moment;
use nut_proto::device::Change;
use nut_proto::driver::Judgement;
use nut_proto::names::VarName;

impl Core {
    pub(super) fn begin_reload(&mut self, reload: Reload, order: Option<OrderId>) {
        if self.life != Life::Serving || self.reload.is_some() {
            if let Some(id) = order {
                self.judge(id, Judgement::Failed);
            }
            return;
        }
        self.state("reloading");
        self.reload = Some((reload, order));
        self.out.push(Action::ReadConfiguration);
    }

    pub(super) fn configure(&mut self, now: Moment, result: Result<Box<Settings>, String>) {
        let Some((reload, order)) = self.reload.take() else { return };
        let judgement = match result {
            Err(error) => {
                self.tell(Weight::Warning, format!("the old configuration stays: {error}"));
                Judgement::Failed
            }
            Ok(new) => {
                let kept = self.settings.needing_restart(&new);
                self.take_over(*new);
                if kept.is_empty() {
                    self.tell(Weight::Info, "the configuration has been read again");
                    Judgement::Handled
                } else {
                    let names = kept.join(", ");
                    self.tell(Weight::Warning, format!("only a restart can change: {names}"));
                    if reload == Reload::OrExit {
                        let text = Some(format!("ending for a restart, because of: {names}"));
                        if let Some(id) = order {
                            self.judge(id, Judgement::Handled);
                        }
                        return self.leave(now, Exit { code: EXIT_FOR_RESTART, text });
                    }
                    Judgement::Invalid
                }
            }
        };
        self.at_rest();
        if let Some(id) = order {
            // Who did not ask for the result has what he wanted: it was tried.
            let told = if reload == Reload::OrError { judgement } else { Judgement::Handled };
            self.judge(id, told);
        }
    }

    /// Takes what can change while the driver runs.
    pub(super) fn take_over(&mut self, new: Settings) {
        for (name, value) in &new.overrides {
            if let Ok(Some(change)) = self.device.fix(name, value.clone()) {
                self.status_due |= self.settings.ignore_lb && status::bears_on_low(name.as_str());
                self.out.push(Action::Publish(change));
            }
        }
        for (name, value) in &new.defaults {
            if self.device.get(name.as_str()).is_none() {
                self.change(Change::Info { name: name.clone(), value: value.clone() }, Source::Core);
            }
        }
        for (name, value) in &new.parameters {
            let mut fixed = self.settings.fixed.iter().chain(&new.fixed);
            if !fixed.any(|(fixed, _)| shows(name, fixed)) {
                self.change(Change::Info { name: name.clone(), value: value.clone() }, Source::Core);
            }
        }
        if new.debug != self.settings.debug {
            self.set("driver.debug", &new.debug.to_string());
            self.out.push(Action::SetDebug(new.debug));
        }
        self.settings = Settings {
            poll_interval: new.poll_interval,
            synchronous: new.synchronous,
            shutdown: new.shutdown,
            overrides: new.overrides,
            defaults: new.defaults,
            debug: new.debug,
            ..self.settings.clone()
        };
        self.show_parameters();
        self.show_status();
    }
}

/// Whether a variable shows the setting of that name.
fn shows(variable: &VarName, setting: &str) -> bool {
    ["driver.parameter.", "driver.flag."].iter().any(|start| {
        let name = variable.as_str();
        name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
            && name.get(start.len()..).is_some_and(|rest| rest.eq_ignore_ascii_case(setting))
    })
}
