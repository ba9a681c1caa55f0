//! The timers: when which one fires, what a cancel removes, and when there is nothing left to wait for.
//!
//! | request | rule (NUT 2.8.5 and later, upssched §5) |
//! |---|---|
//! | START, a timer of that name pending | one more: both fire |
//! | START-SHARED, pending | no new one, the deadline stays, the event is added to its environment |
//! | CANCEL | all of that name |
//! | CANCEL-MATCHED | of that name, what the same UPS set; a shared timer stays for its other UPSes |
//! | either cancel with a command, nothing found | CMDSCRIPT runs with the command, at once |
//!
//! Orders keep the places of their notices, whichever is heard first: a cancel leaves what a later notice set, and a
//! timer is not set if a later notice has cancelled it already. Where a client does not say when it was called (NUT's do
//! not), orders count as they come.
//!
//! Time in which the machine was suspended counts for no timer, and what comes due in a standstill waits for
//! [`HEAR_OUT`]: that nobody could cancel a timer is no reason to fire it.
//!
//! Pure: no I/O, no clock, no log. The timer process in [`crate::shell`] feeds it and carries out what it asks.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use nut_proto::Moment;

use crate::pipe::{Listed, Origin, Reply, Request, ToTimers};

/// How late we may be before what comes due then counts as held up by a standstill: upsmon's limit, and NUT's.
pub const LATE: Duration = Duration::from_secs(5);

/// How long, after a standstill, nothing fires: upsmon stood still as well, and asks its UPSes first. What it then says
/// may cancel a timer.
pub const HEAR_OUT: Duration = Duration::from_secs(15);

/// How long the timer process stays when no timer is pending and no script runs; NUT's is 13 to 15 s.
pub const IDLE: Duration = Duration::from_secs(15);

/// Most timers that may be pending. A host has one or two for each UPS and kind of notice.
pub const MAX_TIMERS: usize = 1000;

/// Most different events that one shared timer keeps; later ones wait for it too, but neither show up in its
/// environment nor hold it when the others are cancelled.
pub const MAX_ORIGINS: usize = 64;

/// Most cancels that are remembered, each name once; the oldest is forgotten first.
pub const MAX_SERVED: usize = 1000;

/// Most scripts that run at the same time; others wait for one to end. A script that never ends uses up one place.
pub const MAX_RUNNING: usize = 250;

/// Most scripts that wait for a place.
pub const MAX_WAITING: usize = 1000;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client asks for something. It is always answered, by one [`Action::Reply`].
    Request(Request),
    /// A moment that [`Action::WakeAt`] named has come (or another one: that does no harm).
    Tick,
    /// For so long the machine was suspended; it is awake again.
    Slept(Duration),
    /// A script that [`Action::Run`] named has ended, or could not be started.
    ScriptEnded,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Answer the client whose request this step was about.
    Reply(Reply),
    /// Log this.
    Tell(Tell),
    /// Run CMDSCRIPT, without waiting for it, and say when it has ended.
    Run(Run),
    /// Send a [`Event::Tick`] at this moment, instead of at the one named before.
    WakeAt(Moment),
    /// Nothing to do for [`IDLE`]: end, unless somebody comes at the last moment.
    Exit,
}

/// One call of CMDSCRIPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its argument: the timer's name, or the command of a cancel.
    pub argument: String,
    /// Its environment: the events that set the timer, each kind of word joined; of a command the cancelling event.
    pub origin: Origin,
}

