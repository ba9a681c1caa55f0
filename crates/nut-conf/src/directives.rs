//! A file as directives with places; the table type that all files use.
//!
//! `Reader` cuts words exactly as NUT does ([`nut_proto::words`]) and adds where each stands. It differs from NUT in
//! what a broken line costs: a quote that is not closed costs its own line, where NUT loses the lines below it too, and
//! a last line without a line feed counts even if it is a single word.

use crate::report::Report;
use crate::{Severity, Source, Span};
use nut_proto::words::{MAX_WORD, MAX_WORDS, Outcome, Position, Tokenizer, WordsError};
use std::ops::Range;

/// Most bytes of a file that are read. `ups.conf` for 10,000 UPSes takes a quarter of it.
pub const MAX_FILE: usize = 4 * 1024 * 1024;

/// Most directives of a file that are read.
pub const MAX_DIRECTIVES: usize = 65_536;

/// One directive that a file may hold: what a parser acts on, a manual page lists and a message advises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its first word.
    pub name: &'static str,
    /// What stands behind it, for a person: `<seconds>`.
    pub words: &'static str,
    /// What it sets, one clause.
    pub sets: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// The first NUT that knows it.
    pub since: &'static str,
    /// A line as one would write it.
    pub write: &'static str,
    /// Whether it may stand several times; otherwise the last usable one counts.
    pub repeats: bool,
    /// Whether its name may be written in any case.
    pub any_case: bool,
    /// Where in a file with sections it belongs.
    pub scope: Scope,
    /// Why we know it but do not act on it; `None` if we do.
    pub idle: Option<&'static str>,
    /// What follows if the line is left out; empty: the default holds.
    pub without: &'static str,
    /// The least and the greatest number that its value may be, if it is one.
    pub range: Option<(i64, i64)>,
}

/// Where in a file with sections a directive belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Before the first section or in one; all of a file without sections.
    Any,
    /// Before the first section.
    Global,
    /// In a section.
    Section,
}

impl Row {
    pub(crate) const fn new(
        name: &'static str,
        words: &'static str,
        sets: &'static str,
        default: &'static str,
        since: &'static str,
        write: &'static str,
    ) -> Self {
        Self {
            name,
            words,
            sets,
            default,
            since,
            write,
            repeats: false,
            any_case: false,
            scope: Scope::Any,
            idle: None,
            without: "",
            range: None,
        }
    }

    pub(crate) const fn numbers(mut self, least: i64, most: i64) -> Self {
        self.range = Some((least, most));
        self
    }

    pub(crate) const fn repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    pub(crate) const fn any_case(mut self) -> Self {
        self.any_case = true;
        self
    }

    pub(crate) const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    pub(crate) const fn idle(mut self, why: &'static str) -> Self {
        self.idle = Some(why);
        self
    }

    pub(crate) const fn without(mut self, follows: &'static str) -> Self {
        self.without = follows;
        self
    }

    /// Whether a line that begins with this word is one of these.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        if self.any_case { self.name.eq_ignore_ascii_case(word) } else { self.name == word }
    }
}

/// What a reader and a report must know of a kind of file.
#[derive(Debug)]
pub(crate) struct Format {
    /// Its directives.
    pub(crate) table: &'static [Row],
    /// Whether it has `[sections]` and `name = value`.
    pub(crate) sections: bool,
    /// Which words of a line are secret; `None` if the file has no secrets.
    pub(crate) secrets: Option<Secrets>,
    /// Whether a line that does not close its quote may be used as if the quote ended with it. With `None` none may, which
    /// is better where lines give rights.
    pub(crate) mends: Option<fn(&[&str]) -> bool>,
}

/// Says which words of a line nobody may see.
pub(crate) type Secrets = fn(&[&str]) -> Range<usize>;

