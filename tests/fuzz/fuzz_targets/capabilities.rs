//! The capability string of a unit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::drivers::capabilities::play(data));
