//! A UPS as a set of variables and commands, and what can change in it.
//!
//! The driver owns one [`Device`]; `upsd` keeps a copy that it builds from the driver's [`Change`]s. Both follow the
//! same rules (driver-framework §10, driver-socket §3.4): names without case, a value that differs only in case has
//! not changed, duplicates are dropped.

use crate::names::{CmdName, VarName, cmp_ignoring_case, cut};
use std::fmt;
use thiserror::Error;

/// Longest value, in bytes: NUT's limit.
pub const MAX_VALUE: usize = 255;

/// Most variables one device may have. Real ones have some 50 to 300.
pub const MAX_VARIABLES: usize = 20_000;

/// Most values of one enumeration, ranges of one variable.
pub const MAX_CHOICES: usize = 1_000;

/// Most instant commands one device may have.
pub const MAX_COMMANDS: usize = 2_000;

/// The value of a variable: text of at most [`MAX_VALUE`] bytes, each from 0x20 to 0x7f.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Value(Box<str>);

impl Value {
    /// Takes the text; bytes that NUT drops are dropped, what is beyond [`MAX_VALUE`] is cut off.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.bytes().all(|byte| (0x20..0x80).contains(&byte)) {
            return Self(cut(text, MAX_VALUE).into());
        }
        let kept: String = text.chars().filter(|c| (' '..='\u{7f}').contains(c)).take(MAX_VALUE).collect();
        Self(kept.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What may be done with a variable, and what kind of value it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// `RW`: clients may set it.
    pub writable: bool,
    /// `STRING`: text; the most it may have stands in the variable's aux number.
    pub string: bool,
    /// `NUMBER`: a number.
    pub number: bool,
}

impl Flags {
    /// A text that clients may set.
    pub const WRITABLE_STRING: Self = Self { writable: true, string: true, number: false };
    /// A number that clients may set.
    pub const WRITABLE_NUMBER: Self = Self { writable: true, string: false, number: true };
    /// A value that clients may set, of no stated kind.
    pub const WRITABLE: Self = Self { writable: true, string: false, number: false };

    /// Whether none is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.writable && !self.string && !self.number
    }
}

/// A span of whole numbers that a variable may be set to, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub min: i64,
    /// The most.
    pub max: i64,
}

/// One variable.
#[derive(Debug, Clone)]
pub struct Variable {
    name: VarName,
    value: Value,
    flags: Flags,
    fixed: bool,
    extras: Option<Box<Extras>>,
}

/// What few variables have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Extras {
    aux: i64,
    choices: Vec<Value>,
    ranges: Vec<Range>,
}

/// Equal if they say the same, whatever was added and taken away in between.
impl PartialEq for Variable {
    fn eq(&self, other: &Self) -> bool {
        (self.name.as_str(), &self.value, self.flags, self.fixed)
            == (other.name.as_str(), &other.value, other.flags, other.fixed)
            && (self.aux(), self.choices(), self.ranges()) == (other.aux(), other.choices(), other.ranges())
    }
}

impl Eq for Variable {}

