//! Conversations with a driver's socket, without socket.

use super::*;
use nut_proto::device::{Change, Flags, Range};
use proptest::prelude::*;

fn device() -> Device {
    let mut device = Device::default();
    for (name, value) in [("ups.status", "OL"), ("ups.model", "Foo \"bar\" \\ #"), ("battery.charge", "90")] {
        device.set(&name.parse().unwrap(), value.into()).unwrap();
    }
    let name = || "battery.charge".parse().unwrap();
    for change in [
        Change::Flags { name: name(), flags: Flags::WRITABLE },
        Change::Choice { name: name(), value: "90".into() },
        Change::Range { name: name(), range: Range { min: 0, max: 100 } },
        Change::Aux { name: name(), aux: 3 },
        Change::Command { name: "load.off".parse().unwrap() },
    ] {
        device.apply(&change).unwrap();
    }
    device
}

/// A socket side with everything its readers were told.
struct Scenario {
    serving: Serving,
    device: Device,
    data_is_ok: bool,
    told: BTreeMap<ReaderId, Vec<u8>>,
    other: Vec<Action>,
}

impl Scenario {
    fn new() -> Self {
        let (told, other) = (BTreeMap::new(), Vec::new());
        Self { serving: Serving::new(4711), device: device(), data_is_ok: true, told, other }
    }

    fn join(&mut self) -> ReaderId {
        self.serving.join().unwrap()
    }

    fn step(&mut self, event: Event<'_>) {
        let told = Told { device: &self.device, data_is_ok: self.data_is_ok };
        let mut proceeding = Vec::new();
        for action in self.serving.step(event, told) {
            match action {
                Action::Write(id, bytes) => self.told.entry(id).or_default().extend(bytes),
                Action::Proceed(id) => proceeding.push(id),
                other => self.other.push(other),
            }
        }
        for id in proceeding {
            self.step(Event::Proceed(id));
        }
    }

    /// Says something; gives what this reader is told, having taken all of it.
    fn says(&mut self, id: ReaderId, text: &str) -> String {
        self.step(Event::Received(id, text.as_bytes()));
        self.takes(id)
    }

    fn takes(&mut self, id: ReaderId) -> String {
        let bytes = self.told.remove(&id).unwrap_or_default();
        self.step(Event::Written(id, bytes.len()));
        String::from_utf8(bytes).unwrap()
    }

    fn order(&mut self) -> (OrderId, Order) {
        match self.other.pop() {
            Some(Action::Order(id, order)) => (id, order),
            other => panic!("{other:?} is no order"),
        }
    }
}

#[test]
fn a_dump_is_in_nuts_order() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    let body = "SETINFO battery.charge \"90\"\nADDENUM battery.charge \"90\"\nADDRANGE battery.charge 0 100\n\
        SETAUX battery.charge 3\nSETFLAGS battery.charge RW\nSETINFO ups.model \"Foo \\\"bar\\\" \\\\ \\#\"\n\
        SETINFO ups.status \"OL\"\nADDCMD load.off\n";
    assert_eq!(scenario.says(reader, "dumpall please\n"), format!("{body}DATAOK\nDUMPDONE\n"));
    scenario.data_is_ok = false;
    assert_eq!(scenario.says(reader, "DUMPALL\n"), format!("DATASTALE\n{body}DUMPDONE\n"));
}

#[test]
fn a_dump_of_one_variable() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    assert_eq!(scenario.says(reader, "DUMPSTATUS\n"), "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
    let charge = "SETINFO battery.charge \"90\"\nADDENUM battery.charge \"90\"\nADDRANGE battery.charge 0 100\n\
        SETAUX battery.charge 3\nSETFLAGS battery.charge RW\n";
    scenario.data_is_ok = false;
    assert_eq!(scenario.says(reader, "DUMPVALUE BATTERY.charge\n"), format!("DATASTALE\n{charge}DUMPDONE\n"));
    assert_eq!(scenario.says(reader, "DUMPVALUE no.such\n"), "DATASTALE\nDUMPDONE\n");
    assert_eq!(scenario.says(reader, "DUMPVALUE\n"), "");
}

