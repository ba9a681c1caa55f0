//! `upsrw`: shows and sets the variables of a UPS that can be set.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_tools::shell::upsrw(std::env::args_os())
}
