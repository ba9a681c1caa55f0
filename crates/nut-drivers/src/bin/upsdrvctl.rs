//! `upsdrvctl`: starts, stops and shuts down UPS drivers.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_drivers::ctl::shell::main()
}
