//! Our upsdrvctl and NUT's, each with the same ups.conf, call the same drivers with the same arguments in the same
//! order, and end with the same exit code.
//!
//! The drivers are scripts that note how they were called. Where NUT 2.8.0 does otherwise on purpose of ours, the case
//! says what NUT does; the reasons stand in docs/differences-from-nut.md.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, stage};
use nut_drill::stage::{Host, Stage};
use std::path::Path;

/// A driver: it notes its arguments, and does what its name says.
const DRIVER: &str = r#"#!/bin/sh
name=${0##*/}
note() { echo "$*" >>"$NUT_STATEPATH/calls"; }
note "$name $*"
case $name in
  bad) exit 1 ;;
  flaky) [ -e "$NUT_STATEPATH/tried" ] || { : >"$NUT_STATEPATH/tried"; exit 1; } ;;
  killed) kill -9 $$ ;;
  brief) sleep 0.3; note "brief ends" ;;
  slow) sleep 2; note "slow ends" ;;
  hangs) exec sleep 600 ;;
esac
exit 0
"#;

/// One ups.conf and command line, and what comes of it.
struct Case {
    what: &'static str,
    /// Above the sections; `driverpath` is there already.
    global: &'static str,
    /// `name: line; line`, one section a line, each with a driver or without.
    sections: &'static [&'static str],
    args: &'static str,
    calls: &'static [&'static str],
    code: i32,
    /// What NUT 2.8.0 does otherwise.
    nuts: Option<(&'static [&'static str], i32)>,
}

const fn case(
    what: &'static str,
    (global, sections): (&'static str, &'static [&'static str]),
    args: &'static str,
    calls: &'static [&'static str],
    code: i32,
) -> Case {
    Case { what, global, sections, args, calls, code, nuts: None }
}

impl Case {
    /// NUT calls these, and ends with that code.
    const fn but_nut(self, calls: &'static [&'static str], code: i32) -> Self {
        Self { nuts: Some((calls, code)), ..self }
    }

    fn conf(&self, drivers: &Path) -> String {
        let mut text = format!("driverpath = {}\n", drivers.display());
        if !self.global.is_empty() {
            text.push_str(&format!("{}\n", self.global.replace("; ", "\n")));
        }
        for section in self.sections {
            let (name, lines) = section.split_once(": ").unwrap();
            text.push_str(&format!("[{name}]\n  {}\n", lines.replace("; ", "\n  ")));
        }
        text
    }
}

const TWO: &[&str] = &["a: driver = good; port = /dev/x", "b: driver = good; port = /dev/y"];

const FAILING: &[&str] = &[
    "a: driver = bad; port = x",
    "b: driver = flaky; port = x",
    "c: driver = killed; port = x",
    "d: driver = good; port = x",
];

const ORDERED: &[&str] = &[
    "a: driver = good; port = x; sdorder = 2",
    "b: driver = good; port = x",
    "c: driver = good; port = x; sdorder = 0",
    "d: driver = bad; port = x; sdorder = 1",
    "e: driver = good; port = x; sdorder = 1",
    "f: driver = good; port = x; sdorder = -1",
    "g: driver = good; port = x; sdorder = 50",
    "h: driver = good; port = x; sdorder = 2",
    "i: driver = good; port = x; sdorder = -7",
];

const HANGING: &[&str] = &["a: driver = hangs; port = x", "b: driver = good; port = x"];

