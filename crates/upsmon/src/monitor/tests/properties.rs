//! What must hold whatever happens, over random lists of events.
//!
//! A list is a [`Trace`]: three UPSes at two servers say what they like, servers die, hang and come back, the host sleeps,
//! or is suspended or starved, is given other configurations, orders, strangers, a root half that dies, a command that fails. All seven promises of
//! [`judge`](super::judge) are checked against each step of each list, and the list is played again on another clock.
//!
//! A list that breaks a promise is shrunk, and stored in `tests/traces/`, where `traces.rs` replays it for ever; so does
//! whoever sees this test fail: the message names the file, which is to be committed with what mends it.
//!
//! | variable | meaning | unless set |
//! |---|---|---|
//! | `PROPTEST_CASES` | how many lists | 300 |
//! | `PROPTEST_RNG_SEED` | the seed of the lists; 0: another one each time, which is shown | 1: always the same lists |
//!
//! The long run, and what it found, stand in `docs/scenarios.md`.

use super::clocks::does_the_same_on_any_clock;
use super::judge::Record;
use super::trace::{Expected, Happening, HostDoes, HostIs, Millis, Trace, UpsDoes};
use super::world::{Host, Upsd, moment};
use super::*;
use crate::link::FromParent;
use nut_proto::net::ErrCode;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};

/// Lists of the short run.
const CASES: u32 = 300;

const UPSES: [&str; 3] = ["a@one", "b@two", "c@two"];
const HOST: &str = "host";
const FIRST: &str = "first.conf";
/// A secondary of UPS a, which may be there, too.
const OTHER: &str = "other";

/// What a status begins with, and how often.
const FEEDS: [(u32, &str); 14] = [
    (8, "OL"),
    (6, "OB"),
    (6, "OB LB"),
    (1, "OL LB"),
    (1, "OL OVER"),
    (1, "OB OVER"),
    (1, "LB"),
    (1, ""),
    (1, "WAIT"),
    (1, "OFF"),
    (1, "OB OL"),
    (1, "ob lb"),
    (1, "CHRG"),
    (1, "OL DISCHRG HB"),
];

/// What it may say besides.
const WORDS: [&str; 15] = [
    "CAL", "CAL", "OFF", "BYPASS", "OVER", "TRIM", "BOOST", "ECO", "ALARM", "ALARM", "RB", "FOO", "BAR",
    "XLBX", "WAIT",
];

const ALARMS: [&str; 3] = ["Fire!", "Flood! Fire!", "replace battery"];

/// What may happen.
#[derive(Debug, Clone)]
enum Happens {
    Says(usize, String),
    Alarm(usize, usize),
    Economy(usize, bool),
    Refuses(usize, bool),
    Forced(usize),
    Strangers(usize, usize),
    Server(bool, usize),
    Sleeps(Millis, bool),
    /// The machine is suspended for so long, so long after that was announced, if it was; and afterwards somebody says that
    /// it is over, or forgets it. With no time it is not suspended after all.
    Suspended {
        announced: Option<Millis>,
        time: Millis,
        is_over: bool,
    },
    OtherIsKilled,
    /// Standstills in a row: how long each, and how long it runs behind each.
    Stutters(Vec<(Millis, Millis)>),
    /// So late each time, for so long.
    Starved(Millis, Millis),
    /// A server hangs, so that questions to it are out; so long after that the host sleeps, and while it does the server
    /// comes back and answers.
    SleepsOver(Box<Over>),
    /// A server is down for so long.
    Restarts(bool, Millis),
    Reload(usize),
    ReloadFails,
    Ordered,
    Stopped,
    ParentDies(bool),
}

/// A standstill while questions are out.
#[derive(Debug, Clone)]
struct Over {
    is_first: bool,
    /// How long the server has hung before.
    after: Millis,
    time: Millis,
    is_suspended: bool,
    ups: usize,
    /// What it answers meanwhile, and what it says when that is over: what was heard then is not so any more.
    status: String,
    then: Option<String>,
    /// A SIGHUP that waits, too.
    reload: Option<usize>,
}

prop_compose! {
    fn over()(
        is_first in any::<bool>(),
        after in 0u64..6_000,
        time in prop_oneof![1_000u64..5_500, 5_000u64..100_000],
        is_suspended in prop::bool::weighted(0.3),
        ups in 0..UPSES.len(),
        status in status(),
        then in prop::option::of(status()),
        reload in prop::option::weighted(0.2, 0..VARIANTS),
    ) -> Over {
        Over { is_first, after, time, is_suspended, ups, status, then, reload }
    }
}

