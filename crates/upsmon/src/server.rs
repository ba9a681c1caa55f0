//! What the monitor asks of one UPS's server, and what it hears back.
//!
//! Each `MONITOR` line has a connection of its own, so that no server can hold up another. The monitor gives orders,
//! [`crate::shell`] carries them out in their order and reports.

use nut_client::dialog::Refusal;
use nut_client::error::{PROTOCOL, number_of};
use nut_client::{ClientError, Step};
use nut_conf::upsmon_conf::{self, Tls};
use nut_proto::names::{Server, TargetError};
use nut_proto::net::ErrCode;
use std::fmt;

use crate::watch::Heard;

/// One watched UPS, as long as it is watched: a UPS that is removed and added again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpsId(pub u32);

/// How to reach a UPS, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The `MONITOR` line.
    pub monitor: upsmon_conf::Monitor,
    /// How its connection is to be protected.
    pub protection: Protection,
}

impl Line {
    /// The line, and what the file's TLS directives ask of its host.
    #[must_use]
    pub fn new(monitor: &upsmon_conf::Monitor, tls: &Tls) -> Self {
        let protection = monitor
            .target
            .as_ref()
            .map_or_else(|_| Protection::default(), |target| Protection::of(tls, &target.server));
        Self { monitor: monitor.clone(), protection }
    }
}

/// How the connection to a server is to be protected. Without any of it TLS is spoken if the server can.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protection {
    /// `CERTVERIFY`: an authority of `CERTPATH` must stand for the server's certificate.
    pub verify: bool,
    /// `FORCESSL`: no connection in clear.
    pub force: bool,
    /// The name that the certificate must bear (`CERTHOST`); counts where it is verified.
    pub name: Option<String>,
}

impl Protection {
    /// What `CERTHOST` says for this very host, else what `FORCESSL` and `CERTVERIFY` say for all.
    #[must_use]
    pub fn of(tls: &Tls, server: &Server) -> Self {
        let with_port = format!("{}:{}", server.host, server.port);
        let own = tls.hosts.iter().rev().find(|(host, ..)| **host == *server.host || *host == with_port);
        match own {
            None => Self { verify: tls.verify, force: tls.force, name: None },
            Some((_, name, verify, force)) => {
                let name = (*verify && !name.is_empty()).then(|| name.clone());
                Self { verify: *verify, force: *force, name }
            }
        }
    }

    /// Whether there is no connection in clear: what is verified is encrypted.
    #[must_use]
    pub fn demands_tls(&self) -> bool {
        self.verify || self.force
    }
}

/// What is to be done on one UPS's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Connect if need be, and ask for the status.
    Poll {
        /// Whether to be logged in, so that the primary waits for us; what of that failed before is tried again.
        log_in: bool,
    },
    /// Tell the server to force the shutdown of all who depend on the UPS.
    SetFsd,
    /// Ask how many are logged in.
    CountLogins,
    /// From the next connection on use this line.
    Use(Box<Line>),
    /// Use this line, and connect anew at once.
    Reconnect(Box<Line>),
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// We are logged in, as a primary if we are to be one. Goes before the poll's own result, or follows it.
    LoggedIn,
    /// The server refused; what can be had without is had. Goes before the poll's own result, or follows it.
    LoginFailed {
        /// At which step.
        step: Step,
        /// What it said.
        refusal: Refusal,
    },
    /// The end of a poll: what the UPS says.
    Polled(Heard),
    /// The end of a poll: nothing came.
    PollFailed(Failure),
    /// `upsd` has set FSD.
    FsdSet,
    /// `upsd` has not.
    FsdFailed(Failure),
    /// So many are logged in, ourselves included; nothing if that cannot be known.
    Logins(Option<usize>),
}

/// Why there was no answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made.
    Unreachable(ClientError),
    /// There is no connection.
    NotConnected,
    /// The connection broke, or its far end went silent.
    Broken(ClientError),
    /// The server said no.
    Refused(Refusal),
    /// The answer is no answer.
    Nonsense,
    /// No word for longer than we wait ([`crate::monitor::PATIENCE`]); it may still come.
    Late,
}

impl Failure {
    /// Of a `MONITOR` line that names no UPS: nothing is tried.
    #[must_use]
    pub fn names_no_ups(error: TargetError) -> Self {
        Self::Unreachable(ClientError::Connect(format!("it names no UPS: {error}").into()))
    }

    /// Whether there is no connection (any more), and with it no login.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::NotConnected | Self::Broken(_) => true,
            Self::Refused(_) | Self::Nonsense | Self::Late => false,
        }
    }

    /// NUT's number for it (`UPSCLI_ERR_…`), by which `POLLFAIL_LOG_THROTTLE_MAX` tells failures apart.
    #[must_use]
    pub fn number(&self) -> i32 {
        match self {
            Self::Unreachable(error) | Self::Broken(error) => error.number(),
            Self::NotConnected => number_of(ErrCode::DriverNotConnected.as_str()),
            Self::Refused(refusal) => refusal.number(),
            Self::Nonsense => PROTOCOL,
            // NUT has hung up by then.
            Self::Late => ClientError::Disconnected.number(),
        }
    }

    /// NUT's text, for a poll of this UPS.
    #[must_use]
    pub fn text(&self, monitor: &upsmon_conf::Monitor) -> String {
        match self {
            Self::Refused(refusal) if refusal.is(ErrCode::UnknownUps) => match &monitor.target {
                Ok(target) => format!("[{}] does not exist on server {}", target.ups, target.server.host),
                Err(_) => self.to_string(),
            },
            Self::Refused(refusal) if refusal.is(ErrCode::UnknownCommand) => {
                format!("{self}; UPS [{}]: Too old to monitor", monitor.system)
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) | Self::Broken(error) => error.fmt(f),
            Self::NotConnected => f.write_str("Driver not connected"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Nonsense => f.write_str("Protocol error"),
            Self::Late => f.write_str("Server does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certhost_decides_for_its_host_and_the_rest_for_all_others() {
        let host = |name: &str, verify, force| (name.to_owned(), "cert".to_owned(), verify, force);
        let tls = Tls {
            force: true,
            hosts: vec![host("inside", false, false), host("far:3494", true, false)],
            ..Tls::default()
        };
        for (server, expected) in
            [("inside", false), ("far:3494", true), ("other", true), ("inside:99", false)]
        {
            assert_eq!(Protection::of(&tls, &server.parse().unwrap()).demands_tls(), expected, "{server}");
        }
        let far = Protection::of(&tls, &"far:3494".parse().unwrap());
        assert_eq!(far, Protection { verify: true, force: false, name: Some("cert".into()) });
        // A name counts only where the certificate is verified.
        assert_eq!(Protection::of(&tls, &"inside".parse().unwrap()).name, None);
        assert_eq!(Protection::of(&Tls::default(), &"x".parse().unwrap()), Protection::default());
    }
}
