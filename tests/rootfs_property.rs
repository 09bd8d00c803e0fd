//! Attack 10 without a list: trees of generated directories, files and symbolic links of every shape, with generated lists
//! of mounts. What `create` made of each is compared with what the kernel makes of it in a chroot(2): the same mounts at
//! the same places, the same directories made on the way, and nothing changed on the host.
//!
//! `CORACLE_CASES` says how many trees are tried.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use harness::{Lab, Sentinel, args, json, own_mounts, own_table, parse_mounts};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// What stands in generated text for the directory of the host that nothing may happen to.
const OUTSIDE: &str = "OUTSIDE";

/// One name of an image.
#[derive(Clone, Debug)]
enum Node {
    Directory,
    File,
    Link(String),
}

/// One entry of `mounts`.
#[derive(Clone, Debug)]
struct Entry {
    destination: String,
    file: bool,
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(str::to_owned)
}

fn path(longest: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(name(), 1..=longest).prop_map(|names| names.join("/"))
}

fn link_target() -> impl Strategy<Value = String> {
    let climb = (1..12usize, path(2)).prop_map(|(up, path)| format!("{}{path}", "../".repeat(up)));
    let out = (0..12usize, path(2)).prop_map(|(up, path)| format!("/{}{OUTSIDE}/{path}", "../".repeat(up)));
    prop_oneof![
        3 => path(3),
        2 => path(3).prop_map(|path| format!("/{path}")),
        3 => climb,
        3 => out,
        2 => Just(format!("/{OUTSIDE}")),
        1 => (1..12usize).prop_map(|up| format!("{}{OUTSIDE}", "../".repeat(up))),
        1 => prop_oneof![Just("/"), Just("."), Just(".."), Just("./"), Just("//"), Just("../.."), Just("./a/../b/.")]
            .prop_map(str::to_owned),
        1 => path(2).prop_map(|path| format!("{path}/")),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    prop_oneof![3 => Just(Node::Directory), 1 => Just(Node::File), 4 => link_target().prop_map(Node::Link)]
}

fn destination() -> impl Strategy<Value = String> {
    let step = prop_oneof![6 => name(), 1 => Just("..".to_owned()), 1 => Just(".".to_owned())];
    // The root itself is another matter: then the mount is the root.
    (name(), proptest::collection::vec(step, 0..4), name())
        .prop_map(|(first, middle, last)| format!("/{}", [vec![first], middle, vec![last]].concat().join("/")))
}

fn case() -> impl Strategy<Value = (Vec<(String, Node)>, Vec<Entry>)> {
    let entry =
        (destination(), proptest::bool::weighted(0.25)).prop_map(|(destination, file)| Entry { destination, file });
    (proptest::collection::vec((path(3), node()), 0..12), proptest::collection::vec(entry, 1..5))
}

/// Makes the tree. What cannot be made, since its parent is no directory, is left out; no link is followed.
fn plant(root: &Path, outside: &Path, tree: &[(String, Node)]) {
    let outside = outside.strip_prefix("/").unwrap().to_str().unwrap();
    for (path, node) in tree {
        let place = root.join(path);
        let parents = place.ancestors().skip(1).take_while(|parent| *parent != root);
        if parents.clone().any(|parent| fs::symlink_metadata(parent).is_ok_and(|meta| !meta.is_dir())) {
            continue;
        }
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let made = match node {
            Node::Directory => fs::create_dir(&place),
            Node::File => fs::File::create_new(&place).map(drop),
            Node::Link(target) => symlink(target.replace(OUTSIDE, outside), &place),
        };
        if let Err(error) = made {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", place.display());
        }
    }
}

/// The names and types of a tree; a mountpoint looks like what is below it.
fn shape(root: &Path) -> BTreeSet<String> {
    fn walk(directory: &Path, prefix: &str, lines: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let (name, kind) = (format!("{prefix}/{}", entry.file_name().display()), entry.file_type().unwrap());
            lines.insert(format!("{name} {kind:?}"));
            if kind.is_dir() {
                walk(&entry.path(), &name, lines);
            }
        }
    }
    let mut lines = BTreeSet::new();
    walk(root, "", &mut lines);
    lines
}

