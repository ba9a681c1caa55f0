//! LOCKFN: who holds it is the timer process, or is about to start it; so there is only one.
//!
//! It is a file with an exclusive `flock`. The client that takes it starts the timer process and hands the open file
//! to it, so that the lock is held without a gap until the timer process ends, however it ends. NUT uses the mere
//! existence of the file, with mode 0000; such a file left behind by it is no lock to us.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nut_os::daemon::ProcessId;
use nut_os::files;
use thiserror::Error;
use tracing::warn;

/// Its mode: only the user upsmon runs as has to do with it.
const MODE: u32 = 0o600;

/// Most of it that is read, in bytes: a number and a path.
const MAX_TEXT: usize = 4096 + 64;

/// How often we try again when the file changes under our hands.
const TRIES: usize = 10;

/// Why the lock can be neither taken nor found held.
#[derive(Debug, Error)]
#[error("cannot use LOCKFN {}: {doing} failed{} (its directory: {})", path.display(), hint(source), files::describe_permissions(files::directory_of(path)))]
pub(crate) struct LockError {
    path: PathBuf,
    doing: &'static str,
    source: io::Error,
}

/// What the system's own words leave open.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => ", as it is a symbolic link",
        Some(Errno::EACCES | Errno::EPERM | Errno::EROFS) => {
            ": the user that upsmon runs as must be able to write there"
        }
        _ => "",
    }
}

impl LockError {
    fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self { path: path.to_path_buf(), doing, source }
    }
}

/// Takes the lock, if nobody holds it.
///
/// # Errors
/// When the file can be neither opened nor made.
pub(crate) fn take(path: &Path) -> Result<Option<File>, LockError> {
    let mut last = io::Error::new(io::ErrorKind::ResourceBusy, "somebody keeps removing it");
    for _ in 0..TRIES {
        let file = match open(path, true) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                free_left_over(path)?;
                last = error;
                continue;
            }
            Err(error) => return Err(LockError::at("opening it", path)(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(LockError::at("locking it", path)(error)),
        }
        // Its last holder, or a NUT beside us, may have removed it meanwhile: then it keeps nobody away.
        if is_in_place(&file, path) {
            return Ok(Some(file));
        }
    }
    Err(LockError::at("taking it", path)(last))
}

/// Whether somebody holds it. Looking takes it for an instant, which can make another client wait a little longer.
pub(crate) fn is_held(path: &Path) -> bool {
    open(path, false).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Who has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The timer process.
    pub(crate) pid: ProcessId,
    /// Its PIPEFN, which may stand in the file no longer; `None` if only the number was written.
    pub(crate) pipe: Option<PathBuf>,
}

