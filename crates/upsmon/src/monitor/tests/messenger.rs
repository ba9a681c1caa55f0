//! What a host owes people: for each answer of a UPS, and for each that stays out, the notices it must give, and those it
//! may. Written from the table of NUT's notices, without a look at the machine.

use super::bystander::{Bystander, Clock, Sure};
use super::*;
use nut_proto::status::{Feed, Status, Word};
use std::collections::BTreeSet;

/// Whether people know that the host is in touch with the UPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// Nobody was told anything yet: a first answer is no news.
    Unsaid,
    /// Nothing is wrong, and everybody takes that for granted.
    Had,
    /// The host itself has broken the connection off: the next answer is news, and so is that there is none.
    Renewed,
    Lost,
}

/// What has been told of one UPS.
#[derive(Debug, Clone)]
pub(super) struct Messenger {
    touch: Touch,
    /// The states that are being told.
    shown: BTreeSet<NoticeKind>,
    feed: Feed,
    alarm: Option<String>,
    /// The words nobody knows that were told last.
    unknown: BTreeSet<String>,
    battery_told: Option<Moment>,
    absence_told: Option<Moment>,
    /// When it was told last that it is out of reach.
    lost: Moment,
}

/// A notice of one step: the kind, its text if that must be checked, and whether it must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) kind: NoticeKind,
    pub(super) text: Option<String>,
    pub(super) sure: Sure,
}

impl Owed {
    fn must(kind: NoticeKind) -> Self {
        Self { kind, text: None, sure: Sure::Yes }
    }

    fn if_so(kind: NoticeKind, sure: Sure) -> Option<Self> {
        (sure != Sure::No).then_some(Self { kind, text: None, sure })
    }
}

/// Words that are told when they come and when they go.
const STATES: [(Word, NoticeKind, NoticeKind); 7] = [
    (Word::Eco, NoticeKind::Eco, NoticeKind::NotEco),
    (Word::Boost, NoticeKind::Boost, NoticeKind::NotBoost),
    (Word::Trim, NoticeKind::Trim, NoticeKind::NotTrim),
    (Word::Over, NoticeKind::Over, NoticeKind::NotOver),
    (Word::Bypass, NoticeKind::Bypass, NoticeKind::NotBypass),
    (Word::Off, NoticeKind::Off, NoticeKind::NotOff),
    (Word::Cal, NoticeKind::Cal, NoticeKind::NotCal),
];

impl Messenger {
    pub(super) fn new() -> Self {
        Self {
            touch: Touch::Unsaid,
            shown: BTreeSet::new(),
            feed: Feed::Unsaid,
            alarm: None,
            unknown: BTreeSet::new(),
            battery_told: None,
            absence_told: None,
            lost: Moment::START,
        }
    }

    /// What an answer owes; `low` is whether its battery counted as low before it.
    pub(super) fn hears(
        &mut self,
        clock: Clock<'_>,
        conf: &UpsmonConf,
        ups: &str,
        heard: &watch::Heard,
        low: Sure,
    ) -> Vec<Owed> {
        let mut owed = Vec::new();
        let status = &heard.status;
        if matches!(self.touch, Touch::Lost | Touch::Renewed) {
            owed.push(Owed::must(NoticeKind::CommOk));
        }
        self.touch = Touch::Had;
        for (word, comes, goes) in STATES {
            let is_so = status.says(word) || (word == Word::Eco && heard.economy);
            match (is_so, self.shown.contains(&comes)) {
                (true, false) => owed.push(Owed::must(comes)),
                (false, true) => owed.push(Owed::must(goes)),
                _ => continue,
            }
            self.show(comes, is_so);
        }
        if status.forced_shutdown() && !self.shown.contains(&NoticeKind::Fsd) {
            owed.push(Owed::must(NoticeKind::Fsd));
        }
        self.show(NoticeKind::Fsd, status.forced_shutdown());
        owed.extend(self.hears_feed(status.feed));
        if status.low_battery() {
            let is_news = match low {
                Sure::No => Sure::Yes,
                Sure::Perhaps => Sure::Perhaps,
                Sure::Yes => Sure::No,
            };
            owed.extend(Owed::if_so(NoticeKind::LowBatt, is_news));
        }
        owed.extend(self.hears_alarm(ups, heard));
        owed.extend(self.hears_unknown(ups, status));
        if status.says(Word::Rb) {
            let limit = conf.replace_battery_warn_time;
            let is_due = self.battery_told.map_or(Sure::Yes, |told| clock.is_longer(told, limit));
            owed.extend(Owed::if_so(NoticeKind::ReplBatt, is_due));
        }
        owed
    }

    fn show(&mut self, kind: NoticeKind, is_so: bool) {
        if is_so {
            self.shown.insert(kind);
        } else {
            self.shown.remove(&kind);
        }
    }

