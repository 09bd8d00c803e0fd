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

/// Hundreds of paths, as engines mask for each processor, cost a fixed number of mounts each and one tmpfs in all.
#[test]
fn hundreds_of_masked_paths_share_one_cover() {
    let lab = Lab::new();
    let masked: Vec<String> = (0..600).map(|n| format!("/many/{n}")).collect();
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/mountinfo"]);
        c["linux"]["maskedPaths"] = json!(masked);
    });
    // A third of each: directories, files, and what is not there.
    for n in 0..600 {
        fs::create_dir_all(bundle.root("many")).unwrap();
        match n % 3 {
            0 => fs::create_dir(bundle.root(&format!("many/{n}"))).unwrap(),
            1 => fs::write(bundle.root(&format!("many/{n}")), "").unwrap(),
            _ => {}
        }
    }
    let text = lab.run(&bundle).ok().stdout;
    let covers: Vec<_> = parse_mounts(&text).into_iter().filter(|line| line.point.starts_with("/many/")).collect();
    assert_eq!(covers.len(), 400);
    let devices = |point: &dyn Fn(usize) -> bool| {
        let lines = text.lines().filter(|line| {
            let name = line.split(' ').nth(4).unwrap().strip_prefix("/many/").and_then(|n| n.parse().ok());
            name.is_some_and(point)
        });
        lines.map(|line| line.split(' ').nth(2).unwrap()).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(devices(&|n| n % 3 == 0), 1, "one tmpfs for all directories");
    assert_eq!(devices(&|n| n % 3 == 1), 1, "one null for all files");
    assert!(covers.iter().filter(|line| line.root == "/").all(|line| line.options.starts_with("ro")), "{text}");
}

/// What a path costs does not depend on how many there are. Counted by strace.
#[test]
fn masked_path_costs_a_handful_of_system_calls() {
    let lab = Lab::new();
    let calls = |count: usize| {
        let bundle = lab.bundle(|c| {
            args(c, &["true"]);
            c["linux"]["maskedPaths"] = (0..count).map(|n| json!(format!("/many/{n}"))).collect();
        });
        (0..count).for_each(|n| fs::create_dir_all(bundle.root(&format!("many/{n}"))).unwrap());
        let id = lab.id();
        let log = lab.path(&format!("calls-{count}"));
        let status = std::process::Command::new("strace")
            .args(["-f", "-qq", "-o", log.to_str().unwrap(), lab.runtime.to_str().unwrap(), "--root"])
            .args([lab.state_root().to_str().unwrap(), "run", "--bundle", bundle.str(), &id])
            .env("CORACLE_TEST_TAG", &lab.tag)
            .status()
            .expect("this test needs strace");
        assert!(status.success());
        fs::read_to_string(log).unwrap().lines().filter(|line| !line.contains("<unfinished")).count()
    };
    let (few, many) = (calls(100), calls(500));
    let each = (many.saturating_sub(few)) as f64 / 400.0;
    println!("{each} system calls for each masked directory");
    assert!(each < 9.0, "{each} system calls for each masked path");
}

/// Docker's usual configuration, over and over: nothing piles up that would make the next one dearer.
#[test]
fn creates_by_the_hundred_leave_the_host_as_it_was() {
    let count: usize = std::env::var("CORACLE_CREATES").map_or(100, |count| count.parse().unwrap());
    let lab = Lab::new();
    own_mounts();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/configs");
    let docker = data.join("docker-config-seccomp12-memory-blockIO-hooks-m10.json");
    let mut config: Value = serde_json::from_slice(&fs::read(docker).unwrap()).unwrap();
    let bundle = lab.bundle(|_| ());
    let here = bundle.config.clone();
    config["root"]["path"] = here["root"]["path"].clone();
    config["linux"]["cgroupsPath"] = here["linux"]["cgroupsPath"].clone();
    config.as_object_mut().unwrap().remove("hooks");
    args(&mut config, &["true"]);
    config["process"]["cwd"] = json!("/");
    for name in ["apparmorProfile", "oomScoreAdj", "rlimits"] {
        config["process"].as_object_mut().unwrap().remove(name);
    }
    fs::write(lab.path("bound"), "").unwrap();
    for mount in config["mounts"].as_array_mut().unwrap() {
        if mount["source"].as_str().is_some_and(|source| source.starts_with('/')) {
            mount["source"] = json!(lab.path("bound"));
        }
    }
    bundle.write_config(&config.to_string());
    let mounts = own_table();
    let mut times = Vec::new();
    let mut found = Vec::new();
    for _ in 0..count {
        let begun = std::time::Instant::now();
        let container = lab.create(&bundle);
        times.push(begun.elapsed());
        found.push((parse_mounts(&own_table()).len(), harness::leaks::cgroups(&lab.tag).len(), lab.states().len()));
        container.with("delete", &["--force"], &[]).ok();
        assert!(harness::leaks::cgroups(&lab.tag).is_empty() && lab.states().is_empty());
    }
    assert_eq!(own_table(), mounts);
    assert!(found.iter().all(|counts| *counts == found[0]), "mounts, cgroups and states while one is there: {found:?}");
    let median = |part: &[std::time::Duration]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let quarter = count.div_ceil(4);
    println!(
        "{count} creates; median {:?}, of the last quarter {:?}",
        median(&times[..quarter]),
        median(&times[count - quarter..])
    );
}
