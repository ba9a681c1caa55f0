//! G: reload, rights, rhythm.

use super::world::{Speaks, Upsd};
use super::*;
use nut_conf::upsmon_conf::{Channels, Tls};

const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];

fn reload(world: &mut World, host: usize, lines: &[&str]) {
    world.send(host, Event::Reload(Box::new(fast(lines))));
}

fn since(world: &World, host: usize, mark: usize) -> Vec<String> {
    world.logged(host)[mark..].to_vec()
}

fn world() -> World {
    let mut world = World::new();
    for ups in ["u1@localhost", "u2@localhost", "u3@localhost"] {
        world.set(ups, "OL");
    }
    world
}

#[test]
fn g1_changed_lines_take_effect_at_once() {
    let mut world = world();
    let host =
        world.host("host", 0.0, fast(&["u1@localhost 1 pri pp primary", "u2@localhost 1 pri pp primary"]));
    world.run_until(3.2);
    let mark = world.logged(host).len();
    reload(&mut world, host, &["u1@localhost 2 pri pp secondary", "u3@localhost 0 sec ss secondary"]);
    world.run_until(5.5);
    assert_eq!(
        since(&world, host, mark),
        [
            "Reloading configuration",
            "UPS [u1@localhost]: redefined power value to 2",
            "UPS [u1@localhost]: redefined as a secondary",
            "UPS: u3@localhost (monitoring only)",
            "No longer monitoring UPS [u2@localhost]",
        ]
    );
    let logins = ["u1@localhost", "u2@localhost", "u3@localhost"].map(|ups| world.logins(ups));
    assert_eq!(logins, [1, 0, 1]);

    let mark = world.logged(host).len();
    reload(&mut world, host, &["u1@localhost 1 pri pp primary"]);
    world.run_until(6.5);
    assert_eq!(
        since(&world, host, mark)[1..3],
        ["UPS [u1@localhost]: redefined power value to 1", "UPS [u1@localhost]: redefined as a primary"]
    );
    world.expect(host, "5.5 COMMOK u1@localhost");

    let mark = world.logged(host).len();
    reload(&mut world, host, &["u1@localhost 1 pri other primary"]);
    world.run_until(9.5);
    assert_eq!(since(&world, host, mark)[1..], ["UPS [u1@localhost]: redefined password"]);
    assert_eq!(world.logins("u1@localhost"), 1);
    world.expect(host, "5.5 COMMOK u1@localhost");
}

#[test]
fn g1_what_the_root_half_knows_stays_until_a_restart() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(1.0);
    let mut other = fast(PRI);
    other.shutdown_command = vec!["/sbin/other".into()];
    other.power_down_flag = Some("/etc/other".into());
    other.run_as_user = Some("somebody".into());
    // Told as long as the file says something else than what is done, and no longer.
    for (conf, times) in [(other.clone(), 1), (other, 2), (fast(PRI), 2)] {
        world.send(host, Event::Reload(Box::new(conf)));
        world.run_until(world.now.since_start().as_secs_f64() + 1.0);
        for directive in ["SHUTDOWNCMD", "POWERDOWNFLAG", "RUN_AS_USER"] {
            let warning = format!(
                "Warning: {directive} redefined in split-process mode! You must restart upsmon for this change to work"
            );
            assert_eq!(
                world.logged(host).iter().filter(|line| **line == warning).count(),
                times,
                "{directive}"
            );
        }
    }
}

#[test]
fn g2_a_reload_on_battery_tells_nothing_twice() {
    let mut world = world();
    world.set("u1@localhost", "OB");
    let both = |role| [format!("u1@localhost 1 pri pp {role}"), "u2@localhost 1 pri pp primary".to_owned()];
    let with = |role| fast(&both(role).each_ref().map(String::as_str));
    let host = world.host("host", 0.0, with("primary"));
    let reloads: [(f64, UpsmonConf); 5] = [
        (2.2, with("primary")),
        (4.2, with("secondary")),
        (6.2, with("primary")),
        (8.2, fast(&["u2@localhost 1 pri pp primary"])),
        (10.2, with("primary")),
    ];
    for (at, conf) in reloads {
        world.at(at, move |world| world.send(host, Event::Reload(Box::new(conf))));
    }
    world.run_until(20.0);
    world.expect(
        host,
        "0 ONBATT u1@localhost
         6.2 COMMOK u1@localhost
         10.2 ONBATT u1@localhost",
    );
}

