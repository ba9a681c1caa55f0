//! LOCKFN: who holds it is the timer process, or is about to start it; so there is only one.
//!
//! It is a file with an exclusive `flock`. The client that takes it starts the timer process and hands the open file
//! to it, so that the lock is held without a gap until the timer process ends, however it ends. NUT uses the mere
//! existence of the file, with mode 0000; such a file left behind by it is no lock to us.
//!
//! A client that wants to set a timer also holds a shared `flock` on the directory, for as long as it tries: the file
//! itself may be what it lacks.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nut_os::daemon::ProcessId;
use nut_os::files::{self, directory_of};
use thiserror::Error;
use tracing::warn;

use super::is_shortage;

/// Its mode: only the user upsmon runs as has to do with it.
const MODE: u32 = 0o600;

/// Most of it that is read, in bytes: a number and two paths.
const MAX_TEXT: usize = 2 * 4096 + 64;

/// How often we try again when the file changes under our hands.
const TRIES: usize = 10;

/// Why the lock can be neither taken nor found held.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    /// The system refuses it.
    #[error("cannot use LOCKFN {}: {doing} failed{} (its directory: {})", path.display(), hint(source), files::describe_permissions(directory_of(path)))]
    System {
        /// LOCKFN.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It is there, and none of ours.
    #[error("cannot use LOCKFN {}: it is there already and {what}, so it is left as it is: write another path, or move it away", path.display())]
    Foreign {
        /// LOCKFN.
        path: PathBuf,
        /// What stands there.
        what: &'static str,
    },
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
        move |source| Self::System { path: path.to_path_buf(), doing, source }
    }

    fn foreign(path: &Path, what: &'static str) -> Self {
        Self::Foreign { path: path.to_path_buf(), what }
    }

    /// Whether it will be so in a moment, too: what somebody must mend, and nothing the system lacks.
    pub(crate) fn is_lasting(&self) -> bool {
        use Errno::{EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS};
        let lasting = [EACCES, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS];
        match self {
            Self::System { source, .. } => {
                source.raw_os_error().is_some_and(|number| lasting.contains(&Errno::from_raw(number)))
            }
            Self::Foreign { .. } => true,
        }
    }
}

/// Takes the lock, if nobody holds it.
///
/// # Errors
/// When the file can be neither opened nor made.
pub(crate) fn take(path: &Path) -> Result<Option<File>, LockError> {
    let mut last = io::Error::new(io::ErrorKind::ResourceBusy, "somebody keeps removing it");
    for _ in 0..TRIES {
        // Before it is opened: even that may do something to a device.
        if let Ok(meta) = fs::symlink_metadata(path) {
            regular(path, &meta)?;
        }
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
        regular(path, &file.metadata().map_err(LockError::at("looking at it", path))?)?;
        let text = text_of(&file).map_err(LockError::at("reading it", path))?;
        if !text.is_some_and(|text| text.is_empty() || Holder::parse(&text).is_some()) {
            return Err(LockError::foreign(path, "holds something else"));
        }
        // Its last holder, or a NUT beside us, may have removed it meanwhile: then it keeps nobody away.
        if is_in_place(&file, path) {
            return Ok(Some(file));
        }
    }
    Err(LockError::at("taking it", path)(last))
}

/// That it is no device, directory or the like. What a link says is left to who opens it.
fn regular(path: &Path, meta: &fs::Metadata) -> Result<(), LockError> {
    let kind = meta.file_type();
    if kind.is_file() || kind.is_symlink() {
        Ok(())
    } else {
        Err(LockError::foreign(path, "is no regular file"))
    }
}

/// What stands in it; `None` if that is more than ours could be.
fn text_of(file: &File) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let most = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX);
    let mut file = file;
    file.rewind()?;
    file.take(most + 1).read_to_end(&mut text)?;
    Ok((text.len() <= MAX_TEXT).then_some(text))
}

/// Whether somebody holds it. Looking takes it for an instant, which can make another client wait a little longer.
pub(crate) fn is_held(path: &Path) -> bool {
    match open(path, false) {
        Ok(file) => matches!(file.try_lock(), Err(TryLockError::WouldBlock)),
        // Then nobody can know.
        Err(error) => is_shortage(&error),
    }
}

