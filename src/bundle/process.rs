//! The process section (config.md#process) as it is written in config.json and in the file of `exec --process`.
//!
//! Own structs: `oci_spec` refuses unknown capabilities, some scheduler flags, IOPRIO_CLASS_NONE and empty
//! execCPUAffinity strings.

use serde::Deserialize;

use super::shape::{nullable, object, objects, optional_object};

/// The process section. `exec` replaces parts of it before planning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Process {
    #[serde(deserialize_with = "nullable")]
    pub terminal: bool,
    #[serde(deserialize_with = "optional_object")]
    pub console_size: Option<ConsoleSize>,
    #[serde(deserialize_with = "user")]
    pub user: User,
    #[serde(deserialize_with = "nullable")]
    pub args: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub cwd: String,
    #[serde(deserialize_with = "optional_object")]
    pub capabilities: Option<CapabilitySets>,
    #[serde(deserialize_with = "objects")]
    pub rlimits: Vec<Rlimit>,
    #[serde(deserialize_with = "nullable")]
    pub no_new_privileges: bool,
    pub apparmor_profile: Option<String>,
    pub oom_score_adj: Option<i64>,
    #[serde(deserialize_with = "optional_object")]
    pub scheduler: Option<Scheduler>,
    pub selinux_label: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub io_priority: Option<IoPriority>,
    #[serde(rename = "execCPUAffinity", deserialize_with = "optional_object")]
    pub exec_cpu_affinity: Option<ExecCpuAffinity>,
}

impl Process {
    /// Whether it has a profile of AppArmor or a label of SELinux.
    pub fn has_labels(&self) -> bool {
        self.apparmor_profile.is_some() || self.selinux_label.is_some()
    }
}

fn user<'de, D: serde::Deserializer<'de>>(json: D) -> Result<User, D::Error> {
    Ok(optional_object(json)?.unwrap_or_default())
}

/// process.consoleSize, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ConsoleSize {
    pub height: u64,
    pub width: u64,
}

/// process.user on a POSIX platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct User {
    #[serde(deserialize_with = "nullable")]
    pub uid: u32,
    #[serde(deserialize_with = "nullable")]
    pub gid: u32,
    pub umask: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub additional_gids: Vec<u32>,
}

/// process.capabilities: names, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct CapabilitySets {
    #[serde(deserialize_with = "nullable")]
    pub bounding: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub effective: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub permitted: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub inheritable: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub ambient: Vec<String>,
}

/// One entry of process.rlimits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Rlimit {
    #[serde(rename = "type")]
    pub kind: String,
    pub soft: u64,
    pub hard: u64,
}

/// process.scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Scheduler {
    pub policy: String,
    #[serde(default, deserialize_with = "nullable")]
    pub nice: i32,
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i32,
    #[serde(default, deserialize_with = "nullable")]
    pub flags: Vec<String>,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub runtime: u64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub deadline: u64,
    /// Nanoseconds.
    #[serde(default, deserialize_with = "nullable")]
    pub period: u64,
}

/// process.ioPriority.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct IoPriority {
    pub class: String,
    #[serde(default, deserialize_with = "nullable")]
    pub priority: i64,
}

/// process.execCPUAffinity: lists like `0-3,7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct ExecCpuAffinity {
    pub initial: Option<String>,
    #[serde(rename = "final")]
    pub last: Option<String>,
}

/// A process section that is a whole document.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct ProcessDocument(#[serde(deserialize_with = "object")] pub Process);
