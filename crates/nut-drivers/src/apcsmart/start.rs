//! Getting to know a unit: smart mode, firmware, command set, which variables answer, which values they may have.
//!
//! apcsmart-driver §4. The order of the bytes is NUT's.

use super::Context;
use super::capability::{self, EVERY_LOCALE};
use super::commands;
use super::exchange::{Answer, Ask, Entry, SMART_MODE, SmartEntry, Turn};
use super::firmware::{Firmware, look_up};
use super::protocol::{Expecting, shown};
use super::question::{Judged, Miss, Question, Shape};
use super::timing::LONG_QUERY;
use super::unit::{Presence, Unit};
use super::variables::{ROWS, SKIPPED};
use crate::driver::{Action, Weight};
use nut_proto::device::{Change, Value};

/// Tries to enter smart mode.
const TRIES: u8 = 5;

/// So many variables in a row without a word: is the unit still there?
const SILENCES: u8 = 3;

/// The byte that queries the capabilities.
const CAPABILITIES: u8 = 0x1a;

/// What is tried on a unit that does not tell its commands; `b` and `V` are decided on at the end.
const LEGACY: &[u8] = b"CPLOfB\x01nbV/";

/// A start on its way.
#[derive(Debug)]
pub(super) struct Start {
    stage: Stage,
    mode: Mode,
    commands: Vec<u8>,
    prefixed: Vec<[u8; 2]>,
    next: usize,
    silences: u8,
    /// Its firmware is that of a unit with the small set of commands, which it tells in another form: `V` was not
    /// answered, and the revision in `b` is a letter (`42.L.I`; of others it is a number, `21.3.I`).
    is_small_unit: bool,
    /// Something was asked for twice because the answer was hard to believe.
    has_asked_again: bool,
    /// The capability string is known to end in the middle: that is not worth a message.
    ends_early: bool,
}

#[derive(Debug)]
enum Stage {
    Entering(SmartEntry),
    OldFirmware(Question),
    NewFirmware(Question),
    CommandSet(Question),
    /// `Y` was sent before the command set is asked for again.
    Reentering,
    /// The next command byte is to be looked at.
    Looking,
    Variable(usize, Question),
    /// Many were silent: `Y` was sent to see whether the unit is there.
    Reassuring,
    /// The next variable whose byte has several meanings.
    Deciding,
    Meaning {
        index: usize,
        question: Question,
        /// It is asked again, with `Y` before, because the answer fitted nothing.
        is_again: bool,
    },
    Capabilities(Question),
}

/// How the unit's commands are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It told them.
    Told,
    /// From the table of firmwares.
    Listed,
    /// Not at all: only a few variables are tried.
    Legacy,
}

/// How a start ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StartEnd {
    /// The unit is known. Its status is not yet.
    Good,
    /// It does not enter smart mode.
    Dumb,
    /// It did, and then could not be heard; why.
    Failed(String),
}

