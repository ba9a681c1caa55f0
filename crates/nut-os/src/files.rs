//! Files: written so that they last, read with a limit, and described by who may do what with them.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};
use thiserror::Error;
use tracing::warn;

use crate::log::plain;

/// Why a file could not be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {doing} {}{}", path.display(), whose(path, source))]
    Refused {
        /// What was tried: `open`, `read`, `write`, ...
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No file could be made there, for want of a right to its directory or of the directory itself.
    #[error("cannot write {} ({})", path.display(), describe_directory(path, source))]
    Directory {
        /// The file that was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A directory, a device or the like.
    #[error("{} is not a regular file", path.display())]
    NotRegular {
        /// Which one.
        path: PathBuf,
    },
    /// More than the reader was ready to take.
    #[error("{} is longer than {max} bytes", path.display())]
    TooLong {
        /// Which one.
        path: PathBuf,
        /// The limit that was passed.
        max: usize,
    },
}

impl FileError {
    fn refused<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Refused { doing, path: path.to_path_buf(), source }
    }

    /// Whether the file (or its directory) is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == Some(io::ErrorKind::NotFound)
    }

    /// Whether we may not.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.kind() == Some(io::ErrorKind::PermissionDenied)
    }

    fn kind(&self) -> Option<io::ErrorKind> {
        match self {
            Self::Refused { source, .. } | Self::Directory { source, .. } => Some(source.kind()),
            Self::NotRegular { .. } | Self::TooLong { .. } => None,
        }
    }
}

/// Puts `bytes` into a file of this mode such that afterwards, also after a power cut, either the old content is there
/// or all of the new one.
///
/// It is written beside, synced, renamed, and the directory is synced.
///
/// # Errors
/// When any of that fails; the old content is then untouched, unless it was the last step.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let beside = write_beside(path, bytes, mode, Sync::Yes)?;
    beside.rename_to(path)?;
    let dir = directory_of(path);
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(FileError::refused("sync", dir))
}

/// As [`write_durably`], but without waiting for the disk: for files that mean nothing after a restart.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_beside(path, bytes, mode, Sync::No)?.rename_to(path)
}

/// Whether a file could be written there today, without doing so.
///
/// # Errors
/// Why not, with whose the directory is and who we are.
pub fn could_write(path: &Path) -> Result<(), FileError> {
    if access(path, AccessFlags::W_OK).is_ok() {
        return Ok(());
    }
    let may = access(directory_of(path), AccessFlags::W_OK | AccessFlags::X_OK);
    may.map_err(|errno| directory_refused(path, errno.into()))
}

#[derive(PartialEq, Eq)]
enum Sync {
    Yes,
    No,
}

/// A file not yet in its place; removed again unless it gets there.
struct Beside {
    path: PathBuf,
    placed: bool,
}

impl Beside {
    fn rename_to(mut self, path: &Path) -> Result<(), FileError> {
        std::fs::rename(&self.path, path).map_err(FileError::refused("replace", path))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.placed {
            // Nothing more can be done about it; the error that led here is the one that matters.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn write_beside(path: &Path, bytes: &[u8], mode: u32, sync: Sync) -> Result<Beside, FileError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_else(|| OsStr::new("file")));
    name.push(format!(".{}-{number}", std::process::id()));
    let beside = path.with_file_name(name);
    // A left-over of a process that had our number; it is nobody's any more.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(|source| directory_refused(path, source))?;
    let beside = Beside { path: beside, placed: false };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
        .and_then(|()| if sync == Sync::Yes { file.sync_all() } else { Ok(()) });
    written.map_err(FileError::refused("write", path))?;
    Ok(beside)
}

/// The file beside is our affair: what people need to know is the directory, and who we are.
fn directory_refused(path: &Path, source: io::Error) -> FileError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound => {
            FileError::Directory { path: path.to_path_buf(), source }
        }
        _ => FileError::refused("write", path)(source),
    }
}

/// If we may not: who may, and who we are.
fn whose(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(" ({}; we are {})", describe_permissions(path), crate::privilege::whoami())
        }
        _ => String::new(),
    }
}

/// What is wrong with the directory of this path.
fn describe_directory(path: &Path, error: &io::Error) -> String {
    let dir = directory_of(path);
    match error.kind() {
        io::ErrorKind::NotFound => format!("its directory {} does not exist", dir.display()),
        _ => {
            let permissions = describe_permissions(dir);
            format!("its directory {}: {permissions}; we are {}", dir.display(), crate::privilege::whoami())
        }
    }
}

/// The directory that this path is in; the working directory for a bare name.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The whole content of a regular file of at most `max` bytes.
///
/// # Errors
/// When it cannot be read, is not a regular file (a pipe would make us wait), or is longer.
pub fn read_limited(path: &Path, max: usize) -> Result<Vec<u8>, FileError> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .map_err(FileError::refused("open", path))?;
    let is_file = file.metadata().map_err(FileError::refused("look at", path))?.is_file();
    if !is_file {
        return Err(FileError::NotRegular { path: path.to_path_buf() });
    }
    let mut bytes = Vec::new();
    let take = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(take).read_to_end(&mut bytes).map_err(FileError::refused("read", path))?;
    if bytes.len() > max {
        return Err(FileError::TooLong { path: path.to_path_buf(), max });
    }
    Ok(bytes)
}

