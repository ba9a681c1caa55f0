//! HTML and JSON text that cannot be broken out of: what a UPS or a browser says never becomes markup.
//!
//! NUT escapes nothing here; a description with `<` in it is markup there.

use std::fmt::Write as _;

/// Text as HTML text or attribute value.
#[must_use]
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Text as a JSON string with its quotes (RFC 8259 §7).
#[must_use]
pub fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text as a value in a link's query, on top of what HTML needs.
#[must_use]
pub fn url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        // The names of UPSes stay readable: NUT's links show them plainly.
        if byte.is_ascii_alphanumeric() || b"-._~@:[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a text in memory takes everything");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_stays_text() {
        assert_eq!(html("<b a=\"x\">&'"), "&lt;b a=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(url("a b&c=d@h:1"), "a%20b%26c%3Dd@h:1");
        assert_eq!(json("</x> \"a\"\n"), "\"</x> \\\"a\\\"\\n\"");
    }
}
