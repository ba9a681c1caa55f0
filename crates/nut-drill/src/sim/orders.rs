//! A line of text as an order to a simulated unit: what `apcsim` reads and what a script may hold.

use std::num::NonZeroU32;
use std::time::Duration;

use super::faults::{Extent, Fault, FaultKind};
use super::ups::{BatteryChange, Event, LowBattery, Mains};

/// The orders, one a line, as `help` shows them.
pub const HELP: &str = "\
mains on|off                 mains comes or goes
battery low|ok|never         low now; low by runtime; never low
battery charge PERCENT       battery runtime MINUTES
battery worn|renewed         needs replacement; was replaced
set BYTE TEXT | unset BYTE   the reply to a query; BYTE is one character or \\xNN
button | dumb | say TEXT     switch on by hand; forget smart mode; send bytes unasked
FAULT on|off|TIMES|SECONDSs  FAULT is silent, lose, na, sm, no-lf, twice, glue=TEXT, garble=SEED/ONE_IN
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
            ("silent soon", "\"soon\" is not a count"),
            ("silent -1s", "\"-1s\" is not seconds"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), complaint, "{line}");
        }
    }
}
