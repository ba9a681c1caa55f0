//! `apcsmart` as a program, on a pseudo-terminal with just enough of a Smart-UPS behind it: what the shell around a
//! driver does with a serial line.

use crate::stage::Stage;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nut_os::clock;
use nut_proto::Moment;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) const APCSMART: &str = env!("CARGO_BIN_EXE_apcsmart");

/// The device end of a pseudo-terminal, and the node of the other end.
pub(crate) fn terminal() -> (File, PathBuf) {
    let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    nix::pty::grantpt(&master).unwrap();
    nix::pty::unlockpt(&master).unwrap();
    let node = nix::pty::ptsname_r(&master).unwrap();
    let mut settings = tcgetattr(&master).unwrap();
    cfmakeraw(&mut settings);
    tcsetattr(&master, SetArg::TCSANOW, &settings).unwrap();
    (File::from(OwnedFd::from(master)), node.into())
}

/// An alert for the moment at which the next question waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alert {
    pub(crate) byte: u8,
    /// The status from then on.
    pub(crate) status: u8,
}

/// What the unit is in the middle of.
#[derive(Debug, Default)]
struct Inside {
    /// What it tells while the next question waits.
    armed: Mutex<Option<Alert>>,
    /// When it told its last alert.
    told: Mutex<Option<Moment>>,
    /// A second line that hears each alert at the same moment.
    beside: Mutex<Option<File>>,
    status: AtomicU8,
    /// All it was sent.
    heard: Mutex<Vec<u8>>,
}

impl Inside {
    /// Changes the status and tells it.
    fn alert(&self, device: &mut File, Alert { byte, status }: Alert) {
        self.status.store(status, Ordering::Relaxed);
        let mut beside = self.beside.lock().unwrap();
        *self.told.lock().unwrap() = Some(clock::now());
        let _ = device.write_all(&[byte]);
        if let Some(beside) = beside.as_mut() {
            beside.write_all(&[byte]).unwrap();
        }
    }
}

/// A small Smart-UPS behind a link that stays when the terminal changes.
pub(crate) struct Ups {
    link: PathBuf,
    inside: Arc<Inside>,
    plugged: Option<(File, JoinHandle<()>, Arc<AtomicBool>)>,
    /// Keeps the node alive while the driver is not there: without it the device end reads errors.
    node: Option<File>,
    /// Lines that are still there, with nobody at their other end.
    dead: Vec<(File, File)>,
}

impl Ups {
    pub(crate) fn new(stage: &Stage) -> Self {
        let inside = Inside { status: AtomicU8::new(0x08), ..Inside::default() };
        let mut ups = Self {
            link: stage.path("tty"),
            inside: Arc::new(inside),
            plugged: None,
            node: None,
            dead: Vec::new(),
        };
        ups.plug();
        ups
    }

    pub(crate) fn set_status(&self, status: u8) {
        self.inside.status.store(status, Ordering::Relaxed);
    }

    /// Tells this while the next question waits for its answer.
    pub(crate) fn arm(&self, alert: Alert) {
        *self.inside.told.lock().unwrap() = None;
        *self.inside.armed.lock().unwrap() = Some(alert);
    }

    /// Tells this now.
    pub(crate) fn alert(&mut self, alert: Alert) {
        let device = &mut self.plugged.as_mut().unwrap().0;
        self.inside.alert(device, alert);
    }

    /// Tells each alert here, too.
    pub(crate) fn tell_also(&mut self, device: File) {
        *self.inside.beside.lock().unwrap() = Some(device);
    }

    /// When it told its last alert.
    pub(crate) fn told_at(&self) -> Option<Moment> {
        *self.inside.told.lock().unwrap()
    }

    fn plug(&mut self) {
        let (device, node) = terminal();
        let _ = std::fs::remove_file(&self.link);
        std::os::unix::fs::symlink(&node, &self.link).unwrap();
        self.node = Some(File::options().read(true).write(true).open(&node).unwrap());
        let (stop, inside) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.inside));
        let (ours, stopped) = (device.try_clone().unwrap(), Arc::clone(&stop));
        let answering = std::thread::spawn(move || answer(device, &inside, &stopped));
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

    /// The adapter is there under another node at once, and the old one is silent, without an error.
    fn move_to_another_node(&mut self) {
        let (device, answering, stop) = self.plugged.take().unwrap();
        stop.store(true, Ordering::Relaxed);
        answering.join().unwrap();
        self.dead.push((device, self.node.take().unwrap()));
        self.plug();
    }

    /// The node behind the link.
    fn node(&self) -> PathBuf {
        self.link.canonicalize().unwrap()
    }

    /// Everything it was sent, since the last time this was asked.
    fn heard(&self) -> Vec<u8> {
        std::mem::take(&mut *self.inside.heard.lock().unwrap())
    }
}

