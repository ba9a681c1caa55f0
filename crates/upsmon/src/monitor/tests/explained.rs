//! `upsmon --explain`: what it says in the states that matter, and that it says what the log says.

use super::world::{HostId, Upsd};
use super::*;
use crate::notices::Notice;
use crate::watch::Rules;
use nut_conf::Source;
use nut_proto::net::ErrCode;

const U1: &str = "u1@localhost";
const TIMES: &str = "POLLFREQ 1\nPOLLFREQALERT 1\nDEADTIME 5\nHOSTSYNC 5\nFINALDELAY 2\nSHUTDOWNCMD halt\n";

fn read(text: &str) -> UpsmonConf {
    let text = format!("{TIMES}{text}");
    let (conf, findings) = upsmon_conf::parse(Source { path: "/etc/nut/upsmon.conf", text: text.as_bytes() });
    assert!(findings.is_empty(), "{findings:?}");
    conf
}

fn one_host(text: &str) -> (World, HostId) {
    let mut world = World::new();
    let host = world.host("host", 0.0, read(text));
    (world, host)
}

/// The answer up to the values.
fn said(world: &World, host: HostId) -> String {
    let text = world.explain(host);
    let (above, _) = text.split_once("The values in force").unwrap();
    above.trim_end().to_owned()
}

#[track_caller]
fn expect(world: &World, host: HostId, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(|line| line.trim_end()).collect();
    assert_eq!(said(world, host), expected.join("\n").trim());
}

#[test]
fn on_mains_it_says_why_not_and_what_each_ups_is_worth() {
    let (mut world, host) = one_host(
        "MONITOR u1@localhost 2 pri pp primary\nMONITOR u2@localhost 1 sec ss secondary\n\
         MONITOR u3@localhost 0 sec ss secondary\nMINSUPPLIES 2\n",
    );
    world.set(U1, "OL CHRG");
    world.set("u2@localhost", "OL");
    world.set("u3@localhost", "OL TRIM");
    world.run_until(7383.5);
    expect(
        &world,
        host,
        "\
upsmon, process 4711, user nut, watches 3 UPSes

Would this host be shut down now?
  No: 3 supplies are good, 2 needed (MINSUPPLIES)
  yes as soon as more than 1 of its supplies are lost

Each UPS is asked every 1 s (POLLFREQ).

UPS u1@localhost: power value 2, primary (/etc/nut/upsmon.conf:7)
  known good for 2 h 3 min: counts as a supply
  without it this host would be shut down
  OL CHRG, heard 0 s ago; on mains for 2 h 3 min
  asked again in 500 ms

UPS u2@localhost: power value 1, secondary (/etc/nut/upsmon.conf:8)
  known good for 2 h 3 min: counts as a supply
  OL, heard 0 s ago; on mains for 2 h 3 min
  asked again in 500 ms

UPS u3@localhost: power value 0, watched only, secondary (/etc/nut/upsmon.conf:9)
  known good for 2 h 3 min: watched only
  TRIM OL, heard 0 s ago; on mains for 2 h 3 min
  asked again in 500 ms",
    );
}

