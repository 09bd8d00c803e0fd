//! A process that only holds a user namespace, so that a mapping can be had as a descriptor (idmapped mounts).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// Makes a child in a new user namespace that sleeps until it is killed, and dies with its parent.
/// Gives its pid and a pidfd.
pub(crate) fn sleeping_child() -> Result<(Pid, OwnedFd), Errno> {
    let mut pidfd: libc::c_int = -1;
    let parent = nix::unistd::getpid().as_raw();
    let flags = libc::CLONE_NEWUSER | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: clone with a null stack and without CLONE_VM forks: the child runs on its copy of this stack and
    // makes only the system calls below, which need nothing of the C library's state. The third argument receives
    // the pidfd, an int that outlives the call.
    let pid = Errno::result(unsafe {
        libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0usize, &raw mut pidfd, 0usize, 0usize)
    })?;
    if pid == 0 {
        // SAFETY: prctl, getppid, exit_group and ppoll (which accepts null for every pointer) take integers by value.
        unsafe {
            libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            // The parent may have died before it could be named.
            while libc::syscall(libc::SYS_getppid) == libc::c_long::from(parent) {
                libc::syscall(libc::SYS_ppoll, 0usize, 0usize, 0usize, 0usize, 0usize);
            }
            libc::syscall(libc::SYS_exit_group, 0);
        }
    }
    // SAFETY: the kernel stored a descriptor that it made for this call.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((Pid::from_raw(pid as libc::pid_t), pidfd))
}

/// Kills the child behind `pidfd` (pidfd_send_signal(2)).
pub(crate) fn kill(pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: pidfd_send_signal takes integers, and a null siginfo means the defaults.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0usize, 0usize) };
    Errno::result(result).map(drop)
}
