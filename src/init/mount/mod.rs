//! The entries of `mounts` (config.md#mounts), in their order.
//!
//! A source is a path of the host (trusted) or a new file system; both become a detached mount that gets its
//! attributes before anybody can see it. A destination is resolved inside the root once, to a descriptor, and the
//! mount is moved onto that. Uses `fs` and `sys`; called by init before the pivot.

pub(crate) mod attributes;
pub(crate) mod cgroup;
mod copy_up;
pub(crate) mod filesystem;
mod peers;
pub(crate) mod place;
pub(crate) mod sources;
pub(crate) mod target;

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, fstat, readlinkat, symlinkat};
use rustix::io::Errno;

use attributes::{Attributes, RDONLY};
use cgroup::CgroupView;
use filesystem::NewFilesystem;
use place::Tree;
use sources::Sources;
use target::Target;

use crate::error::{Context, Error, Kind, Result};
use crate::fs::{FileId, Links, PROC_MAGIC, Root, fs_magic, is_directory};
use crate::plan::mounts::{MountPlan, MountSource};
use crate::plan::rootfs::RootfsPlan;

/// Performs every entry. `cgroups` is needed for entries of type cgroup.
///
/// An entry for `/` itself becomes the root for all that follows.
pub(crate) fn mount_all(
    plan: &RootfsPlan,
    root: &mut Root,
    sources: &mut Sources,
    cgroups: Option<&CgroupView>,
) -> Result<Unsealed> {
    let mut unsealed = Unsealed::default();
    let pathless = |mount: &MountPlan| match &mount.source {
        MountSource::New { fs_type, .. } => filesystem::is_pathless(fs_type),
        _ => true,
    };
    let may_move = plan.mounts.iter().all(pathless);
    let mut empty = None;
    for (position, mount) in plan.mounts.iter().enumerate() {
        let early = sources.take(position);
        let at = |error: Error| error.context(describe(mount)).at(format!("/mounts/{}", mount.index));
        let entry = Entry { root, plan, mount, cgroups, may_move, empty };
        let placed = perform(&entry, early, &mut unsealed).map_err(at)?;
        empty = (is_new_tmpfs(mount) && !mount.copy_up).then_some(mount.destination.as_path());
        if let Some(placed) = placed {
            if is_sealed_later(mount) {
                unsealed.add(mount, placed.as_fd()).map_err(at)?;
            }
            if mount.destination.parent().is_none() {
                *root = Root::from(placed).with_peers(root.holds_peers());
            } else {
                root.retire(placed);
            }
        }
    }
    Ok(unsealed)
}

/// Each tmpfs that is to be read-only, writable until all that belongs into it is made: mountpoints of later entries,
/// devices, the working directory. Engines want /dev and /run so.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Unsealed(Vec<(usize, OwnedFd)>);

impl Unsealed {
    fn add(&mut self, mount: &MountPlan, placed: BorrowedFd<'_>) -> Result<()> {
        self.0.push((mount.index, placed.try_clone_to_owned().context(|| "duplicate a descriptor")?));
        Ok(())
    }

    /// Makes them read-only.
    pub fn seal(self) -> Result<()> {
        let read_only = Attributes { set: RDONLY, ..Attributes::default() };
        for (index, placed) in self.0 {
            attributes::apply_placed(placed.as_fd(), &read_only)
                .context(|| "make it read-only")
                .map_err(|error| error.at(format!("/mounts/{index}")))?;
        }
        Ok(())
    }

    /// `mount` has been made writable by an entry after its own.
    fn forget(&mut self, mount: BorrowedFd<'_>) -> Result<()> {
        let id = FileId::of(mount)?;
        self.0.retain(|(_, placed)| FileId::of(placed.as_fd()).ok() != Some(id));
        Ok(())
    }
}

fn is_sealed_later(mount: &MountPlan) -> bool {
    is_new_tmpfs(mount) && (mount.attr_set | mount.recursive_attr_set) & RDONLY != 0
}

fn is_new_tmpfs(mount: &MountPlan) -> bool {
    matches!(&mount.source, MountSource::New { fs_type, .. } if fs_type.to_bytes() == b"tmpfs")
}

/// A path of the configuration as a C string.
pub(super) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|error| Error::new(Kind::Config, error.to_string()).context(format!("path {}", path.display())))
}

