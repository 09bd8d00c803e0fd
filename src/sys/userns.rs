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

/// Runs `inside` in a child with a user and a mount namespace of its own, and says whether it returned. For tests,
/// whose harness has more threads than unshare(2) of a user namespace allows; the others sleep meanwhile.
#[cfg(test)]
pub(crate) fn run_inside(inside: impl FnOnce()) -> bool {
    let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::SIGCHLD;
    // SAFETY: clone with a null stack and without CLONE_VM forks: the child goes on with its copy of this stack, and
    // leaves it by exit_group only.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0usize, 0usize, 0usize, 0usize) };
    if pid == 0 {
        let returned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(inside)).is_ok();
        // SAFETY: exit_group takes an integer by value and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, i32::from(!returned)) };
    }
    let status = nix::sys::wait::waitpid(Pid::from_raw(pid as libc::pid_t), None);
    matches!(status, Ok(nix::sys::wait::WaitStatus::Exited(_, 0)))
}
