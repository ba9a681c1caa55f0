//! What a tool ends with, and data as JSON in the layout of NUT 2.8.5 (clients §2.1).

use serde_json::Value;
use std::fmt::Write as _;

/// What a tool prints, and the code it ends with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Data, with its line feeds.
    pub stdout: String,
    /// Everything else, with its line feeds; empty when all went well.
    pub stderr: String,
    /// 0 when all went well, else 1.
    pub code: u8,
}

impl Outcome {
    /// All went well; this is the data.
    #[must_use]
    pub const fn success(stdout: String) -> Self {
        Self { stdout, stderr: String::new(), code: 0 }
    }

    /// It went wrong, as this line says.
    #[must_use]
    pub fn failure(line: &str) -> Self {
        Self { stdout: String::new(), stderr: format!("{line}\n"), code: 1 }
    }

    /// It went wrong, as `Error: ` and this text say.
    #[must_use]
    pub fn error(text: &str) -> Self {
        Self::failure(&format!("Error: {text}"))
    }
}

/// Lines, each with its line feed.
pub fn lines(texts: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    texts.into_iter().fold(String::new(), |out, text| out + text.as_ref() + "\n")
}

/// Lines `name: value`.
#[must_use]
pub fn pair_lines(pairs: &[(String, String)]) -> String {
    lines(pairs.iter().map(|(name, value)| format!("{name}: {value}")))
}

/// One JSON string on a line. All values are strings: what looks like a number may be a serial number.
#[must_use]
pub fn json_string(text: &str) -> String {
    format!("{}\n", quoted(text))
}

/// A JSON array of strings, one a line.
pub fn json_array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    json_block(['[', ']'], texts.into_iter().map(quoted))
}

/// A JSON object of strings, one a line, in the order given.
#[must_use]
pub fn json_object(pairs: &[(String, String)]) -> String {
    json_block(['{', '}'], pairs.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))))
}

/// A failure as a JSON object on one line.
#[must_use]
pub fn json_error(text: &str) -> String {
    format!("{{\"error\": {}}}\n", quoted(text))
}

fn json_block([open, close]: [char; 2], items: impl Iterator<Item = String>) -> String {
    let mut out = String::from(open);
    let mut before = "\n";
    for item in items {
        // Writing to a string cannot fail.
        let _ = write!(out, "{before}  {item}");
        before = ",\n";
    }
    if before == "\n" {
        // NUT has an empty line in an empty list.
        out.push('\n');
    }
    out.push('\n');
    out.push(close);
    out.push('\n');
    out
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
    }

    #[test]
    fn json_is_laid_out_as_nut_does() {
        assert_eq!(json_array(["a", "b"]), "[\n  \"a\",\n  \"b\"\n]\n");
        assert_eq!(json_array([]), "[\n\n]\n");
        assert_eq!(
            json_object(&pairs(&[("a", "1"), ("b", "x\"y")])),
            "{\n  \"a\": \"1\",\n  \"b\": \"x\\\"y\"\n}\n"
        );
        assert_eq!(json_object(&[]), "{\n\n}\n");
        assert_eq!(json_string("12"), "\"12\"\n");
        assert_eq!(json_error("two\nlines"), "{\"error\": \"two\\nlines\"}\n");
    }

    proptest! {
        #[test]
        fn json_is_json_whatever_the_texts(all in prop::collection::vec((any::<String>(), any::<String>()), 0..5)) {
            let object: serde_json::Map<String, Value> = serde_json::from_str(&json_object(&all)).unwrap();
            for (name, _) in &all {
                let last = all.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
                prop_assert_eq!(object[name].as_str(), last);
            }
            let array: Vec<String> = serde_json::from_str(&json_array(all.iter().map(|(name, _)| name.as_str()))).unwrap();
            prop_assert_eq!(array, all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        }
    }
}
