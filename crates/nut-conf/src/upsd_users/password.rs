//! A user's password as `upsd.users` holds it: the word itself, or an argon2id hash of it.
//!
//! A hash is written in the form that libraries and tools of all languages print (PHC string):
//! `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`, with salt and hash in base64 without padding. Here it is read and
//! checked; the calculation is `upsd`'s.

use nut_proto::names::Secret;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What a hash begins with.
pub const ARGON2ID: &str = "$argon2id$";

/// Most memory that a hash may ask for, in KiB: what RFC 9106 (§4) recommends where memory is short, and three times
/// what `upsd --hash-password` uses.
pub const MAX_MEMORY_KIB: u32 = 64 * 1024;

/// Most passes over the memory that a hash may ask for.
pub const MAX_PASSES: u32 = 16;

/// Most lanes that a hash may ask for. They are worked through one after the other.
pub const MAX_LANES: u32 = 16;

/// Most KiB of memory times passes: some 0.3 s of one processor of 2020. While one password is checked others wait.
pub const MAX_WORK: u32 = 4 * MAX_MEMORY_KIB;

/// Least and most bytes of a salt.
pub const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=48;

/// Least and most bytes of a hash.
pub const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// The only version of argon2 there is (1.3).
const VERSION: &str = "v=19";

/// A user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// The word itself.
    Plain(Secret),
    /// What only the right word leads to.
    Hashed(PasswordHash),
}

impl Password {
    /// Takes the value of a `password` line: a hash if it begins with [`ARGON2ID`], else the word itself.
    ///
    /// # Errors
    /// When it begins like a hash and is none that we can check.
    pub fn from_value(value: &str) -> Result<Self, HashError> {
        match value.starts_with(ARGON2ID) {
            true => value.parse().map(Self::Hashed),
            false => Ok(Self::Plain(Secret::new(value))),
        }
    }
}

/// An argon2id hash with all that is needed to calculate it again. Never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Box<[u8]>,
    hash: Box<[u8]>,
}

/// Why a hash cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// A part is missing, or there is one too many.
    #[error("a hash reads $argon2id$v=19$m=NUMBER,t=NUMBER,p=NUMBER$SALT$HASH, this one does not")]
    Shape,
    /// Another version than 19.
    #[error("only version 19 of argon2id is known (v=19)")]
    Version,
    /// One of `m`, `t`, `p`.
    #[error("{name} must be a number from {least} to {most}")]
    Number {
        /// Which.
        name: char,
        /// At least.
        least: u32,
        /// At most.
        most: u32,
    },
    /// `m` times `t`.
    #[error("m times t may be {MAX_WORK} at most: while one password is checked others wait")]
    Work,
    /// The salt.
    #[error("the salt must be {} to {} bytes in base64 without padding", SALT_BYTES.start(), SALT_BYTES.end())]
    Salt,
    /// The hash itself.
    #[error("the hash must be {} to {} bytes in base64 without padding", HASH_BYTES.start(), HASH_BYTES.end())]
    Hash,
}

impl PasswordHash {
    /// A hash with these parts.
    ///
    /// # Errors
    /// When one of them is beyond its limits.
    pub fn new(
        (memory_kib, passes, lanes): (u32, u32, u32),
        salt: Vec<u8>,
        hash: Vec<u8>,
    ) -> Result<Self, HashError> {
        let within = |name, number: u32, least, most| match (least..=most).contains(&number) {
            true => Ok(()),
            false => Err(HashError::Number { name, least, most }),
        };
        within('p', lanes, 1, MAX_LANES)?;
        within('t', passes, 1, MAX_PASSES)?;
        within('m', memory_kib, lanes.saturating_mul(8), MAX_MEMORY_KIB)?;
        if memory_kib.saturating_mul(passes) > MAX_WORK {
            return Err(HashError::Work);
        }
        if !SALT_BYTES.contains(&salt.len()) {
            return Err(HashError::Salt);
        }
        if !HASH_BYTES.contains(&hash.len()) {
            return Err(HashError::Hash);
        }
        Ok(Self { memory_kib, passes, lanes, salt: salt.into(), hash: hash.into() })
    }

    /// `m`: memory, in KiB.
    #[must_use]
    pub fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// `t`: passes over it.
    #[must_use]
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// `p`: lanes it is cut into.
    #[must_use]
    pub fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// What the right password leads to.
    #[must_use]
    pub fn hash(&self) -> &[u8] {
        &self.hash
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let parts: Vec<&str> = text.strip_prefix(ARGON2ID).ok_or(HashError::Shape)?.split('$').collect();
        let [version, costs, salt, hash] = parts[..] else { return Err(HashError::Shape) };
        if version != VERSION {
            return Err(HashError::Version);
        }
        let costs: Vec<&str> = costs.split(',').collect();
        let [memory, passes, lanes] = costs[..] else { return Err(HashError::Shape) };
        let number = |text: &str, name, most| {
            let digits = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('='));
            let digits = digits.ok_or(HashError::Shape)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| is_number);
            number.ok_or(HashError::Number { name, least: 1, most })
        };
        let costs = (
            number(memory, 'm', MAX_MEMORY_KIB)?,
            number(passes, 't', MAX_PASSES)?,
            number(lanes, 'p', MAX_LANES)?,
        );
        let salt = decode(salt).ok_or(HashError::Salt)?;
        let hash = decode(hash).ok_or(HashError::Hash)?;
        Self::new(costs, salt, hash)
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory_kib, passes, lanes, salt, hash } = self;
        let (salt, hash) = (encode(salt), encode(hash));
        write!(f, "{ARGON2ID}{VERSION}$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// The digits of base64 (RFC 4648 §4).
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 without padding.
fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, nth| bits << 8 | usize::from(group.get(nth).copied().unwrap_or(0)));
        for shift in [18, 12, 6, 0].into_iter().take(group.len() + 1) {
            text.push(DIGITS.get(bits >> shift & 0x3f).copied().map_or('A', char::from));
        }
    }
    text
}

