//! C: servers, drivers and cables that are lost.

use super::world::Upsd;
use super::*;
use nut_proto::net::ErrCode;

const U1: &str = "u1@localhost";
const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];
const SEC: &[&str] = &["u1@localhost 1 sec ss secondary"];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn c1_a_server_that_dies_on_mains_is_told_but_stops_nobody() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, UpsmonConf { no_comm_warn_time: secs(4), ..fast(PRI) });
    world.set(U1, "OL");
    world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
    world.at(16.5, |world| world.upsd("localhost", Upsd::Up));
    world.run_until(60.0);
    world.expect(
        pri,
        "3 COMMBAD u1@localhost
         6 NOCOMM u1@localhost
         11 NOCOMM u1@localhost
         16 NOCOMM u1@localhost
         17 COMMOK u1@localhost",
    );
    assert!(world.has_logged(pri, "Poll UPS [u1@localhost] failed - Server disconnected"));
    let refused = "UPS [u1@localhost]: connect failed: Connection failure: Connection refused";
    assert!(world.has_logged(pri, refused));
    assert_eq!(world.logins(U1), 1);
}

/// C2, and NUT's issue 2794 with it: silence alone condemns no UPS.
#[test]
fn c2_silence_after_mains_never_stops_a_host() {
    for status in ["OL", "OL CAL", "OL BYPASS", "OL ALARM", "OFF", "ALARM", "OL OVER", "OL TRIM", "OL BOOST"]
    {
        for lines in [PRI, SEC] {
            let mut world = World::new();
            let host = world.host("host", 0.0, fast(lines));
            world.set(U1, status);
            world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
            world.run_until(5_000.0);
            assert!(world.is_running(host), "{status}: {:?}", world.told(host));
            assert!(world.told(host).iter().any(|line| line == "3 COMMBAD u1@localhost"));
        }
    }
}

#[test]
fn c3_silence_on_battery_stops_after_dead_time_and_both_waits_run_side_by_side() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.0, fast(SEC));
    world.set(U1, "OL");
    world.at(3.5, |world| world.set(U1, "OB"));
    world.at(5.5, |world| world.upsd("localhost", Upsd::Down));
    world.run_until(60.0);
    world.expect(
        pri,
        "4 ONBATT u1@localhost
         6 COMMBAD u1@localhost
         11 no FSD for u1@localhost
         11 SHUTDOWN
         12 CMD
         12 exit",
    );
    assert!(world.has_logged(pri, "FSD set on UPS u1@localhost failed: Driver not connected"));
    world.expect(
        sec,
        "4 ONBATT u1@localhost
         6 COMMBAD u1@localhost
         11 giving up on the primary of u1@localhost
         11 SHUTDOWN
         12 CMD
         12 exit",
    );
}

#[test]
fn c4_the_same_with_all_defaults() {
    for lines in [PRI, SEC] {
        let mut world = World::new();
        let host = world.host("host", 0.0, conf(lines));
        world.set(U1, "OL");
        world.at(8.0, |world| world.set(U1, "OB"));
        world.at(18.0, |world| world.upsd("localhost", Upsd::Down));
        world.run_until(100.0);
        let told = world.told(host);
        assert_eq!(told[..2], ["10 ONBATT u1@localhost", "20 COMMBAD u1@localhost"]);
        assert_eq!(told[3..], ["35 SHUTDOWN", "40 CMD", "40 exit"]);
    }
}

#[test]
fn c5_a_loss_that_spans_a_change() {
    let cases: [(&str, f64, &str, &str); 3] = [
        (
            "OB",
            4.0,
            "OL",
            "0 ONBATT u1@localhost\n 3 COMMBAD u1@localhost\n 7 COMMOK u1@localhost\n 7 ONLINE u1@localhost",
        ),
        ("OL", 8.0, "OB", "3 COMMBAD u1@localhost\n 11 COMMOK u1@localhost\n 11 ONBATT u1@localhost"),
        ("OB", 1.5, "OB", "0 ONBATT u1@localhost\n 3 COMMBAD u1@localhost\n 4 COMMOK u1@localhost"),
    ];
    for (before, lost, after, expected) in cases {
        let mut world = World::new();
        let pri = world.host("pri", 0.0, UpsmonConf { dead_time: secs(20), ..fast(PRI) });
        world.set(U1, before);
        world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
        world.at(2.4 + lost, move |world| {
            world.upsd("localhost", Upsd::Up);
            world.set(U1, after);
        });
        world.run_until(60.0);
        world.expect(pri, expected);
    }
}

