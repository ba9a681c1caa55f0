//! upsd: serves the data of all UPSes on this host to whoever may have it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match upsd::shell::options::Options::read(std::env::args_os()) {
        Ok(options) => upsd::shell::main(&options),
        Err(code) => code,
    }
}
