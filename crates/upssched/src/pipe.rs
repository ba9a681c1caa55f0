//! What upssched and its timer process say to each other over PIPEFN (upssched §3).
//!
//! A connection carries requests, one line each, and each is answered with one line; the list of timers with several.
//! We send NUT 2.8.5's form, whose requests hold the event they come from, and also take the shorter one of older
//! clients. Behind NUT's values stands one of ours, which NUT's timer process passes over: when the client was called,
//! so that orders of several notices keep their places. Pure: bytes to values and back.

use std::fmt;
use std::time::Duration;

use nut_proto::Moment;
use nut_proto::lines::{LineBuffer, LineError};
use nut_proto::numbers::Number;
use nut_proto::words::{self, Words, WordsError};
use thiserror::Error;

/// Longest request we send, in bytes, with its line feed: as much as NUT 2.8.5's timer process reads. The message of
/// the notice is cut to fit; names are not, so that what was started can be cancelled.
pub const MAX_REQUEST: usize = 1023;

/// Longest request we take, in bytes: five words of [`words::MAX_WORD`], each byte with a backslash, fit.
pub const MAX_LINE: usize = 8 * 1024;

/// Longest answer we take, in bytes; a list of a hundred timers has some 10,000.
pub const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Longest line of an answer we take, in bytes.
const MAX_ANSWER_LINE: usize = 256 * 1024;

/// The event that led to a request; what CMDSCRIPT finds in its environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// `NOTIFYTYPE`, as in `ONBATT`. Empty if an old client did not say.
    pub notice: String,
    /// `UPSNAME`, as in `MONITOR`. Empty for notices about no UPS.
    pub ups: String,
    /// `NOTIFYMSG`: the notice's text.
    pub message: String,
}

/// What the timer process is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToTimers {
    /// `START`: one more timer of that name.
    Start {
        /// The timer, and CMDSCRIPT's argument when it fires.
        name: String,
        /// How long from now; whole seconds on the wire.
        after: Duration,
        /// Who asks.
        origin: Origin,
    },
    /// `START-SHARED`: joins the pending timer of that name, else starts one.
    StartShared {
        /// The timer.
        name: String,
        /// How long from now, if none is pending.
        after: Duration,
        /// Who asks.
        origin: Origin,
    },
    /// `CANCEL`: all timers of that name.
    Cancel {
        /// The timer.
        name: String,
        /// CMDSCRIPT's argument if none was pending; `None` to do nothing then.
        otherwise: Option<String>,
        /// Who asks.
        origin: Origin,
    },
    /// `CANCEL-MATCHED`: what the same UPS set of that name.
    CancelMatched {
        /// The timer.
        name: String,
        /// CMDSCRIPT's argument if none was pending; `None` to do nothing then.
        otherwise: Option<String>,
        /// Who asks.
        origin: Origin,
    },
    /// `LIST-TIMERS`.
    List,
}

/// What the timer process is asked, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub what: ToTimers,
    /// When the client was called, on the clock that counts from the start of the machine, in microseconds on the wire.
    /// NUT's clients do not say.
    pub called: Option<Moment>,
}

impl Request {
    /// The line, with its line feed. Control characters become blanks; the message is cut to keep to [`MAX_REQUEST`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.what.encode(self.called)
    }

    /// Reads a line without its line feed.
    ///
    /// # Errors
    /// When it makes no sense; [`RequestError::reply`] says what to answer.
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let words = words::split(line)?;
        let micros = words.get(6).and_then(|word| word.parse().ok());
        let called = micros.map(|micros| Moment::from_start(Duration::from_micros(micros)));
        Ok(Self { what: ToTimers::read(words)?, called })
    }
}

