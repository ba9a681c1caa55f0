//! Instant commands: the table of their names, arguments and bytes, and how each is carried out.
//!
//! apcsmart-driver §9. What takes the load's power must be asked for twice.

use super::Context;
use super::exchange::{Answer, Ask, Turn};
use super::power::{CALIBRATING, ON_LINE, status_of};
use super::protocol::shown;
use super::question::{Judged, Question, Shape};
use super::set::Setting;
use super::shutdown::{Digits, Method, Trial, Tried};
use super::timing::{QUERY, TWICE};
use crate::driver::Weight;
use nut_proto::Moment;
use nut_proto::driver::Judgement;
use nut_proto::names::CmdName;

/// One command with one kind of argument.
#[derive(Debug)]
struct Row {
    name: &'static str,
    takes: Takes,
    /// The byte that must be in the unit's list.
    byte: u8,
    /// Whether it must be given twice.
    is_grave: bool,
    deed: Deed,
}

/// What argument a row takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// None at all; an empty one is one.
    Nothing,
    /// None, or an empty one.
    NothingOrEmpty,
    /// `cs`.
    Cs,
    /// `at:` and 1 to 3 digits.
    At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Soft,
    ForcedSoft,
    Hibernate,
    StayOff,
    Off,
    On,
    Calibrate(Wanted),
    Bypass(Wanted),
    /// The byte, to be answered `OK`.
    Plain,
}

/// Which way a toggle shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Started,
    Stopped,
}

const fn plain(name: &'static str, byte: u8, deed: Deed) -> Row {
    Row { name, takes: Takes::Nothing, byte, is_grave: false, deed }
}

const fn grave(name: &'static str, takes: Takes, byte: u8, deed: Deed) -> Row {
    Row { name, takes, byte, is_grave: true, deed }
}

const TABLE: [Row; 14] = [
    grave("shutdown.return", Takes::NothingOrEmpty, b'S', Deed::Soft),
    grave("shutdown.return", Takes::Cs, b'S', Deed::ForcedSoft),
    grave("shutdown.return", Takes::At, b'@', Deed::Hibernate),
    grave("shutdown.stayoff", Takes::Nothing, b'K', Deed::StayOff),
    grave("load.off", Takes::Nothing, b'Z', Deed::Off),
    plain("load.on", 0x0e, Deed::On),
    plain("calibrate.start", b'D', Deed::Calibrate(Wanted::Started)),
    plain("calibrate.stop", b'D', Deed::Calibrate(Wanted::Stopped)),
    plain("test.panel.start", b'A', Deed::Plain),
    plain("test.failure.start", b'U', Deed::Plain),
    plain("test.battery.start", b'W', Deed::Plain),
    plain("test.battery.stop", b'W', Deed::Plain),
    plain("bypass.start", b'^', Deed::Bypass(Wanted::Started)),
    plain("bypass.stop", b'^', Deed::Bypass(Wanted::Stopped)),
];

/// The commands that a byte in the unit's list makes possible.
pub(super) fn names(byte: u8) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter(move |row| row.byte == byte && row.takes != Takes::Cs).map(|row| row.name)
}

/// When a grave command was last asked for: all of them share one moment.
#[derive(Debug, Default)]
pub(super) struct Twice(Option<Moment>);

impl Twice {
    /// Whether this is the second time, 3 to 15 whole seconds after the first.
    fn is_second(&mut self, now: Moment) -> bool {
        let before = self.0.replace(now);
        before.is_some_and(|before| TWICE.contains(&now.since(before).as_secs()))
    }
}

