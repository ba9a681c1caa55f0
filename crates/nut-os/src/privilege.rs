//! Becoming the run-as user, and nobody else.

use std::ffi::CString;
use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{self, Gid, Group, Uid, User};
use thiserror::Error;

use crate::files::{group_name, user_name};

/// Why we could not become somebody, or shut ourselves into a directory.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// The system knows no user of that name.
    #[error(
        "user {name} does not exist: create it (useradd --system {name}) or name another with -u or in the configuration"
    )]
    NoSuchUser {
        /// The name asked for.
        name: String,
    },
    /// The system knows no group of that name.
    #[error("group {name} does not exist: create it (groupadd --system {name}) or name another")]
    NoSuchGroup {
        /// The name asked for.
        name: String,
    },
    /// The user data base could not be asked.
    #[error("cannot look up {name}")]
    Lookup {
        /// The name asked for.
        name: String,
        /// Why not.
        source: Errno,
    },
    /// The system refused one of the steps.
    #[error("cannot become user {name}: {step} failed")]
    Refused {
        /// Who we wanted to be.
        name: String,
        /// Which step, named as the system call is.
        step: &'static str,
        /// Why not.
        source: Errno,
    },
    /// All steps succeeded, and still we are not who we should be. We must not go on.
    #[error("became user {name}, but could become root again: not going on")]
    NotHeld {
        /// Who we wanted to be.
        name: String,
    },
    /// The root directory could not be changed.
    #[error("cannot make {} the root directory{}", path.display(), root_hint(*source))]
    Root {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: Errno,
    },
}

/// What the system's word leaves open about a change of root directory.
fn root_hint(source: Errno) -> String {
    match source {
        Errno::EPERM => format!(" (only root may; we are {})", whoami()),
        _ => String::new(),
    }
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user's name.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Its primary group.
    pub gid: Gid,
}

impl RunAs {
    /// The user of that name.
    ///
    /// # Errors
    /// When there is none, or the user data base cannot be asked.
    pub fn lookup(name: &str) -> Result<Self, PrivilegeError> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Self { name: user.name, uid: user.uid, gid: user.gid }),
            Ok(None) => Err(PrivilegeError::NoSuchUser { name: name.to_owned() }),
            Err(source) => Err(PrivilegeError::Lookup { name: name.to_owned(), source }),
        }
    }
}

/// The number of the group of that name.
///
/// # Errors
/// When there is none, or the group data base cannot be asked.
pub fn lookup_group(name: &str) -> Result<Gid, PrivilegeError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(PrivilegeError::NoSuchGroup { name: name.to_owned() }),
        Err(source) => Err(PrivilegeError::Lookup { name: name.to_owned(), source }),
    }
}

/// Whether we are root, and so have something to give up.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// What kind of container this is, as far as that can be known from within; nothing for a host.
#[must_use]
pub fn container() -> Option<String> {
    let by_name = std::env::var("container").ok();
    let told = || std::fs::read_to_string("/run/systemd/container").ok();
    let marks = [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")];
    let marked =
        || marks.into_iter().find(|(path, _)| Path::new(path).exists()).map(|(_, name)| name.to_owned());
    let name = by_name.or_else(told).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).or_else(marked)
}

/// What [`drop_to`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// We are that user now, for good.
    Became,
    /// We were not root, so nothing was changed; as NUT does it.
    WasNotRoot,
    /// The user to become is root: nothing to give up. Worth a warning.
    StaysRoot,
}

/// Gives up being root for good: supplementary groups, group and user become those of `who`.
///
/// Afterwards it is checked that root cannot be had back.
///
/// # Errors
/// When a step fails. The process may then be halfway and must end.
pub fn drop_to(who: &RunAs) -> Result<Dropped, PrivilegeError> {
    if !is_root() && !Uid::current().is_root() {
        return Ok(Dropped::WasNotRoot);
    }
    if who.uid.is_root() {
        return Ok(Dropped::StaysRoot);
    }
    let refused = |step| move |source| PrivilegeError::Refused { name: who.name.clone(), step, source };
    let name = CString::new(who.name.as_str()).map_err(|_| refused("initgroups")(Errno::EINVAL))?;
    unistd::initgroups(&name, who.gid).map_err(refused("initgroups"))?;
    unistd::setresgid(who.gid, who.gid, who.gid).map_err(refused("setresgid"))?;
    unistd::setresuid(who.uid, who.uid, who.uid).map_err(refused("setresuid"))?;

    let uids = unistd::getresuid().map_err(refused("getresuid"))?;
    let gids = unistd::getresgid().map_err(refused("getresgid"))?;
    let is_who = [uids.real, uids.effective, uids.saved] == [who.uid; 3]
        && [gids.real, gids.effective, gids.saved] == [who.gid; 3];
    let root = Uid::from_raw(0);
    if !is_who || unistd::setuid(root).is_ok() || unistd::setresuid(root, root, root).is_ok() {
        return Err(PrivilegeError::NotHeld { name: who.name.clone() });
    }
    Ok(Dropped::Became)
}

/// Makes this directory the root of all paths (`-r`, `chroot`), and the working directory.
///
/// The time zone, the system log and the service manager are sought before, and stay within reach. User names should
/// have been looked up.
///
/// # Errors
/// When the directory is not there or we are not root.
pub fn enter_root(path: &Path) -> Result<(), PrivilegeError> {
    crate::clock::wall::here();
    crate::log::connect();
    crate::daemon::notify::keep_in_reach();
    unistd::chdir(path)
        .and_then(|()| unistd::chroot("."))
        .and_then(|()| unistd::chdir("/"))
        .map_err(|source| PrivilegeError::Root { path: path.to_path_buf(), source })
}

/// Who we are at this moment, for messages about what we may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name, or its number.
    pub user: String,
    /// The names of all our groups, the effective one first.
    pub groups: Vec<String>,
}

/// As in `user nut (groups nut, dialout)`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.groups.len() == 1 { "group" } else { "groups" };
        write!(f, "user {} ({word} {})", self.user, self.groups.join(", "))
    }
}

/// Who we are at this moment.
#[must_use]
pub fn whoami() -> Identity {
    let mut gids = vec![Gid::effective()];
    for gid in unistd::getgroups().unwrap_or_default() {
        if !gids.contains(&gid) {
            gids.push(gid);
        }
    }
    Identity { user: user_name(Uid::effective()), groups: gids.into_iter().map(group_name).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_does_not_exist_is_named_with_what_to_do() {
        let error = RunAs::lookup("no-such-user-here").unwrap_err();
        assert!(matches!(error, PrivilegeError::NoSuchUser { .. }));
        assert!(error.to_string().starts_with("user no-such-user-here does not exist: create it"), "{error}");
        assert!(matches!(lookup_group("no-such-group-here"), Err(PrivilegeError::NoSuchGroup { .. })));
    }

    #[test]
    fn root_is_found_and_becoming_root_gives_up_nothing() {
        let root = RunAs::lookup("root").unwrap();
        assert!(root.uid.is_root());
        let expected = if is_root() { Dropped::StaysRoot } else { Dropped::WasNotRoot };
        assert_eq!(drop_to(&root).unwrap(), expected);
    }

    #[test]
    fn we_know_who_we_are() {
        let me = whoami();
        assert_eq!(me.user, user_name(Uid::effective()));
        assert_eq!(me.groups[0], group_name(Gid::effective()));
        let shown = Identity { user: "nut".into(), groups: vec!["nut".into(), "dialout".into()] }.to_string();
        assert_eq!(shown, "user nut (groups nut, dialout)");
    }
}
