//! What all drivers share: the rhythm of updates, the variables every driver has, orders, loss and return of the port.
//!
//! Pure: no I/O, no clock, no log. [`Core`] stands between one [`Driver`] and the shell. The shell reports what
//! happened to the port and what readers want ([`Event`]), and carries out what follows ([`Action`]).

mod orders;
mod reload;
pub mod settings;
mod shutdown;
pub mod status;
mod variables;

use crate::driver::{
    Action as DriverAction, Driver, Event as DriverEvent, Note, Order, OrderId, Reading, Weight,
};
use nut_proto::Moment;
use nut_proto::device::{Change, Device};
use nut_proto::driver::Judgement;
use nut_proto::names::CmdName;
use settings::{MIN_POLL_INTERVAL, Settings};
use shutdown::{Sequence, Why};
use std::collections::VecDeque;
use std::time::Duration;
use variables::Source;

/// How long after a port was lost it is opened again for the first time. Doubled with each try that fails.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);

/// The longest time between two tries to open a port: so that a device that is back is soon heard again.
pub const RETRY_MOST: Duration = Duration::from_secs(4);

/// How often `-k` tries to open the port again: some seconds, for the batteries run out meanwhile.
pub const SHUTDOWN_TRIES: u64 = 3;

/// How long an order may wait for its turn, and then how long the driver may take for it, before it is judged failed;
/// the slowest real one (an EEPROM ring of 32 values at 2,400 baud) takes some 20 s.
pub const ORDER_LIMIT: Duration = Duration::from_secs(120);

/// How long a shutdown waits for the end of a running update before the driver is told to cut the power anyway.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long a shutdown by a command waits until the device is known: getting to know the slowest takes some 10 s at 2,400
/// baud. After that the command counts as failed, and what comes next is tried.
pub const ACQUAINTANCE: Duration = Duration::from_secs(30);

/// How long a driver may take to say goodbye to its device.
pub const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// The exit code of `reload-or-exit` that found a change needing a restart: 128 and the number of SIGUSR1.
pub const EXIT_FOR_RESTART: u8 = 138;

/// Why a driver with `ignorelb` and nothing to judge by does not start.
const NO_LIMITS: &str = "ignorelb is set, but neither battery.charge with battery.charge.low nor battery.runtime with \
    battery.runtime.low is known, so low battery would never be seen: set override.battery.charge.low or \
    override.battery.runtime.low in ups.conf, or remove ignorelb";

/// What the process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To serve readers until told to end.
    Serve,
    /// `-d`: so many updates after the first, show everything, end.
    Dump {
        /// How many.
        updates: u32,
    },
    /// `-k`: cut the power, end.
    ShutDown,
}

/// What happens to a core.
#[derive(Debug)]
pub enum Event<'a> {
    /// The beginning.
    Start,
    /// The port that [`Action::Open`] asked for is open.
    PortOpened,
    /// It could not be opened.
    PortFailed {
        /// Why, and what to do about it.
        reason: String,
    },
    /// The open port is gone: end of file, an I/O error, the node vanished.
    PortLost {
        /// Why.
        reason: String,
    },
    /// Bytes from the device.
    Received(&'a [u8]),
    /// The moment asked for by [`Action::WakeAt`] has come. An early one does no harm.
    Tick,
    /// A reader wants something.
    Order(OrderId, Order),
    /// The process shall end.
    Stop {
        /// Who wants it, for the log.
        reason: String,
    },
    /// The configuration shall be read again.
    Reload(Reload),
    /// What [`Action::ReadConfiguration`] brought: new settings, or why there are none.
    Configuration(Result<Box<Settings>, String>),
}

/// What follows when a new configuration needs a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The old value stays (`driver.reload`, SIGHUP).
    Keep,
    /// The old value stays, and who asked is told so (`driver.reload-or-error`).
    OrError,
    /// The process ends with [`EXIT_FOR_RESTART`] (`driver.reload-or-exit`, SIGUSR1).
    OrExit,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open the port; answer with [`Event::PortOpened`] or [`Event::PortFailed`].
    Open,
    /// Close the port.
    Close,
    /// Write these bytes to the device now.
    Send(Vec<u8>),
    /// Throw away what the device has sent and nobody has read yet.
    Flush,
    /// Come back at this moment with [`Event::Tick`]; replaces the moment asked for before.
    WakeAt(Moment),
    /// Tell all readers.
    Publish(Change),
    /// Tell all readers that what they know is true.
    DataOk,
    /// Tell all readers that what they know was true once.
    DataStale,
    /// The first update is complete: let readers come, tell the launcher.
    Serve,
    /// An order has ended.
    Done(OrderId, Judgement),
    /// Print all variables.
    Dump,
    /// Read the configuration; answer with [`Event::Configuration`].
    ReadConfiguration,
    /// Log that much.
    SetDebug(u8),
    /// Write to the log.
    Tell(Note),
    /// End the process. Nothing follows.
    Exit(Exit),
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: u8,
    /// Why, if it is a failure.
    pub text: Option<String>,
}

