//! The command line as all NUT programs have it.
//!
//! Options are declared once, through `clap`, and read as `getopt` reads them: one dash and one letter, clusters
//! (`-FF`, `-DDD`), the last of two equal ones counts, and with operands the options end at the first of them.

mod foreground;
mod paths;

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use nut_proto::words::truth;

use crate::log::{Chain, without_numbers};

pub use foreground::{Foreground, foreground_flags};
pub use paths::Paths;

/// The release of NUT whose behaviour we follow; what clients read from `VER`.
pub const NUT_LEVEL: &str = "2.8.4";

/// Our own version.
pub const COBNUT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The line that names a program and its version: `Network UPS Tools upsd 2.8.4 (Cobnut 0.1.0)`.
#[must_use]
pub fn banner(program: &str) -> String {
    format!("Network UPS Tools {program} {NUT_LEVEL} (Cobnut {COBNUT_VERSION})")
}

/// Whether a daemon says its [`banner`] at the start: unless `NUT_QUIET_INIT_BANNER` is set to something but `0`,
/// `false`, `no` or `off`. (NUT, by a bug, is quiet with any value except `1`.)
#[must_use]
pub fn banner_wanted() -> bool {
    let value = std::env::var("NUT_QUIET_INIT_BANNER").unwrap_or_default();
    value.is_empty() || truth(&value) == Some(false)
}

/// The name this program was called by, without directories; `default` if that is not known.
#[must_use]
pub fn program_name(default: &str) -> String {
    std::env::args_os()
        .next()
        .and_then(|arg| Path::new(&arg).file_name()?.to_str().map(str::to_owned))
        .unwrap_or_else(|| default.to_owned())
}

/// A command line with `-h` and `-V` and nothing else yet.
#[must_use]
pub fn command(program: &'static str, about: &'static str) -> Command {
    Command::new(program)
        .about(about)
        .version(NUT_LEVEL)
        .before_help(StyledStr::from(banner(program)))
        .help_template("{before-help}{usage-heading} {usage}\n\n{about}\n\n{all-args}")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(Arg::new("help").short('h').action(ArgAction::Help).help("show this help"))
        .arg(Arg::new("version").short('V').action(ArgAction::Version).help("show the version"))
}

/// An option without argument; how often it was given is counted (see [`count`]). Its id is its letter.
#[must_use]
pub fn flag(letter: char, help: &'static str) -> Arg {
    Arg::new(id(letter)).short(letter).action(ArgAction::Count).help(help)
}

/// An option without argument that has a word instead of a letter (see [`is_given`]). Its id is its word.
#[must_use]
pub fn long_flag(word: &'static str, help: &'static str) -> Arg {
    Arg::new(word).long(word).action(ArgAction::SetTrue).help(help)
}

/// An option with one argument, which may begin with a dash; of several the last counts. Its id is its letter.
///
/// For one that may be repeated add `.action(ArgAction::Append)`.
#[must_use]
pub fn value(letter: char, name: &'static str, help: &'static str) -> Arg {
    Arg::new(id(letter))
        .short(letter)
        .value_name(name)
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
        .help(help)
}

/// All words from the first operand on, whether they begin with a dash or not. The id is `operands`.
#[must_use]
pub fn operands(name: &'static str, help: &'static str) -> Arg {
    Arg::new("operands").value_name(name).num_args(0..).trailing_var_arg(true).help(help)
}

/// What an option's values are kept under: its letter, as a text that lives as long as the program.
fn id(letter: char) -> &'static str {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let at = LETTERS.find(letter).and_then(|at| LETTERS.get(at..=at));
    at.unwrap_or("other")
}

/// How often this flag was given.
#[must_use]
pub fn count(matches: &ArgMatches, letter: char) -> u8 {
    matches.try_get_one::<u8>(id(letter)).ok().flatten().copied().unwrap_or(0)
}

/// Whether this [`long_flag`] was given.
#[must_use]
pub fn is_given(matches: &ArgMatches, word: &str) -> bool {
    matches.try_get_one::<bool>(word).ok().flatten().copied().unwrap_or(false)
}

/// The argument of this option, if it was given.
#[must_use]
pub fn text(matches: &ArgMatches, letter: char) -> Option<&str> {
    matches.try_get_one::<String>(id(letter)).ok().flatten().map(String::as_str)
}

/// All arguments of an option that may be repeated, in order.
pub fn texts(matches: &ArgMatches, letter: char) -> impl Iterator<Item = &str> {
    list(matches, id(letter))
}

/// The operands, in order.
pub fn operand_texts(matches: &ArgMatches) -> impl Iterator<Item = &str> {
    list(matches, "operands")
}

