//! `upsdrvctl`: which drivers, in which order, with which arguments (upsdrvctl §1).
//!
//! Pure but for [`shell`], which runs what is planned here.

pub mod shell;

use nut_conf::ups_conf::{Section, UpsConf};
use nut_proto::names::UpsName;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// How long the start of a driver is waited for: `maxstartdelay` unless set.
pub const MAX_START_DELAY: Duration = Duration::from_secs(75);

/// How long a shutdown is waited for where a start would be waited for without an end.
pub const MAX_SHUTDOWN: Duration = Duration::from_secs(180);

/// Attempts to start a driver: `maxretry` unless set.
pub const MAX_RETRY: u32 = 1;

/// Time between two attempts: `retrydelay` unless set.
pub const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Where drivers are if nothing else is known: Debian's place.
pub const DRIVER_PATH: &str = "/lib/nut";

/// What is to be done with drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Start them, in the file's order.
    Start,
    /// Stop them, in the file's order.
    Stop,
    /// Have them cut the power, in the order of `sdorder`.
    ShutDown,
    /// Tell them something, in the file's order.
    Tell(Word),
    /// Show their names.
    List,
    /// Show how they are.
    Status,
}

/// What running drivers can be told by `-c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Read the configuration again; a needed restart is an error.
    ReloadOrError,
    /// Read the configuration again, and end if a restart is needed.
    ReloadOrExit,
    /// End.
    Exit,
}

/// NUT's order: an abbreviation means the first that fits.
pub const WORDS: [(&str, Word); 4] = [
    ("reload-or-error", Word::ReloadOrError),
    ("exit", Word::Exit),
    ("reload", Word::ReloadOrError),
    ("reload-or-exit", Word::ReloadOrExit),
];

/// One driver to be dealt with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its UPS.
    pub ups: UpsName,
    /// Its program.
    pub driver: String,
    /// Its port, as written.
    pub port: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// How often it is tried.
    pub attempts: u32,
    /// How long between two tries.
    pub pause: Duration,
    /// How long it is waited for; `None`: as long as it takes.
    pub patience: Option<Duration>,
}

/// What is handed on to every driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandedOn {
    /// `-D` so many times: with `-d` as many as `upsdrvctl` was given itself.
    pub debug: u8,
    /// `-B`, `-F` or `-FF`.
    pub mode: Option<&'static str>,
    /// `-r`.
    pub root: Option<String>,
    /// `-u`.
    pub user: Option<String>,
}

/// Why there is nothing to do. The texts are NUT's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// No section at all.
    #[error("Error: no UPS definitions found in ups.conf")]
    NoUps,
    /// No section of that name, spelled like that.
    #[error("UPS {name} not found in ups.conf")]
    NotFound {
        /// The name.
        name: String,
    },
}

/// One driver in a plan: what to do, or why that cannot be done. It concerns that driver alone.
pub type Planned = Result<Job, Unusable>;

/// A section that names no driver that could be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("[{ups}] {what} in ups.conf")]
pub struct Unusable {
    ups: UpsName,
    what: &'static str,
}

/// Whom a task concerns, in which order, and how.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    conf: &UpsConf,
    task: Task,
    only: Option<&str>,
    on: &HandedOn,
) -> Result<Vec<Planned>, PlanError> {
    if conf.sections.is_empty() {
        return Err(PlanError::NoUps);
    }
    let sections: Vec<&Section> = match (only, task) {
        // A named one always, whatever its order says.
        (Some(name), _) => {
            let found = conf.sections.iter().find(|section| section.name.as_str() == name);
            vec![found.ok_or_else(|| PlanError::NotFound { name: name.to_owned() })?]
        }
        (None, Task::ShutDown) => in_shutdown_order(conf),
        (None, _) => conf.sections.iter().collect(),
    };
    Ok(sections.into_iter().map(|section| job(conf, section, task, on)).collect())
}

