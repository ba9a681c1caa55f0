//! `upsmon.conf`: what this host watches, and when it stops.

mod places;
mod settings;

use crate::directives::{Directive, Format, Reader, Row};
use crate::report::{as_meant, nearest, quoted};
use crate::values::{Line, MAX_NUMBER, names_no_ups, seconds};
use crate::{Diagnostic, Severity, Source};
use nut_proto::names::{Secret, Target, TargetError, UserName};
pub use nut_proto::net::Role;
use nut_proto::numbers::Number;
use nut_proto::words::truth;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

pub use places::{Origin, Places};
pub use settings::Setting;

/// All of `upsmon.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpsmonConf {
    /// `MONITOR`, in the file's order.
    pub monitors: Vec<Monitor>,
    /// `MINSUPPLIES`: how many supplies this host needs. 1 unless set.
    pub min_supplies: u32,
    /// `SHUTDOWNCMD`: the words; the first is a shell's text, further ones are its arguments.
    pub shutdown_command: Vec<String>,
    /// `SHUTDOWNEXIT`: how long after the command upsmon stays.
    pub shutdown_exit: ShutdownExit,
    /// `NOTIFYCMD`: the words; the first is the program, further ones its first arguments.
    pub notify_command: Vec<String>,
    /// `NOTIFYMSG`: texts that replace the default ones; type in upper case, the last line of a type counts.
    pub notify_messages: Vec<(NoticeKind, String)>,
    /// `NOTIFYFLAG`: channels that replace the default ones.
    pub notify_flags: Vec<(NoticeKind, Channels)>,
    /// `POLLFREQ`, 5 s unless set.
    pub poll_frequency: Duration,
    /// `POLLFREQALERT`: while a UPS is on battery or otherwise not well. 5 s unless set.
    pub poll_frequency_alert: Duration,
    /// `DEADTIME`: a UPS last heard on battery and silent for longer is dead. 15 s unless set.
    pub dead_time: Duration,
    /// `HOSTSYNC`: how long a primary waits for its secondaries. 15 s unless set.
    pub host_sync: Duration,
    /// `FINALDELAY`: between the last notice and the command. 5 s unless set.
    pub final_delay: Duration,
    /// `NOCOMMWARNTIME`: how often a UPS out of reach is told again. 300 s unless set.
    pub no_comm_warn_time: Duration,
    /// `RBWARNTIME`: how often a bad battery is told again. 43200 s unless set.
    pub replace_battery_warn_time: Duration,
    /// `POWERDOWNFLAG`: the file that tells the last script to cut the power.
    pub power_down_flag: Option<String>,
    /// `RUN_AS_USER`.
    pub run_as_user: Option<String>,
    /// `POLLFAIL_LOG_THROTTLE_MAX`: -1 log each failed poll, 0 only changes, n every n-th.
    pub poll_fail_log_throttle: i64,
    /// `OFFDURATION`: how long a UPS may be off before it counts as lost; `None`: never. 30 s unless set.
    pub off_duration: Option<Duration>,
    /// `OBLBDURATION`: how long low battery on battery is borne. 0 s unless set.
    pub low_battery_duration: Duration,
    /// `OVERDURATION`: how long overload is borne once out of reach; `None`: for ever, the default.
    pub overload_duration: Option<Duration>,
    /// `ALARMCRITICAL`: whether a UPS last heard in alarm and then out of reach counts as lost. On unless set.
    pub alarm_critical: bool,
    /// `CERTPATH`, `CERTVERIFY`, …: kept as written; TLS reads them.
    pub tls: Tls,
    /// `DEBUG_MIN`.
    pub debug_min: Option<u8>,
    /// Where in the file the values stand.
    pub places: Places,
}

impl Default for UpsmonConf {
    fn default() -> Self {
        Self {
            monitors: Vec::new(),
            min_supplies: 1,
            shutdown_command: Vec::new(),
            shutdown_exit: ShutdownExit::AtOnce,
            notify_command: Vec::new(),
            notify_messages: Vec::new(),
            notify_flags: Vec::new(),
            poll_frequency: Duration::from_secs(5),
            poll_frequency_alert: Duration::from_secs(5),
            dead_time: Duration::from_secs(15),
            host_sync: Duration::from_secs(15),
            final_delay: Duration::from_secs(5),
            no_comm_warn_time: Duration::from_secs(300),
            replace_battery_warn_time: Duration::from_secs(43_200),
            power_down_flag: None,
            run_as_user: None,
            poll_fail_log_throttle: -1,
            off_duration: Some(Duration::from_secs(30)),
            low_battery_duration: Duration::ZERO,
            overload_duration: None,
            alarm_critical: true,
            tls: Tls::default(),
            debug_min: None,
            places: Places::default(),
        }
    }
}

