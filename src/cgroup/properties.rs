//! Resources as properties of a unit (org.freedesktop.systemd1(5), systemd.resource-control(5)). Pure.
//!
//! The files are written all the same, exactly; systemd is told so that it shows the limits and keeps them when it
//! writes the files of all units anew.

mod devices;
mod unified;

pub(super) use devices::with_resets;

use super::record::Version;
use super::v2;
use crate::error::Result;
use crate::plan::resources::value::Value;
use crate::plan::resources::{BlockIo, Cpu, Limit, Property, Resources, Scope, Throttle};

/// A property, and the first version of systemd that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnitProperty {
    pub property: Property,
    pub since: u32,
}

/// No version of systemd is older where this program runs.
const ALWAYS: u32 = 219;

fn set(to: &mut Vec<UnitProperty>, since: u32, name: &str, value: Value) {
    to.push(UnitProperty { property: Property { name: name.to_owned(), value }, since });
}

/// Everything for a scope around the process `pid`. What an annotation says replaces what would be said without.
pub(super) fn of_scope(scope: &Scope, resources: &Resources, version: Version, pid: u32) -> Result<Vec<UnitProperty>> {
    let mut all = Vec::new();
    set(&mut all, ALWAYS, "Description", Value::text(&scope.description));
    set(&mut all, ALWAYS, "Slice", Value::text(&scope.slice));
    set(&mut all, ALWAYS, "PIDs", Value::array("u", vec![Value::Uint32(pid)]));
    set(&mut all, ALWAYS, "DefaultDependencies", Value::Bool(false));
    // What is below the unit is the container's; systemd hands down its controllers.
    set(&mut all, ALWAYS, "Delegate", Value::Bool(true));
    // A unit that failed is forgotten too, so that its name is free.
    set(&mut all, 236, "CollectMode", Value::text("inactive-or-failed"));
    for accounting in ["CPUAccounting", "MemoryAccounting", "TasksAccounting"] {
        set(&mut all, 227, accounting, Value::Bool(true));
    }
    let io = if version == Version::V2 { "IOAccounting" } else { "BlockIOAccounting" };
    set(&mut all, 230, io, Value::Bool(true));
    all.extend(of_resources(resources, version)?);
    // systemd writes memory.oom.group by this whenever it writes another file of the controller, and lets nobody change
    // it later.
    if let Some(group) = resources.unified.iter().find(|entry| entry.file == "memory.oom.group") {
        let policy = if group.value.trim() == "1" { "kill" } else { "continue" };
        set(&mut all, 253, "OOMPolicy", Value::text(policy));
    }
    all.retain(|entry| !scope.properties.iter().any(|asked| asked.name == entry.property.name));
    all.extend(scope.properties.iter().map(|asked| UnitProperty { property: asked.clone(), since: ALWAYS }));
    Ok(all)
}

/// The limits that systemd has properties for.
pub(super) fn of_resources(resources: &Resources, version: Version) -> Result<Vec<UnitProperty>> {
    let mut all = Vec::new();
    let memory = &resources.memory;
    if let Some(limit) = memory.limit {
        set(&mut all, 231, "MemoryMax", number(limit));
    }
    if version == Version::V2 {
        if let Some(limit) = memory.reservation {
            set(&mut all, 231, "MemoryLow", number(limit));
        }
        if let Some(limit) = v2::swap(memory)? {
            set(&mut all, 232, "MemorySwapMax", number(limit));
        }
    }
    cpu(&resources.cpu, version, &mut all);
    if let Some(limit) = resources.pids {
        set(&mut all, 227, "TasksMax", at_least_one(limit));
    }
    block_io(&resources.block_io, version, &mut all);
    if let (Version::V1, Some(rules)) = (version, &resources.devices) {
        devices::rules(rules, &mut all);
    }
    for entry in &resources.unified {
        for (name, since, value) in unified::of_file(&entry.file, &entry.value) {
            // systemd.resource-control(5) has the specification's own field under the same name: the file wins.
            all.retain(|other| other.property.name != name);
            set(&mut all, since, name, value);
        }
    }
    Ok(all)
}

/// What `after` has and `before` has not, or not so.
pub(super) fn changed(before: &[UnitProperty], after: Vec<UnitProperty>) -> Vec<UnitProperty> {
    after.into_iter().filter(|entry| !before.contains(entry)).collect()
}

