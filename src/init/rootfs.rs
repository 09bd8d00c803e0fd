//! The root file system, step by step: propagation, the container's own copy of the root mount, the end.
//!
//! Init calls, before the pivot and with the host's root still the process's own: [`prepare`],
//! `mount::mount_all`, `devices::make_all`, `console` if there is a terminal, the createContainer hooks,
//! `masks::apply`, `Unsealed::seal`, [`seal`]; then `pivot::enter` and [`propagate`]. Up to the pivot /proc is the host's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mount::attributes::{self, Attributes, RDONLY};
use super::mount::sources::Sources;
use crate::error::{Context, Error, Result};
use crate::fs::Root;
use crate::plan::rootfs::{Pivot, RootfsPlan};
use crate::sys;

/// Cuts the mount namespace off from the host and makes the root file system a mount of its own.
///
/// Afterwards nothing that is mounted or unmounted here reaches the host, whatever rootfsPropagation asks for
/// (it applies to what the container does later, see [`propagate`]): sources that have to stay peers of the
/// host's mounts were cloned by [`Sources`] before, and what is mounted on those is kept apart (`mount::peers`).
pub(crate) fn prepare(plan: &RootfsPlan, sources: &mut Sources) -> Result<Root> {
    if plan.pivot == Pivot::Chroot {
        return Root::open(&plan.path);
    }
    if plan.propagation_configured && plan.propagation & libc::MS_SLAVE == 0 {
        sources.open_binds(plan)?;
    }
    let peers = plan.propagation & libc::MS_SHARED != 0;
    let propagation = libc::MS_REC | if is_private(plan) { libc::MS_PRIVATE } else { libc::MS_SLAVE };
    sys::mount::mount(None, c"/", None, propagation, None).context(|| "make the propagation of / slave or private")?;
    let name = || format!("make {} a mount", plan.path.display());
    match sources.take_rootfs() {
        Some(tree) => {
            // Cloned by the parent, it is a peer of the host's mounts yet.
            let cut = Attributes { propagation: vec![propagation], ..Attributes::default() };
            let applied = attributes::apply(tree.as_fd(), &cut).context(name)?;
            let root = attach(plan, tree).context(name)?;
            if !applied {
                attributes::apply_legacy(root.as_fd(), &cut).context(name)?;
            }
            Ok(root.with_peers(peers))
        }
        None => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            match open_tree(CWD, &plan.path, flags) {
                Ok(tree) => attach(plan, tree).map(|root| root.with_peers(peers)).context(name),
                Err(rustix::io::Errno::NOSYS) => bind_legacy(plan).context(name),
                Err(errno) => Err(errno).context(name),
            }
        }
    }
}

/// rootfsPropagation says that nothing of the host's later mounts is to arrive.
fn is_private(plan: &RootfsPlan) -> bool {
    plan.propagation & (libc::MS_PRIVATE | libc::MS_UNBINDABLE) != 0
}

/// Puts the detached copy over the directory it was taken from, where hooks expect it; over `/` when a user
/// namespace cannot reach that directory.
fn attach(plan: &RootfsPlan, tree: OwnedFd) -> Result<Root> {
    // The path of the root may end in a link, which was followed before.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    match move_mount(&tree, c"", CWD, &plan.path, flags) {
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::NOENT) => move_mount(&tree, c"", CWD, c"/", flags),
        other => other,
    }
    .context(|| "move_mount")?;
    Ok(Root::from(tree))
}

/// The same with mount(2): the path is the host's.
fn bind_legacy(plan: &RootfsPlan) -> Result<Root> {
    let path = super::mount::c_path(&plan.path)?;
    sys::mount::mount(Some(&path), &path, None, libc::MS_BIND | libc::MS_REC, None).context(|| "mount with MS_BIND")?;
    // What is mounted over the root itself is reached by going up only (path_resolution(7)).
    Root::open(if plan.path.parent().is_none() { Path::new("/..") } else { &plan.path })
}

/// root.readonly: the root mount alone, and only its own flag.
pub(crate) fn seal(plan: &RootfsPlan, root: &Root) -> Result<()> {
    if !plan.readonly {
        return Ok(());
    }
    let read_only = Attributes { set: RDONLY, ..Attributes::default() };
    attributes::apply_placed(root.as_fd(), &read_only)
        .context(|| "make the root read-only")
        .map_err(|e| e.at("/root/readonly"))
}

/// rootfsPropagation, for what is mounted from now on. After the pivot.
pub(crate) fn propagate(plan: &RootfsPlan) -> Result<()> {
    if !plan.propagation_configured {
        return Ok(());
    }
    sys::mount::mount(None, c"/", None, plan.propagation, None)
        .context(|| "set the propagation of /")
        .map_err(|error| error.at("/linux/rootfsPropagation"))
}

/// Checks, after chdir(2) to any directory but the root, that the working directory lies below the root: a directory of the host that some
/// descriptor led to shows as unreachable (CVE-2024-21626).
pub(crate) fn verify_cwd() -> Result<()> {
    let path = rustix::process::getcwd(Vec::new()).context(|| "getcwd")?;
    if path.as_bytes().first() == Some(&b'/') {
        return Ok(());
    }
    Err(Error::sys(Errno::ENOENT, "the working directory is outside of the container's root").at("/process/cwd"))
}

#[cfg(test)]
mod privileged;