fn list<'a>(matches: &'a ArgMatches, id: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    matches.try_get_many::<String>(id).ok().flatten().into_iter().flatten().map(String::as_str)
}

/// What a program does about a command line it cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMisuse {
    /// Shows the help on standard output and succeeds, as NUT's clients and daemons do.
    HelpAndSucceed,
    /// Hints at `-h` on standard error and fails with 1, as NUT's drivers do.
    HintAndFail,
}

/// Reads the command line (`args` with the program's name first, as from `std::env::args_os`).
///
/// # Errors
/// When there is nothing more to do: help or version was asked for and has been shown, or the line made no sense and
/// that has been said. The code is what the program must end with.
pub fn parse(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    on_misuse: OnMisuse,
) -> Result<ArgMatches, ExitCode> {
    match read(command, args, on_misuse) {
        Ok(matches) => Ok(matches),
        Err(stop) => {
            if !stop.stderr.is_empty() {
                // With standard error gone there is nobody left to tell.
                let _ = writeln!(io::stderr(), "{}", stop.stderr);
            }
            if !stop.stdout.is_empty() {
                say(&stop.stdout);
            }
            Err(ExitCode::from(stop.code))
        }
    }
}

/// Why the command line ends the program, and with which words.
#[derive(Debug, PartialEq, Eq)]
struct Stop {
    stdout: String,
    stderr: String,
    code: u8,
}

fn read(
    mut command: Command,
    args: impl IntoIterator<Item = OsString>,
    on_misuse: OnMisuse,
) -> Result<ArgMatches, Stop> {
    let program = command.get_name().to_owned();
    let error = match command.try_get_matches_from_mut(args) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    let help = || command.clone().render_help().to_string().trim_end().to_owned();
    Err(match error.kind() {
        ErrorKind::DisplayHelp => Stop { stdout: help(), stderr: String::new(), code: 0 },
        ErrorKind::DisplayVersion => Stop { stdout: banner(&program), stderr: String::new(), code: 0 },
        _ => {
            let complaint = complaint(&program, &error);
            match on_misuse {
                OnMisuse::HelpAndSucceed => Stop { stdout: help(), stderr: complaint, code: 0 },
                OnMisuse::HintAndFail => {
                    let hint = format!("{complaint}\nTry '{program} -h' for the options.");
                    Stop { stdout: String::new(), stderr: hint, code: 1 }
                }
            }
        }
    })
}

/// What is wrong with the command line, in `getopt`'s words.
fn complaint(program: &str, error: &clap::Error) -> String {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let argument = named(ContextKind::InvalidArg);
    let letter = argument.strip_prefix('-').and_then(|rest| rest.chars().next());
    match (error.kind(), letter) {
        (ErrorKind::UnknownArgument, Some('-')) => format!("{program}: unrecognized option '{argument}'"),
        (ErrorKind::UnknownArgument, Some(letter)) => format!("{program}: invalid option -- '{letter}'"),
        (ErrorKind::UnknownArgument, None) => format!("{program}: too many words: '{argument}'"),
        (ErrorKind::InvalidValue, Some(letter)) if named(ContextKind::InvalidValue).is_empty() => {
            format!("{program}: option requires an argument -- '{letter}'")
        }
        (ErrorKind::InvalidUtf8, _) => format!("{program}: the command line is not valid UTF-8"),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{program}: {}", first.strip_prefix("error: ").unwrap_or(first))
        }
    }
}

