//! What this runtime implements (features.md, features-linux.md), for engines that ask before they rely on it.
//!
//! The lists name what the runtime recognises, not what the host has, but for the seccomp flags that are called
//! supported: these the kernel knows too. Uses the tables of words that `plan` works with, and `sys` to ask the kernel;
//! called by users of the library and the program.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::hooks::HookKind;
use crate::plan::{capabilities, mount_options, namespaces, scheduling, seccomp};
use crate::sys::seccomp::flag_supported;

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
    /// Values of `flags` that the running kernel knows as well.
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
        mount_options: words(mount_options::WORDS),
        linux: LinuxFeatures {
            namespaces: namespace_words(),
            capabilities: capabilities::known().iter().map(ToString::to_string).collect(),
            cgroup: CgroupFeatures { v1: true, v2: true, systemd: true, systemd_user: true, rdma: true },
            seccomp: seccomp(),
            apparmor: Enabled { enabled: true },
            selinux: Enabled { enabled: true },
            intel_rdt: IntelRdtFeatures { enabled: true, schemata: true, monitoring: true },
            memory_policy: MemoryPolicyFeatures {
                modes: words(&scheduling::MEMORY_MODES),
                flags: words(&scheduling::MEMORY_FLAGS),
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

/// Keys below `org.opencontainers` are reserved by the specification, so these follow what other runtimes use.
fn annotations() -> BTreeMap<&'static str, &'static str> {
    let mut annotations = BTreeMap::from([("run.oci.coracle.version", env!("CARGO_PKG_VERSION"))]);
    if let Some(commit) = option_env!("CORACLE_COMMIT") {
        annotations.insert("run.oci.coracle.commit", commit);
    }
    annotations
}

fn seccomp() -> SeccompFeatures {
    let supported = seccomp::FLAGS.into_iter().filter(|&(_, flag)| flag_supported(flag));
    SeccompFeatures {
        enabled: true,
        actions: words(&seccomp::ACTIONS),
        operators: words(&seccomp::OPERATORS),
        archs: seccomp::ARCHITECTURES.to_vec(),
        known_flags: words(&seccomp::FLAGS),
        supported_flags: supported.map(|(word, _)| word).collect(),
    }
}

/// The first column of a table, sorted.
fn words<T>(table: &[(&'static str, T)]) -> Vec<&'static str> {
    let mut words: Vec<_> = table.iter().map(|&(word, _)| word).collect();
    words.sort_unstable();
    words
}

/// Those that the code asks for: a test looks for them.
const UNSAFE_ANNOTATIONS: &[&str] = &[
    "org.systemd.property.",
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.seccomp.receiver",
    "run.oci.systemd.subgroup",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

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

    /// config.md#linux-mount-options, and what mount(8) and other runtimes add.
    #[test]
    fn features_mount_options_of_the_specification_are_there() {
        let known = features().mount_options;
        let expected = "async atime bind copy-symlink defaults dest-nofollow dev diratime dirsync exec idmap iversion \
            lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime \
            nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount rexec ridmap \
            rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate \
            rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave \
            src-nofollow strictatime suid symfollow sync tmpcopyup unbindable";
        for option in expected.split(' ') {
            assert!(known.contains(&option), "{option}");
        }
    }

    #[test]
    fn features_seccomp_words_are_those_that_a_profile_may_use() {
        let seccomp = features().linux.seccomp;
        assert_eq!((seccomp.actions.len(), seccomp.operators.len(), seccomp.known_flags.len()), (9, 7, 4));
        assert!(seccomp.archs.contains(&"SCMP_ARCH_X86_64") && seccomp.archs.contains(&"SCMP_ARCH_AARCH64"));
        assert!(seccomp.supported_flags.contains(&"SECCOMP_FILTER_FLAG_LOG"));
    }

    /// Every literal of the source that looks like one, but for those that `features` prints about the runtime.
    #[test]
    fn features_annotations_are_those_that_the_source_asks_for() {
        let mut used = BTreeSet::new();
        let mut directories = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(file!()) {
                    let text = fs::read_to_string(path).unwrap();
                    let literals = text.split('"');
                    let annotation = |text: &&str| text.starts_with("run.oci.") || *text == "org.systemd.property.";
                    used.extend(literals.filter(annotation).map(str::to_owned));
                }
            }
        }
        assert_eq!(used.iter().collect::<Vec<_>>(), UNSAFE_ANNOTATIONS);
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
