//! NUT's drivers under our upsd, and ours under NUT's: the driver's socket is the same on both sides.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, dump, me, sim, socket, stage, upsd, write_dummies};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use nut_drill::sim::{BatteryChange, Deed, Event, Extent, Fault, FaultKind, Mains};
use nut_drill::stage::{Host, Running, Stage};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client of the network protocol.
pub(crate) struct Client(TcpStream);

impl Client {
    /// As the user who may everything.
    pub(crate) async fn open(port: u16) -> Self {
        let mut client = Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        assert_eq!(client.ask("USERNAME admin").await, "OK");
        assert_eq!(client.ask("PASSWORD adminpass").await, "OK");
        client
    }

    pub(crate) async fn ask(&mut self, request: &str) -> String {
        self.0.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let read = async {
            let (mut line, mut byte) = (Vec::new(), [0]);
            while self.0.read(&mut byte).await.unwrap() == 1 && byte != *b"\n" {
                line.push(byte[0]);
            }
            String::from_utf8(line).unwrap()
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("no answer to {request}"))
    }

    /// Asks until the answer is this one.
    pub(crate) async fn until(&mut self, request: &str, expected: &str) {
        let mut last = String::new();
        let wait = async {
            loop {
                last = self.ask(request).await;
                if last == expected {
                    return;
                }
                nut_drill::stage::turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "{request}: not {expected} but {last}");
    }

    /// Gives an order whose end the driver tells, and waits until it has ended well.
    async fn order(&mut self, order: &str) {
        self.order_ends(order, "SUCCESS").await;
    }

    /// Gives an order whose end the driver tells, and waits until it has ended like this.
    async fn order_ends(&mut self, order: &str, end: &str) {
        assert_eq!(self.ask("SET TRACKING ON").await, "OK");
        let answer = self.ask(order).await;
        let id =
            answer.strip_prefix("OK TRACKING ").unwrap_or_else(|| panic!("{order}: {answer}")).to_owned();
        self.until(&format!("GET TRACKING {id}"), end).await;
        assert_eq!(self.ask("SET TRACKING OFF").await, "OK");
    }
}

/// A host with this ups.conf behind the line about the user, and our upsd on it.
async fn our_server(stage: &mut Stage, ups_conf: &str) -> (Host, Running, u16) {
    let host = stage.host("server").unwrap();
    stage.write(&host.conf.join("ups.conf"), &format!("user = {}\n{ups_conf}", me())).unwrap();
    stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let (running, port) = upsd(stage, &host).await;
    (host, running, port)
}

pub(crate) fn nuts_driver(oracle: &Oracle, stage: &Stage, host: &Host, driver: &str, ups: &str) -> Running {
    oracle.start(stage, host, &format!("nut-{driver}"), &[driver, "-a", ups, "-u", &me(), "-F"]).unwrap()
}

/// A UPS that speaks Megatec's protocol, as hundreds of cheap ones do, behind a pseudo-terminal.
#[derive(Default)]
struct Megatec {
    /// The eight bits of its status: line lost, battery low, bypass, failed, standby, test, shutdown, beeper.
    bits: Arc<Mutex<String>>,
    /// Whether somebody pulled its cable: it hears nothing.
    is_deaf: Arc<AtomicBool>,
    /// The orders it was given.
    orders: Arc<Mutex<Vec<String>>>,
}

impl Megatec {
    fn start(link: &Path) -> Self {
        let flags = nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname_r(&master).unwrap();
        // Held open, so that the line does not hang up between two drivers.
        let slave = std::fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        std::os::unix::fs::symlink(&name, link).unwrap();
        let unit = Self { bits: Arc::new(Mutex::new("00001000".into())), ..Self::default() };
        let (bits, is_deaf, orders) = (unit.bits.clone(), unit.is_deaf.clone(), unit.orders.clone());
        tokio::spawn(async move {
            let _slave = slave;
            #[expect(deprecated, reason = "its successor is unsafe; the terminal keeps one descriptor")]
            let line = AsyncFd::new(master).unwrap();
            let mut said = Vec::new();
            loop {
                let mut ready = line.readable().await.unwrap();
                let mut piece = [0; 64];
                let Ok(read) = ready.try_io(|line: &AsyncFd<PtyMaster>| line.get_ref().read(&mut piece))
                else {
                    continue;
                };
                let heard = read.unwrap_or(0);
                if is_deaf.load(Ordering::Relaxed) {
                    said.clear();
                    continue;
                }
                said.extend_from_slice(&piece[..heard]);
                while let Some(end) = said.iter().position(|byte| *byte == b'\r') {
                    let order = String::from_utf8_lossy(&said[..end]).into_owned();
                    said.drain(..=end);
                    let answer = match order.as_str() {
                        "Q1" => {
                            format!("(229.8 229.8 229.8 023 50.0 13.6 25.0 {}\r", bits.lock().unwrap())
                        }
                        "I" => "#Cobnut Works    Megatec 01 V1.00      \r".to_owned(),
                        "F" => "#230.0 002 12.00 50.0\r".to_owned(),
                        other => {
                            orders.lock().unwrap().push(other.to_owned());
                            continue;
                        }
                    };
                    line.get_ref().write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        unit
    }

    fn set(&self, bits: &str) {
        *self.bits.lock().unwrap() = bits.to_owned();
    }

    async fn was_told(&self, order: &str) {
        let told = async {
            while !self.orders.lock().unwrap().iter().any(|one| one == order) {
                nut_drill::stage::turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, told).await.is_ok();
        assert!(in_time, "{order} did not arrive: {:?}", self.orders.lock().unwrap());
    }
}

/// One of NUT's drivers for Megatec's protocol: from mains to battery and back, orders, a cable that comes loose, and a
/// driver that dies and is started again.
async fn megatec(test: &str, driver: &str) {
    let Some(oracle) = Oracle::get(test) else { return };
    let mut stage = stage();
    let tty = stage.folder().join("tty");
    let unit = Megatec::start(&tty);
    let conf = format!(
        "[unit]\n  driver = {driver}\n  port = {}\n  pollinterval = 1\n  protocol = megatec\n",
        tty.display()
    );
    let (host, _server, port) = our_server(&mut stage, &conf).await;
    let mut running = nuts_driver(oracle, &stage, &host, driver, "unit");
    let mut client = Client::open(port).await;
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OL\"").await;
    client.until("GET VAR unit battery.voltage", "VAR unit battery.voltage \"13.60\"").await;
    unit.set("10001000");
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OB\"").await;
    unit.set("11001000");
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OB LB\"").await;
    unit.set("00001000");
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OL\"").await;
    client.order("INSTCMD unit test.battery.start.quick").await;
    unit.was_told("T").await;
    assert_eq!(client.ask("INSTCMD unit beeper.toggle").await, "OK");
    unit.was_told("Q").await;
    assert_eq!(client.ask("SET VAR unit ups.status OB").await, "ERR READONLY");
    // The cable comes loose: old data are no data. The other of the two needs three quarters of a minute to notice.
    if driver == "blazer_ser" {
        unit.is_deaf.store(true, Ordering::Relaxed);
        client.until("GET VAR unit ups.status", "ERR DATA-STALE").await;
        assert_eq!(client.ask("INSTCMD unit beeper.toggle").await, "ERR DATA-STALE");
        unit.is_deaf.store(false, Ordering::Relaxed);
        client.until("GET VAR unit ups.status", "VAR unit ups.status \"OL\"").await;
    }
    // The driver dies, and leaves its socket behind.
    running.signal(Signal::SIGKILL).unwrap();
    assert_eq!(running.ended().await, None);
    client.until("GET VAR unit ups.status", "ERR DRIVER-NOT-CONNECTED").await;
    unit.set("10001000");
    let _again = nuts_driver(oracle, &stage, &host, driver, "unit");
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OB\"").await;
}

#[tokio::test]
async fn nuts_blazer_ser_under_our_server() {
    megatec("nuts_blazer_ser_under_our_server", "blazer_ser").await;
}

#[tokio::test]
async fn nuts_nutdrv_qx_under_our_server() {
    megatec("nuts_nutdrv_qx_under_our_server", "nutdrv_qx").await;
}

#[tokio::test]
async fn nuts_dummy_ups_and_its_clone_under_our_server() {
    let Some(oracle) = Oracle::get("nuts_dummy_ups_and_its_clone_under_our_server") else { return };
    let mut stage = stage();
    let conf = "[unit]\n  driver = dummy-ups\n  port = unit.dev\n\
                [copy]\n  driver = clone\n  port = dummy-ups-unit\n  load.off = 5\n  load.on = 6\n";
    let (host, _server, port) = our_server(&mut stage, conf).await;
    let dev = |status: &str| {
        format!("ups.status: {status}\nbattery.charge: 90\nbattery.runtime: 600\nups.id: one\n")
    };
    stage.write(&host.conf.join("unit.dev"), &dev("OL")).unwrap();
    let _dummy = nuts_driver(oracle, &stage, &host, "dummy-ups", "unit");
    let mut client = Client::open(port).await;
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OL\"").await;
    client.order("SET VAR unit ups.id two").await;
    client.until("GET VAR unit ups.id", "VAR unit ups.id \"two\"").await;
    let _clone = nuts_driver(oracle, &stage, &host, "clone", "copy");
    client.until("GET VAR copy ups.status", "VAR copy ups.status \"OL\"").await;
    stage.write(&host.conf.join("unit.dev"), &dev("OB")).unwrap();
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OB\"").await;
    client.until("GET VAR copy ups.status", "VAR copy ups.status \"OB\"").await;
}

