//! All that happens before the device is opened: configuration, privilege, other instances, PID file.

use super::line::{CommandLine, Task, Word};
use super::serial::Opening;
use crate::connection::{self, Dialog, DialogError, KILL_POWER, ORDINARY, gone_within};
use crate::core::settings::Settings;
use crate::core::{Core, Purpose};
use crate::driver::PortPlan;
use crate::options::{self, Given, Kind};
use nut_conf::ups_conf::{self, Global, Section};
use nut_conf::{Diagnostic, Severity, Source};
use nut_os::daemon::{Order, PidFile, SignalError, read_pid, signal};
use nut_os::files::read_limited;
use nut_os::log::Chain;
use nut_os::options::{Paths, debug_level};
use nut_os::privilege::{self, Dropped, RunAs};
use nut_os::socket::check_path;
use nut_proto::device::Value;
use nut_proto::driver::{Judgement, ToDriver, socket_name};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{debug, info, warn};

/// The user drivers run as unless told otherwise.
const DEFAULT_USER: &str = "nut";

/// Longest ups.conf, in bytes.
const MAX_CONF: usize = 4 * 1024 * 1024;

/// How long another instance that was told to end, or killed, may take.
const END_WITHIN: Duration = Duration::from_secs(15);

/// How long another instance may take to end after SIGTERM, before it gets the next signal.
const SIGNAL_WITHIN: Duration = Duration::from_secs(5);

/// Why the process ends before it has begun.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) text: String,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { code: 1, text }
    }
}

/// Everything for the loop.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) core: Core,
    pub(super) opening: Opening,
    pub(super) socket: PathBuf,
    pub(super) socket_group: Option<nix::unistd::Gid>,
    /// Kept until the end.
    pub(super) pid_file: Option<PidFile>,
    pub(super) configuration: Configuration,
}

/// Where the settings come from; to read them again.
#[derive(Debug, Clone)]
pub(super) struct Configuration {
    kind: Kind,
    line: CommandLine,
    file: PathBuf,
    program: String,
}

/// What was configured.
struct Configured {
    section: Section,
    global: Global,
    settings: Settings,
}

impl Configuration {
    pub(super) fn new(kind: Kind, line: CommandLine, program: String) -> Self {
        let file = absolute(Paths::from_env()).conf("ups.conf");
        Self { kind, line, file, program }
    }

    /// Reads the settings again, while the driver runs: what is wrong goes to the log.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let tell = |finding: &Diagnostic| warn!("{}", finding.to_string().replace('\n', "; "));
        self.read(tell).map(|configured| configured.settings)
    }

    fn read(&self, tell: impl Fn(&Diagnostic)) -> Result<Configured, String> {
        let ups = &self.line.ups;
        let lines = self.line.lines.iter().map(String::as_str);
        let (given, mut diagnostics) = options::section_of(ups, lines);
        // About the section as a whole the file has the last word.
        diagnostics.retain(|finding| finding.at.line > 1);
        let (section, global) = if self.line.with_file {
            let (file, global) = self.read_file(&mut diagnostics)?;
            (options::on_top(file, given), global)
        } else {
            (given, Global::default())
        };
        diagnostics.iter().for_each(tell);
        if let Some(driver) = &section.driver
            && *driver != self.program
        {
            return Err(format!(
                "this is {}, but [{ups}] in {} has driver = {driver}",
                self.program,
                self.file.display()
            ));
        }
        options::check_names(self.kind.about, &section).map_err(|error| format!("[{ups}]: {error}"))?;
        let minimum = section.debug_min.or(global.debug_min).unwrap_or(0);
        let debug = debug_level(self.line.debug).max(minimum);
        let mut settings = options::settings(self.kind.about, &section, &global, &self.program, debug);
        if let Some(interval) = self.line.interval {
            settings.poll_interval = interval;
        }
        Ok(Configured { section, global, settings })
    }

    fn read_file(&self, diagnostics: &mut Vec<Diagnostic>) -> Result<(Section, Global), String> {
        let (ups, path) = (&self.line.ups, self.file.display().to_string());
        let text = read_limited(&self.file, MAX_CONF).map_err(|error| Chain(&error).to_string())?;
        let (conf, findings) = ups_conf::parse(Source { path: &path, text: &text });
        let Some(section) = conf.sections.iter().find(|section| section.name == *ups) else {
            let names: Vec<&str> = conf.sections.iter().map(|section| section.name.as_str()).collect();
            let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            return Err(format!("Error: Section {ups} not found in ups.conf: {path} has {there}"));
        };
        // What is wrong in other sections concerns other drivers.
        let begin = section.at.line;
        let ends = conf.sections.iter().map(|section| section.at.line);
        let end = ends.clone().filter(|line| *line > begin).min().unwrap_or(usize::MAX);
        let first = ends.min().unwrap_or(usize::MAX);
        let ours = |line: usize| line < first || (begin..end).contains(&line);
        let concern = |finding: &Diagnostic| finding.severity >= Severity::Warning && ours(finding.at.line);
        diagnostics.extend(findings.into_iter().filter(concern));
        Ok((section.clone(), conf.global))
    }
}

