//! Where the files of all NUT programs live.

use std::ffi::OsString;
use std::path::PathBuf;

/// Where files live: NUT's variables, else Debian's directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Configuration files: `NUT_CONFPATH`, else `/etc/nut`.
    pub confpath: PathBuf,
    /// Driver sockets: `NUT_STATEPATH`, else `/run/nut`.
    pub statepath: PathBuf,
    /// PID files of drivers and upsd: `NUT_ALTPIDPATH`, else `NUT_STATEPATH`, else `/run/nut`.
    pub altpidpath: PathBuf,
    /// PID files of upsmon, upslog and upssched: `NUT_PIDPATH`, else `/run/nut`.
    pub pidpath: PathBuf,
}

impl Paths {
    /// As the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    /// As this environment says; an empty value counts as none.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let path = |name| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let run = || PathBuf::from("/run/nut");
        let statepath = path("NUT_STATEPATH");
        Self {
            confpath: path("NUT_CONFPATH").unwrap_or_else(|| PathBuf::from("/etc/nut")),
            altpidpath: path("NUT_ALTPIDPATH").or_else(|| statepath.clone()).unwrap_or_else(run),
            statepath: statepath.unwrap_or_else(run),
            pidpath: path("NUT_PIDPATH").unwrap_or_else(run),
        }
    }

    /// A configuration file.
    #[must_use]
    pub fn conf(&self, name: &str) -> PathBuf {
        self.confpath.join(name)
    }

    /// The PID file of a driver (`<driver>-<ups>`) or of upsd.
    #[must_use]
    pub fn alt_pid_file(&self, stem: &str) -> PathBuf {
        self.altpidpath.join(format!("{stem}.pid"))
    }

    /// The PID file of upsmon, upslog or upssched.
    #[must_use]
    pub fn pid_file(&self, stem: &str) -> PathBuf {
        self.pidpath.join(format!("{stem}.pid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn paths_follow_nuts_variables() {
        let none = Paths::from_lookup(|_| None);
        assert_eq!(none.conf("ups.conf"), Path::new("/etc/nut/ups.conf"));
        assert_eq!(none.statepath, Path::new("/run/nut"));
        assert_eq!(none.pid_file("upsmon"), Path::new("/run/nut/upsmon.pid"));
        let state = Paths::from_lookup(|name| match name {
            "NUT_STATEPATH" => Some("/tmp/state".into()),
            "NUT_PIDPATH" => Some("".into()),
            _ => None,
        });
        assert_eq!(state.alt_pid_file("upsd"), Path::new("/tmp/state/upsd.pid"));
        assert_eq!(state.pidpath, Path::new("/run/nut"));
    }
}
