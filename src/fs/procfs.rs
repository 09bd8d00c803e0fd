//! A procfs that nobody else can reach or mount over: the only way in which something is written to /proc.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::verify::{PROC_MAGIC, fs_magic};
use crate::error::{Context, Error, Kind, Result};

/// Inode of the root of every procfs (PROC_ROOT_INO).
const ROOT_INODE: u64 = 1;
/// See `Root`: EAGAIN can be provoked.
const ATTEMPTS: u32 = 32;

/// A procfs of the caller's pid namespace.
#[derive(Debug)]
pub(crate) struct Procfs {
    fd: OwnedFd,
    /// A mount of our own in no namespace: nothing can be mounted over it.
    private: bool,
}

impl AsFd for Procfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Procfs {
    /// A private instance (fsopen(2), Linux 5.2), or where that is refused (no fsopen, or a user namespace that
    /// does not own its pid namespace) the one at /proc, once it is proven to be the root of a procfs.
    pub fn open() -> Result<Procfs> {
        match private() {
            Ok(fd) => Ok(Procfs { fd, private: true }),
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => Procfs::mounted(),
            Err(errno) => Err(errno).context(|| "open a private procfs"),
        }
    }

    /// The procfs at /proc.
    fn mounted() -> Result<Procfs> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, c"/proc", flags, Mode::empty()).context(|| "open /proc")?;
        let inode = fstat(&fd).context(|| "fstat /proc")?.st_ino;
        if fs_magic(fd.as_fd())? != PROC_MAGIC || inode != ROOT_INODE {
            return Err(Error::new(Kind::System, "/proc is not the root of a procfs"));
        }
        Ok(Procfs { fd, private: false })
    }

    /// Opens `path`, relative to the procfs (`sys/kernel/hostname`, `self/attr/exec`), with `flags`. Nothing that
    /// is mounted over any part of it and no magic link is passed.
    pub fn open_file(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        self.open_raw(path, flags | OFlags::CLOEXEC).context(|| format!("open /proc/{}", path.to_string_lossy()))
    }

    /// Writes `value` in one write(2), as procfs wants it.
    pub fn write(&self, path: &CStr, value: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY)?;
        let operation = || format!("write to /proc/{}", path.to_string_lossy());
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, value)).context(operation)?;
        if written != value.len() {
            return Err(Error::new(Kind::System, "short write").context(operation()));
        }
        Ok(())
    }

    /// Opens once more what `fd` is, with other `flags` (O_PATH becomes usable so).
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        // A magic link is meant to be followed here; its directory is resolved with all the checks.
        let directory = self.open_file(c"self/fd", OFlags::PATH | OFlags::DIRECTORY)?;
        let name = fd.as_raw_fd().to_string();
        openat(&directory, name.as_str(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .context(|| format!("open /proc/self/fd/{name}"))
    }

    fn open_raw(&self, path: &CStr, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Only our own mount is safe without the resolution flags.
                Err(Errno::NOSYS) if self.private => {
                    return openat(&self.fd, path, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

fn private() -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}
