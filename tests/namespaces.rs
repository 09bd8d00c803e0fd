//! Namespaces (config-linux.md#namespaces): every kind new and joined, mappings, offsets, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;

use harness::{Lab, args, eventually, json, namespace};
use serde_json::Value;

/// The word of config.json and the file in /proc/PID/ns.
const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("user", "user"),
];

/// Replaces or adds the entry of a kind.
fn set(config: &mut Value, kind: &str, path: Option<&str>) {
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|n| n["type"] != kind);
    list.push(match path {
        Some(path) => json!({"type": kind, "path": path}),
        None => json!({"type": kind}),
    });
}

fn unset(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
}

fn map(config: &mut Value) {
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
}

/// A bundle root that the mapped root owns.
fn mapped_bundle(lab: &Lab, patch: impl FnOnce(&mut Value)) -> harness::Bundle {
    let bundle = lab.bundle(|c| {
        set(c, "user", None);
        map(c);
        patch(c);
    });
    lab.give(&bundle.root(""), 100_000);
    bundle
}

#[test]
fn new_namespaces_differ_from_the_host_and_from_each_other() {
    let lab = Lab::new();
    let sleeper = |c: &mut Value| {
        args(c, &["sleep", "1000"]);
        set(c, "cgroup", None);
    };
    let (first, second) = (lab.start(&mapped_bundle(&lab, sleeper)), lab.start(&mapped_bundle(&lab, sleeper)));
    for (_, file) in KINDS {
        let (a, b, own) = (namespace(first.pid(), file), namespace(second.pid(), file), namespace("self", file));
        assert!(a != own && b != own && a != b, "{file}: {a} {b} {own}");
    }
}

#[test]
fn absent_namespaces_are_those_of_the_runtime() {
    let lab = Lab::new();
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| !matches!(*kind, "mount" | "user")) {
        let bundle = lab.bundle(|c| {
            args(c, &["sleep", "1000"]);
            unset(c, kind);
            match kind {
                "uts" => drop(c.as_object_mut().unwrap().remove("hostname")),
                // sysfs belongs to the network namespace; the host's is bound instead.
                "network" => drop(c["linux"].as_object_mut().unwrap().remove("sysctl")),
                _ => (),
            }
        });
        let container = lab.start(&bundle);
        assert_eq!(namespace(container.pid(), file), namespace("self", file), "{kind}");
        container.with("delete", &["--force"], &[]).ok();
    }
}

#[test]
fn joined_by_path_each_kind_is_shared() {
    let lab = Lab::new();
    let first = lab.start(&lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        set(c, "cgroup", None);
    }));
    let pid = first.pid();
    for (kind, file) in KINDS.into_iter().filter(|(kind, _)| !matches!(*kind, "user" | "mount")) {
        let path = format!("/proc/{pid}/ns/{file}");
        let bundle = lab.bundle(|c| {
            args(c, &["sleep", "1000"]);
            set(c, kind, Some(&path));
            if kind == "uts" {
                c.as_object_mut().unwrap().remove("hostname");
            }
        });
        let second = lab.start(&bundle);
        assert_eq!(namespace(second.pid(), file), namespace(pid, file), "{kind}");
        if kind != "pid" {
            assert_ne!(namespace(second.pid(), "pid"), namespace(pid, "pid"));
        }
        second.with("delete", &["--force"], &[]).ok();
    }
    assert_eq!(first.status(), "running");
}

#[test]
fn joined_pid_namespace_sees_its_neighbours_and_ends_alone() {
    let lab = Lab::new();
    let first = lab.start(&lab.bundle(|c| args(c, &["sleep", "4321"])));
    let path = format!("/proc/{}/ns/pid", first.pid());
    let text = lab.sh("cat /proc/1/cmdline | tr '\\0' ' '; echo; echo $$", |c| set(c, "pid", Some(&path)));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "sleep 4321 ");
    assert_ne!(lines[1], "1");
    assert_eq!(first.status(), "running");
}

#[test]
fn joined_user_namespace_with_new_others() {
    let lab = Lab::new();
    let first = lab.start(&mapped_bundle(&lab, |c| args(c, &["sleep", "1000"])));
    let path = format!("/proc/{}/ns/user", first.pid());
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "cat /proc/self/uid_map; id -u; readlink /proc/self/ns/user; echo $$"]);
        set(c, "user", Some(&path));
    });
    lab.give(&bundle.root(""), 100_000);
    let text = lab.run(&bundle).ok().stdout;
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    assert_eq!(lines[1..], ["0", namespace(first.pid(), "user").as_str(), "1"]);
}

