//! What is worth a line in the log, as facts, and NUT's words for it (upsd §11): scripts match on them.

use crate::quota::Origin;
use crate::users::Denial;
use core::net::IpAddr;
use nut_proto::names::{UpsName, UserName};
use std::fmt;

/// Who asked, and from where: shown as `user@address`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The name he gave, if any.
    pub user: Option<UserName>,
    /// His address.
    pub from: IpAddr,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user}@{}", self.from),
            None => write!(f, "{}", self.from),
        }
    }
}

/// How much a line matters; the names are syslog's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of use to who looks for a fault (`-D`).
    Debug,
    /// What one wants to find a year later.
    Info,
    /// Normal, but worth attention.
    Notice,
    /// Works, but less well than configured.
    Warning,
    /// Somebody must act.
    Error,
}

/// One line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A client stands for a host that the UPS feeds.
    LoggedIn {
        /// Who.
        asker: Asker,
        /// On which UPS.
        ups: UpsName,
        /// Whether by TLS.
        encrypted: bool,
    },
    /// He said `LOGOUT`.
    LoggedOut {
        /// Who.
        asker: Asker,
        /// From which UPS.
        ups: UpsName,
        /// Whether by TLS.
        encrypted: bool,
    },
    /// `LOGIN` on a connection that is logged in; with how many like it were not told since the last line.
    LoginTwice(Asker, u64),
    /// `USERNAME` twice; with how many like it were not told since the last line.
    UsernameTwice(Asker, u64),
    /// `PASSWORD` twice; with how many like it were not told since the last line.
    PasswordTwice(Asker, u64),
    /// Wrong name, wrong password, or no right to it. NUT says nothing here.
    Denied {
        /// Who.
        asker: Asker,
        /// What he wanted, in the protocol's words.
        what: String,
        /// What stands against it.
        why: Denial,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// A place has tried too many wrong passwords for a user.
    Throttled {
        /// Who, the last time.
        asker: Asker,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// A client was sent away because too many wait for their passwords to be checked.
    TurnedAway {
        /// Who.
        asker: Asker,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// There was no memory, or no thread, to check a password.
    CannotCheck {
        /// Whose.
        asker: Asker,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// All who depend on the UPS must stop.
    Forced {
        /// Who says so.
        asker: Asker,
        /// Which UPS.
        ups: UpsName,
    },
    /// A command goes to the driver.
    Command {
        /// Who gave it.
        asker: Asker,
        /// To which UPS.
        ups: UpsName,
        /// The command.
        command: String,
        /// Its argument.
        param: Option<String>,
        /// The id it is tracked by.
        id: Option<String>,
    },
    /// A value goes to the driver.
    Set {
        /// Who set it.
        asker: Asker,
        /// To which UPS.
        ups: UpsName,
        /// The variable.
        variable: String,
        /// The value.
        value: String,
        /// The id it is tracked by.
        id: Option<String>,
    },
    /// The driver did not take the last of these two.
    NotSent,
    /// How a tracked order ended.
    Ended {
        /// Its id.
        id: String,
        /// The answer that `GET TRACKING` gives.
        result: String,
    },
    /// One of the places asked for is listened at.
    Listening {
        /// As configured; for `*` the address itself.
        address: String,
        /// The port.
        port: u16,
    },
    /// One of the places asked for cannot be listened at, or no longer for this reason.
    NotListening {
        /// As configured.
        address: String,
        /// The port.
        port: u16,
        /// Why.
        why: String,
        /// It is tried again until it works.
        again: bool,
    },
    /// A place that is no longer asked for was left.
    ListeningNoLonger {
        /// As configured.
        address: String,
        /// The port.
        port: u16,
    },
    /// No place that the new configuration asks for works.
    OldListenersStay,
    /// A driver said of a text variable that it may have no byte at all.
    NoAux {
        /// Which UPS.
        ups: UpsName,
        /// Which variable.
        variable: String,
    },
    /// A driver is there.
    Connected {
        /// Whose.
        ups: UpsName,
        /// On which socket.
        socket: String,
    },
    /// A driver is not there, again or still.
    CannotConnect {
        /// Whose.
        ups: UpsName,
        /// The socket's path.
        socket: String,
        /// Why.
        error: String,
    },
    /// A driver has gone away.
    Disconnected {
        /// Whose.
        ups: UpsName,
    },
    /// Clients get no data from now on.
    Stale {
        /// Of which UPS.
        ups: UpsName,
    },
    /// Clients get data again.
    Fresh {
        /// Of which UPS.
        ups: UpsName,
    },
    /// A driver's line made no sense.
    DriverNonsense {
        /// Whose.
        ups: UpsName,
        /// What is wrong with it.
        reason: String,
        /// How many made no sense on this connection so far.
        count: u64,
    },
    /// A client's line cannot be read.
    ClientNonsense {
        /// Whose.
        from: IpAddr,
        /// What is wrong with it.
        reason: String,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// A reload gave a UPS another driver.
    Redefined {
        /// Which.
        ups: UpsName,
    },
    /// A reload took a UPS away.
    Deleting {
        /// Which.
        ups: UpsName,
    },
    /// A client was logged in to a UPS that is no more.
    Kicking {
        /// Where he is.
        from: IpAddr,
        /// Which UPS.
        ups: UpsName,
    },
    /// A reload took the last UPS away.
    NoUps,
    /// A section of `ups.conf` without driver or port.
    Incomplete {
        /// Which.
        ups: UpsName,
    },
    /// Two sections whose names differ in case only; the later counts.
    NameInUse {
        /// The later.
        ups: UpsName,
    },
    /// An address that may not come in.
    Rejected {
        /// Which.
        from: IpAddr,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// More connections than `MAXCONN`.
    Full {
        /// Who was sent away.
        from: IpAddr,
        /// How many there are.
        clients: usize,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// A client and we do not agree on TLS.
    HandshakeFailed {
        /// Where it is.
        from: IpAddr,
        /// Why.
        reason: String,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// A client keeps back the end of a line, or asks without reading, while all of them together do that too much.
    Hoards {
        /// Where it is.
        from: IpAddr,
        /// How many like it were not told since the last line.
        untold: u64,
    },
    /// Lines that would have been too many ([`crate::quota`]); stands before the next line of the same origin.
    Unwritten {
        /// How many.
        count: u64,
    },
    /// A client does not read what it asks for.
    TooSlow {
        /// Where it is.
        from: IpAddr,
        /// How many like it were not told since the last line.
        untold: u64,
    },
}

impl Note {
    /// Who causes it.
    #[must_use]
    pub fn origin(&self) -> Origin<'_> {
        match self {
            Self::LoggedIn { asker, .. }
            | Self::LoggedOut { asker, .. }
            | Self::LoginTwice(asker, _)
            | Self::UsernameTwice(asker, _)
            | Self::PasswordTwice(asker, _)
            | Self::Denied { asker, .. }
            | Self::Throttled { asker, .. }
            | Self::TurnedAway { asker, .. }
            | Self::CannotCheck { asker, .. }
            | Self::Command { asker, .. }
            | Self::Set { asker, .. } => Origin::Client(asker.from),
            Self::ClientNonsense { from, .. }
            | Self::Rejected { from, .. }
            | Self::Full { from, .. }
            | Self::HandshakeFailed { from, .. }
            | Self::Hoards { from, .. }
            | Self::TooSlow { from, .. } => Origin::Client(*from),
            Self::NotSent | Self::Ended { .. } => Origin::Somebody,
            Self::NoAux { ups, .. }
            | Self::Connected { ups, .. }
            | Self::CannotConnect { ups, .. }
            | Self::Disconnected { ups }
            | Self::Stale { ups }
            | Self::Fresh { ups }
            | Self::DriverNonsense { ups, .. } => Origin::Driver(ups),
            // Forcing a UPS that is forced is no news, and is not noted.
            Self::Forced { .. }
            | Self::Unwritten { .. }
            | Self::Redefined { .. }
            | Self::Deleting { .. }
            | Self::Kicking { .. }
            | Self::NoUps
            | Self::Listening { .. }
            | Self::NotListening { .. }
            | Self::OldListenersStay
            | Self::ListeningNoLonger { .. }
            | Self::Incomplete { .. }
            | Self::NameInUse { .. } => Origin::House,
        }
    }

    /// How much it matters.
    #[must_use]
    pub const fn level(&self) -> Level {
        match self {
            Self::LoggedIn { .. }
            | Self::LoggedOut { .. }
            | Self::LoginTwice(..)
            | Self::UsernameTwice(..)
            | Self::PasswordTwice(..)
            | Self::Forced { .. }
            | Self::Command { .. }
            | Self::Set { .. }
            | Self::NotSent
            | Self::Ended { .. }
            | Self::Connected { .. }
            | Self::Listening { .. }
            | Self::ListeningNoLonger { .. }
            | Self::Kicking { .. } => Level::Info,
            Self::Disconnected { .. }
            | Self::Stale { .. }
            | Self::Fresh { .. }
            | Self::DriverNonsense { .. }
            | Self::ClientNonsense { .. }
            | Self::Redefined { .. }
            | Self::Deleting { .. }
            | Self::Rejected { .. }
            | Self::Denied { .. }
            | Self::HandshakeFailed { .. }
            | Self::Throttled { .. }
            | Self::TurnedAway { .. }
            | Self::Hoards { .. }
            | Self::Unwritten { .. }
            | Self::TooSlow { .. } => Level::Notice,
            Self::NoAux { .. } | Self::NoUps | Self::Incomplete { .. } | Self::Full { .. } => Level::Warning,
            Self::CannotConnect { .. }
            | Self::NameInUse { .. }
            | Self::CannotCheck { .. }
            | Self::NotListening { .. }
            | Self::OldListenersStay => Level::Error,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedIn { asker, ups, encrypted } => {
                write!(f, "User {asker} logged into UPS [{ups}]{}", ssl(*encrypted))
            }
            Self::LoggedOut { asker, ups, encrypted } => {
                write!(f, "User {asker} logged out from UPS [{ups}]{}", ssl(*encrypted))
            }
            Self::LoginTwice(asker, untold) => {
                write!(f, "Client {asker} tried to login twice{}", Untold(*untold))
            }
            Self::UsernameTwice(asker, untold) => {
                write!(f, "Client {asker} tried to set a username twice{}", Untold(*untold))
            }
            Self::PasswordTwice(asker, untold) => {
                write!(f, "Client {asker} tried to set a password twice{}", Untold(*untold))
            }
            Self::Denied { asker, what, why, untold } => {
                let why = match why {
                    Denial::Unproven => "the password was not checked",
                    Denial::Unknown => "there is no such user",
                    Denial::Password => "wrong password",
                    Denial::Place => "allowfrom does not name that address",
                    Denial::Right => "the user has no right to it",
                };
                write!(f, "Client {asker} was denied {what}: {why}{}", Untold(*untold))
            }
            Self::Throttled { asker, untold } => write!(
                f,
                "Client {asker}: too many wrong passwords, from now on one a second is checked{}",
                Untold(*untold)
            ),
            Self::TurnedAway { asker, untold } => write!(
                f,
                "Closing connection from {asker}: too many wait for their passwords to be checked{}",
                Untold(*untold)
            ),
            Self::CannotCheck { asker, untold } => write!(
                f,
                "Closing connection from {asker}: no memory or no thread to check the password with{}",
                Untold(*untold)
            ),
            Self::Forced { asker, ups } => write!(f, "Client {asker} set FSD on UPS [{ups}]"),
            Self::Command { asker, ups, command, param, id } => {
                write!(f, "Instant command: {asker} did {command}")?;
                if let Some(param) = param {
                    write!(f, " with value {param}")?;
                }
                write!(f, " on {ups} (tracking ID: {})", id.as_deref().unwrap_or("disabled"))
            }
            Self::Set { asker, ups, variable, value, id } => {
                let id = id.as_deref().unwrap_or("disabled");
                write!(f, "Set variable: {asker} set {variable} on {ups} to {value} (tracking ID: {id})")
            }
            Self::Listening { address, port } => write!(f, "listening on {address} port {port}"),
            Self::NotListening { address, port, why, again } => {
                let again = if *again { "; trying again until it works" } else { "" };
                write!(f, "not listening on {address} port {port}: {why}{again} (LISTEN in upsd.conf)")
            }
            Self::ListeningNoLonger { address, port } => {
                write!(f, "no longer listening on {address} port {port}")
            }
            Self::OldListenersStay => {
                f.write_str("no LISTEN of the new upsd.conf works: still listening where the old one said")
            }
            Self::NotSent => f.write_str("Set command send failed"),
            Self::Ended { id, result } => write!(f, "tracking ID: {id}\tresult: {result}"),
            Self::NoAux { ups, variable } => write!(f, "UPS [{ups}]: auxdata for {variable} is invalid"),
            Self::Connected { ups, socket } => write!(f, "Connected to UPS [{ups}]: {socket}"),
            Self::CannotConnect { ups, socket, error } => {
                write!(f, "Can't connect to UPS [{ups}] ({socket}): {error}")
            }
            Self::Disconnected { ups } => write!(f, "UPS [{ups}] disconnected - check driver"),
            Self::Stale { ups } => write!(f, "Data for UPS [{ups}] is stale - check driver"),
            Self::Fresh { ups } => write!(f, "UPS [{ups}] data is no longer stale"),
            Self::DriverNonsense { ups, reason, count } => {
                write!(f, "Parse error on sock: {reason} (UPS [{ups}], {count} so far)")
            }
            Self::ClientNonsense { from, reason, untold } => {
                write!(f, "Parse error on sock: {reason} (client {from}){}", Untold(*untold))
            }
            Self::Redefined { ups } => write!(f, "Redefined UPS [{ups}]"),
            Self::Deleting { ups } => write!(f, "Deleting UPS [{ups}]"),
            Self::Kicking { from, ups } => write!(f, "Kicking client {from} (was on UPS [{ups}])"),
            Self::NoUps => f.write_str("Warning: no UPSes currently defined!"),
            Self::Incomplete { ups } => {
                write!(f, "Warning: ignoring incomplete configuration for UPS [{ups}]")
            }
            Self::NameInUse { ups } => write!(f, "UPS name [{ups}] is already in use!"),
            Self::Rejected { from, untold } => {
                write!(f, "Rejecting TCP connection from {from}{}", Untold(*untold))
            }
            Self::Full { from, clients, untold } => write!(
                f,
                "Rejecting TCP connection from {from}: {clients} clients are connected, see MAXCONN in upsd.conf{}",
                Untold(*untold)
            ),
            Self::HandshakeFailed { from, reason, untold } => {
                write!(f, "TLS with {from} failed: {reason}{}", Untold(*untold))
            }
            Self::Unwritten { count } => {
                write!(
                    f,
                    "{count} lines were left out here: their origin is that of the next line, and caused too many"
                )
            }
            Self::Hoards { from, untold } => {
                let untold = Untold(*untold);
                write!(
                    f,
                    "Closing connection from {from}: what it says has no end, and memory is short{untold}"
                )
            }
            Self::TooSlow { from, untold } => {
                let untold = Untold(*untold);
                write!(f, "Closing connection from {from}: it does not read its answers{untold}")
            }
        }
    }
}

fn ssl(encrypted: bool) -> &'static str {
    if encrypted { " (SSL)" } else { "" }
}

/// Stands behind a line of which others like it were not told.
struct Untold(u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0 { write!(f, " ({} more since the last of these lines)", self.0) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_scripts_match_on_are_nuts() {
        let ups = || "nicole".parse::<UpsName>().unwrap();
        let from = IpAddr::from([192, 168, 0, 5]);
        let asker = || Asker { user: Some(UserName::new("admin")), from };
        let set = |id: Option<&str>| Note::Set {
            asker: asker(),
            ups: ups(),
            variable: "ups.id".into(),
            value: "x".into(),
            id: id.map(Into::into),
        };
        let command = |param: Option<&str>| Note::Command {
            asker: asker(),
            ups: ups(),
            command: "load.off".into(),
            param: param.map(Into::into),
            id: None,
        };
        let table = [
            (
                Level::Info,
                Note::LoggedIn { asker: asker(), ups: ups(), encrypted: false },
                "User admin@192.168.0.5 logged into UPS [nicole]",
            ),
            (
                Level::Info,
                Note::LoggedOut { asker: asker(), ups: ups(), encrypted: true },
                "User admin@192.168.0.5 logged out from UPS [nicole] (SSL)",
            ),
            (Level::Info, Note::LoginTwice(asker(), 0), "Client admin@192.168.0.5 tried to login twice"),
            (
                Level::Info,
                Note::Forced { asker: asker(), ups: ups() },
                "Client admin@192.168.0.5 set FSD on UPS [nicole]",
            ),
            (
                Level::Info,
                command(None),
                "Instant command: admin@192.168.0.5 did load.off on nicole (tracking ID: disabled)",
            ),
            (
                Level::Info,
                command(Some("5")),
                "Instant command: admin@192.168.0.5 did load.off with value 5 on nicole (tracking ID: disabled)",
            ),
            (
                Level::Info,
                set(Some("AB")),
                "Set variable: admin@192.168.0.5 set ups.id on nicole to x (tracking ID: AB)",
            ),
            (
                Level::Info,
                set(None),
                "Set variable: admin@192.168.0.5 set ups.id on nicole to x (tracking ID: disabled)",
            ),
            (Level::Info, Note::NotSent, "Set command send failed"),
            (
                Level::Info,
                Note::Connected { ups: ups(), socket: "apcsmart-nicole".into() },
                "Connected to UPS [nicole]: apcsmart-nicole",
            ),
            (
                Level::Error,
                Note::CannotConnect {
                    ups: ups(),
                    socket: "/run/nut/apcsmart-nicole".into(),
                    error: "No such file or directory".into(),
                },
                "Can't connect to UPS [nicole] (/run/nut/apcsmart-nicole): No such file or directory",
            ),
            (Level::Notice, Note::Stale { ups: ups() }, "Data for UPS [nicole] is stale - check driver"),
            (Level::Notice, Note::Fresh { ups: ups() }, "UPS [nicole] data is no longer stale"),
            (Level::Notice, Note::Disconnected { ups: ups() }, "UPS [nicole] disconnected - check driver"),
            (Level::Notice, Note::Redefined { ups: ups() }, "Redefined UPS [nicole]"),
            (Level::Notice, Note::Deleting { ups: ups() }, "Deleting UPS [nicole]"),
            (
                Level::Info,
                Note::Kicking { from, ups: ups() },
                "Kicking client 192.168.0.5 (was on UPS [nicole])",
            ),
            (Level::Warning, Note::NoUps, "Warning: no UPSes currently defined!"),
            (
                Level::Warning,
                Note::Incomplete { ups: ups() },
                "Warning: ignoring incomplete configuration for UPS [nicole]",
            ),
            (Level::Error, Note::NameInUse { ups: ups() }, "UPS name [nicole] is already in use!"),
            (Level::Notice, Note::Rejected { from, untold: 0 }, "Rejecting TCP connection from 192.168.0.5"),
            (
                Level::Notice,
                Note::Rejected { from, untold: 7 },
                "Rejecting TCP connection from 192.168.0.5 (7 more since the last of these lines)",
            ),
            (
                Level::Warning,
                Note::NoAux { ups: ups(), variable: "ups.id".into() },
                "UPS [nicole]: auxdata for ups.id is invalid",
            ),
            (Level::Info, Note::Listening { address: "::".into(), port: 3493 }, "listening on :: port 3493"),
            (
                Level::Error,
                Note::NotListening {
                    address: "192.0.2.1".into(),
                    port: 3493,
                    why: "this host has no such address".into(),
                    again: true,
                },
                "not listening on 192.0.2.1 port 3493: this host has no such address; trying again until it works \
                 (LISTEN in upsd.conf)",
            ),
            (
                Level::Info,
                Note::Ended { id: "AB".into(), result: "SUCCESS".into() },
                "tracking ID: AB\tresult: SUCCESS",
            ),
        ];
        for (level, note, text) in table {
            assert_eq!((note.level(), note.to_string().as_str()), (level, text));
        }
    }
}
