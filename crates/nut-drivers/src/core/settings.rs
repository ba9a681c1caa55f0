//! What the core was told: the settings all drivers share, and which of them can change while it runs.

use nut_conf::ups_conf::Synchronous;
use nut_proto::device::Value;
use nut_proto::names::{CmdName, VarName};
use std::time::Duration;

/// The settings all drivers share (driver-framework §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `driver.name`: what the program is called.
    pub program: String,
    /// `driver.version`.
    pub version: String,
    /// `pollinterval`: from the start of one update to the start of the next. At least [`MIN_POLL_INTERVAL`].
    pub poll_interval: Duration,
    /// `synchronous`: published, nothing else; our drivers never wait for a reader.
    pub synchronous: Synchronous,
    /// `ignorelb`: low battery is judged by the limits, not by the device's word.
    pub ignore_lb: bool,
    /// `allow_killpower`: what `driver.flag.allow_killpower` begins with.
    pub allow_killpower: bool,
    /// `sdcommands`: what is tried to cut the power, in order.
    pub shutdown: Vec<ShutdownStep>,
    /// `default.<variable>`: what a variable begins with.
    pub defaults: Vec<(VarName, Value)>,
    /// `override.<variable>`: what a variable is, whatever the driver says.
    pub overrides: Vec<(VarName, Value)>,
    /// `driver.parameter.<name>` and `driver.flag.<name>` of everything that was given.
    pub parameters: Vec<(VarName, Value)>,
    /// `driver.debug` as configured.
    pub debug: u8,
    /// What only a restart can change, by name.
    pub fixed: Vec<(String, String)>,
}

/// The shortest time between updates, whatever the settings say: a driver must not spin.
pub const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// One thing to try in order to cut the power.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShutdownStep {
    /// `shutdown.default`: the driver's own way.
    Default,
    /// An instant command of the driver.
    Command(CmdName),
}

impl Settings {
    /// The names of the settings that are different in `new` and need a restart, in the order of the file.
    #[must_use]
    pub fn needing_restart(&self, new: &Self) -> Vec<String> {
        let value = |list: &[(String, String)], name: &str| {
            list.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        let differs = |name: &str| match (value(&self.fixed, name), value(&new.fixed, name)) {
            (Some(old), Some(new)) => !old.eq_ignore_ascii_case(&new),
            (None, None) => false,
            _ => true,
        };
        let gone = self.fixed.iter().filter(|(name, _)| value(&new.fixed, name).is_none());
        new.fixed.iter().chain(gone).map(|(name, _)| name.clone()).filter(|name| differs(name)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings as an ups.conf section of two lines gives them.
    pub(crate) fn plain() -> Settings {
        Settings {
            program: "testdriver".into(),
            version: "2.8.4".into(),
            poll_interval: Duration::from_secs(2),
            synchronous: Synchronous::Auto,
            ignore_lb: false,
            allow_killpower: false,
            shutdown: vec![ShutdownStep::Default],
            defaults: Vec::new(),
            overrides: Vec::new(),
            parameters: vec![("driver.parameter.port".parse().unwrap(), "/dev/ttyS0".into())],
            debug: 0,
            fixed: vec![("port".into(), "/dev/ttyS0".into())],
        }
    }

    #[test]
    fn what_needs_a_restart_is_named() {
        let with = |fixed: &[(&str, &str)]| Settings {
            fixed: fixed.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..plain()
        };
        let old = with(&[("port", "/dev/ttyS0"), ("sdtype", "0"), ("nolock", "")]);
        assert_eq!(old.needing_restart(&old), Vec::<String>::new());
        assert_eq!(
            old.needing_restart(&with(&[("PORT", "/DEV/ttyS0"), ("sdtype", "0"), ("nolock", "")])),
            Vec::<String>::new()
        );
        let new = with(&[("port", "/dev/ttyS1"), ("sdtype", "0"), ("cable", "x")]);
        assert_eq!(old.needing_restart(&new), ["port", "cable", "nolock"]);
    }
}