impl Format {
    /// The row of the directive that begins with this word.
    pub(crate) fn row(&self, word: &str) -> Option<&'static Row> {
        self.table.iter().find(|row| row.is(word))
    }

    /// Which words nobody may see.
    pub(crate) fn masked(&self, words: &[&str]) -> Range<usize> {
        self.secrets.map_or(0..0, |secrets| secrets(words))
    }

    /// Whether a physical line surely begins a directive, whatever stands above it.
    fn begins_directive(&self, line: &[u8]) -> bool {
        let line = line.trim_ascii();
        if self.sections && line.starts_with(b"[") && line.ends_with(b"]") {
            return true;
        }
        let end = line
            .iter()
            .position(|byte| byte.is_ascii_whitespace() || b"=#\"".contains(byte))
            .unwrap_or(line.len());
        let (first, rest) = line.split_at(end);
        if self.sections {
            return !first.is_empty() && rest.trim_ascii_start().starts_with(b"=");
        }
        std::str::from_utf8(first).is_ok_and(|first| self.row(first).is_some())
    }
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Where it begins; its quote, if it has one.
    pub at: Span,
    /// The word without quotes and backslashes.
    pub text: String,
    /// The bytes of the file it was read from.
    pub(crate) range: Range<usize>,
}

/// A line of a file, continuations included: at least one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Where it begins.
    pub at: Span,
    /// Its words, the name first.
    pub words: Vec<Word>,
    /// Whether it is what stands behind an error on the same line: NUT reads that as a line of its own.
    pub leftover: bool,
}

impl Directive {
    /// The first word.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text(0)
    }

    /// The text of a word, counted from 0; empty if there are not so many.
    #[must_use]
    pub fn text(&self, nth: usize) -> &str {
        self.words.get(nth).map_or("", |word| word.text.as_str())
    }

    /// All texts.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.words.iter().map(|word| word.text.as_str()).collect()
    }

    /// Whether it opens a section: `Some(Ok(name))`; `Some(Err(()))` if it was meant to, but NUT sees no header in it.
    pub(crate) fn header(&self) -> Option<Result<&str, ()>> {
        let rest = self.name().strip_prefix('[')?;
        Some(rest.strip_suffix(']').ok_or(()))
    }
}

/// A place in the text.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    offset: usize,
    line: usize,
    line_start: usize,
}

impl Cursor {
    const fn span(self) -> Span {
        Span { line: self.line, column: self.offset - self.line_start + 1 }
    }

    const fn pass(&mut self, byte: u8) {
        self.offset += 1;
        if byte == b'\n' {
            self.line += 1;
            self.line_start = self.offset;
        }
    }
}

/// Where a word of the line being read stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: Cursor,
    end: Option<usize>,
    /// A line ended inside its quotes without a backslash.
    over_lines: bool,
}

/// Reads a file directive by directive; what is broken goes to the report, and the rest is read on.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    text: &'a [u8],
    format: &'static Format,
    tokenizer: Tokenizer,
    here: Cursor,
    places: Vec<Place>,
    leftover: bool,
    /// A line whose quote was closed for it.
    mended: Option<Directive>,
    given: usize,
}

