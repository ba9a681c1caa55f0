//! Our programs and NUT's on either side of the wire: `upsc` and `upsmon` against `upsd`.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, sim, stage, upsd, write_dummies};
use nut_drill::record::{Entry, What};
use nut_drill::sim::{BatteryChange, Event, LowBattery, Mains};
use nut_drill::stage::{Host, Running, Stage};

const CHARGED: &str = "ups.status: OL CHRG\nbattery.charge: 98\nups.mfr: \"Acme \\\"Q\\\" Corp\"\n";

/// A server with one UPS on dummy-ups, all ours.
async fn our_server(stage: &mut Stage) -> (Host, [Running; 2], u16) {
    let host = stage.host("server").unwrap();
    write_dummies(stage, &host, &[("unit", CHARGED)]);
    stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (server, port) = upsd(stage, &host).await;
    connected(stage, &host, "unit").await;
    becomes(stage, &host, port, "OL CHRG").await;
    (host, [driver, server], port)
}

#[tokio::test]
async fn upsc_shows_the_ups_the_variables_and_one_variable() {
    let mut stage = stage();
    let (host, _programs, port) = our_server(&mut stage).await;
    let server = format!("127.0.0.1:{port}");
    let target = format!("unit@{server}");
    let run = |args: Vec<String>| {
        let (stage, host) = (&stage, &host);
        async move {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            stage.run(host, "upsc", &args).await.unwrap()
        }
    };
    let ok = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(run(vec!["-l".into(), server.clone()]).await, ok("unit\n"));
    assert_eq!(run(vec!["-L".into(), server]).await, ok("unit: The UPS unit\n"));
    assert_eq!(run(vec![target.clone(), "ups.mfr".into()]).await, ok("Acme \"Q\" Corp\n"));
    let (code, all, errors) = run(vec![target.clone()]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for line in ["battery.charge: 98", "device.type: ups", "driver.name: dummy-ups", "ups.status: OL CHRG"] {
        assert!(all.lines().any(|one| one == line), "{line} is not in:\n{all}");
    }
    let (code, output, errors) = run(vec![target, "no.such".into()]).await;
    assert_eq!(
        (code, output.as_str(), errors.as_str()),
        (Some(1), "", "Error: Variable not supported by UPS\n")
    );
}

#[tokio::test]
async fn nuts_upsc_and_ours_read_the_same_from_our_server() {
    let Some(oracle) = Oracle::get("nuts_upsc_and_ours_read_the_same_from_our_server") else { return };
    let mut stage = stage();
    let (host, _programs, port) = our_server(&mut stage).await;
    let server = format!("127.0.0.1:{port}");
    let target = format!("unit@{server}");
    for args in [
        vec!["-l", &server],
        vec!["-L", &server],
        vec!["-c", &target],
        vec![&target],
        vec![&target, "ups.mfr"],
    ] {
        let (_, ours, _) = stage.run(&host, "upsc", &args).await.unwrap();
        let nuts = oracles_upsc(oracle, &mut stage, &host, &args).await;
        assert_eq!(without_debug(&ours), without_debug(&nuts), "{args:?}");
    }
}

#[tokio::test]
async fn our_upsc_reads_from_nuts_server_what_nuts_upsc_reads() {
    let Some(oracle) = Oracle::get("our_upsc_reads_from_nuts_server_what_nuts_upsc_reads") else { return };
    let mut stage = stage();
    let host = stage.host("server").unwrap();
    write_dummies(&stage, &host, &[("unit", CHARGED)]);
    let port = free_port();
    stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 {port}\n")).unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let _driver = oracle
        .start(&stage, &host, "nut-dummy-ups", &["dummy-ups", "-a", "unit", "-u", &me(), "-F"])
        .unwrap();
    let _server = oracle.start(&stage, &host, "nut-upsd", &["upsd", "-u", &me(), "-F"]).unwrap();
    becomes(&stage, &host, port, "OL CHRG").await;
    let server = format!("127.0.0.1:{port}");
    let target = format!("unit@{server}");
    for args in [vec!["-l", &server], vec!["-L", &server], vec![&target], vec![&target, "ups.mfr"]] {
        let (code, ours, errors) = stage.run(&host, "upsc", &args).await.unwrap();
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{args:?}");
        assert_eq!(ours, oracles_upsc(oracle, &mut stage, &host, &args).await, "{args:?}");
    }
}

#[tokio::test]
async fn nuts_upsmon_stops_its_host_when_our_server_says_so() {
    let Some(oracle) = Oracle::get("nuts_upsmon_stops_its_host_when_our_server_says_so") else { return };
    let mut stage = stage();
    let (server, _programs, port) = our_server(&mut stage).await;
    let host = stage.host("client").unwrap();
    let shutdown = stage.teller(&host, "SHUTDOWNCMD", "shutdown").unwrap();
    let notify = stage.teller(&host, "NOTIFYCMD", "notify").unwrap();
    let mut conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 pri pp primary\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 1\n\
         RUN_AS_USER {}\nSHUTDOWNCMD \"{}\"\nNOTIFYCMD {}\nPOWERDOWNFLAG {}\n",
        me(),
        shutdown.display(),
        notify.display(),
        host.state.join("killpower").display()
    );
    for notice in ["ONBATT", "LOWBATT", "SHUTDOWN"] {
        conf.push_str(&format!("NOTIFYFLAG {notice} SYSLOG+EXEC\n"));
    }
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
    let mut monitor = oracle.start(&stage, &host, "nut-upsmon", &["upsmon", "-F", "-p"]).unwrap();
    let wait = async |stage: &mut Stage, claim: &str, host: &str, program: &str, text: &str| {
        stage.record.wait(0, PATIENCE, claim, |entry| entry.is_line(host, program, text)).await.unwrap()
    };
    wait(&mut stage, "it logs in", "server", "upsd", "User pri@127.0.0.1 logged into UPS [unit]").await;
    stage.write(&server.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    wait(
        &mut stage,
        "it forces the shutdown",
        "server",
        "upsd",
        "Client pri@127.0.0.1 set FSD on UPS [unit]",
    )
    .await;
    let ran = |entry: &Entry| entry.is_script("client", "SHUTDOWNCMD", None);
    stage.record.wait(0, PATIENCE, "it stops its host", ran).await.unwrap();
    assert_eq!(monitor.ended().await, Some(0));
    let (_, status, _) =
        stage.run(&server, "upsc", &[&format!("unit@127.0.0.1:{port}"), "ups.status"]).await.unwrap();
    assert_eq!(status, "FSD OB LB\n");
}

#[tokio::test]
async fn our_upsmon_stops_its_host_when_nuts_driver_and_server_say_so() {
    let Some(oracle) = Oracle::get("our_upsmon_stops_its_host_when_nuts_driver_and_server_say_so") else {
        return;
    };
    let mut stage = stage();
    let host = stage.host("central").unwrap();
    let tty = stage.folder().join("tty");
    let unit = sim("smart-ups-1400-70.9.I", &tty);
    let ups_conf = format!("pollinterval = 1\n[unit]\n  driver = apcsmart\n  port = {}\n", tty.display());
    stage.write(&host.conf.join("ups.conf"), &ups_conf).unwrap();
    let port = free_port();
    stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 {port}\n")).unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let me = me();
    let _driver =
        oracle.start(&stage, &host, "nut-apcsmart", &["apcsmart", "-a", "unit", "-u", &me, "-F"]).unwrap();
    let _server = oracle.start(&stage, &host, "nut-upsd", &["upsd", "-u", &me, "-F"]).unwrap();
    becomes(&stage, &host, port, "OL").await;

    let shutdown = stage.teller(&host, "SHUTDOWNCMD", "shutdown").unwrap();
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 pri pp master\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 1\n\
         RUN_AS_USER {me}\nSHUTDOWNCMD \"{}\"\nPOWERDOWNFLAG {}\n",
        shutdown.display(),
        host.state.join("killpower").display()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
    let mut monitor = stage.start(&host, "upsmon", &["-F"]).unwrap();
    let login =
        |entry: &Entry| entry.is_line("central", "nut-upsd", "User pri@127.0.0.1 logged into UPS [unit]");
    stage.record.wait(0, PATIENCE, "our upsmon logs in", login).await.unwrap();
    unit.send(Event::Mains(Mains::Off)).await;
    let notice = |entry: &Entry| entry.is_line("central", "upsmon", "on battery");
    stage.record.wait(0, PATIENCE, "our upsmon hears of it", notice).await.unwrap();
    unit.send(Event::Battery(BatteryChange::Low(LowBattery::Now))).await;
    let ran = |entry: &Entry| entry.is_script("central", "SHUTDOWNCMD", None);
    stage.record.wait(0, PATIENCE, "our upsmon stops its host", ran).await.unwrap();
    assert_eq!(monitor.ended().await, Some(0));
    becomes(&stage, &host, port, "FSD OB LB").await;
}

/// Waits until the server says this status.
async fn becomes(stage: &Stage, host: &Host, port: u16, status: &str) {
    let target = format!("unit@127.0.0.1:{port}");
    let wanted = format!("{status}\n");
    tokio::time::timeout(PATIENCE, async {
        while stage.run(host, "upsc", &[&target, "ups.status"]).await.unwrap().1 != wanted {
            nut_drill::stage::turn().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the status never was {status}"));
}

/// What NUT's upsc prints.
async fn oracles_upsc(oracle: &Oracle, stage: &mut Stage, host: &Host, args: &[&str]) -> String {
    let from = stage.record.mark();
    let all: Vec<&str> = std::iter::once("upsc").chain(args.iter().copied()).collect();
    let mut running = oracle.start(stage, host, "nut-upsc", &all).unwrap();
    assert_eq!(running.ended().await, Some(0), "{args:?}");
    let over = |entry: &Entry| matches!(&entry.what, What::Ended { program, .. } if program == "nut-upsc");
    stage.record.wait(from, PATIENCE, "NUT's upsc ends", over).await.unwrap();
    let mut printed = String::new();
    for entry in stage.record.entries().iter().skip(from) {
        if let What::Line { program, text } = &entry.what
            && program == "nut-upsc"
            && text != "Init SSL without certificate database"
        {
            printed.push_str(text);
            printed.push('\n');
        }
    }
    printed
}

/// Variables that change by themselves between two looks.
fn without_debug(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("driver.state:")).map(|line| format!("{line}\n")).collect()
}

/// A port that was free a moment ago, for a program that cannot take one from the kernel.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
