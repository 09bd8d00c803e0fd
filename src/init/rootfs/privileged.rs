//! The whole sequence against a real kernel. Needs root, unshare(1) and control groups mounted; what is missing fails.
//!
//! Each test runs three times over: as itself, as a "host" in a mount namespace whose mounts are all shared, so that
//! whatever the runtime mounted too much would show there, and as the container's process inside.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::mount::cgroup::CgroupView;
use super::super::{devices, masks, mount, pivot};
use super::*;
use crate::plan::ids::IdMapping;
use crate::plan::mounts::{DeviceKind, DevicePlan, IdmapPlan, MountPlan, MountSource};

mod attacks;
mod covers;
mod entries;

const RDONLY: u64 = 1;
const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;
const STRICTATIME: u64 = 0x20;
const ROLE: &str = "CORACLE_TEST_ROLE";
const DIRECTORY: &str = "CORACLE_TEST_DIRECTORY";

/// Runs `image` (which prepares a rootfs and gives the plan) on the host's side and `inside` in the container.
fn container(name: &str, image: fn(&Path) -> RootfsPlan, inside: fn(RootfsPlan)) {
    container_in(name, &["--mount", "--pid", "--ipc", "--net", "--uts"], image, inside);
}

/// The same with other namespaces than all.
fn container_in(name: &str, namespaces: &[&str], image: fn(&Path) -> RootfsPlan, inside: fn(RootfsPlan)) {
    let test = format!("init::rootfs::privileged::{name}");
    match std::env::var(ROLE).as_deref() {
        Err(_) => {
            assert!(nix::unistd::geteuid().is_root(), "this test needs root");
            let directory =
                std::env::temp_dir().join(format!("coracle-{}-{}", name.replace(':', "-"), std::process::id()));
            fs::create_dir_all(directory.join("rootfs")).unwrap();
            let result = again(&test, "host", &directory, &["--mount", "--propagation", "shared"]);
            fs::remove_dir_all(&directory).unwrap();
            if let Err(output) = result {
                panic!("{name} failed inside: {output}");
            }
        }
        Ok("host") => {
            let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
            drop(image(&directory));
            let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let namespaces = [namespaces, &["--fork", "--propagation", "unchanged"]].concat();
            if let Err(output) = again(&test, "container", &directory, &namespaces) {
                panic!("failed in the container: {output}");
            }
            assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before, "the host's mounts changed");
            // Where hostile links of an image point to.
            for outside in ["sentinel", "outside"].map(|name| directory.join(name)).iter().filter(|path| path.exists())
            {
                assert_eq!(fs::read_dir(outside).unwrap().count(), 0, "something was made in {outside:?}");
            }
        }
        Ok(_) => inside(image(&PathBuf::from(std::env::var_os(DIRECTORY).unwrap()))),
    }
}

fn again(test: &str, role: &str, directory: &Path, unshare: &[&str]) -> std::result::Result<(), String> {
    let output = Command::new("unshare")
        .args(unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1", "--quiet"])
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))),
    }
}

/// The whole sequence, as init performs it.
fn enter(plan: &RootfsPlan) -> Result<()> {
    let mut sources = Sources::open(plan)?;
    let cgroups = CgroupView::read()?;
    let mut root = prepare(plan, &mut sources)?;
    let unsealed = mount::mount_all(plan, &mut root, &mut sources, Some(&cgroups))?;
    devices::make_all(plan, &root)?;
    masks::apply(plan, &root, false)?;
    unsealed.seal()?;
    seal(plan, &root)?;
    pivot::enter(root, plan.pivot)?;
    propagate(plan)
}

/// An entry of /proc/self/mountinfo: what `/proc/self/mountinfo` of the container says of a mount point (the last, if
/// several are stacked).
#[derive(Debug)]
struct Mounted {
    root: String,
    options: String,
    tags: String,
    fs_type: String,
    super_options: String,
}

fn mounts() -> BTreeMap<String, Mounted> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ").unwrap();
        let left: Vec<_> = left.split(' ').collect();
        let right: Vec<_> = right.split(' ').collect();
        let mounted = Mounted {
            root: left[3].to_owned(),
            options: left[5].to_owned(),
            tags: left[6..].join(" "),
            fs_type: right[0].to_owned(),
            super_options: right[2].to_owned(),
        };
        (left[4].to_owned(), mounted)
    };
    table.lines().map(line).collect()
}

fn entry(destination: &str, source: MountSource, attr_set: u64, data: &[&str]) -> MountPlan {
    MountPlan {
        index: 0,
        destination: PathBuf::from(destination),
        source,
        attr_set,
        attr_clear: if attr_set & STRICTATIME != 0 { 0x70 } else { 0 },
        recursive_attr_set: 0,
        recursive_attr_clear: 0,
        super_flags: 0,
        propagation: Vec::new(),
        data: data.iter().map(ToString::to_string).collect(),
        copy_up: false,
        idmap: None,
        copy_symlink: false,
        source_nofollow: false,
        destination_nofollow: false,
    }
}

fn new(fs_type: &str, destination: &str, attr_set: u64, data: &[&str]) -> MountPlan {
    let name = CString::new(fs_type).unwrap();
    entry(destination, MountSource::New { fs_type: name.clone(), source: name }, attr_set, data)
}

fn bind(source: &Path, destination: &str, recursive: bool) -> MountPlan {
    let path = mount::c_path(source).unwrap();
    entry(destination, MountSource::Bind { path, recursive }, 0, &[])
}

fn cgroup(destination: &str) -> MountPlan {
    let source = MountSource::Cgroup { v2: false, source: c"cgroup".to_owned() };
    entry(destination, source, RDONLY | NOSUID | NODEV | NOEXEC, &[])
}

