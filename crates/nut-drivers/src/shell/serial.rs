//! The device's port: a serial line, or a file or a server that stands for one. [`closed`] says why one cannot be opened.
//!
//! The line is a `tokio_serial::SerialStream`, locked as NUT's drivers lock it: by flock alone, so that each sees the
//! other's lock. `nolock` and `-k` must get by the lock of a process that hangs, or the power stays on; serialport always
//! locks, so theirs is a `serial2::SerialPort`. Neither needs `unsafe` of ours. End of file and I/O errors both mean that
//! the device is gone.

mod closed;

use super::upstream::Upstream;
use crate::driver::{ModemLines, PortPlan};
use nix::errno::Errno;
use nix::fcntl::{FlockArg, OFlag};
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use nut_os::files::{FileError, read_limited};
use nut_os::log::plain;
use nut_os::privilege::whoami;
use nut_os::socket::{OutBuffer, Progress};
use serial2::{SerialPort, Settings};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_serial::{ClearBuffer, DataBits, FlowControl, Parity, SerialPort as _, SerialStream, StopBits};
use tracing::{debug, warn};

/// Most bytes for the device that may wait until the line takes them. Real drivers send a few at a time.
const MAX_WAITING: usize = 4096;

/// Longest file that stands for a device, in bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// Most bytes taken from the line at once.
const CHUNK: usize = 1024;

/// An open port.
#[derive(Debug)]
pub(super) enum Port {
    Line(Line),
    File(Text),
    Server(Upstream),
}

/// How a port is opened.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    pub(super) plan: PortPlan,
    /// The device node; of a file, its place.
    pub(super) path: PathBuf,
    /// Nobody else may use the line: not with `nolock`, not for `-k`.
    pub(super) exclusive: bool,
}

/// What an open port brings.
#[derive(Debug)]
pub(super) enum Brought {
    Bytes(Vec<u8>),
    /// It is gone, for that reason.
    Gone(String),
}

impl Opening {
    /// Opens the port.
    pub(super) fn open(&self) -> Result<Port, String> {
        match &self.plan {
            PortPlan::Serial { baud, lines } => {
                Line::open(&self.path, *baud, *lines, self.exclusive).map(Port::Line)
            }
            PortPlan::File { .. } => Text::open(&self.path).map(Port::File),
            PortPlan::Server { server } => Ok(Port::Server(Upstream::open(server.clone()))),
        }
    }
}

impl Port {
    /// Waits for bytes from the line, writing what waits to be written. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Brought {
        match self {
            Self::Line(line) => line.next().await,
            Self::Server(upstream) => upstream.next().await,
            Self::File(_) => std::future::pending().await,
        }
    }

    /// What has happened to a file meanwhile, or to the node of a line that is not heard. To be asked at each wake-up:
    /// they do not call.
    pub(super) fn look(&mut self, is_heard: bool) -> Option<Brought> {
        match self {
            Self::File(text) => text.look(),
            Self::Line(line) if !is_heard => line.has_moved().map(Brought::Gone),
            Self::Line(_) | Self::Server(_) => None,
        }
    }

    /// Writes now what the line takes, and keeps the rest.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Line(line) => line.send(bytes),
            Self::Server(upstream) => upstream.send(bytes),
            Self::File(_) => Ok(()),
        }
    }

    /// Throws away what has come in and was not read.
    pub(super) fn flush(&mut self) {
        if let Self::Line(line) = self
            && let Err(error) = line.stream.discard_input()
        {
            debug!(%error, "the line's input could not be thrown away");
        }
    }
}

/// What a lock that another process has is called.
const LOCKED: &str = "locked";

/// A serial line.
#[derive(Debug)]
pub(super) struct Line {
    stream: Stream,
    out: OutBuffer,
    path: PathBuf,
    /// The device the path named when it was opened.
    device: Option<u64>,
}

impl Line {
    fn open(path: &Path, baud: u32, lines: Option<ModemLines>, exclusive: bool) -> Result<Self, String> {
        let opened = if exclusive { Stream::locked(path, baud) } else { Stream::unlocked(path, baud) };
        let mut stream = opened.map_err(|why| closed::explain(path, &why))?;
        if let Some(lines) = lines
            && let Err(error) = stream.set(lines)
        {
            // A pseudo-terminal has no such lines; a real one that refuses will show by the device's silence.
            warn!(port = %path.display(), %error, "the modem lines cannot be set");
        }
        // What came before the settings were right means nothing.
        stream.discard_all();
        let device = std::fs::metadata(path).ok().map(|meta| meta.rdev());
        Ok(Self { stream, out: OutBuffer::with_limit(MAX_WAITING), path: path.to_path_buf(), device })
    }

