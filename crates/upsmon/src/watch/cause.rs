//! Why a UPS does not count as a supply: what a decision rests on, and what the log shows of it.

use std::fmt;
use std::time::Duration;

use super::whole_secs;

/// Why a UPS does not count as a supply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It says `FSD`: somebody has forced its shutdown.
    Forced,
    /// On battery, and the battery is low.
    BatteryLow {
        /// For how long, as far as we know.
        lasted: Duration,
    },
    /// Last heard on battery, and silent for longer than `DEADTIME`.
    SilentOnBattery {
        /// For how long.
        silent: Duration,
    },
    /// It says `OFF` for longer than `OFFDURATION`.
    Off {
        /// For how long.
        lasted: Duration,
    },
    /// Overloaded for `OVERDURATION`, and silent for longer than `DEADTIME`.
    SilentInOverload {
        /// For how long silent.
        silent: Duration,
    },
}

impl Cause {
    /// How long a secondary has waited for its primary to force the shutdown, if this is what it waited for.
    #[must_use]
    pub fn waited_for_primary(&self) -> Option<Duration> {
        match self {
            Self::BatteryLow { lasted: waited } | Self::SilentOnBattery { silent: waited } => Some(*waited),
            Self::Forced | Self::Off { .. } | Self::SilentInOverload { .. } => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forced => f.write_str("its shutdown has been forced (FSD)"),
            Self::BatteryLow { lasted } if lasted.is_zero() => {
                f.write_str("on battery, and the battery is low")
            }
            Self::BatteryLow { lasted } => {
                write!(f, "on battery, and the battery is low for {} s", whole_secs(*lasted))
            }
            Self::SilentOnBattery { silent } => {
                write!(f, "last heard on battery, and silent for {} s", whole_secs(*silent))
            }
            Self::Off { lasted } => write!(f, "off for {} s", whole_secs(*lasted)),
            Self::SilentInOverload { silent } => {
                write!(f, "last heard overloaded, and silent for {} s", whole_secs(*silent))
            }
        }
    }
}
