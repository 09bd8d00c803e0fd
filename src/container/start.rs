//! `start`: opens the gate, and reports what init could not do behind it.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::notify_socket::{Listener, NotifySocket};
use super::store::InitProcess;
use super::{Container, activation, delete, hooks, liveness, seccomp_agent};
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::plan::hooks::Hooks;
use crate::state::Status;
use crate::sync::gate;
use crate::sys;

/// Lets init execute the program, and passes its readiness on if a service manager waits for it.
pub(super) fn start(container: &Container) -> Result<()> {
    let listener = listen(container)?;
    let init = open(container)?;
    let Some(listener) = listener else { return Ok(()) };
    let pidfd = match sys::fd::pidfd_open(init.pid) {
        // It ended, and its parent has reaped it already.
        Err(Errno::ESRCH) => return Ok(()),
        result => result.context(|| format!("open process {}", init.pid))?,
    };
    listener.wait(pidfd.as_fd(), init.pid).map(drop)
}

/// The socket at which the program reports its readiness, if `create` was told of a service manager and `start` is too.
pub(super) fn listen(container: &Container) -> Result<Option<Listener>> {
    let socket = activation::notify_socket(container.directory.path());
    socket.filter(NotifySocket::is_prepared).map(|socket| socket.bind()).transpose()
}

/// Opens the gate.
pub(super) fn open(container: &Container) -> Result<InitProcess> {
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
    let started = gate::open(container.directory.as_fd(), container.runtime.on_warning, |listener| {
        let notify = container.seccomp_notify()?;
        seccomp_agent::hand_over(&notify, &record.state(Status::Created, init.pid), init.pid, listener)
    });
    match unlinkat(container.directory.as_fd(), gate::NAME, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => {}
        result => result.context(|| "remove the start gate")?,
    }
    let state = record.state(Status::Running, init.pid);
    let finished = started.and_then(|()| hooks::run_poststart(&hooks, &state));
    // A hook that fails stops the container; the poststop hooks run when it is deleted.
    if finished.is_err() {
        delete::end(init, &Cgroup::from_record(&record.cgroup))?;
    }
    finished.map(|()| init)
}
