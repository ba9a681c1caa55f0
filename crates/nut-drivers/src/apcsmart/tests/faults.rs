//! What a line and a unit can do wrong, and how long it takes to be right again.

use super::sim::Sim;
use super::{Rig, said};
use crate::driver::{Action, Event, Weight};

fn polling(sim: Sim) -> Rig {
    let mut rig = Rig::ready(sim, &[]);
    rig.poll_every = Some(1_000);
    rig.step(Event::Update);
    rig.run(5_000);
    rig.forget();
    rig
}

fn is_stale(action: &Action) -> bool {
    matches!(action, Action::DataStale { .. })
}

#[test]
fn one_missed_answer_is_asked_for_again() {
    for byte in *b"QPfj" {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.sim.once(byte, &[None]);
        rig.update();
        let text = char::from(byte);
        assert!(rig.wire().contains(&format!("{text} Y {text}")), "{}", rig.wire());
        assert_eq!(rig.stale_reasons(), Vec::<String>::new());
        assert_eq!(rig.changes(), Vec::<String>::new());
    }
}

#[test]
fn a_silent_unit_is_stale_after_two_missed_answers() {
    let mut rig = polling(Sim::usual());
    rig.sim.is_silent = true;
    let took = rig.run_until_seen(20_000, is_stale);
    assert!(took < 1_000 + 3_000 + 1_500 + 100, "{took}");
    let reason = rig.stale_reasons().pop().unwrap();
    assert!(
        reason.ends_with("is not answered") || reason.ends_with("is not answered, and neither is Y"),
        "{reason}"
    );
}

#[test]
fn data_are_good_again_soon_after_the_unit_is_back() {
    for silence in [500, 4_000, 10_000, 30_000, 60_000, 320_000, 600_000, 4_000_000] {
        let mut rig = polling(Sim::usual());
        rig.sim.is_silent = true;
        rig.run(silence);
        rig.sim.is_silent = false;
        rig.sim.is_smart = false;
        if rig.stale_reasons().is_empty() {
            rig.run(5_000);
        } else {
            let took = rig.run_until_seen(12_000, |action| *action == Action::DataOk);
            assert!(took <= 8_000, "after {silence} ms: {took}");
        }
        assert!(rig.count(is_stale) <= 1, "told once");
        assert_eq!(rig.statuses(), ["OL"]);
        assert_eq!(rig.count(|action| matches!(action, Action::GiveUp { .. })), 0);
        let told = rig.seen.iter().filter(|(_, action)| matches!(action, Action::Tell(_))).count();
        assert_eq!(told, 0, "nothing but the change of state is worth a line");
    }
}

#[test]
fn a_unit_that_fell_back_to_dumb_mode_is_caught_before_its_data_are_stale() {
    let mut rig = polling(Sim::usual());
    rig.sim.is_smart = false;
    rig.run(20_000);
    assert_eq!(rig.stale_reasons(), Vec::<String>::new());
    assert_eq!(rig.statuses(), ["OL"]);
}

#[test]
fn a_silent_unit_is_tried_at_most_once_a_second_and_the_port_opened_again_now_and_then() {
    let mut rig = polling(Sim::usual());
    rig.sim.is_silent = true;
    rig.run(900_000);
    let tries: Vec<u64> = rig.sent.iter().filter(|(_, byte)| *byte == b'Y').map(|(at, _)| *at).collect();
    assert!(tries.windows(2).all(|pair| pair[1] - pair[0] >= 1_000));
    assert!(tries.windows(2).all(|pair| pair[1] - pair[0] <= 6_000), "and not much less often");
    assert_eq!(rig.count(|action| matches!(action, Action::Reopen { .. })), 2);
    assert!(rig.sent.len() < 900);
    // Updates go on being answered, none of them late.
    assert!(rig.count(|action| *action == Action::Updated) >= 880);
}

