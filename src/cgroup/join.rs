//! How a new process gets into the cgroup, without waiting for the kernel's grace periods.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

use super::file;
use super::record::{Hierarchy, Record, Unit, Version};
use super::systemd::Manager;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::fd::Descriptors;

/// The v2 cgroup that a process is to be born into, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Birthplace {
    directory: Option<OwnedFd>,
    /// Who can move a process there for a caller that may not.
    unit: Option<Unit>,
    /// The directory below that of the unit: empty, or beginning with a slash.
    below_unit: String,
}

impl Birthplace {
    /// What clone3(2) takes as `cgroup` (CLONE_INTO_CGROUP, Linux 5.7).
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }

    /// Moves the process `pid` into the v2 cgroup: the slow way, for want of CLONE_INTO_CGROUP. A user may only move
    /// processes within what is delegated to the user: one that comes from a login session is moved by systemd.
    pub fn move_process(&self, pid: i32) -> Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let moved = openat(directory, "cgroup.procs", flags, Mode::empty())
            .and_then(|procs| file::write_to(procs, &pid.to_string()));
        match (moved, &self.unit) {
            (Err(Errno::ACCESS | Errno::PERM), Some(unit)) => {
                Manager::open(unit.user)?.attach(&unit.name, &self.below_unit, pid.unsigned_abs())
            }
            (moved, _) => moved.context(|| format!("move process {pid} to the container's v2 cgroup")),
        }
    }
}

/// A cgroup below the container's, as `exec --cgroup` names it: `PATH`, or `CONTROLLER[,CONTROLLER]:PATH` for some v1
/// hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubCgroup {
    /// As it was given, for messages.
    text: String,
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
        Ok(SubCgroup { text: argument.to_owned(), controllers, path: relative })
    }

    fn selects(&self, hierarchy: &Hierarchy) -> bool {
        self.controllers.is_empty() || self.controllers.iter().any(|wanted| is_v1_of(hierarchy, wanted))
    }
}

fn is_v1_of(hierarchy: &Hierarchy, controller: &str) -> bool {
    let named = |known: &String| known == controller || known.strip_prefix("name=") == Some(controller);
    hierarchy.version == Version::V1 && hierarchy.controllers.iter().any(named)
}

