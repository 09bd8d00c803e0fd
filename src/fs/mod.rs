//! Files that somebody hostile may have put there: resolution inside a root, a private procfs, and checks of
//! what was opened.
//!
//! Everything here gives descriptors, never paths to be used again. Uses `sys` and `error`; called by `init`
//! and by those parts of `container` that look into a root file system.

mod procfs;
mod root;
mod verify;
mod walk;

pub(crate) use procfs::Procfs;
pub(crate) use root::Root;
pub(crate) use verify::{DEVPTS_MAGIC, FileId, PROC_MAGIC, expect_char_device, fs_magic, is_directory};
pub(crate) use walk::Links;
