//! Debian's apcupsd on the simulated Smart-UPS: another hand's idea of the protocol finds the unit true.
//!
//! It is unpacked by `tests/wild/fetch.sh`, never installed; its configuration, its files and the script it calls for
//! everything that happens (`apccontrol`, which here only tells that it was called) are on the stage, it opens no port.

use crate::support::{PATIENCE, sim, stage};
use crate::wild::{client, library_folders};
use nix::sys::signal::Signal;
use nut_drill::record::Entry;
use nut_drill::sim::deed::{OffBy, OnBy};
use nut_drill::sim::{
    BatteryChange, Card, CardChange, Climate, Deed, Event, LowBattery, Mains, Pace, Probe, Profile, Settings,
    ShutdownCommand, SimHandle, SmartUps,
};
use nut_drill::stage::{Host, Running, Stage};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// A stage with apcupsd's files; it is not started yet.
struct House {
    stage: Stage,
    host: Host,
    program: PathBuf,
    libraries: String,
}

impl House {
    /// Nothing, with a word on standard error, where apcupsd is not to be had or would refuse to run.
    fn new(test: &str) -> Option<Self> {
        let root = client("apcupsd", test)?.join("apcupsd");
        if !nut_drill::school::is_root() {
            eprintln!("skipped: {test}: apcupsd runs as root only");
            return None;
        }
        let stage = stage();
        let host = stage.host("central").unwrap();
        stage.teller(&host, "apccontrol", "apccontrol").unwrap();
        let (own, bin) = (host.state.display(), stage.folder().join("bin"));
        let conf = format!(
            "## apcupsd.conf v1.1 ##\nUPSNAME unit\nUPSCABLE smart\nUPSTYPE apcsmart\nDEVICE {tty}\nPOLLTIME 1\n\
             LOCKFILE {own}\nSCRIPTDIR {bin}\nPWRFAILDIR {own}\nNOLOGINDIR {own}\nONBATTERYDELAY 0\nBATTERYLEVEL 5\n\
             MINUTES 1\nTIMEOUT 0\nANNOY 300\nNOLOGON disable\nKILLDELAY 0\nNETSERVER off\nEVENTSFILE {own}/events\n\
             EVENTSFILEMAX 10\nUPSCLASS standalone\nUPSMODE disable\nSTATTIME 1\nSTATFILE {own}/status\nLOGSTATS off\n\
             DATATIME 0\n",
            tty = stage.folder().join("tty").display(),
            bin = bin.display(),
        );
        stage.write(&host.conf.join("apcupsd.conf"), &conf).unwrap();
        let libraries = library_folders(&root);
        Some(Self { stage, host, program: root.join("sbin/apcupsd"), libraries })
    }

    fn tty(&self) -> PathBuf {
        self.stage.folder().join("tty")
    }

    fn start(&self, option: &str) -> Running {
        let (conf, pid) = (self.host.conf.join("apcupsd.conf"), self.host.state.join("pid"));
        let args = [option, "-f", conf.to_str().unwrap(), "-P", pid.to_str().unwrap()];
        let environment = [("LD_LIBRARY_PATH", self.libraries.as_str())];
        self.stage.start_at(&self.host, "apcupsd", &self.program, &args, &environment).unwrap()
    }

