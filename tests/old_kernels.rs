//! The same containers where newer system calls are missing, one at a time and all together: a filter makes them fail with
//! ENOSYS. What Linux 5.4 offers another way for works; what it does not is a clear error.
//!
//! Any other test runs so with `CORACLE_TEST_WITHOUT`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::Path;

use harness::{ConsoleSocket, Lab, Sentinel, args, json, mount_at, own_mounts, own_table};
use serde_json::Value;

/// Each has a sibling; the last but one is all that came after Linux 5.4, the last is all at once.
const MISSING: [&str; 9] = [
    "clone3",
    "openat2",
    "open_tree",
    "fsopen,fspick",
    "open_tree,move_mount,fsopen,fspick",
    "mount_setattr",
    "close_range",
    "5.4",
    "clone3,openat2,open_tree,move_mount,mount_setattr,fsopen,fspick,5.4",
];

/// Runs `test` once for each of [`MISSING`].
fn each(test: fn(&Lab)) {
    for missing in MISSING {
        let mut lab = Lab::new();
        lab.without = missing.to_owned();
        println!("without {missing}");
        test(&lab);
        lab.assert_clean();
    }
}

fn add(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn life_of_a_container_is_whole() {
    each(|lab| {
        let bundle = lab.bundle(|c| {
            args(c, &["sleep", "1000"]);
            c["root"]["readonly"] = json!(true);
        });
        let container = lab.create(&bundle);
        assert_eq!(container.status(), "created");
        container.op("start").ok();
        let open = "exec 3</etc 5</root 7</etc/passwd";
        let script =
            "cat /proc/self/mountinfo; ls /proc/self/fd | wc -l; touch /x 2>&1; cat /dev/null; wc -c </proc/keys";
        let text = container.with_cmd("exec", &[], &["sh", "-c", script]).after(open).output().ok().stdout;
        let table: String = text.lines().filter(|line| line.contains(" - ")).map(|line| format!("{line}\n")).collect();
        let at = |point: &str| mount_at(&table, point);
        assert!(at("/").options.starts_with("ro"), "{table}");
        for (point, kind) in [("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"), ("/sys", "sysfs")] {
            assert_eq!(at(point).fs_type, kind, "{table}");
        }
        assert_eq!(at("/dev/shm").options, "rw,nosuid,nodev,noexec,relatime");
        for point in ["/sys", "/sys/fs/cgroup", "/proc/sys", "/sys/firmware"] {
            assert!(at(point).options.starts_with("ro"), "{point}: {table}");
        }
        assert_eq!(at("/proc/keys").root, "/null");
        let rest: Vec<&str> = text.lines().filter(|line| !line.contains(" - ")).collect();
        // The one more is that of ls itself.
        assert_eq!(rest, ["4", "touch: /x: Read-only file system", "0"]);
        container.stop();
        container.op("delete").ok();
    });
}

#[test]
fn mounts_and_devices_are_made() {
    each(|lab| {
        let volume = lab.path("volume");
        fs::create_dir_all(volume.join("sub")).unwrap();
        fs::write(lab.path("file"), "a file").unwrap();
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "cat /proc/self/mountinfo; stat -c '%t:%T %a %u' /dev/fuse; cat /file; cat /full/f"]);
            add(c, json!({"destination": "/v", "source": volume, "options": ["rbind", "ro", "nosuid", "noatime"]}));
            add(c, json!({"destination": "/s", "source": volume, "options": ["bind", "shared"]}));
            add(c, json!({"destination": "/file", "source": lab.path("file"), "options": ["bind", "ro"]}));
            add(
                c,
                json!({"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "size=64k", "sync"]}),
            );
            add(c, json!({"destination": "/t", "options": ["remount", "bind", "rw"]}));
            add(c, json!({"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
            c["linux"]["devices"] =
                json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7}]);
            c["linux"]["rootfsPropagation"] = json!("rprivate");
        });
        fs::create_dir(bundle.root("full")).unwrap();
        fs::write(bundle.root("full/f"), " copied").unwrap();
        let text = lab.run(&bundle).ok().stdout;
        let table: String = text.lines().filter(|line| line.contains(" - ")).map(|line| format!("{line}\n")).collect();
        assert_eq!(mount_at(&table, "/v").options, "ro,nosuid,noatime");
        assert_eq!(mount_at(&table, "/file").options.split(',').next(), Some("ro"));
        let tmpfs = mount_at(&table, "/t");
        assert!(tmpfs.options.starts_with("rw") && tmpfs.super_options.starts_with("rw,sync"), "{tmpfs:?}");
        assert!(text.ends_with("a:e5 640 7\na file copied"), "{text}");
    });
}

/// Nothing inside lists the descriptors that the program must not get.
#[test]
fn container_without_proc_runs() {
    each(|lab| {
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "test -e /dev/null && ! test -e /proc/self && sleep 1000"]);
            c["mounts"].as_array_mut().unwrap().retain(|mount| mount["destination"] != "/proc");
            for list in ["maskedPaths", "readonlyPaths"] {
                c["linux"][list] = json!([]);
            }
        });
        let container = lab.start(&bundle);
        container.exec(&["true"]).ok();
        container.stop();
        container.op("delete").ok();
    });
}

