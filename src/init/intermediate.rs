//! The intermediate: it makes or joins the namespaces that only its children are born into, clones init as
//! its own sibling and ends. See the process model at the head of the library.

use std::os::fd::AsFd;

use super::{Born, InitFds, InitRequest, credentials, fail};
use crate::error::{Context as _, Result};
use crate::plan::namespaces::Kind;
use crate::plan::spawn::SpawnPlan;
use crate::sync::ChildEnd;
use crate::sync::frame::FromInit;
use crate::sys::clone::{CloneRequest, Cloned, clone, exit_now};
use crate::sys::namespace::unshare;

/// The intermediate's whole life.
pub(crate) fn run(plan: &SpawnPlan, request: InitRequest<'_>, fds: InitFds, sync: ChildEnd) -> ! {
    super::enter_child();
    match steps(plan, &request, &fds, &sync) {
        Err(error) => fail(&sync, error),
        Ok(refused) => super::run(request, fds, sync, Born::OfIntermediate { refused }),
    }
}

/// Returns in init only, with the namespaces that are still to be joined.
fn steps(plan: &SpawnPlan, request: &InitRequest<'_>, fds: &InitFds, sync: &ChildEnd) -> Result<u64> {
    let namespaces = &request.plan.namespaces;
    let mut refused = 0;
    fds.joins.join_privileged(!(Kind::User.flag() | Kind::Pid.flag()), &mut refused)?;
    if namespaces.is_new(Kind::User) {
        unshare(Kind::User.flag()).context(|| "unshare the user namespace")?;
        sync.send(&FromInit::UserNamespace)?;
        sync.wait_continue()?;
    }
    // One call for both where a process is joined.
    fds.joins.join(Kind::User.flag() | Kind::Pid.flag())?;
    if namespaces.is_new(Kind::User) || fds.joins.has(Kind::User) {
        credentials::become_root()?;
    }
    if namespaces.is_new(Kind::Time) {
        unshare(Kind::Time.flag()).context(|| "unshare the time namespace")?;
        sync.send(&FromInit::TimeNamespace)?;
        sync.wait_continue()?;
    }
    clone_init(plan, fds, sync).map(|()| refused)
}

/// Clones init: returns in init only, the intermediate ends here.
fn clone_init(plan: &SpawnPlan, fds: &InitFds, sync: &ChildEnd) -> Result<()> {
    let flags = plan.clone_flags | libc::CLONE_PARENT as u64;
    let into_cgroup = fds.cgroup.directory();
    let (cloned, in_cgroup) = match clone(CloneRequest { flags, into_cgroup }) {
        Ok(cloned) => (cloned, true),
        Err(_) if into_cgroup.is_some() => {
            let cloned = clone(CloneRequest { flags, into_cgroup: None }).context(|| "clone init")?;
            (cloned, false)
        }
        Err(errno) => return Err(errno).context(|| "clone init"),
    };
    match cloned {
        Cloned::Child => Ok(()),
        Cloned::Parent { pid, pidfd } => {
            sync.send_with(&FromInit::Born { pid, in_cgroup }, pidfd.as_fd())?;
            exit_now(0)
        }
    }
}
