//! A driver on a line that is only pretended, with a Smart-UPS at its end, in simulated time.

use nut_conf::ups_conf::Synchronous;
use nut_drivers::apcsmart::{ApcSmart, capability};
use nut_drivers::core::settings::{Settings, ShutdownStep};
use nut_drivers::core::{Action, Core, Event, Exit, Purpose};
use nut_drivers::driver::{Order, OrderId};
use nut_proto::Moment;
use nut_proto::device::{Change, Device};
use nut_proto::driver::{FromDriver, Judgement};
use nut_proto::words::split;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Most actions of one step. Getting to know another unit withdraws and tells some hundred variables.
const MAX_ACTIONS: usize = 5_000;

/// Most bytes sent at once: a name of eight bytes and what stands around it.
const MAX_SENT: usize = 32;

/// Most wake-ups for each second that passes, and for each event beside.
const MAX_WAKES: u64 = 100;

/// A capability string as a real unit has it.
pub const CAPABILITIES: &[u8] = b"#uD43127130133136uA43108110112114uI43253257261265lD43106103100097lA43092090088086\
                                  lI43208204200196e44200155090oD13115oA13100oI13230s441HMLLq44202050710p443020180300600\
                                  k4410TLNr443000060180300E443336168ON OFF";

/// A unit that does what it should, but for what it is told to answer instead.
#[derive(Debug)]
pub struct Unit {
    /// The status byte.
    pub status: u8,
    /// It answers nothing.
    pub is_silent: bool,
    /// What the next questions are answered with, as it stands.
    pub instead: VecDeque<Vec<u8>>,
    /// The answer to `^Z`.
    pub capabilities: Vec<u8>,
    is_smart: bool,
    last: u8,
    replies: BTreeMap<u8, Vec<u8>>,
    rings: BTreeMap<u8, (Vec<Vec<u8>>, usize)>,
    /// A text or digits are being entered: how many bytes are still to come.
    entering: usize,
}

impl Unit {
    fn new(capabilities: &[u8]) -> Self {
        let replies = [
            (b'a', "3.!$%+?=#|.\u{1}\u{1a}@ABCDEFGKLMNOPQRSUVWXYZ'a'bcefgjklmnopqrsuvxyz789~"),
            (b'b', "70.9.I"),
            (b'V', "GWI"),
            (1, "SMART-UPS 1000"),
            (b'n', "NS0001"),
            (b'm', "01/02/99"),
            (b'c', "UPS_IDEN"),
            (b'x', "01/02/99"),
            (b'B', "27.60"),
            (b'C', "030.0"),
            (b'F', "50.00"),
            (b'f', "100.0"),
            (b'j', "0120:"),
            (b'G', "S"),
            (b'L', "230.0"),
            (b'M', "231.0"),
            (b'N', "229.0"),
            (b'O', "230.0"),
            (b'P', "020.0"),
            (b'X', "OK"),
            (b'9', "FF"),
            (b'g', "024"),
            (b'u', "253"),
            (b'l', "208"),
            (b'e', "00"),
            (b'o', "230"),
            (b's', "H"),
            (b'q', "02"),
            (b'p', "020"),
            (b'k', "0"),
            (b'r', "000"),
            (b'E', "336"),
        ];
        let groups = capability::parse(capabilities).groups.into_iter();
        let rings = groups.filter(|group| matches!(group.locale, b'I' | capability::EVERY_LOCALE));
        Self {
            status: 0x08,
            is_silent: false,
            instead: VecDeque::new(),
            capabilities: capabilities.to_vec(),
            is_smart: false,
            last: 0,
            replies: replies.map(|(byte, text)| (byte, text.as_bytes().to_vec())).into(),
            rings: rings.map(|group| (group.command, (group.values, 0))).collect(),
            entering: 0,
        }
    }

    fn hear(&mut self, byte: u8) -> Option<Vec<u8>> {
        if self.is_silent {
            return None;
        }
        if let Some(raw) = self.instead.pop_front() {
            return Some(raw);
        }
        let mut answer = self.answer(byte)?;
        answer.extend_from_slice(b"\r\n");
        Some(answer)
    }