/// Lower numbers first, equal ones in the file's order, negative ones never.
fn in_shutdown_order(conf: &UpsConf) -> Vec<&Section> {
    let mut sections: Vec<&Section> =
        conf.sections.iter().filter(|section| section.shutdown_order >= 0).collect();
    sections.sort_by_key(|section| section.shutdown_order);
    sections
}

fn job(conf: &UpsConf, section: &Section, task: Task, on: &HandedOn) -> Planned {
    let unusable = |what| Unusable { ups: section.name.clone(), what };
    let driver = section.driver.clone().ok_or_else(|| unusable("has no driver"))?;
    if driver.is_empty() || driver.contains('/') {
        return Err(unusable("has a driver that is no program's name"));
    }
    let global = &conf.global;
    let patience = match (section.max_start_delay, global.max_start_delay) {
        (None | Some(-1), None) => Some(MAX_START_DELAY),
        (None | Some(-1), Some(seconds)) | (Some(seconds), _) => {
            u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
        }
    };
    // A start may be waited for without an end. Of a shutdown, one that hangs must not keep the power of all others on.
    let patience = if task == Task::ShutDown { patience.or(Some(MAX_SHUTDOWN)) } else { patience };
    let attempts = match section.max_retry.filter(|count| *count >= 0).or(global.max_retry) {
        None => MAX_RETRY,
        Some(count) => u32::try_from(count).unwrap_or(MAX_RETRY),
    };
    let pause = match section.retry_delay.filter(|seconds| *seconds >= 0).or(global.retry_delay) {
        None => RETRY_DELAY,
        Some(seconds) => u64::try_from(seconds).map_or(Duration::ZERO, Duration::from_secs),
    };
    Ok(Job {
        ups: section.name.clone(),
        driver,
        port: section.port.clone().unwrap_or_default(),
        args: args(&section.name, task, on),
        attempts: if task == Task::Start { attempts } else { 1 },
        pause,
        patience,
    })
}

/// NUT's order: `-D... -B|-F|-FF -a ups [-k] -r dir -u user`.
fn args(ups: &UpsName, task: Task, on: &HandedOn) -> Vec<String> {
    let mut args = Vec::new();
    if on.debug > 0 {
        args.push(format!("-{}", "D".repeat(usize::from(on.debug))));
    }
    if task == Task::Start {
        args.extend(on.mode.map(str::to_owned));
    }
    args.extend(["-a".to_owned(), ups.to_string()]);
    if task == Task::ShutDown {
        args.push("-k".to_owned());
    }
    for (letter, value) in [("-r", &on.root), ("-u", &on.user)] {
        if let Some(value) = value {
            args.extend([letter.to_owned(), value.clone()]);
        }
    }
    args
}

/// Where drivers may be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// `driverpath` of ups.conf.
    pub configured: Option<PathBuf>,
    /// `NUT_DRIVERPATH`.
    pub environment: Option<PathBuf>,
    /// Where `upsdrvctl` itself is.
    pub beside: Option<PathBuf>,
}

impl Places {
    /// The program of a driver: where ups.conf says, else where the environment says, else beside `upsdrvctl` if it
    /// is there, else in [`DRIVER_PATH`].
    #[must_use]
    pub fn find(&self, driver: &str, exists: impl Fn(&Path) -> bool) -> PathBuf {
        if let Some(place) = self.configured.as_ref().or(self.environment.as_ref()) {
            return place.join(driver);
        }
        let beside = self.beside.as_ref().map(|place| place.join(driver));
        beside.filter(|path| exists(path)).unwrap_or_else(|| Path::new(DRIVER_PATH).join(driver))
    }
}

/// How one driver is, for `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its UPS.
    pub ups: UpsName,
    /// Its program.
    pub driver: String,
    /// What its PID file says.
    pub pid_file: PidFileSays,
    /// What it says over its socket; `None`: nobody answers.
    pub answer: Option<Answer>,
}

/// What a PID file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidFileSays {
    /// This process, and it runs.
    Running(i32),
    /// This process, and it does not run, or is another program.
    Stopped(i32),
    /// There is no file.
    NoFile,
    /// It cannot be read, or holds no number.
    Unreadable,
}

