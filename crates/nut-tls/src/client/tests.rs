//! Both ends of a handshake, in memory.

use super::*;
use crate::pem;
use crate::server::{self, Demand};
use crate::testing::{Authority, Host, OPENSSL_V1, authority, lone};
use rustls::{ClientConnection, ServerConnection};

fn credentials(text: &str) -> Credentials {
    let (chain, key) = (pem::certificates(text.as_bytes()), pem::private_key(text.as_bytes(), None));
    Credentials::new(chain.unwrap(), key.unwrap()).unwrap()
}

fn authorities(of: &[CertificateDer<'static>]) -> Authorities {
    let mut found = Authorities::default();
    found.add(of.to_vec());
    found
}

fn trusting(of: &[CertificateDer<'static>], name: Option<&str>) -> Trust {
    Trust { authorities: Some(Arc::new(authorities(of))), name: name.map(Into::into) }
}

/// Shakes hands, and says a word each way; gives the error of whoever saw one first.
fn meet(client: Arc<ClientConfig>, server: Arc<rustls::ServerConfig>) -> Result<(), rustls::Error> {
    let name = ServerName::try_from("any").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

fn serve(own: &str) -> Arc<rustls::ServerConfig> {
    server::configuration(&credentials(own), None, Demand::No).unwrap()
}

#[test]
fn without_verification_any_certificate_will_do() {
    let ca = authority("CA");
    for own in [ca.own(), ca.host("one").own(), ca.expired("old").own(), OPENSSL_V1.to_owned()] {
        meet(configuration(Trust::default(), None).unwrap(), serve(&own)).unwrap();
    }
}

#[test]
fn with_it_somebody_trusted_must_stand_for_the_server_whatever_its_name() {
    let (ca, other) = (authority("CA"), authority("Other"));
    let client = |trust| configuration(trust, None).unwrap();
    let own = ca.host("one.example.org").own();
    meet(client(trusting(&[other.der(), ca.der()], None)), serve(&own)).unwrap();
    let error = meet(client(trusting(&[other.der()], None)), serve(&own)).unwrap_err();
    assert_eq!(error, CertificateError::UnknownIssuer.into());
    let error = meet(client(trusting(&[ca.der()], None)), serve(&ca.expired("old").own())).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn the_name_counts_where_one_is_asked_for() {
    let ca = authority("CA");
    let own = ca.host("one.example.org").own();
    for (name, good) in [("one.example.org", true), ("two.example.org", false), ("/CN=one.example.org", true)]
    {
        for trust in [trusting(&[ca.der()], Some(name)), Trust { authorities: None, name: Some(name.into()) }]
        {
            let met = meet(configuration(trust, None).unwrap(), serve(&own));
            assert_eq!(met.is_ok(), good, "{name}: {met:?}");
        }
    }
}

/// `openssl req -x509` makes every certificate an authority; guides put the server's own into CERTPATH.
#[test]
fn the_servers_own_certificate_among_the_trusted_is_trusted() {
    let own: Authority = authority("ups.example.org");
    meet(configuration(trusting(&[own.der()], Some("ups.example.org")), None).unwrap(), serve(&own.own()))
        .unwrap();
    // One that merely bears the same name is not.
    let stranger = authority("ups.example.org");
    assert!(
        meet(configuration(trusting(&[own.der()], None), None).unwrap(), serve(&stranger.own())).is_err()
    );
    // One of X.509's first version is taken, too, if it is the very one.
    let first: Vec<_> = pem::certificates(OPENSSL_V1.as_bytes()).unwrap();
    meet(configuration(trusting(&first, None), None).unwrap(), serve(OPENSSL_V1)).unwrap();
}

#[test]
fn a_server_asks_clients_for_certificates_as_it_is_told() {
    let (ca, clients, strangers) = (authority("CA"), authority("Clients"), authority("Strangers"));
    let host: Host = ca.host("one");
    let serve = |demand| {
        server::configuration(&credentials(&host.own()), Some(authorities(&[clients.der()])), demand).unwrap()
    };
    let none = || configuration(Trust::default(), None).unwrap();
    let with = |own: &str| configuration(Trust::default(), Some(&credentials(own))).unwrap();
    let (good, bad) = (clients.host("client").own(), strangers.host("client").own());
    for (demand, without, with_good, with_bad) in [
        (Demand::No, true, true, true),
        (Demand::Request, true, true, false),
        (Demand::Require, false, true, false),
    ] {
        assert_eq!(meet(none(), serve(demand)).is_ok(), without, "{demand:?}");
        assert_eq!(meet(with(&good), serve(demand)).is_ok(), with_good, "{demand:?}");
        assert_eq!(meet(with(&bad), serve(demand)).is_ok(), with_bad, "{demand:?}");
    }
    // A client whose very certificate is among the trusted.
    meet(with(&clients.own()), serve(Demand::Require)).unwrap();
    assert!(meet(with(&clients.expired("client").own()), serve(Demand::Require)).is_err());
}

#[test]
fn an_answer_signed_with_another_key_is_refused() {
    let ca = authority("CA");
    let (one, other) = (ca.host("one"), ca.host("one"));
    let key = credentials(&other.own()).key.key.clone();
    let forged = Credentials::forged(vec![one.der()], key);
    let server = server::configuration(&forged, None, Demand::No).unwrap();
    assert!(meet(configuration(Trust::default(), None).unwrap(), server).is_err());
}

/// Whoever holds the key of one trusted server must not be able to pass for another one.
#[test]
fn a_trusted_certificate_that_is_no_authority_stands_for_itself_alone() {
    let (one, ca) = (lone("one"), authority("CA"));
    let forged = one.host("two").own();
    for trusted in [&[one.der()][..], &[one.der(), ca.der()]] {
        let client = |name| configuration(trusting(trusted, Some(name)), None).unwrap();
        meet(client("one"), serve(&one.own())).unwrap();
        let error = meet(client("two"), serve(&forged)).unwrap_err();
        assert_eq!(error, CertificateError::UnknownIssuer.into());
        let server = || {
            let trusted = Some(authorities(trusted));
            server::configuration(&credentials(&ca.host("ups").own()), trusted, Demand::Require).unwrap()
        };
        let with = |own: &str| configuration(Trust::default(), Some(&credentials(own))).unwrap();
        meet(with(&one.own()), server()).unwrap();
        assert!(meet(with(&forged), server()).is_err());
    }
}
