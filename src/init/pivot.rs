//! The moment at which the container's root becomes the process's root.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{chdir, chroot, fchdir, pivot_root};

use crate::error::{Context, Result};
use crate::fs::{MountLine, Root, read_mount_table};
use crate::plan::rootfs::Pivot;
use crate::sys;

/// Makes `root` the root and the working directory.
pub(crate) fn enter(root: Root, pivot: Pivot) -> Result<()> {
    match pivot {
        Pivot::Swap => by_pivot_root(&root),
        Pivot::Move => by_moving(&root),
        Pivot::Chroot => by_chroot(&root),
    }?;
    root.close();
    Ok(())
}

/// The two-dot form (pivot_root(2), notes): the old root ends up on top of the new one, from where one detach
/// takes it and every mount of the host away, and leaves the new root as the working directory. Needs no directory in the
/// image.
fn by_pivot_root(root: &Root) -> Result<()> {
    fchdir(root).context(|| "fchdir to the root")?;
    let how = "an initramfs cannot be pivoted away from: use --no-pivot";
    pivot_root(c".", c".").context(|| "pivot_root").map_err(|error| error.hint_on(Errno::EINVAL, how))?;
    unmount(c".", UnmountFlags::DETACH).context(|| "unmount the old root")
}

/// `--no-pivot`. The host's root stays mounted below, so whatever procfs and sysfs it has is taken away first:
/// a fully visible one would let a user namespace inside the container mount another (mount_namespaces(7)).
fn by_moving(root: &Root) -> Result<()> {
    fchdir(root).context(|| "fchdir to the root")?;
    let own = rustix::process::getcwd(Vec::new()).context(|| "getcwd of the root")?;
    let own = PathBuf::from(own.to_string_lossy().into_owned());
    for path in revealing_mounts(&own)? {
        hide(&path)?;
    }
    // Slash is the host's: opening it involves nothing of the image.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let slash = openat(CWD, c"/", flags, Mode::empty()).context(|| "open /")?;
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(root, c"", &slash, c"", both) {
        Err(rustix::io::Errno::NOSYS) => {
            sys::mount::mount(Some(c"."), c"/", None, libc::MS_MOVE, None).context(|| "move the root to /")?;
        }
        other => other.context(|| "move the root to /")?,
    }
    by_chroot(root)
}

fn by_chroot(root: &Root) -> Result<()> {
    fchdir(root.as_fd()).context(|| "fchdir to the root")?;
    chroot(c".").context(|| "chroot")?;
    chdir(c"/").context(|| "chdir to /")
}

/// Where procfs and sysfs are mounted outside of `own`, deepest first. Read only here: nothing else needs the
/// list of mounts, which can be thousands long.
fn revealing_mounts(own: &Path) -> Result<Vec<PathBuf>> {
    let table = read_mount_table()?;
    let reveals = |mount: &MountLine<'_>| matches!(mount.fs_type, "proc" | "sysfs");
    let points = table.lines().filter_map(MountLine::parse).filter(reveals).map(|mount| mount.point());
    let mut found: Vec<PathBuf> = points.filter(|path| !path.starts_with(own)).collect();
    found.reverse();
    Ok(found)
}

/// Unmounts `path`, or covers it where it is locked in place (a mount of a more privileged namespace).
fn hide(path: &Path) -> Result<()> {
    if unmount(path, UnmountFlags::DETACH).is_ok() {
        return Ok(());
    }
    let target = super::mount::c_path(path)?;
    match sys::mount::mount(Some(c"tmpfs"), &target, Some(c"tmpfs"), libc::MS_RDONLY, None) {
        // Already gone with a mount that was above it.
        Err(Errno::ENOENT) => Ok(()),
        other => other.context(|| format!("hide {}", path.display())),
    }
}
