//! upssched beside NUT's, rule by rule: the same file, the same calls, and what its script is called with.
//!
//! What each rule is, and why ours differs where it does, stands in `docs/upssched-rules.md`.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, stage};
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Stage};
use std::time::Duration;

/// One rule, as it is seen from outside.
struct Rule {
    /// What it is.
    what: &'static str,
    /// What stands below CMDSCRIPT, PIPEFN and LOCKFN, or the whole file if it begins with `!`. `DIR` is a folder of its own.
    conf: &'static str,
    /// The notices, each with its UPS, one call after the other.
    notices: &'static [(&'static str, &'static str)],
    /// The exit codes, and what the script was called with: `0 0: argument|argument (TYPE UPS), ...`.
    ours: &'static str,
    /// The same of NUT's, where it differs.
    nuts: Option<&'static str>,
    /// Lines that both say.
    says: &'static [&'static str],
    /// What stands in the folder before the first call.
    before: Before,
    /// The notice's text.
    text: &'static str,
    /// No timer process is there behind the last call.
    starts_none: bool,
}

/// What stands in the folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Fifo,
    Empty,
    File,
    OldLock,
    FullLock,
}

const fn rule(
    what: &'static str,
    conf: &'static str,
    notices: &'static [(&'static str, &'static str)],
    ours: &'static str,
) -> Rule {
    Rule {
        what,
        conf,
        notices,
        ours,
        nuts: None,
        says: &[],
        before: Before::Nothing,
        text: "a text",
        starts_none: false,
    }
}

impl Rule {
    const fn but_nuts(self, nuts: &'static str) -> Self {
        Self { nuts: Some(nuts), ..self }
    }

    const fn says(self, says: &'static [&'static str]) -> Self {
        Self { says, ..self }
    }

    const fn starts_none(self) -> Self {
        Self { starts_none: true, ..self }
    }

    const fn called(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    const fn with(self, before: Before) -> Self {
        Self { before, ..self }
    }
}

const U: (&str, &str) = ("ONBATT", "u@h");

/// A timer that keeps NUT's process alive until the second notice: one that is about to end may do things twice.
macro_rules! keep {
    () => {
        "AT ONBATT * START-TIMER keep 3600\nAT COMMOK * CANCEL-TIMER keep\n"
    };
}

/// A notice, and the one at which that timer goes.
const BOTH: &[(&str, &str)] = &[U, ("COMMOK", "u@h")];

