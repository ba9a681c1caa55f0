//! A server that answers by a table, and a tool that is run against it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest wait for anything; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers the questions of one client and notes them.
pub(crate) struct Server {
    port: u16,
    asked: JoinHandle<Vec<String>>,
}

/// As the answer to a question: hangs up behind it.
pub(crate) const THEN_HANG_UP: &str = "\u{4}";

impl Server {
    /// A question that is not in the table is an unknown command. `LOGOUT` needs no entry. Of several entries for one
    /// question each is used once, the last for ever.
    pub(crate) fn start(table: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut table: Vec<(String, String)> =
            table.iter().map(|(question, answer)| (question.to_string(), answer.to_string())).collect();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            let mut offered = false;
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            for line in reader.lines() {
                let line = line.unwrap();
                // Every tool's first words; this server speaks no TLS.
                if line == "STARTTLS" && !std::mem::replace(&mut offered, true) {
                    stream.write_all(b"ERR FEATURE-NOT-CONFIGURED\n").unwrap();
                    continue;
                }
                assert!(offered, "{line} before STARTTLS");
                let entries = table.iter().filter(|(question, _)| *question == line).count();
                let place = table.iter().position(|(question, _)| *question == line);
                let answer = match place {
                    Some(place) if entries > 1 => table.remove(place).1,
                    Some(place) => table[place].1.clone(),
                    None if line == "LOGOUT" => "OK Goodbye\n".to_owned(),
                    None => "ERR UNKNOWN-COMMAND\n".to_owned(),
                };
                asked.push(line);
                let (said, hang_up) =
                    answer.strip_suffix(THEN_HANG_UP).map_or((answer.as_str(), false), |said| (said, true));
                stream.write_all(said.as_bytes()).unwrap();
                if hang_up {
                    break;
                }
            }
            asked
        });
        Self { port, asked }
    }

    /// `name@127.0.0.1:port`, or the server alone without a name.
    pub(crate) fn at(&self, name: &str) -> String {
        let at = if name.is_empty() { "" } else { "@" };
        format!("{name}{at}127.0.0.1:{}", self.port)
    }

    /// What was asked, once the client is gone.
    pub(crate) fn asked(self) -> Vec<String> {
        // If the client never came, this one ends the wait for it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.asked.join().unwrap()
    }
}

/// What a tool printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl From<Output> for Seen {
    fn from(output: Output) -> Self {
        Self {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }
}

/// What is seen when all goes well.
pub(crate) fn success(stdout: &str) -> Seen {
    Seen { stdout: stdout.into(), stderr: String::new(), code: Some(0) }
}

/// What is seen when it ends with this on standard error.
pub(crate) fn failure(stderr: &str) -> Seen {
    Seen { stdout: String::new(), stderr: stderr.into(), code: Some(1) }
}

/// A tool with an environment that says nothing to it, and without a terminal.
pub(crate) fn tool(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    for name in ["NUT_DEBUG_LEVEL", "NUT_DEFAULT_CONNECT_TIMEOUT"] {
        command.env_remove(name);
    }
    command
}

/// Runs a tool to its end.
pub(crate) fn run(program: &str, words: &[&str]) -> Seen {
    tool(program, words).output().unwrap().into()
}

/// Runs a tool to its end with something to read from standard input.
pub(crate) fn run_with_input(program: &str, words: &[&str], input: &str) -> Seen {
    let mut command = tool(program, words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}
