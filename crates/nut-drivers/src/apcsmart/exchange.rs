//! One exchange with the unit: bytes with their pauses, then at most one reply.

use super::protocol::{Decoder, Expecting, Input};
use super::timing::{BYTE_GAP, DRAIN_MOST, DRAIN_QUIET, PEEK, REPEAT_GAP, SMART, TRICKLE};
use crate::driver::Action;
use nut_proto::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Enters smart mode; harmless when in it.
pub(super) const ENTER_SMART: u8 = b'Y';

/// The reply to that, and of a unit that is not ready to answer.
pub(super) const SMART_MODE: &[u8] = b"SM";

/// Ends a half-entered command; itself none.
pub(super) const ESC: u8 = 0x1b;

/// What to send, and what to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// Bytes at once, then one reply.
    Query {
        /// One byte, or the two of a query with prefix.
        bytes: Vec<u8>,
        /// How the reply is read.
        expecting: Expecting,
        /// How long it may take.
        patience: Duration,
    },
    /// `Y`, and all replies skipped until it is `SM`: so a late reply to an older question does no harm.
    Smart,
    /// A first byte, a peek for a refusal, the others one by one, then a reply. Nothing comes between these bytes.
    Long {
        /// The first byte.
        first: u8,
        /// The others.
        rest: Vec<u8>,
        /// How the reply is read.
        expecting: Expecting,
        /// How long it may take after the last byte.
        patience: Duration,
    },
    /// A byte, the pause a unit insists on, the byte again. Nothing comes between the two.
    Twice {
        /// The byte.
        byte: u8,
        /// How long to wait for a reply after that; `None`: not at all.
        patience: Option<Duration>,
    },
    /// Nothing, for so long.
    Pause(Duration),
}

impl Ask {
    /// One byte and a plain reply.
    pub(super) fn value(byte: u8, patience: Duration) -> Self {
        Self::Query { bytes: vec![byte], expecting: Expecting::Value, patience }
    }

    /// `ESC`, and whatever the unit says to it.
    pub(super) fn escape() -> Self {
        Self::value(ESC, SMART)
    }
}

/// What a task wants: one more exchange, or nothing because it has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<E> {
    /// Do this next.
    Ask(Ask),
    /// It has ended so.
    End(E),
}

impl<E> Turn<E> {
    /// The same, with another word for the end.
    pub(super) fn map<T>(self, word: impl FnOnce(E) -> T) -> Turn<T> {
        match self {
            Self::Ask(ask) => Turn::Ask(ask),
            Self::End(end) => Turn::End(word(end)),
        }
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// A reply, without its end.
    Reply(Vec<u8>),
    /// A `*` in place of `OK`.
    Star,
    /// Nothing.
    Silence,
    /// Something without an end.
    Garbled,
    /// A reply before all bytes were out: the rest was not sent.
    Refused(Vec<u8>),
    /// The pause is over.
    Passed,
}

/// An exchange on its way.
#[derive(Debug)]
pub(super) struct Exchange {
    kind: Kind,
    stage: Stage,
    /// When something must happen if nothing comes.
    deadline: Moment,
    /// The deadline is never put off beyond this.
    latest: Moment,
}

#[derive(Debug)]
enum Kind {
    Query { patience: Duration },
    Smart,
    Long { rest: VecDeque<u8>, patience: Duration },
    Twice { byte: u8, patience: Option<Duration> },
    Pause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first byte is out; a refusal may come.
    Peeking,
    /// Further bytes leave one by one.
    Sending,
    /// All bytes are out.
    Waiting,
    /// A `*` came; whatever belongs to it is let pass.
    Draining,
}

impl Exchange {
    /// Sends the first bytes.
    pub(super) fn begin(ask: Ask, now: Moment, decoder: &mut Decoder, out: &mut Vec<Action>) -> Self {
        let (kind, bytes, expecting, stage, wait) = match ask {
            Ask::Query { bytes, expecting, patience } => {
                (Kind::Query { patience }, bytes, Some(expecting), Stage::Waiting, patience)
            }
            Ask::Smart => (Kind::Smart, vec![ENTER_SMART], Some(Expecting::Value), Stage::Waiting, SMART),
            Ask::Long { first, rest, expecting, patience } => {
                let kind = Kind::Long { rest: rest.into(), patience };
                (kind, vec![first], Some(expecting), Stage::Peeking, PEEK)
            }
            Ask::Twice { byte, patience } => {
                let kind = Kind::Twice { byte, patience };
                (kind, vec![byte], Some(Expecting::Confirmation), Stage::Peeking, PEEK + REPEAT_GAP)
            }
            Ask::Pause(wait) => (Kind::Pause, Vec::new(), None, Stage::Waiting, wait),
        };
        match expecting {
            Some(expecting) => decoder.expect(expecting),
            None => decoder.rest(),
        }
        if !bytes.is_empty() {
            out.push(Action::Send(bytes));
        }
        let deadline = now.after(wait);
        Self { kind, stage, deadline, latest: deadline.after(TRICKLE) }
    }

