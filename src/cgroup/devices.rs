//! Device rules: lines for the v1 controller, a program for v2.

use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

use super::record::{Hierarchy, Record};
use super::setting::{Writer, pointer};
use super::{device_program, file};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::resources::{DeviceSet, Exception};
use crate::sys::bpf;

/// Gives the cgroup of `record` the rules of `set`. A cgroup that `existed` may have some already.
pub(super) fn apply(record: &Record, set: &DeviceSet, existed: bool) -> Result<()> {
    let result = if let Some(v1) = record.v1("devices") {
        apply_v1(&v1.directory, set, existed)
    } else if let Some(v2) = record.v2() {
        apply_v2(v2, set, existed)
    } else {
        Err(Error::new(Kind::Unsupported, "restrict devices: no hierarchy has the devices controller"))
    };
    result.map_err(|error| error.at(pointer("/devices")))
}

/// What is written to devices.deny and devices.allow, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    deny_first: Vec<String>,
    allow: Vec<String>,
    deny: Vec<String>,
}

fn apply_v1(directory: &Path, set: &DeviceSet, existed: bool) -> Result<()> {
    let current = if existed { read_list(directory)? } else { None };
    let lines = v1_lines(set, current.as_ref());
    let mut writer = Writer::default();
    for (file, lines) in
        [("devices.deny", lines.deny_first), ("devices.allow", lines.allow), ("devices.deny", lines.deny)]
    {
        let path = directory.join(file);
        for line in lines {
            writer.write_line(&path, &line).context(|| format!("write {line:?} to {}", path.display()))?;
        }
    }
    Ok(())
}

fn read_list(directory: &Path) -> Result<Option<DeviceSet>> {
    let path = directory.join("devices.list");
    let list = file::read(&path).context(|| format!("read {}", path.display()))?;
    Ok(DeviceSet::from_list(&list))
}

/// The fewest lines from `current`, if it is known, to `target`. Between two lists of allowed devices only the
/// differences are written, so that a process never misses a device that both have; the kernel would
/// also refuse the line `a` once there are cgroups below.
fn v1_lines(target: &DeviceSet, current: Option<&DeviceSet>) -> Lines {
    let all = || vec!["a".to_owned()];
    let text = |exceptions: &[Exception]| exceptions.iter().map(ToString::to_string).collect();
    match current {
        _ if target.default_allow => Lines { allow: all(), deny: text(&target.exceptions), ..Lines::default() },
        Some(current) if !current.default_allow => {
            Lines { allow: text(&target.minus(current)), deny: text(&current.minus(target)), ..Lines::default() }
        }
        _ => Lines { deny_first: all(), allow: text(&target.exceptions), ..Lines::default() },
    }
}

/// The kernel shows it in `bpftool`; no helper is called that would need the GPL.
const LICENSE: &std::ffi::CStr = c"Apache-2.0";

fn apply_v2(v2: &Hierarchy, set: &DeviceSet, existed: bool) -> Result<()> {
    let directory = v2.directory.as_path();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let cgroup = open(directory, flags, Mode::empty()).context(|| format!("open {}", directory.display()))?;
    let what = |verb: &str| format!("{verb} device program of {}", directory.display());
    let mut old = Vec::new();
    if existed {
        for id in bpf::device_programs(&cgroup).context(|| what("list"))? {
            match bpf::program_by_id(id) {
                Ok(program) => old.push(program),
                // Gone since it was listed.
                Err(nix::errno::Errno::ENOENT) => {}
                Err(errno) => return Err(Error::sys(errno, what("open"))),
            }
        }
    }
    let unrestricted = set.default_allow && set.exceptions.is_empty();
    if !unrestricted {
        let program = bpf::load_device_program(&device_program::compile(set), LICENSE).context(|| what("load"))?;
        if let [only] = old.as_slice() {
            // Exchanged in one step: at no moment are the devices unrestricted or restricted twice.
            return bpf::replace_device_program(&cgroup, &program, only).context(|| what("replace"));
        }
        bpf::attach_device_program(&cgroup, &program).context(|| what("attach"))?;
    }
    old.iter().try_for_each(|program| bpf::detach_device_program(&cgroup, program).context(|| what("detach")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(default_allow: bool, list: &str) -> DeviceSet {
        DeviceSet { default_allow, ..DeviceSet::from_list(list).unwrap() }
    }

    #[test]
    fn v1_lines_fresh_denies_all_then_allows() {
        let lines = v1_lines(&set(false, "c 1:3 rwm\nb *:* m"), None);
        assert_eq!(
            lines,
            Lines { deny_first: vec!["a".into()], allow: vec!["c 1:3 rwm".into(), "b *:* m".into()], deny: vec![] }
        );
    }

    #[test]
    fn v1_lines_update_writes_the_differences() {
        let current = set(false, "c 1:3 rwm\nc 1:5 rw\nc 9:9 r");
        let target = set(false, "c 1:3 rw\nc 1:5 rw\nc 7:7 rwm");
        let lines = v1_lines(&target, Some(&current));
        assert_eq!(
            lines,
            Lines {
                deny_first: vec![],
                allow: vec!["c 7:7 rwm".into()],
                deny: vec!["c 1:3 m".into(), "c 9:9 r".into()]
            }
        );
    }

    #[test]
    fn v1_lines_allow_all_then_denies() {
        let lines = v1_lines(&set(true, "c 1:3 w"), Some(&set(false, "c 1:3 rwm")));
        assert_eq!(lines, Lines { deny_first: vec![], allow: vec!["a".into()], deny: vec!["c 1:3 w".into()] });
    }
}
