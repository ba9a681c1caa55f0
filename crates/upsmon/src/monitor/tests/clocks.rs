//! H: clocks that jump, and hosts that sleep.
//!
//! The monitor is handed moments of a clock that nobody can set, and looks at distances between them only: a clock on the
//! wall that is set forward or back can change nothing. What can happen is that a host sleeps, or a process is stopped;
//! then an hour is over from one moment to the next. Each scenario is played with that hour, and all that happened is
//! played again on clocks that began elsewhere.

use super::world::Upsd;
use super::*;

const U1: &str = "u1@localhost";
const PRI: &[&str] = &["u1@localhost 1 pri pp primary"];
const SEC: &[&str] = &["u1@localhost 1 sec ss secondary"];
const HOUR: f64 = 3600.0;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// All that has happened to the host happens again, on clocks that began at other times: the same must follow.
pub(super) fn does_the_same_on_any_clock(
    world: &World,
    host: usize,
    conf: &UpsmonConf,
) -> Result<(), String> {
    let expected = world.actions(host);
    // As it was; an hour, and thirty years after the clock had begun.
    for origin in [secs(0), secs(3600), secs(1_000_000_000)] {
        let mut monitor = Monitor::new(conf.clone(), Halves::Split);
        let mut nth = 0;
        for (at, event) in &world.hosts[host].trace {
            for action in monitor.step(*at + origin, event.clone()) {
                let action = match action {
                    Action::WakeAt(moment) => {
                        Action::WakeAt(Moment::from_start(moment.since(Moment::START + origin)))
                    }
                    other => other,
                };
                if expected.get(nth) != Some(&(*at, action.clone())) {
                    let before = expected.get(nth);
                    return Err(format!(
                        "{origin:?} later it does {action:?} at {at:?}, where it did {before:?}"
                    ));
                }
                nth += 1;
            }
        }
        if nth < expected.len() {
            return Err(format!("{origin:?} later it does less"));
        }
    }
    Ok(())
}

/// One host and one UPS, and at which second the host sleeps for an hour, at the first opportunity after it.
fn sleeps(conf: &UpsmonConf, says: &str, at: &[f64], until: f64) -> (World, usize) {
    let mut world = World::new();
    let host = world.host("host", 0.0, conf.clone());
    world.set(U1, says);
    for at in at.iter().copied() {
        world.at(at, move |world| world.freeze(host, HOUR));
    }
    world.run_until(until);
    does_the_same_on_any_clock(&world, host, conf).unwrap();
    (world, host)
}

/// How often the connection was made, closed or renewed.
fn connections(world: &World, host: usize) -> usize {
    let is_one = |action: &Action| match action {
        Action::Open(..) | Action::Close(_) | Action::HangUp => true,
        Action::Ask(_, order) => matches!(order, Order::Reconnect(_) | Order::Use(_)),
        _ => false,
    };
    world.actions(host).iter().filter(|(_, action)| is_one(action)).count()
}

#[test]
fn h1_an_hour_that_is_gone_on_mains_changes_nothing() {
    let (mut world, host) = sleeps(&fast(PRI), "OL", &[10.3], 2.0 * HOUR);
    world.expect(host, "3610.3 SUSPEND_TIMEJUMP_UNEXPECTED");
    assert!(world.has_logged(host, "It seems we have slept without warning for 3599.300 seconds"));
    assert_eq!((connections(&world, host), world.logins(U1)), (1, 1));
}

#[test]
fn h2_an_hour_that_is_gone_on_battery_changes_nothing() {
    let (mut world, host) = sleeps(&fast(PRI), "OB", &[10.3], 2.0 * HOUR);
    world.expect(
        host,
        "0 ONBATT u1@localhost
         3610.3 SUSPEND_TIMEJUMP_UNEXPECTED",
    );
    assert_eq!((connections(&world, host), world.logins(U1)), (1, 1));
}

/// The wait goes on where it was.
#[test]
fn h3_a_secondarys_wait_goes_on_after_a_sleep() {
    let patient = UpsmonConf { host_sync: secs(60), ..fast(SEC) };
    let (world, host) = sleeps(&patient, "OB LB", &[30.5], 2.0 * HOUR);
    // 30 s before it slept, 31 s after it: more than 60.
    assert_eq!(
        world.told(host)[3..5],
        ["3660.5 giving up on the primary of u1@localhost", "3660.5 SHUTDOWN"]
    );
}

