//! Masked and read-only paths in procfs, which are mounted on by their names.

use super::*;

/// Everything here is at one of the names.
fn masking(directory: &Path, masked: &[&str], read_only: &[&str]) -> RootfsPlan {
    RootfsPlan {
        mounts: vec![new("proc", "/proc", 0, &[]), new("tmpfs", "/dev", NOSUID, &[])],
        devices: vec![device("/dev/null", 1, 3)],
        masked_paths: masked.iter().map(PathBuf::from).collect(),
        readonly_paths: read_only.iter().map(PathBuf::from).collect(),
        ..bare_plan(directory)
    }
}

fn is_null(path: &str) -> bool {
    fs::metadata(path).unwrap().rdev() == rustix::fs::makedev(1, 3)
}

#[test]
fn what_entries_mount_over_names_is_covered() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("volume/marker")).unwrap();
        fs::write(directory.join("file"), "secret").unwrap();
        // The first directory comes after a file and before one that is not in procfs; one is covered twice.
        let masked = ["/proc/keys", "/proc/acpi", "/proc/no", "/proc/fs", "/outside", "/proc/fs", "/proc/./scsi/"];
        let mut plan = masking(directory, &masked, &["/proc/bus", "/proc/irq", "/proc/sys/../keys"]);
        let _ = symlink("/proc", directory.join("rootfs/link"));
        plan.mounts.extend([
            bind(&directory.join("file"), "/link/keys", false),
            bind(&directory.join("volume"), "/link/acpi", true),
            new("tmpfs", "/link/bus", NOSUID | NOEXEC, &[]),
            bind(&directory.join("volume"), "/outside", false),
        ]);
        plan
    };
    container("covers::what_entries_mount_over_names_is_covered", image, |plan| {
        enter(&plan).unwrap();
        let mounts = mounts();
        assert!(is_null("/proc/keys"));
        for covered in ["/proc/acpi", "/proc/fs", "/outside"] {
            assert_eq!(fs::read_dir(covered).unwrap().count(), 0, "{covered}");
            let mounted = &mounts[covered];
            assert_eq!(mounted.fs_type, "tmpfs");
            assert_eq!(mounted.options, "ro,nosuid,nodev,noexec,relatime", "{covered}");
        }
        // The flags that a mount has stay.
        assert_eq!(mounts["/proc/bus"].options, "ro,nosuid,noexec,relatime");
        assert_eq!(mounts["/proc/irq"].options, "ro,relatime");
    });
}

#[test]
fn names_that_an_image_made_are_followed_inside_only() {
    let image = |directory: &Path| {
        let proc = directory.join("rootfs/proc");
        fs::create_dir_all(proc.join("acpi/marker")).unwrap();
        fs::create_dir_all(directory.join("rootfs/etc")).unwrap();
        fs::write(directory.join("rootfs/etc/inside"), "").unwrap();
        let _ = symlink("/etc/inside", proc.join("keys"));
        let _ = symlink("/etc", proc.join("sys"));
        let mut plan = masking(directory, &["/proc/keys", "/proc/acpi", "/proc/kcore"], &["/proc/sys"]);
        plan.mounts.remove(0);
        plan
    };
    container("covers::names_that_an_image_made_are_followed_inside_only", image, |plan| {
        enter(&plan).unwrap();
        assert!(is_null("/etc/inside"));
        assert_eq!(fs::write("/etc/new", "").unwrap_err().raw_os_error(), Some(libc::EROFS));
        assert_eq!(fs::read_dir("/proc/acpi").unwrap().count(), 0);
    });
}

#[test]
fn false_null_covers_no_name() {
    let image = |directory: &Path| {
        let mut plan = masking(directory, &["/proc/asound", "/proc/keys"], &[]);
        plan.devices = vec![device("/dev/null", 1, 5)];
        plan
    };
    container("covers::false_null_covers_no_name", image, |plan| {
        let error = enter(&plan).unwrap_err();
        assert!(error.to_string().contains("/dev/null of the container is not the character device 1:3"), "{error}");
        assert_eq!(error.pointer(), Some("/linux/maskedPaths/1"));
    });
}

