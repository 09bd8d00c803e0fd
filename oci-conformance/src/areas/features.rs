//! features.
pub const TESTS: &[crate::suite::Test] = &[];
