//! console.
pub const TESTS: &[crate::suite::Test] = &[];
