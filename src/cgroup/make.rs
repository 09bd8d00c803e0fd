//! A cgroup comes to be: its place, directories, controllers, limits. All or nothing.

use std::path::PathBuf;

use super::Cgroup;
use super::apply;
use super::directories::{Made, is_refusal, open_v1, refuse_frozen_above, refuse_in_use};
use super::layout::{self, Mounted, Own};
use super::record::{Hierarchy, Record, Version};
use super::setting::{self, Setting, Translation};
use super::{controllers, devices, owner, scope};
use crate::error::{Error, Kind, Result, Warning};
use crate::host::HostFacts;
use crate::plan::resources::{CgroupManager, CgroupPath, CgroupPlan, Resources};

/// See [`Cgroup::locate`](super::Cgroup::locate).
pub(super) fn locate(plan: &CgroupPlan, facts: &HostFacts) -> Result<(Record, Option<String>)> {
    let path = match &plan.path {
        CgroupPath::Absolute(path) => format!("/{path}"),
        CgroupPath::Relative(path) => path.clone(),
    };
    let mut record = Record { manager: plan.manager, path, ..Record::default() };
    if plan.manager == CgroupManager::Disabled {
        return Ok((record, None));
    }
    let mut own = Own::default();
    let mounted = layout::mounted(facts.cgroup, &mut own)?;
    if mounted.is_empty() && !facts.rootless {
        return Err(Error::new(Kind::Unsupported, "make a cgroup: no cgroup file system is mounted")
            .hint("mount it, or use --cgroup-manager disabled"));
    }
    record.hierarchies = place(&mounted, plan, &mut own)?;
    if let Some(scope) = &plan.scope {
        scope::refuse_existing(scope, &record.hierarchies)?;
        record.unit = Some(scope::unit(scope));
        record.hierarchies.retain(|hierarchy| !scope::is_managed(hierarchy.version, &hierarchy.controllers));
        return Ok((record, None));
    }
    if record.hierarchies.first().is_some_and(|first| first.directory.exists()) {
        let directories: Vec<PathBuf> = record.hierarchies.iter().map(|it| it.directory.clone()).collect();
        refuse_in_use(&record, &directories)?;
    }
    // A rootless runtime learns only by trying which of them it gets.
    let read = own.read().filter(|_| !facts.rootless);
    let memberships = read.map(|own| layout::memberships_in(&record.hierarchies, &mounted, own));
    Ok((record, memberships))
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

/// The container's directory in each hierarchy.
fn place(mounted: &[Mounted], plan: &CgroupPlan, own: &mut Own) -> Result<Vec<Hierarchy>> {
    let of_user = plan.scope.as_ref().is_some_and(|scope| scope.user);
    let own = match &plan.path {
        CgroupPath::Absolute(_) if !of_user => "",
        _ => own.lines()?,
    };
    let alone = mounted.len() == 1;
    let directory = |mounted: &Mounted| match &plan.path {
        CgroupPath::Absolute(path) if of_user => scope::of_user_manager(mounted, own).join(path),
        CgroupPath::Absolute(path) => mounted.mount.join(path),
        CgroupPath::Relative(path) => {
            let own = layout::own_directory(mounted, own);
            let beside = mounted.version == Version::V2 && alone && own != mounted.mount;
            match own.parent() {
                Some(parent) if beside => parent.join(path),
                _ => own.join(path),
            }
        }
    };
    Ok(mounted.iter().map(|mounted| mounted.hierarchy(directory(mounted))).collect())
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
