//! Mount tables, and a mount namespace of the test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{RenameFlags, renameat_with};

/// A line of mountinfo (proc_pid_mountinfo(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    pub root: String,
    pub point: String,
    pub options: String,
    /// `shared:1 master:2`.
    pub tags: String,
    pub fs_type: String,
    pub source: String,
    pub super_options: String,
}

/// The lines of a table, in its order.
pub fn parse_mounts(table: &str) -> Vec<MountLine> {
    let parse = |line: &str| {
        let (mount, file_system) = line.split_once(" - ").unwrap_or_else(|| panic!("no line of mountinfo: {line}"));
        let mount: Vec<&str> = mount.split(' ').collect();
        let file_system: Vec<&str> = file_system.split(' ').collect();
        MountLine {
            root: mount[3].to_owned(),
            point: mount[4].to_owned(),
            options: mount[5].to_owned(),
            tags: mount[6..].join(" "),
            fs_type: file_system[0].to_owned(),
            source: file_system[1].to_owned(),
            super_options: file_system[2].to_owned(),
        }
    };
    table.lines().map(parse).collect()
}

/// The mount on top at `point`.
#[track_caller]
pub fn mount_at(table: &str, point: &str) -> MountLine {
    let found = parse_mounts(table).into_iter().rfind(|line| line.point == point);
    found.unwrap_or_else(|| panic!("nothing is mounted at {point}:\n{table}"))
}

/// Puts this thread, and the programs that it starts, into a mount namespace of its own, in which all is shared: what a
/// runtime mounts too much shows in [`own_table`], and other tests do not.
pub fn own_mounts() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    for propagation in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | propagation, None::<&str>).unwrap();
    }
}

/// The mount table of this thread.
pub fn own_table() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

/// A mount that a test has made. Unmounted when dropped, so that the lab's directory can go.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts a new file system at `point`, which is made.
    pub fn new(fs_type: &str, point: &Path, flags: MsFlags, data: &str) -> Mounted {
        fs::create_dir_all(point).unwrap();
        mount(Some(fs_type), point, Some(fs_type), flags, Some(data)).unwrap();
        Mounted(point.to_owned())
    }

    /// Binds `source` at `point`, which exists.
    pub fn bind(source: &Path, point: &Path) -> Mounted {
        mount(Some(source), point, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Mounted(point.to_owned())
    }

    /// Takes charge of what is mounted at `point`.
    pub fn adopt(point: &Path) -> Mounted {
        Mounted(point.to_owned())
    }

    /// Changes its flags.
    pub fn remount(&self, flags: MsFlags) {
        mount(None::<&str>, &self.0, None::<&str>, flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None::<&str>)
            .unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Exchanges two names in a directory over and over, until it is dropped.
pub struct Exchanger {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Exchanger {
    /// Both names exist.
    pub fn start(directory: &Path, one: &str, other: &str) -> Exchanger {
        let directory = fs::File::open(directory).unwrap();
        let (one, other) = (one.to_owned(), other.to_owned());
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(&directory, &*one, &directory, &*other, RenameFlags::EXCHANGE).unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                // Shorter than a create, longer than one of its calls; two processors are often all there is.
                std::thread::sleep(Duration::from_micros(10));
            }
        });
        Exchanger { stop, count, thread: Some(thread) }
    }

    /// How often the names were exchanged.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Exchanger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A directory of the host that nothing may happen to.
pub struct Sentinel {
    pub path: PathBuf,
    before: Vec<String>,
}

impl Sentinel {
    /// Notes what is there now.
    pub fn new(path: &Path) -> Sentinel {
        Sentinel { path: path.to_owned(), before: listing(path) }
    }

    /// Whether anything has changed.
    pub fn is_touched(&self) -> bool {
        listing(&self.path) != self.before
    }

    /// Fails if anything has changed.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(listing(&self.path), self.before, "{} was touched", self.path.display());
    }
}

/// Everything below a directory, with types, owners, permissions, times and the content of files.
pub fn listing(directory: &Path) -> Vec<String> {
    fn walk(directory: &Path, prefix: &str, lines: &mut Vec<String>) {
        use std::os::unix::fs::MetadataExt;
        let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let path = directory.join(&name);
            let name = format!("{prefix}/{}", name.to_string_lossy());
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = match meta.file_type() {
                kind if kind.is_file() => fs::read_to_string(&path).unwrap_or_default(),
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                _ => String::new(),
            };
            let (seconds, nanoseconds) = (meta.ctime(), meta.ctime_nsec());
            let owner = format!("{}:{}", meta.uid(), meta.gid());
            lines.push(format!("{name} {:o} {owner} {seconds}.{nanoseconds:09} {content}", meta.mode()));
            if meta.is_dir() {
                walk(&path, &name, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(directory, "", &mut lines);
    lines
}
