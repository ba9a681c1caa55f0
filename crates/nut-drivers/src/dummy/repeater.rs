//! The repeater: a UPS of another server, told again as one of ours (dummy-ups §5).
//!
//! Each update asks for all variables. Unlike NUT's it says so when it does not hear the truth any more: the data are
//! stale when the other server is gone, silent, or says itself that its data are.

use super::ABOUT;
use crate::driver::{About, Action, Driver, Event, Note, Reading, Weight};
use nut_client::{Answer, Dialog, Refusal};
use nut_proto::Moment;
use nut_proto::device::{Change, Value};
use nut_proto::driver::Judgement;
use nut_proto::names::{Secret, UpsName, VarName};
use nut_proto::net::{ErrCode, List, Request};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long the server may take to be reached and to answer the first question: what reaching alone may take, and TLS
/// and the answer on top.
const FIRST_ANSWER: Duration = Duration::from_secs(25);

/// How long a later answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// What the repeater was told.
#[derive(Debug)]
pub(super) struct Plan {
    /// The UPS as the other server names it.
    pub(super) ups: UpsName,
    /// For servers that want to know who asks.
    pub(super) login: Option<(String, Secret)>,
    /// What goes wrong before the first data ends the process.
    pub(super) strict: bool,
}

/// The driver.
#[derive(Debug)]
pub(super) struct Repeater {
    plan: Plan,
    dialog: Dialog,
    /// The questions on their way, in their order.
    questions: Vec<Question>,
    /// When the list must be there.
    until: Option<Moment>,
    updating: bool,
    /// The conversation is established; from the first time on nothing ends the process.
    ready: bool,
    ever_ready: bool,
    /// What was told last, to notice what is gone.
    told: BTreeSet<VarName>,
    out: Vec<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Login,
    List,
}

impl Repeater {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            dialog: Dialog::new(),
            questions: Vec::new(),
            until: None,
            updating: false,
            ready: false,
            ever_ready: false,
            told: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    fn opened(&mut self, now: Moment) {
        self.forget();
        if let Ok(name) = "driver.parameter.mode".parse() {
            self.out.push(Action::Change(Change::Info { name, value: "repeater".into() }));
        }
        if let Some((user, password)) = &self.plan.login {
            let mut bytes = self.dialog.ask(&Request::Username(user));
            bytes.extend(self.dialog.ask(&Request::Password(password.reveal())));
            self.questions.extend([Question::Login; 2]);
            self.out.push(Action::Send(bytes));
        }
        self.ask(now + FIRST_ANSWER);
        if !self.plan.strict && !self.ever_ready {
            // Let readers come: they see that nothing is known yet.
            self.stale("the other server has not been heard yet".to_owned());
            self.be_ready();
        }
    }

    fn forget(&mut self) {
        self.dialog = Dialog::new();
        self.questions.clear();
        (self.until, self.updating, self.ready) = (None, false, false);
    }

    fn ask(&mut self, until: Moment) {
        let bytes = self.dialog.ask(&Request::List(List::Var(self.plan.ups.as_str())));
        self.questions.push(Question::List);
        self.until = Some(until);
        self.out.push(Action::Send(bytes));
        self.out.push(Action::WakeAt(until));
    }

