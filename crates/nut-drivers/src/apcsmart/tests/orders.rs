//! Instant commands and settings, byte by byte.

use super::Rig;
use super::sim::Sim;
use crate::driver::{Action, Event, Order, OrderId, Weight};
use nut_proto::driver::Judgement::{self, Failed, Handled, Invalid, Unknown};

/// Asks twice, as grave commands want it; gives how the second ended, how long it took, and its trace.
fn twice(rig: &mut Rig, name: &str, param: Option<&str>) -> (Judgement, u64, String) {
    assert_eq!(rig.command(name, param), (Handled, 0), "the first time nothing is done");
    assert_eq!(rig.wire(), "");
    rig.run(4_000);
    let (judgement, took) = rig.command(name, param);
    (judgement, took, rig.trace())
}

fn rig(status: u8) -> Rig {
    let mut sim = Sim::usual();
    sim.status = status;
    Rig::ready(sim, &[])
}

#[test]
fn commands_that_cut_the_power() {
    type Case = (&'static str, Option<&'static str>, u8, Judgement, &'static str, &'static [&'static str]);
    let cases: [Case; 11] = [
        ("shutdown.return", None, 0x10, Handled, "S@0", &["S"]),
        ("shutdown.return", Some(""), 0x10, Handled, "S@0", &["S"]),
        ("shutdown.return", None, 0x08, Failed, "S@0", &[]),
        ("shutdown.return", Some("cs"), 0x08, Handled, "U@0 S@3560", &["S"]),
        ("shutdown.return", Some("CS"), 0x10, Handled, "S@0", &["S"]),
        ("shutdown.return", Some("at:1"), 0x08, Handled, "@@0 0@200 0@250 1@300", &["@001"]),
        ("shutdown.return", Some("AT:123"), 0x10, Handled, "@@0 1@200 2@250 3@300", &["@123"]),
        ("shutdown.return", Some("at:05"), 0x08, Failed, "@@0 0@200 5@250 Y@1800", &[]),
        ("shutdown.stayoff", None, 0x08, Handled, "K@0 K@1520", &["KK"]),
        ("load.off", None, 0x10, Handled, "Z@0 Z@1520", &["ZZ"]),
        ("SHUTDOWN.STAYOFF", None, 0x10, Handled, "K@0 K@1520", &["KK"]),
    ];
    for (name, param, status, expected, trace, deeds) in cases {
        let mut rig = rig(status);
        let (judgement, took, seen) = twice(&mut rig, name, param);
        assert_eq!((judgement, seen.as_str()), (expected, trace), "{name} {param:?}");
        assert_eq!(rig.sim.deeds, deeds, "{name} {param:?}");
        assert!(took <= 3_700, "{name}: {took}");
    }
}

/// With NUT the first call is "handled", nothing is sent, and the power stays on.
#[test]
fn commands_of_a_shutdown_need_no_second_call() {
    for (name, trace, deed) in [
        ("shutdown.return", "S@0", "S"),
        ("shutdown.stayoff", "K@0 K@1520", "KK"),
        ("load.off", "Z@0 Z@1520", "ZZ"),
    ] {
        let mut rig = rig(0x10);
        let id = OrderId::for_shutdown(1);
        let order = Order::Command { name: name.parse().unwrap(), param: None };
        let done = |action: &Action| *action == Action::Done(id, Handled);
        rig.step_until(Event::Order(id, order), done);
        assert_eq!(rig.trace(), trace);
        assert_eq!(rig.sim.deeds, [deed]);
        // It confirms nobody else's.
        rig.run(5_000);
        assert_eq!(rig.command("load.off", None), (Handled, 0));
        assert_eq!(rig.sim.deeds, [deed]);
    }
}

#[test]
fn a_star_confirms_as_well() {
    for (name, status) in [("shutdown.return", 0x10), ("shutdown.stayoff", 0x08)] {
        let mut rig = rig(status);
        rig.sim.ack = b"*".to_vec();
        let (judgement, ..) = twice(&mut rig, name, None);
        assert_eq!(judgement, Handled, "{name}");
    }
}

#[test]
fn a_unit_of_two_digits_takes_two() {
    let mut rig = rig(0x08);
    rig.sim.at_digits = 2;
    let (judgement, _, trace) = twice(&mut rig, "shutdown.return", Some("at:05"));
    assert_eq!((judgement, trace.as_str()), (Handled, "@@0 0@200 5@250"));
    assert_eq!(rig.sim.deeds, ["@05"]);
}

#[test]
fn a_refusal_of_the_first_byte_stops_the_rest() {
    for (name, byte) in [("shutdown.stayoff", b'K'), ("load.off", b'Z')] {
        let mut rig = rig(0x08);
        rig.sim.once(byte, &[Some(b"NA\r\n")]);
        let (judgement, took, trace) = twice(&mut rig, name, None);
        assert_eq!((judgement, took), (Failed, 80), "{name}");
        assert!(!trace.contains(' '), "{trace}");
        assert_eq!(rig.told(Weight::Warning).len(), 1);
    }
    let mut rig = rig(0x08);
    rig.sim.once(b'@', &[Some(b"NA\r\n")]);
    let (judgement, _, trace) = twice(&mut rig, "shutdown.return", Some("at:7"));
    assert_eq!((judgement, trace.as_str()), (Failed, "@@0"));
}

#[test]
fn silence_is_only_good_after_an_immediate_off() {
    let mut silent = rig(0x10);
    silent.sim.once(b'S', &[None]);
    assert_eq!(twice(&mut silent, "shutdown.return", None).0, Failed);
    let mut off = rig(0x10);
    let (judgement, took, _) = twice(&mut off, "load.off", None);
    assert_eq!((judgement, took), (Handled, 3_020));
}

#[test]
fn commands_that_harm_nobody_are_done_at_once() {
    let mut rig = rig(0x08);
    assert_eq!(rig.command("test.panel.start", None), (Handled, 60));
    assert_eq!(rig.command("test.battery.start", None).0, Handled);
    assert_eq!(rig.command("test.battery.stop", None).0, Handled);
    assert_eq!(rig.command("test.failure.start", None).0, Handled);
    assert_eq!(rig.wire(), "A W W U");
    rig.forget();
    assert_eq!(rig.command("load.on", None), (Handled, 1_520));
    assert_eq!(rig.trace(), "^N@0 ^N@1520");
    rig.forget();
    rig.sim.once(b'W', &[Some(b"NA\r\n"), None]);
    assert_eq!(rig.command("test.battery.start", None).0, Failed);
    assert_eq!(rig.command("test.battery.start", None), (Failed, 3_000));
    assert_eq!(rig.command("bypass.start", None).0, Invalid, "this unit has none");
    assert_eq!(rig.command("beeper.on", None).0, Unknown);
    assert_eq!(rig.command("test.panel.start", Some("")).0, Unknown);
}

#[test]
fn calibration_is_toggled_only_if_it_must_be() {
    let mut rig = rig(0x08);
    assert_eq!(rig.command("calibrate.stop", None).0, Handled);
    assert_eq!(rig.wire(), "Q");
    rig.forget();
    assert_eq!(rig.command("calibrate.start", None).0, Handled);
    assert_eq!(rig.wire(), "Q D");
    rig.forget();
    assert_eq!(rig.command("calibrate.start", None).0, Handled);
    assert_eq!(rig.wire(), "Q");
    rig.forget();
    assert_eq!(rig.command("calibrate.stop", None).0, Handled);
    assert_eq!((rig.wire().as_str(), rig.sim.status), ("Q D", 0x08));
    rig.sim.once(b'D', &[Some(b"NO\r\n")]);
    assert_eq!(rig.command("calibrate.start", None).0, Failed, "below full charge");
}

#[test]
fn bypass_ends_as_it_was_wanted() {
    let mut rig = Rig::ready(Sim::rt(), &[]);
    assert_eq!(rig.command("bypass.start", None).0, Handled);
    assert_eq!(rig.wire(), "^");
    rig.forget();
    assert_eq!(rig.command("bypass.start", None).0, Handled);
    assert_eq!(rig.wire(), "^ ^", "it was in bypass already: the toggle led out, and is taken back");
    rig.forget();
    assert_eq!(rig.command("bypass.stop", None).0, Handled);
    assert_eq!(rig.wire(), "^");
    rig.sim.once(b'^', &[Some(b"ERR\r\n")]);
    assert_eq!(rig.command("bypass.start", None).0, Failed);
}

#[test]
fn a_setting_is_stepped_to_its_value() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("input.transfer.low", "208").0, Handled);
    assert_eq!(rig.wire(), "l", "it is so already");
    rig.forget();
    assert_eq!(rig.set("INPUT.transfer.low", "200").0, Handled);
    assert_eq!(rig.wire(), "l - l - l l");
    assert_eq!(rig.value("input.transfer.low"), Some("200"));
    rig.forget();
    // Round the end of the ring.
    assert_eq!(rig.set("input.transfer.low", "208").0, Handled);
    assert_eq!(rig.wire(), "l - l - l l");
    assert_eq!(rig.sim.deeds.len(), 2);
}

