//! What upsmon says of each way in which a poll can fail: NUT's words, and NUT's numbers.
//!
//! The server is one of ours that answers as it is told; beside our upsmon NUT's own is put before it, and NUT's client
//! library is asked for its numbers (`tests/oracle/codes.py`).

use crate::oracle::Oracle;
use crate::support::{PATIENCE, me, stage};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Stage};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Refusals that a poll can meet, of all the ages of NUT, and one that nobody knows.
const REFUSALS: [&str; 26] = [
    "VAR-NOT-SUPPORTED",
    "UNKNOWN-UPS",
    "ACCESS-DENIED",
    "PASSWORD-REQUIRED",
    "PASSWORD-INCORRECT",
    "MISSING-ARGUMENT",
    "DATA-STALE",
    "VAR-UNKNOWN",
    "ALREADY-LOGGED-IN",
    "ALREADY-SET-PASSWORD",
    "UNKNOWN-TYPE",
    "UNKNOWN-VAR",
    "READONLY",
    "TOO-LONG",
    "INVALID-VALUE",
    "SET-FAILED",
    "UNKNOWN-INSTCMD",
    "INSTCMD-FAILED",
    "CMD-NOT-SUPPORTED",
    "INVALID-USERNAME",
    "ALREADY-SET-USERNAME",
    "UNKNOWN-COMMAND",
    "INVALID-PASSWORD",
    "USERNAME-REQUIRED",
    "DRIVER-NOT-CONNECTED",
    "SOMETHING-ELSE",
];

/// What NUT's library calls it, and the name of the UPS to which it happens here.
const OTHERS: [(&str, &str); 5] = [
    ("nonsense", "nonsense"),
    ("another", "another"),
    ("hangs up", "hangs-up"),
    ("refused", "refused"),
    ("no tls", "in-clear"),
];

/// A server: each UPS fails in the way its name says, until all is well.
async fn serve(listener: TcpListener, is_well: watch::Receiver<bool>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(answer(client, is_well.clone()));
    }
}

