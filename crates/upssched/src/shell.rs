//! The client: reads the file, carries out what it orders for one notice, and ends.
//!
//! Orders are carried out in the file's order: the scripts of `EXECUTE` one after the other, and what the timer process
//! is told beside them. One that fails costs itself, not those below it, and makes the exit code 1; that CMDSCRIPT fails
//! does not (upssched §1, §7).

mod delivery;
mod lock;
mod process;
mod script;
mod serving;

use std::error::Error as _;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nut_conf::directives::MAX_FILE;
use nut_conf::upssched_conf::{self, UpsschedConf};
use nut_conf::{Severity, Source};
use nut_os::clock;
use nut_os::files::{self, FileError};
use nut_os::log::{self, Chain, Destination, LogOptions};
use nut_os::options::{self, OnMisuse, Paths, say};
use nut_os::socket::raise_descriptor_limit;
use nut_proto::Moment;
use tracing::{debug, error, info, warn};

use crate::pipe::{Origin, Request, ToTimers};
use crate::rules::{self, Deed};
use delivery::{Delivered, Patience, Place};

/// The role of the timer process, as [`nut_os::reexec`] knows it.
pub const TIMER_PROCESS: &str = "timers";

/// How often the file is tried for which the system lacks something.
const LOADS: u32 = 10;

/// How long between two tries of something for which the system lacks something.
const AGAIN: Duration = Duration::from_secs(1);

/// How many descriptors must be free for us to wait for anything, with some to spare.
const DESCRIPTORS: usize = 8;

/// The program's name in logs and messages.
const PROGRAM: &str = "upssched";

/// How we were called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The debug level of `-D` and `NUT_DEBUG_LEVEL`; above 0 the timer process keeps standard error.
    debug: u8,
    /// `-l`: show the timers, and nothing else.
    list: bool,
    /// The notice's text, upsmon's argument.
    message: Option<String>,
    /// When that was.
    when: Moment,
}

impl Call {
    /// Reads the command line (the program's name first), with the environment at hand to tell a notice's text from an
    /// option.
    ///
    /// # Errors
    /// When there is nothing more to do; the exit code is then 0 after `-h` and `-V`, else 1.
    pub fn read(
        args: impl IntoIterator<Item = OsString>,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ExitCode> {
        let when = clock::now();
        let command = options::command(
            PROGRAM,
            "Runs what upssched.conf orders for the notice in NOTIFYTYPE and UPSNAME.",
        )
        .arg(options::flag('D', "debug; repeat for more; the timer process keeps standard error"))
        .arg(options::flag('l', "list the timers"))
        .arg(options::operands("message", "the notice's text, as upsmon passes it"));
        // A text in some old encoding must not cost the notice.
        let mut args: Vec<String> = args.into_iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        if let Some(nth) = text_among(&args, lookup) {
            args.insert(nth, "--".to_owned());
        }
        let args = args.into_iter().map(OsString::from);
        let matches = options::parse(command, args, OnMisuse::HintAndFail)?;
        Ok(Self {
            debug: options::debug_level(options::count(&matches, 'D')),
            list: options::count(&matches, 'l') > 0,
            message: options::operand_texts(&matches).next().map(str::to_owned),
            when,
        })
    }
}

/// Which of these words is the notice's text, if we are called for a notice: NOTIFYMSG, or the first one that is not
/// exactly an option of ours. It may look like an option as well, as in `--- UPS u@h on battery ---`.
fn text_among(args: &[String], lookup: impl Fn(&str) -> Option<String>) -> Option<usize> {
    lookup("NOTIFYTYPE")?;
    let message = lookup("NOTIFYMSG");
    let words = || args.iter().enumerate().skip(1);
    let is_option = |word: &str| match word.strip_prefix('-') {
        Some("") | None => false,
        Some(letters) => letters.chars().all(|letter| "DlVh".contains(letter)),
    };
    let exact = words().rfind(|(_, word)| Some(*word) == message.as_ref());
    exact.or_else(|| words().find(|(_, word)| !is_option(word))).map(|(nth, _)| nth)
}

/// Is the timer process, whose starter is at the other end of this socket.
#[must_use]
pub fn keep_timers(starter: UnixStream, args: impl Iterator<Item = OsString>) -> ExitCode {
    process::run(starter, args)
}

/// Does what upsmon called us for.
#[must_use]
pub fn run(call: &Call) -> ExitCode {
    log::init(LogOptions { program: PROGRAM.into(), debug: call.debug, to: destination() });
    let event = event_from(call, from_environment);
    let Some(event) = event.or_else(|| call.list.then(Origin::default)) else {
        say("Error: environment variables UPSNAME and NOTIFYTYPE must be set.");
        say("This program should only be run from upsmon(8).");
        return ExitCode::FAILURE;
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "cannot wait for anything: the system refuses what is needed for it");
            return ExitCode::FAILURE;
        }
    };
    if runtime.block_on(obey(call, &event)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What lets us wait for several things.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    // Where this is refused the limit stays as it was.
    let _ = raise_descriptor_limit();
    // It makes do with no error of its own where it finds too few, so look first.
    let room: io::Result<Vec<File>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    drop(room?);
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Does what the file says, and says whether all went well.
async fn obey(call: &Call, event: &Origin) -> bool {
    let path = Paths::from_env().conf("upssched.conf");
    let conf = match load_patiently(&path).await {
        Ok(conf) => conf,
        Err(error) => {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            error!("Can't open {}: {cause}", path.display());
            return false;
        }
    };
    log::set_debug(call.debug.max(conf.debug_min.unwrap_or(0)));
    // The same file has the same name, whatever leads to it.
    let path = path.canonicalize().unwrap_or(path);
    if call.list { list(&conf, &path).await } else { carry_out(&conf, &path, event, call).await }
}

/// Standard error and the system log, as NUT's client; `NUT_DEBUG_SYSLOG` can take the latter away.
fn destination() -> Destination {
    with_standard_error(Destination::in_background())
}

fn with_standard_error(destination: Destination) -> Destination {
    match destination {
        Destination::Syslog | Destination::Both => Destination::Both,
        Destination::Stderr | Destination::Nowhere => Destination::Stderr,
    }
}

/// A variable of the environment. Some old encoding must not cost the notice.
#[must_use]
pub fn from_environment(name: &str) -> Option<String> {
    Some(std::env::var_os(name)?.to_string_lossy().into_owned())
}

/// The event that upsmon calls us for, if the environment names one. UPSNAME may be empty, but must be there.
fn event_from(call: &Call, lookup: impl Fn(&str) -> Option<String>) -> Option<Origin> {
    let (ups, notice) = (lookup("UPSNAME")?, lookup("NOTIFYTYPE")?);
    let message = call.message.clone().or_else(|| lookup("NOTIFYMSG")).unwrap_or_default();
    Some(Origin { notice, ups, message })
}

/// Reads the file and says what is wrong with it.
fn load(path: &Path) -> Result<UpsschedConf, FileError> {
    let text = files::read_limited(path, MAX_FILE)?;
    let name = path.display().to_string();
    let (conf, found) = upssched_conf::parse(Source { path: &name, text: &text });
    for diagnostic in found {
        // A line each, as the log has no other.
        for line in diagnostic.to_string().lines() {
            match diagnostic.severity {
                Severity::Error => error!("{line}"),
                Severity::Warning => warn!("{line}"),
                Severity::Note => debug!("{line}"),
            }
        }
    }
    Ok(conf)
}

/// Reads the file, and tries again where the system only lacks something: there is no second notice.
async fn load_patiently(path: &Path) -> Result<UpsschedConf, FileError> {
    let mut tried = 1;
    loop {
        match load(path) {
            Err(FileError::Refused { source, .. }) if is_shortage(&source) && tried < LOADS => {
                warn!("cannot read {}: {source}; trying again", path.display());
            }
            loaded => return loaded,
        }
        tried += 1;
        clock::until(clock::now() + AGAIN).await;
    }
}

/// Whether the system lacks what may be back in a moment: processes, memory, descriptors. On a host that is losing its
/// power very much goes on at once.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
    )
}

