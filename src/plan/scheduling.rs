//! How a process is scheduled and where its memory comes from: process.scheduler, process.ioPriority,
//! linux.personality, linux.memoryPolicy. Words into the kernel's numbers.

use oci_spec::runtime::{LinuxPersonality, LinuxPersonalityDomain};

use super::text::number_list;
use crate::bundle::config;
use crate::bundle::process as section;
use crate::error::{Error, Kind, Result};
use crate::pointer;

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

/// The kernel is built for at most 8192 CPUs (NR_CPUS).
pub(super) const LARGEST_CPU: usize = 8191;

/// The kernel is built for at most 1024 nodes (MAX_NUMNODES).
const LARGEST_NODE: usize = 1023;

/// sched(7).
const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", FIFO),
    ("SCHED_RR", ROUND_ROBIN),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", ISO),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", DEADLINE),
];
const FIFO: u32 = 1;
const ROUND_ROBIN: u32 = 2;
const ISO: u32 = 4;
const DEADLINE: u32 = 6;

/// sched_setattr(2), linux/sched.h.
const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

fn word<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == word).map(|&(_, value)| value)
}

/// Checks process.scheduler at `section`.
pub(super) fn scheduler(config: &section::Scheduler, section: &str) -> Result<Scheduler> {
    let refuse = |field: &str, why: String| Err(Error::config(pointer::join(section, field), why));
    let Some(policy) = word(&POLICIES, &config.policy) else {
        return refuse("policy", format!("unknown scheduling policy {:?}", config.policy));
    };
    if policy == ISO {
        return Err(
            Error::new(Kind::Unsupported, "Linux does not implement SCHED_ISO").at(pointer::join(section, "policy"))
        );
    }
    let mut flags = 0;
    for (i, name) in config.flags.iter().enumerate() {
        match word(&SCHEDULER_FLAGS, name) {
            Some(flag) => flags |= flag,
            None => {
                let at = pointer::index(&pointer::join(section, "flags"), i);
                return Err(Error::config(at, format!("unknown scheduling flag {name:?}")));
            }
        }
    }
    if !(-20..=19).contains(&config.nice) {
        return refuse("nice", format!("nice value {} is outside of -20 to 19", config.nice));
    }
    let real_time = matches!(policy, FIFO | ROUND_ROBIN);
    let priority = match config.priority {
        0 if !real_time => 0,
        priority @ 1..=99 if real_time => priority.unsigned_abs(),
        priority if real_time => return refuse("priority", format!("priority {priority} is outside of 1 to 99")),
        _ => return refuse("priority", format!("{} has no priority", config.policy)),
    };
    let times = [("runtime", config.runtime), ("deadline", config.deadline), ("period", config.period)];
    if let Some((field, _)) = times.iter().find(|(_, time)| policy != DEADLINE && *time != 0) {
        return refuse(field, format!("only SCHED_DEADLINE has a {field}"));
    }
    Ok(Scheduler {
        policy,
        flags,
        nice: config.nice,
        priority,
        runtime: config.runtime,
        deadline: config.deadline,
        period: config.period,
    })
}

/// Checks process.ioPriority at `section`: the value of ioprio_set(2), class above 13 bits of level.
pub(super) fn io_priority(config: &section::IoPriority, section: &str) -> Result<u16> {
    let class: u16 = match config.class.as_str() {
        "IOPRIO_CLASS_NONE" => 0,
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            return Err(Error::config(
                pointer::join(section, "class"),
                format!("unknown I/O priority class {other:?}"),
            ));
        }
    };
    let largest = if class == 0 { 0 } else { 7 };
    match u16::try_from(config.priority) {
        Ok(level) if level <= largest => Ok(class << 13 | level),
        _ => {
            let why = format!("level {} is outside of 0 to {largest}", config.priority);
            Err(Error::config(pointer::join(section, "priority"), why))
        }
    }
}

/// Checks linux.personality: the value of personality(2).
pub(super) fn personality(config: &LinuxPersonality) -> Result<u32> {
    if let Some(flag) = config.flags().iter().flatten().next() {
        return Err(Error::config("/linux/personality/flags/0", format!("unknown personality flag {flag:?}")));
    }
    Ok(match config.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

const MPOL_DEFAULT: u32 = 0;
const MPOL_PREFERRED: u32 = 1;
const MPOL_BIND: u32 = 2;
const MPOL_LOCAL: u32 = 4;
const MPOL_PREFERRED_MANY: u32 = 5;

/// set_mempolicy(2).
pub(crate) const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", MPOL_DEFAULT),
    ("MPOL_PREFERRED", MPOL_PREFERRED),
    ("MPOL_BIND", MPOL_BIND),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", MPOL_LOCAL),
    ("MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;
const NUMA_BALANCING: u32 = 1 << 13;

/// set_mempolicy(2).
pub(crate) const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_NUMA_BALANCING", NUMA_BALANCING),
];

/// Checks linux.memoryPolicy (config-linux.md#memory-policy).
pub(super) fn memory_policy(config: &config::MemoryPolicy) -> Result<MemoryPolicy> {
    let refuse = |at: &str, why: String| Err(Error::config(format!("/linux/memoryPolicy/{at}"), why));
    let name = config.mode.as_str();
    let Some(mode) = word(&MEMORY_MODES, name) else {
        return refuse("mode", format!("unknown memory policy {name:?}"));
    };
    let mut flags = 0;
    for (i, name) in config.flags.iter().enumerate() {
        match word(&MEMORY_FLAGS, name) {
            Some(flag) => flags |= flag,
            None => return refuse(&format!("flags/{i}"), format!("unknown memory policy flag {name:?}")),
        }
    }
    let list = config.nodes.as_deref().unwrap_or_default();
    let nodes = number_list(list, LARGEST_NODE, || "/linux/memoryPolicy/nodes".to_owned())?.unwrap_or_default();
    match mode {
        MPOL_DEFAULT | MPOL_LOCAL if !nodes.is_empty() => return refuse("nodes", format!("{name} takes no nodes")),
        MPOL_DEFAULT | MPOL_LOCAL | MPOL_PREFERRED => {}
        _ if nodes.is_empty() => return refuse("nodes", format!("{name} needs nodes")),
        _ => {}
    }
    if flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        return refuse("flags", "nodes cannot be static and relative".to_owned());
    }
    if flags & NUMA_BALANCING != 0 && !matches!(mode, MPOL_BIND | MPOL_PREFERRED_MANY) {
        return refuse("flags", format!("{name} takes no MPOL_F_NUMA_BALANCING"));
    }
    if flags & (STATIC_NODES | RELATIVE_NODES) != 0 && nodes.is_empty() {
        return refuse("flags", "flags about nodes without nodes".to_owned());
    }
    Ok(MemoryPolicy { mode, flags, nodes })
}
