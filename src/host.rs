//! What only the host can tell, gathered once per command: the rest of the planning is pure.
//!
//! Used by `plan` (as data), `container`, `cgroup` and `features`.

/// Facts about the host and the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostFacts {
    /// Effective user id of the runtime.
    pub euid: u32,
    /// Effective group id of the runtime.
    pub egid: u32,
    /// The runtime is not root in the initial user namespace, or was told so (`--rootless`).
    pub rootless: bool,
    /// How control groups are mounted.
    pub cgroup: CgroupLayout,
    /// Highest capability the kernel knows (/proc/sys/kernel/cap_last_cap).
    pub last_capability: u8,
    /// CAP_SYS_ADMIN and friends are held over our own user namespace: bit mask of the effective set.
    pub effective_capabilities: u64,
    /// AppArmor is enabled (/sys/module/apparmor/parameters/enabled).
    pub apparmor: bool,
    /// SELinux is enabled (/sys/fs/selinux is mounted).
    pub selinux: bool,
    /// The runtime itself runs inside a user namespace (/proc/self/uid_map is not the identity).
    pub in_user_namespace: bool,
}

/// How /sys/fs/cgroup is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CgroupLayout {
    /// One cgroup2 at /sys/fs/cgroup.
    Unified,
    /// v1 hierarchies below /sys/fs/cgroup, and a cgroup2 at /sys/fs/cgroup/unified.
    Hybrid,
    /// v1 hierarchies only.
    Legacy,
    /// Nothing mounted.
    None,
}