    /// When [`Exchange::tick`] is due.
    pub(super) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Whether it may be dropped without harm: all its bytes are out, and they ask for nothing but an answer.
    pub(super) fn may_be_dropped(&self) -> bool {
        matches!(self.kind, Kind::Query { .. } | Kind::Smart | Kind::Pause)
    }

    /// Takes what the unit said.
    pub(super) fn take(&mut self, now: Moment, input: Input, decoder: &mut Decoder) -> Option<Answer> {
        match (input, self.stage) {
            (Input::Reply(text), Stage::Waiting) => match self.kind {
                Kind::Smart if text != SMART_MODE => {
                    decoder.expect(Expecting::Value);
                    None
                }
                Kind::Pause => None,
                Kind::Smart | Kind::Query { .. } | Kind::Long { .. } | Kind::Twice { .. } => {
                    Some(Answer::Reply(text))
                }
            },
            (Input::Reply(text), Stage::Peeking) => Some(Answer::Refused(text)),
            // A unit that takes fewer digits has what it needs; one that refuses must not get the rest as commands.
            (Input::Reply(text), Stage::Sending) => Some(Answer::Reply(text)),
            (Input::Star, Stage::Waiting | Stage::Sending) => {
                self.stage = Stage::Draining;
                self.deadline = now.after(DRAIN_QUIET);
                self.latest = now.after(DRAIN_MOST);
                decoder.rest();
                None
            }
            (Input::Overlong, Stage::Waiting) => match self.kind {
                Kind::Smart => {
                    decoder.expect(Expecting::Value);
                    None
                }
                Kind::Query { .. } | Kind::Long { .. } | Kind::Twice { .. } | Kind::Pause => {
                    Some(Answer::Garbled)
                }
            },
            (Input::Overlong, Stage::Peeking | Stage::Sending) => {
                decoder.expect(Expecting::Confirmation);
                None
            }
            (Input::Alert(_) | Input::PerhapsAlert, _)
            | (Input::Star, Stage::Peeking | Stage::Draining)
            | (Input::Reply(_) | Input::Overlong, Stage::Draining) => None,
        }
    }

    /// Bytes came: a reply under way gets more time, within bounds.
    pub(super) fn heard(&mut self, now: Moment, decoder: &Decoder) {
        let wait = match (self.stage, &self.kind) {
            (Stage::Waiting, Kind::Query { patience } | Kind::Long { patience, .. })
                if decoder.is_midway() =>
            {
                *patience
            }
            (Stage::Draining, _) => DRAIN_QUIET,
            (Stage::Waiting | Stage::Peeking | Stage::Sending, _) => return,
        };
        self.deadline = now.after(wait).min(self.latest);
    }

    /// Does what is due, if the deadline has come.
    pub(super) fn tick(
        &mut self,
        now: Moment,
        decoder: &mut Decoder,
        out: &mut Vec<Action>,
    ) -> Option<Answer> {
        if now < self.deadline {
            return None;
        }
        match (self.stage, &mut self.kind) {
            (Stage::Draining, _) => Some(Answer::Star),
            (Stage::Waiting, Kind::Pause) => Some(Answer::Passed),
            (Stage::Waiting, _) => {
                let answer = if decoder.is_midway() { Answer::Garbled } else { Answer::Silence };
                decoder.rest();
                Some(answer)
            }
            (Stage::Peeking | Stage::Sending, Kind::Long { rest, patience }) => {
                if let Some(byte) = rest.pop_front() {
                    out.push(Action::Send(vec![byte]));
                }
                self.deadline = now.after(BYTE_GAP);
                self.stage = Stage::Sending;
                if rest.is_empty() {
                    self.stage = Stage::Waiting;
                    self.deadline = self.deadline.after(*patience);
                    self.latest = self.deadline.after(TRICKLE);
                }
                None
            }
            (Stage::Peeking, Kind::Twice { byte, patience }) => {
                out.push(Action::Send(vec![*byte]));
                let Some(patience) = *patience else {
                    decoder.rest();
                    return Some(Answer::Silence);
                };
                decoder.expect(Expecting::Confirmation);
                self.stage = Stage::Waiting;
                self.deadline = now.after(patience);
                self.latest = self.deadline.after(TRICKLE);
                None
            }
            // These have no bytes left to send.
            (Stage::Peeking | Stage::Sending, _) => Some(Answer::Garbled),
        }
    }
}

/// Getting a unit into smart mode: `Y`, and `ESC` between the tries to end a half-entered command.
#[derive(Debug)]
pub(super) struct SmartEntry {
    tries_left: u8,
    escaping: bool,
}

/// How far that is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Do this next.
    Ask(Ask),
    /// The unit is in smart mode.
    Smart,
    /// It did not answer any of the tries.
    Dumb,
}

