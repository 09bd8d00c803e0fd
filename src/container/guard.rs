//! Undoing: what was done to the host is undone when a step after it fails, in reverse order, by `Drop`.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::intel_rdt::Group;
use super::net_devices::Moved;
use super::store::Directory;
use crate::cgroup::Making;
use crate::error::{Context as _, Result, Warning};
use crate::sys;

/// Something on the host that is undone unless it is kept.
pub(crate) struct Guard<T: Undo> {
    made: Option<T>,
    on_warning: fn(&Warning),
}

/// What it takes to undo.
pub(crate) trait Undo {
    /// Takes it back. Failures become warnings: they never replace the cause.
    fn undo(&mut self) -> Result<Vec<Warning>>;
}

impl<T: Undo> Guard<T> {
    /// Guards `made`.
    pub fn new(made: T, on_warning: fn(&Warning)) -> Self {
        Guard { made: Some(made), on_warning }
    }

    /// What is guarded; `None` only after `keep`.
    pub fn made(&self) -> Option<&T> {
        self.made.as_ref()
    }

    /// The same, to be changed.
    pub fn made_mut(&mut self) -> Option<&mut T> {
        self.made.as_mut()
    }

    /// Everything went well: it stays.
    pub fn keep(mut self) -> Option<T> {
        self.made.take()
    }
}

impl<T: Undo> Drop for Guard<T> {
    fn drop(&mut self) {
        match self.made.as_mut().map(Undo::undo) {
            Some(Ok(warnings)) => warnings.iter().for_each(self.on_warning),
            Some(Err(error)) => (self.on_warning)(&Warning::ignored(&error)),
            None => {}
        }
    }
}

impl Undo for Directory {
    fn undo(&mut self) -> Result<Vec<Warning>> {
        self.remove().map(|()| Vec::new())
    }
}

impl Undo for Group {
    fn undo(&mut self) -> Result<Vec<Warning>> {
        Ok(self.remove())
    }
}

/// Network devices of the host in a container that is not there yet.
pub(crate) struct MovedDevices {
    pub moved: Option<Moved>,
    /// Of the container.
    pub namespace: OwnedFd,
}

impl Undo for MovedDevices {
    fn undo(&mut self) -> Result<Vec<Warning>> {
        Ok(self.moved.take().map(|moved| moved.undo(self.namespace.as_fd())).unwrap_or_default())
    }
}

impl Undo for Making {
    fn undo(&mut self) -> Result<Vec<Warning>> {
        Making::undo(self).map(|()| Vec::new())
    }
}

/// A child that has not become a container yet.
#[derive(Debug)]
pub(crate) struct Child {
    /// In the runtime's pid namespace.
    pub pid: i32,
    pub pidfd: OwnedFd,
}

impl Child {
    /// Waits for its end and removes it from the process table.
    pub fn reap(&self) -> Result<()> {
        waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)
            .map(drop)
            .context(|| format!("wait for process {}", self.pid))
    }
}

impl Undo for Child {
    fn undo(&mut self) -> Result<Vec<Warning>> {
        match sys::signal::send(self.pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
            Err(errno) => return Err(errno).context(|| format!("kill process {}", self.pid)),
        }
        self.reap().map(|()| Vec::new())
    }
}