fn status() -> impl Strategy<Value = String> {
    let feed = prop::strategy::Union::new_weighted(FEEDS.map(|(weight, feed)| (weight, Just(feed))).to_vec());
    let more = prop::collection::vec(0..WORDS.len(), 0..3);
    (feed, prop::bool::weighted(0.4), more, prop::bool::weighted(0.02)).prop_map(
        |(feed, has_more, more, forced)| {
            let forced = if forced { Some("FSD") } else { None };
            let more = more.into_iter().filter(|_| has_more && !feed.is_empty()).map(|nth| WORDS[nth]);
            let words: Vec<&str> = forced.into_iter().chain([feed]).chain(more).collect();
            words.join(" ").trim().to_owned()
        },
    )
}

fn happens() -> impl Strategy<Value = Happens> {
    let ups = || 0..UPSES.len();
    prop_oneof![
        40 => (ups(), status()).prop_map(|(ups, status)| Happens::Says(ups, status)),
        2 => (ups(), 0..ALARMS.len()).prop_map(|(ups, alarm)| Happens::Alarm(ups, alarm)),
        2 => (ups(), any::<bool>()).prop_map(|(ups, on)| Happens::Economy(ups, on)),
        6 => (ups(), any::<bool>()).prop_map(|(ups, stale)| Happens::Refuses(ups, stale)),
        10 => (any::<bool>(), 0usize..5).prop_map(|(first, state)| Happens::Server(first, state)),
        3 => (ups(), 0usize..3).prop_map(|(ups, count)| Happens::Strangers(ups, count)),
        3 => (prop_oneof![100u64..10_000, 5_000u64..100_000], prop::bool::weighted(0.2))
            .prop_map(|(time, is_other)| Happens::Sleeps(time, is_other)),
        3 => (
            prop::option::weighted(0.8, 0u64..6_000),
            prop_oneof![3 => 1_000u64..100_000, 1 => Just(0u64)],
            prop::bool::weighted(0.9),
        )
            .prop_map(|(announced, time, is_over)| Happens::Suspended { announced, time, is_over }),
        1 => Just(Happens::OtherIsKilled),
        2 => prop::collection::vec((prop_oneof![1_000u64..6_000, 5_000u64..70_000], 0u64..20_000), 2..5)
            .prop_map(Happens::Stutters),
        1 => (500u64..20_000, 5_000u64..40_000).prop_map(|(late, lasts)| Happens::Starved(late, lasts)),
        4 => over().prop_map(|over| Happens::SleepsOver(Box::new(over))),
        3 => (any::<bool>(), 0u64..8_000).prop_map(|(first, time)| Happens::Restarts(first, time)),
        5 => (0..VARIANTS).prop_map(Happens::Reload),
        1 => Just(Happens::ReloadFails),
        1 => ups().prop_map(Happens::Forced),
        1 => prop_oneof![Just(Happens::Ordered), Just(Happens::Stopped)],
        1 => any::<bool>().prop_map(Happens::ParentDies),
    ]
}

/// How long until it happens, in milliseconds.
fn wait() -> impl Strategy<Value = Millis> {
    prop_oneof![12 => 0u64..8_000, 2 => 8_000u64..60_000, 1 => Just(0u64)]
}

fn list(most: usize) -> impl Strategy<Value = Vec<(Millis, Happens)>> {
    prop::collection::vec((wait(), happens()), 1..most)
}

/// How a list goes on when it is over.
#[derive(Debug, Clone)]
enum Tail {
    /// Some time passes.
    Nothing,
    /// An order.
    Order,
    /// UPS a, without which this host cannot run, is on battery with low battery; its polls fail now and then, and to all
    /// others this happens.
    Low(Vec<(Millis, Happens)>, Vec<(Millis, Millis)>),
    /// The same UPS was on battery, and its server is silent from then on.
    Silent(Vec<(Millis, Happens)>, usize),
}

fn tail() -> impl Strategy<Value = Tail> {
    let lost = prop::collection::vec((0u64..8_000, 0u64..9_000), 0..5);
    prop_oneof![
        3 => Just(Tail::Nothing),
        1 => Just(Tail::Order),
        2 => (list(12), lost).prop_map(|(others, lost)| Tail::Low(others, lost)),
        2 => (list(12), 1usize..5).prop_map(|(others, state)| Tail::Silent(others, state)),
    ]
}

