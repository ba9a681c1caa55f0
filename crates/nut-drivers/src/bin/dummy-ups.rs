//! `dummy-ups`: a UPS that exists only as a file.

use std::process::ExitCode;

fn main() -> ExitCode {
    nut_drivers::shell::main(nut_drivers::dummy::KIND)
}
