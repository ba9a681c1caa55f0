//! `upsrw`.

use crate::server::{Seen, Server, failure, run, run_with_input, success};

const UPSRW: &str = env!("CARGO_BIN_EXE_upsrw");

const OK: &str = "OK\n";

const LISTED: [(&str, &str); 15] = [
    (
        "LIST RW u",
        "BEGIN LIST RW u\nRW u battery.charge.low \"10\"\nRW u input.sensitivity \"medium\"\nRW u ups.id \"rack1\"\n\
         RW u ups.odd \"1\"\nEND LIST RW u\n",
    ),
    ("GET DESC u battery.charge.low", "DESC u battery.charge.low \"Remaining charge\"\n"),
    ("GET TYPE u battery.charge.low", "TYPE u battery.charge.low RW RANGE NUMBER\n"),
    ("GET VAR u battery.charge.low", "VAR u battery.charge.low \"10\"\n"),
    (
        "LIST RANGE u battery.charge.low",
        "BEGIN LIST RANGE u battery.charge.low\nRANGE u battery.charge.low \"10\" \"50\"\n\
         END LIST RANGE u battery.charge.low\n",
    ),
    ("GET DESC u input.sensitivity", "DESC u input.sensitivity \"Description unavailable\"\n"),
    ("GET TYPE u input.sensitivity", "TYPE u input.sensitivity RW ENUM STRING:8\n"),
    ("GET VAR u input.sensitivity", "VAR u input.sensitivity \"medium\"\n"),
    (
        "LIST ENUM u input.sensitivity",
        "BEGIN LIST ENUM u input.sensitivity\nENUM u input.sensitivity \"low\"\nENUM u input.sensitivity \"medium\"\n\
         END LIST ENUM u input.sensitivity\n",
    ),
    ("GET DESC u ups.id", "ERR DATA-STALE\n"),
    ("GET TYPE u ups.id", "TYPE u ups.id RW STRING:16\n"),
    ("GET VAR u ups.id", "VAR u ups.id \"rack1\"\n"),
    ("GET DESC u ups.odd", "DESC u ups.odd \"Odd\"\n"),
    ("GET TYPE u ups.odd", "ERR VAR-NOT-SUPPORTED\n"),
    ("GET VAR u ups.odd", "ERR VAR-NOT-SUPPORTED\n"),
];

const SHOWN: &str = "\
[battery.charge.low]
Remaining charge
Type: RANGE NUMBER
Option: \"10-50\" SELECTED

[input.sensitivity]
Description unavailable
Type: ENUM STRING
Maximum length: 8
Option: \"low\"
Option: \"medium\" SELECTED

[ups.id]
Description unavailable
Type: STRING
Maximum length: 16
Value: rack1

[ups.odd]
Odd
Unknown type

";

#[test]
fn what_can_be_set_is_shown_with_its_choices() {
    let server = Server::start(&LISTED);
    assert_eq!(run(UPSRW, &[&server.at("u")]), success(SHOWN));
    assert_eq!(server.asked().len(), LISTED.len() + 1);

    let server = Server::start(&LISTED);
    let seen = run(UPSRW, &["-s", "a.b=1", "-l", &server.at("u")]);
    let told = "Listing mode requested, overriding setvar specified earlier!\n";
    assert_eq!(seen, Seen { stderr: told.into(), ..success(SHOWN) });

    let server = Server::start(&[("LIST RW u", "BEGIN LIST RW u\nEND LIST RW u\n")]);
    assert_eq!(run(UPSRW, &["-l", &server.at("u")]), success(""));
    let server = Server::start(&[("LIST RW u", "ERR UNKNOWN-UPS\n")]);
    assert_eq!(run(UPSRW, &[&server.at("u")]), failure("Error: Unknown UPS\n"));
}

#[test]
fn a_value_is_set_whatever_it_contains() {
    for (setting, question) in [
        ("ups.id=a=b", "SET VAR u ups.id \"a=b\""),
        ("ups.id=", "SET VAR u ups.id \"\""),
        ("ups.id=a \"b\" \\c", "SET VAR u ups.id \"a \\\"b\\\" \\\\c\""),
    ] {
        let server = Server::start(&[("USERNAME me", OK), ("PASSWORD x", OK), (question, OK)]);
        let seen = run(UPSRW, &["-s", setting, "-u", "me", "-p", "x", &server.at("u")]);
        assert_eq!(seen, Seen { stderr: OK.into(), ..success("") }, "{setting}");
        assert_eq!(server.asked(), ["USERNAME me", "PASSWORD x", question, "LOGOUT"]);
    }
}

#[test]
fn a_value_not_given_is_asked_for_before_the_server_is() {
    let server =
        Server::start(&[("USERNAME me", OK), ("PASSWORD x", OK), ("SET VAR u ups.id \"rack 2\"", OK)]);
    let seen = run_with_input(UPSRW, &["-s", "ups.id", "-u", "me", "-p", "x", &server.at("u")], "rack 2\n");
    assert_eq!(seen, Seen { stderr: OK.into(), ..success("Enter new value for ups.id: ") });
    server.asked();

    let server = Server::start(&[]);
    let seen = run(UPSRW, &["-s", "ups.id", "-u", "me", "-p", "x", &server.at("u")]);
    let expected = failure("Error reading from stdin!\n");
    assert_eq!(seen, Seen { stdout: "Enter new value for ups.id: ".into(), ..expected });
    assert_eq!(server.asked(), ["LOGOUT"]);
}

#[test]
fn a_refusal_is_told() {
    for word in ["TOO-LONG", "INVALID-VALUE", "READONLY", "ACCESS-DENIED", "PASSWORD-REQUIRED"] {
        let answer = format!("ERR {word}\n");
        let server =
            Server::start(&[("USERNAME me", OK), ("PASSWORD x", OK), ("SET VAR u a.b \"1\"", &answer)]);
        let expected = failure(&format!("Unexpected response from upsd: ERR {word}\n"));
        assert_eq!(run(UPSRW, &["-s", "a.b=1", "-u", "me", "-p", "x", &server.at("u")]), expected);
    }
    let server = Server::start(&[("USERNAME me", OK), ("PASSWORD x", OK)]);
    let expected = failure("Error: old variable names are not supported\n");
    assert_eq!(run(UPSRW, &["-s", "nodot=1", "-u", "me", "-p", "x", &server.at("u")]), expected);
    assert_eq!(server.asked(), ["USERNAME me", "PASSWORD x", "LOGOUT"]);
}

#[test]
fn without_a_ups_the_help_is_shown() {
    let help = run(UPSRW, &["-h"]);
    assert!(help.stdout.starts_with(&format!("{}\n\nUsage: upsrw ", nut_os::options::banner("upsrw"))));
    assert_eq!(run(UPSRW, &[]), success(&help.stdout));
    let misuse = run(UPSRW, &["-u", "me", "-s"]);
    assert_eq!(misuse, Seen { stderr: "upsrw: option requires an argument -- 's'\n".into(), ..help });
}
