//! What holds at the very moment, where a scenario would pass a moment sooner or later, too.

use super::*;

fn at(secs: f64) -> Moment {
    world::moment(secs)
}

fn says(ups: u32, status: &str) -> Event {
    Event::Server(UpsId(ups), Report::Polled(watch::Heard::status(status)))
}

fn fails(ups: u32) -> Event {
    Event::Server(UpsId(ups), Report::PollFailed(Failure::NotConnected))
}

fn machine(lines: &[&str], min_supplies: u32) -> Monitor {
    let mut machine = Monitor::new(UpsmonConf { min_supplies, ..fast(lines) }, Halves::Split);
    machine.step(at(0.0), Event::Start);
    machine
}

fn wakes_at(actions: &[Action]) -> Option<Moment> {
    actions.iter().rev().find_map(|action| match action {
        Action::WakeAt(moment) => Some(*moment),
        _ => None,
    })
}

fn asked(actions: &[Action]) -> Vec<u32> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Ask(UpsId(ups), Order::Poll { .. }) => Some(*ups),
        _ => None,
    });
    asked.collect()
}

fn logged(actions: &[Action]) -> Vec<String> {
    let remarks = actions.iter().filter_map(|action| match action {
        Action::Log(remark) => Some(remark.to_string()),
        _ => None,
    });
    remarks.collect()
}

const TWO: &[&str] = &["a@one 1 pri pp primary", "b@two 1 pri pp primary"];

/// A question that is out delays a decision only if its answer could make up for what is missing.
#[test]
fn only_an_answer_that_could_change_it_delays_a_decision() {
    // Good, and slow to answer; lost and watched only, and slow to answer.
    for (lines, before) in [(TWO, "OL"), (&["a@one 1 pri pp primary", "b@two 0 pri pp primary"], "OB LB")] {
        let mut machine = machine(lines, u32::try_from(lines.len()).unwrap() - u32::from(before != "OL"));
        machine.step(at(0.1), says(1, before));
        machine.step(at(0.1), says(0, "OL"));
        assert_eq!(asked(&machine.step(at(1.1), Event::Tick)), [0, 1]);
        machine.step(at(1.2), says(0, "OB LB"));
        assert!(machine.is_stopping(), "{before}");
    }
}

/// Whatever else happens meanwhile, the last word is waited for a second and no longer.
#[test]
fn the_last_word_has_its_second_to_the_moment() {
    let slow = Duration::from_secs(5);
    let conf = UpsmonConf { poll_frequency: slow, poll_frequency_alert: slow, ..fast(TWO) };
    let mut machine = Monitor::new(conf, Halves::Split);
    machine.step(at(0.0), Event::Start);
    machine.step(at(0.1), says(0, "OB LB"));
    machine.step(at(0.1), says(1, "OL"));
    assert_eq!(asked(&machine.step(at(5.0), Event::Tick)), [0, 1]);
    machine.step(at(5.1), says(1, "OB LB"));
    let nothing = Event::ReloadFailed { why: "it cannot be read".into() };
    assert_eq!(wakes_at(&machine.step(at(5.6), nothing)), Some(at(6.1)));
    machine.step(at(6.0), Event::Tick);
    assert!(!machine.is_stopping());
    machine.step(at(6.1), Event::Tick);
    assert!(machine.is_stopping());
}

/// Nothing else would wake it.
#[test]
fn who_watches_nothing_is_reminded_all_the_same() {
    let mut machine = machine(&[], 0);
    assert_eq!(wakes_at(&machine.step(at(1.0), Event::ForceShutdown { signal: 10 })), Some(at(2.0)));
    machine.step(at(2.0), Event::Tick);
    let actions = machine.step(at(3.0), Event::FromParent(FromParent::Ended(7)));
    assert_eq!(wakes_at(&actions), Some(at(123.0)));
    assert_eq!(logged(&machine.step(at(122.9), Event::Tick)), [""; 0]);
    let actions = machine.step(at(123.0), Event::Tick);
    assert_eq!(logged(&actions).len(), 1);
    assert_eq!(wakes_at(&actions), Some(at(243.0)));
    let actions = machine.step(at(124.0), Event::ParentGone);
    assert_eq!(wakes_at(&actions), Some(at(243.0)));
    let actions = machine.step(at(243.0), Event::Tick);
    assert_eq!(wakes_at(&actions), Some(at(244.0)));
    assert_eq!(wakes_at(&machine.step(at(244.0), Event::Tick)), Some(at(363.0)));
}

