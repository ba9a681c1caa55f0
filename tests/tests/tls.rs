//! NUT's own clients over TLS to our upsd: nobody talks in clear who need not.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nix::sys::signal::Signal;
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use nut_tls::testing::{Authority, authority};

/// A server with a certificate and one UPS on dummy-ups, all ours.
async fn server(stage: &mut Stage) -> (Host, [Running; 2], u16) {
    server_of(stage, &authority("Test CA")).await
}

/// The same, with a certificate of this authority.
async fn server_of(stage: &mut Stage, authority: &Authority) -> (Host, [Running; 2], u16) {
    let host = stage.host("server").unwrap();
    write_dummies(stage, &host, &[("unit", "ups.status: OL CHRG\nbattery.charge: 98\n")]);
    stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\nCERTFILE upsd.pem\n").unwrap();
    stage.write(&host.conf.join("upsd.pem"), &authority.host("ups.example.org").own()).unwrap();
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
    assert_eq!(tokio::time::timeout(PATIENCE, upsc.ended()).await.expect("it ends in time"), Some(0));
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
    assert_eq!(tokio::time::timeout(PATIENCE, monitor.ended()).await.expect("it ends in time"), Some(0));
}

/// A host that watches the server's UPS, with these lines about TLS.
fn watching(stage: &mut Stage, port: u16, lines: &str) -> Host {
    let host = stage.host("client").unwrap();
    let shutdown = stage.teller(&host, "SHUTDOWNCMD", "shutdown").unwrap();
    configure(stage, &host, port, &shutdown.display().to_string(), lines);
    host
}

fn configure(stage: &Stage, host: &Host, port: u16, shutdown: &str, lines: &str) {
    let flag = host.state.join("killpower");
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 pri pp primary\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 1\n\
         RUN_AS_USER {}\nSHUTDOWNCMD \"{shutdown}\"\nPOWERDOWNFLAG {}\n{lines}",
        me(),
        flag.display()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
}

const LOGIN: &str = "User pri@127.0.0.1 logged into UPS [unit] (SSL)";

#[tokio::test]
async fn our_upsmon_verifies_the_server_and_stops_its_host() {
    let mut stage = stage();
    let ca = authority("Test CA");
    let (server, _programs, port) = server_of(&mut stage, &ca).await;
    let lines = "CERTPATH ca.pem\nCERTVERIFY 1\nCERTHOST 127.0.0.1 ups.example.org 1 1\n";
    let host = watching(&mut stage, port, lines);
    stage.write(&host.conf.join("ca.pem"), &ca.certificate).unwrap();
    let mut monitor = stage.start(&host, "upsmon", &["-F"]).unwrap();
    let login = |entry: &Entry| entry.is_line("server", "upsd", LOGIN);
    stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
    let said = |entry: &Entry| entry.is_line("client", "upsmon", "Connected to NUT server 127.0.0.1 in SSL");
    stage.record.wait(0, PATIENCE, "it says so", said).await.unwrap();
    stage.write(&server.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    let ran = |entry: &Entry| entry.is_script("client", "SHUTDOWNCMD", None);
    stage.record.wait(0, PATIENCE, "it stops its host", ran).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, monitor.ended()).await.expect("it ends in time"), Some(0));
}

/// Has a program end.
async fn ends(running: &mut Running) {
    running.signal(Signal::SIGTERM).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, running.ended()).await.expect("it ends in time"), Some(0));
}

/// Waits for a line of this program with this text.
async fn wait(stage: &mut Stage, from: usize, program: &str, text: &str) {
    let is = |entry: &Entry| matches!(&entry.what, What::Line { program: one, text: line } if one == program && line.contains(text));
    stage.record.wait(from, PATIENCE, text, is).await.unwrap();
}