/// A line for the log, in NUT's words where it has some (upssched §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// A timer was started.
    New {
        /// Its name.
        name: String,
        /// How long it runs.
        after: Duration,
    },
    /// A shared timer that was pending stands for one more event.
    Shared {
        /// Its name.
        name: String,
    },
    /// A timer is not set: a cancel of a later notice was here before.
    Void {
        /// Its name.
        name: String,
    },
    /// A timer was removed before it fired.
    Cancelled {
        /// Its name.
        name: String,
    },
    /// A shared timer no longer stands for this UPS, but still for others.
    Released {
        /// Its name.
        name: String,
        /// The UPS.
        ups: String,
    },
    /// There was none to cancel, so the command runs.
    CancelMissed {
        /// The name that was to be cancelled.
        name: String,
        /// The command.
        command: String,
    },
    /// A timer fires.
    Fired {
        /// Its name.
        name: String,
    },
    /// The machine was suspended, with timers pending.
    Slept {
        /// For so long.
        time: Duration,
        /// So many timers.
        timers: usize,
    },
    /// Timers came due while we stood still.
    Held {
        /// We come so much too late.
        late: Duration,
        /// Their names.
        names: Vec<String>,
    },
    /// A timer was not started, as there are too many.
    TooMany {
        /// Its name.
        name: String,
    },
    /// CMDSCRIPT runs so often that this call must wait.
    Waiting {
        /// The call's argument.
        argument: String,
    },
    /// So many calls wait already that this one is lost.
    Lost {
        /// The call's argument.
        argument: String,
    },
    /// Nothing is left to wait for.
    Idle,
}

impl Tell {
    /// How much it matters.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        match self {
            Self::TooMany { .. } | Self::Lost { .. } => Weight::Error,
            Self::Waiting { .. } | Self::Held { .. } => Weight::Warning,
            Self::New { .. }
            | Self::Shared { .. }
            | Self::Void { .. }
            | Self::Cancelled { .. }
            | Self::Released { .. }
            | Self::CancelMissed { .. }
            | Self::Fired { .. }
            | Self::Slept { .. }
            | Self::Idle => Weight::Info,
        }
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// What one wants to find later.
    Info,
    /// It works, but not as it should.
    Warning,
    /// Something that should happen does not.
    Error,
}

impl fmt::Display for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New { name, after } => write!(f, "New timer: {name} ({} seconds)", after.as_secs()),
            Self::Shared { name } => write!(f, "Append data to shared timer: {name}"),
            Self::Void { name } => {
                write!(f, "Timer {name} is not started: a later notice has cancelled it already")
            }
            Self::Cancelled { name } => write!(f, "Cancelling timer: {name}"),
            Self::Released { name, ups } => write!(f, "Timer {name} goes on without {ups}"),
            Self::CancelMissed { name, command } => write!(f, "Cancel {name}, event: {command}"),
            // The blank at the end is NUT's.
            Self::Fired { name } => write!(f, "Event: {name} "),
            Self::Slept { time, timers } => write!(
                f,
                "the machine was suspended for {} s, which do not count for {timers} pending timers; none fires within {} s",
                time.as_secs(),
                HEAR_OUT.as_secs()
            ),
            Self::Held { late, names } => write!(
                f,
                "nothing ran here for at least {} s; so that they can still be cancelled, these timers wait {} s more: {}",
                late.as_secs(),
                HEAR_OUT.as_secs(),
                names.join(", ")
            ),
            Self::TooMany { name } => write!(
                f,
                "cannot start timer {name}: {MAX_TIMERS} are pending already; see upssched -l for what they are"
            ),
            Self::Waiting { argument } => write!(
                f,
                "CMDSCRIPT runs {MAX_RUNNING} times already, so {argument} must wait: does it hang?"
            ),
            Self::Lost { argument } => write!(
                f,
                "CMDSCRIPT runs {MAX_RUNNING} times and {MAX_WAITING} calls wait, so {argument} is lost: does it hang?"
            ),
            Self::Idle => write!(f, "Timer queue empty, exiting"),
        }
    }
}

/// All timers of one timer process.
#[derive(Debug)]
pub struct Timers {
    idle: Duration,
    /// In the order they were started.
    pending: Vec<Timer>,
    /// Cancels that were served, the oldest first: an order that comes behind one, but from an earlier notice, is void.
    served: VecDeque<Served>,
    /// How many scripts run.
    running: usize,
    /// Scripts that wait for another one to end.
    waiting: VecDeque<Run>,
    /// Since when there has been nothing to do.
    idle_since: Option<Moment>,
    /// The moment last asked for, until it comes.
    asked: Option<Moment>,
}

