//! `apcsmart`: the driver for APC Smart-UPSes on a serial line.

use nut_drivers::apcsmart::{ABOUT, ApcSmart};
use nut_drivers::options::{Given, Kind, Made, OptionsError};
use std::process::ExitCode;

fn make(given: &Given<'_>) -> Result<Made, OptionsError> {
    let options = given.options.iter().map(|option| (option.name.as_str(), option.value.as_deref()));
    let (driver, plan) = ApcSmart::configure(options)?;
    Ok((Box::new(driver), plan))
}

fn main() -> ExitCode {
    nut_drivers::shell::main(Kind { about: &ABOUT, make })
}
