//! Making a process: clone3(2), and clone(2) where a kernel or an outer filter lacks it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::stat::stat;

/// CLONE_INTO_CGROUP (Linux 5.7). The constant of the libc crate is a c_int and evaluates to 0.
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the new process is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloneRequest<'a> {
    /// CLONE_NEW* and CLONE_PARENT.
    pub flags: u64,
    /// A directory of cgroup2 in which the child starts (Linux 5.7).
    pub into_cgroup: Option<BorrowedFd<'a>>,
}

/// Which of the two processes returned from [`clone`].
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The caller, with its new child.
    Parent {
        /// Process id in the caller's pid namespace.
        pid: i32,
        /// close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Number of threads of this process, from the link count of /proc/self/task.
pub(crate) fn thread_count() -> Result<libc::nlink_t, Errno> {
    stat("/proc/self/task").map(|status| status.st_nlink.saturating_sub(2))
}

/// Copies this process, which must have one thread: then the child may run ordinary Rust.
///
/// # Errors
/// `EDEADLK` when the process has more threads than one, otherwise what clone3(2) gives.
pub(crate) fn clone(request: CloneRequest<'_>) -> Result<Cloned, Errno> {
    if thread_count()? != 1 {
        return Err(Errno::EDEADLK);
    }
    match clone3(request) {
        Err(Errno::ENOSYS) if request.into_cgroup.is_none() => clone_legacy(request.flags),
        result => result,
    }
}

fn clone3(request: CloneRequest<'_>) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain integers, for which all zeroes is a valid value (and means "unused").
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = request.flags | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // The kernel refuses an exit signal beside CLONE_PARENT: the child then has its sibling's.
    args.exit_signal = if request.flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    if let Some(cgroup) = request.into_cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: clone3 requires a clone_args of the given size, whose pidfd points to an int: both live across
    // the call. Without CLONE_VM the child runs on a copy of this stack, and the caller has checked that no
    // other thread can hold a lock of the C library at this moment.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>()) };
    returned(pid, pidfd)
}

/// For kernels or filters without clone3: the same without CLONE_INTO_CGROUP.
fn clone_legacy(flags: u64) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    let exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD } else { 0 };
    let flags = (flags | libc::CLONE_PIDFD as u64) as libc::c_ulong | exit_signal as libc::c_ulong;
    let parent_tid = std::ptr::from_mut(&mut pidfd);
    // SAFETY: clone requires, with CLONE_PIDFD, a parent_tid that points to an int, which lives across the
    // call; stack 0 means a copy of this one. The order of the last two arguments differs between
    // architectures, but both are unused and 0. One thread: see `clone`.
    #[cfg(not(target_arch = "s390x"))]
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, parent_tid, 0usize, 0usize) };
    // SAFETY: as above; s390x takes the stack first.
    #[cfg(target_arch = "s390x")]
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0usize, flags, parent_tid, 0usize, 0usize) };
    returned(pid, pidfd)
}

fn returned(pid: libc::c_long, pidfd: RawFd) -> Result<Cloned, Errno> {
    match Errno::result(pid)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: from_raw_fd requires an open descriptor that nobody else owns: with CLONE_PIDFD the
            // kernel made one for this call and stored its number before it returned in the parent.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// Ends this process at once: no exit handlers, no unwinding (_exit(2)). Under a filter that refuses even that, an
/// instruction that the processor refuses ends it: the C library would try to exit for ever.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: exit_group(2) takes no pointer.
    unsafe { libc::syscall(libc::SYS_exit_group, status) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: ud2 touches neither memory nor registers; it raises SIGILL.
    unsafe {
        std::arch::asm!("ud2", options(noreturn, nomem, nostack))
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: udf touches neither memory nor registers; it raises SIGILL.
    unsafe {
        std::arch::asm!("udf #0", options(noreturn, nomem, nostack))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    // SAFETY: _exit has no requirement.
    unsafe {
        libc::_exit(status)
    }
}
