//! Cutting the power: which command in which state of the line, and whether the unit confirmed it.
//!
//! apcsmart-driver §12, column "as written": the status is evaluated. NUT's evaluation has been broken since 2.7.1; on
//! mains its sdtype 0 and 4 cut nothing. Here the status is also asked again when a command was not confirmed, because
//! mains may have come back in between.

use super::Context;
use super::exchange::{Answer, Ask, Entry, SmartEntry, Turn};
use super::firmware;
use super::options::{Options, ShutdownType, Step};
use super::power::{ON_BATTERY, is_on_line, status_of};
use super::protocol::{Expecting, shown};
use super::question::{Judged, Question, Shape};
use super::timing::CONFIRMATION;
use crate::driver::Weight;
use std::collections::VecDeque;
use std::time::Duration;

/// Tries to enter smart mode before the commands are sent without.
const TRIES: u8 = 2;

/// How often the status is asked for.
const STATUS_TRIES: u8 = 2;

/// How often the whole is done until a command is confirmed.
const ROUNDS: u8 = 2;

/// The digits behind `@`: how many tenths of an hour the unit waits beyond its own delay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digits(Vec<u8>);

impl Default for Digits {
    fn default() -> Self {
        Self(b"000".to_vec())
    }
}

impl Digits {
    /// One to three digits. One is padded to three, which is what units take; two are sent as two, for the few that
    /// take two.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(if digits.len() == 1 { Self([b"00", digits].concat()) } else { Self(digits.to_vec()) })
    }

    /// Whether the unit is to wait no longer than by itself.
    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|digit| *digit == b'0')
    }

    /// One tenth of an hour.
    fn shortest() -> Self {
        Self(b"001".to_vec())
    }

    /// Two digits as the three that most units take.
    fn widened(&self) -> Option<Self> {
        (self.0.len() == 2).then(|| Self([b"0", self.0.as_slice()].concat()))
    }
}

/// A way to cut the power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    /// `S`: off after the unit's delay, back when mains are. Only on battery.
    Soft,
    /// `U`, a wait, `S`: the same on mains, after a forced power failure.
    ForcedSoft(Duration),
    /// `@` and digits: off after the unit's delay, back when mains are, not before the digits are over.
    Hibernate(Digits),
    /// `K` and again `K`: off after the unit's delay, until someone switches it on.
    StayOff,
    /// `Z` and again `Z`: off at once, until someone switches it on.
    Off,
}

impl Method {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Soft => "S".to_owned(),
            Self::ForcedSoft(_) => "U S".to_owned(),
            Self::Hibernate(digits) => format!("@{}", shown(&digits.0)),
            Self::StayOff => "K K".to_owned(),
            Self::Off => "Z Z".to_owned(),
        }
    }

    /// Whether a unit of the first two generations does nothing on it, perhaps even confirming that.
    fn is_nothing_to_an_old_unit(&self) -> bool {
        matches!(self, Self::Hibernate(digits) if digits.is_zero())
    }

    /// Whether the load stays without power until someone comes.
    fn stays_off(&self) -> bool {
        matches!(self, Self::StayOff | Self::Off)
    }
}

/// One method being tried.
#[derive(Debug)]
pub(super) struct Trial {
    method: Method,
    /// Whether the unit has said anything before. If not, its silence is no confirmation.
    was_heard: bool,
    stage: TrialStage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TrialStage {
    Begin,
    /// `U` was sent.
    Forced,
    /// The wait after `U`.
    Waiting,
    /// The command that must be confirmed was sent.
    Sent,
    /// `Y` was sent to end an entry of too few digits.
    Aborted(String),
}

/// How a trial ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The unit confirmed it.
    Confirmed,
    /// It did not; what it said instead.
    Refused(String),
}

