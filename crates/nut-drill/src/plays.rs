//! The rehearsals: what is done to the school, and what must follow.

use crate::record::{Entry, Missed, What};
use crate::report::{Claim, line, told};
use crate::school::{SERVERS, STRANGER, School, SchoolError, TIMER, UPSES, power_down_flag};
use crate::script::{Cue, Script};
use crate::sim::{BatteryChange, Deed, Event, LowBattery, Mains, ShutdownCommand};
use crate::stage::StageError;
use nix::sys::signal::Signal;
use nut_proto::Moment;
use std::io::Write as _;
use std::time::Duration;
use thiserror::Error;

/// Everything that follows at once must follow within this, also on a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// A rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Play {
    /// Mains fails for all; the battery that feeds the central host runs low; everything stops in order.
    Outage,
    /// Mains fails for a moment; nobody stops.
    Blip,
    /// A UPS that does not feed the central host dies; only what it feeds stops.
    Weights,
}

/// Why a rehearsal did not end as it must.
#[derive(Debug, Error)]
pub enum PlayError {
    /// The set-up did not stand.
    #[error(transparent)]
    School(#[from] SchoolError),
    /// Something did not happen.
    #[error(transparent)]
    Missed(#[from] Missed),
    /// A program could not be started or signalled.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// Something happened that must not.
    #[error("{0}")]
    Wrong(String),
}

/// A rehearsal being played: prints the timeline as it goes.
#[derive(Debug)]
pub struct Performance {
    school: School,
    start: Option<Moment>,
    printed: usize,
    claims: Vec<Claim>,
    milestones: Vec<(&'static str, Moment)>,
}

impl Play {
    /// The play of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "outage" => Some(Self::Outage),
            "blip" => Some(Self::Blip),
            "weights" => Some(Self::Weights),
            _ => None,
        }
    }

    /// What it is about, in a line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::Outage => "mains fails for the whole school, and does not return in time",
            Self::Blip => "mains fails for a moment; nobody may stop",
            Self::Weights => "a UPS that does not feed the central host dies; the central host must stay",
        }
    }

    /// What is done to the UPSes, and when after the beginning.
    #[must_use]
    pub fn script(self) -> Script {
        let all = |mains| UPSES.iter().map(move |ups| (ups.name, Event::Mains(mains)));
        let low = |ups| (ups, Event::Battery(BatteryChange::Low(LowBattery::Now)));
        match self {
            Self::Outage => Script::new().at(Duration::ZERO, "mains fails", all(Mains::Off)).at(
                TIMER + Duration::from_secs(2),
                "the battery of nicole runs low",
                [low("nicole")],
            ),
            Self::Blip => Script::new().at(Duration::ZERO, "mains fails", all(Mains::Off)).at(
                Duration::from_millis(1500),
                "mains is back",
                all(Mains::On),
            ),
            Self::Weights => Script::new()
                .at(Duration::ZERO, "mains fails for paris", [("paris", Event::Mains(Mains::Off))])
                .at(Duration::from_secs(2), "the battery of paris runs low", [low("paris")]),
        }
    }
}

impl Performance {
    /// A performance on a set-up that stands.
    #[must_use]
    pub fn new(school: School) -> Self {
        let printed = school.stage.record.mark();
        Self { school, start: None, printed, claims: Vec::new(), milestones: Vec::new() }
    }

    /// Plays, and gives what had to happen and did.
    ///
    /// # Errors
    /// See [`PlayError`]: the first thing that was not as it must be.
    pub async fn play(&mut self, play: Play) -> Result<(), PlayError> {
        self.stranger().await?;
        match play {
            Play::Outage => self.outage(play.script()).await,
            Play::Blip => self.blip(play.script()).await,
            Play::Weights => self.weights(play.script()).await,
        }
    }

