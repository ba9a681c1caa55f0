//! Clients and drivers that mean harm: each is bounded in what it costs, and everybody else is answered meanwhile.
//!
//! The bounds are those of `docs/threat-model.md`, taken generously: a debug build, and what the allocator keeps.

use super::stage::{Client, Driver, Link, Stage, Upsd, pause};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const MIB: u64 = 1024;

const UPS_CONF: &str = "[nicole]\n driver = apcsmart\n port = auto\n[other]\n driver = dummy\n port = auto\n";
const USERS: &str = "[admin]\n password = secret\n actions = SET FSD\n instcmds = ALL\n\
                     [mon]\n password = secret\n upsmon primary\n";
const DUMP: &str = "SETINFO ups.status \"OL\"\nADDCMD load.off\nDATAOK\nDUMPDONE\n";
const QUESTION: &str = "GET VAR nicole ups.status";
const ANSWER: &str = "VAR nicole ups.status \"OL\"";

/// upsd with the driver of `nicole`, and a client that must be answered whatever the others do.
struct House {
    good: Client,
    upsd: Upsd,
    link: Link,
    _driver: Driver,
    stage: Stage,
}

impl House {
    fn new(conf: &str) -> Self {
        Self::with(conf, &[])
    }

    fn with(conf: &str, files: &[(&str, &str)]) -> Self {
        // The other ends of thousands of connections are in this process.
        let _ = nut_os::socket::raise_descriptor_limit();
        let stage = Stage::new();
        stage.file("ups.conf", UPS_CONF);
        // The drivers here say what the test needs, and are otherwise silent for as long as it takes.
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 0\nMAXAGE 3600\n{conf}"));
        stage.file("upsd.users", USERS);
        for (name, text) in files {
            stage.file(name, text);
        }
        let driver = Driver::listen(&stage, "apcsmart-nicole");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        assert_eq!(link.line(), "DUMPALL");
        link.write_all(DUMP.as_bytes()).unwrap();
        let mut good = upsd.client();
        good.ask_until(QUESTION, ANSWER);
        Self { good, upsd, link, _driver: driver, stage }
    }

    fn usual() -> Self {
        Self::new("")
    }

    /// The good client is answered.
    fn is_well(&mut self) {
        self.good.ask(QUESTION, ANSWER);
    }

    /// So many variables of 200 bytes each, besides the usual ones.
    fn grow(&mut self, variables: usize) {
        for n in 0..variables {
            self.link.write_all(format!("SETINFO v{n} \"{}\"\n", "x".repeat(200)).as_bytes()).unwrap();
        }
        let last = variables - 1;
        self.good.ask_until(
            &format!("GET VAR nicole v{last}"),
            &format!("VAR nicole v{last} \"{}\"", "x".repeat(200)),
        );
    }

    fn user(&self) -> Client {
        let mut client = self.upsd.client();
        client.ask("USERNAME admin", "OK");
        client.ask("PASSWORD secret", "OK");
        client
    }
}

/// Closes without a goodbye: the other side gets a reset.
fn reset(client: Client) {
    let stream = client.into_stream();
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
}

/// Says as much of this as is taken within a moment.
fn push(client: &mut Client, bytes: &[u8]) {
    client.stream().set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let _ = client.stream().write_all(bytes);
}

#[test]
fn slow_readers_are_bounded_together_and_the_slowest_is_cut_off() {
    let mut house = House::usual();
    // 7.6 MB a list, of which the system takes some 4.
    let long = "n".repeat(200);
    for n in 0..18_000 {
        house.link.write_all(format!("SETINFO v{n}.{long} \"{long}\"\n").as_bytes()).unwrap();
    }
    house
        .good
        .ask_until(&format!("GET VAR nicole v17999.{long}"), &format!("VAR nicole v17999.{long} \"{long}\""));
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut client = house.upsd.client();
        setsockopt(client.stream(), sockopt::RcvBuf, &4096).unwrap();
        client.say("LIST VAR nicole");
        crowd.push(client);
        house.is_well();
    }
    house.upsd.logged("Closing connection from 127.0.0.1: it does not read its answers");
    house.is_well();
    // 64 MiB of answers in buffers that may be twice as large, one list being made, the device.
    assert!(house.upsd.resident_kib() < 220 * MIB, "{} KiB", house.upsd.resident_kib());
    drop(crowd);
    house.is_well();
}

