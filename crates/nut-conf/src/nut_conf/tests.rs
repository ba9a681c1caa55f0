//! Values as a shell takes them, and what is said of lines that are none.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read};
use proptest::prelude::*;

#[test]
fn every_row_is_read() {
    every_example_is_understood(parse, TABLE, "");
}

#[test]
fn values_as_a_shell_takes_them() {
    let cases = [
        ("A=b", "b"),
        ("A=", ""),
        ("  A=b # c", "b"),
        ("export A=b", "b"),
        ("A=\"b c\"", "b c"),
        ("A='b \"c\" \\d'", "b \"c\" \\d"),
        ("A=\"b \\\"c\\\" \\d \\\\\"", "b \"c\" \\d \\"),
        ("A=b\\ c", "b c"),
        ("A=b'c'\"d\"", "bcd"),
        ("A=b#c", "b#c"),
        ("A=\"b # c\"", "b # c"),
        ("A=b;", "b"),
        ("A=b\r", "b"),
        ("A=\"b\nc\"", "b\nc"),
        ("A=\"b\\\nc\"", "bc"),
        ("A=-D\\\nD", "-DD"),
    ];
    for (text, expected) in cases {
        for end in ["", "\n", "\nB=x\n"] {
            let conf = good(parse, &format!("# top\n\n{text}{end}"));
            assert_eq!(conf.variables.first(), Some(&("A".to_owned(), expected.to_owned())), "{text:?}");
            assert_eq!(conf.variables.len(), if end.len() > 1 { 2 } else { 1 }, "{text:?}");
        }
    }
}

#[test]
fn a_value_without_end_costs_its_line() {
    let long = format!("A='{}'\nB=x\n", "y".repeat(MAX_VALUE));
    let (conf, found) = bad(parse, &long);
    assert_eq!(conf.variables, [("B".to_owned(), "x".to_owned())]);
    assert_eq!(found, ["1:1 warning the value is longer than 4096 bytes"]);
    let (conf, found) = bad(parse, "A=\"\\\n".repeat(2001));
    assert_eq!((conf.variables.len(), found.len()), (1, crate::report::MAX_FINDINGS + 1));
}

#[test]
fn modes() {
    let cases = [
        ("", Mode::None, 0),
        ("MODE=none", Mode::None, 0),
        ("MODE=standalone", Mode::Standalone, 0),
        ("MODE=\"netserver\"", Mode::NetServer, 0),
        ("MODE=netclient", Mode::NetClient, 0),
        ("MODE=standalone\nMODE=netclient", Mode::NetClient, 1),
        ("MODE=Standalone", Mode::None, 1),
        ("MODE=manual", Mode::None, 1),
        ("MODE = standalone", Mode::None, 1),
    ];
    for (text, expected, told) in cases {
        let (conf, found) = bad(parse, text);
        assert_eq!((conf.mode, found.len()), (expected, told), "{text}");
    }
}

#[test]
fn the_time_to_wait_for_the_power_to_go() {
    assert_eq!(good(parse, "POWEROFF_WAIT=15m\n").power_off_wait.as_deref(), Some("15m"));
    assert_eq!(good(parse, "POWEROFF_WAIT=\n").power_off_wait, None);
}

#[test]
fn lines_that_do_not_read_as_they_are_used() {
    let cases = [
        ("A = b", "1:1 warning a blank stands beside the equals sign", 1),
        ("A= b", "1:1 warning a blank stands beside the equals sign", 1),
        ("A=b c", "1:1 warning words stand behind the value: a shell takes them for a command", 1),
        ("if true", "1:1 warning the line sets no variable", 1),
        (". /etc/other", "1:1 warning the line sets no variable", 1),
        ("A=\"b", "1:1 warning a quote is not closed", 1),
        ("  A='b", "1:3 warning a quote is not closed", 1),
        ("A=$B", "1:1 warning the value of A has a $ or ` that a shell would replace", 2),
        ("A=\"`b`\"", "1:1 warning the value of A has a $ or ` that a shell would replace", 2),
        ("MOED=none", "1:1 warning unknown variable \"MOED\"", 2),
    ];
    for (text, expected, kept) in cases {
        let (conf, found) = bad(parse, format!("{text}\nLAST=z"));
        assert_eq!((conf.variables.len(), found), (kept, vec![expected.to_owned()]), "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "([A-C=\"' #\\\\;$\n]|MODE=){0,60}") {
        let _ = read(parse, &text);
    }

    #[test]
    fn a_quoted_value_is_read_back(value in "[ -~\n]{0,40}") {
        let quoted = value.replace('\'', "'\\''");
        let (conf, found) = read(parse, format!("A='{quoted}'\n"));
        prop_assert_eq!(conf.variables, vec![("A".to_owned(), value)]);
        prop_assert!(found.is_empty());
    }
}