#[test]
fn on_battery_the_waits_that_run_are_shown_with_what_is_left() {
    let (mut world, host) =
        one_host("MONITOR u1@localhost 1 sec ss secondary\nOBLBDURATION 20\nRBWARNTIME 100\n");
    world.set(U1, "OL RB");
    world.at(9.5, |world| world.set(U1, "OB LB RB"));
    world.run_until(13.5);
    expect(
        &world,
        host,
        "\
upsmon, process 4711, user nut, watches 1 UPS

Would this host be shut down now?
  No: 1 supply is good, 1 needed (MINSUPPLIES)
  yes as soon as one of its supplies is lost

Each UPS is asked every 1 s (what POLLFREQALERT and OBLBDURATION have in common).

UPS u1@localhost: power value 1, secondary (/etc/nut/upsmon.conf:7)
  not lost yet: counts as a supply while the waits below run
  without it this host would be shut down
  OB LB RB, heard 0 s ago; on battery for 3 s
  asked again in 500 ms
  OBLBDURATION 20: 16 s left, then it does not count as a supply any more
  HOSTSYNC 5: 2 s left, then its primary is not waited for any longer
  RBWARNTIME 100: 1 min 27 s left, then REPLBATT can be told again",
    );
    world.at(14.0, |world| world.upsd("localhost", Upsd::Down));
    world.run_until(16.5);
    let text = said(&world, host);
    assert!(text.contains("unknown for 2 s: counts as a supply while the waits below run\n"), "{text}");
    assert!(text.contains("last heard 3 s ago: OB LB RB; on battery for 6 s; no answer: "), "{text}");
    assert!(text.contains("DEADTIME 5: 2 s left, then it does not count"), "{text}");
    assert!(text.contains("HOSTSYNC 5: over; at the next step "), "{text}");
    assert!(text.contains("NOCOMMWARNTIME 300: 4 min 56 s left, then NOCOMM is told"), "{text}");
}

#[test]
fn what_was_never_heard_is_unknown_and_counts() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.upsd("localhost", Upsd::Down);
    world.run_until(75.5);
    expect(
        &world,
        host,
        "\
upsmon, process 4711, user nut, watches 1 UPS

Would this host be shut down now?
  No: 1 supply is good, 1 needed (MINSUPPLIES)
  yes as soon as one of its supplies is lost

Each UPS is asked every 1 s (POLLFREQ).

UPS u1@localhost: power value 1, primary (/etc/nut/upsmon.conf:7)
  unknown for 1 min 15 s, not heard yet: counts as a supply; what is not known is no reason to stop
  without it this host would be shut down
  nothing heard of it; no answer: Connection failure: Connection refused
  not logged in, so that this host can tell no secondary to stop (FSD)
  asked again in 500 ms
  NOCOMMWARNTIME 300: 3 min 46 s left, then NOCOMM is told",
    );
}

#[test]
fn stale_data_on_mains_is_unknown_and_no_reason_to_stop() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, "OL");
    world.at(9.5, |world| world.refuse(U1, ErrCode::DataStale));
    world.run_until(200.5);
    let text = said(&world, host);
    assert!(text.contains("  No: 1 supply is good, 1 needed (MINSUPPLIES)\n"), "{text}");
    assert!(
        text.contains("  unknown for 3 min 10 s: counts as a supply; silence alone is no reason to stop\n"),
        "{text}"
    );
    assert!(
        text.contains("  last heard 3 min 11 s ago: OL; on mains for 3 min 20 s; no answer: Data stale\n"),
        "{text}"
    );
    assert!(!text.contains("DEADTIME"), "{text}");
}

/// The reason as it stands in the log, in the notice, and in the answer, all the way down.
#[test]
fn on_the_way_down_it_says_what_the_log_and_the_notice_say() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\nSHUTDOWNEXIT 30\n");
    world.set(U1, "OL");
    world.strangers(U1, 2);
    world.at(9.5, |world| world.set(U1, "OB LB"));
    world.run_until(12.6);
    let reason =
        "0 supplies are left, 1 needed (MINSUPPLIES): u1@localhost: on battery, and the battery is low";
    expect(
        &world,
        host,
        &format!(
            "\
upsmon, process 4711, user nut, watches 1 UPS

Would this host be shut down now?
  It is being shut down, and nothing stops that: {reason}
  decided 2 s ago
  FSD is set, and others are waited for:
  u1@localhost: 3 are logged in, this host among them
  HOSTSYNC 5: 3 s left, then who is still logged in is not waited for any longer

How the UPSes were when that was decided:

UPS u1@localhost: power value 1, primary (/etc/nut/upsmon.conf:7)
  critical for 2 s: does not count as a supply: on battery, and the battery is low
  OB LB, heard 2 s ago; on battery for 2 s"
        ),
    );
    assert!(world.has_logged(host, &format!("(0<1), initiating forced shutdown: {reason}")));
    world.run_until(16.0);
    let text = said(&world, host);
    assert!(text.contains(&format!(
        "{reason}\n  decided 6 s ago\n  everybody has been told, and SHUTDOWNCMD follows\n"
    )));
    assert!(text.contains("  FINALDELAY 2: 2 s left, then SHUTDOWNCMD is run\n"), "{text}");
    let told = world.actions(host).iter().find_map(|(_, action)| match action {
        Action::Notify(Notice { kind: NoticeKind::Shutdown, reason, .. }) => reason.as_deref(),
        _ => None,
    });
    assert_eq!(told, Some(reason));
    world.run_until(18.0);
    let text = said(&world, host);
    assert!(text.contains("  SHUTDOWNCMD was ordered 0 s ago and has ended well\n"), "{text}");
    assert!(text.contains("  SHUTDOWNEXIT 30: 30 s left, then upsmon ends\n"), "{text}");
    world.run_until(100.0);
    assert!(!world.is_running(host));
    assert!(said(&world, host).contains("  upsmon is about to end, and decides nothing any more\n"));
}

