//! Where each value of `upsmon.conf` comes from: a line, a line that a reload has not found again, or nowhere.

use super::NoticeKind;
use crate::Span;
use std::collections::BTreeMap;
use std::fmt;

/// Where the values of a configuration stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    path: String,
    /// By directive, and by its subject where it may stand for several: the notice, or the host of `CERTHOST`.
    named: BTreeMap<&'static str, BTreeMap<Box<str>, Place>>,
}

/// Where a directive stands that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    at: Span,
    /// The file as it was read last does not name it any more.
    is_kept: bool,
}

/// Where one value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// Nothing was written: this is what holds then.
    Default,
    /// This line of the file.
    Line {
        /// The file.
        path: &'a str,
        /// The line.
        at: Span,
    },
    /// This line of the file as it was before a reload: the file does not name it any more, and the value has stayed.
    Kept {
        /// The file.
        path: &'a str,
        /// The line it was.
        at: Span,
    },
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Line { path, at } => write!(f, "{path}:{}", at.line),
            Self::Kept { path, at } => {
                write!(f, "{path}:{} before a reload; not named any more, so the value has stayed", at.line)
            }
        }
    }
}

impl Places {
    /// The file's path, as a person knows it; empty if there was none.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where the value of this directive comes from.
    #[must_use]
    pub fn of(&self, name: &str) -> Origin<'_> {
        self.of_subject(name, "")
    }

    /// Where what is said of this notice comes from (`NOTIFYMSG`, `NOTIFYFLAG`).
    #[must_use]
    pub fn of_notice(&self, name: &str, kind: NoticeKind) -> Origin<'_> {
        self.of_subject(name, kind.as_str())
    }

    /// A place in the file.
    #[must_use]
    pub fn line(&self, at: Span) -> Origin<'_> {
        Origin::Line { path: &self.path, at }
    }

    pub(super) fn of_subject(&self, name: &str, subject: &str) -> Origin<'_> {
        match self.named.get(name).and_then(|subjects| subjects.get(subject)) {
            None => Origin::Default,
            Some(Place { at, is_kept: false }) => Origin::Line { path: &self.path, at: *at },
            Some(Place { at, is_kept: true }) => Origin::Kept { path: &self.path, at: *at },
        }
    }

    /// The file is read (again): what is known so far was named before.
    pub(super) fn begin(&mut self, path: &str) {
        path.clone_into(&mut self.path);
        for place in self.named.values_mut().flat_map(BTreeMap::values_mut) {
            place.is_kept = true;
        }
    }

    /// A line was used.
    pub(super) fn note(&mut self, name: &'static str, subject: &str, at: Span) {
        self.named.entry(name).or_default().insert(subject.into(), Place { at, is_kept: false });
    }

    /// The directive has its default again, whatever was written before.
    pub(super) fn forget(&mut self, name: &str) {
        self.named.remove(name);
    }

    /// The directive's lines as they were read last replace all that were before, if there are any now.
    pub(super) fn replace_kept(&mut self, name: &str) {
        if let Some(subjects) = self.named.get_mut(name)
            && subjects.values().any(|place| !place.is_kept)
        {
            subjects.retain(|_, place| !place.is_kept);
        }
    }
}
