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
use std::path::Path;

use hooks::Hooks;
use namespaces::Namespaces;
use process::ProcessPlan;
use resources::CgroupPlan;
use rootfs::RootfsPlan;
use spawn::SpawnPlan;
use sysctl::Sysctl;

use crate::bundle::{Config, Process};
use crate::container::CgroupManager;
use crate::error::{Error, Kind, Result, Warning};
use crate::host::HostFacts;

/// What the caller of `create` decides, beside the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanOptions<'a> {
    /// The container's id, checked by [`ids::validate`].
    pub id: &'a str,
    /// Enter the root by MS_MOVE and chroot.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who gets the terminal.
    pub console: Console,
    /// Who manages control groups.
    pub cgroup_manager: CgroupManager,
}

/// Who gets the master of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Console {
    /// Nobody: `create` or a detached `run` or `exec` without a console socket.
    #[default]
    Nobody,
    /// The peer of the console socket.
    Socket,
    /// The runtime itself, which stays in the foreground.
    Foreground,
}

/// What the caller of `exec` decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExecRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Process id of the container's init in the caller's pid namespace.
    pub init_pid: i32,
    /// The process section, after the overrides of the command line.
    pub process: &'a Process,
    /// Its JSON pointer: `/process`, or empty for a file of its own.
    pub pointer: &'a str,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Who gets the terminal.
    pub console: Console,
}

/// Everything that `exec` is going to do, except for control groups, which it joins as they are.
#[derive(Debug)]
pub(crate) struct ExecPlan {
    /// How the process comes to be. Nothing is new, so there are no maps and offsets to write.
    pub spawn: SpawnPlan,
    /// What the child does. Every namespace that the container has for itself is joined through
    /// /proc/INIT/ns; a caller with a pidfd of init may join by that and [`Namespaces::flags`] instead.
    pub init: InitPlan,
}

impl Plan {
    /// Decides everything about a new container. `bundle_dir` is canonical.
    pub fn new(
        config: &Config,
        bundle_dir: &Path,
        facts: &HostFacts,
        options: &PlanOptions<'_>,
    ) -> Result<(Plan, Vec<Warning>)> {
        let _ = (config, bundle_dir, facts, options);
        Err(Error::new(Kind::Unsupported, "plan"))
    }
}

impl ExecPlan {
    /// Decides everything about one more process of the container that was made from `config`.
    pub fn new(config: &Config, facts: &HostFacts, request: &ExecRequest<'_>) -> Result<(ExecPlan, Vec<Warning>)> {
        let _ = (config, facts, request);
        Err(Error::new(Kind::Unsupported, "plan"))
    }
}

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