impl Trial {
    /// This method, on a unit that has said something before or has not.
    pub(super) fn new(method: Method, was_heard: bool) -> Self {
        Self { method, was_heard, stage: TrialStage::Begin }
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, answer: Option<Answer>) -> Turn<Tried> {
        match (std::mem::replace(&mut self.stage, TrialStage::Sent), answer) {
            (TrialStage::Begin, _) | (_, None) => Turn::Ask(self.first()),
            (TrialStage::Forced, Some(_)) => {
                let wait = match &self.method {
                    Method::ForcedSoft(wait) => *wait,
                    Method::Soft | Method::Hibernate(_) | Method::StayOff | Method::Off => Duration::ZERO,
                };
                self.stage = TrialStage::Waiting;
                Turn::Ask(Ask::Pause(wait))
            }
            (TrialStage::Waiting, Some(_)) => Turn::Ask(soft()),
            (TrialStage::Sent, Some(answer)) => self.judge(&answer),
            (TrialStage::Aborted(said), Some(_)) => Turn::End(Tried::Refused(said)),
        }
    }

    fn first(&mut self) -> Ask {
        match &self.method {
            Method::Soft => soft(),
            Method::ForcedSoft(_) => {
                self.stage = TrialStage::Forced;
                Ask::value(b'U', CONFIRMATION)
            }
            Method::Hibernate(digits) => Ask::Long {
                first: b'@',
                rest: digits.0.clone(),
                expecting: Expecting::Confirmation,
                patience: CONFIRMATION,
            },
            Method::StayOff => Ask::Twice { byte: b'K', patience: Some(CONFIRMATION) },
            Method::Off => Ask::Twice { byte: b'Z', patience: Some(CONFIRMATION) },
        }
    }

    fn judge(&mut self, answer: &Answer) -> Turn<Tried> {
        let said = match answer {
            Answer::Star => return Turn::End(Tried::Confirmed),
            Answer::Reply(text) if text == b"OK" => return Turn::End(Tried::Confirmed),
            // A unit that switches off at once has nothing more to say.
            Answer::Silence if self.method == Method::Off && self.was_heard => {
                return Turn::End(Tried::Confirmed);
            }
            Answer::Silence if self.method == Method::Off => {
                "is not answered, as nothing was: whether it does it is not known".to_owned()
            }
            Answer::Reply(text) | Answer::Refused(text) => format!("is answered {:?}", shown(text)),
            Answer::Silence | Answer::Passed => "is not answered".to_owned(),
            Answer::Garbled => "is answered by bytes without an end".to_owned(),
        };
        let said = format!("{} {said}", self.method.name());
        let waits_for_a_digit = matches!(&self.method, Method::Hibernate(digits) if digits.0.len() == 2)
            && !matches!(answer, Answer::Refused(_));
        if waits_for_a_digit {
            self.stage = TrialStage::Aborted(said);
            return Turn::Ask(Ask::value(super::exchange::ENTER_SMART, CONFIRMATION));
        }
        Turn::End(Tried::Refused(said))
    }
}

fn soft() -> Ask {
    Ask::Query { bytes: vec![b'S'], expecting: Expecting::Confirmation, patience: CONFIRMATION }
}

/// What feeds the load, as far as the unit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Mains.
    Mains,
    /// The battery.
    Battery,
    /// Neither is said, or nothing at all.
    Unknown,
}

impl Line {
    fn of(status: u8) -> Self {
        match status {
            _ if is_on_line(status) => Self::Mains,
            _ if status & ON_BATTERY != 0 => Self::Battery,
            _ => Self::Unknown,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Mains => "on mains",
            Self::Battery => "on battery",
            Self::Unknown => "with the state of the line unknown",
        }
    }
}

/// What is tried in this state of the line, in order, until one is confirmed.
#[must_use]
pub(super) fn plan(options: &Options, line: Line) -> Vec<Method> {
    let mut methods = match &options.order {
        Some(order) => order.iter().flat_map(|step| of_step(*step, options, line)).collect(),
        None => of_type(options, line),
    };
    // A unit that takes three digits is not left on because two were configured.
    let mut at = 0;
    while let Some(method) = methods.get(at) {
        at += 1;
        if let Method::Hibernate(digits) = method
            && let Some(widened) = digits.widened()
        {
            methods.insert(at, Method::Hibernate(widened));
            at += 1;
        }
    }
    methods
}

