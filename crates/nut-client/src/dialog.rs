//! A dialog with `upsd`: what was asked, what may come back, and who we are logged in as.
//!
//! Pure: bytes in, bytes out. [`crate::connection`] carries them. Whatever a server sends that does not belong to a
//! question ends the dialog: from there on no answer could be trusted to belong to the question before it.

use nut_proto::lines::{LineBuffer, MAX_LINE};
use nut_proto::net::{ErrCode, Get, List, Request};
use nut_proto::words::{Words, split};
use std::collections::VecDeque;
use std::fmt;
use thiserror::Error;

use crate::error::{number_of, text_of};

/// Most items taken from one list. The largest UPSes have a few hundred variables.
pub const MAX_ITEMS: usize = 16_384;

/// Most bytes taken from one list.
pub const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a line that are kept to be shown: what NUT's clients read of one.
const MAX_SHOWN: usize = 511;

/// What came back. It owns its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `OK`, with or without a word behind it.
    Ok,
    /// `OK TRACKING <id>`: on its way; ask under this id how it ended.
    OkTracking(String),
    /// The value of a variable (`GET VAR`).
    Value(String),
    /// A description (`GET DESC`, `UPSDESC`, `CMDDESC`), or the whole line for `VER`, `NETVER`, `PROTVER`, `HELP`.
    Text(String),
    /// How many connections are logged in to the UPS.
    NumLogins(usize),
    /// The words behind `TYPE <ups> <var>`, as they came: `RW`, `ENUM`, `STRING:8`.
    Type(Vec<String>),
    /// What `GET TRACKING` says, unless it is a refusal.
    Tracking(Progress),
    /// `LIST UPS` (name, description), `LIST VAR` and `RW` (name, value), `LIST RANGE` (least, most).
    Pairs(Vec<(String, String)>),
    /// `LIST CMD` (names), `LIST CLIENT` (addresses), `LIST ENUM` (values).
    Words(Vec<String>),
    /// `ERR`: understood, and refused. The connection is as good as before.
    Refused(Refusal),
}

/// How far an order has come, or whether this connection gets to know that at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Orders of this connection get an id.
    On,
    /// They do not.
    Off,
    /// Not ended yet.
    Pending,
    /// Done by the driver.
    Success,
}

/// An `ERR` line; or another one that is not `OK`, in answer to a step of logging in, `STARTTLS` or `FSD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, if it is one of NUT 2.
    pub code: Option<ErrCode>,
    /// The word behind `ERR` as it came; empty if there was none.
    pub word: String,
    /// The whole line as it came, to be shown: `ERR ACCESS-DENIED`.
    pub line: String,
}

impl Refusal {
    /// Whether it is this code.
    #[must_use]
    pub fn is(&self, code: ErrCode) -> bool {
        self.code == Some(code)
    }

    /// What NUT's clients say for it: `Access denied`.
    #[must_use]
    pub fn text(&self) -> &'static str {
        if self.line.starts_with("ERR") { text_of(&self.word) } else { "Protocol error" }
    }

    /// A line that is neither `OK` nor `ERR`, where it can only mean no.
    fn odd(line: &[u8]) -> Self {
        Self { code: None, word: String::new(), line: shown(line) }
    }

    /// Its number in NUT's client library (see [`number_of`]).
    #[must_use]
    pub fn number(&self) -> i32 {
        number_of(&self.word)
    }

    fn read(line: &[u8], words: &Words) -> Self {
        let word = words.get(1).unwrap_or_default();
        Self { code: ErrCode::from_text(word), word: word.to_owned(), line: shown(line) }
    }
}

