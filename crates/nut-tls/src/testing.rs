//! Certificates for tests: made on the spot, and some that OpenSSL made.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

/// Why it cannot fail.
const MADE: &str = "it was made by ourselves";

/// An authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// As PEM.
    pub certificate: String,
    /// As PEM.
    pub key: String,
}

/// A host's certificate and key.
#[derive(Debug)]
pub struct Host {
    /// As PEM.
    pub certificate: String,
    /// As PEM.
    pub key: String,
}

fn named(organization: Option<&str>, common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect(MADE);
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

/// A new authority of this name.
#[must_use]
pub fn authority(name: &str) -> Authority {
    let key = KeyPair::generate().expect(MADE);
    let text = key.serialize_pem();
    let mut params = named(None, name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let issuer = CertifiedIssuer::self_signed(params, key).expect(MADE);
    Authority { certificate: issuer.pem(), issuer, key: text }
}

/// A host's certificate that nobody signed but itself, and that says it is no authority; used as one all the same.
#[must_use]
pub fn lone(name: &str) -> Authority {
    let key = KeyPair::generate().expect(MADE);
    let text = key.serialize_pem();
    let mut params = named(None, name, &[name]);
    params.is_ca = IsCa::ExplicitNoCa;
    let issuer = CertifiedIssuer::self_signed(params, key).expect(MADE);
    Authority { certificate: issuer.pem(), issuer, key: text }
}

impl Authority {
    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// Certificate and key in one text, as `CERTFILE` wants them.
    #[must_use]
    pub fn own(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }

    /// A certificate of a host, good for both ends.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        self.sign(named(None, name, &[name]))
    }

    /// A certificate of an organization's host with these names and addresses.
    #[must_use]
    pub fn issue(&self, organization: &str, common: &str, names: &[&str]) -> Host {
        self.sign(named(Some(organization), common, names))
    }

    /// One that has expired.
    #[must_use]
    pub fn expired(&self, name: &str) -> Host {
        let mut params = named(None, name, &[name]);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Host {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect(MADE);
        let certificate = params.signed_by(&key, &self.issuer).expect(MADE);
        Host { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Host {
    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        crate::pem::certificates(self.certificate.as_bytes()).expect(MADE).remove(0)
    }

    /// Certificate and key in one text, as `CERTFILE` wants them.
    #[must_use]
    pub fn own(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// `openssl x509 -req` makes certificates of X.509's first version.
pub const OPENSSL_V1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBIjCBygIUTWX6vAvqiMyCTP8MZUG9UFDNUkswCgYIKoZIzj0EAwIwDTELMAkG
A1UEAwwCQ0EwIBcNMjYxMTI1MDczNDA5WhgPMjEyNjExMDEwNzM0MDlaMBoxGDAW
BgNVBAMMD29sZC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BCnqwZiXmWZlzRsr70L/fyO2BjOjRfj5H59gpG+E4sIhgKO56wWu0O12BRAxbFvP
Vp4kM7YKF2fvrweXOi+M0/MwCgYIKoZIzj0EAwIDRwAwRAIgVIKvju/he8QOIZk3
WzxyFnrUWjBMvU454Z/dxnNjq7cCIFloinp8KYPsmDrGh6U+foMU9H0PzBxEjnVG
kVJ6CIXT
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9zKxnQmHkfpvZSM+
+D5UFbNVjvkilHZF6PjoXoQprvOhRANCAAQp6sGYl5lmZc0bK+9C/38jtgYzo0X4
+R+fYKRvhOLCIYCjuesFrtDtdgUQMWxbz1aeJDO2Chdn768HlzovjNPz
-----END PRIVATE KEY-----
";

/// `openssl pkcs8 -topk8 -v2 aes-256-cbc`
pub const OPENSSL_ENCRYPTED_KEY: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhWkfCGzn1pfAICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJAOnnb7Jb/n91leQyeOa08EgZCE
dN6hPALTjbRzCLtdh95MaINOKBv7D1z2w5qht9SbpHTHshsi7/ScHrag2h9AW/Nq
FInoR5t2ZbXCMMf5pmVGUH4BWXvCMyCv3REyB4QUwMOD+qlFrvH74A40M/lXUmbd
9Jv5R7oduc59IysB480MDZP99d8hiqOalryLwRnGmBpmZeqXo+JR6l8/Jnbuk64=
-----END ENCRYPTED PRIVATE KEY-----
";

/// What opens it.
pub const OPENSSL_PASSWORD: &str = "open sesame";

/// `openssl ec -aes128`
pub const OPENSSL_TRADITIONAL_KEY: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,1F12C2D89705953CCEC1F6B1B42E4237

LpTZK3GLEk+KRcgeqggCPk6mzSPU9KAqOqwU+dhGaXsxBCG65WpWl/sbuoAmvQiX
OA0bbbBzaYEMAs3SibZAnfiUx0O2cM9f9a2CEArGQ1DX47k/4W9mfqGHuq3AhNDb
1zEUD0/AuZEOgVhyeZCETVzeqFlsyt4EiTLlaNFWaGI=
-----END EC PRIVATE KEY-----
";
