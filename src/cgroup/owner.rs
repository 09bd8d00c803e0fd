//! A container that has its cgroup to itself owns it (config-linux.md#cgroup-ownership): the directory and those of its
//! files that the kernel names, on v2 only.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Uid, chownat, open};
use rustix::io::Errno;

use super::file;
use super::record::Record;
use crate::error::{Context, Result};

/// What the kernel names since Linux 4.15, should /sys not be mounted.
const FILES: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n";

/// Gives the container's v2 cgroup to the host's user `owner`, if there is one.
pub(super) fn give(record: &Record, owner: Option<u32>) -> Result<()> {
    let (Some(uid), Some(v2), 1) = (owner, record.v2(), record.hierarchies.len()) else { return Ok(()) };
    let directory = record.inner(v2);
    let files = file::read(Path::new("/sys/kernel/cgroup/delegate")).unwrap_or_else(|_| FILES.to_owned());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = open(&directory, flags, Mode::empty()).context(|| format!("open {}", directory.display()))?;
    for name in files.lines().filter(|name| !name.is_empty() && !name.contains('/')) {
        match chownat(&fd, name, Some(Uid::from_raw(uid)), None, AtFlags::SYMLINK_NOFOLLOW) {
            // Of a controller that is not enabled here.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => {
                return Err(errno).context(|| format!("chown {} to user {uid}", directory.join(name).display()));
            }
        }
    }
    chownat(CWD, &directory, Some(Uid::from_raw(uid)), None, AtFlags::SYMLINK_NOFOLLOW)
        .context(|| format!("chown {} to user {uid}", directory.display()))
}
