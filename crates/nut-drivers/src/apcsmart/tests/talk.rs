//! A conversation in which all goes well: rhythm, alerts, what comes between what.

use super::sim::Sim;
use super::{Rig, said, secs};
use crate::driver::{Action, Event, Order, OrderId, Weight};
use nut_proto::driver::Judgement;

fn polling() -> Rig {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.poll_every = Some(1_000);
    rig.step(Event::Update);
    rig
}

#[test]
fn ready_is_said_once_and_the_first_update_reads_everything() {
    let mut rig = Rig::new(Sim::usual(), &[]);
    rig.step(Event::Opened);
    let took = rig.run_until_seen(20_000, |action| *action == Action::Ready);
    assert!(took < 6_000, "{took}");
    assert_eq!(
        rig.told(Weight::Info),
        ["the unit is a SMART-UPS 420, firmware 21.3.I: 29 variables, 10 commands"]
    );
    assert_eq!(rig.statuses(), Vec::<String>::new(), "nobody has asked yet");
    rig.update();
    assert_eq!(rig.statuses(), ["OL"]);
    let ends: Vec<&Action> = rig.seen.iter().rev().take(2).map(|(_, action)| action).collect();
    assert_eq!(ends, [&Action::Updated, &Action::DataOk]);
    rig.forget();
    rig.run(60_000);
    assert_eq!((rig.wire(), rig.seen.len()), (String::new(), 0), "without an update nothing is asked");
}

#[test]
fn what_changes_is_told_and_nothing_else() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.update();
    assert_eq!(rig.changes(), Vec::<String>::new());
    rig.sim.reply(b'f', b"099.0");
    rig.forget();
    rig.update();
    assert_eq!(rig.changes(), ["SETINFO battery.charge \"099.0\""]);
}

#[test]
fn everything_is_read_again_each_hour() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.run(3_600_000);
    rig.update();
    assert_eq!(rig.wire(), "Q P X L F 9 G M N O f B j", "not yet: it must be more than an hour");
    rig.forget();
    rig.run(1_000);
    rig.update();
    assert_eq!(rig.wire(), "Q P E X r p c L F s 9 l u G M N O o x f e B g j q k n m ^A b");
    rig.forget();
    rig.update();
    assert_eq!(rig.wire(), "Q P X L F 9 G M N O f B j");
}

#[test]
fn what_had_no_answer_at_the_start_may_have_one_later() {
    let mut sim = Sim::usual();
    sim.reply(b'a', b"3.!$%.CBfhG");
    let mut rig = Rig::ready(sim, &[]);
    assert_eq!(rig.value("ups.temperature"), None);
    rig.sim.reply(b'C', b"031.0");
    rig.update();
    assert_eq!(rig.wire(), "Q G f B");
    rig.run(3_601_000);
    rig.forget();
    rig.update();
    assert_eq!(rig.wire(), "Q C G h f B");
    assert_eq!(rig.value("ups.temperature"), Some("031.0"));
    rig.forget();
    rig.update();
    assert_eq!(rig.wire(), "Q C G f B");
}

#[test]
fn an_alert_is_told_at_once_and_confirmed_although_no_update_is_due() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.status = 0x10;
    rig.run(500);
    rig.step(Event::Received(b"!"));
    assert_eq!(rig.reports(), [(rig.now, "OB".to_owned())]);
    assert_eq!(rig.wire(), "Q", "asked in the same step");
    rig.run(1_000);
    assert_eq!(rig.wire(), "Q");
    assert_eq!(rig.statuses(), ["OB"]);
}

#[test]
fn an_alert_that_was_noise_is_taken_back_by_the_answer() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Received(b"!"));
    rig.run(1_000);
    assert_eq!(rig.statuses(), ["OB", "OL"]);
    let (first, last) = (rig.reports()[0].0, rig.reports().last().unwrap().0);
    assert!(last - first <= 150, "{}", last - first);
    assert_eq!(rig.wire(), "Q Q");
}