#[test]
fn small_questions_have_small_answers() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    assert_eq!(scenario.says(reader, "PING\nping x\nGETPID\n\n# nothing\n"), "PONG\nPONG\nPID 4711\n");
    assert_eq!(scenario.says(reader, "PI"), "");
    assert_eq!(scenario.says(reader, "NG\r\n"), "PONG\n");
    assert_eq!(scenario.other, []);
}

#[test]
fn who_says_goodbye_is_closed_when_it_has_heard_so() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    scenario.step(Event::Received(reader, b"LOGOUT\nPING\n"));
    assert!(!scenario.serving.wants_input(reader));
    assert_eq!(scenario.other, []);
    assert_eq!(scenario.takes(reader), "OK Goodbye\n");
    assert_eq!(scenario.other, [Action::Close(reader)]);
}

#[test]
fn news_go_to_all_who_listen_escaped_and_the_newest_first() {
    let mut scenario = Scenario::new();
    let (first, second, third) = (scenario.join(), scenario.join(), scenario.join());
    scenario.says(second, "NOBROADCAST\n");
    let news = FromDriver::Change(Change::Info { name: "ups.id".parse().unwrap(), value: "a\"b#c".into() });
    let told = Told { device: &scenario.device, data_is_ok: true };
    let line = b"SETINFO ups.id \"a\\\"b\\#c\"\n".to_vec();
    assert_eq!(
        scenario.serving.step(Event::News(&news), told),
        [Action::Write(third, line.clone()), Action::Write(first, line)]
    );
    scenario.says(second, "BROADCAST 1\n");
    scenario.says(first, "BROADCAST 0\n");
    scenario.step(Event::Left(third));
    scenario.step(Event::News(&FromDriver::DataStale));
    assert_eq!((scenario.takes(first), scenario.takes(second)), (String::new(), "DATASTALE\n".to_owned()));
}

#[test]
fn orders_of_several_readers_each_have_their_own_end() {
    let mut scenario = Scenario::new();
    let (first, second) = (scenario.join(), scenario.join());
    scenario.says(first, "INSTCMD load.off 5 TRACKING abc\n");
    let (one, order) = scenario.order();
    assert_eq!(order, Order::Command { name: "load.off".parse().unwrap(), param: Some("5".into()) });
    scenario.says(second, "SET ups.id \"x y\" TRACKING abc\n");
    let (two, order) = scenario.order();
    assert_eq!(order, Order::Set { name: "ups.id".parse().unwrap(), value: "x y".into() });
    scenario.says(second, "INSTCMD load.on\n");
    let (three, _) = scenario.order();
    assert!(one != two && two != three);

    scenario.step(Event::Ended(two, Judgement::Failed));
    scenario.step(Event::Ended(three, Judgement::Handled));
    scenario.step(Event::Ended(one, Judgement::Handled));
    // Told once, and to nobody else.
    scenario.step(Event::Ended(one, Judgement::Handled));
    assert_eq!(scenario.takes(first), "TRACKING abc 0\n");
    assert_eq!(scenario.takes(second), "TRACKING abc 3\n");
}

#[test]
fn what_is_asked_behind_an_order_is_answered_behind_its_end() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    let told = Told { device: &scenario.device, data_is_ok: true };
    let actions = scenario.serving.step(Event::Received(reader, b"INSTCMD a TRACKING x\nPING\n"), told);
    let [Action::Order(order, _), Action::Proceed(id)] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(*id, reader);
    // This one ends at once.
    scenario.step(Event::Ended(*order, Judgement::Handled));
    scenario.step(Event::Proceed(reader));
    assert_eq!(scenario.takes(reader), "TRACKING x 0\nPONG\n");
}