/// Decides what an instant command asks for: something to do, or its end at once.
///
/// `is_confirmed`: it belongs to a shutdown that was decided on. Asking for it twice there would be answered "handled"
/// the first time, with nothing sent: the power would stay on (as it does with NUT's `sdcommands`).
pub(super) fn dispatch(
    name: &CmdName,
    param: Option<&str>,
    is_confirmed: bool,
    twice: &mut Twice,
    cx: &mut Context<'_>,
) -> Result<Job, Judgement> {
    let row = TABLE.iter().find(|row| name.is(row.name) && row.takes.fits(param));
    let row = row.ok_or(Judgement::Unknown)?;
    if !cx.unit.takes(row.byte) {
        return Err(Judgement::Invalid);
    }
    if row.is_grave && !is_confirmed && !twice.is_second(cx.now) {
        let text = format!("{} must be asked for again, 3 to 15 s from now, to be done", row.name);
        cx.tell(Weight::Info, &text);
        return Err(Judgement::Handled);
    }
    let trial = |method| Job::Cut(Trial::new(method, true));
    Ok(match row.deed {
        Deed::Soft => trial(Method::Soft),
        Deed::ForcedSoft if cx.power.known().is_some_and(|status| status & ON_LINE != 0) => {
            trial(Method::ForcedSoft(cx.options.forced_wait))
        }
        Deed::ForcedSoft => trial(Method::Soft),
        Deed::Hibernate => {
            let digits = param.and_then(|text| text.get(3..)).and_then(Digits::parse);
            trial(Method::Hibernate(digits.ok_or(Judgement::Invalid)?))
        }
        Deed::StayOff => trial(Method::StayOff),
        Deed::Off => trial(Method::Off),
        Deed::On => Job::On,
        Deed::Calibrate(wanted) => Job::Calibrate { wanted, stage: CalibrationStage::Begin },
        Deed::Bypass(wanted) => Job::Bypass { wanted, has_toggled_back: false },
        Deed::Plain => Job::Plain(row.byte),
    })
}

impl Takes {
    fn fits(self, param: Option<&str>) -> bool {
        match (self, param) {
            (Self::Nothing | Self::NothingOrEmpty, None) | (Self::NothingOrEmpty, Some("")) => true,
            (Self::Cs, Some(text)) => text.eq_ignore_ascii_case("cs"),
            (Self::At, Some(text)) => {
                let is_at = text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("at:"));
                is_at && text.get(3..).and_then(Digits::parse).is_some()
            }
            (Self::Nothing, Some(_)) | (Self::NothingOrEmpty, Some(_)) | (Self::Cs | Self::At, None) => false,
        }
    }
}

/// An order being carried out.
#[derive(Debug)]
pub(super) enum Job {
    /// The power is cut.
    Cut(Trial),
    /// The load is switched on; there is no reply to wait for.
    On,
    /// Calibration is started or stopped.
    Calibrate {
        /// Which of the two.
        wanted: Wanted,
        /// How far that is.
        stage: CalibrationStage,
    },
    /// Bypass is entered or left.
    Bypass {
        /// Which of the two.
        wanted: Wanted,
        /// The first toggle led the wrong way.
        has_toggled_back: bool,
    },
    /// A byte that is answered `OK`.
    Plain(u8),
    /// A variable is set.
    Set(Setting),
}

/// How far a calibration's start or stop is.
#[derive(Debug)]
pub(super) enum CalibrationStage {
    /// Nothing was asked.
    Begin,
    /// Whether one runs.
    Status(Question),
    /// `D` was sent.
    Toggled,
}

