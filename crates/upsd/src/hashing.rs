//! argon2id: whether a password is the one that a hash was made of, and hashes for new ones.
//!
//! Pure, but slow on purpose: some 30 ms and 19 MiB for each password. Never to be called where others wait.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use nut_conf::upsd_users::{HashError, PasswordHash};
use std::collections::TryReserveError;
use thiserror::Error;

/// Memory for new hashes, in KiB: what OWASP's cheat sheet on password storage asks for, with two passes and one lane.
pub const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over it.
pub const PASSES: u32 = 2;

/// Bytes of a new salt.
pub const SALT: usize = 16;

/// Bytes of a new hash.
const HASH: usize = 32;

/// Least memory that is asked of the system at a time, in blocks of 1 KiB. Only what is used of it is ever touched.
///
/// glibc gives more than 32 MiB out as a mapping of its own, which the system has back at once. Less would stay with
/// the process, which is small without it, for good.
const OWN_MAPPING: usize = 33 * 1024;

/// What came of checking a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is the one.
    Right,
    /// It is another.
    Wrong,
    /// It could not be checked: there was no memory, or no thread to do it in.
    Unable,
}

/// Why a password cannot be hashed.
#[derive(Debug, Error)]
pub enum HashingError {
    /// No memory.
    #[error("there are no {MEMORY_KIB} KiB of memory for it")]
    Memory(#[from] TryReserveError),
    /// Costs that argon2 does not know.
    #[error("argon2 refuses: {0}")]
    Argon2(argon2::Error),
    /// Costs that we do not take from a file.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Whether this is the password that the hash was made of.
#[must_use]
pub fn verify(password: &str, hash: &PasswordHash) -> Finding {
    let costs = (hash.memory_kib(), hash.passes(), hash.lanes());
    let Ok(seen) = calculate(password, costs, hash.salt(), hash.hash().len()) else { return Finding::Unable };
    // As long for a near miss as for a far one.
    let difference =
        seen.iter().zip(hash.hash()).fold(0, |seen, (a, b)| std::hint::black_box(seen | (a ^ b)));
    if difference == 0 { Finding::Right } else { Finding::Wrong }
}

/// The hash of a new password, with a salt that nobody has used before.
///
/// # Errors
/// When there is no memory.
pub fn hash(password: &str, salt: [u8; SALT]) -> Result<PasswordHash, HashingError> {
    let costs = (MEMORY_KIB, PASSES, 1);
    let hash = calculate(password, costs, &salt, HASH)?;
    Ok(PasswordHash::new(costs, salt.to_vec(), hash)?)
}

/// A hash that is calculated in no time: for tests of what stands around it.
#[cfg(test)]
pub(crate) fn cheap(password: &str) -> PasswordHash {
    let (costs, salt) = ((8, 1, 1), b"somesalt");
    PasswordHash::new(costs, salt.to_vec(), calculate(password, costs, salt, HASH).unwrap()).unwrap()
}

fn calculate(
    password: &str,
    (memory_kib, passes, lanes): (u32, u32, u32),
    salt: &[u8],
    length: usize,
) -> Result<Vec<u8>, HashingError> {
    let params = Params::new(memory_kib, passes, lanes, Some(length)).map_err(HashingError::Argon2)?;
    let count = params.block_count();
    let mut memory: Vec<Block> = Vec::new();
    memory.try_reserve_exact(count.max(OWN_MAPPING))?;
    memory.resize(count, Block::new());
    let mut hash = vec![0; length];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, &mut memory)
        .map_err(HashingError::Argon2)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_of_others_are_understood() {
        for (password, hash) in [
            // The reference implementation's tests.
            (
                "password",
                "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            ),
            (
                "password",
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            ),
            // Python's argon2-cffi, with four lanes and a hash of 24 bytes.
            (
                "right one",
                "$argon2id$v=19$m=1024,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$K//ETzlEOjLjezNF6rGBScKHRQwkqQ8H",
            ),
        ] {
            let hash: PasswordHash = hash.parse().unwrap();
            assert_eq!(verify(password, &hash), Finding::Right, "{hash}");
            assert_eq!(verify("Right one", &hash), Finding::Wrong, "{hash}");
            assert_eq!(verify("", &hash), Finding::Wrong, "{hash}");
        }
    }

    #[test]
    fn a_new_hash_fits_its_password_and_no_other() {
        let made = hash("two words", [7; SALT]).unwrap();
        assert_eq!(verify("two words", &made), Finding::Right);
        assert_eq!(verify("two  words", &made), Finding::Wrong);
        let other = hash("two words", [8; SALT]).unwrap();
        assert_ne!(made.hash(), other.hash());
        assert!(made.to_string().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
    }
}
