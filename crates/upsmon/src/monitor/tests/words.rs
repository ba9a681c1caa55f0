//! F: the words of `ups.status`.

use super::world::Upsd;
use super::*;
use nut_conf::upsmon_conf::UpsmonConf;

const U1: &str = "u1@localhost";
const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];
const SEC: &[&str] = &["u1@localhost 1 sec ss secondary"];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// One host, and what it tells while the UPS says this, a second each unless said otherwise.
fn hears(conf: UpsmonConf, says: &[(f64, &'static str)], until: f64) -> World {
    let mut world = World::new();
    world.host("host", 0.0, conf);
    world.set(U1, "OL");
    for (at, status) in says.iter().copied() {
        world.at(at, move |world| world.set(U1, status));
    }
    world.run_until(until);
    world
}

#[test]
fn f1_calibrating_excuses_low_battery_and_is_over_when_it_is() {
    let world = hears(fast(PRI), &[(2.5, "OB CAL"), (5.5, "OB LB CAL"), (9.5, "OL"), (13.5, "OB LB")], 60.0);
    world.expect(
        0,
        "3 ONBATT u1@localhost
         3 CAL u1@localhost
         6 LOWBATT u1@localhost
         10 NOTCAL u1@localhost
         10 ONLINE u1@localhost
         14 ONBATT u1@localhost
         14 LOWBATT u1@localhost
         14 FSD u1@localhost
         14 SHUTDOWN
         15 CMD
         15 exit",
    );
    let excuses = world.logged(0).iter().filter(|line| line.contains("but it is also calibrating")).count();
    assert_eq!(excuses, 1);
}

#[test]
fn f2_a_bad_battery_is_told_again_every_rbwarntime() {
    let conf = UpsmonConf { replace_battery_warn_time: secs(4), ..fast(PRI) };
    let world = hears(conf, &[(3.5, "OL RB"), (15.5, "OL"), (17.5, "OL RB")], 20.0);
    world.expect(
        0,
        "4 REPLBATT u1@localhost
         9 REPLBATT u1@localhost
         14 REPLBATT u1@localhost
         19 REPLBATT u1@localhost",
    );
    let says = [(3.5, "OL RB"), (100.5, "OL"), (200.5, "OL RB"), (43_300.5, "OL RB")];
    let world = hears(fast(PRI), &says, 43_400.0);
    world.expect(0, "4 REPLBATT u1@localhost\n 43205 REPLBATT u1@localhost");
}

#[test]
fn f3_a_ups_that_is_off_for_too_long_is_lost() {
    let with = |off| UpsmonConf { off_duration: off, ..fast(PRI) };
    let world = hears(with(Some(secs(4))), &[(2.5, "OFF")], 60.0);
    world.expect(
        0,
        "3 OFF u1@localhost
         8 FSD u1@localhost
         8 SHUTDOWN
         9 CMD
         9 exit",
    );
    let world = hears(with(Some(secs(6))), &[(2.5, "OFF"), (6.5, "OL")], 600.0);
    world.expect(0, "3 OFF u1@localhost\n 7 NOTOFF u1@localhost");
    let world = hears(with(Some(secs(0))), &[(2.5, "OFF OL")], 60.0);
    world.expect(0, "3 OFF u1@localhost\n 3 FSD u1@localhost\n 3 SHUTDOWN\n 4 CMD\n 4 exit");
    let world = hears(with(None), &[(2.5, "OFF OL")], 100_000.0);
    world.expect(0, "3 OFF u1@localhost");
}

/// NUT 2.8.1 and later take a UPS for dead after one lost poll in these states; we do not (NUT issue 2794).
#[test]
fn f4_a_special_state_and_then_silence_is_no_reason_to_stop_unless_asked_for() {
    let plays = |conf: UpsmonConf, status: &'static str| {
        let mut world = World::new();
        let host = world.host("host", 0.0, conf);
        world.set(U1, status);
        world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
        world.run_until(600.0);
        world.told(host).into_iter().find(|line| line.ends_with("SHUTDOWN"))
    };
    let over = |limit| UpsmonConf { overload_duration: limit, ..fast(PRI) };
    for status in ["OL BYPASS", "OL CAL", "OFF", "ALARM OL", "OL OVER", "OL TRIM"] {
        assert_eq!(plays(fast(PRI), status), None, "{status}");
    }
    // OVERDURATION is an explicit wish: granted, once the UPS is silent for DEADTIME.
    assert_eq!(plays(over(Some(secs(0))), "OL OVER").unwrap(), "8 SHUTDOWN");
    assert_eq!(plays(over(Some(secs(20))), "OL OVER").unwrap(), "20 SHUTDOWN");
    assert_eq!(plays(over(Some(secs(0))), "OL"), None);
}

#[test]
fn f5_words_are_told_when_they_come_and_when_they_go() {
    let says = [
        (0.5, "OFF"),
        (1.5, "OL BYPASS"),
        (2.5, "OL OVER"),
        (3.5, "OL TRIM"),
        (4.5, "OL BOOST"),
        (5.5, "ALARM OL"),
        (6.5, "OL CHRG"),
        (7.5, "OL FOO BAR"),
        (8.5, "OL BAR FOO"),
        (9.5, "OL BAR"),
        (10.5, "OL"),
    ];
    hears(fast(PRI), &says, 60.0).expect(
        0,
        "1 OFF u1@localhost
         2 NOTOFF u1@localhost
         2 BYPASS u1@localhost
         3 NOTBYPASS u1@localhost
         3 OVER u1@localhost
         4 NOTOVER u1@localhost
         4 TRIM u1@localhost
         5 NOTTRIM u1@localhost
         5 BOOST u1@localhost
         6 NOTBOOST u1@localhost
         6 ALARM u1@localhost [n/a]
         7 NOTALARM u1@localhost
         8 OTHER u1@localhost [FOO BAR]
         10 OTHER u1@localhost [BAR]
         11 NOTOTHER u1@localhost",
    );
}

/// NUT keeps one text for all UPSes, so that two in alarm are told at every poll.
#[test]
fn f5_an_alarm_is_told_again_when_its_text_changes_and_only_then() {
    let mut world = World::new();
    world.set(U1, "ALARM OL");
    world.set("u2@localhost", "ALARM OL");
    world.set_alarm(U1, "Fire!");
    world.set_alarm("u2@localhost", "Water!");
    let lines = ["u1@localhost 1 pri pp primary", "u2@localhost 1 pri pp primary"];
    let host = world.host("host", 0.0, fast(&lines));
    world.at(5.5, |world| world.set_alarm(U1, "Flood! Fire!"));
    world.run_until(60.0);
    world.expect(
        host,
        "0 ALARM u1@localhost [Fire!]
         0 ALARM u2@localhost [Water!]
         6 ALARM u1@localhost [Flood! Fire!]",
    );
}

#[test]
fn economy_is_told_by_its_own_words_only() {
    let mut world = World::new();
    world.set(U1, "OL");
    let host = world.host("host", 0.0, fast(PRI));
    world.at(2.5, |world| world.set_economy(U1, true));
    world.at(5.5, |world| world.set_economy(U1, false));
    world.run_until(60.0);
    world.expect(host, "3 ECO u1@localhost\n 6 NOTECO u1@localhost");
    for (words, expected) in [
        ("vendor:apc:SMART", true),
        ("mode:eco", true),
        ("vendor:default", false),
        ("", false),
        ("HECTIC", false),
    ] {
        assert_eq!(watch::names_economy(words), expected, "{words}");
    }
}

#[test]
fn f6_low_battery_can_be_borne_for_a_while() {
    let conf = UpsmonConf { low_battery_duration: secs(6), poll_frequency_alert: secs(4), ..fast(PRI) };
    let says = [(1.5, "OB LB"), (5.5, "OB"), (14.5, "OB LB")];
    let world = hears(conf, &says, 60.0);
    world.expect(
        0,
        "2 ONBATT u1@localhost
         2 LOWBATT u1@localhost
         18 LOWBATT u1@localhost
         24 FSD u1@localhost
         24 SHUTDOWN
         25 CMD
         25 exit",
    );
    assert!(world.has_logged(0, "returned from OB+LB state now after spending 4 seconds in it"));
    let asked =
        world.actions(0).iter().filter(|(_, action)| matches!(action, Action::Ask(_, Order::Poll { .. })));
    let asked: Vec<_> = asked.map(|(at, _)| at.since_start().as_secs()).collect();
    assert_eq!(asked, [0, 1, 2, 4, 6, 10, 14, 18, 20, 22, 24]);
}

#[test]
fn f6_a_secondary_waits_for_the_longer_of_the_two() {
    for (borne, host_sync, decides) in [(4, 8, 11), (8, 4, 10)] {
        let conf = UpsmonConf { low_battery_duration: secs(borne), host_sync: secs(host_sync), ..fast(SEC) };
        let world = hears(conf, &[(1.5, "OB LB")], 60.0);
        assert_eq!(world.told(0)[3], format!("{decides} SHUTDOWN"));
    }
}

#[test]
fn f7_odd_strings_are_read_as_whole_words_in_any_case() {
    let watcher = || UpsmonConf { min_supplies: 0, ..fast(&["u1@localhost 0 sec ss secondary"]) };
    let cases: [(&[(f64, &'static str)], &str); 5] = [
        (&[(0.5, "ob lb")], "1 ONBATT u1@localhost\n 1 LOWBATT u1@localhost"),
        (&[(0.5, "  OB  LB")], "1 ONBATT u1@localhost\n 1 LOWBATT u1@localhost"),
        (&[(0.5, "OBLB")], "1 OTHER u1@localhost [OBLB]"),
        (
            &[(0.5, "OL LB"), (1.5, "OL XLBX"), (2.5, "OL LB")],
            "1 LOWBATT u1@localhost
             2 OTHER u1@localhost [XLBX]
             3 NOTOTHER u1@localhost
             3 LOWBATT u1@localhost",
        ),
        (&[(0.5, "OB OL"), (2.5, "OL OB")], "1 ONBATT u1@localhost"),
    ];
    for (says, expected) in cases {
        hears(watcher(), says, 4.0).expect(0, expected);
    }
}
