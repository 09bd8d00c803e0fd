//! The directories of a cgroup: made with what is missing above them, refused where they are in use, opened for processes.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use nix::errno::Errno as NixErrno;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::record::{Hierarchy, Record, Version};
use super::{file, freeze, processes};
use crate::error::{Context, Error, Result};
use crate::plan::resources::Resources;

/// Sees to it that a process can enter the cgroups of v1, and go on.
pub(super) fn open_v1(record: &Record, resources: &Resources) -> Result<()> {
    if record.v1("freezer").is_some() {
        refuse_frozen_above(record)?;
    }
    record.v1("cpuset").map_or(Ok(()), |cpuset| inherit_sets(cpuset, resources))
}

/// How often a parent is made anew that another runtime, whose creation failed, took away again.
const ATTEMPTS: usize = 8;

/// Directories made so far: removed again, last first, unless kept.
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// Makes the directories of `record` in the versions that are `due`; without rights, only those that a rootless
    /// runtime may. Gives those that were there already.
    pub fn make_all(
        &mut self,
        record: &mut Record,
        rootless: bool,
        due: impl Fn(Version) -> bool,
    ) -> Result<Vec<PathBuf>> {
        let mut allowed = Vec::with_capacity(record.hierarchies.len());
        let mut found = Vec::new();
        for hierarchy in std::mem::take(&mut record.hierarchies) {
            if due(hierarchy.version) {
                match self.make(&hierarchy.mount, &hierarchy.directory) {
                    Ok(true) => {}
                    Ok(false) => found.push(hierarchy.directory.clone()),
                    Err(error) if rootless && is_refusal(&error) => continue,
                    Err(error) => return Err(error),
                }
            }
            allowed.push(hierarchy);
        }
        record.hierarchies = allowed;
        Ok(found)
    }

    /// Makes `directory` and what is missing between it and `mount`; false if it was there.
    fn make(&mut self, mount: &Path, directory: &Path) -> Result<bool> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            match rustix::fs::mkdir(directory, Mode::from(0o755)) {
                Ok(()) => {
                    self.0.push(directory.to_owned());
                    return Ok(true);
                }
                Err(Errno::EXIST) => return Ok(false),
                Err(Errno::NOENT) if directory != mount && attempts.next().is_some() => {
                    if let Some(parent) = directory.parent() {
                        self.make(mount, parent)?;
                    }
                }
                Err(errno) => return Err(errno).context(|| format!("make cgroup {}", directory.display())),
            }
        }
    }

    /// They stay.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // The failure that led here is the one to report; a parent may have got other children by now.
            let _ = rustix::fs::rmdir(directory);
        }
    }
}

/// What the kernel answers a rootless runtime without delegation, also for a hierarchy mounted read-only.
pub(super) fn is_refusal(error: &Error) -> bool {
    let refusals = [NixErrno::EACCES, NixErrno::EPERM, NixErrno::EROFS];
    error.raw_errno().is_some_and(|raw| refusals.contains(&NixErrno::from_raw(raw)))
}

/// A cgroup of somebody else's processes, also one further down, would be limited, frozen and killed with the container.
pub(super) fn refuse_in_use(record: &Record, directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        let mut found = String::new();
        for directory in processes::tree(directory)? {
            found += &processes::read_lines(&directory)?;
        }
        if !found.is_empty() {
            let list: Vec<&str> = found.lines().take(5).collect();
            let reason = format!("it is not empty, it has the processes {}", list.join(", "));
            return Err(busy(directory.display(), &reason));
        }
    }
    match freeze::is_frozen(record)? {
        false => Ok(()),
        true => Err(busy(&record.path, "it is frozen")),
    }
}

/// Whatever enters a cgroup below a frozen one stops at once: nobody would ever hear of it again.
pub(super) fn refuse_frozen_above(record: &Record) -> Result<()> {
    match freeze::is_frozen_from_above(record)? {
        false => Ok(()),
        true => Err(busy(&record.path, "a cgroup above it is frozen")),
    }
}

fn busy(cgroup: impl Display, reason: &str) -> Error {
    Error::sys(NixErrno::EBUSY, format!("use cgroup {cgroup}: {reason}")).at("/linux/cgroupsPath")
}

/// A new v1 cpuset is empty and takes no process: the sets come from the nearest ancestor that has some, unless
/// configured.
fn inherit_sets(cpuset: &Hierarchy, resources: &Resources) -> Result<()> {
    for (name, configured) in [("cpuset.cpus", &resources.cpu.cpus), ("cpuset.mems", &resources.cpu.mems)] {
        if let Some(parent) = cpuset.directory.parent().filter(|_| cpuset.directory != cpuset.mount) {
            let sets = inherited(parent, &cpuset.mount, name)?;
            if configured.is_none() {
                write_set(&cpuset.directory.join(name), &sets)?;
            }
        }
    }
    Ok(())
}

/// The value of `name` in `directory`, which is filled from its parent if it is empty.
fn inherited(directory: &Path, mount: &Path, name: &str) -> Result<String> {
    let path = directory.join(name);
    let value = file::read_value(&path).context(|| format!("read {}", path.display()))?;
    match directory.parent() {
        Some(parent) if value.is_empty() && directory != mount => {
            let value = inherited(parent, mount, name)?;
            write_set(&path, &value)?;
            Ok(value)
        }
        _ => Ok(value),
    }
}

fn write_set(path: &Path, value: &str) -> Result<()> {
    file::write(path, value).context(|| format!("write {value:?} to {}", path.display()))
}
