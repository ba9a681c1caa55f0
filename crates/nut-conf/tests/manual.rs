//! The pages of the configuration files: their directives are the parser's, and their examples are read without a word.

// `cfg(test)` is always true here; it tells clippy that all of this is tests.
#![cfg(test)]

use nut_conf::directives::{Row, Scope};
use nut_conf::{Diagnostic, Severity, Source};
use nut_drill::manual::{
    examples, keep, literal, marked_examples, page, pages, placeholders, prose, sentence,
};
use std::fmt::Write as _;

/// A kind of file: its name, its directives, its parser.
type Kind = (&'static str, &'static [Row], fn(Source<'_>) -> Vec<Diagnostic>);

macro_rules! kinds {
    ($($name:literal $module:ident),* $(,)?) => {
        [$(($name, nut_conf::$module::TABLE, |source| nut_conf::$module::parse(source).1)),*]
    };
}

const KINDS: [Kind; 7] = kinds![
    "ups.conf" ups_conf,
    "upsd.conf" upsd_conf,
    "upsd.users" upsd_users,
    "upsmon.conf" upsmon_conf,
    "upssched.conf" upssched_conf,
    "hosts.conf" hosts_conf,
    "nut.conf" nut_conf,
];

/// `none: required` as `none (required)`: behind "Default: " a second colon reads badly.
fn in_brackets(text: &str) -> String {
    match text.split_once(": ") {
        Some((value, why)) => format!("{value} ({why})"),
        None => text.to_owned(),
    }
}

/// One directive as an entry of a list.
fn entry(row: &Row) -> String {
    let mut out = format!(".It Ic \"{}\"", placeholders(row.name));
    // A variable of the shell: no blank beside the equals sign.
    let assigned = row.write.starts_with(&format!("{}=", row.name));
    match (assigned, row.words) {
        (true, words) => out = format!(".It Ic \"{}=\" Ns No \"{}\"", literal(row.name), alternatives(words)),
        (false, "") => {}
        (false, words) => {
            let _ = write!(out, " No \"{}\"", alternatives(words));
        }
    }
    out.push('\n');
    let mut say = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    say(&sentence(row.sets));
    if let Some(why) = row.idle {
        say(&sentence(&format!("known, but without effect: {why}")));
    }
    say(&prose(&format!("Default: {}.", in_brackets(row.default))));
    match row.range {
        Some((least, most)) if least < -1 => say(&prose(&format!("At most {most}."))),
        Some((least, most)) => say(&prose(&format!("From {least} to {most}."))),
        None => {}
    }
    match row.scope {
        Scope::Any => {}
        Scope::Global => say("Stands before the first section."),
        Scope::Section => say("Stands in a section."),
    }
    if row.repeats {
        say("May stand several times.");
    }
    if row.any_case {
        say("Its name may be written in any case.");
    }
    if !row.without.is_empty() {
        say(&sentence(&format!("where it cannot be used, {}", row.without)));
    }
    say(&format!("Since NUT {}.", row.since));
    say(&format!(".Dl \"{}\"", literal(row.write)));
    out
}

/// Words of a directive, `true|false` with room beside the bar.
fn alternatives(words: &str) -> String {
    placeholders(words).replace('|', " | ")
}

#[test]
fn the_manual_has_every_directive_as_the_parser_has_it() {
    for (name, table, _) in KINDS {
        let entries: String = table.iter().map(entry).collect();
        let block = format!(".Bl -tag -width 4n\n{entries}.El\n");
        keep(&format!("{name}.5"), "directives", &block, "nut-conf")
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn examples_of_the_manual_are_read_without_a_word() {
    for (name, text) in pages().unwrap_or_else(|error| panic!("{error}")) {
        assert_eq!(examples(&text).len(), marked_examples(&text), "{name}: an example is a literal text");
        for (kind, example) in examples(&text) {
            let (_, _, parse) = KINDS.iter().find(|(known, ..)| *known == kind).expect("a kind of file");
            let found = parse(Source { path: &kind, text: example.as_bytes() });
            let told: Vec<String> = found
                .iter()
                .filter(|one| one.severity >= Severity::Warning)
                .map(ToString::to_string)
                .collect();
            assert!(told.is_empty(), "{name}:\n{example}\n{}", told.join("\n"));
        }
    }
    for (name, ..) in KINDS {
        let text = page(&format!("{name}.5")).unwrap_or_else(|error| panic!("{error}"));
        let own = examples(&text).into_iter().filter(|(kind, _)| *kind == name).count();
        assert!(own > 0, "{name}.5 has no example");
    }
}

#[test]
fn directives_that_the_manual_speaks_of_exist() {
    let known = |word: &str| KINDS.iter().any(|(_, table, _)| table.iter().any(|row| row.is(word)));
    // What stands behind AT in upssched.conf, and the words of the protocol, are no directives of their own.
    let others = ["START-TIMER", "START-TIMER-SHARED", "CANCEL-TIMER", "CANCEL-TIMER-MATCHED", "EXECUTE"];
    for (name, text) in pages().unwrap_or_else(|error| panic!("{error}")) {
        for line in text.lines().filter_map(|line| line.strip_prefix(".Ic ")) {
            let word = line.trim_matches('"').split(' ').next().unwrap().replace("\\-", "-");
            let is_directive =
                word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase() || b"_-".contains(&byte));
            assert!(!is_directive || known(&word) || others.contains(&word.as_str()), "{name}: {word}");
        }
    }
}