const CASES: &[Case] = &[
    case("all, in the order of the file", ("", TWO), "start", &["good -a a", "good -a b"], 0),
    case("one", ("", TWO), "start b", &["good -a b"], 0),
    case(
        "a user and a root are handed on",
        ("", TWO),
        "-u me -r /jail start a",
        &["good -a a -r /jail -u me"],
        0,
    ),
    case(
        "-r and -u without a blank",
        ("", TWO),
        "-ume -r/jail shutdown a",
        &["good -a a -k -r /jail -u me"],
        0,
    ),
    case("its own -D is its own", ("", TWO), "-DDD start a", &["good -a a"], 0),
    case("-d hands -D on", ("", TWO), "-DD -d start a", &["good -DD -a a"], 0),
    case("-d alone", ("", TWO), "-d start a", &["good -a a"], 0),
    case("options behind the command are none", ("", TWO), "start -D", &[], 1),
    case(
        "one that fails is not tried again, the others are started",
        ("", FAILING),
        "start",
        &["bad -a a", "flaky -a b", "killed -a c", "good -a d"],
        1,
    ),
    case(
        "maxretry",
        ("maxretry = 3; retrydelay = 0", FAILING),
        "start",
        &[
            "bad -a a",
            "bad -a a",
            "bad -a a",
            "flaky -a b",
            "flaky -a b",
            "killed -a c",
            "killed -a c",
            "killed -a c",
            "good -a d",
        ],
        1,
    ),
    case(
        "it comes at the second attempt; a negative delay is none",
        ("maxretry = 2; retrydelay = -1", FAILING),
        "start b",
        &["flaky -a b", "flaky -a b"],
        0,
    ),
    case(
        "values in quotes, without blanks, with comments",
        ("", &["a: # one; driver=\"good\"; port = \"/dev/x\" # another"]),
        "start",
        &["good -a a"],
        0,
    ),
    case("no port", ("", &["a: driver = good"]), "start", &["good -a a"], 0),
    case(
        "one after the other",
        ("", &["a: driver = brief; port = x", "b: driver = good; port = x"]),
        "start",
        &["brief -a a", "brief ends", "good -a b"],
        0,
    ),
    case(
        "a program that is not there",
        ("", &["a: driver = good; port = x", "b: driver = none; port = x", "c: driver = good; port = x"]),
        "start",
        &["good -a a", "good -a c"],
        1,
    )
    .but_nut(&["good -a a"], 1),
    case(
        "a section without driver",
        ("", &["a: port = x", "c: driver = good; port = x"]),
        "start",
        &["good -a c"],
        1,
    )
    .but_nut(&[], 1),
    case("maxstartdelay of all", ("maxstartdelay = 1", HANGING), "start", &["hangs -a a", "good -a b"], 1),
    case(
        "maxstartdelay of one",
        ("", &["a: driver = hangs; port = x; maxstartdelay = 1", "b: driver = good; port = x"]),
        "start",
        &["hangs -a a", "good -a b"],
        1,
    ),
    case(
        "maxstartdelay of one, -1: as all",
        ("maxstartdelay = 1", &["a: driver = hangs; port = x; maxstartdelay = -1"]),
        "start",
        &["hangs -a a"],
        1,
    ),
    case(
        "maxstartdelay of one, 0: as long as it takes",
        ("maxstartdelay = 1", &["a: driver = slow; port = x; maxstartdelay = 0"]),
        "start",
        &["slow -a a", "slow ends"],
        0,
    ),
    case(
        "one that takes too long is not started beside itself",
        ("maxstartdelay = 1; maxretry = 2; retrydelay = 0", HANGING),
        "start a",
        &["hangs -a a"],
        1,
    )
    .but_nut(&["hangs -a a", "hangs -a a"], 1),
    case(
        "the order of a shutdown",
        ("", ORDERED),
        "shutdown",
        &[
            "good -a b -k",
            "good -a c -k",
            "bad -a d -k",
            "good -a e -k",
            "good -a a -k",
            "good -a h -k",
            "good -a g -k",
        ],
        1,
    ),
    case("one that is left out, by name", ("", ORDERED), "shutdown f", &["good -a f -k"], 0),
    case(
        "sdorder as the first line",
        ("", &["a: sdorder = 1; driver = good; port = x", "b: driver = good; port = x"]),
        "shutdown",
        &["good -a b -k", "good -a a -k"],
        0,
    )
    .but_nut(&["good -a a -k", "good -a b -k"], 0),
    case(
        "sdorder that is no number",
        ("", &["a: driver = good; port = x; sdorder = 1", "b: driver = good; port = x; sdorder = last"]),
        "shutdown",
        &["good -a b -k", "good -a a -k"],
        0,
    ),
    case(
        "a shutdown is tried once",
        ("maxretry = 3; retrydelay = 0", FAILING),
        "-u me shutdown",
        &["bad -a a -k -u me", "flaky -a b -k -u me", "killed -a c -k -u me", "good -a d -k -u me"],
        1,
    ),
    case(
        "a shutdown without a program",
        ("", &["a: driver = none; port = x", "b: driver = good; port = x"]),
        "shutdown",
        &["good -a b -k"],
        1,
    ),
    case(
        "a shutdown that hangs",
        ("maxstartdelay = 1", HANGING),
        "shutdown",
        &["hangs -a a -k", "good -a b -k"],
        1,
    ),
    case("maxretry = 0", ("maxretry = 0", TWO), "start", &[], 1).but_nut(&[], 0),
    case("maxretry that is no number", ("maxretry = many", TWO), "start a", &["good -a a"], 0)
        .but_nut(&[], 0),
    case(
        "two sections of one name",
        (
            "",
            &[
                "a: driver = good; port = x",
                "a: driver = bad; port = y; sdorder = -1",
                "b: driver = good; port = x",
            ],
        ),
        "start",
        &["bad -a a", "good -a b"],
        1,
    ),
    case("no such UPS", ("", TWO), "start c", &[], 1),
    case("upper and lower case differ", ("", TWO), "shutdown A", &[], 1),
    case("no such command", ("", TWO), "jump", &[], 1),
    case("no command", ("", TWO), "", &[], 0),
    case("help", ("", TWO), "-h", &[], 0),
    case("version", ("", TWO), "-V", &[], 0),
    case("no such option", ("", TWO), "-Z start", &[], 0),
    case("only shown", ("", TWO), "-t start", &[], 0),
    case("a shutdown, only shown", ("", ORDERED), "-t shutdown", &[], 0),
    case("no section", ("", &[]), "start", &[], 1),
    case("a word too many", ("", TWO), "start a b", &[], 1).but_nut(&["good -a a"], 0),
];