#[tokio::test]
async fn nuts_apcsmart_under_our_server() {
    let Some(oracle) = Oracle::get("nuts_apcsmart_under_our_server") else { return };
    let mut stage = stage();
    let tty = stage.folder().join("tty");
    let unit = sim("smart-ups-1400-70.9.I", &tty);
    let conf = format!("[unit]\n  driver = apcsmart\n  port = {}\n  pollinterval = 1\n", tty.display());
    let (host, _server, port) = our_server(&mut stage, &conf).await;
    let _driver = nuts_driver(oracle, &stage, &host, "apcsmart", "unit");
    apcsmart_serves(Client::open(port).await, &unit).await;
}

/// From mains to an empty battery and back, a setting, a command, and a line that falls silent for a while.
async fn apcsmart_serves(mut client: Client, unit: &nut_drill::sim::SimHandle) {
    let status = "GET VAR unit ups.status";
    client.until(status, "VAR unit ups.status \"OL\"").await;
    unit.send(Event::Mains(Mains::Off)).await;
    client.until(status, "VAR unit ups.status \"OB\"").await;
    unit.send(Event::Battery(BatteryChange::Charge(4))).await;
    unit.send(Event::Battery(BatteryChange::Runtime(1))).await;
    client.until(status, "VAR unit ups.status \"OB LB\"").await;
    unit.send(Event::Mains(Mains::On)).await;
    unit.send(Event::Battery(BatteryChange::Charge(100))).await;
    client.until(status, "VAR unit ups.status \"OL\"").await;
    client.order("SET VAR unit ups.id OFFICE").await;
    client.until("GET VAR unit ups.id", "VAR unit ups.id \"OFFICE\"").await;
    client.order("INSTCMD unit test.panel.start").await;
    assert_eq!(client.ask("INSTCMD unit no.such").await, "ERR CMD-NOT-SUPPORTED");
    let deeds: Vec<Deed> = unit.record().await.unwrap().into_iter().map(|(_, deed)| deed).collect();
    let is_named =
        |deed: &Deed| matches!(deed, Deed::EepromWrite { value, .. } if value.starts_with(b"OFFICE"));
    assert!(deeds.contains(&Deed::PanelTest) && deeds.iter().any(is_named), "{deeds:?}");
    unit.send(Event::Fault(Fault { kind: FaultKind::Silence, extent: Extent::UntilCleared })).await;
    client.until(status, "ERR DATA-STALE").await;
    unit.send(Event::FaultsEnd).await;
    client.until(status, "VAR unit ups.status \"OL\"").await;
}

