//! Simulated Smart-UPSes: what a real unit of a given model would say and do, byte for byte, and what can go wrong.
//!
//! | module | what it knows |
//! |---|---|
//! | [`profile`] | one real unit as data: its replies, lists and oddities; eight of them are built in |
//! | [`capability`] | the `^Z` reply as rings of values through which `-` steps |
//! | [`battery`] | charge, runtime and voltage, and when they will reach a level |
//! | [`faults`] | what a bad line does to a reply: silence, noise, `NA`, `SM`, lost replies |
//! | [`wire`] | when each byte leaves: the pace of 2400 bit/s |
//! | [`deed`] | what the unit did, in words a test asserts and a person reads |
//! | [`ups`] | the machine: `SmartUps::step(now, event)` says what must be done |
//! | [`orders`] | a line of text as an event, for `apcsim` and for scripts |
//! | [`pty`] | the shell: a pseudo-terminal and the task that serves it |
//!
//! All but [`pty`] is pure. The protocol is APC's UPS-Link as real units speak it; where a unit's behaviour is not
//! established the choice made here stands in a comment at its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub mod battery;
pub mod capability;
pub mod deed;
pub mod faults;
pub mod orders;
pub mod profile;
pub mod pty;
pub mod ups;
pub mod wire;

pub use deed::{Deed, ShutdownCommand};
pub use faults::{Extent, Fault, FaultKind};
pub use profile::Profile;
pub use pty::{Direction, SimHandle};
pub use ups::{Action, BatteryChange, Event, LowBattery, Mains, Output, Settings, SmartUps, State};
pub use wire::Pace;

/// Largest profile file that is read, in bytes; the eight built-in ones stay below 8 KiB.
const MAX_PROFILE_FILE: u64 = 1_048_576;

/// Reads a profile from a file of schema `apc-smart-model/1`.
///
/// # Errors
/// The file cannot be read, is larger than 1 MiB, or is not such a profile.
pub fn load_profile(path: &Path) -> Result<Profile, LoadError> {
    let unreadable = |cause| LoadError::Unreadable { path: path.into(), cause };
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_PROFILE_FILE {
        return Err(LoadError::TooLarge { path: path.into(), size });
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    Profile::parse(&text).map_err(|cause| LoadError::Invalid { path: path.into(), cause })
}

/// Why a profile file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refused.
    #[error("cannot read the device profile {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// More than `MAX_PROFILE_FILE` bytes.
    #[error("the device profile {} has {size} bytes, more than {MAX_PROFILE_FILE}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// It is not a profile.
    #[error("{} is not a device profile", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        cause: profile::ProfileError,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_can_be_read_from_a_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/smart-ups-900i-7TI.json");
        assert_eq!(load_profile(&path).expect("it is there").id, "smart-ups-900i-7TI");
    }

    #[test]
    fn a_missing_file_and_a_wrong_one_say_which() {
        let missing = load_profile(Path::new("/nonexistent/unit.json")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the device profile /nonexistent/unit.json");
        let wrong = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(
            load_profile(&wrong).unwrap_err().to_string().ends_with("Cargo.toml is not a device profile")
        );
    }
}
