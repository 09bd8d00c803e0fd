//! What is remembered about a cgroup between commands.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::plan::resources::CgroupManager;

/// The cgroup of a container, as state.json keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// Who made it, and so removes it.
    pub manager: CgroupManager,
    /// The path as planned, for messages; absolute if the configuration said so.
    pub path: String,
    /// Empty when the container has no cgroup of its own.
    pub hierarchies: Vec<Hierarchy>,
    /// What systemd calls it.
    pub unit: Option<Unit>,
    /// The processes live in this cgroup below the unit's v2 cgroup, a relative path.
    pub subgroup: Option<String>,
}

/// A transient scope of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Unit {
    /// With its suffix.
    pub name: String,
    /// Of the user's service manager.
    pub user: bool,
    /// By which it is known again.
    pub description: String,
    pub state: UnitState,
}

/// What this process knows about a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UnitState {
    /// It was not asked for.
    #[default]
    Planned,
    /// It was asked for, and the answer did not arrive.
    Perhaps,
    /// It is, or was, there.
    Started,
}

/// The cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    pub version: Version,
    /// The last component of the mount point: `cpu,cpuacct`, `systemd`, `unified`; `cgroup` for a lone v2.
    pub name: String,
    /// As /proc/self/cgroup names them, `name=systemd` for a named hierarchy; on v2 those of the mount's root
    /// at the time of creation.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The container's directory below it.
    pub directory: PathBuf,
}

/// Which kind of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Version {
    V1,
    V2,
}

impl Record {
    /// The v1 hierarchy with `controller`.
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.version == Version::V1 && hierarchy.controllers.iter().any(|c| c == controller))
    }

    /// The directory in `hierarchy` that processes join: the container's, or the subgroup.
    pub fn inner(&self, hierarchy: &Hierarchy) -> PathBuf {
        match &self.subgroup {
            Some(subgroup) if hierarchy.version == Version::V2 => hierarchy.directory.join(subgroup),
            _ => hierarchy.directory.clone(),
        }
    }

    /// The v2 hierarchy.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }
}
