//! What a real unit would do, rule by rule, in simulated time.

use proptest::prelude::*;

use super::super::deed::Refusal;
use super::super::faults::{Extent, Parity};
use super::super::probes::{Card, Climate, Probe};
use super::super::wire::MAX_WAITING;
use super::*;

const SU420: &str = "smart-ups-420-21.3.I";
const SU1400: &str = "smart-ups-1400-70.9.I";
const WHITE: &str = "smart-ups-900i-7TI";
const VS: &str = "smart-ups-vs-420-42.L.I";
const RT: &str = "smart-ups-rt-10000-476.18.W";
const MATRIX: &str = "matrix-ups-3000-0ZI";

/// A unit and its clock. Wake-ups are delivered as a shell would; moments are milliseconds.
struct Bench {
    ups: SmartUps,
    wake: Option<Moment>,
    sent: Vec<(u64, Vec<u8>)>,
    deeds: Vec<(u64, Deed)>,
}

fn millis(moment: Moment) -> u64 {
    moment.since_start().as_millis().try_into().unwrap()
}

impl Bench {
    fn with(id: &str, settings: Settings) -> Self {
        let ups = SmartUps::new(Profile::named(id).unwrap(), settings);
        Self { ups, wake: None, sent: Vec::new(), deeds: Vec::new() }
    }

    /// A unit in smart mode that answers at once.
    fn new(id: &str) -> Self {
        let mut bench = Self::with(id, Settings { pace: Pace::Immediate, ..Settings::default() });
        assert_eq!(bench.say(0, b"Y"), "SM\\r\\n");
        bench.deeds.clear();
        bench
    }

    /// Lets time pass up to `at`, then `event` happen; what the unit sent meanwhile and then.
    fn at(&mut self, at: u64, event: Event) -> String {
        self.sent.clear();
        while let Some(wake) = self.wake.filter(|wake| *wake < Moment::from_millis(at)) {
            self.step(wake, Event::Tick);
        }
        self.step(Moment::from_millis(at), event);
        self.sent.iter().map(|(_, bytes)| bytes.escape_ascii().to_string()).collect()
    }

    fn step(&mut self, now: Moment, event: Event) {
        self.wake = None;
        for action in self.ups.step(now, event) {
            match action {
                Action::Send(bytes) => self.sent.push((millis(now), bytes)),
                Action::WakeAt(moment) => {
                    assert!(moment > now, "a wake-up in the past would keep the shell spinning");
                    self.wake = Some(moment);
                }
                Action::Record(at, deed) => self.deeds.push((millis(at), deed)),
            }
        }
    }

    fn say(&mut self, at: u64, bytes: &[u8]) -> String {
        self.at(at, Event::Received(bytes.to_vec()))
    }

    /// The reply to one query, without what was sent before.
    fn ask(&mut self, at: u64, query: u8) -> String {
        self.wait(at);
        self.say(at, &[query]).trim_end_matches("\\r\\n").to_owned()
    }

    fn mains(&mut self, at: u64, mains: Mains) -> String {
        self.at(at, Event::Mains(mains))
    }

    fn wait(&mut self, at: u64) -> String {
        self.at(at, Event::Tick)
    }

    /// The moment of the first deed of that description.
    fn when(&self, description: &str) -> Option<u64> {
        self.deeds.iter().find(|(_, deed)| deed.to_string() == description).map(|(at, _)| *at)
    }

    fn output(&self) -> Output {
        self.ups.state().output
    }
}

// ---- what it answers

#[test]
fn every_profile_answers_every_query_as_captured() {
    for profile in Profile::all() {
        let mut bench = Bench::new(&profile.id);
        let unknown = profile.unknown_reply.as_ref().map(|reply| format!("{}\\r\\n", reply.escape_ascii()));
        let known: Vec<(u8, Option<&Vec<u8>>)> = profile
            .replies
            .iter()
            .map(|(query, reply)| (*query, Some(reply)))
            .chain([(b'a', profile.protocol.as_ref()), (0x1a, profile.capabilities.as_ref())])
            .collect();
        // Twice, and again a day later: nothing happened, so nothing changes.
        for at in [1_000, 2_000, 86_400_000] {
            for (query, reply) in &known {
                let expected = reply.map(|reply| format!("{}\\r\\n", reply.escape_ascii()));
                let expected = expected.or(unknown.clone()).unwrap_or_default();
                let place = format!("{} {} at {at}", profile.id, query.escape_ascii());
                assert_eq!(bench.say(at, &[*query]), expected, "{place}");
            }
        }
        assert_eq!(bench.say(86_400_001, b"\x1b"), unknown.unwrap_or_default(), "{}", profile.id);
    }
}

#[test]
fn until_smart_mode_it_answers_nothing_but_alerts_come() {
    let mut bench = Bench::with(SU420, Settings { pace: Pace::Immediate, ..Settings::default() });
    assert_eq!(bench.say(0, b"QB\x1ba"), "");
    assert_eq!(bench.mains(1_000, Mains::Off), "!");
    assert_eq!(bench.say(2_000, b"xY"), "SM\\r\\n");
    assert_eq!(bench.ask(3_000, b'Q'), "10");
    assert_eq!(bench.say(4_000, b"Y"), "SM\\r\\n");
    assert_eq!(bench.say(5_000, b"R"), "BYE\\r\\n");
    assert_eq!(bench.ask(6_000, b'Q'), "");
}

#[test]
fn leaving_smart_mode_is_unknown_to_some() {
    assert_eq!(Bench::new(MATRIX).say(1, b"RQ"), "NA\\r\\n08\\r\\n");
    assert_eq!(Bench::new(VS).say(1, b"RQ"), "08\\r\\n");
}

#[test]
fn a_forgotten_smart_mode_needs_y_again() {
    let mut bench = Bench::new(SU420);
    bench.at(1_000, Event::FallBack);
    assert_eq!(bench.ask(2_000, b'Q'), "");
    assert_eq!(bench.say(3_000, b"YQ"), "SM\\r\\n08\\r\\n");
}

#[test]
fn replies_take_their_time_at_the_real_pace() {
    // (query, when its reply is complete)
    for (query, due) in [(b'Q', 60), (b'B', 90), (b'n', 180), (1, 200), (0x1a, 40 + 10 * 206)] {
        let mut bench = Bench::with(SU420, Settings::default());
        bench.say(0, b"Y");
        bench.wait(1_000);
        assert_eq!(bench.say(2_000, &[query]), "");
        bench.wait(10_000);
        assert_eq!(bench.sent.len(), 1, "{query}");
        assert_eq!(bench.sent[0].0, 2_000 + due, "{}", query.escape_ascii());
    }
    let mut slow = Bench::with(VS, Settings::default());
    slow.say(0, b"Ya");
    slow.wait(5_000);
    assert_eq!(slow.sent.last().unwrap().0, 60 + 1_000);
}

