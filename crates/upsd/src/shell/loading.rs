//! Reading the files: upsd.conf, ups.conf, upsd.users, cmdvartab; and saying what is wrong with them.

use crate::descriptions::Descriptions;
use crate::settings::Settings;
use nut_conf::ups_conf::UpsConf;
use nut_conf::upsd_conf::UpsdConf;
use nut_conf::upsd_users::UpsdUsers;
use nut_conf::{Diagnostic, Severity, Source, ups_conf, upsd_conf, upsd_users};
use nut_os::files::{FileError, describe_permissions, read_limited, warn_if_world_readable};
use nut_os::log::Chain;
use nut_os::options::Paths;
use nut_os::privilege::whoami;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing::{error, info, warn};

/// Longest file that is read, in bytes.
const MAX_FILE: usize = 8 * 1024 * 1024;

/// Most doubts about passwords that are logged.
const MAX_DOUBTS: usize = 50;

/// Where NUT's packages put the descriptions of variables.
const DATA_PATH: &str = "/usr/share/nut";

/// Why the files are of no use.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// One of them is not there.
    #[error("{} does not exist: {advice}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// What to do.
        advice: &'static str,
    },
    /// One of them cannot be read.
    #[error("cannot read {} ({}): {}", path.display(), describe_permissions(path), Chain(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
    /// One of them may not be read.
    #[error("may not read {} ({}): we are {}; try: chgrp {group} {0} && chmod 640 {0}", path.display(), describe_permissions(path), whoami(), group = group())]
    Denied {
        /// Which.
        path: PathBuf,
    },
    /// One of them says something that cannot be done.
    #[error("{path} cannot be followed: see the lines above")]
    Broken {
        /// Which.
        path: String,
    },
    /// No UPS.
    #[error(
        "Fatal error: at least one UPS must be defined in ups.conf (or write ALLOW_NO_DEVICE true in upsd.conf)"
    )]
    NoUps,
}

fn group() -> String {
    whoami().groups.into_iter().next().unwrap_or_default()
}

/// upsd.conf with what the environment adds to it.
///
/// # Errors
/// When it cannot be read, or asks for something impossible.
pub(crate) fn load_upsd_conf(paths: &Paths) -> Result<UpsdConf, LoadError> {
    let advice = "it may be empty, but it must be there; a sample comes with the package. \
                  NUT_CONFPATH says where upsd looks";
    let (mut conf, found) = read(paths, "upsd.conf", advice, upsd_conf::parse)?;
    tell(&found)?;
    let switch = |name: &str| std::env::var(name).ok().and_then(|text| truth(&text));
    conf.allow_no_device = switch("ALLOW_NO_DEVICE").unwrap_or(conf.allow_no_device);
    conf.allow_not_all_listeners = switch("ALLOW_NOT_ALL_LISTENERS").or(conf.allow_not_all_listeners);
    warn_about(&paths.conf("upsd.conf"));
    Ok(conf)
}

/// All other files.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn load_rest(paths: &Paths, upsd: UpsdConf, most_clients: usize) -> Result<Settings, LoadError> {
    let advice = "it holds a section for each UPS: [name], driver = ..., port = ...";
    let (ups, found): (UpsConf, _) = read(paths, "ups.conf", advice, ups_conf::parse)?;
    tell(&found)?;
    let advice =
        "it holds who may log in, set variables and give commands; it may be empty, but it must be there";
    let (users, found): (UpsdUsers, _) = read(paths, "upsd.users", advice, upsd_users::parse)?;
    tell(&found)?;
    warn_about(&paths.conf("upsd.users"));
    tell_doubts(&paths.conf("upsd.users"), &users);
    if !upsd.has_access_rules() && users.users.iter().any(|user| user.allow_from.is_some()) {
        warn!("allowfrom in upsd.users is no longer used (it is with ACL, ACCEPT and REJECT in upsd.conf)");
    }
    let descriptions = load_descriptions(&upsd);
    Ok(Settings { upsd, ups, users, descriptions, speaks_tls: false, most_clients })
}

fn load_descriptions(conf: &UpsdConf) -> Descriptions {
    let directory = conf.data_path.as_deref().unwrap_or(DATA_PATH);
    let path = Path::new(directory).join("cmdvartab");
    match read_limited(&path, MAX_FILE) {
        Ok(text) => Descriptions::parse(&text),
        Err(error) => {
            if error.is_not_found() {
                info!("{} not found - using the descriptions that upsd brings along", path.display());
            } else {
                warn!("{}: using the descriptions that upsd brings along", Chain(&error));
            }
            Descriptions::built_in()
        }
    }
}

fn read<T>(
    paths: &Paths,
    name: &str,
    advice: &'static str,
    parse: fn(Source<'_>) -> (T, Vec<Diagnostic>),
) -> Result<(T, Vec<Diagnostic>), LoadError> {
    let path = paths.conf(name);
    match read_limited(&path, MAX_FILE) {
        Ok(text) => Ok(parse(Source { path: &path.display().to_string(), text: &text })),
        Err(source) if source.is_not_found() => Err(LoadError::Missing { path, advice }),
        Err(source) if source.is_denied() => Err(LoadError::Denied { path }),
        Err(source) => Err(LoadError::Unreadable { path, source }),
    }
}

/// Logs what was found, a line of the log for each line of it.
fn tell(found: &[Diagnostic]) -> Result<(), LoadError> {
    let mut left_out = 0;
    let mut broken = None;
    for one in found {
        let text = one.to_string();
        for line in text.lines() {
            match one.severity {
                Severity::Note => info!("{line}"),
                Severity::Warning => warn!("{line}"),
                Severity::Error => error!("{line}"),
            }
        }
        match one.severity {
            Severity::Note => {}
            Severity::Warning => left_out += 1,
            Severity::Error => broken = Some(one.path.clone()),
        }
    }
    if left_out > 0 {
        error!("Encountered {left_out} config errors, those entries were ignored");
    }
    broken.map_or(Ok(()), |path| Err(LoadError::Broken { path }))
}

/// Warns of passwords that protect little.
fn tell_doubts(path: &Path, users: &UpsdUsers) {
    for doubt in upsd_users::doubts(users).iter().take(MAX_DOUBTS) {
        match doubt.severity() {
            Severity::Note => info!("{}: {doubt}", path.display()),
            Severity::Warning | Severity::Error => warn!("{}: {doubt}", path.display()),
        }
    }
}

fn warn_about(path: &Path) {
    // It has just been read.
    let _ = warn_if_world_readable(path);
}

/// As NUT reads these two variables: by their beginning, in any case.
fn truth(text: &str) -> Option<bool> {
    let text = text.to_ascii_uppercase();
    let begins = |words: [&str; 4]| words.into_iter().any(|word| text.starts_with(word));
    if begins(["TRUE", "YES", "ON", "1"]) {
        return Some(true);
    }
    begins(["FALSE", "NO", "OFF", "0"]).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environments_words_for_on_and_off() {
        for (text, expected) in [
            ("true", Some(true)),
            ("Yes please", Some(true)),
            ("1", Some(true)),
            ("on", Some(true)),
            ("no", Some(false)),
            ("off", Some(false)),
            ("0", Some(false)),
            ("", None),
            ("2", None),
            ("maybe", None),
        ] {
            assert_eq!(truth(text), expected, "{text}");
        }
    }
}
