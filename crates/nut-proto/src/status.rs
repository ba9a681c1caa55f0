//! `ups.status`: read once, then asked by meaning, never searched as text.

use std::fmt;

/// Most words of one status that are kept; a value has at most 255 bytes, so real ones never come near.
const MAX_WORDS: usize = 128;

/// Where the load's power comes from. `OL` and `OB` answer one question, so they are one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Feed {
    /// `OL`: mains.
    Mains,
    /// `OB`: battery. Said together with `OL`, battery counts: the careful reading.
    Battery,
    /// Neither word. Such a UPS counts as dead (RFC 9271 §5.1).
    #[default]
    Unsaid,
}

/// A word of `ups.status` that NUT's documents name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word {
    /// Mains present.
    Ol,
    /// On battery.
    Ob,
    /// Battery low.
    Lb,
    /// Battery high.
    Hb,
    /// Battery needs replacement.
    Rb,
    /// Charging.
    Chrg,
    /// Discharging.
    Dischrg,
    /// Bypass: powered, not protected.
    Bypass,
    /// Runtime calibration.
    Cal,
    /// Output off, or asleep.
    Off,
    /// Overloaded.
    Over,
    /// Trimming the incoming voltage.
    Trim,
    /// Boosting the incoming voltage.
    Boost,
    /// Forced shutdown.
    Fsd,
    /// One or more alarms, told in `ups.alarm`.
    Alarm,
    /// Economy mode.
    Eco,
    /// Nothing known yet: `upsd`'s own word until the driver has spoken.
    Wait,
}

impl Word {
    /// Every word, in the order drivers put them.
    pub const ALL: [Self; 17] = [
        Self::Alarm,
        Self::Fsd,
        Self::Cal,
        Self::Trim,
        Self::Boost,
        Self::Ol,
        Self::Ob,
        Self::Over,
        Self::Lb,
        Self::Hb,
        Self::Rb,
        Self::Chrg,
        Self::Dischrg,
        Self::Bypass,
        Self::Off,
        Self::Eco,
        Self::Wait,
    ];

    /// The word as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ol => "OL",
            Self::Ob => "OB",
            Self::Lb => "LB",
            Self::Hb => "HB",
            Self::Rb => "RB",
            Self::Chrg => "CHRG",
            Self::Dischrg => "DISCHRG",
            Self::Bypass => "BYPASS",
            Self::Cal => "CAL",
            Self::Off => "OFF",
            Self::Over => "OVER",
            Self::Trim => "TRIM",
            Self::Boost => "BOOST",
            Self::Fsd => "FSD",
            Self::Alarm => "ALARM",
            Self::Eco => "ECO",
            Self::Wait => "WAIT",
        }
    }

    /// The word that is spelled so, in any case.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str().eq_ignore_ascii_case(text))
    }

    const fn bit(self) -> u32 {
        match self {
            Self::Ol => 1,
            Self::Ob => 1 << 1,
            Self::Lb => 1 << 2,
            Self::Hb => 1 << 3,
            Self::Rb => 1 << 4,
            Self::Chrg => 1 << 5,
            Self::Dischrg => 1 << 6,
            Self::Bypass => 1 << 7,
            Self::Cal => 1 << 8,
            Self::Off => 1 << 9,
            Self::Over => 1 << 10,
            Self::Trim => 1 << 11,
            Self::Boost => 1 << 12,
            Self::Fsd => 1 << 13,
            Self::Alarm => 1 << 14,
            Self::Eco => 1 << 15,
            Self::Wait => 1 << 16,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a UPS says of itself.
///
/// Whole words, in any case, in any order; a word said twice counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Where the load's power comes from.
    pub feed: Feed,
    words: u32,
    /// Words we do not know, as they came: clients must still see them.
    pub others: Vec<Box<str>>,
}

impl Status {
    /// Reads the value of `ups.status`. Every text is a status; most are one of a UPS that says nothing.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut status = Self::default();
        for text in text.split_ascii_whitespace().take(MAX_WORDS) {
            match Word::from_text(text) {
                Some(word) => status.words |= word.bit(),
                None if status.others.iter().any(|known| &**known == text) => {}
                None => status.others.push(text.into()),
            }
        }
        status.feed = match (status.says(Word::Ob), status.says(Word::Ol)) {
            (true, _) => Feed::Battery,
            (false, true) => Feed::Mains,
            (false, false) => Feed::Unsaid,
        };
        status
    }

    /// Whether the status has this word.
    #[must_use]
    pub const fn says(&self, word: Word) -> bool {
        self.words & word.bit() != 0
    }

    /// `LB`: the battery is low.
    #[must_use]
    pub const fn low_battery(&self) -> bool {
        self.says(Word::Lb)
    }

    /// `FSD`: a shutdown has been forced and cannot be called back.
    #[must_use]
    pub const fn forced_shutdown(&self) -> bool {
        self.says(Word::Fsd)
    }

    /// Nothing at all: no word, known or unknown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words == 0 && self.others.is_empty()
    }

    /// The words we know, in the order drivers put them.
    pub fn words(&self) -> impl Iterator<Item = Word> + '_ {
        Word::ALL.into_iter().filter(|word| self.says(*word))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.words().map(|word| -> &str { word.as_str() });
        for (nth, text) in known.chain(self.others.iter().map(|text| &**text)).enumerate() {
            if nth > 0 {
                f.write_str(" ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn status_by_meaning() {
        let cases = [
            ("OL", Feed::Mains, false, false),
            ("OB", Feed::Battery, false, false),
            ("OB LB", Feed::Battery, true, false),
            ("FSD OL", Feed::Mains, false, true),
            ("ob lb", Feed::Battery, true, false),
            ("OB  LB", Feed::Battery, true, false),
            ("OL OB", Feed::Battery, false, false),
            ("OL XLBX", Feed::Mains, false, false),
            ("OBLB", Feed::Unsaid, false, false),
            ("OFF", Feed::Unsaid, false, false),
            ("", Feed::Unsaid, false, false),
        ];
        for (text, feed, low, forced) in cases {
            let status = Status::from_text(text);
            assert_eq!(
                (status.feed, status.low_battery(), status.forced_shutdown()),
                (feed, low, forced),
                "{text}"
            );
        }
    }

    #[test]
    fn unknown_words_are_kept_once_and_as_they_came() {
        let status = Status::from_text("OL foo BAR foo");
        assert_eq!(status.others, ["foo".into(), "BAR".into()]);
        assert!(!Status::from_text("foo").is_empty());
        assert!(Status::from_text("  ").is_empty());
    }

    #[test]
    fn every_word_has_a_bit_of_its_own() {
        let all = Word::ALL.iter().fold(0u32, |seen, word| {
            assert_eq!(seen & word.bit(), 0, "{word}");
            seen | word.bit()
        });
        assert_eq!(all.count_ones(), 17);
    }

    proptest! {
        #[test]
        fn a_status_shown_is_a_status_read(text in "((OL|OB|LB|RB|FSD|CAL|x|Y|OFF|ALARM) ?){0,8}") {
            let status = Status::from_text(&text);
            prop_assert_eq!(Status::from_text(&status.to_string()), status);
        }
    }
}
