//! sys
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod kill;
