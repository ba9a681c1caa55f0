//! What can go wrong while measuring.

use nut_drill::programs::ProgramsError;
use std::io;
use thiserror::Error;

/// Why there are no figures.
#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// The system refused something.
    #[error("{doing} failed")]
    System {
        /// What.
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Our programs cannot be had.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A server did not come up, or went away.
    #[error("{who} does not answer as it should: {what}; its log:\n{log}")]
    Server {
        /// Which.
        who: &'static str,
        /// What was seen.
        what: String,
        /// Its last words.
        log: String,
    },
    /// The two upsds say different things: then their speed cannot be compared.
    #[error("NUT's upsd and ours answer {request:?} differently")]
    Differs {
        /// To what.
        request: String,
    },
    /// The server closed a connection, or said nothing for too long.
    #[error("a connection broke in the middle of a measurement")]
    Broken,
}

/// Says what was being done when the system refused.
pub(crate) trait Doing<T> {
    /// Adds it.
    fn doing(self, doing: &'static str) -> Result<T, BenchError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::System { doing, source: source.into() })
    }
}
