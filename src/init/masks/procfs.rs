//! Files in the root of procfs, by their names.
//!
//! What names there are is the kernel's to say, not an image's: once the working directory is known to be on procfs, each
//! of these leads to the file itself, and one or two calls do what takes four with a descriptor. That holds where nothing
//! is mounted over them, so wherever somebody was asked to mount there, and whenever something cannot be done, it is left to
//! the caller, who does it with descriptors and tells what is wrong. An image can still have a volume land on a name, by a
//! link to /proc: then what the volume shows is covered, or is the volume's own.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use rustix::fs::{CWD, OFlags};
use rustix::process::fchdir;

use super::{Covers, NULL, NULL_DEVICE};
use crate::fs::{Links, PROC_MAGIC, Root, expect_char_device_at, fs_magic};
use crate::init::mount::filesystem::empty_tmpfs;
use crate::plan::rootfs::{Pivot, RootfsPlan};
use crate::sys::file::open_at;
use crate::sys::mount::{mount, set_read_only};

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
}

/// What engines mask and make read-only, and what it is in every kernel that has it: never a link. Trying out what it is would
/// take longer than all the rest: a bind mount of a file that meets a directory is taken back, and waits for other processors.
const NAMES: [(&CStr, Kind); 15] = [
    (c"acpi", Kind::Directory),
    (c"asound", Kind::Directory),
    (c"bus", Kind::Directory),
    (c"fs", Kind::Directory),
    (c"interrupts", Kind::File),
    (c"irq", Kind::Directory),
    (c"kcore", Kind::File),
    (c"keys", Kind::File),
    (c"latency_stats", Kind::File),
    (c"sched_debug", Kind::File),
    (c"scsi", Kind::Directory),
    (c"sys", Kind::Directory),
    (c"sysrq-trigger", Kind::File),
    (c"timer_list", Kind::File),
    (c"timer_stats", Kind::File),
];

/// The paths of both lists that are still to be done, each with its index.
pub(super) struct Left<'p> {
    pub read_only: Vec<(usize, &'p Path)>,
    pub masked: Vec<(usize, &'p Path)>,
}

impl<'p> Left<'p> {
    /// Nothing is done yet.
    pub fn all(plan: &'p RootfsPlan) -> Left<'p> {
        let numbered = |paths: &'p [PathBuf]| paths.iter().map(PathBuf::as_path).enumerate().collect();
        Left { read_only: numbered(&plan.readonly_paths), masked: numbered(&plan.masked_paths) }
    }

    /// Does what can be done by name, read-only paths first. The working directory is another one afterwards.
    pub fn do_by_name(&mut self, plan: &RootfsPlan, root: &Root, covers: &mut Covers) {
        let named = |&(_, path): &(usize, &Path)| name_of(path).is_some();
        let any = self.read_only.iter().chain(&self.masked).any(named);
        if !any || root.holds_peers() || !is_untouched(plan) || !enter(root) {
            return;
        }
        self.read_only.retain(|(_, path)| !name_of(path).is_some_and(|(name, _)| make_read_only(name)));
        let mut masks = Masks { root, label: plan.mount_label.as_deref(), null: None, directory: None };
        self.masked.retain(|(_, path)| !name_of(path).is_some_and(|(name, kind)| masks.cover(name, kind)));
        covers.null = masks.null.map(|(null, _)| null);
        if !self.masked.is_empty() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            covers.directory = masks.directory.and_then(|name| open_at(CWD, name, flags).ok());
        }
    }
}

/// The name of `path`, if it is just `/proc/NAME` for one of [`NAMES`].
fn name_of(path: &Path) -> Option<(&'static CStr, Kind)> {
    let name = path.as_os_str().as_bytes().strip_prefix(b"/proc/")?;
    NAMES.into_iter().find(|(known, _)| known.to_bytes() == name)
}

/// Whether no entry says that something is to be on procfs or in it, or that a link is to be mounted, and the mounts are the
/// container's own: a joined mount namespace may have anything at the host's /proc.
fn is_untouched(plan: &RootfsPlan) -> bool {
    let proc = Path::new("/proc");
    plan.pivot != Pivot::Chroot
        && plan.mounts.iter().all(|mount| {
            let path = mount.destination.as_path();
            let outside = !path.starts_with(proc) && !path.components().any(|part| part == Component::ParentDir);
            let shared = mount.propagation.iter().any(|flags| flags & libc::MS_SHARED != 0);
            !mount.source_nofollow && (outside || path == proc && !shared)
        })
}

/// Makes the container's /proc the working directory; false if that is no procfs.
fn enter(root: &Root) -> bool {
    let Ok(Some(proc)) = root.resolve_directory(Path::new("/proc"), Links::Refuse) else { return false };
    let entered = fs_magic(proc.as_fd()).is_ok_and(|magic| magic == PROC_MAGIC) && fchdir(&proc).is_ok();
    root.retire(proc);
    entered
}

/// Whether it is read-only now, or there is no such file.
fn make_read_only(name: &CStr) -> bool {
    match mount(Some(name), name, None, libc::MS_BIND | libc::MS_REC, None) {
        Ok(()) => {}
        Err(errno) => return errno == Errno::ENOENT,
    }
    let done = set_read_only(name).is_ok();
    if !done {
        // The caller mounts it once more; where this does not go away, below that.
        let _ = umount2(name, MntFlags::MNT_DETACH);
    }
    done
}

/// What names are covered with, made when first needed.
struct Masks<'a> {
    root: &'a Root,
    label: Option<&'a str>,
    /// The container's null device, and a path of the host that leads to it.
    null: Option<(OwnedFd, CString)>,
    /// The name of a directory that the one empty tmpfs covers: the others get copies.
    directory: Option<&'static CStr>,
}

