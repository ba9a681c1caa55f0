//! What `upsmon.conf` says, and what is said of it.

use super::*;
use crate::testing::{bad, every_example_is_understood, good, read, shown};
use proptest::prelude::*;

const fn channels(syslog: bool, wall: bool, exec: bool) -> Channels {
    Channels { syslog, wall, exec }
}

/// The values alone, wherever they stand.
fn values(conf: UpsmonConf) -> UpsmonConf {
    UpsmonConf { places: Places::default(), ..conf }
}

#[test]
fn every_row_is_read() {
    every_example_is_understood(parse, TABLE, "");
}

#[test]
fn a_monitor_line_has_five_words() {
    let conf =
        good(parse, "MONITOR nicole@central:3494 2 masteruser secret master\nMONITOR u 0 a \"\" Secondary\n");
    let [first, second] = &conf.monitors[..] else { panic!("{conf:?}") };
    assert_eq!(first.system, "nicole@central:3494");
    let named = first.target.as_ref().unwrap();
    assert_eq!((named.ups.as_str(), &*named.server.host, named.server.port), ("nicole", "central", 3494));
    assert_eq!((first.power_value, first.role), (PowerValue(2), Role::Primary));
    assert_eq!((first.user.as_str(), first.password.reveal()), ("masteruser", "secret"));
    assert_eq!(first.at, crate::Span { line: 1, column: 1 });
    assert_eq!(
        (second.target.as_ref().unwrap().to_string().as_str(), second.role),
        ("u@localhost", Role::Secondary)
    );
}

