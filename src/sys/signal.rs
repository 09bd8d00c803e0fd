//! Signals by number, real-time ones included: nix knows names for the standard ones only.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// pidfd_send_signal(2): `signal` 0 only checks. Since Linux 5.1.
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: pidfd_send_signal reads a siginfo_t only if its third argument is not null; flags must be 0.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    Errno::result(result).map(drop)
}

/// kill(2): `signal` (0 to 64) to the process `pid`, which is positive: never to a group or to everybody.
pub(crate) fn kill_process(pid: i32, signal: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Gives `signal` its default action (sigaction(2)).
pub(crate) fn reset(signal: i32) -> Result<(), Errno> {
    // SAFETY: all-zero bytes are a valid sigaction: SIG_DFL, no flags, an empty mask.
    let action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: sigaction reads one live struct and writes no old one, since that pointer is null. A default action runs
    // no code of ours.
    let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    Errno::result(result).map(drop)
}
