//! Clients of NUT before 1.5, and RFC 9271's words.

use super::*;

/// What the driver of an old Smart-UPS tells today.
const SMART: &str = "SETINFO ups.status \"OL\"\nSETINFO battery.charge \"100.0\"\nSETINFO ups.mfr \"A \\\"Q\\\" C\"\n\
    SETINFO ups.serial \"\"\n\
    SETINFO input.transfer.low \"103\"\nSETFLAGS input.transfer.low RW STRING\nSETAUX input.transfer.low 3\n\
    SETINFO input.transfer.high \"132\"\nSETFLAGS input.transfer.high RW STRING\nSETAUX input.transfer.high 3\n\
    ADDENUM input.transfer.high \"127\"\nADDENUM input.transfer.high \"132\"\n\
    ADDCMD test.battery.start\nADDCMD load.off\nDATAOK\nDUMPDONE\n";

fn old_house() -> House {
    let mut settings = settings(vec![
        section("first", Some("apcsmart"), None),
        section("second", Some("apcsmart"), None),
        section("down", Some("apcsmart"), None),
    ]);
    settings.descriptions = Descriptions::parse(
        b"VARDESC ups.status \"UPS status\"\nCMDDESC test.battery.start \"Start a test\"\n",
    );
    let mut house = House::new(settings);
    for name in ["first", "second"] {
        house.driver_up(name);
        house.driver_says(name, SMART);
    }
    house.driver_says("second", "SETINFO ups.status \"OB LB\"\n");
    house
}

#[test]
fn a_client_of_nut_1_4_is_answered_in_its_own_words() {
    let mut house = old_house();
    let client = house.client();
    house.play(
        client,
        r#"
        > LISTVARS
        VARS STATUS LOWXFER HIGHXFER BATTPCT MFR SERIAL
        > LISTVARS second
        VARS @second STATUS LOWXFER HIGHXFER BATTPCT MFR SERIAL
        > LISTRW
        RW LOWXFER HIGHXFER
        > LISTRW second
        RW @second LOWXFER HIGHXFER
        > LISTINSTCMD
        INSTCMDS BTEST1
        > LISTINSTCMD second
        INSTCMDS @second BTEST1
        > REQ STATUS
        ANS STATUS OL
        > REQ Status@second
        ANS Status@second OB LB
        > req MFR
        ANS MFR A "Q" C
        > REQ NUMLOGINS
        ANS NUMLOGINS 0
        > VARTYPE LOWXFER
        TYPE STRING 3
        > VARTYPE HIGHXFER@second
        TYPE ENUM 2
        > VARTYPE STATUS
        ERR UNKNOWN-TYPE
        > ENUM HIGHXFER@second
        ENUM HIGHXFER
        OPTION "127"
        OPTION "132" SELECTED
        END
        > ENUM LOWXFER
        ERR UNKNOWN-TYPE
        > VARDESC STATUS
        DESC "UPS status"
        > INSTCMDDESC BTEST1
        DESC "Start a test"
        "#,
    );
    // An empty value leaves its blank.
    assert_eq!(house.say(client, "REQ SERIAL\n"), "ANS SERIAL \n");
}

#[test]
fn what_it_cannot_have_is_refused_in_its_own_words() {
    let mut house = old_house();
    let client = house.client();
    house.play(
        client,
        "
        > REQ
        ERR MISSING-ARGUMENT
        > REQ ups.status
        ERR VAR-UNKNOWN
        > REQ AMBTEMP
        ERR VAR-NOT-SUPPORTED
        > REQ STATUS@nowhere
        ERR UNKNOWN-UPS
        > REQ WHAT@nowhere
        ERR UNKNOWN-UPS
        > REQ STATUS@down
        ERR DRIVER-NOT-CONNECTED
        > LISTVARS down
        ERR DRIVER-NOT-CONNECTED
        > REQ NUMLOGINS@down
        ERR DRIVER-NOT-CONNECTED
        > VARDESC WHAT
        ERR VAR-UNKNOWN
        > INSTCMDDESC OFF
        ERR UNKNOWN-INSTCMD
        > SET LOWXFER 103
        ERR USERNAME-REQUIRED
        > INSTCMD BTEST1
        ERR USERNAME-REQUIRED
        ",
    );
    house.driver_says("first", "DATASTALE\n");
    assert_eq!(house.say(client, "REQ STATUS\nLISTVARS\n"), "ERR DATA-STALE\nERR DATA-STALE\n");
    let mut empty = House::new(settings(Vec::new()));
    let client = empty.client();
    assert_eq!(empty.say(client, "REQ STATUS\nLISTVARS\n"), "ERR UNKNOWN-UPS\nERR UNKNOWN-UPS\n");
}

