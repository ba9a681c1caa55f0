//! `ups.status` and `ups.alarm`: what readers see of a [`Reading`] (driver-framework §11).

use crate::driver::Reading;
use nut_proto::device::{Device, MAX_VALUE};
use nut_proto::driver::leading_number;
use nut_proto::status::Word;

/// The value of `ups.status`.
///
/// The words stand in the driver's order, each once; one that does not fit any more is left out. `ALARM` comes first
/// if there is an alarm, or if the driver said that word itself. With `ignore_lb` the driver's `LB` is left out, and
/// stands at the end if charge or runtime are below their limits. While neither is known the driver's word counts all
/// the same: a host that hears of no low battery at all would run until its power ends. (NUT then never says `LB`.)
#[must_use]
pub fn assemble_status(reading: &Reading, device: &Device, ignore_lb: bool) -> String {
    let known = || reading.words.iter().map(|word| word.as_str());
    let said = || known().chain(reading.others.iter().flat_map(|text| text.split_ascii_whitespace()));
    let is = |text: &str, word: Word| text.eq_ignore_ascii_case(word.as_str());
    let ignore_lb = ignore_lb && can_tell_low(device);
    let alarm = !alarm_text(reading).is_empty() || said().any(|text| is(text, Word::Alarm));

    let mut status = Words::default();
    if alarm {
        status.add(Word::Alarm.as_str());
    }
    for text in said() {
        let left_out = is(text, Word::Alarm) || ignore_lb && is(text, Word::Lb);
        if !left_out {
            status.add(text);
        }
    }
    if ignore_lb && is_low(device) {
        status.add(Word::Lb.as_str());
    }
    status.text
}

