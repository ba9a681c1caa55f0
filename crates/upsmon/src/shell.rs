//! Where upsmon meets the world: signals, timers, notices.
//!
//! | file | what it knows |
//! |---|---|
//! | [`start`] | from the command line to a monitor at work |
//! | [`command_line`] | the options |
//! | [`conf_file`] | reading `upsmon.conf` from the disk |
//! | [`flag`] | the power-down flag on the disk |
//! | [`servers`] | the connections, a task for each UPS |
//! | [`stopper`] | the way to whoever stops the host |
//! | [`test_notice`] | one notice, to see what its channels do with it |
//! | [`questions`] | answering who asks the running instance |
//! | [`explain`] | asking it |
//! | `logind`, `bus` | who announces that the machine is going to sleep, and the way to him |
//!
//! One task owns the [`Monitor`]; each UPS's connection has a task of its own. They send it events over one bounded
//! channel. Nothing here decides anything about power.

pub mod aside;
mod bus;
pub mod command_line;
pub mod conf_file;
pub mod explain;
pub mod flag;
mod logind;
pub mod questions;
pub mod servers;
pub mod start;
pub mod stopper;
pub mod test_notice;
mod tls;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nut_conf::upsmon_conf::{self, UpsmonConf};
use nut_conf::{Severity, Source};
use nut_os::clock::{self, Alarm};
use nut_os::daemon::{
    Orphans, Ours, Signal, Signals, Watchdog, notify_reloaded, notify_reloading, notify_status,
    notify_stopping, notify_watchdog,
};
use nut_os::hook::Hook;
use nut_os::{alert, crit, notice, privilege};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::link::ToParent;
use crate::monitor::{Action, Event, Instance, Monitor};
use crate::notices::Notice;
use crate::parent::LastOrders;
use crate::remarks::{Level, Remark};
use crate::server::{Failure, Order, Report, UpsId};
use logind::{Hold, Logind, Word};
use questions::{Asker, QuestionPlace, Questions};
use servers::{Reach, Servers};
use stopper::Stopper;
use tls::{BadTls, Material};

pub use stopper::Half;

/// Most reports of connections that wait to be taken. Each has at most two on its way.
const MAX_REPORTS: usize = 64;

/// How long `wall` may take.
const WALL_PATIENCE: Duration = Duration::from_secs(30);

/// How long a `NOTIFYCMD` may take. NUT lets it run for ever; some sleep for a while before they act.
const HOOK_PATIENCE: Duration = Duration::from_secs(3600);

/// Most programs started for notices that run at the same time.
const MAX_PROGRAMS: usize = 256;

/// How many more there may be for what must not be crowded out by a UPS that is full of news.
const RESERVED: usize = 64;

/// Most walls at a time.
const MAX_WALLS: usize = 16;

/// How long logging out may take at the end, for all servers together.
const LOGOUT_PATIENCE: Duration = Duration::from_secs(2);

/// What the shell is started with.
#[derive(Debug)]
pub struct Setup {
    /// The configuration in force at the start.
    pub conf: UpsmonConf,
    /// Where it is read again from.
    pub conf_path: PathBuf,
    /// Who stops the host.
    pub half: Half,
    /// How servers are reached.
    pub reach: Reach,
    /// The certificates for that.
    material: Material,
    /// The debug level of the command line; `DEBUG_MIN` in the file can only raise it.
    pub debug: u8,
    /// Where `upsmon --explain` asks us.
    pub questions: QuestionPlace,
}

/// Least time by which the two clocks of the kernel have moved apart if the machine was suspended: they are not read in
/// the same moment.
const SUSPENSION: Duration = Duration::from_secs(1);

/// Makes a runtime and [`run`]s in it.
///
/// # Errors
/// As [`run`], or when there can be no runtime.
pub fn run_to_the_end(monitor: Monitor, setup: Setup, ready: impl FnOnce()) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ran = runtime.block_on(run(monitor, setup, ready));
    // A host name that is still being looked up must not keep us.
    runtime.shutdown_background();
    ran
}

