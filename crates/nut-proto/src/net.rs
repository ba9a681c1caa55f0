//! What a client and `upsd` say to each other: RFC 9271 and NUT's older words (net-protocol).
//!
//! Both sides use the same types: a client encodes a [`Request`] and parses a [`Response`], `upsd` the other way round.
//! They borrow their texts, so that an answer costs no copy.

use crate::driver::append;
use crate::words::{MAX_ENCODED, Words, escape, fitting, quote};
use std::fmt;
use thiserror::Error;

/// What `NETVER` and `PROTVER` answer.
pub const PROTOCOL_VERSION: &str = "1.3";

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

    /// The verb that is spelled so, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether `upsd` wants a user name and a password first, before it even counts the arguments.
    #[must_use]
    pub const fn needs_login(self) -> bool {
        matches!(self, Self::Login | Self::Primary | Self::Master | Self::Fsd | Self::Set | Self::InstCmd)
    }
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// `VER`: which program is this?
    Ver,
    /// `NETVER`: which protocol?
    NetVer,
    /// `PROTVER`: the same.
    ProtVer,
    /// `HELP`: which commands?
    Help,
    /// `STARTTLS`: go on encrypted.
    StartTls,
    /// `GET …`: one thing.
    Get(Get<'a>),
    /// `LIST …`: many things.
    List(List<'a>),
    /// `USERNAME <name>`: judged only when it matters.
    Username(&'a str),
    /// `PASSWORD <password>`: judged only when it matters.
    Password(&'a str),
    /// `LOGIN <ups>`: this connection stands for a host that the UPS feeds.
    Login(&'a str),
    /// `LOGOUT`.
    Logout,
    /// `PRIMARY <ups>`: may I command its shutdown?
    Primary(&'a str),
    /// `MASTER <ups>`: the same, older.
    Master(&'a str),
    /// `FSD <ups>`: all who depend on it must stop now.
    Fsd(&'a str),
    /// `SET VAR <ups> <var> <value>`.
    SetVar {
        /// The UPS.
        ups: &'a str,
        /// The variable.
        var: &'a str,
        /// What it shall be.
        value: &'a str,
    },
    /// `SET TRACKING ON|OFF`.
    SetTracking(bool),
    /// `INSTCMD <ups> <cmd> [<param>]`.
    InstCmd {
        /// The UPS.
        ups: &'a str,
        /// The command.
        cmd: &'a str,
        /// Its argument.
        param: Option<&'a str>,
    },
}

/// `GET`: one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Get<'a> {
    /// `NUMLOGINS <ups>`: how many connections are logged in to it.
    NumLogins(&'a str),
    /// `UPSDESC <ups>`: its description.
    UpsDesc(&'a str),
    /// `VAR <ups> <var>`: the value.
    Var(&'a str, &'a str),
    /// `TYPE <ups> <var>`: what kind of value.
    Type(&'a str, &'a str),
    /// `DESC <ups> <var>`: what it means.
    Desc(&'a str, &'a str),
    /// `CMDDESC <ups> <cmd>`: what it does.
    CmdDesc(&'a str, &'a str),
    /// `TRACKING`: does this connection get ids?
    TrackingState,
    /// `TRACKING <id>`: what became of that order?
    Tracking(&'a str),
}

/// `LIST`: many things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List<'a> {
    /// `UPS`: all UPSes.
    Ups,
    /// `VAR <ups>`: all variables.
    Var(&'a str),
    /// `RW <ups>`: those that can be set.
    Rw(&'a str),
    /// `CMD <ups>`: all instant commands.
    Cmd(&'a str),
    /// `CLIENT <ups>`: who is logged in.
    Client(&'a str),
    /// `ENUM <ups> <var>`: the values it may have.
    Enum(&'a str, &'a str),
    /// `RANGE <ups> <var>`: the spans it may be in.
    Range(&'a str, &'a str),
}

/// Why a line is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadRequest {
    /// No word, or a first word we do not know.
    #[error("unknown command")]
    Unknown,
    /// Too few or too many words, or a second word we do not know.
    #[error("wrong arguments for {}", .0.as_str())]
    Arguments(Verb),
}

impl BadRequest {
    /// The error that `upsd` answers.
    #[must_use]
    pub const fn code(self) -> ErrCode {
        match self {
            Self::Unknown => ErrCode::UnknownCommand,
            Self::Arguments(_) => ErrCode::InvalidArgument,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads the words of a line by NUT's rules on their number (net-protocol §1.2).
    ///
    /// # Errors
    /// [`BadRequest`]; with [`BadRequest::Arguments`] `upsd` must still ask for a login first, if the verb needs one.
    pub fn parse(words: &'a Words) -> Result<Self, BadRequest> {
        let verb = words.get(0).and_then(Verb::from_text).ok_or(BadRequest::Unknown)?;
        let wrong = BadRequest::Arguments(verb);
        let count = words.len() - 1;
        let none = |request| if count == 0 { Ok(request) } else { Err(wrong) };
        let one = || if count == 1 { words.get(1).ok_or(wrong) } else { Err(wrong) };
        let at = |nth: usize| words.get(nth).ok_or(wrong);
        match verb {
            Verb::Ver => none(Self::Ver),
            Verb::NetVer => none(Self::NetVer),
            Verb::ProtVer => none(Self::ProtVer),
            Verb::Help => none(Self::Help),
            Verb::Logout => none(Self::Logout),
            Verb::StartTls => Ok(Self::StartTls),
            Verb::Username => one().map(Self::Username),
            Verb::Password => one().map(Self::Password),
            Verb::Login => one().map(Self::Login),
            Verb::Primary => one().map(Self::Primary),
            Verb::Master => one().map(Self::Master),
            Verb::Fsd => one().map(Self::Fsd),
            Verb::Get => Get::parse(words).ok_or(wrong).map(Self::Get),
            Verb::List => List::parse(words).ok_or(wrong).map(Self::List),
            Verb::Set => {
                let what = at(1)?;
                if what.eq_ignore_ascii_case("VAR") {
                    Ok(Self::SetVar { ups: at(2)?, var: at(3)?, value: at(4)? })
                } else if what.eq_ignore_ascii_case("TRACKING") {
                    on_or_off(at(2)?).ok_or(wrong).map(Self::SetTracking)
                } else {
                    Err(wrong)
                }
            }
            Verb::InstCmd => {
                // With more than three arguments NUT takes none of them for a parameter.
                let param = if count == 3 { words.get(3) } else { None };
                Ok(Self::InstCmd { ups: at(1)?, cmd: at(2)?, param })
            }
        }
    }

    /// Which verb this is.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Ver => Verb::Ver,
            Self::NetVer => Verb::NetVer,
            Self::ProtVer => Verb::ProtVer,
            Self::Help => Verb::Help,
            Self::StartTls => Verb::StartTls,
            Self::Get(_) => Verb::Get,
            Self::List(_) => Verb::List,
            Self::Username(_) => Verb::Username,
            Self::Password(_) => Verb::Password,
            Self::Login(_) => Verb::Login,
            Self::Logout => Verb::Logout,
            Self::Primary(_) => Verb::Primary,
            Self::Master(_) => Verb::Master,
            Self::Fsd(_) => Verb::Fsd,
            Self::SetVar { .. } | Self::SetTracking(_) => Verb::Set,
            Self::InstCmd { .. } => Verb::InstCmd,
        }
    }

    /// Appends the line, with its line feed. Words that need it are quoted.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.verb().as_str().as_bytes());
        match self {
            Self::Ver | Self::NetVer | Self::ProtVer | Self::Help | Self::StartTls | Self::Logout => {}
            Self::Get(get) => get.encode_words(out),
            Self::List(list) => list.encode_words(out),
            Self::Username(word)
            | Self::Password(word)
            | Self::Login(word)
            | Self::Primary(word)
            | Self::Master(word)
            | Self::Fsd(word) => add_word(out, word),
            Self::SetVar { ups, var, value } => {
                for word in ["VAR", ups, var] {
                    add_word(out, word);
                }
                out.push(b' ');
                quote(out, value);
            }
            Self::SetTracking(on) => {
                out.extend_from_slice(if *on { b" TRACKING ON" } else { b" TRACKING OFF" });
            }
            Self::InstCmd { ups, cmd, param } => {
                for word in [Some(*ups), Some(*cmd), *param].into_iter().flatten() {
                    add_word(out, word);
                }
            }
        }
        out.push(b'\n');
    }
}

impl<'a> Get<'a> {
    fn parse(words: &'a Words) -> Option<Self> {
        let what = words.get(1)?;
        if what.eq_ignore_ascii_case("TRACKING") {
            return Some(words.get(2).map_or(Self::TrackingState, Self::Tracking));
        }
        let ups = words.get(2)?;
        if what.eq_ignore_ascii_case("NUMLOGINS") {
            return Some(Self::NumLogins(ups));
        }
        if what.eq_ignore_ascii_case("UPSDESC") {
            return Some(Self::UpsDesc(ups));
        }
        let name = words.get(3)?;
        let of: fn(&'a str, &'a str) -> Self = match what {
            what if what.eq_ignore_ascii_case("VAR") => Self::Var,
            what if what.eq_ignore_ascii_case("TYPE") => Self::Type,
            what if what.eq_ignore_ascii_case("DESC") => Self::Desc,
            what if what.eq_ignore_ascii_case("CMDDESC") => Self::CmdDesc,
            _ => return None,
        };
        Some(of(ups, name))
    }

    fn encode_words(&self, out: &mut Vec<u8>) {
        let words: [Option<&str>; 3] = match *self {
            Self::NumLogins(ups) => [Some("NUMLOGINS"), Some(ups), None],
            Self::UpsDesc(ups) => [Some("UPSDESC"), Some(ups), None],
            Self::Var(ups, var) => [Some("VAR"), Some(ups), Some(var)],
            Self::Type(ups, var) => [Some("TYPE"), Some(ups), Some(var)],
            Self::Desc(ups, var) => [Some("DESC"), Some(ups), Some(var)],
            Self::CmdDesc(ups, cmd) => [Some("CMDDESC"), Some(ups), Some(cmd)],
            Self::TrackingState => [Some("TRACKING"), None, None],
            Self::Tracking(id) => [Some("TRACKING"), Some(id), None],
        };
        for word in words.into_iter().flatten() {
            add_word(out, word);
        }
    }
}

impl<'a> List<'a> {
    fn parse(words: &'a Words) -> Option<Self> {
        Self::from_words(words, 1)
    }

    /// Reads the words from this place on: behind `LIST`, or behind `BEGIN LIST`.
    fn from_words(words: &'a Words, from: usize) -> Option<Self> {
        let what = words.get(from)?;
        if what.eq_ignore_ascii_case("UPS") {
            return Some(Self::Ups);
        }
        let ups = words.get(from + 1)?;
        let of: fn(&'a str) -> Self = match what {
            what if what.eq_ignore_ascii_case("VAR") => Self::Var,
            what if what.eq_ignore_ascii_case("RW") => Self::Rw,
            what if what.eq_ignore_ascii_case("CMD") => Self::Cmd,
            what if what.eq_ignore_ascii_case("CLIENT") => Self::Client,
            _ => {
                let var = words.get(from + 2)?;
                if what.eq_ignore_ascii_case("ENUM") {
                    return Some(Self::Enum(ups, var));
                }
                return what.eq_ignore_ascii_case("RANGE").then_some(Self::Range(ups, var));
            }
        };
        Some(of(ups))
    }

    /// The words behind `LIST`, as `BEGIN LIST`, `END LIST` and the request have them.
    fn words(&self) -> [Option<&'a str>; 3] {
        match *self {
            Self::Ups => [Some("UPS"), None, None],
            Self::Var(ups) => [Some("VAR"), Some(ups), None],
            Self::Rw(ups) => [Some("RW"), Some(ups), None],
            Self::Cmd(ups) => [Some("CMD"), Some(ups), None],
            Self::Client(ups) => [Some("CLIENT"), Some(ups), None],
            Self::Enum(ups, var) => [Some("ENUM"), Some(ups), Some(var)],
            Self::Range(ups, var) => [Some("RANGE"), Some(ups), Some(var)],
        }
    }

    fn encode_words(&self, out: &mut Vec<u8>) {
        for word in self.words().into_iter().flatten() {
            add_word(out, word);
        }
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

/// What kind of value a variable has: the words behind `TYPE <ups> <var>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VarType {
    /// `RW`: it can be set.
    pub writable: bool,
    /// `ENUM`: to one of a list.
    pub enumerated: bool,
    /// `RANGE`: within spans.
    pub ranged: bool,
    /// `STRING:<n>`: text of at most so many bytes; without it the word is `NUMBER`.
    pub string: Option<i64>,
}

/// What `upsd` answers, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response<'a> {
    /// `OK`.
    Ok,
    /// `OK TRACKING <id>`: on its way; ask under this id how it ended.
    OkTracking(&'a str),
    /// `OK Goodbye`.
    OkGoodbye,
    /// `OK STARTTLS`: the next bytes are TLS.
    OkStartTls,
    /// `OK PRIMARY-GRANTED`.
    OkPrimary,
    /// `OK MASTER-GRANTED`.
    OkMaster,
    /// `OK FSD-SET`.
    OkFsd,
    /// `ERR <code>`.
    Err(ErrCode),
    /// `ON` or `OFF`.
    Tracking(bool),
    /// `PENDING`: not ended yet.
    Pending,
    /// `SUCCESS`.
    Success,
    /// `NUMLOGINS <ups> <n>`.
    NumLogins(&'a str, usize),
    /// `UPSDESC <ups> "<text>"`.
    UpsDesc(&'a str, &'a str),
    /// `VAR <ups> <var> "<value>"`, alone or in a list.
    Var(&'a str, &'a str, &'a str),
    /// `TYPE <ups> <var> …`.
    Type(&'a str, &'a str, VarType),
    /// `DESC <ups> <var> "<text>"`.
    Desc(&'a str, &'a str, &'a str),
    /// `CMDDESC <ups> <cmd> "<text>"`.
    CmdDesc(&'a str, &'a str, &'a str),
    /// `BEGIN LIST …`.
    Begin(List<'a>),
    /// `END LIST …`.
    End(List<'a>),
    /// `UPS <name> "<description>"`.
    Ups(&'a str, &'a str),
    /// `RW <ups> <var> "<value>"`.
    Rw(&'a str, &'a str, &'a str),
    /// `CMD <ups> <cmd>`.
    Cmd(&'a str, &'a str),
    /// `CLIENT <ups> <address>`.
    Client(&'a str, &'a str),
    /// `ENUM <ups> <var> "<value>"`.
    Enum(&'a str, &'a str, &'a str),
    /// `RANGE <ups> <var> "<min>" "<max>"`.
    Range(&'a str, &'a str, i64, i64),
}

impl<'a> Response<'a> {
    /// Appends the line, with its line feed.
    ///
    /// Values are cut to NUT's 255 escaped bytes. Names are written as they are: those of the client came through the
    /// tokenizer, ours are checked.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ok => out.extend_from_slice(b"OK"),
            Self::OkTracking(id) => append(out, format_args!("OK TRACKING {id}")),
            Self::OkGoodbye => out.extend_from_slice(b"OK Goodbye"),
            Self::OkStartTls => out.extend_from_slice(b"OK STARTTLS"),
            Self::OkPrimary => out.extend_from_slice(b"OK PRIMARY-GRANTED"),
            Self::OkMaster => out.extend_from_slice(b"OK MASTER-GRANTED"),
            Self::OkFsd => out.extend_from_slice(b"OK FSD-SET"),
            Self::Err(code) => {
                out.extend_from_slice(b"ERR ");
                out.extend_from_slice(code.as_str().as_bytes());
            }
            Self::Tracking(on) => out.extend_from_slice(if on { b"ON" } else { b"OFF" }),
            Self::Pending => out.extend_from_slice(b"PENDING"),
            Self::Success => out.extend_from_slice(b"SUCCESS"),
            Self::NumLogins(ups, count) => append(out, format_args!("NUMLOGINS {ups} {count}")),
            Self::UpsDesc(ups, text) => with_text(out, &["UPSDESC", ups], text),
            Self::Var(ups, var, value) => with_text(out, &["VAR", ups, var], value),
            Self::Type(ups, var, kind) => {
                append(out, format_args!("TYPE {ups} {var}"));
                for (set, word) in
                    [(kind.writable, " RW"), (kind.enumerated, " ENUM"), (kind.ranged, " RANGE")]
                {
                    if set {
                        out.extend_from_slice(word.as_bytes());
                    }
                }
                match kind.string {
                    Some(most) => append(out, format_args!(" STRING:{most}")),
                    None => out.extend_from_slice(b" NUMBER"),
                }
            }
            Self::Desc(ups, var, text) => with_text(out, &["DESC", ups, var], text),
            Self::CmdDesc(ups, cmd, text) => with_text(out, &["CMDDESC", ups, cmd], text),
            Self::Begin(list) => {
                out.extend_from_slice(b"BEGIN LIST");
                echo(out, &list);
            }
            Self::End(list) => {
                out.extend_from_slice(b"END LIST");
                echo(out, &list);
            }
            Self::Ups(name, text) => with_text(out, &["UPS", name], text),
            Self::Rw(ups, var, value) => with_text(out, &["RW", ups, var], value),
            Self::Cmd(ups, cmd) => bare(out, &["CMD", ups, cmd]),
            Self::Client(ups, address) => bare(out, &["CLIENT", ups, address]),
            Self::Enum(ups, var, value) => with_text(out, &["ENUM", ups, var], value),
            Self::Range(ups, var, min, max) => {
                append(out, format_args!("RANGE {ups} {var} \"{min}\" \"{max}\""));
            }
        }
        out.push(b'\n');
    }

    /// Reads the words of a line; nothing if it is no answer of this protocol.
    ///
    /// The answers to `VER`, `NETVER`, `PROTVER` and `HELP` are free text: who asked those takes the line as it is.
    /// An `ERR` with a code we do not know is nothing, too.
    #[must_use]
    pub fn parse(words: &'a Words) -> Option<Self> {
        let at = |nth: usize| words.get(nth);
        let text = |of: fn(&'a str, &'a str, &'a str) -> Self| Some(of(at(1)?, at(2)?, at(3)?));
        Some(match at(0)? {
            "OK" => match at(1) {
                None => Self::Ok,
                Some("TRACKING") => Self::OkTracking(at(2)?),
                Some("Goodbye") => Self::OkGoodbye,
                Some("STARTTLS") => Self::OkStartTls,
                Some("PRIMARY-GRANTED") => Self::OkPrimary,
                Some("MASTER-GRANTED") => Self::OkMaster,
                Some("FSD-SET") => Self::OkFsd,
                // Servers of other makers add words of their own.
                Some(_) => Self::Ok,
            },
            "ERR" => Self::Err(ErrCode::from_text(at(1)?)?),
            "ON" => Self::Tracking(true),
            "OFF" => Self::Tracking(false),
            "PENDING" => Self::Pending,
            "SUCCESS" => Self::Success,
            "NUMLOGINS" => Self::NumLogins(at(1)?, at(2)?.parse().ok()?),
            "UPSDESC" => Self::UpsDesc(at(1)?, at(2)?),
            "VAR" => text(Self::Var)?,
            "TYPE" => Self::Type(at(1)?, at(2)?, type_words(words)?),
            "DESC" => text(Self::Desc)?,
            "CMDDESC" => text(Self::CmdDesc)?,
            "BEGIN" => Self::Begin(list_behind(words)?),
            "END" => Self::End(list_behind(words)?),
            "UPS" => Self::Ups(at(1)?, at(2)?),
            "RW" => text(Self::Rw)?,
            "CMD" => Self::Cmd(at(1)?, at(2)?),
            "CLIENT" => Self::Client(at(1)?, at(2)?),
            "ENUM" => text(Self::Enum)?,
            "RANGE" => Self::Range(at(1)?, at(2)?, at(3)?.parse().ok()?, at(4)?.parse().ok()?),
            _ => return None,
        })
    }
}

fn list_behind(words: &Words) -> Option<List<'_>> {
    (words.get(1)? == "LIST").then(|| List::from_words(words, 2))?
}

fn type_words(words: &Words) -> Option<VarType> {
    let mut kind = VarType::default();
    for word in words.iter().skip(3) {
        match word {
            "RW" => kind.writable = true,
            "ENUM" => kind.enumerated = true,
            "RANGE" => kind.ranged = true,
            // UNKNOWN is what servers before 2.7.4 said of a variable without a kind.
            "NUMBER" | "UNKNOWN" => {}
            word => kind.string = Some(word.strip_prefix("STRING:")?.parse().ok()?),
        }
    }
    Some(kind)
}

fn on_or_off(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("ON") {
        Some(true)
    } else {
        text.eq_ignore_ascii_case("OFF").then_some(false)
    }
}

/// Appends a blank and a word of a request, quoted if the tokenizer would cut it otherwise.
fn add_word(out: &mut Vec<u8>, word: &str) {
    out.push(b' ');
    let plain = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
    if plain {
        escape(out, word);
    } else {
        quote(out, word);
    }
}

/// Appends the words of a list as the client spelled them.
fn echo(out: &mut Vec<u8>, list: &List<'_>) {
    for word in list.words().into_iter().flatten() {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    }
}

fn bare(out: &mut Vec<u8>, words: &[&str]) {
    for (nth, word) in words.iter().enumerate() {
        if nth > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

fn with_text(out: &mut Vec<u8>, words: &[&str], text: &str) {
    bare(out, words);
    out.push(b' ');
    quote(out, fitting(text, MAX_ENCODED));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::split;
    use proptest::prelude::*;

    fn line(bytes: &[u8]) -> Words {
        split(bytes.strip_suffix(b"\n").unwrap_or(bytes)).unwrap()
    }

    #[test]
    fn requests_by_number_of_words() {
        let wrong = |verb| Err(BadRequest::Arguments(verb));
        let cases: [(&str, Result<Request<'_>, BadRequest>); 32] = [
            ("", Err(BadRequest::Unknown)),
            ("FOO", Err(BadRequest::Unknown)),
            ("ver", Ok(Request::Ver)),
            ("VER x", wrong(Verb::Ver)),
            ("STARTTLS x", Ok(Request::StartTls)),
            ("USERNAME", wrong(Verb::Username)),
            ("USERNAME a b", wrong(Verb::Username)),
            ("PASSWORD a=b", wrong(Verb::Password)),
            ("PASSWORD \"a=b\"", Ok(Request::Password("a=b"))),
            ("USERNAME \"\"", Ok(Request::Username(""))),
            ("GET", wrong(Verb::Get)),
            ("GET FOO", wrong(Verb::Get)),
            ("GET VAR u", wrong(Verb::Get)),
            ("get var u v", Ok(Request::Get(Get::Var("u", "v")))),
            ("GET VAR u v w x", Ok(Request::Get(Get::Var("u", "v")))),
            ("GET VAR u=v", Ok(Request::Get(Get::Var("u", "=")))),
            ("GET TRACKING", Ok(Request::Get(Get::TrackingState))),
            ("GET TRACKING id", Ok(Request::Get(Get::Tracking("id")))),
            ("GET NUMLOGINS u", Ok(Request::Get(Get::NumLogins("u")))),
            ("LIST", wrong(Verb::List)),
            ("LIST UPS more", Ok(Request::List(List::Ups))),
            ("LIST CLIENT", wrong(Verb::List)),
            ("LIST CLIENTS u", wrong(Verb::List)),
            ("LIST ENUM u", wrong(Verb::List)),
            ("LIST RANGE u v", Ok(Request::List(List::Range("u", "v")))),
            ("SET VAR u v", wrong(Verb::Set)),
            ("SET VAR u v a b", Ok(Request::SetVar { ups: "u", var: "v", value: "a" })),
            ("SET TRACKING on", Ok(Request::SetTracking(true))),
            ("SET TRACKING maybe", wrong(Verb::Set)),
            ("INSTCMD u", wrong(Verb::InstCmd)),
            ("INSTCMD u c p", Ok(Request::InstCmd { ups: "u", cmd: "c", param: Some("p") })),
            ("INSTCMD u c p q", Ok(Request::InstCmd { ups: "u", cmd: "c", param: None })),
        ];
        for (text, expected) in cases {
            assert_eq!(Request::parse(&line(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn answers_as_nut_writes_them() {
        let kind = |string| VarType { writable: true, enumerated: true, ranged: false, string };
        let cases = [
            (
                Response::Var("UPS1", "ups.mfr", "Acme \"Q\" Corp"),
                "VAR UPS1 ups.mfr \"Acme \\\"Q\\\" Corp\"\n",
            ),
            (Response::Type("u", "v", kind(Some(3))), "TYPE u v RW ENUM STRING:3\n"),
            (Response::Type("u", "v", VarType::default()), "TYPE u v NUMBER\n"),
            (Response::Begin(List::Enum("ups1", "ups.mfr")), "BEGIN LIST ENUM ups1 ups.mfr\n"),
            (Response::Range("u", "v", 0, 30), "RANGE u v \"0\" \"30\"\n"),
            (Response::Err(ErrCode::UnknownUps), "ERR UNKNOWN-UPS\n"),
            (Response::NumLogins("u", 2), "NUMLOGINS u 2\n"),
            (Response::OkTracking("X"), "OK TRACKING X\n"),
        ];
        for (answer, expected) in cases {
            let mut out = Vec::new();
            answer.encode(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_long_value_is_cut_to_what_nut_serves() {
        let long = "\"".repeat(200);
        let mut out = Vec::new();
        Response::Var("u", "v", &long).encode(&mut out);
        assert_eq!(out.len(), "VAR u v \"\"\n".len() + 254);
    }

    #[test]
    fn codes_we_do_not_know_are_no_answer() {
        assert_eq!(Response::parse(&line(b"ERR WHAT-NEVER")), None);
        assert_eq!(
            Response::parse(&line(b"ERR ACCESS-DENIED \"reason\"")),
            Some(Response::Err(ErrCode::AccessDenied))
        );
        for code in ErrCode::ALL {
            assert_eq!(ErrCode::from_text(code.as_str()), Some(code));
        }
    }

    fn word() -> impl Strategy<Value = String> {
        "[!-~]{1,12}"
    }

    proptest! {
        #[test]
        fn every_request_survives_the_wire(a in "[ -~]{0,20}", b in word(), c in "[ -~]{0,20}", on in any::<bool>()) {
            for request in [
                Request::Username(&a),
                Request::Password(&a),
                Request::Login(&b),
                Request::Logout,
                Request::Get(Get::Var(&b, &a)),
                Request::Get(Get::Tracking(&b)),
                Request::Get(Get::TrackingState),
                Request::List(List::Range(&b, &c)),
                Request::List(List::Client(&b)),
                Request::SetVar { ups: &b, var: &a, value: &c },
                Request::SetTracking(on),
                Request::InstCmd { ups: &b, cmd: &a, param: Some(&c) },
                Request::InstCmd { ups: &b, cmd: &a, param: None },
            ] {
                let mut out = Vec::new();
                request.encode(&mut out);
                prop_assert_eq!(out.last(), Some(&b'\n'));
                let words = line(&out);
                prop_assert_eq!(Request::parse(&words), Ok(request));
            }
        }

        #[test]
        fn every_answer_survives_the_wire(ups in "[a-zA-Z0-9_.-]{1,12}", var in "[a-z.0-9]{1,12}", value in "[ -~]{0,60}", n in any::<u32>(), aux in any::<i64>(), on in any::<bool>()) {
            for answer in [
                Response::Var(&ups, &var, &value),
                Response::Rw(&ups, &var, &value),
                Response::Enum(&ups, &var, &value),
                Response::Desc(&ups, &var, &value),
                Response::CmdDesc(&ups, &var, &value),
                Response::UpsDesc(&ups, &value),
                Response::Ups(&ups, &value),
                Response::Cmd(&ups, &var),
                Response::Client(&ups, "::1"),
                Response::NumLogins(&ups, usize::try_from(n).unwrap()),
                Response::Range(&ups, &var, aux, i64::from(n)),
                Response::Type(&ups, &var, VarType { writable: on, enumerated: !on, ranged: on, string: on.then_some(aux) }),
                Response::Begin(List::Enum(&ups, &var)),
                Response::End(List::Ups),
                Response::Tracking(on),
            ] {
                let mut out = Vec::new();
                answer.encode(&mut out);
                prop_assert_eq!(out.last(), Some(&b'\n'));
                let words = line(&out);
                prop_assert_eq!(Response::parse(&words), Some(answer));
            }
        }

        #[test]
        fn no_line_makes_a_parser_stumble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(words) = split(&bytes) {
                let _ = Request::parse(&words);
                let _ = Response::parse(&words);
            }
        }
    }
}