/// The descriptor of the null device is not looked for where an image or a volume may have put links: they would be followed
/// from the host's root.
#[test]
fn volume_over_descriptors_leads_nowhere() {
    let image = |directory: &Path| {
        let links = directory.join("links");
        fs::create_dir_all(&links).unwrap();
        for number in 0..100 {
            let _ = symlink(directory.join("secret"), links.join(number.to_string()));
        }
        nix::sys::stat::mknod(
            &directory.join("secret"),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::S_IRWXU,
            rustix::fs::makedev(1, 3),
        )
        .or_else(|errno| if errno == Errno::EEXIST { Ok(()) } else { Err(errno) })
        .unwrap();
        let _ = symlink("/proc/self/fd", directory.join("rootfs/fds"));
        let mut plan = masking(directory, &["/proc/keys", "/proc/timer_list"], &[]);
        plan.mounts.insert(1, bind(&links, "/fds", true));
        plan
    };
    container("covers::volume_over_descriptors_leads_nowhere", image, |plan| {
        let secret = fs::metadata(plan.path.parent().unwrap().join("secret")).unwrap();
        enter(&plan).unwrap();
        for path in ["/proc/keys", "/proc/timer_list"] {
            let covered = fs::metadata(path).unwrap();
            assert!(is_null(path));
            assert_ne!((covered.dev(), covered.ino()), (secret.dev(), secret.ino()), "{path}");
        }
    });
}

/// A file over a name that is deleted before it is covered is no name that is not there.
#[test]
fn deleted_file_over_a_name_is_not_passed_over() {
    let image = |directory: &Path| {
        let _ = fs::write(directory.join("file"), "");
        let mut plan = masking(directory, &["/proc/keys"], &[]);
        plan.mounts.push(bind(&directory.join("file"), "/proc/keys", false));
        plan
    };
    container("covers::deleted_file_over_a_name_is_not_passed_over", image, |plan| {
        let mut sources = Sources::open(&plan).unwrap();
        let mut root = prepare(&plan, &mut sources).unwrap();
        let _unsealed = mount::mount_all(&plan, &mut root, &mut sources, None).unwrap();
        devices::make_all(&plan, &root).unwrap();
        fs::remove_file(plan.path.parent().unwrap().join("file")).unwrap();
        let error = masks::apply(&plan, &root, false).unwrap_err();
        assert_eq!((error.raw_errno(), error.pointer()), (Some(libc::ENOENT), Some("/linux/maskedPaths/0")));
    });
}

/// A link that an entry mounts on a name leads to what the container means by it.
#[test]
fn link_over_a_name_is_followed_inside_only() {
    let image = |directory: &Path| {
        let _ = symlink("/etc/inside", directory.join("link"));
        fs::create_dir_all(directory.join("rootfs/etc")).unwrap();
        fs::write(directory.join("rootfs/etc/inside"), "").unwrap();
        let mut plan = masking(directory, &["/proc/keys"], &[]);
        plan.mounts.push(MountPlan { source_nofollow: true, ..bind(&directory.join("link"), "/proc/keys", false) });
        plan
    };
    container("covers::link_over_a_name_is_followed_inside_only", image, |plan| {
        enter(&plan).unwrap();
        assert!(is_null("/etc/inside"));
    });
}

/// What is shared from the beginning is read-only in the copies too.
#[test]
fn copies_of_a_shared_procfs_are_read_only() {
    let image = |directory: &Path| {
        let mut plan = masking(directory, &[], &["/proc/sys"]);
        plan.mounts[0].propagation = vec![libc::MS_SHARED];
        plan.mounts.push(bind(&directory.join("rootfs/proc"), "/copy", true));
        plan
    };
    container("covers::copies_of_a_shared_procfs_are_read_only", image, |plan| {
        enter(&plan).unwrap();
        for path in ["/proc/sys", "/copy/sys"] {
            assert_eq!(mounts()[path].options.split(',').next(), Some("ro"), "{path}");
        }
    });
}