    /// Whether the path names nothing any more, or another device: an adapter came back under another number and a link
    /// was set anew, while what we hold is silent without an error. A line that is heard is not asked: links come and
    /// go.
    fn has_moved(&self) -> Option<String> {
        match std::fs::metadata(&self.path) {
            Ok(meta) if Some(meta.rdev()) == self.device => None,
            Ok(_) => Some(format!("{} is another device now", self.path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some(format!("{} is gone", self.path.display()))
            }
            Err(_) => None,
        }
    }

    async fn next(&mut self) -> Brought {
        let Self { stream, out, .. } = self;
        poll_fn(|context| {
            let writing = out.try_write(|bytes| match stream.poll_write(context, bytes) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            });
            if let Err(error) = writing {
                return Poll::Ready(Brought::Gone(gone(&error)));
            }
            let mut buffer = [0; CHUNK];
            stream.poll_read(context, &mut buffer).map(|result| match result {
                Ok(0) => Brought::Gone("end of file: the other end is gone".to_owned()),
                Ok(count) => Brought::Bytes(buffer.get(..count).unwrap_or_default().to_vec()),
                Err(error) => Brought::Gone(gone(&error)),
            })
        })
        .await
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.out.push(bytes).is_err() {
            return Err(format!("the line does not take what is sent: {MAX_WAITING} bytes wait"));
        }
        let stream = &mut self.stream;
        match self.out.try_write(|bytes| stream.try_write(bytes)) {
            // What is left is written while waiting for input.
            Ok(Progress::Done | Progress::Blocked) => Ok(()),
            Err(error) => Err(gone(&error)),
        }
    }
}

/// The open terminal.
#[derive(Debug)]
enum Stream {
    /// Under our lock.
    Locked(SerialStream),
    /// Under nobody's, or somebody else's.
    Unlocked(AsyncFd<SerialPort>),
}

impl Stream {
    fn locked(path: &Path, baud: u32) -> Result<Self, String> {
        // Not `exclusive`, which is TIOCEXCL, too: it would shut out a `-k` that is not root.
        let builder = tokio_serial::new(path.to_string_lossy(), baud)
            .data_bits(DataBits::Eight)
            .parity(Parity::None)
            .stop_bits(StopBits::One)
            .flow_control(FlowControl::None)
            .exclusive(false);
        let stream = SerialStream::open(&builder).map_err(|error| {
            let is_held = error.description.contains("lock");
            if is_held { LOCKED.to_owned() } else { error.description }
        })?;
        // The shared lock it has becomes one that nobody shares.
        #[expect(deprecated, reason = "its successor wants to own the descriptor, which is the stream's")]
        let lock = nix::fcntl::flock(stream.as_raw_fd(), FlockArg::LockExclusiveNonblock);
        match lock {
            Ok(()) => Ok(Self::Locked(stream)),
            Err(Errno::EWOULDBLOCK) => Err(LOCKED.to_owned()),
            Err(errno) => Err(errno.desc().to_owned()),
        }
    }

