//! `upsd.conf`: the server: where it listens, whom it admits.

use std::net::IpAddr;
use std::time::Duration;

/// All of `upsd.conf`, both eras.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpsdConf {
    /// `MAXAGE`: a driver silent for longer has stale data. 15 s unless set.
    pub max_age: Duration,
    /// `TRACKINGDELAY`: how long the end of a tracked order is remembered. 3600 s unless set.
    pub tracking_delay: Duration,
    /// `ALLOW_NO_DEVICE`: start without a UPS.
    pub allow_no_device: bool,
    /// `ALLOW_NOT_ALL_LISTENERS`: start even if some `LISTEN` fails.
    pub allow_not_all_listeners: bool,
    /// `MAXCONN`: most connections; `None`: what the system allows.
    pub max_connections: Option<usize>,
    /// `STATEPATH`.
    pub state_path: Option<String>,
    /// `DATAPATH`: where `cmdvartab` is.
    pub data_path: Option<String>,
    /// `LISTEN`: where to listen; none: `127.0.0.1` and `::1` (with an ACL, NUT 2.0's way: every address).
    pub listen: Vec<Listen>,
    /// `ACL`: named blocks of addresses; a name may have several.
    pub acls: Vec<Acl>,
    /// `ACCEPT` and `REJECT`, one entry a name, in the file's order: the first that matches decides.
    pub access: Vec<AccessRule>,
    /// `CERTFILE`, `CERTPATH`, …: kept as written; TLS reads them.
    pub tls: Tls,
    /// `DEBUG_MIN`.
    pub debug_min: Option<u8>,
}

impl Default for UpsdConf {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(15),
            tracking_delay: Duration::from_secs(3600),
            allow_no_device: false,
            allow_not_all_listeners: false,
            max_connections: None,
            state_path: None,
            data_path: None,
            listen: Vec::new(),
            acls: Vec::new(),
            access: Vec::new(),
            tls: Tls::default(),
            debug_min: None,
        }
    }
}

impl UpsdConf {
    /// Whether the file controls access in NUT 2.0's manner: then nobody is admitted but by `ACCEPT`.
    #[must_use]
    pub fn has_access_rules(&self) -> bool {
        !self.acls.is_empty() || !self.access.is_empty()
    }
}

/// One `LISTEN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// An address, a host name, or `*`.
    pub address: String,
    /// The port, 3493 unless given.
    pub port: u16,
    /// Where it stands.
    pub at: crate::Span,
}

/// One `ACL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Its name; case counts.
    pub name: String,
    /// The block.
    pub block: NetBlock,
}

/// A block of addresses: those that equal `address` wherever `mask` has a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetBlock {
    /// An address of the block.
    pub address: IpAddr,
    /// Which bits count; of the same family.
    pub mask: IpAddr,
}

/// One name of an `ACCEPT` or `REJECT` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// What happens to those who match.
    pub verdict: Access,
    /// The ACL's name.
    pub acl: String,
}

/// Whether one is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `ACCEPT`.
    Accept,
    /// `REJECT`.
    Reject,
}

/// What the file says about TLS, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `CERTFILE`.
    pub cert_file: Option<String>,
    /// `CERTPATH`.
    pub cert_path: Option<String>,
    /// `CERTIDENT`: name and password of the key.
    pub cert_ident: Option<(String, nut_proto::names::Secret)>,
    /// `CERTREQUEST`: 0 no, 1 ask, 2 demand a client's certificate.
    pub cert_request: Option<u8>,
    /// `DISABLE_WEAK_SSL`.
    pub disable_weak_ssl: bool,
}