/// Whose upsdrvctl it is.
#[derive(Debug, Clone, Copy)]
enum Whose<'a> {
    Ours,
    Nuts(&'a Oracle),
}

impl Whose<'static> {
    /// Ours, and NUT's where it is to be had.
    fn all(test: &str) -> Vec<Self> {
        [Self::Ours].into_iter().chain(Oracle::get(test).map(Self::Nuts)).collect()
    }
}

impl Whose<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Nuts(_) => "nuts",
        }
    }

    /// What its program is called in the log.
    fn label(self) -> &'static str {
        match self {
            Self::Ours => "upsdrvctl",
            Self::Nuts(_) => "nut-upsdrvctl",
        }
    }
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    calls: Vec<String>,
    code: Option<i32>,
}

impl Came {
    fn new(calls: &[&str], code: i32) -> Self {
        Self { calls: calls.iter().map(ToString::to_string).collect(), code: Some(code) }
    }
}

async fn run(stage: &Stage, host: &Host, whose: Whose<'_>, args: &str) -> Option<i32> {
    let args = args.split_whitespace();
    let mut running = match whose {
        Whose::Ours => stage.start(host, whose.label(), &args.collect::<Vec<_>>()),
        Whose::Nuts(oracle) => {
            let args: Vec<&str> = ["upsdrvctl"].into_iter().chain(args).collect();
            oracle.start(stage, host, whose.label(), &args)
        }
    }
    .unwrap();
    tokio::time::timeout(PATIENCE, running.ended()).await.expect("it ends in time")
}

