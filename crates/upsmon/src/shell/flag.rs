//! The power-down flag: written before the command, looked at by `-K`, removed at the next start.
//!
//! The flag itself is NUT's to the byte. Beside it, in a file of the same name with `.boot` behind it, stands which boot
//! of the host it belongs to: a flag that was left behind when upsmon did not start again must not have the power cut at
//! some later, ordinary shutdown. That file also says which flag it speaks of, by the time at which the flag was written;
//! a flag without such a file, or written at another time, is one that somebody else has set, and counts as in NUT.
//!
//! That time is a name, and is never asked whether it was earlier or later: a host without a clock that runs on while it
//! is off may write a flag today that seems older than one of last year. Both mistakes are dear. A flag taken for an old
//! one by mistake (the UPS is not switched off, and the host stays down when mains return) takes somebody else who sets a
//! flag of his own where one of ours was left behind, and at the same nanosecond of a clock that was set back. A flag
//! taken for a new one by mistake (the power is cut at the end of an ordinary shutdown, as in NUT) takes one of ours that
//! was left behind and then touched, or restored without its time, or whose `.boot` is gone. In doubt it counts: then no
//! host does worse with us than with NUT.
//!
//! What else could name a flag is worse: an inode is another after each mount on some file systems, the time of the last
//! change of state is another after each relabelling, and the content is always the same.

use std::fs::{File, canonicalize, metadata, read_link, remove_file, symlink_metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use nut_os::clock::boot_id;
use nut_os::files::{FileError, directory_of, read_limited, write_durably};
use nut_os::log::Chain;
use tracing::{debug, error, warn};

/// All that a power-down flag holds. Scripts at the end of a shutdown look for it by `upsmon -K`.
pub const MAGIC: &[u8] = b"upsmon-shutdown-file";

/// Longest flag file that is looked at, in bytes. Ours has 20.
const MAX_FLAG: usize = 64 * 1024;

/// Longest file beside it that is looked at, in bytes. Ours has some 60.
const MAX_MARK: usize = 256;

/// For all to read, as NUT's with the usual umask.
const MODE: u32 = 0o644;

/// Most links that are followed to the flag, one behind the other.
const MAX_LINKS: usize = 8;

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

/// Whether the file beside it says so, and speaks of this flag.
fn is_of_another_boot(path: &Path, boot: Option<&str>) -> bool {
    let (Some(boot), Some(mark), Some(written)) = (boot, read_mark(path), written(path)) else {
        return false;
    };
    mark.written == written && mark.boot != boot
}

/// Where the flag of this name is: at the end of a link, as where `/etc` cannot be written to and `/etc/killpower` leads to
/// `/run`. Root writes there: no link is followed that anybody but root (or we) could have made or could change, nor one
/// into a directory of somebody else. Such a link is itself the place, and is replaced by the flag.
#[must_use]
pub fn place(path: &Path) -> PathBuf {
    let follow = || {
        let mut at = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let Ok(target) = read_link(&at) else { return Some(at) };
            let next = directory_of(&at).join(target);
            if !is_ours_alone(directory_of(&at)) || !is_ours_alone(directory_of(&next)) {
                return None;
            }
            at = next;
        }
        None
    };
    follow().unwrap_or_else(|| path.to_path_buf())
}

/// Whether nobody but root and we can change what is in this directory, or what its name leads to.
fn is_ours_alone(dir: &Path) -> bool {
    let is_safe = |(depth, dir): (usize, &Path)| {
        symlink_metadata(dir).is_ok_and(|meta| {
            let is_ours = meta.uid() == 0 || meta.uid() == geteuid().as_raw();
            let (for_others, is_sticky) = (meta.mode() & 0o022 != 0, meta.mode() & 0o1000 != 0);
            // In a directory like /tmp others can put something, but cannot touch what is ours.
            is_ours && (meta.is_symlink() || !for_others || depth > 0 && is_sticky)
        })
    };
    [std::path::absolute(dir), canonicalize(dir)]
        .into_iter()
        .all(|dir| dir.is_ok_and(|dir| dir.ancestors().enumerate().all(is_safe)))
}

/// What stands beside a flag.
struct Mark {
    /// In which boot it was set, by the kernel's name for that.
    boot: String,
    /// When the flag was written of which that is said, as [`written`] has it.
    written: String,
}