// ---- mains and battery

#[test]
fn a_power_failure_as_a_driver_sees_it() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.mains(1_000, Mains::Off), "!");
    assert_eq!(bench.ask(2_000, b'Q'), "10");
    assert_eq!(bench.ask(2_000, b'L'), "000.0");
    assert_eq!(bench.ask(2_000, b'O'), "230.0");
    assert_eq!(bench.ask(2_000, b'F'), "50.00");
    assert_eq!(bench.ask(2_000, b'9'), "00");
    assert_eq!(bench.ask(2_000, b'G'), "L");
    assert_eq!(bench.at(3_000, Event::Battery(BatteryChange::Low(LowBattery::Now))), "%");
    assert_eq!(bench.ask(4_000, b'Q'), "50");
    assert_eq!(bench.mains(5_000, Mains::On), "$+");
    assert_eq!(bench.ask(6_000, b'Q'), "08");
    assert_eq!(bench.ask(6_000, b'L'), "231.8");
    assert_eq!(bench.ask(6_000, b'9'), "FF");
    assert_eq!(bench.when("on battery: mains failed"), Some(1_000));
    assert_eq!(bench.when("battery low"), Some(3_000));
    assert_eq!(bench.when("back on mains"), Some(5_000));
}

#[test]
fn the_extremes_start_anew_with_each_query() {
    let mut bench = Bench::new(SU420);
    assert_eq!([bench.ask(1, b'M'), bench.ask(2, b'N')], ["233.2", "231.8"]);
    bench.mains(1_000, Mains::Off);
    assert_eq!([bench.ask(1_001, b'M'), bench.ask(1_002, b'N')], ["233.2", "000.0"]);
    assert_eq!([bench.ask(1_003, b'M'), bench.ask(1_004, b'N')], ["000.0", "000.0"]);
    bench.mains(2_000, Mains::On);
    assert_eq!([bench.ask(2_001, b'M'), bench.ask(2_002, b'N')], ["233.2", "000.0"]);
    assert_eq!([bench.ask(2_003, b'M'), bench.ask(2_004, b'N')], ["233.2", "231.8"]);
}

#[test]
fn going_on_battery_is_repeated_every_30_s_until_low() {
    let mut bench = Bench::new(SU420);
    bench.mains(0, Mains::Off);
    bench.wait(95_000);
    let times: Vec<u64> = bench.sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [30_000, 60_000, 90_000]);
    bench.at(100_000, Event::Battery(BatteryChange::Low(LowBattery::Now)));
    assert_eq!(bench.wait(300_000), "");
}

#[test]
fn the_battery_runs_low_at_the_configured_minutes_and_then_empty() {
    let minute = 60_000;
    let mut bench = Bench::new(SU420);
    bench.mains(0, Mains::Off);
    assert_eq!(bench.ask(21 * minute, b'j'), "0021:");
    assert_eq!(bench.ask(21 * minute, b'f'), "050.0");
    let volts: f64 = bench.ask(21 * minute, b'B').parse().unwrap();
    assert!((11.0..12.0).contains(&volts), "{volts}");
    bench.wait(45 * minute);
    // 42 minutes in all, a warning 2 minutes before the end; to a millisecond or two.
    let near = |at: Option<u64>, wanted: u64| at.is_some_and(|at| at.abs_diff(wanted) <= 2);
    assert!(near(bench.when("battery low"), 40 * minute), "{:?}", bench.deeds);
    assert!(near(bench.when("load off: battery empty"), 42 * minute), "{:?}", bench.deeds);
    assert_eq!(bench.ask(46 * minute, b'Q'), "", "without any power it is silent");
    assert_eq!(bench.mains(47 * minute, Mains::On), "");
    assert_eq!(bench.when("load on: mains is back"), Some(47 * minute));
    assert_eq!(bench.ask(48 * minute, b'Q'), "", "and wakes in dumb mode");
    assert_eq!(bench.say(49 * minute, b"YQ"), "SM\\r\\n08\\r\\n");
    let charge: f64 = bench.ask(50 * minute, b'f').parse().unwrap();
    assert!((1.0..2.5).contains(&charge), "three minutes of charging: {charge}");
}

#[test]
fn a_battery_that_never_is_low_ends_without_warning() {
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Battery(BatteryChange::Low(LowBattery::Never)));
    bench.mains(1, Mains::Off);
    bench.wait(3_600_000);
    assert_eq!(bench.when("battery low"), None);
    assert!(bench.when("load off: battery empty").is_some());
}

#[test]
fn charge_runtime_and_load_can_be_set() {
    let mut bench = Bench::new(SU420);
    bench.at(1, Event::Battery(BatteryChange::Charge(50)));
    assert_eq!([bench.ask(2, b'f'), bench.ask(2, b'j')], ["050.0", "0021:"]);
    bench.at(3, Event::Battery(BatteryChange::Runtime(5)));
    assert_eq!(bench.ask(4, b'j'), "0005:");
    bench.at(5, Event::Set { query: b'P', text: b"018.2".to_vec() });
    assert_eq!([bench.ask(6, b'P'), bench.ask(6, b'j')], ["018.2", "0002:"]);
    assert_eq!(bench.mains(7, Mains::Off), "!", "two minutes and a bit are left");
    bench.wait(20_000);
    assert!(bench.when("battery low").is_some_and(|at| at > 10_000), "{:?}", bench.ups.state());
}

#[test]
fn drain_and_charge_can_be_hurried() {
    let fast = NonZeroU32::new(60).unwrap();
    let mut bench = Bench::with(SU420, Settings { battery_scale: fast, ..Settings::default() });
    bench.mains(0, Mains::Off);
    bench.wait(60_000);
    assert!(bench.when("battery low").unwrap().abs_diff(40_000) <= 2);
    assert!(bench.when("load off: battery empty").unwrap().abs_diff(42_000) <= 2);
}

#[test]
fn overload_is_announced_and_taken_back() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.at(1, Event::Set { query: b'P', text: b"110.0".to_vec() }), "?");
    assert_eq!(bench.ask(2, b'Q'), "28");
    assert_eq!(bench.at(3, Event::Unset { query: b'P' }), "=");
    assert_eq!(bench.ask(4, b'Q'), "08");
}

