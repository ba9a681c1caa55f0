//! A rehearsal: the real programs, simulated UPSes, an outage, a report; also the tests' harness.
//!
//! | module | what it does |
//! |---|---|
//! | [`sim`] | simulated Smart-UPSes on pseudo-terminals, with a fault injector and a record of what each one did |
//! | [`programs`] | the programs of the house as built executables |
//! | [`stage`] | a private directory with configuration, state and the running programs |
//! | [`guard`] | clearing a stage away, however the process that made it ends |
//! | [`scratch`] | a private directory for one test of whatever crate |
//! | [`record`] | what happened, when, to whom; and waiting for it |
//! | `overhear` | what a driver says on its socket |
//! | [`tell`] | how a script says that it ran |
//! | [`relay`] | a network cable that can be cut, slowed and restored |
//! | [`school`] | the set-up that this was first built for, on a stage |
//! | [`script`] | an outage as data |
//! | [`plays`] | the rehearsals: what is done, and what must follow |
//! | [`report`] | the timeline a person reads |
//! | [`paint`] | bold and colour on a terminal |
//! | [`manual`] | the blocks of `docs/man` that are made from tables |

pub mod guard;
pub mod manual;
mod overhear;
pub mod paint;
pub mod plays;
pub mod programs;
pub mod record;
pub mod relay;
pub mod report;
pub mod school;
pub mod scratch;
pub mod script;
pub mod sim;
pub mod stage;
pub mod tell;