impl Drop for Ups {
    fn drop(&mut self) {
        if self.plugged.is_some() {
            self.unplug();
        }
    }
}

/// How long a unit thinks about a question: as long as a real one, when it has something to tell meanwhile.
const THINKS: Duration = Duration::from_millis(20);

#[expect(clippy::disallowed_methods, reason = "a unit that thinks, in a thread of its own")]
fn answer(mut device: File, inside: &Inside, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(20u8)) == Ok(0) {
            continue;
        }
        let mut byte = [0];
        // The driver is not there; the poll above keeps this from being a busy loop.
        let Ok(1) = device.read(&mut byte) else { continue };
        inside.heard.lock().unwrap().push(byte[0]);
        let armed = inside.armed.lock().unwrap().take();
        if let Some(alert) = armed {
            std::thread::sleep(THINKS);
            inside.alert(&mut device, alert);
            std::thread::sleep(THINKS);
        }
        let text = match byte[0] {
            b'Y' => "SM".to_owned(),
            b'R' => "BYE".to_owned(),
            b'Q' => format!("{:02X}", inside.status.load(Ordering::Relaxed)),
            b'S' if inside.status.load(Ordering::Relaxed) & 0x10 != 0 => "OK".to_owned(),
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

pub(crate) fn stage() -> Stage {
    let stage = Stage::new("");
    let port = stage.path("tty");
    stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\n", port.display()));
    stage
}

#[test]
fn an_alert_is_news_at_once_and_not_at_the_next_update() {
    let stage = stage();
    let mut ups = Ups::new(&stage);
    let driver = stage.start(APCSMART, "-a u -F -i 3600");
    let mut reader = stage.connect("apcsmart-u");
    let dump = reader.dump();
    assert!(dump.contains(&"SETINFO ups.model \"SMART-UPS 1000\"".to_owned()), "{dump:#?}\n{}", driver.log());
    assert!(dump.contains(&"SETINFO ups.status \"OL\"".to_owned()), "{dump:#?}");

    // The next update is farther away than this waits.
    ups.alert(Alert { byte: b'!', status: 0x10 });
    reader.until("SETINFO ups.status \"OB\"");
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
    reader.until("SETINFO driver.reconnect_count \"1\"");
    let before = effort(driver.pid());
    reader.until("SETINFO driver.reconnect_count \"3\"");
    // A try each second or less often: nothing turns round and round, and no line of the log comes of each.
    let took = effort(driver.pid());
    assert!(took.ticks - before.ticks <= 20 && took.waits - before.waits <= 100, "{before:?}, {took:?}");
    assert_eq!(reader.value("driver.state").as_deref(), Some("\"reconnect.trying\""));
    let error = reader.value("driver.lasterror").unwrap();
    assert!(error.contains("there is no such node"), "{error}");
    assert_eq!(driver.log().matches("there is no such node").count(), 1, "{}", driver.log());
    ups.set_status(0x10);
    ups.plug();
    let seen = reader.until("DATAOK");
    let log = driver.log();
    assert!(!seen.is_empty());
    assert_eq!(reader.value("ups.status").as_deref(), Some("\"OB\""), "{log}");
    assert_eq!(log.matches("Communications with UPS lost").count(), 1, "{log}");
    assert_eq!(log.matches("Communications with UPS re-established").count(), 1, "{log}");
}

/// What a process has cost so far.
#[derive(Debug)]
struct Effort {
    /// Processor time, in hundredths of a second.
    ticks: u64,
    /// How often it has waited for something.
    waits: u64,
}

fn effort(pid: u32) -> Effort {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    let status = read("status");
    let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    Effort { ticks: number(fields[11]) + number(fields[12]), waits: number(waits) }
}

/// As an adapter does that is pulled out and plugged into another socket: the link in `/dev/serial/by-id` is made anew.
#[test]
fn a_device_that_comes_back_under_another_node_is_found_by_its_link() {
    let stage = stage();
    let mut ups = Ups::new(&stage);
    let driver = stage.start(APCSMART, "-a u -F");
    let mut reader = stage.connect("apcsmart-u");
    reader.dump();
    let first = ups.node();

    ups.unplug();
    reader.until("DATASTALE");
    // The number that has become free is somebody else's now.
    let _others: Vec<_> = (0..8).map(|_| terminal()).collect();
    ups.plug();
    assert_ne!(ups.node(), first);
    reader.until("DATAOK");

    // Now without an error on the old line: it falls silent, and the link names another one.
    let second = ups.node();
    ups.set_status(0x10);
    ups.move_to_another_node();
    assert_ne!(ups.node(), second);
    reader.until("DATASTALE");
    reader.until("DATAOK");
    reader.until("SETINFO driver.state \"quiet\"");
    assert_eq!(reader.value("ups.status").as_deref(), Some("\"OB\""), "{}", driver.log());
    let log = driver.log();
    assert_eq!(log.matches("Communications with UPS lost").count(), 2, "{log}");
    assert_eq!(log.matches("Communications with UPS re-established").count(), 2, "{log}");
}

/// Batteries run out meanwhile: one SIGTERM, then SIGKILL, and the unit is told in any case.
#[test]
fn minus_k_ends_a_running_driver_with_one_sigterm_before_it_cuts_the_power() {
    for (on_term, code) in [("exit 7", Some(7)), (":", None)] {
        let stage = stage();
        let ups = Ups::new(&stage);
        ups.set_status(0x10);
        let mut other = stage.start_without_socket("apcsmart", "u", on_term);
        let said = stage.output(APCSMART, "-a u -k");
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(other.end(), code, "{said:?}");
        assert_eq!(stage.notes(), "runs\nTERM\n", "{said:?}");
        assert_eq!(String::from_utf8(ups.heard()).unwrap(), "YQSR", "{said:?}");
    }
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
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode(&node, 0o600);
    mode(&stage.run(), 0o777);
    std::os::unix::fs::symlink(&node, stage.path("tty")).unwrap();
    let said = stage.output(APCSMART, "-a u -F -u nobody");
    assert_eq!(said.code, Some(1), "{said:?}");
    let shown = format!("'chmod 0660 {}'", node.display());
    for part in [
        "permission denied (owner root, group ",
        "mode 0600",
        "we are user nobody (group",
        "chown root:",
        &shown,
        "/etc/udev/rules.d/90-nut-serial.rules: KERNEL==",
    ] {
        assert!(said.err.contains(part), "{part}: {said:?}");
    }

    // The node may be used by everybody, but nobody gets there.
    mode(&node, 0o666);
    let closed = stage.path("closed");
    std::fs::create_dir(&closed).unwrap();
    mode(&closed, 0o700);
    let port = closed.join("ups");
    std::os::unix::fs::symlink(&node, &port).unwrap();
    stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\n", port.display()));
    let said = stage.output(APCSMART, "-a u -F -u nobody");
    assert_eq!(said.code, Some(1), "{said:?}");
    let directory = format!("by the directory {} (owner root, group root, mode 0700)", closed.display());
    for part in [directory, "we are user nobody".to_owned(), format!("'chmod a+x {}'", closed.display())] {
        assert!(said.err.contains(&part), "{part}: {said:?}");
    }
}

/// A start with something at the other end that says this to every byte, or gives it back.
fn start_on_something_else(answer: Option<&str>) -> crate::stage::Said {
    let stage = stage();
    let (device, node) = terminal();
    std::os::unix::fs::symlink(&node, stage.path("tty")).unwrap();
    let driver_end = File::options().read(true).write(true).open(&node).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut byte, mut device) = ([0], device);
            // Until both ends of the line are closed: then it reads an error.
            while device.read_exact(&mut byte).is_ok() {
                let said = answer.map_or(&byte[..], str::as_bytes);
                let _ = device.write_all(said);
            }
        });
        let said = stage.output(APCSMART, "-a u -F");
        drop(driver_end);
        said
    })
}

