//! seccomp.
pub const TESTS: &[crate::suite::Test] = &[];