impl Job {
    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, answer: Option<Answer>, cx: &mut Context<'_>) -> Turn<Judgement> {
        match (self, answer) {
            (Self::Cut(trial), answer) => match trial.next(answer) {
                Turn::Ask(ask) => Turn::Ask(ask),
                Turn::End(Tried::Confirmed) => Turn::End(Judgement::Handled),
                Turn::End(Tried::Refused(said)) => {
                    cx.tell(Weight::Warning, &format!("the unit does not cut its power: {said}"));
                    Turn::End(Judgement::Failed)
                }
            },
            (Self::Set(setting), answer) => setting.next(answer, cx),
            (Self::On, None) => Turn::Ask(Ask::Twice { byte: 0x0e, patience: None }),
            (Self::On, Some(Answer::Silence)) => Turn::End(Judgement::Handled),
            (Self::On, Some(_)) => Turn::End(Judgement::Failed),
            (Self::Plain(byte), None) => Turn::Ask(Ask::value(*byte, QUERY)),
            (Self::Plain(byte), Some(answer)) => Turn::End(ok(*byte, &answer, cx)),
            (Self::Bypass { .. }, None) => Turn::Ask(Ask::value(b'^', QUERY)),
            (Self::Bypass { wanted, has_toggled_back }, Some(Answer::Reply(text))) => {
                match (text.as_slice(), *wanted) {
                    (b"BYP", Wanted::Started) | (b"INV", Wanted::Stopped) => Turn::End(Judgement::Handled),
                    // It was there already, and the toggle led away from it.
                    (b"BYP" | b"INV", _) if !*has_toggled_back => {
                        *has_toggled_back = true;
                        Turn::Ask(Ask::value(b'^', QUERY))
                    }
                    _ => Turn::End(Judgement::Failed),
                }
            }
            (Self::Bypass { .. }, Some(_)) => Turn::End(Judgement::Failed),
            (Self::Calibrate { wanted, stage }, answer) => calibrate(*wanted, stage, answer, cx),
        }
    }

    /// Whether it may be left half done between two exchanges.
    pub(super) fn may_be_dropped(&self) -> bool {
        match self {
            Self::Set(_) | Self::Calibrate { .. } | Self::Plain(_) => true,
            Self::Cut(_) | Self::On | Self::Bypass { .. } => false,
        }
    }
}

fn calibrate(
    wanted: Wanted,
    stage: &mut CalibrationStage,
    answer: Option<Answer>,
    cx: &mut Context<'_>,
) -> Turn<Judgement> {
    match (std::mem::replace(stage, CalibrationStage::Begin), answer) {
        (CalibrationStage::Begin, _) | (_, None) => {
            let question = Question::once(b"Q", Shape::Status);
            let ask = question.ask();
            *stage = CalibrationStage::Status(question);
            Turn::Ask(ask)
        }
        (CalibrationStage::Status(mut question), Some(answer)) => match question.take(answer) {
            Judged::Ask(ask) => {
                *stage = CalibrationStage::Status(question);
                Turn::Ask(ask)
            }
            Judged::Value(text) => {
                let runs = status_of(&text).is_some_and(|status| status & CALIBRATING != 0);
                if runs == (wanted == Wanted::Started) {
                    return Turn::End(Judgement::Handled);
                }
                *stage = CalibrationStage::Toggled;
                Turn::Ask(Ask::value(b'D', QUERY))
            }
            Judged::Na | Judged::Missing(_) | Judged::Dead(_) => Turn::End(Judgement::Failed),
        },
        (CalibrationStage::Toggled, Some(answer)) => Turn::End(ok(b'D', &answer, cx)),
    }
}

