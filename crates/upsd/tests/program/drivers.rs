//! Drivers that stall, stammer, talk rubbish or never stop: only their own UPS suffers.
//!
//! Beside each of them stands a driver that is well, and a client that asks after it without pause and notes how long
//! it ever had to wait. What floods is in `hardness.rs`.

use super::stage::{Client, Driver, Link, Stage, Upsd, pause};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nut_os::clock;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest that anybody may wait for an answer about a UPS that is well, on a machine under load, while the other
/// driver does what it likes. Whoever waited for that driver would wait for as long as it likes.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const UPS_CONF: &str = "[well]\n driver = apcsmart\n port = auto\n[ill]\n driver = dummy-ups\n port = auto\n";
const USERS: &str = "[admin]\n password = secret\n actions = SET\n instcmds = ALL\n";
const QUESTION: &str = "GET VAR well ups.status";
const ANSWER: &str = "VAR well ups.status \"OL\"";
const ILL: &str = "GET VAR ill ups.status";

/// Asks after the UPS that is well until it is told to stop.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u32, Duration)>,
}

impl Watch {
    fn start(mut client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut answers, mut longest) = (0, Duration::ZERO);
            while !told.load(Ordering::Relaxed) {
                let asked = clock::now();
                client.ask(QUESTION, ANSWER);
                longest = longest.max(clock::now().since(asked));
                answers += 1;
                if answers % 10 == 0 {
                    pause();
                }
            }
            (answers, longest)
        });
        Self { stop, thread }
    }
}

/// upsd with a driver that is well, one that is not, and somebody who watches the former.
struct House {
    upsd: Upsd,
    client: Client,
    watch: Option<Watch>,
    well: Option<JoinHandle<()>>,
    _driver: Driver,
    stage: Stage,
}

