//! Notices with hostile texts, and servers that hang.

use super::stage::{Stage, kill};
use super::upsd::Upsd;
use std::time::Duration;

#[test]
fn device_text_reaches_scripts_as_text() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "ALARM OL");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\n\
         NOTIFYFLAG ALARM EXEC\nNOTIFYMSG ALARM \"`id` $(id) %s [%s]\"",
        upsd.port
    ));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("told ALARM");
    let told = stage.read("notify.out");
    assert!(
        told.contains(&format!("|1|`id` $(id) u1@127.0.0.1:{} [Fire! $(id) \"quoted\"]|", upsd.port)),
        "{told}"
    );
}

/// A text with everything in it that a shell, a printf or a log could take for more than text.
fn evil(stage: &Stage, chars: usize) -> String {
    let dir = stage.path("").display().to_string();
    let piece = "$(touch DIR/read) `touch DIR/read` ${HOME} %s %n \\ ' \" ; | & > DIR/read * ~ # ! ";
    piece.replace("DIR", &dir).chars().cycle().take(chars).collect()
}

const KEEPS_ALL: &str = "printf %s \"$1\" > \"$DIR/argument\"; printf %s \"$NOTIFYMSG\" > \"$DIR/variable\"\n\
     [ $# = 1 ] && ls -l /proc/self/fd/ > \"$DIR/open\"; echo \"told $NOTIFYTYPE\"";

#[test]
fn hostile_text_of_a_device_arrives_as_it_is() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    let text = evil(&stage, 4096);
    let on_the_wire = text.replace('\\', "\\\\").replace('"', "\\\"").replace('#', "\\#");
    upsd.set_alarm(&on_the_wire);
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG ALARM EXEC\nNOTIFYMSG ALARM \"%s: %s\"",
        upsd.port
    ));
    stage.script("notify", KEEPS_ALL);
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "ALARM OL");
    upsmon.log("told ALARM");
    // A word of the protocol has at most 512 bytes, NUT's limit.
    let expected = format!("u1@127.0.0.1:{}: {}", upsd.port, &text[..512]);
    assert_eq!(stage.read("argument"), expected);
    assert_eq!(stage.read("variable"), expected);
    assert!(!stage.path("read").exists());
    // Nothing of ours is open in it, the way to root least of all.
    let open = stage.read("open");
    assert!(!open.contains("socket:") && !open.contains("anon_inode"), "{open}");
}

#[test]
fn a_notice_of_four_kilobytes_arrives_whole() {
    let stage = Stage::new();
    stage.configure("NOTIFYFLAG ONBATT EXEC\nNOTIFYMSG ONBATT \"%s\"\nMINSUPPLIES 0");
    stage.script("notify", KEEPS_ALL);
    let text = evil(&stage, 4200);
    let sent = stage.run(&["--test-notice", "ONBATT", &text]);
    assert_eq!(sent.code, Some(0), "{}{}", sent.stdout, sent.stderr);
    assert_eq!(stage.read("argument"), text[..4096]);
    assert_eq!(stage.read("variable"), text[..4096]);
    assert!(!stage.path("read").exists());
}

// NUT up to 2.8.5 gives NOTIFYCMD to a shell as it is.
#[test]
fn a_notifycmd_that_is_a_piece_of_shell_runs_and_gets_the_text_whole() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\n\
         NOTIFYFLAG ONBATT EXEC\nNOTIFYMSG ONBATT \"$(id) `id`\"\n\
         NOTIFYCMD \"true && echo piece of shell: $NOTIFYTYPE\"",
        upsd.port
    ));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("piece of shell: ONBATT $(id) `id`");
}

#[test]
fn a_notice_can_be_tested_channel_by_channel() {
    let stage = Stage::new();
    stage.configure(
        "MONITOR u1@127.0.0.1:1 1 pri secret primary\n\
         NOTIFYFLAG ONBATT WALL+EXEC\nNOTIFYFLAG ONLINE IGNORE\nNOTIFYFLAG FSD EXEC",
    );
    let tested = stage.run(&["--test-notice", "ONBATT", "u2@far"]);
    assert_eq!(tested.code, Some(0), "{} {}", tested.stdout, tested.stderr);
    assert!(tested.stdout.contains("ONBATT about u2@far: UPS u2@far on battery\n"), "{}", tested.stdout);
    assert!(tested.stdout.contains("no MONITOR line names that UPS"), "{}", tested.stdout);
    assert!(tested.stdout.contains("WALL: wall has shown it"), "{}", tested.stdout);
    assert!(
        tested.stdout.contains("EXEC: NOTIFYCMD") && !tested.stdout.contains("SYSLOG"),
        "{}",
        tested.stdout
    );
    assert!(stage.read("wall.out").contains("UPS u2@far on battery"));
    let told = stage.read("notify.out");
    assert!(told.starts_with("ONBATT|u2@far|1|UPS u2@far on battery|"), "{told}");

    let ignored = stage.run(&["--test-notice", "ONLINE"]);
    assert_eq!(ignored.code, Some(0));
    assert!(ignored.stdout.contains("ONLINE about u1@127.0.0.1:1") && ignored.stdout.contains("IGNORE: "));
    assert!(!ignored.stdout.contains("no MONITOR line"), "{}", ignored.stdout);

    stage.script("notify", "exit 3");
    let failed = stage.run(&["--test-notice", "FSD"]);
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stdout.contains("EXEC: FAILED: ") && failed.stdout.contains("ended with code 3"),
        "{}",
        failed.stdout
    );

    let unknown = stage.run(&["--test-notice", "FIRE"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("ONLINE, ONBATT, LOWBATT"), "{}", unknown.stderr);
}

