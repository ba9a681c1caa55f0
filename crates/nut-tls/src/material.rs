//! What was read from files: our own certificate and key, and the authorities we trust.

use crate::identity::{Identity, may_sign, public_key};
use crate::provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use std::sync::Arc;
use thiserror::Error;

/// Why a certificate and a key are of no use together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MaterialError {
    /// No certificate can be read.
    #[error("{0}")]
    Certificate(#[from] crate::identity::BadCertificate),
    /// A key of a kind we do not know.
    #[error(
        "the private key is of a kind that is not supported (RSA, ECDSA with P-256 or P-384, and Ed25519 are): {0}"
    )]
    Key(String),
    /// They do not belong together.
    #[error(
        "the private key does not belong to the first certificate ({0}): the file must begin with the own certificate"
    )]
    Strangers(String),
    /// The certificate bears another name.
    #[error("CERTIDENT wants a certificate for {wanted:?}, and this one is for {found}")]
    OtherName {
        /// The name wanted.
        wanted: String,
        /// What it bears.
        found: String,
    },
}

/// Our own certificate, those of its issuers, and its key.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub(crate) key: Arc<CertifiedKey>,
    identity: Identity,
}

impl Credentials {
    /// Puts them together, the own certificate first.
    ///
    /// # Errors
    /// When they do not belong together.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, MaterialError> {
        let own = chain.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        let (identity, public) = (Identity::of(&own)?, public_key(&own)?);
        let signer = provider().key_provider.load_private_key(key);
        let signer = signer.map_err(|error| MaterialError::Key(error.to_string()))?;
        // Compared here and not by rustls, which would turn away certificates of X.509 version 1, as
        // `openssl x509 -req` still makes them.
        if signer.public_key().is_some_and(|ours| ours != public) {
            return Err(MaterialError::Strangers(identity.subject));
        }
        Ok(Self { key: Arc::new(CertifiedKey::new(chain, signer)), identity })
    }

    /// Somebody else's certificate with a key of one's own.
    #[cfg(test)]
    pub(crate) fn forged(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn rustls::sign::SigningKey>,
    ) -> Self {
        let identity = Identity::of(&chain[0]).unwrap();
        Self { key: Arc::new(CertifiedKey::new(chain, key)), identity }
    }

    /// What the certificate says of itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Demands that the certificate bears a name.
    ///
    /// # Errors
    /// When it does not.
    pub fn must_be_called(&self, name: &str) -> Result<(), MaterialError> {
        if self.identity.is_called(name) {
            return Ok(());
        }
        Err(MaterialError::OtherName { wanted: name.to_owned(), found: self.identity.names() })
    }
}

/// The authorities we trust.
#[derive(Debug, Clone)]
pub struct Authorities {
    roots: RootCertStore,
    /// Those of them that may stand for others. A server's own certificate that is trusted must not: whoever holds its
    /// key could make certificates for all other servers.
    signers: RootCertStore,
    /// All of them as they are: whoever shows one of these very certificates is trusted, too.
    certificates: Vec<CertificateDer<'static>>,
    /// How many could not be used.
    pub left_out: usize,
}

impl Default for Authorities {
    fn default() -> Self {
        Self {
            roots: RootCertStore::empty(),
            signers: RootCertStore::empty(),
            certificates: Vec::new(),
            left_out: 0,
        }
    }
}

impl Authorities {
    /// Takes these certificates; what is none is counted.
    pub fn add(&mut self, certificates: Vec<CertificateDer<'static>>) {
        for one in certificates {
            match self.roots.add(one.clone()) {
                Ok(()) => {
                    if may_sign(&one) {
                        // Taken by the other store a moment ago.
                        let _ = self.signers.add(one.clone());
                    }
                    self.certificates.push(one);
                }
                Err(_) => self.left_out += 1,
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.certificates.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// All of them, as webpki has them.
    pub(crate) fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Those that may stand for others; perhaps none.
    pub(crate) fn signers(&self) -> &RootCertStore {
        &self.signers
    }

    /// Judges once more what webpki has refused: a certificate that is itself among the trusted ones is trusted as long
    /// as it holds. webpki refuses it if it calls itself an authority, as `openssl req -x509` makes every certificate;
    /// a directory with the server's own certificate is what many guides make.
    ///
    /// # Errors
    /// `refused`, or that it does not hold today.
    pub(crate) fn or_is_one(
        &self,
        shown: &CertificateDer<'_>,
        now: UnixTime,
        refused: rustls::Error,
    ) -> Result<(), rustls::Error> {
        if !self.certificates.iter().any(|one| one.as_ref() == shown.as_ref()) {
            return Err(refused);
        }
        let identity = Identity::of(shown).map_err(|_| CertificateError::BadEncoding)?;
        let now = now.as_secs();
        if now < identity.not_before.as_secs() {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > identity.not_after.as_secs() {
            return Err(CertificateError::Expired.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pem;
    use crate::testing::{OPENSSL_V1, authority};

    fn credentials(text: &str) -> Result<Credentials, MaterialError> {
        Credentials::new(
            pem::certificates(text.as_bytes()).unwrap(),
            pem::private_key(text.as_bytes(), None).unwrap(),
        )
    }

    #[test]
    fn a_certificate_and_its_key_belong_together() {
        let ca = authority("Test CA");
        let (one, other) = (ca.host("one.example.org"), ca.host("two.example.org"));
        let own = credentials(&format!("{}{}{}", one.certificate, ca.certificate, one.key)).unwrap();
        assert_eq!(own.identity().common_names, ["one.example.org"]);
        assert_eq!(own.must_be_called("one.example.org"), Ok(()));
        let error = own.must_be_called("two.example.org").unwrap_err().to_string();
        assert!(error.contains("\"two.example.org\"") && error.contains("CN=one.example.org"), "{error}");
        let error = credentials(&format!("{}{}", one.certificate, other.key)).unwrap_err();
        assert!(matches!(error, MaterialError::Strangers(_)), "{error}");
        // The issuer's first: the usual slip.
        let error = credentials(&format!("{}{}{}", ca.certificate, one.certificate, one.key)).unwrap_err();
        assert!(error.to_string().contains("must begin with the own certificate"), "{error}");
    }

    #[test]
    fn a_certificate_of_the_first_version_will_do() {
        assert_eq!(credentials(OPENSSL_V1).unwrap().identity().common_names, ["old.example.org"]);
    }

    #[test]
    fn what_is_no_authority_is_counted() {
        let mut authorities = Authorities::default();
        authorities.add(vec![
            authority("A").der(),
            CertificateDer::from(vec![1, 2, 3]),
            authority("B").der(),
        ]);
        assert_eq!((authorities.len(), authorities.left_out), (2, 1));
    }
}
