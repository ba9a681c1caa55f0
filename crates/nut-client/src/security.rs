//! Whether a connection is encrypted: not at all, if the server can, or never without.

use crate::error::ClientError;
use nut_tls::client::{Trust, configuration};
use rustls::ClientConfig;
use std::sync::Arc;

/// What is asked of a connection.
#[derive(Debug, Clone)]
pub struct Security {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) is_demanded: bool,
}

impl Security {
    /// TLS if the server speaks it, whatever its certificate: keeps out who only listens. It is what NUT's tools do.
    ///
    /// # Errors
    /// [`ClientError::Tls`] if rustls says no, which it does not with its own versions.
    pub fn attempt() -> Result<Self, ClientError> {
        Ok(Self::new(configuration(Trust::default(), None)?, false))
    }

    /// TLS of this kind; if it is demanded there is no connection without.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>, is_demanded: bool) -> Self {
        Self { config, is_demanded }
    }
}
