//! What variables and commands mean, for `GET DESC` and `GET CMDDESC`.
//!
//! NUT's file `cmdvartab`, if there is one in DATAPATH; else the table this program brings along, in words of its own.

use nut_proto::words::split;
use std::collections::HashMap;

/// Most descriptions of either kind; NUT's file has some 500.
const MAX: usize = 20_000;

/// What an unknown name means.
const UNKNOWN: &str = "Description unavailable";

/// The descriptions of one file.
#[derive(Debug, Clone, Default)]
pub struct Descriptions {
    variables: HashMap<Box<str>, Box<str>>,
    commands: HashMap<Box<str>, Box<str>>,
}

impl Descriptions {
    /// Reads lines `VARDESC <name> "<text>"` and `CMDDESC <name> "<text>"`; of two with one name the later counts.
    /// Other lines are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut read = Self::default();
        for words in text.split(|byte| *byte == b'\n').filter_map(|line| split(line).ok()) {
            let (Some(kind), Some(name), Some(text)) = (words.get(0), words.get(1), words.get(2)) else {
                continue;
            };
            let table = match kind {
                "VARDESC" => &mut read.variables,
                "CMDDESC" => &mut read.commands,
                _ => continue,
            };
            if table.len() < MAX {
                table.insert(name.to_ascii_lowercase().into(), text.into());
            }
        }
        read
    }

    /// The table this program brings along.
    #[must_use]
    pub fn built_in() -> Self {
        Self::parse(include_bytes!("../data/cmdvartab"))
    }

    /// What a variable means. One that a driver passes on from another server (`upstream.`) means what it means there.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("upstream.").unwrap_or(&name);
        self.variables.get(name).map_or(UNKNOWN, |text| text)
    }

    /// What a command does.
    #[must_use]
    pub fn command(&self, name: &str) -> &str {
        self.commands.get(name.to_ascii_lowercase().as_str()).map_or(UNKNOWN, |text| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_case_and_the_last_line_counts() {
        let read = Descriptions::parse(
            b"# comment\nVARDESC ups.Status \"first\"\nVARDESC ups.status \"last\"\nCMDDESC load.off \"Turn off\"\n\
              CMDDESC half\nOTHER a \"b\"\nVARDESC \"a#b\" x\n",
        );
        assert_eq!(read.variable("UPS.STATUS"), "last");
        assert_eq!(read.variable("Upstream.ups.status"), "last");
        assert_eq!(read.command("LOAD.off"), "Turn off");
        for unknown in [read.variable("load.off"), read.command("ups.status"), read.command("half")] {
            assert_eq!(unknown, "Description unavailable");
        }
    }

    #[test]
    fn the_table_we_bring_is_whole_plain_and_without_repetition() {
        let text = include_bytes!("../data/cmdvartab");
        let mut seen = std::collections::HashSet::new();
        for line in text.split(|byte| *byte == b'\n') {
            assert!(line.is_ascii());
            let words = split(line).unwrap();
            if words.is_empty() {
                continue;
            }
            let [kind, name, meaning] = [0, 1, 2].map(|nth| words.get(nth).unwrap());
            assert!(matches!(kind, "VARDESC" | "CMDDESC") && words.len() == 3, "{name}");
            assert!(seen.insert((kind.to_owned(), name.to_ascii_lowercase())), "{name} twice");
            // Some clients stumble over quotes (upsd-clients-in-the-wild §1, 8).
            assert!(
                !meaning.is_empty() && meaning.len() <= 80 && !meaning.contains(['"', '\\', '#']),
                "{name}"
            );
        }
        let built_in = Descriptions::built_in();
        for name in ["ups.status", "battery.charge", "input.transfer.low", "driver.name", "battery.date"] {
            assert_ne!(built_in.variable(name), UNKNOWN, "{name}");
        }
        for name in ["load.off", "shutdown.return", "test.battery.start", "calibrate.start"] {
            assert_ne!(built_in.command(name), UNKNOWN, "{name}");
        }
    }
}
