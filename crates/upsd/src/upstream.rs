//! One driver as upsd sees it: connected or not, what it has told, and whether that is still true (upsd §8).
//!
//! Pure: the server feeds it bytes and time, and passes on what it wants said. A line that makes no sense costs that
//! line; a driver that floods, stalls or sends rubbish costs its own UPS.

use nut_proto::Moment;
use nut_proto::device::{Change, Device, Value};
use nut_proto::driver::{FromDriver, Judgement, MessageError};
use nut_proto::lines::{LineBuffer, LineError};
use nut_proto::names::VarName;
use nut_proto::net::ErrCode;
use nut_proto::words::split;
use std::time::Duration;

/// How long to wait before the next attempt to connect, by the number of attempts in a row that led to nothing; later
/// ones wait as long as the last. NUT tries about every 2 s.
const RETRIES: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_600),
    Duration::from_secs(2),
];

/// How often a driver that cannot be connected to is complained about: NUT's interval.
const COMPLAIN_EVERY: Duration = Duration::from_secs(300);

/// How long a connection must have stood for its driver to count as one that works.
const STANDS: Duration = Duration::from_secs(1);

/// Silence beyond `MAXAGE` that is still forgiven (NUT 2.8.5 and later).
const GRACE: Duration = Duration::from_secs(1);

/// Most enumerated values and ranges of one device, all variables together.
pub const MAX_CHOICES_OF_ALL: usize = 20_000;

/// A driver and our copy of what it has told.
#[derive(Debug)]
pub struct Upstream {
    link: Link,
    lines: LineBuffer,
    device: Device,
    /// Counts what changed in `device`.
    revision: u64,
    dump_done: bool,
    data_ok: bool,
    stale: bool,
    /// Since when the connection stands.
    since: Moment,
    heard: Moment,
    pinged: Moment,
    tries: usize,
    complained: Option<Moment>,
    choices: usize,
    broken: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { next_try: Moment },
    Connecting,
    Up,
}

/// What the server must pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// How a tracked order ended.
    Judged {
        /// The order's id.
        id: Box<str>,
        /// The end.
        judgement: Judgement,
    },
    /// A line that made no sense; told for the 1st, 10th, 100th, … of a connection.
    Broken {
        /// What was wrong with it.
        reason: String,
        /// How many of this connection made no sense so far.
        count: u64,
    },
}

/// Data turned from fresh to stale, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// Clients get `DATA-STALE` from now on.
    Stale,
    /// Clients get data again.
    Fresh,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Connect now.
    pub connect: bool,
    /// Send `PING` now.
    pub ping: bool,
    /// What became of the data.
    pub turned: Option<Turned>,
}

