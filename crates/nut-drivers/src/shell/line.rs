//! The command line all drivers share (driver-framework §2).

use crate::driver::About;
use clap::ArgAction;
use nut_os::daemon::ProcessId;
use nut_os::options::{self, Foreground, OnMisuse, by_prefix, count, flag, text, texts, value};
use nut_proto::names::UpsName;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// What the command line says.
#[derive(Debug, Clone)]
pub(super) struct CommandLine {
    pub(super) ups: UpsName,
    /// `-a`: with a section of ups.conf. Without: `-s`, everything is on the command line.
    pub(super) with_file: bool,
    /// `-x`.
    pub(super) lines: Vec<String>,
    pub(super) task: Task,
    pub(super) foreground: Foreground,
    /// How many `-D`.
    pub(super) debug: u8,
    /// `-i`.
    pub(super) interval: Option<Duration>,
    /// `-P`.
    pub(super) pid: Option<ProcessId>,
    /// `-r`.
    pub(super) chroot: Option<String>,
    /// `-u`.
    pub(super) user: Option<String>,
    /// `-g`.
    pub(super) group: Option<String>,
}

/// What the process is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Serve.
    Serve,
    /// `-d`.
    Dump { updates: u32 },
    /// `-k`.
    KillPower,
    /// `-c`.
    Tell(Word),
}

/// What a running instance can be told by `-c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Read the configuration again; say whether a restart is needed.
    ReloadOrError,
    /// The same, but end if one is needed.
    ReloadOrExit,
    /// End.
    Exit,
}

/// NUT's order: an abbreviation means the first that fits.
const WORDS: [(&str, Word); 4] = [
    ("reload-or-error", Word::ReloadOrError),
    ("exit", Word::Exit),
    ("reload", Word::ReloadOrError),
    ("reload-or-exit", Word::ReloadOrExit),
];

fn command(about: &About) -> clap::Command {
    let own: Vec<String> =
        about.options.iter().map(|one| format!("  -x {}: {}", one.name, one.help)).collect();
    let title = if own.is_empty() {
        about.title.to_owned()
    } else {
        format!("{}\n\nOptions of this driver, with -x or in ups.conf:\n{}", about.title, own.join("\n"))
    };
    options::command(about.name, about.title)
        .about(title)
        .args(options::foreground_flags())
        .arg(value('a', "ups", "use this section of ups.conf").action(ArgAction::Append))
        .arg(value('s', "ups", "use no ups.conf; needs -x port=...").action(ArgAction::Append))
        .arg(
            value('x', "name[=value]", "set an option, as a line of ups.conf would")
                .action(ArgAction::Append),
        )
        .arg(value('d', "n", "update n times, show all variables on standard output, and end"))
        .arg(value('i', "seconds", "time from one update to the next"))
        .arg(flag('k', "cut the power of the UPS now"))
        .arg(
            value('c', "word", "tell the running instance: reload, reload-or-error, reload-or-exit, exit")
                .action(ArgAction::Append),
        )
        .arg(value('P', "pid", "tell this process instead of the one in the PID file"))
        .arg(flag('L', "list the options of this driver"))
        .arg(flag('q', "accepted, without effect"))
        .arg(value('r', "directory", "make this directory the root of all paths"))
        .arg(value('u', "user", "run as this user"))
        .arg(value('g', "group", "let this group use the driver's socket"))
}

impl CommandLine {
    /// Reads the command line.
    ///
    /// `Err`: there is nothing more to do, and what was to be said has been said.
    pub(super) fn read(
        about: &'static About,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, ExitCode> {
        let matches = options::parse(command(about), args, OnMisuse::HintAndFail)?;
        if count(&matches, 'L') > 0 {
            let table = crate::options::table(about);
            if !table.is_empty() {
                options::say(&table);
            }
            return Err(ExitCode::SUCCESS);
        }
        Self::from_matches(&matches).map_err(|text| {
            options::complain(about.name, &text);
            ExitCode::FAILURE
        })
    }

