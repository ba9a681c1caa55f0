//! Several readers' conversation with a driver's socket, with news and the ends of orders between.
//!
//! The bytes are a script. A part goes on up to a byte 0xff; the letter behind that says what the next part is:
//!
//! | letter | what happens |
//! |---|---|
//! | `0` to `3` | the reader says the part; it joins first if it has to (the first part is reader 0's) |
//! | `a` to `d` | the reader 0 to 3 goes away without a word |
//! | `e` to `h` | the reader takes nothing from now on, then says the part |
//! | `i` to `l` | the reader takes everything again, then says the part |
//! | `N` | the variable `ups.id` becomes the part, and that is news |
//! | `n` | the same as many times as the part's first byte says |
//! | `G` | the data are good, or stale, and that is news |
//! | `E` | the oldest order ends; the part's first byte says how |

use super::parts::parts;
use nut_drivers::driver::OrderId;
use nut_drivers::serving::{
    Action, Event, MAX_CHUNK, MAX_LINE, MAX_ORDERS, MAX_READERS, MAX_WAITING, ReaderId, Serving, Told,
};
use nut_proto::device::{Change, Device, Flags, Value};
use nut_proto::driver::{FromDriver, Judgement, ToDriver};
use nut_proto::lines::LineBuffer;
use nut_proto::words::split;
use std::collections::{BTreeSet, VecDeque};

/// Most bytes that may wait for one reader besides dumps: here a dump is small, and questions stop long before.
const MOST_WAITING: usize = MAX_WAITING + 64 * 1024;

const PID: u32 = 4711;

/// One reader as it sees itself.
#[derive(Debug)]
struct Reader {
    id: ReaderId,
    /// What it has said and the driver has not taken.
    unsaid: VecDeque<u8>,
    /// Lines it said, read as the driver should read them.
    lines: LineBuffer,
    /// Answers that are still to come, in order; news may stand between.
    expected: VecDeque<Expected>,
    /// It has said goodbye: nothing it says counts any more.
    has_left: bool,
    /// It takes nothing.
    is_stuck: bool,
    /// Waiting for it.
    waiting: Vec<u8>,
    heard: LineBuffer,
    /// Orders with a name, not ended yet.
    tracked: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Pong,
    Pid,
    DumpDone,
    Goodbye,
}

impl Reader {
    fn new(id: ReaderId) -> Self {
        Self {
            id,
            unsaid: VecDeque::new(),
            lines: LineBuffer::with_limit(MAX_LINE),
            expected: VecDeque::new(),
            has_left: false,
            is_stuck: false,
            waiting: Vec::new(),
            heard: LineBuffer::with_limit(MAX_LINE),
            tracked: Vec::new(),
        }
    }

    /// Notes what must come of what it is about to say.
    fn says(&mut self, bytes: &[u8]) {
        let Self { lines, expected, has_left, tracked, .. } = self;
        lines.push(bytes, |line| {
            let Some(question) = line.ok().and_then(|line| ToDriver::parse(&split(line).ok()?).ok()) else {
                return;
            };
            if *has_left {
                return;
            }
            match question {
                ToDriver::DumpAll | ToDriver::DumpValue(_) | ToDriver::DumpStatus => {
                    expected.push_back(Expected::DumpDone);
                }
                ToDriver::Ping => expected.push_back(Expected::Pong),
                ToDriver::GetPid => expected.push_back(Expected::Pid),
                ToDriver::Logout => {
                    expected.push_back(Expected::Goodbye);
                    *has_left = true;
                }
                ToDriver::InstCmd { tracking, .. } | ToDriver::Set { tracking, .. } => {
                    tracked.extend(tracking.map(String::from));
                }
                ToDriver::Broadcast(_) => {}
            }
        });
    }