/// Opens the v2 directory of the container's cgroup, or of one below it. The process is going to be `beside` another one
/// of the container, if there is one.
pub(super) fn open_birthplace(record: &Record, sub: &[SubCgroup], beside: Option<i32>) -> Result<Birthplace> {
    let Some(hierarchy) = record.v2() else { return Ok(Birthplace::default()) };
    let directory = match (named(record, sub, hierarchy), beside) {
        (Some(named), _) => named,
        (None, Some(pid)) => with_room(record, hierarchy, pid)?,
        (None, None) => record.inner(hierarchy),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(&directory, flags, Mode::empty()).context(|| format!("open {}", directory.display()))?;
    let below = directory.strip_prefix(&hierarchy.directory).unwrap_or(Path::new(""));
    let below_unit = if below.as_os_str().is_empty() { String::new() } else { format!("/{}", below.display()) };
    Ok(Birthplace { directory: Some(fd), unit: record.unit.clone(), below_unit })
}

/// Opens the v1 `tasks` files of the container's cgroup, or of one below it: the parent does, because the child may have
/// no right to.
pub(super) fn open_tasks(record: &Record, sub: &[SubCgroup]) -> Result<Descriptors> {
    let mut tasks = Descriptors::default();
    for hierarchy in record.hierarchies.iter().filter(|hierarchy| hierarchy.version == Version::V1) {
        let path = named(record, sub, hierarchy).unwrap_or_else(|| record.inner(hierarchy)).join("tasks");
        tasks.push(file::open_write(&path).context(|| format!("open {}", path.display()))?);
    }
    Ok(tasks)
}

/// Moves the calling thread, which must be the only one of its process, into the v1 cgroups of those `tasks` files.
pub(crate) fn join_tasks(tasks: &Descriptors) -> Result<()> {
    tasks.iter().try_for_each(|fd| file::write_to(fd, "0").context(|| format!("join cgroup by {}", path_of(fd))))
}

/// The path of an open file, for messages.
fn path_of(fd: BorrowedFd<'_>) -> String {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(&link).map_or(link, |path| path.display().to_string())
}

/// The directory that `sub` names in `hierarchy`: the last of them that does counts.
fn named(record: &Record, sub: &[SubCgroup], hierarchy: &Hierarchy) -> Option<PathBuf> {
    let inner = record.inner(hierarchy);
    let named = sub.iter().rev().find(|sub| sub.selects(hierarchy))?;
    Some(if named.path.as_os_str().is_empty() { inner } else { inner.join(&named.path) })
}

/// Where a process can be: not in a v2 cgroup that hands controllers down (cgroups(7), "no internal processes"). A
/// container that made cgroups below its own, as an init system does, has its init in one of them.
fn with_room(record: &Record, hierarchy: &Hierarchy, init: i32) -> Result<PathBuf> {
    let directory = record.inner(hierarchy);
    let path = directory.join("cgroup.subtree_control");
    match file::read_value(&path) {
        Ok(controllers) if controllers.is_empty() => return Ok(directory),
        // Joining will tell.
        Err(Errno::NOENT | Errno::NODEV) => return Ok(directory),
        result => drop(result.context(|| format!("read {}", path.display()))?),
    }
    let path = PathBuf::from(format!("/proc/{init}/cgroup"));
    let own = file::read(&path).context(|| format!("read {}", path.display()))?;
    Ok(own_below(&own, hierarchy).unwrap_or(directory))
}

/// The v2 cgroup of the lines of /proc/PID/cgroup, if it is below the container's: a process elsewhere is none of our
/// business.
fn own_below(lines: &str, hierarchy: &Hierarchy) -> Option<PathBuf> {
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let directory = hierarchy.mount.join(path);
    (normal && directory.starts_with(&hierarchy.directory)).then_some(directory)
}

pub(super) fn check_controllers(record: &Record, sub: &[SubCgroup]) -> Result<()> {
    for sub in sub {
        let refuse = |reason: String| Err(Error::new(Kind::Usage, format!("sub-cgroup {:?}: {reason}", sub.text)));
        if record.hierarchies.is_empty() {
            return refuse("the container has no cgroup".to_owned());
        }
        let missing = |wanted: &&String| !record.hierarchies.iter().any(|hierarchy| is_v1_of(hierarchy, wanted));
        if let Some(controller) = sub.controllers.iter().find(missing) {
            return refuse(format!("the container has no v1 cgroup of {controller:?}"));
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

    #[test]
    fn own_below_stays_in_the_containers_cgroup() {
        let hierarchy = Hierarchy {
            version: Version::V2,
            name: String::new(),
            controllers: vec![],
            mount: PathBuf::from("/m"),
            directory: PathBuf::from("/m/a/web"),
        };
        for (lines, expected) in [
            ("1:name=systemd:/x\n0::/a/web/init.scope\n", Some("/m/a/web/init.scope")),
            ("0::/a/web\n", Some("/m/a/web")),
            ("0::/a/web2\n", None),
            ("0::/a/web/../other\n", None),
            ("0::/../a/web/x\n", None),
            ("0::/a/web/x (deleted)\n", Some("/m/a/web/x (deleted)")),
            ("2:memory:/a/web/x\n", None),
        ] {
            assert_eq!(own_below(lines, &hierarchy), expected.map(PathBuf::from), "{lines}");
        }
    }

    #[test]
    fn check_controllers_unknown_one_is_named_with_the_argument() {
        let hierarchy = Hierarchy {
            version: Version::V1,
            name: "pids".to_owned(),
            controllers: vec!["pids".to_owned()],
            mount: PathBuf::from("/m"),
            directory: PathBuf::from("/m/web"),
        };
        let record = Record { hierarchies: vec![hierarchy], ..Record::default() };
        let refused = |record: &Record, text: &str| {
            check_controllers(record, &[SubCgroup::parse(text).unwrap()]).unwrap_err().to_string()
        };
        assert_eq!(refused(&record, "foo:/"), r#"sub-cgroup "foo:/": the container has no v1 cgroup of "foo""#);
        assert_eq!(refused(&Record::default(), "/x"), r#"sub-cgroup "/x": the container has no cgroup"#);
    }
}
