//! Collecting what is wrong with a file, and showing its lines without their secrets.

use crate::directives::{Directive, Format, Row, Secrets};
use crate::{Diagnostic, Severity, Span};
use std::ops::Range;

/// Most findings of one severity that are kept; later ones are counted.
pub(crate) const MAX_FINDINGS: usize = 200;

/// Most characters of a line that are shown.
const MAX_EXCERPT: usize = 160;

/// Most characters of a word that a message quotes.
const MAX_QUOTED: usize = 60;

/// Longest word for which a similar directive is looked for.
const MAX_TYPO: usize = 40;

/// What stands for a secret.
const MASK: &str = "****";

/// All that was found in one file.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    path: &'a str,
    text: &'a [u8],
    format: &'static Format,
    found: Vec<Diagnostic>,
    counts: [usize; 3],
    seen: Vec<(&'static str, Span)>,
}

impl<'a> Report<'a> {
    pub(crate) const fn new(path: &'a str, format: &'static Format) -> Self {
        Self { path, text: &[], format, found: Vec::new(), counts: [0; 3], seen: Vec::new() }
    }

    /// The text that the ranges of directives point into.
    pub(crate) const fn set_text(&mut self, text: &'a [u8]) {
        self.text = text;
    }

    /// What the file may hold.
    pub(crate) const fn format(&self) -> &'static Format {
        self.format
    }

    /// Adds a finding about the word `nth` of a directive, counted from 0.
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        directive: &Directive,
        nth: usize,
        what: &str,
        why: &str,
        advice: &str,
    ) {
        if !self.count(severity) {
            return;
        }
        let word = directive.words.get(nth).or_else(|| directive.words.last());
        let at = word.map_or(directive.at, |word| word.at);
        let texts = directive.texts();
        let excerpt =
            self.excerpt(directive, word.map_or(0, |word| word.range.start), self.format.masked(&texts));
        self.push(severity, at, what, excerpt, why, advice);
    }

    /// Adds a finding about a line that could not be read as words; its words are as they stand in the file.
    pub(crate) fn broken(&mut self, directive: &Directive, at: Span, what: &str, why: &str, advice: &str) {
        if !self.count(Severity::Warning) {
            return;
        }
        // How many words would have followed is unknown: mask as if they were many.
        let mut texts = directive.texts();
        texts.extend(["?"; 8]);
        let masked = match self.format.masked(&texts) {
            masked if masked.is_empty() => 0..0,
            masked => masked.start.min(1)..texts.len(),
        };
        let start = directive.words.last().map_or(0, |word| word.range.start);
        let excerpt = self.excerpt(directive, start, masked);
        self.push(Severity::Warning, at, what, excerpt, why, advice);
    }

    /// Adds a finding about the file as a whole.
    pub(crate) fn file(&mut self, severity: Severity, what: &str, why: &str, advice: &str) {
        if self.count(severity) {
            self.push(severity, Span::default(), what, String::new(), why, advice);
        }
    }

    /// Tells of a directive that no row knows.
    pub(crate) fn unknown(&mut self, directive: &Directive) {
        if directive.leftover || self.is_full(Severity::Warning) {
            // What an error left over was told with the error.
            self.counts[SLOT_WARNING] += usize::from(!directive.leftover);
            return;
        }
        let name = directive.name();
        let near = nearest(name, self.format.table.iter().map(|row| row.name));
        let what = if !self.format.masked(&directive.texts()).contains(&0) {
            format!("unknown directive {}", quoted(name))
        } else {
            "unknown directive".into()
        };
        let advice = match near {
            Some(near) if near.eq_ignore_ascii_case(name) => format!("write it so: {near}"),
            Some(near) => format!("did you mean {near}?"),
            None => String::new(),
        };
        self.add(Severity::Warning, directive, 0, &what, "the line is left out", &advice);
    }

    /// Tells of words behind a section's header on the same line.
    pub(crate) fn header_alone(&mut self, directive: &Directive) {
        if directive.words.len() > 1 {
            let what = "words stand behind the section's name";
            let advice = "write them on lines of their own below it";
            self.add(Severity::Warning, directive, 1, what, "they are not read", advice);
        }
    }

    /// Notes that a directive stands here, and tells if it stood before.
    pub(crate) fn once(&mut self, row: &'static Row, directive: &Directive) {
        match self.seen.iter_mut().find(|(name, _)| *name == row.name) {
            None => self.seen.push((row.name, directive.at)),
            Some((_, before)) => {
                let line = std::mem::replace(before, directive.at).line;
                let what = format!("{} stands in line {line}, too", row.name);
                self.add(Severity::Note, directive, 0, &what, "the last one that can be used counts", "");
            }
        }
    }

    /// Forgets which directives stood before: a section begins.
    pub(crate) fn forget_seen(&mut self) {
        self.seen.clear();
    }

    /// All findings, in the order of their places; those about the file as a whole last.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|one| (one.at.line == 0, one.at));
        for (slot, severity) in [(0, Severity::Note), (SLOT_WARNING, Severity::Warning), (2, Severity::Error)]
        {
            let hidden = self.counts.get(slot).copied().unwrap_or(0).saturating_sub(MAX_FINDINGS);
            if hidden > 0 {
                let what = format!("{hidden} more findings like these are not shown");
                self.push(severity, Span::default(), &what, String::new(), "", "");
            }
        }
        self.found
    }

    const fn slot(severity: Severity) -> usize {
        match severity {
            Severity::Note => 0,
            Severity::Warning => SLOT_WARNING,
            Severity::Error => 2,
        }
    }

    fn is_full(&self, severity: Severity) -> bool {
        self.counts.get(Self::slot(severity)).is_some_and(|count| *count >= MAX_FINDINGS)
    }

    /// Counts a finding; whether it is one of those that are kept.
    fn count(&mut self, severity: Severity) -> bool {
        let full = self.is_full(severity);
        if let Some(count) = self.counts.get_mut(Self::slot(severity)) {
            *count += 1;
        }
        !full
    }

    fn push(&mut self, severity: Severity, at: Span, what: &str, excerpt: String, why: &str, advice: &str) {
        self.found.push(Diagnostic {
            path: self.path.to_owned(),
            at,
            severity,
            what: what.to_owned(),
            excerpt,
            why: why.to_owned(),
            advice: advice.to_owned(),
        });
    }

    /// The physical line at `offset` as far as it belongs to the directive, without its comment.
    fn excerpt(&self, directive: &Directive, offset: usize, masked: Range<usize>) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let behind = self.text.get(offset..).unwrap_or_default();
        let line_end = offset + behind.iter().position(|byte| *byte == b'\n').unwrap_or(behind.len());
        let mut out = String::new();
        let mut from = if directive.leftover { offset } else { line_start };
        let mut after_mask = false;
        for (nth, word) in directive.words.iter().enumerate() {
            if word.range.start >= line_end || word.range.end <= line_start || word.range.end <= from {
                continue;
            }
            let start = word.range.start.max(from);
            let end = word.range.end.min(line_end);
            let hidden = masked.contains(&nth);
            if !(hidden && after_mask) {
                out.push_str(&String::from_utf8_lossy(self.text.get(from..start).unwrap_or_default()));
                if hidden {
                    out.push_str(MASK);
                } else {
                    let shown = start..end.min(start + 4 * MAX_EXCERPT);
                    out.push_str(&String::from_utf8_lossy(self.text.get(shown).unwrap_or_default()));
                }
            }
            after_mask = hidden;
            from = end;
            if out.len() > 4 * MAX_EXCERPT {
                break;
            }
        }
        harmless(&out, MAX_EXCERPT)
    }
}

