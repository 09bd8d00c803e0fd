//! A cgroup goes away, with all below it, in every hierarchy.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno as NixErrno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;

use super::record::{Hierarchy, Record, Version};
use super::{file, freeze, processes};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::fd::pidfd_open;

/// How long exiting processes may take before they count as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// See [`super::Cgroup::destroy`].
pub(super) fn destroy(record: &Record) -> Result<()> {
    destroy_within(record, PATIENCE)
}

pub(super) fn destroy_within(record: &Record, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    let mut failed = None;
    // v2 first: it tells when the last process is gone, and then v1 need not wait.
    let (v2, v1): (Vec<_>, Vec<_>) = record.hierarchies.iter().partition(|h| h.version == Version::V2);
    for hierarchy in v2.into_iter().chain(v1) {
        if let Err(error) = remove(hierarchy, deadline) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Waits a bounded time until no process runs in any of `hierarchies`, at any depth.
pub(super) fn wait_until_empty(hierarchies: &[&Hierarchy]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    hierarchies.iter().try_for_each(|hierarchy| wait_for_exit(hierarchy, deadline))
}

/// Removes one directory: by one system call, unless it has children or processes.
fn remove(hierarchy: &Hierarchy, deadline: Instant) -> Result<()> {
    let directory = &hierarchy.directory;
    if directory == &hierarchy.mount || !directory.starts_with(&hierarchy.mount) {
        return Err(Error::new(
            Kind::System,
            format!("remove cgroup {}: it is not below {}", directory.display(), hierarchy.mount.display()),
        ));
    }
    if rmdir(directory)? {
        return Ok(());
    }
    let mut pause = Duration::from_micros(20);
    loop {
        wait_for_exit(hierarchy, deadline)?;
        let mut busy = None;
        for directory in processes::tree(directory)?.into_iter().rev() {
            if !rmdir(&directory)? {
                busy = Some(directory);
            }
        }
        let Some(busy) = busy else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(stuck(hierarchy, &busy));
        }
        // No process runs any more, but the last one has not left its CPU: microseconds, which the kernel
        // announces to nobody.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// False if it is in use.
fn rmdir(directory: &Path) -> Result<bool> {
    match rustix::fs::rmdir(directory) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::BUSY | Errno::NOTEMPTY) => Ok(false),
        Err(errno) => Err(errno).context(|| format!("remove cgroup {}", directory.display())),
    }
}

/// Waits until no process runs: by cgroup.events on v2, by the processes' own descriptors on v1.
fn wait_for_exit(hierarchy: &Hierarchy, deadline: Instant) -> Result<()> {
    if hierarchy.version == Version::V2 {
        match freeze::Events::open(&hierarchy.directory) {
            Ok(events) => drop(events.wait("populated 0", deadline)?),
            Err(error) if error.raw_errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
        return Ok(());
    }
    for pid in all_processes(hierarchy)? {
        let Some(pidfd) = open_process(pid)? else { continue };
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(NixErrno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| format!("wait for process {pid}")),
        }
    }
    Ok(())
}

fn open_process(pid: i32) -> Result<Option<OwnedFd>> {
    match pidfd_open(pid) {
        Ok(pidfd) => Ok(Some(pidfd)),
        Err(NixErrno::ESRCH) => Ok(None),
        Err(errno) => Err(errno).context(|| format!("open process {pid}")),
    }
}

fn all_processes(hierarchy: &Hierarchy) -> Result<BTreeSet<i32>> {
    let mut pids = BTreeSet::new();
    for directory in processes::tree(&hierarchy.directory)? {
        processes::read_processes(&directory, &mut pids)?;
    }
    Ok(pids)
}

/// Names the processes that keep `directory` busy.
fn stuck(hierarchy: &Hierarchy, directory: &Path) -> Error {
    let pids = all_processes(hierarchy).unwrap_or_default();
    let names: Vec<String> = pids.iter().take(10).map(|&pid| describe(pid)).collect();
    let who =
        if names.is_empty() { "it is in use".to_owned() } else { format!("it has the processes {}", names.join(", ")) };
    Error::new(Kind::System, format!("remove cgroup {}: {who}", directory.display())).errno(NixErrno::EBUSY)
}

/// `12 (sleep, state D)`.
fn describe(pid: i32) -> String {
    let stat = file::read_value(&PathBuf::from(format!("/proc/{pid}/stat"))).unwrap_or_default();
    let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
    match name {
        Some((name, rest)) => format!("{pid} ({name}, state {})", rest.trim_start().chars().next().unwrap_or('?')),
        None => pid.to_string(),
    }
}
