//! The files of Network UPS Tools: text with places to typed configuration and diagnostics. No I/O.
//!
//! Each parser takes a [`Source`] and returns the configuration *and* all that is wrong with it,
//! `(Conf, Vec<Diagnostic>)`: a daemon with one bad line still does the rest. Who reads the file, and whether a
//! diagnostic stops the start, is the program's decision.
//!
//! | file | configuration |
//! |---|---|
//! | [`ups_conf`] | the drivers: which, on which port, in which order they are powered down |
//! | [`upsd_conf`] | the server: where it listens, whom it admits |
//! | [`upsd_users`] | who may do what |
//! | [`upsmon_conf`] | what this host watches, and when it stops |
//! | [`upssched_conf`] | what follows a notice, and after how long |
//! | [`hosts_conf`] | what the web pages show |
//! | [`nut_conf`] | which parts a host runs |

pub mod directives;
pub mod hosts_conf;
pub mod nut_conf;
pub mod ups_conf;
pub mod upsd_conf;
pub mod upsd_users;
pub mod upsmon_conf;
pub mod upssched_conf;

mod report;
#[cfg(test)]
mod testing;
mod values;

use std::fmt;

/// A file's text and its name for messages.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The path as a person knows it.
    pub path: &'a str,
    /// The bytes of the file, of any kind.
    pub text: &'a [u8],
}

/// A place in a file: line and column, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The line, counted from 1; 0 for the file as a whole.
    pub line: usize,
    /// The byte in the line, counted from 1; 0 for the line as a whole.
    pub column: usize,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Read and understood, but worth a word: an old spelling, a directive without effect here.
    Note,
    /// The line is left out, or used otherwise than it reads; the rest stands.
    Warning,
    /// The program cannot do its work like that.
    Error,
}

/// Something wrong with a file: where, what, why it matters, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's path.
    pub path: String,
    /// Where in it.
    pub at: Span,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, in one clause.
    pub what: String,
    /// The line itself, secrets as `****`; empty for the file as a whole.
    pub excerpt: String,
    /// What follows from it.
    pub why: String,
    /// What to write instead; empty if there is nothing to advise.
    pub advice: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if self.at.line > 0 {
            write!(f, ":{}", self.at.line)?;
            if self.at.column > 0 {
                write!(f, ":{}", self.at.column)?;
            }
        }
        write!(f, ": {}", self.what)?;
        if !self.excerpt.is_empty() {
            write!(f, "\n{:5} | {}", self.at.line, self.excerpt)?;
        }
        for line in [&self.why, &self.advice] {
            if !line.is_empty() {
                write!(f, "\n   {line}")?;
            }
        }
        Ok(())
    }
}

/// The worst that was found; `None` if nothing was.
#[must_use]
pub fn worst(found: &[Diagnostic]) -> Option<Severity> {
    found.iter().map(|one| one.severity).max()
}
