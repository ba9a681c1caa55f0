//! The corpus of the fuzz targets, played on a stable compiler: what was once found stays mended, and neither targets
//! nor corpus can rot (`tests/fuzz/README.md`).

#[expect(unreachable_pub, reason = "a library of its own for the fuzzers, a module of the tests here")]
#[path = "../../../../tests/fuzz/src/server/mod.rs"]
mod fuzz;

use std::path::Path;

/// Plays every file of a target's corpus, whole and cut off at some places: a fuzzer would try those first.
fn replay(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "the corpus is not in {}", folder.display());
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        println!("{}", file.display());
        play(&bytes);
        for part in 1..8 {
            play(&bytes[..bytes.len() * part / 8]);
        }
    }
}

#[test]
fn words() {
    replay("words", fuzz::words::play);
}

#[test]
fn clients() {
    replay("clients", fuzz::clients::play);
}

#[test]
fn driver() {
    replay("driver", fuzz::driver::play);
}

#[test]
fn files() {
    replay("files", fuzz::files::play);
}
