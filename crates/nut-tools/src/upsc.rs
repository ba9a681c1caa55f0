//! `upsc`, the query tool: its options, what they ask for, and what is printed (clients §2).

use clap::{ArgMatches, Command};
use nut_client::{Answer, ClientError, Deadlines};
use nut_os::options::{self, count, flag, operands};
use nut_proto::names::{Server, Target};
use nut_proto::net::{ErrCode, Get, List, Request};

use crate::arguments::{self, ArgumentError};
use crate::format::{Outcome, json_array, json_error, json_object, json_string, lines, pair_lines};

/// The program's name.
pub const NAME: &str = "upsc";

/// The options.
#[must_use]
pub fn command() -> Command {
    options::command(NAME, "Shows what upsd knows of a UPS: all variables, or the one named.")
        .override_usage(
            "upsc [-j] <ups> [<variable>]\n       upsc [-j] -l | -L [<host>[:<port>]]\n       upsc [-j] -c <ups>",
        )
        .args([
            flag('l', "list the UPSes of a server"),
            flag('L', "list the UPSes of a server, each with its description"),
            flag('c', "list the clients logged in to a UPS"),
            flag('j', "print JSON"),
        ])
        .args(arguments::common_options())
        .arg(operands("ups", "<ups>[@<host>[:<port>]] and perhaps a variable; or the server for -l and -L"))
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Whom to ask.
    pub server: Server,
    /// How long to wait.
    pub deadlines: Deadlines,
    query: Query,
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Query {
    Names,
    Descriptions,
    Variables(Target),
    Variable(Target, String),
    Clients(Target),
}

impl Plan {
    /// Reads the options. With the plan come complaints to be shown before it is carried out.
    ///
    /// # Errors
    /// What the tool must end with when the line names nothing that could be asked.
    pub fn read(matches: &ArgMatches, timeout: Option<&str>) -> Result<(Self, Vec<String>), Outcome> {
        let json = count(matches, 'j') > 0;
        let (deadlines, complaints) = arguments::deadlines(options::text(matches, 'W'), timeout);
        let mut operands = options::operand_texts(matches);
        let first = operands.next();
        let (server, query) = if count(matches, 'L') + count(matches, 'l') > 0 {
            let server = arguments::server(first).map_err(|error| refused(&error, Wanted::Server, json))?;
            (server, if count(matches, 'L') > 0 { Query::Descriptions } else { Query::Names })
        } else {
            let target = arguments::target(first).map_err(|error| refused(&error, Wanted::Ups, json))?;
            let server = target.server.clone();
            let query = match operands.next() {
                _ if count(matches, 'c') > 0 => Query::Clients(target),
                Some(variable) => Query::Variable(target, variable.to_owned()),
                None => Query::Variables(target),
            };
            (server, query)
        };
        Ok((Self { server, deadlines, query, json }, complaints))
    }

    /// What to ask the server.
    ///
    /// # Errors
    /// What the tool must end with when the variable's name is of the times before NUT 1.5.
    pub fn request(&self) -> Result<Request<'_>, Outcome> {
        Ok(match &self.query {
            Query::Names | Query::Descriptions => Request::List(List::Ups),
            Query::Variables(target) => Request::List(List::Var(target.ups.as_str())),
            Query::Clients(target) => Request::List(List::Client(target.ups.as_str())),
            Query::Variable(target, variable) if variable.contains('.') => {
                Request::Get(Get::Var(target.ups.as_str(), variable))
            }
            Query::Variable(..) => return Err(self.failure("old-style variable names are not supported")),
        })
    }

    /// What is printed for an answer.
    #[must_use]
    pub fn outcome(&self, answer: &Answer) -> Outcome {
        let text = match (answer, self.json) {
            (Answer::Refused(refusal), _) => {
                let text = match (&self.query, refusal.is(ErrCode::UnknownCommand)) {
                    (Query::Variable(..), true) => "variable unknown (old upsd detected)",
                    (_, true) => "upsd is too old to support this query",
                    (_, false) => refusal.text(),
                };
                return self.failure(text);
            }
            (Answer::Value(value), true) => json_string(value),
            (Answer::Value(value), false) => lines([value]),
            (Answer::Words(words), true) => json_array(words.iter().map(String::as_str)),
            (Answer::Words(words), false) => lines(words),
            (Answer::Pairs(pairs), json) if self.query == Query::Names => {
                let names = pairs.iter().map(|(name, _)| name.as_str());
                if json { json_array(names) } else { lines(names) }
            }
            (Answer::Pairs(pairs), true) => json_object(pairs),
            (Answer::Pairs(pairs), false) => pair_lines(pairs),
            // The dialog gives an answer of the kind that was asked for; a new kind must be thought of here.
            (
                Answer::Ok
                | Answer::OkTracking(_)
                | Answer::Text(_)
                | Answer::NumLogins(_)
                | Answer::Type(_)
                | Answer::Tracking(_),
                _,
            ) => return self.failure("Protocol error"),
        };
        Outcome::success(text)
    }

    /// What is printed when there is no answer, or only the beginning of a list.
    ///
    /// NUT prints such a beginning and reports success. Half a list is not what was asked for: we print it, too, but
    /// say so and fail. As JSON it is not printed: what reads that must not take it for the whole.
    #[must_use]
    pub fn broken(&self, error: &ClientError, beginning: Option<&Answer>) -> Outcome {
        let failure = self.failure(&error.to_string());
        match beginning {
            Some(beginning) if !self.json => Outcome { stdout: self.outcome(beginning).stdout, ..failure },
            _ => failure,
        }
    }

    /// What is printed when the server cannot be reached.
    #[must_use]
    pub fn unreachable(&self, error: &ClientError) -> Outcome {
        failure(&error.to_string(), self.json)
    }

    fn failure(&self, text: &str) -> Outcome {
        let plain = failure(text, self.json);
        match self.query {
            // NUT has begun the object when it gets to know.
            Query::Variables(_) if self.json => {
                Outcome { stdout: json_object(&[("error".into(), text.into())]), ..plain }
            }
            _ => plain,
        }
    }
}

