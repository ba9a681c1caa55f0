//! The outage: mains fails for all and does not return in time; everything stops in order, and the power is cut.

use super::{Performance, PlayError, in_time};
use crate::record::What;
use crate::school::{SERVERS, TIMER, UPSES, power_down_flag, watched};
use crate::script::{Cue, Script};
use crate::sim::{BatteryChange, Deed, Event, LowBattery, Mains, ShutdownCommand};
use nix::sys::signal::Signal;
use nut_proto::Moment;
use std::time::Duration;

/// Mains fails; later the battery that feeds the central host runs low; when all is off, mains is back.
pub(super) fn script() -> Script {
    let all = |mains| UPSES.iter().map(move |ups| (ups.name, Event::Mains(mains)));
    let low = BatteryChange::Low(LowBattery::Now);
    Script::new()
        .at(
            Duration::ZERO,
            "Mains fails",
            "The UPSes say so at once, and their drivers hear it; every upsmon\n\
             asks upsd once a second. On battery is no reason to stop yet:\n\
             upssched waits 3 s (30 s in the school) before a script runs.",
            all(Mains::Off),
        )
        .at(
            TIMER + Duration::from_secs(2),
            "The battery of nicole runs low",
            "nicole feeds central, which needs 3 supplies and has 2 without it:\n\
             it forces the shutdown (FSD). The servers stop first. central waits\n\
             until they are logged out (6 s at most), then stops itself.",
            [("nicole", Event::Battery(low))],
        )
}

