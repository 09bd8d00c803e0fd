//! What this runtime implements (features.md, features-linux.md), for engines that ask before they rely on it.
//!
//! The lists name what the runtime recognises, not what the host has: features.md wants the document to be
//! decided when the runtime is built. Uses `plan` for its words; called by users of the library and the program.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::hooks::HookKind;
use crate::plan::namespaces;

/// The oldest version of the specification that is accepted as `ociVersion`.
pub const OCI_VERSION_MIN: &str = "1.0.0";
/// The version of the specification that is implemented.
pub const OCI_VERSION: &str = "1.3.0";

/// The features document (features.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Features {
    /// The oldest version of the specification that `ociVersion` may name.
    pub oci_version_min: &'static str,
    /// The newest version of the specification that `ociVersion` may name.
    pub oci_version_max: &'static str,
    /// Kinds of hooks, in the order in which they run.
    pub hooks: Vec<&'static str>,
    /// Words of `mounts[].options` that are not handed to the file system, sorted.
    pub mount_options: Vec<&'static str>,
    /// Everything about Linux.
    pub linux: LinuxFeatures,
    /// About the runtime itself.
    pub annotations: BTreeMap<&'static str, &'static str>,
    /// Annotations of config.json that change what the runtime does; one that ends in a dot is a prefix.
    pub potentially_unsafe_config_annotations: Vec<&'static str>,
}

/// The `linux` object (features-linux.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LinuxFeatures {
    /// Kinds of namespaces, sorted.
    pub namespaces: Vec<&'static str>,
    /// Capabilities, by number.
    pub capabilities: Vec<String>,
    /// Control groups.
    pub cgroup: CgroupFeatures,
    /// System call filters.
    pub seccomp: SeccompFeatures,
    /// `process.apparmorProfile`.
    pub apparmor: Enabled,
    /// `process.selinuxLabel` and `linux.mountLabel`.
    pub selinux: Enabled,
    /// `linux.intelRdt`.
    pub intel_rdt: IntelRdtFeatures,
    /// `linux.memoryPolicy`.
    pub memory_policy: MemoryPolicyFeatures,
    /// What mounts can do beyond mount(2).
    pub mount_extensions: MountExtensions,
    /// `linux.netDevices`.
    pub net_devices: Enabled,
}

/// Whether something is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Enabled {
    /// It is.
    pub enabled: bool,
}

/// Managers and versions of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupFeatures {
    /// v1 hierarchies.
    pub v1: bool,
    /// cgroup2.
    pub v2: bool,
    /// The system's service manager makes the cgroups.
    pub systemd: bool,
    /// The user's service manager makes the cgroups.
    pub systemd_user: bool,
    /// The rdma controller.
    pub rdma: bool,
}

/// Words of `linux.seccomp`, each list sorted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompFeatures {
    /// Filters are implemented.
    pub enabled: bool,
    /// Values of `defaultAction` and `syscalls[].action`.
    pub actions: Vec<&'static str>,
    /// Values of `syscalls[].args[].op`.
    pub operators: Vec<&'static str>,
    /// Values of `architectures`.
    pub archs: Vec<&'static str>,
    /// Values of `flags` that are recognised.
    pub known_flags: Vec<&'static str>,
    /// Values of `flags` that are acted on.
    pub supported_flags: Vec<&'static str>,
}

/// What of `linux.intelRdt` is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IntelRdtFeatures {
    /// The object as a whole.
    pub enabled: bool,
    /// Its `schemata`.
    pub schemata: bool,
    /// Its `enableMonitoring`.
    pub monitoring: bool,
}

/// Words of `linux.memoryPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPolicyFeatures {
    /// Values of `mode`.
    pub modes: Vec<&'static str>,
    /// Values of `flags`.
    pub flags: Vec<&'static str>,
}

/// What mounts can do beyond mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MountExtensions {
    /// `mounts[].uidMappings` and `gidMappings`.
    pub idmap: Enabled,
}

/// What this runtime implements.
pub fn features() -> Features {
    Features {
        oci_version_min: OCI_VERSION_MIN,
        oci_version_max: OCI_VERSION,
        hooks: HOOKS.map(HookKind::word).to_vec(),
        mount_options: MOUNT_OPTIONS.to_vec(),
        linux: LinuxFeatures {
            namespaces: namespace_words(),
            capabilities: capability_names(),
            cgroup: CgroupFeatures { v1: true, v2: true, systemd: false, systemd_user: false, rdma: true },
            seccomp: seccomp(),
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicyFeatures {
                modes: MEMORY_POLICY_MODES.to_vec(),
                flags: MEMORY_POLICY_FLAGS.to_vec(),
            },
            mount_extensions: MountExtensions { idmap: Enabled { enabled: true } },
            net_devices: Enabled { enabled: true },
        },
        annotations: annotations(),
        potentially_unsafe_config_annotations: UNSAFE_ANNOTATIONS.to_vec(),
    }
}

