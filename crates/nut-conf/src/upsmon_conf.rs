//! `upsmon.conf`: what this host watches, and when it stops.

use nut_proto::names::{Secret, Target, UserName};
use std::time::Duration;

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
        }
    }
}

/// One `MONITOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Monitor {
    /// The UPS exactly as typed: what notices and scripts call it.
    pub system: String,
    /// The same, understood.
    pub target: Target,
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

/// A host's part in the shutdown of a UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `primary`, once `master`: commands the UPS, stops last.
    Primary,
    /// `secondary`, once `slave`: stops first.
    Secondary,
}

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
