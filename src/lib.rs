//! coracle, an OCI container runtime. (The architecture page is written here.)

pub(crate) mod bundle;
pub(crate) mod cgroup;
pub(crate) mod container;
pub(crate) mod error;
pub(crate) mod fs;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod sync;
pub(crate) mod sys;
