//! `upscmd`.

use crate::server::{Seen, Server, THEN_HANG_UP, failure, run, run_with_input, success};

const UPSCMD: &str = env!("CARGO_BIN_EXE_upscmd");

const ME: [&str; 4] = ["-u", "me", "-p", "two words"];

const OK: &str = "OK\n";

/// What is seen when the server's word for it goes to standard error.
fn told(line: &str) -> Seen {
    Seen { stderr: format!("{line}\n"), ..success("") }
}

fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [&ME, words].concat()
}

#[test]
fn the_commands_of_a_ups_with_their_descriptions() {
    let many: Vec<String> = (0..40).map(|n| format!("test.{n}")).collect();
    let items: String = many.iter().map(|command| format!("CMD u {command}\n")).collect();
    let list = format!("BEGIN LIST CMD u\n{items}END LIST CMD u\n");
    let mut table = vec![("LIST CMD u".to_owned(), list)];
    for command in many.iter().skip(1) {
        let question = format!("GET CMDDESC u {command}");
        table.push((question, format!("CMDDESC u {command} \"What {command} does\"\n")));
    }
    let table: Vec<_> = table.iter().map(|(question, answer)| (question.as_str(), answer.as_str())).collect();
    let server = Server::start(&table);
    let described: String =
        many.iter().skip(1).map(|command| format!("{command} - What {command} does\n")).collect();
    let expected = format!("Instant commands supported on UPS [u]:\n\ntest.0\n{described}");
    assert_eq!(run(UPSCMD, &["-l", &server.at("u")]), success(&expected));
    assert_eq!(server.asked().len(), 1 + many.len() + 1);

    let server = Server::start(&[("LIST CMD u", "ERR DATA-STALE\n")]);
    assert_eq!(run(UPSCMD, &["-l", &server.at("u")]), failure("Error: Data stale\n"));
}

#[test]
fn a_command_is_given_and_the_servers_word_is_told() {
    let server =
        Server::start(&[("USERNAME me", OK), ("PASSWORD \"two words\"", OK), ("INSTCMD u load.off 5", OK)]);
    assert_eq!(run(UPSCMD, &with(&[&server.at("u"), "load.off", "5"])), told("OK"));
    let asked = server.asked();
    assert_eq!(asked, ["USERNAME me", "PASSWORD \"two words\"", "INSTCMD u load.off 5", "LOGOUT"]);

    for word in ["CMD-NOT-SUPPORTED", "ACCESS-DENIED", "DATA-STALE", "DRIVER-NOT-CONNECTED", "UNKNOWN-UPS"] {
        let answer = format!("ERR {word}\n");
        let server =
            Server::start(&[("USERNAME me", OK), ("PASSWORD \"two words\"", OK), ("INSTCMD u a.b", &answer)]);
        let expected = failure(&format!("Unexpected response from upsd: ERR {word}\n"));
        assert_eq!(run(UPSCMD, &with(&[&server.at("u"), "a.b"])), expected);
    }
}

#[test]
fn a_command_is_followed_until_its_end() {
    let table = [
        ("USERNAME me", OK),
        ("PASSWORD \"two words\"", OK),
        ("SET TRACKING ON", OK),
        ("INSTCMD u a.b", "OK TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263\n"),
        ("GET TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263", "PENDING\n"),
        ("GET TRACKING 2DDC5036-F665-4D29-BE4C-0374D091D263", "SUCCESS\n"),
    ];
    let server = Server::start(&table);
    assert_eq!(run(UPSCMD, &with(&["-w", &server.at("u"), "a.b"])), told("SUCCESS"));
    assert_eq!(server.asked().len(), 7);

    let server = Server::start(table.split_last().unwrap().1);
    let expected = failure("Can't receive status tracking information: timeout\n");
    assert_eq!(run(UPSCMD, &with(&["-w", "-t1", &server.at("u"), "a.b"])), expected);
}

#[test]
fn a_name_not_given_is_asked_for() {
    let server = Server::start(&[("USERNAME you", OK), ("PASSWORD x", OK), ("INSTCMD u a.b", OK)]);
    let seen = run_with_input(UPSCMD, &["-p", "x", &server.at("u"), "a.b"], "you\n");
    assert!(seen.stdout.starts_with("Username") && seen.stdout.ends_with(": "), "{}", seen.stdout);
    assert_eq!((seen.stderr.as_str(), seen.code), ("OK\n", Some(0)));
    server.asked();

    let server = Server::start(&[]);
    let seen = run(UPSCMD, &["-p", "x", &server.at("u"), "a.b"]);
    assert_eq!((seen.stderr.as_str(), seen.code), ("Error reading from stdin!\n", Some(1)));
    assert_eq!(server.asked(), ["LOGOUT"]);
}

#[test]
fn a_server_that_breaks_off_is_told() {
    let server = Server::start(&[("USERNAME me", OK), ("PASSWORD \"two words\"", THEN_HANG_UP)]);
    let text = "Server disconnected";
    let expected = failure(&format!("Set password failed: {text}\nAuthentication failed: {text}\n"));
    assert_eq!(run(UPSCMD, &with(&[&server.at("u"), "a.b"])), expected);
}

#[test]
fn without_a_ups_or_a_command_the_help_is_shown() {
    let help = run(UPSCMD, &["-h"]);
    assert!(help.stdout.starts_with(&format!("{}\n\nUsage: upscmd ", nut_os::options::banner("upscmd"))));
    assert_eq!(help, success(&help.stdout));
    assert_eq!(run(UPSCMD, &[]), help);
    let server = Server::start(&[]);
    assert_eq!(run(UPSCMD, &[&server.at("u")]), help);
    assert_eq!(server.asked(), ["LOGOUT"]);
    let server = Server::start(&[]);
    let expected = failure("Error: old command names are not supported\n");
    assert_eq!(run(UPSCMD, &[&server.at("u"), "off"]), expected);
}
