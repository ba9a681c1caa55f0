//! What each byte from the host means to the unit, and what is answered.

use std::time::Duration;

use nut_proto::Moment;

use super::super::deed::{Bypass, Calibration, Deed, OffBy, OnBy, Refusal, SelfTest, ShutdownCommand};
use super::super::faults::FaultKind;
use super::super::profile::ShutdownAck;
use super::{
    DEFAULT_GRACE, MAX_EEPROM_ALERTS, Mains, Mode, Pending, RESULT_KNOWN, Relay, SELF_TEST,
    SIMULATED_FAILURE, SWITCH_ON, Seen, SmartUps, parse_number,
};

const CAPABILITIES: u8 = 0x1a;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;
const CR: u8 = b'\r';

/// How many bytes a text setting takes.
const TEXT_BYTES: usize = 8;

/// After this much silence a half-entered command is forgotten. How long a real unit waits is not known.
const ENTRY_PATIENCE: Duration = Duration::from_secs(10);

/// Charge, in per cent, that a runtime calibration needs.
const CALIBRATION_CHARGE: f64 = 100.0;

/// A command of several bytes, half entered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    Idle,
    /// `K`, `Z` or `^N` came once.
    Once {
        byte: u8,
        at: Moment,
    },
    /// Digits after `@`.
    Digits {
        got: String,
        last: Moment,
    },
    /// The text of a setting after `-`.
    Text {
        setting: u8,
        got: Vec<u8>,
        last: Moment,
    },
}

/// Which way a setting is stepped.
#[derive(Clone, Copy)]
enum Way {
    Next,
    Previous,
}

impl SmartUps {
    /// Takes one byte from the host.
    pub(super) fn hear(&mut self, now: Moment, byte: u8) {
        if self.faults.strikes(now, &FaultKind::Silence) || self.is_dead() || self.is_deaf() {
            return;
        }
        if !self.faults.lets_in(now, byte) {
            return;
        }
        if self.mode == Mode::Dumb {
            if byte == b'Y' {
                self.mode = Mode::Smart;
                self.note(now, Deed::SmartModeOn);
                self.say(now, byte, b"SM");
            }
            return;
        }
        let in_time = |last: Moment| now.since(last) <= ENTRY_PATIENCE;
        match std::mem::replace(&mut self.entry, Entry::Idle) {
            Entry::Digits { got, last } if in_time(last) => self.take_digit(now, got, byte),
            Entry::Text { setting, got, last } if in_time(last) => self.take_text(now, setting, got, byte),
            Entry::Once { byte: first, at } if first == byte => self.take_second(now, byte, at),
            _ => self.obey(now, byte),
        }
    }

    fn obey(&mut self, now: Moment, byte: u8) {
        if self.faults.strikes(now, &FaultKind::AnswerNa) {
            return self.say(now, byte, b"NA");
        }
        match byte {
            b'Y' => self.say(now, byte, b"SM"),
            b'R' => match self.profile.quirks.leaves_smart_mode.clone() {
                Some(farewell) => {
                    self.say(now, byte, &farewell);
                    self.leave_smart_mode(now);
                }
                None => self.say_unknown(now, byte),
            },
            _ if !self.is_output_on() => self.obey_while_off(now, byte),
            _ if self.profile.has_action(byte) && self.act(now, byte) => {}
            _ => self.query(now, byte),
        }
    }

    /// While the load is off the unit tells its state and can be switched on; all else is `NA`.
    fn obey_while_off(&mut self, now: Moment, byte: u8) {
        let refused = match byte {
            SWITCH_ON if self.profile.has_action(byte) => {
                self.entry = Entry::Once { byte, at: now };
                return;
            }
            DEL if self.profile.has_action(byte) => return self.say(now, byte, b"NO"),
            b'Q' | b'7' | b'8' | b'\'' | b'~' => return self.query(now, byte),
            b'S' => Some(ShutdownCommand::Soft),
            b'@' => Some(ShutdownCommand::Hibernate { digits: String::new() }),
            b'K' => Some(ShutdownCommand::StayOff),
            b'Z' => Some(ShutdownCommand::OffNow),
            _ => None,
        };
        if let Some(command) = refused {
            self.note(now, Deed::ShutdownRefused { command, why: Refusal::OutputOff });
        }
        self.say_unknown(now, byte);
    }

