//! `upsd.users`: who may do what.

mod doubts;
mod password;

use crate::directives::{Directive, Format, Reader, Row, Scope};
use crate::report::{Report, as_meant, nearest, quoted};
use crate::{Diagnostic, Severity, Source};
use nut_proto::names::UserName;
use nut_proto::net::Role;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

pub use doubts::{Doubt, ENOUGH, Matter, doubts};
pub use password::{
    ARGON2ID, HASH_BYTES, HashError, MAX_LANES, MAX_MEMORY_KIB, MAX_PASSES, MAX_WORK, Password, PasswordHash,
    SALT_BYTES,
};

/// All of `upsd.users`, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpsdUsers {
    /// The users; the first of a name counts.
    pub users: Vec<User>,
}

/// One `[name]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name between the brackets.
    pub name: UserName,
    /// `password`; without one the user can do nothing.
    pub password: Option<Password>,
    /// `actions` and what `upsmon` brings along, upper case, each once: `SET`, `FSD`, `LOGIN`, `PRIMARY`, …
    pub actions: Vec<String>,
    /// `instcmds`.
    pub commands: Commands,
    /// `allowfrom`: names of ACLs; `None` if never said.
    pub allow_from: Option<Vec<String>>,
}

/// Which instant commands a user may give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commands {
    /// `ALL`.
    All,
    /// These, without case.
    These(Vec<String>),
}

impl Default for Commands {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

/// Every directive of the file; all stand in a `[user]`.
pub static TABLE: &[Row] = &[
    Row::new(
        "password",
        "= <password>",
        "the user's password, or its hash as upsd --hash-password prints it; a # in it needs a backslash, a blank quotes",
        "none: the user can do nothing",
        "2.0",
        "password = PASSWORD",
    )
    .scope(Scope::Section)
    .any_case(),
    Row::new(
        "actions",
        "= <action> [<action> ...]",
        "what the user may do: SET variables, force a shutdown (FSD)",
        "nothing",
        "2.0",
        "actions = SET FSD",
    )
    .scope(Scope::Section)
    .any_case()
    .repeats(),
    Row::new(
        "instcmds",
        "= <command> [<command> ...]",
        "the instant commands the user may give, or ALL",
        "none",
        "2.0",
        "instcmds = ALL",
    )
    .scope(Scope::Section)
    .any_case()
    .repeats(),
    Row::new(
        "upsmon",
        "primary|secondary",
        "all that an upsmon of that role needs: LOGIN, for a primary also PRIMARY and FSD; once master and slave",
        "neither",
        "2.0",
        "upsmon primary",
    )
    .scope(Scope::Section)
    .any_case()
    .repeats(),
    Row::new(
        "allowfrom",
        "= <acl> [<acl> ...]",
        "from where the user may act: names of ACL lines in upsd.conf",
        "from nowhere, if upsd.conf has ACL lines; otherwise from everywhere",
        "2.0",
        "allowfrom = localhost",
    )
    .scope(Scope::Section)
    .any_case()
    .repeats(),
    Row::new("user", "<name> ...", "a user in the manner of NUT 1.2", "none", "1.2", "[name]")
        .any_case()
        .repeats()
        .idle("NUT 1.4 dropped it; begin a section with the user's name in brackets"),
];

/// Most actions, most commands and most ACLs of one user.
pub const MAX_RIGHTS: usize = 1024;

/// The actions that `upsd` asks for.
const ACTIONS: [&str; 5] = ["SET", "FSD", "LOGIN", "PRIMARY", "MASTER"];

static FORMAT: Format = Format { table: TABLE, sections: true, secrets: Some(secrets), mends: None };

/// Reads the file; what cannot be used is left out and told.
#[must_use]
pub fn parse(source: Source<'_>) -> (UpsdUsers, Vec<Diagnostic>) {
    let (mut reader, mut report) = Reader::new(source, &FORMAT);
    let mut reading = Reading::default();
    while let Some(directive) = reader.next(&mut report) {
        reading.take(&directive, &mut report);
    }
    for (nth, (user, header)) in reading.conf.users.iter().zip(&reading.headers).enumerate() {
        if user.password.is_none() && !reading.refused.contains(&nth) {
            report.add(
                Severity::Warning,
                header,
                0,
                &format!("user {} has no password", quoted(user.name.as_str())),
                "such a user can do nothing",
                "write: password = PASSWORD",
            );
        }
    }
    (reading.conf, report.finish())
}

/// Which section the line being read is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    /// Before the first header.
    #[default]
    Before,
    /// In that of this user.
    User(usize),
    /// In one that is left out.
    Nowhere,
}

/// The file as far as it was read.
#[derive(Debug, Default)]
struct Reading {
    conf: UpsdUsers,
    /// Where each user's section begins.
    headers: Vec<Directive>,
    known: HashMap<String, usize>,
    /// Users whose password is a hash that cannot be used: no other takes its place.
    refused: HashSet<usize>,
    place: Place,
}

