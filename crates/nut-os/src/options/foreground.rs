//! Whether a daemon goes to the background: its options and what they mean together.

use clap::{Arg, ArgMatches};

use super::{count, flag};

/// The options by which a daemon is told to go to the background or not; see [`Foreground::decide`].
#[must_use]
pub fn foreground_flags() -> [Arg; 3] {
    [
        flag('D', "debug; repeat for more; stays in the foreground"),
        flag('F', "stay in the foreground; twice: and write a PID file").overrides_with("B"),
        flag('B', "go to the background even with -D").overrides_with("F"),
    ]
}

/// Whether a daemon goes to the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreground {
    /// It does, and writes a PID file.
    Background,
    /// It stays, and writes no PID file: a service manager or a person holds it.
    Foreground,
    /// It stays, and writes a PID file nevertheless (`-FF`).
    ForegroundWithPidFile,
}

impl Foreground {
    /// What [`foreground_flags`] say: of `-F` and `-B` the last one counts; without them `-D` keeps the daemon in the
    /// foreground, and so does `stays` (a driver's `-d`).
    #[must_use]
    pub fn decide(matches: &ArgMatches, stays: bool) -> Self {
        match count(matches, 'F') {
            0 if count(matches, 'B') > 0 => Self::Background,
            0 if stays || count(matches, 'D') > 0 => Self::Foreground,
            0 => Self::Background,
            1 => Self::Foreground,
            _ => Self::ForegroundWithPidFile,
        }
    }

    /// Whether the daemon leaves its caller.
    #[must_use]
    pub fn is_background(self) -> bool {
        self == Self::Background
    }

    /// Whether a PID file is written.
    #[must_use]
    pub fn has_pid_file(self) -> bool {
        self != Self::Foreground
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::command;

    fn read(line: &str) -> ArgMatches {
        let args = std::iter::once("upsd").chain(line.split_whitespace());
        command("upsd", "serves UPS data").args(foreground_flags()).try_get_matches_from(args).unwrap()
    }

    #[test]
    fn the_last_of_foreground_and_background_counts_and_beats_debugging() {
        use Foreground::{Background, Foreground as Stays, ForegroundWithPidFile};
        for (line, expected) in [
            ("", Background),
            ("-F", Stays),
            ("-FF", ForegroundWithPidFile),
            ("-F -F", ForegroundWithPidFile),
            ("-B", Background),
            ("-D", Stays),
            ("-DDD", Stays),
            ("-DB", Background),
            ("-F -B", Background),
            ("-B -F", Stays),
            ("-FF -B -F", Stays),
            ("-DFF", ForegroundWithPidFile),
        ] {
            let matches = read(line);
            assert_eq!(Foreground::decide(&matches, false), expected, "{line}");
        }
        let matches = read("");
        assert_eq!(Foreground::decide(&matches, true), Stays);
        assert_eq!(count(&read("-DFDD"), 'D'), 3);
    }
}
