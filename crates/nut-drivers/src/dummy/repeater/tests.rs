//! The repeater against a server's words.

use super::*;
use proptest::prelude::*;

/// A repeater and what it says of itself, without the core.
struct Play {
    repeater: Repeater,
}

impl Play {
    fn new(strict: bool, login: bool) -> (Self, Vec<String>) {
        let login = login.then(|| ("me".to_owned(), Secret::new("pass")));
        let plan = Plan { ups: "u".parse().unwrap(), login, strict };
        let mut play = Self { repeater: Repeater::new(plan) };
        let first = play.at(0, Event::Opened);
        (play, first)
    }

    /// One that has told this status.
    fn telling(status: &str) -> Self {
        let (mut play, _) = Self::new(true, false);
        let seen = play.at(1, Event::Received(list(&[("ups.status", status)]).as_bytes()));
        assert_eq!(seen, [&format!("[{status}|]"), "DataOk", "Ready"]);
        play
    }

    fn at(&mut self, secs: u64, event: Event<'_>) -> Vec<String> {
        let actions = self.repeater.step(Moment::from_secs(secs), event);
        actions
            .into_iter()
            .map(|action| match action {
                Action::Send(bytes) => format!("> {}", bytes.escape_ascii()),
                Action::Change(Change::Info { name, value }) => format!("{name}={value}"),
                Action::Change(Change::NoInfo { name }) => format!("-{name}"),
                Action::Report(reading) => {
                    format!("[{}|{}]", reading.others.join(" "), reading.alarms.join(","))
                }
                Action::WakeAt(moment) => format!("wake {moment:?}"),
                Action::DataStale { reason } => format!("stale: {reason}"),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

fn list(variables: &[(&str, &str)]) -> String {
    let lines: String = variables.iter().map(|(name, value)| format!("VAR u {name} \"{value}\"\n")).collect();
    format!("BEGIN LIST VAR u\n{lines}END LIST VAR u\n")
}

#[test]
fn all_is_repeated_but_what_is_about_the_other_driver_and_server() {
    let (mut play, first) = Play::new(true, false);
    assert_eq!(first, ["driver.parameter.mode=repeater", "> LIST VAR u\\n", "wake 25.000s"]);
    let text = list(&[
        ("battery.charge", "90"),
        ("DRIVER.name", "x"),
        ("server.info", "y"),
        ("ups.alarm", "Replace battery!"),
        ("ups.id", "say \\\"hi\\\""),
        ("ups.status", "ALARM OB LB"),
    ]);
    let (one, other) = text.split_at(40);
    assert_eq!(play.at(1, Event::Received(one.as_bytes())), Vec::<String>::new());
    assert_eq!(
        play.at(1, Event::Received(other.as_bytes())),
        ["battery.charge=90", "ups.id=say \"hi\"", "[ALARM OB LB|Replace battery!]", "DataOk", "Ready"]
    );
}

#[test]
fn what_is_gone_there_is_gone_here() {
    let mut play = Play::telling("OL");
    assert_eq!(play.at(2, Event::Update), ["> LIST VAR u\\n", "wake 7.000s"]);
    play.at(2, Event::Received(list(&[("a.b", "1"), ("c.d", "2"), ("ups.status", "OL")]).as_bytes()));
    play.at(4, Event::Update);
    let seen = play.at(4, Event::Received(list(&[("C.D", "3"), ("ups.status", "OB")]).as_bytes()));
    assert_eq!(seen, ["C.D=3", "-a.b", "[OB|]", "DataOk", "Updated"]);
}

#[test]
fn name_and_password_come_first_and_a_refusal_is_told() {
    let (mut play, first) = Play::new(true, true);
    assert_eq!(first.get(1).unwrap(), "> USERNAME me\\nPASSWORD pass\\n");
    let text = format!("OK\nERR ACCESS-DENIED\n{}", list(&[("ups.status", "OL")]));
    let seen = play.at(1, Event::Received(text.as_bytes()));
    assert!(seen.first().unwrap().contains("name and password: ERR ACCESS-DENIED"), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "Ready");
    assert!(!format!("{:?}", play.repeater.plan).contains("pass\""));
}

#[test]
fn stale_there_is_stale_here() {
    for said in ["ERR DATA-STALE", "ERR DRIVER-NOT-CONNECTED", "ERR UNKNOWN-UPS", "ERR SOMETHING-NEW"] {
        let mut play = Play::telling("OB");
        play.at(2, Event::Update);
        let seen = play.at(2, Event::Received(format!("{said}\n").as_bytes()));
        assert!(seen.first().unwrap().starts_with("stale: ") && seen[0].contains(said), "{seen:?}");
        assert_eq!(seen.last().unwrap(), "Updated");
    }
}

#[test]
fn a_server_that_knows_nothing_yet_is_not_believed() {
    for variables in [&[("ups.status", "WAIT")][..], &[("ups.id", "x")], &[("ups.status", "")]] {
        let mut play = Play::telling("OB");
        play.at(2, Event::Update);
        let seen = play.at(2, Event::Received(list(variables).as_bytes()));
        assert!(seen.contains(&"stale: u has no status there".to_owned()), "{seen:?}");
        assert!(!seen.contains(&"DataOk".to_owned()), "{seen:?}");
    }
}

#[test]
fn silence_is_stale_and_another_connection_is_tried() {
    let mut play = Play::telling("OL");
    play.at(2, Event::Update);
    assert_eq!(play.at(6, Event::Tick), Vec::<String>::new());
    let seen = play.at(7, Event::Tick);
    assert_eq!(
        seen,
        ["Reopen { reason: \"no answer from the other server\" }", "stale: no answer from the other server"]
    );
    // And all is good again.
    play.at(9, Event::Opened);
    let seen = play.at(9, Event::Received(list(&[("ups.status", "OL")]).as_bytes()));
    assert_eq!(seen, ["[OL|]", "DataOk", "Ready"]);
}

#[test]
fn nonsense_costs_the_connection() {
    let mut play = Play::telling("OL");
    let seen = play.at(2, Event::Received(b"HTTP/1.1 400 Bad Request\r\n"));
    assert!(seen.first().unwrap().starts_with("Reopen"), "{seen:?}");
    assert!(seen.last().unwrap().starts_with("stale"), "{seen:?}");
}

#[test]
fn a_strict_start_ends_with_the_reason() {
    let (mut play, _) = Play::new(true, false);
    let seen = play.at(1, Event::Received(b"ERR UNKNOWN-UPS\n"));
    assert!(seen.first().unwrap().starts_with("GiveUp") && seen[0].contains("UNKNOWN-UPS"), "{seen:?}");
    let (mut play, _) = Play::new(true, false);
    assert!(play.at(25, Event::Tick).first().unwrap().starts_with("GiveUp"));
}

#[test]
fn without_strict_start_readers_are_let_in_and_told_that_nothing_is_known() {
    let (mut play, first) = Play::new(false, false);
    assert_eq!(first.get(3..).unwrap(), ["stale: the other server has not been heard yet", "Ready"]);
    assert_eq!(play.at(0, Event::Update), ["Updated"]);
    let seen = play.at(3, Event::Received(list(&[("ups.status", "OL")]).as_bytes()));
    assert_eq!(seen, ["[OL|]", "DataOk"]);
}

#[test]
fn it_only_tells() {
    let mut play = Play::telling("OL");
    let order = crate::driver::Order::Set { name: "ups.id".parse().unwrap(), value: "x".into() };
    assert_eq!(play.at(2, Event::Order(crate::driver::OrderId(1), order)), ["Done(OrderId(1), Unknown)"]);
    assert_eq!(play.at(2, Event::ShutDown), ["ShutDownEnded(Err(\"shutdown not supported\"))"]);
}

proptest! {
    /// Whatever a server sends: no panic, and no data that it did not tell in a list.
    #[test]
    fn no_server_makes_it_stumble(pieces in prop::collection::vec(prop_oneof![
        Just(b"BEGIN LIST VAR u\n".to_vec()), Just(b"END LIST VAR u\n".to_vec()), Just(b"OK\n".to_vec()),
        Just(b"VAR u ups.status OL\n".to_vec()), Just(b"ERR X\n".to_vec()), prop::collection::vec(any::<u8>(), 0..30),
    ], 0..30)) {
        let (mut play, _) = Play::new(true, true);
        let mut listed = false;
        for (secs, piece) in (1..).zip(&pieces) {
            listed |= piece.starts_with(b"END LIST");
            let seen = play.at(secs, Event::Received(piece));
            prop_assert!(listed || !seen.contains(&"DataOk".to_owned()), "{:?}", seen);
            play.at(secs, Event::Update);
        }
    }
}
