//! Kinds of entries, devices and the terminal.

use super::*;

#[test]
fn device_with_owner_and_mode_has_them() {
    container("entries::device_with_owner_and_mode_has_them", bare_plan, |mut plan| {
        let wanted = DevicePlan { mode: 0o4620, uid: 7, gid: 8, ..device("/a/b/fuse", 10, 229) };
        let fifo = DevicePlan { kind: DeviceKind::Fifo, ..device("/a/fifo", 0, 0) };
        // The second time it is there already and gets the other permissions.
        plan.devices = vec![wanted, fifo, DevicePlan { mode: 0o600, ..device("/a/b/again", 1, 5) }];
        plan.devices.push(device("/a/b/again", 1, 5));
        enter(&plan).unwrap();
        let fuse = fs::metadata("/a/b/fuse").unwrap();
        assert_eq!((fuse.uid(), fuse.gid(), fuse.rdev()), (7, 8, rustix::fs::makedev(10, 229)));
        assert_eq!(fuse.permissions().mode() & 0o777, 0o620);
        assert!(fs::metadata("/a/fifo").unwrap().file_type().is_fifo());
        assert_eq!(fs::metadata("/a/b/again").unwrap().permissions().mode() & 0o777, 0o666);
    });
}

#[test]
fn devices_by_bind_are_the_host_s() {
    container("entries::devices_by_bind_are_the_host_s", empty_image, |mut plan| {
        plan.bind_devices = true;
        enter(&plan).unwrap();
        assert_eq!(mounts()["/dev/null"].root, "/null");
        assert!(fs::metadata("/dev/zero").unwrap().rdev() == rustix::fs::makedev(1, 5));
    });
}

#[test]
fn missing_source_names_it() {
    container("entries::missing_source_names_it", bare_plan, |mut plan| {
        plan.mounts.push(bind(Path::new("/no/such/source"), "/x", false));
        let error = enter(&plan).unwrap_err();
        assert_eq!(error.raw_errno(), Some(libc::ENOENT));
        assert!(error.to_string().contains("/no/such/source"), "{error}");
    });
}

#[test]
fn bad_parameter_repeats_the_kernel_s_words() {
    container("entries::bad_parameter_repeats_the_kernel_s_words", bare_plan, |mut plan| {
        plan.mounts.push(new("tmpfs", "/x", 0, &["size=lots"]));
        let error = enter(&plan).unwrap_err().to_string();
        assert!(error.contains("mount tmpfs at /x") && error.contains("Bad value for 'size'"), "{error}");
    });
}

#[test]
fn bind_options_are_set_and_the_rest_kept() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("volume")).unwrap();
        bare_plan(directory)
    };
    container("entries::bind_options_are_set_and_the_rest_kept", image, |mut plan| {
        let volume = plan.path.parent().unwrap().join("volume");
        plan.mounts.push(new("tmpfs", "/t", NODEV, &[]));
        plan.mounts.push(MountPlan { attr_set: RDONLY | NOSUID, ..bind(&volume, "/v", true) });
        let recursive = libc::MS_SHARED | libc::MS_REC;
        plan.mounts.push(MountPlan {
            recursive_attr_set: RDONLY,
            propagation: vec![recursive],
            ..bind(&volume, "/r", true)
        });
        let remount = entry("/t", MountSource::Remount { bind: true }, RDONLY, &[]);
        plan.mounts.push(remount);
        enter(&plan).unwrap();
        let mounts = mounts();
        assert_eq!(mounts["/v"].options, "ro,nosuid,relatime");
        assert!(mounts["/v"].tags.contains("master:") && !mounts["/v"].tags.contains("shared:"));
        assert!(mounts["/r"].tags.contains("shared:") && mounts["/r"].options.starts_with("ro"));
        assert_eq!(mounts["/t"].options, "ro,nodev,relatime");
    });
}

