//! What drivers do, and what becomes of it: connecting, dumping, silence, death; and idle clients.

use super::*;

#[test]
fn all_drivers_are_connected_to_at_the_start() {
    let sections = vec![section("b", Some("apcsmart"), None), section("a", Some("dummy-ups"), None)];
    let house = House::new(settings(sections));
    let mut sockets: Vec<&str> = house.wanted.iter().map(|(_, socket)| socket.as_str()).collect();
    sockets.sort_unstable();
    assert_eq!(sockets, ["apcsmart-b", "dummy-ups-a"]);
}

#[test]
fn clients_see_wait_until_the_driver_has_spoken() {
    let mut house = House::new(settings(vec![section("u", Some("d"), None)]));
    let client = house.client();
    assert_eq!(house.say(client, "GET VAR u ups.status\n"), "ERR DRIVER-NOT-CONNECTED\n");
    house.driver_up("u");
    house.logged("Connected to UPS [u]: d-u");
    house.play(
        client,
        "
        > GET VAR u ups.status
        VAR u ups.status \"WAIT\"
        > LIST VAR u
        BEGIN LIST VAR u
        VAR u ups.status \"WAIT\"
        END LIST VAR u
        > GET VAR u battery.charge
        ERR VAR-NOT-SUPPORTED
        ",
    );
    house.driver_says("u", "DATASTALE\nSETINFO battery.charge \"9\"\n");
    assert_eq!(house.say(client, "GET VAR u battery.charge\n"), "VAR u battery.charge \"9\"\n");
    house.driver_says("u", "SETINFO ups.status \"OL\"\nDUMPDONE\n");
    assert_eq!(house.say(client, "GET VAR u ups.status\n"), "ERR DATA-STALE\n");
    house.logged("Data for UPS [u] is stale - check driver");
    house.driver_says("u", "DATAOK\n");
    house.logged("UPS [u] data is no longer stale");
    assert_eq!(house.say(client, "GET VAR u ups.status\n"), "VAR u ups.status \"OL\"\n");
}

#[test]
fn a_silent_driver_is_asked_and_then_stale_and_comes_back() {
    let mut house = house();
    let client = house.client();
    house.told.clear();
    house.pass(15);
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    let pings = house.told.iter().filter(|(ups, text)| ups == "ups1" && text == "PING\n").count();
    assert_eq!(pings, 3);
    house.pass(2);
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "ERR DATA-STALE\n");
    house.logged("Data for UPS [ups1] is stale - check driver");
    house.pass(40);
    house.driver_says("ups1", "PONG\n");
    let client = house.client();
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    house.logged("UPS [ups1] data is no longer stale");
}

#[test]
fn a_driver_that_answers_is_never_stale() {
    let mut house = house();
    house.log.clear();
    for _ in 0..120 {
        house.pass(1);
        for (ups, text) in std::mem::take(&mut house.told) {
            if text == "PING\n" {
                house.driver_says(&ups, "PONG\n");
            }
        }
    }
    assert!(house.log.iter().all(|line| !line.contains("ups1")), "{:?}", house.log);
}

#[test]
fn a_dead_driver_takes_its_data_along_and_is_connected_again_at_once() {
    let mut house = house();
    house.pass(1);
    let client = house.client();
    let ups = house.ups("ups1");
    house.step(Event::DriverGone { ups });
    house.logged("UPS [ups1] disconnected - check driver");
    assert_eq!(house.say(client, "LIST VAR ups1\n"), "ERR DRIVER-NOT-CONNECTED\n");
    assert_eq!(house.server.wake_at(), Some(house.now), "now");
    house.step(Event::Tick);
    house.driver_up("ups1");
    assert!(!house.say(client, "LIST VAR ups1\n").contains("ups.mfr"));
    // In the middle of a line and of the dump: the rest belongs to nobody.
    house.driver_says("ups1", "SETINFO ups.mfr \"half");
    house.step(Event::DriverGone { ups });
    house.pass(1);
    house.driver_up("ups1");
    house.driver_says("ups1", "of a line\"\nSETINFO ups.model \"x\"\n");
    assert_eq!(house.say(client, "GET VAR ups1 ups.model\n"), "VAR ups1 ups.model \"x\"\n");
    assert_eq!(house.say(client, "GET VAR ups1 ups.mfr\n"), "ERR VAR-NOT-SUPPORTED\n");
}

#[test]
fn a_driver_that_is_not_there_is_tried_again_and_complained_about_now_and_then() {
    let mut house = House::new(settings(vec![section("u", Some("d"), None)]));
    let start = house.now;
    let mut tries = 0;
    while house.now < start.after(Duration::from_secs(601)) {
        for (ups, socket) in std::mem::take(&mut house.wanted) {
            tries += 1;
            let path = format!("/run/nut/{socket}");
            house.step(Event::ConnectFailed { ups, path: &path, error: "No such file or directory" });
        }
        house.pass(1);
    }
    assert!((290..320).contains(&tries), "{tries}");
    let line = "Can't connect to UPS [u] (/run/nut/d-u): No such file or directory";
    assert_eq!(house.log.iter().filter(|one| *one == line).count(), 3);
}

