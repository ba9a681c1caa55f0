//! The program around a driver: the port, the Unix socket, timers, signals; from the command line to the exit code.
//!
//! [`main`] is what a driver's `bin/*.rs` calls. One task owns [`Core`] and [`Serving`]; it waits in one place
//! (`Unit::next`) and acts in one (`Unit::perform`). Nothing about power is decided here.

mod line;
mod readers;
mod serial;
mod start;
mod upstream;

use crate::core::{self, Core, Exit, Reload};
use crate::driver::{Note, Weight};
use crate::options::Kind;
use crate::serving::{self, Serving, Told};
use line::CommandLine;
use nut_os::clock::{self, Alarm};
use nut_os::daemon::{self, Daemon, Plan, ReadySignal, Signal, Signals, Started};
use nut_os::log::{self, Chain, Destination, LogOptions};
use nut_os::options::{banner, banner_wanted, program_name, say};
use nut_os::socket::{Existing, UnixSocket};
use nut_proto::device::Device;
use nut_proto::driver::FromDriver;
use nut_proto::words::escape;
use readers::{Heard, Readers};
use serial::{Brought, Port};
pub(crate) use start::paths;
use start::{Failure, Prepared, prepare};
use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, error, info, trace, warn};

/// Mode of the driver's socket: for its user and group.
const SOCKET_MODE: u32 = 0o660;

/// How long readers have to take what they have not read when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The program: from the command line to the exit code.
#[must_use]
pub fn main(kind: Kind) -> ExitCode {
    let line = match CommandLine::read(kind.about, std::env::args_os()) {
        Ok(line) => line,
        Err(code) => return code,
    };
    let program = program_name(kind.about.name);
    let greets = banner_wanted() && !matches!(line.task, line::Task::Dump { .. });
    let banner = greets.then(|| format!("{}\n{} {}", banner(&program), kind.about.title, kind.about.version));
    let background = line.foreground.is_background();
    let plan = Plan { program: program.clone(), background, banner, args: None };
    let ready = match Daemon::start(&plan) {
        Ok(Started::Launcher(launched)) => return launched.report(&program),
        Ok(Started::Daemon(ready)) => ready,
        Err(error) => return nut_os::options::fatal(&program, &error),
    };
    let debug = nut_os::options::debug_level(line.debug);
    log::init(LogOptions { program: program.clone(), debug, to: Destination::Stderr });
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ready.failed(1, &format!("cannot start: {error}")),
    };
    let code = runtime.block_on(async {
        match prepare(kind, line, &program).await {
            Ok(Some(prepared)) => run(prepared, ready).await,
            Ok(None) => ExitCode::SUCCESS,
            Err(Failure { code, text }) => ready.failed(code, &text),
        }
    });
    // A name server that hangs holds a thread of ours; the end does not wait for it.
    runtime.shutdown_background();
    code
}

async fn run(prepared: Prepared, ready: ReadySignal) -> ExitCode {
    let mut unit = match Unit::new(prepared, ready) {
        Ok(unit) => unit,
        Err((error, ready)) => return ready.failed(1, &format!("cannot start: {error}")),
    };
    unit.core_event(core::Event::Start);
    loop {
        if let Some(exit) = unit.exit.take() {
            return unit.end(exit).await;
        }
        let happening = unit.next().await;
        unit.take(happening);
    }
}

/// One driver with all that it holds.
struct Unit {
    core: Core,
    serving: Serving,
    prepared: Held,
    port: Option<Port>,
    socket: Option<UnixSocket>,
    /// No more readers are let in until the next wake-up.
    deaf: bool,
    readers: Readers,
    signals: Signals,
    /// SIGURG: show all variables.
    curious: tokio::signal::unix::Signal,
    alarm: Alarm,
    watchdog: Alarm,
    /// The service manager knows that we are ending.
    told_end: bool,
    /// Until we serve.
    ready: Option<ReadySignal>,
    /// What has followed from actions and has not been told to the core yet.
    follow_ups: VecDeque<FollowUp>,
    exit: Option<Exit>,
}