fn of_type(options: &Options, line: Line) -> Vec<Method> {
    let hibernate = Method::Hibernate(options.wake_delay.clone());
    match (options.shutdown, line) {
        (ShutdownType::Soft, Line::Battery) => vec![Method::Soft],
        (ShutdownType::Soft | ShutdownType::SoftThenHibernate, Line::Mains) => vec![hibernate],
        (ShutdownType::SoftThenHibernate, Line::Battery)
        | (ShutdownType::Soft | ShutdownType::SoftThenHibernate, Line::Unknown) => {
            vec![Method::Soft, hibernate]
        }
        (ShutdownType::Off, _) => vec![Method::Off],
        (ShutdownType::StayOff, _) => vec![Method::StayOff],
        (ShutdownType::Forced, line) => of_step(Step::Forced, options, line),
        (ShutdownType::Hibernate, _) => vec![hibernate],
    }
}

fn of_step(step: Step, options: &Options, line: Line) -> Vec<Method> {
    match (step, line) {
        (Step::Soft, _) | (Step::Forced, Line::Battery) => vec![Method::Soft],
        (Step::Hibernate, _) => vec![Method::Hibernate(options.wake_delay.clone())],
        (Step::StayOff, _) => vec![Method::StayOff],
        (Step::Off, _) => vec![Method::Off],
        (Step::Forced, Line::Mains) => vec![Method::ForcedSoft(options.forced_wait)],
        (Step::Forced, Line::Unknown) => vec![Method::Soft, Method::ForcedSoft(options.forced_wait)],
    }
}

/// A shutdown on its way.
#[derive(Debug)]
pub(super) struct ShutDown {
    stage: Stage,
    status_tries: u8,
    rounds: u8,
    methods: VecDeque<Method>,
    refusals: Vec<String>,
    /// Whether the unit has said anything that makes sense. If not, its silence is no confirmation.
    was_heard: bool,
    /// Whether the unit is of the first two generations, once that is known.
    is_old: Option<bool>,
}

#[derive(Debug)]
enum Stage {
    Begin {
        is_smart: bool,
    },
    Entering(SmartEntry),
    Status(Question),
    /// `V` was sent, or `b`, because what comes next does nothing on an old unit.
    Generation {
        question: Question,
        is_second: bool,
    },
    Trying(Trial),
    Next,
}