#[test]
fn only_alerts_the_unit_has_are_sent() {
    let mut bench = Bench::new(WHITE);
    bench.say(1, b"c-12345678");
    assert_eq!(bench.wait(60_000), "", "no '|' from a white unit");
    let mut vs = Bench::new(VS);
    assert_eq!(vs.mains(1, Mains::Off), "!");
}

// ---- shutdown

#[test]
fn s_is_refused_on_mains() {
    for id in [SU420, WHITE, MATRIX] {
        let mut bench = Bench::new(id);
        assert_eq!(bench.say(1_000, b"S"), "NA\\r\\n", "{id}");
        assert_eq!(bench.when("S refused: the load is on mains"), Some(1_000));
        bench.wait(3_600_000);
        assert_eq!(bench.output(), Output::On);
    }
}

#[test]
fn s_on_battery_switches_off_after_the_grace_delay_and_on_when_mains_is_back() {
    let mut bench = Bench::new(SU420);
    bench.mains(1_000, Mains::Off);
    assert_eq!(bench.say(2_000, b"S"), "OK\\r\\n");
    assert_eq!(bench.ask(3_000, b'8'), "10");
    assert_eq!(bench.ask(21_900, b'Q'), "10");
    bench.wait(22_500);
    assert_eq!(bench.when("load off: command S"), Some(22_000));
    assert_eq!(bench.output(), Output::Asleep);
    assert_eq!([bench.ask(23_000, b'Q'), bench.ask(23_000, b'8')], ["00", "10"]);
    assert_eq!([bench.ask(23_000, b'B'), bench.ask(23_000, b'@')], ["NA", "NA"]);
    assert_eq!(bench.mains(60_000, Mains::On), "$");
    assert_eq!(bench.when("load on: mains is back"), Some(60_000));
    assert_eq!(bench.ask(61_000, b'Q'), "08");
}

#[test]
fn mains_that_returns_during_the_grace_delay_still_means_off_and_on_again() {
    let mut bench = Bench::new(SU420);
    bench.mains(0, Mains::Off);
    bench.say(1_000, b"S");
    bench.mains(5_000, Mains::On);
    bench.wait(30_000);
    assert_eq!(bench.when("load off: command S"), Some(21_000));
    assert_eq!(bench.when("load on: mains is back"), Some(21_000));
}

#[test]
fn the_load_returns_only_with_charge_and_after_the_wake_delay() {
    let mut bench = Bench::new(SU420);
    for (query, text) in [(b'e', "15"), (b'r', "060")] {
        bench.at(0, Event::Set { query, text: text.into() });
    }
    bench.mains(0, Mains::Off);
    bench.at(0, Event::Battery(BatteryChange::Charge(10)));
    bench.say(1_000, b"S");
    bench.mains(100_000, Mains::On);
    bench.wait(3_600_000);
    // From a little below 10 % (drained for 21 s) to 15 % at 3 hours for all, then a minute.
    let on = bench.when("load on: mains is back").unwrap();
    let drained = 21.0 / (42.0 * 60.0) * 100.0;
    let expected = 100_000.0 + (5.0 + drained) * 108_000.0 + 60_000.0;
    assert!((f64::from(u32::try_from(on).unwrap()) - expected).abs() < 50.0, "{on} {expected}");
}

#[test]
fn the_wake_delay_starts_anew_when_mains_fails_in_it() {
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Set { query: b'r', text: b"180".to_vec() });
    bench.mains(0, Mains::Off);
    bench.say(0, b"S");
    bench.mains(100_000, Mains::On);
    bench.mains(200_000, Mains::Off);
    bench.mains(300_000, Mains::On);
    bench.wait(1_000_000);
    assert_eq!(bench.when("load on: mains is back"), Some(480_000));
}

#[test]
fn hibernate_works_on_mains_and_adds_its_tenths_of_an_hour() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(1_000, b"@00"), "");
    assert_eq!(bench.say(1_100, b"7"), "OK\\r\\n");
    bench.wait(30_000);
    assert_eq!(bench.when("load off: command @007"), Some(21_100));
    assert_eq!(bench.ask(31_000, b'8'), "08");
    bench.wait(3_600_000);
    assert_eq!(bench.when("load on: mains is back"), Some(21_100 + 42 * 60_000));
}

#[test]
fn a_byte_that_is_no_digit_ends_the_entry_and_is_swallowed() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(1_000, b"@05"), "");
    assert_eq!(bench.say(2_500, b"Y"), "NO\\r\\n");
    assert_eq!(bench.say(3_000, b"@"), "");
    assert_eq!(bench.say(3_200, b"QQ"), "NO\\r\\n08\\r\\n", "only the first Q is swallowed");
    // A forgotten entry does not swallow anything.
    assert_eq!(bench.say(4_000, b"@0"), "");
    assert_eq!(bench.say(15_000, b"Q"), "08\\r\\n");
    assert_eq!(bench.output(), Output::On);
}

#[test]
fn the_second_byte_counts_only_after_a_second_and_a_half() {
    // (gap in ms, accepted)
    for (gap, accepted) in
        [(0, false), (200, false), (1_489, false), (1_490, true), (1_500, true), (4_000, true)]
    {
        for (byte, off) in [(b'K', 20_000), (b'Z', 0)] {
            let mut bench = Bench::new(SU420);
            assert_eq!(bench.say(1_000, &[byte]), "", "the first gets no reply");
            let reply = bench.say(1_000 + gap, &[byte]);
            bench.wait(100_000);
            let name = char::from(byte);
            let expected = accepted.then_some(1_000 + gap + off);
            assert_eq!(bench.when(&format!("load off: command {name}")), expected, "{name} {gap}");
            assert_eq!(reply, if accepted && byte == b'K' { "OK\\r\\n" } else { "" }, "{name} {gap}");
            let refused = bench.when(&format!("{name} refused: second byte too soon"));
            assert_eq!(refused.is_some(), !accepted);
            assert_eq!(bench.output(), if accepted { Output::Off } else { Output::On });
        }
    }
}

