//! The configuration of a client: whom it believes, and what it shows of itself.
//!
//! NUT's clients ask less than a browser: without `CERTVERIFY` they take any certificate, with it one that an authority
//! of `CERTPATH` stands for, whatever its name; the name counts where `CERTHOST` says one.

use crate::identity::{Identity, public_key};
use crate::material::{Authorities, Credentials};
use crate::provider;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;

/// Whom to believe.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// `CERTVERIFY` with `CERTPATH`: who must stand for the server's certificate; without, any will do.
    pub authorities: Option<Arc<Authorities>>,
    /// `CERTHOST`: the name that the certificate must bear; without, any will do.
    pub name: Option<String>,
}

/// What a client needs to speak TLS.
///
/// # Errors
/// What rustls says; nothing, with its own versions.
pub fn configuration(trust: Trust, own: Option<&Credentials>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(rustls::ALL_VERSIONS)?;
    let verifier = Arc::new(Verifier { trust, provider });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder.with_client_cert_resolver(Arc::new(Own(own.key.clone()))),
    };
    config.resumption = Resumption::disabled();
    // NUT's clients send no server name, and its servers have but one certificate.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Our one certificate, whatever the server's hints say.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesClientCert for Own {
    fn resolve(&self, _hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.key.choose_scheme(schemes).map(|_| self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn judge(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        if let Some(authorities) = &self.trust.authorities {
            let algorithms = self.provider.signature_verification_algorithms.all;
            let chain = ParsedCertificate::try_from(shown).and_then(|parsed| {
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    authorities.signers(),
                    intermediates,
                    now,
                    algorithms,
                )
            });
            chain.or_else(|refused| authorities.or_is_one(shown, now, refused))?;
        }
        if let Some(name) = &self.trust.name {
            let identity = Identity::of(shown).map_err(|_| CertificateError::BadEncoding)?;
            if !identity.is_called(name) {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = public_key(cert).map_err(|_| CertificateError::BadEncoding)?;
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