/// How the host is configured.
#[derive(Debug, Clone)]
struct Setup {
    /// Power value, and whether this host is primary.
    feeds: [(u32, bool); 3],
    /// How many of all its supplies it needs, in percent.
    share: u32,
    poll: [u64; 2],
    dead_time: u64,
    host_sync: u64,
    final_delay: u64,
    borne: u64,
    off: Option<u64>,
    over: Option<u64>,
    no_comm: u64,
    replace: u64,
    exit: usize,
    command: u8,
    /// Whether there is another host.
    has_other: bool,
    /// Whether what waits comes before the timer.
    hears_first: bool,
}

prop_compose! {
    fn setup()(
        feeds in prop::array::uniform3((0u32..3, any::<bool>())),
        share in 0u32..=100,
        poll in prop::array::uniform2(prop_oneof![9 => 1u64..7, 1 => 7u64..21]),
        dead_time in 1u64..25,
        host_sync in 0u64..25,
        final_delay in 0u64..6,
        borne in prop_oneof![3 => Just(0), 1 => 1u64..12],
        off in prop::option::of(0u64..20),
        over in prop::option::of(prop_oneof![0u64..20, 20u64..60]),
        no_comm in prop_oneof![1u64..10, 10u64..60],
        replace in prop_oneof![1u64..10, 10u64..100],
        exit in prop_oneof![4 => Just(0usize), 1 => 1usize..3],
        command in prop_oneof![6 => Just(0u8), 1 => 1u8..4],
        has_other in prop::bool::weighted(0.4),
        hears_first in any::<bool>(),
    ) -> Setup {
        Setup {
            feeds, share, poll, dead_time, host_sync, final_delay, borne, off, over, no_comm, replace, exit, command,
            has_other, hears_first,
        }
    }
}

/// How many other configurations a reload may bring.
const VARIANTS: usize = 13;

impl Setup {
    fn total(&self) -> u32 {
        self.feeds.iter().map(|(value, _)| value).sum()
    }

    fn min_supplies(&self) -> u32 {
        self.total() * self.share / 100
    }

    /// With UPS a it can run, without it it cannot.
    fn with_a_deciding(mut self) -> Self {
        self.feeds[0].0 = self.feeds[0].0.max(1);
        let others = self.total() - self.feeds[0].0;
        // Rounded up: `share` percent of the total must be more than all others.
        self.share = ((others + 1) * 100).div_ceil(self.total());
        self
    }

    /// What a reload brings; none makes up for UPS a, where that decides.
    fn other(&self, variant: usize) -> String {
        let mut other = self.clone();
        let mut min_supplies = self.min_supplies();
        let mut without = None;
        let mut password = "pp";
        match variant {
            0 => {}
            1 => (other.dead_time, other.host_sync) = (self.host_sync.max(1), self.dead_time),
            2 => {
                (other.borne, other.poll) =
                    (if self.borne == 0 { 7 } else { 0 }, [self.poll[1], self.poll[0]])
            }
            3 => other.feeds.iter_mut().for_each(|(_, is_primary)| *is_primary = !*is_primary),
            4 => without = Some(2),
            5 => other.feeds[1].0 = 0,
            6 => password = "WRONG",
            7 => min_supplies = self.total(),
            8 => {
                (other.off, other.over) =
                    (self.over.map_or(Some(3), |_| None), self.off.map_or(Some(0), |_| None))
            }
            9 => {
                (other.final_delay, other.no_comm, other.replace) =
                    (5 - self.final_delay.min(5), self.replace, self.no_comm)
            }
            10 => (other.dead_time, other.poll) = (1, [1, 1]),
            // Another UPS in its place, of which nobody has heard.
            11 => without = Some(2),
            // Nobody could ever run with it.
            _ => min_supplies = self.total() + 1,
        }
        let text = other.text(min_supplies, without, password);
        match variant {
            11 => format!("MONITOR d@two {} pri pp primary\n{text}", self.feeds[2].0),
            _ => text,
        }
    }

    fn text(&self, min_supplies: u32, without: Option<usize>, password: &str) -> String {
        let mut text = String::new();
        for (nth, (ups, (value, is_primary))) in UPSES.iter().zip(self.feeds).enumerate() {
            if without != Some(nth) {
                let role = if is_primary { "primary" } else { "secondary" };
                text += &format!("MONITOR {ups} {value} pri {password} {role}\n");
            }
        }
        self.of(&text, min_supplies)
    }

