//! What a client and `upsd` say to each other: RFC 9271 and NUT's older words (net-protocol).
//!
//! Both sides use the same types: a client encodes a [`Request`] and parses a [`Response`], `upsd` the other way round.
//! They borrow their texts, so that an answer costs no copy.

pub mod old;
mod request;
mod response;

use std::fmt;

pub use request::{BadRequest, Get, List, Request};
pub use response::{MAX_DESCRIPTION, Response, VarType};

/// What `NETVER` and `PROTVER` answer.
pub const PROTOCOL_VERSION: &str = "1.3";

/// A host's part in the shutdown of a UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `primary`, once `master`: commands the UPS, stops last.
    Primary,
    /// `secondary`, once `slave`: stops first.
    Secondary,
}

impl Role {
    /// Every word for a role in files, those of before NUT 2.8 behind the others.
    pub const WORDS: [&str; 4] = ["primary", "secondary", "master", "slave"];

    /// The role that this word means, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("primary") || is("master") {
            Some(Self::Primary)
        } else {
            (is("secondary") || is("slave")).then_some(Self::Secondary)
        }
    }
}

/// The first word of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `VER`.
    Ver,
    /// `NETVER`.
    NetVer,
    /// `PROTVER`.
    ProtVer,
    /// `HELP`.
    Help,
    /// `STARTTLS`.
    StartTls,
    /// `GET`.
    Get,
    /// `LIST`.
    List,
    /// `USERNAME`.
    Username,
    /// `PASSWORD`.
    Password,
    /// `LOGIN`.
    Login,
    /// `LOGOUT`.
    Logout,
    /// `PRIMARY`.
    Primary,
    /// `MASTER`: `PRIMARY` as NUT called it until 2.8.
    Master,
    /// `FSD`.
    Fsd,
    /// `SET`.
    Set,
    /// `INSTCMD`.
    InstCmd,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 16] = [
        Self::Get,
        Self::List,
        Self::Ver,
        Self::NetVer,
        Self::ProtVer,
        Self::Help,
        Self::StartTls,
        Self::Username,
        Self::Password,
        Self::Login,
        Self::Logout,
        Self::Primary,
        Self::Master,
        Self::Fsd,
        Self::Set,
        Self::InstCmd,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ver => "VER",
            Self::NetVer => "NETVER",
            Self::ProtVer => "PROTVER",
            Self::Help => "HELP",
            Self::StartTls => "STARTTLS",
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Username => "USERNAME",
            Self::Password => "PASSWORD",
            Self::Login => "LOGIN",
            Self::Logout => "LOGOUT",
            Self::Primary => "PRIMARY",
            Self::Master => "MASTER",
            Self::Fsd => "FSD",
            Self::Set => "SET",
            Self::InstCmd => "INSTCMD",
        }
    }

    /// RFC 9271's words for two of them.
    pub const ALSO: [(&str, Self); 2] = [("ATTACH", Self::Login), ("DETACH", Self::Logout)];

    /// The verb that is spelled so, in any case; by RFC 9271's words, too.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let also = Self::ALSO.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str().eq_ignore_ascii_case(text))
            .or(also.map(|(_, verb)| verb))
    }

    /// Whether `upsd` wants a user name and a password first, before it even counts the arguments.
    #[must_use]
    pub const fn needs_login(self) -> bool {
        matches!(self, Self::Login | Self::Primary | Self::Master | Self::Fsd | Self::Set | Self::InstCmd)
    }
}

