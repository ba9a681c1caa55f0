//! Where upsd listens: what `LISTEN` asks for, what the host has, and whether that is enough (upsd §7).

use crate::shell::options::Family;
use nix::sys::socket::{setsockopt, sockopt};
use nut_conf::upsd_conf::UpsdConf;
use nut_os::log::Chain;
use nut_os::socket::SocketError;
use nut_proto::names::DEFAULT_PORT;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use thiserror::Error;
use tokio::net::TcpSocket;
use tracing::{error, info, warn};

/// How many connections may wait to be accepted; NUT has 16. The kernel may cut it (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// Why upsd cannot start: nobody could reach it.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    /// A name that leads to no address.
    #[error("getaddrinfo('{name}'): {source}; see LISTEN in upsd.conf")]
    NoAddress {
        /// The name.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// Not one socket.
    #[error(
        "no listening interface available: see the lines above, LISTEN in upsd.conf, and whether upsd runs already"
    )]
    Nothing,
    /// Not all sockets.
    #[error(
        "Fatal error: some listening interfaces were not available: see the lines above; \
         write ALLOW_NOT_ALL_LISTENERS true in upsd.conf to start nevertheless"
    )]
    NotAll,
}

/// One place to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// As configured.
    address: String,
    port: u16,
    /// Whether it means only this host: such a one may be missing.
    is_localhost: bool,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The first address that works.
    First,
    /// Every address of this host: both families if possible, one at least.
    Every,
}

/// What the configuration asks for.
///
/// Without `LISTEN`: this host only. A file in NUT 2.0's manner, with access rules, means every address: NUT 2.0
/// listened there, and the rules keep strangers out.
fn places(conf: &UpsdConf, family: Family) -> Vec<Place> {
    let place = |address: &str, port: u16| Place {
        address: address.to_owned(),
        port,
        is_localhost: ["localhost", "localhost6", "127.0.0.1", "::1"].contains(&address),
        how: if address == "*" { How::Every } else { How::First },
    };
    if !conf.listen.is_empty() {
        return conf.listen.iter().map(|listen| place(&listen.address, listen.port)).collect();
    }
    if conf.has_access_rules() {
        return vec![place("*", DEFAULT_PORT)];
    }
    let both = [("::1", Family::V4), ("127.0.0.1", Family::V6)];
    both.into_iter()
        .filter(|(_, without)| *without != family)
        .map(|(address, _)| place(address, DEFAULT_PORT))
        .collect()
}

/// Listens at all places asked for, and says so in NUT's words.
///
/// # Errors
/// When that is not enough.
pub(crate) fn listen(conf: &UpsdConf, family: Family) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    let mut missing = Vec::new();
    for place in places(conf, family) {
        let found = match place.how {
            How::Every => every(&place, family),
            How::First => first(&place, family)?.into_iter().collect(),
        };
        if found.is_empty() {
            error!("not listening on {} port {}", place.address, place.port);
            missing.push(place);
        }
        listeners.extend(found);
    }
    if listeners.is_empty() {
        return Err(ListenError::Nothing);
    }
    if !missing.iter().all(|place| place.is_localhost) {
        if !conf.allow_not_all_listeners {
            return Err(ListenError::NotAll);
        }
        warn!("some listening interfaces were not available: going on, as ALLOW_NOT_ALL_LISTENERS says");
    }
    Ok(listeners)
}

fn every(place: &Place, family: Family) -> Vec<TcpListener> {
    let all =
        [(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Family::V4), (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Family::V6)];
    let mut found: Vec<TcpListener> = Vec::new();
    for (address, without) in all {
        if without == family {
            continue;
        }
        // With port 0 the second family takes the port that the system chose for the first.
        let port = found.first().and_then(|one| one.local_addr().ok()).map_or(place.port, |one| one.port());
        match bind(SocketAddr::new(address, port)) {
            Ok(listener) => {
                say(&listener, &address.to_string(), place.port);
                found.push(listener);
            }
            Err(error) => info!("{}", Chain(&error)),
        }
    }
    found
}

