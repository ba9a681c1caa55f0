//! Cutting the power: for each method and state of the line, what is sent and when, and what the unit does.

use super::Rig;
use super::sim::Sim;
use crate::driver::{Action, Event, Weight};

fn rig(status: u8, options: &[(&str, &str)]) -> Rig {
    let mut sim = Sim::usual();
    sim.status = status;
    Rig::ready(sim, options)
}

#[test]
fn each_method_in_each_state_of_the_line() {
    // apcsmart-driver §12, "as written". Y takes 60 ms of this unit's time, Q another 60.
    let cases: [(&str, &str, u8, &str, &str); 14] = [
        ("0", "000", 0x08, "Y@0 Q@60 @@120 0@320 0@370 0@420", "@000"),
        ("0", "000", 0x10, "Y@0 Q@60 S@120", "S"),
        ("0", "000", 0x50, "Y@0 Q@60 S@120", "S"),
        ("0", "7", 0x0c, "Y@0 Q@60 @@120 0@320 0@370 7@420", "@007"),
        ("1", "000", 0x08, "Y@0 Q@60 @@120 0@320 0@370 0@420", "@000"),
        ("1", "000", 0x10, "Y@0 Q@60 S@120", "S"),
        ("2", "000", 0x08, "Y@0 Q@60 Z@120 Z@1640", "ZZ"),
        ("2", "000", 0x10, "Y@0 Q@60 Z@120 Z@1640", "ZZ"),
        ("3", "000", 0x08, "Y@0 Q@60 K@120 K@1640", "KK"),
        ("3", "000", 0x50, "Y@0 Q@60 K@120 K@1640", "KK"),
        ("4", "000", 0x08, "Y@0 Q@60 U@120 S@3680", "S"),
        ("4", "000", 0x10, "Y@0 Q@60 S@120", "S"),
        ("5", "042", 0x08, "Y@0 Q@60 @@120 0@320 4@370 2@420", "@042"),
        ("5", "042", 0x10, "Y@0 Q@60 @@120 0@320 4@370 2@420", "@042"),
    ];
    for (sdtype, awd, status, trace, deed) in cases {
        for ack in [&b"OK\r\n"[..], b"*"] {
            let mut rig = rig(status, &[("sdtype", sdtype), ("awd", awd)]);
            rig.sim.ack = ack.to_vec();
            let case = format!("sdtype {sdtype} awd {awd} status {status:02x} ack {ack:?}");
            assert_eq!(rig.shut_down(), Ok(()), "{case}");
            assert_eq!(rig.trace(), trace, "{case}");
            assert_eq!(rig.sim.deeds, [deed], "{case}");
        }
    }
}

#[test]
fn it_is_said_what_is_done_and_on_what_ground() {
    let mut rig = rig(0x08, &[]);
    rig.shut_down().unwrap();
    assert_eq!(
        rig.told(Weight::Info),
        ["cutting the power: the unit is on mains, sending @000", "@000 is taken: the unit cuts its power"]
    );
    for (sdtype, stays) in [("0", 0), ("1", 0), ("2", 1), ("3", 1), ("4", 0), ("5", 0)] {
        let mut rig = super::shutdown::rig(0x10, &[("sdtype", sdtype)]);
        rig.shut_down().unwrap();
        let warned = rig.told(Weight::Warning).iter().filter(|text| text.contains("stays off")).count();
        assert_eq!(warned, stays, "sdtype {sdtype}: methods that cannot come back by themselves say so");
    }
}

