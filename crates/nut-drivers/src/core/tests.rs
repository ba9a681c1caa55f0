//! The core around a driver that does as it is told: scenarios without port, clock and readers.

use super::settings::tests::plain;
use super::settings::{Settings, ShutdownStep};
use super::*;
use crate::driver::About;
use nut_proto::device::Flags;
use nut_proto::names::VarName;
use nut_proto::status::Word;
use std::cell::RefCell;
use std::rc::Rc;

const ABOUT: About = About { name: "testdriver", title: "Test", version: "1.0", options: &[] };

type Reactions = Vec<(&'static str, Vec<DriverAction>)>;

/// A driver that reacts by a list: the first entry for an event is used up, the last one stays.
struct Puppet {
    reactions: Rc<RefCell<Reactions>>,
    heard: Rc<RefCell<Vec<String>>>,
}

impl Driver for Puppet {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, _now: Moment, event: DriverEvent<'_>) -> Vec<DriverAction> {
        let (name, shown) = match &event {
            DriverEvent::Opened => ("opened", "opened".to_owned()),
            DriverEvent::Received(bytes) => {
                ("received", format!("received {}", String::from_utf8_lossy(bytes)))
            }
            DriverEvent::Lost => ("lost", "lost".to_owned()),
            DriverEvent::Tick => ("tick", "tick".to_owned()),
            DriverEvent::Update => ("update", "update".to_owned()),
            DriverEvent::Order(id, Order::Command { name, .. }) if id.is_shutdown() => {
                ("step", format!("step {name}"))
            }
            DriverEvent::Order(_, Order::Command { name, .. }) => ("order", format!("order {name}")),
            DriverEvent::Order(_, Order::Set { name, value }) => ("order", format!("set {name} {value}")),
            DriverEvent::ShutDown => ("shutdown", "shutdown".to_owned()),
            DriverEvent::Leave => ("leave", "leave".to_owned()),
        };
        self.heard.borrow_mut().push(shown);
        let mut reactions = self.reactions.borrow_mut();
        let Some(at) = reactions.iter().position(|(one, _)| *one == name) else { return Vec::new() };
        let again = reactions.iter().skip(at + 1).any(|(one, _)| *one == name);
        if again { reactions.remove(at).1 } else { reactions[at].1.clone() }
    }
}

struct Scenario {
    core: Core,
    reactions: Rc<RefCell<Reactions>>,
    heard: Rc<RefCell<Vec<String>>>,
    wake: Option<Moment>,
    now: Moment,
}

fn info(name: &str, value: &str) -> DriverAction {
    DriverAction::Change(Change::Info { name: name.parse().unwrap(), value: value.into() })
}

fn words(words: &[Word]) -> DriverAction {
    DriverAction::Report(Reading { words: words.to_vec(), ..Reading::default() })
}

fn alarmed(words: &[Word], alarm: &str) -> DriverAction {
    DriverAction::Report(Reading { words: words.to_vec(), alarms: vec![alarm.into()], ..Reading::default() })
}

fn command(name: &str) -> Order {
    Order::Command { name: name.parse().unwrap(), param: None }
}

fn set(name: &str, value: &str) -> Order {
    Order::Set { name: name.parse().unwrap(), value: value.into() }
}

impl Scenario {
    /// A driver that answers at once and is content.
    fn new(settings: Settings, purpose: Purpose) -> Self {
        let reactions: Rc<RefCell<Reactions>> = Rc::new(RefCell::new(vec![
            (
                "opened",
                vec![info("ups.model", "X"), words(&[Word::Ol]), DriverAction::DataOk, DriverAction::Ready],
            ),
            ("update", vec![DriverAction::Updated]),
            ("leave", vec![DriverAction::Farewell]),
        ]));
        let heard = Rc::default();
        let puppet = Puppet { reactions: Rc::clone(&reactions), heard: Rc::clone(&heard) };
        let core = Core::new(Box::new(puppet), settings, purpose);
        Self { core, reactions, heard, wake: None, now: Moment::from_secs(0) }
    }

    /// One that serves already.
    fn serving() -> Self {
        let mut scenario = Self::new(plain(), Purpose::Serve);
        scenario.start();
        scenario
    }

    fn start(&mut self) -> Vec<String> {
        let mut seen = self.at_ms(0, Event::Start);
        seen.extend(self.at_ms(0, Event::PortOpened));
        self.heard.borrow_mut().clear();
        seen
    }

    /// Replaces all reactions to an event.
    fn reacts(&mut self, event: &'static str, actions: Vec<DriverAction>) {
        self.reactions.borrow_mut().retain(|(one, _)| *one != event);
        self.reactions.borrow_mut().push((event, actions));
    }

    fn at(&mut self, secs: u64, event: Event<'_>) -> Vec<String> {
        self.at_ms(secs * 1000, event)
    }

    fn at_ms(&mut self, millis: u64, event: Event<'_>) -> Vec<String> {
        self.now = Moment::from_millis(millis);
        let actions = self.core.step(self.now, event);
        actions.into_iter().filter_map(|action| self.show(action)).collect()
    }

    /// Actions as short words; wake-ups are kept aside.
    fn show(&mut self, action: Action) -> Option<String> {
        Some(match action {
            Action::WakeAt(moment) => {
                self.wake = Some(moment);
                return None;
            }
            Action::Publish(Change::Info { name, value }) => format!("{name}={value}"),
            Action::Publish(Change::NoInfo { name }) => format!("-{name}"),
            Action::Publish(other) => format!("{other:?}"),
            Action::Done(id, judgement) => format!("done {} {judgement:?}", id.0),
            Action::Tell(note) => format!("{:?}: {}", note.weight, note.text),
            Action::Exit(exit) => format!("exit {} {}", exit.code, exit.text.unwrap_or_default()),
            Action::Send(bytes) => format!("send {}", String::from_utf8_lossy(&bytes)),
            other => format!("{other:?}"),
        })
    }

