//! What a certificate says of itself, and whether that is the name that `CERTIDENT` or `CERTHOST` asks for.

use core::net::IpAddr;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use std::time::Duration;
use thiserror::Error;
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::asn1::{BmpString, Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Any, Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};

/// The bytes of a certificate are none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a certificate cannot be read: {0}")]
pub struct BadCertificate(String);

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The subject in OpenSSL's one line, as in `/O=School/CN=ups.example.org`.
    pub subject: String,
    /// The subject's common names.
    pub common_names: Vec<String>,
    /// The hosts of its alternative names; `*.example.org` is one.
    pub hosts: Vec<String>,
    /// The addresses of its alternative names.
    pub addresses: Vec<IpAddr>,
    /// From when on it holds, since 1970.
    pub not_before: Duration,
    /// Until when it holds, since 1970.
    pub not_after: Duration,
}

/// The public key of a certificate, whatever its version: webpki reads only X.509's third, and `openssl x509 -req` still
/// makes the first.
///
/// # Errors
/// When the bytes are no X.509 certificate.
pub(crate) fn public_key(
    certificate: &CertificateDer<'_>,
) -> Result<SubjectPublicKeyInfoDer<'static>, BadCertificate> {
    Certificate::from_der(certificate.as_ref())
        .and_then(|certificate| certificate.tbs_certificate.subject_public_key_info.to_der())
        .map(SubjectPublicKeyInfoDer::from)
        .map_err(|error| BadCertificate(error.to_string()))
}

/// Whether it may stand for others: as OpenSSL judges, and not webpki, to which whatever is trusted is an authority.
///
/// Without extensions only a root of X.509's first version may.
pub(crate) fn may_sign(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(certificate.as_ref()) else { return false };
    let own = parsed.tbs_certificate;
    let extension = |oid: &str| {
        let mut all = own.extensions.iter().flatten();
        all.find(|one| one.extn_id.to_string() == oid).map(|one| one.extn_value.as_bytes())
    };
    if let Some(bytes) = extension(BASIC_CONSTRAINTS) {
        return BasicConstraints::from_der(bytes).is_ok_and(|constraints| constraints.ca);
    }
    if let Some(bytes) = extension(KEY_USAGE) {
        return KeyUsage::from_der(bytes).is_ok_and(|usage| usage.key_cert_sign());
    }
    own.version == Version::V1 && own.issuer == own.subject
}

/// OpenSSL's short names of what a subject is made of.
const SHORT_NAMES: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

const COMMON_NAME: &str = "2.5.4.3";
const ALTERNATIVE_NAMES: &str = "2.5.29.17";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";

impl Identity {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When the bytes are no X.509 certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, BadCertificate> {
        let bad = |error: x509_cert::der::Error| BadCertificate(error.to_string());
        let parsed = Certificate::from_der(certificate.as_ref()).map_err(bad)?.tbs_certificate;
        let mut subject = String::new();
        let mut common_names = Vec::new();
        for part in parsed.subject.0.iter().flat_map(|name| name.0.iter()) {
            let oid = part.oid.to_string();
            let value = text(&part.value);
            let short = SHORT_NAMES.iter().find(|(number, _)| *number == oid);
            subject.push('/');
            subject.push_str(short.map_or(oid.as_str(), |(_, short)| short));
            subject.push('=');
            subject.push_str(&value);
            if oid == COMMON_NAME {
                common_names.push(value);
            }
        }
        let (mut hosts, mut addresses) = (Vec::new(), Vec::new());
        for extension in parsed.extensions.unwrap_or_default() {
            if extension.extn_id.to_string() != ALTERNATIVE_NAMES {
                continue;
            }
            for name in SubjectAltName::from_der(extension.extn_value.as_bytes()).map_err(bad)?.0 {
                match name {
                    GeneralName::DnsName(host) => hosts.push(host.to_string()),
                    GeneralName::IpAddress(bytes) => addresses.extend(address(bytes.as_bytes())),
                    _ => {}
                }
            }
        }
        Ok(Self {
            subject,
            common_names,
            hosts,
            addresses,
            not_before: parsed.validity.not_before.to_unix_duration(),
            not_after: parsed.validity.not_after.to_unix_duration(),
        })
    }

    /// Whether this is its name: a host (of the common or the alternative names, whatever the case), an address, the
    /// whole subject in one line, or a common name up to its first `/` or `,`.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        name.parse::<IpAddr>().is_ok_and(|wanted| self.addresses.contains(&wanted))
            || self.subject == name
            || self.hosts.iter().chain(&self.common_names).any(|host| is_host(host, name))
            || self.common_names.iter().any(|common| common.split(['/', ',']).next() == Some(name))
    }

    /// Its names as a person looks for them.
    #[must_use]
    pub fn names(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let all: Vec<&str> = std::iter::once(self.subject.as_str())
            .chain(self.hosts.iter().map(String::as_str))
            .chain(addresses.iter().map(String::as_str))
            .collect();
        all.join(", ")
    }
}

/// Whether a host of a certificate is this one. A star stands for the first label alone.
fn is_host(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return !name.is_empty();
    }
    let Some(tail) = pattern.strip_prefix("*.") else { return false };
    let Some((label, rest)) = name.split_once('.') else { return false };
    // `*.org` would be everybody.
    !label.is_empty() && tail.contains('.') && rest.eq_ignore_ascii_case(tail)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(four));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// A value of a subject, of whatever kind of string.
fn text(value: &Any) -> String {
    let found = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok().map(|text| text.to_string()),
        Tag::BmpString => value.decode_as::<BmpString>().ok().map(|text| text.to_string()),
        _ => None,
    };
    found.unwrap_or_else(|| format!("{} bytes", value.to_der().map_or(0, |bytes| bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::authority;

    #[test]
    fn the_names_a_certificate_answers_to() {
        let ca = authority("Test CA");
        let host = ca.issue(
            "School",
            "ups,room 1",
            &["ups.example.org", "*.lab.example.org", "192.0.2.7", "2001:db8::7"],
        );
        let identity = Identity::of(&host.der()).unwrap();
        assert_eq!(identity.subject, "/O=School/CN=ups,room 1");
        for (name, expected) in [
            ("ups.example.org", true),
            ("UPS.Example.ORG", true),
            ("one.lab.example.org", true),
            ("one.two.lab.example.org", false),
            ("lab.example.org", false),
            (".lab.example.org", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8::7", true),
            ("/O=School/CN=ups,room 1", true),
            ("/O=school/CN=ups,room 1", false),
            ("ups,room 1", true),
            ("ups", true),
            ("up", false),
            ("", false),
            ("example.org", false),
        ] {
            assert_eq!(identity.is_called(name), expected, "{name}");
        }
        assert_eq!(
            identity.names(),
            "/O=School/CN=ups,room 1, ups.example.org, *.lab.example.org, 192.0.2.7, 2001:db8::7"
        );
    }

    #[test]
    fn a_star_is_one_label_and_never_a_whole_country() {
        assert!(is_host("*.example.org", "a.example.org"));
        assert!(!is_host("*.org", "example.org"));
        assert!(!is_host("*", "org"));
        assert!(!is_host("a*.example.org", "ab.example.org"));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"0", b"\x30\x82\xff\xff", &[0x30; 64]] {
            assert!(Identity::of(&CertificateDer::from(bytes)).is_err());
        }
        // Every cut of a real one.
        let whole = authority("Test CA").der();
        for len in 0..whole.len() {
            assert!(Identity::of(&CertificateDer::from(whole.get(..len).unwrap())).is_err(), "{len}");
        }
    }
}
