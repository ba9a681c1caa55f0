//! The blip: mains fails for a moment; everybody is told, the timers are cancelled, nobody stops.

use super::{Performance, PlayError};
use crate::record::What;
use crate::school::{TIMER, UPSES, watched};
use crate::script::Script;
use crate::sim::{Event, Mains};
use crate::stage::Running;
use std::time::Duration;

/// Mains fails, and is back before the timer's time.
pub(super) fn script() -> Script {
    let all = |mains| UPSES.iter().map(move |ups| (ups.name, Event::Mains(mains)));
    Script::new()
        .at(
            Duration::ZERO,
            "Mains fails",
            "Every host is told (ONBATT); upssched starts a timer of 3 s for each UPS.",
            all(Mains::Off),
        )
        .at(
            Duration::from_millis(1500),
            "Mains is back",
            "Every host is told (ONLINE), and the timers are cancelled. Nothing may\n\
             follow when their time comes.",
            all(Mains::On),
        )
}

impl Performance {
    pub(super) async fn blip(&mut self) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        let follows = [
            ("ONBATT was told on each host that watches: central, mail, web", "on battery"),
            ("ONLINE was told on each host that watches", "on line power"),
        ];
        for (cue, (claim, words)) in script().into_cues().zip(follows) {
            self.cue(cue).await;
            self.expect_each(claim, from, watched(), |entry, watched| watched.is_notice(entry, words))
                .await?;
        }
        let names = UPSES.iter().map(|ups| ups.name);
        self.expect_each("the timer of each UPS was cancelled", from, names, |entry, ups| {
            entry.is_line("central", "upsmon", &format!("Cancelling timer: onbatt-{ups}"))
        })
        .await?;
        self.listen_until(nut_os::clock::now().after(TIMER + Duration::from_secs(2))).await;
        self.never("a timer's script ran", from, |entry| entry.is_script("central", "CMDSCRIPT", None))?;
        self.never(
            "a host stopped",
            from,
            |entry| matches!(&entry.what, What::Told { script, .. } if script == "SHUTDOWNCMD"),
        )?;
        let mut monitors = std::iter::once(&self.school.monitor).chain(&self.school.monitors);
        if !monitors.all(Running::runs) {
            return Err(PlayError::Wrong("an upsmon ended".to_owned()));
        }
        self.claim("no script ran and nobody stopped, also not well after the timers' time", None);
        Ok(())
    }
}
