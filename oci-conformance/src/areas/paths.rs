//! paths.
pub const TESTS: &[crate::suite::Test] = &[];
