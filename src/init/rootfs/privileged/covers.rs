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
        plan.mounts.extend([
            bind(&directory.join("file"), "/proc/keys", false),
            bind(&directory.join("volume"), "/proc/acpi", true),
            new("tmpfs", "/proc/bus", NOSUID | NOEXEC, &[]),
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