    /// Reads what it was told.
    fn hears(&mut self, bytes: &[u8]) {
        let Self { heard, expected, tracked, .. } = self;
        heard.push(bytes, |line| {
            let line = line.expect("lines of a driver are short");
            let message = FromDriver::parse(&split(line).expect("a driver's line can be read"));
            let message = message.unwrap_or_else(|error| panic!("{}: {error}", line.escape_ascii()));
            let answers = match message {
                FromDriver::Pong => Expected::Pong,
                FromDriver::Pid(pid) => {
                    assert_eq!(pid, PID);
                    Expected::Pid
                }
                FromDriver::DumpDone => Expected::DumpDone,
                FromDriver::Goodbye => Expected::Goodbye,
                FromDriver::Tracking { id, .. } => {
                    let at = tracked.iter().position(|one| **one == *id);
                    tracked.swap_remove(at.unwrap_or_else(|| panic!("nobody asked for {id}")));
                    return;
                }
                FromDriver::Change(_) | FromDriver::DataOk | FromDriver::DataStale => return,
            };
            assert_eq!(expected.pop_front(), Some(answers), "answers come in the order of the questions");
        });
    }
}

struct Talk {
    serving: Serving,
    device: Device,
    is_good: bool,
    readers: [Option<Reader>; 4],
    orders: VecDeque<OrderId>,
    ended: BTreeSet<OrderId>,
}

/// Plays the bytes.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut talk = Talk {
        serving: Serving::new(PID),
        device: device(),
        is_good: true,
        readers: Default::default(),
        orders: VecDeque::new(),
        ended: BTreeSet::new(),
    };
    for (letter, part) in parts(bytes, b'0') {
        talk.act(letter, part);
        talk.settle();
    }
    // Everybody takes everything, every order ends.
    for nth in 0..talk.readers.len() {
        if let Some(reader) = &mut talk.readers[nth] {
            reader.is_stuck = false;
        }
    }
    talk.settle();
    while !talk.orders.is_empty() {
        talk.end_order(Judgement::Handled);
        talk.settle();
    }
    for reader in talk.readers.iter().flatten() {
        assert!(reader.expected.is_empty(), "not answered: {:?}", reader.expected);
        assert!(reader.tracked.is_empty(), "never ended: {:?}", reader.tracked);
        assert!(reader.unsaid.is_empty() && !reader.has_left, "still there");
    }
    let mut joined = talk.readers.iter().flatten().count();
    while talk.serving.join().is_some() {
        joined += 1;
    }
    assert_eq!(joined, MAX_READERS, "who left has left");
}

fn device() -> Device {
    let mut device = Device::default();
    let name = |text: &str| text.parse().expect("a name written here");
    for (variable, value) in [("ups.status", "OL"), ("ups.model", "Foo \"bar\" \\ #"), ("ups.id", "x")] {
        device.set(&name(variable), Value::new(value)).expect("there is room");
    }
    let flags = Change::Flags { name: name("ups.id"), flags: Flags::WRITABLE_STRING };
    let command = Change::Command { name: "load.off".parse().expect("a name written here") };
    for change in [flags, command] {
        device.apply(&change).expect("there is room");
    }
    device
}

impl Talk {
    fn act(&mut self, letter: u8, part: &[u8]) {
        let number = part.first().copied().unwrap_or(0);
        let nth = |from: u8| usize::from(letter - from);
        match letter {
            b'0'..=b'3' => self.say(nth(b'0'), part),
            b'a'..=b'd' => {
                if let Some(reader) = self.readers[nth(b'a')].take() {
                    self.step(Event::Left(reader.id));
                }
            }
            b'e'..=b'h' => {
                self.reader(nth(b'e')).is_stuck = true;
                self.say(nth(b'e'), part);
            }
            b'i'..=b'l' => {
                self.reader(nth(b'i')).is_stuck = false;
                self.say(nth(b'i'), part);
            }
            b'N' => self.news(part),
            b'n' => (0..number).for_each(|count| self.news(&[part, &[count]].concat())),
            b'G' => {
                self.is_good = !self.is_good;
                let news = if self.is_good { FromDriver::DataOk } else { FromDriver::DataStale };
                self.step(Event::News(&news));
            }
            b'E' => self.end_order(Judgement::from_code(number.into())),
            _ => self.say(usize::from(letter & 3), part),
        }
    }

