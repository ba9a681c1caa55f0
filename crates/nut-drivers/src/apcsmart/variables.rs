//! The table of variables: which byte asks for which, how its answer looks, and what is published of it.
//!
//! apcsmart-driver §7, row by row; the table's order is the order on the wire.

use super::question::Shape;
use nut_proto::device::Value;
use nut_proto::driver::leading_number;

/// How often a variable is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// At each update.
    Poll,
    /// With the full scan: at start, hourly, after silence.
    Full,
}

/// What the answer is, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number, unchanged.
    Number,
    /// A number that low battery may be judged by (`ignorelb`), unchanged.
    Percent,
    /// Minutes as seconds, and low battery may be judged by it.
    Minutes,
    /// Hours as seconds; `ON` and `OFF` are 0.
    Hours,
    /// Text, unchanged.
    Text,
    /// A text that `SET` writes, eight bytes at most; may be empty.
    Settable,
    /// A letter, as the sentence it stands for.
    Reason,
}

/// What an answer to a byte of two meanings must look like to be this variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `dd.dd`: the temperature of a probe.
    Probe,
    /// `ddd.d`: hours.
    Uptime,
    /// Three alphanumeric parts with points between: a firmware.
    Dotted,
    /// Anything.
    Any,
}

/// How much is believed of an answer that differs from the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All of it.
    Plain,
    /// A fall to less than half is asked again: with `ignorelb` it may be what stops a host.
    NotWhenFalling,
    /// A change is asked again, for the same reason.
    NotWhenChanged,
    /// A change is asked again; if it is confirmed this is another unit.
    Identity,
}

/// One variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Its name; of a packed one with `N` in place of the number.
    pub(super) name: &'static str,
    /// What asks for it.
    pub(super) ask: &'static [u8],
    /// How often.
    pub(super) class: Class,
    /// What the answer is.
    pub(super) kind: Kind,
    /// Set if its byte or its name has more than one meaning: the answer decides.
    pub(super) multi: Option<Pattern>,
    /// Whether an answer holds up to four values, with commas between.
    pub(super) is_packed: bool,
    /// How much of a change is believed.
    pub(super) trust: Trust,
}

/// Most values of a packed answer.
pub(super) const PROBES: usize = 4;

/// Longest text that can be written into a unit, in bytes; the unit takes exactly so many.
pub(super) const TEXT_LENGTH: usize = 8;

const fn row(name: &'static str, ask: &'static [u8], class: Class, kind: Kind) -> Row {
    Row { name, ask, class, kind, multi: None, is_packed: false, trust: Trust::Plain }
}

const fn poll(name: &'static str, ask: &'static [u8], kind: Kind) -> Row {
    row(name, ask, Class::Poll, kind)
}

const fn full(name: &'static str, ask: &'static [u8], kind: Kind) -> Row {
    row(name, ask, Class::Full, kind)
}

const fn packed(name: &'static str, ask: &'static [u8]) -> Row {
    Row { is_packed: true, ..poll(name, ask, Kind::Text) }
}

impl Row {
    const fn multi(self, pattern: Pattern) -> Self {
        Self { multi: Some(pattern), ..self }
    }

    const fn trusted(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }
}

