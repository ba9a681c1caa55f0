//! Word of the machine's sleep, from systemd-logind on the system bus: it announces that it suspends the machine, and
//! waits a moment for who has asked it to.
//!
//! A task of its own keeps the connection. Nothing depends on it: without a bus, without logind, or refused, upsmon goes on,
//! and a sleep is told when it is over, by the kernel's word. While nothing happens nothing runs here; where there is no bus
//! it is looked for once a minute.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use nut_os::clock::{self, Alarm};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};
use zbus::export::futures_core::Stream as _;
use zbus::message::{Message, Type};
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::zvariant::{self, OwnedValue};
use zbus::{Connection, MatchRule, MessageStream};

use super::bus;

const LOGIND: &str = "org.freedesktop.login1";
const PLACE: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PLACE: &str = "/org/freedesktop/DBus";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// What people see in `systemd-inhibit --list`; the second is NUT's text.
const WHO: &str = "upsmon";
const WHY: &str = "Careful handling of OS sleep with regard to power device monitoring";

/// How long the machine is kept awake for what is told of its sleep to go out: below the 5 s that logind waits
/// (`InhibitDelayMaxSec`), so that we let it go and are not run over.
const HOLD: Duration = Duration::from_secs(4);

/// How long the bus, or logind, may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long until it is tried again: at first, and at most, doubled in between.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Most signals of a kind that wait to be taken.
const MAX_SIGNALS: usize = 16;

/// What logind says.
#[derive(Debug)]
pub(super) enum Word {
    /// The machine is about to be suspended, as soon as no copy of this is left.
    Announced(Hold),
    /// That is over, whether it was suspended or not.
    Over,
}

/// While a copy of it lives the machine is kept awake; not longer than [`HOLD`].
#[derive(Debug, Clone)]
pub(super) struct Hold {
    _sender: mpsc::Sender<Infallible>,
}

/// Where word of sleep comes from.
#[derive(Debug)]
pub(super) struct Logind {
    words: mpsc::Receiver<Word>,
    task: JoinHandle<()>,
}

impl Logind {
    /// Begins to listen.
    ///
    /// # Errors
    /// When no descriptor is left for a timer.
    pub(super) fn listen() -> io::Result<Self> {
        let (sender, words) = mpsc::channel(MAX_SIGNALS);
        let listener = Listener { words: sender, bond: None, patience: Alarm::new()? };
        Ok(Self { words, task: tokio::spawn(listener.work()) })
    }