/// Writes a text and a line feed to standard output. A reader that has gone away (`| head`) is no error.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Says on standard error why `program` ends, with all that led to it, and gives the exit code 1.
pub fn fatal(program: &str, error: &(dyn Error + 'static)) -> ExitCode {
    complain(program, &Chain(error));
    ExitCode::FAILURE
}

/// Writes `program: text` and a line feed to standard error.
pub fn complain(program: &str, text: &dyn fmt::Display) {
    let text = without_numbers(&text.to_string());
    let _ = writeln!(io::stderr().lock(), "{program}: {text}");
}

/// The choice that `word` means, which may be abbreviated; the first that fits counts. An empty word means none.
///
/// (NUT takes an empty word for the first choice, which makes `upsmon -c ""` a shutdown.)
#[must_use]
pub fn by_prefix<T: Copy>(word: &str, choices: &[(&str, T)]) -> Option<T> {
    let fits = |name: &str| !word.is_empty() && name.starts_with(word);
    choices.iter().find(|(name, _)| fits(name)).map(|(_, choice)| *choice)
}

/// The debug level: how many `-D` were given, else `NUT_DEBUG_LEVEL`, else 0.
#[must_use]
pub fn debug_level(given: u8) -> u8 {
    debug_level_from(given, std::env::var("NUT_DEBUG_LEVEL").ok().as_deref())
}

fn debug_level_from(given: u8, environment: Option<&str>) -> u8 {
    if given > 0 {
        return given;
    }
    let level: i64 = environment.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    u8::try_from(level.clamp(0, i64::from(u8::MAX))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon() -> Command {
        command("upsd", "serves UPS data").args(foreground_flags()).arg(value(
            'u',
            "user",
            "run as this user",
        ))
    }

    fn tool() -> Command {
        command("upsc", "shows variables")
            .arg(flag('l', "list"))
            .arg(value('s', "setting", "what to set").action(ArgAction::Append))
            .arg(operands("ups", "which UPS, which variable"))
    }

    fn read_line(command: Command, line: &str) -> Result<ArgMatches, Stop> {
        let program = command.get_name().to_owned();
        let args = std::iter::once(program.as_str()).chain(line.split_whitespace()).map(OsString::from);
        read(command, args, OnMisuse::HelpAndSucceed)
    }

    #[test]
    fn of_two_equal_options_the_last_counts() {
        let matches = read_line(daemon(), "-u a -ub").unwrap();
        assert_eq!(text(&matches, 'u'), Some("b"));
        assert_eq!(text(&matches, 'x'), None);
        assert_eq!(count(&matches, 'x'), 0);
    }

    #[test]
    fn options_end_at_the_first_operand() {
        let matches = read_line(tool(), "-l -s a=1 -s -2 ups@host -h -s x").unwrap();
        assert_eq!(count(&matches, 'l'), 1);
        assert_eq!(texts(&matches, 's').collect::<Vec<_>>(), ["a=1", "-2"]);
        assert_eq!(operand_texts(&matches).collect::<Vec<_>>(), ["ups@host", "-h", "-s", "x"]);
        let matches = read_line(tool(), "-- -l").unwrap();
        assert_eq!(operand_texts(&matches).collect::<Vec<_>>(), ["-l"]);
    }

    #[test]
    fn misuse_is_said_in_getopts_words() {
        for (command, line, expected) in [
            (tool(), "-Z", "upsc: invalid option -- 'Z'"),
            (tool(), "-lZ", "upsc: invalid option -- 'Z'"),
            (tool(), "-l -s", "upsc: option requires an argument -- 's'"),
            (tool(), "--json", "upsc: unrecognized option '--json'"),
            (daemon(), "word", "upsd: too many words: 'word'"),
        ] {
            let stop = read_line(command, line).unwrap_err();
            assert_eq!(stop.stderr, expected, "{line}");
            assert!(stop.stdout.starts_with("Network UPS Tools ups"), "{}", stop.stdout);
            assert_eq!(stop.code, 0);
        }
        let stop = read(tool(), ["upsc", "-Z"].map(OsString::from), OnMisuse::HintAndFail).unwrap_err();
        assert_eq!((stop.code, stop.stdout.as_str()), (1, ""));
    }

    #[test]
    fn help_and_version_come_at_once_and_begin_with_the_banner() {
        let stop = read_line(tool(), "-h -Z").unwrap_err();
        assert_eq!((stop.code, stop.stderr.as_str()), (0, ""));
        assert!(stop.stdout.starts_with(&format!("{}\n\nUsage: upsc ", banner("upsc"))), "{}", stop.stdout);
        let stop = read_line(tool(), "-V").unwrap_err();
        assert_eq!(stop.stdout, format!("Network UPS Tools upsc 2.8.4 (Cobnut {COBNUT_VERSION})"));
    }

    #[test]
    fn a_word_may_be_abbreviated_but_not_to_nothing() {
        let choices = [("fsd", 1), ("stop", 2), ("reload", 3)];
        assert_eq!(by_prefix("re", &choices), Some(3));
        assert_eq!(by_prefix("stop", &choices), Some(2));
        assert_eq!(by_prefix("stops", &choices), None);
        assert_eq!(by_prefix("", &choices), None);
    }

    #[test]
    fn the_environment_gives_a_debug_level_only_without_d() {
        for (given, environment, expected) in [
            (0, None, 0),
            (0, Some("3"), 3),
            (2, Some("5"), 2),
            (0, Some("-1"), 0),
            (0, Some("x"), 0),
            (0, Some("999"), 255),
        ] {
            assert_eq!(debug_level_from(given, environment), expected, "{given} {environment:?}");
        }
    }
}