#[test]
fn the_course_of_a_power_failure() {
    let mut rig = polling();
    let course: [(u8, &[u8], &str); 6] = [
        (0x10, b"!", "OB"),
        (0x10, b"!", "OB"),
        (0x50, b"%", "OB LB"),
        (0x08, b"$+", "OL LB"),
        (0x88, b"#", "OL RB"),
        (0xa8, b"?", "OL OVER RB"),
    ];
    let mut expected = Vec::new();
    for (status, alerts, first) in course {
        rig.sim.status = status;
        rig.step(Event::Received(alerts));
        assert!(rig.reports().iter().any(|(at, said)| *at == rig.now && said == first) || status == 0x10);
        expected.extend([first.to_owned(), said(status)]);
        rig.run(10_000);
    }
    expected.dedup();
    assert_eq!(rig.statuses(), expected);
    assert_eq!(rig.stale_reasons(), Vec::<String>::new());
}

#[test]
fn an_alert_in_the_middle_of_a_round_is_confirmed_before_the_next_variable() {
    for delay in [10, 45, 75, 200, 333, 600, 777] {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.step(Event::Update);
        rig.run(delay);
        rig.sim.status = 0x10;
        rig.step(Event::Received(b"!"));
        assert_eq!(rig.reports().last(), Some(&(rig.now, "OB".to_owned())), "after {delay} ms");
        let before = rig.sent.len();
        rig.run_until_seen(10_000, |action| *action == Action::Updated);
        assert_eq!(rig.statuses().last().unwrap(), "OB");
        assert_eq!(rig.statuses().len(), if delay < 60 { 1 } else { 2 }, "no way back in between");
        let next: Vec<u8> = rig.sent[before..].iter().map(|(_, byte)| *byte).collect();
        assert!(next.first() == Some(&b'Q') || delay < 60, "after {delay} ms: {next:?}");
    }
}

#[test]
fn an_alert_glued_to_a_reply_does_not_spoil_it() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'P', &[Some(b"!016.0\r\n")]);
    rig.sim.once(b'f', &[Some(b"$%10+0.0\r\n")]);
    rig.sim.status = 0x08;
    rig.update();
    assert_eq!(rig.value("ups.load"), Some("016.0"));
    assert_eq!(rig.value("battery.charge"), Some("100.0"));
    assert_eq!(rig.statuses().last().unwrap(), "OL");
}

#[test]
fn an_answer_older_than_the_alert_is_not_told() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'Q', &[Some(b"!08\r\n")]);
    rig.sim.status = 0x10;
    rig.update();
    assert_eq!(rig.statuses(), ["OB"]);
}

#[test]
fn news_without_an_alert_must_be_said_twice() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.once(b'Q', &[Some(b"48\r\n")]);
    rig.update();
    assert_eq!(rig.statuses(), ["OL"], "one flipped bit is no low battery");
    assert!(rig.wire().starts_with("Q Q P"));
    rig.sim.status = 0x88;
    rig.forget();
    rig.update();
    assert_eq!(rig.statuses(), ["OL RB"]);
    assert!(rig.wire().starts_with("Q Q P"));
    rig.forget();
    rig.update();
    assert!(rig.wire().starts_with("Q P"));
}

#[test]
fn a_storm_of_alerts_does_not_stop_the_round() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Update);
    for _ in 0..2_000 {
        rig.run(4);
        rig.step(Event::Received(b"!$"));
        if rig.count(|action| *action == Action::Updated) > 0 {
            break;
        }
    }
    assert_eq!(rig.count(|action| *action == Action::Updated), 1);
    assert!(rig.sent.len() < 80, "{}", rig.sent.len());
}

#[test]
fn a_unit_about_to_switch_off_is_told_of() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Received(b"*"));
    assert_eq!(rig.told(Weight::Warning), ["the unit says that it is about to switch its output off"]);
}

