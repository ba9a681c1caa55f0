//! A line of text as an order to a simulated unit: what `apcsim` reads and what a script may hold.

use std::num::NonZeroU32;
use std::time::Duration;

use super::faults::{Extent, Fault, FaultKind, Parity};
use super::probes::{Card, CardChange, Climate, Probe};
use super::ups::{BatteryChange, Event, LowBattery, Mains};

/// The orders, one a line, as `help` shows them.
pub const HELP: &str = "\
mains on|off                 mains comes or goes
battery low|ok|never         low now; low by runtime; never low
battery charge PERCENT       battery runtime MINUTES
battery worn|renewed         needs replacement; was replaced
card measure-ups|measure-ups-2|none    a Measure-UPS card comes or goes
probe 1|2 CELSIUS PERCENT|none         what a probe measures, as 21.08 37.2
contact 1|2|3|4 open|closed            a contact of the card
set BYTE TEXT | unset BYTE   the reply to a query; BYTE is one character or \\xNN
button | dumb | say TEXT     switch on by hand; forget smart mode; send bytes unasked
FAULT on|off|TIMES|SECONDSs  FAULT is silent, lose, na, sm, no-lf, twice, glue=TEXT, garble=SEED/ONE_IN,
                             parity=even, parity=odd
clear                        all faults end
unplug | replug              the cable
state | help | quit";

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Something happens to the unit.
    Event(Event),
    /// The cable is pulled.
    Unplug,
    /// The cable is back.
    Replug,
    /// Say what the unit is like.
    State,
    /// Say what orders there are.
    Help,
    /// End.
    Quit,
}

/// Why a line is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not one of the words.
    #[error("{word:?} is no order; try help")]
    Unknown {
        /// The first word, or the one that does not fit.
        word: String,
    },
    /// Something must follow.
    #[error("{after} needs {what}")]
    Missing {
        /// The word before.
        after: &'static str,
        /// What must follow it.
        what: &'static str,
    },
    /// A number is none, or too large.
    #[error("{text:?} is not {what}")]
    BadNumber {
        /// What was found.
        text: String,
        /// What was wanted.
        what: &'static str,
    },
    /// `\x` without two hex digits, or a character that is no byte.
    #[error("{text:?} is not bytes: write characters below 256, and \\xNN for others")]
    BadBytes {
        /// What was found.
        text: String,
    },
}

/// Reads one line; `None` if it is empty or a comment (`#`).
///
/// # Errors
/// The line is no order.
pub fn parse(line: &str) -> Result<Option<Order>, OrderError> {
    let line = line.trim();
    let (word, rest) = match line.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (line, ""),
    };
    let event = match word {
        "" => return Ok(None),
        _ if word.starts_with('#') => return Ok(None),
        "unplug" => return Ok(Some(Order::Unplug)),
        "replug" => return Ok(Some(Order::Replug)),
        "state" => return Ok(Some(Order::State)),
        "help" => return Ok(Some(Order::Help)),
        "quit" => return Ok(Some(Order::Quit)),
        "mains" => Event::Mains(match rest {
            "on" => Mains::On,
            "off" => Mains::Off,
            _ => return Err(OrderError::Missing { after: "mains", what: "on or off" }),
        }),
        "battery" => Event::Battery(battery(rest)?),
        "card" => Event::Card(match rest {
            "measure-ups" => CardChange::Fitted(Card::MeasureUps),
            "measure-ups-2" => CardChange::Fitted(Card::MeasureUps2),
            "none" => CardChange::Removed,
            _ => {
                return Err(OrderError::Missing {
                    after: "card",
                    what: "measure-ups, measure-ups-2 or none",
                });
            }
        }),
        "probe" => Event::Card(probe(rest)?),
        "contact" => Event::Card(contact(rest)?),
        "set" => {
            let (byte, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            Event::Set { query: one_byte("set", byte)?, text: bytes(text)? }
        }
        "unset" => Event::Unset { query: one_byte("unset", rest)? },
        "button" => Event::Button,
        "dumb" => Event::FallBack,
        "say" => Event::Say(bytes(rest)?),
        "clear" => Event::FaultsEnd,
        _ => fault(word, rest)?,
    };
    Ok(Some(Order::Event(event)))
}