/// One `MONITOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// The UPS exactly as typed: what notices and scripts call it.
    pub system: String,
    /// The same, understood; or why it names no UPS. Such a one stays, as in NUT: out of reach for ever, and told so again
    /// and again. Without it a file that NUT starts with might not have enough power values to start with.
    pub target: Result<Target, TargetError>,
    /// How many of this host's supplies it feeds; 0: watch only.
    pub power_value: PowerValue,
    /// The user at `upsd`.
    pub user: UserName,
    /// Its password.
    pub password: Secret,
    /// This host's part.
    pub role: Role,
    /// Where the line stands.
    pub at: crate::Span,
}

/// How many of this host's supplies one UPS feeds (`MONITOR`'s second word); 0 means watch only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PowerValue(pub u32);

/// How long upsmon stays after it ran `SHUTDOWNCMD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownExit {
    /// `yes`: it exits at once.
    AtOnce,
    /// So long; it keeps its logins meanwhile.
    After(Duration),
    /// `no`: until it is stopped.
    Never,
}

/// Where a notice goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Channels {
    /// `SYSLOG`.
    pub syslog: bool,
    /// `WALL`.
    pub wall: bool,
    /// `EXEC`.
    pub exec: bool,
}

/// What upsmon tells people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words are NUT's; what each says stands in upsmon's table of notices")]
pub enum NoticeKind {
    Online,
    OnBatt,
    LowBatt,
    Fsd,
    CommOk,
    CommBad,
    Shutdown,
    ReplBatt,
    NoComm,
    NoParent,
    Cal,
    NotCal,
    Off,
    NotOff,
    Bypass,
    NotBypass,
    Eco,
    NotEco,
    Alarm,
    NotAlarm,
    Over,
    NotOver,
    Trim,
    NotTrim,
    Boost,
    NotBoost,
    Other,
    NotOther,
    SuspendStarting,
    SuspendFinished,
    ShutdownHostSync,
    SuspendTimeJump,
}

impl NoticeKind {
    /// Every kind, in NUT's order.
    pub const ALL: [Self; 32] = [
        Self::Online,
        Self::OnBatt,
        Self::LowBatt,
        Self::Fsd,
        Self::CommOk,
        Self::CommBad,
        Self::Shutdown,
        Self::ReplBatt,
        Self::NoComm,
        Self::NoParent,
        Self::Cal,
        Self::NotCal,
        Self::Off,
        Self::NotOff,
        Self::Bypass,
        Self::NotBypass,
        Self::Eco,
        Self::NotEco,
        Self::Alarm,
        Self::NotAlarm,
        Self::Over,
        Self::NotOver,
        Self::Trim,
        Self::NotTrim,
        Self::Boost,
        Self::NotBoost,
        Self::Other,
        Self::NotOther,
        Self::SuspendStarting,
        Self::SuspendFinished,
        Self::ShutdownHostSync,
        Self::SuspendTimeJump,
    ];

    /// The word that files and scripts use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::OnBatt => "ONBATT",
            Self::LowBatt => "LOWBATT",
            Self::Fsd => "FSD",
            Self::CommOk => "COMMOK",
            Self::CommBad => "COMMBAD",
            Self::Shutdown => "SHUTDOWN",
            Self::ReplBatt => "REPLBATT",
            Self::NoComm => "NOCOMM",
            Self::NoParent => "NOPARENT",
            Self::Cal => "CAL",
            Self::NotCal => "NOTCAL",
            Self::Off => "OFF",
            Self::NotOff => "NOTOFF",
            Self::Bypass => "BYPASS",
            Self::NotBypass => "NOTBYPASS",
            Self::Eco => "ECO",
            Self::NotEco => "NOTECO",
            Self::Alarm => "ALARM",
            Self::NotAlarm => "NOTALARM",
            Self::Over => "OVER",
            Self::NotOver => "NOTOVER",
            Self::Trim => "TRIM",
            Self::NotTrim => "NOTTRIM",
            Self::Boost => "BOOST",
            Self::NotBoost => "NOTBOOST",
            Self::Other => "OTHER",
            Self::NotOther => "NOTOTHER",
            Self::SuspendStarting => "SUSPEND_STARTING",
            Self::SuspendFinished => "SUSPEND_FINISHED",
            Self::ShutdownHostSync => "SHUTDOWN_HOSTSYNC",
            Self::SuspendTimeJump => "SUSPEND_TIMEJUMP_UNEXPECTED",
        }
    }

    /// The kind that is spelled so, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(text))
    }
}