    /// The rest, behind these lines.
    fn of(&self, monitors: &str, min_supplies: u32) -> String {
        let mut text = monitors.to_owned();
        let never = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
        let exit = ["yes", "5", "no"][self.exit];
        text += &format!(
            "MINSUPPLIES {min_supplies}\nPOLLFREQ {}\nPOLLFREQALERT {}\nDEADTIME {}\nHOSTSYNC {}\nFINALDELAY {}\n\
             OBLBDURATION {}\nOFFDURATION {}\nOVERDURATION {}\nNOCOMMWARNTIME {}\nRBWARNTIME {}\nSHUTDOWNEXIT {exit}\n",
            self.poll[0],
            self.poll[1],
            self.dead_time,
            self.host_sync,
            self.final_delay,
            self.borne,
            never(self.off),
            never(self.over),
            self.no_comm,
            self.replace,
        );
        text
    }
}

/// A list being written down.
struct Writer<'a> {
    setup: &'a Setup,
    trace: Trace,
    now: Millis,
    /// Only what leaves UPS a and its server alone, and the host able to stop, is written.
    spares_a: bool,
}

impl Writer<'_> {
    fn push(&mut self, happening: Happening) {
        self.trace.happenings.push((self.now, happening));
    }

    fn ups(&mut self, ups: usize, does: UpsDoes) {
        self.push(Happening::Ups(UPSES[ups].to_owned(), does));
    }

    fn host(&mut self, does: HostDoes) {
        self.push(Happening::Host(HOST.to_owned(), does));
    }

    fn other(&mut self, does: HostDoes) {
        if self.setup.has_other {
            self.push(Happening::Host(OTHER.to_owned(), does));
        }
    }

    fn list(&mut self, list: &[(Millis, Happens)]) {
        for (wait, what) in list {
            self.now += wait;
            let touches_a = match what {
                Happens::Says(ups, _) | Happens::Refuses(ups, _) | Happens::Strangers(ups, _) => *ups == 0,
                Happens::Server(is_first, _) => *is_first,
                Happens::SleepsOver(over) => over.is_first || over.ups == 0,
                Happens::Restarts(is_first, _) => *is_first,
                Happens::Ordered | Happens::Stopped | Happens::ParentDies(_) => true,
                _ => false,
            };
            if !(self.spares_a && touches_a) {
                self.one(what);
            }
        }
    }

    fn one(&mut self, what: &Happens) {
        const CODES: [ErrCode; 2] = [ErrCode::DataStale, ErrCode::DriverNotConnected];
        const STATES: [Upsd; 5] = [Upsd::Up, Upsd::Down, Upsd::Hung, Upsd::OutOfReach, Upsd::Mute];
        match what.clone() {
            Happens::Says(ups, status) => self.ups(ups, UpsDoes::Says(status)),
            Happens::Alarm(ups, text) => self.ups(ups, UpsDoes::Alarm(ALARMS[text].to_owned())),
            Happens::Economy(ups, is_on) => self.ups(ups, UpsDoes::Economy(is_on)),
            Happens::Refuses(ups, stale) => self.ups(ups, UpsDoes::Refuses(CODES[usize::from(stale)])),
            Happens::Forced(ups) => self.ups(ups, UpsDoes::Forced),
            Happens::Strangers(ups, count) => self.ups(ups, UpsDoes::Strangers(count)),
            Happens::Server(is_first, state) => {
                let name = if is_first { "one" } else { "two" };
                self.push(Happening::Server(name.to_owned(), STATES[state]));
            }
            Happens::Sleeps(time, false) => self.host(HostDoes::Sleeps(time)),
            Happens::Sleeps(time, true) => self.other(HostDoes::Sleeps(time)),
            Happens::Suspended { announced, time, is_over } => {
                let now = self.now;
                if let Some(before) = announced {
                    self.host(HostDoes::SleepAnnounced);
                    self.now += before;
                }
                if time > 0 {
                    self.host(HostDoes::Suspended(time));
                }
                if is_over {
                    // Who was suspended hears of it when he is awake.
                    self.now += 1;
                    self.host(HostDoes::SleepOver);
                }
                self.now = now;
            }
            Happens::Stutters(all) => {
                let now = self.now;
                for (time, runs) in all {
                    self.host(HostDoes::Sleeps(time));
                    self.now += time + runs;
                }
                self.now = now;
            }
            Happens::Starved(late, lasts) => {
                self.host(HostDoes::Starved(late));
                self.now += lasts;
                self.host(HostDoes::Starved(0));
                self.now -= lasts;
            }
            Happens::SleepsOver(over) => {
                let now = self.now;
                self.one(&Happens::Server(over.is_first, 2));
                self.now += over.after;
                self.host(match over.is_suspended {
                    true => HostDoes::Suspended(over.time),
                    false => HostDoes::Sleeps(over.time),
                });
                self.now += 1;
                self.ups(over.ups, UpsDoes::Says(over.status));
                self.one(&Happens::Server(over.is_first, 0));
                self.now += over.time - 2;
                if let Some(status) = over.then {
                    self.ups(over.ups, UpsDoes::Says(status));
                }
                if let Some(variant) = over.reload {
                    self.one(&Happens::Reload(variant));
                }
                // What comes next may come before that.
                self.now = now;
            }
            Happens::Restarts(is_first, time) => {
                self.one(&Happens::Server(is_first, 1));
                self.now += time;
                self.one(&Happens::Server(is_first, 0));
                self.now -= time;
            }
            Happens::OtherIsKilled => self.other(HostDoes::Killed),
            Happens::Reload(variant) => {
                let name = format!("other{variant}.conf");
                let text = || self.setup.other(variant);
                self.trace.files.entry(name.clone()).or_insert_with(text);
                self.host(HostDoes::Reloads(name));
            }
            Happens::ReloadFails => self.host(HostDoes::ReloadFails),
            Happens::Ordered => self.host(HostDoes::Ordered),
            Happens::Stopped => self.host(HostDoes::Stopped),
            Happens::ParentDies(true) => self.host(HostDoes::ParentDies),
            Happens::ParentDies(false) => self.host(HostDoes::ParentDiesUnseen),
        }
    }

    /// How long the host slept in all.
    fn slept(&self) -> Millis {
        // Who is starved does not run for as long as he is, and the last time a little longer.
        const STARVED: Millis = 60_000;
        let sleeps = |(_, what): &(Millis, Happening)| match what {
            Happening::Host(_, HostDoes::Sleeps(time) | HostDoes::Suspended(time)) => *time,
            Happening::Host(_, HostDoes::Starved(late)) if *late > 0 => STARVED,
            _ => 0,
        };
        self.trace.happenings.iter().map(sleeps).sum()
    }
}