const HOOKS: [HookKind; 6] = [
    HookKind::Prestart,
    HookKind::CreateRuntime,
    HookKind::CreateContainer,
    HookKind::StartContainer,
    HookKind::Poststart,
    HookKind::Poststop,
];

fn namespace_words() -> Vec<&'static str> {
    let mut words = namespaces::Kind::ALL.map(namespaces::Kind::word).to_vec();
    words.sort_unstable();
    words
}

fn capability_names() -> Vec<String> {
    let mut known: Vec<caps::Capability> = caps::all().into_iter().collect();
    known.sort_unstable_by_key(caps::Capability::index);
    known.iter().map(ToString::to_string).collect()
}

/// Keys below `org.opencontainers` are reserved by the specification, so these follow what other runtimes use.
fn annotations() -> BTreeMap<&'static str, &'static str> {
    let mut annotations = BTreeMap::from([("run.oci.coracle.version", env!("CARGO_PKG_VERSION"))]);
    if let Some(commit) = option_env!("CORACLE_COMMIT") {
        annotations.insert("run.oci.coracle.commit", commit);
    }
    annotations
}

fn seccomp() -> SeccompFeatures {
    SeccompFeatures {
        enabled: true,
        actions: SECCOMP_ACTIONS.to_vec(),
        operators: SECCOMP_OPERATORS.to_vec(),
        archs: SECCOMP_ARCHS.to_vec(),
        known_flags: SECCOMP_FLAGS.to_vec(),
        supported_flags: SECCOMP_FLAGS.to_vec(),
    }
}

const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

const MEMORY_POLICY_MODES: &[&str] = &[
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const MEMORY_POLICY_FLAGS: &[&str] = &["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

const SECCOMP_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const SECCOMP_OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

const SECCOMP_ARCHS: &[&str] = &[
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
];

const SECCOMP_FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const UNSAFE_ANNOTATIONS: &[&str] = &[
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.receiver",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_sorted(list: &[&str]) {
        assert!(list.is_sorted_by(|a, b| a < b), "not sorted, or with a duplicate: {list:?}");
    }

    #[test]
    fn features_every_list_is_sorted_without_duplicates() {
        let features = features();
        assert_sorted(&features.mount_options);
        assert_sorted(&features.potentially_unsafe_config_annotations);
        assert_sorted(&features.linux.namespaces);
        assert_sorted(&features.linux.memory_policy.modes);
        assert_sorted(&features.linux.memory_policy.flags);
        let seccomp = features.linux.seccomp;
        for list in
            [&seccomp.actions, &seccomp.operators, &seccomp.archs, &seccomp.known_flags, &seccomp.supported_flags]
        {
            assert_sorted(list);
        }
    }

    #[test]
    fn features_supported_flags_are_all_known() {
        let seccomp = features().linux.seccomp;
        assert!(seccomp.supported_flags.iter().all(|flag| seccomp.known_flags.contains(flag)));
    }

    #[test]
    fn features_what_engines_probe_is_there() {
        let features = features();
        assert!(features.mount_options.contains(&"rro"));
        assert!(features.linux.namespaces.contains(&"user") && features.linux.mount_extensions.idmap.enabled);
        assert_eq!(features.hooks.len(), 6);
    }

    #[test]
    fn features_capabilities_are_in_the_order_of_their_numbers() {
        let names = features().linux.capabilities;
        assert_eq!(names.first().map(String::as_str), Some("CAP_CHOWN"));
        assert_eq!(names.get(21).map(String::as_str), Some("CAP_SYS_ADMIN"));
        assert_eq!(names.get(40).map(String::as_str), Some("CAP_CHECKPOINT_RESTORE"));
    }

    #[test]
    fn features_json_uses_the_words_of_the_specification() {
        let json = serde_json::to_value(features()).unwrap();
        for pointer in [
            "/ociVersionMin",
            "/ociVersionMax",
            "/mountOptions/0",
            "/potentiallyUnsafeConfigAnnotations/0",
            "/linux/cgroup/systemdUser",
            "/linux/seccomp/knownFlags/0",
            "/linux/seccomp/supportedFlags/0",
            "/linux/intelRdt/monitoring",
            "/linux/memoryPolicy/modes/0",
            "/linux/mountExtensions/idmap/enabled",
            "/linux/netDevices/enabled",
        ] {
            assert!(json.pointer(pointer).is_some_and(|value| !value.is_null()), "{pointer}");
        }
        // The specification's own reader takes it.
        serde_json::from_value::<oci_spec::runtime::Features>(json).unwrap();
    }
}
