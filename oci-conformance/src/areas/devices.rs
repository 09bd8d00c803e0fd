//! devices.
pub const TESTS: &[crate::suite::Test] = &[];
