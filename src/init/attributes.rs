//! What a process carries besides its identity: names, scheduling, signals, keyring, limits. Each function is one
//! phase; the order is init's (see `init`).

use std::ffi::{CStr, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};

use super::proc_file;
use crate::error::{Context, Error, Result, Warning};
use crate::plan::pointer;
use crate::plan::process::{MemoryPolicy, ProcessPlan, Rlimit, Scheduler};
use crate::sys;

/// Signals that a caller commonly ignores (nohup, a shell's background job, this program's own SIGPIPE) and that a
/// program expects to find with their default actions.
const RESET: [i32; 13] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGPIPE,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGCHLD,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
];

/// Default actions and an empty mask: execve(2) keeps both ignored signals and the mask.
pub(crate) fn reset_signals() -> Result<()> {
    for signal in RESET {
        sys::signal::reset(signal).context(|| format!("reset the action of signal {signal}"))?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context(|| "unblock all signals")
}

/// setsid(2): the container's process leads a session of its own, without a controlling terminal.
pub(crate) fn new_session() -> Result<()> {
    match nix::unistd::setsid() {
        // EPERM: it leads a process group already, which for a fresh child means that it leads its session.
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno).context(|| "make a session"),
    }
}

/// sethostname(2).
pub(crate) fn set_hostname(name: &CStr) -> Result<()> {
    nix::unistd::sethostname(OsStr::from_bytes(name.to_bytes()))
        .context(|| format!("set the host name {}", name.to_string_lossy()))
        .map_err(|error| error.at("/hostname"))
}

/// setdomainname(2).
pub(crate) fn set_domainname(name: &CStr) -> Result<()> {
    sys::process::set_domain_name(name)
        .context(|| format!("set the domain name {}", name.to_string_lossy()))
        .map_err(|error| error.at("/domainname"))
}

/// Sets the loopback device of a new network namespace up.
pub(crate) fn set_loopback_up() -> Result<()> {
    sys::process::set_loopback_up().context(|| "set the loopback device up")
}

/// personality(2), umask(2), scheduler, I/O priority and memory policy of the program: everything that needs the
/// privileges that the credentials take away.
pub(crate) fn set_scheduling(process: &ProcessPlan) -> Result<()> {
    if let Some(persona) = process.personality {
        sys::schedule::set_personality(persona)
            .context(|| format!("set the personality {persona:#x}"))
            .map_err(|error| error.at("/linux/personality"))?;
    }
    if let Some(scheduler) = &process.scheduler {
        set_scheduler(scheduler).map_err(|error| error.at(pointer::join(&process.pointer, "scheduler")))?;
    }
    if let Some(priority) = process.io_priority {
        sys::schedule::set_io_priority(priority)
            .context(|| format!("set the I/O priority to class {}, level {}", priority >> 13, priority & 0x1fff))
            .map_err(|error| error.at(pointer::join(&process.pointer, "ioPriority")))?;
    }
    if let Some(policy) = &process.memory_policy {
        set_memory_policy(policy).map_err(|error| error.at("/linux/memoryPolicy"))?;
    }
    Ok(())
}

fn set_scheduler(scheduler: &Scheduler) -> Result<()> {
    let attributes = libc::sched_attr {
        size: 0,
        sched_policy: scheduler.policy,
        sched_flags: scheduler.flags,
        sched_nice: scheduler.nice,
        sched_priority: scheduler.priority,
        sched_runtime: scheduler.runtime,
        sched_deadline: scheduler.deadline,
        sched_period: scheduler.period,
    };
    sys::schedule::set_attributes(attributes).context(|| {
        format!(
            "set the scheduler to policy {}, nice {}, priority {}",
            scheduler.policy, scheduler.nice, scheduler.priority
        )
    })
}

fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    sys::schedule::set_memory_policy(policy.mode | policy.flags, &policy.nodes).context(|| {
        format!("set the memory policy {:#x} for the nodes {:x?}", policy.mode | policy.flags, policy.nodes)
    })
}

/// Which of the two masks of execCPUAffinity (config.md#process).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AffinityMoment {
    /// Before the cgroup is joined.
    Initial,
    /// Before execve.
    Final,
}