    fn heard(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.heard.borrow_mut())
    }

    fn wake_secs(&self) -> f64 {
        self.wake.unwrap().since_start().as_secs_f64()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.core.device().get(name).map(|value| value.as_str())
    }
}

// --- Start ------------------------------------------------------------------------------------------------------

#[test]
fn readers_come_only_after_the_first_complete_update() {
    let mut scenario = Scenario::new(plain(), Purpose::Serve);
    scenario.reacts("update", vec![]);
    assert_eq!(scenario.at(0, Event::Start), ["driver.state=init.device", "Open"]);
    let seen = scenario.at(1, Event::PortOpened);
    assert!(!seen.contains(&"Serve".to_owned()), "{seen:?}");
    assert_eq!(scenario.heard(), ["opened", "update"]);
    scenario.reacts("received", vec![info("battery.charge", "90"), DriverAction::Updated]);
    let seen = scenario.at(2, Event::Received(b"x"));
    assert_eq!(seen, ["battery.charge=90", "driver.state=quiet", "Serve"]);
}

#[test]
fn every_driver_has_the_common_variables() {
    let mut scenario = Scenario::new(
        Settings {
            defaults: vec![("battery.charge".parse().unwrap(), "50".into())],
            overrides: vec![("ups.model".parse().unwrap(), "Mine".into())],
            ..plain()
        },
        Purpose::Serve,
    );
    scenario.start();
    for (name, value) in [
        ("driver.name", "testdriver"),
        ("driver.version", "2.8.4"),
        ("driver.version.internal", "1.0"),
        ("driver.parameter.port", "/dev/ttyS0"),
        ("driver.parameter.pollinterval", "2"),
        ("driver.parameter.synchronous", "auto"),
        ("driver.debug", "0"),
        ("driver.flag.allow_killpower", "0"),
        ("driver.state", "quiet"),
        ("device.type", "ups"),
        ("device.model", "Mine"),
        ("ups.model", "Mine"),
        ("ups.status", "OL"),
        ("battery.charge", "50"),
    ] {
        assert_eq!(scenario.get(name), Some(value), "{name}");
    }
    let flags = |name: &str| scenario.core.device().variable(name).unwrap().flags();
    assert_eq!(flags("driver.debug"), Flags::WRITABLE_NUMBER);
    assert_eq!(flags("driver.flag.allow_killpower"), Flags::WRITABLE_NUMBER);
    let commands: Vec<&str> = scenario.core.device().commands().iter().map(|name| name.as_str()).collect();
    let advertised = [
        "driver.killpower",
        "driver.reload",
        "driver.reload-or-error",
        "driver.reload-or-exit",
        "shutdown.default",
    ];
    assert_eq!(commands, advertised);
}

#[test]
fn what_goes_wrong_at_the_start_ends_the_process() {
    let mut scenario = Scenario::new(plain(), Purpose::Serve);
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, Event::PortFailed { reason: "no such node".into() });
    assert_eq!(seen, ["driver.state=cleanup.exit", "exit 1 no such node"]);
    assert_eq!(scenario.at(1, Event::Tick), Vec::<String>::new());

    let mut scenario = Scenario::new(plain(), Purpose::Serve);
    scenario.reacts(
        "opened",
        vec![DriverAction::GiveUp { reason: "the UPS is silent".into() }, DriverAction::Ready],
    );
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, Event::PortOpened);
    assert_eq!(seen.last().unwrap(), "exit 1 /dev/ttyS0: the UPS is silent");
    assert!(seen.contains(&"Close".to_owned()));
    assert_eq!(scenario.heard(), ["opened"]);

    let mut scenario = Scenario::new(plain(), Purpose::Serve);
    scenario.reacts("opened", vec![]);
    scenario.at(0, Event::Start);
    scenario.at(0, Event::PortOpened);
    let seen = scenario.at(1, Event::PortLost { reason: "end of file".into() });
    assert_eq!(seen.last().unwrap(), "exit 1 the port was lost at the start: end of file");
}

#[test]
fn ignorelb_without_anything_to_judge_by_is_refused() {
    let mut scenario = Scenario::new(Settings { ignore_lb: true, ..plain() }, Purpose::Serve);
    let seen = scenario.start();
    assert!(seen.last().unwrap().starts_with("exit 1 ignorelb is set, but"), "{seen:?}");
}

// --- Rhythm -----------------------------------------------------------------------------------------------------

#[test]
fn updates_go_from_start_to_start_and_never_overlap() {
    let mut scenario = Scenario::serving();
    assert_eq!(scenario.wake_secs(), 2.0);
    scenario.reacts("update", vec![]);
    scenario.at(2, Event::Tick);
    assert_eq!(scenario.heard(), ["update"]);
    // It takes 3 s: the one due at 4 s waits, and then follows at once.
    scenario.at(4, Event::Tick);
    assert_eq!(scenario.heard(), Vec::<String>::new());
    scenario.reacts("received", vec![DriverAction::Updated]);
    scenario.at(5, Event::Received(b"!"));
    assert_eq!(scenario.heard(), ["received !", "update"]);
    scenario.at_ms(5500, Event::Received(b"!"));
    assert_eq!(scenario.wake_secs(), 7.0);
}

#[test]
fn an_update_without_news_tells_readers_nothing() {
    let mut scenario = Scenario::serving();
    scenario.reacts("update", vec![info("ups.model", "x"), words(&[Word::Ol]), DriverAction::Updated]);
    assert_eq!(scenario.at(2, Event::Tick), Vec::<String>::new());
    assert_eq!(scenario.heard(), ["update"]);
}