fn battery(rest: &str) -> Result<BatteryChange, OrderError> {
    let (word, number) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    Ok(match word {
        "low" => BatteryChange::Low(LowBattery::Now),
        "ok" => BatteryChange::Low(LowBattery::ByRuntime),
        "never" => BatteryChange::Low(LowBattery::Never),
        "worn" => BatteryChange::WornOut,
        "renewed" => BatteryChange::Renewed,
        "charge" => BatteryChange::Charge(in_range(number.trim(), 0..=100, "a percentage")?),
        "runtime" => BatteryChange::Runtime(in_range(number.trim(), 0..=9999, "minutes up to 9999")?),
        "" => {
            return Err(OrderError::Missing {
                after: "battery",
                what: "low, ok, never, charge, runtime, worn or renewed",
            });
        }
        _ => return Err(OrderError::Unknown { word: word.into() }),
    })
}

fn probe(rest: &str) -> Result<CardChange, OrderError> {
    let mut words = rest.split_whitespace();
    let probe = match words.next() {
        Some("1") => Probe::First,
        Some("2") => Probe::Second,
        _ => return Err(OrderError::Missing { after: "probe", what: "1 or 2, and what it measures" }),
    };
    let climate = match (words.next(), words.next(), words.next()) {
        (Some("none"), None, None) => None,
        (Some(celsius), Some(percent), None) => Some(Climate {
            temperature: hundredths(celsius, 9999, "degrees from 0 to 99.99")?,
            humidity: hundredths(percent, 10_000, "per cent from 0 to 100.0")? / 10,
        }),
        _ => return Err(OrderError::Missing { after: "probe", what: "degrees and per cent, or none" }),
    };
    Ok(CardChange::Climate(probe, climate))
}

/// A number with at most two decimals, in hundredths.
fn hundredths(text: &str, most: u16, what: &'static str) -> Result<u16, OrderError> {
    let bad = || OrderError::BadNumber { text: text.into(), what };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    if decimals.is_empty() || decimals.len() > 2 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let whole = in_range(whole, 0..=100_u16, what)?;
    let decimals: u16 = format!("{decimals:0<2}").parse().map_err(|_| bad())?;
    Some(whole * 100 + decimals).filter(|number| *number <= most).ok_or_else(bad)
}

fn contact(rest: &str) -> Result<CardChange, OrderError> {
    let (number, state) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let number = in_range(number, 1..=4, "a contact from 1 to 4")?;
    match state.trim() {
        "closed" => Ok(CardChange::Contact { number, is_closed: true }),
        "open" => Ok(CardChange::Contact { number, is_closed: false }),
        _ => Err(OrderError::Missing { after: "contact", what: "open or closed" }),
    }
}

fn fault(word: &str, rest: &str) -> Result<Event, OrderError> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let kind = match name {
        "silent" => FaultKind::Silence,
        "lose" => FaultKind::LoseReplies,
        "na" => FaultKind::AnswerNa,
        "sm" => FaultKind::AnswerSm,
        "no-lf" => FaultKind::NoLineFeed,
        "twice" => FaultKind::Twice,
        "glue" => FaultKind::Glue(bytes(value)?),
        "parity" => FaultKind::WrongParity(match value {
            "even" => Parity::Even,
            "odd" => Parity::Odd,
            _ => return Err(OrderError::Missing { after: "parity=", what: "even or odd" }),
        }),
        "garble" => {
            let (seed, one_in) = value.split_once('/').unwrap_or((value, "10"));
            let one_in = in_range(one_in, 1..=u32::MAX, "how many bytes apart the noise is")?;
            FaultKind::Garble {
                seed: in_range(if seed.is_empty() { "1" } else { seed }, 0..=u64::MAX, "a seed")?,
                one_in: NonZeroU32::new(one_in).unwrap_or(NonZeroU32::MIN),
            }
        }
        _ => return Err(OrderError::Unknown { word: word.into() }),
    };
    let extent = match (rest, rest.strip_suffix('s')) {
        ("off", _) => return Ok(Event::FaultEnds(kind)),
        ("" | "on", _) => Extent::UntilCleared,
        (_, Some(seconds)) => {
            let wait = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            Extent::For(wait.ok_or(OrderError::BadNumber { text: rest.into(), what: "seconds" })?)
        }
        (times, None) => Extent::Times(in_range(times, 0..=u32::MAX, "a count")?),
    };
    Ok(Event::Fault(Fault { kind, extent }))
}

fn in_range<T>(text: &str, range: std::ops::RangeInclusive<T>, what: &'static str) -> Result<T, OrderError>
where
    T: std::str::FromStr + PartialOrd,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(OrderError::BadNumber { text: text.into(), what }),
    }
}