impl Variable {
    /// Its name, as first spelled.
    #[must_use]
    pub fn name(&self) -> &VarName {
        &self.name
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What may be done with it.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether an `override.` fixed it for good: later values and flags are ignored.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The auxiliary number: for a `STRING` the most bytes it may have; 0 if never said.
    #[must_use]
    pub fn aux(&self) -> i64 {
        self.extras.as_ref().map_or(0, |extras| extras.aux)
    }

    /// The values it may be set to, in the driver's order; none if any will do.
    #[must_use]
    pub fn choices(&self) -> &[Value] {
        self.extras.as_ref().map_or(&[], |extras| &extras.choices)
    }

    /// The spans it may be set to, in the driver's order; none if any number will do.
    #[must_use]
    pub fn ranges(&self) -> &[Range] {
        self.extras.as_ref().map_or(&[], |extras| &extras.ranges)
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }
}

/// Something that became different in a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `SETINFO`: a variable appeared, or has another value.
    Info {
        /// Which.
        name: VarName,
        /// What it is now.
        value: Value,
    },
    /// `DELINFO`: a variable is gone, with all that belonged to it.
    NoInfo {
        /// Which.
        name: VarName,
    },
    /// `ADDENUM`: one more value it may be set to.
    Choice {
        /// Of which variable.
        name: VarName,
        /// The value.
        value: Value,
    },
    /// `DELENUM`.
    NoChoice {
        /// Of which variable.
        name: VarName,
        /// The value.
        value: Value,
    },
    /// `ADDRANGE`: one more span it may be set to.
    Range {
        /// Of which variable.
        name: VarName,
        /// The span.
        range: Range,
    },
    /// `DELRANGE`.
    NoRange {
        /// Of which variable.
        name: VarName,
        /// The span.
        range: Range,
    },
    /// `SETAUX`: its auxiliary number.
    Aux {
        /// Of which variable.
        name: VarName,
        /// The number.
        aux: i64,
    },
    /// `SETFLAGS`: all its flags.
    Flags {
        /// Of which variable.
        name: VarName,
        /// The flags it has now; those not named it has not.
        flags: Flags,
    },
    /// `ADDCMD`: an instant command it understands.
    Command {
        /// Which.
        name: CmdName,
    },
    /// `DELCMD`.
    NoCommand {
        /// Which.
        name: CmdName,
    },
}

/// Why a change could not be applied. The device is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// An attribute of a variable that does not exist.
    #[error("there is no variable {name}")]
    NoVariable {
        /// The name that was used.
        name: VarName,
    },
    /// A span whose end lies before its beginning.
    #[error("the range of {name} ends before it begins")]
    EmptyRange {
        /// Of which variable.
        name: VarName,
    },
    /// One more than this house keeps.
    #[error("a device may have {limit} {what} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

/// A UPS as a set of variables and commands, both in order of their names (without case).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    variables: Vec<Variable>,
    commands: Vec<CmdName>,
}

