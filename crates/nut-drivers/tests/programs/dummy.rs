//! `dummy-ups` as a program: what every driver does, seen from outside.

use crate::stage::{Reader, Stage, eventually};
use nix::sys::signal::Signal;
use std::os::unix::fs::PermissionsExt;

const DUMMY: &str = env!("CARGO_BIN_EXE_dummy-ups");

fn section(more: &str) -> String {
    format!("[d]\ndriver = dummy-ups\nport = d.dev\npollinterval = 1\n{more}\n")
}

fn stage(more: &str) -> Stage {
    let stage = Stage::new(&section(more));
    stage.write("d.dev", "ups.status: OL\nbattery.charge: 90\nups.model: A \\\"b\\\" \\# c\n");
    stage
}

#[test]
fn the_launcher_ends_when_readers_can_come_and_not_before() {
    let stage = stage("");
    let said = stage.output(DUMMY, "-a d");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("Network UPS Tools dummy-ups"), "{said:?}");
    assert_eq!(stage.left_over(), ["dummy-ups-d", "dummy-ups-d.pid"]);
    let mode = std::fs::metadata(stage.run().join("dummy-ups-d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);

    let mut reader = Reader::connect(&stage.run().join("dummy-ups-d"));
    let dump = reader.dump();
    for line in [
        "SETINFO battery.charge \"90\"",
        "SETFLAGS battery.charge RW",
        "SETINFO device.model \"A \\\"b\\\" \\# c\"",
        "SETINFO device.type \"ups\"",
        "SETINFO driver.name \"dummy-ups\"",
        "SETINFO driver.parameter.mode \"dummy-once\"",
        "SETINFO driver.parameter.pollinterval \"1\"",
        "SETINFO ups.status \"OL\"",
        "SETFLAGS ups.status RW STRING",
        "SETAUX ups.model 32",
        "SETFLAGS ups.model RW STRING",
        "ADDCMD load.off",
    ] {
        assert!(dump.iter().any(|one| one == line), "{line} is not in {dump:#?}");
    }
    assert_eq!(dump[dump.len() - 2..], ["DATAOK", "DUMPDONE"]);
    let names: Vec<String> = dump
        .iter()
        .filter_map(|line| line.strip_prefix("SETINFO ")?.split(' ').next().map(str::to_lowercase))
        .collect();
    assert!(names.is_sorted(), "{names:?}");

    reader.say("GETPID\n");
    let pid = std::fs::read_to_string(stage.run().join("dummy-ups-d.pid")).unwrap();
    assert_eq!(reader.line(), Some(format!("PID {}", pid.trim())));

    assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
    reader.until("SETINFO driver.state \"cleanup.exit\"");
    assert_eq!(reader.line(), None);
    eventually("nothing is left over", || stage.left_over().is_empty());
}

#[test]
fn a_start_that_fails_says_why_and_ends_with_1() {
    let cases = [
        ("", "-a nosuch", "Section nosuch not found"),
        ("speed = 9", "-a d", "\"speed\" is not a valid variable name for this driver"),
        ("mode = bogus", "-a d", "mode takes dummy-once, dummy-loop or repeater"),
        ("", "-a d -x port=none.dev", "cannot open the definition file"),
        ("", "-a d -x driver=apcsmart", "has driver = apcsmart"),
        ("ignorelb", "-a d", "ignorelb is set, but"),
        ("", "-a d -x port=ups@", "a repeater's port is ups@host"),
        // Nobody listens at the lowest port.
        ("", "-a d -x port=ups@127.0.0.1:1", "Connection refused"),
        ("username = me", "-a d -x port=ups@127.0.0.1:1", "needs a password"),
        ("", "-s e", "has no port"),
        ("", "-a d word", "too many words"),
        ("", "-a d -Z", "invalid option -- 'Z'"),
        ("", "", "specify -a <ups>"),
        ("", "-a d -u no-such-user-here", "no-such-user-here"),
    ];
    for (more, args, expected) in cases {
        // In the background and in the foreground alike.
        for how in ["", "-F"] {
            let stage = stage(more);
            let said = stage.output(DUMMY, &format!("{how} {args}"));
            if args.contains("-u") && !nix::unistd::Uid::effective().is_root() {
                // Who is not root stays who he is.
                continue;
            }
            assert_eq!(said.code, Some(1), "{args}: {said:?}");
            assert!(said.err.contains(expected), "{args}: {said:?}");
            assert_eq!(stage.left_over(), Vec::<String>::new(), "{args}");
        }
    }
}

#[test]
fn without_ups_conf_the_command_line_is_enough() {
    let stage = stage("");
    let port = stage.path("conf/d.dev");
    stage.remove("ups.conf");
    assert!(stage.output(DUMMY, "-a d").err.contains("ups.conf"));
    let user = if nix::unistd::Uid::effective().is_root() { "-u root" } else { "" };
    let said = stage.output(DUMMY, &format!("-s d {user} -x port={} -d 1", port.display()));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("\nups.model: A \\\"b\\\" \\# c\n"), "{said:?}");
    assert!(
        said.out.contains("\nups.status: OL\n") && said.out.starts_with("battery.charge: 90\n"),
        "{said:?}"
    );
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

#[test]
fn help_version_and_options_are_told() {
    let stage = stage("");
    let said = stage.output(DUMMY, "-h");
    assert!(said.code == Some(0) && said.out.contains("-x mode"), "{said:?}");
    let said = stage.output(DUMMY, "-V");
    assert!(said.code == Some(0) && said.out.starts_with("Network UPS Tools dummy-ups"), "{said:?}");
    let said = stage.output(DUMMY, "-L");
    assert!(said.code == Some(0) && said.out.starts_with("VALUE mode \""), "{said:?}");
    for line in ["FLAG repeater_disable_strict_start \"", "VALUE password \""] {
        assert!(said.out.contains(&format!("\n{line}")), "{said:?}");
    }
}

#[test]
fn a_second_instance_takes_the_first_ones_place() {
    let stage = stage("");
    let mut first = stage.start(DUMMY, "-a d -F");
    let mut reader = stage.connect("dummy-ups-d");
    let said = stage.output(DUMMY, "-a d");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(first.end(), Some(0), "{}", first.log());
    reader.until("SETINFO driver.state \"cleanup.exit\"");
    let mut reader = stage.connect("dummy-ups-d");
    reader.say("GETPID\n");
    assert_ne!(reader.line(), Some(format!("PID {}", first.pid())));
    assert_eq!(stage.output(DUMMY, "-a d -c exit").code, Some(0));
}

#[test]
fn signals_end_it_in_order() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let stage = stage("");
        let mut driver = stage.start(DUMMY, "-a d -FF");
        let mut reader = stage.connect("dummy-ups-d");
        assert_eq!(stage.left_over(), ["dummy-ups-d", "dummy-ups-d.pid"]);
        driver.signal(signal);
        reader.until("SETINFO driver.state \"cleanup.upsdrv\"");
        assert_eq!(driver.end(), Some(0));
        assert!(driver.log().contains("exiting"), "{}", driver.log());
        assert_eq!(stage.left_over(), Vec::<String>::new());
    }
}

