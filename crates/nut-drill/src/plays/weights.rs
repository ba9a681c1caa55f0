//! The weights: a UPS that does not feed the central host dies; what it feeds stops, the central host stays.

use super::{Performance, PlayError};
use crate::school::watched;
use crate::script::Script;
use crate::sim::{BatteryChange, Event, LowBattery, Mains};
use std::time::Duration;

/// Mains fails for paris alone, then its battery runs low.
pub(super) fn script() -> Script {
    Script::new()
        .at(
            Duration::ZERO,
            "Mains fails for paris",
            "paris feeds web, and counts 1 supply for central, which needs 3 and has 5.",
            [("paris", Event::Mains(Mains::Off))],
        )
        .at(
            Duration::from_secs(2),
            "The battery of paris runs low",
            "central has 4 supplies left and must stay. web has lost its only one:\n\
             as a secondary it waits for a primary to force the shutdown (6 s);\n\
             nobody does, so it stops by itself.",
            [("paris", Event::Battery(BatteryChange::Low(LowBattery::Now)))],
        )
}

impl Performance {
    pub(super) async fn weights(&mut self) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        let follows = [
            ("ONBATT of paris was told on central and web", "on battery"),
            ("LOWBATT of paris was told on central and web", "battery is low"),
        ];
        for (cue, (claim, words)) in script().into_cues().zip(follows) {
            self.cue(cue).await;
            let who = watched().filter(|one| one.ups == "paris");
            self.expect_each(claim, from, who, |entry, watched| watched.is_notice(entry, words)).await?;
        }
        self.expect("web waited for a primary, then ran its SHUTDOWNCMD by itself", from, |entry| {
            entry.is_script("web", "SHUTDOWNCMD", None)
        })
        .await?;
        self.listen_until(nut_os::clock::now().after(Duration::from_secs(2))).await;
        self.never("the central host stopped", from, |entry| {
            entry.is_script("central", "SHUTDOWNCMD", None)
        })?;
        self.never("a shutdown was forced", from, |entry| {
            entry.is_line("central", "upsd", "set FSD on UPS")
        })?;
        self.never("mail, which nicole feeds, stopped", from, |entry| {
            entry.is_script("mail", "SHUTDOWNCMD", None)
        })?;
        for (host, monitor) in
            [("central", Some(&self.school.monitor)), ("mail", self.school.monitors.first())]
        {
            if !monitor.is_some_and(|monitor| monitor.runs()) {
                return Err(PlayError::Wrong(format!("upsmon on {host} ended")));
            }
        }
        self.claim("central stays: nicole and lindsay count 4, it needs 3", None);
        self.claim("mail stays: its UPS has mains", None);
        Ok(())
    }
}
