//! Reading the files that `CERTFILE` and `CERTPATH` name, and answering a database of NSS.

use crate::material::{Authorities, Credentials, MaterialError};
use crate::pem::{self, PemError};
use crate::server::{self, Demand};
use nut_os::files::{FileError, describe_permissions, read_limited, warn_if_world_readable};
use nut_os::privilege::whoami;
use nut_proto::names::Secret;
use rustls::ServerConfig;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tracing::{debug, warn};

/// Longest file that is read, in bytes: a host's bundle of all authorities has a quarter of a megabyte.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Most files of a directory that are looked at.
const MAX_FILES: usize = 4096;

/// How long before its end a certificate's end is told.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// Files that make a directory a database of NSS, the newer kind first.
const NSS_FILES: [&str; 2] = ["cert9.db", "cert8.db"];

/// Why there is no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{directive} {}: {}", path.display(), why_unread(path, source.is_not_found()))]
    File {
        /// Who named it.
        directive: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: FileError,
    },
    /// A directory cannot be read.
    #[error("{directive} {}: {}", path.display(), why_unread(path, false))]
    Directory {
        /// Who named it.
        directive: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{directive} {}: {source}", path.display())]
    Pem {
        /// Who named it.
        directive: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: PemError,
    },
    /// Certificate and key are of no use.
    #[error("{directive} {}: {source}", path.display())]
    Material {
        /// Who named it.
        directive: &'static str,
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: MaterialError,
    },
    /// No authority.
    #[error("CERTPATH {} holds no certificate of an authority: put PEM files there", path.display())]
    NoAuthority {
        /// Where.
        path: PathBuf,
    },
    /// Clients are to be checked, and nobody says against what.
    #[error(
        "CERTREQUEST asks clients for certificates, but CERTPATH does not say whose: add CERTPATH <file or directory>"
    )]
    NoCertPath,
    /// A database of NSS, which we do not read.
    #[error("{0}")]
    NssDatabase(NssAdvice),
    /// rustls does not take it.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What to do with a database of NSS: the commands that write its content as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "CERTPATH {0} is a database of NSS, which is not read; write its content as PEM files:\n\
     \x20 pk12util -d {0} -n '{name}' -o /tmp/upsd.p12\n\
     \x20 openssl pkcs12 -in /tmp/upsd.p12 -nodes -out {beside}/cert.pem && rm /tmp/upsd.p12\n\
     \x20 certutil -d {0} -L -n '<name of the authority>' -a > {beside}/ca.pem\n\
     \x20 (certutil -d {0} -L lists the names), then set: CERTFILE {beside}/cert.pem and CERTPATH {beside}/ca.pem",
    path.display(), beside = beside(path)
)]
pub struct NssAdvice {
    /// Where it is.
    pub path: PathBuf,
    /// The name of our certificate in it, as `CERTIDENT` says.
    pub name: String,
}

fn why_unread(path: &Path, is_absent: bool) -> String {
    if is_absent {
        return "there is no such file".to_owned();
    }
    format!("cannot be read ({}; we are {})", describe_permissions(path), whoami())
}

fn beside(path: &Path) -> String {
    nut_os::files::directory_of(path).display().to_string()
}

/// Whether this is a database of NSS, and what to do then.
#[must_use]
pub fn nss_advice(path: &Path, name: Option<&str>) -> Option<NssAdvice> {
    let is_one = NSS_FILES.iter().any(|file| path.join(file).exists());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("<name of our certificate>").to_owned();
    is_one.then(|| NssAdvice { path: path.to_path_buf(), name })
}

/// What a server's files are.
#[derive(Debug, Clone, Copy)]
pub struct ServerFiles<'a> {
    /// `CERTFILE`: certificate, those of its issuers, and key.
    pub cert_file: &'a Path,
    /// `CERTIDENT`: the name the certificate must bear if it is not empty, and the password of the key.
    pub ident: Option<(&'a str, &'a Secret)>,
    /// `CERTPATH`: whose certificates clients may show.
    pub cert_path: Option<&'a Path>,
    /// `CERTREQUEST`.
    pub demand: Demand,
}

/// Reads a server's files.
///
/// # Errors
/// [`TlsError`], with what to do.
pub fn server(files: &ServerFiles<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let credentials = credentials(files.cert_file, files.ident)?;
    let authorities = match (files.demand, files.cert_path) {
        (Demand::No, _) => None,
        (_, None) => return Err(TlsError::NoCertPath),
        (_, Some(path)) => Some(authorities(path, files.ident.map(|(name, _)| name))?),
    };
    Ok(server::configuration(&credentials, authorities, files.demand)?)
}

