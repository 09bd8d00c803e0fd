//! config.json as it is written (config.md, config-linux.md; version 1.3).
//!
//! The types of `oci_spec` where they are right; own ones where they lose or refuse something that the
//! specification allows: a resource limit or a device number that is missing, a `null` list of names, monitoring of intelRdt, and the
//! order and duplicates of an object with the user's own keys.

use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::Deserialize;

use super::process::Process;
use super::resources::ResourcesConfig;
use super::seccomp::SeccompConfig;
use super::shape::{Map, entries, nullable, object, object_entries, objects, optional_object};

/// config.json. Properties that are not named here are ignored (config.md#extensibility).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Config {
    pub oci_version: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub root: Option<oci::Root>,
    #[serde(deserialize_with = "objects")]
    pub mounts: Vec<oci::Mount>,
    #[serde(deserialize_with = "optional_object")]
    pub process: Option<Process>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub hooks: Option<Hooks>,
    #[serde(deserialize_with = "entries")]
    pub annotations: Map<String>,
    #[serde(deserialize_with = "optional_object")]
    pub linux: Option<Linux>,
}

impl Config {
    /// Whether a security module of the host has something to do for it.
    pub fn has_labels(&self) -> bool {
        let labelled = |linux: &Linux| linux.mount_label.is_some();
        self.process.as_ref().is_some_and(Process::has_labels) || self.linux.as_ref().is_some_and(labelled)
    }
}

/// hooks (config.md#posix-platform-hooks).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Hooks {
    #[serde(deserialize_with = "objects")]
    pub prestart: Vec<oci::Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_runtime: Vec<oci::Hook>,
    #[serde(deserialize_with = "objects")]
    pub create_container: Vec<oci::Hook>,
    #[serde(deserialize_with = "objects")]
    pub start_container: Vec<oci::Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststart: Vec<oci::Hook>,
    #[serde(deserialize_with = "objects")]
    pub poststop: Vec<oci::Hook>,
}

/// linux (config-linux.md).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Linux {
    #[serde(deserialize_with = "objects")]
    pub namespaces: Vec<oci::LinuxNamespace>,
    #[serde(deserialize_with = "objects")]
    pub uid_mappings: Vec<oci::LinuxIdMapping>,
    #[serde(deserialize_with = "objects")]
    pub gid_mappings: Vec<oci::LinuxIdMapping>,
    #[serde(deserialize_with = "object_entries")]
    pub time_offsets: Map<oci::LinuxTimeOffset>,
    #[serde(deserialize_with = "objects")]
    pub devices: Vec<Device>,
    #[serde(deserialize_with = "object_entries")]
    pub net_devices: Map<NetDevice>,
    pub cgroups_path: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub resources: Option<ResourcesConfig>,
    pub rootfs_propagation: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub seccomp: Option<SeccompConfig>,
    #[serde(deserialize_with = "entries")]
    pub sysctl: Map<String>,
    #[serde(deserialize_with = "nullable")]
    pub masked_paths: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub readonly_paths: Vec<String>,
    pub mount_label: Option<String>,
    #[serde(deserialize_with = "optional_object")]
    pub intel_rdt: Option<IntelRdt>,
    #[serde(deserialize_with = "optional_object")]
    pub memory_policy: Option<MemoryPolicy>,
    #[serde(deserialize_with = "optional_object")]
    pub personality: Option<oci::LinuxPersonality>,
}

/// One entry of linux.devices (config-linux.md#devices). Zero is a device number, so a missing one is told apart.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    #[serde(default)]
    pub path: PathBuf,
    pub r#type: oci::LinuxDeviceType,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// One value of linux.netDevices; its key is the name on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct NetDevice {
    pub name: Option<String>,
}

/// linux.intelRdt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IntelRdt {
    #[serde(rename = "closID")]
    pub clos_id: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub schemata: Vec<String>,
    pub l3_cache_schema: Option<String>,
    pub mem_bw_schema: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub enable_monitoring: bool,
    /// Before 1.3.
    #[serde(rename = "enableCMT", deserialize_with = "nullable")]
    pub enable_cmt: bool,
    /// Before 1.3.
    #[serde(rename = "enableMBM", deserialize_with = "nullable")]
    pub enable_mbm: bool,
}

/// linux.memoryPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct MemoryPolicy {
    #[serde(deserialize_with = "nullable")]
    pub mode: String,
    pub nodes: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub flags: Vec<String>,
}

/// A configuration that is a whole document.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct ConfigDocument(#[serde(deserialize_with = "object")] pub Config);
