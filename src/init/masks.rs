//! linux.maskedPaths and linux.readonlyPaths.
//!
//! Done with the root's descriptor before the pivot: resolution is the same as after it, and the host's /proc is
//! still there where fsopen(2) is missing. A target that does not exist is passed over; nothing else is.

mod procfs;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use super::mount::attributes::{self, Attributes, RDONLY};
use super::mount::filesystem::empty_tmpfs;
use super::mount::place::Tree;
use super::mount::target::Target;
use crate::error::{Error, Kind, Result};
use crate::fs::{Links, Root, expect_char_device, is_directory};
use crate::plan::rootfs::RootfsPlan;

/// What covers files.
const NULL: &str = "/dev/null";
/// Its major and minor number.
const NULL_DEVICE: (u32, u32) = (1, 3);

/// Performs both lists. After the createContainer hooks, which may still mount things: `hooked` if there were any.
pub(crate) fn apply(plan: &RootfsPlan, root: &Root, hooked: bool) -> Result<()> {
    let mut covers = Covers { null: None, directory: None };
    let mut left = procfs::Left::all(plan);
    if !hooked {
        left.do_by_name(plan, root, &mut covers);
    }
    for (index, path) in left.read_only {
        make_read_only(root, path).map_err(|error| {
            error.context(format!("make {} read-only", path.display())).at(format!("/linux/readonlyPaths/{index}"))
        })?;
    }
    for (index, path) in left.masked {
        mask(root, plan, path, &mut covers).map_err(|error| {
            error.context(format!("mask {}", path.display())).at(format!("/linux/maskedPaths/{index}"))
        })?;
    }
    covers.null.into_iter().chain(covers.directory).for_each(|fd| root.retire(fd));
    Ok(())
}

/// Binds the path onto itself with the read-only flag added. The other flags, locked in a user namespace, stay.
fn make_read_only(root: &Root, path: &Path) -> Result<()> {
    let Some(fd) = root.resolve_existing(path, Links::Follow)? else { return Ok(()) };
    let read_only = Attributes { set: RDONLY, ..Attributes::default() };
    if is_root(path) {
        return attributes::apply_placed(fd.as_fd(), &read_only);
    }
    let tree = Tree::of_fd(fd.as_fd(), true)?;
    let target = Target { root, path, links: Links::Follow, fd };
    let placed = tree.place(&target, &read_only)?;
    retire(target, placed);
    Ok(())
}

/// What is mounted over the root is not what the container's processes have for their root.
fn is_root(path: &Path) -> bool {
    !path.components().any(|part| matches!(part, Component::Normal(_)))
}

fn retire(target: Target<'_>, placed: OwnedFd) {
    target.root.retire(target.fd);
    target.root.retire(placed);
}

/// What masked paths are covered with, made when first needed.
struct Covers {
    /// The container's /dev/null, checked.
    null: Option<OwnedFd>,
    /// A placed mount of the one empty tmpfs: the others are its copies.
    directory: Option<OwnedFd>,
}

fn mask(root: &Root, plan: &RootfsPlan, path: &Path, covers: &mut Covers) -> Result<()> {
    if is_root(path) {
        return Err(Error::new(Kind::Config, "the root itself cannot be masked"));
    }
    // Asked for a directory, the kernel tells with one call whether it is there and what it is.
    let (fd, links, directory) = match root.resolve_directory(path, Links::Refuse) {
        Ok(fd) => (fd, Links::Refuse, true),
        Err(error) if error.raw_errno() == Some(libc::ENOTDIR) => {
            (root.resolve_existing(path, Links::Follow)?, Links::Follow, false)
        }
        // There is a link on the way.
        Err(_) => {
            let fd = root.resolve_existing(path, Links::Follow)?;
            let directory = fd.as_ref().map(|fd| is_directory(fd.as_fd())).transpose()?;
            (fd, Links::Follow, directory.unwrap_or_default())
        }
    };
    let Some(fd) = fd else { return Ok(()) };
    let target = Target { root, path, links, fd };
    if directory {
        match &covers.directory {
            Some(placed) => {
                let copy = Tree::of_fd(placed.as_fd(), false)?.place(&target, &Attributes::default())?;
                retire(target, copy);
            }
            None => {
                covers.directory = Some(empty_tmpfs(plan.mount_label.as_deref()).place(&target)?);
                root.retire(target.fd);
            }
        }
        return Ok(());
    }
    let null = match &covers.null {
        Some(null) => null,
        None => covers.null.insert(null_device(root)?),
    };
    let copy = Tree::of_fd(null.as_fd(), false)?.place(&target, &Attributes::default())?;
    retire(target, copy);
    Ok(())
}

/// The container's null device. Whatever else an image has put there would be mounted where everybody can read
/// or write it (CVE-2025-31133).
fn null_device(root: &Root) -> Result<OwnedFd> {
    let fd = root.resolve(Path::new(NULL), Links::FollowParents)?;
    expect_char_device(fd.as_fd(), NULL_DEVICE, "/dev/null of the container")?;
    Ok(fd)
}