#[test]
fn advorder_is_tried_until_one_is_confirmed() {
    let mut rig = rig(0x08, &[("advorder", "01234")]);
    assert_eq!(rig.shut_down(), Ok(()));
    assert_eq!(rig.wire(), "Y Q S @ 0 0 0");
    assert_eq!(rig.sim.deeds, ["@000"]);
    let mut rig = super::shutdown::rig(0x08, &[("advorder", "4"), ("cshdelay", "1.5"), ("sdtype", "3")]);
    assert_eq!(rig.shut_down(), Ok(()));
    assert_eq!(rig.trace(), "Y@0 Q@60 U@120 S@1680");
    let mut rig = super::shutdown::rig(0x10, &[("advorder", "no"), ("sdtype", "3")]);
    rig.shut_down().unwrap();
    assert_eq!(rig.sim.deeds, ["KK"]);
}

#[test]
fn mains_that_return_before_the_soft_command_are_noticed() {
    for sdtype in ["0", "1"] {
        let mut rig = rig(0x10, &[("sdtype", sdtype)]);
        rig.sim.once(b'S', &[Some(b"NA\r\n")]);
        rig.step(Event::ShutDown);
        rig.run(100);
        rig.sim.status = 0x08;
        rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
        assert_eq!(rig.sim.deeds, ["@000"], "sdtype {sdtype}: the load is powered off and on again");
    }
    let mut rig = rig(0x10, &[("sdtype", "4")]);
    rig.sim.once(b'S', &[Some(b"NA\r\n")]);
    rig.step(Event::ShutDown);
    rig.run(100);
    rig.sim.status = 0x08;
    rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
    assert_eq!(rig.wire(), "Y Q S Y Q U S");
    assert_eq!(rig.sim.deeds, ["S"]);
}

#[test]
fn mains_that_fail_meanwhile_are_noticed_too() {
    let mut rig = rig(0x08, &[("sdtype", "0")]);
    rig.step(Event::ShutDown);
    rig.run(100);
    rig.sim.status = 0x10;
    rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
    assert_eq!(rig.sim.deeds, ["@000"], "this one works in both states");
}

#[test]
fn without_a_status_both_commands_are_tried() {
    for raw in [None, Some(&b"ZZ\r\n"[..]), Some(b"NA\r\n"), Some(b"8\r\n"), Some(b"SM\r\n")] {
        for (status, deed) in [(0x08, "@000"), (0x10, "S")] {
            let mut rig = rig(status, &[("sdtype", "0")]);
            rig.sim.instead.insert(b'Q', vec![raw; 100]);
            assert_eq!(rig.shut_down(), Ok(()));
            assert_eq!(rig.sim.deeds, [deed], "{raw:?}");
        }
    }
    // One answer that cannot be one does not decide.
    let mut rig = rig(0x08, &[]);
    rig.sim.once(b'Q', &[Some(b"zz\r\n")]);
    rig.shut_down().unwrap();
    assert_eq!(rig.wire(), "Y Q Y Q @ 0 0 0");
}

#[test]
fn two_digits_for_a_unit_of_three_are_widened() {
    let mut rig = rig(0x08, &[("sdtype", "5"), ("awd", "05")]);
    assert_eq!(rig.shut_down(), Ok(()));
    assert_eq!(rig.wire(), "Y Q @ 0 5 Y @ 0 0 5");
    assert_eq!(rig.sim.deeds, ["@005"]);
    let mut rig = super::shutdown::rig(0x08, &[("sdtype", "5"), ("awd", "05")]);
    rig.sim.at_digits = 2;
    assert_eq!(rig.shut_down(), Ok(()));
    assert_eq!(rig.sim.deeds, ["@05"]);
}

#[test]
fn a_unit_that_takes_nothing_is_told_of() {
    let mut rig = rig(0x10, &[("sdtype", "0")]);
    rig.sim.instead.insert(b'S', vec![Some(b"NA\r\n"); 10]);
    assert_eq!(rig.shut_down(), Err("S is answered \"NA\"".to_owned()));
    assert_eq!(rig.wire(), "Y Q S Y Q S", "twice, then it is over");
    let mut rig = super::shutdown::rig(0x08, &[("advorder", "02")]);
    rig.sim.instead.insert(b'K', vec![Some(b"NA\r\n"); 10]);
    assert_eq!(rig.shut_down(), Err("S is answered \"NA\"; K K is answered \"NA\"".to_owned()));
}