fn write(setup: &Setup, list: &[(Millis, Happens)], tail: &Tail) -> Trace {
    let decides = matches!(tail, Tail::Low(..) | Tail::Silent(..));
    let mut setup = setup.clone();
    if decides {
        // Here all must be as it should be, but for what happens around.
        (setup, setup.command) = (setup.with_a_deciding(), 0);
    }
    let mut writer = Writer { setup: &setup, trace: Trace::default(), now: 0, spares_a: false };
    let text = setup.text(setup.min_supplies(), None, "pp");
    writer.trace.files.insert(FIRST.to_owned(), text);
    for ups in 0..UPSES.len() {
        writer.ups(ups, UpsDoes::Says("OL".into()));
    }
    writer.host(HostDoes::Starts(FIRST.to_owned()));
    let ends = [FromParent::Ended(0), FromParent::Ended(7), FromParent::Killed(9), FromParent::NotRun];
    writer.host(HostDoes::Command(ends[usize::from(setup.command)]));
    if setup.hears_first {
        writer.host(HostDoes::HearsFirst);
    }
    if setup.has_other {
        let quick = Setup { poll: [setup.poll[1], 1], final_delay: 2, exit: 0, ..setup.clone() };
        let text = quick.of("MONITOR a@one 1 sec ss secondary\n", 1);
        writer.trace.files.insert("other.conf".to_owned(), text);
        writer.other(HostDoes::Starts("other.conf".to_owned()));
    }
    let ends_it = |what: &Happens| matches!(what, Happens::Stopped | Happens::ParentDies(_));
    let list: Vec<_> = list.iter().filter(|(_, what)| !(decides && ends_it(what))).cloned().collect();
    writer.list(&list);
    let last = writer.trace.happenings.iter().map(|(time, _)| time + 1).max();
    writer.now = last.unwrap_or_default().max(writer.now);
    // All that may have been slept, and longer than anything a host waits for.
    let long = 150_000;
    match tail {
        Tail::Nothing => writer.now += 60_000,
        Tail::Order => {
            writer.host(HostDoes::Ordered);
            writer.now += writer.slept() + long;
        }
        Tail::Low(others, lost) => {
            let begins = writer.now;
            writer.push(Happening::Server("one".to_owned(), Upsd::Up));
            writer.ups(0, UpsDoes::Says("OB LB".into()));
            writer.spares_a = true;
            writer.list(others);
            let ends = writer.now;
            // Its own lost polls go between what happens to the others.
            writer.now = begins;
            for (wait, lasts) in lost {
                writer.now += wait;
                writer.ups(0, UpsDoes::Refuses(ErrCode::DataStale));
                writer.now += lasts;
                writer.ups(0, UpsDoes::Says("OB LB".into()));
            }
            writer.now = writer.now.max(ends) + writer.slept() + long;
        }
        Tail::Silent(others, state) => {
            writer.push(Happening::Server("one".to_owned(), Upsd::Up));
            writer.ups(0, UpsDoes::Says("OB".into()));
            // Until it has been heard, whatever the host is doing.
            writer.now += writer.slept() + 40_000;
            writer.one(&Happens::Server(true, *state));
            writer.spares_a = true;
            writer.list(others);
            writer.now += writer.slept() + long;
        }
    }
    let Writer { mut trace, now, .. } = writer;
    // In the order of their times; of those at one time, as they were written.
    trace.happenings.sort_by_key(|(time, _)| *time);
    trace.end = now;
    if decides {
        trace.expected.push(Expected::Host(HOST.to_owned(), HostIs::Stopped));
    }
    trace
}