/// Lets everybody see that a timer is about to be set, until the file is dropped; `None` if that cannot be.
pub(crate) fn announce(path: &Path) -> Option<File> {
    let directory = File::open(directory_of(path)).ok()?;
    // Who looks holds it for an instant.
    for _ in 0..1000 {
        match directory.try_lock_shared() {
            Ok(()) => return Some(directory),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Whether somebody is about to set a timer; another who looks at the same moment may be taken for that.
pub(crate) fn is_announced(path: &Path) -> bool {
    match File::open(directory_of(path)) {
        Ok(directory) => matches!(directory.try_lock(), Err(TryLockError::WouldBlock)),
        Err(error) => is_shortage(&error),
    }
}

/// The lock for the timers of this upssched.conf: the file itself, unless the timer process of another upssched.conf has
/// it. Then ours has one beside it, and keeps it until it ends.
pub(crate) fn of(path: &Path, conf: &Path) -> PathBuf {
    let beside = beside(path, conf);
    let is_others = || holder(path).and_then(|holder| holder.conf).is_some_and(|other| other != conf);
    if is_held(&beside) || is_others() && is_held(path) { beside } else { path.to_path_buf() }
}

/// LOCKFN, a point, and a number made of the path of upssched.conf.
fn beside(path: &Path, conf: &Path) -> PathBuf {
    // FNV-1a: the same number in every version.
    let number = conf.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:016x}"));
    name.into()
}

/// Who has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The timer process.
    pub(crate) pid: ProcessId,
    /// Its PIPEFN, which may stand in the file no longer; `None` if only the number was written.
    pub(crate) pipe: Option<PathBuf>,
    /// Its upssched.conf.
    pub(crate) conf: Option<PathBuf>,
}

impl Holder {
    /// Reads what [`sign`] writes, also if the disk was full before the paths were whole.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut lines = text.split_inclusive(|byte| *byte == b'\n');
        let pid = lines.next()?;
        let pid = ProcessId::parse(std::str::from_utf8(pid.strip_suffix(b"\n").unwrap_or(pid)).ok()?)?;
        let mut path = || {
            let whole = lines.next()?.strip_suffix(b"\n").filter(|path| !path.is_empty())?;
            Some(PathBuf::from(OsStr::from_bytes(whole)))
        };
        let (pipe, conf) = (path(), path());
        lines.next().is_none().then_some(Self { pid, pipe, conf })
    }
}