fn ok(byte: u8, answer: &Answer, cx: &mut Context<'_>) -> Judgement {
    let said = match answer {
        Answer::Reply(text) if text == b"OK" => return Judgement::Handled,
        Answer::Reply(text) | Answer::Refused(text) => format!("{:?}", shown(text)),
        Answer::Silence | Answer::Garbled | Answer::Star | Answer::Passed => "nothing".to_owned(),
    };
    cx.tell(Weight::Info, &format!("the unit does not do it: {} is answered {said}", shown(&[byte])));
    Judgement::Failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apcsmart::options::Options;
    use crate::apcsmart::power::Power;
    use crate::apcsmart::unit::Unit;

    struct Desk {
        unit: Unit,
        power: Power,
        twice: Twice,
        options: Options,
    }

    impl Desk {
        fn with(bytes: &[u8]) -> Self {
            let mut unit = Unit::default();
            for byte in bytes {
                unit.add_command(*byte, &mut Vec::new());
            }
            Self { unit, power: Power::default(), twice: Twice::default(), options: Options::default() }
        }

        fn ask(&mut self, secs: u64, name: &str, param: Option<&str>) -> Result<Job, Judgement> {
            let mut out = Vec::new();
            let mut cx = Context {
                now: Moment::from_secs(secs),
                options: &self.options,
                unit: &mut self.unit,
                power: &mut self.power,
                out: &mut out,
            };
            dispatch(&name.parse().unwrap(), param, false, &mut self.twice, &mut cx)
        }

        fn end(&mut self, secs: u64, name: &str, param: Option<&str>) -> Judgement {
            self.ask(secs, name, param).expect_err(name)
        }
    }

    #[test]
    fn which_row_an_argument_chooses() {
        let mut desk = Desk::with(b"SKZ@WA");
        let cases = [
            ("no.such.command", None, Judgement::Unknown),
            ("test.panel.start", Some(""), Judgement::Unknown),
            ("shutdown.return", Some("now"), Judgement::Unknown),
            ("shutdown.return", Some("at:"), Judgement::Unknown),
            ("shutdown.return", Some("at:1234"), Judgement::Unknown),
            ("shutdown.return", Some("at:x"), Judgement::Unknown),
            ("shutdown.stayoff", Some(""), Judgement::Unknown),
            ("calibrate.start", None, Judgement::Invalid),
            ("load.on", None, Judgement::Invalid),
            ("bypass.start", None, Judgement::Invalid),
        ];
        for (name, param, judgement) in cases {
            assert_eq!(desk.end(0, name, param), judgement, "{name} {param:?}");
        }
        assert!(matches!(desk.ask(0, "TEST.PANEL.START", None), Ok(Job::Plain(b'A'))));
        assert!(matches!(desk.ask(0, "test.battery.stop", None), Ok(Job::Plain(b'W'))));
    }

    #[test]
    fn what_takes_the_power_must_be_asked_for_twice() {
        let windows = [(2, false), (3, true), (15, true), (16, false)];
        for (gap, works) in windows {
            let mut desk = Desk::with(b"Z");
            assert_eq!(desk.end(100, "load.off", None), Judgement::Handled);
            assert_eq!(desk.ask(100 + gap, "load.off", None).is_ok(), works, "after {gap} s");
        }
        // A call that comes too early begins anew.
        let mut desk = Desk::with(b"ZS");
        desk.end(100, "load.off", None);
        assert_eq!(desk.end(102, "load.off", None), Judgement::Handled);
        assert!(desk.ask(105, "shutdown.return", Some("")).is_ok(), "another grave command confirms as well");
        assert!(desk.ask(108, "load.off", None).is_ok(), "NUT keeps one moment for all");
    }

    #[test]
    fn arguments_reach_their_method() {
        let second = |desk: &mut Desk, param: &str| {
            desk.end(100, "shutdown.return", Some(param));
            match desk.ask(104, "shutdown.return", Some(param)) {
                Ok(Job::Cut(trial)) => trial,
                other => panic!("{other:?}"),
            }
        };
        let first = |mut trial: Trial| match trial.next(None) {
            Turn::Ask(ask) => ask,
            Turn::End(end) => panic!("{end:?}"),
        };
        let mut desk = Desk::with(b"S@");
        let rest = |ask: Ask| match ask {
            Ask::Long { first: b'@', rest, .. } => rest,
            other => panic!("{other:?}"),
        };
        assert_eq!(rest(first(second(&mut desk, "AT:7"))), b"007");
        let mut desk = Desk::with(b"S@");
        assert_eq!(rest(first(second(&mut desk, "at:05"))), b"05");
        let mut desk = Desk::with(b"S");
        assert!(matches!(first(second(&mut desk, "Cs")), Ask::Query { bytes, .. } if bytes == b"S"));
        let mut desk = Desk::with(b"S");
        desk.power.believe(0x08);
        assert!(matches!(first(second(&mut desk, "cs")), Ask::Query { bytes, .. } if bytes == b"U"));
    }

    #[test]
    fn the_names_of_each_byte() {
        let of = |byte: u8| names(byte).collect::<Vec<_>>();
        assert_eq!(of(b'S'), ["shutdown.return"]);
        assert_eq!(of(b'@'), ["shutdown.return"]);
        assert_eq!(of(b'D'), ["calibrate.start", "calibrate.stop"]);
        assert_eq!(of(b'7'), Vec::<&str>::new());
    }
}
