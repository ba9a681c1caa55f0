//! The tokenizer, and what is read from its words.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::server::words::play(data));
