//! A set of resources into the control files of a cgroup: divided between the hierarchies, translated, written.

use super::record::Record;
use super::setting::{Translation, write_all};
use super::{devices, v1, v2};
use crate::error::{Result, Warning};
use crate::plan::resources::{Cpu, Resources};

/// Writes `resources` into the cgroup of `record`, which leaves alone what is not set. One that `existed` may have
/// device rules already.
pub(super) fn apply(record: &Record, resources: &Resources, existed: bool) -> Result<Vec<Warning>> {
    let Translation { settings, warnings } = translate(record, resources)?;
    write_all(record, settings)?;
    if let Some(set) = &resources.devices {
        devices::apply(record, set, existed)?;
    }
    Ok(warnings)
}

/// The settings for the hierarchies that `record` has.
pub(super) fn translate(record: &Record, resources: &Resources) -> Result<Translation> {
    let (for_v1, for_v2) = split(record, resources);
    let mut translation = v1::translate(&for_v1)?;
    let Translation { settings, warnings } = v2::translate(&for_v2)?;
    translation.settings.extend(settings);
    translation.warnings.extend(warnings);
    Ok(translation)
}

/// Divides `resources` between v1 and v2: where both are mounted, v2 gets what v1 has no controller for.
fn split(record: &Record, resources: &Resources) -> (Resources, Resources) {
    let mut first = Resources { devices: None, ..resources.clone() };
    let mut second = Resources { unified: std::mem::take(&mut first.unified), ..Resources::default() };
    if record.v2().is_none() {
        // v1 alone cannot say it; `v1::translate` tells where it stands.
        first.unified = std::mem::take(&mut second.unified);
        return (first, second);
    }
    let only_v2 = record.hierarchies.len() == 1;
    let lacks = |controller: &str| only_v2 || record.v1(controller).is_none();
    if lacks("memory") {
        second.memory = std::mem::take(&mut first.memory);
    }
    if lacks("cpu") {
        let (cpus, mems) = (first.cpu.cpus.take(), first.cpu.mems.take());
        second.cpu = std::mem::replace(&mut first.cpu, Cpu { cpus, mems, ..Cpu::default() });
    }
    if lacks("cpuset") {
        second.cpu.cpus = first.cpu.cpus.take();
        second.cpu.mems = first.cpu.mems.take();
    }
    if lacks("pids") {
        second.pids = first.pids.take();
    }
    if lacks("blkio") {
        second.block_io = std::mem::take(&mut first.block_io);
    }
    if lacks("hugetlb") {
        second.hugepages = std::mem::take(&mut first.hugepages);
    }
    if lacks("rdma") {
        second.rdma = std::mem::take(&mut first.rdma);
    }
    if only_v2 {
        second.network = std::mem::take(&mut first.network);
    }
    (first, second)
}

/// Whether `resources` ask for something that only the v2 hierarchy of a hybrid host can do.
pub(super) fn needs_v2(record: &Record, resources: &Resources) -> bool {
    split(record, resources).1.has_limits()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::record::{Hierarchy, Version};
    use super::*;
    use crate::bundle::resources::ResourcesConfig;

    fn record(v1: &[&str], v2: Option<&[&str]>) -> Record {
        let hierarchy = |version, controllers: &[&str]| Hierarchy {
            version,
            name: String::new(),
            controllers: controllers.iter().map(|&c| c.to_owned()).collect(),
            mount: PathBuf::from("/m"),
            directory: PathBuf::from("/m/c"),
        };
        let mut hierarchies: Vec<_> = v1.iter().map(|&c| hierarchy(Version::V1, &[c])).collect();
        hierarchies.extend(v2.map(|controllers| hierarchy(Version::V2, controllers)));
        Record { hierarchies, ..Record::default() }
    }

    fn files(record: &Record, json: &str) -> Vec<String> {
        let config: ResourcesConfig = serde_json::from_str(json).unwrap();
        let (resources, _) = Resources::new(&config).unwrap();
        translate(record, &resources).unwrap().settings.into_iter().map(|s| s.file.into_owned()).collect()
    }

    #[test]
    fn translate_hybrid_gives_v2_what_v1_lacks() {
        let hybrid = record(&["memory", "cpu"], Some(&["hugetlb"]));
        let json = r#"{"memory":{"limit":1},"cpu":{"shares":5,"cpus":"0"},"hugepageLimits":[{"pageSize":"2MB","limit":1}],
            "unified":{"hugetlb.1GB.max":"0"}}"#;
        assert_eq!(
            files(&hybrid, json),
            [
                "memory.limit_in_bytes",
                "cpu.shares",
                "cpuset.cpus",
                "hugetlb.2MB.max",
                "hugetlb.2MB.rsvd.max",
                "hugetlb.1GB.max"
            ]
        );
    }

    #[test]
    fn translate_unified_gives_v2_everything() {
        let unified = record(&[], Some(&["memory", "cpu", "pids"]));
        let json = r#"{"memory":{"limit":1},"cpu":{"shares":5},"pids":{"limit":1}}"#;
        assert_eq!(files(&unified, json), ["memory.max", "cpu.weight", "pids.max"]);
    }

    #[test]
    fn write_all_without_controller_is_an_error_with_pointer() {
        let (resources, _) = Resources::new(&serde_json::from_str(r#"{"pids":{"limit":1}}"#).unwrap()).unwrap();
        let record = record(&["memory"], None);
        let error = write_all(&record, translate(&record, &resources).unwrap().settings).unwrap_err();
        assert_eq!(
            error.to_string(),
            "set pids.max: no hierarchy has the pids controller (config /linux/resources/pids/limit)"
        );
    }
}
