//! `upssched.conf`: what follows a notice, and after how long.

use crate::directives::{Format, Reader, Row};
use crate::report::{nearest, quoted};
use crate::upsmon_conf::{NoticeKind, program};
use crate::values::{Line, MAX_NUMBER, seconds};
use crate::{Diagnostic, Severity, Source};
use nut_proto::numbers::Number;
use std::time::Duration;

/// All of `upssched.conf`: its `AT` lines, each with the settings that stood above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpsschedConf {
    /// The `AT` lines in the file's order.
    pub rules: Vec<At>,
    /// `CMDSCRIPT` as it stands at the end of the file: the words.
    pub script: Vec<String>,
    /// `PIPEFN` as it stands at the end of the file.
    pub pipe: Option<String>,
    /// `LOCKFN` as it stands at the end of the file.
    pub lock: Option<String>,
    /// `DEBUG_MIN`.
    pub debug_min: Option<u8>,
    /// The first of the three settings that an `AT` line lacks: NUT refuses to go on from there (upssched §2).
    pub missing: Option<Missing>,
}

/// A setting that an `AT` line lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// `CMDSCRIPT`.
    Script,
    /// `PIPEFN`.
    Pipe,
    /// `LOCKFN`.
    Lock,
}

/// One `AT` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// The notice's type; compared without case.
    pub notice: String,
    /// The UPS exactly as in `MONITOR`, or `*`.
    pub ups: String,
    /// What to do.
    pub order: Order,
    /// `CMDSCRIPT` as it stood above this line.
    pub script: Vec<String>,
    /// `PIPEFN` as it stood above this line.
    pub pipe: String,
    /// `LOCKFN` as it stood above this line.
    pub lock: String,
    /// Where the line stands.
    pub at: crate::Span,
}

/// What an `AT` line does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// `START-TIMER name secs`.
    Start {
        /// The timer.
        name: String,
        /// How long.
        after: Duration,
    },
    /// `START-TIMER-SHARED name secs`: the running one of that name takes it over.
    StartShared {
        /// The timer.
        name: String,
        /// How long.
        after: Duration,
    },
    /// `CANCEL-TIMER name [cmd]`.
    Cancel {
        /// The timer.
        name: String,
        /// What to run if none was pending.
        otherwise: Option<String>,
    },
    /// `CANCEL-TIMER-MATCHED name [cmd]`: only those that the same UPS set.
    CancelMatched {
        /// The timer.
        name: String,
        /// What to run if none was pending.
        otherwise: Option<String>,
    },
    /// `EXECUTE cmd`.
    Execute {
        /// The argument for `CMDSCRIPT`.
        command: String,
    },
}

/// Longest path of a Unix socket, in bytes.
const MAX_SOCKET_PATH: usize = 107;

/// Every directive of the file. Each `AT` line sees only what stands above it.
pub static TABLE: &[Row] = &[
    Row::new(
        "CMDSCRIPT",
        "<program> [<argument> ...]",
        "the program that all AT lines below run",
        "none: required above the first AT",
        "2.0",
        "CMDSCRIPT /usr/local/bin/upssched-cmd",
    )
    .repeats(),
    Row::new(
        "PIPEFN",
        "<path>",
        "the socket over which the timer process is told",
        "none: required above the first AT",
        "2.0",
        "PIPEFN /run/nut/upssched.pipe",
    )
    .repeats(),
    Row::new(
        "LOCKFN",
        "<path>",
        "the file that keeps a second timer process from starting",
        "none: required above the first AT",
        "2.0",
        "LOCKFN /run/nut/upssched.lock",
    )
    .repeats(),
    Row::new("DEBUG_MIN", "<level>", "least debug level", "0", "2.8.5", "DEBUG_MIN 0").any_case(),
    Row::new(
        "AT",
        "<type> <ups> <command> <argument> [<argument>]",
        "what follows a notice: START-TIMER, CANCEL-TIMER, EXECUTE, START-TIMER-SHARED, CANCEL-TIMER-MATCHED",
        "nothing follows",
        "2.0",
        "AT ONBATT * START-TIMER onbatt 30",
    )
    .repeats()
    .without("the line is left out: nothing follows that notice"),
];

