//! One watched UPS: what it last said, how long it has been silent, and what follows from that.
//!
//! Pure: no I/O, no clock, no log. [`crate::monitor`] feeds it and carries on what it asks.
//!
//! A UPS stops to count as a supply only on evidence: a status that was heard, or a question that got no answer. Time
//! alone condemns nobody; it is looked at whenever a question to this UPS has ended, well or not.

mod cause;
mod standing;

use nut_conf::upsmon_conf::{NoticeKind, Role, UpsmonConf};
use nut_proto::Moment;
use nut_proto::status::{Feed, Status, Word};
use std::time::Duration;

pub use cause::Cause;
pub use standing::Standing;

/// The directives one UPS is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `DEADTIME`: a UPS last heard on battery and silent for longer is dead.
    pub dead_time: Duration,
    /// `HOSTSYNC`: how long a secondary waits for its primary to force the shutdown.
    pub host_sync: Duration,
    /// `OFFDURATION`: how long a UPS may say `OFF`; `None`: for ever.
    pub off_duration: Option<Duration>,
    /// `OBLBDURATION`: how long low battery on battery is borne.
    pub low_battery_duration: Duration,
    /// `OVERDURATION`: how long overload is borne once the UPS is out of reach; `None`: for ever.
    pub overload_duration: Option<Duration>,
    /// `NOCOMMWARNTIME`: how often a UPS out of reach is told again.
    pub no_comm_warn_time: Duration,
    /// `RBWARNTIME`: how often a bad battery is told again.
    pub replace_battery_warn_time: Duration,
}

impl From<&UpsmonConf> for Rules {
    fn from(conf: &UpsmonConf) -> Self {
        Self {
            dead_time: conf.dead_time,
            host_sync: conf.host_sync,
            off_duration: conf.off_duration,
            low_battery_duration: conf.low_battery_duration,
            overload_duration: conf.overload_duration,
            no_comm_warn_time: conf.no_comm_warn_time,
            replace_battery_warn_time: conf.replace_battery_warn_time,
        }
    }
}

/// What one poll brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// `ups.status`.
    pub status: Status,
    /// `ups.alarm`; asked only while the status says `ALARM`.
    pub alarm: Option<Box<str>>,
    /// Whether `ups.mode.buzzwords` names an economy mode.
    pub economy: bool,
}

impl Heard {
    /// A status and nothing else.
    #[must_use]
    pub fn status(text: &str) -> Self {
        Self { status: Status::from_text(text), ..Self::default() }
    }
}

/// Whether the value of `ups.mode.buzzwords` names an economy mode.
///
/// (NUT up to 2.8.5 takes any value for one.)
#[must_use]
pub fn names_economy(buzzwords: &str) -> bool {
    const MODES: [&str; 4] = [":ECO", ":ESS", ":HE", ":SMART"];
    let upper = buzzwords.to_ascii_uppercase();
    MODES.into_iter().any(|mode| upper.contains(mode))
}

/// What we know of a UPS. `Never` has no status to misread; the other two always have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// Not heard since we watch it. Counts as good: what we do not know is no reason to stop.
    Never,
    /// The last question was answered.
    Fresh {
        /// When.
        heard: Moment,
        /// With what.
        status: Status,
    },
    /// The last question was not answered.
    Lost {
        /// When the last answer came.
        heard: Moment,
        /// What it was.
        last: Status,
    },
}

/// What happens to a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The UPS was asked, and this is the answer.
    Polled(Heard),
    /// The UPS was asked, and there was no answer, or a refusal.
    PollFailed,
    /// `upsd` took our own FSD for this UPS.
    Forced,
    /// The connection is made anew on our own account: the next contact is told, its failing too.
    Renewed,
    /// We did not run for a while: a silence that fell into it says nothing of the UPS.
    Slept,
    /// The same, but that time has passed like any other: if the next question fails, it would pass for a silence even of a
    /// UPS that has answered all along.
    Starved,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// People must know; with the text that goes into the notice's second gap.
    Notify(NoticeKind, Option<String>),
    /// The log should hold it.
    Note(Note),
    /// The UPS does not count as a supply any more.
    Condemn(Cause),
    /// It counts again.
    Absolve(Cause),
}

