//! Configuration into intention: the OCI document, the host's facts and the caller's options become a
//! [`Plan`] of owned, validated values with C strings ready. Pure: no system call is made here, so every
//! translation is tested without root and with golden files.
//!
//! Uses `bundle`, `host` (facts as data) and `error`. Every other room reads what is made here, and after
//! it nobody reads configuration again.
#![forbid(unsafe_code)]

pub(crate) mod hooks;
pub(crate) mod ids;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod pointer;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod rootfs;
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod sysctl;

use std::ffi::CString;

use hooks::Hooks;
use namespaces::Namespaces;
use process::ProcessPlan;
use resources::CgroupPlan;
use rootfs::RootfsPlan;
use spawn::SpawnPlan;
use sysctl::Sysctl;

/// Everything that `create` is going to do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// How the first process comes to be: clone flags, id maps, time offsets.
    pub spawn: SpawnPlan,
    /// What the parent does about control groups.
    pub cgroup: CgroupPlan,
    /// Hooks of all six kinds.
    pub hooks: Hooks,
    /// Host network devices that the parent moves into the container (config-linux.md#network-devices).
    pub net_devices: Vec<NetDevice>,
    /// Intel RDT (config-linux.md#intelrdt), done by the parent.
    pub intel_rdt: Option<IntelRdt>,
    /// What the child does.
    pub init: InitPlan,
}

/// Everything that the child does between its birth and `execve`. Complete: the child looks nothing up.
#[derive(Debug)]
pub(crate) struct InitPlan {
    /// Which namespaces the child is in, joins and unshares.
    pub namespaces: Namespaces,
    /// sethostname(2); `None` leaves it alone.
    pub hostname: Option<CString>,
    /// setdomainname(2).
    pub domainname: Option<CString>,
    /// The root file system; `None` for `exec`, which joins a finished mount namespace.
    pub rootfs: Option<RootfsPlan>,
    /// Kernel parameters, written through a private procfs.
    pub sysctls: Vec<Sysctl>,
    /// Identity, limits, program.
    pub process: ProcessPlan,
    /// Whether the state is sent to listeners of a seccomp filter with NOTIFY.
    pub seccomp: Option<seccomp::Filter>,
    /// Name of the new session keyring (keyctl_join_session_keyring(3)); `None` keeps the caller's.
    pub session_keyring: Option<CString>,
    /// A new network namespace gets its loopback device set up.
    pub loopback_up: bool,
}

/// A network device of the host that the container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetDevice {
    /// Its name on the host: the key in `linux.netDevices`.
    pub host_name: String,
    /// Its name in the container.
    pub name: String,
}

/// linux.intelRdt (config-linux.md#intelrdt), checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IntelRdt {
    /// The directory under the resctrl mount, created for this container unless `clos_id` names one.
    pub clos_id: Option<String>,
    /// Whether `clos_id` was configured (then the directory may be shared and is removed only if we made it).
    pub explicit: bool,
    /// Lines for `schemata`, in order.
    pub schemata: Vec<String>,
    /// A monitoring group is made for the container.
    pub enable_monitoring: bool,
}
