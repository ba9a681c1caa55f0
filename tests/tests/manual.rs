//! The manual as a whole: its options are those the programs show, it refers to what exists, and it can be read.

use crate::support::{PATIENCE, me, stage};
use nut_drill::manual::{examples, folder, keep, literal, page, pages, placeholders, sentence};
use nut_drill::programs::Programs;
use nut_drill::record::{Entry, What};
use nut_drill::stage::Stage;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Programs and the pages with their options.
const PROGRAMS: [(&str, &str); 9] = [
    ("upsd", "upsd.8"),
    ("upsmon", "upsmon.8"),
    ("upssched", "upssched.8"),
    ("upsdrvctl", "upsdrvctl.8"),
    // All drivers have the same.
    ("dummy-ups", "nutupsdrv.8"),
    ("apcsmart", "nutupsdrv.8"),
    ("upsc", "upsc.8"),
    ("upscmd", "upscmd.8"),
    ("upsrw", "upsrw.8"),
];

/// Drivers, whose pages have the options of their own.
const DRIVERS: [&str; 2] = ["apcsmart", "dummy-ups"];

/// Pages of others that ours refer to.
const ELSEWHERE: [&str; 14] = [
    "logger 1",
    "openssl 1",
    "sleep 1",
    "systemctl 1",
    "timeout 1",
    "wall 1",
    "syslog 3",
    "termios 3",
    "systemd.unit 5",
    "sd_notify 3",
    "shutdown 8",
    "systemd-logind 8",
    "systemd-shutdown 8",
    "udev 7",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the house").to_owned()
}

/// The pages: file name and text.
fn manual() -> Vec<(String, String)> {
    pages().unwrap_or_else(|error| panic!("{error}"))
}

/// What a program shows for `-h`.
fn help(program: &str) -> String {
    static FRESH: OnceLock<Programs> = OnceLock::new();
    let programs = FRESH.get_or_init(|| Programs::fresh().unwrap_or_else(|error| panic!("{error}")));
    let path = programs.path(program).unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(path).arg("-h").output().unwrap();
    assert!(output.status.success(), "{program} -h: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// One option as `-h` shows it.
struct Opt {
    /// Its letter, or its word if it is a long one.
    name: String,
    /// What its argument is called, `<user>`.
    argument: String,
    help: String,
}

/// The options that `-h` shows: `  -c <command>  tell the running upsd: ...`.
fn options(help: &str) -> Vec<Opt> {
    let listed = help.split("\nOptions:\n").nth(1).expect("every program has options");
    let mut found: Vec<Opt> = Vec::new();
    for line in listed.lines() {
        // A long option stands four to the right.
        let Some((option, text)) =
            line.strip_prefix("  ").and_then(|line| line.trim_start().split_once("  "))
        else {
            continue;
        };
        // `-D...`: may be given several times.
        let option = option.trim().trim_end_matches("...");
        let (name, argument) = option.split_once(' ').unwrap_or((option, ""));
        let name = name.trim_start_matches('-').to_owned();
        assert!(!name.is_empty(), "no option: {line}");
        let argument = argument.trim().to_ascii_lowercase();
        found.push(Opt { name, argument, help: text.trim().to_owned() });
    }
    assert!(found.len() >= 3, "{help}");
    found
}

fn flag(name: &str) -> String {
    if name.chars().count() == 1 {
        format!("Fl {}", literal(name))
    } else {
        format!("Fl \\-{}", literal(name))
    }
}

#[test]
fn the_manual_has_every_option_as_the_programs_show_it() {
    for (program, page) in PROGRAMS {
        let mut block = ".Bl -tag -width 4n\n".to_owned();
        for Opt { name, argument, help } in options(&help(program)) {
            let _ = write!(block, ".It {}", flag(&name));
            // `<type> [ups]`: one that must be given, and one that may.
            let (argument, further) = match argument.split_once(" [") {
                Some((first, further)) => (first.to_owned(), further.strip_suffix(']')),
                None => (argument.clone(), None),
            };
            match argument.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
                Some(name) if name.chars().all(|c| c.is_ascii_alphanumeric()) => {
                    let _ = write!(block, " Ar {name}");
                }
                Some(name) => {
                    let _ = write!(block, " No \"\\fI{}\\fP\"", placeholders(name));
                }
                None => {}
            }
            if let Some(further) = further {
                let _ = write!(block, " Op Ar {further}");
            }
            let _ = write!(block, "\n{}\n", sentence(&help));
        }
        block.push_str(".El\n");
        keep(page, "options", &block, "scenarios").unwrap_or_else(|error| panic!("{program}: {error}"));
    }
    for driver in DRIVERS {
        let mut block = ".Bl -tag -width 4n\n".to_owned();
        let help = help(driver);
        let own: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("  -x ")).collect();
        for line in own.iter().filter(|line| !line.starts_with('<')) {
            let (name, text) = line.split_once(": ").unwrap();
            let _ = writeln!(block, ".It Ic {}\n{}", literal(name), sentence(text));
        }
        block.push_str(".El\n");
        keep(&format!("{driver}.8"), "options", &block, "scenarios")
            .unwrap_or_else(|error| panic!("{driver}: {error}"));
    }
}

