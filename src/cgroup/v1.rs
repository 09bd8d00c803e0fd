//! Resources as files of cgroup v1 (Documentation/admin-guide/cgroup-v1). Pure.

use std::borrow::Cow;

use super::setting::{Missing, Translation, pointer};
use crate::error::{Error, Kind, Result};
use crate::plan::resources::{BlockIo, Cpu, Limit, Memory, Resources, Throttle};
use crate::pointer as json;

/// The settings for `resources`, without its devices.
pub(super) fn translate(resources: &Resources) -> Result<Translation> {
    if let Some(setting) = resources.unified.first() {
        return Err(Error::new(Kind::Unsupported, "files of cgroup v2 need a host that has it mounted")
            .at(pointer(&json::join("/unified", &setting.file))));
    }
    let mut to = Translation::default();
    memory(&resources.memory, &mut to);
    cpu(&resources.cpu, &mut to);
    if let Some(limit) = resources.pids {
        to.set("pids", "pids.max", word(limit), "/pids/limit");
    }
    block_io(&resources.block_io, &mut to);
    for (index, huge) in resources.hugepages.iter().enumerate() {
        let place = json::index("/hugepageLimits", index);
        let size = &huge.page_size;
        to.set("hugetlb", format!("hugetlb.{size}.limit_in_bytes"), huge.limit, &place);
        // Since Linux 5.7.
        to.set("hugetlb", format!("hugetlb.{size}.rsvd.limit_in_bytes"), huge.limit, &place).missing = Missing::Ignore;
    }
    if let Some(id) = resources.network.class_id {
        to.set("net_cls", "net_cls.classid", id, "/network/classID");
    }
    for (index, entry) in resources.network.priorities.iter().enumerate() {
        let value = format!("{} {}", entry.interface, entry.priority);
        to.set("net_prio", "net_prio.ifpriomap", value, &json::index("/network/priorities", index));
    }
    rdma(resources, &mut to);
    Ok(to)
}

fn memory(memory: &Memory, to: &mut Translation) {
    if memory.use_hierarchy {
        to.set("memory", "memory.use_hierarchy", 1, "/memory/useHierarchy");
    }
    if memory.limit == Some(Limit::Max) && memory.swap.is_none() {
        // Memory alone cannot pass the limit of both together; kernels without swap accounting lack the file.
        to.set("memory", "memory.memsw.limit_in_bytes", -1, "/memory/limit").missing = Missing::Ignore;
    }
    if let Some(limit) = memory.limit {
        to.set("memory", "memory.limit_in_bytes", number(limit), "/memory/limit");
    }
    if let Some(limit) = memory.swap {
        to.set("memory", "memory.memsw.limit_in_bytes", number(limit), "/memory/swap");
    }
    if let Some(limit) = memory.reservation {
        to.set("memory", "memory.soft_limit_in_bytes", number(limit), "/memory/reservation");
    }
    if let Some(limit) = memory.kernel_tcp {
        to.set("memory", "memory.kmem.tcp.limit_in_bytes", number(limit), "/memory/kernelTCP");
    }
    if memory.disable_oom_killer {
        to.set("memory", "memory.oom_control", 1, "/memory/disableOOMKiller");
    }
    if let Some(swappiness) = memory.swappiness {
        to.set("memory", "memory.swappiness", swappiness, "/memory/swappiness");
    }
}

fn cpu(cpu: &Cpu, to: &mut Translation) {
    if let Some(period) = cpu.realtime_period {
        to.set("cpu", "cpu.rt_period_us", period, "/cpu/realtimePeriod");
    }
    if let Some(runtime) = cpu.realtime_runtime {
        to.set("cpu", "cpu.rt_runtime_us", runtime, "/cpu/realtimeRuntime");
    }
    if let Some(idle) = cpu.idle {
        let setting = to.set("cpu", "cpu.idle", u8::from(idle), "/cpu/idle");
        if !idle {
            setting.missing = Missing::Ignore;
        }
    }
    // An idle group has no shares of its own, and the kernel refuses to set them.
    if let Some(shares) = cpu.shares.filter(|_| cpu.idle != Some(true)) {
        to.set("cpu", "cpu.shares", shares, "/cpu/shares");
    }
    if let Some(period) = cpu.period {
        to.set("cpu", "cpu.cfs_period_us", period, "/cpu/period");
    }
    if let Some(quota) = cpu.quota {
        to.set("cpu", "cpu.cfs_quota_us", number(quota), "/cpu/quota");
    }
    if let Some(burst) = cpu.burst {
        let setting = to.set("cpu", "cpu.cfs_burst_us", burst, "/cpu/burst");
        if burst == 0 {
            setting.missing = Missing::Ignore;
        }
    }
    cpuset(cpu, to);
}

