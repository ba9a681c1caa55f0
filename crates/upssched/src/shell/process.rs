//! The timer process: holds the timers, listens on PIPEFN, runs CMDSCRIPT, and ends when there is nothing left to do.
//!
//! It is this program run again by a client (no `fork`). As its standard output it gets the open, locked LOCKFN, which
//! it keeps as long as it lives; over its standard input it tells its starter when it listens. PIPEFN, LOCKFN and
//! CMDSCRIPT are those that its starter read.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nut_os::clock::{self, Alarm};
use nut_os::daemon::{self, PidFile, Signal, Signals};
use nut_os::log::{self, Chain, Destination, LogOptions};
use nut_os::notice;
use nut_os::options::Paths;
use nut_os::socket::{Existing, SocketError, UnixSocket};
use nut_proto::Moment;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::delivery::Place;
use super::serving::{Asked, is_gone, serve};
use super::{PROGRAM, lock, script};
use crate::pipe::{Request, RequestError, ToTimers};
use crate::timers::{Action, Event, IDLE, Timers, Weight};

/// PIPEFN's mode, as NUT's.
const SOCKET_MODE: u32 = 0o660;

/// Most clients that are served at the same time; further ones wait in the socket's queue.
const MAX_CLIENTS: usize = 64;

/// How long, once PIPEFN is removed, we look for clients that had found it just before.
const LINGER: Duration = Duration::from_millis(50);

/// Least time by which the two clocks of the kernel have moved apart if the machine was suspended: they are not read in
/// the same moment.
const SUSPENSION: Duration = Duration::from_secs(1);

/// How long until we try to listen again, or to take clients again, when the system refused it.
const RETRY: Duration = Duration::from_secs(1);

/// What the timer process says to its starter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// It listens.
    Ready,
    /// Another program answers on PIPEFN already.
    Taken,
    /// It cannot work, for this reason.
    Failed(String),
}

impl Word {
    fn encode(&self) -> String {
        match self {
            Self::Ready => "ready\n".into(),
            Self::Taken => "taken\n".into(),
            Self::Failed(why) => format!("failed {why}\n"),
        }
    }

    /// Reads the whole word; none if it is not whole.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        match text.strip_suffix('\n')? {
            "ready" => Some(Self::Ready),
            "taken" => Some(Self::Taken),
            text => text.strip_prefix("failed ").map(|why| Self::Failed(why.to_owned())),
        }
    }
}

/// The arguments of the timer process: PIPEFN, the lock it holds, the debug level, where its log goes, upssched.conf,
/// CMDSCRIPT.
pub(super) fn to_args(place: &Place, lock: &Path) -> Vec<OsString> {
    let log = if place.keeps_stderr { "stderr" } else { "syslog" };
    let mut args = vec![place.pipe.clone().into(), lock.into()];
    args.extend([place.debug.to_string().into(), log.into(), place.conf.clone().into()]);
    args.extend(place.script.iter().map(OsString::from));
    args
}

fn from_args(mut args: impl Iterator<Item = OsString>) -> Option<Place> {
    Some(Place {
        pipe: args.next()?.into(),
        lock: args.next()?.into(),
        debug: args.next()?.to_str()?.parse().ok()?,
        keeps_stderr: args.next()? == "stderr",
        conf: args.next()?.into(),
        script: args.map(|word| word.to_string_lossy().into_owned()).collect(),
    })
}

