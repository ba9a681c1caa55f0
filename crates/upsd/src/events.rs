//! What happens to the server, and what it asks for: closed lists, so that a recorded one replays a field report.

use crate::hashing::Finding;
use crate::notes::Note;
use crate::settings::Settings;
use crate::slab::Key;
use core::net::IpAddr;
use nut_conf::upsd_users::PasswordHash;
use nut_proto::driver::ToDriver;
use nut_proto::names::Secret;
use std::ops::Range;

/// A client's connection. The shell gives the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub Key);

/// A UPS. The server gives the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpsId(pub Key);

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client has connected.
    ClientConnected {
        /// Its number.
        client: ClientId,
        /// Its address.
        address: IpAddr,
    },
    /// A client said something.
    ClientBytes {
        /// Which.
        client: ClientId,
        /// The bytes as they came.
        bytes: &'a [u8],
    },
    /// All answers to a client that is [`Action::Unfinished`] have been written.
    ClientDrained {
        /// Which.
        client: ClientId,
    },
    /// A client is gone: it closed, the connection broke, or it is finished.
    ClientGone {
        /// Which.
        client: ClientId,
    },
    /// A driver is connected.
    DriverConnected {
        /// Whose.
        ups: UpsId,
    },
    /// A driver said something.
    DriverBytes {
        /// Whose.
        ups: UpsId,
        /// The bytes as they came.
        bytes: &'a [u8],
    },
    /// A driver is gone: it closed, the connection broke, or it takes nothing more.
    DriverGone {
        /// Whose.
        ups: UpsId,
    },
    /// A driver cannot be connected to.
    ConnectFailed {
        /// Whose.
        ups: UpsId,
        /// The socket's path, as a person knows it.
        path: &'a str,
        /// Why.
        error: &'a str,
    },
    /// An order is out, or could not be given to its driver.
    OrderSent {
        /// Who gave it.
        client: ClientId,
        /// Whether the driver's socket took it.
        sent: bool,
    },
    /// What came of [`Action::Verify`].
    Verified {
        /// Whose password it was. He may be gone by now.
        client: ClientId,
        /// Whether it is right.
        finding: Finding,
    },
    /// The moment asked for by [`Server::wake_at`](crate::server::Server::wake_at) has come.
    Tick,
    /// Random bytes, [`Server::wants_random`](crate::server::Server::wants_random) of them.
    Random(&'a [u8]),
    /// The files have been read again.
    Reload(Box<Settings>),
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write to a client. While it has not taken all, do not read from it.
    Write {
        /// Which.
        client: ClientId,
        /// What: see [`Outputs::get`].
        bytes: Range<usize>,
    },
    /// More requests of this client wait to be answered: say [`Event::ClientDrained`] when it has taken what was
    /// written. Until then do not read from it.
    Unfinished {
        /// Which.
        client: ClientId,
    },
    /// From the next byte on, in both directions, speak TLS: what was asked to be written before goes out in clear.
    Encrypt {
        /// With whom.
        client: ClientId,
    },
    /// Do not read from this client until [`Action::Release`].
    Hold {
        /// Which.
        client: ClientId,
    },
    /// Read from this client again.
    Release {
        /// Which.
        client: ClientId,
    },
    /// Find out whether this is the password that the hash was made of, and say [`Event::Verified`] then. That takes
    /// time and memory: never on the thread that serves clients. No other is asked for until then.
    Verify {
        /// Whose.
        client: ClientId,
        /// The password he gave.
        password: Secret,
        /// The user's.
        hash: PasswordHash,
    },
    /// Close when all is written, read nothing more, and say [`Event::ClientGone`] then.
    Finish {
        /// Which.
        client: ClientId,
    },
    /// Close at once. The server knows it no more.
    Close {
        /// Which.
        client: ClientId,
    },
    /// Connect to a driver, and say how it went.
    Connect {
        /// Whose.
        ups: UpsId,
        /// Its socket's file name in the state directory.
        socket: String,
    },
    /// Write to a driver, all or nothing. If it takes only a part, or is gone: [`Event::DriverGone`].
    Tell {
        /// Whose.
        ups: UpsId,
        /// What: see [`Outputs::get`].
        bytes: Range<usize>,
        /// Whom to answer with [`Event::OrderSent`], at once.
        order_of: Option<ClientId>,
    },
    /// Close the connection to a driver, or give up connecting.
    Disconnect {
        /// Whose.
        ups: UpsId,
    },
}

/// What one step asks for. The shell keeps it and clears it after use, so that a step allocates nothing.
#[derive(Debug, Default)]
pub struct Outputs {
    /// What is to be written, by the ranges of the actions.
    pub bytes: Vec<u8>,
    /// What is to be done.
    pub actions: Vec<Action>,
    /// What is to be logged.
    pub notes: Vec<Note>,
}

impl Outputs {
    /// Memory that is kept for the next step.
    const KEEP: usize = 256 * 1024;

    /// Actions and notes there is room for in the next step.
    const KEEP_ITEMS: usize = 1_024;

    /// The bytes of this range.
    #[must_use]
    pub fn get(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Forgets all, ready for the next step.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEEP);
        self.actions.clear();
        self.actions.shrink_to(Self::KEEP_ITEMS);
        self.notes.clear();
        self.notes.shrink_to(Self::KEEP_ITEMS);
    }

    /// What was added to the bytes from `start` on is for this client.
    pub(crate) fn write(&mut self, client: ClientId, start: usize) {
        if self.bytes.len() > start {
            self.actions.push(Action::Write { client, bytes: start..self.bytes.len() });
        }
    }

    pub(crate) fn tell(&mut self, ups: UpsId, message: &ToDriver, order_of: Option<ClientId>) {
        let start = self.bytes.len();
        message.encode(&mut self.bytes);
        self.actions.push(Action::Tell { ups, bytes: start..self.bytes.len(), order_of });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_large_step_took_is_given_back() {
        let client = ClientId(crate::slab::Slab::default().insert(()));
        let mut out = Outputs::default();
        out.bytes.resize(10_000_000, b'x');
        out.actions.resize(100_000, Action::Close { client });
        out.notes.resize(100_000, Note::NotSent);
        out.clear();
        assert!(out.bytes.is_empty() && out.bytes.capacity() <= 2 * Outputs::KEEP);
        assert!(out.actions.is_empty() && out.actions.capacity() <= 2 * Outputs::KEEP_ITEMS);
        assert!(out.notes.is_empty() && out.notes.capacity() <= 2 * Outputs::KEEP_ITEMS);
    }
}
