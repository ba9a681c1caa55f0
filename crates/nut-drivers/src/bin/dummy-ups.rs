//! `dummy-ups`: a UPS that exists only as a file, or is the UPS of another server.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_drivers::shell::main(nut_drivers::dummy::KIND)
}