/// NUT's upsd on a host of that name with this ups.conf.
pub(crate) async fn nuts_server(
    oracle: &Oracle,
    stage: &Stage,
    name: &str,
    ups_conf: &str,
) -> (Host, Running, u16) {
    let host = stage.host(name).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    stage.write(&host.conf.join("ups.conf"), &format!("user = {}\n{ups_conf}", me())).unwrap();
    stage.write(&host.conf.join("upsd.conf"), &format!("LISTEN 127.0.0.1 {port}\n")).unwrap();
    stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
    let running = nuts_server_at(oracle, stage, &host, port).await;
    (host, running, port)
}

/// NUT's upsd where it is configured already.
pub(crate) async fn nuts_server_at(oracle: &Oracle, stage: &Stage, host: &Host, port: u16) -> Running {
    let running = oracle.start(stage, host, "nut-upsd", &["upsd", "-u", &me(), "-F"]).unwrap();
    let listens = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            nut_drill::stage::turn().await;
        }
    };
    tokio::time::timeout(PATIENCE, listens).await.expect("NUT's upsd listens in time");
    running
}

#[tokio::test]
async fn our_apcsmart_under_nuts_server() {
    let Some(oracle) = Oracle::get("our_apcsmart_under_nuts_server") else { return };
    let stage = stage();
    let tty = stage.folder().join("tty");
    let unit = sim("smart-ups-1400-70.9.I", &tty);
    let conf = format!("[unit]\n  driver = apcsmart\n  port = {}\n", tty.display());
    let (host, _server, port) = nuts_server(oracle, &stage, "server", &conf).await;
    let _driver = stage.start(&host, "apcsmart", &["-a", "unit", "-F"]).unwrap();
    apcsmart_serves(Client::open(port).await, &unit).await;
}

