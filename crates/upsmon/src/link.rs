//! What the two halves say to each other over their socket pair.
//!
//! The half that stays root reads no network and parses nothing but [`ToParent`].

use std::fmt;

/// All that the unprivileged half can say to root. Adding a word here is a security decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToParent {
    /// Started and watching: a launcher that waits may go. Asks for nothing.
    Ready,
    /// Write the power-down flag, then run the `SHUTDOWNCMD` read at start-up.
    ShutDown,
}

impl ToParent {
    /// The byte on the socket; that for the shutdown is NUT's own.
    #[must_use]
    pub const fn encode(self) -> u8 {
        match self {
            Self::ShutDown => 0x01,
            Self::Ready => 0x02,
        }
    }

    /// What this byte means.
    #[must_use]
    pub const fn parse(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::ShutDown),
            0x02 => Some(Self::Ready),
            _ => None,
        }
    }
}

/// What root tells of what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromParent {
    /// The power-down flag could not be written. The command is run all the same.
    FlagFailed,
    /// The command ran and ended with this code; 0 means that the system is going down.
    Ended(u8),
    /// The command was killed by this signal.
    Killed(u8),
    /// The command could not be run, or there is none.
    NotRun,
}

/// How many bytes one [`FromParent`] has.
pub const REPORT: usize = 2;

impl FromParent {
    /// The bytes on the socket.
    #[must_use]
    pub const fn encode(self) -> [u8; REPORT] {
        match self {
            Self::FlagFailed => [1, 0],
            Self::Ended(code) => [2, code],
            Self::Killed(signal) => [3, signal],
            Self::NotRun => [4, 0],
        }
    }

    /// What these bytes mean.
    #[must_use]
    pub const fn parse(bytes: [u8; REPORT]) -> Option<Self> {
        match bytes {
            [1, _] => Some(Self::FlagFailed),
            [2, code] => Some(Self::Ended(code)),
            [3, signal] => Some(Self::Killed(signal)),
            [4, _] => Some(Self::NotRun),
            _ => None,
        }
    }
}

impl fmt::Display for FromParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlagFailed => f.write_str("the power down flag could not be written"),
            Self::Ended(code) => write!(f, "SHUTDOWNCMD ended with code {code}"),
            Self::Killed(signal) => write!(f, "SHUTDOWNCMD was killed by signal {signal}"),
            Self::NotRun => f.write_str("SHUTDOWNCMD could not be run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_survives_the_socket_and_no_other_byte_means_anything() {
        let understood: Vec<_> = (0..=u8::MAX).filter_map(ToParent::parse).collect();
        assert_eq!(understood, [ToParent::ShutDown, ToParent::Ready]);
        for word in understood {
            assert_eq!(ToParent::parse(word.encode()), Some(word));
        }
        for report in [
            FromParent::FlagFailed,
            FromParent::Ended(0),
            FromParent::Ended(7),
            FromParent::Killed(9),
            FromParent::NotRun,
        ] {
            assert_eq!(FromParent::parse(report.encode()), Some(report));
        }
        assert_eq!(FromParent::parse([0, 0]), None);
        assert_eq!(FromParent::parse([9, 1]), None);
    }

    #[test]
    fn the_shutdown_byte_is_nuts() {
        assert_eq!(ToParent::ShutDown.encode(), 1);
    }
}
