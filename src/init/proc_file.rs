//! Writes to files of a procfs. Containers once fell to images that put something else where such a file should be
//! (CVE-2019-16884, CVE-2025-52881), so every write goes through a descriptor of the procfs root, crosses no mount,
//! and checks what it opened before it writes. Nothing is ever written through a path.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::error::{Context, Error, Kind, Result};

/// `relative` as a C string.
pub(crate) fn path(relative: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(relative).map_err(|error| Error::new(Kind::Config, format!("a path in /proc: {error}")))
}

/// Writes `data` in one call to `relative` below `proc`, the root of a procfs.
pub(crate) fn write(proc: BorrowedFd<'_>, relative: &CStr, data: &[u8]) -> Result<()> {
    let file = open(proc, relative, OFlags::WRONLY)?;
    let written = rustix::io::write(&file, data).context(|| describe("write", relative))?;
    // The kernel takes a value whole or not at all; a second write would be a second value.
    if written == data.len() { Ok(()) } else { Err(Error::sys(Errno::EIO, describe("write", relative))) }
}

/// Reads `relative` below `proc`, at most `limit` bytes of it.
pub(crate) fn read(proc: BorrowedFd<'_>, relative: &CStr, limit: usize) -> Result<Vec<u8>> {
    let file = open(proc, relative, OFlags::RDONLY)?;
    let mut data = Vec::new();
    let mut buffer = [0_u8; 512];
    while data.len() < limit {
        let count = rustix::io::read(&file, &mut buffer).context(|| describe("read", relative))?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        data.extend(piece);
    }
    data.truncate(limit);
    Ok(data)
}

/// Opens `relative`; the last component is no symlink, no mount is crossed, and the result is in a procfs.
fn open(proc: BorrowedFd<'_>, relative: &CStr, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = match rustix::fs::openat2(proc, relative, flags, Mode::empty(), resolve) {
        // Before Linux 5.6. The check below and the procfs' being private must do.
        Err(rustix::io::Errno::NOSYS) => rustix::fs::openat(proc, relative, flags, Mode::empty()),
        result => result,
    }
    .context(|| describe("open", relative))?;
    let file_system = rustix::fs::fstatfs(&file).context(|| describe("examine", relative))?;
    if file_system.f_type == rustix::fs::PROC_SUPER_MAGIC {
        Ok(file)
    } else {
        Err(Error::new(Kind::System, format!("`/proc/{}` is not in a procfs", relative.to_string_lossy())))
    }
}

/// Engines recognise failures of labels by the path in backquotes.
fn describe(operation: &str, relative: &CStr) -> String {
    format!("{operation} `/proc/{}`", relative.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::test_thread::proc;
    use std::os::fd::AsFd;

    #[test]
    fn read_goes_no_further_than_its_limit() {
        assert_eq!(read(proc().as_fd(), c"self/status", 5).unwrap(), b"Name:");
    }

    #[test]
    fn write_outside_of_a_procfs_is_refused_and_changes_nothing() {
        let root = std::env::temp_dir().join(format!("coracle-fake-proc-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("file"), "before").unwrap();
        let directory = std::fs::File::open(&root).unwrap();
        let result = write(directory.as_fd(), c"file", b"after");
        let text = std::fs::read(root.join("file")).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(result.unwrap_err().to_string().contains("`/proc/file` is not in a procfs"));
        assert_eq!(text, b"before");
    }

    #[test]
    fn open_symlink_magic_link_or_escape_is_refused() {
        for path in [c"self", c"self/exe", c"self/root/etc/passwd", c"../etc/passwd", c"/etc/passwd"] {
            assert!(read(proc().as_fd(), path, 1).is_err(), "{path:?}");
        }
    }
}

/// In a mount namespace of the test's own thread.
#[cfg(test)]
mod privileged {
    use super::*;
    use crate::init::test_thread::{in_thread, proc};
    use std::os::fd::AsFd;

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    /// CVE-2025-52881: another file of the same procfs is mounted over the one that is to be written.
    #[test]
    fn write_over_mounted_file_is_refused() {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
            let (from, to) = ("/proc/sys/kernel/domainname", "/proc/sys/kernel/hostname");
            mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            let before = std::fs::read(from).unwrap();
            let error = write(proc().as_fd(), c"sys/kernel/hostname", b"evil").unwrap_err();
            assert_eq!(error.raw_errno(), Some(libc::EXDEV));
            assert_eq!(std::fs::read(from).unwrap(), before);
        });
    }
}
