//! Passwords that protect nothing: empty ones, those that everybody knows, the user's own name, short ones of mighty
//! users.
//!
//! Not among the diagnostics of the file: the lines are right and are used as they stand.

use super::{Commands, Password, UpsdUsers, User};
use crate::Severity;
use crate::report::quoted;
use nut_proto::names::UserName;
use std::fmt;

/// The password of a user who may set variables, give commands or force a shutdown should have so many characters.
pub const ENOUGH: usize = 8;

/// Passwords that stand in samples and guides, or that devices bring along: whoever tries passwords tries these first.
/// Compared without case.
const WELL_KNOWN: &[&str] = &[
    // NUT's own samples and manuals.
    "mypass",
    "pass",
    "password",
    "secret",
    "mypassword",
    "yourpassword",
    "abcd",
    "blah",
    "masterpass",
    "slavepass",
    "monpass",
    "monmaster",
    "monslave",
    "upsmonpass",
    "adminpass",
    "nutpass",
    "upspass",
    "monuserpass",
    // Boxes that come with NUT: Synology asks with the first of these lines' `secret`, QNAP with 123456.
    "123456",
    "fixmepass",
    "monuser",
    "raspberry",
    "synology",
    "qnap",
    "truenas",
    "unraid",
    "eaton",
    "powercom",
    // Guides.
    "admin",
    "upsadmin",
    "upsmon",
    "upsmaster",
    "upsslave",
    "master",
    "slave",
    "primary",
    "secondary",
    "nut",
    "ups",
    "local",
    "remote",
    "mysecret",
    "topsecret",
    "supersecret",
    "kindasecret",
    "s3cr3t",
    "nutsecret",
    "sekret",
    "strongpassword",
    "securepassword",
    "your_password",
    "your-password",
    "passwd",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "monitor",
    "observer",
    "test",
    "testing",
    "testpass",
    "example",
    "demo",
    "guest",
    "user",
    "username",
    "root",
    "toor",
    // What says itself that it is to be changed; the last four are this project's own samples.
    "changeme",
    "change_me",
    "change-me",
    "changethis",
    "changeit",
    "fixme",
    "replaceme",
    "todo",
    "default",
    "xxx",
    "xxxx",
    "xxxxx",
    "xxxxxx",
    "xxxxxxxx",
    "choose-one",
    "choose-another",
    "choose-a-third",
    "hush",
    // What people take who do not want to think.
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "1234567",
    "12345678",
    "123456789",
    "1234567890",
    "0000",
    "000000",
    "1111",
    "111111",
    "123123",
    "654321",
    "abc",
    "abc123",
    "abcdef",
    "qwerty",
    "qwertz",
    "azerty",
    "asdf",
    "letmein",
    "welcome",
    "hunter2",
    "iloveyou",
    "dragon",
    "monkey",
    "x",
    "a",
];

/// A password that protects little, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The user.
    pub user: UserName,
    /// What is the matter with his password.
    pub matter: Matter,
}

/// What is the matter with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// It is empty.
    Empty,
    /// It is the user's name.
    Name,
    /// It stands in guides.
    WellKnown,
    /// It has fewer than [`ENOUGH`] characters, and the user may do more than log in.
    Short,
}

impl Doubt {
    /// How much it matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.matter {
            Matter::Empty | Matter::Name | Matter::WellKnown => Severity::Warning,
            Matter::Short => Severity::Note,
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = quoted(self.user.as_str());
        match self.matter {
            Matter::Empty => write!(f, "the password of user {user} is empty")?,
            Matter::Name => write!(f, "the password of user {user} is his name")?,
            Matter::WellKnown => {
                write!(f, "the password of user {user} stands in guides, or comes with devices")?;
            }
            Matter::Short => {
                return write!(
                    f,
                    "the password of user {user}, who may do more than log in, has fewer than {ENOUGH} characters; \
                     better: a longer one, see upsd --hash-password"
                );
            }
        }
        f.write_str(
            ": whoever tries it may do all that this user may; choose another: upsd --hash-password prints its line. \
             Where a device knows no other, give its user upsmon secondary and nothing else",
        )
    }
}