impl SmartEntry {
    /// So many tries, at least one.
    pub(super) fn new(tries: u8) -> Self {
        Self { tries_left: tries.saturating_sub(1), escaping: false }
    }

    /// Takes the answer to what was asked; `None` at the beginning.
    pub(super) fn next(&mut self, answer: Option<Answer>) -> Entry {
        match answer {
            None => Entry::Ask(Ask::Smart),
            Some(Answer::Reply(text)) if !self.escaping && text == SMART_MODE => Entry::Smart,
            Some(_) if !self.escaping => {
                self.escaping = true;
                Entry::Ask(Ask::escape())
            }
            Some(_) => {
                self.escaping = false;
                match self.tries_left.checked_sub(1) {
                    None => Entry::Dumb,
                    Some(left) => {
                        self.tries_left = left;
                        Entry::Ask(Ask::Smart)
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apcsmart::timing::{CONFIRMATION, QUERY};

    /// An exchange with its line: what was sent and when, in milliseconds.
    struct Bench {
        decoder: Decoder,
        exchange: Exchange,
        sent: Vec<(u64, u8)>,
        now: u64,
        answer: Option<(u64, Answer)>,
    }

    impl Bench {
        fn begin(ask: Ask) -> Self {
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            let exchange = Exchange::begin(ask, Moment::START, &mut decoder, &mut out);
            let mut bench = Self { decoder, exchange, sent: Vec::new(), now: 0, answer: None };
            bench.note(out);
            bench
        }

        fn note(&mut self, out: Vec<Action>) {
            for action in out {
                let Action::Send(bytes) = action else { panic!("{action:?}") };
                self.sent.extend(bytes.into_iter().map(|byte| (self.now, byte)));
            }
        }

        fn run_until(&mut self, end: u64) {
            while self.answer.is_none() && self.exchange.deadline() <= Moment::from_millis(end) {
                self.now = u64::try_from(self.exchange.deadline().since_start().as_millis()).unwrap();
                let mut out = Vec::new();
                let now = Moment::from_millis(self.now);
                let answer = self.exchange.tick(now, &mut self.decoder, &mut out);
                self.note(out);
                self.answer = answer.map(|answer| (self.now, answer));
            }
            self.now = end;
        }

        fn hear(&mut self, at: u64, bytes: &[u8]) {
            self.run_until(at);
            let now = Moment::from_millis(at);
            for input in self.decoder.push(bytes) {
                if self.answer.is_none() {
                    let answer = self.exchange.take(now, input, &mut self.decoder);
                    self.answer = answer.map(|answer| (at, answer));
                }
            }
            self.exchange.heard(now, &self.decoder);
        }

        fn end(&mut self) -> (u64, Answer) {
            self.run_until(60_000);
            self.answer.clone().expect("every exchange ends")
        }
    }

    fn hibernate() -> Ask {
        let expecting = Expecting::Confirmation;
        Ask::Long { first: b'@', rest: b"007".to_vec(), expecting, patience: CONFIRMATION }
    }

    fn twice(byte: u8) -> Ask {
        Ask::Twice { byte, patience: Some(CONFIRMATION) }
    }

    #[test]
    fn a_query_is_answered_or_not() {
        let mut bench = Bench::begin(Ask::value(b'Q', QUERY));
        bench.hear(60, b"08\r\n");
        assert_eq!(bench.end(), (60, Answer::Reply(b"08".to_vec())));
        assert_eq!(Bench::begin(Ask::value(b'Q', QUERY)).end(), (3_000, Answer::Silence));
        let mut bench = Bench::begin(Ask::value(b'Q', QUERY));
        bench.hear(1_000, b"0");
        assert_eq!(bench.end(), (4_000, Answer::Garbled));
    }

    #[test]
    fn a_trickle_of_bytes_does_not_hold_the_driver_for_ever() {
        let mut bench = Bench::begin(Ask::value(b'Q', QUERY));
        for second in 1..20 {
            bench.hear(second * 2_000, b"0");
        }
        assert_eq!(bench.end(), (8_000, Answer::Garbled));
    }

    #[test]
    fn the_bytes_of_a_long_command_keep_their_distance() {
        let mut bench = Bench::begin(hibernate());
        bench.hear(380, b"OK\r\n");
        assert_eq!(bench.end(), (380, Answer::Reply(b"OK".to_vec())));
        assert_eq!(bench.sent, [(0, b'@'), (200, b'0'), (250, b'0'), (300, b'7')]);
        assert_eq!(Bench::begin(hibernate()).end(), (1_850, Answer::Silence));
    }

    #[test]
    fn a_refused_long_command_is_not_finished() {
        let mut bench = Bench::begin(hibernate());
        bench.hear(50, b"NA\r\n");
        assert_eq!(bench.end(), (50, Answer::Refused(b"NA".to_vec())));
        assert_eq!(bench.sent, [(0, b'@')]);
        let mut bench = Bench::begin(hibernate());
        bench.hear(220, b"NA\r\n");
        assert_eq!(bench.end(), (220, Answer::Reply(b"NA".to_vec())));
        assert_eq!(bench.sent, [(0, b'@'), (200, b'0')]);
    }

    #[test]
    fn a_repeated_byte_waits_long_enough() {
        let mut bench = Bench::begin(twice(b'K'));
        bench.hear(1_570, b"OK\r\n");
        assert_eq!(bench.end(), (1_570, Answer::Reply(b"OK".to_vec())));
        assert_eq!(bench.sent, [(0, b'K'), (1_520, b'K')]);
        assert_eq!(Bench::begin(twice(b'Z')).end(), (3_020, Answer::Silence));
        let mut bench = Bench::begin(Ask::Twice { byte: 0x0e, patience: None });
        assert_eq!(bench.end(), (1_520, Answer::Silence));
        assert_eq!(bench.sent, [(0, 0x0e), (1_520, 0x0e)]);
    }

    #[test]
    fn a_byte_that_is_refused_is_not_repeated() {
        let mut bench = Bench::begin(twice(b'Z'));
        bench.hear(900, b"!NA\r\n");
        assert_eq!(bench.end(), (900, Answer::Refused(b"NA".to_vec())));
        assert_eq!(bench.sent, [(0, b'Z')]);
    }

    #[test]
    fn what_follows_a_star_is_let_pass() {
        let mut bench = Bench::begin(Ask::Query {
            bytes: vec![b'S'],
            expecting: Expecting::Confirmation,
            patience: CONFIRMATION,
        });
        bench.hear(40, b"*");
        bench.hear(140, b"\r\n");
        assert_eq!(bench.end(), (340, Answer::Star));
        let mut bench = Bench::begin(twice(b'K'));
        bench.hear(1_600, b"*");
        for ms in (1_700..4_000).step_by(100) {
            bench.hear(ms, b"x");
        }
        assert_eq!(bench.end(), (2_600, Answer::Star));
    }

    #[test]
    fn late_replies_are_skipped_on_the_way_into_smart_mode() {
        let mut bench = Bench::begin(Ask::Smart);
        bench.hear(40, b"08\r\n");
        bench.hear(90, b"100.0\r\nSM\r\n");
        bench.hear(120, b"SM\r\n");
        assert_eq!(bench.end(), (120, Answer::Reply(b"SM".to_vec())));
        let mut bench = Bench::begin(Ask::Smart);
        bench.hear(1_499, b"08\r\n");
        assert_eq!(bench.end(), (1_500, Answer::Silence));
    }

    #[test]
    fn smart_mode_is_tried_as_often_as_told() {
        let mut entry = SmartEntry::new(2);
        assert_eq!(entry.next(None), Entry::Ask(Ask::Smart));
        assert_eq!(entry.next(Some(Answer::Silence)), Entry::Ask(Ask::escape()));
        // SM is no answer to ESC.
        assert_eq!(entry.next(Some(Answer::Reply(b"SM".to_vec()))), Entry::Ask(Ask::Smart));
        assert_eq!(entry.next(Some(Answer::Silence)), Entry::Ask(Ask::escape()));
        assert_eq!(entry.next(Some(Answer::Silence)), Entry::Dumb);
        let mut entry = SmartEntry::new(1);
        entry.next(None);
        assert_eq!(entry.next(Some(Answer::Reply(b"SM".to_vec()))), Entry::Smart);
    }
}