#[test]
fn a_too_early_second_byte_is_a_first_one_and_any_other_byte_cancels() {
    let mut bench = Bench::new(SU420);
    bench.say(0, b"KK");
    assert_eq!(bench.say(1_500, b"K"), "OK\\r\\n");
    let mut bench = Bench::new(SU420);
    bench.say(0, b"Z");
    assert_eq!(bench.say(1_000, b"Q"), "08\\r\\n");
    assert_eq!(bench.say(2_000, b"Z"), "");
    assert_eq!(bench.output(), Output::On);
    assert_eq!(bench.say(2_100, b"K"), "", "another two-step command is a byte like any other");
    assert_eq!(bench.say(3_700, b"Z"), "");
    assert_eq!(bench.output(), Output::On);
}

#[test]
fn what_stays_off_returns_only_by_hand_or_by_command() {
    for how in [b'K', b'Z'] {
        let mut bench = Bench::new(SU420);
        bench.say(0, &[how]);
        bench.say(1_500, &[how]);
        bench.wait(60_000);
        bench.mains(61_000, Mains::Off);
        bench.mains(62_000, Mains::On);
        bench.wait(100_000_000);
        assert_eq!(bench.output(), Output::Off);
        let start = 100_000_000;
        bench.say(start, b"\x0e");
        assert_eq!(bench.say(start + 1_500, b"\x0e"), "");
        assert_eq!(bench.when("load on: command"), Some(start + 1_500));
    }
    let mut bench = Bench::new(WHITE);
    bench.say(0, b"Z");
    assert_eq!(bench.say(1_500, b"Z"), "*");
    assert_eq!(bench.say(2_000, b"\x0e\x0e"), "NA\\r\\nNA\\r\\n");
    bench.at(3_000, Event::Button);
    assert_eq!(bench.when("load on: button"), Some(3_000));
}

#[test]
fn del_aborts_while_the_delay_runs() {
    for command in [&b"@000"[..], b"S"] {
        let mut bench = Bench::new(SU420);
        bench.mains(0, Mains::Off);
        assert_eq!(bench.say(0, b"\x7f"), "NO\\r\\n");
        assert_eq!(bench.say(1_000, command), "OK\\r\\n");
        assert_eq!(bench.say(20_000, b"\x7f"), "OK\\r\\n");
        bench.wait(100_000);
        assert_eq!(bench.output(), Output::On);
        bench.say(100_001, command);
        bench.wait(130_000);
        assert_eq!(bench.say(130_001, b"\x7f"), "NO\\r\\n", "too late");
    }
    let aborts = |id: &str| {
        let mut bench = Bench::new(id);
        bench.say(0, b"K");
        bench.say(1_500, b"K");
        bench.say(2_000, b"\x7f")
    };
    assert_eq!([aborts(SU420), aborts(WHITE)], ["OK\\r\\n", "NO\\r\\n"]);
}

#[test]
fn after_s_nothing_else_that_shuts_down_or_tests_is_taken() {
    let mut bench = Bench::new(SU420);
    bench.mains(0, Mains::Off);
    assert_eq!(bench.say(1_000, b"S"), "OK\\r\\n");
    assert_eq!(bench.say(2_000, b"KUWZ@-"), "NA\\r\\n".repeat(6));
    assert_eq!(bench.say(3_000, b"S"), "OK\\r\\n", "said again it is confirmed again");
    bench.wait(60_000);
    assert_eq!(bench.when("load off: command S"), Some(21_000), "and the delay goes on as it ran");
    assert!(bench.deeds.iter().any(|(_, deed)| matches!(
        deed,
        Deed::ShutdownRefused { command: ShutdownCommand::OffNow, why: Refusal::Busy }
    )));
}

#[test]
fn an_old_unit_confirms_with_a_star_goes_at_once_and_returns_at_once() {
    let mut bench = Bench::new(WHITE);
    bench.mains(0, Mains::Off);
    assert_eq!(bench.say(1_000, b"S"), "*");
    assert_eq!(bench.when("load off: command S"), Some(1_000));
    assert_eq!(bench.output(), Output::Asleep);
    bench.mains(100_000, Mains::On);
    assert_eq!(bench.when("load on: mains is back"), Some(100_000), "no 300 s, no 10 %");
}

#[test]
fn an_old_unit_ignores_at_000_and_wakes_from_others_by_the_clock_alone() {
    let mut bench = Bench::new(WHITE);
    assert_eq!(bench.say(0, b"@000"), "");
    assert_eq!(bench.when("@000 refused: it does nothing on this unit"), Some(0));
    assert_eq!(bench.say(1_000, b"@0x"), "", "and does not complain");
    bench.mains(2_000, Mains::Off);
    assert_eq!(bench.say(3_000, b"@001"), "*");
    bench.wait(184_000);
    assert_eq!(bench.when("load off: command @001"), Some(183_000));
    assert_eq!(bench.say(200_000, b"Q"), "", "it does not listen while it sleeps");
    bench.wait(600_000);
    assert_eq!(bench.when("load on: its time is over"), Some(183_000 + 360_000));
    assert_eq!(bench.ask(600_001, b'Q'), "10");
}

#[test]
fn a_simulated_failure_makes_s_work_on_mains() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"U"), "OK\\r\\n!");
    assert_eq!([bench.ask(100, b'Q'), bench.ask(100, b'G')], ["10", "S"]);
    assert_eq!(bench.say(3_500, b"S"), "OK\\r\\n");
    bench.wait(60_000);
    assert_eq!(bench.when("load off: command S"), Some(23_500));
    let mut bench = Bench::new(SU420);
    bench.say(0, b"U");
    assert_eq!(bench.wait(20_000), "$");
    assert_eq!(bench.when("back on mains"), Some(10_000));
}

#[test]
fn delays_can_be_shortened_without_changing_what_queries_tell() {
    let settings =
        Settings { pace: Pace::Immediate, time_scale: NonZeroU32::new(50).unwrap(), ..Settings::default() };
    let mut bench = Bench::with(SU420, settings);
    bench.at(0, Event::Set { query: b'r', text: b"060".to_vec() });
    bench.say(0, b"Y");
    assert_eq!([bench.ask(1, b'p'), bench.ask(1, b'r')], ["020", "060"]);
    bench.mains(1_000, Mains::Off);
    bench.say(2_000, b"S");
    bench.mains(10_000, Mains::On);
    bench.wait(60_000);
    assert_eq!(bench.when("load off: command S"), Some(2_400));
    assert_eq!(bench.when("load on: mains is back"), Some(11_200));
}

