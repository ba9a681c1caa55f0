//! `upscmd`: has a UPS do something at once.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_tools::shell::upscmd(std::env::args_os())
}
