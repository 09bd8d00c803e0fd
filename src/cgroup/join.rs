//! How a new process gets into the cgroup, without waiting for the kernel's grace periods.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

use super::file;
use super::record::{Hierarchy, Record, Version};
use crate::error::{Context, Error, Kind, Result};

/// Descriptors by which a new process gets into a cgroup: the parent opens them, because the child may have no
/// right to; the child uses them before anything else.
#[derive(Debug, Default)]
pub(crate) struct JoinFds {
    /// The v2 directory, for CLONE_INTO_CGROUP (Linux 5.7).
    unified: Option<OwnedFd>,
    /// The v1 `tasks` files.
    tasks: Vec<TasksFile>,
}

#[derive(Debug)]
struct TasksFile {
    fd: OwnedFd,
    /// For messages.
    path: PathBuf,
}

impl JoinFds {
    /// What clone3(2) takes as `cgroup`.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Every descriptor, for a caller that closes all others.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.unified.iter().chain(self.tasks.iter().map(|tasks| &tasks.fd)).map(AsFd::as_fd)
    }

    /// Moves the calling thread, which must be the only one of its process, into the v1 cgroups.
    pub fn join_tasks(&self) -> Result<()> {
        for TasksFile { fd, path } in &self.tasks {
            file::write_to(fd, "0").context(|| format!("join cgroup by {}", path.display()))?;
        }
        Ok(())
    }
}

/// Moves the process `pid` into the v2 cgroup `directory`: the slow way, for want of CLONE_INTO_CGROUP.
pub(crate) fn move_process(directory: BorrowedFd<'_>, pid: i32) -> Result<()> {
    let describe = || format!("move process {pid} to the container's v2 cgroup");
    let procs = openat(directory, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).context(describe)?;
    file::write_to(procs, &pid.to_string()).context(describe)
}

/// A cgroup below the container's, as `exec --cgroup` names it: `PATH`, or `CONTROLLER[,CONTROLLER]:PATH` for some v1
/// hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubCgroup {
    /// Empty: every hierarchy.
    controllers: Vec<String>,
    /// Relative, without `..`; empty for the container's own.
    path: PathBuf,
}

impl SubCgroup {
    /// Reads the argument. A path may begin with a slash, which is the container's cgroup; it never leads out of it.
    pub fn parse(argument: &str) -> Result<SubCgroup> {
        let usage = |reason: &str| Error::new(Kind::Usage, format!("sub-cgroup {argument:?} {reason}"));
        let (controllers, path) = match argument.split_once(':') {
            Some((controllers, path)) => (controllers.split(',').map(str::to_owned).collect(), path),
            None => (Vec::new(), argument),
        };
        if controllers.iter().any(|controller: &String| controller.is_empty() || controller.contains('/')) {
            return Err(usage("has no controller before its colon"));
        }
        if path.is_empty() {
            return Err(usage("has no path"));
        }
        if path.chars().any(char::is_control) {
            return Err(usage("has a control character"));
        }
        let mut relative = PathBuf::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(usage("leads out of the container's cgroup")),
                part => relative.push(part),
            }
        }
        Ok(SubCgroup { controllers, path: relative })
    }

    fn selects(&self, hierarchy: &Hierarchy) -> bool {
        self.controllers.is_empty()
            || hierarchy.version == Version::V1
                && self.controllers.iter().any(|wanted| {
                    hierarchy.controllers.iter().any(|c| c == wanted || c.strip_prefix("name=") == Some(wanted))
                })
    }
}

