//! What a bad line or a confused unit does: silence, noise, wrong parity, `NA` and `SM` instead of values, lost and
//! glued replies.

use std::num::NonZeroU32;
use std::time::Duration;

use nut_proto::Moment;

/// Longest text that can be glued in front of replies, in bytes.
pub const MAX_GLUE: usize = 256;

/// One thing that goes wrong, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// For how long.
    pub extent: Extent,
}

/// What goes wrong. Of each kind at most one is in force; a new one replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The line is dead: nothing said by the host is heard, nothing is sent. Counted in bytes not heard.
    Silence,
    /// Commands are obeyed, but the reply is lost.
    LoseReplies,
    /// Every command is answered `NA` and not obeyed.
    AnswerNa,
    /// Every query is answered `SM`, as some units do while a value is not ready.
    AnswerSm,
    /// Bits flip in one of so many bytes sent, by chance from this seed.
    Garble {
        /// Start of the chain of chance: equal seeds, equal noise.
        seed: u64,
        /// How rarely, in bytes.
        one_in: NonZeroU32,
    },
    /// The unit's end of the line is set to seven bits and this parity, the host's to eight and none: every byte the unit
    /// sends, alerts too, carries its parity as the eighth bit, and of what the host says it hears only the bytes whose
    /// eighth bit, always clear, is by chance their parity. Counted in pieces sent.
    ///
    /// A pseudo-terminal has no frames, so this is done to the bytes; the frames of both settings are equally long, and
    /// on a real line too the only thing that arrives wrong is that bit.
    WrongParity(Parity),
    /// These bytes (alerts, or a `~`) come directly in front of a reply, in one burst. At most [`MAX_GLUE`].
    Glue(Vec<u8>),
    /// The LF behind a reply is missing.
    NoLineFeed,
    /// A reply comes twice in one burst.
    Twice,
}

/// Which count of set bits, the parity bit among them, is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parity {
    /// An even one.
    Even,
    /// An odd one.
    Odd,
}

impl Parity {
    /// The seven lower bits of `byte` with their parity as the eighth.
    #[must_use]
    pub fn of(self, byte: u8) -> u8 {
        let seven = byte & 0x7f;
        let is_odd = !seven.count_ones().is_multiple_of(2);
        if is_odd == (self == Self::Even) { seven | 0x80 } else { seven }
    }
}

/// For how long something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many times.
    Times(u32),
    /// This long from now on.
    For(Duration),
    /// Until faults are cleared.
    UntilCleared,
}

/// The faults in force.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    active: Vec<Active>,
}

#[derive(Clone, Debug)]
struct Active {
    kind: FaultKind,
    until: Option<Moment>,
    left: Option<u32>,
}

impl Faults {
    /// Puts a fault in force.
    pub fn add(&mut self, now: Moment, fault: Fault) {
        let kind = match fault.kind {
            FaultKind::Glue(mut text) => {
                text.truncate(MAX_GLUE);
                FaultKind::Glue(text)
            }
            other => other,
        };
        self.end(&kind);
        let (until, left) = match fault.extent {
            Extent::Times(times) => (None, Some(times)),
            Extent::For(wait) => (Some(now + wait), None),
            Extent::UntilCleared => (None, None),
        };
        self.active.push(Active { kind, until, left });
    }

    /// Ends the fault of this kind.
    pub fn end(&mut self, kind: &FaultKind) {
        self.active.retain(|active| !same_kind(&active.kind, kind));
    }

    /// All is well again.
    pub fn clear(&mut self) {
        self.active.clear();
    }

    /// Whether `kind` strikes now; if it does it has struck once.
    pub fn strikes(&mut self, now: Moment, kind: &FaultKind) -> bool {
        self.strike(now, kind).is_some()
    }

    /// Whether nothing can be sent now; does not count as a strike.
    #[must_use]
    pub fn is_silent(&self, now: Moment) -> bool {
        self.active.iter().any(|active| active.kind == FaultKind::Silence && active.is_in_force(now))
    }

    /// What becomes of a reply on its way; `None` if it is lost.
    pub fn dress(&mut self, now: Moment, mut reply: Vec<u8>) -> Option<Vec<u8>> {
        if self.strikes(now, &FaultKind::LoseReplies) {
            return None;
        }
        if self.strikes(now, &FaultKind::NoLineFeed) {
            reply.pop_if(|last| *last == b'\n');
        }
        if let Some(FaultKind::Glue(mut text)) = self.strike(now, &FaultKind::Glue(Vec::new())) {
            text.append(&mut reply);
            reply = text;
        }
        if self.strikes(now, &FaultKind::Twice) {
            reply.extend_from_within(..);
        }
        self.garble(now, &mut reply);
        Some(reply)
    }

    fn garble(&mut self, now: Moment, reply: &mut [u8]) {
        let example = FaultKind::Garble { seed: 0, one_in: NonZeroU32::MIN };
        let Some(FaultKind::Garble { mut seed, one_in }) = self.strike(now, &example) else {
            return;
        };
        for byte in reply.iter_mut() {
            let [chance @ .., mask] = next_random(&mut seed).to_le_bytes();
            let [a, b, c, d, ..] = chance;
            if u32::from_le_bytes([a, b, c, d]).is_multiple_of(one_in.get()) {
                *byte ^= mask | 1;
            }
        }
        for active in &mut self.active {
            if let FaultKind::Garble { seed: kept, .. } = &mut active.kind {
                *kept = seed;
            }
        }
    }

    /// Whether a byte of the host gets through to the unit.
    #[must_use]
    pub fn lets_in(&self, now: Moment, byte: u8) -> bool {
        self.parity(now).is_none_or(|parity| parity.of(byte) == byte)
    }

