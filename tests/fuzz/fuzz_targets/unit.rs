//! What a unit may say to its driver.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::drivers::unit::play(data));
