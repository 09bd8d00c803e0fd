//! features.md and features-linux.md.

use super::{File::Features, File::LinuxFeatures, Requirement, must, should};

pub const TABLE: &[Requirement] = &[
    should(Features, "features-structure", "F-compiled", "the document is fixed when the runtime is compiled")
        .untested("when it was decided cannot be seen from outside"),
    must(Features, "features-structure", "F-null", "null is not mistaken for an empty value")
        .untested("a rule for those who read the document"),
    must(Features, "specification-version", "F-version-min", "a config.json of ociVersionMin is accepted"),
    must(Features, "specification-version", "F-version-max", "a config.json of ociVersionMax is accepted"),
    must(Features, "specification-version", "F-version-order", "ociVersionMax is not less than ociVersionMin"),
    must(Features, "specification-version", "F-defined", "the document has only properties that its version defines"),
    must(Features, "hooks", "F-hooks", "every listed kind of hook is supported"),
    must(Features, "mount-options", "F-options", "every listed mount option is recognised"),
    should(Features, "mount-options", "F-options-data", "options of single file systems are not listed"),
    must(Features, "annotations", "F-annotations", "annotations are a map from strings to strings"),
    must(LinuxFeatures, "namespaces", "F-namespaces", "every listed kind of namespace is recognised"),
    must(LinuxFeatures, "capabilities", "F-capabilities", "every listed capability is recognised"),
    must(LinuxFeatures, "seccomp", "F-seccomp-actions", "every listed seccomp action is recognised"),
    must(LinuxFeatures, "seccomp", "F-seccomp-operators", "every listed seccomp operator is recognised"),
    must(LinuxFeatures, "seccomp", "F-seccomp-archs", "every listed seccomp architecture is recognised"),
    must(LinuxFeatures, "seccomp", "F-seccomp-known", "every known seccomp flag is recognised"),
    must(LinuxFeatures, "seccomp", "F-seccomp-supported", "every supported seccomp flag works"),
    must(
        LinuxFeatures,
        "mountextensions",
        "F-idmap",
        "idmap.enabled is true if mappings of mounts are recognised at all",
    ),
    must(LinuxFeatures, "memorypolicy", "F-memory-modes", "every listed mode of memoryPolicy is recognised"),
    must(LinuxFeatures, "memorypolicy", "F-memory-flags", "every listed flag of memoryPolicy is recognised"),
];
