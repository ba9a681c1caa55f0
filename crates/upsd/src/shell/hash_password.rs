//! `upsd --hash-password`: asks for a password and prints the line for upsd.users that holds its hash.

use crate::hashing::{self, HashingError, SALT};
use nut_os::options::{fatal, say};
use nut_os::terminal::{ask, ask_secretly};
use nut_proto::words::MAX_WORD;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;
use thiserror::Error;

#[derive(Debug, Error)]
enum HashPasswordError {
    #[error("no password was given, and an empty one protects nothing")]
    Empty,
    #[error("the two passwords differ: nothing is printed")]
    Differ,
    #[error("the password is longer than {MAX_WORD} characters: no client can send it")]
    TooLong,
    #[error(
        "the password has characters outside printable ASCII: NUT's protocol drops them, so no client can send it"
    )]
    Unsendable,
    #[error("cannot read the password")]
    Read(#[source] io::Error),
    #[error("cannot read /dev/urandom")]
    Random(#[source] io::Error),
    #[error("cannot hash the password")]
    Hashing(#[from] HashingError),
}

/// Does it; says what is wrong.
pub(crate) fn run(program: &str) -> ExitCode {
    match read().and_then(|password| line(&password)) {
        Ok(line) => {
            say(&line);
            ExitCode::SUCCESS
        }
        Err(error) => fatal(program, &error),
    }
}

/// From a terminal twice and without showing it; from anything else one line.
fn read() -> Result<String, HashPasswordError> {
    let given = |answer: io::Result<Option<String>>| -> Result<String, HashPasswordError> {
        answer
            .map_err(HashPasswordError::Read)?
            .filter(|word| !word.is_empty())
            .ok_or(HashPasswordError::Empty)
    };
    if !io::stdin().is_terminal() {
        return given(ask(""));
    }
    let first = given(ask_secretly("Password: "))?;
    let second = given(ask_secretly("The same again: "))?;
    if first == second { Ok(first) } else { Err(HashPasswordError::Differ) }
}

/// The line for upsd.users. In quotes: outside them each `=` is a word of its own.
fn line(password: &str) -> Result<String, HashPasswordError> {
    if password.len() > MAX_WORD {
        return Err(HashPasswordError::TooLong);
    }
    if !password.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(HashPasswordError::Unsendable);
    }
    let mut salt = [0; SALT];
    let random = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut salt));
    random.map_err(HashPasswordError::Random)?;
    Ok(format!("password = \"{}\"", hashing::hash(password, salt)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::Source;
    use nut_conf::upsd_users::{Password, parse};

    #[test]
    fn the_line_is_understood_where_it_belongs() {
        let text = format!("[u]\n    {}\n", line("two \"words\" # \\").unwrap());
        let (conf, found) = parse(Source { path: "upsd.users", text: text.as_bytes() });
        assert!(found.is_empty(), "{found:?}");
        let Some(Password::Hashed(hash)) = &conf.users[0].password else { panic!("no hash") };
        assert_eq!(hashing::verify("two \"words\" # \\", hash), hashing::Finding::Right);
        assert_ne!(line("x").unwrap(), line("x").unwrap(), "each has a salt of its own");
    }

    #[test]
    fn what_no_client_can_send_is_refused() {
        assert!(matches!(line("schön"), Err(HashPasswordError::Unsendable)));
        assert!(matches!(line("tab\t"), Err(HashPasswordError::Unsendable)));
        assert!(matches!(line("line\r"), Err(HashPasswordError::Unsendable)));
        assert!(matches!(line(&"x".repeat(MAX_WORD + 1)), Err(HashPasswordError::TooLong)));
    }
}
