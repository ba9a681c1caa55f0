//! How long it takes from an alert to the news of it: measured beside NUT's driver, by hand.

use crate::apcsmart::{APCSMART, Alert, Ups};
use crate::stage::Stage;
use nut_os::clock;
use std::path::Path;
use std::time::Duration;

/// Trials of each kind.
const TRIALS: u64 = 100;

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

/// Measures one driver and prints a row for `docs/performance.md`.
#[expect(clippy::disallowed_methods, reason = "the alerts are to come at no particular moment")]
fn measure(whose: &str, program: &str, args: &str, mode: &str, when: When) {
    let stage = Stage::new("");
    let port = stage.path("tty");
    stage.conf(&format!("[u]\ndriver = apcsmart\nport = {}\nttymode = {mode}\n", port.display()));
    let mut ups = Ups::new(&stage);
    let (interval, told) = match when {
        When::NoPollIsDue => (60, "no poll due".to_owned()),
        When::APollIsUnderWay => (1, "a question waits for its answer".to_owned()),
        When::AnyTime { interval } => (interval, format!("at any time, pollinterval = {interval}")),
    };
    let _driver = stage.start(program, &format!("{args} -a u -u root -F -i {interval}"));
    let mut reader = stage.connect("apcsmart-u");
    reader.dump();
    reader.until_status("OL");
    let mut took = Vec::new();
    for trial in 0..TRIALS {
        let (byte, status, news) = if trial % 2 == 0 { (b'!', 0x10, "OB") } else { (b'$', 0x08, "OL") };
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
        took.push(clock::now().since(began).as_secs_f64() * 1000.0);
    }
    took.sort_unstable_by(f64::total_cmp);
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("| {whose} | {mode} | {told} | {median:.2} | {worst:.2} |");
}

/// A measurement, to be run by hand on a quiet machine; it prints what it found.
///
/// `cargo test -p nut-drivers --release --test programs -- --ignored --nocapture from_the_alert`
#[test]
#[ignore = "a measurement"]
fn from_the_alert_to_the_news() {
    println!(
        "| driver | ttymode | the alert comes | median, ms | worst of {TRIALS}, ms |\n|---|---|---|---|---|"
    );
    for mode in ["raw", "canonical"] {
        for when in [When::NoPollIsDue, When::APollIsUnderWay, When::AnyTime { interval: 1 }] {
            measure("ours", APCSMART, "", mode, when);
        }
    }
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/run.sh");
    for mode in ["raw", "canonical"] {
        let run = run.to_str().expect("our own path");
        measure("NUT 2.8.0", run, "apcsmart", mode, When::AnyTime { interval: 2 });
    }
}
