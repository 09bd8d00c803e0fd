//! The process section (config.md#process), checked, with C strings ready. The same for `create` and `exec`.

use std::ffi::CString;

use crate::bundle::Process;
use crate::error::{Error, Kind, Result, Warning};
use crate::host::HostFacts;

/// What the process section does not say itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessContext<'a> {
    /// JSON pointer of the section.
    pub pointer: &'a str,
    /// The host.
    pub facts: &'a HostFacts,
    /// Whether this is a further process of a container (execCPUAffinity is for those alone).
    pub exec: bool,
}

impl ProcessPlan {
    /// Checks and translates a process section.
    pub fn new(process: &Process, context: &ProcessContext<'_>, warnings: &mut Vec<Warning>) -> Result<ProcessPlan> {
        let _ = (process, context, warnings);
        Err(Error::new(Kind::Unsupported, "plan"))
    }
}

/// Identity, limits and program of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessPlan {
    /// JSON pointer of the section: `/process` in config.json, empty for a process file of its own.
    pub pointer: String,
    /// argv, never empty.
    pub args: Vec<CString>,
    /// envp, exactly as given (HOME is added by init when absent).
    pub env: Vec<CString>,
    /// Absolute path inside.
    pub cwd: CString,
    /// A pseudo terminal is made inside and sent to the console socket.
    pub terminal: bool,
    /// Its size: (height, width) in characters.
    pub console_size: Option<(u16, u16)>,
    /// setresuid(2).
    pub uid: u32,
    /// setresgid(2).
    pub gid: u32,
    /// umask(2); the specification's default is the runtime's: 0o022.
    pub umask: u32,
    /// setgroups(2).
    pub additional_gids: Vec<u32>,
    /// Keep the runtime's supplementary groups (`run.oci.keep_original_groups`, or setgroups is denied).
    pub keep_groups: bool,
    /// The five sets.
    pub capabilities: Capabilities,
    /// prlimit(2), done by the parent.
    pub rlimits: Vec<Rlimit>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// oom_score_adj, written by the parent.
    pub oom_score_adj: Option<i32>,
    /// sched_setattr(2).
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2) value: class in the top 3 bits.
    pub io_priority: Option<u16>,
    /// execCPUAffinity (config.md, 1.3): before and after joining the cgroup.
    pub cpu_affinity: CpuAffinity,
    /// personality(2).
    pub personality: Option<u32>,
    /// set_mempolicy(2).
    pub memory_policy: Option<MemoryPolicy>,
    /// AppArmor profile for the payload, written through a private procfs.
    pub apparmor_profile: Option<CString>,
    /// SELinux label for the payload.
    pub selinux_label: Option<CString>,
}

/// capabilities(7) sets as bit masks: bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// One resource limit (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rlimit {
    /// RLIMIT_*.
    pub resource: u32,
    /// The word in config.json.
    pub name: &'static str,
    pub soft: u64,
    pub hard: u64,
}

/// sched_setattr(2) arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scheduler {
    /// SCHED_*.
    pub policy: u32,
    /// SCHED_FLAG_*.
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// CPU masks for sched_setaffinity(2): bit n of word n/64 is CPU n.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuAffinity {
    /// Set before the cgroup is joined.
    pub initial: Option<Vec<u64>>,
    /// Set before execve.
    pub last: Option<Vec<u64>>,
}

/// set_mempolicy(2) arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// MPOL_*.
    pub mode: u32,
    /// MPOL_F_*.
    pub flags: u32,
    /// Node mask: bit n of word n/64 is node n.
    pub nodes: Vec<u64>,
}
