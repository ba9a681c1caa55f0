//! The capability string (`^Z`): which values a setting may have, in the order in which `-` steps through them.
//!
//! Grammar (apc-smart-protocol §9): `#`, then groups of command, locale, count, width and count × width bytes; Matrix
//! units put `##` in front of every group. Real strings deviate; here no deviation is fatal: what was read before it
//! stays, and the [`Flaw`] is told.

use nom::bytes::complete::take;
use nom::number::complete::u8 as byte;
use nom::{IResult, Parser};
use std::fmt;

/// Widest value, in bytes. NUT has a buffer of 32.
const MAX_WIDTH: usize = 31;

/// Count and width are written as the character this far behind their number.
const ZERO: u8 = b'0';

/// The locale of a group that holds in every locale.
pub const EVERY_LOCALE: u8 = b'4';

/// The values of one setting in one locale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The byte that queries the setting.
    pub command: u8,
    /// Where it holds: the last letter of the firmware, or [`EVERY_LOCALE`].
    pub locale: u8,
    /// The values in their order, as on the wire. A value may stand there twice.
    pub values: Vec<Vec<u8>>,
    /// Whether these are all: not if the string ended too early or the group's numbers make no sense.
    pub is_whole: bool,
}

/// What is wrong with a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It does not begin with `#`: nothing was read.
    NoMark,
    /// A count or width below zero; real units send `/` for "none". The group has no values, the next one is read.
    BadNumber {
        /// The group's command.
        command: u8,
    },
    /// A width no value has. What follows cannot be found.
    TooWide {
        /// The group's command.
        command: u8,
    },
    /// It ends inside a group.
    EndsEarly {
        /// The group's command.
        command: u8,
    },
    /// A Matrix string without `##` between two groups, or bytes behind the last one.
    Rest {
        /// How many bytes were not read.
        bytes: usize,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |command: &u8| super::protocol::shown(&[*command]);
        match self {
            Self::NoMark => f.write_str("it does not begin with #"),
            Self::BadNumber { command } => {
                write!(f, "the group of {} has a count or width below zero", name(command))
            }
            Self::TooWide { command } => {
                write!(f, "the group of {} has values wider than {MAX_WIDTH}", name(command))
            }
            Self::EndsEarly { command } => write!(f, "it ends inside the group of {}", name(command)),
            Self::Rest { bytes } => write!(f, "its last {bytes} bytes belong to no group"),
        }
    }
}

/// A capability string, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The groups in their order; those of other locales too.
    pub groups: Vec<Group>,
    /// What is wrong, in order.
    pub flaws: Vec<Flaw>,
    /// Whether a `#` stood in front that belongs to no form: the alert "replace battery", glued to the string.
    pub alert_in_front: bool,
}

/// Reads a string. Every text can be read; most give nothing but a flaw.
#[must_use]
pub fn parse(text: &[u8]) -> Capabilities {
    if !text.starts_with(b"##") {
        return read(text, b"");
    }
    let matrix = read_matrix(text);
    // The plain form with an alert glued in front looks like the other one up to its second group.
    let plain = text.get(1..).map(|text| read(text, b"")).unwrap_or_default();
    if !matrix.flaws.is_empty() && plain.flaws.is_empty() {
        return Capabilities { alert_in_front: true, ..plain };
    }
    matrix
}

fn read_matrix(text: &[u8]) -> Capabilities {
    match text.strip_prefix(b"##") {
        // A mark at the end announces a group that does not come (NUT exits there).
        Some(rest) => read_groups(rest.strip_suffix(b"##").unwrap_or(rest), b"##"),
        None => read(text, b"##"),
    }
}

fn read(text: &[u8], between: &[u8]) -> Capabilities {
    match text.strip_prefix(b"#") {
        Some(rest) => read_groups(rest, between),
        None => Capabilities { flaws: vec![Flaw::NoMark], ..Capabilities::default() },
    }
}