#[test]
fn silent_connections_cost_little() {
    let mut house = House::usual();
    let mut crowd: Vec<Client> = (0..100).map(|_| house.upsd.client()).collect();
    house.is_well();
    let before = house.upsd.resident_kib();
    for nth in 0..1_500 {
        let mut client = house.upsd.client();
        match nth % 3 {
            0 => {}
            1 => client.ask("NETVER", "1.3"),
            // Half open: it will say nothing more, and hears nothing.
            _ => client.stream().write_all(b"GET VAR nico").unwrap(),
        }
        crowd.push(client);
        if nth % 50 == 0 {
            house.is_well();
        }
    }
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 1_500 * 4, "{grown} KiB for 1500 connections");
}

#[test]
fn half_lines_of_all_are_bounded() {
    let mut house = House::usual();
    let before = house.upsd.resident_kib();
    let half = format!("\"{}\" ", "x".repeat(512)).repeat(32);
    let crowd: Vec<Client> = (0..1_600)
        .map(|nth| {
            let mut client = house.upsd.client();
            push(&mut client, half.as_bytes());
            if nth % 50 == 0 {
                house.is_well();
            }
            client
        })
        .collect();
    house.upsd.logged("what it says has no end, and memory is short");
    house.is_well();
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 48 * MIB, "{grown} KiB");
    drop(crowd);
    house.is_well();
}

#[test]
fn half_handshakes_of_all_are_bounded() {
    let certificate = nut_tls::testing::authority("Test CA").host("ups.example.org").own();
    let mut house = House::with("CERTFILE upsd.pem\n", &[("upsd.pem", &certificate)]);
    // A ClientHello of 65,000 bytes in records of 16,000, which never comes to its end.
    let mut hello = vec![1, 0, 0xfd, 0xe8];
    hello.resize(64_000, b'x');
    let half: Vec<u8> = hello
        .chunks(16_000)
        .flat_map(|part| {
            let [high, low] = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1, high, low], part].concat()
        })
        .collect();
    let before = house.upsd.resident_kib();
    let crowd: Vec<Client> = (0..400)
        .map(|nth| {
            let mut client = house.upsd.client();
            client.ask("STARTTLS", "OK STARTTLS");
            push(&mut client, &half);
            if nth % 20 == 0 {
                house.is_well();
            }
            client
        })
        .collect();
    house.upsd.logged("what it says has no end, and memory is short");
    house.is_well();
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 64 * MIB, "{grown} KiB");
    drop(crowd);
    house.is_well();
}

/// Clients come, are answered or not, and go, in all ways there are.
fn come_and_go(count: usize) {
    let mut house = House::usual();
    let visit = |house: &House, nth: usize| {
        let mut client = house.upsd.client();
        match nth % 5 {
            0 => {
                client.ask("LOGOUT", "OK Goodbye");
                assert!(client.is_closed());
            }
            1 => {
                client.ask("NETVER", "1.3");
                reset(client);
            }
            2 => reset(client),
            3 => {
                client.say("USERNAME x");
                reset(client);
            }
            _ => client.ask("NETVER", "1.3"),
        }
    };
    for nth in 0..500 {
        visit(&house, nth);
    }
    house.is_well();
    let before = house.upsd.resident_kib();
    for nth in 0..count {
        visit(&house, nth);
        if nth % 100 == 0 {
            house.is_well();
        }
    }
    house.is_well();
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 2 * MIB, "{grown} KiB after {count} connects");
    let upsd = &house.upsd;
    house.stage.wait_until(|| upsd.descriptors() < 24);
}

#[test]
fn thousands_of_connects_in_a_row_leave_nothing_behind() {
    come_and_go(5_000);
}

/// `cargo test -p upsd --test program -- --ignored a_hundred_thousand`: some ten seconds on an idle machine.
#[test]
#[ignore = "long; the short one stands above"]
fn a_hundred_thousand_connects_in_a_row_leave_nothing_behind() {
    come_and_go(100_000);
}

#[test]
fn when_all_places_are_taken_those_inside_are_served_and_those_outside_learn_nothing() {
    // One listener, two drivers, and two clients; localhost has some more.
    let mut house = House::new("MAXCONN 5\n");
    let mut logged_in = house.user();
    logged_in.ask("SET TRACKING ON", "OK");
    let most = 2 + upsd::server::RESERVED_FOR_LOCALHOST;
    let mut inside: Vec<Client> = (2..most).map(|_| house.upsd.client()).collect();
    for client in &mut inside {
        client.ask("NETVER", "1.3");
    }
    let before = house.upsd.resident_kib();
    for nth in 0..2_000 {
        let mut outside = house.upsd.client();
        push(&mut outside, b"VER\n");
        assert!(outside.is_closed(), "it heard something");
        if nth % 100 == 0 {
            house.is_well();
            logged_in.ask("GET TRACKING", "ON");
        }
    }
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < MIB, "{grown} KiB for clients that were sent away");
    house.upsd.logged("see MAXCONN in upsd.conf");
    // At most one line a minute about each address.
    assert!(house.upsd.log_lines("see MAXCONN") < 5);
    drop(inside.pop());
    house.stage.wait_until(|| house.upsd.client().try_ask("NETVER").as_deref() == Some("1.3"));
}

