//! Limits change while the container runs: only what differs or was asked for is written, and a failure puts back what
//! was there.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::properties::UnitProperty;
use super::record::Record;
use super::setting::{self, Missing, Setting, Translation, Writer, pointer};
use super::{apply, controllers, devices, file, scope};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::plan::resources::{DeviceSet, Limit, Resources};

/// What an update does to the resources of a container.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    /// As they were configured so far.
    pub before: &'a Resources,
    /// As they are to be.
    pub after: &'a Resources,
}

/// What it takes to put an update back.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    record: Record,
    /// Files and the lines that they had, in the order of writing.
    lines: Vec<(PathBuf, String)>,
    devices: Option<DeviceSet>,
    /// Properties of the unit.
    properties: Vec<UnitProperty>,
}

/// See [`super::Cgroup::update`].
pub(super) fn update(
    record: &mut Record,
    change: &Change<'_>,
    named: impl Fn(&str) -> bool,
) -> Result<(Undo, Vec<Warning>)> {
    check_before_update(record, change.after)?;
    controllers::prepare(record, change.after)?;
    let before = apply::translate(record, change.before)?;
    let Translation { settings, warnings } = apply::translate(record, change.after)?;
    let differs = |setting: &Setting| {
        let same = |old: &Setting| old.controller == setting.controller && old.file == setting.file;
        let known = before.settings.iter().any(|old| same(old) && old.value == setting.value);
        !known || named(&setting.pointer)
    };
    let mut settings: Vec<Setting> = settings.into_iter().filter(differs).collect();
    settings.extend(oom_killer_again(record, change));
    let warnings = warnings.into_iter().filter(|warning| !before.warnings.contains(warning)).collect();
    let devices = change.after.devices.as_ref().filter(|after| {
        // On v1 systemd writes its own idea of them along with whatever it is told.
        let by_systemd = record.unit.is_some() && record.v1("devices").is_some() && !after.exceptions.is_empty();
        change.before.devices.as_ref() != Some(*after) || named(&pointer("/devices")) || by_systemd
    });
    let mut undo = Undo {
        record: record.clone(),
        lines: current(record, &settings)?,
        devices: devices.and(change.before.devices.clone()),
        properties: Vec::new(),
    };
    undo.properties = scope::update(record, change.before, change.after)?;
    let written = setting::write_all(record, settings)
        .and_then(|()| devices.map_or(Ok(()), |set| devices::apply(record, set, true)));
    match written {
        Ok(()) => Ok((undo, warnings)),
        Err(error) => Err(undo.revert(error)),
    }
}

/// The translators say nothing about an OOM killer that is not disabled, because that is how it starts.
fn oom_killer_again(record: &Record, change: &Change<'_>) -> Option<Setting> {
    let again = change.before.memory.disable_oom_killer && !change.after.memory.disable_oom_killer;
    let mut one = Translation::default();
    if again && record.v1("memory").is_some() {
        one.set("memory", "memory.oom_control", 0, "/memory/disableOOMKiller");
    }
    one.settings.pop()
}

/// Refuses a memory limit below what is in use, where the configuration asks for that (memory.checkBeforeUpdate).
/// v1 needs no check: its kernel refuses.
fn check_before_update(record: &Record, resources: &Resources) -> Result<()> {
    let (Some(Limit::Value(limit)), true) = (resources.memory.limit, resources.memory.check_before_update) else {
        return Ok(());
    };
    let Some(v2) = record.v2().filter(|_| record.v1("memory").is_none()) else { return Ok(()) };
    let path = v2.directory.join("memory.current");
    let used = file::read_value(&path).context(|| format!("read {}", path.display()))?;
    match used.parse::<u64>() {
        Ok(used) if limit < used => {
            Err(Error::new(Kind::System, format!("set a memory limit of {limit} bytes: {used} bytes are in use"))
                .at(pointer("/memory/limit")))
        }
        _ => Ok(()),
    }
}

