//! What upsmon logs besides its notices: one place for the texts, most of them NUT's, which scripts match on.
//!
//! A machine does not log; it says [`Remark`], and the shell logs it at its [`Level`].

use nut_client::Step;
use nut_conf::upsmon_conf::{self, PowerValue, Role};
use std::fmt;
use std::time::Duration;

use crate::link::FromParent;
use crate::server::Failure;
use crate::verdict::Reason;
use crate::watch::{Cause, Note, whole_secs};

/// What is said in the log and on every terminal before the host stops.
pub const EXECUTING: &str = "Executing automatic power-fail shutdown";

/// How much a remark matters, as syslog counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "syslog's own words")]
pub enum Level {
    Alert,
    Crit,
    Error,
    Warning,
    Notice,
    Info,
}

/// What changed in a `MONITOR` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redefined {
    /// `redefined power value to N`.
    PowerValue(PowerValue),
    /// `redefined username`.
    Username,
    /// `redefined password`.
    Password,
    /// `redefined as a primary`, `… a secondary`.
    Role(Role),
}

/// How often a poll that goes on to fail is logged (`POLLFAIL_LOG_THROTTLE_MAX`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Not again.
    Never,
    /// Every so many polls; and how long that takes at present.
    Every(u64, Duration),
}

/// The number of no failure, in NUT's words.
pub(crate) const NO_FAILURE: i32 = -1;

/// What is worth a line in the log. `ups` is the UPS as `MONITOR` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what the texts below show")]
pub enum Remark {
    /// A UPS is watched from now on.
    Watching { ups: Box<str>, role: Role, power_value: PowerValue },
    /// The same UPS twice.
    Duplicate { ups: Box<str> },
    /// A reload has removed it.
    NotWatching { ups: Box<str> },
    /// A reload has changed its line.
    Changed { ups: Box<str>, what: Redefined },
    /// Not logged in and with other credentials now.
    Retrying { ups: Box<str> },
    /// A poll failed.
    PollFailed { monitor: Box<upsmon_conf::Monitor>, failure: Failure },
    /// It is another failure than before, or the first: which of the further ones are logged.
    FailureChanged { ups: Box<str>, from: i32, to: i32, again: Again },
    /// Polls do not fail any more.
    Recovered { ups: Box<str>, from: i32 },
    /// Logging in failed.
    LoginFailed { ups: Box<str>, step: Step, line: String },
    /// Logged in after that had failed.
    LoggedIn { ups: Box<str> },
    /// A UPS does not count as a supply any more.
    Condemned { ups: Box<str>, cause: Cause },
    /// It counts again.
    Absolved { ups: Box<str>, cause: Cause },
    /// A secondary does not wait any longer for its primary.
    GivingUp { ups: Box<str>, waited: Duration },
    /// What a watch wants to be noted.
    Watch { ups: Box<str>, note: Note },
    /// The decision.
    ShuttingDown { reason: Reason },
    /// SIGUSR1.
    FsdSignal { signal: i32 },
    /// FSD could not be set.
    FsdFailed { ups: Box<str>, failure: Failure },
    /// `HOSTSYNC` is over and secondaries are still logged in.
    HostSyncExpired,
    /// The last word before `FINALDELAY`.
    Executing,
    /// The parent is told.
    CallingParent,
    /// It cannot be told.
    ParentUnreachable,
    /// It has ended between the order and its word of what came of it.
    ParentLost,
    /// What the parent tells of a failure.
    Failed { report: FromParent },
    /// The parent was told so long ago, and the command has not ended.
    StillRunning { since: Duration },
    /// The shutdown failed; this host runs on. With the power-down flag, if it has been set.
    NotStopped { since: Duration, flag: Option<Box<str>> },
    /// An order to shut down after one has failed.
    AlreadyTried,
    /// The root half has ended.
    ParentDied,
    /// `SHUTDOWNEXIT` with a time.
    StayingFor { time: Duration },
    /// `SHUTDOWNEXIT no`.
    Staying,
    /// That time is over.
    LeavingAfterShutdown,
    /// SIGTERM and the like.
    Exiting { signal: i32 },
    /// SIGTERM while the shutdown runs.
    NotNow { signal: i32 },
    /// SIGHUP.
    Reloading,
    /// The new configuration cannot be used; the old one stays.
    ReloadFailed { why: String },
    /// With the new configuration this host could never run.
    ReloadImpossible { total: u64, need: u64 },
    /// A directive that only a restart changes.
    NeedsRestart { directive: &'static str },
    /// We did not run for so long, and nobody had announced that.
    Slept { time: Duration },
    /// The machine is about to be suspended.
    GoingToSleep,
    /// It is awake again after so long; nothing if it was not suspended after all.
    Awake { slept: Duration },
}

impl Remark {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::ParentDied
            | Self::ParentLost
            | Self::NotStopped { .. }
            | Self::StillRunning { .. }
            | Self::LoginFailed { step: Step::Primary, .. } => Level::Alert,
            Self::Executing | Self::CallingParent => Level::Crit,
            Self::PollFailed { .. }
            | Self::LoginFailed { .. }
            | Self::FsdFailed { .. }
            | Self::ParentUnreachable
            | Self::Failed { .. }
            | Self::ReloadFailed { .. }
            | Self::ReloadImpossible { .. } => Level::Error,
            Self::Duplicate { .. }
            | Self::Condemned { .. }
            | Self::GivingUp { .. }
            | Self::ShuttingDown { .. }
            | Self::AlreadyTried
            | Self::LeavingAfterShutdown
            | Self::NotNow { .. }
            | Self::NeedsRestart { .. }
            | Self::FailureChanged { .. }
            | Self::Slept { .. } => Level::Warning,
            Self::Watch { note, .. } => match note {
                Note::LowWhileCalibrating | Note::LowIsBorne { .. } => Level::Warning,
                Note::LowIsOver { .. } => Level::Info,
            },
            Self::NotWatching { .. } | Self::Recovered { .. } => Level::Notice,
            Self::Watching { .. }
            | Self::Changed { .. }
            | Self::Retrying { .. }
            | Self::LoggedIn { .. }
            | Self::Absolved { .. }
            | Self::FsdSignal { .. }
            | Self::HostSyncExpired
            | Self::StayingFor { .. }
            | Self::Staying
            | Self::Exiting { .. }
            | Self::Reloading
            | Self::GoingToSleep
            | Self::Awake { .. } => Level::Info,
        }
    }
}