impl House {
    fn new(max_age: u32) -> Self {
        let stage = Stage::new();
        stage.file("ups.conf", UPS_CONF);
        stage.file("upsd.conf", &format!("LISTEN 127.0.0.1 0\nMAXAGE {max_age}\n"));
        stage.file("upsd.users", USERS);
        let driver = Driver::listen(&stage, "apcsmart-well");
        let upsd = stage.start(&[]);
        let mut link = driver.accept();
        let well = std::thread::spawn(move || {
            // Until upsd ends.
            while let Some(line) = link.next() {
                let answer = match line.as_str() {
                    "DUMPALL" => "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n",
                    "PING" => "PONG\n",
                    _ => "",
                };
                if link.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut client = upsd.client();
        client.ask_until(QUESTION, ANSWER);
        let watch = Some(Watch::start(upsd.client()));
        Self { upsd, client, watch, well: Some(well), _driver: driver, stage }
    }

    /// The driver that is not well, and its end of upsd's connection, `DUMPALL` read.
    fn ill(&self) -> (Driver, Link) {
        let driver = Driver::listen(&self.stage, "dummy-ups-ill");
        let link = again(&driver);
        (driver, link)
    }

    /// Whoever asked about the other UPS was answered all the time.
    fn ends_well(mut self) {
        let watch = self.watch.take().unwrap();
        watch.stop.store(true, Ordering::Relaxed);
        let (answers, longest) = watch.thread.join().expect("every answer was the right one");
        assert!(answers > 10, "{answers} answers");
        assert!(longest < LONGEST_WAIT, "somebody waited for {longest:?}");
        assert_eq!(self.upsd.stop(), 0);
        self.well.take().unwrap().join().unwrap();
    }
}

fn again(driver: &Driver) -> Link {
    let mut link = driver.accept();
    assert_eq!(link.line(), "DUMPALL");
    link
}

fn say(link: &mut Link, text: &str) {
    link.write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_dump_that_comes_byte_by_byte_is_a_dump() {
    let mut house = House::new(3600);
    let (_driver, mut link) = house.ill();
    let dump = "SETINFO ups.status \"OB LB\"\nSETINFO ups.model \"a \\\"b\\\" \\# c\"\nADDCMD load.off\nDATAOK\nDUMPDONE\n";
    house.client.ask_until(ILL, "VAR ill ups.status \"WAIT\"");
    let (first, rest) = dump.split_at("SETINFO ups.status \"OB L".len());
    say(&mut link, first);
    // What is not a whole line says nothing yet.
    for _ in 0..20 {
        house.client.ask(ILL, "VAR ill ups.status \"WAIT\"");
        pause();
    }
    for byte in rest.bytes() {
        link.write_all(&[byte]).unwrap();
    }
    house.client.ask_until("GET VAR ill ups.model", r#"VAR ill ups.model "a \"b\" \# c""#);
    house.client.ask(ILL, "VAR ill ups.status \"OB LB\"");
    house.ends_well();
}

#[test]
fn what_a_driver_thinks_of_its_data_counts_when_its_dump_is_done() {
    let mut house = House::new(3600);
    let (_driver, mut link) = house.ill();
    say(&mut link, "DATASTALE\nSETINFO battery.charge \"55\"\n");
    house.client.ask_until("GET VAR ill battery.charge", "VAR ill battery.charge \"55\"");
    house.client.ask(ILL, "VAR ill ups.status \"WAIT\"");
    say(&mut link, "SETINFO ups.status \"OL\"\nDUMPDONE\n");
    house.client.ask_until(ILL, "ERR DATA-STALE");
    house.client.ask("LIST VAR ill", "ERR DATA-STALE");
    say(&mut link, "DATAOK\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OL\"");
    house.ends_well();
}

#[test]
fn half_a_line_is_no_sign_of_life() {
    let mut house = House::new(2);
    let (_driver, mut link) = house.ill();
    say(&mut link, "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OL\"");
    // It is at it all the time, and never comes to the end.
    say(&mut link, "SETINFO ups.status \"");
    let mut left = 6000;
    loop {
        house.client.say(ILL);
        match house.client.line().as_str() {
            "VAR ill ups.status \"OL\"" => say(&mut link, "x"),
            other => break assert_eq!(other, "ERR DATA-STALE"),
        }
        left -= 1;
        assert!(left > 0, "half a line keeps old data alive");
        pause();
    }
    house.upsd.logged("Data for UPS [ill] is stale - check driver");
    // Only the driver's silence is at fault, not its connection.
    say(&mut link, "\"\nSETINFO ups.status \"OB\"\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OB\"");
    house.ends_well();
}

#[test]
fn a_dump_that_breaks_off_leaves_nothing_behind() {
    let mut house = House::new(3600);
    let (driver, mut link) = house.ill();
    for _ in 0..3 {
        say(
            &mut link,
            "SETINFO ups.status \"OL\"\nSETINFO ups.mfr \"former\"\nADDCMD load.off\nSETINFO ups.ser",
        );
        house.client.ask_until("GET VAR ill ups.mfr", "VAR ill ups.mfr \"former\"");
        drop(link);
        house.client.ask_until("GET VAR ill ups.mfr", "ERR DRIVER-NOT-CONNECTED");
        link = again(&driver);
        // The rest of the broken line belongs to nobody.
        say(&mut link, "ial \"x\"\nSETINFO ups.model \"new\"\n");
        house.client.ask_until("GET VAR ill ups.model", "VAR ill ups.model \"new\"");
        house.client.ask("GET VAR ill ups.mfr", "ERR VAR-NOT-SUPPORTED");
        house.client.ask("GET VAR ill ups.serial", "ERR VAR-NOT-SUPPORTED");
        house.client.ask(ILL, "VAR ill ups.status \"WAIT\"");
    }
    house.ends_well();
}

#[test]
fn a_driver_that_closes_at_once_is_called_less_and_less_often() {
    let mut house = House::new(3600);
    let driver = Driver::listen(&house.stage, "dummy-ups-ill");
    drop(again(&driver));
    let start = clock::now();
    for _ in 0..5 {
        drop(again(&driver));
    }
    // 0.1, 0.2, 0.4, 0.8 and 1.6 s, of which the first may have begun before we looked at the clock.
    let took = clock::now().since(start);
    assert!(took >= Duration::from_millis(2_900), "five calls in {took:?}");
    house.client.ask_until(ILL, "ERR DRIVER-NOT-CONNECTED");
    // It comes to its senses, and need not wait for long.
    let mut link = again(&driver);
    say(&mut link, "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OL\"");
    house.ends_well();
}

#[test]
fn a_driver_that_takes_no_connection_is_waited_for_by_nobody() {
    let mut house = House::new(1);
    let path = house.stage.path("dummy-ups-ill");
    let call = || -> nix::Result<OwnedFd> {
        let kind = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let caller = socket(AddressFamily::Unix, SockType::Stream, kind, None).unwrap();
        nix::sys::socket::connect(caller.as_raw_fd(), &UnixAddr::new(&path).unwrap())?;
        Ok(caller)
    };
    let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    // The queue is full with us, or with upsd, who was quicker: then it waits for an answer that does not come.
    let ours: Vec<OwnedFd> = std::iter::from_fn(|| call().ok()).take(100).collect();
    assert!(ours.len() < 100, "the queue has no end");
    let expected = if ours.is_empty() { "ERR DATA-STALE" } else { "ERR DRIVER-NOT-CONNECTED" };
    house.client.ask_until(ILL, expected);
    // It calls every 2 s at least: time in which somebody would have to wait for that.
    for _ in 0..300 {
        house.client.ask(QUESTION, ANSWER);
        pause();
    }
    drop(ours);
    let listener = UnixListener::from(listener);
    let mut link = loop {
        let (stream, _) = listener.accept().unwrap();
        let mut link = Link::from(stream);
        if link.next().as_deref() == Some("DUMPALL") {
            break link;
        }
    };
    say(&mut link, "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OL\"");
    drop(link);
    house.ends_well();
}

#[test]
fn a_driver_that_stops_reading_costs_its_own_orders() {
    let mut house = House::new(3600);
    let (_driver, mut link) = house.ill();
    say(&mut link, "SETINFO ups.status \"OL\"\nADDCMD load.off\nDATAOK\nDUMPDONE\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OL\"");
    let mut admin = house.upsd.client();
    admin.ask("USERNAME admin", "OK");
    admin.ask("PASSWORD secret", "OK");
    let mut left = 100_000;
    loop {
        admin.say("INSTCMD ill load.off");
        match admin.line().as_str() {
            "OK" => left -= 1,
            other => break assert_eq!(other, "ERR INSTCMD-FAILED"),
        }
        assert!(left > 0, "what a driver does not read is kept without end");
    }
    // It still talks, and is still heard.
    say(&mut link, "SETINFO ups.status \"OB\"\n");
    house.client.ask_until(ILL, "VAR ill ups.status \"OB\"");
    house.ends_well();
}

#[test]
fn rubbish_costs_the_lines_it_is_in() {
    let mut house = House::new(3600);
    let (_driver, mut link) = house.ill();
    say(&mut link, "SETINFO ups.status \"OL\"\nDATAOK\nDUMPDONE\n");
    // Bytes of all kinds, the same in every run; a line feed now and then.
    let mut state: u32 = 1;
    let rubbish: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(500_000)
    .collect();
    for piece in rubbish.chunks(4_000) {
        link.write_all(piece).unwrap();
    }
    let lines = [
        // A quote that rubbish left open ends with the line at the latest.
        "\n",
        "\"\nSETINFO\nSETINFO ups.model\nADDRANGE a 1\nADDENUM nosuch x\nSETFLAGS nosuch RW\nTRACKING\n\n#\n\0\n",
        // A `#` that should have had a backslash costs its line, not what follows it.
        "ADDCMD \"load#off\"\nSETINFO battery.charge \"42\"\n",
        // As NUT's drivers tell a change: without the backslashes of their dump.
        "SETINFO ups.model \"n\"x # \\y\"\n",
        "DELINFO nosuch\nDELCMD nosuch\nPONG PONG\ndataok\nSETINFO ups.load 7 8 9\n",
    ];
    for text in lines {
        say(&mut link, text);
    }
    house.client.ask_until("GET VAR ill ups.load", "VAR ill ups.load \"7\"");
    house.client.ask("GET VAR ill battery.charge", "VAR ill battery.charge \"42\"");
    house.client.ask("GET VAR ill ups.model", r#"VAR ill ups.model "n\"x \# \\y""#);
    house.client.ask(ILL, "VAR ill ups.status \"OL\"");
    let told = house.upsd.log_lines("UPS [ill]");
    assert!(told < 20, "{told} lines about rubbish");
    house.ends_well();
}

#[test]
fn ten_thousand_variables_are_served_whole() {
    const COUNT: usize = 10_000;
    let mut house = House::new(3600);
    let (_driver, mut link) = house.ill();
    let before = house.upsd.resident_kib();
    let mut dump = String::from("SETINFO ups.status \"OL\"\n");
    for n in 0..COUNT {
        dump.push_str(&format!(
            "SETINFO outlet.{n}.desc \"number {n}\"\nADDENUM outlet.{n}.desc \"number {n}\"\n"
        ));
        dump.push_str(&format!("SETFLAGS outlet.{n}.desc RW STRING\nSETAUX outlet.{n}.desc 20\n"));
    }
    dump.push_str("DATAOK\nDUMPDONE\n");
    say(&mut link, &dump);
    let last = COUNT - 1;
    house.client.ask_until(
        &format!("GET TYPE ill outlet.{last}.desc"),
        &format!("TYPE ill outlet.{last}.desc RW ENUM STRING:20"),
    );
    for kind in ["VAR", "RW"] {
        for _ in 0..3 {
            house.client.say(&format!("LIST {kind} ill"));
            assert_eq!(house.client.line(), format!("BEGIN LIST {kind} ill"));
            let lines: Vec<String> = std::iter::repeat_with(|| house.client.line())
                .take_while(|line| *line != format!("END LIST {kind} ill"))
                .collect();
            assert_eq!(lines.len(), COUNT + usize::from(kind == "VAR"));
            let right = lines.iter().all(|line| {
                let number = line.split('.').nth(1).unwrap_or_default();
                *line == format!("{kind} ill outlet.{number}.desc \"number {number}\"")
                    || line == "VAR ill ups.status \"OL\""
            });
            assert!(right, "{kind}");
        }
    }
    let grown = house.upsd.resident_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
    house.ends_well();
}
