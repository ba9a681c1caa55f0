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
