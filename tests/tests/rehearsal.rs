//! `cargo drill` itself: what it says, how it ends, and that nothing it started is left.

use crate::support::{PATIENCE, stage};
use nix::sys::signal::Signal;
use nut_drill::plays::{Performance, Play};
use nut_drill::programs::Programs;
use nut_drill::school::School;
use nut_drill::stage::{Running, Stage, turn};
use std::path::{Path, PathBuf};

/// A rehearsal that has come so far that its server runs, and its directory.
async fn running(stage: &Stage) -> (Running, PathBuf) {
    let host = stage.host("stranger").unwrap();
    let temporary = host.state.display().to_string();
    let path = stage.programs().path("upsdrill").unwrap();
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

/// Runs a rehearsal to its end; gives exit code, standard output and standard error.
async fn rehearsed(program: &Path, temporary: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let run = tokio::process::Command::new(program)
        .args(args)
        .env_remove("CARGO_MANIFEST_DIR")
        .env("TMPDIR", temporary)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("it ends in time").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_rehearsal_tells_its_timeline_and_what_had_to_happen_without_colour_where_there_is_no_terminal() {
    let stage = stage();
    let host = stage.host("stranger").unwrap();
    let program = stage.programs().path("upsdrill").unwrap();
    let (code, told, errors) = rehearsed(&program, &host.state, &["blip"]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{told}");
    for part in
        ["Rehearsal \"blip\"", "  central   ONLINE: nicole", "\n  ok ", "Everything happened as it must."]
    {
        assert!(told.contains(part), "{part:?} is not in:\n{told}");
    }
    assert!(!told.contains('\x1b'), "{told}");
    assert_eq!(std::fs::read_dir(&host.state).unwrap().count(), 0, "its directory is gone");
}

#[tokio::test]
async fn a_rehearsal_without_its_programs_names_the_missing_one_and_fails() {
    let stage = stage();
    let host = stage.host("stranger").unwrap();
    let alone = host.conf.join("upsdrill");
    std::fs::copy(stage.programs().path("upsdrill").unwrap(), &alone).unwrap();
    let (code, told, errors) = rehearsed(&alone, &host.state, &[]).await;
    assert_eq!(code, Some(1), "{told}{errors}");
    assert!(errors.contains("there is no program apcsmart in "), "{errors}");
    assert_eq!(std::fs::read_dir(&host.state).unwrap().count(), 0, "its directory is gone");
}

#[tokio::test]
async fn a_directory_for_temporary_files_that_sockets_cannot_stand_in_is_refused_with_the_remedy() {
    let stage = stage();
    let host = stage.host("stranger").unwrap();
    let program = stage.programs().path("upsdrill").unwrap();
    for name in ["x".repeat(60), "a blank".to_owned()] {
        let temporary = host.state.join(name);
        std::fs::create_dir(&temporary).unwrap();
        let (code, _, errors) = rehearsed(&program, &temporary, &[]).await;
        assert_eq!(code, Some(1));
        assert!(
            errors.contains(&temporary.display().to_string()) && errors.contains("TMPDIR=/tmp"),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn a_rehearsal_that_does_not_exist_is_answered_with_those_that_do() {
    let stage = stage();
    let program = stage.programs().path("upsdrill").unwrap();
    for args in [&["flood"][..], &["outage", "blip"], &["--quick"]] {
        let (code, told, errors) = rehearsed(&program, stage.folder(), args).await;
        assert_eq!((code, told.as_str()), (Some(2), ""), "{args:?}: {errors}");
    }
    let (_, _, errors) = rehearsed(&program, stage.folder(), &["flood"]).await;
    assert!(errors.contains("outage, blip, weights"), "{errors}");
}

#[tokio::test]
async fn the_house_may_stand_where_paths_need_quotes() {
    let outer = stage();
    let programs = Programs::built().unwrap();
    let place = outer.folder().join("my house, isn't it");
    std::os::unix::fs::symlink(programs.folder(), &place).unwrap();
    let school = School::start(Stage::new(programs.seen_at(place)).unwrap()).await.unwrap();
    Performance::new(school).play(Play::Blip).await.unwrap();
}
