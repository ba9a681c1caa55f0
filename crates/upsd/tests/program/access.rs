//! Who is let in, and what a stranger learns: nothing.

use super::stage::Stage;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpStream};

const OPEN: &str =
    "LISTEN 0.0.0.0 0\nACL here 127.0.0.1/32\nACL lab 127.0.7.0/255.255.255.0\nACL all 0.0.0.0/0\n";

fn stage(rules: &str) -> Stage {
    let stage = Stage::new();
    stage.file("ups.conf", "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n");
    stage.file("upsd.conf", &format!("{OPEN}{rules}"));
    stage.file("upsd.users", "[lab]\n password = s\n allowfrom = lab\n actions = FSD\n");
    stage
}

#[test]
fn a_stranger_gets_no_byte_and_many_of_them_one_line() {
    let stage = stage("ACCEPT here\nREJECT all\n");
    let upsd = stage.start(&[]);
    for _ in 0..50 {
        let mut client = upsd.client_from("127.0.8.9");
        let mut bytes = Vec::new();
        // Closed, in order or by force.
        let _ = client.stream().read_to_end(&mut bytes);
        assert!(bytes.is_empty(), "{bytes:?}");
    }
    assert!(upsd.client_from("127.0.8.10").is_closed());
    upsd.client().ask("NETVER", "1.3");
    let lines = upsd.stop_and_tell();
    let told = |address: &str| {
        let line = format!("Rejecting TCP connection from {address}");
        lines.iter().filter(|one| **one == line).count()
    };
    assert_eq!((told("127.0.8.9"), told("127.0.8.10")), (1, 1), "{lines:#?}");
}

#[test]
fn whom_a_reload_shuts_out_is_told_once_and_closed() {
    let stage = stage("ACCEPT here lab\n");
    let upsd = stage.start(&[]);
    let mut shut_out = upsd.client_from("127.0.7.9");
    let mut stays = upsd.client();
    shut_out.ask("NETVER", "1.3");
    stage.file("upsd.conf", &format!("{OPEN}REJECT lab\nACCEPT all\n"));
    upsd.hang_up();
    upsd.logged("SIGHUP: reloading configuration");
    // Signals and clients are served in turn: the answer tells that the reload is over.
    upsd.client().ask("NETVER", "1.3");
    shut_out.say("NETVER\nNETVER\nNETVER");
    assert_eq!(shut_out.line(), "ERR ACCESS-DENIED");
    assert!(shut_out.is_closed());
    stays.ask("NETVER", "1.3");
    assert!(upsd.client_from("127.0.7.9").is_closed());
}

#[test]
fn allowfrom_is_asked_at_each_deed() {
    let stage = stage("ACCEPT all\n");
    let upsd = stage.start(&[]);
    for (from, answer) in [("127.0.7.9", "OK FSD-SET"), ("127.0.0.1", "ERR ACCESS-DENIED")] {
        let mut client = upsd.client_from(from);
        client.ask("USERNAME lab", "OK");
        client.ask("PASSWORD s", "OK");
        client.ask("FSD nicole", answer);
    }
}

#[test]
fn the_families_do_not_stand_for_each_other() {
    if TcpStream::connect((Ipv6Addr::LOCALHOST, 1))
        .is_err_and(|error| error.kind() != std::io::ErrorKind::ConnectionRefused)
    {
        println!("    (skipped: this machine has no IPv6)");
        return;
    }
    for (acl, is_admitted) in [("::1/128", true), ("::/0", true), ("::2/128", false), ("0.0.0.0/0", false)] {
        let stage = stage("");
        stage.file("upsd.conf", &format!("LISTEN ::1 0\nACL one {acl}\nACCEPT one\n"));
        let upsd = stage.start(&[]);
        let mut client = TcpStream::connect((Ipv6Addr::LOCALHOST, upsd.port())).unwrap();
        let _ = client.write_all(b"NETVER\nLOGOUT\n");
        let mut said = String::new();
        let _ = client.read_to_string(&mut said);
        assert_eq!(said, if is_admitted { "1.3\nOK Goodbye\n" } else { "" }, "{acl}");
    }
}
