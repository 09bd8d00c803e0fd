//! The limits of linux.resources with their ranges checked and the ways of saying "not set" removed.

use super::devices::DeviceSet;
use crate::bundle::resources::{
    BlockIoConfig, CpuConfig, HugepageLimitConfig, MemoryConfig, ResourcesConfig, ThrottleConfig, WeightDeviceConfig,
};
use crate::error::{Error, Result, Warning};
use crate::pointer;

/// linux.resources, checked. `None` and empty leave alone what the cgroup has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    pub memory: Memory,
    pub cpu: Cpu,
    /// Number of tasks; 0 is a limit too.
    pub pids: Option<Limit>,
    pub block_io: BlockIo,
    pub hugepages: Vec<HugepageLimit>,
    pub network: Network,
    pub rdma: Vec<Rdma>,
    pub devices: Option<DeviceSet>,
    pub unified: Vec<UnifiedSetting>,
}

/// An upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// None.
    Max,
    Value(u64),
}

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub limit: Option<Limit>,
    pub reservation: Option<Limit>,
    /// Memory and swap together, as v1 counts; not below `limit`.
    pub swap: Option<Limit>,
    pub kernel_tcp: Option<Limit>,
    /// 0 to 100.
    pub swappiness: Option<u64>,
    pub disable_oom_killer: bool,
    pub use_hierarchy: bool,
    /// An update to less than is in use is refused instead of killing.
    pub check_before_update: bool,
}

/// Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Relative weight as v1 counts, 1024 by default.
    pub shares: Option<u64>,
    pub quota: Option<Limit>,
    pub period: Option<u64>,
    pub burst: Option<u64>,
    pub realtime_runtime: Option<i64>,
    pub realtime_period: Option<u64>,
    /// A list like `0-3,7`.
    pub cpus: Option<String>,
    pub mems: Option<String>,
    pub idle: Option<bool>,
}

/// A block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceNumber {
    pub major: u32,
    pub minor: u32,
}

