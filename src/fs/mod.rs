//! Files that somebody hostile may have put there: resolution inside a root, a private procfs, and checks of
//! what was opened; and the mount table.
//!
//! What is opened here is given as a descriptor, never as a path to be used again. Uses `error`; called by `init`, and
//! for the mount table by `cgroup` and `container` as well.

mod mount_table;
mod procfs;
mod root;
mod verify;
mod walk;

pub(crate) use mount_table::{MountLine, read_mount_table};
pub(crate) use procfs::Procfs;
pub(crate) use root::Root;
pub(crate) use verify::{
    DEVPTS_MAGIC, FileId, PROC_MAGIC, SYSFS_MAGIC, expect_char_device, expect_char_device_at, fs_magic, is_directory,
};
pub(crate) use walk::Links;
