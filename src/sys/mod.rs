//! System calls: thin wrappers that take borrowed descriptors and C strings and return owned descriptors or
//! an errno. No policy, no paths of the image, no messages: callers add what was attempted.
//!
//! The only room with `unsafe` code. Uses nothing of the other rooms; used by all that touch the kernel.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod clone;
pub(crate) mod exec;
pub(crate) mod fd;
pub(crate) mod file;
pub(crate) mod keyring;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod pages;
pub(crate) mod process;
pub(crate) mod schedule;
pub(crate) mod seccomp;
pub(crate) mod signal;
pub(crate) mod socket;
#[cfg(test)]
pub(crate) mod test_thread;
pub(crate) mod tty;
pub(crate) mod userns;
