//! The statistics in the shape that engines read from `events`.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a container has used so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// CPU time.
    pub cpu: CpuStats,
    /// CPUs and memory nodes.
    pub cpuset: CpusetStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Tasks.
    pub pids: PidsStats,
    /// Block devices.
    pub blkio: BlkioStats,
    /// Huge pages, by their size as the kernel names it: `2MB`.
    pub hugetlb: BTreeMap<String, HugetlbStats>,
    /// The controller misc of cgroup v2, by resource; left out where it counts nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub misc: BTreeMap<String, MiscStats>,
    /// The class of service.
    pub intel_rdt: IntelRdtStats,
    /// Network interfaces of a network namespace of its own; null without one.
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

/// CPU time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CpuStats {
    /// How much was used.
    pub usage: CpuUsage,
    /// How often a quota was met.
    pub throttling: Throttling,
    /// How long tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// CPU time in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUsage {
    /// All of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// On each CPU (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    /// In the kernel on each CPU (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    /// In programs on each CPU (cgroup v1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
}

/// The effect of a CPU quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// Periods in which it ran.
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    /// Those in which it used its quota up.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds for which it was held back.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// The files of the controller cpuset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // Each field is the file of that name (cgroup-v1/cpusets.rst).
pub struct CpusetStats {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryStats {
    /// Page cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    /// Memory.
    pub usage: MemoryUsage,
    /// Memory and swap together, on v2 too.
    pub swap: MemoryUsage,
    /// The kernel's own for this container.
    pub kernel: MemoryUsage,
    /// Buffers of TCP (of all sockets on v2).
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryUsage,
    /// memory.stat as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    /// How long tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One kind of memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryUsage {
    /// Its limit; the largest number there is for none.
    pub limit: u64,
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most that was in use.
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// Tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PidsStats {
    /// How many there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// How many there may be; 0 without a limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

/// Block devices. v2 has the first two lists.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlkioStats {
    /// Bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    /// Operations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    /// Operations that wait.
    #[serde(rename = "ioQueueRecursive", skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    /// Nanoseconds of waiting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    /// Operations that were merged into others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    /// Milliseconds of the device.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    /// Sectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    /// How long tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Pressure>,
}

/// One count of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlkioEntry {
    /// Number of the device.
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    /// Number of the device.
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    /// What was done: `Read`, `Write`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    /// The count.
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HugetlbStats {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    /// Most that was in use (cgroup v1).
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was met.
    pub failcnt: u64,
}

/// One resource of the controller misc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MiscStats {
    /// In use.
    pub usage: u64,
    /// How often its limit was met.
    pub events: u64,
}

/// Pressure stall information (the kernel's accounting/psi.rst).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Some tasks waited.
    pub some: PressureLine,
    /// All tasks waited.
    pub full: PressureLine,
}

/// Shares of time in percent, and all of it in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PressureLine {
    /// In the last ten seconds.
    pub avg10: f64,
    /// In the last minute.
    pub avg60: f64,
    /// In the last five minutes.
    pub avg300: f64,
    /// Microseconds since the beginning.
    pub total: u64,
}

/// The class of service and the monitoring group under resctrl.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntelRdtStats {
    /// Schemata of the L3 cache of the whole host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// Schemata of the L3 cache of the class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// Memory bandwidth of the whole host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// Memory bandwidth of the class.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// Memory bandwidth that was used, for each L3 cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mbm_stats: Vec<BandwidthMonitor>,
    /// Cache that is in use, for each L3 cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmt_stats: Vec<CacheMonitor>,
}

/// Bytes moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BandwidthMonitor {
    /// To and from all memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_total_bytes: u64,
    /// To and from the memory of the same node.
    #[serde(skip_serializing_if = "is_zero")]
    pub mbm_local_bytes: u64,
}

/// Bytes of cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheMonitor {
    /// In use.
    #[serde(skip_serializing_if = "is_zero")]
    pub llc_occupancy: u64,
}

/// One network interface, seen from inside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)] // The columns of /proc/net/dev.
pub struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
