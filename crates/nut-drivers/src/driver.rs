//! What a driver is: a machine between a device and the core.
//!
//! Pure: no I/O, no clock, no log. The device's bytes and the core's rhythm come in as [`Event`]s; bytes for the
//! device, changes of variables and the end of orders go out as [`Action`]s. [`crate::core::Core`] adds what all
//! drivers share; [`crate::shell`] owns the port.

use nut_proto::Moment;
use nut_proto::device::{Change, Value};
use nut_proto::driver::Judgement;
use nut_proto::names::{CmdName, Server, VarName};
use nut_proto::status::Word;
use std::time::Duration;

/// What a driver says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The program's name, as `driver =` in ups.conf has it.
    pub name: &'static str,
    /// What it is, for the banner.
    pub title: &'static str,
    /// `driver.version.internal`.
    pub version: &'static str,
    /// The options it understands besides the common ones.
    pub options: &'static [DriverOption],
}

/// One option of a driver, for `-L`, `-h`, the check of ups.conf, and the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DriverOption {
    /// Its name; compared without case.
    pub name: &'static str,
    /// Whether it takes a value or stands alone.
    pub kind: OptionKind,
    /// One line for people.
    pub help: &'static str,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// `name = value`; published as `driver.parameter.<name>`.
    Value,
    /// A value nobody must see; not published.
    Secret,
    /// `name` alone; published as `driver.flag.<name>` = `enabled`.
    Flag,
}

/// Names an order until its end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(pub u64);

impl OrderId {
    const SHUTDOWN: u64 = 1 << 63;

    /// The id of the `nth` command of a shutdown sequence (`sdcommands`).
    #[must_use]
    pub const fn for_shutdown(nth: u64) -> Self {
        Self(Self::SHUTDOWN | nth)
    }

    /// Whether the order belongs to a shutdown sequence. Such an order has been confirmed: a driver that wants
    /// dangerous commands given twice carries it out at once.
    #[must_use]
    pub const fn is_shutdown(self) -> bool {
        self.0 & Self::SHUTDOWN != 0
    }
}

/// What someone wants of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// `INSTCMD`.
    Command {
        /// The command as the client spelled it.
        name: CmdName,
        /// Its argument.
        param: Option<Box<str>>,
    },
    /// `SET`.
    Set {
        /// The variable as the client spelled it.
        name: VarName,
        /// What it shall be.
        value: Value,
    },
}

/// What happens to a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// The port is open: for the first time, or again after [`Event::Lost`]. Begin the conversation.
    Opened,
    /// Bytes from the device.
    Received(&'a [u8]),
    /// The port is gone: end of file, an I/O error, the node vanished. The shell tries to open it again.
    Lost,
    /// A moment asked for by [`Action::WakeAt`] has come.
    Tick,
    /// Time for one update. The core does not send another before [`Action::Updated`].
    Update,
    /// An order; its end is told by [`Action::Done`]. One at a time, and none while an update runs.
    Order(OrderId, Order),
    /// `-k`: tell the device to cut the power now, by the configured method. Ends with [`Action::ShutDownEnded`].
    ///
    /// It does not come while an order runs; it may come while an update runs, if that does not end in time.
    ShutDown,
    /// The driver shall end: say goodbye to the device. Ends with [`Action::Farewell`]. It may come at any time.
    Leave,
}

/// What a driver wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes to the device now.
    Send(Vec<u8>),
    /// Throw away what the device has sent and nobody has read yet.
    Flush,
    /// Come back at this moment with [`Event::Tick`]; replaces the moment asked for before.
    WakeAt(Moment),
    /// A variable, an attribute or a command became different.
    Change(Change),
    /// What the device says of its power, each time it says something; the core makes `ups.status` of it.
    Report(Reading),
    /// What is told is true now.
    DataOk,
    /// The device is silent, or talks nonsense; what was told was true once.
    DataStale {
        /// Why, for the log: state changes only, not each miss.
        reason: String,
    },
    /// The conversation is established and all that can be known at start is known. Once after each
    /// [`Event::Opened`].
    Ready,
    /// The update that [`Event::Update`] asked for is over, well or not.
    Updated,
    /// How an order ended.
    Done(OrderId, Judgement),
    /// How the shutdown ended; `Err` says why the device did not take any of the commands.
    ShutDownEnded(Result<(), String>),
    /// The goodbye is over.
    Farewell,
    /// Something a person should know, once.
    Tell(Note),
    /// Close the port and open it again.
    Reopen {
        /// Why, for the log.
        reason: String,
    },
    /// The driver cannot do its work; `Display` says why and what to do.
    GiveUp {
        /// Why.
        reason: String,
    },
}

/// Something for the log, worded by the driver, with its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub weight: Weight,
    /// The text.
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Someone must act.
    Error,
    /// Works, but less well than configured.
    Warning,
    /// Worth finding a year later.
    Info,
    /// For who looks closely.
    Debug,
}

/// What a device says of its power at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The words of `ups.status` in the driver's order.
    pub words: Vec<Word>,
    /// Words of this driver that NUT's documents do not name.
    pub others: Vec<Box<str>>,
    /// Texts of active alarms, for `ups.alarm`; empty: none.
    pub alarms: Vec<String>,
}

/// One driver.
pub trait Driver {
    /// What it says of itself.
    fn about(&self) -> &'static About;

    /// Takes one event and says what must now be done, in order.
    fn step(&mut self, now: Moment, event: Event<'_>) -> Vec<Action>;
}

/// How the shell opens a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortPlan {
    /// A serial line.
    Serial {
        /// Bits a second.
        baud: u32,
        /// What to do with the modem lines once open; `None`: leave them.
        lines: Option<ModemLines>,
    },
    /// A file in place of a device: after [`Event::Opened`], and again whenever the file has become different, its
    /// whole text comes as one [`Event::Received`]; [`Event::Lost`] when it is gone.
    File {
        /// Where it is. Relative to the directory of the configuration files unless it begins with `/` or `.`.
        path: String,
    },
    /// Another server in place of a device, by TLS if it speaks it. [`Event::Opened`] comes at once; what is sent before
    /// it is reached waits until it is.
    Server {
        /// Which one.
        server: Server,
    },
}

/// Modem lines to set once the port is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModemLines {
    /// Data terminal ready.
    pub dtr: bool,
    /// Request to send.
    pub rts: bool,
}

/// The update rhythm unless `pollinterval` says otherwise.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);
