//! Root file systems of all kinds, what is mounted into them, and the devices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use harness::{Bundle, ConsoleSocket, Lab, Mounted, args, json, mount_at, own_mounts, own_table, parse_mounts};
use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::Value;

fn add(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

fn user_namespace(config: &mut Value, first: u32) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": first, "size": 65_536}]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
}

/// Mount table lines in what a container printed.
fn table(text: &str) -> String {
    text.lines().filter(|line| line.contains(" - ")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn root_on_overlayfs_is_written_to_its_upper_directory() {
    let lab = Lab::new();
    own_mounts();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "echo inside >/made; cat /etc/group | wc -l; rm /etc/group"]));
    let tmpfs = Mounted::new("tmpfs", &lab.path("layers"), MsFlags::empty(), "");
    let layer = |name: &str| lab.path("layers").join(name);
    for name in ["upper", "work"] {
        fs::create_dir(layer(name)).unwrap();
    }
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        bundle.root("").display(),
        layer("upper").display(),
        layer("work").display()
    );
    let merged = lab.path("merged");
    let overlay = Mounted::new("overlay", &merged, MsFlags::empty(), &data);
    let mut config = bundle.config.clone();
    config["root"]["path"] = json!(merged);
    bundle.write_config(&config.to_string());
    assert_eq!(lab.run(&bundle).ok().stdout, "3\n");
    assert_eq!(fs::read_to_string(layer("upper/made")).unwrap(), "inside\n");
    assert!(fs::symlink_metadata(layer("upper/etc/group")).unwrap().file_type().is_char_device(), "no whiteout");
    assert!(bundle.root("etc/group").exists());
    drop((overlay, tmpfs));
}

#[test]
fn root_on_a_read_only_file_system_works_if_mountpoints_are_there() {
    let lab = Lab::new();
    own_mounts();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "touch /x 2>&1; echo >/dev/null; echo fine"]));
    let root = bundle.root("");
    let bound = Mounted::bind(&root, &root);
    bound.remount(MsFlags::MS_RDONLY);
    assert_eq!(lab.run(&bundle).ok().stdout, "touch: /x: Read-only file system\nfine\n");
    let mut config = bundle.config.clone();
    add(&mut config, json!({"destination": "/missing", "type": "tmpfs", "source": "tmpfs"}));
    bundle.write_config(&config.to_string());
    let at = format!("/mounts/{}", config["mounts"].as_array().unwrap().len() - 1);
    lab.run(&bundle).fails(1, "EROFS").at(&at);
}

#[test]
fn root_path_that_ends_in_a_link_is_followed() {
    for own_users in [false, true] {
        let lab = Lab::new();
        own_mounts();
        let before = own_table();
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "echo inside >/made"]);
            if own_users {
                user_namespace(c, 100_000);
            }
        });
        lab.give(&bundle.root(""), if own_users { 100_000 } else { 0 });
        let (link, image) = (bundle.path.join("rootfs"), bundle.path.join("image"));
        fs::rename(&link, &image).unwrap();
        std::os::unix::fs::symlink("image", &link).unwrap();
        lab.run(&bundle).ok();
        assert_eq!(fs::read_to_string(image.join("made")).unwrap(), "inside\n");
        assert_eq!(own_table(), before);
    }
}

