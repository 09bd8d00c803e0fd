//! The state of a container (runtime.md#state), as `state` prints it and hooks get it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where a container is in its life (runtime.md#state; paused is this program's addition, as in every runtime).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// `create` is at work.
    Creating,
    /// Init waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// Init is gone.
    Stopped,
    /// Every process is frozen.
    Paused,
}

impl Status {
    /// The word of the specification.
    pub const fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Stopped => "stopped",
            Status::Paused => "paused",
        }
    }
}

/// The state of a container at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification that the bundle was written for.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Process id of init in the caller's pid namespace; 0 when stopped.
    pub pid: i32,
    /// Where it is in its life.
    pub status: Status,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// Absolute path of the root file system.
    pub rootfs: PathBuf,
    /// When it was created, RFC 3339 in UTC.
    pub created: String,
    /// User name of the owner of its state (empty when the host does not know one).
    pub owner: String,
    /// Annotations of the configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl State {
    /// What a hook reads.
    pub(crate) fn to_hook_json(&self, status: Status, pid: i32) -> Vec<u8> {
        self.for_others(status, pid).to_string().into_bytes()
    }

    /// What a hook or a seccomp agent reads: the state of the specification, with `root` as engines expect it.
    pub(crate) fn for_others(&self, status: Status, pid: i32) -> serde_json::Value {
        let mut value = serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status,
            "pid": pid,
            "bundle": self.bundle,
            "root": self.rootfs,
        });
        if let Some(object) = value.as_object_mut().filter(|_| !self.annotations.is_empty()) {
            object.insert("annotations".into(), serde_json::json!(self.annotations));
        }
        value
    }
}
