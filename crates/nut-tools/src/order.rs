//! Giving `upsd` an order (an instant command, a new value) and following what becomes of it (clients §3.2, §4.2).
//!
//! Pure: [`crate::shell`] asks what this wants asked, and waits as long as it says.

use nut_client::{Answer, ClientError, DialogError, Progress};
use nut_proto::Moment;
use nut_proto::names::{Secret, UpsName};
use nut_proto::net::{Get, Request};
use std::time::Duration;

use crate::format::Outcome;

/// How long an order is followed unless `-t` says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_secs(1);

/// An order on its way: who gives it, what it is, how far it has come.
#[derive(Debug)]
pub struct Order {
    user: String,
    password: Secret,
    deed: Deed,
    patience: Option<Duration>,
    step: Step,
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// `INSTCMD`.
    Command {
        /// Of which UPS.
        ups: UpsName,
        /// Which command.
        command: String,
        /// Its argument.
        parameter: Option<String>,
    },
    /// `SET VAR`.
    Setting {
        /// Of which UPS.
        ups: UpsName,
        /// Which variable.
        variable: String,
        /// What it shall be.
        value: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Username,
    Password,
    Tracking,
    Deed,
    Follow { id: String, since: Moment },
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// The server is there.
    Connected,
    /// It answered.
    Answered(Answer),
    /// It did not.
    Failed(ClientError),
    /// The moment has come that was to be waited for.
    Tick,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Ask this.
    Ask(Request<'a>),
    /// Wait until then.
    WakeAt(Moment),
    /// End with this.
    End(Outcome),
}

impl Order {
    /// An order that nobody has heard of yet; with `patience` it is followed for that long.
    #[must_use]
    pub const fn new(user: String, password: Secret, deed: Deed, patience: Option<Duration>) -> Self {
        Self { user, password, deed, patience, step: Step::Username }
    }

    /// Takes one event and says what to do next.
    pub fn step(&mut self, now: Moment, event: Event) -> Action<'_> {
        let end = match event {
            Event::Connected => None,
            Event::Tick => self.look_at_the_clock(now),
            Event::Failed(ClientError::Dialog(DialogError::Mismatch { line })) => {
                Some(self.unexpected(&line))
            }
            Event::Failed(error) => Some(self.failed(&error.to_string())),
            Event::Answered(Answer::Refused(refusal)) => Some(match &self.step {
                Step::Username | Step::Password => self.failed(refusal.text()),
                Step::Tracking | Step::Deed => self.unexpected(&refusal.line),
                // How it ended is told, and being told is what was asked for: NUT succeeds here whatever the end.
                Step::Follow { .. } => told(&refusal.line),
            }),
            Event::Answered(answer) => match (&self.step, answer) {
                (Step::Username, _) => self.go_on(Step::Password),
                (Step::Password, _) => match &self.deed {
                    Deed::Setting { variable, .. } if !variable.contains('.') => {
                        Some(Outcome::error("old variable names are not supported"))
                    }
                    _ => self.go_on(if self.patience.is_some() { Step::Tracking } else { Step::Deed }),
                },
                (Step::Tracking, _) => self.go_on(Step::Deed),
                (Step::Deed, Answer::OkTracking(id)) if self.patience.is_some() => {
                    self.step = Step::Follow { id, since: now };
                    self.look_at_the_clock(now)
                }
                (Step::Deed, Answer::OkTracking(id)) => Some(told(&format!("OK TRACKING {id}"))),
                (Step::Deed, _) => Some(told("OK")),
                (Step::Follow { .. }, Answer::Tracking(Progress::Pending)) => {
                    return Action::WakeAt(now.after(PAUSE));
                }
                (Step::Follow { .. }, Answer::Tracking(Progress::Success)) => Some(told("SUCCESS")),
                (Step::Follow { .. }, _) => Some(self.failed("Protocol error")),
            },
        };
        end.map_or_else(|| Action::Ask(self.request()), Action::End)
    }

    fn go_on(&mut self, step: Step) -> Option<Outcome> {
        self.step = step;
        None
    }

    fn look_at_the_clock(&self, now: Moment) -> Option<Outcome> {
        match (&self.step, self.patience) {
            (Step::Follow { since, .. }, Some(patience)) if now.since(*since) >= patience => {
                Some(Outcome::failure("Can't receive status tracking information: timeout"))
            }
            _ => None,
        }
    }

    fn request(&self) -> Request<'_> {
        match (&self.step, &self.deed) {
            (Step::Username, _) => Request::Username(&self.user),
            (Step::Password, _) => Request::Password(self.password.reveal()),
            (Step::Tracking, _) => Request::SetTracking(true),
            (Step::Deed, Deed::Command { ups, command, parameter }) => {
                Request::InstCmd { ups: ups.as_str(), cmd: command, param: parameter.as_deref() }
            }
            (Step::Deed, Deed::Setting { ups, variable, value }) => {
                Request::SetVar { ups: ups.as_str(), var: variable, value }
            }
            (Step::Follow { id, .. }, _) => Request::Get(Get::Tracking(id)),
        }
    }