#[test]
fn a_unit_does_not_have_the_commands_it_does_not_list() {
    let mut bench = Bench::new(VS);
    bench.mains(0, Mains::Off);
    assert_eq!(bench.say(1, b"ZD-W\x7f\x0ez"), "", "silence");
    assert_eq!(bench.say(2_000, b"Z"), "");
    assert_eq!(bench.output(), Output::On);
    assert_eq!(bench.say(3_000, b"S"), "OK\\r\\n");
    // It lists '*' among its alerts, and sends it when it goes.
    assert_eq!(bench.wait(60_000), "*");
    assert_eq!(bench.when("load off: command S"), Some(23_000));
}

// ---- settings

#[test]
fn a_list_value_is_stepped_and_the_change_announced_later() {
    let mut bench = Bench::new(SU420);
    let (mut at, mut talk) = (0, String::new());
    for byte in *b"l-l-l" {
        at += 100;
        talk += &bench.say(at, &[byte]);
    }
    assert_eq!(talk.replace("\\r\\n", " "), "208 OK 204 OK 200 ");
    assert_eq!(bench.wait(4_999), "");
    assert_eq!(bench.wait(6_000), "||");
    assert_eq!(bench.when("setting l is now \"200\""), Some(400));
    assert_eq!(bench.say(7_000, b"--l").replace("\\r\\n", " "), "OK OK 208 ", "round it goes");
}

#[test]
fn equal_values_in_a_ring_are_different_places() {
    let mut bench = Bench::new(SU420);
    let mut seen = String::new();
    for at in 1..=8 {
        seen += &bench.ask(at * 10, b's');
        bench.say(at * 10 + 1, b"-");
    }
    assert_eq!(seen, "HMLLHMLL");
    assert_eq!(bench.say(1_000, b"s").trim_end_matches("\\r\\n"), "H");
}

#[test]
fn a_setting_that_was_changed_takes_effect() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"p-p").replace("\\r\\n", " "), "020 OK 180 ");
    bench.say(1_000, b"@000");
    bench.wait(300_000);
    assert_eq!(bench.when("load off: command @000"), Some(181_000));
}

#[test]
fn plus_steps_back_where_the_unit_lists_it() {
    assert_eq!(Bench::new(SU1400).say(0, b"q+q").replace("\\r\\n", " "), "05 OK 02 ");
}

#[test]
fn what_cannot_be_edited_is_refused() {
    // (profile, bytes, replies)
    for (id, bytes, replies) in [
        (SU420, &b"-"[..], "NO "),
        (SU420, b"B-", "13.61 NO "),
        (SU420, b"l\x01-", "208 SMART-UPS 420    NO "),
        (WHITE, b"l-", "196 NO "),
        (RT, b"s-s", "A OK A "),
        (VS, b"n-", "GS9803139882\\x00\\x00 "),
    ] {
        assert_eq!(Bench::new(id).say(0, bytes).replace("\\r\\n", " "), replies, "{id} {bytes:?}");
    }
    let mut bench = Bench::new(SU1400);
    bench.at(0, Event::Set { query: b'7', text: b"08".to_vec() });
    assert_eq!(bench.say(1, b"u-").replace("\\r\\n", " "), "253 NO ", "a DIP switch forbids it");
}

#[test]
fn a_text_takes_eight_bytes_and_ends_at_a_cr() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"c-"), "UPS_IDEN\\r\\n");
    for (place, byte) in b"BOX1\r\r\r".iter().enumerate() {
        assert_eq!(bench.say(200 + 50 * u64::try_from(place).unwrap(), &[*byte]), "");
    }
    assert_eq!(bench.say(550, b"\r"), "OK\\r\\n");
    assert_eq!(bench.ask(600, b'c'), "BOX1");
    assert_eq!(bench.wait(6_000), "|");
    assert_eq!(bench.when("setting c is now \"BOX1\""), Some(550));
}

#[test]
fn a_text_with_a_dash_or_given_up_is_not_stored() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"x-BOX-1234").replace("\\r\\n", " "), "11/17/98 NO ");
    assert_eq!(bench.say(100, b"x-BOX\x1b").replace("\\r\\n", " "), "11/17/98 NO ");
    assert_eq!(bench.say(200, b"c-BOX"), "UPS_IDEN\\r\\n");
    assert_eq!(bench.say(12_000, b"xc").replace("\\r\\n", " "), "11/17/98 UPS_IDEN ");
}

#[test]
fn the_factory_reset_spares_name_and_battery_date() {
    let mut bench = Bench::new(SU420);
    bench.say(0, b"l-c-12345678");
    assert_eq!(bench.say(1, b"zlc").replace("\\r\\n", " "), "CLEAR 208 12345678 ");
}

// ---- tests of the unit itself

#[test]
fn a_self_test_takes_eight_seconds_and_its_result_is_known_for_five_minutes() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"W"), "OK\\r\\n");
    assert_eq!(bench.ask(4_000, b'X'), "NO");
    bench.wait(8_000);
    assert_eq!([bench.ask(9_000, b'X'), bench.ask(9_000, b'G'), bench.ask(9_000, b'Q')], ["OK", "S", "08"]);
    assert_eq!(bench.ask(308_000, b'X'), "OK");
    assert_eq!(bench.ask(308_001, b'X'), "NO");
    assert_eq!(bench.ask(3_608_000, b'd'), "001.0");
    assert_eq!(bench.when("self test passed"), Some(8_000));
}

#[test]
fn a_worn_battery_fails_the_test_and_is_announced_until_a_new_one_passes() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.at(0, Event::Battery(BatteryChange::WornOut)), "#");
    assert_eq!(bench.ask(1, b'Q'), "88");
    bench.say(2, b"W");
    bench.wait(10_000);
    assert_eq!([bench.ask(10_000, b'X'), bench.ask(10_000, b'Q')], ["BT", "88"]);
    assert_eq!(bench.wait(18_000_000), "#", "again after five hours");
    bench.at(18_000_001, Event::Battery(BatteryChange::Renewed));
    assert_eq!(bench.ask(18_000_002, b'Q'), "88", "it cannot know yet");
    bench.say(18_000_003, b"W");
    assert_eq!(bench.ask(18_020_000, b'Q'), "08");
    assert_eq!(bench.wait(100_000_000), "");
}

