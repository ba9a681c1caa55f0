//! The `^Z` reply as rings of values: a setting cannot be set, only stepped on (`-`) or back (`+`).
//!
//! A group is command byte, locale, count, width, then count values of that width, all without separators; count and
//! width are one character each, its code less 48. Matrix units put `##` in front of every group.

use std::collections::BTreeMap;

/// The rings of one unit: command byte to values in stepping order. Values may occur twice (`H M L L`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings(BTreeMap<u8, Vec<Vec<u8>>>);

/// A locale that stands for all.
const EVERY_LOCALE: u8 = b'4';

impl Rings {
    /// The groups of `reply` that apply to a unit of this locale.
    ///
    /// The unit made the string itself, so a group that ends early or counts below zero just ends the list: what was
    /// read up to there is what it can step through.
    #[must_use]
    pub fn parse(reply: &[u8], locale: Option<u8>) -> Self {
        let mut rings = BTreeMap::new();
        let Some(mut rest) = reply.strip_prefix(b"#") else {
            return Self::default();
        };
        let matrix_form = rest.first() == Some(&b'#');
        if matrix_form {
            rest = reply;
        }
        loop {
            if matrix_form {
                match rest.strip_prefix(b"##") {
                    Some(group) => rest = group,
                    None => break,
                }
            }
            let Some((group, behind)) = Group::take(rest) else {
                break;
            };
            rest = behind;
            if group.locale == EVERY_LOCALE || Some(group.locale) == locale {
                rings.entry(group.command).or_insert(group.values);
            }
        }
        Self(rings)
    }

    /// The values of a setting in stepping order; nothing if it cannot be stepped.
    #[must_use]
    pub fn of(&self, command: u8) -> Option<&[Vec<u8>]> {
        self.0.get(&command).map(Vec::as_slice).filter(|values| !values.is_empty())
    }

    /// Gives a setting its values, or takes them away.
    pub fn set(&mut self, command: u8, values: Option<Vec<Vec<u8>>>) {
        match values {
            Some(values) => self.0.insert(command, values),
            None => self.0.remove(&command),
        };
    }

    /// The command bytes that can be stepped.
    pub fn commands(&self) -> impl Iterator<Item = u8> {
        self.0.keys().copied()
    }
}

struct Group {
    command: u8,
    locale: u8,
    values: Vec<Vec<u8>>,
}

impl Group {
    /// Takes one group off the front.
    fn take(text: &[u8]) -> Option<(Self, &[u8])> {
        let (&[command, locale, count, width], rest) = text.split_first_chunk::<4>()?;
        let count = usize::from(count.checked_sub(b'0')?);
        let width = usize::from(width.checked_sub(b'0')?);
        if width == 0 {
            return None;
        }
        let (values, behind) = rest.split_at_checked(count * width)?;
        Some((Self { command, locale, values: values.chunks(width).map(<[u8]>::to_vec).collect() }, behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(rings: &Rings, command: u8) -> Vec<String> {
        rings
            .of(command)
            .unwrap_or_default()
            .iter()
            .map(|v| String::from_utf8_lossy(v).into_owned())
            .collect()
    }

    #[test]
    fn the_locale_chooses_among_groups_of_the_same_command() {
        let reply = b"#lD43106103100097lI43208204200196e44200155090s441HMLLE443336168ON OFF";
        let british = Rings::parse(reply, Some(b'I'));
        assert_eq!(values(&british, b'l'), ["208", "204", "200", "196"]);
        assert_eq!(values(&british, b'e'), ["00", "15", "50", "90"]);
        assert_eq!(values(&british, b's'), ["H", "M", "L", "L"]);
        assert_eq!(values(&british, b'E'), ["336", "168", "ON ", "OFF"]);
        assert_eq!(values(&Rings::parse(reply, Some(b'D')), b'l'), ["106", "103", "100", "097"]);
        assert_eq!(values(&Rings::parse(reply, None), b'l'), Vec::<String>::new());
    }

    #[test]
    fn matrix_form_counts_above_nine_and_commands_beyond_ascii_are_read() {
        let matrix = Rings::parse(b"##uI43264271280253##s441HMLA##", Some(b'I'));
        assert_eq!(values(&matrix, b'u'), ["264", "271", "280", "253"]);
        assert_eq!(values(&matrix, b's'), ["H", "M", "L", "A"]);
        let wide = Rings::parse(b"#\xf0455AUTO 60/.160/3 50/.150/3 x4:10123456789", Some(b'W'));
        assert_eq!(values(&wide, 0xf0), ["AUTO ", "60/.1", "60/3 ", "50/.1", "50/3 "]);
        assert_eq!(values(&wide, b'x').len(), 10, "the count ':' is ten");
    }

    #[test]
    fn a_string_that_breaks_off_gives_what_was_whole() {
        for reply in
            [&b"#uI43253257261265lI4320"[..], b"#uI43253257261265pI/3k4410TLN", b"#uI43253257261265lI40"]
        {
            let rings = Rings::parse(reply, Some(b'I'));
            assert_eq!(rings.commands().collect::<Vec<_>>(), [b'u'], "{reply:?}");
        }
        assert_eq!(Rings::parse(b"uI43253257261265", Some(b'I')), Rings::default());
        assert_eq!(Rings::parse(b"", None), Rings::default());
    }
}