impl Masks<'_> {
    /// Whether the name is covered now, or there is no such file.
    fn cover(&mut self, name: &'static CStr, kind: Kind) -> bool {
        let covered = match kind {
            Kind::Directory => self.cover_directory(name),
            Kind::File => self.cover_file(name),
        };
        matches!(covered, Ok(()) | Err(Errno::ENOENT))
    }

    fn cover_file(&mut self, name: &CStr) -> Result<(), Errno> {
        if self.null.is_none() {
            self.null = null_device(self.root);
        }
        let (_, null) = self.null.as_ref().ok_or(Errno::ENODEV)?;
        mount(Some(null), name, None, libc::MS_BIND, None)
    }

    fn cover_directory(&mut self, name: &'static CStr) -> Result<(), Errno> {
        if let Some(covered) = self.directory {
            return mount(Some(covered), name, None, libc::MS_BIND, None);
        }
        empty_tmpfs(self.label).mount_at(name)?;
        self.directory = Some(name);
        Ok(())
    }
}

/// Looked at through the path that it is mounted by: what is checked is what is mounted (CVE-2025-31133), and that the path
/// leads anywhere is certain, so that ENOENT can only mean the target. The path is the host's, whose root this still is: in
/// the container's procfs a volume may lie over it.
fn null_device(root: &Root) -> Option<(OwnedFd, CString)> {
    let null = root.resolve(Path::new(NULL), Links::FollowParents).ok()?;
    let path = CString::new(format!("/proc/self/fd/{}", null.as_raw_fd())).ok()?;
    match expect_char_device_at(&path, NULL_DEVICE, NULL) {
        Ok(()) => Some((null, path)),
        Err(_) => {
            root.retire(null);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_only_for_known_names_right_below_proc() {
        assert_eq!(name_of(Path::new("/proc/keys")), Some((c"keys", Kind::File)));
        let spelt = ["/proc/keys/", "/proc//keys", "/proc/./keys", "/proc/../keys", "proc/keys", "/keys"];
        for path in ["/proc", "/proc/", "/proc/self", "/proc/net", "/proc/sys/kernel"].into_iter().chain(spelt) {
            assert_eq!(name_of(Path::new(path)), None, "{path}");
        }
    }

    /// Names that a kernel makes something else of have to leave the list.
    #[test]
    fn names_are_what_they_are_in_this_kernel() {
        for (name, kind) in NAMES {
            let path = Path::new("/proc").join(name.to_str().unwrap());
            if let Ok(found) = std::fs::symlink_metadata(&path) {
                assert_eq!(
                    (found.is_dir(), found.is_file()),
                    (kind == Kind::Directory, kind == Kind::File),
                    "{name:?}"
                );
            }
        }
    }
}
