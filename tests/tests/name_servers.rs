//! A name server that takes questions and never answers: upsmon's other UPSes go on as if it were not there.
//!
//! Where resolv.conf names it is a matter of the system, so upsmon runs in a mount namespace of its own, which has a
//! resolv.conf of ours; that takes root. The name server is a socket on an address of the loopback net that nobody else
//! uses.

use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nix::sys::signal::Signal;
use nut_drill::record::Entry;
use nut_drill::stage::{Running, Stage};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use tokio::net::UdpSocket;

/// A name server that answers nobody.
async fn mute_name_server() -> Option<(UdpSocket, Ipv4Addr)> {
    // Resolvers ask port 53, so it is the address that must be ours alone: this process' number makes it so.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 53, high, low);
    let socket = UdpSocket::bind(SocketAddr::from((address, 53))).await.ok()?;
    Some((socket, address))
}

fn may_mount() -> bool {
    let mut unshare = Command::new("unshare");
    let tried = unshare.args(["-m", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

async fn ends(running: &mut Running) -> Option<i32> {
    tokio::time::timeout(PATIENCE, running.ended()).await.expect("it ends in time")
}

async fn said(stage: &mut Stage, from: usize, text: &str) {
    let is_said = |entry: &Entry| entry.is_line("host", "upsmon", text);
    stage.record.wait(from, PATIENCE, text, is_said).await.unwrap();
}

#[tokio::test]
async fn a_name_server_that_hangs_holds_up_neither_the_other_upses_nor_the_end() {
    const NAME: &str = "a_name_server_that_hangs_holds_up_neither_the_other_upses_nor_the_end";
    let (Some((questions, address)), true) = (mute_name_server().await, may_mount()) else {
        eprintln!("{NAME}: skipped: it takes root to listen on port 53 and to mount a resolv.conf");
        return;
    };
    let mut stage = stage();
    let server = stage.host("server").unwrap();
    write_dummies(&stage, &server, &[("unit", "ups.status: OL\n")]);
    stage.write(&server.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&server.conf.join("upsd.users"), USERS).unwrap();
    let _driver = stage.start(&server, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (_server, port) = upsd(&mut stage, &server).await;
    connected(&mut stage, &server, "unit").await;

    let host = stage.host("host").unwrap();
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 pri pp primary\nMONITOR other@ups.example.org 1 pri pp secondary\n\
         MINSUPPLIES 2\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 0\nHOSTSYNC 1\nRUN_AS_USER {}\n\
         SHUTDOWNCMD \"touch {}\"\n",
        me(),
        host.state.join("down").display()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
    // Each question is good for minutes.
    let resolv = stage.folder().join("resolv.conf");
    stage.write(&resolv, &format!("nameserver {address}\noptions timeout:30 attempts:5\n")).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nmount --bind {} /etc/resolv.conf || exit 99\nexec {} -F\n",
        resolv.display(),
        stage.programs().path("upsmon").unwrap().display()
    );
    let wrapper = stage.script("upsmon-in-private", &wrapper).unwrap();
    let start = |stage: &Stage| {
        let args = ["-m", wrapper.to_str().unwrap()];
        stage.start_at(&host, "upsmon", "/usr/bin/unshare".as_ref(), &args, &[]).unwrap()
    };

    // It ends at once when it is told to, with the question out.
    let mut upsmon = start(&stage);
    let mut question = [0; 512];
    let asked = questions.recv(&mut question);
    tokio::time::timeout(PATIENCE, asked).await.expect("the name server is asked").unwrap();
    upsmon.signal(Signal::SIGTERM).unwrap();
    assert_eq!(ends(&mut upsmon).await, Some(0));

    // And with the question out it hears what the other UPS says, and stops its host.
    let from = stage.record.mark();
    let mut upsmon = start(&stage);
    let asked = questions.recv(&mut question);
    tokio::time::timeout(PATIENCE, asked).await.expect("the name server is asked").unwrap();
    for status in ["OB", "OB LB"] {
        stage.write(&server.conf.join("unit.dev"), &format!("ups.status: {status}\n")).unwrap();
        let text = if status == "OB" { "on battery" } else { "battery is low" };
        said(&mut stage, from, text).await;
    }
    assert_eq!(ends(&mut upsmon).await, Some(0));
    assert!(host.state.join("down").exists());
}
