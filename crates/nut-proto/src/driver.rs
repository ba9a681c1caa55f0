//! What a driver and its readers say to each other over the driver's Unix socket (driver-socket §§3, 4).
//!
//! Keywords in any case; values in quotes, escaped, in dumps and broadcasts alike (NUT leaves broadcasts unescaped).

use crate::device::{Change, Flags, Range, Value};
use crate::names::{CmdName, NameError, VarName};
pub use crate::numbers::leading_number;
use crate::words::{Words, quote};
use std::io::Write;
use thiserror::Error;

/// Longest id of a tracked order, in bytes; real ones are UUIDs of 36.
pub const MAX_TRACKING_ID: usize = 64;

/// Name of the socket of a driver, in the state directory.
#[must_use]
pub fn socket_name(driver: &str, ups: &crate::names::UpsName) -> String {
    format!("{driver}-{ups}")
}

/// Why a line is not a message. It costs that line alone.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// No word at all.
    #[error("the line is empty")]
    Empty,
    /// A word we do not know; newer programs may use such, so it is no fault.
    #[error("there is no message {word:?}")]
    Unknown {
        /// The first word.
        word: String,
    },
    /// Not enough words, or a combination that means nothing.
    #[error("{word} with {words} words means nothing")]
    Malformed {
        /// The first word.
        word: String,
        /// How many words the line has.
        words: usize,
    },
    /// A name that is none.
    #[error("{word}: {error}")]
    Name {
        /// The first word.
        word: String,
        /// What is wrong with the name.
        error: NameError,
    },
}

/// How a driver judged an order that it was asked to track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// 0: done, or on its way.
    Handled,
    /// 1: no such command or variable.
    Unknown,
    /// 2: not possible here, or a wrong argument.
    Invalid,
    /// 3: tried, and failed.
    Failed,
    /// 4: the value could not be converted.
    NotConverted,
    /// Any other number.
    Other(i32),
}

impl Judgement {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Handled => 0,
            Self::Unknown => 1,
            Self::Invalid => 2,
            Self::Failed => 3,
            Self::NotConverted => 4,
            Self::Other(code) => code,
        }
    }

    /// What a number on the wire says.
    #[must_use]
    pub const fn from_code(code: i32) -> Self {
        match code {
            0 => Self::Handled,
            1 => Self::Unknown,
            2 => Self::Invalid,
            3 => Self::Failed,
            4 => Self::NotConverted,
            code => Self::Other(code),
        }
    }
}

/// A line from a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromDriver {
    /// `SETINFO`, `DELINFO`, `ADDENUM`, …: something became different.
    Change(Change),
    /// `DATAOK`: what is told is true now.
    DataOk,
    /// `DATASTALE`: the device is silent; what is told was true once.
    DataStale,
    /// `DUMPDONE`: all has been told.
    DumpDone,
    /// `PONG`.
    Pong,
    /// `TRACKING <id> <code>`: how an order ended.
    Tracking {
        /// The id given with the order.
        id: Box<str>,
        /// The end.
        judgement: Judgement,
    },
    /// `PID <n>`.
    Pid(u32),
    /// `OK Goodbye`: the driver closes the connection.
    Goodbye,
}

