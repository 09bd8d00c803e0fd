//! One value in one control file, and the one writer of all of them.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::record::{Hierarchy, Record};
use super::{devices, file, v1, v2};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::plan::resources::{Cpu, Resources};

/// What the translators make: `value` goes into `file` of the hierarchy with `controller`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub controller: Cow<'static, str>,
    pub file: Cow<'static, str>,
    pub value: String,
    /// What in config.json asked for it.
    pub pointer: String,
    pub missing: Missing,
}

/// What a kernel without the file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The limit cannot hold: an error.
    Fail,
    /// Nothing would change.
    Ignore,
    /// The kernel may have the same under another name.
    Instead { file: Cow<'static, str>, value: String },
}

/// The settings of a set of resources, in the order of writing, and what cannot be said but does not matter enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Translation {
    pub settings: Vec<Setting>,
    pub warnings: Vec<Warning>,
}

impl Translation {
    /// Adds a setting; `place` is below /linux/resources.
    pub fn set(
        &mut self,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
        place: &str,
    ) -> &mut Setting {
        self.settings.push(Setting {
            controller: Cow::Borrowed(controller),
            file: file.into(),
            value: value.to_string(),
            pointer: pointer(place),
            missing: Missing::Fail,
        });
        let last = self.settings.len() - 1;
        &mut self.settings[last]
    }

    /// Warns that `place` below /linux/resources was ignored, and why.
    pub fn warn(&mut self, place: &str, reason: &str) {
        self.warnings.push(Warning::config(pointer(place), format!("{reason}, ignoring")));
    }
}

/// The JSON pointer of `place` below /linux/resources.
pub(super) fn pointer(place: &str) -> String {
    format!("/linux/resources{place}")
}

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

/// The hierarchy that `setting` belongs to. v1 and v2 name files differently, so the first controller that
/// matches is the right one. A v2 hierarchy of which no controller is known may have any.
pub(super) fn hierarchy_of<'a>(record: &'a Record, setting: &Setting) -> Option<&'a Hierarchy> {
    let unified = || {
        record.v2().filter(|v2| {
            setting.controller == "cgroup"
                || v2.controllers.is_empty()
                || v2.controllers.iter().any(|c| *c == setting.controller)
        })
    };
    record.v1(&setting.controller).or_else(unified)
}

/// Writes every setting. One that the kernel calls invalid is tried once more after the others of its
/// controller: a limit may have to move before another can (memory and swap, quota and burst).
pub(super) fn write_all(record: &Record, settings: Vec<Setting>) -> Result<()> {
    let mut writer = Writer::default();
    let mut deferred: Vec<(PathBuf, Setting)> = Vec::new();
    for setting in settings {
        let Some(hierarchy) = hierarchy_of(record, &setting) else {
            if setting.missing == Missing::Ignore {
                continue;
            }
            return Err(Error::new(
                Kind::Unsupported,
                format!("set {}: no hierarchy has the {} controller", setting.file, setting.controller),
            )
            .at(setting.pointer));
        };
        match writer.write(&hierarchy.directory, &setting) {
            Err(Errno::INVAL) => deferred.push((hierarchy.directory.clone(), setting)),
            result => check(result, &hierarchy.directory, &setting)?,
        }
    }
    for (directory, setting) in deferred {
        check(writer.write(&directory, &setting), &directory, &setting)?;
    }
    Ok(())
}

/// Keeps the last file open: rules and rates for several devices go to the same one.
#[derive(Default)]
pub(super) struct Writer {
    open: Option<(PathBuf, OwnedFd)>,
}

impl Writer {
    fn write(&mut self, directory: &Path, setting: &Setting) -> Result<(), Errno> {
        match (self.write_line(&directory.join(&*setting.file), &setting.value), &setting.missing) {
            (Err(Errno::NOENT), Missing::Ignore) => Ok(()),
            (Err(Errno::NOENT), Missing::Instead { file, value }) => self.write_line(&directory.join(&**file), value),
            (result, _) => result,
        }
    }

    /// Writes one line into `path`.
    pub fn write_line(&mut self, path: &Path, line: &str) -> Result<(), Errno> {
        match &self.open {
            Some((open, fd)) if open == path => file::write_to(fd, line),
            _ => {
                let fd = file::open_write(path)?;
                let result = file::write_to(&fd, line);
                self.open = Some((path.to_owned(), fd));
                result
            }
        }
    }
}

fn check(result: Result<(), Errno>, directory: &Path, setting: &Setting) -> Result<()> {
    let Setting { controller, file, value, pointer, .. } = setting;
    match result {
        Ok(()) => Ok(()),
        Err(errno) => {
            let failed =
                Err::<(), _>(errno).context(|| format!("write {value:?} to {file} of {}", directory.display()));
            failed.map_err(|error| {
                let error = error.at(pointer.clone());
                match errno {
                    Errno::NOENT => error.kind_of(Kind::Unsupported).hint(format!(
                        "the kernel has no such file, or the {controller} controller is not enabled there"
                    )),
                    Errno::BUSY if controller == "memory" => error.hint("more is in use than the new limit"),
                    _ => error,
                }
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Version;
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
