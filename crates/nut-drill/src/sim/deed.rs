//! What a simulated unit did, in words that a test asserts and a person reads in a timeline.

use std::fmt;

use nut_proto::Moment;

/// One thing the unit did. The moment it happened is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// `Y` was obeyed.
    SmartModeOn,
    /// `R` was obeyed, or the unit fell back by itself.
    SmartModeOff,
    /// The load runs from the battery.
    WentOnBattery {
        /// Why.
        cause: BatteryCause,
    },
    /// The load runs from mains again.
    BackOnMains,
    /// The battery became low.
    BatteryLow,
    /// The battery is no longer low.
    BatteryNoLongerLow,
    /// A shutdown command was confirmed.
    ShutdownAccepted {
        /// Which.
        command: ShutdownCommand,
        /// When the load will be switched off.
        off_at: Moment,
    },
    /// A shutdown command was refused, or came in a form that does nothing.
    ShutdownRefused {
        /// Which.
        command: ShutdownCommand,
        /// Why.
        why: Refusal,
    },
    /// `DEL` ended a shutdown whose delay was running.
    ShutdownAborted {
        /// Which.
        command: ShutdownCommand,
    },
    /// The load lost its power.
    LoadOff {
        /// By what.
        by: OffBy,
    },
    /// The unit now waits for mains before it switches the load on.
    SleepUntilMains,
    /// The load has power again.
    LoadOn {
        /// By what.
        by: OnBy,
    },
    /// A self test began, ended or was stopped.
    SelfTest(SelfTest),
    /// A runtime calibration began, ended or was stopped.
    Calibration(Calibration),
    /// The front-panel test ran.
    PanelTest,
    /// The load was switched to the bypass or back.
    Bypass(Bypass),
    /// A setting was written.
    EepromWrite {
        /// The query byte of the setting.
        setting: u8,
        /// Its new value.
        value: Vec<u8>,
    },
    /// All settings but name and battery date are as they left the factory.
    FactoryReset,
    /// The battery was found to need replacement.
    ReplaceBattery,
}

/// Why the load runs from the battery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatteryCause {
    /// Mains failed.
    MainsFailed,
    /// `U`.
    Simulated,
    /// `D`.
    Calibration,
}

/// A command that ends with the load off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShutdownCommand {
    /// `S`: off, and back with mains.
    Soft,
    /// `@ddd`: off, and back with mains after an extra delay. The text holds the digits.
    Hibernate {
        /// The digits as they came.
        digits: String,
    },
    /// `K` twice: off after the grace delay, until switched on.
    StayOff,
    /// `Z` twice: off at once, until switched on.
    OffNow,
}

/// Why a shutdown command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `S` while the load is on mains.
    OnMains,
    /// The output is off already.
    OutputOff,
    /// The second byte came too early.
    TooSoon,
    /// `@000` on an old unit, or digits that were none.
    Meaningless,
    /// After an accepted `S`.
    Busy,
}

/// By what the load lost its power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OffBy {
    /// A command.
    Command(ShutdownCommand),
    /// The battery was empty.
    EmptyBattery,
}

/// By what the load got its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBy {
    /// Mains was there, charge and delay were as configured.
    Mains,
    /// The time of `@ddd` was over (old units: mains or not).
    Timer,
    /// `^N` twice.
    Command,
    /// Somebody pressed the button.
    Button,
}

/// A step of a self test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfTest {
    /// `W`.
    Started,
    /// `W` while it ran, or the load went off.
    Stopped,
    /// `X` is `OK`.
    Passed,
    /// `X` is `BT`.
    BatteryTooWeak,
    /// `X` is `NG`.
    Overload,
}

/// A step of a runtime calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// `D`.
    Started,
    /// `D` while it ran, or mains failed.
    Stopped,
    /// The battery is down to where it ends.
    Finished,
    /// The charge is below 100 %.
    Refused,
}