#[test]
fn a_forced_shutdown_is_named_as_such() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 sec ss secondary\n");
    world.set(U1, "OL");
    world.at(9.5, |world| world.force(U1));
    world.run_until(10.5);
    let text = said(&world, host);
    let reason =
        "0 supplies are left, 1 needed (MINSUPPLIES): u1@localhost: its shutdown has been forced (FSD)";
    assert!(text.contains(reason), "{text}");

    let (mut world, host) = one_host("MONITOR u1@localhost 1 sec ss secondary\n");
    world.set(U1, "OL");
    world.at(9.5, |world| world.send(0, Event::ForceShutdown { signal: 10 }));
    world.run_until(10.0);
    assert!(said(&world, host).contains("nothing stops that: ordered by upsmon -c fsd\n"));
}

#[test]
fn a_decision_that_waits_for_a_last_word_says_so() {
    let (mut world, host) =
        one_host("MONITOR u1@localhost 1 pri pp primary\nMONITOR u2@far 1 pri pp primary\n");
    world.set(U1, "OL");
    world.set("u2@far", "OB");
    // The second one is lost; while it is asked again, and its server hangs, the first one is lost, too.
    world.at(2.2, |world| world.upsd("far", Upsd::Down));
    world.at(8.8, |world| world.upsd("far", Upsd::Hung));
    world.at(8.9, |world| world.set(U1, "FSD OL"));
    world.run_until(9.2);
    let text = said(&world, host);
    let expected = "  Yes, unless a lost UPS answers within 800 ms that it is well: 0 supplies are left, 1 needed \
                    (MINSUPPLIES): u1@localhost: its shutdown has been forced (FSD); u2@far: last heard on battery, \
                    and silent for 6 s\n";
    assert!(text.contains(expected), "{text}");
    // Those that are lost come first.
    world.run_until(9.3);
    assert!(said(&world, host).contains("critical for 0 s: does not count as a supply: its shutdown"));
}

#[test]
fn what_stands_in_the_way_of_a_shutdown_is_told() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri WRONG primary\n");
    world.set(U1, "OL");
    world.at(2.5, move |world| world.kill_parent(host));
    world.run_until(4.5);
    let text = said(&world, host);
    assert!(
        text.contains("  But it could not be: Parent died - shutdown impossible; restart upsmon\n"),
        "{text}"
    );

    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, "OB LB");
    world.command_ends(host, FromParent::Ended(7));
    world.run_until(30.5);
    let text = said(&world, host);
    assert!(text.contains("  No: this host was to be shut down 31 s ago, but that failed: "), "{text}");
    assert!(text.contains("  that was decided because: 0 supplies are left, 1 needed"), "{text}");
    assert!(text.contains("mend SHUTDOWNCMD and restart upsmon\n"), "{text}");
    assert!(text.ends_with("  asked again in 500 ms"), "{text}");

    let conf = UpsmonConf { shutdown_command: Vec::new(), ..read("MONITOR u1@localhost 1 pri pp primary\n") };
    let one = Monitor::new(conf, Halves::One);
    let text = one.explain(Moment::START, &Instance { pid: 1, user: "user me".into() });
    assert!(text.contains("  But it could not be: there is no SHUTDOWNCMD to run\n"), "{text}");
    assert!(text.contains("SHUTDOWNCMD is run by this process itself"), "{text}");
}

