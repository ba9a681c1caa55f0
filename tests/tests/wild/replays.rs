//! Clients that cannot be installed here, played from a record of what they say; each answer byte by byte.

use super::{FINE, House, Raw, STALE, USERS};
use crate::support::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What `fine` has, as lists show it.
const VARIABLES: [(&str, &str, &str); 17] = [
    ("battery.charge", "98.0", "NUMBER"),
    ("battery.charge.low", "10", "RW STRING:2"),
    ("battery.runtime", "3360", "NUMBER"),
    ("battery.voltage", "27.41", "NUMBER"),
    ("input.frequency", "50.00", "NUMBER"),
    ("input.sensitivity", "high", "RW ENUM STRING:6"),
    ("input.voltage", "229.8", "NUMBER"),
    ("output.voltage", "229.8", "NUMBER"),
    ("ups.delay.start", "20", "RW RANGE NUMBER"),
    ("ups.firmware", "60.11.I", "NUMBER"),
    ("ups.id", "school", "RW STRING:16"),
    ("ups.load", "23.4", "NUMBER"),
    ("ups.mfr", "APC", "NUMBER"),
    ("ups.model", "Smart-UPS 1000", "NUMBER"),
    ("ups.serial", "WS9643050926", "NUMBER"),
    ("ups.status", "OL CHRG", "NUMBER"),
    ("ups.temperature", "31.2", "NUMBER"),
];

const COMMANDS: [&str; 5] = ["beeper.toggle", "load.off", "load.on", "shutdown.return", "test.battery.start"];

const LIST_UPS: &str = "BEGIN LIST UPS\nUPS fine \"The fine one\"\nUPS battery \"Description unavailable\"\n\
    UPS stale \"Description unavailable\"\nUPS absent \"Description unavailable\"\nEND LIST UPS\n";

/// A list with these lines between its first and its last.
fn list(what: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: String = lines.into_iter().map(|line| line + "\n").collect();
    format!("BEGIN LIST {what}\n{lines}END LIST {what}\n")
}

/// The whole list of a UPS that tells the same as `fine`.
fn variables(ups: &str) -> String {
    list(&format!("VAR {ups}"), VARIABLES.map(|(name, value, _)| format!("VAR {ups} {name} \"{value}\"")))
}

/// What `GET VAR fine` says of this name.
fn value(name: &str) -> String {
    match VARIABLES.iter().find(|(known, _, _)| *known == name) {
        Some((_, value, _)) => format!("VAR fine {name} \"{value}\"\n"),
        None => "ERR VAR-NOT-SUPPORTED\n".to_owned(),
    }
}

fn commands() -> String {
    list("CMD fine", COMMANDS.map(|name| format!("CMD fine {name}")))
}

/// There is a description, in quotes, without one inside.
async fn described(client: &mut Raw, what: &str) {
    let answer = client.ask(&format!("GET {what}\n")).await;
    let text = answer.strip_prefix(&format!("{what} \"")).and_then(|rest| rest.strip_suffix("\"\n"));
    assert!(text.is_some_and(|text| !text.is_empty() && !text.contains('"')), "{answer:?}");
}

/// WinNUT 1 (AutoIt): CR LF, no user; takes what comes in one piece for the whole list, and says LOGOUT without a
/// line's end.
#[tokio::test]
async fn the_first_winnut() {
    let house = House::new().await;
    let mut winnut = house.connect().await;
    winnut.0.write_all(b"LIST VAR fine\r\n").await.unwrap();
    let mut piece = vec![0; 4096];
    let count = tokio::time::timeout(PATIENCE, winnut.0.read(&mut piece)).await.unwrap().unwrap();
    assert_eq!(std::str::from_utf8(&piece[..count]).unwrap(), variables("fine"));
    for once in ["ups.mfr", "ups.model", "ups.serial", "ups.firmware"] {
        assert_eq!(winnut.ask(&format!("GET VAR fine {once}\r\n")).await, value(once));
    }
    let polled = [
        "battery.charge",
        "battery.voltage",
        "battery.runtime",
        "battery.capacity",
        "input.frequency",
        "input.voltage",
        "output.voltage",
        "ups.load",
        "ups.status",
        "ups.realpower.nominal",
        "ups.current.nominal",
    ];
    for name in polled.iter().cycle().take(2 * polled.len()) {
        assert_eq!(winnut.ask(&format!("GET VAR fine {name}\r\n")).await, value(name));
    }
    winnut.play(&[("GET DESC fine no.such\r\n", "DESC fine no.such \"Description unavailable\"\n")]).await;
    assert_eq!(winnut.ask("GET DESC fine ups.status\r\n").await.split('"').count(), 3);
    winnut.0.write_all(b"LOGOUT").await.unwrap();
    drop(winnut);
    assert_eq!(house.connect().await.ask("NETVER\n").await, "1.3\n");
}

