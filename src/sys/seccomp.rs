//! seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use seccompiler::sock_filter;

/// Puts `program` in front of every later system call of the calling thread, irrevocably. The kernel wants
/// no_new_privs or CAP_SYS_ADMIN in the thread's user namespace; neither is arranged here.
///
/// `flags` are SECCOMP_FILTER_FLAG_*; with NEW_LISTENER the listener comes back, close-on-exec.
///
/// Errors: those of seccomp(2), EINVAL for more than 65,535 instructions, and ESRCH if TSYNC without TSYNC_ESRCH met a
/// thread that has another filter.
pub(crate) fn load(program: &[sock_filter], flags: u64) -> Result<Option<OwnedFd>, Errno> {
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::EINVAL) };
    // The kernel only reads through the pointer, and the two definitions of the instruction have one layout.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: SECCOMP_SET_MODE_FILTER reads a struct sock_fprog and as many instructions as it says; `fprog` and the
    // slice that it points to live until the call returns.
    let result = unsafe { seccomp(libc::SECCOMP_SET_MODE_FILTER, flags, (&raw const fprog).cast()) };
    match Errno::result(result)? {
        0 => Ok(None),
        fd if flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 => {
            // SAFETY: with NEW_LISTENER a positive result is a new descriptor, which nobody else owns.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
        }
        _thread => Err(Errno::ESRCH),
    }
}

/// Whether the kernel knows `flag` (one SECCOMP_FILTER_FLAG_*). Nothing is loaded.
pub(crate) fn flag_supported(flag: u64) -> bool {
    // WAIT_KILLABLE_RECV is refused alone, with the same errno as an unknown flag.
    let companion = match flag == libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
        true => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        false => 0,
    };
    // SAFETY: flags are checked before the program is read; a null program is answered with EFAULT and never loaded.
    let result = unsafe { seccomp(libc::SECCOMP_SET_MODE_FILTER, flag | companion, std::ptr::null()) };
    Errno::result(result) == Err(Errno::EFAULT)
}

/// The bare call.
///
/// # Safety
/// `argument` points to what `operation` reads (seccomp(2)).
unsafe fn seccomp(operation: libc::c_uint, flags: u64, argument: *const libc::c_void) -> libc::c_long {
    // SAFETY: the caller's duty is this call's.
    unsafe { libc::syscall(libc::SYS_seccomp, operation, flags as libc::c_uint, argument) }
}

#[cfg(test)]
mod tests;
