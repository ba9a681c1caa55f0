//! What clients ask and what they are answered: every rule of net-protocol §§1 to 8.

use super::*;

#[test]
fn appendix_a_verbatim() {
    let mut house = house();
    let client = house.client();
    house.play(
        client,
        r#"
        > LIST VAR UPS1
        BEGIN LIST VAR UPS1
        VAR UPS1 battery.charge "100"
        VAR UPS1 Driver.Flag "x"
        VAR UPS1 input.transfer.low "103"
        VAR UPS1 ups.delay.start "20"
        VAR UPS1 ups.mfr "Acme \"Q\" Corp"
        VAR UPS1 ups.odd "a\#b"
        VAR UPS1 ups.status "OL"
        END LIST VAR UPS1
        > GET VAR ups1 UPS.MFR
        VAR ups1 UPS.MFR "Acme \"Q\" Corp"
        > GET TYPE ups1 input.transfer.low
        TYPE ups1 input.transfer.low RW ENUM STRING:3
        > GET TYPE ups1 ups.delay.start
        TYPE ups1 ups.delay.start RW RANGE NUMBER
        > GET TYPE ups1 ups.status
        TYPE ups1 ups.status NUMBER
        > LIST RANGE ups1 ups.delay.start
        BEGIN LIST RANGE ups1 ups.delay.start
        RANGE ups1 ups.delay.start "0" "30"
        RANGE ups1 ups.delay.start "60" "90"
        END LIST RANGE ups1 ups.delay.start
        > LIST ENUM ups1 ups.mfr
        BEGIN LIST ENUM ups1 ups.mfr
        END LIST ENUM ups1 ups.mfr
        > LIST CMD ups1
        BEGIN LIST CMD ups1
        CMD ups1 Beeper.Enable
        CMD ups1 load.off
        CMD ups1 test.panel.start
        END LIST CMD ups1
        > GET UPSDESC ups1
        UPSDESC ups1 "Test \"UPS\" one"
        > GET NUMLOGINS nope
        ERR UNKNOWN-UPS
        > SET
        ERR USERNAME-REQUIRED
        > VER x
        ERR INVALID-ARGUMENT
        > STARTTLS x
        ERR FEATURE-NOT-CONFIGURED
        "#,
    );
}

#[test]
fn who_are_you() {
    let mut house = house();
    let client = house.client();
    let level = nut_os::options::NUT_LEVEL;
    let ver = format!("Network UPS Tools upsd {level} - https://www.networkupstools.org/\n");
    assert_eq!(house.say(client, "VER\n"), ver);
    house.play(
        client,
        "
        > NETVER
        1.3
        > protver
        1.3
        > HELP
        Commands: HELP VER PROTVER GET LIST SET INSTCMD LOGIN LOGOUT USERNAME PASSWORD STARTTLS
        > NETVER x
        ERR INVALID-ARGUMENT
        > HELP x
        ERR INVALID-ARGUMENT
        > LOGOUT x
        ERR INVALID-ARGUMENT
        > STARTTLS
        ERR FEATURE-NOT-CONFIGURED
        ",
    );
}

#[test]
fn lines_are_cut_into_words_as_nut_cuts_them() {
    let mut house = house();
    let unknown = "ERR UNKNOWN-COMMAND\n";
    let invalid = "ERR INVALID-ARGUMENT\n";
    let value = "VAR ups1 ups.status \"OL\"\n";
    let table: [(&[u8], &str); 31] = [
        (b"\n", unknown),
        (b"   \t\r\n", unknown),
        (b"# a comment\n", unknown),
        (b"FOO\n", unknown),
        (b"NETVER\r\n", "1.3\n"),
        (b"NETVER\r\r\n", "1.3\n"),
        (b"  netver  \n", "1.3\n"),
        (b"NETVER#x\n", "1.3\n"),
        (b"NETVER # x y\n", "1.3\n"),
        (b"\xff\xfd\x03NETVER\n", "1.3\n"),
        (b"NET\x00VER\n", "1.3\n"),
        (b"\"NETVER\"\n", "1.3\n"),
        (b"NET\\VER\n", "1.3\n"),
        (b"NETVER \\\n \n", invalid),
        (b"NETVER \x01\n", invalid),
        (b"GET VAR ups1 ups.status\n", value),
        (b"get var ups1 ups.status more words here\n", value),
        (b"GET \"VAR\" \"ups1\" \"ups.status\"\n", value),
        (b"GET VAR ups1 ups\\.status\n", value),
        (b"\"GET\"\"VAR\"\"ups1\"\"ups.status\"\n", value),
        (b"\"GET\"VAR\"ups1\"\n", invalid),
        (b"GET VAR ups1=ups.status\n", "ERR VAR-NOT-SUPPORTED\n"),
        (b"PASSWORD a=b\n", invalid),
        (b"PASSWORD \"a=b\"\n", "OK\n"),
        (b"USERNAME a\\=b\n", "OK\n"),
        (b"GET VAR \"ups\n1\" ups.status\n", value),
        (b"GET VAR ups1 \\\nups.status\n", value),
        (b"GET VAR ups1 \"\"\n", "ERR VAR-NOT-SUPPORTED\n"),
        (b"GET VAR \"\" ups.status\n", "ERR UNKNOWN-UPS\n"),
        (b"GET VAR caf\xc3\xa9 x\n", "ERR UNKNOWN-UPS\n"),
        (b"GET TYPE ups1 ups\x7f\n", "ERR VAR-NOT-SUPPORTED\n"),
    ];
    for (line, expected) in table {
        let client = house.client();
        let shown = String::from_utf8_lossy(line).into_owned();
        let heard = house.send(client, line);
        assert_eq!(heard, expected, "{shown:?}");
        assert_eq!(house.say(client, "NETVER\n"), "1.3\n", "the connection goes on after {shown:?}");
        house.step(Event::ClientGone { client });
    }
}

