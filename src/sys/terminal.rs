//! The window size of a terminal (ioctl_tty(2)). Called by `container::foreground`.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// TIOCGWINSZ.
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> Result<libc::winsize, Errno> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize to the pointer, which is to a live one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    Errno::result(result).map(|_zero| size)
}

/// TIOCSWINSZ: the foreground processes of the terminal get SIGWINCH if it changes.
pub(crate) fn set_window_size(terminal: BorrowedFd<'_>, size: libc::winsize) -> Result<(), Errno> {
    // SAFETY: TIOCSWINSZ reads one winsize from the pointer, which is to a live one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop)
}