/// linux.resources.blockIO; the lists have the order and length of the configuration's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockIo {
    /// 10 to 1000.
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
    pub weight_devices: Vec<WeightDevice>,
    pub read_bps: Vec<Throttle>,
    pub write_bps: Vec<Throttle>,
    pub read_iops: Vec<Throttle>,
    pub write_iops: Vec<Throttle>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightDevice {
    pub device: DeviceNumber,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

/// Bytes or operations a second; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    pub device: DeviceNumber,
    pub rate: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HugepageLimit {
    /// As the kernel names it: `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// linux.resources.network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    pub class_id: Option<u32>,
    pub priorities: Vec<Priority>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Priority {
    pub interface: String,
    pub priority: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rdma {
    pub device: String,
    pub hca_handles: Option<u32>,
    pub hca_objects: Option<u32>,
}

/// One entry of linux.resources.unified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnifiedSetting {
    /// A file name with its controller: `memory.high`.
    pub file: String,
    pub value: String,
}

impl UnifiedSetting {
    /// The controller the file belongs to; `cgroup` for those of the core.
    pub fn controller(&self) -> &str {
        self.file.split('.').next().unwrap_or(&self.file)
    }
}

const ROOT: &str = "/linux/resources";

impl Resources {
    /// Checks `config`; its errors name the place in config.json.
    pub fn new(config: &ResourcesConfig) -> Result<(Resources, Vec<Warning>)> {
        let mut warnings = Vec::new();
        let resources = Resources {
            memory: config
                .memory
                .as_ref()
                .map(|memory| new_memory(memory, &mut warnings))
                .transpose()?
                .unwrap_or_default(),
            cpu: config.cpu.as_ref().map(new_cpu).transpose()?.unwrap_or_default(),
            pids: config.pids.as_ref().and_then(|pids| pids.limit).map(|n| limit("/pids/limit", n)).transpose()?,
            block_io: config.block_io.as_ref().map(new_block_io).transpose()?.unwrap_or_default(),
            hugepages: new_hugepages(config.hugepage_limits.as_deref().unwrap_or_default())?,
            network: new_network(config)?,
            rdma: new_rdma(config)?,
            devices: config.devices.as_deref().map(DeviceSet::from_rules).transpose()?,
            unified: new_unified(config)?,
        };
        Ok((resources, warnings))
    }

    /// Whether anything besides device rules is asked for.
    pub fn has_limits(&self) -> bool {
        *self != Resources { devices: self.devices.clone(), ..Resources::default() }
    }
}

fn at(place: &str) -> String {
    format!("{ROOT}{place}")
}

/// -1 is no limit; anything below is an error.
fn limit(place: &str, value: i64) -> Result<Limit> {
    match u64::try_from(value) {
        Ok(value) => Ok(Limit::Value(value)),
        Err(_) if value == -1 => Ok(Limit::Max),
        Err(_) => Err(Error::config(at(place), format!("{value} is below -1, which means no limit"))),
    }
}

/// As [`limit`], where engines say 0 for "not set".
fn nonzero_limit(place: &str, value: Option<i64>) -> Result<Option<Limit>> {
    value.filter(|&value| value != 0).map(|value| limit(place, value)).transpose()
}

fn new_memory(config: &MemoryConfig, warnings: &mut Vec<Warning>) -> Result<Memory> {
    let memory = Memory {
        limit: nonzero_limit("/memory/limit", config.limit)?,
        reservation: nonzero_limit("/memory/reservation", config.reservation)?,
        swap: nonzero_limit("/memory/swap", config.swap)?,
        kernel_tcp: nonzero_limit("/memory/kernelTCP", config.kernel_tcp)?,
        swappiness: config.swappiness,
        disable_oom_killer: config.disable_oom_killer.unwrap_or(false),
        use_hierarchy: config.use_hierarchy.unwrap_or(false),
        check_before_update: config.check_before_update.unwrap_or(false),
    };
    if nonzero_limit("/memory/kernel", config.kernel)?.is_some() {
        warnings
            .push(Warning::config(at("/memory/kernel"), "the kernel has no limit of kernel memory any more, ignoring"));
    }
    if let Some(value) = memory.swappiness.filter(|&value| value > 100) {
        return Err(Error::config(at("/memory/swappiness"), format!("{value} is not between 0 and 100")));
    }
    if let (Some(limit), Some(Limit::Value(swap))) = (memory.limit, memory.swap) {
        let below = match limit {
            Limit::Max => true,
            Limit::Value(limit) => swap < limit,
        };
        if below {
            return Err(Error::config(
                at("/memory/swap"),
                format!("{swap} is below the memory limit, which it must include"),
            ));
        }
    }
    Ok(memory)
}

fn new_cpu(config: &CpuConfig) -> Result<Cpu> {
    let list = |place: &str, list: &Option<String>| match list.as_deref() {
        None | Some("") => Ok(None),
        Some(text) if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b',')) => Ok(Some(text.to_owned())),
        Some(text) => Err(Error::config(at(place), format!("{text:?} is not a list like 0-3,7"))),
    };
    let idle = match config.idle {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(other) => return Err(Error::config(at("/cpu/idle"), format!("{other} is neither 0 nor 1"))),
    };
    Ok(Cpu {
        shares: config.shares.filter(|&shares| shares != 0),
        // The kernel takes any negative quota for "none".
        quota: config.quota.filter(|&quota| quota != 0).map(|q| u64::try_from(q).map_or(Limit::Max, Limit::Value)),
        period: config.period.filter(|&period| period != 0),
        burst: config.burst,
        realtime_runtime: config.realtime_runtime.filter(|&runtime| runtime != 0),
        realtime_period: config.realtime_period.filter(|&period| period != 0),
        cpus: list("/cpu/cpus", &config.cpus)?,
        mems: list("/cpu/mems", &config.mems)?,
        idle,
    })
}

fn weight(place: &str, value: Option<u16>) -> Result<Option<u16>> {
    match value.filter(|&weight| weight != 0) {
        Some(weight) if !(10..=1000).contains(&weight) => {
            Err(Error::config(at(place), format!("weight {weight} is not between 10 and 1000")))
        }
        weight => Ok(weight),
    }
}

fn device(place: &str, major: i64, minor: i64) -> Result<DeviceNumber> {
    let number = |name: &str, value: i64| {
        u32::try_from(value).map_err(|error| {
            Error::config(at(&format!("{place}/{name}")), format!("{value} is not a device number: {error}"))
        })
    };
    Ok(DeviceNumber { major: number("major", major)?, minor: number("minor", minor)? })
}