#[test]
fn forty_words_are_too_many_but_no_error() {
    let mut house = house();
    let client = house.client();
    let many = "w ".repeat(40);
    let heard = house.say(client, &format!("GET VAR ups1 ups.status {many}\n"));
    assert_eq!(heard, "VAR ups1 ups.status \"OL\"\n");
}

#[test]
fn half_a_line_waits_for_its_other_half_wherever_it_is_cut() {
    let mut house = house();
    let client = house.client();
    let text = b"GET VAR ups1 \"ups.status\"\nNETVER\n";
    for cut in 0..text.len() {
        let (head, tail) = text.split_at(cut);
        let mut heard = house.send(client, head);
        heard.push_str(&house.send(client, tail));
        assert_eq!(heard, "VAR ups1 ups.status \"OL\"\n1.3\n", "cut at {cut}");
    }
}

#[test]
fn half_lines_of_two_clients_do_not_mix() {
    let mut house = house();
    let (one, two) = (house.client(), house.client());
    assert_eq!(house.say(one, "GET VAR ups1 "), "");
    assert_eq!(house.say(two, "NET"), "");
    assert_eq!(house.say(one, "ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    assert_eq!(house.say(two, "VER\n"), "1.3\n");
}

#[test]
fn a_hash_in_quotes_costs_the_line_and_no_answer() {
    let mut house = house();
    let client = house.client();
    assert_eq!(house.say(client, "GET VAR ups1 \"a#b\"\nNETVER\n"), "1.3\n");
    house.logged("Parse error on sock: unbalanced word due to unescaped # in quotes (client 127.0.0.1)");
    assert_eq!(house.say(client, "SET \"x#"), "");
    assert_eq!(house.say(client, "y\" z"), "");
    assert_eq!(house.say(client, "\nNETVER\n"), "1.3\n");
}

#[test]
fn a_line_without_end_is_the_end() {
    let mut house = house();
    let client = house.client();
    let mut heard = String::new();
    for _ in 0..20 {
        heard.push_str(&house.say(client, &"x".repeat(4096)));
    }
    assert_eq!(heard, "<closed>");
    assert_eq!(house.server.client_count(), 0);
}

#[test]
fn get_and_list_count_their_words() {
    let mut house = house();
    let client = house.client();
    for line in [
        "GET",
        "GET FOO",
        "GET VAR",
        "GET VAR ups1",
        "GET FOO ups1 x",
        "GET TYPE ups1",
        "GET DESC ups1",
        "GET CMDDESC ups1",
        "GET NUMLOGINS",
        "GET UPSDESC",
        "LIST",
        "LIST FOO",
        "LIST VAR",
        "LIST RW",
        "LIST CMD",
        "LIST CLIENT",
        "LIST CLIENTS",
        "LIST CLIENTS ups1",
        "LIST ENUM ups1",
        "LIST RANGE ups1",
        "LIST FOO ups1 x",
    ] {
        assert_eq!(house.say(client, &format!("{line}\n")), "ERR INVALID-ARGUMENT\n", "{line}");
    }
}

/// net-protocol §9.4: what a client sees, by the state of the driver.
#[test]
fn answers_by_the_state_of_the_driver() {
    let needs_data = [
        "GET NUMLOGINS {}",
        "GET VAR {} ups.status",
        "GET TYPE {} ups.status",
        "GET DESC {} ups.status",
        "GET CMDDESC {} load.off",
        "LIST VAR {}",
        "LIST RW {}",
        "LIST CMD {}",
        "LIST ENUM {} ups.status",
        "LIST RANGE {} ups.status",
        "SET VAR {} ups.status x",
        "INSTCMD {} load.off",
    ];
    let needs_name = ["GET UPSDESC {}", "LIST CLIENT {}", "LOGIN {}", "PRIMARY {}", "MASTER {}", "FSD {}"];
    let mut house = house();
    for (ups, expected) in [
        ("nope", "ERR UNKNOWN-UPS\n"),
        ("down", "ERR DRIVER-NOT-CONNECTED\n"),
        ("stale", "ERR DATA-STALE\n"),
        ("STALE", "ERR DATA-STALE\n"),
    ] {
        for line in needs_data {
            let client = house.user("admin", "adminpw");
            let heard = house.say(client, &format!("{}\n", line.replace("{}", ups)));
            assert_eq!(heard, expected, "{line} {ups}");
            house.step(Event::ClientGone { client });
        }
        for line in needs_name {
            let client = house.user("admin", "adminpw");
            let heard = house.say(client, &format!("{}\n", line.replace("{}", ups)));
            assert_eq!(heard.starts_with("ERR"), ups == "nope", "{line} {ups}: {heard}");
            assert!(ups != "nope" || heard == expected, "{line} {ups}: {heard}");
            house.step(Event::ClientGone { client });
        }
    }
}

#[test]
fn names_are_echoed_as_the_client_spelled_them() {
    let mut house = house();
    let client = house.client();
    house.play(
        client,
        r#"
        > GET VAR uPs1 Ups.Status
        VAR uPs1 Ups.Status "OL"
        > GET TYPE UPS1 Ups.Status
        TYPE UPS1 Ups.Status NUMBER
        > GET DESC UPS1 No.Such
        DESC UPS1 No.Such "Description unavailable"
        > GET CMDDESC UPS1 No.Such
        CMDDESC UPS1 No.Such "Description unavailable"
        > GET UPSDESC UPS1
        UPSDESC UPS1 "Test \"UPS\" one"
        > GET NUMLOGINS UPS1
        NUMLOGINS UPS1 0
        > LIST CMD UPS1 more
        BEGIN LIST CMD UPS1
        CMD UPS1 Beeper.Enable
        CMD UPS1 load.off
        CMD UPS1 test.panel.start
        END LIST CMD UPS1
        > list rw Ups1
        BEGIN LIST RW Ups1
        RW Ups1 battery.charge "100"
        RW Ups1 input.transfer.low "103"
        RW Ups1 ups.delay.start "20"
        END LIST RW Ups1
        > LIST ENUM UPS1 Input.Transfer.Low
        BEGIN LIST ENUM UPS1 Input.Transfer.Low
        ENUM UPS1 Input.Transfer.Low "103"
        ENUM UPS1 Input.Transfer.Low "100"
        END LIST ENUM UPS1 Input.Transfer.Low
        > LIST RANGE UPS1 ups.status
        BEGIN LIST RANGE UPS1 ups.status
        END LIST RANGE UPS1 ups.status
        > LIST CLIENT UPS1
        BEGIN LIST CLIENT UPS1
        END LIST CLIENT UPS1
        > LIST ENUM ups1 nosuch
        ERR VAR-NOT-SUPPORTED
        > LIST RANGE ups1 nosuch
        ERR VAR-NOT-SUPPORTED
        > LIST UPS
        BEGIN LIST UPS
        UPS ups1 "Test \"UPS\" one"
        UPS down "Description unavailable"
        UPS stale "Description unavailable"
        END LIST UPS
        > GET UPSDESC down
        UPSDESC down "Unavailable"
        "#,
    );
}

#[test]
fn the_server_has_two_variables_for_every_ups_there_is_or_not() {
    let mut house = house();
    let client = house.client();
    let level = nut_os::options::NUT_LEVEL;
    let info = format!("Network UPS Tools upsd {level} - https://www.networkupstools.org/");
    for (line, expected) in [
        ("GET VAR nosuch server.version", format!("VAR nosuch server.version \"{level}\"\n")),
        ("GET VAR down SERVER.Version", format!("VAR down server.version \"{level}\"\n")),
        ("GET VAR ups1 server.info", format!("VAR ups1 server.info \"{info}\"\n")),
        ("GET VAR ups1 server.other", "ERR VAR-NOT-SUPPORTED\n".into()),
        ("GET VAR nosuch server.", "ERR VAR-NOT-SUPPORTED\n".into()),
        ("GET VAR nosuch server", "ERR UNKNOWN-UPS\n".into()),
        ("GET TYPE ups1 server.info", "ERR VAR-NOT-SUPPORTED\n".into()),
        ("GET TYPE nosuch server.info", "ERR UNKNOWN-UPS\n".into()),
    ] {
        assert_eq!(house.say(client, &format!("{line}\n")), expected, "{line}");
    }
}

#[test]
fn kinds_of_variables() {
    let mut house = house();
    house.driver_says(
        "ups1",
        "SETINFO a x\nSETFLAGS a RW STRING\nSETINFO b x\nSETFLAGS b STRING\nSETAUX b 7\nSETINFO c x\n\
         SETFLAGS c RW\nADDENUM c x\nADDRANGE c 1 2\nSETINFO d x\nSETFLAGS d RW NUMBER\nSETAUX d 9\n",
    );
    let client = house.client();
    house.play(
        client,
        "
        > GET TYPE ups1 a
        TYPE ups1 a RW STRING:0
        > GET TYPE ups1 b
        TYPE ups1 b STRING:7
        > GET TYPE ups1 c
        TYPE ups1 c RW ENUM RANGE NUMBER
        > GET TYPE ups1 d
        TYPE ups1 d RW NUMBER
        > GET TYPE ups1 nosuch
        ERR VAR-NOT-SUPPORTED
        ",
    );
}

#[test]
fn descriptions_are_looked_up_without_case_and_without_upstream() {
    let mut settings = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    settings.descriptions =
        Descriptions::parse(b"VARDESC ups.status \"UPS status\"\nCMDDESC load.off \"Turn off\"\n");
    let mut house = House::new(settings);
    house.driver_up("ups1");
    let client = house.client();
    house.play(
        client,
        r#"
        > GET DESC ups1 UPS.Status
        DESC ups1 UPS.Status "UPS status"
        > GET DESC ups1 Upstream.ups.status
        DESC ups1 Upstream.ups.status "UPS status"
        > GET CMDDESC ups1 load.OFF
        CMDDESC ups1 load.OFF "Turn off"
        > GET DESC ups1 server.info
        DESC ups1 server.info "Description unavailable"
        "#,
    );
}

#[test]
fn a_user_is_asked_for_before_the_words_are_counted() {
    let mut house = house();
    for line in [
        "LOGIN",
        "LOGIN ups1",
        "LOGIN a b",
        "PRIMARY",
        "PRIMARY ups1",
        "MASTER",
        "MASTER ups1",
        "FSD",
        "FSD ups1",
        "SET",
        "SET x",
        "SET VAR ups1 a b",
        "SET TRACKING ON",
        "SET TRACKING maybe",
        "INSTCMD",
        "INSTCMD ups1 load.off",
    ] {
        let client = house.client();
        let line = format!("{line}\n");
        assert_eq!(house.say(client, &line), "ERR USERNAME-REQUIRED\n", "{line}");
        house.say(client, "USERNAME x\n");
        assert_eq!(house.say(client, &line), "ERR PASSWORD-REQUIRED\n", "{line}");
        house.step(Event::ClientGone { client });
        let client = house.client();
        house.say(client, "PASSWORD x\n");
        assert_eq!(house.say(client, &line), "ERR USERNAME-REQUIRED\n", "{line}");
        house.step(Event::ClientGone { client });
    }
}

#[test]
fn with_a_user_the_words_are_counted() {
    let mut house = house();
    let client = house.user("admin", "adminpw");
    for line in [
        "LOGIN a b",
        "PRIMARY",
        "PRIMARY a b",
        "MASTER a b",
        "FSD",
        "FSD a b",
        "SET",
        "SET x",
        "SET VAR",
        "SET VAR u",
        "SET VAR u v",
        "SET FOO u v w",
        "SET TRACKING",
        "SET TRACKING maybe",
        "INSTCMD",
        "INSTCMD u",
        "USERNAME",
        "USERNAME a b",
        "PASSWORD",
        "PASSWORD a b",
    ] {
        assert_eq!(house.say(client, &format!("{line}\n")), "ERR INVALID-ARGUMENT\n", "{line}");
    }
}

#[test]
fn names_and_passwords_are_given_once_and_judged_later() {
    let mut house = house();
    let client = house.client();
    house.play(
        client,
        "
        > PASSWORD wrong
        OK
        > PASSWORD again
        ERR ALREADY-SET-PASSWORD
        > USERNAME nobody
        OK
        > USERNAME admin
        ERR ALREADY-SET-USERNAME
        > LOGIN ups1
        ERR ACCESS-DENIED
        > GET VAR ups1 ups.status
        VAR ups1 ups.status \"OL\"
        ",
    );
    house.logged("Client 127.0.0.1 tried to set a password twice");
    house.logged("Client nobody@127.0.0.1 tried to set a username twice");
    house.logged("Client nobody@127.0.0.1 was denied LOGIN ups1: there is no such user");
    let client = house.client();
    let heard = house.say(client, "USERNAME \"\"\nPASSWORD \"\"\nLOGIN ups1\n");
    assert_eq!(heard, "OK\nOK\nERR ACCESS-DENIED\n");
}

#[test]
fn who_may_do_what() {
    let lines = [
        "LOGIN ups1",
        "PRIMARY ups1",
        "MASTER ups1",
        "FSD down",
        "SET VAR ups1 battery.charge 5",
        "INSTCMD ups1 load.off",
        "INSTCMD ups1 Test.Panel.Start",
    ];
    for (user, password, granted) in [
        ("admin", "adminpw", [true; 7]),
        ("admin", "Adminpw", [false; 7]),
        ("Admin", "adminpw", [false; 7]),
        ("setter", "setpw", [false, false, false, false, true, false, false]),
        ("tester", "testpw", [false, false, false, false, false, false, true]),
        ("primary", "ppw", [true, true, true, true, false, false, false]),
        ("secondary", "spw", [true, false, false, false, false, false, false]),
        ("nopw", "\"\"", [false; 7]),
    ] {
        let mut house = house();
        let client = house.user(user, password);
        for (line, granted) in lines.into_iter().zip(granted) {
            let heard = house.say(client, &format!("{line}\n"));
            let as_expected = if granted { heard.starts_with("OK") } else { heard == "ERR ACCESS-DENIED\n" };
            assert!(as_expected, "{user} {line}: {heard}");
        }
        assert_eq!(house.say(client, "SET TRACKING ON\n"), "OK\n", "anybody may, with any password");
    }
}

#[test]
fn primary_and_master_answer_in_their_own_word() {
    let mut house = house();
    let client = house.user("primary", "ppw");
    house.told.clear();
    house.play(
        client,
        "
        > PRIMARY UPS1
        OK PRIMARY-GRANTED
        > MASTER down
        OK MASTER-GRANTED
        > PRIMARY nope
        ERR UNKNOWN-UPS
        ",
    );
    assert_eq!(house.told, []);
}

#[test]
fn logins_are_counted_and_listed() {
    let mut house = house();
    let watcher = house.client();
    let number = |house: &mut House, ups: &str| house.say(watcher, &format!("GET NUMLOGINS {ups}\n"));
    let one = house.user("secondary", "spw");
    let two = house.client_from("192.0.2.7");
    let three = house.client_from("2001:db8::1");
    for client in [two, three] {
        house.say(client, "USERNAME secondary\nPASSWORD spw\n");
    }
    // Listed by the order they came in, whatever the order they logged in.
    assert_eq!(house.say(three, "LOGIN UPS1\n"), "OK\n");
    assert_eq!(house.say(one, "LOGIN ups1\n"), "OK\n");
    assert_eq!(house.say(two, "LOGIN ups1\n"), "OK\n");
    assert_eq!(number(&mut house, "ups1"), "NUMLOGINS ups1 3\n");
    house.play(
        watcher,
        "
        > LIST CLIENT Ups1
        BEGIN LIST CLIENT Ups1
        CLIENT ups1 2001:db8::1
        CLIENT ups1 192.0.2.7
        CLIENT ups1 127.0.0.1
        END LIST CLIENT Ups1
        ",
    );
    house.logged("User secondary@2001:db8::1 logged into UPS [ups1]");
    for line in ["LOGIN ups1\n", "LOGIN down\n", "LOGIN nope\n"] {
        assert_eq!(house.say(one, line), "ERR ALREADY-LOGGED-IN\n");
    }
    house.logged("Client secondary@127.0.0.1 tried to login twice");
    house.step(Event::ClientGone { client: three });
    assert_eq!(number(&mut house, "ups1"), "NUMLOGINS ups1 2\n");
    assert_eq!(house.say(two, "LOGOUT\n"), "OK Goodbye\n<closed>");
    house.logged("User secondary@192.0.2.7 logged out from UPS [ups1]");
    assert_eq!(number(&mut house, "ups1"), "NUMLOGINS ups1 1\n");
    // The driver need not be there, and its coming and going logs nobody out.
    let four = house.user("admin", "adminpw");
    assert_eq!(house.say(four, "LOGIN nope\n"), "ERR UNKNOWN-UPS\n");
    assert_eq!(house.say(four, "LOGIN down\n"), "OK\n");
    house.driver_up("down");
    assert_eq!(number(&mut house, "down"), "NUMLOGINS down 1\n");
}

#[test]
fn logout_is_final() {
    let mut house = house();
    let client = house.user("secondary", "spw");
    assert_eq!(house.say(client, "LOGIN ups1\nLOGOUT\nNETVER\n"), "OK\nOK Goodbye\n<closed>");
    assert_eq!(house.say(client, "NETVER\n"), "");
    let watcher = house.client();
    assert_eq!(house.say(watcher, "GET NUMLOGINS ups1\n"), "NUMLOGINS ups1 0\n");
    let log = house.log.len();
    assert_eq!(house.say(watcher, "LOGOUT\n"), "OK Goodbye\n<closed>");
    assert_eq!(house.log.len(), log, "nobody was logged in, nothing to say");
}

#[test]
fn set_var_asks_in_nuts_order() {
    let mut house = house();
    house.driver_says(
        "ups1",
        "SETINFO s \"x\"\nSETFLAGS s RW STRING\nSETINFO n 1\nSETFLAGS n RW NUMBER\nSETINFO q 1\n\
         SETFLAGS q RW\nADDENUM q \"a\\\"b\"\n",
    );
    let stranger = house.user("secondary", "spw");
    house.play(
        stranger,
        "
        > SET VAR nope v x
        ERR UNKNOWN-UPS
        > SET VAR down v x
        ERR DRIVER-NOT-CONNECTED
        > SET VAR stale v x
        ERR DATA-STALE
        > SET VAR ups1 nosuch x
        ERR ACCESS-DENIED
        ",
    );
    let client = house.user("setter", "setpw");
    house.told.clear();
    house.play(
        client,
        r#"
        > SET VAR ups1 nosuch x
        ERR VAR-NOT-SUPPORTED
        > SET VAR ups1 server.info x
        ERR VAR-NOT-SUPPORTED
        > SET VAR ups1 ups.status x
        ERR READONLY
        > SET VAR ups1 s x
        ERR SET-FAILED
        > SET VAR ups1 battery.charge 123456
        ERR TOO-LONG
        > SET VAR ups1 battery.charge 12345
        OK
        > SET VAR ups1 input.transfer.low 1033
        ERR TOO-LONG
        > SET VAR ups1 input.transfer.low 101
        ERR INVALID-VALUE
        > SET VAR ups1 INPUT.transfer.low 100
        OK
        > SET VAR ups1 ups.delay.start 31
        ERR INVALID-VALUE
        > SET VAR ups1 ups.delay.start 75.9xyz
        OK
        > SET VAR ups1 ups.delay.start abc
        OK
        > SET VAR ups1 ups.delay.start -1
        ERR INVALID-VALUE
        > SET VAR ups1 n "any text"
        OK
        > SET VAR ups1 n a b
        OK
        > SET VAR ups1 n ""
        OK
        > SET VAR ups1 q "a\"b"
        OK
        > SET VAR ups1 n "a\"\\\#=b"
        OK
        "#,
    );
    house.logged("UPS [ups1]: auxdata for s is invalid");
    house
        .logged("Set variable: setter@127.0.0.1 set battery.charge on ups1 to 12345 (tracking ID: disabled)");
    let told: String = house.told.iter().map(|(ups, text)| format!("{ups}: {text}")).collect();
    assert_eq!(
        told,
        r#"ups1: SET battery.charge "12345"
ups1: SET INPUT.transfer.low "100"
ups1: SET ups.delay.start "75.9xyz"
ups1: SET ups.delay.start "abc"
ups1: SET n "any text"
ups1: SET n "a"
ups1: SET n ""
ups1: SET q "a\"b"
ups1: SET n "a\"\\\#=b"
"#
    );
}

#[test]
fn instcmd_asks_in_nuts_order() {
    let mut house = house();
    house.told.clear();
    let stranger = house.user("tester", "testpw");
    house.play(
        stranger,
        "
        > INSTCMD nope load.off
        ERR UNKNOWN-UPS
        > INSTCMD down load.off
        ERR DRIVER-NOT-CONNECTED
        > INSTCMD stale load.off
        ERR DATA-STALE
        > INSTCMD ups1 nosuch
        ERR CMD-NOT-SUPPORTED
        > INSTCMD ups1 load.off
        ERR ACCESS-DENIED
        > INSTCMD ups1 TEST.panel.start
        OK
        ",
    );
    house.logged("Client tester@127.0.0.1 was denied INSTCMD ups1 load.off: the user has no right to it");
    house.logged("Instant command: tester@127.0.0.1 did TEST.panel.start on ups1 (tracking ID: disabled)");
    let client = house.user("admin", "adminpw");
    house.play(
        client,
        r#"
        > INSTCMD UPS1 load.off
        OK
        > INSTCMD ups1 load.off 30
        OK
        > INSTCMD ups1 load.off "a b"
        OK
        > INSTCMD ups1 load.off a b
        OK
        > INSTCMD ups1 load.off ""
        OK
        "#,
    );
    house.logged("Instant command: admin@127.0.0.1 did load.off on ups1 (tracking ID: disabled)");
    house.logged(
        "Instant command: admin@127.0.0.1 did load.off with value 30 on ups1 (tracking ID: disabled)",
    );
    let told: Vec<&str> = house.told.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        told,
        [
            "INSTCMD TEST.panel.start\n",
            "INSTCMD load.off\n",
            "INSTCMD load.off \"30\"\n",
            "INSTCMD load.off \"a b\"\n",
            "INSTCMD load.off\n",
            "INSTCMD load.off\n"
        ]
    );
}

#[test]
fn an_order_that_does_not_reach_the_driver_has_failed() {
    let mut house = house();
    let client = house.user("admin", "adminpw");
    house.say(client, "SET TRACKING ON\n");
    house.drivers_take = false;
    assert_eq!(house.say(client, "INSTCMD ups1 load.off\nNETVER\n"), "ERR INSTCMD-FAILED\n1.3\n");
    house.logged("Set command send failed");
    assert_eq!(house.say(client, "SET VAR ups1 battery.charge 1\n"), "ERR DRIVER-NOT-CONNECTED\n");
    house.drivers_take = true;
    house.pass(1);
    house.driver_up("ups1");
    house.driver_says("ups1", APPENDIX_A);
    house.drivers_take = false;
    assert_eq!(house.say(client, "SET VAR ups1 battery.charge 1\n"), "ERR SET-FAILED\n");
}

#[test]
fn requests_behind_an_order_wait_for_it_and_come_in_order() {
    let mut house = house();
    let client = house.user("admin", "adminpw");
    house.told.clear();
    let heard = house.say(
        client,
        "NETVER\nINSTCMD ups1 load.off\nGET VAR ups1 ups.status\nSET VAR ups1 battery.charge 1\nNETVER\n\
         LOGOUT\nNETVER\n",
    );
    assert_eq!(heard, "1.3\nOK\nVAR ups1 ups.status \"OL\"\nOK\n1.3\nOK Goodbye\n<closed>");
    assert_eq!(house.told.len(), 2);
}

fn id_in(answer: &str) -> String {
    answer.strip_prefix("OK TRACKING ").and_then(|id| id.strip_suffix('\n')).expect(answer).to_owned()
}

#[test]
fn tracking_from_the_order_to_its_end() {
    let mut house = house();
    let client = house.user("admin", "adminpw");
    house.told.clear();
    house.play(
        client,
        "
        > GET TRACKING
        OFF
        > GET TRACKING 00000000-0000-4000-8000-000000000000
        ERR FEATURE-NOT-CONFIGURED
        > SET TRACKING on
        OK
        > GET TRACKING
        ON
        > GET TRACKING nonsense
        ERR UNKNOWN
        > GET TRACKING 00000000-0000-4000-8000-000000000000
        ERR UNKNOWN
        ",
    );
    let first = id_in(&house.say(client, "SET VAR ups1 battery.charge 1\n"));
    let second = id_in(&house.say(client, "INSTCMD ups1 load.off 5\n"));
    assert_ne!(first, second);
    assert_eq!(house.told.remove(0).1, format!("SET battery.charge \"1\" TRACKING {first}\n"));
    assert_eq!(house.told.remove(0).1, format!("INSTCMD load.off \"5\" TRACKING {second}\n"));
    house.logged(&format!(
        "Set variable: admin@127.0.0.1 set battery.charge on ups1 to 1 (tracking ID: {first})"
    ));
    house.logged(&format!(
        "Instant command: admin@127.0.0.1 did load.off with value 5 on ups1 (tracking ID: {second})"
    ));
    let ask = |house: &mut House, client, id: &str| house.say(client, &format!("GET TRACKING {id}\n"));
    assert_eq!(ask(&mut house, client, &first), "PENDING\n");
    for (code, answer) in [
        ("0", "SUCCESS\n"),
        ("1", "ERR UNKNOWN\n"),
        ("2", "ERR INVALID-ARGUMENT\n"),
        ("3", "ERR FAILED\n"),
        ("4", "ERR INVALID-ARGUMENT\n"),
        ("77", "ERR UNKNOWN\n"),
        ("-1", "PENDING\n"),
        ("nonsense", "SUCCESS\n"),
    ] {
        house.driver_says("ups1", &format!("TRACKING {} {code}\n", first.to_lowercase()));
        assert_eq!(ask(&mut house, client, &first), answer, "{code}");
    }
    house.logged(&format!("tracking ID: {first}\tresult: SUCCESS"));
    assert_eq!(ask(&mut house, client, &second), "PENDING\n");
    // Any connection may ask, if it tracks itself; without it nobody.
    let other = house.user("x", "y");
    assert_eq!(ask(&mut house, other, &first), "ERR FEATURE-NOT-CONFIGURED\n");
    house.say(other, "SET TRACKING ON\n");
    assert_eq!(ask(&mut house, other, &first.to_lowercase()), "SUCCESS\n");
    // Another UPS' driver has no say.
    house.driver_says("stale", &format!("TRACKING {second} 0\n"));
    assert_eq!(ask(&mut house, other, &second), "PENDING\n");
    // Off: no ids any more, but the old ones live.
    house.say(client, "SET TRACKING OFF\n");
    assert_eq!(house.say(client, "INSTCMD ups1 load.off\n"), "OK\n");
    assert_eq!(ask(&mut house, other, &first), "SUCCESS\n");
    house.at(3600);
    assert_eq!(ask(&mut house, other, &first), "SUCCESS\n");
    house.at(3601);
    assert_eq!(ask(&mut house, other, &first), "ERR UNKNOWN\n");
}

#[test]
fn hundreds_of_tracked_orders_in_one_go_each_get_an_id() {
    let mut house = house();
    let client = house.user("admin", "adminpw");
    house.say(client, "SET TRACKING ON\n");
    let heard = house.say(client, &"INSTCMD ups1 load.off\n".repeat(500));
    let ids: std::collections::HashSet<&str> = heard.lines().collect();
    assert_eq!((heard.lines().count(), ids.len()), (500, 500));
}

#[test]
fn fsd_is_a_latch() {
    let mut house = house();
    let client = house.user("primary", "ppw");
    house.play(
        client,
        r#"
        > FSD nope
        ERR UNKNOWN-UPS
        > FSD UPS1
        OK FSD-SET
        > FSD ups1
        OK FSD-SET
        > GET VAR ups1 UPS.Status
        VAR ups1 UPS.Status "FSD OL"
        > GET VAR ups1 battery.charge
        VAR ups1 battery.charge "100"
        "#,
    );
    house.logged("Client primary@127.0.0.1 set FSD on UPS [ups1]");
    assert!(house.say(client, "LIST VAR ups1\n").contains("VAR ups1 ups.status \"FSD OL\"\n"));
    house.driver_says("ups1", "SETFLAGS ups.status RW\n");
    assert!(house.say(client, "LIST RW ups1\n").contains("RW ups1 ups.status \"OL\"\n"), "not in LIST RW");
    // The driver ends and comes again.
    let ups = house.ups("ups1");
    house.step(Event::DriverGone { ups });
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "ERR DRIVER-NOT-CONNECTED\n");
    house.pass(1);
    house.driver_up("ups1");
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"FSD WAIT\"\n");
    house.driver_says("ups1", "SETINFO ups.status \"OB LB\"\nDATAOK\nDUMPDONE\n");
    assert_eq!(house.say(client, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"FSD OB LB\"\n");
    // A UPS whose driver is not there can be forced too.
    assert_eq!(house.say(client, "FSD down\n"), "OK FSD-SET\n");
    house.driver_up("down");
    assert_eq!(house.say(client, "GET VAR down ups.status\n"), "VAR down ups.status \"FSD WAIT\"\n");
}