impl Exit {
    const SUCCESS: Self = Self { code: 0, text: None };

    fn failure(text: impl Into<String>) -> Self {
        Self { code: 1, text: Some(text.into()) }
    }
}

/// A driver with all that drivers share.
pub struct Core {
    driver: Box<dyn Driver>,
    settings: Settings,
    purpose: Purpose,
    device: Device,
    data: Data,
    /// What the driver reported last.
    reading: Option<Reading>,
    status_due: bool,
    /// `ups.alarm` was set from a reading, and must go with it.
    alarm_is_ours: bool,
    /// Which of the `device.*` names the driver sets by itself, as bits.
    own_identity: u8,
    port: Port,
    retry_in: Duration,
    /// How often the port was tried since it was last good.
    tries: u64,
    /// Why it could not be opened the last time.
    last_failure: Option<String>,
    life: Life,
    /// When the driver wants to be woken.
    driver_wake: Option<Moment>,
    /// The moment the shell was asked to wake us at.
    told_wake: Option<Moment>,
    /// Orders that wait for their turn, and until when they do.
    orders: VecDeque<(Moment, OrderId, Order)>,
    running: Option<Running>,
    sequence: Option<Sequence>,
    reload: Option<(Reload, Option<OrderId>)>,
    /// Updates complete since the start.
    updates: u64,
    /// Everything has been shown, as `-d` wants it.
    dumped: bool,
    out: Vec<Action>,
}

/// Whether the variables are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Nothing was ever said.
    Unsaid,
    Ok,
    Stale,
}

/// How it stands with the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    /// It will be tried at that moment; without one a try is under way, or there will be none.
    Closed { again: Option<Moment> },
    /// Open; the driver begins the conversation.
    Greeting,
    /// The conversation is established. The next update begins at `next`, but not while one runs.
    Ready { updating: bool, next: Moment },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Life {
    /// Up to the first complete update: what goes wrong here ends the process.
    Starting,
    Serving,
    /// The driver says goodbye, but not longer than that.
    Leaving {
        until: Moment,
        exit: Exit,
    },
    Gone,
}

/// What the driver is busy with besides updates; one thing at a time.
struct Running {
    what: Errand,
    /// When it counts as failed.
    until: Moment,
}

enum Errand {
    Order(OrderId),
    /// A command of a shutdown sequence.
    Step(OrderId, CmdName),
    /// The driver's own way to cut the power.
    ShutDown,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.driver.about().name;
        f.debug_struct("Core")
            .field("driver", &name)
            .field("port", &self.port)
            .field("life", &self.life)
            .finish()
    }
}

impl Core {
    /// A core around a driver that has not begun yet; [`Event::Start`] begins.
    #[must_use]
    pub fn new(driver: Box<dyn Driver>, settings: Settings, purpose: Purpose) -> Self {
        let mut core = Self {
            driver,
            settings,
            purpose,
            device: Device::default(),
            data: Data::Unsaid,
            reading: None,
            status_due: false,
            alarm_is_ours: false,
            own_identity: 0,
            port: Port::Closed { again: None },
            retry_in: RETRY_FIRST,
            tries: 0,
            last_failure: None,
            life: Life::Starting,
            driver_wake: None,
            told_wake: None,
            orders: VecDeque::new(),
            running: None,
            sequence: None,
            reload: None,
            updates: 0,
            dumped: false,
            out: Vec::new(),
        };
        core.set_common_variables();
        // Nobody reads yet.
        core.out.clear();
        core
    }

    /// All variables and commands as they are now.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether they are true now.
    #[must_use]
    pub fn data_is_ok(&self) -> bool {
        self.data == Data::Ok
    }