impl std::fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the file says about TLS, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `CERTPATH`.
    pub cert_path: Option<String>,
    /// `CERTFILE`.
    pub cert_file: Option<String>,
    /// `CERTIDENT`.
    pub cert_ident: Option<(String, Secret)>,
    /// `CERTVERIFY`.
    pub verify: bool,
    /// `FORCESSL`.
    pub force: bool,
    /// `CERTHOST`: host, certificate name, verify, force.
    pub hosts: Vec<(String, String, bool, bool)>,
}

/// Every directive of the file.
pub static TABLE: &[Row] = &[
    Row::new(
        "MONITOR",
        "<system> <power value> <user> <password> <role>",
        "a UPS this host watches, how many of its supplies it feeds, and this host's part: primary or secondary",
        "none",
        "2.0",
        "MONITOR apc@localhost 1 upsmon PASSWORD primary",
    )
    .repeats()
    .without(UNWATCHED),
    Row::new(
        "MINSUPPLIES",
        "<number>",
        "how many supplies this host needs; below that it stops",
        "1",
        "2.0",
        "MINSUPPLIES 1",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "SHUTDOWNCMD",
        "<command> [<argument> ...]",
        "the command that stops this host; its first word is a shell's text",
        "nothing: this host cannot be stopped",
        "2.0",
        "SHUTDOWNCMD \"/sbin/shutdown -h +0\"",
    ),
    Row::new(
        "SHUTDOWNEXIT",
        "yes|no|<seconds>",
        "how long upsmon stays after SHUTDOWNCMD, still logged in; no, or a negative number: until it is stopped",
        "yes: not at all",
        "2.8.1",
        "SHUTDOWNEXIT yes",
    ),
    Row::new(
        "NOTIFYCMD",
        "<program> [<argument> ...]",
        "the program that gets notices with EXEC, as its last argument",
        "nothing: no program is told",
        "2.0",
        "NOTIFYCMD /sbin/upssched",
    ),
    Row::new(
        "NOTIFYMSG",
        "<type> <text>",
        "what a notice says; %s is the UPS",
        "a text for each type",
        "2.0",
        "NOTIFYMSG ONBATT \"UPS %s on battery\"",
    )
    .repeats()
    .without("the line is left out; the notice keeps its text"),
    Row::new(
        "NOTIFYFLAG",
        "<type> <flag>[+<flag> ...]",
        "where a notice goes: SYSLOG, WALL, EXEC, or IGNORE",
        "SYSLOG+WALL",
        "2.0",
        "NOTIFYFLAG ONBATT SYSLOG+WALL+EXEC",
    )
    .repeats()
    .without("the line is left out; the notice goes where it went"),
    Row::new("POLLFREQ", "<seconds>", "time between two polls", "5 s", "2.0", "POLLFREQ 5").numbers(1, MAX_NUMBER),
    Row::new(
        "POLLFREQALERT",
        "<seconds>",
        "time between two polls while a UPS is on battery or otherwise not well",
        "5 s",
        "2.0",
        "POLLFREQALERT 5",
    ).numbers(1, MAX_NUMBER),
    Row::new(
        "DEADTIME",
        "<seconds>",
        "how long a UPS last heard on battery may be silent before it counts as dead",
        "15 s",
        "2.0",
        "DEADTIME 15",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "HOSTSYNC",
        "<seconds>",
        "how long a primary waits for its secondaries to log out, and a secondary with low battery for its primary",
        "15 s",
        "2.0",
        "HOSTSYNC 15",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "FINALDELAY",
        "<seconds>",
        "time between the last notice and SHUTDOWNCMD",
        "5 s",
        "2.0",
        "FINALDELAY 5",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "NOCOMMWARNTIME",
        "<seconds>",
        "how often a UPS out of reach is told again",
        "300 s",
        "2.0",
        "NOCOMMWARNTIME 300",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "RBWARNTIME",
        "<seconds>",
        "how often a battery that needs replacing is told again",
        "43200 s",
        "2.0",
        "RBWARNTIME 43200",
    ).numbers(0, MAX_NUMBER),
    Row::new(
        "POWERDOWNFLAG",
        "<file>",
        "the file that tells the last script to have the UPS cut its power",
        "none: the UPS is not told",
        "2.0",
        "POWERDOWNFLAG /etc/killpower",
    ),
    Row::new(
        "RUN_AS_USER",
        "<user>",
        "whom the half that reads the network runs as",
        "nut",
        "2.0",
        "RUN_AS_USER nut",
    ),
    Row::new(
        "POLLFAIL_LOG_THROTTLE_MAX",
        "<number>",
        "which failed polls are logged: -1 all, 0 only changes, n every n-th",
        "-1",
        "2.8.1",
        "POLLFAIL_LOG_THROTTLE_MAX 100",
    ).numbers(-1, MAX_NUMBER - 1),
    Row::new(
        "OFFDURATION",
        "<seconds>",
        "how long a UPS may say OFF before it counts as lost; negative: for ever",
        "30 s",
        "2.8.1",
        "OFFDURATION 30",
    ).numbers(-MAX_NUMBER, MAX_NUMBER),
    Row::new(
        "OBLBDURATION",
        "<seconds>",
        "how long low battery on battery is borne; negative: as 0",
        "0 s",
        "2.8.3",
        "OBLBDURATION 0",
    ).numbers(-MAX_NUMBER, MAX_NUMBER),
    Row::new(
        "OVERDURATION",
        "<seconds>",
        "how long overload is borne once the UPS is out of reach; negative: for ever",
        "-1",
        "2.8.3",
        "OVERDURATION -1",
    ).numbers(-MAX_NUMBER, MAX_NUMBER),
    Row::new(
        "ALARMCRITICAL",
        "0|1",
        "whether a UPS last heard in alarm and then out of reach counts as lost",
        "1",
        "2.8.3",
        "ALARMCRITICAL 1",
    )
    .idle("one lost poll is no power failure here, in alarm or not"),
    Row::new(
        "CERTPATH",
        "<path>",
        "the certificates of the authorities that servers are checked against",
        "none",
        "2.0",
        "CERTPATH /etc/nut/certs",
    ),
    Row::new(
        "CERTFILE",
        "<file>",
        "this client's certificate chain and key",
        "none",
        "2.8.6",
        "CERTFILE /etc/nut/upsmon.pem",
    ),
    Row::new(
        "CERTIDENT",
        "<name> <password>",
        "the name of this client's certificate and the password of its key",
        "none",
        "2.7.1",
        "CERTIDENT upsmon PASSWORD",
    ),
    Row::new(
        "CERTHOST",
        "<host> <certificate> <verify> <force>",
        "what is expected of one server, instead of CERTVERIFY and FORCESSL",
        "none",
        "2.7.1",
        "CERTHOST upsd.example.org \"UPS server\" 0 0",
    )
    .repeats(),
    Row::new("CERTVERIFY", "0|1", "whether servers' certificates are checked", "0", "2.0", "CERTVERIFY 0"),
    Row::new("FORCESSL", "0|1", "whether only encrypted connections will do", "0", "2.0", "FORCESSL 0"),
    Row::new("DEBUG_MIN", "<level>", "least debug level", "0", "2.8.0", "DEBUG_MIN 0").numbers(0, MAX_NUMBER).any_case(),
];

