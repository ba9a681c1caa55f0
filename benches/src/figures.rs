//! Figures: medians with their spread, and what is kept of a run.

use crate::contestants::Who;
use serde::Serialize;
use std::collections::BTreeMap;

/// Several rounds of one figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// The middle one of the rounds.
    pub(crate) median: f64,
    /// The least.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
    /// How many rounds.
    pub(crate) rounds: usize,
}

impl Figure {
    /// Of these rounds; none if there is none.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Option<Self> {
        rounds.sort_by(f64::total_cmp);
        let (least, most) = (*rounds.first()?, *rounds.last()?);
        Some(Self { median: share(&rounds, 50)?, least, most, rounds: rounds.len() })
    }
}

/// What stands at this many hundredths of a sorted list.
pub(crate) fn share(sorted: &[f64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent + 50) / 100).copied()
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// In what.
    pub(crate) unit: &'static str,
    /// Each server's figure; one that could not be measured has none.
    pub(crate) figures: BTreeMap<Who, Figure>,
    /// Ours divided by the echo's, round by round: what counts, since both were measured within the same second.
    pub(crate) ratio: Option<Figure>,
    /// What is wanted of ours.
    pub(crate) target: Option<Target>,
}

/// What is wanted, and whether it was so.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Target {
    /// In words.
    pub(crate) text: String,
    /// Whether the median meets it.
    pub(crate) met: bool,
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// The processor, and how many there are.
    pub(crate) machine: String,
    /// `/proc/loadavg` before the first and behind the last measurement.
    pub(crate) load: [String; 2],
    /// How ours was built.
    pub(crate) profile: &'static str,
    /// The lines.
    pub(crate) rows: Vec<Row>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let figure = Figure::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((figure.median, figure.least, figure.most, figure.rounds), (2.0, 1.0, 3.0, 3));
        assert!(Figure::of(Vec::new()).is_none());
        let hundred: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!(
            (share(&hundred, 50), share(&hundred, 99), share(&hundred, 100)),
            (Some(50.0), Some(99.0), Some(100.0))
        );
        assert_eq!(share(&[], 50), None);
    }
}
