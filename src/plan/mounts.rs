//! Mounts (config.md#mounts): each entry taken apart into what the kernel's calls need.

use std::ffi::{CString, OsString};
use std::path::PathBuf;

use super::ids::IdMapping;

/// One entry of `mounts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// Position in `mounts`, for messages: `/mounts/INDEX`.
    pub index: usize,
    /// Absolute inside the container (a relative one was made absolute, with a warning).
    pub destination: PathBuf,
    /// What is mounted.
    pub source: MountSource,
    /// MOUNT_ATTR_* to set on the new mount (mount_setattr(2)).
    pub attr_set: u64,
    /// MOUNT_ATTR_* to clear; for a bind mount also what the source had and the words negate.
    pub attr_clear: u64,
    /// The same with AT_RECURSIVE: the r* words.
    pub recursive_attr_set: u64,
    pub recursive_attr_clear: u64,
    /// Super block flags as MS_* (MS_SYNCHRONOUS, MS_DIRSYNC, MS_MANDLOCK, MS_LAZYTIME, MS_I_VERSION, MS_RDONLY,
    /// MS_SILENT); bits cleared explicitly (`async`, `norelatime`…) are simply absent.
    pub super_flags: u64,
    /// Propagation changes in order: MS_PRIVATE and so on, with MS_REC where the word was recursive.
    pub propagation: Vec<u64>,
    /// File-system parameters, in order: the words that are no flags (`mode=755`, `size=64k`, `newinstance`).
    pub data: Vec<String>,
    /// `tmpcopyup`: a tmpfs starts with what the image has at the destination.
    pub copy_up: bool,
    /// An id-mapped mount.
    pub idmap: Option<IdmapPlan>,
    /// `copy-symlink`: a source that is a symbolic link is recreated, not followed.
    pub copy_symlink: bool,
    /// `src-nofollow`: a symbolic link as source is mounted itself.
    pub source_nofollow: bool,
    /// `dest-nofollow`: the last component of the destination is not followed.
    pub destination_nofollow: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountSource {
    /// `bind` or `rbind`: a path of the host (already made absolute against the bundle).
    Bind { path: CString, recursive: bool },
    /// A file system made anew.
    New { fs_type: CString, source: CString },
    /// `type: cgroup`/`cgroup2`: which shape it takes depends on the host's layout (see `host`).
    Cgroup { v2: bool, source: CString },
    /// `remount` without bind: changes the options of what is mounted at the destination.
    Remount { bind: bool },
    /// An entry whose only words are propagation flags: applied to what is mounted at the destination.
    PropagationOnly,
}

/// Mapping of an id-mapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdmapPlan {
    /// `ridmap`, or `idmap` on an `rbind`.
    pub recursive: bool,
    /// Empty: the container's own user namespace gives the mapping.
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
}

/// One device node (config-linux.md#devices, #default-devices).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DevicePlan {
    /// Position in `linux.devices`; `None` for a default device.
    pub index: Option<usize>,
    /// Absolute inside the container.
    pub path: OsString,
    pub kind: DeviceKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// Type of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Char,
    Block,
    Fifo,
}