impl FromDriver {
    /// Reads the words of a line. Words behind those needed are ignored, as `upsd` ignores them.
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn parse(words: &Words) -> Result<Self, MessageError> {
        let word = words.get(0).ok_or(MessageError::Empty)?;
        let line = Line { word, words };
        let keyword = word.to_ascii_uppercase();
        Ok(match keyword.as_str() {
            "PONG" => Self::Pong,
            "DUMPDONE" => Self::DumpDone,
            "DATASTALE" => Self::DataStale,
            "DATAOK" => Self::DataOk,
            "SETINFO" => Self::Change(Change::Info { name: line.variable()?, value: line.value()? }),
            "DELINFO" => Self::Change(Change::NoInfo { name: line.variable()? }),
            "ADDENUM" => Self::Change(Change::Choice { name: line.variable()?, value: line.value()? }),
            "DELENUM" => Self::Change(Change::NoChoice { name: line.variable()?, value: line.value()? }),
            "ADDRANGE" => Self::Change(Change::Range { name: line.variable()?, range: line.range()? }),
            "DELRANGE" => Self::Change(Change::NoRange { name: line.variable()?, range: line.range()? }),
            "SETAUX" => {
                Self::Change(Change::Aux { name: line.variable()?, aux: leading_number(line.at(2)?) })
            }
            "SETFLAGS" => {
                line.at(2)?;
                Self::Change(Change::Flags { name: line.variable()?, flags: line.flags() })
            }
            "ADDCMD" => Self::Change(Change::Command { name: line.command()? }),
            "DELCMD" => Self::Change(Change::NoCommand { name: line.command()? }),
            "TRACKING" => Self::Tracking {
                id: tracking_id(line.at(1)?).ok_or_else(|| line.malformed())?,
                judgement: Judgement::from_code(
                    i32::try_from(leading_number(line.at(2)?)).unwrap_or(i32::MAX),
                ),
            },
            "PID" => Self::Pid(line.at(1)?.parse().map_err(|_| line.malformed())?),
            "OK" => Self::Goodbye,
            _ => return Err(MessageError::Unknown { word: word.to_owned() }),
        })
    }

    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Change(change) => return encode_change(change, out),
            Self::DataOk => out.extend_from_slice(b"DATAOK"),
            Self::DataStale => out.extend_from_slice(b"DATASTALE"),
            Self::DumpDone => out.extend_from_slice(b"DUMPDONE"),
            Self::Pong => out.extend_from_slice(b"PONG"),
            Self::Tracking { id, judgement } => {
                append(out, format_args!("TRACKING {id} {}", judgement.code()))
            }
            Self::Pid(pid) => append(out, format_args!("PID {pid}")),
            Self::Goodbye => out.extend_from_slice(b"OK Goodbye"),
        }
        out.push(b'\n');
    }
}

/// Appends the line that tells a change, with its line feed.
pub fn encode_change(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Info { name, value } => with_value(out, "SETINFO", name, value),
        Change::NoInfo { name } => append(out, format_args!("DELINFO {name}")),
        Change::Choice { name, value } => with_value(out, "ADDENUM", name, value),
        Change::NoChoice { name, value } => with_value(out, "DELENUM", name, value),
        Change::Range { name, range } => {
            append(out, format_args!("ADDRANGE {name} {} {}", range.min, range.max));
        }
        Change::NoRange { name, range } => {
            append(out, format_args!("DELRANGE {name} {} {}", range.min, range.max));
        }
        Change::Aux { name, aux } => append(out, format_args!("SETAUX {name} {aux}")),
        Change::Flags { name, flags } => {
            append(out, format_args!("SETFLAGS {name}"));
            for (set, word) in [(flags.writable, " RW"), (flags.string, " STRING"), (flags.number, " NUMBER")]
            {
                if set {
                    out.extend_from_slice(word.as_bytes());
                }
            }
        }
        Change::Command { name } => append(out, format_args!("ADDCMD {name}")),
        Change::NoCommand { name } => append(out, format_args!("DELCMD {name}")),
    }
    out.push(b'\n');
}

/// A line to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToDriver {
    /// `DUMPALL`: tell everything, then keep telling.
    DumpAll,
    /// `PING`.
    Ping,
    /// `INSTCMD <cmd> [<param>] [TRACKING <id>]`.
    InstCmd {
        /// The command.
        cmd: CmdName,
        /// Its argument.
        param: Option<Box<str>>,
        /// The id under which the end is to be told.
        tracking: Option<Box<str>>,
    },
    /// `SET <var> "<value>" [TRACKING <id>]`.
    Set {
        /// The variable.
        var: VarName,
        /// What it shall be.
        value: Value,
        /// The id under which the end is to be told.
        tracking: Option<Box<str>>,
    },
    /// `NOBROADCAST` or `BROADCAST 0`: answers only, no news. `BROADCAST [1]`: news again.
    Broadcast(bool),
    /// `GETPID`.
    GetPid,
    /// `DUMPVALUE <var>`.
    DumpValue(VarName),
    /// `DUMPSTATUS`: the same for `ups.status`.
    DumpStatus,
    /// `LOGOUT`: say goodbye and close.
    Logout,
}

