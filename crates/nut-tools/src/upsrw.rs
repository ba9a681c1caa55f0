//! `upsrw`, which shows and sets the variables that can be set: its options, what they ask for, and what is printed
//! (clients §4).

use clap::{ArgMatches, Command};
use nut_client::Deadlines;
use nut_os::options::{self, count, flag, operands, value};
use nut_proto::names::Target;
use nut_proto::net::{List, Request};
use nut_proto::numbers::leading_number;
use std::fmt::Write as _;
use std::time::Duration;

use crate::arguments::{self, Credentials, Stop};
use crate::format::Outcome;

/// The program's name.
pub const NAME: &str = "upsrw";

/// The options.
#[must_use]
pub fn command() -> Command {
    options::command(NAME, "Shows the variables of a UPS that can be set, or sets one.")
        .override_usage(
            "upsrw [-l] <ups>\n       upsrw -s <variable>[=<value>] [-u <user>] [-p <password>] [-w [-t <seconds>]] <ups>",
        )
        .arg(flag('l', "list the variables that can be set (as without -s)"))
        .arg(value('s', "variable[=value]", "which variable to set; without a value it is asked for"))
        .args(arguments::order_options())
        .args(arguments::common_options())
        .arg(operands("ups", "<ups>[@<host>[:<port>]]"))
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
    /// List the variables that can be set.
    List,
    /// Set one.
    Set {
        /// Which.
        variable: String,
        /// To what, if the line says so.
        value: Option<String>,
        /// Who says so, as far as the line has it.
        credentials: Credentials,
        /// How long to follow the order, if at all.
        patience: Option<Duration>,
    },
}

impl Plan {
    /// Reads the options. With the plan come complaints to be shown before it is carried out.
    ///
    /// # Errors
    /// What the tool must end with when the line names no UPS or a bad timeout.
    pub fn read(matches: &ArgMatches, timeout: Option<&str>) -> Result<(Self, Vec<String>), Stop> {
        let (deadlines, mut complaints) = arguments::deadlines(options::text(matches, 'W'), timeout);
        let patience = arguments::patience(matches)?;
        let last = |id| matches.indices_of(id).and_then(|mut places| places.next_back());
        let setting = match options::text(matches, 's') {
            Some(_) if count(matches, 'l') > 0 && last("l") > last("s") => {
                complaints.push("Listing mode requested, overriding setvar specified earlier!".to_owned());
                None
            }
            setting => setting,
        };
        let target = arguments::target_or_help(options::operand_texts(matches).next())?;
        let errand = match setting {
            None => Errand::List,
            Some(setting) => {
                let (variable, value) = setting
                    .split_once('=')
                    .map_or((setting, None), |(variable, value)| (variable, Some(value)));
                Errand::Set {
                    variable: variable.to_owned(),
                    value: value.map(str::to_owned),
                    credentials: Credentials::given(matches),
                    patience,
                }
            }
        };
        Ok((Self { target, deadlines, errand }, complaints))
    }
}

/// What kind of value a variable has, as the words of its type say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    shape: Shape,
    /// Words before it that mean nothing to us, to be shown.
    unrecognized: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    Range,
    Enum(Text),
    Plain(Text),
    /// None of the words above; nothing is shown of it.
    Unsaid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    /// At most so many bytes, as the server says it.
    String(String),
    Number,
    /// Neither word; with `ENUM` only.
    Unsaid,
}

impl Kind {
    /// Reads the words behind `TYPE <ups> <variable>`, from the left up to the first that decides.
    #[must_use]
    pub fn of(words: &[String]) -> Self {
        let mut choice = false;
        let mut unrecognized = Vec::new();
        let shaped = |choice, text| if choice { Shape::Enum(text) } else { Shape::Plain(text) };
        for word in words {
            let shape = match word.to_ascii_uppercase().as_str() {
                "RW" => continue,
                "ENUM" => {
                    choice = true;
                    continue;
                }
                "RANGE" => Shape::Range,
                "NUMBER" => shaped(choice, Text::Number),
                upper => match upper.strip_prefix("STRING:") {
                    Some(most) => shaped(choice, Text::String(most.to_owned())),
                    None => {
                        unrecognized.push(word.clone());
                        continue;
                    }
                },
            };
            return Self { shape, unrecognized };
        }
        Self { shape: if choice { Shape::Enum(Text::Unsaid) } else { Shape::Unsaid }, unrecognized }
    }

