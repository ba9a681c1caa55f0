//! A fleet: many hosts with a real upsmon each, on one upsd; they go down first, and the primary last.
//!
//! Sixty processes are quick enough for every run; two hundred are an ignored test (`cargo test -p scenarios fleet --
//! --ignored`), and two hundred of the same machine in simulated time, without processes, are among upsmon's own tests
//! (`monitor/tests/fleet.rs`).

use crate::support::{PATIENCE, connected, me, stage, upsd, write_dummies};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use nut_proto::Moment;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// HOSTSYNC of those who must not stop by themselves while the test runs, in seconds.
const FOR_EVER: u64 = 3600;

const USERS: &str =
    "[pri]\n  password = a-long-one\n  upsmon primary\n[sec]\n  password = another-one\n  upsmon secondary\n";

/// A server with two UPSes, its upsmon (primary for `unit` alone), and hosts that are fed by one of the two.
struct Fleet {
    stage: Stage,
    central: Host,
    port: u16,
    running: Vec<(String, Running)>,
}

impl Fleet {
    /// The server and the primary. HOSTSYNC in seconds.
    async fn start(host_sync: u64) -> Self {
        let mut stage = stage();
        let central = stage.host("central").unwrap();
        write_dummies(&stage, &central, &[("unit", "ups.status: OL\n"), ("other", "ups.status: OL\n")]);
        stage.write(&central.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
        stage.write(&central.conf.join("upsd.users"), USERS).unwrap();
        let mut running = Vec::new();
        for ups in ["unit", "other"] {
            running.push((ups.to_owned(), stage.start(&central, "dummy-ups", &["-a", ups, "-F"]).unwrap()));
        }
        let (server, port) = upsd(&mut stage, &central).await;
        running.push(("upsd".to_owned(), server));
        for ups in ["unit", "other"] {
            connected(&mut stage, &central, ups).await;
        }
        let mut fleet = Self { stage, central, port, running };
        let central = fleet.central.clone();
        fleet.monitor(&central, "unit", "pri a-long-one primary", host_sync);
        fleet
    }

    /// Hosts that a UPS feeds, all of them started at once.
    fn hosts(&mut self, names: &[String], ups: &str) {
        for name in names {
            let host = self.stage.host(name).unwrap();
            self.monitor(&host, ups, "sec another-one secondary", FOR_EVER);
        }
    }

    fn monitor(&mut self, host: &Host, ups: &str, who: &str, host_sync: u64) {
        let stage = &self.stage;
        let shutdown = stage.teller(host, "SHUTDOWNCMD", &format!("shutdown-{}", host.name)).unwrap();
        let conf = format!(
            "MONITOR {ups}@127.0.0.1:{} 1 {who}\nHOSTSYNC {host_sync}\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 0\n\
             DEADTIME {FOR_EVER}\nRUN_AS_USER {}\nSHUTDOWNCMD \"{}\"\nPOWERDOWNFLAG {}\n",
            self.port,
            me(),
            shutdown.display(),
            host.state.join("killpower").display()
        );
        stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
        // The primary's own clock stands in its log.
        let arguments: &[&str] = if host.name == "central" { &["-F", "-p", "-D"] } else { &["-F", "-p"] };
        let monitor = stage.start(host, "upsmon", arguments).unwrap();
        self.running.push((host.name.clone(), monitor));
    }

    /// Waits until so many are logged in to a UPS. (The log leaves out lines when one address causes so many.)
    async fn logged_in(&mut self, ups: &str, count: usize) {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        let all = format!("NUMLOGINS {ups} {count}\n");
        let record = &mut self.stage.record;
        let wait = async {
            let mut line = String::new();
            while line != all {
                record.listen(Duration::from_millis(20)).await;
                line.clear();
                stream.get_mut().write_all(format!("GET NUMLOGINS {ups}\n").as_bytes()).await.unwrap();
                stream.read_line(&mut line).await.unwrap();
            }
        };
        tokio::time::timeout(3 * PATIENCE, wait).await.unwrap_or_else(|_| panic!("never {all}"));
    }

    /// A client that logs in to a UPS and keeps still: a host that hangs on its way down.
    async fn stuck(&self, ups: &str) -> BufReader<TcpStream> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        for line in ["USERNAME sec".to_owned(), "PASSWORD another-one".to_owned(), format!("LOGIN {ups}")] {
            stream.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_line(&mut answer).await.unwrap();
            assert_eq!(answer, "OK\n", "{line}");
        }
        stream
    }

