//! One question whose answer is judged before anybody believes it.
//!
//! NUT takes the first line that comes. Here `SM` ("not ready") is asked again, and an answer that cannot be one, or is
//! missed, is followed by `Y` and one more question: a unit that fell back to dumb mode is caught before its data go
//! stale, and a late reply cannot pass for the next one.

use super::exchange::{Answer, Ask, SMART_MODE};
use super::protocol::{Expecting, shown};
use super::timing::{NOT_READY, QUERY};
use std::fmt;
use std::time::Duration;

/// How often `SM` is asked again.
const SM_REPEATS: u8 = 3;

/// Longest piece of an odd answer that is quoted in a message, in bytes.
const QUOTED: usize = 24;

/// What an answer must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Two hexadecimal digits, nothing else, ever.
    Status,
    /// A number. Another answer is believed when it is given twice.
    Number,
    /// A number, nothing else: low battery may be judged by it.
    StrictNumber,
    /// Minutes, `0042:`, or `>>>>:` for more than can be shown. Nothing else.
    Minutes,
    /// Hours, `ON` or `OFF`.
    Hours,
    /// Some text, mostly printable.
    Text,
    /// The same, or nothing: people may have set it so.
    MaybeEmpty,
    /// Any bytes at all.
    Bytes,
}

impl Shape {
    /// Whether an answer looks so.
    pub(super) fn fits(self, text: &[u8]) -> bool {
        match self {
            Self::Status => text.len() == 2 && text.iter().all(u8::is_ascii_hexdigit),
            Self::Number | Self::StrictNumber => is_number(text.trim_ascii()),
            Self::Minutes => {
                let text = text.trim_ascii();
                let digits = text.strip_suffix(b":").unwrap_or(text);
                is_number(digits) || (!digits.is_empty() && digits.iter().all(|byte| *byte == b'>'))
            }
            Self::Hours => {
                let text = text.trim_ascii();
                text == b"ON" || text == b"OFF" || is_number(text)
            }
            Self::Text => !text.is_empty() && is_mostly_printable(text),
            Self::MaybeEmpty => is_mostly_printable(text),
            Self::Bytes => !text.is_empty(),
        }
    }

    /// Whether an answer of another shape is never believed, however often it is given.
    fn is_strict(self) -> bool {
        matches!(self, Self::Status | Self::StrictNumber | Self::Minutes)
    }
}

fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let points = text.iter().filter(|byte| **byte == b'.').count();
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits > 0 && points <= 1 && points + digits == text.len()
}

fn is_mostly_printable(text: &[u8]) -> bool {
    let odd = text.iter().filter(|byte| !(0x20..0x7f).contains(*byte)).count();
    odd * 4 <= text.len()
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Miss {
    /// Nothing came.
    Silence,
    /// Something came that did not end.
    Garbled,
    /// A line that cannot be the answer.
    Nonsense(Vec<u8>),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("is not answered"),
            Self::Garbled => f.write_str("is answered by bytes without an end"),
            Self::Nonsense(text) => {
                write!(f, "is answered {:?}", shown(text.get(..QUOTED).unwrap_or(text)))
            }
        }
    }
}

/// What is known of the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing yet: do this next.
    Ask(Ask),
    /// This is it.
    Value(Vec<u8>),
    /// `NA`: the unit does not know it, or not now.
    Na,
    /// There is none. With a way back to smart mode: the unit is there all the same, it answered `Y` in between.
    Missing(Miss),
    /// There is none, and the unit does not answer `Y` either.
    Dead(Miss),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Asking,
    Waiting,
    Reentering(Miss),
}

/// A question on its way.
#[derive(Debug)]
pub(super) struct Question {
    bytes: Vec<u8>,
    expecting: Expecting,
    shape: Shape,
    patience: Duration,
    may_reenter: bool,
    sm_left: u8,
    odd: Option<Vec<u8>>,
    stage: Stage,
}

