//! What the parent sets on a process that waits: limits, which a child of a user namespace may not raise.

use crate::error::{Context as _, Result};
use crate::plan::process::ProcessPlan;
use crate::sys;

/// Sets the resource limits of the process `pid` (prlimit(2)).
pub(super) fn apply(pid: i32, process: &ProcessPlan) -> Result<()> {
    for (index, limit) in process.rlimits.iter().enumerate() {
        sys::process::set_limit(pid, limit.resource, limit.soft, limit.hard)
            .context(|| format!("set {} to {}:{}", limit.name, limit.soft, limit.hard))
            .map_err(|error| error.at(format!("{}/rlimits/{index}", process.pointer)))?;
    }
    Ok(())
}
