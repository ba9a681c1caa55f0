//! B: a primary and its secondaries.

use super::world::Upsd;
use super::*;

const U1: &str = "u1@localhost";
const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];
const SEC: &[&str] = &["u1@localhost 1 sec ss secondary"];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn b1_the_secondary_stops_first() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, UpsmonConf { host_sync: secs(15), ..fast(PRI) });
    let every_two = UpsmonConf {
        final_delay: secs(3),
        poll_frequency: secs(2),
        poll_frequency_alert: secs(2),
        ..fast(SEC)
    };
    let sec = world.host("sec", 0.1, every_two);
    world.set(U1, "OL");
    world.at(2.5, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    world.expect(
        pri,
        "3 ONBATT u1@localhost
         3 LOWBATT u1@localhost
         3 FSD u1@localhost
         3 SHUTDOWN_HOSTSYNC
         7.25 SHUTDOWN
         8.25 CMD
         8.25 exit",
    );
    world.expect(
        sec,
        "4.1 FSD u1@localhost
         4.1 ONBATT u1@localhost
         4.1 LOWBATT u1@localhost
         4.1 SHUTDOWN
         7.1 CMD
         7.1 exit",
    );
    assert_eq!(world.status(U1), "FSD OB LB");
}

#[test]
fn b2_the_same_with_all_defaults() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, conf(PRI));
    let sec = world.host("sec", 1.3, conf(SEC));
    world.set(U1, "OL");
    world.at(8.3, |world| world.set(U1, "OB"));
    world.at(28.3, |world| world.set(U1, "OB LB"));
    world.run_until(100.0);
    world.expect(
        pri,
        "10 ONBATT u1@localhost
         30 LOWBATT u1@localhost
         30 FSD u1@localhost
         30 SHUTDOWN_HOSTSYNC
         36.5 SHUTDOWN
         41.5 CMD
         41.5 exit",
    );
    world.expect(
        sec,
        "11.3 ONBATT u1@localhost
         31.3 FSD u1@localhost
         31.3 LOWBATT u1@localhost
         31.3 SHUTDOWN
         36.3 CMD
         36.3 exit",
    );
}

#[test]
fn b3_a_stuck_secondary_holds_the_primary_for_host_sync() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.strangers(U1, 1);
    world.at(2.5, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    world.expect(
        pri,
        "3 ONBATT u1@localhost
         3 LOWBATT u1@localhost
         3 FSD u1@localhost
         3 SHUTDOWN_HOSTSYNC
         8.5 host sync expired
         8.5 SHUTDOWN
         9.5 CMD
         9.5 exit",
    );
}

/// A primary that waits, since somebody else is logged in, until this happens.
fn until(happens: fn(&mut World)) -> (World, usize) {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, UpsmonConf { host_sync: secs(30), ..fast(PRI) });
    world.set(U1, "OL");
    world.strangers(U1, 1);
    world.at(2.5, |world| world.set(U1, "OB LB"));
    world.at(5.9, happens);
    world.run_until(60.0);
    (world, pri)
}

#[test]
fn b4_a_secondary_that_dies_is_waited_for_no_longer() {
    let (world, pri) = until(|world| world.strangers(U1, 0));
    assert_eq!(world.told(pri)[4..], ["6 SHUTDOWN", "7 CMD", "7 exit"]);
    assert!(!world.has_logged(pri, "Host sync timer expired"));
}

/// Nobody can say who is logged in: then nobody is.
#[test]
fn b5_a_server_that_dies_keeps_its_primary_waiting_no_longer() {
    let (world, pri) = until(|world| world.upsd("localhost", Upsd::Down));
    assert_eq!(world.told(pri)[4..], ["6 SHUTDOWN", "7 CMD", "7 exit"]);
}

#[test]
fn b6_power_that_returns_does_not_call_back_what_has_begun() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.strangers(U1, 1);
    world.at(2.5, |world| world.set(U1, "OB LB"));
    world.at(5.0, |world| world.set(U1, "OL"));
    let late = world.host("late", 13.0, fast(SEC));
    world.run_until(60.0);
    assert_eq!(world.told(pri)[4..], ["8.5 host sync expired", "8.5 SHUTDOWN", "9.5 CMD", "9.5 exit"]);
    assert_eq!(world.status(U1), "FSD OL");
    world.expect(late, "13 FSD u1@localhost\n 13 SHUTDOWN\n 14 CMD\n 14 exit");
}