#[test]
fn a_silent_unit_gets_the_command_all_the_same() {
    for sdtype in ["0", "1", "2", "3", "4", "5"] {
        let mut rig = rig(0x10, &[("sdtype", sdtype)]);
        rig.sim.is_silent = true;
        let begin = rig.now;
        let ended = rig.shut_down();
        assert!(ended.is_err(), "{sdtype}: silence confirms nothing if nothing else was said");
        assert!(rig.now - begin < 45_000, "sdtype {sdtype}: {}", rig.now - begin);
        let commands = rig.sent.iter().filter(|(_, byte)| b"SUKZ@".contains(byte)).count();
        assert!(commands >= 1, "{}", rig.wire());
        assert!(rig.told(Weight::Warning).iter().any(|text| text.contains("does not answer")));
    }
}

#[test]
fn a_unit_in_dumb_mode_is_led_out_of_it() {
    let mut rig = rig(0x10, &[]);
    rig.sim.is_smart = false;
    assert_eq!(rig.shut_down(), Ok(()));
    assert_eq!(rig.sim.deeds, ["S"]);
}

#[test]
fn right_after_the_port_was_opened_a_short_way_is_enough() {
    // V tells whether the unit is one of those that do nothing on @000.
    for (status, trace) in [(0x08, "Y@0 Q@60 V@120 @@190 0@390 0@440 0@490"), (0x10, "Y@0 Q@60 S@120")] {
        let mut sim = Sim::usual();
        sim.status = status;
        let mut rig = Rig::new(sim, &[]);
        rig.step(Event::Opened);
        rig.step(Event::ShutDown);
        rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
        assert_eq!(rig.trace(), trace);
        rig.step(Event::Leave);
        rig.run_until_seen(10_000, |action| *action == Action::Farewell);
        assert_eq!(
            rig.wire(),
            trace
                .split(' ')
                .map(|one| one.split_once('@').map_or("@", |(byte, _)| if byte.is_empty() {
                    "@"
                } else {
                    byte
                }))
                .collect::<Vec<_>>()
                .join(" ")
                + " R"
        );
    }
}

#[test]
fn right_after_the_port_was_opened_a_silent_unit_does_not_end_the_driver() {
    let mut sim = Sim::usual();
    sim.is_silent = true;
    let mut rig = Rig::new(sim, &[]);
    rig.step(Event::Opened);
    rig.step(Event::ShutDown);
    rig.run_until_seen(60_000, |action| matches!(action, Action::ShutDownEnded(Err(_))));
    assert_eq!(rig.count(|action| matches!(action, Action::GiveUp { .. })), 0);
    assert!(rig.wire().contains('S') && rig.wire().contains('@'));
    assert_eq!(rig.sent.iter().filter(|(_, byte)| *byte == b'V').count(), 1, "asked once, not in each round");
}

fn old_unit() -> Sim {
    Sim::load(include_str!("../../../../nut-drill/profiles/smart-ups-900i-7TI.json"))
}

