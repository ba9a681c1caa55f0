//! PEM: certificates and a private key as text, the key perhaps under a password.

use nut_proto::names::Secret;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// Most certificates taken from one file: a host's bundle of all authorities has some 150.
pub const MAX_CERTIFICATES: usize = 4096;

/// Begins a key under a password, as OpenSSL 1.0 and newer write it.
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Stands in a key under a password of the older kind.
const OLD_ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// Why a PEM text is of no use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PemError {
    /// No certificate.
    #[error("holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// No key.
    #[error(
        "holds no private key (-----BEGIN PRIVATE KEY-----); it goes behind the certificates, into the same file"
    )]
    NoKey,
    /// A block that is no PEM.
    #[error("is no PEM file, or a damaged one: {0}")]
    Damaged(String),
    /// More certificates than are taken.
    #[error("holds more than {MAX_CERTIFICATES} certificates")]
    TooMany,
    /// The key needs a password.
    #[error("the private key is under a password: write CERTIDENT \"\" <password>")]
    NeedsPassword,
    /// The password does not open the key, or the key is under a cipher we do not know.
    #[error(
        "the private key does not open with CERTIDENT's password, or is encrypted in a way we do not know; \
         this writes it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in <old file> -out <new file>"
    )]
    WrongPassword,
    /// A cipher that nobody should use.
    #[error(
        "the private key is encrypted in OpenSSL's old way; \
         this writes it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -in <old file> -out <new file>"
    )]
    OldCipher,
}

/// All certificates of a text, in its order: the server's own first, then its issuer's, and so on.
///
/// # Errors
/// When there is none, or a block is damaged.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut found = Vec::new();
    for one in CertificateDer::pem_slice_iter(text) {
        if found.len() == MAX_CERTIFICATES {
            return Err(PemError::TooMany);
        }
        found.push(one.map_err(|error| PemError::Damaged(error.to_string()))?);
    }
    if found.is_empty() { Err(PemError::NoCertificate) } else { Ok(found) }
}

/// The private key of a text; one under a password is opened with it.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub fn private_key(text: &[u8], password: Option<&Secret>) -> Result<PrivateKeyDer<'static>, PemError> {
    let readable = String::from_utf8_lossy(text);
    if let Some((_, rest)) = readable.split_once(ENCRYPTED_BEGIN) {
        let (body, _) =
            rest.split_once(ENCRYPTED_END).ok_or(PemError::Damaged("its end is missing".into()))?;
        let whole = format!("{ENCRYPTED_BEGIN}{}{ENCRYPTED_END}\n", body.replace('\r', ""));
        return decrypted(&whole, password.ok_or(PemError::NeedsPassword)?);
    }
    if readable.contains(OLD_ENCRYPTED) {
        return Err(PemError::OldCipher);
    }
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) => Err(PemError::NoKey),
        Err(error) => Err(PemError::Damaged(error.to_string())),
    }
}

fn decrypted(text: &str, password: &Secret) -> Result<PrivateKeyDer<'static>, PemError> {
    let (_, document) =
        SecretDocument::from_pem(text).map_err(|error| PemError::Damaged(error.to_string()))?;
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .map_err(|error| PemError::Damaged(error.to_string()))?;
    let open = info.decrypt(password.reveal()).map_err(|_| PemError::WrongPassword)?;
    Ok(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(open.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{OPENSSL_ENCRYPTED_KEY, OPENSSL_PASSWORD, OPENSSL_TRADITIONAL_KEY, authority};

    #[test]
    fn certificates_come_in_the_files_order_and_other_blocks_do_not_matter() {
        let ca = authority("Test CA");
        let one = ca.host("one.example.org");
        let text = format!("a comment\n{}{}{}", one.certificate, one.key, ca.certificate);
        let found = certificates(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found, certificates(format!("{}{}", one.certificate, ca.certificate).as_bytes()).unwrap());
        assert!(private_key(text.as_bytes(), None).is_ok());
        // A password that is not needed does no harm.
        assert!(private_key(text.as_bytes(), Some(&Secret::new("x"))).is_ok());
    }

    #[test]
    fn what_is_missing_or_damaged_is_said() {
        let one = authority("Test CA").host("one.example.org");
        assert_eq!(certificates(b""), Err(PemError::NoCertificate));
        assert_eq!(certificates(one.key.as_bytes()), Err(PemError::NoCertificate));
        assert!(matches!(private_key(one.certificate.as_bytes(), None), Err(PemError::NoKey)));
        let cut = one.certificate.get(..one.certificate.len() / 2).unwrap();
        assert!(
            matches!(certificates(cut.as_bytes()), Err(PemError::Damaged(_))),
            "{:?}",
            certificates(cut.as_bytes())
        );
        assert!(matches!(
            private_key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA", Some(&Secret::new("x"))),
            Err(PemError::Damaged(_))
        ));
    }

    #[test]
    fn a_key_under_a_password_opens_with_it_and_with_nothing_else() {
        let text = OPENSSL_ENCRYPTED_KEY.as_bytes();
        assert!(private_key(text, Some(&Secret::new(OPENSSL_PASSWORD))).is_ok());
        let with_cr = OPENSSL_ENCRYPTED_KEY.replace('\n', "\r\n");
        assert!(private_key(with_cr.as_bytes(), Some(&Secret::new(OPENSSL_PASSWORD))).is_ok());
        assert_eq!(private_key(text, None).unwrap_err(), PemError::NeedsPassword);
        assert_eq!(private_key(text, Some(&Secret::new("wrong"))).unwrap_err(), PemError::WrongPassword);
    }

    #[test]
    fn a_key_encrypted_the_old_way_is_told_how_to_be_written_anew() {
        let error = private_key(OPENSSL_TRADITIONAL_KEY.as_bytes(), Some(&Secret::new("x"))).unwrap_err();
        assert_eq!(error, PemError::OldCipher);
        assert!(error.to_string().contains("openssl pkcs8 -topk8"));
    }
}