fn first(place: &Place, family: Family) -> Result<Option<TcpListener>, ListenError> {
    let no_address = |source| ListenError::NoAddress { name: place.address.clone(), source };
    let found = (place.address.as_str(), place.port).to_socket_addrs().map_err(no_address)?;
    let fits = |address: &SocketAddr| match family {
        Family::Both => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    };
    let addresses: Vec<SocketAddr> = found.filter(fits).collect();
    for (nth, address) in addresses.iter().enumerate() {
        match bind(*address) {
            Ok(listener) => {
                say(&listener, &place.address, place.port);
                let others = addresses.iter().skip(nth + 1).filter(|other| *other != address).count();
                if others > 0 {
                    warn!(
                        "{} has {others} more addresses, which are not listened on: give each its own LISTEN",
                        place.address
                    );
                }
                return Ok(Some(listener));
            }
            Err(error) => warn!("{}", Chain(&error)),
        }
    }
    Ok(None)
}

/// NUT's line. Where the system chose the port, it is shown: tests read it here.
fn say(listener: &TcpListener, address: &str, port: u16) {
    let port = match port {
        0 => listener.local_addr().map_or(0, |address| address.port()),
        port => port,
    };
    info!("listening on {address} port {port}");
}

fn bind(address: SocketAddr) -> Result<TcpListener, SocketError> {
    let open = || -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if address.is_ipv6() {
            setsockopt(&socket.as_fd(), sockopt::Ipv6V6Only, &true)?;
        }
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    open().map_err(|source| SocketError::Tcp { address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nut_conf::upsd_conf::{Access, AccessRule, Listen};

    fn conf(addresses: &[&str]) -> UpsdConf {
        let at = nut_conf::Span::default();
        let listen =
            addresses.iter().map(|address| Listen { address: (*address).into(), port: 0, at }).collect();
        UpsdConf { listen, ..UpsdConf::default() }
    }

    fn shown(conf: &UpsdConf, family: Family) -> Vec<(String, u16)> {
        places(conf, family).into_iter().map(|place| (place.address, place.port)).collect()
    }

    #[test]
    fn without_listen_it_is_this_host_or_with_rules_every_address() {
        let here = |address: &str| (address.to_owned(), 3493);
        assert_eq!(shown(&conf(&[]), Family::Both), [here("::1"), here("127.0.0.1")]);
        assert_eq!(shown(&conf(&[]), Family::V4), [here("127.0.0.1")]);
        assert_eq!(shown(&conf(&[]), Family::V6), [here("::1")]);
        let mut old = conf(&[]);
        old.access.push(AccessRule { verdict: Access::Accept, acl: "all".into() });
        assert_eq!(shown(&old, Family::Both), [here("*")]);
        let mut both = conf(&["127.0.0.1"]);
        both.access = old.access;
        assert_eq!(shown(&both, Family::Both), [("127.0.0.1".into(), 0)]);
    }

    #[tokio::test]
    async fn several_places_each_with_a_port_of_its_own() {
        let listeners = listen(&conf(&["127.0.0.1", "127.0.0.2"]), Family::Both).unwrap();
        let ips: Vec<String> =
            listeners.iter().map(|one| one.local_addr().unwrap().ip().to_string()).collect();
        assert_eq!(ips, ["127.0.0.1", "127.0.0.2"]);
        assert!(listeners.iter().all(|one| one.local_addr().unwrap().port() != 0));
    }

    #[tokio::test]
    async fn a_star_is_at_least_one_family() {
        let listeners = listen(&conf(&["*"]), Family::V4).unwrap();
        assert_eq!(listeners.len(), 1);
        assert!(listeners[0].local_addr().unwrap().ip().is_unspecified());
        assert!(!listen(&conf(&["*"]), Family::Both).unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_may_be_missing_and_what_may_not() {
        // An address of nobody (RFC 5737).
        let mut conf = conf(&["127.0.0.1", "192.0.2.1"]);
        assert!(matches!(listen(&conf, Family::Both), Err(ListenError::NotAll)));
        conf.allow_not_all_listeners = true;
        assert_eq!(listen(&conf, Family::Both).unwrap().len(), 1);
        conf.listen.remove(0);
        assert!(matches!(listen(&conf, Family::Both), Err(ListenError::Nothing)));
        // Of localhost's kind: one of two will do.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut local = super::tests::conf(&["127.0.0.1", "127.0.0.1"]);
        local.listen[0].port = taken.local_addr().unwrap().port();
        assert_eq!(listen(&local, Family::Both).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_fatal_even_if_not_all_are_needed() {
        let mut conf = conf(&["127.0.0.1", "no such host"]);
        conf.allow_not_all_listeners = true;
        let error = listen(&conf, Family::Both).unwrap_err();
        assert!(error.to_string().starts_with("getaddrinfo('no such host'): "), "{error}");
    }
}
