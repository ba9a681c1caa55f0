//! Who comes in, how many, and what a reload changes; and that no bytes make it stumble.

use super::*;

fn v4(text: &str) -> NetBlock {
    let (address, bits) = text.split_once('/').unwrap();
    let mask = u32::MAX.checked_shl(32 - bits.parse::<u32>().unwrap()).unwrap_or(0);
    NetBlock { address: address.parse().unwrap(), mask: IpAddr::V4(mask.into()) }
}

/// The school's files.
fn school() -> Settings {
    let acl = |name: &str, block| Acl { name: name.into(), block: v4(block) };
    let rule = |verdict, acl: &str| AccessRule { verdict, acl: acl.into() };
    let mut settings = settings(vec![section("nicole", Some("apcsmart"), Some("Smart-UPS 1000"))]);
    settings.upsd.acls =
        vec![acl("localhost", "127.0.0.1/32"), acl("all", "0.0.0.0/0"), acl("myservers", "192.168.0.0/24")];
    settings.upsd.access = vec![
        rule(Verdict::Accept, "localhost"),
        rule(Verdict::Accept, "myservers"),
        rule(Verdict::Reject, "all"),
    ];
    let from = |user: User, acls: &[&str]| User {
        allow_from: Some(acls.iter().map(ToString::to_string).collect()),
        ..user
    };
    let mut admin = user("upsmaster", "supersecret", &["SET", "FSD"]);
    admin.commands = Commands::All;
    settings.users.users = vec![
        from(admin, &["localhost"]),
        from(user("masteruser", "secret", &["LOGIN", "MASTER", "FSD"]), &["localhost"]),
        from(user("slaveuser", "kindasecret", &["LOGIN"]), &["localhost", "myservers"]),
    ];
    settings
}

#[test]
fn the_schools_setup() {
    let mut house = House::new(school());
    house.driver_up("nicole");
    house.driver_says("nicole", "SETINFO ups.status \"OL\"\nADDCMD load.off\nDATAOK\nDUMPDONE\n");
    let central = house.client();
    let remote = house.client_from("192.168.0.17");
    let stranger = house.client_from("10.1.2.3");
    assert_eq!(house.hear(stranger), "<cut>");
    house.logged("Rejecting TCP connection from 10.1.2.3");
    assert_eq!(house.say(stranger, "NETVER\n"), "");
    house.play(
        central,
        "
        > USERNAME masteruser
        OK
        > PASSWORD secret
        OK
        > LOGIN nicole
        OK
        > MASTER nicole
        OK MASTER-GRANTED
        ",
    );
    house.play(
        remote,
        "
        > USERNAME slaveuser
        OK
        > PASSWORD kindasecret
        OK
        > LOGIN nicole
        OK
        > MASTER nicole
        ERR ACCESS-DENIED
        > GET NUMLOGINS nicole
        NUMLOGINS nicole 2
        ",
    );
    // The right name and password, from a place its allowfrom does not name.
    let thief = house.client_from("192.168.0.18");
    house.play(
        thief,
        "
        > USERNAME upsmaster
        OK
        > PASSWORD supersecret
        OK
        > INSTCMD nicole load.off
        ERR ACCESS-DENIED
        > FSD nicole
        ERR ACCESS-DENIED
        ",
    );
    assert_eq!(house.say(central, "FSD nicole\n"), "OK FSD-SET\n");
    assert_eq!(house.say(remote, "GET VAR nicole ups.status\n"), "VAR nicole ups.status \"FSD OL\"\n");
}

#[test]
fn without_rules_everybody_comes_in_and_allowfrom_means_nothing() {
    let mut settings = school();
    settings.upsd.acls.clear();
    settings.upsd.access.clear();
    let mut house = House::new(settings);
    let client = house.client_from("10.1.2.3");
    assert_eq!(
        house.say(client, "USERNAME masteruser\nPASSWORD secret\nMASTER nicole\n"),
        "OK\nOK\nOK MASTER-GRANTED\n"
    );
}