#[test]
fn a_unit_that_talks_nonsense_is_stale_and_not_asked_in_a_hurry() {
    let mut rig = polling(Sim::usual());
    for byte in 0..=255 {
        rig.sim.instead.insert(byte, vec![Some(b"\xff\xfez7\r\n"); 10_000]);
    }
    rig.run_until_seen(20_000, is_stale);
    let from = rig.now;
    rig.run(120_000);
    let tries = rig.sent.iter().filter(|(at, byte)| *at > from && *byte == b'Y').count();
    assert!(tries <= 121, "{tries}");
    assert_eq!(rig.statuses().iter().filter(|status| *status != "OL").count(), 0, "no status came of it");
    rig.sim.instead.clear();
    let took = rig.run_until_seen(12_000, |action| *action == Action::DataOk);
    assert!(took <= 8_000, "{took}");
}

#[test]
fn nothing_but_two_hexadecimal_digits_is_a_status() {
    let cases: [&'static [u8]; 8] =
        [b"ZZ\r\n", b"8\r\n", b"NA\r\n", b"\r\n", b"0x\r\n", b"100.0\r\n", b"OK\r\n", b"SM\r\n"];
    for raw in cases {
        let mut rig = polling(Sim::usual());
        rig.sim.instead.insert(b'Q', vec![Some(raw); 1_000]);
        rig.run_until_seen(30_000, is_stale);
        rig.run(30_000);
        assert_eq!(rig.statuses().iter().filter(|status| *status != "OL").count(), 0, "{raw:?}");
        assert_eq!(rig.count(is_stale), 1);
    }
}

#[test]
fn bytes_in_front_of_a_status_do_not_change_it() {
    let cases: [(&'static [u8], u8); 6] = [
        (b"~08\r\n", 0x08),
        (b"!08\r\n", 0x08),
        (b"\x0408\r\n", 0x08),
        (b"0\x008\r\n", 0x08),
        (b"*08\r\n", 0x08),
        (b"08\n", 0x08),
    ];
    for (raw, status) in cases {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.sim.once(b'Q', &[Some(raw)]);
        rig.update();
        assert_eq!(rig.reports().last().unwrap().1, said(status), "{raw:?}");
        assert_eq!(rig.stale_reasons(), Vec::<String>::new());
    }
}

#[test]
fn every_status_byte_is_told() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    for status in 0..=255 {
        rig.sim.status = status;
        rig.update();
        assert_eq!(rig.reports().last().unwrap().1, said(status));
    }
}

#[test]
fn a_unit_not_ready_yet_is_asked_again() {
    let mut sim = Sim::usual();
    for byte in [b'V', b'a', 0x01, 0x1a, b'Q', b'f', b'b'] {
        sim.once(byte, &[Some(b"SM\r\n")]);
    }
    let rig = Rig::ready(sim, &[]);
    assert_eq!(rig.value("ups.model"), Some("SMART-UPS 420   "));
    assert_eq!(rig.device.variables().len(), 30);
    assert_eq!(rig.device.commands().len(), 10);
}

#[test]
fn a_variable_without_an_answer_stays_for_one_round_and_is_asked_for_on() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'G', &[Some(b"NA\r\n")]);
    rig.update();
    assert_eq!(rig.changes(), Vec::<String>::new());
    rig.sim.once(b'G', &[Some(b"NA\r\n"), Some(b"NA\r\n"), Some(b"NA\r\n")]);
    rig.update();
    rig.update();
    assert_eq!(rig.changes(), ["DELINFO input.transfer.reason"]);
    rig.forget();
    rig.update();
    rig.update();
    assert_eq!(rig.changes().len(), 1);
    assert!(rig.changes()[0].starts_with("SETINFO input.transfer.reason"));
}