const RULES: &[Rule] = &[
    // Matching.
    rule(
        "the type has no case and no pattern, the UPS has a case and only the pattern * alone",
        "AT onbatt u@h EXECUTE a\nAT ONBATT * EXECUTE b\nAT * u@h EXECUTE c\nAT ONBATT U@h EXECUTE d\n\
         AT ONBATT u@* EXECUTE e\nAT ONBATT u EXECUTE f\nAT ONLINE u@h EXECUTE g\nAT OnBatt u@h EXECUTE h\n",
        &[U],
        "0: a (ONBATT u@h), b (ONBATT u@h), h (ONBATT u@h)",
    ),
    rule(
        "* stands for no UPS too",
        "AT SHUTDOWN * EXECUTE a\nAT SHUTDOWN \"\" EXECUTE b\nAT SHUTDOWN u@h EXECUTE c\n",
        &[("SHUTDOWN", "")],
        "0: a (SHUTDOWN ), b (SHUTDOWN )",
    ),
    rule("a type and a UPS are whatever they are", "AT * * EXECUTE a\n", &[("*", "*"), ("", "")], "0 0: a (* *)"),
    rule(
        "a text may look like options",
        "AT ONBATT * EXECUTE a\nAT ONBATT * START-TIMER b 0\n",
        &[U],
        "0: a (ONBATT u@h), b (ONBATT u@h)",
    )
    .called("--- UPS u@h on battery ---"),
    rule("a text may look like one option", "AT ONBATT * EXECUTE a\n", &[U], "0: a (ONBATT u@h)").called("-battery"),
    // Grammar.
    rule(
        "words, quotes, backslashes, comments",
        "AT \"ONBATT\" u\\@h EXECUTE a # comment\n# AT ONBATT * EXECUTE no\n\tAT\tONBATT\t*\tEXECUTE\tb\r\n\
         AT ONBATT * EXECUTE c#d\nAT ONBATT * \\\nEXECUTE e\nAT ONBATT * EXECUTE f",
        &[U],
        "0: a (ONBATT u@h), b (ONBATT u@h), c (ONBATT u@h), e (ONBATT u@h), f (ONBATT u@h)",
    ),
    rule(
        "keywords have their case, and a line that makes no sense costs itself",
        "at ONBATT * EXECUTE a\nUNHEARD of\nAT\nAT ONBATT *\nAT ONBATT * EXECUTE\nAT ONBATT * execute b\n\
         AT ONBATT * START-TIMER-SHUTDOWN c 5\nAT ONBATT * EXECUTE \"\"\nPIPEFN\nLOCKFN\nCMDSCRIPT\n\
         AT ONBATT * EXECUTE d e f\n",
        &[U],
        "0: d (ONBATT u@h)",
    )
    .says(&["Invalid command: ", "Empty EXECUTE command argument"]),
    rule(
        "a # in quotes costs its line, and what stands behind it is a new one",
        "AT ONBATT * EXECUTE \"a # b\"\nAT ONBATT * EXECUTE c\n",
        &[U],
        "0: c (ONBATT u@h)",
    ),
    rule(
        "a quote left open",
        "AT ONBATT u@h EXECUTE \"a\nAT ONBATT u@h EXECUTE b\nAT ONBATT u@h EXECUTE c\"\n",
        &[U],
        "0: b (ONBATT u@h), c\" (ONBATT u@h)",
    )
    .but_nuts("0: aAT|ONBATT|u@h|EXECUTE|bAT|ONBATT|u@h|EXECUTE|c (ONBATT u@h)"),
    // The three settings.
    rule(
        "an AT above its settings ends the file, also if it would not match",
        "!CMDSCRIPT TELLER\nPIPEFN DIR/pipe\nAT REPLBATT x@y EXECUTE a\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE b\n",
        &[U],
        "1:",
    )
    .says(&["LOCKFN must be set before any ATs in the config file!"]),
    rule(
        "CMDSCRIPT is looked for first, then PIPEFN",
        "!AT REPLBATT x@y EXECUTE a\n",
        &[U],
        "1:",
    )
    .says(&["CMDSCRIPT must be set before any ATs in the config file!"]),
    rule(
        "a setting that stands again counts for the lines below it",
        "AT ONBATT * EXECUTE a\nCMDSCRIPT \"TELLER lead\"\nAT ONBATT * EXECUTE b\n",
        &[U],
        "0: a (ONBATT u@h), lead|b (ONBATT u@h)",
    ),
    rule("without an AT nothing is needed", "!# nothing\n", &[U], "0:"),
    // CMDSCRIPT.
    rule(
        "one word is a piece of shell, too",
        "!CMDSCRIPT \"TELLER lead\"\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE a\nAT ONBATT * START-TIMER b 0\n",
        &[U],
        "0: lead|a (ONBATT u@h), lead|b (ONBATT u@h)",
    ),
    rule(
        "several words are a program and its arguments, as in NUT from 2.8.6 on",
        "!CMDSCRIPT TELLER lead \"x y\"\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE a\n",
        &[U],
        "0: lead|x y|a (ONBATT u@h)",
    )
    .but_nuts("0: a (ONBATT u@h)"),
    rule(
        "an argument stays one argument, whatever is in it, as in NUT from 2.8.6 on",
        "AT ONBATT * EXECUTE \"two words\"\nAT ONBATT * EXECUTE \"$(echo x) \\\"y\\\"\"\n",
        &[U],
        "0: two words (ONBATT u@h), $(echo x) \"y\" (ONBATT u@h)",
    )
    .but_nuts("0: two|words (ONBATT u@h), x|y (ONBATT u@h)"),
    rule(
        "how the script ends does not matter",
        "!CMDSCRIPT \"TELLER x; exit 3; :\"\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE a\n\
         CMDSCRIPT TELLER\nAT ONBATT * EXECUTE b\n",
        &[U],
        "0: x (ONBATT u@h), b (ONBATT u@h)",
    )
    .says(&["exec_cmd(", ") returned 3"]),
    rule(
        "a script that cannot be run costs its lines",
        "!CMDSCRIPT DIR/missing\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE a\nCMDSCRIPT TELLER\nAT ONBATT * EXECUTE b\n",
        &[U],
        "0: b (ONBATT u@h)",
    )
    .says(&["exec_cmd(DIR/missing a) "]),
    rule(
        "a script that names no interpreter is a shell's",
        "!CMDSCRIPT PLAIN\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\nAT ONBATT * EXECUTE a\nAT ONBATT * START-TIMER b 0\n",
        &[U],
        "0: a (ONBATT u@h), b (ONBATT u@h)",
    ),
    // Timers.
    rule(
        "zero seconds are over at once, and what stands behind a number is passed over",
        concat!(keep!(), "AT ONBATT * START-TIMER a 0\nAT ONBATT * START-TIMER b 1x\n"),
        BOTH,
        "0 0: a (ONBATT u@h), b (ONBATT u@h)",
    ),
    rule(
        "without a number there is no timer",
        concat!(keep!(), "AT ONBATT * START-TIMER a abc\nAT ONBATT * START-TIMER b \"\"\nAT ONBATT * EXECUTE c\n"),
        BOTH,
        "0 0: c (ONBATT u@h)",
    )
    .but_nuts("0 0: a (ONBATT u@h), b (ONBATT u@h), c (ONBATT u@h)"),
    rule(
        "less than zero seconds are no timer, and more than can be counted are not zero",
        concat!(keep!(), "AT ONBATT * START-TIMER a -5\nAT ONBATT * CANCEL-TIMER a b\nAT ONBATT * START-TIMER c 99999999999999999999\n"),
        BOTH,
        "0 0: b (ONBATT u@h)",
    )
    .but_nuts("0 0: b (ONBATT u@h), c (ONBATT u@h)"),
    rule(
        "a cancel without a timer process starts none",
        "AT ONLINE * CANCEL-TIMER a\n",
        &[("ONLINE", "u@h")],
        "0:",
    )
    .starts_none(),
    rule(
        "the command of a cancel runs if nothing was pending",
        "AT ONLINE * CANCEL-TIMER a b\n",
        &[("ONLINE", "u@h")],
        "0: b (ONLINE u@h)",
    ),
    rule(
        "and not if there was",
        concat!(keep!(), "AT ONBATT * START-TIMER a 3600\nAT ONBATT * CANCEL-TIMER a b\nAT ONBATT * CANCEL-TIMER a c\n"),
        BOTH,
        "0 0: c (ONBATT u@h)",
    ),
    rule(
        "timers of one name all fire",
        "AT ONBATT * START-TIMER a 1\nAT ONBATT * START-TIMER a 1\n",
        &[U],
        "0: a (ONBATT u@h), a (ONBATT u@h)",
    ),
    rule(
        "a cancel removes all of its name, as in NUT from 2.8.5 on",
        concat!(keep!(), "AT ONBATT * START-TIMER a 3600\nAT ONBATT * START-TIMER a 3600\nAT ONBATT * CANCEL-TIMER a\nAT ONBATT * CANCEL-TIMER a b\n"),
        BOTH,
        "0 0: b (ONBATT u@h)",
    )
    .but_nuts("0 0:"),
    rule(
        "a timer's script sees the notice that set it, as in NUT from 2.8.5 on",
        "AT ONBATT * START-TIMER a 3600\nAT ONLINE * START-TIMER b 0\nAT ONLINE * CANCEL-TIMER c d\nAT REPLBATT * CANCEL-TIMER a\n",
        &[U, ("ONLINE", "v@h"), ("REPLBATT", "w@h")],
        "0 0 0: b (ONLINE v@h), d (ONLINE v@h)",
    )
    .but_nuts("0 0 0: b (ONBATT u@h), d (ONBATT u@h)"),
    rule(
        "names of any words",
        concat!(keep!(), "AT ONBATT * START-TIMER \"a \\\" \\\\ \\# b\" 3600\nAT ONBATT * CANCEL-TIMER \"a \\\" \\\\ \\# b\"\n\
         AT ONBATT * CANCEL-TIMER \"a \\\" \\\\ \\# b\" c\n"),
        BOTH,
        "0 0: c (ONBATT u@h)",
    ),
    rule(
        "what NUT documents and refuses works",
        "AT ONBATT * START-TIMER a 3600\nAT ONLINE * CANCEL-TIMER-MATCHED a b\nAT ONBATT * CANCEL-TIMER a c\n",
        &[("ONLINE", "u@h"), U],
        "0 0: b (ONLINE u@h)",
    )
    .but_nuts("0 0:"),
    // Places.
    rule("a FIFO gives way", "AT ONBATT * START-TIMER a 0\n", &[U], "0: a (ONBATT u@h)").with(Before::Fifo),
    rule("an empty file gives way", "AT ONBATT * START-TIMER a 0\n", &[U], "0: a (ONBATT u@h)").with(Before::Empty),
    rule(
        "a file that holds something does not",
        "AT ONBATT * START-TIMER a 0\nAT ONBATT * EXECUTE b\n",
        &[U],
        "1: b (ONBATT u@h)",
    )
    .with(Before::File)
    .but_nuts("0: a (ONBATT u@h), b (ONBATT u@h)"),
    rule(
        "a file that holds something is no lock",
        "AT ONBATT * START-TIMER a 0\nAT ONBATT * EXECUTE b\n",
        &[U],
        "1: b (ONBATT u@h)",
    )
    .with(Before::FullLock)
    .but_nuts("0: a (ONBATT u@h), b (ONBATT u@h)"),
    rule("a lock left behind is none", "AT ONBATT * START-TIMER a 0\n", &[U], "0: a (ONBATT u@h)").with(Before::OldLock),
    rule(
        "a path no socket can have costs only the timers",
        "PIPEFN DIR/LONG\nAT ONBATT * START-TIMER a 0\nAT ONBATT * EXECUTE b\n",
        &[U],
        "1: b (ONBATT u@h)",
    )
    .says(&["Can't create a unix domain socket: pathname 'DIR/LONG' is too long ("])
    .but_nuts("1:"),
];

