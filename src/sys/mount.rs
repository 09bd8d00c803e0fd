//! mount_setattr(2) and mount(2): what rustix does not have, or has only with typed flags that hide bits.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

/// `struct mount_attr` (mount_setattr(2), Linux 5.12).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// MOUNT_ATTR_* to set.
    pub attr_set: u64,
    /// MOUNT_ATTR_* to clear, before the former are set.
    pub attr_clr: u64,
    /// MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0.
    pub propagation: u64,
    /// User namespace of MOUNT_ATTR_IDMAP.
    pub userns_fd: u64,
}

/// Changes the mount whose root is `mount`, and with `recursive` the whole tree below it (mount_setattr(2)).
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    setattr(mount.as_raw_fd(), c"", flags, attr)
}

/// Makes the mount at `path`, which is no link, read-only and leaves its other flags (mount_setattr(2)).
pub(crate) fn set_read_only(path: &CStr) -> Result<(), Errno> {
    setattr(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW, &READ_ONLY)
}

const READ_ONLY: MountAttr = MountAttr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };

fn setattr(directory: RawFd, path: &CStr, flags: libc::c_int, attr: &MountAttr) -> Result<(), Errno> {
    // SAFETY: mount_setattr reads a path that ends in NUL, as a `CStr` does, and `size_of::<MountAttr>()` bytes of a
    // structure, which `attr` points to and which has the kernel's layout; it keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// mount(2). `None` where the operation that `flags` select ignores the argument.
pub(crate) fn mount(
    source: Option<&CStr>,
    target: &CStr,
    fs_type: Option<&CStr>,
    flags: u64,
    data: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |s: Option<&CStr>| s.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: mount reads strings that end in NUL and accepts null for source, type and data; all pointers come
    // from `CStr`s that outlive the call.
    let result =
        unsafe { libc::mount(pointer(source), target.as_ptr(), pointer(fs_type), flags, pointer(data).cast()) };
    Errno::result(result).map(drop)
}

/// A detached, read-only copy of the mount that the file at `path` lies on, whose root is the file itself. Links, those
/// of procfs too, are followed.
pub(crate) fn clone_read_only(path: &str) -> Result<OwnedFd, Errno> {
    use rustix::fs::CWD;
    use rustix::mount::{OpenTreeFlags, open_tree};
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    mount_setattr(tree.as_fd(), false, &READ_ONLY)?;
    Ok(tree)
}
