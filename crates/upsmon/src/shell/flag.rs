//! The power-down flag: written before the command, looked at by `-K`, removed at the next start.
//!
//! The flag itself is NUT's to the byte. Beside it, in a file of the same name with `.boot` behind it, stands which boot
//! of the host it belongs to: a flag that was left behind when upsmon did not start again must not have the power cut at
//! some later, ordinary shutdown. A flag without that file, or newer than it, is one that somebody else has written; it
//! counts as it does in NUT.

use std::fs::{File, metadata, remove_file};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nut_os::clock::boot_id;
use nut_os::files::{FileError, read_limited, write_durably};
use nut_os::log::Chain;
use tracing::{debug, error, warn};

/// All that a power-down flag holds. Scripts at the end of a shutdown look for it by `upsmon -K`.
pub const MAGIC: &[u8] = b"upsmon-shutdown-file";

/// Longest flag file that is looked at, in bytes. Ours has 20.
const MAX_FLAG: usize = 64 * 1024;

/// How long the kernel's name for a boot is, in bytes.
const BOOT_ID: usize = 36;

/// Longest file beside it that is looked at, in bytes. Ours has 37.
const MAX_MARK: usize = 256;

/// For all to read, as NUT's with the usual umask.
const MODE: u32 = 0o644;

/// What a power-down flag says.
#[derive(Debug)]
pub enum Flag {
    /// There is none.
    Absent,
    /// Cut the power.
    Set,
    /// It was set by a shutdown before the host was started last: it says nothing of this one.
    Stale,
    /// A file of somebody else, or one that cannot be read.
    Foreign(Option<FileError>),
}

impl Flag {
    /// Looks. A flag counts if its first bytes are [`MAGIC`], as in NUT, and it is not of another boot.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        Self::look_in(path, boot_id().as_deref())
    }

    fn look_in(path: &Path, boot: Option<&str>) -> Self {
        match read_limited(path, MAX_FLAG) {
            Ok(bytes) if bytes.starts_with(MAGIC) && is_of_another_boot(path, boot) => Self::Stale,
            Ok(bytes) if bytes.starts_with(MAGIC) => Self::Set,
            Ok(_) => Self::Foreign(None),
            Err(error) if error.is_not_found() => Self::Absent,
            Err(error) => Self::Foreign(Some(error)),
        }
    }
}

/// Whether the file beside it says so, and was written with it.
fn is_of_another_boot(path: &Path, boot: Option<&str>) -> bool {
    let mark = mark_of(path);
    let (Some(boot), Ok(of)) = (boot, read_limited(&mark, MAX_MARK)) else { return false };
    let written = |path: &Path| metadata(path).and_then(|meta| meta.modified());
    let is_its_own = matches!((written(path), written(&mark)), (Ok(flag), Ok(mark)) if flag <= mark);
    let of = of.trim_ascii();
    is_its_own && !of.is_empty() && of != boot.as_bytes()
}

fn mark_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".boot");
    name.into()
}

/// Writes the flag such that it survives whatever comes next.
///
/// # Errors
/// When it cannot be written, neither beside and renamed nor, as NUT does, over what is there.
pub fn write(path: &Path) -> Result<(), FileError> {
    // What is noted of an older one must not be taken for word of this one. Mostly there is nothing.
    remove_mark(path);
    write_durably(path, MAGIC, MODE).or_else(|error| {
        // A file that somebody has mounted there by itself cannot be replaced, but it can be written to.
        write_over(path).map_err(|second| {
            debug!("nor can it be written over: {second}");
            error
        })
    })
}

fn write_over(path: &Path) -> std::io::Result<()> {
    // Root writes here: not where a link leads, and into nothing but a file.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = File::options().write(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    file.set_len(0)?;
    file.write_all(MAGIC)?;
    file.sync_all()
}

/// Writes beside the flag which boot it belongs to. Without it the flag counts at any later time, as in NUT.
pub fn write_mark(path: &Path) {
    write_mark_of(path, boot_id().as_deref());
}

fn write_mark_of(path: &Path, boot: Option<&str>) {
    let Some(boot) = boot else { return };
    if let Err(error) = write_durably(&mark_of(path), format!("{boot}\n").as_bytes(), MODE) {
        warn!("cannot note the boot that the power down flag belongs to: {}", Chain(&error));
    }
}

