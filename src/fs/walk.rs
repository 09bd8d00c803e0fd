//! Resolution one component at a time, on descriptors: the way to make what is missing, and to resolve at all
//! where openat2(2) does not exist (before Linux 5.6).
//!
//! Each step opens one name, without following it, in a directory that is held open. `..` goes back to the
//! descriptor that was held before, never to the parent of the moment, so no rename outside of our hands leads
//! out of the root. The target of a symbolic link is read from the link that was opened and walked in turn.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use rustix::fs::{FileType, Mode, OFlags, fstat, mkdirat, mknodat, openat, readlinkat};

/// The kernel's own limit (MAXSYMLINKS).
const MAX_LINKS: u32 = 40;
/// Somebody who keeps removing what was just made is given up on.
const MAX_REMADE: u32 = 10_000;

/// How symbolic links are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// All are followed, inside the root.
    Follow,
    /// All but one in the last component, which is opened itself.
    FollowParents,
    /// Any is an error (ELOOP).
    Refuse,
}

/// What happens at a name that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// ENOENT.
    Fail,
    /// A directory is made, 0755, and what is there has to be one.
    Directory,
    /// For the last name an empty file is made, 0644; before it directories.
    File,
}

/// The state of one resolution.
struct Walk<'r> {
    root: BorrowedFd<'r>,
    /// The directories from the root to here, without the root.
    held: Vec<OwnedFd>,
    /// What is still to be walked, last component first.
    pending: Vec<Step>,
    links_followed: u32,
    remade: u32,
}

enum Step {
    Name(OsString),
    Up,
    ToRoot,
}

/// Resolves `path` below `root` and gives an O_PATH descriptor.
pub(super) fn walk(root: BorrowedFd<'_>, path: &Path, links: Links, missing: Missing) -> Result<OwnedFd, Errno> {
    let mut walk = Walk { root, held: Vec::new(), pending: Vec::new(), links_followed: 0, remade: 0 };
    walk.push(path);
    while let Some(step) = walk.pending.pop() {
        match step {
            Step::ToRoot => walk.held.clear(),
            Step::Up => drop(walk.held.pop()),
            Step::Name(name) => walk.enter(name, links, missing)?,
        }
    }
    match walk.held.pop() {
        Some(fd) => Ok(fd),
        None => open(root, OsStr::new("."), OFlags::DIRECTORY),
    }
}

impl Walk<'_> {
    /// Puts the components of `path` in front of what is still to be walked.
    fn push(&mut self, path: &Path) {
        let steps = path.components().rev().filter_map(|component| match component {
            Component::Normal(name) => Some(Step::Name(name.to_owned())),
            Component::ParentDir => Some(Step::Up),
            Component::RootDir => Some(Step::ToRoot),
            Component::CurDir | Component::Prefix(_) => None,
        });
        self.pending.extend(steps);
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.held.last().map_or(self.root, AsFd::as_fd)
    }

    /// Goes to `name` in the current directory, or queues where it points to.
    fn enter(&mut self, name: OsString, links: Links, missing: Missing) -> Result<(), Errno> {
        let last = self.pending.is_empty();
        // Nearly everything is a directory, which needs no look at its type then.
        match open(self.here(), &name, OFlags::DIRECTORY) {
            Ok(fd) => {
                self.held.push(fd);
                return Ok(());
            }
            Err(Errno::ENOTDIR | Errno::ENOENT | Errno::ELOOP) => {}
            Err(errno) => return Err(errno),
        }
        let fd = match open(self.here(), &name, OFlags::empty()) {
            Err(Errno::ENOENT) if missing != Missing::Fail => {
                self.remade += 1;
                if self.remade > MAX_REMADE {
                    return Err(Errno::ELOOP);
                }
                make(self.here(), &name, if last { missing } else { Missing::Directory })?;
                self.pending.push(Step::Name(name));
                return Ok(());
            }
            other => other?,
        };
        let kind = FileType::from_raw_mode(fstat(&fd).map_err(errno)?.st_mode);
        match kind {
            FileType::Symlink if last && links == Links::FollowParents => self.held.push(fd),
            FileType::Symlink if links == Links::Refuse => return Err(Errno::ELOOP),
            FileType::Symlink => {
                self.links_followed += 1;
                if self.links_followed > MAX_LINKS {
                    return Err(Errno::ELOOP);
                }
                let target = readlinkat(&fd, c"", Vec::new()).map_err(errno)?.into_bytes();
                if target.is_empty() {
                    return Err(Errno::ENOENT);
                }
                self.push(Path::new(&OsString::from_vec(target)));
            }
            FileType::Directory => self.held.push(fd),
            _ if last && missing != Missing::Directory => self.held.push(fd),
            _ => return Err(Errno::ENOTDIR),
        }
        Ok(())
    }
}

/// Opens one name as O_PATH without following it.
fn open(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map_err(errno)
}

/// Makes the directory `name`, 0755, where nothing is yet (EEXIST), and opens it as O_PATH without following a link.
pub(super) fn make_directory(directory: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    mkdirat(directory, name, Mode::from_raw_mode(0o755)).map_err(errno)?;
    open(directory, name, OFlags::DIRECTORY)
}

/// Makes one name. That somebody else was faster is fine: what is there is opened and checked next.
fn make(directory: BorrowedFd<'_>, name: &OsStr, what: Missing) -> Result<(), Errno> {
    let made = match what {
        Missing::File => mknodat(directory, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
        Missing::Directory | Missing::Fail => mkdirat(directory, name, Mode::from_raw_mode(0o755)),
    };
    match made {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.map_err(errno),
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