#[test]
fn who_cannot_log_in_is_told_what_follows() {
    let text = |user: &str, pass: &str| {
        let (mut world, host) = one_host(&format!("MONITOR u1@localhost 1 {user} {pass} primary\n"));
        world.set(U1, "OL");
        world.run_until(4.5);
        said(&world, host)
    };
    assert!(!text("pri", "pp").contains("logged in"));
    assert!(text("pri", "WRONG").contains(
        "  not logged in, so that this host can tell no secondary to stop (FSD): got [ERR ACCESS-DENIED]\n"
    ));
    assert!(text("sec", "ss").contains(
        "  logged in without a primary's rights, so that it cannot set FSD: got [ERR ACCESS-DENIED]\n"
    ));
}

#[test]
fn minsupplies_nought_is_told_to_stop_for_nothing() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\nMINSUPPLIES 0\n");
    world.set(U1, "OB LB");
    world.run_until(100.0);
    let text = said(&world, host);
    assert!(text.contains(
        "  No: 0 supplies are good, 0 needed (MINSUPPLIES)\n  with MINSUPPLIES 0 no power failure"
    ));
}

#[test]
fn each_value_says_where_it_comes_from_and_a_reload_moves_it() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\nNOTIFYFLAG ONBATT EXEC\n");
    world.set(U1, "OL");
    world.run_until(2.5);
    let line = |world: &World, name: &str| {
        let text = world.explain(host);
        let (_, values) = text.split_once("The values in force, and where each comes from:\n").unwrap();
        let found = values.lines().find(|line| line.trim_start().starts_with(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {values}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line(&world, "DEADTIME"), "DEADTIME 5 /etc/nut/upsmon.conf:3");
    assert_eq!(line(&world, "RBWARNTIME"), "RBWARNTIME 43200 default");
    assert_eq!(line(&world, "NOTIFYFLAG"), "NOTIFYFLAG ONBATT EXEC /etc/nut/upsmon.conf:8");
    assert_eq!(line(&world, "NOTIFYCMD"), "NOTIFYCMD (not set) default");
    assert!(!world.explain(host).contains(" pp"));

    let text = b"# new\nMONITOR u1@localhost 3 pri pp primary\nDEADTIME 9\nSHUTDOWNCMD other\n";
    let (conf, _) = upsmon_conf::parse_again(&read(""), Source { path: "/etc/nut/upsmon.conf", text });
    world.send(host, Event::Reload(Box::new(conf)));
    world.run_until(3.5);
    assert!(
        said(&world, host).contains("UPS u1@localhost: power value 3, primary (/etc/nut/upsmon.conf:2)\n")
    );
    assert_eq!(line(&world, "DEADTIME"), "DEADTIME 9 /etc/nut/upsmon.conf:3");
    assert!(line(&world, "HOSTSYNC").starts_with("HOSTSYNC 5 /etc/nut/upsmon.conf:4 before a reload;"));
    // The root half has what it had.
    assert_eq!(line(&world, "SHUTDOWNCMD"), "SHUTDOWNCMD other /etc/nut/upsmon.conf:4");
    assert!(
        line(&world, "Warning: SHUTDOWNCMD").ends_with("until then it is what it was at the start: halt")
    );
}

#[test]
fn texts_from_the_network_move_no_terminal_and_forge_no_line() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, &format!("OL \u{1b}[2J\u{7f} {}", "x".repeat(5000)));
    world.run_until(2.5);
    let text = world.explain(host);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 400), "{text}");
}