    /// The next word. Giving up waiting loses nothing.
    pub(super) async fn next(&mut self) -> Word {
        match self.words.recv().await {
            Some(word) => word,
            None => pending().await,
        }
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How we stand with logind; each change is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bond {
    /// It waits for us.
    Held,
    /// It tells us, and does not wait.
    Refused,
    /// It does not tell us.
    Absent,
}

struct Listener {
    words: mpsc::Sender<Word>,
    bond: Option<Bond>,
    /// Until when the machine is kept awake.
    patience: Alarm,
}

impl Listener {
    /// Listens for ever, and comes back to a bus that comes back.
    async fn work(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = clock::now();
            let why = match in_time(Session::open()).await {
                Ok(session) => self.serve(session).await,
                Err(why) => why,
            };
            // One that was good for long was no failed try.
            if clock::now().since(begun) > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            self.tell(Bond::Absent, &why);
            clock::until(clock::now() + wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Serves one connection until it is lost, and says why.
    async fn serve(&mut self, mut session: Session) -> String {
        const LOST: &str = "the system bus has closed the connection";
        let mut held = self.arrive(&mut session).await;
        loop {
            tokio::select! {
                biased;
                // First: who logind is decides whose word counts.
                message = next(&mut session.owners) => match message {
                    Some(message) if is_from(&message, BUS) => {
                        held = self.arrive(&mut session).await;
                    }
                    Some(_) => {}
                    None => return LOST.to_owned(),
                },
                message = next(&mut session.sleeps) => match message {
                    Some(message) if session.is_from_logind(&message) => match message.body().deserialize() {
                        // Else we have learned of it on arrival, just before it was said.
                        Ok(true) if held.is_none() => held = self.announce().await,
                        Ok(true) => {}
                        Ok(false) => {
                            held = None;
                            self.lock(&mut session).await;
                            self.say(Word::Over).await;
                        }
                        Err(error) => debug!(%error, "logind says what nobody understands"),
                    },
                    Some(_) => {}
                    None => return LOST.to_owned(),
                },
                () = gone_out(&mut held, &mut self.patience) => {
                    held = None;
                    session.lock = None;
                }
            }
        }
    }

    /// Gets to know the logind of now.
    async fn arrive(&mut self, session: &mut Session) -> Option<mpsc::Receiver<Infallible>> {
        session.lock = None;
        session.logind = in_time(session.find()).await.map_err(|why| debug!("{why}")).ok();
        if session.logind.is_none() {
            self.tell(Bond::Absent, "logind does not run");
            return None;
        }
        self.lock(session).await;
        // What it has announced meanwhile counts, and that nothing is announced any more.
        if in_time(session.is_preparing()).await.unwrap_or(false) {
            return self.announce().await;
        }
        self.say(Word::Over).await;
        None
    }

    /// Asks it to wait for us with the next sleep.
    async fn lock(&mut self, session: &mut Session) {
        session.lock = None;
        match in_time(session.inhibit()).await {
            Ok(lock) => {
                session.lock = Some(lock);
                self.tell(Bond::Held, "");
            }
            Err(why) => self.tell(Bond::Refused, &why),
        }
    }

    /// Passes an announcement on; what is given ends when it has gone out.
    async fn announce(&mut self) -> Option<mpsc::Receiver<Infallible>> {
        let (sender, held) = mpsc::channel(1);
        self.patience.set(Some(clock::now() + HOLD));
        self.say(Word::Announced(Hold { _sender: sender })).await;
        Some(held)
    }

    async fn say(&self, word: Word) {
        // The loop goes only when the process does.
        let _ = self.words.send(word).await;
    }

    /// One line for each change.
    fn tell(&mut self, bond: Bond, why: &str) {
        let before = self.bond.replace(bond);
        if before == Some(bond) {
            return debug!("no change: {bond:?}, {why}");
        }
        match (bond, before) {
            (Bond::Held, _) => info!("initialized OS integration for sleep inhibitor"),
            (Bond::Refused, _) => warn!(
                "failed to initialize OS integration for sleep inhibitor: {why}; SUSPEND_STARTING is told when the host \
                 goes to sleep, which does not wait for NOTIFYCMD"
            ),
            // Many hosts have none, and it is no fault.
            (Bond::Absent, None) => {
                info!("failed to initialize OS integration for sleep inhibitor: {why}; {UNTOLD}");
            }
            (Bond::Absent, Some(_)) => warn!("OS integration for sleep inhibitor is lost: {why}; {UNTOLD}"),
        }
    }
}

const UNTOLD: &str = "SUSPEND_STARTING will not be told, SUSPEND_FINISHED will";

/// Waits until what was told has gone out, or has had its time; for ever if nothing is on its way.
async fn gone_out(held: &mut Option<mpsc::Receiver<Infallible>>, patience: &mut Alarm) {
    let Some(held) = held else { return pending().await };
    tokio::select! {
        _ = held.recv() => {}
        () = patience.fired() => {
            debug!("what is told of the sleep takes longer than {HOLD:?}: the host may sleep all the same");
        }
    }
}

/// A connection to the bus.
struct Session {
    bus: Connection,
    sleeps: MessageStream,
    owners: MessageStream,
    /// The logind whose word counts: anybody may send a signal that looks like its own.
    logind: Option<OwnedUniqueName>,
    /// While it is open logind waits for us.
    lock: Option<OwnedFd>,
}

impl Session {
    async fn open() -> Result<Self, String> {
        let bus = bus::connect().await?;
        let streams = async {
            let signal = || MatchRule::builder().msg_type(Type::Signal);
            let owners = signal().sender(BUS)?.interface(BUS)?.member("NameOwnerChanged")?.arg(0, LOGIND)?;
            let sleeps =
                signal().sender(LOGIND)?.path(PLACE)?.interface(MANAGER)?.member("PrepareForSleep")?;
            let owners = MessageStream::for_match_rule(owners.build(), &bus, Some(MAX_SIGNALS)).await?;
            let sleeps = MessageStream::for_match_rule(sleeps.build(), &bus, Some(MAX_SIGNALS)).await?;
            Ok::<_, zbus::Error>((owners, sleeps))
        };
        let (owners, sleeps) = streams.await.map_err(|error| error.to_string())?;
        Ok(Self { bus, sleeps, owners, logind: None, lock: None })
    }

    /// Who answers for logind now. It is not started for us.
    async fn find(&self) -> Result<OwnedUniqueName, String> {
        let asked = self.bus.call_method(Some(BUS), BUS_PLACE, Some(BUS), "GetNameOwner", &LOGIND).await;
        let read = asked.and_then(|answer| answer.body().deserialize::<OwnedUniqueName>());
        read.map_err(|error| error.to_string())
    }

    async fn inhibit(&self) -> Result<OwnedFd, String> {
        let what = ("sleep", WHO, WHY, "delay");
        let asked = self.bus.call_method(self.logind.as_ref(), PLACE, Some(MANAGER), "Inhibit", &what).await;
        let read = asked.and_then(|answer| answer.body().deserialize::<zvariant::OwnedFd>());
        read.map(OwnedFd::from).map_err(|error| error.to_string())
    }

    async fn is_preparing(&self) -> Result<bool, String> {
        let what = (MANAGER, "PreparingForSleep");
        let asked = self.bus.call_method(self.logind.as_ref(), PLACE, Some(PROPERTIES), "Get", &what).await;
        let read = asked.and_then(|answer| {
            let value = answer.body().deserialize::<OwnedValue>()?;
            bool::try_from(value).map_err(zbus::Error::from)
        });
        read.map_err(|error| error.to_string())
    }

    fn is_from_logind(&self, message: &Message) -> bool {
        self.logind.as_ref().is_some_and(|logind| is_from(message, logind.as_str()))
    }
}

fn is_from(message: &Message, whom: &str) -> bool {
    message.header().sender().map(UniqueName::as_str) == Some(whom)
}

/// The next signal; nothing when the connection is gone.
async fn next(stream: &mut MessageStream) -> Option<Message> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await?.ok()
}

async fn in_time<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listener() -> (Listener, mpsc::Receiver<Word>) {
        let (sender, words) = mpsc::channel(MAX_SIGNALS);
        (Listener { words: sender, bond: None, patience: Alarm::new().unwrap() }, words)
    }

    async fn announced(words: &mut mpsc::Receiver<Word>) -> Hold {
        match words.recv().await {
            Some(Word::Announced(hold)) => hold,
            other => panic!("{other:?}"),
        }
    }

    /// Whether it is over already; it is not waited for.
    async fn is_over(held: &mut Option<mpsc::Receiver<Infallible>>, patience: &mut Alarm) -> bool {
        tokio::select! {
            biased;
            () = gone_out(held, patience) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn the_machine_is_kept_awake_until_all_that_was_told_has_gone_out() {
        let (mut listener, mut words) = listener().await;
        let mut held = listener.announce().await;
        let hold = announced(&mut words).await;
        let of_a_hook = hold.clone();
        // However long that takes here.
        listener.patience.set(Some(clock::now() + Duration::from_secs(3600)));
        drop(hold);
        assert!(!is_over(&mut held, &mut listener.patience).await);
        drop(of_a_hook);
        gone_out(&mut held, &mut listener.patience).await;
    }

    #[tokio::test]
    async fn a_hook_that_does_not_end_keeps_nobody_awake() {
        let (mut listener, mut words) = listener().await;
        let begun = clock::now();
        let mut held = listener.announce().await;
        let _hold = announced(&mut words).await;
        gone_out(&mut held, &mut listener.patience).await;
        assert!(clock::now().since(begun) >= HOLD);
    }
}
