//! dummy-ups as a repeater: the UPS of one server, told again by another.

use crate::drivers_and_servers::{Client, nuts_driver, nuts_server, nuts_server_at};
use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, dump, me, socket, stage, upsd, write_dummies};
use nix::sys::signal::Signal;
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use nut_tls::testing::authority;
use std::path::Path;

/// A server with one UPS on dummy-ups; with a certificate if it shall have one.
async fn upstream(stage: &mut Stage, certificate: Option<&str>) -> (Host, Running, Running, u16) {
    let host = stage.host("upstream").unwrap();
    let variables = "ups.status: OL CHRG\nbattery.charge: 98\nups.id: one\n";
    write_dummies(stage, &host, &[("unit", variables)]);
    let tls = if certificate.is_some() { "CERTFILE upsd.pem\n" } else { "" };
    stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 0\n{tls}")).unwrap();
    stage.write(&host.conf.join("upsd.pem"), certificate.unwrap_or_default()).unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (server, port) = upsd(stage, &host).await;
    connected(stage, &host, "unit").await;
    (host, driver, server, port)
}

/// Another host whose UPS `copy` is `ups` of that server.
fn copying(stage: &Stage, name: &str, ups: &str, port: u16, more: &str) -> Host {
    let host = stage.host(name).unwrap();
    let conf = format!(
        "user = {}\npollinterval = 1\n[copy]\n  driver = dummy-ups\n  port = {ups}@127.0.0.1:{port}\n{more}",
        me()
    );
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    host
}