/// Makes `path` in the caller's root the way that chroot(8) and mkdir(1) would, a name at a time, with links that dangle
/// made where they point to.
fn make(path: &Path, file: bool) -> Result<(), Error> {
    let mut pending: Vec<PathBuf> = path.components().rev().map(|part| part.as_os_str().into()).collect();
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = pending.pop() {
        let last = pending.is_empty();
        match part.components().next() {
            Some(Component::Normal(name)) => here.push(name),
            Some(Component::ParentDir) => {
                here = fs::canonicalize(here.join(".."))?;
                continue;
            }
            Some(Component::RootDir) => {
                here = PathBuf::from("/");
                continue;
            }
            _ => continue,
        }
        match fs::symlink_metadata(&here) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if last && file {
                    fs::File::create_new(&here).map(drop)?
                } else {
                    fs::create_dir(&here)?
                }
            }
            Err(error) => return Err(error),
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                if links > 40 {
                    return Err(Error::from_raw_os_error(libc::ELOOP));
                }
                let target = fs::read_link(&here)?;
                here.pop();
                pending.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str())));
            }
            Ok(meta) if !(meta.is_dir() || last && file) => return Err(Error::from_raw_os_error(libc::ENOTDIR)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Mount points and what is mounted there, of the entries' mounts.
type Places = Vec<(String, String)>;

fn places(table: &str) -> Places {
    let of_case = |root: &str| root.rsplit_once("/volume-").map(|(_, number)| number.to_owned());
    parse_mounts(table).into_iter().filter_map(|line| Some((line.point, of_case(&line.root)?))).collect()
}

/// What the kernel makes of the entries in a chroot. `None` if it refuses one. In a thread of its own, whose root and
/// mounts nobody shares.
fn in_chroot(root: &Path, volumes: &[PathBuf], entries: &[Entry]) -> Option<Places> {
    std::thread::scope(|scope| scope.spawn(|| chrooted(root, volumes, entries)).join().unwrap())
}

fn chrooted(root: &Path, volumes: &[PathBuf], entries: &[Entry]) -> Option<Places> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let recursive = MsFlags::MS_REC;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | recursive, None::<&str>).unwrap();
    mount(Some(root), root, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let trees: Vec<OwnedFd> = volumes.iter().map(|path| open_tree(rustix::fs::CWD, path, clone).unwrap()).collect();
    let task = fs::File::open("/proc/thread-self").unwrap();
    std::os::unix::fs::chroot(root).unwrap();
    std::env::set_current_dir("/").unwrap();
    for (entry, tree) in entries.iter().zip(&trees) {
        make(Path::new(&entry.destination), entry.file).ok()?;
        // What only the image's links make the root is refused, whatever the kernel would do.
        if fs::canonicalize(&entry.destination).ok()? == Path::new("/") {
            return None;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        move_mount(tree, "", rustix::fs::CWD, &entry.destination, flags).ok()?;
    }
    // Opened only now: a mount table is that of the root at its opening.
    let table = rustix::fs::openat(&task, "mountinfo", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    Some(places(&std::io::read_to_string(fs::File::from(table)).unwrap()))
}

/// One lab for all cases: a bundle whose image is new each time.
struct Trial {
    lab: Lab,
    sentinel: Sentinel,
    succeeded: std::cell::Cell<usize>,
}

impl Trial {
    fn run(&self, tree: &[(String, Node)], entries: &[Entry]) -> Result<(), TestCaseError> {
        let number = self.lab.number();
        let volumes: Vec<PathBuf> =
            (0..entries.len()).map(|i| self.lab.path(&format!("volume-{number}.{i}"))).collect();
        for (volume, entry) in volumes.iter().zip(entries) {
            if entry.file { fs::write(volume, "").unwrap() } else { fs::create_dir(volume).unwrap() }
        }
        let bundle = self.lab.bundle(|c| {
            args(c, &["/probe"]);
            // The rest of the usual mounts would only make these slower.
            let of_entry = |(entry, volume): (&Entry, &PathBuf)| {
                json!({"destination": entry.destination, "source": volume, "options": ["bind"]})
            };
            let kept = [json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"})];
            c["mounts"] = kept.into_iter().chain(entries.iter().zip(&volumes).map(of_entry)).collect();
            for list in ["maskedPaths", "readonlyPaths"] {
                c["linux"][list] = json!([]);
            }
        });
        let root = bundle.root("");
        fs::remove_dir_all(&root).unwrap();
        let model = self.lab.path(&format!("model-{number}"));
        for root in [&root, &model] {
            fs::create_dir_all(root.join("dev")).unwrap();
            fs::copy(self.lab.path("program"), root.join("probe")).unwrap();
            plant(root, &self.sentinel.path, tree);
        }
        let expected = in_chroot(&model, &volumes, entries);
        let before = own_table();
        let id = self.lab.id();
        let created = self.lab.cmd(&["create", "--bundle", bundle.str(), &id]).output();
        prop_assert_eq!(own_table(), before, "the host's mounts changed");
        prop_assert!(!self.sentinel.is_touched(), "something outside of the root changed");
        match expected {
            Some(expected) => {
                prop_assert_eq!(created.code(), 0, "refused: {}", created.stderr);
                let container = harness::Container { lab: &self.lab, id };
                let table = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
                prop_assert_eq!(places(&table), expected, "mounts are elsewhere than in a chroot");
                prop_assert_eq!(shape(&root), shape(&model), "directories were made elsewhere than in a chroot");
                container.with("delete", &["--force"], &[]).ok();
                self.succeeded.set(self.succeeded.get() + 1);
            }
            None => prop_assert_eq!(created.code(), 1, "made what a chroot refuses: {:#?}", created),
        }
        for path in [&bundle.path, &model] {
            fs::remove_dir_all(path).unwrap();
        }
        Ok(())
    }
}

#[test]
fn mounts_in_generated_trees_are_where_a_chroot_has_them() {
    let cases = std::env::var("CORACLE_CASES").map_or(100, |cases| cases.parse().unwrap());
    let lab = Lab::new();
    own_mounts();
    let outside = lab.path("outside");
    for directory in ["a/b/c", "b/a", "c"] {
        fs::create_dir_all(outside.join(directory)).unwrap();
    }
    for file in ["d", "a/d", "b/c"] {
        fs::write(outside.join(file), "of the host").unwrap();
    }
    // The lab's directory shows what is made beside the bundle, too.
    fs::write(lab.path("program"), "#!/none\n").unwrap();
    let permissions: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(lab.path("program"), permissions).unwrap();
    let trial = Trial { sentinel: Sentinel::new(&outside), lab, succeeded: std::cell::Cell::new(0) };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let result = TestRunner::new(config).run(&case(), |(tree, entries)| trial.run(&tree, &entries));
    if let Err(error) = result {
        panic!("{error}");
    }
    let succeeded = trial.succeeded.get();
    assert!(succeeded * 4 > cases as usize, "only {succeeded} of {cases} cases could be mounted at all");
}