/// WinNUT 2 ends lines with CR CR LF, and wants every error code it knows; from 2.2 on it opens a second connection
/// that it never uses.
#[tokio::test]
async fn winnut_of_windows() {
    let house = House::new().await;
    let mut winnut = house.connect().await;
    let mut second = house.connect().await;
    let version = house.connect().await.ask("GET VAR any server.version\n").await;
    let version = version.split('"').nth(1).unwrap();
    // It takes the fifth word for the version.
    assert!(version.split('.').all(|part| part.parse::<u32>().is_ok()), "{version}");
    let greeting = format!("Network UPS Tools upsd {version} - https://www.networkupstools.org/\n");
    winnut
        .play(&[
            ("VER\r\r\n", &greeting),
            ("NETVER\r\r\n", "1.3\n"),
            ("USERNAME monuser\r\r\n", "OK\n"),
            ("PASSWORD secret\r\r\n", "OK\n"),
        ])
        .await;
    let polled = [
        "ups.mfr",
        "ups.model",
        "ups.serial",
        "ups.firmware",
        "output.frequency.nominal",
        "battery.charge",
        "battery.voltage",
        "battery.runtime",
        "battery.capacity",
        "input.frequency",
        "output.frequency",
        "input.voltage",
        "output.voltage",
        "ups.load",
        "ups.status",
        "ups.realpower.nominal",
        "ups.current.nominal",
    ];
    for name in polled.iter().cycle().take(3 * polled.len()) {
        assert_eq!(winnut.ask(&format!("GET VAR fine {name}\r\r\n")).await, value(name));
    }
    winnut
        .play(&[
            ("GET VAR battery ups.status\r\r\n", "VAR battery ups.status \"OB LB\"\n"),
            ("GET VAR stale ups.status\r\r\n", "ERR DATA-STALE\n"),
            ("GET VAR absent ups.status\r\r\n", "ERR DRIVER-NOT-CONNECTED\n"),
            ("GET VAR other ups.status\r\r\n", "ERR UNKNOWN-UPS\n"),
        ])
        .await;
    assert_eq!(winnut.ask("LIST VAR fine\r\r\n").await, variables("fine"));
    assert_eq!(winnut.ask("LOGOUT\r\r\n").await, "OK Goodbye\n");
    winnut.is_closed().await;
    // Nobody has forgotten the other one.
    second.play(&[("NETVER\r\r\n", "1.3\n")]).await;
}

