//! A directory that paths of an image are resolved in, as chroot(2) would, without ever leaving it.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

use super::walk::{Links, Missing, make_directory, walk};
use crate::error::{Context, Result};
use crate::sys::fd::Descriptors;

/// openat2(2) answers EAGAIN when something was renamed while it resolved `..`; a hostile process can keep
/// that up, so after these attempts the walk takes over, which needs no luck.
const ATTEMPTS: u32 = 32;

/// So many descriptors wait to be closed at most: the limit of this process may be low.
const SPENT: usize = 64;

/// A root directory, held open.
#[derive(Debug)]
pub(crate) struct Root {
    fd: OwnedFd,
    /// See [`Root::holds_peers`].
    peers: bool,
    /// See [`Root::retire`].
    spent: RefCell<Descriptors>,
    /// See [`Root::make_beside`].
    last_parent: RefCell<Option<(PathBuf, OwnedFd)>>,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Root {
    /// `fd` is the directory; an O_PATH descriptor will do.
    fn from(fd: OwnedFd) -> Self {
        Root { fd, peers: false, spent: RefCell::default(), last_parent: RefCell::default() }
    }
}

impl Root {
    /// The directory at `path` of the caller's own root: nothing hostile may have a say in it.
    pub fn open(path: &Path) -> Result<Root> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty()).context(|| format!("open {}", path.display()))?;
        Ok(Root::from(fd))
    }

    /// The same root, of which is said what [`Root::holds_peers`] tells.
    pub fn with_peers(self, peers: bool) -> Root {
        Root { peers, ..self }
    }

    /// Whether mounts inside may be peers of the host's: what is mounted on such a one appears on the host.
    pub fn holds_peers(&self) -> bool {
        self.peers
    }

    /// Takes what was opened inside and is needed no longer: it is closed in one call with others, at the latest when the
    /// root is left.
    pub fn retire(&self, fd: OwnedFd) {
        let mut spent = self.spent.borrow_mut();
        spent.push(fd);
        if spent.len() == SPENT {
            *spent = Descriptors::default();
        }
    }

    /// The same for several.
    pub fn retire_all(&self, fds: Descriptors) {
        self.spent.borrow_mut().append(fds);
    }

    /// Closes the root's own descriptor with all that were retired.
    pub fn close(self) {
        self.spent.into_inner().push(self.fd);
    }

    /// What `path` is inside, as an O_PATH descriptor.
    pub fn resolve(&self, path: &Path, links: Links) -> Result<OwnedFd> {
        self.lookup(path, links, OFlags::empty()).context(|| format!("open {} in the root", path.display()))
    }

    /// The same, with `None` when it does not exist (ENOENT and no other error).
    pub fn resolve_existing(&self, path: &Path, links: Links) -> Result<Option<OwnedFd>> {
        match self.lookup(path, links, OFlags::empty()) {
            Err(Errno::ENOENT) => Ok(None),
            other => other.map(Some).context(|| format!("open {} in the root", path.display())),
        }
    }

    /// The directory that `path` is (ENOTDIR for anything else), with `None` when it does not exist.
    pub fn resolve_directory(&self, path: &Path, links: Links) -> Result<Option<OwnedFd>> {
        match self.lookup(path, links, OFlags::DIRECTORY) {
            Err(Errno::ENOENT) => Ok(None),
            other => other.map(Some).context(|| format!("open directory {} in the root", path.display())),
        }
    }

    /// The directory `path`, made with its parents (0755) where missing; symbolic links, dangling ones too, are
    /// followed inside the root. O_PATH.
    pub fn make_dir_all(&self, path: &Path) -> Result<OwnedFd> {
        match self.lookup(path, Links::Follow, OFlags::DIRECTORY) {
            Err(Errno::ENOENT) => match self.make_last(path, Links::Follow) {
                Err(Errno::ENOENT | Errno::EEXIST | Errno::ELOOP | Errno::ENOTDIR) => {
                    walk(self.as_fd(), path, Links::Follow, Missing::Directory)
                }
                other => other,
            },
            other => other,
        }
        .context(|| format!("make directory {} in the root", path.display()))
    }

    /// The directory `path`, made (0755) in a parent that no link leads to, if that is all there is to do. O_PATH.
    pub fn make_new_dir(&self, path: &Path) -> Option<OwnedFd> {
        self.make_last(path, Links::Refuse).ok()
    }

    /// The directory `path`, made (0755) beside the one that [`Root::make_new_dir`] made, if nothing has been resolved since:
    /// their parent is still what its path says, because nothing but its children can have been mounted on. `None` if that
    /// is not so, or if there is something already. O_PATH.
    pub fn make_beside(&self, path: &Path) -> Option<OwnedFd> {
        let last = self.last_parent.borrow();
        let (_, parent) = last.as_ref().filter(|(last, _)| path.parent() == Some(last))?;
        make_directory(parent.as_fd(), path.file_name()?).ok()
    }

    /// Whatever `path` is; when missing, an empty file (0644) in directories made as needed. O_PATH.
    pub fn make_file(&self, path: &Path, links: Links) -> Result<OwnedFd> {
        match self.lookup(path, links, OFlags::empty()) {
            Err(Errno::ENOENT) => walk(self.as_fd(), path, links, Missing::File),
            other => other,
        }
        .context(|| format!("make file {} in the root", path.display()))
    }

    /// The directory that holds the last component of `path`, made as needed, and that component's name.
    /// `None` if `path` ends in no name (`/`, `..`).
    pub fn make_parent(&self, path: &Path) -> Result<Option<(OwnedFd, OsString)>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        let parent = if parent.as_os_str().is_empty() { Path::new("/") } else { parent };
        Ok(Some((self.make_dir_all(parent)?, OsStr::to_owned(name))))
    }

    /// Makes the directory `path` in its parent, which exists, where its own name does not: in most cases nothing else
    /// is missing. For all others there is the walk.
    fn make_last(&self, path: &Path, links: Links) -> std::result::Result<OwnedFd, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::ENOENT) };
        let fd = self.lookup(parent, links, OFlags::DIRECTORY)?;
        let made = make_directory(fd.as_fd(), name);
        match links {
            Links::Refuse => *self.last_parent.borrow_mut() = Some((parent.to_owned(), fd)),
            Links::Follow | Links::FollowParents => self.retire(fd),
        }
        made
    }

    fn lookup(&self, path: &Path, links: Links, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
        if let Some((_, parent)) = self.last_parent.take() {
            self.retire(parent);
        }
        let (nofollow, refuse) = match links {
            Links::Follow => (OFlags::empty(), ResolveFlags::empty()),
            Links::FollowParents => (OFlags::NOFOLLOW, ResolveFlags::empty()),
            Links::Refuse => (OFlags::empty(), ResolveFlags::NO_SYMLINKS),
        };
        let flags = flags | nofollow | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | refuse;
        for _ in 0..ATTEMPTS {
            match openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::NOSYS) => break,
                other => return other.map_err(|error| Errno::from_raw(error.raw_os_error())),
            }
        }
        let fd = walk(self.as_fd(), path, links, Missing::Fail)?;
        if flags.contains(OFlags::DIRECTORY) {
            let again = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return openat(&fd, c".", again, Mode::empty()).map_err(|error| Errno::from_raw(error.raw_os_error()));
        }
        Ok(fd)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{RenameFlags, fstat, renameat_with};

    use super::*;
    use crate::fs::FileId;

    /// A directory of its own, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("coracle-root-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("root")).unwrap();
            Scratch(path)
        }

        fn root(&self) -> Root {
            Root::open(&self.0.join("root")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Both ways to resolve give the same file, or the same error.
    fn both(root: &Root, path: &str, links: Links) -> std::result::Result<FileId, Errno> {
        let by_kernel = root.lookup(Path::new(path), links, OFlags::empty());
        let by_walk = walk(root.as_fd(), Path::new(path), links, Missing::Fail);
        let id = |fd: OwnedFd| FileId::of(fd.as_fd()).unwrap();
        let (by_kernel, by_walk) = (by_kernel.map(id), by_walk.map(id));
        assert_eq!(by_kernel, by_walk, "{path}");
        by_kernel
    }

    #[test]
    fn resolve_links_of_every_shape_stays_inside_both_ways() {
        let scratch = Scratch::new("shapes");
        let base = scratch.0.join("root");
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/file"), "").unwrap();
        for (link, target) in [
            ("absolute", "/a"),
            ("up", "../../../../a/b"),
            ("chain", "up/../../absolute"),
            ("loop", "loop"),
            ("dangling", "/not/there"),
            ("a/slash", "/"),
            ("a/dots", ".././../a/./b/.."),
        ] {
            symlink(target, base.join(link)).unwrap();
        }
        let root = scratch.root();
        let inode = |path: &str| fs::metadata(base.join(path)).unwrap().ino();
        let resolved = |path: &str| fstat(root.resolve(Path::new(path), Links::Follow).unwrap()).unwrap().st_ino;
        for (path, expected) in [
            ("/absolute/b", "a/b"),
            ("up", "a/b"),
            ("/chain/b/..", "a"),
            ("/../../a", "a"),
            ("/a/slash/a", "a"),
            ("/a/dots", "a"),
            ("/", "."),
            ("/absolute/file", "a/file"),
        ] {
            assert_eq!(resolved(path), inode(expected), "{path}");
            both(&root, path, Links::Follow).unwrap();
        }
        assert_eq!(both(&root, "/loop", Links::Follow), Err(Errno::ELOOP));
        assert_eq!(both(&root, "/dangling", Links::Follow), Err(Errno::ENOENT));
        assert_eq!(both(&root, "/a/file/x", Links::Follow), Err(Errno::ENOTDIR));
        assert_eq!(both(&root, "/absolute/b", Links::Refuse), Err(Errno::ELOOP));
        assert!(both(&root, "/dangling", Links::FollowParents).is_ok());
    }

    #[test]
    fn make_dir_all_through_dangling_links_makes_inside() {
        let scratch = Scratch::new("make");
        symlink("/../run/deep", scratch.0.join("root/var")).unwrap();
        let root = scratch.root();
        root.make_dir_all(Path::new("/var/x/../y")).unwrap();
        root.make_file(Path::new("/var/y/file"), Links::Follow).unwrap();
        assert!(scratch.0.join("root/run/deep/y/file").is_file());
        assert!(!scratch.0.join("run").exists());
        let error = root.make_dir_all(Path::new("/var/y/file")).unwrap_err();
        assert_eq!(error.raw_errno(), Some(libc::ENOTDIR));
        for (path, made) in [("/run/new", true), ("/run/new", false), ("/var/new2", false), ("/run/a/b", false)] {
            assert_eq!(root.make_new_dir(Path::new(path)).is_some(), made, "{path}");
        }
        assert!(scratch.0.join("root/run/new").is_dir());
    }

    #[test]
    fn make_beside_as_long_as_nothing_else_was_resolved() {
        let scratch = Scratch::new("beside");
        let base = scratch.0.join("root");
        fs::create_dir_all(base.join("dev")).unwrap();
        let root = scratch.root();
        let beside = |path: &str| root.make_beside(Path::new(path)).is_some();
        assert!(!beside("/dev/b"));
        assert!(root.make_new_dir(Path::new("/dev/a")).is_some());
        assert!(beside("/dev/b") && beside("/dev/c"));
        for elsewhere in ["/dev/b", "/dev/b/d", "/dev", "/", "/proc"] {
            assert!(!beside(elsewhere), "{elsewhere}");
        }
        // Whatever is resolved may be mounted on, so that the path means something else.
        root.resolve_directory(Path::new("/dev"), Links::Refuse).unwrap();
        assert!(!beside("/dev/d"));
        let mut made: Vec<_> = fs::read_dir(base.join("dev")).unwrap().map(|it| it.unwrap().file_name()).collect();
        made.sort();
        assert_eq!(made, ["a", "b", "c"]);
    }

    #[test]
    fn make_dir_all_while_directories_and_links_are_exchanged_stays_inside() {
        let scratch = Scratch::new("race");
        let base = scratch.0.join("root");
        fs::create_dir_all(base.join("dir")).unwrap();
        fs::create_dir_all(scratch.0.join("outside")).unwrap();
        symlink("../../outside", base.join("link")).unwrap();
        let stop = AtomicBool::new(false);
        let directory = fs::File::open(&base).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = renameat_with(&directory, "dir", &directory, "link", RenameFlags::EXCHANGE);
                }
            });
            let root = scratch.root();
            for i in 0..200 {
                let path = format!("/dir/made/{i}");
                let _ = root.make_dir_all(Path::new(&path));
                let _ = walk(root.as_fd(), Path::new(&format!("/link/walked/{i}")), Links::Follow, Missing::Directory);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(scratch.0.join("outside")).unwrap().count(), 0);
        // It did make them, where a chroot would have.
        assert!(
            base.join("outside/made").is_dir() || base.join("dir/made").is_dir() || base.join("link/made").is_dir()
        );
    }
}