#[test]
fn shared_root_keeps_volumes_peers_and_itself_apart() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("volume")).unwrap();
        let mut plan = bare_plan(directory);
        plan.propagation = libc::MS_SHARED;
        plan.propagation_configured = true;
        let volume = directory.join("volume");
        plan.mounts.push(MountPlan { propagation: vec![libc::MS_SHARED], ..bind(&volume, "/v", true) });
        plan.mounts.push(MountPlan { propagation: vec![libc::MS_PRIVATE], ..bind(&volume, "/p", true) });
        plan
    };
    container("entries::shared_root_keeps_volumes_peers_and_itself_apart", image, |plan| {
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        enter(&plan).unwrap();
        let mounts = mounts();
        let peers = |tags: &str| tags.split(' ').find_map(|tag| tag.strip_prefix("shared:").map(str::to_owned));
        let group = peers(&mounts["/v"].tags).unwrap();
        assert!(host.contains(&format!(" shared:{group} ")), "a volume is no peer of the host: {mounts:#?}");
        let own = peers(&mounts["/"].tags).unwrap();
        assert!(!host.contains(&format!(" shared:{own} ")), "the root is a peer of the host: {mounts:#?}");
        assert_eq!(mounts["/p"].tags, "");
    });
}

#[test]
fn tmpfs_without_a_mode_takes_the_directory_s() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("rootfs/there")).unwrap();
        fs::set_permissions(directory.join("rootfs/there"), PermissionsExt::from_mode(0o711)).unwrap();
        let mut plan = bare_plan(directory);
        plan.mounts.extend([new("tmpfs", "/there", 0, &[]), new("tmpfs", "/fresh", 0, &[])]);
        plan
    };
    container("entries::tmpfs_without_a_mode_takes_the_directory_s", image, |plan| {
        enter(&plan).unwrap();
        assert_eq!(fs::metadata("/there").unwrap().permissions().mode() & 0o7777, 0o711);
        assert_eq!(fs::metadata("/fresh").unwrap().permissions().mode() & 0o7777, 0o1777);
    });
}

#[test]
fn usual_filesystems_by_two_calls_are_those_of_the_general_way() {
    container("entries::usual_filesystems_by_two_calls_are_those_of_the_general_way", bare_plan, |mut plan| {
        let quiet = NOSUID | NODEV | NOEXEC;
        let tmpfs = &["mode=1777", "size=65536k"];
        let devpts = &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
        let entries = |top: &str| {
            let at = |name: &str| format!("{top}/{name}");
            let sysfs = MountPlan { super_flags: libc::MS_RDONLY, ..new("sysfs", &at("sys"), RDONLY | quiet, &[]) };
            [
                new("proc", &at("proc"), 0, &[]),
                new("tmpfs", &at("dev"), NOSUID | STRICTATIME, tmpfs),
                new("devpts", &at("pts"), NOSUID | NOEXEC, devpts),
                new("mqueue", &at("mqueue"), quiet, &[]),
                sysfs,
            ]
        };
        plan.mounts.extend(entries("/short"));
        // What changes the propagation goes the general way.
        let private = |mount| MountPlan { propagation: vec![libc::MS_PRIVATE], ..mount };
        plan.mounts.extend(entries("/long").map(private));
        enter(&plan).unwrap();
        let mounts = mounts();
        let seen = |path: String| {
            let mounted = &mounts[&path];
            (&mounted.root, &mounted.options, &mounted.fs_type, &mounted.super_options)
        };
        for name in ["proc", "dev", "pts", "mqueue", "sys"] {
            assert_eq!(seen(format!("/short/{name}")), seen(format!("/long/{name}")), "{name}");
        }
    });
}

