//! `update` changes a configuration: what it names replaces what was there, everything else stays.
//!
//! What engines send for "not set" (null, 0 where 0 is no limit, an empty string) changes nothing. Entries for one
//! device, page size or interface replace the entry for the same one; device rules are replaced as a whole, because
//! their order matters.

use super::resources::{
    BlockIoConfig, CpuConfig, HugepageLimitConfig, MemoryConfig, NetworkConfig, PidsConfig, RdmaConfig,
    ResourcesConfig, ThrottleConfig, WeightDeviceConfig,
};

impl ResourcesConfig {
    /// Takes over what `change` sets.
    pub fn merge(&mut self, change: ResourcesConfig) {
        let ResourcesConfig { devices, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } = change;
        replace(&mut self.devices, devices);
        if let Some(memory) = memory {
            self.memory.get_or_insert_default().merge(memory);
        }
        if let Some(cpu) = cpu {
            self.cpu.get_or_insert_default().merge(cpu);
        }
        if let Some(PidsConfig { limit }) = pids {
            replace(&mut self.pids.get_or_insert_default().limit, limit);
        }
        if let Some(block_io) = block_io {
            self.block_io.get_or_insert_default().merge(block_io);
        }
        replace_entries(&mut self.hugepage_limits, hugepage_limits, |one, other: &HugepageLimitConfig| {
            one.page_size == other.page_size
        });
        if let Some(NetworkConfig { class_id, priorities }) = network {
            let network = self.network.get_or_insert_default();
            replace_set(&mut network.class_id, class_id);
            replace_entries(&mut network.priorities, priorities, |one, other| one.name == other.name);
        }
        for (name, RdmaConfig { hca_handles, hca_objects }) in rdma.into_iter().flatten() {
            let device = self.rdma.get_or_insert_default().entry(name).or_default();
            replace(&mut device.hca_handles, hca_handles);
            replace(&mut device.hca_objects, hca_objects);
        }
        if let Some(unified) = unified {
            self.unified.get_or_insert_default().extend(unified);
        }
    }
}

impl MemoryConfig {
    fn merge(&mut self, change: MemoryConfig) {
        // Memory without a limit below one of memory and swap together is no limit at all.
        let unlimited = change.limit == Some(-1) && change.swap.is_none_or(|swap| swap == 0);
        replace_set(&mut self.limit, change.limit);
        replace_set(&mut self.reservation, change.reservation);
        replace_set(&mut self.swap, if unlimited { Some(-1) } else { change.swap });
        replace_set(&mut self.kernel, change.kernel);
        replace_set(&mut self.kernel_tcp, change.kernel_tcp);
        replace(&mut self.swappiness, change.swappiness);
        replace(&mut self.disable_oom_killer, change.disable_oom_killer);
        replace(&mut self.use_hierarchy, change.use_hierarchy);
        replace(&mut self.check_before_update, change.check_before_update);
    }
}

impl CpuConfig {
    fn merge(&mut self, change: CpuConfig) {
        replace_set(&mut self.shares, change.shares);
        replace_set(&mut self.quota, change.quota);
        replace(&mut self.burst, change.burst);
        replace_set(&mut self.period, change.period);
        replace_set(&mut self.realtime_runtime, change.realtime_runtime);
        replace_set(&mut self.realtime_period, change.realtime_period);
        replace_set(&mut self.cpus, change.cpus);
        replace_set(&mut self.mems, change.mems);
        replace(&mut self.idle, change.idle);
    }
}