/// What a driver says over its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its process, if it knows `GETPID`.
    pub pid: Option<u32>,
    /// `ups.status`, if there is one.
    pub status: Option<String>,
}

/// The table that `status` prints, as NUT's scripts expect it.
#[must_use]
pub fn status_table(conditions: &[Condition]) -> String {
    let mut table =
        format!("{:<11}\t{:>11}\tRUNNING\tPF_PID\tS_RESPONSIVE\tS_PID\tS_STATUS\n", "UPSNAME", "UPSDRV");
    for Condition { ups, driver, pid_file, answer } in conditions {
        let (running, pid) = match pid_file {
            PidFileSays::Running(pid) => ("RUNNING", *pid),
            PidFileSays::Stopped(pid) => ("STOPPED", *pid),
            PidFileSays::NoFile => ("N/A", -3),
            PidFileSays::Unreadable => ("N/A", -2),
        };
        let responsive = if answer.is_some() { "RESPONSIVE" } else { "NOT_RESPONSIVE" };
        let socket_pid = answer.as_ref().and_then(|answer| answer.pid);
        let socket_pid = socket_pid.map_or_else(|| "N/A".to_owned(), |pid| pid.to_string());
        let mut status = Vec::new();
        if let Some(text) = answer.as_ref().and_then(|answer| answer.status.as_ref()) {
            nut_proto::words::quote(&mut status, text);
        }
        let status = String::from_utf8_lossy(&status);
        table.push_str(&format!(
            "{:<11}\t{driver:>11}\t{running}\t{pid}\t{responsive}\t{socket_pid}\t{status}\n",
            ups.as_str()
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::Source;

    fn conf(text: &str) -> UpsConf {
        nut_conf::ups_conf::parse(Source { path: "ups.conf", text: text.as_bytes() }).0
    }

    fn names(planned: &[Planned]) -> Vec<&str> {
        planned.iter().map(|job| job.as_ref().map_or("?", |job| job.ups.as_str())).collect()
    }

    fn section(name: &str, more: &str) -> String {
        format!("[{name}]\n{more}\ndriver = dummy-ups\nport = x.dev\n")
    }

    /// The order that was seen on NUT 2.8.0; there `sdorder` as a section's first line is lost, here it is not.
    #[test]
    fn power_is_cut_in_the_order_of_sdorder() {
        let text = [
            ("a", "sdorder = 2"),
            ("b", ""),
            ("c", "sdorder = 0"),
            ("e", "sdorder = 1"),
            ("f", "sdorder = -1"),
            ("g", "sdorder = 5"),
            ("h", "sdorder = 2"),
        ]
        .map(|(name, more)| section(name, more))
        .concat();
        let conf = conf(&text);
        let on = HandedOn::default();
        assert_eq!(names(&plan(&conf, Task::ShutDown, None, &on).unwrap()), ["b", "c", "e", "a", "h", "g"]);
        assert_eq!(names(&plan(&conf, Task::ShutDown, Some("f"), &on).unwrap()), ["f"]);
        assert_eq!(names(&plan(&conf, Task::Start, None, &on).unwrap()), ["a", "b", "c", "e", "f", "g", "h"]);
        assert_eq!(plan(&conf, Task::Start, Some("A"), &on), Err(PlanError::NotFound { name: "A".into() }));
    }

    #[test]
    fn arguments_are_those_nut_gives() {
        let conf = conf(&section("nicole", ""));
        let on =
            HandedOn { debug: 2, mode: Some("-FF"), root: Some("/jail".into()), user: Some("root".into()) };
        let args =
            |task, on: &HandedOn| plan(&conf, task, None, on).unwrap()[0].clone().unwrap().args.join(" ");
        assert_eq!(args(Task::Start, &on), "-DD -FF -a nicole -r /jail -u root");
        assert_eq!(args(Task::ShutDown, &on), "-DD -a nicole -k -r /jail -u root");
        assert_eq!(args(Task::Start, &HandedOn::default()), "-a nicole");
    }

    #[test]
    fn waiting_and_retrying_by_the_section_or_else_the_whole_file() {
        let job = |global: &str, own: &str| {
            let conf = conf(&format!("{global}\n{}", section("u", own)));
            let job = plan(&conf, Task::Start, None, &HandedOn::default()).unwrap()[0].clone().unwrap();
            (job.patience.map(|d| d.as_secs()), job.attempts, job.pause.as_secs())
        };
        assert_eq!(job("", ""), (Some(75), 1, 5));
        assert_eq!(job("maxstartdelay = 30\nmaxretry = 3\nretrydelay = 1", ""), (Some(30), 3, 1));
        assert_eq!(
            job("maxstartdelay = 30\nmaxretry = 3", "maxstartdelay = -1\nmaxretry = 2"),
            (Some(30), 2, 5)
        );
        assert_eq!(job("", "maxstartdelay = 0").0, None);
        assert_eq!(job("maxstartdelay = -1", "").0, None);
        assert_eq!(job("retrydelay = -1", "").2, 0);
    }

    #[test]
    fn a_shutdown_is_never_waited_for_without_an_end() {
        for (line, expected) in [("maxstartdelay = 0", 180), ("maxstartdelay = 7", 7), ("", 75)] {
            let conf = conf(&format!("{line}\n{}", section("u", "")));
            let job = plan(&conf, Task::ShutDown, None, &HandedOn::default()).unwrap()[0].clone().unwrap();
            assert_eq!(job.patience.map(|time| time.as_secs()), Some(expected), "{line}");
        }
    }

    #[test]
    fn one_section_without_driver_does_not_stop_the_others() {
        let conf =
            conf(&("[a]\nport = x\n".to_owned() + "[b]\ndriver = ../sh\nport = x\n" + &section("c", "")));
        let planned = plan(&conf, Task::Start, None, &HandedOn::default()).unwrap();
        assert_eq!(names(&planned), ["?", "?", "c"]);
        assert_eq!(planned[0].as_ref().unwrap_err().to_string(), "[a] has no driver in ups.conf");
        assert_eq!(plan(&UpsConf::default(), Task::Start, None, &HandedOn::default()), Err(PlanError::NoUps));
    }

    #[test]
    fn drivers_are_looked_for_in_one_place_after_the_other() {
        let all = Places {
            configured: Some("/conf".into()),
            environment: Some("/env".into()),
            beside: Some("/usr/sbin".into()),
        };
        let found = |places: &Places, there| places.find("apcsmart", |_| there).display().to_string();
        assert_eq!(found(&all, true), "/conf/apcsmart");
        let places = Places { configured: None, ..all };
        assert_eq!(found(&places, true), "/env/apcsmart");
        let places = Places { environment: None, ..places };
        assert_eq!(found(&places, true), "/usr/sbin/apcsmart");
        assert_eq!(found(&places, false), "/lib/nut/apcsmart");
    }

    #[test]
    fn the_table_is_nuts() {
        let condition = |ups: &str, pid_file, answer| Condition {
            ups: ups.parse().unwrap(),
            driver: "dummy-ups".into(),
            pid_file,
            answer,
        };
        let table = status_table(&[
            condition(
                "a",
                PidFileSays::Running(2348),
                Some(Answer { pid: Some(2348), status: Some("OL".into()) }),
            ),
            condition("c", PidFileSays::NoFile, None),
        ]);
        assert_eq!(
            table,
            "UPSNAME    \t     UPSDRV\tRUNNING\tPF_PID\tS_RESPONSIVE\tS_PID\tS_STATUS\n\
             a          \t  dummy-ups\tRUNNING\t2348\tRESPONSIVE\t2348\t\"OL\"\n\
             c          \t  dummy-ups\tN/A\t-3\tNOT_RESPONSIVE\tN/A\t\n"
        );
    }
}