/// What is worth a line in the log, but is no notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// On battery with low battery, which is no reason to stop while it calibrates.
    LowWhileCalibrating,
    /// On battery with low battery, borne for `OBLBDURATION`.
    LowIsBorne {
        /// For how long.
        limit: Duration,
    },
    /// That is over before the time was.
    LowIsOver {
        /// How long it was.
        lasted: Duration,
    },
}

/// Whether people know that we are in touch with the UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Not asked yet: a first answer is no news.
    Unknown,
    /// Taken for granted.
    Ok,
    /// Being made anew: success is news, failure too.
    Renewing,
    /// `COMMBAD` has been told.
    Lost,
}

/// The words that are told when they appear and when they go, in the order they are told.
const PAIRS: [(Word, NoticeKind, NoticeKind); 7] = [
    (Word::Cal, NoticeKind::Cal, NoticeKind::NotCal),
    (Word::Off, NoticeKind::Off, NoticeKind::NotOff),
    (Word::Bypass, NoticeKind::Bypass, NoticeKind::NotBypass),
    (Word::Over, NoticeKind::Over, NoticeKind::NotOver),
    (Word::Trim, NoticeKind::Trim, NoticeKind::NotTrim),
    (Word::Boost, NoticeKind::Boost, NoticeKind::NotBoost),
    (Word::Eco, NoticeKind::Eco, NoticeKind::NotEco),
];

/// One watched UPS.
#[derive(Debug, Clone)]
pub struct Watch {
    role: Role,
    contact: Contact,
    touch: Touch,
    /// The last of mains and battery that was said: a status without either changes nothing.
    feed: Feed,
    feed_since: Option<Moment>,
    /// `LB`, as heard, or concluded from silence on battery.
    low: bool,
    /// What is being told at present.
    told: Vec<NoticeKind>,
    /// The alarm that was told last.
    alarm: Option<Box<str>>,
    /// The words we do not know that were told last, sorted.
    unknown: Vec<Box<str>>,
    /// When it was last heard in a state that is no reason to stop; a secondary's wait counts from here.
    fine: Moment,
    /// Since when it says on battery and low battery, without calibrating.
    low_since: Option<Moment>,
    off_since: Option<Moment>,
    /// `OFF` was heard for longer than `OFFDURATION`.
    off_too_long: bool,
    over_since: Option<Moment>,
    battery_told: Option<Moment>,
    absence_told: Option<Moment>,
    /// When a time in which we did not run has been taken out of this silence; that happens once for each.
    forgiven: Option<Moment>,
    /// On battery with low battery, but calibrating.
    excused: bool,
    cause: Option<Cause>,
    /// Since when it stands as it does; nothing if that is since it is watched.
    standing_since: Option<Moment>,
}

