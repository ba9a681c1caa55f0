//! The hardware drivers, what they share, and `upsdrvctl`.
//!
//! | file | what |
//! |---|---|
//! | [`apcsmart`] | the driver for APC Smart-UPSes |
//! | [`driver`] | what a driver is |
//! | [`core`] | what all drivers share: rhythm, common variables, orders, loss and return of the port |
//! | [`serving`] | the socket side: readers, what they ask, what they are told |
//! | [`options`] | what a driver was told, and what is wrong with it |
//! | [`shell`] | the program around a driver: port, socket, timers, signals |
//! | [`connection`] | talking to a running driver |
//! | [`ctl`] | `upsdrvctl`: which drivers, in which order |
//! | [`dummy`] | a UPS that exists only as a file, or is the UPS of another server |

pub mod apcsmart;
pub mod connection;
pub mod core;
pub mod ctl;
pub mod driver;
pub mod dummy;
pub mod options;
pub mod serving;
pub mod shell;