impl Reading {
    fn take(&mut self, directive: &Directive, report: &mut Report<'_>) {
        if let Some(header) = directive.header() {
            self.open(header, directive, report);
            return;
        }
        if self.place == Place::Nowhere {
            return;
        }
        let first = directive.name();
        let behind = |from: usize| {
            directive.words.iter().enumerate().skip(from).map(|(nth, w)| (nth, w.text.as_str()))
        };
        let (key, values): (&str, Vec<(usize, &str)>) = if directive.text(1) == "=" && first != "=" {
            (first, behind(2).collect())
        } else if let Some((key, value)) = first.split_once('=').filter(|(key, _)| !key.is_empty()) {
            // In quotes: NUT cuts at the first sign, which lets a value have blanks and more signs.
            (key, std::iter::once((0, value)).chain(behind(1)).collect())
        } else if first.eq_ignore_ascii_case("upsmon") {
            if directive.words.len() > 2 {
                let why = "what stands behind the role is not read";
                report.add(Severity::Warning, directive, 2, "upsmon takes 1 word", why, "");
            }
            ("upsmon", behind(1).take(1).collect())
        } else if FORMAT.row(first).is_some_and(|row| row.idle.is_some()) {
            (first, Vec::new())
        } else {
            self.no_sign(directive, report);
            return;
        };
        let Some(row) = FORMAT.row(key) else {
            report.unknown(directive);
            return;
        };
        if let Some(why) = row.idle {
            report.add(Severity::Warning, directive, 0, "this is a user in the manner of NUT 1.2", why, "");
            return;
        }
        let Place::User(user) = self.place else {
            let why = "the line is left out: it belongs to no user";
            let what = format!("{} stands before the first section", row.name);
            report.add(
                Severity::Warning,
                directive,
                0,
                &what,
                why,
                "begin the section with the user's name: [name]",
            );
            return;
        };
        if values.is_empty() {
            let what = format!("{} has no value", row.name);
            let advice = format!("write: {}", row.write);
            report.add(Severity::Warning, directive, 0, &what, "the line is left out", &advice);
            return;
        }
        if row.name == "password" {
            return self.set_password(user, &values, directive, report);
        }
        if let Some(user) = self.conf.users.get_mut(user) {
            for (nth, value) in values {
                user.set(row.name, value, nth, directive, report);
            }
        }
    }

    /// The first password counts, in the file and on the line.
    fn set_password(
        &mut self,
        nth_user: usize,
        values: &[(usize, &str)],
        directive: &Directive,
        report: &mut Report<'_>,
    ) {
        let Some(user) = self.conf.users.get_mut(nth_user) else { return };
        let mut tell = |nth, what: &str, why: &str, advice: &str| {
            report.add(Severity::Warning, directive, nth, what, why, advice);
        };
        let settled = user.password.is_some() || self.refused.contains(&nth_user);
        let mut rest = values.iter();
        if !settled && let Some((nth, value)) = rest.next() {
            match Password::from_value(value) {
                Ok(password) => user.password = Some(password),
                Err(error) => {
                    self.refused.insert(nth_user);
                    let why = "the user can do nothing until this is mended";
                    if values.get(1).is_some_and(|(_, next)| *next == "=") {
                        let what = "a hashed password must stand in quotes: outside them each = is a word of its own";
                        return tell(*nth, what, why, "write: password = \"$argon2id$v=19$...\"");
                    }
                    let what = format!("the password begins as a hash, but {error}");
                    let advice = "upsd --hash-password prints the whole line; a password in plain text cannot begin so";
                    return tell(*nth, &what, why, advice);
                }
            }
        }
        for (nth, _) in rest {
            let (what, advice) = match settled {
                false => ("the password ends at a blank", "put it into quotes: password = \"two words\""),
                true => ("the user has a password already", ""),
            };
            tell(*nth, what, "this one is left out; the first one counts", advice);
        }
    }

    fn open(&mut self, header: Result<&str, ()>, directive: &Directive, report: &mut Report<'_>) {
        let Ok(name) = header else {
            let what = "the section's name is not closed by a ] in the same word";
            let why = "the section is left out; NUT gives its rights to the user above it";
            report.add(
                Severity::Warning,
                directive,
                0,
                what,
                why,
                "a name with a blank needs quotes: \"[my user]\"",
            );
            self.place = Place::Nowhere;
            return;
        };
        report.header_alone(directive);
        match self.known.get(name).copied() {
            None => {
                let user = self.conf.users.len();
                self.known.insert(name.to_owned(), user);
                self.headers.push(directive.clone());
                self.conf.users.push(User::new(UserName::new(name)));
                self.place = Place::User(user);
            }
            Some(user) if self.place == Place::User(user) => {
                let what = format!("section {} goes on here", quoted(name));
                report.add(Severity::Note, directive, 0, &what, "a single header is enough", "");
            }
            Some(user) => {
                let line = self.headers.get(user).map_or(0, |header| header.at.line);
                let what = format!("user {} has a section in line {line} already", quoted(name));
                let why = "this one is left out; NUT gives its rights to the user above it";
                report.add(
                    Severity::Warning,
                    directive,
                    0,
                    &what,
                    why,
                    "write all of a user's lines into one section",
                );
                self.place = Place::Nowhere;
            }
        }
    }

