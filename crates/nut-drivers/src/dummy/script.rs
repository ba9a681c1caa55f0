//! A dummy's file: `.dev` or `.seq`, read as instructions (dummy-ups §3).

use nut_proto::device::{Flags, Value};
use nut_proto::driver::leading_number;
use nut_proto::names::VarName;
use nut_proto::words::{Outcome, Tokenizer, Words};
use std::time::Duration;

/// Most instructions of one file; what follows is left out.
pub const MAX_INSTRUCTIONS: usize = 100_000;

/// Longest wait of one `TIMER`: a day.
pub const MAX_TIMER: Duration = Duration::from_secs(24 * 3600);

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `name: value`: the variable is that from now on; without a value it is gone.
    Set(VarName, Value),
    /// `ups.status: words`.
    Status(String),
    /// `ALARM text`: one more alarm.
    Alarm(String),
    /// `ALARM` alone: no alarm any more.
    NoAlarm,
    /// `TIMER seconds`: go on after that time.
    Wait(Duration),
}

/// Reads a file. Lines that mean nothing are left out, and told as the second result.
///
/// An unescaped `#` inside quotes costs its whole line. (NUT reads the rest of the line as another one, and takes the
/// value of the line before for a name without value.)
#[must_use]
pub fn parse(text: &[u8]) -> (Vec<Instruction>, Vec<String>) {
    let (mut instructions, mut complaints) = (Vec::new(), Vec::new());
    let mut tokenizer = Tokenizer::default();
    let mut line = 1;
    let mut skipping = false;
    for byte in text.iter().chain(b"\n") {
        if skipping {
            skipping = *byte != b'\n';
        } else {
            match tokenizer.push(*byte) {
                Some(Outcome::Line) => match instruction(tokenizer.words()) {
                    Ok(None) => {}
                    Ok(Some(_)) if instructions.len() >= MAX_INSTRUCTIONS => {
                        complaints
                            .push(format!("line {line}: only {MAX_INSTRUCTIONS} instructions are taken"));
                        return (instructions, complaints);
                    }
                    Ok(Some(instruction)) => instructions.push(instruction),
                    Err(why) => complaints.push(format!("line {line}: {why}")),
                },
                Some(Outcome::Broken(error)) => {
                    complaints.push(format!("line {line}: {error}"));
                    skipping = *byte != b'\n';
                }
                None => {}
            }
        }
        line += usize::from(*byte == b'\n');
    }
    (instructions, complaints)
}

fn instruction(words: &Words) -> Result<Option<Instruction>, String> {
    let Some(first) = words.get(0) else { return Ok(None) };
    let value = words.iter().skip(1).collect::<Vec<_>>().join(" ");
    // Whatever follows the word itself, such as a colon, means nothing: as in NUT.
    match first {
        word if word.starts_with("TIMER") => {
            let seconds = u64::try_from(leading_number(&value)).unwrap_or(0);
            if seconds == 0 && value.trim() != "0" {
                return Err("TIMER needs a number of seconds: TIMER 5".to_owned());
            }
            return Ok(Some(Instruction::Wait(Duration::from_secs(seconds).min(MAX_TIMER))));
        }
        word if word.starts_with("ALARM") => {
            let alarm =
                if value.trim().is_empty() { Instruction::NoAlarm } else { Instruction::Alarm(value) };
            return Ok(Some(alarm));
        }
        _ => {}
    }
    let name = first.split(':').next().unwrap_or_default();
    let name: VarName = name.parse().map_err(|error| format!("{name:?} names no variable: {error}"))?;
    if name.as_str().to_ascii_lowercase().starts_with("driver.") {
        // A saved upsc output has those of another driver.
        return Ok(None);
    }
    Ok(Some(if name.is("ups.status") {
        Instruction::Status(value)
    } else {
        Instruction::Set(name, Value::from(value))
    }))
}

/// What may be done with a variable, and the most bytes it may have: from a list of well-known ones; any other is a
/// text of 32 bytes.
#[must_use]
pub fn attributes(name: &VarName) -> (Flags, i64) {
    let known = TEXTS.iter().find(|(text, _)| name.is(text));
    if let Some((_, size)) = known {
        return (Flags::WRITABLE_STRING, *size);
    }
    if NUMBERS.iter().any(|text| name.is(text)) { (Flags::WRITABLE, 0) } else { (Flags::WRITABLE_STRING, 32) }
}

const TEXTS: [(&str, i64); 15] = [
    ("ups.mfr", 32),
    ("ups.model", 32),
    ("ups.status", 32),
    ("ups.serial", 32),
    ("ups.alarm", 32),
    ("ups.time", 16),
    ("ups.date", 16),
    ("ups.mfr.date", 16),
    ("ups.firmware", 16),
    ("ups.firmware.aux", 16),
    ("ups.id", 16),
    ("ups.test.result", 16),
    ("input.transfer.reason", 1),
    ("input.sensitivity", 1),
    ("input.quality", 6),
];