/// Does everything up to the opening of the device. `Ok(None)`: there is nothing more to do.
pub(super) async fn prepare(
    kind: Kind,
    line: CommandLine,
    program: &str,
) -> Result<Option<Prepared>, Failure> {
    let configuration = Configuration::new(kind, line.clone(), program.to_owned());
    let Configured { section, global, settings } = configuration.read(|finding| eprintln!("{finding}"))?;
    nut_os::log::set_debug(settings.debug);
    let paths = paths(&global);
    let ups = &line.ups;
    let socket = paths.statepath.join(socket_name(program, ups));
    check_path(&socket).map_err(|error| error.to_string())?;

    let port = section.port.clone().unwrap_or_default();
    let needs_port = !matches!(line.task, Task::Tell(_));
    if port.is_empty() && needs_port {
        return Err(format!("[{ups}] has no port: write port = ... in ups.conf, or -x port=...").into());
    }
    let given = Given { port: &port, options: &section.options };
    let made = if needs_port { Some((kind.make)(&given).map_err(|error| error.to_string())?) } else { None };

    let socket_group = line.group.as_ref().or(section.group.as_ref()).or(global.group.as_ref());
    let socket_group = socket_group.and_then(|name| match privilege::lookup_group(name) {
        Ok(group) => Some(group),
        Err(error) => {
            // As in NUT: a UPS that is watched by fewer is better than one that nobody watches.
            warn!("the driver's socket stays with the driver's own group: {}", Chain(&error));
            None
        }
    });
    if let Err(error) = become_user(&line, &section, &global) {
        if line.task != Task::KillPower {
            return Err(error.into());
        }
        // Late in a shutdown whoever knows the users may be gone already; the power must be cut all the same.
        warn!("{error}: cutting the power as {}", privilege::whoami());
    }
    if let Err(error) = std::env::set_current_dir(&paths.statepath) {
        let text = format!("cannot enter the state directory {}: {error}", paths.statepath.display());
        if line.task == Task::Serve {
            let mend = "create it for the user of the drivers, or set statepath in ups.conf or NUT_STATEPATH";
            return Err(format!("{text}: {mend}").into());
        }
        debug!("{text}");
    }

    let pid_path = paths.alt_pid_file(&socket_name(program, ups));
    match line.task {
        Task::Tell(word) => return tell(word, &socket, &pid_path, &line, program).await.map(|()| None),
        Task::KillPower => {
            if kill_power_over(&socket).await {
                return Ok(None);
            }
            // Batteries run out meanwhile: one that hangs is not asked politely for long.
            end_running(&socket, Some(&pid_path), program, &[Order::Stop, Order::Kill]).await;
        }
        Task::Serve => {
            let pid_path = line.foreground.has_pid_file().then_some(pid_path.as_path());
            let orders = [Order::Stop, Order::Stop, Order::Stop, Order::Kill];
            end_running(&socket, pid_path, program, &orders).await;
        }
        Task::Dump { .. } => {}
    }
    let Some((driver, plan)) = made else { return Ok(None) };
    let pid_file = if line.task == Task::Serve && line.foreground.has_pid_file() {
        Some(PidFile::write(&pid_path).map_err(|error| Chain(&error).to_string())?)
    } else {
        None
    };
    let purpose = match line.task {
        Task::Dump { updates } => Purpose::Dump { updates },
        Task::KillPower => Purpose::ShutDown,
        Task::Serve | Task::Tell(_) => Purpose::Serve,
    };
    let exclusive = !section.no_lock && line.task != Task::KillPower;
    let opening = Opening { path: place(&plan, &port, &paths), plan, exclusive };
    let core = Core::new(driver, settings, purpose);
    Ok(Some(Prepared { core, opening, socket, socket_group, pid_file, configuration }))
}