/// A cancel that was served.
#[derive(Debug)]
struct Served {
    name: String,
    /// The only UPS it was for; `None` if it was for all.
    ups: Option<String>,
    /// When its client was called.
    called: Moment,
}

#[derive(Debug)]
struct Timer {
    name: String,
    deadline: Moment,
    /// When the client that set it was called, if it said so.
    called: Option<Moment>,
    /// It came due in a standstill and has waited [`HEAR_OUT`] for its cancel. Once: a host that always comes late must
    /// not wait for ever.
    heard_out: bool,
    /// The events that set it, never none. More than one if it is shared.
    origins: Vec<Origin>,
}

impl Timers {
    /// No timers yet; the end comes after `idle` (see [`IDLE`]) without work.
    #[must_use]
    pub const fn new(now: Moment, idle: Duration) -> Self {
        Self {
            idle,
            pending: Vec::new(),
            served: VecDeque::new(),
            running: 0,
            waiting: VecDeque::new(),
            idle_since: Some(now),
            asked: None,
        }
    }

    /// Takes one event and says what the shell must now do, in order.
    ///
    /// A request comes before what is due: who cancels a timer that has not fired yet is in time.
    pub fn step(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Event::Slept(time) = event {
            self.leave_out(now, time, &mut actions);
        } else {
            self.hear_out(now, &mut actions);
        }
        match event {
            Event::Request(request) => self.request(now, request, &mut actions),
            Event::Tick => self.asked = None,
            Event::Slept(_) => {}
            Event::ScriptEnded => {
                self.running = self.running.saturating_sub(1);
                if let Some(run) = self.waiting.pop_front() {
                    self.run(run, &mut actions);
                }
            }
        }
        self.fire(now, &mut actions);
        self.rest(now, &mut actions);
        actions
    }