#[test]
fn a_charge_that_rises_or_falls_adds_no_word_to_the_status() {
    let mut scenario = Scenario::serving();
    for (secs, charge) in [(2, "90"), (4, "89"), (6, "95")] {
        let update = vec![info("battery.charge", charge), words(&[Word::Ol]), DriverAction::Updated];
        scenario.reacts("update", update);
        assert_eq!(scenario.at(secs, Event::Tick), [format!("battery.charge={charge}")]);
        assert_eq!(scenario.get("ups.status"), Some("OL"));
    }
}

#[test]
fn a_change_between_updates_is_told_at_once() {
    let mut scenario = Scenario::serving();
    scenario.reacts("received", vec![words(&[Word::Ob]), DriverAction::Send(b"Q".to_vec())]);
    assert_eq!(scenario.at_ms(500, Event::Received(b"!")), ["send Q", "ups.status=OB"]);
    assert_eq!(scenario.at_ms(600, Event::Received(b"!")), ["send Q"]);
}

#[test]
fn the_driver_is_woken_when_it_asked_and_not_before() {
    let mut scenario = Scenario::serving();
    scenario.reacts("received", vec![DriverAction::WakeAt(Moment::from_millis(900))]);
    scenario.at_ms(500, Event::Received(b"x"));
    assert_eq!(scenario.wake_secs(), 0.9);
    scenario.heard();
    scenario.wake = None;
    // Too early: it is asked for again.
    scenario.at_ms(700, Event::Tick);
    assert_eq!((scenario.heard(), scenario.wake_secs()), (vec![], 0.9));
    scenario.at_ms(900, Event::Tick);
    assert_eq!((scenario.heard(), scenario.wake_secs()), (vec!["tick".to_owned()], 2.0));
}

#[test]
fn a_driver_that_answers_at_once_does_not_make_the_core_spin() {
    let mut settings = plain();
    settings.poll_interval = Duration::ZERO;
    let mut scenario = Scenario::new(settings, Purpose::Serve);
    scenario.start();
    scenario.at(10, Event::Tick);
    assert_eq!(scenario.heard(), ["update"]);
}

#[test]
fn a_dump_is_made_after_so_many_updates_without_waiting() {
    let mut scenario = Scenario::new(plain(), Purpose::Dump { updates: 2 });
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, Event::PortOpened);
    assert_eq!(scenario.heard(), ["opened", "update", "update", "update", "leave"]);
    let tail: Vec<&str> = seen.iter().map(String::as_str).filter(|s| !s.contains('=')).collect();
    assert_eq!(tail, ["DataOk", "Dump", "Close", "exit 0 "]);
}

// --- Status and identity ----------------------------------------------------------------------------------------

#[test]
fn alarms_come_and_go_with_the_status() {
    let mut scenario = Scenario::serving();
    scenario.reacts("received", vec![alarmed(&[Word::Ol], "Replace battery!")]);
    assert_eq!(scenario.at(1, Event::Received(b"#")), ["ups.alarm=Replace battery!", "ups.status=ALARM OL"]);
    scenario.reacts("received", vec![words(&[Word::Ol])]);
    assert_eq!(scenario.at(1, Event::Received(b"$")), ["-ups.alarm", "ups.status=OL"]);
}

#[test]
fn an_alarm_text_that_the_driver_set_by_itself_stays() {
    let mut scenario = Scenario::serving();
    scenario.reacts("received", vec![info("ups.alarm", "from a file"), words(&[Word::Ob])]);
    assert_eq!(scenario.at(1, Event::Received(b"x")), ["ups.alarm=from a file", "ups.status=OB"]);
    scenario.reacts("received", vec![words(&[Word::Ol])]);
    assert_eq!(scenario.at(1, Event::Received(b"x")), ["ups.status=OL"]);
}

#[test]
fn with_ignorelb_a_falling_charge_alone_makes_the_battery_low() {
    let settings = Settings {
        ignore_lb: true,
        overrides: vec![("battery.charge.low".parse().unwrap(), "30".into())],
        defaults: vec![("battery.charge".parse().unwrap(), "100".into())],
        ..plain()
    };
    let mut scenario = Scenario::new(settings, Purpose::Serve);
    scenario.start();
    scenario.reacts("received", vec![info("battery.charge", "29")]);
    assert_eq!(scenario.at(1, Event::Received(b"x")), ["battery.charge=29", "ups.status=OL LB"]);
    scenario.reacts("received", vec![info("battery.charge.low", "10"), words(&[Word::Ob, Word::Lb])]);
    assert_eq!(scenario.at(1, Event::Received(b"x")), ["ups.status=OB LB"]);
    scenario.reacts("received", vec![info("battery.charge", "30")]);
    assert_eq!(scenario.at(1, Event::Received(b"x")), ["battery.charge=30", "ups.status=OB"]);
}

#[test]
fn device_names_follow_the_ups_names() {
    let mut scenario = Scenario::serving();
    assert_eq!(scenario.get("device.model"), Some("X"));
    scenario.reacts("received", vec![info("ups.model", "Y \"quoted\"")]);
    assert_eq!(
        scenario.at(1, Event::Received(b"x")),
        ["ups.model=Y \"quoted\"", "device.model=Y \"quoted\""]
    );
    scenario.reacts("received", vec![info("device.model", "Own"), info("ups.model", "Z")]);
    scenario.at(1, Event::Received(b"x"));
    assert_eq!((scenario.get("device.model"), scenario.get("ups.model")), (Some("Own"), Some("Z")));
}

#[test]
fn an_override_stands_whatever_the_driver_says() {
    let settings = Settings { overrides: vec![("ups.model".parse().unwrap(), "Mine".into())], ..plain() };
    let mut scenario = Scenario::new(settings, Purpose::Serve);
    scenario.start();
    assert_eq!(scenario.get("ups.model"), Some("Mine"));
    assert_eq!(scenario.at(1, Event::Order(OrderId(1), set("ups.model", "Other"))), ["done 1 Invalid"]);
}

