//! What the unit says of its power: the status byte, the alerts that change it, and when a byte is believed.

use super::exchange::{Answer, Ask};
use super::protocol::Alert;
use super::question::{Judged, Question, Shape};
use crate::driver::Reading;
use nut_proto::status::Word;

/// Bit 0: runtime calibration.
pub(super) const CALIBRATING: u8 = 0x01;
/// Bit 3: on line.
pub(super) const ON_LINE: u8 = 0x08;
/// Bit 4: on battery.
pub(super) const ON_BATTERY: u8 = 0x10;
const TRIMMING: u8 = 0x02;
const BOOSTING: u8 = 0x04;
const OVERLOADED: u8 = 0x20;
const BATTERY_LOW: u8 = 0x40;
const REPLACE_BATTERY: u8 = 0x80;

/// How often a contradiction is put down to an alert that came while the question was on its way.
const DISTURBANCES: u8 = 3;

/// Most different answers in a row before the line is not trusted any more.
const CONTRADICTIONS: u8 = 5;

/// The words of `ups.status` for a status byte, in NUT's order (apcsmart-driver §6.1).
#[must_use]
pub(super) fn words(status: u8) -> Vec<Word> {
    let table = [
        (CALIBRATING, Word::Cal),
        (TRIMMING, Word::Trim),
        (BOOSTING, Word::Boost),
        (ON_LINE, Word::Ol),
        (ON_BATTERY, Word::Ob),
        (OVERLOADED, Word::Over),
        (BATTERY_LOW, Word::Lb),
        (REPLACE_BATTERY, Word::Rb),
    ];
    if status == 0 {
        return vec![Word::Off];
    }
    table.into_iter().filter(|(bit, _)| status & bit != 0).map(|(_, word)| word).collect()
}

/// The status byte in a reply of the right shape.
#[must_use]
pub(super) fn status_of(text: &[u8]) -> Option<u8> {
    if !Shape::Status.fits(text) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// Whether the load is fed by mains, and not by the battery.
#[must_use]
pub(super) const fn is_on_line(status: u8) -> bool {
    status & ON_LINE != 0 && status & ON_BATTERY == 0
}

/// The status as last believed.
#[derive(Debug, Default)]
pub(super) struct Power {
    known: Option<u8>,
    /// Whether the unit is being heard: alerts of one that is not are noise until it has answered.
    live: bool,
    /// Whether `Q` must be asked because an alert came.
    pub(super) to_confirm: bool,
    /// Whether an alert came since `Q` was sent.
    disturbed: bool,
}

impl Power {
    /// What is believed.
    pub(super) fn known(&self) -> Option<u8> {
        self.known
    }

    /// The unit is not heard any more.
    pub(super) fn lose(&mut self) {
        self.live = false;
        self.to_confirm = false;
    }

    /// Another unit: nothing is known of it.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes an alert; gives what is to be told at once, if it says something new.
    pub(super) fn alert(&mut self, alert: Alert) -> Option<Reading> {
        self.to_confirm = true;
        self.disturbed = true;
        let before = self.known.filter(|_| self.live)?;
        let after = match alert {
            Alert::LineFailed => before & !ON_LINE | ON_BATTERY,
            Alert::LineBack => before & !ON_BATTERY | ON_LINE,
            Alert::BatteryLow => before | BATTERY_LOW,
            Alert::BatteryOk => before & !BATTERY_LOW,
            Alert::ReplaceBattery => before | REPLACE_BATTERY,
            Alert::Abnormal => before | OVERLOADED,
            Alert::AbnormalOver => before & !OVERLOADED,
            Alert::SwitchingOff => before,
        };
        self.known = Some(after);
        (after != before).then(|| reading(after))
    }

    /// What is believed from now on, and to be told.
    pub(super) fn believe(&mut self, status: u8) -> Reading {
        self.known = Some(status);
        self.live = true;
        self.to_confirm &= self.disturbed;
        reading(status)
    }
}

fn reading(status: u8) -> Reading {
    Reading { words: words(status), ..Reading::default() }
}

/// Asks `Q` until what it says can be believed.
///
/// A byte equal to what is known is believed at once, and so is a plain "on line" of a unit never heard before. Any other
/// must be said twice in a row: one flipped bit makes a low battery of `08`, and a host would be stopped for it. A real
/// change is announced by an alert in most cases, and told then; otherwise the second question costs 60 ms.
#[derive(Debug)]
pub(super) struct StatusCheck {
    question: Question,
    candidate: Option<u8>,
    na: bool,
    disturbances: u8,
    contradictions: u8,
}

/// How far a check is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// Do this next.
    Ask(Ask),
    /// This can be believed.
    Believed(u8),
    /// The unit does not tell, or nothing that makes sense; a clause that says why.
    Failed(String),
}

