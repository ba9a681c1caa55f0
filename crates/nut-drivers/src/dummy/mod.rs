//! `dummy-ups`: a UPS that exists only as a file (dummy-ups §§1-4), for tests, demonstrations and rehearsals; or the
//! UPS of another server, repeated.
//!
//! The shell hands over the file's whole text, at the start and whenever it has become different. The repeater is in
//! `repeater.rs`.

mod repeater;
pub mod script;

use crate::driver::{
    About, Action, Driver, DriverOption, Event, Note, OptionKind, Order, OrderId, PortPlan, Reading, Weight,
};
use crate::options::{Given, Kind, Made, OptionsError};
use nut_proto::Moment;
use nut_proto::device::{Change, Value};
use nut_proto::driver::Judgement;
use nut_proto::names::{Secret, Target, VarName};
use script::{Instruction, attributes, parse};

/// What the driver says of itself.
pub const ABOUT: About = About {
    name: "dummy-ups",
    title: "Device simulation and repeater driver",
    version: "0.22",
    options: &[
        DriverOption {
            name: "mode",
            kind: OptionKind::Value,
            help: "dummy-once, dummy-loop, repeater (by default guessed from the port: .dev once, .seq loop, ups@host repeater)",
        },
        DriverOption {
            name: "repeater_disable_strict_start",
            kind: OptionKind::Flag,
            help: "a repeater starts even if the other server cannot be asked",
        },
        DriverOption {
            name: "username",
            kind: OptionKind::Value,
            help: "who a repeater is to the other server, if that wants to know; with password",
        },
        DriverOption { name: "password", kind: OptionKind::Secret, help: "the password to username" },
    ],
};

/// The driver, as its program needs it.
pub const KIND: Kind = Kind { about: &ABOUT, make };

/// Most complaints about one file that are told; the rest is counted.
const MAX_COMPLAINTS: usize = 10;

/// How often the file is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Once, and again when it has become different.
    Once,
    /// Over and over.
    Loop,
    /// The same, for a file whose name says nothing: it is shown as plain `dummy`.
    Plain,
    /// Not a file: the UPS of another server.
    Repeater,
}

/// The driver.
#[derive(Debug)]
pub struct Dummy {
    mode: Mode,
    instructions: Vec<Instruction>,
    /// The next instruction.
    at: usize,
    /// Not before that moment.
    resume: Option<Moment>,
    /// The file has been read, and the first pass made.
    ready: bool,
    /// The words of `ups.status`.
    status: Vec<Box<str>>,
    alarms: Vec<String>,
    out: Vec<Action>,
}

/// Makes the driver from its options.
///
/// # Errors
/// [`OptionsError`] for a mode that does not exist, or a port that names no UPS of a server.
pub fn make(given: &Given<'_>) -> Result<Made, OptionsError> {
    let mode = mode(given)?;
    if mode == Mode::Repeater {
        return repeater(given);
    }
    Ok((Box::new(Dummy::new(mode)), PortPlan::File { path: given.port.to_owned() }))
}

fn repeater(given: &Given<'_>) -> Result<Made, OptionsError> {
    let refused = |name: &str, value: &str, accepted: String| OptionsError {
        name: name.to_owned(),
        value: value.to_owned(),
        accepted,
    };
    let target: Target = given.port.parse().map_err(|error| {
        refused("port", given.port, format!("{error}; a repeater's port is ups@host or ups@host:port"))
    })?;
    let login = match (given.value("username"), given.value("password")) {
        (Some(user), Some(password)) => Some((user.to_owned(), Secret::new(password))),
        (Some(user), None) => {
            return Err(refused("username", user, "it needs a password beside it".to_owned()));
        }
        (None, Some(_)) => {
            return Err(refused("password", "****", "it needs a username beside it".to_owned()));
        }
        (None, None) => None,
    };
    let plan =
        repeater::Plan { ups: target.ups, login, strict: !given.flag("repeater_disable_strict_start") };
    Ok((Box::new(repeater::Repeater::new(plan)), PortPlan::Server { server: target.server }))
}

