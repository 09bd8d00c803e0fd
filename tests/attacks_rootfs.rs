//! Published attacks through the root file system, performed: 3 (/proc or /sys replaced), 6 (false /dev/null), 7 (false
//! terminal), 8 (writes to /proc redirected), 9 (/dev as a symlink), 10 (destinations of every shape), 15 (writable
//! cgroups), 16 (names that climb). The races, 4 and 5, are in `races.rs`; generated trees in `rootfs_property.rs`; the guard that
//! each test needs in `attacks.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use harness::{
    Bundle, ConsoleSocket, Lab, Mounted, Sentinel, args, json, mount_at, own_mounts, own_table, parse_mounts, strict,
};
use serde_json::Value;

/// A directory of the host with what attacks want to reach.
fn outside(lab: &Lab) -> Sentinel {
    let path = lab.path("outside");
    fs::create_dir(&path).unwrap();
    for name in ["null", "ptmx", "console", "secret", "zero"] {
        fs::write(path.join(name), "secret of the host").unwrap();
    }
    fs::create_dir(path.join("there")).unwrap();
    Sentinel::new(&path)
}

fn drop_mounts(config: &mut Value, below: &str) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !Path::new(mount["destination"].as_str().unwrap()).starts_with(below));
}

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Replaces a directory of the image by a symbolic link.
fn link_instead(bundle: &Bundle, name: &str, target: &Path) {
    let place = bundle.root(name);
    if place.is_dir() {
        fs::remove_dir_all(&place).unwrap();
    }
    symlink(target, place).unwrap();
}

fn node(path: &Path, major: u64, minor: u64) {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).unwrap();
}

/// From the root file system to the root of the host and down again.
fn climbing(path: &Path) -> std::path::PathBuf {
    Path::new("../../../../../../../../../..").join(path.strip_prefix("/").unwrap())
}

/// A volume over the root would hide what is masked later, and be what the container calls its image.
#[test]
fn attack_10_destination_that_links_make_the_root_is_refused() {
    let lab = Lab::new();
    own_mounts();
    let volume = lab.path("volume");
    fs::create_dir(&volume).unwrap();
    for (target, destination) in [("/", "/data"), ("../..", "/data"), ("/", "/data/data"), (".", "/data/../data")] {
        let mount = json!({"destination": destination, "source": volume, "options": ["bind"]});
        let bundle = lab.bundle(|c| add_mount(c, mount));
        symlink(target, bundle.root("data")).unwrap();
        lab.run(&bundle).fails_any(
            1,
            &["its links lead to the root itself", "no such file or directory", "No such file or directory"],
        );
        lab.assert_clean();
    }
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642.
#[test]
fn attack_3_proc_or_sys_as_a_symlink_is_refused() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let before = own_table();
    let inside = Path::new("/elsewhere").to_owned();
    for name in ["proc", "sys"] {
        for target in [inside.clone(), sentinel.path.clone(), climbing(&sentinel.path), "/dangling".into()] {
            let bundle = lab.bundle(|c| c["process"]["args"] = json!(["true"]));
            fs::create_dir(bundle.root("elsewhere")).unwrap();
            link_instead(&bundle, name, &target);
            let text = if strict() { "must be mounted on ordinary directory" } else { "" };
            lab.run(&bundle).fails(1, text);
            fs::remove_dir_all(&bundle.path).unwrap();
        }
    }
    sentinel.assert_untouched();
    assert_eq!(own_table(), before);
}

/// A parent of the destination that is a link does the same.
#[test]
fn attack_3_proc_below_a_symlink_is_refused() {
    let lab = Lab::new();
    let sentinel = outside(&lab);
    let bundle = lab.bundle(|c| c["mounts"][0]["destination"] = json!("/link/proc"));
    link_instead(&bundle, "link", &sentinel.path);
    let text = if strict() { "must be mounted on ordinary directory" } else { "" };
    lab.run(&bundle).fails(1, text);
    sentinel.assert_untouched();
}