impl Device {
    /// The variable of this name, in any case.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&Variable> {
        self.variables.get(self.find(name).ok()?)
    }

    /// The value of the variable of this name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        Some(self.variable(name)?.value())
    }

    /// All variables in NUT's order: by name, without case.
    #[must_use]
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// All instant commands in NUT's order: by name, without case.
    #[must_use]
    pub fn commands(&self) -> &[CmdName] {
        &self.commands
    }

    /// The command of this name, in any case.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&CmdName> {
        self.commands.get(self.find_command(name).ok()?)
    }

    /// Sets a variable, creating it; gives the change if there was one.
    ///
    /// A fixed variable, and a value that differs only in case, do not change.
    ///
    /// # Errors
    /// [`ApplyError::TooMany`] when there are [`MAX_VARIABLES`] already.
    pub fn set(&mut self, name: &VarName, value: Value) -> Result<Option<Change>, ApplyError> {
        let change = Change::Info { name: name.clone(), value };
        Ok(self.apply(&change)?.then_some(change))
    }

    /// Fixes a variable at this value (`override.`), until it is fixed at another one; gives the changes that readers must
    /// see.
    ///
    /// # Errors
    /// As [`Device::set`].
    pub fn fix(&mut self, name: &VarName, value: Value) -> Result<Option<Change>, ApplyError> {
        if let Ok(at) = self.find(name.as_str())
            && let Some(variable) = self.variables.get_mut(at)
        {
            variable.fixed = false;
        }
        let change = self.set(name, value)?;
        if let Ok(at) = self.find(name.as_str())
            && let Some(variable) = self.variables.get_mut(at)
        {
            variable.fixed = true;
        }
        Ok(change)
    }

    /// Applies a change and says whether anything became different by it.
    ///
    /// # Errors
    /// See [`ApplyError`]; the device is as it was.
    pub fn apply(&mut self, change: &Change) -> Result<bool, ApplyError> {
        match change {
            Change::Info { name, value } => self.apply_info(name, value),
            Change::NoInfo { name } => Ok(match self.find(name.as_str()) {
                Ok(at) if self.variables.get(at).is_some_and(|variable| !variable.fixed) => {
                    self.variables.remove(at);
                    true
                }
                Ok(_) | Err(_) => false,
            }),
            Change::Choice { name, value } => {
                let choices = &mut self.existing(name)?.extras().choices;
                if choices.contains(value) {
                    return Ok(false);
                }
                room(choices.len(), MAX_CHOICES, "values of one variable")?;
                choices.push(value.clone());
                Ok(true)
            }
            Change::NoChoice { name, value } => {
                let choices = &mut self.existing(name)?.extras().choices;
                let found = choices.iter().position(|one| one.0.eq_ignore_ascii_case(&value.0));
                Ok(found.map(|at| choices.remove(at)).is_some())
            }
            Change::Range { name, range } => {
                if range.min > range.max {
                    return Err(ApplyError::EmptyRange { name: name.clone() });
                }
                let variable = self.existing(name)?;
                let ranges = &mut variable.extras().ranges;
                if ranges.iter().any(|one| one.min == range.min || one.max == range.max) {
                    return Ok(false);
                }
                room(ranges.len(), MAX_CHOICES, "ranges of one variable")?;
                ranges.push(*range);
                Ok(true)
            }
            Change::NoRange { name, range } => {
                let ranges = &mut self.existing(name)?.extras().ranges;
                let found = ranges.iter().position(|one| one.min == range.min || one.max == range.max);
                Ok(found.map(|at| ranges.remove(at)).is_some())
            }
            Change::Aux { name, aux } => {
                let variable = self.existing(name)?;
                let changed = variable.aux() != *aux;
                if changed {
                    variable.extras().aux = *aux;
                }
                Ok(changed)
            }
            Change::Flags { name, flags } => {
                let variable = self.existing(name)?;
                let changed = !variable.fixed && variable.flags != *flags;
                if changed {
                    variable.flags = *flags;
                }
                Ok(changed)
            }
            Change::Command { name } => match self.find_command(name.as_str()) {
                Ok(_) => Ok(false),
                Err(at) => {
                    room(self.commands.len(), MAX_COMMANDS, "commands")?;
                    self.commands.insert(at, name.clone());
                    Ok(true)
                }
            },
            Change::NoCommand { name } => Ok(match self.find_command(name.as_str()) {
                Ok(at) => {
                    self.commands.remove(at);
                    true
                }
                Err(_) => false,
            }),
        }
    }

    /// Everything there is, as the changes that build it, in the order of a driver's dump (driver-socket §3.2).
    pub fn dump(&self) -> impl Iterator<Item = Change> + '_ {
        let commands = self.commands.iter().map(|name| Change::Command { name: name.clone() });
        self.variables.iter().flat_map(Variable::dump).chain(commands)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn apply_info(&mut self, name: &VarName, value: &Value) -> Result<bool, ApplyError> {
        match self.find(name.as_str()) {
            Ok(at) => {
                let Some(variable) = self.variables.get_mut(at) else { return Ok(false) };
                let same = variable.value.0.eq_ignore_ascii_case(&value.0);
                if variable.fixed || same {
                    return Ok(false);
                }
                variable.value = value.clone();
            }
            Err(at) => {
                room(self.variables.len(), MAX_VARIABLES, "variables")?;
                let variable = Variable {
                    name: name.clone(),
                    value: value.clone(),
                    flags: Flags::default(),
                    fixed: false,
                    extras: None,
                };
                self.variables.insert(at, variable);
            }
        }
        Ok(true)
    }

    fn existing(&mut self, name: &VarName) -> Result<&mut Variable, ApplyError> {
        let found = self.find(name.as_str()).ok().and_then(|at| self.variables.get_mut(at));
        found.ok_or_else(|| ApplyError::NoVariable { name: name.clone() })
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.variables.binary_search_by(|one| cmp_ignoring_case(one.name.as_str(), name))
    }

    fn find_command(&self, name: &str) -> Result<usize, usize> {
        self.commands.binary_search_by(|one| cmp_ignoring_case(one.as_str(), name))
    }
}