impl Watch {
    /// A watch that has heard nothing yet.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            contact: Contact::Never,
            touch: Touch::Unknown,
            feed: Feed::Unsaid,
            feed_since: None,
            low: false,
            told: Vec::new(),
            alarm: None,
            unknown: Vec::new(),
            fine: Moment::START,
            low_since: None,
            off_since: None,
            off_too_long: false,
            over_since: None,
            battery_told: None,
            absence_told: None,
            forgiven: None,
            excused: false,
            cause: None,
            standing_since: None,
        }
    }

    /// Takes one event and says what must follow, in order.
    pub fn step(&mut self, now: Moment, rules: &Rules, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let stood = self.standing();
        match event {
            // An empty status is a driver that has nothing to say: as good as no answer.
            Event::Polled(heard) if !heard.status.is_empty() => {
                self.heard(now, rules, heard, &mut actions);
                self.judge(now, rules, &mut actions);
            }
            Event::Polled(_) | Event::PollFailed => {
                self.missed(now, rules, &mut actions);
                self.judge(now, rules, &mut actions);
            }
            Event::Forced => self.tell(NoticeKind::Fsd, None, &mut actions),
            // Who is lost is lost: that he still is would be no news, and that he is back is.
            Event::Renewed if self.touch == Touch::Lost => {}
            Event::Renewed => self.touch = Touch::Renewing,
            // Of a silence that begins with the next question, such a time is no part.
            Event::Slept if !matches!(self.contact, Contact::Lost { .. }) => {}
            Event::Slept | Event::Starved => self.forgive(now),
        }
        if self.standing() != stood {
            self.standing_since = Some(now);
        }
        actions
    }

    /// What we know of it.
    #[must_use]
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Why it does not count as a supply, if so, as of the last question to it.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// Whether the last question to it got no answer.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.touch == Touch::Lost
    }

    /// This host's part in its shutdown.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Gives this host another part. What has been heard stays.
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }

    /// Whether it is to be asked at the faster rhythm (`POLLFREQALERT`).
    #[must_use]
    pub fn is_alert(&self, rules: &Rules) -> bool {
        use NoticeKind::{Alarm, Bypass, Off, Over};
        self.feed == Feed::Battery
            || [Alarm, Bypass, Off].into_iter().any(|kind| self.is_told(kind))
            || (rules.overload_duration.is_some() && self.is_told(Over))
    }

    /// Whether low battery is being borne at present.
    #[must_use]
    pub fn is_bearing_low_battery(&self, rules: &Rules) -> bool {
        self.low_since.is_some() && !rules.low_battery_duration.is_zero()
    }

    fn heard(&mut self, now: Moment, rules: &Rules, heard: Heard, actions: &mut Vec<Action>) {
        let Heard { status, alarm, economy } = heard;
        if matches!(self.touch, Touch::Lost | Touch::Renewing) {
            actions.push(Action::Notify(NoticeKind::CommOk, None));
        }
        self.touch = Touch::Ok;
        self.forgiven = None;
        let was_on_low_battery = self.feed == Feed::Battery && self.low;

        self.tell_what_is_gone(&status, economy, actions);
        if status.forced_shutdown() {
            self.tell(NoticeKind::Fsd, None, actions);
        }
        self.take_feed(now, status.feed, actions);
        if status.low_battery() && !self.low {
            actions.push(Action::Notify(NoticeKind::LowBatt, None));
        }
        self.low = status.low_battery();
        for (word, appears, _) in PAIRS {
            if says(&status, word, economy) {
                self.tell(appears, None, actions);
            }
        }
        self.take_alarm(&status, alarm, actions);
        self.take_replace_battery(now, rules, &status, actions);
        self.take_unknown(&status, actions);

        let is_on_low_battery = self.feed == Feed::Battery && self.low && !status.says(Word::Cal);
        if !(was_on_low_battery && is_on_low_battery) {
            self.fine = now;
        }
        self.time_low_battery(now, rules, is_on_low_battery, actions);
        let is_excused = self.feed == Feed::Battery && self.low && status.says(Word::Cal);
        if is_excused && !self.excused {
            actions.push(Action::Note(Note::LowWhileCalibrating));
        }
        self.excused = is_excused;
        self.off_since = since(self.off_since, status.says(Word::Off), now);
        self.off_too_long = match (self.off_since, rules.off_duration) {
            (Some(since), Some(limit)) => limit.is_zero() || longer(now.since(since), limit),
            _ => false,
        };
        self.over_since = since(self.over_since, status.says(Word::Over), now);
        self.contact = Contact::Fresh { heard: now, status };
    }

    fn missed(&mut self, now: Moment, rules: &Rules, actions: &mut Vec<Action>) {
        let silent = match std::mem::replace(&mut self.contact, Contact::Never) {
            // A UPS that was never heard is out of reach for as long as anybody may ask.
            Contact::Never => None,
            Contact::Fresh { heard, status: last } | Contact::Lost { heard, last } => {
                self.contact = Contact::Lost { heard, last };
                Some(now.since(self.silent_since(heard)))
            }
        };
        if self.touch != Touch::Lost {
            self.touch = Touch::Lost;
            actions.push(Action::Notify(NoticeKind::CommBad, None));
            return;
        }
        let limit = rules.no_comm_warn_time;
        let is_due = silent.is_none_or(|silent| whole_secs(silent) >= limit.as_secs());
        if is_due && self.absence_told.is_none_or(|told| longer(now.since(told), limit)) {
            self.absence_told = Some(now);
            actions.push(Action::Notify(NoticeKind::NoComm, None));
        }
    }

    /// A silence that fell into a time in which we did not run starts over: but once, or a host that stutters would never
    /// stop.
    fn forgive(&mut self, now: Moment) {
        self.forgiven = self.forgiven.or(Some(now));
    }

    /// Since when it is silent, if its last answer came then.
    fn silent_since(&self, heard: Moment) -> Moment {
        self.forgiven.map_or(heard, |forgiven| forgiven.max(heard))
    }

    fn is_told(&self, kind: NoticeKind) -> bool {
        self.told.contains(&kind)
    }

    /// Tells it unless it is being told already.
    fn tell(&mut self, kind: NoticeKind, extra: Option<String>, actions: &mut Vec<Action>) {
        if !self.is_told(kind) {
            self.told.push(kind);
            actions.push(Action::Notify(kind, extra));
        }
    }

    /// Forgets that it was told, and says whether it was.
    fn untell(&mut self, kind: NoticeKind) -> bool {
        let before = self.told.len();
        self.told.retain(|told| *told != kind);
        self.told.len() < before
    }

    fn tell_what_is_gone(&mut self, status: &Status, economy: bool, actions: &mut Vec<Action>) {
        if !status.forced_shutdown() {
            self.untell(NoticeKind::Fsd);
        }
        for (word, appears, goes) in PAIRS {
            if !says(status, word, economy) && self.untell(appears) {
                actions.push(Action::Notify(goes, None));
            }
        }
        if !status.says(Word::Alarm) && self.untell(NoticeKind::Alarm) {
            self.alarm = None;
            actions.push(Action::Notify(NoticeKind::NotAlarm, None));
        }
        if unknown_words(status).is_empty() && self.untell(NoticeKind::Other) {
            self.unknown.clear();
            actions.push(Action::Notify(NoticeKind::NotOther, None));
        }
    }

    fn take_feed(&mut self, now: Moment, feed: Feed, actions: &mut Vec<Action>) {
        match (self.feed, feed) {
            (_, Feed::Unsaid) | (Feed::Mains, Feed::Mains) | (Feed::Battery, Feed::Battery) => return,
            // Mains is what everybody takes for granted: hearing it for the first time is no news.
            (Feed::Unsaid, Feed::Mains) => {}
            (Feed::Battery, Feed::Mains) => actions.push(Action::Notify(NoticeKind::Online, None)),
            (Feed::Unsaid | Feed::Mains, Feed::Battery) => {
                actions.push(Action::Notify(NoticeKind::OnBatt, None));
            }
        }
        self.feed = feed;
        self.feed_since = Some(now);
    }

    fn take_alarm(&mut self, status: &Status, alarm: Option<Box<str>>, actions: &mut Vec<Action>) {
        if !status.says(Word::Alarm) {
            return;
        }
        let alarm = alarm.unwrap_or_else(|| "n/a".into());
        if self.alarm.as_ref() != Some(&alarm) {
            self.untell(NoticeKind::Alarm);
            self.tell(NoticeKind::Alarm, Some(alarm.to_string()), actions);
            self.alarm = Some(alarm);
        }
    }

    /// Told again every `RBWARNTIME`; that the word was gone meanwhile changes nothing.
    fn take_replace_battery(
        &mut self,
        now: Moment,
        rules: &Rules,
        status: &Status,
        actions: &mut Vec<Action>,
    ) {
        let limit = rules.replace_battery_warn_time;
        if status.says(Word::Rb) && self.battery_told.is_none_or(|told| longer(now.since(told), limit)) {
            self.battery_told = Some(now);
            actions.push(Action::Notify(NoticeKind::ReplBatt, None));
        }
    }

    fn take_unknown(&mut self, status: &Status, actions: &mut Vec<Action>) {
        let words = unknown_words(status);
        let mut sorted = words.clone();
        sorted.sort();
        if sorted != self.unknown {
            self.untell(NoticeKind::Other);
            self.tell(NoticeKind::Other, Some(words.join(" ")), actions);
            self.unknown = sorted;
        }
    }

    fn time_low_battery(&mut self, now: Moment, rules: &Rules, is_low: bool, actions: &mut Vec<Action>) {
        let limit = rules.low_battery_duration;
        let before = self.low_since;
        self.low_since = since(before, is_low, now);
        if limit.is_zero() {
            return;
        }
        match (before, self.low_since) {
            (None, Some(_)) => actions.push(Action::Note(Note::LowIsBorne { limit })),
            (Some(since), None) => {
                actions.push(Action::Note(Note::LowIsOver { lasted: now.since(since) }));
            }
            _ => {}
        }
    }

    /// Decides whether the UPS counts, and says so if that has changed.
    fn judge(&mut self, now: Moment, rules: &Rules, actions: &mut Vec<Action>) {
        let cause = self.find_cause(now, rules);
        match (self.cause.take(), &cause) {
            (None, Some(cause)) => actions.push(Action::Condemn(cause.clone())),
            (Some(before), None) => actions.push(Action::Absolve(before)),
            _ => {}
        }
        self.cause = cause;
    }

    /// The first of these that holds decides (upsmon spec §8).
    fn find_cause(&mut self, now: Moment, rules: &Rules) -> Option<Cause> {
        let (last, silent) = match &self.contact {
            Contact::Never => return None,
            Contact::Fresh { status, .. } => (status, None),
            Contact::Lost { heard, last } => (last, Some(now.since(self.silent_since(*heard)))),
        };
        if last.forced_shutdown() {
            return Some(Cause::Forced);
        }
        let dead = silent.filter(|silent| longer(*silent, rules.dead_time));
        if let (Some(silent), Some(since), Some(limit)) = (dead, self.over_since, rules.overload_duration)
            && whole_secs(now.since(since)) >= limit.as_secs()
        {
            return Some(Cause::SilentInOverload { silent });
        }
        if let (true, Some(since)) = (self.off_too_long, self.off_since) {
            return Some(Cause::Off { lasted: now.since(since) });
        }
        // Silence alone condemns no UPS: only one last heard on battery, and only after DEADTIME. A calibration excuses a
        // low battery that we hear of; one that drains unseen is no better than any other.
        if self.feed != Feed::Battery || (dead.is_none() && last.says(Word::Cal)) {
            return None;
        }
        let cause = match dead {
            Some(silent) => {
                // From here on its battery is taken to be low, and nobody is told so: when it comes back and says it,
                // that is no news, and a secondary's wait goes on.
                self.low = true;
                Cause::SilentOnBattery { silent }
            }
            None => {
                let lasted = now.since(self.low_since?);
                if whole_secs(lasted) < rules.low_battery_duration.as_secs() {
                    return None;
                }
                Cause::BatteryLow { lasted }
            }
        };
        match self.role {
            Role::Primary => Some(cause),
            // Its primary should have forced the shutdown by now. This wait and DEADTIME run side by side.
            Role::Secondary => longer(now.since(self.fine), rules.host_sync).then_some(cause),
        }
    }
}

