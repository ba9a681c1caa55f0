//! One round of questions: the status, then the variables that are due, with the status again whenever an alert came.

use super::Context;
use super::exchange::{Answer, Turn};
use super::power::{Checked, StatusCheck};
use super::question::{Judged, Miss, Question};
use super::unit::{Presence, Scope};
use super::variables::{ROWS, Trust};
use crate::driver::Action;

/// More variables than these without an answer in one round: the line is not to be trusted.
const MISSES: u8 = 3;

/// A round on its way.
#[derive(Debug)]
pub(super) struct Round {
    scope: Scope,
    stage: Stage,
    next: usize,
    misses: u8,
    /// A status was asked for since the last variable: a storm of alerts must not keep the round from going on.
    has_confirmed: bool,
}

#[derive(Debug)]
enum Stage {
    Begin,
    Status(StatusCheck),
    Variable {
        index: usize,
        question: Question,
        /// It is asked again because the answer was hard to believe.
        again: bool,
    },
    Between,
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RoundEnd {
    /// All that was asked is known.
    Good,
    /// The unit is not to be heard, or not to be trusted; why.
    Stale(String),
    /// Another unit answers; how that shows.
    Swapped(String),
}

impl Round {
    /// A round of this scope.
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, stage: Stage::Begin, next: 0, misses: 0, has_confirmed: false }
    }

    /// What it asks for.
    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, mut answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<RoundEnd> {
        loop {
            let turn = match (std::mem::replace(&mut self.stage, Stage::Between), answer.take()) {
                (Stage::Status(check), Some(answer)) => self.status_answered(check, answer, cx),
                (Stage::Variable { index, question, again }, Some(answer)) => {
                    self.variable_answered(index, question, again, answer, cx)
                }
                (Stage::Begin, _) => Some(self.ask_status(cx)),
                (Stage::Between | Stage::Status(_) | Stage::Variable { .. }, _) => Some(self.ask_next(cx)),
            };
            if let Some(turn) = turn {
                return turn;
            }
        }
    }

    fn ask_status(&mut self, cx: &mut Context<'_>) -> Turn<RoundEnd> {
        let (check, ask) = StatusCheck::begin(cx.power);
        self.stage = Stage::Status(check);
        self.has_confirmed = true;
        Turn::Ask(ask)
    }

    fn ask_next(&mut self, cx: &mut Context<'_>) -> Turn<RoundEnd> {
        if cx.power.to_confirm && !self.has_confirmed {
            return self.ask_status(cx);
        }
        let mut due = ROWS.iter().enumerate().skip(self.next);
        let Some((index, row)) = due.find(|(index, _)| cx.unit.is_asked(*index, self.scope)) else {
            return Turn::End(RoundEnd::Good);
        };
        self.next = index + 1;
        self.has_confirmed = false;
        let question = match cx.unit.presence(index) {
            Presence::Here => Question::insistent(row.ask, row.shape()),
            Presence::Absent | Presence::Noted | Presence::NotYet | Presence::Quiet => {
                Question::once(row.ask, row.shape())
            }
        };
        let ask = question.ask();
        self.stage = Stage::Variable { index, question, again: false };
        Turn::Ask(ask)
    }

    fn status_answered(
        &mut self,
        mut check: StatusCheck,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<RoundEnd>> {
        match check.take(answer, cx.power) {
            Checked::Ask(ask) => {
                self.stage = Stage::Status(check);
                Some(Turn::Ask(ask))
            }
            Checked::Believed(status) => {
                cx.out.push(Action::Report(cx.power.believe(status)));
                None
            }
            Checked::Failed(reason) => Some(Turn::End(RoundEnd::Stale(reason))),
        }
    }

    fn variable_answered(
        &mut self,
        index: usize,
        mut question: Question,
        again: bool,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Option<Turn<RoundEnd>> {
        match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::Variable { index, question, again };
                Some(Turn::Ask(ask))
            }
            Judged::Value(text) if cx.unit.is_grave(index, &text) && !again => {
                let ask = question.ask();
                self.stage = Stage::Variable { index, question, again: true };
                Some(Turn::Ask(ask))
            }
            Judged::Value(text) => self.believed(index, &text, cx),
            Judged::Na => {
                let presence = cx.unit.presence(index);
                cx.unit.miss(index, presence, cx.out);
                None
            }
            Judged::Missing(miss) => self.missing(index, &question, &miss, cx),
            Judged::Dead(miss) => {
                Some(Turn::End(RoundEnd::Stale(format!("{} {miss}, and neither is Y", question.name()))))
            }
        }
    }

    fn believed(&mut self, index: usize, text: &[u8], cx: &mut Context<'_>) -> Option<Turn<RoundEnd>> {
        let is_identity = ROWS.get(index).is_some_and(|row| row.trust == Trust::Identity);
        if is_identity && self.scope != Scope::First && cx.unit.is_grave(index, text) {
            let name = ROWS.get(index).map_or("", |row| row.name);
            let before = cx.unit.value(name).map_or("", |value| value.as_str()).to_owned();
            let after: String = text.iter().map(|byte| char::from(*byte)).collect();
            let said = format!("{name} was {before:?} and is {after:?}");
            return Some(Turn::End(RoundEnd::Swapped(said)));
        }
        cx.unit.publish(index, text, cx.out);
        None
    }

    /// The unit answers `Y`, but not this.
    fn missing(
        &mut self,
        index: usize,
        question: &Question,
        miss: &Miss,
        cx: &mut Context<'_>,
    ) -> Option<Turn<RoundEnd>> {
        let presence = cx.unit.presence(index);
        if presence != Presence::Here {
            return None;
        }
        self.misses += 1;
        if self.misses > MISSES {
            return Some(Turn::End(RoundEnd::Stale(format!("{} {miss}", question.name()))));
        }
        let then = if *miss == Miss::Silence { Presence::Quiet } else { Presence::Here };
        cx.unit.miss(index, then, cx.out);
        None
    }
}
