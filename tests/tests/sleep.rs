//! The host goes to sleep: upsmon on a system bus of its own, and a logind of ours that announces what it likes.

use crate::support::{PATIENCE, me, stage};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{mkfifo, pipe2};
use nut_drill::record::{Entry, Recorder, What};
use nut_drill::stage::{Host, Running, Stage};
use nut_os::clock;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::names::OwnedUniqueName;
use zbus::object_server::SignalEmitter;
use zbus::zvariant;
use zbus::{Connection, fdo};

const PLACE: &str = "/org/freedesktop/login1";

/// How long upsmon keeps a host awake at most: below the 5 s that logind waits.
const HOLD: Duration = Duration::from_secs(4);

const BEGINS: &str = "SUSPEND_STARTING";
const ENDS: &str = "SUSPEND_FINISHED";
const INITIALIZED: &str = "initialized OS integration for sleep inhibitor";
const FAILED: &str = "failed to initialize OS integration for sleep inhibitor";
const LOST: &str = "OS integration for sleep inhibitor is lost";

/// The bus's program, if it is to be had.
fn bus_program(test: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/dbus.sh");
    let looked = Command::new("bash").arg(&script).arg("--check").output();
    let why = match looked {
        Ok(output) if output.status.success() => return Some(script),
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("bash: {error}"),
    };
    assert!(std::env::var_os("COBNUT_ORACLE_REQUIRED").is_none(), "{test} needs dbus-daemon: {why}");
    eprintln!("skipped: {test}: dbus-daemon is not to be had: {why}");
    None
}

/// What our logind does at `Inhibit`.
struct Manager {
    recorder: Recorder,
    is_preparing: bool,
    refuses: bool,
    count: u32,
    /// How many it waits for.
    held: watch::Sender<u32>,
    asker: watch::Sender<Option<OwnedUniqueName>>,
}

#[zbus::interface(name = "org.freedesktop.login1.Manager")]
impl Manager {
    async fn inhibit(
        &mut self,
        what: &str,
        who: &str,
        why: &str,
        mode: &str,
        #[zbus(header)] header: zbus::message::Header<'_>,
    ) -> fdo::Result<zvariant::OwnedFd> {
        self.asker.send_replace(header.sender().map(|sender| sender.to_owned().into()));
        if self.refuses {
            return Err(fdo::Error::AccessDenied("nobody may".into()));
        }
        let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        self.count += 1;
        let (nth, recorder, held) = (self.count, self.recorder.clone(), self.held.clone());
        held.send_modify(|held| *held += 1);
        note(&recorder, format!("{nth} inhibits {what} by {mode}: {who}, {why}")).await;
        let mut read = Receiver::from_owned_fd(read).unwrap();
        tokio::spawn(async move {
            let end = read.read(&mut [0; 1]).await;
            held.send_modify(|held| *held -= 1);
            note(&recorder, format!("{nth} released: {end:?}")).await;
        });
        Ok(zvariant::OwnedFd::from(write))
    }

    #[zbus(property)]
    fn preparing_for_sleep(&self) -> bool {
        self.is_preparing
    }

    #[zbus(signal)]
    async fn prepare_for_sleep(emitter: &SignalEmitter<'_>, start: bool) -> zbus::Result<()>;
}

async fn note(recorder: &Recorder, text: String) {
    recorder.tell("host", What::Line { program: "logind".to_owned(), text }).await;
}

/// Our logind.
struct Logind {
    bus: Connection,
    held: watch::Receiver<u32>,
    asker: watch::Receiver<Option<OwnedUniqueName>>,
}

impl Logind {
    async fn start(stage: &Stage, refuses: bool) -> Self {
        let (held, is_held) = watch::channel(0);
        let (asker, asked) = watch::channel(None);
        let recorder = stage.recorder();
        let manager = Manager { recorder, is_preparing: false, refuses, count: 0, held, asker };
        let built = connect(stage).name("org.freedesktop.login1").unwrap().serve_at(PLACE, manager).unwrap();
        Self { bus: built.build().await.unwrap(), held: is_held, asker: asked }
    }

    /// Tells everybody that the host is about to sleep, or that this is over.
    async fn says(&self, is_preparing: bool) {
        let manager = self.bus.object_server().interface::<_, Manager>(PLACE).await.unwrap();
        manager.get_mut().await.is_preparing = is_preparing;
        Manager::prepare_for_sleep(manager.signal_emitter(), is_preparing).await.unwrap();
    }
}

fn connect(stage: &Stage) -> Builder<'static> {
    let address = format!("unix:path={}", stage.folder().join("bus").display());
    Builder::address(address.as_str()).unwrap()
}