/// Where files are. `statepath` of ups.conf counts where `NUT_STATEPATH` says nothing.
pub(crate) fn paths(global: &Global) -> Paths {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = global.state_path.as_ref();
    absolute(Paths::from_lookup(|name| match set(name) {
        None if name == "NUT_STATEPATH" => state.map(Into::into),
        value => value,
    }))
}

/// We change directory: what was meant from here must stay where it was.
fn absolute(paths: Paths) -> Paths {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Paths {
        confpath: absolute(paths.confpath),
        statepath: absolute(paths.statepath),
        altpidpath: absolute(paths.altpidpath),
        pidpath: absolute(paths.pidpath),
    }
}

/// Where the port is: a file has its place among the configuration files, unless it says otherwise.
fn place(plan: &PortPlan, port: &str, paths: &Paths) -> PathBuf {
    match plan {
        PortPlan::File { path } if path.starts_with('/') => path.into(),
        // NUT's drivers are in the state directory by now, too.
        PortPlan::File { path } if path.starts_with('.') => paths.statepath.join(path),
        PortPlan::File { path } => paths.conf(path),
        PortPlan::Serial { .. } | PortPlan::Server { .. } => port.into(),
    }
}

fn become_user(line: &CommandLine, section: &Section, global: &Global) -> Result<(), String> {
    let said = |error: privilege::PrivilegeError| Chain(&error).to_string();
    let user = line.user.as_ref().or(section.user.as_ref()).or(global.user.as_ref());
    let user = user.map_or(DEFAULT_USER, String::as_str);
    let who = if privilege::is_root() { Some(RunAs::lookup(user).map_err(said)?) } else { None };
    if let Some(root) = line.chroot.as_ref().or(global.chroot.as_ref()) {
        privilege::enter_root(Path::new(root)).map_err(said)?;
    }
    let Some(who) = who else {
        debug!("we are not root: running as who we are, {}", privilege::whoami());
        return Ok(());
    };
    match privilege::drop_to(&who).map_err(said)? {
        Dropped::StaysRoot if line.task == Task::Serve => {
            let whose = if line.user.is_some() { "-u" } else { "ups.conf" };
            warn!("running as root, as {whose} says: the driver needs no more than the right to its port");
        }
        Dropped::StaysRoot | Dropped::Became | Dropped::WasNotRoot => {}
    }
    Ok(())
}

/// Makes another instance of this driver for this UPS end: over its socket, then by one signal after the other.
async fn end_running(socket: &Path, pid_file: Option<&Path>, program: &str, orders: &[Order]) {
    match connection::end_other(socket, END_WITHIN).await {
        Err(DialogError::NotThere { .. }) => {}
        Ok(true) => info!("the other instance of this driver has ended"),
        Ok(false) => warn!("the other instance of this driver was told to end, but still answers"),
        Err(error) => warn!("another instance of this driver could not be told to end: {}", Chain(&error)),
    }
    let Some(pid_file) = pid_file else { return };
    let Ok(pid) = read_pid(pid_file) else { return };
    for order in orders.iter().copied() {
        match signal(pid, order, &[program]) {
            Ok(()) => {}
            Err(SignalError::NotRunning { .. }) => return,
            Err(error @ SignalError::NotOurs { .. }) => {
                debug!("the PID file {} is an old one: {error}", pid_file.display());
                return;
            }
            Err(error @ SignalError::Refused { .. }) => {
                warn!("another instance of this driver cannot be ended: {}", Chain(&error));
                return;
            }
        }
        warn!(
            "Duplicate driver instance detected (PID file {} exists)! Terminating other driver!",
            pid_file.display()
        );
        let is_gone = || matches!(signal(pid, Order::Probe, &[program]), Err(SignalError::NotRunning { .. }));
        if gone_within(SIGNAL_WITHIN, is_gone).await {
            return;
        }
    }
}