/// What follows from a `MONITOR` line that cannot be used.
const UNWATCHED: &str = "this UPS is not watched: a power failure there will not stop this host";

static FORMAT: Format =
    Format { table: TABLE, sections: false, secrets: Some(secrets), mends: Some(may_be_mended) };

/// A command, a text or a role whose quote is not closed is surely what stands on its line. A `MONITOR` with too few words
/// is not, and must not count as one of times without users, which ends the start.
fn may_be_mended(words: &[&str]) -> bool {
    words.first() != Some(&"MONITOR") || words.len() > 5
}

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (UpsmonConf, Vec<Diagnostic>) {
    parse_onto(UpsmonConf::default(), HashMap::new(), source)
}

/// Reads the file while upsmon runs: a directive that it does not name keeps its value, as in NUT.
///
/// `MONITOR` lines are those of the file alone, but a role that is none leaves the UPS the one it has; `POLLFAIL_LOG_THROTTLE_MAX` and `DEBUG_MIN` go back to their defaults.
#[must_use]
pub fn parse_again(running: &UpsmonConf, source: Source<'_>) -> (UpsmonConf, Vec<Diagnostic>) {
    let fresh = UpsmonConf::default();
    let mut base = UpsmonConf {
        monitors: fresh.monitors,
        poll_fail_log_throttle: fresh.poll_fail_log_throttle,
        debug_min: fresh.debug_min,
        ..running.clone()
    };
    base.places.forget("POLLFAIL_LOG_THROTTLE_MAX");
    base.places.forget("DEBUG_MIN");
    let roles = running.monitors.iter().map(|line| (line.system.clone(), line.role)).collect();
    parse_onto(base, roles, source)
}

