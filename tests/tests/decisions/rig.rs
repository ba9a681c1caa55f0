//! One row, played: its processes, its steps, and what they left.

use super::tap::{Tap, WIRE};
use super::trail::{self, IN_2_8_0, NOTICES};
use super::{End, Monitor, Nut, Scenario, Side, Start, Step, Trail};
use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nix::sys::signal::Signal;
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What an upsmon's file says unless the row says otherwise. Long where only a fault could make it count.
pub(super) const FAST: &[(&str, &str)] = &[
    ("POLLFREQ", "1"),
    ("POLLFREQALERT", "1"),
    ("DEADTIME", "3600"),
    ("HOSTSYNC", "3600"),
    ("FINALDELAY", "0"),
    ("MINSUPPLIES", "1"),
];

/// What POWERDOWNFLAG holds when it is set.
const FLAG: &str = "upsmon-shutdown-file";

/// Between two looks at what the server says.
const GLANCE: Duration = Duration::from_millis(20);

/// How long we listen for more when a trail does not fit yet.
const SETTLE: Duration = Duration::from_secs(2);

/// How often.
const ROUNDS: usize = 5;

/// One row as it is played.
pub(super) struct Rig {
    row: &'static Scenario,
    side: Side,
    stage: Stage,
    server: Host,
    /// By the name of the UPS, or `upsd`.
    programs: BTreeMap<&'static str, Running>,
    /// Where upsd is, as the taps see it.
    port: watch::Sender<Option<u16>>,
    monitors: BTreeMap<&'static str, Seat>,
    stranger: Option<TcpStream>,
}

/// An upsmon and what we know of it.
struct Seat {
    host: Host,
    tap: Tap,
    start: Start,
    running: Option<Running>,
    /// Up to here its log was waited for.
    seen: usize,
    killed: bool,
}

impl Rig {
    /// Plays a row. What does not hold is told, with all that was recorded.
    pub(super) async fn play(row: &'static Scenario, side: Side) -> Result<(), String> {
        let mut rig = Self::new(row, side).await;
        let played = rig.steps().await;
        let told = match played {
            Ok(()) => rig.judge().await,
            Err(told) => Err(told),
        };
        told.map_err(|told| format!("{told}\n{}", rig.report()))
    }

