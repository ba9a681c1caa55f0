//! The samples: ours in `etc/` and those that Debian's NUT 2.8.0 brings, as they are and with their examples taken in.

use nut_conf::directives::Row;
use nut_conf::{Diagnostic, Severity, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A kind of file: its name, its directives, its parser.
struct Kind {
    name: &'static str,
    /// Whether it has sections, and names with an equals sign.
    pairs: bool,
    table: &'static [Row],
    parse: fn(Source<'_>) -> (String, Vec<Diagnostic>),
}

macro_rules! kinds {
    ($($name:literal $module:ident $pairs:literal),* $(,)?) => {
        [$(Kind {
            name: $name,
            pairs: $pairs,
            table: nut_conf::$module::TABLE,
            parse: |source| {
                let (conf, found) = nut_conf::$module::parse(source);
                (format!("{conf:?}"), found)
            },
        }),*]
    };
}

const KINDS: [Kind; 7] = kinds![
    "ups.conf" ups_conf true,
    "upsd.conf" upsd_conf false,
    "upsd.users" upsd_users true,
    "upsmon.conf" upsmon_conf false,
    "upssched.conf" upssched_conf false,
    "hosts.conf" hosts_conf false,
    "nut.conf" nut_conf true,
];

/// Samples that are no configuration of ours: a device, a script, pages.
const OTHERS: [&str; 4] =
    ["dummy.dev.sample", "upssched-dispatch.sample", "upsstats.html.sample", "upsstats-single.html.sample"];

/// The text with its examples taken in, and how many there were.
///
/// An example is a comment that begins as a line of the file would: with a directive, a section, or a word and its
/// value. One with `<` shows the words instead, one with a dash behind the first is a title, and one that ends like a
/// sentence is one.
fn with_examples(text: &str, kind: &Kind) -> (String, usize) {
    let mut count = 0;
    let mut out = String::new();
    for line in text.lines() {
        let rest = line.trim_start().strip_prefix('#').unwrap_or_default();
        let bare = rest.trim();
        let first = bare.split(|c: char| c.is_whitespace() || c == '=').next().unwrap_or_default();
        let known = kind.table.iter().any(|row| row.is(first)) && bare != first;
        let section = kind.pairs && bare.starts_with('[') && bare.ends_with(']');
        let pair = kind.pairs
            && bare.split_once('=').is_some_and(|(key, value)| {
                let key = key.trim();
                !key.is_empty()
                    && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
                    && !value.trim().is_empty()
            });
        let prose = ["<", "...", " - ", " and "].iter().any(|sign| bare.contains(sign))
            || bare.ends_with(['.', ',', ':', ')']);
        if (known || section || pair) && !prose {
            count += 1;
            out.push_str(rest);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    (out, count)
}

fn above_a_note(kind: &Kind, path: &Path, text: &str) -> Vec<String> {
    let path = path.display().to_string();
    let (_, found) = (kind.parse)(Source { path: &path, text: text.as_bytes() });
    found.iter().filter(|one| one.severity > Severity::Note).map(ToString::to_string).collect()
}

#[test]
fn our_samples_are_read_without_a_complaint_examples_and_all() {
    let etc = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../etc");
    let samples: BTreeSet<String> = std::fs::read_dir(&etc)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".sample"))
        .collect();
    let known = KINDS.iter().map(|kind| format!("{}.sample", kind.name));
    let known: BTreeSet<String> = known.chain(OTHERS.map(String::from)).collect();
    assert_eq!(samples, known, "a sample that no test reads, or a test without a sample");
    for kind in &KINDS {
        let path = etc.join(format!("{}.sample", kind.name));
        let text = std::fs::read_to_string(&path).unwrap();
        let (full, examples) = with_examples(&text, kind);
        assert!(examples > 0 || kind.name == "nut.conf", "{} has no example", path.display());
        for text in [text.as_str(), full.as_str()] {
            assert_eq!(above_a_note(kind, &path, text), Vec::<String>::new(), "in\n{text}");
        }
        // What was taken in is more than what stands there, or the test reads comments.
        let read = |text: &str| (kind.parse)(Source { path: "", text: text.as_bytes() }).0;
        assert!(examples == 0 || read(&full) != read(&text), "{}", path.display());
    }
}

/// Debian's files, which `tests/oracle/fetch.sh` unpacks.
fn debian() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/cache/root/etc/nut");
    dir.is_dir().then_some(dir)
}

#[test]
fn nuts_own_samples_are_read_and_only_what_we_do_not_do_is_told() {
    let Some(dir) = debian() else {
        eprintln!("skipped: no NUT 2.8.0 beside us; tests/oracle/fetch.sh unpacks it");
        return;
    };
    let mut told = Vec::new();
    for kind in &KINDS {
        let path = dir.join(kind.name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(above_a_note(kind, Path::new(kind.name), &text), Vec::<String>::new());
        let (full, _) = with_examples(&text, kind);
        told.extend(above_a_note(kind, Path::new(kind.name), &full));
    }
    let first_lines: Vec<&str> = told.iter().filter_map(|one| one.lines().next()).collect();
    let expected = [
        // A heading above words that only show what may stand there.
        "ups.conf:22:2: UPS upsname has neither driver nor port",
        // Slips of those who wrote the samples: NUT would listen on port 17957, and not show that UPS.
        "upsd.conf:58:20: \"83493\" is no port",
        "hosts.conf:29:70: a '#' inside quotes needs a backslash",
    ];
    assert_eq!(first_lines, expected, "{}", told.join("\n"));
}
