//! Real addresses of this host, and some it does not have.

use super::*;
use crate::shell::verifier::Verifier;
use nut_conf::upsd_conf::Listen;
use std::fs::File;

fn conf(addresses: &[&str]) -> UpsdConf {
    let at = nut_conf::Span::default();
    let listen = addresses.iter().map(|address| Listen { address: (*address).into(), port: 0, at }).collect();
    UpsdConf { listen, ..UpsdConf::default() }
}

async fn start(conf: &UpsdConf, family: Family) -> (Result<(), NotEnough>, Listening, Vec<String>) {
    let mut peers = Peers::new(File::open("/dev/null").unwrap(), Verifier::new().0).unwrap();
    let mut listening = Listening::new(family);
    let enough = listening.start(conf, &mut peers).await;
    let said = peers.notes.iter().map(ToString::to_string).collect();
    (enough, listening, said)
}

/// The addresses in lines like `listening on 127.0.0.1 port 40000`.
fn addresses(said: &[String]) -> Vec<&str> {
    said.iter().filter_map(|line| line.strip_prefix("listening on ")?.split(' ').next()).collect()
}

#[tokio::test]
async fn several_places_each_with_a_port_of_its_own() {
    let (enough, listening, said) = start(&conf(&["127.0.0.1", "127.0.0.2"]), Family::Both).await;
    assert_eq!((enough, addresses(&said)), (Ok(()), vec!["127.0.0.1", "127.0.0.2"]));
    assert!(said.iter().all(|line| !line.ends_with(" port 0")), "{said:?}");
    assert_eq!((listening.sockets.len(), listening.wake_at()), (2, None));
}

/// Else its place would count as being looked up for ever.
#[tokio::test]
async fn a_look_up_that_panics_fails_like_any_other() {
    let failed = told(async { panic!("the resolver's own") }).await.unwrap_err();
    assert!(failed.to_string().contains("panic"), "{failed}");
}

#[tokio::test]
async fn a_star_is_at_least_one_family() {
    let (enough, _, said) = start(&conf(&["*"]), Family::V4).await;
    assert_eq!((enough, addresses(&said)), (Ok(()), vec!["0.0.0.0"]));
    let (enough, listening, said) = start(&conf(&["*"]), Family::Both).await;
    assert!(enough.is_ok() && addresses(&said).contains(&"0.0.0.0"), "{said:?}");
    assert_eq!(listening.most_sockets(&conf(&["*", "127.0.0.1"])), 3);
    // Half of it is somebody else's: his clients would be ours, and ours his.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut conf = conf(&["*"]);
    conf.listen[0].port = taken.local_addr().unwrap().port();
    let (enough, _, said) = start(&conf, Family::Both).await;
    assert_eq!((enough, addresses(&said)), (Err(NotEnough::Nothing), vec![]), "{said:?}");
}

#[tokio::test]
async fn a_name_is_looked_up() {
    let (enough, _, said) = start(&conf(&["localhost"]), Family::V4).await;
    assert_eq!((enough, addresses(&said)), (Ok(()), vec!["localhost"]), "{said:?}");
}

#[tokio::test]
async fn why_an_address_cannot_be_had() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut conf =
        conf(&["127.0.0.2", "192.0.2.1", "fe80::1", "fe80::1%no-such-card", "no such host", "127.0.0.1"]);
    conf.listen[5].port = taken.local_addr().unwrap().port();
    conf.allow_not_all_listeners = Some(true);
    let (enough, listening, said) = start(&conf, Family::Both).await;
    assert_eq!(enough, Ok(()));
    let line = |address: &str| {
        let begin = format!("not listening on {address} port ");
        said.iter().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{address}: {said:?}"))
    };
    assert!(line("192.0.2.1").contains(": this host has no such address; trying again"), "{said:?}");
    assert!(line("127.0.0.1").contains(": another program listens there; trying again"), "{said:?}");
    if std::path::Path::new("/proc/net/if_inet6").exists() {
        assert!(line("fe80::1").contains("needs its interface, as in fe80::1%eth0"), "{said:?}");
    }
    // The resolver's words, once.
    for name in ["fe80::1%no-such-card", "no such host"] {
        let line = line(name);
        let begins = [": no such host is known: ", ": the name cannot be looked up: "];
        assert!(begins.iter().any(|begin| line.contains(begin)), "{line}");
        assert!(!line.contains("failed to lookup") && !line.contains("os error"), "{line}");
    }
    assert!(listening.wake_at().is_some());
}

#[tokio::test]
async fn a_link_local_address_with_its_interface_is_listened_at() {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let own = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, _, _, _, card] = words[..] else { return None };
        let ip = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        ip.is_unicast_link_local().then(|| format!("{ip}%{card}"))
    });
    let Some(own) = own else {
        println!("    (skipped: this machine has no link-local address)");
        return;
    };
    let (enough, _, said) = start(&conf(&[&own]), Family::Both).await;
    assert_eq!((enough, addresses(&said)), (Ok(()), vec![own.as_str()]), "{said:?}");
}

#[tokio::test]
async fn what_the_options_exclude_is_said() {
    let mut conf = conf(&["127.0.0.1", "::1"]);
    conf.listen[1].address = "2001:db8::1".into();
    let (enough, _, said) = start(&conf, Family::V4).await;
    assert_eq!(enough, Err(NotEnough::NotAll));
    assert!(said[1].contains("of the kind that -4 or -6 excludes"), "{said:?}");
}