#[test]
fn long_values_and_descriptions_are_cut_where_nut_cuts_them() {
    let long = "x".repeat(600);
    let mut house = House::new(settings(vec![section("ups1", Some("dummy-ups"), Some(&long))]));
    house.driver_up("ups1");
    let (plain, quotes) = ("y".repeat(700), "\\\"".repeat(200));
    house.driver_says("ups1", &format!("SETINFO v \"{plain}\"\nSETINFO e \"{quotes}\"\n"));
    let client = house.client();
    assert_eq!(house.say(client, "GET VAR ups1 v\n"), format!("VAR ups1 v \"{}\"\n", "y".repeat(255)));
    assert_eq!(house.say(client, "GET VAR ups1 e\n"), format!("VAR ups1 e \"{}\"\n", "\\\"".repeat(127)));
    assert_eq!(house.say(client, "GET UPSDESC ups1\n"), format!("UPSDESC ups1 \"{}\"\n", "x".repeat(511)));
}

#[test]
fn check_ups_sends_two_requests_at_once() {
    let mut house = house();
    let client = house.client();
    assert_eq!(
        house.say(client, "GET VAR ups1 ups.status\nLOGOUT\n"),
        "VAR ups1 ups.status \"OL\"\nOK Goodbye\n<closed>"
    );
}