/// A volume at /proc brings files that look like those that a runtime writes to.
#[test]
fn attack_3_volume_over_proc_gets_nothing_of_exec() {
    let lab = Lab::new();
    let volume = lab.path("volume");
    for pid in ["self", "thread-self", "1", "2"] {
        fs::create_dir_all(volume.join(pid).join("attr/apparmor")).unwrap();
        fs::create_dir_all(volume.join(pid).join("fd")).unwrap();
        for fd in 0..64 {
            fs::write(volume.join(pid).join("fd").join(fd.to_string()), "").unwrap();
        }
        for file in ["attr/exec", "attr/keycreate", "attr/apparmor/exec", "setgroups", "oom_score_adj"] {
            fs::write(volume.join(pid).join(file), "").unwrap();
        }
    }
    fs::create_dir_all(volume.join("sys/kernel")).unwrap();
    fs::write(volume.join("sys/kernel/domainname"), "").unwrap();
    let sentinel = Sentinel::new(&volume);
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["linux"]["sysctl"] = json!({"kernel.domainname": "inside"});
        for list in ["maskedPaths", "readonlyPaths"] {
            c["linux"][list] = json!([]);
        }
        let bind = json!({"destination": "/proc", "source": volume, "options": ["rbind"]});
        c["mounts"].as_array_mut().unwrap().insert(1, bind);
    });
    let container = lab.start(&bundle);
    assert_eq!(container.exec(&["sh", "-c", "ls /proc | wc -l; ls /proc/self/fd | wc -l"]).ok().stdout, "5\n64\n");
    // A terminal is opened once more by its descriptor's name in a procfs.
    let socket = ConsoleSocket::new(&lab);
    let options = ["--tty", "--detach", "--console-socket", socket.str()];
    container.with("exec", &options, &["sh", "-c", "test -t 0 && echo terminal"]).ok();
    socket.terminal().read_until("terminal");
    container.stop();
    sentinel.assert_untouched();
}

/// CVE-2025-31133: what masks a path is whatever the image calls /dev/null.
#[test]
fn attack_6_false_null_masks_nothing() {
    let lab = Lab::new();
    let sentinel = outside(&lab);
    let core_pattern = Path::new("/proc/sys/kernel/core_pattern");
    let before = fs::read(core_pattern).unwrap();
    let devices = lab.path("dev");
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/etc/passwd", "/proc/self/mountinfo"]);
        drop_mounts(c, "/dev");
        // A volume at /dev: nothing is made in it, so that the image's own null is what there is.
        add_mount(c, json!({"destination": "/dev", "source": devices, "options": ["rbind"]}));
        c["linux"]["maskedPaths"] = json!(["/etc/passwd"]);
    });
    let secret = sentinel.path.join("secret");
    let targets = ["/proc/sys/kernel/core_pattern", "/etc/group", secret.to_str().unwrap(), "zero", "/dev/../dev/null"];
    for target in targets.map(Some).into_iter().chain([None]) {
        fs::create_dir_all(&devices).unwrap();
        node(&devices.join("zero"), 1, 5);
        match target {
            Some(target) => symlink(target, devices.join("null")).unwrap(),
            None => fs::write(devices.join("null"), "a file").unwrap(),
        }
        let text = if strict() { "is not the character device 1:3" } else { "" };
        lab.run(&bundle).fails(1, text).at("/linux/maskedPaths/0");
        fs::remove_dir_all(&devices).unwrap();
    }
    sentinel.assert_untouched();
    assert_eq!(fs::read(core_pattern).unwrap(), before);
}

/// Only a missing target is passed over.
#[test]
fn attack_6_mask_that_cannot_be_placed_fails() {
    let lab = Lab::new();
    let at = |masked: &str| {
        let bundle = lab.bundle(|c| {
            c["linux"]["maskedPaths"] = json!([masked]);
            c["linux"]["readonlyPaths"] = json!([]);
        });
        symlink("loop", bundle.root("loop")).unwrap();
        lab.run(&bundle)
    };
    at("/no/such/file").ok();
    if strict() {
        at("/loop").fails(1, "ELOOP").at("/linux/maskedPaths/0");
        at("/etc/passwd/below").fails(1, "ENOTDIR").at("/linux/maskedPaths/0");
    }
}

