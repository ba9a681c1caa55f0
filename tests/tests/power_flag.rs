//! The power-down flag: ours and NUT's are the same bytes, and each `-K` understands the other's.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Stage};
use std::path::PathBuf;

const MAGIC: &str = "upsmon-shutdown-file";

fn flag(host: &Host) -> PathBuf {
    host.state.join("killpower")
}

fn configure(stage: &Stage, host: &Host, port: u16, more: &str) {
    let conf = format!(
        "MONITOR unit@127.0.0.1:{port} 1 sec ss secondary\nMINSUPPLIES 1\nPOLLFREQ 1\nPOLLFREQALERT 1\n\
         FINALDELAY 0\nHOSTSYNC 1\nRUN_AS_USER {}\nSHUTDOWNCMD true\n{more}",
        me()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
}

fn with_flag(stage: &Stage, host: &Host, port: u16) {
    configure(stage, host, port, &format!("POWERDOWNFLAG {}\n", flag(host).display()));
}

/// What NUT's `upsmon -K` ends with, and what it says.
async fn nuts(oracle: &Oracle, stage: &mut Stage, host: &Host) -> (Option<i32>, String) {
    let from = stage.record.mark();
    let mut running = oracle.start(stage, host, "nut-upsmon", &["upsmon", "-K"]).unwrap();
    let code = tokio::time::timeout(PATIENCE, running.ended()).await.expect("it ends in time");
    let is_end =
        |entry: &Entry| matches!(&entry.what, What::Ended { program, .. } if program == "nut-upsmon");
    stage.record.wait(from, PATIENCE, "NUT's upsmon -K ends", is_end).await.unwrap();
    let said = stage.record.entries().iter().skip(from).filter_map(|entry| match &entry.what {
        What::Line { program, text } if program == "nut-upsmon" => Some(text.as_str()),
        _ => None,
    });
    (code, said.collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn k_ends_as_nuts_does_whatever_the_file_holds() {
    let Some(oracle) = Oracle::get("k_ends_as_nuts_does_whatever_the_file_holds") else { return };
    let mut stage = stage();
    let host = stage.host("host").unwrap();
    with_flag(&stage, &host, 1);
    let cases = [
        (None, 1, "Power down flag is not set"),
        (Some(MAGIC), 0, "Power down flag is set"),
        (Some("upsmon-shutdown-file\nmore\n"), 0, "Power down flag is set"),
        (Some("upsmon-shutdown-fileXYZ"), 0, "Power down flag is set"),
        (Some("\nupsmon-shutdown-file"), 1, "does not contain the upsmon magic string"),
        (Some("other"), 1, "does not contain the upsmon magic string"),
        (Some(""), 1, "does not contain the upsmon magic string"),
    ];
    for (content, code, text) in cases {
        if let Some(content) = content {
            stage.write(&flag(&host), content).unwrap();
        }
        let theirs = nuts(oracle, &mut stage, &host).await;
        let (ours, output, errors) = stage.run(&host, "upsmon", &["-K"]).await.unwrap();
        assert_eq!((theirs.0, ours), (Some(code), Some(code)), "{content:?}: {}{output}{errors}", theirs.1);
        assert!(theirs.1.contains(text), "{content:?}: {}", theirs.1);
        assert!(errors.contains(text) || output.contains(text), "{content:?}: {output}{errors}");
    }
    // A directory; no such directive; no file.
    std::fs::remove_file(flag(&host)).unwrap();
    std::fs::create_dir(flag(&host)).unwrap();
    let no_flag = |stage: &Stage| configure(stage, &host, 1, "");
    let no_file = |_: &Stage| std::fs::remove_file(host.conf.join("upsmon.conf")).unwrap();
    let changes: [&dyn Fn(&Stage); 3] = [&|_| {}, &no_flag, &no_file];
    for change in changes {
        change(&stage);
        let theirs = nuts(oracle, &mut stage, &host).await;
        let ours = stage.run(&host, "upsmon", &["-K"]).await.unwrap().0;
        assert_eq!((theirs.0, ours), (Some(1), Some(1)), "{}", theirs.1);
    }
}

#[tokio::test]
async fn what_one_has_written_the_other_obeys() {
    let Some(oracle) = Oracle::get("what_one_has_written_the_other_obeys") else { return };
    let mut stage = stage();
    let server = stage.host("server").unwrap();
    write_dummies(&stage, &server, &[("unit", "ups.status: OB LB\n")]);
    stage.write(&server.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&server.conf.join("upsd.users"), USERS).unwrap();
    let _driver = stage.start(&server, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let (_server, port) = upsd(&mut stage, &server).await;
    connected(&mut stage, &server, "unit").await;
    let (ours, theirs) = (stage.host("ours").unwrap(), stage.host("theirs").unwrap());
    for host in [&ours, &theirs] {
        with_flag(&stage, host, port);
    }
    let mut monitors = [
        stage.start(&ours, "upsmon", &["-F", "-p"]).unwrap(),
        oracle.start(&stage, &theirs, "nut-upsmon", &["upsmon", "-F", "-p"]).unwrap(),
    ];
    for monitor in &mut monitors {
        assert_eq!(tokio::time::timeout(PATIENCE, monitor.ended()).await.expect("it ends in time"), Some(0));
    }
    for host in [&ours, &theirs] {
        assert_eq!(std::fs::read_to_string(flag(host)).unwrap(), MAGIC);
        let (code, said) = nuts(oracle, &mut stage, host).await;
        assert_eq!(code, Some(0), "{said}");
        let (code, output, errors) = stage.run(host, "upsmon", &["-K"]).await.unwrap();
        assert_eq!(code, Some(0), "{output}{errors}");
    }
}
