//! A directory that paths of an image are resolved in, as chroot(2) would, without ever leaving it.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::walk::{Missing, walk};
use crate::error::{Context, Result};

/// openat2(2) answers EAGAIN when something was renamed while it resolved `..`; a hostile process can keep
/// that up, so after these attempts the walk takes over, which needs no luck.
const ATTEMPTS: u32 = 32;

/// How symbolic links are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// All are followed, inside the root.
    Follow,
    /// All but one in the last component, which is opened itself.
    FollowParents,
    /// Any is an error (ELOOP).
    Refuse,
}

/// A root directory, held open.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Root {
    /// `fd` is the directory; an O_PATH descriptor will do.
    fn from(fd: OwnedFd) -> Self {
        Root { fd }
    }
}

impl Root {
    /// The directory at `path` of the caller's own root: nothing hostile may have a say in it.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).context(|| format!("open {}", path.display()))?;
        Ok(Root { fd })
    }

    /// What `path` is inside, as an O_PATH descriptor.
    pub fn resolve(&self, path: &Path, links: Links) -> Result<OwnedFd> {
        self.lookup(path, links, OFlags::empty()).context(|| format!("open {} in the root", path.display()))
    }

    /// The same, with `None` when it does not exist (ENOENT and no other error).
    pub fn resolve_existing(&self, path: &Path, links: Links) -> Result<Option<OwnedFd>> {
        match self.lookup(path, links, OFlags::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            other => other.map(Some).context(|| format!("open {} in the root", path.display())),
        }
    }

    /// The directory `path`, made with its parents (0755) where missing; symbolic links, dangling ones too, are
    /// followed inside the root. O_PATH.
    pub fn make_dir_all(&self, path: &Path) -> Result<OwnedFd> {
        match self.lookup(path, Links::Follow, OFlags::DIRECTORY) {
            Err(Errno::ENOENT) => self.make(path, Links::Follow, Missing::Directory),
            other => other,
        }
        .context(|| format!("make directory {} in the root", path.display()))
    }

    /// Whatever `path` is; when missing, an empty file (0644) in directories made as needed. O_PATH.
    pub fn make_file(&self, path: &Path, links: Links) -> Result<OwnedFd> {
        match self.lookup(path, links, OFlags::empty()) {
            Err(Errno::ENOENT) => self.make(path, links, Missing::File),
            other => other,
        }
        .context(|| format!("make file {} in the root", path.display()))
    }

    /// The directory that holds the last component of `path`, made as needed, and that component's name.
    /// `None` if `path` ends in no name (`/`, `..`).
    pub fn make_parent(&self, path: &Path) -> Result<Option<(OwnedFd, OsString)>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let parent = if parent.as_os_str().is_empty() { Path::new("/") } else { parent };
        Ok(Some((self.make_dir_all(parent)?, OsStr::to_owned(name))))
    }

    fn make(&self, path: &Path, links: Links, missing: Missing) -> std::result::Result<OwnedFd, Errno> {
        let fd = walk(self.as_fd(), path, links, missing)?;
        match missing {
            Missing::Directory => Ok(openat(
                &fd,
                c".",
                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|error| Errno::from_raw(error.raw_os_error()))?),
            Missing::File | Missing::Fail => Ok(fd),
        }
    }

    fn lookup(&self, path: &Path, links: Links, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        let (nofollow, refuse) = match links {
            Links::Follow => (OFlags::empty(), ResolveFlags::empty()),
            Links::FollowParents => (OFlags::NOFOLLOW, ResolveFlags::empty()),
            Links::Refuse => (OFlags::empty(), ResolveFlags::NO_SYMLINKS),
        };
        let flags = flags | nofollow | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | refuse;
        for _ in 0..ATTEMPTS {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOSYS) => break,
                other => return other.map_err(|error| Errno::from_raw(error.raw_os_error())),
            }
        }
        let fd = walk(self.as_fd(), path, links, Missing::Fail)?;
        if flags.contains(OFlags::DIRECTORY) {
            let again = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return openat(&fd, c".", again, Mode::empty()).map_err(|error| Errno::from_raw(error.raw_os_error()));
        }
        Ok(fd)
    }
}