/// What failed was perhaps a network that is gone: everybody is asked anew at once.
#[test]
fn a_host_whose_command_has_failed_asks_everybody_at_once() {
    let slow = Duration::from_secs(5);
    let conf = UpsmonConf { poll_frequency: slow, poll_frequency_alert: slow, ..fast(TWO) };
    let mut machine = Monitor::new(conf, Halves::Split);
    machine.step(at(0.0), Event::Start);
    machine.step(at(0.1), says(1, "OL"));
    machine.step(at(0.1), says(0, "OL"));
    machine.step(at(0.2), Event::ForceShutdown { signal: 10 });
    machine.step(at(0.3), Event::Server(UpsId(0), Report::FsdSet));
    machine.step(at(0.3), Event::Server(UpsId(1), Report::FsdSet));
    machine.step(at(0.3), Event::Server(UpsId(0), Report::Logins(Some(1))));
    machine.step(at(0.3), Event::Server(UpsId(1), Report::Logins(Some(1))));
    let actions = machine.step(at(1.3), Event::Tick);
    assert!(actions.contains(&Action::ToParent(ToParent::ShutDown)));
    let actions = machine.step(at(1.4), Event::FromParent(FromParent::NotRun));
    assert_eq!(asked(&actions), [0, 1]);
}

#[test]
fn a_ups_named_twice_is_watched_once() {
    let mut machine = Monitor::new(fast(&[TWO[0], TWO[0], TWO[1]]), Halves::Split);
    let actions = machine.step(at(0.0), Event::Start);
    let opened = actions.iter().filter(|action| matches!(action, Action::Open(..))).count();
    assert_eq!((opened, machine.supplies().len()), (2, 2));
    assert!(actions.contains(&Action::Log(Remark::Duplicate { ups: "a@one".into() })));
}

/// The login ends with the connection: a new password is tried at once then, and not before.
#[test]
fn a_new_password_is_tried_at_once_only_where_nobody_is_logged_in() {
    let refused = Failure::Refused(Refusal { code: None, word: "X".into(), line: "ERR X".into() });
    for (failure, reconnects) in [(Failure::NotConnected, true), (Failure::Late, false), (refused, false)] {
        let mut machine = machine(&TWO[..1], 1);
        machine.step(at(0.1), Event::Server(UpsId(0), Report::LoggedIn));
        machine.step(at(0.1), says(0, "OL"));
        machine.step(at(1.0), Event::Tick);
        machine.step(at(1.1), Event::Server(UpsId(0), Report::PollFailed(failure.clone())));
        let other = fast(&["a@one 1 pri other primary"]);
        let actions = machine.step(at(1.2), Event::Reload(Box::new(other)));
        let is_anew = |action: &Action| matches!(action, Action::Ask(_, Order::Reconnect(_)));
        assert_eq!(actions.iter().any(is_anew), reconnects, "{failure:?}");
    }
}

/// A refusal is logged once, and once more if there was a login in between.
#[test]
fn a_refusal_behind_a_login_is_logged_again() {
    let mut machine = machine(&TWO[..1], 1);
    let refusal = Refusal { code: None, word: "X".into(), line: "ERR X".into() };
    let refused = || Report::LoginFailed { step: nut_client::Step::Login, refusal: refusal.clone() };
    for (report, lines) in
        [(refused(), 1), (refused(), 0), (Report::LoggedIn, 1), (Report::LoggedIn, 0), (refused(), 1)]
    {
        let actions = machine.step(at(0.1), Event::Server(UpsId(0), report.clone()));
        assert_eq!(logged(&actions).len(), lines, "{report:?}");
    }
}

/// NUT takes it for "without a pause".
#[test]
fn who_wants_no_pause_asks_each_second() {
    let conf = UpsmonConf {
        poll_frequency: Duration::ZERO,
        poll_frequency_alert: Duration::ZERO,
        ..fast(&TWO[..1])
    };
    let mut machine = Monitor::new(conf, Halves::Split);
    machine.step(at(0.0), Event::Start);
    assert_eq!(wakes_at(&machine.step(at(0.1), says(0, "OB"))), Some(at(1.0)));
    assert_eq!(asked(&machine.step(at(0.9), Event::Tick)), [0; 0]);
    assert_eq!(asked(&machine.step(at(1.0), Event::Tick)), [0]);
}

