//! Controllers of v2 on their way down from the root to a container's cgroup (cgroup-v2.rst, "Enabling and Disabling").

use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;

use super::record::{Record, Version};
use super::setting::{self, Missing, Setting, Translation};
use super::{apply, file};
use crate::error::{Context, Error, Kind, Result};
use crate::plan::resources::Resources;

/// Hands controllers down to a v2 cgroup: all there are where v2 stands alone, those that limits need where v1
/// has the rest. True if all that is wanted arrived: what cannot be handed down matters only if a limit needs it, see
/// [`refuse_withheld`].
pub(super) fn prepare(record: &mut Record, resources: &Resources) -> Result<bool> {
    // systemd hands down what a unit can ask it for.
    let alone = record.hierarchies.len() == 1 && record.unit.is_none();
    if !alone && !apply::needs_v2(record, resources) {
        return Ok(true);
    }
    let Some(v2) = record.hierarchies.iter_mut().find(|hierarchy| hierarchy.version == Version::V2) else {
        return Ok(true);
    };
    let available = words(&v2.mount.join("cgroup.controllers"))?;
    v2.controllers = available.iter().cloned().collect();
    let directory = v2.directory.clone();
    let mount = v2.mount.clone();
    let wanted: BTreeSet<String> = if alone {
        available
    } else {
        let Translation { settings, .. } = apply::translate(record, resources)?;
        let on_v2 = |s: &Setting| setting::hierarchy_of(record, s).is_some_and(|h| h.version == Version::V2);
        settings
            .iter()
            .filter(|s| on_v2(s))
            .map(|s| s.controller.to_string())
            .filter(|c| available.contains(c))
            .collect()
    };
    if wanted.is_empty() || words(&directory.join("cgroup.controllers"))?.is_superset(&wanted) {
        return Ok(true);
    }
    hand_down(&mount, &directory, &wanted);
    Ok(false)
}

/// Enables `wanted` in every cgroup from `mount` down to the parent of `directory`.
fn hand_down(mount: &Path, directory: &Path, wanted: &BTreeSet<String>) {
    let mut ancestors: Vec<&Path> = directory.ancestors().skip(1).take_while(|a| a.starts_with(mount)).collect();
    ancestors.reverse();
    for ancestor in ancestors {
        enable(ancestor, wanted);
    }
}

/// Lets the cgroups below `parent` have those controllers of `wanted` that it can give.
pub(super) fn enable(parent: &Path, wanted: &BTreeSet<String>) {
    let path = parent.join("cgroup.subtree_control");
    let all: Vec<String> = wanted.iter().map(|controller| format!("+{controller}")).collect();
    if file::write(&path, &all.join(" ")).is_err() {
        // One that is refused refuses all: the others are tried alone.
        for one in &all {
            let _ = file::write(&path, one);
        }
    }
}

/// Names the cgroup that keeps back a controller which a limit needs: one with processes of its own cannot hand
/// any down (cgroup-v2.rst, "No Internal Process Constraint").
pub(super) fn refuse_withheld(record: &Record, resources: &Resources) -> Result<()> {
    let Some(v2) = record.v2().filter(|_| record.hierarchies.len() == 1 && resources.has_limits()) else {
        return Ok(());
    };
    let there = words(&v2.directory.join("cgroup.controllers"))?;
    let Translation { settings, .. } = apply::translate(record, resources)?;
    let withheld = settings.into_iter().find(|setting| {
        let controller = &*setting.controller;
        setting.missing == Missing::Fail
            && v2.controllers.iter().any(|c| c == controller)
            && !there.contains(controller)
    });
    let Some(setting) = withheld else { return Ok(()) };
    let has_it = |directory: &&Path| {
        words(&directory.join("cgroup.controllers")).is_ok_and(|there| there.contains(&*setting.controller))
    };
    let keeper = v2.directory.ancestors().skip(1).find(has_it).unwrap_or(&v2.mount);
    // The root of all cgroups, the only one without a type, may have some and hand down.
    let is_root = !keeper.join("cgroup.type").exists();
    let occupied = !is_root && !file::read(&keeper.join("cgroup.procs")).unwrap_or_default().is_empty();
    let error = Error::new(
        Kind::Unsupported,
        format!(
            "set {}: cgroup {} does not hand down the {} controller",
            setting.file,
            keeper.display(),
            setting.controller
        ),
    )
    .at(setting.pointer);
    Err(match occupied {
        false => error,
        true => {
            error.errno(Errno::EBUSY).hint("it has processes of its own: choose a cgroupsPath that is not below it")
        }
    })
}

pub(super) fn words(path: &Path) -> Result<BTreeSet<String>> {
    let value = file::read_value(path).context(|| format!("read {}", path.display()))?;
    Ok(value.split_whitespace().map(str::to_owned).collect())
}
