//! execveat(2).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// A null-terminated array of pointers into `strings`, which must outlive it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Executes the file `fd` itself (execveat(2) with AT_EMPTY_PATH). Returns only on failure.
pub(crate) fn execveat(fd: BorrowedFd<'_>, args: &[CString], env: &[CString]) -> Errno {
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: execveat requires a C string and two null-terminated arrays of C strings: the arrays were made
    // so by `pointers`, and the strings that they point into are borrowed across the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Errno::last()
}