    fn from_matches(matches: &clap::ArgMatches) -> Result<Self, String> {
        let named: Vec<(&str, bool)> = texts(matches, 'a')
            .map(|ups| (ups, true))
            .chain(texts(matches, 's').map(|ups| (ups, false)))
            .collect();
        let (ups, with_file) = match named.as_slice() {
            [one] => *one,
            [] => {
                return Err(
                    "specify -a <ups> (a section of ups.conf), or -s <ups> with -x port=<port>".to_owned()
                );
            }
            _ => return Err("only one -a or -s can be given".to_owned()),
        };
        let ups = ups.parse().map_err(|error| format!("{ups:?} names no UPS: {error}"))?;
        let updates: u32 = match text(matches, 'd') {
            None => 0,
            Some(text) => text.parse().map_err(|_| format!("-d takes a number of updates, not {text:?}"))?,
        };
        let interval = match text(matches, 'i') {
            None => None,
            Some(text) => Some(
                text.parse()
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .map(Duration::from_secs)
                    .ok_or_else(|| format!("-i takes a number of seconds above 0, not {text:?}"))?,
            ),
        };
        let words: Vec<&str> = texts(matches, 'c').collect();
        let word = match words.as_slice() {
            [] => None,
            [one] => Some(by_prefix(one, &WORDS).ok_or_else(|| format!("-c has no word {one:?}; see -h"))?),
            _ => return Err("only one -c can be given".to_owned()),
        };
        let task = match (word, count(matches, 'k') > 0, updates) {
            (Some(word), _, _) => Task::Tell(word),
            (None, true, _) => Task::KillPower,
            (None, false, 0) => Task::Serve,
            // One at the start, and NUT's "one more than asked for".
            (None, false, updates) => Task::Dump { updates: updates.saturating_add(1) },
        };
        let pid = match text(matches, 'P') {
            None => None,
            Some(text) => Some(
                ProcessId::parse(text).ok_or_else(|| format!("-P takes a process number, not {text:?}"))?,
            ),
        };
        let foreground = match task {
            Task::Serve => Foreground::decide(matches, false),
            Task::Dump { .. } | Task::KillPower | Task::Tell(_) => Foreground::Foreground,
        };
        let owned = |letter| text(matches, letter).map(str::to_owned);
        Ok(Self {
            ups,
            with_file,
            lines: texts(matches, 'x').map(str::to_owned).collect(),
            task,
            foreground,
            debug: count(matches, 'D'),
            interval,
            pid,
            chroot: owned('r'),
            user: owned('u'),
            group: owned('g'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About = About { name: "testdriver", title: "Test", version: "1", options: &[] };

    fn read(line: &str) -> Result<CommandLine, String> {
        let args = std::iter::once("testdriver").chain(line.split_whitespace());
        let matches = command(&ABOUT).try_get_matches_from(args).map_err(|error| error.kind().to_string())?;
        CommandLine::from_matches(&matches)
    }

    #[test]
    fn what_a_line_asks_for() {
        let task = |line: &str| read(line).map(|line| (line.task, line.foreground));
        let tell = |word| Ok((Task::Tell(word), Foreground::Foreground));
        for (line, expected) in [
            ("-a ups", Ok((Task::Serve, Foreground::Background))),
            ("-s ups -x port=a -F", Ok((Task::Serve, Foreground::Foreground))),
            ("-a ups -FF", Ok((Task::Serve, Foreground::ForegroundWithPidFile))),
            ("-a ups -D", Ok((Task::Serve, Foreground::Foreground))),
            ("-a ups -DDB", Ok((Task::Serve, Foreground::Background))),
            ("-a ups -k", Ok((Task::KillPower, Foreground::Foreground))),
            ("-a ups -d 3", Ok((Task::Dump { updates: 4 }, Foreground::Foreground))),
            ("-a ups -d 0", Ok((Task::Serve, Foreground::Background))),
            ("-a ups -c reload", tell(Word::ReloadOrError)),
            ("-a ups -c r", tell(Word::ReloadOrError)),
            ("-a ups -c reload-or-exit", tell(Word::ReloadOrExit)),
            ("-a ups -c exit", tell(Word::Exit)),
        ] {
            assert_eq!(task(line), expected, "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "-a",
            "-a x -a y",
            "-a x -s y",
            "-a x -i 0",
            "-a x -i soon",
            "-a x -d x",
            "-a x -c jump",
            "-a x -c r -c r",
            "-a x -P 0",
            "-a x word",
            "-a x -Z",
            "-a a/b",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
