//! What only the host can tell, gathered once per command: the rest of the planning is pure.
//!
//! Used by `plan` (as data), `container`, `cgroup` and `features`.

use std::fs;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};

use crate::error::{Context, Error, Kind, Result};

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

impl HostFacts {
    /// Asks the kernel. `rootless` is what the caller was told (`--rootless`); `None` finds it out.
    pub fn gather(rootless: Option<bool>) -> Result<HostFacts> {
        let euid = geteuid().as_raw();
        let uid_map = fs::read_to_string("/proc/self/uid_map").context(|| "read /proc/self/uid_map")?;
        let in_user_namespace = !is_identity(&uid_map);
        Ok(HostFacts {
            euid,
            egid: getegid().as_raw(),
            rootless: rootless.unwrap_or(euid != 0 || in_user_namespace),
            cgroup: cgroup_layout(),
            last_capability: last_capability()?,
            effective_capabilities: effective_capabilities()?,
            apparmor: fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")),
            selinux: fs::exists("/sys/fs/selinux/enforce").unwrap_or(false),
            in_user_namespace,
        })
    }
}

/// The map of the initial user namespace: every id to itself (user_namespaces(7)).
fn is_identity(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn cgroup_layout() -> CgroupLayout {
    let kind = |path: &str| statfs(path).map(|found| found.filesystem_type());
    match kind("/sys/fs/cgroup") {
        Ok(CGROUP2_SUPER_MAGIC) => CgroupLayout::Unified,
        Ok(TMPFS_MAGIC) if kind("/sys/fs/cgroup/unified") == Ok(CGROUP2_SUPER_MAGIC) => CgroupLayout::Hybrid,
        Ok(TMPFS_MAGIC) => CgroupLayout::Legacy,
        _ => CgroupLayout::None,
    }
}

fn last_capability() -> Result<u8> {
    let path = "/proc/sys/kernel/cap_last_cap";
    let text = fs::read_to_string(path).context(|| format!("read {path}"))?;
    text.trim().parse().map_err(|error| Error::new(Kind::System, format!("read {path}: {text:?}: {error}")))
}

/// CapEff of proc(5): one read, where capget(2) needs its own wrapper.
fn effective_capabilities() -> Result<u64> {
    let path = "/proc/self/status";
    let status = fs::read_to_string(path).context(|| format!("read {path}"))?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default().trim();
    u64::from_str_radix(mask, 16).map_err(|error| Error::new(Kind::System, format!("read {path}: CapEff: {error}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_agrees_with_the_kernel() {
        let facts = HostFacts::gather(None).unwrap();
        assert_eq!(facts.euid, geteuid().as_raw());
        assert!((37..64).contains(&facts.last_capability), "{facts:?}");
        assert_eq!(facts.effective_capabilities >> (facts.last_capability + 1), 0, "{facts:?}");
        assert!(HostFacts::gather(Some(true)).unwrap().rootless);
    }

    #[test]
    fn is_identity_only_for_the_initial_user_namespace() {
        assert!(is_identity("         0          0 4294967295\n"));
        assert!(!is_identity("         0       1000          1\n"));
        assert!(!is_identity("         0          0 4294967294\n"));
        assert!(!is_identity("0 0 1\n1 1 4294967294\n"));
    }
}
