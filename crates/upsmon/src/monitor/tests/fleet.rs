//! Two hundred hosts on one upsd: the real machine in simulated time, where a second is a second.

use super::world::HostId;
use super::*;

const UNIT: &str = "unit@localhost";

/// Hosts besides the primary.
const HOSTS: u32 = 200;

/// A primary and its fleet with NUT's defaults, started one after the other within a polling interval; power fails for
/// good at 28.3 s, and the primary sees it at 30 s.
fn fleet(world: &mut World) -> (HostId, Vec<HostId>) {
    let primary = world.host("primary", 0.0, conf(&["unit@localhost 1 pri pp primary"]));
    let secondary = |nth: u32| {
        let start = 5.0 * f64::from(nth) / f64::from(HOSTS);
        world.host("host", start, conf(&["unit@localhost 1 sec ss secondary"]))
    };
    let hosts = (1..=HOSTS).map(secondary).collect();
    world.set(UNIT, "OL");
    world.at(28.3, |world| world.set(UNIT, "OB LB"));
    (primary, hosts)
}

/// When each thing of this kind was told, in seconds.
fn when(world: &World, host: HostId, what: &str) -> Vec<f64> {
    let told = world.told(host);
    told.iter()
        .filter_map(|line| line.split_once(' ')?.1.eq(what).then(|| line.split(' ').next()?.parse().ok())?)
        .collect()
}

/// Each host hears of the forced shutdown at its next poll, and its command runs FINALDELAY later. Gives the last one.
fn all_stop(world: &World, hosts: &[HostId]) -> f64 {
    let mut last: f64 = 0.0;
    for host in hosts {
        let (told, ran) = (when(world, *host, "FSD unit@localhost"), when(world, *host, "CMD"));
        let ([told], [ran]) = (&told[..], &ran[..]) else { panic!("once each: {:?}", world.told(*host)) };
        assert!((30.0..=35.0).contains(told), "{:?}", world.told(*host));
        assert!((ran - told - 5.0).abs() < 1e-6, "{:?}", world.told(*host));
        last = last.max(*ran);
    }
    last
}

#[test]
fn a_fleet_of_two_hundred_stops_in_order_and_the_primary_waits_for_the_last_and_no_longer() {
    let mut world = World::new();
    let (primary, hosts) = fleet(&mut world);
    world.run_until(29.0);
    assert_eq!(world.logins(UNIT), hosts.len() + 1);
    world.run_until(100.0);
    let last = all_stop(&world, &hosts);
    // It counts logins four times a second.
    let [shutdown] = when(&world, primary, "SHUTDOWN")[..] else { panic!("the primary stops once") };
    assert!(shutdown >= last && shutdown <= last + 0.25, "{shutdown} after {last}");
    assert_eq!(when(&world, primary, "CMD"), [shutdown + 5.0]);
    assert!(!world.has_logged(primary, "Host sync timer expired"));
}

#[test]
fn one_in_a_fleet_that_never_leaves_holds_the_primary_for_host_sync() {
    let mut world = World::new();
    let (primary, hosts) = fleet(&mut world);
    world.strangers(UNIT, 1);
    world.run_until(100.0);
    all_stop(&world, &hosts);
    assert_eq!(when(&world, primary, "host sync expired"), [45.5]);
    assert_eq!(when(&world, primary, "CMD"), [50.5]);
}

#[test]
fn hosts_that_another_ups_feeds_are_neither_stopped_nor_waited_for() {
    let mut world = World::new();
    let (primary, hosts) = fleet(&mut world);
    world.set("other@localhost", "OL");
    let others: Vec<HostId> = (0..20)
        .map(|_| world.host("elsewhere", 1.0, conf(&["other@localhost 1 sec ss secondary"])))
        .collect();
    world.run_until(100.0);
    let last = all_stop(&world, &hosts);
    let [shutdown] = when(&world, primary, "SHUTDOWN")[..] else { panic!("the primary stops once") };
    assert!(shutdown >= last && shutdown <= last + 0.25, "{shutdown} after {last}");
    assert!(others.iter().all(|host| world.is_running(*host) && world.told(*host).is_empty()));
}
