//! stub
use std::os::fd::OwnedFd;
use crate::error::{Context as _, Result};
use super::guard::Child;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::AsFd;
pub(crate) fn wait(child: &Child, _t: Option<OwnedFd>) -> Result<i32> {
    match waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED).context(|| "wait")? {
        WaitStatus::Exited(_, code) => Ok(code),
        WaitStatus::Signaled(_, s, _) => Ok(128 + s as i32),
        _ => Ok(0),
    }
}