fn new_block_io(config: &BlockIoConfig) -> Result<BlockIo> {
    Ok(BlockIo {
        weight: weight("/blockIO/weight", config.weight)?,
        leaf_weight: weight("/blockIO/leafWeight", config.leaf_weight)?,
        weight_devices: new_weight_devices(config.weight_device.as_deref().unwrap_or_default())?,
        read_bps: new_throttles("throttleReadBpsDevice", config.throttle_read_bps_device.as_deref())?,
        write_bps: new_throttles("throttleWriteBpsDevice", config.throttle_write_bps_device.as_deref())?,
        read_iops: new_throttles("throttleReadIOPSDevice", config.throttle_read_iops_device.as_deref())?,
        write_iops: new_throttles("throttleWriteIOPSDevice", config.throttle_write_iops_device.as_deref())?,
    })
}

fn new_weight_devices(config: &[WeightDeviceConfig]) -> Result<Vec<WeightDevice>> {
    let one = |(index, entry): (usize, &WeightDeviceConfig)| {
        let place = pointer::index("/blockIO/weightDevice", index);
        Ok(WeightDevice {
            device: device(&place, entry.major, entry.minor)?,
            weight: weight(&format!("{place}/weight"), entry.weight)?,
            leaf_weight: weight(&format!("{place}/leafWeight"), entry.leaf_weight)?,
        })
    };
    config.iter().enumerate().map(one).collect()
}

fn new_throttles(name: &str, config: Option<&[ThrottleConfig]>) -> Result<Vec<Throttle>> {
    let one = |(index, entry): (usize, &ThrottleConfig)| {
        let place = pointer::index(&pointer::join("/blockIO", name), index);
        Ok(Throttle { device: device(&place, entry.major, entry.minor)?, rate: entry.rate })
    };
    config.unwrap_or_default().iter().enumerate().map(one).collect()
}

fn new_hugepages(config: &[HugepageLimitConfig]) -> Result<Vec<HugepageLimit>> {
    let one = |(index, entry): (usize, &HugepageLimitConfig)| {
        let size = &entry.page_size;
        let digits =
            size.strip_suffix("KB").or(size.strip_suffix("MB")).or(size.strip_suffix("GB")).unwrap_or_default();
        if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
            let place = pointer::index("/hugepageLimits", index);
            return Err(Error::config(
                at(&format!("{place}/pageSize")),
                format!("{size:?} is not a size like 64KB, 2MB or 1GB"),
            ));
        }
        Ok(HugepageLimit { page_size: size.clone(), limit: entry.limit })
    };
    config.iter().enumerate().map(one).collect()
}

fn new_network(config: &ResourcesConfig) -> Result<Network> {
    let Some(network) = &config.network else { return Ok(Network::default()) };
    let mut priorities = Vec::new();
    for (index, entry) in network.priorities.iter().flatten().enumerate() {
        check_word(&format!("{}/name", pointer::index("/network/priorities", index)), &entry.name)?;
        priorities.push(Priority { interface: entry.name.clone(), priority: entry.priority });
    }
    Ok(Network { class_id: network.class_id.filter(|&id| id != 0), priorities })
}

fn new_rdma(config: &ResourcesConfig) -> Result<Vec<Rdma>> {
    let mut limits = Vec::new();
    for (name, entry) in config.rdma.iter().flatten() {
        check_word(&pointer::join("/rdma", name), name)?;
        if entry.hca_handles.is_some() || entry.hca_objects.is_some() {
            limits.push(Rdma { device: name.clone(), hca_handles: entry.hca_handles, hca_objects: entry.hca_objects });
        }
    }
    Ok(limits)
}

/// A name that is one word of a line to the kernel.
fn check_word(place: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::config(at(place), format!("{name:?} is not a device name")));
    }
    Ok(())
}

