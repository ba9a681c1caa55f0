//! What happened, when, to whom: the list that the timeline is printed from and that tests ask.

use crate::sim::Deed;
use nut_proto::Moment;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;

/// Most entries that wait to be taken in; a program that writes more waits, and a script that tells of itself, too. A
/// fleet of two hundred hosts has some 4000 before anybody looks.
const WAITING: usize = 16 * 1024;

/// Most entries kept. A rehearsal has some hundred; a program gone mad must not fill the memory.
const MAX_ENTRIES: usize = 100_000;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When we learned of it.
    pub at: Moment,
    /// The host or UPS it happened on.
    pub host: String,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum What {
    /// The rehearsal itself did something: mains cut, a cable pulled.
    Cue(String),
    /// A program wrote a line.
    Line {
        /// The program.
        program: String,
        /// The line, without its end.
        text: String,
    },
    /// A script ran and told us.
    Told {
        /// Which script: `SHUTDOWNCMD`, `CMDSCRIPT`, …
        script: String,
        /// Its arguments.
        args: Vec<String>,
        /// `NOTIFYTYPE` and `UPSNAME` as it saw them, if it did.
        notice: (Option<String>, Option<String>),
    },
    /// A UPS did something.
    Deed(Deed),
    /// The driver of a UPS published this `ups.status`.
    Status(String),
    /// A program ended.
    Ended {
        /// The program.
        program: String,
        /// Its exit code, if it was not killed.
        code: Option<i32>,
    },
}

impl Entry {
    /// Whether a program of this host wrote a line with this text in it.
    #[must_use]
    pub fn is_line(&self, host: &str, program: &str, part: &str) -> bool {
        matches!(&self.what, What::Line { program: by, text } if self.host == host && by == program && text.contains(part))
    }

    /// Whether a script of this host ran, with this first argument if one is named.
    #[must_use]
    pub fn is_script(&self, host: &str, script: &str, first: Option<&str>) -> bool {
        matches!(&self.what, What::Told { script: by, args, .. }
            if self.host == host && by == script && first.is_none_or(|first| args.first().is_some_and(|arg| arg == first)))
    }

    /// Whether the driver of this UPS published a status with this word in it.
    #[must_use]
    pub fn is_status(&self, ups: &str, word: &str) -> bool {
        matches!(&self.what, What::Status(status) if self.host == ups && status.split(' ').any(|one| one == word))
    }

    /// The deed of this UPS, if it is one.
    #[must_use]
    pub fn deed(&self, ups: &str) -> Option<&Deed> {
        match &self.what {
            What::Deed(deed) if self.host == ups => Some(deed),
            _ => None,
        }
    }
}

/// Something that had to happen did not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("within {within:?} it did not happen that {claim}")]
pub struct Missed {
    /// What had to happen.
    pub claim: String,
    /// How long we waited.
    pub within: Duration,
}

/// Where entries are handed in; one for each who has something to tell.
#[derive(Debug, Clone)]
pub struct Recorder(mpsc::Sender<Entry>);

impl Recorder {
    /// Hands in one entry; waits while too many are not taken in yet. Nobody listening any more is no fault.
    pub async fn tell(&self, host: &str, what: What) {
        let entry = Entry { at: nut_os::clock::now(), host: host.to_owned(), what };
        let _ = self.0.send(entry).await;
    }

    /// The same, with the moment at which it happened.
    pub async fn tell_at(&self, at: Moment, host: &str, what: What) {
        let _ = self.0.send(Entry { at, host: host.to_owned(), what }).await;
    }
}

/// All that happened so far.
#[derive(Debug)]
pub struct Record {
    entries: Vec<Entry>,
    incoming: mpsc::Receiver<Entry>,
}

impl Record {
    /// An empty record and where to hand in.
    #[must_use]
    pub fn new() -> (Self, Recorder) {
        let (outgoing, incoming) = mpsc::channel(WAITING);
        (Self { entries: Vec::new(), incoming }, Recorder(outgoing))
    }

    /// What has been taken in, in the order it was learned.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A mark: what comes from now on stands behind it.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.entries.len()
    }

    /// The first entry behind the mark of which `is` holds, taken in already.
    pub fn find(&self, from: usize, mut is: impl FnMut(&Entry) -> bool) -> Option<&Entry> {
        self.entries.iter().skip(from).find(|entry| is(entry))
    }

    /// Writes down something of our own.
    pub fn note(&mut self, host: &str, what: What) {
        self.keep(Entry { at: nut_os::clock::now(), host: host.to_owned(), what });
    }

    /// Waits until something has happened (behind the mark) of which `is` holds, and gives it.
    ///
    /// # Errors
    /// [`Missed`] when it has not happened within the time.
    pub async fn wait(
        &mut self,
        from: usize,
        within: Duration,
        claim: &str,
        mut is: impl FnMut(&Entry) -> bool,
    ) -> Result<Entry, Missed> {
        let deadline = nut_os::clock::now().after(within);
        let mut seen = from;
        loop {
            while let Some(entry) = self.entries.get(seen) {
                if is(entry) {
                    return Ok(entry.clone());
                }
                seen += 1;
            }
            if !self.take_until(deadline).await {
                return Err(Missed { claim: claim.to_owned(), within });
            }
        }
    }

    /// Takes in what happens for so long.
    pub async fn listen(&mut self, how_long: Duration) {
        let deadline = nut_os::clock::now().after(how_long);
        while self.take_until(deadline).await {}
    }

    /// Takes in one entry, or says that the time is over first.
    pub async fn take_until(&mut self, deadline: Moment) -> bool {
        tokio::select! {
            biased;
            Some(entry) = self.incoming.recv() => {
                self.keep(entry);
                true
            }
            () = nut_os::clock::until(deadline) => false,
        }
    }

    fn keep(&mut self, entry: Entry) {
        if self.entries.len() < MAX_ENTRIES {
            self.entries.push(entry);
        }
    }
}
