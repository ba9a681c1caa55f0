//! A script in bytes: parts, each with a letter that says what it is.

/// Parts of the bytes, each with the letter that follows the 0xff before it; the first has none and gets `first`.
///
/// 0xff occurs in no text, and whoever reads text drops it like any other byte from 0x80 on.
pub fn parts(bytes: &[u8], first: u8) -> impl Iterator<Item = (u8, &[u8])> {
    bytes.split(|byte| *byte == 0xff).enumerate().filter_map(move |(nth, part)| match nth {
        0 => Some((first, part)),
        _ => part.split_first().map(|(letter, rest)| (*letter, rest)),
    })
}