/// Opens what is needed to join the container's cgroup, or cgroups below it; the last of `sub` that names a hierarchy
/// counts.
pub(super) fn open_all(record: &Record, sub: &[SubCgroup]) -> Result<JoinFds> {
    check_controllers(record, sub)?;
    let mut fds = JoinFds::default();
    for hierarchy in &record.hierarchies {
        let below = sub.iter().rev().find(|sub| sub.selects(hierarchy)).map(|sub| sub.path.as_path());
        let directory =
            below.map_or_else(|| hierarchy.directory.clone(), |below| join_path(&hierarchy.directory, below));
        match hierarchy.version {
            Version::V1 => {
                let path = directory.join("tasks");
                let fd = file::open_write(&path).context(|| format!("open {}", path.display()))?;
                fds.tasks.push(TasksFile { fd, path });
            }
            Version::V2 => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = open(&directory, flags, Mode::empty()).context(|| format!("open {}", directory.display()))?;
                fds.unified = Some(fd);
            }
        }
    }
    Ok(fds)
}

/// As [`open_all`], for a process that goes where `init` is. Processes of a container that hand controllers down (a
/// systemd does) leave its own v2 cgroup without a place for a process (cgroups(7), "no internal processes"): that of
/// `init` below it takes its place.
pub(super) fn open_beside(record: &Record, sub: &[SubCgroup], init: i32) -> Result<JoinFds> {
    let mut fds = open_all(record, sub)?;
    if let (Some(own), Some(v2), []) = (&fds.unified, record.v2(), sub)
        && hands_down(own)?
        && let Some(directory) = directory_of(init, v2)?
    {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = open(&directory, flags, Mode::empty()).context(|| format!("open {}", directory.display()))?;
        fds.unified = Some(fd);
    }
    Ok(fds)
}

fn hands_down(directory: &OwnedFd) -> Result<bool> {
    let context = || "read cgroup.subtree_control of the container";
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(directory, "cgroup.subtree_control", flags, Mode::empty()).context(context)?;
    let mut byte = [0; 1];
    Ok(rustix::io::read(file, &mut byte).context(context)? > 0 && byte != [b'\n'])
}

/// The v2 cgroup of a process, if it lies below the container's.
fn directory_of(pid: i32, container: &Hierarchy) -> Result<Option<PathBuf>> {
    let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let lines = file::read(&path).context(|| format!("read {}", path.display()))?;
    let own = lines.lines().find_map(|line| line.strip_prefix("0::/"));
    let directory = own.map(|own| container.mount.join(own));
    let inside = |directory: &PathBuf| {
        directory.starts_with(&container.directory) && !directory.components().any(|part| part == Component::ParentDir)
    };
    Ok(directory.filter(inside))
}

fn join_path(directory: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { directory.to_owned() } else { directory.join(below) }
}

fn check_controllers(record: &Record, sub: &[SubCgroup]) -> Result<()> {
    for sub in sub {
        for controller in &sub.controllers {
            let one = SubCgroup { controllers: vec![controller.clone()], path: PathBuf::new() };
            if !record.hierarchies.iter().any(|hierarchy| one.selects(hierarchy)) {
                return Err(Error::new(
                    Kind::Usage,
                    format!("sub-cgroup {}: the container has no v1 cgroup of {controller:?}", sub.path.display()),
                ));
            }
        }
        if record.hierarchies.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                format!("sub-cgroup {}: the container has no cgroup", sub.path.display()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_good_arguments() {
        for (argument, controllers, path) in [
            ("a/b", vec![], "a/b"),
            ("/a//./b/", vec![], "a/b"),
            ("/", vec![], ""),
            ("memory:/a", vec!["memory"], "a"),
            ("cpu,systemd:a:b", vec!["cpu", "systemd"], "a:b"),
        ] {
            let sub = SubCgroup::parse(argument).unwrap();
            assert_eq!(
                (sub.controllers.iter().map(String::as_str).collect(), sub.path.to_str().unwrap()),
                (controllers, path)
            );
        }
    }

    #[test]
    fn parse_escapes_and_malformed_arguments_are_refused() {
        for argument in ["", "..", "../x", "a/../../x", "memory:..", "memory:", ":a", "cpu,:a", "a\nb", "../a:b"] {
            assert!(SubCgroup::parse(argument).is_err(), "{argument:?}");
        }
    }
}