/// The moment a state began, if it holds: the one we know already, or this one.
fn since(known: Option<Moment>, holds: bool, now: Moment) -> Option<Moment> {
    holds.then(|| known.unwrap_or(now))
}

fn says(status: &Status, word: Word, economy: bool) -> bool {
    status.says(word) || (word == Word::Eco && economy)
}

/// The words NUT calls unclassified. `WAIT` is one: what upsd serves until a driver has spoken.
fn unknown_words(status: &Status) -> Vec<Box<str>> {
    let wait = status.says(Word::Wait).then(|| Word::Wait.as_str().into());
    wait.into_iter().chain(status.others.iter().cloned()).collect()
}

/// To the nearest whole second.
pub(crate) fn whole_secs(elapsed: Duration) -> u64 {
    elapsed.saturating_add(Duration::from_millis(500)).as_secs()
}

/// Whether more than `limit` has passed, in whole seconds.
///
/// NUT counts in whole seconds, so its "more than 5 s" is 6 s. Rounded to the nearest second it is the same for us, and
/// a poll that comes some milliseconds early or late does not move a decision by a whole poll.
pub(crate) fn longer(elapsed: Duration, limit: Duration) -> bool {
    whole_secs(elapsed) > limit.as_secs()
}

#[cfg(test)]
mod tests;