fn mode(given: &Given<'_>) -> Result<Mode, OptionsError> {
    let refused = |name: &str, value: &str, accepted: &str| OptionsError {
        name: name.to_owned(),
        value: value.to_owned(),
        accepted: accepted.to_owned(),
    };
    match given.value("mode") {
        Some("dummy-once") => return Ok(Mode::Once),
        Some("dummy-loop" | "dummy") => return Ok(Mode::Loop),
        Some("repeater") => return Ok(Mode::Repeater),
        Some(value) => return Err(refused("mode", value, "mode takes dummy-once, dummy-loop or repeater")),
        None => {}
    }
    if given.port.contains('@') {
        return Ok(Mode::Repeater);
    }
    Ok(match given.port.rsplit_once('.').map(|(_, ending)| ending) {
        Some("dev") => Mode::Once,
        Some("seq") => Mode::Loop,
        Some(_) | None => Mode::Plain,
    })
}

impl Dummy {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            instructions: Vec::new(),
            at: 0,
            resume: None,
            ready: false,
            status: Vec::new(),
            alarms: Vec::new(),
            out: Vec::new(),
        }
    }

    /// What there is before the file says otherwise.
    fn begin(&mut self) {
        if !self.ready {
            self.set("ups.mfr", "Dummy Manufacturer");
            self.set("ups.model", "Dummy UPS");
            // With its attributes: clients may set it, which is what this driver is for. From now on it is reported.
            self.set("ups.status", "OL");
            self.status = vec!["OL".into()];
            self.report();
            let mode = match self.mode {
                Mode::Once => "dummy-once",
                Mode::Loop => "dummy-loop",
                Mode::Plain => "dummy",
                Mode::Repeater => "repeater",
            };
            if let (Ok(parameter), Ok(load_off)) = ("driver.parameter.mode".parse(), "load.off".parse()) {
                self.out.push(Action::Change(Change::Info { name: parameter, value: mode.into() }));
                self.out.push(Action::Change(Change::Command { name: load_off }));
            }
        }
    }

    fn file(&mut self, now: Moment, text: &[u8]) {
        let (instructions, complaints) = parse(text);
        self.instructions = instructions;
        self.rewind();
        let more = complaints.len().saturating_sub(MAX_COMPLAINTS);
        for text in complaints.into_iter().take(MAX_COMPLAINTS) {
            self.tell(text);
        }
        if more > 0 {
            self.tell(format!("{more} more lines were left out"));
        }
        self.play(now);
        self.out.push(Action::DataOk);
        if !self.ready {
            self.ready = true;
            self.out.push(Action::Ready);
        }
    }

    fn rewind(&mut self) {
        self.at = 0;
        self.resume = None;
        self.alarms.clear();
    }

    /// Carries out instructions up to the next `TIMER` or the end.
    fn play(&mut self, now: Moment) {
        if self.resume.is_some_and(|resume| now < resume) {
            return;
        }
        self.resume = None;
        while let Some(instruction) = self.instructions.get(self.at).cloned() {
            self.at += 1;
            match instruction {
                Instruction::Set(name, value) => self.change(name, value),
                Instruction::Status(words) => {
                    self.status = words.split_ascii_whitespace().map(Box::from).collect()
                }
                Instruction::Alarm(text) => self.alarms.push(text),
                Instruction::NoAlarm => self.alarms.clear(),
                Instruction::Wait(wait) => {
                    let resume = now + wait;
                    self.resume = Some(resume);
                    self.out.push(Action::WakeAt(resume));
                    break;
                }
            }
        }
        self.report();
    }

    fn update(&mut self, now: Moment) {
        if self.at >= self.instructions.len() && self.resume.is_none() && self.mode != Mode::Once {
            self.rewind();
        }
        self.play(now);
        self.out.push(Action::Updated);
    }

    fn order(&mut self, id: OrderId, order: Order) {
        let judgement = match order {
            Order::Command { .. } => Judgement::Unknown,
            Order::Set { name, value } if name.is("ups.status") => {
                self.status = value.as_str().split_ascii_whitespace().map(Box::from).collect();
                self.report();
                Judgement::Handled
            }
            Order::Set { name, value } => {
                self.change(name, value);
                Judgement::Handled
            }
        };
        self.out.push(Action::Done(id, judgement));
    }

    fn set(&mut self, name: &str, value: &str) {
        if let Ok(name) = name.parse() {
            self.change(name, Value::new(value));
        }
    }

    /// Sets a variable with its attributes; an empty value removes it.
    fn change(&mut self, name: VarName, value: Value) {
        if value.as_str().is_empty() {
            return self.out.push(Action::Change(Change::NoInfo { name }));
        }
        let (flags, aux) = attributes(&name);
        self.out.push(Action::Change(Change::Info { name: name.clone(), value }));
        self.out.push(Action::Change(Change::Flags { name: name.clone(), flags }));
        self.out.push(Action::Change(Change::Aux { name, aux }));
    }

    fn report(&mut self) {
        let reading = Reading { words: Vec::new(), others: self.status.clone(), alarms: self.alarms.clone() };
        self.out.push(Action::Report(reading));
    }

    fn tell(&mut self, text: String) {
        self.out.push(Action::Tell(Note { weight: Weight::Warning, text }));
    }
}

