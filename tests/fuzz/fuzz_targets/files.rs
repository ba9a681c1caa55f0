//! The files upsd reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::server::files::play(data));