#[test]
fn its_orders_need_the_same_rights_and_reach_the_driver_in_todays_words() {
    let mut house = old_house();
    let client = house.user("admin", "adminpw");
    assert_eq!(house.say(client, "SET LOWXFER@second 99\n"), "OK\n");
    assert_eq!(house.told.pop(), Some(("second".into(), "SET input.transfer.low \"99\"\n".into())));
    assert_eq!(house.say(client, "SET HIGHXFER 130\n"), "ERR INVALID-VALUE\n");
    assert_eq!(house.say(client, "SET STATUS OL\n"), "ERR READONLY\n");
    assert_eq!(house.say(client, "INSTCMD BTEST1\n"), "OK\n");
    assert_eq!(house.told.pop(), Some(("first".into(), "INSTCMD test.battery.start\n".into())));
    assert_eq!(house.say(client, "INSTCMD WATCHDOG@first\n"), "ERR CMD-NOT-SUPPORTED\n");
    let other = house.user("secondary", "spw");
    assert_eq!(
        house.say(other, "SET LOWXFER 99\nINSTCMD BTEST1\n"),
        "ERR ACCESS-DENIED\nERR ACCESS-DENIED\n"
    );
    assert_eq!(house.told, []);
}

#[test]
fn its_upsmon_stops_the_hosts_of_the_first_ups() {
    let mut house = old_house();
    let primary = house.user("primary", "ppw");
    assert_eq!(house.say(primary, "LOGIN\nMASTER\nREQ STATUS\n"), "OK\nOK MASTER-GRANTED\nANS STATUS OL\n");
    assert_eq!(house.say(primary, "REQ NUMLOGINS\n"), "ANS NUMLOGINS 1\n");
    assert_eq!(house.say(primary, "FSD\nREQ STATUS\n"), "OK FSD-SET\nANS STATUS FSD OL\n");
    assert_eq!(house.say(primary, "REQ STATUS@second\n"), "ANS STATUS@second OB LB\n");
    assert_eq!(house.say(primary, "LOGOUT\n"), "OK Goodbye\n<closed>");
}

/// Whoever speaks today's words and loses one on the way is told so, and stops nobody.
#[test]
fn today_fsd_without_a_ups_is_a_mistake() {
    let mut house = old_house();
    let primary = house.user("primary", "ppw");
    assert_eq!(house.say(primary, "GET VAR first ups.status\n"), "VAR first ups.status \"OL\"\n");
    assert_eq!(house.say(primary, "FSD\n"), "ERR INVALID-ARGUMENT\n");
    assert_eq!(house.say(primary, "GET VAR first ups.status\n"), "VAR first ups.status \"OL\"\n");
}

#[test]
fn rfc_9271_says_attach_and_detach() {
    let mut house = old_house();
    let client = house.user("secondary", "spw");
    house.play(
        client,
        "
        > ATTACH
        ERR INVALID-ARGUMENT
        > ATTACH first
        OK
        > ATTACH second
        ERR ALREADY-LOGGED-IN
        > GET NUMATTACH FIRST
        NUMATTACH FIRST 1
        > GET NUMLOGINS first
        NUMLOGINS first 1
        > GET NUMATTACH down
        ERR DRIVER-NOT-CONNECTED
        > GET NUMATTACH
        ERR INVALID-ARGUMENT
        > DETACH now
        ERR INVALID-ARGUMENT
        ",
    );
    assert_eq!(house.say(client, "DETACH\n"), "OK Goodbye\n<closed>");
    let stranger = house.client();
    assert_eq!(house.say(stranger, "ATTACH first\n"), "ERR USERNAME-REQUIRED\n");
}
