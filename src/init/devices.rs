//! Device nodes and the links of /dev (config-linux.md#devices, #default-devices), made in descriptors of directories
//! that were resolved inside the root: an image whose /dev is a link elsewhere gets them there, inside.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, chownat, fstat, major, makedev, minor, mknodat, openat, symlinkat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::mount::attributes::{Attributes, fd_path};
use super::mount::place::Tree;
use super::mount::target::Target;
use crate::error::{Context, Error, Kind, Result};
use crate::fs::{Links, Root};
use crate::plan::mounts::{DeviceKind, DevicePlan};
use crate::plan::rootfs::RootfsPlan;

/// Links of /dev and where they point (config-linux.md#dev-symbolic-links).
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Makes every device, and the links unless /dev is the user's own. After the mounts, before the pivot.
pub(crate) fn make_all(plan: &RootfsPlan, root: &Root) -> Result<()> {
    let mask = rustix::process::umask(Mode::empty());
    let made = make_nodes(root, plan).and_then(|held| {
        let dev = match (plan.default_devices, held) {
            (false, _) => return Ok(()),
            (true, Some((path, dev))) if path == Path::new("/dev") => dev,
            (true, _) => root.make_dir_all(Path::new("/dev"))?,
        };
        make_links(&dev).map(|()| root.retire(dev))
    });
    rustix::process::umask(mask);
    made
}

/// Gives the directory of the last device, resolved inside the root.
fn make_nodes<'a>(root: &Root, plan: &'a RootfsPlan) -> Result<Option<(&'a Path, OwnedFd)>> {
    // Nearly all are in /dev.
    let mut held: Option<(&Path, OwnedFd)> = None;
    for device in &plan.devices {
        let path = Path::new(&device.path);
        let failed = |error: Error| {
            let error = error.context(format!("make device {}", path.display()));
            match device.index {
                Some(index) => error.at(format!("/linux/devices/{index}")),
                None => error,
            }
        };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(Error::new(Kind::Config, "the path names no file")));
        };
        let directory = match held.take() {
            Some((path, fd)) if path == parent => fd,
            _ => root.make_dir_all(parent).map_err(failed)?,
        };
        make_node(root, plan, &directory, name, device).map_err(failed)?;
        held = Some((parent, directory));
    }
    Ok(held)
}

fn make_node(root: &Root, plan: &RootfsPlan, directory: &OwnedFd, name: &OsStr, device: &DevicePlan) -> Result<()> {
    if plan.bind_devices && device.kind != DeviceKind::Fifo {
        return bind_node(root, device);
    }
    let mode = Mode::from_raw_mode(device.mode & 0o7777);
    match mknodat(directory, name, file_type(device.kind), mode, number(device)) {
        Ok(()) if device.uid == 0 && device.gid == 0 => Ok(()),
        Ok(()) => adjust(directory, name, device, false),
        Err(Errno::EXIST) => adjust(directory, name, device, true),
        // A user namespace that the plan does not know of: the runtime itself runs in a container.
        Err(Errno::PERM) if device.kind != DeviceKind::Fifo => bind_node(root, device),
        Err(errno) => Err(errno).context(|| "mknod"),
    }
}

/// Gives the node its owner, and with `existing` its permissions: one that was there has to be the device that is
/// wanted ("If a file already exists at `path` that does not match the requested device, the runtime MUST generate an
/// error").
fn adjust(directory: &OwnedFd, name: &OsStr, device: &DevicePlan, existing: bool) -> Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = openat(directory, name, flags, Mode::empty()).context(|| "open")?;
    if !is_device(&node, device)? {
        return Err(Error::sys(nix::errno::Errno::EEXIST, "another file is there already"));
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    chownat(&node, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).context(|| "chown")?;
    if existing {
        // An O_PATH descriptor has no fchmod(2).
        let path = fd_path(node.as_fd())?;
        chmodat(CWD, &path, Mode::from_raw_mode(device.mode & 0o7777), AtFlags::empty()).context(|| "chmod")?;
    }
    Ok(())
}

fn is_device(fd: impl AsFd, device: &DevicePlan) -> Result<bool> {
    let stat = fstat(fd).context(|| "fstat")?;
    let same_number = (major(stat.st_rdev), minor(stat.st_rdev)) == (device.major, device.minor);
    let kind = FileType::from_raw_mode(stat.st_mode);
    Ok(kind == file_type(device.kind) && (same_number || device.kind == DeviceKind::Fifo))
}

/// Binds the host's node: from the same path, or from where udev lists it by number.
fn bind_node(root: &Root, device: &DevicePlan) -> Result<()> {
    let path = Path::new(&device.path);
    let tree = host_node(device)?;
    let fd = root.make_file(path, Links::Follow)?;
    let target = Target { root, path, links: Links::Follow, fd };
    tree.place(&target, &Attributes::default()).map(drop)
}

fn host_node(device: &DevicePlan) -> Result<Tree> {
    let DevicePlan { major, minor, .. } = device;
    let class = if device.kind == DeviceKind::Block { "block" } else { "char" };
    let by_number = CString::new(format!("/dev/{class}/{major}:{minor}"));
    let by_path = CString::new(std::os::unix::ffi::OsStrExt::as_bytes(device.path.as_os_str()));
    for path in [by_path, by_number].into_iter().flatten() {
        match Tree::of_path(&path, false, false) {
            Ok(tree) if is_device(&tree, device)? => return Ok(tree),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(|| format!("open {}", path.to_string_lossy())),
        }
    }
    Err(Error::sys(nix::errno::Errno::ENOENT, format!("the host has no {class} device {major}:{minor} to bind")))
}

fn number(device: &DevicePlan) -> u64 {
    if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) }
}

fn file_type(kind: DeviceKind) -> FileType {
    match kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    }
}

/// The links. What an image brought under these names stays, but for ptmx, without which terminals do not work.
fn make_links(dev: &OwnedFd) -> Result<()> {
    for (name, target) in LINKS {
        match symlinkat(target, dev, name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(|| format!("symlink /dev/{name}")),
        }
    }
    match symlinkat("pts/ptmx", dev, "ptmx") {
        Err(Errno::EXIST) => {
            unlinkat(dev, "ptmx", AtFlags::empty()).context(|| "unlink /dev/ptmx")?;
            symlinkat("pts/ptmx", dev, "ptmx")
        }
        other => other,
    }
    .context(|| "symlink /dev/ptmx")
}
