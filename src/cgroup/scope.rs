//! A container's unit of systemd: started around its first process, limited, stopped.
//!
//! A scope must have a process when it starts, so init is cloned first and waits while systemd makes the scope and
//! moves it there: the one grace period of the kernel that this costs is systemd's. In the hierarchies that systemd does
//! not manage (on v1 all but the named one) the cgroup is then made by files at the same path, and init joins it.

use std::path::{Path, PathBuf};

use nix::errno::Errno as NixErrno;
use nix::unistd::geteuid;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::directories::{Made, open_v1};
use super::layout::{self, Mounted, Own};
use super::properties::UnitProperty;
use super::record::{Hierarchy, Record, Unit, UnitState, Version};
use super::systemd::{Manager, Unstarted};
use super::{apply, controllers, file, owner, properties, remove};
use crate::error::{Context, Error, Kind, Result, Warning};
use crate::host::{CgroupLayout, HostFacts};
use crate::plan::resources::{CgroupPlan, Resources, Scope};

/// The unit as it is kept on disk before it is there.
pub(super) fn unit(scope: &Scope) -> Unit {
    Unit {
        name: scope.unit.clone(),
        user: scope.user,
        description: scope.description.clone(),
        state: UnitState::Planned,
    }
}

/// Refuses a unit whose cgroup is there already: it is somebody else's.
pub(super) fn refuse_existing(scope: &Scope, hierarchies: &[Hierarchy]) -> Result<()> {
    match hierarchies.iter().find(|hierarchy| hierarchy.directory.exists()) {
        None => Ok(()),
        Some(hierarchy) => Err(Error::sys(
            NixErrno::EEXIST,
            format!("use unit {}: it has the cgroup {}", scope.unit, hierarchy.directory.display()),
        )
        .at("/linux/cgroupsPath")),
    }
}

/// Whether systemd makes the cgroup in this hierarchy.
pub(super) fn is_managed(version: Version, controllers: &[String]) -> bool {
    version == Version::V2 || controllers.iter().any(|controller| controller == "name=systemd")
}

/// The cgroup of the user's service manager, as far as can be told beforehand: that of the caller, if it is below one.
pub(super) fn of_user_manager(mounted: &Mounted, own: &str) -> PathBuf {
    let own = layout::own_directory(mounted, own);
    let is_manager = |directory: &&Path| {
        let name = directory.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        name.starts_with("user@") && name.ends_with(".service")
    };
    let uid = geteuid();
    let usual = || mounted.mount.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    own.ancestors().find(is_manager).map_or_else(usual, Path::to_owned)
}

/// See [`super::Cgroup::adopt`].
pub(super) fn adopt(record: &mut Record, plan: &CgroupPlan, facts: &HostFacts, pid: i32) -> Result<Vec<Warning>> {
    let (Some(scope), Some(unit)) = (&plan.scope, &mut record.unit) else { return Ok(Vec::new()) };
    start(unit, scope, &plan.resources, facts, pid)?;
    beside_unit(record, &plan.resources, facts.rootless)?;
    find(record, facts, pid)?;
    if facts.cgroup == CgroupLayout::Unified
        && let (Some(subgroup), Some(v2)) = (&scope.subgroup, record.v2())
    {
        enter_subgroup(&v2.directory, subgroup, pid)?;
        record.subgroup = Some(subgroup.clone());
    }
    if !controllers::prepare(record, &plan.resources)? {
        let withheld = controllers::refuse_withheld(record, &plan.resources);
        withheld.map_err(|error| if facts.rootless { how_to_delegate(error) } else { error })?;
    }
    if let Some(v2) = record.hierarchies.iter_mut().find(|hierarchy| hierarchy.version == Version::V2) {
        v2.controllers = controllers::words(&v2.directory.join("cgroup.controllers"))?.into_iter().collect();
    }
    let limited = apply::apply(record, &plan.resources, false);
    let warnings = limited.map_err(|error| if facts.rootless { how_to_delegate(error) } else { error })?;
    owner::give(record, plan.owner)?;
    Ok(warnings)
}

fn start(unit: &mut Unit, scope: &Scope, resources: &Resources, facts: &HostFacts, pid: i32) -> Result<()> {
    let version = if facts.cgroup == CgroupLayout::Unified { Version::V2 } else { Version::V1 };
    let properties = properties::of_scope(scope, resources, version, pid.unsigned_abs())?;
    let mut manager = Manager::open(unit.user).map_err(|error| error.context(format!("start unit {}", unit.name)))?;
    unit.state = UnitState::Perhaps;
    match manager.start(&unit.name, properties) {
        Ok(()) => {
            unit.state = UnitState::Started;
            Ok(())
        }
        Err(Unstarted::Surely(error)) => {
            unit.state = UnitState::Planned;
            Err(error.at("/linux/cgroupsPath"))
        }
        Err(Unstarted::Perhaps(error)) => Err(error),
    }
}

