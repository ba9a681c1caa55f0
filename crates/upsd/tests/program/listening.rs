//! `LISTEN`, with real sockets: places that come late, places that change.

use super::stage::{Stage, current_user};
use std::net::TcpListener;
use std::process::Command;

fn stage(upsd_conf: &str) -> Stage {
    let stage = Stage::new();
    stage.file("ups.conf", "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n");
    stage.file("upsd.conf", upsd_conf);
    stage.file("upsd.users", "");
    stage
}

/// upsd in a network of its own, which has a loopback address and nothing else. Only root may.
fn upsd_in_a_network_of_its_own(stage: &Stage) -> Option<Command> {
    let may = Command::new("unshare").args(["-n", "ip", "link"]).output();
    if may.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
        command.args([env!("CARGO_BIN_EXE_upsd"), "-F", "-u", &current_user()]);
        stage.prepare(&mut command);
        return Some(command);
    }
    println!("    (skipped: only root may make a network)");
    None
}

/// In the network of this process.
fn ip(pid: u32, line: &str) {
    let pid = pid.to_string();
    let status =
        Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(line.split(' ')).status().unwrap();
    assert!(status.success(), "{line}");
}

#[test]
fn an_upsd_that_starts_before_its_network_waits_for_it() {
    let stage = stage("LISTEN 192.0.2.7 3493\nLISTEN no-such-host.example 3493\n");
    let Some(command) = upsd_in_a_network_of_its_own(&stage) else { return };
    let upsd = stage.spawn_deaf(command);
    upsd.logged(
        "not listening on 192.0.2.7 port 3493: this host has no such address; trying again until it works",
    );
    upsd.logged("not listening on no-such-host.example port 3493: the name cannot be looked up: ");
    upsd.logged("NOBODY CAN REACH upsd");
    upsd.logged("Running as foreground process");
    ip(upsd.pid(), "addr add 192.0.2.7/32 dev lo");
    upsd.logged("listening on 192.0.2.7 port 3493");
    // Who wants NUT's way has it.
    let mut command = upsd_in_a_network_of_its_own(&stage).unwrap();
    let output = command.env("ALLOW_NOT_ALL_LISTENERS", "false").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no listening interface available") && !said.contains("trying again"), "{said}");
}

#[test]
fn name_servers_that_do_not_answer_hold_up_nobody() {
    let stage = stage("LISTEN late.example 3493\nLISTEN 127.0.0.1 3493\n");
    stage.file("resolv.conf", "nameserver 192.0.2.53\noptions timeout:30 attempts:5\n");
    if upsd_in_a_network_of_its_own(&stage).is_none() || !std::path::Path::new("/etc/resolv.conf").exists() {
        return;
    }
    let mut command = Command::new("unshare");
    let resolv_conf = stage.path("resolv.conf");
    let script = format!(
        "ip link set lo up && ip route add 192.0.2.0/24 dev lo && \
         mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"",
        resolv_conf.display()
    );
    command.args(["-n", "-m", "sh", "-c", &script]);
    command.args([env!("CARGO_BIN_EXE_upsd"), "-FF", "-u", &current_user()]);
    stage.prepare(&mut command);
    let upsd = stage.spawn_deaf(command);
    upsd.logged("listening on 127.0.0.1 port 3493");
    // It waits a little for the name, and then goes on.
    upsd.logged(
        "not listening on late.example port 3493: the name cannot be looked up: no answer within 5 seconds",
    );
    upsd.logged("Running as foreground process");
    for _ in 0..3 {
        upsd.hang_up();
        upsd.logged("SIGHUP: reloading configuration");
    }
    // A lookup that goes on for minutes does not keep it from ending.
    assert_eq!(upsd.stop(), 0);
}

#[test]
fn a_port_that_becomes_free_is_taken_and_told_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let stage = stage(&format!("LISTEN 127.0.0.2 0\nLISTEN 127.0.0.1 {port}\n"));
    let upsd = stage.start(&[]);
    upsd.logged(&format!(
        "not listening on 127.0.0.1 port {port}: another program listens there; trying again"
    ));
    drop(taken);
    upsd.logged(&format!("listening on 127.0.0.1 port {port}"));
    upsd.client_at(port).ask("NETVER", "1.3");
    let lines = upsd.stop_and_tell();
    assert!(!lines.iter().any(|line| line.contains("not listening")), "{lines:#?}");
}

#[test]
fn a_port_in_use_stops_the_start_unless_it_may_be_missing() {
    let taken = TcpListener::bind("127.0.0.9:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let conf = format!("LISTEN 127.0.0.1 0\nLISTEN 127.0.0.9 {port}\n");
    let stage = stage(&conf);
    let (code, said) = stage.run(&["-F", "-u", &current_user()]);
    assert_eq!(code, 1);
    assert!(said.contains("Fatal error: some listening interfaces were not available"), "{said}");
    stage.file("upsd.conf", &format!("{conf}ALLOW_NOT_ALL_LISTENERS true\n"));
    assert_eq!(stage.start(&[]).stop(), 0);
}

#[test]
fn a_reload_follows_listen_and_who_is_connected_stays() {
    let stage = stage("LISTEN 127.0.0.1 0\n");
    let upsd = stage.start(&[]);
    let mut old = upsd.client();
    old.ask("NETVER", "1.3");
    let port = stage.free_port();
    stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 {port}\n"));
    upsd.hang_up();
    upsd.logged(&format!("listening on 127.0.0.1 port {port}"));
    upsd.logged("no longer listening on 127.0.0.1 port 0");
    old.ask("NETVER", "1.3");
    upsd.client_at(port).ask("NETVER", "1.3");
    // The same address by another name: our own listener makes room.
    stage.file("upsd.conf", &format!("LISTEN * {port}\n"));
    upsd.hang_up();
    upsd.logged(&format!("listening on 0.0.0.0 port {port}"));
    upsd.client_at(port).ask("NETVER", "1.3");
    // A slip of the pen shuts nobody out.
    stage.file("upsd.conf", &format!("LISTEN 192.0.2.7 {port}\n"));
    upsd.hang_up();
    upsd.logged("still listening where the old one said");
    upsd.client_at(port).ask("NETVER", "1.3");
    old.ask("NETVER", "1.3");
    assert_eq!(upsd.stop(), 0);
}

#[test]
fn the_options_4_and_6_choose_the_kind_of_address() {
    let stage = stage("LISTEN * 0\n");
    let lines = stage.start(&["-4"]).stop_and_tell();
    assert!(!lines.iter().any(|line| line.contains("listening on ::")), "{lines:#?}");
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        let upsd = stage.start(&["-6"]);
        let refused = std::net::TcpStream::connect(("127.0.0.1", upsd.port()));
        assert!(refused.is_err());
        let lines = upsd.stop_and_tell();
        assert!(!lines.iter().any(|line| line.contains("listening on 0.0.0.0")), "{lines:#?}");
    }
}
