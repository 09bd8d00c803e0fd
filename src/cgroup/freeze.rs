//! Freezing: the v1 freezer controller, cgroup.freeze on v2 (Linux 5.2).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno as NixErrno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::file;
use super::record::Record;
use crate::error::{Context, Error, Kind, Result};

/// How long a process may take to stop: one in an uninterruptible sleep does not until it wakes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops every process; on failure they run again.
pub(super) fn freeze(record: &Record) -> Result<()> {
    freeze_within(record, PATIENCE)
}

/// As [`freeze`], with a patience of the caller's.
pub(super) fn freeze_within(record: &Record, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    let frozen = match (record.v1("freezer"), record.v2()) {
        (Some(v1), _) => freeze_v1(&v1.directory, deadline),
        (None, Some(v2)) => freeze_v2(&v2.directory, deadline),
        (None, None) => Err(no_freezer(record)),
    };
    if frozen.is_err() {
        // Whatever stopped it, no half-frozen container stays behind; the first failure is the one to tell.
        let _ = thaw(record);
    }
    frozen
}

/// Lets them run again.
pub(super) fn thaw(record: &Record) -> Result<()> {
    let (path, value) = match (record.v1("freezer"), record.v2()) {
        (Some(v1), _) => (v1.directory.join("freezer.state"), "THAWED"),
        (None, Some(v2)) => (v2.directory.join("cgroup.freeze"), "0"),
        (None, None) => return Err(no_freezer(record)),
    };
    file::write(&path, value).context(|| format!("write {value:?} to {}", path.display()))
}

/// Frozen or freezing by its own file, not by an ancestor's. A cgroup that is gone is not frozen.
pub(super) fn is_frozen(record: &Record) -> Result<bool> {
    let (path, thawed) = match (record.v1("freezer"), record.v2()) {
        (Some(v1), _) => (v1.directory.join("freezer.self_freezing"), "0"),
        (None, Some(v2)) => (v2.directory.join("cgroup.freeze"), "0"),
        (None, None) => return Ok(false),
    };
    says(&path, |value| value != thawed)
}

/// Frozen by an ancestor. A cgroup right below the root of its hierarchy has none that could be.
pub(super) fn is_frozen_from_above(record: &Record) -> Result<bool> {
    let (hierarchy, file, line) = match (record.v1("freezer"), record.v2()) {
        (Some(v1), _) => (v1, "freezer.parent_freezing", "1"),
        // Of a cgroup that is not frozen by its own file.
        (None, Some(v2)) => (v2, "cgroup.events", "frozen 1"),
        (None, None) => return Ok(false),
    };
    if hierarchy.directory.parent() == Some(&*hierarchy.mount) {
        return Ok(false);
    }
    says(&hierarchy.directory.join(file), |text| text.lines().any(|other| other == line))
}

/// Whether the file `path` says what `frozen` looks for. One that is gone says nothing.
fn says(path: &Path, frozen: impl FnOnce(&str) -> bool) -> Result<bool> {
    match file::read_value(path) {
        Ok(text) => Ok(frozen(&text)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno).context(|| format!("read {}", path.display())),
    }
}

fn no_freezer(record: &Record) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("freeze cgroup {:?}: the container has no cgroup with a freezer", record.path),
    )
}

fn not_in_time(directory: &Path) -> Error {
    Error::new(Kind::System, format!("freeze cgroup {}: a process does not stop", directory.display()))
        .errno(NixErrno::ETIMEDOUT)
}

/// The v1 freezer notifies nobody: reading its state makes it look again. Tasks that are interruptible stop
/// before the first look or soon after; a task that forks meanwhile is caught by writing again.
fn freeze_v1(directory: &Path, deadline: Instant) -> Result<()> {
    let path = directory.join("freezer.state");
    let mut pause = Duration::from_micros(50);
    loop {
        file::write(&path, "FROZEN").context(|| format!("write \"FROZEN\" to {}", path.display()))?;
        let state = file::read_value(&path).context(|| format!("read {}", path.display()))?;
        if state == "FROZEN" {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(not_in_time(directory));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

fn freeze_v2(directory: &Path, deadline: Instant) -> Result<()> {
    let events = Events::open(directory)?;
    let path = directory.join("cgroup.freeze");
    file::write(&path, "1").context(|| format!("write \"1\" to {}", path.display()))?;
    if events.wait("frozen 1", deadline)? { Ok(()) } else { Err(not_in_time(directory)) }
}

/// cgroup.events of a v2 cgroup: poll(2) reports every change.
pub(super) struct Events {
    fd: OwnedFd,
}

impl Events {
    pub fn open(directory: &Path) -> Result<Events> {
        let path = directory.join("cgroup.events");
        let fd = open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context(|| format!("open {}", path.display()))?;
        Ok(Events { fd })
    }

    /// Waits until `line` is in the file; false when `deadline` passes. A cgroup that is removed meanwhile has
    /// every line.
    pub fn wait(&self, line: &str, deadline: Instant) -> Result<bool> {
        loop {
            let mut buffer = [0; 256];
            match rustix::io::pread(&self.fd, &mut buffer, 0) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                    if text.lines().any(|l| l == line) {
                        return Ok(true);
                    }
                }
                Err(Errno::NODEV) => return Ok(true),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno).context(|| "read cgroup.events"),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLPRI)], timeout) {
                Ok(_) | Err(NixErrno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for cgroup.events"),
            }
        }
    }
}
