//! What the tools' command lines share: which UPS, which server, how long to wait for it (clients §1.1, §1.2).

use clap::{Arg, ArgMatches};
use nut_client::Deadlines;
use nut_os::options::{count, flag, text, value};
use nut_proto::names::{Secret, Server, Target, TargetError};
use std::time::Duration;
use thiserror::Error;

use crate::format::Outcome;
use crate::order::PATIENCE;

/// The variable that says how long to wait for a connection, unless `-W` does.
pub const TIMEOUT_VARIABLE: &str = "NUT_DEFAULT_CONNECT_TIMEOUT";

/// Why a word of the command line names nothing that could be asked. The texts are NUT's, function names included.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// There is no such word.
    #[error("no UPS is named")]
    Missing,
    /// A UPS was named with an empty word.
    #[error("upscli_splitname: can't parse empty string")]
    EmptyName,
    /// A server was named with an empty word.
    #[error("upscli_splitaddr: can't parse empty string")]
    EmptyAddress,
    /// The part before the `@`, or the whole, is wrong.
    #[error("upscli_splitname: {0}")]
    Name(TargetError),
    /// The part that names the server is wrong.
    #[error("upscli_splitaddr: {0}")]
    Address(TargetError),
    /// `ups@host` where a server was wanted.
    #[error(
        "upscli_splitaddr: wrong call? Got upsname@hostname[:port] string where only hostname[:port] was expected: {0}"
    )]
    UpsNotServer(String),
}

impl ArgumentError {
    /// The line to show before the tool's own complaint; none where NUT has none.
    #[must_use]
    pub fn detail(&self) -> String {
        if *self == Self::Missing { String::new() } else { format!("{self}\n") }
    }
}

/// The UPS that this operand names: `ups`, `ups@host`, `ups@host:port`, `ups@[v6]:port`.
///
/// # Errors
/// [`ArgumentError`] when it names none.
pub fn target(operand: Option<&str>) -> Result<Target, ArgumentError> {
    let text = operand.ok_or(ArgumentError::Missing)?;
    if text.is_empty() {
        return Err(ArgumentError::EmptyName);
    }
    text.parse().map_err(|error| match error {
        TargetError::NoHost if text.contains("@:") => ArgumentError::Address(TargetError::BadPort),
        TargetError::NoUps | TargetError::NoHost | TargetError::PortWithoutHost | TargetError::Name(_) => {
            ArgumentError::Name(error)
        }
        TargetError::BadPort
        | TargetError::PortTooHigh
        | TargetError::NoBracket
        | TargetError::BadHost { .. } => ArgumentError::Address(error),
    })
}

/// The server that this operand names; without one this host's.
///
/// # Errors
/// [`ArgumentError`] when it names none.
pub fn server(operand: Option<&str>) -> Result<Server, ArgumentError> {
    let Some(text) = operand else {
        return Ok(Server::default());
    };
    if text.is_empty() {
        return Err(ArgumentError::EmptyAddress);
    }
    text.parse().map_err(|error| match error {
        TargetError::BadHost { found: '@' } => ArgumentError::UpsNotServer(text.to_owned()),
        TargetError::NoHost => ArgumentError::Address(TargetError::BadPort),
        error => ArgumentError::Address(error),
    })
}

/// How long to wait for a connection: `-W`, else [`TIMEOUT_VARIABLE`], else NUT's ten seconds; 0 is for as long as it
/// takes. With it come complaints about values that are no number of seconds, which count as not given.
#[must_use]
pub fn deadlines(option: Option<&str>, environment: Option<&str>) -> (Deadlines, Vec<String>) {
    let mut deadlines = Deadlines::default();
    let mut complaints = Vec::new();
    for (name, value) in [("cli_secs", option), (TIMEOUT_VARIABLE, environment)] {
        let Some(value) = value else { continue };
        match seconds(value) {
            Some(wait) => {
                deadlines.connect = Some(wait).filter(|wait| !wait.is_zero());
                break;
            }
            None => complaints.push(format!(
                "upscli_init_default_connect_timeout: {name}='{value}' value was not recognized, ignored"
            )),
        }
    }
    (deadlines, complaints)
}

/// The options of every tool: `-W`, `-D`.
#[must_use]
pub fn common_options() -> [Arg; 2] {
    [
        value('W', "seconds", "how long to wait for the connection; 0: as long as it takes; default 10"),
        flag('D', "debug; repeat for more"),
    ]
}

/// The options of a tool that gives orders: `-u`, `-p`, `-w`, `-t`.
#[must_use]
pub fn order_options() -> [Arg; 4] {
    [
        value('u', "user", "who gives the order; without it the name is asked for"),
        value('p', "password", "the password; without it it is asked for, which shows it to nobody"),
        flag('w', "wait until the driver says how it ended"),
        value('t', "seconds", "how long to wait with -w; default 10"),
    ]
}