fn read_groups(mut text: &[u8], between: &[u8]) -> Capabilities {
    let mut seen = Capabilities::default();
    while !text.is_empty() {
        if !seen.groups.is_empty() {
            let Some(rest) = text.strip_prefix(between) else {
                seen.flaws.push(Flaw::Rest { bytes: text.len() });
                return seen;
            };
            text = rest;
        }
        let Ok((rest, header)) = header(text) else {
            seen.flaws.push(Flaw::Rest { bytes: text.len() });
            return seen;
        };
        text = rest;
        let mut group =
            Group { command: header.command, locale: header.locale, values: Vec::new(), is_whole: true };
        let (Some(count), Some(width)) = (number(header.count), number(header.width)) else {
            group.is_whole = false;
            seen.flaws.push(Flaw::BadNumber { command: group.command });
            seen.groups.push(group);
            continue;
        };
        if width > MAX_WIDTH {
            group.is_whole = false;
            seen.flaws.push(Flaw::TooWide { command: group.command });
            seen.groups.push(group);
            return seen;
        }
        for _ in 0..if width == 0 { 0 } else { count } {
            match value(width, text) {
                Ok((rest, value)) => {
                    text = rest;
                    group.values.push(value.to_vec());
                }
                Err(_) => {
                    // A short value would be one that can never be set.
                    group.is_whole = false;
                    seen.flaws.push(Flaw::EndsEarly { command: group.command });
                    seen.groups.push(group);
                    return seen;
                }
            }
        }
        seen.groups.push(group);
    }
    seen
}

struct Header {
    command: u8,
    locale: u8,
    count: u8,
    width: u8,
}

fn header(text: &[u8]) -> IResult<&[u8], Header> {
    let make = |(command, locale, count, width)| Header { command, locale, count, width };
    (byte, byte, byte, byte).map(make).parse(text)
}

fn value(width: usize, text: &[u8]) -> IResult<&[u8], &[u8]> {
    take(width).parse(text)
}