    /// What the line makes of bytes that leave the unit now.
    pub fn distort(&mut self, now: Moment, bytes: &mut [u8]) {
        let example = FaultKind::WrongParity(Parity::Even);
        if let Some(FaultKind::WrongParity(parity)) = self.strike(now, &example) {
            for byte in bytes {
                *byte = parity.of(*byte);
            }
        }
    }

    fn parity(&self, now: Moment) -> Option<Parity> {
        self.active.iter().filter(|active| active.is_in_force(now)).find_map(|active| match active.kind {
            FaultKind::WrongParity(parity) => Some(parity),
            _ => None,
        })
    }

    /// The fault of this kind if it strikes now, counted.
    fn strike(&mut self, now: Moment, kind: &FaultKind) -> Option<FaultKind> {
        self.active.retain(|active| active.is_in_force(now));
        let active = self.active.iter_mut().find(|active| same_kind(&active.kind, kind))?;
        if let Some(left) = &mut active.left {
            *left = left.saturating_sub(1);
        }
        Some(active.kind.clone())
    }
}

impl Active {
    fn is_in_force(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| now < until) && self.left != Some(0)
    }
}

fn same_kind(one: &FaultKind, other: &FaultKind) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// The next number of a chain of chance (SplitMix64).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: FaultKind, extent: Extent) -> Faults {
        let mut faults = Faults::default();
        faults.add(Moment::START, Fault { kind, extent });
        faults
    }

    fn dressed(faults: &mut Faults) -> Option<String> {
        let reply = faults.dress(Moment::from_secs(1), b"08\r\n".to_vec())?;
        Some(String::from_utf8_lossy(&reply).into_owned())
    }

    #[test]
    fn each_kind_does_to_a_reply_what_it_says() {
        // (kind, reply)
        for (kind, expected) in [
            (FaultKind::LoseReplies, None),
            (FaultKind::NoLineFeed, Some("08\r")),
            (FaultKind::Glue(b"!%".to_vec()), Some("!%08\r\n")),
            (FaultKind::Twice, Some("08\r\n08\r\n")),
            (FaultKind::AnswerNa, Some("08\r\n")),
        ] {
            let mut faults = with(kind.clone(), Extent::UntilCleared);
            assert_eq!(dressed(&mut faults).as_deref(), expected, "{kind:?}");
            faults.clear();
            assert_eq!(dressed(&mut faults).as_deref(), Some("08\r\n"), "{kind:?} cleared");
        }
    }

    #[test]
    fn a_fault_ends_after_its_count_or_its_time() {
        let mut twice = with(FaultKind::LoseReplies, Extent::Times(2));
        assert_eq!([dressed(&mut twice), dressed(&mut twice)], [None, None]);
        assert!(dressed(&mut twice).is_some());
        let mut timed = with(FaultKind::LoseReplies, Extent::For(Duration::from_millis(1500)));
        assert_eq!(dressed(&mut timed), None);
        assert!(timed.dress(Moment::from_millis(1500), b"x".to_vec()).is_some());
        let silent = with(FaultKind::Silence, Extent::For(Duration::from_secs(1)));
        assert!(silent.is_silent(Moment::START) && !silent.is_silent(Moment::from_secs(1)));
    }

    #[test]
    fn with_the_wrong_parity_the_eighth_bit_of_each_byte_is_the_parity_of_the_others() {
        let sent = |parity| {
            let mut faults = with(FaultKind::WrongParity(parity), Extent::UntilCleared);
            let mut bytes = b"SM08\r\n".to_vec();
            faults.distort(Moment::START, &mut bytes);
            bytes
        };
        assert_eq!(sent(Parity::Even), b"SM0\xb8\x8d\n");
        assert_eq!(sent(Parity::Odd), b"\xd3\xcd\xb08\r\x8a");
        // Exactly one of the two hears each byte of seven bits, and neither one of eight.
        let even = with(FaultKind::WrongParity(Parity::Even), Extent::UntilCleared);
        let odd = with(FaultKind::WrongParity(Parity::Odd), Extent::UntilCleared);
        for byte in 0..=0x7f {
            assert!(even.lets_in(Moment::START, byte) != odd.lets_in(Moment::START, byte), "{byte:#04x}");
            assert!(Faults::default().lets_in(Moment::START, byte));
        }
        assert!(even.lets_in(Moment::START, b'Y') && !even.lets_in(Moment::START, b'Q'));
    }

    #[test]
    fn a_distorted_line_is_whole_again_after_its_count() {
        let mut faults = with(FaultKind::WrongParity(Parity::Odd), Extent::Times(1));
        assert!(!faults.lets_in(Moment::START, b'Y'));
        let mut alerts = [*b"!"; 2];
        alerts.iter_mut().for_each(|alert| faults.distort(Moment::START, alert));
        assert_eq!(alerts, [[0xa1], *b"!"], "an alert is distorted like a reply");
        assert!(faults.lets_in(Moment::START, b'Y'));
    }

    #[test]
    fn noise_is_the_same_for_the_same_seed_and_as_rare_as_asked() {
        let noise = |seed, one_in| {
            let one_in = NonZeroU32::new(one_in).unwrap();
            let mut faults = with(FaultKind::Garble { seed, one_in }, Extent::UntilCleared);
            faults.dress(Moment::START, vec![0; 10_000]).unwrap()
        };
        assert_eq!(noise(1, 10), noise(1, 10));
        assert_ne!(noise(1, 10), noise(2, 10));
        assert!(noise(3, 1).iter().all(|byte| *byte != 0), "one in one is every byte");
        let hit = noise(4, 10).iter().filter(|byte| **byte != 0).count();
        assert!((800..1200).contains(&hit), "{hit} of 10000 at one in 10");
    }
}