/// Carries out all matching lines, and says whether every one of them could be.
///
/// What the timer process is told does not wait for a script: a mail that hangs must neither keep a timer from being
/// cancelled, which would then stop the host without need, nor let it start after the notice that cancels it.
async fn carry_out(conf: &UpsschedConf, path: &Path, event: &Origin, call: &Call) -> bool {
    let orders = rules::orders(conf, event);
    let mut scripts = Vec::new();
    let mut told = Vec::new();
    for line in orders.lines {
        match line.deed {
            Deed::Execute(command) => scripts.push((line.at.script.as_slice(), command)),
            Deed::Tell(what) => {
                let place = Place {
                    pipe: PathBuf::from(&line.at.pipe),
                    lock: PathBuf::from(line.lock),
                    script: line.at.script.clone(),
                    debug: call.debug.max(conf.debug_min.unwrap_or(0)),
                    keeps_stderr: call.debug > 0,
                    conf: path.to_path_buf(),
                };
                told.push((place, Request { what, called: Some(call.when) }));
            }
        }
    }
    let ((), mut all_went_well) = tokio::join!(execute(scripts, event), tell(told));
    if let Some(lacks) = orders.lacks {
        // Where it stands in the file was logged when the file was read.
        say(&lacks.to_string());
        all_went_well = false;
    }
    all_went_well
}

/// Runs CMDSCRIPT for what `EXECUTE` says, one after the other.
async fn execute(scripts: Vec<(&[String], &str)>, event: &Origin) {
    for (script, command) in scripts {
        info!("Executing command: {command}");
        script::run(script, command, event).await;
    }
}

/// Tells the timer processes all of this, in this order, and says whether it could be.
async fn tell(orders: Vec<(Place, Request)>) -> bool {
    let mut silent: Vec<PathBuf> = Vec::new();
    for (place, request) in orders {
        // The lines below must not wait for the same silence once more.
        let patience = if silent.contains(&place.pipe) { Patience::Short } else { Patience::Usual };
        match delivery::deliver(&place, &request, patience).await {
            Ok(Delivered::Done(_)) => {}
            Ok(Delivered::NobodyThere) => debug!("there is no timer process, so there is nothing to cancel"),
            Err(error) => {
                error!("{}", Chain(&error));
                silent.push(place.pipe);
            }
        }
    }
    silent.is_empty()
}