    /// The question for the choices there are, if it takes one.
    #[must_use]
    pub fn choices<'a>(&self, ups: &'a str, variable: &'a str) -> Option<Request<'a>> {
        match self.shape {
            Shape::Range => Some(Request::List(List::Range(ups, variable))),
            Shape::Enum(_) => Some(Request::List(List::Enum(ups, variable))),
            Shape::Plain(_) | Shape::Unsaid => None,
        }
    }
}

/// All that is shown of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What it means, if the server knows.
    pub description: Option<String>,
    /// What kind of value it has, if the server knows.
    pub kind: Option<Kind>,
    /// Its value, unless it has vanished.
    pub value: Option<String>,
    /// The values it may have.
    pub choices: Choices,
}

/// The values a variable may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choices {
    /// Not limited, or not known.
    Any,
    /// One of these.
    Values(Vec<String>),
    /// Within one of these, least and most.
    Ranges(Vec<(String, String)>),
}

impl Variable {
    /// What is printed for it.
    ///
    /// # Errors
    /// The last line of the tool if the variable's value is not to be had.
    pub fn block(&self) -> Result<String, String> {
        let mut out = format!("[{}]\n", self.name);
        let mut line = |text: &str| {
            out.push_str(text);
            out.push('\n');
        };
        line(self.description.as_deref().unwrap_or("Description unavailable"));
        let Some(kind) = &self.kind else {
            line("Unknown type\n");
            return Ok(out);
        };
        for word in &kind.unrecognized {
            line(&format!("Type: {word} (unrecognized)"));
        }
        let (title, text, teller) = match &kind.shape {
            Shape::Range => ("Type: RANGE NUMBER", None, "do_range"),
            Shape::Enum(text @ Text::String(_)) => ("Type: ENUM STRING", Some(text), "do_enum"),
            Shape::Enum(text @ Text::Number) => ("Type: ENUM NUMBER", Some(text), "do_enum"),
            Shape::Enum(text @ Text::Unsaid) => ("Type: ENUM", Some(text), "do_enum"),
            Shape::Plain(text @ Text::String(_)) => ("Type: STRING", Some(text), "do_string"),
            Shape::Plain(text) => ("Type: NUMBER", Some(text), "do_number"),
            Shape::Unsaid => {
                line("");
                return Ok(out);
            }
        };
        line(title);
        if let Some(Text::String(most)) = text {
            line(&format!("Maximum length: {most}"));
        }
        let Some(value) = &self.value else {
            return Err(format!("{teller}: can't get current value of {}", self.name));
        };
        match (&kind.shape, &self.choices) {
            (Shape::Range, Choices::Ranges(ranges)) => {
                let current = leading_number(value);
                for (least, most) in ranges {
                    let (least, most) = (leading_number(least), leading_number(most));
                    line(&option(&format!("{least}-{most}"), (least..=most).contains(&current)));
                }
            }
            (Shape::Enum(_), Choices::Values(values)) => {
                for choice in values {
                    line(&option(choice, choice == value));
                }
            }
            (Shape::Range | Shape::Enum(_), _) => {}
            (Shape::Plain(_) | Shape::Unsaid, _) => line(&format!("Value: {value}")),
        }
        line("");
        Ok(out)
    }
}

/// What is printed for all of them, up to the first that has vanished.
#[must_use]
pub fn listing(variables: &[Variable]) -> Outcome {
    let mut out = String::new();
    for variable in variables {
        match variable.block() {
            Ok(block) => out.push_str(&block),
            Err(line) => return Outcome { stdout: out, ..Outcome::failure(&line) },
        }
    }
    Outcome::success(out)
}

