//! Whole files. What the standard library does besides (a second close-on-exec, a look at the size, which procfs does not
//! have, reads of 32 bytes after that) is more than half of the calls of a small program.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, fstatfs, openat, readlinkat};
use rustix::path::Arg;

/// More than what is read at most times; a page less than what makes the stack grow noticeably.
const PIECE: usize = 4096;

/// statfs(2) magic of procfs.
pub(crate) const PROC_MAGIC: u32 = 0x9fa0;

/// The statfs(2) magic of the file system that `fd` is on.
pub(crate) fn fs_magic(fd: impl AsFd) -> Result<u32, Errno> {
    // The field's type differs between architectures; the magics are 32 bits on all of them.
    fstatfs(fd).map(|status| status.f_type as u32).map_err(errno)
}

/// Opens `path` for reading, close-on-exec.
pub(crate) fn open(path: impl Arg) -> Result<OwnedFd, Errno> {
    open_at(CWD, path, OFlags::RDONLY)
}

/// The same, relative to `directory`, with `flags`.
pub(crate) fn open_at(directory: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(directory, path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(errno)
}

/// The path of the directory `path` without symbolic links, as the kernel says it (`ENOTDIR` for anything else, `ENOENT` for
/// one outside of the root).
pub(crate) fn canonical_directory(path: impl Arg) -> Result<PathBuf, Errno> {
    let directory = open_at(CWD, path, OFlags::PATH | OFlags::DIRECTORY)?;
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = readlinkat(CWD, link, Vec::with_capacity(256)).map_err(errno)?.into_bytes();
    if path.first() == Some(&b'/') { Ok(PathBuf::from(OsString::from_vec(path))) } else { Err(Errno::ENOENT) }
}

/// All of the file at `path`.
pub(crate) fn read(path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_limited(open(path)?, usize::MAX)
}

/// All of `file` from where it is, or `limit` bytes and at most a piece more.
pub(crate) fn read_limited(file: impl AsFd, limit: usize) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::new();
    while content.len() <= limit {
        match read_piece(&file, &mut content)? {
            0 => break,
            _ => continue,
        }
    }
    Ok(content)
}

/// All of the file at `path` of procfs or sysfs that the kernel composes whole at the first read: see [`read_whole`].
pub(crate) fn read_composed(path: impl Arg) -> Result<Vec<u8>, Errno> {
    read_whole(open(path)?)
}

/// All of `file`, where a read that gives less than was asked for has met the end: a regular file that nobody writes to.
pub(crate) fn read_whole(file: impl AsFd) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::new();
    while read_piece(&file, &mut content)? == PIECE {}
    Ok(content)
}

/// Adds the next piece to `content`; its length, 0 at the end. Never inlined: the buffer would be part of frames that a waiting
/// init keeps.
#[inline(never)]
fn read_piece(file: impl AsFd, content: &mut Vec<u8>) -> Result<usize, Errno> {
    let mut buffer = [0; PIECE];
    let length = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer)).map_err(errno)?;
    content.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(length)
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_composed_is_what_the_standard_library_reads() {
        for path in ["/proc/self/uid_map", "/proc/sys/kernel/cap_last_cap", "/proc/self/cgroup"] {
            assert_eq!(read_composed(path).unwrap(), std::fs::read(path).unwrap(), "{path}");
        }
    }

    #[test]
    fn read_longer_than_a_piece_is_whole_and_limited_ends_soon_after() {
        let path = std::env::temp_dir().join(format!("coracle-file-{}", std::process::id()));
        let content: Vec<u8> = (0..3 * PIECE + 1).map(|n| n as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let (whole, limited) = (read(&path), read_limited(open(&path).unwrap(), 10));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(whole.unwrap(), content);
        assert_eq!(limited.unwrap().len(), PIECE);
        assert_eq!(read(&path), Err(Errno::ENOENT));
    }
}
