//! Kernel parameters of the container's namespaces (config-linux.md#sysctl), written through a private procfs.

use std::os::fd::BorrowedFd;

use super::proc_file;
use crate::error::{Context, Result};
use crate::plan::pointer;
use crate::plan::sysctl::Sysctl;

/// Writes every parameter, in order. `proc` is the root of a procfs that nobody else can mount over.
pub(crate) fn set(proc: BorrowedFd<'_>, sysctls: &[Sysctl]) -> Result<()> {
    for sysctl in sysctls {
        proc_file::write(proc, &sysctl.path, sysctl.value.as_bytes())
            .context(|| format!("set the kernel parameter {} to {:?}", sysctl.key, sysctl.value))
            .map_err(|error| error.at(pointer::join("/linux/sysctl", &sysctl.key)))?;
    }
    Ok(())
}
