//! `run`: create, start, wait and delete in one.

use super::create::{self, Created};
use super::{CreateOptions, RunOptions, Runtime, foreground, terminal};
use crate::bundle::Bundle;
use crate::error::{Context as _, Result};

/// Runs the container to its end, or with `detach` to its start.
pub(super) fn run(
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<i32> {
    if !run.no_subreaper && !run.detach {
        nix::sys::prctl::set_child_subreaper(true).context(|| "prctl PR_SET_CHILD_SUBREAPER")?;
    }
    let wants_terminal = bundle.config().process.as_ref().is_some_and(|process| process.terminal);
    let (ours, theirs) = if wants_terminal && !run.detach { Some(terminal::socket_pair()?) } else { None }.unzip();
    let Created { container, child } = create::create(runtime, id, bundle, options, theirs)?;
    let finished = ours
        .map(|socket| terminal::receive_master(&socket))
        .transpose()
        .and_then(|master| container.start().map(|()| master))
        .and_then(|master| if run.detach { Ok(0) } else { foreground::wait(&child, master) });
    match finished {
        Ok(code) if run.detach || run.keep => Ok(code),
        Ok(code) => container.delete(true).map(|()| code),
        Err(error) => {
            // The start failed: what it left is of no use to anybody.
            container.delete(true).unwrap_or_else(|cleanup| {
                (runtime.on_warning)(&crate::error::Warning::ignored(&cleanup));
            });
            Err(error)
        }
    }
}
