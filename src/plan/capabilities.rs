//! process.capabilities: names into masks. What cannot be granted is a warning, never an error (config.md#process).

use super::pointer;
use super::process::Capabilities;
use crate::bundle::process::CapabilitySets;
use crate::error::Warning;
use crate::host::HostFacts;

/// capabilities(7) in the order of their numbers, up to Linux 6.18.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Names into masks. In a user namespace of its own (`own_user_namespace`) a container can be given anything.
pub(super) fn plan(
    sets: &CapabilitySets,
    section: &str,
    own_user_namespace: bool,
    facts: &HostFacts,
    warnings: &mut Vec<Warning>,
) -> Capabilities {
    let known = u64::MAX >> (63 - facts.last_capability.min(63));
    let grantable = if own_user_namespace { known } else { known & facts.effective_capabilities };
    let mut set = |names: &[String], word: &str| {
        let mut mask = 0;
        let (mut unknown, mut refused) = (Vec::new(), Vec::new());
        for name in names {
            match NAMES.iter().position(|known| known == name).map(|number| 1 << number) {
                Some(bit) if bit & grantable != 0 => mask |= bit,
                Some(bit) if bit & known != 0 => refused.push(name.as_str()),
                _ => unknown.push(name.as_str()),
            }
        }
        for (names, why) in [(unknown, "unknown"), (refused, "that the runtime does not have")] {
            if !names.is_empty() {
                let at = pointer::join(&pointer::join(section, "capabilities"), word);
                let message = format!("capabilities {why}: {}, ignoring", names.join(", "));
                warnings.push(Warning::config(at, message));
            }
        }
        mask
    };
    let bounding = set(&sets.bounding, "bounding");
    let permitted = set(&sets.permitted, "permitted");
    let inheritable = set(&sets.inheritable, "inheritable");
    let effective = set(&sets.effective, "effective");
    let ambient = set(&sets.ambient, "ambient");
    let mut within = |mask: u64, limit: u64, word: &str, why: &str| {
        let beyond: Vec<&str> =
            (0..).zip(NAMES).filter(|(n, _)| (mask & !limit) >> n & 1 == 1).map(|(_, name)| name).collect();
        if !beyond.is_empty() {
            let at = pointer::join(&pointer::join(section, "capabilities"), word);
            warnings.push(Warning::config(at, format!("capabilities {why}: {}, ignoring", beyond.join(", "))));
        }
        mask & limit
    };
    // capset(2) and PR_CAP_AMBIENT_RAISE would refuse these.
    Capabilities {
        bounding,
        permitted,
        inheritable,
        effective: within(effective, permitted, "effective", "effective but not permitted"),
        ambient: within(ambient, permitted & inheritable, "ambient", "ambient but not permitted and inheritable"),
    }
}