fn parse_onto(
    base: UpsmonConf,
    roles: HashMap<String, Role>,
    source: Source<'_>,
) -> (UpsmonConf, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut reading = Reading { conf: base, roles, ..Reading::default() };
    reading.conf.places.begin(source.path);
    while let Some(directive) = reader.next(&mut report) {
        if let Some(mut line) = Line::new(&directive, &mut report)
            && reading.take(&mut line).is_some()
        {
            reading.note_place(&line);
        }
    }
    let Reading { mut conf, cert_hosts, dead_time_at, .. } = reading;
    let inherited = |own: Option<bool>, general| own.unwrap_or(general);
    conf.places.replace_kept("CERTHOST");
    if !cert_hosts.is_empty() {
        conf.tls.hosts = cert_hosts
            .into_iter()
            .map(|(host, name, verify, force)| {
                (host, name, inherited(verify, conf.tls.verify), inherited(force, conf.tls.force))
            })
            .collect();
    }
    if conf.dead_time <= conf.poll_frequency_alert {
        let what = format!(
            "DEADTIME ({} s) is not longer than POLLFREQALERT ({} s)",
            conf.dead_time.as_secs(),
            conf.poll_frequency_alert.as_secs()
        );
        let why = "a single lost poll of a UPS on battery stops this host";
        let advice = "let DEADTIME be at least three times POLLFREQALERT";
        match dead_time_at {
            Some(directive) => report.add(Severity::Warning, &directive, 0, &what, why, advice),
            None => report.file(Severity::Warning, &what, why, advice),
        }
    }
    (conf, report.finish())
}

/// A `CERTHOST`: host, certificate, verify, force; `None` is as for all others.
type CertHost = (String, String, Option<bool>, Option<bool>);

/// The file as far as it was read.
#[derive(Debug, Default)]
struct Reading {
    conf: UpsmonConf,
    /// The roles that UPSes have while this is read.
    roles: HashMap<String, Role>,
    /// The systems of `MONITOR` as typed.
    systems: HashSet<String>,
    /// The same as places, however they are spelled.
    targets: HashSet<String>,
    cert_hosts: Vec<CertHost>,
    dead_time_at: Option<Directive>,
}

impl Reading {
    /// Takes one line; `None` if it was left out, which is told.
    fn take(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        let conf = &mut self.conf;
        match line.row.name {
            "MONITOR" => return self.monitor(line),
            "NOTIFYMSG" => {
                line.takes(2, 2)?;
                let kind = notice(line)?;
                replace(&mut conf.notify_messages, kind, line.value(2).to_owned());
            }
            "NOTIFYFLAG" => {
                line.takes(2, 2)?;
                let kind = notice(line)?;
                replace(&mut conf.notify_flags, kind, channels(line, kind));
            }
            "SHUTDOWNCMD" => {
                line.takes(1, usize::MAX)?;
                if line.value(1).trim().is_empty() {
                    return line.left_out(1, "SHUTDOWNCMD is empty");
                }
                conf.shutdown_command = line.values(1).map(str::to_owned).collect();
            }
            "NOTIFYCMD" => conf.notify_command = program(line)?,
            "CERTIDENT" => {
                line.takes(2, 2)?;
                conf.tls.cert_ident = Some((line.value(1).to_owned(), Secret::new(line.value(2))));
            }
            "CERTHOST" => {
                line.takes(4, 4)?;
                let verify = inheritable(line, 3)?;
                let force = inheritable(line, 4)?;
                self.cert_hosts.push((line.value(1).to_owned(), line.value(2).to_owned(), verify, force));
            }
            _ => return self.simple(line),
        }
        Some(())
    }

    /// Notes where a line stands that was used. `MONITOR` lines know it themselves.
    fn note_place(&mut self, line: &Line<'_, '_>) {
        let (name, at) = (line.row.name, line.directive.at);
        let places = &mut self.conf.places;
        match name {
            "MONITOR" => {}
            "NOTIFYMSG" | "NOTIFYFLAG" => {
                if let Some(kind) = NoticeKind::from_text(line.value(1)) {
                    places.note(name, kind.as_str(), at);
                }
            }
            "CERTHOST" => places.note(name, line.value(1), at),
            _ => places.note(name, "", at),
        }
    }

