//! What `upssched.conf` says, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read};
use proptest::prelude::*;

const PRELUDE: &str = "CMDSCRIPT /c\nPIPEFN /p\nLOCKFN /l\n";

#[test]
fn every_row_is_read() {
    every_example_is_understood(parse, TABLE, PRELUDE);
}

fn orders(text: &str) -> Vec<Order> {
    good(parse, &format!("{PRELUDE}{text}\n")).rules.into_iter().map(|rule| rule.order).collect()
}

#[test]
fn every_order() {
    let name = || "t".to_owned();
    let after = Duration::from_secs(30);
    let cases = [
        ("AT ONBATT * START-TIMER t 30", Order::Start { name: name(), after }),
        ("AT ONBATT * START-TIMER t 0", Order::Start { name: name(), after: Duration::ZERO }),
        ("AT ONBATT * START-TIMER-SHARED t 30", Order::StartShared { name: name(), after }),
        ("AT online u@h CANCEL-TIMER t", Order::Cancel { name: name(), otherwise: None }),
        ("AT ONLINE u@h CANCEL-TIMER t gone", Order::Cancel { name: name(), otherwise: Some("gone".into()) }),
        ("AT ONLINE u@h CANCEL-TIMER-MATCHED t", Order::CancelMatched { name: name(), otherwise: None }),
        ("AT SHUTDOWN * EXECUTE \"two words\"", Order::Execute { command: "two words".into() }),
    ];
    for (line, expected) in cases {
        assert_eq!(orders(line), [expected], "{line}");
    }
}

#[test]
fn an_at_line_sees_only_what_stands_above_it() {
    let conf = good(
        parse,
        &format!(
            "{PRELUDE}AT ONBATT a@h EXECUTE x\nCMDSCRIPT /d -v\nPIPEFN /q\nAT ONBATT * EXECUTE y\nLOCKFN /m\nDEBUG_MIN 3\n"
        ),
    );
    let [first, second] = &conf.rules[..] else { panic!("{conf:?}") };
    assert_eq!(
        (&first.script[..], first.pipe.as_str(), first.lock.as_str()),
        (&["/c".to_owned()][..], "/p", "/l")
    );
    assert_eq!(
        (&second.script[..], second.pipe.as_str(), second.lock.as_str()),
        (&["/d".to_owned(), "-v".to_owned()][..], "/q", "/l")
    );
    assert_eq!((first.notice.as_str(), first.ups.as_str(), second.ups.as_str()), ("ONBATT", "a@h", "*"));
    assert_eq!(first.at, crate::Span { line: 4, column: 1 });
    assert_eq!(
        (conf.pipe.as_deref(), conf.lock.as_deref(), conf.debug_min),
        (Some("/q"), Some("/m"), Some(3))
    );
    assert_eq!((conf.script.len(), conf.missing), (2, None));
}

#[test]
fn the_first_at_that_lacks_a_setting_ends_it() {
    let cases = [
        ("", Missing::Script, "CMDSCRIPT"),
        ("PIPEFN /p\nLOCKFN /l\n", Missing::Script, "CMDSCRIPT"),
        ("CMDSCRIPT /c\nLOCKFN /l\n", Missing::Pipe, "PIPEFN"),
        ("CMDSCRIPT /c\nPIPEFN /p\n", Missing::Lock, "LOCKFN"),
    ];
    for (above, missing, name) in cases {
        let (conf, found) =
            bad(parse, format!("{above}AT ONBATT * EXECUTE x\n{PRELUDE}AT ONBATT * EXECUTE y\n"));
        let line = above.lines().count() + 1;
        assert_eq!((conf.missing, conf.rules.len()), (Some(missing), 0), "{above}");
        assert_eq!(
            found,
            [format!("{line}:1 error {name} must be set before any ATs in the config file!")],
            "{above}"
        );
        assert_eq!(conf.pipe.as_deref(), Some("/p"));
    }
    let (conf, _) = bad(parse, "AT ONBATT * START-TIMER x\n");
    assert_eq!(conf.missing, Some(Missing::Script), "a line that is short of words only in the end");
}

#[test]
fn lines_that_cannot_be_used() {
    let cases = [
        ("AT ONBATT * START-TIMER", "4:1 warning AT takes 4 words, found 3"),
        ("AT ONBATT * START-TIMER t", "4:13 warning START-TIMER needs seconds behind the timer's name"),
        ("AT ONBATT * START-TIMER t soon", "4:27 warning a timer takes seconds, found \"soon\""),
        ("AT ONBATT * START-TIMER t -1", "4:27 warning a timer cannot take \"-1\" seconds"),
        ("AT ONBATT * START-TIMER t 9999999999", "4:27 warning a timer cannot take \"9999999999\" seconds"),
        ("AT ONBATT * EXECUTE \"\"", "4:21 warning Empty EXECUTE command argument"),
        ("AT ONBATT * start-timer t 3", "4:13 warning Invalid command: \"start-timer\""),
        ("AT ONBATT * START-TIMER-SHUTDOWN t 3", "4:13 warning Invalid command: \"START-TIMER-SHUTDOWN\""),
        ("at ONBATT * EXECUTE x", "4:1 warning unknown directive \"at\""),
        ("CMDSCRIPT", "4:1 warning CMDSCRIPT takes 1 word, found 0"),
        ("PIPEFN \"\"", "4:8 warning PIPEFN is empty"),
    ];
    for (line, expected) in cases {
        let (conf, found) = bad(parse, format!("{PRELUDE}{line}\nAT ONLINE * EXECUTE x\n"));
        assert_eq!((conf.rules.len(), found), (1, vec![expected.to_owned()]), "{line}");
    }
}

