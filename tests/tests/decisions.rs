//! The scenarios of upsmon's decisions with real processes: dummy-ups, upsd, and upsmon, ours and then NUT's 2.8.0.
//!
//! A scenario is a row of a table: hosts, what happens to them, and the trail that each upsmon must leave. All wait for
//! what they wait for, in real time with small numbers; rows run beside each other. NUT's upsmon (`tests/oracle`) is
//! put through the same row against the same server; it must leave the same trail, or the row says which of the two is
//! right, and why.
//!
//! Letters and numbers are those of the list of scenarios that was measured on NUT, which upsmon's own tests go through
//! in simulated time.

mod alone;
mod lost;
mod power;
mod rig;
mod tap;
mod together;
mod trail;
mod words;

use crate::oracle::Oracle;
use Step::*;
use nix::sys::signal::Signal;
use rig::Rig;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Most rows that run at the same time; each is some five processes.
const AT_ONCE: usize = 24;

/// Whose upsmon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Nuts,
}

/// One row.
struct Scenario {
    /// `A1`, and a word where one has several rows.
    id: &'static str,
    /// What it shows.
    title: &'static str,
    /// The UPSes and what each says at first. The server knows them all.
    upses: &'static [(&'static str, &'static str)],
    /// Further lines of upsd.conf.
    upsd: &'static str,
    monitors: &'static [Monitor],
    steps: &'static [Step],
    /// The trail each upsmon leaves.
    trails: &'static [Trail],
    /// Things that must have come in this order, each an upsmon and an item of its trail.
    order: &'static [(At, At)],
    nut: Nut,
}

type At = (&'static str, &'static str);

/// What most rows have.
const ROW: Scenario = Scenario {
    id: "",
    title: "",
    upses: &[("u1", "OL")],
    upsd: "",
    monitors: &[PRI],
    steps: &[],
    trails: &[],
    order: &[],
    nut: Nut::Same,
};

/// One upsmon, on a host of its own.
#[derive(Clone, Copy)]
struct Monitor {
    name: &'static str,
    /// Its file. `@` is followed by the server in it; what it does not set is as in [`rig::FAST`].
    conf: &'static str,
    start: Start,
}

/// When an upsmon starts, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the server, as one process (`-p`).
    WithServer,
    /// The same, and it ends by itself at once.
    Refused,
    /// With the server, as two processes.
    Split,
    /// When a step says so.
    Later,
}

const PRI: Monitor =
    Monitor { name: "pri", conf: "MONITOR u1@ 1 pri pp primary\n", start: Start::WithServer };
const SEC: Monitor =
    Monitor { name: "sec", conf: "MONITOR u1@ 1 sec ss secondary\n", start: Start::WithServer };

/// What happens, or is waited for. The first word is an upsmon unless it is said otherwise.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A UPS says this from now on.
    Set(&'static str, &'static str),
    /// An upsmon's next item in the log, behind those it was waited for before.
    Logs(&'static str, &'static str),
    /// So many further polls of a UPS are answered, and so what came of all but the last was decided on.
    Polls(&'static str, &'static str, usize),
    /// A primary has begun to wait for others: twice it has counted more logins than its own.
    Waits(&'static str),
    /// The server says this of a UPS.
    Says(&'static str, &'static str),
    /// An upsmon ends by itself.
    Ends(&'static str),
    /// `upsmon -c WORD`.
    Order(&'static str, &'static str),
    /// A signal to any process, by the name of a UPS (its driver), `upsd`, or an upsmon; one that kills is waited for.
    Send(&'static str, Signal),
    /// Starts what was killed or has not run yet.
    Start(&'static str),
    /// Another file for an upsmon.
    Write(&'static str, &'static str),
    /// Somebody else logs in to a UPS, and stays.
    Login(&'static str),
    /// He goes, without a word.
    Leaves,
    /// Somebody else forces the shutdown of what a UPS feeds.
    Forces(&'static str),
    /// Nothing is waited for but time, in seconds: only where something must not happen and nothing else tells that it
    /// could have.
    Rests(u64),
}

/// What an upsmon leaves behind.
struct Trail {
    who: &'static str,
    /// Its log, as [`trail::fits`] reads it.
    log: &'static [&'static str],
    /// The UPSes it forced, and what the server said to that.
    forced: &'static [&'static str],
    end: End,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ran its command once, with POWERDOWNFLAG on disk, and ended with success.
    Down,
    /// It ran its command, and is still there.
    Stays,
    /// It ran until the test ended, without a command.
    Up,
    /// It ended with this code, without a command.
    Exit(i32),
    /// The test killed it, before it ran a command.
    Killed,
}

/// How NUT's upsmon does in a row.
enum Nut {
    /// The same.
    Same,
    /// Another trail, and who is right.
    Differs { trails: &'static [Trail], right: Right, why: &'static str },
    /// It is not put through this, for this reason.
    NotRun(&'static str),
}

/// Which trail is the one to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    Ours,
    /// Each as it goes: a matter of taste, or of what NUT came to do later.
    Either,
}

fn all() -> Vec<&'static Scenario> {
    [alone::ALL, together::ALL, lost::ALL, power::ALL, words::ALL].into_iter().flatten().collect()
}

/// Puts one side through all rows, and tells of all that failed.
async fn play(side: Side) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let only = std::env::var("COBNUT_ROW").ok();
    let mut running = tokio::task::JoinSet::new();
    for row in all() {
        let wanted = only.as_deref().is_none_or(|only| row.id.starts_with(only));
        if !wanted || (side == Side::Nuts && matches!(row.nut, Nut::NotRun(_))) {
            continue;
        }
        let places = places.clone();
        running.spawn(async move {
            let _place = places.acquire().await;
            Rig::play(row, side).await.map_err(|told| format!("{} ({})\n{told}", row.id, row.title))
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(told)) => {
                eprintln!("{side:?} {}", told.lines().take(5).collect::<Vec<_>>().join(" / "));
                failed.push(told);
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    assert!(failed.is_empty(), "{side:?}, {} rows failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test]
async fn each_scenario_ends_as_it_must_with_our_upsmon() {
    play(Side::Ours).await;
}

#[tokio::test]
async fn each_scenario_ends_the_same_with_nuts_upsmon_or_the_row_says_why_not() {
    if Oracle::get("each_scenario_ends_the_same_with_nuts_upsmon_or_the_row_says_why_not").is_some() {
        play(Side::Nuts).await;
    }
}

#[test]
fn the_rows_are_many_and_each_has_a_name_a_trail_and_a_reason() {
    let rows = all();
    let with_nut = rows.iter().filter(|row| !matches!(row.nut, Nut::NotRun(_))).count();
    assert!(rows.len() >= 25 && with_nut >= 25, "{} rows, {with_nut} with NUT's", rows.len());
    let mut ids: Vec<&str> = rows.iter().map(|row| row.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len(), "each name is used once");
    for row in rows {
        assert!(!row.title.is_empty() && row.trails.len() == row.monitors.len(), "{}", row.id);
        match row.nut {
            Nut::Same => {}
            Nut::Differs { trails, right, why } => {
                assert!(right == Right::Ours || why.contains("NUT does as we do"), "{}", row.id);
                assert!(!why.is_empty() && trails.len() == row.monitors.len(), "{}", row.id);
            }
            Nut::NotRun(why) => assert!(!why.is_empty(), "{}", row.id),
        }
    }
}