    /// What had to happen and did, so far.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// What took how long: the steps that count, in order.
    #[must_use]
    pub fn milestones(&self) -> &[(&'static str, Moment)] {
        &self.milestones
    }

    /// When mains failed.
    #[must_use]
    pub fn start(&self) -> Option<Moment> {
        self.start
    }

    /// The set-up, to keep or to drop.
    #[must_use]
    pub fn into_school(self) -> School {
        self.school
    }

    /// Someone whom the ACL does not name learns nothing.
    async fn stranger(&mut self) -> Result<(), PlayError> {
        let (host, relay) = &self.school.stranger;
        let address = format!("127.0.0.1:{}", relay.port());
        let (code, output, _) = self.school.stage.run(host, "upsc", &["-l", &address]).await?;
        if code == Some(0) || !output.is_empty() {
            return Err(PlayError::Wrong(format!("{STRANGER} is told {output:?}, but no ACL admits it")));
        }
        let turned_away = format!("Rejecting TCP connection from {STRANGER}");
        self.expect(&format!("a client from {STRANGER}, whom no ACL admits, learns nothing"), 0, |entry| {
            entry.is_line("central", "upsd", &turned_away)
        })
        .await?;
        Ok(())
    }

    async fn outage(&mut self, script: Script) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        let mut cues = script.into_cues();
        let mains = cues.next().ok_or_else(empty)?;
        let low = cues.next().ok_or_else(empty)?;
        self.cue(mains).await;
        let mut noticed = Vec::new();
        for ups in &UPSES {
            noticed.push(self.notice("central", ups.name, "on battery", from).await?.at);
        }
        for server in &SERVERS {
            noticed.push(self.notice(server.name, server.ups, "on battery", from).await?.at);
        }
        self.passed("all hosts know", noticed);
        let mut scripts = Vec::new();
        for ups in &UPSES {
            let timer = format!("onbatt-{}", ups.name);
            let ran = self
                .expect(&format!("the timer's script ran for {} after its delay", ups.name), from, |entry| {
                    entry.is_script("central", "CMDSCRIPT", Some(&timer))
                })
                .await?;
            self.not_before(&ran, TIMER, "the timer's script")?;
            scripts.push(ran.at);
        }
        self.passed("the timers' scripts have run", scripts);
        self.cue(low).await;
        let mut forced = Vec::new();
        self.notice("central", "nicole", "battery is low", from).await?;
        for ups in &UPSES {
            let text = format!("set FSD on UPS [{}]", ups.name);
            let claim = format!("the central host forced the shutdown of {}", ups.name);
            let set = self.expect(&claim, from, |entry| entry.is_line("central", "upsd", &text)).await?;
            forced.push(set.at);
        }
        self.passed("the shutdown is forced", forced);
        let mut last_server = Moment::START;
        for server in &SERVERS {
            self.notice(server.name, server.ups, "forced shutdown in progress", from).await?;
            let down = self
                .expect(&format!("{} ran its SHUTDOWNCMD", server.name), from, |entry| {
                    entry.is_script(server.name, "SHUTDOWNCMD", None)
                })
                .await?;
            let out = self
                .expect(&format!("{}'s upsmon ended, and with it its login", server.name), from, |entry| {
                    entry.host == server.name
                        && matches!(&entry.what, What::Ended { program, .. } if program == "upsmon")
                })
                .await?;
            last_server = last_server.max(down.at).max(out.at);
        }
        let own = self
            .expect("the central host ran its own SHUTDOWNCMD", from, |entry| {
                entry.is_script("central", "SHUTDOWNCMD", None)
            })
            .await?;
        if own.at < last_server {
            return Err(PlayError::Wrong("the central host stopped before the servers".to_owned()));
        }
        self.passed("the servers are down", [last_server]);
        self.passed("the central host is down", [own.at]);
        self.claim("it had waited for the servers, and stopped last", None);
        if !matches!(&own.what, What::Told { args, .. } if args.first().is_some_and(|arg| arg == "upsmon-shutdown-file"))
        {
            return Err(PlayError::Wrong("POWERDOWNFLAG was not there when SHUTDOWNCMD ran".to_owned()));
        }
        self.claim("POWERDOWNFLAG was on disk before", None);
        self.power_down(from).await
    }

