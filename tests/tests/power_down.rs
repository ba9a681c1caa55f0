//! `apcsmart -k`: the power is cut when told to, whatever the unit says of itself.

use crate::support::{PATIENCE, me, sim, stage};
use nut_drill::sim::{Direction, Event, Extent, Fault, FaultKind, Mains, SimHandle};
use nut_drill::stage::{Host, Stage};

/// A host with one unit, and all bytes that a driver sends it while `-k` runs; with its exit code.
async fn cut(stage: &Stage, host: &Host, unit: &SimHandle) -> (Option<i32>, Vec<u8>) {
    let mut traffic = unit.traffic();
    let run = stage.run(host, "apcsmart", &["-a", "unit", "-k"]);
    let (code, _, _) = tokio::time::timeout(PATIENCE, run).await.expect("it ends in time").unwrap();
    let mut sent = Vec::new();
    while let Ok(one) = traffic.try_recv() {
        if one.direction == Direction::FromHost {
            sent.extend(one.bytes);
        }
    }
    (code, sent)
}

fn configure(stage: &Stage, sdtype: u8) -> (Host, SimHandle) {
    let host = stage.host("central").unwrap();
    let tty = stage.folder().join("tty");
    let unit = sim("smart-ups-1400-70.9.I", &tty);
    let conf = format!(
        "user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n  sdtype = {sdtype}\n",
        me(),
        tty.display()
    );
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    (host, unit)
}

#[tokio::test]
async fn on_battery_the_soft_command_is_sent_and_on_mains_the_one_that_works_there() {
    for (mains, command) in [(Mains::Off, "S"), (Mains::On, "V@000")] {
        let stage = stage();
        let (host, unit) = configure(&stage, 0);
        unit.send(Event::Mains(mains)).await;
        let (code, sent) = cut(&stage, &host, &unit).await;
        let sent = String::from_utf8_lossy(&sent).into_owned();
        assert_eq!((code, sent.as_str()), (Some(0), format!("YQ{command}R").as_str()), "{mains:?}");
        assert!(unit.state().await.unwrap().shutdown.is_some(), "the unit switches off: {mains:?}");
    }
}

#[tokio::test]
async fn a_unit_that_answers_nothing_gets_the_command_all_the_same() {
    let stage = stage();
    let (host, unit) = configure(&stage, 1);
    unit.send(Event::Fault(Fault { kind: FaultKind::Silence, extent: Extent::UntilCleared })).await;
    let (code, sent) = cut(&stage, &host, &unit).await;
    assert!(sent.contains(&b'S') && sent.contains(&b'@'), "{}", sent.escape_ascii());
    // Nobody knows whether it heard: that is no success.
    assert_eq!(code, Some(1));
}