/// Waits until a newcomer is told this status, and that the data are as good as that.
async fn until(socket: &Path, status: &str, fresh: bool) {
    let status = format!("SETINFO ups.status \"{status}\"");
    let wanted = if fresh { "DATAOK" } else { "DATASTALE" };
    let mut last = Vec::new();
    let wait = async {
        loop {
            last = dump(socket).await;
            if last.contains(&status) && last.iter().any(|line| line == wanted) {
                return;
            }
            nut_drill::stage::turn().await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
    assert!(in_time, "neither {status} nor {wanted}: {last:#?}");
}

#[tokio::test]
async fn a_repeater_is_stale_without_its_server_and_comes_back_by_itself() {
    let mut stage = stage();
    let (host, mut driver, mut server, port) = upstream(&mut stage, None).await;
    let copy = copying(&stage, "copy", "unit", port, "");
    let repeater = stage.start(&copy, "dummy-ups", &["-a", "copy", "-F"]).unwrap();
    let socket = socket(&copy, "dummy-ups", "copy");
    until(&socket, "OL CHRG", true).await;
    stage.write(&host.conf.join("unit.dev"), "ups.status: OB\n").unwrap();
    until(&socket, "OB", true).await;

    // The driver there is gone: the server says so, and the repeater with it.
    driver.signal(Signal::SIGTERM).unwrap();
    driver.ended().await;
    until(&socket, "OB", false).await;
    let _driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    until(&socket, "OB", true).await;

    // The server does not answer any more, but its connections live.
    server.signal(Signal::SIGSTOP).unwrap();
    until(&socket, "OB", false).await;
    server.signal(Signal::SIGCONT).unwrap();
    until(&socket, "OB", true).await;

    // The server is gone, and comes back at the same place.
    server.signal(Signal::SIGTERM).unwrap();
    server.ended().await;
    until(&socket, "OB", false).await;
    stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 {port}\n")).unwrap();
    let _server = stage.start(&host, "upsd", &["-F", "-u", &me()]).unwrap();
    until(&socket, "OB", true).await;
    assert!(repeater.runs());
}

#[tokio::test]
async fn a_repeater_gives_its_name_and_password_over_tls() {
    let mut stage = stage();
    let certificate = authority("Test CA").host("ups.example.org").own();
    let (_host, _driver, _server, port) = upstream(&mut stage, Some(&certificate)).await;
    let copy = copying(&stage, "copy", "unit", port, "  username = pri\n  password = pp\n");
    let _repeater = stage.start(&copy, "dummy-ups", &["-a", "copy", "-F", "-DDD"]).unwrap();
    let socket = socket(&copy, "dummy-ups", "copy");
    until(&socket, "OL CHRG", true).await;
    let dump = dump(&socket).await;
    assert!(dump.contains(&"SETINFO driver.parameter.username \"pri\"".to_owned()), "{dump:#?}");
    assert!(!dump.iter().any(|line| line.contains("pp\"")), "{dump:#?}");
    let encrypted = |entry: &Entry| matches!(&entry.what, What::Line { text, .. } if entry.host == "copy" && text.contains("encrypted"));
    stage.record.wait(0, PATIENCE, "it goes on encrypted", encrypted).await.unwrap();
}

#[tokio::test]
async fn a_repeater_that_cannot_ask_ends_at_the_start_unless_told_otherwise() {
    let mut stage = stage();
    let (host, _driver, server, port) = upstream(&mut stage, None).await;
    // Nobody is there: the port was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (name, ups, port, words) in
        [("other", "no-such", port, "UNKNOWN-UPS"), ("nobody", "unit", nobody, "Connection refused")]
    {
        let copy = copying(&stage, name, ups, port, "");
        let (code, output, errors) = stage.run(&copy, "dummy-ups", &["-a", "copy", "-F"]).await.unwrap();
        assert_eq!(code, Some(1), "{output}{errors}");
        assert!(errors.contains(words), "{output}{errors}");
    }
    let copy = copying(&stage, "patient", "later", port, "  repeater_disable_strict_start\n");
    let _repeater = stage.start(&copy, "dummy-ups", &["-a", "copy", "-F"]).unwrap();
    let stale = |entry: &Entry| matches!(&entry.what, What::Line { text, .. } if entry.host == "patient" && text.contains("lost: "));
    stage.record.wait(0, PATIENCE, "it says that it knows nothing", stale).await.unwrap();
    // And once there is such a UPS.
    write_dummies(&stage, &host, &[("later", "ups.status: OL\n")]);
    let _later = stage.start(&host, "dummy-ups", &["-a", "later", "-F"]).unwrap();
    server.signal(Signal::SIGHUP).unwrap();
    until(&socket(&copy, "dummy-ups", "copy"), "OL", true).await;
}

/// What NUT's repeater tells besides: attributes of variables that cannot be set, a command that always fails, and the
/// name of the mode as the driver's own.
fn values(dump: Vec<String>) -> Vec<String> {
    dump.into_iter()
        .filter(|line| line.starts_with("SETINFO") && !line.starts_with("SETINFO driver."))
        .collect()
}

#[tokio::test]
async fn a_repeater_tells_the_same_values_as_nuts() {
    let Some(oracle) = Oracle::get("a_repeater_tells_the_same_values_as_nuts") else { return };
    let mut stage = stage();
    let (_host, _driver, _server, port) = upstream(&mut stage, None).await;
    let ours = copying(&stage, "ours", "unit", port, "");
    let nuts = copying(&stage, "nuts", "unit", port, "");
    let _ours = stage.start(&ours, "dummy-ups", &["-a", "copy", "-F"]).unwrap();
    let args = ["dummy-ups", "-a", "copy", "-u", &me(), "-F"];
    let _nuts = oracle.start(&stage, &nuts, "nut-dummy-ups", &args).unwrap();
    let (ours, nuts) = (socket(&ours, "dummy-ups", "copy"), socket(&nuts, "dummy-ups", "copy"));
    until(&ours, "OL CHRG", true).await;
    until(&nuts, "OL CHRG", true).await;
    let (ours, nuts) = (values(dump(&ours).await), values(dump(&nuts).await));
    assert!(!ours.is_empty());
    assert_eq!(ours, nuts);
}

/// NUT's driver, NUT's server, our repeater, NUT's server again: what the last one says to its clients.
#[tokio::test]
async fn a_repeater_between_two_servers_of_nuts() {
    let Some(oracle) = Oracle::get("a_repeater_between_two_servers_of_nuts") else { return };
    let stage = stage();
    let conf = "[unit]\n  driver = dummy-ups\n  port = unit.dev\n  pollinterval = 1\n";
    let (host, mut server, port) = nuts_server(oracle, &stage, "upstream", conf).await;
    stage.write(&host.conf.join("unit.dev"), "ups.status: OL CHRG\nups.id: one\n").unwrap();
    let mut driver = nuts_driver(oracle, &stage, &host, "dummy-ups", "unit");
    let repeats = format!(
        "pollinterval = 1\n[copy]\n  driver = dummy-ups\n  port = unit@127.0.0.1:{port}\n  username = admin\n  \
         password = adminpass\n  repeater_disable_strict_start\n"
    );
    let (copy, _below, port_below) = nuts_server(oracle, &stage, "copy", &repeats).await;
    let repeater = stage.start(&copy, "dummy-ups", &["-a", "copy", "-F"]).unwrap();
    let mut client = Client::open(port_below).await;
    let status = "GET VAR copy ups.status";
    client.until(status, "VAR copy ups.status \"OL CHRG\"").await;
    assert_eq!(client.ask("GET VAR copy ups.id").await, "VAR copy ups.id \"one\"");
    assert_eq!(client.ask("SET VAR copy ups.id two").await, "ERR READONLY");
    assert_eq!(client.ask("INSTCMD copy load.off").await, "ERR CMD-NOT-SUPPORTED");

    // The driver there dies, and comes back during an outage.
    driver.signal(Signal::SIGKILL).unwrap();
    driver.ended().await;
    client.until(status, "ERR DATA-STALE").await;
    stage.write(&host.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    let _driver = nuts_driver(oracle, &stage, &host, "dummy-ups", "unit");
    client.until(status, "VAR copy ups.status \"OB LB\"").await;
    client.until("GET VAR copy ups.id", "ERR VAR-NOT-SUPPORTED").await;

    // The server there stands still, goes on, is gone, and is back.
    server.signal(Signal::SIGSTOP).unwrap();
    client.until(status, "ERR DATA-STALE").await;
    server.signal(Signal::SIGCONT).unwrap();
    client.until(status, "VAR copy ups.status \"OB LB\"").await;
    server.signal(Signal::SIGKILL).unwrap();
    server.ended().await;
    client.until(status, "ERR DATA-STALE").await;
    let _server = nuts_server_at(oracle, &stage, &host, port).await;
    client.until(status, "VAR copy ups.status \"OB LB\"").await;
    assert!(repeater.runs());
}
