//! The certificates that connections are made with: read with the configuration, used at each new connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nut_client::{ClientError, Security};
use nut_conf::upsmon_conf::UpsmonConf;
use nut_os::files::directory_of;
use nut_os::log::Chain;
use nut_tls::client::{Trust, configuration};
use nut_tls::material::{Authorities, Credentials};
use nut_tls::shell::{TlsError, authorities, credentials, nss_advice};
use thiserror::Error;
use tracing::warn;

use crate::server::{Line, Protection};

/// Why the file's directives about TLS cannot be followed.
#[derive(Debug, Error)]
pub(super) enum BadTls {
    #[error(
        "CERTVERIFY is set, but CERTPATH isn't: add CERTPATH <file or directory of the authorities' certificates>"
    )]
    NoCertPath,
    #[error("{}", Chain(.0))]
    Files(#[from] TlsError),
}

/// What `CERTPATH` and `CERTFILE` hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Material {
    trusted: Option<Arc<Authorities>>,
    own: Option<Credentials>,
}

impl Material {
    /// Reads what the directives name. Relative paths are below the directory of `upsmon.conf`.
    ///
    /// # Errors
    /// When servers are to be verified and cannot be, or our own certificate is of no use.
    pub(super) fn read(conf: &UpsmonConf, path: &Path) -> Result<Self, BadTls> {
        let tls = &conf.tls;
        let place = |name: &String| -> PathBuf { directory_of(path).join(name) };
        // What is asked of a host that is not watched asks nothing of us.
        let verifies = conf.monitors.iter().any(|monitor| Line::new(monitor, tls).protection.verify);
        let cert_path = tls.cert_path.as_ref().map(place);
        let name = tls.cert_ident.as_ref().map(|(name, _)| name.as_str());
        let trusted = match &cert_path {
            None if verifies => return Err(BadTls::NoCertPath),
            Some(path) if verifies => Some(Arc::new(authorities(path, name)?)),
            None => None,
            Some(path) => {
                if let Some(advice) = nss_advice(path, name) {
                    warn!("no server's certificate is verified: {advice}");
                }
                None
            }
        };
        let ident = tls.cert_ident.as_ref().map(|(name, password)| (name.as_str(), password));
        let own = tls.cert_file.as_ref().map(|path| credentials(&place(path), ident)).transpose()?;
        if own.is_none() && ident.is_some() {
            warn!("CERTIDENT does nothing without CERTFILE <certificate and key>");
        }
        Ok(Self { trusted, own })
    }

    /// How to make a connection that is protected so.
    ///
    /// # Errors
    /// When no certificates are at hand to verify with, which [`Material::read`] has ruled out, or rustls says no.
    pub(super) fn security(&self, protection: &Protection) -> Result<Security, ClientError> {
        let trusted = match protection.verify {
            true => Some(self.trusted.clone().ok_or(ClientError::NoTls)?),
            false => None,
        };
        let trust = Trust { authorities: trusted, name: protection.name.clone() };
        Ok(Security::new(configuration(trust, self.own.as_ref())?, protection.demands_tls()))
    }
}
