//! The machine the programs run on. The only library that touches it.
//!
//! | file | what it knows |
//! |---|---|
//! | [`clock`] | the one clock, waiting for a moment, local time for texts |
//! | [`log`] | what happened, to standard error or the system log |
//! | [`options`] | what all programs share on their command line; where files live |
//! | [`daemon`] | going to the background, PID files, signals, word to the service manager |
//! | [`reexec`] | a second process of the same program, without `fork` |
//! | [`privilege`] | becoming the run-as user, and nobody else |
//! | [`socket`] | listening on Unix and TCP sockets; output that never blocks |
//! | [`hook`] | running somebody else's program, with a deadline |
//! | [`files`] | writing so that it lasts, reading with a limit, saying who may read |
//! | [`terminal`] | asking the person there, also without echo |

pub mod clock;
pub mod daemon;
pub mod files;
pub mod hook;
pub mod log;
pub mod options;
pub mod privilege;
pub mod reexec;
pub mod socket;
pub mod terminal;

/// For the macros of [`log`], so that a program using them needs nothing else.
#[doc(hidden)]
pub use tracing as __tracing;