    fn low_battery(&self) {
        self.stage.write(&self.central.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    }

    /// Waits until a host has run its command and its upsmon has ended, with success; gives when the command ran.
    async fn stops(&mut self, host: &str) -> Moment {
        let command = |entry: &Entry| entry.is_script(host, "SHUTDOWNCMD", None);
        let ran = self.stage.record.wait(0, 3 * PATIENCE, &format!("{host} stops"), command).await.unwrap();
        let end = |entry: &Entry| {
            entry.host == host && matches!(&entry.what, What::Ended { program, .. } if program == "upsmon")
        };
        let ended = self.stage.record.wait(0, PATIENCE, &format!("{host}'s upsmon ends"), end).await.unwrap();
        assert!(matches!(ended.what, What::Ended { code: Some(0), .. }), "{ended:?}");
        let count = self.stage.record.entries().iter().filter(|entry| command(entry)).count();
        assert_eq!(count, 1, "{host} stops once");
        ran.at
    }

    /// What has been taken in holds no shutdown of this host.
    fn has_not_stopped(&self, host: &str) {
        let stopped = |entry: &Entry| entry.is_script(host, "SHUTDOWNCMD", None);
        assert!(self.stage.record.find(0, stopped).is_none(), "{host} has stopped");
        let runs = self.running.iter().any(|(name, program)| name == host && program.runs());
        assert!(runs, "{host}'s upsmon has ended");
    }

    /// Waits for a line of a host's upsmon.
    async fn says(&mut self, host: &str, text: &str) -> Entry {
        self.says_since(0, host, text).await
    }

    /// The same, behind so many entries of the record.
    async fn says_since(&mut self, from: usize, host: &str, text: &str) -> Entry {
        let is = |entry: &Entry| entry.is_line(host, "upsmon", text);
        self.stage.record.wait(from, PATIENCE, &format!("{host} says: {text}"), is).await.unwrap()
    }

    /// When the primary said this, by its own clock, in seconds since its start.
    async fn own_time(&mut self, text: &str) -> f64 {
        let What::Line { text, .. } = self.says("central", text).await.what else { panic!("that is a line") };
        let stamp = text.split_whitespace().next().and_then(|stamp| stamp.parse().ok());
        stamp.unwrap_or_else(|| panic!("no time before: {text}"))
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("host{nth}")).collect()
}

/// All hosts stop; the primary waits for each of them, and for one more that leaves last of all, and for nobody else.
async fn goes_down_in_order(count: usize) {
    let mut fleet = Fleet::start(FOR_EVER).await;
    let hosts = names(count);
    fleet.hosts(&hosts, "unit");
    fleet.hosts(&["elsewhere".to_owned()], "other");
    let last = fleet.stuck("unit").await;
    fleet.logged_in("unit", count + 2).await;
    fleet.logged_in("other", 1).await;

    fleet.low_battery();
    for host in &hosts {
        fleet.stops(host).await;
        fleet.says(host, "forced shutdown in progress").await;
    }
    // All have gone but one: the primary still waits, however often it counts.
    let mut counted = Moment::START;
    for _ in 0..4 {
        fleet.logged_in("unit", 2).await;
        let from = fleet.stage.record.mark();
        counted = fleet.says_since(from, "central", "CountLogins").await.at;
        fleet.has_not_stopped("central");
    }
    drop(last);
    let primary = fleet.stops("central").await;
    assert!(counted < primary, "the primary stopped before the last one had gone");
    // It has waited for that, and not for HOSTSYNC.
    let expired = |entry: &Entry| entry.is_line("central", "upsmon", "Host sync timer expired");
    assert!(fleet.stage.record.find(0, expired).is_none());
    // Nobody waited for whom another UPS feeds, and it was not told to stop.
    fleet.has_not_stopped("elsewhere");
    let told = |entry: &Entry| entry.is_line("elsewhere", "upsmon", "forced shutdown");
    assert!(fleet.stage.record.find(0, told).is_none());
}

#[tokio::test]
async fn a_fleet_goes_down_in_order_and_the_primary_waits_for_exactly_those_that_hold_it() {
    goes_down_in_order(60).await;
}

#[tokio::test]
#[ignore = "two hundred processes: a minute or two on a small machine"]
async fn two_hundred_processes_go_down_in_order_and_the_primary_last() {
    goes_down_in_order(200).await;
}

#[tokio::test]
async fn a_host_that_never_leaves_holds_the_primary_for_host_sync_and_no_longer() {
    const HOST_SYNC: u32 = 4;
    /// How late a busy machine may make it. Anybody else here waits for an hour.
    const LATE: f64 = 60.0;
    let mut fleet = Fleet::start(HOST_SYNC.into()).await;
    let hosts = names(5);
    fleet.hosts(&hosts, "unit");
    let _stuck = fleet.stuck("unit").await;
    fleet.logged_in("unit", hosts.len() + 2).await;

    fleet.low_battery();
    fleet.stops("central").await;
    for host in &hosts {
        fleet.stops(host).await;
    }
    // By the clock of the primary: what the record's says is late on a busy machine. (To the second it is a matter of
    // upsmon's own tests, in simulated time.)
    let decided = fleet.own_time("initiating forced shutdown").await;
    let waited = fleet.own_time("Host sync timer expired").await - decided;
    assert!(waited >= f64::from(HOST_SYNC), "it waited {waited} s");
    assert!(waited < f64::from(HOST_SYNC) + LATE, "it waited {waited} s");
    // And not until that one had gone: he is still there.
    fleet.logged_in("unit", 1).await;
}