#[test]
fn a_host_without_wall_is_told_so_once() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG ONBATT WALL+EXEC\nNOTIFYFLAG ONLINE WALL+EXEC",
        upsd.port
    ));
    stage.script("notify", "echo \"told $NOTIFYTYPE\"");
    let mut command = stage.command(&["-F", "-p"]);
    command.env("PATH", stage.path("no/bin"));
    let mut upsmon = stage.start_command(command);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB");
    let none = "wall cannot be run: nobody at a terminal will see notices";
    upsmon.log(none);
    for (status, kind) in [("OL", "ONLINE"), ("OB", "ONBATT"), ("OB LB", "never")] {
        upsd.set("u1", status);
        if status == "OB LB" {
            upsmon.end();
        } else {
            upsmon.log(&format!("told {kind}"));
        }
    }
    assert_eq!(upsmon.seen.iter().filter(|line| line.contains(none)).count(), 1, "{:#?}", upsmon.seen);
}

#[test]
fn the_script_and_the_log_give_the_same_reason() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB LB");
    stage.script("notify", "echo \"because $NOTIFYTYPE: $NOTIFYREASON.\"");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{port} 1 pri secret primary\nNOTIFYFLAG SHUTDOWN EXEC\nNOTIFYFLAG LOWBATT EXEC",
        port = upsd.port
    ));
    let mut upsmon = stage.start(&["-F", "-p"]);
    // Programs run side by side, so what they say comes in any order.
    upsmon.log("because SHUTDOWN: 0 supplies are left");
    let said = upsmon.seen.iter().find_map(|line| line.split_once("because SHUTDOWN: ")).unwrap().1;
    let reason = said.trim_end_matches('.').to_owned();
    assert!(reason.contains("on battery, and the battery is low"), "{reason}");
    let logged = |line: &String| !line.contains("because") && line.contains(&reason);
    assert!(upsmon.seen.iter().any(logged), "{reason}: {:#?}", upsmon.seen);
    let others = |line: &String| line.contains("because LOWBATT: ") && !line.contains("because LOWBATT: .");
    assert!(!upsmon.seen.iter().any(others), "{:#?}", upsmon.seen);
}

#[test]
fn a_server_that_never_answers_delays_nobody_else() {
    let stage = Stage::new();
    let (_mute, port) = Upsd::mute();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!(
        "MONITOR far@127.0.0.1:{port} 1 pri secret primary\nMONITOR u1@127.0.0.1:{} 1 pri secret primary",
        upsd.port
    ));
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("Communications with UPS far@127.0.0.1");
    let polls = upsd.lines().iter().filter(|line| line.ends_with("ups.status")).count();
    // It took five seconds to give up the silent one; meanwhile the other was asked every second, on a busy machine a
    // little less often.
    assert!(polls >= 3, "{polls}");
    upsd.set("u1", "OB");
    assert!(upsmon.log_within("on battery", Duration::from_secs(5)).is_some());
}

/// For longer and for shorter than what counts as a standstill, both longer than DEADTIME.
#[test]
fn a_process_that_was_stopped_on_battery_stops_no_host() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nDEADTIME 2\nNOTIFYFLAG ONBATT EXEC",
        upsd.port
    ));
    let mut upsmon = stage.start(&["-F"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB");
    upsmon.log("told ONBATT");
    for (stopped, is_told) in [(7, true), (4, false)] {
        kill(upsmon.worker(), "STOP");
        // Nothing can be awaited of one that stands still.
        assert!(upsmon.log_within("a word", Duration::from_secs(stopped)).is_none());
        let polls = upsd.polls()["u1"];
        kill(upsmon.worker(), "CONT");
        if is_told {
            upsmon.log("It seems we have slept without warning");
        }
        upsd.wait_for_polls("u1", polls + 3);
    }
    assert_eq!(upsmon.child.try_wait().unwrap(), None);
    assert!(!stage.path("flag").exists() && !stage.path("shutdown.out").exists());
    assert!(!upsd.has_fsd());
    // And it still stops the host when it must.
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0));
    assert!(stage.path("shutdown.out").exists());
}

