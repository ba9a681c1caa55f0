//! `cargo drill` itself: however it ends, nothing it started is left.

use crate::support::{PATIENCE, stage};
use nix::sys::signal::Signal;
use nut_drill::stage::{Running, Stage, turn};
use std::path::{Path, PathBuf};

/// A rehearsal that has come so far that its server runs, and its directory.
async fn running(stage: &Stage) -> (Running, PathBuf) {
    let host = stage.host("stranger").unwrap();
    let temporary = host.state.display().to_string();
    let path = stage.programs().path("upsdrill").unwrap();
    // Started by a test it would build the programs once more.
    let environment = [("TMPDIR", temporary.as_str())];
    let drill = stage.start_at(&host, "upsdrill", &path, &["outage"], &environment).unwrap();
    let folder = tokio::time::timeout(PATIENCE, async {
        loop {
            let found = std::fs::read_dir(&host.state).unwrap().flatten().map(|entry| entry.path()).next();
            if let Some(folder) = found.filter(|folder| folder.join("log/central-upsd.log").exists()) {
                return folder;
            }
            turn().await;
        }
    })
    .await
    .expect("the rehearsal starts its server in time");
    (drill, folder)
}

/// All processes that run on the stage of this directory.
fn processes(folder: &Path) -> Vec<String> {
    let mark = format!("COBNUT_STAGE={}", folder.display());
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            found.push(std::fs::read_to_string(process.path().join("comm")).unwrap_or_default());
        }
    }
    found
}

async fn leaves_nothing(signal: Signal, code: Option<i32>) {
    let stage = stage();
    let (mut drill, folder) = running(&stage).await;
    assert!(!processes(&folder).is_empty(), "the test would see processes of the rehearsal");
    drill.signal(signal).unwrap();
    let ended = tokio::time::timeout(PATIENCE, drill.ended()).await.expect("it ends in time");
    assert_eq!(ended, code);
    tokio::time::timeout(PATIENCE, async {
        while folder.exists() || !processes(&folder).is_empty() {
            turn().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("left over: {:?}, directory: {}", processes(&folder), folder.exists()));
}

#[tokio::test]
async fn ctrl_c_leaves_no_process_and_no_directory() {
    leaves_nothing(Signal::SIGINT, Some(130)).await;
}

#[tokio::test]
async fn sigterm_leaves_no_process_and_no_directory() {
    leaves_nothing(Signal::SIGTERM, Some(143)).await;
}

#[tokio::test]
async fn a_rehearsal_that_is_killed_leaves_no_process_and_no_directory() {
    leaves_nothing(Signal::SIGKILL, None).await;
}