    fn reader(&mut self, nth: usize) -> &mut Reader {
        let serving = &mut self.serving;
        self.readers[nth].get_or_insert_with(|| Reader::new(serving.join().expect("four are few")))
    }

    fn say(&mut self, nth: usize, bytes: &[u8]) {
        let reader = self.reader(nth);
        reader.unsaid.extend(bytes);
    }

    fn news(&mut self, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        let change = self.device.set(&"ups.id".parse().expect("a name"), Value::new(&text));
        if let Ok(Some(change)) = change {
            self.step(Event::News(&FromDriver::Change(change)));
        }
    }

    fn end_order(&mut self, judgement: Judgement) {
        if let Some(id) = self.orders.pop_front() {
            assert!(self.ended.insert(id));
            self.step(Event::Ended(id, judgement));
        }
    }

    fn step(&mut self, event: Event<'_>) {
        let told = Told { device: &self.device, data_is_ok: self.is_good };
        let mut actions: VecDeque<Action> = self.serving.step(event, told).into();
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Write(id, bytes) => {
                    assert_eq!(bytes.last(), Some(&b'\n'), "half a line");
                    if let Some(reader) = self.with(id) {
                        reader.waiting.extend_from_slice(&bytes);
                        let dumps = 600 * (1 + reader.expected.len());
                        assert!(
                            reader.waiting.len() <= MOST_WAITING + dumps,
                            "{} wait",
                            reader.waiting.len()
                        );
                    } else {
                        panic!("{id:?} has left");
                    }
                }
                Action::Close(id) => {
                    for place in &mut self.readers {
                        if place.as_ref().is_some_and(|reader| reader.id == id) {
                            *place = None;
                        }
                    }
                }
                Action::Order(id, _) => {
                    self.orders.push_back(id);
                    assert!(self.orders.len() <= MAX_ORDERS, "{} orders", self.orders.len());
                }
                // Behind all others, as the shell does it.
                Action::Proceed(id) => {
                    let told = Told { device: &self.device, data_is_ok: self.is_good };
                    actions.extend(self.serving.step(Event::Proceed(id), told));
                }
                Action::Tell(note) => {
                    assert!(!note.text.chars().any(char::is_control), "{}", note.text.escape_debug());
                }
            }
        }
    }

    fn with(&mut self, id: ReaderId) -> Option<&mut Reader> {
        self.readers.iter_mut().flatten().find(|reader| reader.id == id)
    }

    /// Everybody says and takes what can be said and taken.
    fn settle(&mut self) {
        loop {
            let mut has_moved = false;
            for nth in 0..self.readers.len() {
                has_moved |= self.speak(nth) | self.listen(nth);
            }
            if !has_moved {
                return;
            }
        }
    }

    fn speak(&mut self, nth: usize) -> bool {
        let Some(reader) = &mut self.readers[nth] else { return false };
        if reader.unsaid.is_empty() || !self.serving.wants_input(reader.id) {
            // What is said behind a goodbye is never read.
            if reader.has_left {
                reader.unsaid.clear();
            }
            return false;
        }
        let count = reader.unsaid.len().min(MAX_CHUNK);
        let bytes: Vec<u8> = reader.unsaid.drain(..count).collect();
        reader.says(&bytes);
        let id = reader.id;
        self.step(Event::Received(id, &bytes));
        true
    }

    fn listen(&mut self, nth: usize) -> bool {
        let Some(reader) = &mut self.readers[nth] else { return false };
        if reader.is_stuck || reader.waiting.is_empty() {
            return false;
        }
        let bytes = std::mem::take(&mut reader.waiting);
        reader.hears(&bytes);
        let id = reader.id;
        self.step(Event::Written(id, bytes.len()));
        true
    }
}