    fn received(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        loop {
            match self.dialog.take(std::mem::take(&mut bytes)) {
                Ok(Some(answer)) => self.answered(answer),
                Ok(None) => return,
                Err(error) => return self.start_over(format!("it does not speak as a server does: {error}")),
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        if self.questions.is_empty() {
            return;
        }
        match (self.questions.remove(0), answer) {
            (Question::Login, Answer::Refused(refusal)) => {
                self.tell(format!("the other server does not take our name and password: {}", refusal.line));
            }
            (Question::Login, _) => {}
            (Question::List, answer) => {
                self.until = None;
                match answer {
                    Answer::Pairs(variables) => self.repeat(variables),
                    Answer::Refused(refusal) => self.refused(&refusal),
                    _ => self.stale("the other server's answer is none to the question".to_owned()),
                }
            }
        }
    }

    /// Tells all that the other server told, and takes back what it does not tell any more.
    fn repeat(&mut self, variables: Vec<(String, String)>) {
        let mut reading = Reading::default();
        let mut gone = std::mem::take(&mut self.told);
        for (name, value) in variables {
            let Ok(name) = name.parse::<VarName>() else { continue };
            let lower = name.as_str().to_ascii_lowercase();
            match lower.as_str() {
                "ups.status" => reading.others = value.split_ascii_whitespace().map(Box::from).collect(),
                "ups.alarm" => reading.alarms = vec![value],
                // Those are about the other driver and the other server.
                other if other.starts_with("driver.") || other.starts_with("server.") => {}
                _ => {
                    gone.remove(&name);
                    self.told.insert(name.clone());
                    self.out.push(Action::Change(Change::Info { name, value: Value::new(&value) }));
                }
            }
        }
        let gone = gone.into_iter().map(|name| Action::Change(Change::NoInfo { name }));
        self.out.extend(gone);
        // A server between two connections to its driver says WAIT: it knows nothing, so neither do we.
        let known = reading.others.iter().any(|word| !word.eq_ignore_ascii_case("WAIT"));
        if known {
            self.out.push(Action::Report(reading));
            self.out.push(Action::DataOk);
        } else {
            self.stale(format!("{} has no status there", self.plan.ups));
        }
        self.be_ready();
        self.be_updated();
    }

    fn refused(&mut self, refusal: &Refusal) {
        let ups = &self.plan.ups;
        let more = if refusal.is(ErrCode::UnknownUps) { ": 'upsc -l' shows what it has" } else { "" };
        let reason = format!("the other server says of {ups}: {}{more}", refusal.line);
        if self.is_strict_start() {
            return self.out.push(Action::GiveUp { reason });
        }
        self.stale(reason);
        self.be_ready();
        self.be_updated();
    }

    fn is_strict_start(&self) -> bool {
        self.plan.strict && !self.ever_ready
    }

    /// Nothing more can come of this connection.
    fn start_over(&mut self, reason: String) {
        if self.is_strict_start() {
            return self.out.push(Action::GiveUp { reason });
        }
        self.forget();
        self.out.push(Action::Reopen { reason: reason.clone() });
        self.stale(reason);
    }

    fn be_ready(&mut self) {
        if !self.ready {
            (self.ready, self.ever_ready) = (true, true);
            self.out.push(Action::Ready);
        }
    }

    fn be_updated(&mut self) {
        if std::mem::take(&mut self.updating) {
            self.out.push(Action::Updated);
        }
    }

    fn stale(&mut self, reason: String) {
        self.out.push(Action::DataStale { reason });
    }

    fn tell(&mut self, text: String) {
        self.out.push(Action::Tell(Note { weight: Weight::Warning, text }));
    }

    fn update(&mut self, now: Moment) {
        self.updating = true;
        match self.until {
            // The first answer is not there yet.
            Some(_) => self.be_updated(),
            None => self.ask(now + ANSWER),
        }
    }

    fn tick(&mut self, now: Moment) {
        if self.until.is_some_and(|until| until <= now) {
            self.start_over("no answer from the other server".to_owned());
        }
    }
}

impl Driver for Repeater {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, now: Moment, event: Event<'_>) -> Vec<Action> {
        match event {
            Event::Opened => self.opened(now),
            Event::Received(bytes) => self.received(bytes),
            Event::Lost => self.forget(),
            Event::Tick => self.tick(now),
            Event::Update => self.update(now),
            // It only tells; who wants something of the UPS asks the other server.
            Event::Order(id, _) => self.out.push(Action::Done(id, Judgement::Unknown)),
            Event::ShutDown => {
                self.out.push(Action::ShutDownEnded(Err("shutdown not supported".to_owned())));
            }
            Event::Leave => self.out.push(Action::Farewell),
        }
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests;