#[test]
fn c6_a_driver_that_dies_on_battery_stops_the_host_and_fsd_can_still_be_set() {
    let refused = [
        (ErrCode::DriverNotConnected, "Driver not connected"),
        (ErrCode::DataStale, "Data stale"),
        // It is not in ups.conf any more, or upsd is another one.
        (ErrCode::UnknownUps, "[u1] does not exist on server localhost"),
        (ErrCode::AccessDenied, "Access denied"),
        (ErrCode::UnknownCommand, "Unknown command; UPS [u1@localhost]: Too old to monitor"),
        (ErrCode::VarNotSupported, "Variable not supported by UPS"),
    ];
    for (code, text) in refused {
        let mut world = World::new();
        let pri = world.host("pri", 0.0, fast(PRI));
        world.set(U1, "OB");
        world.at(4.5, move |world| world.refuse(U1, code));
        world.run_until(60.0);
        world.expect(
            pri,
            "0 ONBATT u1@localhost
             5 COMMBAD u1@localhost
             10 FSD u1@localhost
             10 SHUTDOWN
             11 CMD
             11 exit",
        );
        assert!(world.has_logged(pri, &format!("Poll UPS [u1@localhost] failed - {text}")));
        assert!(world.status(U1).starts_with("FSD "));
    }
}

#[test]
fn c7_stale_data_on_mains_are_told_and_stop_nobody() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, UpsmonConf { dead_time: secs(2), ..fast(PRI) });
    world.set(U1, "OL");
    world.at(5.5, |world| world.refuse(U1, ErrCode::DataStale));
    world.at(250.5, |world| world.set(U1, "OL"));
    world.run_until(300.0);
    world.expect(pri, "6 COMMBAD u1@localhost\n 251 COMMOK u1@localhost");
    let stale = "Poll UPS [u1@localhost] failed - Data stale";
    assert_eq!(world.logged(pri).iter().filter(|line| *line == stale).count(), 245);
    // The connection has been good all the time.
    assert_eq!(world.logins(U1), 1);
}

#[test]
fn c8_a_restart_of_upsd_is_told_once_and_everybody_logs_in_again() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    let sec = world.host("sec", 0.0, fast(SEC));
    world.set(U1, "OL");
    world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
    world.at(4.5, |world| world.upsd("localhost", Upsd::Up));
    world.run_until(60.0);
    for host in [pri, sec] {
        world.expect(host, "3 COMMBAD u1@localhost\n 5 COMMOK u1@localhost");
    }
    assert_eq!(world.logins(U1), 2);
}

#[test]
fn c9_a_restart_of_upsd_inside_a_secondarys_wait_begins_it_anew() {
    let mut world = World::new();
    let sec = world.host("sec", 0.0, UpsmonConf { host_sync: secs(10), ..fast(SEC) });
    world.set(U1, "OL");
    world.at(3.5, |world| world.set(U1, "OB LB"));
    world.at(5.5, |world| world.upsd("localhost", Upsd::Down));
    world.at(6.5, |world| {
        world.upsd("localhost", Upsd::Up);
        world.set(U1, "WAIT");
    });
    world.at(7.5, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    world.expect(
        sec,
        "4 ONBATT u1@localhost
         4 LOWBATT u1@localhost
         6 COMMBAD u1@localhost
         7 COMMOK u1@localhost
         7 OTHER u1@localhost [WAIT]
         8 NOTOTHER u1@localhost
         8 LOWBATT u1@localhost
         19 giving up on the primary of u1@localhost
         19 SHUTDOWN
         20 CMD
         20 exit",
    );
}

#[test]
fn c10_a_server_that_was_never_there_stops_nobody() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, UpsmonConf { no_comm_warn_time: secs(4), ..fast(PRI) });
    world.upsd("localhost", Upsd::Down);
    world.run_until(12.0);
    world.expect(
        pri,
        "0 COMMBAD u1@localhost
         1 NOCOMM u1@localhost
         6 NOCOMM u1@localhost
         11 NOCOMM u1@localhost",
    );
    world.run_until(100_000.0);
    assert!(world.is_running(pri));
    // The first answer is told, and a first "on line" is not.
    world.set(U1, "OL");
    world.upsd("localhost", Upsd::Up);
    world.run_until(100_002.0);
    assert_eq!(world.told(pri).last().unwrap(), "100001 COMMOK u1@localhost");
}