/// Runs the monitor until it ends. `ready` is called once everything is in place and the first questions are out.
///
/// # Errors
/// When signals, timers or the socket cannot be had; nothing is watched then.
pub async fn run(mut monitor: Monitor, setup: Setup, ready: impl FnOnce()) -> io::Result<()> {
    let mut ports = Ports::open(setup)?;
    let instance = Instance { pid: std::process::id(), user: privilege::whoami().to_string() };
    let mut ready = Some(ready);
    let mut event = Event::Start;
    let mut suspended = clock::suspended();
    loop {
        let slept = clock::suspended().saturating_sub(suspended);
        suspended += slept;
        let awake = (slept >= SUSPENSION).then_some(Event::Awake(slept));
        for event in awake.into_iter().chain([event]) {
            for action in monitor.step(clock::now(), event) {
                debug!(?action, "must be done");
                if ports.perform(action).await == Flow::End {
                    return Ok(());
                }
            }
        }
        if let Some(ready) = ready.take() {
            ready();
            ports.say_ready().await;
            notify_status(&ports.watching());
        }
        event = loop {
            match ports.next().await {
                Next::Event(event) => break event,
                // He may have gone meanwhile.
                Next::Question(asker) => drop(asker.send(monitor.explain(clock::now(), &instance))),
            }
        };
        debug!(?event, "happened");
    }
}

/// What comes next.
#[derive(Debug)]
enum Next {
    Event(Event),
    /// Somebody wants to know: no event, since it changes nothing.
    Question(Asker),
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

#[derive(Debug)]
struct Ports {
    conf: UpsmonConf,
    conf_path: PathBuf,
    debug: u8,
    servers: Servers,
    /// The certificates of a configuration that has been read and not yet adopted.
    next_material: Option<Material>,
    reports: mpsc::Receiver<(UpsId, Report)>,
    signals: Signals,
    alarm: Alarm,
    watchdog: Watchdog,
    orphans: Orphans,
    stopper: Stopper,
    /// Events that came of our own actions.
    pending: VecDeque<Event>,
    /// Programs started for notices.
    programs: JoinSet<()>,
    /// Walls at work; what comes of each is whether it could be run.
    walls: JoinSet<bool>,
    wall_failed: bool,
    questions: Questions,
    logind: Logind,
    /// The machine is about to sleep, and what is told of that keeps it awake for a moment.
    hold: Option<Hold>,
}

impl Ports {
    fn open(setup: Setup) -> io::Result<Self> {
        let (sender, reports) = mpsc::channel(MAX_REPORTS);
        Ok(Self {
            conf: setup.conf,
            conf_path: setup.conf_path,
            debug: setup.debug,
            servers: Servers::new(setup.reach, setup.material, sender),
            next_material: None,
            reports,
            signals: Signals::new()?,
            alarm: Alarm::new()?,
            watchdog: Watchdog::new()?,
            orphans: Orphans::new()?,
            stopper: Stopper::new(setup.half)?,
            pending: VecDeque::new(),
            programs: JoinSet::new(),
            walls: JoinSet::new(),
            wall_failed: false,
            questions: Questions::open(setup.questions),
            logind: Logind::listen()?,
            hold: None,
        })
    }