#[test]
fn b7_a_latched_fsd_stops_the_primary_again_until_upsd_is_restarted() {
    let mut world = World::new();
    world.set(U1, "OL");
    let first = world.host("first", 0.0, fast(PRI));
    world.at(2.0, move |world| world.send(first, Event::ForceShutdown { signal: 10 }));
    let second = world.host("second", 5.0, fast(PRI));
    world.at(9.0, |world| {
        world.upsd("localhost", Upsd::Down);
        world.upsd("localhost", Upsd::Up);
    });
    let third = world.host("third", 10.0, fast(PRI));
    world.run_until(60.0);
    world.expect(first, "2 FSD u1@localhost\n 2 SHUTDOWN\n 3 CMD\n 3 exit");
    world.expect(second, "5 FSD u1@localhost\n 5 SHUTDOWN\n 6 CMD\n 6 exit");
    world.expect(third, "");
}

#[test]
fn b8_an_order_on_the_primary_takes_its_secondaries_along() {
    let mut world = World::new();
    world.set(U1, "OL");
    world.set("u2@localhost", "OL");
    let lines = ["u1@localhost 1 pri pp primary", "u2@localhost 0 pri pp primary"];
    let pri = world.host("pri", 0.0, fast(&lines));
    let sec = world.host("sec", 0.1, fast(SEC));
    world.at(4.0, move |world| world.send(pri, Event::ForceShutdown { signal: 10 }));
    world.run_until(60.0);
    world.expect(sec, "4.1 FSD u1@localhost\n 4.1 SHUTDOWN\n 5.1 CMD\n 5.1 exit");
    world.expect(
        pri,
        "4 FSD u1@localhost
         4 FSD u2@localhost
         4 SHUTDOWN_HOSTSYNC
         5.25 SHUTDOWN
         6.25 CMD
         6.25 exit",
    );
    assert_eq!((world.status(U1), world.status("u2@localhost")), ("FSD OL".into(), "FSD OL".into()));
}

#[test]
fn b9_an_order_on_a_secondary_stops_that_host_alone() {
    let mut world = World::new();
    world.set(U1, "OL");
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.1, fast(SEC));
    world.at(4.0, move |world| world.send(sec, Event::ForceShutdown { signal: 10 }));
    world.run_until(60.0);
    world.expect(sec, "4 SHUTDOWN\n 5 CMD\n 5 exit");
    world.expect(pri, "");
    assert_eq!(world.status(U1), "OL");
}

/// Both hosts, and a UPS whose shutdown somebody else forces at 3.5 s.
fn forced_by(force: fn(&mut World)) -> (World, usize, usize) {
    let mut world = World::new();
    world.set(U1, "OL");
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.1, fast(SEC));
    world.at(3.5, force);
    world.run_until(60.0);
    (world, pri, sec)
}

const FORCED_PRIMARY: &str = "4 FSD u1@localhost
    4 SHUTDOWN_HOSTSYNC
    5.25 SHUTDOWN
    6.25 CMD
    6.25 exit";
const FORCED_SECONDARY: &str = "4.1 FSD u1@localhost\n 4.1 SHUTDOWN\n 5.1 CMD\n 5.1 exit";

#[test]
fn b10_fsd_by_an_administrators_client_stops_everybody() {
    let (world, pri, sec) = forced_by(|world| world.force(U1));
    world.expect(pri, FORCED_PRIMARY);
    world.expect(sec, FORCED_SECONDARY);
}

#[test]
fn b11_fsd_by_the_driver_itself_stops_everybody() {
    let (mut world, pri, sec) = forced_by(|world| world.set(U1, "FSD OL"));
    world.expect(pri, FORCED_PRIMARY);
    world.expect(sec, FORCED_SECONDARY);
    // The primary has set it on top: it stays when the driver says it no more.
    world.set(U1, "OL");
    assert_eq!(world.status(U1), "FSD OL");
}