    async fn new(row: &'static Scenario, side: Side) -> Self {
        let stage = stage();
        let server = stage.host("server").unwrap();
        let upses: Vec<(&str, String)> =
            row.upses.iter().map(|(ups, status)| (*ups, format!("ups.status: {status}\n"))).collect();
        let dummies: Vec<(&str, &str)> = upses.iter().map(|(ups, text)| (*ups, text.as_str())).collect();
        write_dummies(&stage, &server, &dummies);
        let ups_conf = std::fs::read_to_string(server.conf.join("ups.conf")).unwrap();
        stage.write(&server.conf.join("ups.conf"), &format!("pollinterval = 1\n{ups_conf}")).unwrap();
        stage.write(&server.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 0\n{}", row.upsd)).unwrap();
        stage.write(&server.conf.join("upsd.users"), USERS).unwrap();
        let (port, upsd) = watch::channel(None);
        let mut monitors = BTreeMap::new();
        for monitor in row.monitors {
            let host = stage.host(monitor.name).unwrap();
            let tap = Tap::start(monitor.name, stage.recorder(), upsd.clone());
            scripts(&stage, &host);
            let seat = Seat { host, tap, start: monitor.start, running: None, seen: 0, killed: false };
            monitors.insert(monitor.name, seat);
        }
        let mut rig =
            Self { row, side, stage, server, programs: BTreeMap::new(), port, monitors, stranger: None };
        for Monitor { name, conf, .. } in row.monitors {
            rig.write(name, conf);
        }
        for (ups, _) in row.upses {
            rig.start_driver(ups);
        }
        rig
    }

    /// A row whose first step does not start what should be there already has its server, and then its upsmons, from the beginning.
    async fn steps(&mut self) -> Result<(), String> {
        let comes_later = |who: &str| self.monitors.get(who).is_some_and(|seat| seat.start == Start::Later);
        if !matches!(self.row.steps.first(), Some(Step::Start(who)) if !comes_later(who)) {
            self.start("upsd").await?;
            for Monitor { name, start, .. } in self.row.monitors {
                if *start != Start::Later {
                    self.start(name).await?;
                }
            }
        }
        for (nth, step) in self.row.steps.iter().enumerate() {
            self.step(*step).await.map_err(|told| format!("step {nth}, {step:?}: {told}"))?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Set(ups, status) => self.set(ups, status),
            Step::Logs(who, item) => return self.logs(who, item).await,
            Step::Polls(who, ups, count) => return self.polls(who, ups, count).await,
            Step::Waits(who) => return self.waits(who).await,
            Step::Says(ups, status) => return self.says(ups, status).await,
            Step::Ends(who) => return self.ends(who).await,
            Step::Order(who, word) => self.order(who, word).await,
            Step::Send(who, signal) => self.send(who, signal).await,
            Step::Start(who) => return self.start(who).await,
            Step::Write(who, conf) => self.write(who, conf),
            Step::Login(ups) => {
                let lines = ["USERNAME sec", "PASSWORD ss", &format!("LOGIN {ups}")];
                self.stranger = Some(self.talk(&lines).await);
            }
            Step::Leaves => self.stranger = None,
            Step::Forces(ups) => {
                drop(self.talk(&["USERNAME admin", "PASSWORD adminpass", &format!("FSD {ups}")]).await);
            }
            Step::Rests(secs) => self.stage.record.listen(Duration::from_secs(secs)).await,
        }
        Ok(())
    }

    fn set(&self, ups: &str, status: &str) {
        // Renamed into place: a driver must not see half of it.
        let (new, file) =
            (self.server.conf.join(format!("{ups}.new")), self.server.conf.join(format!("{ups}.dev")));
        self.stage.write(&new, &format!("ups.status: {status}\n")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    async fn wait(&mut self, from: usize, claim: &str, is: impl FnMut(&Entry) -> bool) -> Result<(), String> {
        let waited = self.stage.record.wait(from, PATIENCE, claim, is).await;
        waited.map(drop).map_err(|missed| missed.to_string())
    }

    async fn logs(&mut self, who: &str, item: &str) -> Result<(), String> {
        let seat = self.monitors.get_mut(who).expect("a row names its own upsmons");
        let is = |entry: &Entry| entry.host == who && item_of(entry).as_deref() == Some(item);
        let waited = self.stage.record.wait(seat.seen, PATIENCE, item, is).await;
        waited.map_err(|missed| missed.to_string())?;
        let behind = self.stage.record.entries().iter().skip(seat.seen).position(is);
        seat.seen += behind.map_or(0, |nth| nth + 1);
        Ok(())
    }

    async fn polls(&mut self, who: &str, ups: &str, count: usize) -> Result<(), String> {
        // What has happened but was not taken in yet does not count.
        self.stage.record.listen(Duration::ZERO).await;
        let from = self.stage.record.mark();
        let asked = format!("GET VAR {ups} ups.status = ");
        let mut left = count;
        let is = |entry: &Entry| {
            left -= usize::from(entry.is_line(who, WIRE, &asked));
            left == 0
        };
        self.wait(from, &format!("{count} polls of {ups}"), is).await
    }

    async fn waits(&mut self, who: &str) -> Result<(), String> {
        let mut left = 2;
        let is = |entry: &Entry| {
            let counted = entry.is_line(who, WIRE, "GET NUMLOGINS") && !entry.is_line(who, WIRE, " 1");
            left -= usize::from(counted && left > 0);
            left == 0
        };
        self.wait(0, &format!("{who} waits for others"), is).await
    }

    async fn says(&mut self, ups: &str, status: &str) -> Result<(), String> {
        let wanted = format!("VAR {ups} ups.status \"{status}\"\n");
        self.answers(ups, |line| line == wanted).await
    }

    /// Waits until the server says something of a UPS.
    async fn answers(&mut self, ups: &str, is: impl Fn(&str) -> bool) -> Result<(), String> {
        let mut stream = BufReader::new(self.talk(&[]).await);
        let question = format!("GET VAR {ups} ups.status\n");
        let mut line = String::new();
        let record = &mut self.stage.record;
        let wait = async {
            while !is(&line) {
                record.listen(GLANCE).await;
                line.clear();
                stream.get_mut().write_all(question.as_bytes()).await.unwrap();
                stream.read_line(&mut line).await.unwrap();
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.map_err(|_| format!("the last that the server says of {ups} is {line:?}"))
    }

    async fn ends(&mut self, who: &str) -> Result<(), String> {
        let is = |entry: &Entry| {
            entry.host == who && matches!(&entry.what, What::Ended { program, .. } if program == "upsmon")
        };
        self.wait(0, &format!("{who} ends"), is).await
    }

    async fn order(&mut self, who: &str, word: &str) {
        if self.side == Side::Nuts {
            // Its own `-c` sends the same signals. One that comes while it reads an answer costs it the connection: a
            // moment after the last step it sleeps until its next poll.
            self.stage.record.listen(Duration::from_millis(50)).await;
            let signal = match word {
                "fsd" => Signal::SIGUSR1,
                "reload" => Signal::SIGHUP,
                _ => Signal::SIGTERM,
            };
            self.monitors[who].running.as_ref().expect("it was started").signal(signal).unwrap();
            return;
        }
        let seat = &self.monitors[who];
        let pid = seat.running.as_ref().expect("it was started").pid().to_string();
        let args = ["-c", word, "-P", &pid];
        let (code, ..) = self.stage.run(&seat.host, "upsmon", &args).await.unwrap();
        assert_eq!(code, Some(0), "{args:?}");
    }

    async fn send(&mut self, who: &'static str, signal: Signal) {
        let is_upsd = who == "upsd" && signal == Signal::SIGKILL;
        if is_upsd {
            self.port.send_replace(None);
        }
        let running = match self.monitors.get_mut(who) {
            Some(seat) => {
                seat.killed |= signal == Signal::SIGKILL;
                seat.running.as_mut().expect("it was started")
            }
            None => self.programs.get_mut(who).expect("a row names its own programs"),
        };
        running.signal(signal).unwrap();
        if signal == Signal::SIGKILL {
            running.ended().await;
        }
    }

    async fn start(&mut self, who: &'static str) -> Result<(), String> {
        if who == "upsd" {
            let (running, port) = upsd(&mut self.stage, &self.server).await;
            self.programs.insert("upsd", running);
            for (ups, _) in self.row.upses {
                connected(&mut self.stage, &self.server, ups).await;
            }
            self.port.send_replace(Some(port));
            for (ups, _) in self.row.upses {
                self.answers(ups, |line| line.starts_with("VAR") && !line.contains("\"WAIT\"")).await?;
            }
            return Ok(());
        }
        if let Some((ups, _)) = self.row.upses.iter().find(|(ups, _)| *ups == who) {
            self.start_driver(ups);
            return Ok(());
        }
        let seat = self.monitors.get_mut(who).expect("a row names its own upsmons");
        let args: &[&str] = if seat.start == Start::Split { &["-F"] } else { &["-F", "-p"] };
        let running = if self.side == Side::Ours {
            self.stage.start(&seat.host, "upsmon", args)
        } else {
            let args: Vec<&str> = std::iter::once(&"upsmon").chain(args).copied().collect();
            oracle().start(&self.stage, &seat.host, "upsmon", &args)
        };
        seat.running = Some(running.unwrap());
        if seat.start == Start::Refused || self.port.borrow().is_none() {
            return Ok(());
        }
        // It is at work once it has polled for the second time; who comes later may have to stop at the first.
        let polls = if seat.start == Start::Later { 1 } else { 2 };
        let conf = self.row.monitors.iter().find(|monitor| monitor.name == who).map_or("", |one| one.conf);
        let ups = conf.split([' ', '@']).nth(1).unwrap_or_default();
        self.polls(who, ups, polls).await
    }

    fn start_driver(&mut self, ups: &'static str) {
        let running = self.stage.start(&self.server, "dummy-ups", &["-a", ups, "-F"]).unwrap();
        self.programs.insert(ups, running);
    }

    /// Says lines to the server, each of which must be answered with OK.
    async fn talk(&self, lines: &[&str]) -> TcpStream {
        let port = self.port.borrow().expect("there is a server");
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        for line in lines {
            stream.get_mut().write_all(format!("{line}\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_line(&mut answer).await.unwrap();
            assert!(answer.starts_with("OK"), "{line}: {answer}");
        }
        stream.into_inner()
    }

    /// Writes the file of an upsmon.
    fn write(&self, who: &str, conf: &str) {
        let Seat { host, tap, .. } = &self.monitors[who];
        let bin = self.stage.folder().join("bin").display().to_string();
        let mut text = conf.replace('@', &format!("@127.0.0.1:{}", tap.port)).replace("BIN", &bin);
        for (directive, value) in FAST {
            if !conf.lines().any(|line| line.split(' ').next() == Some(directive)) {
                writeln!(text, "{directive} {value}").unwrap();
            }
        }
        let flag = flag(host);
        if !conf.contains("SHUTDOWNCMD") {
            writeln!(text, "SHUTDOWNCMD \"{bin}/shutdown-{who}\"").unwrap();
        }
        if !conf.contains("NOTIFYCMD") {
            writeln!(text, "NOTIFYCMD {bin}/notify-{who}").unwrap();
        }
        writeln!(text, "POWERDOWNFLAG {flag}\nRUN_AS_USER {}", me()).unwrap();
        let known = if self.side == Side::Ours { NOTICES.len() } else { IN_2_8_0 };
        for (notice, _) in &NOTICES[..known] {
            writeln!(text, "NOTIFYFLAG {notice} SYSLOG+EXEC").unwrap();
        }
        self.stage.write(&host.conf.join("upsmon.conf"), &text).unwrap();
    }

    /// Ends what still runs, and compares the trails with what the row expects.
    async fn judge(&mut self) -> Result<(), String> {
        // Notices of the last moment have come before anybody is killed.
        for _ in 0..PATIENCE.as_secs() {
            let late = self.monitors.keys().any(|who| self.notices(who).is_some());
            let pause = if late { Duration::from_secs(1) } else { Duration::ZERO };
            self.stage.record.listen(pause).await;
            if !late {
                break;
            }
        }
        let mut up = Vec::new();
        for (who, seat) in &mut self.monitors {
            let Some(running) = seat.running.as_mut().filter(|running| running.runs()) else { continue };
            up.push(*who);
            running.signal(Signal::SIGKILL).unwrap();
            running.ended().await;
        }
        let trails = match &self.row.nut {
            Nut::Differs { trails, .. } if self.side == Side::Nuts => trails,
            _ => self.row.trails,
        };
        let mut wrong = Vec::new();
        for _ in 0..ROUNDS {
            wrong = trails.iter().filter_map(|trail| self.wrong(trail, &up)).collect();
            wrong.extend(self.disorder());
            if wrong.is_empty() {
                return Ok(());
            }
            self.stage.record.listen(SETTLE).await;
        }
        Err(wrong.join("\n"))
    }

    /// What about an upsmon is not as it must be.
    fn wrong(&self, trail: &Trail, up: &[&str]) -> Option<String> {
        let who = trail.who;
        let log: Vec<String> = self.of(who).filter_map(item_of).collect();
        // What a driver says before it knows anything is not what the rows are about.
        let items: Vec<String> = log.iter().filter(|item| !item.contains("OTHER ")).cloned().collect();
        if !trail::fits(trail.log, &items, self.side) {
            return Some(format!("{who} logged\n  {items:?}\nand not\n  {:?}", trail.log));
        }
        if let Some(wrong) = self.notices(who) {
            return Some(wrong);
        }
        // Ours forces all at once, over as many connections.
        let mut forced: Vec<&str> = self.of(who).filter_map(forced_of).collect();
        forced.sort_unstable();
        if forced != trail.forced {
            return Some(format!("{who} forced {forced:?} and not {:?}", trail.forced));
        }
        let commands: Vec<&str> = self.of(who).filter_map(command_of).collect();
        let code = self.of(who).find_map(|entry| match &entry.what {
            What::Ended { program, code } if program == "upsmon" => Some(*code),
            _ => None,
        });
        let killed = self.monitors[who].killed;
        let end = match (&commands[..], code, up.contains(&who)) {
            ([FLAG], _, true) => Some(End::Stays),
            ([FLAG], Some(Some(0)), false) => Some(End::Down),
            ([], _, true) => Some(End::Up),
            ([], _, false) if killed => Some(End::Killed),
            ([], Some(Some(code)), false) => Some(End::Exit(code)),
            _ => None,
        };
        (end != Some(trail.end)).then(|| {
            format!(
                "{who} ran its command {commands:?}, ended with {code:?}: {end:?} and not {:?}",
                trail.end
            )
        })
    }

    /// Notices that were logged and not run, or the other way round.
    fn notices(&self, who: &str) -> Option<String> {
        let mut notices: Vec<String> =
            self.of(who).filter_map(item_of).filter(|item| trail::notice(item).is_some()).collect();
        let mut executed: Vec<String> = self.of(who).filter_map(executed_of).collect();
        notices.sort();
        executed.sort();
        (notices != executed).then(|| {
            format!("{who} logged the notices\n  {notices:?}\nand ran NOTIFYCMD for\n  {executed:?}")
        })
    }

    /// What came in another order than it must.
    fn disorder(&self) -> Option<String> {
        let first = |(who, what): (&str, &str)| {
            self.stage.record.entries().iter().position(|entry| {
                let is = item_of(entry).as_deref() == Some(what);
                is && entry.host == who
            })
        };
        let wrong = |(one, other): &&((&str, &str), (&str, &str))| {
            first(*one).is_none() || first(*one) >= first(*other)
        };
        self.row.order.iter().find(wrong).map(|(one, other)| format!("{one:?} did not come before {other:?}"))
    }

    fn of<'a>(&'a self, who: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.stage.record.entries().iter().filter(move |entry| entry.host == who)
    }

    /// All that was recorded, for a failure's message.
    fn report(&self) -> String {
        let mut text = String::new();
        for entry in self.stage.record.entries() {
            writeln!(text, "    {:?} {} {:?}", entry.at, entry.host, entry.what).unwrap();
        }
        text
    }
}

/// The scripts of a host: the command, which says what POWERDOWNFLAG holds at that moment, and the notifier.
fn scripts(stage: &Stage, host: &Host) {
    let drill = stage.programs().path("upsdrill").unwrap();
    let (drill, who, flag) = (drill.display(), &host.name, flag(host));
    let tell = format!("#!/bin/sh\n{drill} tell {who} SHUTDOWNCMD \"$(cat {flag} 2>/dev/null)\"\n");
    stage.script(&format!("shutdown-{who}"), &tell).unwrap();
    stage.script(&format!("failing-{who}"), &format!("{tell}exit 7\n")).unwrap();
    let hang = format!("#!/bin/sh\n{drill} tell {who} NOTIFYCMD \"$@\"\nexec sleep 600\n");
    stage.script(&format!("hanging-{who}"), &hang).unwrap();
    stage.teller(host, "NOTIFYCMD", &format!("notify-{who}")).unwrap();
}

fn flag(host: &Host) -> String {
    host.state.join("killpower").display().to_string()
}

fn oracle() -> &'static Oracle {
    Oracle::get("decisions").expect("asked for before the rows are played")
}

fn item_of(entry: &Entry) -> Option<String> {
    match &entry.what {
        What::Line { program, text } if program == "upsmon" => trail::item(text),
        _ => None,
    }
}

/// A notice as NOTIFYCMD saw it, named as in the log.
fn executed_of(entry: &Entry) -> Option<String> {
    let What::Told { script, notice: (kind, ups), .. } = &entry.what else { return None };
    let ups = ups.as_deref().unwrap_or_default();
    let ups = ups.split('@').next().unwrap_or_default();
    (script == "NOTIFYCMD").then(|| format!("{} {ups}", kind.as_deref().unwrap_or("?")).trim_end().to_owned())
}

/// `u1 OK FSD-SET`
fn forced_of(entry: &Entry) -> Option<&str> {
    let What::Line { program, text } = &entry.what else { return None };
    let forced = text.strip_prefix("FSD ").filter(|_| program == WIRE)?;
    // `u1 = OK FSD-SET`: a UPS that was forced is just named.
    Some(forced.strip_suffix(" = OK FSD-SET").unwrap_or(forced))
}

/// What POWERDOWNFLAG held when the command ran.
fn command_of(entry: &Entry) -> Option<&str> {
    match &entry.what {
        What::Told { script, args, .. } if script == "SHUTDOWNCMD" => args.first().map(String::as_str),
        _ => None,
    }
}
