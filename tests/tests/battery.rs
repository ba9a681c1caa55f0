//! What a school does about its batteries: a failed test, a new battery, its date, a test that passes, and a runtime
//! calibration; with the real programs on a simulated unit, and with NUT's driver on the same unit.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, connected, me, stage, upsd};
use nut_drill::record::{Entry, What};
use nut_drill::sim::deed::{Calibration, SelfTest};
use nut_drill::sim::{BatteryChange, Deed, Event, Mains, Pace, Profile, Settings, SimHandle, SmartUps};
use nut_drill::stage::{Host, Running, Stage};
use nut_proto::Moment;
use std::num::NonZeroU32;

const UNIT: &str = "smart-ups-420-21.3.I";

/// Who looks after the UPSes, in the school's manner: rights without a program in between.
const USERS: &str = "[upsmaster]\n  password = acid\n  actions = SET\n  instcmds = ALL\n\
                     [looker]\n  password = looks\n\
                     [pri]\n  password = pp\n  upsmon primary\n";

/// How many times faster than real the battery drains and charges: a runtime calibration of half an hour would take a
/// minute and a half, time enough to see it also on a busy machine, and its last per cent takes little more than a second.
const DRAINS: u32 = 20;

/// Whose driver.
#[derive(Debug, Clone, Copy)]
enum Whose<'a> {
    Ours,
    Nuts(&'a Oracle),
}

/// The central host: a unit on a serial line, its driver, upsd, and upsmon, which tells of everything.
struct Room {
    stage: Stage,
    host: Host,
    unit: SimHandle,
    ups: String,
    _running: Vec<Running>,
}

impl Room {
    /// `drains`: how many times faster than real the battery drains and charges.
    async fn open(whose: Whose<'_>, drains: u32) -> Self {
        let mut stage = stage();
        let host = stage.host("central").unwrap();
        let tty = stage.folder().join("tty");
        // A self test of 8 s is over in half a second.
        let settings = Settings {
            pace: Pace::Immediate,
            time_scale: NonZeroU32::new(16).unwrap(),
            battery_scale: NonZeroU32::new(drains).unwrap(),
            ..Settings::default()
        };
        let unit = SimHandle::start(SmartUps::new(Profile::named(UNIT).unwrap(), settings), &tty).unwrap();
        let ups_conf = format!(
            "user = {}\npollinterval = 1\n[nicole]\n  driver = apcsmart\n  port = {}\n",
            me(),
            tty.display()
        );
        stage.write(&host.conf.join("ups.conf"), &ups_conf).unwrap();
        stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
        stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
        let driver = match whose {
            Whose::Ours => stage.start(&host, "apcsmart", &["-a", "nicole", "-u", &me(), "-F"]),
            Whose::Nuts(oracle) => {
                oracle.start(&stage, &host, "nut-apcsmart", &["apcsmart", "-a", "nicole", "-u", &me(), "-F"])
            }
        };
        let mut running = vec![driver.unwrap()];
        let (server, port) = upsd(&mut stage, &host).await;
        running.push(server);
        connected(&mut stage, &host, "nicole").await;
        let ups = format!("nicole@127.0.0.1:{port}");
        let mut room = Self { stage, host, unit, ups, _running: running };
        room.until("ups.status", |status| status == "OL").await;
        let notify = room.stage.teller(&room.host, "NOTIFYCMD", "notify").unwrap();
        let stop = room.stage.teller(&room.host, "SHUTDOWNCMD", "stop").unwrap();
        let conf = format!(
            "MONITOR {} 1 pri pp primary\nPOLLFREQ 1\nPOLLFREQALERT 1\nRBWARNTIME 1\nRUN_AS_USER {}\n\
             NOTIFYCMD {}\nSHUTDOWNCMD {}\nNOTIFYFLAG ONBATT EXEC\nNOTIFYFLAG ONLINE EXEC\n\
             NOTIFYFLAG REPLBATT EXEC\nNOTIFYFLAG LOWBATT EXEC\nNOTIFYFLAG SHUTDOWN EXEC\nNOTIFYFLAG CAL EXEC\n\
             NOTIFYFLAG NOTCAL EXEC\n",
            room.ups,
            me(),
            notify.display(),
            stop.display()
        );
        room.stage.write(&room.host.conf.join("upsmon.conf"), &conf).unwrap();
        let monitor = room.stage.start(&room.host, "upsmon", &["-F", "-p"]).unwrap();
        room._running.push(monitor);
        let logged_in =
            |entry: &Entry| entry.is_line("central", "upsd", "User pri@127.0.0.1 logged into UPS [nicole]");
        room.stage.record.wait(0, PATIENCE, "upsmon is logged in", logged_in).await.unwrap();
        room
    }