#[test]
fn orders_have_their_ends_and_all_readers_their_news() {
    let stage = stage("");
    let _driver = stage.start(DUMMY, "-a d -F");
    let (mut one, mut other) = (stage.connect("dummy-ups-d"), stage.connect("dummy-ups-d"));
    one.dump();
    other.dump();
    one.say("SET ups.id \"x \\\"y\\\" #1\" TRACKING a1\nSET ups.id \"x \\\"y\\\" \\#1\" TRACKING a2\n");
    let news = ["SETINFO ups.id \"x \\\"y\\\" \\#1\"", "SETFLAGS ups.id RW STRING", "SETAUX ups.id 16"];
    for line in news {
        assert_eq!(one.line().as_deref(), Some(line));
        assert_eq!(other.line().as_deref(), Some(line));
    }
    // The line with a bare # was left out; the result stands behind the news.
    assert_eq!(one.line().as_deref(), Some("TRACKING a2 0"));
    one.say("INSTCMD load.off TRACKING a3\nINSTCMD driver.killpower TRACKING a4\nSET ups.id \"\" TRACKING a5\nPING\n");
    assert_eq!(
        one.until("PONG"),
        ["TRACKING a3 1", "TRACKING a4 2", "DELINFO ups.id", "TRACKING a5 0", "PONG"]
    );
    assert_eq!(other.line().as_deref(), Some("DELINFO ups.id"));
    one.say("LOGOUT\n");
    assert_eq!((one.line().as_deref(), one.line()), (Some("OK Goodbye"), None));
}

#[test]
fn a_changed_file_is_news_and_a_vanished_one_makes_the_data_stale() {
    let stage = stage("");
    let driver = stage.start(DUMMY, "-a d -F");
    let mut reader = stage.connect("dummy-ups-d");
    reader.dump();
    stage.write("d.dev", "ups.status: OB DISCHRG\n");
    reader.until("SETINFO ups.status \"OB DISCHRG\"");
    stage.remove("d.dev");
    let seen = reader.until("DATASTALE");
    let state = "SETINFO driver.state \"reconnect.trying\"";
    if !seen.iter().any(|line| line == state) {
        reader.until(state);
    }
    let dump = reader.dump();
    assert!(dump.contains(&"DATASTALE".to_owned()) && !dump.contains(&"DATAOK".to_owned()), "{dump:#?}");
    stage.write("d.dev", "ups.status: OL CHRG\n");
    let seen = reader.until("DATAOK");
    assert!(seen.contains(&"SETINFO ups.status \"OL CHRG\"".to_owned()), "{seen:?}");
    assert_eq!(driver.log().matches("Communications with UPS lost").count(), 1, "{}", driver.log());
    assert_eq!(driver.log().matches("Communications with UPS re-established").count(), 1, "{}", driver.log());
}