/// Makes the directories that systemd does not make, at the place of the unit's. Not before the unit is there: systemd
/// takes away what it finds empty in hierarchies that a slice on the way does not need.
fn beside_unit(record: &mut Record, resources: &Resources, rootless: bool) -> Result<()> {
    let mut made = Made::default();
    made.make_all(record, rootless, |_every| true)?;
    open_v1(record, resources)?;
    made.keep();
    Ok(())
}

/// Where the process is now: what systemd says about places is true for its own view only.
fn find(record: &mut Record, facts: &HostFacts, pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/cgroup");
    let places = file::read(Path::new(&path)).context(|| format!("read {path}"))?;
    let name = record.unit.as_ref().map(|unit| unit.name.clone()).unwrap_or_default();
    let mut found = false;
    for mounted in
        layout::mounted(facts.cgroup, &mut Own::default())?.iter().filter(|m| is_managed(m.version, &m.controllers))
    {
        let directory = layout::own_directory(mounted, &places);
        if directory.file_name().is_some_and(|last| last == name.as_str()) {
            record.hierarchies.push(mounted.hierarchy(directory));
            found = true;
        }
    }
    match found {
        true => Ok(()),
        false => Err(Error::new(
            Kind::System,
            format!("start unit {name}: process {pid} is not in it: {}", places.trim_end()),
        )),
    }
}

/// Makes the cgroups on the way from the unit to `subgroup`, moves init there, and then enables every controller
/// on the way: a cgroup with processes of its own could not hand them down. The move takes no grace period of
/// its own so soon behind systemd's.
fn enter_subgroup(unit: &Path, subgroup: &str, pid: i32) -> Result<()> {
    let mut parents = vec![unit.to_owned()];
    for part in subgroup.split('/') {
        let directory = parents.last().map(|parent| parent.join(part)).unwrap_or_default();
        match rustix::fs::mkdir(&directory, Mode::from(0o755)) {
            Ok(()) | Err(Errno::EXIST) => parents.push(directory),
            Err(errno) => return Err(errno).context(|| format!("make cgroup {}", directory.display())),
        }
    }
    let Some(last) = parents.pop() else { return Ok(()) };
    let procs = last.join("cgroup.procs");
    file::write(&procs, &pid.to_string()).context(|| format!("write \"{pid}\" to {}", procs.display()))?;
    let controllers = controllers::words(&unit.join("cgroup.controllers"))?;
    for parent in parents {
        controllers::enable(&parent, &controllers);
    }
    Ok(())
}

/// What a limit that a user may not set needs.
pub(super) fn how_to_delegate(error: Error) -> Error {
    error.hint(
        "root can delegate the controller to users: Delegate=cpu cpuset io memory pids in the section [Service] of \
         /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload and a new login",
    )
}

/// Tells systemd of changed limits, which last until the unit ends, and gives what takes them back; nothing where
/// it does not manage the container. It writes files of its own accord, so the exact values are written afterwards.
pub(super) fn update(record: &Record, before: &Resources, after: &Resources) -> Result<Vec<UnitProperty>> {
    if record.unit.is_none() {
        return Ok(Vec::new());
    }
    let only_v2 = record.hierarchies.len() == 1 && record.v2().is_some();
    let version = if only_v2 { Version::V2 } else { Version::V1 };
    let before = properties::of_resources(before, version)?;
    let changed = properties::changed(&before, properties::of_resources(after, version)?);
    let undo = properties::undo(&changed, &before);
    set(record, changed)?;
    Ok(undo)
}

/// Sets properties of the container's unit.
pub(super) fn set(record: &Record, properties: Vec<UnitProperty>) -> Result<()> {
    match &record.unit {
        Some(unit) if !properties.is_empty() => {
            Manager::open(unit.user)?.set_properties(&unit.name, properties::with_resets(properties))
        }
        _ => Ok(()),
    }
}

/// Stops the unit if it is still there: it ends by itself once it is empty.
pub(super) fn stop(record: &Record) -> Result<()> {
    let Some(unit) = &record.unit else { return Ok(()) };
    match unit.state {
        UnitState::Planned => Ok(()),
        UnitState::Perhaps => stop_if_ours(unit),
        UnitState::Started => {
            let managed: Vec<&Hierarchy> =
                record.hierarchies.iter().filter(|h| is_managed(h.version, &h.controllers)).collect();
            remove::wait_until_empty(&managed)?;
            if managed.iter().any(|hierarchy| hierarchy.directory.exists()) {
                Manager::open(unit.user)?.stop(&unit.name)?;
            }
            Ok(())
        }
    }
}

/// A creation that ended at the wrong moment: somebody else may have used the name since.
fn stop_if_ours(unit: &Unit) -> Result<()> {
    let mut manager = Manager::open(unit.user)?;
    if manager.description(&unit.name)? != unit.description {
        return Ok(());
    }
    manager.kill(&unit.name)?;
    manager.stop(&unit.name)
}
