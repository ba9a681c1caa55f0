//! The rehearsals of `cargo drill`, as tests: from the serial byte to the shutdown command and back to mains.

use crate::support::stage;
use nut_drill::plays::{Performance, Play};
use nut_drill::school::School;

async fn plays_to_its_end(play: Play) {
    let school = School::start(stage()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut performance = Performance::new(school);
    if let Err(error) = performance.play(play).await {
        for entry in performance.into_school().stage.record.entries() {
            eprintln!("{:?} {} {:?}", entry.at, entry.host, entry.what);
        }
        panic!("{error}");
    }
}

#[tokio::test]
async fn an_outage_stops_the_servers_first_the_central_host_last_and_then_cuts_the_power() {
    plays_to_its_end(Play::Outage).await;
}

#[tokio::test]
async fn a_blip_stops_nobody() {
    plays_to_its_end(Play::Blip).await;
}

#[tokio::test]
async fn the_loss_of_a_ups_that_does_not_feed_the_central_host_does_not_stop_it() {
    plays_to_its_end(Play::Weights).await;
}
