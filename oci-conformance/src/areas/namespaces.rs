//! namespaces.
pub const TESTS: &[crate::suite::Test] = &[];
