//! What clients of NUT before 1.5 ask: the words that today's protocol has no use for (net-protocol §12).
//!
//! They select a UPS by `@<ups>` behind a name, or by none at all: then the first of `ups.conf` is meant. Names are those
//! of NUT 1.4, upper case on the wire, found in any case: [`VARIABLES`] and [`COMMANDS`] hold the ones whose meaning today
//! is established. Only what today's servers answer with an error is read here:
//!
//! | request | today | here |
//! |---|---|---|
//! | `REQ`, `LISTVARS`, `LISTRW`, `LISTINSTCMD`, `VARTYPE`, `ENUM`, `VARDESC`, `INSTCMDDESC` | unknown | all of them |
//! | `SET <what> <value>` | wrong unless `VAR` or `TRACKING` | if `<what>` is one of [`VARIABLES`] |
//! | `INSTCMD <cmd>` | wrong, a UPS is missing | if `<cmd>` is one of [`COMMANDS`] |
//! | `LOGIN`, `MASTER`, `FSD` | wrong, a UPS is missing | the first UPS is meant |

use crate::words::Words;

/// Old names of variables, in the order they are listed in, and today's.
pub const VARIABLES: [(&str, &str); 25] = [
    ("STATUS", "ups.status"),
    ("UTILITY", "input.voltage"),
    ("ACFREQ", "input.frequency"),
    ("LOWXFER", "input.transfer.low"),
    ("HIGHXFER", "input.transfer.high"),
    ("OUTVOLT", "output.voltage"),
    ("CURRENT", "output.current"),
    ("OUTVLTSEL", "output.voltage.target.battery"),
    ("NOM_IN_VOLT", "output.voltage.target.line"),
    ("BATTPCT", "battery.charge"),
    ("BATTVOLT", "battery.voltage"),
    ("NOMBATVLT", "battery.voltage.nominal"),
    ("BATT_TEMP", "battery.temperature"),
    ("BATT_CURRENT", "battery.current"),
    ("LOBATTIME", "battery.runtime.low"),
    ("LOADPCT", "ups.load"),
    ("UPSTEMP", "ups.temperature"),
    ("MFR", "ups.mfr"),
    ("MODEL", "ups.model"),
    ("SERIAL", "ups.serial"),
    ("FIRMREV", "ups.firmware"),
    ("DELAYSHUT", "ups.delay.shutdown"),
    ("WAKEDELAY", "ups.delay.start"),
    ("AMBTEMP", "ambient.temperature"),
    ("AMBHUMID", "ambient.humidity"),
];

/// Old names of commands, and today's. Those of `ON` and `OFF` are not established, and too dangerous to guess.
pub const COMMANDS: [(&str, &str); 3] =
    [("BTEST1", "test.battery.start"), ("BTEST0", "test.battery.stop"), ("WATCHDOG", "reset.watchdog")];

/// The name that asks for the number of logins, and is no variable.
pub const NUM_LOGINS: &str = "NUMLOGINS";

/// Today's name of an old variable.
#[must_use]
pub fn variable(old: &str) -> Option<&'static str> {
    today(&VARIABLES, old)
}

/// Today's name of an old command.
#[must_use]
pub fn command(old: &str) -> Option<&'static str> {
    today(&COMMANDS, old)
}

fn today(table: &'static [(&str, &str)], old: &str) -> Option<&'static str> {
    table.iter().find(|(name, _)| name.eq_ignore_ascii_case(old)).map(|(_, name)| *name)
}

/// A name, and the UPS it is of; without one the first UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of<'a> {
    /// As the client spelled it.
    pub name: &'a str,
    /// The UPS, if one was given.
    pub ups: Option<&'a str>,
}

impl<'a> Of<'a> {
    fn read(text: &'a str) -> Self {
        match text.split_once('@') {
            Some((name, ups)) => Self { name, ups: Some(ups) },
            None => Self { name: text, ups: None },
        }
    }
}