#[tokio::test]
async fn our_dummy_ups_under_nuts_server() {
    let Some(oracle) = Oracle::get("our_dummy_ups_under_nuts_server") else { return };
    let stage = stage();
    let conf = "[unit]\n  driver = dummy-ups\n  port = unit.dev\n";
    let (host, _server, port) = nuts_server(oracle, &stage, "server", conf).await;
    write_dummies(&stage, &host, &[("unit", "ups.status: OL\nups.id: one\n")]);
    stage.write(&host.conf.join("ups.conf"), &format!("user = {}\n{conf}", me())).unwrap();
    let mut driver = stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap();
    let mut client = Client::open(port).await;
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OL\"").await;
    assert_eq!(client.ask("SET VAR unit ups.id two").await, "OK");
    client.until("GET VAR unit ups.id", "VAR unit ups.id \"two\"").await;
    stage.write(&host.conf.join("unit.dev"), "ups.status: OB LB\n").unwrap();
    client.until("GET VAR unit ups.status", "VAR unit ups.status \"OB LB\"").await;

    // What all drivers have besides. How an order ended is told, well or not.
    client.order("SET VAR unit ups.id \"a \\\"b\\\" \\#c\"").await;
    client.until("GET VAR unit ups.id", "VAR unit ups.id \"a \\\"b\\\" \\#c\"").await;
    client.order("SET VAR unit driver.debug 1").await;
    client.until("GET VAR unit driver.debug", "VAR unit driver.debug \"1\"").await;
    assert_eq!(client.ask("GET TYPE unit driver.debug").await, "TYPE unit driver.debug RW NUMBER");
    client.order_ends("SET VAR unit driver.debug x", "ERR INVALID-ARGUMENT").await;
    assert_eq!(client.ask("SET VAR unit driver.name x").await, "ERR READONLY");
    client.order_ends("INSTCMD unit load.off", "ERR UNKNOWN").await;
    client.order_ends("INSTCMD unit driver.killpower", "ERR INVALID-ARGUMENT").await;
    client.order("SET VAR unit driver.flag.allow_killpower 1").await;
    client.order_ends("INSTCMD unit driver.killpower", "ERR FAILED").await;
    client.order("INSTCMD unit driver.reload-or-error").await;
    assert_eq!(client.ask("INSTCMD unit driver.exit").await, "ERR CMD-NOT-SUPPORTED");

    // A setting that needs a restart: the driver says so, and ends when told to.
    stage.write(&host.conf.join("ups.conf"), &format!("user = {}\n{conf}  nolock\n", me())).unwrap();
    client.order_ends("INSTCMD unit driver.reload-or-error", "ERR INVALID-ARGUMENT").await;
    assert!(driver.runs());
    assert_eq!(client.ask("INSTCMD unit driver.reload-or-exit").await, "OK");
    assert_eq!(driver.ended().await, Some(138));
    client.until("GET VAR unit ups.status", "ERR DRIVER-NOT-CONNECTED").await;
}

