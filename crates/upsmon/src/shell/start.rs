//! From the command line to a monitor at work: which process this is, what it may not start with, who it becomes.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nut_conf::upsmon_conf::{self, NoticeKind, UpsmonConf};
use nut_conf::{Diagnostic, Severity, Source};
use nut_os::daemon::{
    self, Daemon, Order, PidError, PidFile, Plan, ProcessId, ReadySignal, SignalError, Started, leave_stderr,
    read_pid, signal,
};
use nut_os::files::{could_write, warn_if_world_readable};
use nut_os::log::{self, Destination, LogOptions};
use nut_os::options::{self, Paths, banner, banner_wanted, complain, fatal, say};
use nut_os::privilege::{self, Dropped, RunAs};
use nut_os::reexec;
use tracing::{error, info, warn};

use super::command_line::{self, Options, Task};
use super::flag::{self, Flag};
use super::questions::QuestionPlace;
use super::servers::Reach;
use super::tls::Material;
use super::{Half, Setup, conf_file, explain, run_to_the_end, set_debug, test_notice};
use crate::monitor::{Halves, Monitor, enough_configured};
use crate::parent::{self, LastOrders};

/// What the second half calls itself when it asks for its end of the socket.
const SECOND_HALF: &str = "upsmon-worker";

/// Whom the half that reads the network runs as unless the file or `-u` says otherwise: Debian's choice.
const DEFAULT_USER: &str = "nut";

/// What the name of the socket ends with at which an instance is asked; the rest is that of its PID file.
const SOCKET: &str = "sock";

/// When there is none. In the foreground there is one as well: `-c` needs it, and NUT writes it.
const WITHOUT_PID_FILE: &str = "it has a PID file also in the foreground, but not where its directory is missing, or may not be \
                                written to";

/// What another instance must be called to be one.
const PROGRAM: &str = "upsmon";

/// Does what the command line asks, and gives the code to end with.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // First of all: the mark of a second half fits only once.
    let parent = reexec::half(SECOND_HALF);
    if parent.is_some() {
        daemon::hold_signals();
    }
    let options = match command_line::read(args) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let place = Place::of(&options);
    log::init(LogOptions {
        program: place.program.clone(),
        debug: options::debug_level(options.debug),
        to: Destination::Stderr,
    });
    match (&options.task, parent) {
        (Task::Tell { order, pid }, _) => tell(&place, *order, *pid),
        (Task::CheckFlag, _) => check_flag(&place),
        (Task::TestNotice { kind, ups }, _) => test_notice(&options, &place, *kind, ups.as_deref()),
        (Task::Explain, _) => explain(&place),
        (Task::Watch, Some(parent)) => be_second_half(&options, &place, parent),
        (Task::Watch, None) => {
            daemon::hold_signals();
            start(&options, &place)
        }
    }
}

/// Where this instance's files are.
struct Place {
    /// The name it was called by; several instances on one host differ in it.
    program: String,
    conf: PathBuf,
    pid_file: PathBuf,
    /// Where the PID file is if root, or if somebody else, has started it.
    pid_files: [PathBuf; 2],
}

impl Place {
    fn of(options: &Options) -> Self {
        let program = options::program_name(PROGRAM);
        let paths = Paths::from_env();
        // Who may not write where root does has a place of his own, as in NUT since 2.8.3.
        let is_set = std::env::var_os("NUT_PIDPATH").is_some_and(|path| !path.is_empty());
        let pid_files = [paths.pid_file(&program), paths.alt_pid_file(&program)];
        let [of_root, of_others] = &pid_files;
        let pid_file = if is_set || privilege::is_root() { of_root.clone() } else { of_others.clone() };
        let conf = options.config.clone().unwrap_or_else(|| paths.conf("upsmon.conf"));
        Self { program, conf, pid_file, pid_files }
    }

    /// Where this instance is asked: beside its PID file.
    fn socket(&self) -> PathBuf {
        self.pid_file.with_extension(SOCKET)
    }

