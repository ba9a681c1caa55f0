//! `upsstats.cgi` as a program, against scripted servers.

// `cfg(test)` is always true here; it tells clippy that all of this is tests.
#![cfg(test)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A private folder with the configuration of the pages.
struct Pages(PathBuf);

/// What the web server gets.
struct Seen {
    head: String,
    body: String,
    stderr: String,
    code: Option<i32>,
}

impl Pages {
    fn new(hosts: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nut-cgi-{}-{number}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let pages = Self(dir);
        pages.write("hosts.conf", hosts);
        pages.write(
            "upsstats.html",
            "@FOREACHUPS@\n@HOST@ @STATUSCOLOR@ @VAR ups.status@ @HOSTLINK@\n@ENDFOR@",
        );
        pages.write("upsstats-single.html", "one: @VAR ups.status@\n");
        pages
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn ask(&self, query: &str) -> Seen {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upsstats"));
        command.env_clear().env("NUT_CONFPATH", &self.0).env("QUERY_STRING", query);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let stderr = String::from_utf8(output.stderr).unwrap();
        Seen { head: head.into(), body: body.into(), stderr, code: output.status.code() }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Answers one client; each question is one of these, or the UPS is unknown. Before it answers it waits for `others`.
fn serve(listener: &TcpListener, table: &[(&str, &str)], others: Option<&Barrier>) -> usize {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut asked = 0;
    if let Some(others) = others {
        others.wait();
    }
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap();
        if line == "LOGOUT" {
            stream.write_all(b"OK Goodbye\n").unwrap();
            break;
        }
        if line == "STARTTLS" {
            stream.write_all(b"ERR FEATURE-NOT-CONFIGURED\n").unwrap();
            continue;
        }
        asked += 1;
        let found = table.iter().find(|(question, _)| *question == line);
        stream.write_all(found.map_or("ERR UNKNOWN-UPS\n", |(_, answer)| answer).as_bytes()).unwrap();
    }
    asked
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

const ONLINE: (&str, &str) = ("LIST VAR a", "BEGIN LIST VAR a\nVAR a ups.status \"OL\"\nEND LIST VAR a\n");
const STALE: (&str, &str) = ("LIST VAR b", "ERR DATA-STALE\n");

#[test]
fn a_server_is_asked_for_all_its_upses_over_one_connection() {
    let (listener, port) = listener();
    let (a, b) = (format!("a@127.0.0.1:{port}"), format!("b@127.0.0.1:{port}"));
    let pages = Pages::new(&format!("MONITOR {a} \"One\"\nMONITOR {b} \"Two\"\n"));
    let server = thread::spawn(move || serve(&listener, &[ONLINE, STALE], None));
    let seen = pages.ask("refresh=5");
    assert_eq!(server.join().unwrap(), 2);
    assert_eq!((seen.head.as_str(), seen.code), ("Content-type: text/html\nPragma: no-cache", Some(0)));
    let link =
        |ups: &str, text: &str| format!("<a href=\"upsstats.cgi?host={ups}&amp;refresh=5\">{text}</a>");
    let (one, two) = (link(&a, "One"), link(&b, "Two"));
    assert_eq!(seen.body, format!("\n{a} #00FF00 OL {one}\n{b} #FFFF00 [error: Data stale]\n {two}\n"));
    assert_eq!(seen.stderr, "");
}

#[test]
fn servers_are_asked_at_the_same_time() {
    let ((first, one), (second, two)) = (listener(), listener());
    let pages = Pages::new(&format!("MONITOR a@127.0.0.1:{one} A\nMONITOR a@127.0.0.1:{two} B\n"));
    // Neither answers before both are asked.
    let both = Barrier::new(2);
    let seen = thread::scope(|scope| {
        scope.spawn(|| serve(&first, &[ONLINE], Some(&both)));
        scope.spawn(|| serve(&second, &[ONLINE], Some(&both)));
        pages.ask("")
    });
    assert_eq!(seen.body.matches("#00FF00 OL").count(), 2, "{}", seen.body);
}

#[test]
fn a_server_out_of_reach_costs_its_own_line() {
    let (listener, port) = listener();
    // Nothing listens on the port of a listener that is gone.
    let gone = self::listener().1;
    let pages = Pages::new(&format!("MONITOR x@127.0.0.1:{gone} X\nMONITOR a@127.0.0.1:{port} A\n"));
    let server = thread::spawn(move || serve(&listener, &[ONLINE], None));
    let seen = pages.ask("json");
    server.join().unwrap();
    assert!(seen.head.starts_with("Content-type: application/json; charset=utf-8\n"), "{}", seen.head);
    let devices: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
    let text = "Connection failure: Connection refused";
    assert_eq!(devices["devices"][0]["error"], format!("Connection failed: {text}"));
    assert_eq!(devices["devices"][1]["vars"]["ups.status"], "OL");
    assert_eq!(seen.stderr, format!("UPS [x@127.0.0.1:{gone}]: can't connect to server: {text}\n"));
}

#[test]
fn a_template_is_chosen_among_those_that_hosts_conf_allows() {
    let (listener, port) = listener();
    let pages = Pages::new(&format!(
        "MONITOR a@127.0.0.1:{port} A\nCUSTOM_TEMPLATE_LIST wide.html\nCUSTOM_TEMPLATE_LIST ../up.html\nCUSTOM_TEMPLATE_LIST hosts.conf\n"
    ));
    pages.write("wide.html", "@NUT_UPSSTATS_TEMPLATE wide@wide @HOSTLINK@");
    pages.write("other.html", "not for everybody");
    thread::spawn(move || {
        loop {
            serve(&listener, &[ONLINE], None);
        }
    });
    let link = format!("<a href=\"upsstats.cgi?host=a@127.0.0.1:{port}&amp;template_list=wide.html\">A</a>");
    assert_eq!(pages.ask("template_list=wide.html").body, format!("wide {link}"));
    for name in ["other.html", "../up.html", "hosts.conf"] {
        let seen = pages.ask(&format!("template_list={name}"));
        let expected = format!("Error: can't open template file ({name}): Not authorized<br/>\n");
        assert_eq!((seen.body, seen.code), (expected, Some(1)));
    }
    assert_eq!(pages.ask(&format!("host=a@127.0.0.1:{port}&template_single=")).body, "one: OL\n");
}

#[test]
fn what_cannot_be_shown_is_said_in_the_language_that_was_asked_for() {
    let pages = Pages::new("MONITOR a@localhost A\n");
    let seen = pages.ask("host=%3Cb%3E");
    assert_eq!(
        (seen.body.as_str(), seen.code),
        ("Access to that host [&lt;b&gt;] is not authorized.\n", Some(1))
    );
    let seen = pages.ask("host=%3Cb%3E&json");
    assert_eq!(seen.body, "{\"error\": \"Access to host <b> is not authorized.\"}");

    fs::remove_file(pages.0.join("hosts.conf")).unwrap();
    let seen = pages.ask("json");
    assert_eq!((seen.body.as_str(), seen.code), ("{\"error\": \"can't open hosts.conf\"}", Some(1)));
    let path = pages.0.join("hosts.conf");
    let cause = "No such file or directory";
    assert_eq!(seen.stderr, format!("upsstats: cannot open {}: {cause}\n", path.display()));
    assert!(pages.ask("").body.contains("Error: can't open hosts.conf"));

    let seen = pages.ask("host=%");
    assert_eq!((seen.head.as_str(), seen.stderr.as_str(), seen.code), ("", "bad escape char\n", Some(1)));
}