#[test]
fn a_self_test_tells_an_overload_and_a_battery_that_is_nearly_empty_apart() {
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Set { query: b'P', text: b"110.0".to_vec() });
    bench.say(1, b"W");
    assert_eq!(
        [bench.ask(9_000, b'X'), bench.ask(9_000, b'Q')],
        ["NG", "28"],
        "that says nothing of the battery"
    );
    bench.at(10_000, Event::Unset { query: b'P' });
    bench.at(10_000, Event::Battery(BatteryChange::Charge(3)));
    bench.say(10_001, b"W");
    assert_eq!([bench.ask(20_000, b'X'), bench.ask(20_000, b'Q')], ["BT", "88"]);
    bench.at(20_001, Event::Battery(BatteryChange::Charge(100)));
    bench.say(20_002, b"W");
    assert_eq!([bench.ask(30_000, b'X'), bench.ask(30_000, b'Q')], ["OK", "08"], "charged, it passes");
}

#[test]
fn a_matrix_unit_ends_its_calibration_earlier() {
    let mut bench = Bench::new(MATRIX);
    bench.at(0, Event::Battery(BatteryChange::Charge(100)));
    bench.say(0, b"D");
    bench.wait(86_400_000);
    assert!(bench.when("calibration finished").is_some(), "{:?}", bench.deeds);
    let at = bench.when("calibration finished").unwrap();
    let mut again = Bench::new(MATRIX);
    again.at(0, Event::Battery(BatteryChange::Charge(100)));
    again.say(0, b"D");
    assert_eq!(again.ask(at + 10, b'f'), "035.0");
}

#[test]
fn a_self_test_can_be_stopped_and_is_not_for_a_unit_on_battery() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"WW").replace("\\r\\n", " "), "OK OK ");
    assert_eq!(bench.when("self test stopped"), Some(0));
    bench.say(1_000, b"W");
    bench.mains(2_000, Mains::Off);
    assert_eq!(bench.say(3_000, b"W"), "NA\\r\\n");
    bench.wait(60_000);
    assert_eq!(bench.when("self test passed"), None);
}

#[test]
fn a_calibration_needs_a_full_battery_and_ends_at_a_quarter() {
    let mut low = Bench::new(SU1400);
    assert_eq!(low.say(0, b"D"), "NO\\r\\n");
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"D"), "OK\\r\\n!");
    assert_eq!(bench.ask(1, b'Q'), "11");
    assert_eq!(bench.wait(29_000), "");
    bench.wait(3_600_000);
    let end = bench.when("calibration finished").unwrap();
    assert!(end.abs_diff(42 * 60_000 * 3 / 4) <= 2, "{end}");
    assert_eq!(bench.when("back on mains"), Some(end));
    assert_eq!(bench.ask(3_600_001, b'Q'), "08");
}

#[test]
fn a_new_battery_is_dated_tested_and_measured_as_the_operator_is_told_to() {
    let minute = 60_000;
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Battery(BatteryChange::Runtime(2)));
    assert_eq!(bench.at(1, Event::Battery(BatteryChange::WornOut)), "#");
    bench.at(2, Event::Battery(BatteryChange::Renewed));
    // Nobody has told the unit: red light, two minutes, and so a low battery on mains.
    assert_eq!([bench.ask(3, b'Q'), bench.ask(3, b'j'), bench.ask(3, b'x')], ["C8", "0002:", "11/17/98"]);
    assert_eq!(bench.say(4, b"x-25Nov26\r").replace("\\r\\n", " "), "11/17/98 OK ");
    assert_eq!(bench.ask(5, b'x'), "25Nov26");
    bench.say(10, b"W");
    assert_eq!(
        [bench.ask(9_000, b'X'), bench.ask(9_000, b'Q')],
        ["OK", "48"],
        "the test takes the red light only"
    );
    // The calibration is not kept from its end by what the unit believes, and that ends with it.
    assert_eq!(bench.say(minute, b"D"), "OK\\r\\n!+");
    assert_eq!([bench.ask(minute, b'Q'), bench.ask(minute, b'j')], ["11", "0002:"]);
    bench.wait(60 * minute);
    let end = bench.when("calibration finished").unwrap();
    assert!(end.abs_diff(minute + 42 * minute * 3 / 4) <= 2, "{end}");
    bench.at(61 * minute, Event::Battery(BatteryChange::Charge(100)));
    assert_eq!([bench.ask(61 * minute, b'Q'), bench.ask(61 * minute, b'j')], ["08", "0042:"]);
}

#[test]
fn a_battery_of_which_too_little_is_believed_is_measured_by_running_empty() {
    let minute = 60_000;
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Battery(BatteryChange::Runtime(4)));
    bench.at(0, Event::Battery(BatteryChange::Renewed));
    assert_eq!([bench.ask(1, b'Q'), bench.ask(1, b'j')], ["08", "0004:"]);
    assert_eq!(bench.mains(minute, Mains::Off), "!");
    bench.wait(60 * minute);
    // Low when the unit believes that two of four minutes are left, empty when it is.
    let near = |at: Option<u64>, wanted: u64| at.is_some_and(|at| at.abs_diff(wanted) <= 2);
    assert!(near(bench.when("battery low"), minute + 21 * minute), "{:?}", bench.deeds);
    assert!(near(bench.when("load off: battery empty"), minute + 42 * minute), "{:?}", bench.deeds);
    bench.mains(61 * minute, Mains::On);
    bench.at(62 * minute, Event::Battery(BatteryChange::Charge(100)));
    assert_eq!(bench.say(62 * minute, b"Yj").replace("\\r\\n", " "), "SM 0042: ");
}

#[test]
fn a_calibration_can_be_stopped_and_ends_with_mains() {
    let mut bench = Bench::new(SU420);
    bench.say(0, b"D");
    assert_eq!(bench.say(1_000, b"D"), "OK\\r\\n$");
    assert_eq!(bench.when("calibration stopped"), Some(1_000));
    let mut bench = Bench::new(SU420);
    bench.say(0, b"D");
    assert_eq!(bench.mains(1_000, Mains::Off), "", "on battery it is already");
    assert_eq!(bench.ask(1_001, b'Q'), "10");
}

#[test]
fn the_panel_test_and_the_bypass_answer_in_their_own_words() {
    assert_eq!(Bench::new(SU420).say(0, b"A^").replace("\\r\\n", " "), "OK NA ");
    assert_eq!(Bench::new(RT).say(0, b"^^").replace("\\r\\n", " "), "BYP INV ");
    let mut bench = Bench::new(MATRIX);
    bench.mains(0, Mains::Off);
    assert_eq!(bench.say(1, b"^"), "ERR\\r\\n");
}

// ---- faults