// --- Loss and return --------------------------------------------------------------------------------------------

#[test]
fn a_silent_device_is_told_once_and_its_return_too() {
    let mut scenario = Scenario::serving();
    let stale = DriverAction::DataStale { reason: "no answer to Q".into() };
    scenario.reacts("received", vec![stale.clone(), stale]);
    let seen = scenario.at(1, Event::Received(b"x"));
    assert_eq!(
        seen,
        [
            "driver.lasterror=no answer to Q",
            "DataStale",
            "Warning: Communications with UPS lost: no answer to Q",
            "driver.state=reconnect.trying"
        ]
    );
    assert!(!scenario.core.data_is_ok());
    scenario.reacts("received", vec![words(&[Word::Ob]), DriverAction::DataOk, DriverAction::DataOk]);
    let seen = scenario.at(1, Event::Received(b"x"));
    assert_eq!(
        seen,
        ["ups.status=OB", "DataOk", "Info: Communications with UPS re-established", "driver.state=quiet"]
    );
}

#[test]
fn a_lost_port_is_tried_again_and_again_but_not_too_often() {
    let mut scenario = Scenario::serving();
    let seen = scenario.at(10, Event::PortLost { reason: "input/output error".into() });
    assert_eq!(
        seen,
        [
            "Close",
            "driver.lasterror=the port is gone (input/output error)",
            "DataStale",
            "Warning: Communications with UPS lost: the port is gone (input/output error)",
            "driver.state=reconnect.trying",
            "driver.reconnect_count=1",
        ]
    );
    assert_eq!(scenario.heard(), ["lost"]);
    let (mut waits, mut told) = (Vec::new(), 0);
    for _ in 0..6 {
        let due = scenario.wake.unwrap();
        waits.push(due.since(scenario.now).as_secs());
        let millis = u64::try_from(due.since_start().as_millis()).unwrap();
        assert_eq!(scenario.at_ms(millis - 1, Event::Tick), Vec::<String>::new());
        assert_eq!(scenario.at_ms(millis, Event::Tick), ["Open"]);
        let seen = scenario.at_ms(millis, Event::PortFailed { reason: "gone".into() });
        told += seen.iter().filter(|line| line.starts_with("Warning")).count();
    }
    assert_eq!(waits, [1, 2, 4, 4, 4, 4]);
    assert_eq!(told, 1);

    // It comes back: the conversation begins anew, and the rhythm with it.
    let due = scenario.wake.unwrap();
    let millis = u64::try_from(due.since_start().as_millis()).unwrap();
    scenario.at_ms(millis, Event::Tick);
    let seen = scenario.at_ms(millis, Event::PortOpened);
    assert_eq!(
        seen,
        [
            "Debug: the port is open again",
            "DataOk",
            "Info: Communications with UPS re-established",
            "driver.state=quiet",
            "driver.state=reconnect.updateinfo",
            "driver.state=quiet",
        ]
    );
    assert_eq!(scenario.heard(), ["opened", "update"]);
}

#[test]
fn a_port_that_opens_and_is_lost_again_is_not_tried_in_a_tight_loop() {
    let mut scenario = Scenario::serving();
    scenario.reacts("opened", vec![]);
    let mut waits = Vec::new();
    scenario.at(10, Event::PortLost { reason: "x".into() });
    for _ in 0..4 {
        let due = scenario.wake.unwrap();
        waits.push(due.since(scenario.now).as_secs());
        let millis = u64::try_from(due.since_start().as_millis()).unwrap();
        scenario.at_ms(millis, Event::Tick);
        scenario.at_ms(millis, Event::PortOpened);
        scenario.at_ms(millis, Event::PortLost { reason: "x".into() });
    }
    assert_eq!(waits, [1, 2, 4, 4]);
}

#[test]
fn a_driver_may_have_the_port_opened_again() {
    let mut scenario = Scenario::serving();
    scenario.reacts(
        "received",
        vec![DriverAction::Reopen { reason: "garbage".into() }, DriverAction::Send(vec![1])],
    );
    let seen = scenario.at(1, Event::Received(b"x"));
    assert_eq!(
        seen,
        [
            "Debug: the port is closed and opened again: garbage",
            "Close",
            "driver.state=reconnect.trying",
            "driver.reconnect_count=1"
        ]
    );
    assert_eq!(scenario.at(2, Event::Tick), ["Open"]);
    scenario.heard();
    // Only now is the device out of reach.
    let seen = scenario.at(2, Event::PortFailed { reason: "gone".into() });
    assert!(seen.contains(&"DataStale".to_owned()), "{seen:?}");
    assert_eq!(scenario.heard(), ["lost"]);
}

#[test]
fn what_comes_from_a_port_that_is_gone_is_not_heard() {
    let mut scenario = Scenario::serving();
    scenario.at(1, Event::PortLost { reason: "x".into() });
    scenario.heard();
    assert_eq!(scenario.at(1, Event::Received(b"!")), Vec::<String>::new());
    assert_eq!(scenario.at(1, Event::PortLost { reason: "x".into() }), Vec::<String>::new());
    assert_eq!(scenario.heard(), Vec::<String>::new());
}

// --- Orders -----------------------------------------------------------------------------------------------------

