//! NUT's own clients over TLS to our upsd: nobody talks in clear who need not.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use nut_tls::testing::authority;

/// A server with a certificate and one UPS on dummy-ups, all ours.
async fn server(stage: &mut Stage) -> (Host, [Running; 2], u16) {
    let host = stage.host("server").unwrap();
    write_dummies(stage, &host, &[("unit", "ups.status: OL CHRG\nbattery.charge: 98\n")]);
    stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\nCERTFILE upsd.pem\n").unwrap();
    stage.write(&host.conf.join("upsd.pem"), &authority("Test CA").host("localhost").own()).unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (server, port) = upsd(stage, &host).await;
    connected(stage, &host, "unit").await;
    (host, [driver, server], port)
}

#[tokio::test]
async fn nuts_upsc_reads_over_tls() {
    let Some(oracle) = Oracle::get("nuts_upsc_reads_over_tls") else { return };
    let mut stage = stage();
    let (host, _programs, port) = server(&mut stage).await;
    let target = format!("unit@127.0.0.1:{port}");
    let args = ["upsc", &target, "device.type"];
    let mut upsc = oracle.start(&stage, &host, "nut-upsc", &args).unwrap();
    assert_eq!(upsc.ended().await, Some(0));
    let over = |entry: &Entry| matches!(&entry.what, What::Ended { program, .. } if program == "nut-upsc");
    stage.record.wait(0, PATIENCE, "NUT's upsc ends", over).await.unwrap();
    for text in ["Connected to NUT server 127.0.0.1 in SSL", "ups"] {
        let said = stage.record.entries().iter().any(|entry| entry.is_line("server", "nut-upsc", text));
        assert!(said, "{text}\n{:#?}", stage.record.entries());
    }
}

#[tokio::test]
async fn nuts_upsmon_that_insists_on_tls_stops_its_host() {
    let Some(oracle) = Oracle::get("nuts_upsmon_that_insists_on_tls_stops_its_host") else { return };
    let mut stage = stage();
    let (server, _programs, port) = server(&mut stage).await;
    let host = stage.host("client").unwrap();
    let shutdown = stage.teller(&host, "SHUTDOWNCMD", "shutdown").unwrap();
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 pri pp primary\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 1\n\
         FORCESSL 1\nRUN_AS_USER {}\nSHUTDOWNCMD \"{}\"\nPOWERDOWNFLAG {}\n",
        me(),
        shutdown.display(),
        host.state.join("killpower").display()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
    let mut monitor = oracle.start(&stage, &host, "nut-upsmon", &["upsmon", "-F", "-p"]).unwrap();
    let login =
        |entry: &Entry| entry.is_line("server", "upsd", "User pri@127.0.0.1 logged into UPS [unit] (SSL)");
    stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
    stage.write(&server.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    let ran = |entry: &Entry| entry.is_script("client", "SHUTDOWNCMD", None);
    stage.record.wait(0, PATIENCE, "it stops its host", ran).await.unwrap();
    assert_eq!(monitor.ended().await, Some(0));
}