    /// Where an instance of this name may be asked, whoever has started it; our own place first.
    fn sockets(&self) -> Vec<PathBuf> {
        let own = self.socket();
        let others = self.pid_files.iter().map(|file| file.with_extension(SOCKET));
        let others: Vec<_> = others.filter(|path| *path != own).collect();
        std::iter::once(own).chain(others).collect()
    }

    fn names(&self) -> [&str; 2] {
        [PROGRAM, &self.program]
    }
}

/// `-c`.
fn tell(place: &Place, order: Order, pid: Option<i64>) -> ExitCode {
    if banner_wanted() {
        say(&banner(&place.program));
    }
    let pid = match pid.map(|number| (number, i32::try_from(number).ok().and_then(ProcessId::new))) {
        None => None,
        Some((_, Some(pid))) => Some(pid),
        Some((number, None)) => {
            complain(PROGRAM, &format_args!("Ignoring invalid pid number {number}"));
            return ExitCode::FAILURE;
        }
    };
    let told = daemon::tell(PROGRAM, &place.names(), pid, (&place.pid_file, WITHOUT_PID_FILE), order);
    told.map_or_else(|error| fatal(PROGRAM, &error), |()| ExitCode::SUCCESS)
}

/// `-K`.
fn check_flag(place: &Place) -> ExitCode {
    if banner_wanted() {
        say(&banner(&place.program));
    }
    let conf = match load(place, &mut |finding| complain(PROGRAM, finding)) {
        Ok(conf) => conf,
        Err(refusal) => return refusal.show(),
    };
    let Some(path) = conf.power_down_flag.as_deref() else {
        error!("Power down flag is not set");
        return ExitCode::FAILURE;
    };
    match Flag::look(Path::new(path)) {
        Flag::Set => {
            info!("Power down flag is set");
            ExitCode::SUCCESS
        }
        Flag::Absent => {
            error!("Power down flag is not set");
            ExitCode::FAILURE
        }
        Flag::Stale => {
            error!(
                "Power down flag is not set: {path} is of an earlier shutdown; upsmon, which removes it at its start, \
                 has not started since"
            );
            ExitCode::FAILURE
        }
        Flag::Foreign(unreadable) => {
            if let Some(cause) = unreadable {
                error!("'{path}' exists, but we can't read from it: {}", log::Chain(&cause));
            }
            error!("POWERDOWNFLAG ({path}) does not contain the upsmon magic string");
            ExitCode::FAILURE
        }
    }
}

/// `--test-notice`.
fn test_notice(options: &Options, place: &Place, kind: NoticeKind, ups: Option<&str>) -> ExitCode {
    let conf = match load(place, &mut |finding| complain(PROGRAM, finding)) {
        Ok(conf) => conf,
        Err(refusal) => return refusal.show(),
    };
    if privilege::is_root() && !options.stays_whole {
        let user = conf.run_as_user.as_deref().or(options.user.as_deref()).unwrap_or(DEFAULT_USER);
        if let Err(error) = RunAs::lookup(user).and_then(|user| privilege::drop_to(&user)) {
            return fatal(PROGRAM, &error);
        }
    }
    match test_notice::send(&conf, kind, test_notice::about(&conf, ups)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fatal(PROGRAM, &error),
    }
}

/// `--explain`.
fn explain(place: &Place) -> ExitCode {
    let running = || {
        let pid = read_pid(&place.pid_file).ok()?;
        match signal(pid, Order::Probe, &place.names()) {
            Ok(()) | Err(SignalError::Refused { .. }) => Some(pid.number()),
            Err(SignalError::NotRunning { .. } | SignalError::NotOurs { .. }) => None,
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(explain::ask(&place.sockets(), running))) {
        Ok(Ok(answer)) => {
            say(answer.trim_end());
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => fatal(PROGRAM, &error),
        Err(error) => fatal(PROGRAM, &error),
    }
}

/// Why upsmon does not start: text as NUT prints it on standard output.
struct Refusal {
    text: String,
}

impl Refusal {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    fn show(self) -> ExitCode {
        say(&self.text);
        ExitCode::FAILURE
    }

    /// In the background only the launcher can still speak to the caller.
    fn end(self, ready: ReadySignal) -> ExitCode {
        if ready.is_background() { ready.failed(1, self.text.trim()) } else { self.show() }
    }
}

/// Reads the configuration; `tell` gets all that is wrong with it.
fn load(place: &Place, tell: &mut dyn FnMut(&Diagnostic)) -> Result<UpsmonConf, Refusal> {
    let text = conf_file::read(&place.conf).map_err(|why| {
        let mut chars = why.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        Refusal::new(first.into_iter().chain(chars).collect::<String>())
    })?;
    let path = place.conf.to_string_lossy();
    let (conf, findings) = upsmon_conf::parse(Source { path: &path, text: &text });
    findings.iter().for_each(tell);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Refusal::new("Fatal error: unusable configuration"));
    }
    Ok(conf)
}

