//! `start`: opens the gate, and reports what init could not do behind it.

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Container, delete, hooks, liveness};
use crate::error::{Context as _, Error, Kind, Result};
use crate::plan::hooks::Hooks;
use crate::state::Status;
use crate::sync::gate;

/// Lets init execute the program.
pub(super) fn start(container: &Container) -> Result<()> {
    let _lock = container.directory.lock()?;
    let record = container.directory.load()?;
    let refused = |text: &'static str| Err(Error::new(Kind::Status, text));
    match liveness::status(&container.directory, record.as_ref())? {
        Status::Created => {}
        Status::Running => return refused("cannot start an already running container"),
        Status::Stopped => return refused("cannot start a container that has stopped"),
        Status::Paused => return refused("cannot start a paused container"),
        Status::Creating => return refused("cannot start a container that is being created"),
    }
    let Some((record, init)) = record.and_then(|record| record.init.map(|init| (record, init))) else {
        return refused("cannot start a container that has stopped");
    };
    let hooks = if record.poststart_hooks { container.hooks()? } else { Hooks::default() };
    let started = gate::open(container.directory.as_fd(), |_listener| Ok(()));
    match unlinkat(container.directory.as_fd(), gate::NAME, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => {}
        result => result.context(|| "remove the start gate")?,
    }
    let state = record.state(Status::Running, init.pid);
    let finished = started.and_then(|()| hooks::run_poststart(&hooks, &state));
    // The specification's lifecycle: a hook that fails ends the container, as delete would.
    if finished.as_ref().is_err_and(|error| error.kind() == Kind::Hook) {
        delete::destroy(container, Some(&record))?;
    }
    finished
}