impl Performance {
    pub(super) async fn outage(&mut self) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        for (nth, cue) in script().into_cues().enumerate() {
            self.cue(cue).await;
            if nth == 0 {
                self.everybody_knows(from).await?;
            } else {
                self.passed("the battery of nicole ran low", [nut_os::clock::now()]);
            }
        }
        let last_server = self.servers_stop(from).await?;
        self.central_stops(from, last_server).await?;
        self.power_is_cut(from).await?;
        self.power_returns(from).await
    }

    async fn everybody_knows(&mut self, from: usize) -> Result<(), PlayError> {
        let names = || UPSES.iter().map(|ups| ups.name);
        let heard = self
            .expect_each("each driver heard its UPS lose mains", from, names(), |entry, ups| {
                entry.is_status(ups, "OB")
            })
            .await?;
        self.passed("the drivers knew", heard);
        let claim = "ONBATT was told on each host that watches: central, mail, web";
        let noticed = self
            .expect_each(claim, from, watched(), |entry, watched| watched.is_notice(entry, "on battery"))
            .await?;
        self.passed("every host had told its people (ONBATT)", noticed);
        let claim =
            format!("the timers' script ran for each UPS after {} s, and not before", TIMER.as_secs());
        let ran = self
            .expect_each(&claim, from, names(), |entry, ups| {
                entry.is_script("central", "CMDSCRIPT", Some(&format!("onbatt-{ups}")))
            })
            .await?;
        // The timer runs from the notice, and the notice comes after mains failed.
        if let (Some(start), Some(first)) = (self.start, ran.iter().min())
            && first.since(start) < TIMER
        {
            let early = first.since(start);
            return Err(PlayError::Wrong(format!("a timer's script ran after {early:?}, before its time")));
        }
        self.passed("the timers' scripts had run", ran);
        Ok(())
    }

    /// The servers stop; gives the moment when the last one was down.
    async fn servers_stop(&mut self, from: usize) -> Result<Moment, PlayError> {
        let low = self
            .expect("LOWBATT of nicole was told on central", from, |entry| {
                watched().any(|one| {
                    (one.host, one.ups) == ("central", "nicole") && one.is_notice(entry, "battery is low")
                })
            })
            .await?;
        self.passed("central knew of the low battery", [low.at]);
        let names = UPSES.iter().map(|ups| ups.name);
        let forced = self
            .expect_each("central forced the shutdown of each UPS (FSD)", from, names, |entry, ups| {
                entry.is_line("central", "upsd", &format!("set FSD on UPS [{ups}]"))
            })
            .await?;
        self.passed("the shutdown was forced (FSD)", forced);
        let servers = || SERVERS.iter().map(|server| server.name);
        self.expect_each(
            "mail and web heard of it",
            from,
            watched().filter(|one| one.host != "central"),
            |entry, one| one.is_notice(entry, "forced shutdown in progress"),
        )
        .await?;
        let mut down = self
            .expect_each("mail and web ran their SHUTDOWNCMD", from, servers(), |entry, server| {
                entry.is_script(server, "SHUTDOWNCMD", None)
            })
            .await?;
        down.extend(
            self.expect_each("their upsmon ended", from, servers(), |entry, server| {
                entry.host == *server
                    && matches!(&entry.what, What::Ended { program, .. } if program == "upsmon")
            })
            .await?,
        );
        let last = down.iter().max().copied().unwrap_or(Moment::START);
        self.passed("the servers were down", [last]);
        for server in &SERVERS {
            self.logged_out(server.ups, &server.address.to_string()).await?;
        }
        self.claim("upsd counts them out", None);
        Ok(last)
    }

    /// Waits until `upsd` lists no client of this address at this UPS.
    async fn logged_out(&mut self, ups: &str, address: &str) -> Result<(), PlayError> {
        let target = format!("{ups}@127.0.0.1:{}", self.school.port);
        let stage = &self.school.stage;
        let gone = async {
            loop {
                let (code, clients, _) = stage.run(&self.school.central, "upsc", &["-c", &target]).await?;
                if code == Some(0) && !clients.lines().any(|client| client == address) {
                    return Ok::<(), PlayError>(());
                }
                crate::stage::turn().await;
            }
        };
        in_time(&format!("{address} is logged out of {ups}"), gone).await?
    }

    async fn central_stops(&mut self, from: usize, last_server: Moment) -> Result<(), PlayError> {
        let own = self
            .wait("the central host ran its own SHUTDOWNCMD", from, |entry| {
                entry.is_script("central", "SHUTDOWNCMD", None)
            })
            .await?;
        self.never("the central host was tired of waiting", from, |entry| {
            entry.is_line("central", "upsmon", "Host sync timer expired")
        })?;
        if own.at < last_server {
            return Err(PlayError::Wrong("the central host stopped before the servers".to_owned()));
        }
        self.claim("central waited for them, then ran its own SHUTDOWNCMD, last of all", Some(own.at));
        self.passed("the central host was down", [own.at]);
        if !matches!(&own.what, What::Told { args, .. } if args.first().is_some_and(|arg| arg == "upsmon-shutdown-file"))
        {
            return Err(PlayError::Wrong("POWERDOWNFLAG was not there when SHUTDOWNCMD ran".to_owned()));
        }
        self.claim("POWERDOWNFLAG was on disk by then", Some(own.at));
        Ok(())
    }

    /// What the central host's last script does: `upsmon -K`, then `upsdrvctl shutdown`.
    async fn power_is_cut(&mut self, from: usize) -> Result<(), PlayError> {
        self.announce(
            "The power is cut",
            "The operating system stops all programs and runs its last script:\n\
             upsmon -K sees POWERDOWNFLAG, so upsdrvctl shutdown has the UPSes\n\
             cut their power, in sdorder, until mains is back.",
        )
        .await;
        for running in self.school.drivers.iter().chain([&self.school.upsd, &self.school.monitor]) {
            running.signal(Signal::SIGTERM)?;
        }
        for running in self.school.drivers.iter_mut().chain([&mut self.school.upsd, &mut self.school.monitor])
        {
            in_time(&format!("{} ends when told to", running.name()), running.ended()).await?;
        }
        let central = self.school.central.clone();
        let asked = self.school.stage.run(&central, "upsmon", &["-K"]);
        let (code, _, _) = in_time("upsmon -K ends", asked).await??;
        if code != Some(0) {
            let flag = power_down_flag(&central);
            return Err(PlayError::Wrong(format!(
                "upsmon -K does not see {} (exit code {code:?})",
                flag.display()
            )));
        }
        self.say("central", "upsmon -K says: cut the power").await;
        let mut control = self.school.stage.start(&central, "upsdrvctl", &["shutdown"])?;
        let mut order: Vec<_> = UPSES.iter().collect();
        order.sort_by_key(|ups| ups.shutdown_order);
        let names: Vec<&str> = order.iter().map(|ups| ups.name).collect();
        let claim = format!("the drivers gave the order to cut the power in sdorder: {}", names.join(", "));
        let accepted = self
            .expect_each(&claim, from, names, |entry, ups| {
                matches!(entry.deed(ups), Some(Deed::ShutdownAccepted { command: ShutdownCommand::Soft, .. }))
            })
            .await?;
        if !accepted.is_sorted() {
            return Err(PlayError::Wrong("a UPS was told to cut its power before its turn".to_owned()));
        }
        let code = in_time("upsdrvctl shutdown ends", control.ended()).await?;
        if code != Some(0) {
            return Err(PlayError::Wrong(format!("upsdrvctl shutdown ended with exit code {code:?}")));
        }
        self.passed("each UPS had been told to cut its power", accepted);
        let names = UPSES.iter().map(|ups| ups.name);
        let off = self
            .expect_each("each UPS cut its power", from, names, |entry, ups| {
                matches!(entry.deed(ups), Some(Deed::LoadOff { .. }))
            })
            .await?;
        self.passed("the power was cut", off);
        Ok(())
    }

    async fn power_returns(&mut self, from: usize) -> Result<(), PlayError> {
        let events = UPSES.iter().map(|ups| (ups.name.to_owned(), Event::Mains(Mains::On))).collect();
        let (words, meaning) =
            ("Mains is back", "The UPSes switch their loads on again by themselves, as they were told.");
        self.cue(Cue { after: Duration::ZERO, words, meaning, events }).await;
        let names = UPSES.iter().map(|ups| ups.name);
        self.expect_each(
            "each UPS switched its load on again when mains was back",
            from,
            names,
            |entry, ups| matches!(entry.deed(ups), Some(Deed::LoadOn { .. })),
        )
        .await?;
        Ok(())
    }
}
