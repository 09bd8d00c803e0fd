//! What hostile images and configurations that meet them have tried.

use super::*;

#[test]
fn proc_as_a_symlink_is_refused() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("rootfs/elsewhere")).unwrap();
        let _ = symlink("/elsewhere", directory.join("rootfs/proc"));
        default_plan(directory)
    };
    container("attacks::proc_as_a_symlink_is_refused", image, |plan| {
        let error = enter(&plan).unwrap_err();
        assert_eq!(error.raw_errno(), Some(libc::ELOOP), "{error}");
        assert_eq!(error.pointer(), Some("/mounts/0"));
        assert!(error.to_string().contains("must be mounted on ordinary directory"), "{error}");
    });
}

#[test]
fn dev_as_a_symlink_to_the_host_stays_inside() {
    let image = |directory: &Path| {
        // Absolute and by climbing: both name the sentinel directory on the host.
        let sentinel = directory.join("sentinel");
        fs::create_dir_all(&sentinel).unwrap();
        let _ = symlink(&sentinel, directory.join("rootfs/dev"));
        let mut plan = default_plan(directory);
        // Not covered by a tmpfs, so that everything is made where the link leads.
        plan.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
        plan
    };
    container("attacks::dev_as_a_symlink_to_the_host_stays_inside", image, |plan| {
        let sentinel = plan.path.parent().unwrap().join("sentinel");
        enter(&plan).unwrap();
        let inside: Vec<_> = fs::read_dir(&sentinel).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(inside.contains(&OsString::from("null")) && inside.contains(&OsString::from("ptmx")), "{inside:?}");
    });
}

#[test]
fn climbing_symlink_as_destination_stays_inside() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("volume")).unwrap();
        fs::write(directory.join("volume/marker"), "x").unwrap();
        fs::create_dir_all(directory.join("outside")).unwrap();
        let _ = symlink("../../../../../../outside", directory.join("rootfs/up"));
        let _ = symlink(directory.join("outside"), directory.join("rootfs/absolute"));
        // One that exists out there, so that nothing has to be made for it.
        fs::create_dir_all(directory.join("existing/there")).unwrap();
        let _ = symlink(directory.join("existing"), directory.join("rootfs/found"));
        let _ = symlink("dangling/../up/deeper", directory.join("rootfs/chain"));
        let mut plan = bare_plan(directory);
        let volume = directory.join("volume");
        plan.mounts.extend(
            ["/up/a", "/absolute/b", "/chain", "/new/../x/y", "/found/there"].map(|to| bind(&volume, to, true)),
        );
        plan
    };
    container("attacks::climbing_symlink_as_destination_stays_inside", image, |plan| {
        let outside = plan.path.parent().unwrap().join("outside");
        enter(&plan).unwrap();
        for path in ["/outside/a", "/outside/deeper", "/x/y"] {
            assert!(Path::new(path).join("marker").exists(), "{path}: {:#?}", mounts());
        }
        assert!(outside.join("b/marker").exists());
        assert!(plan.path.parent().unwrap().join("existing/there/marker").exists());
    });
}

#[test]
fn null_as_a_symlink_masks_nothing_with_it() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("rootfs/dev")).unwrap();
        let _ = symlink("/proc/sys/kernel/core_pattern", directory.join("rootfs/dev/null"));
        let mut plan = bare_plan(directory);
        plan.masked_paths = vec![PathBuf::from("/proc/keys")];
        plan
    };
    container("attacks::null_as_a_symlink_masks_nothing_with_it", image, |plan| {
        let error = enter(&plan).unwrap_err();
        assert!(error.to_string().contains("is not the character device 1:3"), "{error}");
        assert_eq!(error.pointer(), Some("/linux/maskedPaths/0"));
    });
}

#[test]
fn existing_file_at_a_device_is_refused() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("rootfs/dev")).unwrap();
        fs::write(directory.join("rootfs/dev/null"), "").unwrap();
        let mut plan = bare_plan(directory);
        plan.devices = vec![DevicePlan { index: Some(3), ..device("/dev/null", 1, 3) }];
        plan
    };
    container("attacks::existing_file_at_a_device_is_refused", image, |plan| {
        let error = enter(&plan).unwrap_err();
        assert_eq!((error.raw_errno(), error.pointer()), (Some(libc::EEXIST), Some("/linux/devices/3")));
    });
}

#[test]
fn bind_of_a_file_over_a_directory_says_so() {
    let image = |directory: &Path| {
        fs::write(directory.join("file"), "").unwrap();
        fs::create_dir_all(directory.join("rootfs/there")).unwrap();
        let mut plan = bare_plan(directory);
        plan.mounts.push(bind(&directory.join("file"), "/there", false));
        plan
    };
    container("attacks::bind_of_a_file_over_a_directory_says_so", image, |plan| {
        let error = enter(&plan).unwrap_err().to_string();
        assert!(error.contains("not a directory"), "{error}");
    });
}

#[test]
fn cwd_outside_of_the_root_is_refused() {
    container("attacks::cwd_outside_of_the_root_is_refused", empty_image, |plan| {
        let host = rustix::fs::openat(CWD, "/", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        enter(&plan).unwrap();
        verify_cwd().unwrap();
        rustix::process::fchdir(&host).unwrap();
        assert_eq!(verify_cwd().unwrap_err().raw_errno(), Some(libc::ENOENT));
    });
}

#[test]
fn ptmx_of_the_image_is_no_terminal() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("rootfs/dev/pts")).unwrap();
        let _ = symlink("/proc/version", directory.join("rootfs/dev/pts/ptmx"));
        bare_plan(directory)
    };
    container("attacks::ptmx_of_the_image_is_no_terminal", image, |plan| {
        let mut sources = Sources::default();
        let mut root = prepare(&plan, &mut sources).unwrap();
        let _unsealed = mount::mount_all(&plan, &mut root, &mut sources, None).unwrap();
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let error = super::super::super::console::make(&root, None, 0, theirs.as_fd()).unwrap_err();
        assert!(error.to_string().contains("is not the character device 5:2"), "{error}");
    });
}

#[test]
fn write_through_an_overmounted_proc_reaches_the_real_one() {
    container("attacks::write_through_an_overmounted_proc_reaches_the_real_one", empty_image, |mut plan| {
        plan.mounts.push(new("tmpfs", "/proc/sys", 0, &[]));
        plan.readonly_paths.clear();
        enter(&plan).unwrap();
        let procfs = crate::fs::Procfs::open().unwrap();
        procfs.write(c"sys/kernel/hostname", b"inside").unwrap();
        assert_eq!(nix::unistd::gethostname().unwrap(), "inside");
        assert!(!Path::new("/proc/sys/kernel").exists());
    });
}
