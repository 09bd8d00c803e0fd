//! The state directory of a container: made atomically, locked while somebody changes it, files appear whole.
//!
//! ```text
//! ROOT/ID/            0700; its flock(2) is the container's lock
//!   config.json       the configuration that was used, byte for byte until `update` changes its resources
//!   state.json        what the kernel cannot tell: a `Record`, and in a second line what came to be known later
//!   start             the start gate (only its listener, init, makes it mean something)
//! ```

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use super::intel_rdt::Group;
use crate::cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::state::{State, Status};
use crate::sys::file;

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
    /// Adds what came to be known.
    pub fn amend(&mut self, Amendment { init, cgroup, intel_rdt }: Amendment) {
        self.init = Some(init);
        if let Some(cgroup) = cgroup {
            self.cgroup = cgroup;
        }
        if intel_rdt.is_some() {
            self.intel_rdt = intel_rdt;
        }
    }

    /// The state to show, with what was derived.
    pub fn state(&self, status: Status, pid: i32) -> State {
        State { status, pid, ..self.state.clone() }
    }
}

/// What is known about a container once init waits: it is added to the record, which is begun before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Amendment {
    pub init: InitProcess,
    /// Unless it is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<cgroup::Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intel_rdt: Option<Group>,
}

impl Amendment {
    /// Its line.
    pub fn encode(&self) -> Result<Vec<u8>> {
        encode(self)
    }
}

/// A record that this process has put on disk, open for an [`Amendment`].
#[derive(Debug)]
pub(crate) struct Begun(File);

impl Begun {
    /// Makes `line` a part of the record. One write: readers find all of it or nothing.
    pub fn amend(&mut self, line: &[u8]) -> Result<()> {
        self.0.write_all(line).context(|| format!("write {STATE}"))
    }

    /// Whether it still is the container's record: nobody has replaced it, or removed the container.
    pub fn is_current(&self) -> Result<bool> {
        Ok(nix::sys::stat::fstat(&self.0).context(|| format!("stat {STATE}"))?.st_nlink > 0)
    }
}