/// A NAS that watches is an upsmon with fixed names: Synology's and QNAP's, each with its own, on one server.
#[tokio::test]
async fn network_storage_that_watches() {
    let users = "[monuser]\n  password = secret\n  upsmon slave\n\
        [admin]\n  password = 123456\n  upsmon secondary\n\
        [pri]\n  password = pp\n  upsmon primary\n";
    let house = House::with(&[("ups", FINE), ("qnapups", FINE)], users, "").await;
    for (ups, user, password) in [("ups", "monuser", "secret"), ("qnapups", "admin", "123456")] {
        let mut storage = house.connect().await;
        storage
            .play(&[
                ("STARTTLS\n", "ERR FEATURE-NOT-CONFIGURED\n"),
                (&format!("USERNAME {user}\n"), "OK\n"),
                (&format!("PASSWORD {password}\n"), "OK\n"),
                (&format!("LOGIN {ups}\n"), "OK\n"),
                (&format!("GET VAR {ups} ups.status\n"), &format!("VAR {ups} ups.status \"OL CHRG\"\n")),
                (&format!("MASTER {ups}\n"), "ERR ACCESS-DENIED\n"),
                (&format!("FSD {ups}\n"), "ERR ACCESS-DENIED\n"),
                (
                    "LIST UPS\n",
                    "BEGIN LIST UPS\nUPS ups \"Description unavailable\"\n\
                     UPS qnapups \"Description unavailable\"\nEND LIST UPS\n",
                ),
                (&format!("LIST VAR {ups}\n"), &variables(ups)),
            ])
            .await;
        // The primary asks how many there are, and tells them to go.
        let mut primary = house.connect().await;
        primary
            .play(&[
                ("USERNAME pri\n", "OK\n"),
                ("PASSWORD pp\n", "OK\n"),
                (&format!("LOGIN {ups}\n"), "OK\n"),
                (&format!("PRIMARY {ups}\n"), "OK PRIMARY-GRANTED\n"),
                (&format!("GET NUMLOGINS {ups}\n"), &format!("NUMLOGINS {ups} 2\n")),
                (&format!("FSD {ups}\n"), "OK FSD-SET\n"),
            ])
            .await;
        storage
            .play(&[
                (&format!("GET VAR {ups} ups.status\n"), &format!("VAR {ups} ups.status \"FSD OL CHRG\"\n")),
                ("LOGOUT\n", "OK Goodbye\n"),
            ])
            .await;
        storage.is_closed().await;
        primary.play(&[(&format!("GET NUMLOGINS {ups}\n"), &format!("NUMLOGINS {ups} 1\n"))]).await;
    }
}

/// What go.nut asks of one UPS, in its order; the descriptions are ours.
async fn go_nut_scrapes(go: &mut Raw) {
    assert_eq!(go.ask("LIST CLIENT fine\n").await, list("CLIENT fine", []));
    assert_eq!(go.ask("LIST CMD fine\n").await, commands());
    for name in COMMANDS {
        described(go, &format!("CMDDESC fine {name}")).await;
    }
    assert_eq!(go.ask("GET UPSDESC fine\n").await, "UPSDESC fine \"The fine one\"\n");
    assert_eq!(go.ask("GET NUMLOGINS fine\n").await, "NUMLOGINS fine 0\n");
    assert_eq!(go.ask("LIST VAR fine\n").await, variables("fine"));
    for (name, _, kind) in VARIABLES {
        described(go, &format!("DESC fine {name}")).await;
        assert_eq!(go.ask(&format!("GET TYPE fine {name}\n")).await, format!("TYPE fine {name} {kind}\n"));
    }
}

/// go.nut (nut_exporter, telegraf) gives up at the first ERR, and wants each kind of answer in one shape.
#[tokio::test]
async fn go_nut_of_prometheus_and_telegraf() {
    let house = House::new().await;
    for _ in 0..2 {
        let mut go = house.connect().await;
        assert!(go.ask("VER\n").await.starts_with("Network UPS Tools upsd "));
        go.play(&[
            ("NETVER\n", "1.3\n"),
            ("USERNAME admin\n", "OK\n"),
            ("PASSWORD adminpass\n", "OK\n"),
            ("LIST UPS\n", LIST_UPS),
        ])
        .await;
        go_nut_scrapes(&mut go).await;
        // Where a driver is not well its whole scrape ends, as with NUT: but in order, behind a list of nobody.
        go.play(&[
            ("LIST CLIENT stale\n", "BEGIN LIST CLIENT stale\nEND LIST CLIENT stale\n"),
            ("LIST CMD stale\n", "ERR DATA-STALE\n"),
            ("LIST CLIENT absent\n", "BEGIN LIST CLIENT absent\nEND LIST CLIENT absent\n"),
            ("LIST CMD absent\n", "ERR DRIVER-NOT-CONNECTED\n"),
            ("GET UPSDESC absent\n", "UPSDESC absent \"Unavailable\"\n"),
            ("LOGOUT\n", "OK Goodbye\n"),
        ])
        .await;
        go.is_closed().await;
    }
}

