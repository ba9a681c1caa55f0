//! upssched: what follows a notice of upsmon, and after how long.

use std::process::ExitCode;

use nut_os::reexec;
use upssched::shell::{self, Call};

fn main() -> ExitCode {
    if let Some(starter) = reexec::half(shell::TIMER_PROCESS) {
        return shell::keep_timers(starter, std::env::args_os().skip(1));
    }
    match Call::read(std::env::args_os(), shell::from_environment) {
        Ok(call) => shell::run(&call),
        Err(code) => code,
    }
}