/// The warnings' place among the counts.
const SLOT_WARNING: usize = 1;

/// A text in one line without control characters, cut to so many characters.
fn harmless(text: &str, most: usize) -> String {
    let shown = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let text = text.trim_end();
    let mut out: String = text.chars().take(most).map(shown).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A word as a message quotes it.
pub(crate) fn quoted(word: &str) -> String {
    format!("\"{}\"", harmless(word, MAX_QUOTED))
}

/// Which words of a line nobody may see if no row knows its first: those of all directives that may have been meant.
///
/// Without such a directive all is masked, unless the first word looks like a directive's name: it may be half a
/// password that a line break has moved there.
pub(crate) fn as_meant(words: &[&str], table: &'static [Row], secrets: Secrets) -> Range<usize> {
    let Some((first, rest)) = words.split_first() else { return 0..0 };
    let ranges: Vec<Range<usize>> = similar(first, table.iter().map(|row| row.name))
        .map(|(_, name)| secrets(&std::iter::once(name).chain(rest.iter().copied()).collect::<Vec<_>>()))
        .collect();
    if ranges.is_empty() {
        let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        return usize::from(first.bytes().all(capital))..words.len();
    }
    let secret = || ranges.iter().filter(|range| !range.is_empty());
    let start = secret().map(|range| range.start).min().unwrap_or(0);
    start..secret().map(|range| range.end).max().unwrap_or(0)
}

/// The name that a person most likely meant.
pub(crate) fn nearest<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    similar(word, names).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The names that a person may have meant, and how far off they are: without case, at most a third of them mistyped.
fn similar<'n>(word: &str, names: impl Iterator<Item = &'n str>) -> impl Iterator<Item = (usize, &'n str)> {
    let word = if word.len() > MAX_TYPO { String::new() } else { word.to_ascii_uppercase() };
    names.filter_map(move |name| {
        let shorter = name.len().min(word.len());
        if name.len().abs_diff(word.len()) > 2 || shorter == 0 {
            return None;
        }
        let distance = distance(word.as_bytes(), name.to_ascii_uppercase().as_bytes());
        (distance <= 2 && distance * 3 <= shorter).then_some((distance, name))
    })
}

