//! The log: what happened, as text with facts in fields, to standard error or the system log.
//!
//! `tracing` events go through here. Text from devices and the wire is made harmless (control characters are escaped)
//! and cut at [`MAX_TEXT`]. A log daemon that hangs must not hang us, nor whoever reads standard error, so after one short
//! wait further messages to it are dropped, counted, and the count is logged.
//!
//! A panic is logged, too: a daemon in the background has a standard error that leads nowhere, and one that ends without
//! a word is the worst of all.
//!
//! | event | stderr | system log |
//! |---|---|---|
//! | `error!` | text | ERR |
//! | `warn!` | text | WARNING |
//! | `info!` | text | INFO |
//! | [`notice!`](crate::notice), [`crit!`](crate::crit), [`alert!`](crate::alert) | text | NOTICE, CRIT, ALERT |
//! | `debug!`, with `-D` | `[D1] ` text | DEBUG |
//! | `trace!`, with `-DDD` | `[D3] ` text | DEBUG |

mod line;
mod stderr;
mod system;

use std::error::Error;
use std::fmt;
use std::io::{self, Stderr};
use std::panic;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use nut_proto::Moment;
use syslog::Severity;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::clock;
use line::Line;
use stderr::LineSink;
use system::SystemLog;

/// Longest text of one log line, in bytes; what is longer is cut.
pub const MAX_TEXT: usize = 8 * 1024;

/// Logs with the syslog priority NOTICE; otherwise as `info!`.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)+) => { $crate::__tracing::info!(syslog = "notice", $($arg)+) };
}

/// Logs with the syslog priority CRIT; otherwise as `error!`.
#[macro_export]
macro_rules! crit {
    ($($arg:tt)+) => { $crate::__tracing::error!(syslog = "crit", $($arg)+) };
}

/// Logs with the syslog priority ALERT; otherwise as `error!`.
#[macro_export]
macro_rules! alert {
    ($($arg:tt)+) => { $crate::__tracing::error!(syslog = "alert", $($arg)+) };
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error: tools, and daemons in the foreground.
    Stderr,
    /// The system log: daemons in the background.
    Syslog,
    /// Standard error and the system log.
    Both,
    /// Nowhere, as `NUT_DEBUG_SYSLOG=none` asks of a daemon in the background.
    Nowhere,
}

impl Destination {
    /// Where a daemon in the background logs to: the system log, unless `NUT_DEBUG_SYSLOG` says otherwise.
    #[must_use]
    pub fn in_background() -> Self {
        Self::from_debug_syslog(std::env::var("NUT_DEBUG_SYSLOG").ok().as_deref())
    }

    fn from_debug_syslog(value: Option<&str>) -> Self {
        match value {
            Some("stderr") => Self::Stderr,
            Some("none" | "false") => Self::Nowhere,
            _ => Self::Syslog,
        }
    }

    /// Whether standard error is among the places.
    #[must_use]
    pub const fn has_stderr(self) -> bool {
        matches!(self, Self::Stderr | Self::Both)
    }

    /// Whether the system log is among the places.
    pub(crate) const fn has_syslog(self) -> bool {
        matches!(self, Self::Syslog | Self::Both)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Stderr => 0,
            Self::Syslog => 1,
            Self::Both => 2,
            Self::Nowhere => 3,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Stderr,
            1 => Self::Syslog,
            2 => Self::Both,
            _ => Self::Nowhere,
        }
    }
}

/// How to log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The program's name, which the system log shows before each line.
    pub program: String,
    /// How many `-D` there were: from 1 on debug texts, from 3 on traces are logged. See
    /// [`debug_level`](crate::options::debug_level).
    pub debug: u8,
    /// Where to.
    pub to: Destination,
}

/// Starts logging. Called again it changes where to and how much; the program's name stays.
pub fn init(options: LogOptions) {
    let LogOptions { program, debug, to } = options;
    let log = LOG.get_or_init(|| {
        log_panics();
        Log {
            debug: AtomicU8::new(debug),
            quiet: AtomicU8::new(0),
            to: AtomicU8::new(to.code()),
            started: clock::now(),
            stderr: Mutex::new(LineSink::new(io::stderr())),
            system: Mutex::new(SystemLog::new(program, Path::new("/dev/log"))),
        }
    });
    // Somebody else's subscriber can only be there in a test.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(ToLog(log)));
    set_debug(debug);
    redirect(to);
}

/// Changes where the log goes. Before [`init`] it does nothing.
///
/// The system log is connected to at once, so that it stays within reach after a change of root directory.
pub fn redirect(to: Destination) {
    if let Some(log) = LOG.get() {
        log.to.store(to.code(), Ordering::Relaxed);
        if to.has_syslog() {
            log.system().connect();
        }
    }
}

