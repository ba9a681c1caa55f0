//! upssched between the houses: ours as the notifier of NUT's upsmon, and NUT's as that of ours.

use crate::oracle::Oracle;
use crate::support::{PATIENCE, USERS, connected, me, stage, upsd, write_dummies};
use nix::sys::signal::Signal;
use nut_drill::record::{Entry, What};
use nut_drill::stage::{Host, Running, Stage};
use std::path::{Path, PathBuf};

/// In the school's manner: a timer while on battery, commands for the rest. The second timer is always cancelled, so its
/// `back` is for nobody.
const RULES: &str = "AT ONBATT * START-TIMER onbatt 1\n\
    AT ONBATT * START-TIMER never 3600\n\
    AT ONLINE * CANCEL-TIMER never back\n\
    AT ONLINE * EXECUTE online\n\
    AT LOWBATT * EXECUTE lowbatt\n\
    AT SHUTDOWN * EXECUTE powerdown\n";

/// A host with a UPS on paper, upsd, and the files of an upsmon whose notifier is an upssched.
struct House {
    stage: Stage,
    host: Host,
    _running: Vec<Running>,
}

impl House {
    async fn new(upssched: impl Fn(&Stage) -> PathBuf) -> Self {
        let mut stage = stage();
        let host = stage.host("central").unwrap();
        write_dummies(&stage, &host, &[("nicole", "ups.status: OL\n")]);
        stage.write(&host.conf.join("upsd.conf"), "LISTEN 127.0.0.1 0\n").unwrap();
        stage.write(&host.conf.join("upsd.users"), USERS).unwrap();
        let driver = stage.start(&host, "dummy-ups", &["-a", "nicole", "-F"]).unwrap();
        let (server, port) = upsd(&mut stage, &host).await;
        connected(&mut stage, &host, "nicole").await;
        let stop = stage.teller(&host, "SHUTDOWNCMD", "stop").unwrap();
        let conf = format!(
            "MONITOR nicole@127.0.0.1:{port} 1 pri pp primary\nPOLLFREQ 1\nPOLLFREQALERT 1\nFINALDELAY 0\n\
             RUN_AS_USER {}\nNOTIFYCMD {}\nSHUTDOWNCMD {}\nPOWERDOWNFLAG {}\n\
             NOTIFYFLAG ONBATT SYSLOG+EXEC\nNOTIFYFLAG ONLINE SYSLOG+EXEC\nNOTIFYFLAG LOWBATT SYSLOG+EXEC\n\
             NOTIFYFLAG SHUTDOWN SYSLOG+EXEC\nNOTIFYFLAG COMMBAD SYSLOG\nNOTIFYFLAG COMMOK SYSLOG\n",
            me(),
            upssched(&stage).display(),
            stop.display(),
            host.state.join("killpower").display()
        );
        stage.write(&host.conf.join("upsmon.conf"), &conf).unwrap();
        let script = stage.teller(&host, "CMDSCRIPT", "dispatch").unwrap();
        let rules = format!(
            "CMDSCRIPT {}\nPIPEFN {}\nLOCKFN {}\n{RULES}",
            script.display(),
            host.state.join("upssched.pipe").display(),
            host.state.join("upssched.lock").display()
        );
        stage.write(&host.conf.join("upssched.conf"), &rules).unwrap();
        Self { stage, host, _running: vec![driver, server] }
    }

