//! The files of cgroup v1.

use std::path::Path;

use super::types::{BlkioEntry, HugetlbStats, MemoryUsage, Stats};
use super::{content, page_sizes, parse, pids, set, table, value};
use crate::error::Result;

/// Reads what one controller knows.
pub(super) type Reader = fn(&Path, &mut Stats) -> Result<()>;

/// The controllers that know something.
pub(super) const READERS: [(&str, Reader); 7] = [
    ("cpuacct", cpuacct),
    ("cpu", cpu),
    ("cpuset", cpuset),
    ("memory", memory),
    ("pids", pids),
    ("blkio", blkio),
    ("hugetlb", hugetlb),
];

/// cpuacct.stat counts in USER_HZ, which is 100 a second in the kernel's interface on every supported machine.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

fn cpuacct(directory: &Path, stats: &mut Stats) -> Result<()> {
    let usage = &mut stats.cpu.usage;
    usage.total = value(directory, "cpuacct.usage")?;
    usage.percpu = content(directory, "cpuacct.usage_percpu")?.as_deref().map(parse::row).unwrap_or_default();
    let all = content(directory, "cpuacct.usage_all")?.unwrap_or_default();
    (usage.percpu_user, usage.percpu_kernel) = parse::usage_by_cpu(&all);
    let ticks = table(directory, "cpuacct.stat")?;
    let time = |name: &str| ticks.get(name).copied().unwrap_or_default().saturating_mul(NANOSECONDS_PER_TICK);
    (usage.user, usage.kernel) = (time("user"), time("system"));
    Ok(())
}

fn cpu(directory: &Path, stats: &mut Stats) -> Result<()> {
    let stat = table(directory, "cpu.stat")?;
    let number = |name: &str| stat.get(name).copied().unwrap_or_default();
    let throttling = &mut stats.cpu.throttling;
    throttling.periods = number("nr_periods");
    throttling.throttled_periods = number("nr_throttled");
    throttling.throttled_time = number("throttled_time");
    Ok(())
}

fn cpuset(directory: &Path, stats: &mut Stats) -> Result<()> {
    let cpuset = &mut stats.cpuset;
    cpuset.cpus = set(directory, "cpuset.cpus")?;
    cpuset.mems = set(directory, "cpuset.mems")?;
    for (field, name) in [
        (&mut cpuset.cpu_exclusive, "cpuset.cpu_exclusive"),
        (&mut cpuset.mem_hardwall, "cpuset.mem_hardwall"),
        (&mut cpuset.mem_exclusive, "cpuset.mem_exclusive"),
        (&mut cpuset.memory_migrate, "cpuset.memory_migrate"),
        (&mut cpuset.memory_spread_page, "cpuset.memory_spread_page"),
        (&mut cpuset.memory_spread_slab, "cpuset.memory_spread_slab"),
        (&mut cpuset.memory_pressure, "cpuset.memory_pressure"),
        (&mut cpuset.sched_load_balance, "cpuset.sched_load_balance"),
    ] {
        *field = value(directory, name)?;
    }
    let level = content(directory, "cpuset.sched_relax_domain_level")?;
    cpuset.sched_relax_domain_level = level.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    Ok(())
}

fn memory(directory: &Path, stats: &mut Stats) -> Result<()> {
    let memory = &mut stats.memory;
    memory.raw = table(directory, "memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    for (usage, prefix) in [
        (&mut memory.usage, "memory"),
        (&mut memory.swap, "memory.memsw"),
        (&mut memory.kernel, "memory.kmem"),
        (&mut memory.kernel_tcp, "memory.kmem.tcp"),
    ] {
        *usage = MemoryUsage {
            limit: value(directory, &format!("{prefix}.limit_in_bytes"))?,
            usage: value(directory, &format!("{prefix}.usage_in_bytes"))?,
            max: value(directory, &format!("{prefix}.max_usage_in_bytes"))?,
            failcnt: value(directory, &format!("{prefix}.failcnt"))?,
        };
    }
    Ok(())
}

/// BFQ counts what goes through it; the throttling layer counts everything.
fn blkio(directory: &Path, stats: &mut Stats) -> Result<()> {
    let read = |name: &str| -> Result<Vec<BlkioEntry>> {
        for prefix in ["blkio.bfq", "blkio.throttle", "blkio"] {
            let text = content(directory, &format!("{prefix}.{name}_recursive"))?;
            let entries = text.as_deref().map(parse::blkio).unwrap_or_default();
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    };
    let blkio = &mut stats.blkio;
    for (list, name) in [
        (&mut blkio.io_service_bytes_recursive, "io_service_bytes"),
        (&mut blkio.io_serviced_recursive, "io_serviced"),
        (&mut blkio.io_queue_recursive, "io_queued"),
        (&mut blkio.io_service_time_recursive, "io_service_time"),
        (&mut blkio.io_wait_time_recursive, "io_wait_time"),
        (&mut blkio.io_merged_recursive, "io_merged"),
        (&mut blkio.io_time_recursive, "time"),
        (&mut blkio.sectors_recursive, "sectors"),
    ] {
        *list = read(name)?;
    }
    Ok(())
}

fn hugetlb(directory: &Path, stats: &mut Stats) -> Result<()> {
    for size in page_sizes(directory, ".usage_in_bytes")? {
        let one = HugetlbStats {
            usage: value(directory, &format!("hugetlb.{size}.usage_in_bytes"))?,
            max: value(directory, &format!("hugetlb.{size}.max_usage_in_bytes"))?,
            failcnt: value(directory, &format!("hugetlb.{size}.failcnt"))?,
        };
        stats.hugetlb.insert(size, one);
    }
    Ok(())
}