#[test]
fn g3_an_impossible_configuration_is_refused_and_the_old_one_stays() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(1.5);
    let twice: &[&str] = &["u1@localhost 1 pri pp primary", "u1@localhost 1 pri pp primary"];
    for lines in [PRI, twice] {
        let impossible = UpsmonConf { min_supplies: 2, ..fast(lines) };
        world.send(host, Event::Reload(Box::new(impossible)));
        world.run_until(world.now.since_start().as_secs_f64() + 2.0);
        assert!(world.has_logged(host, "Reload failed: total power value (1) less than MINSUPPLIES (2)"));
    }
    let why = "can't open upsmon.conf: Permission denied".to_owned();
    world.send(host, Event::ReloadFailed { why });
    world.set("u1@localhost", "OB");
    world.run_until(8.5);
    world.expect(host, "6 ONBATT u1@localhost");
    assert!(world.has_logged(host, "Reload failed: can't open upsmon.conf: Permission denied"));
}

#[test]
fn a_mistyped_line_is_refused_at_a_reload_and_the_old_configuration_stays() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(1.5);
    let two = ["u1@localhost: 1 pri pp primary", "u2@localhost 1 pri pp primary"];
    let mark = world.logged(host).len();
    reload(&mut world, host, &two);
    world.run_until(2.5);
    let refused = "Reload failed: MONITOR u1@localhost: names no UPS: no port number specified after ':' separator; the \
                   old configuration stays";
    assert_eq!(since(&world, host, mark), ["Reloading configuration", refused]);
    assert_eq!([world.logins("u1@localhost"), world.logins("u2@localhost")], [1, 0]);

    // One that has been there from the start keeps no reload from its work.
    let host = world.host_now("other", fast(&two[..1]));
    world.run_until(3.5);
    let mark = world.logged(host).len();
    reload(&mut world, host, &two);
    world.run_until(4.5);
    assert_eq!(
        since(&world, host, mark)[..2],
        ["Reloading configuration", "UPS: u2@localhost (primary) (power value 1)"]
    );
    assert_eq!(world.logins("u2@localhost"), 1);
}

#[test]
fn g3_a_new_rhythm_counts_at_once() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(2.5);
    let slow = UpsmonConf { poll_frequency: Duration::from_secs(4), ..fast(PRI) };
    world.send(host, Event::Reload(Box::new(slow)));
    world.run_until(11.0);
    assert_eq!(polls(&world, host, 0), [0, 1, 2, 6, 10]);
}

/// The seconds at which a UPS was asked.
fn polls(world: &World, host: usize, ups: u32) -> Vec<u64> {
    let is_poll =
        |action: &Action| matches!(action, Action::Ask(of, Order::Poll { .. }) if *of == UpsId(ups));
    let polls = world.actions(host).iter().filter(|(_, action)| is_poll(action));
    polls.map(|(at, _)| at.since_start().as_secs()).collect()
}