/// All of them, in order.
pub(super) const ROWS: [Row; 48] = [
    poll("ups.temperature", b"C", Kind::Number),
    poll("ups.load", b"P", Kind::Number),
    full("ups.test.interval", b"E", Kind::Hours),
    poll("ups.test.result", b"X", Kind::Text),
    full("ups.delay.start", b"r", Kind::Number),
    full("ups.delay.shutdown", b"p", Kind::Number),
    full("ups.id", b"c", Kind::Settable),
    poll("ups.contacts", b"i", Kind::Text),
    full("ups.display.language", b"\x0c", Kind::Text),
    poll("input.voltage", b"L", Kind::Number),
    poll("input.frequency", b"F", Kind::Number),
    full("input.sensitivity", b"s", Kind::Text),
    poll("input.quality", b"9", Kind::Text),
    full("input.transfer.low", b"l", Kind::Number),
    full("input.transfer.high", b"u", Kind::Number),
    poll("input.transfer.reason", b"G", Kind::Reason),
    poll("input.voltage.maximum", b"M", Kind::Number),
    poll("input.voltage.minimum", b"N", Kind::Number),
    poll("output.current", b"/", Kind::Number),
    poll("output.voltage", b"O", Kind::Number),
    full("output.voltage.nominal", b"o", Kind::Number),
    poll("ambient.humidity", b"h", Kind::Number),
    packed("ambient.N.humidity", b"H"),
    packed("ambient.N.humidity.high", b"{"),
    packed("ambient.N.humidity.low", b"}"),
    poll("ambient.temperature", b"t", Kind::Number),
    packed("ambient.N.temperature", b"T").multi(Pattern::Probe),
    packed("ambient.N.temperature.high", b"["),
    packed("ambient.N.temperature.low", b"]"),
    full("battery.date", b"x", Kind::Settable),
    poll("battery.charge", b"f", Kind::Percent).trusted(Trust::NotWhenFalling),
    full("battery.charge.restart", b"e", Kind::Number),
    poll("battery.voltage", b"B", Kind::Number),
    full("battery.voltage.nominal", b"g", Kind::Number),
    poll("battery.runtime", b"j", Kind::Minutes).trusted(Trust::NotWhenFalling),
    full("battery.runtime.low", b"q", Kind::Minutes).trusted(Trust::NotWhenChanged),
    full("battery.packs", b">", Kind::Number),
    full("battery.packs.bad", b"<", Kind::Number),
    full("battery.alarm.threshold", b"k", Kind::Text),
    poll("device.uptime", b"T", Kind::Hours).multi(Pattern::Uptime),
    full("ups.serial", b"n", Kind::Text).trusted(Trust::Identity),
    full("ups.mfr.date", b"m", Kind::Text),
    full("ups.model", b"\x01", Kind::Text).trusted(Trust::Identity),
    full("ups.firmware.aux", b"v", Kind::Text),
    full("ups.firmware", b"b", Kind::Text).multi(Pattern::Dotted).trusted(Trust::Identity),
    full("ups.firmware", b"V", Kind::Text).multi(Pattern::Any).trusted(Trust::Identity),
    // Of units whose command set has a fourth section.
    poll("input.frequency", INPUT_FREQUENCY, Kind::Text),
    poll("battery.current", b"\x9f\xd4", Kind::Text),
];

/// The two-byte query that makes the variable of `F` the frequency of the output.
pub(super) const INPUT_FREQUENCY: &[u8] = b"\x9f\xd3";

/// The name `F` then has.
pub(super) const OUTPUT_FREQUENCY: &str = "output.frequency";

/// Bytes of a command list that are neither asked nor offered (apcsmart-driver §4.2).
pub(super) const SKIPPED: &[u8] = b"\x1a\x7f~')-+8QRYayz";

/// Runtime in minutes that `>>>>:` stands for: more than four digits can show, so at least this.
///
/// NUT makes 0 of it, and with `ignorelb` a low battery of that.
const MOST_MINUTES: i64 = 9_999;

impl Row {
    /// What an answer must look like.
    pub(super) const fn shape(&self) -> Shape {
        match self.kind {
            Kind::Number => Shape::Number,
            Kind::Percent => Shape::StrictNumber,
            Kind::Minutes => Shape::Minutes,
            Kind::Hours => Shape::Hours,
            Kind::Settable => Shape::MaybeEmpty,
            Kind::Text | Kind::Reason => Shape::Text,
        }
    }

