//! TLS: what the files ask for, and one client's stream behind `STARTTLS`.

use nut_conf::upsd_conf::Tls;
use nut_tls::server::Demand;
use nut_tls::shell::{ServerFiles, TlsError, nss_advice};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tracing::{error, warn};

/// What upsd.conf asks for: nothing without `CERTFILE`. Relative paths are below the directory of the configuration.
///
/// # Errors
/// When a certificate is asked for and cannot be used.
pub(crate) fn configuration(confpath: &Path, conf: &Tls) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let cert_path = conf.cert_path.as_ref().map(|path| confpath.join(path));
    let name = conf.cert_ident.as_ref().map(|(name, _)| name.as_str());
    let Some(cert_file) = &conf.cert_file else {
        if let Some(advice) = cert_path.as_deref().and_then(|path| nss_advice(path, name)) {
            // As a server of NUT that was built with OpenSSL: it serves in clear.
            error!("no TLS: {advice}");
        } else if cert_path.is_some() || conf.cert_request.is_some_and(|request| request > 0) {
            warn!("no TLS: CERTPATH and CERTREQUEST do nothing without CERTFILE <certificate and key>");
        }
        return Ok(None);
    };
    let demand = match conf.cert_request {
        None | Some(0) => Demand::No,
        Some(1) => Demand::Request,
        Some(_) => Demand::Require,
    };
    let files = ServerFiles {
        cert_file: &confpath.join(cert_file),
        ident: conf.cert_ident.as_ref().map(|(name, password)| (name.as_str(), password)),
        cert_path: cert_path.as_deref(),
        demand,
    };
    nut_tls::shell::server(&files).map(Some)
}

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progressed {
    /// Nothing is there.
    Blocked,
    /// Something was; there may be more.
    Read,
    /// The client has ended its stream.
    End,
}

/// Why a stream is of no more use.
#[derive(Debug, Error)]
pub(crate) enum Broken {
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// One client's stream. It never waits: bytes go in and out of it as the socket has them.
#[derive(Debug)]
pub(crate) struct Session {
    connection: ServerConnection,
    /// Bytes that came since something was last understood, or more than there are of them.
    half: usize,
}

impl Session {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Option<Self> {
        let mut connection = ServerConnection::new(config).ok()?;
        // What waits is kept, and bounded, on the encrypted side.
        connection.set_buffer_limit(None);
        Some(Self { connection, half: 0 })
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Most bytes of the client that may be kept because what they begin is not whole yet.
    pub(crate) fn half(&self) -> usize {
        self.half
    }

    /// Reads once, and adds what the client said. Then [`Session::take_wire`] has what goes back.
    pub(crate) fn read(&mut self, stream: &mut TcpStream, plain: &mut Vec<u8>) -> Result<Progressed, Broken> {
        let count = match self.connection.read_tls(stream) {
            Ok(0) => return Ok(Progressed::End),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(Progressed::Blocked);
            }
            Err(error) => return Err(error.into()),
        };
        let was_handshaking = self.connection.is_handshaking();
        let state = self.connection.process_new_packets()?;
        let is_understood = state.plaintext_bytes_to_read() > 0
            || self.connection.wants_write()
            || was_handshaking && !self.connection.is_handshaking();
        self.half = if is_understood { count } else { self.half.saturating_add(count) };
        if state.plaintext_bytes_to_read() > 0 {
            // All of it is there: this ends when it is read.
            let expected = u64::try_from(state.plaintext_bytes_to_read()).unwrap_or(u64::MAX);
            self.connection.reader().take(expected).read_to_end(plain)?;
        }
        Ok(if state.peer_has_closed() { Progressed::End } else { Progressed::Read })
    }

    /// Adds what must go to the client, now or because of what it said.
    pub(crate) fn take_wire(&mut self, wire: &mut Vec<u8>) {
        while self.connection.wants_write() {
            if self.connection.write_tls(wire).is_err() {
                // Memory takes everything.
                return;
            }
        }
    }

    /// Adds these bytes, encrypted.
    pub(crate) fn encrypt(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        // Without a limit it takes everything.
        let _ = self.connection.writer().write_all(plain);
        self.take_wire(wire);
    }

    /// Adds the word that the stream ends here.
    pub(crate) fn close(&mut self, wire: &mut Vec<u8>) {
        self.connection.send_close_notify();
        self.take_wire(wire);
    }
}
