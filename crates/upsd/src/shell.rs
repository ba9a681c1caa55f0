//! The outside of upsd: start, sockets, signals, files, the log. It holds no rule of the protocol.

mod hash_password;
mod listening;
mod loading;
pub mod options;
mod peers;
mod poller;
mod tls;
mod verifier;

use crate::events::{ClientId, Event, Outputs};
use crate::hashing::Finding;
use crate::notes::{Level, Note};
use crate::places::NotEnough;
use crate::quota::Quotas;
use crate::server::Server;
use crate::settings::Settings;
use listening::Listening;
use loading::{LoadError, load_rest, load_upsd_conf};
use nut_conf::upsd_conf::UpsdConf;
use nut_os::clock;
use nut_os::daemon::{
    Daemon, Order, PidFile, Plan, ReadySignal, Signal, Signals, Started, Watchdog, notify_ready,
    notify_reloading, notify_status, notify_stopping, notify_watchdog, read_pid, signal, tell,
};
use nut_os::files::{FileError, describe_permissions, warn_if_world_readable};
use nut_os::log::{self, Chain, Destination, LogOptions};
use nut_os::options::{Paths, banner, banner_wanted, complain, fatal, say};
use nut_os::privilege::{self, Dropped, PrivilegeError, RunAs};
use nut_os::socket::{MAX_SOCKET_PATH, raise_descriptor_limit};
use nut_os::{crit, notice};
use nut_proto::Moment;
use options::{DEFAULT_USER, Options};
use peers::Peers;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use thiserror::Error;
use tokio::sync::mpsc::Receiver;
use tracing::{debug, error, info, warn};
use verifier::Verifier;

/// Descriptors that are not for clients: log, clock, signals, epoll, files being read, and some to spare.
const DESCRIPTORS_OF_OUR_OWN: usize = 32;

/// Descriptors we reckon with where the system does not tell its limit.
const USUAL_DESCRIPTORS: u64 = 1024;

/// When it runs without a PID file.
const WITHOUT_PID_FILE: &str = "in the foreground it has a PID file only with -FF";

/// Why upsd does not start, or cannot go on.
#[derive(Debug, Error)]
enum RunError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Listen(#[from] NotEnough),
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    #[error(
        "Fatal error: A previous upsd instance is already running!\n\
         Either stop the previous instance first, or use the 'reload' command."
    )]
    RunsAlready,
    #[error("Can't chdir to {} ({}; we are {})", path.display(), describe_permissions(path), privilege::whoami())]
    StatePath { path: PathBuf, source: io::Error },
    #[error("the socket name {name} is {} bytes long, {MAX_SOCKET_PATH} are possible: choose a shorter UPS name", name.len())]
    SocketName { name: String },
    #[error("cannot write the PID file")]
    PidFile(#[source] FileError),
    #[error("no TLS is possible, and none is started without it")]
    Tls(#[source] nut_tls::shell::TlsError),
    #[error("{doing} failed")]
    System { doing: &'static str, source: io::Error },
}

impl RunError {
    fn at(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// Runs upsd as the command line says; returns when it has ended.
#[must_use]
pub fn main(options: &Options) -> ExitCode {
    let program = options.program.as_str();
    if options.hash_password {
        return hash_password::run(program);
    }
    let mut paths = Paths::from_env();
    // The working directory will be another one.
    if let Ok(absolute) = std::path::absolute(&paths.confpath) {
        paths.confpath = absolute;
    }
    if let Some(order) = options.order {
        return tell_running(options, &paths, order);
    }
    let background = options.foreground.is_background();
    let banner = banner_wanted().then(|| banner(program));
    let plan = Plan { program: program.to_owned(), background, banner, args: None };
    let ready = match Daemon::start(&plan) {
        Ok(Started::Daemon(ready)) => ready,
        Ok(Started::Launcher(launched)) => return launched.report(program),
        Err(error) => return fatal(program, &error),
    };
    let to = Destination::Stderr;
    log::init(LogOptions { program: program.to_owned(), debug: options.debug, to });
    log::set_quiet(options.quiet);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime.map_err(RunError::at("starting the runtime")) {
        Ok(runtime) => runtime,
        Err(error) => return ready.failed(1, &Chain(&error).to_string()),
    };
    let code = runtime.block_on(async {
        // From here on a signal waits for the loop instead of ending us half-way, with the PID file left behind.
        let signals = Signals::new().map_err(RunError::at("listening to signals"));
        let started = match signals {
            Ok(signals) => start(options, &mut paths).await.map(|started| (signals, started)),
            Err(error) => Err(error),
        };
        let (signals, (shell, _pid_file)) = match started {
            Ok(started) => started,
            Err(error) => return ready.failed(1, &Chain(&error).to_string()),
        };
        match run(shell, signals, ready).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                crit!("{}", Chain(&error));
                ExitCode::FAILURE
            }
        }
    });
    // A name server that does not answer holds up nobody, not even our end.
    runtime.shutdown_background();
    code
}

/// `-c`: tells the upsd that is running.
fn tell_running(options: &Options, paths: &Paths, order: Order) -> ExitCode {
    let program = options.program.as_str();
    if banner_wanted() {
        say(&banner(program));
    }
    let path = pid_file_seen_from_outside(options, paths);
    match tell(program, &[program, "upsd"], options.pid, (&path, WITHOUT_PID_FILE), order) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, &Chain(&error));
            complain(program, &"Failed to signal the currently running daemon (if any)");
            ExitCode::FAILURE
        }
    }
}