impl Upstream {
    /// A driver that is to be connected to at once.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self {
            link: Link::Down { next_try: now },
            lines: LineBuffer::default(),
            device: Device::default(),
            revision: 0,
            dump_done: false,
            data_ok: false,
            stale: true,
            since: now,
            heard: now,
            pinged: now,
            tries: 0,
            complained: None,
            choices: 0,
            broken: 0,
        }
    }

    /// What the driver has told, if clients may see it.
    ///
    /// # Errors
    /// `DRIVER-NOT-CONNECTED` or `DATA-STALE`.
    pub fn device(&self) -> Result<&Device, ErrCode> {
        match self.link {
            Link::Down { .. } | Link::Connecting => Err(ErrCode::DriverNotConnected),
            Link::Up if self.stale => Err(ErrCode::DataStale),
            Link::Up => Ok(&self.device),
        }
    }

    /// Changes whenever [`Upstream::device`] may have.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether there is a connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// The connection stands; `DUMPALL` is on its way. Nothing is known yet but `ups.status` `WAIT`.
    pub fn connected(&mut self, now: Moment) {
        self.forget();
        self.link = Link::Up;
        self.stale = false;
        self.since = now;
        self.heard = now;
        self.pinged = now;
        self.complained = None;
        if let Ok(status) = "ups.status".parse::<VarName>() {
            // An empty device has room for one variable.
            let _ = self.device.set(&status, Value::new("WAIT"));
        }
    }

    /// The attempt failed. Says whether that is worth a complaint now.
    pub fn refused(&mut self, now: Moment) -> bool {
        self.tries = self.tries.saturating_add(1);
        self.link = Link::Down { next_try: now.after(self.pause()) };
        let due = self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY);
        if due {
            self.complained = Some(now);
        }
        due
    }

    /// The connection is gone, and with it all that was told. One that worked is tried again at once; a driver that
    /// dies of each reader, however much it told before, is not.
    pub fn lost(&mut self, now: Moment) {
        let worked = self.dump_done && now.since(self.since) >= STANDS;
        self.tries = if worked { 0 } else { self.tries.saturating_add(1) };
        self.forget();
        self.link = Link::Down { next_try: now.after(self.pause()) };
    }

    /// Takes bytes as they came, and adds what is to be passed on.
    pub fn take(&mut self, now: Moment, bytes: &[u8], said: &mut Vec<Said>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| match line {
            Ok(line) => self.line(now, line, said),
            Err(LineError::TooLong { limit }) => {
                self.is_broken(format!("the line is longer than {limit} bytes"), said);
            }
        });
        self.lines = lines;
    }

    /// Decides anew whether the data is stale.
    pub fn judge(&mut self, now: Moment, max_age: Duration) -> Option<Turned> {
        if self.link != Link::Up {
            return None;
        }
        let silent = now.since(self.heard) >= max_age.saturating_add(GRACE);
        let stale = silent || (self.dump_done && !self.data_ok);
        if stale == self.stale {
            return None;
        }
        self.stale = stale;
        Some(if stale { Turned::Stale } else { Turned::Fresh })
    }

    /// Says what is due now.
    pub fn tick(&mut self, now: Moment, max_age: Duration) -> Wanted {
        match self.link {
            Link::Connecting => Wanted::default(),
            Link::Down { next_try } if next_try > now => Wanted::default(),
            Link::Down { .. } => {
                self.link = Link::Connecting;
                Wanted { connect: true, ..Wanted::default() }
            }
            Link::Up => {
                let ping = self.next_ping(max_age) <= now;
                if ping {
                    self.pinged = now;
                }
                Wanted { connect: false, ping, turned: self.judge(now, max_age) }
            }
        }
    }

    /// When [`Upstream::tick`] has something to do, unless something happens before.
    #[must_use]
    pub fn next_deadline(&self, max_age: Duration) -> Option<Moment> {
        match self.link {
            Link::Connecting => None,
            Link::Down { next_try } => Some(next_try),
            Link::Up if self.stale => Some(self.next_ping(max_age)),
            Link::Up => Some(self.next_ping(max_age).min(self.heard.after(max_age.saturating_add(GRACE)))),
        }
    }

    /// A third of `MAXAGE` after the last sign of life, and after the last time we asked for one.
    fn next_ping(&self, max_age: Duration) -> Moment {
        self.heard.max(self.pinged).after((max_age / 3).max(Duration::from_secs(1)))
    }

    fn pause(&self) -> Duration {
        RETRIES.get(self.tries).or(RETRIES.last()).copied().unwrap_or_default()
    }

    fn forget(&mut self) {
        self.lines.clear();
        self.device.clear();
        self.revision += 1;
        self.dump_done = false;
        // NUT remembers the last connection's DATAOK; a driver that says nothing now is no better for it.
        self.data_ok = false;
        self.choices = 0;
        self.broken = 0;
    }

    fn line(&mut self, now: Moment, line: &[u8], said: &mut Vec<Said>) {
        let message = match told_raw(line) {
            Some(change) => Ok(FromDriver::Change(change)),
            None => match split(line) {
                Ok(words) => FromDriver::parse(&words),
                Err(error) => return self.is_broken(error.to_string(), said),
            },
        };
        match message {
            Ok(message) => self.message(now, message, said),
            // Newer drivers may say things we do not know: no fault, and no sign of life either, as in NUT.
            Err(MessageError::Unknown { .. } | MessageError::Empty) => {}
            Err(error @ (MessageError::Malformed { .. } | MessageError::Name { .. })) => {
                self.is_broken(error.to_string(), said);
            }
        }
    }

    fn message(&mut self, now: Moment, message: FromDriver, said: &mut Vec<Said>) {
        match message {
            FromDriver::Pid(_) | FromDriver::Goodbye => return,
            FromDriver::Change(change) => self.change(&change, said),
            FromDriver::DataOk => self.data_ok = true,
            FromDriver::DataStale => self.data_ok = false,
            FromDriver::DumpDone => self.dump_done = true,
            FromDriver::Pong => {}
            FromDriver::Tracking { id, judgement } => said.push(Said::Judged { id, judgement }),
        }
        self.heard = now;
    }

    fn change(&mut self, change: &Change, said: &mut Vec<Said>) {
        let adds = matches!(change, Change::Choice { .. } | Change::Range { .. });
        if adds && self.choices >= MAX_CHOICES_OF_ALL {
            return self.is_broken(format!("more than {MAX_CHOICES_OF_ALL} choices"), said);
        }
        let goes = match change {
            Change::NoInfo { name } => {
                self.device.variable(name.as_str()).map_or(0, |one| one.choices().len() + one.ranges().len())
            }
            Change::NoChoice { .. } | Change::NoRange { .. } => 1,
            _ => 0,
        };
        match self.device.apply(change) {
            Ok(true) => {
                self.revision += 1;
                self.choices = self.choices.saturating_add(usize::from(adds)).saturating_sub(goes);
            }
            Ok(false) => {}
            Err(error) => self.is_broken(error.to_string(), said),
        }
    }

    fn is_broken(&mut self, reason: String, said: &mut Vec<Said>) {
        self.broken = self.broken.saturating_add(1);
        let count = self.broken;
        if count.checked_ilog10().is_some_and(|zeros| 10u64.pow(zeros) == count) {
            said.push(Said::Broken { reason, count });
        }
    }
}