/// NUT does not ask in the cycle in which the login failed, and never tries to log in again.
/// A file with a slip of the pen in it starts NUT's upsmon, and so ours: such a UPS is one that was never heard.
#[test]
fn a_line_that_names_no_ups_is_out_of_reach_for_ever_and_its_supply_counts_as_good() {
    for name in ["u1@localhost:0", "u1@localhost:", "@localhost", "u1@", "u1:3493", "u/1@localhost", "u1@::1"]
    {
        let mut world = World::new();
        let (bad, good) = (format!("{name} 1 pri pp primary"), "u2@localhost 1 pri pp primary");
        let host = world.host("host", 0.0, UpsmonConf { no_comm_warn_time: secs(4), ..fast(&[&bad, good]) });
        world.set("u2@localhost", "OL");
        world.at(6.5, |world| world.set("u2@localhost", "OB LB"));
        world.run_until(7.5);
        world.expect(
            host,
            &format!("0 COMMBAD {name}\n1 NOCOMM {name}\n6 NOCOMM {name}\n7 ONBATT u2@localhost\n7 LOWBATT u2@localhost"),
        );
        assert!(world.is_running(host), "{name}");
        assert!(world.has_logged(
            host,
            &format!("UPS [{name}]: connect failed: Connection failure: it names no UPS: ")
        ));
        // With both needed the host stops, and what cannot be told keeps nobody waiting.
        world.send(host, Event::Reload(Box::new(UpsmonConf { min_supplies: 2, ..fast(&[&bad, good]) })));
        world.run_until(9.0);
        assert!(!world.is_running(host), "{name}");
        assert!(world.has_logged(host, &format!("FSD set on UPS {name} failed: Driver not connected")));
    }
}

#[test]
fn c11_a_ups_unknown_to_upsd_is_told_and_tried_again() {
    let mut world = World::new();
    world.set(U1, "OL");
    let lines = ["u1@localhost 1 pri pp primary", "nosuch@localhost 1 pri pp primary"];
    let pri = world.host("pri", 0.0, fast(&lines));
    world.run_until(100.5);
    world.expect(pri, "0 COMMBAD nosuch@localhost\n 1 NOCOMM nosuch@localhost");
    assert!(world.has_logged(pri, "Login on UPS [nosuch@localhost] failed - got [ERR UNKNOWN-UPS]"));
    assert!(
        world.has_logged(
            pri,
            "Poll UPS [nosuch@localhost] failed - [nosuch] does not exist on server localhost"
        )
    );
    let logins = world.logged(pri).iter().filter(|line| line.starts_with("Login on UPS")).count();
    assert_eq!(logins, 1);
    world.set("nosuch@localhost", "OL");
    world.run_until(102.0);
    assert_eq!(world.logins("nosuch@localhost"), 1);
    assert!(world.has_logged(pri, "Logged in on UPS [nosuch@localhost]"));
}

#[test]
fn c12_a_server_that_hangs_on_battery_stops_the_host_after_dead_time() {
    let mut world = World::new();
    let sec = world.host("sec", 0.0, fast(SEC));
    world.set(U1, "OB");
    world.at(5.5, |world| world.upsd("localhost", Upsd::Hung));
    world.run_until(60.0);
    world.expect(
        sec,
        "0 ONBATT u1@localhost
         11 COMMBAD u1@localhost
         11 giving up on the primary of u1@localhost
         11 SHUTDOWN
         12 CMD
         12 exit",
    );
}

#[test]
fn c12_a_server_that_hangs_on_mains_is_told_and_taken_back() {
    let mut world = World::new();
    let sec = world.host("sec", 0.0, fast(SEC));
    world.set(U1, "OL");
    world.at(2.5, |world| world.upsd("localhost", Upsd::Hung));
    world.at(15.0, |world| world.upsd("localhost", Upsd::Up));
    world.run_until(60.0);
    world.expect(sec, "8 COMMBAD u1@localhost\n 15 COMMOK u1@localhost");
}

/// Connecting takes longer than a poll's time: DEADTIME is over while it is tried, and the decision does not wait for it,
/// nor does the shutdown wait for secondaries that nobody can count.
#[test]
fn a_server_out_of_reach_on_battery_delays_the_decision_by_no_more_than_a_poll() {
    for lines in [PRI, SEC] {
        let mut world = World::new();
        let host = world.host("host", 0.0, UpsmonConf { dead_time: secs(8), ..fast(lines) });
        world.set(U1, "OB");
        world.at(5.5, |world| world.upsd("localhost", Upsd::OutOfReach));
        world.run_until(60.0);
        let told: Vec<_> = world.told(host).into_iter().filter(|line| !line.contains("giving up")).collect();
        assert_eq!(
            told,
            // DEADTIME is over at 14; the second is for an answer that may have come unheard.
            ["0 ONBATT u1@localhost", "11 COMMBAD u1@localhost", "15 SHUTDOWN", "16 CMD", "16 exit"]
        );
    }
}

