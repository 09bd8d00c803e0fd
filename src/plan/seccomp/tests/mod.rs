//! The compiler against an interpreter of its output, and its checks.

mod checks;
mod evaluate;
mod interpreter;
mod profiles;
mod property;
