//! The variables every driver has, and `ups.status` as readers see it.

use super::orders::Command;
use super::{Action, Core, Data, Life, status};
use crate::driver::Weight;
use nut_conf::ups_conf::Synchronous;
use nut_proto::device::{Change, Flags, Value};
use nut_proto::names::VarName;

/// Who changed a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Driver,
    Core,
}

/// What the device is called, and the newer names for the same.
const IDENTITY: [(u8, &str, &str); 3] =
    [(1, "ups.mfr", "device.mfr"), (2, "ups.model", "device.model"), (4, "ups.serial", "device.serial")];

impl Core {
    pub(super) fn set_common_variables(&mut self) {
        let settings = self.settings.clone();
        let about = *self.driver.about();
        for (name, value) in &settings.overrides {
            // An override beyond the limit of variables cannot be kept; 20,000 of them are no real file.
            let _ = self.device.fix(name, value.clone());
        }
        for (name, value) in settings.defaults.iter().chain(&settings.parameters) {
            self.change(Change::Info { name: name.clone(), value: value.clone() }, Source::Core);
        }
        for (name, value) in [
            ("driver.state", "init.starting"),
            ("driver.name", &settings.program),
            ("driver.version", &settings.version),
            ("driver.version.internal", about.version),
            ("driver.debug", &settings.debug.to_string()),
            ("driver.flag.allow_killpower", if settings.allow_killpower { "1" } else { "0" }),
        ] {
            self.set(name, value);
        }
        for (_, original, copy) in IDENTITY {
            if let Some(value) = self.device.get(original).cloned()
                && self.device.get(copy).is_none()
            {
                self.set(copy, value.as_str());
            }
        }
        if self.device.get("device.type").is_none() {
            self.set("device.type", "ups");
        }
        for name in ["driver.debug", "driver.flag.allow_killpower"] {
            self.set_flags(name, Flags::WRITABLE_NUMBER);
        }
        self.show_parameters();
        for (name, command) in super::orders::COMMANDS {
            if command != Command::Exit
                && let Ok(name) = name.parse()
            {
                self.change(Change::Command { name }, Source::Core);
            }
        }
    }

    pub(super) fn show_parameters(&mut self) {
        let interval = self.settings.poll_interval.as_secs().to_string();
        self.set("driver.parameter.pollinterval", &interval);
        let synchronous = match self.settings.synchronous {
            Synchronous::Yes => "yes",
            Synchronous::No => "no",
            Synchronous::Auto => "auto",
        };
        self.set("driver.parameter.synchronous", synchronous);
    }

    /// Tells what the driver is about. What `-d` shows is not overwritten any more.
    pub(super) fn state(&mut self, state: &str) {
        if !self.dumped {
            self.set("driver.state", state);
        }
    }

    /// The state of a driver that is busy with nothing else.
    pub(super) fn at_rest(&mut self) {
        self.state(if self.data == Data::Stale { "reconnect.trying" } else { "quiet" });
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        if let Ok(name) = name.parse() {
            self.change(Change::Info { name, value: Value::new(value) }, Source::Core);
        }
    }

    pub(super) fn set_flags(&mut self, name: &str, flags: Flags) {
        if let Ok(name) = name.parse() {
            self.change(Change::Flags { name, flags }, Source::Core);
        }
    }

    /// Applies a change and tells the readers, if anything became different by it.
    pub(super) fn change(&mut self, change: Change, source: Source) {
        match self.device.apply(&change) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => return self.tell(Weight::Debug, format!("a change is left out: {error}")),
        }
        let followed = match &change {
            Change::Info { name, .. } | Change::NoInfo { name } => Some(name.clone()),
            _ => None,
        };
        self.out.push(Action::Publish(change));
        let Some(name) = followed else { return };
        if self.settings.ignore_lb && status::bears_on_low(name.as_str()) {
            self.status_due = true;
        }
        if source == Source::Driver {
            self.copy_identity(&name);
        }
    }

    /// `device.mfr`, `.model` and `.serial` follow `ups.*`, unless the driver has its own.
    ///
    /// (NUT copies them once at the start, and escapes them twice.)
    pub(super) fn copy_identity(&mut self, changed: &VarName) {
        for (bit, original, copy) in IDENTITY {
            if changed.is(copy) {
                self.own_identity |= bit;
            } else if changed.is(original) && self.own_identity & bit == 0 {
                let value = self.device.get(original).cloned();
                let Ok(name) = copy.parse() else { continue };
                let change = match value {
                    Some(value) => Change::Info { name, value },
                    None => Change::NoInfo { name },
                };
                self.change(change, Source::Core);
            }
        }
    }

    /// Makes `ups.alarm` and `ups.status` of what the driver reported last.
    pub(super) fn show_status(&mut self) {
        if !std::mem::take(&mut self.status_due) {
            return;
        }
        let Some(reading) = &self.reading else { return };
        let alarm = status::alarm_text(reading);
        let status = status::assemble_status(reading, &self.device, self.settings.ignore_lb);
        if !alarm.is_empty() {
            self.alarm_is_ours = true;
            self.set("ups.alarm", &alarm);
        } else if std::mem::take(&mut self.alarm_is_ours)
            && let Ok(name) = "ups.alarm".parse()
        {
            self.change(Change::NoInfo { name }, Source::Core);
        }
        self.set("ups.status", &status);
    }

    pub(super) fn data_ok(&mut self) {
        self.show_status();
        let before = std::mem::replace(&mut self.data, Data::Ok);
        if before == Data::Ok {
            return;
        }
        self.out.push(Action::DataOk);
        if before == Data::Stale {
            self.tell(Weight::Info, "Communications with UPS re-established");
            self.state("quiet");
        }
    }

    pub(super) fn data_stale(&mut self, reason: &str) {
        self.show_status();
        let before = std::mem::replace(&mut self.data, Data::Stale);
        if before == Data::Stale {
            return;
        }
        self.set("driver.lasterror", reason);
        self.out.push(Action::DataStale);
        self.tell(Weight::Warning, format!("Communications with UPS lost: {reason}"));
        if self.life == Life::Serving {
            self.state("reconnect.trying");
        }
    }
}
