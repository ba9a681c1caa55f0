//! What the tests of all files share.

use crate::directives::Row;
use crate::{Diagnostic, Severity, Source, worst};

/// What every parser is.
pub(crate) type Parse<C> = fn(Source<'_>) -> (C, Vec<Diagnostic>);

/// Reads a text.
pub(crate) fn read<C>(parse: Parse<C>, text: impl AsRef<[u8]>) -> (C, Vec<Diagnostic>) {
    parse(Source { path: "test.conf", text: text.as_ref() })
}

/// Reads a text that must be without fault; notes are none.
pub(crate) fn good<C>(parse: Parse<C>, text: &str) -> C {
    let (conf, found) = read(parse, text);
    assert!(worst(&found).is_none_or(|worst| worst == Severity::Note), "{text}\n{}", shown(&found));
    conf
}

/// Reads a text; the configuration, and of each finding its place, its weight and what it says.
pub(crate) fn bad<C>(parse: Parse<C>, text: impl AsRef<[u8]>) -> (C, Vec<String>) {
    let (conf, found) = read(parse, text);
    let short = |one: &Diagnostic| {
        let weight = match one.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        format!("{}:{} {weight} {}", one.at.line, one.at.column, one.what)
    };
    (conf, found.iter().map(short).collect())
}

/// All findings as a person sees them.
pub(crate) fn shown(found: &[Diagnostic]) -> String {
    found.iter().map(|one| format!("{one}\n")).collect()
}

/// Reads every row's own example below a prelude; each must be understood and complete.
pub(crate) fn every_example_is_understood<C: std::fmt::Debug + PartialEq>(
    parse: Parse<C>,
    table: &[Row],
    prelude: &str,
) {
    for (nth, row) in table.iter().enumerate() {
        let (_, found) = read(parse, format!("{prelude}{}\n", row.write));
        let above: Vec<_> = found.iter().filter(|one| one.severity > Severity::Note).collect();
        let excused = row.idle.is_some();
        assert!(above.is_empty() || excused, "{}\n{}", row.write, shown(&found));
        for text in [row.name, row.sets, row.default, row.since, row.write] {
            assert!(!text.is_empty(), "{row:?}");
        }
        assert!(!table.iter().skip(nth + 1).any(|other| other.is(row.name)), "{} stands twice", row.name);
    }
}