#[test]
fn user_namespace_and_terminal_work() {
    each(|lab| {
        let bundle = lab.bundle(|c| {
            args(
                c,
                &[
                    "sh",
                    "-c",
                    "id -u; tty; cat /proc/self/uid_map; grep -c devpts.*/console /proc/self/mountinfo; \
                                  grep -c '/console.*devpts' /proc/self/mountinfo; echo all of it",
                ],
            );
            c["process"]["terminal"] = json!(true);
            c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            c["linux"]["uidMappings"] = mapping.clone();
            c["linux"]["gidMappings"] = mapping;
        });
        lab.give(&bundle.root(""), 100_000);
        let socket = ConsoleSocket::new(lab);
        let container = harness::Container { lab, id: lab.id() };
        let words = ["run", "--bundle", bundle.str(), "--console-socket", socket.str(), "--detach", &container.id];
        lab.cmd(&words).output().ok();
        let text = socket.terminal().read_until("all of it").replace('\r', "");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["0", "/dev/pts/0", "0", "100000", "65536", "0", "1", "all", "of", "it"], "{text}");
        container.with("delete", &["--force"], &[]).ok();
    });
}

#[test]
fn attacks_fail_all_the_same() {
    own_mounts();
    each(|lab| {
        let before = own_table();
        let outside = lab.path("outside");
        fs::create_dir_all(outside.join("there")).unwrap();
        fs::write(outside.join("null"), "").unwrap();
        let sentinel = Sentinel::new(&outside);
        let volume = lab.path("volume");
        fs::create_dir(&volume).unwrap();
        let dev_is_a_link = |c: &mut Value| {
            args(c, &["cat", "/proc/self/mountinfo"]);
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
            add(c, json!({"destination": "/link/there", "source": volume, "options": ["bind"]}));
            add(c, json!({"destination": "/link/new", "source": volume, "options": ["bind"]}));
        };
        let bundle = lab.bundle(dev_is_a_link);
        fs::remove_dir(bundle.root("dev")).unwrap();
        for name in ["dev", "link"] {
            std::os::unix::fs::symlink(&outside, bundle.root(name)).unwrap();
        }
        let table = lab.run(&bundle).ok().stdout;
        for name in ["there", "new"] {
            assert!(mount_at(&table, outside.join(name).to_str().unwrap()).root.ends_with("/volume"), "{table}");
        }
        let bundle = lab.bundle(|c| args(c, &["true"]));
        fs::remove_dir(bundle.root("proc")).unwrap();
        std::os::unix::fs::symlink("/tmp", bundle.root("proc")).unwrap();
        lab.run(&bundle).fails(1, "must be mounted on ordinary directory");
        let bundle = lab.bundle(|c| c["process"]["cwd"] = json!("/proc/self/fd/7"));
        assert_ne!(lab.cmd(&["run", "-b", bundle.str(), &lab.id()]).after("exec 7</etc").output().code(), 0);
        let bundle = lab.bundle(|c| {
            c["mounts"][1] = json!({"destination": "/dev", "source": outside, "options": ["bind"]});
            c["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev/"));
            c["linux"]["maskedPaths"] = json!(["/etc/passwd"]);
        });
        lab.run(&bundle).fails(1, "is not the character device 1:3");
        sentinel.assert_untouched();
        assert_eq!(own_table(), before);
    });
}

/// There is no other way on such kernels: an error says what it needs.
#[test]
fn what_cannot_be_done_is_a_clear_error() {
    let mut lab = Lab::new();
    let volume = lab.path("volume");
    fs::create_dir(&volume).unwrap();
    let with = |lab: &Lab, mount: Value| lab.run(&lab.bundle(|c| add(c, mount)));
    let bind = |options: &[&str]| json!({"destination": "/v", "source": volume, "options": options});
    lab.without = "mount_setattr".to_owned();
    let last = lab.bundle(|_| ()).config["mounts"].as_array().unwrap().len();
    let at = format!("/mounts/{last}");
    with(&lab, bind(&["rbind", "rro"]))
        .fails(1, "recursive mount attributes need mount_setattr(2) (Linux 5.12)")
        .at(&at);
    let idmap = "idmap=uids=0-1000-10;gids=0-1000-10";
    with(&lab, bind(&["rbind", idmap])).fails(1, "Linux 5.12").at(&at);
    lab.without = "open_tree".to_owned();
    with(&lab, bind(&["rbind", idmap])).fails(1, "Linux 5.12").at(&at);
    // Whatever /proc is then, nothing is written there.
    lab.without = "openat2,fsopen".to_owned();
    let sysctl = lab.bundle(|c| c["linux"]["sysctl"] = json!({"kernel.domainname": "inside"}));
    lab.run(&sysctl).fails(1, "open `/proc/sys/kernel/domainname`").at("/linux/sysctl/kernel.domainname");
    lab.without = "mount_setattr".to_owned();
    assert!(with(&lab, bind(&["rbind", "nosymfollow"])).code() == 0, "MS_NOSYMFOLLOW goes through mount(2)");
}

/// The filter of these tests is what they think it is.
#[test]
fn without_makes_calls_fail() {
    let lab = Lab::new();
    let probe = harness::probe_path();
    let status = std::process::Command::new(&probe).args(["without", "clone3", "/bin/busybox", "true"]).status();
    assert!(status.unwrap().success());
    let mut filtered = Lab::new();
    filtered.without = "clone3,5.4".to_owned();
    for (lab, mode) in [(&filtered, "2"), (&lab, "0")] {
        let text = lab.sh("cat /proc/self/status", |_| ());
        assert_eq!(harness::status_field(&text, "Seccomp"), mode);
    }
    assert!(Path::new(&probe).exists());
}