/// Writes our process number and the PIPEFN we listen on into the file that we hold.
///
/// # Errors
/// When the disk is full, or the like; the lock is held nevertheless.
pub(crate) fn sign(mut file: &File, pipe: &Path) -> io::Result<()> {
    let mut text = format!("{}\n", ProcessId::ours()).into_bytes();
    text.extend_from_slice(pipe.as_os_str().as_bytes());
    text.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

/// The process that signed it; it may have ended since.
pub(crate) fn holder(path: &Path) -> Option<Holder> {
    let text = files::read_limited(path, MAX_TEXT).ok()?;
    let (pid, rest) = text.split_at(text.iter().position(|byte| *byte == b'\n')?);
    let pid = ProcessId::parse(std::str::from_utf8(pid).ok()?)?;
    let pipe = rest.strip_prefix(b"\n").and_then(|rest| rest.strip_suffix(b"\n"));
    let pipe = pipe.filter(|pipe| !pipe.is_empty()).map(|pipe| PathBuf::from(OsStr::from_bytes(pipe)));
    Some(Holder { pid, pipe })
}

/// The PIPEFN of the timer process that holds it, if that is another one than this: the file was changed since.
pub(crate) fn listens_elsewhere(path: &Path, pipe: &Path) -> Option<PathBuf> {
    let other = holder(path)?.pipe.filter(|other| other != pipe)?;
    is_held(path).then_some(other)
}

/// Whether this open file is the one that stands at `path`.
pub(crate) fn is_in_place(file: &File, path: &Path) -> bool {
    let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let ours = file.metadata().map(identity);
    let there = fs::symlink_metadata(path).map(identity);
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}

/// Removes the file that we hold. Who has opened it but not locked it yet will see that it is gone.
pub(crate) fn remove(file: &File, path: &Path) {
    if is_in_place(file, path) {
        // Left behind it does no harm.
        let _ = fs::remove_file(path);
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    // Whatever stands there, we neither follow it elsewhere nor wait for it.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(MODE).custom_flags(flags.bits());
    options.open(path)
}

/// A file that we may not open: NUT's, with mode 0000, or another user's. Nobody answers on PIPEFN, so it is a left-over.
fn free_left_over(path: &Path) -> Result<(), LockError> {
    if fs::set_permissions(path, fs::Permissions::from_mode(MODE)).is_ok() {
        return Ok(());
    }
    match fs::remove_file(path) {
        Ok(()) => {
            warn!(path = %path.display(), "removed a lock file that belongs to another user");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LockError::at("opening it, and removing it,", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("upssched-lock-{name}-{}", std::process::id()));
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn lock(&self) -> PathBuf {
            self.0.join("lock")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_one_can_have_it_until_its_last_descriptor_is_closed() {
        let dir = Scratch::new("one");
        let path = dir.lock();
        assert!(!is_held(&path) && !path.exists());
        let file = take(&path).unwrap().unwrap();
        assert!(is_held(&path));
        assert!(take(&path).unwrap().is_none());
        let handed_on = file.try_clone().unwrap();
        drop(file);
        assert!(is_held(&path));
        drop(handed_on);
        assert!(!is_held(&path));
        assert!(take(&path).unwrap().is_some());
    }

    #[test]
    fn what_nut_left_behind_is_no_lock() {
        let dir = Scratch::new("nut");
        let path = dir.lock();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(!is_held(&path));
        assert!(take(&path).unwrap().is_some());
    }

    #[test]
    fn a_removed_file_keeps_nobody_away() {
        let dir = Scratch::new("removed");
        let path = dir.lock();
        let old = take(&path).unwrap().unwrap();
        sign(&old, Path::new("/run/a pipe")).unwrap();
        let us = |pipe: Option<&str>| Some(Holder { pid: ProcessId::ours(), pipe: pipe.map(PathBuf::from) });
        assert_eq!(holder(&path), us(Some("/run/a pipe")));
        sign(&old, Path::new("/p")).unwrap();
        assert_eq!(holder(&path), us(Some("/p")));
        fs::write(&path, format!("{}\n", ProcessId::ours())).unwrap();
        assert_eq!(holder(&path), us(None));
        fs::remove_file(&path).unwrap();
        let new = take(&path).unwrap().unwrap();
        // The old holder leaves the new one's file alone.
        remove(&old, &path);
        assert!(is_held(&path));
        remove(&new, &path);
        assert!(!path.exists());
        assert_eq!(holder(&path), None);
    }

    #[test]
    fn only_who_holds_it_listens_elsewhere() {
        let dir = Scratch::new("elsewhere");
        let path = dir.lock();
        let elsewhere = |pipe: &str| listens_elsewhere(&path, Path::new(pipe));
        let file = take(&path).unwrap().unwrap();
        assert_eq!(elsewhere("/new"), None);
        sign(&file, Path::new("/old")).unwrap();
        assert_eq!(elsewhere("/new"), Some("/old".into()));
        assert_eq!(elsewhere("/old"), None);
        drop(file);
        assert_eq!(elsewhere("/new"), None);
        for text in ["", "x\n/old\n", "7", "7\n/half", "-7\n/old\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(&path).and_then(|holder| holder.pipe), None, "{text:?}");
        }
    }

    #[test]
    fn a_place_where_no_file_can_be_is_named() {
        let dir = Scratch::new("place");
        let error = take(&dir.0).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot use LOCKFN {}: opening it failed (", dir.0.display())),
            "{error}"
        );
        let link = dir.0.join("link");
        std::os::unix::fs::symlink(dir.lock(), &link).unwrap();
        let error = take(&link).unwrap_err().to_string();
        assert!(error.contains(" failed, as it is a symbolic link (") && !dir.lock().exists(), "{error}");
        assert!(take(&dir.0.join("no/such/dir")).is_err());
    }
}