/// After a sleep a dead server gets its whole DEADTIME once more, but only once.
#[test]
fn h4_dead_time_counts_only_while_we_run() {
    let mut world = World::new();
    let patient = UpsmonConf { dead_time: secs(60), ..fast(PRI) };
    let host = world.host("host", 0.0, patient.clone());
    world.set(U1, "OB");
    world.at(2.5, |world| world.upsd("localhost", Upsd::Down));
    world.at(20.5, move |world| world.freeze(host, HOUR));
    world.at(3640.0, move |world| world.freeze(host, HOUR));
    world.run_until(8000.0);
    let is_news = |line: &String| !line.contains("NOCOMM") && !line.contains("SUSPEND");
    let told: Vec<_> = world.told(host).into_iter().filter(is_news).collect();
    // Awake from 3620.5 on; 20 s later asleep again until 7240; 41 s more.
    assert_eq!(told[2..5], ["7281 no FSD for u1@localhost", "7281 SHUTDOWN", "7282 CMD"], "{told:?}");
    does_the_same_on_any_clock(&world, host, &patient).unwrap();
}

/// NUT never stops this host once its clock has been set back. Here it stops after DEADTIME, wherever the clock began.
#[test]
fn h5_dead_time_is_over_when_it_is_over() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OB");
    world.at(7.5, |world| world.upsd("localhost", Upsd::Down));
    world.run_until(60.0);
    world.expect(
        host,
        "0 ONBATT u1@localhost
         8 COMMBAD u1@localhost
         13 no FSD for u1@localhost
         13 SHUTDOWN
         14 CMD
         14 exit",
    );
    does_the_same_on_any_clock(&world, host, &fast(PRI)).unwrap();
}

#[test]
fn h6_a_primary_that_sleeps_while_it_waits_waits_for_the_rest() {
    let patient = UpsmonConf { host_sync: secs(60), ..fast(PRI) };
    let mut world = World::new();
    let host = world.host("host", 0.0, patient.clone());
    world.set(U1, "OB LB");
    world.strangers(U1, 1);
    world.at(10.1, move |world| world.freeze(host, HOUR));
    world.run_until(2.0 * HOUR);
    let told = world.told(host);
    // Due to count at 10.25, it counted at 3610.1: that much later is HOSTSYNC over, too.
    assert_eq!(
        told[3..],
        [
            "0 SHUTDOWN_HOSTSYNC",
            "3610.1 SUSPEND_TIMEJUMP_UNEXPECTED",
            "3660.35 host sync expired",
            "3660.35 SHUTDOWN",
            "3661.35 CMD",
            "3661.35 exit"
        ]
    );
    does_the_same_on_any_clock(&world, host, &patient).unwrap();
}

/// The hours slept do not count: nobody was there to be told again.
#[test]
fn h7_a_bad_battery_is_told_again_after_twelve_hours_awake() {
    let conf = fast(PRI);
    let mut world = World::new();
    let host = world.host("host", 0.0, conf.clone());
    world.set(U1, "OL RB");
    world.at(100.5, move |world| world.freeze(host, 43_300.0));
    world.run_until(100_000.0);
    let told: Vec<_> = world.told(host);
    assert_eq!(
        told,
        ["0 REPLBATT u1@localhost", "43400.5 SUSPEND_TIMEJUMP_UNEXPECTED", "86500.5 REPLBATT u1@localhost"]
    );
    does_the_same_on_any_clock(&world, host, &conf).unwrap();
}

/// NUT logs in once more with each jump, and in the end its primary waits for the host itself.
#[test]
fn h8_two_hours_that_are_gone_cost_no_second_login() {
    let (mut world, host) = sleeps(&fast(SEC), "OL", &[10.3, 3700.3], 3.0 * HOUR);
    world.expect(
        host,
        "3610.3 SUSPEND_TIMEJUMP_UNEXPECTED
         7300.3 SUSPEND_TIMEJUMP_UNEXPECTED",
    );
    let slept = world.logged(host).iter().filter(|line| line.contains("slept without warning")).count();
    assert_eq!((slept, connections(&world, host), world.logins(U1)), (2, 1, 1));
}