#[test]
fn a_converted_setting_is_stepped_too() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("battery.runtime.low", "420").0, Handled);
    assert_eq!(rig.value("battery.runtime.low"), Some("420"));
    assert_eq!(rig.set("battery.runtime.low", "7").0, Invalid);
    assert_eq!(rig.set("ups.test.interval", "0").0, Handled);
    assert_eq!(rig.value("ups.test.interval"), Some("0"));
}

#[test]
fn a_ring_with_a_value_that_stands_there_twice_is_walked_round() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("input.sensitivity", "L").0, Handled);
    // From the first L over the second: NUT takes that for once round, and fails.
    assert_eq!(rig.set("input.sensitivity", "H").0, Handled);
    assert_eq!(rig.value("input.sensitivity"), Some("H"));
}

#[test]
fn a_value_that_the_unit_does_not_have_costs_no_step() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("input.transfer.low", "123").0, Invalid);
    assert_eq!(rig.set("input.voltage", "1").0, Unknown);
    assert_eq!(rig.set("ups.serial", "1").0, Unknown);
    assert_eq!(rig.wire(), "");
}

#[test]
fn a_ring_that_is_not_as_announced_is_walked_once() {
    let mut rig = rig(0x08);
    rig.sim.instead.insert(b'l', vec![Some(b"111\r\n"); 100]);
    assert_eq!(rig.set("input.transfer.low", "196").0, Failed);
    assert_eq!(rig.sent.iter().filter(|(_, byte)| *byte == b'-').count(), 4);
    assert_eq!(rig.value("input.transfer.low"), Some("111"), "what it is now is told");
}

