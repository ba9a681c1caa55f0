//! `nut.conf`: which parts a host runs.

/// All of `nut.conf` that programs look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NutConf {
    /// `MODE`.
    pub mode: Mode,
    /// `POWEROFF_WAIT`, in `sleep`'s syntax.
    pub power_off_wait: Option<String>,
    /// All variables as written, in order.
    pub variables: Vec<(String, String)>,
}

/// `MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing runs. Also when not said.
    #[default]
    None,
    /// Drivers, `upsd` and `upsmon`, for this host.
    Standalone,
    /// The same, for others too.
    NetServer,
    /// `upsmon` only.
    NetClient,
}