#[test]
fn h_a_host_that_was_stopped_for_an_hour_does_not_stop_for_that() {
    for (role, says) in [("primary", "OL"), ("primary", "OB"), ("secondary", "OB LB")] {
        let mut world = World::new();
        let lines: &[&str] = if role == "primary" { PRI } else { SEC };
        let patient = UpsmonConf { host_sync: secs(60), ..fast(lines) };
        let host = world.host("host", 0.0, patient);
        world.set(U1, says);
        world.at(10.3, move |world| world.freeze(host, HOUR));
        world.at(3620.0, |world| world.set(U1, "OL"));
        world.run_until(4000.0);
        assert!(world.is_running(host), "{says}: {:?}", world.told(host));
        assert!(world.has_logged(host, "It seems we have slept without warning"));
        let again = world.told(host).iter().filter(|line| line.contains("ONBATT")).count();
        assert_eq!(again, usize::from(says != "OL"));
    }
}

/// However long it stood still, and wherever between two polls: before anything is decided there are fresh data, and these
/// say that all is well.
#[test]
fn h_nothing_is_decided_by_what_was_known_before_a_standstill() {
    for stood_still in [1.0, 2.0, 4.0, 4.9, 5.1, 6.0, 10.0, 60.0, 600.0] {
        for tenth in 0..10_u8 {
            let (from, until) =
                (10.0 + f64::from(tenth) / 10.0, 10.0 + f64::from(tenth) / 10.0 + stood_still);
            // On battery all the time; low battery that is over; a server that is back.
            for (nth, lines) in [PRI, SEC, PRI].into_iter().enumerate() {
                let mut world = World::new();
                let host = world.host("host", 0.05, fast(lines));
                world.set(U1, "OB");
                match nth {
                    0 => {}
                    1 => {
                        world.at(8.5, |world| world.set(U1, "OB LB"));
                        world.at(until - 0.01, |world| world.set(U1, "OL"));
                    }
                    _ => {
                        world.at(8.5, |world| world.upsd("localhost", world::Upsd::Down));
                        world.at(until - 0.01, |world| world.upsd("localhost", world::Upsd::Up));
                    }
                }
                world.at(from, move |world| world.freeze(host, stood_still));
                world.run_until(until + 60.0);
                let told = world.told(host);
                assert!(world.is_running(host), "{nth}, {from} for {stood_still}: {told:?}");
            }
        }
    }
}

/// Stopped in the very moment between a question and its answer: what then is the first to be read is as old as that.
#[test]
fn h_an_answer_from_before_a_standstill_decides_nothing() {
    for (stood_still, lines, has_ticked) in [6.5, 8.0, 12.0, 600.0]
        .into_iter()
        .flat_map(|time| [(time, SEC, false), (time, PRI, false), (time, SEC, true), (time, PRI, true)])
    {
        let mut machine = Monitor::new(fast(lines), Halves::Split);
        let at = world::moment;
        let says = |status| Event::Server(UpsId(0), Report::Polled(watch::Heard::status(status)));
        // A primary would not have waited.
        let before = if lines == PRI { "OB" } else { "OB LB" };
        machine.step(at(0.0), Event::Start);
        machine.step(at(0.1), says(before));
        for second in [1.0, 2.0, 3.0] {
            machine.step(at(second), Event::Tick);
            machine.step(at(second + 0.1), says(before));
        }
        let is_poll = |action: &Action| matches!(action, Action::Ask(_, Order::Poll { .. }));
        assert!(machine.step(at(4.0), Event::Tick).iter().any(is_poll));
        if has_ticked {
            machine.step(at(4.0 + stood_still), Event::Tick);
        }
        let follows = machine.step(at(4.0 + stood_still), says("OB LB"));
        assert!(!machine.is_stopping(), "{stood_still}: {follows:?}");
        // What is read first is as old as the standstill: the question is asked once more, at once.
        assert!(follows.iter().any(is_poll), "{stood_still}: {follows:?}");
        let back = Event::Server(UpsId(0), Report::Polled(watch::Heard::status("OL")));
        machine.step(at(4.1 + stood_still), back);
        assert_eq!(machine.supplies()[0].lost, None);
    }
}