    /// What the central host's last script does: `upsmon -K`, then `upsdrvctl shutdown`.
    async fn power_down(&mut self, from: usize) -> Result<(), PlayError> {
        self.say("the operating system of the central host stops all programs").await;
        for running in self.school.drivers.iter().chain([&self.school.upsd, &self.school.monitor]) {
            running.signal(Signal::SIGTERM)?;
        }
        for running in self.school.drivers.iter_mut().chain([&mut self.school.upsd]) {
            running.ended().await;
        }
        let central = self.school.central.clone();
        let (code, _, _) = self.school.stage.run(&central, "upsmon", &["-K"]).await?;
        if code != Some(0) {
            let flag = power_down_flag(&central);
            return Err(PlayError::Wrong(format!(
                "upsmon -K does not see {} (exit code {code:?})",
                flag.display()
            )));
        }
        self.say("upsmon -K says yes: the last script calls upsdrvctl shutdown").await;
        let mut control = self.school.stage.start(&central, "upsdrvctl", &["shutdown"])?;
        let mut order: Vec<_> = UPSES.iter().collect();
        order.sort_by_key(|ups| ups.shutdown_order);
        let mut before = Moment::START;
        for ups in order {
            let accepted = self
                .expect(
                    &format!("{} was told to cut its power (sdorder {})", ups.name, ups.shutdown_order),
                    from,
                    |entry| {
                        matches!(
                            entry.deed(ups.name),
                            Some(Deed::ShutdownAccepted { command: ShutdownCommand::Soft, .. })
                        )
                    },
                )
                .await?;
            if accepted.at < before {
                return Err(PlayError::Wrong(format!("{} was told before its turn", ups.name)));
            }
            before = accepted.at;
        }
        self.passed("the last UPS is told to cut its power", [before]);
        let code = control.ended().await;
        if code != Some(0) {
            return Err(PlayError::Wrong(format!("upsdrvctl shutdown ended with exit code {code:?}")));
        }
        self.claim("in sdorder, one after the other", None);
        for ups in &UPSES {
            self.expect(&format!("{} cut its power", ups.name), from, |entry| {
                matches!(entry.deed(ups.name), Some(Deed::LoadOff { .. }))
            })
            .await?;
        }
        let mains_back = UPSES.iter().map(|ups| (ups.name.to_owned(), Event::Mains(Mains::On))).collect();
        self.cue(Cue { after: Duration::ZERO, words: "mains is back".to_owned(), events: mains_back }).await;
        for ups in &UPSES {
            self.expect(&format!("{} switched its load on again", ups.name), from, |entry| {
                matches!(entry.deed(ups.name), Some(Deed::LoadOn { .. }))
            })
            .await?;
        }
        Ok(())
    }

