//! The state directory of a container: made atomically, locked while somebody changes it, files appear whole.
//!
//! ```text
//! ROOT/ID/            0700; its flock(2) is the container's lock
//!   config.json       the configuration that was used, byte for byte until `update` changes its resources
//!   state.json        what the kernel cannot tell: see `Record`
//!   start             the start gate (only its listener, init, makes it mean something)
//! ```

use std::ffi::{CStr, OsStr};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use super::intel_rdt::Group;
use crate::cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::state::{State, Status};

const STATE: &str = "state.json";
const CONFIG: &str = "config.json";

/// What is known about a container and cannot be derived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// As it was when the container was created: status and pid are derived.
    pub state: State,
    /// Absent until init waits for its start.
    #[serde(default)]
    pub init: Option<InitProcess>,
    pub cgroup: cgroup::Record,
    /// Whether the death of init ends every process of the container.
    pub own_pid_namespace: bool,
    /// Whether the configuration has such hooks: `start` and `delete` need not read it otherwise.
    pub poststart_hooks: bool,
    pub poststop_hooks: bool,
    /// What was made for it under resctrl.
    #[serde(default)]
    pub intel_rdt: Option<Group>,
}

impl Record {
    /// The state to show, with what was derived.
    pub fn state(&self, status: Status, pid: i32) -> State {
        State { status, pid, ..self.state.clone() }
    }
}

/// The identity of init: a process id can be reused, not together with a start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitProcess {
    pub pid: i32,
    /// Field 22 of /proc/PID/stat, in clock ticks after boot.
    pub start_time: u64,
}

/// An open state directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

/// The container's lock, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: Flock<OwnedFd>,
}

fn open_directory(parent: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    openat(parent, path, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}

impl Directory {
    /// Makes the directory for `id` below `root`, which is made when needed.
    pub fn create(root: &Path, id: &str) -> Result<Directory> {
        let path = root.join(id);
        let made = match mkdirat(AT_FDCWD, &path, Mode::S_IRWXU) {
            Err(Errno::ENOENT) => {
                std::fs::create_dir_all(root).context(|| format!("make directory {}", root.display()))?;
                mkdirat(AT_FDCWD, &path, Mode::S_IRWXU)
            }
            result => result,
        };
        match made {
            Err(Errno::EEXIST) => return Err(Error::new(Kind::Exists, "container with given ID already exists")),
            result => result.context(|| format!("make directory {}", path.display()))?,
        }
        Directory::open_path(path)
    }

    /// Opens the directory of an existing container.
    pub fn open(root: &Path, id: &str) -> Result<Directory> {
        Directory::open_path(root.join(id)).map_err(|error| match error.raw_errno().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOTDIR) => Error::new(Kind::NotFound, "container does not exist"),
            _ => error,
        })
    }

    fn open_path(path: PathBuf) -> Result<Directory> {
        let fd = open_directory(AT_FDCWD, &path).context(|| format!("open {}", path.display()))?;
        Ok(Directory { path, fd })
    }

    /// Ids of all containers below `root`, sorted; none when `root` does not exist.
    pub fn list(root: &Path) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(root) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(|| format!("list {}", root.display()))?,
        };
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut ids: Vec<String> = directories.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Waits for the container's lock.
    pub fn lock(&self) -> Result<Lock> {
        self.lock_with(FlockArg::LockExclusive)
    }

    /// Whether somebody else holds the lock.
    pub fn is_locked(&self) -> bool {
        self.lock_with(FlockArg::LockSharedNonblock).is_err_and(|error| error.raw_errno() == Some(Errno::EAGAIN as i32))
    }

    fn lock_with(&self, how: FlockArg) -> Result<Lock> {
        // A descriptor of its own: flock locks belong to the open file, and this one may be locked by us already.
        let own = open_directory(self.fd.as_fd(), Path::new(".")).context(|| "open the state directory")?;
        let held = Flock::lock(own, how).map_err(|(_, errno)| errno).context(|| "lock the state directory")?;
        // Whoever held the lock before may have removed the directory meanwhile.
        let link_count = nix::sys::stat::fstat(&self.fd).context(|| "stat the state directory")?.st_nlink;
        if link_count == 0 {
            return Err(Error::new(Kind::NotFound, "container does not exist"));
        }
        Ok(Lock { _held: held })
    }

    /// The descriptor, for the start gate.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the configuration.
    pub fn save_config(&self, config: &[u8]) -> Result<()> {
        self.write(CONFIG, config).context(|| format!("write {}", self.path.join(CONFIG).display()))
    }

    /// Replaces the configuration.
    pub fn replace_config(&self, config: &[u8]) -> Result<()> {
        self.replace(CONFIG, config)
    }

    /// The configuration that was used at create, with what was updated since.
    pub fn load_config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)
    }

    /// Replaces the record.
    pub fn save(&self, record: &Record) -> Result<()> {
        let bytes =
            serde_json::to_vec(record).map_err(|error| Error::new(Kind::System, format!("encode {STATE}: {error}")))?;
        self.replace(STATE, &bytes)
    }

    /// The record; `None` when `create` died before it wrote one.
    pub fn load(&self) -> Result<Option<Record>> {
        let bytes = match self.read(STATE) {
            Err(error) if error.raw_errno() == Some(Errno::ENOENT as i32) => return Ok(None),
            result => result?,
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::new(Kind::System, format!("parse {}: {error}", self.path.join(STATE).display())))
    }

    /// Removes the directory and everything in it.
    pub fn remove(&self) -> Result<()> {
        let mut listing =
            Dir::openat(&self.fd, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .context(|| format!("list {}", self.path.display()))?;
        for entry in listing.iter().flatten() {
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                self.remove_entry(name)
                    .context(|| format!("remove {}/{}", self.path.display(), name.to_string_lossy()))?;
            }
        }
        unlinkat(AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir).context(|| format!("remove {}", self.path.display()))
    }

    fn remove_entry(&self, name: &CStr) -> std::io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            // The directory of the notification socket.
            Err(Errno::EISDIR) => std::fs::remove_dir_all(self.path.join(OsStr::from_bytes(name.to_bytes()))),
            result => result.map_err(std::io::Error::from),
        }
    }

    /// Writes a file that appears whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let temporary = format!("{name}.new");
        self.write(&temporary, bytes)
            .and_then(|()| renameat(&self.fd, temporary.as_str(), &self.fd, name).map_err(std::io::Error::from))
            .context(|| format!("write {}", self.path.join(name).display()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let file = openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        std::fs::File::from(file).write_all(bytes)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let describe = || format!("read {}", self.path.join(name).display());
        let file = openat(&self.fd, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
            .context(describe)?;
        let mut bytes = Vec::new();
        std::fs::File::from(file).read_to_end(&mut bytes).context(describe)?;
        Ok(bytes)
    }
}
