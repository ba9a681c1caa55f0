//! What the fuzz targets do with the bytes they are given, and what must hold of it.
//!
//! Plain code without a fuzzer: upsd's tests play the corpus through the same functions on a stable compiler
//! (`crates/upsd/tests/program/corpus.rs`), so that neither the targets nor the corpus can rot.
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
pub mod words;
