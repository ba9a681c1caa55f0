//! upssched: timers between a notice of upsmon and a script.
//!
//! upsmon runs it once for each notice (`NOTIFYCMD`); this *client* reads `upssched.conf`, does what the matching `AT`
//! lines say, and ends. Timers live in one *timer process*, which the first client that needs one starts, and which
//! ends when nothing is left to wait for.
//!
//! | file | what it knows |
//! |---|---|
//! | [`rules`] | pure: which `AT` lines match a notice, and what they order |
//! | [`pipe`] | pure: what client and timer process say to each other over PIPEFN |
//! | [`timers`] | pure: the timers; when which one fires, what a cancel removes, when the process may end |
//! | [`shell`] | the client: reading the file, delivering orders, running CMDSCRIPT |
//! | `shell/delivery.rs` | bringing one order to the timer process, and starting it |
//! | `shell/lock.rs` | LOCKFN: there is only one timer process |
//! | `shell/process.rs` | the timer process: socket, clock, scripts, signals |
//! | `shell/serving.rs` | one client of the timer process |
//! | `shell/script.rs` | CMDSCRIPT as a command to run |

pub mod pipe;
pub mod rules;
pub mod shell;
pub mod timers;
