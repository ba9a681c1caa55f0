//! Signals to this process, as a stream of events.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What somebody told us by a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGTERM, SIGINT or SIGQUIT: end in order.
    Stop {
        /// As in `SIGTERM`.
        name: &'static str,
        /// The number, which NUT's log line `Signal 15: exiting` shows.
        number: i32,
    },
    /// SIGUSR1: upsmon's forced shutdown, a driver's reload-or-exit.
    User1,
    /// SIGUSR2: nothing yet. NUT's daemons die of it.
    User2,
}

impl Signal {
    /// The signal's number on this machine.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Reload => SignalKind::hangup().as_raw_value(),
            Self::Stop { number, .. } => number,
            Self::User1 => SignalKind::user_defined1().as_raw_value(),
            Self::User2 => SignalKind::user_defined2().as_raw_value(),
        }
    }
}

/// All signals a daemon listens to. From its making on they no longer end the process. SIGPIPE is ignored anyway.
#[derive(Debug)]
pub struct Signals {
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
}

impl Signals {
    /// Starts listening. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: unix::signal(SignalKind::hangup())?,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            user1: unix::signal(SignalKind::user_defined1())?,
            user2: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// The next signal. Several equal ones at once may come as one; giving up waiting loses none.
    pub async fn next(&mut self) -> Signal {
        let stop = |name, kind: SignalKind| Signal::Stop { name, number: kind.as_raw_value() };
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => stop("SIGTERM", SignalKind::terminate()),
            Some(()) = self.interrupt.recv() => stop("SIGINT", SignalKind::interrupt()),
            Some(()) = self.quit.recv() => stop("SIGQUIT", SignalKind::quit()),
            Some(()) = self.user1.recv() => Signal::User1,
            Some(()) = self.hangup.recv() => Signal::Reload,
            Some(()) = self.user2.recv() => Signal::User2,
            // The streams end only with the runtime, and this task with it.
            else => std::future::pending().await,
        }
    }
}