/// Why a request is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No words can be read from the line.
    #[error("Parse error on sock: {0}")]
    Words(#[from] WordsError),
    /// The line is too long.
    #[error("Parse error on sock: {0}")]
    Line(#[from] LineError),
    /// A word we do not know, too few words, or seconds that are no number.
    #[error("Unknown command on socket: {}", Arguments(words))]
    Unknown {
        /// The line's words.
        words: Words,
    },
    /// A timer that should have fired in the past. NUT says OK to it and does nothing; so do we, as its clients would
    /// repeat themselves thirty times otherwise.
    #[error("bogus offset for timer, ignoring")]
    Negative,
}

impl RequestError {
    /// What the client is told.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Negative => Reply::Ok,
            Self::Words(_) | Self::Line(_) | Self::Unknown { .. } => Reply::Unknown,
        }
    }
}

/// As in `arg 0: START arg 1: onbatt`.
struct Arguments<'a>(&'a Words);

impl fmt::Display for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, word) in self.0.iter().enumerate() {
            let gap = if nth == 0 { "" } else { " " };
            write!(f, "{gap}arg {nth}: {word}")?;
        }
        Ok(())
    }
}

const START: &str = "START";
const START_SHARED: &str = "START-SHARED";
const CANCEL: &str = "CANCEL";
const CANCEL_MATCHED: &str = "CANCEL-MATCHED";
const LIST: &str = "LIST-TIMERS";

impl ToTimers {
    fn encode(&self, called: Option<Moment>) -> Vec<u8> {
        let unsaid = Origin::default();
        let command = |otherwise: &Option<String>| otherwise.clone().unwrap_or_default();
        let (word, name, second, origin) = match self {
            Self::Start { name, after, origin } => (START, name.as_str(), whole_secs(*after), origin),
            Self::StartShared { name, after, origin } => {
                (START_SHARED, name.as_str(), whole_secs(*after), origin)
            }
            Self::Cancel { name, otherwise, origin } => (CANCEL, name.as_str(), command(otherwise), origin),
            Self::CancelMatched { name, otherwise, origin } => {
                (CANCEL_MATCHED, name.as_str(), command(otherwise), origin)
            }
            Self::List => (LIST, "", String::new(), &unsaid),
        };
        encode_line([word, name, &second], origin, called)
    }

    fn read(words: Words) -> Result<Self, RequestError> {
        let text = |nth| words.get(nth).unwrap_or_default().to_owned();
        let name = text(1);
        let origin = Origin { notice: text(3), ups: text(4), message: text(5) };
        let otherwise = Some(text(2)).filter(|command| !command.is_empty());
        let seconds = || words.get(2).and_then(Seconds::parse);
        Ok(match (words.get(0), words.len(), seconds()) {
            (Some(START | START_SHARED), _, Some(Seconds::Negative)) => return Err(RequestError::Negative),
            (Some(START), _, Some(Seconds::Some(after))) => Self::Start { name, after, origin },
            (Some(START_SHARED), _, Some(Seconds::Some(after))) => Self::StartShared { name, after, origin },
            (Some(CANCEL), 2.., _) => Self::Cancel { name, otherwise, origin },
            (Some(CANCEL_MATCHED), 2.., _) => Self::CancelMatched { name, otherwise, origin },
            (Some(LIST), ..) => Self::List,
            _ => return Err(RequestError::Unknown { words }),
        })
    }

    /// Whether it can leave a timer behind.
    #[must_use]
    pub fn sets_a_timer(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::StartShared { .. })
    }

    /// Whether nothing has to be done if there is no timer process: cancelling without a command, and listing.
    #[must_use]
    pub fn is_void_without_timers(&self) -> bool {
        match self {
            Self::Cancel { otherwise, .. } | Self::CancelMatched { otherwise, .. } => otherwise.is_none(),
            Self::List => true,
            Self::Start { .. } | Self::StartShared { .. } => false,
        }
    }
}

/// Seconds as a client wrote them. Behind the number anything may stand (old clients pass `30s` on as it is); without
/// a number there is no timer. NUT takes that for 0 and fires at once.
enum Seconds {
    Some(Duration),
    Negative,
}

impl Seconds {
    fn parse(word: &str) -> Option<Self> {
        // A number beyond what can be counted is a timer that never fires, not one that fires at once.
        let number = Number::read(word).value()?;
        Some(u64::try_from(number).map_or(Self::Negative, |secs| Self::Some(Duration::from_secs(secs))))
    }
}

