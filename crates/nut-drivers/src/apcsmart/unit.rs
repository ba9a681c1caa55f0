//! What is known of the unit at the other end: which variables it has, what they are, which commands it takes.

use super::capability::Group;
use super::commands;
use super::variables::{Class, INPUT_FREQUENCY, Kind, OUTPUT_FREQUENCY, ROWS, Row, TEXT_LENGTH};
use crate::driver::Action;
use nut_proto::device::{Change, Flags, Value};
use nut_proto::names::{CmdName, VarName};
use std::collections::BTreeSet;

/// A variable that is not answered for in so many rounds in a row is no longer published.
const ROUNDS_WITHOUT: u8 = 2;

/// The byte that queries the model.
const MODEL: &[u8] = b"\x01";

/// Which variables a round asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All that were found, right after they were found.
    First,
    /// Those that change by themselves.
    Poll,
    /// All, after silence.
    Recovery,
    /// All, and those that had no answer before.
    Hourly,
}

/// Whether the unit has a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Presence {
    /// No.
    #[default]
    Absent,
    /// Its byte is listed; which of its meanings holds is not yet known.
    Noted,
    /// Its byte is listed, but there was no answer at start: asked hourly.
    NotYet,
    /// Yes.
    Here,
    /// It was, and then fell silent, which costs seconds each time: asked hourly.
    Quiet,
}

#[derive(Debug, Default)]
struct State {
    presence: Presence,
    /// Rounds in a row without an answer.
    without: u8,
    /// What is published of it.
    shown: Vec<(VarName, Value)>,
    /// What its capability groups say; `None` if it has none.
    ring: Option<Ring>,
}

/// The values a setting steps through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ring {
    /// As published; a value that stands in the ring twice stands here once.
    pub(super) choices: Vec<Value>,
    /// How many steps lead round; `None` if that is not known.
    pub(super) steps: Option<usize>,
}

/// One unit.
#[derive(Debug)]
pub(super) struct Unit {
    rows: Vec<State>,
    commands: Vec<u8>,
    /// Whether it does nothing on `@000`.
    pub(super) is_old: bool,
    /// Whether it answers some things as a unit would that tells its commands, but did not tell them.
    pub(super) is_doubtful: bool,
    frequency_is_output: bool,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            rows: ROWS.iter().map(|_| State::default()).collect(),
            commands: Vec::new(),
            is_old: false,
            is_doubtful: false,
            frequency_is_output: false,
        }
    }
}

fn variable(name: &str) -> VarName {
    name.parse().expect("the names of the table are names")
}

impl Unit {
    /// The first row that this byte asks for.
    pub(super) fn row_asked_by(byte: u8) -> Option<usize> {
        ROWS.iter().position(|row| row.ask == [byte])
    }

    /// Whether a variable is there.
    pub(super) fn presence(&self, index: usize) -> Presence {
        self.rows.get(index).map_or(Presence::Absent, |state| state.presence)
    }

    /// What was found out about a variable before anything is published of it.
    pub(super) fn set_presence(&mut self, index: usize, presence: Presence) {
        if let Some(state) = self.rows.get_mut(index) {
            state.presence = presence;
        }
    }

    /// All variables this byte may ask for are possible.
    pub(super) fn note(&mut self, byte: u8) {
        for (row, state) in ROWS.iter().zip(&mut self.rows) {
            if row.ask == [byte] && state.presence == Presence::Absent {
                state.presence = Presence::Noted;
            }
        }
    }

    /// The variable was found; later ones of its name or its byte are not meant.
    pub(super) fn decide(&mut self, index: usize) {
        let Some(found) = ROWS.get(index) else { return };
        for (row, state) in ROWS.iter().zip(&mut self.rows).skip(index + 1) {
            if state.presence == Presence::Noted && (row.name == found.name || row.ask == found.ask) {
                state.presence = Presence::Absent;
            }
        }
    }

    /// Whether a later row that is still possible has the same byte.
    pub(super) fn has_other_meaning(&self, index: usize) -> bool {
        let Some(this) = ROWS.get(index) else { return false };
        let mut later = ROWS.iter().zip(&self.rows).skip(index + 1);
        later.any(|(row, state)| row.ask == this.ask && state.presence == Presence::Noted)
    }

    /// Whether a round asks for this variable.
    pub(super) fn is_asked(&self, index: usize, scope: Scope) -> bool {
        let due = ROWS.get(index).is_some_and(|row| row.class == Class::Poll || scope != Scope::Poll);
        match self.presence(index) {
            Presence::Here => due,
            Presence::NotYet | Presence::Quiet => scope == Scope::Hourly,
            Presence::Absent | Presence::Noted => false,
        }
    }