/// Controllers of cgroup v2, as cgroup.controllers names them.
const CONTROLLERS: [&str; 9] = ["cpu", "cpuset", "dmem", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

/// Files of the core that do not undo what the runtime relies on, as cgroup.procs or cgroup.freeze would.
const CORE_FILES: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

fn new_unified(config: &ResourcesConfig) -> Result<Vec<UnifiedSetting>> {
    let mut settings = Vec::new();
    for (file, value) in config.unified.iter().flatten() {
        let bad = |reason: &str| Err(Error::config(at(&pointer::join("/unified", file)), format!("{file:?} {reason}")));
        if file.contains(['/', '\0']) {
            return bad("is not a file name");
        }
        match file.split_once('.') {
            Some(("cgroup", _)) if !CORE_FILES.contains(&file.as_str()) => return bad("is not a limit"),
            Some((controller, rest))
                if !rest.is_empty() && (controller == "cgroup" || CONTROLLERS.contains(&controller)) => {}
            _ => return bad("does not begin with the name of a controller"),
        }
        settings.push(UnifiedSetting { file: file.clone(), value: value.clone() });
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(json: &str) -> Result<(Resources, Vec<Warning>)> {
        Resources::new(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn new_nulls_and_zeroes_of_engines_set_nothing() {
        let (resources, warnings) = new(
            r#"{"devices":null,"memory":{"limit":0,"swap":null,"disableOOMKiller":false},"cpu":{"shares":0,"quota":0,"cpus":""},
                "pids":{"limit":null},"blockIO":{"weight":0,"weightDevice":null},"hugepageLimits":[],"network":{},"rdma":null,
                "unified":{},"unknown":1}"#,
        )
        .unwrap();
        assert_eq!((resources, warnings), (Resources::default(), vec![]));
    }

    #[test]
    fn new_minus_one_is_no_limit_and_zero_tasks_is_one() {
        let (resources, _) = new(r#"{"memory":{"limit":-1,"swap":-1},"cpu":{"quota":-1},"pids":{"limit":0}}"#).unwrap();
        assert_eq!(resources.memory.limit, Some(Limit::Max));
        assert_eq!(resources.memory.swap, Some(Limit::Max));
        assert_eq!(resources.cpu.quota, Some(Limit::Max));
        assert_eq!(resources.pids, Some(Limit::Value(0)));
        assert!(resources.has_limits());
        assert_eq!(new(r#"{"pids":{"limit":-1}}"#).unwrap().0.pids, Some(Limit::Max));
    }

    #[test]
    fn new_large_numbers_keep_their_value() {
        let (resources, _) =
            new(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}],"memory":{"limit":9223372036854771712}}"#)
                .unwrap();
        assert_eq!(resources.hugepages[0].limit, u64::MAX);
        assert_eq!(resources.memory.limit, Some(Limit::Value(9223372036854771712)));
    }

    #[test]
    fn new_kernel_memory_is_a_warning() {
        let (resources, warnings) = new(r#"{"memory":{"kernel":1048576}}"#).unwrap();
        assert!(!resources.has_limits());
        assert_eq!(warnings[0].pointer.as_deref(), Some("/linux/resources/memory/kernel"));
    }

    #[test]
    fn new_bad_values_are_refused_at_their_pointer() {
        for (json, place) in [
            (r#"{"memory":{"limit":-2}}"#, "/memory/limit"),
            (r#"{"memory":{"reservation":-5}}"#, "/memory/reservation"),
            (r#"{"memory":{"limit":100,"swap":99}}"#, "/memory/swap"),
            (r#"{"memory":{"limit":-1,"swap":99}}"#, "/memory/swap"),
            (r#"{"memory":{"swappiness":101}}"#, "/memory/swappiness"),
            (r#"{"pids":{"limit":-2}}"#, "/pids/limit"),
            (r#"{"cpu":{"cpus":"0-3; rm"}}"#, "/cpu/cpus"),
            (r#"{"cpu":{"mems":"a"}}"#, "/cpu/mems"),
            (r#"{"cpu":{"idle":2}}"#, "/cpu/idle"),
            (r#"{"blockIO":{"weight":9}}"#, "/blockIO/weight"),
            (r#"{"blockIO":{"leafWeight":1001}}"#, "/blockIO/leafWeight"),
            (r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":5}]}}"#, "/blockIO/weightDevice/0/weight"),
            (
                r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":-1,"rate":5}]}}"#,
                "/blockIO/throttleReadIOPSDevice/0/minor",
            ),
            (r#"{"hugepageLimits":[{"pageSize":"2M","limit":1}]}"#, "/hugepageLimits/0/pageSize"),
            (r#"{"hugepageLimits":[{"pageSize":"../1MB","limit":1}]}"#, "/hugepageLimits/0/pageSize"),
            (r#"{"network":{"priorities":[{"name":"","priority":1}]}}"#, "/network/priorities/0/name"),
            (r#"{"rdma":{"mlx 5":{"hcaHandles":1}}}"#, "/rdma/mlx 5"),
            (r#"{"unified":{"memory/high":"1"}}"#, "/unified/memory~1high"),
            (r#"{"unified":{"nonsense.max":"1"}}"#, "/unified/nonsense.max"),
            (r#"{"unified":{"memory":"1"}}"#, "/unified/memory"),
            (r#"{"unified":{"cgroup.procs":"1"}}"#, "/unified/cgroup.procs"),
        ] {
            let error = new(json).unwrap_err();
            assert_eq!(error.pointer(), Some(format!("{ROOT}{place}").as_str()), "{json}: {error}");
        }
    }
}