    /// Runs a tool to its end: exit code, and all that it said.
    async fn run(&self, tool: &str, args: &[&str]) -> (Option<i32>, String) {
        let run = self.stage.run(&self.host, tool, args);
        let (code, out, err) = tokio::time::timeout(PATIENCE, run).await.expect("in time").unwrap();
        (code, format!("{out}{err}"))
    }

    /// A variable as `upsc` shows it.
    async fn value(&self, name: &str) -> String {
        self.run("upsc", &[&self.ups, name]).await.1.trim().to_owned()
    }

    /// Waits until a variable is as wanted, and gives it.
    async fn until(&mut self, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let wait = async {
            loop {
                last = self.value(name).await;
                if wanted(&last) {
                    return;
                }
                nut_drill::stage::turn().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        assert!(in_time, "{name} stays {last:?}; {:#?}", self.unit.record().await);
        last
    }

    /// Gives an order as the one who may, with `-w`, and gives what the driver says of its end.
    async fn ordered(&self, command: &str) -> String {
        let args = ["-w", "-u", "upsmaster", "-p", "acid", &self.ups, command];
        let (code, said) = self.run("upscmd", &args).await;
        assert_eq!(code, Some(0), "{command}: {said}");
        said.trim().to_owned()
    }

    async fn order(&self, command: &str) {
        assert_eq!(self.ordered(command).await, "SUCCESS", "{command}");
    }

    /// Waits for a deed of the unit.
    async fn does(&self, deed: Deed) {
        let done = self.unit.wait_within(PATIENCE, |one| *one == deed).await;
        assert!(done.is_some(), "no {deed:?} in {:#?}", self.unit.record().await);
    }

    async fn has_done(&self, deed: &Deed) -> bool {
        self.unit.record().await.unwrap().iter().any(|(_, one)| one == deed)
    }

    /// Waits for a notice behind this place of the record, and gives when it was told.
    async fn notice(&mut self, from: usize, kind: &str) -> Moment {
        let is = is_notice(kind);
        self.stage.record.wait(from, PATIENCE, &format!("notice {kind}"), is).await.unwrap().at
    }

    /// Has mains fail and return twice. Each is told, so that upsmon has asked four times meanwhile, a second or more
    /// between two questions.
    async fn passes_two_failures(&mut self) {
        for _ in 0..2 {
            for (mains, notice) in [(Mains::Off, "ONBATT"), (Mains::On, "ONLINE")] {
                let from = self.stage.record.mark();
                self.unit.send(Event::Mains(mains)).await;
                self.notice(from, notice).await;
            }
        }
    }
}

fn is_notice(kind: &str) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(&entry.what, What::Told { script, notice: (Some(told), _), .. } if script == "NOTIFYCMD" && told == kind)
}

/// A battery is worn: the unit says so, everybody hears of it again and again, until there is a new one and the test
/// passes. Its date is written down.
async fn a_worn_battery_is_replaced(whose: Whose<'_>) {
    let mut room = Room::open(whose, 1).await;
    // The usual test, on a good battery.
    room.order("test.battery.start").await;
    room.does(Deed::SelfTest(SelfTest::Passed)).await;
    room.until("ups.test.result", |result| result == "OK").await;
    assert!(room.stage.record.find(0, is_notice("REPLBATT")).is_none());

    // Years later.
    room.unit.send(Event::Battery(BatteryChange::WornOut)).await;
    room.order("test.battery.start").await;
    room.does(Deed::SelfTest(SelfTest::BatteryTooWeak)).await;
    room.until("ups.status", |status| status.split(' ').any(|word| word == "RB")).await;
    room.until("ups.test.result", |result| result == "BT").await;
    let first = room.stage.record.mark();
    room.notice(0, "REPLBATT").await;
    // Nobody has done anything about it: it is told again.
    room.notice(first, "REPLBATT").await;

    // A new battery; that it is one, the unit cannot know yet.
    room.unit.send(Event::Battery(BatteryChange::Renewed)).await;
    let date = "battery.date=11/25/26";
    let (code, said) = room.run("upsrw", &["-s", date, "-u", "looker", "-p", "looks", &room.ups]).await;
    assert!(code == Some(1) && said.contains("ACCESS-DENIED"), "{code:?} {said}");
    let args = ["-w", "-s", date, "-u", "upsmaster", "-p", "acid", &room.ups];
    assert_eq!(room.run("upsrw", &args).await, (Some(0), "SUCCESS\n".to_owned()));
    room.does(Deed::EepromWrite { setting: b'x', value: b"11/25/26".to_vec() }).await;
    room.until("battery.date", |date| date == "11/25/26").await;
    let again = room.stage.record.mark();
    room.notice(again, "REPLBATT").await;
    assert!(room.value("ups.status").await.contains("RB"));

    // The test passes, and that is the end of it.
    room.order("test.battery.start").await;
    room.until("ups.test.result", |result| result == "OK").await;
    room.until("ups.status", |status| status == "OL").await;
    // What it had to tell of the time before, it has told when it tells of the first failure.
    room.passes_two_failures().await;
    let from = room.stage.record.mark();
    room.passes_two_failures().await;
    assert!(room.stage.record.find(from, is_notice("REPLBATT")).is_none(), "it is told on");
    assert!(room.stage.record.find(0, is_notice("SHUTDOWN")).is_none());
}

/// The unit measures its battery: it runs down to 25 %, nobody is stopped for that, and it charges again. Below a full
/// charge the unit does not begin. Of a new battery it believes what it knew of the old one until then.
async fn the_runtime_is_calibrated(whose: Whose<'_>) {
    let mut room = Room::open(whose, DRAINS).await;
    room.unit.send(Event::Battery(BatteryChange::Charge(80))).await;
    // NUT's driver does not look at the answer.
    let said = if matches!(whose, Whose::Ours) { "ERR FAILED" } else { "SUCCESS" };
    assert_eq!(room.ordered("calibrate.start").await, said);
    room.does(Deed::Calibration(Calibration::Refused)).await;
    assert!(!room.has_done(&Deed::Calibration(Calibration::Started)).await);
    assert_eq!(room.value("ups.status").await, "OL");

    // The old one lasted four minutes.
    room.unit.send(Event::Battery(BatteryChange::Charge(100))).await;
    room.unit.send(Event::Battery(BatteryChange::Runtime(4))).await;
    room.unit.send(Event::Battery(BatteryChange::Renewed)).await;
    room.until("battery.charge", |charge| charge == "100.0").await;
    room.until("battery.runtime", |seconds| seconds == "240").await;
    room.order("calibrate.start").await;
    room.does(Deed::Calibration(Calibration::Started)).await;
    room.until("ups.status", |status| status == "CAL OB").await;
    room.notice(0, "CAL").await;
    room.unit.send(Event::Battery(BatteryChange::Charge(26))).await;
    room.does(Deed::Calibration(Calibration::Finished)).await;
    let charge = room.unit.state().await.unwrap().charge;
    assert!((24.0..60.0).contains(&charge), "{charge}");
    room.until("ups.status", |status| status == "OL").await;
    room.notice(0, "NOTCAL").await;
    // Down on purpose: no reason to stop anything.
    for kind in ["LOWBATT", "SHUTDOWN"] {
        assert!(room.stage.record.find(0, is_notice(kind)).is_none(), "{kind} was told");
    }
    let stopped = |entry: &Entry| entry.is_script("central", "SHUTDOWNCMD", None);
    assert!(room.stage.record.find(0, stopped).is_none());

    room.unit.send(Event::Battery(BatteryChange::Charge(100))).await;
    room.until("battery.charge", |charge| charge == "100.0").await;
    room.until("battery.runtime", |seconds| seconds == "2520").await;

    // One that was begun can be stopped.
    room.order("calibrate.start").await;
    room.until("ups.status", |status| status.split(' ').any(|word| word == "CAL")).await;
    room.order("calibrate.stop").await;
    room.does(Deed::Calibration(Calibration::Stopped)).await;
    room.until("ups.status", |status| status == "OL").await;
}

#[tokio::test]
async fn a_worn_battery_is_told_of_until_a_new_one_passes_the_test() {
    a_worn_battery_is_replaced(Whose::Ours).await;
}

#[tokio::test]
async fn a_worn_battery_is_replaced_the_same_way_with_nuts_driver() {
    if let Some(oracle) = Oracle::get("a_worn_battery_is_replaced_the_same_way_with_nuts_driver") {
        a_worn_battery_is_replaced(Whose::Nuts(oracle)).await;
    }
}

#[tokio::test]
async fn a_runtime_calibration_runs_down_returns_and_stops_nobody() {
    the_runtime_is_calibrated(Whose::Ours).await;
}

#[tokio::test]
async fn a_runtime_calibration_goes_the_same_way_with_nuts_driver() {
    if let Some(oracle) = Oracle::get("a_runtime_calibration_goes_the_same_way_with_nuts_driver") {
        the_runtime_is_calibrated(Whose::Nuts(oracle)).await;
    }
}
