//! Scenarios in simulated time: hosts with a [`Monitor`] each, and small servers in memory between them.
//!
//! Letters and numbers in names are those of the list of scenarios that was measured on NUT. Where NUT's behaviour is a
//! known defect, what is right stands here.

mod alone;
mod bystander;
mod changes;
mod clocks;
mod edges;
mod explained;
mod fleet;
mod herald;
mod judge;
mod lost;
mod messenger;
mod power;
mod properties;
mod together;
mod trace;
mod traces;
mod words;
mod world;

use super::*;
use std::time::Duration;
use world::{World, conf, fast};

#[test]
fn polls_have_one_rhythm_even_with_odd_numbers() {
    for (a, b, expected) in [(4, 6, 2), (5, 7, 1), (0, 6, 6), (6, 0, 6), (0, 0, 1)] {
        assert_eq!(asking::common_divisor(a, b), expected, "{a} {b}");
    }
}

#[test]
fn a_ups_named_twice_is_counted_once() {
    let mut twice = conf(&["u1@localhost 1 pri pp primary", "u1@localhost 1 pri pp primary"]);
    twice.min_supplies = 2;
    assert_eq!(enough_configured(&twice), Err(TooLittlePower { total: 1, need: 2 }));
    twice.min_supplies = 1;
    assert_eq!(enough_configured(&twice), Ok(()));
}

#[test]
fn failed_polls_are_logged_as_often_as_the_throttle_says() {
    let stale = Failure::Late;
    let gone = Failure::NotConnected;
    for (throttle, expected) in [(-1, 8), (1, 8), (0, 2), (3, 4)] {
        let mut trouble = Trouble::default();
        let seven = std::iter::repeat_n(&stale, 7).chain([&gone]);
        let logged = seven.filter(|failure| trouble.note(failure, throttle)).count();
        assert_eq!(logged, expected, "{throttle}");
    }
}

/// Where failures are not logged each time, it is told which are, and that they are over.
#[test]
fn what_is_not_logged_each_time_is_told_when_it_begins_changes_and_ends() {
    use nut_proto::net::ErrCode;
    let play = |throttle| {
        let mut world = World::new();
        let conf = UpsmonConf {
            poll_fail_log_throttle: throttle,
            poll_frequency: Duration::from_secs(2),
            ..fast(&["u1@localhost 1 pri pp primary"])
        };
        let host = world.host("one", 0.0, conf);
        world.set("u1@localhost", "OL");
        world.at(2.5, |world| world.refuse("u1@localhost", ErrCode::DataStale));
        world.at(14.5, |world| world.refuse("u1@localhost", ErrCode::DriverNotConnected));
        world.at(20.5, |world| world.set("u1@localhost", "OL"));
        world.run_until(30.0);
        let logged = world.logged(host).into_iter().filter(|line| line.contains("Poll UPS"));
        logged.map(|line| line.replace("Poll UPS [u1@localhost] ", "")).collect::<Vec<_>>()
    };
    let (stale, gone) = ("failed - Data stale", "failed - Driver not connected");
    let begins = |from, to, again| {
        format!("failure state code changed from {from} to {to}; report below will {again}")
    };
    let ends = "recovered from failure state code 39 - now -1";
    let never = "not be repeated to syslog:";
    assert_eq!(play(0), [&begins(-1, 10, never), stale, &begins(10, 39, never), gone, ends]);
    let fourth = "only be repeated to syslog every 4 polling loop cycles (8 sec):";
    assert_eq!(play(4), [&begins(-1, 10, fourth), stale, stale, &begins(10, 39, fourth), gone, ends],);
    for each in [-1, 1] {
        assert_eq!(play(each), [stale, stale, stale, stale, stale, stale, gone, gone, gone], "{each}");
    }
}

#[test]
fn the_last_words_come_in_order_and_the_command_after_the_delay() {
    let mut world = World::new();
    let host = world.host("one", 0.0, fast(&["u1@localhost 1 pri pp primary"]));
    world.set("u1@localhost", "OL");
    world.at(3.5, |world| world.set("u1@localhost", "OB LB"));
    world.run_until(10.0);
    let actions = world.actions(host);
    let nth = |is: &dyn Fn(&Action) -> bool| actions.iter().position(|(_, action)| is(action)).unwrap();
    let order = [
        nth(&|action| matches!(action, Action::Ask(_, Order::SetFsd))),
        nth(&|action| matches!(action, Action::Log(Remark::Executing))),
        nth(&|action| *action == Action::Wall("Executing automatic power-fail shutdown")),
        nth(&|action| matches!(action, Action::Notify(notice) if notice.kind == NoticeKind::Shutdown)),
        nth(&|action| *action == Action::ToParent(ToParent::ShutDown)),
        nth(&|action| *action == Action::HangUp),
        nth(&|action| *action == Action::Exit),
    ];
    assert!(order.is_sorted(), "{order:?}");
    let (told, ordered) = (actions[order[3]].0, actions[order[4]].0);
    assert_eq!(ordered.since(told), Duration::from_secs(1));
}
