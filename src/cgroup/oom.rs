//! Notifications that the kernel found no memory for the container (memory.oom_control of v1, memory.events of v2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::file;
use super::record::Record;
use crate::error::{Context, Result};

/// A watch over one cgroup.
#[derive(Debug)]
pub(crate) enum OomWatch {
    /// Counts notifications; the kernel forgets the watch once it is closed.
    V1 { event: EventFd, directory: PathBuf },
    /// memory.events and the kills that were seen there.
    V2 { events: OwnedFd, seen: u64 },
}

impl OomWatch {
    /// Watches the cgroup of `record`; `None` where no memory controller is.
    pub(super) fn new(record: &Record) -> Result<Option<OomWatch>> {
        if let Some(v1) = record.v1("memory") {
            return watch_v1(&v1.directory).map(Some);
        }
        let Some(v2) = record.v2() else { return Ok(None) };
        let path = v2.directory.join("memory.events");
        match open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(events) => {
                let seen = kills(events.as_fd())?;
                Ok(Some(OomWatch::V2 { events, seen }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno).context(|| format!("open {}", path.display())),
        }
    }

    /// What to poll(2), and for what.
    pub fn poll_for(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            OomWatch::V1 { event, .. } => (event.as_fd(), PollFlags::POLLIN),
            OomWatch::V2 { events, .. } => (events.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// How often it happened since the last call. Does not wait.
    pub fn take(&mut self) -> Result<u64> {
        match self {
            OomWatch::V1 { event, directory, .. } => {
                let count = match event.read() {
                    Ok(count) => count,
                    Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => 0,
                    Err(errno) => return Err(errno).context(|| "read the notifications of memory.oom_control"),
                };
                // The removal of the cgroup is notified in the same way.
                Ok(if directory.exists() { count } else { 0 })
            }
            OomWatch::V2 { events, seen } => {
                let now = kills(events.as_fd())?;
                let fresh = now.saturating_sub(*seen);
                *seen = now.max(*seen);
                Ok(fresh)
            }
        }
    }
}

fn watch_v1(directory: &Path) -> Result<OomWatch> {
    let path = directory.join("memory.oom_control");
    let control =
        open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).context(|| format!("open {}", path.display()))?;
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let event = EventFd::from_value_and_flags(0, flags).context(|| "make an eventfd")?;
    let path = directory.join("cgroup.event_control");
    let line = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(&path, &line).context(|| format!("write {line:?} to {}", path.display()))?;
    Ok(OomWatch::V1 { event, directory: directory.to_owned() })
}

/// The number of processes of the cgroup that were killed; of a cgroup that is gone, none that are new.
fn kills(events: BorrowedFd<'_>) -> Result<u64> {
    let mut buffer = [0; 1024];
    match rustix::io::retry_on_intr(|| rustix::io::pread(events, &mut buffer, 0)) {
        Ok(length) => Ok(kills_in(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()))),
        Err(Errno::NODEV) => Ok(0),
        Err(errno) => Err(errno).context(|| "read memory.events"),
    }
}

fn kills_in(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_in_memory_events() {
        assert_eq!(kills_in("low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 7\n"), 2);
        assert_eq!(kills_in("low 0\n"), 0);
    }
}
