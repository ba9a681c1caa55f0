//! `upsdrill`: a rehearsal of a power failure, with the real programs, in a private directory.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgAction, Command};
use nut_drill::guard;
use nut_drill::paint::Paint;
use nut_drill::plays::{Performance, Play, PlayError};
use nut_drill::programs::{Programs, ProgramsError};
use nut_drill::report::{steps, summary};
use nut_drill::school::{School, cast};
use nut_drill::stage::Stage;
use nut_drill::tell;
use nut_os::clock;
use nut_os::options::{complain, fatal, say};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// What people see as the name of this program.
const NAME: &str = "cargo drill";

/// How many lines of the programs are shown when a rehearsal fails.
const LAST_WORDS: usize = 25;

fn main() -> ExitCode {
    // Two further uses, for scripts and for ourselves; not for people, so they stand in no help.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.split_first() {
        Some((word, rest)) if word == "tell" => return told(rest),
        Some((word, [folder])) if word == "guard" => {
            guard::guard(Path::new(folder));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let matches = command().get_matches();
    let named = matches.get_one::<String>("play");
    let [first, ..] = Play::ALL;
    let play = named.and_then(|name| Play::ALL.into_iter().find(|play| play.name() == name)).unwrap_or(first);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(NAME, &error),
    };
    runtime.block_on(rehearse(play, matches.get_flag("keep")))
}

fn command() -> Command {
    let plays = Play::ALL.map(|play| PossibleValue::new(play.name()).help(play.about()));
    let [first, ..] = Play::ALL;
    Command::new("upsdrill")
        .bin_name(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Rehearses a power failure: real programs, simulated UPSes, a private directory. Nothing else is touched.",
        )
        .after_help("Exit code: 0 if everything happened as it must, 1 if not, 128 and the signal if it was stopped.")
        .arg(
            Arg::new("play")
                .value_parser(PossibleValuesParser::new(plays))
                .default_value(first.name())
                .help("what to rehearse"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("leave the directory with configuration and logs for a look"),
        )
}

/// `upsdrill tell HOST SCRIPT ARGS…`: what the scripts of a stage end in.
fn told(args: &[OsString]) -> ExitCode {
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    let (Some(host), Some(script)) = (args.next(), args.next()) else {
        complain("upsdrill tell", &"HOST and SCRIPT are missing");
        return ExitCode::from(2);
    };
    match tell::tell(host, script, args.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fatal("upsdrill tell", &error),
    }
}

async fn rehearse(play: Play, keep: bool) -> ExitCode {
    // Dropping what runs ends every process and removes the directory, whichever way we leave.
    tokio::select! {
        code = perform(play, keep) => code,
        number = told_to_stop() => {
            complain(NAME, &"stopped; all that it started is ended");
            ExitCode::from(128 + number)
        }
    }
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

async fn perform(play: Play, keep: bool) -> ExitCode {
    let paint = Paint::for_stdout();
    say(&format!("{} {}.", paint.bold(&format!("Rehearsal \"{}\":", play.name())), play.about()));
    let programs = match build().await {
        Ok(programs) => programs,
        Err(error) => return fatal(NAME, &error),
    };
    let mut stage = match Stage::new(programs) {
        Ok(stage) => stage,
        Err(error) => return fatal(NAME, &error),
    };
    if keep {
        stage.keep();
    }
    let folder = stage.folder().display().to_string();
    say(&format!("\n{} all in {folder} and on loopback:", paint.bold("The school,")));
    say(cast().trim_end());
    let begun = clock::now();
    let school = match School::start(stage).await {
        Ok(school) => school,
        Err(error) => {
            fatal(NAME, &error);
            return look_closer(keep, &folder);
        }
    };
    let took = clock::now().since(begun).as_secs_f64();
    say(&format!(
        "All of it stands, every upsmon is logged in, after {took:.1} s. Times below count from the failure."
    ));
    let mut performance = Performance::new(school).aloud(paint);
    let outcome = performance.play(play).await;
    report(paint, &performance, outcome.as_ref().err());
    match outcome {
        Ok(()) => {
            say(&format!("\n{}", paint.green("Everything happened as it must.")));
            if keep {
                say(&format!("Configuration and logs stay in {folder}."));
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            say("\nWhat the programs wrote last:");
            for line in performance.last_words(LAST_WORDS) {
                say(&format!("  {line}"));
            }
            fatal(NAME, &error);
            look_closer(keep, &folder)
        }
    }
}

/// Builds the programs, if it was cargo that started us.
async fn build() -> Result<Programs, ProgramsError> {
    let programs = Programs::built()?;
    if let Some(build) = programs.build() {
        say("Building the programs, where anything changed (the first time that takes a minute).");
        let mut child = tokio::process::Command::from(build);
        let ended = child.kill_on_drop(true).status().await;
        Programs::judge(child.as_std(), ended)?;
    }
    Ok(programs)
}

fn report(paint: Paint, performance: &Performance, fault: Option<&PlayError>) {
    let fault = fault.map(PlayError::to_string);
    say(&format!("\n{}", paint.bold("What had to happen, and when it had:")));
    say(summary(paint, performance.claims(), fault.as_deref(), performance.start()).trim_end());
    if let Some(start) = performance.start().filter(|_| !performance.milestones().is_empty()) {
        say(&format!(
            "\n{}",
            paint.bold("How long it took, from the failure of mains and from step to step:")
        ));
        say(steps(performance.milestones(), start).trim_end());
    }
}

/// Where to look after a failure.
fn look_closer(keep: bool, folder: &str) -> ExitCode {
    if keep {
        complain(NAME, &format_args!("configuration and logs are in {folder}"));
    } else {
        complain(NAME, &"to look at configuration and logs, run it again with --keep");
    }
    ExitCode::FAILURE
}
