//! The corpus of the fuzz targets that play with drivers, on a stable compiler: what was once found stays mended, and
//! neither targets nor corpus can rot (`tests/fuzz/README.md`).

#[expect(unreachable_pub, reason = "a library of its own for the fuzzers, a module of the tests here")]
#[path = "../../../../tests/fuzz/src/drivers/mod.rs"]
mod fuzz;

#[path = "../../../../tests/fuzz/src/replay.rs"]
mod corpus_player;

use corpus_player::replay;

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