impl Start {
    /// A start from the beginning.
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Entering(SmartEntry::new(TRIES)),
            mode: Mode::Legacy,
            commands: Vec::new(),
            prefixed: Vec::new(),
            next: 0,
            silences: 0,
            is_small_unit: false,
            has_asked_again: false,
            ends_early: false,
        }
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, mut answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<StartEnd> {
        loop {
            let stage = std::mem::replace(&mut self.stage, Stage::Looking);
            let turn = match (stage, answer.take()) {
                (Stage::Entering(entry), answer) => Some(self.enter(entry, answer, cx)),
                (Stage::OldFirmware(question), Some(answer)) => self.old_firmware(question, answer, cx),
                (Stage::NewFirmware(question), Some(answer)) => self.new_firmware(question, answer, cx),
                (Stage::CommandSet(question), Some(answer)) => self.command_set(question, answer, cx),
                // Whether the unit answers or not is seen by the next question.
                (Stage::Reentering, Some(_)) => Some(self.ask_command_set()),
                (Stage::Variable(index, question), Some(answer)) => {
                    self.variable(index, question, answer, cx)
                }
                (Stage::Reassuring, Some(answer)) => self.reassured(&answer),
                (Stage::Meaning { index, question, is_again }, Some(answer)) => {
                    self.meaning(index, question, is_again, answer, cx)
                }
                (Stage::Capabilities(question), Some(answer)) => self.capabilities(question, answer, cx),
                (Stage::Deciding, _) => self.decide_next(cx),
                (Stage::Looking, _) => self.look_at_next(cx),
                // An answer is only ever missing at the beginning.
                (_, None) => Some(Turn::End(StartEnd::Dumb)),
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    fn enter(
        &mut self,
        mut entry: SmartEntry,
        answer: Option<Answer>,
        cx: &mut Context<'_>,
    ) -> Turn<StartEnd> {
        match entry.next(answer) {
            Entry::Ask(ask) => {
                self.stage = Stage::Entering(entry);
                Turn::Ask(ask)
            }
            Entry::Dumb => Turn::End(StartEnd::Dumb),
            Entry::Smart => {
                cx.unit.begin_anew();
                let question = Question::once(b"V", Shape::Text);
                let ask = question.ask();
                self.stage = Stage::OldFirmware(question);
                Turn::Ask(ask)
            }
        }
    }

    fn old_firmware(
        &mut self,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::OldFirmware(question);
                Some(Turn::Ask(ask))
            }
            // Units of which two digits are known say them to b. Here they may be a late status.
            Judged::Value(text) if Shape::Status.fits(&text) && !self.has_asked_again => {
                self.has_asked_again = true;
                let ask = question.reenter();
                self.stage = Stage::OldFirmware(question);
                Some(Turn::Ask(ask))
            }
            Judged::Value(text) => self.with_firmware(&text, cx),
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) => {
                let question = Question::once(b"b", Shape::Text);
                let ask = question.ask();
                self.stage = Stage::NewFirmware(question);
                Some(Turn::Ask(ask))
            }
        }
    }

    fn new_firmware(
        &mut self,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::NewFirmware(question);
                Some(Turn::Ask(ask))
            }
            Judged::Value(text) => {
                let revision = text.split(|byte| *byte == b'.').nth(1);
                self.is_small_unit = revision.and_then(<[u8]>::first).is_some_and(u8::is_ascii_alphabetic);
                self.with_firmware(&text, cx)
            }
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Some(self.ask_command_set()),
        }
    }

    /// The table's commands are looked at next; a unit that is not in it is asked for its own.
    fn with_firmware(&mut self, text: &[u8], cx: &mut Context<'_>) -> Option<Turn<StartEnd>> {
        match look_up(text) {
            Firmware::Listed { commands, model, is_old } => {
                self.mode = Mode::Listed;
                self.commands = commands.to_vec();
                cx.unit.is_old = is_old;
                cx.unit.publish_model(model, cx.out);
                if is_old && cx.options.hibernates_for_nothing() {
                    cx.tell(
                        Weight::Warning,
                        "this unit is of a generation that does nothing on @000: where that is configured it will be \
                         sent @001, and switch its output on again after 6 minutes, mains or not; set awd to choose \
                         another time",
                    );
                }
                None
            }
            Firmware::CutShort => {
                self.ends_early = true;
                Some(self.ask_command_set())
            }
            Firmware::Other => Some(self.ask_command_set()),
        }
    }

    fn ask_command_set(&mut self) -> Turn<StartEnd> {
        let question = Question::insistent(b"a", Shape::Bytes).read_as(Expecting::Commands, LONG_QUERY);
        let ask = question.ask();
        self.stage = Stage::CommandSet(question);
        Turn::Ask(ask)
    }

    fn command_set(
        &mut self,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        let told = match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::CommandSet(question);
                return Some(Turn::Ask(ask));
            }
            Judged::Dead(miss) => return Some(silent(&question, &miss)),
            // Units whose answer is of another form list their alerts all the same. All else is noise, or the answer to
            // something else; half the unit would be lost by believing it.
            Judged::Value(text)
                if command_set(&text).is_none()
                    && (!self.is_small_unit || !text.contains(&b'!'))
                    && !self.has_asked_again =>
            {
                self.has_asked_again = true;
                self.stage = Stage::Reentering;
                return Some(Turn::Ask(Ask::Smart));
            }
            Judged::Value(text) => command_set(&text),
            Judged::Na | Judged::Missing(_) => None,
        };
        match told {
            Some((commands, prefixed)) => {
                self.mode = Mode::Told;
                self.commands = commands;
                self.prefixed = prefixed;
            }
            None => {
                self.mode = Mode::Legacy;
                self.commands = LEGACY.to_vec();
                cx.unit.is_doubtful = !self.is_small_unit;
                cx.tell(Weight::Info, "the unit does not tell its commands: only a few variables are tried");
            }
        }
        None
    }

    fn look_at_next(&mut self, cx: &mut Context<'_>) -> Option<Turn<StartEnd>> {
        while let Some(byte) = self.commands.get(self.next).copied() {
            self.next += 1;
            if SKIPPED.contains(&byte) {
                continue;
            }
            if let Some((index, row)) = Unit::row_asked_by(byte).and_then(|at| Some((at, ROWS.get(at)?))) {
                if row.multi.is_some() {
                    cx.unit.note(byte);
                    continue;
                }
                let question = Question::once(row.ask, row.shape());
                let ask = question.ask();
                self.stage = Stage::Variable(index, question);
                return Some(Turn::Ask(ask));
            }
            if commands::names(byte).next().is_some() {
                cx.unit.add_command(byte, cx.out);
            } else {
                cx.tell(
                    Weight::Debug,
                    &format!("the unit lists the command {}, which is not known", shown(&[byte])),
                );
            }
        }
        self.next = 0;
        self.stage = Stage::Deciding;
        None
    }

    fn variable(
        &mut self,
        index: usize,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        let judged = question.take(answer);
        self.silences = match &judged {
            Judged::Missing(Miss::Silence) => self.silences.saturating_add(1),
            Judged::Ask(_) => self.silences,
            Judged::Value(_) | Judged::Na | Judged::Missing(_) | Judged::Dead(_) => 0,
        };
        match judged {
            Judged::Ask(ask) => {
                self.stage = Stage::Variable(index, question);
                return Some(Turn::Ask(ask));
            }
            Judged::Value(text) => cx.unit.publish(index, &text, cx.out),
            Judged::Na => cx.unit.set_presence(index, Presence::NotYet),
            Judged::Dead(miss) => return Some(silent(&question, &miss)),
            Judged::Missing(miss) => {
                cx.tell(Weight::Debug, &format!("{} {miss}: left out", question.name()));
                // A unit that does not tell its commands is silent at each one it does not know.
                if self.mode != Mode::Legacy || miss != Miss::Silence {
                    cx.unit.set_presence(index, Presence::NotYet);
                }
            }
        }
        if self.silences < SILENCES || self.mode == Mode::Legacy {
            return None;
        }
        self.stage = Stage::Reassuring;
        Some(Turn::Ask(Ask::Smart))
    }

    fn reassured(&mut self, answer: &Answer) -> Option<Turn<StartEnd>> {
        self.silences = 0;
        match answer {
            Answer::Reply(text) if text == SMART_MODE => None,
            _ => {
                let why = "the unit fell silent while it was asked what it has".to_owned();
                Some(Turn::End(StartEnd::Failed(why)))
            }
        }
    }

    fn decide_next(&mut self, cx: &mut Context<'_>) -> Option<Turn<StartEnd>> {
        let mut rows = ROWS.iter().enumerate().skip(self.next);
        let noted = rows.find(|(index, _)| cx.unit.presence(*index) == Presence::Noted);
        let Some((index, row)) = noted else {
            return Some(self.end_of_variables(cx));
        };
        self.next = index + 1;
        // Silence is a way of a unit that does not tell its commands; of others it is a loss, and the firmware decides
        // which lists hold.
        let question = if self.mode == Mode::Legacy {
            Question::once(row.ask, Shape::Text)
        } else {
            Question::insistent(row.ask, Shape::Text)
        };
        let ask = question.ask();
        self.stage = Stage::Meaning { index, question, is_again: false };
        Some(Turn::Ask(ask))
    }

    fn meaning(
        &mut self,
        index: usize,
        mut question: Question,
        is_again: bool,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        self.stage = Stage::Deciding;
        match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::Meaning { index, question, is_again };
                return Some(Turn::Ask(ask));
            }
            Judged::Value(text) if ROWS.get(index).is_some_and(|row| row.matches(&text)) => {
                cx.unit.decide(index);
                cx.unit.publish(index, &text, cx.out);
            }
            // If the byte has another meaning it is asked next; else it is asked again, for it may have been noise.
            Judged::Value(_) if !is_again && !cx.unit.has_other_meaning(index) => {
                let ask = question.reenter();
                self.stage = Stage::Meaning { index, question, is_again: true };
                return Some(Turn::Ask(ask));
            }
            Judged::Dead(miss) => return Some(silent(&question, &miss)),
            Judged::Value(_) | Judged::Na | Judged::Missing(_) => {
                cx.unit.set_presence(index, Presence::Absent);
            }
        }
        None
    }

    fn end_of_variables(&mut self, cx: &mut Context<'_>) -> Turn<StartEnd> {
        for query in self.prefixed.drain(..) {
            cx.unit.add_prefixed(query);
        }
        if self.mode == Mode::Legacy {
            let has_current =
                Unit::row_asked_by(b'/').is_some_and(|at| cx.unit.presence(at) == Presence::Here);
            if has_current {
                cx.unit.publish_model("Matrix-UPS", cx.out);
            } else if !cx.unit.tells_model() {
                cx.unit.publish_model("Smart-UPS", cx.out);
            }
        }
        if self.mode == Mode::Told && self.commands.contains(&CAPABILITIES) {
            let question = Question::insistent(&[CAPABILITIES], Shape::Bytes);
            let question = question.read_as(Expecting::Capabilities, LONG_QUERY);
            let ask = question.ask();
            self.stage = Stage::Capabilities(question);
            return Turn::Ask(ask);
        }
        Self::finish(cx)
    }

    fn capabilities(
        &mut self,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<StartEnd>> {
        match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::Capabilities(question);
                return Some(Turn::Ask(ask));
            }
            Judged::Value(text) => self.take_capabilities(&text, cx),
            Judged::Na => {
                cx.tell(Weight::Warning, "the unit lists ^Z, but does not tell which values it takes")
            }
            Judged::Missing(miss) => {
                cx.tell(Weight::Warning, &format!("^Z {miss}: no setting can be changed"));
            }
            Judged::Dead(miss) => return Some(silent(&question, &miss)),
        }
        Some(Self::finish(cx))
    }

    fn take_capabilities(&self, text: &[u8], cx: &mut Context<'_>) {
        let seen = capability::parse(text);
        cx.power.to_confirm |= seen.alert_in_front;
        for flaw in &seen.flaws {
            let weight = if self.ends_early { Weight::Debug } else { Weight::Warning };
            cx.tell(weight, &format!("the unit's capability string is damaged: {flaw}"));
        }
        let firmware = cx.unit.value("ups.firmware").map(|value| value.as_str().trim_end().as_bytes());
        let locale = firmware.and_then(|firmware| firmware.last().copied());
        for group in &seen.groups {
            if group.locale == EVERY_LOCALE || Some(group.locale) == locale {
                cx.unit.add_group(group, cx.out);
            }
        }
    }

    fn finish(cx: &mut Context<'_>) -> Turn<StartEnd> {
        cx.unit.drop_leftovers(cx.out);
        let name = "ups.mfr".parse().expect("it is a name");
        cx.out.push(Action::Change(Change::Info { name, value: Value::new("APC") }));
        Turn::End(StartEnd::Good)
    }
}