    /// Whether no timer is pending and no script runs or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.running == 0 && self.waiting.is_empty()
    }

    /// The names of the pending timers, the next one first: what is lost if the process ends now.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.in_order().into_iter().map(|timer| timer.name.as_str()).collect()
    }

    /// No timer gets nearer by a suspension, and whoever may cancel one has his time for it.
    fn leave_out(&mut self, now: Moment, time: Duration, actions: &mut Vec<Action>) {
        // The alarm that rang because of it is not late.
        self.asked = None;
        if self.pending.is_empty() {
            return;
        }
        for timer in &mut self.pending {
            timer.deadline = (timer.deadline + time).max(now + HEAR_OUT);
        }
        actions.push(Action::Tell(Tell::Slept { time, timers: self.pending.len() }));
    }

    /// If we come late, what is due waits once more, and so does what would fire in the next moments.
    fn hear_out(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let late = self.asked.map_or(Duration::ZERO, |asked| now.since(asked));
        if late <= LATE {
            return;
        }
        let moment = now + HEAR_OUT;
        let mut held = Vec::new();
        for timer in self.pending.iter_mut().filter(|timer| timer.deadline < moment && !timer.heard_out) {
            timer.deadline = moment;
            timer.heard_out = true;
            held.push(timer.name.clone());
        }
        if !held.is_empty() {
            actions.push(Action::Tell(Tell::Held { late, names: held }));
        }
    }

    fn request(&mut self, now: Moment, request: Request, actions: &mut Vec<Action>) {
        // Nobody was called later than now, whatever he says.
        let called = request.called.map(|called| called.min(now));
        let reply = match request.what {
            ToTimers::Start { name, after, origin } => self.start(now, called, name, after, origin, actions),
            ToTimers::StartShared { name, after, origin } => {
                let is_void = self.is_void(&name, &origin.ups, called);
                match self.pending.iter_mut().find(|timer| timer.name == name).filter(|_| !is_void) {
                    Some(timer) => {
                        timer.share(origin);
                        actions.push(Action::Tell(Tell::Shared { name }));
                        Reply::Ok
                    }
                    None => self.start(now, called, name, after, origin, actions),
                }
            }
            ToTimers::Cancel { name, otherwise, origin } => {
                self.remember(&name, None, called);
                let found = self.cancel_all(&name, called, actions);
                self.cancelled(found, name, otherwise, origin, actions)
            }
            ToTimers::CancelMatched { name, otherwise, origin } => {
                self.remember(&name, Some(&origin.ups), called);
                let found = self.cancel_of(&name, &origin.ups, called, actions);
                self.cancelled(found, name, otherwise, origin, actions)
            }
            ToTimers::List => Reply::Timers(self.in_order().into_iter().map(|t| t.listed(now)).collect()),
        };
        actions.push(Action::Reply(reply));
    }

    fn start(
        &mut self,
        now: Moment,
        called: Option<Moment>,
        name: String,
        after: Duration,
        origin: Origin,
        actions: &mut Vec<Action>,
    ) -> Reply {
        if self.is_void(&name, &origin.ups, called) {
            actions.push(Action::Tell(Tell::Void { name }));
            return Reply::Ok;
        }
        if self.pending.len() >= MAX_TIMERS {
            actions.push(Action::Tell(Tell::TooMany { name }));
            return Reply::TooMany;
        }
        actions.push(Action::Tell(Tell::New { name: name.clone(), after }));
        self.pending.push(Timer {
            name,
            deadline: now.after(after),
            called,
            heard_out: false,
            origins: vec![origin],
        });
        Reply::Ok
    }

    fn remember(&mut self, name: &str, ups: Option<&str>, called: Option<Moment>) {
        let Some(mut called) = called else { return };
        let same = |one: &Served| one.name == name && one.ups.as_deref() == ups;
        if let Some(before) = self.served.iter().position(same).and_then(|nth| self.served.remove(nth)) {
            called = called.max(before.called);
        }
        if self.served.len() >= MAX_SERVED {
            self.served.pop_front();
        }
        self.served.push_back(Served { name: name.to_owned(), ups: ups.map(str::to_owned), called });
    }

    /// Whether a notice later than the one that asks for this timer has cancelled it already.
    fn is_void(&self, name: &str, ups: &str, called: Option<Moment>) -> bool {
        called.is_some_and(|called| {
            self.served.iter().any(|one| {
                one.name == name && one.called > called && one.ups.as_deref().is_none_or(|only| only == ups)
            })
        })
    }

    /// Removes all timers of that name that no later notice has set, and says whether there were any.
    fn cancel_all(&mut self, name: &str, called: Option<Moment>, actions: &mut Vec<Action>) -> bool {
        let before = self.pending.len();
        self.pending.retain(|timer| timer.name != name || timer.is_later_than(called));
        let found = before - self.pending.len();
        let told = || Action::Tell(Tell::Cancelled { name: name.to_owned() });
        actions.extend(std::iter::repeat_with(told).take(found));
        found > 0
    }

    /// Removes from all timers of that name what this UPS set, unless a later notice set the timer; those that stand for
    /// no other UPS go. Says whether anything was found.
    fn cancel_of(
        &mut self,
        name: &str,
        ups: &str,
        called: Option<Moment>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let mut found = false;
        self.pending.retain_mut(|timer| {
            let is_meant = timer.name == name && !timer.is_later_than(called);
            if !is_meant || !timer.origins.iter().any(|origin| origin.ups == ups) {
                return true;
            }
            found = true;
            timer.origins.retain(|origin| origin.ups != ups);
            let stays = !timer.origins.is_empty();
            actions.push(Action::Tell(if stays {
                Tell::Released { name: name.to_owned(), ups: ups.to_owned() }
            } else {
                Tell::Cancelled { name: name.to_owned() }
            }));
            stays
        });
        found
    }

    fn cancelled(
        &mut self,
        found: bool,
        name: String,
        otherwise: Option<String>,
        origin: Origin,
        actions: &mut Vec<Action>,
    ) -> Reply {
        if let (false, Some(command)) = (found, otherwise) {
            actions.push(Action::Tell(Tell::CancelMissed { name, command: command.clone() }));
            self.run(Run { argument: command, origin }, actions);
        }
        Reply::Ok
    }

    /// Fires what is due, in the order of the deadlines; of equal ones the first started comes first.
    fn fire(&mut self, now: Moment, actions: &mut Vec<Action>) {
        while let Some(nth) = self.next().filter(|nth| self.is_due(*nth, now)) {
            let timer = self.pending.remove(nth);
            actions.push(Action::Tell(Tell::Fired { name: timer.name.clone() }));
            let origin = timer.environment();
            self.run(Run { argument: timer.name, origin }, actions);
        }
    }

    fn next(&self) -> Option<usize> {
        let timers = self.pending.iter().enumerate();
        timers.min_by_key(|(_, timer)| timer.deadline).map(|(nth, _)| nth)
    }

    fn is_due(&self, nth: usize, now: Moment) -> bool {
        self.pending.get(nth).is_some_and(|timer| timer.deadline <= now)
    }

    fn run(&mut self, run: Run, actions: &mut Vec<Action>) {
        let argument = || run.argument.clone();
        if self.running < MAX_RUNNING {
            self.running += 1;
            actions.push(Action::Run(run));
        } else if self.waiting.len() < MAX_WAITING {
            actions.push(Action::Tell(Tell::Waiting { argument: argument() }));
            self.waiting.push_back(run);
        } else {
            actions.push(Action::Tell(Tell::Lost { argument: argument() }));
        }
    }

    /// Ends if it is time for that, else asks to be woken when there is something to do next.
    fn rest(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let mut wake = self.pending.iter().map(|timer| timer.deadline).min();
        if self.is_idle() {
            let since = *self.idle_since.get_or_insert(now);
            if now >= since.after(self.idle) {
                actions.extend([Action::Tell(Tell::Idle), Action::Exit]);
                // If somebody comes at the last moment, the process stays.
                self.idle_since = Some(now);
            }
            wake = self.idle_since.map(|since| since.after(self.idle));
        } else {
            self.idle_since = None;
        }
        if let Some(moment) = wake.filter(|_| wake != self.asked) {
            self.asked = wake;
            actions.push(Action::WakeAt(moment));
        }
    }

    /// The next one first; of equal ones the first started.
    fn in_order(&self) -> Vec<&Timer> {
        let mut timers: Vec<&Timer> = self.pending.iter().collect();
        timers.sort_by_key(|timer| timer.deadline);
        timers
    }
}