#[test]
fn monitor_lines_that_do_not_read_as_they_are_used() {
    let cases: [(&str, usize, &[&str]); 18] = [
        ("MONITOR u 1 user pass", 0, &["1:1 error MONITOR takes 5 words, found 4"]),
        ("MONITOR u 1 pass master", 0, &["1:1 error MONITOR takes 5 words, found 4"]),
        ("MONITOR u 1 user", 0, &["1:1 warning MONITOR takes 5 words, found 3"]),
        ("MONITOR", 0, &["1:1 warning MONITOR takes 5 words, found 0"]),
        ("MONITOR = u 1 user pass", 0, &["1:9 warning MONITOR takes no equals sign"]),
        (
            "MONITOR u@h:0 1 a b primary",
            1,
            &["1:9 warning \"u@h:0\" names no UPS: the port must be a number from 1 to 65535"],
        ),
        (
            "MONITOR u@h: 1 a b primary",
            1,
            &["1:9 warning \"u@h:\" names no UPS: the port must be a number from 1 to 65535"],
        ),
        (
            "MONITOR u@fe80::1 1 a b primary",
            1,
            &["1:9 warning \"u@fe80::1\" names no UPS: an IPv6 address needs brackets: ups@[::1]"],
        ),
        (
            "MONITOR u@::1 1 a b primary",
            1,
            &["1:9 warning \"u@::1\" names no UPS: an IPv6 address needs brackets: ups@[::1]"],
        ),
        ("MONITOR @h 1 a b primary", 1, &["1:9 warning \"@h\" names no UPS: got empty upsname string"]),
        (
            "MONITOR u:3493 1 a b primary",
            1,
            &["1:9 warning \"u:3493\" names no UPS: port specified, but not a hostname"],
        ),
        ("MONITOR u -1 a b primary", 0, &["1:11 warning the power value cannot be \"-1\""]),
        ("MONITOR u 4294967296 a b primary", 0, &["1:11 warning the power value cannot be \"4294967296\""]),
        ("MONITOR u abc a b primary", 1, &["1:11 warning the power value is no number"]),
        ("MONITOR u 1x a b primary", 1, &["1:11 warning the power value is no number"]),
        ("MONITOR u 1 a b primry", 1, &["1:17 warning \"primry\" is no role; did you mean primary?"]),
        ("MONITOR u 1 a my pass", 1, &["1:18 warning the fifth word is no role"]),
        ("MONITOR u 1 a b primary now", 1, &["1:25 warning MONITOR takes 5 words, found 6"]),
    ];
    for (line, kept, expected) in cases {
        let (conf, found) = bad(parse, line);
        assert_eq!(
            (conf.monitors.len(), &found[..]),
            (kept, &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{line}"
        );
    }
    // What names no UPS stays, with the reason.
    let (conf, _) =
        bad(parse, "MONITOR u@h:0 2 a b primary\nMONITOR u@h:0 1 a b primary\nMONITOR u@h 1 a b primary");
    assert_eq!(conf.monitors.iter().map(|line| line.target.is_ok()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(
        (conf.monitors[0].target.clone(), conf.monitors[0].power_value),
        (Err(TargetError::BadPort), PowerValue(2))
    );
    let (conf, _) = bad(parse, "MONITOR u abc a b nonsense");
    assert_eq!((conf.monitors[0].power_value, conf.monitors[0].role), (PowerValue(0), Role::Secondary));
}

#[test]
fn the_first_of_two_equal_systems_counts_and_two_spellings_are_two() {
    let (conf, found) =
        bad(parse, "MONITOR u@h 1 a b primary\nMONITOR u@h 2 a b primary\nMONITOR U@H:3493 1 a b primary\n");
    assert_eq!(conf.monitors.iter().map(|monitor| monitor.power_value.0).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(
        found,
        [
            "2:9 warning \"u@h\" is watched already",
            "3:9 warning \"U@H:3493\" is watched already, under another spelling"
        ]
    );
}

#[test]
fn numbers() {
    let text = "MINSUPPLIES 3\nPOLLFREQ 1\nPOLLFREQALERT 2\nDEADTIME 6\nHOSTSYNC 0\nFINALDELAY 4\nNOCOMMWARNTIME 8\n\
        RBWARNTIME 9\nPOLLFAIL_LOG_THROTTLE_MAX 0\nOFFDURATION -1\nOBLBDURATION -3\nOVERDURATION 7\nALARMCRITICAL 0\ndebug_min 2\n";
    let conf = good(parse, text);
    let expected = UpsmonConf {
        min_supplies: 3,
        poll_frequency: Duration::from_secs(1),
        poll_frequency_alert: Duration::from_secs(2),
        dead_time: Duration::from_secs(6),
        host_sync: Duration::ZERO,
        final_delay: Duration::from_secs(4),
        no_comm_warn_time: Duration::from_secs(8),
        replace_battery_warn_time: Duration::from_secs(9),
        poll_fail_log_throttle: 0,
        off_duration: None,
        low_battery_duration: Duration::ZERO,
        overload_duration: Some(Duration::from_secs(7)),
        alarm_critical: false,
        debug_min: Some(2),
        ..UpsmonConf::default()
    };
    assert_eq!(values(conf), expected);
}

#[test]
fn numbers_that_are_none() {
    let left_out = [
        ("POLLFREQ", "1:1 warning POLLFREQ takes 1 word, found 0"),
        ("POLLFREQ = 4", "1:10 warning POLLFREQ takes no equals sign"),
        ("POLLFREQ abc", "1:10 warning POLLFREQ takes a number, found \"abc\""),
        ("POLLFREQ 0", "1:10 warning POLLFREQ cannot be less than 1, found 0"),
        ("POLLFREQALERT -5", "1:15 warning POLLFREQALERT cannot be less than 1, found -5"),
        ("DEADTIME -1", "1:10 warning DEADTIME cannot be less than 0, found -1"),
        ("HOSTSYNC -1", "1:10 warning HOSTSYNC cannot be less than 0, found -1"),
        ("FINALDELAY -1", "1:12 warning FINALDELAY cannot be less than 0, found -1"),
        ("MINSUPPLIES -1", "1:13 warning MINSUPPLIES cannot be less than 0, found -1"),
        ("RBWARNTIME 99999999999", "1:12 warning RBWARNTIME cannot be \"99999999999\""),
        (
            "POLLFAIL_LOG_THROTTLE_MAX -2",
            "1:27 warning POLLFAIL_LOG_THROTTLE_MAX cannot be less than -1, found -2",
        ),
        (
            "POLLFAIL_LOG_THROTTLE_MAX 2147483647",
            "1:27 warning POLLFAIL_LOG_THROTTLE_MAX cannot be \"2147483647\"",
        ),
        ("DEBUG_MIN x", "1:11 warning DEBUG_MIN takes a number, found \"x\""),
    ];
    for (line, expected) in left_out {
        let (conf, found) = bad(parse, line);
        assert_eq!((values(conf), found), (UpsmonConf::default(), vec![expected.to_owned()]), "{line}");
    }
    let (conf, found) = bad(parse, "HOSTSYNC 7x\nALARMCRITICAL 2\nFINALDELAY 3 s\nDEBUG_MIN 999\n");
    assert_eq!((conf.host_sync, conf.alarm_critical), (Duration::from_secs(7), false));
    assert_eq!((conf.final_delay, conf.debug_min), (Duration::from_secs(3), Some(255)));
    assert_eq!(
        found,
        [
            "1:10 warning \"7x\" is no number; 7 is",
            "2:1 note ALARMCRITICAL has no effect here",
            "2:15 warning ALARMCRITICAL takes 0 or 1, found 2",
            "3:14 warning FINALDELAY takes 1 word, found 2"
        ]
    );
}

/// The ranges that the manual gives are those that are taken.
#[test]
fn a_number_may_be_all_that_its_row_says_and_nothing_else() {
    let mut rows = 0;
    for (row, (least, most)) in TABLE.iter().filter_map(|row| Some((row, row.range?))) {
        rows += 1;
        let left_out = |value: i64| {
            let (_, found) = read(parse, format!("POLLFREQALERT 1\nDEADTIME 9\n{} {value}\n", row.name));
            found.iter().any(|one| one.what.contains("cannot be"))
        };
        for (value, expected) in [(least, false), (most, false), (least - 1, true), (most + 1, true)] {
            assert_eq!(left_out(value), expected, "{} {value}", row.name);
        }
    }
    assert_eq!(rows, 13);
}

#[test]
fn one_lost_poll_is_not_yet_silence() {
    let (_, found) = bad(parse, "DEADTIME 4\nPOLLFREQALERT 4\n");
    assert_eq!(found, ["1:1 warning DEADTIME (4 s) is not longer than POLLFREQALERT (4 s)"]);
    let (_, found) = bad(parse, "POLLFREQALERT 20\n");
    assert_eq!(found, ["0:0 warning DEADTIME (15 s) is not longer than POLLFREQALERT (20 s)"]);
}

#[test]
fn commands_keep_their_words() {
    let conf = good(
        parse,
        "SHUTDOWNCMD \"/sbin/shutdown -h +0\"\nNOTIFYCMD /sbin/upssched -D \"a b\"\nPOWERDOWNFLAG /etc/killpower\nRUN_AS_USER nut\n",
    );
    assert_eq!(conf.shutdown_command, ["/sbin/shutdown -h +0"]);
    assert_eq!(conf.notify_command, ["/sbin/upssched", "-D", "a b"]);
    assert_eq!(conf.power_down_flag.as_deref(), Some("/etc/killpower"));
    assert_eq!(conf.run_as_user.as_deref(), Some("nut"));
    let (conf, found) = bad(parse, "NOTIFYCMD \"/sbin/upssched -D\"\nSHUTDOWNCMD \"\"\n");
    assert_eq!(conf.notify_command, ["/sbin/upssched -D"]);
    assert!(conf.shutdown_command.is_empty());
    assert_eq!(
        found,
        ["1:11 note the program of NOTIFYCMD has a blank in its name", "2:13 warning SHUTDOWNCMD is empty"]
    );
}

#[test]
fn a_piece_of_shell_is_worth_a_note_and_words_behind_it_a_warning() {
    let advice = |text: &str| {
        let (conf, found) = read(parse, text);
        let [one] = &found[..] else { panic!("{text}\n{}", shown(&found)) };
        assert!(!conf.notify_command.is_empty(), "{text}");
        (one.severity, one.advice.clone())
    };
    let separate = "write: NOTIFYCMD \"/bin/tell\" \"-x\"";
    assert_eq!(advice("NOTIFYCMD \"/bin/tell -x\"\n"), (Severity::Note, separate.into()));
    // Cut at its blanks this would be something else.
    assert_eq!(advice("NOTIFYCMD \"/bin/tell -x >> /tmp/log\"\n"), (Severity::Note, String::new()));
    let whole = format!("{separate} \"y\"");
    assert_eq!(advice("NOTIFYCMD \"/bin/tell -x\" y\n"), (Severity::Warning, whole));
}

#[test]
fn notices_have_texts_and_channels() {
    let conf = good(
        parse,
        "NOTIFYMSG ONLINE \"first\"\nNOTIFYMSG online \"UPS %s is back\"\nNOTIFYFLAG ONLINE SYSLOG+EXEC\n\
         NOTIFYFLAG LowBatt WALL\nNOTIFYFLAG FSD IGNORE\nNOTIFYFLAG ONLINE EXEC\n",
    );
    assert_eq!(conf.notify_messages, [(NoticeKind::Online, "UPS %s is back".to_owned())]);
    assert_eq!(
        conf.notify_flags,
        [
            (NoticeKind::Online, channels(false, false, true)),
            (NoticeKind::LowBatt, channels(false, true, false)),
            (NoticeKind::Fsd, Channels::default())
        ]
    );
}

#[test]
fn every_kind_of_notice_is_known() {
    for kind in NoticeKind::ALL {
        let conf = good(parse, &format!("NOTIFYFLAG {kind} SYSLOG+WALL+EXEC\nNOTIFYMSG {kind} \"x\"\n"));
        assert_eq!(conf.notify_flags, [(kind, channels(true, true, true))]);
        assert_eq!(conf.notify_messages.len(), 1);
    }
}

#[test]
fn flags_that_are_none() {
    let cases: [(&str, Option<Channels>, &[&str]); 6] = [
        ("ONBATT SYSLOG+WAL", Some(channels(true, false, false)), &["1:19 warning \"WAL\" is no flag"]),
        (
            "ONBATT syslog",
            Some(Channels::default()),
            &[
                "1:19 warning \"syslog\" is no flag",
                "1:19 warning no flag of the line is known, so ONBATT goes nowhere",
            ],
        ),
        ("ONBATT IGNORE+EXEC", Some(Channels::default()), &["1:19 warning IGNORE stands beside other flags"]),
        ("ONBAT SYSLOG", None, &["1:12 warning \"ONBAT\" is no type of notice"]),
        ("ONBATT", None, &["1:1 warning NOTIFYFLAG takes 2 words, found 1"]),
        (
            "ONBATT SYSLOG + EXEC",
            Some(channels(true, false, false)),
            &["1:26 warning NOTIFYFLAG takes 2 words, found 4"],
        ),
    ];
    for (line, expected, told) in cases {
        let (conf, found) = bad(parse, format!("NOTIFYFLAG {line}"));
        assert_eq!(conf.notify_flags.first().map(|(_, channels)| *channels), expected, "{line}");
        assert_eq!(found, told, "{line}");
    }
}

#[test]
fn how_long_upsmon_stays() {
    let cases = [
        ("yes", ShutdownExit::AtOnce, true),
        ("TRUE", ShutdownExit::AtOnce, true),
        ("on", ShutdownExit::AtOnce, true),
        ("0", ShutdownExit::AtOnce, true),
        ("no", ShutdownExit::Never, true),
        ("Off", ShutdownExit::Never, true),
        ("-1", ShutdownExit::Never, true),
        ("1", ShutdownExit::After(Duration::from_secs(1)), true),
        ("30", ShutdownExit::After(Duration::from_secs(30)), true),
        ("30s", ShutdownExit::AtOnce, false),
        ("maybe", ShutdownExit::AtOnce, false),
    ];
    for (text, expected, quiet) in cases {
        let (conf, found) = bad(parse, format!("SHUTDOWNEXIT {text}\n"));
        assert_eq!((conf.shutdown_exit, found.is_empty()), (expected, quiet), "{text}");
    }
}

#[test]
fn tls_is_kept_as_written() {
    let text = "CERTPATH /p\nCERTFILE /f\nCERTIDENT me hush\nCERTHOST h1 n1 1 0\nCERTHOST h2 n2 -1 -1\nCERTVERIFY 1\nFORCESSL 0\n";
    let (conf, found) = read(parse, text);
    assert_eq!((conf.tls.cert_path.as_deref(), conf.tls.cert_file.as_deref()), (Some("/p"), Some("/f")));
    assert_eq!(
        conf.tls.cert_ident.as_ref().map(|(name, key)| (name.as_str(), key.reveal())),
        Some(("me", "hush"))
    );
    assert_eq!((conf.tls.verify, conf.tls.force), (true, false));
    let host = |name: &str, certificate: &str, verify, force| {
        (name.to_owned(), certificate.to_owned(), verify, force)
    };
    assert_eq!(conf.tls.hosts, [host("h1", "n1", true, false), host("h2", "n2", true, false)]);
    assert_eq!(shown(&found), "");
}

#[test]
fn unknown_and_repeated_directives() {
    let (conf, found) =
        bad(parse, "MONTOR u 1 a b primary\npollfreq 3\nFROBNICATE 1\nfrobnicate\nHOSTSYNC 1\nHOSTSYNC 2\n");
    assert_eq!(conf.host_sync, Duration::from_secs(2));
    assert_eq!(
        found,
        [
            "1:1 warning unknown directive \"MONTOR\"",
            "2:1 warning unknown directive \"pollfreq\"",
            "3:1 warning unknown directive \"FROBNICATE\"",
            "4:1 warning unknown directive",
            "6:1 note HOSTSYNC stands in line 5, too"
        ]
    );
}

#[test]
fn what_an_error_leaves_over_is_read_as_nut_reads_it() {
    let (conf, found) = bad(parse, "NOTIFYMSG ONLINE \"UPS # HOSTSYNC 3\nNOTIFYMSG ONBATT \"UPS #1\"\n");
    assert_eq!((conf.host_sync, conf.notify_messages.len()), (Duration::from_secs(3), 0));
    assert_eq!(
        found,
        [
            "1:23 warning a '#' inside quotes needs a backslash",
            "2:23 warning a '#' inside quotes needs a backslash"
        ]
    );
}

#[test]
fn a_quote_that_its_line_does_not_close_ends_with_it() {
    const OPEN: &str = "the quote that opens here is not closed";
    let text = "SHUTDOWNCMD \"/sbin/shutdown -h +0 \r\nNOTIFYMSG ONBATT \"%s: \\\"help\\\" \nMONITOR a@h 1 u p \"primary\n\
                MONITOR b@h 1 u \"p primary\nNOTIFYCMD \"/bin/x\" \"y z\nPOWERDOWNFLAG \"/etc/killpower";
    let (conf, found) = bad(parse, text);
    assert_eq!(conf.shutdown_command, ["/sbin/shutdown -h +0"]);
    assert_eq!(conf.notify_messages, [(NoticeKind::OnBatt, "%s: \"help\"".to_owned())]);
    assert_eq!(conf.notify_command, ["/bin/x", "y z"]);
    assert_eq!(conf.power_down_flag.as_deref(), Some("/etc/killpower"));
    // What is no whole MONITOR line is left out.
    let systems: Vec<_> = conf.monitors.iter().map(|line| (line.system.as_str(), line.role)).collect();
    assert_eq!(systems, [("a@h", Role::Primary)]);
    let places = ["1:13", "2:18", "3:19", "4:17", "5:20", "6:15"];
    assert_eq!(found, places.map(|place| format!("{place} warning {OPEN}")));
}

#[test]
fn a_line_goes_on_behind_a_backslash() {
    let conf = good(parse, "MONITOR u 1 a \\\nb primary\nNOTIFYMSG ONLINE \"on \\\nline\"\n");
    assert_eq!((conf.monitors.len(), conf.monitors[0].password.reveal()), (1, "b"));
    assert_eq!(conf.notify_messages[0].1, "on line");
}

/// Lines of a good file.
fn good_line() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u32..9, any::<bool>()).prop_map(|(ups, primary)| {
            format!("MONITOR u{ups}@h 1 user pass {}", if primary { "primary" } else { "secondary" })
        }),
        (1u32..99).prop_map(|seconds| format!("HOSTSYNC {seconds}")),
        Just("NOTIFYFLAG ONBATT SYSLOG+EXEC".to_owned()),
        Just("  NOTIFYMSG ONBATT \"UPS %s: \\\"help\\\"\"  # why".to_owned()),
        Just("SHUTDOWNCMD \"/sbin/shutdown -h +0\"".to_owned()),
        Just("# it's a \"comment".to_owned()),
        Just(String::new()),
    ]
}

/// Lines that cannot be used.
fn broken_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("MONITOR x@h 1 user".to_owned()),
        Just("MONITOR x@h 1 user pass".to_owned()),
        Just("MONITOR \"x@h 1 user pass primary".to_owned()),
        Just("NOTIFYMSG ONLINE \"number #1\"".to_owned()),
        Just("MONITOR x@h 1 user \"pass primary".to_owned()),
        Just("POLLFREQ often".to_owned()),
        Just("\u{e9}\u{0}\u{1b}[2J".to_owned()),
        Just("what is = this".to_owned()),
        Just(format!("{} = 1", "x".repeat(70_000))),
        Just("\"".to_owned()),
    ]
}

