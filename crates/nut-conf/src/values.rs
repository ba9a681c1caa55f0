//! The values of one directive: counting words, reading numbers, leaving a line out.

use crate::Severity;
use crate::directives::{Directive, Row};
use crate::report::{Report, quoted};
use nut_proto::names::{Target, TargetError};
use nut_proto::numbers::Number;
use std::time::Duration;

/// Largest number of seconds, and of all else that NUT keeps in a C `int`.
pub(crate) const MAX_NUMBER: i64 = 2_147_483_647;

/// A directive that a row knows, with the report beside it.
#[derive(Debug)]
pub(crate) struct Line<'l, 'a> {
    pub(crate) row: &'static Row,
    pub(crate) directive: &'l Directive,
    pub(crate) report: &'l mut Report<'a>,
    /// Where the first value stands: behind the name, or behind the equals sign.
    first: usize,
}

impl<'l, 'a> Line<'l, 'a> {
    /// A line of a file without sections; `None` if no row knows it, which is then told.
    pub(crate) fn new(directive: &'l Directive, report: &'l mut Report<'a>) -> Option<Self> {
        let Some(row) = report.format().row(directive.name()) else {
            report.unknown(directive);
            return None;
        };
        if !row.repeats {
            report.once(row, directive);
        }
        Some(Self::known(row, directive, report, 1))
    }

    /// A line whose row is known; tells if we do not act on it.
    pub(crate) fn known(
        row: &'static Row,
        directive: &'l Directive,
        report: &'l mut Report<'a>,
        first: usize,
    ) -> Self {
        let mut line = Self { row, directive, report, first };
        if let Some(why) = row.idle {
            line.note(0, &format!("{} has no effect here", row.name), why, "");
        }
        line
    }

    /// The value at this place, counted from 1; empty if there are not so many.
    pub(crate) fn value(&self, nth: usize) -> &'l str {
        self.directive.text(self.first + nth - 1)
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> usize {
        self.directive.words.len().saturating_sub(self.first)
    }

    /// The values from this place on, counted from 1.
    pub(crate) fn values(&self, from: usize) -> impl Iterator<Item = &'l str> + use<'l> {
        self.directive.words.iter().skip(self.first + from - 1).map(|word| word.text.as_str())
    }

    /// Demands at least so many values; tells of those beyond `most`.
    pub(crate) fn takes(&mut self, least: usize, most: usize) -> Option<()> {
        let name = self.row.name;
        if self.first == 1 && self.value(1) == "=" {
            return self.left_out(1, &format!("{name} takes no equals sign"));
        }
        let found = self.count();
        if found < least {
            let words = if least == 1 { "word" } else { "words" };
            return self.left_out(0, &format!("{name} takes {least} {words}, found {found}"));
        }
        if found > most {
            let what =
                format!("{name} takes {most} {}, found {found}", if most == 1 { "word" } else { "words" });
            let advice = format!("write: {} ({} behind the name)", self.row.write, self.row.words);
            self.warn(
                most + 1,
                &what,
                "the words from here on are not read; blanks need quotes around them",
                &advice,
            );
        }
        Some(())
    }

    /// A number from `least` to [`MAX_NUMBER`]; the line is left out if it is none.
    pub(crate) fn number(&mut self, nth: usize, least: i64) -> Option<i64> {
        self.bounded(nth, least, MAX_NUMBER)
    }

    /// A number that the row allows; the line is left out if it is none.
    pub(crate) fn ranged(&mut self, nth: usize) -> Option<i64> {
        let (least, most) = self.row.range.unwrap_or((-MAX_NUMBER, MAX_NUMBER));
        self.bounded(nth, least, most)
    }

    fn bounded(&mut self, nth: usize, least: i64, most: i64) -> Option<i64> {
        let text = self.value(nth);
        let name = self.row.name;
        let (value, whole) = match Number::read(text) {
            Number::Whole(value) => (value, true),
            Number::Prefix(value) => (value, false),
            Number::Missing => {
                return self.left_out(nth, &format!("{name} takes a number, found {}", quoted(text)));
            }
        };
        if !(-MAX_NUMBER..=most).contains(&value) {
            return self.left_out(nth, &format!("{name} cannot be {}", quoted(text)));
        }
        if value < least {
            return self.left_out(nth, &format!("{name} cannot be less than {least}, found {value}"));
        }
        if !whole {
            self.read_as(nth, value);
        }
        Some(value)
    }

