//! `upscmd`, which has a UPS do something at once: its options, what they ask for, and what is printed (clients §3).

use clap::{ArgMatches, Command};
use nut_client::Deadlines;
use nut_os::options::{self, count, flag, operands};
use nut_proto::names::Target;

use crate::arguments::{self, Credentials, Stop};
use crate::format::Outcome;
use crate::order::Deed;
use std::fmt::Write as _;
use std::time::Duration;

/// The program's name.
pub const NAME: &str = "upscmd";

/// The options.
#[must_use]
pub fn command() -> Command {
    options::command(NAME, "Has a UPS do something at once, or lists what it can do.")
        .override_usage(
            "upscmd -l <ups>\n       upscmd [-u <user>] [-p <password>] [-w [-t <seconds>]] <ups> <command> [<value>]",
        )
        .arg(flag('l', "list the commands of a UPS"))
        .args(arguments::order_options())
        .args(arguments::common_options())
        .arg(operands("ups", "<ups>[@<host>[:<port>]], a command such as test.panel.start, and perhaps its value"))
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whom to ask about which UPS.
    pub target: Target,
    /// How long to wait for the connection.
    pub deadlines: Deadlines,
    /// What to do there.
    pub errand: Errand,
}

/// What to do at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// List the commands.
    List,
    /// Nothing: no command is named. NUT connects nevertheless, and so a wrong host is told before the help.
    Help,
    /// Refuse what is no command's name; connected, too, before it is told.
    Refuse(Outcome),
    /// Give the order.
    Run {
        /// Which.
        deed: Deed,
        /// Who says so, as far as the line has it.
        credentials: Credentials,
        /// How long to follow it, if at all.
        patience: Option<Duration>,
    },
}

impl Plan {
    /// Reads the options. With the plan come complaints to be shown before it is carried out.
    ///
    /// # Errors
    /// What the tool must end with when the line names no UPS or a bad timeout.
    pub fn read(matches: &ArgMatches, timeout: Option<&str>) -> Result<(Self, Vec<String>), Stop> {
        let (deadlines, complaints) = arguments::deadlines(options::text(matches, 'W'), timeout);
        let patience = arguments::patience(matches)?;
        let mut operands = options::operand_texts(matches);
        let target = arguments::target_or_help(operands.next())?;
        let errand = match operands.next() {
            _ if count(matches, 'l') > 0 => Errand::List,
            None => Errand::Help,
            Some(command) if !command.contains('.') => {
                Errand::Refuse(Outcome::error("old command names are not supported"))
            }
            Some(command) => Errand::Run {
                deed: Deed::Command {
                    ups: target.ups.clone(),
                    command: command.to_owned(),
                    parameter: operands.next().map(str::to_owned),
                },
                credentials: Credentials::given(matches),
                patience,
            },
        };
        Ok((Self { target, deadlines, errand }, complaints))
    }

    /// What is printed for the list of commands, each with its description if there is one.
    #[must_use]
    pub fn listing(&self, commands: &[(String, Option<String>)]) -> String {
        let mut out = format!("Instant commands supported on UPS [{}]:\n\n", self.target.ups);
        for (command, description) in commands {
            // Writing to a string cannot fail.
            let _ = match description {
                Some(description) => writeln!(out, "{command} - {description}"),
                None => writeln!(out, "{command}"),
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_proto::names::Secret;

    fn plan(line: &str) -> Result<Plan, Stop> {
        let words = std::iter::once(NAME).chain(line.split(' ').filter(|word| !word.is_empty()));
        Plan::read(&command().try_get_matches_from(words).unwrap(), None).map(|(plan, _)| plan)
    }

    #[test]
    fn each_way_to_call_it_has_its_errand() {
        let refuse = Errand::Refuse(Outcome::error("old command names are not supported"));
        let run =
            |parameter: Option<&str>, user: Option<&str>, password: Option<&str>, patience: Option<u64>| {
                Errand::Run {
                    deed: Deed::Command {
                        ups: "u".parse().unwrap(),
                        command: "a.b".into(),
                        parameter: parameter.map(str::to_owned),
                    },
                    credentials: Credentials {
                        user: user.map(str::to_owned),
                        password: password.map(Secret::new),
                    },
                    patience: patience.map(Duration::from_secs),
                }
            };
        for (line, expected) in [
            ("-l u", Errand::List),
            ("-l u a.b", Errand::List),
            ("u", Errand::Help),
            ("u off", refuse),
            ("u a.b", run(None, None, None, None)),
            ("-u me -px u@h a.b 5 more", run(Some("5"), Some("me"), Some("x"), None)),
            ("-w u a.b", run(None, None, None, Some(10))),
            ("-t3 -w u a.b -w", run(Some("-w"), None, None, Some(3))),
            ("-t 3 u a.b", run(None, None, None, None)),
        ] {
            assert_eq!(plan(line).unwrap().errand, expected, "{line}");
        }
    }

    #[test]
    fn a_line_without_a_ups_shows_the_help_and_a_bad_one_its_error() {
        assert_eq!(plan(""), Err(Stop::Help));
        assert_eq!(plan("-l"), Err(Stop::Help));
        let text = "upscli_splitaddr: no port number specified after ':' separator\n\
                    Error: invalid UPS definition.  Required format: upsname[@hostname[:port]]";
        assert_eq!(plan("u@h:0"), Err(Stop::Outcome(Outcome::failure(text))));
        let text = "Could not convert the provided value for timeout ('-t' option) to unsigned int: Invalid argument";
        for bad in ["-t -1 u a.b", "-tx u", "-t 99999999999 u"] {
            assert_eq!(plan(bad), Err(Stop::Outcome(Outcome::failure(text))), "{bad}");
        }
    }

    #[test]
    fn the_list_has_a_title_even_when_it_is_empty() {
        let plan = plan("-l u@h").unwrap();
        let title = "Instant commands supported on UPS [u]:\n\n";
        assert_eq!(plan.listing(&[]), title);
        let commands = [("load.off".into(), Some("Turn off".into())), ("load.on".into(), None)];
        assert_eq!(plan.listing(&commands), format!("{title}load.off - Turn off\nload.on\n"));
    }
}