#[test]
fn b12_a_secondary_whose_primary_was_killed_stops_by_itself() {
    let mut world = World::new();
    world.set(U1, "OL");
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.1, fast(SEC));
    world.at(2.0, |world| world.set(U1, "OB"));
    world.at(5.0, move |world| world.kill(pri));
    world.at(6.0, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    world.expect(
        sec,
        "2.1 ONBATT u1@localhost
         6.1 LOWBATT u1@localhost
         12.1 giving up on the primary of u1@localhost
         12.1 SHUTDOWN
         13.1 CMD
         13.1 exit",
    );
}

#[test]
fn b13_a_watcher_holds_the_primary_for_all_of_host_sync() {
    let mut world = World::new();
    world.set(U1, "OL");
    let pri = world.host("pri", 0.0, fast(PRI));
    let lines = ["u1@localhost 0 sec ss secondary"];
    let watcher = world.host("watcher", 0.1, UpsmonConf { min_supplies: 0, ..fast(&lines) });
    world.at(2.5, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    assert_eq!(world.told(pri)[4..], ["8.5 host sync expired", "8.5 SHUTDOWN", "9.5 CMD", "9.5 exit"]);
    assert!(world.is_running(watcher));
}

#[test]
fn b14_a_ups_under_two_names_is_waited_for_by_itself() {
    let mut world = World::new();
    world.set(U1, "OL");
    world.set("u1@127.0.0.1", "OL");
    let lines = ["u1@localhost 1 pri pp primary", "U1@localhost 0 sec ss secondary"];
    let pri = world.host("pri", 0.0, fast(&lines));
    // The world tells names apart by case, upsd does not: give it the second name, too.
    world.set("U1@localhost", "OL");
    world.strangers(U1, 1);
    world.at(2.5, |world| {
        world.set(U1, "OB LB");
        world.set("U1@localhost", "OB LB");
    });
    world.run_until(60.0);
    world.expect(
        pri,
        "3 ONBATT u1@localhost
         3 LOWBATT u1@localhost
         3 FSD u1@localhost
         3 SHUTDOWN_HOSTSYNC
         8.5 host sync expired
         8.5 SHUTDOWN
         9.5 CMD
         9.5 exit",
    );
}

#[test]
fn b15_of_two_primaries_the_less_patient_one_stops_first() {
    let mut world = World::new();
    world.set(U1, "OL");
    let a = world.host("a", 0.0, fast(PRI));
    let b = world.host("b", 0.5, UpsmonConf { host_sync: secs(8), ..fast(PRI) });
    world.at(4.7, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    assert_eq!(
        world.told(a)[3..],
        ["5 SHUTDOWN_HOSTSYNC", "10.5 host sync expired", "10.5 SHUTDOWN", "11.5 CMD", "11.5 exit"]
    );
    world.expect(
        b,
        "5.5 FSD u1@localhost
         5.5 ONBATT u1@localhost
         5.5 LOWBATT u1@localhost
         5.5 SHUTDOWN_HOSTSYNC
         11.5 SHUTDOWN
         12.5 CMD
         12.5 exit",
    );
}

#[test]
fn b16_a_host_with_two_parts_stops_only_when_both_feeds_are_lost() {
    let mut world = World::new();
    for ups in ["a@localhost", "b@localhost"] {
        world.set(ups, "OL");
    }
    let lines = ["a@localhost 1 pri pp primary", "b@localhost 1 sec ss secondary"];
    let mix = world.host("mix", 0.0, fast(&lines));
    let prib = world.host("prib", 0.1, fast(&["b@localhost 1 pri pp primary"]));
    world.at(2.5, |world| world.set("b@localhost", "OB LB"));
    world.at(10.7, |world| world.set("a@localhost", "OB LB"));
    world.run_until(60.0);
    world.expect(
        mix,
        "3 ONBATT b@localhost
         3 LOWBATT b@localhost
         4 FSD b@localhost
         11 ONBATT a@localhost
         11 LOWBATT a@localhost
         11 FSD a@localhost
         11 SHUTDOWN
         12 CMD
         12 exit",
    );
    assert_eq!(world.told(prib)[4..], ["8.6 host sync expired", "8.6 SHUTDOWN", "9.6 CMD", "9.6 exit"]);
}
