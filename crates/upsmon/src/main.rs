//! upsmon: watches UPSes, tells people, stops this host in time. See `upsmon(8)`.

use std::process::ExitCode;

fn main() -> ExitCode {
    upsmon::shell::start::main(std::env::args_os())
}
