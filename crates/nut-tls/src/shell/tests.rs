//! Files as people make them.

use super::*;
use crate::testing::{OPENSSL_ENCRYPTED_KEY, authority};
use std::sync::atomic::{AtomicU32, Ordering};

/// A private directory, removed when it goes.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("nut-tls-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn files(cert_file: &Path) -> ServerFiles<'_> {
    ServerFiles { cert_file, ident: None, cert_path: None, demand: Demand::No }
}

#[test]
fn a_servers_file_is_read_and_its_name_is_checked() {
    let scratch = Scratch::new();
    let ca = authority("CA");
    let path = scratch.file("upsd.pem", &ca.host("ups.example.org").own());
    server(&files(&path)).unwrap();
    let password = Secret::new("");
    let named = |name| server(&ServerFiles { ident: Some((name, &password)), ..files(&path) });
    named("").unwrap();
    named("ups.example.org").unwrap();
    let error = named("other.example.org").unwrap_err().to_string();
    assert!(error.contains("upsd.pem") && error.contains("other.example.org"), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_directive_file_and_remedy() {
    let scratch = Scratch::new();
    let host = authority("CA").host("one");
    let secret = Secret::new("wrong");
    let cases: [(&str, &str, Option<&Secret>, &str); 5] = [
        ("empty.pem", "", None, "holds no certificate"),
        ("nokey.pem", &host.certificate, None, "holds no private key"),
        ("rubbish.pem", "-----BEGIN CERTIFICATE-----\n???\n", None, "is no PEM file, or a damaged one"),
        (
            "locked.pem",
            &format!("{}{OPENSSL_ENCRYPTED_KEY}", host.certificate),
            None,
            "write CERTIDENT \"\" <password>",
        ),
        (
            "wrong.pem",
            &format!("{}{OPENSSL_ENCRYPTED_KEY}", host.certificate),
            Some(&secret),
            "does not open",
        ),
    ];
    for (name, text, password, words) in cases {
        let path = scratch.file(name, text);
        let ident = password.map(|password| ("", password));
        let error = server(&ServerFiles { ident, ..files(&path) }).unwrap_err().to_string();
        assert!(error.starts_with("CERTFILE ") && error.contains(name) && error.contains(words), "{error}");
        assert!(!error.contains("wrong\""), "the password is shown: {error}");
    }
    let error = server(&files(&scratch.0.join("missing.pem"))).unwrap_err().to_string();
    assert!(error.contains("missing.pem: there is no such file"), "{error}");
    let error = server(&files(&scratch.0)).unwrap_err().to_string();
    assert!(error.contains("cannot be read") && error.contains("we are"), "{error}");
}

#[test]
fn authorities_are_a_file_of_many_or_a_directory_under_whatever_names() {
    let scratch = Scratch::new();
    let (one, other) = (authority("One"), authority("Other"));
    let bundle = scratch.file("bundle.pem", &format!("{}{}", one.certificate, other.certificate));
    assert_eq!(authorities(&bundle, None).unwrap().len(), 2);
    scratch.file("dir/one.pem", &one.certificate);
    scratch.file("dir/other.crt", &other.certificate);
    scratch.file("dir/README", "no certificate here");
    scratch.file("dir/sub/ignored.pem", &authority("Third").certificate);
    // As `openssl rehash` makes it: the same once more.
    std::os::unix::fs::symlink("one.pem", scratch.0.join("dir/0a1b2c3d.0")).unwrap();
    assert_eq!(authorities(&scratch.0.join("dir"), None).unwrap().len(), 2);
    // A damaged file costs itself, not the others.
    scratch.file("dir/damaged.pem", "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n");
    assert_eq!(authorities(&scratch.0.join("dir"), None).unwrap().len(), 2);
    scratch.file("none/README", "no certificate here");
    let error = authorities(&scratch.0.join("none"), None).unwrap_err().to_string();
    assert!(error.contains("holds no certificate of an authority"), "{error}");
}

#[test]
fn clients_cannot_be_checked_against_nothing() {
    let scratch = Scratch::new();
    let path = scratch.file("upsd.pem", &authority("CA").host("one").own());
    for demand in [Demand::Request, Demand::Require] {
        let error = server(&ServerFiles { demand, ..files(&path) }).unwrap_err();
        assert!(matches!(error, TlsError::NoCertPath), "{error}");
    }
}

#[test]
fn a_database_of_nss_is_answered_with_the_commands_that_export_it() {
    let scratch = Scratch::new();
    scratch.file("nss/cert9.db", "SQLite format 3");
    let path = scratch.0.join("nss");
    let advice = nss_advice(&path, Some("NUT server")).unwrap().to_string();
    for words in ["pk12util -d", "-n 'NUT server'", "openssl pkcs12", "certutil -d", "set: CERTFILE"] {
        assert!(advice.contains(words), "{words}: {advice}");
    }
    assert!(authorities(&path, Some("NUT server")).unwrap_err().to_string().contains("pk12util"));
    assert_eq!(nss_advice(&scratch.0, None), None);
}