impl Timer {
    /// Whether the notice that set it is later than the one for which a client was called then.
    fn is_later_than(&self, called: Option<Moment>) -> bool {
        matches!((self.called, called), (Some(set), Some(called)) if set > called)
    }

    fn share(&mut self, origin: Origin) {
        if self.origins.len() < MAX_ORIGINS && !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
    }

    /// Each word once, in the order they came.
    fn unique<'a>(&'a self, of: impl Fn(&'a Origin) -> &'a str) -> Vec<&'a str> {
        let mut words = Vec::new();
        for word in self.origins.iter().map(of).filter(|word| !word.is_empty()) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }

    /// As NUT 2.8.5 joins them (upssched §6).
    fn environment(&self) -> Origin {
        Origin {
            notice: self.unique(|origin| &origin.notice).join(","),
            ups: self.unique(|origin| &origin.ups).join(","),
            message: self.unique(|origin| &origin.message).join(".\t"),
        }
    }

    fn listed(&self, now: Moment) -> Listed {
        let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        Listed {
            name: self.name.clone(),
            left: self.deadline.since(now),
            notices: owned(self.unique(|origin| &origin.notice)),
            upses: owned(self.unique(|origin| &origin.ups)),
            messages: owned(self.unique(|origin| &origin.message)),
        }
    }
}

#[cfg(test)]
mod tests;
