//! A cgroup comes to be: directories, cpuset's sets, controllers, limits. All or nothing.

use std::path::{Path, PathBuf};

use nix::errno::Errno as NixErrno;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::apply;
use super::layout::{self, Mounted};
use super::record::{Hierarchy, Record, Version};
use super::setting::{self, Setting, Translation};
use super::{controllers, devices, file, freeze, owner, processes, scope};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::host::HostFacts;
use crate::plan::resources::{CgroupManager, CgroupPath, CgroupPlan, Resources};

/// See [`Cgroup::locate`](super::Cgroup::locate).
pub(super) fn locate(plan: &CgroupPlan, facts: &HostFacts) -> Result<Record> {
    let path = match &plan.path {
        CgroupPath::Absolute(path) => format!("/{path}"),
        CgroupPath::Relative(path) => path.clone(),
    };
    let mut record = Record { manager: plan.manager, path, ..Record::default() };
    if plan.manager == CgroupManager::Disabled {
        return Ok(record);
    }
    let mounted = layout::mounted(facts.cgroup)?;
    if mounted.is_empty() && !facts.rootless {
        return Err(Error::new(Kind::Unsupported, "make a cgroup: no cgroup file system is mounted")
            .hint("mount it, or use --cgroup-manager disabled"));
    }
    record.hierarchies = place(&mounted, plan)?;
    if let Some(scope) = &plan.scope {
        scope::refuse_existing(scope, &record.hierarchies)?;
        record.unit = Some(scope::unit(scope));
        record.hierarchies.retain(|hierarchy| !scope::is_managed(hierarchy.version, &hierarchy.controllers));
        return Ok(record);
    }
    if record.hierarchies.first().is_some_and(|first| first.directory.exists()) {
        refuse_in_use(&record)?;
    }
    Ok(record)
}

/// See [`Cgroup::make`](super::Cgroup::make).
pub(super) fn make(record: &mut Record, plan: &CgroupPlan, facts: &HostFacts) -> Result<Vec<Warning>> {
    if plan.manager == CgroupManager::Disabled {
        return Ok(no_cgroup(&plan.resources, "control groups are disabled"));
    }
    if plan.scope.is_some() {
        // Once the unit is there: see `beside_unit`.
        return Ok(Vec::new());
    }
    let (made, existed) = directories(record, facts.rootless)?;
    if existed {
        refuse_in_use(record)?;
    }
    open(record, &plan.resources)?;
    let complete = controllers::prepare(record, &plan.resources)?;
    if !complete && !facts.rootless {
        controllers::refuse_withheld(record, &plan.resources)?;
    }
    let warnings = limit(record, &plan.resources, facts.rootless, existed)?;
    owner::give(record, plan.owner)?;
    made.keep();
    Ok(warnings)
}

/// Makes the directories that systemd does not make, at the place of the unit's. Not before the unit is there: systemd
/// takes away what it finds empty in hierarchies that a slice on the way does not need.
pub(super) fn beside_unit(record: &mut Record, resources: &Resources, rootless: bool) -> Result<()> {
    let (made, _) = directories(record, rootless)?;
    open(record, resources)?;
    made.keep();
    Ok(())
}

/// Makes the directory in every hierarchy of `record`; without rights, only in those where a rootless runtime may. Tells
/// whether one was there already.
fn directories(record: &mut Record, rootless: bool) -> Result<(Made, bool)> {
    let mut made = Made::default();
    let mut existed = false;
    let mut allowed = Vec::with_capacity(record.hierarchies.len());
    for hierarchy in std::mem::take(&mut record.hierarchies) {
        match made.make(&hierarchy.mount, &hierarchy.directory) {
            Ok(fresh) => existed |= !fresh,
            Err(error) if rootless && is_refusal(&error) => continue,
            Err(error) => return Err(error),
        }
        allowed.push(hierarchy);
    }
    record.hierarchies = allowed;
    Ok((made, existed))
}

/// Sees to it that a process can enter, and go on.
fn open(record: &Record, resources: &Resources) -> Result<()> {
    refuse_frozen_above(record)?;
    record.v1("cpuset").map_or(Ok(()), |cpuset| inherit_sets(cpuset, resources))
}