impl ToDriver {
    /// Reads the words of a line, as a driver does (driver-socket §4).
    ///
    /// # Errors
    /// See [`MessageError`]; a driver answers none of these, it logs.
    pub fn parse(words: &Words) -> Result<Self, MessageError> {
        let word = words.get(0).ok_or(MessageError::Empty)?;
        let line = Line { word, words };
        let keyword = word.to_ascii_uppercase();
        Ok(match keyword.as_str() {
            "DUMPALL" => Self::DumpAll,
            "PING" => Self::Ping,
            "INSTCMD" => {
                let (param, tracking) = match words.len() {
                    2 => (None, None),
                    3 => (words.get(2), None),
                    4 => (None, Some(line.tracking(2)?)),
                    5 => (words.get(2), Some(line.tracking(3)?)),
                    _ => return Err(line.malformed()),
                };
                Self::InstCmd { cmd: line.command()?, param: param.map(Box::from), tracking }
            }
            "SET" => {
                let tracking = if words.len() == 5 { Some(line.tracking(3)?) } else { None };
                Self::Set { var: line.variable()?, value: line.value()?, tracking }
            }
            "NOBROADCAST" => Self::Broadcast(false),
            "BROADCAST" => {
                Self::Broadcast(words.get(1).and_then(|text| text.parse::<i64>().ok()).is_none_or(|n| n >= 1))
            }
            "GETPID" => Self::GetPid,
            "DUMPVALUE" => Self::DumpValue(line.variable()?),
            "DUMPSTATUS" => Self::DumpStatus,
            "LOGOUT" => Self::Logout,
            _ => return Err(MessageError::Unknown { word: word.to_owned() }),
        })
    }

    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tracked = |out: &mut Vec<u8>, tracking: &Option<Box<str>>| {
            if let Some(id) = tracking {
                append(out, format_args!(" TRACKING {id}"));
            }
        };
        match self {
            Self::DumpAll => out.extend_from_slice(b"DUMPALL"),
            Self::Ping => out.extend_from_slice(b"PING"),
            Self::InstCmd { cmd, param, tracking } => {
                append(out, format_args!("INSTCMD {cmd}"));
                if let Some(param) = param {
                    out.push(b' ');
                    quote(out, param);
                }
                tracked(out, tracking);
            }
            Self::Set { var, value, tracking } => {
                append(out, format_args!("SET {var} "));
                quote(out, value.as_str());
                tracked(out, tracking);
            }
            Self::Broadcast(false) => out.extend_from_slice(b"NOBROADCAST"),
            Self::Broadcast(true) => out.extend_from_slice(b"BROADCAST 1"),
            Self::GetPid => out.extend_from_slice(b"GETPID"),
            Self::DumpValue(var) => append(out, format_args!("DUMPVALUE {var}")),
            Self::DumpStatus => out.extend_from_slice(b"DUMPSTATUS"),
            Self::Logout => out.extend_from_slice(b"LOGOUT"),
        }
        out.push(b'\n');
    }
}

/// A line being read: its first word for error texts, and all its words.
struct Line<'a> {
    word: &'a str,
    words: &'a Words,
}

