//! The configuration of a server.

use crate::identity::public_key;
use crate::material::{Authorities, Credentials};
use crate::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// `CERTREQUEST`: whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// 0, `NO`: it is not asked.
    #[default]
    No,
    /// 1, `REQUEST`: it is asked; one that it shows must be good.
    Request,
    /// 2, `REQUIRE`: it must show one.
    Require,
}

/// What a server needs to speak TLS.
///
/// # Errors
/// What rustls says; with authorities at hand it says nothing.
pub fn configuration(
    credentials: &Credentials,
    authorities: Option<Authorities>,
    demand: Demand,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = provider();
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(rustls::ALL_VERSIONS)?;
    let builder = match (demand, authorities) {
        (Demand::No, _) | (_, None) => builder.with_no_client_auth(),
        (demand, Some(authorities)) => {
            // rustls wants one at least, and is not asked then.
            let has_signers = !authorities.signers().is_empty();
            let roots = if has_signers { authorities.signers() } else { authorities.roots() };
            let roots = Arc::new(roots.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier =
                if demand == Demand::Require { verifier } else { verifier.allow_unauthenticated() };
            let strict = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(Arc::new(Verifier { strict, has_signers, authorities }))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Own(credentials.key.clone())));
    // The server's choice, as in NUT.
    config.ignore_client_order = true;
    // No client of NUT comes back with a session; without them there is nothing to keep.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// One certificate for whatever name is asked for: NUT's clients name none.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// As webpki says, or the client's certificate is itself one of the trusted.
#[derive(Debug)]
struct Verifier {
    strict: Arc<dyn ClientCertVerifier>,
    /// Whether anybody trusted may stand for others.
    has_signers: bool,
    authorities: Authorities,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.strict.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = match self.has_signers {
            true => self.strict.verify_client_cert(end_entity, intermediates, now),
            false => Err(CertificateError::UnknownIssuer.into()),
        };
        chain.or_else(|refused| {
            self.authorities.or_is_one(end_entity, now, refused).map(|()| ClientCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = public_key(cert).map_err(|_| CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(message, &key, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