async fn answer(client: TcpStream, is_well: watch::Receiver<bool>) {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    while client.read_line(&mut line).await.is_ok_and(|count| count > 0) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match *words.as_slice() {
            ["STARTTLS"] => "ERR FEATURE-NOT-CONFIGURED".to_owned(),
            ["GET", "VAR", ups, "ups.status"] => match ups {
                _ if *is_well.borrow() => format!("VAR {ups} ups.status \"OL\""),
                "nonsense" => "BEGIN nonsense".to_owned(),
                "another" => "VAR other ups.status \"OL\"".to_owned(),
                "hangs-up" => return,
                refusal => format!("ERR {refusal}"),
            },
            ["GET", ..] => "ERR VAR-NOT-SUPPORTED".to_owned(),
            _ => "OK".to_owned(),
        };
        if client.get_mut().write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

fn configure(stage: &Stage, host: &Host, monitors: &str, more: &str) {
    let conf = format!(
        "{monitors}MINSUPPLIES 0\nPOLLFREQ 1\nPOLLFREQALERT 1\nSHUTDOWNCMD true\nRUN_AS_USER {}\n{more}",
        me()
    );
    stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
}

/// `Poll UPS [hangs-up@127.0.0.1:4711] failed - why` is `hangs-up` and ` failed - why`.
fn about(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("UPS [")?;
    let (ups, rest) = rest.split_once('@')?;
    Some((ups, rest.split_once(']')?.1))
}

/// What has been said of each UPS, in order.
fn said(stage: &Stage, host: &str) -> BTreeMap<String, Vec<String>> {
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in stage.record.entries().iter().filter(|entry| entry.host == host) {
        if let What::Line { text, .. } = &entry.what
            && let Some((ups, rest)) = about(text)
        {
            said.entry(ups.to_owned()).or_default().push(rest.to_owned());
        }
    }
    said
}

async fn wait_for_all(stage: &mut Stage, host: &str, upses: &[&str], part: &str) {
    let mut missing: Vec<&str> = upses.to_vec();
    let is = |entry: &Entry| {
        if let What::Line { text, .. } = &entry.what
            && entry.host == host
            && text.contains(part)
            && let Some((ups, _)) = about(text)
        {
            missing.retain(|one| *one != ups);
        }
        missing.is_empty()
    };
    let waited = stage.record.wait(0, PATIENCE, part, is).await;
    assert!(waited.is_ok(), "{host}: not said of {missing:?}: {part}");
}

/// What NUT's library makes of it: its number and its text, by what it calls the way of failing.
fn nuts(oracle: &Oracle) -> Option<BTreeMap<String, (String, String)>> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle");
    let (lib, usr) = (oracle.root().join("lib"), oracle.root().join("usr/lib"));
    let folders = |root: &Path| {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.display().to_string().contains("-linux-")).collect::<Vec<_>>()
    };
    let paths: Vec<_> = [&lib, &usr].into_iter().flat_map(|root| folders(root)).collect();
    let library = paths.iter().map(|path| path.join("libupsclient.so.6")).find(|path| path.exists()).unwrap();
    let asked = Command::new("python3")
        .arg(scripts.join("codes.py"))
        .arg(library)
        .args(REFUSALS)
        .env("LD_LIBRARY_PATH", std::env::join_paths(&paths).unwrap())
        .stdin(Stdio::null())
        .output();
    let output = match asked {
        Ok(output) => output,
        Err(error) => {
            assert!(std::env::var_os("COBNUT_ORACLE_REQUIRED").is_none(), "python3: {error}");
            eprintln!("skipped: NUT's library cannot be asked without python3: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    Some(lines.map(|words| (words[1].to_owned(), (words[0].to_owned(), words[2].to_owned()))).collect())
}

#[tokio::test]
async fn each_failure_has_nuts_words_and_nuts_number_and_is_told_once_with_its_end() {
    let test = "each_failure_has_nuts_words_and_nuts_number_and_is_told_once_with_its_end";
    let Some(oracle) = Oracle::get(test) else { return };
    let Some(nuts) = nuts(oracle) else { return };
    let mut stage = stage();
    let (tell, is_well) = watch::channel(false);
    let mut ports = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(listener.local_addr().unwrap().port());
        tokio::spawn(serve(listener, is_well.clone()));
    }
    // Held, so that nobody else gets it, and not listened at.
    let refused = TcpSocket::new_v4().unwrap();
    refused.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nobody = refused.local_addr().unwrap().port();
    let port_of = |ups: &str| match ups {
        "refused" => nobody,
        "in-clear" => ports[1],
        _ => ports[0],
    };
    let upses: Vec<&str> = REFUSALS.into_iter().chain(OTHERS.map(|(_, ups)| ups)).collect();
    let monitor = |ups: &&&str| format!("MONITOR {ups}@127.0.0.1:{} 0 mon pw secondary\n", port_of(ups));
    let monitors: String = upses.iter().map(|ups| monitor(&ups)).collect();

    let ours = stage.host("ours").unwrap();
    let more = format!("POLLFAIL_LOG_THROTTLE_MAX 0\nCERTHOST 127.0.0.1:{} any 0 1\n", ports[1]);
    configure(&stage, &ours, &monitors, &more);
    let _ours = stage.start(&ours, "upsmon", &["-F", "-p"]).unwrap();
    // NUT 2.8.0 knows no port behind a host in CERTHOST.
    let its: Vec<&str> = upses.iter().copied().filter(|ups| *ups != "in-clear").collect();
    let theirs = stage.host("theirs").unwrap();
    configure(&stage, &theirs, &its.iter().map(|ups| monitor(&ups)).collect::<String>(), "");
    let _theirs = oracle.start(&stage, &theirs, "upsmon", &["upsmon", "-F", "-p"]).unwrap();

    wait_for_all(&mut stage, "ours", &upses, " failed").await;
    wait_for_all(&mut stage, "theirs", &its, " failed").await;
    let said_by_nut = said(&stage, "theirs");
    let recovers: Vec<&str> = its.iter().copied().filter(|ups| *ups != "refused").collect();
    tell.send_replace(true);
    wait_for_all(&mut stage, "ours", &recovers, " recovered").await;

    let said = said(&stage, "ours");
    for ups in &upses {
        let how = OTHERS
            .iter()
            .find(|(_, name)| name == ups)
            .map_or(format!("ERR {ups}"), |(how, _)| (*how).to_owned());
        let (number, text) = &nuts[&how];
        let is_failure = |line: &&String| line.contains("failed");
        let failure = said[*ups].iter().find(is_failure).unwrap();
        // What NUT says of it in a line of its own stands behind it.
        let words = failure.split_once("; UPS [").map_or(failure.as_str(), |(words, _)| words);
        if *ups != "UNKNOWN-UPS" {
            assert!(words.ends_with(&format!(" {text}")), "{ups}: {failure}");
        }
        if *ups != "in-clear" {
            assert!(
                said_by_nut[*ups].iter().any(|line| line == words),
                "{ups}: {failure}; {:?}",
                said_by_nut[*ups]
            );
        }
        let change = format!(
            " failure state code changed from -1 to {number}; report below will not be repeated to syslog:"
        );
        // Whatever else there is to say of it, this is all of its polls, in this order.
        let is_poll =
            |line: &&String| ["failed", "failure state", "recovered"].iter().any(|part| line.contains(part));
        let polls: Vec<&String> = said[*ups].iter().filter(is_poll).collect();
        let end = format!(" recovered from failure state code {number} - now -1");
        let expected: Vec<&String> =
            [&change, failure].into_iter().chain(recovers.contains(ups).then_some(&end)).collect();
        assert_eq!(polls, expected, "{ups}");
    }
}