/// NUT's text: `Access denied`.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Why the dialog is over. The texts are those of NUT's clients, where they have one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DialogError {
    /// The line is no answer to the question, or nothing was asked. Holds the line as it came, to be shown.
    #[error("Protocol error")]
    Mismatch {
        /// The line, cut to 511 bytes.
        line: String,
    },
    /// The answer belongs to the question, but has too few words.
    #[error("insufficient data (got {got} args, need at least {need})")]
    TooFew {
        /// How many words there are.
        got: usize,
        /// How many it takes.
        need: usize,
    },
    /// A line longer than [`MAX_LINE`].
    #[error("Protocol error")]
    LineTooLong,
    /// A list of more than [`MAX_ITEMS`] items or [`MAX_LIST_BYTES`] bytes.
    #[error("Protocol error")]
    ListTooLong,
}

/// Both sides' words so far, as far as they matter for what comes next.
#[derive(Debug, Default)]
pub struct Dialog {
    lines: LineBuffer,
    /// Bytes since the last line feed.
    half: usize,
    questions: VecDeque<Question>,
    list: Option<Collected>,
    answers: VecDeque<Answer>,
    over: Option<DialogError>,
    standing: Standing,
}

/// Who we are to the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The name that `USERNAME` was answered `OK` for. `upsd` judges it only when it matters.
    pub user: Option<String>,
    /// Whether `PASSWORD` was answered `OK`. It, too, is judged only when it matters.
    pub has_password: bool,
    /// The UPS we are logged in to: its server counts us among those who must stop before the primary does.
    pub logged_in_to: Option<String>,
    /// The UPS we may command the shutdown of.
    pub primary_of: Option<String>,
}

impl Dialog {
    /// A dialog that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the question and gives the bytes to send. Several may be on their way; answers come in their order.
    #[must_use]
    pub fn ask(&mut self, request: &Request<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let shape = Shape::of(request);
        let echo = match shape {
            // Nothing comes of these words any more, and one of them may be a password.
            Shape::Order(Effect::None | Effect::Encrypt | Effect::Force | Effect::Password) => Vec::new(),
            _ => {
                // What the server's tokenizer makes of our line is what it will echo.
                let words = split(bytes.strip_suffix(b"\n").unwrap_or(&bytes)).unwrap_or_default();
                words.iter().skip(1).map(str::to_owned).collect()
            }
        };
        self.questions.push_back(Question { shape, echo });
        bytes
    }

    /// Takes bytes as they came and gives the next answer, if it is whole. Take nothing (`&[]`) for one more.
    ///
    /// # Errors
    /// [`DialogError`] when a line does not belong to a question, once all answers before it have been given.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<Answer>, DialogError> {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| match line {
            Ok(line) if self.over.is_none() => self.over = self.line(line).err(),
            Ok(_) => {}
            Err(_) => self.end(DialogError::LineTooLong),
        });
        self.half = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => bytes.len() - at - 1,
            None => self.half + bytes.len(),
        };
        if self.half > MAX_LINE {
            self.end(DialogError::LineTooLong);
        } else if self.half > 0 && self.questions.is_empty() {
            self.end(DialogError::Mismatch { line: String::new() });
        }
        self.lines = lines;
        match (self.answers.pop_front(), &self.over) {
            (Some(answer), _) => Ok(Some(answer)),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(None),
        }
    }

    /// How many questions have no answer yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.questions.len()
    }

    /// Who we are to the server.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// What has come of a list whose end will not come any more.
    pub fn unfinished(&mut self) -> Option<Answer> {
        self.list.take().map(|list| list.answer)
    }

    fn end(&mut self, error: DialogError) {
        self.over.get_or_insert(error);
    }

    /// Takes a whole line.
    fn line(&mut self, line: &[u8]) -> Result<(), DialogError> {
        let mismatch = || DialogError::Mismatch { line: shown(line) };
        let question = self.questions.front().ok_or_else(mismatch)?;
        let words = split(line).map_err(|_| mismatch())?;
        let answer = match &mut self.list {
            Some(list) => {
                if !(is(&words, 0, "END") && is(&words, 1, "LIST")) {
                    return list.add(line, &words, &question.echo);
                }
                self.list.take().map(|list| list.answer)
            }
            None if is(&words, 0, "ERR") => Some(Answer::Refused(Refusal::read(line, &words))),
            None => question.read(line, &words)?,
        };
        match answer {
            Some(answer) => self.answered(answer),
            None => self.list = Some(Collected::new(&question.shape)),
        }
        Ok(())
    }

    /// Notes what a complete answer changes.
    fn answered(&mut self, answer: Answer) {
        if let Some(question) = self.questions.pop_front()
            && let Shape::Order(effect) = question.shape
            && answer == Answer::Ok
        {
            let word = question.echo.into_iter().next();
            match effect {
                Effect::User => self.standing.user = word,
                Effect::Password => self.standing.has_password = true,
                Effect::Login => self.standing.logged_in_to = word,
                Effect::Primary => self.standing.primary_of = word,
                Effect::Logout => self.standing = Standing::default(),
                Effect::None | Effect::Encrypt | Effect::Force => {}
            }
        }
        self.answers.push_back(answer);
    }
}

