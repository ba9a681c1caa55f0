//! The drivers: what a unit, its capability string and readers may say to them.
//!
//! | module | what is played | what must hold |
//! |---|---|---|
//! | [`unit`] | what a unit says, in place of the right answers and unasked, with silences and lost ports | news and dump agree; nothing spins; nothing is sent that nobody ordered; a healthy unit is known again |
//! | [`capabilities`] | a capability string | what is read is what stands there; a driver starts with it, and a setting that is changed ends |
//! | [`socket`] | several readers' conversation with a driver | answers, one for each question; orders end once; memory |

pub mod bench;
pub mod capabilities;
#[path = "../parts.rs"]
pub mod parts;
pub mod socket;
pub mod unit;
