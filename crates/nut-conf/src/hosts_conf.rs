//! `hosts.conf`: what the web pages show.

/// All of `hosts.conf`, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostsConf {
    /// `MONITOR <system> "<description>"`.
    pub monitors: Vec<Shown>,
}

/// One UPS that the pages may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The UPS as typed, `ups@host`.
    pub system: String,
    /// What people call it.
    pub description: String,
}