/// What else may be at the end of a line: somebody who asks for a name, or nothing but the line itself.
#[test]
fn a_port_with_something_else_on_it_is_explained() {
    // Side by side: each start is given up after a quarter of a minute.
    let (login, echo) = std::thread::scope(|scope| {
        let login = scope.spawn(|| start_on_something_else(Some("\r\nhost login: ")));
        let echo = start_on_something_else(None);
        (login.join().unwrap(), echo)
    });
    for (said, part) in [
        (login, "does not speak the Smart protocol: it said \"host login: "),
        (echo, "sends back what it is sent"),
    ] {
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains(part) && said.err.contains("AP9620"), "{part}: {said:?}");
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

#[test]
fn a_lock_counts_neither_with_nolock_nor_when_the_power_must_be_cut() {
    let stage = stage();
    let ups = Ups::new(&stage);
    let tty = File::options().read(true).write(true).open(stage.path("tty")).unwrap();
    let held = nix::fcntl::Flock::lock(tty, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let said = stage.output(APCSMART, "-a u -d 1");
    assert!(said.code == Some(1) && said.err.contains("locked by another process"), "{said:?}");
    let said = stage.output(APCSMART, "-a u -x nolock -d 1");
    assert!(said.code == Some(0) && said.out.contains("driver.flag.nolock: enabled\n"), "{said:?}");
    ups.set_status(0x10);
    let said = stage.output(APCSMART, "-a u -k");
    assert_eq!(said.code, Some(0), "{said:?}");
    drop(held);
}