/// Of a second standstill soon after the first the time counts, so that a starved host stops; what was asked before it is as
/// old as it is all the same.
#[test]
fn h_an_answer_from_before_a_second_standstill_decides_nothing() {
    for (lines, before, has_ticked) in
        [(PRI, "OB", false), (PRI, "OB", true), (SEC, "OB LB", false), (SEC, "OB LB", true)]
    {
        let patient = UpsmonConf { host_sync: secs(30), ..fast(lines) };
        let mut machine = Monitor::new(patient, Halves::Split);
        let at = world::moment;
        let says = |status| Event::Server(UpsId(0), Report::Polled(watch::Heard::status(status)));
        machine.step(at(0.0), Event::Start);
        machine.step(at(0.1), says(before));
        machine.step(at(1.0), Event::Tick);
        // Ten seconds that are left out; the answer is old, and asked for once more.
        machine.step(at(11.0), says(before));
        machine.step(at(11.1), says(before));
        machine.step(at(12.0), Event::Tick);
        // A minute that counts.
        if has_ticked {
            machine.step(at(72.0), Event::Tick);
        }
        let follows = machine.step(at(72.0), says("OB LB"));
        assert!(!machine.is_stopping(), "{lines:?}: {follows:?}");
        let is_poll = |action: &Action| matches!(action, Action::Ask(_, Order::Poll { .. }));
        assert!(follows.iter().any(is_poll), "{lines:?}: {follows:?}");
        // It says the same again: then that is so.
        let mut other = machine.clone();
        other.step(at(72.2), says("OB LB"));
        assert!(other.is_stopping());
        machine.step(at(72.2), says("OL"));
        assert_eq!(machine.supplies()[0].lost, None);
        assert!(!machine.is_stopping());
    }
}

/// The server has dropped our connection meanwhile: the first question finds that out, the second is answered.
#[test]
fn h_a_question_that_fails_behind_a_second_standstill_is_no_silence() {
    for suspended in [0, 30] {
        let mut machine = Monitor::new(fast(PRI), Halves::Split);
        let at = world::moment;
        let says = |status| Event::Server(UpsId(0), Report::Polled(watch::Heard::status(status)));
        machine.step(at(0.0), Event::Start);
        machine.step(at(0.1), says("OB"));
        machine.step(at(11.0), Event::Tick);
        machine.step(at(11.1), says("OB"));
        // Of this minute the kernel knows only half; for the rest the process did not run.
        if suspended > 0 {
            machine.step(at(72.0), Event::Awake(secs(suspended)));
        }
        machine.step(at(72.0), Event::Tick);
        machine.step(at(72.1), Event::Server(UpsId(0), Report::PollFailed(Failure::NotConnected)));
        assert!(!machine.is_stopping());
        for second in 73..=76 {
            machine.step(at(f64::from(second)), Event::Tick);
            machine.step(
                at(f64::from(second) + 0.1),
                Event::Server(UpsId(0), Report::PollFailed(Failure::NotConnected)),
            );
            assert!(!machine.is_stopping(), "{second}");
        }
        // DEADTIME after it ran again, whatever was forgiven before.
        machine.step(at(77.6), Event::Tick);
        machine.step(at(77.7), Event::Server(UpsId(0), Report::PollFailed(Failure::NotConnected)));
        assert!(machine.is_stopping());
    }
}

/// What is left out of our time is no part of a silence, and what came before it is.
#[test]
fn h_a_silence_goes_on_where_it_was_behind_a_suspension() {
    let mut machine = Monitor::new(fast(PRI), Halves::Split);
    let at = world::moment;
    let failed = || Event::Server(UpsId(0), Report::PollFailed(Failure::NotConnected));
    machine.step(at(0.0), Event::Start);
    machine.step(at(0.1), Event::Server(UpsId(0), Report::Polled(watch::Heard::status("OB"))));
    machine.step(at(1.0), Event::Tick);
    machine.step(at(61.5), Event::Awake(secs(60)));
    for second in [61.6, 62.7, 63.7, 64.7] {
        machine.step(at(second), Event::Tick);
        machine.step(at(second), failed());
        assert!(!machine.is_stopping(), "{second}");
    }
    machine.step(at(65.7), Event::Tick);
    machine.step(at(65.7), failed());
    assert!(machine.is_stopping());
}

/// Up to five seconds are no standstill: nobody is asked before it is time, and a silence goes on.
#[test]
fn h_a_host_that_runs_a_little_late_counts_that_time() {
    for late in [1.5, 5.0] {
        let mut machine = Monitor::new(fast(PRI), Halves::Split);
        let at = world::moment;
        let is_poll = |action: &Action| matches!(action, Action::Ask(_, Order::Poll { .. }));
        let failed = || Event::Server(UpsId(0), Report::PollFailed(Failure::NotConnected));
        machine.step(at(0.0), Event::Start);
        machine.step(at(0.1), Event::Server(UpsId(0), Report::Polled(watch::Heard::status("OB"))));
        machine.step(at(1.0), Event::Tick);
        machine.step(at(1.0), failed());
        machine.step(at(2.0 + late), Event::Tick);
        assert!(!machine.step(at(2.0 + late), failed()).iter().any(is_poll), "{late}");
        let second = (3.0 + late).max(5.7);
        machine.step(at(second), Event::Tick);
        machine.step(at(second), failed());
        assert!(machine.is_stopping(), "{late}");
    }
}