proptest! {
    #[test]
    fn a_broken_line_costs_itself(lines in prop::collection::vec(good_line(), 0..12), broken in broken_line(), at in any::<prop::sample::Index>()) {
        let whole = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let mut with = lines.clone();
        with.insert(at.index(lines.len() + 1), broken);
        let with = with.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (mut expected, _) = read(parse, &whole);
        let (mut conf, found) = read(parse, &with);
        for monitor in expected.monitors.iter_mut().chain(&mut conf.monitors) {
            monitor.at = crate::Span::default();
        }
        prop_assert_eq!(values(conf), values(expected), "{}", with);
        prop_assert!(found.iter().any(|one| one.severity > Severity::Note));
    }

    #[test]
    fn no_bytes_make_it_stumble(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(parse, &text);
    }

    #[test]
    fn no_near_miss_makes_it_stumble(text in "((MONITOR|NOTIFYFLAG|NOTIFYMSG|POLLFREQ|CERTHOST|SHUTDOWNEXIT|MINSUPPLIES)[ a-z0-9@:=\"#\\\\+-]{0,40}\n){0,6}") {
        let _ = read(parse, &text);
    }

    #[test]
    fn a_password_is_never_shown(line in "MONITOR u@h 1 user hush-hush primary|CERTIDENT name hush-hush", at in any::<prop::sample::Index>(), put in "[\"#\\\\=\n x+]{1,2}", drop in any::<bool>()) {
        // Any slip of the pen, but inside the password itself.
        let secret = line.find("hush").unwrap();
        let places: Vec<usize> = (0..=line.len()).filter(|at| *at <= secret || *at >= secret + 9).collect();
        let at = *at.get(&places);
        let end = if drop && at != secret && at < line.len() { at + 1 } else { at };
        let text = format!("{}{put}{}\n", &line[..at], &line[end..]);
        let (_, found) = read(parse, &text);
        prop_assert!(!shown(&found).contains("hush-hush"), "{}\n{}", text, shown(&found));
    }
}