#[test]
fn without_descriptors_those_inside_are_served_and_new_ones_come_in_when_there_are_some_again() {
    let mut house = House::usual();
    // Taken away while it runs: at its start it would reckon with what there is.
    let pid = house.upsd.pid().to_string();
    let limit = |most: usize| {
        let mut prlimit = std::process::Command::new("prlimit");
        prlimit.args(["--pid", &pid, &format!("--nofile={most}:")]);
        assert!(prlimit.status().expect("util-linux has prlimit").success());
    };
    limit(house.upsd.descriptors());
    // Numbers below the highest may be free.
    let mut inside = Vec::new();
    let mut sent_away = 0;
    while sent_away < 500 {
        let mut client = house.upsd.client();
        match client.try_ask("NETVER") {
            Some(_) => inside.push(client),
            None => sent_away += 1,
        }
        assert!(inside.len() < 10, "there are descriptors nevertheless");
        house.is_well();
    }
    house.upsd.logged("out of descriptors: ");
    assert!(house.upsd.log_lines("out of descriptors: ") < 5);
    limit(1_000);
    house.upsd.client().ask("NETVER", "1.3");
    house.is_well();
}

#[test]
fn a_megabyte_of_requests_at_once_is_answered_in_order() {
    let mut house = House::usual();
    let requests = "GET VAR nicole ups.status\nNETVER\n";
    let count = 1_048_576 / requests.len();
    let client = house.upsd.client();
    let mut writing = client.stream_clone();
    let writer = std::thread::spawn(move || {
        writing.write_all(requests.repeat(count).as_bytes()).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    let mut client = client;
    for nth in 0..count {
        assert_eq!((client.line().as_str(), client.line().as_str()), (ANSWER, "1.3"), "{nth}");
        if nth % 500 == 0 {
            house.is_well();
        }
    }
    assert!(client.is_closed());
    writer.join().unwrap();
    assert!(house.upsd.resident_kib() < 32 * MIB, "{} KiB", house.upsd.resident_kib());
}

#[test]
fn bytes_that_are_no_text_cost_the_one_who_sends_them() {
    let mut house = House::usual();
    let quoted_for_ever = [b"\"".as_slice(), &b"GET VAR nicole ups.status\n".repeat(40_000)].concat();
    for bytes in [
        vec![b'x'; 1_000_000],
        vec![0; 1_000_000],
        vec![0x80; 1_000_000],
        vec![0xff; 1_000_000],
        vec![b'\\'; 1_000_000],
        quoted_for_ever,
    ] {
        for _ in 0..20 {
            let mut client = house.upsd.client();
            push(&mut client, &bytes);
            house.is_well();
            assert!(client.is_closed(), "{}", bytes[0]);
        }
    }
    // Lines of that kind are read as what is left of them.
    for (bytes, answer) in [
        (&b"\xff\xfd\x03NETVER\n"[..], "1.3"),
        (b"NET\0VER\n", "1.3"),
        (b"NETV\x80\xe9ER\r\n", "1.3"),
        (b"\0\n", "ERR UNKNOWN-COMMAND"),
        (b"\x80\xff\x01\n", "ERR UNKNOWN-COMMAND"),
    ] {
        let mut client = house.upsd.client();
        client.stream().write_all(bytes).unwrap();
        assert_eq!(client.line(), answer, "{}", bytes.escape_ascii());
    }
    assert!(house.upsd.resident_kib() < 32 * MIB, "{} KiB", house.upsd.resident_kib());
}

#[test]
fn one_byte_after_another_is_a_request_too() {
    let mut house = House::usual();
    let mut crowd: Vec<Client> = (0..100).map(|_| house.upsd.client()).collect();
    for byte in b"GET VAR nicole ups.status\n" {
        for client in &mut crowd {
            client.stream().write_all(&[*byte]).unwrap();
        }
        pause();
        house.is_well();
    }
    for client in &mut crowd {
        assert_eq!(client.line(), ANSWER);
    }
}

#[test]
fn a_storm_of_resets_disturbs_nobody() {
    let mut house = House::usual();
    house.grow(2_000);
    let before = house.upsd.resident_kib();
    for round in 0..40 {
        let mut crowd: Vec<Client> = (0..50).map(|_| house.upsd.client()).collect();
        for (nth, client) in crowd.iter_mut().enumerate() {
            // In the middle of an answer, of a request, or of nothing.
            let bytes: &[u8] = match (nth + round) % 3 {
                0 => b"LIST VAR nicole\nLIST VAR nicole\n",
                1 => b"LIST VAR ni",
                _ => b"",
            };
            push(client, bytes);
        }
        crowd.into_iter().for_each(reset);
        house.is_well();
    }
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} KiB");
    let upsd = &house.upsd;
    house.stage.wait_until(|| upsd.descriptors() < 24);
}

#[test]
fn whoever_knows_a_password_fills_neither_the_log_nor_the_memory() {
    let mut house = House::usual();
    let mut client = house.user();
    client.ask("SET TRACKING ON", "OK");
    let before = house.upsd.resident_kib();
    for nth in 0..15_000 {
        client.say("INSTCMD nicole load.off");
        assert!(client.line().starts_with("OK TRACKING "));
        assert!(house.link.line().starts_with("INSTCMD load.off TRACKING "));
        if nth % 500 == 0 {
            house.is_well();
        }
    }
    for _ in 0..500 {
        let mut again = house.upsd.client();
        again.ask("USERNAME mon", "OK");
        again.ask("PASSWORD secret", "OK");
        again.ask("LOGIN nicole", "OK");
        again.ask("LOGIN nicole", "ERR ALREADY-LOGGED-IN");
        again.ask("LOGOUT", "OK Goodbye");
    }
    client.ask("FSD nicole", "OK FSD-SET");
    // Never left out, whatever went before.
    house.upsd.logged("Client admin@127.0.0.1 set FSD on UPS [nicole]");
    let lines = house.upsd.log_lines("127.0.0.1");
    assert!(lines < 400, "{lines} lines");
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 8 * MIB, "{grown} KiB");
}

