//! What a browser sends: `QUERY_STRING` as names and values (cgi §1.1).

use nut_proto::names::cut;

/// Longest name or value that is taken; a longer one is as if it had not been sent.
pub const MAX_FIELD: usize = 128;

/// Longest query that is read at all.
pub const MAX_QUERY: usize = 8 * 1024;

/// Names and values as sent, the last of a name counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
}

/// A `%` without two hexadecimal digits: NUT refuses such a request as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape;

impl Form {
    /// Reads a query: pairs with `=`, or bare names, between `&`.
    ///
    /// # Errors
    /// [`BadEscape`].
    pub fn parse(query: &str) -> Result<Self, BadEscape> {
        let mut form = Self::default();
        for part in cut(query, MAX_QUERY).split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if name.len() <= MAX_FIELD && value.len() <= MAX_FIELD {
                form.fields.retain(|(known, _)| *known != name);
                form.fields.push((name, value));
            }
        }
        Ok(form)
    }

    /// The value of a name, if it was sent; empty for a bare name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Undoes `+` and `%XX`. Line ends become blanks; bytes that are no UTF-8 become U+FFFD.
fn decode(text: &str) -> Result<String, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit =
                    || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(BadEscape);
                let code = digit()? * 16 + digit()?;
                u8::try_from(code).map_err(|_| BadEscape)?
            }
            byte => byte,
        };
        bytes.push(if byte == b'\n' || byte == b'\r' { b' ' } else { byte });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_values_as_browsers_send_them() {
        let form = Form::parse("host=ups%40localhost&treemode&refresh=5&x=a+b%0ac&refresh=7").unwrap();
        assert_eq!(form.get("host"), Some("ups@localhost"));
        assert_eq!(form.get("treemode"), Some(""));
        assert_eq!(form.get("refresh"), Some("7"));
        assert_eq!(form.get("x"), Some("a b c"));
        assert_eq!(form.get("y"), None);
    }

    #[test]
    fn a_broken_escape_breaks_the_request() {
        for query in ["host=%", "a%2", "%zz", "x=%4g"] {
            assert_eq!(Form::parse(query), Err(BadEscape), "{query}");
        }
    }

    #[test]
    fn a_field_too_long_was_not_sent() {
        let form = Form::parse(&format!("a={}&b=1", "x".repeat(MAX_FIELD + 1))).unwrap();
        assert_eq!((form.get("a"), form.get("b")), (None, Some("1")));
    }

    #[test]
    fn a_query_too_long_is_cut_whatever_stands_there() {
        for filler in ["a", "ä", "€"] {
            let query = format!("{}&late=1", filler.repeat(MAX_QUERY));
            assert_eq!(Form::parse(&query).unwrap().get("late"), None, "{filler}");
        }
        assert_eq!(Form::parse("x=ä").unwrap().get("x"), Some("ä"));
    }

    proptest! {
        #[test]
        fn no_query_makes_it_stumble(query in any::<String>()) {
            let _ = Form::parse(&query);
        }
    }
}
