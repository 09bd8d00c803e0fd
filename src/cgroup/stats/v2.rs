//! The files of cgroup v2.

use std::path::Path;

use super::types::{HugetlbStats, MemoryUsage, MiscStats, Stats};
use super::v1::Reader;
use super::{content, page_sizes, parse, pids, set, table, value};
use crate::error::Result;

/// A controller, or the core.
pub(super) struct Source {
    /// The v1 controller that knows the same: where it is mounted, its figures count.
    pub v1: &'static str,
    /// A file that is there if this has something to say.
    pub file: &'static str,
}

const fn source(v1: &'static str, file: &'static str) -> Source {
    Source { v1, file }
}

/// The sources that know something.
pub(super) const READERS: [(Source, Reader); 7] = [
    (source("cpuacct", "cpu.stat"), cpu),
    (source("cpuset", "cpuset.cpus.effective"), cpuset),
    (source("memory", "memory.current"), memory),
    (source("pids", "pids.current"), pids),
    (source("blkio", "io.stat"), io),
    (source("hugetlb", "cgroup.procs"), hugetlb),
    (source("misc", "misc.current"), misc),
];

const NANOSECONDS: u64 = 1000;

fn cpu(directory: &Path, stats: &mut Stats) -> Result<()> {
    let stat = table(directory, "cpu.stat")?;
    let number = |name: &str| stat.get(name).copied().unwrap_or_default();
    let usage = &mut stats.cpu.usage;
    usage.total = number("usage_usec").saturating_mul(NANOSECONDS);
    usage.user = number("user_usec").saturating_mul(NANOSECONDS);
    usage.kernel = number("system_usec").saturating_mul(NANOSECONDS);
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = number("nr_periods");
    throttling.throttled_periods = number("nr_throttled");
    throttling.throttled_time = number("throttled_usec").saturating_mul(NANOSECONDS);
    Ok(())
}

fn cpuset(directory: &Path, stats: &mut Stats) -> Result<()> {
    stats.cpuset.cpus = set(directory, "cpuset.cpus.effective")?;
    stats.cpuset.mems = set(directory, "cpuset.mems.effective")?;
    Ok(())
}

fn memory(directory: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = table(directory, "memory.stat")?;
    let events = table(directory, "memory.events")?;
    let of = |table: &std::collections::BTreeMap<String, u64>, name: &str| table.get(name).copied().unwrap_or_default();
    memory.cache = of(&memory.raw, "file");
    memory.usage = MemoryUsage {
        limit: value(directory, "memory.max")?,
        usage: value(directory, "memory.current")?,
        max: value(directory, "memory.peak")?,
        failcnt: of(&events, "max"),
    };
    memory.swap = with_memory(
        &memory.usage,
        content(directory, "memory.swap.max")?.as_deref().map_or(0, parse::number),
        value(directory, "memory.swap.current")?,
    );
    memory.swap.failcnt = table(directory, "memory.swap.events")?.get("max").copied().unwrap_or_default();
    memory.kernel.usage = of(&memory.raw, "kernel");
    memory.kernel_tcp.usage = of(&memory.raw, "sock");
    Ok(())
}

/// Memory and swap together, as v1 counts and engines expect. (The most that both ever took is not known.)
fn with_memory(memory: &MemoryUsage, limit: u64, usage: u64) -> MemoryUsage {
    MemoryUsage {
        limit: limit.saturating_add(memory.limit),
        usage: usage.saturating_add(memory.usage),
        ..MemoryUsage::default()
    }
}

fn io(directory: &Path, stats: &mut Stats) -> Result<()> {
    let text = content(directory, "io.stat")?.unwrap_or_default();
    (stats.blkio.io_service_bytes_recursive, stats.blkio.io_serviced_recursive) = parse::io_stat(&text);
    Ok(())
}

fn hugetlb(directory: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes(directory, ".current")? {
        let events = table(directory, &format!("hugetlb.{size}.events"))?;
        let one = HugetlbStats {
            usage: value(directory, &format!("hugetlb.{size}.current"))?,
            max: 0,
            failcnt: events.get("max").copied().unwrap_or_default(),
        };
        stats.hugetlb.insert(size, one);
    }
    Ok(())
}

fn misc(directory: &Path, stats: &mut Stats) -> Result<()> {
    let events = table(directory, "misc.events")?;
    for (name, usage) in table(directory, "misc.current")? {
        let events = events.get(&format!("{name}.max")).copied().unwrap_or_default();
        stats.misc.insert(name, MiscStats { usage, events });
    }
    Ok(())
}

/// A kernel that does not count pressure, or was told not to here (cgroup.pressure), refuses the reading.
pub(super) fn pressure(directory: &Path, stats: &mut Stats) -> Result<()> {
    for (psi, name) in [
        (&mut stats.cpu.psi, "cpu.pressure"),
        (&mut stats.memory.psi, "memory.pressure"),
        (&mut stats.blkio.psi, "io.pressure"),
    ] {
        *psi = content(directory, name)?.as_deref().map(parse::pressure);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_memory_counts_both_as_v1_does() {
        let memory = MemoryUsage { limit: 100, usage: 30, max: 90, failcnt: 2 };
        let both = with_memory(&memory, 50, 5);
        assert_eq!((both.limit, both.usage, both.max, both.failcnt), (150, 35, 0, 0));
        assert_eq!(with_memory(&memory, u64::MAX, 5).limit, u64::MAX);
        assert_eq!(with_memory(&MemoryUsage { limit: u64::MAX, ..memory }, 0, 0).limit, u64::MAX);
    }
}