#[test]
fn a_reload_may_withdraw_the_right_to_be_here() {
    let mut house = House::new(school());
    let (near, far) = (house.client(), house.client_from("192.168.0.17"));
    let heard = house.say(far, "USERNAME slaveuser\nPASSWORD kindasecret\nLOGIN nicole\n");
    assert_eq!(heard, "OK\nOK\nOK\n");
    let mut settings = school();
    settings.upsd.access.remove(1);
    house.step(Event::Reload(Box::new(settings)));
    assert_eq!(house.hear(far), "", "not before it asks again");
    assert_eq!(house.say(far, "NETVER\nNETVER\n"), "ERR ACCESS-DENIED\n<closed>");
    assert_eq!(house.say(near, "NETVER\n"), "1.3\n");
    let late = house.client_from("192.168.0.17");
    assert_eq!(house.hear(late), "<cut>");
    house.driver_up("nicole");
    assert_eq!(house.say(near, "GET NUMLOGINS nicole\n"), "NUMLOGINS nicole 0\n");
}

#[test]
fn rights_follow_the_file_on_open_connections() {
    let mut house = house();
    let client = house.user("setter", "setpw");
    assert_eq!(house.say(client, "SET VAR ups1 battery.charge 1\n"), "OK\n");
    let mut changed = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    changed.users.users.retain(|user| user.name.as_str() != "setter");
    house.step(Event::Reload(Box::new(changed)));
    assert_eq!(house.say(client, "SET VAR ups1 battery.charge 1\n"), "ERR ACCESS-DENIED\n");
}

#[test]
fn more_clients_than_allowed_are_sent_away_but_not_this_hosts() {
    let mut settings = settings(Vec::new());
    settings.most_clients = 3;
    let mut house = House::new(settings);
    let clients: Vec<ClientId> = (0..3).map(|_| house.client_from("192.0.2.1")).collect();
    let fourth = house.client_from("192.0.2.1");
    assert_eq!(house.hear(fourth), "<cut>");
    house
        .logged("Rejecting TCP connection from 192.0.2.1: 3 clients are connected, see MAXCONN in upsd.conf");
    for _ in 0..RESERVED_FOR_LOCALHOST {
        let local = house.client();
        assert_eq!(house.say(local, "NETVER\n"), "1.3\n");
    }
    let local = house.client_from("::1");
    assert_eq!(house.hear(local), "<cut>");
    assert_eq!(house.say(clients[0], "NETVER\n"), "1.3\n");
}

#[test]
fn a_reload_adds_removes_and_redefines() {
    let mut house = house();
    let (on_ups1, on_stale) = (house.user("secondary", "spw"), house.user("secondary", "spw"));
    let watcher = house.client();
    house.say(on_ups1, "LOGIN ups1\n");
    house.say(on_stale, "LOGIN stale\n");
    let primary = house.user("primary", "ppw");
    house.say(primary, "FSD ups1\n");
    house.log.clear();
    house.step(Event::Reload(Box::new(settings(vec![
        section("new1", Some("a"), Some("New")),
        section("ups1", Some("dummy-ups"), None),
        section("down", Some("other"), Some("Moved")),
        section("new2", Some("b"), None),
    ]))));
    assert_eq!(
        house.log,
        ["Redefined UPS [down]", "Deleting UPS [stale]", "Kicking client 127.0.0.1 (was on UPS [stale])"]
    );
    assert_eq!((house.hear(on_stale), house.hear(on_ups1)), ("<cut>".into(), String::new()));
    house.play(
        watcher,
        r#"
        > LIST UPS
        BEGIN LIST UPS
        UPS new1 "New"
        UPS new2 "Description unavailable"
        UPS ups1 "Description unavailable"
        UPS down "Moved"
        END LIST UPS
        > GET VAR stale ups.status
        ERR UNKNOWN-UPS
        > GET VAR ups1 ups.status
        VAR ups1 ups.status "FSD OL"
        > GET NUMLOGINS ups1
        NUMLOGINS ups1 1
        "#,
    );
    house.step(Event::Tick);
    let mut sockets: Vec<&str> = house.wanted.iter().map(|(_, socket)| socket.as_str()).collect();
    sockets.sort_unstable();
    assert_eq!(sockets, ["a-new1", "b-new2", "other-down"]);
}