impl<'a> Reader<'a> {
    /// Begins with a file; the report is for all that is found in it.
    pub(crate) fn new(source: Source<'a>, format: &'static Format) -> (Self, Report<'a>) {
        // A byte order mark is an editor's, not a word.
        let mut text = source.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source.text);
        let mut report = Report::new(source.path, format);
        if text.len() > MAX_FILE {
            let whole = text.get(..MAX_FILE).unwrap_or_default();
            let end = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            text = whole.get(..end).unwrap_or_default();
            report.file(
                Severity::Error,
                &format!("the file is longer than {MAX_FILE} bytes"),
                "what stands behind that is not read",
                "",
            );
        }
        report.set_text(text);
        let here = Cursor { offset: 0, line: 1, line_start: 0 };
        let tokenizer = Tokenizer::for_files();
        (
            Self {
                text,
                format,
                tokenizer,
                here,
                places: Vec::new(),
                leftover: false,
                mended: None,
                given: 0,
            },
            report,
        )
    }

    /// The next directive.
    pub(crate) fn next(&mut self, report: &mut Report<'a>) -> Option<Directive> {
        let directive = self.read(report)?;
        self.given += 1;
        if self.given > MAX_DIRECTIVES {
            report.add(
                Severity::Error,
                &directive,
                0,
                &format!("the file has more than {MAX_DIRECTIVES} directives"),
                "this one and those behind it are not read",
                "",
            );
            self.here.offset = self.text.len();
            self.restart();
            return None;
        }
        Some(directive)
    }

    fn read(&mut self, report: &mut Report<'a>) -> Option<Directive> {
        loop {
            if let Some(mended) = self.mended.take() {
                return Some(mended);
            }
            let Some(byte) = self.text.get(self.here.offset).copied() else {
                if !self.tokenizer.is_half() {
                    return None;
                }
                if self.in_quotes(self.tokenizer.position()) {
                    self.unclosed(report);
                    continue;
                }
                // As if the file ended with a line feed; a backslash before it would take the first one.
                if self.push(b'\n', report) || self.push(b'\n', report) {
                    return self.take(report);
                }
                return None;
            };
            if self.push(byte, report)
                && let Some(directive) = self.take(report)
            {
                return Some(directive);
            }
        }
    }

    /// Takes one byte; whether it completed a line.
    fn push(&mut self, byte: u8, report: &mut Report<'a>) -> bool {
        let before = self.tokenizer.position();
        let outcome = self.tokenizer.push(byte);
        if let Some(Outcome::Broken(error)) = outcome {
            self.broken(error, before, report);
            return false;
        }
        self.keep_places(before, byte);
        self.here.pass(byte);
        if byte == b'\n' && before == Position::Quoted {
            if self.format.begins_directive(self.line_here()) {
                self.unclosed(report);
            } else if let Some(word) = self.places.last_mut() {
                word.over_lines = true;
            }
        }
        outcome == Some(Outcome::Line)
    }

    /// Notes where words begin and end; called with the tokenizer behind the byte, `here` still on it.
    fn keep_places(&mut self, before: Position, byte: u8) {
        let after = self.tokenizer.position();
        let here = self.here;
        let is_word = |position| matches!(position, Position::Bare | Position::Quoted | Position::Escape);
        let sign = byte == b'=' && after == Position::Gap && before != Position::Quoted;
        if is_word(before)
            && !is_word(after)
            && let Some(word) = self.places.last_mut()
        {
            word.end = Some(if before == Position::Quoted { here.offset + 1 } else { here.offset });
        }
        // One more than are kept, to see that there are too many.
        if self.places.len() > MAX_WORDS {
            return;
        }
        if sign {
            self.places.push(Place { start: here, end: Some(here.offset + 1), over_lines: false });
        } else if before == Position::Gap && is_word(after) {
            self.places.push(Place { start: here, end: None, over_lines: false });
        }
    }

    /// Whether the tokenizer is inside quotes, or was before the byte that broke the line.
    fn in_quotes(&self, position: Position) -> bool {
        let opened = || self.places.last().and_then(|word| self.text.get(word.start.offset)) == Some(&b'"');
        match position {
            Position::Quoted => true,
            Position::Escape => opened(),
            Position::Gap | Position::Bare | Position::Comment => false,
        }
    }

    fn broken(&mut self, error: WordsError, before: Position, report: &mut Report<'a>) {
        let here = self.here;
        if self.in_quotes(before) && self.places.last().is_some_and(|word| word.start.line < here.line) {
            self.unclosed(report);
            return;
        }
        match error {
            WordsError::BareHash => {
                let broken = self.raw_directive();
                report.broken(
                    &broken,
                    here.span(),
                    "a '#' inside quotes needs a backslash",
                    "the line is left out; what stands behind the '#' is read as a new line, as NUT does",
                    "write: \\#",
                );
                self.here.pass(b'#');
                self.restart();
                self.leftover = true;
            }
            // Lines of files have no limit.
            WordsError::TooLong => self.skip_line(here),
        }
    }

    /// A quote that its line does not close: it ends with that line, or the line is left out; the one below it is read.
    fn unclosed(&mut self, report: &mut Report<'a>) {
        let Some(opened) = self.places.last().map(|word| word.start) else {
            self.skip_line(self.here);
            return;
        };
        let mended = self.format.mends.and_then(|may| self.mend(opened).filter(|line| may(&line.texts())));
        let why = match mended {
            Some(_) => "it is taken to end with the line; NUT would swallow the lines below it as well",
            None => "the line is left out; NUT would swallow the lines below it as well",
        };
        report.broken(
            &self.raw_directive(),
            opened.span(),
            "the quote that opens here is not closed",
            why,
            "close the quote on the same line",
        );
        self.skip_line(opened);
        self.mended = mended;
    }

    /// The words up to the end of the line on which the last quote opens.
    fn mend(&self, opened: Cursor) -> Option<Directive> {
        let first = self.places.first()?.start;
        let rest = self.text.get(opened.offset..)?;
        let end = opened.offset + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let mut tokenizer = Tokenizer::for_files();
        for byte in self.text.get(first.offset..end)? {
            let _ = tokenizer.push(*byte);
        }
        // Behind a backslash the first one is a letter; the second one closes it then.
        while matches!(tokenizer.position(), Position::Quoted | Position::Escape) {
            let _ = tokenizer.push(b'"');
        }
        let texts = match tokenizer.push(b'\n') {
            Some(Outcome::Line) => tokenizer.words(),
            Some(Outcome::Broken(_)) | None => return None,
        };
        let word = |(text, place): (&str, &Place)| Word {
            at: place.start.span(),
            text: text.trim_end().to_owned(),
            range: place.start.offset..place.end.unwrap_or(end),
        };
        let words: Vec<Word> = texts.iter().zip(&self.places).map(word).collect();
        Some(Directive { at: first.span(), words, leftover: self.leftover })
    }

    /// Goes on behind the line that `from` is in.
    fn skip_line(&mut self, from: Cursor) {
        self.here = from;
        while let Some(byte) = self.text.get(self.here.offset).copied() {
            self.here.pass(byte);
            if byte == b'\n' {
                break;
            }
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.tokenizer.reset();
        self.places.clear();
        self.leftover = false;
    }

    /// What stands between here and the end of the line.
    fn line_here(&self) -> &'a [u8] {
        let rest = self.text.get(self.here.offset..).unwrap_or_default();
        rest.split(|byte| *byte == b'\n').next().unwrap_or_default()
    }

    /// The words of a line that will not be read, as they stand in the file.
    fn raw_directive(&self) -> Directive {
        let word = |place: &Place| {
            let rest = self.text.get(place.start.offset..).unwrap_or_default();
            let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let range = place.start.offset..place.end.unwrap_or(place.start.offset + line);
            let raw = self.text.get(range.clone()).unwrap_or_default();
            let text = String::from_utf8_lossy(raw.get(..MAX_WORD).unwrap_or(raw)).into_owned();
            Word { at: place.start.span(), text, range }
        };
        let words: Vec<Word> = self.places.iter().map(word).collect();
        let at = words.first().map_or_else(|| self.here.span(), |word| word.at);
        Directive { at, words, leftover: self.leftover }
    }

    /// The line that was just completed, if it has words.
    fn take(&mut self, report: &mut Report<'a>) -> Option<Directive> {
        let places = std::mem::take(&mut self.places);
        let leftover = std::mem::take(&mut self.leftover);
        let words: Vec<Word> = self
            .tokenizer
            .words()
            .iter()
            .zip(&places)
            .map(|(text, place)| Word {
                at: place.start.span(),
                text: text.to_owned(),
                range: place.start.offset..place.end.unwrap_or(self.here.offset),
            })
            .collect();
        let at = words.first()?.at;
        let directive = Directive { at, words, leftover };
        if !leftover {
            self.check_words(&directive, &places, report);
        }
        Some(directive)
    }

    /// Tells of words that are not what they look like.
    fn check_words(&self, directive: &Directive, places: &[Place], report: &mut Report<'a>) {
        if places.len() > MAX_WORDS {
            let what = format!("the line has more than {MAX_WORDS} words");
            report.add(Severity::Warning, directive, 0, &what, "the later ones are not read", "");
        }
        for (nth, (word, place)) in directive.words.iter().zip(places).enumerate() {
            let raw = self.text.get(word.range.clone()).unwrap_or_default();
            let dropped = raw.iter().any(|byte| *byte >= 0x80 || (*byte < 0x20 && !b"\r\n".contains(byte)));
            let mut warn = |what: &str, why: &str, advice: &str| {
                report.add(Severity::Warning, directive, nth, what, why, advice);
            };
            if word.text.len() == MAX_WORD && raw.len() > MAX_WORD + 2 {
                warn(&format!("a word is longer than {MAX_WORD} bytes"), "the rest of it is not read", "");
            } else if word.text.is_empty() && raw.starts_with(b"\\") {
                warn(
                    "the backslash at the end of the line begins an empty word",
                    "the words of the next line stand one place too far behind, as NUT counts them",
                    "begin the next line at its margin",
                );
            } else if dropped {
                warn(
                    "a word has characters outside ASCII",
                    "they are dropped, as NUT drops them; what is left is used",
                    "use letters, digits and signs of ASCII",
                );
            } else if place.over_lines {
                report.add(
                    Severity::Note,
                    directive,
                    nth,
                    "the quote that opens here is closed on a later line",
                    "all between is one word, without the line ends",
                    "if that is meant, end each line with a backslash",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
