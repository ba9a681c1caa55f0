//! The thread that calculates hashes, so that nobody else waits for it. It lives as long as one calculation.

use crate::events::ClientId;
use crate::hashing::{self, Finding};
use nut_conf::upsd_users::PasswordHash;
use nut_proto::names::Secret;
use std::thread;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::warn;

/// Bytes of its stack: argon2 keeps its memory elsewhere.
const STACK: usize = 512 * 1024;

/// Findings that wait to be fetched: the server asks for one check at a time.
const WAITING: usize = 4;

/// Starts calculations; what comes of them is fetched from the other end.
#[derive(Debug)]
pub(crate) struct Verifier(Sender<(ClientId, Finding)>);

impl Verifier {
    /// Both ends.
    pub(crate) fn new() -> (Self, Receiver<(ClientId, Finding)>) {
        let (sender, receiver) = channel(WAITING);
        (Self(sender), receiver)
    }

    /// Finds out whether the password is the one that the hash was made of.
    pub(crate) fn start(&self, client: ClientId, password: Secret, hash: PasswordHash) {
        let report = Report { to: self.0.clone(), client, finding: Finding::Unable };
        let work = move || report.tell(hashing::verify(password.reveal(), &hash));
        if let Err(error) = thread::Builder::new().name("password".into()).stack_size(STACK).spawn(work) {
            warn!("no thread to check a password in: {error}");
        }
    }
}

/// Tells what was found when it goes: also if there never was a thread, or if it came to grief.
struct Report {
    to: Sender<(ClientId, Finding)>,
    client: ClientId,
    finding: Finding,
}

impl Report {
    fn tell(mut self, finding: Finding) {
        self.finding = finding;
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // There is room, or nobody is there to hear it.
        let _ = self.to.try_send((self.client, self.finding));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;
    use std::time::Duration;

    #[tokio::test]
    async fn what_is_found_is_told() {
        let (verifier, mut findings) = Verifier::new();
        let client = ClientId(Slab::default().insert(()));
        let hash = hashing::hash("right", [1; hashing::SALT]).unwrap();
        for (password, expected) in [("right", Finding::Right), ("wrong", Finding::Wrong)] {
            verifier.start(client, Secret::new(password), hash.clone());
            let found = tokio::time::timeout(Duration::from_secs(60), findings.recv()).await;
            assert_eq!(found.expect("within the deadline"), Some((client, expected)));
        }
    }

    #[tokio::test]
    async fn a_thread_that_comes_to_grief_is_told_too() {
        let (verifier, mut findings) = Verifier::new();
        let client = ClientId(Slab::default().insert(()));
        let report = Report { to: verifier.0.clone(), client, finding: Finding::Unable };
        drop(thread::spawn(move || {
            let _report = report;
            panic!("as it may");
        }));
        let found = tokio::time::timeout(Duration::from_secs(60), findings.recv()).await;
        assert_eq!(found.expect("within the deadline"), Some((client, Finding::Unable)));
    }
}