/// Such a unit does nothing on `@000`, and may confirm it all the same: the host would wait for ever.
#[test]
fn an_old_unit_is_sent_what_it_does_not_ignore() {
    for (options, deed) in [
        (&[][..], "@001"),
        (&[("sdtype", "1")], "@001"),
        (&[("sdtype", "5")], "@001"),
        (&[("advorder", "01")], "@001"),
        (&[("sdtype", "5"), ("awd", "2")], "@002"),
    ] {
        // Known before, and met only now.
        let mut known = Rig::ready(old_unit(), options);
        assert_eq!(known.shut_down(), Ok(()));
        assert_eq!(known.sim.deeds, [deed], "{options:?}");
        assert!(!known.wire().contains('V'));
        let mut met = Rig::new(old_unit(), options);
        met.step(Event::Opened);
        met.step(Event::ShutDown);
        met.run_until_seen(60_000, |action| matches!(action, Action::ShutDownEnded(Ok(()))));
        assert_eq!(met.sim.deeds, [deed], "{options:?}");
    }
    // The oldest know no V, and answer b with two digits.
    let mut sim = old_unit();
    sim.reply(b'V', b"NA");
    sim.reply(b'b', b"FF");
    let mut rig = Rig::new(sim, &[]);
    rig.step(Event::Opened);
    rig.step(Event::ShutDown);
    rig.run_until_seen(60_000, |action| matches!(action, Action::ShutDownEnded(Ok(()))));
    assert_eq!(rig.wire(), "Y Q V b @ 0 0 1");
    // A late status is no firmware.
    let mut sim = Sim::usual();
    sim.once(b'V', &[Some(b"08\r\n")]);
    let mut rig = Rig::new(sim, &[]);
    rig.step(Event::Opened);
    rig.step(Event::ShutDown);
    rig.run_until_seen(60_000, |action| matches!(action, Action::ShutDownEnded(Ok(()))));
    assert_eq!(rig.sim.deeds, ["@000"]);
}

#[test]
fn a_shutdown_waits_for_nothing_but_the_question_under_way() {
    for delay in [0, 30, 700, 1_500, 3_000] {
        let mut rig = Rig::new(Sim::usual(), &[]);
        rig.step(Event::Opened);
        rig.run(delay);
        rig.step(Event::ShutDown);
        let took = rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
        assert!(took < 1_500, "{delay} ms after opening: {took}");
        // Afterwards the unit is got to know as if nothing had been.
        rig.run_until_seen(60_000, |action| *action == Action::Ready);
        assert_eq!(rig.device.variables().len(), 30);
    }
    let mut rig = rig(0x10, &[]);
    rig.step(Event::Update);
    rig.run(300);
    rig.step(Event::ShutDown);
    let took = rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
    assert!(took < 400, "{took}");
    assert_eq!(rig.count(|action| *action == Action::Updated), 1, "the update is over as well");
}

#[test]
fn an_alert_in_the_middle_is_told_and_not_asked_about() {
    let mut rig = rig(0x10, &[("sdtype", "3")]);
    rig.step(Event::ShutDown);
    rig.run(1_000);
    rig.step(Event::Received(b"$"));
    assert_eq!(rig.statuses(), ["OL"]);
    rig.run_until_seen(60_000, |action| *action == Action::ShutDownEnded(Ok(())));
    assert_eq!(rig.wire().split(" K K").next(), Some("Y Q"));
}

#[test]
fn an_old_unit_is_warned_about_if_nothing_would_happen() {
    for (options, warns) in [
        (&[][..], true),
        (&[("awd", "1")], false),
        (&[("sdtype", "3")], false),
        (&[("sdtype", "5"), ("awd", "00")], true),
        (&[("advorder", "02")], false),
    ] {
        let mut rig = Rig::new(old_unit(), options);
        rig.start();
        let warned = rig.told(Weight::Warning).iter().any(|text| text.contains("@000"));
        assert_eq!(warned, warns, "{options:?}");
    }
}

#[test]
fn after_the_command_the_unit_is_left_in_peace_for_a_moment() {
    let mut rig = rig(0x08, &[("sdtype", "4")]);
    rig.step(Event::ShutDown);
    rig.run(150);
    // The forced failure is announced as a real one is.
    rig.step(Event::Received(b"!"));
    rig.run_until_seen(20_000, |action| *action == Action::ShutDownEnded(Ok(())));
    rig.step(Event::Update);
    rig.run(950);
    assert_eq!(rig.wire(), "Y Q U S");
    rig.run_until_seen(20_000, |action| *action == Action::Updated);
    assert!(rig.wire().starts_with("Y Q U S Q"), "{}", rig.wire());
}
