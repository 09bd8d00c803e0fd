//! From a plan to a living init: the ways of the process model, and what the parent owes the child before
//! its Go. The table stands at the head of the library.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Command;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::guard::{Child, Guard};
use super::seal;
use crate::error::{Context as _, Error, Kind as ErrorKind, Result, Warning};
use crate::init::{self, InitFds, InitRequest};
use crate::plan::ids::IdMapping;
use crate::plan::namespaces::Kind;
use crate::plan::spawn::{Clock, SpawnPlan, TimeOffset, Way};
use crate::sync::frame::{FromInit, ToInit};
use crate::sync::{ChildEnd, ParentEnd};
use crate::sys::clone::{CloneRequest, Cloned, clone};
use crate::sys::fd::Descriptors;
use crate::sys::namespace::{setns, unshare};

/// What is needed to make init.
pub(crate) struct Spawn<'a> {
    pub plan: &'a SpawnPlan,
    pub request: InitRequest<'a>,
    pub fds: InitFds,
    pub on_warning: fn(&Warning),
}

/// A child that waits for its Go, and the line to it.
pub(crate) struct Spawned {
    pub child: Guard<Child>,
    pub pid: i32,
    pub sync: ParentEnd,
    child_end: Option<ChildEnd>,
    oom_score_adj: Option<i32>,
}

impl Spawned {
    /// Tells the child to go: everything outside of it is in place, and `tasks` lead to its v1 cgroups.
    pub fn release(&mut self, tasks: &Descriptors) -> Result<()> {
        if let Some(value) = self.oom_score_adj {
            write_proc(&format!("/proc/{}/oom_score_adj", self.pid), &value.to_string())
                .map_err(|error| error.at("/process/oomScoreAdj"))?;
        }
        self.sync.send_go(self.pid, tasks)?;
        // Closed while the child is at work already; from here on its end is noticed.
        drop(self.child_end.take());
        Ok(())
    }
}

/// Makes init, which then waits for [`Spawned::release`].
pub(crate) fn spawn(spawn: Spawn<'_>) -> Result<Spawned> {
    nix::sys::prctl::set_dumpable(!spawn.plan.private).context(|| "prctl PR_SET_DUMPABLE")?;
    let (sync, child_end) = crate::sync::channel()?;
    match spawn.plan.way {
        Way::Direct => direct(spawn, sync, child_end),
        Way::Intermediate => through_intermediate(spawn, sync, child_end),
    }
}

fn direct(spawn: Spawn<'_>, sync: ParentEnd, child_end: ChildEnd) -> Result<Spawned> {
    let Spawn { plan, request, fds, on_warning } = spawn;
    let children = ChildNamespaces::prepare(plan, request.plan.namespaces.is_new(Kind::Time), &fds)?;
    let (cloned, in_cgroup) = clone_into(plan.clone_flags, fds.cgroup.directory())?;
    let Cloned::Parent { pid, pidfd } = cloned else {
        // Init closes it first of all, with whatever else is not its own: while it holds the other end too, it cannot see the
        // end of a runtime that is killed.
        std::mem::forget(sync);
        init::run(request, fds, child_end, init::Born::Directly)
    };
    let child = Guard::new(Child { pid, pidfd }, on_warning);
    children.restore()?;
    if !in_cgroup {
        fds.cgroup.move_process(pid)?;
    }
    write_id_maps(plan, pid)?;
    let oom_score_adj = request.plan.process.oom_score_adj;
    Ok(Spawned { child, pid, sync, child_end: Some(child_end), oom_score_adj })
}

/// An intermediate makes or joins the namespaces that its own children are born into, and clones init as a
/// sibling of itself. It stays outside of the cgroup, where it would count against a limit of one process.
fn through_intermediate(spawn: Spawn<'_>, sync: ParentEnd, child_end: ChildEnd) -> Result<Spawned> {
    let Spawn { plan, request, fds, on_warning } = spawn;
    let (cloned, _) = clone_into(0, None)?;
    let Cloned::Parent { pid, pidfd } = cloned else {
        drop(sync);
        init::intermediate::run(plan, request, fds, child_end)
    };
    drop(child_end);
    let intermediate = Guard::new(Child { pid, pidfd }, on_warning);
    let (frame, passed) = loop {
        match expect(&sync, intermediate.made(), on_warning)? {
            (FromInit::UserNamespace, _) => {
                write_id_maps(plan, pid)?;
                sync.send(&ToInit::Continue)?;
            }
            (FromInit::TimeNamespace, _) => {
                write_time_offsets(&pid.to_string(), &plan.time_offsets)?;
                sync.send(&ToInit::Continue)?;
            }
            other => break other,
        }
    };
    let (FromInit::Born { pid: init_pid, in_cgroup }, Some(pidfd)) = (frame, passed) else {
        return Err(unexpected());
    };
    let child = Guard::new(Child { pid: init_pid, pidfd }, on_warning);
    if let Some(intermediate) = intermediate.keep() {
        intermediate.reap()?;
    }
    if !in_cgroup {
        fds.cgroup.move_process(init_pid)?;
    }
    Ok(Spawned { child, pid: init_pid, sync, child_end: None, oom_score_adj: request.plan.process.oom_score_adj })
}

/// Clones, straight into the cgroup where the kernel can; the flag says whether it did.
pub(crate) fn clone_into(flags: u64, into_cgroup: Option<BorrowedFd<'_>>) -> Result<(Cloned, bool)> {
    let describe = || format!("clone a process with flags {flags:#x}");
    if into_cgroup.is_some() {
        match clone(CloneRequest { flags, into_cgroup }) {
            // The kernel or a filter lacks the call or the flag, or only the parent may move processes there.
            Err(Errno::ENOSYS | Errno::EINVAL | Errno::E2BIG | Errno::EACCES | Errno::EPERM | Errno::EOPNOTSUPP) => {}
            result => return result.map_err(|errno| threads_or(errno, describe())).map(|cloned| (cloned, true)),
        }
    }
    let cloned = clone(CloneRequest { flags, into_cgroup: None });
    Ok((cloned.map_err(|errno| threads_or(errno, describe()))?, into_cgroup.is_none()))
}

