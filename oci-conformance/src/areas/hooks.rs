//! hooks.
pub const TESTS: &[crate::suite::Test] = &[];