/// The container's directory in each hierarchy.
fn place(mounted: &[Mounted], plan: &CgroupPlan) -> Result<Vec<Hierarchy>> {
    let of_user = plan.scope.as_ref().is_some_and(|scope| scope.user);
    let own = match &plan.path {
        CgroupPath::Absolute(_) if !of_user => String::new(),
        _ => layout::own()?,
    };
    let alone = mounted.len() == 1;
    let directory = |mounted: &Mounted| match &plan.path {
        CgroupPath::Absolute(path) if of_user => scope::of_user_manager(mounted, &own).join(path),
        CgroupPath::Absolute(path) => mounted.mount.join(path),
        CgroupPath::Relative(path) => {
            let own = layout::own_directory(mounted, &own);
            let beside = mounted.version == Version::V2 && alone && own != mounted.mount;
            match own.parent() {
                Some(parent) if beside => parent.join(path),
                _ => own.join(path),
            }
        }
    };
    Ok(mounted.iter().map(|mounted| mounted.hierarchy(directory(mounted))).collect())
}

/// How often a parent is made anew that another runtime, whose creation failed, took away again.
const ATTEMPTS: usize = 8;

/// Directories made so far: removed again, last first, unless kept.
#[derive(Default)]
struct Made(Vec<PathBuf>);

impl Made {
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

    fn keep(mut self) {
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
fn is_refusal(error: &Error) -> bool {
    let refusals = [NixErrno::EACCES, NixErrno::EPERM, NixErrno::EROFS];
    error.raw_errno().is_some_and(|raw| refusals.contains(&NixErrno::from_raw(raw)))
}

/// A cgroup of somebody else's processes, also one further down, would be limited, frozen and killed with the container.
fn refuse_in_use(record: &Record) -> Result<()> {
    for hierarchy in &record.hierarchies {
        let mut found = String::new();
        for directory in processes::tree(&hierarchy.directory)? {
            found += &processes::read_lines(&directory)?;
        }
        if !found.is_empty() {
            let list: Vec<&str> = found.lines().take(5).collect();
            return Err(Error::new(
                Kind::System,
                format!(
                    "use cgroup {}: it is not empty, it has the processes {}",
                    hierarchy.directory.display(),
                    list.join(", ")
                ),
            )
            .errno(NixErrno::EBUSY)
            .at("/linux/cgroupsPath"));
        }
    }
    if freeze::is_frozen(record)? {
        return Err(Error::new(Kind::System, format!("use cgroup {}: it is frozen", record.path))
            .errno(NixErrno::EBUSY)
            .at("/linux/cgroupsPath"));
    }
    Ok(())
}

/// Whatever enters a cgroup below a frozen one stops at once: nobody would ever hear of it again.
fn refuse_frozen_above(record: &Record) -> Result<()> {
    match freeze::is_frozen_from_above(record)? {
        false => Ok(()),
        true => Err(Error::new(Kind::System, format!("use cgroup {}: a cgroup above it is frozen", record.path))
            .errno(NixErrno::EBUSY)
            .at("/linux/cgroupsPath")),
    }
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

/// What is lost without a cgroup.
fn no_cgroup(resources: &Resources, reason: &str) -> Vec<Warning> {
    if !resources.has_limits() {
        return Vec::new();
    }
    vec![Warning::config("/linux/resources", format!("limit resources: {reason}, ignoring"))]
}

/// Writes the limits. A rootless runtime that got no cgroup for some of them warns.
fn limit(record: &Record, resources: &Resources, rootless: bool, existed: bool) -> Result<Vec<Warning>> {
    if !rootless {
        return apply::apply(record, resources, existed);
    }
    if record.hierarchies.is_empty() {
        return Ok(no_cgroup(
            resources,
            "no cgroup is delegated to this user (systemd-run --user --scope --property=Delegate=yes gives one)",
        ));
    }
    let Translation { settings, mut warnings } = apply::translate(record, resources)?;
    let (held, lost): (Vec<Setting>, Vec<Setting>) =
        settings.into_iter().partition(|setting| setting::hierarchy_of(record, setting).is_some());
    warnings.extend(lost.into_iter().map(|setting| {
        let message = format!(
            "set {}: the {} controller is not delegated to this user, ignoring",
            setting.file, setting.controller
        );
        Warning::config(setting.pointer, message)
    }));
    setting::write_all(record, held)?;
    if let Some(set) = &resources.devices {
        match devices::apply(record, set, existed) {
            Err(error) if is_refusal(&error) => {}
            result => result?,
        }
    }
    Ok(warnings)
}