impl Undo {
    /// Puts back what was there, because of `cause`, which is given back. What cannot be put back is told in its
    /// hint.
    pub fn revert(self, cause: Error) -> Error {
        let mut writer = Writer::default();
        let mut deferred = Vec::new();
        let mut lost = Vec::new();
        if let Err(error) = scope::set(&self.record, self.properties) {
            lost.push(error.to_string());
        }
        for (path, line) in self.lines.into_iter().rev() {
            match writer.write_line(&path, &line) {
                Ok(()) => {}
                // One limit may have to move before another can.
                Err(Errno::INVAL) => deferred.push((path, line)),
                Err(errno) => lost.push(format!("{} ({errno})", path.display())),
            }
        }
        for (path, line) in deferred {
            if let Err(errno) = writer.write_line(&path, &line) {
                lost.push(format!("{} ({errno})", path.display()));
            }
        }
        if let Some(set) = &self.devices
            && let Err(error) = devices::apply(&self.record, set, true)
        {
            lost.push(error.to_string());
        }
        match lost.as_slice() {
            [] => cause,
            _ => cause.hint(format!("the old settings could not all be put back: {}", lost.join(", "))),
        }
    }
}

/// What the files of `settings` say now.
fn current(record: &Record, settings: &[Setting]) -> Result<Vec<(PathBuf, String)>> {
    let mut lines = Vec::new();
    for setting in settings {
        let Some(hierarchy) = setting::hierarchy_of(record, setting) else { continue };
        let read = |name: &str| {
            let path = hierarchy.directory.join(name);
            file::read(&path).map(|text| (path, text))
        };
        let found = match (read(&setting.file), &setting.missing) {
            (Err(Errno::NOENT), Missing::Instead { file, .. }) => read(file),
            (found, _) => found,
        };
        match found {
            Ok((path, text)) => lines.extend(line_to_restore(&setting.value, &path, &text).map(|line| (path, line))),
            // Writing will tell, or there is nothing to put back in a file that can only be written.
            Err(Errno::NOENT | Errno::ACCESS | Errno::INVAL | Errno::OPNOTSUPP) => {}
            Err(errno) => {
                return Err(errno).context(|| format!("read {} of {}", setting.file, hierarchy.directory.display()));
            }
        }
    }
    Ok(lines)
}

/// What to write to `path`, whose content is `text`, so that it is as before `value` was written.
fn line_to_restore(value: &str, path: &Path, text: &str) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    if name == "memory.oom_control" {
        return text.split_whitespace().nth(1).map(str::to_owned);
    }
    let (key, _) = value.split_once(' ').unwrap_or((value, ""));
    let device = key.contains(':');
    if !device && !matches!(name, "rdma.max" | "net_prio.ifpriomap" | "misc.max" | "dmem.max" | "dmem.min" | "dmem.low")
    {
        // One value, or on v2 the default of a list.
        let line = text.lines().next()?.trim_end();
        // An empty write says nothing; a line without anything empties a set of v2.
        return Some(if line.is_empty() { "\n".to_owned() } else { line.to_owned() });
    }
    let found = text.lines().find(|line| line.split(' ').next() == Some(key)).map(|line| line.trim_end().to_owned());
    found.or_else(|| {
        Some(match name {
            "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            "io.weight" | "io.bfq.weight" => format!("{key} default"),
            "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
            _ if name.starts_with("blkio.") => format!("{key} 0"),
            _ => return None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_to_restore_is_what_undoes_a_write() {
        for (file, value, text, line) in [
            ("memory.limit_in_bytes", "5", "9223372036854771712\n", Some("9223372036854771712")),
            ("cpu.max", "50000 100000", "max 100000\n", Some("max 100000")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", Some("0")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("io.weight", "500", "default 100\n8:0 200\n", Some("default 100")),
            ("io.weight", "8:0 500", "default 100\n8:0 200\n", Some("8:0 200")),
            ("io.weight", "8:16 500", "default 100\n8:0 200\n", Some("8:16 default")),
            ("io.max", "8:0 rbps=5", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=1 wbps=max riops=2 wiops=max\n",
                Some("8:0 rbps=1 wbps=max riops=2 wiops=max"),
            ),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:1 7\n8:0 6\n", Some("8:0 6")),
            ("blkio.throttle.read_bps_device", "8:0 5", "8:1 7\n", Some("8:0 0")),
            ("net_prio.ifpriomap", "eth0 5", "lo 0\neth0 3\n", Some("eth0 3")),
            ("rdma.max", "m hca_handle=5", "m hca_handle=max hca_object=2\n", Some("m hca_handle=max hca_object=2")),
            ("misc.max", "sev 5", "other max\n", None),
        ] {
            let path = Path::new("/x").join(file);
            assert_eq!(line_to_restore(value, &path, text).as_deref(), line, "{file} {value}");
        }
    }
}
