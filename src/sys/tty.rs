//! Terminal requests that neither nix nor rustix (without further features) have: ioctl_tty(2).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// Opens the other end of `master` without a path (TIOCGPTPEER, Linux 4.13), close-on-exec and not as the
/// controlling terminal.
pub(crate) fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes an int by value and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER as _, flags) })?;
    // SAFETY: the kernel made `fd` for this call, so nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Unlocks the other end of `master` (TIOCSPTLCK with 0).
pub(crate) fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let lock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which `lock` is.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const lock) }).map(drop)
}

/// Sets the size in characters (TIOCSWINSZ).
pub(crate) fn resize(tty: BorrowedFd<'_>, height: u16, width: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize, which `size` is.
    Errno::result(unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) }).map(drop)
}
