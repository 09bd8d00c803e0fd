//! A cgroup comes to be: directories, cpuset's sets, controllers, limits. All or nothing.

use std::path::{Path, PathBuf};

use nix::errno::Errno as NixErrno;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::Cgroup;
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
        let directories: Vec<PathBuf> = record.hierarchies.iter().map(|it| it.directory.clone()).collect();
        refuse_in_use(&record, &directories)?;
    }
    Ok(record)
}

/// A container's cgroup while it is made, in two steps: [`begin`](Making::begin) makes what a process has to be born
/// into, and [`finish`](Making::finish) the rest, while that process is busy with its namespaces.
#[derive(Debug)]
pub(crate) struct Making {
    cgroup: Cgroup,
    /// Until the end of [`Making::finish`].
    made: Option<Made>,
    /// Some of it was there before.
    existed: bool,
}

impl Making {
    /// Of `cgroup`, which has been located.
    pub fn new(cgroup: Cgroup) -> Making {
        Making { cgroup, made: Some(Made::default()), existed: false }
    }

    /// The cgroup.
    pub fn cgroup(&mut self) -> &mut Cgroup {
        &mut self.cgroup
    }

    /// Makes the directory on v2 and hands controllers down to it. Nothing where systemd makes it: see
    /// [`Cgroup::adopt`].
    ///
    /// A rootless runtime that may not make cgroups gets none: it has to try all of them to know what v2 is needed for.
    pub fn begin(&mut self, plan: &CgroupPlan, facts: &HostFacts) -> Result<()> {
        if plan.manager == CgroupManager::Disabled || plan.scope.is_some() {
            return Ok(());
        }
        self.make_directories(facts, |version| facts.rootless || version == Version::V2)?;
        let record = &mut self.cgroup.record;
        if record.v1("freezer").is_none() {
            refuse_frozen_above(record)?;
        }
        let complete = controllers::prepare(record, &plan.resources)?;
        if complete || facts.rootless { Ok(()) } else { controllers::refuse_withheld(record, &plan.resources) }
    }

    /// Makes the directories on v1, copies cpuset's sets down where they need it, and writes the limits.
    pub fn finish(&mut self, plan: &CgroupPlan, facts: &HostFacts) -> Result<Vec<Warning>> {
        let warnings = match plan.manager {
            CgroupManager::Disabled => no_cgroup(&plan.resources, "control groups are disabled"),
            _ if plan.scope.is_some() => Vec::new(),
            _ => {
                if !facts.rootless {
                    self.make_directories(facts, |version| version == Version::V1)?;
                }
                let record = &self.cgroup.record;
                open_v1(record, &plan.resources)?;
                let warnings = limit(record, &plan.resources, facts.rootless, self.existed)?;
                owner::give(record, plan.owner)?;
                warnings
            }
        };
        if let Some(made) = self.made.take() {
            made.keep();
        }
        Ok(warnings)
    }

    /// Removes it again, with every process in it. What was there before stays until [`Making::finish`] has made it the
    /// container's.
    pub fn undo(&mut self) -> Result<()> {
        match self.made.take() {
            Some(made) => drop(made),
            None => {
                self.cgroup.signal_all(libc::SIGKILL)?;
                self.cgroup.destroy()?;
            }
        }
        Ok(())
    }

    /// Makes those of the hierarchies that are `due`; refuses what was there before and is in use.
    fn make_directories(&mut self, facts: &HostFacts, due: impl Fn(Version) -> bool) -> Result<()> {
        let (Some(made), record) = (&mut self.made, &mut self.cgroup.record) else { return Ok(()) };
        let found = made.make_all(record, facts.rootless, due)?;
        self.existed |= !found.is_empty();
        if self.existed { refuse_in_use(record, &found) } else { Ok(()) }
    }
}

/// Makes the directories that systemd does not make, at the place of the unit's. Not before the unit is there: systemd
/// takes away what it finds empty in hierarchies that a slice on the way does not need.
pub(super) fn beside_unit(record: &mut Record, resources: &Resources, rootless: bool) -> Result<()> {
    let mut made = Made::default();
    made.make_all(record, rootless, |_every| true)?;
    open_v1(record, resources)?;
    made.keep();
    Ok(())
}

/// Sees to it that a process can enter the cgroups of v1, and go on.
fn open_v1(record: &Record, resources: &Resources) -> Result<()> {
    if record.v1("freezer").is_some() {
        refuse_frozen_above(record)?;
    }
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
#[derive(Debug, Default)]
struct Made(Vec<PathBuf>);

impl Made {
    /// Makes the directories of `record` in the versions that are `due`; without rights, only those that a rootless
    /// runtime may. Gives those that were there already.
    fn make_all(&mut self, record: &mut Record, rootless: bool, due: impl Fn(Version) -> bool) -> Result<Vec<PathBuf>> {
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
fn refuse_in_use(record: &Record, directories: &[PathBuf]) -> Result<()> {
    for directory in directories {
        let mut found = String::new();
        for directory in processes::tree(directory)? {
            found += &processes::read_lines(&directory)?;
        }
        if !found.is_empty() {
            let list: Vec<&str> = found.lines().take(5).collect();
            return Err(Error::new(
                Kind::System,
                format!(
                    "use cgroup {}: it is not empty, it has the processes {}",
                    directory.display(),
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