    fn set(&self, status: &str) {
        // Renamed into place: a driver must not see half of it.
        let (new, file) = (self.host.conf.join("nicole.new"), self.host.conf.join("nicole.dev"));
        self.stage.write(&new, &format!("ups.status: {status}\n")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    /// Waits until the script has run for this, behind that place of the record, and gives what it was told of the event.
    async fn runs(&mut self, from: usize, command: &str) -> (String, String) {
        let is = |entry: &Entry| entry.is_script("central", "CMDSCRIPT", Some(command));
        let ran = self.stage.record.wait(from, PATIENCE, &format!("the script runs for {command}"), is).await;
        let What::Told { notice: (kind, ups), .. } = ran.unwrap().what else {
            unreachable!("a script tells")
        };
        let ups = ups.unwrap_or_default();
        (kind.unwrap_or_default(), ups.split('@').next().unwrap_or_default().to_owned())
    }

    /// An outage that ends, and one that does not, under this upsmon.
    async fn goes_down(&mut self, upsmon: Running) {
        let mut upsmon = upsmon;
        let logged_in =
            |entry: &Entry| entry.is_line("central", "upsd", "User pri@127.0.0.1 logged into UPS [nicole]");
        self.stage.record.wait(0, PATIENCE, "upsmon is logged in", logged_in).await.unwrap();

        let told = |kind: &str, ups: &str| (kind.to_owned(), ups.to_owned());
        self.set("OB");
        assert_eq!(self.runs(0, "onbatt").await, told("ONBATT", "nicole"));
        self.set("OL");
        assert_eq!(self.runs(0, "online").await, told("ONLINE", "nicole"));
        let from = self.stage.record.mark();
        self.set("OB LB");
        assert_eq!(self.runs(from, "lowbatt").await, told("LOWBATT", "nicole"));
        assert_eq!(self.runs(from, "powerdown").await, told("SHUTDOWN", ""));
        self.runs(from, "onbatt").await;
        let stops = |entry: &Entry| entry.is_script("central", "SHUTDOWNCMD", None);
        self.stage.record.wait(from, PATIENCE, "the host stops", stops).await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, upsmon.ended()).await.expect("it ends in time"), Some(0));
        // What was pending when mains returned was cancelled, and so nothing was to be done instead.
        for command in ["never", "back"] {
            let is = |entry: &Entry| entry.is_script("central", "CMDSCRIPT", Some(command));
            assert!(self.stage.record.find(0, is).is_none(), "{command}");
        }
        let counted = |command: &str| {
            let is = |entry: &&Entry| entry.is_script("central", "CMDSCRIPT", Some(command));
            self.stage.record.entries().iter().filter(is).count()
        };
        assert_eq!(["onbatt", "online", "lowbatt", "powerdown"].map(counted), [2, 1, 1, 1]);
    }
}

/// What upsmon sets lives on when it ends.
#[tokio::test]
async fn a_timer_outlives_the_upsmon_that_set_it() {
    let mut house = House::new(|stage| stage.programs().path("upssched").unwrap()).await;
    let mut upsmon = house.stage.start(&house.host, "upsmon", &["-F", "-p"]).unwrap();
    let logged_in =
        |entry: &Entry| entry.is_line("central", "upsd", "User pri@127.0.0.1 logged into UPS [nicole]");
    house.stage.record.wait(0, PATIENCE, "upsmon is logged in", logged_in).await.unwrap();
    house.set("OB");
    // Its line stands above that of the other timer.
    house.runs(0, "onbatt").await;
    upsmon.signal(Signal::SIGTERM).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, upsmon.ended()).await.expect("it ends in time"), Some(0));
    let mut list = house.stage.start(&house.host, "upssched", &["-l"]).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, list.ended()).await.expect("it ends"), Some(0));
    let pending = |entry: &Entry| entry.is_line("central", "upssched", "never\t");
    house.stage.record.wait(0, PATIENCE, "the timer is pending", pending).await.unwrap();
    // Nobody is left to cancel it.
    let program = house.stage.programs().path("upssched").unwrap();
    let environment = [("NOTIFYTYPE", "ONLINE"), ("UPSNAME", "nicole")];
    let mut cancel =
        house.stage.start_at(&house.host, "upssched", &program, &["back"], &environment).unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, cancel.ended()).await.expect("it ends"), Some(0));
}

#[tokio::test]
async fn our_upssched_under_nuts_upsmon() {
    let Some(oracle) = Oracle::get("our_upssched_under_nuts_upsmon") else { return };
    let mut house = House::new(|stage| stage.programs().path("upssched").unwrap()).await;
    let upsmon = oracle.start(&house.stage, &house.host, "nut-upsmon", &["upsmon", "-F", "-p"]).unwrap();
    house.goes_down(upsmon).await;
}

#[tokio::test]
async fn nuts_upssched_under_our_upsmon() {
    if Oracle::get("nuts_upssched_under_our_upsmon").is_none() {
        return;
    }
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/run.sh");
    let script = format!("#!/bin/sh\nexec {} upssched \"$@\"\n", run.display());
    let mut house = House::new(|stage| stage.script("nut-upssched", &script).unwrap()).await;
    let upsmon = house.stage.start(&house.host, "upsmon", &["-F", "-p"]).unwrap();
    house.goes_down(upsmon).await;
}
