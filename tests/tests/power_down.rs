//! `apcsmart -k`: the power is cut when told to, whatever the unit says of itself.

use crate::support::{PATIENCE, me, sim, stage};
use nut_drill::sim::deed::{OffBy, OnBy};
use nut_drill::sim::{
    Deed, Direction, Event, Extent, Fault, FaultKind, Mains, Output, Pace, Profile, Settings,
    ShutdownCommand, SimHandle, SmartUps,
};
use nut_drill::stage::{Host, Stage};
use std::num::NonZeroU32;
use std::time::Duration;

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

/// When mains change during a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Not before the load is off.
    Afterwards,
    /// While the state of the line is being asked for.
    AtTheStatus,
    /// With the first byte of the command.
    AtTheCommand,
    /// When the unit has taken it.
    InTheGrace,
    /// At the moment the load goes off.
    AtTheEnd,
}

const WHENS: [When; 5] =
    [When::Afterwards, When::AtTheStatus, When::AtTheCommand, When::InTheGrace, When::AtTheEnd];

/// A unit whose delays pass sixty times faster.
fn fast(profile: &str, link: &std::path::Path) -> SimHandle {
    let settings = Settings {
        pace: Pace::Immediate,
        time_scale: NonZeroU32::new(60).unwrap(),
        // A busy machine is between the two ends of the line.
        two_step_tolerance: Duration::from_millis(50),
        ..Settings::default()
    };
    SimHandle::start(SmartUps::new(Profile::named(profile).unwrap(), settings), link).unwrap()
}

/// Changes mains at its moment, and sees to it that they are there in the end.
async fn change_mains(unit: &SimHandle, when: When, to: Mains) {
    let heard = async |byte: fn(u8) -> bool| {
        let mut traffic = unit.traffic();
        let from_host = |one: &nut_drill::sim::pty::Traffic| {
            one.direction == Direction::FromHost && one.bytes.iter().any(|one| byte(*one))
        };
        while !traffic.recv().await.is_ok_and(|one| from_host(&one)) {}
    };
    let accepted = |deed: &Deed| matches!(deed, Deed::ShutdownAccepted { .. });
    let off = |deed: &Deed| matches!(deed, Deed::LoadOff { .. });
    match when {
        When::Afterwards => {}
        When::AtTheStatus => heard(|byte| byte == b'Q').await,
        When::AtTheCommand => heard(|byte| b"S@KZU".contains(&byte)).await,
        When::InTheGrace => {
            unit.wait_within(PATIENCE, accepted).await.expect("a command is taken");
        }
        When::AtTheEnd => {
            unit.wait_within(PATIENCE, off).await.expect("the load goes off");
        }
    }
    if when != When::Afterwards {
        unit.send(Event::Mains(to)).await;
    }
    unit.wait_within(PATIENCE, off).await.expect("the load goes off");
    unit.send(Event::Mains(Mains::On)).await;
}

/// One shutdown: the command the unit took, the program's exit code and what it said, and what came of the load.
async fn one_shutdown(
    stage: &Stage,
    profile: &str,
    sdtype: u8,
    begin: Mains,
    when: When,
) -> (String, Option<i32>, String, Option<OnBy>) {
    let name = format!("{begin:?}-{when:?}").to_lowercase();
    let host = stage.host(&name).unwrap();
    let tty = stage.folder().join(format!("tty-{name}"));
    let unit = fast(profile, &tty);
    let conf = format!(
        "user = {}\n[unit]\n  driver = apcsmart\n  port = {}\n  sdtype = {sdtype}\n",
        me(),
        tty.display()
    );
    stage.write(&host.conf.join("ups.conf"), &conf).unwrap();
    unit.send(Event::Mains(begin)).await;
    unit.state().await.unwrap();
    let other = if begin == Mains::On { Mains::Off } else { Mains::On };
    let run = async {
        let run = stage.run(&host, "apcsmart", &["-a", "unit", "-k"]);
        tokio::time::timeout(PATIENCE, run).await.expect("it ends in time").unwrap()
    };
    let changing = tokio::time::timeout(PATIENCE, change_mains(&unit, when, other));
    let ((code, _, said), changed) = tokio::join!(run, changing);
    changed.unwrap_or_else(|_| panic!("{profile} sdtype {sdtype} {name}: the load is never off: {said}"));
    let off = |deed: &Deed| matches!(deed, Deed::LoadOff { .. });
    let on = |deed: &Deed| matches!(deed, Deed::LoadOn { .. });
    let (_, deed) = unit.wait_within(Duration::ZERO, off).await.unwrap();
    let Deed::LoadOff { by: OffBy::Command(command) } = deed else { panic!("off by {deed}") };
    // With a method that comes back it is on again in time; one that does not is off to the end.
    let comes_back = !matches!(command, ShutdownCommand::StayOff | ShutdownCommand::OffNow);
    let patience = if comes_back { PATIENCE } else { Duration::from_secs(2) };
    let returned = unit.wait_within(patience, on).await;
    let by = returned.map(|(_, deed)| match deed {
        Deed::LoadOn { by } => by,
        other => panic!("{other} is no return"),
    });
    let state = unit.state().await.unwrap();
    let expected = if comes_back { Output::On } else { Output::Off };
    assert_eq!(state.output, expected, "{profile} sdtype {sdtype} {name}: {said}");
    (command.to_string(), code, said, by)
}

