//! The compiler against an interpreter of its output, and its checks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests, which a fuzzer shares")]

#[cfg(test)]
mod checks;
mod evaluate;
pub(crate) mod fuzzed;
mod interpreter;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod property;
mod random;
