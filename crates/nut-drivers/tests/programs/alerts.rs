//! How long it takes from an alert to the news of it: measured beside NUT's driver and beside a bare reader, by hand.

use crate::apcsmart::{APCSMART, Alert, Ups, terminal};
use crate::stage::Stage;
use nut_os::clock;
use nut_proto::Moment;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Trials of each kind that count.
const TRIALS: usize = 100;

/// Most trials in all.
const MOST: usize = 400;

/// A trial in which the bare reader needed longer, in milliseconds, tells something of the machine and is left out.
const DISTURBED: f64 = 1.0;

/// When the alerts come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// The line is silent, the next poll a minute away.
    NoPollIsDue,
    /// A question has been sent and its answer has not come.
    APollIsUnderWay,
    /// At moments from everywhere between two polls.
    AnyTime { interval: u32 },
}

/// The least that there can be between a line and a socket, beside the driver and at the same moment: a byte is read, a
/// byte is written. Gives the moments at which it arrived.
fn bare_reader(ups: &mut Ups) -> Receiver<Moment> {
    let (device, node) = terminal();
    let mut line = File::options().read(true).write(true).open(node).unwrap();
    let (mut reader, mut writer) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut byte = [0];
        while line.read_exact(&mut byte).is_ok() && writer.write_all(&byte).is_ok() {}
    });
    let (tell, told) = channel();
    std::thread::spawn(
        move || {
            while reader.read_exact(&mut [0]).is_ok() && tell.send(clock::now()).is_ok() {}
        },
    );
    ups.tell_also(device);
    told
}

/// Measures one driver and prints a row for `docs/performance.md`.
#[expect(clippy::disallowed_methods, reason = "the alerts are to come at no particular moment")]
fn measure(whose: &str, (program, args): (&str, &str), mode: &str, when: When) {
    let stage = Stage::new("");
    let port = stage.path("tty");
    stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\nttymode = {mode}\n", port.display()));
    let mut ups = Ups::new(&stage);
    let (interval, told) = match when {
        When::NoPollIsDue => (60, "no poll is due".to_owned()),
        When::APollIsUnderWay => (1, "a question waits for its answer".to_owned()),
        When::AnyTime { interval } => (interval, format!("at any time, `pollinterval = {interval}`")),
    };
    let _driver = stage.start(program, &format!("{args} -a u -u root -F -i {interval}"));
    let mut reader = stage.connect("apcsmart-u");
    reader.until_status("OL");
    let bare = bare_reader(&mut ups);
    let (mut took, mut bare_took, mut all) = (Vec::new(), Vec::new(), 0);
    while took.len() < TRIALS && all < MOST {
        let (byte, status, news) =
            if all.is_multiple_of(2) { (b'!', 0x10, "OB") } else { (b'$', 0x08, "OL") };
        std::thread::sleep(Duration::from_millis(20 + u64::try_from(all * 37 % 200).unwrap()));
        let alert = Alert { byte, status };
        if when == When::APollIsUnderWay {
            ups.arm(alert)
        } else {
            ups.alert(alert)
        }
        reader.until(&format!("SETINFO ups.status \"{news}\""));
        let now = clock::now();
        let began = ups.told_at().expect("the news came of it");
        let millis = |end: Moment| end.since(began).as_secs_f64() * 1000.0;
        let beside = millis(bare.recv().unwrap());
        all += 1;
        if beside <= DISTURBED {
            took.push(millis(now));
            bare_took.push(beside);
        }
    }
    let disturbed = all - took.len();
    let [(median, worst), (bare_median, bare_worst)] = [took, bare_took].map(|mut took| {
        took.sort_unstable_by(f64::total_cmp);
        (took[took.len() / 2], took[took.len() - 1])
    });
    println!(
        "| {whose} | {mode} | {told} | {median:.2} | {worst:.2} | {bare_median:.2} | {bare_worst:.2} | {disturbed} |"
    );
}

/// A measurement, to be run by hand on a quiet machine; it prints what it found.
///
/// `cargo test -p nut-drivers --release --test programs -- --ignored --nocapture from_the_alert`
#[test]
#[ignore = "a measurement"]
fn from_the_alert_to_the_news() {
    println!(
        "| driver | `ttymode` | the alert comes when | median | worst of {TRIALS} | bare reader: median | worst | \
         disturbed |\n|---|---|---|---|---|---|---|---|"
    );
    let any_time = When::AnyTime { interval: 2 };
    for mode in ["raw", "canonical"] {
        for when in [When::NoPollIsDue, When::APollIsUnderWay, any_time] {
            measure("ours", (APCSMART, ""), mode, when);
        }
    }
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/run.sh");
    let nuts = (run.to_str().expect("our own path"), "apcsmart");
    measure("NUT 2.8.0", nuts, "raw", When::NoPollIsDue);
    measure("NUT 2.8.0", nuts, "raw", When::APollIsUnderWay);
    for mode in ["raw", "canonical"] {
        measure("NUT 2.8.0", nuts, mode, any_time);
    }
}
