//! Sources of bind mounts that have to be opened before their turn.
//!
//! Two reasons. The root of a new user namespace may not be able to reach a directory of the host, nor set an
//! idmapping on a file system of the host's: then the parent clones the trees and the child inherits them. And
//! with rootfsPropagation `shared` the sources stay peers of the host's mounts only if they are cloned before the
//! child cuts its namespace off.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::attributes::IDMAP;
use super::place::Tree;
use crate::error::{Context, Error, Result};
use crate::init::idmap;
use crate::plan::mounts::{IdmapPlan, MountPlan, MountSource};
use crate::plan::rootfs::{Pivot, RootfsPlan};
use crate::sys;
use crate::sys::mount::MountAttr;

/// Trees opened early: at most one for each entry of `mounts`, and the root file system.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    rootfs: Option<OwnedFd>,
    trees: Vec<Option<OwnedFd>>,
}

impl Sources {
    /// Whether [`Sources::open`] has to be called by a privileged parent before it clones the child.
    pub fn needed(plan: &RootfsPlan) -> bool {
        plan.pivot != Pivot::Chroot && (user_namespace(plan) || plan.mounts.iter().any(|mount| mount.idmap.is_some()))
    }

    /// Opens what the child will not be able to. An unprivileged parent (EPERM) leaves it to the child, which is then
    /// the same user.
    pub fn open(plan: &RootfsPlan) -> Result<Sources> {
        let mut sources = Sources::default();
        if !Sources::needed(plan) {
            return Ok(sources);
        }
        if user_namespace(plan) {
            sources.rootfs = match clone(&plan.path) {
                Err(Errno::PERM | Errno::NOSYS) => return Ok(sources),
                other => Some(other.context(|| format!("open the root file system {}", plan.path.display()))?),
            };
        }
        for mount in &plan.mounts {
            let wanted = user_namespace(plan) || mount.idmap.is_some();
            sources.trees.push(if wanted { open_bind(plan, mount).map_err(|error| at(mount, error))? } else { None });
        }
        Ok(sources)
    }

    /// What a child that closes all it was born with has to keep.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.rootfs.iter().chain(self.trees.iter().flatten()).map(AsRawFd::as_raw_fd)
    }

    /// Opens all binds that are not open yet.
    pub fn open_binds(&mut self, plan: &RootfsPlan) -> Result<()> {
        self.trees.resize_with(plan.mounts.len(), || None);
        for (tree, mount) in self.trees.iter_mut().zip(&plan.mounts) {
            if tree.is_none() {
                *tree = open_bind(plan, mount).map_err(|error| at(mount, error))?;
            }
        }
        Ok(())
    }

    /// The root file system, once.
    pub(in crate::init) fn take_rootfs(&mut self) -> Option<OwnedFd> {
        self.rootfs.take()
    }

    /// The tree of the entry at `position` of the plan's list, once.
    pub(super) fn take(&mut self, position: usize) -> Option<OwnedFd> {
        self.trees.get_mut(position).and_then(Option::take)
    }
}

fn user_namespace(plan: &RootfsPlan) -> bool {
    !plan.uid_mappings.is_empty() || !plan.gid_mappings.is_empty()
}

fn at(mount: &MountPlan, error: Error) -> Error {
    error.at(format!("/mounts/{}", mount.index))
}

fn clone(path: &Path) -> std::result::Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// `None` for what is no bind, or where this process cannot and the child has to.
fn open_bind(plan: &RootfsPlan, mount: &MountPlan) -> Result<Option<OwnedFd>> {
    let MountSource::Bind { path, recursive } = &mount.source else { return Ok(None) };
    // What becomes of a link is decided when its turn comes.
    if mount.copy_symlink {
        return Ok(None);
    }
    let tree = match Tree::of_path(path, *recursive, mount.source_nofollow) {
        Ok(Tree::Detached(tree)) => tree,
        Ok(Tree::File { .. }) | Err(Errno::PERM) => return Ok(None),
        Err(errno) => return Err(errno).context(|| format!("open mount source {}", path.to_string_lossy())),
    };
    if let Some(idmap) = &mount.idmap {
        map_ids(plan, idmap, &tree)?;
    }
    Ok(Some(tree))
}

/// Makes `tree`, which must be detached, idmapped.
pub(super) fn map_ids(plan: &RootfsPlan, map: &IdmapPlan, tree: &OwnedFd) -> Result<()> {
    let own = map.uid_mappings.is_empty() && map.gid_mappings.is_empty();
    let (uids, gids) =
        if own { (&plan.uid_mappings, &plan.gid_mappings) } else { (&map.uid_mappings, &map.gid_mappings) };
    let namespace = idmap::user_namespace(uids, gids)?;
    let attr = MountAttr { attr_set: IDMAP, userns_fd: namespace.as_raw_fd() as u64, ..Default::default() };
    sys::mount::mount_setattr(tree.as_fd(), map.recursive, &attr)
        .context(|| "mount_setattr with MOUNT_ATTR_IDMAP")
        .map_err(|error| error.hint("idmapped mounts need Linux 5.12 and a file system that supports them"))
}
