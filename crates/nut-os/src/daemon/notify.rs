//! Word to the service manager, over the datagram socket that `NOTIFY_SOCKET` names. Without one, nothing happens.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::debug;

use crate::clock;

/// We are ready, and this process is the one to watch.
pub fn notify_ready() {
    notify(&format!("READY=1\nMAINPID={}", std::process::id()));
}

/// What was said by [`notify_reloading`] is over. For a second half: the process to watch stays the first one.
pub fn notify_reloaded() {
    notify("READY=1");
}

/// Our configuration is being read again; [`notify_ready`] says when that is over.
pub fn notify_reloading() {
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::monotonic_micros()));
}

/// We are stopping, for this reason.
pub fn notify_stopping(why: &str) {
    notify(&format!("STOPPING=1\nSTATUS={}", one_line(why)));
}

/// What we are doing, for people who ask the service manager.
pub fn notify_status(text: &str) {
    notify(&format!("STATUS={}", one_line(text)));
}

/// We are alive. To be said at least as often as [`watchdog_interval`].
pub fn notify_watchdog() {
    notify("WATCHDOG=1");
}

/// How often to say [`notify_watchdog`]: half the time after which the service manager gives us up, if it does.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let get = |name| std::env::var(name).ok();
    // A second half speaks for the first, whom the service manager knows.
    let first = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
    interval(get("WATCHDOG_USEC").as_deref(), get("WATCHDOG_PID").as_deref(), [std::process::id(), first])
}

fn interval(micros: Option<&str>, pid: Option<&str>, ours: [u32; 2]) -> Option<Duration> {
    let is_for_us = pid.is_none_or(|pid| pid.parse().is_ok_and(|pid| ours.contains(&pid)));
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    is_for_us.then(|| Duration::from_micros(micros) / 2)
}

/// Says [`notify_watchdog`] in time, as long as [`fired`](Self::fired) is waited for.
#[derive(Debug)]
pub struct Watchdog {
    alarm: Option<(clock::Alarm, Duration)>,
}

impl Watchdog {
    /// One that never fires, unless the service manager wants to hear that we live.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let Some(interval) = watchdog_interval() else { return Ok(Self { alarm: None }) };
        let mut alarm = clock::Alarm::new()?;
        alarm.set(Some(clock::now()));
        Ok(Self { alarm: Some((alarm, interval)) })
    }

    /// Waits until it is to be said that we live. Giving up waiting loses nothing.
    pub async fn fired(&mut self) {
        match &mut self.alarm {
            None => std::future::pending().await,
            Some((alarm, interval)) => {
                alarm.fired().await;
                alarm.set(Some(clock::now().after(*interval)));
            }
        }
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Connects to the service manager now, if there is one, so that it stays within reach after a change of root directory.
pub(crate) fn keep_in_reach() {
    if let Some(socket) = socket_named()
        && let Ok(manager) = connect(&socket)
    {
        // A second change of root changes nothing: the first connection is as good.
        let _ = MANAGER.set(manager);
    }
}

/// The connection, where one had to be made in time; else there is none, and each word finds its way by itself.
static MANAGER: OnceLock<UnixDatagram> = OnceLock::new();

fn notify(state: &str) {
    let sent = match (MANAGER.get(), socket_named()) {
        (Some(manager), _) => manager.send(state.as_bytes()).map(drop),
        (None, Some(socket)) => send(&socket, state),
        (None, None) => return,
    };
    if let Err(error) = sent {
        debug!(%error, "the service manager could not be told");
    }
}

fn socket_named() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty())
}

fn send(socket: &OsString, state: &str) -> io::Result<()> {
    connect(socket)?.send(state.as_bytes()).map(drop)
}

fn connect(socket: &OsString) -> io::Result<UnixDatagram> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A manager that does not read must not stop us.
    datagram.set_nonblocking(true)?;
    datagram.connect_addr(&address)?;
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;

    fn heard(manager: &UnixDatagram) -> String {
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut buffer = [0; 200];
        let len = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..len]).into_owned()
    }

    #[test]
    fn the_manager_hears_us_by_path_and_by_abstract_name() {
        let dir = Scratch::new();
        let path = dir.path("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(&path.into_os_string(), "READY=1").unwrap();
        assert_eq!(heard(&manager), "READY=1");

        let name = format!("nut-os-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}").into(), "WATCHDOG=1").unwrap();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert!(send(&dir.path("nobody").into_os_string(), "READY=1").is_err());
    }

    #[test]
    fn a_manager_that_does_not_read_does_not_stop_us() {
        let dir = Scratch::new();
        let path = dir.path("notify");
        let _manager = UnixDatagram::bind(&path).unwrap();
        let path = path.into_os_string();
        let full = (0..100_000).find_map(|_| send(&path, "WATCHDOG=1").err());
        assert_eq!(full.expect("the queue is bounded").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_watchdog_is_ours_only_if_it_names_us() {
        assert_eq!(interval(Some("3000000"), None, [7, 6]), Some(Duration::from_millis(1500)));
        assert_eq!(interval(Some("3000000"), Some("7"), [7, 6]), Some(Duration::from_millis(1500)));
        assert_eq!(interval(Some("3000000"), Some("6"), [7, 6]), Some(Duration::from_millis(1500)));
        for (micros, pid) in
            [(Some("3000000"), Some("8")), (Some("0"), None), (Some("x"), None), (None, Some("7"))]
        {
            assert_eq!(interval(micros, pid, [7, 6]), None, "{micros:?} {pid:?}");
        }
    }
}