/// The value of `ups.alarm`: all alarms, a space between them; empty if there is none.
#[must_use]
pub fn alarm_text(reading: &Reading) -> String {
    reading
        .alarms
        .iter()
        .map(|alarm| alarm.trim())
        .filter(|alarm| !alarm.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether the battery is low by the limits that are known: charge, or else runtime, below its limit.
#[must_use]
pub fn is_low(device: &Device) -> bool {
    LIMITS.iter().any(|(value, limit)| match (number(device, value), number(device, limit)) {
        (Some(value), Some(limit)) => value < limit,
        _ => false,
    })
}

/// Whether [`is_low`] can be said at all: without one of these pairs `ignorelb` would mean that the battery is never
/// low.
#[must_use]
pub fn can_tell_low(device: &Device) -> bool {
    LIMITS.iter().any(|(value, limit)| number(device, value).is_some() && number(device, limit).is_some())
}

/// Whether a variable takes part in [`is_low`].
#[must_use]
pub fn bears_on_low(name: &str) -> bool {
    LIMITS.iter().any(|(value, limit)| name.eq_ignore_ascii_case(value) || name.eq_ignore_ascii_case(limit))
}

const LIMITS: [(&str, &str); 2] =
    [("battery.charge", "battery.charge.low"), ("battery.runtime", "battery.runtime.low")];

/// The whole number a variable begins with; nothing if it does not begin with one.
fn number(device: &Device, name: &str) -> Option<i64> {
    let text = device.get(name)?.as_str().trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit()).then(|| leading_number(text))
}

/// Words with a space between them, each once, no longer than a value may be.
#[derive(Default)]
struct Words {
    text: String,
}

impl Words {
    fn add(&mut self, word: &str) {
        let known = self.text.split(' ').any(|one| one == word);
        if known || self.text.len() + 1 + word.len() > MAX_VALUE {
            return;
        }
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_proto::names::VarName;
    use proptest::prelude::*;

    fn device(values: &[(&str, &str)]) -> Device {
        let mut device = Device::default();
        for (name, value) in values {
            device.set(&name.parse::<VarName>().unwrap(), (*value).into()).unwrap();
        }
        device
    }

    fn reading(words: &[Word], others: &[&str], alarms: &[&str]) -> Reading {
        Reading {
            words: words.to_vec(),
            others: others.iter().map(|text| Box::from(*text)).collect(),
            alarms: alarms.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn words_in_the_drivers_order_each_once() {
        use Word::*;
        let nothing = Device::default();
        let cases: [(Reading, &str); 9] = [
            (reading(&[Ol, Chrg, Ol], &[], &[]), "OL CHRG"),
            (reading(&[Trim, Ol], &["X", "TRIM"], &[]), "TRIM OL X"),
            (reading(&[], &["OB  OB", "LB"], &[]), "OB LB"),
            (reading(&[Ol], &[], &["Replace battery!"]), "ALARM OL"),
            (reading(&[], &[], &["Replace battery!"]), "ALARM"),
            (reading(&[Ol, Alarm, Rb], &[], &[]), "ALARM OL RB"),
            (reading(&[Ol], &[], &["", "  "]), "OL"),
            (reading(&[], &[], &[]), ""),
            (reading(&[Ob, Lb], &["lb"], &[]), "OB LB lb"),
        ];
        for (reading, expected) in cases {
            assert_eq!(assemble_status(&reading, &nothing, false), expected, "{reading:?}");
        }
    }

    #[test]
    fn with_ignorelb_the_limits_decide_and_not_the_devices_word() {
        use Word::*;
        let cases: [(&[(&str, &str)], &str); 9] = [
            (&[("battery.charge", "9"), ("battery.charge.low", "10")], "OB LB"),
            (&[("battery.charge", "10"), ("battery.charge.low", "10")], "OB"),
            (&[("battery.charge", "9.9"), ("battery.charge.low", "10")], "OB LB"),
            (&[("battery.charge", "09"), ("battery.charge.low", "010")], "OB LB"),
            (&[("battery.charge", "99"), ("battery.charge.low", "10")], "OB"),
            (&[("battery.charge", "NA"), ("battery.charge.low", "10")], "OB LB"),
            (&[("battery.runtime", "119"), ("battery.runtime.low", "120")], "OB LB"),
            (
                &[
                    ("battery.charge", "90"),
                    ("battery.charge.low", "10"),
                    ("battery.runtime", "1"),
                    ("battery.runtime.low", "2"),
                ],
                "OB LB",
            ),
            (&[("battery.charge", "9")], "OB LB"),
        ];
        for (values, expected) in cases {
            assert_eq!(
                assemble_status(&reading(&[Ob, Lb], &[], &[]), &device(values), true),
                expected,
                "{values:?}"
            );
        }
        assert_eq!(assemble_status(&reading(&[Ob, Lb], &[], &[]), &device(cases[4].0), false), "OB LB");
        assert!(!can_tell_low(&device(cases[5].0)) && can_tell_low(&device(cases[6].0)));
    }

    #[test]
    fn with_ignorelb_and_nothing_to_judge_by_the_devices_word_counts() {
        let unknown = device(&[("battery.charge.low", "10")]);
        let known = device(&[("battery.charge.low", "10"), ("battery.charge", "50")]);
        let said = |device| assemble_status(&reading(&[Word::Ob, Word::Lb], &["lb"], &[]), device, true);
        assert_eq!(said(&unknown), "OB LB lb");
        assert_eq!(said(&known), "OB");
    }

    #[test]
    fn several_alarms_are_one_text() {
        assert_eq!(alarm_text(&reading(&[], &[], &["[a b]", "", " c d "])), "[a b] c d");
    }

    proptest! {
        #[test]
        fn a_status_is_a_value_of_distinct_words(others in prop::collection::vec("[A-Z ]{0,30}", 0..40), low in any::<bool>()) {
            let others: Vec<&str> = others.iter().map(String::as_str).collect();
            let device = device(&[("battery.charge", "50"), ("battery.charge.low", "10")]);
            let text = assemble_status(&reading(&[Word::Ob, Word::Lb], &others, &[]), &device, low);
            prop_assert!(text.len() <= MAX_VALUE);
            let mut words: Vec<&str> = text.split(' ').collect();
            let all = words.len();
            words.sort_unstable();
            words.dedup();
            prop_assert_eq!(words.len(), all);
            prop_assert_eq!(words.contains(&"LB"), !low);
        }
    }
}