/// Where the PID file is as long as nobody has entered the directory that `-r` names: it is written behind that change.
/// One that is only found outside, as where the state directory in there is a link, will do, too.
fn pid_file_seen_from_outside(options: &Options, paths: &Paths) -> PathBuf {
    let path = paths.alt_pid_file(&options.program);
    let Some(root) = &options.root else { return path };
    let inside = root.join(path.strip_prefix("/").unwrap_or(&path));
    if !inside.exists() && path.exists() { path } else { inside }
}

/// Everything upsd is outside of its machine.
struct Shell {
    peers: Peers,
    /// What came of checking passwords.
    findings: Receiver<(ClientId, Finding)>,
    listening: Listening,
    server: Server,
    out: Outputs,
    quotas: Quotas,
    options: Options,
    paths: Paths,
    descriptors: usize,
    /// The service manager shows it until one works.
    reload_failed: bool,
}

/// Opens, reads and drops everything, in NUT's order (upsd §6.2): what needs root first.
async fn start(options: &Options, paths: &mut Paths) -> Result<(Shell, Option<PidFile>), RunError> {
    let pid_path = paths.alt_pid_file(&options.program);
    if let Ok(pid) = read_pid(&pid_file_seen_from_outside(options, paths))
        && is_running(signal(pid, Order::Probe, &[&options.program, "upsd"]))
    {
        return Err(RunError::RunsAlready);
    }
    let user = match privilege::is_root() {
        true => Some(RunAs::lookup(options.user.as_deref().unwrap_or(DEFAULT_USER))?),
        false => None,
    };
    // Opened now: behind a chroot there may be none.
    let random = std::fs::File::open("/dev/urandom").map_err(RunError::at("opening /dev/urandom"))?;
    if let Some(root) = &options.root {
        privilege::enter_root(root)?;
    }
    let conf = load_upsd_conf(paths)?;
    follow_debug_min(options, &conf);
    let descriptors = raise_descriptor_limit().unwrap_or_else(|error| {
        warn!("the limit of open descriptors stays as it is: {error}");
        USUAL_DESCRIPTORS
    });
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let (verifier, findings) = Verifier::new();
    let mut peers = Peers::new(random, verifier).map_err(RunError::at("making an epoll"))?;
    let mut listening = Listening::new(options.family);
    let enough = listening.start(&conf, &mut peers).await;
    log_notes(&mut peers.notes);
    enough?;
    if !listening.is_any_open() {
        warn!("NOBODY CAN REACH upsd as long as no LISTEN of upsd.conf works: see the lines above");
    }
    // Before root's rights are dropped: keys are often for root alone.
    peers.tls = tls::configuration(&paths.confpath, &conf.tls).map_err(RunError::Tls)?;
    if let Some(user) = &user
        && privilege::drop_to(user)? == Dropped::StaysRoot
    {
        warn!("{}", stays_root(options.user.as_deref()));
    }
    enter_state_path(paths, &conf)?;
    peers.set_state_path(paths.statepath.clone());
    let listeners = listening.most_sockets(&conf);
    let bounds = Bounds { descriptors, listeners, speaks_tls: peers.tls.is_some() };
    let (settings, server, out) = first_settings(paths, conf, bounds)?;
    if settings == 0 {
        warn!("Warning: no UPSes defined in ups.conf: starting nevertheless, as ALLOW_NO_DEVICE says");
    } else {
        info!("Found {settings} UPS defined in ups.conf");
    }
    let pid_file = match options.foreground.has_pid_file() {
        true => Some(PidFile::write(&pid_path).map_err(RunError::PidFile)?),
        false => None,
    };
    if !options.foreground.is_background() {
        let about = if pid_file.is_some() { "but saving a PID file anyway" } else { "not saving a PID file" };
        info!("Running as foreground process, {about}");
    }
    let (options, paths) = (options.clone(), paths.clone());
    let (reload_failed, quotas) = (false, Quotas::default());
    let shell =
        Shell { peers, findings, listening, server, out, quotas, options, paths, descriptors, reload_failed };
    Ok((shell, pid_file))
}

