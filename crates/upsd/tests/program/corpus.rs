//! The corpus of the fuzz targets, played on a stable compiler: what was once found stays mended, and neither targets
//! nor corpus can rot (`tests/fuzz/README.md`).

#[expect(unreachable_pub, reason = "a library of its own for the fuzzers, a module of the tests here")]
#[path = "../../../../tests/fuzz/src/server/mod.rs"]
mod fuzz;

#[path = "../../../../tests/fuzz/src/replay.rs"]
mod corpus_player;

use corpus_player::replay;

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
