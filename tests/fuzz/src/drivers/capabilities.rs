//! A capability string (`^Z`): read, and then told to a driver by a unit that changes its settings as the string says.

use super::bench::Bench;
use nut_drivers::apcsmart::capability::{Capabilities, parse};
use nut_drivers::apcsmart::protocol::{Decoder, Expecting, Input, MAX_REPLY};
use nut_drivers::core::Purpose;
use nut_drivers::driver::Order;
use nut_proto::device::MAX_CHOICES;

/// Most steps through a ring of values before the driver gives up: there cannot be more values than count bytes say.
const MAX_STEPS: usize = 256;

/// Plays the bytes.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    check(bytes, &parse(bytes));
    at_a_driver(bytes);
}

fn check(bytes: &[u8], seen: &Capabilities) {
    let kept: usize = seen.groups.iter().flat_map(|group| &group.values).map(Vec::len).sum();
    assert!(4 * seen.groups.len() + kept <= bytes.len(), "{kept} bytes in {} groups", seen.groups.len());
    for flaw in &seen.flaws {
        let text = flaw.to_string();
        assert!(!text.chars().any(char::is_control), "{}", text.escape_debug());
    }
    for group in &seen.groups {
        let widths = group.values.iter().map(Vec::len);
        assert!(widths.clone().all(|width| width > 0 && width <= 31));
        assert_eq!(widths.clone().min(), widths.max(), "values of one setting are equally wide");
    }
    if !seen.flaws.is_empty() {
        assert!(seen.groups.iter().filter(|group| !group.is_whole).count() <= seen.flaws.len());
        return;
    }
    // What has no flaw is whole, and what was read is all that stands there, in one of the two forms.
    assert!(seen.groups.iter().all(|group| group.is_whole));
    let plain = seen.groups.iter().all(|group| stands_in(bytes, group));
    assert!(plain, "a group that does not stand in the string");
}

fn stands_in(bytes: &[u8], group: &nut_drivers::apcsmart::capability::Group) -> bool {
    let text = group.values.concat();
    let is_here = |at: &[u8]| {
        at.starts_with(&[group.command, group.locale]) && at.get(4..).is_some_and(|at| at.starts_with(&text))
    };
    (0..bytes.len()).any(|at| bytes.get(at..).is_some_and(is_here))
}

/// A driver whose unit has this string starts, and a setting that it offers can be changed, or the change fails, in time.
fn at_a_driver(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.expect(Expecting::Capabilities);
    for input in decoder.push(&[bytes, b"\r\n"].concat()) {
        if let Input::Reply(text) = input {
            assert!(text.len() <= MAX_REPLY && !text.contains(&0));
        }
    }
    let mut bench = Bench::new(bytes, "0", Purpose::Serve);
    bench.pass(30_000);
    assert!(bench.exit.is_none() && bench.is_good(), "the string keeps the driver from starting");
    bench.check();
    let offered: Vec<_> = bench
        .device()
        .variables()
        .iter()
        .filter(|variable| variable.flags().writable && !variable.choices().is_empty())
        .map(|variable| (variable.name().clone(), variable.choices().to_vec()))
        .collect();
    for (name, choices) in offered {
        assert!(choices.len() <= MAX_CHOICES);
        let Some(value) = choices.into_iter().next_back() else { continue };
        let before = bench.sent.len();
        let id = bench.order(Order::Set { name: name.clone(), value });
        for _ in 0..50 {
            if bench.ended.contains_key(&id) {
                break;
            }
            bench.pass(5_000);
        }
        assert!(bench.ended.contains_key(&id), "{name} is neither set nor refused");
        let steps = bench.sent.iter().skip(before).filter(|byte| **byte == b'-').count();
        assert!(steps <= MAX_STEPS, "{steps} writes to the EEPROM for {name}");
        bench.check();
    }
    assert!(bench.is_good(), "changing settings costs the data");
}
