//! `STARTTLS` as the machine sees it: a word that is the last in clear.

use super::*;

fn with_certificate() -> House {
    let mut settings = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    settings.speaks_tls = true;
    let mut house = House::new(settings);
    house.driver_up("ups1");
    house.driver_says("ups1", APPENDIX_A);
    house
}

#[test]
fn starttls_is_the_last_word_in_clear_and_what_was_said_before_stays_said() {
    let mut house = with_certificate();
    let client = house.user("primary", "ppw");
    assert_eq!(house.say(client, "LOGIN ups1\n"), "OK\n");
    assert_eq!(house.say(client, "STARTTLS\n"), "OK STARTTLS\n<tls>");
    assert_eq!(house.say(client, "STARTTLS\n"), "ERR ALREADY-SSL-MODE\n");
    assert_eq!(house.say(client, "PRIMARY ups1\n"), "OK PRIMARY-GRANTED\n");
    house.logged("User primary@127.0.0.1 logged into UPS [ups1]");
    assert_eq!(house.say(client, "LOGOUT\n"), "OK Goodbye\n<closed>");
    house.logged("User primary@127.0.0.1 logged out from UPS [ups1] (SSL)");
}

#[test]
fn what_came_in_clear_behind_starttls_is_dropped() {
    let mut house = with_certificate();
    for behind in ["NETVER\n", "FSD ups1\nUSERNAME eve\n", "half a li", "\"", "#"] {
        let client = house.client();
        assert_eq!(
            house.say(client, &format!("VER x\nSTARTTLS\n{behind}")),
            "ERR INVALID-ARGUMENT\nOK STARTTLS\n<tls>"
        );
        // Nothing of it is left to be put in front of what comes encrypted.
        assert_eq!(house.say(client, "NETVER\n"), "1.3\n", "{behind}");
        assert_eq!(house.say(client, "USERNAME admin\n"), "OK\n", "{behind}");
    }
}

#[test]
fn without_a_certificate_it_goes_on_in_clear() {
    let mut house = house();
    let client = house.client();
    assert_eq!(house.say(client, "STARTTLS\nNETVER\n"), "ERR FEATURE-NOT-CONFIGURED\n1.3\n");
    // A reload brings one, and takes it away.
    let mut with = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    with.speaks_tls = true;
    house.step(Event::Reload(Box::new(with.clone())));
    let other = house.client();
    assert_eq!(house.say(other, "STARTTLS\n"), "OK STARTTLS\n<tls>");
    with.speaks_tls = false;
    house.step(Event::Reload(Box::new(with)));
    assert_eq!(house.say(client, "STARTTLS\n"), "ERR FEATURE-NOT-CONFIGURED\n");
    assert_eq!(house.say(other, "NETVER\n"), "1.3\n");
}

#[test]
fn a_client_that_never_finishes_its_handshake_is_idle() {
    let mut house = with_certificate();
    let client = house.client();
    assert_eq!(house.say(client, "STARTTLS\n"), "OK STARTTLS\n<tls>");
    house.pass(62);
    assert_eq!(house.hear(client), "<cut>");
}