#[test]
fn upses_are_asked_in_the_order_of_the_file_and_a_reload_appends() {
    let mut world = world();
    let [u1, u2, u3] =
        ["u1@localhost 1 pri pp primary", "u2@localhost 1 pri pp primary", "u3@localhost 1 pri pp primary"];
    let host = world.host("host", 0.0, fast(&[u2, u3]));
    world.run_until(1.5);
    reload(&mut world, host, &[u1, u2, u3]);
    world.run_until(2.5);
    let asked = world.actions(host).iter().filter_map(|(at, action)| match action {
        Action::Ask(ups, Order::Poll { .. }) => Some((at.since_start().as_secs(), ups.0)),
        _ => None,
    });
    // u2 and u3 were there first; u1 is asked as soon as it is there.
    assert_eq!(asked.collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn raising_min_supplies_above_what_is_healthy_stops_at_once() {
    let mut world = world();
    let lines = ["u1@localhost 1 pri pp primary", "u2@localhost 1 pri pp primary"];
    let host = world.host("host", 0.0, fast(&lines));
    world.set("u1@localhost", "OB LB");
    world.run_until(2.5);
    assert!(world.is_running(host));
    world.send(host, Event::Reload(Box::new(UpsmonConf { min_supplies: 2, ..fast(&lines) })));
    world.run_until(5.0);
    assert_eq!(world.told(host)[4..], ["2.5 SHUTDOWN", "3.5 CMD", "3.5 exit"]);
}

#[test]
fn a_reload_changes_texts_and_channels() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(1.5);
    let mut other = fast(PRI);
    other.notify_messages = vec![(NoticeKind::OnBatt, "%s sagt: Strom weg".into())];
    other.notify_flags = vec![(NoticeKind::OnBatt, Channels { exec: true, ..Channels::default() })];
    world.send(host, Event::Reload(Box::new(other)));
    world.set("u1@localhost", "OB");
    world.run_until(3.0);
    let notice = world.actions(host).iter().find_map(|(_, action)| match action {
        Action::Notify(notice) => Some(notice.clone()),
        _ => None,
    });
    let notice = notice.unwrap();
    assert_eq!(notice.text, "u1@localhost sagt: Strom weg");
    assert!(notice.to.exec && !notice.to.wall);
}

/// NUT never tries to log in again on a connection that works otherwise.
#[test]
fn g4_a_wrong_password_is_told_once_and_the_ups_watched_all_the_same() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(&["u1@localhost 1 pri WRONG primary"]));
    world.at(3.5, |world| world.set("u1@localhost", "OB"));
    world.at(6.5, |world| world.set("u1@localhost", "OB LB"));
    world.run_until(60.0);
    world.expect(
        host,
        "4 ONBATT u1@localhost
         7 LOWBATT u1@localhost
         7 no FSD for u1@localhost
         7 SHUTDOWN
         8 CMD
         8 exit",
    );
    let failed = "Login on UPS [u1@localhost] failed - got [ERR ACCESS-DENIED]";
    assert_eq!(world.logged(host).iter().filter(|line| *line == failed).count(), 1);
    assert!(world.has_logged(host, "FSD set on UPS u1@localhost failed: ERR ACCESS-DENIED"));
    assert_eq!(world.status("u1@localhost"), "OB LB");
}

#[test]
fn g4_the_right_password_after_a_reload_logs_in() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(&["u1@localhost 1 sec WRONG secondary"]));
    world.run_until(3.5);
    assert_eq!(world.logins("u1@localhost"), 0);
    reload(&mut world, host, &["u1@localhost 1 sec ss secondary"]);
    world.run_until(5.5);
    world.expect(host, "3.5 COMMOK u1@localhost");
    assert!(world.has_logged(host, "UPS [u1@localhost]: redefined password"));
    assert!(world.has_logged(host, "UPS [u1@localhost]: retrying connection"));
    assert_eq!(world.logins("u1@localhost"), 1);
}

#[test]
fn g5_a_secondarys_account_gives_no_primarys_rights() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(&["u1@localhost 1 sec ss primary"]));
    world.run_until(3.5);
    assert!(world.has_logged(host, "Primary managerial privileges unavailable on UPS [u1@localhost]"));
    assert!(world.has_logged(host, "Response: [ERR ACCESS-DENIED]"));
    assert_eq!(world.logins("u1@localhost"), 1);
}

/// In NUT one UPS that returns to mains slows down the polling of all others.
#[test]
fn g13_everybody_is_asked_faster_while_anybody_is_on_battery() {
    let mut world = world();
    let lines = ["u1@localhost 1 pri pp primary", "u2@localhost 1 pri pp primary"];
    let conf = UpsmonConf { poll_frequency: Duration::from_secs(6), ..fast(&lines) };
    let host = world.host("host", 0.0, conf);
    world.at(5.5, |world| world.set("u1@localhost", "OB"));
    world.at(8.5, |world| world.set("u2@localhost", "OB"));
    world.at(10.5, |world| world.set("u2@localhost", "OL"));
    world.at(13.5, |world| world.set("u1@localhost", "OL"));
    world.run_until(26.0);
    let expected = [0, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 26];
    assert_eq!(polls(&world, host, 0), expected);
    assert_eq!(polls(&world, host, 1), expected);
}