/// Removes a flag that an earlier shutdown has left: this time the power is to stay.
pub fn clear(path: &Path) {
    match Flag::look(path) {
        Flag::Foreign(_) => return,
        Flag::Absent => {}
        Flag::Set | Flag::Stale => {
            if let Err(error) = remove_file(path) {
                error!(%error, "cannot remove the old power down flag {}", path.display());
                return;
            }
        }
    }
    // Mostly there is none.
    remove_mark(path);
}

/// Removes what was noted beside the flag, if it is a note of ours.
fn remove_mark(path: &Path) {
    let mark = mark_of(path);
    let is_ours = |text: Vec<u8>| {
        let id = text.trim_ascii();
        id.len() <= BOOT_ID && id.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    if read_limited(&mark, MAX_MARK).is_ok_and(is_ours) {
        let _ = remove_file(mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;
    use std::fs;

    #[test]
    fn g11_a_flag_counts_by_its_first_bytes() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        let is_set = || matches!(Flag::look(&path), Flag::Set);
        assert!(matches!(Flag::look(&path), Flag::Absent));
        for (content, expected) in [
            ("upsmon-shutdown-file", true),
            ("upsmon-shutdown-file\n", true),
            ("upsmon-shutdown-fileXYZ", true),
            ("other", false),
            ("", false),
            ("\nupsmon-shutdown-file", false),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(is_set(), expected, "{content:?}");
        }
        assert!(matches!(Flag::look(dir.dir()), Flag::Foreign(Some(_))));
    }

    #[test]
    fn a_flag_of_an_earlier_boot_is_not_obeyed_and_one_of_somebody_else_is() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        write(&path).unwrap();
        write_mark_of(&path, Some("one"));
        assert!(matches!(Flag::look_in(&path, Some("one")), Flag::Set));
        assert!(matches!(Flag::look_in(&path, Some("two")), Flag::Stale));
        // Who does not know which boot this is, or was, obeys.
        assert!(matches!(Flag::look_in(&path, None), Flag::Set));
        for unknown in ["", "\n", &"x".repeat(1000)] {
            fs::write(dir.path("flag.boot"), unknown).unwrap();
            assert!(matches!(Flag::look_in(&path, Some("two")), Flag::Set), "{unknown:?}");
        }
        // Another program has set the flag since.
        write_mark_of(&path, Some("one"));
        let later = metadata(dir.path("flag.boot")).unwrap().modified().unwrap();
        fs::write(&path, MAGIC).unwrap();
        let flag = File::options().write(true).open(&path).unwrap();
        flag.set_modified(later + std::time::Duration::from_secs(1)).unwrap();
        assert!(matches!(Flag::look_in(&path, Some("two")), Flag::Set));
        // A new flag is none of an old note's business, even if nothing new can be noted.
        write_mark_of(&path, Some("one"));
        write(&path).unwrap();
        assert!(matches!(Flag::look_in(&path, Some("two")), Flag::Set));
        // Nothing is noted where nothing is known.
        write_mark_of(&path, None);
        assert!(!dir.path("flag.boot").exists());
    }

    #[test]
    fn clearing_leaves_nothing_behind_and_what_is_somebody_elses_alone() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        for boot in [boot_id().as_deref(), Some("another")] {
            write(&path).unwrap();
            write_mark_of(&path, boot);
            clear(&path);
            assert_eq!(fs::read_dir(dir.dir()).unwrap().count(), 0, "{boot:?}");
        }
        fs::write(&path, "precious").unwrap();
        fs::write(dir.path("flag.boot"), "precious, too").unwrap();
        clear(&path);
        assert_eq!(fs::read_dir(dir.dir()).unwrap().count(), 2);
    }

    #[test]
    fn where_nothing_can_be_put_beside_the_flag_is_written_over() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        fs::write(&path, "longer than what comes and old").unwrap();
        write_over(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), MAGIC);
        // What was not there is not made by that; and the first error is the one that is told.
        assert!(write_over(&dir.path("none")).is_err());
        let error = write(&dir.path("no/flag")).unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
    }
}
