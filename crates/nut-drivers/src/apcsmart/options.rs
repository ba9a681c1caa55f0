//! The options of `ups.conf` that only this driver understands (apcsmart-driver §1).

use super::shutdown::Digits;
use super::timing::FORCED_WAIT;
use crate::driver::{DriverOption, ModemLines, OptionKind, PortPlan};
use crate::options::OptionsError;
use std::time::Duration;

/// The table, for `-L`, `-h` and the manual.
pub(super) const TABLE: &[DriverOption] = &[
    DriverOption {
        name: "ttymode",
        kind: OptionKind::Value,
        help: "accepted for NUT's sake: the port is always read byte by byte",
    },
    DriverOption {
        name: "cable",
        kind: OptionKind::Value,
        help: "940-0095B: the cable that needs DTR set and RTS cleared",
    },
    DriverOption {
        name: "awd",
        kind: OptionKind::Value,
        help: "additional wakeup delay in units of 6 minutes, 1 to 3 digits (000)",
    },
    DriverOption {
        name: "sdtype",
        kind: OptionKind::Value,
        help: "how the power is cut: a digit from 0 to 5 (0)",
    },
    DriverOption {
        name: "advorder",
        kind: OptionKind::Value,
        help: "commands that cut the power, in the order they are tried: 1 to 5 digits from 0 to 4, or no",
    },
    DriverOption {
        name: "cshdelay",
        kind: OptionKind::Value,
        help: "seconds between U and S of sdtype 4, such as 3.5 (3.5)",
    },
];

/// The bits a second of every unit.
const BAUD: u32 = 2_400;

/// How the power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ShutdownType {
    /// 0: soft hibernate on battery, hibernate on mains.
    #[default]
    Soft,
    /// 1: soft hibernate on battery, and hibernate if that is not confirmed or on mains.
    SoftThenHibernate,
    /// 2: off at once, until switched on.
    Off,
    /// 3: off after the unit's delay, until switched on.
    StayOff,
    /// 4: soft hibernate, on mains after a forced power failure.
    Forced,
    /// 5: hibernate.
    Hibernate,
}

/// One step of `advorder`, whose digits differ from those of `sdtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// 0: soft hibernate.
    Soft,
    /// 1: hibernate.
    Hibernate,
    /// 2: off after the unit's delay, until switched on.
    StayOff,
    /// 3: off at once, until switched on.
    Off,
    /// 4: soft hibernate, on mains after a forced power failure.
    Forced,
}

/// What was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    /// `sdtype`.
    pub(super) shutdown: ShutdownType,
    /// `advorder`; takes the place of `sdtype`.
    pub(super) order: Option<Vec<Step>>,
    /// `awd`: digits behind `@`.
    pub(super) wake_delay: Digits,
    /// `cshdelay`.
    pub(super) forced_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shutdown: ShutdownType::default(),
            order: None,
            wake_delay: Digits::default(),
            forced_wait: FORCED_WAIT,
        }
    }
}

impl Options {
    /// Whether a shutdown may send `@000`, which units of the first two generations ignore.
    pub(super) fn hibernates_for_nothing(&self) -> bool {
        let hibernates = match &self.order {
            Some(order) => order.contains(&Step::Hibernate),
            None => match self.shutdown {
                ShutdownType::Soft | ShutdownType::SoftThenHibernate | ShutdownType::Hibernate => true,
                ShutdownType::Off | ShutdownType::StayOff | ShutdownType::Forced => false,
            },
        };
        hibernates && self.wake_delay.is_zero()
    }
}

/// Reads the options. A bare name counts as not given; of a name given twice the last counts; names of others are not
/// looked at. Checked in NUT's order.
pub(super) fn read<'a>(
    given: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(Options, PortPlan), OptionsError> {
    let given: Vec<(&str, &str)> =
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let find = |name: &str| {
        given.iter().rev().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    };
    let mut options = Options::default();
    if let Some(text) = find("awd") {
        let refuse = || refused("awd", text, "awd takes 1 to 3 digits");
        options.wake_delay = Digits::parse(text).ok_or_else(refuse)?;
    }
    if let Some(text) = find("sdtype") {
        let refuse = || refused("sdtype", text, "sdtype takes one digit from 0 to 5");
        options.shutdown = shutdown_type(text).ok_or_else(refuse)?;
    }
    if let Some(text) = find("advorder") {
        let refuse = || refused("advorder", text, "advorder takes 1 to 5 digits from 0 to 4, or the word no");
        options.order = order(text).ok_or_else(refuse)?;
    }
    if let Some(text) = find("cshdelay") {
        let refuse = || {
            refused("cshdelay", text, "cshdelay takes seconds below 10 with at most one decimal, such as 3.5")
        };
        options.forced_wait = tenths(text).ok_or_else(refuse)?;
    }
    let is_dual = find("cable").is_some_and(|cable| cable.eq_ignore_ascii_case("940-0095B"));
    let lines = is_dual.then_some(ModemLines { dtr: true, rts: false });
    Ok((options, PortPlan::Serial { baud: BAUD, lines }))
}

