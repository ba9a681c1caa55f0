//! `nut.conf`: which parts a host runs.
//!
//! Not of NUT's grammar: a shell sources this file and systemd reads it, so it is `VAR=value` with a shell's quotes.
//! Expansions and commands are a shell's business; they are told, not carried out.

use crate::directives::{Directive, Format, Row, Word};
use crate::report::{Report, nearest, quoted};
use crate::{Diagnostic, Severity, Source, Span};
use std::ops::Range;

/// All of `nut.conf` that programs look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NutConf {
    /// `MODE`.
    pub mode: Mode,
    /// `POWEROFF_WAIT`, in `sleep`'s syntax.
    pub power_off_wait: Option<String>,
    /// All variables as written, in order.
    pub variables: Vec<(String, String)>,
}

/// `MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing runs. Also when not said.
    #[default]
    None,
    /// Drivers, `upsd` and `upsmon`, for this host.
    Standalone,
    /// The same, for others too.
    NetServer,
    /// `upsmon` only.
    NetClient,
}

/// Most bytes of the file that are read; it has a dozen lines where it is long.
pub const MAX_FILE: usize = 256 * 1024;

/// Longest value, in bytes as it stands in the file.
pub const MAX_VALUE: usize = 4096;

/// Most variables that are kept.
pub const MAX_VARIABLES: usize = 4096;

/// Why a variable of start scripts does nothing here.
const OTHER_SCRIPTS: &str = "the units in etc/systemd do not use it; a start script of yours may";

/// Why a variable of NUT's programs does nothing here.
const NOT_OURS: &str = "only NUT's own programs look at it";

/// Every variable that NUT's programs or scripts look at.
pub static TABLE: &[Row] = &[
    Row::new(
        "MODE",
        "none|standalone|netserver|netclient",
        "which parts this host runs",
        "none",
        "2.4",
        "MODE=standalone",
    ),
    Row::new(
        "UPSD_OPTIONS",
        "<options>",
        "options that start scripts give to upsd",
        "none",
        "2.4",
        "UPSD_OPTIONS=\"-D\"",
    )
    .idle(OTHER_SCRIPTS),
    Row::new(
        "UPSMON_OPTIONS",
        "<options>",
        "options that start scripts give to upsmon",
        "none",
        "2.4",
        "UPSMON_OPTIONS=\"-D\"",
    )
    .idle(OTHER_SCRIPTS),
    Row::new(
        "POWEROFF_WAIT",
        "<time>",
        "how long the last script waits for the power to go before it reboots, in the syntax of sleep(1)",
        "it does not wait",
        "2.4",
        "POWEROFF_WAIT=15m",
    ),
    Row::new(
        "POWEROFF_QUIET",
        "true|false",
        "whether the last script is silent",
        "false",
        "2.8.1",
        "POWEROFF_QUIET=true",
    )
    .idle(OTHER_SCRIPTS),
    Row::new(
        "ALLOW_NO_DEVICE",
        "true|false",
        "whether upsd starts without a UPS in ups.conf",
        "false",
        "2.8.0",
        "ALLOW_NO_DEVICE=true",
    ),
    Row::new(
        "ALLOW_NOT_ALL_LISTENERS",
        "true|false",
        "whether upsd starts even if it cannot listen everywhere it should",
        "unless an address or a name is not there yet, false",
        "2.8.2",
        "ALLOW_NOT_ALL_LISTENERS=true",
    ),
    Row::new(
        "NUT_DEBUG_LEVEL",
        "<level>",
        "least debug level of the daemons",
        "0",
        "2.8.0",
        "NUT_DEBUG_LEVEL=2",
    ),
    Row::new(
        "NUT_DEBUG_PID",
        "true|false",
        "whether debug lines name the process",
        "false",
        "2.8.0",
        "NUT_DEBUG_PID=true",
    )
    .idle(NOT_OURS),
    Row::new(
        "NUT_DEBUG_PROCNAME",
        "<name>",
        "the program's name in debug lines",
        "the program's own",
        "2.8.3",
        "NUT_DEBUG_PROCNAME=upsd",
    )
    .idle(NOT_OURS),
    Row::new(
        "NUT_DEBUG_SYSLOG",
        "stderr|none|syslog",
        "where a daemon in the background logs to",
        "syslog",
        "2.8.3",
        "NUT_DEBUG_SYSLOG=stderr",
    ),
    Row::new(
        "NUT_IGNORE_CHECKPROCNAME",
        "true|false",
        "whether a PID file is believed without a look at the process' name",
        "false",
        "2.8.3",
        "NUT_IGNORE_CHECKPROCNAME=true",
    ),
    Row::new(
        "NUT_QUIET_INIT_UPSNOTIFY",
        "true|false",
        "whether programs are silent about a missing service manager",
        "false",
        "2.8.1",
        "NUT_QUIET_INIT_UPSNOTIFY=true",
    )
    .idle(NOT_OURS),
];