impl BlockIoConfig {
    fn merge(&mut self, change: BlockIoConfig) {
        let same = |one: &ThrottleConfig, other: &ThrottleConfig| (one.major, one.minor) == (other.major, other.minor);
        replace_set(&mut self.weight, change.weight);
        replace_set(&mut self.leaf_weight, change.leaf_weight);
        replace_entries(&mut self.weight_device, change.weight_device, |one, other: &WeightDeviceConfig| {
            (one.major, one.minor) == (other.major, other.minor)
        });
        replace_entries(&mut self.throttle_read_bps_device, change.throttle_read_bps_device, same);
        replace_entries(&mut self.throttle_write_bps_device, change.throttle_write_bps_device, same);
        replace_entries(&mut self.throttle_read_iops_device, change.throttle_read_iops_device, same);
        replace_entries(&mut self.throttle_write_iops_device, change.throttle_write_iops_device, same);
    }
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// As [`replace`], where the default value means "not set".
fn replace_set<T: Default + PartialEq>(old: &mut Option<T>, new: Option<T>) {
    replace(old, new.filter(|new| *new != T::default()));
}

fn replace_entries<T>(old: &mut Option<Vec<T>>, new: Option<Vec<T>>, same: impl Fn(&T, &T) -> bool) {
    for entry in new.into_iter().flatten() {
        let list = old.get_or_insert_default();
        match list.iter_mut().find(|old| same(old, &entry)) {
            Some(old) => *old = entry,
            None => list.push(entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn merged(old: Value, change: Value) -> Value {
        let mut config: ResourcesConfig = serde_json::from_value(old).unwrap();
        config.merge(serde_json::from_value(change).unwrap());
        serde_json::to_value(config).unwrap()
    }

    #[test]
    fn merge_nothing_changes_nothing_and_the_words_for_not_set_are_nothing() {
        let every: Value = json!({
            "devices": [{"allow": false}],
            "memory": {"limit": 5, "reservation": 4, "swap": 6, "kernel": 7, "kernelTCP": 8, "swappiness": 9,
                "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true},
            "cpu": {"shares": 1, "quota": 2, "burst": 3, "period": 4, "realtimeRuntime": 5, "realtimePeriod": 6,
                "cpus": "0", "mems": "0", "idle": 1},
            "pids": {"limit": 7},
            "blockIO": {"weight": 10, "leafWeight": 11, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}],
                "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 4}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
            "rdma": {"m": {"hcaHandles": 1, "hcaObjects": 2}},
            "unified": {"memory.high": "1"},
        });
        let unset = json!({
            "devices": null, "memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": null},
            "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "",
                "mems": ""},
            "pids": {}, "blockIO": {"weight": 0, "weightDevice": []}, "hugepageLimits": null, "network": {"classID": 0},
            "rdma": {}, "unified": {},
        });
        assert_eq!(merged(every.clone(), json!({})), every);
        assert_eq!(merged(every.clone(), unset), every);
        assert_eq!(merged(json!({}), every.clone()), every);
    }

    #[test]
    fn merge_entries_replace_those_for_the_same_thing() {
        let old = json!({
            "devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 3}],
            "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"priorities": [{"name": "lo", "priority": 1}]},
            "rdma": {"m": {"hcaHandles": 1}},
            "unified": {"memory.high": "1"},
            "pids": {"limit": 5},
        });
        let change = json!({
            "devices": [{"allow": true}],
            "blockIO": {"throttleReadBpsDevice":
                [{"major": 8, "minor": 0, "rate": 9}, {"major": 8, "minor": 16, "rate": 2}]},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 3}, {"pageSize": "2MB", "limit": 4}],
            "network": {"priorities": [{"name": "lo", "priority": 7}]},
            "rdma": {"m": {"hcaObjects": 2}, "n": {"hcaHandles": 3}},
            "unified": {"memory.low": "2"},
            "pids": {"limit": 0},
        });
        assert_eq!(
            merged(old, change),
            json!({
                "devices": [{"allow": true}],
                "blockIO": {"throttleReadBpsDevice":
                    [{"major": 8, "minor": 0, "rate": 9}, {"major": 8, "minor": 16, "rate": 2}]},
                "hugepageLimits": [{"pageSize": "2MB", "limit": 4}, {"pageSize": "1GB", "limit": 3}],
                "network": {"priorities": [{"name": "lo", "priority": 7}]},
                "rdma": {"m": {"hcaHandles": 1, "hcaObjects": 2}, "n": {"hcaHandles": 3}},
                "unified": {"memory.high": "1", "memory.low": "2"},
                "pids": {"limit": 0},
            })
        );
    }

    #[test]
    fn merge_memory_without_a_limit_takes_swap_along() {
        let old = json!({"memory": {"limit": 5, "swap": 6}});
        assert_eq!(merged(old.clone(), json!({"memory": {"limit": -1}})), json!({"memory": {"limit": -1, "swap": -1}}));
        assert_eq!(merged(old, json!({"memory": {"limit": 6}})), json!({"memory": {"limit": 6, "swap": 6}}));
    }
}
