//! What a driver says to the server: the bytes as they are, cut at each 0xff, with a byte of choice behind it.
//!
//! The same bytes go to a second copy of what upsd knows of one driver, so that what clients are served can be compared
//! with what was told.

use super::house::{House, settings};
use super::parts::parts;
use nut_proto::device::{Device, MAX_CHOICES, MAX_COMMANDS, MAX_VALUE, MAX_VARIABLES};
use nut_proto::driver::encode_change;
use nut_proto::words::{MAX_ENCODED, fitting, split};
use std::time::Duration;
use upsd::events::{Event, UpsId};
use upsd::upstream::Upstream;

const MAX_AGE: Duration = Duration::from_secs(15);

/// Plays the bytes. Behind 0xff: `T` lets as many seconds pass as the next byte says, `G` loses the driver and finds it
/// again; anything else only cuts.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut house = House::new(settings(&["ups1"]));
    let mut copy = Upstream::new(house.now);
    let ups = connect(&mut house, &mut copy);
    for (letter, part) in parts(bytes, b'-') {
        let part = match (letter, part.split_first()) {
            (b'T', Some((seconds, rest))) => {
                house.pass(Duration::from_secs((*seconds).into()));
                rest
            }
            (b'G', _) => {
                house.step(Event::DriverGone { ups });
                copy.lost(house.now);
                house.pass(Duration::from_secs(3));
                assert_eq!(connect(&mut house, &mut copy), ups);
                part
            }
            _ => part,
        };
        let mut said = Vec::new();
        copy.take(house.now, part, &mut said);
        assert!(said.len() <= part.len());
        house.step(Event::DriverBytes { ups, bytes: part });
        copy.judge(house.now, MAX_AGE);
        compare(&mut house, &copy);
    }
    // Whatever came before: a driver that speaks properly is believed again.
    let end = b"\n\nDATAOK\nDUMPDONE\nPONG\n";
    copy.take(house.now, end, &mut Vec::new());
    house.step(Event::DriverBytes { ups, bytes: end });
    copy.judge(house.now, MAX_AGE);
    let device = copy.device().expect("the driver is there and says that all is well");
    compare(&mut house, &copy);
    check(device);
}

fn connect(house: &mut House, copy: &mut Upstream) -> UpsId {
    let (ups, _) = house.wanted.pop().expect("the server wants its driver");
    house.step(Event::DriverConnected { ups });
    copy.connected(house.now);
    ups
}

/// What clients are served is what the driver told.
fn compare(house: &mut House, copy: &Upstream) {
    let list = house.ask("LIST VAR ups1\n").expect("this host is let in");
    let device = match copy.device() {
        Ok(device) => device,
        Err(code) => return assert_eq!(list, format!("ERR {}\n", code.as_str())),
    };
    let mut lines = list.lines();
    assert_eq!(lines.next(), Some("BEGIN LIST VAR ups1"));
    for variable in device.variables() {
        let line = lines.next().expect("a line for each variable");
        let words = split(line.as_bytes()).expect("what is served can be read");
        let value = fitting(variable.value().as_str(), MAX_ENCODED);
        assert!(words.iter().eq(["VAR", "ups1", variable.name().as_str(), value]), "{line}");
    }
    assert_eq!(lines.next(), Some("END LIST VAR ups1"));
    let list = house.ask("LIST CMD ups1\n").expect("this host is let in");
    let listed = list.lines().filter_map(|line| line.strip_prefix("CMD ups1 "));
    assert!(listed.eq(device.commands().iter().map(|cmd| cmd.as_str())), "{list}");
}

/// The limits hold, and the device told as a driver would tell it makes the same device.
fn check(device: &Device) {
    assert!(device.variables().len() <= MAX_VARIABLES && device.commands().len() <= MAX_COMMANDS);
    let mut dump = Vec::new();
    for change in device.dump() {
        encode_change(&change, &mut dump);
    }
    let now = nut_proto::Moment::from_secs(5);
    let mut again = Upstream::new(now);
    again.connected(now);
    let mut said = Vec::new();
    again.take(now, b"DELINFO ups.status\n", &mut said);
    again.take(now, &dump, &mut said);
    assert_eq!(said, [], "{}", dump.escape_ascii());
    assert_eq!(again.device(), Ok(device), "{}", dump.escape_ascii());
    for variable in device.variables() {
        assert!(variable.value().as_str().len() <= MAX_VALUE);
        assert!(variable.choices().len() <= MAX_CHOICES && variable.ranges().len() <= MAX_CHOICES);
    }
}
