//! The command line of upsmon.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, Command};
use nut_client::Family;
use nut_conf::upsmon_conf::NoticeKind;
use nut_os::daemon::Order;
use nut_os::options::{
    self, Foreground, OnMisuse, by_prefix, complain, count, flag, foreground_flags, is_given, long_flag,
    operand_texts, operands, text, value,
};

use super::test_notice::known_types;

/// How long to try to connect unless `-W` says otherwise: NUT 2.8.3's default.
pub const CONNECT: Duration = Duration::from_secs(10);

/// What upsmon is started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// To watch.
    Watch,
    /// `-c`: to tell the running one something.
    Tell {
        /// What.
        order: Order,
        /// `-P`: the process, if not the one in the PID file.
        pid: Option<i64>,
    },
    /// `-K`: to look at the power-down flag.
    CheckFlag,
    /// `--test-notice`: to see what the channels do with a notice.
    TestNotice {
        /// Of this kind.
        kind: NoticeKind,
        /// About this UPS; the first of the file if none is named.
        ups: Option<String>,
    },
    /// `--explain`: to ask the running one what it would decide.
    Explain,
}

/// The command line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What it is started for.
    pub task: Task,
    /// `-f`: the configuration file.
    pub config: Option<PathBuf>,
    /// `-u`: whom to run as; `RUN_AS_USER` in the file counts more.
    pub user: Option<String>,
    /// `-p`: one process, which stays root.
    pub stays_whole: bool,
    /// `-4`, `-6`.
    pub family: Family,
    /// `-W`: how long to try to connect; nothing for as long as the system does.
    pub connect: Option<Duration>,
    /// `-F`, `-B`, `-D`.
    pub foreground: Foreground,
    /// How many `-D` were given.
    pub debug: u8,
}

fn command() -> Command {
    options::command("upsmon", "Watches UPSes, tells people, and stops this host in time.")
        .args([
            value('c', "COMMAND", "tell the running upsmon: fsd (shut down now), stop, or reload"),
            value('P', "PID", "with -c: the process to tell, instead of the one in the PID file"),
        ])
        .args(foreground_flags().map(|flag| match flag.get_id() == "F" {
            true => flag.help("stay in the foreground; the PID file is written in any case"),
            false => flag,
        }))
        .args([
            flag('K', "see whether the power-down flag is set; success if it is"),
            flag('p', "stay one process, and root"),
            value('u', "USER", "run as this user; RUN_AS_USER in upsmon.conf counts more"),
            value('f', "FILE", "use this configuration file"),
            flag('4', "use IPv4 only"),
            flag('6', "use IPv6 only"),
            value('W', "SECONDS", "give up connecting after this time (10); 0: as late as the system does"),
        ])
        .arg(
            Arg::new(TEST_NOTICE)
                .long(TEST_NOTICE)
                .value_names(["TYPE", "UPS"])
                .num_args(1..=2)
                .help("send one notice through all its channels, and say what happened in each"),
        )
        .arg(long_flag(
            EXPLAIN,
            "ask the running upsmon whether it would shut this host down now, why not, what each UPS is worth, which \
             waits run, and where each value comes from",
        ))
        .arg(operands("WORD", "not read, as in NUT").hide(true))
}

/// The long option's name, without its dashes.
const TEST_NOTICE: &str = "test-notice";

/// The same of the other one.
const EXPLAIN: &str = "explain";

/// Reads the command line (`args` with the program's name first).
///
/// # Errors
/// When there is nothing more to do; what there was to say has been said.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Options, ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    // What asks for the flag must not succeed by having shown the help: the caller would have the power cut.
    let failure = |code| if asks_for_flag(&args) { ExitCode::FAILURE } else { code };
    let matches =
        options::parse(command(), args.iter().cloned(), OnMisuse::HelpAndSucceed).map_err(failure)?;
    // As NUT's getopt leaves them.
    let ignored: Vec<&str> = operand_texts(&matches).collect();
    if !ignored.is_empty() {
        let what = format!("these words are not read, nor options behind them: {}", ignored.join(" "));
        complain("upsmon", &what);
    }
    let mut notice = matches.get_many::<String>(TEST_NOTICE).into_iter().flatten();
    let task = match (count(&matches, 'K'), text(&matches, 'c')) {
        (1.., _) => Task::CheckFlag,
        (0, Some(word)) => Task::Tell { order: order(word)?, pid: text(&matches, 'P').map(pid).transpose()? },
        (0, None) => match notice.next() {
            Some(word) => Task::TestNotice { kind: notice_kind(word)?, ups: notice.next().cloned() },
            None if is_given(&matches, EXPLAIN) => Task::Explain,
            None => Task::Watch,
        },
    };
    let family = match (count(&matches, '4'), count(&matches, '6')) {
        (0, 0) => Family::Any,
        (_, 0) => Family::V4,
        (0, _) => Family::V6,
        (_, _) => {
            complain("upsmon", &"-4 and -6 exclude each other; both kinds of addresses are used");
            Family::Any
        }
    };
    let default = std::env::var("NUT_DEFAULT_CONNECT_TIMEOUT").ok();
    Ok(Options {
        task,
        config: text(&matches, 'f').map(PathBuf::from),
        user: text(&matches, 'u').map(str::to_owned),
        stays_whole: count(&matches, 'p') > 0,
        family,
        connect: connect(text(&matches, 'W'), default.as_deref()),
        foreground: Foreground::decide(&matches, false),
        debug: count(&matches, 'D'),
    })
}