#[test]
fn a_reader_that_left_is_not_told_the_end_of_its_order() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    scenario.says(reader, "INSTCMD load.off TRACKING abc\n");
    let (order, _) = scenario.order();
    scenario.step(Event::Left(reader));
    scenario.step(Event::Ended(order, Judgement::Handled));
    assert!(scenario.told.is_empty());
}

#[test]
fn too_many_orders_fail_at_once() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    for _ in 0..MAX_ORDERS {
        scenario.says(reader, "INSTCMD load.off\n");
        scenario.order();
    }
    assert_eq!(scenario.says(reader, "INSTCMD load.off TRACKING abc\n"), "TRACKING abc 3\n");
    assert_eq!(scenario.other, []);
}

#[test]
fn lines_that_mean_nothing_are_noted_once_counted_and_cost_nothing_else() {
    let mut scenario = Scenario::new();
    let reader = scenario.join();
    let long = "x".repeat(MAX_LINE + 1);
    let told = scenario.says(reader, &format!("HELLO\nINSTCMD a b c\nSET x\nSET \"a#b\" c\n{long}\nPING\n"));
    assert_eq!(told, "PONG\n");
    let texts: Vec<&str> = scenario
        .other
        .iter()
        .map(|action| match action {
            Action::Tell(note) => note.text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["a line on the driver's socket is left out: there is no message \"HELLO\""]);
    scenario.other.clear();
    scenario.step(Event::Left(reader));
    let Some(Action::Tell(note)) = scenario.other.pop() else { panic!("it is told") };
    assert_eq!(note.text, "5 lines of one reader were left out");
}

#[test]
fn a_reader_that_does_not_read_is_sent_away_and_the_others_do_not_notice() {
    let mut scenario = Scenario::new();
    let (slow, good) = (scenario.join(), scenario.join());
    let news = FromDriver::Change(Change::Info {
        name: "a.b".parse().unwrap(),
        value: "x".repeat(200).as_str().into(),
    });
    let mut count = 0;
    while !scenario.other.contains(&Action::Close(slow)) {
        scenario.step(Event::News(&news));
        assert!(!scenario.takes(good).is_empty());
        count += 1;
        assert!(count < 10_000, "its output grows without end");
    }
    let waiting = scenario.told.get(&slow).unwrap().len();
    assert!(waiting <= MAX_WAITING && waiting > MAX_WAITING - 300, "{waiting}");
    scenario.step(Event::News(&news));
    assert!(!scenario.takes(good).is_empty());
}

#[test]
fn a_large_dump_is_no_reason_to_send_a_reader_away() {
    let mut scenario = Scenario::new();
    for nth in 0..10_000 {
        scenario.device.set(&format!("v.{nth}").parse().unwrap(), "x".repeat(100).as_str().into()).unwrap();
    }
    let reader = scenario.join();
    scenario.step(Event::Received(reader, b"DUMPALL\n"));
    for _ in 0..100 {
        scenario.step(Event::News(&FromDriver::DataOk));
    }
    assert!(scenario.takes(reader).len() > 4 * MAX_WAITING);
    assert_eq!(scenario.other, []);
}

#[test]
fn questions_wait_while_answers_do() {
    let mut scenario = Scenario::new();
    for nth in 0..1000 {
        scenario.device.set(&format!("v.{nth}").parse().unwrap(), "x".repeat(100).as_str().into()).unwrap();
    }
    let reader = scenario.join();
    scenario.step(Event::Received(reader, "DUMPALL\n".repeat(500).as_bytes()));
    assert!(!scenario.serving.wants_input(reader));
    let once = scenario.told.get(&reader).unwrap().len();
    assert!(once < 2 * ENOUGH_WAITING + 200_000, "{once}");
    let mut dumps = 0;
    while let Some(bytes) = scenario.told.remove(&reader) {
        dumps += String::from_utf8(bytes.clone()).unwrap().matches("DUMPDONE").count();
        scenario.step(Event::Written(reader, bytes.len()));
    }
    assert_eq!(dumps, 500);
    assert!(scenario.serving.wants_input(reader));
}

#[test]
fn there_is_room_for_so_many_readers_and_no_more() {
    let mut scenario = Scenario::new();
    let readers: Vec<ReaderId> = (0..MAX_READERS).map(|_| scenario.join()).collect();
    assert_eq!(scenario.serving.join(), None);
    scenario.step(Event::Left(readers[0]));
    assert!(scenario.serving.join().is_some_and(|id| !readers.contains(&id)));
}

fn any_line() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "DUMPALL",
            "PING",
            "SET",
            "INSTCMD",
            "TRACKING",
            "NOBROADCAST",
            "BROADCAST",
            "GETPID",
            "DUMPVALUE",
            "DUMPSTATUS",
            "LOGOUT",
            "ups.status",
            "load.off",
            "\"a b\"",
            "\"",
            "#",
            "\\",
            "=",
            "0",
        ])
        .prop_map(String::from),
        "[ -~]{0,8}",
    ];
    prop::collection::vec(word, 0..6).prop_map(|words| words.join(" ") + "\n")
}

