//! Bold and colour on a terminal, and only there.

use std::env;
use std::io::{self, IsTerminal as _};

/// Paints text, or leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colour.
    pub const PLAIN: Self = Self { on: false };

    /// Colour if standard output is a terminal that can show it and `NO_COLOR` is not set.
    #[must_use]
    pub fn for_stdout() -> Self {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { on: io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// Headings, and what is done to the UPSes.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What may be skipped: times, explanations.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// As it must be.
    #[must_use]
    pub fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Not as it must be.
    #[must_use]
    pub fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    /// A UPS speaks.
    #[must_use]
    pub fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    /// A host speaks.
    #[must_use]
    pub fn cyan(self, text: &str) -> String {
        self.with("36", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is_and_painted_text_ends_its_colour() {
        assert_eq!(Paint::PLAIN.red("NO"), "NO");
        assert_eq!(Paint { on: true }.red("NO"), "\x1b[1;31mNO\x1b[0m");
    }
}
