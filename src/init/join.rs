//! Namespaces that are joined: by a descriptor each (`create`), or all at once by the pidfd of a process that
//! is in them (`exec`).

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;

use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::plan::namespaces::{Kind, Membership, Namespaces};
use crate::sys::namespace::{namespace_type, setns};

/// The namespaces to join, open.
#[derive(Debug)]
pub(crate) enum Joins {
    /// One descriptor each.
    Files(Vec<(Kind, OwnedFd)>),
    /// Those of a process.
    Process {
        /// The process.
        pidfd: OwnedFd,
        /// Its id, for kernels whose setns(2) takes no pidfd.
        pid: i32,
        /// CLONE_NEW* of all kinds that the container has of its own.
        flags: u64,
    },
}

impl Joins {
    /// Opens every namespace that is given by a path, and checks that it is of the kind it is listed as.
    pub fn open(namespaces: &Namespaces) -> Result<Joins> {
        let mut files = Vec::new();
        for kind in Kind::ALL {
            let Membership::Join { path, index } = namespaces.of(kind) else { continue };
            let opened =
                open_namespace(path, kind).map_err(|error| error.at(format!("/linux/namespaces/{index}/path")));
            files.push((kind, opened?));
        }
        Ok(Joins::Files(files))
    }

    /// Whether `kind` is joined.
    pub fn has(&self, kind: Kind) -> bool {
        match self {
            Joins::Files(files) => files.iter().any(|(joined, _)| *joined == kind),
            Joins::Process { flags, .. } => flags & kind.flag() != 0,
        }
    }

    /// Joins those of `kinds` (CLONE_NEW* flags) that are to be joined.
    pub fn join(&self, kinds: u64) -> Result<()> {
        match self {
            Joins::Files(files) => files
                .iter()
                .filter(|(kind, _)| kinds & kind.flag() != 0)
                .try_for_each(|(kind, file)| setns(file.as_fd(), kind.flag()).context(|| describe(*kind))),
            Joins::Process { pidfd, pid, flags } => match setns(pidfd.as_fd(), flags & kinds) {
                _ if flags & kinds == 0 => Ok(()),
                // Linux 5.7 and older know no pidfd here.
                Err(Errno::EINVAL | Errno::EBADF) => join_one_by_one(*pid, flags & kinds),
                result => result.context(|| format!("join the namespaces of process {pid}")),
            },
        }
    }

    /// Joins those of `kinds` that the privileges on the host allow, before the user namespace is joined. The others
    /// are `refused`: they belong to the user namespace and can be joined once it is.
    pub fn join_privileged(&self, kinds: u64, refused: &mut u64) -> Result<()> {
        let Joins::Files(files) = self else {
            *refused |= kinds;
            return Ok(());
        };
        for (kind, file) in files.iter().filter(|(kind, _)| kinds & kind.flag() != 0) {
            match setns(file.as_fd(), kind.flag()) {
                Err(Errno::EPERM) => *refused |= kind.flag(),
                result => result.context(|| describe(*kind))?,
            }
        }
        Ok(())
    }

    /// The numbers of all descriptors held here.
    pub fn descriptors(&self) -> Vec<i32> {
        match self {
            Joins::Files(files) => files.iter().map(|(_, file)| file.as_raw_fd()).collect(),
            Joins::Process { pidfd, .. } => vec![pidfd.as_raw_fd()],
        }
    }
}

fn describe(kind: Kind) -> String {
    format!("join the {} namespace", kind.word())
}

fn open_namespace(path: &CStr, kind: Kind) -> Result<OwnedFd> {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    // A FIFO would wait for a writer.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .context(|| format!("open {}", path.display()))?;
    match namespace_type(file.as_fd()) {
        Ok(flag) if flag == kind.flag() => Ok(file.into()),
        Ok(_) | Err(Errno::ENOTTY) => {
            Err(Error::new(ErrorKind::Config, format!("{} is not a {} namespace", path.display(), kind.word())))
        }
        Err(errno) => Err(errno).context(|| format!("ask {} for its kind of namespace", path.display())),
    }
}

fn join_one_by_one(pid: i32, flags: u64) -> Result<()> {
    // All are opened before the first is joined: afterwards this process may not look at that one any more.
    let mut files = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| flags & kind.flag() != 0) {
        let path = format!("/proc/{pid}/ns/{}", kind.proc_name());
        files.push((kind, OwnedFd::from(File::open(&path).context(|| format!("open {path}"))?)));
    }
    Joins::Files(files).join(flags)
}