    fn hears_feed(&mut self, feed: Feed) -> Option<Owed> {
        let before = self.feed;
        if feed != Feed::Unsaid {
            self.feed = feed;
        }
        match (before, feed) {
            (Feed::Battery, Feed::Mains) => Some(Owed::must(NoticeKind::Online)),
            (Feed::Mains | Feed::Unsaid, Feed::Battery) => Some(Owed::must(NoticeKind::OnBatt)),
            _ => None,
        }
    }

    fn hears_alarm(&mut self, ups: &str, heard: &watch::Heard) -> Option<Owed> {
        let is_so = heard.status.says(Word::Alarm);
        let text = is_so.then(|| heard.alarm.as_deref().unwrap_or("n/a").to_owned());
        if self.alarm == text {
            return None;
        }
        self.alarm.clone_from(&text);
        Some(match text {
            None => Owed::must(NoticeKind::NotAlarm),
            Some(text) => Owed {
                text: Some(format!("UPS {ups}: one or more active alarms: [{text}]")),
                ..Owed::must(NoticeKind::Alarm)
            },
        })
    }

    fn hears_unknown(&mut self, ups: &str, status: &Status) -> Option<Owed> {
        let mut words: Vec<String> = status.others.iter().map(ToString::to_string).collect();
        if status.says(Word::Wait) {
            words.insert(0, "WAIT".to_owned());
        }
        let set: BTreeSet<String> = words.iter().cloned().collect();
        if self.unknown == set {
            return None;
        }
        self.unknown = set;
        Some(match words.is_empty() {
            true => Owed::must(NoticeKind::NotOther),
            false => Owed {
                text: Some(format!(
                    "UPS {ups}: has at least one unclassified status token: [{}]",
                    words.join(" ")
                )),
                ..Owed::must(NoticeKind::Other)
            },
        })
    }

    /// What an answer that did not come owes. `sure`: whether it counts as not coming already.
    pub(super) fn misses(
        &mut self,
        clock: Clock<'_>,
        conf: &UpsmonConf,
        known: &Bystander,
        sure: Sure,
    ) -> Vec<Owed> {
        if self.touch != Touch::Lost {
            return Owed::if_so(NoticeKind::CommBad, sure).into_iter().collect();
        }
        let limit = conf.no_comm_warn_time;
        let is_absent =
            known.heard.as_ref().map_or(Sure::Yes, |(heard, _)| clock.is_silent_for(*heard, limit));
        let is_due = self.absence_told.map_or(Sure::Yes, |told| clock.is_longer(told, limit));
        Owed::if_so(NoticeKind::NoComm, sure.min(is_absent).min(is_due)).into_iter().collect()
    }

    /// Whether it should have been told long ago that the UPS is out of reach.
    pub(super) fn is_absence_overdue(
        &self,
        clock: Clock<'_>,
        limit: Duration,
        heard: Option<Moment>,
    ) -> bool {
        let since = self.lost.max(self.absence_told.unwrap_or_default()).max(heard.unwrap_or_default());
        self.touch == Touch::Lost && clock.is_silent_for_longer(since, limit) == Sure::Yes
    }

    pub(super) fn is_lost(&self) -> bool {
        self.touch == Touch::Lost
    }

    /// The host breaks its connection off, to make it anew.
    pub(super) fn is_renewed(&mut self) {
        // Who is out of reach already is no news if he stays that.
        if self.touch != Touch::Lost {
            self.touch = Touch::Renewed;
        }
    }

    /// Our own FSD has been taken: told, unless it is known.
    pub(super) fn is_forced(&mut self) -> Option<Owed> {
        self.shown.insert(NoticeKind::Fsd).then(|| Owed::must(NoticeKind::Fsd))
    }

    /// This was told.
    pub(super) fn told(&mut self, now: Moment, kind: NoticeKind) {
        match kind {
            NoticeKind::CommBad => (self.touch, self.lost) = (Touch::Lost, now),
            NoticeKind::NoComm => self.absence_told = Some(now),
            NoticeKind::ReplBatt => self.battery_told = Some(now),
            _ => {}
        }
    }
}

/// Compares what was told of a UPS in one step with what was owed.
pub(super) fn settle(ups: &str, owed: &[Owed], told: &[&Notice]) -> Result<(), String> {
    let mut open: Vec<&Owed> = owed.iter().collect();
    for notice in told {
        let is_it = |owed: &&Owed| {
            owed.kind == notice.kind && owed.text.as_ref().is_none_or(|text| *text == notice.text)
        };
        match open.iter().position(is_it) {
            Some(nth) => drop(open.remove(nth)),
            None => return Err(format!("{} of {ups} was told and is no news: {}", notice.kind, notice.text)),
        }
    }
    match open.iter().find(|owed| owed.sure == Sure::Yes) {
        Some(owed) => Err(format!("{} of {ups} was not told", owed.kind)),
        None => Ok(()),
    }
}