fn traces() -> impl Strategy<Value = Trace> {
    (setup(), list(40), tail()).prop_map(|(setup, list, tail)| write(&setup, &list, &tail))
}

/// Plays it, and looks whether all promises are kept.
pub(super) fn keeps_all_promises(trace: &Trace) -> Result<(), String> {
    plays_well(trace).map(drop)
}

fn plays_well(trace: &Trace) -> Result<World, String> {
    let mut world = trace.play()?;
    for (nth, host) in world.hosts.iter().enumerate() {
        let kept = Record::of(host, world.now).judge();
        kept.map_err(|broken| format!("host {}: {broken}\nit told {:#?}", host.name, world.told(nth)))?;
    }
    trace.check_ends(&mut world)?;
    for host in 0..world.hosts.len() {
        does_the_same_on_any_clock(&world, host, &world.hosts[host].conf)?;
    }
    Ok(world)
}

/// How often something came about, and in how many lists.
type Seen = BTreeMap<&'static str, (usize, usize)>;

/// Counts what came about; and tells after each million how many events the machine has taken.
fn count(world: &World, seen: &mut Seen) {
    const MILLION: usize = 1_000_000;
    let mut list: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (_, action) in world.hosts.iter().flat_map(|host| host.actions()) {
        let what = match action {
            Action::Notify(notice) => notice.kind.as_str(),
            Action::Log(Remark::ShuttingDown { reason: Reason::Ordered }) => "decisions by order",
            Action::Log(Remark::ShuttingDown { .. }) => "decisions for too few supplies",
            Action::Log(Remark::Failed { .. } | Remark::ParentUnreachable | Remark::ParentLost) => {
                "failed shutdowns"
            }
            Action::Log(Remark::HostSyncExpired) => "waits that expired",
            Action::Log(Remark::Slept { .. }) => "sleeps noticed",
            Action::Log(Remark::Condemned { cause, .. }) => match cause {
                watch::Cause::Forced => "UPSes lost: forced",
                watch::Cause::BatteryLow { .. } => "UPSes lost: low battery",
                watch::Cause::SilentOnBattery { .. } => "UPSes lost: silent on battery",
                watch::Cause::Off { .. } => "UPSes lost: off",
                watch::Cause::SilentInOverload { .. } => "UPSes lost: silent in overload",
            },
            Action::Log(Remark::Absolved { .. }) => "UPSes that count again",
            Action::Log(Remark::GivingUp { .. }) => "primaries given up",
            Action::Log(Remark::Watch { note: watch::Note::LowWhileCalibrating, .. }) => {
                "low batteries excused"
            }
            Action::Log(Remark::Watch { note: watch::Note::LowIsBorne { .. }, .. }) => "low batteries borne",
            Action::LetSleep => "sleeps announced",
            Action::Log(Remark::ReloadImpossible { .. } | Remark::ReloadFailed { .. }) => "reloads refused",
            Action::Adopt(_) => "reloads followed",
            Action::ToParent(ToParent::ShutDown) => "commands",
            Action::LogOutAndExit => "exits by order",
            _ => continue,
        };
        *list.entry(what).or_default() += 1;
    }
    for host in &world.hosts {
        list.entry("events").and_modify(|events| *events += host.trace.len()).or_insert(host.trace.len());
        for what in standstills(host) {
            *list.entry(what).or_default() += 1;
        }
    }
    let before = seen.get("events").map_or(0, |(events, _)| *events);
    for (what, times) in list {
        let (all, lists) = seen.entry(what).or_default();
        (*all, *lists) = (*all + times, *lists + 1);
    }
    let events = seen["events"].0;
    if before / MILLION != events / MILLION {
        eprintln!("{} million events taken", events / MILLION);
    }
}