    fn answer(&mut self, byte: u8) -> Option<Vec<u8>> {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        if byte == b'Y' {
            (self.is_smart, self.entering) = (true, 0);
            return text("SM");
        }
        if !self.is_smart {
            return None;
        }
        if self.entering > 0 {
            self.entering -= 1;
            return if self.entering == 0 { text("OK") } else { None };
        }
        let last = std::mem::replace(&mut self.last, byte);
        match byte {
            b'R' => {
                self.is_smart = false;
                text("BYE")
            }
            b'Q' => Some(format!("{:02X}", self.status).into_bytes()),
            0x1a => Some(self.capabilities.clone()),
            b'@' => {
                self.entering = 3;
                None
            }
            b'K' | b'Z' | 0x0e if last == byte => text("OK"),
            b'K' | b'Z' | 0x0e => None,
            b'S' if self.status & 0x10 == 0 => text("NA"),
            b'S' | b'A' | b'D' | b'U' | b'W' => text("OK"),
            b'-' => self.change(last),
            _ => self.replies.get(&byte).cloned().or_else(|| text("NA")),
        }
    }

    fn change(&mut self, setting: u8) -> Option<Vec<u8>> {
        self.last = setting;
        if matches!(setting, b'c' | b'x') {
            self.entering = 8;
            return None;
        }
        let Some((values, at)) = self.rings.get_mut(&setting) else { return Some(b"NO".to_vec()) };
        *at = (*at + 1) % values.len().max(1);
        if let Some(value) = values.get(*at) {
            self.replies.insert(setting, value.clone());
        }
        Some(b"OK".to_vec())
    }
}

/// A driver and all around it.
#[derive(Debug)]
pub struct Bench {
    core: Core,
    /// The unit.
    pub unit: Unit,
    /// Whether the port can be opened.
    pub has_port: bool,
    is_open: bool,
    now: u64,
    wake: Option<u64>,
    arriving: BTreeMap<(u64, u64), Vec<u8>>,
    count: u64,
    /// The moment from which on nothing is on its way.
    quiet_from: u64,
    /// Every byte the unit was sent.
    pub sent: Vec<u8>,
    /// What readers who listened from the beginning know by now.
    copy: Device,
    is_good: Option<bool>,
    orders: u64,
    /// How orders ended.
    pub ended: BTreeMap<OrderId, Judgement>,
    /// How the process ended.
    pub exit: Option<Exit>,
    wakes: u64,
    allowed_wakes: u64,
}

impl Bench {
    /// A driver that begins now.
    ///
    /// # Panics
    /// When something does not hold: so does everything here.
    #[must_use]
    pub fn new(capabilities: &[u8], sdtype: &str, purpose: Purpose) -> Self {
        let (driver, _) = ApcSmart::configure([("sdtype", Some(sdtype))]).expect("the caller gives a digit");
        let settings = Settings {
            program: "apcsmart".into(),
            version: "0".into(),
            poll_interval: Duration::from_secs(2),
            synchronous: Synchronous::Auto,
            ignore_lb: false,
            allow_killpower: true,
            shutdown: vec![ShutdownStep::Default],
            defaults: Vec::new(),
            overrides: Vec::new(),
            parameters: Vec::new(),
            debug: 0,
            fixed: Vec::new(),
        };
        let core = Core::new(Box::new(driver), settings, purpose);
        let mut bench = Self {
            copy: core.device().clone(),
            core,
            unit: Unit::new(capabilities),
            has_port: true,
            is_open: false,
            now: 1_000_000,
            wake: None,
            arriving: BTreeMap::new(),
            count: 0,
            quiet_from: 0,
            sent: Vec::new(),
            is_good: None,
            orders: 0,
            ended: BTreeMap::new(),
            exit: None,
            wakes: 0,
            allowed_wakes: 100,
        };
        bench.step(Event::Start);
        bench
    }