/// Engines want /dev and /run so, and put files and mountpoints of their own there.
#[test]
fn read_only_tmpfs_has_all_that_belongs_into_it() {
    for own_users in [false, true] {
        let lab = Lab::new();
        let volume = lab.path("volume");
        fs::create_dir(&volume).unwrap();
        let tmpfs = |to: &str, option: &str| json!({"destination": to, "type": "tmpfs", "source": "tmpfs", "options": [option, "mode=755"]});
        let bundle = lab.bundle(|c| {
            let script = "pwd; cat /dev/null && touch /dev/x /run/x /run/work/x /other/x 2>&1; tty; cat /proc/self/mountinfo; echo all";
            args(c, &["sh", "-c", script]);
            c["process"]["terminal"] = json!(true);
            c["process"]["cwd"] = json!("/run/work");
            let mounts = c["mounts"].as_array_mut().unwrap();
            let dev = mounts.iter_mut().find(|mount| mount["destination"] == "/dev").unwrap();
            dev["options"].as_array_mut().unwrap().push(json!("ro"));
            add(c, tmpfs("/run", "ro"));
            add(c, json!({"destination": "/run/secrets", "source": volume, "options": ["bind"]}));
            // A later entry may make it writable after all.
            add(c, tmpfs("/other", "rro"));
            add(c, json!({"destination": "/other", "options": ["remount", "bind", "rw"]}));
            if own_users {
                user_namespace(c, 100_000);
            }
        });
        lab.give(&bundle.root(""), 100_000);
        let socket = ConsoleSocket::new(&lab);
        let words = ["run", "--bundle", bundle.str(), "--console-socket", socket.str(), "--detach", &lab.id()];
        lab.cmd(&words).output().ok();
        let text = socket.terminal().read_until("\nall").replace('\r', "");
        let rest: Vec<&str> = text.lines().take_while(|line| !line.contains(" - ")).collect();
        let refused = |file: &str| format!("touch: {file}: Read-only file system");
        assert_eq!(
            rest,
            ["/run/work", &refused("/dev/x"), &refused("/run/x"), &refused("/run/work/x"), "/dev/pts/0"],
            "{text}"
        );
        for (point, options) in [("/dev", "ro,"), ("/run", "ro,"), ("/run/secrets", "rw,"), ("/other", "rw,")] {
            assert!(mount_at(&table(&text), point).options.starts_with(options), "{point}: {text}");
        }
    }
}

#[test]
fn root_on_an_idmapped_mount_shows_and_stores_mapped_owners() {
    let lab = Lab::new();
    let mapped = lab.path("mapped");
    fs::create_dir(&mapped).unwrap();
    // The owner of the image on disk is root of the container, though its ids are others on the host.
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "stat -c %u:%g /etc/passwd; echo x >/made; stat -c %u:%g /made; cat /proc/self/uid_map"]);
        c["root"]["path"] = json!(mapped);
        user_namespace(c, 100_000);
    });
    // Somebody has to make such a mount: a container that has the host's files and lives in a mount namespace of its own.
    let maker = lab.start(&lab.bundle(|c| {
        args(c, &["/bin/busybox", "sleep", "1000"]);
        c["root"]["path"] = json!("/");
        c["linux"]["namespaces"] = json!([{"type": "mount"}]);
        c.as_object_mut().unwrap().remove("hostname");
        for list in ["maskedPaths", "readonlyPaths"] {
            c["linux"][list] = json!([]);
        }
        let idmap = "idmap=uids=0-100000-65536;gids=0-100000-65536";
        c["mounts"] = json!([
            {"destination": "/dev", "source": "/dev", "options": ["rbind"]},
            {"destination": mapped, "source": bundle.root(""), "options": ["bind", idmap]},
        ]);
    }));
    let enter = format!("set -- nsenter --mount=/proc/{}/ns/mnt -- \"$@\"", maker.pid());
    let done = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).after(&enter).output().ok();
    let words: Vec<&str> = done.stdout.split_whitespace().collect();
    assert_eq!(words, ["0:0", "0:0", "0", "100000", "65536"]);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(bundle.root("made")).unwrap()), 0);
}

#[test]
fn root_of_the_host_as_root_is_left_as_it_was() {
    let lab = Lab::new();
    own_mounts();
    let before = own_table();
    let script = format!("cat /proc/self/mountinfo; test -e {} && echo there", lab.dir.display());
    let bundle = lab.bundle(|c| {
        args(c, &["/bin/busybox", "sh", "-c", &script]);
        c["root"] = json!({"path": "/", "readonly": true});
    });
    let text = lab.run(&bundle).ok().stdout;
    assert!(text.ends_with("there\n"), "{text}");
    assert!(mount_at(&table(&text), "/").options.starts_with("ro"), "{text}");
    assert_eq!(mount_at(&table(&text), "/proc").fs_type, "proc");
    assert_eq!(own_table(), before);
}

