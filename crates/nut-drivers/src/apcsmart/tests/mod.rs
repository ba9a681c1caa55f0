//! The whole driver against a small unit of its own, in simulated time.
//!
//! [`sim`] answers as the device profiles say; [`Rig`] wires the two together and keeps a record.

mod faults;
mod manual;
mod orders;
mod outages;
mod profiles;
mod properties;
mod shutdown;
mod sim;
mod talk;

use super::ApcSmart;
use super::power::words;
use crate::driver::{Action, Driver, Event, Note, Order, OrderId, Weight};
use nut_proto::Moment;
use nut_proto::device::{Change, Device, Value};
use nut_proto::driver::{Judgement, encode_change};
use sim::Sim;
use std::collections::BTreeMap;
use std::time::Duration;

/// The driver, a unit, the line between them, and all that happened.
struct Rig {
    driver: ApcSmart,
    sim: Sim,
    /// Milliseconds.
    now: u64,
    wake: Option<u64>,
    /// What is on the line towards the driver, by arrival.
    arriving: BTreeMap<(u64, u64), Vec<u8>>,
    arrivals: u64,
    busy_until: u64,
    sent: Vec<(u64, u8)>,
    seen: Vec<(u64, Action)>,
    device: Device,
    next_order: u64,
    /// Whether an update is sent whenever the last one has ended, at this pace.
    poll_every: Option<u64>,
    next_update: Option<u64>,
}

impl Rig {
    fn new(sim: Sim, options: &[(&str, &str)]) -> Self {
        let options = options.iter().map(|(name, value)| (*name, Some(*value)));
        let (driver, _) = ApcSmart::configure(options).expect("the options are good");
        Self {
            driver,
            sim,
            now: 1_000_000,
            wake: None,
            arriving: BTreeMap::new(),
            arrivals: 0,
            busy_until: 0,
            sent: Vec::new(),
            seen: Vec::new(),
            device: Device::default(),
            next_order: 0,
            poll_every: None,
            next_update: None,
        }
    }

    /// One that has had its first update, with its record empty.
    fn ready(sim: Sim, options: &[(&str, &str)]) -> Self {
        let mut rig = Self::new(sim, options);
        rig.start();
        rig.forget();
        rig
    }

    /// From the open port to the end of the first update.
    fn start(&mut self) {
        self.step(Event::Opened);
        self.run_until_seen(60_000, |action| *action == Action::Ready);
        self.update();
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.seen.clear();
        self.sim.deeds.clear();
    }

    fn moment(&self) -> Moment {
        Moment::from_millis(self.now)
    }

    fn step(&mut self, event: Event<'_>) {
        if event == Event::Update {
            self.next_update = None;
        }
        if event == Event::Opened {
            // A port that is opened is empty.
            self.arriving.clear();
        }
        let actions = self.driver.step(self.moment(), event);
        for action in actions {
            match &action {
                Action::Send(bytes) => {
                    for byte in bytes {
                        self.sent.push((self.now, *byte));
                        for (delay, reply) in self.sim.hear(self.now, *byte) {
                            // A unit does one thing after the other.
                            self.busy_until = self.busy_until.max(self.now) + delay;
                            self.arrive(self.busy_until - self.now, &reply);
                        }
                    }
                    continue;
                }
                Action::WakeAt(moment) => {
                    let at = u64::try_from(moment.since_start().as_millis()).unwrap();
                    assert!(*moment >= self.moment(), "woken in the past");
                    self.wake = Some(at);
                    continue;
                }
                Action::Change(change) => {
                    // The core refuses attributes of what is not there; here nobody may try.
                    self.device.apply(change).expect("every change applies");
                }
                Action::Updated => self.next_update = self.poll_every.map(|every| self.now + every),
                _ => {}
            }
            self.seen.push((self.now, action));
        }
    }

    /// Puts bytes on the line towards the driver.
    fn arrive(&mut self, delay: u64, bytes: &[u8]) {
        self.arrivals += 1;
        self.arriving.insert((self.now + delay, self.arrivals), bytes.to_vec());
    }

    fn next_thing(&self) -> Option<u64> {
        let arriving = self.arriving.keys().next().map(|(at, _)| *at);
        [arriving, self.wake, self.next_update].into_iter().flatten().min()
    }

