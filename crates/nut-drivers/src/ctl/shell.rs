//! `upsdrvctl` at work: starting drivers, telling them things, and waiting for what comes of it.

use super::{
    Answer, Condition, HandedOn, Job, PidFileSays, Places, PlanError, Planned, Task, WORDS, Word, plan,
    status_table,
};
use crate::connection::{Dialog, DialogError, ORDINARY, end_other, gone_within};
use crate::shell::paths;
use nut_conf::ups_conf::{self, UpsConf};
use nut_conf::{Severity, Source};
use nut_os::clock;
use nut_os::daemon::{Order, PidError, ProcessId, SignalError, read_pid, signal};
use nut_os::files::read_limited;
use nut_os::log::{self, Chain, Destination, LogOptions};
use nut_os::options::{
    self, OnMisuse, Paths, banner, banner_wanted, by_prefix, count, flag, say, text, value,
};
use nut_proto::driver::{Judgement, socket_name};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::debug;

const PROGRAM: &str = "upsdrvctl";

/// Longest ups.conf, in bytes.
const MAX_CONF: usize = 4 * 1024 * 1024;

/// How long a driver may take to end after a signal, before the next one.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How long a driver may take to end after `driver.exit`.
const EXIT_WITHIN: Duration = Duration::from_secs(15);

/// Why one driver could not be dealt with. The others are.
#[derive(Debug, Error)]
enum JobError {
    #[error("Can't start {}", path.display())]
    Spawn { path: PathBuf, source: std::io::Error },
    #[error("Driver failed to start ({0})")]
    Ended(ExitStatus),
    #[error("Startup timer elapsed, continuing...")]
    Elapsed,
    #[error("maxretry = 0: the driver is never started")]
    Never,
    #[error("the driver is not running: no PID file {}, and nobody answers on its socket", pid_file.display())]
    NoPidFile { pid_file: PathBuf },
    #[error(
        "the driver is not running: the PID file {} is an old one ({old}), and nobody answers on its socket",
        pid_file.display()
    )]
    OldPidFile { pid_file: PathBuf, old: SignalError },
    #[error("the driver does not end")]
    DoesNotEnd,
    #[error("the driver answers with result {}{}", .0.code(), if *.0 == Judgement::Invalid { ": it needs a restart" } else { "" })]
    Judged(Judgement),
    #[error("Socket dialog with the other driver instance")]
    Dialog(#[from] DialogError),
    #[error(transparent)]
    Signal(#[from] SignalError),
    #[error(transparent)]
    Pid(#[from] PidError),
}

/// The program: from the command line to the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let command = options::command(PROGRAM, "starts, stops and shuts down UPS drivers")
        .arg(flag('t', "show what would be done, and do nothing"))
        .arg(flag('D', "debug upsdrvctl itself; repeat for more"))
        .arg(flag('d', "hand the -D given to upsdrvctl on to the drivers"))
        .arg(flag('F', "have the driver stay in the foreground, in place of upsdrvctl (one UPS only)"))
        .arg(flag('B', "have the drivers go to the background even with -D"))
        .arg(flag('l', "list the UPSes, as the command list does"))
        .arg(value('u', "user", "have the drivers run as this user"))
        .arg(value('r', "directory", "have the drivers make this directory the root of all paths"))
        .arg(value('c', "word", "tell running drivers: reload, reload-or-error, reload-or-exit, exit"))
        .arg(options::operands(
            "command [ups]",
            "start, stop, shutdown, list or status; of all UPSes, or one",
        ));
    let help = command.clone().render_help().to_string();
    let matches = match options::parse(command, std::env::args_os(), OnMisuse::HelpAndSucceed) {
        Ok(matches) => matches,
        Err(code) => return code,
    };
    let debug = count(&matches, 'D');
    log::init(LogOptions { program: PROGRAM.to_owned(), debug, to: Destination::Stderr });
    let failed = |text: &str| {
        options::complain(PROGRAM, &text);
        ExitCode::FAILURE
    };
    let mut words = options::operand_texts(&matches);
    let task = match (text(&matches, 'c'), count(&matches, 'l') > 0) {
        (Some(word), _) => match by_prefix(word, &WORDS) {
            Some(word) => Task::Tell(word),
            None => return failed(&format!("Error: unrecognized command for -c [{word}]")),
        },
        (None, true) => Task::List,
        (None, false) => match words.next() {
            Some("start") => Task::Start,
            Some("stop") => Task::Stop,
            Some("shutdown") => Task::ShutDown,
            Some("list") => Task::List,
            Some("status") => Task::Status,
            Some(word) => return failed(&format!("Error: unrecognized command [{word}]")),
            None => {
                say(help.trim_end());
                return ExitCode::SUCCESS;
            }
        },
    };
    let only = words.next();
    if let Some(word) = words.next() {
        return failed(&format!("Error: too many words: [{word}]"));
    }
    let mode = match (count(&matches, 'F'), count(&matches, 'B')) {
        (0, 0) => None,
        (0, _) => Some("-B"),
        (1, _) => Some("-F"),
        _ => Some("-FF"),
    };
    let owned = |letter| text(&matches, letter).map(str::to_owned);
    let on = HandedOn {
        debug: if count(&matches, 'd') > 0 { debug } else { 0 },
        mode,
        root: owned('r'),
        user: owned('u'),
    };
    if banner_wanted() && !matches!(task, Task::List | Task::Status) {
        say(&banner("upsdrvctl - UPS driver controller"));
    }
    let conf = match read_conf() {
        Ok(conf) => conf,
        Err(text) => return failed(&text),
    };
    let planned = match plan(&conf, task, only, &on) {
        Ok(planned) => planned,
        Err(PlanError::NoUps) => {
            let path = Paths::from_env().conf("ups.conf");
            return failed(&format!("{} ({})", PlanError::NoUps, path.display()));
        }
        Err(error) => return failed(&error.to_string()),
    };
    if task == Task::List {
        let names = match only {
            Some(name) => vec![name],
            None => conf.sections.iter().map(|section| section.name.as_str()).collect(),
        };
        say(&names.join("\n"));
        return ExitCode::SUCCESS;
    }
    let control = Control {
        places: places(&conf),
        paths: paths(&conf.global),
        no_wait: conf.global.no_wait && !ignores_no_wait(),
        only_show: count(&matches, 't') > 0,
    };
    if task == Task::Start && matches!(mode, Some("-F" | "-FF")) {
        return control.become_driver(&planned);
    }
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(control.run(task, planned)),
        Err(error) => failed(&format!("cannot start: {}", Chain(&error))),
    }
}

