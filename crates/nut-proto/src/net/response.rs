//! What `upsd` answers.

use super::{ErrCode, List};
use crate::driver::append;
use crate::words::{MAX_ENCODED, Words, fitting, quote};

/// Most bytes of a UPS's description behind its backslashes that NUT serves: those of `desc` in ups.conf. It comes from a
/// file, not from a driver, so it is not held to the 255 of a value.
pub const MAX_DESCRIPTION: usize = 511;

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
    /// `NUMATTACH <ups> <n>`: the same, in RFC 9271's word.
    NumAttach(&'a str, usize),
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
    /// Values are cut to NUT's 255 escaped bytes, a UPS's description to [`MAX_DESCRIPTION`]. Names are written as they are: those of the client came through the
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
            Self::NumAttach(ups, count) => append(out, format_args!("NUMATTACH {ups} {count}")),
            Self::UpsDesc(ups, text) => described(out, &["UPSDESC", ups], text),
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
            Self::Ups(name, text) => described(out, &["UPS", name], text),
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
            "NUMATTACH" => Self::NumAttach(at(1)?, at(2)?.parse().ok()?),
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
    cut_to(MAX_ENCODED, out, words, text);
}

fn described(out: &mut Vec<u8>, words: &[&str], text: &str) {
    cut_to(MAX_DESCRIPTION, out, words, text);
}

fn cut_to(limit: usize, out: &mut Vec<u8>, words: &[&str], text: &str) {
    bare(out, words);
    out.push(b' ');
    quote(out, fitting(text, limit));
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
            (Response::NumAttach("u", 2), "NUMATTACH u 2\n"),
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
    fn a_description_may_be_longer_than_a_value() {
        let cases = [("d".repeat(600), 511), ("\"".repeat(300), 510), ("d".repeat(300), 300)];
        for (text, expected) in cases {
            for (answer, head) in
                [(Response::Ups("u", &text), "UPS u"), (Response::UpsDesc("u", &text), "UPSDESC u")]
            {
                let mut out = Vec::new();
                answer.encode(&mut out);
                assert_eq!(out.len(), head.len() + " \"\"\n".len() + expected, "{head} of {}", text.len());
            }
        }
    }

    #[test]
    fn codes_we_do_not_know_are_no_answer() {
        assert_eq!(Response::parse(&line(b"ERR WHAT-NEVER")), None);
        assert_eq!(
            Response::parse(&line(b"ERR ACCESS-DENIED \"reason\"")),
            Some(Response::Err(ErrCode::AccessDenied))
        );
    }

    proptest! {
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
        fn no_line_makes_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(words) = split(&bytes) {
                let _ = Response::parse(&words);
            }
        }
    }
}
