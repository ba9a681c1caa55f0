//! What all clients have in common: the UPSes, the rules, the orders on their way.

use crate::access::Access;
use crate::descriptions::Descriptions;
use crate::proofs::Proofs;
use crate::repeats::Repeats;
use crate::tracking::Tracking;
use crate::upses::{Ups, Upses};
use crate::users::Users;
use nut_proto::net::ErrCode;
use nut_proto::words::Tokenizer;
use std::time::Duration;

/// Everything a client's request may look at or change, besides the client itself.
#[derive(Debug)]
pub struct Common {
    /// The UPSes.
    pub upses: Upses,
    /// Who may come in.
    pub access: Access,
    /// Counts the reloads that may have changed `access`.
    pub access_revision: u32,
    /// Who may do what.
    pub users: Users,
    /// Who waits for his password to be checked.
    pub proofs: Proofs,
    /// Orders whose end may be asked for.
    pub tracking: Tracking,
    /// How long after its beginning.
    pub tracking_delay: Duration,
    /// What names mean.
    pub descriptions: Descriptions,
    /// Whether `STARTTLS` is possible.
    pub speaks_tls: bool,
    /// Names, passwords and logins given a second time, to be logged.
    pub twice: Twice,
    /// Refusals to be logged.
    pub denials: Repeats,
    /// Unreadable lines to be logged.
    pub nonsense: Repeats,
    /// For clients that are not in the middle of a line: nearly all of them, nearly always.
    pub tokenizer: Tokenizer,
}

/// What is said once on a connection, and was said again.
#[derive(Debug, Default)]
pub struct Twice {
    /// `USERNAME`.
    pub username: Repeats,
    /// `PASSWORD`.
    pub password: Repeats,
    /// `LOGIN`.
    pub login: Repeats,
}

impl Common {
    /// The UPS of this name.
    ///
    /// # Errors
    /// `UNKNOWN-UPS`.
    pub fn ups(&self, name: &str) -> Result<&Ups, ErrCode> {
        self.upses.find(name).and_then(|id| self.upses.get(id)).ok_or(ErrCode::UnknownUps)
    }

    /// The UPS of this name.
    ///
    /// # Errors
    /// `UNKNOWN-UPS`.
    pub fn ups_mut(&mut self, name: &str) -> Result<&mut Ups, ErrCode> {
        self.upses.find(name).and_then(|id| self.upses.get_mut(id)).ok_or(ErrCode::UnknownUps)
    }
}
