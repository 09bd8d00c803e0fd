//! The executable that enters a container must be one that the container cannot write (attack 1): its
//! processes can reach it as /proc/PID/exe, or by executing `/proc/self/exe`.
//!
//! [`seal`] runs the program again from a read-only copy of its mount. The copy is detached, belongs to
//! nobody's mount table, and can be neither made writable nor cloned again; unlike a copy in memory it costs
//! no memory and 40 to 80 µs. Nothing is done where the file lies on a read-only mount already, or where the
//! user can write to it neither inside nor outside.

use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, access};

use crate::error::{Context as _, Error, Kind, Result};
use crate::{sys, timings};

const OWN_EXECUTABLE: &str = "/proc/self/exe";

static SEALED: AtomicBool = AtomicBool::new(false);

/// How many descriptors from 3 on the caller of this program passed to it, without a gap.
static PASSED: AtomicI32 = AtomicI32::new(0);

/// Makes sure that this process executes a file that no container can write: returns at once when it does,
/// and otherwise executes the program again, with the same arguments and environment, from a sealed copy. All
/// descriptors but the standard streams are close-on-exec afterwards.
///
/// Whoever the process was executed as is who it is taken for (AT_EUID of getauxval(3)).
///
/// To be called first thing in `main` by every program that calls [`crate::Runtime::create`], `run` or
/// [`crate::Container::exec`] itself.
///
/// # Errors
/// What kept the copy from being made or executed.
pub fn seal() -> Result<()> {
    let arguments = std::env::args_os().map(c_string).collect::<Result<Vec<_>>>()?;
    seal_with(arguments.iter().map(CString::as_c_str))
}

/// [`seal`] for a program whose `main` is not the standard library's, which then does not know the arguments.
///
/// # Errors
/// Those of [`seal`].
pub fn seal_with<'a>(arguments: impl IntoIterator<Item = &'a CStr>) -> Result<()> {
    if SEALED.load(Ordering::Relaxed) {
        return Ok(());
    }
    if !is_protected()? {
        let copy = match sys::mount::clone_read_only(OWN_EXECUTABLE) {
            // Not privileged, not in the mount namespace of the file, or an old kernel.
            Err(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS) => sealed_memory()?,
            result => result.context(|| "copy the mount of the executable")?,
        };
        let errno = sys::exec::execveat(copy.as_fd(), arguments);
        return Err(Error::sys(errno, "execute the sealed copy of the executable"));
    }
    let passed = (3..).take_while(|&fd| sys::fd::survives_exec(fd)).count();
    PASSED.store(passed.try_into().unwrap_or(i32::MAX), Ordering::Relaxed);
    // What the caller left open goes to no hook and no helper program; `--preserve-fds` hands some on at the end.
    sys::fd::cloexec_from(3).context(|| "mark descriptors close-on-exec")?;
    SEALED.store(true, Ordering::Relaxed);
    timings::mark("sealed");
    Ok(())
}

/// Refuses what must not enter a container: a copy of an executable that the container could write. A process with
/// threads is refused when it clones, at the latest.
pub(crate) fn require() -> Result<()> {
    if SEALED.load(Ordering::Relaxed) {
        return Ok(());
    }
    if sys::clone::thread_count().context(|| "count the threads of this process")? != 1 {
        return Err(more_than_one_thread());
    }
    Err(Error::new(Kind::Unsupported, "the executable of this process is not sealed against the container")
        .hint("call coracle::seal() first in main, or set Runtime::helper"))
}

/// What a threaded caller is told.
pub(super) fn more_than_one_thread() -> Error {
    Error::new(Kind::Unsupported, "the calling process has more than one thread")
        .hint("create, run and exec fork: call them from a single-threaded process, or set Runtime::helper")
}

/// How many descriptors from 3 on, without a gap, came from the caller of this program.
pub(super) fn passed_descriptors() -> i32 {
    PASSED.load(Ordering::Relaxed)
}

fn is_protected() -> Result<bool> {
    let mount = statfs(OWN_EXECUTABLE).context(|| format!("statfs {OWN_EXECUTABLE}"))?;
    // A file in memory belongs to a tmpfs of the kernel's own.
    let may_be_memory = mount.filesystem_type() == TMPFS_MAGIC;
    if mount.flags().contains(FsFlags::ST_RDONLY) || may_be_memory && is_sealed_memory()? {
        return Ok(true);
    }
    // An unprivileged user's containers can write what the user can write, and what he owns he can make writable.
    let euid = sys::exec::effective_user();
    if euid == 0 {
        return Ok(false);
    }
    let owner = nix::sys::stat::stat(OWN_EXECUTABLE).context(|| format!("stat {OWN_EXECUTABLE}"))?.st_uid;
    Ok(owner != euid && access(OWN_EXECUTABLE, AccessFlags::W_OK).is_err())
}

/// Whether the executable is a copy that [`sealed_memory`] made.
fn is_sealed_memory() -> Result<bool> {
    let file = sys::file::open(OWN_EXECUTABLE).context(|| format!("open {OWN_EXECUTABLE}"))?;
    // EINVAL: no file that can be sealed.
    Ok(fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SealFlag::F_SEAL_WRITE.bits() != 0))
}

/// A copy in memory that nobody can write.
fn sealed_memory() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create(c"coracle", flags).context(|| "make a file in memory")?);
    let mut own = File::open(OWN_EXECUTABLE).context(|| format!("open {OWN_EXECUTABLE}"))?;
    std::io::copy(&mut own, &mut copy).context(|| "copy the executable to memory")?;
    copy.flush().and_then(|()| copy.rewind()).context(|| "copy the executable to memory")?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).context(|| "seal the copy of the executable")?;
    Ok(copy.into())
}

fn c_string(text: OsString) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|error| Error::new(Kind::Usage, format!("argument: {error}")))
}