fn read_conf() -> Result<UpsConf, String> {
    let path = Paths::from_env().conf("ups.conf");
    let text = read_limited(&path, MAX_CONF).map_err(|error| Chain(&error).to_string())?;
    let (conf, findings) = ups_conf::parse(Source { path: &path.display().to_string(), text: &text });
    for finding in findings.iter().filter(|finding| finding.severity >= Severity::Warning) {
        // Several lines, for people.
        eprintln!("{finding}");
    }
    Ok(conf)
}

fn places(conf: &UpsConf) -> Places {
    let environment = std::env::var_os("NUT_DRIVERPATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    Places { configured: conf.global.driver_path.as_ref().map(PathBuf::from), environment, beside }
}

fn ignores_no_wait() -> bool {
    std::env::var("NUT_IGNORE_NOWAIT").is_ok_and(|value| value.eq_ignore_ascii_case("true"))
}

/// What all jobs share.
struct Control {
    places: Places,
    paths: Paths,
    no_wait: bool,
    /// `-t`.
    only_show: bool,
}

/// A driver that was still starting when its time was over.
struct Late {
    job: Job,
    child: Child,
}

impl Control {
    async fn run(&self, task: Task, planned: Vec<Planned>) -> ExitCode {
        let (mut failures, mut late, mut conditions) = (0u32, Vec::new(), Vec::new());
        for planned in planned {
            let job = match planned {
                Ok(job) => job,
                Err(error) => {
                    options::complain(PROGRAM, &error);
                    failures += 1;
                    continue;
                }
            };
            let result = match task {
                Task::Start => self.start(&job, &mut late).await,
                Task::ShutDown => self.shut_down(&job).await,
                Task::Stop => self.stop(&job).await,
                Task::Tell(word) => self.tell(&job, word).await,
                Task::Status => {
                    conditions.push(self.condition(job).await);
                    continue;
                }
                Task::List => Ok(()),
            };
            if let Err(error) = result {
                options::complain(PROGRAM, &format!("[{}] {}", job.ups, Chain(&error)));
                failures += 1;
            }
        }
        for Late { job, mut child } in late {
            failures += match child.try_wait() {
                Ok(Some(status)) if status.success() => 0,
                Ok(None) => {
                    options::complain(
                        PROGRAM,
                        &format!("[{}] driver {} is still starting", job.ups, job.driver),
                    );
                    1
                }
                Ok(Some(_)) | Err(_) => {
                    options::complain(
                        PROGRAM,
                        &format!("[{}] driver {} failed to start", job.ups, job.driver),
                    );
                    1
                }
            };
        }
        if task == Task::Status {
            say(status_table(&conditions).trim_end_matches('\n'));
        }
        if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn program(&self, job: &Job) -> PathBuf {
        self.places.find(&job.driver, Path::exists)
    }

    /// Says under `-t`, and with `-D`, what is run.
    fn show(&self, job: &Job) {
        let line = format!("exec:  {} {}", self.program(job).display(), job.args.join(" "));
        if self.only_show { say(&line) } else { debug!("{line}") }
    }

    async fn start(&self, job: &Job, late: &mut Vec<Late>) -> Result<(), JobError> {
        let mut result = Err(JobError::Never);
        for attempt in 1..=job.attempts {
            self.show(job);
            if self.only_show {
                return Ok(());
            }
            let mut child = self.spawn(job)?;
            if self.no_wait {
                return Ok(());
            }
            result = match self.wait(job, &mut child).await {
                Err(JobError::Elapsed) => {
                    options::complain(PROGRAM, &format!("[{}] {}", job.ups, JobError::Elapsed));
                    late.push(Late { job: job.clone(), child });
                    // It may still come; a second one would take its place.
                    return Ok(());
                }
                result => result,
            };
            if result.is_ok() || attempt == job.attempts {
                break;
            }
            options::complain(
                PROGRAM,
                &format!("[{}] attempt {attempt} of {} failed", job.ups, job.attempts),
            );
            clock::until(clock::now() + job.pause).await;
        }
        result
    }

    async fn shut_down(&self, job: &Job) -> Result<(), JobError> {
        self.show(job);
        if self.only_show {
            return Ok(());
        }
        let mut child = self.spawn(job)?;
        if self.no_wait { Ok(()) } else { self.wait(job, &mut child).await }
    }

    fn spawn(&self, job: &Job) -> Result<Child, JobError> {
        let path = self.program(job);
        let mut command = Command::new(&path);
        command.args(&job.args).stdin(Stdio::null()).kill_on_drop(false);
        command.spawn().map_err(|source| JobError::Spawn { path, source })
    }

    /// Waits for the process to end: a driver that goes to the background does so when it is ready.
    async fn wait(&self, job: &Job, child: &mut Child) -> Result<(), JobError> {
        let spawn = |source| JobError::Spawn { path: self.program(job), source };
        let status = match job.patience {
            None => child.wait().await,
            Some(patience) => match timeout(patience, child.wait()).await {
                Ok(status) => status,
                Err(_) => return Err(JobError::Elapsed),
            },
        };
        let status = status.map_err(spawn)?;
        if status.success() { Ok(()) } else { Err(JobError::Ended(status)) }
    }

    /// `-F`: this process becomes the driver.
    fn become_driver(&self, planned: &[Planned]) -> ExitCode {
        let [Ok(job)] = planned else {
            let why = match planned {
                [Err(error)] => error.to_string(),
                _ => "-F starts one driver, in place of upsdrvctl: name the UPS".to_owned(),
            };
            options::complain(PROGRAM, &why);
            return ExitCode::FAILURE;
        };
        self.show(job);
        if self.only_show {
            return ExitCode::SUCCESS;
        }
        let path = self.program(job);
        let source = std::process::Command::new(&path).args(&job.args).exec();
        let error = JobError::Spawn { path, source };
        options::complain(PROGRAM, &format!("[{}] {}", job.ups, Chain(&error)));
        ExitCode::FAILURE
    }

    fn socket(&self, job: &Job) -> PathBuf {
        self.paths.statepath.join(socket_name(&job.driver, &job.ups))
    }

    /// The PID file, or the one NUT 2.0 wrote.
    fn pid_file(&self, job: &Job) -> PathBuf {
        let file = self.paths.alt_pid_file(&socket_name(&job.driver, &job.ups));
        let port = Path::new(&job.port).file_name().unwrap_or_default().to_string_lossy();
        let old = self.paths.alt_pid_file(&format!("{}-{port}", job.driver));
        if !file.exists() && old.exists() { old } else { file }
    }

    async fn stop(&self, job: &Job) -> Result<(), JobError> {
        let pid_file = self.pid_file(job);
        if self.only_show {
            say(&format!("stop:  {} ({})", job.ups, pid_file.display()));
        }
        let told = match read_pid(&pid_file) {
            Ok(pid) if self.only_show => signal(pid, Order::Probe, &[&job.driver]).map_err(JobError::from),
            Ok(pid) => stop_process(job, pid, &pid_file).await,
            Err(PidError::File(error)) if error.is_not_found() => Err(JobError::NoPidFile { pid_file }),
            Err(error) => Err(error.into()),
        };
        let not_running = match told {
            Err(error @ JobError::NoPidFile { .. }) => error,
            // An old file: the driver may run without one.
            Err(JobError::Signal(old @ (SignalError::NotRunning { .. } | SignalError::NotOurs { .. }))) => {
                JobError::OldPidFile { pid_file: self.pid_file(job), old }
            }
            told => return told,
        };
        if self.only_show {
            return Dialog::open(&self.socket(job)).await.map(|_| ()).map_err(|_| not_running);
        }
        match end_other(&self.socket(job), EXIT_WITHIN).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(JobError::DoesNotEnd),
            Err(DialogError::NotThere { .. }) => Err(not_running),
            Err(error) => Err(error.into()),
        }
    }

    async fn tell(&self, job: &Job, word: Word) -> Result<(), JobError> {
        let command = match word {
            Word::ReloadOrError => "driver.reload-or-error",
            Word::Exit => "driver.exit",
            Word::ReloadOrExit => {
                let pid = read_pid(&self.pid_file(job))?;
                return if self.only_show { Ok(()) } else { Ok(signal(pid, Order::User1, &[&job.driver])?) };
            }
        };
        if self.only_show {
            say(&format!("tell:  {} {command}", job.ups));
            return Ok(());
        }
        let mut dialog = Dialog::open(&self.socket(job)).await?;
        match dialog.command(command, ORDINARY).await? {
            Judgement::Handled => Ok(()),
            judgement => Err(JobError::Judged(judgement)),
        }
    }

    async fn condition(&self, job: Job) -> Condition {
        let pid_file = match read_pid(&self.pid_file(&job)) {
            Ok(pid) => match signal(pid, Order::Probe, &[&job.driver]) {
                Ok(()) | Err(SignalError::Refused { .. }) => PidFileSays::Running(pid.number()),
                Err(SignalError::NotRunning { .. } | SignalError::NotOurs { .. }) => {
                    PidFileSays::Stopped(pid.number())
                }
            },
            Err(PidError::File(error)) if error.is_not_found() => PidFileSays::NoFile,
            Err(_) => PidFileSays::Unreadable,
        };
        let answer = match Dialog::open(&self.socket(&job)).await {
            Ok(mut dialog) => {
                // Drivers before 2.8.3 know neither question, and are there all the same.
                let pid = dialog.pid().await.ok();
                let status = dialog.status().await.ok().flatten();
                Some(Answer { pid, status })
            }
            Err(_) => None,
        };
        Condition { ups: job.ups, driver: job.driver, pid_file, answer }
    }
}

/// SIGTERM, then SIGKILL if need be.
async fn stop_process(job: &Job, pid: ProcessId, pid_file: &Path) -> Result<(), JobError> {
    let names = [job.driver.as_str()];
    for order in [Order::Stop, Order::Kill] {
        signal(pid, order, &names)?;
        let is_gone = || matches!(signal(pid, Order::Probe, &names), Err(SignalError::NotRunning { .. }));
        if gone_within(END_WITHIN, is_gone).await {
            if order == Order::Kill {
                options::complain(PROGRAM, &format!("[{}] the driver had to be killed", job.ups));
                // It could not do so itself.
                let _ = std::fs::remove_file(pid_file);
            }
            return Ok(());
        }
    }
    Err(JobError::DoesNotEnd)
}