    /// The end when the server said something else than was needed.
    fn unexpected(&self, line: &str) -> Outcome {
        let what = match self.deed {
            Deed::Command { .. } => "command",
            Deed::Setting { .. } => "set variable",
        };
        match self.step {
            Step::Username | Step::Password => self.failed("Protocol error"),
            Step::Tracking => {
                Outcome::failure(&format!("Enabling {what} status tracking failed. upsd answered: {line}"))
            }
            Step::Deed | Step::Follow { .. } => {
                Outcome::failure(&format!("Unexpected response from upsd: {line}"))
            }
        }
    }

    /// The end when something went wrong, in the words for where it did.
    fn failed(&self, text: &str) -> Outcome {
        Outcome::failure(&match (&self.step, &self.deed) {
            (Step::Username, _) => format!("Set username failed: {text}\nAuthentication failed: {text}"),
            (Step::Password, _) => format!("Set password failed: {text}\nAuthentication failed: {text}"),
            (Step::Tracking, Deed::Command { .. }) => {
                format!("Enabling command status tracking failed: {text}")
            }
            (Step::Tracking, Deed::Setting { .. }) => {
                format!("Enabling set variable status tracking failed: {text}")
            }
            (Step::Deed, Deed::Command { .. }) => format!("Instant command failed: {text}"),
            (Step::Deed, Deed::Setting { .. }) => format!("Set variable failed: {text}"),
            (Step::Follow { .. }, _) => format!("Can't receive status tracking information: {text}"),
        })
    }
}