#[test]
fn user_namespace_mappings_are_as_configured() {
    let lab = Lab::new();
    let bundle = mapped_bundle(&lab, |c| {
        args(c, &["sh", "-c", "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; cat /proc/self/setgroups"]);
        c["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
        let split = json!([
            {"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 10, "hostID": 200_000, "size": 20},
        ]);
        c["linux"]["uidMappings"] = split;
    });
    let text = lab.run(&bundle).ok().stdout;
    let words: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["0", "100000", "10"]);
    assert_eq!(words[1], ["10", "200000", "20"]);
    assert_eq!(words[2], ["0", "100000", "65536"]);
    assert_eq!(words[3..], [vec!["5"], vec!["6"], vec!["allow"]]);
}

#[test]
fn user_namespace_owner_is_seen_from_the_host() {
    let lab = Lab::new();
    let bundle = mapped_bundle(&lab, |c| {
        args(c, &["sh", "-c", "touch /tmp/made; sleep 1000"]);
        c["process"]["user"] = json!({"uid": 3, "gid": 4});
    });
    let container = lab.start(&bundle);
    eventually("file", || bundle.root("tmp/made").exists());
    let made = fs::metadata(bundle.root("tmp/made")).unwrap();
    use std::os::unix::fs::MetadataExt;
    assert_eq!((made.uid(), made.gid()), (100_003, 100_004));
    container.exec(&["sh", "-c", "test $(id -u) = 3 && test $(id -g) = 4"]).ok();
}

#[test]
fn user_namespace_contradictions_are_refused() {
    let lab = Lab::new();
    let mapping = |id: u64, size: u64| json!([{"containerID": 0, "hostID": id, "size": size}]);
    let no_mapping = lab.bundle(|c| set(c, "user", None));
    assert_eq!(lab.run(&no_mapping).code(), 1);
    // runc 1.1.5 ignores these.
    let no_namespace = lab.bundle(|c| c["linux"]["uidMappings"] = mapping(1000, 1));
    lab.run(&no_namespace).fails(1, "uidMappings").at("/linux/uidMappings");
    let empty = lab.bundle(|c| {
        set(c, "user", None);
        map(c);
        c["linux"]["uidMappings"] = mapping(1000, 0);
    });
    assert_eq!(lab.run(&empty).code(), 1);
    lab.assert_clean();
}

/// runc knows time namespaces from 1.2.
#[test]
fn time_offsets_are_seen_by_program_and_exec() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        set(c, "time", None);
        c["linux"]["timeOffsets"] =
            json!({"monotonic": {"secs": 86_400, "nanosecs": 5}, "boottime": {"secs": 864_000, "nanosecs": 0}});
    });
    let container = lab.start(&bundle.with_probe());
    assert_ne!(namespace(container.pid(), "time"), namespace("self", "time"));
    let clock = |text: &str, name: &str| -> i128 {
        text.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let outside = std::process::Command::new(harness::probe_path()).arg("clocks").output().unwrap();
    let outside = String::from_utf8(outside.stdout).unwrap();
    let inside = container.exec(&["probe", "clocks"]).ok().stdout;
    for (name, days) in [("monotonic", 1), ("boottime", 10)] {
        let difference = clock(&inside, name) - clock(&outside, name) - days * 86_400_000_000_000;
        assert!((0..30_000_000_000).contains(&difference), "{name}: {difference} ns");
    }
    let offsets = fs::read_to_string(format!("/proc/{}/timens_offsets", container.pid())).unwrap();
    assert!(offsets.split_whitespace().eq(["monotonic", "86400", "5", "boottime", "864000", "0"]), "{offsets}");
}

/// runc knows time namespaces from 1.2.
#[test]
fn time_namespace_joined_and_offsets_without_one_refused() {
    let lab = Lab::new();
    let first = lab.start(&lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        set(c, "time", None);
    }));
    let path = format!("/proc/{}/ns/time", first.pid());
    let seen = lab.sh("readlink /proc/self/ns/time", |c| set(c, "time", Some(&path)));
    assert_eq!(seen.trim(), namespace(first.pid(), "time"));
    let offsets = json!({"monotonic": {"secs": 1, "nanosecs": 0}});
    let alone = lab.bundle(|c| c["linux"]["timeOffsets"] = offsets);
    lab.run(&alone).fails(1, "timeOffsets").at("/linux/timeOffsets");
}