/// Shows the timers on standard output, one a line.
async fn list(conf: &UpsschedConf, path: &Path) -> bool {
    let places = rules::places(conf);
    if places.is_empty() {
        error!("PIPEFN is not set in upssched.conf, so the timers cannot be asked for");
        return false;
    }
    let mut is_running = false;
    for (pipe, lock) in places {
        let (pipe, lock) = (PathBuf::from(pipe), PathBuf::from(lock));
        let conf = path.to_path_buf();
        let place = Place { pipe, lock, script: Vec::new(), debug: 0, keeps_stderr: false, conf };
        let request = Request { what: ToTimers::List, called: None };
        match delivery::deliver(&place, &request, Patience::Usual).await {
            Ok(Delivered::Done(lines)) => {
                is_running = true;
                lines.iter().for_each(|line| say(line));
            }
            Ok(Delivered::NobodyThere) => {}
            Err(error) => {
                error!("{}", Chain(&error));
                return false;
            }
        }
    }
    if !is_running {
        error!("upssched timer is not running");
    }
    is_running
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Call {
        Call::read(line.split('|').map(OsString::from), |_| None).unwrap()
    }

    #[test]
    fn the_first_word_is_the_message_whatever_it_is() {
        let call = read("upssched|UPS u@h on battery|-l");
        assert_eq!((call.list, call.message.as_deref()), (false, Some("UPS u@h on battery")));
        assert_eq!(read("upssched|-DD").debug, 2);
        assert!(read("upssched|-l").list);
        assert_eq!(read("upssched|").message.as_deref(), Some(""));
        assert!(Call::read(["upssched", "-Z"].map(OsString::from), |_| None).is_err());
    }

    #[test]
    fn the_log_goes_to_standard_error_and_to_the_system_log_unless_that_is_taken_away() {
        for destination in [Destination::Syslog, Destination::Both] {
            assert!(matches!(with_standard_error(destination), Destination::Both));
        }
        for destination in [Destination::Stderr, Destination::Nowhere] {
            assert!(matches!(with_standard_error(destination), Destination::Stderr));
        }
    }

    #[test]
    fn a_text_may_look_like_an_option() {
        let read = |args: &[&str], message: Option<&str>| {
            let args = std::iter::once("upssched").chain(args.iter().copied()).map(OsString::from);
            let call = Call::read(args, |name| match name {
                "NOTIFYMSG" => message.map(str::to_owned),
                _ => Some("ONBATT".to_owned()),
            });
            let call = call.unwrap();
            (call.debug, call.list, call.message)
        };
        let texts = [
            "--- u@h on battery ---",
            "- u@h back",
            "-",
            "--",
            "-Z",
            "-battery",
            "--version 2",
            "-D u",
            "-é",
        ];
        for text in texts {
            // As NUT's upsmon calls us, and as ours does.
            for message in [None, Some(text)] {
                assert_eq!(read(&[text], message), (0, false, Some(text.to_owned())));
                assert_eq!(read(&["-DD", text], message), (2, false, Some(text.to_owned())));
            }
        }
        for text in ["-l", "-h", "-V", "-D", "--help"] {
            assert_eq!(read(&[text], Some(text)), (0, false, Some(text.to_owned())));
        }
        assert_eq!(read(&["-D", "-D"], Some("-D")), (1, false, Some("-D".to_owned())));
        // A script, which has a notice in its environment, asks for the timers.
        assert_eq!(read(&["-l"], Some("u@h on battery")), (0, true, None));
        assert_eq!(read(&["-D"], None), (1, false, None));
    }

    #[test]
    fn what_may_be_back_in_a_moment_is_worth_another_try() {
        for errno in [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE] {
            assert!(is_shortage(&errno.into()), "{errno}");
        }
        for errno in [Errno::ENOENT, Errno::EACCES, Errno::ENOEXEC, Errno::EISDIR] {
            assert!(!is_shortage(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn both_variables_must_be_there_and_may_be_empty() {
        let call = read("upssched|on battery");
        let event = |variables: &'static [(&str, &str)]| {
            event_from(&call, |name| {
                let found = variables.iter().find(|(one, _)| *one == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(event(&[("UPSNAME", "u@h")]), None);
        assert_eq!(event(&[("NOTIFYTYPE", "ONBATT")]), None);
        let expected = Origin { notice: "SHUTDOWN".into(), ups: String::new(), message: "on battery".into() };
        assert_eq!(
            event(&[("UPSNAME", ""), ("NOTIFYTYPE", "SHUTDOWN"), ("NOTIFYMSG", "other")]),
            Some(expected)
        );
        let event = event_from(&read("upssched"), |name| Some(format!("<{name}>"))).unwrap();
        assert_eq!(event.message, "<NOTIFYMSG>");
    }
}
