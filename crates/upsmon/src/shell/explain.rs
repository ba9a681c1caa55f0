//! `--explain`: asks the instance that runs, and says what it answers, or why there is no answer and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nut_os::files::{describe_permissions, directory_of};
use nut_os::privilege::whoami;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::questions::{ANSWER, REQUEST};

/// Longest answer that is taken, in bytes: a thousand UPSes take less than 1 MiB.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// How long an answer may take. The instance answers at once, unless it is starved.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer, with what to do.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// Nobody listens, and there is no sign of anybody who should.
    #[error(
        "no upsmon is running: nobody answers at {}. Start it (upsmon), and then ask again; one that was started \
         under another name, or with another NUT_PIDPATH, is asked under that one", path.display()
    )]
    NotRunning {
        /// Where somebody should.
        path: PathBuf,
    },
    /// There is one, but it does not listen.
    #[error(
        "upsmon runs as process {pid}, but nobody answers at {}: its log says why, from its start on, if it could not \
         listen there; NUT's own upsmon never does. Restart it: upsmon -c stop, and then upsmon", path.display()
    )]
    NotListening {
        /// Its process.
        pid: i32,
        /// Where it should.
        path: PathBuf,
    },
    /// We may not.
    #[error(
        "{} may not ask the upsmon at {} ({whose}): only root and the user it runs as may. Ask as one of them: \
         sudo upsmon --explain", whoami(), path.display()
    )]
    Denied {
        /// Where it listens.
        path: PathBuf,
        /// Whose the socket is, or its directory.
        whose: String,
    },
    /// It took too long.
    #[error("upsmon at {} has not answered within {} s: it is stopped or starved; ask again", path.display(), PATIENCE.as_secs())]
    Late {
        /// Where it listens.
        path: PathBuf,
    },
    /// Something else.
    #[error("upsmon at {} gave no whole answer; ask again", path.display())]
    Broken {
        /// Where it listens.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// Asks at the first of these places where somebody listens, and gives the answer. `running` is the process of an
/// instance that runs, as far as is known.
///
/// # Errors
/// When there is no answer.
pub async fn ask(places: &[PathBuf], running: impl FnOnce() -> Option<i32>) -> Result<String, ExplainError> {
    for path in places {
        match timeout(PATIENCE, ask_at(path)).await {
            Err(_) => return Err(ExplainError::Late { path: path.clone() }),
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
                io::ErrorKind::PermissionDenied => {
                    return Err(ExplainError::Denied { path: path.clone(), whose: whose(path) });
                }
                _ => return Err(ExplainError::Broken { path: path.clone(), source: error }),
            },
        }
    }
    let path = places.first().cloned().unwrap_or_default();
    Err(match running() {
        Some(pid) => ExplainError::NotListening { pid, path },
        None => ExplainError::NotRunning { path },
    })
}

/// Whose the socket is; whose its directory, if we may not even see the socket.
fn whose(path: &Path) -> String {
    if std::fs::symlink_metadata(path).is_ok() {
        return describe_permissions(path);
    }
    let dir = directory_of(path);
    format!("{}: {}", dir.display(), describe_permissions(dir))
}

async fn ask_at(path: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    whole(&answer).ok_or_else(|| io::Error::other("the answer is cut off, or is none"))
}

/// The text of an answer, if all of it is there, without what could move a terminal: it may be root's.
fn whole(answer: &[u8]) -> Option<String> {
    let answer = std::str::from_utf8(answer).ok()?;
    let (length, text) = answer.strip_prefix(ANSWER)?.split_once('\n')?;
    let harmless = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    (length.parse() == Ok(text.len())).then(|| text.chars().map(harmless).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_one() {
        assert_eq!(whole(b"OK 5\nNo: a").as_deref(), Some("No: a"));
        assert_eq!(whole(b"OK 0\n").as_deref(), Some(""));
        assert_eq!(whole(b"OK 6\na\n\x1b[2J").as_deref(), Some("a\n\u{fffd}[2J"));
        for answer in
            [&b"OK 6\nNo: a"[..], b"OK 4\nNo: a", b"OK 5", b"", b"ERR 5\nNo: a", b"OK x\n", b"OK 1\n\xff"]
        {
            assert_eq!(whole(answer), None, "{answer:?}");
        }
    }
}