/// What a client of NUT before 1.5 asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldRequest<'a> {
    /// `LISTVARS [<ups>]`: the names of all variables.
    ListVars(Option<&'a str>),
    /// `LISTRW [<ups>]`: of those that can be set.
    ListRw(Option<&'a str>),
    /// `LISTINSTCMD [<ups>]`: of all commands.
    ListInstCmd(Option<&'a str>),
    /// `REQ <var>[@<ups>]`: a value.
    Req(Of<'a>),
    /// `VARTYPE <var>[@<ups>]`: what kind of value.
    VarType(Of<'a>),
    /// `ENUM <var>[@<ups>]`: the values it may have.
    Enum(Of<'a>),
    /// `VARDESC <var>`: what it means.
    VarDesc(&'a str),
    /// `INSTCMDDESC <cmd>`: what it does.
    InstCmdDesc(&'a str),
    /// `SET <var>[@<ups>] <value>`.
    Set {
        /// The variable.
        of: Of<'a>,
        /// The value: the rest of the line, its words with one blank between them.
        value: String,
    },
    /// `INSTCMD <cmd>[@<ups>]`.
    InstCmd(Of<'a>),
    /// `LOGIN`, to the first UPS.
    Login,
    /// `MASTER`, of the first UPS.
    Master,
    /// `FSD`, of the first UPS.
    Fsd,
    /// One of these words without what must stand behind it.
    MissingArgument,
}

impl<'a> OldRequest<'a> {
    /// Reads the words of a line that is no request of today; nothing if it was none then, either.
    #[must_use]
    pub fn parse(words: &'a Words) -> Option<Self> {
        let verb = words.get(0)?.to_ascii_uppercase();
        let first = words.get(1);
        let of =
            |read: fn(Of<'a>) -> Self| Some(first.map_or(Self::MissingArgument, |text| read(Of::read(text))));
        let name = |read: fn(&'a str) -> Self| Some(first.map_or(Self::MissingArgument, read));
        match verb.as_str() {
            "LISTVARS" => Some(Self::ListVars(first)),
            "LISTRW" => Some(Self::ListRw(first)),
            "LISTINSTCMD" => Some(Self::ListInstCmd(first)),
            "REQ" => of(Self::Req),
            "VARTYPE" => of(Self::VarType),
            "ENUM" => of(Self::Enum),
            "VARDESC" => name(Self::VarDesc),
            "INSTCMDDESC" => name(Self::InstCmdDesc),
            "SET" => {
                let of = Of::read(first?);
                variable(of.name)?;
                words.get(2)?;
                let value: Vec<&str> = words.iter().skip(2).collect();
                Some(Self::Set { of, value: value.join(" ") })
            }
            "INSTCMD" if words.len() == 2 => {
                let of = Of::read(first?);
                command(of.name).map(|_| Self::InstCmd(of))
            }
            "LOGIN" if words.len() == 1 => Some(Self::Login),
            "MASTER" if words.len() == 1 => Some(Self::Master),
            "FSD" if words.len() == 1 => Some(Self::Fsd),
            _ => None,
        }
    }
}

/// The words behind `ERR` that only servers before 1.5 said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldErr {
    /// No variable has that name.
    VarUnknown,
    /// No command has that name.
    UnknownInstCmd,
    /// The variable is neither a choice nor a text.
    UnknownType,
    /// Something must stand behind the command.
    MissingArgument,
}

impl OldErr {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VarUnknown => "VAR-UNKNOWN",
            Self::UnknownInstCmd => "UNKNOWN-INSTCMD",
            Self::UnknownType => "UNKNOWN-TYPE",
            Self::MissingArgument => "MISSING-ARGUMENT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Request;
    use crate::words::split;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read_with_and_without_a_ups() {
        let of = |name, ups| Of { name, ups };
        let cases: [(&str, Option<OldRequest<'_>>); 24] = [
            ("LISTVARS", Some(OldRequest::ListVars(None))),
            ("listvars u", Some(OldRequest::ListVars(Some("u")))),
            ("LISTRW u", Some(OldRequest::ListRw(Some("u")))),
            ("LISTINSTCMD", Some(OldRequest::ListInstCmd(None))),
            ("REQ STATUS", Some(OldRequest::Req(of("STATUS", None)))),
            ("req status@u", Some(OldRequest::Req(of("status", Some("u"))))),
            ("REQ WHAT@u", Some(OldRequest::Req(of("WHAT", Some("u"))))),
            ("REQ", Some(OldRequest::MissingArgument)),
            ("VARTYPE LOWXFER@u", Some(OldRequest::VarType(of("LOWXFER", Some("u"))))),
            ("ENUM LOWXFER", Some(OldRequest::Enum(of("LOWXFER", None)))),
            ("VARDESC STATUS", Some(OldRequest::VarDesc("STATUS"))),
            ("INSTCMDDESC BTEST1", Some(OldRequest::InstCmdDesc("BTEST1"))),
            (
                "SET LOWXFER@u 103 V",
                Some(OldRequest::Set { of: of("LOWXFER", Some("u")), value: "103 V".into() }),
            ),
            ("SET LOWXFER", None),
            ("SET ups.id x", None),
            ("INSTCMD btest1@u", Some(OldRequest::InstCmd(of("btest1", Some("u"))))),
            ("INSTCMD ON", None),
            ("INSTCMD BTEST1 x", None),
            ("LOGIN", Some(OldRequest::Login)),
            ("MASTER", Some(OldRequest::Master)),
            ("FSD", Some(OldRequest::Fsd)),
            ("PRIMARY", None),
            ("LOGIN a b", None),
            ("WHAT", None),
        ];
        for (line, expected) in cases {
            assert_eq!(OldRequest::parse(&split(line.as_bytes()).unwrap()), expected, "{line}");
        }
    }

    #[test]
    fn names_are_found_in_any_case_and_each_stands_once() {
        assert_eq!((variable("BattPct"), variable("ups.status")), (Some("battery.charge"), None));
        assert_eq!((command("watchdog"), command("OFF")), (Some("reset.watchdog"), None));
        for table in [&VARIABLES[..], &COMMANDS[..]] {
            for (nth, (old, new)) in table.iter().enumerate() {
                assert!(table[..nth].iter().all(|(other, name)| other != old && name != new), "{old}");
            }
        }
    }

    proptest! {
        /// Whatever today's protocol understands is never read as an old request.
        #[test]
        fn nothing_of_today_is_taken_for_old(
            line in "(SET|INSTCMD|LOGIN|MASTER|FSD|GET|LIST|VER|REQ|ENUM)( (VAR|TRACKING|ON|u|BTEST1|LOWXFER|STATUS@u|x)){0,4}"
        ) {
            let words = split(line.as_bytes()).unwrap();
            prop_assert!(Request::parse(&words).is_err() || OldRequest::parse(&words).is_none());
        }
    }
}
