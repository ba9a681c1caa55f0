//! What a driver may say to the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::server::driver::play(data));