#[test]
fn a_server_out_of_reach_is_told_as_often_as_one_that_refuses() {
    let mut world = World::new();
    let host = world.host("host", 0.0, UpsmonConf { no_comm_warn_time: secs(4), ..fast(PRI) });
    world.set(U1, "OL");
    world.at(2.5, |world| world.upsd("localhost", Upsd::OutOfReach));
    world.run_until(20.0);
    world.expect(
        host,
        "8 COMMBAD u1@localhost
         9 NOCOMM u1@localhost
         14 NOCOMM u1@localhost
         19 NOCOMM u1@localhost",
    );
    let log = world.logged(host);
    let failed = log.iter().filter(|line| line.contains(" failed")).count();
    assert_eq!(failed, 2, "{log:#?}");
}

/// NUT asks all UPSes one after the other, and waits for each.
#[test]
fn c13_a_server_that_hangs_delays_nobody_else() {
    let mut world = World::new();
    world.set(U1, "OL");
    world.set("far@elsewhere", "OL");
    let lines = ["far@elsewhere 1 sec ss secondary", "u1@localhost 1 pri pp primary"];
    let host = world.host("host", 0.0, fast(&lines));
    world.at(2.5, |world| world.upsd("elsewhere", Upsd::Hung));
    world.run_until(60.0);
    let polls = world
        .actions(host)
        .iter()
        .filter(|(_, action)| *action == Action::Ask(UpsId(1), Order::Poll { log_in: true }));
    assert_eq!(polls.count(), 61);
}

