//! A mapping of ids as a user namespace descriptor, which is the form that idmapped mounts want it in.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, openat};

use crate::error::{Context, Error, Kind, Result};
use crate::fs::Procfs;
use crate::plan::ids::IdMapping;
use crate::sys::userns;

/// A new user namespace with these mappings, without a process: a child that holds it is made, mapped and killed.
pub(super) fn user_namespace(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    if uids.is_empty() || gids.is_empty() {
        return Err(Error::new(Kind::Config, "an idmapped mount needs uid and gid mappings or a user namespace"));
    }
    let procfs = Procfs::open()?;
    let (pid, pidfd) = userns::sleeping_child().context(|| "clone a process into a new user namespace")?;
    let namespace = fill(&procfs, pid, uids, gids);
    userns::kill(pidfd.as_fd()).context(|| format!("kill helper {pid}"))?;
    while let Err(errno) = waitpid(pid, None) {
        if errno != Errno::EINTR {
            return Err(errno).context(|| format!("wait for helper {pid}"));
        }
    }
    namespace
}

fn fill(procfs: &Procfs, pid: Pid, uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    let path =
        |name: &str| CString::new(format!("{pid}/{name}")).map_err(|error| Error::new(Kind::System, error.to_string()));
    procfs.write(&path("uid_map")?, IdMapping::lines(uids).as_bytes())?;
    procfs.write(&path("gid_map")?, IdMapping::lines(gids).as_bytes())?;
    // The last step is a magic link, and the directory that it is in was opened without passing one.
    let directory = procfs.open_file(&path("ns")?, OFlags::PATH | OFlags::DIRECTORY)?;
    openat(&directory, c"user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("open /proc/{pid}/ns/user"))
}