    /// All variables and commands.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.core.device()
    }

    /// Whether readers were told that they are true.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_good == Some(true)
    }

    /// The unit says this, now.
    pub fn says(&mut self, bytes: &[u8]) {
        if self.is_open {
            self.step(Event::Received(bytes));
        }
    }

    /// The port is gone.
    pub fn lose_port(&mut self) {
        self.has_port = false;
        self.arriving.clear();
        self.step(Event::PortLost { reason: "unplugged".into() });
        self.is_open = false;
    }

    /// Gives an order.
    pub fn order(&mut self, order: Order) -> OrderId {
        self.orders += 1;
        let id = OrderId(self.orders);
        self.step(Event::Order(id, order));
        id
    }

    /// So many milliseconds pass.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        self.allowed_wakes += MAX_WAKES * (1 + millis / 1_000);
        loop {
            let arriving = self.arriving.keys().next().map(|(at, _)| *at);
            let Some(at) = [arriving, self.wake].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            if arriving == Some(at)
                && let Some((_, bytes)) = self.arriving.pop_first()
            {
                self.says(&bytes);
            } else {
                self.wake = None;
                self.wakes += 1;
                assert!(self.wakes <= self.allowed_wakes, "{} wake-ups: it spins", self.wakes);
                self.step(Event::Tick);
            }
        }
        self.now = end;
    }

    fn step(&mut self, event: Event<'_>) {
        self.allowed_wakes += MAX_WAKES;
        let actions = self.core.step(Moment::from_millis(self.now), event);
        assert!(actions.len() <= MAX_ACTIONS, "{} actions at once", actions.len());
        for action in actions {
            assert_eq!(self.exit, None, "nothing follows the end, but {action:?}");
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Open => {
                self.is_open = self.has_port;
                self.arriving.clear();
                self.step(if self.has_port {
                    Event::PortOpened
                } else {
                    Event::PortFailed { reason: "there is no such node".into() }
                });
            }
            Action::Close => {
                self.is_open = false;
                self.arriving.clear();
            }
            Action::Send(bytes) => {
                assert!(bytes.len() <= MAX_SENT, "{} bytes at once", bytes.len());
                assert!(self.is_open, "the port is closed, and it is sent {}", bytes.escape_ascii());
                bytes.into_iter().for_each(|byte| self.hear(byte));
            }
            Action::WakeAt(at) => {
                let at = u64::try_from(at.since_start().as_millis()).expect("the time is near");
                self.wake = Some(at.max(self.now));
            }
            Action::Publish(change) => self.publish(&change),
            Action::DataOk => {
                assert_ne!(self.is_good, Some(true), "good twice");
                self.is_good = Some(true);
            }
            Action::DataStale => {
                assert_ne!(self.is_good, Some(false), "stale twice");
                self.is_good = Some(false);
            }
            Action::Done(id, judgement) => {
                assert!(id.0 >= 1 && id.0 <= self.orders, "nobody gave {id:?}");
                assert_eq!(self.ended.insert(id, judgement), None, "{id:?} ended twice");
            }
            Action::Exit(exit) => self.exit = Some(exit),
            Action::Tell(note) => {
                assert!(!note.text.chars().any(char::is_control), "{}", note.text.escape_debug());
            }
            Action::Flush => self.arriving.clear(),
            Action::ReadConfiguration => self.step(Event::Configuration(Err("it cannot be read".into()))),
            Action::Serve | Action::Dump | Action::SetDebug(_) => {}
        }
    }

    fn hear(&mut self, byte: u8) {
        self.sent.push(byte);
        if let Some(answer) = self.unit.hear(byte) {
            let takes = 40 + 4 * u64::try_from(answer.len()).expect("an answer is short");
            self.quiet_from = self.quiet_from.max(self.now) + takes;
            self.count += 1;
            self.arriving.insert((self.quiet_from, self.count), answer);
        }
    }

    /// What readers are told can be read, and makes of their copy what the driver has.
    fn publish(&mut self, change: &Change) {
        let mut line = Vec::new();
        FromDriver::Change(change.clone()).encode(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        let read = split(&line).map(|words| FromDriver::parse(&words));
        assert_eq!(read, Ok(Ok(FromDriver::Change(change.clone()))), "{}", line.escape_ascii());
        self.copy.apply(change).expect("what is told can be kept");
        if let Change::Info { name, value } = change
            && name.is("ups.status")
        {
            // A unit may say that it is on mains and on battery; nobody may say so twice.
            let words: Vec<&str> = value.as_str().split(' ').collect();
            let different: BTreeSet<&str> = words.iter().copied().collect();
            assert!(different.len() == words.len() && !words.contains(&""), "{}", value.as_str());
        }
    }

    /// What must hold at any time.
    pub fn check(&self) {
        assert_eq!(&self.copy, self.core.device(), "news and dump differ");
    }
}
