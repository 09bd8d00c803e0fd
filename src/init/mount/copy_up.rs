//! `tmpcopyup`: fills a tmpfs with what the image has at its place.
//!
//! The image is hostile: everything is opened by single names in held directories and never followed, special
//! files are not opened, depth is limited.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, XattrFlags, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr,
    fstat, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::error::{Context, Error, Kind, Result};

/// Directories below directories. Each level holds two descriptors.
const MAX_DEPTH: usize = 128;
/// The kernel's own limit (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const XATTR_MAX: usize = 64 * 1024;

/// A directory that is being copied.
struct Level {
    entries: Dir,
    from: OwnedFd,
    to: OwnedFd,
}

/// Copies the content of the directory `from`, and its own owner and attributes, to the directory `to`. Both may be
/// O_PATH.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut levels = vec![level(open_directory(from, c".")?, open_directory(to, c".")?)?];
    while let Some(current) = levels.last_mut() {
        let Some(entry) = current.entries.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.context(|| "read a directory")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let below = copy_entry(current, name).context(|| format!("copy {}", name.to_string_lossy()))?;
        if let Some(below) = below {
            if levels.len() >= MAX_DEPTH {
                return Err(Error::sys(nix::errno::Errno::ELOOP, format!("more than {MAX_DEPTH} directories deep")));
            }
            levels.push(below);
        }
    }
    Ok(())
}

fn level(from: OwnedFd, to: OwnedFd) -> Result<Level> {
    copy_metadata(&from, &to)?;
    Ok(Level { entries: Dir::read_from(&from).context(|| "open a directory")?, from, to })
}

/// Copies one entry; a directory is made and given back for its content.
fn copy_entry(level: &Level, name: &CStr) -> Result<Option<Level>> {
    let (from, to) = (&level.from, &level.to);
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).context(|| "stat")?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match kind {
        FileType::Directory => {
            let source = open_directory(from.as_fd(), name)?;
            mkdirat(to, name, mode).context(|| "mkdir")?;
            return Ok(Some(self::level(source, open_directory(to.as_fd(), name)?)?));
        }
        FileType::RegularFile => copy_file(from, to, name)?,
        FileType::Symlink => {
            let target: CString = readlinkat(from, name, Vec::new()).context(|| "readlink")?;
            symlinkat(target, to, name).context(|| "symlink")?;
            own(to, name, &stat)?;
        }
        FileType::Fifo | FileType::CharacterDevice | FileType::BlockDevice => {
            mknodat(to, name, kind, mode, stat.st_rdev).context(|| "mknod")?;
            own(to, name, &stat)?;
        }
        // A socket without its server is of no use.
        FileType::Socket | FileType::Unknown => {}
    }
    Ok(None)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty()).context(|| "open")?;
    let stat = fstat(&source).context(|| "fstat")?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new(Kind::System, "the file changed while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = openat(to, name, flags, Mode::from_raw_mode(0o600)).context(|| "create")?;
    let (mut source, mut copy) = (File::from(source), File::from(copy));
    io::copy(&mut source, &mut copy).context(|| "copy the data")?;
    copy_metadata(&OwnedFd::from(source), &OwnedFd::from(copy))
}

/// Owner, extended attributes and, last since chown(2) clears bits, permissions.
fn copy_metadata(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let stat = fstat(from).context(|| "fstat")?;
    let (uid, gid) = owner(&stat);
    fchown(to, uid, gid).context(|| "fchown")?;
    copy_xattrs(from, to)?;
    fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).context(|| "fchmod")
}

fn own(directory: &OwnedFd, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = owner(stat);
    chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(|| "chown")
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Extended attributes that either side does not support are left out.
fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut names = vec![0; XATTR_MAX];
    let length = match flistxattr(from, names.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other.context(|| "flistxattr")?,
    };
    let mut value = Vec::new();
    for name in names.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        value.resize(XATTR_MAX, 0);
        let length = match fgetxattr(from, name, value.as_mut_slice()) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            other => other.context(|| format!("fgetxattr {}", name.to_string_lossy()))?,
        };
        match fsetxattr(to, name, value.get(..length).unwrap_or_default(), XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(errno) => return Err(errno).context(|| format!("fsetxattr {}", name.to_string_lossy())),
        }
    }
    Ok(())
}

fn open_directory(directory: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).context(|| format!("open directory {}", name.to_string_lossy()))
}