impl Mark {
    /// Two words: `5e2f6f0e-0000-4000-8000-000000000000 1732545678.123456789`.
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split_ascii_whitespace();
        let (boot, written) = (words.next()?, words.next()?);
        let is_boot = boot.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let is_time = written.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte));
        (is_boot && is_time && words.next().is_none())
            .then(|| Self { boot: boot.to_owned(), written: written.to_owned() })
    }
}

/// What stands beside this flag, if it is ours.
fn read_mark(path: &Path) -> Option<Mark> {
    Mark::parse(&read_limited(&mark_of(path), MAX_MARK).ok()?)
}

/// When a flag was written, to the nanosecond, as a text to compare.
fn written(path: &Path) -> Option<String> {
    let meta = metadata(path).ok()?;
    Some(format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()))
}

fn mark_of(path: &Path) -> PathBuf {
    let mut name = place(path).into_os_string();
    name.push(".boot");
    name.into()
}

/// Says why a file is not taken for a flag. Whether that may be otherwise later: it could not be read, and so nobody knows
/// whose it is; a directory, or what is too long for one, is somebody else's.
pub fn tell_foreign(path: &Path, unreadable: Option<&FileError>) -> bool {
    let name = path.display();
    if let Some(cause) = unreadable {
        error!("'{name}' exists, but we can't read from it: {}", Chain(cause));
    }
    if let Some(FileError::Refused { .. } | FileError::Directory { .. }) = unreadable {
        error!(
            "POWERDOWNFLAG ({name}) is looked at again before it is written: mend it, or upsmon may not set it"
        );
        return true;
    }
    error!("POWERDOWNFLAG ({name}) does not contain the upsmon magic string (not a NUT file) - disabling!");
    false
}

/// As [`write()`], unless somebody else's file stands there.
///
/// # Errors
/// As [`write()`], or when a file stands there that is not ours, or that cannot be read.
pub fn write_if_ours(path: &Path) -> Result<(), FileError> {
    match Flag::look(path) {
        Flag::Absent | Flag::Set | Flag::Stale => write(path),
        Flag::Foreign(Some(error)) => Err(error),
        Flag::Foreign(None) => Err(FileError::Refused {
            doing: "set",
            path: path.to_path_buf(),
            source: std::io::Error::other("it does not contain the upsmon magic string (not a NUT file)"),
        }),
    }
}

