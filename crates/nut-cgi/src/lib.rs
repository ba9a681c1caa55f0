//! The web pages: `upsstats.cgi`, which shows UPSes as lists, single pages, trees of variables, and JSON.
//!
//! | file | what it knows |
//! |---|---|
//! | [`form`] | what a browser sends |
//! | [`page`] | HTML and JSON text that cannot be broken out of |
//! | [`template`] | a page with commands between `@` signs, as lines of pieces |
//! | [`stats`] | what each command shows; the built-in pages |
//! | [`shell`] | files, environment, servers |
//!
//! `upsset.cgi` and `upsimage.cgi` are not built yet.

pub mod form;
pub mod page;
pub mod shell;
pub mod stats;
pub mod template;