proptest! {
    #[test]
    fn what_readers_say_and_how_little_they_read_bounds_what_waits(steps in prop::collection::vec((0usize..3, any_line(), 0usize..100_000), 0..80)) {
        let mut scenario = Scenario::new();
        let dump = scenario.device.dump().count() * 100;
        let mut readers: Vec<Option<ReaderId>> = (0..3).map(|_| scenario.serving.join()).collect();
        for (who, line, taken) in steps {
            let Some(id) = readers[who] else { continue };
            if scenario.serving.wants_input(id) {
                scenario.step(Event::Received(id, line.as_bytes()));
            }
            while let Some(Action::Order(order, _)) = scenario.other.pop() {
                scenario.step(Event::Ended(order, Judgement::Handled));
            }
            scenario.step(Event::News(&FromDriver::DataOk));
            let waiting = scenario.told.entry(id).or_default();
            let taken = taken.min(waiting.len());
            waiting.drain(..taken);
            scenario.step(Event::Written(id, taken));
            for action in scenario.other.drain(..) {
                if let Action::Close(id) = action {
                    readers.iter_mut().filter(|one| **one == Some(id)).for_each(|one| *one = None);
                    scenario.told.remove(&id);
                }
            }
            for waiting in scenario.told.values() {
                prop_assert!(waiting.len() <= MAX_WAITING + ENOUGH_WAITING + 2 * dump, "{}", waiting.len());
            }
        }
    }

    #[test]
    fn a_dump_builds_an_equal_device(values in prop::collection::vec(("[a-z]{1,5}(\\.[a-z0-9]{1,5}){0,2}", "[ -~]{0,60}", 0i64..9, any::<bool>()), 0..40), cut in 1usize..50) {
        let mut scenario = Scenario::new();
        for (name, value, aux, writable) in &values {
            let name = || name.parse().unwrap();
            scenario.device.set(&name(), value.as_str().into()).unwrap();
            scenario.device.apply(&Change::Aux { name: name(), aux: *aux }).unwrap();
            scenario.device.apply(&Change::Flags { name: name(), flags: Flags { writable: *writable, ..Flags::default() } }).unwrap();
        }
        let reader = scenario.join();
        let dump = scenario.says(reader, "DUMPALL\n");
        // Read as upsd reads it, however the bytes are cut.
        let (mut copy, mut lines, mut done) = (Device::default(), LineBuffer::default(), false);
        for chunk in dump.as_bytes().chunks(cut) {
            lines.push(chunk, |line| match FromDriver::parse(&split(line.unwrap()).unwrap()).unwrap() {
                FromDriver::Change(change) => assert!(copy.apply(&change).unwrap(), "{change:?} changes nothing"),
                FromDriver::DataOk => {}
                FromDriver::DumpDone => done = true,
                other => panic!("{other:?} in a dump"),
            });
        }
        prop_assert!(done);
        prop_assert!(copy.dump().eq(scenario.device.dump()));
    }
}