/// What a line says that carries its value as it is, without backslashes, where they would be needed.
///
/// NUT's drivers escape values in a dump but not in a broadcast (driver-socket §3.1): `SETINFO ups.model "n"x"`, or a
/// `#` that breaks the line. NUT's upsd gets those wrong until the next dump. From the first quote to the last is what
/// was meant, unless all is escaped properly: then it is nothing for us.
fn told_raw(line: &[u8]) -> Option<Change> {
    let line = std::str::from_utf8(line).ok()?;
    let (head, rest) = line.split_once('"')?;
    let raw = rest.trim_ascii_end().strip_suffix('"')?;
    if is_escaped(raw) {
        return None;
    }
    let mut head = head.split_ascii_whitespace();
    let (keyword, name) = (head.next()?, head.next()?.parse::<VarName>().ok()?);
    if head.next().is_some() {
        return None;
    }
    let value = Value::new(raw);
    match keyword {
        _ if keyword.eq_ignore_ascii_case("SETINFO") => Some(Change::Info { name, value }),
        _ if keyword.eq_ignore_ascii_case("ADDENUM") => Some(Change::Choice { name, value }),
        _ if keyword.eq_ignore_ascii_case("DELENUM") => Some(Change::NoChoice { name, value }),
        _ => None,
    }
}