/// One entry with what it is performed against.
struct Entry<'a> {
    root: &'a Root,
    plan: &'a RootfsPlan,
    mount: &'a MountPlan,
    cgroups: Option<&'a CgroupView>,
    /// No entry depends on the working directory.
    may_move: bool,
    /// What the entry before has mounted an empty directory on.
    empty: Option<&'a Path>,
}

impl<'a> Entry<'a> {
    fn links(&self) -> Links {
        if self.mount.destination_nofollow { Links::FollowParents } else { Links::Follow }
    }

    fn target(&self, fd: OwnedFd, links: Links) -> Target<'a> {
        Target { root: self.root, path: &self.mount.destination, links, fd }
    }

    /// The destination as a directory, made when missing.
    fn directory(&self) -> Result<Target<'a>> {
        let path = &self.mount.destination;
        if self.mount.destination_nofollow {
            // Only a directory that is there can be it: through a link nothing is made.
            if let Some(fd) = self.root.resolve_existing(path, Links::FollowParents)? {
                return Ok(self.target(fd, Links::FollowParents));
            }
        }
        // In most cases there is no link on the way, and a path of names alone is what it says.
        if path.components().skip(1).all(|part| matches!(part, Component::Normal(_))) {
            let missing = self.empty.is_some_and(|empty| path.parent() == Some(empty));
            let made = if missing { self.root.make_new_dir(path) } else { self.root.make_beside(path) }.map(Some);
            let there = made.map_or_else(|| self.root.resolve_directory(path, Links::Refuse), Ok);
            let there = match there {
                Ok(None) => self.root.make_new_dir(path),
                there => there.unwrap_or_default(),
            };
            if let Some(fd) = there {
                return Ok(self.target(fd, Links::Refuse));
            }
        }
        let fd = self.root.make_dir_all(path)?;
        if path.parent().is_some() && FileId::of(fd.as_fd())? == FileId::of(self.root.as_fd())? {
            return Err(Error::new(Kind::Config, "its links lead to the root itself"));
        }
        Ok(self.target(fd, self.links()))
    }

    /// The destination of procfs and sysfs: reached through no symbolic link, or what is set and masked below it
    /// later would be elsewhere (CVE-2019-19921).
    fn ordinary_directory(&self, fs_type: &CStr) -> Result<Target<'a>> {
        let path = &self.mount.destination;
        let refused = |error: Error| match error.raw_errno() {
            Some(libc::ELOOP | libc::ENOTDIR) => error
                .context(format!("filesystem {:?} must be mounted on ordinary directory", fs_type.to_string_lossy())),
            _ => error,
        };
        let fd = match self.root.resolve_directory(path, Links::Refuse).map_err(refused)? {
            Some(fd) => fd,
            None => {
                self.root.make_dir_all(path)?;
                let made = self.root.resolve_directory(path, Links::Refuse).map_err(refused)?;
                made.ok_or_else(|| Error::sys(nix::errno::Errno::ENOENT, "it is gone again"))?
            }
        };
        Ok(self.target(fd, Links::Refuse))
    }
}

/// Gives the root of the new mount, if one came into being.
fn perform(entry: &Entry<'_>, early: Option<OwnedFd>, unsealed: &mut Unsealed) -> Result<Option<OwnedFd>> {
    match &entry.mount.source {
        MountSource::Bind { path, recursive } => bind(entry, path, *recursive, early),
        MountSource::New { fs_type, source } => new_filesystem(entry, fs_type, source),
        MountSource::Cgroup { v2, source } => cgroup::mount(entry, *v2, source).map(Some),
        MountSource::Remount { bind } => remount(entry, *bind, unsealed).map(|()| None).map_err(needs_a_mount),
        MountSource::PropagationOnly => {
            let placed = entry.root.resolve(&entry.mount.destination, entry.links())?;
            let applied = attributes::apply_placed(placed.as_fd(), &Attributes::of(entry.mount));
            applied.map(|()| None).map_err(needs_a_mount)
        }
    }
}

/// The kernel's EINVAL does not tell what is missing.
fn needs_a_mount(error: Error) -> Error {
    error.hint_on(nix::errno::Errno::EINVAL, "the destination has to be a mountpoint")
}