impl Driver for Dummy {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, now: Moment, event: Event<'_>) -> Vec<Action> {
        match event {
            Event::Opened => {
                self.begin();
                self.ready = false;
            }
            Event::Received(text) => self.file(now, text),
            Event::Lost => {}
            Event::Tick => self.play(now),
            Event::Update => self.update(now),
            Event::Order(id, order) => self.order(id, order),
            Event::ShutDown => {
                self.out.push(Action::ShutDownEnded(Err("shutdown not supported".to_owned())));
            }
            Event::Leave => self.out.push(Action::Farewell),
        }
        std::mem::take(&mut self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::ups_conf::DriverOption as Line;
    use nut_proto::device::Flags;

    fn given(port: &'static str, mode: Option<&str>) -> Result<Mode, OptionsError> {
        let options: Vec<Line> = mode
            .map(|value| Line {
                name: "MODE".into(),
                value: Some(value.into()),
                at: nut_conf::Span::default(),
            })
            .into_iter()
            .collect();
        super::mode(&Given { port, options: &options })
    }

    #[test]
    fn the_mode_is_told_or_guessed_from_the_files_name() {
        assert_eq!(given("a.dev", None), Ok(Mode::Once));
        assert_eq!(given("a.seq", None), Ok(Mode::Loop));
        assert_eq!(given("a", None), Ok(Mode::Plain));
        assert_eq!(given("a", Some("dummy")), Ok(Mode::Loop));
        assert_eq!(given("a.seq", Some("dummy-once")), Ok(Mode::Once));
        assert_eq!(given("a.dev", Some("dummy-loop")), Ok(Mode::Loop));
        assert_eq!(given("ups@host", None), Ok(Mode::Repeater));
        assert_eq!(given("ups", Some("repeater")), Ok(Mode::Repeater));
        assert_eq!(given("ups@host", Some("dummy-once")), Ok(Mode::Once));
        // NUT takes any text, and guesses.
        assert!(given("a.dev", Some("bogus")).is_err());
    }

    #[test]
    fn a_repeater_needs_a_ups_of_a_server_and_both_or_none_of_name_and_password() {
        let made = |port: &'static str, lines: &[(&str, Option<&str>)]| {
            let option = |(name, value): &(&str, Option<&str>)| Line {
                name: (*name).into(),
                value: value.map(Into::into),
                at: nut_conf::Span::default(),
            };
            let options: Vec<Line> = lines.iter().map(option).collect();
            make(&Given { port, options: &options }).map(|(_, plan)| plan)
        };
        let server = |text: &str| Ok(PortPlan::Server { server: text.parse().unwrap() });
        assert_eq!(made("ups@host", &[]), server("host"));
        assert_eq!(made("ups@[::1]:34", &[]), server("[::1]:34"));
        assert_eq!(made("ups", &[("mode", Some("repeater"))]), server("localhost"));
        assert_eq!(made("u@h", &[("username", Some("a")), ("password", Some("b"))]), server("h"));
        for (port, lines) in [
            ("@host", &[][..]),
            ("ups@", &[]),
            ("ups@host:0", &[]),
            ("u@h", &[("username", Some("a"))]),
            ("u@h", &[("password", Some("secret"))]),
        ] {
            let error = made(port, lines).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    /// A dummy and what it says of itself, without the core.
    struct Play {
        dummy: Dummy,
    }

    impl Play {
        fn new(mode: Mode, text: &str) -> (Self, Vec<String>) {
            let mut play = Self { dummy: Dummy::new(mode) };
            play.at(0, Event::Opened);
            let first = play.at(0, Event::Received(text.as_bytes()));
            (play, first)
        }

        fn at(&mut self, secs: u64, event: Event<'_>) -> Vec<String> {
            let actions = self.dummy.step(Moment::from_secs(secs), event);
            actions
                .into_iter()
                .filter_map(|action| match action {
                    Action::Change(Change::Info { name, value }) => Some(format!("{name}={value}")),
                    Action::Change(Change::NoInfo { name }) => Some(format!("-{name}")),
                    Action::Change(_) => None,
                    Action::Report(reading) => {
                        Some(format!("[{}|{}]", reading.others.join(" "), reading.alarms.join(",")))
                    }
                    Action::WakeAt(moment) => Some(format!("wake {moment:?}")),
                    other => Some(format!("{other:?}")),
                })
                .collect()
        }
    }

    #[test]
    fn before_the_file_says_anything_there_is_a_maker_a_model_a_status_and_a_command() {
        for (mode, shown) in [(Mode::Once, "dummy-once"), (Mode::Loop, "dummy-loop"), (Mode::Plain, "dummy")]
        {
            let mut dummy = Dummy::new(mode);
            let actions = dummy.step(Moment::from_secs(0), Event::Opened);
            let changes: Vec<String> = actions
                .into_iter()
                .filter_map(|action| match action {
                    Action::Change(Change::Info { name, value }) => Some(format!("{name}={value}")),
                    Action::Change(Change::Aux { name, aux }) => Some(format!("{name} {aux}")),
                    Action::Change(Change::Command { name }) => Some(format!("{name}()")),
                    Action::Change(Change::Flags { flags, .. }) => {
                        assert_eq!(flags, Flags::WRITABLE_STRING);
                        None
                    }
                    _ => None,
                })
                .collect();
            let mode = format!("driver.parameter.mode={shown}");
            let expected = [
                "ups.mfr=Dummy Manufacturer",
                "ups.mfr 32",
                "ups.model=Dummy UPS",
                "ups.model 32",
                "ups.status=OL",
                "ups.status 32",
                &mode,
                "load.off()",
            ];
            assert_eq!(changes, expected);
        }
    }

    #[test]
    fn a_file_without_status_is_a_ups_on_mains() {
        let (_, first) = Play::new(Mode::Once, "ups.id: x\n");
        assert_eq!(first, ["ups.id=x", "[OL|]", "DataOk", "Ready"]);
    }

    #[test]
    fn a_timer_stops_the_pass_until_its_moment() {
        let (mut play, first) = Play::new(Mode::Loop, "ups.status: OL\nTIMER 5\nups.status: OB\nTIMER 3\n");
        assert_eq!(first, ["wake 5.000s", "[OL|]", "DataOk", "Ready"]);
        assert_eq!(play.at(2, Event::Update), ["Updated"]);
        assert_eq!(play.at(5, Event::Tick), ["wake 8.000s", "[OB|]"]);
        assert_eq!(play.at(6, Event::Update), ["Updated"]);
        assert_eq!(play.at(8, Event::Tick), ["[OB|]"]);
        assert_eq!(play.at(8, Event::Update), ["wake 13.000s", "[OL|]", "Updated"]);
    }

    #[test]
    fn once_means_once_until_the_file_is_another() {
        let (mut play, _) = Play::new(Mode::Once, "ups.id: x\nups.status: OB\n");
        assert_eq!(play.at(2, Event::Update), ["[OB|]", "Updated"]);
        let order = Order::Set { name: "ups.id".parse().unwrap(), value: "mine".into() };
        assert_eq!(play.at(3, Event::Order(OrderId(1), order)), ["ups.id=mine", "Done(OrderId(1), Handled)"]);
        assert_eq!(play.at(4, Event::Update), ["[OB|]", "Updated"]);
        // What the new file does not name stays as it was, the status too.
        assert_eq!(play.at(5, Event::Received(b"ups.id: y\n")), ["ups.id=y", "[OB|]", "DataOk"]);
    }

    #[test]
    fn a_changed_file_begins_anew_at_once_also_in_the_middle_of_a_wait() {
        let (mut play, _) = Play::new(Mode::Loop, "ALARM a\nTIMER 3600\nups.status: OB\n");
        let seen = play.at(5, Event::Received(b"ups.status: OL CHRG\n"));
        assert_eq!(seen, ["[OL CHRG|]", "DataOk"]);
        assert_eq!(play.at(7, Event::Update), ["[OL CHRG|]", "Updated"]);
    }

    #[test]
    fn what_was_set_stays_while_a_timer_runs_and_until_the_file_says_otherwise() {
        let (mut play, _) = Play::new(Mode::Loop, "ups.status: OL\nTIMER 10\n");
        let order = Order::Set { name: "ups.status".parse().unwrap(), value: "OB".into() };
        assert_eq!(play.at(1, Event::Order(OrderId(1), order)), ["[OB|]", "Done(OrderId(1), Handled)"]);
        assert_eq!(play.at(2, Event::Update), ["Updated"]);
        assert_eq!(play.at(10, Event::Tick), ["[OB|]"]);
        assert_eq!(play.at(12, Event::Update), ["wake 22.000s", "[OL|]", "Updated"]);
    }

    #[test]
    fn a_loop_undoes_what_was_set() {
        let (mut play, _) = Play::new(Mode::Loop, "ups.id: x\n");
        assert_eq!(play.at(2, Event::Update), ["ups.id=x", "[OL|]", "Updated"]);
    }

    #[test]
    fn alarms_add_up_and_are_cleared() {
        let (_, first) = Play::new(Mode::Once, "ALARM \"[a b]\"\nALARM c d\n");
        assert_eq!(first.first().unwrap(), "[OL|[a b],c d]");
        let (mut play, _) = Play::new(Mode::Once, "ALARM a\nTIMER 1\nALARM\n");
        assert_eq!(play.at(1, Event::Tick), ["[OL|]"]);
    }

    #[test]
    fn orders_as_nut_judges_them() {
        let (mut play, _) = Play::new(Mode::Once, "");
        let load_off = Order::Command { name: "load.off".parse().unwrap(), param: None };
        assert_eq!(play.at(1, Event::Order(OrderId(1), load_off)), ["Done(OrderId(1), Unknown)"]);
        let set = |name: &str, value: &str| Order::Set { name: name.parse().unwrap(), value: value.into() };
        assert_eq!(
            play.at(1, Event::Order(OrderId(2), set("ups.status", "OB  LB"))),
            ["[OB LB|]", "Done(OrderId(2), Handled)"]
        );
        assert_eq!(
            play.at(1, Event::Order(OrderId(3), set("ups.id", ""))),
            ["-ups.id", "Done(OrderId(3), Handled)"]
        );
        assert_eq!(play.at(1, Event::ShutDown), ["ShutDownEnded(Err(\"shutdown not supported\"))"]);
        assert_eq!(play.at(1, Event::Leave), ["Farewell"]);
    }
}
