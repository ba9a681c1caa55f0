//! `upsdrill`: a rehearsal of a power failure, with the real programs, in a private directory.

use clap::{Arg, ArgAction, Command};
use nut_drill::plays::{Performance, Play, PlayError};
use nut_drill::programs::Programs;
use nut_drill::report::{steps, summary};
use nut_drill::school::School;
use nut_drill::stage::{self, Stage};
use nut_drill::tell;
use nut_os::options::say;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let matches = command().get_matches();
    match matches.subcommand() {
        Some(("tell", rest)) => return told(rest),
        Some(("guard", rest)) => {
            let folder = rest.get_one::<String>("folder").map(String::as_str).unwrap_or_default();
            stage::guard(std::path::Path::new(folder));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let name = matches.get_one::<String>("play").map_or("outage", String::as_str);
    let Some(play) = Play::named(name) else {
        eprintln!("upsdrill: there is no rehearsal {name:?}; try outage, blip or weights");
        return ExitCode::from(2);
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("upsdrill: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(rehearse(play, matches.get_flag("keep")))
}

fn command() -> Command {
    Command::new("upsdrill")
        .bin_name("cargo drill")
        .about("Rehearses a power failure: real programs, simulated UPSes, a private directory. Nothing else is touched.")
        .args_conflicts_with_subcommands(true)
        .arg(Arg::new("play").help("outage (unless named), blip or weights"))
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("leave the directory with configuration and logs for a look"),
        )
        .subcommand(
            Command::new("guard")
                .hide(true)
                .about("clears a rehearsal away when its input ends")
                .arg(Arg::new("folder").required(true)),
        )
        .subcommand(
            Command::new("tell")
                .hide(true)
                .about("says that a script of a rehearsal ran")
                .arg(Arg::new("host").required(true))
                .arg(Arg::new("script").required(true))
                .arg(Arg::new("args").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true)),
        )
}

fn told(matches: &clap::ArgMatches) -> ExitCode {
    let one = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let args = matches.get_many::<String>("args").unwrap_or_default().cloned().collect();
    match tell::tell(one("host"), one("script"), args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upsdrill tell: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn rehearse(play: Play, keep: bool) -> ExitCode {
    say(&format!("Rehearsal: {}.", play.about()));
    if Programs::to_build().is_some() {
        say("Building the programs, where anything changed.");
    }
    let programs = match Programs::fresh() {
        Ok(programs) => programs,
        Err(error) => return failed(&error),
    };
    let mut stage = match Stage::new(programs) {
        Ok(stage) => stage,
        Err(error) => return failed(&error),
    };
    if keep {
        stage.keep();
    }
    let folder = stage.folder().to_owned();
    // Dropping the performance ends every process and removes the directory, whichever way we leave.
    let code = tokio::select! {
        code = perform(play, stage) => code,
        number = told_to_stop() => {
            eprintln!("upsdrill: stopped; all that it started is ended");
            ExitCode::from(128 + number)
        }
    };
    if keep {
        say(&format!("Configuration and logs are in {}.", folder.display()));
    }
    code
}

/// Waits for a signal that ends us, and gives its number.
async fn told_to_stop() -> u8 {
    let (mut hangup, mut interrupt, mut terminate) = match (
        signal(SignalKind::hangup()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) {
        (Ok(hangup), Ok(interrupt), Ok(terminate)) => (hangup, interrupt, terminate),
        // Without handlers the signals end us as they are; the guard clears away.
        _ => return std::future::pending().await,
    };
    tokio::select! {
        _ = hangup.recv() => 1,
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
    }
}

async fn perform(play: Play, stage: Stage) -> ExitCode {
    say("Starting three Smart-UPSes, three apcsmart, upsd, and upsmon on central, mail and web.\n");
    let school = match School::start(stage).await {
        Ok(school) => school,
        Err(error) => return failed(&error),
    };
    let mut performance = Performance::new(school);
    let outcome = performance.play(play).await;
    let fault = outcome.as_ref().err().map(PlayError::to_string);
    say("\nWhat had to happen:");
    say(summary(performance.claims(), fault.as_deref(), performance.start()).trim_end());
    if let Some(start) = performance.start().filter(|_| !performance.milestones().is_empty()) {
        say("\nSince mains failed:");
        say(steps(performance.milestones(), start).trim_end());
    }
    match outcome {
        Ok(()) => {
            say("\nEverything happened as it must.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say("");
            failed(&error)
        }
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("upsdrill: {text}");
    eprintln!("upsdrill: run it again with --keep to look at configuration and logs");
    ExitCode::FAILURE
}