/// Why upsd is still root, and what to do about it.
fn stays_root(named: Option<&str>) -> String {
    match named {
        Some(user) => {
            format!("upsd keeps running as root, as -u {user} says: whoever breaks into it owns this host")
        }
        None => {
            format!("upsd keeps running as root, for {DEFAULT_USER} is root here: name another user with -u")
        }
    }
}

/// A process that may not be signalled by us is there nevertheless.
fn is_running(probed: Result<(), nut_os::daemon::SignalError>) -> bool {
    matches!(probed, Ok(()) | Err(nut_os::daemon::SignalError::Refused { .. }))
}

/// Goes to where the drivers' sockets are. The environment's word counts more than the file's (NUT 2.8.1).
fn enter_state_path(paths: &mut Paths, conf: &UpsdConf) -> Result<(), RunError> {
    let from_env = std::env::var_os("NUT_STATEPATH").is_some_and(|value| !value.is_empty());
    if let Some(wanted) = conf.state_path.as_deref().map(Path::new) {
        if !from_env {
            paths.statepath = wanted.to_path_buf();
        } else if wanted != paths.statepath {
            let env = paths.statepath.display();
            warn!("STATEPATH {} in upsd.conf is not used: NUT_STATEPATH says {env}", wanted.display());
        }
    }
    let path = paths.statepath.clone();
    if let Ok(absolute) = std::path::absolute(&path) {
        paths.statepath = absolute;
    }
    if let Err(source) = std::env::set_current_dir(&path) {
        return Err(RunError::StatePath { path, source });
    }
    if let Err(error) = warn_if_world_readable(&paths.statepath) {
        debug!("{}", Chain(&error));
    }
    Ok(())
}

/// Reads the files and makes the server of them; says how many UPSes it has.
fn first_settings(
    paths: &Paths,
    conf: UpsdConf,
    bounds: Bounds,
) -> Result<(usize, Server, Outputs), RunError> {
    let allow_no_device = conf.allow_no_device;
    let settings = load(paths, conf, bounds)?;
    let mut out = Outputs::default();
    let server = Server::new(settings, clock::now(), &mut out);
    let count = server.ups_count();
    if count == 0 && !allow_no_device {
        log_notes(&mut out.notes);
        return Err(LoadError::NoUps.into());
    }
    Ok((count, server, out))
}

/// What this process has, and the files do not say.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    descriptors: usize,
    listeners: usize,
    speaks_tls: bool,
}

fn load(paths: &Paths, conf: UpsdConf, bounds: Bounds) -> Result<Settings, RunError> {
    let Bounds { descriptors, listeners, speaks_tls } = bounds;
    let mut settings = load_rest(paths, conf, 0)?;
    for section in &settings.ups.sections {
        let driver = section.driver.as_deref().unwrap_or_default();
        let name = nut_proto::driver::socket_name(driver, &section.name);
        if name.len() > MAX_SOCKET_PATH {
            return Err(RunError::SocketName { name });
        }
    }
    let own = DESCRIPTORS_OF_OUR_OWN.saturating_add(settings.ups.sections.len()).saturating_add(listeners);
    let possible = descriptors.saturating_sub(own).saturating_sub(crate::server::RESERVED_FOR_LOCALHOST);
    settings.speaks_tls = speaks_tls;
    settings.most_clients = match settings.upsd.max_connections {
        None => possible,
        Some(most) => {
            // NUT counts drivers and listeners among the connections.
            let clients = most.saturating_sub(settings.ups.sections.len()).saturating_sub(listeners);
            if clients > possible {
                warn!("MAXCONN {most} is more than the {descriptors} descriptors we may have allow");
            }
            clients.min(possible)
        }
    };
    Ok(settings)
}

fn follow_debug_min(options: &Options, conf: &UpsdConf) {
    log::set_debug(options.debug.max(conf.debug_min.unwrap_or(0)));
}