#[test]
fn g13_who_is_not_well_in_another_way_is_asked_faster_too() {
    let over = Some(Duration::from_secs(60));
    for (says, overload_duration, is_faster) in [
        ("OL OFF", None, true),
        ("OL BYPASS", None, true),
        ("OL ALARM", None, true),
        ("OL OVER", over, true),
        // Nothing will follow from it.
        ("OL OVER", None, false),
        ("OL TRIM", over, false),
        ("OL RB", over, false),
    ] {
        let mut world = world();
        let conf = UpsmonConf { poll_frequency: Duration::from_secs(6), overload_duration, ..fast(PRI) };
        let host = world.host("host", 0.0, conf);
        world.at(5.5, move |world| world.set("u1@localhost", says));
        world.run_until(12.0);
        let expected: &[u64] = if is_faster { &[0, 6, 7, 8, 9, 10, 11, 12] } else { &[0, 6, 12] };
        assert_eq!(polls(&world, host, 0), expected, "{says} {overload_duration:?}");
    }
}

#[test]
fn a_connection_made_anew_that_fails_is_told() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(2.5);
    world.upsd("localhost", Upsd::Down);
    reload(&mut world, host, &["u1@localhost 1 pri pp secondary"]);
    world.run_until(2.6);
    reload(&mut world, host, PRI);
    world.run_until(4.5);
    world.expect(host, "2.6 COMMBAD u1@localhost");
}

#[test]
fn tls_asked_for_later_reaches_the_connection() {
    let mut world = world();
    let host = world.host("host", 0.0, fast(PRI));
    world.run_until(1.5);
    let secure = UpsmonConf { tls: Tls { force: true, ..Tls::default() }, ..fast(PRI) };
    world.send(host, Event::Reload(Box::new(secure)));
    world.run_until(2.5);
    let told = |action: &Action| matches!(action, Action::Ask(_, Order::Use(line)) if line.protection.force);
    assert!(world.actions(host).iter().any(|(_, action)| told(action)));
}

/// What cannot be protected as it should be is no connection at all; on mains nobody stops for that.
#[test]
fn g14_a_server_without_the_protection_asked_for_is_out_of_reach() {
    let asks = |force, verify| Tls { force, verify, ..Tls::default() };
    let (trusted, other) = (Speaks::Tls { trusted: true }, Speaks::Tls { trusted: false });
    let (no_tls, not_trusted) =
        ("SSL is not available", "SSL error: invalid peer certificate: UnknownIssuer");
    for (tls, speaks, failure) in [
        (asks(false, false), Speaks::Plain, None),
        (asks(false, false), other, None),
        (asks(true, false), Speaks::Plain, Some(no_tls)),
        (asks(true, false), other, None),
        (asks(false, true), trusted, None),
        (asks(false, true), other, Some(not_trusted)),
        (asks(false, true), Speaks::Plain, Some(no_tls)),
    ] {
        let mut world = world();
        world.speaks("localhost", speaks);
        let host = world.host("host", 0.0, UpsmonConf { tls: tls.clone(), ..fast(PRI) });
        world.run_until(250.0);
        assert!(world.is_running(host));
        assert_eq!(world.logins("u1@localhost"), usize::from(failure.is_none()), "{tls:?} {speaks:?}");
        let Some(failure) = failure else {
            world.expect(host, "");
            continue;
        };
        world.expect(host, "0 COMMBAD u1@localhost\n 1 NOCOMM u1@localhost");
        let line = format!("UPS [u1@localhost]: connect failed: {failure}");
        assert!(world.has_logged(host, &line), "{:?}", world.logged(host));
    }
}
