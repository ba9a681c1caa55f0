//! The hardware drivers, what they share, and `upsdrvctl`.
//!
//! | file | what |
//! |---|---|
//! | [`driver`] | what a driver is |

pub mod driver;
