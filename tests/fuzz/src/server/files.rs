//! upsd.conf, ups.conf and upsd.users, one behind the other with a byte 0xff between them, and the server they make.

use super::house::House;
use nut_conf::{Diagnostic, Severity, Source, ups_conf, upsd_conf, upsd_users, worst};
use std::time::Duration;
use upsd::descriptions::Descriptions;
use upsd::events::Event;
use upsd::settings::Settings;

/// More findings than this, one for each kind of severity and a few about those left out, nobody reads.
const MAX_FINDINGS: usize = 1_000;

/// Plays the bytes.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut files = bytes.split(|byte| *byte == 0xff);
    let mut next = || files.next().unwrap_or_default();
    let upsd = read("upsd.conf", next(), upsd_conf::parse);
    let ups = read("ups.conf", next(), ups_conf::parse);
    let users = read("upsd.users", next(), upsd_users::parse);
    let second = read("upsd.conf", next(), upsd_conf::parse);
    let settings = |upsd| Settings {
        upsd,
        ups: ups.clone(),
        users: users.clone(),
        descriptions: Descriptions::default(),
        speaks_tls: false,
        most_clients: 10,
    };
    let mut house = House::new(settings(upsd));
    let before = house.ask("LIST UPS\n");
    assert!(before.is_none_or(|list| list.starts_with("BEGIN LIST UPS\n")));
    house.step(Event::Reload(Box::new(settings(second))));
    if let Some(list) = house.ask("LIST UPS\n") {
        let count = list.lines().count().saturating_sub(2);
        assert_eq!(count, house.server.ups_count(), "{list}");
    }
    house.pass(Duration::from_secs(5));
    assert!(house.wanted.len() <= house.server.ups_count());
}

fn read<T>(name: &str, bytes: &[u8], parse: fn(Source<'_>) -> (T, Vec<Diagnostic>)) -> T {
    let (parsed, found) = parse(Source { path: name, text: bytes });
    assert!(found.len() <= MAX_FINDINGS, "{} findings", found.len());
    let _: Option<Severity> = worst(&found);
    for one in &found {
        let shown = one.to_string();
        assert!(!shown.bytes().any(|byte| byte < b' ' && byte != b'\n'), "{}", shown.escape_debug());
    }
    parsed
}