/// In the host's network namespace sysfs is the host's own instance: `ro` is for the container's mount of it.
#[test]
fn sysfs_read_only_beside_the_host_s_leaves_that_writable() {
    let lab = Lab::new();
    own_mounts();
    let before = own_table();
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
    });
    let container = lab.run(&bundle).ok().stdout;
    assert!(mount_at(&container, "/sys").options.starts_with("ro"), "{container}");
    assert_eq!(own_table(), before);
}

/// What a container sees of control groups: all that it is in, at its own group, read-only.
#[test]
fn cgroups_are_seen_with_and_without_a_namespace() {
    for namespace in [false, true] {
        let lab = Lab::new();
        let script = "cat /proc/self/mountinfo; echo; cat /proc/self/cgroup; echo; for f in /sys/fs/cgroup/*/cgroup.procs \
                      /sys/fs/cgroup/cgroup.procs; do test -e $f && echo $f $(grep -c '^1$' $f); done; \
                      mkdir /sys/fs/cgroup/pids/x 2>&1 | grep -c Read-only";
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", script]);
            if namespace {
                c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
            }
        });
        let text = lab.run(&bundle).ok().stdout;
        let mounts: Vec<_> =
            parse_mounts(&table(&text)).into_iter().filter(|line| line.point.starts_with("/sys/fs/cgroup")).collect();
        let groups: Vec<&str> =
            text.lines().filter(|line| line.split(':').count() == 3 && !line.contains(" - ")).collect();
        let hierarchies = groups.iter().filter(|line| !line.starts_with("0::")).count();
        // A tmpfs and one mount for each hierarchy, or cgroup2 alone.
        assert!(mounts.len() > hierarchies, "{text}");
        for line in &mounts {
            assert!(line.options.starts_with("ro,nosuid,nodev,noexec"), "{line:?}");
            if line.fs_type.starts_with("cgroup") {
                let shown = if namespace { line.root == "/" } else { line.root.contains(&lab.tag) };
                assert!(shown, "{line:?}");
            }
        }
        let members: Vec<&str> = text.lines().filter(|line| line.contains("/cgroup.procs ")).collect();
        assert!(members.len() >= mounts.len() - 1 && members.iter().all(|line| line.ends_with(" 1")), "{members:?}");
        assert!(text.ends_with("\n1\n"), "a cgroup is writable: {text}");
    }
}

#[test]
fn dev_as_a_bind_mount_of_the_user_is_left_alone() {
    let lab = Lab::new();
    let devices = lab.path("dev");
    fs::create_dir(&devices).unwrap();
    mknod(&devices.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).unwrap();
    fs::write(devices.join("own"), "").unwrap();
    let bundle = lab.bundle(|c| {
        args(c, &["ls", "/dev"]);
        c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
        add(c, json!({"destination": "/dev", "source": devices, "options": ["rbind"]}));
    });
    assert_eq!(lab.run(&bundle).ok().stdout, "null\nown\n");
    assert_eq!(fs::read_dir(&devices).unwrap().count(), 2);
}

#[test]
fn console_is_the_terminal_of_the_container() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        let script = "stat -c '%t %T' /dev/console /dev/pts/0; tty; ls /dev/pts; readlink /dev/ptmx; cat /proc/self/mountinfo; echo all";
        args(c, &["sh", "-c", script]);
        c["process"]["terminal"] = json!(true);
    });
    // The image's own /dev/console is covered, whatever it is.
    let socket = ConsoleSocket::new(&lab);
    let words = ["run", "--bundle", bundle.str(), "--console-socket", socket.str(), "--detach", &lab.id()];
    lab.cmd(&words).output().ok();
    let text = socket.terminal().read_until("\nall").replace('\r', "");
    let words: Vec<&str> = text.split_whitespace().take(8).collect();
    assert_eq!(words, ["88", "0", "88", "0", "/dev/pts/0", "0", "ptmx", "pts/ptmx"], "{text}");
    let console = mount_at(&table(&text), "/dev/console");
    assert_eq!((console.fs_type.as_str(), console.root.as_str()), ("devpts", "/0"));
}

