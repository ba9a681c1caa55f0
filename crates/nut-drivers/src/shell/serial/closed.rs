//! What to say of a port that cannot be opened: which node, whose it is, who we are, and what mends it.

use super::LOCKED;
use nix::fcntl::OFlag;
use nut_os::log::plain;
use nut_os::privilege::{Identity, whoami};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Says why a port cannot be opened: which node, whose it is, who we are, and what mends it.
pub(super) fn explain(path: &Path, why: &str) -> String {
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
