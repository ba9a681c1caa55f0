//! Words with their places, and what a broken line costs.

use super::*;
use crate::testing::shown;
use proptest::prelude::*;

static PLAIN: Format = Format {
    table: &[Row::new("KNOWN", "", "", "", "", ""), Row::new("OTHER", "", "", "", "", "").any_case()],
    sections: false,
    secrets: None,
    mends: None,
};

static SECTIONS: Format = Format { table: &[], sections: true, secrets: None, mends: None };

type Lines = Vec<Vec<(usize, usize, String)>>;

fn read(format: &'static Format, text: &[u8]) -> (Lines, Vec<crate::Diagnostic>) {
    let (mut reader, mut report) = Reader::new(Source { path: "t", text }, format);
    let mut lines = Vec::new();
    while let Some(directive) = reader.next(&mut report) {
        assert_eq!(directive.words.first().map(|word| word.at), Some(directive.at));
        lines.push(
            directive.words.iter().map(|word| (word.at.line, word.at.column, word.text.clone())).collect(),
        );
    }
    (lines, report.finish())
}

fn words(text: &str) -> Vec<Vec<String>> {
    let (lines, found) = read(&PLAIN, text.as_bytes());
    assert!(found.is_empty(), "{}", shown(&found));
    lines.into_iter().map(|line| line.into_iter().map(|(_, _, text)| text).collect()).collect()
}

#[test]
fn each_word_has_its_line_and_column() {
    let (lines, _) = read(&PLAIN, b"# top\n\n  a  \"b c\"=d#x\n\tlast");
    let expected: Lines = vec![
        vec![(3, 3, "a".into()), (3, 6, "b c".into()), (3, 11, "=".into()), (3, 12, "d".into())],
        vec![(4, 2, "last".into())],
    ];
    assert_eq!(lines, expected);
}

#[test]
fn words_are_those_of_nut() {
    let cases: [(&str, &[&[&str]]); 9] = [
        ("a=b\n", &[&["a", "=", "b"]]),
        ("a b\\\nc d\n", &[&["a", "bc", "d"]]),
        ("\"a\"b\n", &[&["a", "b"]]),
        ("a\\#b \"c\\\"d\"\r\nx\r\n", &[&["a#b", "c\"d"], &["x"]]),
        ("a \"\" b\n", &[&["a", "", "b"]]),
        ("single", &[&["single"]]),
        ("[head]", &[&["[head]"]]),
        ("\u{feff}a b\n", &[&["a", "b"]]),
        ("a b\\", &[&["a", "b"]]),
    ];
    for (text, expected) in cases {
        assert_eq!(words(text), expected, "{text:?}");
    }
    for nothing in ["", "\n\n", "  # only\n", "\u{feff}", "#"] {
        assert!(words(nothing).is_empty(), "{nothing:?}");
    }
}

/// What is read of a text, and the places and texts of what is told.
fn outcome(format: &'static Format, text: &str) -> (Vec<String>, Vec<String>) {
    let (lines, found) = read(format, text.as_bytes());
    let joined = |line: Vec<(usize, usize, String)>| {
        line.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join("|")
    };
    (
        lines.into_iter().map(joined).collect(),
        found.iter().map(|one| format!("{}:{} {}", one.at.line, one.at.column, one.what)).collect(),
    )
}

const HASH: &str = "a '#' inside quotes needs a backslash";
const OPEN: &str = "the quote that opens here is not closed";
const LATER: &str = "the quote that opens here is closed on a later line";

#[test]
fn a_bare_hash_in_quotes_costs_the_line_and_the_rest_is_a_new_one() {
    let (lines, found) = outcome(&PLAIN, "a \"b#c\" d\ne\n");
    assert_eq!(lines, ["c\"|d", "e"]);
    assert_eq!(found, [format!("1:5 {HASH}")]);
}

#[test]
fn a_quote_left_open_costs_its_line_only() {
    // Up to a directive, a comment, the end.
    for below in ["KNOWN x\n", "\n\nKNOWN x\n", "other x\nKNOWN y\n", "# it's\nf g\n", "f g\nh", ""] {
        let (lines, found) = outcome(&PLAIN, &format!("a b\nc \"d\n{below}"));
        let (alone, _) = outcome(&PLAIN, below);
        assert_eq!(lines.split_first(), Some((&"a|b".to_owned(), &*alone)), "{below:?}");
        assert_eq!(found, [format!("2:3 {OPEN}")], "{below:?}");
    }
    let (lines, found) = outcome(&SECTIONS, "a = \"b\n[c]\nd = \"e\nf=g\nh = \"i\"\n");
    assert_eq!(lines, ["[c]", "f|=|g", "h|=|i"]);
    assert_eq!(found, [format!("1:5 {OPEN}"), format!("3:5 {OPEN}")]);
}

#[test]
fn a_text_over_several_lines_is_one_word_and_worth_a_note() {
    let (lines, found) = outcome(&PLAIN, "a \"b\nc\" d\n");
    assert_eq!(lines, ["a|bc|d"]);
    assert_eq!(found, [format!("1:3 {LATER}")]);
    let (lines, found) = outcome(&PLAIN, "a \"b\\\nc\" d\n");
    assert_eq!((lines, found.len()), (vec!["a|bc|d".to_owned()], 0));
}