/// A question without its answer.
#[derive(Debug)]
struct Question {
    shape: Shape,
    /// The words behind the verb: the answer repeats them.
    echo: Vec<String>,
}

/// What the answer to a question looks like.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `OK`, and what that changes.
    Order(Effect),
    /// Any line.
    Line,
    /// The echo, and a value.
    Value,
    /// The echo, and a text.
    Text,
    /// The echo, and a number.
    Count,
    /// The echo, and the words of a type.
    Type,
    /// One word of [`Progress`].
    Progress,
    /// `BEGIN LIST` and the echo; lines with the echo and two words.
    Pairs,
    /// `BEGIN LIST` and the echo; lines with the echo and one word.
    Words,
}

/// What an `OK` makes us to the server.
#[derive(Debug, Clone, Copy)]
enum Effect {
    None,
    Encrypt,
    Force,
    User,
    Password,
    Login,
    Primary,
    Logout,
}

impl Shape {
    fn of(request: &Request<'_>) -> Self {
        match request {
            Request::Ver | Request::NetVer | Request::ProtVer | Request::Help => Self::Line,
            Request::Username(_) => Self::Order(Effect::User),
            Request::Password(_) => Self::Order(Effect::Password),
            Request::Login(_) => Self::Order(Effect::Login),
            Request::Primary(_) | Request::Master(_) => Self::Order(Effect::Primary),
            Request::Logout => Self::Order(Effect::Logout),
            Request::StartTls => Self::Order(Effect::Encrypt),
            Request::Fsd(_) => Self::Order(Effect::Force),
            Request::SetVar { .. } | Request::SetTracking(_) | Request::InstCmd { .. } => {
                Self::Order(Effect::None)
            }
            Request::Get(get) => match get {
                Get::NumLogins(_) | Get::NumAttach(_) => Self::Count,
                Get::Var(..) => Self::Value,
                Get::Type(..) => Self::Type,
                Get::UpsDesc(_) | Get::Desc(..) | Get::CmdDesc(..) => Self::Text,
                Get::TrackingState | Get::Tracking(_) => Self::Progress,
            },
            Request::List(list) => match list {
                List::Ups | List::Var(_) | List::Rw(_) | List::Range(..) => Self::Pairs,
                List::Cmd(_) | List::Client(_) | List::Enum(..) => Self::Words,
            },
        }
    }
}

