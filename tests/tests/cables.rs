//! What a cut network cable does to a server and to the central host.

use crate::support::{PATIENCE, stage};
use nut_drill::record::{Entry, What};
use nut_drill::relay::Cable;
use nut_drill::school::{SERVERS, School, UPSES};
use nut_drill::sim::{BatteryChange, Event, LowBattery, Mains};
use std::time::Duration;

/// HOSTSYNC of the school's upsmon.conf.
const HOST_SYNC: Duration = Duration::from_secs(6);

/// DEADTIME of the school's upsmon.conf.
const DEAD_TIME: Duration = Duration::from_secs(6);

async fn school() -> School {
    School::start(stage()).await.unwrap_or_else(|error| panic!("{error}"))
}

fn cable(school: &School, server: &str) -> usize {
    let at = SERVERS.iter().position(|one| one.name == server).unwrap();
    assert!(at < school.cables.len());
    at
}

async fn all_on_battery(school: &School) {
    for ups in &UPSES {
        school.sim(ups.name).unwrap().send(Event::Mains(Mains::Off)).await;
    }
}

/// Waits for a line of a host's upsmon.
async fn says(school: &mut School, from: usize, host: &str, text: &str) -> Entry {
    let claim = format!("{host} says: {text}");
    let is = |entry: &Entry| entry.is_line(host, "upsmon", text);
    school.stage.record.wait(from, PATIENCE, &claim, is).await.unwrap()
}

async fn stops(school: &mut School, from: usize, host: &str) -> Entry {
    let is = |entry: &Entry| entry.is_script(host, "SHUTDOWNCMD", None);
    school.stage.record.wait(from, PATIENCE, &format!("{host} stops"), is).await.unwrap()
}

fn nobody_stopped(school: &School) {
    let stopped = |entry: &Entry| matches!(&entry.what, What::Told { script, .. } if script == "SHUTDOWNCMD");
    assert!(school.stage.record.find(0, stopped).is_none(), "a host stopped");
}

#[tokio::test]
async fn a_cable_cut_on_mains_is_told_and_stops_nobody_and_its_return_is_told_too() {
    let mut school = school().await;
    let web = cable(&school, "web");
    school.cables[web].set(Cable::Cut);
    let lost = says(&mut school, 0, "web", "Communications with UPS paris").await;
    assert!(lost.is_line("web", "upsmon", " lost"), "{lost:?}");
    let from = school.stage.record.mark();
    school.cables[web].set(Cable::Good);
    says(&mut school, from, "web", "established").await;
    nobody_stopped(&school);
}

#[tokio::test]
async fn a_server_cut_off_on_battery_stops_by_itself_and_holds_the_central_host_for_host_sync_at_most() {
    let mut school = school().await;
    all_on_battery(&school).await;
    says(&mut school, 0, "web", "on battery").await;
    let web = cable(&school, "web");
    school.stage.record.note("web", What::Cue("the cable is cut".to_owned()));
    let cut = school.stage.record.entries().last().unwrap().at;
    school.cables[web].set(Cable::Cut);
    let down = stops(&mut school, 0, "web").await;
    // Counted from when it last heard something, which was up to a poll before; a busy machine polls late.
    assert!(down.at.since(cut) > DEAD_TIME / 2, "web gave up after {:?}", down.at.since(cut));
    // Nobody told it to: the central host has not forced anything yet.
    let forced = |entry: &Entry| entry.is_line("central", "upsd", "set FSD on UPS");
    assert!(school.stage.record.find(0, forced).is_none());

    school.sim("nicole").unwrap().send(Event::Battery(BatteryChange::Low(LowBattery::Now))).await;
    let set = |entry: &Entry| entry.is_line("central", "upsd", "set FSD on UPS [nicole]");
    let forced =
        school.stage.record.wait(0, PATIENCE, "the central host forces the shutdown", set).await.unwrap();
    let down = stops(&mut school, 0, "central").await;
    let waited = down.at.since(forced.at);
    // The dead server's login is still counted, since upsd cannot know that it is gone: HOSTSYNC, FINALDELAY, and what
    // a busy machine adds.
    assert!(waited > HOST_SYNC, "the central host waited {waited:?}");
    assert!(waited < HOST_SYNC + Duration::from_secs(20), "the central host waited {waited:?}");
    says(&mut school, 0, "central", "Host sync timer expired").await;
    stops(&mut school, 0, "mail").await;
}
