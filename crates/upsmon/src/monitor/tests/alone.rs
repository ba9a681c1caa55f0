//! A: one host.

use super::*;
use crate::link::FromParent;
use nut_conf::upsmon_conf::{Channels, ShutdownExit};

const U1: &str = "u1@localhost";
const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];
const SEC: &[&str] = &["u1@localhost 1 sec ss secondary"];

/// One host, and a UPS that says these things from these times on.
fn plays(conf: UpsmonConf, says: &'static [(f64, &str)], until: f64) -> World {
    let mut world = World::new();
    world.host("host", 0.0, conf);
    for (at, status) in says {
        world.at(*at, move |world| world.set(U1, status));
    }
    // What is true at the start must be there before the first poll.
    if let Some((_, status)) = says.first() {
        world.set(U1, status);
    }
    world.run_until(until);
    world
}

#[test]
fn a1_mains_fail_and_return() {
    let world = plays(fast(PRI), &[(0.0, "OL"), (4.5, "OB"), (7.5, "OL")], 60.0);
    world.expect(0, "5 ONBATT u1@localhost\n 8 ONLINE u1@localhost");
}

#[test]
fn a2_started_during_an_outage() {
    let world = plays(fast(PRI), &[(0.0, "OB"), (3.5, "OL")], 60.0);
    world.expect(0, "0 ONBATT u1@localhost\n 4 ONLINE u1@localhost");
}

#[test]
fn a3_a_failure_shorter_than_the_poll_interval_is_not_seen() {
    let slow = |secs| UpsmonConf {
        poll_frequency: Duration::from_secs(secs),
        poll_frequency_alert: Duration::from_secs(secs),
        ..fast(PRI)
    };
    plays(slow(8), &[(0.0, "OL"), (2.0, "OB"), (5.0, "OL")], 60.0).expect(0, "");
    plays(slow(6), &[(0.0, "OL"), (2.0, "OB LB"), (4.0, "OL")], 60.0).expect(0, "");
}

#[test]
fn a4_low_battery_on_mains_is_no_reason_to_stop() {
    let says = &[(0.0, "OL"), (3.5, "OL LB"), (7.5, "OL"), (10.5, "OL LB")];
    plays(fast(PRI), says, 60.0).expect(0, "4 LOWBATT u1@localhost\n 11 LOWBATT u1@localhost");
}

#[test]
fn a5_a_lone_primary_stops_as_soon_as_it_hears_low_battery() {
    let mut world = plays(fast(PRI), &[(0.0, "OL"), (3.5, "OB LB")], 60.0);
    world.expect(
        0,
        "4 ONBATT u1@localhost
         4 LOWBATT u1@localhost
         4 FSD u1@localhost
         4 SHUTDOWN
         5 CMD
         5 exit",
    );
    assert_eq!(world.status(U1), "FSD OB LB");
    assert!(world.has_logged(
        0,
        "Too few UPS(es) are healthy (0<1), initiating forced shutdown: 0 supplies are left, 1 needed"
    ));
}

#[test]
fn a6_a_lone_secondary_waits_host_sync_for_its_primary() {
    let world = plays(fast(SEC), &[(0.0, "OL"), (3.5, "OB LB")], 60.0);
    world.expect(
        0,
        "4 ONBATT u1@localhost
         4 LOWBATT u1@localhost
         10 giving up on the primary of u1@localhost
         10 SHUTDOWN
         11 CMD
         11 exit",
    );
}

#[test]
fn a7_the_same_with_all_defaults_takes_twenty_seconds_not_fifteen() {
    let world = plays(conf(SEC), &[(0.0, "OL"), (7.0, "OB LB")], 60.0);
    world.expect(
        0,
        "10 ONBATT u1@localhost
         10 LOWBATT u1@localhost
         30 giving up on the primary of u1@localhost
         30 SHUTDOWN
         35 CMD
         35 exit",
    );
}

#[test]
fn a8_power_that_returns_ends_a_secondarys_wait() {
    let says = &[(0.0, "OL"), (3.5, "OB LB"), (7.5, "OL"), (11.5, "OB LB"), (15.5, "OB")];
    plays(fast(SEC), says, 600.0).expect(
        0,
        "4 ONBATT u1@localhost
         4 LOWBATT u1@localhost
         8 ONLINE u1@localhost
         12 ONBATT u1@localhost
         12 LOWBATT u1@localhost",
    );
}