#[test]
fn devices_of_every_type_have_their_owner_and_mode() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "stat -c '%F %t:%T %a %u:%g' /dev/c /dev/u /dev/b /dev/p /opt/deep/null"]);
        c["linux"]["devices"] = json!([
            {"path": "/dev/c", "type": "c", "major": 1, "minor": 5, "fileMode": 0o620, "uid": 3, "gid": 4},
            {"path": "/dev/u", "type": "u", "major": 1, "minor": 5, "fileMode": 0o600},
            {"path": "/dev/b", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660, "gid": 6},
            {"path": "/dev/p", "type": "p", "fileMode": 0o622},
            {"path": "/opt/deep/null", "type": "c", "major": 1, "minor": 3},
        ]);
    });
    let expected = "character special file 1:5 620 3:4\ncharacter special file 1:5 600 0:0\n\
                    block special file 7:0 660 0:6\nfifo 0:0 622 0:0\ncharacter special file 1:3 666 0:0\n";
    assert_eq!(lab.run(&bundle).ok().stdout, expected);
}

#[test]
fn device_that_conflicts_with_a_file_is_refused() {
    let lab = Lab::new();
    let device = |path: &str| json!({"path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o600});
    let run = |devices: Value, prepare: &dyn Fn(&Bundle)| {
        let bundle = lab.bundle(|c| {
            args(c, &["stat", "-c", "%a", "/opt/zero"]);
            c["linux"]["devices"] = devices;
        });
        fs::create_dir(bundle.root("opt")).unwrap();
        prepare(&bundle);
        lab.run(&bundle)
    };
    let list = json!([device("/opt/zero")]);
    run(list.clone(), &|bundle| fs::write(bundle.root("opt/zero"), "").unwrap())
        .fails(1, "EEXIST")
        .at("/linux/devices/0");
    let link = |bundle: &Bundle| std::os::unix::fs::symlink("/dev/zero", bundle.root("opt/zero")).unwrap();
    run(list.clone(), &link).fails(1, "EEXIST").at("/linux/devices/0");
    let node = |minor: u64| {
        move |bundle: &Bundle| {
            mknod(&bundle.root("opt/zero"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o644), makedev(1, minor))
                .unwrap();
        }
    };
    run(list.clone(), &node(3)).fails(1, "EEXIST").at("/linux/devices/0");
    assert_eq!(run(list, &node(5)).ok().stdout, "600\n", "the same device gets the mode that is wanted");
    let mut other = device("/opt/zero");
    other["minor"] = json!(7);
    run(json!([device("/opt/zero"), other]), &|_| ()).fails(1, "a second device").at("/linux/devices/1/path");
}

#[test]
fn devices_in_a_user_namespace_are_the_host_s() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "cat /proc/self/mountinfo; echo x >/dev/null && head -c 3 /dev/zero | wc -c; test -p /dev/pipe && echo pipe"]);
        user_namespace(c, 100_000);
        c["linux"]["devices"] = json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229},
            {"path": "/dev/pipe", "type": "p"},
            // Not where the host has it.
            {"path": "/opt/zero", "type": "c", "major": 1, "minor": 5},
        ]);
    });
    lab.give(&bundle.root(""), 100_000);
    let done = lab.run(&bundle);
    if Path::new("/dev/char/1:5").exists() {
        let text = done.ok().stdout;
        assert!(text.ends_with("3\npipe\n"), "{text}");
        for name in ["null", "zero", "full", "random", "urandom", "tty", "fuse"] {
            assert_eq!(mount_at(&table(&text), &format!("/dev/{name}")).root.rsplit('/').next(), Some(name));
        }
    } else {
        done.fails(1, "the host has no char device 1:5 to bind").at("/linux/devices/2");
    }
}