enum Wanted {
    Ups,
    Server,
}

/// The end of a command line that names nothing that could be asked.
fn refused(error: &ArgumentError, wanted: Wanted, json: bool) -> Outcome {
    let text = match (error, wanted) {
        (ArgumentError::UpsNotServer(_), _) => "No such host",
        (_, Wanted::Ups) => "invalid UPS definition.\nRequired format: upsname[@hostname[:port]]",
        (_, Wanted::Server) => "invalid hostname.\nRequired format: [hostname[:port]]",
    };
    let outcome = failure(text, json);
    Outcome { stderr: error.detail() + &outcome.stderr, ..outcome }
}

fn failure(text: &str, json: bool) -> Outcome {
    let plain = Outcome::error(text);
    if json { Outcome { stdout: json_error(text), ..plain } } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_client::{DialogError, Refusal};

    fn plan(line: &str) -> Result<Plan, Outcome> {
        let words = std::iter::once(NAME).chain(line.split(' ').filter(|word| !word.is_empty()));
        Plan::read(&command().try_get_matches_from(words).unwrap(), None).map(|(plan, _)| plan)
    }

    fn pairs() -> Answer {
        Answer::Pairs(vec![("ups.id".into(), "a \"b\" \\".into()), ("ups.status".into(), "OL".into())])
    }

    fn refusal(word: &str) -> Answer {
        Answer::Refused(Refusal {
            code: ErrCode::from_text(word),
            word: word.into(),
            line: format!("ERR {word}"),
        })
    }

    #[test]
    fn each_way_to_call_it_asks_one_question() {
        let cases = [
            ("-l", "localhost", Request::List(List::Ups)),
            ("-L h", "h", Request::List(List::Ups)),
            ("-lc h", "h", Request::List(List::Ups)),
            ("-c u@h", "h", Request::List(List::Client("u"))),
            ("-c u@h ups.status", "h", Request::List(List::Client("u"))),
            ("u", "localhost", Request::List(List::Var("u"))),
            ("u@h ups.status -h", "h", Request::Get(Get::Var("u", "ups.status"))),
        ];
        for (line, host, request) in cases {
            let plan = plan(line).unwrap();
            assert_eq!((&*plan.server.host, plan.request().unwrap()), (host, request), "{line}");
        }
    }

    #[test]
    fn answers_are_printed_as_nut_prints_them() {
        let words = Answer::Words(vec!["127.0.0.1".into(), "::1".into()]);
        let nothing = Answer::Words(vec![]);
        let value = Answer::Value("a \"b\"".into());
        let cases = [
            ("-l", pairs(), "ups.id\nups.status\n"),
            ("-L", pairs(), "ups.id: a \"b\" \\\nups.status: OL\n"),
            ("u", pairs(), "ups.id: a \"b\" \\\nups.status: OL\n"),
            ("u a.b", value.clone(), "a \"b\"\n"),
            ("-c u", words.clone(), "127.0.0.1\n::1\n"),
            ("-c u", nothing.clone(), ""),
            ("-jl", pairs(), "[\n  \"ups.id\",\n  \"ups.status\"\n]\n"),
            ("-jL", pairs(), "{\n  \"ups.id\": \"a \\\"b\\\" \\\\\",\n  \"ups.status\": \"OL\"\n}\n"),
            ("-j u", pairs(), "{\n  \"ups.id\": \"a \\\"b\\\" \\\\\",\n  \"ups.status\": \"OL\"\n}\n"),
            ("-j u a.b", value, "\"a \\\"b\\\"\"\n"),
            ("-jc u", words, "[\n  \"127.0.0.1\",\n  \"::1\"\n]\n"),
            ("-jc u", nothing, "[\n\n]\n"),
        ];
        for (line, answer, expected) in cases {
            assert_eq!(plan(line).unwrap().outcome(&answer), Outcome::success(expected.into()), "{line}");
        }
    }

    #[test]
    fn refusals_are_errors_on_stderr_and_in_json_on_stdout_too() {
        let cases = [
            ("u", "DATA-STALE", "Data stale", ""),
            ("u a.b", "VAR-NOT-SUPPORTED", "Variable not supported by UPS", ""),
            ("u a.b", "UNKNOWN-COMMAND", "variable unknown (old upsd detected)", ""),
            ("-l", "UNKNOWN-COMMAND", "upsd is too old to support this query", ""),
            ("u", "NEWER-THAN-US", "Unknown error", ""),
            ("-j u", "UNKNOWN-UPS", "Unknown UPS", "{\n  \"error\": \"Unknown UPS\"\n}\n"),
            ("-j u a.b", "UNKNOWN-UPS", "Unknown UPS", "{\"error\": \"Unknown UPS\"}\n"),
            ("-jc u", "UNKNOWN-UPS", "Unknown UPS", "{\"error\": \"Unknown UPS\"}\n"),
        ];
        for (line, word, text, stdout) in cases {
            let expected = Outcome { stdout: stdout.into(), ..Outcome::error(text) };
            assert_eq!(plan(line).unwrap().outcome(&refusal(word)), expected, "{line} {word}");
        }
    }

    #[test]
    fn a_line_that_names_nothing_to_ask_says_what_was_expected() {
        let required = "Error: invalid UPS definition.\nRequired format: upsname[@hostname[:port]]\n";
        let json = "{\"error\": \"invalid UPS definition.\\nRequired format: upsname[@hostname[:port]]\"}\n";
        let cases = [
            ("", "", "", required),
            ("-j", json, "", required),
            ("u@h:0", "", "upscli_splitaddr: no port number specified after ':' separator\n", required),
            (
                "-l h:",
                "",
                "upscli_splitaddr: no port number specified after ':' separator\n",
                "Error: invalid hostname.\nRequired format: [hostname[:port]]\n",
            ),
            (
                "-l u@h",
                "",
                "upscli_splitaddr: wrong call? Got upsname@hostname[:port] string where only hostname[:port] was expected: u@h\n",
                "Error: No such host\n",
            ),
        ];
        for (line, stdout, detail, error) in cases {
            let expected = Outcome { stdout: stdout.into(), stderr: format!("{detail}{error}"), code: 1 };
            assert_eq!(plan(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn an_old_variable_name_is_not_asked_for() {
        let outcome = plan("u STATUS").unwrap().request().unwrap_err();
        assert_eq!(outcome, Outcome::error("old-style variable names are not supported"));
    }

    #[test]
    fn half_a_list_is_printed_but_no_success() {
        let short = ClientError::Dialog(DialogError::TooFew { got: 3, need: 4 });
        let text = "insufficient data (got 3 args, need at least 4)";
        let beginning = "ups.id: a \"b\" \\\nups.status: OL\n";
        let expected = Outcome { stdout: beginning.into(), ..Outcome::error(text) };
        assert_eq!(plan("u").unwrap().broken(&short, Some(&pairs())), expected);
        let outcome = plan("-j u").unwrap().broken(&short, Some(&pairs()));
        assert_eq!(outcome.stdout, format!("{{\n  \"error\": \"{text}\"\n}}\n"));
        let outcome = plan("u").unwrap().broken(&ClientError::Disconnected, None);
        assert_eq!(outcome, Outcome::error("Server disconnected"));
        let outcome = plan("-j u").unwrap().unreachable(&ClientError::NoSuchHost);
        assert_eq!(outcome.stdout, "{\"error\": \"No such host\"}\n");
    }
}