/// The host on which a rule is played by ours or by NUT's.
fn name(nth: usize, is_ours: bool) -> String {
    format!("{}{nth}", if is_ours { "ours" } else { "nuts" })
}

/// A name that makes the path of a socket too long.
fn long() -> String {
    "x".repeat(110)
}

fn prepare(stage: &Stage, host: &Host, rule: &Rule) {
    let script = stage.teller(host, "CMDSCRIPT", &format!("tell-{}", host.name)).unwrap();
    let drill = stage.programs().path("upsdrill").unwrap();
    let plain = format!("{} tell {} CMDSCRIPT \"$@\"\n", drill.display(), host.name);
    let plain = stage.script(&format!("plain-{}", host.name), &plain).unwrap();
    let head = "CMDSCRIPT TELLER\nPIPEFN DIR/pipe\nLOCKFN DIR/lock\n";
    let text = rule.conf.strip_prefix('!').map_or_else(|| format!("{head}{}", rule.conf), str::to_owned);
    let text = text
        .replace("TELLER", &script.display().to_string())
        .replace("PLAIN", &plain.display().to_string())
        .replace("DIR", &host.state.display().to_string())
        .replace("LONG", &long());
    stage.write(&host.conf.join("upssched.conf"), &text).unwrap();
    let pipe = host.state.join("pipe");
    match rule.before {
        Before::Nothing => {}
        Before::Fifo => nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        Before::Empty => stage.write(&pipe, "").unwrap(),
        Before::File => stage.write(&pipe, "worth something").unwrap(),
        Before::FullLock => stage.write(&host.state.join("lock"), "worth something").unwrap(),
        Before::OldLock => stage.write(&host.state.join("lock"), "").unwrap(),
    }
}