/// Where the log goes now.
#[must_use]
pub fn destination() -> Destination {
    LOG.get().map_or(Destination::Stderr, |log| Destination::from_code(log.to.load(Ordering::Relaxed)))
}

/// Changes how much is logged: 0 normal, 1 and 2 with debug texts, 3 and above with traces.
pub fn set_debug(level: u8) {
    if let Some(log) = LOG.get() {
        log.debug.store(level, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// An error in the system's words, without the number that Rust and `nix` put beside them: `Permission denied`, not
/// `Permission denied (os error 13)`.
#[must_use]
pub fn plain(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<nix::errno::Errno>() {
        Some(errno) => errno.desc().to_owned(),
        None => without_numbers(&error.to_string()),
    }
}

/// A text without `(os error 13)`, which Rust puts behind the system's words and which tells people nothing.
pub(crate) fn without_numbers(text: &str) -> String {
    const MARK: &str = " (os error ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(MARK) {
        out.push_str(before);
        match behind.split_once(')') {
            Some((number, after))
                if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                rest = after;
            }
            _ => {
                out.push_str(MARK);
                rest = behind;
            }
        }
    }
    out + rest
}

/// An error with all that led to it, joined by `: `, as in `cannot open /etc/nut/ups.conf: Permission denied`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(self.0))?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {}", plain(error))?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Leaves the least important lines out of the system log (`-q`, so many times): the first time debug texts, then
/// INFO, NOTICE and WARNING. Errors are always logged; standard error has everything. Before [`init`] it does nothing.
pub fn set_quiet(times: u8) {
    if let Some(log) = LOG.get() {
        log.quiet.store(times, Ordering::Relaxed);
    }
}

/// Connects to the system log now, so that it stays within reach after a change of root directory.
pub fn connect() {
    if let Some(log) = LOG.get() {
        log.system().connect();
    }
}

/// Has a panic logged wherever the log goes, and shown on standard error as usual besides if `RUST_BACKTRACE` asks for
/// more than we say.
fn log_panics() {
    let as_usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_logged = LOG.get().is_some_and(|log| log.try_write(&Line::of_panic(panic)));
        if !is_logged || std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            as_usual(panic);
        }
    }));
}

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    debug: AtomicU8,
    quiet: AtomicU8,
    to: AtomicU8,
    started: Moment,
    stderr: Mutex<LineSink<Stderr>>,
    system: Mutex<SystemLog>,
}