    /// Publishes an answer.
    pub(super) fn publish(&mut self, index: usize, text: &[u8], out: &mut Vec<Action>) {
        let Some(row) = ROWS.get(index) else { return };
        let rename = self.frequency_is_output && row.ask == b"F";
        let name = |name: String| if rename { variable(OUTPUT_FREQUENCY) } else { variable(&name) };
        let values = row.read(text).into_iter().map(|(text, value)| (name(text), value)).collect();
        let Some(state) = self.rows.get_mut(index) else { return };
        state.presence = Presence::Here;
        state.without = 0;
        state.show(row, values, out);
    }

    /// The model of a unit that does not tell it.
    pub(super) fn publish_model(&mut self, model: &str, out: &mut Vec<Action>) {
        let row = ROWS.iter().zip(&mut self.rows).find(|(row, _)| row.ask == MODEL);
        if let Some((row, state)) = row {
            state.show(row, vec![(variable(row.name), Value::new(model))], out);
        }
    }

    /// Whether the unit told its model itself.
    pub(super) fn tells_model(&self) -> bool {
        ROWS.iter().zip(&self.rows).any(|(row, state)| row.ask == MODEL && state.presence == Presence::Here)
    }

    /// There was no answer for a variable that is there. Its old value stands for one more round.
    pub(super) fn miss(&mut self, index: usize, presence: Presence, out: &mut Vec<Action>) {
        let Some(state) = self.rows.get_mut(index) else { return };
        state.without = state.without.saturating_add(1);
        if state.without >= ROUNDS_WITHOUT {
            state.presence = presence;
            state.hide(out);
        }
    }

    /// Whether an answer differs so gravely from what is published that it should be asked again.
    pub(super) fn is_grave(&self, index: usize, text: &[u8]) -> bool {
        let (Some(row), Some(state)) = (ROWS.get(index), self.rows.get(index)) else { return false };
        let [(_, before)] = state.shown.as_slice() else { return false };
        row.is_grave(before, &row.convert(text))
    }

    /// What is published under this name, in any case.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        let mut shown = self.rows.iter().flat_map(|state| &state.shown);
        shown.find(|(one, _)| one.is(name)).map(|(_, value)| value)
    }

    /// The row that publishes this name, in any case.
    pub(super) fn row_of(&self, name: &VarName) -> Option<usize> {
        self.rows.iter().position(|state| state.shown.iter().any(|(one, _)| one == name))
    }

    /// The values a setting steps through, if it has groups in the capability string.
    pub(super) fn ring(&self, index: usize) -> Option<&Ring> {
        self.rows.get(index)?.ring.as_ref()
    }

    /// Takes a capability group, if it belongs to a variable that is there, or may be later, and is not packed.
    ///
    /// Gives whether it does.
    pub(super) fn add_group(&mut self, group: &Group, out: &mut Vec<Action>) -> bool {
        let mut rows = ROWS.iter().zip(&mut self.rows);
        let found = rows.find(|(row, state)| {
            let is_possible = matches!(state.presence, Presence::Here | Presence::NotYet);
            row.ask == [group.command] && is_possible && !row.is_packed
        });
        let Some((row, state)) = found else { return false };
        let ring = state.ring.get_or_insert_with(|| Ring { choices: Vec::new(), steps: Some(0) });
        let more = group.is_whole.then_some(group.values.len());
        ring.steps = ring.steps.zip(more).map(|(steps, more)| steps.saturating_add(more));
        for value in group.values.iter().map(|value| row.convert(value)) {
            if !ring.choices.contains(&value) {
                ring.choices.push(value);
            }
        }
        state.tell_attributes(row, out);
        true
    }

    /// The unit takes this command byte.
    pub(super) fn add_command(&mut self, byte: u8, out: &mut Vec<Action>) {
        if self.commands.contains(&byte) {
            return;
        }
        let before = self.command_names();
        self.commands.push(byte);
        for name in commands::names(byte).filter(|name| !before.contains(name)) {
            out.push(Action::Change(Change::Command { name: command(name) }));
        }
    }

    /// Whether the unit takes this command byte.
    pub(super) fn takes(&self, byte: u8) -> bool {
        self.commands.contains(&byte)
    }

    /// The unit has two-byte queries; those that are known are there.
    pub(super) fn add_prefixed(&mut self, query: [u8; 2]) {
        let Some(index) = ROWS.iter().position(|row| row.ask == query) else { return };
        self.set_presence(index, Presence::Here);
        if query != INPUT_FREQUENCY || self.frequency_is_output {
            return;
        }
        // What `F` has published until now is the input's from here on.
        self.frequency_is_output = true;
        let of_f = ROWS.iter().position(|row| row.ask == b"F");
        let shown = of_f.and_then(|at| self.rows.get_mut(at)).map(|state| std::mem::take(&mut state.shown));
        if let (Some(shown), Some(state)) = (shown, self.rows.get_mut(index)) {
            state.shown = shown;
        }
    }

    /// Another unit: all that was published of this one goes.
    pub(super) fn forget(&mut self, out: &mut Vec<Action>) {
        for state in &mut self.rows {
            state.hide(out);
        }
        for name in self.command_names() {
            out.push(Action::Change(Change::NoCommand { name: command(name) }));
        }
        *self = Self::default();
    }

    /// Before it is asked from the beginning: what is published stays until it is known better.
    pub(super) fn begin_anew(&mut self) {
        for state in &mut self.rows {
            state.presence = Presence::Absent;
            state.without = 0;
            state.ring = None;
        }
        self.is_old = false;
        self.is_doubtful = false;
        self.frequency_is_output = false;
    }

    /// After it was asked from the beginning: what was published before and has no answer now goes.
    pub(super) fn drop_leftovers(&mut self, out: &mut Vec<Action>) {
        for (row, state) in ROWS.iter().zip(&mut self.rows) {
            // The model may come from the firmware.
            if state.presence != Presence::Here && row.ask != MODEL {
                state.hide(out);
            }
        }
    }

    /// Whether it is of the first two generations; nothing while it is not known.
    pub(super) fn generation(&self) -> Option<bool> {
        self.rows.iter().any(|state| state.presence == Presence::Here).then_some(self.is_old)
    }

    /// How many variables and commands there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        let variables = self.rows.iter().map(|state| state.shown.len()).sum();
        (variables, self.command_names().len())
    }

    fn command_names(&self) -> BTreeSet<&'static str> {
        self.commands.iter().flat_map(|byte| commands::names(*byte)).collect()
    }
}