fn refused(name: &str, value: &str, accepted: &str) -> OptionsError {
    OptionsError { name: name.to_owned(), value: value.to_owned(), accepted: accepted.to_owned() }
}

fn shutdown_type(text: &str) -> Option<ShutdownType> {
    Some(match text {
        "0" => ShutdownType::Soft,
        "1" => ShutdownType::SoftThenHibernate,
        "2" => ShutdownType::Off,
        "3" => ShutdownType::StayOff,
        "4" => ShutdownType::Forced,
        "5" => ShutdownType::Hibernate,
        _ => return None,
    })
}

/// `None`: not possible. `Some(None)`: `no`.
fn order(text: &str) -> Option<Option<Vec<Step>>> {
    if text.eq_ignore_ascii_case("no") {
        return Some(None);
    }
    if !(1..=5).contains(&text.len()) {
        return None;
    }
    let step = |digit| {
        Some(match digit {
            '0' => Step::Soft,
            '1' => Step::Hibernate,
            '2' => Step::StayOff,
            '3' => Step::Off,
            '4' => Step::Forced,
            _ => return None,
        })
    };
    text.chars().map(step).collect::<Option<Vec<Step>>>().map(Some)
}

/// `9`, `9.`, `3.5`, `.5`: seconds with at most one digit on each side of the point.
fn tenths(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digit = |text: &str| match text.as_bytes() {
        [] => Some(0),
        [digit] if digit.is_ascii_digit() => Some(u64::from(digit - b'0')),
        _ => None,
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    Some(Duration::from_millis(digit(whole)? * 1_000 + digit(fraction)? * 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Options, OptionsError> {
        read([(name, Some(value))]).map(|(options, _)| options)
    }

    #[test]
    fn nothing_given_is_sdtype_0() {
        let (options, plan) = read([]).unwrap();
        assert_eq!(options, Options::default());
        assert_eq!(plan, PortPlan::Serial { baud: 2_400, lines: None });
        assert_eq!(read([("sdtype", None), ("awd", None)]).unwrap().0, Options::default());
    }

    #[test]
    fn only_one_cable_wants_its_lines_set() {
        let lines = |cable| match read([("cable", Some(cable))]).unwrap().1 {
            PortPlan::Serial { lines, .. } => lines,
            other => panic!("{other:?}"),
        };
        assert_eq!(lines("940-0095b"), Some(ModemLines { dtr: true, rts: false }));
        assert_eq!(lines("940-0024C"), None);
        assert!(read([("ttymode", Some("raw")), ("port", Some("/dev/ttyS0"))]).is_ok());
    }

    #[test]
    fn values_that_nut_takes_and_those_it_refuses() {
        let cases: [(&str, &[&str], &[&str]); 4] = [
            ("awd", &["7", "05", "000", "999"], &["", "1000", "-1", "1.5", "x", " 7"]),
            ("sdtype", &["0", "5"], &["", "6", "00", "-1", "x"]),
            ("advorder", &["0", "01234", "no", "No", "44444"], &["", "5", "012345", "n", "0 1", "nope"]),
            ("cshdelay", &["9", "9.", "3.5", ".5", "0.0"], &["", "10", "1.25", ".", "-1", "x", "1.x", "3,5"]),
        ];
        for (name, good, bad) in cases {
            for value in good {
                assert!(one(name, value).is_ok(), "{name} = {value}");
                assert!(one(&name.to_uppercase(), value).is_ok(), "names have no case");
            }
            for value in bad {
                let error = one(name, value).expect_err(value);
                assert_eq!((error.name.as_str(), error.value.as_str()), (name, *value));
                assert!(error.to_string().contains(&error.accepted));
            }
        }
    }

    #[test]
    fn the_first_bad_value_in_nuts_order_is_told() {
        let given = [("cshdelay", Some("x")), ("sdtype", Some("x")), ("awd", Some("x"))];
        assert_eq!(read(given).unwrap_err().name, "awd");
    }

    #[test]
    fn what_the_values_mean() {
        assert_eq!(one("cshdelay", ".5").unwrap().forced_wait, Duration::from_millis(500));
        assert_eq!(one("cshdelay", "9.").unwrap().forced_wait, Duration::from_secs(9));
        assert_eq!(one("sdtype", "3").unwrap().shutdown, ShutdownType::StayOff);
        assert_eq!(one("advorder", "no").unwrap().order, None);
        assert_eq!(
            one("advorder", "01234").unwrap().order,
            Some(vec![Step::Soft, Step::Hibernate, Step::StayOff, Step::Off, Step::Forced])
        );
        let twice = read([("sdtype", Some("1")), ("sdtype", Some("2"))]).unwrap().0;
        assert_eq!(twice.shutdown, ShutdownType::Off);
    }

    #[test]
    fn every_option_read_is_in_the_table() {
        for name in ["ttymode", "cable", "awd", "sdtype", "advorder", "cshdelay"] {
            assert!(TABLE.iter().any(|option| option.name == name), "{name}");
        }
        assert_eq!(TABLE.len(), 6);
    }
}
