//! The house rules that a compiler does not check.

// `cfg(test)` is always true here; it tells clippy that all of this is tests.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the house.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the house").to_owned()
}

/// All files below a folder with this ending, without `target` and hidden folders, with their path from the top.
fn files(below: &str, ending: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && name != "cache" && !name.starts_with('.') {
                    walk(&path, ending, found);
                }
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(below), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {below}: the test looks in the wrong place");
    let text =
        |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), text(path))).collect()
}

/// The part of a file that is built into a program: without its tests.
fn built(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

#[test]
fn every_file_says_in_its_first_line_what_it_is_about() {
    let silent: Vec<String> = files("crates", ".rs")
        .into_iter()
        .chain(files("tests", ".rs"))
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(silent, Vec::<String>::new());
}

/// Rooms and files that may touch the machine; everything else is pure.
fn may_touch_the_machine(name: &str) -> bool {
    let shells = ["shell.rs", "main.rs", "parent.rs", "connection.rs", "build.rs"];
    let rooms = ["crates/nut-os/", "crates/nut-drill/", "tests/"];
    let folders = ["/bin/", "/shell/", "/connection/", "/tests/", "/benches/"];
    rooms.iter().any(|room| name.starts_with(room))
        || folders.iter().any(|folder| name.contains(folder))
        || shells.iter().any(|shell| name.ends_with(&format!("/{shell}")))
        || name.ends_with("/tests.rs")
}

#[test]
fn machines_touch_no_clock_no_file_no_socket_and_no_process() {
    let words = [
        "tokio::",
        "nix::",
        "std::fs",
        "std::process",
        "std::thread",
        "std::os::",
        "async fn",
        "Instant::",
        "time::Instant",
        "SystemTime",
        "TcpStream",
        "TcpListener",
        "UnixStream",
        "UdpSocket",
        "zbus::",
        "rustix::",
        "tracing::",
    ];
    let mut found = Vec::new();
    for (name, text) in files("crates", ".rs") {
        if may_touch_the_machine(&name) {
            continue;
        }
        for (nth, line) in built(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            if let Some(word) = words.iter().find(|word| code.contains(**word)) {
                found.push(format!("{name}:{}: {word}", nth + 1));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new(), "pure files must stay pure; what does I/O belongs into a shell");
}

#[test]
fn nothing_is_left_open_in_the_code() {
    let words = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("db", "g!("),
    ];
    let mut found = Vec::new();
    for (name, text) in files("crates", ".rs").into_iter().chain(files("tests", ".rs")) {
        for (nth, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{}", nth + 1));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn rooms_know_only_whom_they_may_know() {
    // docs/architecture.md, "Who may know whom".
    let may = |room: &str| -> &[&str] {
        match room {
            "nut-proto" => &[],
            "nut-conf" | "nut-os" => &["nut-proto"],
            "nut-tls" => &["nut-proto", "nut-os"],
            "nut-client" => &["nut-proto", "nut-os", "nut-tls"],
            "upssched" => &["nut-proto", "nut-conf", "nut-os"],
            "nut-drivers" => &["nut-proto", "nut-conf", "nut-os", "nut-client"],
            "upsd" => &["nut-proto", "nut-conf", "nut-os", "nut-tls"],
            "upsmon" => &["nut-proto", "nut-conf", "nut-os", "nut-tls", "nut-client"],
            "nut-tools" | "nut-cgi" => &["nut-proto", "nut-conf", "nut-os", "nut-client"],
            "nut-drill" => &["nut-proto", "nut-os"],
            other => panic!("{other} stands in no line of the table of who may know whom"),
        }
    };
    let rooms = [
        "nut-proto",
        "nut-conf",
        "nut-os",
        "nut-tls",
        "nut-client",
        "nut-drivers",
        "upsd",
        "upssched",
        "upsmon",
        "nut-tools",
        "nut-cgi",
        "nut-drill",
    ];
    let mut found = Vec::new();
    for (name, text) in files("crates", "Cargo.toml") {
        let room = name.split('/').nth(1).unwrap();
        // What a room's tests use is their own affair.
        let dependencies = text.split("[dev-dependencies]").next().unwrap();
        for other in rooms {
            let named = dependencies.lines().any(|line| line.starts_with(&format!("{other} =")));
            if named && !may(room).contains(&other) {
                found.push(format!("{room} knows {other}"));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_dependency_has_its_reason() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut reasoned = false;
    for line in section.lines() {
        if line.starts_with('#') {
            reasoned = true;
        } else if line.is_empty() {
            reasoned = false;
        } else {
            assert!(reasoned, "no reason stands above: {line}");
        }
    }
    for (name, text) in files("crates", "Cargo.toml") {
        let versions = text.lines().find(|line| line.contains("version = \"") && !line.contains("workspace"));
        assert_eq!(versions, None, "{name}: versions stand in the root's Cargo.toml alone");
    }
}

/// Every row of the page's tables names, in its last cell, tests that exist. `heads` is how a table's first line begins.
fn rows_name_their_tests(page: &str, heads: &str, at_least: usize) {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let sources: String =
        files("crates", ".rs").into_iter().chain(files("tests", ".rs")).map(|(_, text)| text).collect();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with(heads)) {
        rows += 1;
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let tests = cells.last().unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named for: {line}");
        for test in names {
            assert!(sources.contains(&format!("fn {test}")), "there is no test {test}, named for: {line}");
        }
    }
    assert!(rows > at_least, "{page}: the tables are not where they were");
}

#[test]
fn every_difference_from_nut_names_its_test() {
    rows_name_their_tests("docs/differences-from-nut.md", "| what", 10);
}

#[test]
fn every_rule_of_a_program_names_its_tests() {
    // Each page of rules is looked at, whether it is listed here or not; of some it is known how long they are at least.
    let at_least =
        [("docs/driver-rules.md", 60), ("docs/upsmon-rules.md", 150), ("docs/upssched-rules.md", 70)];
    for (page, _) in files("docs", "-rules.md") {
        let rows = at_least.iter().find(|(name, _)| *name == page).map_or(30, |(_, rows)| *rows);
        rows_name_their_tests(&page, "| rule", rows);
    }
}

#[test]
fn where_the_rules_of_upssched_differ_there_is_a_reason() {
    // The page of differences says why: it names one of the same tests.
    let page = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let reasons = page("docs/differences-from-nut.md");
    let unexplained: Vec<String> = page("docs/upssched-rules.md")
        .lines()
        .filter(|line| line.starts_with("| ") && line.to_lowercase().contains("differs"))
        .filter(|line| {
            let tests = line.trim_matches('|').split(" | ").last().unwrap();
            !tests.split('`').skip(1).step_by(2).any(|test| reasons.contains(&format!("`{test}`")))
        })
        .map(str::to_owned)
        .collect();
    assert_eq!(unexplained, Vec::<String>::new());
}

/// The id a test bears, if its name begins with one: `b3_a_stuck_secondary` bears B3.
fn id_of(test: &str) -> Option<String> {
    let (id, _) = test.split_once('_')?;
    let (letter, number) = id.split_at_checked(1)?;
    let is_one = ("a"..="h").contains(&letter) && number.parse::<u8>().is_ok();
    is_one.then(|| id.to_uppercase())
}

#[test]
fn every_scenario_has_a_test_of_the_machines_that_bears_its_id() {
    let page = fs::read_to_string(root().join("docs/scenarios.md")).unwrap();
    let listed: Vec<String> = page
        .lines()
        .take_while(|line| *line != "## What holds whatever happens")
        .filter_map(|line| Some(line.strip_prefix("| ")?.split(" | ").next()?.to_owned()))
        .filter(|cell| cell != "id")
        .collect();
    // So many were measured; a line that is lost is noticed.
    let sections = [("A", 12), ("B", 17), ("C", 16), ("D", 7), ("E", 11), ("F", 7), ("G", 14), ("H", 8)];
    let all = sections.iter().flat_map(|(letter, last)| (1..=*last).map(move |nth| format!("{letter}{nth}")));
    assert_eq!(listed, all.collect::<Vec<_>>(), "docs/scenarios.md");

    let mut played: Vec<String> = files("crates", ".rs")
        .iter()
        .filter(|(name, _)| name.contains("/src/"))
        .flat_map(|(_, text)| {
            let after = text.split("#[test]\n").skip(1);
            let names = after.filter_map(|rest| rest.split("fn ").nth(1)?.split('(').next());
            names.filter_map(id_of).collect::<Vec<_>>()
        })
        .collect();
    played.sort();
    played.dedup();
    let mut listed = listed;
    listed.sort();
    assert_eq!(played, listed, "left: ids that tests bear; right: ids of docs/scenarios.md");
}

#[test]
fn the_architecture_page_is_true() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let sources = files("crates", ".rs");
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };

    // The house: every file it names stands in the room it names it for.
    let house = page.split("```").nth(1).unwrap();
    let mut room = String::new();
    let mut named = 0;
    for line in house.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if line.starts_with("  ") && !line.starts_with("   ") && first.ends_with('/') {
            room = format!("crates/{first}");
        } else if !line.starts_with(' ') {
            room = "tests/".to_owned();
        }
        for word in line.split([' ', ',', ':', ';', '(', ')']).filter(|word| word.ends_with(".rs")) {
            named += 1;
            let there = sources.iter().chain(&files("tests", ".rs")).any(|(name, _)| {
                name.starts_with(&room) && (name.ends_with(&format!("/{word}")) || name == word)
            });
            assert!(there, "{word} is not in {room}");
        }
    }
    assert!(named > 100, "the house names only {named} files");

    // The hops: every file and every function they name exists.
    let hops = page.split("## 5.").nth(1).unwrap().split("## 6.").next().unwrap();
    for row in hops.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| # ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        for file in quoted(cells[1]).iter().filter(|text| text.ends_with(".rs")) {
            assert!(sources.iter().any(|(name, _)| name.ends_with(&format!("/{file}"))), "{file}, in: {row}");
        }
        for function in quoted(cells[2]) {
            let (kind, name) = function.rsplit_once("::").unwrap_or(("", &function));
            let is = |text: &str| {
                [format!("fn {name}("), format!("fn {name}<"), format!("    {name}(")]
                    .iter()
                    .any(|one| text.contains(one.as_str()))
                    && (kind.is_empty() || text.contains(kind.rsplit("::").next().unwrap()))
            };
            let in_event = kind == "Event" || kind == "Request";
            let found =
                sources.iter().any(|(_, text)| is(text) || in_event && text.contains(&format!("    {name}")));
            assert!(found, "{function}, in: {row}");
        }
    }
}

#[test]
fn the_numbers_of_the_threat_model_are_those_of_the_code() {
    let page = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let crates = files("crates", ".rs");
    let sources: String =
        crates.iter().chain(&files("tests", ".rs")).map(|(_, text)| text.as_str()).collect();
    let bounds = page.split("## 2.").nth(1).unwrap().split("## 3.").next().unwrap();
    let mut rows = 0;
    for line in bounds.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")) {
        rows += 1;
        let cells: Vec<Vec<&str>> = line
            .trim_matches('|')
            .split(" | ")
            .map(|cell| cell.split('`').skip(1).step_by(2).collect())
            .collect();
        let [.., file, constant, value, tests] = cells.as_slice() else { panic!("too few cells: {line}") };
        let (file, constant, value) = (file[0], constant[0], value[0]);
        let stands =
            crates.iter().filter(|(name, _)| name.ends_with(&format!("/{file}"))).any(|(_, text)| {
                text.lines().any(|code| {
                    code.contains(&format!("const {constant}: ")) && code.ends_with(&format!(" = {value};"))
                })
            });
        assert!(stands, "{constant} in {file} is not {value}");
        assert!(!tests.is_empty(), "no test is named for: {line}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}, named for: {line}");
        }
    }
    assert!(rows > 25, "the tables are not where they were");
}