/// A host whose bus is ours.
struct House {
    stage: Stage,
    host: Host,
    bus: PathBuf,
    /// The hook of the notice that the host goes to sleep waits for a line here.
    gate: std::fs::File,
}

impl House {
    async fn new(bus: PathBuf) -> Self {
        let stage = stage();
        let host = stage.host("host").unwrap();
        let gate = stage.folder().join("gate");
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        let drill = stage.programs().path("upsdrill").unwrap();
        let hook = format!(
            "#!/bin/sh\n{} tell host NOTIFYCMD \"$@\"\n[ $NOTIFYTYPE != {BEGINS} ] || read line <{}\n",
            drill.display(),
            gate.display()
        );
        let hook = stage.script("notify", &hook).unwrap();
        let conf = format!(
            "MINSUPPLIES 0\nSHUTDOWNCMD true\nRUN_AS_USER {}\nNOTIFYCMD {}\nNOTIFYFLAG {BEGINS} SYSLOG+EXEC\n\
             NOTIFYFLAG {ENDS} SYSLOG+EXEC\nNOTIFYFLAG SUSPEND_TIMEJUMP_UNEXPECTED SYSLOG\n",
            me(),
            hook.display()
        );
        stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
        let policy = format!(
            "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>\
             <allow send_type=\"signal\"/><allow receive_sender=\"*\"/></policy></busconfig>\n",
            stage.folder().join("bus").display()
        );
        stage.write(&stage.folder().join("bus.conf"), &policy).unwrap();
        // For both: opening it for one of them would wait for the other.
        let gate = std::fs::OpenOptions::new().read(true).write(true).open(gate).unwrap();
        Self { stage, host, bus, gate }
    }

    async fn start_bus(&mut self) -> Running {
        let from = self.stage.record.mark();
        let conf = format!("--config-file={}", self.stage.folder().join("bus.conf").display());
        let args = [&*conf, "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"];
        let running = self.stage.start_at(&self.host, "bus", &self.bus, &args, &[]).unwrap();
        self.line(from, "bus", "unix:path=").await;
        running
    }

    fn start_upsmon(&self) -> Running {
        self.stage.start(&self.host, "upsmon", &["-F", "-p"]).unwrap()
    }

    async fn line(&mut self, from: usize, program: &str, part: &str) {
        let is = |entry: &Entry| entry.is_line("host", program, part);
        self.stage.record.wait(from, PATIENCE, part, is).await.unwrap();
    }

    /// Waits for the hook of this notice.
    async fn hook(&mut self, from: usize, kind: &str) {
        let is =
            |entry: &Entry| matches!(&entry.what, What::Told { notice: (Some(told), _), .. } if told == kind);
        self.stage.record.wait(from, PATIENCE, kind, is).await.unwrap();
    }

    fn hooks(&self, kind: &str) -> usize {
        let is = |entry: &&Entry| matches!(&entry.what, What::Told { notice: (Some(told), _), .. } if told == kind);
        self.stage.record.entries().iter().filter(is).count()
    }

    fn lines(&self, part: &str) -> usize {
        self.stage.record.entries().iter().filter(|entry| entry.is_line("host", "upsmon", part)).count()
    }

    fn let_go(&mut self) {
        self.gate.write_all(b"\n").unwrap();
    }
}

