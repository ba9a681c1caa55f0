//! The shell of a simulated unit: a pseudo-terminal as its serial line, and the task that serves it.
//!
//! The program under test opens a link in a private directory, as it would open `/dev/ttyS0`; pulling the cable
//! removes the terminal and the link, plugging it in makes a new terminal behind the same link.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FlockArg, OFlag};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nut_os::clock::{self, Alarm};
use nut_proto::Moment;
use serialport::TTYPort;
use tokio::io::unix::AsyncFd;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::deed::Deed;
use super::ups::{Action, Event, SmartUps, State};

/// How many orders may wait for the unit's task.
const ORDERS: usize = 64;

/// How many deeds, and how many pieces of traffic, a listener may be behind before it misses some.
const BACKLOG: usize = 4096;

/// Most bytes read at once; a host never sends more than a handful.
const CHUNK: usize = 256;

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the host to the unit.
    FromHost,
    /// From the unit to the host.
    ToHost,
}

/// Bytes on the line, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// When they were read or written.
    pub at: Moment,
    /// Which way they went.
    pub direction: Direction,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A running simulated unit. Dropping it ends the unit and removes its link.
#[derive(Debug)]
pub struct SimHandle {
    link: PathBuf,
    orders: mpsc::Sender<ToSim>,
    deeds: broadcast::Sender<(Moment, Deed)>,
    traffic: broadcast::Sender<Traffic>,
    task: JoinHandle<()>,
}

enum ToSim {
    Event(Event),
    Unplug,
    Replug(oneshot::Sender<Result<(), SimError>>),
    State(oneshot::Sender<State>),
    Record(oneshot::Sender<Vec<(Moment, Deed)>>),
    Stop,
}

impl SimHandle {
    /// Opens a pseudo-terminal, makes `link` point to it and runs `ups` behind it.
    ///
    /// Must be called inside a tokio runtime. An existing link of that name is replaced; anything else is not.
    ///
    /// # Errors
    /// No pseudo-terminal can be had, or the link cannot be made.
    pub fn start(ups: SmartUps, link: &Path) -> Result<Self, SimError> {
        let alarm = Alarm::new().map_err(SimError::NoTimer)?;
        let line = Line::open(link)?;
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (deeds, _) = broadcast::channel(BACKLOG);
        let (traffic, _) = broadcast::channel(BACKLOG);
        let task = Task {
            ups,
            link: link.into(),
            line: Some(line),
            inbox,
            deeds: deeds.clone(),
            traffic: traffic.clone(),
            alarm,
        };
        Ok(Self { link: link.into(), orders, deeds, traffic, task: tokio::spawn(task.run()) })
    }