#[test]
fn a_silent_line_loses_what_the_host_says_and_what_the_unit_says() {
    let mut bench = Bench::new(SU420);
    let silence = Fault { kind: FaultKind::Silence, extent: Extent::For(Duration::from_secs(5)) };
    bench.at(1_000, Event::Fault(silence));
    assert_eq!(bench.mains(2_000, Mains::Off), "");
    assert_eq!(bench.say(3_000, b"S"), "");
    assert_eq!(bench.ask(6_000, b'Q'), "10", "it did not hear the S");
    bench.wait(100_000);
    assert_eq!(bench.output(), Output::On);
}

#[test]
fn na_is_not_obeyed_but_a_lost_reply_is() {
    let fault = |kind, times| Event::Fault(Fault { kind, extent: Extent::Times(times) });
    let mut bench = Bench::new(SU420);
    bench.at(0, fault(FaultKind::AnswerNa, 2));
    assert_eq!(bench.say(1, b"QW").replace("\\r\\n", " "), "NA NA ");
    bench.wait(20_000);
    assert_eq!(bench.when("self test passed"), None);
    bench.at(20_001, fault(FaultKind::LoseReplies, 1));
    assert_eq!(bench.say(20_002, b"W"), "");
    bench.wait(40_000);
    assert!(bench.when("self test passed").is_some());
}

#[test]
fn sm_and_alerts_come_where_values_should() {
    let fault = |kind| Event::Fault(Fault { kind, extent: Extent::Times(1) });
    let mut bench = Bench::new(SU420);
    bench.at(0, fault(FaultKind::AnswerSm));
    assert_eq!(bench.say(1, b"QQ").replace("\\r\\n", " "), "SM 08 ");
    bench.at(2, fault(FaultKind::Glue(b"!".to_vec())));
    assert_eq!(bench.say(3, b"QQ").replace("\\r\\n", " "), "!08 08 ");
    assert_eq!(bench.at(4, Event::Say(b"~".to_vec())), "~");
    bench.at(5, Event::Fault(Fault { kind: FaultKind::AnswerNa, extent: Extent::UntilCleared }));
    bench.at(6, Event::FaultsEnd);
    assert_eq!(bench.ask(7, b'Q'), "08");
}

#[test]
fn noise_spoils_what_the_unit_says_and_nothing_that_it_does() {
    let noise = |seed, extent| {
        let kind = FaultKind::Garble { seed, one_in: NonZeroU32::MIN };
        Event::Fault(Fault { kind, extent })
    };
    let mut bench = Bench::new(SU420);
    bench.at(0, noise(7, Extent::For(Duration::from_secs(60))));
    let spoilt = bench.ask(1, b'Q');
    assert_ne!(spoilt, "08");
    assert_ne!(bench.ask(2, b'Q'), spoilt, "not twice the same");
    bench.say(3, b"W");
    bench.mains(4, Mains::Off);
    assert!(bench.when("self test started").is_some() && bench.ups.state().on_battery);
    assert_eq!(bench.ask(60_000, b'Q'), "10");
    bench.at(60_001, noise(7, Extent::Times(1)));
    assert_eq!(bench.say(60_002, b"QQ").replace("\\r\\n", " ").matches("10 ").count(), 1);
}

#[test]
fn over_a_line_of_the_wrong_parity_half_is_heard_and_all_is_told_wrongly() {
    let parity =
        |parity| Event::Fault(Fault { kind: FaultKind::WrongParity(parity), extent: Extent::UntilCleared });
    let mut bench = Bench::new(SU420);
    bench.at(0, parity(Parity::Even));
    // Y (0x59) has an even number of bits, Q (0x51) an odd one.
    assert_eq!(bench.say(1, b"Y"), "SM\\x8d\\n");
    assert_eq!(bench.say(2, b"Q"), "");
    assert_eq!(bench.mains(3, Mains::Off), "!", "of the alerts some come through");
    bench.mains(4, Mains::On);
    bench.at(5, parity(Parity::Odd));
    assert_eq!(bench.say(6, b"YQ"), "\\xb08\\r\\x8a");
    assert_eq!(bench.mains(7, Mains::Off), "\\xa1", "and others do not");
    // A command that is not heard is not obeyed.
    assert_eq!(bench.say(8, b"S"), "");
    bench.at(9, Event::FaultEnds(FaultKind::WrongParity(Parity::Even)));
    assert_eq!(bench.ask(10, b'Q'), "10");
}

// ---- a card in the slot

fn card(change: CardChange) -> Event {
    Event::Card(change)
}

fn climate(probe: Probe, temperature: u16, humidity: u16) -> Event {
    card(CardChange::Climate(probe, Some(Climate { temperature, humidity })))
}

#[test]
fn a_card_is_listed_and_measures_while_it_is_there() {
    let mut bench = Bench::new(SU420);
    assert_eq!(bench.say(0, b"thiv[").replace("\\r\\n", " "), "NA NA NA NA NA ");
    let without = bench.ask(1, b'a');
    bench.at(2, card(CardChange::Fitted(Card::MeasureUps2)));
    assert_eq!(bench.ask(3, b'a'), without.clone() + "thTHivIJ[]{}");
    bench.at(4, climate(Probe::First, 2108, 372));
    bench.at(4, climate(Probe::Second, 2009, 340));
    bench.at(4, card(CardChange::Contact { number: 3, is_closed: true }));
    let told = bench.say(5, b"thTHivIJ[]{}").replace("\\r\\n", " ");
    assert_eq!(told, "21.08 037.2 21.08,20.09 037.2,034.0 40 4Kx FF 40,00 NO,NO NO,NO NO,NO NO,NO ");
    bench.at(6, card(CardChange::Fitted(Card::MeasureUps)));
    assert_eq!(bench.say(7, b"thTi[").replace("\\r\\n", " "), "21.00 040.0 NA 00 NO ", "the other kind");
    bench.at(8, card(CardChange::Removed));
    bench.at(8, climate(Probe::First, 2108, 372));
    assert_eq!(bench.say(9, b"thiv[").replace("\\r\\n", " "), "NA NA NA NA NA ");
    assert_eq!(bench.ask(10, b'a'), without);
    // A unit without `a` has nowhere to list it.
    let mut white = Bench::new(WHITE);
    white.at(0, card(CardChange::Fitted(Card::MeasureUps)));
    assert_eq!(white.say(1, b"at").replace("\\r\\n", " "), "NA 21.00 ");
}

