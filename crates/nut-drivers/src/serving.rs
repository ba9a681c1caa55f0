//! The socket side of a driver: readers, what they ask, what they are told (driver-socket §§3, 4).
//!
//! Pure: no I/O, no clock, no log. Every reader has a bounded amount of output waiting; one that does not read is sent
//! away, and the others do not notice. What a reader says is bounded too: while much of its output waits, no more of
//! its input is wanted.

use crate::driver::{Note, Order, OrderId, Weight};
use nut_proto::device::Device;
use nut_proto::driver::{FromDriver, Judgement, MessageError, ToDriver};
use nut_proto::lines::{LineBuffer, LineError};
use nut_proto::words::{WordsError, split};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Most output that may wait for a reader, in bytes, besides one dump. NUT cuts a reader off after some 32 KiB: what
/// fits into the kernel's buffer.
pub const MAX_WAITING: usize = 256 * 1024;

/// From so much waiting output on, in bytes, a reader's questions wait too.
pub const ENOUGH_WAITING: usize = 64 * 1024;

/// Longest line taken from a reader, in bytes: a `SET` with the longest name and value, all escaped, needs 1,100.
pub const MAX_LINE: usize = 4096;

/// Most input the shell may hand over at once, in bytes.
pub const MAX_CHUNK: usize = 4096;

/// Most readers at a time. Real drivers have one or two.
pub const MAX_READERS: usize = 64;

/// Most orders of all readers that are not finished; further ones fail at once.
pub const MAX_ORDERS: usize = 64;

/// One reader, until it leaves. Never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReaderId(u64);

/// What happens at the socket.
#[derive(Debug)]
pub enum Event<'a> {
    /// A reader said something; at most [`MAX_CHUNK`] bytes, and only if [`Serving::wants_input`] of it.
    Received(ReaderId, &'a [u8]),
    /// So many bytes of its output are on their way.
    Written(ReaderId, usize),
    /// A reader is gone.
    Left(ReaderId),
    /// What [`Action::Proceed`] asked for.
    Proceed(ReaderId),
    /// Something to be told to all who listen.
    News(&'a FromDriver),
    /// An order has ended.
    Ended(OrderId, Judgement),
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes to the reader, behind those it has not taken yet.
    Write(ReaderId, Vec<u8>),
    /// Close the reader's connection. Nothing more is heard of it.
    Close(ReaderId),
    /// Hand this order to the core.
    Order(OrderId, Order),
    /// Come back with [`Event::Proceed`] once everything before has been carried out: an order that ends at once is
    /// answered before the next question of the same reader.
    Proceed(ReaderId),
    /// Write to the log.
    Tell(Note),
}

/// What there is to tell.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// All variables and commands.
    pub device: &'a Device,
    /// Whether they are true now.
    pub data_is_ok: bool,
}

/// All readers of one driver.
#[derive(Debug)]
pub struct Serving {
    pid: u32,
    readers: BTreeMap<ReaderId, Reader>,
    orders: HashMap<OrderId, Asked>,
    next_reader: u64,
    next_order: u64,
    out: Vec<Action>,
}

/// Who wants to know how an order ends.
#[derive(Debug)]
struct Asked {
    reader: ReaderId,
    tracking: Option<Box<str>>,
}

#[derive(Debug)]
struct Reader {
    lines: LineBuffer,
    /// What it asked and has not been answered yet, because too much output waits.
    questions: VecDeque<ToDriver>,
    /// Bytes of output that it has not taken.
    waiting: usize,
    /// How much of that may be a dump, which does not count against [`MAX_WAITING`].
    dumped: usize,
    /// Whether it wants news.
    listens: bool,
    /// It has said goodbye: it is closed once it has taken everything.
    leaving: bool,
    /// Lines that meant nothing.
    bad_lines: u64,
}