/// What takes `changed` back to `before`; a property that was not set is unset.
pub(super) fn undo(changed: &[UnitProperty], before: &[UnitProperty]) -> Vec<UnitProperty> {
    let one = |new: &UnitProperty| {
        let name = &new.property.name;
        before.iter().find(|old| old.property.name == *name).cloned().unwrap_or_else(|| {
            let value = match &new.property.value {
                // An empty assignment empties a list.
                Value::Array { element, .. } => Value::array(element, Vec::new()),
                _ if matches!(name.as_str(), "MemoryLow" | "MemoryMin") => Value::Uint64(0),
                // Infinity, which for weights and periods means that there is none.
                _ => number(Limit::Max),
            };
            UnitProperty { property: Property { name: name.clone(), value }, since: new.since }
        })
    };
    changed.iter().map(one).collect()
}

fn number(limit: Limit) -> Value {
    Value::Uint64(match limit {
        Limit::Max => u64::MAX,
        Limit::Value(value) => value,
    })
}

/// No unit can do without any task or memory, says systemd.
fn at_least_one(limit: Limit) -> Value {
    number(if limit == Limit::Value(0) { Limit::Value(1) } else { limit })
}

fn cpu(cpu: &Cpu, version: Version, to: &mut Vec<UnitProperty>) {
    match (version, cpu.idle, cpu.shares) {
        (Version::V2, Some(true), _) => set(to, 252, "CPUWeight", Value::Uint64(0)),
        (Version::V2, _, Some(shares)) => set(to, 232, "CPUWeight", Value::Uint64(v2::weight_of_shares(shares))),
        // Idle no more, after an update: no weight of its own.
        (Version::V2, Some(false), None) => set(to, 252, "CPUWeight", number(Limit::Max)),
        (Version::V1, _, Some(shares)) => set(to, ALWAYS, "CPUShares", Value::Uint64(shares)),
        (_, _, None) => {}
    }
    if let Some(period) = cpu.period {
        set(to, 242, "CPUQuotaPeriodUSec", Value::Uint64(period));
    }
    match cpu.quota {
        Some(Limit::Max) => set(to, ALWAYS, "CPUQuotaPerSecUSec", Value::Uint64(u64::MAX)),
        Some(Limit::Value(quota)) => {
            let share = rate_per_second(quota, cpu.period.unwrap_or(DEFAULT_PERIOD));
            set(to, ALWAYS, "CPUQuotaPerSecUSec", Value::Uint64(share));
        }
        None => {}
    }
    for (list, name) in [(&cpu.cpus, "AllowedCPUs"), (&cpu.mems, "AllowedMemoryNodes")] {
        if let Some(mask) = list.as_deref().and_then(bit_mask) {
            set(to, 244, name, Value::bytes(&mask));
        }
    }
}

/// Microseconds of a second that `quota` in each `period` is.
fn rate_per_second(quota: u64, period: u64) -> u64 {
    let share = (u128::from(quota) * 1_000_000).div_ceil(u128::from(period.max(1)));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// Microseconds, as the kernel has it.
const DEFAULT_PERIOD: u64 = 100_000;

/// More than any kernel can have (CONFIG_NR_CPUS ends at 8192).
const MOST_CPUS: usize = 1 << 13;

/// `0-3,7` as bits, the lowest in the first byte. A list that is none is for the kernel to refuse.
fn bit_mask(list: &str) -> Option<Vec<u8>> {
    let mut mask: Vec<u8> = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last < first || last >= MOST_CPUS {
            return None;
        }
        mask.resize(mask.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            *mask.get_mut(bit / 8)? |= 1 << (bit % 8);
        }
    }
    Some(mask)
}