/// The unit does not even answer `Y` any more.
fn silent(question: &Question, miss: &Miss) -> Turn<StartEnd> {
    Turn::End(StartEnd::Failed(format!("{} {miss}, and neither is Y", question.name())))
}

/// The command bytes and the two-byte queries of a reply to `a`; `None` if it is none.
///
/// `version "." alerts "." commands [ "." extension ]`: the version is one digit, the commands are at least one.
fn command_set(text: &[u8]) -> Option<(Vec<u8>, Vec<[u8; 2]>)> {
    let mut parts = text.split(|byte| *byte == b'.');
    let (version, _alerts, commands) = (parts.next()?, parts.next()?, parts.next()?);
    let extension = parts.next();
    let well_formed = matches!(version, [digit] if digit.is_ascii_digit())
        && !commands.is_empty()
        && extension.is_none_or(|extension| !extension.is_empty())
        && parts.next().is_none();
    well_formed.then(|| (commands.to_vec(), extension.map(prefixed).unwrap_or_default()))
}

/// A byte with a colon behind it is the prefix of those that follow.
fn prefixed(extension: &[u8]) -> Vec<[u8; 2]> {
    let mut queries = Vec::new();
    let mut prefix = None;
    let mut rest = extension;
    while let [byte, behind @ ..] = rest {
        if let [b':', behind @ ..] = behind {
            prefix = Some(*byte);
            rest = behind;
            continue;
        }
        queries.extend(prefix.map(|prefix| [prefix, *byte]));
        rest = behind;
    }
    queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_sets_of_real_units() {
        let good: [&[u8]; 3] = [
            b"3.!$%+?=#|.\x01\x0e\x1a')+-89@ABDEFGKLMNOPQRSUVWXYZabcdefgjklmnopqrsuxyz~\x7f",
            b"4.!$%+?=*#|\x04.\x01\x05\x1a/.\x81:\xd0\xe2\xf0\xfd\xfe\xff",
            b"3..A",
        ];
        for text in good {
            assert!(command_set(text).is_some(), "{}", shown(text));
        }
        let bad: [&[u8]; 9] = [
            b"",
            b"SM",
            b".!$?.3",
            b"2).?=*%+#!$.98~`\x01ynba@YXUSQKGA",
            b"3.A",
            b"3.A.",
            b"3.A.B.",
            b"3.A.B.C.D",
            b"33.A.B",
        ];
        for text in bad {
            assert_eq!(command_set(text), None, "{}", shown(text));
        }
    }

    #[test]
    fn two_byte_queries_stand_behind_their_prefix() {
        assert_eq!(prefixed(b"\x9f:\xd3\xd4"), [[0x9f, 0xd3], [0x9f, 0xd4]]);
        assert_eq!(prefixed(b"\x81:\xd0\x9f:\xd3"), [[0x81, 0xd0], [0x9f, 0xd3]]);
        assert_eq!(prefixed(b"\xd3"), Vec::<[u8; 2]>::new());
    }
}
