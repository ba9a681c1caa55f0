//! The words of Network UPS Tools: names, status, devices, messages. No I/O, no clock.
//!
//! | file | what it knows |
//! |---|---|
//! | [`names`] | how UPSes, variables, commands, users and servers are named |
//! | [`status`] | `ups.status`, read once and then asked by meaning |
//! | [`device`] | a UPS as a set of variables and commands, and what can change in it |
//! | [`words`] | a line as words: quoting as NUT does it, on sockets and in files |
//! | [`lines`] | bytes in, whole lines out |
//! | [`driver`] | what a driver and its readers say to each other |
//! | [`net`] | what a client and `upsd` say to each other |
//! | [`numbers`] | the whole number at the front of a text, as C reads it |
//! | [`moment`] | a point in time that no clock change can move |

pub mod device;
pub mod driver;
pub mod lines;
pub mod moment;
pub mod names;
pub mod net;
pub mod numbers;
pub mod status;
pub mod words;

pub use moment::Moment;