#[tokio::test]
async fn a_sleep_is_told_before_the_host_sleeps_and_does_not_wait_for_ever() {
    let Some(bus) = bus_program("a_sleep_is_told_before_the_host_sleeps_and_does_not_wait_for_ever") else {
        return;
    };
    let mut house = House::new(bus).await;
    let _bus = house.start_bus().await;
    let logind = Logind::start(&house.stage, false).await;
    let mut upsmon = house.start_upsmon();
    house.line(0, "logind", "1 inhibits sleep by delay: upsmon, Careful handling of OS sleep").await;
    house.line(0, "upsmon", INITIALIZED).await;

    // Kept awake until the hook has ended. Where the machine is so slow that the hook's start alone takes as long as
    // upsmon waits, it may sleep before that: then it is tried again.
    let mut nth = 1;
    loop {
        let (from, begun) = (house.stage.record.mark(), clock::now());
        logind.says(true).await;
        house.hook(from, BEGINS).await;
        house.line(from, "upsmon", "Processing OS going to sleep").await;
        house.line(from, "upsmon", "OS is entering sleep/suspend/hibernate mode").await;
        let held = *logind.held.borrow();
        let was_in_time = clock::now().since(begun) < HOLD;
        house.let_go();
        house.line(from, "logind", &format!("{nth} released: Ok(0)")).await;
        // It was given up: the host has not slept.
        logind.says(false).await;
        house.hook(from, ENDS).await;
        nth += 1;
        house.line(from, "logind", &format!("{nth} inhibits sleep")).await;
        house.line(from, "upsmon", "wake-up after sleep, which did not come about").await;
        if was_in_time {
            assert_eq!(held, 1, "it slept although the hook had not ended");
            break;
        }
        assert!(nth < 20, "a hook never starts within {HOLD:?}");
    }

    // A hook that does not end keeps nobody awake, nor does it inherit what would.
    let (from, begun) = (house.stage.record.mark(), clock::now());
    logind.says(true).await;
    house.line(from, "logind", &format!("{nth} released: Ok(0)")).await;
    assert!(clock::now().since(begun) >= HOLD, "it had not ended");
    house.hook(from, BEGINS).await;
    house.let_go();
    logind.says(false).await;
    house.hook(from, ENDS).await;

    // Nobody else can announce it: the signal comes from a stranger, and before the next one of logind.
    let (from, told) = (house.stage.record.mark(), house.hooks(BEGINS));
    let stranger = connect(&house.stage).build().await.unwrap();
    let upsmon_on_bus = logind.asker.borrow().clone().unwrap();
    let manager = "org.freedesktop.login1.Manager";
    stranger.emit_signal(Some(&upsmon_on_bus), PLACE, manager, "PrepareForSleep", &true).await.unwrap();
    fdo::DBusProxy::new(&stranger).await.unwrap().get_id().await.unwrap();
    logind.says(true).await;
    house.hook(from, BEGINS).await;
    house.let_go();
    logind.says(false).await;
    house.hook(from, ENDS).await;
    assert_eq!(house.hooks(BEGINS), told + 1, "a stranger was believed");

    assert_eq!((house.lines(INITIALIZED), house.lines(LOST)), (1, 0));
    upsmon.signal(Signal::SIGTERM).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, upsmon.ended()).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_bus_that_is_missing_dies_or_comes_back_is_told_once_and_found_again() {
    let Some(bus) = bus_program("a_bus_that_is_missing_dies_or_comes_back_is_told_once_and_found_again")
    else {
        return;
    };
    let mut house = House::new(bus).await;
    let _upsmon = house.start_upsmon();
    house.line(0, "upsmon", FAILED).await;

    // A bus without a logind is no change. It refuses, and tells all the same.
    let from = house.stage.record.mark();
    let bus = house.start_bus().await;
    let logind = Logind::start(&house.stage, true).await;
    house
        .line(from, "upsmon", &format!("{FAILED}: org.freedesktop.DBus.Error.AccessDenied: nobody may"))
        .await;
    logind.says(true).await;
    house.hook(from, BEGINS).await;
    house.let_go();
    logind.says(false).await;
    house.hook(from, ENDS).await;

    // logind is started anew, and does not refuse any more.
    let from = house.stage.record.mark();
    logind.bus.close().await.unwrap();
    house.line(from, "upsmon", &format!("{LOST}: logind does not run")).await;
    let logind = Logind::start(&house.stage, false).await;
    house.line(from, "logind", "1 inhibits sleep").await;
    house.line(from, "upsmon", INITIALIZED).await;

    // The bus dies between an announcement and its end, and comes back when that is over.
    logind.says(true).await;
    house.hook(from, BEGINS).await;
    bus.signal(Signal::SIGKILL).unwrap();
    house.line(from, "upsmon", &format!("{LOST}: the system bus has closed the connection")).await;
    house.let_go();
    let from = house.stage.record.mark();
    std::fs::remove_file(house.stage.folder().join("bus")).unwrap();
    let _bus = house.start_bus().await;
    let logind = Logind::start(&house.stage, false).await;
    house.hook(from, ENDS).await;
    house.line(from, "logind", "1 inhibits sleep").await;
    house.line(from, "upsmon", INITIALIZED).await;
    logind.says(true).await;
    house.hook(from, BEGINS).await;
    house.let_go();
    house.line(from, "logind", "1 released: Ok(0)").await;
    // Each change was told once, whatever was tried in between.
    assert_eq!((house.lines(FAILED), house.lines(LOST), house.lines(INITIALIZED)), (2, 2, 2));
}
