//! Changing a setting of the unit: values are stepped with `-`, texts are written byte by byte.
//!
//! apcsmart-driver §10. Each step writes the unit's memory, which does not last for ever: a value the unit does not have
//! is refused without a step, and the steps are counted, so that a ring with a repeated value is walked once, not wrongly.

use super::Context;
use super::exchange::{Answer, Ask, Turn};
use super::protocol::{Expecting, shown};
use super::question::{Judged, Question};
use super::timing::QUERY;
use super::unit::{Ring, Unit};
use super::variables::{Kind, ROWS, Row, TEXT_LENGTH};
use crate::driver::Weight;
use nut_proto::device::Value;
use nut_proto::driver::Judgement;
use nut_proto::names::VarName;

/// Most steps if the length of the ring is not known: NUT's number.
const MOST_STEPS: usize = 32;

/// Steps to the next value; begins the entry of a text.
const STEP: u8 = b'-';

/// Fills a text up to its length.
const FILLER: u8 = b'\r';

/// A variable being set.
#[derive(Debug)]
pub(super) struct Setting {
    index: usize,
    row: &'static Row,
    wanted: Value,
    way: Way,
    stage: Stage,
}

#[derive(Debug)]
enum Way {
    Text,
    Steps {
        /// How many have been made.
        made: usize,
        /// How many lead round.
        round: Option<usize>,
        /// The value at the beginning.
        first: Option<Vec<u8>>,
    },
}

#[derive(Debug)]
enum Stage {
    Begin,
    /// The value is read: the first time, or after a step.
    Reading(Question),
    /// `-` was sent.
    Stepping,
    /// The text is on its way.
    Writing,
    /// It is read once more, to be published.
    Checking(Question),
}

impl Setting {
    /// Decides whether a variable can be set so.
    ///
    /// # Errors
    /// How the order ends if not: no such variable or not writable, not a possible value, too long.
    pub(super) fn new(name: &VarName, wanted: &Value, unit: &Unit) -> Result<Self, Judgement> {
        let index = unit.row_of(name).ok_or(Judgement::Unknown)?;
        let row = ROWS.get(index).ok_or(Judgement::Unknown)?;
        let way = match unit.ring(index) {
            Some(ring) => Self::steps(ring, wanted)?,
            None if row.kind == Kind::Settable => text(wanted)?,
            None => return Err(Judgement::Unknown),
        };
        Ok(Self { index, row, wanted: wanted.clone(), way, stage: Stage::Begin })
    }