/// What is special about the times in which a host did not run.
fn standstills(host: &Host) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut out = BTreeMap::new();
    let mut done = 0;
    let long: Vec<_> =
        host.absent.iter().filter(|(from, to)| to.since(*from) > Duration::from_secs(6)).collect();
    let pairs = long.windows(2).filter(|pair| pair[1].0.since(pair[0].1) < Duration::from_secs(15));
    found.extend(pairs.map(|_| "standstills soon after another"));
    for ((at, event), end) in host.trace.iter().zip(&host.done) {
        if let Event::Server(ups, Report::Polled(_) | Report::PollFailed(_)) = event
            && let Some(asked) = out.remove(ups)
            && long.iter().any(|(from, to)| asked <= *from && *to <= *at)
        {
            found.push("answers from before a standstill");
        }
        let actions = host.actions().get(done..*end).unwrap_or_default();
        done = *end;
        for (_, action) in actions {
            match action {
                Action::Ask(ups, Order::Poll { .. }) => drop(out.insert(*ups, *at)),
                Action::Log(Remark::ShuttingDown { reason: Reason::TooFewSupplies { .. } })
                    if long.iter().any(|(_, to)| *to <= *at && at.since(*to) < Duration::from_secs(5)) =>
                {
                    found.push("decisions right behind a standstill");
                }
                _ => {}
            }
        }
    }
    found
}

/// Looks for a list for which this does not hold, and shrinks it.
fn search(
    cases: u32,
    seed: u64,
    holds: impl Fn(&Trace) -> Result<(), String>,
) -> Result<(), (String, Box<Trace>)> {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    };
    let found = TestRunner::new(config).run(&traces(), |trace| holds(&trace).map_err(TestCaseError::fail));
    match found {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, trace)) => Err((reason.message().to_owned(), Box::new(trace))),
        Err(TestError::Abort(reason)) => panic!("no lists: {reason}"),
    }
}

/// Stores a list that was found, under a name that its content gives; a list found twice is one file.
fn store(folder: &Path, reason: &str, trace: &Trace) -> std::io::Result<PathBuf> {
    let mut trace = trace.clone();
    let first = reason.lines().next().unwrap_or_default();
    trace.about = vec!["Found among random lists, and shrunk. It broke this:".to_owned(), first.to_owned()];
    let text = trace.to_string();
    // FNV-1a: the same on every machine and in every version.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("found-{hash:016x}.trace"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// The folder of the stored lists.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/traces")
}

#[test]
fn whatever_happens_all_promises_are_kept() {
    let number = |name| std::env::var(name).ok().map(|text: String| text.trim().to_owned());
    let cases = number("PROPTEST_CASES").map_or(CASES, |text| text.parse().expect("a number"));
    let seed = match number("PROPTEST_RNG_SEED").map_or(1, |text| text.parse().expect("a number")) {
        0 => RandomState::new().hash_one(0),
        seed => seed,
    };
    eprintln!("{cases} lists, PROPTEST_RNG_SEED={seed}");
    let seen = RefCell::new(BTreeMap::new());
    let found = search(cases, seed, |trace| {
        let world = plays_well(trace)?;
        count(&world, &mut seen.borrow_mut());
        Ok(())
    });
    if let Err((reason, trace)) = found {
        let stored = match store(&folder(), &reason, &trace) {
            Ok(path) => format!("the list is now {}: commit it with what mends it", path.display()),
            Err(error) => {
                format!("the list could not be stored ({error}); put it into tests/traces:\n{trace}")
            }
        };
        panic!("{reason}\n\nPROPTEST_RNG_SEED={seed}; {stored}");
    }
    let seen = seen.into_inner();
    let share = |lists: usize| lists * 1000 / usize::try_from(cases.max(1)).expect("it is as large as a u32");
    let all = seen.iter().map(|(what, (times, lists))| {
        let share = share(*lists);
        format!("{times} {what} (in {}.{} % of the lists)", share / 10, share % 10)
    });
    eprintln!("{}", all.collect::<Vec<_>>().join("\n"));
    // Nothing is kept by never coming about.
    let ours = NoticeKind::ALL.map(|kind| kind.as_str()).into_iter();
    let ways = [
        "decisions for too few supplies",
        "decisions by order",
        "commands",
        "failed shutdowns",
        "waits that expired",
        "sleeps noticed",
        "sleeps announced",
        "reloads followed",
        "reloads refused",
        "exits by order",
        "UPSes lost: forced",
        "UPSes lost: low battery",
        "UPSes lost: silent on battery",
        "UPSes lost: off",
        "UPSes lost: silent in overload",
        "UPSes that count again",
        "primaries given up",
        "low batteries excused",
        "low batteries borne",
        "standstills soon after another",
        "answers from before a standstill",
        "decisions right behind a standstill",
    ];
    let missing: Vec<&str> = ours.chain(ways).filter(|what| !seen.contains_key(what)).collect();
    assert!(missing.is_empty() || cases < CASES, "the lists never led to {missing:?}");
}