fn block_io(io: &BlockIo, version: Version, to: &mut Vec<UnitProperty>) {
    if version == Version::V1 {
        if let Some(weight) = io.weight {
            set(to, ALWAYS, "BlockIOWeight", Value::Uint64(u64::from(weight)));
        }
        return;
    }
    if let Some(weight) = io.weight {
        set(to, 230, "IOWeight", Value::Uint64(v2::io_weight(weight)));
    }
    let weights: Vec<Value> = io
        .weight_devices
        .iter()
        .filter_map(|entry| Some(per_device(entry.device.major, entry.device.minor, v2::io_weight(entry.weight?))))
        .collect();
    if !weights.is_empty() {
        set(to, 230, "IODeviceWeight", Value::array("(st)", weights));
    }
    for (list, name) in [
        (&io.read_bps, "IOReadBandwidthMax"),
        (&io.write_bps, "IOWriteBandwidthMax"),
        (&io.read_iops, "IOReadIOPSMax"),
        (&io.write_iops, "IOWriteIOPSMax"),
    ] {
        if !list.is_empty() {
            set(to, 230, name, Value::array("(st)", list.iter().map(rate).collect()));
        }
    }
}

fn rate(entry: &Throttle) -> Value {
    per_device(entry.device.major, entry.device.minor, if entry.rate == 0 { u64::MAX } else { entry.rate })
}