/// Refused, mute, out of reach, or answering without an end: twenty servers that are of no use, and thirty UPSes that are
/// asked as if there were no others.
#[test]
fn twenty_dead_servers_of_every_kind_leave_thirty_upses_their_rhythm() {
    let stage = Stage::new();
    let (_mute, mute) = Upsd::mute();
    let (_full, _queue, full) = Upsd::swallows();
    let trickles = Upsd::trickles();
    let upsd = Upsd::start("u0", "OL");
    let mut lines = String::new();
    for nth in 0..5 {
        for (name, port) in [("none", 1), ("mute", mute), ("full", full), ("slow", trickles)] {
            lines += &format!("MONITOR {name}{nth}@127.0.0.1:{port} 1 pri secret primary\n");
        }
    }
    for nth in 0..30 {
        upsd.set(&format!("u{nth}"), "OL");
        lines += &format!("MONITOR u{nth}@127.0.0.1:{} 1 pri secret primary\n", upsd.port);
    }
    stage.configure(&format!("{lines}MINSUPPLIES 1\nNOTIFYFLAG COMMBAD SYSLOG\n"));
    let mut upsmon = stage.start(&["-F", "-p", "-W", "4"]);
    upsmon.log("UPS: u29@127.0.0.1");
    upsd.wait_for_polls("u0", 10);
    // No clock is asked, which a busy machine would prove wrong: all others have been asked meanwhile, too.
    let polls = upsd.polls();
    assert_eq!(polls.len(), 30);
    assert!(polls.values().all(|count| *count >= 5), "{polls:?}");
    upsd.set("u29", "OB");
    upsmon.log(&format!("UPS u29@127.0.0.1:{} on battery", upsd.port));
    for (name, port) in [("none", 1), ("mute", mute), ("full", full), ("slow", trickles)] {
        let lost = format!("Communications with UPS {name}4@127.0.0.1:{port} lost");
        if !upsmon.has_in_order(&[&lost]) {
            upsmon.log(&lost);
        }
    }
}

#[test]
fn a_server_that_comes_back_is_told_and_logged_in_to() {
    let stage = Stage::new();
    let (mute, port) = Upsd::mute();
    drop(mute);
    stage.configure(&format!("MONITOR u1@127.0.0.1:{port} 1 pri secret primary"));
    let mut upsmon = stage.start(&["-F", "-p"]);
    let line = upsmon.log("connect failed: ");
    assert!(line.ends_with("Connection failure: Connection refused"), "{line}");
    upsmon.log("Communications with UPS u1@127.0.0.1");
}

#[test]
fn a_slow_script_delays_neither_the_next_one_nor_the_command() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OL");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\n\
         NOTIFYFLAG ONBATT EXEC\nNOTIFYFLAG LOWBATT EXEC\nNOTIFYFLAG SHUTDOWN EXEC",
        upsd.port
    ));
    // It ends with the test, whose directory goes away.
    stage.script(
        "notify",
        "echo \"told $NOTIFYTYPE\"; exec >/dev/null 2>&1; while [ -d \"$DIR\" ]; do sleep 1; done",
    );
    let mut upsmon = stage.start(&["-F", "-p"]);
    upsmon.log("UPS: u1@127.0.0.1");
    upsd.set("u1", "OB LB");
    assert_eq!(upsmon.end().code(), Some(0));
    for kind in ["ONBATT", "LOWBATT", "SHUTDOWN"] {
        assert!(upsmon.has_in_order(&[&format!("told {kind}")]), "{}", upsmon.seen.join("\n"));
    }
}

/// The last notice is told at the very end; whoever tells it must not be ended by our end.
#[test]
fn a_script_that_speaks_after_our_end_is_not_harmed_by_it() {
    let stage = Stage::new();
    let upsd = Upsd::start("u1", "OB LB");
    stage.configure(&format!(
        "MONITOR u1@127.0.0.1:{} 1 pri secret primary\nNOTIFYFLAG SHUTDOWN EXEC",
        upsd.port
    ));
    stage.script(
        "notify",
        "while [ -e /proc/$PPID/exe ]; do sleep 0.1; done\n\
         echo speaks; echo speaks >&2; echo survived > \"$DIR/late.out\"",
    );
    let mut upsmon = stage.start(&["-F", "-p"]);
    assert_eq!(upsmon.end().code(), Some(0));
    assert_eq!(stage.read("late.out"), "survived\n");
}