static FORMAT: Format = Format { table: TABLE, sections: false, secrets: None, mends: None };

impl Mode {
    /// The mode that is spelled so.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "standalone" => Some(Self::Standalone),
            "netserver" => Some(Self::NetServer),
            "netclient" => Some(Self::NetClient),
            _ => None,
        }
    }
}

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (NutConf, Vec<Diagnostic>) {
    let mut report = Report::new(source.path, &FORMAT);
    let mut text = source.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source.text);
    if text.len() > MAX_FILE {
        text = text.get(..MAX_FILE).unwrap_or_default();
        let what = format!("the file is longer than {MAX_FILE} bytes");
        report.file(Severity::Error, &what, "what stands behind that is not read", "");
    }
    report.set_text(text);
    let mut conf = NutConf::default();
    let mut scanner = Scanner { text, offset: 0, line: 1 };
    while let Some(line) = scanner.next_line() {
        if conf.variables.len() == MAX_VARIABLES {
            let what = format!("the file sets more than {MAX_VARIABLES} variables");
            report.add(
                Severity::Error,
                &line.directive,
                0,
                &what,
                "this one and those behind it are not read",
                "",
            );
            break;
        }
        conf.take(line, &mut report);
    }
    (conf, report.finish())
}

impl NutConf {
    fn take(&mut self, line: ShellLine, report: &mut Report<'_>) {
        let directive = &line.directive;
        let name = directive.name();
        let mut left_out = |what: &str, advice: &str| {
            report.add(Severity::Warning, directive, 0, what, "the line is left out", advice);
        };
        let value = match line.value {
            Ok(value) => value,
            Err(Trouble::Spaces) => {
                let example =
                    FORMAT.row(name).map_or_else(|| format!("{name}=value"), |row| row.write.to_owned());
                return left_out("a blank stands beside the equals sign", &format!("write: {example}"));
            }
            Err(Trouble::NoAssignment) => return left_out("the line sets no variable", "write: NAME=value"),
            Err(Trouble::TooLong) => {
                return left_out(&format!("the value is longer than {MAX_VALUE} bytes"), "");
            }
            Err(Trouble::OpenQuote) => return left_out("a quote is not closed", "close it"),
            Err(Trouble::Command) => {
                let advice = format!("put a value of several words into quotes: {name}=\"two words\"");
                return left_out("words stand behind the value: a shell takes them for a command", &advice);
            }
        };
        if line.expands {
            let what = format!("the value of {name} has a $ or ` that a shell would replace");
            report.add(Severity::Warning, directive, 0, &what, "the value is used as it stands here", "");
        }
        let row = FORMAT.row(name);
        match (row, nearest(name, TABLE.iter().map(|row| row.name))) {
            (Some(row), _) => report.once(row, directive),
            (None, Some(near)) => {
                let what = format!("unknown variable {}", quoted(name));
                let advice = format!("did you mean {near}?");
                report.add(Severity::Warning, directive, 0, &what, "no program looks at it", &advice);
            }
            // Whoever sources the file may have variables of their own.
            (None, None) => {}
        }
        match name {
            "MODE" => {
                self.mode = Mode::from_text(&value).unwrap_or_else(|| {
                    let what = format!("{} is no MODE", quoted(&value));
                    let advice =
                        nearest(&value, ["none", "standalone", "netserver", "netclient"].into_iter())
                            .map_or_else(
                                || "write: none, standalone, netserver or netclient".to_owned(),
                                |near| format!("write: MODE={near}"),
                            );
                    report.add(
                        Severity::Warning,
                        directive,
                        0,
                        &what,
                        "it counts as none: nothing runs",
                        &advice,
                    );
                    Mode::None
                });
            }
            "POWEROFF_WAIT" => self.power_off_wait = Some(value.clone()).filter(|wait| !wait.is_empty()),
            _ => {}
        }
        self.variables.push((name.to_owned(), value));
    }
}

/// One line as a shell takes it: a name, and its value or what is wrong with it.
#[derive(Debug)]
struct ShellLine {
    directive: Directive,
    value: Result<String, Trouble>,
    /// Whether a shell would replace something in the value.
    expands: bool,
}

/// Why a line sets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// `NAME = value`.
    Spaces,
    /// Something else than `NAME=value`.
    NoAssignment,
    /// A quote without its end.
    OpenQuote,
    /// `NAME=value more words`.
    Command,
    /// More than [`MAX_VALUE`].
    TooLong,
}

/// Cuts the file into lines of a shell.
#[derive(Debug)]
struct Scanner<'a> {
    text: &'a [u8],
    offset: usize,
    line: usize,
}

