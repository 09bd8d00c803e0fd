//! `delete`: what create made is undone, in whatever state it was left.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::create::Created;
use super::hooks::{self, HookPlaces};
use super::store::{InitProcess, Record};
use super::{Container, liveness};
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind, Result, Warning};
use crate::state::Status;
use crate::sys;

/// How long a killed process may take to disappear.
const DEATH: Duration = Duration::from_secs(10);

/// Removes the container. With `force` whatever runs is killed first.
pub(super) fn delete(container: &Container, force: bool) -> Result<()> {
    let _lock = container.directory.lock()?;
    let record = container.directory.load()?;
    let status = liveness::status(&container.directory, record.as_ref())?;
    match status {
        Status::Stopped => {}
        // Engines delete what they created and never started.
        Status::Created => {}
        _ if force => {}
        _ => {
            return Err(Error::new(
                Kind::Status,
                format!("cannot delete container {} that is not stopped: {}", container.id(), status.word()),
            )
            .hint("kill it first, or delete with --force"));
        }
    }
    destroy(container, record.as_ref(), status)
}

/// The same for a container whose init this process has reaped.
pub(super) fn delete_ended(created: &Created) -> Result<()> {
    let container = &created.container;
    let lock = container.directory.lock_any()?;
    if !created.begun.is_current()? {
        drop(lock);
        return delete(container, true);
    }
    destroy(container, Some(&created.record), Status::Stopped)?;
    // With the directory, which nobody finds any more, the lock goes.
    lock.leave();
    Ok(())
}

/// Ends what lives and removes what is left, then runs the poststop hooks. The caller holds the lock.
fn destroy(container: &Container, record: Option<&Record>, status: Status) -> Result<()> {
    let on_warning = container.runtime.on_warning;
    let Some(record) = record else { return container.directory.remove() };
    let cgroup = Cgroup::from_record(&record.cgroup);
    if let Some(init) = record.init.filter(|_| status != Status::Stopped) {
        end(init, &cgroup)?;
    }
    // A runtime that died half way may have left an init that nobody knows; and without a pid namespace
    // the death of init ends nobody else.
    if record.init.is_none() || !record.own_pid_namespace {
        cgroup.signal_all(libc::SIGKILL)?;
    }
    cgroup.destroy()?;
    if let Some(group) = &record.intel_rdt {
        group.remove().iter().for_each(on_warning);
    }
    let open = || -> Result<_> { Ok((container.hooks()?, HookPlaces::open(&record.state)?)) };
    let hooks = record.poststop_hooks.then(open).transpose();
    container.directory.remove()?;
    match hooks {
        Ok(None) => {}
        Ok(Some((hooks, places))) => hooks::run_poststop(&hooks, &record.state, &places.options(), on_warning),
        Err(error) => on_warning(&Warning::ignored(&error.context("run the poststop hooks"))),
    }
    Ok(())
}

/// Kills init if it lives, and waits until it is dead (not until its parent has reaped it).
pub(super) fn end(init: InitProcess, cgroup: &Cgroup) -> Result<()> {
    let Some(pidfd) = liveness::open(init)? else { return Ok(()) };
    match sys::signal::send(pidfd.as_fd(), libc::SIGKILL) {
        Err(Errno::ESRCH) => return Ok(()),
        result => result.context(|| format!("kill process {}", init.pid))?,
    }
    // A frozen process of v1 dies once it is thawed.
    if cgroup.is_frozen()? {
        cgroup.thaw()?;
    }
    let mut watched = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(DEATH).unwrap_or(PollTimeout::MAX);
    match poll(&mut watched, timeout).context(|| format!("wait for the death of process {}", init.pid))? {
        0 => Err(Error::new(Kind::Status, format!("process {} does not die", init.pid))
            .hint("it may be stuck in the kernel: try to delete the container again later")),
        _ => Ok(()),
    }
}