impl Variable {
    /// This variable as the changes that build it, in the order of a driver's dump.
    pub fn dump(&self) -> impl Iterator<Item = Change> + '_ {
        let name = || self.name.clone();
        let info = Change::Info { name: name(), value: self.value.clone() };
        let choices =
            self.choices().iter().map(move |value| Change::Choice { name: name(), value: value.clone() });
        let ranges = self.ranges().iter().map(move |range| Change::Range { name: name(), range: *range });
        let aux = (self.aux() != 0).then(|| Change::Aux { name: name(), aux: self.aux() });
        let flags =
            (!self.flags.is_empty() || self.fixed).then(|| Change::Flags { name: name(), flags: self.flags });
        std::iter::once(info).chain(choices).chain(ranges).chain(aux).chain(flags)
    }
}

fn room(now: usize, limit: usize, what: &'static str) -> Result<(), ApplyError> {
    if now < limit { Ok(()) } else { Err(ApplyError::TooMany { what, limit }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn var(name: &str) -> VarName {
        name.parse().unwrap()
    }

    fn info(name: &str, value: &str) -> Change {
        Change::Info { name: var(name), value: value.into() }
    }

    #[test]
    fn a_value_that_differs_only_in_case_has_not_changed() {
        let mut device = Device::default();
        assert_eq!(device.set(&var("ups.status"), "OL".into()), Ok(Some(info("ups.status", "OL"))));
        assert_eq!(device.set(&var("UPS.Status"), "ol".into()), Ok(None));
        assert_eq!(device.set(&var("ups.status"), "OB".into()), Ok(Some(info("ups.status", "OB"))));
        assert_eq!(device.get("UPS.STATUS").unwrap().as_str(), "OB");
    }

    #[test]
    fn an_override_stands_whatever_the_driver_says() {
        let mut device = Device::default();
        assert!(device.fix(&var("battery.charge.low"), "30".into()).unwrap().is_some());
        assert_eq!(device.set(&var("battery.charge.low"), "10".into()), Ok(None));
        assert_eq!(
            device.apply(&Change::Flags { name: var("battery.charge.low"), flags: Flags::WRITABLE }),
            Ok(false)
        );
        assert_eq!(device.apply(&Change::NoInfo { name: var("battery.charge.low") }), Ok(false));
        assert_eq!(device.get("battery.charge.low").unwrap().as_str(), "30");
    }

    #[test]
    fn a_dump_is_in_nuts_order_and_builds_the_same_device() {
        let mut device = Device::default();
        let n = || var("input.transfer.low");
        for change in [
            info("ups.status", "OL"),
            info("input.transfer.low", "103"),
            Change::Flags { name: n(), flags: Flags::WRITABLE_STRING },
            Change::Aux { name: n(), aux: 3 },
            Change::Choice { name: n(), value: "103".into() },
            Change::Choice { name: n(), value: "100".into() },
            Change::Choice { name: n(), value: "103".into() },
            Change::Range { name: n(), range: Range { min: 1, max: 10 } },
            Change::Range { name: n(), range: Range { min: 5, max: 10 } },
            Change::Command { name: "load.off".parse().unwrap() },
            Change::Command { name: "Beeper.Mute".parse().unwrap() },
            Change::Command { name: "LOAD.OFF".parse().unwrap() },
        ] {
            device.apply(&change).unwrap();
        }
        let dump: Vec<Change> = device.dump().collect();
        assert_eq!(
            dump,
            [
                info("input.transfer.low", "103"),
                Change::Choice { name: n(), value: "103".into() },
                Change::Choice { name: n(), value: "100".into() },
                Change::Range { name: n(), range: Range { min: 1, max: 10 } },
                Change::Aux { name: n(), aux: 3 },
                Change::Flags { name: n(), flags: Flags::WRITABLE_STRING },
                info("ups.status", "OL"),
                Change::Command { name: "Beeper.Mute".parse().unwrap() },
                Change::Command { name: "load.off".parse().unwrap() },
            ]
        );
        let mut copy = Device::default();
        for change in &dump {
            assert_eq!(copy.apply(change), Ok(true), "{change:?}");
        }
        assert_eq!(copy, device);
    }

    #[test]
    fn an_attribute_needs_its_variable() {
        let mut device = Device::default();
        assert_eq!(
            device.apply(&Change::Aux { name: var("x.y"), aux: 1 }),
            Err(ApplyError::NoVariable { name: var("x.y") })
        );
    }

    #[test]
    fn a_device_does_not_grow_without_end() {
        let mut device = Device::default();
        for nth in 0..MAX_VARIABLES {
            device.set(&var(&format!("v.{nth}")), "1".into()).unwrap();
        }
        assert!(matches!(device.set(&var("one.more"), "1".into()), Err(ApplyError::TooMany { .. })));
        assert_eq!(device.set(&var("v.7"), "2".into()).unwrap(), Some(info("v.7", "2")));
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let name = || "[a-cA-C]{1,2}".prop_map(|n| n.parse::<VarName>().unwrap());
        let value = || "[ -~]{0,6}".prop_map(|v| Value::new(&v));
        prop_oneof![
            (name(), value()).prop_map(|(name, value)| Change::Info { name, value }),
            name().prop_map(|name| Change::NoInfo { name }),
            (name(), value()).prop_map(|(name, value)| Change::Choice { name, value }),
            (name(), value()).prop_map(|(name, value)| Change::NoChoice { name, value }),
            (name(), 0i64..5, 0i64..9)
                .prop_map(|(name, min, max)| Change::Range { name, range: Range { min, max } }),
            (name(), 0i64..9).prop_map(|(name, aux)| Change::Aux { name, aux }),
            (name(), any::<bool>(), any::<bool>()).prop_map(|(name, writable, string)| Change::Flags {
                name,
                flags: Flags { writable, string, number: false }
            }),
            name().prop_map(|name| Change::Command { name: name.as_str().parse().unwrap() }),
            name().prop_map(|name| Change::NoCommand { name: name.as_str().parse().unwrap() }),
        ]
    }

    #[test]
    fn a_device_has_room_for_so_many_commands_and_no_more() {
        let mut device = Device::default();
        let add = |device: &mut Device, n: usize| {
            device.apply(&Change::Command { name: format!("test.{n}").parse().unwrap() })
        };
        for n in 0..MAX_COMMANDS {
            assert_eq!(add(&mut device, n), Ok(true));
        }
        assert_eq!(
            add(&mut device, MAX_COMMANDS),
            Err(ApplyError::TooMany { what: "commands", limit: MAX_COMMANDS })
        );
        assert_eq!(add(&mut device, 7), Ok(false), "it is there");
        assert_eq!(device.commands().len(), MAX_COMMANDS);
    }

    proptest! {
        #[test]
        fn a_copy_fed_with_real_changes_stays_equal(changes in prop::collection::vec(any_change(), 0..60)) {
            let (mut device, mut copy) = (Device::default(), Device::default());
            for change in &changes {
                if device.apply(change) == Ok(true) {
                    prop_assert_eq!(copy.apply(change), Ok(true));
                }
            }
            prop_assert_eq!(&device, &copy);
            let sorted = device.variables().windows(2).all(|pair| pair[0].name() < pair[1].name());
            prop_assert!(sorted);
        }
    }
}