#[test]
fn orders_go_to_the_driver_one_at_a_time_and_not_into_an_update() {
    let mut scenario = Scenario::serving();
    scenario.reacts("update", vec![]);
    scenario.at(2, Event::Tick);
    scenario.heard();
    scenario.at(2, Event::Order(OrderId(1), command("load.off")));
    scenario.at(2, Event::Order(OrderId(2), set("ups.id", "x")));
    assert_eq!(scenario.heard(), Vec::<String>::new());
    scenario.reacts("received", vec![DriverAction::Updated]);
    scenario.at(3, Event::Received(b"."));
    assert_eq!(scenario.heard(), ["received .", "order load.off"]);
    scenario
        .reacts("received", vec![info("ups.id", "y"), DriverAction::Done(OrderId(1), Judgement::Handled)]);
    assert_eq!(scenario.at(3, Event::Received(b".")), ["ups.id=y", "done 1 Handled"]);
    assert_eq!(scenario.heard(), ["received .", "set ups.id x"]);
    // No update begins while an order runs.
    scenario.at(9, Event::Tick);
    assert_eq!(scenario.heard(), Vec::<String>::new());
    scenario.reacts("received", vec![DriverAction::Done(OrderId(2), Judgement::Invalid)]);
    assert_eq!(scenario.at(9, Event::Received(b".")), ["done 2 Invalid"]);
    assert_eq!(scenario.heard(), ["received .", "update"]);
}

#[test]
fn the_status_is_told_before_the_end_of_the_order_that_changed_it() {
    let mut scenario = Scenario::serving();
    scenario.reacts(
        "order",
        vec![words(&[Word::Ol, Word::Off]), DriverAction::Done(OrderId(1), Judgement::Handled)],
    );
    let seen = scenario.at(1, Event::Order(OrderId(1), command("load.off")));
    assert_eq!(seen, ["ups.status=OL OFF", "done 1 Handled"]);
}

#[test]
fn an_order_without_end_is_judged_failed_and_the_next_one_has_its_turn() {
    let mut scenario = Scenario::serving();
    scenario.at(1, Event::Order(OrderId(1), command("a")));
    scenario.at(2, Event::Order(OrderId(2), command("b")));
    assert_eq!(scenario.wake_secs(), 121.0);
    let seen = scenario.at(121, Event::Tick);
    assert_eq!(seen, ["Warning: an order had no result within its time", "done 1 Failed"]);
    assert_eq!(scenario.heard(), ["order a", "order b"]);
    // The late end of the first is nobody's.
    scenario.reacts("received", vec![DriverAction::Done(OrderId(1), Judgement::Handled)]);
    assert_eq!(scenario.at(122, Event::Received(b"x")), Vec::<String>::new());
}

#[test]
fn orders_fail_when_the_device_is_out_of_reach() {
    let mut scenario = Scenario::serving();
    scenario.at(1, Event::Order(OrderId(1), command("a")));
    scenario.at(1, Event::Order(OrderId(2), command("b")));
    let seen = scenario.at(2, Event::PortLost { reason: "x".into() });
    assert!(
        seen.contains(&"done 1 Failed".to_owned()) && seen.contains(&"done 2 Failed".to_owned()),
        "{seen:?}"
    );
    assert_eq!(scenario.at(2, Event::Order(OrderId(3), command("c"))), ["done 3 Failed"]);
    // The core's own variables need no device.
    assert_eq!(
        scenario.at(2, Event::Order(OrderId(4), set("driver.debug", "3"))),
        ["driver.debug=3", "SetDebug(3)", "done 4 Handled"]
    );
}

#[test]
fn the_cores_own_variables() {
    let mut scenario = Scenario::new(Settings { debug: 1, ..plain() }, Purpose::Serve);
    scenario.start();
    for (name, value, expected) in [
        ("driver.debug", "2", &["driver.debug=2", "SetDebug(2)", "done 1 Handled"][..]),
        ("driver.debug", "-1", &["driver.debug=1", "SetDebug(1)", "done 1 Handled"]),
        ("DRIVER.DEBUG", "x", &["done 1 Invalid"]),
        ("driver.flag.allow_killpower", "yes", &["driver.flag.allow_killpower=1", "done 1 Handled"]),
        ("driver.flag.allow_killpower", "enabled", &["done 1 Handled"]),
        ("driver.flag.allow_killpower", "-7", &["driver.flag.allow_killpower=0", "done 1 Handled"]),
        ("driver.flag.allow_killpower", "maybe", &["done 1 Handled"]),
        ("driver.name", "x", &["done 1 Invalid"]),
        ("driver.nosuch", "x", &["done 1 Unknown"]),
    ] {
        assert_eq!(scenario.at(1, Event::Order(OrderId(1), set(name, value))), expected, "{name} {value}");
    }
    assert_eq!(scenario.heard(), Vec::<String>::new());
}

#[test]
fn an_order_that_has_waited_too_long_for_its_turn_is_not_carried_out_any_more() {
    let mut scenario = Scenario::serving();
    scenario.reacts("update", vec![]);
    scenario.at(2, Event::Tick);
    scenario.heard();
    scenario.at(3, Event::Order(OrderId(1), command("load.off")));
    assert_eq!(scenario.wake_secs(), 123.0);
    let seen = scenario.at(123, Event::Tick);
    assert_eq!(
        seen,
        ["Warning: an order did not have its turn in time: the driver is busy", "done 1 Failed"]
    );
    assert_eq!(scenario.heard(), Vec::<String>::new());
}

// --- The end ----------------------------------------------------------------------------------------------------

#[test]
fn told_to_end_the_driver_says_goodbye_first() {
    let mut scenario = Scenario::serving();
    scenario.reacts("leave", vec![DriverAction::Send(b"R".to_vec())]);
    let seen = scenario.at(1, Event::Stop { reason: "Signal 15: exiting".into() });
    assert_eq!(seen, ["Info: Signal 15: exiting", "driver.state=cleanup.upsdrv", "send R"]);
    scenario.reacts("received", vec![DriverAction::Farewell]);
    let seen = scenario.at(1, Event::Received(b"BYE"));
    assert_eq!(seen, ["driver.state=cleanup.exit", "Close", "exit 0 "]);
}

#[test]
fn a_goodbye_without_answer_does_not_hold_the_process() {
    let mut scenario = Scenario::serving();
    scenario.reacts("leave", vec![]);
    scenario.at(1, Event::Order(OrderId(1), command("driver.exit")));
    assert_eq!(scenario.wake_secs(), 6.0);
    let seen = scenario.at(6, Event::Tick);
    assert_eq!(seen.last().unwrap(), "exit 0 ");
}