/// What stays as it was prepared.
struct Held {
    opening: serial::Opening,
    socket: std::path::PathBuf,
    socket_group: Option<nix::unistd::Gid>,
    /// Removed when the process ends.
    pid_file: Option<daemon::PidFile>,
    configuration: start::Configuration,
}

/// What happened.
enum Happening {
    Signal(Signal),
    Curious,
    Tick,
    Watchdog,
    Port(Brought),
    Joined(io::Result<UnixStream>),
    Heard(Heard),
}

/// Something for the core that came of its own actions.
enum FollowUp {
    Opened,
    NotOpened(String),
    Brought(Brought),
    Order(crate::driver::OrderId, crate::driver::Order),
    Proceed(serving::ReaderId),
    Configuration(Result<Box<core::settings::Settings>, String>),
}

impl Unit {
    fn new(prepared: Prepared, ready: ReadySignal) -> Result<Self, (io::Error, ReadySignal)> {
        let curious = || signal(SignalKind::from_raw(nix::libc::SIGURG));
        let made = (|| Ok((Signals::new()?, curious()?, Alarm::new()?, Alarm::new()?)))();
        let (signals, curious, alarm, mut watchdog) = match made {
            Ok(made) => made,
            Err(error) => return Err((error, ready)),
        };
        watchdog.set(daemon::watchdog_interval().map(|every| clock::now() + every));
        let Prepared { core, opening, socket, socket_group, pid_file, configuration } = prepared;
        Ok(Self {
            core,
            serving: Serving::new(std::process::id()),
            prepared: Held { opening, socket, socket_group, pid_file, configuration },
            port: None,
            socket: None,
            deaf: false,
            readers: Readers::default(),
            signals,
            curious,
            alarm,
            watchdog,
            told_end: false,
            ready: Some(ready),
            follow_ups: VecDeque::new(),
            exit: None,
        })
    }

    /// The one place that waits.
    async fn next(&mut self) -> Happening {
        let Self { port, socket, deaf, readers, serving, signals, curious, alarm, watchdog, .. } = self;
        let port = async {
            match port {
                Some(port) => port.next().await,
                None => std::future::pending().await,
            }
        };
        let joined = async {
            match socket {
                Some(socket) if !*deaf => socket.accept().await,
                Some(_) | None => std::future::pending().await,
            }
        };
        tokio::select! {
            brought = port => Happening::Port(brought),
            heard = readers.next(serving) => Happening::Heard(heard),
            () = alarm.fired() => Happening::Tick,
            signal = signals.next() => Happening::Signal(signal),
            joined = joined => Happening::Joined(joined),
            _ = curious.recv() => Happening::Curious,
            () = watchdog.fired() => Happening::Watchdog,
        }
    }