/// Reads base64 without padding; nothing if it is none, or if bits are set that belong to no byte.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0u32, 0u32);
    for digit in text.bytes() {
        let value = DIGITS.iter().position(|one| *one == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    (bits == 0 && count < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the reference implementation's tests.
    const REFERENCE: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[test]
    fn what_the_reference_prints_is_read() {
        let hash: PasswordHash = REFERENCE.parse().unwrap();
        assert_eq!((hash.memory_kib(), hash.passes(), hash.lanes()), (65536, 2, 1));
        assert_eq!((hash.salt(), hash.hash().len()), (&b"somesalt"[..], 32));
        assert_eq!(hash.hash().first_chunk(), Some(&[0x09, 0x31, 0x61, 0x15]));
        assert_eq!(hash.to_string(), REFERENCE);
        assert_eq!(Password::from_value(REFERENCE), Ok(Password::Hashed(hash.clone())));
        assert_eq!(format!("{hash:?}"), "****");
    }

    #[test]
    fn only_a_whole_hash_is_one() {
        let with = |from: &str, to: &str| {
            assert!(REFERENCE.contains(from), "{from}");
            REFERENCE.replacen(from, to, 1).parse::<PasswordHash>()
        };
        let number = |name, least, most| Err(HashError::Number { name, least, most });
        for (from, to, expected) in [
            ("v=19$", "", Err(HashError::Shape)),
            ("v=19", "v=16", Err(HashError::Version)),
            ("argon2id", "argon2i", Err(HashError::Shape)),
            ("$CTFh", "$x$CTFh", Err(HashError::Shape)),
            ("m=65536,t=2", "t=2,m=65536", Err(HashError::Shape)),
            (",p=1", ",p=1,keyid=AAAA", Err(HashError::Shape)),
            ("m=65536", "m=65537", number('m', 8, MAX_MEMORY_KIB)),
            ("m=65536", "m=7", number('m', 8, MAX_MEMORY_KIB)),
            ("m=65536", "m=+65536", number('m', 1, MAX_MEMORY_KIB)),
            ("m=65536", "m=99999999999", number('m', 1, MAX_MEMORY_KIB)),
            ("m=65536", "m=", number('m', 1, MAX_MEMORY_KIB)),
            ("t=2", "t=0", number('t', 1, MAX_PASSES)),
            ("t=2", "t=17", number('t', 1, MAX_PASSES)),
            ("t=2", "t=5", Err(HashError::Work)),
            ("p=1", "p=17", number('p', 1, MAX_LANES)),
            ("c29tZXNhbHQ", "c29tZXNhbH", Err(HashError::Salt)),
            ("c29tZXNhbHQ", "c29tZXNhbHQ=", Err(HashError::Salt)),
            ("c29tZXNhbHQ", "", Err(HashError::Salt)),
            ("RPPc", "RPPd", Err(HashError::Hash)),
            ("RPPc", "RPP!", Err(HashError::Hash)),
        ] {
            assert_eq!(with(from, to), expected, "{from} -> {to}");
        }
        let longest = format!("{ARGON2ID}v=19$m=8,t=1,p=1${}${}", "A".repeat(64), "A".repeat(86));
        assert_eq!(longest.parse::<PasswordHash>().map(|hash| hash.to_string()), Ok(longest));
    }

    #[test]
    fn all_else_is_a_password() {
        for value in
            ["", "x", "$argon2id", "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA", " $argon2id$", "$6$x$y"]
        {
            assert_eq!(Password::from_value(value), Ok(Password::Plain(Secret::new(value))), "{value}");
        }
        assert!(Password::from_value(ARGON2ID).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(salt in prop::collection::vec(any::<u8>(), 8..=48), hash in prop::collection::vec(any::<u8>(), 16..=64), passes in 1u32..=4, lanes in 1u32..=16) {
            let hash = PasswordHash::new((1024, passes, lanes), salt, hash).unwrap();
            let text = hash.to_string();
            prop_assert!(text.len() <= nut_proto::words::MAX_WORD);
            prop_assert_eq!(text.parse(), Ok(hash));
        }

        #[test]
        fn no_text_makes_it_stumble(text in "\\$argon2id\\$(v=19|v=)?[$mtp=,0-9A-Za-z+/]{0,80}") {
            let _ = Password::from_value(&text);
        }
    }
}