/// Reads our own certificate and key, and warns of what will be trouble.
///
/// # Errors
/// [`TlsError`], with what to do.
pub fn credentials(path: &Path, ident: Option<(&str, &Secret)>) -> Result<Credentials, TlsError> {
    const DIRECTIVE: &str = "CERTFILE";
    let text = read(DIRECTIVE, path)?;
    let wrong = |source| TlsError::Pem { directive: DIRECTIVE, path: path.to_path_buf(), source };
    let chain = pem::certificates(&text).map_err(wrong)?;
    let password = ident.map(|(_, password)| password).filter(|password| !password.reveal().is_empty());
    let key = pem::private_key(&text, password).map_err(wrong)?;
    let wrong = |source| TlsError::Material { directive: DIRECTIVE, path: path.to_path_buf(), source };
    let credentials = Credentials::new(chain, key).map_err(wrong)?;
    if let Some((name, _)) = ident
        && !name.is_empty()
    {
        credentials.must_be_called(name).map_err(wrong)?;
    }
    let _ = warn_if_world_readable(path);
    warn_of_its_end(path, &credentials);
    Ok(credentials)
}

fn warn_of_its_end(path: &Path, credentials: &Credentials) {
    let identity = credentials.identity();
    #[expect(clippy::disallowed_methods, reason = "a certificate's dates are dates of the wall clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let path = path.display();
    if now > identity.not_after {
        warn!("the certificate in {path} has expired: whoever checks it will turn it away");
    } else if now + SOON > identity.not_after {
        let days = (identity.not_after - now).as_secs() / (24 * 3600);
        warn!("the certificate in {path} expires in {days} days");
    } else if now < identity.not_before {
        warn!("the certificate in {path} does not hold yet (or this host's clock is wrong)");
    }
}

/// Reads the authorities of a directory (all its PEM files, under whatever name) or of one file.
///
/// # Errors
/// [`TlsError`], with what to do. `name` is that of `CERTIDENT`, for the advice on a database of NSS.
pub fn authorities(path: &Path, name: Option<&str>) -> Result<Authorities, TlsError> {
    const DIRECTIVE: &str = "CERTPATH";
    if let Some(advice) = nss_advice(path, name) {
        return Err(TlsError::NssDatabase(advice));
    }
    let mut found = Authorities::default();
    if path.is_dir() {
        let wrong = |source| TlsError::Directory { directive: DIRECTIVE, path: path.to_path_buf(), source };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(path).map_err(wrong)? {
            if files.len() == MAX_FILES {
                warn!("CERTPATH {}: only {MAX_FILES} of its files are looked at", path.display());
                break;
            }
            files.push(entry.map_err(wrong)?.path());
        }
        files.sort();
        // Hashed names are links to the files: each certificate is taken once.
        let mut seen = std::collections::HashSet::new();
        for file in files {
            let text = match read_limited(&file, MAX_FILE) {
                Ok(text) => text,
                Err(error) => {
                    debug!("not looked at: {error}");
                    continue;
                }
            };
            let certificates = match pem::certificates(&text) {
                Ok(certificates) => certificates,
                // Not every file of a directory must be one of ours.
                Err(PemError::NoCertificate) => continue,
                Err(error) => {
                    warn!("CERTPATH {}: passed over, for it {error}", file.display());
                    continue;
                }
            };
            found.add(certificates.into_iter().filter(|one| seen.insert(one.to_vec())).collect());
        }
    } else {
        let text = read(DIRECTIVE, path)?;
        let wrong = |source| TlsError::Pem { directive: DIRECTIVE, path: path.to_path_buf(), source };
        found.add(pem::certificates(&text).map_err(wrong)?);
    }
    if found.is_empty() {
        return Err(TlsError::NoAuthority { path: path.to_path_buf() });
    }
    if found.left_out > 0 {
        warn!("CERTPATH {}: {} certificates cannot be used", path.display(), found.left_out);
    }
    Ok(found)
}

fn read(directive: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    read_limited(path, MAX_FILE).map_err(|source| TlsError::File {
        directive,
        path: path.to_path_buf(),
        source,
    })
}

#[cfg(test)]
mod tests;
