//! Descriptors.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use rustix::fs::{CWD, Dir, OFlags};
use rustix::process::{Pid, PidfdFlags};

use super::file;

/// Several owned descriptors, closed by as few calls as their numbers allow: those opened one after the other have
/// consecutive ones.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(Vec<RawFd>);

impl Descriptors {
    /// Takes `fd`.
    pub fn push(&mut self, fd: OwnedFd) {
        self.0.push(fd.into_raw_fd());
    }

    /// Takes those of `others`.
    pub fn append(&mut self, mut others: Descriptors) {
        self.0.append(&mut others.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order of [`Descriptors::push`].
    pub fn iter(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        // SAFETY: borrow_raw requires that the descriptor stays open for the lifetime: it is owned here, and closed only
        // when no borrow of `self` is left.
        self.0.iter().map(|&fd| unsafe { BorrowedFd::borrow_raw(fd) })
    }
}

impl FromIterator<OwnedFd> for Descriptors {
    fn from_iter<T: IntoIterator<Item = OwnedFd>>(fds: T) -> Descriptors {
        Descriptors(fds.into_iter().map(IntoRawFd::into_raw_fd).collect())
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        self.0.sort_unstable();
        for run in self.0.chunk_by(|a, b| a + 1 == *b) {
            if let ([first, ..], [.., last]) = (run, run) {
                // They are open and ours: there is nothing that could be refused, and nobody to tell.
                let _ = close_unowned(*first as u32, *last as u32);
            }
        }
    }
}

/// Inclusive range to the highest possible descriptor.
const LAST: u32 = u32::MAX;
/// Descriptors are looked for below this number where nothing lists them.
const UNLISTED: RawFd = 65_536;

/// Marks every open descriptor from `first` on close-on-exec (close_range(2), Linux 5.11; one by one before).
pub(crate) fn cloexec_from(first: u32) -> Result<(), Errno> {
    match close_range(first, LAST, libc::CLOSE_RANGE_CLOEXEC) {
        Err(Errno::ENOSYS | Errno::EINVAL) => cloexec_from_listing(first),
        result => result,
    }
}

/// Closes every open descriptor of `first..=last` (close_range(2), Linux 5.9; one by one before). The caller
/// vouches that none of them is owned by a live value; that is why only the child calls it, on descriptors
/// that it inherited without knowing them.
pub(crate) fn close_unowned(first: u32, last: u32) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    match close_range(first, last, 0) {
        Err(Errno::ENOSYS) => {
            for fd in open_descriptors()?.into_iter().filter(|&fd| (first..=last).contains(&(fd as u32))) {
                // SAFETY: close has no requirement on memory; ownership is the caller's word.
                unsafe { libc::close(fd) };
            }
            Ok(())
        }
        result => result,
    }
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: close_range takes integers only. Descriptors closed by it are not owned by any value: see the callers.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    Errno::result(result).map(drop)
}

fn cloexec_from_listing(first: u32) -> Result<(), Errno> {
    for fd in open_descriptors()?.into_iter().filter(|&fd| fd as u32 >= first) {
        // SAFETY: fcntl with F_SETFD takes integers only and changes no ownership.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// As /proc lists them. In a container it may be missing or a volume's: then every number that can be meant is tried.
fn open_descriptors() -> Result<Vec<RawFd>, Errno> {
    let listing = file::open_at(CWD, c"/proc/self/fd", OFlags::RDONLY | OFlags::DIRECTORY);
    let is_procfs = |fd: &OwnedFd| file::fs_magic(fd).is_ok_and(|magic| magic == file::PROC_MAGIC);
    let Some(listing) = listing.ok().filter(is_procfs) else {
        return Ok((0..UNLISTED).filter(|&fd| flags_of(fd).is_some()).collect());
    };
    let names = Dir::new(listing).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?.flatten();
    Ok(names.filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok()).collect())
}

/// The flags of `fd` (F_GETFD); `None` if it is not open.
fn flags_of(fd: RawFd) -> Option<libc::c_int> {
    // SAFETY: fcntl with F_GETFD takes integers only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    (flags != -1).then_some(flags)
}

/// Whether `fd` is open and not close-on-exec: then it came from the caller of this program.
pub(crate) fn survives_exec(fd: RawFd) -> bool {
    flags_of(fd).is_some_and(|flags| flags & libc::FD_CLOEXEC == 0)
}

/// Clears close-on-exec of `fd`, a descriptor that the caller of the program passed for the container.
pub(crate) fn keep_on_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: fcntl with F_SETFD takes integers only and changes no ownership.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }).map(drop)
}

/// A descriptor of the process `pid` (pidfd_open(2), Linux 5.3), close-on-exec. `ESRCH` if there is none: no process has
/// an id below 1, or that of a mere thread.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(pid.max(0)).ok_or(Errno::ESRCH)?;
    let opened = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    opened.map_err(|errno| match Errno::from_raw(errno.raw_os_error()) {
        // Without flags EINVAL can only mean a thread, or before Linux 6.15 a process that is being reaped; ENOENT is
        // the newer word for a thread.
        Errno::EINVAL | Errno::ENOENT => Errno::ESRCH,
        errno => errno,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pidfd_open_of_a_thread_and_of_nobody_is_no_such_process() {
        assert!(pidfd_open(std::process::id().cast_signed()).is_ok());
        let thread = std::thread::spawn(|| pidfd_open(nix::unistd::gettid().as_raw()).map(drop));
        assert_eq!(thread.join().map_err(|_panic| ()), Ok(Err(Errno::ESRCH)));
        assert_eq!(pidfd_open(0).map(drop), Err(Errno::ESRCH));
        assert_eq!(pidfd_open(-5).map(drop), Err(Errno::ESRCH));
    }
}