// --- Cutting the power ------------------------------------------------------------------------------------------

#[test]
fn killpower_needs_leave_and_then_ends_the_process() {
    let mut scenario = Scenario::serving();
    scenario.reacts("shutdown", vec![DriverAction::Send(b"S".to_vec()), DriverAction::ShutDownEnded(Ok(()))]);
    let seen = scenario.at(1, Event::Order(OrderId(1), command("driver.killpower")));
    assert_eq!(seen.last().unwrap(), "done 1 Invalid");
    assert_eq!(scenario.heard(), Vec::<String>::new());

    scenario.at(1, Event::Order(OrderId(2), set("driver.flag.allow_killpower", "1")));
    let seen = scenario.at(1, Event::Order(OrderId(3), command("driver.killpower")));
    assert_eq!(
        seen,
        [
            "Warning: Initiating UPS shutdown",
            "driver.state=fsd.killpower",
            "send S",
            "Info: the device took the order to cut the power",
            "driver.state=quiet",
            "done 3 Handled",
            "driver.state=cleanup.upsdrv",
            "driver.state=cleanup.exit",
            "Close",
            "exit 0 ",
        ]
    );
}

#[test]
fn killpower_that_failed_is_told_so_and_the_driver_stays() {
    let mut scenario = Scenario::new(Settings { allow_killpower: true, ..plain() }, Purpose::Serve);
    scenario.start();
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Err("the UPS says NA".into()))]);
    let seen = scenario.at(1, Event::Order(OrderId(1), command("driver.killpower")));
    assert_eq!(
        seen.iter().rev().take(3).rev().collect::<Vec<_>>(),
        [
            "Error: the power could not be cut: shutdown.default: the UPS says NA",
            "driver.state=quiet",
            "done 1 Failed"
        ]
    );
}

#[test]
fn sdcommands_are_tried_in_order_until_one_succeeds() {
    let mut settings = plain();
    settings.shutdown = vec![
        ShutdownStep::Command("shutdown.return".parse().unwrap()),
        ShutdownStep::Default,
        ShutdownStep::Command("load.off".parse().unwrap()),
        ShutdownStep::Command("never.tried".parse().unwrap()),
    ];
    let mut scenario = Scenario::new(settings, Purpose::ShutDown);
    let id = OrderId::for_shutdown;
    scenario.reactions.borrow_mut().extend([
        ("step", vec![DriverAction::Done(id(1), Judgement::Unknown)]),
        ("step", vec![DriverAction::Done(id(3), Judgement::Handled)]),
        ("shutdown", vec![DriverAction::ShutDownEnded(Err("no".into()))]),
    ]);
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, Event::PortOpened);
    assert_eq!(scenario.heard(), ["opened", "step shutdown.return", "shutdown", "step load.off", "leave"]);
    assert_eq!(seen.last().unwrap(), "exit 0 ");
}

#[test]
fn minus_k_that_fails_ends_with_the_reason() {
    let mut scenario = Scenario::new(plain(), Purpose::ShutDown);
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Err("shutdown not supported".into()))]);
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, Event::PortOpened);
    assert_eq!(
        seen.last().unwrap(),
        "exit 1 the power could not be cut: shutdown.default: shutdown not supported"
    );
}

#[test]
fn minus_k_does_not_wait_until_the_device_is_known() {
    let mut scenario = Scenario::new(plain(), Purpose::ShutDown);
    scenario.reacts("opened", vec![]);
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Ok(()))]);
    scenario.at(0, Event::Start);
    scenario.at(0, Event::PortOpened);
    assert_eq!(scenario.heard(), ["opened", "shutdown", "leave"]);
}

#[test]
fn minus_k_with_a_command_waits_until_the_device_is_known() {
    let settings = Settings { shutdown: vec![ShutdownStep::Command("load.off".parse().unwrap())], ..plain() };
    let mut scenario = Scenario::new(settings, Purpose::ShutDown);
    scenario.reacts("opened", vec![]);
    scenario.at(0, Event::Start);
    scenario.at(0, Event::PortOpened);
    assert_eq!(scenario.heard(), ["opened"]);
}

/// The time for which an update is waited for is over: that is no reason to turn round and round until the device is known.
#[test]
fn minus_k_that_waits_for_the_device_asks_to_be_woken_for_nothing() {
    let settings = Settings { shutdown: vec![ShutdownStep::Command("load.off".parse().unwrap())], ..plain() };
    let mut scenario = Scenario::new(settings, Purpose::ShutDown);
    scenario.reacts("opened", vec![]);
    scenario.at(0, Event::Start);
    scenario.at(0, Event::PortOpened);
    let seen = scenario.at(16, Event::Tick);
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(scenario.wake_secs(), 30.0);
}

#[test]
fn a_command_whose_device_never_becomes_known_gives_way_to_the_next_step() {
    let command = |name: &str| ShutdownStep::Command(name.parse().unwrap());
    let with = |shutdown| {
        let mut scenario = Scenario::new(Settings { shutdown, ..plain() }, Purpose::ShutDown);
        scenario.reacts("opened", vec![]);
        scenario.at(0, Event::Start);
        scenario.at(0, Event::PortOpened);
        scenario
    };
    let mut scenario = with(vec![command("shutdown.return"), command("load.off"), ShutdownStep::Default]);
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Ok(()))]);
    scenario.at(29, Event::Tick);
    assert_eq!(scenario.heard(), ["opened"]);
    let seen = scenario.at(30, Event::Tick);
    assert_eq!(scenario.heard(), ["shutdown", "leave"]);
    assert_eq!(seen.last().unwrap(), "exit 0 ");

    let mut scenario = with(vec![command("load.off")]);
    let seen = scenario.at(30, Event::Tick);
    assert_eq!(
        seen.last().unwrap(),
        "exit 1 the power could not be cut: load.off: the device has not told what it can do within 30 s"
    );
}