/// Whose last poll failed, and who has just been asked again, may answer all the same: his secondaries are waited for.
#[test]
fn who_has_just_been_asked_is_not_out_of_reach() {
    for (waits, is_waited_for) in [(0.3, true), (0.99, true), (1.0, false)] {
        let mut machine = machine(TWO, 1);
        machine.step(at(0.1), says(0, "OL"));
        machine.step(at(0.1), says(1, "OL"));
        machine.step(at(1.0), Event::Tick);
        machine.step(at(1.1), fails(0));
        machine.step(at(1.1), says(1, "OL"));
        machine.step(at(2.0), Event::Tick);
        machine.step(at(2.1), says(1, "OL"));
        machine.step(at(2.0 + waits), Event::ForceShutdown { signal: 10 });
        machine.step(at(3.1), Event::Server(UpsId(1), Report::FsdSet));
        let actions = machine.step(at(3.1), Event::Server(UpsId(1), Report::Logins(Some(1))));
        assert_eq!(actions.contains(&Action::Log(Remark::Executing)), !is_waited_for, "{waits}");
    }
}

/// Not a moment later, and the log says what is wrong; a question to one that is lost is missed sooner, and its connection
/// tells why.
#[test]
fn a_question_that_is_out_for_too_long_is_logged_as_late() {
    let mut machine = machine(&TWO[..1], 1);
    machine.step(at(0.1), says(0, "OL"));
    for second in 1..=12 {
        assert_eq!(logged(&machine.step(at(f64::from(second)), Event::Tick)), [""; 0], "{second}");
    }
    let late = logged(&machine.step(at(13.0), Event::Tick));
    assert!(late.len() == 1 && late[0].starts_with("Poll UPS [a@one] failed"), "{late:?}");
    assert_eq!(asked(&machine.step(at(13.1), fails(0))), [0]);
    assert_eq!(logged(&machine.step(at(14.2), Event::Tick)), [""; 0]);
}

/// A connection that is made anew is no login yet, and what was refused before is news again.
#[test]
fn a_reload_that_connects_anew_begins_at_the_beginning() {
    let mut machine = machine(&["a@one 1 pri pp secondary"], 1);
    machine.step(at(0.1), Event::Server(UpsId(0), Report::LoggedIn));
    machine.step(at(0.1), says(0, "OL"));
    let mut reload = |secs, line| machine.step(at(secs), Event::Reload(Box::new(fast(&[line]))));
    let is_anew = |action: &Action| matches!(action, Action::Ask(_, Order::Reconnect(_)));
    assert!(reload(0.2, "a@one 1 pri pp primary").iter().any(is_anew));
    assert!(reload(0.3, "a@one 1 pri other primary").iter().any(is_anew));
    let refusal = Refusal { code: None, word: "X".into(), line: "ERR X".into() };
    let refused = || Report::LoginFailed { step: nut_client::Step::Login, refusal: refusal.clone() };
    assert_eq!(logged(&machine.step(at(0.4), Event::Server(UpsId(0), refused()))).len(), 1);
    machine.step(at(0.5), Event::Reload(Box::new(fast(&["a@one 1 pri third primary"]))));
    assert_eq!(logged(&machine.step(at(0.6), Event::Server(UpsId(0), refused()))).len(), 1);
}

/// Where there is no root half, whoever reads the file again also stops the host.
#[test]
fn only_a_root_half_keeps_to_what_it_read_at_the_start() {
    for (halves, needs_restart) in [(Halves::Split, true), (Halves::One, false)] {
        let mut machine = Monitor::new(fast(&TWO[..1]), halves);
        machine.step(at(0.0), Event::Start);
        let other = UpsmonConf { shutdown_command: vec!["/bin/other".into()], ..fast(&TWO[..1]) };
        let actions = machine.step(at(0.1), Event::Reload(Box::new(other)));
        let is_told = |action: &Action| matches!(action, Action::Log(Remark::NeedsRestart { .. }));
        assert_eq!(actions.iter().any(is_told), needs_restart, "{halves:?}");
    }
}