impl ShutDown {
    /// A shutdown of a unit that has just entered smart mode, or of one that must be led there.
    pub(super) fn new(is_smart: bool) -> Self {
        Self {
            stage: Stage::Begin { is_smart },
            status_tries: STATUS_TRIES,
            rounds: ROUNDS,
            methods: VecDeque::new(),
            refusals: Vec::new(),
            was_heard: is_smart,
            is_old: None,
        }
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<Result<(), String>> {
        match (std::mem::replace(&mut self.stage, Stage::Next), answer) {
            (Stage::Begin { is_smart: true }, _) => self.ask_status(),
            (Stage::Begin { is_smart: false }, _) => self.enter(SmartEntry::new(TRIES), None, cx),
            (Stage::Entering(entry), answer) => self.enter(entry, answer, cx),
            (Stage::Status(question), Some(answer)) => self.status(question, answer, cx),
            (Stage::Generation { question, is_second }, Some(answer)) => {
                self.generation(question, is_second, answer, cx)
            }
            (Stage::Trying(trial), Some(answer)) => self.try_on(trial, Some(answer), cx),
            (Stage::Next | Stage::Status(_) | Stage::Generation { .. } | Stage::Trying(_), _) => {
                self.try_next(cx)
            }
        }
    }

    fn enter(
        &mut self,
        mut entry: SmartEntry,
        answer: Option<Answer>,
        cx: &mut Context<'_>,
    ) -> Turn<Result<(), String>> {
        match entry.next(answer) {
            Entry::Ask(ask) => {
                self.stage = Stage::Entering(entry);
                Turn::Ask(ask)
            }
            Entry::Smart => {
                self.was_heard = true;
                self.ask_status()
            }
            Entry::Dumb => {
                let text = "the unit does not answer: sending it the command to cut its power all the same";
                cx.tell(Weight::Warning, text);
                self.ask_status()
            }
        }
    }

    fn ask_status(&mut self) -> Turn<Result<(), String>> {
        self.status_tries = self.status_tries.saturating_sub(1);
        let question = Question::once(b"Q", Shape::Status).read_as(Expecting::Value, CONFIRMATION);
        let ask = question.ask();
        self.stage = Stage::Status(question);
        Turn::Ask(ask)
    }

    fn status(
        &mut self,
        mut question: Question,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Turn<Result<(), String>> {
        let line = match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::Status(question);
                return Turn::Ask(ask);
            }
            Judged::Value(text) => {
                self.was_heard = true;
                status_of(&text).map_or(Line::Unknown, Line::of)
            }
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) if self.status_tries > 0 => {
                return self.ask_status();
            }
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Line::Unknown,
        };
        self.rounds = self.rounds.saturating_sub(1);
        self.methods = plan(cx.options, line).into();
        let names: Vec<String> = self.methods.iter().map(Method::name).collect();
        cx.tell(
            Weight::Info,
            &format!("cutting the power: the unit is {}, sending {}", line.words(), names.join(", else ")),
        );
        self.try_next(cx)
    }

    fn try_next(&mut self, cx: &mut Context<'_>) -> Turn<Result<(), String>> {
        if self.methods.front().is_some_and(Method::is_nothing_to_an_old_unit) {
            if self.is_old.is_none() {
                self.is_old = cx.unit.generation();
            }
            match self.is_old {
                None => return self.ask_firmware(b'V', false),
                Some(true) => {
                    let text = "this unit does nothing on @000: sending @001, after which it switches its output on \
                                again in 6 minutes, mains or not; set awd to choose another time";
                    cx.tell(Weight::Warning, text);
                    self.methods.pop_front();
                    return self.try_on(
                        Trial::new(Method::Hibernate(Digits::shortest()), self.was_heard),
                        None,
                        cx,
                    );
                }
                Some(false) => {}
            }
        }
        if let Some(method) = self.methods.pop_front() {
            return self.try_on(Trial::new(method, self.was_heard), None, cx);
        }
        if self.rounds == 0 {
            return Turn::End(Err(self.refusals.join("; ")));
        }
        // Mains may have come back, or failed, since the status was asked for.
        self.status_tries = STATUS_TRIES;
        self.enter(SmartEntry::new(1), None, cx)
    }

    fn ask_firmware(&mut self, byte: u8, is_second: bool) -> Turn<Result<(), String>> {
        let question = Question::once(&[byte], Shape::Text).read_as(Expecting::Value, CONFIRMATION);
        let ask = question.ask();
        self.stage = Stage::Generation { question, is_second };
        Turn::Ask(ask)
    }

    fn generation(
        &mut self,
        mut question: Question,
        is_second: bool,
        answer: Answer,
        cx: &mut Context<'_>,
    ) -> Turn<Result<(), String>> {
        self.is_old = match question.take(answer) {
            Judged::Ask(ask) => {
                self.stage = Stage::Generation { question, is_second };
                return Turn::Ask(ask);
            }
            // Two digits are told to b only. Here they are a late status.
            Judged::Value(text) if !is_second && Shape::Status.fits(&text) => {
                return self.ask_firmware(b'b', true);
            }
            Judged::Value(text) => Some(firmware::is_old(&text)),
            // The oldest units know neither V nor a version, but answer b. A unit that is silent is not waited for twice.
            Judged::Na if !is_second => return self.ask_firmware(b'b', true),
            // One answer that was lost must not make an old unit a new one.
            Judged::Missing(_) if !is_second && self.was_heard => return self.ask_firmware(b'b', true),
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Some(false),
        };
        self.try_next(cx)
    }

    fn try_on(
        &mut self,
        mut trial: Trial,
        answer: Option<Answer>,
        cx: &mut Context<'_>,
    ) -> Turn<Result<(), String>> {
        match trial.next(answer) {
            Turn::Ask(ask) => {
                self.stage = Stage::Trying(trial);
                Turn::Ask(ask)
            }
            Turn::End(Tried::Confirmed) => {
                cx.tell(Weight::Info, &format!("{} is taken: the unit cuts its power", trial.method.name()));
                if trial.method.stays_off() {
                    let text = "the load stays off, also when mains return, until someone switches it on";
                    cx.tell(Weight::Warning, text);
                }
                Turn::End(Ok(()))
            }
            Turn::End(Tried::Refused(said)) => {
                if !self.refusals.contains(&said) {
                    self.refusals.push(said);
                }
                self.try_next(cx)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(name: &str, value: &str, awd: &str) -> Options {
        super::super::options::read([(name, Some(value)), ("awd", Some(awd))]).unwrap().0
    }

    fn names(options: &Options, line: Line) -> String {
        plan(options, line).iter().map(Method::name).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_right_command_for_each_sdtype_and_state_of_the_line() {
        let cases = [
            ("0", "@000", "S", "S, @000"),
            ("1", "@000", "S, @000", "S, @000"),
            ("2", "Z Z", "Z Z", "Z Z"),
            ("3", "K K", "K K", "K K"),
            ("4", "U S", "S", "S, U S"),
            ("5", "@000", "@000", "@000"),
        ];
        for (sdtype, mains, battery, unknown) in cases {
            let options = configured("sdtype", sdtype, "0");
            let seen = [Line::Mains, Line::Battery, Line::Unknown].map(|line| names(&options, line));
            assert_eq!(seen, [mains, battery, unknown], "sdtype {sdtype}");
        }
    }

    #[test]
    fn advorder_is_an_order_of_its_own() {
        let options = configured("advorder", "01234", "7");
        assert_eq!(names(&options, Line::Mains), "S, @007, K K, Z Z, U S");
        assert_eq!(names(&options, Line::Battery), "S, @007, K K, Z Z, S");
    }

    #[test]
    fn digits_as_units_take_them() {
        assert_eq!(Digits::parse("7"), Some(Digits(b"007".to_vec())));
        assert_eq!(Digits::parse("05"), Some(Digits(b"05".to_vec())));
        assert_eq!(Digits::parse("123"), Some(Digits(b"123".to_vec())));
        for bad in ["", "1234", "a", "-1", "1 "] {
            assert_eq!(Digits::parse(bad), None, "{bad:?}");
        }
        assert_eq!(names(&configured("sdtype", "5", "05"), Line::Mains), "@05, @005");
        assert_eq!(names(&configured("sdtype", "5", "005"), Line::Mains), "@005");
    }

    #[test]
    fn every_status_byte_is_one_state_of_the_line() {
        let cases = [(0x08, Line::Mains), (0x0c, Line::Mains), (0x10, Line::Battery), (0x50, Line::Battery)];
        for (status, line) in cases {
            assert_eq!(Line::of(status), line);
        }
        assert_eq!(Line::of(0x18), Line::Battery);
        assert_eq!(Line::of(0x00), Line::Unknown);
        assert_eq!(Line::of(0x40), Line::Unknown);
    }

    #[test]
    fn what_counts_as_confirmed() {
        let ends_for = |was_heard: bool, method: Method, answer: Answer| {
            let mut trial = Trial::new(method, was_heard);
            trial.next(None);
            trial.next(Some(answer))
        };
        let ends = |method, answer| ends_for(true, method, answer);
        let reply = |text: &str| Answer::Reply(text.as_bytes().to_vec());
        for method in [Method::Soft, Method::StayOff, Method::Off, Method::Hibernate(Digits::default())] {
            assert_eq!(ends(method.clone(), reply("OK")), Turn::End(Tried::Confirmed));
            assert_eq!(ends(method.clone(), Answer::Star), Turn::End(Tried::Confirmed));
            let refused = ends(method.clone(), reply("NA"));
            assert!(matches!(refused, Turn::End(Tried::Refused(_))), "{method:?}");
            let silent = ends(method.clone(), Answer::Silence);
            assert_eq!(silent == Turn::End(Tried::Confirmed), method == Method::Off, "{method:?}");
            let never_heard = ends_for(false, method.clone(), Answer::Silence);
            assert!(matches!(never_heard, Turn::End(Tried::Refused(_))), "{method:?}");
        }
        assert!(matches!(ends(Method::Off, Answer::Refused(b"NA".to_vec())), Turn::End(Tried::Refused(_))));
    }
}