#[test]
fn a_name_with_an_alert_in_it_is_read_whole() {
    let mut sim = Sim::usual();
    sim.reply(b'c', b"UPS#1&!");
    let mut rig = Rig::ready(sim, &[]);
    assert_eq!(rig.value("ups.id"), Some("UPS#1&!"));
    rig.run(3_601_000);
    rig.update();
    assert_eq!(rig.statuses(), ["OL"], "nobody said RB or OB");
}

#[test]
fn nothing_comes_between_the_bytes_of_a_command() {
    for delay in [100, 900, 1_500] {
        let mut rig = Rig::ready(Sim::usual(), &[]);
        rig.command("shutdown.stayoff", None);
        rig.run(5_000);
        rig.forget();
        let order = Order::Command { name: "shutdown.stayoff".parse().unwrap(), param: None };
        rig.step(Event::Order(OrderId(77), order));
        rig.step(Event::Update);
        rig.run(delay);
        rig.step(Event::Received(b"!"));
        assert_eq!(rig.statuses(), ["OB"], "told at once all the same");
        rig.run_until_seen(10_000, |action| *action == Action::Updated);
        assert!(rig.wire().starts_with("K K Q"), "after {delay} ms: {}", rig.wire());
        assert_eq!(rig.sim.deeds, ["KK"]);
        assert_eq!(rig.count(|action| *action == Action::Done(OrderId(77), Judgement::Handled)), 1);
    }
}

#[test]
fn nothing_comes_between_the_steps_of_a_setting() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    let order = Order::Set { name: "input.transfer.low".parse().unwrap(), value: "200".into() };
    rig.step(Event::Order(OrderId(78), order));
    rig.run(100);
    rig.step(Event::Received(b"!"));
    rig.run_until_seen(10_000, |action| *action == Action::Done(OrderId(78), Judgement::Handled));
    rig.run(500);
    assert_eq!(rig.wire(), "l - l - l l Q Q");
}

#[test]
fn the_goodbye() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Leave);
    let took = rig.run_until_seen(10_000, |action| *action == Action::Farewell);
    assert_eq!((rig.wire().as_str(), took), ("R", 70));
    rig.forget();
    rig.run(60_000);
    rig.step(Event::Update);
    rig.step(Event::Received(b"!"));
    assert_eq!(rig.wire(), "");
    assert_eq!(rig.count(|action| *action == Action::Updated), 1, "whoever asks is answered");
}

#[test]
fn the_goodbye_does_not_wait_for_a_question() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Update);
    rig.run(100);
    rig.step(Event::Leave);
    assert!(rig.wire().ends_with(" R"));
    rig.run_until_seen(3_000, |action| *action == Action::Farewell);
    assert_eq!(rig.count(|action| *action == Action::Updated), 1);
}

#[test]
fn a_silent_unit_is_not_waited_for_at_the_goodbye() {
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.sim.is_silent = true;
    rig.update();
    rig.step(Event::Leave);
    assert_eq!(rig.seen.last().unwrap().1, Action::Farewell);
    assert!(rig.wire().ends_with('R'));
}

#[test]
fn a_command_is_finished_before_the_goodbye() {
    let mut rig = Rig::ready(Sim::usual(), &[("sdtype", "3")]);
    rig.step(Event::ShutDown);
    rig.run(400);
    rig.step(Event::Leave);
    rig.run_until_seen(20_000, |action| *action == Action::Farewell);
    assert_eq!(rig.wire(), "Y Q K K R");
    assert_eq!(rig.sim.deeds, ["KK"]);
    assert_eq!(rig.count(|action| *action == Action::ShutDownEnded(Ok(()))), 1);
}

#[test]
fn the_clock_is_only_read_from_the_events() {
    // A machine that slept an hour in the middle of a question.
    let mut rig = Rig::ready(Sim::usual(), &[]);
    rig.step(Event::Update);
    rig.now += u64::try_from(secs(3_600).as_millis()).unwrap();
    rig.step(Event::Tick);
    rig.run_until_seen(20_000, |action| *action == Action::Updated);
    assert_eq!(rig.stale_reasons(), Vec::<String>::new(), "Y is answered, and so is the second Q");
    assert_eq!(rig.statuses(), ["OL"]);
}