/// Writes our process number, the PIPEFN we listen on and our upssched.conf into the file that we hold.
///
/// # Errors
/// When the disk is full, or the like; the lock is held nevertheless.
pub(crate) fn sign(mut file: &File, pipe: &Path, conf: &Path) -> io::Result<()> {
    let mut text = format!("{}\n", ProcessId::ours()).into_bytes();
    for path in [pipe, conf] {
        text.extend_from_slice(path.as_os_str().as_bytes());
        text.push(b'\n');
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

/// The process that signed it; it may have ended since.
pub(crate) fn holder(path: &Path) -> Option<Holder> {
    Holder::parse(&files::read_limited(path, MAX_TEXT).ok()?)
}

/// The PIPEFN of the timer process of this upssched.conf, if that is another one than this: the file was changed since.
pub(crate) fn listens_elsewhere(path: &Path, pipe: &Path, conf: &Path) -> Option<PathBuf> {
    let path = of(path, conf);
    let holder = holder(&path).filter(|holder| holder.conf.as_deref() == Some(conf))?;
    let other = holder.pipe.filter(|other| other != pipe)?;
    is_held(&path).then_some(other)
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
    let is_empty = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == 0);
    if !is_empty {
        return Err(LockError::foreign(path, "may not be opened"));
    }
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
    use nut_drill::scratch::Scratch;

    #[test]
    fn only_one_can_have_it_until_its_last_descriptor_is_closed() {
        let dir = Scratch::new();
        let path = dir.path("lock");
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
        let dir = Scratch::new();
        let path = dir.path("lock");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(!is_held(&path));
        assert!(take(&path).unwrap().is_some());
    }

    #[test]
    fn a_removed_file_keeps_nobody_away() {
        let dir = Scratch::new();
        let path = dir.path("lock");
        let old = take(&path).unwrap().unwrap();
        let conf = Path::new("/etc/a conf");
        sign(&old, Path::new("/run/a pipe"), conf).unwrap();
        let us = |pipe: Option<&str>| {
            let conf = pipe.map(|_| conf.to_path_buf());
            Some(Holder { pid: ProcessId::ours(), pipe: pipe.map(PathBuf::from), conf })
        };
        assert_eq!(holder(&path), us(Some("/run/a pipe")));
        sign(&old, Path::new("/p"), conf).unwrap();
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
        let dir = Scratch::new();
        let path = dir.path("lock");
        let conf = Path::new("/etc/nut/upssched.conf");
        let elsewhere = |pipe: &str| listens_elsewhere(&path, Path::new(pipe), conf);
        let file = take(&path).unwrap().unwrap();
        assert_eq!(elsewhere("/new"), None);
        sign(&file, Path::new("/old"), conf).unwrap();
        assert_eq!(elsewhere("/new"), Some("/old".into()));
        assert_eq!(elsewhere("/old"), None);
        // Nobody else's timers are ours.
        let other = Path::new("/etc/other/upssched.conf");
        assert_eq!(listens_elsewhere(&path, Path::new("/new"), other), None);
        // Nor are those of a process that did not say whose it is.
        fs::write(&path, format!("{}\n/old\n", ProcessId::ours())).unwrap();
        assert_eq!(elsewhere("/new"), None);
        sign(&file, Path::new("/old"), conf).unwrap();
        drop(file);
        assert_eq!(elsewhere("/new"), None);
        for text in ["", "x\n/old\n", "7", "7\n/half", "-7\n/old\n", "7\n/old\n/conf\nmore\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(holder(&path).and_then(|holder| holder.pipe), None, "{text:?}");
        }
    }

    #[test]
    fn another_upssched_conf_has_a_lock_of_its_own() {
        let dir = Scratch::new();
        let path = dir.path("lock");
        let [one, two] = ["/etc/one/upssched.conf", "/etc/two/upssched.conf"].map(Path::new);
        let first = take(&of(&path, one)).unwrap().unwrap();
        // Not signed yet, it may be ours.
        assert_eq!(of(&path, two), path);
        sign(&first, Path::new("/one"), one).unwrap();
        assert_eq!(of(&path, one), path);
        let beside = of(&path, two);
        assert_ne!(beside, path);
        let second = take(&beside).unwrap().unwrap();
        sign(&second, Path::new("/two"), two).unwrap();
        // It stays there, also when the other is free again.
        remove(&first, &path);
        drop(first);
        assert_eq!((of(&path, two), of(&path, one)), (beside, path.clone()));
        let elsewhere = |conf| listens_elsewhere(&path, Path::new("/new"), conf);
        assert_eq!((elsewhere(two), elsewhere(one)), (Some("/two".into()), None));
    }

    #[test]
    fn who_is_about_to_set_a_timer_is_seen() {
        let dir = Scratch::new();
        let path = dir.path("lock");
        assert!(!is_announced(&path));
        let (one, two) = (announce(&path).unwrap(), announce(&path).unwrap());
        assert!(is_announced(&path) && is_announced(&path));
        drop(one);
        assert!(is_announced(&path));
        drop(two);
        assert!(!is_announced(&path) && !path.exists());
        assert!(!is_announced(&dir.path("none/lock")) && announce(&dir.path("none/lock")).is_none());
    }

    #[test]
    fn what_holds_something_else_is_no_lock() {
        let dir = Scratch::new();
        let path = dir.path("lock");
        let long = "7\n".to_owned() + &"x".repeat(MAX_TEXT);
        for text in ["a list of mine\n", "CMDSCRIPT /bin/true\n", "7\na\nb\nc\n", "\n", long.as_str()] {
            fs::write(&path, text).unwrap();
            let error = take(&path).unwrap_err();
            assert!(
                error.is_lasting() && error.to_string().contains("holds something else, so it is left"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        // What we may have left behind is, also if it was not finished.
        for text in ["", "7", "7\n", "7\n/pipe", "7\n/pipe\n", "7\n/pipe\n/conf\n"] {
            fs::write(&path, text).unwrap();
            assert!(take(&path).unwrap().is_some(), "{text:?}");
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = take(&path).unwrap_err().to_string();
        assert!(error.contains("is no regular file, so it is left"), "{error}");
        assert!(take(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn a_place_where_no_file_can_be_is_named() {
        let dir = Scratch::new();
        let error = take(dir.dir()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!(
                "cannot use LOCKFN {}: it is there already and is no regular file",
                dir.dir().display()
            )),
            "{error}"
        );
        let link = dir.path("link");
        std::os::unix::fs::symlink(dir.path("lock"), &link).unwrap();
        let error = take(&link).unwrap_err().to_string();
        assert!(
            error.contains(" failed, as it is a symbolic link (") && !dir.path("lock").exists(),
            "{error}"
        );
        let error = take(&dir.path("no/such/dir")).unwrap_err();
        // There is nothing to wait for: before anybody makes it, a later notice may have cancelled the timer.
        assert!(error.is_lasting() && error.to_string().contains(": opening it failed ("), "{error}");
    }
}
