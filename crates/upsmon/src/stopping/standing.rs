//! What people may know of a shutdown under way: how far it is, and which of its waits run.

use nut_conf::upsmon_conf::ShutdownExit;
use nut_proto::Moment;

use super::{Known, Stage, Stopping};
use crate::server::UpsId;
use crate::timer::{Timer, lasting};

impl Stopping {
    /// How far it is, in a line or more; `name` gives the name of a UPS.
    #[must_use]
    pub fn progress<'a>(&self, now: Moment, name: impl Fn(UpsId) -> &'a str) -> Vec<String> {
        match &self.stage {
            Stage::Syncing { secondaries, .. } => {
                let mut lines = vec!["FSD is set, and others are waited for:".to_owned()];
                lines.extend(secondaries.iter().map(|(ups, known)| {
                    let known = match known {
                        Known::Nothing => "FSD is being set".to_owned(),
                        Known::Asked => "they are being counted".to_owned(),
                        Known::Logins(count) => format!("{count} are logged in, this host among them"),
                    };
                    format!("{}: {known}", name(*ups))
                }));
                lines
            }
            Stage::Pausing { .. } => vec!["everybody has been told, and SHUTDOWNCMD follows".to_owned()],
            Stage::Ordered { at, carried_out, .. } => {
                let end = if *carried_out { "has ended well" } else { "has not ended yet" };
                vec![format!("SHUTDOWNCMD was ordered {} ago and {end}", lasting(now.since(*at)))]
            }
            Stage::Failed => Vec::new(),
        }
    }

    /// The waits that run.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        let then = "who is still logged in is not waited for any longer";
        match &self.stage {
            Stage::Syncing { .. } => {
                vec![Timer::more_than("HOSTSYNC", self.terms.host_sync, self.begun, then)]
            }
            Stage::Pausing { until } => vec![Timer {
                directive: "FINALDELAY",
                limit: self.terms.final_delay,
                ends: *until,
                then: "SHUTDOWNCMD is run",
            }],
            Stage::Ordered { at, next_sign: Some(_), .. } => match self.terms.exit {
                ShutdownExit::After(time) => {
                    vec![Timer::more_than("SHUTDOWNEXIT", time, *at, "upsmon ends")]
                }
                ShutdownExit::AtOnce | ShutdownExit::Never => Vec::new(),
            },
            Stage::Ordered { .. } | Stage::Failed => Vec::new(),
        }
    }
}