#[test]
fn a_sequence_plays_by_its_timers() {
    let stage = Stage::new("[s]\ndriver = dummy-ups\nport = s.seq\npollinterval = 1\n");
    stage.write("s.seq", "ups.status: OL\nTIMER 2\nups.status: OB\nTIMER 1\nALARM low\nTIMER 1\nALARM\n");
    let _driver = stage.start(DUMMY, "-a s -F");
    let mut reader = stage.connect("dummy-ups-s");
    for line in [
        "SETINFO ups.status \"OB\"",
        "SETINFO ups.alarm \"low\"",
        "SETINFO ups.status \"ALARM OB\"",
        "DELINFO ups.alarm",
    ] {
        reader.until(line);
    }
}

#[test]
fn the_configuration_is_read_again_on_demand() {
    let stage = stage("");
    let mut driver = stage.start(DUMMY, "-a d -FF");
    let mut reader = stage.connect("dummy-ups-d");
    reader.say("NOBROADCAST\n");
    stage.conf("[d]\ndriver = dummy-ups\nport = d.dev\npollinterval = 3\n");
    assert_eq!(stage.output(DUMMY, "-a d -c reload").code, Some(0));
    assert_eq!(reader.value("driver.parameter.pollinterval").as_deref(), Some("\"3\""));

    stage.conf("[d]\ndriver = dummy-ups\nport = other.dev\npollinterval = 4\n");
    let said = stage.output(DUMMY, "-a d -c reload-or-error");
    assert!(said.code == Some(2) && said.err.contains("needs a restart"), "{said:?}");
    assert_eq!(reader.value("driver.parameter.pollinterval").as_deref(), Some("\"4\""));

    // A broken file changes nothing.
    stage.conf("[e]\n");
    driver.signal(Signal::SIGHUP);
    eventually("the reload is told", || driver.log().contains("the old configuration stays"));

    stage.conf("[d]\ndriver = dummy-ups\nport = other.dev\n");
    assert_eq!(stage.output(DUMMY, "-a d -c reload-or-exit").code, Some(0));
    assert_eq!(driver.end(), Some(138), "{}", driver.log());
    assert_eq!(stage.output(DUMMY, "-a d -c reload").code, Some(255));
}

#[test]
fn minus_k_asks_the_running_instance_and_then_tries_itself() {
    let stage = stage("");
    let mut driver = stage.start(DUMMY, "-a d -F");
    stage.connect("dummy-ups-d");
    let said = stage.output(DUMMY, "-a d -k");
    // A dummy cannot be shut down; both ways were tried.
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the running driver could not cut the power (result 3)"), "{said:?}");
    assert!(said.err.contains("dummy-ups: the power could not be cut: shutdown.default"), "{said:?}");
    assert_eq!(driver.end(), Some(0));
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

#[test]
fn one_who_does_not_read_is_sent_away_and_the_others_do_not_notice() {
    let stage = stage("");
    let driver = stage.start(DUMMY, "-a d -F");
    let (mut slow, mut good) = (stage.connect("dummy-ups-d"), stage.connect("dummy-ups-d"));
    slow.say("PING\n");
    assert_eq!(slow.line().as_deref(), Some("PONG"));
    let padding = "x".repeat(200);
    let mut sent = 0;
    while !driver.log().contains("does not read") {
        assert!(sent < 20_000, "what waits for one reader grows without end");
        for _ in 0..50 {
            good.say(&format!("SET ups.id \"{sent} {padding}\" TRACKING t{sent}\n"));
            good.until(&format!("TRACKING t{sent} 0"));
            sent += 1;
        }
    }
    good.say("PING\n");
    assert_eq!(good.until("PONG"), ["PONG"]);
    while slow.line().is_some() {}
}

#[test]
fn rubbish_on_the_socket_disturbs_nobody() {
    let stage = stage("");
    let driver = stage.start(DUMMY, "-a d -F");
    let (mut bad, mut good) = (stage.connect("dummy-ups-d"), stage.connect("dummy-ups-d"));
    bad.say("\u{0}\u{1}\u{2}HELLO\n\"never closed\nSET\nINSTCMD a b c d e f g\nSET \"a#b\n");
    bad.say(&"y".repeat(200_000));
    good.say("PING\n");
    assert_eq!(good.line().as_deref(), Some("PONG"));
    bad.say("\nPING\n");
    assert_eq!(bad.line().as_deref(), Some("PONG"));
    assert_eq!(driver.log().matches("left out").count(), 1, "{}", driver.log());
}