/// Why the timer process cannot work.
#[derive(Debug, Error)]
enum StartError {
    #[error("its arguments make no sense")]
    Arguments,
    #[error("{doing} failed")]
    System { doing: &'static str, source: io::Error },
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl StartError {
    fn at<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { doing, source: source.into() }
    }

    fn word(&self) -> Word {
        match self {
            Self::Socket(SocketError::Taken { .. }) => Word::Taken,
            Self::Arguments | Self::System { .. } | Self::Socket(_) => Word::Failed(Chain(self).to_string()),
        }
    }
}

/// Is the timer process, from its start to its end.
pub(super) fn run(mut starter: StdUnixStream, args: impl Iterator<Item = OsString>) -> ExitCode {
    match begin(args) {
        Ok((runtime, process)) => runtime.block_on(process.live(starter)),
        Err(error) => {
            // A starter that is gone has no use for it.
            let _ = starter.write_all(error.word().encode().as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn begin(args: impl Iterator<Item = OsString>) -> Result<(tokio::runtime::Runtime, Process), StartError> {
    let place = from_args(args).ok_or(StartError::Arguments)?;
    log::init(LogOptions { program: PROGRAM.into(), debug: place.debug, to: Destination::Stderr });
    let doing = "taking over LOCKFN";
    let lock = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(StartError::at(doing))?);
    let null = File::options().write(true).open("/dev/null").map_err(StartError::at(doing))?;
    nix::unistd::dup2_stdout(null).map_err(StartError::at(doing))?;
    if let Err(error) = lock::sign(&lock, &place.pipe, &place.conf) {
        warn!(%error, "cannot write into LOCKFN who holds it");
    }
    // Whoever ends upsmon's notifier with all it started must not end the timers.
    if let Err(error) = nix::unistd::setsid() {
        warn!(%error, "cannot leave the session of upsmon: who ends its notifier may end the timers");
    }
    umask(Mode::from_bits_truncate(0o007));
    let runtime = super::runtime().map_err(StartError::at("preparing to wait"))?;
    let process = {
        let _inside = runtime.enter();
        Process::new(place, lock)?
    };
    Ok((runtime, process))
}

/// What can happen to the timer process.
enum Happening {
    Signal(Signal),
    Asked(Asked),
    ScriptEnded,
    Tick,
    Knocked(io::Result<UnixStream>),
    ClientLeft,
    LingerOver,
    MayAcceptAgain,
}

struct Process {
    place: Place,
    timers: Timers,
    /// For how long the machine had been suspended when we looked last.
    suspended: Duration,
    lock: File,
    socket: UnixSocket,
    signals: Signals,
    alarm: Alarm,
    scripts: JoinSet<()>,
    clients: JoinSet<()>,
    asked: mpsc::Receiver<Asked>,
    ask: mpsc::Sender<Asked>,
    /// PIPEFN is removed; at this moment we end, or make it again.
    linger: Option<Moment>,
    /// The system had no descriptor for a client; until this moment none is taken.
    deaf: Option<Moment>,
}

impl Process {
    fn new(place: Place, lock: File) -> Result<Self, StartError> {
        // Before anybody knows of us, so that no signal ends us without a word.
        let signals = Signals::new().map_err(StartError::at("listening to signals"))?;
        let alarm = Alarm::new().map_err(StartError::at("making an alarm"))?;
        let socket = listen(&place)?;
        let (ask, asked) = mpsc::channel(MAX_CLIENTS);
        Ok(Self {
            timers: Timers::new(clock::now(), IDLE),
            suspended: clock::suspended(),
            place,
            lock,
            socket,
            signals,
            alarm,
            scripts: JoinSet::new(),
            clients: JoinSet::new(),
            asked,
            ask,
            linger: None,
            deaf: None,
        })
    }

    async fn live(mut self, mut starter: StdUnixStream) -> ExitCode {
        if self.place.keeps_stderr {
            log::redirect(super::destination());
        } else {
            daemon::leave_stderr();
        }
        info!("Timer daemon started");
        let pid_file = PidFile::write(&Paths::from_env().pid_file(PROGRAM));
        if let Err(error) = &pid_file {
            debug!("no PID file: {}", Chain(error));
        }
        if let Err(error) = starter.write_all(Word::Ready.encode().as_bytes()) {
            debug!(%error, "the client that started the timers has gone");
        }
        drop(starter);

        self.step(Event::Tick, None);
        loop {
            match self.next().await {
                Happening::Asked(asked) => self.answer(asked),
                Happening::ScriptEnded => self.step(Event::ScriptEnded, None),
                Happening::Tick => self.step(Event::Tick, None),
                Happening::Knocked(knocked) => self.let_in(knocked),
                Happening::MayAcceptAgain => self.deaf = None,
                Happening::ClientLeft => {}
                Happening::LingerOver => {
                    if self.clients.is_empty() && self.timers.is_idle() {
                        break;
                    }
                    self.listen_again();
                }
                Happening::Signal(Signal::Stop { number, .. }) => {
                    self.say_what_is_lost(number);
                    break;
                }
                Happening::Signal(Signal::Reload) => self.look_at_socket(),
                Happening::Signal(Signal::User1 | Signal::User2 | Signal::Other { .. }) => {}
            }
        }
        // Before the lock: whoever takes that writes a PID file of his own.
        drop(pid_file);
        // PIPEFN first: from then on new clients look at the lock, and wait until it is free.
        drop(self.socket);
        lock::remove(&self.lock, &self.place.lock);
        ExitCode::SUCCESS
    }

    /// Waits for whatever comes next. What is due is seen to by every step, so no busy client can delay a timer.
    async fn next(&mut self) -> Happening {
        let may_take = self.clients.len() < MAX_CLIENTS && self.deaf.is_none();
        tokio::select! {
            biased;
            signal = self.signals.next() => Happening::Signal(signal),
            Some(asked) = self.asked.recv() => Happening::Asked(asked),
            Some(_) = self.scripts.join_next() => Happening::ScriptEnded,
            () = self.alarm.fired() => Happening::Tick,
            knocked = self.socket.accept(), if may_take => Happening::Knocked(knocked),
            Some(_) = self.clients.join_next() => Happening::ClientLeft,
            () = at(self.linger) => Happening::LingerOver,
            () = at(self.deaf) => Happening::MayAcceptAgain,
        }
    }

    fn step(&mut self, event: Event, mut answer: Option<oneshot::Sender<Vec<u8>>>) {
        let slept = clock::suspended().saturating_sub(self.suspended);
        self.suspended += slept;
        let mut actions = Vec::new();
        if slept >= SUSPENSION {
            actions = self.timers.step(clock::now(), Event::Slept(slept));
        }
        actions.extend(self.timers.step(clock::now(), event));
        for action in actions {
            match action {
                Action::Reply(reply) => {
                    if let Some(answer) = answer.take() {
                        // He may have gone meanwhile; what he asked for is done nevertheless.
                        let _ = answer.send(reply.encode(clock::wall().unix_secs()));
                    }
                }
                Action::Tell(tell) => match tell.weight() {
                    Weight::Info => info!("{tell}"),
                    Weight::Warning => warn!("{tell}"),
                    Weight::Error => error!("{tell}"),
                },
                Action::Run(run) => {
                    let script = self.place.script.clone();
                    self.scripts.spawn(async move { script::run(&script, &run.argument, &run.origin).await });
                }
                Action::WakeAt(moment) => self.alarm.set(Some(moment)),
                Action::Exit => self.begin_to_end(),
            }
        }
    }

    fn answer(&mut self, asked: Asked) {
        let Asked { line, client, answer } = asked;
        match line.map_err(RequestError::from).and_then(|line| Request::parse(&line)) {
            // He may ask again, or has told upsmon that it was in vain. To cancel twice does no harm, not to cancel may.
            Ok(request) if !is_pure_cancel(&request.what) && is_gone(&client) => {
                info!("a client left before its request was taken: nothing is started for it");
            }
            Ok(request) => self.step(Event::Request(request), Some(answer)),
            Err(error) => {
                notice!("{error}");
                let _ = answer.send(error.reply().encode(clock::wall().unix_secs()));
            }
        }
    }

    fn let_in(&mut self, knocked: io::Result<UnixStream>) {
        match knocked {
            Ok(client) => {
                self.clients.spawn(serve(client, self.ask.clone()));
            }
            Err(error) => {
                warn!(%error, "a client cannot be let in, all must wait");
                self.deaf = Some(clock::now() + RETRY);
            }
        }
    }

    /// PIPEFN goes first, so that nobody else finds us; who has found us already is served.
    fn begin_to_end(&mut self) {
        self.remove_socket_file();
        self.linger = Some(clock::now() + LINGER);
    }

    fn remove_socket_file(&self) {
        if self.socket.is_in_place()
            && let Err(error) = fs::remove_file(self.socket.path())
        {
            warn!(path = %self.socket.path().display(), %error, "cannot remove PIPEFN");
        }
    }

    /// Somebody came at the last moment, or PIPEFN was removed: there are timers to be reached.
    fn listen_again(&mut self) {
        match listen(&self.place) {
            Ok(socket) => {
                self.socket = socket;
                self.linger = None;
            }
            Err(error) => {
                error!("the timers cannot be reached: {}", Chain(&error));
                self.linger = Some(clock::now() + RETRY);
            }
        }
    }

    fn look_at_socket(&mut self) {
        if self.linger.is_none() && !self.socket.is_in_place() {
            warn!(path = %self.socket.path().display(), "PIPEFN was removed, it is made again");
            self.listen_again();
        }
    }

    fn say_what_is_lost(&self, signal: i32) {
        let names = self.timers.names();
        if names.is_empty() {
            notice!("Signal {signal}: exiting");
        } else {
            warn!("Signal {signal}: exiting; lost timers ({}): {}", names.len(), names.join(", "));
        }
    }
}

/// Cancelling, and nothing else.
fn is_pure_cancel(what: &ToTimers) -> bool {
    what.is_void_without_timers() && *what != ToTimers::List
}

fn listen(place: &Place) -> Result<UnixSocket, SocketError> {
    make_room(&place.pipe);
    UnixSocket::listen(&place.pipe, SOCKET_MODE, None, Existing::Respect)
}

/// Removes what holds nothing that could be lost: a FIFO, which the name PIPEFN asks for, an empty file, a symbolic link.
/// NUT removes any file; one that cannot be removed is told by who listens next.
fn make_room(pipe: &Path) {
    let Ok(meta) = fs::symlink_metadata(pipe) else { return };
    let kind = meta.file_type();
    let is_void = kind.is_fifo() || kind.is_symlink() || kind.is_file() && meta.len() == 0;
    if is_void && fs::remove_file(pipe).is_ok() {
        warn!(path = %pipe.display(), "removed what stood in the place of PIPEFN: that is a socket");
    }
}

/// Waits until then; forever if it is never.
async fn at(moment: Option<Moment>) {
    match moment {
        Some(moment) => clock::until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_word_counts() {
        for word in [Word::Ready, Word::Taken, Word::Failed("cannot listen: no\nspace".into())] {
            let text = word.encode();
            assert_eq!(Word::parse(text.as_bytes()), Some(word));
            assert_eq!(Word::parse(text.trim_end().as_bytes()), None);
        }
        assert_eq!(Word::parse(b""), None);
        assert_eq!(Word::parse(b"what\n"), None);
    }

    #[test]
    fn the_arguments_come_back_as_they_were() {
        let place = Place {
            pipe: "/run/nut/upssched.pipe".into(),
            lock: "/run/nut/a lock".into(),
            script: vec!["/bin/dispatch".into(), "-x y".into(), String::new()],
            debug: 3,
            keeps_stderr: true,
            conf: "/etc/nut/upssched.conf".into(),
        };
        assert_eq!(from_args(to_args(&place, &place.lock).into_iter()), Some(place.clone()));
        assert_eq!(from_args(to_args(&place, &place.lock).into_iter().take(4)), None);
    }
}