/// What the server says of the order goes to standard error, as in NUT: standard output is for data.
fn told(line: &str) -> Outcome {
    Outcome { stdout: String::new(), stderr: format!("{line}\n"), code: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_client::Refusal;
    use nut_proto::net::ErrCode;

    const NOW: Moment = Moment::from_secs(100);

    fn command(patience: Option<u64>) -> Order {
        let deed = Deed::Command { ups: "u".parse().unwrap(), command: "load.off".into(), parameter: None };
        Order::new("me".into(), Secret::new("x"), deed, patience.map(Duration::from_secs))
    }

    fn setting(variable: &str) -> Order {
        let deed = Deed::Setting { ups: "u".parse().unwrap(), variable: variable.into(), value: "v".into() };
        Order::new("me".into(), Secret::new("x"), deed, Some(PATIENCE))
    }

    fn refused(word: &str) -> Event {
        let code = ErrCode::from_text(word);
        Event::Answered(Answer::Refused(Refusal { code, word: word.into(), line: format!("ERR {word}") }))
    }

    fn ok() -> Event {
        Event::Answered(Answer::Ok)
    }

    /// Lets the server say `OK` to the first steps, and gives what comes of the event behind them.
    fn after(order: &mut Order, steps: usize, event: Event) -> Outcome {
        assert_eq!(order.step(NOW, Event::Connected), Action::Ask(Request::Username("me")));
        for _ in 0..steps {
            assert!(matches!(order.step(NOW, ok()), Action::Ask(_)));
        }
        match order.step(NOW, event) {
            Action::End(outcome) => outcome,
            action => panic!("goes on: {action:?}"),
        }
    }

    #[test]
    fn an_order_is_given_in_three_steps() {
        let mut order = command(None);
        assert_eq!(order.step(NOW, Event::Connected), Action::Ask(Request::Username("me")));
        assert_eq!(order.step(NOW, ok()), Action::Ask(Request::Password("x")));
        let deed = Request::InstCmd { ups: "u", cmd: "load.off", param: None };
        assert_eq!(order.step(NOW, ok()), Action::Ask(deed));
        assert_eq!(order.step(NOW, ok()), Action::End(told("OK")));
        assert_eq!(
            after(&mut command(None), 2, Event::Answered(Answer::OkTracking("I".into()))),
            told("OK TRACKING I")
        );
    }

    #[test]
    fn an_order_is_followed_to_its_end() {
        let mut order = setting("ups.id");
        assert!(matches!(order.step(NOW, Event::Connected), Action::Ask(_)));
        assert!(matches!(order.step(NOW, ok()), Action::Ask(_)));
        assert_eq!(order.step(NOW, ok()), Action::Ask(Request::SetTracking(true)));
        let deed = Request::SetVar { ups: "u", var: "ups.id", value: "v" };
        assert_eq!(order.step(NOW, ok()), Action::Ask(deed));
        let follow = || Action::Ask(Request::Get(Get::Tracking("ID")));
        assert_eq!(order.step(NOW, Event::Answered(Answer::OkTracking("ID".into()))), follow());
        let pending = || Event::Answered(Answer::Tracking(Progress::Pending));
        assert_eq!(order.step(NOW, pending()), Action::WakeAt(NOW.after(PAUSE)));
        assert_eq!(order.step(NOW.after(PAUSE), Event::Tick), follow());
        assert_eq!(order.step(NOW.after(PAUSE), pending()), Action::WakeAt(NOW.after(2 * PAUSE)));
        let late = Outcome::failure("Can't receive status tracking information: timeout");
        assert_eq!(order.step(NOW.after(PATIENCE), Event::Tick), Action::End(late));
    }

    #[test]
    fn how_a_followed_order_ended_is_told_and_that_is_a_success() {
        for (event, line) in [
            (Event::Answered(Answer::Tracking(Progress::Success)), "SUCCESS"),
            (refused("FAILED"), "ERR FAILED"),
            (refused("INVALID-ARGUMENT"), "ERR INVALID-ARGUMENT"),
            (refused("UNKNOWN"), "ERR UNKNOWN"),
        ] {
            let mut order = command(Some(10));
            assert!(matches!(order.step(NOW, Event::Connected), Action::Ask(_)));
            for event in [ok(), ok(), ok(), Event::Answered(Answer::OkTracking("ID".into()))] {
                assert!(matches!(order.step(NOW, event), Action::Ask(_)));
            }
            assert_eq!(order.step(NOW, event), Action::End(told(line)));
        }
    }

    #[test]
    fn without_patience_for_even_one_question_none_is_asked() {
        let id = Event::Answered(Answer::OkTracking("ID".into()));
        let late = Outcome::failure("Can't receive status tracking information: timeout");
        assert_eq!(after(&mut command(Some(0)), 3, id), late);
    }

    #[test]
    fn a_server_that_cannot_follow_orders_still_takes_them() {
        assert_eq!(after(&mut command(Some(10)), 3, ok()), told("OK"));
    }

    #[test]
    fn each_failure_is_told_in_the_words_for_its_place() {
        let gone = || Event::Failed(ClientError::Disconnected);
        let rubbish = || Event::Failed(ClientError::Dialog(DialogError::Mismatch { line: "WHAT".into() }));
        let cases = [
            (
                command(None),
                0,
                refused("ALREADY-SET-USERNAME"),
                "Set username failed: Already set username\nAuthentication failed: Already set username",
            ),
            (
                command(None),
                1,
                refused("PASSWORD-REQUIRED"),
                "Set password failed: Password required\nAuthentication failed: Password required",
            ),
            (
                command(None),
                1,
                rubbish(),
                "Set password failed: Protocol error\nAuthentication failed: Protocol error",
            ),
            (
                command(Some(1)),
                2,
                refused("INVALID-ARGUMENT"),
                "Enabling command status tracking failed. upsd answered: ERR INVALID-ARGUMENT",
            ),
            (
                setting("a.b"),
                2,
                refused("INVALID-ARGUMENT"),
                "Enabling set variable status tracking failed. upsd answered: ERR INVALID-ARGUMENT",
            ),
            (command(None), 2, refused("ACCESS-DENIED"), "Unexpected response from upsd: ERR ACCESS-DENIED"),
            (command(None), 2, rubbish(), "Unexpected response from upsd: WHAT"),
            (command(None), 2, gone(), "Instant command failed: Server disconnected"),
            (setting("a.b"), 3, gone(), "Set variable failed: Server disconnected"),
            (setting("nodot"), 1, ok(), "Error: old variable names are not supported"),
        ];
        for (mut order, steps, event, expected) in cases {
            assert_eq!(after(&mut order, steps, event), Outcome::failure(expected));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let order = Order::new("me".into(), Secret::new("geheim"), command(None).deed, None);
        assert!(!format!("{order:?}").contains("geheim"));
    }
}