    /// Whether this answer, to a byte of several meanings, is this variable.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        self.multi.is_none_or(|pattern| pattern.matches(text))
    }

    /// What is published of an answer to a query that gives one value, and what a value of a capability list is
    /// offered as.
    pub(super) fn convert(&self, text: &[u8]) -> Value {
        let text: String = text.iter().map(|byte| char::from(*byte)).collect();
        match self.kind {
            Kind::Minutes if text.starts_with('>') => seconds(MOST_MINUTES, 60),
            Kind::Minutes => seconds(leading_number(&text), 60),
            Kind::Hours => seconds(leading_number(&text), 3_600),
            Kind::Reason => Value::new(reason(&text)),
            Kind::Number | Kind::Percent | Kind::Text | Kind::Settable => Value::from(text),
        }
    }

    /// The variables an answer gives, in the order they are published.
    pub(super) fn read(&self, text: &[u8]) -> Vec<(String, Value)> {
        if !self.is_packed {
            return vec![(self.name.to_owned(), self.convert(text))];
        }
        let field = |field: &[u8]| if field.is_empty() { Value::new("N/A") } else { self.convert(field) };
        let fields: Vec<Value> = text.split(|byte| *byte == b',').take(PROBES).map(field).collect();
        let named = fields.into_iter().zip(1_u8..);
        let mut named: Vec<(String, Value)> =
            named.map(|(value, nth)| (self.name.replace(".N.", &format!(".{nth}.")), value)).collect();
        // The highest number first, as NUT does.
        named.reverse();
        named
    }

    /// Whether a change from one published value to another is so grave that it is asked again.
    pub(super) fn is_grave(&self, before: &Value, after: &Value) -> bool {
        match self.trust {
            Trust::Plain => false,
            Trust::NotWhenFalling => {
                let (before, after) = (leading_number(before.as_str()), leading_number(after.as_str()));
                after.saturating_mul(2) < before
            }
            Trust::NotWhenChanged | Trust::Identity => before != after,
        }
    }
}

