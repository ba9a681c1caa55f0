//! Asking the person at the terminal: a line, a password without echo, and who they are.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{Uid, User};

/// Longest line taken from a person, in bytes.
pub const MAX_LINE: u64 = 4096;

/// What a terminal sends for Ctrl-C while it makes no signal of it.
const CTRL_C: u8 = 3;

/// The name of the user we were started by, if the number has one.
#[must_use]
pub fn user_name() -> Option<String> {
    User::from_uid(Uid::current()).ok().flatten().map(|user| user.name)
}

/// Shows a question on standard output and reads the answer from standard input, without its line feed.
///
/// Nothing when the input has ended.
///
/// # Errors
/// When standard input cannot be read.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    let mut stdout = io::stdout().lock();
    // A question nobody sees can still be answered.
    let _ = stdout.write_all(question.as_bytes()).and_then(|()| stdout.flush());
    read_line(&mut io::stdin().lock())
}

/// Shows a question on the terminal and reads the answer from it without showing it; without a terminal it asks on
/// standard error and reads from standard input. As C's `getpass` does, except that Ctrl-C ends the question.
///
/// Nothing when the input has ended.
///
/// # Errors
/// When the input cannot be read; [`io::ErrorKind::Interrupted`] after Ctrl-C.
pub fn ask_secretly(question: &str) -> io::Result<Option<String>> {
    let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        let _ = io::stderr().write_all(question.as_bytes());
        return read_line(&mut io::stdin().lock());
    };
    let silence = Silence::over(terminal.try_clone()?)?;
    terminal.write_all(question.as_bytes())?;
    let answer = read_line(&mut BufReader::new(&terminal));
    drop(silence);
    terminal.write_all(b"\n")?;
    match answer? {
        Some(line) if line.bytes().any(|byte| byte == CTRL_C) => Err(io::ErrorKind::Interrupted.into()),
        line => Ok(line),
    }
}

/// Reads up to a line feed, a Ctrl-C, the limit or the end.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut ended = true;
    for byte in input.take(MAX_LINE).bytes() {
        let byte = byte?;
        ended = false;
        if byte == b'\n' {
            break;
        }
        line.push(byte);
        if byte == CTRL_C {
            break;
        }
    }
    Ok(if ended { None } else { Some(String::from_utf8_lossy(&line).into_owned()) })
}

/// A terminal that shows nothing of what is typed, for as long as this lives.
struct Silence<T: AsFd> {
    terminal: T,
    before: Termios,
}

impl<T: AsFd> Silence<T> {
    fn over(terminal: T) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        // Without signals, too: a program that ends here would leave the terminal silent. Ctrl-C ends the line instead.
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        #[expect(clippy::as_conversions, reason = "an index by its definition; nix has no other way to it")]
        let end_of_line = SpecialCharacterIndices::VEOL as usize;
        if let Some(end) = silent.control_chars.get_mut(end_of_line) {
            *end = CTRL_C;
        }
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Silence<T> {
    fn drop(&mut self) {
        // There is no other way to give the terminal its echo back.
        let _ = tcsetattr(&self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;

    #[test]
    fn lines_are_read_one_by_one_up_to_a_limit() {
        let mut input = io::Cursor::new(b"one\n\ntwo".to_vec());
        let mut next = || read_line(&mut input).unwrap();
        assert_eq!(next().as_deref(), Some("one"));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next().as_deref(), Some("two"));
        assert_eq!(next(), None);
        let mut endless = BufReader::new(io::repeat(b'x'));
        assert_eq!(read_line(&mut endless).unwrap().unwrap().len(), 4096);
    }

    #[test]
    fn ctrl_c_ends_a_secret_line_at_once() {
        let pair = openpty(None, None).unwrap();
        let _silence = Silence::over(&pair.slave).unwrap();
        nix::unistd::write(&pair.master, b"half\x03").unwrap();
        let line = read_line(&mut BufReader::new(std::fs::File::from(pair.slave.try_clone().unwrap())));
        assert_eq!(line.unwrap().as_deref(), Some("half\x03"));
    }

    #[test]
    fn a_silenced_terminal_speaks_again() {
        let pair = openpty(None, None).unwrap();
        let echoes =
            || tcgetattr(&pair.slave).unwrap().local_flags.contains(LocalFlags::ECHO | LocalFlags::ISIG);
        assert!(echoes());
        let silence = Silence::over(&pair.slave).unwrap();
        assert!(!echoes());
        drop(silence);
        assert!(echoes());
    }
}
