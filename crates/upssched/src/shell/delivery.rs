//! Bringing one order to the timer process, which is started if it must be.
//!
//! One connection an order, which is kept once it stands: an order that goes back to the end of the queue would come
//! behind that of a later notice. It is repeated only when the timer process has ended without an answer. A timer process
//! that finds its client gone sets nothing that he left.
//!
//! Who sets a timer can be seen waiting (see [`lock::announce`]) as long as he tries, so that nobody finds nothing to
//! cancel meanwhile.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nix::errno::Errno;
use nut_os::clock;
use nut_os::daemon::{self, Order};
use nut_os::log::Chain;
use nut_os::reexec;
use nut_os::socket::{self, SocketError};
use nut_proto::Moment;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tracing::{debug, info, warn};

use super::TIMER_PROCESS;
use super::lock::{self, LockError};
use super::process::{self, Word};
use crate::pipe::{Answer, AnswerReader, Request, ToTimers};

/// How long one order may take, all tries together, and also the wait for an answer: the timer process never does
/// anything that takes longer than an instant, but it may stand still.
const ORDER: Duration = Duration::from_secs(20);

/// How long an order may take if one before it has waited in vain.
const SHORT: Duration = Duration::from_secs(5);

/// How long the timer process may take to be ready.
const START: Duration = Duration::from_secs(10);

/// How long to wait before the second try; twice as long before each further one, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(10);

/// NUT's pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How often we try to start the timer process before we say that it cannot be started. What it lacks may be back in a
/// moment: on a host that is losing its power very much goes on at once, and there is no second notice.
const STARTS: u32 = 6;

/// How long before the second start, and twice as long before each further one: some 8 s in all.
const START_PAUSE: Duration = Duration::from_millis(250);

/// How long a timer process that has given up may take to end.
const END: Duration = Duration::from_secs(1);

/// After this many tries we say that we wait for another client.
const TRIES_BEFORE_WORD: u32 = 3;

/// After this many tries a timer process that is there but cannot be reached is told to look at its socket: it may
/// have been removed, by a sweep through a directory of temporary files for instance.
const TRIES_BEFORE_NUDGE: u32 = 8;

/// What belongs to the notice that starts the timer process, and not to those whose timers it runs.
const OF_ONE_NOTICE: [&str; 4] = ["NOTIFYTYPE", "UPSNAME", "NOTIFYMSG", "NOTIFYREASON"];

/// Where the timer process is to be found, and how to start it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// PIPEFN.
    pub(crate) pipe: PathBuf,
    /// LOCKFN.
    pub(crate) lock: PathBuf,
    /// CMDSCRIPT's words. It keeps those that it was started with.
    pub(crate) script: Vec<String>,
    /// The debug level.
    pub(crate) debug: u8,
    /// Whether its log goes to our standard error, too.
    pub(crate) keeps_stderr: bool,
    /// upssched.conf. LOCKFN may be that of another one, too, which has timers of its own.
    pub(crate) conf: PathBuf,
}

/// How long to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// [`ORDER`].
    Usual,
    /// [`SHORT`], and one try to start the timer process: an order before this one has waited in vain.
    Short,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// It was accepted. The lines of the list, if one was asked for.
    Done(Vec<String>),
    /// There is no timer process, and the order needs none.
    NobodyThere,
}

/// Why an order was not delivered.
#[derive(Debug, Error)]
pub(crate) enum DeliveryError {
    /// PIPEFN is longer than a socket's address can be. (NUT's text.)
    #[error(
        "Can't create a unix domain socket: pathname '{}' is too long ({len}) for 'struct sockaddr_un->sun_path' on this system ({})",
        path.display(), socket::MAX_SOCKET_PATH + 1
    )]
    PathTooLong {
        /// PIPEFN.
        path: PathBuf,
        /// Its length.
        len: usize,
    },
    /// There is a socket, but it is not for us.
    #[error("cannot connect to PIPEFN {} ({}): {}", path.display(), nut_os::files::describe_permissions(path), hint(source))]
    Connect {
        /// PIPEFN.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The timer process cannot be started.
    #[error("cannot start the timer process: {why}")]
    Start {
        /// In its words.
        why: String,
    },
    /// It understood the order, or not, and said no.
    #[error("the timer process refused an order: {answer}")]
    Refused {
        /// In its words.
        answer: String,
    },
    /// All tries failed. (NUT's text.)
    #[error("Unable to connect to daemon and unable to start daemon ({tries} tries): {last}")]
    OutOfTime {
        /// How many there were.
        tries: u32,
        /// What went wrong with the last one.
        last: String,
    },
}