#[test]
fn a_variable_that_falls_silent_does_not_cost_seconds_for_ever() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.instead.insert(b'G', vec![None; 1_000]);
    rig.update();
    rig.update();
    assert_eq!(rig.changes(), ["DELINFO input.transfer.reason"]);
    assert_eq!(rig.stale_reasons(), Vec::<String>::new(), "the unit is there: it answers Y and all else");
    rig.forget();
    rig.update();
    assert_eq!(rig.wire(), "Q P X L F 9 M N O f B j");
    rig.sim.instead.clear();
    rig.run(3_601_000);
    rig.update();
    assert!(rig.value("input.transfer.reason").is_some());
}

#[test]
fn a_storm_of_na_while_the_status_is_told_keeps_the_data_good() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.status = 0x00;
    for byte in *b"PXLF9GMNOfBj" {
        rig.sim.instead.insert(byte, vec![Some(b"NA\r\n"); 3]);
    }
    for _ in 0..4 {
        rig.update();
    }
    assert_eq!(rig.statuses(), ["OFF"]);
    assert_eq!(rig.stale_reasons(), Vec::<String>::new());
    assert_eq!(rig.changes().iter().filter(|line| line.starts_with("DELINFO")).count(), 12);
    assert_eq!(rig.changes().iter().filter(|line| line.starts_with("SETINFO")).count(), 12, "all came back");
}

#[test]
fn a_charge_that_falls_to_nothing_between_two_answers_is_asked_for_again() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'f', &[Some(b"000.0\r\n")]);
    rig.sim.once(b'j', &[Some(b"0000:\r\n")]);
    rig.update();
    assert_eq!(rig.changes(), Vec::<String>::new());
    assert!(rig.wire().ends_with("f f B j j"), "{}", rig.wire());
    rig.sim.reply(b'f', b"010.0");
    rig.update();
    assert_eq!(rig.changes(), ["SETINFO battery.charge \"010.0\""], "what is said twice is believed");
    rig.sim.once(b'f', &[Some(b"x\r\n"), Some(b"x\r\n"), Some(b"x\r\n")]);
    rig.update();
    assert_eq!(rig.value("battery.charge"), Some("010.0"), "no number is no charge");
}

#[test]
fn a_text_that_became_empty_does_not_make_the_data_stale_for_ever() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.reply(b'c', b"");
    rig.run(3_601_000);
    rig.update();
    assert_eq!(rig.value("ups.id"), Some(""));
    assert_eq!(rig.stale_reasons(), Vec::<String>::new());
}

#[test]
fn a_lost_port_is_stale_at_once_and_good_soon_after_it_is_back() {
    for away in [1_000, 60_000, 600_000] {
        let mut rig = polling(Sim::usual());
        rig.step(Event::Lost);
        assert_eq!(rig.stale_reasons(), ["the port is gone"]);
        rig.sim.is_smart = false;
        rig.forget();
        rig.run(away);
        assert_eq!(rig.wire(), "", "there is no port to write to");
        rig.step(Event::Opened);
        let took = rig.run_until_seen(12_000, |action| *action == Action::Ready);
        assert!(took <= 6_000, "{took}");
        assert_eq!(rig.count(|action| *action == Action::DataOk), 1);
        assert!(rig.wire().starts_with("Y Q P E X"), "{}", rig.wire());
        assert_eq!(rig.statuses(), ["OL"]);
        assert_eq!(rig.changes(), Vec::<String>::new());
    }
}

#[test]
fn a_lost_port_ends_what_was_under_way() {
    let mut rig = Rig::ready(Sim::usual(), &[("sdtype", "3")]);
    rig.step(Event::Update);
    rig.run(100);
    rig.step(Event::Lost);
    assert_eq!(rig.count(|action| *action == Action::Updated), 1);
    rig.step(Event::Opened);
    rig.run_until_seen(10_000, |action| *action == Action::Ready);
    rig.step(Event::ShutDown);
    rig.run(500);
    rig.step(Event::Lost);
    let failed = |action: &Action| matches!(action, Action::ShutDownEnded(Err(why)) if why.contains("port"));
    assert_eq!(rig.count(failed), 1);
    rig.step(Event::ShutDown);
    assert_eq!(
        rig.count(|action| matches!(action, Action::ShutDownEnded(Err(_)))),
        2,
        "no port: said at once"
    );
    rig.step(Event::Leave);
    assert_eq!(rig.count(|action| *action == Action::Farewell), 1);
}