fn bind(entry: &Entry<'_>, source: &CStr, recursive: bool, early: Option<OwnedFd>) -> Result<Option<OwnedFd>> {
    let mount = entry.mount;
    if mount.copy_symlink && copy_symlink(entry, source)? {
        return Ok(None);
    }
    let mut attributes = Attributes::of(mount);
    let tree = match early {
        Some(tree) => {
            attributes.propagation.splice(0..0, early_propagation(entry.plan, mount));
            Tree::Detached(tree)
        }
        None => {
            let tree = Tree::of_path(source, recursive, mount.source_nofollow)
                .context(|| format!("open mount source {}", source.to_string_lossy()))?;
            if let Some(idmap) = &mount.idmap {
                idmapped(entry, &tree, idmap)?;
            }
            tree
        }
    };
    let target = if is_directory(tree.as_fd())? {
        entry.directory()?
    } else {
        entry.target(entry.root.make_file(&mount.destination, entry.links())?, entry.links())
    };
    let placed = tree.place(&target, &attributes)?;
    entry.root.retire(target.fd);
    Ok(Some(placed))
}

fn idmapped(entry: &Entry<'_>, tree: &Tree, idmap: &crate::plan::mounts::IdmapPlan) -> Result<()> {
    match tree {
        Tree::Detached(tree) => sources::map_ids(entry.plan, idmap, tree),
        Tree::File { .. } => Err(Error::new(Kind::Unsupported, "idmapped mounts need open_tree(2) (Linux 5.12)")),
    }
}

/// A tree that was cloned before the namespace was cut off is still a peer of the host's mounts. Unless the
/// configuration wants that, it becomes what the rest of the namespace is.
fn early_propagation(plan: &RootfsPlan, mount: &MountPlan) -> Option<u64> {
    let private = plan.propagation & (libc::MS_PRIVATE | libc::MS_UNBINDABLE) != 0;
    if plan.propagation & libc::MS_SHARED != 0 {
        None
    } else if private && mount.propagation.is_empty() {
        Some(libc::MS_PRIVATE | libc::MS_REC)
    } else {
        Some(libc::MS_SLAVE | libc::MS_REC)
    }
}

/// `copy-symlink`: recreates a source that is a symbolic link. False if it is none.
fn copy_symlink(entry: &Entry<'_>, source: &CStr) -> Result<bool> {
    let text = match readlinkat(CWD, source, Vec::new()) {
        Err(Errno::INVAL) => return Ok(false),
        other => other.context(|| format!("readlink {}", source.to_string_lossy()))?,
    };
    let Some((parent, name)) = entry.root.make_parent(&entry.mount.destination)? else {
        return Err(Error::new(Kind::Config, "a symbolic link cannot replace the root"));
    };
    match symlinkat(&text, &parent, &name) {
        Err(Errno::EXIST) if readlinkat(&parent, &name, Vec::new()).is_ok_and(|there| there == text) => Ok(true),
        other => other.context(|| format!("symlink to {}", text.to_string_lossy())).map(|()| true),
    }
}

fn new_filesystem(entry: &Entry<'_>, fs_type: &CStr, source: &CStr) -> Result<Option<OwnedFd>> {
    let mount = entry.mount;
    let mut attributes = Attributes::of(mount);
    let name = fs_type.to_bytes();
    let mut parameters = mount.data.clone();
    let target = match name {
        b"proc" | b"sysfs" => entry.ordinary_directory(fs_type)?,
        b"tmpfs" if mount.data.iter().all(|word| !word.starts_with("mode=")) => {
            // A directory of the image keeps its permissions; a new one gets tmpfs' own, 1777.
            let existing = entry.root.resolve_existing(&mount.destination, entry.links())?;
            if let Some(existing) = existing {
                let mode = fstat(&existing).context(|| "fstat")?.st_mode & 0o7777;
                parameters.push(format!("mode={mode:o}"));
            }
            entry.directory()?
        }
        _ => entry.directory()?,
    };
    if let Some(label) = &entry.plan.mount_label
        && !matches!(name, b"proc" | b"sysfs" | b"mqueue")
    {
        parameters.push(filesystem::context(label));
    }
    let mut new =
        NewFilesystem { fs_type, source, super_flags: mount.super_flags, attributes: attributes.set, parameters };
    let sealed_later = is_sealed_later(mount);
    if sealed_later {
        new.super_flags &= !libc::MS_RDONLY;
        new.attributes &= !RDONLY;
        attributes.recursive_set &= !RDONLY;
    }
    // fsmount sets them.
    (attributes.set, attributes.clear) = (0, 0);
    let special = mount.copy_up || sealed_later || mount.idmap.is_some() || entry.root.holds_peers();
    let plain = !special && attributes == Attributes::default();
    if plain && entry.may_move && mount.destination.parent().is_some() && new.mount_onto(target.fd.as_fd()) {
        entry.root.retire(target.fd);
        return Ok(None);
    }
    place_new(entry, &new, &target, &attributes).map(Some)
}