/// Starts watching: in the background or not, in two halves or in one.
fn start(options: &Options, place: &Place) -> ExitCode {
    let banner = banner_wanted().then(|| banner(&place.program));
    let background = options.foreground.is_background();
    let plan = Plan { program: place.program.clone(), background, banner, args: None };
    let ready = match Daemon::start(&plan) {
        Ok(Started::Daemon(ready)) => ready,
        Ok(Started::Launcher(launched)) => return launched.report(PROGRAM),
        Err(error) => return fatal(PROGRAM, &error),
    };
    let conf = match prepare(place) {
        Ok(conf) => conf,
        Err(refusal) => return refusal.end(ready),
    };
    let orders = LastOrders::new(&conf);
    orders.clear_flag();
    warn_of_limits(&conf);
    if options.stays_whole || !privilege::is_root() {
        return be_one_process(options, place, conf, orders, ready);
    }
    let user = conf.run_as_user.as_deref().or(options.user.as_deref()).unwrap_or(DEFAULT_USER);
    if let Err(error) = RunAs::lookup(user) {
        return Refusal::new(format!("Fatal error: user {user} not found ({})", log::Chain(&error)))
            .end(ready);
    }
    parent::run(|| reexec::start_half(SECOND_HALF), orders, ready)
}

/// All that is looked at before anything is started.
fn prepare(place: &Place) -> Result<UpsmonConf, Refusal> {
    refuse_second_instance(place)?;
    let conf = load(place, &mut |finding| complain(PROGRAM, finding))?;
    // It holds passwords. Said here by the one who starts us, and not by each reader.
    let _ = warn_if_world_readable(&place.conf);
    if conf.shutdown_command.is_empty() {
        say("Warning: no shutdown command defined!");
    }
    match &conf.power_down_flag {
        Some(flag) => info!("Using power down flag file {flag}"),
        None => warn!("No POWERDOWNFLAG value was configured in {}!", place.conf.display()),
    }
    enough_configured(&conf).map_err(|too_little| {
        Refusal::new(format!(
            "\nFatal error: insufficient power configured!\n\n\
             Sum of power values........: {}\n\
             Minimum value (MINSUPPLIES): {}\n\n\
             Edit your upsmon.conf and change the values.",
            too_little.total, too_little.need
        ))
    })?;
    Ok(conf)
}

/// What will not work when it is needed is better known today.
fn warn_of_limits(conf: &UpsmonConf) {
    if let Some(kind) = privilege::container() {
        warn!(
            "this is a container ({kind}): SHUTDOWNCMD and POWERDOWNFLAG stop and mark this container, and the host \
             only if SHUTDOWNCMD can reach it"
        );
    }
    if let Some(Err(error)) =
        conf.power_down_flag.as_ref().map(|flag| could_write(&flag::place(Path::new(flag))))
    {
        warn!(
            "POWERDOWNFLAG could not be set: {}; the UPSes would not be told to cut the power",
            log::Chain(&error)
        );
    }
}

