//! Malformed and contradictory configurations: one error that names the place in config.json, exit code 1, and nothing
//! left. And what must not be an error: unknown properties and annotations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;

use harness::{Lab, Output, args, json, strict};
use serde_json::Value;

/// Puts `value` at a JSON pointer, making objects on the way; `null` removes what is there.
fn put(config: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = config;
    for token in parent.split('/').skip(1) {
        place = match token.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[token],
        };
        if place.is_null() {
            *place = json!({});
        }
    }
    match (key.parse::<usize>(), value) {
        (Ok(index), value) if place.is_array() => {
            let list = place.as_array_mut().unwrap();
            if index == list.len() { list.push(value) } else { list[index] = value }
        }
        (_, Value::Null) => drop(place.as_object_mut().unwrap().remove(key)),
        (_, value) => place[key] = value,
    }
}

/// What is wrong with an outcome, if anything is. `pointer` is where the error should be located: the exact place, one
/// below or the object that it is in (never the whole document).
fn complaint(refused: &Output, pointer: &str) -> Option<String> {
    if refused.code() != 1 {
        return Some(format!("exit code {}", refused.code()));
    }
    if !strict() {
        return None;
    }
    if refused.stderr.lines().count() != 1 || refused.log.as_deref().unwrap_or("").lines().count() != 1 {
        return Some(format!("not one line: {:?} {:?}", refused.stderr, refused.log));
    }
    let named = refused.stderr.split("(config ").nth(1).and_then(|rest| rest.split(')').next());
    match named {
        Some(named) if named != "/" && (named.starts_with(pointer) || pointer.starts_with(named)) => None,
        _ => Some(format!("no {pointer}: {:?}", refused.stderr)),
    }
}

