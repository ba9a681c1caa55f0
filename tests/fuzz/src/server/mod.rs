//! The server: what clients, drivers and files may say to it.
//!
//! | module | what is played | what must hold |
//! |---|---|---|
//! | [`words`] | bytes, to the tokenizer and the parsers behind it | limits; what was read is read again as it was |
//! | [`clients`] | several clients' conversation with the server | answers, one for each request; logins; memory |
//! | [`driver`] | what a driver says to the server | limits; what is served is what was told |
//! | [`files`] | upsd.conf, ups.conf, upsd.users | nothing makes a parser or the server stumble |

pub mod clients;
pub mod driver;
pub mod files;
pub mod house;
#[path = "../parts.rs"]
pub mod parts;
pub mod words;
