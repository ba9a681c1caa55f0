//! `upsc`: what upsd knows of a UPS.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_tools::shell::upsc(std::env::args_os())
}
