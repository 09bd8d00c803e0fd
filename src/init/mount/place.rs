//! A mount tree, and how it comes onto its target.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::attributes::{self, Attributes, fd_path};
use super::peers::mount_apart;
use super::target::Target;
use crate::error::{Context, Error, Kind, Result};
use crate::fs::{FileId, is_directory};
use crate::sys;

/// Something that can be placed.
#[derive(Debug)]
pub(crate) enum Tree {
    /// A mount tree of its own, not yet anywhere.
    Detached(OwnedFd),
    /// open_tree(2) is missing (before Linux 5.2): a file that mount(2) will bind.
    File { fd: OwnedFd, recursive: bool },
}

impl Tree {
    /// A copy of what is mounted at `path` of the host.
    pub fn of_path(path: &CStr, recursive: bool, nofollow: bool) -> std::result::Result<Tree, Errno> {
        let mut flags = clone_flags(recursive);
        flags.set(OpenTreeFlags::AT_SYMLINK_NOFOLLOW, nofollow);
        match open_tree(CWD, path, flags) {
            Err(Errno::NOSYS) => {
                let mut flags = OFlags::PATH | OFlags::CLOEXEC;
                flags.set(OFlags::NOFOLLOW, nofollow);
                Ok(Tree::File { fd: openat(CWD, path, flags, Mode::empty())?, recursive })
            }
            other => other.map(Tree::Detached),
        }
    }

    /// A copy of what `fd` is: for a file just that, for a directory what is mounted there, and with `recursive`
    /// below.
    pub fn of_fd(fd: BorrowedFd<'_>, recursive: bool) -> Result<Tree> {
        match open_tree(fd, c"", clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH) {
            Err(Errno::NOSYS) => {
                Ok(Tree::File { fd: fd.try_clone_to_owned().context(|| "duplicate a descriptor")?, recursive })
            }
            other => other.map(Tree::Detached).context(|| "open_tree with OPEN_TREE_CLONE"),
        }
    }

    /// Sets `attributes` and puts the tree onto `target`. Gives the root of the new mount.
    pub fn place(self, target: &Target<'_>, attributes: &Attributes) -> Result<OwnedFd> {
        match self {
            Tree::Detached(tree) => {
                let applied = attributes::apply(tree.as_fd(), attributes)?;
                move_onto(&tree, target)?;
                if !applied {
                    attributes::apply_legacy(tree.as_fd(), attributes)?;
                }
                Ok(tree)
            }
            Tree::File { fd, recursive } => {
                let placed = bind_legacy(&fd, recursive, target)?;
                attributes::apply_placed(placed.as_fd(), attributes)?;
                Ok(placed)
            }
        }
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Tree::Detached(fd) | Tree::File { fd, .. } => fd.as_fd(),
        }
    }
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags
}

fn move_onto(tree: &OwnedFd, target: &Target<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    mount_apart(target, || match move_mount(tree, c"", &target.fd, c"", flags) {
        // The kernel says EINVAL to a file over a directory and the reverse; engines look for "not a directory".
        Err(Errno::INVAL) if is_directory(tree.as_fd())? != is_directory(target.fd.as_fd())? => {
            Err(Errno::NOTDIR).context(|| "a directory and a file cannot be mounted on each other")
        }
        other => other.context(|| "move_mount"),
    })
}

/// The sibling of [`move_onto`].
fn bind_legacy(source: &OwnedFd, recursive: bool, target: &Target<'_>) -> Result<OwnedFd> {
    let from = fd_path(source.as_fd())?;
    let to = fd_path(target.fd.as_fd())?;
    let flags = libc::MS_BIND | if recursive { libc::MS_REC } else { 0 };
    mount_apart(target, || sys::mount::mount(Some(&from), &to, None, flags, None).context(|| "mount with MS_BIND"))?;
    let placed = target.top()?;
    if FileId::of(placed.as_fd())? != FileId::of(source.as_fd())? {
        return Err(Error::new(Kind::System, "the mount target changed while it was mounted on"));
    }
    Ok(placed)
}
