//! The device's port: a serial line, or a file or a server that stands for one. And what to say when it cannot be opened.
//!
//! The line is a `tokio_serial::SerialStream`, locked as NUT's drivers lock it: by flock alone, so that each sees the
//! other's lock. `nolock` and `-k` must get by the lock of a process that hangs, or the power stays on; serialport always
//! locks, so theirs is a `serial2::SerialPort`. Neither needs `unsafe` of ours. End of file and I/O errors both mean that
//! the device is gone.

use super::upstream::Upstream;
use crate::driver::{ModemLines, PortPlan};
use nix::errno::Errno;
use nix::fcntl::{FlockArg, OFlag};
use nix::sys::termios::{ControlFlags, SetArg, tcgetattr, tcsetattr};
use nut_os::files::{FileError, read_limited};
use nut_os::log::plain;
use nut_os::privilege::{Identity, whoami};
use nut_os::socket::{OutBuffer, Progress};
use serial2::{SerialPort, Settings};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
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
        let mut stream = opened.map_err(|why| explain(path, &why))?;
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

/// Says why a port cannot be opened: which node, whose it is, who we are, and what mends it.
fn explain(path: &Path, why: &str) -> String {
    let node = Node::look(path);
    explain_node(path, why, &node, &whoami())
}

/// What can be seen of a device node.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// A USB device as such, or the word that USB drivers take for a port: not a matter of this driver.
    Usb,
    /// Nothing is there; these ports are.
    Missing { others: Vec<String> },
    /// We may not look: this directory on the way to it is closed to us.
    Hidden { directory: PathBuf, permissions: String },
    /// Not a device: a directory, a regular file.
    NoDevice { what: &'static str },
    /// A device whose owner, group and mode are these.
    Device { permissions: String, group: Option<String>, mode: u32, openable: Openable },
}

/// What comes of opening it plainly.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Openable {
    Yes,
    Denied,
    Busy,
    No(String),
}

impl Node {
    fn look(path: &Path) -> Self {
        if is_usb(path) {
            return Self::Usb;
        }
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let directory = closed_directory(path);
                let permissions = nut_os::files::describe_permissions(&directory);
                return Self::Hidden { directory, permissions };
            }
            Err(_) => return Self::Missing { others: serial_nodes() },
        };
        let kind = meta.file_type();
        if !kind.is_char_device() {
            let what = if kind.is_dir() { "a directory" } else { "no character device" };
            return Self::NoDevice { what };
        }
        let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let mut options = File::options();
        options.read(true).write(true).custom_flags(flags.bits());
        let openable = match options.open(path) {
            Ok(_) => Openable::Yes,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Openable::Denied,
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Openable::Busy,
            Err(error) => Openable::No(plain(&error)),
        };
        let group = nix::unistd::Group::from_gid(nix::unistd::Gid::from_raw(meta.gid()));
        Self::Device {
            permissions: nut_os::files::describe_permissions(path),
            group: group.ok().flatten().map(|group| group.name),
            mode: meta.mode() & 0o777,
            openable,
        }
    }
}

/// The directory that keeps us from what is in it: the lowest one of which we are told anything.
fn closed_directory(path: &Path) -> PathBuf {
    // A link may lead elsewhere; what it stands in is open then.
    let link = std::fs::read_link(path).ok();
    let target = link.map(|link| path.parent().unwrap_or(Path::new("/")).join(link));
    let path = target.as_deref().unwrap_or(path);
    let seen = path.ancestors().skip(1).find(|directory| std::fs::metadata(directory).is_ok());
    seen.unwrap_or(Path::new("/")).to_path_buf()
}

/// Whether this is where USB devices are, and not a serial port over USB (`/dev/ttyUSB0`), also by a link to it.
fn is_usb(path: &Path) -> bool {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let is_node = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        path.starts_with("/dev/bus/usb")
            || ["hiddev", "hidraw"].iter().any(|start| {
                name.strip_prefix(start)
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
            })
    };
    path == Path::new("auto") || is_node(path) || is_node(&real)
}

/// Serial ports that are there, for a person who looks for the right one.
fn serial_nodes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let wanted = |name: &String| {
        ["ttyUSB", "ttyACM", "ttyS", "ttyAMA", "cuaU"].iter().any(|start| {
            name.strip_prefix(start)
                .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
        })
    };
    let mut found: Vec<String> = names.filter(wanted).map(|name| format!("/dev/{name}")).collect();
    found.sort();
    found.truncate(8);
    found
}

fn explain_node(path: &Path, why: &str, node: &Node, me: &Identity) -> String {
    let shown = path.display();
    match node {
        Node::Usb => format!(
            "cannot open {shown}: that is no serial port but a USB device; a UPS on its USB cable needs the driver \
             usbhid-ups (port = auto). This driver needs the serial cable, and port = the serial port it is on"
        ),
        Node::Missing { others } if others.is_empty() => format!(
            "cannot open {shown}: there is no such node, and no serial port at all: is the adapter plugged in?"
        ),
        Node::Missing { others } => format!(
            "cannot open {shown}: there is no such node. Serial ports here: {}. Set port in ups.conf to the right one",
            others.join(", ")
        ),
        Node::Hidden { directory, permissions } => {
            let directory = directory.display();
            format!(
                "cannot open {shown}: permission denied on the way to it, by the directory {directory} ({permissions}); \
                 we are {me}; to mend it: 'chmod a+x {directory}', or set port in ups.conf to the node itself"
            )
        }
        Node::NoDevice { what } => {
            format!("cannot open {shown}: it is {what}, not a serial port: set port in ups.conf")
        }
        Node::Device { permissions, group, mode, openable: Openable::Denied } => {
            let mend = mend(path, group.as_deref(), *mode, me);
            format!("cannot open {shown}: permission denied ({permissions}); we are {me}; to mend it: {mend}")
        }
        Node::Device { openable: Openable::Busy, .. } => format!(
            "{shown} is locked by another process ({why}): 'fuser -v {shown}' shows which; stop it, or choose \
             another port"
        ),
        Node::Device { openable: Openable::Yes, .. } if why == LOCKED => {
            format!(
                "{shown} is locked by another process: 'fuser -v {shown}' shows which; stop it, or choose another port"
            )
        }
        Node::Device { permissions, openable: Openable::Yes, .. } => {
            format!("cannot use {shown} as a serial port: {why} ({permissions}): set port in ups.conf")
        }
        Node::Device { permissions, openable: Openable::No(error), .. } => {
            format!("cannot open {shown}: {error} ({permissions})")
        }
    }
}

