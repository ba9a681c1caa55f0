//! Hashed passwords with the real program: made by it, checked by it, and guessed at.

use crate::stage::{Client, Driver, Link, Stage, Upsd};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const DUMP: &str = "SETINFO ups.status \"OL\"\nADDCMD load.off\nDATAOK\nDUMPDONE\n";

/// Of `right one`, by Python's argon2-cffi: as slow as we take them.
const SLOW: &str =
    "$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHRzYWx0c2FsdA$5B7/YaWjSOZ2AtBVXflJ68SSon+8+SU92TuAxie6OpU";

fn stage(users: &str) -> Stage {
    let stage = Stage::new();
    stage.file("ups.conf", "[nicole]\n driver = apcsmart\n port = /dev/ttyS0\n");
    // All of 127.0.0.0/8 is this host: a guesser has an address of his own.
    stage.file("upsd.conf", "LISTEN 0.0.0.0 0\n");
    stage.file("upsd.users", users);
    stage
}

/// The line that `upsd --hash-password` prints.
fn hashed(stage: &Stage, password: &str) -> String {
    let (code, line, said) = stage.run_with_input(&["--hash-password"], &format!("{password}\n"));
    assert_eq!((code, said.as_str()), (0, ""));
    assert!(
        line.starts_with("password = \"$argon2id$v=19$m=19456,t=2,p=1$") && line.ends_with("\"\n"),
        "{line}"
    );
    line
}

fn primary(stage: &Stage, password: &str) -> String {
    format!("[mon]\n{}upsmon primary\n", hashed(stage, password))
}

