//! Checks on descriptors: what a name led to is believed only after these.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Stat, fstat, major, minor, stat};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::file;
pub(crate) use crate::sys::file::PROC_MAGIC;

/// statfs(2) magic of devpts.
pub(crate) const DEVPTS_MAGIC: u32 = 0x1cd1;

/// statfs(2) magic of sysfs.
pub(crate) const SYSFS_MAGIC: u32 = 0x6265_6572;

/// The statfs(2) magic of the file system that `fd` is on.
pub(crate) fn fs_magic(fd: BorrowedFd<'_>) -> Result<u32> {
    file::fs_magic(fd).context(|| "fstatfs")
}

/// Whether `fd` is a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = fstat(fd).context(|| "fstat")?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Fails unless `fd` is the character device `wanted` (major, minor). `name` is for the message.
pub(crate) fn expect_char_device(fd: BorrowedFd<'_>, wanted: (u32, u32), name: &str) -> Result<()> {
    let stat = fstat(fd).context(|| format!("fstat {name}"))?;
    expect_char(&stat, wanted, name)
}

/// The same of what `path` leads to, links included.
pub(crate) fn expect_char_device_at(path: &CStr, wanted: (u32, u32), name: &str) -> Result<()> {
    let stat = stat(path).context(|| format!("stat {name}"))?;
    expect_char(&stat, wanted, name)
}

fn expect_char(stat: &Stat, wanted: (u32, u32), name: &str) -> Result<()> {
    let found = (major(stat.st_rdev), minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || found != wanted {
        let (major, minor) = wanted;
        return Err(Error::new(Kind::System, format!("{name} is not the character device {major}:{minor}")));
    }
    Ok(())
}

/// Which file a descriptor is, for comparing two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// That of `fd` (fstat(2)).
    pub fn of(fd: BorrowedFd<'_>) -> Result<FileId> {
        let stat = fstat(fd).context(|| "fstat")?;
        Ok(FileId { device: stat.st_dev, inode: stat.st_ino })
    }
}
