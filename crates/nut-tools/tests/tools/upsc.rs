//! `upsc`.

use crate::server::{Seen, Server, THEN_HANG_UP, failure, run, success, tool};
use std::fs::OpenOptions;
use std::io::Read as _;
use std::process::Stdio;

const UPSC: &str = env!("CARGO_BIN_EXE_upsc");

const LIST_VAR: (&str, &str) = (
    "LIST VAR u",
    "BEGIN LIST VAR u\nVAR u battery.charge \"100\"\nVAR u ups.id \"a \\\"b\\\" \\\\ \\#\"\nEND LIST VAR u\n",
);

#[test]
fn all_variables_or_one_and_goodbye() {
    let server = Server::start(&[LIST_VAR]);
    let seen = run(UPSC, &[&server.at("u")]);
    assert_eq!(seen, success("battery.charge: 100\nups.id: a \"b\" \\ #\n"));
    assert_eq!(server.asked(), ["LIST VAR u", "LOGOUT"]);

    let server = Server::start(&[("GET VAR u ups.status", "VAR u ups.status \"OL CHRG\"\n")]);
    assert_eq!(run(UPSC, &[&server.at("u"), "ups.status"]), success("OL CHRG\n"));
    assert_eq!(server.asked(), ["GET VAR u ups.status", "LOGOUT"]);
}

#[test]
fn the_upses_of_a_server() {
    let list =
        ("LIST UPS", "BEGIN LIST UPS\nUPS a \"one\"\nUPS b \"Description unavailable\"\nEND LIST UPS\n");
    for (option, expected) in [
        ("-l", "a\nb\n"),
        ("-L", "a: one\nb: Description unavailable\n"),
        ("-jl", "[\n  \"a\",\n  \"b\"\n]\n"),
        ("-jL", "{\n  \"a\": \"one\",\n  \"b\": \"Description unavailable\"\n}\n"),
    ] {
        let server = Server::start(&[list]);
        assert_eq!(run(UPSC, &[option, &server.at("")]), success(expected), "{option}");
        server.asked();
    }
}

#[test]
fn the_clients_of_a_ups() {
    let table =
        [("LIST CLIENT u", "BEGIN LIST CLIENT u\nCLIENT u ::1\nCLIENT u 10.0.0.1\nEND LIST CLIENT u\n")];
    let server = Server::start(&table);
    assert_eq!(run(UPSC, &["-c", &server.at("u")]), success("::1\n10.0.0.1\n"));
    let server = Server::start(&[("LIST CLIENT u", "BEGIN LIST CLIENT u\nEND LIST CLIENT u\n")]);
    assert_eq!(run(UPSC, &["-c", &server.at("u")]), success(""));
}

#[test]
fn a_refusal_is_told_and_so_is_goodbye() {
    let server = Server::start(&[("LIST VAR u", "ERR DRIVER-NOT-CONNECTED\n")]);
    assert_eq!(run(UPSC, &[&server.at("u")]), failure("Error: Driver not connected\n"));
    assert_eq!(server.asked(), ["LIST VAR u", "LOGOUT"]);

    let server = Server::start(&[]);
    assert_eq!(run(UPSC, &["-l", &server.at("")]), failure("Error: upsd is too old to support this query\n"));

    let server = Server::start(&[]);
    let expected = failure("Error: old-style variable names are not supported\n");
    assert_eq!(run(UPSC, &[&server.at("u"), "STATUS"]), expected);
    assert_eq!(server.asked(), ["LOGOUT"]);
}

#[test]
fn a_server_that_breaks_off_is_told() {
    let cut = format!("BEGIN LIST VAR u\nVAR u a.b \"1\"\nVAR u c.{THEN_HANG_UP}");
    let server = Server::start(&[("LIST VAR u", &cut)]);
    let expected = Seen { stdout: "a.b: 1\n".into(), ..failure("Error: Server disconnected\n") };
    assert_eq!(run(UPSC, &[&server.at("u")]), expected);

    let server = Server::start(&[("GET VAR u a.b", "VAR u a.b\n")]);
    let expected = failure("Error: insufficient data (got 3 args, need at least 4)\n");
    assert_eq!(run(UPSC, &[&server.at("u"), "a.b"]), expected);

    let server = Server::start(&[("GET VAR u a.b", "VAR u x.y \"1\"\n")]);
    assert_eq!(run(UPSC, &[&server.at("u"), "a.b"]), failure("Error: Protocol error\n"));
}

#[test]
fn nobody_there_is_told_in_both_languages() {
    // Nothing listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ups = format!("u@127.0.0.1:{port}");
    let text = "Connection failure: Connection refused";
    let expected = failure(&format!("Error: {text}\n"));
    assert_eq!(run(UPSC, &[&ups]), expected);
    assert_eq!(run(UPSC, &["-j", &ups]), Seen { stdout: format!("{{\"error\": \"{text}\"}}\n"), ..expected });
}

#[test]
fn a_bad_timeout_is_told_and_passed_over() {
    let server = Server::start(&[LIST_VAR]);
    let mut command = tool(UPSC, &["-W", "soon", &server.at("u")]);
    let seen = Seen::from(command.env("NUT_DEFAULT_CONNECT_TIMEOUT", "-3").output().unwrap());
    let told = "upscli_init_default_connect_timeout: cli_secs='soon' value was not recognized, ignored\n\
                upscli_init_default_connect_timeout: NUT_DEFAULT_CONNECT_TIMEOUT='-3' value was not recognized, ignored\n";
    assert_eq!((seen.stderr.as_str(), seen.code), (told, Some(0)));
    assert!(seen.stdout.starts_with("battery.charge: 100\n"));
}

#[test]
fn help_and_version_succeed_and_so_does_misuse() {
    let banner = format!("{}\n", nut_os::options::banner("upsc"));
    let help = run(UPSC, &["-h"]);
    assert!(help.stdout.starts_with(&format!("{banner}\nUsage: upsc ")), "{}", help.stdout);
    assert_eq!((help.stderr.as_str(), help.code), ("", Some(0)));
    assert_eq!(run(UPSC, &["-V"]), success(&banner));
    let misuse = run(UPSC, &["-Z"]);
    assert_eq!(misuse, Seen { stderr: "upsc: invalid option -- 'Z'\n".into(), ..help });
    let nothing = failure("Error: invalid UPS definition.\nRequired format: upsname[@hostname[:port]]\n");
    assert_eq!(run(UPSC, &[]), nothing);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error_but_a_full_disk_is() {
    // More than a pipe takes, so that writing goes on when the reader is gone.
    let many: String =
        (0..4000).map(|n| format!("VAR u some.variable.{n} \"{}\"\n", "x".repeat(40))).collect();
    let list = format!("BEGIN LIST VAR u\n{many}END LIST VAR u\n");
    let server = Server::start(&[("LIST VAR u", &list)]);
    let mut child =
        tool(UPSC, &[&server.at("u")]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 20];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(first, *b"some.variable.0: xxx");
    let seen = Seen::from(child.wait_with_output().unwrap());
    assert_eq!((seen.stderr.as_str(), seen.code), ("", Some(0)));

    let server = Server::start(&[("LIST VAR u", &list)]);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let seen = Seen::from(tool(UPSC, &[&server.at("u")]).stdout(full).output().unwrap());
    assert_eq!(seen.code, Some(1));
    assert!(
        seen.stderr.starts_with("Error: cannot write to standard output: No space left"),
        "{}",
        seen.stderr
    );
}
