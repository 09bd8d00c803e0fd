//! A procfs that nobody else can reach or mount over: the only way in which something is written to /proc where the
//! file system may be an image's. Containers once fell to images that put something else where such a file should be
//! (CVE-2019-16884, CVE-2025-52881), so every access goes through a descriptor of the procfs root, crosses no mount,
//! and checks what it opened before it writes.

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
        let file = self.open_raw(path, flags | OFlags::CLOEXEC).context(|| describe("open", path))?;
        if fs_magic(file.as_fd())? != PROC_MAGIC {
            let name = path.to_string_lossy();
            return Err(Error::new(Kind::System, format!("`/proc/{name}` is not in a procfs")));
        }
        Ok(file)
    }

    /// Writes `value` in one write(2), as procfs wants it.
    pub fn write(&self, path: &CStr, value: &[u8]) -> Result<()> {
        let file = self.open_file(path, OFlags::WRONLY | OFlags::NOFOLLOW)?;
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, value));
        // The kernel takes a value whole or not at all; a second write would be a second value.
        match written.context(|| describe("write", path))? {
            written if written == value.len() => Ok(()),
            _ => Err(Error::new(Kind::System, "short write").context(describe("write", path))),
        }
    }

    /// Reads at most `limit` bytes of `path`.
    pub fn read(&self, path: &CStr, limit: usize) -> Result<Vec<u8>> {
        let file = self.open_file(path, OFlags::RDONLY | OFlags::NOFOLLOW)?;
        let mut data = Vec::new();
        let mut buffer = [0_u8; 512];
        while data.len() < limit {
            let count = rustix::io::read(&file, &mut buffer).context(|| describe("read", path))?;
            let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
            data.extend(piece);
        }
        data.truncate(limit);
        Ok(data)
    }

    /// Opens once more what `fd` is, with other `flags` (O_PATH becomes usable so).
    pub fn reopen(&self, fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
        // A magic link is meant to be followed here; its directory is resolved with all the checks.
        let directory = self.open_file(c"self/fd", OFlags::PATH | OFlags::DIRECTORY)?;
        let name = fd.as_raw_fd().to_string();
        openat(&directory, name.as_str(), flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
            .context(|| format!("open /proc/self/fd/{name}"))
    }

    /// Makes the directory of this process's descriptors the working directory: there the number of a descriptor is a path
    /// that means its file, for system calls that take paths only.
    pub fn enter_descriptors(&self) -> Result<()> {
        let directory = self.open_file(c"self/fd", OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::process::fchdir(&directory).context(|| "chdir to /proc/self/fd")
    }

    fn open_raw(&self, path: &CStr, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..ATTEMPTS {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Before Linux 5.6. Only our own mount is safe without the resolution flags; on the other one nothing
                // is written or opened further then.
                Err(Errno::NOSYS) if self.private || !flags.intersects(OFlags::WRONLY | OFlags::PATH) => {
                    return openat(&self.fd, path, flags | OFlags::NOFOLLOW, Mode::empty());
                }
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

/// Engines recognise failures of labels by the path in backquotes.
fn describe(operation: &str, path: &CStr) -> String {
    format!("{operation} `/proc/{}`", path.to_string_lossy())
}

fn private() -> std::result::Result<OwnedFd, Errno> {
    let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_goes_no_further_than_its_limit() {
        assert_eq!(Procfs::mounted().unwrap().read(c"self/status", 5).unwrap(), b"Name:");
    }

    #[test]
    fn write_outside_of_a_procfs_is_refused_and_changes_nothing() {
        let root = std::env::temp_dir().join(format!("coracle-fake-proc-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::write(root.join("file"), "before").unwrap();
        let fake = Procfs { fd: std::fs::File::open(&root).unwrap().into(), private: false };
        let result = fake.write(c"file", b"after");
        let text = std::fs::read(root.join("file")).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(result.unwrap_err().to_string().contains("`/proc/file` is not in a procfs"));
        assert_eq!(text, b"before");
    }

    #[test]
    fn read_symlink_magic_link_or_escape_is_refused() {
        let proc = Procfs::mounted().unwrap();
        for path in [c"self", c"self/exe", c"self/root/etc/passwd", c"../etc/passwd", c"/etc/passwd"] {
            assert!(proc.read(path, 1).is_err(), "{path:?}");
        }
    }
}

/// In a mount namespace of the test's own thread.
#[cfg(test)]
mod privileged {
    use super::*;

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    /// CVE-2025-52881: another file of the same procfs is mounted over the one that is to be written.
    #[test]
    fn write_over_mounted_file_is_refused() {
        std::thread::scope(|scope| scope.spawn(write_over_mounted_file).join().unwrap());
    }

    fn write_over_mounted_file() {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let (from, to) = ("/proc/sys/kernel/domainname", "/proc/sys/kernel/hostname");
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        let before = std::fs::read(from).unwrap();
        let error = Procfs::mounted().unwrap().write(c"sys/kernel/hostname", b"evil").unwrap_err();
        assert_eq!(error.raw_errno(), Some(libc::EXDEV));
        assert_eq!(std::fs::read(from).unwrap(), before);
    }
}