impl DeliveryError {
    /// Whether another try in a moment is in vain.
    fn is_lasting(&self) -> bool {
        matches!(self, Self::Lock(error) if error.is_lasting())
    }
}

/// What to do about it.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => "upsmon and all that starts upssched must run as the same user",
        Some(Errno::EPROTOTYPE) => "it is not a timer process that listens there; write another path",
        _ => "no socket can be there; write another path",
    }
}

/// Brings this order to the timer process.
///
/// # Errors
/// When that did not succeed in the time that `patience` gives.
pub(crate) async fn deliver(
    place: &Place,
    order: &Request,
    patience: Patience,
) -> Result<Delivered, DeliveryError> {
    if let Err(SocketError::PathTooLong { path, len }) = socket::check_path(&place.pipe) {
        return Err(DeliveryError::PathTooLong { path, len });
    }
    let (time, starts) = if patience == Patience::Usual { (ORDER, STARTS) } else { (SHORT, 1) };
    let began = clock::now();
    let mut give_up = began + time;
    let mut pause = PAUSE;
    let mut last = String::new();
    let mut tried = 0;
    let mut started_in_vain = 0;
    let mut start_pause = START_PAUSE;
    let mut announced = None;
    while tried == 0 || clock::now() < give_up {
        tried += 1;
        if order.what.sets_a_timer() && announced.is_none() {
            announced = lock::announce(&place.lock);
        }
        last = match reach(place).await {
            Ok(stream) => match exchange(stream, order, give_up).await {
                Ok(Answer::Done(lines)) => return Ok(Delivered::Done(lines)),
                Ok(Answer::Refused(answer)) => return Err(DeliveryError::Refused { answer }),
                Err(error @ TryError::Late) => {
                    return Err(DeliveryError::OutOfTime { tries: tried, last: error.to_string() });
                }
                Err(error) => {
                    info!("{error}, trying again");
                    error.to_string()
                }
            },
            Err(error) if is_nobody(&error) => {
                let lock = lock::of(&place.lock, &place.conf);
                let started = if order.what.is_void_without_timers() {
                    let is_coming = order.what != ToTimers::List && lock::is_announced(&place.lock);
                    if !is_coming && !lock::is_held(&lock) {
                        return Ok(Delivered::NobodyThere);
                    }
                    if is_coming {
                        // He was here before us, so he gives up before us.
                        give_up = began + ORDER;
                    }
                    if is_coming && tried == TRIES_BEFORE_WORD {
                        info!("a timer of another notice is about to be started, waiting for that");
                    }
                    Ok(Started::BySomebodyElse)
                } else {
                    start(place, &lock, give_up).await
                };
                match started {
                    // It listens: no need to wait.
                    Ok(Started::Ready) => continue,
                    Ok(Started::BySomebodyElse) => {
                        if tried == TRIES_BEFORE_NUDGE {
                            nudge(&lock);
                        }
                        held(&lock)
                    }
                    Err(error) => {
                        started_in_vain += 1;
                        if started_in_vain >= starts || error.is_lasting() {
                            return Err(error);
                        }
                        if started_in_vain == 1 {
                            info!("{}; trying again", Chain(&error));
                        }
                        let last = Chain(&error).to_string();
                        clock::until((clock::now() + start_pause).min(give_up)).await;
                        start_pause *= 2;
                        last
                    }
                }
            }
            Err(source) if is_final(&source) => {
                return Err(DeliveryError::Connect { path: place.pipe.clone(), source });
            }
            Err(error) => error.to_string(),
        };
        debug!("try {tried}: {last}");
        clock::until((clock::now() + pause).min(give_up)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Err(DeliveryError::OutOfTime { tries: tried, last })
}

/// Connects to the timer process, which may still listen where PIPEFN was when it started: its timers are to be
/// cancelled all the same.
async fn reach(place: &Place) -> io::Result<UnixStream> {
    match UnixStream::connect(&place.pipe).await {
        Err(error) if is_nobody(&error) => {
            match lock::listens_elsewhere(&place.lock, &place.pipe, &place.conf) {
                Some(pipe) => {
                    info!("PIPEFN has changed: the timer process still listens on {}", pipe.display());
                    UnixStream::connect(&pipe).await
                }
                None => Err(error),
            }
        }
        reached => reached,
    }
}

/// What keeps us waiting when the timer process should be there.
fn held(lock: &Path) -> String {
    let holder = lock::holder(lock).map_or_else(String::new, |holder| format!(" (process {})", holder.pid));
    format!("somebody{holder} holds LOCKFN {} or waits for it, but nobody answers on PIPEFN", lock.display())
}

/// No socket there, or one that nobody listens on.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Something is there, and it will not be for us in a moment either. All else may pass: very many come at the same time
/// as we, the timer process ended just as it took us in, or the system lacks something.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(
            Errno::EACCES
                | Errno::EPERM
                | Errno::EPROTOTYPE
                | Errno::ENOTDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
        )
    )
}

