//! sys
#![allow(unsafe_code)]

pub(crate) mod keyring;
pub(crate) mod netlink;
pub(crate) mod process;
pub(crate) mod schedule;
pub(crate) mod scm;
pub(crate) mod signal;
