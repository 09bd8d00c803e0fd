//! Resources as files of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst). Pure.

use std::borrow::Cow;

use super::setting::{Missing, Setting, Translation, pointer};
use super::v1::{cpuset, rdma, word};
use crate::error::{Error, Kind, Result};
use crate::plan::resources::{BlockIo, Cpu, DeviceNumber, Limit, Memory, Resources};
use crate::pointer as json;

/// The settings for `resources`, without its devices.
pub(super) fn translate(resources: &Resources) -> Result<Translation> {
    let mut to = Translation::default();
    memory(&resources.memory, &mut to)?;
    cpu(&resources.cpu, &mut to)?;
    if let Some(limit) = resources.pids {
        to.set("pids", "pids.max", word(limit), "/pids/limit");
    }
    block_io(&resources.block_io, &mut to);
    for (index, huge) in resources.hugepages.iter().enumerate() {
        let place = json::index("/hugepageLimits", index);
        let size = &huge.page_size;
        to.set("hugetlb", format!("hugetlb.{size}.max"), huge.limit, &place);
        // Since Linux 5.7.
        to.set("hugetlb", format!("hugetlb.{size}.rsvd.max"), huge.limit, &place).missing = Missing::Ignore;
    }
    if resources.network.class_id.is_some() || !resources.network.priorities.is_empty() {
        return Err(lacks("/network", "has no network classes and priorities"));
    }
    rdma(resources, &mut to);
    unified(resources, &mut to);
    Ok(to)
}

fn memory(memory: &Memory, to: &mut Translation) -> Result<()> {
    // First: what a lower memory limit pushes out finds the new room in swap.
    if let Some(limit) = swap(memory)? {
        let setting = to.set("memory", "memory.swap.max", word(limit), "/memory/swap");
        if limit == Limit::Max || limit == Limit::Value(0) {
            // A kernel without swap has no file.
            setting.missing = Missing::Ignore;
        }
    }
    if let Some(limit) = memory.limit {
        to.set("memory", "memory.max", word(limit), "/memory/limit");
    }
    if let Some(limit) = memory.reservation {
        to.set("memory", "memory.low", word(limit), "/memory/reservation");
    }
    match () {
        () if memory.kernel_tcp.is_some() => Err(lacks("/memory/kernelTCP", "has no limit of TCP memory")),
        () if memory.swappiness.is_some() => Err(lacks("/memory/swappiness", "has no swappiness")),
        () if memory.disable_oom_killer => Err(lacks("/memory/disableOOMKiller", "cannot disable the OOM killer")),
        () => Ok(()),
    }
}

/// What v1 has and v2 has not cannot be converted, which is an error (config-linux.md#unified).
fn lacks(place: &str, what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("cgroup v2 {what}")).at(pointer(place))
}

/// v1 and the specification count memory and swap together, v2 counts swap alone.
pub(super) fn swap(memory: &Memory) -> Result<Option<Limit>> {
    match (memory.swap, memory.limit) {
        (None, Some(Limit::Max)) => Ok(Some(Limit::Max)),
        (None, _) => Ok(None),
        (Some(Limit::Max), _) => Ok(Some(Limit::Max)),
        (Some(Limit::Value(both)), Some(Limit::Value(limit))) => Ok(Some(Limit::Value(both.saturating_sub(limit)))),
        (Some(Limit::Value(_)), _) => Err(Error::config(
            pointer("/memory/swap"),
            "a limit of memory and swap together needs a memory limit on cgroup v2",
        )),
    }
}

fn cpu(cpu: &Cpu, to: &mut Translation) -> Result<()> {
    for (set, name) in
        [(cpu.realtime_runtime.is_some(), "realtimeRuntime"), (cpu.realtime_period.is_some(), "realtimePeriod")]
    {
        if set {
            return Err(lacks(&format!("/cpu/{name}"), "has no real-time limits"));
        }
    }
    if let Some(idle) = cpu.idle {
        let setting = to.set("cpu", "cpu.idle", u8::from(idle), "/cpu/idle");
        if !idle {
            setting.missing = Missing::Ignore;
        }
    }
    // An idle group has no weight of its own, and the kernel refuses to set it.
    if let Some(shares) = cpu.shares.filter(|_| cpu.idle != Some(true)) {
        to.set("cpu", "cpu.weight", weight_of_shares(shares), "/cpu/shares");
    }
    if cpu.quota.is_some() || cpu.period.is_some() {
        let place = if cpu.quota.is_some() { "/cpu/quota" } else { "/cpu/period" };
        let quota = word(cpu.quota.unwrap_or(Limit::Max));
        // Without a period the kernel keeps the one it has.
        let value = cpu.period.map_or(quota.clone(), |period| format!("{quota} {period}"));
        to.set("cpu", "cpu.max", value, place);
    }
    if let Some(burst) = cpu.burst {
        let setting = to.set("cpu", "cpu.max.burst", burst, "/cpu/burst");
        if burst == 0 {
            setting.missing = Missing::Ignore;
        }
    }
    cpuset(cpu, to);
    Ok(())
}

