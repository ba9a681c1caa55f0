//! Readers' conversation with a driver's socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::drivers::socket::play(data));
