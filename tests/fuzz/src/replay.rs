//! Plays a target's corpus, on a stable compiler: a module of the tests of the crates that are played with.

use std::path::Path;

/// Plays every file of a target's corpus, whole and cut off at some places: a fuzzer would try those first.
pub(crate) fn replay(target: &str, play: fn(&[u8])) {
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