/// Where the load is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bypass {
    /// On the bypass.
    On,
    /// On the inverter.
    Off,
}

impl fmt::Display for ShutdownCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Soft => f.write_str("S"),
            Self::Hibernate { digits } => write!(f, "@{digits}"),
            Self::StayOff => f.write_str("K"),
            Self::OffNow => f.write_str("Z"),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SmartModeOn => f.write_str("smart mode on"),
            Self::SmartModeOff => f.write_str("smart mode off"),
            Self::WentOnBattery { cause } => write!(f, "on battery: {cause}"),
            Self::BackOnMains => f.write_str("back on mains"),
            Self::BatteryLow => f.write_str("battery low"),
            Self::BatteryNoLongerLow => f.write_str("battery no longer low"),
            Self::ShutdownAccepted { command, .. } => write!(f, "{command} accepted"),
            Self::ShutdownRefused { command, why } => write!(f, "{command} refused: {why}"),
            Self::ShutdownAborted { command } => write!(f, "{command} aborted"),
            Self::LoadOff { by } => write!(f, "load off: {by}"),
            Self::SleepUntilMains => f.write_str("asleep until mains is back"),
            Self::LoadOn { by } => write!(f, "load on: {by}"),
            Self::SelfTest(step) => write!(f, "self test {step}"),
            Self::Calibration(step) => write!(f, "calibration {step}"),
            Self::PanelTest => f.write_str("panel test"),
            Self::Bypass(Bypass::On) => f.write_str("load on the bypass"),
            Self::Bypass(Bypass::Off) => f.write_str("load on the inverter"),
            Self::EepromWrite { setting, value } => {
                write!(f, "setting {} is now \"{}\"", setting.escape_ascii(), value.escape_ascii())
            }
            Self::FactoryReset => f.write_str("settings are as from the factory"),
            Self::ReplaceBattery => f.write_str("battery needs replacement"),
        }
    }
}

/// The words of a plain enum, one each.
macro_rules! shown_as {
    ($kind:ident: $($variant:ident $text:literal),+ $(,)?) => {
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}

shown_as!(BatteryCause: MainsFailed "mains failed", Simulated "simulated failure", Calibration "calibration");
shown_as!(Refusal: OnMains "the load is on mains", OutputOff "the output is off", TooSoon "second byte too soon",
    Meaningless "it does nothing on this unit", Busy "S was accepted before");
shown_as!(OnBy: Mains "mains is back", Timer "its time is over", Command "command", Button "button");
shown_as!(SelfTest: Started "started", Stopped "stopped", Passed "passed", BatteryTooWeak "failed: battery too weak",
    Overload "failed: overload");
shown_as!(Calibration: Started "started", Stopped "stopped", Finished "finished",
    Refused "refused: charge below 100 %");

impl fmt::Display for OffBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "command {command}"),
            Self::EmptyBattery => f.write_str("battery empty"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeds_read_as_a_timeline() {
        let hibernate = ShutdownCommand::Hibernate { digits: "007".into() };
        // (deed, text)
        for (deed, text) in [
            (Deed::WentOnBattery { cause: BatteryCause::MainsFailed }, "on battery: mains failed"),
            (Deed::ShutdownAccepted { command: hibernate, off_at: Moment::START }, "@007 accepted"),
            (Deed::LoadOff { by: OffBy::Command(ShutdownCommand::Soft) }, "load off: command S"),
            (
                Deed::ShutdownRefused { command: ShutdownCommand::StayOff, why: Refusal::TooSoon },
                "K refused: second byte too soon",
            ),
            (Deed::LoadOn { by: OnBy::Mains }, "load on: mains is back"),
            (Deed::SelfTest(SelfTest::Passed), "self test passed"),
            (Deed::EepromWrite { setting: b'c', value: b"BOX1".to_vec() }, "setting c is now \"BOX1\""),
        ] {
            assert_eq!(deed.to_string(), text);
        }
    }
}