/// The command that lets us use the node.
fn mend(path: &Path, group: Option<&str>, mode: u32, me: &Identity) -> String {
    // A link has no permissions of its own, and the kernel does not know it.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let shown = path.display();
    let user = &me.user;
    match group {
        Some(group)
            if mode & 0o060 == 0o060 && group != "root" && !me.groups.iter().any(|mine| mine == group) =>
        {
            format!("'usermod -a -G {group} {user}', then start the driver again")
        }
        _ => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // An adapter has another number the next time.
            let adapter = ["ttyUSB", "ttyACM"].iter().find(|start| name.starts_with(**start));
            let name = adapter.map_or(name.clone(), |start| format!("{start}[0-9]*"));
            let mine = me.groups.first().map_or("nut", String::as_str);
            format!(
                "'chown root:{mine} {shown}' and 'chmod 0660 {shown}'; to keep it so, a udev rule, in \
                 /etc/udev/rules.d/90-nut-serial.rules: KERNEL==\"{name}\", GROUP=\"{mine}\", MODE=\"0660\""
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(groups: &[&str]) -> Identity {
        Identity { user: "nut".into(), groups: groups.iter().map(ToString::to_string).collect() }
    }

    fn device(group: &str, mode: u32, openable: Openable) -> Node {
        let permissions = format!("owner root, group {group}, mode {mode:04o}");
        Node::Device { permissions, group: Some(group.into()), mode, openable }
    }

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

    #[test]
    fn usb_is_told_from_serial_over_usb() {
        for path in ["auto", "/dev/hidraw0", "/dev/usb/hiddev1", "/dev/bus/usb/001/004"] {
            assert!(is_usb(Path::new(path)), "{path}");
            let said = explain(Path::new(path), "");
            assert!(
                said.contains("no serial port but a USB device") && said.contains("usbhid-ups"),
                "{said}"
            );
        }
        for path in ["/dev/ttyUSB0", "/dev/ttyACM0", "/dev/ttyS0", "/dev/hidraw", "automatic"] {
            assert!(!is_usb(Path::new(path)), "{path}");
        }
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

    #[test]
    fn a_closed_port_is_explained_with_the_command_that_mends_it() {
        let path = Path::new("/dev/ttyS0");
        let said = explain_node(
            path,
            "Permission denied",
            &device("dialout", 0o660, Openable::Denied),
            &me(&["nut"]),
        );
        assert_eq!(
            said,
            "cannot open /dev/ttyS0: permission denied (owner root, group dialout, mode 0660); we are user nut \
             (group nut); to mend it: 'usermod -a -G dialout nut', then start the driver again"
        );
        for node in [device("root", 0o660, Openable::Denied), device("dialout", 0o600, Openable::Denied)] {
            let said = explain_node(path, "", &node, &me(&["nut"]));
            assert!(said.contains("'chown root:nut /dev/ttyS0' and 'chmod 0660 /dev/ttyS0'"), "{said}");
            assert!(said.contains("KERNEL==\"ttyS0\", GROUP=\"nut\""), "{said}");
        }
        let adapter = Path::new("/dev/ttyUSB3");
        let said = explain_node(adapter, "", &device("root", 0o600, Openable::Denied), &me(&["nut"]));
        assert!(said.contains("'chmod 0660 /dev/ttyUSB3'"), "{said}");
        assert!(said.contains("90-nut-serial.rules: KERNEL==\"ttyUSB[0-9]*\", GROUP=\"nut\""), "{said}");
        // Already in the group: joining it again would not help.
        let said =
            explain_node(path, "", &device("dialout", 0o660, Openable::Denied), &me(&["nut", "dialout"]));
        assert!(said.contains("chown"), "{said}");
    }

    #[test]
    fn other_reasons_are_told_apart() {
        let path = Path::new("/dev/ttyS0");
        let says = |why, node| explain_node(path, why, &node, &me(&["nut"]));
        let missing = Node::Missing { others: vec!["/dev/ttyUSB0".into()] };
        let said = says("", missing);
        assert!(
            said.ends_with("Serial ports here: /dev/ttyUSB0. Set port in ups.conf to the right one"),
            "{said}"
        );
        assert!(says("", Node::Missing { others: Vec::new() }).contains("plugged in"));
        assert!(says("", Node::NoDevice { what: "a directory" }).contains("it is a directory"));
        assert!(says("", device("root", 0o660, Openable::Busy)).contains("locked by another process"));
        assert!(says(LOCKED, device("root", 0o660, Openable::Yes)).contains("locked by another process"));
        let other = says("Input/output error", device("root", 0o660, Openable::Yes));
        assert!(other.contains("Input/output error"), "{other}");
    }
}
