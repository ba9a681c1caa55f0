//! The corpus of the fuzz targets that play with drivers, on a stable compiler: what was once found stays mended, and
//! neither targets nor corpus can rot (`tests/fuzz/README.md`).

#[expect(unreachable_pub, reason = "a library of its own for the fuzzers, a module of the tests here")]
#[path = "../../../../tests/fuzz/src/drivers/mod.rs"]
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
fn unit() {
    replay("unit", fuzz::unit::play);
}

#[test]
fn capabilities() {
    replay("capabilities", fuzz::capabilities::play);
}

#[test]
fn socket() {
    replay("socket", fuzz::socket::play);
}