/// Writes the flag such that it survives whatever comes next.
///
/// # Errors
/// When it cannot be written, neither beside and renamed nor, as NUT does, over what is there.
pub fn write(path: &Path) -> Result<(), FileError> {
    // What is noted of an older one must not be taken for word of this one. Mostly there is nothing.
    remove_mark(path);
    let place = place(path);
    write_durably(&place, MAGIC, MODE).or_else(|error| {
        // A file that somebody has mounted there by itself cannot be replaced, but it can be written to.
        write_over(&place).map_err(|second| {
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
    let (Some(boot), Some(written)) = (boot, written(path)) else { return };
    if let Err(error) = write_durably(&mark_of(path), format!("{boot} {written}\n").as_bytes(), MODE) {
        warn!("cannot note the boot that the power down flag belongs to: {}", Chain(&error));
    }
}

/// Removes a flag that an earlier shutdown has left: this time the power is to stay.
pub fn clear(path: &Path) {
    match Flag::look(path) {
        Flag::Foreign(_) => return,
        Flag::Absent => {}
        Flag::Set | Flag::Stale => {
            let place = place(path);
            if let Err(error) = remove_file(&place) {
                error!(%error, "cannot remove the old power down flag {}", place.display());
                return;
            }
        }
    }
    // Mostly there is none.
    remove_mark(path);
}

/// Removes what was noted beside the flag, if it is a note of ours.
fn remove_mark(path: &Path) {
    if read_mark(path).is_some() {
        let _ = remove_file(mark_of(path));
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
        write_mark_of(&path, Some("0e-1"));
        assert!(matches!(Flag::look_in(&path, Some("0e-1")), Flag::Set));
        assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Stale));
        // Who does not know which boot this is, or was, obeys.
        assert!(matches!(Flag::look_in(&path, None), Flag::Set));
        for unknown in ["", "\n", "0e-1 1 2", "one 1.0", "0e-1 now", &"0".repeat(1000)] {
            fs::write(dir.path("flag.boot"), unknown).unwrap();
            assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Set), "{unknown:?}");
        }
        // What is noted without saying of which flag counts for none.
        fs::write(dir.path("flag.boot"), "0e\n").unwrap();
        assert!(matches!(Flag::look_in(&path, Some("0f")), Flag::Set));
        // A new flag is none of an old note's business, even if nothing new can be noted.
        write_mark_of(&path, Some("0e-1"));
        write(&path).unwrap();
        assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Set));
        // Nothing is noted where nothing is known.
        write_mark_of(&path, None);
        assert!(!dir.path("flag.boot").exists());
    }

    /// NUT's upsmon, or a script, sets one where one of ours was left behind, on a host whose clock does not run on while
    /// it is off: by its clock that may have been before, long after, or even now.
    #[test]
    fn no_clock_makes_a_flag_of_somebody_else_an_old_one() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        for seconds in [1, 1_000, 1_600_000_000, 1_900_000_000] {
            write(&path).unwrap();
            write_mark_of(&path, Some("0e-1"));
            let left = metadata(&path).unwrap().modified().unwrap();
            assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Stale));
            // Written over, as NUT does.
            fs::write(&path, MAGIC).unwrap();
            let flag = File::options().write(true).open(&path).unwrap();
            flag.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
            assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Set), "{seconds}");
            flag.set_modified(left - std::time::Duration::from_nanos(1)).unwrap();
            assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Set), "{seconds}");
        }
    }

    /// It has been moved, copied with its time, given another mode or another name in the file system's books.
    #[test]
    fn a_flag_that_was_left_stays_an_old_one_whatever_is_done_around_it() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        write(&path).unwrap();
        write_mark_of(&path, Some("0e-1"));
        let left = metadata(&path).unwrap().modified().unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Stale));
        fs::copy(&path, dir.path("copy")).unwrap();
        File::options().write(true).open(dir.path("copy")).unwrap().set_modified(left).unwrap();
        fs::rename(dir.path("copy"), &path).unwrap();
        assert!(matches!(Flag::look_in(&path, Some("0e-2")), Flag::Stale));
        // The one that was set in this boot is always one.
        assert!(matches!(Flag::look_in(&path, Some("0e-1")), Flag::Set));
    }

    #[test]
    fn clearing_leaves_nothing_behind_and_what_is_somebody_elses_alone() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        for boot in [boot_id().as_deref(), Some("0e-9")] {
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
    fn a_link_is_followed_where_nobody_else_could_have_made_it() {
        let dir = Scratch::new();
        let mode = |name: &str, mode| {
            fs::set_permissions(dir.path(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        for name in ["etc", "run"] {
            fs::create_dir(dir.path(name)).unwrap();
            mode(name, 0o755);
        }
        let (link, target) = (dir.path("etc/killpower"), dir.path("run/killpower"));
        let is_link = || fs::symlink_metadata(&link).unwrap().is_symlink();
        std::os::unix::fs::symlink("../run/killpower", &link).unwrap();
        assert!(matches!(Flag::look(&link), Flag::Absent));
        write(&link).unwrap();
        assert_eq!((is_link(), fs::read(&target).unwrap().as_slice()), (true, MAGIC));
        write_mark_of(&link, Some("0e-1"));
        assert!(matches!(Flag::look_in(&link, Some("0e-2")), Flag::Stale));
        assert!(matches!(Flag::look_in(&target, Some("0e-2")), Flag::Stale));
        clear(&link);
        assert!(is_link() && fs::read_dir(dir.path("run")).unwrap().count() == 0);
        // Others could lead us anywhere, by the link or by what stands at its end.
        for open in ["etc", "run"] {
            fs::write(&target, "precious").unwrap();
            mode(open, 0o777);
            write(&link).unwrap();
            assert_eq!(
                (is_link(), fs::read(&target).unwrap().as_slice()),
                (false, &b"precious"[..]),
                "{open}"
            );
            mode(open, 0o755);
            remove_file(&link).unwrap();
            std::os::unix::fs::symlink("../run/killpower", &link).unwrap();
        }
        // In a circle there is no end.
        remove_file(&target).unwrap();
        std::os::unix::fs::symlink(&link, &target).unwrap();
        write(&link).unwrap();
        assert!(!is_link());
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
