//! A host at the other end of a real pseudo-terminal.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::super::deed::{OffBy, ShutdownCommand};
use super::super::profile::Profile;
use super::super::ups::{Mains, Output, Settings};
use super::super::wire::Pace;
use super::*;

/// Far more than anything here takes; only a broken test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("apcsim-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("nobody else uses that name");
        Self(path)
    }

    fn tty(&self) -> PathBuf {
        self.0.join("ttyS0")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The program's end of the line.
struct Host(AsyncFd<File>);

impl Host {
    fn open(path: &Path) -> Self {
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        let file =
            File::options().read(true).write(true).custom_flags(flags).open(path).expect("it can be opened");
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the file keeps one descriptor as long as it lives"
        )]
        Self(AsyncFd::new(file).expect("a terminal can be waited for"))
    }

    fn say(&self, bytes: &[u8]) {
        self.0.get_ref().write_all(bytes).expect("there is room for a few bytes");
    }

    /// Reads until what came ends so.
    async fn hears(&self, end: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        let deadline = clock::now() + PATIENCE;
        while !heard.ends_with(end) {
            let piece = tokio::select! {
                piece = self.piece() => piece.expect("the line is there"),
                () = clock::until(deadline) => panic!("heard only {}", heard.escape_ascii()),
            };
            heard.extend(piece);
        }
        heard
    }

    async fn piece(&self) -> io::Result<Vec<u8>> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut chunk = [0; 64];
            match ready.try_io(|file| file.get_ref().read(&mut chunk)) {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(result) => return result.map(|length| chunk[..length].to_vec()),
                Err(_not_ready) => {}
            }
        }
    }
}

fn unit(settings: Settings) -> SmartUps {
    SmartUps::new(Profile::named("smart-ups-420-21.3.I").unwrap(), settings)
}

fn quick() -> SmartUps {
    unit(Settings { pace: Pace::Immediate, ..Settings::default() })
}

#[tokio::test]
async fn a_host_and_the_unit_converse() {
    let folder = Folder::new();
    let sim = SimHandle::start(unit(Settings::default()), &folder.tty()).unwrap();
    let mut traffic = sim.traffic();
    let host = Host::open(sim.path());
    host.say(b"Y");
    assert_eq!(host.hears(b"\n").await, b"SM\r\n");
    let asked = clock::now();
    host.say(b"n");
    assert_eq!(host.hears(b"\n").await, b"NS9847001053\0\0\r\n");
    assert!(clock::now().since(asked) >= Duration::from_millis(180), "at the pace of the real unit");
    sim.send(Event::Mains(Mains::Off)).await;
    assert_eq!(host.hears(b"!").await, b"!");
    assert!(sim.state().await.unwrap().on_battery);
    let seen: Vec<_> =
        std::iter::from_fn(|| traffic.try_recv().ok()).map(|t| (t.direction, t.bytes)).collect();
    let expected = [
        (Direction::FromHost, &b"Y"[..]),
        (Direction::ToHost, b"SM\r\n"),
        (Direction::FromHost, b"n"),
        (Direction::ToHost, b"NS9847001053\0\0\r\n"),
        (Direction::ToHost, b"!"),
    ];
    assert_eq!(seen, expected.map(|(direction, bytes)| (direction, bytes.to_vec())), "and nothing is echoed");
}

#[tokio::test]
async fn the_line_survives_hosts_that_come_and_go_and_can_be_locked_by_each() {
    let folder = Folder::new();
    let sim = SimHandle::start(quick(), &folder.tty()).unwrap();
    for round in 0..3 {
        let host = Host::open(sim.path());
        let file = host.0.get_ref().try_clone().unwrap();
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        assert!(lock.is_ok(), "round {round}: the keeper holds no lock");
        host.say(b"Y");
        assert_eq!(host.hears(b"\n").await, b"SM\r\n", "round {round}");
    }
    let on: Vec<_> = sim.record().await.unwrap();
    assert_eq!(on.len(), 1, "smart mode lasts: {on:?}");
}

#[tokio::test]
async fn a_pulled_cable_hangs_up_and_a_new_one_is_found_under_the_same_name() {
    let folder = Folder::new();
    let sim = SimHandle::start(quick(), &folder.tty()).unwrap();
    let host = Host::open(sim.path());
    host.say(b"Y");
    host.hears(b"\n").await;
    sim.unplug().await;
    let hung_up = tokio::select! {
        piece = host.piece() => piece.is_err(),
        () = clock::until(clock::now() + PATIENCE) => false,
    };
    assert!(hung_up);
    assert!(sim.path().symlink_metadata().is_err(), "the node is gone");
    // What happens meanwhile happens without a listener.
    sim.send(Event::Mains(Mains::Off)).await;
    sim.replug().await.unwrap();
    let host = Host::open(sim.path());
    host.say(b"Q");
    assert_eq!(host.hears(b"\n").await, b"10\r\n", "the unit went on, and is still in smart mode");
}

#[tokio::test]
async fn deeds_can_be_waited_for_before_and_after_they_happen() {
    let folder = Folder::new();
    let fifty = std::num::NonZeroU32::new(50).unwrap();
    let sim =
        SimHandle::start(unit(Settings { time_scale: fifty, ..Settings::default() }), &folder.tty()).unwrap();
    let mut deeds = sim.deeds();
    let host = Host::open(sim.path());
    host.say(b"Y");
    host.hears(b"\n").await;
    sim.send(Event::Mains(Mains::Off)).await;
    host.say(b"S");
    host.hears(b"OK\r\n").await;
    let off = Deed::LoadOff { by: OffBy::Command(ShutdownCommand::Soft) };
    let deadline = clock::now() + PATIENCE;
    let (at, _) = sim.wait_for(deadline, |deed| *deed == off).await.expect("20 s in 0.4 s");
    assert_eq!(sim.wait_for(deadline, |deed| *deed == off).await, Some((at, off)), "still known later");
    assert_eq!(sim.state().await.unwrap().output, Output::Asleep);
    assert_eq!(sim.wait_for(clock::now(), |deed| *deed == Deed::PanelTest).await, None);
    let mut story = Vec::new();
    while let Ok((_, deed)) = deeds.try_recv() {
        story.push(deed.to_string());
    }
    assert_eq!(
        story,
        [
            "smart mode on",
            "on battery: mains failed",
            "S accepted",
            "load off: command S",
            "asleep until mains is back"
        ]
    );
}

#[tokio::test]
async fn stopping_removes_the_link_and_so_does_dropping() {
    let folder = Folder::new();
    let sim = SimHandle::start(quick(), &folder.tty()).unwrap();
    assert!(folder.tty().exists());
    sim.stop().await;
    assert!(folder.tty().symlink_metadata().is_err());
    let sim = SimHandle::start(quick(), &folder.tty()).unwrap();
    drop(sim);
    let deadline = clock::now() + PATIENCE;
    while folder.tty().symlink_metadata().is_ok() {
        assert!(clock::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_a_link_is_replaced() {
    let folder = Folder::new();
    std::os::unix::fs::symlink("/nonexistent", folder.tty()).unwrap();
    drop(SimHandle::start(quick(), &folder.tty()).expect("a stale link is replaced"));
    let file = folder.0.join("precious");
    std::fs::write(&file, "data").unwrap();
    let error = SimHandle::start(quick(), &file).unwrap_err();
    assert!(error.to_string().starts_with("cannot make the link "), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"data");
    let missing = SimHandle::start(quick(), &folder.0.join("no/such/folder/tty")).unwrap_err();
    assert!(matches!(missing, SimError::NoLink { .. }));
}
