//! The log: what happened, as text with facts in fields, to standard error or the system log.
//!
//! `tracing` events go through here. Text from devices and the wire is made harmless (control characters are escaped)
//! and cut at [`MAX_TEXT`]. The system log is the datagram socket `/dev/log`, spoken to directly: a log daemon that
//! hangs must not hang us, so after one short wait further messages are dropped, counted, and the count is logged.
//!
//! | event | stderr | system log |
//! |---|---|---|
//! | `error!` | text | ERR |
//! | `warn!` | text | WARNING |
//! | `info!` | text | INFO |
//! | [`notice!`](crate::notice), [`crit!`](crate::crit), [`alert!`](crate::alert) | text | NOTICE, CRIT, ALERT |
//! | `debug!`, with `-D` | `[D1] ` text | DEBUG |
//! | `trace!`, with `-DDD` | `[D3] ` text | DEBUG |

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nut_proto::Moment;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::clock;

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

    const fn has_syslog(self) -> bool {
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
    let log = LOG.get_or_init(|| Log {
        debug: AtomicU8::new(debug),
        to: AtomicU8::new(to.code()),
        started: clock::now(),
        syslog: Mutex::new(Syslog::new(program, Path::new("/dev/log"))),
    });
    // Somebody else's subscriber can only be there in a test.
    let _ = tracing::subscriber::set_global_default(Forward(log));
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
            log.syslog().connect();
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

/// An error with all that led to it, joined by `: `, as in `cannot open /etc/nut/ups.conf: Permission denied`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    debug: AtomicU8,
    to: AtomicU8,
    started: Moment,
    syslog: Mutex<Syslog>,
}

impl Log {
    fn syslog(&self) -> std::sync::MutexGuard<'_, Syslog> {
        self.syslog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self) -> LevelFilter {
        match self.debug.load(Ordering::Relaxed) {
            0 => LevelFilter::INFO,
            1 | 2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        }
    }

    fn write(&self, line: &Line) {
        let to = Destination::from_code(self.to.load(Ordering::Relaxed));
        if to.has_stderr() {
            let since = (self.debug.load(Ordering::Relaxed) > 0).then(|| clock::now().since(self.started));
            // With standard error gone there is nobody left to tell.
            let _ = io::stderr().write_all(line.for_stderr(since).as_bytes());
        }
        if to.has_syslog() {
            self.syslog().send(line.priority, &line.text);
        }
    }
}

/// What `tracing` hands events to. There are no spans in this project, so none are kept.
struct Forward(&'static Log);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.0.most()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most())
    }

    fn event(&self, event: &Event<'_>) {
        self.0.write(&Line::from_event(event));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// One line to be logged.
struct Line {
    level: Level,
    priority: Priority,
    text: String,
}

impl Line {
    fn from_event(event: &Event<'_>) -> Self {
        let level = *event.metadata().level();
        let mut fields = Fields { message: String::new(), rest: String::new(), priority: None };
        event.record(&mut fields);
        let text = harmless(&(fields.message + &fields.rest));
        Self { level, priority: fields.priority.unwrap_or(Priority::of(level)), text }
    }

    /// As NUT writes it: with debugging on, each line begins with the seconds since the start.
    fn for_stderr(&self, since_start: Option<Duration>) -> String {
        let mut line = String::with_capacity(self.text.len() + 24);
        if let Some(since) = since_start {
            // Cannot fail: it is a String.
            let _ = write!(line, "{:4}.{:06}\t", since.as_secs(), since.subsec_micros());
        }
        match self.level {
            Level::DEBUG => line.push_str("[D1] "),
            Level::TRACE => line.push_str("[D3] "),
            _ => {}
        }
        line.push_str(&self.text);
        line.push('\n');
        line
    }
}

/// Control characters escaped, at most [`MAX_TEXT`] bytes.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for c in text.chars() {
        if out.len() >= MAX_TEXT - 16 {
            out.push_str("...");
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// The message, and ` key=value` for each other field.
struct Fields {
    message: String,
    rest: String,
    priority: Option<Priority>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "syslog" => self.priority = Priority::named(value),
            name => {
                self.rest.push(' ');
                self.rest.push_str(name);
                self.rest.push('=');
                let bare = !value.is_empty() && !value.contains(' ') || value.contains('"');
                if bare {
                    self.rest.push_str(value);
                } else {
                    self.rest.extend(["\"", value, "\""]);
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, &Chain(value).to_string());
    }
}

/// How urgent, as the system log counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Priority {
    fn of(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Err,
            Level::WARN => Self::Warning,
            Level::INFO => Self::Info,
            _ => Self::Debug,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "alert" => Self::Alert,
            "crit" => Self::Crit,
            "err" => Self::Err,
            "warning" => Self::Warning,
            "notice" => Self::Notice,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }

    /// The number at the head of a message: facility daemon (3), times eight, plus this.
    const fn number(self) -> u8 {
        3 * 8
            + match self {
                Self::Alert => 1,
                Self::Crit => 2,
                Self::Err => 3,
                Self::Warning => 4,
                Self::Notice => 5,
                Self::Info => 6,
                Self::Debug => 7,
            }
    }
}

/// The system log's socket, connected to when first needed and again after the log daemon was restarted.
struct Syslog {
    program: String,
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// The log daemon let a message wait in vain; until it takes one again nobody waits for it.
    stalled: bool,
    lost: u64,
}

impl Syslog {
    /// How long one message may wait for a log daemon that is busy.
    const PATIENCE: Duration = Duration::from_millis(100);

    fn new(program: String, path: &Path) -> Self {
        Self { program, path: path.to_path_buf(), socket: None, stalled: false, lost: 0 }
    }

    fn connect(&mut self) {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(Self::PATIENCE))?;
            socket.set_nonblocking(self.stalled)?;
            Ok::<_, io::Error>(socket)
        };
        if let Ok(socket) = connect() {
            self.socket = Some(socket);
        }
    }

    fn send(&mut self, priority: Priority, text: &str) {
        if self.lost > 0 {
            let lost = format!("{} messages are missing here: the system log did not take them", self.lost);
            if self.try_send(Priority::Warning, &lost) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.try_send(priority, text) {
            self.lost += 1;
        }
    }

    fn try_send(&mut self, priority: Priority, text: &str) -> bool {
        if self.socket.is_none() {
            self.connect();
        }
        let message = self.message(priority, text);
        let mut sent = self.send_bytes(&message);
        if let Err(error) = &sent
            && !is_full(error)
        {
            // The log daemon was restarted: its old socket is dead, its new one is at the same place.
            self.connect();
            sent = self.send_bytes(&message);
        }
        let stalled = sent.as_ref().is_err_and(is_full);
        if stalled != self.stalled {
            self.stalled = stalled;
            if let Some(socket) = &self.socket
                && socket.set_nonblocking(stalled).is_err()
            {
                self.socket = None;
            }
        }
        sent.is_ok()
    }

    fn send_bytes(&self, message: &str) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.send(message.as_bytes()).map(drop)
    }

    /// `<30>Jan  2 03:04:05 upsd[678]: text`, as RFC 3164 and the C library have it.
    fn message(&self, priority: Priority, text: &str) -> String {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let time = clock::wall().local();
        let month = MONTHS.get(usize::from(time.month).saturating_sub(1)).unwrap_or(&"Jan");
        let clock = format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
        let (number, day, pid) = (priority.number(), time.day, std::process::id());
        format!("<{number}>{month} {day:2} {clock} {}[{pid}]: {text}", self.program)
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests;