/// Rounded up: a timer may be late by the rest of a second, never early.
fn whole_secs(after: Duration) -> String {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).to_string()
}

/// The request's word, the timer's name, and what stands behind that; then what every request has.
fn encode_line([word, name, second]: [&str; 3], origin: &Origin, called: Option<Moment>) -> Vec<u8> {
    let mut line = word.as_bytes().to_vec();
    for value in [name, second, &origin.notice, &origin.ups] {
        push_value(&mut line, value);
    }
    let mut end = Vec::new();
    if let Some(called) = called {
        push_value(&mut end, &called.since_start().as_micros().to_string());
    }
    end.push(b'\n');
    // A blank and two quotes.
    let left = MAX_REQUEST.saturating_sub(line.len() + 3 + end.len());
    push_value(&mut line, words::fitting(&origin.message, left));
    line.extend(end);
    line
}

fn push_value(line: &mut Vec<u8>, value: &str) {
    line.push(b' ');
    if value.chars().any(char::is_control) {
        words::quote(line, &value.replace(char::is_control, " "));
    } else {
        words::quote(line, value);
    }
}

/// What the timer process answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Ok,
    /// The request made no sense.
    Unknown,
    /// There are as many timers as there may be.
    TooMany,
    /// The timers, the next one first.
    Timers(Vec<Listed>),
}

/// One timer in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// How long until it fires; zero if it is about to.
    pub left: Duration,
    /// The types of the notices it stands for.
    pub notices: Vec<String>,
    /// Their UPSes.
    pub upses: Vec<String>,
    /// Their texts.
    pub messages: Vec<String>,
}

impl Reply {
    /// The lines, with their line feeds. `wall` is now in seconds since 1970, for the time that a list shows.
    #[must_use]
    pub fn encode(&self, wall: u64) -> Vec<u8> {
        let timers = match self {
            Self::Ok => return b"OK\n".to_vec(),
            Self::Unknown => return b"ERR UNKNOWN\n".to_vec(),
            Self::TooMany => return b"ERR TOO-MANY-TIMERS\n".to_vec(),
            Self::Timers(timers) => timers,
        };
        let mut text = String::from("BEGIN LIST TIMERS\n");
        for timer in timers {
            let left = timer.left.as_secs().saturating_add(u64::from(timer.left.subsec_nanos() > 0));
            let columns = [
                shown(std::slice::from_ref(&timer.name)),
                wall.saturating_add(left).to_string(),
                left.to_string(),
                shown(&timer.notices),
                shown(&timer.upses),
                shown(&timer.messages),
            ];
            text.push_str(&columns.join("\t"));
            text.push('\n');
        }
        text.push_str("END LIST TIMERS\nOK\n");
        text.into_bytes()
    }
}

/// A column of the list: joined by commas, `""` if there is nothing.
fn shown(values: &[String]) -> String {
    let text = values.join(",");
    if text.is_empty() { "\"\"".into() } else { text }
}

/// What the client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `OK`, and the list's lines if one was asked for.
    Done(Vec<String>),
    /// Anything else: repeating the request will not help.
    Refused(String),
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// Longer than [`MAX_ANSWER`].
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
    /// One of its lines is too long.
    #[error("in the answer {0}")]
    Line(#[from] LineError),
}

/// Reads one answer from a stream of bytes.
#[derive(Debug)]
pub struct AnswerReader {
    lines: LineBuffer,
    /// The lines of a list that has begun.
    list: Option<Vec<String>>,
    listed: Vec<String>,
    taken: usize,
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self { lines: LineBuffer::with_limit(MAX_ANSWER_LINE), list: None, listed: Vec::new(), taken: 0 }
    }
}

