//! The rehearsals: what is done to the school, and what must follow.

mod blip;
mod outage;
mod weights;

use crate::paint::Paint;
use crate::record::{Entry, Missed, What};
use crate::report::{Claim, heading, line, told};
use crate::school::{STRANGER, School, SchoolError};
use crate::script::{Cue, Script};
use crate::stage::StageError;
use nut_os::options::say;
use nut_proto::Moment;
use std::fmt::Display;
use std::time::Duration;
use thiserror::Error;

/// Everything that follows at once must follow within this, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);

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

/// A rehearsal being played.
#[derive(Debug)]
pub struct Performance {
    school: School,
    start: Option<Moment>,
    aloud: Option<Paint>,
    shown: usize,
    claims: Vec<Claim>,
    milestones: Vec<(String, Moment)>,
}

impl Play {
    /// All of them, the one that is played unless another is named first.
    pub const ALL: [Self; 3] = [Self::Outage, Self::Blip, Self::Weights];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Blip => "blip",
            Self::Weights => "weights",
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
        match self {
            Self::Outage => outage::script(),
            Self::Blip => blip::script(),
            Self::Weights => weights::script(),
        }
    }
}

impl Performance {
    /// A performance on a set-up that stands, without a word.
    #[must_use]
    pub fn new(school: School) -> Self {
        let shown = school.stage.record.mark();
        Self { school, start: None, aloud: None, shown, claims: Vec::new(), milestones: Vec::new() }
    }

    /// Prints the timeline to standard output while it plays.
    #[must_use]
    pub fn aloud(mut self, paint: Paint) -> Self {
        self.aloud = Some(paint);
        self
    }

    /// Plays, and gives what had to happen and did.
    ///
    /// # Errors
    /// See [`PlayError`]: the first thing that was not as it must be.
    pub async fn play(&mut self, play: Play) -> Result<(), PlayError> {
        self.stranger().await?;
        match play {
            Play::Outage => self.outage().await,
            Play::Blip => self.blip().await,
            Play::Weights => self.weights().await,
        }
    }

    /// What had to happen and did, so far.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// The steps that count, in order.
    #[must_use]
    pub fn milestones(&self) -> &[(String, Moment)] {
        &self.milestones
    }

    /// When mains failed.
    #[must_use]
    pub fn start(&self) -> Option<Moment> {
        self.start
    }

    /// The set-up, to look at, to keep or to drop.
    #[must_use]
    pub fn into_school(self) -> School {
        self.school
    }

    /// The last lines that the programs wrote, for who must find out what went wrong.
    #[must_use]
    pub fn last_words(&self, most: usize) -> Vec<String> {
        let lines = self.school.stage.record.entries().iter().rev().filter_map(|entry| match &entry.what {
            What::Line { program, text } => Some(format!("{} {program}: {text}", entry.host)),
            _ => None,
        });
        let mut lines: Vec<String> = lines.take(most).collect();
        lines.reverse();
        lines
    }

    /// Someone whom the ACL does not name learns nothing.
    async fn stranger(&mut self) -> Result<(), PlayError> {
        let meaning = "The ACL admits this host and 127.0.1.0/24. The stranger is neither.";
        self.announce("A stranger asks", meaning).await;
        let (host, relay) = &self.school.stranger;
        let address = format!("127.0.0.1:{}", relay.port());
        let args = ["-l", address.as_str()];
        let asked = self.school.stage.run(host, "upsc", &args);
        let (code, output, _) = in_time("upsc -l ends", asked).await??;
        if code == Some(0) || !output.is_empty() {
            return Err(PlayError::Wrong(format!("{STRANGER} is told {output:?}, but no ACL admits it")));
        }
        let turned_away = format!("Rejecting TCP connection from {STRANGER}");
        let claim = format!("upsd told nothing to {STRANGER}, whom no ACL admits");
        self.expect(&claim, 0, |entry| entry.is_line("central", "upsd", &turned_away)).await?;
        Ok(())
    }

