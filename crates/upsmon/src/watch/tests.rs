//! One UPS in simulated time, and the golden table of decisions.

use super::*;
use nut_proto::status::Status;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// One UPS in simulated time; what it notifies is compared at each step.
struct Scenario {
    watch: Watch,
    rules: Rules,
}

impl Scenario {
    fn new(role: Role, change: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Rules::from(&UpsmonConf::default());
        change(&mut rules);
        Self { watch: Watch::new(role), rules }
    }

    fn with_dead_time(dead_time: u64) -> Self {
        Self::new(Role::Primary, |rules| rules.dead_time = secs(dead_time))
    }

    #[track_caller]
    fn at(&mut self, at: u64, event: Event, expected: &[Action]) {
        let actions = self.watch.step(Moment::from_secs(at), &self.rules, event);
        assert_eq!(actions, expected, "at {at} s");
    }
}

fn says(status: &str) -> Event {
    Event::Polled(Heard::status(status))
}

fn notify(kind: NoticeKind) -> Action {
    Action::Notify(kind, None)
}

use Event::PollFailed as Failed;
use NoticeKind::{Cal, CommBad, CommOk, LowBatt, NoComm, OnBatt};

// NUT issue 2794.
#[test]
fn silence_while_calibrating_on_mains_is_no_reason_to_stop() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OL CAL"), &[notify(Cal)]);
    ups.at(5, Failed, &[notify(CommBad)]);
    ups.at(600, Failed, &[notify(NoComm)]);
    assert_eq!(ups.watch.cause(), None);
}

/// It was last heard on battery, and draining it on purpose: whether it ever returned to mains nobody can tell.
#[test]
fn silence_while_calibrating_on_battery_is_silence_on_battery() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OB CAL"), &[notify(OnBatt), notify(Cal)]);
    ups.at(5, Failed, &[notify(CommBad)]);
    ups.at(15, Failed, &[]);
    let cause = Cause::SilentOnBattery { silent: secs(16) };
    ups.at(16, Failed, &[Action::Condemn(cause.clone())]);
    ups.at(20, says("OB CAL"), &[notify(CommOk), Action::Absolve(cause)]);
    ups.at(25, says("OB LB CAL"), &[notify(LowBatt), Action::Note(Note::LowWhileCalibrating)]);
}

#[test]
fn silence_on_battery_condemns_after_dead_time_and_an_answer_absolves() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OB"), &[notify(OnBatt)]);
    ups.at(5, Failed, &[notify(CommBad)]);
    ups.at(15, Failed, &[]);
    let cause = Cause::SilentOnBattery { silent: secs(16) };
    ups.at(16, Failed, &[Action::Condemn(cause.clone())]);
    ups.at(20, Failed, &[]);
    let cause = Cause::SilentOnBattery { silent: secs(20) };
    ups.at(25, says("OB"), &[notify(CommOk), Action::Absolve(cause)]);
}

#[test]
fn a_ups_never_heard_counts_as_good() {
    let mut ups = Scenario::with_dead_time(5);
    ups.at(0, Failed, &[notify(CommBad)]);
    ups.at(1, Failed, &[notify(NoComm)]);
    for at in 2..300 {
        ups.at(at, Failed, &[]);
    }
    ups.at(302, Failed, &[notify(NoComm)]);
    assert_eq!((ups.watch.contact(), ups.watch.cause()), (&Contact::Never, None));
}

#[test]
fn a_status_without_a_word_on_the_feed_changes_nothing_about_it() {
    let mut ups = Scenario::with_dead_time(5);
    ups.at(0, says("OB"), &[notify(OnBatt)]);
    ups.at(1, says("CHRG"), &[]);
    ups.at(2, says("OB"), &[]);
    ups.at(3, says("LB"), &[notify(LowBatt), Action::Condemn(Cause::BatteryLow { lasted: secs(0) })]);
}