impl Question {
    /// Reads the first line of an answer; nothing if it begins a list.
    fn read(&self, line: &[u8], words: &Words) -> Result<Option<Answer>, DialogError> {
        let mismatch = || DialogError::Mismatch { line: shown(line) };
        Ok(Some(match self.shape {
            Shape::Line => Answer::Text(shown(line)),
            Shape::Order(Effect::Logout) => Answer::Ok,
            Shape::Order(Effect::Encrypt) if is(words, 0, "OK") && is(words, 1, "STARTTLS") => Answer::Ok,
            // Whoever asks for a login goes on without it, and so he must when a server has words of its own for no.
            Shape::Order(Effect::Encrypt) => Answer::Refused(Refusal::odd(line)),
            Shape::Order(
                Effect::User | Effect::Password | Effect::Login | Effect::Primary | Effect::Force,
            ) => {
                if line.starts_with(b"OK") {
                    Answer::Ok
                } else {
                    Answer::Refused(Refusal::odd(line))
                }
            }
            Shape::Order(_) if !is(words, 0, "OK") => return Err(mismatch()),
            Shape::Order(_) => match words.get(2) {
                Some(id) if is(words, 1, "TRACKING") => Answer::OkTracking(id.to_owned()),
                _ => Answer::Ok,
            },
            Shape::Progress => Answer::Tracking(match words.get(0).unwrap_or_default() {
                word if word.eq_ignore_ascii_case("ON") => Progress::On,
                word if word.eq_ignore_ascii_case("OFF") => Progress::Off,
                word if word.eq_ignore_ascii_case("PENDING") => Progress::Pending,
                word if word.eq_ignore_ascii_case("SUCCESS") => Progress::Success,
                _ => return Err(mismatch()),
            }),
            Shape::Value => Answer::Value(behind(line, words, 0, &self.echo, 1)?.to_owned()),
            Shape::Text => Answer::Text(behind(line, words, 0, &self.echo, 1)?.to_owned()),
            Shape::Count => {
                let count = behind(line, words, 0, &self.echo, 1)?;
                Answer::NumLogins(count.parse().map_err(|_| mismatch())?)
            }
            Shape::Type => {
                behind(line, words, 0, &self.echo, 1)?;
                Answer::Type(words.iter().skip(self.echo.len()).map(str::to_owned).collect())
            }
            Shape::Pairs | Shape::Words if is(words, 0, "BEGIN") && is(words, 1, "LIST") => {
                behind(line, words, 2, &self.echo, 0)?;
                return Ok(None);
            }
            Shape::Pairs | Shape::Words => return Err(mismatch()),
        }))
    }
}

/// A list whose end has not come yet.
#[derive(Debug)]
struct Collected {
    answer: Answer,
    bytes: usize,
}

impl Collected {
    fn new(shape: &Shape) -> Self {
        let answer = match shape {
            Shape::Pairs => Answer::Pairs(Vec::new()),
            _ => Answer::Words(Vec::new()),
        };
        Self { answer, bytes: 0 }
    }

    fn add(&mut self, line: &[u8], words: &Words, echo: &[String]) -> Result<(), DialogError> {
        self.bytes += line.len();
        let nth = |at: usize| words.get(echo.len() + at).unwrap_or_default().to_owned();
        let items = match &mut self.answer {
            Answer::Pairs(pairs) => {
                behind(line, words, 0, echo, 2)?;
                pairs.push((nth(0), nth(1)));
                pairs.len()
            }
            Answer::Words(all) => {
                // A client's UPS is named as ups.conf spells it, so here, too, case does not count.
                behind(line, words, 0, echo, 1)?;
                all.push(nth(0));
                all.len()
            }
            _ => 0,
        };
        if items > MAX_ITEMS || self.bytes > MAX_LIST_BYTES {
            return Err(DialogError::ListTooLong);
        }
        Ok(())
    }
}

/// The word behind the echo, which must stand at `from` and be followed by `more` words.
fn behind<'a>(
    line: &[u8],
    words: &'a Words,
    from: usize,
    echo: &[String],
    more: usize,
) -> Result<&'a str, DialogError> {
    let repeated = words.iter().skip(from).zip(echo).all(|(word, asked)| word.eq_ignore_ascii_case(asked));
    let (got, need) = (words.len(), from + echo.len() + more);
    if !repeated || words.is_empty() {
        return Err(DialogError::Mismatch { line: shown(line) });
    }
    if got < need {
        return Err(DialogError::TooFew { got, need });
    }
    Ok(words.get(from + echo.len()).unwrap_or_default())
}

fn is(words: &Words, nth: usize, text: &str) -> bool {
    words.get(nth).is_some_and(|word| word.eq_ignore_ascii_case(text))
}

