//! Namespaces: ioctl_nsfs(2) and setns(2) with a pidfd.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

const NS_GET_NSTYPE: libc::c_ulong = 0xb703;

/// The CLONE_NEW* flag of the namespace that `fd` stands for (ioctl_nsfs(2), Linux 4.11); ENOTTY for anything else.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // SAFETY: NS_GET_NSTYPE takes no argument; on a descriptor of another kind the kernel answers ENOTTY.
    let flag = Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) })?;
    Ok(flag as u64)
}

/// Joins what `fd` stands for: one namespace, or with a pidfd all of `flags` at once (Linux 5.8).
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // SAFETY: setns takes integers only.
    Errno::result(unsafe { libc::setns(fd.as_raw_fd(), flags as libc::c_int) }).map(drop)
}

/// Leaves the namespaces of `flags` for new ones (unshare(2)).
pub(crate) fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: unshare takes integers only; CLONE_FILES, CLONE_FS and CLONE_SYSVSEM, which change what
    // descriptors and paths mean to other threads, are never asked for, and there is one thread.
    Errno::result(unsafe { libc::unshare(flags as libc::c_int) }).map(drop)
}