/// HON95's exporter: a connection for each scrape, and no goodbye.
#[tokio::test]
async fn an_exporter_that_leaves_without_a_word() {
    let house = House::with(&[("fine", FINE), ("stale", STALE)], USERS, "").await;
    for _ in 0..20 {
        let mut exporter = house.connect().await;
        assert!(exporter.ask("VER\n").await.contains("upsd "));
        assert_eq!(exporter.ask("LIST VAR fine\n").await, variables("fine"));
        exporter.play(&[("LIST VAR stale\n", "ERR DATA-STALE\n")]).await;
    }
    house.connect().await.play(&[("GET NUMLOGINS fine\n", "NUMLOGINS fine 0\n")]).await;
}

/// PeaNUT asks without a user over several connections, and writes over one of its own that logs in.
#[tokio::test]
async fn peanut_reads_and_writes() {
    let house = House::new().await;
    let (mut reader, mut other) = (house.connect().await, house.connect().await);
    assert_eq!(reader.ask("LIST UPS\n").await, LIST_UPS);
    assert_eq!(other.ask("LIST VAR fine\n").await, variables("fine"));
    for (name, _, kind) in VARIABLES {
        described(&mut reader, &format!("DESC fine {name}")).await;
        assert_eq!(other.ask(&format!("GET TYPE fine {name}\n")).await, format!("TYPE fine {name} {kind}\n"));
    }
    assert_eq!(reader.ask("LIST CMD fine\n").await, commands());
    let writable = VARIABLES.iter().filter(|(_, _, kind)| kind.starts_with("RW"));
    let writable = writable.map(|(name, value, _)| format!("RW fine {name} \"{value}\""));
    assert_eq!(reader.ask("LIST RW fine\n").await, list("RW fine", writable));
    let levels = ["high", "medium", "low"].map(|level| format!("ENUM fine input.sensitivity \"{level}\""));
    assert_eq!(
        reader.ask("LIST ENUM fine input.sensitivity\n").await,
        list("ENUM fine input.sensitivity", levels)
    );
    assert_eq!(
        reader.ask("LIST RANGE fine ups.delay.start\n").await,
        list("RANGE fine ups.delay.start", ["RANGE fine ups.delay.start \"0\" \"60\"".to_owned()])
    );
    reader
        .play(&[
            ("GET UPSDESC fine\n", "UPSDESC fine \"The fine one\"\n"),
            ("LIST VAR stale\n", "ERR DATA-STALE\n"),
            ("NETVER\n", "1.3\n"),
        ])
        .await;
    let mut writer = house.connect().await;
    writer
        .play(&[("USERNAME admin\n", "OK\n"), ("PASSWORD adminpass\n", "OK\n"), ("LOGIN fine\n", "OK\n")])
        .await;
    reader
        .play(&[
            ("GET NUMLOGINS fine\n", "NUMLOGINS fine 1\n"),
            ("LIST CLIENT fine\n", "BEGIN LIST CLIENT fine\nCLIENT fine 127.0.0.1\nEND LIST CLIENT fine\n"),
        ])
        .await;
    writer
        .play(&[
            ("SET VAR fine ups.id peanut\n", "OK\n"),
            ("SET VAR fine input.sensitivity none\n", "ERR INVALID-VALUE\n"),
            ("SET VAR fine ups.delay.start 61\n", "ERR INVALID-VALUE\n"),
            ("SET VAR fine ups.load 1\n", "ERR READONLY\n"),
            ("INSTCMD fine load.on\n", "OK\n"),
            ("LOGOUT\n", "OK Goodbye\n"),
        ])
        .await;
    writer.is_closed().await;
    house.told("SET ups.id \"peanut\"").await;
    house.told("INSTCMD load.on").await;
    reader.play(&[("GET NUMLOGINS fine\n", "NUMLOGINS fine 0\n")]).await;
    // A wrong password is noticed when it logs in, not before.
    house
        .connect()
        .await
        .play(&[
            ("USERNAME admin\n", "OK\n"),
            ("PASSWORD wrong\n", "OK\n"),
            ("LOGIN fine\n", "ERR ACCESS-DENIED\n"),
        ])
        .await;
}