impl StatusCheck {
    /// Begins one.
    pub(super) fn begin(power: &mut Power) -> (Self, Ask) {
        power.disturbed = false;
        let question = question();
        let ask = question.ask();
        let check = Self {
            question,
            candidate: None,
            na: false,
            disturbances: DISTURBANCES,
            contradictions: CONTRADICTIONS,
        };
        (check, ask)
    }

    /// Takes the answer to what was asked.
    pub(super) fn take(&mut self, answer: Answer, power: &mut Power) -> Checked {
        match self.question.take(answer) {
            Judged::Ask(ask) => {
                power.disturbed &= !matches!(ask, Ask::Query { .. });
                Checked::Ask(ask)
            }
            Judged::Value(text) => match status_of(&text) {
                Some(status) => self.weigh(status, power),
                None => Checked::Failed("Q is answered by no status".to_owned()),
            },
            Judged::Na if !self.na => {
                self.na = true;
                self.again(power)
            }
            Judged::Na => Checked::Failed("Q is answered \"NA\"".to_owned()),
            Judged::Missing(miss) | Judged::Dead(miss) => Checked::Failed(format!("Q {miss}")),
        }
    }

    fn weigh(&mut self, status: u8, power: &mut Power) -> Checked {
        if power.known == Some(status) || (power.known.is_none() && status == ON_LINE) {
            return Checked::Believed(status);
        }
        // The answer may be older than the alert.
        if power.disturbed && self.disturbances > 0 {
            self.disturbances -= 1;
            self.candidate = None;
            return self.again(power);
        }
        if self.candidate == Some(status) {
            return Checked::Believed(status);
        }
        self.candidate = Some(status);
        match self.contradictions.checked_sub(1) {
            None => Checked::Failed("the answers to Q contradict each other".to_owned()),
            Some(left) => {
                self.contradictions = left;
                self.again(power)
            }
        }
    }

    fn again(&mut self, power: &mut Power) -> Checked {
        power.disturbed = false;
        self.question = question();
        Checked::Ask(self.question.ask())
    }
}

