//! Our apcsmart as a program on lines that go wrong in every way the simulator knows: stale, and good again by itself.

use crate::support::{PATIENCE, me, sim, socket, stage};
use nut_drill::sim::faults::{Extent, Fault, FaultKind, Parity};
use nut_drill::sim::{Event, SimHandle};
use nut_drill::stage::{Host, Running, Stage};
use std::num::NonZeroU32;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// One driver on one troubled line.
struct Troubled {
    kind: FaultKind,
    host: Host,
    sim: SimHandle,
    driver: Running,
    reader: BufReader<UnixStream>,
    /// Every status it has told since its start.
    statuses: Vec<String>,
}

impl Troubled {
    async fn start(stage: &Stage, nth: usize, kind: FaultKind) -> Self {
        let host = stage.host(&format!("line{nth}")).unwrap();
        let tty = stage.folder().join(format!("tty{nth}"));
        let sim = sim("smart-ups-1400-70.9.I", &tty);
        let conf = format!(
            "user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n  pollinterval = 1\n",
            me(),
            tty.display()
        );
        stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
        let driver = stage.start(&host, "apcsmart", &["-a", "unit", "-F"]).unwrap();
        let path = socket(&host, "apcsmart", "unit");
        let connect = async {
            loop {
                match UnixStream::connect(&path).await {
                    Ok(stream) => return stream,
                    Err(_) => nut_drill::stage::turn().await,
                }
            }
        };
        let stream = tokio::time::timeout(PATIENCE, connect).await.expect("the driver listens in time");
        let mut troubled =
            Self { kind, host, sim, driver, reader: BufReader::new(stream), statuses: Vec::new() };
        troubled.ask("DUMPALL").await;
        troubled
    }

    /// Reads until a line that holds; gives it.
    async fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let wait = async {
            loop {
                let mut line = String::new();
                let count = self.reader.read_line(&mut line).await.unwrap();
                assert_ne!(count, 0, "{:?}: the driver has gone", self.kind);
                if let Some(status) = line.strip_prefix("SETINFO ups.status ") {
                    self.statuses.push(status.trim().to_owned());
                }
                if holds(line.trim_end()) {
                    return line.trim_end().to_owned();
                }
            }
        };
        let line = tokio::time::timeout(PATIENCE, wait).await;
        line.unwrap_or_else(|_| panic!("{:?}: not in time: {what}", self.kind))
    }

    /// Asks, and waits for the end of the answer.
    async fn ask(&mut self, question: &str) {
        self.reader.get_mut().write_all(format!("{question}\n").as_bytes()).await.unwrap();
        self.until("DUMPDONE", |line| line == "DUMPDONE").await;
    }

    async fn value(&mut self, name: &str) -> String {
        let question = format!("DUMPVALUE {name}\n");
        self.reader.get_mut().write_all(question.as_bytes()).await.unwrap();
        let start = format!("SETINFO {name} ");
        let line = self.until(name, |line| line.starts_with(&start)).await;
        line[start.len()..].trim_matches('"').to_owned()
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_the_line_the_data_are_stale_and_good_again_when_it_is_over() {
    let stage = stage();
    let kinds = [
        FaultKind::Silence,
        FaultKind::LoseReplies,
        FaultKind::AnswerNa,
        FaultKind::AnswerSm,
        FaultKind::NoLineFeed,
        FaultKind::Garble { seed: 7, one_in: NonZeroU32::MIN },
        FaultKind::WrongParity(Parity::Odd),
    ];
    let mut all = Vec::new();
    for (nth, kind) in kinds.into_iter().enumerate() {
        all.push(Troubled::start(&stage, nth, kind).await);
    }
    for one in &mut all {
        let fault = Fault { kind: one.kind.clone(), extent: Extent::UntilCleared };
        one.sim.send(Event::Fault(fault)).await;
    }
    for one in &mut all {
        one.until("DATASTALE", |line| line == "DATASTALE").await;
        assert_eq!(one.value("driver.state").await, "reconnect.trying", "{:?}", one.kind);
        assert_ne!(one.value("driver.lasterror").await, "", "{:?}", one.kind);
    }
    for one in &all {
        one.sim.send(Event::FaultsEnd).await;
    }
    for one in &mut all {
        one.until("DATAOK", |line| line == "DATAOK").await;
        one.until("quiet", |line| line == "SETINFO driver.state \"quiet\"").await;
        let told: Vec<&str> =
            one.statuses.iter().map(String::as_str).filter(|text| *text != "\"OL\"").collect();
        assert_eq!(told, Vec::<&str>::new(), "{:?}: a status came of noise", one.kind);
        assert!(one.driver.runs(), "{:?}", one.kind);
        let path = stage.folder().join("log").join(format!("{}-apcsmart.log", one.host.name));
        let read = || std::fs::read_to_string(&path).unwrap();
        // Its log is behind what it says on the socket.
        let logged = async {
            while !read().contains("re-established") {
                nut_drill::stage::turn().await;
            }
        };
        let is_logged = tokio::time::timeout(PATIENCE, logged).await.is_ok();
        let log = read();
        assert!(is_logged, "{:?}: {log}", one.kind);
        for text in ["Communications with UPS lost", "Communications with UPS re-established"] {
            assert_eq!(log.matches(text).count(), 1, "{:?}: {text}: {log}", one.kind);
        }
    }
}