/// The loop: one place that waits, one that acts.
async fn run(mut shell: Shell, mut signals: Signals, ready: ReadySignal) -> Result<(), RunError> {
    let mut alarm = clock::Alarm::new().map_err(RunError::at("making a timer"))?;
    let mut watchdog = Watchdog::new().map_err(RunError::at("making a timer"))?;
    // What making the server asked for, and the first attempts to connect to the drivers.
    shell.act(clock::now());
    shell.step(Event::Tick);
    ready.ready();
    loop {
        alarm.set(shell.wake_at());
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Signal::Reload => shell.reload(),
                Signal::Stop { number, .. } => {
                    info!("Signal {number}: exiting");
                    notify_stopping(&format!("Signal {number}: exiting"));
                    return Ok(());
                }
                // NUT's upsd dies of these.
                Signal::User1 | Signal::User2 | Signal::Other { .. } => debug!("this signal means nothing to upsd"),
            },
            () = alarm.fired() => shell.tick(),
            () = watchdog.fired() => notify_watchdog(),
            Some((client, finding)) = shell.findings.recv() => shell.step(Event::Verified { client, finding }),
            looked = shell.listening.looked() => {
                shell.listening.take(looked, &mut shell.peers);
                shell.log();
            }
            waited = shell.peers.ready() => {
                waited.map_err(RunError::at("waiting for sockets"))?;
                shell.turn().map_err(RunError::at("asking for ready sockets"))?;
            }
        }
    }
}

impl Shell {
    /// Serves every socket that is ready.
    fn turn(&mut self) -> io::Result<()> {
        self.peers.turn(&mut self.server, &mut self.out)?;
        self.log();
        Ok(())
    }

    fn step(&mut self, event: Event<'_>) {
        let now = clock::now();
        self.server.step(now, event, &mut self.out);
        self.act(now);
    }

    fn act(&mut self, now: Moment) {
        self.peers.act(now, &mut self.server, &mut self.out);
        self.log();
    }

    fn tick(&mut self) {
        self.peers.tick(clock::now());
        self.listening.tick(&mut self.peers);
        self.step(Event::Tick);
    }

    fn wake_at(&self) -> Option<Moment> {
        let all = [self.server.wake_at(), self.peers.wake_at(), self.listening.wake_at()];
        all.into_iter().flatten().min()
    }

    fn log(&mut self) {
        if self.peers.notes.is_empty() {
            return;
        }
        let now = clock::now();
        for note in self.peers.notes.drain(..) {
            let Some(unwritten) = self.quotas.count(now, &note) else { continue };
            if unwritten > 0 {
                log_note(&Note::Unwritten { count: unwritten });
            }
            log_note(&note);
        }
    }

    /// SIGHUP. Files that cannot be read or followed leave everything as it is (NUT's upsd ends).
    fn reload(&mut self) {
        info!("SIGHUP: reloading configuration");
        notify_reloading();
        let loaded = load_upsd_conf(&self.paths).map_err(RunError::from).and_then(|conf| {
            // A certificate that cannot be read now, as one for root alone, must not keep the rest from being followed.
            let tls = tls::configuration(&self.paths.confpath, &conf.tls).unwrap_or_else(|error| {
                error!("{}; the certificate in use stays", Chain(&error));
                self.peers.tls.clone()
            });
            let (descriptors, listeners) = (self.descriptors, self.listening.most_sockets(&conf));
            let bounds = Bounds { descriptors, listeners, speaks_tls: tls.is_some() };
            Ok((load(&self.paths, conf, bounds)?, tls))
        });
        match loaded {
            Ok((settings, tls)) => {
                self.peers.tls = tls;
                follow_debug_min(&self.options, &settings.upsd);
                self.listening.follow(&settings.upsd, &mut self.peers);
                self.step(Event::Reload(Box::new(settings)));
                if std::mem::take(&mut self.reload_failed) {
                    notify_status("");
                }
            }
            Err(error) => {
                error!("Reload failed: {}; the running configuration stays in force", Chain(&error));
                notify_status("the last reload failed: the configuration before it is in force");
                self.reload_failed = true;
            }
        }
        notify_ready();
    }
}

fn log_notes(notes: &mut Vec<Note>) {
    for note in notes.drain(..) {
        log_note(&note);
    }
}

fn log_note(note: &Note) {
    match note.level() {
        Level::Debug => debug!("{note}"),
        Level::Info => info!("{note}"),
        Level::Notice => notice!("{note}"),
        Level::Warning => warn!("{note}"),
        Level::Error => error!("{note}"),
    }
}