    fn take(&mut self, happening: Happening) {
        match happening {
            Happening::Port(brought) => self.brought(brought),
            Happening::Heard(heard) => self.heard(heard),
            Happening::Tick => {
                self.deaf = false;
                let is_heard = self.core.data_is_ok();
                if let Some(brought) = self.port.as_mut().and_then(|port| port.look(is_heard)) {
                    self.brought(brought);
                }
                self.core_event(core::Event::Tick);
            }
            Happening::Signal(signal) => self.signal(signal),
            Happening::Curious => say(&shown(self.core.device())),
            Happening::Joined(Ok(stream)) => match self.serving.join() {
                Some(id) => self.readers.add(id, stream),
                None => warn!("a reader is sent away: there are {} already", serving::MAX_READERS),
            },
            Happening::Joined(Err(error)) => {
                // No descriptor is left, say. Whoever knocks is still there at the next wake-up.
                warn!(%error, "a reader could not be let in");
                self.deaf = true;
            }
            Happening::Watchdog => {
                daemon::notify_watchdog();
                self.watchdog.set(daemon::watchdog_interval().map(|every| clock::now() + every));
            }
        }
        self.send_to_readers();
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Stop { number, .. } => {
                let reason = format!("Signal {number}: exiting");
                self.tell_end(&reason);
                self.core_event(core::Event::Stop { reason });
            }
            Signal::Reload => self.core_event(core::Event::Reload(Reload::Keep)),
            Signal::User1 => self.core_event(core::Event::Reload(Reload::OrExit)),
            Signal::User2 | Signal::Other { .. } => debug!("this signal means nothing to a driver"),
        }
    }

    /// Tells the service manager once that we are ending.
    fn tell_end(&mut self, why: &str) {
        if !std::mem::replace(&mut self.told_end, true) {
            daemon::notify_stopping(why);
        }
    }

    fn brought(&mut self, brought: Brought) {
        match brought {
            Brought::Bytes(bytes) => {
                trace!("<- \"{}\"", bytes.escape_ascii());
                self.core_event(core::Event::Received(&bytes));
            }
            Brought::Gone(reason) => self.core_event(core::Event::PortLost { reason }),
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Bytes(id, bytes) => self.serving_event(serving::Event::Received(id, &bytes)),
            Heard::Written(id, count) => self.serving_event(serving::Event::Written(id, count)),
            Heard::Left(id) => {
                self.readers.remove(id);
                self.serving_event(serving::Event::Left(id));
            }
        }
        self.follow_up();
    }

    /// Hands an event to the core, and then all that follows from it.
    fn core_event(&mut self, event: core::Event<'_>) {
        self.core_step(event);
        self.follow_up();
    }

    fn follow_up(&mut self) {
        while let Some(follow_up) = self.follow_ups.pop_front() {
            match follow_up {
                FollowUp::Opened => self.core_step(core::Event::PortOpened),
                FollowUp::NotOpened(reason) => self.core_step(core::Event::PortFailed { reason }),
                FollowUp::Brought(Brought::Bytes(bytes)) => self.core_step(core::Event::Received(&bytes)),
                FollowUp::Brought(Brought::Gone(reason)) => self.core_step(core::Event::PortLost { reason }),
                FollowUp::Order(id, order) => self.core_step(core::Event::Order(id, order)),
                FollowUp::Proceed(id) => self.serving_event(serving::Event::Proceed(id)),
                FollowUp::Configuration(result) => {
                    self.core_step(core::Event::Configuration(result));
                    if self.exit.is_none() {
                        daemon::notify_ready();
                    }
                }
            }
        }
    }

    fn core_step(&mut self, event: core::Event<'_>) {
        for action in self.core.step(clock::now(), event) {
            self.perform(action);
        }
    }

    /// The one place that acts.
    fn perform(&mut self, action: core::Action) {
        match action {
            core::Action::Open => match self.prepared.opening.open() {
                Ok(mut port) => {
                    self.follow_ups.push_back(FollowUp::Opened);
                    self.follow_ups.extend(port.look(true).map(FollowUp::Brought));
                    self.port = Some(port);
                }
                Err(reason) => self.follow_ups.push_back(FollowUp::NotOpened(reason)),
            },
            core::Action::Close => self.port = None,
            core::Action::Send(bytes) => {
                trace!("-> \"{}\"", bytes.escape_ascii());
                if let Some(port) = &mut self.port
                    && let Err(reason) = port.send(&bytes)
                {
                    self.follow_ups.push_back(FollowUp::Brought(Brought::Gone(reason)));
                }
            }
            core::Action::Flush => {
                if let Some(port) = &mut self.port {
                    port.flush();
                }
            }
            core::Action::WakeAt(moment) => self.alarm.set(Some(moment)),
            core::Action::Publish(change) => self.tell_readers(&FromDriver::Change(change)),
            core::Action::DataOk => self.tell_readers(&FromDriver::DataOk),
            core::Action::DataStale => self.tell_readers(&FromDriver::DataStale),
            core::Action::Serve => self.serve(),
            core::Action::Done(id, judgement) => self.serving_event(serving::Event::Ended(id, judgement)),
            core::Action::Dump => say(&shown(self.core.device())),
            core::Action::ReadConfiguration => {
                daemon::notify_reloading();
                let result = self.prepared.configuration.settings().map(Box::new);
                self.follow_ups.push_back(FollowUp::Configuration(result));
            }
            core::Action::SetDebug(level) => log::set_debug(level),
            core::Action::Tell(note) => tell(&note),
            core::Action::Exit(exit) => self.exit = Some(exit),
        }
    }

    /// The first data are there: readers may come.
    fn serve(&mut self) {
        let Held { socket, socket_group, pid_file, .. } = &self.prepared;
        let has_pid_file = pid_file.is_some();
        match UnixSocket::listen(socket, SOCKET_MODE, *socket_group, Existing::TakeOver) {
            Ok(listening) => {
                if std::env::var_os("NUT_QUIET_INIT_LISTENER").is_none() {
                    info!("Listening on socket {}", socket.display());
                }
                self.socket = Some(listening);
                if let Some(ready) = self.ready.take() {
                    if !has_pid_file {
                        info!("Running as foreground process, not saving a PID file");
                    }
                    ready.ready();
                }
            }
            Err(error) => self.exit = Some(Exit { code: 1, text: Some(Chain(&error).to_string()) }),
        }
    }

    fn tell_readers(&mut self, news: &FromDriver) {
        self.serving_event(serving::Event::News(news));
    }

    fn serving_event(&mut self, event: serving::Event<'_>) {
        let told = Told { device: self.core.device(), data_is_ok: self.core.data_is_ok() };
        for action in self.serving.step(event, told) {
            match action {
                serving::Action::Write(id, bytes) => self.readers.queue(id, &bytes),
                serving::Action::Close(id) => self.readers.remove(id),
                serving::Action::Order(id, order) => self.follow_ups.push_back(FollowUp::Order(id, order)),
                serving::Action::Proceed(id) => self.follow_ups.push_back(FollowUp::Proceed(id)),
                serving::Action::Tell(note) => tell(&note),
            }
        }
    }

    /// Writes to the readers what they take at once. What they take makes room for further answers.
    fn send_to_readers(&mut self) {
        loop {
            let heard = self.readers.send();
            if heard.is_empty() {
                return;
            }
            for heard in heard {
                self.heard(heard);
            }
        }
    }

    async fn end(mut self, exit: Exit) -> ExitCode {
        if self.ready.is_none() {
            self.tell_end(exit.text.as_deref().unwrap_or("told to end"));
        }
        self.send_to_readers();
        let until = clock::now() + LAST_WORDS;
        // Who is slow gets a moment more; the sockets close with us.
        while self.readers.any_waits() && clock::now() < until {
            tokio::select! {
                heard = self.readers.next(&self.serving) => self.heard(heard),
                () = clock::until(until) => {}
            }
        }
        match (self.ready.take(), exit.text) {
            (Some(ready), Some(text)) => ready.failed(exit.code, &text),
            (_, Some(text)) => {
                error!("{text}");
                ExitCode::from(exit.code)
            }
            (_, None) => ExitCode::from(exit.code),
        }
    }
}

fn tell(note: &Note) {
    let text = &note.text;
    match note.weight {
        Weight::Error => error!("{text}"),
        Weight::Warning => warn!("{text}"),
        Weight::Info => info!("{text}"),
        Weight::Debug => debug!("{text}"),
    }
}

/// All variables as `-d` shows them: values as on the wire.
fn shown(device: &Device) -> String {
    let line = |variable: &nut_proto::device::Variable| {
        let mut line = format!("{}: ", variable.name()).into_bytes();
        escape(&mut line, variable.value().as_str());
        String::from_utf8_lossy(&line).into_owned()
    };
    device.variables().iter().map(line).collect::<Vec<_>>().join("\n")
}
