//! The terminal of a container or of an exec: a pair from the container's own devpts, opened without trusting a
//! single name in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags, fstat, major};

use super::mount::attributes::Attributes;
use super::mount::place::Tree;
use super::mount::target::Target;
use crate::error::{Context, Error, Kind, Result};
use crate::fs::{DEVPTS_MAGIC, Links, Procfs, Root, expect_char_device, fs_magic};
use crate::sys::socket::send_message;
use crate::sys::tty;

/// The device number of every devpts' ptmx (Documentation/admin-guide/devices.txt).
const PTMX: (u32, u32) = (5, 2);
/// Majors of the other ends (UNIX98 PTY slaves).
const PEER_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

/// A pseudo terminal. The master goes over the console socket, the other end becomes standard input, output and error.
#[derive(Debug)]
pub(crate) struct Console {
    master: OwnedFd,
    peer: OwnedFd,
}

impl Console {
    /// Opens a pair below `root`: the container's root before the pivot, or `/` of a process that has joined it
    /// (`exec`). `size` is height and width in characters; `owner` gets the terminal.
    pub fn open(root: &Root, procfs: &Procfs, size: Option<(u16, u16)>, owner: u32) -> Result<Console> {
        let operation = || "open a terminal of the container";
        let master = open_master(root, procfs).context(operation)?;
        tty::unlock(master.as_fd()).context(|| "unlock the terminal")?;
        let peer = tty::open_peer(master.as_fd()).context(|| "open the other end of the terminal")?;
        check_peer(&peer).context(operation)?;
        if let Some((height, width)) = size {
            tty::resize(master.as_fd(), height, width).context(|| "set the size of the terminal")?;
        }
        if owner != 0 {
            let owner = rustix::process::Uid::from_raw(owner);
            rustix::fs::fchown(&peer, Some(owner), None).context(|| "chown the terminal")?;
        }
        Ok(Console { master, peer })
    }

    /// Makes the terminal the container's /dev/console. Before the pivot, after the devices.
    pub fn place(&self, root: &Root) -> Result<()> {
        let path = Path::new("/dev/console");
        let operation = || "mount the terminal at /dev/console";
        let fd = root.make_file(path, Links::Follow).context(operation)?;
        let target = Target { root, path, links: Links::Follow, fd };
        Tree::of_fd(self.peer.as_fd(), false)
            .and_then(|tree| tree.place(&target, &Attributes::default()))
            .context(operation)
            .map(drop)
    }

    /// Sends the master away and makes the terminal standard input, output and error, and the controlling terminal
    /// of the session, which this process has to lead.
    pub fn hand_over(self, socket: BorrowedFd<'_>) -> Result<()> {
        // Engines print the name.
        send_message(socket, b"/dev/ptmx", Some(self.master.as_fd()))
            .context(|| "send the terminal to the console socket")?;
        rustix::process::ioctl_tiocsctty(&self.peer).context(|| "make the terminal the controlling one")?;
        nix::unistd::dup2_stdin(&self.peer).context(|| "dup2 of the terminal to 0")?;
        nix::unistd::dup2_stdout(&self.peer).context(|| "dup2 of the terminal to 1")?;
        nix::unistd::dup2_stderr(&self.peer).context(|| "dup2 of the terminal to 2")
    }
}

/// The terminal of a new container: opened, mounted at /dev/console, its master sent through `socket`. Before the
/// pivot; the process leads its session.
pub(crate) fn make(root: &Root, size: Option<(u16, u16)>, owner: u32, socket: BorrowedFd<'_>) -> Result<()> {
    let console = Console::open(root, &Procfs::open()?, size, owner)?;
    console.place(root)?;
    console.hand_over(socket)
}

/// The terminal of a process that has joined a container.
pub(crate) fn join(size: Option<(u16, u16)>, owner: u32, socket: BorrowedFd<'_>) -> Result<()> {
    Console::open(&Root::open(Path::new("/"))?, &Procfs::open()?, size, owner)?.hand_over(socket)
}

/// The ptmx inside devpts; /dev/ptmx, usually a link to it, where /dev/pts is laid out differently. Opened for use only
/// after it has proven to be the device, and on a devpts.
fn open_master(root: &Root, procfs: &Procfs) -> Result<OwnedFd> {
    let inside = root.resolve_existing(Path::new("/dev/pts/ptmx"), Links::Follow)?;
    let ptmx = match inside {
        Some(fd) => fd,
        None => root.resolve(Path::new("/dev/ptmx"), Links::Follow)?,
    };
    expect_char_device(ptmx.as_fd(), PTMX, "ptmx of the container")?;
    if fs_magic(ptmx.as_fd())? != DEVPTS_MAGIC {
        return Err(Error::new(Kind::System, "ptmx of the container is not on a devpts")
            .hint("a terminal needs a mount of type devpts at /dev/pts"));
    }
    procfs.reopen(ptmx.as_fd(), OFlags::RDWR)
}

fn check_peer(peer: &OwnedFd) -> Result<()> {
    let stat = fstat(peer).context(|| "fstat")?;
    let terminal = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !terminal || !PEER_MAJORS.contains(&major(stat.st_rdev)) || fs_magic(peer.as_fd())? != DEVPTS_MAGIC {
        return Err(Error::new(Kind::System, "the other end of the terminal is no terminal of a devpts"));
    }
    Ok(())
}