impl Log {
    fn system(&self) -> MutexGuard<'_, SystemLog> {
        self.system.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self) -> LevelFilter {
        match self.debug.load(Ordering::Relaxed) {
            0 => LevelFilter::INFO,
            1 | 2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }

    /// Writes without waiting for whoever is just writing, who may be ourselves. Whether it has been written anywhere.
    fn try_write(&self, line: &Line) -> bool {
        let to = Destination::from_code(self.to.load(Ordering::Relaxed));
        let mut is_written = false;
        if to.has_stderr()
            && let Some(mut stderr) = try_lock(&self.stderr)
        {
            stderr.send(&line.for_stderr(None));
            is_written = true;
        }
        if to.has_syslog()
            && let Some(mut system) = try_lock(&self.system)
        {
            system.send(line.severity, &line.text);
            is_written = true;
        }
        is_written
    }

    fn write(&self, line: &Line) {
        let to = Destination::from_code(self.to.load(Ordering::Relaxed));
        if to.has_stderr() {
            let since = (self.debug.load(Ordering::Relaxed) > 0).then(|| clock::now().since(self.started));
            let mut stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            stderr.send(&line.for_stderr(since));
        }
        if to.has_syslog() && is_wanted(line.severity, self.quiet.load(Ordering::Relaxed)) {
            self.system().send(line.severity, &line.text);
        }
    }
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Whether a line of this severity goes to the system log when `-q` was given so many times.
fn is_wanted(severity: Severity, quiet: u8) -> bool {
    let weight = match severity {
        Severity::LOG_DEBUG => 1,
        Severity::LOG_INFO => 2,
        Severity::LOG_NOTICE => 3,
        Severity::LOG_WARNING => 4,
        Severity::LOG_ERR | Severity::LOG_CRIT | Severity::LOG_ALERT | Severity::LOG_EMERG => u8::MAX,
    };
    weight > quiet
}

/// What `tracing` hands events to: where they go and how many of them can change at any time.
struct ToLog(&'static Log);

impl<S: Subscriber> Layer<S> for ToLog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.0.most()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.write(&Line::from_event(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    fn log(debug: u8, to: Destination, path: &Path) -> &'static Log {
        // As long as the program, as the one in a program is.
        Box::leak(Box::new(Log {
            debug: AtomicU8::new(debug),
            quiet: AtomicU8::new(0),
            to: AtomicU8::new(to.code()),
            started: Moment::START,
            stderr: Mutex::new(LineSink::new(io::stderr())),
            system: Mutex::new(SystemLog::new("test".into(), path)),
        }))
    }

    #[test]
    fn more_is_logged_the_more_debugging_is_asked_for() {
        use LevelFilter as Filter;
        let most = |debug| log(debug, Destination::Nowhere, Path::new("/no/such/socket")).most();
        let expected = [Filter::INFO, Filter::DEBUG, Filter::DEBUG, Filter::TRACE, Filter::TRACE];
        assert_eq!([0, 1, 2, 3, 4].map(most), expected);
    }

    #[test]
    fn how_much_and_where_to_can_change_while_logging() {
        let dir = Scratch::new();
        let path = dir.path("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let log = log(0, Destination::Syslog, &path);
        // One place in the code, so that what `tracing` remembers of it is put to the test.
        let say = |number: u8| tracing::debug!(number, "polled");
        let subscriber = tracing_subscriber::registry().with(ToLog(log));
        tracing::subscriber::with_default(subscriber, || {
            say(1);
            log.debug.store(1, Ordering::Relaxed);
            tracing::callsite::rebuild_interest_cache();
            say(2);
            log.to.store(Destination::Nowhere.code(), Ordering::Relaxed);
            say(3);
            log.to.store(Destination::Syslog.code(), Ordering::Relaxed);
            say(4);
            log.debug.store(0, Ordering::Relaxed);
            tracing::callsite::rebuild_interest_cache();
            say(5);
            tracing::info!("the end");
        });
        for end in ["polled number=2", "polled number=4", "the end"] {
            let mut buffer = [0; 200];
            let len = daemon.recv(&mut buffer).unwrap();
            let heard = String::from_utf8_lossy(&buffer[..len]);
            assert!(heard.ends_with(end), "{heard}");
        }
    }

    /// Also if it happens while a line is being written: who waits for himself waits for ever.
    #[test]
    fn a_panic_waits_for_no_lock() {
        let dir = Scratch::new();
        let path = dir.path("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let log = log(0, Destination::Syslog, &path);
        let line = || Line {
            level: tracing::Level::ERROR,
            severity: Severity::LOG_CRIT,
            text: "panic at somewhere".into(),
        };
        let writing = log.system();
        assert!(!log.try_write(&line()));
        drop(writing);
        assert!(log.try_write(&line()));
        let mut buffer = [0; 200];
        let len = daemon.recv(&mut buffer).unwrap();
        let heard = String::from_utf8_lossy(&buffer[..len]);
        assert!(heard.starts_with("<26>") && heard.ends_with(": panic at somewhere"), "{heard}");
    }

    #[test]
    fn the_systems_words_come_without_numbers() {
        let denied = io::Error::from_raw_os_error(13);
        assert_eq!(plain(&denied), "Permission denied");
        assert_eq!(plain(&nix::errno::Errno::EACCES), "Permission denied");
        let error = crate::files::read_limited(Path::new("/no/such/file"), 1).unwrap_err();
        assert_eq!(Chain(&error).to_string(), "cannot open /no/such/file: No such file or directory");
        for (text, expected) in [
            ("a (os error 2)", "a"),
            ("a (os error 2): b (os error 13) c", "a: b c"),
            ("a (os error x)", "a (os error x)"),
            ("a (os error )", "a (os error )"),
            ("a (os error 2", "a (os error 2"),
        ] {
            assert_eq!(without_numbers(text), expected);
        }
    }

    #[test]
    fn quiet_leaves_out_the_least_important_first_and_never_an_error() {
        use Severity::{LOG_CRIT, LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_NOTICE, LOG_WARNING};
        let kept = |quiet| {
            let all = [LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERR, LOG_CRIT];
            all.into_iter().filter(|severity| is_wanted(*severity, quiet)).count()
        };
        assert_eq!([0, 1, 2, 3, 4, 5, 7].map(kept), [6, 5, 4, 3, 2, 2, 2]);
    }

    #[test]
    fn destinations_keep_their_code_and_the_environment_chooses_one() {
        for to in [Destination::Stderr, Destination::Syslog, Destination::Both, Destination::Nowhere] {
            assert_eq!(Destination::from_code(to.code()), to);
        }
        for (value, to) in [
            (None, Destination::Syslog),
            (Some("default"), Destination::Syslog),
            (Some("stderr"), Destination::Stderr),
            (Some("none"), Destination::Nowhere),
        ] {
            assert_eq!(Destination::from_debug_syslog(value), to, "{value:?}");
        }
    }
}