impl AnswerReader {
    /// Takes bytes as they came; gives the answer once it is whole.
    ///
    /// # Errors
    /// When it is too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Answer>, AnswerError> {
        self.taken = self.taken.saturating_add(bytes.len());
        if self.taken > MAX_ANSWER {
            return Err(AnswerError::TooLong);
        }
        let Self { lines, list, listed, .. } = self;
        let mut answer = None;
        let mut bad = None;
        lines.push(bytes, |line| {
            let line = match line {
                Ok(line) => String::from_utf8_lossy(line).into_owned(),
                Err(error) => {
                    bad.get_or_insert(error);
                    return;
                }
            };
            if answer.is_some() || bad.is_some() {
                return;
            }
            match (list.as_mut(), line.as_str()) {
                (Some(_), "END LIST TIMERS") => *listed = list.take().unwrap_or_default(),
                (Some(list), _) => list.push(line),
                (None, "BEGIN LIST TIMERS") => *list = Some(Vec::new()),
                (None, text) if text.starts_with("OK") => answer = Some(Answer::Done(std::mem::take(listed))),
                (None, _) => answer = Some(Answer::Refused(line)),
            }
        });
        match bad {
            Some(error) => Err(error.into()),
            None => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &[u8]) -> Result<ToTimers, RequestError> {
        Request::parse(line).map(|request| request.what)
    }

    fn origin() -> Origin {
        Origin { notice: "ONBATT".into(), ups: "u@h".into(), message: "say \"on\" #1 \\ battery".into() }
    }

    fn start(name: &str, secs: u64) -> ToTimers {
        ToTimers::Start { name: name.into(), after: Duration::from_secs(secs), origin: origin() }
    }

    fn line(request: &ToTimers) -> String {
        String::from_utf8(request.encode(None)).unwrap()
    }

    #[test]
    fn requests_look_as_nut_2_8_5_writes_them() {
        let tail = r#""ONBATT" "u@h" "say \"on\" \#1 \\ battery""#;
        assert_eq!(line(&start("t 1", 30)), format!("START \"t 1\" \"30\" {tail}\n"));
        let (name, otherwise) = ("t".to_owned(), Some("back".to_owned()));
        let cancel = |otherwise| ToTimers::Cancel { name: name.clone(), otherwise, origin: origin() };
        assert_eq!(line(&cancel(otherwise.clone())), format!("CANCEL \"t\" \"back\" {tail}\n"));
        assert_eq!(line(&cancel(None)), format!("CANCEL \"t\" \"\" {tail}\n"));
        let matched = ToTimers::CancelMatched { name: name.clone(), otherwise, origin: origin() };
        assert_eq!(line(&matched), format!("CANCEL-MATCHED \"t\" \"back\" {tail}\n"));
        let after = Duration::from_millis(1500);
        let shared = ToTimers::StartShared { name, after, origin: origin() };
        assert_eq!(line(&shared), format!("START-SHARED \"t\" \"2\" {tail}\n"));
        assert_eq!(line(&ToTimers::List), "LIST-TIMERS \"\" \"\" \"\" \"\" \"\"\n");
    }

    #[test]
    fn when_the_client_was_called_stands_behind_nuts_values() {
        let called = Some(Moment::from_start(Duration::from_micros(12_345_678)));
        let request = Request { what: start("t", 30), called };
        let bytes = request.encode();
        let nuts = line(&start("t", 30));
        assert_eq!(bytes, format!("{} \"12345678\"\n", nuts.trim_end()).into_bytes());
        assert_eq!(Request::parse(bytes.trim_ascii_end()), Ok(request));
        for odd in ["", "-1", "1.5", "x", "99999999999999999999999"] {
            let line = format!("{} \"{odd}\"", nuts.trim_end());
            assert_eq!(
                Request::parse(line.as_bytes()),
                Ok(Request { what: start("t", 30), called: None }),
                "{odd}"
            );
        }
        // The message gives way to it, too.
        let long = Origin { message: "m".repeat(5000), ..origin() };
        let what = ToTimers::Start { name: "t".into(), after: Duration::ZERO, origin: long };
        let bytes = Request { what, called }.encode();
        assert_eq!(bytes.len(), MAX_REQUEST);
        assert_eq!(Request::parse(bytes.trim_ascii_end()).unwrap().called, called);
    }

