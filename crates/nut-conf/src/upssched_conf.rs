//! `upssched.conf`: what follows a notice, and after how long.

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