/// Who may do what with this file, as in `owner root, group dialout, mode 0660`; or why that cannot be said.
#[must_use]
pub fn describe_permissions(path: &Path) -> String {
    match std::fs::metadata(path) {
        Ok(meta) => {
            let owner = user_name(Uid::from_raw(meta.uid()));
            let group = group_name(Gid::from_raw(meta.gid()));
            format!("owner {owner}, group {group}, mode {:04o}", meta.mode() & 0o7777)
        }
        Err(error) => format!("permissions unknown: {}", plain(&error)),
    }
}

/// Warns, in NUT's words, if anybody on this machine may read this file or directory, and says whether that is so.
///
/// # Errors
/// When the file is not there or cannot be looked at.
pub fn warn_if_world_readable(path: &Path) -> Result<bool, FileError> {
    let meta = std::fs::metadata(path).map_err(FileError::refused("look at", path))?;
    let open_to_all = meta.mode() & 0o005 != 0;
    if open_to_all {
        warn!("WARNING: {} is world readable (hope you don't have passwords there)", path.display());
    }
    Ok(open_to_all)
}

/// A user's name, or the number if it has none.
pub(crate) fn user_name(uid: Uid) -> String {
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A group's name, or the number if it has none.
pub(crate) fn group_name(gid: Gid) -> String {
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_beside() {
        let dir = Scratch::new();
        let path = dir.path("flag");
        write_durably(&path, b"one", 0o644).unwrap();
        write_durably(&path, b"two", 0o600).unwrap();
        assert_eq!(read_limited(&path, 3).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(dir.names(), ["flag"]);
    }

    #[test]
    fn what_cannot_be_replaced_is_left_as_it_was() {
        let dir = Scratch::new();
        std::fs::create_dir_all(dir.path("taken/inner")).unwrap();
        let error = write_durably(&dir.path("taken"), b"x", 0o644).unwrap_err();
        assert!(error.to_string().starts_with("cannot replace /"), "{error}");
        assert_eq!(dir.names(), ["taken"]);
        let error = write_durably(&dir.path("no/such"), b"x", 0o644).unwrap_err();
        let (path, parent) = (dir.path("no/such"), dir.path("no"));
        assert!(error.is_not_found());
        let text =
            format!("cannot write {} (its directory {} does not exist)", path.display(), parent.display());
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn where_we_may_not_write_the_directory_is_described_and_who_we_are() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let dir = Scratch::new();
        let error = directory_refused(&dir.path("upsd.pid"), denied);
        assert!(error.is_denied());
        let text = error.to_string();
        let read =
            FileError::refused("open", &dir.path(""))(io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(read.contains(" (owner ") && read.contains("; we are user "), "{read}");
        let begin = format!("cannot write {} (its directory ", dir.path("upsd.pid").display());
        assert!(
            text.starts_with(&begin) && text.contains(": owner ") && text.contains("; we are user "),
            "{text}"
        );
    }

    #[test]
    fn what_could_not_be_written_is_known_before() {
        let dir = Scratch::new();
        assert!(could_write(&dir.path("new")).is_ok());
        let error = could_write(&dir.path("no/such")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /") && error.ends_with(" does not exist)"), "{error}");
        // Nobody may write here, root included.
        let error = could_write(Path::new("/proc/self/flag")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write /proc/self/flag"), "{error}");
        assert!(dir.names().is_empty());
    }

    #[test]
    fn a_link_at_the_place_is_replaced_and_not_followed() {
        let dir = Scratch::new();
        std::fs::write(dir.path("victim"), "precious").unwrap();
        std::os::unix::fs::symlink(dir.path("victim"), dir.path("flag")).unwrap();
        write_durably(&dir.path("flag"), b"x", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path("victim")).unwrap(), "precious");
    }

    #[test]
    fn reading_stops_at_the_limit_and_at_what_is_no_file() {
        let dir = Scratch::new();
        std::fs::write(dir.path("four"), "1234").unwrap();
        assert_eq!(read_limited(&dir.path("four"), 4).unwrap(), b"1234");
        let error = read_limited(&dir.path("four"), 3).unwrap_err();
        assert!(error.to_string().ends_with("/four is longer than 3 bytes"), "{error}");
        assert!(read_limited(&dir.path("none"), 3).unwrap_err().is_not_found());
        assert!(matches!(read_limited(&dir.path(""), 3), Err(FileError::NotRegular { .. })));
        nix::unistd::mkfifo(&dir.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read_limited(&dir.path("pipe"), 3), Err(FileError::NotRegular { .. })));
    }

    #[test]
    fn permissions_are_told_by_name_and_the_world_is_warned_about() {
        let dir = Scratch::new();
        let path = dir.path("users");
        write_durably(&path, b"", 0o640).unwrap();
        let me = user_name(Uid::effective());
        let told = describe_permissions(&path);
        assert!(told.starts_with(&format!("owner {me}, group ")) && told.ends_with(", mode 0640"), "{told}");
        assert!(!warn_if_world_readable(&path).unwrap());
        write_durably(&path, b"", 0o644).unwrap();
        assert!(warn_if_world_readable(&path).unwrap());
        assert!(warn_if_world_readable(&dir.path("none")).unwrap_err().is_not_found());
        assert!(describe_permissions(&dir.path("none")).starts_with("permissions unknown: "));
    }
}