#[test]
fn a_setting_without_a_list_is_stepped_until_it_is_round() {
    let mut sim = Sim::usual();
    sim.reply(0x1a, b"#pI/3k4410TLN");
    sim.reply(b'p', b"020");
    let mut rig = Rig::ready(sim, &[]);
    assert!(rig.device.variable("ups.delay.shutdown").unwrap().flags().writable);
    let values: Vec<Option<&'static [u8]>> =
        vec![Some(b"020\r\n"), Some(b"180\r\n"), Some(b"300\r\n"), Some(b"020\r\n")];
    rig.sim.once(b'p', &values);
    rig.sim.instead.insert(b'-', vec![Some(b"OK\r\n"); 40]);
    assert_eq!(rig.set("ups.delay.shutdown", "600").0, Failed);
    assert_eq!(rig.wire(), "p - p - p - p");
}

#[test]
fn a_refused_step_ends_the_setting() {
    for raw in [Some(&b"NO\r\n"[..]), Some(b"NA\r\n"), None] {
        let mut rig = rig(0x08);
        rig.sim.once(b'-', &[raw]);
        assert_eq!(rig.set("input.transfer.low", "204").0, Failed);
        assert_eq!(rig.wire(), "l -");
    }
}

#[test]
fn a_text_is_written_byte_by_byte() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("ups.id", "UPS_IDEN").0, Handled);
    assert_eq!(rig.wire(), "c");
    rig.forget();
    assert_eq!(rig.set("ups.id", "BOX1").0, Handled);
    let begin = rig.sent[0].0;
    let trace: Vec<(u64, u8)> = rig.sent.iter().map(|(at, byte)| (at - begin, *byte)).collect();
    let first = 120;
    assert_eq!(
        trace[..10],
        [
            (0, b'c'),
            (first, b'-'),
            (first + 200, b'B'),
            (first + 250, b'O'),
            (first + 300, b'X'),
            (first + 350, b'1'),
            (first + 400, b'\r'),
            (first + 450, b'\r'),
            (first + 500, b'\r'),
            (first + 550, b'\r'),
        ]
    );
    assert_eq!(trace[10].1, b'c');
    assert_eq!(rig.value("ups.id"), Some("BOX1"));
    assert_eq!(rig.set("battery.date", "12/25/25").0, Handled);
    assert_eq!(rig.value("battery.date"), Some("12/25/25"));
    assert_eq!(rig.set("ups.id", "").0, Handled);
    assert_eq!(rig.value("ups.id"), Some(""));
}

#[test]
fn a_text_the_unit_cannot_take_is_not_begun() {
    let mut rig = rig(0x08);
    assert_eq!(rig.set("ups.id", "TOO LONG 1").0, Failed);
    assert_eq!(rig.set("battery.date", "05-19-97").0, Invalid, "the bytes behind a - would run as commands");
    assert_eq!(rig.wire(), "");
    rig.sim.once(b'-', &[Some(b"NA\r\n")]);
    assert_eq!(rig.set("ups.id", "BOX1").0, Failed);
    assert_eq!(rig.wire(), "c -");
}

#[test]
fn a_text_that_is_not_there_afterwards_was_not_set() {
    let mut rig = rig(0x08);
    rig.sim.once(b'c', &[Some(b"UPS_IDEN\r\n"), Some(b"BOX\r\n")]);
    assert_eq!(rig.set("ups.id", "BOX1").0, Failed);
    assert_eq!(rig.value("ups.id"), Some("BOX"));
    let mut rig = super::orders::rig(0x08);
    rig.sim.once(b'c', &[Some(b"UPS_IDEN\r\n"), Some(b"BOX1    \r\n")]);
    assert_eq!(rig.set("ups.id", "BOX1").0, Handled, "units fill up with blanks");
}

#[test]
fn an_order_without_a_port_fails_at_once() {
    let mut rig = rig(0x08);
    rig.step(Event::Lost);
    assert_eq!(rig.command("test.panel.start", None), (Failed, 0));
    assert_eq!(rig.set("ups.id", "BOX1"), (Failed, 0));
}

#[test]
fn an_order_to_a_silent_unit_is_tried_and_fails() {
    let mut rig = rig(0x08);
    rig.sim.is_silent = true;
    rig.update();
    let (judgement, took) = rig.command("test.panel.start", None);
    assert_eq!(judgement, Failed);
    assert!(took < 10_000, "{took}");
}