#[test]
fn another_unit_at_the_same_port_is_noticed() {
    let mut rig = polling(Sim::usual());
    rig.step(Event::Lost);
    rig.sim = Sim::load(include_str!("../../../../nut-drill/profiles/smart-ups-900i-7TI.json"));
    rig.forget();
    rig.start();
    assert_eq!(rig.value("ups.serial"), Some("00016325"));
    assert_eq!(rig.value("ups.model"), Some("Smart-UPS"));
    assert_eq!(rig.value("ups.temperature"), Some("045.9"));
    assert!(rig.device.variable("input.transfer.low").unwrap().choices().is_empty());
    assert!(rig.device.command("load.on").is_none(), "the old one had it");
    assert_eq!(
        rig.told(Weight::Warning).iter().filter(|text| text.contains("another unit answers")).count(),
        1
    );
    assert_eq!(rig.statuses(), ["OL"]);
}

#[test]
fn one_wrong_serial_number_is_not_another_unit() {
    let mut rig = polling(Sim::usual());
    rig.sim.once(b'n', &[Some(b"NS9847001O53\r\n")]);
    rig.run(3_601_000);
    rig.run(20_000);
    assert_eq!(rig.told(Weight::Warning), Vec::<String>::new());
    assert_eq!(rig.value("ups.serial"), Some("NS9847001053"));
}

#[test]
fn a_unit_never_heard_ends_the_start_with_advice() {
    let mut sim = Sim::usual();
    sim.is_silent = true;
    let mut rig = Rig::new(sim, &[]);
    rig.step(Event::Opened);
    let took = rig.run_until_seen(60_000, |action| matches!(action, Action::GiveUp { .. }));
    assert_eq!(took, 15_000);
    assert_eq!(rig.wire(), "Y ESC Y ESC Y ESC Y ESC Y ESC");
    let Action::GiveUp { reason } = &rig.seen.last().unwrap().1 else { panic!() };
    for hint in ["cable", "Microlink", "AP9620"] {
        assert!(reason.contains(hint));
    }
}

