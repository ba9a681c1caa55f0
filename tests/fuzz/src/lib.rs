//! What the fuzz targets do with the bytes they are given, and what must hold of it.
//!
//! Plain code without a fuzzer: the tests of upsd and of the drivers play the corpus through the same functions on a
//! stable compiler (`crates/upsd/tests/program/corpus.rs`, `crates/nut-drivers/tests/programs/corpus.rs`), so that
//! neither the targets nor the corpus can rot.

pub mod drivers;
pub mod server;
