//! execveat(2).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// A null-terminated array of pointers into `strings`, which must outlive it.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

unsafe extern "C" {
    /// The environment as the C library keeps it (environ(7)).
    static environ: *const *const libc::c_char;
}

/// Executes the file `fd` itself (execveat(2) with AT_EMPTY_PATH) in the environment that this process has. Returns only on
/// failure.
pub(crate) fn execveat(fd: BorrowedFd<'_>, args: &[CString]) -> Errno {
    let argv = pointers(args);
    // SAFETY: execveat requires a C string and two null-terminated arrays of C strings: `pointers` makes one, whose strings
    // are borrowed across the call, and `environ` is another. Only a second thread could change it meanwhile, and that
    // would need an unsafe call which requires that nobody reads it.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), environ, libc::AT_EMPTY_PATH)
    };
    Errno::last()
}