/// Has the running instance cut the power, if there is one. Says whether it did.
async fn kill_power_over(socket: &Path) -> bool {
    let mut dialog = match Dialog::open(socket).await {
        Ok(dialog) => dialog,
        Err(DialogError::NotThere { .. }) => return false,
        Err(error) => {
            warn!("the running driver cannot be asked to cut the power: {}", Chain(&error));
            return false;
        }
    };
    let allow = "driver.flag.allow_killpower".parse().expect("a constant name");
    let allow = ToDriver::Set { var: allow, value: Value::new("1"), tracking: None };
    let asked = match dialog.order(allow, ORDINARY).await {
        Ok(_) => dialog.command("driver.killpower", KILL_POWER).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(Judgement::Handled) => {
            info!("the running driver has told the device to cut the power");
            true
        }
        Ok(judgement) => {
            warn!(
                "the running driver could not cut the power (result {}): doing it ourselves",
                judgement.code()
            );
            false
        }
        Err(error) => {
            warn!("the running driver could not cut the power: {}: doing it ourselves", Chain(&error));
            false
        }
    }
}

/// `-c`: tells the running instance something.
async fn tell(
    word: Word,
    socket: &Path,
    pid_file: &Path,
    line: &CommandLine,
    program: &str,
) -> Result<(), Failure> {
    let command = match word {
        Word::ReloadOrError => "driver.reload-or-error",
        Word::Exit => "driver.exit",
        Word::ReloadOrExit => {
            let pid = match line.pid {
                Some(pid) => pid,
                None => read_pid(pid_file).map_err(|error| Chain(&error).to_string())?,
            };
            return Ok(signal(pid, Order::User1, &[program]).map_err(|error| Chain(&error).to_string())?);
        }
    };
    let failed = |error: DialogError| Failure { code: 255, text: Chain(&error).to_string() };
    let mut dialog = Dialog::open(socket).await.map_err(failed)?;
    match dialog.command(command, ORDINARY).await.map_err(failed)? {
        Judgement::Handled => Ok(()),
        judgement => {
            let text = match (word, judgement) {
                (Word::ReloadOrError, Judgement::Invalid) => {
                    "a setting has changed that needs a restart".to_owned()
                }
                (_, judgement) => format!("the driver answers with result {}", judgement.code()),
            };
            Err(Failure { code: u8::try_from(judgement.code()).unwrap_or(1), text })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_place_of_a_device_is_among_the_configuration_files_unless_it_says_otherwise() {
        let paths = Paths {
            confpath: "/conf".into(),
            statepath: "/state".into(),
            altpidpath: "/state".into(),
            pidpath: "/run".into(),
        };
        for (port, expected) in [
            ("d.dev", "/conf/d.dev"),
            ("in/d.dev", "/conf/in/d.dev"),
            ("/elsewhere/d.dev", "/elsewhere/d.dev"),
            ("./d.dev", "/state/./d.dev"),
            ("../d.dev", "/state/../d.dev"),
        ] {
            let plan = PortPlan::File { path: port.into() };
            assert_eq!(place(&plan, port, &paths), Path::new(expected), "{port}");
        }
        let serial = PortPlan::Serial { baud: 2400, lines: None };
        assert_eq!(place(&serial, "tty", &paths), Path::new("tty"));
    }
}
