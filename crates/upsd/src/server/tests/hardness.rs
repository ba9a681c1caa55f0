//! What clients may make the server keep, all together, and what that costs the others.

use super::*;
use crate::client::{FREE, IDLE};

/// A house in which so many clients may be at once.
fn open_house(most_clients: usize) -> House {
    let mut settings = settings(vec![section("ups1", Some("dummy-ups"), None)]);
    settings.most_clients = most_clients;
    let mut house = House::new(settings);
    house.driver_up("ups1");
    house.driver_says("ups1", APPENDIX_A);
    house
}

/// As much of a line as is kept of one, without its end.
fn longest_half_line() -> Vec<u8> {
    let word = format!("\"{}\" ", "x".repeat(512));
    word.repeat(32).into_bytes()
}

#[test]
fn half_lines_of_all_clients_together_are_bounded_and_the_longest_goes_first() {
    let mut house = open_house(10_000);
    let good = house.client_from("192.0.2.1");
    assert_eq!(house.send(good, b"GET VAR ups1 "), "");
    let half = longest_half_line();
    let bad: Vec<ClientId> = (0..3_000)
        .map(|_| {
            let client = house.client_from("192.0.2.2");
            house.send(client, &half);
            assert!(house.server.kept_of_clients() <= MAX_KEPT_OF_ALL);
            client
        })
        .collect();
    let left = house.server.client_count() - 1;
    assert!((900..1_100).contains(&left), "{left} of {} are left", bad.len());
    house.logged("Closing connection from 192.0.2.2: what it says has no end, and memory is short");
    assert_eq!(house.say(good, "ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    for client in bad {
        house.step(Event::ClientGone { client });
    }
    assert_eq!(house.server.kept_of_clients(), 0);
}

#[test]
fn requests_that_wait_are_bounded_over_all_clients() {
    let mut house = open_house(10_000);
    house.clients_take = false;
    let many = "LIST VAR ups1\n".repeat(64 * 1024 / 14);
    let clients: Vec<ClientId> = (0..1_000)
        .map(|_| {
            let client = house.client_from("192.0.2.2");
            house.send(client, many.as_bytes());
            assert!(house.server.kept_of_clients() <= MAX_KEPT_OF_ALL);
            client
        })
        .collect();
    let left = house.server.client_count();
    assert!((200..500).contains(&left), "{left} of {} are left", clients.len());
    house.clients_take = true;
    let good = house.client_from("192.0.2.1");
    assert_eq!(house.say(good, "NETVER\n"), "1.3\n");
    assert_eq!(house.server.kept_of_clients(), 0, "whoever took his answers waits for nothing");
}

#[test]
fn a_line_that_is_cut_in_the_middle_costs_nobody_his_connection() {
    let mut house = open_house(20_000);
    let clients: Vec<ClientId> = (0..5_000).map(|_| house.client_from("192.0.2.2")).collect();
    // Some 900 bytes with what belongs to them; words beyond the fourth are not looked at.
    let (half, back) = (format!("GET VAR ups1 ups.status {}", "x".repeat(FREE - 300)), "y\n");
    for client in &clients {
        assert_eq!(house.say(*client, &half), "");
    }
    assert_eq!(house.server.kept_of_clients(), 0);
    for client in &clients {
        assert_eq!(house.say(*client, back), "VAR ups1 ups.status \"OL\"\n");
    }
}

#[test]
fn whoever_says_nothing_whole_for_a_minute_is_closed_and_who_polls_stays() {
    let mut house = open_house(20_000);
    let silent: Vec<ClientId> = (0..10_000).map(|_| house.client_from("192.0.2.2")).collect();
    let slow = house.client_from("192.0.2.3");
    let polls = house.client_from("192.0.2.4");
    // A byte a second is no sign of life.
    for second in 0..IDLE.as_secs() + 2 {
        house.pass(1);
        if !house.hear(slow).contains("<cut>") && second < IDLE.as_secs() {
            assert_eq!(house.send(slow, b"N"), "");
        }
        if second % 20 == 0 {
            assert_eq!(house.say(polls, "NETVER\n"), "1.3\n");
        }
        house.driver_says("ups1", "PONG\n");
    }
    assert_eq!(house.server.client_count(), 1);
    assert!(silent.iter().all(|client| house.heard.get(client).is_some_and(|heard| heard == "<cut>")));
    assert_eq!(house.say(polls, "GET VAR ups1 ups.status\n"), "VAR ups1 ups.status \"OL\"\n");
    assert_eq!(house.server.kept_of_clients(), 0);
}

#[test]
fn an_idle_client_is_small() {
    // With the shell's part of it: docs/threat-model.md says how much one may have.
    assert!(size_of::<Client>() <= 256, "{}", size_of::<Client>());
}

#[test]
fn deadlines_of_clients_that_are_gone_are_cleared_away() {
    let mut house = open_house(100);
    for _ in 0..100_000 {
        let client = house.client_from("192.0.2.2");
        house.step(Event::ClientGone { client });
        house.keys.remove(client.0);
    }
    assert!(house.server.deadlines.len() < 2_000, "{}", house.server.deadlines.len());
    assert_eq!(house.server.client_count(), 0);
}

#[test]
fn a_forced_shutdown_is_noted_once() {
    let mut house = open_house(100);
    let admin = house.user("admin", "adminpw");
    for _ in 0..3 {
        assert_eq!(house.say(admin, "FSD ups1\n"), "OK FSD-SET\n");
    }
    house.logged("Client admin@127.0.0.1 set FSD on UPS [ups1]");
    assert!(!house.log.iter().any(|line| line.contains("set FSD")), "{:?}", house.log);
}