/// Finding, shrinking and storing work: here is something that does not hold.
#[test]
fn a_list_that_breaks_a_promise_is_shrunk_and_stored_and_breaks_it_again() {
    let no_outage = |trace: &Trace| -> Result<(), String> {
        let world = trace.play()?;
        let told = world.told(0).into_iter().find(|line| line.contains("ONBATT"));
        told.map_or(Ok(()), |line| Err(format!("mains never fail, it was said: {line}")))
    };
    let (reason, found) = search(100, 7, no_outage).unwrap_err();
    assert!(reason.starts_with("mains never fail"), "{reason}");
    // As little as can be: the set-up of five, one event (a list has one at least), and the outage, if that is not the one.
    let says_battery = |(_, what): &(Millis, Happening)| matches!(what, Happening::Ups(_, UpsDoes::Says(status)) if status.contains("OB"));
    assert!(found.happenings.len() <= 8, "{found}");
    assert_eq!(found.happenings.iter().position(says_battery), Some(found.happenings.len() - 1), "{found}");

    let private = std::env::temp_dir().join(format!("upsmon-traces-{}", std::process::id()));
    std::fs::create_dir(&private).unwrap();
    let path = store(&private, &reason, &found).unwrap();
    assert_eq!(store(&private, &reason, &found).unwrap(), path);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_dir_all(&private).unwrap();
    let read = Trace::parse(&text).unwrap();
    assert_eq!(read.about[1], reason.lines().next().unwrap());
    assert_eq!((&read.files, &read.happenings, read.end), (&found.files, &found.happenings, found.end));
    assert_eq!(no_outage(&read).unwrap_err(), reason);
    // And with what does hold it is a good list.
    keeps_all_promises(&read).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_list_written_is_a_list_read(trace in traces()) {
        prop_assert_eq!(Trace::parse(&trace.to_string()).unwrap(), trace);
    }

    /// A starved host, a stuttering virtual machine: no step comes when it is due.
    #[test]
    fn a_host_that_always_runs_late_stops_all_the_same(setup in setup(), late in 0.0f64..60.0, how in 0u8..4, hears_first in any::<bool>()) {
        let setup = setup.with_a_deciding();
        let text = setup.text(setup.min_supplies(), None, "pp");
        let (conf, _) = upsmon_conf::parse(nut_conf::Source { path: FIRST, text: text.as_bytes() });
        let mut world = World::new();
        UPSES.iter().for_each(|ups| world.set(ups, "OB"));
        let host = world.host(HOST, 0.0, conf);
        world.run_until(60.0);
        world.starve(host, late);
        if hears_first {
            world.hears_first(host);
        }
        match how {
            0 => UPSES.iter().for_each(|ups| world.set(ups, "OB LB")),
            1 => ["one", "two"].iter().for_each(|name| world.upsd(name, Upsd::Down)),
            2 => ["one", "two"].iter().for_each(|name| world.upsd(name, Upsd::Hung)),
            _ => ["one", "two"].iter().for_each(|name| world.upsd(name, Upsd::Mute)),
        }
        // The wait, drawn out by as few spans as `gaps` allows; and a dozen steps to notice, to force and to stop.
        let waits = 2 * (setup.dead_time + setup.borne + setup.host_sync) + 4 * setup.poll[0].max(setup.poll[1]) + 40;
        let waits = f64::from(u32::try_from(waits).unwrap());
        world.run_until(60.0 + waits + late * (waits / 15.0 + 14.0));
        let stopped = world.told(host).iter().any(|line| line.ends_with(" CMD"));
        prop_assert!(stopped, "{:?}\n{:#?}", world.told(host), world.logged(host));
    }
}

#[test]
fn moments_of_the_scenarios_are_what_they_say() {
    assert_eq!(moment(1.5), Moment::from_millis(1500));
}
