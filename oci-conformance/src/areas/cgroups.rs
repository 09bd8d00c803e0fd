//! cgroups.
pub const TESTS: &[crate::suite::Test] = &[];