    fn unlocked(path: &Path, baud: u32) -> Result<Self, String> {
        let open = || {
            let mut options = File::options();
            let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
            let file = options.read(true).write(true).custom_flags(flags.bits()).open(path)?;
            let port = set_up(file, baud)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe; the port keeps one descriptor as long as it lives"
            )]
            AsyncFd::new(port)
        };
        open().map(Self::Unlocked).map_err(|error: io::Error| plain(&error))
    }

    fn set(&mut self, lines: ModemLines) -> io::Result<()> {
        match self {
            Self::Locked(stream) => {
                stream.write_data_terminal_ready(lines.dtr)?;
                Ok(stream.write_request_to_send(lines.rts)?)
            }
            Self::Unlocked(port) => {
                port.get_ref().set_dtr(lines.dtr)?;
                port.get_ref().set_rts(lines.rts)
            }
        }
    }

    fn discard_input(&self) -> io::Result<()> {
        match self {
            Self::Locked(stream) => Ok(stream.clear(ClearBuffer::Input)?),
            Self::Unlocked(port) => port.get_ref().discard_input_buffer(),
        }
    }

    fn discard_all(&self) {
        let _ = match self {
            Self::Locked(stream) => stream.clear(ClearBuffer::All).map_err(Into::into),
            Self::Unlocked(port) => port.get_ref().discard_buffers(),
        };
    }

    /// Reads what is there, or has us woken when there is something; nothing at the end of the file.
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Locked(stream) => {
                let mut read = ReadBuf::new(buffer);
                Pin::new(stream).poll_read(context, &mut read).map_ok(|()| read.filled().len())
            }
            Self::Unlocked(port) => loop {
                let mut guard = ready!(port.poll_read_ready(context))?;
                // Would block: then it is no longer called ready, and we are woken.
                if let Ok(result) = guard.try_io(|port| Ok(nix::unistd::read(port.get_ref(), buffer)?)) {
                    return Poll::Ready(result);
                }
            },
        }
    }

    /// Writes what the line takes, or has us woken when it takes something.
    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Locked(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unlocked(port) => loop {
                let mut guard = ready!(port.poll_write_ready(context))?;
                if let Ok(result) = guard.try_io(|port| Ok(nix::unistd::write(port.get_ref(), bytes)?)) {
                    return Poll::Ready(result);
                }
            },
        }
    }

    /// Writes what the line takes at once.
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Locked(stream) => stream.try_write(bytes),
            Self::Unlocked(port) => Ok(nix::unistd::write(port.get_ref(), bytes)?),
        }
    }
}

/// Makes a terminal a line that hands over every byte as it is, 8N1, and heeds no modem line.
fn set_up(file: File, baud: u32) -> io::Result<SerialPort> {
    let mut terminal = tcgetattr(&file)?;
    terminal.control_flags |= ControlFlags::CREAD | ControlFlags::CLOCAL;
    tcsetattr(&file, SetArg::TCSANOW, &terminal)?;
    let mut port = SerialPort::from(OwnedFd::from(file));
    let mut settings: Settings = port.get_configuration()?;
    settings.set_raw();
    settings.set_baud_rate(baud)?;
    port.set_configuration(&settings)?;
    Ok(port)
}

fn gone(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        // What unplugging an adapter looks like.
        Some(nix::errno::Errno::EIO) => "input/output error: unplugged?".to_owned(),
        Some(_) | None => plain(error),
    }
}

/// A file that stands for a device.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    /// What tells one content from another.
    seen: Option<Stamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Text {
    fn open(path: &Path) -> Result<Self, String> {
        if let Err(error) = std::fs::File::open(path) {
            let mut text = format!("cannot open the definition file {}: {}", path.display(), plain(&error));
            if error.kind() == io::ErrorKind::PermissionDenied {
                text.push_str(&format!(
                    " ({}); we are {}",
                    nut_os::files::describe_permissions(path),
                    whoami()
                ));
            }
            return Err(text);
        }
        Ok(Self { path: path.to_path_buf(), seen: None })
    }

    fn look(&mut self) -> Option<Brought> {
        let stamp = match stamp(&self.path) {
            Ok(stamp) if self.seen == Some(stamp) => return None,
            Ok(stamp) => stamp,
            Err(error) => return Some(Brought::Gone(format!("{}: {}", self.path.display(), plain(&error)))),
        };
        self.seen = Some(stamp);
        Some(match read_limited(&self.path, MAX_FILE) {
            Ok(text) => Brought::Bytes(text),
            Err(error) => Brought::Gone(said(&error)),
        })
    }
}