#[test]
fn only_the_ups_of_a_bad_driver_suffers() {
    let mut house = house();
    let client = house.client();
    house.driver_up("down");
    for n in 0..10_000 {
        house.driver_says("down", &format!("SETINFO v{n} \"{n}\"\n"));
    }
    let ups = house.ups("down");
    house.step(Event::DriverBytes { ups, bytes: &[0xff; 100_000] });
    house.step(Event::DriverBytes { ups, bytes: b"\n\"\n#\nSETINFO\nADDENUM x y\n" });
    house.driver_says("down", "SETINFO v9 \"still here\"\n");
    assert_eq!(house.say(client, "GET VAR down v9\n"), "VAR down v9 \"still here\"\n");
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    assert_eq!(house.say(client, "LIST VAR down\n").lines().count(), 10_003);
    house.logged("Parse error on sock: the line is longer than 65536 bytes (UPS [down], 1 so far)");
}

#[test]
fn events_of_a_ups_that_is_no_more_do_nothing() {
    let mut house = house();
    let ups = house.ups("down");
    house.step(Event::Reload(Box::new(settings(vec![section("ups1", Some("dummy-ups"), None)]))));
    house.step(Event::DriverConnected { ups });
    house.step(Event::DriverBytes { ups, bytes: b"SETINFO a b\n" });
    house.step(Event::DriverGone { ups });
    house.step(Event::ConnectFailed { ups, path: "x", error: "y" });
    assert_eq!(house.server.ups_count(), 1);
}

#[test]
fn a_client_that_says_nothing_for_a_minute_is_cut() {
    let mut house = house();
    let (silent, half, talker, polite) = (house.client(), house.client(), house.client(), house.client());
    let login = house.user("secondary", "spw");
    assert_eq!(house.say(login, "LOGIN ups1\n"), "OK\n");
    for second in 0..60 {
        house.pass(1);
        house.say(half, "x");
        if second % 30 == 29 {
            assert_eq!(house.say(talker, "NETVER\n"), "1.3\n");
        }
    }
    assert_eq!(house.hear(silent), "", "not before a minute is over");
    // Whoever polls once a minute stays.
    assert_eq!(house.say(polite, "NETVER\n"), "1.3\n");
    house.pass(2);
    assert_eq!(house.hear(silent), "<cut>");
    assert_eq!(house.hear(half), "<cut>", "half lines do not count");
    assert_eq!(house.hear(login), "<cut>");
    assert_eq!((house.hear(talker), house.hear(polite)), (String::new(), String::new()));
    assert_eq!(house.server.client_count(), 2);
    house.driver_says("ups1", "PONG\n");
    assert_eq!(house.say(talker, "GET NUMLOGINS ups1\n"), "NUMLOGINS ups1 0\n");
    house.pass(62);
    assert_eq!((house.hear(talker), house.hear(polite)), ("<cut>".into(), "<cut>".into()));
    assert_eq!(house.server.client_count(), 0);
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let mut house = house();
    for _ in 0..20_000 {
        let client = house.client();
        house.step(Event::ClientGone { client });
        house.keys.remove(client.0);
    }
    assert!(house.server.deadlines.len() < 2_000, "{}", house.server.deadlines.len());
    // Who stays is still cut off in time.
    let silent = house.client();
    house.pass(62);
    assert_eq!(house.hear(silent), "<cut>");
}

#[test]
fn thousands_of_idle_clients_share_their_wakeups() {
    let mut settings = settings(Vec::new());
    settings.most_clients = 10_000;
    let mut house = House::new(settings);
    let mut clients = Vec::new();
    for n in 0..5000u64 {
        house.now = Moment::from_millis(1_000_000 + n * 900 / 5000);
        clients.push(house.client());
    }
    let start = house.now;
    let (mut wakeups, mut polls) = (0, 0);
    let mut poll_at = start.after(Duration::from_secs(30));
    while house.now < start.after(Duration::from_secs(300)) {
        let next = house.server.wake_at().unwrap();
        if next < poll_at {
            wakeups += 1;
            house.now = next;
            house.step(Event::Tick);
            continue;
        }
        polls += 1;
        house.now = poll_at;
        poll_at = poll_at.after(Duration::from_secs(30));
        for client in &clients {
            house.step(Event::ClientBytes { client: *client, bytes: b"NETVER\n" });
        }
        house.heard.clear();
    }
    assert!(polls >= 9 && wakeups <= 20, "{polls} {wakeups}");
    assert_eq!(house.server.client_count(), 5000);
    assert!(house.server.deadlines.len() <= 5001);
}