#[test]
fn propagation_of_the_root_is_as_configured_and_never_the_host_s() {
    for (word, tag) in [("shared", "shared:"), ("rslave", "master:"), ("private", ""), ("runbindable", "unbindable")] {
        let lab = Lab::new();
        own_mounts();
        let before = own_table();
        let bundle = lab.bundle(|c| {
            args(c, &["cat", "/proc/self/mountinfo"]);
            c["linux"]["rootfsPropagation"] = json!(word);
        });
        let text = lab.run(&bundle).ok().stdout;
        let tags = mount_at(&text, "/").tags;
        assert!(if tag.is_empty() { tags.is_empty() } else { tags.contains(tag) }, "{word}: {tags:?}");
        assert_eq!(own_table(), before, "{word}");
        let peer = |text: &str, group: &str| text.split(' ').any(|tag| tag == group);
        if let Some(group) = tags.split(' ').find(|tag| tag.starts_with("shared:")) {
            assert!(!peer(&before, group), "{word}: the root is a peer of the host's");
        }
    }
}

/// A mount over the root would be beside the container's processes.
#[test]
fn root_among_masked_and_read_only_paths_is_no_silent_nothing() {
    let lab = Lab::new();
    for path in ["/", "//", "/.."] {
        let bundle = |list: &str| {
            lab.bundle(|c| {
                args(c, &["sh", "-c", "touch /x 2>&1; true"]);
                c["linux"][list] = json!([path]);
            })
        };
        let written = lab.run(&bundle("readonlyPaths")).ok().stdout;
        assert_eq!(written, "touch: /x: Read-only file system\n", "{path}");
        lab.run(&bundle("maskedPaths")).fails(1, "the root itself cannot be masked").at("/linux/maskedPaths/0");
    }
}

/// A volume that is to carry mounts to the host carries none of the runtime's own.
#[test]
fn mounts_inside_of_a_shared_volume_stay_off_the_host() {
    for word in ["shared", "rshared"] {
        let lab = Lab::new();
        own_mounts();
        let volume = lab.path("volume");
        let outer = Mounted::new("tmpfs", &volume, MsFlags::empty(), "");
        let inner = Mounted::new("tmpfs", &volume.join("inner"), MsFlags::empty(), "");
        for name in ["sub", "inner/sub", "covered", "sealed", "later", "inner/later"] {
            fs::create_dir(volume.join(name)).unwrap();
        }
        fs::write(volume.join("secret"), "").unwrap();
        fs::write(lab.path("file"), "").unwrap();
        let before = own_table();
        let bundle = lab.bundle(|c| {
            let script =
                "cat /proc/self/mountinfo && mount -t tmpfs later /vol/later && mount -t tmpfs later /vol/inner/later";
            args(c, &["sh", "-c", script]);
            let all = json!(["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"]);
            c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
            c["linux"]["rootfsPropagation"] = json!(word);
            add(c, json!({"destination": "/vol", "source": volume, "options": ["rbind", "rshared"]}));
            add(c, json!({"destination": "/vol/sub", "type": "tmpfs", "source": "tmpfs"}));
            add(c, json!({"destination": "/vol/inner/sub", "source": lab.dir, "options": ["bind"]}));
            add(c, json!({"destination": "/vol/file", "source": lab.path("file"), "options": ["bind"]}));
            c["linux"]["maskedPaths"] = json!(["/vol/secret", "/vol/covered"]);
            c["linux"]["readonlyPaths"] = json!(["/vol/sealed"]);
            c["linux"]["devices"] = json!([{"path": "/vol/null", "type": "c", "major": 1, "minor": 3}]);
        });
        let id = lab.id();
        lab.cmd(&["create", "--bundle", bundle.str(), &id]).output().ok();
        assert_eq!(own_table(), before, "{word}");
        let container = harness::Container { lab: &lab, id };
        let inside = fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
        for name in ["sub", "inner/sub", "file", "secret", "covered", "sealed"] {
            mount_at(&inside, &format!("/vol/{name}"));
        }
        // It is a peer all the same.
        for (there, here) in [("/vol", &volume), ("/vol/inner", &volume.join("inner"))] {
            assert_eq!(mount_at(&inside, there).tags, mount_at(&before, here.to_str().unwrap()).tags, "{inside}");
        }
        container.op("start").ok();
        harness::eventually("mounts of the container on the host", || {
            own_table().matches(" - tmpfs later ").count() == 2
        });
        container.with("delete", &["--force"], &[]).ok();
        drop(["inner/later", "later"].map(|name| Mounted::adopt(&volume.join(name))));
        drop((inner, outer));
    }
}