fn number(code: u8) -> Option<usize> {
    code.checked_sub(ZERO).map(usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(group: &Group) -> Vec<String> {
        group.values.iter().map(|value| value.iter().map(|byte| char::from(*byte)).collect()).collect()
    }

    fn of(text: &[u8], command: u8, locale: u8) -> Vec<String> {
        let seen = parse(text);
        let group = seen.groups.iter().find(|one| one.command == command && one.locale == locale);
        group.map(texts).unwrap_or_default()
    }

    const SMALL_CHASSIS: &[u8] = b"#uD43127130133136uA43108110112114uI43253257261265lD43106103100097lA43092090088086lI43208204200196e44200155090oD13115oA13100oI13230s441HMLLq44202050710p443020180300600k4410TLNr443000060180300E443336168ON OFF";
    const RT: &[u8] = b"#oW53230240200208220uW43253242265276lW43161196184173e4820015253550607590s411Aq4820205071012151820p483020060120240480720960000k4410TLNr483000020060120240480720960E443336168ON OFF\xf0455AUTO 60/.160/3 50/.150/3 ";
    const MATRIX: &[u8] = b"##uI43264271280253##lI43176182188196##e44200155090##s441HMLA##q44202050710##p443020180300600##k4410TLN##r443000060180300##E443336168ON OFF";

    #[test]
    fn a_small_chassis_unit() {
        let seen = parse(SMALL_CHASSIS);
        assert_eq!((seen.groups.len(), seen.flaws.len()), (16, 0));
        assert!(seen.groups.iter().all(|group| group.is_whole));
        assert_eq!(of(SMALL_CHASSIS, b'u', b'I'), ["253", "257", "261", "265"]);
        assert_eq!(of(SMALL_CHASSIS, b's', EVERY_LOCALE), ["H", "M", "L", "L"]);
        assert_eq!(of(SMALL_CHASSIS, b'E', EVERY_LOCALE), ["336", "168", "ON ", "OFF"]);
    }

    #[test]
    fn a_unit_with_eight_values_and_a_group_beyond_ascii() {
        assert!(parse(RT).flaws.is_empty());
        assert_eq!(of(RT, b'e', EVERY_LOCALE), ["00", "15", "25", "35", "50", "60", "75", "90"]);
        assert_eq!(of(RT, 0xf0, EVERY_LOCALE), ["AUTO ", "60/.1", "60/3 ", "50/.1", "50/3 "]);
    }

    #[test]
    fn a_matrix_unit() {
        let seen = parse(MATRIX);
        assert_eq!((seen.groups.len(), seen.flaws.len(), seen.alert_in_front), (9, 0, false));
        assert_eq!(of(MATRIX, b'l', b'I'), ["176", "182", "188", "196"]);
        assert_eq!(of(b"##uI43264271280253##", b'u', b'I'), ["264", "271", "280", "253"]);
        assert!(parse(b"##uI43264271280253##").flaws.is_empty());
    }

    #[test]
    fn an_alert_glued_in_front_does_not_make_a_matrix_unit() {
        let mut glued = b"#".to_vec();
        glued.extend_from_slice(SMALL_CHASSIS);
        let seen = parse(&glued);
        assert!(seen.alert_in_front);
        assert_eq!(seen.groups, parse(SMALL_CHASSIS).groups);
    }

    #[test]
    fn a_count_below_zero_costs_its_group_its_values() {
        let text = b"#uI43253264271280pI/3k4410TLN";
        let seen = parse(text);
        assert_eq!(seen.flaws, [Flaw::BadNumber { command: b'p' }]);
        assert_eq!(of(text, b'p', b'I'), Vec::<String>::new());
        assert_eq!(of(text, b'k', EVERY_LOCALE), ["0", "T", "L", "N"]);
        assert!(!seen.groups[1].is_whole);
    }

    #[test]
    fn a_string_that_ends_early_keeps_its_whole_values() {
        let seen = parse(b"#uI43253264");
        assert_eq!(seen.flaws, [Flaw::EndsEarly { command: b'u' }]);
        assert_eq!(texts(&seen.groups[0]), ["253", "264"]);
        assert_eq!(parse(b"#uI432532").groups[0].values.len(), 1);
        assert_eq!(parse(b"#uI4").flaws, [Flaw::Rest { bytes: 3 }]);
    }

    #[test]
    fn what_is_no_capability_string_gives_nothing() {
        for text in [&b""[..], b"NA", b"uI43253"] {
            assert_eq!(parse(text).groups, []);
            assert_eq!(parse(text).flaws, [Flaw::NoMark]);
        }
        assert_eq!(parse(b"#").groups, []);
        assert_eq!(parse(b"##").groups, []);
        assert_eq!(parse(b"#u4oo").flaws, [Flaw::TooWide { command: b'u' }]);
        assert_eq!(parse(b"#u4z0k4410TLN").groups[1].values.len(), 4);
    }

    /// A string built from groups that a unit could have.
    fn built(matrix: bool, groups: &[(u8, u8, Vec<Vec<u8>>, usize)]) -> Vec<u8> {
        let mut text = if matrix { Vec::new() } else { b"#".to_vec() };
        for (command, locale, values, width) in groups {
            if matrix {
                text.extend_from_slice(b"##");
            }
            let count = u8::try_from(values.len()).unwrap();
            text.extend([*command, *locale, ZERO + count, ZERO + u8::try_from(*width).unwrap()]);
            text.extend(values.iter().flatten());
        }
        text
    }

    fn any_group() -> impl Strategy<Value = (u8, u8, Vec<Vec<u8>>, usize)> {
        (1usize..6).prop_flat_map(|width| {
            let value = prop::collection::vec(prop::sample::select(b"0123456789ABCON/. ".to_vec()), width);
            (
                prop::sample::select(b"ulosqpkrEe".to_vec()),
                prop::sample::select(b"DIMAJW4".to_vec()),
                prop::collection::vec(value, 1..9),
                Just(width),
            )
        })
    }

    proptest! {
        #[test]
        fn what_was_built_is_read(matrix in any::<bool>(), groups in prop::collection::vec(any_group(), 1..12)) {
            let seen = parse(&built(matrix, &groups));
            prop_assert!(seen.flaws.is_empty());
            let expected: Vec<Group> = groups.into_iter()
                .map(|(command, locale, values, _)| Group { command, locale, values, is_whole: true })
                .collect();
            prop_assert_eq!(seen.groups, expected);
        }

        #[test]
        fn no_text_makes_it_stumble(text in prop::collection::vec(any::<u8>(), 0..600)) {
            let seen = parse(&text);
            let kept: usize = seen.groups.iter().flat_map(|group| &group.values).map(Vec::len).sum();
            prop_assert!(kept <= text.len());
        }

        #[test]
        fn a_damaged_string_gives_values_of_one_width(at in 0usize..230, with in any::<u8>()) {
            let mut text = SMALL_CHASSIS.to_vec();
            if let Some(byte) = text.get_mut(at) {
                *byte = with;
            }
            for group in parse(&text).groups {
                let widths: std::collections::BTreeSet<usize> = group.values.iter().map(Vec::len).collect();
                prop_assert!(widths.len() <= 1);
            }
        }
    }
}