#[test]
fn a_last_line_without_a_line_end_counts() {
    assert_eq!(words("a b\nlone"), [vec!["a", "b"], vec!["lone"]]);
    assert_eq!(words("lone\\"), [vec!["lone"]]);
}

#[test]
fn words_that_are_not_what_they_look_like_are_told() {
    let many = "w ".repeat(40);
    let long = format!("a {}", "x".repeat(600));
    let cases = [
        ("caf\u{e9} x", "1:1 a word has characters outside ASCII"),
        ("a \"b\tc\"", "1:3 a word has characters outside ASCII"),
        ("a \\\n  b", "1:3 the backslash at the end of the line begins an empty word"),
        (many.as_str(), "1:1 the line has more than 32 words"),
        (long.as_str(), "1:3 a word is longer than 512 bytes"),
    ];
    for (text, expected) in cases {
        assert_eq!(outcome(&PLAIN, text).1, [expected], "{text:?}");
    }
}

#[test]
fn a_line_may_have_any_length_and_its_words_are_cut_as_nut_cuts_them() {
    let long = "x".repeat(200_000);
    let cut = "x".repeat(MAX_WORD);
    let blanks = " ".repeat(200_000);
    let cases = [
        (format!("{long} b"), format!("{cut}|b"), 1),
        (format!("b \"{long}\" d"), format!("b|{cut}|d"), 1),
        (format!("b # {long}"), "b".to_owned(), 0),
        (format!("b{blanks}d{blanks}"), "b|d".to_owned(), 0),
        ("w ".repeat(100_000), ["w"; MAX_WORDS].join("|"), 1),
    ];
    for (line, expected, told) in cases {
        let (lines, found) = outcome(&PLAIN, &format!("a\n{line}\nc\n"));
        assert_eq!((lines, found.len()), (vec!["a".to_owned(), expected, "c".to_owned()], told), "{found:?}");
    }
    // An open quote costs its line, however long.
    let (lines, found) = outcome(&PLAIN, &format!("a\nb \"{long}\nKNOWN c\n"));
    assert_eq!((lines, found), (vec!["a".to_owned(), "KNOWN|c".to_owned()], vec![format!("2:3 {OPEN}")]));
}

#[test]
fn a_file_beyond_the_limits_is_read_up_to_them_and_that_is_an_error() {
    let many = "a\n".repeat(MAX_DIRECTIVES + 10);
    let (lines, found) = read(&PLAIN, many.as_bytes());
    assert_eq!(lines.len(), MAX_DIRECTIVES);
    assert_eq!(found.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Error]);
    let huge = format!("a b\n{}\nlast c\n", "#\n".repeat(MAX_FILE / 2));
    let (lines, found) = read(&PLAIN, huge.as_bytes());
    assert_eq!(lines.len(), 1);
    assert_eq!(found.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Error]);
}

#[test]
fn findings_without_end_are_counted_not_kept() {
    let text = "a \"b#\n".repeat(5000);
    let (_, found) = read(&PLAIN, text.as_bytes());
    assert_eq!(found.len(), crate::report::MAX_FINDINGS + 1);
    assert_eq!(
        found.last().map(|one| one.what.as_str()),
        Some("4800 more findings like these are not shown")
    );
}

#[test]
fn a_quote_left_open_far_above_the_end_costs_its_line_only() {
    let text = format!("a \"b\n{}", "c\n".repeat(60_000));
    let (lines, found) = outcome(&PLAIN, &text);
    assert_eq!((lines.len(), found), (60_000, vec![format!("1:3 {OPEN}")]));
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..400)) {
        for format in [&PLAIN, &SECTIONS] {
            let (lines, _) = read(format, &text);
            prop_assert!(lines.iter().all(|line| (1..=MAX_WORDS).contains(&line.len())));
        }
    }

    #[test]
    fn no_text_near_to_a_file_makes_it_stumble(text in "([a-cA-Z\"#\\\\= \\n\\[\\]é]|KNOWN ){0,120}") {
        let _ = read(&PLAIN, text.as_bytes());
        let _ = read(&SECTIONS, text.as_bytes());
    }

    #[test]
    fn without_faults_the_words_are_the_tokenizers(lines in prop::collection::vec(prop::collection::vec("[a-z]{0,3}=?[a-z]{1,3}|=|\"[a-z =]{0,8}\"", 1..6), 0..20)) {
        let text: String = lines.iter().map(|line| line.join(" ") + "\n").collect();
        let mut tokenizer = Tokenizer::default();
        let mut expected: Vec<Vec<String>> = Vec::new();
        for byte in text.bytes() {
            if tokenizer.push(byte) == Some(Outcome::Line) {
                expected.push(tokenizer.words().iter().map(str::to_owned).collect());
            }
        }
        prop_assert_eq!(words(&text), expected);
    }
}
