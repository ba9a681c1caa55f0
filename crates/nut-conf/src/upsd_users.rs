//! `upsd.users`: who may do what.

use nut_proto::names::{Secret, UserName};

/// All of `upsd.users`, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpsdUsers {
    /// The users; the first of a name counts.
    pub users: Vec<User>,
}

/// One `[name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name between the brackets.
    pub name: UserName,
    /// `password`; without one the user can do nothing.
    pub password: Option<Secret>,
    /// `actions` and what `upsmon` brings along, upper case, each once: `SET`, `FSD`, `LOGIN`, `PRIMARY`, …
    pub actions: Vec<String>,
    /// `instcmds`.
    pub commands: Commands,
    /// `allowfrom`: names of ACLs; `None` if never said.
    pub allow_from: Option<Vec<String>>,
}

/// Which instant commands a user may give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commands {
    /// `ALL`.
    All,
    /// These, without case.
    These(Vec<String>),
}

impl Default for Commands {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}