/// runc knows time namespaces from 1.2.
#[test]
fn time_namespace_with_user_namespace() {
    let lab = Lab::new();
    let bundle = mapped_bundle(&lab, |c| {
        args(c, &["sh", "-c", "cat /proc/self/timens_offsets; cat /proc/self/uid_map"]);
        set(c, "time", None);
        c["linux"]["timeOffsets"] = json!({"boottime": {"secs": 7, "nanosecs": 0}});
    });
    let text = lab.run(&bundle).ok().stdout;
    let words: Vec<_> = text.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "0", "0", "boottime", "7", "0", "0", "100000", "65536"]);
}

#[test]
fn cgroup_namespace_shows_a_slash() {
    let lab = Lab::new();
    let with = lab.sh("cat /proc/self/cgroup", |c| set(c, "cgroup", None));
    assert!(with.lines().all(|l| l.ends_with(":/")), "{with}");
    let without = lab.sh("cat /proc/self/cgroup", |_| ());
    assert!(without.lines().any(|l| l.contains(&lab.tag)), "{without}");
}

#[test]
fn paths_of_the_wrong_type_or_none_are_refused() {
    let lab = Lab::new();
    let plain = lab.path("plain");
    fs::write(&plain, "").unwrap();
    let table = [
        ("network", "/proc/self/ns/uts"),
        ("pid", "/proc/self/ns/net"),
        ("uts", "/proc/self/ns/ipc"),
        ("ipc", "/no/such/path"),
        ("network", plain.to_str().unwrap()),
        ("network", "relative/path"),
        ("nosuchkind", "/proc/self/ns/net"),
    ];
    for (kind, path) in table {
        let bundle = lab.bundle(|c| {
            set(c, kind, Some(path));
            if kind == "uts" {
                c.as_object_mut().unwrap().remove("hostname");
            }
        });
        let refused = lab.run(&bundle);
        assert_eq!(refused.code(), 1, "{kind} at {path}: {refused:#?}");
        if harness::strict() {
            assert!(refused.stderr.contains("(config /linux/namespaces/"), "{refused:#?}");
        }
        lab.assert_clean();
    }
}

#[test]
fn duplicate_kinds_are_refused() {
    let lab = Lab::new();
    for (kind, _) in KINDS {
        let bundle = lab.bundle(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.push(json!({"type": kind}));
            list.push(json!({"type": kind}));
        });
        let refused = lab.run(&bundle);
        assert_eq!(refused.code(), 1, "{kind}: {refused:#?}");
        lab.assert_clean();
    }
}

#[test]
fn settings_that_need_a_namespace_are_refused_without() {
    let lab = Lab::new();
    let hostname = lab.bundle(|c| unset(c, "uts"));
    lab.run(&hostname).fails(1, "hostname").at("/hostname");
    for (kind, key) in [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.msgmax")] {
        let sysctl = lab.bundle(|c| {
            unset(c, kind);
            c["linux"]["sysctl"] = json!({key: "1"});
        });
        lab.run(&sysctl).fails(1, key);
    }
    lab.assert_clean();
}

#[test]
fn network_namespace_has_loopback_up() {
    let lab = Lab::new();
    let flags = lab.sh("cat /sys/class/net/lo/flags; ls /sys/class/net", |_| ());
    let lines: Vec<_> = flags.lines().collect();
    assert_eq!(u32::from_str_radix(&lines[0][2..], 16).unwrap() & 1, 1, "{flags}");
    assert!(!flags.contains("eth0"), "{flags}");
}

/// runc knows netDevices from 1.4.
#[test]
fn net_device_moves_into_the_container_with_its_addresses() {
    let lab = Lab::new();
    let name = format!("{}a", lab.net_prefix());
    let peer = format!("{}b", lab.net_prefix());
    let ip = |arguments: &[&str]| assert!(std::process::Command::new("ip").args(arguments).status().unwrap().success());
    ip(&["link", "add", &name, "type", "veth", "peer", "name", &peer]);
    ip(&["address", "add", "192.0.2.7/24", "dev", &name]);
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "ip address show inner; ls /sys/class/net"]);
        c["linux"]["netDevices"] = json!({ name.as_str(): {"name": "inner"} });
    });
    let done = lab.run(&bundle);
    // The end in the container dies with its namespace, some time after the run, and takes this one along.
    let _ =
        std::process::Command::new("ip").args(["link", "delete", &peer]).stderr(std::process::Stdio::null()).status();
    let text = done.ok().stdout;
    assert!(text.contains("192.0.2.7/24"), "{text}");
}

#[test]
fn path_that_is_a_fifo_is_refused_at_once() {
    let lab = Lab::new();
    let fifo = lab.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bundle = lab.bundle(|c| {
        c["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "uts"}, {"type": "network", "path": fifo}]);
    });
    lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output().fails(1, "is not a network namespace");
    lab.assert_clean();
}
