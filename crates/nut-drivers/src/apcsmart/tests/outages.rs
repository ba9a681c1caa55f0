//! A device that is lost for a second, a minute, ten minutes, in each way a cable knows, and comes back by itself.
//!
//! The driver within its core, in simulated time: what readers, the log and the line see of it.

use super::sim::Sim;
use crate::apcsmart::ApcSmart;
use crate::core::settings::Settings;
use crate::core::settings::tests::plain;
use crate::core::{Action, Core, Event, Purpose};
use crate::driver::Weight;
use nut_proto::Moment;
use nut_proto::device::{Change, Value};
use std::collections::BTreeMap;

/// How the device is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Silence,
    /// `NA` to everything, `Y` too.
    Na,
    /// Everything is answered by bytes from chance, all 256 of them.
    Garbage,
    /// The line gives bytes for ever, without an end.
    Flood,
    /// An I/O error on the open port, and no node to open until it is back.
    PortGone,
    /// The same, but the node can be opened all the time, and fails again at once.
    PortFlaps,
}

const LOSSES: [Loss; 6] =
    [Loss::Silence, Loss::Na, Loss::Garbage, Loss::Flood, Loss::PortGone, Loss::PortFlaps];

struct World {
    core: Core,
    sim: Sim,
    now: u64,
    wake: Option<u64>,
    arriving: BTreeMap<(u64, u64), Vec<u8>>,
    count: u64,
    busy_until: u64,
    loss: Option<Loss>,
    chance: u64,
    is_open: bool,
    /// Whatever was tried: bytes sent, and ports opened, with their moment.
    opens: Vec<u64>,
    sent: Vec<(u64, u8)>,
    /// How often the core was called.
    steps: u64,
    log: Vec<(u64, Weight, String)>,
    statuses: Vec<String>,
    /// Good or stale, and when.
    data: Vec<(u64, bool)>,
    exits: usize,
}

impl World {
    fn new() -> Self {
        let (driver, _) = ApcSmart::configure([]).unwrap();
        let settings = Settings { program: "apcsmart".into(), ..plain() };
        let mut world = Self {
            core: Core::new(Box::new(driver), settings, Purpose::Serve),
            sim: Sim::usual(),
            now: 1_000_000,
            wake: None,
            arriving: BTreeMap::new(),
            count: 0,
            busy_until: 0,
            loss: None,
            chance: 1,
            is_open: false,
            opens: Vec::new(),
            sent: Vec::new(),
            steps: 0,
            log: Vec::new(),
            statuses: Vec::new(),
            data: Vec::new(),
            exits: 0,
        };
        world.step(Event::Start);
        world.run(30_000);
        assert_eq!(world.data.last().map(|(_, good)| *good), Some(true));
        world.log.clear();
        world.data.clear();
        world.sent.clear();
        world.opens.clear();
        world.steps = 0;
        world
    }

    fn step(&mut self, event: Event<'_>) {
        self.steps += 1;
        let actions = self.core.step(Moment::from_millis(self.now), event);
        for action in actions {
            match action {
                Action::Open => {
                    self.opens.push(self.now);
                    let fails = matches!(self.loss, Some(Loss::PortGone));
                    self.is_open = !fails;
                    self.arriving.clear();
                    if fails {
                        self.step(Event::PortFailed { reason: "there is no such node".into() });
                    } else {
                        self.step(Event::PortOpened);
                        if self.loss == Some(Loss::PortFlaps) {
                            self.step(Event::PortLost { reason: "end of file".into() });
                        }
                    }
                }
                Action::Close => self.is_open = false,
                Action::Send(bytes) => bytes.into_iter().for_each(|byte| self.hear(byte)),
                Action::WakeAt(at) => {
                    self.wake = Some(u64::try_from(at.since_start().as_millis()).unwrap().max(self.now));
                }
                Action::DataOk => self.data.push((self.now, true)),
                Action::DataStale => self.data.push((self.now, false)),
                Action::Publish(Change::Info { name, value }) if name.is("ups.status") => {
                    self.statuses.push(value.as_str().to_owned());
                }
                Action::Tell(note) => self.log.push((self.now, note.weight, note.text)),
                Action::Exit(_) => self.exits += 1,
                _ => {}
            }
        }
    }

