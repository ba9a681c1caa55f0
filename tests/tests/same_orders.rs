//! What readers say to our dummy-ups and to NUT's has the same answers, and a sequence plays in the same order.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, connect, me, socket, stage};
use nut_drill::stage::{Host, Running, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A connection to a driver.
struct Reader {
    stream: UnixStream,
    pending: Vec<u8>,
}

impl Reader {
    async fn line(&mut self) -> String {
        let line = async {
            loop {
                if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.pending.drain(..=end).collect();
                    return String::from_utf8(line).unwrap().trim_end().to_owned();
                }
                let mut piece = [0; 4096];
                let count = self.stream.read(&mut piece).await.unwrap();
                assert_ne!(
                    count,
                    0,
                    "the driver has hung up, after {:?}",
                    String::from_utf8_lossy(&self.pending)
                );
                self.pending.extend_from_slice(&piece[..count]);
            }
        };
        tokio::time::timeout(PATIENCE, line).await.expect("the driver says something in time")
    }

    /// What is said in answer to these lines, besides what a driver says of itself.
    async fn answers(&mut self, lines: &str) -> Vec<String> {
        let sent = self.stream.write_all(format!("{lines}\nPING\n").as_bytes()).await;
        sent.unwrap_or_else(|error| panic!("{lines}: {error}"));
        let mut heard = Vec::new();
        loop {
            match self.line().await {
                line if line == "PONG" => return heard,
                line if line.starts_with("SETINFO driver.") => {}
                line => heard.push(line),
            }
        }
    }
}

/// Starts dummy-ups, ours or NUT's, with this file, and talks to it once it has told everything.
async fn dummy(stage: &Stage, nuts: Option<&Oracle>, file: &str, text: &str) -> (Running, Reader) {
    let host: Host = stage.host(if nuts.is_some() { "nuts" } else { "ours" }).unwrap();
    let conf = format!("user = {}\npollinterval = 1\n[unit]\n  driver = dummy-ups\n  port = {file}\n", me());
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    stage.write(&host.conf.join(file), text).unwrap();
    let running = match nuts {
        None => stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap(),
        Some(oracle) => {
            let args = ["dummy-ups", "-a", "unit", "-u", &me(), "-F"];
            oracle.start(stage, &host, "nut-dummy-ups", &args).unwrap()
        }
    };
    // One connection for all: NUT's may lose the others when it notices that one has gone.
    let stream = connect(&socket(&host, "dummy-ups", "unit")).await;
    let mut reader = Reader { stream, pending: Vec::new() };
    reader.answers("DUMPALL").await;
    (running, reader)
}

#[tokio::test]
async fn orders_to_dummy_ups_end_as_with_nuts() {
    let Some(oracle) = Oracle::get("orders_to_dummy_ups_end_as_with_nuts") else { return };
    let stage = stage();
    let text = "ups.status: OL\nups.id: one\nups.serial: s\n";
    let (_ours, mut ours) = dummy(&stage, None, "unit.dev", text).await;
    let (_nuts, mut nuts) = dummy(&stage, Some(oracle), "unit.dev", text).await;
    let lines = [
        "SET ups.id two TRACKING a",
        "SET ups.id two TRACKING same",
        "SET UPS.ID TWO TRACKING case",
        "set ups.id three tracking b",
        "SET new.variable x TRACKING c",
        "SET battery.charge 55 TRACKING d",
        "SET ups.status \"OB LB\" TRACKING e",
        "SET ups.id \"\" TRACKING f",
        "SET nothing.there \"\" TRACKING g",
        "SET ups.id \"two words = one\" TRACKING h",
        "SET ups.id z TRACKING i extra",
        "SET ups.id y NOTRACKING j",
        "SET ups.id x w",
        "SET ups.id",
        "SET",
        "INSTCMD load.off TRACKING k",
        "INSTCMD LOAD.OFF TRACKING l",
        "INSTCMD load.off 5 TRACKING m",
        "INSTCMD nosuch TRACKING n",
        "INSTCMD load.off a b c d",
        "INSTCMD load.off TRACKING",
        "INSTCMD load.off",
        "INSTCMD",
        "PING at all",
        "pInG",
        "HELLO",
        "",
        "SET ups.id \"a\\\nb\" TRACKING o",
        "SET ups.serial a\\ b TRACKING p",
    ];
    // Several at a time, less than NUT's reads at once: it sleeps a second in each of its updates.
    for lines in lines.chunks(7).map(|lines| lines.join("\n")) {
        let (ours, nuts) = (ours.answers(&lines).await, nuts.answers(&lines).await);
        assert_eq!(ours, nuts, "{lines}");
    }
}

/// The values of `ups.status` in the order they came, from the first on; one round and a bit.
async fn played(reader: &mut Reader) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let line = reader.line().await;
        let Some(status) = line.strip_prefix("SETINFO ups.status ") else { continue };
        if !seen.is_empty() || status == "\"OL\"" {
            seen.push(status.to_owned());
        }
    }
    seen
}

#[tokio::test]
async fn a_sequence_plays_in_the_same_order_as_nuts() {
    let Some(oracle) = Oracle::get("a_sequence_plays_in_the_same_order_as_nuts") else { return };
    let stage = stage();
    let text = "ups.status: OL\nTIMER 1\nups.status: OB\nTIMER 2\nups.status: OB LB\nTIMER: 1\n\
        ups.status: OL CHRG\nTIMER 1 second\n";
    let (_ours, mut ours) = dummy(&stage, None, "unit.seq", text).await;
    let (_nuts, mut nuts) = dummy(&stage, Some(oracle), "unit.seq", text).await;
    let (ours, nuts) = tokio::join!(played(&mut ours), played(&mut nuts));
    assert_eq!(ours, ["\"OL\"", "\"OB\"", "\"OB LB\"", "\"OL CHRG\"", "\"OL\"", "\"OB\""]);
    assert_eq!(ours, nuts);
}