#[test]
fn of_very_many_upses_those_that_are_lost_are_shown() {
    let mut lines = String::new();
    for nth in 0..MAX_DESCRIBED + 5 {
        lines += &format!("MONITOR u{nth}@localhost 1 pri pp primary\n");
    }
    let (mut world, host) = one_host(&lines);
    for nth in 0..MAX_DESCRIBED + 5 {
        world.set(&format!("u{nth}@localhost"), "OL");
    }
    world.set("u1004@localhost", "OB LB");
    world.run_until(2.5);
    let text = world.explain(host);
    assert!(text.contains("UPS u1004@localhost: ") && text.contains("5 more UPSes are not shown"), "{text}");
    assert!(!text.contains("UPS u1000@localhost: "));
}

#[test]
fn asking_changes_nothing() {
    let play = |asks: bool| {
        let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
        world.set(U1, "OL");
        world.at(5.5, |world| world.set(U1, "OB"));
        world.at(9.5, |world| world.upsd("localhost", Upsd::Down));
        if asks {
            for nth in 0..200 {
                world.at(f64::from(nth) * 0.1, move |world| drop(world.explain(host)));
            }
        }
        world.at(12.1, move |world| world.freeze(host, 7.0));
        world.run_until(60.0);
        (world.actions(host).to_vec(), world.told(host))
    };
    assert_eq!(play(false), play(true));
}

/// What a UPS does from 1 s on, and the directives that matter.
type Case = (&'static str, &'static str, bool, &'static str);

/// A timer that foretells something else than what happens would be worse than none.
#[test]
fn what_the_timers_foretell_comes_true() {
    let cases: [Case; 9] = [
        ("primary", "OB", true, "DEADTIME"),
        ("secondary", "OB", true, "DEADTIME"),
        ("primary", "OB CAL", true, "DEADTIME"),
        ("secondary", "OB LB", false, "HOSTSYNC"),
        ("secondary", "OB LB", true, "DEADTIME"),
        ("primary", "OB LB", false, "OBLBDURATION"),
        ("primary", "OFF", false, "OFFDURATION"),
        ("primary", "OL OVER", true, "OVERDURATION"),
        ("primary", "OB LB", true, "OBLBDURATION"),
    ];
    for (role, status, is_silent, directive) in cases {
        let low = if directive == "OBLBDURATION" { "OBLBDURATION 4\n" } else { "" };
        let (mut world, host) =
            one_host(&format!("MONITOR u1@localhost 1 pri pp {role}\nOFFDURATION 7\nOVERDURATION 20\n{low}"));
        world.set(U1, "OL");
        world.at(0.5, move |world| world.set(U1, status));
        if is_silent {
            world.at(1.5, |world| world.upsd("localhost", Upsd::Down));
        }
        let mut foretold = None;
        let mut now = 2.25;
        let decided = loop {
            world.run_until(now);
            let monitor = world.monitor(host);
            if monitor.is_stopping() {
                break world.now;
            }
            assert!(now < 60.0, "{role} {status}: {}", world.explain(host));
            let timers = monitor.watched[0].watch.timers(world.now, &Rules::from(monitor.conf()));
            let ends = timers.iter().find(|timer| timer.directive == directive).map(|timer| timer.ends);
            let ends = ends.unwrap_or_else(|| panic!("{role} {status} {now}: no {directive} in {timers:?}"));
            assert!(foretold.is_none_or(|before| before == ends), "{role} {status}: it moves");
            foretold = Some(ends);
            now += 0.25;
        };
        // It comes with the first question that ends after that: a second later at most.
        let foretold = foretold.unwrap();
        assert!(decided >= foretold, "{role} {status} {directive}: {decided:?} before {foretold:?}");
        let late = decided.since(foretold);
        assert!(late <= Duration::from_millis(1250), "{role} {status} {directive}: {late:?} late");
    }
}

/// What a stranger reads of a UPS that is not well and counts all the same: why, and until when.
#[test]
fn a_ups_in_trouble_is_not_called_good_and_the_answer_says_why_it_counts() {
    let waits = "not lost yet: counts as a supply while the waits below run";
    let cases = [
        ("primary", "OB DISCHRG", "on battery, which alone is no reason to stop: counts as a supply"),
        ("primary", "OB LB", waits),
        ("secondary", "OB LB", waits),
        ("primary", "OL OFF", waits),
        (
            "primary",
            "OL CAL LB",
            "calibrating, so that on battery or low is no reason to stop: counts as a supply",
        ),
        (
            "secondary",
            "OB CAL LB",
            "calibrating, so that on battery or low is no reason to stop: counts as a supply",
        ),
        ("primary", "OL CAL", "known good for 3 s: counts as a supply"),
        ("primary", "OL LB RB", "known good for 3 s: counts as a supply"),
    ];
    for (role, status, expected) in cases {
        let line = format!("MONITOR u1@localhost 1 pri pp {role}\nOBLBDURATION 60\n");
        let (mut world, host) = one_host(&line);
        world.set(U1, "OL");
        world.at(1.5, move |world| world.set(U1, status));
        world.run_until(3.7);
        let text = said(&world, host);
        assert!(text.contains(&format!("  {expected}\n")), "{role} {status}: {expected}\n{text}");
    }
    // What was heard before is not what it says now.
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, "OL");
    world.at(1.5, |world| world.set(U1, "OFF"));
    world.run_until(3.7);
    let text = said(&world, host);
    assert!(text.contains("  OFF, heard 0 s ago; it does not say where its power comes from\n"), "{text}");
}