#[test]
fn copy_up_brings_the_image_s_content() {
    let image = |directory: &Path| {
        let from = directory.join("rootfs/data");
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("sub/file"), "content").unwrap();
        fs::set_permissions(from.join("sub/file"), PermissionsExt::from_mode(0o4750)).unwrap();
        std::os::unix::fs::chown(from.join("sub"), Some(11), Some(12)).unwrap();
        let _ = symlink("/etc/passwd", from.join("link"));
        let mut plan = bare_plan(directory);
        plan.mounts.push(MountPlan { copy_up: true, ..new("tmpfs", "/data", RDONLY | NODEV, &[]) });
        plan
    };
    container("entries::copy_up_brings_the_image_s_content", image, |plan| {
        enter(&plan).unwrap();
        assert_eq!(fs::read_to_string("/data/sub/file").unwrap(), "content");
        assert_eq!(fs::metadata("/data/sub/file").unwrap().permissions().mode() & 0o7777, 0o4750);
        let sub = fs::metadata("/data/sub").unwrap();
        assert_eq!((sub.uid(), sub.gid()), (11, 12));
        assert_eq!(fs::read_link("/data/link").unwrap(), Path::new("/etc/passwd"));
        let mounts = mounts();
        assert_eq!(
            (mounts["/data"].fs_type.as_str(), mounts["/data"].options.as_str()),
            ("tmpfs", "ro,nodev,relatime")
        );
    });
}

#[test]
fn idmapped_bind_shows_mapped_owners() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("volume")).unwrap();
        let mut plan = bare_plan(directory);
        let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 65536 }];
        let idmap = IdmapPlan { recursive: false, uid_mappings: map(100_000), gid_mappings: map(200_000) };
        plan.mounts.push(MountPlan { idmap: Some(idmap), ..bind(&directory.join("volume"), "/v", false) });
        plan
    };
    container("entries::idmapped_bind_shows_mapped_owners", image, |plan| {
        enter(&plan).unwrap();
        let volume = fs::metadata("/v").unwrap();
        assert_eq!((volume.uid(), volume.gid()), (100_000, 200_000));
    });
}

#[test]
fn user_namespace_gets_what_it_cannot_reach_or_mount() {
    let image = |directory: &Path| {
        let hidden = directory.join("hidden");
        fs::create_dir_all(hidden.join("volume/marker")).unwrap();
        std::os::unix::fs::chown(&hidden, Some(1000), Some(1000)).unwrap();
        fs::set_permissions(&hidden, PermissionsExt::from_mode(0o700)).unwrap();
        let mut plan = default_plan(directory);
        plan.mounts.retain(|mount| mount.destination != Path::new("/dev/mqueue"));
        plan.mounts.iter_mut().for_each(|mount| mount.data.retain(|word| word != "gid=5"));
        plan.mounts.push(bind(&hidden.join("volume"), "/v", false));
        plan.bind_devices = true;
        plan.uid_mappings = vec![IdMapping { container_id: 0, host_id: 0, size: 1 }];
        plan.gid_mappings = plan.uid_mappings.clone();
        plan
    };
    // No pid, network or IPC namespace: procfs, sysfs and mqueue are the host's.
    container_in("entries::user_namespace_gets_what_it_cannot_reach_or_mount", &["--mount"], image, |plan| {
        let mut sources = Sources::open(&plan).unwrap();
        let cgroups = CgroupView::read().unwrap();
        assert!(sys::userns::run_inside(|| {
            fs::write("/proc/self/setgroups", "deny").unwrap();
            fs::write("/proc/self/uid_map", "0 0 1").unwrap();
            fs::write("/proc/self/gid_map", "0 0 1").unwrap();
            let mut root = prepare(&plan, &mut sources).unwrap();
            let _unsealed = mount::mount_all(&plan, &mut root, &mut sources, Some(&cgroups)).unwrap();
            devices::make_all(&plan, &root).unwrap();
            masks::apply(&plan, &root, false).unwrap();
            seal(&plan, &root).unwrap();
            pivot::enter(root, plan.pivot).unwrap();
            let mounts = mounts();
            assert!(Path::new("/v/marker").is_dir());
            assert!(mounts["/sys"].options.starts_with("ro"));
            assert!(mounts["/sys/fs/cgroup"].options.starts_with("ro"));
            assert!(mounts["/sys/fs/cgroup/pids"].options.starts_with("ro"));
            assert_eq!(mounts["/dev/null"].root, "/null");
            assert_eq!((mounts["/proc"].fs_type.as_str(), mounts["/dev/pts"].fs_type.as_str()), ("proc", "devpts"));
            assert_eq!(fs::read_dir("/sys/firmware").unwrap().count(), 0);
        }));
    });
}

