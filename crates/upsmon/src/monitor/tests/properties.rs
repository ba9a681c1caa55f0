//! What must hold whatever happens, over random lists of events. `PROPTEST_CASES` says how many.
//!
//! The long run, which tells after each million how many events the machine has taken:
//!
//! ```text
//! PROPTEST_CASES=20000 cargo test -p upsmon --lib properties -- --nocapture
//! ```

use super::world::{Upsd, moment};
use super::*;
use nut_proto::net::ErrCode;
use nut_proto::status::{Feed, Status, Word};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const UPSES: [&str; 3] = ["a@one", "b@two", "c@two"];

const SAYS: [&str; 16] = [
    "OL",
    "OB",
    "OB LB",
    "OL LB",
    "OB CAL",
    "OB LB CAL",
    "OL CAL",
    "OFF",
    "OL BYPASS",
    "FSD OL",
    "OL RB",
    "WAIT",
    "",
    "ALARM OB",
    "OL OVER",
    "OL FOO",
];

#[derive(Debug, Clone)]
enum Happens {
    Says(usize, usize),
    Refuses(usize),
    Server(bool, u8),
    Stopped(f64),
    Reload(u8),
    ReloadFails,
    Stranger(usize, usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        10 => (0..UPSES.len(), 0..SAYS.len()).prop_map(|(ups, says)| Happens::Says(ups, says)),
        2 => (0..UPSES.len()).prop_map(Happens::Refuses),
        3 => (any::<bool>(), 0u8..3).prop_map(|(first, state)| Happens::Server(first, state)),
        1 => (0.1f64..700.0).prop_map(Happens::Stopped),
        1 => (0u8..4).prop_map(Happens::Reload),
        1 => Just(Happens::ReloadFails),
        1 => (0..UPSES.len(), 0usize..2).prop_map(|(ups, count)| Happens::Stranger(ups, count)),
    ]
}

#[derive(Debug, Clone)]
struct Setup {
    /// Power value, and whether this host is primary.
    feeds: [(u32, bool); 3],
    min_supplies: u32,
    poll: u64,
    dead_time: u64,
    host_sync: u64,
    borne: u64,
    off: Option<u64>,
}

prop_compose! {
    fn setup()(
        feeds in prop::array::uniform3((0u32..3, any::<bool>())),
        share in 0u32..=100,
        poll in 1u64..6,
        dead_time in 3u64..20,
        host_sync in 3u64..20,
        borne in prop_oneof![3 => Just(0), 1 => 1u64..10],
        off in prop::option::of(0u64..20),
    ) -> Setup {
        let total: u32 = feeds.iter().map(|(value, _)| value).sum();
        Setup { feeds, min_supplies: total * share / 100, poll, dead_time, host_sync, borne, off }
    }
}

/// A host that needs power.
fn needy() -> impl Strategy<Value = Setup> {
    setup().prop_map(|mut setup| {
        setup.feeds[0].0 = setup.feeds[0].0.max(1);
        setup.min_supplies = setup.min_supplies.max(1);
        setup
    })
}

impl Setup {
    fn conf(&self) -> UpsmonConf {
        let secs = Duration::from_secs;
        let lines: Vec<_> = UPSES
            .iter()
            .zip(self.feeds)
            .map(|(ups, (value, primary))| {
                format!("{ups} {value} pri pp {}", if primary { "primary" } else { "secondary" })
            })
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        UpsmonConf {
            min_supplies: self.min_supplies,
            poll_frequency: secs(self.poll),
            poll_frequency_alert: secs(self.poll),
            dead_time: secs(self.dead_time),
            host_sync: secs(self.host_sync),
            low_battery_duration: secs(self.borne),
            off_duration: self.off.map(secs),
            ..fast(&lines)
        }
    }

    /// Longer than anything this host may wait for before it stops.
    fn longest(&self) -> f64 {
        let waits = self.dead_time + self.host_sync * 2 + self.borne + 3 * self.poll;
        f64::from(u32::try_from(waits).unwrap()) + 40.0
    }
}

/// Plays it, and gives the world and the time when the list was over.
fn play(setup: &Setup, list: &[(f64, Happens)]) -> (World, f64) {
    let mut world = World::new();
    for ups in UPSES {
        world.set(ups, "OL");
    }
    let conf = setup.conf();
    let host = world.host("host", 0.0, conf.clone());
    let mut at = 0.0;
    for (wait, what) in list.iter().cloned() {
        at += wait;
        let conf = conf.clone();
        world.at(at, move |world| match what {
            Happens::Says(ups, says) => world.set(UPSES[ups], SAYS[says]),
            Happens::Refuses(ups) => world.refuse(UPSES[ups], ErrCode::DataStale),
            Happens::Server(first, state) => {
                let state = [Upsd::Up, Upsd::Down, Upsd::Hung][usize::from(state)];
                world.upsd(if first { "one" } else { "two" }, state);
            }
            Happens::Stopped(secs) => world.freeze(host, secs),
            Happens::Reload(poll) => {
                let poll_frequency = Duration::from_secs(u64::from(poll));
                world.send(host, Event::Reload(Box::new(UpsmonConf { poll_frequency, ..conf })));
            }
            Happens::ReloadFails => world.send(host, Event::ReloadFailed { why: "broken".into() }),
            Happens::Stranger(ups, count) => world.strangers(UPSES[ups], count),
        });
    }
    world.run_until(at);
    count(world.hosts[0].trace.len());
    (world, at)
}