/// What an `AT` line may order.
const COMMANDS: [&str; 5] =
    ["START-TIMER", "CANCEL-TIMER", "EXECUTE", "START-TIMER-SHARED", "CANCEL-TIMER-MATCHED"];

static FORMAT: Format = Format { table: TABLE, sections: false, secrets: None, mends: None };

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (UpsschedConf, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut conf = UpsschedConf::default();
    while let Some(directive) = reader.next(&mut report) {
        if let Some(mut line) = Line::new(&directive, &mut report) {
            conf.take(&mut line);
        }
    }
    (conf, report.finish())
}

impl Missing {
    /// The setting's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Script => "CMDSCRIPT",
            Self::Pipe => "PIPEFN",
            Self::Lock => "LOCKFN",
        }
    }
}

/// NUT's words for an `AT` line above one of the three settings it needs (upssched §2).
impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} must be set before any ATs in the config file!", self.as_str())
    }
}

impl UpsschedConf {
    /// Takes one line; `None` if it was left out, which is told.
    fn take(&mut self, line: &mut Line<'_, '_>) -> Option<()> {
        match line.row.name {
            "CMDSCRIPT" => self.script = program(line)?,
            "PIPEFN" => {
                let path = path(line)?;
                if path.len() > MAX_SOCKET_PATH {
                    // It stands all the same: what needs no timer is done, as in NUT.
                    let what = format!("the path of PIPEFN is longer than {MAX_SOCKET_PATH} bytes");
                    line.error(
                        1,
                        &what,
                        "no socket can have it, so there are no timers",
                        "choose a shorter path",
                    );
                }
                self.pipe = Some(path);
                self.check_places(line);
            }
            "LOCKFN" => {
                self.lock = Some(path(line)?);
                self.check_places(line);
            }
            "DEBUG_MIN" => {
                line.takes(1, 1)?;
                self.debug_min = Some(line.debug_level(1)?);
            }
            "AT" => {
                // NUT ends at the first AT that lacks a setting: those below it never act.
                if self.missing.is_none() {
                    let rule = self.rule(line)?;
                    self.rules.push(rule);
                }
            }
            other => debug_assert!(false, "nothing reads {other}"),
        }
        Some(())
    }

    fn rule(&mut self, line: &mut Line<'_, '_>) -> Option<At> {
        line.takes(4, 5)?;
        let (pipe, lock) = match (self.script.is_empty(), &self.pipe, &self.lock) {
            (false, Some(pipe), Some(lock)) => (pipe.clone(), lock.clone()),
            (true, ..) => return self.lacks(Missing::Script, line),
            (false, None, _) => return self.lacks(Missing::Pipe, line),
            (false, Some(_), None) => return self.lacks(Missing::Lock, line),
        };
        let order = order(line)?;
        check_match(line);
        self.check_script(&order, &pipe, line);
        Some(At {
            notice: line.value(1).to_owned(),
            ups: line.value(2).to_owned(),
            order,
            script: self.script.clone(),
            pipe,
            lock,
            at: line.directive.at,
        })
    }

    /// A timer process has one CMDSCRIPT: that of the line which starts it.
    fn check_script(&self, order: &Order, pipe: &str, line: &mut Line<'_, '_>) {
        let is_timers = |order: &Order| !matches!(order, Order::Execute { .. });
        let other = |at: &At| at.pipe == pipe && is_timers(&at.order) && at.script != self.script;
        if is_timers(order) && self.rules.iter().any(other) {
            let why = "the timers of one PIPEFN run the CMDSCRIPT of whichever line starts their process";
            line.warn(
                3,
                "CMDSCRIPT is another one than for the timers above",
                why,
                "write a PIPEFN of its own above it",
            );
        }
    }

    /// A file cannot be a socket and a lock.
    fn check_places(&self, line: &mut Line<'_, '_>) {
        if self.pipe.is_some() && self.pipe == self.lock {
            let why = "one cannot be both, so there are no timers";
            let advice = format!("write: {}", line.row.write);
            line.error(1, "PIPEFN and LOCKFN are the same file", why, &advice);
        }
    }

