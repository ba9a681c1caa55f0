//! The system log, spoken to such that a log daemon that hangs does not hang us.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use syslog::{Facility, Formatter3164, LogFormat, Severity};

use crate::clock::{self, WallTime};

/// The system log's socket, connected to when first needed and again after the log daemon was restarted.
///
/// The sending is ours and not the `syslog` crate's: its socket waits without limit for a log daemon that does not
/// read, is not connected to anew after a restart of that daemon, and nobody learns what was lost.
pub(super) struct SystemLog {
    format: Formatter3164,
    path: PathBuf,
    socket: Option<UnixDatagram>,
    /// The log daemon let a message wait in vain; until it takes one again nobody waits for it.
    stalled: bool,
    /// How many messages it did not take since the last one that it took.
    lost: u64,
}

impl SystemLog {
    /// How long one message may wait for a log daemon that is busy.
    const PATIENCE: Duration = Duration::from_millis(100);

    pub(super) fn new(program: String, path: &Path) -> Self {
        let format = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: program,
            pid: std::process::id(),
        };
        Self { format, path: path.to_path_buf(), socket: None, stalled: false, lost: 0 }
    }

    /// Connects, again if it was connected. Without a log daemon nothing changes.
    pub(super) fn connect(&mut self) {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&self.path)?;
            socket.set_write_timeout(Some(Self::PATIENCE))?;
            socket.set_nonblocking(self.stalled)?;
            Ok::<_, io::Error>(socket)
        };
        if let Ok(socket) = connect() {
            self.socket = Some(socket);
        }
    }

    /// Sends a message, and before it, if there were some, how many are missing.
    pub(super) fn send(&mut self, severity: Severity, text: &str) {
        if self.lost > 0 {
            let lost = format!("{} messages are missing here: the system log did not take them", self.lost);
            if self.try_send(Severity::LOG_WARNING, &lost) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.try_send(severity, text) {
            self.lost += 1;
        }
    }

    fn try_send(&mut self, severity: Severity, text: &str) -> bool {
        if self.socket.is_none() {
            self.connect();
        }
        let message = self.message(severity, text, clock::wall());
        let mut sent = self.send_bytes(&message);
        if let Err(error) = &sent
            && !is_full(error)
        {
            // The log daemon was restarted: its old socket is dead, its new one is at the same place.
            self.connect();
            sent = self.send_bytes(&message);
        }
        let stalled = sent.as_ref().is_err_and(is_full);
        if stalled != self.stalled {
            self.stalled = stalled;
            if let Some(socket) = &self.socket
                && socket.set_nonblocking(stalled).is_err()
            {
                self.socket = None;
            }
        }
        sent.is_ok()
    }

    fn send_bytes(&self, message: &[u8]) -> io::Result<()> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        socket.send(message).map(drop)
    }

    /// `<30>Jan  2 03:04:05 upsd[678]: text`, as RFC 3164 and the C library have it.
    fn message(&self, severity: Severity, text: &str, time: WallTime) -> Vec<u8> {
        let mut message = Vec::with_capacity(text.len() + 64);
        // Cannot fail: it is a Vec.
        let _ = self.format.format(&mut message, severity, text);
        // The crate writes the time of Greenwich, and `Jan 02`. Log daemons take it for the time of this place.
        let stamp = time.strftime("%b %e %H:%M:%S");
        let begin = message.iter().position(|byte| *byte == b'>').map_or(0, |end| end + 1);
        if let Some(room) = message.get_mut(begin..begin + stamp.len()) {
            room.copy_from_slice(stamp.as_bytes());
        }
        message
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MAX_TEXT;
    use nut_drill::scratch::Scratch;

    struct LogDaemon(UnixDatagram);

    impl LogDaemon {
        fn start(path: &Path) -> Self {
            let socket = UnixDatagram::bind(path).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            Self(socket)
        }

        fn next(&self) -> String {
            let mut buffer = vec![0; 2 * MAX_TEXT];
            let len = self.0.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).into_owned()
        }
    }

    #[test]
    fn a_message_has_the_form_of_rfc_3164() {
        let log = SystemLog::new("upsmon".into(), Path::new("/no/such/socket"));
        let time = WallTime::from_unix(Duration::from_secs(1_709_294_705));
        let text = "UPS apc@localhost <on> battery";
        for (severity, number) in [
            (Severity::LOG_ALERT, 25),
            (Severity::LOG_CRIT, 26),
            (Severity::LOG_ERR, 27),
            (Severity::LOG_WARNING, 28),
            (Severity::LOG_NOTICE, 29),
            (Severity::LOG_INFO, 30),
            (Severity::LOG_DEBUG, 31),
        ] {
            let message = String::from_utf8(log.message(severity, text, time)).unwrap();
            let stamp = time.strftime("%b %e %H:%M:%S");
            assert_eq!(message, format!("<{number}>{stamp} upsmon[{}]: {text}", std::process::id()));
        }
    }

    #[test]
    fn the_log_daemon_gets_whole_messages() {
        let dir = Scratch::new();
        let daemon = LogDaemon::start(&dir.path("log"));
        let mut log = SystemLog::new("upsmon".into(), &dir.path("log"));
        log.send(Severity::LOG_NOTICE, "UPS apc@localhost on battery");
        let message = daemon.next();
        let end = format!(" upsmon[{}]: UPS apc@localhost on battery", std::process::id());
        assert!(message.starts_with("<29>") && message.ends_with(&end), "{message}");
        assert_eq!(message.len(), "<29>Jan  2 03:04:05".len() + end.len(), "{message}");
    }

    #[test]
    fn a_log_daemon_that_was_restarted_is_found_again_and_what_was_lost_is_counted() {
        let dir = Scratch::new();
        let path = dir.path("log");
        let mut log = SystemLog::new("upsd".into(), &path);
        log.send(Severity::LOG_INFO, "nobody listens yet");
        let daemon = LogDaemon::start(&path);
        log.send(Severity::LOG_INFO, "one");
        assert!(daemon.next().ends_with(": 1 messages are missing here: the system log did not take them"));
        assert!(daemon.next().ends_with(": one"));
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = LogDaemon::start(&path);
        log.send(Severity::LOG_INFO, "two");
        assert!(daemon.next().ends_with(": two"));
    }

    #[test]
    fn a_log_daemon_that_hangs_holds_us_up_once_and_briefly() {
        let dir = Scratch::new();
        let path = dir.path("log");
        let daemon = LogDaemon::start(&path);
        let mut log = SystemLog::new("upsd".into(), &path);
        let before = clock::now();
        for number in 0..2000 {
            log.send(Severity::LOG_INFO, &format!("message {number} {}", "x".repeat(500)));
        }
        let took = clock::now().since(before);
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert!(log.lost > 0 && log.stalled);
        // It wakes up: what it has is whole, then comes the count.
        let kept = 2000 - log.lost;
        for number in 0..kept {
            assert!(daemon.next().contains(&format!(": message {number} ")));
        }
        log.send(Severity::LOG_INFO, "last");
        assert!(daemon.next().contains(&format!(": {} messages are missing here", 2000 - kept)));
        assert!(daemon.next().ends_with(": last"));
        assert!(!log.stalled && log.lost == 0);
    }
}