impl Line<'_> {
    fn malformed(&self) -> MessageError {
        MessageError::Malformed { word: self.word.to_owned(), words: self.words.len() }
    }

    fn at(&self, nth: usize) -> Result<&str, MessageError> {
        self.words.get(nth).ok_or_else(|| self.malformed())
    }

    fn named<T: std::str::FromStr<Err = NameError>>(&self) -> Result<T, MessageError> {
        self.at(1)?.parse().map_err(|error| MessageError::Name { word: self.word.to_owned(), error })
    }

    fn variable(&self) -> Result<VarName, MessageError> {
        self.named()
    }

    fn command(&self) -> Result<CmdName, MessageError> {
        self.named()
    }

    fn value(&self) -> Result<Value, MessageError> {
        self.at(2).map(Value::new)
    }

    fn range(&self) -> Result<Range, MessageError> {
        Ok(Range { min: leading_number(self.at(2)?), max: leading_number(self.at(3)?) })
    }

    fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        for word in self.words.iter().skip(2) {
            flags.writable |= word.eq_ignore_ascii_case("RW");
            flags.string |= word.eq_ignore_ascii_case("STRING");
            flags.number |= word.eq_ignore_ascii_case("NUMBER");
        }
        flags
    }

    fn tracking(&self, nth: usize) -> Result<Box<str>, MessageError> {
        if !self.at(nth)?.eq_ignore_ascii_case("TRACKING") {
            return Err(self.malformed());
        }
        tracking_id(self.at(nth + 1)?).ok_or_else(|| self.malformed())
    }
}

/// An id that needs no quoting, or nothing.
fn tracking_id(text: &str) -> Option<Box<str>> {
    let fits = (1..=MAX_TRACKING_ID).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\#=".contains(&byte));
    (fits && plain).then(|| text.into())
}

fn with_value(out: &mut Vec<u8>, word: &str, name: &VarName, value: &Value) {
    append(out, format_args!("{word} {name} "));
    quote(out, value.as_str());
}

