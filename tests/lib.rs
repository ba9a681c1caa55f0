//! Whole-system tests; see `tests/main.rs`.