/// A line as text that harms no terminal and no log: its printable ASCII bytes, at most [`MAX_SHOWN`].
fn shown(line: &[u8]) -> String {
    let printable = |byte: &&u8| (0x20..0x7f).contains(*byte);
    line.iter().filter(printable).take(MAX_SHOWN).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask_and_take(request: &Request<'_>, reply: &[u8]) -> Result<Option<Answer>, DialogError> {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(request);
        dialog.take(reply)
    }

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Answer {
        Answer::Pairs(pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect())
    }

    fn refused(code: Option<ErrCode>, word: &str, line: &str) -> Answer {
        Answer::Refused(Refusal { code, word: word.into(), line: line.into() })
    }

    const STATUS: Request<'static> = Request::Get(Get::Var("apc", "ups.status"));

    #[test]
    fn questions_go_out_as_nut_writes_them() {
        let mut dialog = Dialog::new();
        assert_eq!(dialog.ask(&STATUS), b"GET VAR apc ups.status\n");
        assert_eq!(dialog.ask(&Request::Password("a b")), b"PASSWORD \"a b\"\n");
        assert_eq!(dialog.unanswered(), 2);
    }

    fn answers() -> Vec<(Request<'static>, &'static str, Answer)> {
        let get = Request::Get;
        let list = Request::List;
        vec![
            (STATUS, "VAR apc ups.status \"OL CHRG\"\n", Answer::Value("OL CHRG".into())),
            (STATUS, "var APC UPS.Status \"\"\r\n", Answer::Value(String::new())),
            (STATUS, "VAR apc ups.status \"a \\\"b\\\" \\\\ \\#\"\n", Answer::Value("a \"b\" \\ #".into())),
            (STATUS, "ERR DATA-STALE\n", refused(Some(ErrCode::DataStale), "DATA-STALE", "ERR DATA-STALE")),
            (
                STATUS,
                "ERR ACCESS-DENIED \"why not\"\n",
                refused(Some(ErrCode::AccessDenied), "ACCESS-DENIED", "ERR ACCESS-DENIED \"why not\""),
            ),
            (STATUS, "ERR WHAT-NEVER\n", refused(None, "WHAT-NEVER", "ERR WHAT-NEVER")),
            (STATUS, "ERR\n", refused(None, "", "ERR")),
            (get(Get::UpsDesc("u")), "UPSDESC u \"Smart UPS\"\n", Answer::Text("Smart UPS".into())),
            (get(Get::Desc("u", "v")), "DESC u v \"d\"\n", Answer::Text("d".into())),
            (get(Get::CmdDesc("u", "c")), "CMDDESC u c \"d\"\n", Answer::Text("d".into())),
            (get(Get::NumLogins("u")), "NUMLOGINS u 2\n", Answer::NumLogins(2)),
            (
                get(Get::Type("u", "v")),
                "TYPE u v RW ENUM STRING:8\n",
                Answer::Type(texts(&["RW", "ENUM", "STRING:8"])),
            ),
            (get(Get::TrackingState), "OFF\n", Answer::Tracking(Progress::Off)),
            (get(Get::TrackingState), "on\n", Answer::Tracking(Progress::On)),
            (get(Get::Tracking("id")), "PENDING\n", Answer::Tracking(Progress::Pending)),
            (get(Get::Tracking("id")), "SUCCESS\n", Answer::Tracking(Progress::Success)),
            (
                get(Get::Tracking("id")),
                "ERR FAILED\n",
                refused(Some(ErrCode::Failed), "FAILED", "ERR FAILED"),
            ),
            (
                Request::Ver,
                "Network UPS Tools upsd 2.8.0 - x\n",
                Answer::Text("Network UPS Tools upsd 2.8.0 - x".into()),
            ),
            (Request::NetVer, "1.3\n", Answer::Text("1.3".into())),
            (Request::Login("u"), "OK\n", Answer::Ok),
            (Request::Primary("u"), "OK PRIMARY-GRANTED\n", Answer::Ok),
            (Request::Fsd("u"), "OK FSD-SET\n", Answer::Ok),
            (Request::Logout, "OK Goodbye\n", Answer::Ok),
            (Request::Logout, "Goodbye...\n", Answer::Ok),
            (
                Request::SetVar { ups: "u", var: "v", value: "x" },
                "OK TRACKING AB-1\n",
                Answer::OkTracking("AB-1".into()),
            ),
            (
                list(List::Ups),
                "BEGIN LIST UPS\nUPS a \"one\"\nUPS b \"\"\nEND LIST UPS\n",
                pairs(&[("a", "one"), ("b", "")]),
            ),
            (list(List::Var("u")), "BEGIN LIST VAR u\nEND LIST VAR u\n", pairs(&[])),
            (
                list(List::Var("U")),
                "BEGIN LIST VAR u\nVAR u ups.status \"OL\"\nEND LIST VAR u\n",
                pairs(&[("ups.status", "OL")]),
            ),
            (list(List::Rw("u")), "BEGIN LIST RW u\nRW u v \"1\"\nEND LIST\n", pairs(&[("v", "1")])),
            (
                list(List::Range("u", "v")),
                "BEGIN LIST RANGE u v\nRANGE u v \"0\" \"30\"\nEND LIST RANGE u v\n",
                pairs(&[("0", "30")]),
            ),
            (
                list(List::Cmd("u")),
                "BEGIN LIST CMD u\nCMD u load.off\nCMD u load.on\nEND LIST CMD u\n",
                Answer::Words(texts(&["load.off", "load.on"])),
            ),
            (
                list(List::Client("u")),
                "BEGIN LIST CLIENT u\nCLIENT U ::1\nEND LIST CLIENT u\n",
                Answer::Words(texts(&["::1"])),
            ),
            (
                list(List::Enum("u", "v")),
                "BEGIN LIST ENUM u v\nENUM u v \"ERR\"\nEND LIST ENUM u v\n",
                Answer::Words(texts(&["ERR"])),
            ),
        ]
    }

    #[test]
    fn every_question_gets_its_answer() {
        for (request, reply, expected) in answers() {
            assert_eq!(ask_and_take(&request, reply.as_bytes()), Ok(Some(expected)), "{reply}");
        }
    }

    #[test]
    fn what_does_not_belong_to_the_question_ends_the_dialog() {
        let get = Request::Get;
        let list = Request::List;
        let command = Request::InstCmd { ups: "u", cmd: "beeper.off", param: None };
        let cases: [(Request<'_>, &str); 16] = [
            (STATUS, "VAR apc ups.load \"1\""),
            (STATUS, "VAR other ups.status \"OL\""),
            (STATUS, "OK"),
            (STATUS, ""),
            (STATUS, "VAR apc ups.status \"bare # hash\""),
            (STATUS, "BEGIN LIST VAR apc"),
            (get(Get::NumLogins("u")), "NUMLOGINS u many"),
            (get(Get::TrackingState), "PERHAPS"),
            (command, "GRANTED"),
            (command, "OKAY"),
            (list(List::Var("u")), "VAR u v \"x\""),
            (list(List::Var("u")), "BEGIN LIST VAR other"),
            (list(List::Var("u")), "BEGIN LIST RW u"),
            (list(List::Var("u")), "BEGIN LIST VAR u\nVAR other v \"x\""),
            (list(List::Var("u")), "BEGIN LIST VAR u\nERR DATA-STALE"),
            (list(List::Var("u")), "BEGIN LIST VAR u\n\n"),
        ];
        for (request, reply) in cases {
            let line = reply.trim_end().rsplit('\n').next().unwrap_or_default();
            let line = if reply.ends_with('\n') { "" } else { line };
            let seen = ask_and_take(&request, format!("{reply}\n").as_bytes());
            assert_eq!(seen, Err(DialogError::Mismatch { line: line.into() }), "{reply}");
            assert_eq!(seen.unwrap_err().to_string(), "Protocol error");
        }
    }

    #[test]
    fn an_answer_with_too_few_words_says_how_many() {
        for (request, reply, got, need) in [
            (STATUS, "VAR apc ups.status\n", 3, 4),
            (Request::Get(Get::NumLogins("u")), "NUMLOGINS\n", 1, 3),
            (Request::List(List::Ups), "BEGIN LIST UPS\nUPS a\n", 2, 3),
            (Request::List(List::Client("u")), "BEGIN LIST CLIENT u\nCLIENT u\n", 2, 3),
            (Request::List(List::Var("u")), "BEGIN LIST VAR\n", 3, 4),
        ] {
            let error = ask_and_take(&request, reply.as_bytes()).unwrap_err();
            assert_eq!(error, DialogError::TooFew { got, need }, "{reply}");
            assert_eq!(
                error.to_string(),
                format!("insufficient data (got {got} args, need at least {need})")
            );
        }
    }

    #[test]
    fn several_questions_are_answered_in_their_order() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&STATUS);
        let _ = dialog.ask(&Request::List(List::Ups));
        let _ = dialog.ask(&Request::Get(Get::NumLogins("apc")));
        let reply = b"ERR DRIVER-NOT-CONNECTED\nBEGIN LIST UPS\nEND LIST UPS\nNUMLOGINS apc 1\n";
        assert!(matches!(dialog.take(reply), Ok(Some(Answer::Refused(_)))));
        assert_eq!(dialog.take(&[]), Ok(Some(pairs(&[]))));
        assert_eq!(dialog.take(&[]), Ok(Some(Answer::NumLogins(1))));
        assert_eq!(dialog.take(&[]), Ok(None));
        assert_eq!(dialog.unanswered(), 0);
    }

    #[test]
    fn a_word_unasked_ends_the_dialog_behind_the_answers_before_it() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&STATUS);
        assert!(matches!(dialog.take(b"VAR apc ups.status \"OL\"\nVA"), Ok(Some(Answer::Value(_)))));
        assert!(matches!(dialog.take(&[]), Err(DialogError::Mismatch { .. })));
        // An answer that belongs to no question must not be taken for that of the next one.
        let _ = dialog.ask(&STATUS);
        assert!(matches!(dialog.take(b"VAR apc ups.status \"OL\"\n"), Err(DialogError::Mismatch { .. })));
    }

    #[test]
    fn a_line_without_end_is_not_waited_for() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&Request::Ver);
        let piece = [b'x'; 4096];
        for _ in 0..MAX_LINE / piece.len() {
            assert_eq!(dialog.take(&piece), Ok(None));
        }
        assert_eq!(dialog.take(b"x"), Err(DialogError::LineTooLong));
        let mut whole = vec![b'x'; MAX_LINE + 1];
        whole.push(b'\n');
        assert_eq!(ask_and_take(&Request::Ver, &whole), Err(DialogError::LineTooLong));
        whole.remove(0);
        assert!(matches!(ask_and_take(&Request::Ver, &whole), Ok(Some(Answer::Text(_)))));
    }

    #[test]
    fn a_list_without_end_is_not_waited_for() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&Request::List(List::Cmd("u")));
        assert_eq!(dialog.take(b"BEGIN LIST CMD u\n"), Ok(None));
        for _ in 0..MAX_ITEMS {
            assert_eq!(dialog.take(b"CMD u c\n"), Ok(None));
        }
        assert_eq!(dialog.take(b"CMD u c\n"), Err(DialogError::ListTooLong));

        let mut dialog = Dialog::new();
        let _ = dialog.ask(&Request::List(List::Cmd("u")));
        assert_eq!(dialog.take(b"BEGIN LIST CMD u\n"), Ok(None));
        let line = format!("CMD u {}\n", "c".repeat(60_000));
        let mut lines = 1;
        while dialog.take(line.as_bytes()) == Ok(None) {
            lines += 1;
        }
        assert_eq!(lines, MAX_LIST_BYTES / (line.len() - 1) + 1);
    }

    #[test]
    fn a_list_that_breaks_off_leaves_what_had_come() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&Request::List(List::Var("u")));
        assert!(dialog.take(b"BEGIN LIST VAR u\nVAR u a \"1\"\nVAR u b\nVAR u c \"3\"\n").is_err());
        assert_eq!(dialog.unfinished(), Some(pairs(&[("a", "1")])));
        assert_eq!(dialog.unfinished(), None);
    }

    #[test]
    fn standing_follows_from_what_was_granted() {
        let mut dialog = Dialog::new();
        let mut say = |request: Request<'_>, reply: &[u8]| {
            let _ = dialog.ask(&request);
            dialog.take(reply).unwrap();
            dialog.standing().clone()
        };
        assert_eq!(say(Request::Username("me"), b"OK\n").user, Some("me".into()));
        assert!(!say(Request::Password("secret"), b"ERR INVALID-PASSWORD\n").has_password);
        assert!(say(Request::Password("secret"), b"OK\n").has_password);
        assert_eq!(say(Request::Login("apc"), b"ERR ACCESS-DENIED\n").logged_in_to, None);
        assert_eq!(say(Request::Login("apc"), b"OK\n").logged_in_to, Some("apc".into()));
        assert_eq!(say(Request::Primary("apc"), b"ERR UNKNOWN-COMMAND\n").primary_of, None);
        assert_eq!(say(Request::Master("apc"), b"OK MASTER-GRANTED\n").primary_of, Some("apc".into()));
        assert_eq!(say(Request::Logout, b"OK Goodbye\n"), Standing::default());
    }

    /// What the connection does with it: `a_primary_logs_in_step_by_step`.
    #[test]
    fn g6_a_server_that_knows_only_the_old_word_makes_a_primary_of_us() {
        let mut dialog = Dialog::new();
        assert_eq!(dialog.ask(&Request::Primary("u1")), b"PRIMARY u1\n");
        let answer = dialog.take(b"ERR UNKNOWN-COMMAND\n").unwrap();
        assert!(matches!(answer, Some(Answer::Refused(refusal)) if refusal.is(ErrCode::UnknownCommand)));
        assert_eq!(dialog.standing().primary_of, None);
        assert_eq!(dialog.ask(&Request::Master("u1")), b"MASTER u1\n");
        assert_eq!(dialog.take(b"OK MASTER-GRANTED\n"), Ok(Some(Answer::Ok)));
        assert_eq!(dialog.standing().primary_of.as_deref(), Some("u1"));
    }

    #[test]
    fn a_password_is_not_kept() {
        let mut dialog = Dialog::new();
        let _ = dialog.ask(&Request::Password("geheim"));
        assert!(!format!("{dialog:?}").contains("geheim"));
    }

    #[test]
    fn what_is_shown_of_a_line_harms_no_terminal() {
        let reply = "\u{1b}[2J\u{7}VAR \u{e4}\u{7f}\n";
        let error = ask_and_take(&STATUS, reply.as_bytes()).unwrap_err();
        assert_eq!(error, DialogError::Mismatch { line: "[2JVAR ".into() });
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..300), which in 0usize..100) {
            let known = answers();
            let (request, ..) = &known[which % known.len()];
            let mut dialog = Dialog::new();
            let _ = dialog.ask(request);
            let _ = dialog.take(&bytes);
            let _ = dialog.take(b"\n");
            let _ = dialog.unfinished();
        }

        #[test]
        fn how_an_answer_is_cut_makes_no_difference(which in 0usize..100, cuts in prop::collection::vec(0usize..200, 0..6)) {
            let known = answers();
            let (request, reply, expected) = &known[which % known.len()];
            let bytes = reply.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut dialog = Dialog::new();
            let _ = dialog.ask(request);
            let mut seen = Vec::new();
            let mut from = 0;
            for to in cuts {
                seen.extend(dialog.take(&bytes[from..to]).unwrap());
                from = to;
            }
            prop_assert_eq!(seen, vec![expected.clone()]);
        }
    }
}