    /// The directives of one value.
    fn simple(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        line.takes(1, 1)?;
        let conf = &mut self.conf;
        let text = || line.value(1).to_owned();
        match line.row.name {
            "MINSUPPLIES" => conf.min_supplies = u32::try_from(line.ranged(1)?).ok()?,
            "SHUTDOWNEXIT" => conf.shutdown_exit = shutdown_exit(line),
            // 0 makes NUT poll without a pause.
            "POLLFREQ" => conf.poll_frequency = seconds(line.ranged(1)?),
            "POLLFREQALERT" => conf.poll_frequency_alert = seconds(line.ranged(1)?),
            "DEADTIME" => {
                conf.dead_time = seconds(line.ranged(1)?);
                self.dead_time_at = Some(line.directive.clone());
            }
            "HOSTSYNC" => conf.host_sync = seconds(line.ranged(1)?),
            "FINALDELAY" => conf.final_delay = seconds(line.ranged(1)?),
            "NOCOMMWARNTIME" => conf.no_comm_warn_time = seconds(line.ranged(1)?),
            "RBWARNTIME" => conf.replace_battery_warn_time = seconds(line.ranged(1)?),
            "POWERDOWNFLAG" => conf.power_down_flag = Some(text()),
            "RUN_AS_USER" => conf.run_as_user = Some(text()),
            "POLLFAIL_LOG_THROTTLE_MAX" => conf.poll_fail_log_throttle = line.ranged(1)?,
            "OFFDURATION" => {
                let duration = line.ranged(1)?;
                conf.off_duration = (duration >= 0).then(|| seconds(duration));
            }
            "OBLBDURATION" => conf.low_battery_duration = seconds(line.ranged(1)?),
            "OVERDURATION" => {
                let duration = line.ranged(1)?;
                conf.overload_duration = (duration >= 0).then(|| seconds(duration));
            }
            "ALARMCRITICAL" => conf.alarm_critical = line.only_one(1)?,
            "CERTPATH" => conf.tls.cert_path = Some(text()),
            "CERTFILE" => conf.tls.cert_file = Some(text()),
            "CERTVERIFY" => {
                conf.tls.verify = line.only_one(1)?;
            }
            "FORCESSL" => {
                conf.tls.force = line.only_one(1)?;
            }
            "DEBUG_MIN" => conf.debug_min = Some(line.debug_level(1)?),
            other => debug_assert!(false, "nothing reads {other}"),
        }
        Some(())
    }

    fn monitor(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        let system = line.value(1);
        if line.count() == 4 && system != "=" {
            four_words(line);
            return None;
        }
        line.takes(5, 5)?;
        let target = system.parse::<Target>();
        if let Err(error) = target {
            let why = "it is told lost again and again, and its failure will not stop this host";
            line.warn(1, &names_no_ups(system, error), why, &format!("write: {}", line.row.write));
        }
        let power_value = power_value(line)?;
        let role = role(line, self.roles.get(system).copied());
        if !self.systems.insert(system.to_owned()) {
            let what = format!("{} is watched already", quoted(system));
            line.warn(1, &what, "this line is left out; the first one counts", "");
            return None;
        }
        // Host names know no case, and upsd takes UPS names without it.
        let place = |target: &Target| target.to_string().to_ascii_lowercase();
        if target.as_ref().is_ok_and(|target| !self.targets.insert(place(target))) {
            let what = format!("{} is watched already, under another spelling", quoted(system));
            line.warn(1, &what, "its power value counts twice, and this host logs in to it twice", "");
        }
        self.conf.monitors.push(Monitor {
            system: system.to_owned(),
            target,
            power_value,
            user: UserName::new(line.value(3)),
            password: Secret::new(line.value(4)),
            role,
            at: line.directive.at,
        });
        Some(())
    }
}

/// Replaces what was said of a kind of notice, or adds it.
fn replace<T>(list: &mut Vec<(NoticeKind, T)>, kind: NoticeKind, value: T) {
    match list.iter_mut().find(|(other, _)| *other == kind) {
        Some((_, old)) => *old = value,
        None => list.push((kind, value)),
    }
}

