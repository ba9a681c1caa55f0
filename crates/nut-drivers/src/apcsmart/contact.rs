//! How things stand between the driver and the unit, and what is said of it.

use super::ApcSmart;
use super::protocol::shown;
use super::timing::TRY_EVERY;
use super::unit::Scope;
use crate::driver::{Action, Note, Weight};
use nut_proto::Moment;
use nut_proto::driver::Judgement;

/// How things stand between us and the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contact {
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

impl ApcSmart {
    /// The unit is known, from the beginning or again from the beginning.
    pub(super) fn known(&mut self, out: &mut Vec<Action>) {
        let (variables, commands) = self.unit.counts();
        let name = |name: &str| self.unit.value(name).map_or("?", |value| value.as_str().trim_end());
        let text = format!(
            "the unit is a {}, firmware {}: {variables} variables, {commands} commands",
            name("ups.model"),
            name("ups.firmware"),
        );
        out.push(Action::Tell(Note { weight: Weight::Info, text }));
        self.contact = Contact::Good;
        // The first update asks for the status, and reads everything: NUT's order.
        self.last_full_scan = None;
        self.ready(out);
    }

    /// All that was asked is known.
    pub(super) fn good_again(&mut self, now: Moment, scope: Scope, out: &mut Vec<Action>) {
        self.contact = Contact::Good;
        if scope != Scope::Poll {
            self.last_full_scan = Some(now);
        }
        if !self.is_fresh {
            self.is_fresh = true;
            out.push(Action::DataOk);
        }
        self.ready(out);
    }

    fn ready(&mut self, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.wants.ready) {
            self.was_ready = true;
            out.push(Action::Ready);
        }
    }

    pub(super) fn stale(&mut self, now: Moment, why: &str, out: &mut Vec<Action>) {
        self.fall_silent();
        self.contact = Contact::Lost { since: now, next_try: now.after(TRY_EVERY) };
        self.tell_stale(why, out);
    }

    pub(super) fn fall_silent(&mut self) {
        self.is_smart = false;
        self.power.lose();
    }

    pub(super) fn tell_stale(&mut self, why: &str, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.is_fresh) {
            out.push(Action::DataStale { reason: why.to_owned() });
        }
    }

    /// Another unit answers: what was known of the old one is no longer true.
    pub(super) fn swapped(&mut self, now: Moment, how: &str, out: &mut Vec<Action>) {
        let text = format!("another unit answers: {how}; getting to know it");
        self.tell_stale(&text, out);
        out.push(Action::Tell(Note { weight: Weight::Warning, text }));
        self.unit.forget(out);
        self.power.forget();
        self.last_full_scan = None;
        self.contact = Contact::Unknown { next_try: now, failures: 0 };
    }

    pub(super) fn try_later(&mut self, now: Moment, failures: u8, why: &str, out: &mut Vec<Action>) {
        self.fall_silent();
        self.tell_stale(why, out);
        self.contact = Contact::Unknown { next_try: now.after(TRY_EVERY), failures };
    }

    /// What is at the other end of a line on which nobody enters smart mode, and what to do about it.
    pub(super) fn why_not_smart(&self) -> String {
        // What we have sent so far, and ends of lines.
        let is_echo = |byte: &u8| matches!(byte, b'Y' | 0x1b | b'\r' | b'\n');
        let seen = if self.first_bytes.is_empty() {
            "the unit does not answer: check that it is on, that the port is the right one and no other program uses \
             it, and that the cable is a smart one"
                .to_owned()
        } else if self.first_bytes.iter().all(is_echo) {
            "the line sends back what it is sent: check that the port is the right one, that no login waits at it, and \
             that the cable is a smart one, and not one that only joins lines"
                .to_owned()
        } else {
            let mut lines = self.first_bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
            let text = lines.find(|line| !line.is_empty()).map(shown).unwrap_or_default();
            format!(
                "what answers does not speak the Smart protocol: it said \"{text}\": check that the port is the right one \
                 and no other program uses it, and that the cable is a smart one"
            )
        };
        format!(
            "{seen} (940-0024; with 940-0095 set cable = 940-0095B). Units of the SMT, SMX and later series speak \
             another protocol (Microlink); with APC's card AP9620 (Legacy Communications SmartSlot Card) they speak \
             this one"
        )
    }

    pub(super) fn give_up(&mut self, why: &str, out: &mut Vec<Action>) {
        self.contact = Contact::None;
        out.push(Action::GiveUp { reason: why.to_owned() });
    }

    pub(super) fn left(&mut self, out: &mut Vec<Action>) {
        self.wants.leave = false;
        self.contact = Contact::None;
        self.power.lose();
        out.push(Action::Farewell);
    }

    pub(super) fn updated(&mut self, out: &mut Vec<Action>) {
        if std::mem::take(&mut self.wants.update) {
            out.push(Action::Updated);
        }
    }

    /// Without a port, whoever waits is told so.
    pub(super) fn refuse_everything(&mut self, out: &mut Vec<Action>) {
        self.refuse_orders(out);
        if std::mem::take(&mut self.wants.shut_down) {
            out.push(Action::ShutDownEnded(Err("the port is not open".to_owned())));
        }
        if std::mem::take(&mut self.wants.leave) {
            out.push(Action::Farewell);
        }
    }

    pub(super) fn refuse_orders(&mut self, out: &mut Vec<Action>) {
        for (id, _) in self.waiting.drain(..) {
            out.push(Action::Done(id, Judgement::Failed));
        }
    }
}
