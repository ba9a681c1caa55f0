//! The command line of upsd (upsd §6.1).

use crate::places::Family;
use clap::ArgMatches;
use nut_os::daemon::{Order, ProcessId};
use nut_os::options::{
    self, Foreground, OnMisuse, by_prefix, command, complain, count, debug_level, flag, foreground_flags,
    is_given, long_flag, program_name, text, value,
};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The name we were called by: that of the PID file, too.
    pub program: String,
    /// `-c`: tell the running upsd this, and end.
    pub order: Option<Order>,
    /// `-P`: which process that is, instead of the one in the PID file.
    pub pid: Option<ProcessId>,
    /// `--hash-password`: print the line for upsd.users that a password makes, and end.
    pub hash_password: bool,
    /// `-F`, `-B`, `-D`.
    pub foreground: Foreground,
    /// `-D`, or `NUT_DEBUG_LEVEL`.
    pub debug: u8,
    /// `-q`: how many kinds of lines are not logged, from the least important on.
    pub quiet: u8,
    /// `-r`.
    pub root: Option<PathBuf>,
    /// `-u`.
    pub user: Option<String>,
    /// `-4`, `-6`.
    pub family: Family,
}

/// Who runs upsd when root starts it and names nobody.
pub const DEFAULT_USER: &str = "nut";

const HASH_PASSWORD: &str = "hash-password";

impl Options {
    /// Reads the command line, the program's name first.
    ///
    /// # Errors
    /// The exit code, if there is nothing more to do: help was asked for, or the line makes no sense (said).
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let matches = options::parse(declared(), args, OnMisuse::HelpAndSucceed)?;
        Self::from_matches(&matches).map_err(|wrong| {
            complain("upsd", &wrong);
            ExitCode::FAILURE
        })
    }

    fn from_matches(matches: &ArgMatches) -> Result<Self, String> {
        for letter in ['i', 'p'] {
            if text(matches, letter).is_some() {
                return Err(format!(
                    "-{letter} is no option any more: write LISTEN <address> <port> in upsd.conf"
                ));
            }
        }
        let orders = [("reload", Order::Reload), ("stop", Order::Stop)];
        let order = match text(matches, 'c') {
            None => None,
            Some(word) => match by_prefix(word, &orders) {
                Some(order) => Some(order),
                None => return Err(format!("-c takes reload or stop, not {word:?}")),
            },
        };
        let pid = match text(matches, 'P') {
            None => None,
            Some(number) => match ProcessId::parse(number) {
                Some(pid) => Some(pid),
                None => return Err(format!("-P takes the number of a process, not {number:?}")),
            },
        };
        let quiet = count(matches, 'q');
        if quiet > 7 {
            return Err("Invalid log level threshold: -q may be given 7 times".into());
        }
        Ok(Self {
            program: program_name("upsd"),
            order,
            pid,
            hash_password: is_given(matches, HASH_PASSWORD),
            foreground: Foreground::decide(matches, false),
            debug: debug_level(count(matches, 'D')),
            quiet,
            root: text(matches, 'r').map(PathBuf::from),
            user: text(matches, 'u').map(str::to_owned),
            family: match (count(matches, '4') > 0, count(matches, '6') > 0) {
                (true, false) => Family::V4,
                (false, true) => Family::V6,
                _ => Family::Both,
            },
        })
    }
}

fn declared() -> clap::Command {
    command("upsd", "Serves the data of the UPSes on this host to clients in the network.")
        .arg(value('c', "command", "tell the running upsd: reload or stop"))
        .arg(value('P', "pid", "with -c: the process to tell, instead of the one in the PID file"))
        .args(foreground_flags())
        .arg(flag('q', "log less to the system log; repeat for even less"))
        .arg(value('r', "dir", "make this directory the root of all paths (chroot)"))
        .arg(value('u', "user", "run as this user, if started by root (default: nut)"))
        .arg(flag('4', "listen on IPv4 addresses only").overrides_with("6"))
        .arg(flag('6', "listen on IPv6 addresses only").overrides_with("4"))
        .arg(long_flag(HASH_PASSWORD, "ask for a password, print its hash as a line for upsd.users, and end"))
        .arg(value('i', "address", "see LISTEN in upsd.conf").hide(true))
        .arg(value('p', "port", "see LISTEN in upsd.conf").hide(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        let args = std::iter::once("upsd").chain(line.split_whitespace());
        let matches = declared().try_get_matches_from(args).expect(line);
        Options::from_matches(&matches)
    }

    #[test]
    fn each_option_is_understood() {
        let plain = read("").unwrap();
        assert_eq!((plain.order, plain.foreground), (None, Foreground::Background));
        assert!(!plain.hash_password && read("--hash-password").unwrap().hash_password);
        let all = read("-DD -B -q -q -r /srv -u ups -4 -P 4711 -c reload").unwrap();
        assert_eq!((all.debug, all.foreground, all.quiet), (2, Foreground::Background, 2));
        assert_eq!(
            (all.root, all.user.as_deref(), all.family),
            (Some("/srv".into()), Some("ups"), Family::V4)
        );
        assert_eq!((all.pid, all.order), (ProcessId::new(4711), Some(Order::Reload)));
        assert_eq!(read("-FF").unwrap().foreground, Foreground::ForegroundWithPidFile);
        assert_eq!(read("-c sto").unwrap().order, Some(Order::Stop));
        assert_eq!((read("-6").unwrap().family, read("-4 -6").unwrap().family), (Family::V6, Family::V6));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, words) in [
            ("-c restart", "-c takes reload or stop, not \"restart\""),
            ("-P 0", "-P takes the number of a process"),
            ("-P abc", "-P takes the number of a process"),
            ("-i 127.0.0.1", "write LISTEN"),
            ("-p 3493", "write LISTEN"),
            ("-qqqqqqqq", "Invalid log level threshold"),
        ] {
            let wrong = read(line).unwrap_err();
            assert!(wrong.contains(words), "{line}: {wrong}");
        }
    }
}
