//! The compiler against an interpreter of its output, and its checks.

#[cfg(test)]
mod checks;
mod evaluate;
#[cfg(fuzzing)]
pub(crate) mod fuzzed;
mod interpreter;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod property;
mod random;
