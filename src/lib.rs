//! coracle, an OCI container runtime. (The architecture page is written here.)

mod bundle;
pub(crate) mod cgroup;
mod container;
mod error;
mod features;
pub(crate) mod fs;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod sync;
pub(crate) mod sys;
mod time;

pub use bundle::Bundle;
pub use container::{CgroupManager, Container, CreateOptions, ExecOptions, RunOptions, Runtime, State, Status};
pub use error::{Error, Kind, Result, Warning};
pub use features::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures, MountExtensions,
    OCI_VERSION, OCI_VERSION_MIN, SeccompFeatures, features,
};
pub use time::rfc3339;
