//! Configuration into intention: the OCI document, the host's facts and the caller's options become a
//! [`Plan`] of owned, validated values with C strings ready. Pure: no system call is made here, so every
//! translation is tested without root and with golden files.
//!
//! Uses `bundle`, `host` (facts as data), `pointer` and `error`. Every other room reads what is made here, and after
//! it nobody reads configuration again.
#![forbid(unsafe_code)]

pub(crate) mod capabilities;
mod devices;
pub(crate) mod exec;
pub(crate) mod hooks;
pub(crate) mod ids;
pub(crate) mod intel_rdt;
pub(crate) mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
mod network;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod rootfs;
pub(crate) mod scheduling;
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod sysctl;
mod text;
pub(crate) mod version;

use std::ffi::CString;
use std::path::Path;

use hooks::Hooks;
use namespaces::Namespaces;
use process::ProcessPlan;
use resources::CgroupPlan;
use rootfs::RootfsPlan;
use spawn::SpawnPlan;
use sysctl::Sysctl;

use ids::UserNamespace;
use process::ProcessContext;

use crate::bundle::config::Linux;
use crate::bundle::{Config, Process};
use crate::error::{Error, Result, Warning};
use crate::host::HostFacts;
use resources::CgroupManager;

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

/// What is known while a plan is made.
struct Draft<'a> {
    config: &'a Config,
    linux: &'a Linux,
    bundle_dir: &'a Path,
    facts: &'a HostFacts,
    options: &'a PlanOptions<'a>,
    namespaces: &'a Namespaces,
    user: &'a UserNamespace,
}

impl Plan {
    /// Decides everything about a new container. `bundle_dir` is canonical.
    ///
    /// # Errors
    /// `Kind::Config` where the configuration is malformed or contradicts itself, `Kind::Unsupported` where the
    /// host lacks what it asks for, both with the JSON pointer.
    pub fn new(
        config: &Config,
        bundle_dir: &Path,
        facts: &HostFacts,
        options: &PlanOptions<'_>,
    ) -> Result<(Plan, Vec<Warning>)> {
        let mut warnings = Vec::new();
        version::check(config.oci_version.as_deref(), &mut warnings)?;
        let nothing = Linux::default();
        let linux = config.linux.as_ref().unwrap_or(&nothing);
        let namespaces = &Namespaces::new(&linux.namespaces)?;
        let user = &UserNamespace::new(linux, namespaces, facts)?;
        let draft = Draft { config, linux, bundle_dir, facts, options, namespaces, user };
        let Some(process) = &config.process else { return Err(Error::config("/process", "no process")) };
        let context =
            ProcessContext { pointer: "/process", config, user, facts, console: options.console, exec: false };
        if config.annotations.value("").is_some() {
            return Err(Error::config("/annotations/", "an annotation without a name"));
        }
        let mut spawn = SpawnPlan::new(namespaces, user, facts);
        spawn.time_offsets = spawn::time_offsets(&linux.time_offsets, namespaces)?;
        let (cgroup, cgroup_warnings) = CgroupPlan::new(
            linux.cgroups_path.as_deref(),
            linux.resources.as_ref(),
            options.id,
            options.cgroup_manager,
            facts,
        )?;
        warnings.extend(cgroup_warnings);
        let (filter, filter_warnings) = seccomp::of_config(config)?;
        warnings.extend(filter_warnings);
        let plan = Plan {
            spawn,
            cgroup,
            hooks: Hooks::new(config.hooks.as_ref())?,
            net_devices: network::devices(&draft)?,
            intel_rdt: linux.intel_rdt.as_ref().map(intel_rdt::plan).transpose()?,
            init: InitPlan {
                namespaces: namespaces.clone(),
                hostname: host_name(config.hostname.as_deref(), "hostname", namespaces)?,
                domainname: host_name(config.domainname.as_deref(), "domainname", namespaces)?,
                rootfs: Some(RootfsPlan::new(&draft, &mut warnings)?),
                sysctls: sysctl::plan(config, linux, namespaces)?,
                process: ProcessPlan::new(process, &context, &mut warnings)?,
                seccomp: filter,
                session_keyring: session_keyring(options.id, options.no_new_keyring)?,
                loopback_up: namespaces.is_new(namespaces::Kind::Net),
            },
        };
        Ok((plan, warnings))
    }
}

impl ExecPlan {
    /// Decides everything about one more process of the container that was made from `config`.
    ///
    /// # Errors
    /// As for [`Plan::new`]; pointers begin with that of the request.
    pub fn new(config: &Config, facts: &HostFacts, request: &ExecRequest<'_>) -> Result<(ExecPlan, Vec<Warning>)> {
        let mut warnings = Vec::new();
        let nothing = Linux::default();
        let linux = config.linux.as_ref().unwrap_or(&nothing);
        let created = Namespaces::new(&linux.namespaces)?;
        let user = &UserNamespace::new(linux, &created, facts)?;
        let namespaces = created.of_container(request.init_pid)?;
        let context =
            ProcessContext { pointer: request.pointer, config, user, facts, console: request.console, exec: true };
        // The maps and the choice about setgroups(2) are the container's already.
        let joined = UserNamespace { own: user.own, ..UserNamespace::default() };
        // What it warns about was said at create.
        let (filter, _) = seccomp::of_config(config)?;
        let plan = ExecPlan {
            spawn: SpawnPlan::new(&namespaces, &joined, facts),
            init: InitPlan {
                namespaces,
                hostname: None,
                domainname: None,
                rootfs: None,
                sysctls: Vec::new(),
                process: ProcessPlan::new(request.process, &context, &mut warnings)?,
                seccomp: filter,
                session_keyring: session_keyring(request.id, request.no_new_keyring)?,
                loopback_up: false,
            },
        };
        Ok((plan, warnings))
    }
}

/// hostname and domainname: the kernel takes 64 bytes, for a UTS namespace that is not the host's.
fn host_name(name: Option<&str>, field: &'static str, namespaces: &Namespaces) -> Result<Option<CString>> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    let at = || format!("/{field}");
    if !namespaces.is_own(namespaces::Kind::Uts) {
        return Err(Error::config(at(), format!("a {field} without a uts namespace")));
    }
    if name.len() > LONGEST_HOST_NAME {
        return Err(Error::config(at(), format!("{field} of {} bytes: longer than {LONGEST_HOST_NAME}", name.len())));
    }
    text::c_string(name, at).map(Some)
}

/// __NEW_UTS_LEN of the kernel.
const LONGEST_HOST_NAME: usize = 64;

/// The name that runc gives it, so that keyctl(1) shows what people know.
fn session_keyring(id: &str, keep: bool) -> Result<Option<CString>> {
    if keep { Ok(None) } else { text::c_string(&format!("_ses.{id}"), String::new).map(Some) }
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

#[cfg(test)]
mod tests;