#[test]
fn a_list_is_one_write() {
    let mut house = house();
    let client = house.client();
    let mut out = Outputs::default();
    let bytes = b"LIST VAR ups1\nLIST UPS\n";
    house.server.step(house.now, Event::ClientBytes { client, bytes }, &mut out);
    assert!(matches!(out.actions.as_slice(), [Action::Write { .. }]), "{:?}", out.actions);
}

/// Answers beyond the stretch: at most one list of this test's UPS.
const MOST: usize = crate::client::MAX_STRETCH + 600_000;

#[test]
fn a_client_that_asks_for_more_than_it_takes_is_answered_bit_by_bit() {
    let mut house = house();
    for n in 0..1000 {
        house.driver_says("ups1", &format!("SETINFO v{n} \"{}\"\n", "x".repeat(200)));
    }
    let (greedy, other) = (house.client(), house.client());
    house.clients_take = false;
    let first = house.say(greedy, &"LIST VAR ups1\n".repeat(100));
    assert!(first.len() < MOST, "{}", first.len());
    assert_eq!(house.say(other, "NETVER\n"), "1.3\n");
    let mut lists = first.matches("BEGIN LIST VAR ups1\n").count();
    for _ in 0..100 {
        for client in std::mem::take(&mut house.unfinished) {
            house.step(Event::ClientDrained { client });
            let more = house.hear(client);
            assert!(more.len() < MOST);
            lists += more.matches("BEGIN LIST VAR ups1\n").count();
        }
    }
    assert_eq!(lists, 100);
    assert_eq!(house.say(greedy, "NETVER\n"), "1.3\n");
}

#[test]
fn what_waits_of_a_client_is_bounded() {
    let mut house = house();
    for n in 0..2000 {
        house.driver_says("ups1", &format!("SETINFO v{n} \"{}\"\n", "x".repeat(200)));
    }
    let client = house.client();
    house.clients_take = false;
    let mut heard = String::new();
    for _ in 0..10 {
        heard.push_str(&house.say(client, &"LIST VAR ups1\n".repeat(5000)));
    }
    assert!(heard.ends_with("<closed>"));
    house.logged("Closing connection from 127.0.0.1: it does not read its answers");
    assert_eq!(house.server.client_count(), 0);
}