/// `MONITOR` as before NUT 1.5, without a user; or with one, but without a role.
fn four_words(line: &mut Line<'_, '_>) {
    let (system, power) = (line.value(1), line.value(2));
    // Words of the line are repeated only where they surely are what they should be, and no password.
    let is_usual = Number::read(power) != Number::Missing && run_together(line.values(1)).is_none();
    let advice = match role_like(line.value(4)) {
        _ if !is_usual => format!("write: {}", line.row.write),
        Some(role) => {
            format!("write: MONITOR {system} {power} USER PASSWORD {role}, with a user of upsd.users")
        }
        None => format!("write: MONITOR {system} {power} {} PASSWORD primary", line.value(3)),
    };
    line.report.add(Severity::Error, line.directive, 0, "MONITOR takes 5 words, found 4", UNWATCHED, &advice);
}

/// The first of these that quotes in the wrong places may have made of several words, a password among them.
fn run_together<'w>(mut words: impl Iterator<Item = &'w str>) -> Option<usize> {
    words.position(|word| word.contains([' ', '"']))
}

/// A whole number of supplies. NUT reads what is no number as 0.
fn power_value(line: &mut Line<'_, '_>) -> Option<PowerValue> {
    let text = line.value(2);
    let (value, odd) = match Number::read(text) {
        Number::Whole(value) => (value, false),
        Number::Prefix(value) => (value, true),
        Number::Missing => (0, true),
    };
    let Ok(value) = u32::try_from(value) else {
        return line.left_out(2, &format!("the power value cannot be {}", quoted(text)));
    };
    if odd {
        let why = match value {
            0 => "it counts as 0, as in NUT: this UPS is watched, but its failure will not stop this host"
                .to_owned(),
            value => format!("{value} is used, as in NUT"),
        };
        line.warn(
            2,
            "the power value is no number",
            &why,
            "write how many of this host's supplies this UPS feeds",
        );
    }
    Some(PowerValue(value))
}

/// The fifth value. NUT takes whatever it does not know for a secondary, or, at a reload, for the role it has.
fn role(line: &mut Line<'_, '_>, running: Option<Role>) -> Role {
    let text = line.value(5);
    if let Some(role) = Role::from_text(text) {
        return role;
    }
    // Not quoted unless it looks like a role: it may be the rest of a password with a blank in it.
    let what = match role_like(text) {
        Some(role) => format!("{} is no role; did you mean {role}?", quoted(text)),
        None => "the fifth word is no role".to_owned(),
    };
    let why = match running {
        None => "this host counts as a secondary, as in NUT: it will not command this UPS",
        Some(Role::Secondary) => "this host stays a secondary, as in NUT",
        Some(Role::Primary) => "this host stays a primary, as in NUT",
    };
    line.warn(
        5,
        &what,
        why,
        "write primary or secondary; a password with a blank or an equals sign needs quotes",
    );
    running.unwrap_or(Role::Secondary)
}

fn role_like(text: &str) -> Option<&'static str> {
    nearest(text, Role::WORDS.into_iter())
}

/// The type of notice that a line begins with.
fn notice(line: &mut Line<'_, '_>) -> Option<NoticeKind> {
    let text = line.value(1);
    let kind = NoticeKind::from_text(text);
    if kind.is_none() {
        let what = format!("{} is no type of notice", quoted(text));
        let advice = nearest(text, NoticeKind::ALL.into_iter().map(NoticeKind::as_str))
            .map_or_else(|| format!("write: {}", line.row.write), |near| format!("did you mean {near}?"));
        line.warn(1, &what, line.row.without, &advice);
    }
    kind
}

/// The flags of a `NOTIFYFLAG`. They replace those there were, even if none of them is known; case counts, as in NUT.
fn channels(line: &mut Line<'_, '_>, kind: NoticeKind) -> Channels {
    let text = line.value(2);
    let mut channels = Channels::default();
    let mut ignore = false;
    for flag in text.split('+').filter(|flag| !flag.is_empty()) {
        match flag {
            "SYSLOG" => channels.syslog = true,
            "WALL" => channels.wall = true,
            "EXEC" => channels.exec = true,
            "IGNORE" => ignore = true,
            other => {
                let advice = nearest(other, ["SYSLOG", "WALL", "EXEC", "IGNORE"].into_iter()).map_or_else(
                    || "write: SYSLOG, WALL, EXEC or IGNORE".to_owned(),
                    |near| format!("write: {near}"),
                );
                let what = format!("{} is no flag", quoted(other));
                line.warn(2, &what, "the other flags of the line count", &advice);
            }
        }
    }
    if ignore && channels != Channels::default() {
        line.warn(
            2,
            "IGNORE stands beside other flags",
            "it wins: the notice goes nowhere",
            "leave one of them out",
        );
        channels = Channels::default();
    } else if !ignore && channels == Channels::default() {
        let what = format!("no flag of the line is known, so {kind} goes nowhere");
        line.warn(
            2,
            &what,
            "a NOTIFYFLAG replaces all flags there were, as in NUT",
            "write: IGNORE, if that is meant",
        );
    }
    channels
}

