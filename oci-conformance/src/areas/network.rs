//! network.
pub const TESTS: &[crate::suite::Test] = &[];