fn option(text: &str, selected: bool) -> String {
    let mut out = format!("Option: \"{text}\"");
    if selected {
        // Writing to a string cannot fail.
        let _ = write!(out, " SELECTED");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_proto::names::Secret;

    fn read(line: &str) -> Result<(Plan, Vec<String>), Stop> {
        let words = std::iter::once(NAME).chain(line.split(' ').filter(|word| !word.is_empty()));
        Plan::read(&command().try_get_matches_from(words).unwrap(), None)
    }

    fn set(variable: &str, value: Option<&str>) -> Errand {
        Errand::Set {
            variable: variable.into(),
            value: value.map(str::to_owned),
            credentials: Credentials { user: Some("me".into()), password: Some(Secret::new("x")) },
            patience: None,
        }
    }

    #[test]
    fn each_way_to_call_it_has_its_errand() {
        for (line, expected) in [
            ("u", Errand::List),
            ("-l u", Errand::List),
            ("u -s a.b=1", Errand::List),
            ("-s a.b=1 -u me -p x u", set("a.b", Some("1"))),
            ("-u me -p x -s a.b=c=d u", set("a.b", Some("c=d"))),
            ("-u me -p x -s a.b= u", set("a.b", Some(""))),
            ("-u me -p x -s a.b u", set("a.b", None)),
            ("-l -u me -p x -s a.b=1 u", set("a.b", Some("1"))),
        ] {
            let (plan, complaints) = read(line).unwrap();
            assert_eq!((plan.errand, complaints.as_slice()), (expected, [].as_slice()), "{line}");
        }
        let (plan, complaints) = read("-s a.b=1 -l u").unwrap();
        assert_eq!(plan.errand, Errand::List);
        assert_eq!(complaints, ["Listing mode requested, overriding setvar specified earlier!"]);
        assert_eq!(read("-s a.b=1"), Err(Stop::Help));
    }

    fn variable(words: &str, value: Option<&str>, choices: Choices) -> Variable {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        Variable {
            name: "a.b".into(),
            description: Some("What it is".into()),
            kind: Some(Kind::of(&words)),
            value: value.map(str::to_owned),
            choices,
        }
    }

    #[test]
    fn variables_are_shown_as_nut_shows_them() {
        let ranges = Choices::Ranges(vec![("10".into(), "50".into()), ("60".into(), "90.5".into())]);
        let values = || Choices::Values(vec!["low".into(), "medium".into()]);
        let cases = [
            (
                "RW RANGE NUMBER",
                "12.5",
                ranges,
                "Type: RANGE NUMBER\nOption: \"10-50\" SELECTED\nOption: \"60-90\"\n",
            ),
            (
                "RW ENUM STRING:8",
                "medium",
                values(),
                "Type: ENUM STRING\nMaximum length: 8\nOption: \"low\"\nOption: \"medium\" SELECTED\n",
            ),
            (
                "enum number",
                "low",
                values(),
                "Type: ENUM NUMBER\nOption: \"low\" SELECTED\nOption: \"medium\"\n",
            ),
            ("RW ENUM", "x", values(), "Type: ENUM\nOption: \"low\"\nOption: \"medium\"\n"),
            ("RW NUMBER", "253", Choices::Any, "Type: NUMBER\nValue: 253\n"),
            ("RW STRING:16", "rack1", Choices::Any, "Type: STRING\nMaximum length: 16\nValue: rack1\n"),
            ("RW ODD NUMBER", "1", Choices::Any, "Type: ODD (unrecognized)\nType: NUMBER\nValue: 1\n"),
            ("RW UNKNOWN", "1", Choices::Any, "Type: UNKNOWN (unrecognized)\n"),
        ];
        for (words, value, choices, expected) in cases {
            let block = variable(words, Some(value), choices).block();
            assert_eq!(block, Ok(format!("[a.b]\nWhat it is\n{expected}\n")), "{words}");
        }
        let unknown = Variable { description: None, kind: None, ..variable("RW", None, Choices::Any) };
        assert_eq!(unknown.block(), Ok("[a.b]\nDescription unavailable\nUnknown type\n\n".into()));
    }

    #[test]
    fn a_variable_that_vanishes_ends_the_listing() {
        for (words, teller) in [
            ("NUMBER", "do_number"),
            ("STRING:3", "do_string"),
            ("ENUM NUMBER", "do_enum"),
            ("RANGE", "do_range"),
        ] {
            let gone = variable(words, None, Choices::Any);
            let there = variable("NUMBER", Some("1"), Choices::Any);
            let line = format!("{teller}: can't get current value of a.b");
            let expected = Outcome { stdout: there.block().unwrap(), ..Outcome::failure(&line) };
            assert_eq!(listing(&[there, gone]), expected);
        }
    }
}
