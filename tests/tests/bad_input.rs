//! What people, files, cables and clients do wrong: each has a clear message, and nothing else is disturbed.

use crate::support::{PATIENCE, USERS, connected, me, sim, stage, upsd, write_dummies};
use nut_drill::sim::{Event, Extent, Fault, FaultKind};
use nut_drill::stage::{Host, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs a program that must refuse to start; gives all it wrote.
async fn refused(stage: &Stage, host: &Host, program: &str, args: &[&str]) -> String {
    let run = stage.run(host, program, args);
    let (code, output, errors) =
        tokio::time::timeout(PATIENCE, run).await.expect("it gives up in time").unwrap();
    let text = output + &errors;
    assert_eq!(code, Some(1), "{program} {args:?}: {text}");
    text
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[tokio::test]
async fn a_missing_file_is_named_with_its_path() {
    let stage = stage();
    let host = stage.host("empty").unwrap();
    let path = |name: &str| host.conf.join(name).display().to_string();
    let me = me();
    for (program, args, file) in [
        ("upsd", vec!["-F", "-u", &me], "upsd.conf"),
        ("upsmon", vec!["-F"], "upsmon.conf"),
        ("apcsmart", vec!["-a", "x", "-F"], "ups.conf"),
        ("upsdrvctl", vec!["start"], "ups.conf"),
    ] {
        let text = refused(&stage, &host, program, &args).await;
        let missing = ["does not exist", "No such file"].iter().any(|words| text.contains(words));
        assert!(missing && text.contains(&path(file)), "{program}: {text}");
    }
}

#[tokio::test]
async fn an_unreadable_file_is_not_taken_for_a_missing_one() {
    if nut_drill::school::is_root() {
        eprintln!("skipped: an_unreadable_file_is_not_taken_for_a_missing_one: root can read every file");
        return;
    }
    let stage = stage();
    let host = stage.host("locked").unwrap();
    let path = host.conf.join("upsd.conf");
    stage.write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    says(&refused(&stage, &host, "upsd", &["-F"]).await, &[&path.display().to_string(), "Permission denied"]);
}

#[tokio::test]
async fn an_unknown_directive_is_told_with_its_place_and_the_rest_of_the_file_stands() {
    let mut stage = stage();
    let host = stage.host("server").unwrap();
    write_dummies(&stage, &host, &[("unit", "ups.status: OL\n")]);
    stage.write(&host.conf.join("upsd.conf"), "LISTN 10.0.0.1\nLISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let (_server, _port) = upsd(&mut stage, &host).await;
    for part in ["upsd.conf:1:1: unknown directive \"LISTN\"", "1 | LISTN 10.0.0.1", "LISTEN"] {
        let told = |entry: &nut_drill::record::Entry| entry.is_line("server", "upsd", part);
        stage.record.wait(0, PATIENCE, part, told).await.unwrap();
    }
}

#[tokio::test]
async fn a_monitor_line_with_too_few_words_stops_the_start_and_hides_the_password() {
    let stage = stage();
    let host = stage.host("client").unwrap();
    stage.write(&host.conf.join("upsmon.conf"), "\n\nMONITOR u@localhost 1 geheim master\n").unwrap();
    let text = refused(&stage, &host, "upsmon", &["-F"]).await;
    says(&text, &["upsmon.conf:3:1: ", "MONITOR", "****"]);
    assert!(!text.contains("geheim"), "the password is shown:\n{text}");
}

#[tokio::test]
async fn a_port_that_is_not_there_is_named() {
    let stage = stage();
    let host = stage.host("central").unwrap();
    let port = stage.folder().join("ttyS9").display().to_string();
    let conf = format!("user = {}\n[unit]\n  driver = apcsmart\n  port = {port}\n", me());
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    says(
        &refused(&stage, &host, "apcsmart", &["-a", "unit", "-F"]).await,
        &[&port, "there is no such node", "ups.conf"],
    );
}

#[tokio::test]
async fn a_port_that_may_not_be_opened_is_told_with_its_owner_our_name_and_the_command_that_mends_it() {
    if nut_drill::school::is_root() {
        eprintln!("skipped: a_port_that_may_not_be_opened…: root can open every port");
        return;
    }
    let stage = stage();
    let host = stage.host("central").unwrap();
    let port = stage.folder().join("ttyS9");
    stage.write(&port, "").unwrap();
    std::fs::set_permissions(&port, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let conf = format!("[unit]\n  driver = apcsmart\n  port = {}\n", port.display());
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    let text = refused(&stage, &host, "apcsmart", &["-a", "unit", "-F"]).await;
    says(&text, &[&port.display().to_string(), "Permission denied", &me(), "0000", "chown", "usermod"]);
}

#[tokio::test]
async fn a_silent_ups_ends_the_start_with_a_word_on_cable_and_port() {
    let stage = stage();
    let host = stage.host("central").unwrap();
    let tty = stage.folder().join("tty");
    let silent = sim("smart-ups-420-21.3.I", &tty);
    silent.send(Event::Fault(Fault { kind: FaultKind::Silence, extent: Extent::UntilCleared })).await;
    let conf = format!("user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n", me(), tty.display());
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    let text = refused(&stage, &host, "apcsmart", &["-a", "unit", "-F"]).await;
    says(&text, &[&tty.display().to_string(), "cable"]);
}

#[tokio::test]
async fn a_client_that_sends_rubbish_disturbs_nobody() {
    let mut stage = stage();
    let host = stage.host("server").unwrap();
    write_dummies(&stage, &host, &[("unit", "ups.status: OL\n")]);
    stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let _driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (_server, port) = upsd(&mut stage, &host).await;
    connected(&mut stage, &host, "unit").await;

    let mut good = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut bad = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let rubbish: Vec<u8> =
        (0..1_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    // The server may cut such a client off in the middle; that is its right.
    let sending = async {
        let _ = bad.write_all(&rubbish).await;
    };
    let asking = async {
        for _ in 0..100 {
            good.write_all(b"GET UPSDESC unit\n").await.unwrap();
            let mut answer = [0; "UPSDESC unit \"The UPS unit\"\n".len()];
            good.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"UPSDESC unit \"The UPS unit\"\n");
        }
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(sending, asking) })
        .await
        .expect("both go on in time");
}