/// Whether a line that may make no sense otherwise has `-K` among its options.
fn asks_for_flag(args: &[OsString]) -> bool {
    let options =
        args.iter().skip(1).take_while(|arg| *arg != "--").filter_map(|arg| arg.to_str()?.strip_prefix('-'));
    // In a cluster it stands before the first option that takes the rest of it.
    let takes_value = |letter: char| "cPufW".contains(letter);
    options.filter(|cluster| !cluster.starts_with('-')).any(|cluster| {
        let flags = cluster.split(takes_value).next().unwrap_or_default();
        flags.contains('K')
    })
}

/// `-c`: the beginning of a word is enough; none at all is not.
fn order(word: &str) -> Result<Order, ExitCode> {
    if word.is_empty() {
        complain("upsmon", &"-c needs a command: fsd, stop or reload");
        return Err(ExitCode::FAILURE);
    }
    let orders = [("fsd", Order::User1), ("stop", Order::Stop), ("reload", Order::Reload)];
    by_prefix(word, &orders).ok_or_else(|| {
        complain("upsmon", &format_args!("unknown command '{word}': fsd, stop and reload are known"));
        show_help()
    })
}

fn notice_kind(word: &str) -> Result<NoticeKind, ExitCode> {
    let is_it = |kind: &NoticeKind| kind.as_str().eq_ignore_ascii_case(word);
    NoticeKind::ALL.into_iter().find(is_it).ok_or_else(|| {
        let known = known_types();
        complain("upsmon", &format_args!("there is no notice '{word}'; these can be tested: {known}"));
        ExitCode::FAILURE
    })
}

/// `-P`: what is no number counts as 0, as in NUT, and 0 is refused later.
fn pid(text: &str) -> Result<i64, ExitCode> {
    let number = text.trim().parse().unwrap_or(0);
    if number < 0 { Err(show_help()) } else { Ok(number) }
}

/// `-W`, else `NUT_DEFAULT_CONNECT_TIMEOUT`.
fn connect(option: Option<&str>, environment: Option<&str>) -> Option<Duration> {
    let Some(text) = option.or(environment).filter(|text| !text.is_empty()) else { return Some(CONNECT) };
    match text.trim().parse::<f64>().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok()) {
        Some(time) if time.is_zero() => None,
        Some(time) => Some(time),
        None => {
            complain("upsmon", &format_args!("'{text}' is no time to connect; 10 seconds are used"));
            Some(CONNECT)
        }
    }
}

