//! The processes of a cgroup, and signals to all of them.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno as NixErrno;
use rustix::io::Errno;

use super::record::{Hierarchy, Record, Version};
use super::{file, freeze};
use crate::error::{Context, Result};
use crate::sys::signal::kill_process;

/// Every process is in all hierarchies; the freezer's is the one that the container's signals depend on.
fn counting(record: &Record) -> Option<&Hierarchy> {
    record.v2().filter(|_| record.hierarchies.len() == 1).or(record.v1("freezer")).or(record.hierarchies.first())
}

/// See [`super::Cgroup::processes`].
pub(super) fn list(record: &Record, recursive: bool) -> Result<Vec<i32>> {
    let Some(hierarchy) = counting(record) else { return Ok(Vec::new()) };
    let mut found = BTreeSet::new();
    if recursive {
        for directory in tree(&hierarchy.directory)? {
            read_processes(&directory, &mut found)?;
        }
    } else {
        read_processes(&hierarchy.directory, &mut found)?;
    }
    Ok(found.into_iter().collect())
}

/// Adds the processes of `directory`. One outside of our pid namespace shows as 0 and cannot be named.
pub(super) fn read_processes(directory: &Path, found: &mut BTreeSet<i32>) -> Result<()> {
    let lines = read_lines(directory)?;
    found.extend(lines.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&pid| pid > 0));
    Ok(())
}

/// The processes of `directory`, a number a line; nothing if it is gone.
pub(super) fn read_lines(directory: &Path) -> Result<String> {
    for name in ["cgroup.procs", "cgroup.threads"] {
        let path = directory.join(name);
        match file::read(&path) {
            Ok(text) => return Ok(text),
            Err(Errno::NOENT | Errno::NODEV) => break,
            // A threaded v2 cgroup only lists threads; a signal to one reaches its process.
            Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno).context(|| format!("read {}", path.display())),
        }
    }
    Ok(String::new())
}

/// `directory` and all below it, parents first; nothing if it is gone.
pub(super) fn tree(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut all = vec![directory.to_owned()];
    let mut next = 0;
    while let Some(parent) = all.get(next).cloned() {
        all.extend(children(&parent)?);
        next += 1;
    }
    Ok(all)
}

/// The cgroups right below `directory`.
pub(super) fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("list cgroup {}", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(context)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?.is_dir(), entry.path()))) {
            Ok((true, path)) => found.push(path),
            Ok((false, _)) => {}
            // Removed while it was read.
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error).context(context),
        }
    }
    Ok(found)
}

/// How long a signal waits for the processes to stop before it is sent to running ones.
const SIGNAL_PATIENCE: Duration = Duration::from_millis(500);

/// See [`super::Cgroup::signal_all`].
pub(super) fn signal_all(record: &Record, signal: i32) -> Result<()> {
    let killed = if signal == libc::SIGKILL { kill_by_kernel(record)? } else { Killed::Nobody };
    if killed == Killed::All {
        return Ok(());
    }
    if freeze::is_frozen(record)? {
        // The user's pause: it stays, except that a kill must reach.
        send(record, signal)?;
        return if signal == libc::SIGKILL { freeze::thaw(record) } else { Ok(()) };
    }
    if killed == Killed::OfV2 {
        // Usually those were all; freezing would only wait.
        return send_until_settled(record, signal);
    }
    match freeze::freeze_within(record, SIGNAL_PATIENCE) {
        Ok(()) => {
            let sent = send(record, signal);
            let thawed = freeze::thaw(record);
            sent?;
            thawed
        }
        // Without a freezer, or with a process that does not stop: again until nobody new is found.
        Err(_no_freezer) => send_until_settled(record, signal),
    }
}

/// Whom cgroup.kill reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Killed {
    Nobody,
    /// A process may have been put elsewhere in the v1 hierarchies of a hybrid host.
    OfV2,
    All,
}

/// cgroup.kill (Linux 5.14): all at once, also those that fork.
fn kill_by_kernel(record: &Record) -> Result<Killed> {
    let Some(v2) = record.v2() else { return Ok(Killed::Nobody) };
    let path = v2.directory.join("cgroup.kill");
    match file::write(&path, "1") {
        Ok(()) if record.hierarchies.iter().all(|hierarchy| hierarchy.version == Version::V2) => Ok(Killed::All),
        Ok(()) => Ok(Killed::OfV2),
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(Killed::Nobody),
        Err(errno) => Err(errno).context(|| format!("write \"1\" to {}", path.display())),
    }
}

fn send(record: &Record, signal: i32) -> Result<BTreeSet<i32>> {
    let own = std::process::id();
    let mut sent = BTreeSet::new();
    for pid in list(record, true)? {
        if pid.unsigned_abs() == own {
            continue;
        }
        match kill_process(pid, signal) {
            Ok(()) | Err(NixErrno::ESRCH) => sent.insert(pid),
            Err(errno) => return Err(errno).context(|| format!("send signal {signal} to process {pid}")),
        };
    }
    Ok(sent)
}

/// Rounds are few: a process can only escape one by forking, and its child is found by the next.
const ROUNDS: usize = 1000;

fn send_until_settled(record: &Record, signal: i32) -> Result<()> {
    let mut known = BTreeSet::new();
    for _ in 0..ROUNDS {
        let sent = send(record, signal)?;
        if sent.is_subset(&known) {
            break;
        }
        known.extend(sent);
    }
    Ok(())
}