    /// Takes one event and says what the shell must now do, in order.
    pub fn step(&mut self, now: Moment, event: Event<'_>) -> Vec<Action> {
        if self.life == Life::Gone {
            return Vec::new();
        }
        match event {
            Event::Start => {
                self.state("init.device");
                self.open();
            }
            Event::PortOpened => self.opened(now),
            Event::PortFailed { reason } => self.not_opened(now, reason),
            Event::PortLost { reason } => self.lost(now, &reason),
            Event::Received(bytes) => {
                if self.is_open() {
                    self.hand(now, DriverEvent::Received(bytes));
                }
            }
            Event::Tick => self.tick(now),
            Event::Order(id, order) => self.order(now, id, order),
            Event::Stop { reason } => {
                self.tell(Weight::Info, reason);
                self.leave(now, Exit::SUCCESS);
            }
            Event::Reload(reload) => self.begin_reload(reload, None),
            Event::Configuration(result) => self.configure(now, result),
        }
        self.go_on(now);
        self.ask_to_wake();
        std::mem::take(&mut self.out)
    }

    // --- The port -----------------------------------------------------------------------------------------------

    fn is_open(&self) -> bool {
        !matches!(self.port, Port::Closed { .. })
    }

    fn open(&mut self) {
        self.port = Port::Closed { again: None };
        self.out.push(Action::Open);
    }

    fn opened(&mut self, now: Moment) {
        if self.is_open() || matches!(self.life, Life::Leaving { .. }) {
            return;
        }
        self.port = Port::Greeting;
        match self.life {
            Life::Serving => self.tell(Weight::Debug, "the port is open again"),
            _ => self.state("init.info"),
        }
        self.hand(now, DriverEvent::Opened);
        if self.purpose == Purpose::ShutDown {
            self.begin_shutdown(now, Why::CommandLine);
        }
    }

    fn not_opened(&mut self, now: Moment, reason: String) {
        match self.life {
            Life::Starting if self.may_try_once_more() => {
                self.tell(Weight::Warning, reason);
                self.try_again(now);
            }
            Life::Starting => self.exit(Exit::failure(reason)),
            Life::Serving => {
                // Each reason once: that the node is back, but not ours, is worth knowing.
                if self.last_failure.as_ref() != Some(&reason) {
                    self.tell(Weight::Warning, reason.clone());
                    self.set("driver.lasterror", &reason);
                    self.last_failure = Some(reason.clone());
                }
                if self.data != Data::Stale {
                    // It was closed at the driver's own wish; only now is the device out of reach.
                    self.data_stale(&reason);
                    self.hand(now, DriverEvent::Lost);
                }
                self.try_again(now);
            }
            Life::Leaving { .. } | Life::Gone => {}
        }
    }

    fn lost(&mut self, now: Moment, reason: &str) {
        if !self.is_open() {
            return;
        }
        self.out.push(Action::Close);
        self.port = Port::Closed { again: None };
        self.driver_wake = None;
        if self.life == Life::Serving {
            // Before the driver says so, which does not know why.
            self.data_stale(&format!("the port is gone ({reason})"));
        }
        self.hand(now, DriverEvent::Lost);
        self.fail_orders();
        match self.life.clone() {
            Life::Starting if self.may_try_once_more() => self.try_again(now),
            Life::Starting => self.exit(Exit::failure(format!("the port was lost at the start: {reason}"))),
            Life::Leaving { exit, .. } => self.exit(exit),
            Life::Serving => self.try_again(now),
            Life::Gone => {}
        }
    }

    /// `-k` must not fail for an adapter that is away for a second.
    fn may_try_once_more(&self) -> bool {
        self.purpose == Purpose::ShutDown && self.tries < SHUTDOWN_TRIES
    }

    fn try_again(&mut self, now: Moment) {
        self.port = Port::Closed { again: Some(now + self.retry_in) };
        self.retry_in = (self.retry_in * 2).min(RETRY_MOST);
        self.tries += 1;
        self.state("reconnect.trying");
        let tries = self.tries.to_string();
        self.set("driver.reconnect_count", &tries);
    }

    // --- Time ---------------------------------------------------------------------------------------------------

    fn tick(&mut self, now: Moment) {
        self.told_wake = None;
        if self.driver_wake.is_some_and(|at| at <= now) {
            self.driver_wake = None;
            if self.is_open() {
                self.hand(now, DriverEvent::Tick);
            }
        }
    }