/// The part of a page below a heading.
fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let (_, rest) = page.split_once(&format!("\n.Sh {heading}\n"))?;
    Some(rest.split("\n.Sh ").next().unwrap_or(rest))
}

#[test]
fn the_manual_calls_programs_as_they_can_be_called() {
    for (name, text) in manual() {
        let Some((_, page)) = PROGRAMS.iter().find(|(program, page)| {
            *page == name || DRIVERS.contains(program) && name == format!("{program}.8")
        }) else {
            continue;
        };
        let program = PROGRAMS.iter().find(|(program, _)| name == format!("{program}.8"));
        let program = program.map_or("dummy-ups", |(program, _)| program);
        let known: BTreeSet<String> = options(&help(program)).into_iter().map(|one| one.name).collect();
        let synopsis = section(&text, "SYNOPSIS").unwrap_or_else(|| panic!("{name} has no SYNOPSIS"));
        let synopsis: String = synopsis
            .lines()
            .filter(|line| !line.starts_with(".\\\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut shown = BTreeSet::new();
        for part in synopsis.split("Fl ").skip(1) {
            // `Fl h | V` is -h or -V.
            let mut words = part.lines().next().unwrap_or_default().split(' ');
            let mut word = words.next();
            while let Some(flag) = word {
                match flag.strip_prefix("\\-") {
                    Some(long) => drop(shown.insert(long.replace("\\-", "-"))),
                    None => shown.extend(flag.chars().map(String::from)),
                }
                word = if words.next() == Some("|") {
                    words.next().filter(|word| word.len() == 1)
                } else {
                    None
                };
            }
        }
        let wrong: Vec<&String> = shown.difference(&known).collect();
        assert!(wrong.is_empty(), "{name}: {program} has no {wrong:?}");
        if *page == name {
            let missing: Vec<&String> = known.difference(&shown).collect();
            assert!(missing.is_empty(), "{name}: the SYNOPSIS lacks {missing:?}");
        }
    }
}

#[test]
fn pages_of_the_manual_have_their_parts_in_order() {
    let order = ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"];
    for (name, text) in manual() {
        let (title, number) = name.rsplit_once('.').unwrap();
        assert!(text.starts_with(".\\\""), "{name} begins with a comment on its subject");
        assert!(text.contains(&format!("\n.Dt {} {number}\n", title.to_uppercase())), "{name}: its title");
        assert!(text.contains(&format!("\n.Nm {title}\n")), "{name}: its name");
        let at = |heading: &str| text.find(&format!("\n.Sh {heading}\n"));
        let places: Vec<usize> =
            order.iter().map(|heading| at(heading).unwrap_or_else(|| panic!("{name}: {heading}"))).collect();
        assert!(places.is_sorted(), "{name}: the order of {order:?}");
        if number == "8" {
            for heading in ["ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES"] {
                assert!(at(heading).is_some(), "{name}: {heading}");
            }
        } else {
            assert!(at("EXAMPLES").is_some() && at("DIRECTIVES").is_some(), "{name}");
        }
        assert!(at("DIFFERENCES FROM NUT").is_some(), "{name}: what differs from NUT");
        for (nth, line) in text.lines().enumerate() {
            let nth = nth + 1;
            assert!(line.is_ascii() && line.trim_end() == line && !line.is_empty(), "{name}:{nth}: {line:?}");
        }
    }
}

#[test]
fn the_manual_refers_to_what_exists() {
    let pages = manual();
    let own: Vec<String> = pages
        .iter()
        .map(|(name, _)| {
            let (title, number) = name.rsplit_once('.').unwrap();
            format!("{title} {number}")
        })
        .collect();
    for (name, text) in &pages {
        for reference in text.lines().filter_map(|line| line.split_once("Xr ")).map(|(_, rest)| rest) {
            let mut words = reference.split_whitespace();
            let page = format!("{} {}", words.next().unwrap().replace("\\-", "-"), words.next().unwrap());
            assert!(own.contains(&page) || ELSEWHERE.contains(&page.as_str()), "{name} refers to {page}");
        }
    }
    for page in &own {
        let referred = pages.iter().any(|(name, text)| {
            let (title, number) = name.rsplit_once('.').unwrap();
            *page != format!("{title} {number}") && text.contains(&format!("Xr {page}"))
        });
        assert!(referred, "no page refers to {page}");
    }
}

/// The code of the programs, without tests, with texts that go over several lines as one.
fn code() -> String {
    fn walk(folder: &Path, out: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["tests", "target", "nut-drill"].contains(&name.as_str()) {
                    walk(&path, out);
                }
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(&path).unwrap();
                out.push_str(text.split("#[cfg(test)]\nmod ").next().unwrap());
            }
        }
    }
    let mut text = String::new();
    walk(&root().join("crates"), &mut text);
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start())
}