    /// Waits for one thing that must happen, and puts it on the list.
    async fn expect(
        &mut self,
        claim: &str,
        from: usize,
        is: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, PlayError> {
        let entry = self.wait(claim, from, is).await?;
        self.claim(claim, Some(entry.at));
        Ok(entry)
    }

    /// Waits for what must happen to each of several, and puts it on the list as one; gives the moments.
    async fn expect_each<T: Display>(
        &mut self,
        claim: &str,
        from: usize,
        whom: impl IntoIterator<Item = T>,
        is: impl Fn(&Entry, &T) -> bool,
    ) -> Result<Vec<Moment>, PlayError> {
        let mut moments = Vec::new();
        for one in whom {
            let entry =
                self.wait(&format!("{claim} (missing: {one})"), from, |entry| is(entry, &one)).await?;
            moments.push(entry.at);
        }
        self.claim(claim, moments.iter().max().copied());
        Ok(moments)
    }

    /// Waits, showing what happens meanwhile.
    async fn wait(
        &mut self,
        claim: &str,
        from: usize,
        is: impl Fn(&Entry) -> bool,
    ) -> Result<Entry, PlayError> {
        let deadline = nut_os::clock::now().after(SOON);
        let mut next = from;
        loop {
            if let Some(entry) = self.school.stage.record.find(next, &is).cloned() {
                return Ok(entry);
            }
            next = self.school.stage.record.mark();
            if !self.take(deadline).await {
                return Err(Missed { claim: claim.to_owned(), within: SOON }.into());
            }
        }
    }

    /// Something that must not have happened behind the mark.
    fn never(&self, what: &str, from: usize, is: impl FnMut(&Entry) -> bool) -> Result<(), PlayError> {
        match self.school.stage.record.find(from, is) {
            None => Ok(()),
            Some(entry) => {
                let shown = told(entry).unwrap_or_else(|| format!("{:?}", entry.what));
                Err(PlayError::Wrong(format!("{what}, but must not: {}: {shown}", entry.host)))
            }
        }
    }

    /// The last of these moments was the end of a step.
    fn passed(&mut self, what: &str, moments: impl IntoIterator<Item = Moment>) {
        if let Some(last) = moments.into_iter().max() {
            self.milestones.push((what.to_owned(), last));
        }
    }

    fn claim(&mut self, text: &str, at: Option<Moment>) {
        let at = at.filter(|_| self.start.is_some());
        self.claims.push(Claim { text: text.to_owned(), at });
    }

    /// Does what the cue says, once its time has come.
    async fn cue(&mut self, cue: Cue) {
        let start = *self.start.get_or_insert_with(nut_os::clock::now);
        self.listen_until(start.after(cue.after)).await;
        self.announce(cue.words, cue.meaning).await;
        for (ups, event) in cue.events {
            if let Some(sim) = self.school.sim(&ups) {
                sim.send(event).await;
            }
        }
    }

    /// Takes in what happens until then, showing it.
    async fn listen_until(&mut self, end: Moment) {
        while self.take(end).await {}
    }

    /// Takes in what happens next, with all that is there by then, and shows it; or says that the time is over first.
    async fn take(&mut self, deadline: Moment) -> bool {
        let taken = self.school.stage.record.take_until(deadline).await;
        self.school.stage.record.listen(Duration::ZERO).await;
        self.show();
        taken
    }

    /// Begins a part of the timeline.
    async fn announce(&mut self, words: &'static str, meaning: &'static str) {
        self.say("*", words).await;
        if let Some(paint) = self.aloud {
            let since = self.start.map(|start| nut_os::clock::now().since(start));
            say(&heading(paint, since, words, meaning));
        }
    }

    /// Says what we do on a host.
    async fn say(&mut self, host: &str, text: &str) {
        // What has happened before is told before.
        self.school.stage.record.listen(Duration::ZERO).await;
        self.school.stage.record.note(host, What::Cue(text.to_owned()));
        self.show();
    }

    /// Shows what was learned since the last time, in order of time.
    fn show(&mut self) {
        let mut fresh: Vec<&Entry> = self.school.stage.record.entries().iter().skip(self.shown).collect();
        fresh.sort_by_key(|entry| entry.at);
        if let Some(paint) = self.aloud {
            for entry in fresh {
                if let Some(text) = told(entry) {
                    let since = self.start.map(|start| entry.at.since(start));
                    say(&line(paint, since, entry, &text));
                }
            }
        }
        self.shown = self.school.stage.record.mark();
    }
}

/// Waits for something that gives no entry, but not for ever.
async fn in_time<T>(what: &str, waited_for: impl Future<Output = T>) -> Result<T, Missed> {
    tokio::select! {
        done = waited_for => Ok(done),
        () = nut_os::clock::until(nut_os::clock::now().after(SOON)) => {
            Err(Missed { claim: what.to_owned(), within: SOON })
        }
    }
}