    async fn blip(&mut self, script: Script) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        for cue in script.into_cues() {
            let word = if cue.after.is_zero() { "on battery" } else { "on line power" };
            self.cue(cue).await;
            for ups in &UPSES {
                self.notice("central", ups.name, word, from).await?;
            }
            for server in &SERVERS {
                self.notice(server.name, server.ups, word, from).await?;
            }
        }
        for ups in &UPSES {
            let text = format!("Cancelling timer: onbatt-{}", ups.name);
            self.expect(&format!("the timer of {} was cancelled", ups.name), from, |entry| {
                entry.is_line("central", "upsmon", &text)
            })
            .await?;
        }
        self.listen(TIMER + Duration::from_secs(2)).await;
        self.never("a timer's script ran", from, |entry| entry.is_script("central", "CMDSCRIPT", None))?;
        self.never(
            "a host stopped",
            from,
            |entry| matches!(&entry.what, What::Told { script, .. } if script == "SHUTDOWNCMD"),
        )?;
        self.claim("no script ran and nobody stopped, well beyond the timer's delay", None);
        self.all_monitors_run()
    }

    async fn weights(&mut self, script: Script) -> Result<(), PlayError> {
        let from = self.school.stage.record.mark();
        for cue in script.into_cues() {
            self.cue(cue).await;
            self.notice("central", "paris", "on battery", from).await?;
        }
        self.notice("central", "paris", "battery is low", from).await?;
        self.expect("web, which paris feeds, waited for a primary, then stopped by itself", from, |entry| {
            entry.is_script("web", "SHUTDOWNCMD", None)
        })
        .await?;
        self.listen(Duration::from_secs(2)).await;
        self.never("the central host stopped", from, |entry| {
            entry.is_script("central", "SHUTDOWNCMD", None)
        })?;
        self.never("a shutdown was forced", from, |entry| {
            entry.is_line("central", "upsd", "set FSD on UPS")
        })?;
        self.never("mail, which nicole feeds, stopped", from, |entry| {
            entry.is_script("mail", "SHUTDOWNCMD", None)
        })?;
        self.claim("the central host stays: nicole and lindsay count 4, it needs 3", None);
        self.claim("mail stays: its UPS has mains", None);
        if !self.school.monitor.runs() {
            return Err(PlayError::Wrong("the central upsmon ended".to_owned()));
        }
        Ok(())
    }

    fn all_monitors_run(&self) -> Result<(), PlayError> {
        let all = std::iter::once(&self.school.monitor).chain(&self.school.monitors);
        if all.into_iter().all(crate::stage::Running::runs) {
            return Ok(());
        }
        Err(PlayError::Wrong("an upsmon ended".to_owned()))
    }

    /// Waits for a notice of NUT's wording on a host.
    async fn notice(&mut self, host: &str, ups: &str, words: &str, from: usize) -> Result<Entry, PlayError> {
        let name = format!("{ups}@");
        self.expect(&format!("{host} said of {ups}: {words}"), from, |entry| {
            entry.is_line(host, "upsmon", words) && entry.is_line(host, "upsmon", &name)
        })
        .await
    }

    async fn expect(
        &mut self,
        claim: &str,
        from: usize,
        is: impl FnMut(&Entry) -> bool,
    ) -> Result<Entry, PlayError> {
        let found = self.school.stage.record.wait(from, SOON, claim, is).await;
        self.print();
        let entry = found?;
        self.claim(claim, Some(entry.at));
        Ok(entry)
    }

    fn never(&self, what: &str, from: usize, is: impl FnMut(&Entry) -> bool) -> Result<(), PlayError> {
        match self.school.stage.record.find(from, is) {
            None => Ok(()),
            Some(entry) => Err(PlayError::Wrong(format!("{what}, but must not: {:?}", entry.what))),
        }
    }

    fn not_before(&self, entry: &Entry, after: Duration, what: &str) -> Result<(), PlayError> {
        // The script runs `after` the notice, and the notice comes after mains failed.
        match self.start {
            Some(start) if entry.at.since(start) < after => Err(PlayError::Wrong(format!(
                "{what} ran after {:?}, before its time",
                entry.at.since(start)
            ))),
            _ => Ok(()),
        }
    }

    /// The last of these moments was the end of a step.
    fn passed(&mut self, what: &'static str, moments: impl IntoIterator<Item = Moment>) {
        if let Some(last) = moments.into_iter().max() {
            self.milestones.push((what, last));
        }
    }

    fn claim(&mut self, text: &str, at: Option<Moment>) {
        let at = at.filter(|_| self.start.is_some());
        self.claims.push(Claim { text: text.to_owned(), at });
    }

    /// Does what the cue says, once its time has come.
    async fn cue(&mut self, cue: Cue) {
        let start = *self.start.get_or_insert_with(nut_os::clock::now);
        let due = start.after(cue.after);
        let wait = due.since(nut_os::clock::now());
        self.listen(wait).await;
        self.say(&cue.words).await;
        for (ups, event) in cue.events {
            if let Some(sim) = self.school.sim(&ups) {
                sim.send(event).await;
            }
        }
    }

    /// Takes in what happens for so long, printing as it comes.
    async fn listen(&mut self, how_long: Duration) {
        let end = nut_os::clock::now().after(how_long);
        loop {
            let rest = end.since(nut_os::clock::now());
            if rest.is_zero() {
                break;
            }
            self.school.stage.record.listen(rest.min(Duration::from_millis(250))).await;
            self.print();
        }
    }

    async fn say(&mut self, text: &str) {
        // What has happened before is told before.
        self.school.stage.record.listen(Duration::ZERO).await;
        self.school.stage.record.note("*", What::Cue(text.to_owned()));
        self.print();
    }

    /// Prints what was learned since the last time.
    fn print(&mut self) {
        let mut out = std::io::stdout().lock();
        for entry in self.school.stage.record.entries().iter().skip(self.printed) {
            if let Some(text) = told(entry) {
                let since = self.start.map(|start| entry.at.since(start));
                // Nobody reading any more (`| head`) is no reason to stop a rehearsal.
                let _ = writeln!(out, "{}", line(since, &entry.host, &text));
            }
        }
        self.printed = self.school.stage.record.mark();
    }
}

fn empty() -> PlayError {
    PlayError::Wrong("the script has too few cues".to_owned())
}