fn show_help() -> ExitCode {
    options::say(command().render_help().to_string().trim_end());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &[&str]) -> Result<Options, ExitCode> {
        read(["upsmon"].iter().chain(line).map(OsString::from))
    }

    #[test]
    fn g10_a_command_may_be_abbreviated_but_not_to_nothing() {
        for (word, expected) in
            [("fsd", Order::User1), ("f", Order::User1), ("re", Order::Reload), ("stop", Order::Stop)]
        {
            let options = read_line(&["-c", word]).unwrap();
            assert_eq!(options.task, Task::Tell { order: expected, pid: None });
        }
        // NUT takes "" for one of them; in its newest form for a shutdown.
        assert_eq!(read_line(&["-c", ""]).unwrap_err(), ExitCode::FAILURE);
        assert_eq!(read_line(&["-c", "bogus"]).unwrap_err(), ExitCode::SUCCESS);
    }

    #[test]
    fn a_process_number_is_read_as_nut_reads_it() {
        let pid = |text| match read_line(&["-c", "stop", "-P", text]).map(|options| options.task) {
            Ok(Task::Tell { pid, .. }) => Ok(pid),
            Ok(_) => panic!("not a command"),
            Err(code) => Err(code),
        };
        assert_eq!(pid("4711").unwrap(), Some(4711));
        assert_eq!(pid("abc").unwrap(), Some(0));
        assert_eq!(pid("-5").unwrap_err(), ExitCode::SUCCESS);
    }

    /// `if upsmon -K ...; then` have the power cut.
    #[test]
    fn nothing_but_a_flag_makes_k_succeed() {
        for line in [
            &["-K", "-x"][..],
            &["-K", "-h"],
            &["-V", "-K"],
            &["-KZ"],
            &["-DKx"],
            &["-K", "--quiet"],
            &["-K", "-u"],
        ] {
            assert_eq!(read_line(line).unwrap_err(), ExitCode::FAILURE, "{line:?}");
        }
        for line in
            [&["-K", "word"][..], &["-K", "-c", "fsd"], &["-c", "fsd", "-K"], &["-K", "a", "-x"], &["-FKD"]]
        {
            assert_eq!(read_line(line).unwrap().task, Task::CheckFlag, "{line:?}");
        }
        // A value is no option.
        for line in [&["-uK", "-x"][..], &["-x", "--", "-K"], &["-x", "--K"]] {
            assert_eq!(read_line(line).unwrap_err(), ExitCode::SUCCESS, "{line:?}");
        }
    }

    #[test]
    fn words_behind_the_options_are_not_read_and_keep_nothing_from_being_done() {
        let stop = Task::Tell { order: Order::Stop, pid: None };
        assert_eq!(read_line(&["-c", "stop", "now", "-x"]).unwrap().task, stop);
        assert_eq!(read_line(&["word", "-K"]).unwrap().task, Task::Watch);
        let test = Task::TestNotice { kind: NoticeKind::Fsd, ups: Some("a@h".to_owned()) };
        assert_eq!(read_line(&["--test-notice", "FSD", "a@h", "word"]).unwrap().task, test);
    }

    #[test]
    fn the_rest_of_the_line() {
        let options =
            read_line(&["-F", "-p", "-u", "ups", "-f", "/x/upsmon.conf", "-4", "-W", "2.5", "-DD"]).unwrap();
        assert_eq!(options.task, Task::Watch);
        assert_eq!(options.foreground, Foreground::Foreground);
        assert_eq!((options.stays_whole, options.debug), (true, 2));
        assert_eq!(options.family, Family::V4);
        assert_eq!(options.connect, Some(Duration::from_millis(2500)));
        assert_eq!(options.config, Some("/x/upsmon.conf".into()));
        assert_eq!(read_line(&["-K"]).unwrap().task, Task::CheckFlag);
        let test = |kind, ups: Option<&str>| Task::TestNotice { kind, ups: ups.map(str::to_owned) };
        let onbatt = read_line(&["--test-notice", "onbatt"]).unwrap();
        assert_eq!(onbatt.task, test(NoticeKind::OnBatt, None));
        let fsd = read_line(&["--test-notice", "FSD", "a@h", "-4"]).unwrap();
        assert_eq!((fsd.task, fsd.family), (test(NoticeKind::Fsd, Some("a@h")), Family::V4));
        assert_eq!(read_line(&["--test-notice", "FIRE"]).unwrap_err(), ExitCode::FAILURE);
        assert_eq!(read_line(&["--explain"]).unwrap().task, Task::Explain);
        assert_eq!(read_line(&["-W", "0"]).unwrap().connect, None);
        assert_eq!(read_line(&["-W", "soon"]).unwrap().connect, Some(CONNECT));
        let three = Some(Duration::from_secs(3));
        for (option, environment, expected) in [
            (None, Some("3"), three),
            (Some("3"), Some("4"), three),
            (None, Some(""), Some(CONNECT)),
            (None, None, Some(CONNECT)),
        ] {
            assert_eq!(connect(option, environment), expected, "{option:?} {environment:?}");
        }
        assert_eq!(read_line(&[]).unwrap().foreground, Foreground::Background);
        // -i is known to getopt, and means nothing but this help.
        for help in [&["-h"][..], &["-V"], &["-i"], &["-x"]] {
            assert_eq!(read_line(help).unwrap_err(), ExitCode::SUCCESS, "{help:?}");
        }
    }
}