/// With a driver that has told all.
fn start(stage: &Stage) -> (Upsd, Driver, Link) {
    let driver = Driver::listen(stage, "apcsmart-nicole");
    let upsd = stage.start(&[]);
    let mut link = driver.accept();
    assert_eq!(link.line(), "DUMPALL");
    link.write_all(DUMP.as_bytes()).unwrap();
    upsd.client().ask_until("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
    (upsd, driver, link)
}

fn says_who(mut client: Client, name: &str, password: &str) -> Client {
    client.ask(&format!("USERNAME {name}"), "OK");
    client.ask(&format!("PASSWORD \"{password}\""), "OK");
    client
}

#[test]
fn a_hash_that_the_program_made_lets_in_who_has_the_password() {
    let stage = stage("");
    stage.file("upsd.users", &primary(&stage, "two \"words\""));
    let (upsd, _driver, _link) = start(&stage);
    let mut client = says_who(upsd.client(), "mon", "two \\\"words\\\"");
    client.ask("LOGIN nicole", "OK");
    client.ask("PRIMARY nicole", "OK PRIMARY-GRANTED");
    client.ask("FSD nicole", "OK FSD-SET");
    upsd.logged("User mon@127.0.0.1 logged into UPS [nicole]");
    for (name, password) in [("mon", "a-guess"), ("nobody", "two \\\"words\\\""), ("mon", SLOW)] {
        says_who(upsd.client(), name, password).ask("LOGIN nicole", "ERR ACCESS-DENIED");
    }
    upsd.logged("Client mon@127.0.0.1 was denied LOGIN nicole: wrong password");
    let log = upsd.unread_log();
    assert!(!log.contains("words") && !log.contains("a-guess") && !log.contains("argon2"), "{log}");
    assert_eq!(upsd.stop(), 0);
}

#[test]
fn what_makes_no_hash_is_said() {
    let stage = stage("");
    for (input, words) in [
        ("", "no password was given"),
        ("\n", "no password was given"),
        ("schön\n", "printable ASCII"),
        (&("x".repeat(600) + "\n"), "longer than 512"),
    ] {
        let (code, line, said) = stage.run_with_input(&["--hash-password"], input);
        assert!(code == 1 && line.is_empty() && said.contains(words), "{input:?}: {code} {line} {said}");
    }
}

/// A calculation of a quarter of a second or more: on a loaded machine, too, others are answered meanwhile.
#[test]
fn nobody_waits_while_a_hash_is_calculated() {
    let stage = stage(&format!("[mon]\npassword = \"{SLOW}\"\nupsmon primary\n"));
    let (upsd, _driver, _link) = start(&stage);
    let mut reader = upsd.client();
    for (password, expected) in [("right one", "OK"), ("wrong one", "ERR ACCESS-DENIED")] {
        let mut client = says_who(upsd.client(), "mon", password);
        client.say("LOGIN nicole");
        let mut answers = 0;
        while !client.has_answer() {
            reader.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
            answers += 1;
            if answers == 10 {
                client.say("GET UPSDESC nicole");
            }
        }
        assert_eq!(client.line(), expected);
        assert_eq!(client.line(), "UPSDESC nicole \"Unavailable\"", "what came meanwhile was not lost");
        assert!(answers >= 50, "only {answers} while the password was checked");
    }
    // The memory that took is not kept.
    stage.wait_until(|| upsd.resident_kib() < 32 * 1024);
}

#[test]
fn guessing_keeps_out_neither_the_others_nor_who_knows() {
    let stage = stage("");
    let other = format!("[other]\n{}upsmon secondary\n", hashed(&stage, "other-word"));
    stage.file("upsd.users", &(primary(&stage, "right-word") + &other));
    let (upsd, _driver, _link) = start(&stage);
    let (over, guesses, denied) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let port = upsd.port();
    let guess = |address: &str| {
        let mut number = 0;
        while !over.load(Ordering::Relaxed) {
            let mut client = Client::connect_from(address, port);
            number += 1;
            let said = client
                .try_ask("USERNAME mon")
                .and_then(|_| client.try_ask(&format!("PASSWORD guess{number}")));
            let answer = said.and_then(|_| client.try_ask("LOGIN nicole"));
            guesses.fetch_add(1, Ordering::Relaxed);
            assert_ne!(answer.as_deref(), Some("OK"));
            denied.fetch_add(u32::from(answer.is_some()), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        // Also if something below fails: the guessers must not go on for ever.
        let over = Over(&over);
        for address in ["127.0.0.66", "127.0.0.66", "127.0.0.66", "127.0.0.67"] {
            scope.spawn(move || guess(address));
        }
        stage.wait_until(|| denied.load(Ordering::Relaxed) >= 20);
        let mut reader = upsd.client();
        for _ in 0..200 {
            reader.ask("GET VAR nicole ups.status", "VAR nicole ups.status \"OL\"");
        }
        // From another address, and from theirs as another user.
        says_who(upsd.client(), "mon", "right-word").ask("LOGIN nicole", "OK");
        says_who(upsd.client_from("127.0.0.66"), "other", "other-word").ask("LOGIN nicole", "OK");
        // As the very user, from the very address: one check a second, for whoever comes.
        says_who(upsd.client_from("127.0.0.67"), "mon", "right-word").ask("LOGIN nicole", "OK");
        drop(over);
    });
    upsd.logged("Client mon@127.0.0.66: too many wrong passwords, from now on one a second is checked");
    assert!(guesses.load(Ordering::Relaxed) >= 20);
}

#[test]
fn a_reload_that_changes_a_user_asks_for_the_new_password() {
    let stage = stage("");
    let before = primary(&stage, "first-word");
    stage.file("upsd.users", &before);
    let (upsd, _driver, _link) = start(&stage);
    let mut client = says_who(upsd.client(), "mon", "first-word");
    client.ask("LOGIN nicole", "OK");
    stage.file("upsd.users", &format!("{before}[new]\npassword = \"\"\n"));
    upsd.hang_up();
    upsd.logged("the password of user \"new\" is empty");
    client.ask("PRIMARY nicole", "OK PRIMARY-GRANTED");
    stage.file("upsd.users", &format!("{}[newer]\npassword = \"\"\n", primary(&stage, "second-word")));
    upsd.hang_up();
    upsd.logged("the password of user \"newer\" is empty");
    client.ask("PRIMARY nicole", "ERR ACCESS-DENIED");
    client.ask("GET NUMLOGINS nicole", "NUMLOGINS nicole 1");
    says_who(upsd.client(), "mon", "first-word").ask("LOGIN nicole", "ERR ACCESS-DENIED");
    says_who(upsd.client(), "mon", "second-word").ask("LOGIN nicole", "OK");
}

#[test]
fn passwords_that_protect_nothing_are_warned_about() {
    let mut users = String::new();
    for (name, password) in
        [("monuser", "secret"), ("upsadmin", "upsadmin"), ("nobody", ""), ("good", "k4R-x9_Qmz")]
    {
        write!(users, "[{name}]\npassword = \"{password}\"\nupsmon primary\n").unwrap();
    }
    users.push_str(
        "[short]\npassword = k4R-x\nactions = SET\n[slip]\npassword = $argon2id$v=19$m=8,t=1,p=1$a$b\n",
    );
    let stage = stage(&users);
    let upsd = stage.start(&[]);
    let log = upsd.unread_log();
    for (user, matter) in [
        ("monuser", "stands in guides, or comes with devices"),
        ("upsadmin", "is his name"),
        ("nobody", "is empty"),
        ("short", "who may do more than log in, has fewer than 8 characters"),
    ] {
        let line = log.lines().find(|line| line.contains(&format!("\"{user}\"")) && line.contains(matter));
        let line = line.unwrap_or_else(|| panic!("nothing of {user}:\n{log}"));
        assert!(line.contains("upsd --hash-password"), "{line}");
    }
    assert!(log.contains("a hashed password must stand in quotes"), "{log}");
    assert!(!log.contains("\"good\"") && !log.contains("secret") && !log.contains("k4R"), "{log}");
}

/// `setsid` makes the terminal the program's own, as a login does.
#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    use nix::pty::openpty;
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    for (second, expected) in [("hush-hush", Some("password = \"$argon2id$")), ("hush-hush!", None)] {
        let pair = openpty(None, None).unwrap();
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_upsd"), "--hash-password"]);
        command.stdin(pair.slave.try_clone().unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        drop((command, pair.slave));
        let mut terminal = std::fs::File::from(pair.master);
        let mut seen = String::new();
        let mut buffer = [0; 256];
        for (question, answer) in [("Password: ", "hush-hush"), ("The same again: ", second)] {
            while !seen.ends_with(question) {
                let count = terminal.read(&mut buffer).expect("the question");
                seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
            terminal.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        match expected {
            Some(line) => assert!(output.status.success() && printed.starts_with(line), "{printed}"),
            None => {
                assert_eq!((output.status.code(), printed.as_str()), (Some(1), ""));
                assert!(String::from_utf8(output.stderr).unwrap().contains("the two passwords differ"));
            }
        }
        assert!(!seen.contains("hush"), "{seen}");
    }
}