/// The word behind `ERR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrCode {
    /// Wrong user, wrong password, or not allowed.
    AccessDenied,
    /// No UPS of that name.
    UnknownUps,
    /// The UPS has no such variable.
    VarNotSupported,
    /// The UPS has no such command.
    CmdNotSupported,
    /// Too few or too many words, or a word that means nothing there.
    InvalidArgument,
    /// The command could not be given to the driver.
    InstCmdFailed,
    /// The value could not be given to the driver.
    SetFailed,
    /// The variable cannot be set.
    ReadOnly,
    /// The value is longer than the variable takes.
    TooLong,
    /// The value is not one the variable takes.
    InvalidValue,
    /// This server cannot do that.
    FeatureNotSupported,
    /// This server could do that, but was not told to.
    FeatureNotConfigured,
    /// Encrypted already.
    AlreadySslMode,
    /// No driver on the socket.
    DriverNotConnected,
    /// The driver is there, but has nothing fresh.
    DataStale,
    /// Logged in already.
    AlreadyLoggedIn,
    /// `USERNAME` twice.
    AlreadySetUsername,
    /// `PASSWORD` twice.
    AlreadySetPassword,
    /// `USERNAME` first.
    UsernameRequired,
    /// `PASSWORD` first.
    PasswordRequired,
    /// No such command, or an empty line.
    UnknownCommand,
    /// As a tracking result: the id, or the end, is not known.
    Unknown,
    /// As a tracking result: tried, and failed.
    Failed,
    /// Known to clients, sent by no server of NUT 2.
    InvalidPassword,
    /// Known to clients, sent by no server of NUT 2.
    InvalidUsername,
}

impl ErrCode {
    /// Every code. `UNKNOWN` stands behind the longer ones that begin with it.
    pub const ALL: [Self; 25] = [
        Self::AccessDenied,
        Self::UnknownUps,
        Self::VarNotSupported,
        Self::CmdNotSupported,
        Self::InvalidArgument,
        Self::InstCmdFailed,
        Self::SetFailed,
        Self::ReadOnly,
        Self::TooLong,
        Self::InvalidValue,
        Self::FeatureNotSupported,
        Self::FeatureNotConfigured,
        Self::AlreadySslMode,
        Self::DriverNotConnected,
        Self::DataStale,
        Self::AlreadyLoggedIn,
        Self::AlreadySetUsername,
        Self::AlreadySetPassword,
        Self::UsernameRequired,
        Self::PasswordRequired,
        Self::UnknownCommand,
        Self::Unknown,
        Self::Failed,
        Self::InvalidPassword,
        Self::InvalidUsername,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "ACCESS-DENIED",
            Self::UnknownUps => "UNKNOWN-UPS",
            Self::VarNotSupported => "VAR-NOT-SUPPORTED",
            Self::CmdNotSupported => "CMD-NOT-SUPPORTED",
            Self::InvalidArgument => "INVALID-ARGUMENT",
            Self::InstCmdFailed => "INSTCMD-FAILED",
            Self::SetFailed => "SET-FAILED",
            Self::ReadOnly => "READONLY",
            Self::TooLong => "TOO-LONG",
            Self::InvalidValue => "INVALID-VALUE",
            Self::FeatureNotSupported => "FEATURE-NOT-SUPPORTED",
            Self::FeatureNotConfigured => "FEATURE-NOT-CONFIGURED",
            Self::AlreadySslMode => "ALREADY-SSL-MODE",
            Self::DriverNotConnected => "DRIVER-NOT-CONNECTED",
            Self::DataStale => "DATA-STALE",
            Self::AlreadyLoggedIn => "ALREADY-LOGGED-IN",
            Self::AlreadySetUsername => "ALREADY-SET-USERNAME",
            Self::AlreadySetPassword => "ALREADY-SET-PASSWORD",
            Self::UsernameRequired => "USERNAME-REQUIRED",
            Self::PasswordRequired => "PASSWORD-REQUIRED",
            Self::UnknownCommand => "UNKNOWN-COMMAND",
            Self::Unknown => "UNKNOWN",
            Self::Failed => "FAILED",
            Self::InvalidPassword => "INVALID-PASSWORD",
            Self::InvalidUsername => "INVALID-USERNAME",
        }
    }

    /// The code that is spelled so.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for ErrCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_words_of_two_eras_in_any_case() {
        let found = Role::WORDS.map(Role::from_text);
        let (primary, secondary) = (Some(Role::Primary), Some(Role::Secondary));
        assert_eq!(found, [primary, secondary, primary, secondary]);
        assert_eq!(
            (Role::from_text("MASTER"), Role::from_text("prim"), Role::from_text("")),
            (primary, None, None)
        );
    }

    #[test]
    fn every_verb_and_every_code_is_read_as_it_is_written() {
        for verb in Verb::ALL {
            assert_eq!(Verb::from_text(&verb.as_str().to_lowercase()), Some(verb));
        }
        for code in ErrCode::ALL {
            assert_eq!(ErrCode::from_text(code.as_str()), Some(code));
        }
    }
}
