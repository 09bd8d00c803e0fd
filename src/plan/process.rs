//! The process section (config.md#process), checked, with C strings ready. The same for `create` and `exec`.

use std::ffi::CString;

use super::capabilities::Capabilities;
use super::ids::{IdMapping, UserNamespace, is_mapped};
use super::scheduling::{MemoryPolicy, Scheduler};
use super::text::{absolute, c_string, c_strings, number_list};
use super::{Console, capabilities, scheduling};
use crate::bundle::config::Linux;
use crate::bundle::process::{self as config, CapabilitySets};
use crate::bundle::{Config, Process};
use crate::error::{Error, Kind, Result, Warning};
use crate::host::HostFacts;
use crate::pointer;

/// Without user.umask the mask is the one that every runtime sets, whatever the caller's is. Init works with it, too.
pub(crate) const DEFAULT_UMASK: u32 = 0o022;

/// What the process section does not say itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessContext<'a> {
    /// JSON pointer of the section.
    pub pointer: &'a str,
    /// The whole configuration: linux.personality, linux.memoryPolicy and annotations concern a process too.
    pub config: &'a Config,
    /// The container's user namespace.
    pub user: &'a UserNamespace,
    /// The host.
    pub facts: &'a HostFacts,
    /// Who gets the terminal.
    pub console: Console,
    /// Whether this is a further process of a container (execCPUAffinity is for those alone).
    pub exec: bool,
}

impl ProcessContext<'_> {
    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }
}

impl ProcessPlan {
    /// Checks and translates a process section.
    pub fn new(process: &Process, context: &ProcessContext<'_>, warnings: &mut Vec<Warning>) -> Result<ProcessPlan> {
        let at = |field: &str| context.at(field);
        if process.args.is_empty() {
            return Err(Error::config(at("args"), "no program"));
        }
        absolute(&process.cwd, "working directory", || at("cwd"))?;
        let console_size = terminal(process, context)?;
        let no_capabilities = CapabilitySets::default();
        let sets = process.capabilities.as_ref().unwrap_or(&no_capabilities);
        let (additional_gids, keep_groups) = groups(process, context)?;
        let empty = Linux::default();
        let linux = context.config.linux.as_ref().unwrap_or(&empty);
        Ok(ProcessPlan {
            pointer: context.pointer.to_owned(),
            args: c_strings(&process.args, |i| pointer::index(&at("args"), i))?,
            env: environment(&process.env, context)?,
            cwd: c_string(&process.cwd, || at("cwd"))?,
            terminal: process.terminal,
            console_size,
            uid: identity(process.user.uid, &context.user.uid_mappings, || at("user/uid"))?,
            gid: identity(process.user.gid, &context.user.gid_mappings, || at("user/gid"))?,
            umask: umask(process.user.umask, context)?,
            additional_gids,
            keep_groups,
            capabilities: capabilities::plan(sets, context.pointer, context.user.own, context.facts, warnings),
            rlimits: rlimits(&process.rlimits, context)?,
            no_new_privileges: process.no_new_privileges,
            oom_score_adj: oom_score_adj(process.oom_score_adj, context)?,
            scheduler: process
                .scheduler
                .as_ref()
                .map(|config| scheduling::scheduler(config, &at("scheduler")))
                .transpose()?,
            io_priority: process
                .io_priority
                .as_ref()
                .map(|config| scheduling::io_priority(config, &at("ioPriority")))
                .transpose()?,
            cpu_affinity: affinity(process, context)?,
            personality: linux.personality.as_ref().map(scheduling::personality).transpose()?,
            memory_policy: linux.memory_policy.as_ref().map(scheduling::memory_policy).transpose()?,
            apparmor_profile: apparmor(process, context)?,
            selinux_label: selinux(process, context)?,
        })
    }
}

fn terminal(process: &Process, context: &ProcessContext<'_>) -> Result<Option<(u16, u16)>> {
    match (process.terminal, context.console) {
        (true, Console::Nobody) => {
            return Err(Error::config(context.at("terminal"), "a terminal, and nobody to get it")
                .hint("give --console-socket, or stay in the foreground"));
        }
        (false, Console::Socket) => {
            return Err(Error::config(context.at("terminal"), "a console socket without a terminal"));
        }
        // config.md#process: the size is ignored without a terminal.
        (false, _) => return Ok(None),
        (true, _) => {}
    }
    let Some(size) = process.console_size else { return Ok(None) };
    match (u16::try_from(size.height), u16::try_from(size.width)) {
        (Ok(0), Ok(0)) => Ok(None),
        (Ok(height), Ok(width)) => Ok(Some((height, width))),
        _ => {
            let why = format!("{} by {} characters: the kernel takes 65535", size.height, size.width);
            Err(Error::config(context.at("consoleSize"), why))
        }
    }
}

fn environment(env: &[String], context: &ProcessContext<'_>) -> Result<Vec<CString>> {
    for (i, entry) in env.iter().enumerate() {
        if entry.find('=').is_none_or(|name| name == 0) {
            let at = pointer::index(&context.at("env"), i);
            return Err(Error::config(at, format!("environment variable {entry:?} is not NAME=VALUE")));
        }
    }
    c_strings(env, |i| pointer::index(&context.at("env"), i))
}

