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

/// How it went on with a UPS.
#[derive(Clone, Copy)]
enum Then {
    /// It says the same again after so many seconds.
    Says(u64),
    /// It has been silent for so many seconds.
    Silent(u64),
}
use Then::{Says, Silent};

/// What is configured: a line of upsmon.conf, and what it does to the rules. Nothing is DEADTIME and HOSTSYNC 15 s,
/// OFFDURATION 30 s.
type Setting = (&'static str, fn(&mut Rules));
const PLAIN: Setting = ("", |_| {});
const BEARS: Setting = ("OBLBDURATION 30", |rules| rules.low_battery_duration = secs(30));
const NEVER_OFF: Setting = ("OFFDURATION -1", |rules| rules.off_duration = None);
const OFF_AT_ONCE: Setting = ("OFFDURATION 0", |rules| rules.off_duration = Some(secs(0)));
const OVER: Setting = ("OVERDURATION 60", |rules| rules.overload_duration = Some(secs(60)));

/// The golden table: one row is what a UPS said last, what is configured, how it went on, and whether that makes it a
/// lost one for a primary and for a secondary.
const DECISIONS: [(&str, Setting, Then, bool, bool); 47] = [
    ("OL", PLAIN, Says(1000), false, false),
    ("OL", PLAIN, Silent(100_000), false, false),
    ("OL LB", PLAIN, Says(1000), false, false),
    ("OL LB", PLAIN, Silent(1000), false, false),
    ("OL RB", PLAIN, Says(1000), false, false),
    ("OB", PLAIN, Says(100_000), false, false),
    ("OB", PLAIN, Silent(15), false, false),
    ("OB", PLAIN, Silent(16), true, true),
    ("OB LB", PLAIN, Says(0), true, false),
    ("OB LB", PLAIN, Says(15), true, false),
    ("OB LB", PLAIN, Says(16), true, true),
    ("OB LB", PLAIN, Silent(5), true, false),
    ("OB LB", PLAIN, Silent(16), true, true),
    ("FSD OL", PLAIN, Says(0), true, true),
    ("FSD OB LB", PLAIN, Says(0), true, true),
    ("FSD", PLAIN, Silent(100), true, true),
    ("OB CAL", PLAIN, Says(1000), false, false),
    ("OB LB CAL", PLAIN, Says(1000), false, false),
    ("OB CAL", PLAIN, Silent(15), false, false),
    ("OB CAL", PLAIN, Silent(16), true, true),
    ("OB LB CAL", PLAIN, Silent(15), false, false),
    ("OB LB CAL", PLAIN, Silent(16), true, true),
    ("OL CAL", PLAIN, Silent(1000), false, false),
    ("FSD OB LB CAL", PLAIN, Says(0), true, true),
    ("OB LB", BEARS, Says(16), false, false),
    ("OB LB", BEARS, Says(30), true, true),
    ("OB LB", BEARS, Silent(16), true, true),
    ("OB", BEARS, Silent(16), true, true),
    ("OFF", PLAIN, Says(30), false, false),
    ("OFF", PLAIN, Says(31), true, true),
    ("OL OFF", PLAIN, Says(31), true, true),
    ("OFF", PLAIN, Silent(1000), false, false),
    ("OFF", NEVER_OFF, Says(100_000), false, false),
    ("OFF", OFF_AT_ONCE, Says(0), true, true),
    ("OL BYPASS", PLAIN, Says(1000), false, false),
    ("OL BYPASS", PLAIN, Silent(1000), false, false),
    ("OB BYPASS", PLAIN, Silent(1000), true, true),
    ("ALARM OL", PLAIN, Silent(1000), false, false),
    ("OL OVER", PLAIN, Silent(1000), false, false),
    ("OL OVER", OVER, Says(1000), false, false),
    ("OL OVER", OVER, Silent(59), false, false),
    ("OL OVER", OVER, Silent(60), true, true),
    ("OL TRIM", PLAIN, Silent(1000), false, false),
    ("OL BOOST", PLAIN, Silent(1000), false, false),
    ("WAIT", PLAIN, Silent(1000), false, false),
    ("FOO", PLAIN, Silent(1000), false, false),
    ("", PLAIN, Silent(1000), false, false),
];

/// Why a UPS with this role, of which that was heard, does not count.
fn decided(role: Role, status: &str, (_, change): Setting, then: Then) -> Option<Cause> {
    let mut ups = Scenario::new(role, change);
    let mut step = |at, event| {
        ups.watch.step(Moment::from_secs(at), &ups.rules, event);
    };
    step(100, says(status));
    match then {
        Says(after) => {
            // The answer before the last one came a second earlier, as it would.
            step(99 + after.max(1), says(status));
            step(100 + after, says(status));
        }
        Silent(after) => {
            step(101, Failed);
            step(100 + after, Failed);
        }
    }
    ups.watch.cause().cloned()
}

#[test]
fn the_table_of_decisions() {
    for (status, setting, then, primary, secondary) in DECISIONS {
        for (role, expected) in [(Role::Primary, primary), (Role::Secondary, secondary)] {
            let cause = decided(role, status, setting, then);
            let (kind, after) = match then {
                Says(after) => ("heard", after),
                Silent(after) => ("silent", after),
            };
            assert_eq!(cause.is_some(), expected, "{role:?}, {status:?}, {kind} for {after} s: {cause:?}");
        }
    }
}

/// The same table in upsmon(8), from what is decided.
#[test]
fn the_manual_has_the_table_of_decisions() {
    let line = |cells: [&str; 5]| {
        let [status, then, setting, primary, secondary] = cells;
        let line = format!("{status:<14} {then:<19} {setting:<16} {primary:<8} {secondary}");
        nut_drill::manual::literal(line.trim_end()) + "\n"
    };
    let mut block = ".Bd -literal\n".to_owned();
    block += &line(["last heard", "and then", "with", "primary", "secondary"]);
    for (status, setting, then, ..) in DECISIONS {
        let [primary, secondary] = [Role::Primary, Role::Secondary]
            .map(|role| if decided(role, status, setting, then).is_some() { "lost" } else { "counts" });
        let then = match then {
            Says(0) => "(at once)".to_owned(),
            Says(after) => format!("for {after} s"),
            Silent(after) => format!("silent for {after} s"),
        };
        let status = if status.is_empty() { "(nothing)" } else { status };
        block += &line([status, &then, setting.0, primary, secondary]);
    }
    block += ".Ed\n";
    nut_drill::manual::keep("upsmon.8", "decisions", &block, "upsmon")
        .unwrap_or_else(|error| panic!("{error}"));
}

/// What is over goes first; then what people must know first, whatever order the driver's words have.
#[test]
fn notices_of_one_poll_have_one_order_whatever_the_order_of_the_words() {
    use NoticeKind::{Alarm, Bypass, Eco, Fsd, NotBypass, NotCal, NotOver, Online, Other, Over, ReplBatt};
    let kinds = |ups: &mut Scenario, event| -> Vec<NoticeKind> {
        let actions = ups.watch.step(Moment::from_secs(1), &ups.rules, event);
        actions
            .iter()
            .filter_map(|action| if let Action::Notify(kind, _) = action { Some(*kind) } else { None })
            .collect()
    };
    for status in ["FSD OB LB CAL BYPASS OVER ECO ALARM RB FOO", "FOO RB ALARM ECO OVER BYPASS CAL LB OB FSD"]
    {
        let mut ups = Scenario::with_dead_time(15);
        let came = kinds(&mut ups, says(status));
        assert_eq!(came, [Fsd, OnBatt, LowBatt, Cal, Bypass, Over, Eco, Alarm, ReplBatt, Other], "{status}");
        ups.watch.step(Moment::from_secs(1), &ups.rules, Failed);
        let went = kinds(&mut ups, says("LB OL ECO ALARM FOO"));
        assert_eq!(went, [CommOk, NotCal, NotBypass, NotOver, Online], "{status}");
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

/// Low battery while it calibrates is none that is borne, nor one that a secondary waits with.
#[test]
fn low_battery_counts_from_the_end_of_a_calibration() {
    let mut ups = Scenario::new(Role::Primary, |rules| rules.low_battery_duration = secs(10));
    ups.at(
        0,
        says("OB LB CAL"),
        &[notify(OnBatt), notify(LowBatt), notify(Cal), Action::Note(Note::LowWhileCalibrating)],
    );
    let borne = Action::Note(Note::LowIsBorne { limit: secs(10) });
    ups.at(20, says("OB LB"), &[notify(NoticeKind::NotCal), borne]);
    ups.at(29, says("OB LB"), &[]);
    ups.at(30, says("OB LB"), &[Action::Condemn(Cause::BatteryLow { lasted: secs(10) })]);

    let mut ups = Scenario::new(Role::Secondary, |rules| rules.host_sync = secs(15));
    ups.at(0, says("OB LB"), &[notify(OnBatt), notify(LowBatt)]);
    ups.at(10, says("OB LB CAL"), &[notify(Cal), Action::Note(Note::LowWhileCalibrating)]);
    ups.at(20, says("OB LB"), &[notify(NoticeKind::NotCal)]);
    ups.at(25, says("OB LB"), &[]);
    ups.at(26, says("OB LB"), &[Action::Condemn(Cause::BatteryLow { lasted: secs(6) })]);
}

/// A secondary's wait counts from the last time that there was nothing to wait for.
#[test]
fn a_battery_that_is_low_no_more_ends_a_secondarys_wait() {
    let mut ups = Scenario::new(Role::Secondary, |rules| {
        (rules.host_sync, rules.dead_time) = (secs(30), secs(15));
    });
    ups.at(0, says("OB LB"), &[notify(OnBatt), notify(LowBatt)]);
    ups.at(10, says("OB"), &[]);
    ups.at(11, Failed, &[notify(CommBad)]);
    ups.at(40, Failed, &[]);
    ups.at(41, Failed, &[Action::Condemn(Cause::SilentOnBattery { silent: secs(31) })]);
}

/// Nobody was there to be told, and nobody asked.
#[test]
fn that_a_ups_is_absent_is_told_later_for_a_sleep() {
    let mut ups = Scenario::with_dead_time(15);
    ups.at(0, says("OL"), &[]);
    ups.at(5, Failed, &[notify(CommBad)]);
    ups.at(10, Event::Slept, &[]);
    ups.at(309, Failed, &[]);
    ups.at(310, Failed, &[notify(NoComm)]);
}

/// What could end in a shutdown is looked at more often.
#[test]
fn these_states_are_asked_for_at_the_faster_rhythm() {
    for (status, bears_overload, expected) in [
        ("OL", true, false),
        ("OB", false, true),
        ("OL LB RB CAL TRIM BOOST ECO FOO", true, false),
        ("OL ALARM", false, true),
        ("OL BYPASS", false, true),
        ("OL OFF", false, true),
        ("OL OVER", false, false),
        ("OL OVER", true, true),
    ] {
        let mut ups = Scenario::new(Role::Primary, |rules| {
            rules.overload_duration = bears_overload.then_some(secs(5));
            rules.low_battery_duration = Duration::ZERO;
        });
        let at = Moment::START;
        ups.watch.step(at, &ups.rules, says(status));
        assert_eq!(ups.watch.is_alert(&ups.rules), expected, "{status}");
        ups.watch.step(at, &ups.rules, says("OL"));
        assert!(!ups.watch.is_alert(&ups.rules), "{status} is over");
        ups.watch.step(at, &ups.rules, says("OB LB"));
        assert!(!ups.watch.is_bearing_low_battery(&ups.rules));
        ups.rules.low_battery_duration = secs(5);
        assert!(ups.watch.is_bearing_low_battery(&ups.rules));
    }
}

/// A sleep is left out of our time anyway; one that only was late is not.
#[test]
fn a_silence_begins_behind_a_time_in_which_we_were_starved_but_not_behind_a_sleep() {
    for (event, silent_at) in [(Event::Slept, 16), (Event::Starved, 26)] {
        let mut ups = Scenario::with_dead_time(15);
        ups.at(0, says("OB"), &[notify(OnBatt)]);
        ups.at(10, event.clone(), &[]);
        ups.at(11, Failed, &[notify(CommBad)]);
        // Once for each silence.
        ups.at(silent_at - 1, Event::Starved, &[]);
        if event == Event::Slept {
            ups.at(silent_at + 14, Failed, &[]);
            ups.at(silent_at + 15, Failed, &[Action::Condemn(Cause::SilentOnBattery { silent: secs(16) })]);
        } else {
            ups.at(silent_at - 1, Failed, &[]);
            ups.at(silent_at, Failed, &[Action::Condemn(Cause::SilentOnBattery { silent: secs(16) })]);
        }
        ups.at(
            60,
            says("OB"),
            &[notify(CommOk), Action::Absolve(Cause::SilentOnBattery { silent: secs(16) })],
        );
        ups.at(61, Failed, &[notify(CommBad)]);
        ups.at(70, Event::Starved, &[]);
        ups.at(85, Failed, &[]);
    }
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