#[test]
fn another_driver_keeps_logins_and_the_latch() {
    let mut house = house();
    let (client, primary) = (house.user("secondary", "spw"), house.user("primary", "ppw"));
    house.say(client, "LOGIN ups1\n");
    house.say(primary, "FSD ups1\n");
    house.step(Event::Reload(Box::new(settings(vec![section("ups1", Some("apcsmart"), None)]))));
    house.logged("Redefined UPS [ups1]");
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "ERR DRIVER-NOT-CONNECTED\n");
    house.step(Event::Tick);
    house.driver_up("ups1");
    house.driver_says("ups1", "SETINFO ups.status \"OB\"\nDATAOK\nDUMPDONE\n");
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"FSD OB\"\n");
    assert_eq!(house.say(client, "GET NUMLOGINS ups1\n"), "NUMLOGINS ups1 1\n");
    // Taken out and put in again, it is forgotten.
    house.step(Event::Reload(Box::new(settings(Vec::new()))));
    house.logged("Warning: no UPSes currently defined!");
    house.step(Event::Reload(Box::new(settings(vec![section("ups1", Some("apcsmart"), None)]))));
    house.step(Event::Tick);
    house.driver_up("ups1");
    assert_eq!(house.say(primary, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"WAIT\"\n");
    assert_eq!(house.hear(client), "<cut>");
}

#[test]
fn another_driver_never_gets_the_list_of_the_former() {
    let mut house = house();
    let client = house.client();
    let dump = |house: &mut House, mfr: &str| {
        house.driver_says("down", &format!("SETINFO ups.status \"OL\"\nSETINFO ups.mfr \"{mfr}\"\n"));
        house.driver_says("down", "DATAOK\nDUMPDONE\n");
        house.say(client, "LIST VAR down\n")
    };
    house.driver_up("down");
    assert!(dump(&mut house, "before").contains("before"));
    house.step(Event::Reload(Box::new(settings(vec![section("down", Some("apcsmart"), None)]))));
    house.logged("Redefined UPS [down]");
    house.step(Event::Tick);
    house.driver_up("down");
    let listed = dump(&mut house, "after");
    assert!(listed.contains("after") && !listed.contains("before"), "{listed}");
}

#[test]
fn a_reload_that_changes_nothing_changes_nothing() {
    let mut house = house();
    let client = house.client();
    let before = house.say(client, "LIST VAR ups1\n");
    house.log.clear();
    let same = settings(vec![
        section("ups1", Some("dummy-ups"), Some("Test \"UPS\" one")),
        section("down", Some("dummy-ups"), None),
        section("stale", Some("dummy-ups"), None),
    ]);
    house.step(Event::Reload(Box::new(same)));
    assert_eq!(house.log, Vec::<String>::new());
    assert_eq!(house.say(client, "LIST VAR ups1\n"), before);
}

#[test]
fn a_shorter_maxage_counts_at_once() {
    let mut house = house();
    let mut settings = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    settings.upsd.max_age = Duration::from_secs(3);
    house.step(Event::Reload(Box::new(settings)));
    let client = house.client();
    house.pass(3);
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    house.pass(1);
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "ERR DATA-STALE\n");
}

#[test]
fn sections_that_make_no_ups_are_told() {
    let mut house = House::new(settings(vec![
        section("half", None, None),
        section("Twice", Some("a"), Some("earlier")),
        section("twice", Some("b"), Some("later")),
    ]));
    assert_eq!(
        house.log,
        ["Warning: ignoring incomplete configuration for UPS [half]", "UPS name [twice] is already in use!"]
    );
    let client = house.client();
    assert_eq!(house.say(client, "LIST UPS\n"), "BEGIN LIST UPS\nUPS twice \"later\"\nEND LIST UPS\n");
}