    /// Does all that is due and possible. Each round changes what is due, so it ends.
    fn go_on(&mut self, now: Moment) {
        while self.one_thing(now) {}
    }

    fn one_thing(&mut self, now: Moment) -> bool {
        match &self.life {
            Life::Gone => return false,
            Life::Leaving { until, exit } => {
                if *until <= now {
                    let exit = exit.clone();
                    self.exit(exit);
                }
                return false;
            }
            Life::Starting | Life::Serving => {}
        }
        if let Some(running) = &self.running {
            if running.until > now {
                return false;
            }
            self.out_of_time();
            return true;
        }
        if self.orders.front().is_some_and(|(until, ..)| *until <= now) {
            self.tell(Weight::Warning, "an order did not have its turn in time: the driver is busy");
            if let Some((_, id, _)) = self.orders.pop_front() {
                self.judge(id, Judgement::Failed);
            }
            return true;
        }
        match self.port {
            Port::Closed { again: Some(at) } if at <= now => {
                self.open();
                false
            }
            // The driver's own way of cutting the power needs no greeting: a unit that is silent, or slow to tell what it
            // can do, must get the command all the same.
            Port::Greeting if self.sequence.as_ref().is_some_and(Sequence::needs_no_greeting) => {
                self.next_shutdown_step(now);
                true
            }
            Port::Greeting if self.sequence.as_ref().is_some_and(|sequence| sequence.known_by <= now) => {
                self.skip_shutdown_step();
                true
            }
            Port::Ready { updating, .. } if self.sequence.is_some() => {
                let patient = self.sequence.as_ref().is_some_and(|sequence| sequence.patience > now);
                if updating && patient {
                    return false;
                }
                self.next_shutdown_step(now);
                true
            }
            Port::Ready { updating: false, next } => {
                if let Some((_, id, order)) = self.orders.pop_front() {
                    self.running = Some(Running { what: Errand::Order(id), until: now + ORDER_LIMIT });
                    self.hand(now, DriverEvent::Order(id, order));
                    return true;
                }
                if next > now {
                    return false;
                }
                let interval = match self.purpose {
                    Purpose::Dump { .. } => Duration::ZERO,
                    Purpose::Serve | Purpose::ShutDown => self.settings.poll_interval.max(MIN_POLL_INTERVAL),
                };
                self.port = Port::Ready { updating: true, next: now + interval };
                self.hand(now, DriverEvent::Update);
                true
            }
            Port::Closed { .. } | Port::Greeting | Port::Ready { .. } => false,
        }
    }

    fn ask_to_wake(&mut self) {
        let next_update = match self.port {
            Port::Closed { again } => again,
            Port::Greeting | Port::Ready { updating: true, .. } => None,
            Port::Ready { next, .. } => Some(next),
        };
        // A shutdown waits for the end of an update, or until the device is known.
        let patience = match (&self.port, &self.sequence) {
            (Port::Ready { updating: true, .. }, Some(sequence)) => Some(sequence.patience),
            (Port::Greeting, Some(sequence)) => Some(sequence.known_by),
            (Port::Ready { .. } | Port::Greeting | Port::Closed { .. }, _) => None,
        };
        let turn = self.orders.front().map(|(until, ..)| *until);
        let waited_for = match (&self.life, &self.running) {
            (Life::Gone, _) => return,
            (Life::Leaving { until, .. }, _) => Some(*until),
            // While something runs, everything else waits.
            (Life::Starting | Life::Serving, Some(running)) => Some(running.until),
            (Life::Starting | Life::Serving, None) => {
                [next_update, patience, turn].into_iter().flatten().min()
            }
        };
        let next = self.driver_wake.into_iter().chain(waited_for).min();
        if let Some(moment) = next
            && self.told_wake != next
        {
            self.out.push(Action::WakeAt(moment));
        }
        self.told_wake = next;
    }

    // --- The driver ---------------------------------------------------------------------------------------------

    fn hand(&mut self, now: Moment, event: DriverEvent<'_>) {
        for action in self.driver.step(now, event) {
            if self.life == Life::Gone {
                return;
            }
            self.obey(now, action);
        }
        self.show_status();
    }

