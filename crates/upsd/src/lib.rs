//! upsd, the data server: it keeps what the drivers tell, and answers every client that asks.
//!
//! | file | what it knows |
//! |---|---|
//! | [`server`] | pure: what happened goes in, what is to be done comes out |
//! | [`events`] | what can happen to the server, and what it can ask for |
//! | [`settings`] | what the files say, and which UPSes that makes |
//! | [`upstream`] | pure: one driver as upsd sees it |
//! | [`upses`] | the UPSes: found by name, listed in order, who depends on them |
//! | [`client`] | pure: one client, and which request leads where |
//! | [`common`] | what all clients have in common |
//! | [`answers`] | `GET`, `LIST`, `VER` |
//! | [`old`] | what clients of NUT before 1.5 ask |
//! | [`orders`] | `SET`, `INSTCMD`, `FSD`, `PRIMARY` |
//! | [`tracking`] | orders whose end may be asked for |
//! | [`access`] | which address may come in |
//! | [`places`] | where to listen, and when to try again what is not there yet |
//! | [`users`] | who may do what |
//! | [`proofs`] | whose password is checked next |
//! | [`throttle`] | how often wrong passwords may be tried |
//! | [`hashing`] | argon2id |
//! | [`descriptions`] | what variables and commands mean |
//! | [`notes`] | what is logged, in NUT's words |
//! | [`repeats`] | what is logged once and then counted |
//! | [`quota`] | how many lines of the log anybody may cause |
//! | [`deadlines`] | what is due when |
//! | [`slab`] | numbered places |
//! | [`shell`] | the outside: sockets, files, signals, the command line |

pub mod access;
pub mod answers;
pub mod client;
pub mod common;
pub mod deadlines;
pub mod descriptions;
pub mod events;
pub mod hashing;
pub mod notes;
pub mod old;
pub mod orders;
pub mod places;
pub mod proofs;
pub mod quota;
pub mod repeats;
pub mod server;
pub mod settings;
pub mod shell;
pub mod slab;
pub mod throttle;
pub mod tracking;
pub mod upses;
pub mod upstream;
pub mod users;