fn one_byte(after: &'static str, text: &str) -> Result<u8, OrderError> {
    match bytes(text)?.as_slice() {
        [] => Err(OrderError::Missing { after, what: "a query byte" }),
        [byte] => Ok(*byte),
        _ => Err(OrderError::BadBytes { text: text.into() }),
    }
}

/// Text as bytes: characters below 256, and `\xNN`.
fn bytes(text: &str) -> Result<Vec<u8>, OrderError> {
    let bad = || OrderError::BadBytes { text: text.into() };
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(escape) = rest.strip_prefix("\\x") {
            let digits = escape.get(..2).ok_or_else(bad)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
            rest = escape.get(2..).unwrap_or_default();
        } else {
            bytes.push(u8::try_from(first).map_err(|_| bad())?);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_orders() {
        let card = |change| Order::Event(Event::Card(change));
        let fault = |kind, extent| Order::Event(Event::Fault(Fault { kind, extent }));
        // (line, order)
        for (line, order) in [
            ("mains off", Order::Event(Event::Mains(Mains::Off))),
            ("  battery   low ", Order::Event(Event::Battery(BatteryChange::Low(LowBattery::Now)))),
            ("battery charge 42", Order::Event(Event::Battery(BatteryChange::Charge(42)))),
            ("battery runtime 3", Order::Event(Event::Battery(BatteryChange::Runtime(3)))),
            ("set \\x01 BOX \\x00", Order::Event(Event::Set { query: 1, text: b"BOX \0".to_vec() })),
            ("unset Q", Order::Event(Event::Unset { query: b'Q' })),
            ("say ~", Order::Event(Event::Say(b"~".to_vec()))),
            ("silent on", fault(FaultKind::Silence, Extent::UntilCleared)),
            ("silent 1.5s", fault(FaultKind::Silence, Extent::For(Duration::from_millis(1500)))),
            ("lose 2", fault(FaultKind::LoseReplies, Extent::Times(2))),
            ("glue=!%", fault(FaultKind::Glue(b"!%".to_vec()), Extent::UntilCleared)),
            (
                "garble=7/20 on",
                fault(
                    FaultKind::Garble { seed: 7, one_in: NonZeroU32::new(20).unwrap() },
                    Extent::UntilCleared,
                ),
            ),
            (
                "parity=even 3s",
                fault(FaultKind::WrongParity(Parity::Even), Extent::For(Duration::from_secs(3))),
            ),
            ("card measure-ups-2", card(CardChange::Fitted(Card::MeasureUps2))),
            ("card none", card(CardChange::Removed)),
            (
                "probe 2 21.5 37.2",
                card(CardChange::Climate(Probe::Second, Some(Climate { temperature: 2150, humidity: 372 }))),
            ),
            ("probe 1 none", card(CardChange::Climate(Probe::First, None))),
            ("contact 4 closed", card(CardChange::Contact { number: 4, is_closed: true })),
            ("silent off", Order::Event(Event::FaultEnds(FaultKind::Silence))),
            ("quit", Order::Quit),
        ] {
            assert_eq!(parse(line), Ok(Some(order)), "{line}");
        }
        assert_eq!(parse("# a remark"), Ok(None));
        assert_eq!(parse("   "), Ok(None));
    }

    #[test]
    fn what_is_no_order_says_why() {
        // (line, complaint)
        for (line, complaint) in [
            ("explode", "\"explode\" is no order; try help"),
            ("mains", "mains needs on or off"),
            ("battery charge 101", "\"101\" is not a percentage"),
            ("set", "set needs a query byte"),
            ("set QQ 08", "\"QQ\" is not bytes: write characters below 256, and \\xNN for others"),
            ("say \\x4", "\"\\\\x4\" is not bytes: write characters below 256, and \\xNN for others"),
            ("card 3", "card needs measure-ups, measure-ups-2 or none"),
            ("probe 1 21.081 37", "\"21.081\" is not degrees from 0 to 99.99"),
            ("probe 1 100 37", "\"100\" is not degrees from 0 to 99.99"),
            ("probe 1 21.", "probe needs degrees and per cent, or none"),
            ("probe 2 21 -3", "\"-3\" is not per cent from 0 to 100.0"),
            ("contact 5 open", "\"5\" is not a contact from 1 to 4"),
            ("contact 1", "contact needs open or closed"),
            ("parity=none", "parity= needs even or odd"),
            ("silent soon", "\"soon\" is not a count"),
            ("silent -1s", "\"-1s\" is not seconds"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), complaint, "{line}");
        }
    }
}
