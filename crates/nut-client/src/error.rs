//! Why there is no answer, in the words NUT's clients use (clients §1.3).
//!
//! These texts begin with a capital letter, unlike our other errors: scripts match on them behind `Error: `.

use nut_os::log::plain;
use nut_proto::net::ErrCode;
use std::io;
use thiserror::Error;

use crate::dialog::DialogError;

/// Why a server could not be reached, or a question got no answer. A refusal (`ERR …`) is an answer and none of these.
///
/// After any of them the connection is gone; all that is left is to open another one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The name does not lead to an address (of the family asked for), or not in time.
    #[error("No such host")]
    NoSuchHost,
    /// No address took the connection. Holds the operating system's text for the last one.
    #[error("Connection failure: {0}")]
    Connect(Box<str>),
    /// The question could not be sent. Holds the operating system's text.
    #[error("Write error: {0}")]
    Write(Box<str>),
    /// The answer could not be read. Holds the operating system's text.
    #[error("Read error: {0}")]
    Read(Box<str>),
    /// The server hung up or was silent for too long, now or earlier.
    #[error("Server disconnected")]
    Disconnected,
    /// The connection must be encrypted, and the server does not do that.
    #[error("SSL is not available")]
    NoTls,
    /// The two sides do not agree on TLS, or the server's certificate is not good enough.
    #[error("SSL error: {0}")]
    Tls(Box<str>),
    /// The answer does not belong to the question.
    #[error("{0}")]
    Dialog(DialogError),
}

impl ClientError {
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self::Connect(system_text(error))
    }

    pub(crate) fn tls(error: &io::Error) -> Self {
        Self::Tls(system_text(error))
    }

    /// The number that NUT's client library gives it (`upscli_upserror` of 2.8.0, asked by `tests/oracle/codes.py`).
    #[must_use]
    pub fn number(&self) -> i32 {
        match self {
            Self::NoSuchHost => 2,
            Self::Connect(_) => 31,
            Self::Write(_) => 32,
            Self::Read(_) => 33,
            Self::NoTls => 36,
            Self::Tls(_) => 37,
            Self::Disconnected => 38,
            Self::Dialog(_) => PROTOCOL,
        }
    }

    pub(crate) fn write(error: &io::Error) -> Self {
        Self::Write(system_text(error))
    }

    pub(crate) fn read(error: &io::Error) -> Self {
        Self::Read(system_text(error))
    }
}

impl From<rustls::Error> for ClientError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error.to_string().into())
    }
}

impl From<DialogError> for ClientError {
    fn from(error: DialogError) -> Self {
        Self::Dialog(error)
    }
}

/// The operating system's text alone: `Connection refused`, without Rust's `(os error 111)` behind it.
fn system_text(error: &io::Error) -> Box<str> {
    if error.kind() == io::ErrorKind::TimedOut {
        return "Connection timed out".into();
    }
    plain(error).into()
}

/// The number of an answer that is none.
pub const PROTOCOL: i32 = 42;

/// What NUT's clients say for a code: `Data stale` for [`ErrCode::DataStale`].
#[must_use]
pub fn text(code: ErrCode) -> &'static str {
    text_of(code.as_str())
}

/// What NUT's clients say for the word behind `ERR`, in any case; `Unknown error` for one they do not know.
#[must_use]
pub fn text_of(word: &str) -> &'static str {
    known(word).map_or("Unknown error", |(_, _, text)| text)
}

/// The number of a word behind `ERR`, as [`ClientError::number`]; 0 for one that NUT's clients do not know.
#[must_use]
pub fn number_of(word: &str) -> i32 {
    known(word).map_or(0, |(_, number, _)| *number)
}

fn known(word: &str) -> Option<&'static (&'static str, i32, &'static str)> {
    TEXTS.iter().find(|(code, ..)| code.eq_ignore_ascii_case(word))
}

/// The words behind `ERR` that NUT's clients know, with their numbers. Seven of them are sent only by servers older than
/// NUT 2.
const TEXTS: [(&str, i32, &str); 25] = [
    ("VAR-NOT-SUPPORTED", 1, "Variable not supported by UPS"),
    ("UNKNOWN-UPS", 4, "Unknown UPS"),
    ("ACCESS-DENIED", 6, "Access denied"),
    ("PASSWORD-REQUIRED", 7, "Password required"),
    ("PASSWORD-INCORRECT", 8, "Password incorrect"),
    ("MISSING-ARGUMENT", 9, "Missing argument"),
    ("DATA-STALE", 10, "Data stale"),
    ("VAR-UNKNOWN", 11, "Variable unknown"),
    ("ALREADY-LOGGED-IN", 12, "Already logged in"),
    ("ALREADY-SET-PASSWORD", 13, "Already set password"),
    ("UNKNOWN-TYPE", 14, "Unknown variable type"),
    ("UNKNOWN-VAR", 15, "Unknown variable"),
    ("READONLY", 16, "Read-only variable"),
    ("TOO-LONG", 17, "New value is too long"),
    ("INVALID-VALUE", 18, "Invalid value for variable"),
    ("SET-FAILED", 19, "Set command failed"),
    ("UNKNOWN-INSTCMD", 20, "Unknown instant command"),
    ("INSTCMD-FAILED", 21, "Instant command failed"),
    ("CMD-NOT-SUPPORTED", 22, "Instant command not supported"),
    ("INVALID-USERNAME", 23, "Invalid username"),
    ("ALREADY-SET-USERNAME", 24, "Already set username"),
    ("UNKNOWN-COMMAND", 25, "Unknown command"),
    ("INVALID-PASSWORD", 34, "Invalid password"),
    ("USERNAME-REQUIRED", 35, "Username required"),
    ("DRIVER-NOT-CONNECTED", 39, "Driver not connected"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_text_and_the_rest_is_unknown() {
        let without: Vec<_> =
            ErrCode::ALL.into_iter().filter(|code| text(*code) == "Unknown error").collect();
        assert_eq!(
            without,
            [
                ErrCode::InvalidArgument,
                ErrCode::FeatureNotSupported,
                ErrCode::FeatureNotConfigured,
                ErrCode::AlreadySslMode,
                ErrCode::Unknown,
                ErrCode::Failed,
            ]
        );
        assert_eq!(text(ErrCode::DataStale), "Data stale");
        assert_eq!(text_of("var-unknown"), "Variable unknown");
        assert_eq!(text_of("UNKNOWN-UPS-X"), "Unknown error");
    }

    #[test]
    fn errors_are_shown_in_nuts_words() {
        let refused = io::Error::from_raw_os_error(111);
        assert_eq!(ClientError::connect(&refused).to_string(), "Connection failure: Connection refused");
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(ClientError::connect(&late).to_string(), "Connection failure: Connection timed out");
        let pipe = io::Error::from_raw_os_error(32);
        assert_eq!(ClientError::write(&pipe).to_string(), "Write error: Broken pipe");
        let reset = io::Error::from_raw_os_error(104);
        assert_eq!(ClientError::read(&reset).to_string(), "Read error: Connection reset by peer");
        assert_eq!(ClientError::Disconnected.to_string(), "Server disconnected");
        assert_eq!(ClientError::NoSuchHost.to_string(), "No such host");
    }
}
