//! What only the host can tell, gathered once per command: the rest of the planning is pure.
//!
//! Used by `plan` (as data), `container`, `cgroup` and `features`.

use std::num::ParseIntError;

use nix::sys::stat::stat;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, TMPFS_MAGIC, statfs};
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::file;

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
    /// The runtime's file mode creation mask, if the kernel tells (Linux 4.7).
    pub umask: Option<u32>,
    /// Highest capability the kernel knows.
    pub last_capability: u8,
    /// CAP_SYS_ADMIN and friends are held over our own user namespace: bit mask of the effective set.
    pub effective_capabilities: u64,
    /// AppArmor is enabled (/sys/module/apparmor/parameters/enabled). False where nobody asked.
    pub apparmor: bool,
    /// SELinux is enabled (/sys/fs/selinux is mounted). Likewise.
    pub selinux: bool,
    /// The runtime itself runs inside a user namespace (/proc/self/uid_map is not the identity).
    pub in_user_namespace: bool,
    /// Signals that this process ignores, signal n as bit n-1: execve(2) keeps that.
    pub ignored_signals: u64,
}

impl HostFacts {
    /// Asks the kernel. `rootless` is what the caller was told (`--rootless`); `None` finds it out. The security modules are
    /// asked about where there are `labels` or profiles to set.
    pub fn gather(rootless: Option<bool>, labels: bool) -> Result<HostFacts> {
        let status = read("/proc/self/status")?;
        let euid = effective(&status, "Uid:")?;
        let in_user_namespace = !is_initial_namespace() && !is_identity(&read("/proc/self/uid_map")?);
        Ok(HostFacts {
            euid,
            egid: effective(&status, "Gid:")?,
            rootless: rootless.unwrap_or(euid != 0 || in_user_namespace),
            cgroup: cgroup_layout(),
            umask: u32::from_str_radix(field(&status, "Umask:"), 8).ok(),
            last_capability: last_capability(mask(&status, "CapBnd:")?),
            effective_capabilities: mask(&status, "CapEff:")?,
            apparmor: labels
                && file::read_composed("/sys/module/apparmor/parameters/enabled")
                    .is_ok_and(|text| text.starts_with(b"Y")),
            selinux: labels && std::fs::exists("/sys/fs/selinux/enforce").unwrap_or(false),
            in_user_namespace,
            ignored_signals: mask(&status, "SigIgn:")?,
        })
    }
}

fn read(path: &str) -> Result<String> {
    let bytes = file::read_composed(path).context(|| format!("read {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of /proc/PID/status (proc_pid_status(5)), which has all of them at the price of one read.
fn field<'s>(status: &'s str, name: &str) -> &'s str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

fn mask(status: &str, name: &str) -> Result<u64> {
    u64::from_str_radix(field(status, name), 16).map_err(|error| unreadable(name, error))
}

/// The second of the four ids in the line: real, effective, saved, file system.
fn effective(status: &str, name: &str) -> Result<u32> {
    let id = field(status, name).split_whitespace().nth(1).unwrap_or_default();
    id.parse().map_err(|error| unreadable(name, error))
}

fn unreadable(name: &str, error: ParseIntError) -> Error {
    Error::new(Kind::System, format!("read {name} in /proc/self/status: {error}"))
}

/// Whether this is the first user namespace, which has an inode number of its own (PROC_USER_INIT_INO of the kernel's
/// proc_ns.h, since Linux 3.8).
fn is_initial_namespace() -> bool {
    stat("/proc/self/ns/user").is_ok_and(|namespace| namespace.st_ino == 0xEFFF_FFFD)
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

/// What is in the `bounding` set is known, and often that is all; prctl(2) tells of the next ones, and refuses what the
/// kernel does not know. The same as /proc/sys/kernel/cap_last_cap without opening a file.
fn last_capability(bounding: u64) -> u8 {
    let known = |number: &u8| capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_ok();
    let highest = bounding.checked_ilog2().and_then(|number| u8::try_from(number).ok());
    let next = highest.map_or(0, |number| number + 1);
    (next..64).take_while(known).last().or(highest).unwrap_or_default()
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
    use nix::unistd::{getegid, geteuid};

    use super::*;

    #[test]
    fn gather_agrees_with_the_kernel() {
        let facts = HostFacts::gather(None, true).unwrap();
        assert_eq!((facts.euid, facts.egid), (geteuid().as_raw(), getegid().as_raw()));
        assert_eq!(facts.in_user_namespace, !is_identity(&std::fs::read_to_string("/proc/self/uid_map").unwrap()));
        let highest = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(highest.trim(), facts.last_capability.to_string());
        assert_eq!(facts.effective_capabilities >> (facts.last_capability + 1), 0, "{facts:?}");
        // However much of the bounding set is left.
        for bounding in [0, 1, 0b1011, u64::MAX >> (63 - facts.last_capability)] {
            assert_eq!(last_capability(bounding), facts.last_capability, "{bounding:#b}");
        }
        assert!(HostFacts::gather(Some(true), false).unwrap().rootless);
    }

    #[test]
    fn is_identity_only_for_the_initial_user_namespace() {
        assert!(is_identity("         0          0 4294967295\n"));
        assert!(!is_identity("         0       1000          1\n"));
        assert!(!is_identity("         0          0 4294967294\n"));
        assert!(!is_identity("0 0 1\n1 1 4294967294\n"));
    }
}