/// The files have the same names on v2.
pub(super) fn cpuset(cpu: &Cpu, to: &mut Translation) {
    if let Some(cpus) = &cpu.cpus {
        to.set("cpuset", "cpuset.cpus", cpus, "/cpu/cpus");
    }
    if let Some(mems) = &cpu.mems {
        to.set("cpuset", "cpuset.mems", mems, "/cpu/mems");
    }
}

fn block_io(io: &BlockIo, to: &mut Translation) {
    if let Some(weight) = io.weight {
        let setting = to.set("blkio", "blkio.weight", weight, "/blockIO/weight");
        setting.missing = Missing::Instead { file: Cow::Borrowed("blkio.bfq.weight"), value: weight.to_string() };
    }
    if let Some(weight) = io.leaf_weight {
        to.set("blkio", "blkio.leaf_weight", weight, "/blockIO/leafWeight");
    }
    for (index, entry) in io.weight_devices.iter().enumerate() {
        let place = json::index("/blockIO/weightDevice", index);
        let device = format!("{}:{}", entry.device.major, entry.device.minor);
        if let Some(weight) = entry.weight {
            let value = format!("{device} {weight}");
            let setting = to.set("blkio", "blkio.weight_device", &value, &format!("{place}/weight"));
            setting.missing = Missing::Instead { file: Cow::Borrowed("blkio.bfq.weight_device"), value };
        }
        if let Some(weight) = entry.leaf_weight {
            to.set("blkio", "blkio.leaf_weight_device", format!("{device} {weight}"), &format!("{place}/leafWeight"));
        }
    }
    throttles(&io.read_bps, "blkio.throttle.read_bps_device", "/blockIO/throttleReadBpsDevice", to);
    throttles(&io.write_bps, "blkio.throttle.write_bps_device", "/blockIO/throttleWriteBpsDevice", to);
    throttles(&io.read_iops, "blkio.throttle.read_iops_device", "/blockIO/throttleReadIOPSDevice", to);
    throttles(&io.write_iops, "blkio.throttle.write_iops_device", "/blockIO/throttleWriteIOPSDevice", to);
}

fn throttles(list: &[Throttle], file: &'static str, place: &str, to: &mut Translation) {
    for (index, entry) in list.iter().enumerate() {
        let value = format!("{}:{} {}", entry.device.major, entry.device.minor, entry.rate);
        to.set("blkio", file, value, &json::index(place, index));
    }
}

/// The same file and format in both versions.
pub(super) fn rdma(resources: &Resources, to: &mut Translation) {
    for entry in &resources.rdma {
        let mut value = entry.device.clone();
        if let Some(handles) = entry.hca_handles {
            value.push_str(&format!(" hca_handle={handles}"));
        }
        if let Some(objects) = entry.hca_objects {
            value.push_str(&format!(" hca_object={objects}"));
        }
        to.set("rdma", "rdma.max", value, &json::join("/rdma", &entry.device));
    }
}

/// -1 is what most v1 files call no limit.
fn number(limit: Limit) -> String {
    match limit {
        Limit::Max => "-1".to_owned(),
        Limit::Value(value) => value.to_string(),
    }
}