    fn hear(&mut self, byte: u8) {
        self.sent.push((self.now, byte));
        if !self.is_open {
            return;
        }
        match self.loss {
            Some(Loss::Silence | Loss::PortGone | Loss::PortFlaps | Loss::Flood) => {}
            Some(Loss::Na) => self.arrive(60, b"NA\r\n"),
            Some(Loss::Garbage) => {
                let length = 1 + self.random() % 12;
                let noise: Vec<u8> = (0..length)
                    .map(|_| u8::try_from(self.random() % 256).unwrap())
                    // A single byte is a whole alert, and told as such; what is inside noise is not.
                    .enumerate()
                    .map(|(at, byte)| if at == 0 { byte | 0x80 } else { byte })
                    .collect();
                self.arrive(50, &noise);
            }
            None => {
                for (delay, reply) in self.sim.hear(self.now, byte) {
                    self.busy_until = self.busy_until.max(self.now) + delay;
                    self.arrive(self.busy_until - self.now, &reply);
                }
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.chance >> 33
    }

    fn arrive(&mut self, delay: u64, bytes: &[u8]) {
        self.count += 1;
        self.arriving.insert((self.now + delay, self.count), bytes.to_vec());
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            if self.loss == Some(Loss::Flood) && self.arriving.is_empty() && self.is_open {
                self.arrive(20, b"\xaaxyz0123456789");
            }
            let arriving = self.arriving.keys().next().map(|(at, _)| *at);
            let Some(at) = [arriving, self.wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            if let Some(entry) = self.arriving.first_entry().filter(|entry| entry.key().0 <= at) {
                let bytes = entry.remove();
                if self.is_open {
                    self.step(Event::Received(&bytes));
                }
            } else {
                self.wake = None;
                self.step(Event::Tick);
            }
        }
        self.now = end;
    }

    fn lose(&mut self, loss: Loss) {
        self.loss = Some(loss);
        self.arriving.clear();
        if matches!(loss, Loss::PortGone | Loss::PortFlaps) {
            self.step(Event::PortLost { reason: "input/output error: unplugged?".into() });
        }
    }

    fn give_back(&mut self) {
        self.loss = None;
        self.arriving.clear();
        self.busy_until = self.now;
        // A unit nobody has talked to falls back.
        self.sim.is_smart = false;
    }

    fn value(&self, name: &str) -> &str {
        self.core.device().get(name).map_or("", Value::as_str)
    }

    fn told(&self, text: &str) -> usize {
        self.log.iter().filter(|(_, _, line)| line.contains(text)).count()
    }

    /// All lines that are not for those who debug.
    fn lines(&self) -> Vec<&str> {
        let seen = self.log.iter().filter(|(_, weight, _)| *weight != Weight::Debug);
        seen.map(|(_, _, text)| text.as_str()).collect()
    }
}

#[test]
fn a_device_lost_in_any_way_for_any_time_comes_back_by_itself() {
    for loss in LOSSES {
        for seconds in [1, 60, 600] {
            let case = format!("{loss:?} for {seconds} s");
            let mut world = World::new();
            world.lose(loss);
            world.run(seconds * 1_000);
            if seconds > 1 {
                let since = world.data.first().map(|(at, good)| (*at, *good));
                let (at, good) = since.unwrap_or_else(|| panic!("{case}: it is never stale"));
                // A poll may be two seconds away, then come the missed answers: 3 s, and 1.5 s for Y.
                assert!(!good && at - 1_030_000 <= 15_000, "{case}: stale after {} ms", at - 1_030_000);
                assert_eq!(world.data.len(), 1, "{case}: {:?}", world.data);
                assert_eq!(world.value("driver.state"), "reconnect.trying", "{case}");
                assert!(!world.value("driver.lasterror").is_empty(), "{case}");
            }
            let tries: Vec<u64> = match loss {
                Loss::PortGone | Loss::PortFlaps => world.opens.clone(),
                _ => world.sent.iter().filter(|(_, byte)| *byte == b'Y').map(|(at, _)| *at).collect(),
            };
            // In the questions that make the data stale a Y belongs to each; from then on it is one try a second.
            let stale = world.data.first().map_or(u64::MAX, |(at, _)| *at);
            let tries: Vec<u64> = tries.into_iter().filter(|at| *at > stale).collect();
            assert!(tries.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{case}: {tries:?}");
            assert!(seconds == 1 || !tries.is_empty(), "{case}");
            // Nothing spins: a step for each byte and wake-up, some hundred a second at the most in a flood.
            let most = if loss == Loss::Flood { 70 } else { 20 } * (seconds + 1);
            assert!(world.steps <= most, "{case}: {} steps", world.steps);

            world.give_back();
            let back = world.now;
            world.run(10_000);
            assert!(world.data.last().is_none_or(|(_, good)| *good), "{case}: {:?}", world.log);
            assert!(world.data.last().is_none_or(|(at, _)| at - back <= 10_000), "{case}");
            world.run(20_000);
            assert!(world.data.len() <= 2, "{case}: {:?}", world.data);
            assert_eq!(world.value("driver.state"), "quiet", "{case}");
            assert_eq!(world.value("ups.status"), "OL", "{case}");
            assert_eq!(world.exits, 0, "{case}");
            assert_eq!(world.statuses, ["OL"], "{case}: no status comes of it");
            // One line when it goes, one when it is back, and for a missing node the reason why.
            let changes = world.data.len();
            assert_eq!(world.told("Communications with UPS"), changes, "{case}: {:?}", world.lines());
            let reasons = usize::from(loss == Loss::PortGone);
            assert!(world.lines().len() <= changes + reasons, "{case}: {:?}", world.lines());
        }
    }
}

#[test]
fn the_last_error_is_the_true_one() {
    let mut world = World::new();
    world.lose(Loss::PortGone);
    assert_eq!(world.value("driver.lasterror"), "the port is gone (input/output error: unplugged?)");
    world.run(5_000);
    assert_eq!(world.value("driver.lasterror"), "there is no such node");
    let mut world = World::new();
    world.lose(Loss::Silence);
    world.run(30_000);
    assert!(
        world.value("driver.lasterror").contains("is not answered"),
        "{}",
        world.value("driver.lasterror")
    );
}

/// A minute of trouble each, a minute of peace between: what one loss leaves behind does not spoil the next.
#[test]
fn one_loss_after_the_other() {
    let mut world = World::new();
    for loss in LOSSES.into_iter().cycle().take(18) {
        world.lose(loss);
        world.run(60_000);
        assert_eq!(world.data.last().map(|(_, good)| *good), Some(false), "{loss:?}");
        world.give_back();
        world.run(60_000);
        assert_eq!(world.data.last().map(|(_, good)| *good), Some(true), "{loss:?}");
    }
    assert_eq!(world.data.len(), 36);
    assert_eq!(world.statuses, ["OL"]);
}

#[test]
fn a_unit_that_changed_its_state_while_it_was_lost_tells_the_new_one_first() {
    for loss in LOSSES {
        let mut world = World::new();
        world.lose(loss);
        world.run(30_000);
        world.sim.status = 0x50;
        world.give_back();
        world.run(10_000);
        assert_eq!(world.statuses, ["OL", "OB LB"], "{loss:?}");
        assert_eq!(world.data.len(), 2, "{loss:?}: the status is told before the data are good");
    }
}