impl Serving {
    /// No readers yet. `pid` is what they are told on `GETPID`.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self {
            pid,
            readers: BTreeMap::new(),
            orders: HashMap::new(),
            next_reader: 1,
            next_order: 1,
            out: Vec::new(),
        }
    }

    /// Lets a reader in; nothing if there are [`MAX_READERS`] already.
    pub fn join(&mut self) -> Option<ReaderId> {
        if self.readers.len() >= MAX_READERS {
            return None;
        }
        let id = ReaderId(self.next_reader);
        self.next_reader += 1;
        let reader = Reader {
            lines: LineBuffer::with_limit(MAX_LINE),
            questions: VecDeque::new(),
            waiting: 0,
            dumped: 0,
            listens: true,
            leaving: false,
            bad_lines: 0,
        };
        self.readers.insert(id, reader);
        Some(id)
    }

    /// Whether more should be read from this reader now.
    #[must_use]
    pub fn wants_input(&self, id: ReaderId) -> bool {
        self.readers.get(&id).is_some_and(|reader| !reader.leaving && reader.questions.is_empty())
    }

    /// Takes one event and says what the shell must now do, in order.
    pub fn step(&mut self, event: Event<'_>, told: Told<'_>) -> Vec<Action> {
        match event {
            Event::Received(id, bytes) => {
                self.hear(id, bytes);
                self.answer(id, told);
            }
            Event::Written(id, count) => {
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.took(count);
                }
                self.answer(id, told);
            }
            Event::Proceed(id) => self.answer(id, told),
            Event::Left(id) => self.leave(id),
            Event::News(news) => self.publish(news),
            Event::Ended(id, judgement) => {
                if let Some(Asked { reader, tracking: Some(id) }) = self.orders.remove(&id) {
                    self.write(reader, &[FromDriver::Tracking { id, judgement }]);
                }
            }
        }
        std::mem::take(&mut self.out)
    }

    /// Reads lines; they become questions.
    fn hear(&mut self, id: ReaderId, bytes: &[u8]) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        let (questions, bad_lines, out) = (&mut reader.questions, &mut reader.bad_lines, &mut self.out);
        reader.lines.push(bytes, |line| match question(line) {
            Ok(question) => questions.push_back(question),
            Err(BadLine::Message(MessageError::Empty)) => {}
            Err(why) => {
                *bad_lines += 1;
                // The first one is told, the others are counted: a reader may be full of them.
                if *bad_lines == 1 {
                    let text = format!("a line on the driver's socket is left out: {why}");
                    out.push(Action::Tell(Note { weight: Weight::Info, text }));
                }
            }
        });
    }

    /// Answers questions as long as the reader takes the answers.
    fn answer(&mut self, id: ReaderId, told: Told<'_>) {
        loop {
            let Some(reader) = self.readers.get_mut(&id) else { return };
            if reader.leaving && reader.waiting == 0 {
                self.out.push(Action::Close(id));
                return self.leave(id);
            }
            if reader.leaving || reader.waiting >= ENOUGH_WAITING {
                return;
            }
            let Some(question) = reader.questions.pop_front() else { return };
            let more = !reader.questions.is_empty();
            let is_order = matches!(question, ToDriver::InstCmd { .. } | ToDriver::Set { .. });
            self.answer_one(id, question, told);
            if is_order && more {
                return self.out.push(Action::Proceed(id));
            }
        }
    }

    fn answer_one(&mut self, id: ReaderId, question: ToDriver, told: Told<'_>) {
        match question {
            ToDriver::DumpAll => {
                let everything = told.device.dump().map(FromDriver::Change);
                self.dump(id, everything, told.data_is_ok);
            }
            ToDriver::DumpValue(name) => self.dump_value(id, name.as_str(), told),
            ToDriver::DumpStatus => self.dump_value(id, "ups.status", told),
            ToDriver::Ping => self.write(id, &[FromDriver::Pong]),
            ToDriver::GetPid => self.write(id, &[FromDriver::Pid(self.pid)]),
            ToDriver::Broadcast(listens) => {
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.listens = listens;
                }
            }
            ToDriver::Logout => {
                self.write(id, &[FromDriver::Goodbye]);
                if let Some(reader) = self.readers.get_mut(&id) {
                    reader.leaving = true;
                    reader.questions.clear();
                }
            }
            ToDriver::InstCmd { cmd, param, tracking } => {
                self.order(id, Order::Command { name: cmd, param }, tracking);
            }
            ToDriver::Set { var, value, tracking } => {
                self.order(id, Order::Set { name: var, value }, tracking);
            }
        }
    }

    fn dump_value(&mut self, id: ReaderId, name: &str, told: Told<'_>) {
        let lines = told.device.variable(name).into_iter().flat_map(|variable| variable.dump());
        self.dump(id, lines.map(FromDriver::Change), told.data_is_ok);
    }

    /// NUT's order: `DATASTALE` first, or `DATAOK` last, never both.
    fn dump(&mut self, id: ReaderId, lines: impl Iterator<Item = FromDriver>, data_is_ok: bool) {
        let stale = (!data_is_ok).then_some(FromDriver::DataStale);
        let ok = data_is_ok.then_some(FromDriver::DataOk);
        let mut bytes = Vec::new();
        for message in stale.into_iter().chain(lines).chain(ok).chain([FromDriver::DumpDone]) {
            message.encode(&mut bytes);
        }
        if let Some(reader) = self.readers.get_mut(&id) {
            reader.dumped += bytes.len();
        }
        self.write_bytes(id, bytes);
    }

    fn order(&mut self, id: ReaderId, order: Order, tracking: Option<Box<str>>) {
        if self.orders.len() >= MAX_ORDERS {
            if let Some(id_told) = tracking {
                self.write(id, &[FromDriver::Tracking { id: id_told, judgement: Judgement::Failed }]);
            }
            return;
        }
        let order_id = OrderId(self.next_order);
        self.next_order += 1;
        self.orders.insert(order_id, Asked { reader: id, tracking });
        self.out.push(Action::Order(order_id, order));
    }

    fn publish(&mut self, news: &FromDriver) {
        let mut line = Vec::new();
        news.encode(&mut line);
        // The newest reader first, as in NUT.
        let listening: Vec<ReaderId> =
            self.readers.iter().rev().filter(|(_, r)| r.listens && !r.leaving).map(|(id, _)| *id).collect();
        for id in listening {
            self.write_bytes(id, line.clone());
        }
    }

    fn write(&mut self, id: ReaderId, messages: &[FromDriver]) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        self.write_bytes(id, bytes);
    }

    fn write_bytes(&mut self, id: ReaderId, bytes: Vec<u8>) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        if (reader.waiting + bytes.len()).saturating_sub(reader.dumped) > MAX_WAITING {
            let waiting = reader.waiting;
            let text = format!("a reader does not read ({waiting} bytes wait for it) and is sent away");
            self.out.push(Action::Tell(Note { weight: Weight::Warning, text }));
            self.out.push(Action::Close(id));
            return self.leave(id);
        }
        reader.waiting += bytes.len();
        self.out.push(Action::Write(id, bytes));
    }

    fn leave(&mut self, id: ReaderId) {
        let Some(reader) = self.readers.remove(&id) else { return };
        if reader.bad_lines > 1 {
            let text = format!("{} lines of one reader were left out", reader.bad_lines);
            self.out.push(Action::Tell(Note { weight: Weight::Info, text }));
        }
    }
}

impl Reader {
    fn took(&mut self, count: usize) {
        self.waiting = self.waiting.saturating_sub(count);
        // What waits is the newest; a dump is among it at most up to all of it.
        self.dumped = self.dumped.min(self.waiting);
    }
}

/// Why a line is left out.
#[derive(Debug, thiserror::Error)]
enum BadLine {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error(transparent)]
    Words(#[from] WordsError),
    #[error(transparent)]
    Message(#[from] MessageError),
}

fn question(line: Result<&[u8], LineError>) -> Result<ToDriver, BadLine> {
    Ok(ToDriver::parse(&split(line?)?)?)
}

#[cfg(test)]
mod tests;