#[test]
fn a_file_read_again_leaves_what_it_does_not_name_as_it_was() {
    let source = |text: &'static str| Source { path: "upsmon.conf", text: text.as_bytes() };
    let first = "MONITOR a@h 1 u p primary\nPOLLFREQ 9\nNOTIFYFLAG ONBATT EXEC\nDEBUG_MIN 3\n\
                 POLLFAIL_LOG_THROTTLE_MAX 7\n";
    let (running, _) = parse(source(first));
    let (again, _) = parse_again(&running, source("MONITOR b@h 1 u p secondary\nDEADTIME 30\n"));
    assert_eq!(again.monitors.iter().map(|line| line.system.as_str()).collect::<Vec<_>>(), ["b@h"]);
    assert_eq!((again.poll_frequency, again.dead_time), (Duration::from_secs(9), Duration::from_secs(30)));
    assert_eq!(again.notify_flags, running.notify_flags);
    assert_eq!((again.debug_min, again.poll_fail_log_throttle), (None, -1));
}

#[test]
fn a_role_that_is_none_leaves_a_ups_the_one_it_has() {
    let source = |text: &'static str| Source { path: "upsmon.conf", text: text.as_bytes() };
    let (running, _) = parse(source("MONITOR a@h 1 u p primary\nMONITOR b@h 1 u p slave\n"));
    let text = "MONITOR a@h 1 u p primry\nMONITOR b@h 1 u p primry\nMONITOR c@h 1 u p primry\n";
    let (again, found) = parse_again(&running, source(text));
    let roles: Vec<_> = again.monitors.iter().map(|line| line.role).collect();
    assert_eq!(roles, [Role::Primary, Role::Secondary, Role::Secondary]);
    let told: Vec<_> = found.iter().map(|one| one.why.as_str()).collect();
    assert!(told[0].contains("stays a primary") && told[1].contains("stays a secondary"), "{told:?}");
    assert!(told[2].contains("counts as a secondary"), "{told:?}");
    let (again, _) = parse_again(&running, source("MONITOR a@h 1 u p secondary\nMONITOR b@h 1 u p master\n"));
    assert_eq!([again.monitors[0].role, again.monitors[1].role], [Role::Secondary, Role::Primary]);
}