#[test]
fn copy_symlink_recreates_the_link() {
    let image = |directory: &Path| {
        let _ = symlink("/somewhere", directory.join("link"));
        let mut plan = bare_plan(directory);
        plan.mounts.push(MountPlan { copy_symlink: true, ..bind(&directory.join("link"), "/a/link", false) });
        plan.mounts.push(MountPlan { source_nofollow: true, ..bind(&directory.join("link"), "/a/mounted", false) });
        plan
    };
    container("entries::copy_symlink_recreates_the_link", image, |plan| {
        enter(&plan).unwrap();
        assert_eq!(fs::read_link("/a/link").unwrap(), Path::new("/somewhere"));
        assert!(!mounts().contains_key("/a/link"));
        assert_eq!(mounts()["/a/mounted"].root.rsplit('/').next(), Some("link"));
    });
}

#[test]
fn root_mount_replaces_the_root() {
    let image = |directory: &Path| {
        fs::create_dir_all(directory.join("other/marker")).unwrap();
        let mut plan = bare_plan(directory);
        plan.mounts.insert(0, bind(&directory.join("other"), "/", true));
        plan
    };
    container("entries::root_mount_replaces_the_root", image, |plan| {
        enter(&plan).unwrap();
        assert!(Path::new("/marker").is_dir());
        assert_eq!(mounts()["/proc"].fs_type, "proc");
    });
}

#[test]
fn host_root_as_rootfs_works() {
    container("entries::host_root_as_rootfs_works", bare_plan, |mut plan| {
        plan.path = PathBuf::from("/");
        plan.mounts = Vec::new();
        enter(&plan).unwrap();
        assert!(Path::new("/proc/self/mountinfo").exists());
    });
}

#[test]
fn terminal_comes_from_the_container_s_devpts() {
    container("entries::terminal_comes_from_the_container_s_devpts", empty_image, |mut plan| {
        plan.readonly = false;
        let mut sources = Sources::default();
        let mut root = prepare(&plan, &mut sources).unwrap();
        let cgroups = CgroupView::read().unwrap();
        let _unsealed = mount::mount_all(&plan, &mut root, &mut sources, Some(&cgroups)).unwrap();
        devices::make_all(&plan, &root).unwrap();
        rustix::process::setsid().unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        super::super::super::console::make(&root, Some((24, 80)), 0, theirs.as_fd()).unwrap();
        pivot::enter(root, plan.pivot).unwrap();
        let mounts = mounts();
        assert_eq!((mounts["/dev/console"].fs_type.as_str(), mounts["/dev/console"].root.as_str()), ("devpts", "/0"));
        assert_eq!(fs::read_link("/proc/self/fd/0").unwrap(), Path::new("/dev/pts/0"));
        fs::write("/dev/tty", "").unwrap();
        let mut buffer = [0; 16];
        let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let message = nix::sys::socket::recvmsg::<()>(
            std::os::fd::AsRawFd::as_raw_fd(&ours),
            &mut slices,
            Some(&mut space),
            nix::sys::socket::MsgFlags::empty(),
        )
        .unwrap();
        let rights = message.cmsgs().unwrap().next();
        assert!(matches!(rights, Some(nix::sys::socket::ControlMessageOwned::ScmRights(fds)) if fds.len() == 1));
    });
}