/// pids.max and all of v2 call it `max`.
pub(super) fn word(limit: Limit) -> String {
    match limit {
        Limit::Max => "max".to_owned(),
        Limit::Value(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: &str) -> Vec<String> {
        let (resources, _) = Resources::new(&serde_json::from_str(json).unwrap()).unwrap();
        let one = |s: super::super::setting::Setting| {
            let missing = match &s.missing {
                Missing::Fail => String::new(),
                Missing::Ignore => " (optional)".to_owned(),
                Missing::Instead { file, value } => format!(" (or {file}={value})"),
            };
            let place = s.pointer.strip_prefix("/linux/resources").unwrap();
            format!("{} {}={}{missing} {place}", s.controller, s.file, s.value)
        };
        translate(&resources).unwrap().settings.into_iter().map(one).collect()
    }

    #[test]
    fn translate_memory_every_field() {
        assert_eq!(
            lines(
                r#"{"memory":{"limit":1024,"swap":2048,"reservation":512,"kernelTCP":100,"swappiness":0,
                    "disableOOMKiller":true,"useHierarchy":true}}"#
            ),
            [
                "memory memory.use_hierarchy=1 /memory/useHierarchy",
                "memory memory.limit_in_bytes=1024 /memory/limit",
                "memory memory.memsw.limit_in_bytes=2048 /memory/swap",
                "memory memory.soft_limit_in_bytes=512 /memory/reservation",
                "memory memory.kmem.tcp.limit_in_bytes=100 /memory/kernelTCP",
                "memory memory.oom_control=1 /memory/disableOOMKiller",
                "memory memory.swappiness=0 /memory/swappiness",
            ]
        );
    }

    #[test]
    fn translate_unlimited_memory_unlimits_swap_first() {
        assert_eq!(
            lines(r#"{"memory":{"limit":-1}}"#),
            [
                "memory memory.memsw.limit_in_bytes=-1 (optional) /memory/limit",
                "memory memory.limit_in_bytes=-1 /memory/limit"
            ]
        );
    }

    #[test]
    fn translate_cpu_every_field() {
        assert_eq!(
            lines(
                r#"{"cpu":{"shares":512,"quota":-1,"period":100000,"burst":0,"realtimeRuntime":10,"realtimePeriod":20,
                    "cpus":"0-1","mems":"0","idle":0}}"#
            ),
            [
                "cpu cpu.rt_period_us=20 /cpu/realtimePeriod",
                "cpu cpu.rt_runtime_us=10 /cpu/realtimeRuntime",
                "cpu cpu.idle=0 (optional) /cpu/idle",
                "cpu cpu.shares=512 /cpu/shares",
                "cpu cpu.cfs_period_us=100000 /cpu/period",
                "cpu cpu.cfs_quota_us=-1 /cpu/quota",
                "cpu cpu.cfs_burst_us=0 (optional) /cpu/burst",
                "cpuset cpuset.cpus=0-1 /cpu/cpus",
                "cpuset cpuset.mems=0 /cpu/mems",
            ]
        );
        assert_eq!(lines(r#"{"cpu":{"shares":512,"idle":1}}"#), ["cpu cpu.idle=1 /cpu/idle"]);
    }

    #[test]
    fn translate_block_io_every_field() {
        assert_eq!(
            lines(
                r#"{"blockIO":{"weight":10,"leafWeight":20,"weightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":300}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":3}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":0}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":5}]}}"#
            ),
            [
                "blkio blkio.weight=10 (or blkio.bfq.weight=10) /blockIO/weight",
                "blkio blkio.leaf_weight=20 /blockIO/leafWeight",
                "blkio blkio.weight_device=8:0 500 (or blkio.bfq.weight_device=8:0 500) /blockIO/weightDevice/0/weight",
                "blkio blkio.leaf_weight_device=8:0 300 /blockIO/weightDevice/0/leafWeight",
                "blkio blkio.throttle.read_bps_device=8:0 1 /blockIO/throttleReadBpsDevice/0",
                "blkio blkio.throttle.read_bps_device=8:16 2 /blockIO/throttleReadBpsDevice/1",
                "blkio blkio.throttle.write_bps_device=8:0 3 /blockIO/throttleWriteBpsDevice/0",
                "blkio blkio.throttle.read_iops_device=8:0 0 /blockIO/throttleReadIOPSDevice/0",
                "blkio blkio.throttle.write_iops_device=8:0 5 /blockIO/throttleWriteIOPSDevice/0",
            ]
        );
    }

    #[test]
    fn translate_others_every_field() {
        assert_eq!(
            lines(
                r#"{"pids":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":9}],
                "network":{"classID":1048577,"priorities":[{"name":"eth0","priority":5}]},
                "rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":4},"mlx5_2":{"hcaObjects":6}}}"#
            ),
            [
                "pids pids.max=max /pids/limit",
                "hugetlb hugetlb.2MB.limit_in_bytes=9 /hugepageLimits/0",
                "hugetlb hugetlb.2MB.rsvd.limit_in_bytes=9 (optional) /hugepageLimits/0",
                "net_cls net_cls.classid=1048577 /network/classID",
                "net_prio net_prio.ifpriomap=eth0 5 /network/priorities/0",
                "rdma rdma.max=mlx5_1 hca_handle=3 hca_object=4 /rdma/mlx5_1",
                "rdma rdma.max=mlx5_2 hca_object=6 /rdma/mlx5_2",
            ]
        );
    }

    #[test]
    fn translate_unified_is_refused() {
        let config = serde_json::from_str(r#"{"unified":{"memory.high":"1"}}"#).unwrap();
        let (resources, _) = Resources::new(&config).unwrap();
        assert_eq!(translate(&resources).unwrap_err().pointer(), Some("/linux/resources/unified/memory.high"));
    }
}
