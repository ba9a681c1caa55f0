//! Orders whose end a client may ask for (`SET TRACKING`, net-protocol §7.3): ids nobody can guess, and what became
//! of them.

use crate::events::UpsId;
use nut_proto::Moment;
use nut_proto::driver::Judgement;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// Most orders that are remembered; the oldest are forgotten first.
pub const MAX_ORDERS: usize = 10_000;

/// Random bytes kept in stock; more are asked for below half of it.
pub const STOCK: usize = 1_024;

/// Bytes of one id.
const ID: usize = 16;

/// The id of an order: a UUID of version 4. Shown in upper case, as NUT shows it; read in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OrderId(u128);

impl OrderId {
    /// The id that these random bytes make.
    #[must_use]
    pub fn from_random(bytes: [u8; ID]) -> Self {
        let random = u128::from_be_bytes(bytes);
        // Version 4 (random), variant 1 (RFC 9562 §5.4).
        let random = random & !(0xf << 76) | 0x4 << 76;
        Self(random & !(0b11 << 62) | 0b10 << 62)
    }

    /// Reads `8-4-4-4-12` hexadecimal digits.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let lengths = text.split('-').map(str::len);
        let digits: String = text.split('-').collect();
        let is_id = lengths.eq([8, 4, 4, 4, 12]) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |from: u32, bits: u32| self.0 >> from & ((1 << bits) - 1);
        let [a, b, c, d, e] = [part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48)];
        write!(f, "{a:08X}-{b:04X}-{c:04X}-{d:04X}-{e:012X}")
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The orders on their way, and those that have ended not too long ago.
#[derive(Debug, Default)]
pub struct Tracking {
    orders: HashMap<OrderId, Order>,
    by_age: VecDeque<(Moment, OrderId)>,
    stock: Vec<u8>,
}

#[derive(Debug)]
struct Order {
    since: Moment,
    ups: UpsId,
    end: Option<Judgement>,
}

/// What is known of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or no more.
    Nothing,
    /// It was given to the driver, which has not answered.
    Pending,
    /// It has ended.
    Ended(Judgement),
}

impl Tracking {
    /// Whether an id can be made.
    #[must_use]
    pub fn can_begin(&self) -> bool {
        self.stock.len() >= ID
    }

    /// How many random bytes are wanted; none most of the time.
    #[must_use]
    pub fn wants_random(&self) -> usize {
        if self.stock.len() >= STOCK / 2 { 0 } else { STOCK - self.stock.len() }
    }

    /// Takes random bytes into stock.
    pub fn add_random(&mut self, bytes: &[u8]) {
        let room = STOCK.saturating_sub(self.stock.len());
        self.stock.extend(bytes.iter().take(room));
    }

    /// An order begins; those older than `delay` are forgotten. Nothing if no id can be made.
    pub fn begin(&mut self, now: Moment, delay: Duration, ups: UpsId) -> Option<OrderId> {
        let at = self.stock.len().checked_sub(ID)?;
        let bytes = self.stock.split_off(at);
        let id = OrderId::from_random(bytes.try_into().ok()?);
        while let Some((since, oldest)) = self.by_age.front().copied() {
            if now.since(since) <= delay && self.by_age.len() < MAX_ORDERS {
                break;
            }
            self.by_age.pop_front();
            self.orders.remove(&oldest);
        }
        self.by_age.push_back((now, id));
        self.orders.insert(id, Order { since: now, ups, end: None });
        Some(id)
    }

    /// The order could not even be given to the driver.
    pub fn cancel(&mut self, id: OrderId) {
        // Its place in the queue is given back in its time.
        self.orders.remove(&id);
    }

    /// A driver says how an order ended; says which, if the order was one of that driver's.
    pub fn ended(&mut self, ups: UpsId, id: &str, judgement: Judgement) -> Option<OrderId> {
        let id = OrderId::from_text(id)?;
        let order = self.orders.get_mut(&id).filter(|order| order.ups == ups)?;
        // -1 is NUT's number for "not yet".
        order.end = (judgement != Judgement::Other(-1)).then_some(judgement);
        Some(id)
    }

