//! linux.resources and linux.cgroupsPath, checked and typed.
//!
//! Reads the configuration only; `cgroup` turns the result into files.

pub(crate) mod devices;
mod limits;
mod path;
mod property;
mod scope;
pub(crate) mod value;

use serde::{Deserialize, Serialize};

use crate::bundle::resources::ResourcesConfig;
pub(crate) use devices::{Access, DeviceKind, DeviceSet, Exception};
pub(crate) use limits::{BlockIo, Cpu, DeviceNumber, Limit, Memory, Resources, Throttle};
pub(crate) use path::CgroupPath;
pub(crate) use property::Property;
pub(crate) use scope::Scope;

use crate::error::{Result, Warning};
use crate::host::HostFacts;

/// Who makes and removes control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupManager {
    /// The files of the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, by a transient scope.
    Systemd,
    /// Nobody: the container stays in the caller's cgroup.
    Disabled,
}

/// What the parent does about control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CgroupPlan {
    /// Who makes them.
    pub manager: CgroupManager,
    /// Where.
    pub path: CgroupPath,
    /// The unit, for the manager systemd.
    pub scope: Option<Scope>,
    /// Who gets the cgroup, as the host's user id: set where the container may make cgroups of its own.
    pub owner: Option<u32>,
    /// The limits. `devices` is set unless the caller cannot have device rules at all.
    pub resources: Resources,
}

impl CgroupPlan {
    /// Checks linux.cgroupsPath and linux.resources of the container `id`.
    ///
    /// Without a path the cgroup is `id` beside or below the caller's own (see [`CgroupPath`]). Without device
    /// rules only the default devices are allowed, as with an empty list. In a user namespace the kernel
    /// refuses device rules, so there are none.
    pub fn new(
        cgroups_path: Option<&str>,
        resources: Option<&ResourcesConfig>,
        id: &str,
        manager: CgroupManager,
        facts: &HostFacts,
    ) -> Result<(CgroupPlan, Vec<Warning>)> {
        let path = match cgroups_path.filter(|path| !path.is_empty()) {
            // The scope says it.
            _ if manager == CgroupManager::Systemd => CgroupPath::default(),
            Some(path) => CgroupPath::parse(path).map_err(|error| error.at("/linux/cgroupsPath"))?,
            None => CgroupPath::Relative(id.to_owned()),
        };
        let (mut resources, warnings) = match resources {
            Some(config) => Resources::new(config)?,
            None => (Resources::default(), Vec::new()),
        };
        if facts.rootless || facts.in_user_namespace {
            resources.devices = None;
        } else {
            resources.devices.get_or_insert_with(DeviceSet::defaults);
        }
        Ok((CgroupPlan { manager, path, scope: None, owner: None, resources }, warnings))
    }
}
