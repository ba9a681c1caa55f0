//! What a unit may say: in place of the right answers, unasked, in the middle of everything, with silences and ports
//! that go and come.
//!
//! The first byte chooses how the driver begins (see [`play`]); the rest is a script. A part goes on up to a byte 0xff;
//! the letter behind that says what the next part is:
//!
//! | letter | what happens |
//! |---|---|
//! | `A` | the next question is answered with the part, as it stands (so is the first part) |
//! | `a` | the same, with the end of a line behind it |
//! | `U` | the unit says the part unasked |
//! | `W`, `T` | as many tenths of a second, seconds pass as the part's first byte says |
//! | `S` | the unit falls silent, or answers again |
//! | `L`, `O` | the port is lost; it is there again |
//! | `Q` | the part's first byte is the unit's status from now on |
//! | `C`, `V` | the part is given as a command; as a variable, `=` and a value |

use super::bench::{Bench, CAPABILITIES};
use super::parts::parts;
use nut_drivers::core::Purpose;
use nut_drivers::driver::Order;
use nut_proto::device::Value;
use nut_proto::status::{Feed, Status};

/// What switches an output, edits a setting or starts a test: never sent unless somebody ordered it.
const ORDERS_ONLY: &[u8] = b"SKZUDWA@^-+\x0e\x10\x19";

/// Longest time between two parts, in seconds.
const LONGEST: u64 = 60;

/// Plays the bytes. Of the first one, bit 0: the script begins with the driver's start and not half a minute after it;
/// bit 1: the driver was started to cut the power (`-k`); bits 2 to 4: its `sdtype`.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let Some((how, script)) = bytes.split_first() else { return };
    let purpose = if how & 2 == 0 { Purpose::Serve } else { Purpose::ShutDown };
    let sdtype = ["0", "1", "2", "3", "4", "5", "0", "1"][usize::from(how >> 2 & 7)];
    let mut bench = Bench::new(CAPABILITIES, sdtype, purpose);
    if how & 1 == 0 && purpose == Purpose::Serve {
        bench.pass(30_000);
        assert!(bench.is_good(), "a healthy unit is known after half a minute");
        bench.check();
    }
    let mut orders = Vec::new();
    for (letter, part) in parts(script, b'A') {
        let number = u64::from(part.first().copied().unwrap_or(0));
        match letter {
            b'a' => bench.unit.instead.push_back([part, b"\r\n"].concat()),
            b'U' => bench.says(part),
            b'W' => bench.pass(number * 100),
            b'T' => bench.pass(number.min(LONGEST) * 1_000),
            b'S' => bench.unit.is_silent = !bench.unit.is_silent,
            b'L' => bench.lose_port(),
            b'O' => bench.has_port = true,
            b'Q' => bench.unit.status = part.first().copied().unwrap_or(0x08),
            b'C' | b'V' => {
                if let Some(order) = order(letter, part) {
                    orders.push(bench.order(order));
                }
            }
            _ => bench.unit.instead.push_back(part.to_vec()),
        }
        bench.check();
    }
    bench.unit.is_silent = false;
    bench.unit.instead.clear();
    bench.has_port = true;
    bench.unit.status = 0x08;
    // Every order has ended by now, whatever was in its way: each waits and runs for two minutes at the most.
    for _ in 0..=2 * orders.len() {
        if orders.iter().all(|id| bench.ended.contains_key(id)) {
            break;
        }
        bench.pass(121_000);
    }
    for id in &orders {
        assert!(bench.ended.contains_key(id) || bench.exit.is_some(), "{id:?} does not end");
    }
    // Noise that read as an answer may cost one more round; what is good then stays so.
    bench.pass(120_000);
    bench.check();
    if purpose == Purpose::ShutDown {
        assert!(bench.exit.is_some(), "the process that cuts the power does not end");
        return;
    }
    if orders.is_empty() {
        let wrong: Vec<u8> = bench.sent.iter().copied().filter(|byte| ORDERS_ONLY.contains(byte)).collect();
        assert!(wrong.is_empty(), "nobody ordered {}", wrong.escape_ascii());
    }
    if bench.exit.is_none() {
        let status = bench.device().get("ups.status").map_or("", Value::as_str);
        assert!(bench.is_good(), "a healthy unit is not known again");
        assert_eq!(Status::from_text(status).feed, Feed::Mains, "{status}");
    }
}

fn order(letter: u8, part: &[u8]) -> Option<Order> {
    let text = std::str::from_utf8(part).ok()?;
    if letter == b'C' {
        let (name, param) = match text.split_once(' ') {
            Some((name, param)) => (name, Some(param.into())),
            None => (text, None),
        };
        return Some(Order::Command { name: name.parse().ok()?, param });
    }
    let (name, value) = text.split_once('=')?;
    Some(Order::Set { name: name.parse().ok()?, value: Value::new(value) })
}
