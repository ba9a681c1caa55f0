//! The lists of `tests/traces/`, each played again; and how they are read.

use super::properties::{folder, keeps_all_promises};
use super::trace::{Expected, HostIs, MAX_HAPPENINGS, MAX_HOSTS, MAX_LINE, MAX_TEXT, Trace};
use proptest::prelude::*;

/// All files of the folder: name and text.
fn stored() -> Vec<(String, String)> {
    let mut stored = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        stored.push((name, std::fs::read_to_string(&path).unwrap()));
    }
    stored.sort();
    stored
}

#[test]
fn every_stored_list_keeps_all_promises_and_ends_as_it_must() {
    let mut wrong = Vec::new();
    let (mut played, mut told) = (0, 0);
    for (name, text) in stored() {
        if name == "README.md" {
            continue;
        }
        assert!(name.ends_with(".trace"), "{name} is no trace, and would never be played");
        let trace = Trace::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!trace.about.is_empty(), "{name} does not say why it is there");
        assert_eq!(
            Trace::parse(&trace.to_string()).as_ref(),
            Ok(&trace),
            "{name} is not written as it is read"
        );
        played += 1;
        let tells = |expected: &Expected| {
            matches!(expected, Expected::Host(_, HostIs::Told(_) | HostIs::ToldNothing))
        };
        told += usize::from(trace.expected.iter().any(tells));
        if let Err(how) = keeps_all_promises(&trace) {
            wrong.push(format!("{name}: {how}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(
        played >= 31 && told >= 27,
        "{played} lists, {told} of which say all that is told: some are lost"
    );
}

#[test]
fn what_is_wrong_with_a_list_is_told_with_its_line() {
    let small = "# x\n[file a]\nMONITOR u@h 1 pri pp primary\n[events]\n0 host h starts a\n";
    assert!(Trace::parse(&format!("{small}1 end\n")).is_ok());
    for (line, text, expected) in [
        ("6", "", "have no end"),
        ("6", "1 ups u@h sings\n1 end\n", "nobody knows"),
        ("6", "1 ups u says OL\n1 end\n", "nobody knows"),
        ("6", "1 ups u@h@h says OL\n1 end\n", "nobody knows"),
        ("6", "1 ups u@h refuses SOMETHING\n1 end\n", "nobody knows"),
        ("6", "1 server h sideways\n1 end\n", "nobody knows"),
        ("6", "1 host h command ends 256\n1 end\n", "nobody knows"),
        ("6", "x end\n", "the time is none"),
        ("6", "1.0001 end\n", "the time is none"),
        ("6", "-1 end\n", "the time is none"),
        ("6", "99999999 end\n", "beyond"),
        ("7", "2 host h ordered\n1 end\n", "goes back"),
        ("6", "1 host h reloads b\n1 end\n", "b, which is not there"),
        ("6", "1 host h starts a\n1 end\n", "starts twice"),
        ("6", "1 host g ordered\n1 end\n", "has not started"),
        ("7", "1 end\n2 end\n", "after the end"),
        ("7", "1 end\n[else]\n", "no such section"),
        ("7", "1 end\n[file a]\n", "is there already"),
        ("8", "1 end\n[ends]\nhost h is happy\n", "nobody knows"),
        ("8", "1 end\n[ends]\nups u@h logins many\n", "no number"),
    ] {
        let error = Trace::parse(&format!("{small}{text}")).unwrap_err().to_string();
        let line = if expected == "have no end" { "line 5: " } else { &format!("line {line}: ") };
        assert!(error.starts_with(line) && error.contains(expected), "{text}: {error}");
    }
    assert_eq!(Trace::parse("0 end\n").unwrap_err().to_string(), "line 1: it stands in no section");
}

#[test]
fn a_list_without_end_is_not_read() {
    let events = |count: usize, what: &str| format!("[file a]\n[events]\n{}1 end\n", what.repeat(count));
    let happens = "0 ups u@h says OL\n";
    assert!(Trace::parse(&events(MAX_HAPPENINGS, happens)).is_ok());
    assert!(Trace::parse(&events(MAX_HAPPENINGS + 1, happens)).unwrap_err().what.contains("too much"));
    assert!(Trace::parse(&"#\n".repeat(MAX_TEXT / 2 + 1)).unwrap_err().what.contains("longer"));
    let long = format!("0 ups u@h says {}\n", "X".repeat(MAX_LINE));
    assert!(Trace::parse(&events(1, &long)).unwrap_err().what.contains("longer"));
    let hosts: String = (0..=MAX_HOSTS).map(|nth| format!("0 host h{nth} starts a\n")).collect();
    assert!(Trace::parse(&events(1, &hosts)).unwrap_err().what.contains("too many hosts"));
    let files: String = (0..1000).map(|nth| format!("[file f{nth}]\n")).collect();
    assert!(Trace::parse(&files).unwrap_err().what.contains("too many"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_stumble(
        lines in prop::collection::vec(
            prop_oneof![
                Just("[events]".to_owned()),
                Just("[ends]".to_owned()),
                Just("[file a]".to_owned()),
                "[0-9.]{1,5} (ups|server|host) [a-z@]{1,4} (says|starts|sleeps|up|command|alarm) ?[A-Za-z0-9. ]{0,6}",
                "(host|ups) [a-z@]{1,3} (is|has|told|says) [a-z]{0,8}",
                ".{0,20}",
            ],
            0..12,
        ),
    ) {
        if let Ok(trace) = Trace::parse(&lines.join("\n")) {
            prop_assert_eq!(Trace::parse(&trace.to_string()), Ok(trace));
        }
    }
}