impl Pattern {
    fn matches(self, text: &[u8]) -> bool {
        let digits = |text: &[u8], count: usize| text.len() == count && text.iter().all(u8::is_ascii_digit);
        let mut parts = text.split(|byte| *byte == b'.');
        let (first, second, third, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
        let two = |whole: usize, fraction: usize| {
            first.is_some_and(|text| digits(text, whole))
                && second.is_some_and(|text| digits(text, fraction))
                && third.is_none()
        };
        let word = |text: Option<&[u8]>| {
            text.is_some_and(|text| !text.is_empty() && text.iter().all(u8::is_ascii_alphanumeric))
        };
        match self {
            Self::Probe => two(2, 2),
            Self::Uptime => two(3, 1),
            Self::Dotted => word(first) && word(second) && word(third) && rest.is_none(),
            Self::Any => true,
        }
    }
}

fn seconds(count: i64, unit: i64) -> Value {
    Value::from(count.saturating_mul(unit).to_string())
}

/// Why the unit last went to battery, by the letter it gives; a letter NUT has no sentence for stays as it is.
fn reason(letter: &str) -> &str {
    match letter.chars().next() {
        Some('R') => "unacceptable utility voltage rate of change",
        Some('H') => "high utility voltage",
        Some('L') => "low utility voltage",
        Some('T') => "line voltage notch or spike",
        Some('O') => "no transfers yet since turnon",
        Some('S') => "simulated power failure or UPS test",
        Some(_) | None => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row_of(name: &str) -> &'static Row {
        ROWS.iter().find(|row| row.name == name).expect("it is in the table")
    }

    #[test]
    fn values_as_nut_publishes_them() {
        let cases = [
            ("battery.runtime", "0042:", "2520"),
            ("battery.runtime", ">>>>:", "599940"),
            ("battery.runtime.low", "02", "120"),
            ("ups.test.interval", "336", "1209600"),
            ("ups.test.interval", "ON ", "0"),
            ("ups.test.interval", "OFF", "0"),
            ("device.uptime", "001.5", "3600"),
            ("input.transfer.reason", "O", "no transfers yet since turnon"),
            ("input.transfer.reason", "K", "K"),
            ("battery.charge", "009.1", "009.1"),
            ("ups.model", "SMART-UPS 420   ", "SMART-UPS 420   "),
            ("input.quality", "FF", "FF"),
        ];
        for (name, text, expected) in cases {
            assert_eq!(row_of(name).convert(text.as_bytes()).as_str(), expected, "{name} {text}");
        }
    }

    #[test]
    fn each_letter_of_a_transfer_has_its_sentence() {
        let sentences: std::collections::BTreeSet<&str> = ["R", "H", "L", "T", "O", "S"].map(reason).into();
        assert_eq!(sentences.len(), 6);
        assert!(sentences.iter().all(|sentence| sentence.len() > 10));
    }

    #[test]
    fn packed_answers_become_one_variable_a_probe() {
        let row = row_of("ambient.N.humidity.high");
        let read = |text: &str| -> Vec<(String, String)> {
            row.read(text.as_bytes()).into_iter().map(|(name, value)| (name, value.to_string())).collect()
        };
        let pair = |nth: u8, value: &str| (format!("ambient.{nth}.humidity.high"), value.to_owned());
        assert_eq!(read("NO,NO"), [pair(2, "NO"), pair(1, "NO")]);
        assert_eq!(read("090.0"), [pair(1, "090.0")]);
        assert_eq!(read(",034.3"), [pair(2, "034.3"), pair(1, "N/A")]);
        assert_eq!(read("1,2,3,4,5"), [pair(4, "4"), pair(3, "3"), pair(2, "2"), pair(1, "1")]);
    }

    #[test]
    fn answers_of_several_meanings_are_told_apart() {
        let cases = [
            (Pattern::Probe, "21.08", true),
            (Pattern::Probe, "21.08,20.09", false),
            (Pattern::Probe, "021.8", false),
            (Pattern::Uptime, "001.5", true),
            (Pattern::Uptime, "21.08", false),
            (Pattern::Dotted, "21.3.I", true),
            (Pattern::Dotted, "112.1DL4.I", true),
            (Pattern::Dotted, "5A", false),
            (Pattern::Dotted, "1.2.3.4", false),
            (Pattern::Dotted, "1..I", false),
            (Pattern::Any, "7TI", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(pattern.matches(text.as_bytes()), expected, "{pattern:?} {text}");
        }
    }

    #[test]
    fn only_what_may_stop_a_host_is_asked_again() {
        let grave = |name: &str, before: &str, after: &str| {
            row_of(name).is_grave(&Value::new(before), &Value::new(after))
        };
        assert!(grave("battery.charge", "100.0", "000.0"));
        assert!(!grave("battery.charge", "100.0", "095.0"));
        assert!(!grave("battery.charge", "000.0", "100.0"));
        assert!(grave("battery.runtime", "2520", "60"));
        assert!(grave("battery.runtime.low", "120", "300"));
        assert!(grave("ups.serial", "A", "B"));
        assert!(!grave("output.voltage", "230.0", "000.0"));
    }

    #[test]
    fn the_table_is_nuts() {
        let order: Vec<u8> =
            ROWS.iter().filter(|row| row.ask.len() == 1).flat_map(|row| row.ask.to_vec()).collect();
        assert_eq!(order, b"CPEXrpci\x0cLFs9luGMN/OohH{}tT[]xfeBgjq><kTnm\x01vbV");
        let polled: Vec<u8> = ROWS
            .iter()
            .filter(|row| row.class == Class::Poll && row.ask.len() == 1)
            .flat_map(|row| row.ask.to_vec())
            .collect();
        assert_eq!(polled, b"CPXiLF9GMN/OhH{}tT[]fBjT");
        assert_eq!(ROWS.iter().filter(|row| row.ask.len() == 2).count(), 2);
    }

    #[test]
    fn a_byte_of_several_meanings_always_has_a_pattern() {
        for row in ROWS.iter().filter(|row| row.multi.is_none()) {
            let same = ROWS.iter().filter(|other| other.ask == row.ask).count();
            assert_eq!(same, 1, "{}", row.name);
        }
    }
}