#[test]
fn refusals_are_counted_not_repeated() {
    let mut house = House::new(school());
    for _ in 0..1000 {
        house.client_from("10.0.0.1");
    }
    assert_eq!(house.log.iter().filter(|line| line.starts_with("Rejecting")).count(), 1);
    house.pass(60);
    house.client_from("10.0.0.1");
    house.logged("Rejecting TCP connection from 10.0.0.1 (999 more since the last of these lines)");
    assert_eq!(house.server.client_count(), 0);
}

#[test]
fn what_anybody_may_say_a_million_times_is_logged_once() {
    let mut house = house();
    let client = house.user("secondary", "spw");
    house.say(client, "LOGIN ups1\n");
    house.log.clear();
    for line in ["USERNAME x\n", "PASSWORD x\n", "LOGIN ups1\n"] {
        for _ in 0..1000 {
            assert!(house.say(client, line).starts_with("ERR ALREADY-"), "{line}");
        }
    }
    let once = ["set a username twice", "set a password twice", "login twice"];
    assert_eq!(house.log, once.map(|what| format!("Client secondary@127.0.0.1 tried to {what}")));
    house.pass(60);
    house.say(client, "PASSWORD x\n");
    house.logged(
        "Client secondary@127.0.0.1 tried to set a password twice (999 more since the last of these lines)",
    );
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "(GET|LIST|SET|INSTCMD|LOGIN|LOGOUT|FSD|PRIMARY|USERNAME|PASSWORD|VER|get|STARTTLS)( (VAR|TYPE|DESC|UPS|CLIENT|ENUM|TRACKING|ups1|down|admin|adminpw|ups.status|battery.charge|load.off|ON|OFF|5|\"a b\"|\"|#|=)){0,5}(\r?\n)?"
            .prop_map(String::into_bytes),
        Just(b"USERNAME admin\nPASSWORD adminpw\n".to_vec()),
        Just(b"SET TRACKING ON\nINSTCMD ups1 load.off\n".to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Random bytes from four clients and a driver, in any order, with time passing and connections breaking.
    #[test]
    fn no_bytes_make_it_stumble(steps in prop::collection::vec((0usize..8, request()), 0..80)) {
        let mut house = house();
        let mut clients: Vec<ClientId> = (0..4).map(|_| house.client()).collect();
        for (what, bytes) in steps {
            match what {
                0..4 => house.step(Event::ClientBytes { client: clients[what], bytes: &bytes }),
                4 => {
                    let ups = house.ups("ups1");
                    house.step(Event::DriverBytes { ups, bytes: &bytes });
                }
                5 => house.pass(u64::try_from(bytes.len()).unwrap()),
                6 => {
                    let client = clients.remove(0);
                    house.step(Event::ClientGone { client });
                    house.keys.remove(client.0);
                    clients.push(house.client());
                }
                _ => house.drivers_take = !house.drivers_take,
            }
            for (client, heard) in std::mem::take(&mut house.heard) {
                let over = heard.ends_with("<closed>") || heard.ends_with("<cut>");
                if let Some(at) = clients.iter().position(|one| *one == client).filter(|_| over) {
                    clients[at] = house.client();
                }
            }
            for (ups, _) in std::mem::take(&mut house.wanted) {
                house.step(Event::ConnectFailed { ups, path: "x", error: "y" });
            }
            prop_assert_eq!(house.server.client_count(), 4);
            let logins = house.server.common.upses.iter().map(|ups| ups.logins.len()).sum::<usize>();
            prop_assert!(logins <= 4);
            prop_assert!(house.server.deadlines.len() < 1000);
        }
        // Whatever was said, the next client is served.
        let client = house.client();
        prop_assert_eq!(house.say(client, "NETVER\n"), "1.3\n");
    }

    /// How the bytes are cut makes no difference to the answers.
    #[test]
    fn answers_do_not_depend_on_segments(requests in prop::collection::vec(request(), 0..20), cut in 1usize..20) {
        let bytes = requests.concat();
        let (mut whole, mut cut_up) = (house(), house());
        let (one, two) = (whole.client(), cut_up.client());
        let expected = whole.send(one, &bytes);
        let mut heard = String::new();
        for piece in bytes.chunks(cut) {
            heard.push_str(&cut_up.send(two, piece));
        }
        prop_assert_eq!(heard, expected);
    }
}