fn device(path: &str, major: u32, minor: u32) -> DevicePlan {
    DevicePlan {
        index: None,
        path: OsString::from(path),
        kind: DeviceKind::Char,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    }
}

/// What engines send: the mounts, devices and masks of the spec command's default, with Docker's paths added.
fn default_plan(directory: &Path) -> RootfsPlan {
    let all = NOSUID | NOEXEC | NODEV;
    let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect();
    RootfsPlan {
        path: directory.join("rootfs"),
        propagation: libc::MS_SLAVE | libc::MS_REC,
        propagation_configured: false,
        readonly: true,
        mounts: vec![
            new("proc", "/proc", 0, &[]),
            new("tmpfs", "/dev", NOSUID | STRICTATIME, &["mode=755", "size=65536k"]),
            new("devpts", "/dev/pts", NOSUID | NOEXEC, &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            new("tmpfs", "/dev/shm", all, &["mode=1777", "size=65536k"]),
            new("mqueue", "/dev/mqueue", all, &[]),
            new("sysfs", "/sys", all | RDONLY, &[]),
            cgroup("/sys/fs/cgroup"),
        ],
        devices: vec![
            device("/dev/null", 1, 3),
            device("/dev/zero", 1, 5),
            device("/dev/full", 1, 7),
            device("/dev/random", 1, 8),
            device("/dev/urandom", 1, 9),
            device("/dev/tty", 5, 0),
        ],
        bind_devices: false,
        default_devices: true,
        masked_paths: paths(&[
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ]),
        readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        mount_label: None,
        pivot: Pivot::Swap,
        cgroup_namespace: false,
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
        terminal: false,
    }
}

/// No mounts, devices or masks.
fn bare_plan(directory: &Path) -> RootfsPlan {
    RootfsPlan {
        mounts: vec![new("proc", "/proc", 0, &[])],
        devices: Vec::new(),
        default_devices: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        readonly: false,
        ..default_plan(directory)
    }
}

fn assert_default_container() {
    let mounts = mounts();
    let at = |path: &str| mounts.get(path).unwrap_or_else(|| panic!("nothing mounted at {path}: {mounts:#?}"));
    assert!(at("/").options.starts_with("ro"), "{:?}", at("/"));
    assert_eq!(at("/proc").fs_type, "proc");
    assert_eq!(at("/dev").options, "rw,nosuid");
    assert!(at("/dev").super_options.contains("size=65536k"));
    assert_eq!(at("/dev/pts").fs_type, "devpts");
    assert_eq!(at("/dev/shm").options, "rw,nosuid,nodev,noexec,relatime");
    assert_eq!(at("/dev/mqueue").fs_type, "mqueue");
    assert!(at("/sys").options.starts_with("ro"));
    assert_eq!(at("/sys/fs/cgroup").options, "ro,nosuid,nodev,noexec,relatime");
    assert_eq!(at("/sys/fs/cgroup/pids").options, "ro,nosuid,nodev,noexec,relatime");
    assert_eq!((at("/proc/keys").root.as_str(), at("/proc/keys").fs_type.as_str()), ("/null", "tmpfs"));
    assert!(at("/sys/firmware").options.starts_with("ro"));
    assert_eq!(fs::read_dir("/sys/firmware").unwrap().count(), 0);
    assert!(at("/proc/sys").options.starts_with("ro"));
    assert_eq!(fs::write("/proc/sys/kernel/hostname", "x").unwrap_err().raw_os_error(), Some(libc::EROFS));
    let null = fs::metadata("/dev/null").unwrap();
    assert!(null.file_type().is_char_device() && null.rdev() == rustix::fs::makedev(1, 3));
    assert_eq!(null.permissions().mode() & 0o7777, 0o666);
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    assert_eq!(fs::read_link("/dev/stdin").unwrap(), Path::new("/proc/self/fd/0"));
    assert!(mounts.keys().all(|path| !path.contains("coracle")), "the host's mounts are visible");
}

fn empty_image(directory: &Path) -> RootfsPlan {
    default_plan(directory)
}

#[test]
fn default_config_on_an_empty_image_is_complete() {
    container("default_config_on_an_empty_image_is_complete", empty_image, |plan| {
        enter(&plan).unwrap();
        assert_default_container();
    });
}

#[test]
fn default_config_by_moving_the_root_is_complete() {
    container("default_config_by_moving_the_root_is_complete", empty_image, |mut plan| {
        plan.pivot = Pivot::Move;
        enter(&plan).unwrap();
        assert_default_container();
    });
}

/// Makes system calls fail as on a kernel that lacks them.
fn without(calls: &[libc::c_long]) {
    let filter = seccompiler::SeccompFilter::new(
        calls.iter().map(|&call| (call, Vec::new())).collect(),
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(libc::ENOSYS as u32),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
    let probe = sys::mount::mount_setattr(std::io::stdin().as_fd(), false, &sys::mount::MountAttr::default());
    assert_eq!(probe, Err(Errno::ENOSYS));
}

#[test]
fn default_config_on_linux_5_4_is_complete() {
    container("default_config_on_linux_5_4_is_complete", empty_image, |plan| {
        without(&[libc::SYS_openat2, libc::SYS_mount_setattr]);
        enter(&plan).unwrap();
        assert_default_container();
    });
}

#[test]
fn default_config_without_the_mount_api_is_complete() {
    container("default_config_without_the_mount_api_is_complete", empty_image, |plan| {
        let calls = [libc::SYS_open_tree, libc::SYS_move_mount, libc::SYS_fsopen, libc::SYS_fspick];
        without(&[&calls[..], &[libc::SYS_openat2, libc::SYS_mount_setattr]].concat());
        enter(&plan).unwrap();
        assert_default_container();
    });
}
