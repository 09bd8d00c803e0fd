//! `start`: opens the gate, and reports what init could not do behind it.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::create::Created;
use super::notify_socket::{Listener, NotifySocket};
use super::spawn::unexpected;
use super::store::{InitProcess, Record};
use super::{Container, activation, delete, hooks, liveness, seccomp_agent};
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::state::Status;
use crate::sync::frame::ToInit;
use crate::sync::{ParentEnd, gate};
use crate::{sys, timings};

/// Lets init execute the program, and passes its readiness on if a service manager waits for it.
pub(super) fn start(container: &Container) -> Result<()> {
    let listener = listen(container)?;
    let init = open(container)?;
    await_readiness(listener, init)
}

/// The same for what this process has just created.
pub(super) fn start_created(created: &Created) -> Result<()> {
    let lock = created.container.directory.locked();
    let listener = listen(&created.container)?;
    let init = open_line(created)?;
    drop(lock);
    await_readiness(listener, init)
}

fn await_readiness(listener: Option<Listener>, init: InitProcess) -> Result<()> {
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
    let started =
        gate::open(container.directory.as_fd()).and_then(|line| await_execution(container, &record, init, &line));
    match unlinkat(container.directory.as_fd(), gate::NAME, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => {}
        result => result.context(|| "remove the start gate")?,
    }
    conclude(container, &record, init, started)
}

/// Lets init go that waits at the other end of the line. The caller holds the lock.
pub(super) fn open_line(created: &Created) -> Result<InitProcess> {
    let Created { container, record, line, .. } = created;
    let (Some(line), Some(init)) = (line, record.init) else { return Err(unexpected()) };
    if !line.told {
        line.end.send(&ToInit::Continue)?;
    }
    let started = await_execution(container, record, init, &line.end);
    conclude(container, record, init, started)
}

fn await_execution(container: &Container, record: &Record, init: InitProcess, line: &ParentEnd) -> Result<()> {
    line.await_execution(container.runtime.on_warning, |listener| {
        let notify = container.seccomp_notify()?;
        seccomp_agent::hand_over(&notify, &record.state(Status::Created, init.pid), init.pid, listener)
    })
}

/// The poststart hooks, if the program runs.
fn conclude(container: &Container, record: &Record, init: InitProcess, started: Result<()>) -> Result<InitProcess> {
    timings::mark("program executed");
    let finished = started.and_then(|()| match record.poststart_hooks {
        true => hooks::run_poststart(&container.hooks()?, &record.state(Status::Running, init.pid)),
        false => Ok(()),
    });
    // A hook that fails stops the container; the poststop hooks run when it is deleted.
    if finished.is_err() {
        delete::end(init, &Cgroup::from_record(&record.cgroup))?;
    }
    finished.map(|()| init)
}