    /// The UPS at this place, `ups@host:port`; the line is left out if it names none.
    pub(crate) fn target(&mut self, nth: usize) -> Option<Target> {
        let text = self.value(nth);
        match text.parse() {
            Ok(target) => Some(target),
            Err(error) => self.left_out(nth, &names_no_ups(text, error)),
        }
    }

    /// `0` or `1`; other numbers count as 0, as NUT does.
    pub(crate) fn only_one(&mut self, nth: usize) -> Option<bool> {
        let value = self.number(nth, -MAX_NUMBER)?;
        if !(0..=1).contains(&value) {
            let what = format!("{} takes 0 or 1, found {value}", self.row.name);
            self.warn(nth, &what, "it counts as 0, as in NUT", "write 1 to switch it on, 0 to switch it off");
        }
        Some(value == 1)
    }

    /// The least debug level. NUT takes any; beyond 255 it makes no difference.
    pub(crate) fn debug_level(&mut self, nth: usize) -> Option<u8> {
        self.number(nth, 0).map(|level| u8::try_from(level).unwrap_or(u8::MAX))
    }

    /// Tells that only the front of a value is a number.
    pub(crate) fn read_as(&mut self, nth: usize, value: i64) {
        let what = format!("{} is no number; {value} is", quoted(self.value(nth)));
        let why = format!("{value} is used, as in NUT");
        self.warn(nth, &what, &why, &format!("write: {value}"));
    }

    /// Leaves the line out: nothing, once it is told.
    pub(crate) fn left_out<T>(&mut self, nth: usize, what: &str) -> Option<T> {
        self.refused(Severity::Warning, nth, what)
    }

    /// Leaves the line out and tells that the program cannot do its work like that.
    pub(crate) fn fatal<T>(&mut self, nth: usize, what: &str) -> Option<T> {
        self.refused(Severity::Error, nth, what)
    }

    fn refused<T>(&mut self, severity: Severity, nth: usize, what: &str) -> Option<T> {
        let row = self.row;
        let why = if row.without.is_empty() {
            format!("the line is left out; unless it is said elsewhere, {} is {}", row.name, row.default)
        } else {
            row.without.to_owned()
        };
        let advice = format!("write: {}", row.write);
        self.report.add(severity, self.directive, self.index(nth), what, &why, &advice);
        None
    }

    /// Tells of something about the value at this place (0: the name) that does not read as it is used.
    pub(crate) fn warn(&mut self, nth: usize, what: &str, why: &str, advice: &str) {
        self.report.add(Severity::Warning, self.directive, self.index(nth), what, why, advice);
    }

    /// Tells that the program cannot do its work with the value at this place (0: the name), which is taken all the same.
    pub(crate) fn error(&mut self, nth: usize, what: &str, why: &str, advice: &str) {
        self.report.add(Severity::Error, self.directive, self.index(nth), what, why, advice);
    }

    /// Tells of something about the value at this place (0: the name) that is worth a word.
    pub(crate) fn note(&mut self, nth: usize, what: &str, why: &str, advice: &str) {
        self.report.add(Severity::Note, self.directive, self.index(nth), what, why, advice);
    }

    const fn index(&self, nth: usize) -> usize {
        if nth == 0 { 0 } else { self.first + nth - 1 }
    }
}

/// What is wrong with a text that should name a UPS.
pub(crate) fn names_no_ups(text: &str, error: TargetError) -> String {
    let why = match error {
        // These two are NUT's texts, and leave those who wrote the line guessing.
        TargetError::NoHost | TargetError::BadPort if text.matches(':').count() > 1 => {
            "an IPv6 address needs brackets: ups@[::1]".to_owned()
        }
        TargetError::BadPort | TargetError::PortTooHigh => {
            "the port must be a number from 1 to 65535".to_owned()
        }
        error => error.to_string(),
    };
    format!("{} names no UPS: {why}", quoted(text))
}

/// So many seconds; none if the number is negative.
pub(crate) fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}
