//! The command-line tools that ask `upsd` something and end.
//!
//! | file | what it knows |
//! |---|---|
//! | [`upsc`] | the query tool: its options, what they ask for, what is printed |
//! | [`upscmd`] | the tool that has a UPS do something at once: the same |
//! | [`upsrw`] | the tool that shows and sets what can be set: the same |
//! | [`order`] | pure: giving an order and following what becomes of it |
//! | [`arguments`] | what the command lines share: which UPS, which server, how long to wait for it |
//! | [`mod@format`] | what a tool ends with, and data as JSON |
//! | [`shell`] | connecting, printing, ending |

pub mod arguments;
pub mod format;
pub mod order;
pub mod shell;
pub mod upsc;
pub mod upscmd;
pub mod upsrw;
