//! `nut-bench`: how fast upsd answers, beside NUT's upsd and beside a bare echo server, in one run.
//!
//! | file | what it does |
//! |---|---|
//! | `plan.rs` | what is measured, in which order |
//! | `contestants.rs` | starts the three servers, each in a private directory |
//! | `feeder.rs` | the drivers: gives both upsds the same data |
//! | `echo.rs` | the limit: a single-threaded server that only returns bytes |
//! | `load.rs` | the clients |
//! | `usage.rs` | what a process used: CPU time, memory, wakeups |
//! | `figures.rs` | medians, and what is written as JSON |
//! | `report.rs` | the table a person reads, and the targets |
//! | `error.rs` | what can go wrong |

mod contestants;
mod echo;
mod error;
mod feeder;
mod figures;
mod load;
mod plan;
mod report;
mod usage;

use clap::{Arg, ArgAction, Command};
use error::{BenchError, Doing as _};
use nut_os::options::{fatal, say};
use plan::Size;
use std::path::PathBuf;
use std::process::ExitCode;

/// What people see as the name of this program.
const NAME: &str = "nut-bench";

fn main() -> ExitCode {
    // For ourselves, not for people: the limit is a process of its own.
    if std::env::args().nth(1).as_deref() == Some(echo::WORD) {
        return match echo::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fatal(NAME, &error),
        };
    }
    let matches = command().get_matches();
    let size = if matches.get_flag("smoke") { Size::smoke() } else { Size::full() };
    let only = matches.get_one::<String>("only").map(String::as_str);
    match run(&size, only, matches.get_one::<PathBuf>("json")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fatal(NAME, &error),
    }
}

fn command() -> Command {
    let path = clap::value_parser!(PathBuf);
    Command::new(NAME)
        .about("Measures upsd beside NUT's upsd and a bare echo server, interleaved in one run.")
        .after_help("benches/README.md says how to read the table.")
        .arg(
            Arg::new("json")
                .long("json")
                .value_name("FILE")
                .value_parser(path)
                .help("write all figures here, too"),
        )
        .arg(
            Arg::new("only").long("only").value_name("TEXT").help("only the rows whose name holds this text"),
        )
        .arg(
            Arg::new("smoke")
                .long("smoke")
                .action(ArgAction::SetTrue)
                .help("a few seconds only: shows that everything works, its figures mean nothing"),
        )
}

fn run(size: &Size, only: Option<&str>, json: Option<&PathBuf>) -> Result<(), BenchError> {
    let report = plan::measure(size, only)?;
    say(&report::table(&report));
    if let Some(path) = json {
        let text =
            serde_json::to_string_pretty(&report).map_err(std::io::Error::from).doing("writing JSON")?;
        std::fs::write(path, text).doing("writing the JSON file")?;
    }
    Ok(())
}
