//! A new configuration while we run: what changes, and what is refused.

use nut_conf::upsmon_conf::{self, UpsmonConf};
use nut_proto::Moment;

use super::{Action, Halves, Monitor, Refused, enough_configured};
use crate::notices::Notices;
use crate::remarks::{Redefined, Remark};
use crate::server::{Line, Order};
use crate::watch::{self, Rules};

impl Monitor {
    /// Takes a new configuration. One with which this host could never run is refused, and the old one stays in force; so is
    /// one with a new line that names no UPS.
    ///
    /// (NUT ends then, which leaves the host unwatched.)
    pub(super) fn reload(&mut self, now: Moment, conf: UpsmonConf, actions: &mut Vec<Action>) {
        actions.push(Action::Log(Remark::Reloading));
        if self.is_shutting_down() {
            let why = "a shutdown is under way".to_owned();
            return self.refuse(now, Remark::ReloadFailed { why }, actions);
        }
        if let Err(too_little) = enough_configured(&conf) {
            let (total, need) = (too_little.total, too_little.need);
            return self.refuse(now, Remark::ReloadImpossible { total, need }, actions);
        }
        // At the start such a line is better than none; but whoever has mistyped one just now is watched as before.
        let is_new =
            |line: &&upsmon_conf::Monitor| !self.watched.iter().any(|one| one.line.system == line.system);
        let names_none = |line: &upsmon_conf::Monitor| {
            line.target.as_ref().err().map(|error| (line.system.clone(), *error))
        };
        if let Some((system, error)) = conf.monitors.iter().filter(is_new).find_map(names_none) {
            let why = format!("MONITOR {system} names no UPS: {error}; the old configuration stays");
            return self.refuse(now, Remark::ReloadFailed { why }, actions);
        }
        self.refused = None;
        self.warn_of_what_stays(&conf, actions);
        let tls_changed = conf.tls != self.conf.tls;
        self.rules = Rules::from(&conf);
        self.notices = Notices::from(&conf);
        self.conf = conf;
        actions.push(Action::Adopt(Box::new(self.conf.clone())));

        let lines = self.conf.monitors.clone();
        for (nth, line) in lines.iter().enumerate() {
            if lines.iter().take(nth).any(|before| before.system == line.system) {
                actions.push(Action::Log(Remark::Duplicate { ups: line.system.as_str().into() }));
            } else if self.watched.iter().any(|one| one.line.system == line.system) {
                self.redefine(now, line, tls_changed, actions);
            } else {
                self.add(now, line, actions);
            }
        }
        self.remove_all_but(&lines, actions);
        // Other rules for what we have known for a while: who is lost is asked once more before anything is decided by them.
        for one in self.watched.iter_mut().filter(|one| one.watch.cause().is_some()) {
            one.asked = None;
        }
    }

    /// The old configuration stays, for this reason; whoever asks later is told so, too.
    pub(super) fn refuse(&mut self, now: Moment, why: Remark, actions: &mut Vec<Action>) {
        self.refused = Some(Refused { at: now, why: why.clone() });
        actions.push(Action::Log(why));
    }

    /// The root half has read these at the start, and reads nothing again; told at each reload, as long as the file says
    /// something else.
    fn warn_of_what_stays(&self, conf: &UpsmonConf, actions: &mut Vec<Action>) {
        if self.halves == Halves::One {
            return;
        }
        let started = self.last_orders();
        let changed = [
            ("SHUTDOWNCMD", conf.shutdown_command != started.shutdown_command),
            ("POWERDOWNFLAG", conf.power_down_flag != started.power_down_flag),
            ("RUN_AS_USER", conf.run_as_user != started.run_as_user),
        ];
        for (directive, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            actions.push(Action::Log(Remark::NeedsRestart { directive }));
        }
    }

    fn redefine(
        &mut self,
        now: Moment,
        line: &upsmon_conf::Monitor,
        tls_changed: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(one) = self.watched.iter_mut().find(|one| one.line.system == line.system) else {
            return;
        };
        let ups = one.name();
        let old = std::mem::replace(&mut one.line, line.clone());
        let mut changes = Vec::new();
        if old.power_value != line.power_value {
            changes.push(Redefined::PowerValue(line.power_value));
        }
        let credentials = (old.user != line.user, old.password != line.password);
        if credentials.0 {
            changes.push(Redefined::Username);
        }
        if credentials.1 {
            changes.push(Redefined::Password);
        }
        if old.role != line.role {
            changes.push(Redefined::Role(line.role));
            one.watch.set_role(line.role);
        }
        let becomes_primary = old.role != line.role && line.role == upsmon_conf::Role::Primary;
        let try_again = (credentials.0 || credentials.1) && !one.logged_in;
        let anything = !changes.is_empty() || tls_changed;
        for what in changes {
            actions.push(Action::Log(Remark::Changed { ups: ups.clone(), what }));
        }
        let new_line = Box::new(Line::new(line, &self.conf.tls));
        if becomes_primary || try_again {
            if try_again {
                actions.push(Action::Log(Remark::Retrying { ups }));
            }
            one.logged_in = false;
            one.refusal = None;
            one.asked = None;
            one.watch.step(now, &self.rules, watch::Event::Renewed);
            actions.push(Action::Ask(one.id, Order::Reconnect(new_line)));
        } else if anything {
            // A connection that works is left alone: the new words count from the next one on.
            actions.push(Action::Ask(one.id, Order::Use(new_line)));
        }
    }

    fn remove_all_but(&mut self, lines: &[upsmon_conf::Monitor], actions: &mut Vec<Action>) {
        let stays = |name: &str| lines.iter().any(|line| line.system == name);
        for one in self.watched.iter().filter(|one| !stays(&one.line.system)) {
            actions.push(Action::Log(Remark::NotWatching { ups: one.name() }));
            actions.push(Action::Close(one.id));
        }
        self.watched.retain(|one| stays(&one.line.system));
    }
}
