//! Whole-system scenarios: the real programs, simulated UPSes, and NUT's own programs beside them.
//!
//! Every test has its own stage: a private directory, ports the kernel gave, loopback alone. Nothing here runs a real
//! shutdown or touches `/etc`.

// `cfg(test)` is always true here; it tells clippy that all of this is tests.
#![cfg(test)]

mod apcupsd;
mod bad_input;
mod battery;
mod cables;
mod decisions;
mod drivers_and_servers;
mod failures;
mod fleet;
mod manual;
mod name_servers;
mod oracle;
mod power_down;
mod power_fail;
mod power_flag;
mod rehearsal;
mod repeater;
mod same_answers;
mod same_bytes;
mod same_calls;
mod same_files;
mod same_orders;
mod same_variables;
mod samples;
mod servers_and_clients;
mod sleep;
mod support;
mod timer_rules;
mod timers;
mod tls;
mod troubled_lines;
mod wild;