impl Question {
    /// A question that a missed answer ends. These bytes ask it.
    pub(super) fn once(bytes: &[u8], shape: Shape) -> Self {
        let expecting = if shape == Shape::MaybeEmpty { Expecting::Text } else { Expecting::Value };
        Self {
            bytes: bytes.to_vec(),
            expecting,
            shape,
            patience: QUERY,
            may_reenter: false,
            sm_left: SM_REPEATS,
            odd: None,
            stage: Stage::Asking,
        }
    }

    /// A question that is asked once more after a missed answer, with `Y` between.
    pub(super) fn insistent(bytes: &[u8], shape: Shape) -> Self {
        Self { may_reenter: true, ..Self::once(bytes, shape) }
    }

    /// The same with another way of reading, and another patience.
    pub(super) fn read_as(self, expecting: Expecting, patience: Duration) -> Self {
        Self { expecting, patience, ..self }
    }

    /// The bytes that ask it, for a message.
    pub(super) fn name(&self) -> String {
        shown(&self.bytes)
    }

    /// What to do first, and to ask the same afresh.
    pub(super) fn ask(&self) -> Ask {
        Ask::Query { bytes: self.bytes.clone(), expecting: self.expecting, patience: self.patience }
    }

    /// Asks the same once more, with `Y` before, after an answer that fits its shape and nothing else.
    pub(super) fn reenter(&mut self) -> Ask {
        self.stage = Stage::Reentering(Miss::Garbled);
        Ask::Smart
    }

    /// Takes the answer to what was asked.
    pub(super) fn take(&mut self, answer: Answer) -> Judged {
        match (std::mem::replace(&mut self.stage, Stage::Asking), answer) {
            (Stage::Waiting, _) => Judged::Ask(self.ask()),
            (Stage::Reentering(_), Answer::Reply(text)) if text == SMART_MODE => Judged::Ask(self.ask()),
            (Stage::Reentering(miss), _) => Judged::Dead(miss),
            (Stage::Asking, Answer::Reply(text)) => self.judge(text),
            (Stage::Asking, Answer::Silence) => self.missed(Miss::Silence),
            (Stage::Asking, Answer::Garbled | Answer::Star | Answer::Refused(_) | Answer::Passed) => {
                self.missed(Miss::Garbled)
            }
        }
    }

    fn judge(&mut self, text: Vec<u8>) -> Judged {
        if text == SMART_MODE && self.sm_left > 0 {
            self.sm_left -= 1;
            self.stage = Stage::Waiting;
            return Judged::Ask(Ask::Pause(NOT_READY));
        }
        if text == b"NA" {
            return Judged::Na;
        }
        // A unit that goes on saying SM is not ready, whatever else the text might be; only a name may be "SM".
        let not_ready = text == SMART_MODE && self.shape != Shape::MaybeEmpty;
        if self.shape.fits(&text) && !not_ready {
            return Judged::Value(text);
        }
        let believable = !self.shape.is_strict() && !text.is_empty() && !not_ready;
        match self.odd.take() {
            Some(before) if before == text && believable => Judged::Value(text),
            None if !text.is_empty() && !not_ready => {
                // The true answer may be on its way: what comes before the reply to Y is not taken for the next one.
                self.odd = Some(text.clone());
                self.stage = Stage::Reentering(Miss::Nonsense(text));
                Judged::Ask(Ask::Smart)
            }
            Some(_) | None => self.missed(Miss::Nonsense(text)),
        }
    }