    fn do_next(&mut self, at: u64) {
        self.now = at.max(self.now);
        if let Some(entry) = self.arriving.first_entry().filter(|entry| entry.key().0 <= at) {
            let bytes = entry.remove();
            self.step(Event::Received(&bytes));
        } else if self.next_update.is_some_and(|update| update <= at) {
            self.step(Event::Update);
        } else {
            self.wake = None;
            self.step(Event::Tick);
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(at) = self.next_thing().filter(|at| *at <= end) {
            self.do_next(at);
        }
        self.now = end;
    }

    /// Runs until something is seen; gives how many milliseconds that took.
    fn run_until_seen(&mut self, limit: u64, is_it: impl Fn(&Action) -> bool) -> u64 {
        let (begin, from) = (self.now, self.seen.len());
        while !self.seen[from..].iter().any(|(_, action)| is_it(action)) {
            let next = self.next_thing().filter(|at| *at <= begin + limit);
            let Some(at) = next else {
                panic!("not seen within {limit} ms; sent {:?}, seen {:#?}", self.wire(), self.seen);
            };
            self.do_next(at);
        }
        self.now - begin
    }

    /// One update from begin to end.
    fn update(&mut self) {
        self.step_until(Event::Update, |action| *action == Action::Updated);
    }

    /// Hands over an event and runs until what ends it is seen, in the same step or later.
    fn step_until(&mut self, event: Event<'_>, is_it: impl Fn(&Action) -> bool) {
        let from = self.seen.len();
        self.step(event);
        if !self.seen[from..].iter().any(|(_, action)| is_it(action)) {
            self.run_until_seen(120_000, is_it);
        }
    }

    /// The bytes sent, as text, control bytes as `^A`.
    fn wire(&self) -> String {
        self.sent.iter().map(|(_, byte)| super::protocol::shown(&[*byte])).collect::<Vec<_>>().join(" ")
    }

    /// The bytes sent and when, in milliseconds after the first.
    fn trace(&self) -> String {
        let begin = self.sent.first().map_or(0, |(at, _)| *at);
        let one = |(at, byte): &(u64, u8)| format!("{}@{}", super::protocol::shown(&[*byte]), at - begin);
        self.sent.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    /// `ups.status` as reported, each time, with the moment.
    fn reports(&self) -> Vec<(u64, String)> {
        let of = |action: &Action| match action {
            Action::Report(reading) => {
                Some(reading.words.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        };
        self.seen.iter().filter_map(|(at, action)| Some((*at, of(action)?))).collect()
    }

    /// The statuses reported, without repetitions.
    fn statuses(&self) -> Vec<String> {
        let mut all: Vec<String> = self.reports().into_iter().map(|(_, status)| status).collect();
        all.dedup();
        all
    }

    fn count(&self, is_it: impl Fn(&Action) -> bool) -> usize {
        self.seen.iter().filter(|(_, action)| is_it(action)).count()
    }

    fn changes(&self) -> Vec<String> {
        let of = |action: &Action| match action {
            Action::Change(change) => Some(line(change)),
            _ => None,
        };
        self.seen.iter().filter_map(|(_, action)| of(action)).collect()
    }

    fn stale_reasons(&self) -> Vec<String> {
        let of = |action: &Action| match action {
            Action::DataStale { reason } => Some(reason.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(|(_, action)| of(action)).collect()
    }

    fn told(&self, weight: Weight) -> Vec<String> {
        let of = |action: &Action| match action {
            Action::Tell(Note { weight: one, text }) if *one == weight => Some(text.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(|(_, action)| of(action)).collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.device.get(name).map(Value::as_str)
    }

    /// An order from begin to end: how it was judged, and how long it took.
    fn order(&mut self, order: Order) -> (Judgement, u64) {
        self.next_order += 1;
        let id = OrderId(self.next_order);
        let begin = self.now;
        self.step(Event::Order(id, order));
        let done = |action: &Action| match action {
            Action::Done(one, judgement) if *one == id => Some(*judgement),
            _ => None,
        };
        let seen = |rig: &Self| rig.seen.iter().find_map(|(_, action)| done(action));
        if seen(self).is_none() {
            self.run_until_seen(120_000, |action| done(action).is_some());
        }
        (seen(self).expect("it was seen"), self.now - begin)
    }

    fn command(&mut self, name: &str, param: Option<&str>) -> (Judgement, u64) {
        self.order(Order::Command { name: name.parse().unwrap(), param: param.map(Box::from) })
    }

    fn set(&mut self, name: &str, value: &str) -> (Judgement, u64) {
        self.order(Order::Set { name: name.parse().unwrap(), value: Value::new(value) })
    }

    /// A shutdown from begin to end.
    fn shut_down(&mut self) -> Result<(), String> {
        self.step_until(Event::ShutDown, |action| matches!(action, Action::ShutDownEnded(_)));
        let ended = self.seen.iter().find_map(|(_, action)| match action {
            Action::ShutDownEnded(result) => Some(result.clone()),
            _ => None,
        });
        ended.expect("it was seen")
    }
}

fn line(change: &Change) -> String {
    let mut line = Vec::new();
    encode_change(change, &mut line);
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

fn said(status: u8) -> String {
    words(status).iter().map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