/// Writes text into a buffer in memory.
pub(crate) fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer in memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::split;
    use proptest::prelude::*;

    fn from(line: &str) -> Result<FromDriver, MessageError> {
        FromDriver::parse(&split(line.as_bytes()).unwrap())
    }

    fn to(line: &str) -> Result<ToDriver, MessageError> {
        ToDriver::parse(&split(line.as_bytes()).unwrap())
    }

    fn shown(message: &FromDriver) -> String {
        let mut out = Vec::new();
        message.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_of_a_real_dump_come_back_as_they_were() {
        for line in [
            "SETINFO ups.model \"Foo \\\"bar\\\" \\\\ baz \\# q\"\n",
            "SETAUX ups.model 32\n",
            "SETFLAGS ups.model RW STRING\n",
            "SETFLAGS driver.debug RW NUMBER\n",
            "ADDENUM input.sensitivity \"H\"\n",
            "ADDRANGE ups.delay.start 0 30\n",
            "ADDCMD load.off\n",
            "DELINFO input.transfer.reason\n",
            "DELCMD load.off\n",
            "DATAOK\n",
            "DATASTALE\n",
            "DUMPDONE\n",
            "PONG\n",
            "PID 1234\n",
            "OK Goodbye\n",
            "TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263 3\n",
        ] {
            assert_eq!(shown(&from(line.trim_end()).unwrap()), line);
        }
    }

    #[test]
    fn keywords_in_any_case_and_words_too_many_are_no_fault() {
        assert_eq!(from("dataok"), Ok(FromDriver::DataOk));
        assert_eq!(shown(&from("setinfo s x y z").unwrap()), "SETINFO s \"x\"\n");
        // What NUT's drivers send when a value has a quote in it: the value is cut there, nothing else is lost.
        assert_eq!(shown(&from("SETINFO ups.model \"n\"x\"").unwrap()), "SETINFO ups.model \"n\"\n");
    }

    #[test]
    fn lines_that_are_no_messages() {
        assert_eq!(from(""), Err(MessageError::Empty));
        assert_eq!(from("HELLO"), Err(MessageError::Unknown { word: "HELLO".into() }));
        for line in ["SETINFO a", "SETFLAGS a", "SETAUX a", "ADDRANGE a 1", "ADDCMD", "TRACKING x", "PID x"] {
            assert!(matches!(from(line), Err(MessageError::Malformed { .. })), "{line}");
        }
        assert!(matches!(from("ADDCMD \"a b\""), Err(MessageError::Name { .. })));
    }

    #[test]
    fn orders_by_number_of_words() {
        let cmd = |param: Option<&str>, tracking: Option<&str>| {
            Ok(ToDriver::InstCmd {
                cmd: "load.off".parse().unwrap(),
                param: param.map(Into::into),
                tracking: tracking.map(Into::into),
            })
        };
        assert_eq!(to("INSTCMD load.off"), cmd(None, None));
        assert_eq!(to("instcmd load.off TRACKING"), cmd(Some("TRACKING"), None));
        assert_eq!(to("INSTCMD load.off tracking id1"), cmd(None, Some("id1")));
        assert_eq!(to("INSTCMD load.off \"a b\" TRACKING id1"), cmd(Some("a b"), Some("id1")));
        for line in
            ["INSTCMD", "INSTCMD load.off a b", "INSTCMD load.off a b c", "INSTCMD load.off a TRACKING i j"]
        {
            assert!(matches!(to(line), Err(MessageError::Malformed { .. })), "{line}");
        }
        let set = |tracking: Option<&str>| {
            Ok(ToDriver::Set {
                var: "ups.id".parse().unwrap(),
                value: "z".into(),
                tracking: tracking.map(Into::into),
            })
        };
        assert_eq!(to("SET ups.id z"), set(None));
        assert_eq!(to("SET ups.id z x"), set(None));
        assert_eq!(to("SET ups.id z TRACKING id1"), set(Some("id1")));
        assert_eq!(to("SET ups.id z TRACKING id1 extra"), set(None));
        assert!(to("SET ups.id z NOTRACKING id1").is_err());
        assert_eq!(to("BROADCAST 0"), Ok(ToDriver::Broadcast(false)));
        assert_eq!(to("BROADCAST please"), Ok(ToDriver::Broadcast(true)));
    }

    proptest! {
        #[test]
        fn every_message_survives_the_wire(name in "[a-z][a-z0-9.]{0,20}", value in "[ -~]{0,40}", aux in any::<i64>(), code in any::<i32>()) {
            let variable: VarName = name.parse().unwrap();
            let value = Value::new(&value);
            let id: Box<str> = name.clone().into();
            for message in [
                FromDriver::Change(Change::Info { name: variable.clone(), value: value.clone() }),
                FromDriver::Change(Change::Choice { name: variable.clone(), value: value.clone() }),
                FromDriver::Change(Change::NoChoice { name: variable.clone(), value: value.clone() }),
                FromDriver::Change(Change::Range { name: variable.clone(), range: Range { min: aux.max(-i64::MAX), max: 7 } }),
                FromDriver::Change(Change::NoInfo { name: variable.clone() }),
                FromDriver::Tracking { id: id.clone(), judgement: Judgement::from_code(code) },
            ] {
                let mut out = Vec::new();
                message.encode(&mut out);
                prop_assert_eq!(out.pop(), Some(b'\n'));
                prop_assert_eq!(FromDriver::parse(&split(&out).unwrap()).unwrap(), message);
            }
            for message in [
                ToDriver::Set { var: variable.clone(), value: value.clone(), tracking: Some(id.clone()) },
                ToDriver::Set { var: variable.clone(), value: value.clone(), tracking: None },
                ToDriver::InstCmd { cmd: name.parse().unwrap(), param: Some(value.as_str().into()), tracking: Some(id.clone()) },
                ToDriver::InstCmd { cmd: name.parse().unwrap(), param: None, tracking: Some(id) },
                ToDriver::DumpValue(variable),
            ] {
                let mut out = Vec::new();
                message.encode(&mut out);
                prop_assert_eq!(out.pop(), Some(b'\n'));
                prop_assert_eq!(ToDriver::parse(&split(&out).unwrap()).unwrap(), message);
            }
        }

        #[test]
        fn no_line_makes_a_parser_stumble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(words) = split(&bytes) {
                let _ = FromDriver::parse(&words);
                let _ = ToDriver::parse(&words);
            }
        }
    }
}