    /// NUT ignores such a line without a word.
    fn no_sign(&self, directive: &Directive, report: &mut Report<'_>) {
        if directive.leftover {
            return;
        }
        let near = nearest(directive.name(), TABLE.iter().map(|row| row.name));
        let advice = match near.and_then(|near| FORMAT.row(near)) {
            Some(row) => format!("write: {}", row.write),
            None => "write: name = value".to_owned(),
        };
        report.add(Severity::Warning, directive, 0, "the line has no equals sign", "it is left out", &advice);
    }
}

impl User {
    /// A user of whom nothing but the name is known: one who can do nothing.
    #[must_use]
    pub fn new(name: UserName) -> Self {
        Self { name, password: None, actions: Vec::new(), commands: Commands::default(), allow_from: None }
    }

    fn set(&mut self, key: &str, value: &str, nth: usize, directive: &Directive, report: &mut Report<'_>) {
        let commands = if let Commands::These(names) = &self.commands { names.len() } else { 0 };
        let full = match key {
            "actions" => self.actions.len(),
            "instcmds" => commands,
            "allowfrom" => self.allow_from.as_ref().map_or(0, Vec::len),
            _ => 0,
        };
        if full >= MAX_RIGHTS {
            let what = format!("the user has {MAX_RIGHTS} {key} already");
            report.add(Severity::Warning, directive, nth, &what, "this one is left out", "");
            return;
        }
        match key {
            "actions" => {
                let action = value.to_ascii_uppercase();
                if !ACTIONS.contains(&action.as_str()) {
                    let what = format!("{} is no action", quoted(value));
                    let advice = nearest(value, ACTIONS.into_iter()).map_or_else(
                        || "write: SET, FSD or both".to_owned(),
                        |near| format!("did you mean {near}?"),
                    );
                    report.add(Severity::Warning, directive, nth, &what, "it allows nothing", &advice);
                }
                self.allow(action);
            }
            "instcmds" if value.eq_ignore_ascii_case("ALL") => self.commands = Commands::All,
            "instcmds" => {
                if let Commands::These(names) = &mut self.commands
                    && !names.iter().any(|name| name.eq_ignore_ascii_case(value))
                {
                    names.push(value.to_owned());
                }
            }
            "upsmon" => self.upsmon(value, nth, directive, report),
            "allowfrom" => {
                let from = self.allow_from.get_or_insert_default();
                if !from.iter().any(|name| name == value) {
                    from.push(value.to_owned());
                }
            }
            other => debug_assert!(false, "nothing reads {other}"),
        }
    }

    fn upsmon(&mut self, role: &str, nth: usize, directive: &Directive, report: &mut Report<'_>) {
        let rights: &[&str] = match Role::from_text(role) {
            Some(Role::Primary) => &["LOGIN", "PRIMARY", "FSD"],
            Some(Role::Secondary) => &["LOGIN"],
            None => {
                let what = format!("Unknown upsmon type {}", quoted(role));
                let why = "it allows nothing: an upsmon with this user cannot log in";
                let advice = "write: upsmon primary, or: upsmon secondary";
                report.add(Severity::Warning, directive, nth, &what, why, advice);
                &[]
            }
        };
        for right in rights {
            self.allow((*right).to_owned());
        }
    }

    fn allow(&mut self, action: String) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }
}

/// Passwords, and all that may be one: lines that break off, keys we do not know.
fn secrets(words: &[&str]) -> Range<usize> {
    let end = words.len();
    let Some(first) = words.first() else { return 0..0 };
    let sign = words.get(1) == Some(&"=");
    if first.starts_with('[') {
        // A bracket too many may stand before anything, and a password behind the name on the same line.
        let is_name = !first.contains('=') && first.find(']').is_none_or(|at| at + 1 == first.len());
        return usize::from(is_name)..end;
    }
    match FORMAT.row(first) {
        Some(row) if row.name == "password" => (if sign { 2 } else { 1 })..end,
        Some(row) if row.idle.is_some() => 1..end,
        Some(_) => 0..0,
        None if sign && !first.contains('=') => 2..end,
        None => as_meant(words, TABLE, secrets),
    }
}

#[cfg(test)]
mod tests;