/// Each sees that the other has the line, and leaves it alone.
#[tokio::test]
async fn our_apcsmart_and_nuts_do_not_share_a_port() {
    let Some(oracle) = Oracle::get("our_apcsmart_and_nuts_do_not_share_a_port") else { return };
    let stage = stage();
    let tty = stage.folder().join("tty");
    let _unit = sim("smart-ups-900i-7TI", &tty);
    let section = |ups: &str| format!("[{ups}]\n  driver = apcsmart\n  port = {}\n", tty.display());
    let host = stage.host("server").unwrap();
    let conf = format!("user = {}\n{}{}", me(), section("ours"), section("nuts"));
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();

    let mut ours = stage.start(&host, "apcsmart", &["-a", "ours", "-F"]).unwrap();
    dump(&socket(&host, "apcsmart", "ours")).await;
    let mut nuts = nuts_driver(oracle, &stage, &host, "apcsmart", "nuts");
    assert_eq!(nuts.ended().await, Some(1), "NUT's leaves the line to ours");
    ours.signal(Signal::SIGTERM).unwrap();
    assert_eq!(ours.ended().await, Some(0));

    let _nuts = nuts_driver(oracle, &stage, &host, "apcsmart", "nuts");
    dump(&socket(&host, "apcsmart", "nuts")).await;
    let (code, output, errors) = stage.run(&host, "apcsmart", &["-a", "ours", "-F"]).await.unwrap();
    assert_eq!(code, Some(1), "{output}{errors}");
    assert!(errors.contains("is locked by another process"), "{output}{errors}");
}

/// A driver for USB cannot find a device here, but what it is made of is whole.
#[tokio::test]
async fn nuts_usbhid_ups_says_who_it_is() {
    let Some(oracle) = Oracle::get("nuts_usbhid_ups_says_who_it_is") else { return };
    let stage = stage();
    let host = stage.host("server").unwrap();
    for (option, words) in [("-h", "usage: "), ("-V", "Network UPS Tools - Generic HID driver")] {
        let label = format!("nut-usbhid-ups{option}");
        let mut running = oracle.start(&stage, &host, &label, &["usbhid-ups", option]).unwrap();
        assert_eq!(running.ended().await, Some(0));
        let log = std::fs::read_to_string(stage.folder().join("log").join(format!("server-{label}.log")));
        assert!(log.as_deref().unwrap_or_default().contains(words), "{option}: {log:?}");
    }
}