#[test]
fn what_is_beyond_a_limit_that_was_set_is_told_every_two_minutes_while_it_lasts() {
    let mut bench = Bench::new(SU420);
    bench.at(0, card(CardChange::Fitted(Card::MeasureUps)));
    // Up to 30 degrees, by way of 05 10 15 20 25.
    let talk: String = (1..=6).map(|at| bench.say(at, b"[-")).collect();
    assert_eq!(talk.matches("OK").count(), 6, "{talk}");
    assert_eq!(bench.ask(10, b'['), "30.00");
    assert_eq!(bench.when("setting [ is now \"30.00\""), Some(6));
    bench.wait(10_000);
    assert_eq!(bench.at(20_000, climate(Probe::First, 3001, 400)), "&");
    assert_eq!([bench.ask(20_001, b'J'), bench.ask(20_001, b'Q')], ["01,00", "08"]);
    assert_eq!(bench.wait(270_000), "&&");
    assert_eq!(bench.at(270_001, climate(Probe::First, 2999, 400)), "");
    assert_eq!(bench.wait(1_000_000), "");
    // Not enabled, not told.
    bench.at(1_000_001, Event::Set { query: b'I', text: b"0F".to_vec() });
    assert_eq!(bench.at(1_000_002, card(CardChange::Contact { number: 1, is_closed: true })), "");
    assert_eq!(bench.at(1_000_003, Event::Unset { query: b'I' }), "&");
    assert_eq!(bench.at(1_000_004, card(CardChange::Removed)), "");
    assert_eq!(bench.wait(2_000_000), "");
}

#[test]
fn a_reply_can_be_pinned_and_released() {
    let mut bench = Bench::new(SU420);
    bench.at(0, Event::Set { query: b'Q', text: b"0C".to_vec() });
    bench.at(0, Event::Set { query: b'T', text: b"21.08".to_vec() });
    assert_eq!([bench.ask(1, b'Q'), bench.ask(1, b'T')], ["0C", "21.08"]);
    bench.at(2, Event::Unset { query: b'Q' });
    bench.at(2, Event::Unset { query: b'T' });
    assert_eq!([bench.ask(3, b'Q'), bench.ask(3, b'T')], ["08", "NA"]);
}

#[test]
fn the_record_can_be_asked_for() {
    let mut bench = Bench::new(SU420);
    bench.mains(1_000, Mains::Off);
    let record: Vec<_> = bench.ups.record().map(|(at, deed)| (millis(*at), deed.to_string())).collect();
    assert_eq!(record, [(0, "smart mode on".into()), (1_000, "on battery: mains failed".into())]);
}

// ---- properties

fn an_event() -> impl Strategy<Value = Event> {
    let text = || prop::collection::vec(any::<u8>(), 0..12);
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Event::Received),
        8 => prop::sample::select(&b"YQS@0123KZUWD-cxl+[}\x0e\x7fR^za"[..]).prop_map(|byte| Event::Received(vec![byte])),
        3 => prop_oneof![Just(Mains::On), Just(Mains::Off)].prop_map(Event::Mains),
        1 => (0..=100_u8).prop_map(|percent| Event::Battery(BatteryChange::Charge(percent))),
        1 => (0..=60_000_u16).prop_map(|minutes| Event::Battery(BatteryChange::Runtime(minutes))),
        1 => Just(Event::Battery(BatteryChange::Low(LowBattery::Now))),
        1 => Just(Event::Battery(BatteryChange::WornOut)),
        1 => Just(Event::Battery(BatteryChange::Renewed)),
        1 => prop_oneof![Just(CardChange::Fitted(Card::MeasureUps2)), Just(CardChange::Removed)].prop_map(Event::Card),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(temperature, humidity)| climate(Probe::First, temperature, humidity)),
        1 => prop_oneof![Just(Parity::Even), Just(Parity::Odd)]
            .prop_map(|parity| Event::Fault(Fault { kind: FaultKind::WrongParity(parity), extent: Extent::Times(5) })),
        1 => (any::<u8>(), text()).prop_map(|(query, text)| Event::Set { query, text }),
        1 => (prop::sample::select(&b"Ppreqfjo"[..]), "[0-9.]{0,9}")
            .prop_map(|(query, text)| Event::Set { query, text: text.into_bytes() }),
        1 => text().prop_map(|text| Event::Fault(Fault { kind: FaultKind::Glue(text), extent: Extent::Times(3) })),
        1 => Just(Event::Fault(Fault { kind: FaultKind::Twice, extent: Extent::UntilCleared })),
        1 => Just(Event::FaultsEnd),
        1 => Just(Event::Button),
        1 => text().prop_map(Event::Say),
        4 => Just(Event::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_that_happens_makes_it_panic_spin_or_grow(
        profile in 0..8_usize,
        immediate in any::<bool>(),
        scale in prop::sample::select(&[1, 50, u32::MAX][..]),
        events in prop::collection::vec((0..4_000_000_u64, an_event()), 1..60),
    ) {
        let settings = Settings {
            pace: if immediate { Pace::Immediate } else { Pace::Real },
            time_scale: NonZeroU32::new(scale).unwrap(),
            battery_scale: NonZeroU32::new(scale).unwrap(),
            ..Settings::default()
        };
        let mut ups = SmartUps::new(Profile::all().remove(profile), settings);
        let mut now = Moment::START;
        for (wait, event) in events {
            now = now + Duration::from_micros(wait.saturating_mul(wait));
            let mut sent = 0;
            for action in ups.step(now, event) {
                match action {
                    Action::Send(bytes) => sent += bytes.len(),
                    Action::WakeAt(moment) => prop_assert!(moment > now, "{:?} at {:?}", moment, now),
                    Action::Record(at, _) => prop_assert!(at <= now),
                }
            }
            prop_assert!(sent <= MAX_WAITING);
            prop_assert!(ups.record().count() <= MAX_DEEDS);
            let state = ups.state();
            prop_assert!((0.0..=100.0).contains(&state.charge), "{:?}", state);
            prop_assert_eq!(state.status == 0, state.output != Output::On);
        }
    }

    #[test]
    fn without_a_confirmed_command_and_with_mains_the_load_keeps_its_power(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        gap in 0..1_400_u64,
    ) {
        // No digits, so that '@' never completes; gaps too short for a second byte.
        let mut bench = Bench::new(SU420);
        for (place, byte) in bytes.iter().filter(|byte| !byte.is_ascii_digit()).enumerate() {
            let at = 1 + gap * u64::try_from(place).unwrap();
            bench.say(at, &[*byte]);
            // U and D are on purpose: they make S work.
            if matches!(byte, b'U' | b'D') {
                break;
            }
        }
        prop_assert_eq!(bench.output(), Output::On);
    }
}