/// The general way, and what to do where the kernel refuses.
fn place_new(
    entry: &Entry<'_>,
    new: &NewFilesystem<'_>,
    target: &Target<'_>,
    attributes: &Attributes,
) -> Result<OwnedFd> {
    let mount = entry.mount;
    let detached = match new.create() {
        Err(error) if error.raw_errno() == Some(libc::EPERM) => {
            return host_instance(entry, new.fs_type.to_bytes(), target, error);
        }
        other => other?,
    };
    if mount.copy_up {
        let placed = match detached {
            Some(tree) => Tree::Detached(tree).place(target, &Attributes::default())?,
            None => new.mount_legacy(target)?,
        };
        copy_up::copy(target.fd.as_fd(), placed.as_fd()).context(|| "copy what the image has there")?;
        attributes::apply_placed(placed.as_fd(), attributes)?;
        return Ok(placed);
    }
    match detached {
        Some(tree) => {
            if let Some(idmap) = &mount.idmap {
                sources::map_ids(entry.plan, idmap, &tree)?;
            }
            Tree::Detached(tree).place(target, attributes)
        }
        None => {
            let placed = new.mount_legacy(target)?;
            attributes::apply_placed(placed.as_fd(), attributes)?;
            Ok(placed)
        }
    }
}

/// A user namespace may only mount what shows namespaces that it owns: without a network namespace of its own no
/// sysfs, without an IPC namespace no mqueue, without a pid namespace no procfs. What it would show is what the
/// host's instance shows, so that is bound instead, sysfs read-only with all that is mounted below.
fn host_instance(entry: &Entry<'_>, fs_type: &[u8], target: &Target<'_>, refused: Error) -> Result<OwnedFd> {
    let path = match fs_type {
        b"sysfs" => c"/sys",
        b"mqueue" => c"/dev/mqueue",
        b"proc" if procfs_is_own()? => c"/proc",
        _ => return Err(refused),
    };
    let tree = match Tree::of_path(path, true, false) {
        Err(Errno::NOENT) => return Err(refused),
        other => other.context(|| format!("bind {} since a new one is refused", path.to_string_lossy()))?,
    };
    if fs_type == b"proc" && fs_magic(tree.as_fd())? != PROC_MAGIC {
        return Err(refused);
    }
    let mut attributes = Attributes::of(entry.mount);
    // Flags that the mount has are locked in a user namespace.
    attributes.clear = 0;
    if fs_type == b"sysfs" {
        attributes.recursive_set |= RDONLY;
    }
    tree.place(target, &attributes)
}

/// Whether the host's /proc shows the pid namespace of this process.
fn procfs_is_own() -> Result<bool> {
    let own = readlinkat(CWD, c"/proc/self", Vec::new()).context(|| "readlink /proc/self")?;
    Ok(own.to_bytes() == nix::unistd::getpid().to_string().as_bytes())
}

fn remount(entry: &Entry<'_>, bind: bool, unsealed: &mut Unsealed) -> Result<()> {
    let mount = entry.mount;
    let placed = entry.root.resolve(&mount.destination, entry.links())?;
    let writable = (mount.attr_clear | mount.recursive_attr_clear) & RDONLY != 0;
    if writable {
        unsealed.forget(placed.as_fd())?;
    }
    if !bind {
        filesystem::reconfigure(placed.as_fd(), mount.super_flags, writable, &mount.data)?;
    }
    attributes::apply_placed(placed.as_fd(), &Attributes::of(mount))
}

fn describe(mount: &MountPlan) -> String {
    let destination = mount.destination.display();
    match &mount.source {
        MountSource::Bind { path, .. } => format!("bind {} at {destination}", path.to_string_lossy()),
        MountSource::New { fs_type, .. } => format!("mount {} at {destination}", fs_type.to_string_lossy()),
        MountSource::Cgroup { .. } => format!("mount cgroup at {destination}"),
        MountSource::Remount { .. } => format!("remount {destination}"),
        MountSource::PropagationOnly => format!("set the propagation of {destination}"),
    }
}