/// How many bytes must be inserted, removed, replaced or swapped with their neighbours to make one text of the other.
fn distance(left: &[u8], right: &[u8]) -> usize {
    let mut two_above: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let mut before_a = None;
    for (done, a) in left.iter().enumerate() {
        let mut costs = vec![done + 1];
        let mut before_b = None;
        for (nth, b) in right.iter().enumerate() {
            let cost = |row: &[usize], at: Option<usize>| {
                at.and_then(|at| row.get(at)).copied().unwrap_or(usize::MAX)
            };
            let replaced = cost(&above, Some(nth)).saturating_add(usize::from(a != b));
            let inserted = cost(&costs, Some(nth)).saturating_add(1);
            let removed = cost(&above, Some(nth + 1)).saturating_add(1);
            let swapped = if before_a == Some(b) && before_b == Some(a) {
                cost(&two_above, nth.checked_sub(1)).saturating_add(1)
            } else {
                usize::MAX
            };
            costs.push(replaced.min(inserted).min(removed).min(swapped));
            before_b = Some(b);
        }
        before_a = Some(a);
        two_above = std::mem::replace(&mut above, costs);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        let cases = [
            ("", "", 0),
            ("a", "", 1),
            ("MONTOR", "MONITOR", 1),
            ("DEADTMIE", "DEADTIME", 1),
            ("MOED", "MODE", 1),
            ("ab", "ba", 1),
            ("abcd", "badc", 2),
            ("abc", "xyz", 3),
        ];
        for (left, right, expected) in cases {
            assert_eq!(distance(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
            assert_eq!(distance(right.as_bytes(), left.as_bytes()), expected, "{right} {left}");
        }
    }

    #[test]
    fn what_a_person_most_likely_meant() {
        let names = ["MONITOR", "MINSUPPLIES", "DEADTIME", "HOSTSYNC", "AT"];
        let near = |word| nearest(word, names.into_iter());
        assert_eq!(near("MONTOR"), Some("MONITOR"));
        assert_eq!(near("monitor"), Some("MONITOR"));
        assert_eq!(near("DEADTMIE"), Some("DEADTIME"));
        assert_eq!(near("IT"), None);
        assert_eq!(near("SHUTDOWNCMD"), None);
        assert_eq!(near(&"x".repeat(500)), None);
    }

    #[test]
    fn a_quoted_word_cannot_harm_a_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb"), "\"a\u{fffd}[2Jb\"");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), MAX_QUOTED + 3);
    }
}