#[test]
fn minus_k_tries_a_port_that_is_away_for_a_moment_again() {
    let gone = || Event::PortFailed { reason: "there is no such node".into() };
    let mut scenario = Scenario::new(plain(), Purpose::ShutDown);
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Ok(()))]);
    scenario.at(0, Event::Start);
    let seen = scenario.at(0, gone());
    assert!(!seen.iter().any(|one| one.starts_with("exit")), "{seen:?}");
    assert!(scenario.at(1, Event::Tick).contains(&"Open".to_owned()));
    let seen = scenario.at(1, Event::PortOpened);
    assert_eq!(seen.last().unwrap(), "exit 0 ");

    // Not for ever.
    let mut scenario = Scenario::new(plain(), Purpose::ShutDown);
    scenario.at(0, Event::Start);
    for second in [0, 1, 3] {
        scenario.at(second, gone());
        scenario.at(second + 5, Event::Tick);
    }
    let seen = scenario.at(20, gone());
    assert_eq!(seen.last().unwrap(), "exit 1 there is no such node");
}

#[test]
fn cutting_the_power_waits_for_an_update_but_not_for_ever() {
    let mut scenario = Scenario::new(Settings { allow_killpower: true, ..plain() }, Purpose::Serve);
    scenario.start();
    scenario.reacts("update", vec![]);
    scenario.at(2, Event::Tick);
    scenario.heard();
    scenario.at(3, Event::Order(OrderId(1), command("driver.killpower")));
    assert_eq!((scenario.heard(), scenario.wake_secs()), (vec![], 18.0));
    scenario.at(18, Event::Tick);
    assert_eq!(scenario.heard(), ["shutdown"]);
}

#[test]
fn a_shutdown_step_without_end_gives_way_to_the_next() {
    let mut settings = plain();
    settings.shutdown = vec![ShutdownStep::Command("a".parse().unwrap()), ShutdownStep::Default];
    let mut scenario = Scenario::new(settings, Purpose::ShutDown);
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Ok(()))]);
    scenario.at(0, Event::Start);
    scenario.at(0, Event::PortOpened);
    assert_eq!(scenario.heard(), ["opened", "step a"]);
    let seen = scenario.at(120, Event::Tick);
    assert_eq!(scenario.heard(), ["shutdown", "leave"]);
    assert_eq!(seen.last().unwrap(), "exit 0 ");
}

#[test]
fn shutdown_default_needs_no_leave_and_the_driver_stays() {
    let mut scenario = Scenario::serving();
    scenario.reacts("shutdown", vec![DriverAction::ShutDownEnded(Ok(()))]);
    let seen = scenario.at(1, Event::Order(OrderId(1), command("shutdown.default")));
    assert_eq!(seen.last().unwrap(), "done 1 Handled");
    assert_eq!(scenario.heard(), ["shutdown"]);
    // A second one while the first still runs is refused.
    scenario.reacts("shutdown", vec![]);
    scenario.at(1, Event::Order(OrderId(2), command("shutdown.default")));
    let seen = scenario.at(1, Event::Order(OrderId(3), command("shutdown.default")));
    assert_eq!(seen.last().unwrap(), "done 3 Failed");
}

#[test]
fn a_port_lost_while_the_power_is_being_cut_fails_the_order() {
    let mut scenario = Scenario::new(Settings { allow_killpower: true, ..plain() }, Purpose::Serve);
    scenario.start();
    scenario.at(1, Event::Order(OrderId(1), command("driver.killpower")));
    let seen = scenario.at(2, Event::PortLost { reason: "x".into() });
    assert!(seen.contains(&"done 1 Failed".to_owned()), "{seen:?}");
}

// --- The configuration ------------------------------------------------------------------------------------------

fn reloaded(scenario: &mut Scenario, reload: &str, change: impl FnOnce(&mut Settings)) -> Vec<String> {
    let seen = scenario.at(1, Event::Order(OrderId(1), command(reload)));
    assert_eq!(seen, ["driver.state=reloading", "ReadConfiguration"]);
    let mut new = plain();
    change(&mut new);
    scenario.at(1, Event::Configuration(Ok(Box::new(new))))
}

#[test]
fn what_can_change_while_running_is_taken_over() {
    let mut scenario = Scenario::serving();
    let seen = reloaded(&mut scenario, "driver.reload-or-error", |new| {
        new.poll_interval = Duration::from_secs(7);
        new.overrides = vec![("ups.model".parse().unwrap(), "New".into())];
        new.defaults =
            vec![("ups.id".parse().unwrap(), "a".into()), ("ups.status".parse().unwrap(), "b".into())];
        new.debug = 2;
    });
    assert_eq!(
        seen,
        [
            "ups.model=New",
            "ups.id=a",
            "driver.debug=2",
            "SetDebug(2)",
            "driver.parameter.pollinterval=7",
            "Info: the configuration has been read again",
            "driver.state=quiet",
            "done 1 Handled",
        ]
    );
    scenario.at(2, Event::Tick);
    assert_eq!(scenario.wake_secs(), 9.0);
    // An override can be another one the next time.
    let seen = reloaded(&mut scenario, "driver.reload-or-error", |new| {
        new.poll_interval = Duration::from_secs(7);
        new.overrides = vec![("ups.model".parse().unwrap(), "Newer".into())];
        new.debug = 2;
    });
    assert_eq!(seen[0], "ups.model=Newer", "{seen:?}");
}