/// A question that was out when the host fell asleep has its whole time once more: its server, too, has just come back.
#[test]
fn h_a_question_that_was_out_has_its_time_anew_behind_a_standstill() {
    for is_told in [true, false] {
        let mut machine = Monitor::new(fast(PRI), Halves::Split);
        let at = world::moment;
        let has_told = |actions: Vec<Action>| {
            actions.iter().any(|action| matches!(action, Action::Notify(notice) if notice.ups.is_some()))
        };
        machine.step(at(0.0), Event::Start);
        machine.step(at(0.1), Event::Server(UpsId(0), Report::Polled(watch::Heard::status("OL"))));
        for second in 1..=12 {
            machine.step(at(f64::from(second)), Event::Tick);
        }
        let wakes = if is_told { Event::Awake(secs(3600)) } else { Event::Tick };
        machine.step(at(3613.0), wakes);
        for second in 3614..=3624 {
            assert!(!has_told(machine.step(at(f64::from(second)), Event::Tick)), "{second}");
        }
        assert!(has_told(machine.step(at(3625.0), Event::Tick)));
    }
}

/// A decision that waits for a last word waits anew behind a suspension, and behind one standstill more.
#[test]
fn h_a_last_word_is_waited_for_anew_behind_each_suspension() {
    let one_of_two =
        UpsmonConf { min_supplies: 2, ..fast(&["a@one 1 pri pp primary", "b@two 1 pri pp primary"]) };
    let mut machine = Monitor::new(one_of_two, Halves::Split);
    let at = world::moment;
    let says = |ups, status| Event::Server(UpsId(ups), Report::Polled(watch::Heard::status(status)));
    machine.step(at(0.0), Event::Start);
    for ups in [0, 1] {
        machine.step(at(0.1), says(ups, "OB"));
    }
    machine.step(at(1.0), Event::Tick);
    // Its answer is from before, so it is asked again: and that question is never answered.
    machine.step(at(61.0), Event::Awake(secs(60)));
    machine.step(at(61.0), says(0, "OB LB"));
    let mut second = 61.0;
    for _ in 0..3 {
        second += 3600.5;
        machine.step(at(second), Event::Awake(secs(3600)));
        machine.step(at(second), Event::Tick);
        assert!(!machine.is_stopping(), "{second}");
        // It runs late, and has had no time to hear what is waiting.
        second += 3.0;
        machine.step(at(second), Event::Tick);
        assert!(!machine.is_stopping(), "{second}");
    }
    machine.step(at(second + 3.0), Event::Tick);
    assert!(machine.is_stopping());
}

/// Told before the machine may sleep, and once when it is awake, whoever says so first; the same holds if it does not sleep
/// after all. What is known of the UPSes stays, and nothing of it is told again.
#[test]
fn h_an_announced_sleep_is_told_before_it_begins_and_when_it_is_over() {
    for says in ["OL", "OB"] {
        let mut world = World::new();
        let host = world.host("host", 0.0, fast(PRI));
        world.set(U1, says);
        world.at(10.3, move |world| world.send(host, Event::SleepAnnounced));
        world.at(12.1, move |world| world.suspend(host, HOUR));
        world.at(12.2, move |world| world.send(host, Event::SleepOver));
        // This one is given up.
        world.at(3700.3, move |world| world.send(host, Event::SleepAnnounced));
        world.at(3703.0, move |world| world.send(host, Event::SleepOver));
        // Of this one nobody hears but the kernel.
        world.at(3800.3, move |world| world.suspend(host, HOUR));
        world.run_until(8000.0);
        let before = if says == "OB" { "0 ONBATT u1@localhost" } else { "" };
        world.expect(
            host,
            &format!(
                "{before}
                 10.3 SUSPEND_STARTING
                 10.3 may sleep
                 3612.1 SUSPEND_FINISHED
                 3700.3 SUSPEND_STARTING
                 3700.3 may sleep
                 3703 SUSPEND_FINISHED
                 7400.3 SUSPEND_FINISHED"
            ),
        );
        let logged = world.logged(host);
        assert_eq!(
            logged[1..],
            [
                "Processing OS going to sleep",
                "Processing OS wake-up after sleep; the host slept for 3600.000 seconds",
                "Processing OS going to sleep",
                "Processing OS wake-up after sleep, which did not come about",
                "It seems we have slept without warning for 3600.000 seconds",
            ]
        );
        assert_eq!((connections(&world, host), world.logins(U1)), (1, 1));
        does_the_same_on_any_clock(&world, host, &fast(PRI)).unwrap();
    }
}

