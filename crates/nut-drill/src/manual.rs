//! The pages of the manual (`docs/man`): their blocks that are made from tables, kept equal to what the tables say.
//!
//! A page is prose written by hand. Where a table of the code is the truth (directives, options, notices), it has a
//! block between `.\" generated: <name>` and `.\" end`. Whoever owns the table has a test that makes the block anew and
//! hands it to [`keep`]: that fails if the page says something else, or renews the page if `COBNUT_BLESS` is set.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// The variable that has [`keep`] renew pages instead of comparing them.
pub const BLESS: &str = "COBNUT_BLESS";

/// What begins a block, in front of its name.
const BEGIN: &str = ".\\\" generated: ";

/// What stands in front of an example, and of its kind.
const EXAMPLE: &str = ".\\\" example: ";

/// What ends a block.
const END: &str = ".\\\" end";

/// Why a page is not as it must be.
#[derive(Debug, Error)]
pub enum ManualError {
    /// It cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no such block, or one that does not end.
    #[error("{page} has no block {BEGIN}{block} ... {END}")]
    NoBlock {
        /// The page.
        page: String,
        /// The block.
        block: String,
    },
    /// The table says something else.
    #[error(
        "{page} is older than the table its block \"{block}\" is made from:\n{diff}renew it with: {renew}"
    )]
    Stale {
        /// The page.
        page: String,
        /// The block.
        block: String,
        /// The lines that differ: `-` the page's, `+` the table's.
        diff: String,
        /// The command that writes the table's.
        renew: String,
    },
}

/// Where the pages are.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man")
}

/// All pages: file name, as in `upsd.8`, and text, sorted by name.
///
/// # Errors
/// When they cannot be read.
pub fn pages() -> Result<Vec<(String, String)>, ManualError> {
    let folder = folder();
    let failed = |source| ManualError::File { doing: "read", path: folder.clone(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names.into_iter().map(|name| page(&name).map(|text| (name, text))).collect()
}

/// The text of one page.
///
/// # Errors
/// When it cannot be read.
pub fn page(name: &str) -> Result<String, ManualError> {
    let path = folder().join(name);
    fs::read_to_string(&path).map_err(|source| ManualError::File { doing: "read", path, source })
}

/// The example files of a page, in order: a kind of file, and a text of that kind. They stand as literal texts behind
/// `.\" example: <kind>`.
#[must_use]
pub fn examples(page: &str) -> Vec<(String, String)> {
    let example = |part: &str| {
        let (kind, rest) = part.split_once('\n')?;
        let (_, rest) = rest.strip_prefix(".Bd -literal")?.split_once('\n')?;
        let (text, _) = rest.split_once(".Ed\n")?;
        let plain = [("\\-", "-"), ("\\(dq", "\""), ("\\(aq", "'"), ("\\&", ""), ("\\e", "\\")];
        let text = plain.into_iter().fold(text.to_owned(), |text, (roff, plain)| text.replace(roff, plain));
        Some((kind.to_owned(), text))
    };
    page.split(EXAMPLE).skip(1).filter_map(example).collect()
}

/// How many texts of a page are marked as examples, well or not.
#[must_use]
pub fn marked_examples(page: &str) -> usize {
    page.matches(EXAMPLE).count()
}

/// Keeps a block of a page as a table says it. `package` is whose test this is, for the command that renews the page.
///
/// # Errors
/// [`ManualError::Stale`] when the page says something else; when there is no such block, or no such page.
pub fn keep(name: &str, block: &str, generated: &str, package: &str) -> Result<(), ManualError> {
    // Tests of one package that renew the same page must not undo each other's work.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let text = page(name)?;
    let no_block = || ManualError::NoBlock { page: name.to_owned(), block: block.to_owned() };
    let (before, rest) = text.split_once(&format!("{BEGIN}{block}\n")).ok_or_else(no_block)?;
    let end = rest.find(&format!("{END}\n")).ok_or_else(no_block)?;
    let (old, after) = rest.split_at(end);
    if old == generated {
        return Ok(());
    }
    if env::var_os(BLESS).is_some_and(|value| !value.is_empty()) {
        let path = folder().join(name);
        let new = format!("{before}{BEGIN}{block}\n{generated}{after}");
        return fs::write(&path, new).map_err(|source| ManualError::File { doing: "write", path, source });
    }
    Err(ManualError::Stale {
        page: name.to_owned(),
        block: block.to_owned(),
        diff: diff(old, generated),
        renew: format!("{BLESS}=1 cargo test -p {package} manual"),
    })
}

/// The lines between the first and the last that differ.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let both = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(both).take_while(|(old, new)| old == new).count();
    let part = |lines: &[&str], sign: char| -> String {
        let lines = lines.get(head..lines.len() - tail).unwrap_or_default();
        lines.iter().map(|line| format!("{sign} {line}\n")).collect()
    };
    part(&old, '-') + &part(&new, '+')
}

/// Text of ours as a line of a page.
#[must_use]
pub fn prose(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// Text that a reader may copy to a prompt or a file, also as an argument of a macro between quotes.
#[must_use]
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in prose(text).chars() {
        match c {
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            c => out.push(c),
        }
    }
    out
}

/// Words with placeholders, `<address> [<port>]`: the placeholders in italics, the rest as it is.
#[must_use]
pub fn placeholders(words: &str) -> String {
    literal(words).replace('<', "\\fI").replace('>', "\\fP")
}

/// A clause as a sentence: with a capital, unless it begins with a program's name, and a full stop.
#[must_use]
pub fn sentence(clause: &str) -> String {
    let clause = clause.trim();
    let mut chars = clause.chars();
    let first = match chars.next() {
        Some(first) if !clause.starts_with("ups") => first.to_uppercase().collect::<String>(),
        Some(first) => first.to_string(),
        None => return String::new(),
    };
    let end = if clause.ends_with(['.', '?', '!']) { "" } else { "." };
    prose(&format!("{first}{}{end}", chars.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_differ_are_shown() {
        assert_eq!(diff("a\nb\nc\n", "a\nx\ny\nc\n"), "- b\n+ x\n+ y\n");
        assert_eq!(diff("", "a\n"), "+ a\n");
        assert_eq!(diff("a\na\n", "a\n"), "- a\n");
    }

    #[test]
    fn text_stays_text_in_roff() {
        assert_eq!(prose(".Sh a\\b"), "\\&.Sh a\\eb");
        assert_eq!(literal("-c \"x\" 'y'"), "\\-c \\(dqx\\(dq \\(aqy\\(aq");
        assert_eq!(placeholders("<a> [<b-c> ...]"), "\\fIa\\fP [\\fIb\\-c\\fP ...]");
    }

    #[test]
    fn a_clause_becomes_a_sentence() {
        assert_eq!(sentence("how long"), "How long.");
        assert_eq!(sentence("upsd waits"), "upsd waits.");
        assert_eq!(sentence("-1: all"), "-1: all.");
        assert_eq!(sentence(""), "");
    }

    #[test]
    fn examples_are_plain_text_again() {
        let page = ".\\\" example: a.conf\n.Bd -literal -offset indent\na \\- \\(dqb\\(dq\n.Ed\n.Pp\n";
        assert_eq!(examples(page), [("a.conf".to_owned(), "a - \"b\"\n".to_owned())]);
        assert_eq!((examples(&page[..40]).len(), marked_examples(page)), (0, 1));
    }

    #[test]
    fn a_page_without_the_block_is_told() {
        let error = keep("upsd.8", "no such block", "", "nut-drill").unwrap_err().to_string();
        assert!(error.starts_with("upsd.8 has no block"), "{error}");
    }
}