fn command(name: &str) -> CmdName {
    name.parse().expect("the names of the table are names")
}

impl State {
    fn show(&mut self, row: &Row, values: Vec<(VarName, Value)>, out: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.shown, values);
        for (name, value) in &self.shown {
            if !before.iter().any(|old| old == &(name.clone(), value.clone())) {
                out.push(Action::Change(Change::Info { name: name.clone(), value: value.clone() }));
            }
        }
        for (name, _) in &before {
            if !self.shown.iter().any(|(one, _)| one == name) {
                out.push(Action::Change(Change::NoInfo { name: name.clone() }));
            }
        }
        if before.is_empty() {
            self.tell_attributes(row, out);
        }
    }

    fn hide(&mut self, out: &mut Vec<Action>) {
        for (name, _) in self.shown.drain(..) {
            out.push(Action::Change(Change::NoInfo { name }));
        }
    }

    /// What may be done with the variable. A capability group for a text makes it one that is stepped.
    fn tell_attributes(&self, row: &Row, out: &mut Vec<Action>) {
        let Some((name, _)) = self.shown.first() else { return };
        let is_text = row.kind == Kind::Settable;
        if is_text {
            let aux = i64::try_from(TEXT_LENGTH).unwrap_or(i64::MAX);
            out.push(Action::Change(Change::Aux { name: name.clone(), aux }));
        }
        let flags = match &self.ring {
            Some(_) => Flags::WRITABLE,
            None if is_text => Flags::WRITABLE_STRING,
            None => return,
        };
        out.push(Action::Change(Change::Flags { name: name.clone(), flags }));
        for value in self.ring.iter().flat_map(|ring| &ring.choices) {
            out.push(Action::Change(Change::Choice { name: name.clone(), value: value.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_proto::driver::encode_change;

    fn told(out: &mut Vec<Action>) -> Vec<String> {
        let mut lines = Vec::new();
        for action in out.drain(..) {
            let Action::Change(change) = action else { panic!("{action:?}") };
            let mut line = Vec::new();
            encode_change(&change, &mut line);
            lines.push(String::from_utf8(line).unwrap().trim_end().to_owned());
        }
        lines
    }

    fn at(ask: &[u8]) -> usize {
        ROWS.iter().position(|row| row.ask == ask).unwrap()
    }

    fn group(command: u8, values: &[&str]) -> Group {
        let values = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        Group { command, locale: b'4', values, is_whole: true }
    }

    #[test]
    fn a_value_is_told_when_it_changes() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"f"), b"100.0", &mut out);
        unit.publish(at(b"f"), b"100.0", &mut out);
        unit.publish(at(b"f"), b"099.0", &mut out);
        assert_eq!(told(&mut out), ["SETINFO battery.charge \"100.0\"", "SETINFO battery.charge \"099.0\""]);
    }

    #[test]
    fn packed_values_come_and_go() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"H"), b"037.2,034.0", &mut out);
        unit.publish(at(b"H"), b"037.2", &mut out);
        assert_eq!(
            told(&mut out),
            [
                "SETINFO ambient.2.humidity \"034.0\"",
                "SETINFO ambient.1.humidity \"037.2\"",
                "DELINFO ambient.2.humidity"
            ]
        );
    }

    #[test]
    fn one_round_without_an_answer_changes_nothing_and_a_return_brings_all_back() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"s"), b"H", &mut out);
        assert!(unit.add_group(&group(b's', &["H", "M", "L", "L"]), &mut out));
        assert_eq!(unit.ring(at(b"s")).unwrap().steps, Some(4));
        told(&mut out);
        unit.miss(at(b"s"), Presence::Here, &mut out);
        assert_eq!(told(&mut out), Vec::<String>::new());
        unit.miss(at(b"s"), Presence::Here, &mut out);
        assert_eq!(told(&mut out), ["DELINFO input.sensitivity"]);
        assert!(unit.is_asked(at(b"s"), Scope::Recovery));
        unit.publish(at(b"s"), b"H", &mut out);
        assert_eq!(
            told(&mut out),
            [
                "SETINFO input.sensitivity \"H\"",
                "SETFLAGS input.sensitivity RW",
                "ADDENUM input.sensitivity \"H\"",
                "ADDENUM input.sensitivity \"M\"",
                "ADDENUM input.sensitivity \"L\"",
            ]
        );
    }

    #[test]
    fn a_text_is_writable_and_a_group_makes_it_a_setting() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"c"), b"UPS_IDEN", &mut out);
        assert_eq!(
            told(&mut out),
            ["SETINFO ups.id \"UPS_IDEN\"", "SETAUX ups.id 8", "SETFLAGS ups.id RW STRING"]
        );
        assert!(unit.add_group(&group(b'c', &["A"]), &mut out));
        assert_eq!(told(&mut out), ["SETAUX ups.id 8", "SETFLAGS ups.id RW", "ADDENUM ups.id \"A\""]);
    }

    #[test]
    fn groups_of_what_is_not_there_are_not_taken() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        assert!(!unit.add_group(&group(b's', &["H"]), &mut out));
        unit.publish(at(b"H"), b"037.2", &mut out);
        assert!(!unit.add_group(&group(b'H', &["H"]), &mut out), "packed");
    }

    #[test]
    fn a_bypassed_frequency_belongs_to_the_output() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"F"), b"50.00", &mut out);
        unit.add_prefixed([0x9f, 0xd3]);
        unit.add_prefixed([0x9f, 0xff]);
        unit.publish(at(b"F"), b"50.01", &mut out);
        unit.publish(at(b"\x9f\xd3"), b"49.99", &mut out);
        assert_eq!(
            told(&mut out),
            [
                "SETINFO input.frequency \"50.00\"",
                "SETINFO output.frequency \"50.01\"",
                "SETINFO input.frequency \"49.99\"",
            ]
        );
    }

    #[test]
    fn the_first_meaning_that_fits_holds() {
        let mut unit = Unit::default();
        unit.note(b'b');
        unit.note(b'V');
        unit.decide(at(b"b"));
        assert_eq!(unit.presence(at(b"V")), Presence::Absent);
        assert_eq!(unit.presence(at(b"b")), Presence::Noted);
    }

    #[test]
    fn another_unit_takes_nothing_over() {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        unit.publish(at(b"f"), b"100.0", &mut out);
        unit.add_command(b'W', &mut out);
        unit.add_command(b'W', &mut out);
        assert_eq!(unit.counts(), (1, 2));
        told(&mut out);
        unit.forget(&mut out);
        assert_eq!(
            told(&mut out),
            ["DELINFO battery.charge", "DELCMD test.battery.start", "DELCMD test.battery.stop"]
        );
        assert_eq!(unit.counts(), (0, 0));
    }
}
