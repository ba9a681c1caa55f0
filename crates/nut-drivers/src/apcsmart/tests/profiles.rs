//! Eight real units: what is published of them, and in which order they are asked.

use super::super::variables::{Class, ROWS, SKIPPED};
use super::sim::Sim;
use super::{Rig, line};
use crate::driver::{Action, Event};
use nut_proto::device::Value;

macro_rules! profiles {
    ($($id:literal),+ $(,)?) => {
        [$((
            $id,
            include_str!(concat!("../../../../nut-drill/profiles/", $id, ".json")),
            include_str!(concat!("../../../../nut-drill/profiles/expected/", $id, ".dump.txt")),
        )),+]
    };
}

const PROFILES: [(&str, &str, &str); 8] = profiles![
    "back-ups-pro-420-11.2.I",
    "matrix-ups-3000-0ZI",
    "smart-ups-1400-70.9.I",
    "smart-ups-1500-601.3.I",
    "smart-ups-420-21.3.I",
    "smart-ups-900i-7TI",
    "smart-ups-rt-10000-476.18.W",
    "smart-ups-vs-420-42.L.I",
];

/// Names that the core adds.
const CORES: [&str; 4] = ["device.mfr ", "device.model ", "device.serial ", "device.type "];

fn started(json: &str) -> Rig {
    let mut rig = Rig::new(Sim::load(json), &[]);
    rig.start();
    rig
}

#[test]
fn every_profile_publishes_what_nut_publishes() {
    for (id, json, expected) in PROFILES {
        let mut rig = started(json);
        let status = rig.statuses().pop().expect("a status is known when it is ready");
        rig.device.set(&"ups.status".parse().unwrap(), Value::from(status)).unwrap();
        let mut dump: Vec<String> = rig.device.dump().map(|change| line(&change)).collect();
        assert_eq!(rig.count(|action| *action == Action::DataOk), 1, "{id}");
        dump.push("DATAOK".to_owned());
        let of_core = |line: &str| CORES.iter().any(|name| line.starts_with(&format!("SETINFO {name}")));
        let expected: Vec<&str> = expected.lines().filter(|line| !of_core(line)).collect();
        assert_eq!(dump, expected, "{id}");
    }
}

#[test]
fn the_bytes_are_sent_in_nuts_order() {
    // apcsmart-driver §4, seen with NUT: start, first update, each further one.
    let orders = [
        (
            "smart-ups-420-21.3.I",
            "Y V a ^A 9 B E F G L M N O P X c e f g j k l m n o p q r s u x b ^Z",
            "Q P E X r p c L F s 9 l u G M N O o x f e B g j q k n m ^A b",
            "Q P X L F 9 G M N O f B j",
        ),
        (
            "smart-ups-900i-7TI",
            "Y V 9 B C E F G L M N O P X c e f g j k l m n o p q r s u x V",
            "Q C P E X r p c L F s 9 l u G M N O o x f e B g j q k n m V",
            "Q C P X L F 9 G M N O f B j",
        ),
        ("smart-ups-vs-420-42.L.I", "Y V b a C P L O f B ^A n / b", "Q n ^A b", "Q"),
    ];
    for (id, start, first, poll) in orders {
        let (_, json, _) = PROFILES.iter().find(|(one, ..)| *one == id).unwrap();
        let mut rig = started(json);
        assert_eq!(rig.wire(), format!("{start} {first}"), "{id}");
        for _ in 0..2 {
            rig.forget();
            rig.update();
            assert_eq!(rig.wire(), poll, "{id}");
        }
    }
}