/// cpu.weight (1 to 10000, 100 by default) for v1 shares (2 to 262144, 1024 by default): the curve through the
/// three points minimum, default and maximum that runtimes and Kubernetes agreed on in 2025.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // The default must not be rounded up to 101 by the last bit of a double.
    (10f64.powf(exponent) - 1e-9).ceil().clamp(1.0, 10_000.0) as u64
}

/// io.weight (1 to 10000) for a weight of the specification (10 to 1000), linearly.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn block_io(io: &BlockIo, to: &mut Translation) {
    // BFQ has a file of its own with the specification's range; io.weight belongs to iocost.
    if let Some(weight) = io.weight {
        let setting = to.set("io", "io.bfq.weight", weight, "/blockIO/weight");
        setting.missing = Missing::Instead { file: Cow::Borrowed("io.weight"), value: io_weight(weight).to_string() };
    }
    if io.leaf_weight.is_some() {
        to.warn("/blockIO/leafWeight", "cgroup v2 has no leaf weights");
    }
    for (index, entry) in io.weight_devices.iter().enumerate() {
        let place = json::index("/blockIO/weightDevice", index);
        let DeviceNumber { major, minor } = entry.device;
        if let Some(weight) = entry.weight {
            let value = format!("{major}:{minor} {weight}");
            let setting = to.set("io", "io.bfq.weight", value, &format!("{place}/weight"));
            let value = format!("{major}:{minor} {}", io_weight(weight));
            setting.missing = Missing::Instead { file: Cow::Borrowed("io.weight"), value };
        }
        if entry.leaf_weight.is_some() {
            to.warn(&format!("{place}/leafWeight"), "cgroup v2 has no leaf weights");
        }
    }
    for (device, rates) in rates_by_device(io) {
        to.set("io", "io.max", format!("{}:{}{rates}", device.major, device.minor), "/blockIO");
    }
}

/// One line of io.max a device, in the order in which devices are first named.
fn rates_by_device(io: &BlockIo) -> Vec<(DeviceNumber, String)> {
    let mut lines: Vec<(DeviceNumber, String)> = Vec::new();
    for (list, key) in
        [(&io.read_bps, "rbps"), (&io.write_bps, "wbps"), (&io.read_iops, "riops"), (&io.write_iops, "wiops")]
    {
        for entry in list {
            let rate = word(if entry.rate == 0 { Limit::Max } else { Limit::Value(entry.rate) });
            let rate = format!(" {key}={rate}");
            match lines.iter_mut().find(|(device, _)| *device == entry.device) {
                Some((_, line)) => line.push_str(&rate),
                None => lines.push((entry.device, rate)),
            }
        }
    }
    lines
}