/// What the script of this host was called with, in the order in which we heard of it.
fn calls(stage: &Stage, host: &str) -> Vec<String> {
    let call = |entry: &Entry| match &entry.what {
        What::Told { script, args, notice: (kind, ups) } if entry.host == host && script == "CMDSCRIPT" => {
            let text = |one: &Option<String>| one.clone().unwrap_or_else(|| "unset".to_owned());
            Some(format!("{} ({} {})", args.join("|"), text(kind), text(ups)))
        }
        _ => None,
    };
    stage.record.entries().iter().filter_map(call).collect()
}

/// The exit codes and calls that are expected.
fn expected(text: &str) -> (Vec<i32>, Vec<String>) {
    let (codes, calls) = text.split_once(':').unwrap();
    let calls = calls.trim();
    let calls = if calls.is_empty() { Vec::new() } else { calls.split(", ").map(str::to_owned).collect() };
    (codes.split(' ').map(|code| code.parse().unwrap()).collect(), calls)
}

#[tokio::test]
async fn one_rule_after_the_other_beside_nuts() {
    let Some(oracle) = Oracle::get("one_rule_after_the_other_beside_nuts") else { return };
    let mut stage = stage();
    let ours = stage.programs().path("upssched").unwrap();
    let mut played: Vec<(&Rule, Host, bool, Vec<i32>)> = Vec::new();
    for (nth, rule) in RULES.iter().enumerate() {
        for is_ours in [true, false] {
            let host = stage.host(&name(nth, is_ours)).unwrap();
            prepare(&stage, &host, rule);
            played.push((rule, host, is_ours, Vec::new()));
        }
    }
    // All at once, as none has to do with another; but the calls of one host one after the other.
    for nth in 0..RULES.iter().map(|rule| rule.notices.len()).max().unwrap() {
        let mut running = Vec::new();
        for (at, (rule, host, is_ours, _)) in played.iter().enumerate() {
            let Some((kind, ups)) = rule.notices.get(nth) else { continue };
            let environment = [("NOTIFYTYPE", *kind), ("UPSNAME", *ups)];
            let client = if *is_ours {
                stage.start_at(host, "upssched", &ours, &[rule.text], &environment)
            } else {
                oracle.start_with(&stage, host, "upssched", &["upssched", rule.text], &environment)
            };
            running.push((at, client.unwrap()));
        }
        for (at, mut client) in running {
            let what = played[at].0.what;
            let ended = tokio::time::timeout(PATIENCE, client.ended()).await;
            let (rule, host, ..) = &played[at];
            assert!(!rule.starts_none || !host.state.join("pipe").exists(), "{what}: {}", host.name);
            played[at].3.push(ended.unwrap_or_else(|_| panic!("{what}: it ends")).unwrap_or(-1));
        }
    }
    let mut wrong = Vec::new();
    for (rule, host, is_ours, codes) in &played {
        let is_timer = rule.conf.contains("-TIMER");
        let (wanted_codes, mut wanted) =
            expected(if *is_ours { rule.ours } else { rule.nuts.unwrap_or(rule.ours) });
        let told = |entry: &Entry| entry.is_script(&host.name, "CMDSCRIPT", None);
        let missing = stage.record.entries().iter().filter(|entry| told(entry)).count();
        let mut from = stage.record.mark();
        for _ in missing..wanted.len() {
            let claim = format!("{}: {} is called for {wanted:?}", rule.what, host.name);
            // Once something is missing there is nothing more to wait for patiently.
            let patience = if wrong.is_empty() { PATIENCE } else { Duration::ZERO };
            if let Err(missed) = stage.record.wait(from, patience, &claim, told).await {
                wrong.push(missed.to_string());
                break;
            }
            from = stage.record.mark();
        }
        let mut seen = calls(&stage, &host.name);
        if is_timer {
            seen.sort();
            wanted.sort();
        }
        if is_timer && !is_ours {
            // NUT's does some things twice when its timer process begins or ends at that moment.
            let mut left = wanted.clone();
            seen.retain(|call| match left.iter().position(|one| one == call) {
                Some(nth) => {
                    left.remove(nth);
                    true
                }
                None => !wanted.contains(call),
            });
        }
        if (codes, &seen) != (&wanted_codes, &wanted) {
            wrong.push(format!(
                "{}: {}: {codes:?} {seen:?}, expected {wanted_codes:?} {wanted:?}",
                rule.what, host.name
            ));
        }
        for part in rule.says {
            let part = part.replace("DIR", &host.state.display().to_string()).replace("LONG", &long());
            let says = |entry: &Entry| entry.is_line(&host.name, "upssched", &part);
            if stage.record.find(0, says).is_none() {
                wrong.push(format!("{}: {} does not say {part:?}", rule.what, host.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A timer process that one of them has started serves the other's clients, as after a change of packages.
#[tokio::test]
async fn a_timer_process_serves_the_clients_of_the_other_house() {
    let Some(oracle) = Oracle::get("a_timer_process_serves_the_clients_of_the_other_house") else { return };
    let mut stage = stage();
    let ours = stage.programs().path("upssched").unwrap();
    for begins in [true, false] {
        let host = stage.host(if begins { "ours" } else { "nuts" }).unwrap();
        let conf = "AT ONBATT * START-TIMER a 3600\nAT REPLBATT * START-TIMER b 0\nAT ONLINE * CANCEL-TIMER a c\nAT COMMOK * CANCEL-TIMER a d\n";
        prepare(&stage, &host, &rule("", conf, &[], ""));
        let calls_of = [("ONBATT", begins), ("REPLBATT", !begins), ("ONLINE", !begins), ("COMMOK", begins)];
        for (kind, is_ours) in calls_of {
            let environment = [("NOTIFYTYPE", kind), ("UPSNAME", "u@h")];
            let mut client = if is_ours {
                stage.start_at(&host, "upssched", &ours, &["a text"], &environment).unwrap()
            } else {
                oracle.start_with(&stage, &host, "upssched", &["upssched", "a text"], &environment).unwrap()
            };
            let ended = tokio::time::timeout(PATIENCE, client.ended()).await.expect("it ends");
            assert_eq!(ended, Some(0), "{kind}");
        }
        for command in ["b", "d"] {
            let is = |entry: &Entry| entry.is_script(&host.name, "CMDSCRIPT", Some(command));
            stage.record.wait(0, PATIENCE, &format!("{command} runs"), is).await.unwrap();
        }
        // The cancel of the other house has found what this one had started.
        let calls = calls(&stage, &host.name);
        assert!(!calls.iter().any(|call| call.starts_with("c ")), "{calls:?}");
    }
}

/// The processes that work with the files of this host.
fn processes_of(host: &Host) -> Vec<nix::unistd::Pid> {
    let conf = format!("NUT_CONFPATH={}\0", host.conf.display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_its = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|text| text.windows(conf.len()).any(|part| part == conf))
    };
    pids.filter(is_its).map(nix::unistd::Pid::from_raw).collect()
}

/// The timer process stands still while an outage comes and goes: what was to be cancelled is.
#[tokio::test]
async fn an_outage_in_a_standstill_leaves_no_timer_beside_nuts() {
    use nix::sys::signal::{Signal, kill};
    let Some(oracle) = Oracle::get("an_outage_in_a_standstill_leaves_no_timer_beside_nuts") else { return };
    let mut stage = stage();
    let ours = stage.programs().path("upssched").unwrap();
    let conf = "AT COMMBAD * START-TIMER keep 3600\nAT ONBATT * START-TIMER early 3600\nAT ONLINE * CANCEL-TIMER early\n\
        AT REPLBATT * CANCEL-TIMER early gone\nAT COMMOK * CANCEL-TIMER keep\n";
    let hosts = [("ours", true), ("nuts", false)].map(|(name, is_ours)| (stage.host(name).unwrap(), is_ours));
    for (host, _) in &hosts {
        prepare(&stage, host, &rule("", conf, &[], ""));
    }
    let call = |stage: &Stage, (host, is_ours): &(Host, bool), kind: &str| {
        let environment = [("NOTIFYTYPE", kind), ("UPSNAME", "u@h")];
        if *is_ours {
            stage.start_at(host, "upssched", &ours, &["a text"], &environment).unwrap()
        } else {
            oracle.start_with(stage, host, "upssched", &["upssched", "a text"], &environment).unwrap()
        }
    };
    let mut running = Vec::new();
    let mut standing = Vec::new();
    for one in &hosts {
        let mut client = call(&stage, one, "COMMBAD");
        assert_eq!(tokio::time::timeout(PATIENCE, client.ended()).await.expect("it ends"), Some(0));
        let pids = processes_of(&one.0);
        assert!(!pids.is_empty(), "{}", one.0.name);
        for pid in pids {
            kill(pid, Signal::SIGSTOP).unwrap();
            standing.push(pid);
        }
    }
    // Ours gave an order up after five seconds, and came back behind the other.
    for (kind, wait) in [("ONBATT", 3), ("ONLINE", 4)] {
        running.extend(hosts.iter().map(|one| call(&stage, one, kind)));
        nut_os::clock::until(nut_os::clock::now() + Duration::from_secs(wait)).await;
    }
    for pid in standing {
        kill(pid, Signal::SIGCONT).unwrap();
    }
    for client in &mut running {
        assert_eq!(tokio::time::timeout(PATIENCE, client.ended()).await.expect("it ends"), Some(0));
    }
    for one in &hosts {
        for kind in ["REPLBATT", "COMMOK"] {
            let mut client = call(&stage, one, kind);
            assert_eq!(tokio::time::timeout(PATIENCE, client.ended()).await.expect("it ends"), Some(0));
        }
        // Its command runs only if no timer is left.
        let is = |entry: &Entry| entry.is_script(&one.0.name, "CMDSCRIPT", Some("gone"));
        stage.record.wait(0, PATIENCE, &format!("nothing is pending: {}", one.0.name), is).await.unwrap();
    }
}
