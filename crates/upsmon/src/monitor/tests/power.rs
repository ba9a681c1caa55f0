//! D: power values.

use super::*;

fn world_with(lines: &[&str], min_supplies: u32) -> World {
    let mut world = World::new();
    for text in lines {
        let ups = text.split(' ').next().unwrap();
        world.set(ups, "OL");
    }
    world.host("host", 0.0, UpsmonConf { min_supplies, ..fast(lines) });
    world
}

const THREE: &[&str] =
    &["a@localhost 1 pri pp primary", "b@localhost 1 pri pp primary", "c@localhost 1 pri pp primary"];

#[test]
fn d1_two_of_three_supplies() {
    let mut world = world_with(THREE, 2);
    world.at(2.5, |world| world.set("a@localhost", "OB LB"));
    world.at(7.5, |world| world.set("b@localhost", "OB"));
    world.at(10.5, |world| world.set("b@localhost", "OB LB"));
    world.run_until(60.0);
    world.expect(
        0,
        "3 ONBATT a@localhost
         3 LOWBATT a@localhost
         8 ONBATT b@localhost
         11 LOWBATT b@localhost
         11 FSD a@localhost
         11 FSD b@localhost
         11 FSD c@localhost
         11 SHUTDOWN
         12 CMD
         12 exit",
    );
    assert_eq!(world.status("c@localhost"), "FSD OL");
}

#[test]
fn d2_one_recovers_before_the_other_fails() {
    let mut world = world_with(THREE, 2);
    world.at(2.5, |world| world.set("a@localhost", "OB LB"));
    world.at(6.5, |world| world.set("a@localhost", "OL"));
    world.at(9.5, |world| world.set("b@localhost", "OB LB"));
    world.at(13.5, |world| world.set("b@localhost", "OL"));
    world.run_until(600.0);
    world.expect(
        0,
        "3 ONBATT a@localhost
         3 LOWBATT a@localhost
         7 ONLINE a@localhost
         10 ONBATT b@localhost
         10 LOWBATT b@localhost
         14 ONLINE b@localhost",
    );
}

const SCHOOL: &[&str] = &[
    "nicole@central 3 pri pp primary",
    "paris@central 1 pri pp primary",
    "lindsay@central 1 pri pp primary",
];

#[test]
fn d3_a_ups_that_does_not_feed_the_central_host_stops_only_those_it_feeds() {
    let mut world = world_with(SCHOOL, 3);
    let web = world.host("web", 0.1, fast(&["paris@central 1 sec ss secondary"]));
    world.at(3.5, |world| world.set("paris@central", "OB"));
    world.at(6.5, |world| world.set("paris@central", "OB LB"));
    world.at(15.5, |world| world.set("lindsay@central", "OB LB"));
    world.at(19.5, |world| world.set("nicole@central", "OB LB"));
    world.run_until(60.0);
    world.expect(
        0,
        "4 ONBATT paris@central
         7 LOWBATT paris@central
         16 ONBATT lindsay@central
         16 LOWBATT lindsay@central
         20 ONBATT nicole@central
         20 LOWBATT nicole@central
         20 FSD nicole@central
         20 FSD paris@central
         20 FSD lindsay@central
         20 SHUTDOWN
         21 CMD
         21 exit",
    );
    world.expect(
        web,
        "4.1 ONBATT paris@central
         7.1 LOWBATT paris@central
         13.1 giving up on the primary of paris@central
         13.1 SHUTDOWN
         14.1 CMD
         14.1 exit",
    );
}

#[test]
fn d4_a_central_host_that_goes_down_takes_everybody_along() {
    let mut world = World::new();
    for ups in ["nicole@central", "paris@central", "lindsay@central"] {
        world.set(ups, "OL");
    }
    let patient = UpsmonConf { min_supplies: 3, host_sync: Duration::from_secs(10), ..fast(SCHOOL) };
    let central = world.host("central", 0.0, patient);
    let web = world.host("web", 0.1, fast(&["paris@central 1 sec ss secondary"]));
    world.at(2.5, |world| world.set("nicole@central", "OB"));
    world.at(5.5, |world| world.set("nicole@central", "OB LB"));
    world.run_until(60.0);
    assert_eq!(world.told(central)[5..], ["6 SHUTDOWN_HOSTSYNC", "7.25 SHUTDOWN", "8.25 CMD", "8.25 exit"]);
    world.expect(web, "6.1 FSD paris@central\n 6.1 SHUTDOWN\n 7.1 CMD\n 7.1 exit");
    assert_eq!(world.status("lindsay@central"), "FSD OL");
}

#[test]
fn d5_fsd_on_one_of_two_feeds_stops_nobody() {
    let lines = ["a@localhost 1 sec ss secondary", "b@localhost 1 sec ss secondary"];
    let mut world = world_with(&lines, 1);
    world.at(1.5, |world| world.set("a@localhost", "FSD OB LB"));
    world.at(5.5, |world| world.set("b@localhost", "FSD OL"));
    world.run_until(60.0);
    world.expect(
        0,
        "2 FSD a@localhost
         2 ONBATT a@localhost
         2 LOWBATT a@localhost
         6 FSD b@localhost
         6 SHUTDOWN
         7 CMD
         7 exit",
    );
}

#[test]
fn d6_a_watched_ups_never_counts_but_gets_fsd_from_its_primary() {
    let mut world = world_with(&["u1@localhost 1 pri pp primary", "u2@localhost 0 sec ss secondary"], 1);
    world.at(1.5, |world| world.set("u2@localhost", "FSD OB LB"));
    world.at(3.5, |world| world.set("u2@localhost", "OL"));
    world.at(5.5, |world| world.set("u2@localhost", "FSD OL"));
    world.run_until(60.0);
    world.expect(
        0,
        "2 FSD u2@localhost
         2 ONBATT u2@localhost
         2 LOWBATT u2@localhost
         4 ONLINE u2@localhost
         6 FSD u2@localhost",
    );

    let mut world = world_with(&["u1@localhost 1 pri pp primary", "u2@localhost 0 pri pp primary"], 1);
    world.at(1.5, |world| world.set("u2@localhost", "OB LB"));
    world.run_until(60.0);
    world.expect(0, "2 ONBATT u2@localhost\n 2 LOWBATT u2@localhost");
    assert_eq!(world.status("u2@localhost"), "OB LB");
    world.set("u1@localhost", "OB LB");
    world.run_until(70.0);
    assert_eq!(world.status("u2@localhost"), "FSD OB LB");
    assert_eq!(world.status("u1@localhost"), "FSD OB LB");
    assert!(!world.is_running(0));
}

/// What is too little is told with both numbers, and nothing is watched with it; what is just enough is enough.
#[test]
fn d7_too_little_power_is_no_configuration() {
    for (values, min_supplies, expected) in [
        (&[1u32][..], 2, Err(TooLittlePower { total: 1, need: 2 })),
        (&[0], 1, Err(TooLittlePower { total: 0, need: 1 })),
        (&[], 1, Err(TooLittlePower { total: 0, need: 1 })),
        (&[3, 1, 1], 6, Err(TooLittlePower { total: 5, need: 6 })),
        (&[3, 1, 1], 5, Ok(())),
        (&[], 0, Ok(())),
        (&[u32::MAX, 1], u32::MAX, Ok(())),
    ] {
        let lines: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(nth, value)| format!("u{nth}@h {value} pri pp primary"))
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let conf = UpsmonConf { min_supplies, ..fast(&lines) };
        assert_eq!(enough_configured(&conf), expected, "{values:?} {min_supplies}");
    }
}
