//! sys
#![allow(unsafe_code)]

pub(crate) mod mount;
pub(crate) mod tty;
pub(crate) mod userns;