    fn lacks(&mut self, missing: Missing, line: &mut Line<'_, '_>) -> Option<At> {
        self.missing = Some(missing);
        let name = missing.as_str();
        let row = FORMAT.row(name).map_or("", |row| row.write);
        line.report.add(
            Severity::Error,
            line.directive,
            0,
            &missing.to_string(),
            "upssched stops here: this line and those below it do nothing",
            &format!("write above it: {row}"),
        );
        None
    }
}

fn path(line: &mut Line<'_, '_>) -> Option<String> {
    line.takes(1, 1)?;
    if line.value(1).is_empty() {
        return line.left_out(1, &format!("{} is empty", line.row.name));
    }
    Some(line.value(1).to_owned())
}

fn order(line: &mut Line<'_, '_>) -> Option<Order> {
    let command = line.value(3);
    let name = line.value(4).to_owned();
    let otherwise = Some(line.value(5)).filter(|text| !text.is_empty()).map(str::to_owned);
    Some(match command {
        "START-TIMER" => Order::Start { name, after: delay(line)? },
        "START-TIMER-SHARED" => Order::StartShared { name, after: delay(line)? },
        "CANCEL-TIMER" => Order::Cancel { name, otherwise },
        "CANCEL-TIMER-MATCHED" => Order::CancelMatched { name, otherwise },
        "EXECUTE" => {
            if name.is_empty() {
                let advice = "write behind EXECUTE what CMDSCRIPT is to get";
                line.warn(4, "Empty EXECUTE command argument", line.row.without, advice);
                return None;
            }
            if line.count() > 4 {
                let why = "only the first is handed to CMDSCRIPT";
                line.warn(5, "EXECUTE takes 1 word, found 2", why, "put several words into quotes");
            }
            Order::Execute { command: name }
        }
        other => {
            let what = format!("Invalid command: {}", quoted(other));
            let advice = nearest(other, COMMANDS.into_iter())
                .map_or_else(|| format!("write: {}", line.row.write), |near| format!("write: {near}"));
            line.warn(3, &what, line.row.without, &advice);
            return None;
        }
    })
}

/// The seconds of a timer. Without them NUT's client and timer process never agree, or the timer fires at once.
fn delay(line: &mut Line<'_, '_>) -> Option<Duration> {
    if line.count() < 5 {
        let advice =
            format!("write: AT {} {} {} {} 30", line.value(1), line.value(2), line.value(3), line.value(4));
        line.warn(
            3,
            &format!("{} needs seconds behind the timer's name", line.value(3)),
            line.row.without,
            &advice,
        );
        return None;
    }
    let text = line.value(5);
    match Number::read(text) {
        Number::Missing => line.left_out(5, &format!("a timer takes seconds, found {}", quoted(text))),
        Number::Whole(value) | Number::Prefix(value) if !(0..=MAX_NUMBER).contains(&value) => {
            line.left_out(5, &format!("a timer cannot take {} seconds", quoted(text)))
        }
        Number::Whole(value) => Some(seconds(value)),
        Number::Prefix(value) => {
            line.read_as(5, value);
            Some(seconds(value))
        }
    }
}

/// Tells of what no notice will ever match.
fn check_match(line: &mut Line<'_, '_>) {
    let notice = line.value(1);
    if NoticeKind::from_text(notice).is_none() {
        let advice = match nearest(notice, NoticeKind::ALL.into_iter().map(NoticeKind::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None if notice == "*" => "write a line for each type".to_owned(),
            None => String::new(),
        };
        line.warn(
            1,
            &format!("{} is no type of notice", quoted(notice)),
            "upsmon sends none of that type",
            &advice,
        );
    }
    let ups = line.value(2);
    if ups != "*" && ups.contains('*') {
        let why = "* stands for every UPS only alone; this line matches none";
        line.warn(2, &format!("{} has a * in it", quoted(ups)), why, "write the UPS as MONITOR has it, or *");
    }
}

#[cfg(test)]
mod tests;
