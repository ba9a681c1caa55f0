//! What a client asks.

use super::{ErrCode, Verb};
use crate::words::{Words, escape, quote};
use thiserror::Error;

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
    /// `NUMATTACH <ups>`: the same, in RFC 9271's word.
    NumAttach(&'a str),
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
        if what.eq_ignore_ascii_case("NUMATTACH") {
            return Some(Self::NumAttach(ups));
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
            Self::NumAttach(ups) => [Some("NUMATTACH"), Some(ups), None],
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
    pub(super) fn from_words(words: &'a Words, from: usize) -> Option<Self> {
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
    pub(super) fn words(&self) -> [Option<&'a str>; 3] {
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
        let cases: [(&str, Result<Request<'_>, BadRequest>); 37] = [
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
            ("GET numattach u", Ok(Request::Get(Get::NumAttach("u")))),
            ("ATTACH u", Ok(Request::Login("u"))),
            ("ATTACH", wrong(Verb::Login)),
            ("Detach", Ok(Request::Logout)),
            ("DETACH x", wrong(Verb::Logout)),
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
        fn no_line_makes_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(words) = split(&bytes) {
                let _ = Request::parse(&words);
            }
        }
    }
}
