//! How a new process gets into the cgroup, without waiting for the kernel's grace periods.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;

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

/// Opens what is needed to join the container's cgroup, or cgroups below it; the last of `sub` that names a hierarchy
/// counts. The process is going to be `beside` another one of the container, if there is one.
pub(super) fn open_all(record: &Record, sub: &[SubCgroup], beside: Option<i32>) -> Result<JoinFds> {
    check_controllers(record, sub)?;
    let mut fds = JoinFds::default();
    for hierarchy in &record.hierarchies {
        let below = sub.iter().rev().find(|sub| sub.selects(hierarchy)).map(|sub| sub.path.as_path());
        let directory = match (below, beside) {
            (Some(below), _) => join_path(&hierarchy.directory, below),
            (None, Some(pid)) if hierarchy.version == Version::V2 => with_room(hierarchy, pid)?,
            (None, _) => hierarchy.directory.clone(),
        };
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

/// Where a process can be: not in a v2 cgroup that hands controllers down (cgroups(7), "no internal processes"). A
/// container that made cgroups below its own, as an init system does, has its init in one of them.
fn with_room(hierarchy: &Hierarchy, init: i32) -> Result<PathBuf> {
    let path = hierarchy.directory.join("cgroup.subtree_control");
    match file::read_value(&path) {
        Ok(controllers) if controllers.is_empty() => return Ok(hierarchy.directory.clone()),
        // Joining will tell.
        Err(Errno::NOENT | Errno::NODEV) => return Ok(hierarchy.directory.clone()),
        result => drop(result.context(|| format!("read {}", path.display()))?),
    }
    let path = PathBuf::from(format!("/proc/{init}/cgroup"));
    let own = file::read(&path).context(|| format!("read {}", path.display()))?;
    Ok(own_below(&own, hierarchy).unwrap_or_else(|| hierarchy.directory.clone()))
}

/// The v2 cgroup of the lines of /proc/PID/cgroup, if it is below the container's: a process elsewhere is none of our
/// business.
fn own_below(lines: &str, hierarchy: &Hierarchy) -> Option<PathBuf> {
    let path = lines.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let normal = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let directory = hierarchy.mount.join(path);
    (normal && directory.starts_with(&hierarchy.directory)).then_some(directory)
}

fn join_path(directory: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { directory.to_owned() } else { directory.join(below) }
}

fn check_controllers(record: &Record, sub: &[SubCgroup]) -> Result<()> {
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
    fn open_all_unknown_controller_is_named_with_the_argument() {
        let hierarchy = Hierarchy {
            version: Version::V1,
            name: "pids".to_owned(),
            controllers: vec!["pids".to_owned()],
            mount: PathBuf::from("/m"),
            directory: PathBuf::from("/m/web"),
        };
        let record = Record { hierarchies: vec![hierarchy], ..Record::default() };
        let refused = |record: &Record, text: &str| {
            open_all(record, &[SubCgroup::parse(text).unwrap()], None).unwrap_err().to_string()
        };
        assert_eq!(refused(&record, "foo:/"), r#"sub-cgroup "foo:/": the container has no v1 cgroup of "foo""#);
        assert_eq!(refused(&Record::default(), "/x"), r#"sub-cgroup "/x": the container has no cgroup"#);
    }
}