#[test]
fn two_scripts_for_the_timers_of_one_process_are_told() {
    let above = format!("{PRELUDE}AT ONBATT * START-TIMER a 5\nCMDSCRIPT /d\n");
    let (conf, found) = bad(parse, format!("{above}AT ONLINE * CANCEL-TIMER a b\n"));
    assert_eq!(conf.rules.len(), 2);
    assert_eq!(found, ["6:13 warning CMDSCRIPT is another one than for the timers above"]);
    // For what is run at once, and where there is another process, it is as it should be.
    good(parse, &format!("{above}AT ONLINE * EXECUTE b\n"));
    good(parse, &format!("{above}PIPEFN /q\nAT ONBATT * START-TIMER a 5\n"));
}

#[test]
fn places_that_cannot_be_are_told_and_cost_only_the_timers() {
    let long = format!("/{}", "x".repeat(107));
    let (conf, found) =
        bad(parse, format!("CMDSCRIPT /c\nPIPEFN {long}\nLOCKFN /l\nAT ONBATT * EXECUTE x\n"));
    assert_eq!((conf.rules.len(), conf.missing, conf.pipe), (1, None, Some(long)));
    assert_eq!(found, ["2:8 error the path of PIPEFN is longer than 107 bytes"]);
    assert!(good(parse, &format!("PIPEFN /{}\n", "x".repeat(106))).pipe.is_some());
    for (text, place) in [("PIPEFN /p\nLOCKFN /p\n", "2:8"), ("LOCKFN /p\nPIPEFN /p\n", "2:8")] {
        let (conf, found) = bad(parse, text);
        assert_eq!((conf.pipe.as_deref(), conf.lock.as_deref()), (Some("/p"), Some("/p")));
        assert_eq!(found, [format!("{place} error PIPEFN and LOCKFN are the same file")]);
    }
}

#[test]
fn lines_that_do_not_read_as_they_are_used() {
    let cases = [
        ("AT ONBATT * START-TIMER t 30s", "4:27 warning \"30s\" is no number; 30 is"),
        ("AT ONBATT * EXECUTE a b", "4:23 warning EXECUTE takes 1 word, found 2"),
        ("AT ONBATT * CANCEL-TIMER a b c", "4:30 warning AT takes 5 words, found 6"),
        ("AT ONBAT * EXECUTE a", "4:4 warning \"ONBAT\" is no type of notice"),
        ("AT * * EXECUTE a", "4:4 warning \"*\" is no type of notice"),
        ("AT ONBATT u@* EXECUTE a", "4:11 warning \"u@*\" has a * in it"),
        (
            "CMDSCRIPT \"/a b\"\nAT ONBATT * EXECUTE a",
            "4:11 note the program of CMDSCRIPT has a blank in its name",
        ),
    ];
    for (line, expected) in cases {
        let (conf, found) = bad(parse, format!("{PRELUDE}{line}\n"));
        assert_eq!((conf.rules.len(), found), (1, vec![expected.to_owned()]), "{line}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "((AT|CMDSCRIPT|PIPEFN|LOCKFN) (ONBATT|ONLINE|\\*)? ?\\*? ?(START-TIMER|CANCEL-TIMER|EXECUTE)?[ a-z0-9\"#\\\\-]{0,20}\n){0,8}") {
        let (conf, _) = read(parse, &text);
        prop_assert!(conf.missing.is_none() || conf.rules.len() < 8);
    }

    #[test]
    fn a_broken_line_costs_itself(at in 0usize..6, broken in "AT \\* \\* START-TIMER x|PIPEFN|\"|CMDSCRIPT \"/x|LOCKFN \"#\"|NO|é") {
        let lines = ["CMDSCRIPT /c", "PIPEFN \"/p\"", "# no \"", "LOCKFN /l", "AT ONBATT * START-TIMER \"t\" 3", "AT ONLINE * EXECUTE \"x y\""];
        let (mut expected, _) = read(parse, lines.join("\n"));
        let mut with: Vec<&str> = lines.to_vec();
        // An AT above the three settings costs more: it ends the program.
        with.insert(if broken.starts_with("AT") { at.max(4) } else { at }, &broken);
        let (mut conf, found) = read(parse, with.join("\n"));
        for rule in expected.rules.iter_mut().chain(&mut conf.rules) {
            rule.at = crate::Span::default();
        }
        prop_assert_eq!(conf, expected, "{}", with.join("\n"));
        prop_assert!(!found.is_empty());
    }
}