    /// The path a driver opens: the link.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.link
    }

    /// Lets something happen to the unit. It is done when a later [`state`](Self::state) answers.
    pub async fn send(&self, event: Event) {
        self.order(ToSim::Event(event)).await;
    }

    /// Pulls the cable: the host's end hangs up, the link is gone. The unit goes on.
    pub async fn unplug(&self) {
        self.order(ToSim::Unplug).await;
    }

    /// Plugs the cable in again: a new pseudo-terminal behind the same link.
    ///
    /// # Errors
    /// As [`start`](Self::start), or the unit's task has ended.
    pub async fn replug(&self) -> Result<(), SimError> {
        let (answer, answered) = oneshot::channel();
        self.order(ToSim::Replug(answer)).await;
        answered.await.unwrap_or(Err(SimError::Ended))
    }

    /// What the unit is like now; all that was sent before has been taken into account.
    ///
    /// # Errors
    /// The unit's task has ended.
    pub async fn state(&self) -> Result<State, SimError> {
        let (answer, answered) = oneshot::channel();
        self.order(ToSim::State(answer)).await;
        answered.await.map_err(|_| SimError::Ended)
    }

    /// All the unit did so far, oldest first.
    ///
    /// # Errors
    /// The unit's task has ended.
    pub async fn record(&self) -> Result<Vec<(Moment, Deed)>, SimError> {
        let (answer, answered) = oneshot::channel();
        self.order(ToSim::Record(answer)).await;
        answered.await.map_err(|_| SimError::Ended)
    }

    /// What the unit does from now on. Who falls behind by thousands misses the oldest.
    #[must_use]
    pub fn deeds(&self) -> broadcast::Receiver<(Moment, Deed)> {
        self.deeds.subscribe()
    }

    /// What goes over the line from now on. Who falls behind by thousands misses the oldest.
    #[must_use]
    pub fn traffic(&self) -> broadcast::Receiver<Traffic> {
        self.traffic.subscribe()
    }

    /// Waits until the unit has done something, or did it before; `None` if it had not by `deadline`.
    pub async fn wait_for(&self, deadline: Moment, wanted: impl Fn(&Deed) -> bool) -> Option<(Moment, Deed)> {
        let mut coming = self.deeds();
        loop {
            if let Some(found) = self.record().await.ok()?.into_iter().find(|(_, deed)| wanted(deed)) {
                return Some(found);
            }
            tokio::select! {
                news = coming.recv() => match news {
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = clock::until(deadline) => return None,
            }
        }
    }

    /// The same, with the time to wait from now on.
    pub async fn wait_within(
        &self,
        patience: Duration,
        wanted: impl Fn(&Deed) -> bool,
    ) -> Option<(Moment, Deed)> {
        self.wait_for(clock::now() + patience, wanted).await
    }

    /// Ends the unit and waits until its link is gone.
    pub async fn stop(mut self) {
        self.order(ToSim::Stop).await;
        // It ends by itself; if it panicked there is nothing left to end.
        let _ = (&mut self.task).await;
    }

    async fn order(&self, order: ToSim) {
        // A task that has ended takes no orders; who needs to know asks for the state.
        let _ = self.orders.send(order).await;
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a simulated unit has no line.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The system gave no timer.
    #[error("cannot make a timer")]
    NoTimer(#[source] io::Error),
    /// The system gave no pseudo-terminal.
    #[error("cannot open a pseudo-terminal")]
    NoTerminal(#[source] io::Error),
    /// The link could not be made.
    #[error("cannot make the link {}", path.display())]
    NoLink {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The unit's task has ended.
    #[error("the simulated unit has ended")]
    Ended,
}

/// The task that owns the machine.
struct Task {
    ups: SmartUps,
    link: PathBuf,
    line: Option<Line>,
    inbox: mpsc::Receiver<ToSim>,
    deeds: broadcast::Sender<(Moment, Deed)>,
    traffic: broadcast::Sender<Traffic>,
    alarm: Alarm,
}

/// What the task waited for.
enum News {
    Order(Option<ToSim>),
    Bytes(io::Result<Vec<u8>>),
    Time,
}

impl Task {
    async fn run(mut self) {
        loop {
            let news = tokio::select! {
                order = self.inbox.recv() => News::Order(order),
                bytes = read(self.line.as_ref()) => News::Bytes(bytes),
                () = self.alarm.fired() => News::Time,
            };
            match news {
                News::Order(Some(order)) => {
                    if !self.obey(order) {
                        return;
                    }
                }
                News::Order(None) => return,
                News::Bytes(Ok(bytes)) => {
                    let at = clock::now();
                    if let Some(line) = &self.line {
                        line.allow_others();
                    }
                    self.tell(Traffic { at, direction: Direction::FromHost, bytes: bytes.clone() });
                    self.step(at, Event::Received(bytes));
                }
                News::Bytes(Err(error)) => {
                    warn!(link = %self.link.display(), %error, "simulated line lost");
                    self.line = None;
                }
                News::Time => self.step(clock::now(), Event::Tick),
            }
        }
    }

    /// Returns false when it was told to end.
    fn obey(&mut self, order: ToSim) -> bool {
        // A receiver that gave up waiting is none of our business.
        match order {
            ToSim::Event(event) => self.step(clock::now(), event),
            ToSim::Unplug => self.line = None,
            ToSim::Replug(answer) => {
                self.line = None;
                let opened = Line::open(&self.link).map(|line| self.line = Some(line));
                let _ = answer.send(opened);
            }
            ToSim::State(answer) => {
                self.step(clock::now(), Event::Tick);
                let _ = answer.send(self.ups.state());
            }
            ToSim::Record(answer) => {
                self.step(clock::now(), Event::Tick);
                let _ = answer.send(self.ups.record().cloned().collect());
            }
            ToSim::Stop => return false,
        }
        true
    }

    fn step(&mut self, now: Moment, event: Event) {
        let mut wake = None;
        for action in self.ups.step(now, event) {
            match action {
                Action::Send(bytes) => self.write(bytes),
                Action::WakeAt(moment) => wake = Some(moment),
                Action::Record(at, deed) => {
                    debug!(link = %self.link.display(), %deed, "simulated unit");
                    // Nobody need be listening.
                    let _ = self.deeds.send((at, deed));
                }
            }
        }
        self.alarm.set(wake);
    }

    fn write(&mut self, mut bytes: Vec<u8>) {
        let Some(line) = &self.line else {
            return;
        };
        // A host that does not read loses bytes, as on a real line.
        match (&mut line.master.get_ref()).write(&bytes) {
            Ok(written) => {
                bytes.truncate(written);
                self.tell(Traffic { at: clock::now(), direction: Direction::ToHost, bytes });
            }
            Err(error) => debug!(link = %self.link.display(), %error, "bytes lost on the simulated line"),
        }
    }

    fn tell(&self, traffic: Traffic) {
        let _ = self.traffic.send(traffic);
    }
}

/// Waits for bytes of the host; for ever without a line.
async fn read(line: Option<&Line>) -> io::Result<Vec<u8>> {
    let Some(line) = line else {
        return std::future::pending().await;
    };
    loop {
        let mut ready = line.master.readable().await?;
        let mut chunk = [0; CHUNK];
        match ready.try_io(|master| master.get_ref().read(&mut chunk)) {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(length)) => return Ok(chunk.get(..length).unwrap_or_default().to_vec()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            Err(_not_ready) => {}
        }
    }
}

/// A pseudo-terminal behind a link. Dropping it hangs up the host's end and removes the link.
struct Line {
    master: AsyncFd<PtyMaster>,
    /// The host's end, held open: without it our end would report an error whenever no driver has it open.
    keeper: TTYPort,
    link: PathBuf,
}

impl Line {
    fn open(link: &Path) -> Result<Self, SimError> {
        let no_terminal = |error: nix::Error| SimError::NoTerminal(error.into());
        // Close-on-exec, or the programs of a rehearsal would inherit the line and keep it from hanging up.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).map_err(no_terminal)?;
        grantpt(&master).map_err(no_terminal)?;
        unlockpt(&master).map_err(no_terminal)?;
        let slave = ptsname_r(&master).map_err(no_terminal)?;
        // This also makes it raw: no echo of what we send before a driver has set it up.
        let keeper = serialport::new(&slave, 2400)
            .exclusive(false)
            .open_native()
            .map_err(|error| SimError::NoTerminal(error.into()))?;
        #[expect(
            deprecated,
            reason = "the newer form wants to own the descriptor, which belongs to the port"
        )]
        nix::fcntl::flock(keeper.as_raw_fd(), FlockArg::Unlock).map_err(no_terminal)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; the master keeps one descriptor as long as it lives"
        )]
        let master = AsyncFd::new(master).map_err(SimError::NoTerminal)?;
        point(link, Path::new(&slave)).map_err(|cause| SimError::NoLink { path: link.into(), cause })?;
        Ok(Self { master, keeper, link: link.into() })
    }

    /// Takes back the exclusive use a driver claimed by `TIOCEXCL`.
    ///
    /// On a real port it ends with the driver's last descriptor; here the keeper would preserve it, and after a
    /// killed driver nobody but root could open the line again. Called with each byte heard, so that only a driver
    /// killed before its first byte leaves such a line. The lock a driver takes (`flock`) is not touched.
    fn allow_others(&self) {
        // Dropping a clone of the port does it; there is no other safe call for it.
        drop(self.keeper.try_clone_native());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // It may have been removed with its directory.
        let _ = std::fs::remove_file(&self.link);
    }
}

/// Makes `link` point to `target` in one step, so that no reader finds it missing.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    if link.symlink_metadata().is_ok_and(|found| !found.file_type().is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no link is there"));
    }
    let mut beside = link.as_os_str().to_owned();
    beside.push(".new");
    // Left over from a run that was killed.
    let _ = std::fs::remove_file(&beside);
    std::os::unix::fs::symlink(target, &beside)?;
    std::fs::rename(&beside, link)
}

#[cfg(test)]
mod tests;