#[test]
fn every_profile_is_asked_for_its_list_then_for_the_table() {
    for (id, json, _) in PROFILES {
        let mut rig = started(json);
        let wire: Vec<u8> = rig.sent.iter().map(|(_, byte)| *byte).collect();
        let at = wire.iter().position(|byte| *byte == b'Q').unwrap();
        let (start, first) = (&wire[..at], &wire[at + 1..]);
        assert!(start.iter().all(|byte| !SKIPPED.contains(byte) || b"Ya\x1a".contains(byte)), "{id}");
        // Each variable that answered at the start is asked for once more, in the table's order.
        let asked: Vec<u8> =
            ROWS.iter().flat_map(|row| row.ask.to_vec()).filter(|byte| first.contains(byte)).collect();
        assert_eq!(first, asked, "{id}");
        rig.forget();
        rig.update();
        let polled: Vec<u8> = ROWS
            .iter()
            .filter(|row| row.class == Class::Poll)
            .flat_map(|row| row.ask.to_vec())
            .filter(|byte| first.contains(byte))
            .collect();
        let wire: Vec<u8> = rig.sent.iter().map(|(_, byte)| *byte).collect();
        assert_eq!(wire, [b"Q".to_vec(), polled].concat(), "{id}");
        assert_eq!(rig.changes(), Vec::<String>::new(), "{id}: nothing has changed");
    }
}

#[test]
fn the_silent_unit_needs_its_24_seconds() {
    let (_, json, _) = PROFILES[7];
    let mut rig = Rig::new(Sim::load(json), &[]);
    rig.step(Event::Opened);
    let took = rig.run_until_seen(60_000, |action| *action == Action::Ready);
    assert!((23_000..26_000).contains(&took), "{took}");
}

#[test]
fn other_real_strings_do_no_harm() {
    let strings = include_str!("../../../../nut-drill/profiles/captured-strings.json");
    let strings: serde_json::Value = serde_json::from_str(strings).unwrap();
    let bytes = |value: &serde_json::Value| -> Vec<u8> {
        value.as_str().unwrap().chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
    };
    for (key, byte) in [("a", b'a'), ("caps", 0x1a)] {
        for one in strings[key].as_array().unwrap() {
            let mut sim = Sim::usual();
            sim.reply(byte, &bytes(&one["v"]));
            let mut rig = Rig::new(sim, &[]);
            rig.start();
            assert_eq!(rig.statuses(), ["OL"], "{}", one["device"]);
        }
    }
}

#[test]
fn a_unit_with_a_fourth_section_tells_two_frequencies() {
    let mut sim = Sim::usual();
    sim.reply(b'a', b"3.!$%.\x01FBf.\x9f:\xd3\xd4\xff");
    let mut rig = Rig::new(sim, &[]);
    rig.step(Event::Opened);
    // The unit of these tests does not know prefixes: it answers both bytes.
    rig.sim.reply(0xd3, b"49.98");
    rig.sim.reply(0xd4, b"01.2");
    rig.sim.once(0x9f, &[None, None, None, None]);
    rig.run_until_seen(60_000, |action| *action == Action::Ready);
    rig.update();
    assert_eq!(rig.wire(), "Y V a ^A F B f Q F f B ^A \\x9f \\xd3 \\x9f \\xd4");
    assert_eq!(rig.value("output.frequency"), Some("50.00"));
    assert_eq!(rig.value("input.frequency"), Some("49.98"));
    assert_eq!(rig.value("battery.current"), Some("01.2"));
}

#[test]
fn a_byte_of_two_meanings_is_decided_by_its_answer() {
    let cases: [(&[u8], Option<&str>, Option<&str>); 3] =
        [(b"21.08", Some("21.08"), None), (b"001.5", None, Some("3600")), (b"21.08,20.09", None, None)];
    for (reply, probe, uptime) in cases {
        let mut sim = Sim::usual();
        sim.reply(b'a', b"3.!$%.BTb");
        sim.reply(b'T', reply);
        let mut rig = Rig::new(sim, &[]);
        rig.start();
        assert_eq!(
            rig.wire().split(" Q ").next(),
            Some(match (probe, uptime) {
                (Some(_), _) => "Y V a B T b",
                (None, Some(_)) => "Y V a B T T b",
                // Neither: asked once more.
                (None, None) => "Y V a B T T Y T b",
            })
        );
        assert_eq!(rig.value("ambient.1.temperature"), probe);
        assert_eq!(rig.value("device.uptime"), uptime);
    }
}
