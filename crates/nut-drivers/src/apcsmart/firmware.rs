//! Units that must be known by their firmware, because they cannot tell their commands (apcsmart-driver §4.1).

/// What a firmware text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Firmware {
    /// A unit of the table.
    Listed {
        /// Its commands, in the order they are tried.
        commands: &'static [u8],
        /// `ups.model`, unless the unit has a better word.
        model: &'static str,
        /// Whether it is of the first two generations, which do nothing on `@000` (apc-smart-protocol §12).
        is_old: bool,
    },
    /// One whose capability string is known to end in the middle.
    CutShort,
    /// All others tell their commands.
    Other,
}

const SMART: &str = "Smart-UPS";
const MATRIX: &str = "Matrix-UPS";

/// The table: firmware, commands. Which of the two names is the model follows from the first character.
const TABLE: [(&[&str], &[u8]); 7] = [
    (&["0XI", "0XM"], b"@789ABCDEFGKLMNOPQRSTUVWXYZcefgjklmnopqrsuwxz/<>\\^\x0c\x16"),
    (&["0ZI", "5UI", "5ZM"], b"@79ABCDEFGKLMNOPQRSUVWXYZcefgjklmnopqrsuxz/<>"),
    (
        &["6QD", "6QI", "6TD", "6TI", "7QD", "7QI", "7TD", "7TI", "8QD", "8QI", "8TD", "8TI"],
        b"@79ABCDEFGKLMNOPQRSUVWXYZcefgjklmnopqrsuxz",
    ),
    (&["6JI"], b"@789ABCFGKLMNOPQSTUVWXYZfg"),
    (&["7II", "9II", "9GI", "8II"], b"@79ABCEFGKLMNOPQRSUVWXYZcfg"),
    (&["8GI"], b"@79ABCEFGKLMNOPQRSUVWXYZfg"),
    // The Back-UPS CS 350.
    (&["5.4.D"], b"@\x01ABPQRSUYbdfgjmnx9"),
];

/// Very old units answer `b` with part of a voltage in place of a version.
const VOLTAGE_ONLY: &[u8] = b"@789ABCFGKLMNOPQRSUVWXYZ";

/// Looks a reply to `V` or `b` up. Case counts.
#[must_use]
pub(super) fn look_up(firmware: &[u8]) -> Firmware {
    if firmware == b"451.2.I" {
        return Firmware::CutShort;
    }
    if firmware.len() == 2 && firmware.iter().all(u8::is_ascii_hexdigit) {
        return Firmware::Listed { commands: VOLTAGE_ONLY, model: SMART, is_old: true };
    }
    let row = TABLE.iter().find(|(names, _)| names.iter().any(|name| name.as_bytes() == firmware));
    let Some((_, commands)) = row else {
        return Firmware::Other;
    };
    let is_matrix = matches!(firmware.first(), Some(b'0' | b'5'));
    // Matrix units and the CS 350 hibernate as new ones do.
    Firmware::Listed { commands, model: if is_matrix { MATRIX } else { SMART }, is_old: !is_matrix }
}

/// Whether a reply to `V` or `b` is one of the first two generations, which do nothing on `@000`.
#[must_use]
pub(super) fn is_old(firmware: &[u8]) -> bool {
    matches!(look_up(firmware), Firmware::Listed { is_old: true, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_whom_nut_knows() {
        type Known = (&'static str, usize, bool);
        let cases: [(&str, Option<Known>); 9] = [
            ("0XI", Some((MATRIX, 52, false))),
            ("5ZM", Some((MATRIX, 45, false))),
            ("7TI", Some((SMART, 42, true))),
            ("6JI", Some((SMART, 26, true))),
            ("8GI", Some((SMART, 26, true))),
            ("9GI", Some((SMART, 27, true))),
            ("5.4.D", Some((MATRIX, 19, false))),
            ("FF", Some((SMART, 24, true))),
            ("21.3.I", None),
        ];
        for (firmware, expected) in cases {
            let seen = match look_up(firmware.as_bytes()) {
                Firmware::Listed { commands, model, is_old } => Some((model, commands.len(), is_old)),
                Firmware::CutShort | Firmware::Other => None,
            };
            assert_eq!(seen, expected, "{firmware}");
        }
    }

    #[test]
    fn case_counts_except_in_hexadecimal_digits() {
        assert_eq!(look_up(b"7ti"), Firmware::Other);
        assert!(matches!(look_up(b"a0"), Firmware::Listed { commands: VOLTAGE_ONLY, .. }));
        assert_eq!(look_up(b"451.2.I"), Firmware::CutShort);
        assert_eq!(look_up(b"8VA"), Firmware::Other);
        assert_eq!(look_up(b""), Firmware::Other);
    }

    #[test]
    fn no_command_stands_twice_in_a_list() {
        for (_, commands) in TABLE {
            let mut sorted = commands.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), commands.len());
        }
    }
}
