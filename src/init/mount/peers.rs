//! Volumes that stay peers of the host's mounts (rootfsPropagation `shared`), and what the runtime mounts inside of them: it
//! is the container's alone, so the host may not get it.
//!
//! The mount that is mounted on leaves its peer group for that moment. A detached copy keeps the group meanwhile, and the
//! mount joins that again (move_mount(2) with MOVE_MOUNT_SET_GROUP, Linux 5.15). Kernels without a way back let
//! the host see such mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::target::Target;
use crate::error::{Context, Result};
use crate::fs::{Links, is_directory};
use crate::sys::mount::{MountAttr, mount_setattr};

/// More than a path can have: a directory that was moved out of its mount has no way up to the mount's root.
const MAX_DEPTH: usize = 4096;

/// Mounts something on `target`, which the host does not get.
pub(super) fn mount_apart<T>(target: &Target<'_>, mount: impl FnOnce() -> Result<T>) -> Result<T> {
    let apart = if target.root.holds_peers() { Apart::leave(target)? } else { None };
    let mounted = mount()?;
    apart.map_or(Ok(()), Apart::rejoin).map(|()| mounted)
}

/// A mount that has left its peer group.
struct Apart {
    /// Its root.
    mount: OwnedFd,
    /// A copy that is still in the group.
    keeper: OwnedFd,
}

impl Apart {
    /// Takes the mount that `target` is on out of its group. `None` if it is in none, or the kernel knows no way back.
    fn leave(target: &Target<'_>) -> Result<Option<Apart>> {
        let Some(mount) = root_of_mount(target)? else { return Ok(None) };
        let copies = || Ok((copy(&mount)?, copy(&mount)?));
        let (keeper, trial) = match copies() {
            Ok(copies) => copies,
            Err(Errno::NOSYS) => return Ok(None),
            Err(errno) => return Err(errno).context(|| "open_tree of a shared volume"),
        };
        if make_private(&trial).is_err() || set_group(&keeper, &trial).is_err() {
            return Ok(None);
        }
        make_private(&mount).context(|| "make a shared volume private")?;
        Ok(Some(Apart { mount, keeper }))
    }

    /// Back to the group.
    fn rejoin(self) -> Result<()> {
        set_group(&self.keeper, &self.mount).context(|| "move_mount with MOVE_MOUNT_SET_GROUP")
    }
}

fn copy(mount: &OwnedFd) -> std::result::Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(mount, c"", flags)
}

fn make_private(mount: &OwnedFd) -> std::result::Result<(), nix::errno::Errno> {
    mount_setattr(mount.as_fd(), false, &MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() })
}

/// Puts `mount`, which is in no group, into that of `member`.
fn set_group(member: &OwnedFd, mount: &OwnedFd) -> std::result::Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_SET_GROUP
        | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH
        | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(member, c"", mount, c"", flags)
}

/// The root of the mount that `target` is on. `None` where that cannot be known: before Linux 5.8, or for a file that was
/// reached through a link.
fn root_of_mount(target: &Target<'_>) -> Result<Option<OwnedFd>> {
    let Some((id, is_root)) = mount_of(target.fd.as_fd())? else { return Ok(None) };
    let mut here = if is_root {
        target.fd.try_clone().context(|| "duplicate a descriptor")?
    } else if is_directory(target.fd.as_fd())? {
        parent(target.fd.as_fd())?
    } else {
        target.root.resolve(target.path.parent().unwrap_or(Path::new("/")), Links::Follow)?
    };
    for _ in 0..MAX_DEPTH {
        match mount_of(here.as_fd())? {
            Some((other, is_root)) if other == id && is_root => return Ok(Some(here)),
            Some((other, _)) if other == id => here = parent(here.as_fd())?,
            _ => break,
        }
    }
    Ok(None)
}

fn parent(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(directory, c"..", flags, Mode::empty()).context(|| "open ..")
}

/// The id of the mount that `file` is on, and whether it is its root.
fn mount_of(file: BorrowedFd<'_>) -> Result<Option<(u64, bool)>> {
    let status = match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID) {
        Err(Errno::NOSYS) => return Ok(None),
        other => other.context(|| "statx")?,
    };
    let known = StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::MNT_ID)
        && status.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    Ok(known.then(|| (status.stx_mnt_id, status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))))
}
