//! What `hosts.conf` says, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read};
use proptest::prelude::*;

#[test]
fn every_row_is_read() {
    every_example_is_understood(parse, TABLE, "");
}

#[test]
fn what_the_pages_show() {
    let conf = good(
        parse,
        "MONITOR apc@localhost \"Server room\"\nMONITOR b Bare\nCUSTOM_TEMPLATE_LIST l.html\nCUSTOM_TEMPLATE_SINGLE s.html\nCUSTOM_TEMPLATE_SINGLE t.html\n",
    );
    let shown =
        |system: &str, description: &str| Shown { system: system.into(), description: description.into() };
    assert_eq!(conf.monitors, [shown("apc@localhost", "Server room"), shown("b", "Bare")]);
    assert_eq!(conf.list_templates, ["l.html"]);
    assert_eq!(conf.single_templates, ["s.html", "t.html"]);
}

#[test]
fn lines_that_do_not_read_as_they_are_used() {
    let cases: [(&str, usize, &[&str]); 5] = [
        ("MONITOR a", 0, &["1:1 warning MONITOR takes 2 words, found 1"]),
        ("MONITOR a two words", 1, &["1:15 warning MONITOR takes 2 words, found 3"]),
        (
            "MONITOR a@ x",
            0,
            &[
                "1:9 warning \"a@\" names no UPS: got the @ separator and then an empty hostname[:port] string",
            ],
        ),
        ("monitor a x", 0, &["1:1 warning unknown directive \"monitor\""]),
        ("MONITOR a x\nMONITOR a y", 2, &["2:9 note \"a\" stands in the file already"]),
    ];
    for (text, kept, expected) in cases {
        let (conf, found) = bad(parse, text);
        assert_eq!(
            (conf.monitors.len(), &found[..]),
            (kept, &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }
}
