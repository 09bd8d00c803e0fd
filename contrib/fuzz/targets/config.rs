//! config.json and the file of `exec --process`: parsed and planned, or refused in one line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| coracle::fuzzing::config(bytes));
