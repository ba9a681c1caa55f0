//! upsmon: watches UPSes, tells people, stops this host in time.
//!
//! | file | what it knows |
//! |---|---|
//! | [`watch`] | one UPS: what it last said, how long it has been silent, and what follows from that |
//! | [`verdict`] | whether this host may go on: its supplies, and how many of them it needs |
//! | [`stopping`] | the way down: FSD, waiting for the secondaries, last notices, the parent |
//! | [`monitor`] | all of that together: when each UPS is asked, what is told, the decision |
//! | [`gaps`] | our own time: the clock without the spans in which we did not run |
//! | [`server`] | what is asked of one UPS's server, and what comes back |
//! | [`timer`] | waits that run, for people to see |
//! | [`notices`] | kinds, texts and channels of the notices |
//! | [`remarks`] | what is logged besides the notices |
//! | [`link`] | what the two halves say to each other |
//! | [`parent`] | the root half: the power-down flag, and `SHUTDOWNCMD` |
//! | [`shell`] | the other half: signals, timers, connections, notices; how it is started |
//!
//! The monitor decides and asks; everything it needs from outside comes to it as an [`monitor::Event`].

pub mod gaps;
pub mod link;
pub mod monitor;
pub mod notices;
pub mod parent;
pub mod remarks;
pub mod server;
pub mod shell;
pub mod stopping;
pub mod timer;
pub mod verdict;
pub mod watch;