/// The users whose passwords protect little, in the file's order. Of hashed passwords nothing is known.
#[must_use]
pub fn doubts(conf: &UpsdUsers) -> Vec<Doubt> {
    let doubt = |user: &User| {
        let Some(Password::Plain(password)) = &user.password else { return None };
        let password = password.reveal();
        let is_any_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(password));
        let matter = if password.is_empty() {
            Matter::Empty
        } else if is_any_of(&[user.name.as_str()]) {
            Matter::Name
        } else if is_any_of(WELL_KNOWN) {
            Matter::WellKnown
        } else if password.len() < ENOUGH && is_mighty(user) {
            Matter::Short
        } else {
            return None;
        };
        Some(Doubt { user: user.name.clone(), matter })
    };
    conf.users.iter().filter_map(doubt).collect()
}

/// Whether he may do more than log in and look.
fn is_mighty(user: &User) -> bool {
    let orders = match &user.commands {
        Commands::All => true,
        Commands::These(names) => !names.is_empty(),
    };
    orders || user.actions.iter().any(|action| action == "SET" || action == "FSD")
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;
    use crate::testing::good;

    fn matters(text: &str) -> Vec<(String, Matter)> {
        doubts(&good(parse, text)).into_iter().map(|one| (one.user.as_str().to_owned(), one.matter)).collect()
    }

    #[test]
    fn passwords_that_protect_nothing_are_doubted() {
        let hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        for (password, rights, expected) in [
            ("\"\"", "", Some(Matter::Empty)),
            ("u", "", Some(Matter::Name)),
            ("U", "", Some(Matter::Name)),
            ("secret", "upsmon slave", Some(Matter::WellKnown)),
            ("Secret", "upsmon slave", Some(Matter::WellKnown)),
            ("123456", "", Some(Matter::WellKnown)),
            ("mypass", "", Some(Matter::WellKnown)),
            ("changeme", "", Some(Matter::WellKnown)),
            ("Xh4-Q1z", "upsmon slave", None),
            ("Xh4-Q1z", "upsmon master", Some(Matter::Short)),
            ("Xh4-Q1z", "actions = set", Some(Matter::Short)),
            ("Xh4-Q1z", "instcmds = all", Some(Matter::Short)),
            ("Xh4-Q1z", "instcmds = beeper.mute", Some(Matter::Short)),
            ("Xh4-Q1zP", "instcmds = all", None),
            (&format!("\"{hash}\""), "instcmds = all", None),
        ] {
            let seen = matters(&format!("[u]\npassword = {password}\n{rights}\n"));
            let expected: Vec<_> = expected.map(|matter| ("u".to_owned(), matter)).into_iter().collect();
            assert_eq!(seen, expected, "{password} {rights}");
        }
        assert_eq!(matters("[u]\npassword = x\n[v]\npassword = \"\"\n").len(), 2);
    }

    #[test]
    fn no_doubt_shows_the_password() {
        let shown = |word: &str| {
            let text = format!("[somebody]\npassword = \"{word}\"\nactions = SET\n");
            let [doubt] = doubts(&good(parse, &text)).try_into().unwrap();
            (doubt.matter, doubt.to_string())
        };
        let first = shown("secret");
        assert!(first.1.contains("\"somebody\"") && !first.1.contains("secret"), "{}", first.1);
        for word in WELL_KNOWN {
            assert_eq!(shown(word), first, "whichever it is, the line is the same");
        }
        assert!(!shown("Zq").1.contains("Zq"));
    }

    #[test]
    fn a_table_without_repetition() {
        for (nth, word) in WELL_KNOWN.iter().enumerate() {
            assert!(!WELL_KNOWN[..nth].contains(word), "{word} stands twice");
            assert_eq!(*word, word.to_ascii_lowercase());
        }
    }
}