/// CVE-2025-52565: the terminal's name in the container leads elsewhere.
#[test]
fn attack_7_console_through_links_stays_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let before = own_table();
    let terminal = |patch: fn(&mut Value), prepare: &dyn Fn(&Bundle)| {
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "cat /proc/self/mountinfo; tty; echo all of it"]);
            c["process"]["terminal"] = json!(true);
            patch(c);
        });
        prepare(&bundle);
        let socket = ConsoleSocket::new(&lab);
        let id = lab.id();
        let run =
            lab.cmd(&["run", "--bundle", bundle.str(), "--console-socket", socket.str(), "--detach", &id]).output();
        (run, socket)
    };
    // Neither the devpts nor /dev is covered: the image brings all of it.
    let refused = |ptmx: &dyn Fn(&Path), text: &str| {
        let (run, _socket) = terminal(|c| drop_mounts(c, "/dev"), &|bundle| {
            fs::create_dir_all(bundle.root("dev/pts")).unwrap();
            for name in ["pts/0", "pts/1", "console"] {
                symlink(sentinel.path.join("secret"), bundle.root("dev").join(name)).unwrap();
            }
            ptmx(&bundle.root("dev/pts/ptmx"));
        });
        run.fails(1, if strict() { text } else { "" });
    };
    refused(&|ptmx| symlink(sentinel.path.join("secret"), ptmx).unwrap(), "open /dev/ptmx in the root");
    refused(&|ptmx| symlink("/etc/passwd", ptmx).unwrap(), "is not the character device 5:2");
    refused(&|ptmx| node(ptmx, 1, 3), "is not the character device 5:2");
    refused(&|ptmx| node(ptmx, 5, 2), "is not on a devpts");
    // The names of a genuine devpts: the other end is opened without one.
    let elsewhere = |c: &mut Value| {
        drop_mounts(c, "/dev");
        let options = ["newinstance", "ptmxmode=0666", "mode=0620"];
        add_mount(c, json!({"destination": "/opt/pts", "type": "devpts", "source": "devpts", "options": options}));
    };
    let (run, socket) = terminal(elsewhere, &|bundle| {
        fs::create_dir_all(bundle.root("dev/pts")).unwrap();
        symlink("/opt/pts/ptmx", bundle.root("dev/pts/ptmx")).unwrap();
        for name in ["pts/0", "pts/1", "console"] {
            symlink("/etc/passwd", bundle.root("dev").join(name)).unwrap();
        }
    });
    run.ok();
    socket.terminal().read_until("all of it");
    // /dev/console alone is a link.
    let (run, socket) =
        terminal(|c| c["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/dev"), &|bundle| {
            symlink(sentinel.path.join("console"), bundle.root("dev/console")).unwrap()
        });
    run.ok();
    let text = socket.terminal().read_until("all of it").replace('\r', "");
    let table: String = text.lines().filter(|line| line.contains(" - ")).map(|line| format!("{line}\n")).collect();
    let console = parse_mounts(&table).into_iter().rfind(|line| line.fs_type == "devpts" && line.root != "/");
    assert!(console.is_some_and(|line| line.point.ends_with("/console")), "{text}");
    sentinel.assert_untouched();
    assert_eq!(own_table(), before);
}

/// CVE-2025-52881: a file of /proc is mounted over another, in a mount namespace that a second container joins.
#[test]
fn attack_8_sysctl_in_a_hostile_mount_namespace_reaches_the_right_file() {
    let lab = Lab::new();
    let hostile = lab.start(&lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["linux"]["readonlyPaths"] = json!([]);
        let (from, to) = ("/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname");
        add_mount(c, json!({"destination": to, "source": from, "options": ["bind"]}));
    }));
    let pid = hostile.pid();
    let bundle = lab.bundle(|c| {
        args(c, &["/bin/sh", "-c", "hostname; /bin/busybox uname -n"]);
        c["root"]["path"] = json!("/");
        c["hostname"] = json!("named");
        c["mounts"] = json!([]);
        for list in ["maskedPaths", "readonlyPaths"] {
            c["linux"].as_object_mut().unwrap().remove(list);
        }
        c["linux"]["sysctl"] = json!({"kernel.domainname": "evil"});
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "mount");
        list.push(json!({"type": "mount", "path": format!("/proc/{pid}/ns/mnt")}));
    });
    let run = lab.run(&bundle);
    assert!(!run.stdout.contains("evil"), "the write landed in another file: {run:#?}");
    assert_eq!(run.ok().stdout, "named\nnamed\n");
}

