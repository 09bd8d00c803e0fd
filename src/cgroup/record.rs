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

    /// The v2 hierarchy.
    pub fn v2(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2)
    }
}