/// Who gives an order, as far as the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `-u`.
    pub user: Option<String>,
    /// `-p`.
    pub password: Option<Secret>,
}

impl Credentials {
    /// What `-u` and `-p` say.
    #[must_use]
    pub fn given(matches: &ArgMatches) -> Self {
        Self { user: text(matches, 'u').map(str::to_owned), password: text(matches, 'p').map(Secret::new) }
    }
}

/// Why there is nothing to ask a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The help is to be shown.
    Help,
    /// This is to be shown.
    Outcome(Outcome),
}

/// The UPS that this operand names; without one the help is wanted.
///
/// # Errors
/// [`Stop`] when it names none.
pub fn target_or_help(operand: Option<&str>) -> Result<Target, Stop> {
    target(operand).map_err(|error| match error {
        ArgumentError::Missing => Stop::Help,
        error => Stop::Outcome(Outcome::failure(&format!(
            "{}Error: invalid UPS definition.  Required format: upsname[@hostname[:port]]",
            error.detail()
        ))),
    })
}

/// How long to follow an order: `-t`, else [`PATIENCE`], with `-w`; not at all without.
///
/// # Errors
/// [`Stop`] when `-t` is no number of seconds, with or without `-w`.
pub fn patience(matches: &ArgMatches) -> Result<Option<Duration>, Stop> {
    let patience = match text(matches, 't').map(|secs| secs.trim().parse().map(u32::into)) {
        None => PATIENCE,
        Some(Ok(secs)) => Duration::from_secs(secs),
        Some(Err(_)) => {
            return Err(Stop::Outcome(Outcome::failure(
                "Could not convert the provided value for timeout ('-t' option) to unsigned int: Invalid argument",
            )));
        }
    };
    Ok(Some(patience).filter(|_| count(matches, 'w') > 0))
}

/// A span in seconds, perhaps with a decimal fraction.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_names_are_told_in_nuts_words() {
        let cases = [
            ("", "upscli_splitname: can't parse empty string"),
            ("@host", "upscli_splitname: got empty upsname string"),
            ("u@", "upscli_splitname: got the @ separator and then an empty hostname[:port] string"),
            ("u:3493", "upscli_splitname: port specified, but not a hostname"),
            ("u@h:", "upscli_splitaddr: no port number specified after ':' separator"),
            ("u@h:0", "upscli_splitaddr: no port number specified after ':' separator"),
            ("u@h:99999", "upscli_splitaddr: the port number after ':' separator is above 65535"),
            ("u@h:abc", "upscli_splitaddr: no port number specified after ':' separator"),
            ("u@::1", "upscli_splitaddr: no port number specified after ':' separator"),
            ("u@[::1", "upscli_splitaddr: missing closing bracket in [domain literal]"),
            (
                "a b",
                "upscli_splitname: the UPS's name is not usable: the name contains ' ', which is not allowed there",
            ),
        ];
        for (text, expected) in cases {
            let error = target(Some(text)).unwrap_err();
            assert_eq!(error.detail(), format!("{expected}\n"), "{text}");
        }
        assert_eq!(target(None).unwrap_err().detail(), "");
        assert_eq!(target(Some("u@[::1]:70")).unwrap().to_string(), "u@[::1]:70");
    }

    #[test]
    fn wrong_servers_are_told_in_nuts_words() {
        let cases = [
            ("", "upscli_splitaddr: can't parse empty string"),
            ("h:", "upscli_splitaddr: no port number specified after ':' separator"),
            ("::1", "upscli_splitaddr: no port number specified after ':' separator"),
            ("[::1", "upscli_splitaddr: missing closing bracket in [domain literal]"),
            (
                "u@h",
                "upscli_splitaddr: wrong call? Got upsname@hostname[:port] string where only hostname[:port] was expected: u@h",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(server(Some(text)).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(server(None), Ok(Server::default()));
    }

    #[test]
    fn how_long_to_wait_is_said_by_option_then_environment_then_nut() {
        let secs = |n| Some(Duration::from_secs(n));
        let half = Some(Duration::from_millis(500));
        for (option, environment, expected, complaints) in [
            (None, None, secs(10), 0),
            (None, Some("3"), secs(3), 0),
            (Some("0.5"), Some("3"), half, 0),
            (Some("x"), Some("3"), secs(3), 1),
            (Some("-1"), Some("nan"), secs(10), 2),
            (Some(""), Some("inf"), secs(10), 2),
            (Some("0"), Some("3"), None, 0),
        ] {
            let (seen, told) = deadlines(option, environment);
            assert_eq!((seen.connect, told.len()), (expected, complaints), "{option:?} {environment:?}");
        }
        assert_eq!(
            deadlines(Some("x"), Some("y")).1,
            [
                "upscli_init_default_connect_timeout: cli_secs='x' value was not recognized, ignored",
                "upscli_init_default_connect_timeout: NUT_DEFAULT_CONNECT_TIMEOUT='y' value was not recognized, ignored",
            ]
        );
    }
}