/// How long we were away, for people: `3599.300 seconds`.
pub(crate) fn in_seconds(time: Duration) -> String {
    format!("{}.{:03} seconds", time.as_secs(), time.subsec_millis())
}

const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Secondary => "secondary",
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Watching { ups, power_value: PowerValue(0), .. } => {
                write!(f, "UPS: {ups} (monitoring only)")
            }
            Self::Watching { ups, role, power_value } => {
                write!(f, "UPS: {ups} ({}) (power value {})", role_word(*role), power_value.0)
            }
            Self::Duplicate { ups } => write!(f, "Warning: ignoring duplicate UPS [{ups}]"),
            Self::NotWatching { ups } => write!(f, "No longer monitoring UPS [{ups}]"),
            Self::Changed { ups, what } => match what {
                Redefined::PowerValue(value) => {
                    write!(f, "UPS [{ups}]: redefined power value to {}", value.0)
                }
                Redefined::Username => write!(f, "UPS [{ups}]: redefined username"),
                Redefined::Password => write!(f, "UPS [{ups}]: redefined password"),
                Redefined::Role(role) => write!(f, "UPS [{ups}]: redefined as a {}", role_word(*role)),
            },
            Self::Retrying { ups } => write!(f, "UPS [{ups}]: retrying connection"),
            Self::PollFailed { monitor, failure } => match failure {
                Failure::Unreachable(_) => {
                    write!(f, "UPS [{}]: connect failed: {failure}", monitor.system)
                }
                failure => write!(f, "Poll UPS [{}] failed - {}", monitor.system, failure.text(monitor)),
            },
            Self::FailureChanged { ups, from, to, again } => {
                write!(
                    f,
                    "Poll UPS [{ups}] failure state code changed from {from} to {to}; report below will "
                )?;
                match again {
                    Again::Never => f.write_str("not be repeated to syslog:"),
                    Again::Every(polls, time) => write!(
                        f,
                        "only be repeated to syslog every {polls} polling loop cycles ({} sec):",
                        time.as_secs()
                    ),
                }
            }
            Self::Recovered { ups, from } => {
                write!(f, "Poll UPS [{ups}] recovered from failure state code {from} - now -1")
            }
            Self::LoginFailed { ups, step, line } => match step {
                Step::Username => write!(f, "Set username on [{ups}] failed - got [{line}]"),
                Step::Password => write!(f, "Set password on [{ups}] failed - got [{line}]"),
                Step::Login => write!(f, "Login on UPS [{ups}] failed - got [{line}]"),
                Step::Primary => {
                    write!(f, "Primary managerial privileges unavailable on UPS [{ups}]; Response: [{line}]")
                }
            },
            Self::LoggedIn { ups } => write!(f, "Logged in on UPS [{ups}]"),
            Self::Condemned { ups, cause } => write!(f, "UPS [{ups}] does not count as a supply: {cause}"),
            Self::Absolved { ups, cause } => {
                write!(f, "UPS [{ups}] counts as a supply again, no longer {cause}")
            }
            Self::GivingUp { ups, waited } => {
                write!(f, "Giving up on the primary for UPS [{ups}] after {} sec", whole_secs(*waited))
            }
            Self::Watch { ups, note } => match note {
                Note::LowWhileCalibrating => write!(
                    f,
                    "seems that UPS [{ups}] is OB+LB now, but it is also calibrating - not declaring a critical state"
                ),
                Note::LowIsBorne { limit } => write!(
                    f,
                    "seems that UPS [{ups}] is OB+LB now, but OBLBDURATION={} - not declaring a critical state just now",
                    limit.as_secs()
                ),
                Note::LowIsOver { lasted } => write!(
                    f,
                    "seems that UPS [{ups}] returned from OB+LB state now after spending {} seconds in it",
                    whole_secs(*lasted)
                ),
            },
            Self::ShuttingDown { reason } => match reason {
                Reason::TooFewSupplies { have, need, .. } => write!(
                    f,
                    "Too few UPS(es) are healthy ({have}<{need}), initiating forced shutdown: {reason}"
                ),
                Reason::Ordered => f.write_str("Got an FSD signal, initiating forced shutdown"),
            },
            Self::FsdSignal { signal } => write!(f, "Signal {signal}: User requested FSD"),
            Self::FsdFailed { ups, failure } => {
                // NUT shows the line of a refusal and the text of anything else.
                match failure {
                    Failure::Refused(refusal) => {
                        write!(f, "FSD set on UPS {ups} failed: {}", refusal.line)
                    }
                    failure => write!(f, "FSD set on UPS {ups} failed: {failure}"),
                }
            }
            Self::HostSyncExpired => f.write_str("Host sync timer expired, forcing shutdown"),
            Self::Executing => f.write_str(EXECUTING),
            Self::CallingParent => f.write_str("doshutdown: call parent pipe for shutdown (async)"),
            Self::ParentUnreachable => f.write_str("Unable to call parent pipe for shutdown"),
            Self::Failed { report } => write!(f, "shutdown: {report}"),
            Self::NotStopped { since, flag } => {
                write!(
                    f,
                    "this host was to be shut down {} s ago, but that failed: it runs on, is watched no more than for \
                     notices, and will crash when power fails",
                    whole_secs(*since)
                )?;
                match flag {
                    None => Ok(()),
                    Some(flag) => write!(
                        f,
                        "; POWERDOWNFLAG {flag} is still set, and a reboot now would have the UPS switched off: a restart \
                         of upsmon removes it"
                    ),
                }
            }
            Self::StillRunning { since } => write!(
                f,
                "SHUTDOWNCMD was ordered {} s ago and has not ended: see what it waits for; this host is still up",
                whole_secs(*since)
            ),
            Self::AlreadyTried => {
                f.write_str("a shutdown has been tried and has failed; mend SHUTDOWNCMD and restart upsmon")
            }
            Self::ParentLost => f.write_str(
                "the parent was told to shut this host down, and has died before it said what came of that: \
                 SHUTDOWNCMD may or may not be at work",
            ),
            Self::ParentDied => f.write_str("Parent died - shutdown impossible"),
            Self::StayingFor { time } => write!(
                f,
                "Configured to only exit upsmon SHUTDOWNEXIT={} sec after initiating shutdown",
                time.as_secs()
            ),
            Self::Staying => f.write_str("Configured to not exit upsmon after initiating shutdown"),
            Self::LeavingAfterShutdown => f.write_str("Exiting upsmon program after initiating shutdown"),
            Self::Exiting { signal } => write!(f, "Signal {signal}: exiting"),
            Self::NotNow { signal } => {
                write!(f, "Signal {signal}: a shutdown is under way and cannot be stopped")
            }
            Self::Reloading => f.write_str("Reloading configuration"),
            Self::ReloadFailed { why } => write!(f, "Reload failed: {why}"),
            Self::ReloadImpossible { total, need } => write!(
                f,
                "Reload failed: total power value ({total}) less than MINSUPPLIES ({need}); the old configuration stays"
            ),
            Self::NeedsRestart { directive } => write!(
                f,
                "Warning: {directive} redefined in split-process mode! You must restart upsmon for this change to work"
            ),
            Self::Slept { time } => {
                write!(f, "It seems we have slept without warning for {}", in_seconds(*time))
            }
            Self::GoingToSleep => f.write_str("Processing OS going to sleep"),
            Self::Awake { slept } if slept.is_zero() => {
                f.write_str("Processing OS wake-up after sleep, which did not come about")
            }
            Self::Awake { slept } => {
                write!(f, "Processing OS wake-up after sleep; the host slept for {}", in_seconds(*slept))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_client::dialog::Refusal;

    #[test]
    fn texts_that_scripts_match_on_are_nuts() {
        let watching = |power_value, role| Remark::Watching {
            ups: "u@h".into(),
            role,
            power_value: PowerValue(power_value),
        };
        let cases = [
            (watching(2, Role::Primary), "UPS: u@h (primary) (power value 2)", Level::Info),
            (watching(1, Role::Secondary), "UPS: u@h (secondary) (power value 1)", Level::Info),
            (watching(0, Role::Secondary), "UPS: u@h (monitoring only)", Level::Info),
            (Remark::NotWatching { ups: "u@h".into() }, "No longer monitoring UPS [u@h]", Level::Notice),
            (Remark::FsdSignal { signal: 10 }, "Signal 10: User requested FSD", Level::Info),
            (Remark::Exiting { signal: 15 }, "Signal 15: exiting", Level::Info),
            (Remark::HostSyncExpired, "Host sync timer expired, forcing shutdown", Level::Info),
            (Remark::Executing, "Executing automatic power-fail shutdown", Level::Crit),
            (Remark::ParentUnreachable, "Unable to call parent pipe for shutdown", Level::Error),
            (Remark::ParentDied, "Parent died - shutdown impossible", Level::Alert),
            (Remark::Reloading, "Reloading configuration", Level::Info),
        ];
        for (remark, text, level) in cases {
            assert_eq!((remark.to_string().as_str(), remark.level()), (text, level));
        }
        let ups = || "u@h".into();
        let refusal =
            || Refusal { code: None, word: "ACCESS-DENIED".into(), line: "ERR ACCESS-DENIED".into() };
        let failed = |step| Remark::LoginFailed { ups: ups(), step, line: refusal().line };
        let privileges =
            "Primary managerial privileges unavailable on UPS [u@h]; Response: [ERR ACCESS-DENIED]";
        let changed = |what| Remark::Changed { ups: ups(), what };
        let cases = [
            (failed(Step::Password), "Set password on [u@h] failed - got [ERR ACCESS-DENIED]", Level::Error),
            (failed(Step::Login), "Login on UPS [u@h] failed - got [ERR ACCESS-DENIED]", Level::Error),
            (failed(Step::Primary), privileges, Level::Alert),
            (
                Remark::FsdFailed { ups: ups(), failure: Failure::Refused(refusal()) },
                "FSD set on UPS u@h failed: ERR ACCESS-DENIED",
                Level::Error,
            ),
            (
                Remark::FsdFailed { ups: ups(), failure: Failure::NotConnected },
                "FSD set on UPS u@h failed: Driver not connected",
                Level::Error,
            ),
            (Remark::Duplicate { ups: ups() }, "Warning: ignoring duplicate UPS [u@h]", Level::Warning),
            (changed(Redefined::Username), "UPS [u@h]: redefined username", Level::Info),
            (changed(Redefined::Password), "UPS [u@h]: redefined password", Level::Info),
            (
                changed(Redefined::PowerValue(PowerValue(2))),
                "UPS [u@h]: redefined power value to 2",
                Level::Info,
            ),
            (changed(Redefined::Role(Role::Primary)), "UPS [u@h]: redefined as a primary", Level::Info),
            (changed(Redefined::Role(Role::Secondary)), "UPS [u@h]: redefined as a secondary", Level::Info),
            (Remark::Retrying { ups: ups() }, "UPS [u@h]: retrying connection", Level::Info),
            (
                Remark::NeedsRestart { directive: "SHUTDOWNCMD" },
                "Warning: SHUTDOWNCMD redefined in split-process mode! You must restart upsmon for this change to work",
                Level::Warning,
            ),
            (
                Remark::ShuttingDown { reason: Reason::Ordered },
                "Got an FSD signal, initiating forced shutdown",
                Level::Warning,
            ),
            (Remark::CallingParent, "doshutdown: call parent pipe for shutdown (async)", Level::Crit),
            (Remark::Staying, "Configured to not exit upsmon after initiating shutdown", Level::Info),
            (
                Remark::LeavingAfterShutdown,
                "Exiting upsmon program after initiating shutdown",
                Level::Warning,
            ),
        ];
        for (remark, text, level) in cases {
            assert_eq!((remark.to_string().as_str(), remark.level()), (text, level));
        }
        let giving_up = Remark::GivingUp { ups: "u@h".into(), waited: Duration::from_secs(6) };
        assert!(giving_up.to_string().starts_with("Giving up on the primary for UPS [u@h]"));
        let deciding =
            Remark::ShuttingDown { reason: Reason::TooFewSupplies { have: 0, need: 1, down: Vec::new() } };
        assert!(
            deciding.to_string().starts_with("Too few UPS(es) are healthy (0<1), initiating forced shutdown")
        );
    }
}