fn identity(id: u32, mappings: &[IdMapping], at: impl FnOnce() -> String) -> Result<u32> {
    // setresuid(2) and setresgid(2) take -1 for "unchanged", which would be the runtime's own.
    if id == u32::MAX {
        return Err(Error::config(at(), "4294967295 is no id"));
    }
    if !is_mapped(mappings, id) {
        return Err(Error::config(at(), format!("id {id} has no mapping in the user namespace")));
    }
    Ok(id)
}

fn umask(umask: Option<u32>, context: &ProcessContext<'_>) -> Result<u32> {
    match umask {
        None => Ok(DEFAULT_UMASK),
        Some(mask @ ..=0o777) => Ok(mask),
        Some(mask) => Err(Error::config(context.at("user/umask"), format!("umask {mask:#o} is larger than 0777"))),
    }
}

/// The supplementary groups, and whether the caller's are kept instead.
fn groups(process: &Process, context: &ProcessContext<'_>) -> Result<(Vec<u32>, bool)> {
    let keep = context.config.annotations.value("run.oci.keep_original_groups").is_some_and(|value| value != "0");
    let gids = &process.user.additional_gids;
    let at = |i| pointer::index(&context.at("user/additionalGids"), i);
    for (i, &gid) in gids.iter().enumerate() {
        identity(gid, &context.user.gid_mappings, || at(i))?;
    }
    if context.user.setgroups_denied {
        // Only the group itself is mapped then, and that one is held anyway.
        return Ok((Vec::new(), true));
    }
    Ok((if keep { Vec::new() } else { gids.clone() }, keep))
}

/// getrlimit(2).
const LIMITS: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS as u32),
    ("RLIMIT_CORE", libc::RLIMIT_CORE as u32),
    ("RLIMIT_CPU", libc::RLIMIT_CPU as u32),
    ("RLIMIT_DATA", libc::RLIMIT_DATA as u32),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE as u32),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS as u32),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK as u32),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE as u32),
    ("RLIMIT_NICE", libc::RLIMIT_NICE as u32),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE as u32),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC as u32),
    ("RLIMIT_RSS", libc::RLIMIT_RSS as u32),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO as u32),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME as u32),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING as u32),
    ("RLIMIT_STACK", libc::RLIMIT_STACK as u32),
];

fn rlimits(list: &[config::Rlimit], context: &ProcessContext<'_>) -> Result<Vec<Rlimit>> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(list.len());
    for (i, limit) in list.iter().enumerate() {
        let refuse =
            |field: &str, why: String| Err(Error::config(format!("{}/{i}/{field}", context.at("rlimits")), why));
        let Some(&(name, resource)) = LIMITS.iter().find(|(name, _)| *name == limit.kind) else {
            return refuse("type", format!("unknown resource {:?}", limit.kind));
        };
        if limits.iter().any(|other| other.resource == resource) {
            return refuse("type", format!("a second limit of {name}"));
        }
        if limit.soft > limit.hard {
            return refuse("soft", format!("soft limit {} is above the hard limit {}", limit.soft, limit.hard));
        }
        limits.push(Rlimit { resource, name, soft: limit.soft, hard: limit.hard });
    }
    Ok(limits)
}

fn oom_score_adj(score: Option<i64>, context: &ProcessContext<'_>) -> Result<Option<i32>> {
    match score {
        None => Ok(None),
        Some(score @ -1000..=1000) => Ok(Some(score as i32)),
        Some(score) => Err(Error::config(context.at("oomScoreAdj"), format!("{score} is outside of -1000 to 1000"))),
    }
}

fn affinity(process: &Process, context: &ProcessContext<'_>) -> Result<CpuAffinity> {
    let Some(config) = &process.exec_cpu_affinity else { return Ok(CpuAffinity::default()) };
    let list = |list: Option<&str>, field: &str| {
        let at = || format!("{}/{field}", context.at("execCPUAffinity"));
        number_list(list.unwrap_or_default(), scheduling::LARGEST_CPU, at)
    };
    let checked = CpuAffinity {
        initial: list(config.initial.as_deref(), "initial")?,
        last: list(config.last.as_deref(), "final")?,
    };
    Ok(if context.exec { checked } else { CpuAffinity::default() })
}

fn apparmor(process: &Process, context: &ProcessContext<'_>) -> Result<Option<CString>> {
    let at = || context.at("apparmorProfile");
    match process.apparmor_profile.as_deref() {
        None | Some("") => Ok(None),
        Some(profile) if context.facts.apparmor => c_string(profile, at).map(Some),
        Some("unconfined") => Ok(None),
        Some(profile) => {
            Err(Error::new(Kind::Unsupported, format!("AppArmor profile {profile:?}: AppArmor is not enabled"))
                .at(at()))
        }
    }
}

fn selinux(process: &Process, context: &ProcessContext<'_>) -> Result<Option<CString>> {
    let at = || context.at("selinuxLabel");
    match process.selinux_label.as_deref() {
        None | Some("") => Ok(None),
        Some(label) if context.facts.selinux => c_string(label, at).map(Some),
        Some(label) => {
            Err(Error::new(Kind::Unsupported, format!("SELinux label {label:?}: SELinux is not enabled")).at(at()))
        }
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

/// CPU masks for sched_setaffinity(2): bit n of word n/64 is CPU n.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuAffinity {
    /// Set before the cgroup is joined.
    pub initial: Option<Vec<u64>>,
    /// Set before execve.
    pub last: Option<Vec<u64>>,
}
