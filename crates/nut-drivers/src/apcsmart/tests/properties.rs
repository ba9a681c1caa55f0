//! What holds whatever comes: over random bytes, silences, orders and losses of the port.

use super::sim::Sim;
use super::{Rig, said};
use crate::driver::{Action, Driver, Event, Order, OrderId};
use nut_proto::Moment;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Something that happens to the driver.
#[derive(Debug, Clone)]
enum Happening {
    Bytes(Vec<u8>),
    Passes(u64),
    Update,
    Command(&'static str, Option<&'static str>),
    Set(&'static str, &'static str),
    Lost,
    Opened,
    ShutDown,
    Leave,
    Silent(bool),
    Dumb,
    Status(u8),
    Alert(u8),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let commands =
        vec!["load.off", "shutdown.return", "load.on", "calibrate.start", "test.panel.start", "nonsense"];
    let sets =
        vec![("ups.id", "BOX1"), ("input.sensitivity", "L"), ("battery.runtime.low", "420"), ("x", "y")];
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Happening::Bytes),
        8 => (1u64..8_000).prop_map(Happening::Passes),
        4 => Just(Happening::Update),
        2 => prop::sample::select(commands).prop_map(|name| Happening::Command(name, None)),
        1 => Just(Happening::Command("shutdown.return", Some("at:7"))),
        2 => prop::sample::select(sets).prop_map(|(name, value)| Happening::Set(name, value)),
        1 => Just(Happening::Lost),
        2 => Just(Happening::Opened),
        1 => Just(Happening::ShutDown),
        1 => Just(Happening::Leave),
        2 => any::<bool>().prop_map(Happening::Silent),
        1 => Just(Happening::Dumb),
        2 => prop::sample::select(vec![0x08u8, 0x10, 0x50, 0x00, 0x88]).prop_map(Happening::Status),
        2 => prop::sample::select(b"!$%+#?=*&|~".to_vec()).prop_map(Happening::Alert),
    ]
}

/// Everything that was begun and its end.
#[derive(Default)]
struct Book {
    orders: u64,
    updates: usize,
    shut_downs: usize,
    leaves: usize,
}