#[test]
fn a_driver_that_floods_costs_its_own_ups_and_a_bounded_amount() {
    let mut house = House::usual();
    let driver = Driver::listen(&house.stage, "dummy-other");
    let mut rogue = driver.accept();
    assert_eq!(rogue.line(), "DUMPALL");
    let before = house.upsd.resident_kib();
    let long = "x".repeat(200);
    for n in 0..30_000 {
        let line = format!("SETINFO v{n}.{long} \"{n}{long}\"\nADDENUM v{}.{long} \"{n}{long}\"\n", n % 100);
        rogue.write_all(line.as_bytes()).unwrap();
        if n % 1000 == 0 {
            house.is_well();
        }
    }
    rogue.write_all(&[b'x'; 1_000_000]).unwrap();
    rogue.write_all(b"\nSETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n").unwrap();
    // It flaps as fast as it can.
    for n in 0..20_000 {
        rogue.write_all(b"DATASTALE\nTRACKING nobody 0\n\0\x80\nDATAOK\n").unwrap();
        if n % 1000 == 0 {
            house.is_well();
        }
    }
    rogue.write_all(b"DATASTALE\nSETINFO ups.status \"OL END\"\nDATAOK\n").unwrap();
    house.good.ask_until("GET VAR other ups.status", "VAR other ups.status \"OL END\"");
    house.is_well();
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 48 * MIB, "{grown} KiB");
    // The log still has room for the other UPS.
    house.link.write_all(b"DATASTALE\n").unwrap();
    house.upsd.logged("Data for UPS [nicole] is stale - check driver");
    let lines = house.upsd.log_lines("UPS [other]");
    assert!(lines < 300, "{lines} lines");
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_it() {
    let mut house = House::usual();
    house.grow(2_000);
    let mut slow: TcpStream = house.upsd.client().into_stream();
    slow.write_all("LIST VAR nicole\n".repeat(3).as_bytes()).unwrap();
    let mut bytes = 0;
    let mut tail = Vec::new();
    let mut buffer = [0; 3_000];
    let mut lists = 0;
    while lists < 3 {
        let count = slow.read(&mut buffer).unwrap();
        assert!(count > 0, "closed after {bytes} bytes");
        bytes += count;
        tail.extend_from_slice(&buffer[..count]);
        lists += tail.windows(8).filter(|window| window == b"END LIST").count();
        let keep = tail.len().min(7);
        tail.drain(..tail.len() - keep);
        house.is_well();
    }
    assert!(bytes > 3 * 2_000 * 200, "{bytes}");
}