    async fn next(&mut self) -> Next {
        if let Some(event) = self.pending.pop_front() {
            return Next::Event(event);
        }
        loop {
            tokio::select! {
                biased;
                signal = self.signals.next() => if let Some(event) = self.signalled(signal) {
                    return Next::Event(event);
                },
                () = self.watchdog.fired() => notify_watchdog(),
                // Answers go before the timer: what they say may make its business void.
                Some((ups, report)) = self.reports.recv() => return Next::Event(Event::Server(ups, report)),
                word = self.stopper.next() => match word {
                    Some(report) => return Next::Event(Event::FromParent(report)),
                    None => {
                        self.stopper = Stopper::Gone;
                        return Next::Event(Event::ParentGone);
                    }
                },
                word = self.logind.next() => return Next::Event(match word {
                    Word::Announced(hold) => {
                        self.hold = Some(hold);
                        Event::SleepAnnounced
                    }
                    Word::Over => Event::SleepOver,
                }),
                () = self.alarm.fired() => return Next::Event(Event::Tick),
                Some(_) = self.programs.join_next() => {}
                Some(ended) = self.walls.join_next() => self.note_wall(ended.unwrap_or(true)),
                () = self.orphans.taken_in() => {}
                // Whatever must be done goes before what somebody wants to know.
                asker = self.questions.next() => return Next::Question(asker),
            }
        }
    }

    fn signalled(&mut self, signal: Signal) -> Option<Event> {
        match signal {
            Signal::Reload => {
                info!("Signal {}: User requested RELOAD", signal.number());
                Some(self.reload())
            }
            Signal::User1 => Some(Event::ForceShutdown { signal: signal.number() }),
            Signal::Stop { number, .. } => {
                info!("Signal {number}: User requested EXIT");
                Some(Event::Stop { signal: number })
            }
            Signal::User2 => {
                info!("SIGUSR2 means nothing to upsmon");
                None
            }
            Signal::Other { name, number } => {
                info!("Signal {number}: {name} means nothing to upsmon");
                None
            }
        }
    }

    fn reload(&mut self) -> Event {
        notify_reloading();
        let event = self.read_again();
        notify_reloaded();
        event
    }

    fn read_again(&mut self) -> Event {
        let text = match conf_file::read(&self.conf_path) {
            Ok(text) => text,
            Err(why) => return Event::ReloadFailed { why },
        };
        let path = self.conf_path.to_string_lossy();
        let source = Source { path: &path, text: &text };
        let (conf, findings) = upsmon_conf::parse_again(&self.conf, source);
        conf_file::log(&findings);
        match findings.iter().find(|finding| finding.severity == Severity::Error) {
            Some(finding) => Event::ReloadFailed { why: conf_file::in_one_line(finding) },
            None => match Material::read(&conf, &self.conf_path) {
                Ok(material) => {
                    self.next_material = Some(material);
                    Event::Reload(Box::new(conf))
                }
                // Nothing else is demanded than before, and what is in use meets it: keys are often for root alone, who
                // we are no more, and that must not keep the rest of the file from being followed for good.
                Err(why @ BadTls::Files(_)) if conf.tls == self.conf.tls => {
                    error!("{why}; the certificates in use stay");
                    self.next_material = None;
                    Event::Reload(Box::new(conf))
                }
                Err(why) => Event::ReloadFailed { why: why.to_string() },
            },
        }
    }

    async fn perform(&mut self, action: Action) -> Flow {
        match action {
            Action::Open(ups, line) => self.servers.open(ups, *line),
            Action::Ask(ups, order) => self.ask(ups, order),
            Action::Close(ups) => self.servers.close(ups),
            Action::HangUp => self.servers.hang_up(),
            Action::Notify(notice) => self.notify(&notice),
            Action::Wall(text) => self.wall(text),
            Action::Log(remark) => {
                // What somebody must act on is what this service is about now.
                if matches!(remark.level(), Level::Alert | Level::Crit)
                    || matches!(remark, Remark::ShuttingDown { .. })
                {
                    notify_status(&remark.to_string());
                }
                log(&remark);
            }
            Action::Adopt(conf) => self.adopt(*conf),
            Action::ToParent(word) => self.tell_parent(word).await,
            // What was started for the notice holds a copy until it has ended.
            Action::LetSleep => self.hold = None,
            Action::WakeAt(moment) => self.alarm.set(Some(moment)),
            Action::LogOutAndExit => {
                notify_stopping("logging out");
                self.servers.log_out(LOGOUT_PATIENCE).await;
                return Flow::End;
            }
            Action::Exit => {
                notify_stopping("this host is being shut down");
                info!("upsmon ends: the order to stop this host has been given");
                self.servers.hang_up();
                self.stopper.finish().await;
                return Flow::End;
            }
        }
        Flow::GoOn
    }