fn refuse_second_instance(place: &Place) -> Result<(), Refusal> {
    let unclear = |what: &str| {
        warn!("Could not {what} PID file to see if previous upsmon instance is already running!");
        Ok(())
    };
    let pid = match read_pid(&place.pid_file) {
        Ok(pid) => pid,
        Err(PidError::File(_)) => return unclear("find"),
        Err(PidError::Nonsense { .. }) => return unclear("parse"),
    };
    match signal(pid, Order::Probe, &place.names()) {
        Err(SignalError::NotRunning { .. } | SignalError::NotOurs { .. }) => Ok(()),
        // One that we may not signal is there all the same.
        Ok(()) | Err(SignalError::Refused { .. }) => Err(Refusal::new(
            "Fatal error: A previous upsmon instance is already running!\n\
             Either stop the previous instance first, or use the 'reload' command.",
        )),
    }
}

/// The half that reads the network. It is started as root, and does not stay that.
fn be_second_half(options: &Options, place: &Place, parent: UnixStream) -> ExitCode {
    // The first half has read the file a moment ago and told all that is wrong with it.
    let conf = match load(place, &mut |_| {}) {
        Ok(conf) => conf,
        Err(refusal) => return refusal.show(),
    };
    // Before root's rights are gone: keys are often for root alone.
    let material = match Material::read(&conf, &place.conf) {
        Ok(material) => material,
        Err(error) => return fatal(PROGRAM, &error),
    };
    let _pid_file = write_pid_file(place);
    let user = conf.run_as_user.as_deref().or(options.user.as_deref()).unwrap_or(DEFAULT_USER);
    let user = match RunAs::lookup(user) {
        Ok(user) => user,
        Err(error) => return fatal(PROGRAM, &error),
    };
    let questions = QuestionPlace::at_for(&place.socket(), &user);
    match privilege::drop_to(&user) {
        Ok(Dropped::StaysRoot) => warn!("RUN_AS_USER is root: the half that reads the network stays root"),
        Ok(Dropped::Became | Dropped::WasNotRoot) => {}
        Err(error) => return fatal(PROGRAM, &error),
    }
    let in_background = options.foreground.is_background();
    watch(options, place, (conf, material), (Half::Split(parent), questions), move || {
        if in_background {
            leave_stderr();
        }
    })
}

/// One process that does everything: by wish, or because it is not root and so has nothing to give up.
fn be_one_process(
    options: &Options,
    place: &Place,
    conf: UpsmonConf,
    orders: LastOrders,
    ready: ReadySignal,
) -> ExitCode {
    if options.stays_whole {
        info!("Warning: running as one big root process by request (upsmon -p)");
    }
    if !privilege::is_root() {
        warn!(
            "Not root, shutdown may fail: SHUTDOWNCMD and POWERDOWNFLAG are tried as {}",
            privilege::whoami()
        );
    }
    let material = match Material::read(&conf, &place.conf) {
        Ok(material) => material,
        Err(error) => return Refusal::new(format!("Fatal error: {error}")).end(ready),
    };
    let _pid_file = write_pid_file(place);
    let half = (Half::One(orders), QuestionPlace::at(&place.socket()));
    watch(options, place, (conf, material), half, move || ready.ready())
}

/// Without a PID file `-c` does not find us, but that is no reason not to watch.
fn write_pid_file(place: &Place) -> Option<PidFile> {
    match PidFile::write(&place.pid_file) {
        Ok(file) => Some(file),
        Err(error) => {
            warn!("{}: upsmon -c will not find this instance", log::Chain(&error));
            None
        }
    }
}

fn watch(
    options: &Options,
    place: &Place,
    (conf, material): (UpsmonConf, Material),
    (half, questions): (Half, QuestionPlace),
    ready: impl FnOnce(),
) -> ExitCode {
    let halves = match half {
        Half::Split(_) => Halves::Split,
        Half::One(_) => Halves::One,
    };
    let debug = options::debug_level(options.debug);
    set_debug(debug, &conf);
    let monitor = Monitor::new(conf.clone(), halves);
    let reach = Reach { connect: options.connect, family: options.family };
    let setup = Setup { conf, conf_path: place.conf.clone(), half, reach, material, debug, questions };
    let ran = run_to_the_end(monitor, setup, ready);
    ran.map_or_else(|error| fatal(PROGRAM, &error), |()| ExitCode::SUCCESS)
}