#[tokio::test]
async fn a_demand_that_a_server_does_not_meet_is_told_and_certhost_decides_for_its_host() {
    let mut stage = stage();
    let (ca, other) = (authority("Test CA"), authority("Other CA"));
    let (server, _programs, port) = server_of(&mut stage, &ca).await;
    let host = watching(&mut stage, port, "");
    stage.write(&host.conf.join("ca.pem"), &ca.certificate).unwrap();
    stage.write(&host.conf.join("other.pem"), &other.certificate).unwrap();
    let at_port = format!("CERTPATH other.pem\nCERTVERIFY 1\nCERTHOST 127.0.0.1:{port} any 0 1\n");
    let login = |entry: &Entry| entry.is_line("server", "upsd", LOGIN);
    for (lines, refusal) in [
        ("CERTPATH other.pem\nCERTVERIFY 1\n", Some("invalid peer certificate: UnknownIssuer")),
        (
            "CERTPATH ca.pem\nCERTHOST 127.0.0.1 other.example.org 1 1\n",
            Some("invalid peer certificate: NotValidForName"),
        ),
        // Another host's is not this one's.
        (
            "CERTPATH other.pem\nCERTVERIFY 1\nCERTHOST 127.0.0.2 any 0 0\n",
            Some("invalid peer certificate: UnknownIssuer"),
        ),
        // What is said for this one counts more than what is said for all.
        (at_port.as_str(), None),
    ] {
        configure(&stage, &host, port, "true", lines);
        let from = stage.record.mark();
        let mut monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
        match refusal {
            Some(why) => {
                wait(&mut stage, from, "upsmon", &format!("connect failed: SSL error: {why}")).await;
                assert!(stage.record.find(0, login).is_none(), "{lines}");
            }
            None => drop(stage.record.wait(from, PATIENCE, "it logs in over TLS", login).await.unwrap()),
        }
        ends(&mut monitor).await;
    }
    // A server in clear, and none is spoken to in clear.
    stage.write(&server.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    let (_plain, port) = upsd(&mut stage, &server).await;
    configure(&stage, &host, port, "true", "FORCESSL 1\n");
    let from = stage.record.mark();
    let _monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
    wait(&mut stage, from, "upsmon", "connect failed: SSL is not available").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_ours() {
    let mut stage = stage();
    let ca = authority("Test CA");
    let (server, [_driver, mut first], _) = server_of(&mut stage, &ca).await;
    ends(&mut first).await;
    stage.write(&server.conf.join("ca.pem"), &ca.certificate).unwrap();
    let demands = "LISTEN 127.0.0.1 0\nCERTFILE upsd.pem\nCERTPATH ca.pem\nCERTREQUEST 2\n";
    stage.write(&server.conf.join("upsd.conf"), demands).unwrap();
    let (_server, port) = upsd(&mut stage, &server).await;
    let host = watching(&mut stage, port, "FORCESSL 1\n");
    stage.write(&host.conf.join("own.pem"), &ca.host("client.example.org").own()).unwrap();
    let mut monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
    wait(&mut stage, 0, "upsmon", "Communications with UPS unit@127.0.0.1").await;
    let login = |entry: &Entry| entry.is_line("server", "upsd", LOGIN);
    assert!(stage.record.find(0, login).is_none());
    ends(&mut monitor).await;
    // Under another name it is not the one that CERTIDENT wants; with its own it is let in.
    let lines = "FORCESSL 1\nCERTFILE own.pem\nCERTIDENT somebody.else \"\"\n";
    configure(&stage, &host, port, "true", lines);
    let (code, output, errors) = stage.run(&host, "upsmon", &["-F", "-p"]).await.unwrap();
    assert_eq!(code, Some(1), "{output}{errors}");
    assert!(format!("{output}{errors}").contains("client.example.org"), "{output}{errors}");
    configure(&stage, &host, port, "true", &lines.replace("somebody.else", "client.example.org"));
    let _monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
    stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
}

/// Runs a tool to its end; whether it succeeded.
fn tool(program: impl AsRef<std::ffi::OsStr>, args: &[&str], dir: &std::path::Path) -> bool {
    let done = std::process::Command::new(program).args(args).current_dir(dir).output();
    done.is_ok_and(|done| {
        if !done.status.success() {
            eprintln!("{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        }
        done.status.success()
    })
}

/// Debian's upsd speaks TLS by NSS, and keeps its certificate in a database.
#[tokio::test]
async fn our_upsmon_verifies_nuts_own_server() {
    let Some(oracle) = Oracle::get("our_upsmon_verifies_nuts_own_server") else { return };
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/nss.sh");
    let fetched = std::process::Command::new("bash").arg(script).output().unwrap();
    let Some(tools) = fetched.status.success().then(|| String::from_utf8(fetched.stdout).unwrap()) else {
        eprintln!("skipped: no tools of NSS: {}", String::from_utf8_lossy(&fetched.stderr));
        return;
    };
    let tools = std::path::Path::new(tools.lines().last().unwrap());
    let mut stage = stage();
    let ca = authority("Test CA");
    let server = stage.host("server").unwrap();
    write_dummies(&stage, &server, &[("unit", "ups.status: OL\n")]);
    let dir = server.conf.join("nss");
    std::fs::create_dir(&dir).unwrap();
    stage.write(&dir.join("password"), "pw\n").unwrap();
    stage.write(&dir.join("own.pem"), &ca.host("ups.example.org").own()).unwrap();
    let made = tool(
        "openssl",
        &["pkcs12", "-export", "-in", "own.pem", "-name", "upsd", "-out", "own.p12", "-passout", "pass:x"],
        &dir,
    ) && tool(tools.join("certutil"), &["-N", "-d", "sql:.", "-f", "password"], &dir)
        && tool(tools.join("pk12util"), &["-i", "own.p12", "-d", "sql:.", "-k", "password", "-W", "x"], &dir);
    if !made {
        eprintln!("skipped: openssl or the tools of NSS do not work here");
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let conf = format!("LISTEN 127.0.0.1 {port}\nCERTPATH {}\nCERTIDENT upsd pw\n", dir.display());
    stage.write(&server.conf.join("upsd.conf"), &conf).unwrap();
    stage.write(&server.conf.join("upsd.users"), USERS).unwrap();
    let _driver = stage.start(&server, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let _upsd = oracle.start(&stage, &server, "nut-upsd", &["upsd", "-F", "-u", &me()]).unwrap();
    wait(&mut stage, 0, "nut-upsd", "Connected to UPS [unit]").await;
    let host = watching(&mut stage, port, "");
    stage.write(&host.conf.join("ca.pem"), &ca.certificate).unwrap();
    for (name, is_right) in [("other.example.org", false), ("ups.example.org", true)] {
        let lines = format!("CERTPATH ca.pem\nCERTHOST 127.0.0.1 {name} 1 1\n");
        configure(&stage, &host, port, "true", &lines);
        let from = stage.record.mark();
        let mut monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
        if is_right {
            wait(&mut stage, from, "nut-upsd", LOGIN).await;
        } else {
            let why = "connect failed: SSL error: invalid peer certificate: NotValidForName";
            wait(&mut stage, from, "upsmon", why).await;
            let login = |entry: &Entry| entry.is_line("server", "nut-upsd", LOGIN);
            assert!(stage.record.find(0, login).is_none());
        }
        ends(&mut monitor).await;
    }
}

#[tokio::test]
async fn certificates_are_read_again_at_a_reload_and_an_impossible_demand_is_refused() {
    let mut stage = stage();
    let (ca, other) = (authority("Test CA"), authority("Other CA"));
    let (_server, _programs, port) = server_of(&mut stage, &ca).await;
    let verify = "CERTPATH ca.pem\nCERTVERIFY 1\n";
    let host = watching(&mut stage, port, verify);
    // The wrong authority: nobody is spoken to.
    stage.write(&host.conf.join("ca.pem"), &other.certificate).unwrap();
    // In one process: it is told itself.
    let monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
    wait(&mut stage, 0, "upsmon", "connect failed: SSL error: ").await;
    // The right one, and a demand that cannot be met: neither is taken.
    stage.write(&host.conf.join("ca.pem"), &ca.certificate).unwrap();
    let shutdown = stage.folder().join("unused").display().to_string();
    configure(&stage, &host, port, &shutdown, "CERTVERIFY 1\nCERTPATH nowhere.pem\n");
    let from = stage.record.mark();
    monitor.signal(Signal::SIGHUP).unwrap();
    wait(&mut stage, from, "upsmon", "CERTPATH").await;
    let login = |entry: &Entry| entry.is_line("server", "upsd", LOGIN);
    assert!(stage.record.find(0, login).is_none());
    // The right one by itself.
    configure(&stage, &host, port, &shutdown, verify);
    monitor.signal(Signal::SIGHUP).unwrap();
    stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
}

#[tokio::test]
async fn upsmon_does_not_start_with_a_demand_that_cannot_be_met() {
    let mut stage = stage();
    let host = watching(&mut stage, 1, "");
    for (lines, words) in [
        ("CERTVERIFY 1\n", "CERTVERIFY is set, but CERTPATH isn't"),
        ("CERTVERIFY 1\nCERTPATH nowhere.pem\n", "nowhere.pem"),
        ("CERTFILE nowhere.pem\n", "nowhere.pem"),
        ("CERTHOST 127.0.0.1 any 1 1\n", "CERTVERIFY is set, but CERTPATH isn't"),
    ] {
        configure(&stage, &host, 1, "true", lines);
        for mode in ["-F", "-B"] {
            let (code, output, errors) = stage.run(&host, "upsmon", &[mode]).await.unwrap();
            assert_eq!(code, Some(1), "{lines}{output}{errors}");
            assert!(output.contains(words) || errors.contains(words), "{lines}{output}{errors}");
        }
    }
    // What is asked of another host than those that are watched, or of none any more, keeps nobody from starting.
    for lines in ["CERTHOST elsewhere any 1 1\n", "CERTVERIFY 1\nCERTHOST 127.0.0.1 any 0 0\n"] {
        configure(&stage, &host, 1, "true", lines);
        let from = stage.record.mark();
        let mut monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
        wait(&mut stage, from, "upsmon", "Connection refused").await;
        ends(&mut monitor).await;
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_read_again_keep_no_reload_from_its_work() {
    let mut stage = stage();
    let ca = authority("Test CA");
    let (_server, _programs, port) = server_of(&mut stage, &ca).await;
    let verify = "CERTPATH ca.pem\nCERTVERIFY 1\nCERTFILE own.pem\n";
    let host = watching(&mut stage, port, verify);
    stage.write(&host.conf.join("ca.pem"), &ca.certificate).unwrap();
    stage.write(&host.conf.join("own.pem"), &ca.host("client").own()).unwrap();
    let monitor = stage.start(&host, "upsmon", &["-F", "-p"]).unwrap();
    let login = |entry: &Entry| entry.is_line("server", "upsd", LOGIN);
    stage.record.wait(0, PATIENCE, "it logs in over TLS", login).await.unwrap();
    // As a key that is for root alone, when root's rights are given up.
    std::fs::remove_file(host.conf.join("own.pem")).unwrap();
    let conf = std::fs::read_to_string(host.conf.join("upsmon.conf")).unwrap();
    let changed = conf.replace(" 1 pri pp primary", " 2 pri pp primary");
    assert_ne!(conf, changed);
    stage.write(&host.conf.join("upsmon.conf"), &changed).unwrap();
    let from = stage.record.mark();
    monitor.signal(Signal::SIGHUP).unwrap();
    for words in ["the certificates in use stay", "redefined power value to 2"] {
        let said = |entry: &Entry| matches!(&entry.what, What::Line { program, text } if program == "upsmon" && text.contains(words));
        stage.record.wait(from, PATIENCE, words, said).await.unwrap();
    }
}
