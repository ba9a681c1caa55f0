//! Looking up a host's addresses: one question at a time, and what was known before while it stays without an answer.
//!
//! The system's resolver can only be asked by a thread that waits, perhaps for a minute, and cannot be called back. Who
//! tries again every second must not leave a thread behind each time: so the question that is out is waited for again.
//! And who has been connected before needs no name server to come back: after a power failure that is often the first
//! thing to be gone.

use std::io;
use std::net::SocketAddr;

use nut_os::clock::{self, Alarm};
use nut_proto::Moment;
use nut_proto::names::Server;
use std::time::Duration;
use tokio::task::JoinHandle;
use tracing::debug;

use super::by;

/// How long a look-up is waited for where addresses are known from before; less if connecting may take no longer than
/// twice that.
const NEWER: Duration = Duration::from_secs(3);

/// The addresses of one server, looked up again for each connection.
#[derive(Debug, Default)]
pub struct Lookup {
    /// Whose they are.
    server: Option<Server>,
    known: Vec<SocketAddr>,
    /// The question that is out.
    asked: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Lookup {
    /// Nothing known, nothing asked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The addresses of this server, in the order of the resolver; those of before if it fails or takes long. Empty if
    /// there are none by this moment.
    pub(super) async fn addresses(
        &mut self,
        server: &Server,
        alarm: &mut Alarm,
        end: Option<Moment>,
    ) -> Vec<SocketAddr> {
        if self.server.as_ref() != Some(server) {
            *self = Self { server: Some(server.clone()), ..Self::default() };
        }
        let (host, port) = (server.host.clone(), server.port);
        let asked = self.asked.get_or_insert_with(|| {
            tokio::spawn(async move { Ok(tokio::net::lookup_host((&*host, port)).await?.collect()) })
        });
        let end = if self.known.is_empty() { end } else { Some(sooner(end)) };
        match by(alarm, end, asked).await {
            Some(Ok(Ok(found))) => {
                self.asked = None;
                self.known = found;
                self.known.dedup();
            }
            Some(failed) => {
                self.asked = None;
                debug!(%server, ?failed, known = self.known.len(), "not looked up");
            }
            None => debug!(%server, known = self.known.len(), "the name server takes long"),
        }
        self.known.clone()
    }
}

/// Half of the time there is, but not long.
fn sooner(end: Option<Moment>) -> Moment {
    let now = clock::now();
    let wait = end.map_or(NEWER, |end| NEWER.min(end.since(now) / 2));
    now + wait
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        Server { host: host.into(), port: 3493 }
    }

    async fn within(lookup: &mut Lookup, server: &Server, wait: Duration) -> Vec<SocketAddr> {
        let mut alarm = Alarm::new().unwrap();
        lookup.addresses(server, &mut alarm, Some(clock::now() + wait)).await
    }

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    fn out(lookup: &Lookup) -> Option<tokio::task::Id> {
        lookup.asked.as_ref().map(JoinHandle::id)
    }

    #[tokio::test]
    async fn a_name_server_that_hangs_is_asked_one_question_however_often_it_is_tried() {
        let mut lookup = Lookup::new();
        let host = server("ups.example.org");
        let hanging = tokio::spawn(std::future::pending());
        let id = hanging.id();
        lookup = Lookup { server: Some(host.clone()), asked: Some(hanging), ..lookup };
        for _ in 0..3 {
            assert!(within(&mut lookup, &host, SHORT).await.is_empty());
            assert_eq!(out(&lookup), Some(id));
        }
        // Another host is another question, and the answer to the old one is nobody's.
        assert_eq!(
            within(&mut lookup, &server("127.0.0.1"), LONG).await,
            ["127.0.0.1:3493".parse().unwrap()]
        );
        assert_eq!(out(&lookup), None);
    }

    #[tokio::test]
    async fn without_a_name_server_the_addresses_of_before_are_used() {
        let mut lookup = Lookup::new();
        let host = server("127.0.0.1");
        let known = within(&mut lookup, &host, LONG).await;
        assert_eq!(known.len(), 1);
        // It hangs; it fails; and then it has moved.
        lookup.asked = Some(tokio::spawn(std::future::pending()));
        assert_eq!(within(&mut lookup, &host, SHORT).await, known);
        lookup.asked = Some(tokio::spawn(async { Err(io::ErrorKind::NotFound.into()) }));
        assert_eq!(within(&mut lookup, &host, LONG).await, known);
        assert_eq!(out(&lookup), None, "it is asked anew");
        let moved: Vec<SocketAddr> = vec!["127.0.0.2:3493".parse().unwrap()];
        let answer = moved.clone();
        lookup.asked = Some(tokio::spawn(async { Ok(answer) }));
        assert_eq!(within(&mut lookup, &host, LONG).await, moved);
    }

    /// As with a host that has an address of IPv6 where its server listens on IPv4 alone.
    #[tokio::test]
    async fn all_addresses_of_a_host_are_tried_in_their_order() {
        use crate::connection::{Connection, Deadlines, Family};
        use tokio::net::TcpListener;
        let heard = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let unheard = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [good, bad] = [&heard, &unheard].map(|listener| listener.local_addr().unwrap());
        drop(unheard);
        let host = server("ups.example");
        let open = async |answer: Vec<SocketAddr>| {
            let asked = Some(tokio::spawn(async { Ok(answer) }));
            let mut lookup = Lookup { server: Some(host.clone()), known: Vec::new(), asked };
            let opening = Connection::open_again(&host, Deadlines::default(), Family::Any, &mut lookup);
            opening.await.map(|connection| connection.address())
        };
        assert_eq!(open(vec![bad, good]).await, Ok(good));
        assert_eq!(open(vec![good, bad]).await, Ok(good));
        // What is told is the last one's failure.
        let error = open(vec![bad, bad]).await.unwrap_err();
        assert_eq!(error.to_string(), "Connection failure: Connection refused");
    }
}
