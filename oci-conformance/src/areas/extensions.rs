//! extensions.
pub const TESTS: &[crate::suite::Test] = &[];