fn threads_or(errno: Errno, operation: String) -> Error {
    match errno {
        Errno::EDEADLK => seal::more_than_one_thread(),
        _ => init::out_of_namespaces(Error::sys(errno, operation)),
    }
}

/// What the parent's children are born into, set for one clone and set back.
struct ChildNamespaces {
    /// Namespace and flag to return to.
    own: Vec<(OwnedFd, u64)>,
}

impl ChildNamespaces {
    fn prepare(plan: &SpawnPlan, time: bool, fds: &InitFds) -> Result<Self> {
        let mut own = Vec::new();
        if fds.joins.has(Kind::Pid) {
            own.push((open_own("pid")?, Kind::Pid.flag()));
            fds.joins.join(Kind::Pid.flag())?;
        }
        if time {
            own.push((open_own("time")?, Kind::Time.flag()));
            unshare(Kind::Time.flag()).context(|| "unshare the time namespace")?;
            let children = ChildNamespaces { own };
            write_time_offsets("self", &plan.time_offsets)?;
            return Ok(children);
        }
        Ok(ChildNamespaces { own })
    }

    fn restore(mut self) -> Result<()> {
        self.set_back()
    }

    fn set_back(&mut self) -> Result<()> {
        for (namespace, flag) in self.own.drain(..) {
            setns(namespace.as_fd(), flag).context(|| "return to the runtime's own namespace")?;
        }
        Ok(())
    }
}

impl Drop for ChildNamespaces {
    fn drop(&mut self) {
        // On the way out of a failure, which is what the caller is to hear about.
        let _ = self.set_back();
    }
}

fn open_own(name: &str) -> Result<OwnedFd> {
    let path = format!("/proc/self/ns/{name}");
    Ok(fs::File::open(&path).context(|| format!("open {path}"))?.into())
}

fn write_time_offsets(process: &str, offsets: &[TimeOffset]) -> Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    let line = |offset: &TimeOffset| {
        let clock = match offset.clock {
            Clock::Monotonic => "monotonic",
            Clock::Boottime => "boottime",
        };
        format!("{clock} {} {}\n", offset.secs, offset.nanosecs)
    };
    let lines: String = offsets.iter().map(line).collect();
    write_proc(&format!("/proc/{process}/timens_offsets"), &lines).map_err(|error| error.at("/linux/timeOffsets"))
}

fn write_id_maps(plan: &SpawnPlan, pid: i32) -> Result<()> {
    if plan.uid_mappings.is_empty() && plan.gid_mappings.is_empty() {
        return Ok(());
    }
    if plan.deny_setgroups {
        write_proc(&format!("/proc/{pid}/setgroups"), "deny")?;
    }
    for (file, helper, pointer, mappings) in [
        ("uid_map", "newuidmap", "/linux/uidMappings", &plan.uid_mappings),
        ("gid_map", "newgidmap", "/linux/gidMappings", &plan.gid_mappings),
    ] {
        let written = if plan.map_with_helpers && (file == "uid_map" || !plan.deny_setgroups) {
            map_with_helper(helper, pid, mappings)
        } else {
            write_proc(&format!("/proc/{pid}/{file}"), &IdMapping::lines(mappings))
        };
        written.map_err(|error| error.at(pointer))?;
    }
    Ok(())
}

/// newuidmap(1) or newgidmap(1): setuid programs that know which ranges the caller may use (subuid(5)).
fn map_with_helper(helper: &str, pid: i32, mappings: &[IdMapping]) -> Result<()> {
    let numbers = mappings.iter().flat_map(|map| [map.container_id, map.host_id, map.size]);
    let output = Command::new(helper)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .output()
        .context(|| format!("run {helper}"))
        .map_err(|error| error.hint("install the package uidmap"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(Error::new(ErrorKind::System, format!("{helper} failed: {said}"))
        .hint("the ranges must be granted to the user in /etc/subuid and /etc/subgid"))
}

fn write_proc(path: &str, text: &str) -> Result<()> {
    fs::write(path, text).context(|| format!("write {:?} to {path}", text.trim_end()))
}

/// The child's next frame that is neither a warning nor an error.
pub(crate) fn expect(
    sync: &ParentEnd,
    child: Option<&Child>,
    on_warning: fn(&Warning),
) -> Result<(FromInit, Option<OwnedFd>)> {
    loop {
        match sync.receive()? {
            Some((FromInit::Warning(warning), _)) => on_warning(&warning),
            Some((FromInit::Error(error), _)) => return Err(error),
            Some(other) => return Ok(other),
            None => return Err(child.map_or_else(unexpected, died)),
        }
    }
}

/// What to say about a child that ended without a word.
fn died(child: &Child) -> Error {
    let how = match waitid(Id::PIDFd(child.pidfd.as_fd()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
        Ok(WaitStatus::Exited(_, code)) => format!("exit code {code}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("signal {signal}"),
        Ok(other) => format!("{other:?}"),
        Err(errno) => format!("{errno}"),
    };
    let error = Error::new(ErrorKind::System, format!("init ended before the container was ready: {how}"));
    if how.contains("SIGKILL") { error.hint("was a memory limit too small?") } else { error }
}

/// A frame at the wrong moment.
pub(crate) fn unexpected() -> Error {
    Error::new(ErrorKind::System, "init left the protocol")
}