const NUMBERS: [&str; 37] = [
    "ups.load",
    "ups.temperature",
    "ups.delay.start",
    "ups.delay.reboot",
    "ups.delay.shutdown",
    "ups.test.interval",
    "input.voltage",
    "input.voltage.maximum",
    "input.voltage.minimum",
    "input.voltage.nominal",
    "input.transfer.low",
    "input.transfer.high",
    "input.frequency",
    "input.transfer.boost.low",
    "input.transfer.boost.high",
    "input.transfer.trim.low",
    "input.transfer.trim.high",
    "output.voltage",
    "output.frequency",
    "output.current",
    "battery.charge",
    "battery.charge.low",
    "battery.charge.restart",
    "battery.voltage",
    "battery.voltage.nominal",
    "battery.current",
    "battery.runtime",
    "battery.runtime.low",
    "battery.temperature",
    "ambient.temperature",
    "ambient.temperature.alarm",
    "ambient.temperature.high",
    "ambient.temperature.low",
    "ambient.humidity",
    "ambient.humidity.alarm",
    "ambient.humidity.high",
    "ambient.humidity.low",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(name: &str, value: &str) -> Instruction {
        Instruction::Set(name.parse().unwrap(), value.into())
    }

    #[test]
    fn the_lines_of_a_file_as_instructions() {
        let text = b"# a comment\n\
            ups.model: \"Smart UPS\" 1000 # another\n\
            battery.charge 90\n\
            \n\
            ups.status: OB  LB\n\
            driver.name: usbhid-ups\n\
            ups.x = a b\n\
            a : b\n\
            ups.id: one\\\n two\n\
            ups.serial: \"\"\n\
            ups.firmware:\n\
            ups.say: x\"y \\\"z\\\"\n\
            ALARM \"[a b]\"   c\n\
            ALARM\n\
            TIMER 5";
        let (instructions, complaints) = parse(text);
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(
            instructions,
            [
                set("ups.model", "Smart UPS 1000"),
                set("battery.charge", "90"),
                Instruction::Status("OB LB".into()),
                set("ups.x", "= a b"),
                set("a", ": b"),
                set("ups.id", "one two"),
                set("ups.serial", ""),
                set("ups.firmware", ""),
                set("ups.say", "x\"y \"z\""),
                Instruction::Alarm("[a b] c".into()),
                Instruction::NoAlarm,
                Instruction::Wait(Duration::from_secs(5)),
            ]
        );
    }

    #[test]
    fn the_words_of_instructions_may_be_written_as_names_are() {
        let (instructions, complaints) = parse(b"TIMER: 5\nALARM: hot\nALARM:\ntimer 5\n");
        assert_eq!(complaints, Vec::<String>::new());
        let wait = Instruction::Wait(Duration::from_secs(5));
        assert_eq!(
            instructions,
            [wait, Instruction::Alarm("hot".into()), Instruction::NoAlarm, set("timer", "5")]
        );
    }

    #[test]
    fn a_value_is_as_long_as_any_and_only_ups_status_itself_is_the_status() {
        let text = format!("ups.long: {}\nups.status.foo: LB\nDriver.x: 1\n", "x".repeat(300));
        let (instructions, complaints) = parse(text.as_bytes());
        assert_eq!(complaints, Vec::<String>::new());
        assert_eq!(instructions, [set("ups.long", &"x".repeat(255)), set("ups.status.foo", "LB")]);
    }

    #[test]
    fn a_line_that_means_nothing_costs_that_line_alone() {
        let (instructions, complaints) =
            parse(b": foo\nTIMER\nTIMER soon\nups.y: \"a # b\" c\nups.z: 1\nTIMER 0\n");
        assert_eq!(instructions, [set("ups.z", "1"), Instruction::Wait(Duration::ZERO)]);
        let starts: Vec<&str> =
            complaints.iter().filter_map(|text| text.split_once(": ").map(|(at, _)| at)).collect();
        assert_eq!(starts, ["line 1", "line 2", "line 3", "line 4"], "{complaints:?}");
    }

    #[test]
    fn well_known_variables_have_their_attributes() {
        assert_eq!(attributes(&"UPS.ID".parse().unwrap()), (Flags::WRITABLE_STRING, 16));
        assert_eq!(attributes(&"battery.charge".parse().unwrap()), (Flags::WRITABLE, 0));
        assert_eq!(attributes(&"no.such".parse().unwrap()), (Flags::WRITABLE_STRING, 32));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_stumble(text in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'"'), Just(b'#'), any::<u8>()], 0..500)) {
            let (instructions, complaints) = parse(&text);
            prop_assert!(instructions.len() + complaints.len() <= text.len() + 1);
        }
    }
}
