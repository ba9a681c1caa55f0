//! What the scenarios share: a stage, a UPS on a line, a driver's dump, a server.

use nut_drill::programs::Programs;
use nut_drill::record::What;
use nut_drill::sim::{Pace, Profile, Settings, SimHandle, SmartUps};
use nut_drill::stage::{Host, Running, Stage};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// How long anything may take on a loaded machine before a test gives up waiting.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A fresh stage.
pub(crate) fn stage() -> Stage {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(|| Programs::fresh().unwrap_or_else(|error| panic!("{error}")));
    let stage = Stage::new(programs.clone()).unwrap_or_else(|error| panic!("{error}"));
    stage.script("wall", "#!/bin/sh\nexec cat >/dev/null\n").unwrap();
    stage
}

/// The user this test runs as: programs that were started by root become nobody else.
pub(crate) fn me() -> String {
    nut_drill::school::whoami()
}

/// A simulated UPS that answers at once, behind this path.
pub(crate) fn sim(profile: &str, link: &Path) -> SimHandle {
    sim_with(profile, link, Settings { pace: Pace::Immediate, ..Settings::default() })
}

/// The same with a time of its own.
pub(crate) fn sim_with(profile: &str, link: &Path, settings: Settings) -> SimHandle {
    SimHandle::start(SmartUps::new(Profile::named(profile).unwrap(), settings), link).unwrap()
}

/// Lets all of these go on beside each other until the last has ended: most of their time is waiting.
pub(crate) async fn all<T>(tasks: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| (Box::pin(task), None)).collect();
    std::future::poll_fn(|context| {
        for (task, result) in tasks.iter_mut().filter(|(_, result)| result.is_none()) {
            if let std::task::Poll::Ready(ended) = task.as_mut().poll(context) {
                *result = Some(ended);
            }
        }
        let all_ended = tasks.iter().all(|(_, result)| result.is_some());
        if all_ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    tasks.into_iter().filter_map(|(_, result)| result).collect()
}

/// Everything a driver tells a newcomer, line by line, up to `DUMPDONE`, once its data are good.
pub(crate) async fn dump(socket: &Path) -> Vec<String> {
    let text = tokio::time::timeout(PATIENCE, async {
        let mut stream = connect(socket).await;
        let mut text = String::new();
        stream.write_all(b"DUMPALL\n").await.unwrap();
        let mut bytes = vec![0; 65_536];
        while !text.contains("DUMPDONE\n") {
            let count = stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "the driver closed the socket in the middle of a dump");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text
    })
    .await
    .expect("the driver tells everything in time");
    text.lines().map(str::to_owned).take_while(|line| line != "DUMPDONE").collect()
}

/// A connection to a socket that may not be there yet.
pub(crate) async fn connect(socket: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return stream,
            Err(_) => nut_drill::stage::turn().await,
        }
    }
}

/// Where a driver's socket is.
pub(crate) fn socket(host: &Host, driver: &str, ups: &str) -> PathBuf {
    host.state.join(format!("{driver}-{ups}"))
}

/// Writes the configuration of a server with these UPSes, all on dummy-ups with these variables.
pub(crate) fn write_dummies(stage: &Stage, host: &Host, dummies: &[(&str, &str)]) {
    let mut ups_conf = format!("user = {}\n", me());
    for (ups, variables) in dummies {
        ups_conf.push_str(&format!(
            "[{ups}]\n  driver = dummy-ups\n  port = {ups}.dev\n  desc = \"The UPS {ups}\"\n"
        ));
        stage.write(&host.conf.join(format!("{ups}.dev")), variables).unwrap();
    }
    stage.write(&host.conf.join("ups.conf"), &ups_conf).unwrap();
}

/// Users in today's manner: `admin` may everything, `pri` and `sec` are upsmon's.
pub(crate) const USERS: &str = "[admin]\n  password = adminpass\n  actions = SET FSD\n  instcmds = ALL\n\
    [pri]\n  password = pp\n  upsmon primary\n\
    [sec]\n  password = ss\n  upsmon secondary\n";

/// Starts our upsd and gives it with its port.
pub(crate) async fn upsd(stage: &mut Stage, host: &Host) -> (Running, u16) {
    let from = stage.record.mark();
    let running = stage.start(host, "upsd", &["-F", "-u", &me()]).unwrap();
    let listens =
        |entry: &nut_drill::record::Entry| entry.is_line(&host.name, "upsd", "listening on 127.0.0.1 port");
    let entry = stage.record.wait(from, PATIENCE, "upsd listens", listens).await.unwrap();
    let What::Line { text, .. } = entry.what else { panic!("a line is a line") };
    let port = text.rsplit_once("port ").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
    (running, port)
}

/// Waits until upsd has all a driver has to say.
pub(crate) async fn connected(stage: &mut Stage, host: &Host, ups: &str) {
    let text = format!("Connected to UPS [{ups}]");
    let is = |entry: &nut_drill::record::Entry| entry.is_line(&host.name, "upsd", &text);
    stage.record.wait(0, PATIENCE, &text, is).await.unwrap();
}