impl From<Begun> for OwnedFd {
    fn from(begun: Begun) -> OwnedFd {
        begun.0.into()
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line =
        serde_json::to_vec(value).map_err(|error| Error::new(Kind::System, format!("encode {STATE}: {error}")))?;
    line.push(b'\n');
    Ok(line)
}

/// The record in the content of its file: what was not written to its end does not count.
fn decode(content: &[u8]) -> serde_json::Result<Record> {
    let mut lines = content.split_inclusive(|byte| *byte == b'\n');
    let mut record: Record = serde_json::from_slice(lines.next().unwrap_or_default())?;
    for line in lines.filter(|line| line.ends_with(b"\n")) {
        record.amend(serde_json::from_slice(line)?);
    }
    Ok(record)
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

impl From<Directory> for OwnedFd {
    fn from(directory: Directory) -> OwnedFd {
        directory.fd
    }
}

/// The container's lock, held until it is dropped. It belongs to the open directory: whoever opens it anew waits.
#[derive(Debug)]
pub(crate) struct Lock<'a>(BorrowedFd<'a>);

impl Lock<'_> {
    /// Leaves the directory locked, until [`Directory::locked`] takes over.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // Children that inherited the descriptor hold the lock too. Unlocking what is locked cannot fail.
        let _ = flock(self.0, FlockOperation::Unlock);
    }
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
            Some(Errno::ENOENT | Errno::ENOTDIR) => Error::new(Kind::NotFound, "container does not exist")
                .hint(format!("there is no \"{id}\" in {}; see coracle list, or name its --root", root.display())),
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

    /// The lock, also of a directory that somebody has removed meanwhile: that one takes no files any more.
    pub fn lock_any(&self) -> Result<Lock<'_>> {
        rustix::io::retry_on_intr(|| flock(&self.fd, FlockOperation::LockExclusive))
            .context(|| "lock the state directory")?;
        Ok(self.locked())
    }

    /// Waits for the container's lock, which this directory must not have already.
    pub fn lock(&self) -> Result<Lock<'_>> {
        let lock = self.lock_any()?;
        // Whoever held the lock before may have removed the directory meanwhile.
        let link_count = nix::sys::stat::fstat(&self.fd).context(|| "stat the state directory")?.st_nlink;
        if link_count == 0 {
            return Err(Error::new(Kind::NotFound, "container does not exist"));
        }
        Ok(lock)
    }

    /// The lock that was left.
    pub fn locked(&self) -> Lock<'_> {
        Lock(self.fd.as_fd())
    }

    /// Whether anybody holds the lock, also by this directory.
    pub fn is_locked(&self) -> bool {
        // A descriptor of its own: asking through a locked one would change the lock.
        let asked = open_directory(self.fd.as_fd(), Path::new("."));
        asked.is_ok_and(|own| flock(own, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::AGAIN))
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
        self.write(CONFIG, config).map(drop).context(|| format!("write {}", self.path.join(CONFIG).display()))
    }

    /// Replaces the configuration.
    pub fn replace_config(&self, config: &[u8]) -> Result<()> {
        self.replace(CONFIG, config).map(drop)
    }

    /// The configuration that was used at create, with what was updated since.
    pub fn load_config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)
    }

    /// Replaces the record.
    pub fn save(&self, record: &Record) -> Result<()> {
        self.begin(record).map(drop)
    }

    /// The same for a record that is going to be amended.
    pub fn begin(&self, record: &Record) -> Result<Begun> {
        self.replace(STATE, &encode(record)?).map(Begun)
    }

    /// The record; `None` when `create` died before it wrote one.
    pub fn load(&self) -> Result<Option<Record>> {
        let bytes = match self.read(STATE) {
            Err(error) if error.raw_errno() == Some(Errno::ENOENT as i32) => return Ok(None),
            result => result?,
        };
        decode(&bytes)
            .map(Some)
            .map_err(|error| Error::new(Kind::System, format!("parse {}: {error}", self.path.join(STATE).display())))
    }

    /// Removes the directory and everything in it.
    pub fn remove(&self) -> Result<()> {
        // What is there most times, without looking.
        for name in [STATE, CONFIG] {
            match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::ENOENT) => {}
                result => result.context(|| format!("remove {}", self.path.join(name).display()))?,
            }
        }
        match unlinkat(AT_FDCWD, &self.path, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => self.remove_listed(),
            result => result.context(|| format!("remove {}", self.path.display())),
        }
    }

    fn remove_listed(&self) -> Result<()> {
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

    /// Makes `bytes` the content of the file `name`, which appears whole. Gives it as it was opened.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<File> {
        let new = format!("{name}.new");
        let describe = || format!("write {}", self.path.join(&new).display());
        let file = self.write(&new, bytes).context(describe)?;
        renameat(&self.fd, new.as_str(), &self.fd, name)
            .context(|| format!("rename {} to {name}", self.path.join(&new).display()))?;
        Ok(file)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> std::io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut file = File::from(openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        file.write_all(bytes)?;
        Ok(file)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let describe = || format!("read {}", self.path.join(name).display());
        let file = file::open_at(&self.fd, name, OFlags::RDONLY | OFlags::NOFOLLOW).context(describe)?;
        file::read_whole(file).context(describe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            state: State {
                oci_version: "1.3.0".to_owned(),
                id: "a".to_owned(),
                pid: 0,
                status: Status::Creating,
                bundle: "/b".into(),
                rootfs: "/b/rootfs".into(),
                created: String::new(),
                owner: String::new(),
                annotations: Default::default(),
            },
            init: None,
            cgroup: cgroup::Record { path: "first".to_owned(), ..cgroup::Record::default() },
            own_pid_namespace: true,
            poststart_hooks: false,
            poststop_hooks: false,
            intel_rdt: None,
        }
    }

    #[test]
    fn decode_counts_amendments_that_are_whole() {
        let record = record();
        let init = InitProcess { pid: 7, start_time: 8 };
        let cgroup = cgroup::Record { path: "second".to_owned(), ..cgroup::Record::default() };
        let begun = encode(&record).unwrap();
        assert_eq!(decode(&begun).unwrap(), record);
        assert_eq!(decode(begun.trim_ascii_end()).unwrap(), record);

        let amended = |cgroup| [begun.clone(), Amendment { init, cgroup, intel_rdt: None }.encode().unwrap()].concat();
        let expected = Record { init: Some(init), ..record.clone() };
        assert_eq!(decode(&amended(None)).unwrap(), expected);
        assert_eq!(decode(&amended(Some(cgroup.clone()))).unwrap(), Record { cgroup, ..expected });
        let torn = amended(None);
        for length in begun.len()..torn.len() {
            assert_eq!(decode(&torn[..length]).unwrap(), record, "{length} of {}", torn.len());
        }
        assert!(decode(b"").is_err() && decode(b"{\n").is_err());
    }

    #[test]
    fn is_current_until_somebody_replaces_the_record_or_removes_the_container() {
        let root = std::env::temp_dir().join(format!("coracle-store-{}", std::process::id()));
        let directory = Directory::create(&root, "a").unwrap();
        let mut begun = directory.begin(&record()).unwrap();
        begun.amend(b"\n").unwrap();
        let mut current = vec![begun.is_current().unwrap()];
        let again = directory.begin(&record()).unwrap();
        current.extend([begun.is_current().unwrap(), again.is_current().unwrap()]);
        directory.remove().unwrap();
        current.push(again.is_current().unwrap());
        std::fs::remove_dir(&root).unwrap();
        assert_eq!(current, [true, false, true, false]);
    }
}