    fn obey(&mut self, now: Moment, action: DriverAction) {
        match action {
            DriverAction::Send(bytes) if self.is_open() => self.out.push(Action::Send(bytes)),
            DriverAction::Flush if self.is_open() => self.out.push(Action::Flush),
            DriverAction::WakeAt(moment) if self.is_open() => self.driver_wake = Some(moment),
            DriverAction::Send(_) | DriverAction::Flush | DriverAction::WakeAt(_) => {}
            DriverAction::Change(change) => self.change(change, Source::Driver),
            DriverAction::Report(reading) => {
                self.reading = Some(reading);
                self.status_due = true;
            }
            DriverAction::DataOk => self.data_ok(),
            DriverAction::DataStale { reason } => self.data_stale(&reason),
            DriverAction::Ready => self.ready(now),
            DriverAction::Updated => self.updated(now),
            DriverAction::Done(id, judgement) => self.ended(now, id, judgement),
            DriverAction::ShutDownEnded(result) => {
                if matches!(self.running, Some(Running { what: Errand::ShutDown, .. })) {
                    self.running = None;
                    self.step_ended(now, result.map_err(|why| format!("shutdown.default: {why}")));
                }
            }
            DriverAction::Farewell => {
                if let Life::Leaving { exit, .. } = self.life.clone() {
                    self.exit(exit);
                }
            }
            DriverAction::Tell(note) => self.out.push(Action::Tell(note)),
            DriverAction::Reopen { reason } => {
                if self.is_open() && matches!(self.life, Life::Starting | Life::Serving) {
                    // It is no change: that the device is lost was said.
                    self.tell(Weight::Debug, format!("the port is closed and opened again: {reason}"));
                    self.out.push(Action::Close);
                    self.driver_wake = None;
                    self.fail_orders();
                    self.try_again(now);
                }
            }
            DriverAction::GiveUp { reason } => {
                // The driver knows its device, not where it is.
                let place = self.device.get("driver.parameter.port").map(|port| format!("{port}: "));
                self.exit(Exit::failure(place.unwrap_or_default() + &reason));
            }
        }
    }

    fn ready(&mut self, now: Moment) {
        if self.port != Port::Greeting {
            return;
        }
        self.port = Port::Ready { updating: false, next: now };
        match (self.purpose, &self.life) {
            (Purpose::ShutDown, _) => {}
            (_, Life::Serving) => self.state("reconnect.updateinfo"),
            _ => self.state("init.updateinfo"),
        }
    }

    fn updated(&mut self, now: Moment) {
        let Port::Ready { updating: true, next } = self.port else { return };
        self.port = Port::Ready { updating: false, next };
        self.updates += 1;
        self.show_status();
        if self.data == Data::Ok {
            (self.retry_in, self.tries, self.last_failure) = (RETRY_FIRST, 0, None);
        }
        if self.life == Life::Starting && self.settings.ignore_lb && !status::can_tell_low(&self.device) {
            return self.exit(Exit::failure(NO_LIMITS));
        }
        match (self.purpose, &self.life) {
            (Purpose::Dump { updates }, _) if self.updates > u64::from(updates) => {
                self.state("dumping");
                self.dumped = true;
                self.out.push(Action::Dump);
                self.leave(now, Exit::SUCCESS);
            }
            (Purpose::Serve, Life::Starting) => {
                self.life = Life::Serving;
                self.state("quiet");
                self.out.push(Action::Serve);
            }
            (Purpose::Serve, Life::Serving) => {
                let state = if self.data == Data::Stale { "reconnect.trying" } else { "quiet" };
                self.state(state);
            }
            _ => {}
        }
    }

    fn leave(&mut self, now: Moment, exit: Exit) {
        if matches!(self.life, Life::Leaving { .. } | Life::Gone) {
            return;
        }
        self.fail_orders();
        self.state("cleanup.upsdrv");
        self.life = Life::Leaving { until: now + FAREWELL_LIMIT, exit: exit.clone() };
        if self.is_open() { self.hand(now, DriverEvent::Leave) } else { self.exit(exit) }
    }

    fn exit(&mut self, exit: Exit) {
        if self.life == Life::Gone {
            return;
        }
        self.fail_orders();
        self.state("cleanup.exit");
        if self.is_open() {
            self.out.push(Action::Close);
            self.port = Port::Closed { again: None };
        }
        self.life = Life::Gone;
        self.out.push(Action::Exit(exit));
    }

    fn tell(&mut self, weight: Weight, text: impl Into<String>) {
        self.out.push(Action::Tell(Note { weight, text: text.into() }));
    }
}

#[cfg(test)]
mod tests;
