//! `ups.conf`: the drivers: which, on which port, in which order they are powered down.

use nut_proto::names::UpsName;
use std::time::Duration;

/// All of `ups.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpsConf {
    /// What stands before the first section.
    pub global: Global,
    /// The sections, in the file's order; sections of one name are one.
    pub sections: Vec<Section>,
}

/// What stands before the first section. `None` is "not said": the program's default holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Global {
    /// `chroot`: the directory the drivers lock themselves into.
    pub chroot: Option<String>,
    /// `driverpath`: where `upsdrvctl` finds the drivers.
    pub driver_path: Option<String>,
    /// `statepath`: where sockets and PID files are.
    pub state_path: Option<String>,
    /// `user`: whom the drivers run as.
    pub user: Option<String>,
    /// `group`: whose the driver's socket is.
    pub group: Option<String>,
    /// `pollinterval`, 2 s unless set.
    pub poll_interval: Option<Duration>,
    /// `synchronous`: kept for the record; our drivers never block on a reader.
    pub synchronous: Option<Synchronous>,
    /// `maxstartdelay`, 75 s unless set. Zero or less: as long as it takes.
    pub max_start_delay: Option<i64>,
    /// `maxretry`: attempts in all, 1 unless set.
    pub max_retry: Option<i64>,
    /// `retrydelay`: seconds between attempts, 5 unless set.
    pub retry_delay: Option<i64>,
    /// `nowait`: do not wait for drivers to start.
    pub no_wait: bool,
    /// `debug_min`: least debug level.
    pub debug_min: Option<u8>,
}

/// `synchronous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// `yes`.
    Yes,
    /// `no`, and any text NUT does not know.
    No,
    /// `auto`.
    Auto,
}

/// One `[name]`: a UPS and its driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The name between the brackets.
    pub name: UpsName,
    /// Where the section begins.
    pub at: crate::Span,
    /// `driver`: the program.
    pub driver: Option<String>,
    /// `port`: the device node, file or address.
    pub port: Option<String>,
    /// `desc`: what people call it.
    pub desc: Option<String>,
    /// `sdorder`: powered down in rising order; negative: never with the others. 0 unless set.
    pub shutdown_order: i64,
    /// `maxstartdelay` of this one.
    pub max_start_delay: Option<i64>,
    /// `maxretry` of this one.
    pub max_retry: Option<i64>,
    /// `retrydelay` of this one.
    pub retry_delay: Option<i64>,
    /// `user` of this one.
    pub user: Option<String>,
    /// `group` of this one.
    pub group: Option<String>,
    /// `pollinterval` of this one.
    pub poll_interval: Option<Duration>,
    /// `synchronous` of this one.
    pub synchronous: Option<Synchronous>,
    /// `debug_min` of this one.
    pub debug_min: Option<u8>,
    /// `nolock`: do not lock the port.
    pub no_lock: bool,
    /// `ignorelb`: judge low battery by charge and runtime instead of the device's word.
    pub ignore_lb: bool,
    /// `allow_killpower`.
    pub allow_killpower: bool,
    /// `sdcommands`: what to try at shutdown, in order.
    pub shutdown_commands: Vec<String>,
    /// `default.<variable>`: values the driver starts with.
    pub defaults: Vec<(String, String)>,
    /// `override.<variable>`: values that stand whatever the driver says.
    pub overrides: Vec<(String, String)>,
    /// All other lines, as written and in order: the driver's own options. A bare word has no value.
    pub options: Vec<DriverOption>,
}

/// A line that only the driver understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverOption {
    /// Its name as written.
    pub name: String,
    /// What stands behind the equals sign; `None` for a bare word.
    pub value: Option<String>,
    /// Where it stands.
    pub at: crate::Span,
}
