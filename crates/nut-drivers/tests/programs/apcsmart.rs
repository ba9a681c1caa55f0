//! `apcsmart` as a program, on a pseudo-terminal with just enough of a Smart-UPS behind it: what the shell around a
//! driver does with a serial line.

use crate::stage::{DEADLINE, Stage};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nut_os::clock;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const APCSMART: &str = env!("CARGO_BIN_EXE_apcsmart");

/// The device end of a pseudo-terminal, and the node of the other end.
fn terminal() -> (File, PathBuf) {
    let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    nix::pty::grantpt(&master).unwrap();
    nix::pty::unlockpt(&master).unwrap();
    let node = nix::pty::ptsname_r(&master).unwrap();
    let mut settings = tcgetattr(&master).unwrap();
    cfmakeraw(&mut settings);
    tcsetattr(&master, SetArg::TCSANOW, &settings).unwrap();
    (File::from(OwnedFd::from(master)), node.into())
}

/// A small Smart-UPS behind a link that stays when the terminal changes.
struct Ups {
    link: PathBuf,
    status: Arc<AtomicU8>,
    plugged: Option<(File, JoinHandle<()>, Arc<AtomicBool>)>,
    /// Keeps the node alive while the driver is not there: without it the device end reads errors.
    node: Option<File>,
}

impl Ups {
    fn new(stage: &Stage) -> Self {
        let mut ups = Self {
            link: stage.path("tty"),
            status: Arc::new(AtomicU8::new(0x08)),
            plugged: None,
            node: None,
        };
        ups.plug();
        ups
    }

    fn plug(&mut self) {
        let (device, node) = terminal();
        let _ = std::fs::remove_file(&self.link);
        std::os::unix::fs::symlink(&node, &self.link).unwrap();
        self.node = Some(File::options().read(true).write(true).open(&node).unwrap());
        let (stop, status) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.status));
        let (ours, stopped) = (device.try_clone().unwrap(), Arc::clone(&stop));
        let answering = std::thread::spawn(move || answer(device, &status, &stopped));
        self.plugged = Some((ours, answering, stop));
    }

    fn unplug(&mut self) {
        std::fs::remove_file(&self.link).unwrap();
        self.node = None;
        if let Some((device, answering, stop)) = self.plugged.take() {
            stop.store(true, Ordering::Relaxed);
            answering.join().unwrap();
            drop(device);
        }
    }

    /// Says something unasked.
    fn says(&mut self, byte: u8) {
        self.plugged.as_mut().unwrap().0.write_all(&[byte]).unwrap();
    }
}

impl Drop for Ups {
    fn drop(&mut self) {
        if self.plugged.is_some() {
            self.unplug();
        }
    }
}

fn answer(mut device: File, status: &AtomicU8, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(20u8)) == Ok(0) {
            continue;
        }
        let mut byte = [0];
        // The driver is not there; the poll above keeps this from being a busy loop.
        let Ok(1) = device.read(&mut byte) else { continue };
        let text = match byte[0] {
            b'Y' => "SM".to_owned(),
            b'R' => "BYE".to_owned(),
            b'Q' => format!("{:02X}", status.load(Ordering::Relaxed)),
            b'a' => "3.!$%+?=#|.\u{1}BCFLNOPQRVWYbfn".to_owned(),
            b'n' => "NS0001".to_owned(),
            b'\x01' => "SMART-UPS 1000".to_owned(),
            b'V' => "GWD".to_owned(),
            b'b' => "60.11.D".to_owned(),
            b'B' => "27.60".to_owned(),
            b'C' => "030.0".to_owned(),
            b'F' => "50.00".to_owned(),
            b'L' | b'N' | b'O' => "230.0".to_owned(),
            b'P' => "020.0".to_owned(),
            b'f' => "100.0".to_owned(),
            _ => "NA".to_owned(),
        };
        let _ = device.write_all(format!("{text}\r\n").as_bytes());
    }
}

fn stage() -> Stage {
    let stage = Stage::new("");
    let port = stage.path("tty");
    stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\n", port.display()));
    stage
}

