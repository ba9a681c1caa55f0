//! How UPSes, variables, commands, users and servers are named.
//!
//! Text becomes one of these types once, at the edge; behind it nobody checks again.

use crate::words::MAX_WORD;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Longest name of a UPS, a variable or a command, in bytes. NUT cuts words at 512; a socket path allows 107.
pub const MAX_NAME: usize = 255;

/// The port `upsd` listens on unless told otherwise (IANA: `nut`).
pub const DEFAULT_PORT: u16 = 3493;

/// The host asked when none is named.
pub const DEFAULT_HOST: &str = "localhost";

/// Compares as NUT does: ASCII letters without case, bytes otherwise.
#[must_use]
pub fn cmp_ignoring_case(left: &str, right: &str) -> Ordering {
    let lower = |byte: &u8| byte.to_ascii_lowercase();
    left.as_bytes().iter().map(lower).cmp(right.as_bytes().iter().map(lower))
}

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// A character that would need quoting on the wire or harm a file name.
    #[error("the name contains {found:?}, which is not allowed there")]
    BadChar {
        /// The first such character.
        found: char,
    },
    /// Longer than [`MAX_NAME`].
    #[error("the name is longer than {MAX_NAME} bytes")]
    TooLong,
}

fn checked(text: &str, refused: &str) -> Result<Box<str>, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || refused.contains(*c)) {
        Some(found) => Err(NameError::BadChar { found }),
        None => Ok(text.into()),
    }
}

/// What all name types share: text in and out.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The name as it was spelled.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether `other` names the same thing: ASCII case does not count.
            #[must_use]
            pub fn is(&self, other: &str) -> bool {
                self.0.eq_ignore_ascii_case(other)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

/// A UPS as `ups.conf` names it: one word that is safe on the wire and in a socket's file name.
///
/// Equal only when spelled alike: drivers and `upsdrvctl` tell case apart. `upsd` does not; it asks [`UpsName::is`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpsName(Box<str>);

text_type!(UpsName);

impl FromStr for UpsName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text, "\"#/=@\\").map(Self)
    }
}

/// Implements equality, order and hash without ASCII case.
macro_rules! caseless {
    ($name:ident) => {
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.is(&other.0)
            }
        }

        impl Eq for $name {}

        impl std::hash::Hash for $name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                for byte in self.0.bytes() {
                    state.write_u8(byte.to_ascii_lowercase());
                }
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                cmp_ignoring_case(&self.0, &other.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                checked(text, "\"#=\\").map(Self)
            }
        }
    };
}

/// A variable of a UPS, `ups.status`: keeps its spelling, compares without case.
#[derive(Clone)]
pub struct VarName(Box<str>);

text_type!(VarName);
caseless!(VarName);

/// An instant command, `load.off`: keeps its spelling, compares without case.
#[derive(Clone)]
pub struct CmdName(Box<str>);

text_type!(CmdName);
caseless!(CmdName);

/// A user of `upsd.users`: any text of at most [`MAX_WORD`] bytes, the empty one included; case counts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Box<str>);

text_type!(UserName);

impl UserName {
    /// Takes the name as it is, cut to [`MAX_WORD`] bytes as NUT cuts every word.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(cut(text, MAX_WORD).into())
    }
}

/// A password: compared, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the password as it is, cut to [`MAX_WORD`] bytes as NUT cuts every word.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(cut(text, MAX_WORD).into())
    }

    /// The password itself, for the one place that sends it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `guess` is the password. How long that takes depends neither on the password nor on where the two
    /// differ: [`MAX_WORD`] bytes are compared, whatever the lengths.
    #[must_use]
    pub fn is(&self, guess: &str) -> bool {
        let padded = |text: &str| {
            let mut all = [0u8; MAX_WORD];
            all.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
            all
        };
        let (own, given) = (padded(&self.0), padded(guess));
        // Hidden from the compiler, which might stop at the first difference.
        let difference = own.iter().zip(given).fold(0, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
        (self.0.len() == guess.len()) & (difference == 0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// Cuts text to at most `limit` bytes, at a character's border.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// A server as tools and `MONITOR` name it: `host`, `host:port`, `[v6]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: Box<str>,
    /// The TCP port, [`DEFAULT_PORT`] unless given.
    pub port: u16,
}

/// A UPS on a server, as tools and `MONITOR` name it: `ups`, `ups@host`, `ups@host:port`, `ups@[v6]:port`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The UPS.
    pub ups: UpsName,
    /// Where it is served.
    pub server: Server,
}

/// Why a text does not name a server or a UPS on one. The first four texts are NUT's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing before the `@`.
    #[error("got empty upsname string")]
    NoUps,
    /// Nothing behind the `@`.
    #[error("got the @ separator and then an empty hostname[:port] string")]
    NoHost,
    /// No decimal port behind the `:`, or 0.
    #[error("no port number specified after ':' separator")]
    BadPort,
    /// A port above 65535. (NUT takes it for another one.)
    #[error("the port number after ':' separator is above 65535")]
    PortTooHigh,
    /// `[` without `]`.
    #[error("missing closing bracket in [domain literal]")]
    NoBracket,
    /// A port, but no host.
    #[error("port specified, but not a hostname")]
    PortWithoutHost,
    /// The UPS part is no name.
    #[error("the UPS's name is not usable: {0}")]
    Name(NameError),
    /// The host part has a character no host has.
    #[error("the host contains {found:?}, which no host name has")]
    BadHost {
        /// The first such character.
        found: char,
    },
}