/// Creates a container from each configuration, and collects all complaints before failing.
fn refuse(table: Vec<(&str, Value)>) {
    let lab = Lab::new();
    let mut complaints = Vec::new();
    for (pointer, value) in table {
        let text = value.to_string();
        let bundle = lab.bundle(|c| put(c, pointer, value));
        let refused = lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output();
        complaints.extend(complaint(&refused, pointer).map(|c| format!("{pointer} = {text:.80}: {c}")));
        if refused.code() == 0 {
            for id in lab.states() {
                lab.cmd(&["delete", "--force", &id]).output();
            }
        }
        let left = harness::leaks::find_patiently(&lab);
        if !left.is_empty() {
            complaints.push(format!("{pointer} = {text:.80} left {left:#?}"));
            harness::leaks::remove(&lab);
        }
        fs::remove_dir_all(&bundle.path).unwrap();
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn process_section_bad_values_are_refused() {
    refuse(vec![
        ("/ociVersion", json!("not a version")),
        ("/ociVersion", json!("2.0.0")),
        ("/ociVersion", json!(1)),
        ("/process/args", json!([])),
        ("/process/args", Value::Null),
        ("/process/args", json!("true")),
        ("/process/args", json!([1])),
        ("/process/args/0", json!("tr\u{0}ue")),
        ("/process/cwd", json!("relative")),
        ("/process/cwd", json!("")),
        ("/process/cwd", Value::Null),
        ("/process/cwd", json!("/a\u{0}b")),
        ("/process/env/0", json!("NOEQUALS")),
        ("/process/env/0", json!("=value")),
        ("/process/env/0", json!("A=\u{0}")),
        ("/process/env", json!("A=1")),
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!(4_294_967_296u64)),
        ("/process/user/uid", json!(4_294_967_295u64)),
        ("/process/user/gid", json!("0")),
        ("/process/user/umask", json!(0o1000)),
        ("/process/user/additionalGids", json!([4_294_967_295u64])),
        ("/process/rlimits/0/type", json!("RLIMIT_NOSUCH")),
        ("/process/rlimits/0/soft", json!(2000)),
        ("/process/rlimits/0/hard", json!(-1)),
        ("/process/rlimits/1", json!({"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5})),
        ("/process/oomScoreAdj", json!(1001)),
        ("/process/oomScoreAdj", json!(-1001)),
        ("/process/noNewPrivileges", json!("yes")),
        ("/process/terminal", json!(1)),
        ("/process/capabilities/bounding", json!("CAP_KILL")),
        ("/process/scheduler", json!({"policy": "SCHED_NOSUCH"})),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": 20})),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 5})),
        ("/process/scheduler", json!({"policy": "SCHED_FIFO", "priority": 100})),
        ("/process/scheduler", json!({"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_NOSUCH"]})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NOSUCH", "priority": 0})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        ("/process/execCPUAffinity", json!({"initial": "a-b"})),
        ("/process/execCPUAffinity", json!({"final": "3-1"})),
        ("/process/consoleSize", json!({"height": -1, "width": 1})),
    ]);
}

#[test]
fn root_and_mounts_bad_values_are_refused() {
    refuse(vec![
        ("/root", Value::Null),
        ("/root/path", Value::Null),
        ("/root/path", json!("")),
        ("/root/path", json!("no-such-directory")),
        ("/root/path", json!("config.json")),
        ("/root/readonly", json!("no")),
        ("/mounts", json!({})),
        ("/mounts/0/destination", Value::Null),
        ("/mounts/0/destination", json!("")),
        ("/mounts/0/destination", json!("/a\u{0}b")),
        ("/mounts/0/options", json!("ro")),
        ("/mounts/0/type", json!("nosuchfilesystem")),
        ("/mounts/7", json!({"destination": "/mnt", "type": "bind", "source": "/no/such/source", "options": ["bind"]})),
        ("/mounts/7", json!({"destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["nosuchoption=1"]})),
        ("/linux/rootfsPropagation", json!("sideways")),
        ("/linux/maskedPaths/0", json!("relative")),
        ("/linux/readonlyPaths/0", json!("relative")),
        ("/linux/maskedPaths", json!("/proc")),
        ("/linux/devices", json!([{"path": "relative", "type": "c", "major": 1, "minor": 3}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "c"}])),
    ]);
}

/// What is wrong is what is not there.
#[test]
fn user_namespace_without_mapping_is_refused() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| put(c, "/linux/namespaces/5", json!({"type": "user"})));
    let refused = lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output();
    refused.fails(1, "mapping").at("/linux/uidMappings");
    lab.assert_clean();
}

#[test]
fn namespaces_and_linux_bad_values_are_refused() {
    let mapping =
        |container: i64, host: i64, size: i64| json!([{"containerID": container, "hostID": host, "size": size}]);
    refuse(vec![
        ("/linux/namespaces/0/type", json!("nosuch")),
        ("/linux/namespaces/0/type", Value::Null),
        ("/linux/namespaces/5", json!({"type": "pid"})),
        ("/linux/namespaces/0/path", json!("relative")),
        ("/linux/namespaces/0/path", json!("/no/such/path")),
        ("/linux/namespaces/0/path", json!("/proc/self/ns/net")),
        ("/linux/namespaces", json!("pid")),
        ("/linux/uidMappings", mapping(0, 0, 1)),
        ("/linux/uidMappings", mapping(-1, 0, 1)),
        ("/linux/gidMappings", mapping(0, 0, 1)),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1, "nanosecs": 0}})),
        ("/linux/timeOffsets", json!({"realtime": {"secs": 1, "nanosecs": 0}})),
        ("/linux/sysctl", json!({"kernel.panic": "1"})),
        ("/linux/sysctl", json!({"vm.overcommit_memory": "1"})),
        ("/linux/sysctl", json!({"net.../../kernel/panic": "1"})),
        ("/linux/sysctl", json!({"net.no_such_parameter": "1"})),
        ("/linux/sysctl", json!({"kernel.hostname": "other"})),
        ("/linux/sysctl", json!({"kernel.msgmax": 1})),
        ("/linux/cgroupsPath", json!(1)),
        ("/linux/personality", json!({"domain": "NOSUCH"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_NOSUCH"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "x"})),
        ("/linux/netDevices", json!({"no-such-dev": {}})),
        ("/linux/netDevices", json!({"lo": {"name": "a/b"}})),
        ("/linux/netDevices", json!({"lo": {"name": "much-too-long-for-a-name"}})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NOSUCH"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]})),
        ("/linux/resources/memory/limit", json!("much")),
        ("/linux/resources/devices/0/access", json!("q")),
        ("/hostname", json!("a\u{0}b")),
        ("/hostname", json!("x".repeat(65))),
        ("/hooks/prestart", json!([{"path": "relative"}])),
        ("/hooks/poststop", json!([{"args": ["x"]}])),
        ("/hooks/poststart", json!([{"path": "/bin/true", "timeout": 0}])),
        ("/hooks/createRuntime", json!([{"path": "/bin/true", "env": "A=1"}])),
        ("/annotations", json!({"key": 1})),
        ("/annotations", json!({"": "value"})),
    ]);
}

#[test]
fn document_that_is_no_json_object_is_refused() {
    let lab = Lab::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let texts = [
        "",
        "{",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{}",
        "{\"ociVersion\":\"1.2.0\"}",
        "{} {}",
        "{\"ociVersion\":\"1.2.0\",}",
        &deep,
    ];
    for text in texts {
        let bundle = lab.bundle(|_| ());
        bundle.write_config(text);
        let refused = lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output();
        assert_eq!(refused.code(), 1, "{text:.60}: {refused:#?}");
        assert!(refused.stderr.lines().count() == 1 || !strict(), "{refused:#?}");
        lab.assert_clean();
    }
    let bundle = lab.bundle(|_| ());
    fs::write(bundle.path.join("config.json"), b"{\"ociVersion\":\"\xff\xfe\"}").unwrap();
    assert_eq!(lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output().code(), 1);
    lab.assert_clean();
}

#[test]
fn document_error_names_line_and_file() {
    let lab = Lab::new();
    let bundle = lab.bundle(|_| ());
    bundle.write_config("{\n  \"ociVersion\": \"1.2.0\",\n  oops\n}");
    let refused = lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output();
    assert_eq!(refused.code(), 1);
    if strict() {
        assert!(refused.stderr.contains("line 3") && refused.stderr.contains("config.json"), "{refused:#?}");
    }
}

#[test]
fn bundle_that_is_missing_or_incomplete_is_refused() {
    let lab = Lab::new();
    let empty = lab.path("empty");
    fs::create_dir(&empty).unwrap();
    let file = lab.path("file");
    fs::write(&file, "").unwrap();
    for path in ["/no/such/bundle", empty.to_str().unwrap(), file.to_str().unwrap()] {
        let refused = lab.cmd(&["create", "--bundle", path, &lab.id()]).output();
        assert_eq!(refused.code(), 1, "{refused:#?}");
        // runc: "config.json not found".
        assert!(
            refused.stderr.contains("not found")
                || refused.stderr.contains("no such file or directory")
                || refused.stderr.contains("not a directory"),
            "{refused:#?}"
        );
        lab.assert_clean();
    }
}

#[test]
fn state_root_that_cannot_be_used_is_refused() {
    let lab = Lab::new();
    let bundle = lab.bundle(|_| ());
    let file = lab.path("file");
    fs::write(&file, "").unwrap();
    for root in [file.join("below"), file, "/proc/no/such".into()] {
        let option = format!("--root={}", root.display());
        let refused = lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).default_root().global(&option).output();
        assert_eq!(refused.code(), 1, "{refused:#?}");
        lab.assert_clean();
    }
}

#[test]
fn pid_file_that_cannot_be_written_fails_and_leaves_nothing() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    let options = ["create", "--bundle", bundle.str(), "--pid-file", "/no/such/directory/pid", &lab.id()];
    lab.cmd(&options).output().fails(1, "no such file or directory");
    lab.assert_clean();
}

#[test]
fn control_characters_do_not_reach_the_terminal_or_the_log() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["evil\n{\"level\":\"error\"}\u{1b}[2J"]));
    let refused = lab.run(&bundle);
    assert_eq!(refused.code(), 1);
    harness::command::log_records(refused.log.as_deref().unwrap());
    if strict() {
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:#?}");
        assert!(!refused.stderr.contains('\u{1b}'));
    }
}