/// All moments at which mains may change, from both states of the line; for each the load ends as its method says.
async fn each_moment(profile: &str, sdtype: u8, expected: fn(Mains, When) -> &'static str) {
    for begin in [Mains::Off, Mains::On] {
        let stage = stage();
        let one = |when| one_shutdown(&stage, profile, sdtype, begin, when);
        let [a, b, c, d, e] = WHENS;
        let (a, b, c, d, e) = tokio::join!(one(a), one(b), one(c), one(d), one(e));
        for (when, (command, code, said, by)) in WHENS.into_iter().zip([a, b, c, d, e]) {
            let case = format!("{profile} sdtype {sdtype} from {begin:?}, {when:?}: {said}");
            assert_eq!(code, Some(0), "{case}");
            assert!(expected(begin, when).split('|').any(|one| one == command), "{command}: {case}");
            let stays_off = command == "K" || command == "Z";
            assert_eq!(said.contains("the load stays off"), stays_off, "{case}");
            assert_eq!(by.is_some(), !stays_off, "{case}");
            assert!(said.contains("is taken: the unit cuts its power"), "{case}");
        }
    }
}

/// `S` on battery, `@` on mains. Mains that change between the question and the command leave either of the two.
fn soft_or_hibernate(begin: Mains, when: When) -> &'static str {
    match (begin, when) {
        (Mains::Off, When::AtTheStatus | When::AtTheCommand) => "S|@000",
        (Mains::Off, _) => "S",
        (Mains::On, When::AtTheStatus | When::AtTheCommand) => "S|@000",
        (Mains::On, _) => "@000",
    }
}

/// The same for a unit of the first generations, which does nothing on `@000`.
fn soft_or_hibernate_old(begin: Mains, when: When) -> &'static str {
    match soft_or_hibernate(begin, when) {
        "S" => "S",
        "@000" => "@001",
        _ => "S|@001",
    }
}

const NEW: &str = "smart-ups-1400-70.9.I";
const OLD: &str = "smart-ups-900i-7TI";

#[tokio::test]
async fn sdtype_0_cuts_the_power_and_it_comes_back_whenever_mains_change() {
    each_moment(NEW, 0, soft_or_hibernate).await;
}

#[tokio::test]
async fn sdtype_1_cuts_the_power_and_it_comes_back_whenever_mains_change() {
    each_moment(NEW, 1, soft_or_hibernate).await;
}

#[tokio::test]
async fn sdtype_2_cuts_the_power_and_says_that_it_stays_off() {
    each_moment(NEW, 2, |_, _| "Z").await;
}

#[tokio::test]
async fn sdtype_3_cuts_the_power_and_says_that_it_stays_off() {
    each_moment(NEW, 3, |_, _| "K").await;
}

#[tokio::test]
async fn sdtype_4_cuts_the_power_and_it_comes_back_whenever_mains_change() {
    each_moment(NEW, 4, |_, _| "S").await;
}

#[tokio::test]
async fn sdtype_5_cuts_the_power_and_it_comes_back_whenever_mains_change() {
    each_moment(NEW, 5, |_, _| "@000").await;
}

#[tokio::test]
async fn an_old_unit_is_cut_and_comes_back_whenever_mains_change() {
    each_moment(OLD, 0, soft_or_hibernate_old).await;
    each_moment(OLD, 3, |_, _| "K").await;
}