#[test]
fn a_reload_while_the_data_are_stale_does_not_say_that_all_is_quiet() {
    let mut scenario = Scenario::serving();
    scenario.at(1, Event::PortLost { reason: "x".into() });
    let seen = scenario.at(1, Event::Reload(Reload::Keep));
    assert_eq!(seen, ["driver.state=reloading", "ReadConfiguration"]);
    let seen = scenario.at(1, Event::Configuration(Ok(Box::new(plain()))));
    assert_eq!(seen.last().unwrap(), "driver.state=reconnect.trying", "{seen:?}");
}

#[test]
fn what_needs_a_restart_is_kept_told_and_judged_by_what_was_asked() {
    let port = |new: &mut Settings| new.fixed = vec![("port".into(), "/dev/ttyS1".into())];
    let warning = "Warning: only a restart can change: port";

    let seen = reloaded(&mut Scenario::serving(), "driver.reload-or-error", port);
    assert_eq!(seen, [warning, "driver.state=quiet", "done 1 Invalid"]);
    let seen = reloaded(&mut Scenario::serving(), "driver.reload", port);
    assert_eq!(seen, [warning, "driver.state=quiet", "done 1 Handled"]);
    let seen = reloaded(&mut Scenario::serving(), "driver.reload-or-exit", port);
    assert_eq!(seen.last().unwrap(), "exit 138 ending for a restart, because of: port");
}

#[test]
fn a_broken_configuration_leaves_the_old_one_in_force() {
    let mut scenario = Scenario::serving();
    assert_eq!(scenario.at(1, Event::Reload(Reload::Keep)), ["driver.state=reloading", "ReadConfiguration"]);
    let seen = scenario.at(1, Event::Configuration(Err("cannot open ups.conf".into())));
    assert_eq!(seen, ["Warning: the old configuration stays: cannot open ups.conf", "driver.state=quiet"]);
}

// --- Properties -------------------------------------------------------------------------------------------------

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// What the driver might do, in any order.
    fn driver_action() -> impl Strategy<Value = DriverAction> {
        prop_oneof![
            Just(DriverAction::Ready),
            Just(DriverAction::Updated),
            Just(DriverAction::DataOk),
            Just(DriverAction::DataStale { reason: "x".into() }),
            Just(DriverAction::Farewell),
            Just(DriverAction::Reopen { reason: "x".into() }),
            Just(DriverAction::ShutDownEnded(Ok(()))),
            Just(DriverAction::ShutDownEnded(Err("x".into()))),
            (0u64..4).prop_map(|id| DriverAction::Done(OrderId(id), Judgement::Handled)),
            (1u64..3).prop_map(|id| DriverAction::Done(OrderId::for_shutdown(id), Judgement::Failed)),
            (0u64..60).prop_map(|secs| DriverAction::WakeAt(Moment::from_secs(secs))),
            Just(words(&[Word::Ob])),
            Just(info("battery.charge", "5")),
        ]
    }

    fn reactions() -> impl Strategy<Value = Reactions> {
        let name = prop::sample::select(vec![
            "opened", "received", "lost", "tick", "update", "order", "step", "shutdown",
        ]);
        prop::collection::vec((name, prop::collection::vec(driver_action(), 0..4)), 0..20)
    }

    proptest! {
        /// Whatever a driver does and a port suffers: no panic, no endless step, at most one open port, every order
        /// judged exactly once, nothing behind the exit.
        #[test]
        fn every_order_ends_exactly_once(reactions in reactions(), events in prop::collection::vec((0u64..8, 0u8..9), 0..60)) {
            let mut scenario = Scenario::new(Settings { allow_killpower: true, ..plain() }, Purpose::Serve);
            scenario.start();
            scenario.reactions.borrow_mut().splice(0..0, reactions);
            let (mut now, mut asked, mut exited) = (1u64, 0u64, false);
            let mut ended: Vec<u64> = Vec::new();
            let (mut open, mut opening) = (true, false);
            for (wait, what) in events {
                now += wait;
                let event = match what {
                    0 => Event::PortLost { reason: "x".into() },
                    1 | 2 if opening => Event::PortOpened,
                    3 if opening => Event::PortFailed { reason: "x".into() },
                    4 => Event::Received(b"x"),
                    5 | 6 => {
                        asked += 1;
                        let name = ["a", "shutdown.default", "driver.killpower", "b"][usize::try_from(asked % 4).unwrap()];
                        Event::Order(OrderId(asked), command(name))
                    }
                    7 if now > 100 => Event::Stop { reason: "x".into() },
                    _ => Event::Tick,
                };
                match event {
                    Event::PortLost { .. } => open = false,
                    Event::PortOpened => (open, opening) = (true, false),
                    Event::PortFailed { .. } => opening = false,
                    _ => {}
                }
                for action in scenario.core.step(Moment::from_secs(now), event) {
                    prop_assert!(!exited, "{action:?} behind the exit");
                    match action {
                        Action::Open => {
                            prop_assert!(!open && !opening);
                            opening = true;
                        }
                        Action::Close => open = false,
                        Action::Send(_) => prop_assert!(open),
                        Action::Done(id, _) => {
                            prop_assert!(!ended.contains(&id.0), "{id:?} ended twice");
                            ended.push(id.0);
                        }
                        Action::Exit(_) => exited = true,
                        _ => {}
                    }
                }
                if exited {
                    break;
                }
            }
            // Given time, everything ends.
            for _ in 0..2 * asked + 2 {
                now += 200;
                for action in scenario.core.step(Moment::from_secs(now), Event::Tick) {
                    if let Action::Done(id, _) = action {
                        prop_assert!(!ended.contains(&id.0));
                        ended.push(id.0);
                    }
                }
            }
            let all: Vec<u64> = (1..=asked).collect();
            ended.sort_unstable();
            prop_assert_eq!(ended, all);
        }
    }
}

#[test]
fn a_variable_name_is_looked_up_without_case() {
    let scenario = Scenario::serving();
    let name: VarName = "UPS.STATUS".parse().unwrap();
    assert_eq!(scenario.get(name.as_str()), Some("OL"));
}