/// systemd reads the numbers from this path, whether or not the node is there.
fn per_device(major: u32, minor: u32, value: u64) -> Value {
    Value::Struct(vec![Value::Text(format!("/dev/block/{major}:{minor}")), Value::Uint64(value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One property a line: `Name=value`.
    fn lines(json: &str, version: Version) -> Vec<String> {
        let (resources, _) = Resources::new(&serde_json::from_str(json).unwrap()).unwrap();
        of_resources(&resources, version).unwrap().iter().map(line).collect()
    }

    fn line(entry: &UnitProperty) -> String {
        format!("{}={}", entry.property.name, show(&entry.property.value))
    }

    fn show(value: &Value) -> String {
        match value {
            Value::Uint64(u64::MAX) => "infinity".to_owned(),
            Value::Uint64(n) => n.to_string(),
            Value::Uint32(n) => n.to_string(),
            Value::Byte(n) => format!("{n:02x}"),
            Value::Bool(b) => b.to_string(),
            Value::Text(text) => text.clone(),
            Value::Array { items, .. } => items.iter().map(show).collect::<Vec<_>>().join(" "),
            Value::Struct(fields) => fields.iter().map(show).collect::<Vec<_>>().join(":"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn of_resources_memory() {
        let json = r#"{"memory":{"limit":1024,"reservation":-1,"swap":3072}}"#;
        assert_eq!(lines(json, Version::V2), ["MemoryMax=1024", "MemoryLow=infinity", "MemorySwapMax=2048"]);
        assert_eq!(lines(json, Version::V1), ["MemoryMax=1024"]);
        assert_eq!(lines(r#"{"memory":{"limit":-1}}"#, Version::V2), ["MemoryMax=infinity", "MemorySwapMax=infinity"]);
    }

    #[test]
    fn of_resources_cpu() {
        let json = r#"{"cpu":{"shares":1024,"quota":50000,"period":200000,"cpus":"0-1,9","mems":"0"}}"#;
        assert_eq!(
            lines(json, Version::V2),
            [
                "CPUWeight=100",
                "CPUQuotaPeriodUSec=200000",
                "CPUQuotaPerSecUSec=250000",
                "AllowedCPUs=03 02",
                "AllowedMemoryNodes=01"
            ]
        );
        assert_eq!(lines(json, Version::V1)[0], "CPUShares=1024");
        assert_eq!(lines(r#"{"cpu":{"quota":-1}}"#, Version::V2), ["CPUQuotaPerSecUSec=infinity"]);
        assert_eq!(lines(r#"{"cpu":{"quota":33333}}"#, Version::V2), ["CPUQuotaPerSecUSec=333330"]);
        assert_eq!(lines(r#"{"cpu":{"idle":1,"shares":5}}"#, Version::V2), ["CPUWeight=0"]);
        assert_eq!(lines(r#"{"cpu":{"idle":0}}"#, Version::V2), ["CPUWeight=infinity"]);
        assert_eq!(lines(r#"{"cpu":{"burst":1,"cpus":"7-3"}}"#, Version::V2), [""; 0]);
        assert_eq!(lines(r#"{"cpu":{"cpus":"99999999"}}"#, Version::V2), [""; 0]);
    }

    #[test]
    fn of_resources_pids_at_least_one() {
        assert_eq!(lines(r#"{"pids":{"limit":0}}"#, Version::V2), ["TasksMax=1"]);
        assert_eq!(lines(r#"{"pids":{"limit":7}}"#, Version::V1), ["TasksMax=7"]);
        assert_eq!(lines(r#"{"pids":{"limit":-1}}"#, Version::V2), ["TasksMax=infinity"]);
    }

    #[test]
    fn of_resources_block_io() {
        let json = r#"{"blockIO":{"weight":1000,"leafWeight":10,
            "weightDevice":[{"major":8,"minor":0,"weight":10},{"major":8,"minor":1,"leafWeight":10}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":0}],
            "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":2}],
            "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":3}],
            "throttleWriteIOPSDevice":[{"major":8,"minor":0,"rate":4}]}}"#;
        assert_eq!(
            lines(json, Version::V2),
            [
                "IOWeight=10000",
                "IODeviceWeight=/dev/block/8:0:1",
                "IOReadBandwidthMax=/dev/block/8:0:1 /dev/block/8:16:infinity",
                "IOWriteBandwidthMax=/dev/block/8:0:2",
                "IOReadIOPSMax=/dev/block/8:0:3",
                "IOWriteIOPSMax=/dev/block/8:0:4",
            ]
        );
        assert_eq!(lines(json, Version::V1), ["BlockIOWeight=1000"]);
    }

    #[test]
    fn of_resources_unified_files_with_a_property() {
        let json = r#"{"memory":{"limit":5},"unified":{"memory.max":"max","memory.high":"1G","memory.low":"4096","memory.min":"1k",
            "memory.swap.max":"2m","memory.zswap.max":"0","pids.max":"5","cpu.weight":"7","cpuset.cpus":"1","cpuset.mems":"0",
            "cpu.max":"50000 200000","memory.oom.group":"1","hugetlb.2MB.max":"1","memory.zswap.writeback":"0",
            "io.weight":"default 50\n8:0 20","io.max":"8:0 rbps=1 wiops=max\n8:16 rbps=2"}}"#;
        let mut found = lines(json, Version::V2);
        found.sort();
        assert_eq!(
            found,
            [
                "AllowedCPUs=02",
                "AllowedMemoryNodes=01",
                "CPUQuotaPerSecUSec=250000",
                "CPUQuotaPeriodUSec=200000",
                "CPUWeight=7",
                "IODeviceWeight=/dev/block/8:0:20",
                "IOReadBandwidthMax=/dev/block/8:0:1 /dev/block/8:16:2",
                "IOWeight=50",
                "IOWriteIOPSMax=/dev/block/8:0:infinity",
                "MemoryHigh=1073741824",
                "MemoryLow=4096",
                "MemoryMax=infinity",
                "MemoryMin=1024",
                "MemorySwapMax=2097152",
                "MemoryZSwapMax=0",
                "MemoryZSwapWriteback=false",
                "TasksMax=5",
            ]
        );
    }

    #[test]
    fn of_resources_unified_values_are_what_systemd_takes() {
        for (file, value, expected) in [
            ("pids.max", "0", vec!["TasksMax=1"]),
            ("memory.high", "0", vec!["MemoryHigh=1"]),
            ("memory.low", "0", vec!["MemoryLow=0"]),
            ("cpu.max", "max", vec!["CPUQuotaPerSecUSec=infinity"]),
            ("cpu.max", "25000", vec!["CPUQuotaPerSecUSec=250000"]),
            ("cpu.idle", "1", vec!["CPUWeight=0"]),
            ("io.weight", "7", vec!["IOWeight=7"]),
            // For the kernel to refuse or to understand.
            ("memory.high", "0x10", vec![]),
            ("cpu.weight", "10001", vec![]),
            ("cpu.max", "0", vec![]),
            ("cpu.max", "1 2 3", vec![]),
            ("cpu.idle", "2", vec![]),
            ("io.weight", "8:0 0", vec![]),
            ("io.weight", "other 5", vec![]),
            ("io.max", "8 rbps=1", vec![]),
            ("io.max", "8:0 rbps", vec![]),
            ("io.max", "8:0 what=1", vec![]),
        ] {
            let json = format!(r#"{{"unified":{{"{file}":"{value}"}}}}"#);
            assert_eq!(lines(&json, Version::V2), expected, "{json}");
        }
    }

    #[test]
    fn of_resources_device_rules_on_v1_only() {
        let json = r#"{"devices":[{"allow":false},{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"},
            {"allow":true,"type":"b","major":8,"access":"r"},{"allow":true,"type":"c","minor":3,"access":"w"}]}"#;
        let v1 = lines(json, Version::V1);
        assert_eq!(v1[0], "DevicePolicy=strict");
        let allowed: Vec<&str> = v1[1].strip_prefix("DeviceAllow=").unwrap().split(' ').collect();
        for rule in ["/dev/char/10:200:rw", "block-8:r", "char-*:m", "/dev/char/1:3:rwm", "char-136:rwm"] {
            assert!(allowed.contains(&rule), "{rule} in {allowed:?}");
        }
        assert!(!v1[1].contains(":w"), "systemd has no words for it: {allowed:?}");
        assert_eq!(lines(r#"{"devices":[{"allow":true}]}"#, Version::V1), ["DevicePolicy=auto", "DeviceAllow="]);
        assert_eq!(lines(json, Version::V2), [""; 0]);
        let (resources, _) = Resources::new(&serde_json::from_str(json).unwrap()).unwrap();
        let set = with_resets(of_resources(&resources, Version::V1).unwrap());
        assert_eq!(
            set.iter().map(|entry| entry.property.name.as_str()).collect::<Vec<_>>(),
            ["DevicePolicy", "DeviceAllow", "DeviceAllow"]
        );
        assert_eq!(line(&set[1]), "DeviceAllow=");
    }

    #[test]
    fn of_resources_what_systemd_cannot_say_is_left_to_files() {
        let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":1}],"rdma":{"m":{"hcaHandles":3}},
            "network":{"classID":5},"memory":{"swappiness":5,"kernelTCP":5}}"#;
        assert_eq!(lines(json, Version::V1), [""; 0]);
    }

    #[test]
    fn undo_takes_changes_back() {
        let of = |json: &str| {
            let (resources, _) = Resources::new(&serde_json::from_str(json).unwrap()).unwrap();
            of_resources(&resources, Version::V2).unwrap()
        };
        let before = of(r#"{"memory":{"limit":5},"pids":{"limit":7}}"#);
        let after = of(r#"{"memory":{"limit":6,"reservation":1},"pids":{"limit":7},"cpu":{"shares":5,"cpus":"0"}}"#);
        let changed = changed(&before, after);
        let show = |list: &[UnitProperty]| list.iter().map(line).collect::<Vec<_>>();
        assert_eq!(show(&changed), ["MemoryMax=6", "MemoryLow=1", "CPUWeight=2", "AllowedCPUs=01"]);
        assert_eq!(
            show(&undo(&changed, &before)),
            ["MemoryMax=5", "MemoryLow=0", "CPUWeight=infinity", "AllowedCPUs="]
        );
    }

    #[test]
    fn of_scope_kills_as_a_group_what_the_kernel_shall() {
        for (value, expected) in [("1", "OOMPolicy=kill"), ("0", "OOMPolicy=continue")] {
            let json = format!(r#"{{"unified":{{"memory.oom.group":"{value}"}}}}"#);
            let (resources, _) = Resources::new(&serde_json::from_str(&json).unwrap()).unwrap();
            let all = of_scope(&Scope::default(), &resources, Version::V2, 42).unwrap();
            assert!(all.iter().map(line).any(|line| line == expected), "{expected}");
        }
    }

    #[test]
    fn of_scope_what_annotations_say_replaces() {
        let description = Property { name: "Description".to_owned(), value: Value::text("mine") };
        let scope = Scope {
            unit: "a.scope".to_owned(),
            slice: "b.slice".to_owned(),
            description: "coracle container a".to_owned(),
            properties: vec![description],
            ..Scope::default()
        };
        let all = of_scope(&scope, &Resources::default(), Version::V2, 42).unwrap();
        assert_eq!(
            all.iter().map(line).collect::<Vec<_>>(),
            [
                "Slice=b.slice",
                "PIDs=42",
                "DefaultDependencies=false",
                "Delegate=true",
                "CollectMode=inactive-or-failed",
                "CPUAccounting=true",
                "MemoryAccounting=true",
                "TasksAccounting=true",
                "IOAccounting=true",
                "Description=mine",
            ]
        );
    }
}
