//! contrib/bench: its program's own tests, and its scripts as people call them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// Its `main` and what only that uses is for rustc alone, which compiles it without cargo.
#[allow(dead_code)]
#[path = "../contrib/bench/bench.rs"]
mod bench;
