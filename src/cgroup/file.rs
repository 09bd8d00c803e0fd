//! Control files: each is read and written whole, by one system call.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use crate::sys::file;

/// Reads all of `path`.
pub(super) fn read(path: &Path) -> Result<String, Errno> {
    text(file::read(path))
}

/// Reads a file of one value, without its newline, by one read: values are shorter than a page.
pub(super) fn read_value(path: &Path) -> Result<String, Errno> {
    text(file::read_composed(path)).map(|value| value.trim_end().to_owned())
}

fn text(content: Result<Vec<u8>, nix::errno::Errno>) -> Result<String, Errno> {
    match content {
        Ok(content) => Ok(String::from_utf8_lossy(&content).into_owned()),
        Err(errno) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}

/// Opens `path` for writing.
pub(super) fn open_write(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Writes `value` by one write, which is one command to the kernel.
pub(super) fn write_to(fd: impl AsFd, value: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map(drop)
}

/// Writes `value` to `path`.
pub(super) fn write(path: &Path, value: &str) -> Result<(), Errno> {
    write_to(open_write(path)?, value)
}