/// Twenty of fifty are dead, each in one of four ways, before and after it was heard; the others keep their rhythm to
/// the second, and their news come at once.
#[test]
fn of_fifty_upses_twenty_dead_ones_delay_no_other() {
    for dies_at in [0.0, 5.5] {
        let mut world = World::new();
        let names: Vec<String> = (0..50).map(|nth| format!("u@server{nth}")).collect();
        let lines: Vec<String> = names.iter().map(|name| format!("{name} 1 pri pp primary")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let host = world.host("central", 0.1, UpsmonConf { min_supplies: 30, ..fast(&lines) });
        for name in &names {
            world.set(name, "OL");
        }
        world.at(dies_at, |world| {
            for (nth, how) in (0..20).zip([Upsd::Down, Upsd::Hung, Upsd::OutOfReach].into_iter().cycle()) {
                match nth % 4 {
                    3 => world.refuse(&format!("u@server{nth}"), ErrCode::DataStale),
                    _ => world.upsd(&format!("server{nth}"), how),
                }
            }
        });
        world.at(30.5, |world| world.set("u@server49", "OB"));
        world.run_until(60.5);
        for ups in 20..50 {
            let asked = Action::Ask(UpsId(ups), Order::Poll { log_in: true });
            let polls = world.actions(host).iter().filter(|(_, action)| *action == asked);
            let moments: Vec<Duration> = polls.map(|(at, _)| at.since_start()).collect();
            let expected: Vec<Duration> =
                (0..=60).map(|nth| secs(nth) + Duration::from_millis(100)).collect();
            assert_eq!(moments, expected, "u@server{ups}");
        }
        assert!(world.is_running(host));
        let told = world.told(host);
        assert!(told.contains(&"31.1 ONBATT u@server49".to_owned()), "{told:?}");
        for nth in 0..20 {
            let lost = format!(" COMMBAD u@server{nth}");
            assert_eq!(told.iter().filter(|line| line.ends_with(&lost)).count(), 1, "{nth}: {told:?}");
        }
    }
}

/// However patient its connection is: after [`PATIENCE`] a UPS that does not answer counts as silent.
#[test]
fn a_question_that_stays_out_counts_as_unanswered() {
    let mut machine = Monitor::new(fast(PRI), Halves::Split);
    let at = Moment::from_secs;
    machine.step(at(0), Event::Start);
    let heard = Report::Polled(watch::Heard::status("OB"));
    machine.step(at(0), Event::Server(UpsId(0), heard));
    let asked = machine.step(at(1), Event::Tick);
    assert!(asked.contains(&Action::Ask(UpsId(0), Order::Poll { log_in: true })));
    // Meanwhile it looks at the clock, or it would not know whether it is the server that stands still.
    assert!(asked.contains(&Action::WakeAt(at(2))));
    for second in 2..13 {
        let told = machine.step(at(second), Event::Tick);
        assert_eq!(told, [Action::WakeAt(at(second + 1))]);
    }
    let told = machine.step(at(1) + PATIENCE, Event::Tick);
    let lost =
        |action: &Action| matches!(action, Action::Notify(notice) if notice.kind == NoticeKind::CommBad);
    assert!(told.iter().any(lost), "{told:?}");
    // If we did not run meanwhile the answer may be there unheard: it has another second.
    assert!(!machine.is_stopping());
    assert!(told.contains(&Action::WakeAt(at(1) + PATIENCE + SECOND_WORD)), "{told:?}");
    machine.step(at(1) + PATIENCE + SECOND_WORD, Event::Tick);
    assert!(machine.is_stopping());
}

#[test]
fn c14_a_dead_ups_that_comes_back_with_low_battery_does_not_begin_the_wait_anew() {
    let mut world = World::new();
    let lines = ["u1@localhost 0 sec ss secondary"];
    let host = world.host("watcher", 0.0, UpsmonConf { min_supplies: 0, ..fast(&lines) });
    world.set(U1, "OB");
    world.at(3.5, |world| world.refuse(U1, ErrCode::DataStale));
    world.at(12.5, |world| world.set(U1, "OB LB"));
    world.at(15.5, |world| world.set(U1, "OB"));
    world.at(17.5, |world| world.set(U1, "OB LB"));
    world.run_until(20.0);
    world.expect(
        host,
        "0 ONBATT u1@localhost
         4 COMMBAD u1@localhost
         9 giving up on the primary of u1@localhost
         13 COMMOK u1@localhost
         18 LOWBATT u1@localhost",
    );
}

#[test]
fn c15_of_two_feeds_one_may_die() {
    let mut world = World::new();
    for ups in ["a@localhost", "b@localhost"] {
        world.set(ups, "OL");
    }
    let lines = ["a@localhost 1 pri pp primary", "b@localhost 1 pri pp primary"];
    let pri = world.host("pri", 0.0, fast(&lines));
    world.at(2.5, |world| world.set("a@localhost", "OB"));
    world.at(4.5, |world| world.refuse("a@localhost", ErrCode::DataStale));
    world.at(13.5, |world| world.set("b@localhost", "OB"));
    world.at(16.5, |world| world.set("b@localhost", "OB LB"));
    world.run_until(60.0);
    world.expect(
        pri,
        "3 ONBATT a@localhost
         5 COMMBAD a@localhost
         14 ONBATT b@localhost
         17 LOWBATT b@localhost
         17 FSD a@localhost
         17 FSD b@localhost
         17 SHUTDOWN
         18 CMD
         18 exit",
    );
}

#[test]
fn c16_an_empty_status_is_as_good_as_none() {
    let mut world = World::new();
    let pri = world.host("pri", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.at(3.5, |world| world.set(U1, ""));
    world.at(7.5, |world| world.set(U1, "OL"));
    world.run_until(60.0);
    world.expect(pri, "4 COMMBAD u1@localhost\n 8 COMMOK u1@localhost");
    assert!(!world.has_logged(pri, "failed -"));
}

/// A lost UPS that is being asked this very moment may save the host: its answer is waited for, but not for long.
#[test]
fn a_decision_waits_for_an_answer_that_could_change_it() {
    let lines = ["a@one 1 pri pp primary", "b@two 1 pri pp primary"];
    for (hangs, expected) in [(false, None), (true, Some("11 SHUTDOWN"))] {
        let mut world = World::new();
        world.set("a@one", "OB LB");
        world.set("b@two", "OL");
        let host = world.host("host", 0.0, fast(&lines));
        world.at(9.5, move |world| {
            world.set("b@two", "OB LB");
            match hangs {
                // Asked before b, and silent: the decision comes within a second.
                true => world.upsd("one", Upsd::Hung),
                // Both change between two polls; never are both lost.
                false => world.set("a@one", "OL"),
            }
        });
        world.run_until(14.0);
        let shutdown = world.told(host).into_iter().find(|line| line.ends_with("SHUTDOWN"));
        match expected {
            None => assert_eq!(shutdown, None),
            // FSD for a@one hangs until HOSTSYNC is over; the decision itself came at 11.
            Some(_) => assert!(world.actions(host).iter().any(|(at, action)| {
                *at == Moment::from_secs(11) && *action == Action::Ask(UpsId(1), Order::SetFsd)
            })),
        }
    }
}