fn calls(host: &Host) -> Vec<String> {
    let text = std::fs::read_to_string(host.state.join("calls")).unwrap_or_default();
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The drivers, all one script.
fn drivers(stage: &Stage) -> std::path::PathBuf {
    for name in ["good", "bad", "flaky", "killed", "brief", "slow", "hangs"] {
        stage.script(name, DRIVER).unwrap();
    }
    stage.folder().join("bin")
}

/// Plays one case with one program.
async fn play(stage: &Stage, whose: Whose<'_>, nth: usize, case: &Case) {
    let (expected, code) = match (whose, case.nuts) {
        (Whose::Nuts(_), Some(nuts)) => nuts,
        (Whose::Ours, _) | (Whose::Nuts(_), None) => (case.calls, case.code),
    };
    let mut expected = Came::new(expected, code);
    let name = whose.name();
    let host = stage.host(&format!("{name}{nth}")).unwrap();
    stage.write(&host.conf.join("ups.conf"), &case.conf(&stage.folder().join("bin"))).unwrap();
    let code = run(stage, &host, whose, case.args).await;
    let mut came = Came { calls: calls(&host), code };
    if case.calls.iter().any(|call| call.starts_with("hangs")) {
        // Nobody waits for that one: on a busy machine it may note its call behind the next one's.
        until(|| calls(&host).len() >= expected.calls.len(), case.what).await;
        came.calls = calls(&host);
        came.calls.sort();
        expected.calls.sort();
    }
    assert_eq!(came, expected, "{name}: {}: upsdrvctl {}", case.what, case.args);
}

#[tokio::test]
async fn the_same_drivers_are_called_in_the_same_way() {
    let programs = Whose::all("the_same_drivers_are_called_in_the_same_way");
    let stage = stage();
    drivers(&stage);
    for (nth, case) in CASES.iter().enumerate() {
        match programs.as_slice() {
            [ours, nuts] => {
                tokio::join!(play(&stage, *ours, nth, case), play(&stage, *nuts, nth, case));
            }
            alone => play(&stage, alone[0], nth, case).await,
        }
    }
}

#[tokio::test]
async fn with_nowait_all_are_called_at_once_and_nobody_asks_what_came_of_it() {
    let programs = Whose::all("with_nowait_all_are_called_at_once_and_nobody_asks_what_came_of_it");
    let stage = stage();
    let drivers = drivers(&stage);
    let sections = [
        "a: driver = bad; port = x",
        "b: driver = hangs; port = x; sdorder = -1",
        "c: driver = bad; port = x",
    ];
    for (task, expected) in [
        ("start", ["bad -a a", "bad -a c", "hangs -a b"].as_slice()),
        ("shutdown", ["bad -a a -k", "bad -a c -k"].as_slice()),
    ] {
        for whose in programs.iter().copied() {
            let name = whose.name();
            let host = stage.host(&format!("{name}-{task}")).unwrap();
            let case = Case { sections: &[], ..case("", ("nowait", &[]), "", &[], 0) };
            let mut conf = case.conf(&drivers);
            for section in sections {
                let (name, lines) = section.split_once(": ").unwrap();
                conf.push_str(&format!("[{name}]\n  {}\n", lines.replace("; ", "\n  ")));
            }
            stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
            assert_eq!(run(&stage, &host, whose, task).await, Some(0), "{name} {task}");
            let all = async {
                while calls(&host).len() < expected.len() {
                    nut_drill::stage::turn().await;
                }
            };
            tokio::time::timeout(PATIENCE, all).await.expect("all are called in time");
            let mut calls = calls(&host);
            calls.sort();
            assert_eq!(calls, expected, "{name} {task}");
        }
    }
}

/// A driver that runs, as a PID file has it: it notes that it was told to end.
const RUNNING: &str = r#"#!/bin/sh
trap 'echo "$1 ends" >>"$NUT_STATEPATH/calls"; exit 0' TERM
echo "$1 runs" >>"$NUT_STATEPATH/calls"
while :; do sleep 0.05; done
"#;

#[tokio::test]
async fn stop_finds_the_same_processes() {
    let programs = Whose::all("stop_finds_the_same_processes");
    let stage = stage();
    let program = stage.script("upsdriver", RUNNING).unwrap();
    let conf = "[a]\n  driver = upsdriver\n  port = /dev/ttyS7\n\
                [b]\n  driver = upsdriver\n  port = /dev/serial/ttyS8\n\
                [c]\n  driver = upsdriver\n  port = x\n\
                [d]\n  driver = upsdriver\n  port = y\n\
                [e]\n  driver = upsdriver\n  port = z\n";
    for whose in programs.iter().copied() {
        let name = whose.name();
        let host = stage.host(name).unwrap();
        stage.write(&host.conf.join("ups.conf"), conf).unwrap();
        let mut running = Vec::new();
        // `a` has a file of today's kind, and one that NUT 2.0 wrote, which no longer counts; `b` only such a one.
        for (what, pid_file) in
            [("a", "upsdriver-a"), ("old", "upsdriver-ttyS7"), ("b", "upsdriver-ttyS8"), ("e", "upsdriver-e")]
        {
            let process = stage.start_at(&host, what, &program, &[what], &[]).unwrap();
            stage
                .write(&host.state.join(format!("{pid_file}.pid")), &format!("{}\n", process.pid()))
                .unwrap();
            running.push((what, process));
        }
        // `c` has no file, `d` that of a process which is no more. The number is one no process can have (Linux gives none
        // above 4,194,304): NUT signals whoever has it.
        stage.write(&host.state.join("upsdriver-d.pid"), "4194400\n").unwrap();
        until(|| calls(&host).len() == running.len(), "all run").await;

        // One of them has no file, and that is an error already.
        assert_eq!(run(&stage, &host, whose, "-t stop").await, Some(1), "{name}");
        assert_eq!(run(&stage, &host, whose, "-t stop a").await, Some(0), "{name}");
        assert_eq!(run(&stage, &host, whose, "stop e").await, Some(0), "{name}");
        // NUT does not wait until they have ended.
        until(|| calls(&host).contains(&"e ends".to_owned()), "e ends").await;
        assert_eq!(calls(&host).iter().filter(|line| line.ends_with("ends")).count(), 1, "{name}");
        std::fs::remove_file(host.state.join("upsdriver-e.pid")).unwrap();
        // Two run, two do not: an error, and all the same the others are told.
        assert_eq!(run(&stage, &host, whose, "stop").await, Some(1), "{name}");
        until(|| calls(&host).iter().filter(|line| line.ends_with("ends")).count() == 3, "all end").await;
        let (_, old) = &running[1];
        assert!(old.runs(), "{name}");
        // Who was told first need not be the first to say so.
        let mut ends: Vec<String> = calls(&host).into_iter().filter(|line| line.ends_with("ends")).collect();
        ends.sort();
        assert_eq!(ends, ["a ends", "b ends", "e ends"], "{name}");
    }
}

async fn until(holds: impl Fn() -> bool, what: &str) {
    let wait = async {
        while !holds() {
            nut_drill::stage::turn().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}");
}

/// `-t` shows the same command lines: NUT among its debugging, we on standard output.
#[tokio::test]
async fn what_would_be_done_is_the_same() {
    let oracle = Oracle::get("what_would_be_done_is_the_same");
    let stage = stage();
    let conf = case("", ("", ORDERED), "", &[], 0).conf(&drivers(&stage));
    let shown = |text: &str| {
        let lines = text.lines().filter_map(|line| line.split_once("exec:  "));
        lines.map(|(_, line)| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    for (nth, args) in
        ["-t start", "-t shutdown", "-t -u me shutdown f", "-t -r /jail start a"].into_iter().enumerate()
    {
        let host = stage.host(&format!("ours{nth}")).unwrap();
        stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
        let words: Vec<&str> = args.split_whitespace().collect();
        let (code, out, _) = stage.run(&host, "upsdrvctl", &words).await.unwrap();
        let ours = shown(&out);
        assert!(code == Some(0) && !ours.is_empty(), "{args}: {out}");

        let Some(oracle) = oracle else { continue };
        let host = stage.host(&format!("nuts{nth}")).unwrap();
        stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
        let whose = Whose::Nuts(oracle);
        assert_eq!(run(&stage, &host, whose, args).await, Some(0), "{args}");
        let log = stage.folder().join("log").join(format!("{}-{}.log", host.name, whose.label()));
        let nuts = || shown(&std::fs::read_to_string(&log).unwrap_or_default());
        until(|| nuts().len() >= ours.len(), args).await;
        assert_eq!(nuts(), ours, "{args}");
    }
}