    /// What is known of an order that began no longer than `delay` ago.
    #[must_use]
    pub fn ask(&self, now: Moment, delay: Duration, id: &str) -> Known {
        let order = OrderId::from_text(id).and_then(|id| self.orders.get(&id));
        match order.filter(|order| now.since(order.since) <= delay) {
            None => Known::Nothing,
            Some(Order { end: None, .. }) => Known::Pending,
            Some(Order { end: Some(judgement), .. }) => Known::Ended(*judgement),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn two_upses() -> (UpsId, UpsId) {
        let mut slab = Slab::default();
        (UpsId(slab.insert(())), UpsId(slab.insert(())))
    }

    fn stocked() -> Tracking {
        let mut tracking = Tracking::default();
        tracking.add_random(&(0..=255).cycle().take(STOCK).collect::<Vec<u8>>());
        tracking
    }

    #[test]
    fn an_order_from_its_beginning_to_its_end() {
        let (ups, other) = two_upses();
        let mut tracking = stocked();
        let now = Moment::from_secs(10);
        let id = tracking.begin(now, HOUR, ups).unwrap();
        let text = id.to_string();
        assert_eq!(tracking.ask(now, HOUR, &text), Known::Pending);
        assert_eq!(tracking.ended(other, &text, Judgement::Handled), None, "it is not that driver's");
        assert_eq!(tracking.ask(now, HOUR, &text), Known::Pending);
        assert_eq!(tracking.ended(ups, &text.to_lowercase(), Judgement::Failed), Some(id));
        assert_eq!(tracking.ask(now, HOUR, &text.to_lowercase()), Known::Ended(Judgement::Failed));
        assert_eq!(tracking.ask(now, HOUR, &text), Known::Ended(Judgement::Failed), "asking uses nothing up");
        tracking.ended(ups, &text, Judgement::Other(-1));
        assert_eq!(tracking.ask(now, HOUR, &text), Known::Pending);
        assert_eq!(tracking.ask(Moment::from_secs(3610), HOUR, &text), Known::Pending);
        assert_eq!(tracking.ask(Moment::from_secs(3611), HOUR, &text), Known::Nothing);
        tracking.cancel(id);
        assert_eq!(tracking.ask(now, HOUR, &text), Known::Nothing);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (ups, _) = two_upses();
        let mut tracking = stocked();
        let mut seed = 0u64;
        let mut begin = |tracking: &mut Tracking, now| {
            seed += 1;
            let mut bytes = seed.to_be_bytes().to_vec();
            bytes.extend_from_slice(&seed.to_le_bytes());
            tracking.stock = bytes;
            tracking.begin(now, HOUR, ups).unwrap()
        };
        let first = begin(&mut tracking, Moment::from_secs(0));
        for _ in 0..MAX_ORDERS {
            begin(&mut tracking, Moment::from_secs(1));
        }
        assert_eq!((tracking.orders.len(), tracking.by_age.len()), (MAX_ORDERS, MAX_ORDERS));
        assert!(!tracking.orders.contains_key(&first));
        begin(&mut tracking, Moment::from_secs(5000));
        assert_eq!((tracking.orders.len(), tracking.by_age.len()), (1, 1));
    }

    #[test]
    fn without_random_bytes_there_is_no_id() {
        let (ups, _) = two_upses();
        let mut tracking = Tracking::default();
        assert!(!tracking.can_begin());
        assert_eq!(tracking.wants_random(), STOCK);
        assert_eq!(tracking.begin(Moment::START, HOUR, ups), None);
        tracking.add_random(&[7; 16]);
        assert!(tracking.begin(Moment::START, HOUR, ups).is_some());
        tracking.add_random(&[7; 5000]);
        assert_eq!((tracking.stock.len(), tracking.wants_random()), (STOCK, 0));
    }

    #[test]
    fn ids_are_uuids_of_version_4_in_upper_case() {
        assert_eq!(OrderId::from_random([0xff; 16]).to_string(), "FFFFFFFF-FFFF-4FFF-BFFF-FFFFFFFFFFFF");
        assert_eq!(OrderId::from_random([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
        for text in ["", "x", "00000000-0000-4000-8000-00000000000", "00000000-0000-4000-80000-0000000000"] {
            assert_eq!(OrderId::from_text(text), None, "{text}");
        }
        assert_eq!(OrderId::from_text("+0000000-0000-4000-8000-000000000000"), None);
    }

    proptest! {
        #[test]
        fn an_id_shown_is_an_id_read(bytes in any::<[u8; 16]>()) {
            let id = OrderId::from_random(bytes);
            prop_assert_eq!(OrderId::from_text(&id.to_string()), Some(id));
            prop_assert_eq!(OrderId::from_text(&id.to_string().to_lowercase()), Some(id));
        }

        #[test]
        fn no_text_makes_it_stumble(text in "[0-9a-fA-F-]{0,40}|.{0,40}") {
            let _ = OrderId::from_text(&text);
        }
    }
}