/// sched_setaffinity(2), if the configuration has a mask for this moment.
pub(crate) fn set_affinity(process: &ProcessPlan, moment: AffinityMoment) -> Result<()> {
    let (mask, word) = match moment {
        AffinityMoment::Initial => (&process.cpu_affinity.initial, "initial"),
        AffinityMoment::Final => (&process.cpu_affinity.last, "final"),
    };
    let Some(mask) = mask else { return Ok(()) };
    let place = pointer::join(&pointer::join(&process.pointer, "execCPUAffinity"), word);
    sys::schedule::set_affinity(mask)
        .context(|| format!("set the {word} CPU affinity {mask:x?}"))
        .map_err(|error| error.at(place))
}

/// umask(2).
pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// PR_SET_NO_NEW_PRIVS: execve(2) grants nothing from now on.
pub(crate) fn set_no_new_privileges() -> Result<()> {
    prctl::set_no_new_privs().context(|| "set no_new_privs")
}

/// PR_SET_DUMPABLE: while it is off, nobody in the container can trace this process or open its memory.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl::set_dumpable(dumpable).context(|| "set dumpable")
}

/// Writes /proc/PID/oom_score_adj; for the parent, since a child in a user namespace may not. With `rootless` a
/// refusal (lower values need CAP_SYS_RESOURCE) is a warning.
pub(crate) fn set_oom_score_adj(proc: BorrowedFd<'_>, pid: i32, value: i32, rootless: bool) -> Result<Option<Warning>> {
    let written = proc_file::path(format!("{pid}/oom_score_adj"))
        .and_then(|path| proc_file::write(proc, &path, value.to_string().as_bytes()))
        .context(|| format!("set oom_score_adj to {value}"))
        .map_err(|error| error.at("/process/oomScoreAdj"));
    match written {
        Ok(()) => Ok(None),
        Err(error) if rootless && is_denied(&error) => Ok(Some(Warning::ignored(&error))),
        Err(error) => Err(error.hint("values below the caller's need CAP_SYS_RESOURCE")),
    }
}

fn is_denied(error: &Error) -> bool {
    matches!(error.raw_errno(), Some(libc::EACCES | libc::EPERM))
}

/// prlimit(2) for each limit; for the parent, since a child in a user namespace may not raise what the parent may.
pub(crate) fn set_limits(pid: i32, process_pointer: &str, limits: &[Rlimit]) -> Result<()> {
    for limit in limits {
        sys::process::set_limit(pid, limit.resource, limit.soft, limit.hard)
            .context(|| format!("set the limit {} to {}:{}", limit.name, limit.soft, limit.hard))
            .map_err(|error| error.at(pointer::join(process_pointer, "rlimits")))?;
    }
    Ok(())
}

/// A session keyring of the container's own, which the container's other processes (of the same user) may search.
/// A kernel without keyrings (ENOSYS) or a sandbox that forbids them (EPERM) is a warning: keyrings are protected by
/// credentials as well.
pub(crate) fn new_session_keyring(name: &CStr) -> Result<Option<Warning>> {
    /// Possessor's rights stay; the user that owns it may search.
    const KEY_USR_SEARCH: u32 = 0x0008_0000;
    let keyring = match sys::keyring::join_session(name) {
        Ok(keyring) => keyring,
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
            return Ok(Some(Warning::ignored(&Error::sys(errno, "make a session keyring"))));
        }
        Err(errno) => {
            return Err(Error::sys(errno, format!("make the session keyring {}", name.to_string_lossy()))
                .hint("--no-new-keyring keeps the caller's"));
        }
    };
    let description = sys::keyring::describe(keyring).context(|| "describe the session keyring")?;
    let Some(permissions) = keyring_permissions(&description) else {
        return Err(Error::sys(Errno::EINVAL, "read the permissions of the session keyring"));
    };
    sys::keyring::set_permissions(keyring, permissions | KEY_USR_SEARCH)
        .context(|| "set the permissions of the session keyring")?;
    Ok(None)
}

/// The fourth field of `type;uid;gid;permissions;description` (keyctl_describe(3)), hexadecimal.
fn keyring_permissions(description: &[u8]) -> Option<u32> {
    let field = description.split(|byte| *byte == b';').nth(3)?;
    u32::from_str_radix(str::from_utf8(field).ok()?, 16).ok()
}
