//! linux.seccomp: what compiles is a valid program that decides as the profile says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle::fuzzing::profile(bytes));