/// A program and its first arguments.
pub(crate) fn program(line: &mut Line<'_, '_>) -> Option<Vec<String>> {
    let name = line.row.name;
    line.takes(1, usize::MAX)?;
    let words: Vec<String> = line.values(1).map(str::to_owned).collect();
    let program = line.value(1);
    if program.trim().is_empty() {
        return line.left_out(1, &format!("{name} is empty"));
    }
    if program.contains(' ') {
        let plain = |c: char| c.is_ascii_alphanumeric() || " /._-+@:,%".contains(c);
        let advice = if program.chars().all(plain) {
            let parts =
                program.split_ascii_whitespace().chain(line.values(2)).map(|part| format!("\"{part}\""));
            format!("write: {name} {}", parts.collect::<Vec<_>>().join(" "))
        } else {
            String::new()
        };
        let what = format!("the program of {name} has a blank in its name");
        if words.len() == 1 {
            let why = "unless there is a program of that very name, a shell reads it, as in NUT up to 2.8.5";
            line.note(1, &what, why, &advice);
        } else {
            let why = "with words behind it no shell reads it: the whole is taken for the name of a program";
            line.warn(1, &what, why, &advice);
        }
    }
    Some(words)
}

fn shutdown_exit(line: &mut Line<'_, '_>) -> ShutdownExit {
    let text = line.value(1);
    // Numbers first: 1 is a second here, not "yes"; 0 is the same either way.
    if let Number::Whole(value) = Number::read(text) {
        return match value {
            ..0 => ShutdownExit::Never,
            0 => ShutdownExit::AtOnce,
            value => ShutdownExit::After(seconds(value.min(MAX_NUMBER))),
        };
    }
    match truth(text) {
        Some(true) => ShutdownExit::AtOnce,
        Some(false) => ShutdownExit::Never,
        None => {
            let what = format!("SHUTDOWNEXIT takes yes, no or seconds, found {}", quoted(text));
            line.warn(1, &what, "it counts as yes, as in NUT", "write: SHUTDOWNEXIT yes");
            ShutdownExit::AtOnce
        }
    }
}

/// `-1`: as for all other hosts; otherwise as [`Line::only_one`].
fn inheritable(line: &mut Line<'_, '_>, nth: usize) -> Option<Option<bool>> {
    if line.value(nth) == "-1" { Some(None) } else { line.only_one(nth).map(Some) }
}

/// The passwords of `MONITOR` and `CERTIDENT`, also where words are missing or too many.
fn secrets(words: &[&str]) -> Range<usize> {
    let end = words.len();
    let last_is_role = words.last().is_some_and(|word| role_like(word).is_some());
    let before_role = if last_is_role { end - 1 } else { end };
    let is_number = |nth: usize| words.get(nth).is_some_and(|word| Number::read(word) != Number::Missing);
    let run_together = run_together(words.iter().skip(1).copied());
    match (words.first(), end) {
        (Some(&"MONITOR"), 6) if words.last().is_some_and(|word| Role::from_text(word).is_some()) => 4..5,
        // With a word missing before it, the password is the third one behind the name.
        (Some(&"MONITOR"), 6..) => (if is_number(2) { 4 } else { 3 })..before_role,
        (Some(&"MONITOR"), _) if run_together.is_some() => run_together.map_or(end, |nth| nth + 1)..end,
        (Some(&"MONITOR"), 5) if last_is_role => 3..4,
        (Some(&"MONITOR"), 5) => (if is_number(2) { 4 } else { 3 })..5,
        (Some(&"MONITOR"), _) => (if is_number(2) { 3 } else { 2 })..before_role,
        // With a single word behind it, name and password have run into one.
        (Some(&"CERTIDENT"), _) => (if end > 2 { 2 } else { 1 })..end,
        (Some(name), _) if TABLE.iter().any(|row| row.is(name)) => 0..0,
        _ => as_meant(words, TABLE, secrets),
    }
}

#[cfg(test)]
mod tests;
