//! Our apcsmart and NUT's, each on the same simulated unit, tell the same.

use crate::oracle::Oracle;
use crate::support::{dump, me, sim, socket, stage, write_dummies};
use nut_drill::sim::Profile;
use nut_drill::stage::{Host, Stage};

/// What a driver says of itself, and what NUT 2.8.0 does not know yet: not a matter of the device.
fn is_about_the_device(line: &str) -> bool {
    let name = line.split(' ').nth(1).unwrap_or_default();
    !name.starts_with("driver.") && name != "shutdown.default"
}

fn configure(stage: &Stage, name: &str, unit: &str) -> (Host, nut_drill::sim::SimHandle) {
    let host = stage.host(name).unwrap();
    let tty = stage.folder().join(format!("tty-{name}"));
    let sim = sim(unit, &tty);
    let ups_conf = format!("user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n", me(), tty.display());
    stage.write(&host.conf.join("ups.conf"), &ups_conf).unwrap();
    (host, sim)
}

async fn our_dump(stage: &Stage, unit: &str) -> Vec<String> {
    let (host, _sim) = configure(stage, "ours", unit);
    let _driver = stage.start(&host, "apcsmart", &["-a", "unit", "-F"]).unwrap();
    dump(&socket(&host, "apcsmart", "unit"))
        .await
        .into_iter()
        .filter(|line| is_about_the_device(line))
        .collect()
}

async fn nuts_dump(stage: &Stage, oracle: &Oracle, unit: &str) -> Vec<String> {
    let (host, _sim) = configure(stage, "nut", unit);
    let _driver =
        oracle.start(stage, &host, "nut-apcsmart", &["apcsmart", "-a", "unit", "-u", &me(), "-F"]).unwrap();
    dump(&socket(&host, "apcsmart", "unit"))
        .await
        .into_iter()
        .filter(|line| is_about_the_device(line))
        .collect()
}

/// What NUT's driver published for a unit, measured once and kept as data.
fn measured(unit: &str) -> Vec<String> {
    let path =
        format!("{}/../crates/nut-drill/profiles/expected/{unit}.dump.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(str::to_owned).collect()
}

async fn tells_what_was_measured(unit: &str) {
    let stage = stage();
    assert_eq!(our_dump(&stage, unit).await, measured(unit), "{unit}");
}

async fn tells_the_same_as_nut(test: &str, unit: &str) {
    let Some(oracle) = Oracle::get(test) else { return };
    let stage = stage();
    let (ours, nuts) = tokio::join!(our_dump(&stage, unit), nuts_dump(&stage, oracle, unit));
    assert_eq!(ours, nuts, "{unit}");
}

/// One pair of tests a unit, so that they run beside each other: some take NUT half a minute to start.
macro_rules! units {
    ($($measured:ident $compared:ident $unit:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $measured() {
                tells_what_was_measured($unit).await;
            }

            #[tokio::test]
            async fn $compared() {
                tells_the_same_as_nut(stringify!($compared), $unit).await;
            }
        )+

        #[test]
        fn every_profile_is_compared() {
            let mut compared = vec![$($unit),+];
            compared.sort_unstable();
            let mut all: Vec<&str> = Profile::ids().collect();
            all.sort_unstable();
            assert_eq!(compared, all);
        }
    };
}

units! {
    smart_ups_420_tells_what_was_measured smart_ups_420_tells_the_same_as_nut "smart-ups-420-21.3.I",
    smart_ups_1400_tells_what_was_measured smart_ups_1400_tells_the_same_as_nut "smart-ups-1400-70.9.I",
    smart_ups_1500_tells_what_was_measured smart_ups_1500_tells_the_same_as_nut "smart-ups-1500-601.3.I",
    smart_ups_rt_tells_what_was_measured smart_ups_rt_tells_the_same_as_nut "smart-ups-rt-10000-476.18.W",
    smart_ups_900_tells_what_was_measured smart_ups_900_tells_the_same_as_nut "smart-ups-900i-7TI",
    smart_ups_vs_tells_what_was_measured smart_ups_vs_tells_the_same_as_nut "smart-ups-vs-420-42.L.I",
    back_ups_pro_tells_what_was_measured back_ups_pro_tells_the_same_as_nut "back-ups-pro-420-11.2.I",
    matrix_ups_tells_what_was_measured matrix_ups_tells_the_same_as_nut "matrix-ups-3000-0ZI",
}

#[tokio::test]
async fn dummy_ups_tells_the_same_as_nuts() {
    let Some(oracle) = Oracle::get("dummy_ups_tells_the_same_as_nuts") else { return };
    let stage = stage();
    // No quotes: NUT escapes its copy of them in device.* twice.
    let file = "ups.mfr: Acme\nups.model: 1000\nups.status: OL CHRG\nups.alarm: none really\n\
        battery.charge: 98\nbattery.runtime: 1800\ninput.voltage: 229.8\nups.id: \"two words\"\nups.delay.start: 20\n\
        ups.load: 23.4\nups.serial: a#b\noutput.voltage.nominal: 230\n";
    let mut dumps = Vec::new();
    for (name, program) in [("ours", None), ("nut", Some(oracle))] {
        let host = stage.host(name).unwrap();
        write_dummies(&stage, &host, &[("unit", file)]);
        let me = me();
        let _driver = match program {
            None => stage.start(&host, "dummy-ups", &["-a", "unit", "-F"]).unwrap(),
            Some(oracle) => oracle
                .start(&stage, &host, "nut-dummy-ups", &["dummy-ups", "-a", "unit", "-u", &me, "-F"])
                .unwrap(),
        };
        let dump = dump(&socket(&host, "dummy-ups", "unit")).await;
        dumps.push(dump.into_iter().filter(|line| is_about_the_device(line)).collect::<Vec<_>>());
    }
    assert_eq!(dumps[0], dumps[1]);
}