/// What went wrong with one try, in NUT's words.
#[derive(Debug, Error)]
enum TryError {
    #[error("write failed")]
    Write,
    #[error("read confirmation failed")]
    Read,
    #[error("read confirmation did not come in time")]
    Late,
    #[error("read confirmation failed: {0}")]
    Answer(#[from] crate::pipe::AnswerError),
}

/// Asks, and waits for the answer on the same connection until then: see this file's head.
async fn exchange(mut stream: UnixStream, order: &Request, give_up: Moment) -> Result<Answer, TryError> {
    let dialog = async {
        stream.write_all(&order.encode()).await.map_err(|_| TryError::Write)?;
        let mut reader = AnswerReader::default();
        let mut buffer = [0; 4096];
        loop {
            let count =
                stream.read(&mut buffer).await.ok().filter(|count| *count > 0).ok_or(TryError::Read)?;
            if let Some(answer) = reader.push(buffer.get(..count).unwrap_or_default())? {
                return Ok(answer);
            }
        }
    };
    within(give_up, dialog).await.unwrap_or(Err(TryError::Late))
}

/// What comes of it, unless it takes longer.
async fn within<T>(deadline: Moment, what: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = what => Some(done),
        () = clock::until(deadline) => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Started {
    /// The timer process listens.
    Ready,
    /// Another client is about to start it, or it is about to end.
    BySomebodyElse,
}

/// Starts the timer process, if we are the one to do it, and waits until it listens.
async fn start(place: &Place, path: &Path, give_up: Moment) -> Result<Started, DeliveryError> {
    let Some(lock) = lock::take(path)? else {
        return Ok(Started::BySomebodyElse);
    };
    let cannot = |error: io::Error| DeliveryError::Start { why: error.to_string() };
    let (mut child, link) = reexec::start_half_holding(
        TIMER_PROCESS,
        Some(process::to_args(place, path)),
        lock.into(),
        &OF_ONE_NOTICE,
    )
    .map_err(cannot)?;
    link.set_nonblocking(true).map_err(cannot)?;
    let mut link = UnixStream::from_std(link).map_err(cannot)?;
    let mut text = Vec::new();
    let heard = within((clock::now() + START).min(give_up), link.read_to_end(&mut text)).await;
    let why = match (heard, Word::parse(&text)) {
        (_, Some(Word::Ready)) => return Ok(Started::Ready),
        (_, Some(Word::Taken)) => {
            has_ended(&mut child).await;
            return Ok(Started::BySomebodyElse);
        }
        (_, Some(Word::Failed(why))) => why,
        (None, None) => {
            // It holds the lock and would keep everybody away.
            let _ = child.kill();
            "it was not ready in time".to_owned()
        }
        (Some(_), None) => {
            // Perhaps only its word is lost: then it listens all the same.
            if !has_ended(&mut child).await {
                return Ok(Started::BySomebodyElse);
            }
            "it ended before it was ready".to_owned()
        }
    };
    has_ended(&mut child).await;
    Err(DeliveryError::Start { why })
}

/// Whether it ends within [`END`]; it is buried then.
async fn has_ended(child: &mut Child) -> bool {
    let deadline = clock::now() + END;
    while child.try_wait().is_ok_and(|ended| ended.is_none()) {
        if clock::now() >= deadline {
            return false;
        }
        clock::until(clock::now() + PAUSE).await;
    }
    true
}

/// Tells the timer process that it cannot be reached.
fn nudge(lock: &Path) {
    let Some(pid) = lock::holder(lock).map(|holder| holder.pid) else { return };
    let name = nut_os::options::program_name("upssched");
    match daemon::signal(pid, Order::Reload, &["upssched", &name]) {
        Ok(()) => warn!(%pid, "the timer process cannot be reached on PIPEFN, it was told so"),
        Err(error) => debug!(%error, "nobody can be told that PIPEFN is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_drill::scratch::Scratch;
    use std::os::unix::net::UnixListener;

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let dir = Scratch::new();
        let place = Place {
            pipe: dir.path("pipe"),
            lock: dir.path("lock"),
            script: Vec::new(),
            debug: 0,
            keeps_stderr: false,
            conf: dir.path("upssched.conf"),
        };
        // It takes whoever comes, and says nothing.
        let _mute = UnixListener::bind(&place.pipe).unwrap();
        let request = Request { what: ToTimers::List, called: None };
        let given_up = async |patience, time| {
            let began = clock::now();
            let error = deliver(&place, &request, patience).await.unwrap_err();
            // On one connection: who comes again comes behind others.
            let expected = "Unable to connect to daemon and unable to start daemon (1 tries): read confirmation did not come in time";
            assert_eq!(error.to_string(), expected);
            let took = clock::now().since(began);
            assert!(took >= time, "{took:?}");
        };
        tokio::join!(given_up(Patience::Usual, ORDER), given_up(Patience::Short, SHORT));
    }

    #[test]
    fn a_timer_process_that_ends_as_we_come_is_no_reason_to_give_up() {
        use Errno::{EACCES, EAGAIN, ECONNREFUSED, ECONNRESET, EMFILE, ENOBUFS, ENOENT, ENOMEM, EPROTOTYPE};
        for (errno, nobody, last) in [
            (ENOENT, true, false),
            (ECONNREFUSED, true, false),
            (ECONNRESET, false, false),
            (EAGAIN, false, false),
            (EMFILE, false, false),
            (ENOBUFS, false, false),
            (ENOMEM, false, false),
            (EACCES, false, true),
            (EPROTOTYPE, false, true),
        ] {
            let error = io::Error::from(errno);
            assert_eq!((is_nobody(&error), is_final(&error)), (nobody, last), "{errno}");
        }
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_not_waited_for() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
        assert!(!has_ended(&mut child).await);
        child.kill().unwrap();
        // It is gone within a moment, however busy the machine.
        let gone = async { while !has_ended(&mut child).await {} };
        within(clock::now() + Duration::from_secs(60), gone).await.expect("a killed process ends");
    }

    #[test]
    fn who_may_not_connect_is_told_what_to_do() {
        let error = |errno: Errno| {
            DeliveryError::Connect { path: "/no/pipe".into(), source: errno.into() }.to_string()
        };
        let denied = error(Errno::EACCES);
        assert!(
            denied.starts_with("cannot connect to PIPEFN /no/pipe (") && denied.ends_with("as the same user"),
            "{denied}"
        );
        assert!(
            error(Errno::EPROTOTYPE)
                .ends_with("it is not a timer process that listens there; write another path")
        );
        assert!(error(Errno::ENOTDIR).ends_with("no socket can be there; write another path"));
    }
}