    fn ask(&mut self, ups: UpsId, order: Order) {
        let unanswered = match order {
            Order::Poll { .. } => Some(Report::PollFailed(Failure::NotConnected)),
            Order::SetFsd => Some(Report::FsdFailed(Failure::NotConnected)),
            Order::CountLogins => Some(Report::Logins(None)),
            Order::Use(_) | Order::Reconnect(_) => None,
        };
        // Its task takes a few orders in advance; more there are only if it is stuck, and then this is the answer.
        if !self.servers.ask(ups, order)
            && let Some(report) = unanswered
        {
            self.pending.push_back(Event::Server(ups, report));
        }
    }

    fn adopt(&mut self, conf: UpsmonConf) {
        if let Some(material) = self.next_material.take() {
            self.servers.use_material(material);
        }
        self.stopper.adopt(|| LastOrders::new(&conf));
        set_debug(self.debug, &conf);
        self.conf = conf;
        notify_status(&self.watching());
    }

    /// What we do, for whoever asks the service manager.
    fn watching(&self) -> String {
        format!("watching {} UPS(es), MINSUPPLIES {}", self.conf.monitors.len(), self.conf.min_supplies)
    }

    /// Says to the root half, if there is one, that we are ready.
    async fn say_ready(&mut self) {
        if let Stopper::Parent { .. } = self.stopper {
            self.tell_parent(ToParent::Ready).await;
        }
    }

    async fn tell_parent(&mut self, word: ToParent) {
        let is_told = self.stopper.tell(word).await;
        if !is_told {
            self.stopper = Stopper::Gone;
            self.pending.push_back(Event::ParentGone);
        }
    }

    fn notify(&mut self, notice: &Notice) {
        if notice.to.syslog {
            notice!("{}", notice.text);
        }
        if notice.to.wall {
            self.wall(&notice.text);
        }
        if notice.to.exec {
            self.execute(notice);
        }
    }

    /// Runs `NOTIFYCMD` with the text as its last argument. It is started before this returns, so that programs start in
    /// the order of the notices, but nobody waits for it.
    fn execute(&mut self, notice: &Notice) {
        let Some(hook) = notify_hook(&self.conf, notice) else { return };
        let running = self.programs.len();
        if running >= most_programs(notice.kind) {
            error!("NOTIFYCMD is not run for {}: {running} of them are still running", notice.kind);
            return;
        }
        let program = self.conf.notify_command.join(" ");
        match hook.deadline(HOOK_PATIENCE).start() {
            Ok(running) => {
                let (kind, hold) = (notice.kind, self.hold.clone());
                self.programs.spawn(async move {
                    let end = running.end().await;
                    drop(hold);
                    if !end.is_success() {
                        warn!("NOTIFYCMD {program} for {kind} {end}");
                    }
                });
            }
            Err(error) => error!(%error, "NOTIFYCMD {program} could not be started for {}", notice.kind),
        }
    }

    /// Shows a text on every terminal, by the program `wall`. The text is its input: no shell, no argument.
    fn wall(&mut self, text: &str) {
        if self.walls.len() >= MAX_WALLS {
            if !std::mem::replace(&mut self.wall_failed, true) {
                warn!("{MAX_WALLS} walls have not ended: what comes now is not shown at terminals");
            }
            return;
        }
        match start_wall(text) {
            Ok(mut wall) => {
                let (ours, hold) = (Ours::new(wall.id()), self.hold.clone());
                self.walls.spawn(async move {
                    let _ours = ours;
                    let _hold = hold;
                    match timeout(WALL_PATIENCE, wall.wait()).await {
                        Ok(ended) => ended.is_ok_and(|status| !is_missing(status)),
                        Err(_) => {
                            // A terminal that does not take it; the others have it.
                            let _ = wall.start_kill();
                            let _ = wall.wait().await;
                            true
                        }
                    }
                });
            }
            Err(error) => {
                debug!(%error, "no process can be made for wall");
                self.note_wall(false);
            }
        }
    }