#[test]
fn what_is_no_smart_unit_is_told_with_what_it_said() {
    let cases: [(&'static [u8], &str); 4] = [
        (b"\r\nhost login: ", "does not speak the Smart protocol: it said \"host login: \""),
        (b"\xf7\x00\xfd", "it said \"\\xf7^@\\xfd\\xf7"),
        (b"Y", "sends back what it is sent"),
        (b"(229.8 229.8 229.8 023 50.0 13.6 25.0 00001000\r", "it said \"(229.8 229.8 "),
    ];
    for (answer, expected) in cases {
        let mut sim = Sim::usual();
        for byte in [b'Y', 0x1b] {
            sim.once(byte, &[Some(answer); 20]);
        }
        let mut rig = Rig::new(sim, &[]);
        rig.step(Event::Opened);
        rig.run_until_seen(60_000, |action| matches!(action, Action::GiveUp { .. }));
        let Action::GiveUp { reason } = &rig.seen.last().unwrap().1 else { panic!() };
        assert!(reason.contains(expected) && reason.contains("Microlink"), "{reason}");
        assert!(reason.len() < 800 && !reason.contains(char::is_control), "{reason}");
    }
}

#[test]
fn a_unit_that_enters_smart_mode_late_is_met() {
    let mut sim = Sim::usual();
    sim.once(b'Y', &[None, Some(b"x\r\n"), None]);
    let mut rig = Rig::new(sim, &[]);
    rig.start();
    assert!(rig.wire().starts_with("Y ESC Y ESC Y ESC Y V a"));
}

#[test]
fn a_unit_that_vanishes_during_the_start_is_not_half_known() {
    let mut rig = Rig::new(Sim::usual(), &[]);
    rig.step(Event::Opened);
    rig.run(2_500);
    rig.sim.is_silent = true;
    rig.run(13_000);
    rig.sim.is_silent = false;
    rig.run_until_seen(60_000, |action| *action == Action::Ready);
    assert_eq!(rig.device.variables().len(), 30);
    assert_eq!(rig.device.commands().len(), 10);
}

#[test]
fn a_unit_without_a_status_has_no_good_data() {
    let mut sim = Sim::usual();
    sim.instead.insert(b'Q', vec![Some(b"NA\r\n"); 100_000]);
    let mut rig = Rig::new(sim, &[]);
    rig.poll_every = Some(1_000);
    rig.start();
    rig.run(120_000);
    assert_eq!(rig.count(|action| *action == Action::DataOk), 0);
    assert_eq!(rig.statuses(), Vec::<String>::new());
    assert_eq!(rig.count(|action| *action == Action::Ready), 1);
    let tries = rig.sent.iter().filter(|(_, byte)| *byte == b'V').count();
    assert!((5..40).contains(&tries), "{tries}");
    rig.sim.instead.clear();
    rig.run_until_seen(20_000, |action| *action == Action::DataOk);
    assert_eq!(rig.statuses(), ["OL"]);
}

#[test]
fn a_damaged_capability_string_costs_lists_and_no_more() {
    let mut sim = Sim::usual();
    sim.reply(0x1a, b"#uI43253264");
    let mut rig = Rig::new(sim, &[]);
    rig.start();
    let choices: Vec<String> = rig
        .device
        .variable("input.transfer.high")
        .unwrap()
        .choices()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(choices, ["253", "264"]);
    assert_eq!(
        rig.told(Weight::Warning),
        ["the unit's capability string is damaged: it ends inside the group of u"]
    );
}

#[test]
fn an_alert_during_the_start_is_not_lost() {
    let mut rig = Rig::new(Sim::usual(), &[]);
    rig.step(Event::Opened);
    rig.run(3_000);
    rig.step(Event::Received(b"!"));
    rig.sim.status = 0x10;
    rig.run_until_seen(60_000, |action| *action == Action::Ready);
    rig.run(500);
    assert_eq!(rig.statuses(), ["OB"], "without waiting for an update");
}

#[test]
fn two_lines_in_one_piece_do_not_shift_the_answers() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'P', &[Some(b"016.0\r\n50\r\n")]);
    rig.update();
    assert_eq!(rig.value("ups.load"), Some("016.0"));
    assert_eq!(rig.changes().len(), 1);
    assert_eq!(rig.statuses(), ["OL"]);
}

#[test]
fn a_unit_that_noise_kept_from_telling_its_commands_is_asked_again_later() {
    let mut sim = Sim::usual();
    sim.once(b'a', &[Some(b"x3.!$\r\n"), Some(b"x3.!$\r\n")]);
    let mut rig = Rig::ready(sim, &[]);
    assert_eq!(rig.device.commands().len(), 0);
    rig.run(3_601_000);
    rig.update();
    rig.run(60_000);
    assert_eq!((rig.device.variables().len(), rig.device.commands().len()), (30, 10));
    assert_eq!(rig.stale_reasons(), Vec::<String>::new());
}

#[test]
fn a_late_status_is_not_taken_for_the_firmware() {
    let mut sim = Sim::usual();
    sim.once(b'V', &[Some(b"08\r\n")]);
    let rig = Rig::ready(sim, &[]);
    assert_eq!(rig.value("ups.firmware"), Some("21.3.I"));
    assert_eq!(rig.device.commands().len(), 10);
}