    fn missed(&mut self, miss: Miss) -> Judged {
        if !self.may_reenter {
            return Judged::Missing(miss);
        }
        self.may_reenter = false;
        self.odd = None;
        self.stage = Stage::Reentering(miss);
        Judged::Ask(Ask::Smart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Answer {
        Answer::Reply(text.as_bytes().to_vec())
    }

    fn value(text: &str) -> Judged {
        Judged::Value(text.as_bytes().to_vec())
    }

    #[test]
    fn shapes_of_real_answers() {
        use Shape::{Bytes, Hours, MaybeEmpty, Minutes, Number, Status, StrictNumber, Text};
        let good: [(Shape, &[&str]); 8] = [
            (Status, &["08", "FF", "0a"]),
            (Number, &["100.0", "009.1", "13.61", "012", "-05.0", " 7"]),
            (StrictNumber, &["100.0", "02"]),
            (Minutes, &["0042:", ">>>>:", "0042"]),
            (Hours, &["336", "ON ", "OFF", "001.5"]),
            (Text, &["SMART-UPS 420   ", "AS0537230534(", "abc\u{7f}"]),
            (MaybeEmpty, &["", "UPS_IDEN"]),
            (Bytes, &["\u{1}"]),
        ];
        for (shape, texts) in good {
            for text in texts {
                assert!(shape.fits(text.as_bytes()), "{shape:?} {text:?}");
            }
        }
        let bad: [(Shape, &[&str]); 8] = [
            (Status, &["", "8", "008", "0x8", "ZZ", "~08", " 8"]),
            (Number, &["", "1.2.3", "12x", ".", "NO", "1 2"]),
            (StrictNumber, &["x", "0042:"]),
            (Minutes, &[":", "", ">1:", "::"]),
            (Hours, &["", "NO"]),
            (Text, &["", "\u{1}\u{2}a"]),
            (MaybeEmpty, &["\u{1}"]),
            (Bytes, &[""]),
        ];
        for (shape, texts) in bad {
            for text in texts {
                assert!(!shape.fits(text.as_bytes()), "{shape:?} {text:?}");
            }
        }
    }

    #[test]
    fn not_ready_is_asked_again_a_few_times() {
        let mut question = Question::once(b"V", Shape::Text);
        for _ in 0..3 {
            assert_eq!(question.take(reply("SM")), Judged::Ask(Ask::Pause(NOT_READY)));
            assert_eq!(question.take(Answer::Passed), Judged::Ask(Ask::value(b'V', QUERY)));
        }
        assert_eq!(question.take(reply("SM")), Judged::Missing(Miss::Nonsense(b"SM".to_vec())));
        let mut question = Question::once(b"V", Shape::Text);
        question.take(reply("SM"));
        question.take(Answer::Passed);
        assert_eq!(question.take(reply("FWI")), value("FWI"));
    }

    #[test]
    fn an_odd_answer_is_believed_when_it_is_given_twice_and_may_be_odd() {
        let mut question = Question::once(b"C", Shape::Number);
        assert_eq!(question.take(reply("--.-")), Judged::Ask(Ask::Smart));
        assert_eq!(question.take(reply("SM")), Judged::Ask(Ask::value(b'C', QUERY)));
        assert_eq!(question.take(reply("--.-")), value("--.-"));
        let mut question = Question::once(b"C", Shape::Number);
        question.take(reply("02x.9"));
        question.take(reply("SM"));
        assert_eq!(question.take(reply("022.9")), value("022.9"));
        let mut question = Question::once(b"Q", Shape::Status);
        question.take(reply("ZZ"));
        question.take(reply("SM"));
        assert_eq!(question.take(reply("ZZ")), Judged::Missing(Miss::Nonsense(b"ZZ".to_vec())));
    }

    #[test]
    fn a_missed_answer_is_followed_by_smart_mode_and_one_more_question() {
        let mut question = Question::insistent(b"Q", Shape::Status);
        assert_eq!(question.take(Answer::Silence), Judged::Ask(Ask::Smart));
        assert_eq!(question.take(reply("SM")), Judged::Ask(Ask::value(b'Q', QUERY)));
        assert_eq!(question.take(reply("08")), value("08"));

        let mut question = Question::insistent(b"Q", Shape::Status);
        question.take(Answer::Garbled);
        assert_eq!(question.take(Answer::Silence), Judged::Dead(Miss::Garbled));

        let mut question = Question::insistent(b"G", Shape::Text);
        question.take(Answer::Silence);
        question.take(reply("SM"));
        assert_eq!(question.take(Answer::Silence), Judged::Missing(Miss::Silence));
    }

    #[test]
    fn only_what_people_may_have_set_may_be_empty() {
        assert_eq!(Question::once(b"c", Shape::MaybeEmpty).take(reply("")), value(""));
        let missing = Judged::Missing(Miss::Nonsense(Vec::new()));
        assert_eq!(Question::once(b"n", Shape::Text).take(reply("")), missing);
    }
}