    #[test]
    fn older_clients_are_understood() {
        let unsaid = Origin::default;
        let after = Duration::from_secs(30);
        for (line, expected) in [
            ("START \"t\" \"30\"", ToTimers::Start { name: "t".into(), after, origin: unsaid() }),
            ("START \"t\" \"30s\"", ToTimers::Start { name: "t".into(), after, origin: unsaid() }),
            ("CANCEL \"t\"", ToTimers::Cancel { name: "t".into(), otherwise: None, origin: unsaid() }),
            (
                "CANCEL \"t\" \"back\"",
                ToTimers::Cancel { name: "t".into(), otherwise: Some("back".into()), origin: unsaid() },
            ),
            ("LIST-TIMERS", ToTimers::List),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn seconds_are_a_number_or_there_is_no_timer() {
        let secs = |word: &str| match parse(format!("START t \"{word}\"").as_bytes()) {
            Ok(ToTimers::Start { after, .. }) => Ok(after.as_secs()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.reply()),
        };
        for (word, expected) in [
            ("0", Ok(0)),
            ("2x", Ok(2)),
            (" +7", Ok(7)),
            ("-0", Ok(0)),
            ("99999999999999999999999", Ok(i64::MAX.unsigned_abs())),
            ("-1", Err(Reply::Ok)),
            ("-99999999999999999999999", Err(Reply::Ok)),
            ("", Err(Reply::Unknown)),
            ("abc", Err(Reply::Unknown)),
            ("-", Err(Reply::Unknown)),
        ] {
            assert_eq!(secs(word), expected, "{word}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_answered_and_told() {
        for (line, told) in [
            ("START t", "Unknown command on socket: arg 0: START arg 1: t"),
            ("CANCEL", "Unknown command on socket: arg 0: CANCEL"),
            ("start \"t\" 5", "Unknown command on socket: arg 0: start arg 1: t arg 2: 5"),
            ("", "Unknown command on socket: "),
            ("START \"t#\" 5", "Parse error on sock: unbalanced word due to unescaped # in quotes"),
        ] {
            let error = parse(line.as_bytes()).unwrap_err();
            assert_eq!((error.reply(), error.to_string().as_str()), (Reply::Unknown, told), "{line}");
        }
        assert_eq!(Reply::Unknown.encode(0), b"ERR UNKNOWN\n");
        assert_eq!(RequestError::Negative.to_string(), "bogus offset for timer, ignoring");
    }

    #[test]
    fn only_the_message_is_cut() {
        let long = Origin { notice: "ONBATT".into(), ups: "u".repeat(400), message: "\"".repeat(5000) };
        let request = ToTimers::Start { name: "n".repeat(400), after: Duration::ZERO, origin: long };
        let bytes = request.encode(None);
        assert!(bytes.len() <= MAX_REQUEST && bytes.len() > MAX_REQUEST - 3, "{}", bytes.len());
        match parse(bytes.strip_suffix(b"\n").unwrap()).unwrap() {
            ToTimers::Start { name, origin, .. } => {
                assert_eq!((name.len(), origin.ups.len()), (400, 400));
                assert!(origin.message.bytes().all(|byte| byte == b'"') && !origin.message.is_empty());
            }
            other => panic!("{other:?}"),
        }
        let huge = "\\".repeat(words::MAX_WORD);
        let origin = Origin { notice: huge.clone(), ups: huge.clone(), message: huge.clone() };
        let request = ToTimers::Cancel { name: huge.clone(), otherwise: Some(huge), origin };
        assert!(request.encode(None).len() < MAX_LINE);
    }

    #[test]
    fn a_request_is_one_line_whatever_the_message_holds() {
        let origin = Origin { message: "a\nSTART \"x\" \"0\"\r\n\u{0}b".into(), ..origin() };
        let request = ToTimers::Start { name: "t".into(), after: Duration::ZERO, origin };
        let bytes = request.encode(None);
        assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        match parse(bytes.strip_suffix(b"\n").unwrap()).unwrap() {
            ToTimers::Start { origin, .. } => assert_eq!(origin.message, "a START \"x\" \"0\"   b"),
            other => panic!("{other:?}"),
        }
    }

    fn listed() -> Vec<Listed> {
        let timer = |name: &str, left: u64, values: &[&str]| Listed {
            name: name.into(),
            left: Duration::from_millis(left),
            notices: values.iter().map(|value| format!("N{value}")).collect(),
            upses: values.iter().map(|value| format!("{value}@h")).collect(),
            messages: values.iter().map(|_| String::new()).collect(),
        };
        vec![timer("t1", 1500, &["a", "b"]), timer("t 2", 0, &[])]
    }

    #[test]
    fn the_list_is_framed_and_has_six_columns() {
        let text = Reply::Timers(listed()).encode(1_000);
        let expected = "BEGIN LIST TIMERS\nt1\t1002\t2\tNa,Nb\ta@h,b@h\t,\n\
                        t 2\t1000\t0\t\"\"\t\"\"\t\"\"\nEND LIST TIMERS\nOK\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
        assert_eq!(Reply::Timers(Vec::new()).encode(1), b"BEGIN LIST TIMERS\nEND LIST TIMERS\nOK\n");
    }

    #[test]
    fn answers_are_read_wherever_the_stream_is_cut() {
        let list = Reply::Timers(listed()).encode(1_000);
        let lines =
            vec!["t1\t1002\t2\tNa,Nb\ta@h,b@h\t,".to_owned(), "t 2\t1000\t0\t\"\"\t\"\"\t\"\"".to_owned()];
        for (bytes, expected) in [
            (b"OK\n".to_vec(), Answer::Done(Vec::new())),
            (b"OK fine\r\n".to_vec(), Answer::Done(Vec::new())),
            (b"ERR UNKNOWN\n".to_vec(), Answer::Refused("ERR UNKNOWN".into())),
            (b"\n".to_vec(), Answer::Refused(String::new())),
            (list, Answer::Done(lines)),
        ] {
            for step in 1..=bytes.len() {
                let mut reader = AnswerReader::default();
                let mut found = None;
                for (nth, piece) in bytes.chunks(step).enumerate() {
                    assert_eq!(found, None, "after {nth} pieces of {step}");
                    found = reader.push(piece).unwrap();
                }
                assert_eq!(found.as_ref(), Some(&expected), "{step}");
            }
        }
    }

    #[test]
    fn an_answer_without_end_costs_no_memory() {
        let mut reader = AnswerReader::default();
        assert_eq!(reader.push(b"BEGIN LIST TIMERS\n"), Ok(None));
        let result = std::iter::repeat_with(|| reader.push(&[b'x'; 4096])).find(Result::is_err);
        assert!(matches!(result, Some(Err(AnswerError::TooLong))), "{result:?}");
        let mut reader = AnswerReader::default();
        let long = [vec![b'x'; MAX_ANSWER_LINE + 1], b"\n".to_vec()].concat();
        assert!(matches!(reader.push(&long), Err(AnswerError::Line(_))));
    }

    fn text() -> impl Strategy<Value = String> {
        "[ -~]{0,80}"
    }

    fn any_request() -> impl Strategy<Value = ToTimers> {
        let parts = (text(), 0..=i64::MAX.unsigned_abs(), text(), text(), text(), text(), 0..5_u8);
        parts.prop_map(|(name, secs, command, notice, ups, message, kind)| {
            let origin = Origin { notice, ups, message };
            let after = Duration::from_secs(secs);
            let otherwise = Some(command).filter(|command| !command.is_empty());
            match kind {
                0 => ToTimers::Start { name, after, origin },
                1 => ToTimers::StartShared { name, after, origin },
                2 => ToTimers::Cancel { name, otherwise, origin },
                3 => ToTimers::CancelMatched { name, otherwise, origin },
                _ => ToTimers::List,
            }
        })
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_what_is_parsed(request in any_request()) {
            let bytes = request.encode(None);
            let line = bytes.strip_suffix(b"\n").unwrap();
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(parse(line), Ok(request));
        }

        #[test]
        fn no_bytes_make_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Err(error) = parse(&bytes) {
                prop_assert!(!error.reply().encode(0).is_empty());
            }
            let _ = AnswerReader::default().push(&bytes);
        }
    }
}