/// CVE-2026-41579, CVE-2026-47766: what is made and removed in /dev before the pivot hits the host.
#[test]
fn attack_9_dev_as_a_symlink_stays_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let before = own_table();
    for target in [sentinel.path.clone(), climbing(&sentinel.path)] {
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "ls -l /dev/; cat /dev/null"]);
            drop_mounts(c, "/dev");
            c["linux"]["devices"] =
                json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600}]);
        });
        link_instead(&bundle, "dev", &target);
        let listing = lab.run(&bundle).ok().stdout;
        assert!(["null", "ptmx", "fuse", "stdin"].iter().all(|name| listing.contains(name)), "{listing}");
        let below = sentinel.path.strip_prefix("/").unwrap();
        assert!(bundle.root("").join(below).join("fuse").exists(), "made elsewhere than inside");
        sentinel.assert_untouched();
    }
    assert_eq!(own_table(), before);
}

/// CVE-2019-18837.
#[test]
fn attack_10_destinations_of_every_shape_stay_inside() {
    let lab = Lab::new();
    own_mounts();
    let sentinel = outside(&lab);
    let before = own_table();
    let volume = lab.path("volume");
    fs::create_dir(&volume).unwrap();
    let climb = climbing(&sentinel.path);
    let below = sentinel.path.to_str().unwrap();
    let table = [
        ("/absolute/there", format!("{below}/there")),
        ("/climbing/there", format!("{below}/there")),
        ("/absolute", below.to_owned()),
        ("/../../../../../etc/there", "/etc/there".to_owned()),
        ("/chain/there", format!("{below}/there")),
        ("/dot/./../dot/there", "/there".to_owned()),
        ("/dangling/deep/er", format!("{below}/missing/deep/er")),
        ("/home/../absolute/new", format!("{below}/new")),
    ];
    for (destination, point) in table {
        let bundle = lab.bundle(|c| {
            args(c, &["cat", "/proc/self/mountinfo"]);
            add_mount(c, json!({"destination": destination, "source": volume, "options": ["bind"]}));
        });
        link_instead(&bundle, "absolute", &sentinel.path);
        link_instead(&bundle, "climbing", &climb);
        link_instead(&bundle, "chain", Path::new("home/../climbing"));
        link_instead(&bundle, "dot", Path::new("../."));
        link_instead(&bundle, "dangling", &sentinel.path.join("missing"));
        let mounts = lab.run(&bundle).ok().stdout;
        assert!(mount_at(&mounts, &point).root.ends_with("/volume"), "{destination} is not at {point}: {mounts}");
        sentinel.assert_untouched();
    }
    for (name, text) in [("/loop/x", "ELOOP"), ("/etc/passwd/x", "ENOTDIR")] {
        let bundle = lab.bundle(|c| add_mount(c, json!({"destination": name, "source": volume, "options": ["bind"]})));
        symlink("loop", bundle.root("loop")).unwrap();
        lab.run(&bundle).fails(1, if strict() { text } else { "" });
    }
    assert_eq!(own_table(), before);
}

/// CVE-2023-25809: without a cgroup namespace, root of a user namespace could write to its own and others' groups.
#[test]
fn attack_15_cgroups_without_a_namespace_are_read_only() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        let script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/made 2>/dev/null && echo made in $d; \
                      for f in cgroup.procs tasks notify_on_release; do \
                      test -e $d/$f && echo 0 2>/dev/null >$d/$f && echo wrote $d/$f; done; done; \
                      cat /proc/self/mountinfo";
        args(c, &["sh", "-c", script]);
        let mapping = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        c["linux"]["uidMappings"] = mapping.clone();
        c["linux"]["gidMappings"] = mapping;
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        // Not CAP_SYS_ADMIN: who may mount in its own namespace may remount.
        let all = json!(["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER"]);
        c["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap()["options"] = json!(["rw"]);
    });
    let text = lab.run(&bundle).ok().stdout;
    let table: String = text.lines().filter(|line| line.contains(" - ")).map(|line| format!("{line}\n")).collect();
    let cgroups: Vec<_> = parse_mounts(&table).into_iter().filter(|l| l.point.starts_with("/sys/fs/cgroup")).collect();
    assert!(!cgroups.is_empty());
    for line in cgroups {
        assert!(line.options.starts_with("ro,"), "{line:?}");
    }
    for word in ["made in", "wrote"] {
        assert!(!text.contains(word), "{text}");
    }
}