/// Counts what the machine has taken while lists were played; what a property lets happen behind its list comes on top.
fn count(events: usize) {
    const MILLION: usize = 1_000_000;
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    let before = TAKEN.fetch_add(events, Ordering::Relaxed);
    if before / MILLION != (before + events) / MILLION {
        eprintln!("{} million events taken", (before + events) / MILLION);
    }
}

/// What a bystander knows of a UPS who has heard every answer: written without a look at the machine.
#[derive(Default, Clone)]
struct Bystander {
    /// The last answer, if the last question was answered.
    fresh: Option<Status>,
    feed: Feed,
    forced: bool,
    off: bool,
}

impl Bystander {
    fn hears(&mut self, report: &Report) {
        match report {
            Report::Polled(heard) if !heard.status.is_empty() => {
                let status = &heard.status;
                if status.feed != Feed::Unsaid {
                    self.feed = status.feed;
                }
                self.forced = status.forced_shutdown();
                self.off = status.says(Word::Off);
                self.fresh = Some(status.clone());
            }
            Report::Polled(_) | Report::PollFailed(_) => self.fresh = None,
            _ => {}
        }
    }

    fn is_known_good(&self) -> bool {
        let Some(status) = &self.fresh else { return false };
        let low = self.feed == Feed::Battery && status.low_battery();
        !low && !status.forced_shutdown() && !status.says(Word::Off)
    }

    fn gives_a_reason(&self, off_counts: bool) -> bool {
        self.feed == Feed::Battery || self.forced || (self.off && off_counts)
    }
}

fn upses_at(world: &World, until: Moment) -> BTreeMap<u32, Bystander> {
    let mut upses: BTreeMap<u32, Bystander> = (0..3).map(|ups| (ups, Bystander::default())).collect();
    for (_, event) in world.hosts[0].trace.iter().take_while(|(at, _)| *at <= until) {
        if let Event::Server(UpsId(ups), report) = event {
            upses.get_mut(ups).unwrap().hears(report);
        }
    }
    upses
}