    /// Waits until its status file is as wanted, and gives it.
    async fn until(&self, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut last = Status::default();
        let wait = async {
            loop {
                last = Status::read(&self.host.state.join("status"));
                if last.is_whole() && wanted(&last) {
                    return;
                }
                nut_drill::stage::turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "apcupsd does not get there: {last:#?}");
        last
    }

    /// Waits until it has called its script for this event of its own words.
    async fn told(&mut self, from: usize, event: &'static str) {
        let is = |entry: &Entry| entry.is_script("central", "apccontrol", Some(event));
        let told = self.stage.record.wait(from, PATIENCE, &format!("apcupsd tells {event}"), is).await;
        assert!(told.is_ok(), "{told:?}: {:#?}", self.stage.record.entries());
    }
}

/// What apcupsd writes into its status file, keyword by keyword.
#[derive(Debug, Default)]
struct Status(BTreeMap<String, String>);

impl Status {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// Whether the file was not read in the middle of being written.
    fn is_whole(&self) -> bool {
        self.0.contains_key("END APC")
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}

/// apcupsd's word for what a query tells. Numbers it shows with a unit behind them, and one decimal.
const WORDS: &[(&str, u8)] = &[
    ("LINEV", b'L'),
    ("LOADPCT", b'P'),
    ("BCHARGE", b'f'),
    ("TIMELEFT", b'j'),
    ("OUTPUTV", b'O'),
    ("BATTV", b'B'),
    ("LINEFREQ", b'F'),
    ("ITEMP", b'C'),
    ("LOTRANS", b'l'),
    ("HITRANS", b'u'),
    ("RETPCT", b'e'),
    ("DLOWBATT", b'q'),
    ("DSHUTD", b'p'),
    ("DWAKE", b'r'),
    ("NOMOUTV", b'o'),
    ("NOMBATTV", b'g'),
    ("MODEL", 0x01),
    ("SERIALNO", b'n'),
    ("FIRMWARE", b'b'),
    ("MANDATE", b'm'),
    ("BATTDATE", b'x'),
    ("SELFTEST", b'X'),
    ("STESTI", b'E'),
];

/// Whether a text of apcupsd's is what the unit answers: the same number to a decimal, or the same words.
fn is_same(shown: &str, answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer).trim_matches(['\0', ' ']).to_owned();
    let number =
        |text: &str| text.split(' ').next().and_then(|word| word.trim_end_matches(':').parse::<f64>().ok());
    match (number(shown), number(&answer)) {
        (Some(shown), Some(answer)) => (shown - answer).abs() < 0.0501,
        _ => shown == answer,
    }
}

/// Every word of this unit's answers that apcupsd shows is true; at least so many are shown.
async fn is_read_truly(test: &str, unit: &str, least: usize) {
    let Some(house) = House::new(test) else { return };
    let _sim = sim(unit, &house.tty());
    let mut apcupsd = house.start("-b");
    let status = house.until(|status| status.get("STATUS") == "ONLINE").await;
    let replies = Profile::named(unit).unwrap().replies;
    let mut shown = 0;
    for (word, query) in WORDS {
        if let (Some(text), Some(answer)) = (status.0.get(*word), replies.get(query)) {
            assert!(is_same(text, answer), "{unit}: {word} is {text}, not {}", answer.escape_ascii());
            shown += 1;
        }
    }
    assert!(shown >= least, "{unit}: only {shown} shown: {status:#?}");
    apcupsd.signal(Signal::SIGTERM).unwrap();
    assert_eq!(apcupsd.ended().await, Some(0));
}

/// All at once: most of the time apcupsd sleeps.
#[tokio::test]
async fn apcupsd_reads_the_units_of_three_generations_truly() {
    let reads =
        |unit, least| is_read_truly("apcupsd_reads_the_units_of_three_generations_truly", unit, least);
    tokio::join!(
        reads("smart-ups-420-21.3.I", 20),
        reads("smart-ups-1400-70.9.I", 20),
        reads("smart-ups-1500-601.3.I", 20),
        reads("smart-ups-rt-10000-476.18.W", 20),
        reads("smart-ups-900i-7TI", 10),
        reads("back-ups-pro-420-11.2.I", 15),
        reads("matrix-ups-3000-0ZI", 10),
        reads("smart-ups-vs-420-42.L.I", 2),
    );
}

#[test]
fn no_profile_is_left_out() {
    let text = include_str!("apcupsd.rs");
    for id in Profile::ids() {
        assert!(text.contains(&format!("reads(\"{id}\"")), "{id}");
    }
}

#[tokio::test]
async fn apcupsd_reads_the_probe_of_a_card() {
    let Some(house) = House::new("apcupsd_reads_the_probe_of_a_card") else { return };
    let sim = sim("smart-ups-420-21.3.I", &house.tty());
    let climate = |temperature, humidity| {
        Event::Card(CardChange::Climate(Probe::First, Some(Climate { temperature, humidity })))
    };
    sim.send(Event::Card(CardChange::Fitted(Card::MeasureUps))).await;
    sim.send(climate(2150, 372)).await;
    let _apcupsd = house.start("-b");
    let is = |status: &Status, celsius: &str, percent: &str| {
        status.get("AMBTEMP").starts_with(celsius) && status.get("HUMIDITY").starts_with(percent)
    };
    house.until(|status| is(status, "21.5", "37.2")).await;
    sim.send(climate(3260, 804)).await;
    house.until(|status| is(status, "32.6", "80.4")).await;
}

#[tokio::test]
async fn apcupsd_follows_a_power_failure_and_its_return_and_has_the_unit_switched_off_in_the_end() {
    let test = "apcupsd_follows_a_power_failure_and_its_return_and_has_the_unit_switched_off_in_the_end";
    let Some(mut house) = House::new(test) else { return };
    // Its grace delay of 20 s is over in a second.
    let settings =
        Settings { pace: Pace::Immediate, time_scale: NonZeroU32::new(20).unwrap(), ..Settings::default() };
    let unit = SmartUps::new(Profile::named("smart-ups-420-21.3.I").unwrap(), settings);
    let sim = SimHandle::start(unit, &house.tty()).unwrap();
    let mut apcupsd = house.start("-b");
    house.until(|status| status.get("STATUS") == "ONLINE").await;

    sim.send(Event::Mains(Mains::Off)).await;
    let status = house.until(|status| status.get("STATUS") == "ONBATT").await;
    assert_eq!((status.get("LINEV"), status.get("NUMXFERS")), ("0.0 Volts", "1"), "{status:#?}");
    assert_eq!(status.get("LASTXFER"), "Low line voltage", "{status:#?}");
    house.told(0, "powerout").await;
    house.told(0, "onbattery").await;
    sim.send(Event::Mains(Mains::On)).await;
    let status = house.until(|status| status.get("STATUS") == "ONLINE").await;
    assert_eq!(status.get("LINEV"), "231.8 Volts", "{status:#?}");
    house.told(0, "mainsback").await;
    house.told(0, "offbattery").await;

    // A failure that lasts: it would stop this host now; its script only tells.
    let from = house.stage.record.mark();
    sim.send(Event::Mains(Mains::Off)).await;
    house.told(from, "onbattery").await;
    sim.send(Event::Battery(BatteryChange::Low(LowBattery::Now))).await;
    house.until(|status| status.get("STATUS").contains("ONBATT LOWBATT")).await;
    house.told(from, "failing").await;
    house.told(from, "doshutdown").await;
    apcupsd.signal(Signal::SIGTERM).unwrap();
    assert_eq!(apcupsd.ended().await, Some(0));
    assert_eq!(house.start("-k").ended().await, Some(0));
    let off = Deed::LoadOff { by: OffBy::Command(ShutdownCommand::Soft) };
    assert!(sim.wait_within(PATIENCE, |deed| *deed == off).await.is_some(), "{:?}", sim.record().await);
    sim.send(Event::Mains(Mains::On)).await;
    let on = Deed::LoadOn { by: OnBy::Mains };
    assert!(sim.wait_within(PATIENCE, |deed| *deed == on).await.is_some(), "{:?}", sim.record().await);
}