/// Until it sleeps the host is watched, and a sleep that never comes changes nothing.
#[test]
fn h_a_host_that_is_about_to_sleep_stops_in_time_all_the_same() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.at(10.3, move |world| world.send(host, Event::SleepAnnounced));
    world.at(15.2, |world| world.set(U1, "OB LB"));
    world.run_until(60.0);
    world.expect(
        host,
        "10.3 SUSPEND_STARTING
         10.3 may sleep
         16 ONBATT u1@localhost
         16 LOWBATT u1@localhost
         16 FSD u1@localhost
         16 SHUTDOWN
         17 CMD
         17 exit",
    );
}

/// NUT master's `%s` comes out empty.
#[test]
fn h_a_standstill_that_nobody_announced_is_told_once_with_its_length() {
    let mut world = World::new();
    let host = world.host("host", 0.0, fast(PRI));
    world.set(U1, "OL");
    world.at(10.3, move |world| world.freeze(host, 600.0));
    // Not long enough to be one.
    world.at(700.3, move |world| world.freeze(host, 4.0));
    world.run_until(800.0);
    world.expect(host, "610.3 SUSPEND_TIMEJUMP_UNEXPECTED");
    let texts: Vec<_> = world
        .actions(host)
        .iter()
        .filter_map(|(_, action)| match action {
            Action::Notify(notice) => Some((&*notice.text, notice.ups.as_deref())),
            _ => None,
        })
        .collect();
    assert_eq!(texts, [("Unexpected clock change by 599.300 seconds, treating as wake up from sleep", None)]);
}

/// The notice comes once for each suspension, and nothing else is told for it.
#[test]
fn h_a_host_that_was_suspended_tells_when_it_is_awake() {
    let mut machine = Monitor::new(fast(PRI), Halves::Split);
    let at = world::moment;
    let heard = |status| Event::Server(UpsId(0), Report::Polled(watch::Heard::status(status)));
    machine.step(at(0.0), Event::Start);
    machine.step(at(0.1), heard("OB"));
    let told = |actions: Vec<Action>| -> Vec<(NoticeKind, Option<Box<str>>)> {
        let notices = actions.into_iter().filter_map(|action| match action {
            Action::Notify(notice) => Some((notice.kind, notice.ups)),
            _ => None,
        });
        notices.collect()
    };
    let hour = Duration::from_secs(3600);
    assert_eq!(told(machine.step(at(3600.0), Event::Awake(hour))), [(NoticeKind::SuspendFinished, None)]);
    assert_eq!(told(machine.step(at(3600.1), Event::Tick)), []);
    assert_eq!(told(machine.step(at(3600.2), heard("OB"))), []);
    assert!(!machine.is_stopping());
    assert_eq!(told(machine.step(at(7200.0), Event::Awake(hour))), [(NoticeKind::SuspendFinished, None)]);
}

/// As a notebook does that is closed and opened: each time the network comes later than we do.
#[test]
fn h_a_host_that_is_suspended_again_and_again_does_not_stop_for_that() {
    let hour = Duration::from_secs(3600);
    for awake in [1, 5, 8, 14, 20] {
        for lines in [PRI, SEC] {
            let mut machine = Monitor::new(fast(lines), Halves::Split);
            let at = world::moment;
            let mut second = 0.0;
            machine.step(at(second), Event::Start);
            machine.step(at(0.1), Event::Server(UpsId(0), Report::Polled(watch::Heard::status("OB"))));
            for _ in 0..3 {
                second += 3600.0;
                machine.step(at(second), Event::Awake(hour));
                // Once for what was asked before, once for what is asked now.
                for tenth in [0.1, 0.2] {
                    let failed = Report::PollFailed(Failure::NotConnected);
                    machine.step(at(second + tenth), Event::Server(UpsId(0), failed));
                }
                assert!(!machine.is_stopping(), "{awake}: after {second}");
                for _ in 0..awake {
                    second += 1.0;
                    machine.step(at(second), Event::Tick);
                    let back = Report::Polled(watch::Heard::status("OB"));
                    machine.step(at(second + 0.1), Event::Server(UpsId(0), back));
                }
            }
            assert!(!machine.is_stopping());
        }
    }
}