fn play(happenings: &[Happening]) -> (Rig, Book) {
    let mut rig = Rig::new(Sim::usual(), &[]);
    let mut book = Book::default();
    rig.step(Event::Opened);
    for happening in happenings {
        match happening {
            Happening::Bytes(bytes) => rig.step(Event::Received(bytes)),
            Happening::Passes(millis) => rig.run(*millis),
            // As the core does: one at a time.
            Happening::Update if rig.count(|action| *action == Action::Updated) == book.updates => {
                book.updates += 1;
                rig.step(Event::Update);
            }
            Happening::Update => {}
            Happening::Command(name, param) => {
                book.orders += 1;
                let order = Order::Command { name: name.parse().unwrap(), param: param.map(Box::from) };
                rig.step(Event::Order(OrderId(book.orders), order));
            }
            Happening::Set(name, value) => {
                book.orders += 1;
                let order = Order::Set { name: name.parse().unwrap(), value: (*value).into() };
                rig.step(Event::Order(OrderId(book.orders), order));
            }
            Happening::Lost => rig.step(Event::Lost),
            Happening::Opened => rig.step(Event::Opened),
            Happening::ShutDown
                if rig.count(|action| matches!(action, Action::ShutDownEnded(_))) == book.shut_downs =>
            {
                book.shut_downs += 1;
                rig.step(Event::ShutDown);
            }
            Happening::ShutDown => {}
            Happening::Leave if rig.count(|action| *action == Action::Farewell) == book.leaves => {
                book.leaves += 1;
                rig.step(Event::Leave);
            }
            Happening::Leave => {}
            Happening::Silent(is_silent) => rig.sim.is_silent = *is_silent,
            Happening::Dumb => rig.sim.is_smart = false,
            Happening::Status(status) => rig.sim.status = *status,
            Happening::Alert(byte) => rig.step(Event::Received(&[*byte])),
        }
    }
    (rig, book)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_begun_ends_once(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let (mut rig, book) = play(&happenings);
        rig.run(400_000);
        prop_assert_eq!(rig.count(|action| *action == Action::Updated), book.updates);
        prop_assert_eq!(rig.count(|action| matches!(action, Action::ShutDownEnded(_))), book.shut_downs);
        prop_assert_eq!(rig.count(|action| *action == Action::Farewell), book.leaves);
        let mut done = BTreeSet::new();
        for (_, action) in &rig.seen {
            if let Action::Done(id, _) = action {
                prop_assert!(done.insert(id.0), "{:?} ended twice", id);
            }
        }
        prop_assert_eq!(u64::try_from(done.len()).unwrap(), book.orders);
    }

    #[test]
    fn good_and_stale_alternate(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let (mut rig, _) = play(&happenings);
        rig.run(60_000);
        let mut is_fresh = false;
        for (_, action) in &rig.seen {
            match action {
                Action::DataOk => {
                    prop_assert!(!is_fresh);
                    is_fresh = true;
                }
                Action::DataStale { .. } => {
                    prop_assert!(is_fresh);
                    is_fresh = false;
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_healthy_unit_is_known_again_in_the_end(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let (mut rig, _) = play(&happenings);
        // A driver that gave up at its start is at its end.
        if rig.count(|action| matches!(action, Action::GiveUp { .. })) > 0 {
            return Ok(());
        }
        rig.sim.is_silent = false;
        rig.sim.status = 0x08;
        rig.step(Event::Opened);
        rig.poll_every = Some(1_000);
        rig.run(60_000);
        // What noise has hidden at the start is found by the next reading of everything.
        rig.poll_every = Some(600_000);
        rig.step(Event::Update);
        rig.run(4_500_000);
        prop_assert_eq!(rig.statuses().pop(), Some("OL".to_owned()));
        prop_assert_eq!(rig.device.variables().len(), 30);
        prop_assert_eq!(rig.device.commands().len(), 10);
    }

    /// Bytes without any that an alert could be: no status may come of them.
    #[test]
    fn no_status_is_invented_from_noise(
        noise in prop::collection::vec((0u64..2_000, prop::collection::vec(any::<u8>(), 1..30)), 1..30)
    ) {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.poll_every = Some(500);
        rig.step(Event::Update);
        for (pause, bytes) in noise {
            rig.run(pause);
            let mut bytes = bytes;
            bytes.retain(|byte| !b"!$%+#?=".contains(byte));
            rig.step(Event::Received(&bytes));
        }
        rig.run(30_000);
        prop_assert_eq!(rig.statuses(), ["OL"]);
    }

    /// Noise that begins with something else than an alert, with all the alerts inside that chance puts there.
    #[test]
    fn alerts_inside_noise_tell_nothing(
        status in prop::sample::select(vec![0x08u8, 0x10]),
        noise in prop::collection::vec((0u64..2_000, 0x80u8.., prop::collection::vec(any::<u8>(), 1..30)), 1..30)
    ) {
        let mut sim = Sim::usual();
        sim.status = status;
        let mut rig = Rig::ready(sim, &[]);
        rig.poll_every = Some(500);
        rig.step(Event::Update);
        for (pause, first, mut bytes) in noise {
            rig.run(pause);
            bytes.insert(0, first);
            // A line that ends makes room for a true alert.
            bytes.retain(|byte| *byte != b'\n');
            rig.step(Event::Received(&bytes));
            rig.step(Event::Received(b"\n"));
        }
        rig.run(30_000);
        prop_assert_eq!(rig.statuses(), [said(status)]);
    }

    #[test]
    fn only_bytes_of_the_protocol_are_sent_and_never_the_service_mode(
        bytes in prop::collection::vec((0u64..500, prop::collection::vec(any::<u8>(), 0..60)), 0..60)
    ) {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.poll_every = Some(200);
        rig.step(Event::Update);
        for (pause, bytes) in bytes {
            rig.run(pause);
            rig.step(Event::Received(&bytes));
        }
        rig.run(20_000);
        // Nobody ordered anything: no command, no step, no digit ever leaves.
        for (_, byte) in &rig.sent {
            prop_assert!(!b"SKZUDWA@^-+z012345678\x0e\x10\x19\x7f".contains(byte), "{}", byte);
        }
    }

    #[test]
    fn one_flipped_bit_in_a_status_tells_nothing(status in any::<u8>(), digit in 0usize..2, bit in 0u32..8) {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.sim.status = status;
        rig.update();
        rig.forget();
        let mut text = format!("{status:02X}\r\n").into_bytes();
        text[digit] ^= 1 << bit;
        if text[..2].iter().any(|byte| b"!$%+#?=\n".contains(byte)) {
            return Ok(());
        }
        rig.sim.once(b'Q', &[Some(Vec::leak(text))]);
        rig.update();
        prop_assert_eq!(rig.statuses(), [said(status)]);
    }
}

#[test]
fn every_single_byte_in_every_stage_is_survived() {
    for byte in 0..=255 {
        for stage in [0, 70, 150, 900, 3_000, 6_500] {
            let (driver, _) = super::ApcSmart::configure([]).unwrap();
            let mut rig = Rig::new(Sim::usual(), &[]);
            rig.driver = driver;
            rig.step(Event::Opened);
            rig.run(stage);
            rig.step(Event::Received(&[byte]));
            rig.run(20_000);
            rig.update();
            assert_eq!(rig.count(|action| *action == Action::Ready), 1);
            assert_eq!(rig.statuses().last().unwrap(), "OL");
        }
    }
}

#[test]
fn events_out_of_order_do_no_harm() {
    let (mut driver, _) = super::ApcSmart::configure([]).unwrap();
    let now = Moment::from_secs(9);
    for event in [Event::Tick, Event::Received(b"08\r\n!"), Event::Lost, Event::Lost] {
        assert_eq!(driver.step(now, event), []);
    }
    assert_eq!(driver.step(now, Event::Update), [Action::Updated]);
    assert_eq!(driver.step(now, Event::Leave), [Action::Farewell]);
    assert!(matches!(driver.step(now, Event::ShutDown).as_slice(), [Action::ShutDownEnded(Err(_))]));
}