fn question() -> Question {
    Question::insistent(b"Q", Shape::Status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u8) -> String {
        words(status).iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn reply(text: &str) -> Answer {
        Answer::Reply(text.as_bytes().to_vec())
    }

    fn knowing(status: u8) -> Power {
        let mut power = Power::default();
        power.believe(status);
        power
    }

    /// Answers given in turn to each question; `!` and others as alerts in front of the reply.
    fn check(power: &mut Power, replies: &[&str]) -> Option<Checked> {
        let (mut check, _) = StatusCheck::begin(power);
        for text in replies {
            let alerts = text.bytes().map_while(Alert::from_byte).count();
            for alert in text.bytes().map_while(Alert::from_byte) {
                power.alert(alert);
            }
            match check.take(reply(&text[alerts..]), power) {
                Checked::Ask(_) => {}
                end => return Some(end),
            }
        }
        None
    }

    #[test]
    fn words_in_the_order_of_their_bits() {
        let cases = [
            (0x08, "OL"),
            (0x10, "OB"),
            (0x50, "OB LB"),
            (0x0c, "BOOST OL"),
            (0x0a, "TRIM OL"),
            (0x09, "CAL OL"),
            (0x18, "OL OB"),
            (0x28, "OL OVER"),
            (0x40, "LB"),
            (0x88, "OL RB"),
            (0xff, "CAL TRIM BOOST OL OB OVER LB RB"),
            (0x00, "OFF"),
        ];
        for (status, expected) in cases {
            assert_eq!(said(status), expected);
        }
    }

    #[test]
    fn alerts_change_what_they_name() {
        let cases = [
            (0x08, Alert::LineFailed, "OB"),
            (0x10, Alert::LineBack, "OL"),
            (0x50, Alert::LineBack, "OL LB"),
            (0x10, Alert::BatteryLow, "OB LB"),
            (0x50, Alert::BatteryOk, "OB"),
            (0x08, Alert::ReplaceBattery, "OL RB"),
            (0x08, Alert::Abnormal, "OL OVER"),
            (0x28, Alert::AbnormalOver, "OL"),
        ];
        for (status, alert, expected) in cases {
            let told = knowing(status).alert(alert).expect("it is news");
            assert_eq!(told.words, words(told_status(expected)), "{alert:?}");
        }
        let mut power = knowing(0x10);
        assert_eq!(power.alert(Alert::LineFailed), None, "repeated every 30 s");
        assert!(power.to_confirm);
    }

    fn told_status(text: &str) -> u8 {
        (0..=u8::MAX).find(|status| said(*status) == text).expect("one byte says so")
    }

    #[test]
    fn an_alert_of_a_unit_that_is_not_heard_tells_nothing() {
        assert_eq!(Power::default().alert(Alert::LineFailed), None);
        let mut power = knowing(0x08);
        power.lose();
        assert_eq!(power.alert(Alert::LineFailed), None);
        assert_eq!(power.known(), Some(0x08));
    }

    #[test]
    fn what_is_known_is_believed_at_once_and_news_only_when_repeated() {
        assert_eq!(check(&mut Power::default(), &["08"]), Some(Checked::Believed(0x08)));
        assert_eq!(check(&mut Power::default(), &["10"]), None);
        assert_eq!(check(&mut Power::default(), &["10", "10"]), Some(Checked::Believed(0x10)));
        assert_eq!(check(&mut knowing(0x10), &["10"]), Some(Checked::Believed(0x10)));
        assert_eq!(check(&mut knowing(0x08), &["48"]), None);
        assert_eq!(check(&mut knowing(0x08), &["48", "08"]), Some(Checked::Believed(0x08)));
        assert_eq!(check(&mut knowing(0x08), &["48", "18", "18"]), Some(Checked::Believed(0x18)));
    }

    #[test]
    fn answers_that_contradict_each_other_end_in_no_status() {
        let replies = ["10", "50", "10", "50", "10", "50"];
        let end = check(&mut knowing(0x08), &replies);
        assert_eq!(end, Some(Checked::Failed("the answers to Q contradict each other".to_owned())));
    }

    #[test]
    fn an_answer_older_than_the_alert_does_not_take_it_back() {
        let mut power = knowing(0x08);
        assert_eq!(check(&mut power, &["!08", "10"]), Some(Checked::Believed(0x10)));
        assert!(!{
            power.believe(0x10);
            power.to_confirm
        });
        // A byte that was no alert is corrected by the second question.
        assert_eq!(check(&mut knowing(0x08), &["!08", "08", "08"]), Some(Checked::Believed(0x08)));
        // A storm of them ends.
        let storm = ["!08", "!08", "!08", "!08", "!08"];
        assert_eq!(check(&mut knowing(0x08), &storm), Some(Checked::Believed(0x08)));
    }

    #[test]
    fn an_alert_behind_the_question_asks_for_another() {
        let mut power = knowing(0x08);
        let (mut check, _) = StatusCheck::begin(&mut power);
        power.alert(Alert::LineFailed);
        assert_eq!(check.take(reply("10"), &mut power), Checked::Believed(0x10));
        power.believe(0x10);
        assert!(power.to_confirm, "the alert came while Q was on its way");
    }

    #[test]
    fn nothing_but_two_hexadecimal_digits_is_a_status() {
        for text in ["", "8", "ZZ", "0x", "008", "+8", "SM"] {
            assert_eq!(status_of(text.as_bytes()), None, "{text}");
        }
        assert_eq!(status_of(b"fF"), Some(0xff));
        let mut power = Power::default();
        let (mut check, _) = StatusCheck::begin(&mut power);
        check.take(reply("NA"), &mut power);
        assert_eq!(check.take(reply("NA"), &mut power), Checked::Failed("Q is answered \"NA\"".to_owned()));
    }
}