fn said(error: &FileError) -> String {
    nut_os::log::Chain(error).to_string()
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = std::fs::metadata(path)?;
    let changed = (meta.mtime(), meta.mtime_nsec());
    Ok(Stamp { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pseudo-terminal: the other end of the line, and the node we open.
    fn terminal() -> (std::fs::File, PathBuf) {
        use nix::fcntl::OFlag;
        let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        nix::pty::grantpt(&master).unwrap();
        nix::pty::unlockpt(&master).unwrap();
        let node = nix::pty::ptsname_r(&master).unwrap();
        // What comes in is not echoed before the driver has set the line up.
        let mut settings = nix::sys::termios::tcgetattr(&master).unwrap();
        nix::sys::termios::cfmakeraw(&mut settings);
        nix::sys::termios::tcsetattr(&master, nix::sys::termios::SetArg::TCSANOW, &settings).unwrap();
        let master = std::fs::File::from(std::os::fd::OwnedFd::from(master));
        (master, node.into())
    }

    fn opening(path: &Path) -> Opening {
        let lines = Some(ModemLines { dtr: true, rts: false });
        Opening { plan: PortPlan::Serial { baud: 2400, lines }, path: path.into(), exclusive: true }
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(std::time::Duration::from_secs(20), what).await.expect("within the deadline")
    }

    #[tokio::test]
    async fn bytes_go_both_ways_as_they_are() {
        use std::io::{Read, Write};
        let (mut device, node) = terminal();
        let mut port = opening(&node).open().unwrap();
        // Nothing that a terminal would treat specially is changed, nothing is held back until a line is whole.
        let all: Vec<u8> = (0..=255).collect();
        device.write_all(&all).unwrap();
        let mut heard = Vec::new();
        while heard.len() < all.len() {
            match soon(port.next()).await {
                Brought::Bytes(bytes) => heard.extend(bytes),
                Brought::Gone(why) => panic!("{why}"),
            }
        }
        assert_eq!(heard, all);
        port.send(&all).unwrap();
        let mut sent = vec![0; all.len()];
        device.read_exact(&mut sent).unwrap();
        assert_eq!(sent, all);
    }

    #[tokio::test]
    async fn what_was_flushed_is_not_heard() {
        use std::io::Write;
        let (mut device, node) = terminal();
        let mut port = opening(&node).open().unwrap();
        device.write_all(b"old").unwrap();
        port.flush();
        device.write_all(b"new").unwrap();
        assert!(matches!(soon(port.next()).await, Brought::Bytes(bytes) if bytes == b"new"));
    }

    #[tokio::test]
    async fn a_line_whose_other_end_goes_is_gone_and_does_not_spin() {
        let (device, node) = terminal();
        let mut port = opening(&node).open().unwrap();
        drop(device);
        assert!(matches!(soon(port.next()).await, Brought::Gone(_)));
        drop(port);
        let error = opening(&node).open().unwrap_err();
        assert!(
            error.starts_with(&format!("cannot open {}: there is no such node", node.display())),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_silent_line_whose_node_names_something_else_is_gone() {
        let dir = std::env::temp_dir().join(format!("cobnut-serial-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let link = dir.join("tty");
        let ((_one, first), (_other, second)) = (terminal(), terminal());
        std::os::unix::fs::symlink(&first, &link).unwrap();
        let mut port = opening(&link).open().unwrap();
        assert!(port.look(false).is_none());
        std::fs::remove_file(&link).unwrap();
        assert!(port.look(true).is_none(), "as long as the unit is heard nobody minds");
        assert!(matches!(port.look(false), Some(Brought::Gone(why)) if why.ends_with("tty is gone")));
        std::os::unix::fs::symlink(&second, &link).unwrap();
        assert!(matches!(port.look(false), Some(Brought::Gone(why)) if why.contains("another device")));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_line_belongs_to_one_program() {
        let (_device, node) = terminal();
        let port = opening(&node).open().unwrap();
        let error = opening(&node).open().unwrap_err();
        assert!(error.starts_with(&format!("{} is locked by another process", node.display())), "{error}");
        // Who does not ask for the lock gets by: `nolock`, and `-k`.
        Opening { exclusive: false, ..opening(&node) }.open().unwrap();
        drop(port);
        opening(&node).open().unwrap();
    }

    #[tokio::test]
    async fn what_is_no_serial_port_is_said_to_be_none() {
        let said = |path: &str| opening(Path::new(path)).open().unwrap_err();
        assert!(
            said("/dev/null").starts_with("cannot use /dev/null as a serial port"),
            "{}",
            said("/dev/null")
        );
        assert!(said("/etc/passwd").contains("not a serial port"));
        assert!(said("/").contains("it is a directory"));
    }

    #[tokio::test]
    async fn a_line_that_takes_nothing_is_given_up_and_not_waited_for() {
        let (_device, node) = terminal();
        let mut port = opening(&node).open().unwrap();
        let refused = (0..100).find_map(|_| port.send(&[b'x'; 1000]).err());
        assert!(refused.expect("what waits is bounded").contains("does not take what is sent"));
    }
}
