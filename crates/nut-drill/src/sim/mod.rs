//! Simulated Smart-UPSes: what a real unit of a given model would say and do, byte for byte, and what can go wrong.
//!
//! | module | what it knows |
//! |---|---|
//! | [`profile`] | one real unit as data: its replies, lists and oddities; eight of them are built in |
//! | [`capability`] | the `^Z` reply as rings of values through which `-` steps |
//! | [`battery`] | charge, runtime and voltage, and when they will reach a level |
//! | [`probes`] | a Measure-UPS card: temperature, humidity, contacts, limits |
//! | [`faults`] | what a bad line does to a reply: silence, noise, wrong parity, `NA`, `SM`, lost replies |
//! | [`wire`] | when each byte leaves: the pace of 2400 bit/s |
//! | [`deed`] | what the unit did, in words a test asserts and a person reads |
//! | [`ups`] | the machine: `SmartUps::step(now, event)` says what must be done |
//! | [`orders`] | a line of text as an event, for `apcsim` and for scripts |
//! | [`pty`] | the shell: a pseudo-terminal and the task that serves it |
//!
//! What a driver's tests rely on, and the test of [`ups`] that shows it:
//!
//! | modelled | shown by |
//! |---|---|
//! | `S` does nothing on mains | `s_is_refused_on_mains` |
//! | `@000` does nothing on old units | `an_old_unit_ignores_at_000_and_wakes_from_others_by_the_clock_alone` |
//! | grace delays | `s_on_battery_switches_off_after_the_grace_delay_and_on_when_mains_is_back` |
//! | return with a charge and a delay | `the_load_returns_only_with_charge_and_after_the_wake_delay` |
//! | settings are stepped, texts written | `a_list_value_is_stepped_and_the_change_announced_later`, `a_text_takes_eight_bytes_and_ends_at_a_cr` |
//! | self test and its results | `a_self_test_takes_eight_seconds_and_its_result_is_known_for_five_minutes`, `a_self_test_tells_an_overload_and_a_battery_that_is_nearly_empty_apart` |
//! | calibration from 100 % to 25 % (Matrix: 35 %) | `a_calibration_needs_a_full_battery_and_ends_at_a_quarter`, `a_matrix_unit_ends_its_calibration_earlier` |
//! | a new battery, its date, what the unit believes of it | `a_new_battery_is_dated_tested_and_measured_as_the_operator_is_told_to` |
//! | the replace-battery alarm, and what clears it | `a_worn_battery_fails_the_test_and_is_announced_until_a_new_one_passes` |
//! | Measure-UPS probes, limits, contacts | `a_card_is_listed_and_measures_while_it_is_there`, `what_is_beyond_a_limit_that_was_set_is_told_every_two_minutes_while_it_lasts` |
//! | wrong parity (done to the bytes: a pseudo-terminal has no frames) | `over_a_line_of_the_wrong_parity_half_is_heard_and_all_is_told_wrongly` |
//! | noise | `noise_spoils_what_the_unit_says_and_nothing_that_it_does` |
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
pub mod probes;
pub mod profile;
pub mod pty;
pub mod ups;
pub mod wire;

pub use deed::{Deed, ShutdownCommand};
pub use faults::{Extent, Fault, FaultKind, Parity};
pub use probes::{Card, CardChange, Climate, Probe};
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