/// Ids, sub-groups and the like that climb.
#[test]
fn attack_16_names_that_climb_are_refused() {
    let lab = Lab::new();
    let victim = lab.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("state.json"), "{}").unwrap();
    let sentinel = Sentinel::new(&victim);
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    let container = lab.start(&bundle);
    let absolute = victim.to_str().unwrap();
    for id in ["..", ".", "../victim", "x/../../victim", absolute, "../state/../victim", "\u{2024}./victim/"] {
        for words in [&["state"][..], &["kill"], &["start"], &["delete", "--force"], &["pause"], &["exec"]] {
            let refused = lab.cmd(&[words, &[id, "true"][..if words[0] == "exec" { 2 } else { 1 }]].concat()).output();
            assert_ne!(refused.code(), 0, "{words:?} {id:?}");
        }
        let refused = lab.cmd(&["create", "--bundle", bundle.str(), id]).output();
        assert_ne!(refused.code(), 0, "create {id:?}");
    }
    sentinel.assert_untouched();
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let controllers = groups.lines().filter_map(|line| line.split(':').nth(1)).filter(|name| !name.is_empty());
    let mut forms: Vec<String> = ["../..", "..", "/..", "x/../..", "./../x"].map(str::to_owned).to_vec();
    for controller in controllers {
        forms.extend(["..", "../..", "/../..", "x/../../.."].map(|path| format!("{controller}:{path}")));
    }
    for form in forms {
        let refused = container.with("exec", &["--cgroup", &form], &["sh", "-c", "echo ran"]);
        assert!(refused.code() != 0 && !refused.stdout.contains("ran"), "--cgroup {form}: {refused:#?}");
    }
}

/// The same host directory is the /proc of two containers: whatever one does to it, the other mounts its procfs there or
/// nowhere.
#[test]
fn attack_3_shared_volume_at_proc_is_covered_by_each_procfs() {
    let lab = Lab::new();
    let volume = lab.path("volume");
    fs::create_dir_all(volume.join("self/attr")).unwrap();
    let sentinel = Sentinel::new(&volume);
    let bundle = || {
        lab.bundle(|c| {
            args(c, &["sh", "-c", "test -e /proc/1/stat && sleep 1000"]);
            let bind = json!({"destination": "/proc", "source": volume, "options": ["rbind"]});
            c["mounts"].as_array_mut().unwrap().insert(0, bind);
        })
    };
    let (one, other) = (lab.start(&bundle()), lab.start(&bundle()));
    for container in [&one, &other] {
        let mounts = container.exec(&["cat", "/proc/self/mountinfo"]).ok().stdout;
        assert_eq!(mount_at(&mounts, "/proc").fs_type, "proc");
        assert_eq!(mount_at(&mounts, "/proc/keys").root, "/null");
    }
    sentinel.assert_untouched();
}

/// The sentinels themselves notice what attacks do.
#[test]
fn sentinel_notices_a_change() {
    let lab = Lab::new();
    let changes: [fn(&Path); 4] = [
        |path| fs::write(path.join("secret"), "other").unwrap(),
        |path| fs::create_dir(path.join("made")).unwrap(),
        |path| fs::remove_file(path.join("ptmx")).unwrap(),
        |path| std::os::unix::fs::chown(path.join("null"), Some(1), None).unwrap(),
    ];
    for change in changes {
        let sentinel = outside(&lab);
        change(&sentinel.path);
        assert!(sentinel.is_touched());
        fs::remove_dir_all(&sentinel.path).unwrap();
    }
    own_mounts();
    let before = own_table();
    let _mount = Mounted::new("tmpfs", &lab.path("tmpfs"), nix::mount::MsFlags::empty(), "");
    assert_ne!(own_table(), before);
}