#[test]
fn an_alert_is_news_at_once_and_not_at_the_next_update() {
    let stage = stage();
    let mut ups = Ups::new(&stage);
    let driver = stage.start(APCSMART, "-a u -F -i 60");
    let mut reader = stage.connect("apcsmart-u");
    let dump = reader.dump();
    assert!(dump.contains(&"SETINFO ups.model \"SMART-UPS 1000\"".to_owned()), "{dump:#?}\n{}", driver.log());
    assert!(dump.contains(&"SETINFO ups.status \"OL\"".to_owned()), "{dump:#?}");

    ups.status.store(0x10, Ordering::Relaxed);
    let began = clock::now();
    ups.says(b'!');
    reader.until("SETINFO ups.status \"OB\"");
    // The next update is a minute away.
    assert!(clock::now().since(began) < DEADLINE.min(Duration::from_secs(20)));
}

/// A measurement, to be run by hand on a quiet machine; it prints what it found.
///
/// `cargo test -p nut-drivers --release --test programs -- --ignored --nocapture from_the_alert`
#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "the alerts are to come at no particular moment")]
fn from_the_alert_to_the_news() {
    for (mode, interval) in [("raw", 60), ("canonical", 60), ("raw", 1), ("canonical", 1)] {
        let stage = stage();
        let port = stage.path("tty");
        stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\nttymode = {mode}\n", port.display()));
        let mut ups = Ups::new(&stage);
        let _driver = stage.start(APCSMART, &format!("-a u -F -i {interval}"));
        let mut reader = stage.connect("apcsmart-u");
        reader.dump();
        let mut took = Vec::new();
        for trial in 0..100u64 {
            let (byte, status, news) = if trial % 2 == 0 { (b'!', 0x10, "OB") } else { (b'$', 0x08, "OL") };
            // With updates each second this falls into all parts of one.
            std::thread::sleep(Duration::from_millis(20 + trial * 37 % 200));
            ups.status.store(status, Ordering::Relaxed);
            let began = clock::now();
            ups.says(byte);
            reader.until(&format!("SETINFO ups.status \"{news}\""));
            took.push(clock::now().since(began));
        }
        took.sort_unstable();
        println!("{mode}, an update each {interval} s: median {:?}, worst {:?}", took[50], took[99]);
    }
}

#[test]
fn a_device_that_goes_and_comes_is_found_again_by_itself() {
    let stage = stage();
    let mut ups = Ups::new(&stage);
    let driver = stage.start(APCSMART, "-a u -F");
    let mut reader = stage.connect("apcsmart-u");
    reader.dump();

    ups.unplug();
    reader.until("DATASTALE");
    reader.until("SETINFO driver.reconnect_count \"2\"");
    ups.status.store(0x10, Ordering::Relaxed);
    ups.plug();
    let seen = reader.until("DATAOK");
    let log = driver.log();
    assert!(!seen.is_empty());
    assert_eq!(reader.value("ups.status").as_deref(), Some("\"OB\""), "{log}");
    assert_eq!(log.matches("Communications with UPS lost").count(), 1, "{log}");
    assert_eq!(log.matches("Communications with UPS re-established").count(), 1, "{log}");
}

#[test]
fn a_silent_line_and_a_port_that_is_not_there_end_the_start_with_a_reason() {
    let stage = stage();
    let (_device, node) = terminal();
    std::os::unix::fs::symlink(&node, stage.path("tty")).unwrap();
    let said = stage.output(APCSMART, "-a u -F");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.to_lowercase().contains("answer") || said.err.contains("silent"), "{said:?}");

    std::fs::remove_file(stage.path("tty")).unwrap();
    let said = stage.output(APCSMART, "-a u");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("there is no such node"), "{said:?}");
    assert_eq!(stage.left_over(), Vec::<String>::new());
}

#[test]
fn a_port_that_is_not_ours_is_explained() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can give up being root");
        return;
    }
    let stage = stage();
    let (_device, node) = terminal();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&node, mode).unwrap();
    std::fs::set_permissions(stage.run(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&node, stage.path("tty")).unwrap();
    let said = stage.output(APCSMART, "-a u -F -u nobody");
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in
        ["permission denied (owner root, group ", "mode 0600", "we are user nobody (group", "chown root:"]
    {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let stage = stage();
    let _ups = Ups::new(&stage);
    let _driver = stage.start(APCSMART, "-a u -F");
    stage.connect("apcsmart-u");
    let port = stage.path("tty");
    stage.conf(&format!(
        "[u]\ndriver = apcsmart\nport = {0}\n[v]\ndriver = apcsmart\nport = {0}\n",
        Path::new(&port).display()
    ));
    let said = stage.output(APCSMART, "-a v -F");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("locked by another process"), "{said:?}");
}
