//! The samples in `etc/`: with their examples taken in, the programs run on them and have nothing to complain of.

use crate::support::{PATIENCE, me, stage};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Stage};
use std::path::{Path, PathBuf};

/// What is said of a password that stands in a sample.
const KNOWN_PASSWORD: &str = "stands in guides, or comes with devices";

/// A sample's path.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc").join(name)
}

/// A sample with its examples taken in: lines behind a `#` that look like the file's own.
fn taken_in(name: &str) -> String {
    let text = std::fs::read_to_string(sample(name)).unwrap();
    let is_example = |line: &str| {
        let word: String = line.trim_start().chars().take_while(|c| !c.is_whitespace()).collect();
        let capitals = word.len() >= 2 && word.chars().all(|c| c.is_ascii_uppercase());
        // "MONITOR <ups>@<host> ..." shows the words, not an example.
        let directive = capitals && !line.contains('<') && !line.contains(": ");
        let section = word.starts_with('[') && word.ends_with(']');
        let pair =
            line.split_once(" = ").is_some_and(|(key, _)| key.trim().chars().all(char::is_alphanumeric));
        directive || section || pair || line.trim() == "upsmon primary" || line.trim() == "upsmon secondary"
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_example(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// That no program had anything to say on a line of a file, but of the port that only this test asks for, and of the
/// samples' passwords, which everybody knows and should replace.
fn no_complaints(stage: &Stage) {
    let files = ["upsd.conf:", "ups.conf:", "upsd.users:", "upsmon.conf:", "upssched.conf:"];
    let complaint = |entry: &Entry| {
        matches!(&entry.what, What::Line { text, .. }
            if files.iter().any(|file| text.contains(file))
                && !text.contains(": port 0 is whichever")
                && !text.contains(KNOWN_PASSWORD))
    };
    if let Some(entry) = stage.record.find(0, complaint) {
        panic!("{} complains: {:?}", entry.host, entry.what);
    }
}

async fn says(stage: &mut Stage, host: &Host, program: &str, text: &str) -> String {
    let is = |entry: &Entry| entry.is_line(&host.name, program, text);
    let entry = stage.record.wait(0, PATIENCE, &format!("{program} says: {text}"), is).await.unwrap();
    let What::Line { text, .. } = entry.what else { panic!("a line is a line") };
    text
}

#[tokio::test]
async fn the_samples_run_with_their_examples_taken_in() {
    let mut stage = stage();
    let host = stage.host("central").unwrap();
    let ups_conf = format!("user = {}\n{}", me(), taken_in("ups.conf.sample"));
    assert!(ups_conf.contains("\n[nicole]\n") && ups_conf.contains("\n[dummy]\n"), "{ups_conf}");
    stage.write(&host.conf.join("ups.conf"), &ups_conf).unwrap();
    let dev = std::fs::read_to_string(sample("dummy.dev.sample")).unwrap();
    stage.write(&host.conf.join("dummy.dev"), &dev).unwrap();
    let users = taken_in("upsd.users.sample");
    assert!(users.contains("\n    upsmon secondary\n") && users.contains("\n[admin]\n"), "{users}");
    stage.write(&host.conf.join("upsd.users"), &users).unwrap();
    let upsd_conf = taken_in("upsd.conf.sample");
    assert!(upsd_conf.contains("\nACL myservers ") && upsd_conf.contains("\nREJECT all\n"), "{upsd_conf}");
    // The addresses are not ours.
    let ours: String =
        upsd_conf.lines().filter(|line| !line.starts_with("LISTEN")).collect::<Vec<_>>().join("\n");
    // Nor are the certificates.
    let authority = nut_tls::testing::authority("Test CA");
    for (name, text) in [
        ("upsd.pem", authority.host("ups.example.org").own()),
        ("clients.pem", authority.certificate.clone()),
        ("ca.pem", authority.certificate.clone()),
    ] {
        stage.write(&host.conf.join(name), &text).unwrap();
    }
    let conf = host.conf.display().to_string();
    let ours = ours.replace("/etc/nut", &conf);
    stage.write(&host.conf.join("upsd.conf"), &format!("{ours}\nLISTEN 127.0.0.1 0\n")).unwrap();

    let _driver = stage.start(&host, "dummy-ups", &["-a", "dummy", "-F"]).unwrap();
    let _server = stage.start(&host, "upsd", &["-F", "-u", &me()]).unwrap();
    for user in ["admin", "upsmaster", "upsslave"] {
        let doubt = format!("the password of user \"{user}\" {KNOWN_PASSWORD}");
        says(&mut stage, &host, "upsd", &doubt).await;
    }
    let line = says(&mut stage, &host, "upsd", "listening on 127.0.0.1 port").await;
    let port = line.rsplit_once("port ").unwrap().1.split_whitespace().next().unwrap().to_owned();
    says(&mut stage, &host, "upsd", "Connected to UPS [dummy]").await;

    let upsmon_conf = taken_in("upsmon.conf.sample");
    let monitor = "MONITOR nicole@localhost 1 upsmaster choose-another primary\n";
    assert!(upsmon_conf.contains(monitor), "{upsmon_conf}");
    // A power-down flag of our own, and no shutdown: this is a test.
    let flag = host.state.join("killpower").display().to_string();
    let upsmon_conf = upsmon_conf
        .replace("nicole@localhost", &format!("dummy@127.0.0.1:{port}"))
        .replace("/etc/killpower", &flag)
        .replace("/etc/nut", &conf)
        .replace("/sbin/shutdown -h +0", "true")
        .replace("/sbin/upssched", &stage.programs().path("upssched").unwrap().display().to_string());
    stage.write(&host.conf.join("upsmon.conf"), &format!("RUN_AS_USER {}\n{upsmon_conf}", me())).unwrap();
    let script = std::fs::read_to_string(sample("upssched-dispatch.sample")).unwrap();
    let upsmon = stage.programs().path("upsmon").unwrap().display().to_string();
    let upsc = stage.programs().path("upsc").unwrap().display().to_string();
    let script = script
        .replace("upsmon -c fsd", &format!("{upsmon} -c fsd"))
        .replace(" upsc \"$UPSNAME\"", &format!(" {upsc} \"$UPSNAME\""));
    assert!(script.contains(&upsmon) && script.contains(&upsc), "{script}");
    let script = stage.script("upssched-dispatch", &script).unwrap();
    stage.teller(&host, "LOGGER", "logger").unwrap();
    stage.teller(&host, "MAIL", "mail").unwrap();
    let upssched_conf = taken_in("upssched.conf.sample")
        .replace("nicole@localhost", &format!("dummy@127.0.0.1:{port}"))
        .replace("/usr/local/bin/upssched-dispatch", &script.display().to_string())
        .replace("/run/nut", &host.state.display().to_string());
    assert!(
        upssched_conf.contains("\nAT ONBATT ") && upssched_conf.contains("\nCMDSCRIPT /"),
        "{upssched_conf}"
    );
    stage
        .write(
            &host.conf.join("upssched.conf"),
            &upssched_conf
                .replace("onbatt-nicole 30", "onbatt-nicole 1")
                .replace("early-nicole 600", "early-nicole 4"),
        )
        .unwrap();
    let mut monitor = stage.start(&host, "upsmon", &["-F"]).unwrap();
    let login = "User upsmaster@127.0.0.1 logged into UPS [dummy]";
    says(&mut stage, &host, "upsd", login).await;

    let told = |entry: &Entry, by: &str, words: &str| matches!(&entry.what, What::Told { script, args, .. } if script == by && args.join(" ").contains(words));

    // A timer that has outlived its outage: mains are there, and so the host goes on.
    let upssched = stage.programs().path("upssched").unwrap();
    let name = format!("dummy@127.0.0.1:{port}");
    let environment = [("NOTIFYTYPE", "ONBATT"), ("UPSNAME", name.as_str())];
    let mut left = stage.start_at(&host, "upssched", &upssched, &["a text"], &environment).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, left.ended()).await.expect("it ends"), Some(0));
    let goes_on = |entry: &Entry| told(entry, "LOGGER", "is on line power, so this host goes on");
    stage.record.wait(0, PATIENCE, "the host goes on", goes_on).await.unwrap();
    let stops = |entry: &Entry| told(entry, "LOGGER", "this host stops");
    assert!(stage.record.find(0, stops).is_none());

    // The way of a notice through all of them: timer, script, its words.
    let on_battery = dev.replace("ups.status: OL", "ups.status: OB");
    assert_ne!(on_battery, dev);
    stage.write(&host.conf.join("dummy.dev"), &on_battery).unwrap();
    for words in ["has been on battery for a while", "has been on battery for too long", "this host stops"] {
        for by in ["LOGGER", "MAIL"] {
            let is = |entry: &Entry| told(entry, by, words);
            stage.record.wait(0, PATIENCE, &format!("{by} is told that it {words}"), is).await.unwrap();
        }
    }
    // The early shutdown: by an order to upsmon, with the battery full.
    let ended = tokio::time::timeout(PATIENCE, monitor.ended()).await.expect("upsmon stops the host in time");
    assert_eq!(ended, Some(0));
    let flag = std::fs::read_to_string(host.state.join("killpower")).unwrap();
    assert_eq!(flag, "upsmon-shutdown-file");
    no_complaints(&stage);
}