    fn steps(ring: &Ring, wanted: &Value) -> Result<Way, Judgement> {
        let round = ring.steps.filter(|steps| *steps > 0);
        if round.is_some() && !ring.choices.contains(wanted) {
            return Err(Judgement::Invalid);
        }
        Ok(Way::Steps { made: 0, round, first: None })
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<Judgement> {
        match (std::mem::replace(&mut self.stage, Stage::Begin), answer) {
            (Stage::Begin, _) | (_, None) => self.read(),
            (Stage::Reading(mut question), Some(answer)) => match question.take(answer) {
                Judged::Ask(ask) => {
                    self.stage = Stage::Reading(question);
                    Turn::Ask(ask)
                }
                Judged::Value(text) => self.compare(text, cx),
                Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Turn::End(Judgement::Failed),
            },
            (Stage::Stepping, Some(Answer::Reply(text))) if text == b"OK" => self.read(),
            (Stage::Stepping, Some(answer)) => self.refused(&answer, cx),
            (Stage::Writing, Some(Answer::Reply(text)))
                if !text.is_empty() && text != b"NO" && text != b"NA" =>
            {
                let question = Question::once(self.row.ask, self.row.shape());
                let ask = question.ask();
                self.stage = Stage::Checking(question);
                Turn::Ask(ask)
            }
            (Stage::Writing, Some(answer)) => self.refused(&answer, cx),
            (Stage::Checking(mut question), Some(answer)) => match question.take(answer) {
                Judged::Ask(ask) => {
                    self.stage = Stage::Checking(question);
                    Turn::Ask(ask)
                }
                Judged::Value(text) => self.check(&text, cx),
                // The unit took it; what it has now is told by the next full scan.
                Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Turn::End(Judgement::Handled),
            },
        }
    }

    fn read(&mut self) -> Turn<Judgement> {
        let question = Question::once(self.row.ask, self.row.shape());
        let ask = question.ask();
        self.stage = Stage::Reading(question);
        Turn::Ask(ask)
    }

    fn compare(&mut self, seen: Vec<u8>, cx: &mut Context<'_>) -> Turn<Judgement> {
        let is_there = self.row.convert(&seen) == self.wanted;
        match &mut self.way {
            Way::Text if is_there => Turn::End(Judgement::Handled),
            Way::Text => {
                let mut rest = self.wanted.as_str().as_bytes().to_vec();
                rest.resize(TEXT_LENGTH, FILLER);
                self.stage = Stage::Writing;
                Turn::Ask(Ask::Long { first: STEP, rest, expecting: Expecting::Value, patience: QUERY })
            }
            Way::Steps { made: 0, .. } if is_there => Turn::End(Judgement::Handled),
            Way::Steps { .. } if is_there => {
                let question = Question::once(self.row.ask, self.row.shape());
                let ask = question.ask();
                self.stage = Stage::Checking(question);
                Turn::Ask(ask)
            }
            Way::Steps { made, round, first } => {
                let is_round = match (*round, first.as_ref()) {
                    (Some(round), _) => *made >= round,
                    (None, first) => *made >= MOST_STEPS || first == Some(&seen),
                };
                if is_round {
                    cx.unit.publish(self.index, &seen, cx.out);
                    let text = format!("{} has no value {:?}", self.row.name, self.wanted.as_str());
                    cx.tell(Weight::Warning, &text);
                    return Turn::End(Judgement::Failed);
                }
                first.get_or_insert(seen);
                *made += 1;
                self.stage = Stage::Stepping;
                Turn::Ask(Ask::value(STEP, QUERY))
            }
        }
    }

    fn check(&mut self, seen: &[u8], cx: &mut Context<'_>) -> Turn<Judgement> {
        cx.unit.publish(self.index, seen, cx.out);
        let seen = self.row.convert(seen);
        // Units fill texts up with blanks.
        if seen.as_str().trim_end() == self.wanted.as_str().trim_end() {
            return Turn::End(Judgement::Handled);
        }
        let text =
            format!("{} was set to {:?} and is {:?}", self.row.name, self.wanted.as_str(), seen.as_str());
        cx.tell(Weight::Warning, &text);
        Turn::End(Judgement::Failed)
    }

    fn refused(&self, answer: &Answer, cx: &mut Context<'_>) -> Turn<Judgement> {
        let said = match answer {
            Answer::Reply(text) | Answer::Refused(text) => format!("answers {:?}", shown(text)),
            Answer::Silence | Answer::Garbled | Answer::Star | Answer::Passed => "does not answer".to_owned(),
        };
        cx.tell(Weight::Warning, &format!("the unit does not let {} be changed: it {said}", self.row.name));
        Turn::End(Judgement::Failed)
    }
}

/// A text the unit can take. A `-` inside would end the entry, and what follows would run as commands.
fn text(wanted: &Value) -> Result<Way, Judgement> {
    let bytes = wanted.as_str().as_bytes();
    if bytes.len() > TEXT_LENGTH {
        return Err(Judgement::Failed);
    }
    if bytes.contains(&STEP) || !bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) {
        return Err(Judgement::Invalid);
    }
    Ok(Way::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apcsmart::capability::Group;

    fn unit() -> Unit {
        let (mut unit, mut out) = (Unit::default(), Vec::new());
        let at = |byte| Unit::row_asked_by(byte).unwrap();
        unit.publish(at(b's'), b"H", &mut out);
        unit.publish(at(b'c'), b"UPS_IDEN", &mut out);
        unit.publish(at(b'f'), b"100.0", &mut out);
        let values = ["H", "M", "L", "L"].map(|value| value.as_bytes().to_vec()).to_vec();
        unit.add_group(&Group { command: b's', locale: b'4', values, is_whole: true }, &mut out);
        unit
    }

    fn refused(name: &str, value: &str) -> Judgement {
        Setting::new(&name.parse().unwrap(), &Value::new(value), &unit()).expect_err(name)
    }

    #[test]
    fn what_cannot_be_set_is_refused_before_a_byte_is_sent() {
        assert_eq!(refused("no.such.variable", "1"), Judgement::Unknown);
        assert_eq!(refused("battery.charge", "1"), Judgement::Unknown);
        assert_eq!(refused("battery.date", "01/01/26"), Judgement::Unknown, "not there");
        assert_eq!(refused("input.sensitivity", "X"), Judgement::Invalid);
        assert_eq!(refused("input.sensitivity", "h"), Judgement::Invalid, "case counts");
        assert_eq!(refused("ups.id", "123456789"), Judgement::Failed);
        assert_eq!(refused("ups.id", "A-B"), Judgement::Invalid);
        assert!(Setting::new(&"UPS.ID".parse().unwrap(), &Value::new("BOX 1"), &unit()).is_ok());
        assert!(Setting::new(&"Input.Sensitivity".parse().unwrap(), &Value::new("L"), &unit()).is_ok());
    }
}