#[test]
fn a_standstill_is_named_where_times_leave_it_out() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, "OB");
    world.run_until(9.0);
    assert!(!said(&world, host).contains("Not counted"));
    world.at(9.2, move |world| world.freeze(host, 3600.0));
    world.run_until(3612.0);
    let text = said(&world, host);
    assert!(text.contains("on battery for 12 s\n"), "{text}");
    let expected = "Not counted in any time here: 59 min 59 s in which upsmon did not run (the host was suspended, or \
                    the process was stopped).\n";
    assert!(text.contains(expected), "{text}");
}

/// The file on the disk is not what is in force, and who asks must not take it for that.
#[test]
fn a_reload_that_was_refused_is_told_until_one_succeeds() {
    let (mut world, host) = one_host("MONITOR u1@localhost 1 pri pp primary\n");
    world.set(U1, "OL");
    world.run_until(2.5);
    assert!(!world.explain(host).contains("refused"));
    let why = format!("/etc/nut/upsmon.conf:3:1: {}\u{1b}[2J", "x".repeat(400));
    world.send(host, Event::ReloadFailed { why: why.clone() });
    world.run_until(187.5);
    let text = world.explain(host);
    let told = why.replace('\u{1b}', "\u{fffd}");
    let expected = format!(
        "The file is not what is in force, since it was refused 3 min 5 s ago.\n  Reload failed: {told}\n  \
         mend it, and then: upsmon -c reload\n\nThe values in force, and where each comes from:\n"
    );
    assert!(text.contains(&expected), "{text}");
    // The next one gives another reason; one that succeeds gives none.
    world.send(host, Event::Reload(Box::new(UpsmonConf { min_supplies: 9, ..read("") })));
    world.run_until(188.0);
    let text = world.explain(host);
    assert!(
        text.contains("refused 0 s ago.\n  Reload failed: total power value (0) less than MINSUPPLIES (9)"),
        "{text}"
    );
    assert!(!text.contains("upsmon.conf:3:1"), "{text}");
    world.send(host, Event::Reload(Box::new(read("MONITOR u1@localhost 1 pri pp primary\n"))));
    world.run_until(189.0);
    assert!(!world.explain(host).contains("refused"));
}
