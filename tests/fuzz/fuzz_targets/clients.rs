//! Several clients' conversation with the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::server::clients::play(data));
