//! The whole number at the front of a text, as C's `strtol` and `atoi` read it: so NUT reads files, values and messages.

/// What a text has of a whole number at its front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// All of it.
    Whole(i64),
    /// Something else follows.
    Prefix(i64),
    /// No digit at all; NUT reads 0.
    Missing,
}

impl Number {
    /// Reads white space, a sign, digits. What is too large is the largest there is.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let text = text.trim_ascii_start();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let mut value: i64 = 0;
        let mut seen = 0;
        for digit in digits.bytes().map_while(|byte| byte.is_ascii_digit().then(|| i64::from(byte - b'0'))) {
            value = value.saturating_mul(10).saturating_add(digit);
            seen += 1;
        }
        let value = if negative { -value } else { value };
        match seen {
            0 => Self::Missing,
            seen if seen == digits.len() => Self::Whole(value),
            _ => Self::Prefix(value),
        }
    }

    /// The number, if there is one, whatever follows it.
    #[must_use]
    pub const fn value(self) -> Option<i64> {
        match self {
            Self::Whole(value) | Self::Prefix(value) => Some(value),
            Self::Missing => None,
        }
    }
}

/// The whole number a text begins with; 0 if there is none.
#[must_use]
pub fn leading_number(text: &str) -> i64 {
    Number::read(text).value().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_strtol_reads_them() {
        let cases = [
            ("5", Number::Whole(5)),
            ("-1", Number::Whole(-1)),
            ("+7", Number::Whole(7)),
            ("5x", Number::Prefix(5)),
            (" 5", Number::Whole(5)),
            (" +4", Number::Whole(4)),
            ("-3x", Number::Prefix(-3)),
            ("5 ", Number::Prefix(5)),
            ("12.5", Number::Prefix(12)),
            ("x", Number::Missing),
            ("", Number::Missing),
            ("-", Number::Missing),
            ("0x10", Number::Prefix(0)),
            ("99999999999999999999", Number::Whole(i64::MAX)),
            ("-99999999999999999999", Number::Whole(-i64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(Number::read(text), expected, "{text:?}");
            assert_eq!(leading_number(text), expected.value().unwrap_or(0), "{text:?}");
        }
    }
}
