//! The root file system: what the child mounts, makes and masks, in the order in which it does.

use std::path::PathBuf;

use super::ids::IdMapping;
use super::mounts::{DevicePlan, MountPlan};

/// The root file system of a container with a mount namespace (new or, for `create` without one, the host's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootfsPlan {
    /// Absolute, on the host.
    pub path: PathBuf,
    /// linux.rootfsPropagation as MS_* with MS_REC; the default is MS_SLAVE|MS_REC.
    pub propagation: u64,
    /// The value was configured (otherwise it is the default).
    pub propagation_configured: bool,
    /// root.readonly.
    pub readonly: bool,
    pub mounts: Vec<MountPlan>,
    /// Default devices first, then linux.devices.
    pub devices: Vec<DevicePlan>,
    /// Device nodes are bind-mounted from the host instead of made: mknod(2) is refused in a user namespace.
    pub bind_devices: bool,
    /// The links /dev/fd, stdin, stdout, stderr and ptmx are made: false when /dev is a bind mount of the user's.
    pub default_devices: bool,
    /// Absolute inside.
    pub masked_paths: Vec<PathBuf>,
    /// Absolute inside.
    pub readonly_paths: Vec<PathBuf>,
    /// linux.mountLabel, appended as `context=…` to new file systems.
    pub mount_label: Option<String>,
    /// How the root is entered.
    pub pivot: Pivot,
    /// The container has a cgroup namespace of its own.
    pub cgroup_namespace: bool,
    /// Mappings of the container's user namespace, empty without one: ids of tmpfs and devpts owners.
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    /// A terminal is wanted: /dev/console is made.
    pub terminal: bool,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pivot {
    /// pivot_root(".", ".").
    PivotRoot,
    /// `--no-pivot`: MS_MOVE and chroot.
    MoveRoot,
    /// No mount namespace of its own: chroot only.
    Chroot,
}
