//! Talking to a running driver over its own socket, as another instance of it or `upsdrvctl` does (driver-socket §8).

use nut_os::clock;
use nut_proto::device::Change;
use nut_proto::driver::{FromDriver, Judgement, ToDriver};
use nut_proto::lines::LineBuffer;
use nut_proto::words::split;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long connecting, and the first answer, may take.
const HELLO: Duration = Duration::from_secs(3);

/// How long an ordinary order may take.
pub const ORDINARY: Duration = Duration::from_secs(15);

/// How long a running driver may take to cut the power. A unit takes some seconds; a driver that has not answered by then is
/// ended and `-k` does it itself, which must fit into the 75 s that `upsdrvctl` gives it as a rule.
pub const KILL_POWER: Duration = Duration::from_secs(30);

/// How often it is looked whether a driver that was told to end is gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Most messages kept that came while something else was waited for.
const MAX_KEPT: usize = 10_000;

/// Why a dialog failed.
#[derive(Debug, Error)]
pub enum DialogError {
    /// Nobody listens there.
    #[error("no driver answers on {}", path.display())]
    NotThere {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens, but says nothing in time.
    #[error("the driver on {} does not answer within {} s", path.display(), within.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long we waited.
        within: Duration,
    },
    /// The connection broke.
    #[error("the connection to {} broke", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A conversation with a running driver.
#[derive(Debug)]
pub struct Dialog {
    path: PathBuf,
    stream: UnixStream,
    lines: LineBuffer,
    heard: VecDeque<FromDriver>,
}

impl Dialog {
    /// Connects, and sees that somebody answers.
    ///
    /// # Errors
    /// See [`DialogError`].
    pub async fn open(path: &Path) -> Result<Self, DialogError> {
        let silent = || DialogError::Silent { path: path.to_path_buf(), within: HELLO };
        let not_there = |source| DialogError::NotThere { path: path.to_path_buf(), source };
        let connected = timeout(HELLO, UnixStream::connect(path)).await.map_err(|_| silent())?;
        let mut dialog = Self {
            path: path.to_path_buf(),
            stream: connected.map_err(not_there)?,
            lines: LineBuffer::default(),
            heard: VecDeque::new(),
        };
        dialog.say(&[ToDriver::Broadcast(false), ToDriver::Ping]).await?;
        dialog.wait(HELLO, |heard| matches!(heard, FromDriver::Pong).then_some(())).await?;
        Ok(dialog)
    }

    /// Gives an order and waits for its result.
    ///
    /// # Errors
    /// See [`DialogError`].
    pub async fn order(&mut self, mut order: ToDriver, within: Duration) -> Result<Judgement, DialogError> {
        let wanted = tracking_id();
        if let ToDriver::InstCmd { tracking, .. } | ToDriver::Set { tracking, .. } = &mut order {
            *tracking = Some(wanted.as_str().into());
        }
        self.say(&[order]).await?;
        let result = |heard: &FromDriver| match heard {
            FromDriver::Tracking { id, judgement } if id.eq_ignore_ascii_case(&wanted) => Some(*judgement),
            _ => None,
        };
        self.wait(within, result).await
    }

    /// Runs one of the driver's commands, without argument.
    ///
    /// # Errors
    /// See [`DialogError`].
    pub async fn command(&mut self, name: &'static str, within: Duration) -> Result<Judgement, DialogError> {
        let cmd = name.parse().expect("the names of the core's commands are names");
        self.order(ToDriver::InstCmd { cmd, param: None, tracking: None }, within).await
    }

    /// The driver's process number.
    ///
    /// # Errors
    /// See [`DialogError`]; drivers before 2.8.3 do not answer.
    pub async fn pid(&mut self) -> Result<u32, DialogError> {
        self.say(&[ToDriver::GetPid]).await?;
        self.wait(HELLO, |heard| if let FromDriver::Pid(pid) = heard { Some(*pid) } else { None }).await
    }

    /// The value of `ups.status`, if there is one.
    ///
    /// # Errors
    /// See [`DialogError`]; drivers before 2.8.3 do not answer.
    pub async fn status(&mut self) -> Result<Option<String>, DialogError> {
        self.say(&[ToDriver::DumpStatus]).await?;
        let mut status = None;
        self.wait(HELLO, |heard| match heard {
            FromDriver::Change(Change::Info { name, value }) if name.is("ups.status") => {
                status = Some(value.as_str().to_owned());
                None
            }
            FromDriver::DumpDone => Some(()),
            _ => None,
        })
        .await?;
        Ok(status)
    }

    async fn say(&mut self, messages: &[ToDriver]) -> Result<(), DialogError> {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        let written = timeout(HELLO, self.stream.write_all(&bytes)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(self.broken(source)),
            Err(_) => Err(self.silent(HELLO)),
        }
    }

    /// Waits for the first message that `pick` picks; others are forgotten.
    async fn wait<T>(
        &mut self,
        within: Duration,
        mut pick: impl FnMut(&FromDriver) -> Option<T>,
    ) -> Result<T, DialogError> {
        let listening = async {
            loop {
                while let Some(heard) = self.heard.pop_front() {
                    if let Some(picked) = pick(&heard) {
                        return Ok(picked);
                    }
                }
                let mut buffer = [0; 4096];
                let count = self.stream.read(&mut buffer).await?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let heard = &mut self.heard;
                self.lines.push(buffer.get(..count).unwrap_or_default(), |line| {
                    // What we do not understand is not for us.
                    let message =
                        line.ok().and_then(|line| split(line).ok()).map(|words| FromDriver::parse(&words));
                    if let Some(Ok(message)) = message
                        && heard.len() < MAX_KEPT
                    {
                        heard.push_back(message);
                    }
                });
            }
        };
        match timeout(within, listening).await {
            Ok(Ok(picked)) => Ok(picked),
            Ok(Err(source)) => Err(self.broken(source)),
            Err(_) => Err(self.silent(within)),
        }
    }

    fn broken(&self, source: io::Error) -> DialogError {
        DialogError::Broken { path: self.path.clone(), source }
    }

    fn silent(&self, within: Duration) -> DialogError {
        DialogError::Silent { path: self.path.clone(), within }
    }
}

/// Tells the driver on this socket to end, and waits until it is gone. Says whether it is.
///
/// # Errors
/// When nobody answers there, or it cannot be told.
pub async fn end_other(path: &Path, within: Duration) -> Result<bool, DialogError> {
    let mut dialog = Dialog::open(path).await?;
    match dialog.command("driver.exit", ORDINARY).await {
        // It may be quicker with ending than with answering.
        Ok(_) | Err(DialogError::Broken { .. }) => {}
        Err(error) => return Err(error),
    }
    drop(dialog);
    Ok(gone_within(within, || !nut_os::socket::is_answered(path)).await)
}

/// Waits until `is_gone` says so, but not longer than that. Says whether it did.
pub async fn gone_within(within: Duration, is_gone: impl Fn() -> bool) -> bool {
    let until = clock::now() + within;
    loop {
        if is_gone() {
            return true;
        }
        let now = clock::now();
        if now >= until {
            return false;
        }
        clock::until(now + LOOK_EVERY.min(until.since(now))).await;
    }
}

/// An id that no other order has: for one connection of one process it need not be a secret.
fn tracking_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", std::process::id(), clock::now().since_start().as_nanos())
}