    /// Carries out an action byte the unit has. Returns false if the byte is no action.
    fn act(&mut self, now: Moment, byte: u8) -> bool {
        if self.is_busy() && self.refuse_while_busy(now, byte) {
            return true;
        }
        match byte {
            b'S' => self.soft_shutdown(now),
            b'@' => self.entry = Entry::Digits { got: String::new(), last: now },
            b'K' | b'Z' | SWITCH_ON => self.entry = Entry::Once { byte, at: now },
            DEL => self.abort_shutdown(now),
            b'A' => {
                self.note(now, Deed::PanelTest);
                self.say(now, byte, b"OK");
            }
            b'D' => self.calibrate(now),
            b'U' => self.simulate_failure(now),
            b'W' => self.self_test(now),
            b'^' => self.toggle_bypass(now),
            b'-' => self.edit(now, byte, Way::Next),
            b'+' => self.edit(now, byte, Way::Previous),
            b'z' => self.reset_settings(now),
            _ => return false,
        }
        true
    }

    // ---- shutdown

    /// After an accepted `S` some commands are not taken any more.
    fn is_busy(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.command == ShutdownCommand::Soft)
    }

    fn refuse_while_busy(&mut self, now: Moment, byte: u8) -> bool {
        let command = match byte {
            b'K' => Some(ShutdownCommand::StayOff),
            b'Z' => Some(ShutdownCommand::OffNow),
            b'@' => Some(ShutdownCommand::Hibernate { digits: String::new() }),
            b'U' | b'W' | b'-' => None,
            _ => return false,
        };
        if let Some(command) = command {
            self.note(now, Deed::ShutdownRefused { command, why: Refusal::Busy });
        }
        self.say(now, byte, b"NA");
        true
    }

    fn soft_shutdown(&mut self, now: Moment) {
        if !self.is_on_battery() {
            self.note(now, Deed::ShutdownRefused { command: ShutdownCommand::Soft, why: Refusal::OnMains });
            return self.say(now, b'S', b"NA");
        }
        if self.is_busy() {
            // Said again: confirmed again, but the delay goes on as it ran.
            return self.confirm(now, b'S');
        }
        let grace = if self.profile.quirks.s_waits_grace { self.grace() } else { Duration::ZERO };
        self.accept(now, ShutdownCommand::Soft, grace);
        self.confirm(now, b'S');
    }

    fn take_digit(&mut self, now: Moment, mut got: String, byte: u8) {
        if !byte.is_ascii_digit() {
            self.note(
                now,
                Deed::ShutdownRefused {
                    command: ShutdownCommand::Hibernate { digits: got },
                    why: Refusal::Meaningless,
                },
            );
            // The byte that ended the entry is not taken as a command; old units do not even complain.
            if !self.profile.is_old_generation() {
                self.say(now, b'@', b"NO");
            }
            return;
        }
        got.push(char::from(byte));
        if got.len() < self.profile.quirks.at_digits {
            self.entry = Entry::Digits { got, last: now };
            return;
        }
        let nothing = got.bytes().all(|digit| digit == b'0');
        let command = ShutdownCommand::Hibernate { digits: got };
        if nothing && self.profile.quirks.at_000_ignored {
            // Whether the real unit answers is not known. Silence here: nobody may rely on a confirmation of nothing.
            self.note(now, Deed::ShutdownRefused { command, why: Refusal::Meaningless });
            return;
        }
        self.accept(now, command, self.grace());
        self.confirm(now, b'@');
    }

    fn take_second(&mut self, now: Moment, byte: u8, first: Moment) {
        let early = now.since(first) + self.settings.two_step_tolerance < self.profile.quirks.two_step_min;
        let command = match byte {
            b'K' => Some(ShutdownCommand::StayOff),
            b'Z' => Some(ShutdownCommand::OffNow),
            _ => None,
        };
        if early {
            // It counts as a first one: whoever hammers never gets through.
            self.entry = Entry::Once { byte, at: now };
            if let Some(command) = command {
                self.note(now, Deed::ShutdownRefused { command, why: Refusal::TooSoon });
            }
            return;
        }
        match command {
            Some(ShutdownCommand::OffNow) => {
                self.accept(now, ShutdownCommand::OffNow, Duration::ZERO);
                if self.profile.quirks.shutdown_ack == ShutdownAck::Star {
                    self.confirm(now, byte);
                }
            }
            Some(command) => {
                self.accept(now, command, self.grace());
                self.confirm(now, byte);
            }
            None => self.switch_on(now, OnBy::Command),
        }
    }

    fn accept(&mut self, now: Moment, command: ShutdownCommand, wait: Duration) {
        let off_at = now + wait;
        self.note(now, Deed::ShutdownAccepted { command: command.clone(), off_at });
        self.pending = Some(Pending { command, off_at });
    }

    fn abort_shutdown(&mut self, now: Moment) {
        let old = self.profile.is_old_generation();
        let can = |pending: &mut Pending| !(old && pending.command == ShutdownCommand::StayOff);
        match self.pending.take_if(can) {
            Some(pending) => {
                self.note(now, Deed::ShutdownAborted { command: pending.command });
                self.say(now, DEL, b"OK");
            }
            None => self.say(now, DEL, b"NO"),
        }
    }

    fn grace(&self) -> Duration {
        self.delay(b'p', DEFAULT_GRACE)
    }

    // ---- tests

    fn calibrate(&mut self, now: Moment) {
        if self.calibrating {
            self.stop_calibration(now);
            self.say(now, b'D', b"OK");
        } else if self.is_on_battery() || self.test_ends.is_some() {
            self.say(now, b'D', b"NA");
        } else if !self.battery.has(CALIBRATION_CHARGE) {
            self.note(now, Deed::Calibration(Calibration::Refused));
            self.say(now, b'D', b"NO");
        } else {
            self.calibrating = true;
            self.reason = Some(b'S');
            self.note(now, Deed::Calibration(Calibration::Started));
            self.say(now, b'D', b"OK");
        }
    }

    fn simulate_failure(&mut self, now: Moment) {
        if self.is_on_battery() {
            return self.say(now, b'U', b"NA");
        }
        self.stop_self_test(now);
        self.simulated_until = Some(now + SIMULATED_FAILURE);
        self.reason = Some(b'S');
        self.say(now, b'U', b"OK");
    }

    fn self_test(&mut self, now: Moment) {
        if self.test_ends.is_some() {
            self.stop_self_test(now);
            return self.say(now, b'W', b"OK");
        }
        if self.is_on_battery() {
            return self.say(now, b'W', b"NA");
        }
        self.test_ends = Some(now + self.scaled(SELF_TEST));
        self.reason = Some(b'S');
        self.note(now, Deed::SelfTest(SelfTest::Started));
        self.say(now, b'W', b"OK");
    }

    fn toggle_bypass(&mut self, now: Moment) {
        let (bypass, reply) = match self.bypass {
            Bypass::Off if self.mains == Mains::Off => return self.say(now, b'^', b"ERR"),
            Bypass::Off => (Bypass::On, b"BYP"),
            Bypass::On => (Bypass::Off, b"INV"),
        };
        self.bypass = bypass;
        self.note(now, Deed::Bypass(bypass));
        self.say(now, b'^', reply);
    }

    // ---- settings

    fn edit(&mut self, now: Moment, byte: u8, way: Way) {
        let setting = match self.last_query {
            // A DIP switch that overrides the EEPROM forbids all changes.
            Some(setting) if self.hex_value(b'7') == 0 => setting,
            _ => return self.say(now, byte, b"NO"),
        };
        let known = self.values.contains_key(&setting);
        match (setting, self.rings.of(setting)) {
            (_, Some(ring)) if known => {
                let ring = ring.to_vec();
                let at = self.positions.get(&setting).copied().filter(|at| {
                    ring.get(*at).map(Vec::as_slice) == self.values.get(&setting).map(Vec::as_slice)
                });
                let at =
                    at.or_else(|| ring.iter().position(|value| Some(value) == self.values.get(&setting)));
                let to = match (at, way) {
                    (None, _) => 0,
                    (Some(at), Way::Next) => (at + 1) % ring.len(),
                    (Some(at), Way::Previous) => (at + ring.len() - 1) % ring.len(),
                };
                self.positions.insert(setting, to);
                self.write(now, setting, ring.get(to).cloned().unwrap_or_default());
                self.say(now, byte, b"OK");
            }
            (b'c' | b'x', None) if known && byte == b'-' => {
                self.entry = Entry::Text { setting, got: Vec::new(), last: now };
            }
            _ => self.say(now, byte, b"NO"),
        }
    }

    fn take_text(&mut self, now: Moment, setting: u8, mut got: Vec<u8>, byte: u8) {
        if byte == ESC {
            return self.say(now, b'-', b"NO");
        }
        got.push(byte);
        if got.len() < TEXT_BYTES {
            self.entry = Entry::Text { setting, got, last: now };
            return;
        }
        if got.contains(&b'-') {
            return self.say(now, b'-', b"NO");
        }
        // Hosts pad with CR, and read the text back without: a CR ends it.
        let text = got.split(|byte| *byte == CR).next().unwrap_or_default().to_vec();
        self.write(now, setting, text);
        self.say(now, b'-', b"OK");
    }

    fn write(&mut self, now: Moment, setting: u8, value: Vec<u8>) {
        self.note(now, Deed::EepromWrite { setting, value: value.clone() });
        self.pinned.remove(&setting);
        self.values.insert(setting, value);
        self.plan_eeprom_alert(now);
    }

    fn plan_eeprom_alert(&mut self, now: Moment) {
        if let Some(wait) = self.profile.quirks.eeprom_alert
            && self.eeprom_alerts.len() < MAX_EEPROM_ALERTS
        {
            self.eeprom_alerts.push_back(now + wait);
        }
    }

    fn reset_settings(&mut self, now: Moment) {
        for setting in self.rings.commands() {
            if let Some(value) = self.profile.replies.get(&setting)
                && !matches!(setting, b'c' | b'x')
            {
                self.values.insert(setting, value.clone());
                self.pinned.remove(&setting);
            }
        }
        self.positions.clear();
        self.note(now, Deed::FactoryReset);
        self.plan_eeprom_alert(now);
        self.say(now, b'z', b"CLEAR");
    }

    // ---- queries

    fn query(&mut self, now: Moment, byte: u8) {
        let answer = match byte {
            b'a' => self.pinned.get(&byte).cloned().or_else(|| self.protocol()),
            CAPABILITIES => self.pinned.get(&byte).or(self.profile.capabilities.as_ref()).cloned(),
            _ => self.answer(now, byte),
        };
        let Some(answer) = answer else {
            return self.say_unknown(now, byte);
        };
        self.last_query = Some(byte);
        if self.faults.strikes(now, &FaultKind::AnswerSm) {
            return self.say(now, byte, b"SM");
        }
        self.say(now, byte, &answer);
    }

    /// What `a` answers: the bytes of a card stand among the commands, once each.
    fn protocol(&self) -> Option<Vec<u8>> {
        let reply = self.profile.protocol.clone()?;
        let Some(slot) = &self.card else { return Some(reply) };
        let mut sections: Vec<Vec<u8>> = reply.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect();
        let listed = sections.get_mut(2)?;
        for query in slot.queries() {
            if !listed.contains(&query) {
                listed.push(query);
            }
        }
        Some(sections.join(&b'.'))
    }

    /// What a query answers in the present state.
    fn answer(&mut self, now: Moment, query: u8) -> Option<Vec<u8>> {
        if let Some(pinned) = self.pinned.get(&query) {
            return Some(pinned.clone());
        }
        let memory = |query: u8| self.text(query).map(<[u8]>::to_vec);
        if let Some(measured) = self.card.as_ref().and_then(|slot| slot.answer(query, memory)) {
            return Some(measured);
        }
        let stored = self.values.get(&query)?.clone();
        let number = parse_number(&stored);
        let mains = self.mains;
        let there = mains == Mains::On;
        let answer = match (query, number) {
            (b'Q', _) => format!("{:02X}", self.status()).into_bytes(),
            (b'9', _) if !there => b"00".to_vec(),
            (b'8', _) => format!("{:02X}", self.hex_value(b'8') | self.trip_bits()).into_bytes(),
            (b'f', Some(_)) => like(&stored, self.battery.charge()),
            (b'j', Some(_)) => self.runtime_text().into_bytes(),
            (b'B', Some(at_rest)) => like(&stored, at_rest * self.battery.voltage_ratio(self.flow())),
            (b'L', Some(_)) if !there => like(&stored, 0.0),
            (b'M', Some(_)) => match std::mem::replace(&mut self.mains_since_m, Seen::only(mains)) {
                Seen { on: true, .. } => stored,
                Seen { on: false, .. } => like(&stored, 0.0),
            },
            (b'N', Some(_)) => match std::mem::replace(&mut self.mains_since_n, Seen::only(mains)) {
                Seen { off: true, .. } => like(&stored, 0.0),
                Seen { off: false, .. } => stored,
            },
            (b'O', Some(measured)) if self.is_on_battery() => {
                like(&stored, self.number(b'o').unwrap_or(measured))
            }
            // The inverter makes its own 50 or 60 Hz.
            (b'F', Some(measured)) if self.is_on_battery() => like(&stored, (measured / 10.0).round() * 10.0),
            (b'G', _) => self.reason.map_or(stored, |reason| vec![reason]),
            (b'X', _) => self.test_result(now).map_or(stored, |result| result.to_vec()),
            (b'd', Some(_)) => match self.tested {
                Some((at, _)) => like(&stored, now.since(at).as_secs_f64() / 3600.0),
                None => stored,
            },
            _ => stored,
        };
        Some(answer)
    }

    /// The bits of register `8` that follow from the state.
    fn trip_bits(&self) -> u8 {
        let command = match (&self.relay, &self.pending) {
            (Relay::Asleep { by: OffBy::EmptyBattery, .. }, _) => return 0x01,
            (Relay::Asleep { by: OffBy::Command(command), .. }, _)
            | (Relay::On, Some(Pending { command, .. })) => command,
            _ => return 0x00,
        };
        match command {
            ShutdownCommand::Soft => 0x10,
            ShutdownCommand::Hibernate { .. } if !self.is_output_on() => 0x08,
            _ => 0x00,
        }
    }

    fn runtime_text(&self) -> String {
        // A hair more than what is left, so that 42 minutes are not shown as 41 for the sake of the last binary digit.
        let minutes = (self.battery.runtime(self.load()) + 1e-6).floor();
        if minutes > 9999.0 { ">>>>:".into() } else { format!("{minutes:04.0}:") }
    }

    fn test_result(&self, now: Moment) -> Option<&'static [u8]> {
        if self.test_ends.is_some() {
            return Some(b"NO");
        }
        let (at, result) = self.tested?;
        Some(match result {
            _ if now.since(at) > RESULT_KNOWN => b"NO",
            SelfTest::Passed => b"OK",
            SelfTest::BatteryTooWeak => b"BT",
            SelfTest::Overload => b"NG",
            SelfTest::Started | SelfTest::Stopped => b"NO",
        })
    }

    // ---- answers

    fn confirm(&mut self, now: Moment, command: u8) {
        match self.profile.quirks.shutdown_ack {
            ShutdownAck::Ok => self.say(now, command, b"OK"),
            ShutdownAck::Star => self.put(now, command, 1, b"*".to_vec()),
        }
    }

    fn say_unknown(&mut self, now: Moment, command: u8) {
        if let Some(reply) = self.profile.unknown_reply.clone() {
            self.say(now, command, &reply);
        }
    }

    fn say(&mut self, now: Moment, command: u8, text: &[u8]) {
        let mut line = text.to_vec();
        line.extend_from_slice(b"\r\n");
        self.put(now, command, text.len(), line);
    }

    fn put(&mut self, now: Moment, command: u8, chars: usize, bytes: Vec<u8>) {
        if let Some(bytes) = self.faults.dress(now, bytes) {
            // Without room the host asked much faster than the line carries, and this reply is lost.
            self.outbox.reply(now, self.profile.quirks.latency.of(command, chars), bytes);
        }
    }
}

/// `value` in as many digits before and behind the point as `pattern` has.
fn like(pattern: &[u8], value: f64) -> Vec<u8> {
    let decimals = pattern.iter().rev().position(|byte| *byte == b'.').unwrap_or(0);
    let width = pattern.len();
    format!("{value:0width$.decimals$}").into_bytes()
}
