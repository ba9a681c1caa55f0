//! `apcsim`: one simulated Smart-UPS at the prompt, for pointing a driver at it by hand.
//!
//! Orders come on standard input (`help` lists them); what the unit does is printed, with seconds since the start.

use std::io::BufRead;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};
use nut_drill::sim::orders::{self, Order};
use nut_drill::sim::pty::Traffic;
use nut_drill::sim::{Direction, Pace, Profile, Settings, SimHandle, SmartUps, load_profile};
use nut_os::clock;
use nut_proto::Moment;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// How many lines may wait between the reader of standard input and the rest.
const LINES: usize = 16;

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(error.as_ref()),
    }
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("apcsim: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}

struct Options {
    profile: String,
    link: PathBuf,
    settings: Settings,
    show_traffic: bool,
}

impl Options {
    fn parse() -> Result<Self, ExitCode> {
        let scale = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_name("TIMES")
                .default_value("1")
                .value_parser(value_parser!(NonZeroU32))
                .help(help)
        };
        let command = Command::new("apcsim")
            .about("A simulated Smart-UPS on a pseudo-terminal. Orders come on standard input; try help.")
            .arg(
                Arg::new("profile")
                    .long("profile")
                    .value_name("ID")
                    .default_value("smart-ups-420-21.3.I")
                    .help("Which unit: the id of a built-in profile, or the path of one"),
            )
            .arg(
                Arg::new("link")
                    .long("link")
                    .value_name("PATH")
                    .required_unless_present("list")
                    .value_parser(value_parser!(PathBuf))
                    .help("Where to put the link that a driver opens"),
            )
            .arg(scale("time-scale", "How many times faster than real its delays pass"))
            .arg(scale("battery-scale", "How many times faster than real its battery drains"))
            .arg(
                Arg::new("fast")
                    .long("fast")
                    .action(ArgAction::SetTrue)
                    .help("Answer at once, not at the pace of 2400 bit/s"),
            )
            .arg(
                Arg::new("traffic")
                    .long("traffic")
                    .action(ArgAction::SetTrue)
                    .help("Print the bytes on the line too"),
            )
            .arg(
                Arg::new("list")
                    .long("list")
                    .action(ArgAction::SetTrue)
                    .help("List the built-in profiles and exit"),
            );
        let found = command.try_get_matches().map_err(|error| {
            // To a closed terminal nothing can be told.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        })?;
        if found.get_flag("list") {
            for profile in Profile::all() {
                println!("{:30} {}", profile.id, profile.name);
            }
            return Err(ExitCode::SUCCESS);
        }
        let number = |name: &str| found.get_one(name).copied().unwrap_or(NonZeroU32::MIN);
        Ok(Self {
            profile: found.get_one::<String>("profile").cloned().unwrap_or_default(),
            link: found.get_one::<PathBuf>("link").cloned().unwrap_or_default(),
            settings: Settings {
                pace: if found.get_flag("fast") { Pace::Immediate } else { Pace::Real },
                time_scale: number("time-scale"),
                battery_scale: number("battery-scale"),
                ..Settings::default()
            },
            show_traffic: found.get_flag("traffic"),
        })
    }
}

async fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let profile = match Profile::named(&options.profile) {
        Ok(profile) => profile,
        Err(_) if options.profile.contains('/') => load_profile(options.profile.as_ref())?,
        Err(error) => return Err(error.into()),
    };
    let name = profile.name.clone();
    let start = clock::now();
    let sim = SimHandle::start(SmartUps::new(profile, options.settings), &options.link)?;
    println!("{name} at {} ({})", sim.path().display(), std::fs::read_link(sim.path())?.display());
    let mut deeds = sim.deeds();
    let mut traffic = options.show_traffic.then(|| sim.traffic());
    let mut lines = lines_of_stdin();
    loop {
        tokio::select! {
            line = lines.recv() => match line.as_deref().map(orders::parse) {
                None | Some(Ok(Some(Order::Quit))) => break,
                Some(Ok(None)) => {}
                Some(Ok(Some(order))) => carry_out(&sim, order).await?,
                Some(Err(error)) => eprintln!("apcsim: {error}"),
            },
            news = deeds.recv() => match news {
                Ok((at, deed)) => println!("{} {deed}", since(start, at)),
                Err(RecvError::Lagged(missed)) => eprintln!("apcsim: {missed} deeds were too fast to be shown"),
                Err(RecvError::Closed) => break,
            },
            seen = next_traffic(&mut traffic) => println!("{} {}", since(start, seen.at), shown(&seen)),
            signal = tokio::signal::ctrl_c() => {
                signal?;
                break;
            }
        }
    }
    sim.stop().await;
    Ok(())
}

async fn carry_out(sim: &SimHandle, order: Order) -> Result<(), Box<dyn std::error::Error>> {
    match order {
        Order::Event(event) => sim.send(event).await,
        Order::Unplug => sim.unplug().await,
        Order::Replug => sim.replug().await?,
        Order::State => println!("{:#?}", sim.state().await?),
        Order::Help => println!("{}", orders::HELP),
        Order::Quit => {}
    }
    Ok(())
}

/// Standard input, line by line, from a thread of its own: it cannot be waited for otherwise.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (lines, receiver) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next_traffic(traffic: &mut Option<tokio::sync::broadcast::Receiver<Traffic>>) -> Traffic {
    loop {
        match traffic {
            None => return std::future::pending().await,
            Some(receiver) => match receiver.recv().await {
                Ok(seen) => return seen,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => *traffic = None,
            },
        }
    }
}

fn shown(traffic: &Traffic) -> String {
    let arrow = match traffic.direction {
        Direction::FromHost => '>',
        Direction::ToHost => '<',
    };
    format!("{arrow} {}", traffic.bytes.escape_ascii())
}

fn since(start: Moment, at: Moment) -> String {
    format!("{:9.3}", at.since(start).as_secs_f64())
}