/// Words that look like a variable of NUT's environment.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("NUT_") && word.len() > 5).map(str::to_owned).collect()
}

#[test]
fn the_manual_knows_the_environment_of_the_programs() {
    // Only the table of nut.conf knows these: nut.conf(5) says that they do nothing.
    let without_effect = ["NUT_DEBUG_PID", "NUT_DEBUG_PROCNAME", "NUT_QUIET_INIT_UPSNOTIFY"];
    let mut read = BTreeSet::new();
    for text in code().split('"').filter(|text| text.starts_with("NUT_")) {
        read.extend(variables(text).into_iter().filter(|word| word == text));
    }
    let mut known = BTreeSet::new();
    for (name, text) in manual() {
        let environment = section(&text, "ENVIRONMENT").unwrap_or_default();
        for variable in variables(environment) {
            assert!(read.contains(&variable), "{name}: no program looks at {variable}");
            assert!(!without_effect.contains(&variable.as_str()), "{name}: {variable} does nothing");
            known.insert(variable);
        }
    }
    let missing: Vec<&String> =
        read.iter().filter(|one| !known.contains(*one) && !without_effect.contains(&one.as_str())).collect();
    assert!(missing.is_empty(), "no page has {missing:?} in its ENVIRONMENT");
}

#[test]
fn messages_in_the_manual_are_those_of_the_programs() {
    let code = code();
    let mut looked_at = 0;
    for (name, text) in manual() {
        let Some(messages) = section(&text, "DIAGNOSTICS") else { continue };
        for line in messages.lines().filter_map(|line| line.strip_prefix(".It Sy ")) {
            let message = line.trim_matches('"').replace("\\-", "-").replace("\\(dq", "\\\"");
            // Placeholders stand for anything: the parts between them must be there.
            for part in message.split("\\fI").flat_map(|part| part.rsplit("\\fP").take(1)) {
                let part = part.trim();
                if part.len() > 3 {
                    assert!(code.contains(part), "{name}: no program says {part:?}, in: {message}");
                    looked_at += 1;
                }
            }
        }
    }
    assert!(looked_at > 50, "only {looked_at} parts of messages were found");
}

