//! Talking to `upsd`: what a tool, `upsmon` and the web pages share.
//!
//! | file | what it knows |
//! |---|---|
//! | [`dialog`] | pure: what was asked, what may come back, who we are logged in as |
//! | [`connection`] | shell: TCP, deadlines, logging in, saying goodbye |
//! | [`security`] | whether a connection is encrypted |
//! | [`error`] | why there is no answer, and NUT's text for every refusal |

pub mod connection;
pub mod dialog;
pub mod error;
pub mod security;

pub use connection::{Connection, Deadlines, Family, Login, Lookup, Role, Step, Stream};
pub use dialog::{Answer, Dialog, DialogError, Progress, Refusal};
pub use error::{ClientError, text};
pub use security::Security;