impl<'a> Scanner<'a> {
    /// The next line that is neither empty nor a comment.
    fn next_line(&mut self) -> Option<ShellLine> {
        loop {
            let rest = self.text.get(self.offset..)?;
            if rest.is_empty() {
                return None;
            }
            let whole = line_of(rest);
            let indent = whole.iter().take_while(|byte| is_blank(**byte)).count();
            let body = whole.get(indent..).unwrap_or_default();
            if body.is_empty() || body.starts_with(b"#") {
                self.pass(whole.len() + 1);
                continue;
            }
            let body = body.strip_prefix(b"export ").map_or(body, |behind| behind.trim_ascii_start());
            let start = self.offset + whole.len() - body.len();
            let at = Span { line: self.line, column: start - self.offset + 1 };
            return Some(self.assignment(start, at, body));
        }
    }

    /// Reads the line that begins at `start`; a quoted value may reach into further lines.
    fn assignment(&mut self, start: usize, at: Span, body: &[u8]) -> ShellLine {
        let letters = body.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let (name, behind) = body.split_at(letters);
        let blanks = behind.iter().take_while(|byte| is_blank(**byte)).count();
        let trouble = match behind.get(blanks) {
            Some(b'=') if blanks > 0 => Some(Trouble::Spaces),
            Some(b'=') if !name.is_empty() && !name.starts_with(b"=") => None,
            _ => Some(Trouble::NoAssignment),
        };
        let from = start + letters + 1;
        let (value, expands, end) = match trouble {
            Some(trouble) => (Err(trouble), false, start + body.len()),
            None => shell_word(self.text, from),
        };
        // What is wrong costs its own line only.
        let end = if value.is_err() { start + body.len() } else { end };
        let rest = line_of(self.text.get(end..).unwrap_or_default());
        let blank = rest.first().is_none_or(|byte| is_blank(*byte));
        let more = rest.trim_ascii_start();
        let value = match value {
            Ok(_) if from == end && blank && !more.is_empty() && !more.starts_with(b"#") => {
                Err(Trouble::Spaces)
            }
            Ok(_) if !(more.is_empty() || (blank && more.starts_with(b"#")) || more == b";") => {
                Err(Trouble::Command)
            }
            other => other,
        };
        let word = |range: Range<usize>, text: &[u8]| Word {
            at,
            text: String::from_utf8_lossy(text).into_owned(),
            range,
        };
        let first = if name.is_empty() { body } else { name };
        let words = vec![
            word(start..start + first.len(), first),
            word(start + first.len()..end.max(start + body.len()), b""),
        ];
        self.pass(end + rest.len() + 1 - self.offset);
        ShellLine { directive: Directive { at, words, leftover: false }, value, expands }
    }

    fn pass(&mut self, bytes: usize) {
        let end = self.text.len().min(self.offset + bytes);
        let passed = self.text.get(self.offset..end).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.offset = end;
    }
}

/// Reads a value as a shell does: bare, `'…'` and `"…"` in any order; also whether it has something to expand, and
/// where it ends.
fn shell_word(text: &[u8], from: usize) -> (Result<String, Trouble>, bool, usize) {
    #[derive(PartialEq)]
    enum In {
        Bare,
        Single,
        Double,
    }
    let mut value = Vec::new();
    let mut expands = false;
    let mut state = In::Bare;
    let mut bytes = text.iter().copied().enumerate().skip(from).peekable();
    let mut end = from;
    while let Some((at, byte)) = bytes.peek().copied() {
        if state == In::Bare && (is_blank(byte) || byte == b'\n' || byte == b';') {
            break;
        }
        bytes.next();
        end = at + 1;
        if end - from > MAX_VALUE {
            return (Err(Trouble::TooLong), expands, end);
        }
        match (&state, byte) {
            (In::Bare, b'\'') => state = In::Single,
            (In::Bare, b'"') => state = In::Double,
            (In::Single, b'\'') | (In::Double, b'"') => state = In::Bare,
            (In::Bare | In::Double, b'\\') => {
                let Some((at, next)) = bytes.next() else { continue };
                end = at + 1;
                if state == In::Double && !b"$`\"\\\n".contains(&next) {
                    value.push(b'\\');
                }
                if next != b'\n' {
                    value.push(next);
                }
            }
            (In::Single, byte) => value.push(byte),
            (In::Bare | In::Double, byte) => {
                expands |= byte == b'$' || byte == b'`';
                value.push(byte);
            }
        }
    }
    let value = match state {
        In::Bare => Ok(String::from_utf8_lossy(&value).into_owned()),
        In::Single | In::Double => Err(Trouble::OpenQuote),
    };
    (value, expands, end)
}

/// The text up to its first line feed.
fn line_of(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests;