    /// Tells once that walls are not seen, until one is again.
    fn note_wall(&mut self, has_run: bool) {
        if !std::mem::replace(&mut self.wall_failed, !has_run) && !has_run {
            warn!("wall cannot be run: nobody at a terminal will see notices");
        }
    }
}

/// At how many programs that run no more is started for such a notice.
fn most_programs(kind: upsmon_conf::NoticeKind) -> usize {
    if is_grave(kind) { MAX_PROGRAMS + RESERVED } else { MAX_PROGRAMS }
}

/// What people or scripts must hear of whatever else there is to hear.
fn is_grave(kind: upsmon_conf::NoticeKind) -> bool {
    use upsmon_conf::NoticeKind::{Fsd, LowBatt, NoParent, OnBatt, Shutdown, ShutdownHostSync};
    matches!(kind, OnBatt | LowBatt | Fsd | NoParent | ShutdownHostSync | Shutdown)
}

/// `NOTIFYCMD` for this notice, with its argument and its environment; nothing if there is no `NOTIFYCMD`.
fn notify_hook(conf: &UpsmonConf, notice: &Notice) -> Option<Hook> {
    let hook = Hook::words(&conf.notify_command)?
        .arg(&notice.text)
        .env("UPSNAME", notice.ups.as_deref().unwrap_or_default())
        .env("NOTIFYTYPE", notice.kind.as_str())
        .env("NOTIFYMSG", &notice.text)
        // Empty where nothing was decided: one that we have inherited would be somebody else's.
        .env("NOTIFYREASON", notice.reason.as_deref().unwrap_or_default())
        .called("NOTIFYCMD");
    Some(hook)
}

/// Whether the shell that was to become a program did not find it, or may not run it.
fn is_missing(status: ExitStatus) -> bool {
    matches!(status.code(), Some(126 | 127))
}

/// The whole text is in the pipe before this returns: it is shown even if we end the next moment. A shell looks for the
/// program: who starts it himself is held up by a directory in `PATH` that hangs.
fn start_wall(text: &str) -> io::Result<tokio::process::Child> {
    let mut wall = Command::new("/bin/sh")
        .args(["-c", "exec wall"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(false)
        .spawn()?;
    if let Some(stdin) = wall.stdin.take() {
        // A notice is far shorter than what a pipe holds, so that this never waits.
        let mut pipe = std::fs::File::from(stdin.into_owned_fd()?);
        let written = pipe.write_all(text.as_bytes()).and_then(|()| pipe.write_all(b"\n"));
        // A wall that has ended at once has its reasons.
        written
            .or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
    }
    Ok(wall)
}

/// Logs as much as the command line or the file asks for, whichever is more.
fn set_debug(given: u8, conf: &UpsmonConf) {
    nut_os::log::set_debug(given.max(conf.debug_min.unwrap_or(0)));
}

/// Logs a remark at its level.
fn log(remark: &Remark) {
    match remark.level() {
        Level::Alert => alert!("{remark}"),
        Level::Crit => crit!("{remark}"),
        Level::Error => error!("{remark}"),
        Level::Warning => warn!("{remark}"),
        Level::Notice => notice!("{remark}"),
        Level::Info => info!("{remark}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use upsmon_conf::NoticeKind;

    #[test]
    fn a_ups_that_is_full_of_news_crowds_out_nothing_grave() {
        for (kind, most) in [
            (NoticeKind::CommBad, 256),
            (NoticeKind::Online, 256),
            (NoticeKind::OnBatt, 320),
            (NoticeKind::LowBatt, 320),
            (NoticeKind::Shutdown, 320),
        ] {
            assert_eq!(most_programs(kind), most, "{kind}");
        }
    }
}