/// Follows upsd(8) and upsmon(8) with their files as they stand there, but for the ports and the user of this test.
#[tokio::test]
async fn the_manuals_examples_work_as_they_stand() {
    let example = |name: &str, kind: &str| -> String {
        let text = page(name).unwrap_or_else(|error| panic!("{error}"));
        let found = examples(&text).into_iter().find(|(known, _)| known == kind);
        found.unwrap_or_else(|| panic!("{name} has no {kind}")).1
    };
    let mut stage = stage();
    let host = stage.host("central").unwrap();
    let write = |stage: &Stage, file: &str, text: &str| stage.write(&host.conf.join(file), text).unwrap();
    write(&stage, "ups.conf", &format!("user = {}\n{}", me(), example("upsd.8", "ups.conf")));
    write(&stage, "paper.dev", "ups.status: OL\n");
    write(&stage, "upsd.conf", "LISTEN 127.0.0.1 0\n");
    write(&stage, "upsd.users", &example("upsmon.8", "upsd.users"));
    let _driver = stage.start(&host, "dummy-ups", &["-a", "paper", "-F"]).unwrap();
    let _server = stage.start(&host, "upsd", &["-F", "-u", &me()]).unwrap();
    let listens = |entry: &Entry| entry.is_line("central", "upsd", "listening on 127.0.0.1 port");
    let entry = stage.record.wait(0, PATIENCE, "upsd listens", listens).await.unwrap();
    let What::Line { text, .. } = entry.what else { panic!("a line is a line") };
    let port = text.rsplit_once("port ").unwrap().1.split_whitespace().next().unwrap().to_owned();

    let upsmon_conf = example("upsmon.8", "upsmon.conf");
    assert!(upsmon_conf.contains("paper@localhost ") && upsmon_conf.contains(" /tmp/killpower\n"));
    let flag = host.state.join("killpower");
    let upsmon_conf = upsmon_conf
        .replace("paper@localhost", &format!("paper@127.0.0.1:{port}"))
        .replace("/tmp/killpower", &flag.display().to_string());
    write(&stage, "upsmon.conf", &format!("{upsmon_conf}RUN_AS_USER {}\n", me()));
    let _monitor = stage.start(&host, "upsmon", &["-F"]).unwrap();
    let logged_in = |entry: &Entry| entry.is_line("central", "upsd", "logged into UPS [paper]");
    stage.record.wait(0, PATIENCE, "upsmon logs in", logged_in).await.unwrap();
    write(&stage, "paper.dev", "ups.status: OB LB\n");
    let stops = |entry: &Entry| entry.is_line("central", "upsmon", "this host would stop");
    stage.record.wait(0, PATIENCE, "the host is stopped", stops).await.unwrap();
    assert!(flag.exists(), "the power is to be cut");
}

/// Runs a program that shows pages; its complaints, or nothing if it is not there.
fn complaints(program: &str, args: &[&str], page: &Path) -> Option<String> {
    let output = match Command::new(program).args(args).arg(page).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{program}: {error}"),
    };
    // mandoc says what it has to say on standard output.
    let said = if args.contains(&"lint") { output.stdout } else { output.stderr };
    Some(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_manual_renders_without_warnings() {
    let tools: [(&str, &[&str]); 2] =
        [("groff", &["-mdoc", "-Tutf8", "-ww", "-rLL=80n"]), ("mandoc", &["-T", "lint", "-W", "warning"])];
    for (program, args) in tools {
        for (name, _) in manual() {
            match complaints(program, args, &folder().join(&name)) {
                Some(said) => assert_eq!(said, "", "{program}, {name}"),
                None => {
                    eprintln!("skipped: the_manual_renders_without_warnings: there is no {program}");
                    break;
                }
            }
        }
    }
}

#[test]
fn packages_hold_every_page_of_the_manual_beside_its_program() {
    let read = |name: &str| fs::read_to_string(root().join("debian").join(name)).unwrap();
    let mut listed = Vec::new();
    for package in ["nut-server", "nut-client", "nut-cgi"] {
        let pages = read(&format!("{package}.manpages"));
        let pages: Vec<String> = pages
            .lines()
            .map(|line| {
                line.strip_prefix("docs/man/").unwrap_or_else(|| panic!("{package}: {line}")).to_owned()
            })
            .collect();
        for line in read(&format!("{package}.install")).lines() {
            let Some(program) = line.strip_prefix("target/release/") else { continue };
            let (program, place) = program.split_once(' ').unwrap();
            let known = PROGRAMS.iter().any(|(name, _)| *name == program);
            assert!(known || place.ends_with(".cgi"), "the options of {program} are in no page");
            let page = match place.strip_prefix("=> ") {
                Some(path) => format!("{}.8", path.rsplit('/').next().unwrap()),
                None => format!("{program}.8"),
            };
            assert!(pages.contains(&page), "{package} installs {program} without {page}");
        }
        listed.extend(pages);
    }
    listed.sort();
    let all: Vec<String> = manual().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, all, "every page is in one package");
}
