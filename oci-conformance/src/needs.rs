//! What a test needs of the machine, and whether it is there.

use std::path::Path;

use crate::runtime::Runtime;

/// Something that a test cannot do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    Root,
    /// A hierarchy of cgroup v1 with the controller of this name.
    V1(&'static str),
    /// Cgroup v2 at /sys/fs/cgroup, with the controller of this name enabled for children.
    V2(&'static str),
    /// In the kernel, with the program that loads profiles.
    AppArmor,
    /// The program `ip`, and veth devices.
    Veth,
    /// An entry of this name in /proc/self/ns.
    Namespace(&'static str),
    /// CAP_SYS_RESOURCE, without which no limit can be raised.
    SysResource,
    /// The runtime has a command `features`.
    Features,
    /// The runtime claims this version of the specification, 1.N, in which the property first appears: a runtime of an
    /// earlier version is right to ignore it.
    Spec(u32),
    /// The runtime makes cgroups itself: systemd has no paths.
    CgroupPaths,
    /// The machine has no resctrl file system mounted.
    NoResctrl,
}

impl Need {
    /// What is missing, if it is.
    pub fn missing(self, runtime: &Runtime) -> Option<String> {
        let there = match self {
            Self::Root => nix::unistd::geteuid().is_root(),
            Self::V1(controller) => {
                Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
                    && !Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
            }
            Self::V2(controller) => std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                .is_ok_and(|text| text.split_whitespace().any(|name| name == controller)),
            Self::AppArmor => {
                std::fs::read_to_string("/sys/module/apparmor/parameters/enabled")
                    .is_ok_and(|text| text.starts_with('Y'))
                    && is_program("apparmor_parser")
            }
            Self::Veth => is_program("ip"),
            Self::Namespace(name) => Path::new("/proc/self/ns").join(name).exists(),
            Self::SysResource => rustix::thread::capabilities(None)
                .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE)),
            Self::Features => runtime.features().is_ok(),
            Self::Spec(minor) => runtime.spec_minor().is_none_or(|claimed| claimed >= minor),
            Self::CgroupPaths => !runtime.systemd,
            Self::NoResctrl => {
                !std::fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| text.contains(" - resctrl "))
            }
        };
        if there { None } else { Some(self.name()) }
    }

    /// The word that the report shows.
    pub fn name(self) -> String {
        match self {
            Self::Root => "root".into(),
            Self::V1(controller) => format!("cgroup v1 with {controller}"),
            Self::V2(controller) => format!("cgroup v2 with {controller}"),
            Self::AppArmor => "AppArmor and its program apparmor_parser".into(),
            Self::Veth => "the program ip".into(),
            Self::Namespace(name) => format!("{name} namespaces"),
            Self::SysResource => "CAP_SYS_RESOURCE".into(),
            Self::Features => "the runtime's command features".into(),
            Self::Spec(minor) => format!("a runtime of specification 1.{minor}"),
            Self::CgroupPaths => "cgroups that the runtime makes itself".into(),
            Self::NoResctrl => "no resctrl file system".into(),
        }
    }
}

/// By the search path, as a test starts it.
fn is_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(name).exists())
}
