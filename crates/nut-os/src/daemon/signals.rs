//! Signals to this process, as a stream of events.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use nix::libc::{SIGRTMAX, SIGRTMIN};
use nix::sys::signal::{SigSet, Signal as Number};
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
    /// One that means nothing to any of us, and would have ended us without a word had we not asked for it.
    Other {
        /// As in `SIGALRM`; all real-time signals have one name.
        name: &'static str,
        /// The number.
        number: i32,
    },
}

/// Signals that end a process unless it asks for them, and that nobody sends to a daemon in earnest: a slip of whoever
/// types a number, a limit on time or file size that a shell has handed down, a power daemon's broadcast. What kills both
/// halves of a program at once leaves nobody to say why.
const OTHERS: [&str; 8] =
    ["SIGALRM", "SIGSTKFLT", "SIGXCPU", "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"];

/// What the log calls the others of that kind, of which there are some thirty. They, too, end who does not ask for them.
const REAL_TIME: &str = "SIGRTMIN+n";

impl Signal {
    /// The signal's number on this machine.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Reload => SignalKind::hangup().as_raw_value(),
            Self::Stop { number, .. } | Self::Other { number, .. } => number,
            Self::User1 => SignalKind::user_defined1().as_raw_value(),
            Self::User2 => SignalKind::user_defined2().as_raw_value(),
        }
    }
}

/// All signals a daemon listens to. From its making on they no longer end the process. SIGPIPE is ignored anyway.
///
/// What is left ends it for good reasons: SIGKILL, and its own faults (SIGABRT, SIGSEGV and the like); beside these only 32
/// and 33, which the C library keeps for itself and gives to nobody.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
    stir: Arc<Stir>,
    /// [`Stir`] in the form that the streams want.
    waker: Waker,
}

/// Keeps all signals but those to stop waiting until there is a daemon that can take them, that is until [`Signals::new`].
///
/// To be called first thing in `main`, before there are threads. Who is told to reload, or to shut the host down, while it
/// starts must not die of that; who is told to stop may. What is started meanwhile does not inherit it.
pub fn hold_signals() {
    // The system cannot refuse what is asked of it here.
    let _ = held().thread_block();
}

fn held() -> SigSet {
    let others = OTHERS.iter().filter_map(|name| name.parse::<Number>().ok());
    [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2].into_iter().chain(others).collect()
}

/// Whether one of the streams has something to tell. A server asks for signals after each request it has answered;
/// without this it would ask each stream each time.
#[derive(Debug)]
struct Stir {
    stirred: AtomicBool,
    /// Whoever waits for the next signal.
    waits: Mutex<Option<Waker>>,
}

impl Wake for Stir {
    fn wake(self: Arc<Self>) {
        self.stirred.store(true, Ordering::Release);
        // Nothing can panic while it is locked.
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waits {
            waker.wake();
        }
    }
}

impl Stir {
    fn wait(&self, waker: &Waker) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        if !waits.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *waits = Some(waker.clone());
        }
    }
}

impl Signals {
    /// Starts listening. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> io::Result<Self> {
        let stop = |name, kind: SignalKind| (Signal::Stop { name, number: kind.as_raw_value() }, kind);
        let stream = |(signal, kind)| Ok::<_, io::Error>((signal, unix::signal(kind)?));
        // The most urgent first.
        let known = [
            stop("SIGTERM", SignalKind::terminate()),
            stop("SIGINT", SignalKind::interrupt()),
            stop("SIGQUIT", SignalKind::quit()),
            (Signal::User1, SignalKind::user_defined1()),
            (Signal::Reload, SignalKind::hangup()),
            (Signal::User2, SignalKind::user_defined2()),
        ];
        let mut streams = known.into_iter().map(stream).collect::<io::Result<Vec<_>>>()?;
        for name in OTHERS {
            // One that this kind of machine does not have can end nobody here.
            if let Some(number) = number_of(name) {
                streams.push(stream((Signal::Other { name, number }, SignalKind::from_raw(number)))?);
            }
        }
        for number in SIGRTMIN()..=SIGRTMAX() {
            let signal = Signal::Other { name: REAL_TIME, number };
            streams.push(stream((signal, SignalKind::from_raw(number)))?);
        }
        // Each has its handler now, and what has waited comes.
        held().thread_unblock()?;
        let stir = Arc::new(Stir { stirred: AtomicBool::new(true), waits: Mutex::new(None) });
        let waker = Waker::from(Arc::clone(&stir));
        Ok(Self { streams, stir, waker })
    }

    /// The next signal. Several equal ones at once may come as one; giving up waiting loses none.
    pub async fn next(&mut self) -> Signal {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        // Before looking, not after: whatever stirs from now on wakes us.
        self.stir.wait(context.waker());
        if !self.stir.stirred.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let mut streams = Context::from_waker(&self.waker);
        for (signal, stream) in &mut self.streams {
            // The streams end only with the runtime, and this task with it.
            if let Poll::Ready(Some(())) = stream.poll_recv(&mut streams) {
                // There may be another behind it, and the streams behind this one were not asked.
                self.stir.stirred.store(true, Ordering::Release);
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    }
}

/// A signal's number, which differs from one kind of machine to another.
fn number_of(name: &str) -> Option<i32> {
    (1..=31).find(|number| Number::try_from(*number).is_ok_and(|signal| signal.as_str() == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;
    use std::time::Duration;

    #[tokio::test]
    async fn what_would_end_us_by_mistake_is_told_and_ends_nobody() {
        let mut signals = Signals::new().unwrap();
        for name in OTHERS {
            let number = number_of(name).unwrap();
            raise(Number::try_from(number).unwrap()).unwrap();
            let next = tokio::time::timeout(Duration::from_secs(60), signals.next()).await;
            assert_eq!(next.expect("within the deadline"), Signal::Other { name, number });
        }
    }
}