/// Whether each `"`, `\` and `#` has its backslash, and no backslash stands before anything else.
fn is_escaped(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if matches!(bytes.next(), Some(b'"' | b'\\' | b'#')) => {}
            b'"' | b'\\' | b'#' => return false,
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX_AGE: Duration = Duration::from_secs(15);

    fn at(secs: u64) -> Moment {
        Moment::from_secs(secs)
    }

    fn up() -> Upstream {
        let mut upstream = Upstream::new(at(0));
        assert!(upstream.tick(at(0), MAX_AGE).connect);
        upstream.connected(at(0));
        upstream
    }

    fn told(upstream: &mut Upstream, now: u64, text: &str) -> Vec<Said> {
        let mut said = Vec::new();
        upstream.take(at(now), text.as_bytes(), &mut said);
        said
    }

    fn value<'a>(upstream: &'a Upstream, name: &str) -> Option<&'a str> {
        upstream.device().ok()?.get(name).map(Value::as_str)
    }

    #[test]
    fn until_the_driver_speaks_its_status_is_wait() {
        let mut upstream = Upstream::new(at(0));
        assert_eq!(upstream.device().err(), Some(ErrCode::DriverNotConnected));
        upstream.tick(at(0), MAX_AGE);
        assert_eq!(upstream.device().err(), Some(ErrCode::DriverNotConnected));
        upstream.connected(at(0));
        assert_eq!(value(&upstream, "ups.status"), Some("WAIT"));
        told(&mut upstream, 0, "SETINFO ups.status \"OL\"\nSETINFO ba");
        assert_eq!(value(&upstream, "ups.status"), Some("OL"));
        told(&mut upstream, 0, "ttery.charge \"90\"\n");
        assert_eq!(value(&upstream, "battery.charge"), Some("90"));
    }

    #[test]
    fn stale_counts_only_when_the_dump_is_done() {
        let mut upstream = up();
        told(&mut upstream, 0, "DATASTALE\n");
        assert_eq!(upstream.judge(at(0), MAX_AGE), None);
        assert!(upstream.device().is_ok());
        told(&mut upstream, 0, "DUMPDONE\n");
        assert_eq!(upstream.judge(at(0), MAX_AGE), Some(Turned::Stale));
        assert_eq!(upstream.device().err(), Some(ErrCode::DataStale));
        told(&mut upstream, 1, "dataok\n");
        assert_eq!(upstream.judge(at(1), MAX_AGE), Some(Turned::Fresh));
        assert_eq!(upstream.judge(at(1), MAX_AGE), None);
    }

    #[test]
    fn a_dump_without_a_word_on_its_truth_is_not_believed() {
        let mut upstream = up();
        told(&mut upstream, 0, "SETINFO ups.status \"OL\"\nDUMPDONE\n");
        assert_eq!(upstream.judge(at(0), MAX_AGE), Some(Turned::Stale));
        told(&mut upstream, 0, "DATAOK\n");
        upstream.judge(at(0), MAX_AGE);
        upstream.lost(at(1));
        upstream.connected(at(1));
        told(&mut upstream, 1, "DUMPDONE\n");
        assert_eq!(upstream.judge(at(1), MAX_AGE), Some(Turned::Stale), "the last connection's word is void");
    }

    #[test]
    fn silence_is_asked_about_and_then_stale() {
        let mut upstream = up();
        told(&mut upstream, 0, "DATAOK\nDUMPDONE\n");
        upstream.judge(at(0), MAX_AGE);
        let mut seen = Vec::new();
        let mut now = at(0);
        while now < at(40) {
            now = upstream.next_deadline(MAX_AGE).unwrap();
            let wanted = upstream.tick(now, MAX_AGE);
            seen.push((now.since_start().as_secs(), wanted.ping, wanted.turned));
        }
        let expected = [
            (5, true, None),
            (10, true, None),
            (15, true, None),
            (16, false, Some(Turned::Stale)),
            (20, true, None),
            (25, true, None),
            (30, true, None),
            (35, true, None),
            (40, true, None),
        ];
        assert_eq!(seen, expected);
        told(&mut upstream, 41, "PONG\n");
        assert_eq!(upstream.judge(at(41), MAX_AGE), Some(Turned::Fresh));
        assert_eq!(upstream.next_deadline(MAX_AGE), Some(at(46)));
    }

    #[test]
    fn one_second_beyond_maxage_is_forgiven() {
        let mut upstream = up();
        told(&mut upstream, 0, "DATAOK\nDUMPDONE\n");
        assert_eq!(upstream.judge(Moment::from_millis(15_999), MAX_AGE), None);
        assert_eq!(upstream.judge(Moment::from_millis(16_000), MAX_AGE), Some(Turned::Stale));
    }

    #[test]
    fn a_maxage_of_zero_does_not_make_us_spin() {
        let mut upstream = up();
        assert!(upstream.next_deadline(Duration::ZERO).unwrap() >= at(1));
        upstream.tick(at(1), Duration::ZERO);
        assert!(upstream.next_deadline(Duration::ZERO).unwrap() >= at(2));
    }

    #[test]
    fn only_what_is_understood_is_a_sign_of_life() {
        for (line, alive) in [
            ("PONG", true),
            ("SETINFO a \"b\"", true),
            ("DELINFO nosuch", true),
            ("SETAUX nosuch 5", true),
            ("SETAUX x", false),
            ("SETFLAGS v", false),
            ("HELLO world", false),
            ("PID 17", false),
            ("OK Goodbye", false),
            ("", false),
            ("SETINFO ups.model", false),
        ] {
            let mut upstream = up();
            told(&mut upstream, 14, &format!("{line}\n"));
            assert_eq!(upstream.judge(at(16), MAX_AGE).is_none(), alive, "{line}");
        }
    }

    #[test]
    fn a_lost_driver_is_tried_at_once_then_less_and_less_often() {
        let mut upstream = up();
        told(&mut upstream, 0, "DATAOK\nDUMPDONE\n");
        upstream.lost(at(1));
        assert_eq!(upstream.device().err(), Some(ErrCode::DriverNotConnected));
        let mut now = at(1);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let next = upstream.next_deadline(MAX_AGE).unwrap();
            pauses.push(next.since(now).as_millis());
            now = next;
            assert!(upstream.tick(now, MAX_AGE).connect);
            assert_eq!(upstream.next_deadline(MAX_AGE), None, "one attempt at a time");
            upstream.refused(now);
        }
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 2000, 2000, 2000]);
    }

    #[test]
    fn a_driver_that_only_says_hello_is_not_hammered() {
        for dump in ["SETINFO a \"b\"\n", "SETINFO a \"b\"\nDATAOK\nDUMPDONE\n"] {
            let mut upstream = Upstream::new(at(0));
            let mut now = at(0);
            for _ in 0..100 {
                now = upstream.next_deadline(MAX_AGE).unwrap().max(now);
                assert!(upstream.tick(now, MAX_AGE).connect);
                upstream.connected(now);
                told(&mut upstream, 0, dump);
                upstream.lost(now);
            }
            assert!(now.since(at(0)) > Duration::from_secs(100), "{dump}");
        }
    }

    #[test]
    fn it_is_complained_about_every_five_minutes() {
        let mut upstream = Upstream::new(at(0));
        let complaints: Vec<u64> = (0..1000).filter(|now| upstream.refused(at(*now))).collect();
        assert_eq!(complaints, [0, 300, 600, 900]);
    }

    #[test]
    fn values_without_their_backslashes_are_understood() {
        for (line, expected) in [
            (r#"SETINFO v "plain""#, "plain"),
            (r#"SETINFO v "es\"ca\\ped\#""#, r#"es"ca\ped#"#),
            (r#"SETINFO v "n"x""#, r#"n"x"#),
            (r#"SETINFO v "a#b""#, "a#b"),
            (r#"setinfo v "C:\dir""#, r"C:\dir"),
            (r#"SETINFO v "ends\""#, r"ends\"),
            (r#"SETINFO v """"#, r#"""#),
            (r#"SETINFO v """#, ""),
            ("SETINFO v \"two words\"\r", "two words"),
            ("SETINFO v x y z", "x"),
            (r#"SETINFO v "x" y z"#, "x"),
        ] {
            let mut upstream = up();
            assert_eq!(told(&mut upstream, 0, &format!("{line}\n")), [], "{line}");
            assert_eq!(value(&upstream, "v"), Some(expected), "{line}");
        }
        let mut upstream = up();
        told(&mut upstream, 0, "SETINFO v \"1\"\nADDENUM v \"a#b\"\nADDENUM v \"c\"\nDELENUM v \"a#b\"\n");
        let choices = upstream.device().unwrap().variable("v").unwrap().choices().to_vec();
        assert_eq!(choices, ["c".into()]);
    }

    #[test]
    fn a_bad_line_costs_that_line_and_is_told_now_and_then() {
        let mut upstream = up();
        let said = told(&mut upstream, 0, "ADDCMD \"a#b\"\nSETINFO a \"1\"\n");
        assert_eq!(
            said,
            [Said::Broken { reason: "unbalanced word due to unescaped # in quotes".into(), count: 1 }]
        );
        assert_eq!(value(&upstream, "a"), Some("1"));
        let said = told(&mut upstream, 0, &"ADDRANGE nosuch 1 2\n".repeat(250));
        let counts: Vec<u64> = said
            .iter()
            .map(|said| match said {
                Said::Broken { count, .. } => *count,
                Said::Judged { .. } => panic!("nothing was tracked"),
            })
            .collect();
        assert_eq!(counts, [10, 100]);
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut upstream = up();
        for n in 0..30_000 {
            told(&mut upstream, 0, &format!("SETINFO v{n} \"x\"\n"));
        }
        assert_eq!(upstream.device().unwrap().variables().len(), nut_proto::device::MAX_VARIABLES);
        for n in 0..30_000 {
            told(&mut upstream, 0, &format!("ADDENUM v{} \"{n}\"\n", n % 100));
        }
        assert_eq!(upstream.choices, MAX_CHOICES_OF_ALL);
        told(&mut upstream, 0, "DELINFO v0\nDELENUM v1 \"1\"\n");
        assert_eq!(upstream.choices, MAX_CHOICES_OF_ALL - 201);
        told(&mut upstream, 0, &"x".repeat(300_000));
        assert!(told(&mut upstream, 0, "\nSETINFO v9 \"after\"\n").len() <= 1);
        assert_eq!(value(&upstream, "v9"), Some("after"));
    }

    #[test]
    fn the_end_of_an_order_is_passed_on() {
        let mut upstream = up();
        assert_eq!(
            told(&mut upstream, 0, "TRACKING abc 3\n"),
            [Said::Judged { id: "abc".into(), judgement: Judgement::Failed }]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble(chunks in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "(SETINFO|ADDENUM|SETFLAGS|SETAUX|ADDRANGE|DELINFO|TRACKING|DATAOK|DUMPDONE) [a-c] (\"[ -~]{0,9}\"|[0-9-]{0,20}) ?[0-9RW]{0,3}\n".prop_map(String::into_bytes),
        ], 0..40)) {
            let mut upstream = up();
            let mut said = Vec::new();
            for (nth, chunk) in chunks.iter().enumerate() {
                let now = at(u64::try_from(nth).unwrap());
                upstream.take(now, chunk, &mut said);
                upstream.judge(now, MAX_AGE);
                upstream.tick(now, MAX_AGE);
                if let Ok(device) = upstream.device() {
                    for variable in device.variables() {
                        prop_assert!(variable.value().as_str().len() <= nut_proto::device::MAX_VALUE);
                    }
                }
                prop_assert!(upstream.next_deadline(MAX_AGE).is_some_and(|next| next > now));
            }
        }

        #[test]
        fn what_is_escaped_properly_is_never_taken_as_raw(text in "[ -~]{0,30}") {
            let mut line = b"SETINFO v ".to_vec();
            nut_proto::words::quote(&mut line, &text);
            prop_assert_eq!(told_raw(&line), None);
        }
    }
}