#[test]
fn unknown_properties_annotations_and_capabilities_are_ignored() {
    let lab = Lab::new();
    let text = lab.sh("echo fine", |c| {
        c["unknown"] = json!({"deep": [1, 2]});
        c["process"]["unknown"] = json!(null);
        c["linux"]["unknown"] = json!("text");
        c["root"]["unknown"] = json!(1);
        c["mounts"][0]["unknown"] = json!([]);
        c["windows"] = json!({"layerFolders": ["C:\\x"]});
        c["vm"] = json!({"kernel": {"path": "/x"}});
        c["annotations"] = json!({"a": "", "b.c/d": "e", "run.oci.unknown": "x"});
        c["hooks"] = json!({});
    });
    assert_eq!(text, "fine\n");
}

#[test]
fn minimal_configurations_are_accepted() {
    let lab = Lab::new();
    // Nulls and empty values, as Go's encoders leave them.
    let text = lab.sh("echo fine", |c| {
        c["process"]["rlimits"] = Value::Null;
        c["process"]["capabilities"] = Value::Null;
        c["process"]["apparmorProfile"] = json!("");
        c["process"]["selinuxLabel"] = json!("");
        c["linux"]["seccomp"] = Value::Null;
        c["linux"]["uidMappings"] = json!([]);
        c["linux"]["sysctl"] = json!({});
        c["linux"]["devices"] = json!([]);
        c["linux"]["rootfsPropagation"] = json!("");
        c["linux"]["mountLabel"] = json!("");
        c["linux"]["resources"] = Value::Null;
        c["annotations"] = Value::Null;
        c["hooks"] = Value::Null;
    });
    assert_eq!(text, "fine\n");
    for version in ["1.0.0", "1.0.2-dev", "1.1.0+dev", "1.3.0", "1.2.1"] {
        assert_eq!(lab.sh("echo fine", |c| c["ociVersion"] = json!(version)), "fine\n");
    }
}