/// Files by name; a value of several lines is several commands.
fn unified(resources: &Resources, to: &mut Translation) {
    for entry in &resources.unified {
        for line in entry.value.lines() {
            to.settings.push(Setting {
                controller: Cow::Owned(entry.controller().to_owned()),
                file: Cow::Owned(entry.file.clone()),
                value: line.to_owned(),
                pointer: pointer(&json::join("/unified", &entry.file)),
                missing: Missing::Fail,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translation(json: &str) -> Result<Translation> {
        let (resources, _) = Resources::new(&serde_json::from_str(json).unwrap()).unwrap();
        translate(&resources)
    }

    fn lines(json: &str) -> Vec<String> {
        let one = |s: Setting| {
            let missing = match &s.missing {
                Missing::Fail => String::new(),
                Missing::Ignore => " (optional)".to_owned(),
                Missing::Instead { file, value } => format!(" (or {file}={value})"),
            };
            format!("{}={}{missing} {}", s.file, s.value, s.pointer.strip_prefix("/linux/resources").unwrap())
        };
        translation(json).unwrap().settings.into_iter().map(one).collect()
    }

    #[test]
    fn translate_memory_swap_is_counted_alone() {
        assert_eq!(
            lines(r#"{"memory":{"limit":1024,"swap":3072,"reservation":-1}}"#),
            [
                "memory.swap.max=2048 /memory/swap",
                "memory.max=1024 /memory/limit",
                "memory.low=max /memory/reservation",
            ]
        );
        assert_eq!(lines(r#"{"memory":{"limit":1024,"swap":1024}}"#)[0], "memory.swap.max=0 (optional) /memory/swap");
        assert_eq!(
            lines(r#"{"memory":{"limit":-1}}"#),
            ["memory.swap.max=max (optional) /memory/swap", "memory.max=max /memory/limit"]
        );
        assert_eq!(
            translation(r#"{"memory":{"swap":5}}"#).unwrap_err().pointer(),
            Some("/linux/resources/memory/swap")
        );
    }

    #[test]
    fn translate_cpu_every_field() {
        assert_eq!(
            lines(
                r#"{"cpu":{"shares":1024,"quota":50000,"period":100000,"burst":10,"cpus":"0-1","mems":"0","idle":0}}"#
            ),
            [
                "cpu.idle=0 (optional) /cpu/idle",
                "cpu.weight=100 /cpu/shares",
                "cpu.max=50000 100000 /cpu/quota",
                "cpu.max.burst=10 /cpu/burst",
                "cpuset.cpus=0-1 /cpu/cpus",
                "cpuset.mems=0 /cpu/mems",
            ]
        );
        assert_eq!(lines(r#"{"cpu":{"quota":-1}}"#), ["cpu.max=max /cpu/quota"]);
        assert_eq!(lines(r#"{"cpu":{"period":5000}}"#), ["cpu.max=max 5000 /cpu/period"]);
        assert_eq!(lines(r#"{"cpu":{"shares":5,"idle":1}}"#), ["cpu.idle=1 /cpu/idle"]);
        assert_eq!(lines(r#"{"cpu":{"burst":0}}"#), ["cpu.max.burst=0 (optional) /cpu/burst"]);
        assert_eq!(lines(r#"{"pids":{"limit":-1}}"#), ["pids.max=max /pids/limit"]);
    }

    #[test]
    fn weight_of_shares_meets_the_agreed_points() {
        for (shares, weight) in
            [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000), (100, 17), (512, 59)]
        {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        let weights: Vec<u64> = (2..=262_144).map(weight_of_shares).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn translate_block_io_joins_the_rates_of_a_device() {
        assert_eq!(
            lines(
                r#"{"blockIO":{"weight":1000,"weightDevice":[{"major":8,"minor":0,"weight":10}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}],
                "throttleWriteBpsDevice":[{"major":8,"minor":16,"rate":3}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":0}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":5}]}}"#
            ),
            [
                "io.bfq.weight=1000 (or io.weight=10000) /blockIO/weight",
                "io.bfq.weight=8:0 10 (or io.weight=8:0 1) /blockIO/weightDevice/0/weight",
                "io.max=8:0 rbps=1 riops=max wiops=5 /blockIO",
                "io.max=8:16 rbps=2 wbps=3 /blockIO",
            ]
        );
    }

    #[test]
    fn translate_others_every_field() {
        assert_eq!(
            lines(
                r#"{"pids":{"limit":0},"hugepageLimits":[{"pageSize":"1GB","limit":9}],"rdma":{"m":{"hcaHandles":3,"hcaObjects":4}},
                "unified":{"memory.high":"1G","io.max":"8:0 rbps=1\n8:16 rbps=2\n"}}"#
            ),
            [
                "pids.max=0 /pids/limit",
                "hugetlb.1GB.max=9 /hugepageLimits/0",
                "hugetlb.1GB.rsvd.max=9 (optional) /hugepageLimits/0",
                "rdma.max=m hca_handle=3 hca_object=4 /rdma/m",
                "io.max=8:0 rbps=1 /unified/io.max",
                "io.max=8:16 rbps=2 /unified/io.max",
                "memory.high=1G /unified/memory.high",
            ]
        );
    }

    #[test]
    fn translate_what_v2_lacks_is_refused_or_warned_about() {
        for (json, place) in [
            (r#"{"network":{"classID":5}}"#, "/linux/resources/network"),
            (r#"{"cpu":{"realtimeRuntime":5}}"#, "/linux/resources/cpu/realtimeRuntime"),
            (r#"{"cpu":{"realtimePeriod":5}}"#, "/linux/resources/cpu/realtimePeriod"),
            (r#"{"memory":{"swappiness":5}}"#, "/linux/resources/memory/swappiness"),
            (r#"{"memory":{"kernelTCP":5}}"#, "/linux/resources/memory/kernelTCP"),
            (r#"{"memory":{"disableOOMKiller":true}}"#, "/linux/resources/memory/disableOOMKiller"),
        ] {
            assert_eq!(translation(json).unwrap_err().pointer(), Some(place), "{json}");
        }
        let leaves = r#"{"blockIO":{"leafWeight":10,"weightDevice":[{"major":1,"minor":1,"leafWeight":10}]}}"#;
        let to = translation(leaves).unwrap();
        assert_eq!((to.settings.len(), to.warnings.len()), (0, 2));
    }
}