#[test]
fn a9_a_host_that_needs_no_supply_never_stops_by_itself() {
    for line in ["u1@localhost 0 sec ss secondary", "u1@localhost 1 sec ss secondary"] {
        let mut world = World::new();
        let host = world.host("watcher", 0.0, UpsmonConf { min_supplies: 0, ..fast(&[line]) });
        world.set(U1, "OL");
        world.at(3.5, |world| world.set(U1, "OB LB"));
        world.run_until(60.0);
        world.expect(
            host,
            "4 ONBATT u1@localhost
             4 LOWBATT u1@localhost
             10 giving up on the primary of u1@localhost",
        );
        world.send(host, Event::ForceShutdown { signal: 10 });
        world.run_until(70.0);
        let told = world.told(host);
        assert_eq!(told[3..], ["60 SHUTDOWN", "61 CMD", "61 exit"]);
    }
    let alone = fast(&["u1@localhost 0 sec ss secondary"]);
    assert_eq!(enough_configured(&alone), Err(TooLittlePower { total: 0, need: 1 }));
}

/// NUT ends in that case, which leaves the host up and unwatched.
#[test]
fn a10_a_command_that_fails_is_told_again_and_again_and_the_host_stays_watched() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.command_ends(host, FromParent::Ended(7));
    world.set(U1, "OB LB");
    world.at(30.5, |world| world.set(U1, "OL"));
    world.at(40.5, |world| world.set(U1, "OB LB"));
    world.at(50.0, move |world| world.send(host, Event::ForceShutdown { signal: 10 }));
    world.run_until(200.0);
    world.expect(
        host,
        "0 ONBATT u1@localhost
         0 LOWBATT u1@localhost
         0 FSD u1@localhost
         0 SHUTDOWN
         1 CMD
         31 ONLINE u1@localhost
         41 ONBATT u1@localhost
         41 LOWBATT u1@localhost",
    );
    assert!(world.has_logged(host, "SHUTDOWNCMD ended with code 7"));
    let reminded =
        world.logged(host).iter().filter(|line| line.contains("this host was to be shut down")).count();
    assert_eq!(reminded, 2);
    assert!(world.is_running(host));
    // It does not hold up a primary: it will not stop any more.
    assert_eq!(world.logins(U1), 0);
}

/// An ordinary reboot would end with the UPS switched off.
#[test]
fn a_flag_that_outlives_a_failed_shutdown_is_told() {
    for (end, has_flag, is_told) in [
        (FromParent::Ended(7), true, true),
        (FromParent::NotRun, true, true),
        (FromParent::Ended(7), false, false),
    ] {
        let mut world = World::new();
        let flag = has_flag.then(|| "/etc/killpower".to_owned());
        let host = world.host("host", 0.0, UpsmonConf { power_down_flag: flag, ..fast(PRI) });
        world.command_ends(host, end);
        world.set(U1, "OB LB");
        world.run_until(130.0);
        let told =
            world.logged(host).iter().filter(|line| line.contains("/etc/killpower is still set")).count();
        // At once, and with each reminder.
        assert_eq!(told, if is_told { 2 } else { 0 }, "{end:?}");
        assert_eq!(world.explain(host).contains("/etc/killpower is still set"), is_told, "{end:?}");
    }
}

/// However long its programs run: the monitor is not told when they end, and waits for none.
#[test]
fn a11_nothing_waits_for_who_is_told() {
    let says = &[(0.0, "OL"), (2.0, "OB"), (4.0, "OL"), (6.0, "OB LB")];
    let mut conf = fast(PRI);
    let exec = Channels { exec: true, ..Channels::default() };
    conf.notify_flags = NoticeKind::ALL.map(|kind| (kind, exec)).to_vec();
    conf.notify_command = vec!["sleep 3600 #".into()];
    let world = plays(conf, says, 60.0);
    world.expect(
        0,
        "2 ONBATT u1@localhost
         4 ONLINE u1@localhost
         6 ONBATT u1@localhost
         6 LOWBATT u1@localhost
         6 FSD u1@localhost
         6 SHUTDOWN
         7 CMD
         7 exit",
    );
    // All six went to the program, each when it was news.
    let to_the_program = |action: &Action| matches!(action, Action::Notify(notice) if notice.to == exec);
    assert_eq!(world.actions(0).iter().filter(|(_, action)| to_the_program(action)).count(), 6);
}

#[test]
fn a12_nothing_shortens_or_stops_a_shutdown() {
    let long = UpsmonConf { final_delay: Duration::from_secs(10), ..fast(PRI) };
    let mut world = World::new();
    let host = world.host("host", 0.0, long.clone());
    world.set(U1, "OB LB");
    world.at(3.0, move |world| world.send(host, Event::Stop { signal: 15 }));
    // With what it says the command would come at once, or never.
    for (at, delay) in [(4.0, 0), (4.5, 600)] {
        let other = UpsmonConf { final_delay: Duration::from_secs(delay), ..long.clone() };
        world.at(at, move |world| world.send(host, Event::Reload(Box::new(other))));
    }
    world.at(5.0, move |world| world.send(host, Event::ForceShutdown { signal: 10 }));
    world.run_until(60.0);
    let told = world.told(host);
    assert_eq!(told[3..], ["0 SHUTDOWN", "10 CMD", "10 exit"]);
    assert!(world.has_logged(host, "Signal 15: a shutdown is under way"));
    assert!(world.has_logged(host, "Reload failed: a shutdown is under way"));
    assert_eq!(world.monitor(host).conf().final_delay, Duration::from_secs(10));

    let mut world = World::new();
    let patient = UpsmonConf { host_sync: Duration::from_secs(30), ..fast(PRI) };
    let host = world.host("host", 0.0, patient);
    world.set(U1, "OB LB");
    world.strangers(U1, 1);
    world.at(3.0, move |world| world.send(host, Event::Stop { signal: 15 }));
    world.run_until(60.0);
    let told = world.told(host);
    assert_eq!(
        told[3..],
        ["0 SHUTDOWN_HOSTSYNC", "30.5 host sync expired", "30.5 SHUTDOWN", "31.5 CMD", "31.5 exit"]
    );
}

