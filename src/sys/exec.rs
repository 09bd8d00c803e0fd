//! execveat(2), and what the kernel told this program when it was executed.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

unsafe extern "C" {
    /// The environment as the C library keeps it (environ(7)).
    static environ: *const *const libc::c_char;
}

/// So many arguments of a short command line need no memory but the stack.
const FEW: usize = 31;

/// Executes the file `fd` itself (execveat(2) with AT_EMPTY_PATH) in the environment that this process has. Returns only on
/// failure.
pub(crate) fn execveat<'a>(fd: BorrowedFd<'_>, args: impl IntoIterator<Item = &'a CStr>) -> Errno {
    let mut args = args.into_iter().map(CStr::as_ptr).fuse();
    let mut few = [std::ptr::null(); FEW + 1];
    few.iter_mut().take(FEW).zip(&mut args).for_each(|(place, arg)| *place = arg);
    let first = args.next();
    let many: Vec<_> = match first {
        Some(_) => few.iter().take(FEW).copied().chain(first).chain(args).chain([std::ptr::null()]).collect(),
        None => Vec::new(),
    };
    let argv: &[_] = if many.is_empty() { &few } else { &many };
    // SAFETY: execveat requires a C string and two null-terminated arrays of C strings: `argv` is one, whose strings
    // are borrowed across the call, and `environ` is another. Only a second thread could change it meanwhile, and that
    // would need an unsafe call which requires that nobody reads it.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), environ, libc::AT_EMPTY_PATH)
    };
    Errno::last()
}

/// The effective user id with which this program was executed (AT_EUID of getauxval(3)): no system call.
pub(crate) fn effective_user() -> u32 {
    // SAFETY: getauxval takes an integer and reads what the kernel put above the stack.
    let id = unsafe { libc::getauxval(libc::AT_EUID) };
    u32::try_from(id).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn effective_user_is_that_of_the_process() {
        assert_eq!(super::effective_user(), nix::unistd::geteuid().as_raw());
    }
}