impl Default for Server {
    fn default() -> Self {
        Self { host: DEFAULT_HOST.into(), port: DEFAULT_PORT }
    }
}

impl FromStr for Server {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::NoHost);
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').ok_or(TargetError::NoBracket)?;
                // Whatever else follows the bracket is ignored, as NUT does.
                (host, behind.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(TargetError::NoHost);
        }
        if let Some(found) = host.chars().find(|c| !c.is_ascii_graphic() || "\"#/@\\".contains(*c)) {
            return Err(TargetError::BadHost { found });
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) => port_number(digits)?,
        };
        Ok(Self { host: host.into(), port })
    }
}

/// A port from 1 to 65535, in digits alone.
fn port_number(digits: &str) -> Result<u16, TargetError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::BadPort);
    }
    match digits.parse() {
        Ok(0) => Err(TargetError::BadPort),
        Ok(port) => Ok(port),
        Err(_) => Err(TargetError::PortTooHigh),
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host: Cow<'_, str> =
            if self.host.contains(':') { format!("[{}]", self.host).into() } else { (&*self.host).into() };
        if self.port == DEFAULT_PORT { f.write_str(&host) } else { write!(f, "{host}:{}", self.port) }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (ups, server) = match text.split_once('@') {
            Some(("", _)) => return Err(TargetError::NoUps),
            Some((ups, server)) => (ups, server.parse()?),
            None if text.is_empty() => return Err(TargetError::NoUps),
            None if text.contains(':') => return Err(TargetError::PortWithoutHost),
            None => (text, Server::default()),
        };
        Ok(Self { ups: ups.parse().map_err(TargetError::Name)?, server })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.ups, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_ups_name_is_one_safe_word() {
        assert!("Smart-UPS_3".parse::<UpsName>().is_ok());
        assert_eq!("".parse::<UpsName>(), Err(NameError::Empty));
        for bad in ["a b", "a@b", "a/b", "a\"b", "a#b", "a\\b", "a=b", "ä", "a\u{7f}"] {
            assert!(matches!(bad.parse::<UpsName>(), Err(NameError::BadChar { .. })), "{bad}");
        }
        assert_eq!("x".repeat(256).parse::<UpsName>(), Err(NameError::TooLong));
    }

    #[test]
    fn variables_compare_without_case_and_keep_their_spelling() {
        let name: VarName = "Driver.Flag".parse().unwrap();
        assert_eq!(name, "driver.FLAG".parse().unwrap());
        assert_eq!(name.to_string(), "Driver.Flag");
    }

    #[test]
    fn the_order_is_that_of_lower_case_bytes() {
        let mut names: Vec<VarName> = ["B", "a_", "a0", "a.", "a-", "aB"].map(|n| n.parse().unwrap()).into();
        names.sort();
        assert_eq!(
            names.iter().map(VarName::as_str).collect::<Vec<_>>(),
            ["a-", "a.", "a0", "a_", "aB", "B"]
        );
    }

    #[test]
    fn a_secret_is_compared_but_not_shown() {
        let secret = Secret::new("geheim");
        assert!(secret.is("geheim"));
        assert!(!secret.is("geheiM") && !secret.is("gehei") && !secret.is("") && !secret.is("geheim\0"));
        let longest = Secret::new(&"x".repeat(MAX_WORD + 1));
        assert!(longest.is(&"x".repeat(MAX_WORD)) && !longest.is(&"x".repeat(MAX_WORD + 1)));
        assert_eq!(format!("{secret:?}"), "****");
    }

    #[test]
    fn targets_as_nut_reads_them() {
        type Parts = (&'static str, &'static str, u16);
        let cases: [(&str, Result<Parts, TargetError>); 17] = [
            ("u", Ok(("u", "localhost", 3493))),
            ("u@h", Ok(("u", "h", 3493))),
            ("u@h:23", Ok(("u", "h", 23))),
            ("u@[::1]", Ok(("u", "::1", 3493))),
            ("u@[::1]:70", Ok(("u", "::1", 70))),
            ("", Err(TargetError::NoUps)),
            ("@h", Err(TargetError::NoUps)),
            ("u@", Err(TargetError::NoHost)),
            ("u:3493", Err(TargetError::PortWithoutHost)),
            ("u@h:", Err(TargetError::BadPort)),
            ("u@h:0", Err(TargetError::BadPort)),
            ("u@h:70000", Err(TargetError::PortTooHigh)),
            ("u@h:+80", Err(TargetError::BadPort)),
            ("u@h:80x", Err(TargetError::BadPort)),
            ("u@::1", Err(TargetError::NoHost)),
            ("u@[::1", Err(TargetError::NoBracket)),
            ("u@a@b", Err(TargetError::BadHost { found: '@' })),
        ];
        for (text, expected) in cases {
            let seen = text.parse::<Target>();
            let seen =
                seen.as_ref().map(|t| (t.ups.as_str(), &*t.server.host, t.server.port)).map_err(|e| *e);
            assert_eq!(seen, expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_target_shown_is_a_target_read(ups in "[a-zA-Z0-9_.-]{1,20}", host in "[a-z0-9.-]{1,20}|[0-9a-f:]{3,9}", port in 1u16..) {
            let target = Target { ups: ups.parse().unwrap(), server: Server { host: host.into(), port } };
            prop_assert_eq!(target.to_string().parse::<Target>().unwrap(), target);
        }

        #[test]
        fn no_text_makes_a_parser_stumble(text in any::<String>()) {
            let _ = text.parse::<Target>();
            let _ = text.parse::<Server>();
            let _ = text.parse::<VarName>();
            let _ = UserName::new(&text);
        }
    }
}