#[test]
fn a12_an_order_to_shut_down_does_not_wait_for_the_next_poll() {
    let mut world = World::new();
    let slow = UpsmonConf { poll_frequency: Duration::from_secs(30), ..fast(SEC) };
    let host = world.host("host", 0.0, slow);
    world.set(U1, "OL");
    world.at(7.2, move |world| world.send(host, Event::ForceShutdown { signal: 10 }));
    world.run_until(60.0);
    world.expect(host, "7.2 SHUTDOWN\n 8.2 CMD\n 8.2 exit");
    assert!(world.has_logged(host, "Signal 10: User requested FSD"));
}

#[test]
fn g7_a_clean_stop_logs_out() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OB");
    world.at(7.2, move |world| world.send(host, Event::Stop { signal: 15 }));
    world.run_until(60.0);
    world.expect(host, "0 ONBATT u1@localhost\n 7.2 log out, exit");
    assert!(world.has_logged(host, "Signal 15: exiting"));
}

/// Who kills the half that watches gets no shutdown for it: neither flag nor command is asked for, here or elsewhere.
#[test]
fn g9_a_half_that_is_killed_stops_nobody() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.1, fast(SEC));
    world.set(U1, "OB");
    world.at(7.2, move |world| world.kill(pri));
    world.run_until(600.0);
    world.expect(pri, "0 ONBATT u1@localhost");
    world.expect(sec, "0.1 ONBATT u1@localhost");
    assert_eq!((world.status(U1), world.logins(U1)), ("OB".into(), 1));
}

/// In NUT the unprivileged half ends at the moment of the shutdown; the host is then up and unwatched.
#[test]
fn g8_without_its_root_half_it_says_so_and_stays() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.at(3.0, move |world| world.kill_parent(host));
    world.at(9.5, |world| world.set(U1, "OB LB"));
    world.run_until(280.0);
    world.expect(
        host,
        "3 NOPARENT
         10 ONBATT u1@localhost
         10 LOWBATT u1@localhost
         10 FSD u1@localhost
         10 SHUTDOWN
         123 NOPARENT
         243 NOPARENT",
    );
    assert!(world.has_logged(host, "Unable to call parent pipe for shutdown"));
    assert!(world.has_logged(host, "Parent died - shutdown impossible"));
    assert!(world.is_running(host));
    assert_eq!(world.status(U1), "FSD OB LB");
}

#[test]
fn a_root_half_that_dies_before_it_answers_is_a_failed_shutdown() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OB LB");
    world.at(0.5, move |world| world.hosts_parent_dies_silently(host));
    world.at(10.5, |world| world.set(U1, "OL"));
    world.run_until(60.0);
    let told = world.told(host);
    assert_eq!(told[3..], ["0 SHUTDOWN", "1 CMD", "1 NOPARENT", "11 ONLINE u1@localhost"]);
    assert!(world.is_running(host));
    assert!(world.has_logged(host, "this host was to be shut down"));
}

#[test]
fn b17_shutdown_exit_says_how_long_the_login_is_held() {
    let secs = Duration::from_secs;
    for (exit, left) in [
        (ShutdownExit::AtOnce, Some(1.0)),
        (ShutdownExit::After(secs(5)), Some(7.0)),
        (ShutdownExit::Never, None),
    ] {
        let mut world = World::new();
        let host = world.host("sec", 0.0, UpsmonConf { shutdown_exit: exit, ..fast(SEC) });
        world.set(U1, "FSD OL");
        world.run_until(0.9);
        assert_eq!(world.logins(U1), 1);
        world.run_until(30.0);
        let exit_at = world.told(host).iter().find(|line| line.ends_with(" exit")).cloned();
        assert_eq!(exit_at, left.map(|left| format!("{left} exit")), "{exit:?}");
        assert_eq!(world.logins(U1), usize::from(left.is_none()));
        world.send(host, Event::Stop { signal: 15 });
        world.run_until(31.0);
        assert!(!world.is_running(host));
    }
}
