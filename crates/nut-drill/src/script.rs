//! An outage as data: at 0 s mains fails, at 5 s the battery runs low, …

use crate::sim::Event;
use std::time::Duration;

/// What is done at one moment.
#[derive(Debug, Clone)]
pub struct Cue {
    /// How long after the beginning.
    pub after: Duration,
    /// What happens, as a heading of the timeline.
    pub words: &'static str,
    /// What a reader should now see follow from it, and why.
    pub meaning: &'static str,
    /// What happens to which UPS.
    pub events: Vec<(String, Event)>,
}

/// The cues of a rehearsal, in order of time.
#[derive(Debug, Clone, Default)]
pub struct Script {
    cues: Vec<Cue>,
}

impl Script {
    /// A script in which nothing happens.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cue; the cues stay in order of time.
    #[must_use]
    pub fn at<'a>(
        mut self,
        after: Duration,
        words: &'static str,
        meaning: &'static str,
        events: impl IntoIterator<Item = (&'a str, Event)>,
    ) -> Self {
        let events = events.into_iter().map(|(ups, event)| (ups.to_owned(), event)).collect();
        let place = self.cues.partition_point(|cue| cue.after <= after);
        self.cues.insert(place, Cue { after, words, meaning, events });
        self
    }

    /// The cues, in order of time.
    pub fn into_cues(self) -> impl Iterator<Item = Cue> {
        self.cues.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Mains;

    #[test]
    fn cues_stand_in_order_of_time_however_they_are_written() {
        let off = || [("a", Event::Mains(Mains::Off))];
        let script = Script::new()
            .at(Duration::from_secs(5), "later", "", off())
            .at(Duration::ZERO, "first", "", off())
            .at(Duration::from_secs(5), "last", "", off());
        let words: Vec<&str> = script.into_cues().map(|cue| cue.words).collect();
        assert_eq!(words, ["first", "later", "last"]);
    }
}
