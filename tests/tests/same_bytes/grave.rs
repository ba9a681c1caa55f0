//! Orders that take the load's power, or change how it is fed: the same bytes as NUT's, for every unit.

use super::{Talk, Whose, differing, each_unit, instant};
use nut_drill::sim::{Deed, Event, Mains, Output, Settings};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::UnixStream;

/// What is waited for after an order, besides the second that its bytes are listened for and the second of the order in
/// between: three whole seconds must lie between asking for something grave and asking again.
const APART: Duration = Duration::from_millis(2_200);

/// How often an order is given until something comes of it. Twice is the rule; on a machine that stands still for
/// longer than the fifteen seconds in which the second time counts, it is the first time again.
const TRIES: usize = 6;

/// What is ordered while the unit is on mains, and then on battery.
const GRAVE: [&str; 6] = [
    "shutdown.return",
    "shutdown.return cs",
    "shutdown.return at:1",
    "shutdown.return at:05",
    "shutdown.stayoff",
    "load.off",
];

/// Gives an order until something is said by it, or it is refused. What it looks like afterwards each driver asks in its
/// own way, from `Q` on: a unit that switches off may tell so, which ours takes for an alert, and NUT's for a wake-up.
async fn insist(talk: &mut Talk, stream: &mut UnixStream, order: &str) -> String {
    for _ in 0..TRIES {
        let (said, code) = talk.order(stream, &format!("INSTCMD {order}")).await;
        talk.silence_of(APART).await;
        let said = said.split('Q').next().unwrap_or_default();
        if !said.is_empty() || code != "0" {
            return format!("{order} -> {said} = {code}");
        }
    }
    format!("{order} -> nothing in {TRIES} tries")
}

/// The unit as it was: its load on, whatever was ordered.
async fn restore(talk: &Talk) {
    let state = talk.sim.state().await.unwrap();
    if state.shutdown.is_some() {
        talk.sim.wait_within(crate::support::PATIENCE, |deed| matches!(deed, Deed::LoadOff { .. })).await;
    }
    if talk.sim.state().await.unwrap().output != Output::On {
        talk.sim.send(Event::Button).await;
    }
}

#[tokio::test]
async fn every_unit_loses_its_power_by_nuts_bytes() {
    each_unit("every_unit_loses_its_power_by_nuts_bytes", async |stage, oracle, unit| {
        let talk = async |whose, mains| {
            let time = Settings { time_scale: NonZeroU32::new(60).unwrap(), ..instant() };
            let mut talk = Talk::begin_with(stage, oracle, whose, unit, &format!("{mains:?}"), 3_600, time);
            let (mut stream, dump) = talk.connect().await;
            talk.silence().await;
            let has = |order: &str| {
                let name = order.split(' ').next().unwrap_or_default();
                dump.iter().any(|line| line == &format!("ADDCMD {name}"))
            };
            let mut said = Vec::new();
            for order in GRAVE.into_iter().filter(|order| has(order)) {
                talk.sim.send(Event::Mains(mains)).await;
                // The unit says at once that it runs on its battery; NUT reads that with the next answer.
                if has("test.panel.start") {
                    talk.order(&mut stream, "INSTCMD test.panel.start").await;
                }
                said.push(format!("{mains:?}: {}", insist(&mut talk, &mut stream, order).await));
                restore(&talk).await;
            }
            said
        };
        let on_mains = async || tokio::join!(talk(Whose::Ours, Mains::On), talk(Whose::Nuts, Mains::On));
        let on_battery = async || tokio::join!(talk(Whose::Ours, Mains::Off), talk(Whose::Nuts, Mains::Off));
        let ((ours, nuts), (our_others, nuts_others)) = tokio::join!(on_mains(), on_battery());
        [differing(unit, &ours, &nuts), differing(unit, &our_others, &nuts_others)].concat()
    })
    .await;
}