fn list() -> impl Strategy<Value = Vec<(f64, Happens)>> {
    prop::collection::vec((0.0f64..8.0, happens()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_host_stops_without_need(setup in setup(), list in list()) {
        let (world, _) = play(&setup, &list);
        let decided = world.actions(0).iter().find_map(|(at, action)| match action {
            Action::Log(Remark::ShuttingDown { reason }) => Some((*at, reason.clone())),
            _ => None,
        });
        if let Some((at, _)) = decided {
            let upses = upses_at(&world, at);
            let value = |ups: &u32| setup.feeds[usize::try_from(*ups).unwrap()].0;
            let good: u32 = upses.iter().filter(|(_, ups)| ups.is_known_good()).map(|(ups, _)| value(ups)).sum();
            prop_assert!(good < setup.min_supplies, "{good} supplies were known to be good");
            let is_reason = |(ups, one): (&u32, &Bystander)| value(ups) > 0 && one.gives_a_reason(setup.off.is_some());
            prop_assert!(upses.iter().any(is_reason), "nobody was on battery, forced or off");
        }
    }

    #[test]
    fn the_way_down_has_one_order_and_one_command(setup in setup(), list in list()) {
        let (mut world, end) = play(&setup, &list);
        world.send(0, Event::ForceShutdown { signal: 10 });
        world.run_until(end + setup.longest() + 700.0);
        let actions = world.actions(0);
        let all = |is: &dyn Fn(&Action) -> bool| -> Vec<usize> {
            actions.iter().enumerate().filter(|(_, (_, action))| is(action)).map(|(nth, _)| nth).collect()
        };
        let fsd = all(&|action| matches!(action, Action::Ask(_, Order::SetFsd)));
        let told = all(&|action| matches!(action, Action::Notify(notice) if notice.kind == NoticeKind::Shutdown));
        let command = all(&|action| *action == Action::ToParent(ToParent::ShutDown));
        prop_assert_eq!(fsd.len(), setup.feeds.iter().filter(|(_, primary)| *primary).count());
        prop_assert_eq!((told.len(), command.len()), (1, 1));
        prop_assert!(fsd.iter().all(|fsd| *fsd < told[0]) && told[0] < command[0]);
        let waited = actions[command[0]].0.since(actions[told[0]].0);
        prop_assert!(waited >= Duration::from_secs(1), "FINALDELAY was cut short: {waited:?}");
        prop_assert!(!world.is_running(0));
    }

    #[test]
    fn low_battery_on_what_decides_always_stops_the_host(setup in needy(), list in list()) {
        let (mut world, end) = play(&setup, &list);
        // From here on all that feeds this host is on battery with low battery.
        world.upsd("one", Upsd::Up);
        world.upsd("two", Upsd::Up);
        for ups in UPSES {
            world.set(ups, "OB LB");
        }
        world.run_until(end + 700.0 + setup.longest());
        prop_assert!(!world.is_running(0), "{:?}\n{:#?}", world.told(0), world.logged(0));
    }

    #[test]
    fn silence_after_battery_on_what_decides_always_stops_the_host(setup in needy(), list in list()) {
        let (mut world, end) = play(&setup, &list);
        world.upsd("one", Upsd::Up);
        world.upsd("two", Upsd::Up);
        for ups in UPSES {
            world.set(ups, "OB");
        }
        world.at(end + 750.0, |world| {
            world.upsd("one", Upsd::Down);
            world.upsd("two", Upsd::Hung);
        });
        world.run_until(end + 750.0 + 700.0 + setup.longest());
        prop_assert!(!world.is_running(0), "{:?}\n{:#?}", world.told(0), world.logged(0));
    }

    /// A starved host, a stuttering virtual machine: no step comes when it is due.
    #[test]
    fn a_host_that_always_runs_late_stops_all_the_same(setup in needy(), late in 0.0f64..60.0, how in 0u8..3) {
        let mut world = World::new();
        UPSES.iter().for_each(|ups| world.set(ups, "OB"));
        let host = world.host("host", 0.0, setup.conf());
        world.run_until(60.0);
        world.starve(host, late);
        match how {
            0 => UPSES.iter().for_each(|ups| world.set(ups, "OB LB")),
            1 => ["one", "two"].iter().for_each(|name| world.upsd(name, Upsd::Down)),
            _ => ["one", "two"].iter().for_each(|name| world.upsd(name, Upsd::Hung)),
        }
        // The wait, drawn out by as few spans as `gaps` allows; and a dozen steps to notice, to force and to stop.
        let waits = setup.longest() + f64::from(u32::try_from(setup.dead_time + setup.borne).unwrap());
        world.run_until(60.0 + waits + late * (waits / 15.0 + 14.0));
        prop_assert!(!world.is_running(host), "{:?}\n{:#?}", world.told(host), world.logged(host));
    }

    #[test]
    fn notices_are_neither_lost_nor_repeated(setup in setup(), list in list()) {
        let (mut world, end) = play(&Setup { min_supplies: 0, ..setup }, &list);
        // Everything settles.
        world.upsd("one", Upsd::Up);
        world.upsd("two", Upsd::Up);
        for ups in UPSES {
            world.set(ups, "OL BYPASS");
        }
        world.run_until(end + 750.0);
        for ups in UPSES {
            let kinds: Vec<NoticeKind> = world.actions(0).iter().filter_map(|(_, action)| match action {
                Action::Notify(notice) if notice.ups.as_deref() == Some(ups) => Some(notice.kind),
                _ => None,
            }).collect();
            let of = |wanted: [NoticeKind; 2]| -> Vec<NoticeKind> {
                kinds.iter().copied().filter(|kind| wanted.contains(kind)).collect()
            };
            use NoticeKind::*;
            for pair in [[OnBatt, Online], [CommBad, CommOk], [Cal, NotCal], [Off, NotOff], [Over, NotOver], [Bypass, NotBypass]] {
                let told = of(pair);
                for (nth, kind) in told.iter().enumerate() {
                    prop_assert_eq!(*kind, pair[nth % 2], "{}: {:?}", ups, told);
                }
                let ends_told = pair[0] == Bypass;
                prop_assert_eq!(told.len() % 2 == 1, ends_told, "{}: the last word on {} is missing", ups, pair[0]);
            }
        }
    }

    #[test]
    fn a_recorded_list_of_events_replays(setup in setup(), list in list()) {
        let (world, _) = play(&setup, &list);
        let mut again = Monitor::new(setup.conf(), Halves::Split);
        let replayed: Vec<_> = world.hosts[0]
            .trace
            .iter()
            .flat_map(|(at, event)| again.step(*at, event.clone()).into_iter().map(|action| (*at, action)).collect::<Vec<_>>())
            .collect();
        prop_assert_eq!(&replayed[..], world.actions(0));
    }
}

#[test]
fn moments_of_the_scenarios_are_what_they_say() {
    assert_eq!(moment(1.5), Moment::from_millis(1500));
}