/// The golden table: one row is what a UPS said last, what is configured, how it went on, and what that makes of it for
/// a primary and for a secondary.
#[test]
fn the_table_of_decisions() {
    #[derive(Clone, Copy)]
    enum Then {
        /// It says the same again after so many seconds.
        Says(u64),
        /// It has been silent for so many seconds.
        Silent(u64),
    }
    use Then::{Says, Silent};
    type Change = fn(&mut Rules);
    let plain: Change = |_| {};
    let bears: Change = |rules| rules.low_battery_duration = secs(30);
    let never_off: Change = |rules| rules.off_duration = None;
    let off_at_once: Change = |rules| rules.off_duration = Some(secs(0));
    let over: Change = |rules| rules.overload_duration = Some(secs(60));
    // DEADTIME, HOSTSYNC 15 s, OFFDURATION 30 s.
    let rows: [(&str, Change, Then, bool, bool); 47] = [
        ("OL", plain, Says(1000), false, false),
        ("OL", plain, Silent(100_000), false, false),
        ("OL LB", plain, Says(1000), false, false),
        ("OL LB", plain, Silent(1000), false, false),
        ("OL RB", plain, Says(1000), false, false),
        ("OB", plain, Says(100_000), false, false),
        ("OB", plain, Silent(15), false, false),
        ("OB", plain, Silent(16), true, true),
        ("OB LB", plain, Says(0), true, false),
        ("OB LB", plain, Says(15), true, false),
        ("OB LB", plain, Says(16), true, true),
        ("OB LB", plain, Silent(5), true, false),
        ("OB LB", plain, Silent(16), true, true),
        ("FSD OL", plain, Says(0), true, true),
        ("FSD OB LB", plain, Says(0), true, true),
        ("FSD", plain, Silent(100), true, true),
        ("OB CAL", plain, Says(1000), false, false),
        ("OB LB CAL", plain, Says(1000), false, false),
        ("OB CAL", plain, Silent(15), false, false),
        ("OB CAL", plain, Silent(16), true, true),
        ("OB LB CAL", plain, Silent(15), false, false),
        ("OB LB CAL", plain, Silent(16), true, true),
        ("OL CAL", plain, Silent(1000), false, false),
        ("FSD OB LB CAL", plain, Says(0), true, true),
        ("OB LB", bears, Says(16), false, false),
        ("OB LB", bears, Says(30), true, true),
        ("OB LB", bears, Silent(16), true, true),
        ("OB", bears, Silent(16), true, true),
        ("OFF", plain, Says(30), false, false),
        ("OFF", plain, Says(31), true, true),
        ("OL OFF", plain, Says(31), true, true),
        ("OFF", plain, Silent(1000), false, false),
        ("OFF", never_off, Says(100_000), false, false),
        ("OFF", off_at_once, Says(0), true, true),
        ("OL BYPASS", plain, Says(1000), false, false),
        ("OL BYPASS", plain, Silent(1000), false, false),
        ("OB BYPASS", plain, Silent(1000), true, true),
        ("ALARM OL", plain, Silent(1000), false, false),
        ("OL OVER", plain, Silent(1000), false, false),
        ("OL OVER", over, Says(1000), false, false),
        ("OL OVER", over, Silent(59), false, false),
        ("OL OVER", over, Silent(60), true, true),
        ("OL TRIM", plain, Silent(1000), false, false),
        ("OL BOOST", plain, Silent(1000), false, false),
        ("WAIT", plain, Silent(1000), false, false),
        ("FOO", plain, Silent(1000), false, false),
        ("", plain, Silent(1000), false, false),
    ];
    for (status, change, then, primary, secondary) in rows {
        for (role, expected) in [(Role::Primary, primary), (Role::Secondary, secondary)] {
            let mut ups = Scenario::new(role, change);
            let mut step = |at, event| {
                ups.watch.step(Moment::from_secs(at), &ups.rules, event);
            };
            step(100, says(status));
            let after = match then {
                Says(after) => {
                    // The answer before the last one came a second earlier, as it would.
                    step(99 + after.max(1), says(status));
                    step(100 + after, says(status));
                    after
                }
                Silent(after) => {
                    step(101, Failed);
                    step(100 + after, Failed);
                    after
                }
            };
            let kind = if matches!(then, Says(_)) { "heard" } else { "silent" };
            assert_eq!(
                ups.watch.cause().is_some(),
                expected,
                "{role:?}, {status:?}, {kind} for {after} s: {:?}",
                ups.watch.cause()
            );
        }
    }
}

#[test]
fn our_own_fsd_is_told_once() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OL"), &[]);
    ups.at(1, Event::Forced, &[notify(NoticeKind::Fsd)]);
    ups.at(1, Event::Forced, &[]);
    ups.at(2, says("FSD OL"), &[Action::Condemn(Cause::Forced)]);
    ups.at(3, says("OL"), &[Action::Absolve(Cause::Forced)]);
    ups.at(4, says("FSD OL"), &[notify(NoticeKind::Fsd), Action::Condemn(Cause::Forced)]);
}

#[test]
fn a_connection_made_anew_is_told_either_way() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OL"), &[]);
    ups.at(1, Event::Renewed, &[]);
    ups.at(1, says("OL"), &[notify(CommOk)]);
    ups.at(2, Event::Renewed, &[]);
    ups.at(2, Failed, &[notify(CommBad)]);
}

#[test]
fn our_sleep_is_forgiven_once_for_each_silence() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OB"), &[notify(OnBatt)]);
    ups.at(5, Failed, &[notify(CommBad)]);
    ups.at(14, Event::Slept, &[]);
    ups.at(29, Failed, &[]);
    ups.at(29, Event::Slept, &[]);
    let cause = Cause::SilentOnBattery { silent: secs(16) };
    ups.at(30, Failed, &[Action::Condemn(cause)]);
}

#[test]
fn waits_are_counted_in_whole_seconds() {
    let millis = Duration::from_millis;
    for (elapsed, limit, expected) in
        [(5000, 5, false), (5499, 5, false), (5500, 5, true), (6000, 5, true), (0, 0, false), (500, 0, true)]
    {
        assert_eq!(longer(millis(elapsed), secs(limit)), expected, "{elapsed} ms, {limit} s");
    }
}

#[test]
fn a_hostile_status_is_only_a_status() {
    let mut ups = Scenario::with_dead_time(15);
    let text = "\u{1b}[31m ".repeat(500);
    let actions = ups.watch.step(
        Moment::START,
        &ups.rules,
        Event::Polled(Heard { status: Status::from_text(&text), ..Heard::default() }),
    );
    assert!(matches!(actions[..], [Action::Notify(NoticeKind::Other, Some(_))]));
    assert_eq!(ups.watch.cause(), None);
}
