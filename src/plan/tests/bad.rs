//! Bad configurations: one change to a good one, and the pointer and words that name what is wrong.

use serde_json::json;

use super::*;

/// Sets the value at `pointer`, or removes it; `-` appends to an array.
fn patch(config: &mut Value, pointer: &str, value: Option<Value>) {
    let Some((parent, key)) = pointer.rsplit_once('/') else {
        *config = value.unwrap();
        return;
    };
    let key = key.replace("~1", "/").replace("~0", "~");
    match (config.pointer_mut(parent).unwrap(), value) {
        (Value::Array(values), Some(value)) if key == "-" => values.push(value),
        (Value::Array(values), Some(value)) => values[key.parse::<usize>().unwrap()] = value,
        (Value::Array(values), None) => drop(values.remove(key.parse().unwrap())),
        (Value::Object(entries), Some(value)) => drop(entries.insert(key, value)),
        (Value::Object(entries), None) => drop(entries.remove(&key).unwrap()),
        (other, _) => panic!("{pointer} is below {other}"),
    }
}

/// The error of the good configuration with one change.
fn error(facts: &HostFacts, base: &Value, pointer: &str, value: Option<Value>) -> Error {
    let mut config = base.clone();
    patch(&mut config, pointer, value.clone());
    let judged = parse(&config).and_then(|config| plan(&config, facts));
    match judged {
        Err(error) => error,
        Ok(_) => panic!("{pointer} = {value:?} was accepted"),
    }
}

/// Changed where, to what (null removes), blamed where (the same place if empty), with these words.
type Row = (&'static str, Value, &'static str, &'static str);

fn check(base: &str, facts: &HostFacts, rows: Vec<Row>) {
    let base = read(base);
    let (_, warnings) = plan(&parse(&base).unwrap(), facts).unwrap();
    assert_eq!(warnings, []);
    for (changed, value, blamed, words) in rows {
        let value = (!value.is_null()).then_some(value);
        let error = error(facts, &base, changed, value.clone());
        let blamed = if blamed.is_empty() { changed } else { blamed };
        assert_eq!(error.pointer(), Some(blamed), "{changed} = {value:?}: {error}");
        assert!(error.to_string().contains(words), "{changed} = {value:?}: {error} lacks {words:?}");
        assert!(matches!(error.kind(), crate::error::Kind::Config | crate::error::Kind::Unsupported), "{error:?}");
    }
}

#[test]
fn bad_values_of_the_whole_are_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/ociVersion", json!(null), "", "no version"),
            ("/ociVersion", json!(""), "", "no version"),
            ("/ociVersion", json!("one"), "", "no semantic version"),
            ("/ociVersion", json!("1.0"), "", "no semantic version"),
            ("/ociVersion", json!("2.0.0"), "", "only 1.x"),
            ("/ociVersion", json!(1.3), "", "expected a string"),
            ("/root", json!(null), "", "no root file system"),
            ("/root", json!("rootfs"), "", "expected an object"),
            ("/root", json!(["rootfs", true]), "", "expected an object"),
            ("/root/path", json!(""), "", "empty"),
            ("/root/path", json!("a\0b"), "", "NUL"),
            ("/root/readonly", json!("yes"), "", "expected a boolean"),
            ("/hostname", json!("x".repeat(65)), "", "65 bytes"),
            ("/hostname", json!("a\0b"), "", "NUL"),
            ("/domainname", json!("x".repeat(65)), "", "65 bytes"),
            ("/process", json!(null), "", "no process"),
            ("/process", json!([]), "", "expected an object"),
            ("/annotations/n", json!(1), "", "expected a string"),
            ("/annotations", json!([]), "", "expected an object"),
            ("/annotations/", json!("nameless"), "", "without a name"),
            ("/annotations/a", json!("\0"), "", "NUL"),
            ("/linux", json!("x"), "", "expected an object"),
            ("/linux/cgroupsPath", json!(5), "", "expected a string"),
        ],
    );
}

#[test]
fn bad_process_is_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/process/args", json!(null), "", "no program"),
            ("/process/args", json!([]), "", "no program"),
            ("/process/args", json!("sh"), "", "expected a sequence"),
            ("/process/args/0", json!("s\0h"), "", "NUL"),
            ("/process/cwd", json!(null), "", "empty"),
            ("/process/cwd", json!("home"), "", "not absolute"),
            ("/process/env/0", json!("PATH"), "", "NAME=VALUE"),
            ("/process/env/-", json!("=value"), "/process/env/2", "NAME=VALUE"),
            ("/process/env/0", json!(""), "", "NAME=VALUE"),
            ("/process/terminal", json!("true"), "", "expected a boolean"),
            ("/process/consoleSize/width", json!(65_536), "/process/consoleSize", "65535"),
            ("/process/consoleSize/width", json!(null), "/process/consoleSize", "missing field"),
            ("/process/consoleSize/height", json!(-1), "", "invalid value"),
            ("/process/user/uid", json!(-1), "", "invalid value"),
            ("/process/user/uid", json!("root"), "", "invalid type"),
            ("/process/user/uid", json!(4_294_967_295u32), "", "no id"),
            ("/process/user/gid", json!(4_294_967_296u64), "", "invalid value"),
            ("/process/user/uid", json!(65_536), "", "no mapping"),
            ("/process/user/gid", json!(65_536), "", "no mapping"),
            ("/process/user/additionalGids/1", json!(65_536), "", "no mapping"),
            ("/process/user/umask", json!(0o1000), "", "larger than 0777"),
            ("/process/capabilities", json!(["CAP_KILL"]), "", "expected an object"),
            ("/process/rlimits/0/type", json!("RLIMIT_CORES"), "", "unknown resource"),
            ("/process/rlimits/0/type", json!("rlimit_core"), "", "unknown resource"),
            ("/process/rlimits/1/type", json!("RLIMIT_CORE"), "", "second limit"),
            ("/process/rlimits/1/soft", json!(4096), "", "above the hard limit"),
            ("/process/rlimits/1/hard", json!(-1), "", "invalid value"),
            ("/process/rlimits/1/hard", json!(null), "/process/rlimits/1", "missing field"),
            ("/process/rlimits/1", json!("RLIMIT_CORE=1"), "", "expected an object"),
            ("/process/oomScoreAdj", json!(1001), "", "-1000 to 1000"),
            ("/process/oomScoreAdj", json!(-1001), "", "-1000 to 1000"),
            ("/process/scheduler/policy", json!("SCHED_FAIR"), "", "unknown scheduling policy"),
            ("/process/scheduler/policy", json!("SCHED_ISO"), "", "not implement"),
            ("/process/scheduler/policy", json!("SCHED_OTHER"), "/process/scheduler/runtime", "only SCHED_DEADLINE"),
            ("/process/scheduler/policy", json!(null), "/process/scheduler", "missing field"),
            ("/process/scheduler/flags/0", json!("RESET"), "", "unknown scheduling flag"),
            ("/process/scheduler/nice", json!(20), "", "-20 to 19"),
            ("/process/scheduler/priority", json!(1), "", "no priority"),
            ("/process/scheduler", json!({"policy": "SCHED_FIFO"}), "/process/scheduler/priority", "1 to 99"),
            (
                "/process/scheduler",
                json!({"policy": "SCHED_RR", "priority": 100}),
                "/process/scheduler/priority",
                "1 to 99",
            ),
            ("/process/ioPriority/class", json!("IOPRIO_CLASS_HIGH"), "", "unknown I/O priority class"),
            ("/process/ioPriority/priority", json!(8), "", "0 to 7"),
            ("/process/ioPriority/priority", json!(-1), "", "0 to 7"),
            ("/process/ioPriority/class", json!("IOPRIO_CLASS_NONE"), "/process/ioPriority/priority", "0 to 0"),
            ("/process/execCPUAffinity/initial", json!("0-"), "", "no number"),
            ("/process/execCPUAffinity/final", json!("3-1"), "", "backwards"),
            ("/process/execCPUAffinity/final", json!("8192"), "", "larger than 8191"),
        ],
    );
}

#[test]
fn bad_mounts_are_blamed() {
    let ids = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/mounts", json!({}), "", "array of objects"),
            ("/mounts/0", json!("/proc"), "", "expected an object"),
            ("/mounts/0/destination", json!(null), "/mounts/0", "missing field"),
            ("/mounts/0/destination", json!(""), "", "empty"),
            ("/mounts/0/destination", json!("/a\0"), "", "NUL"),
            ("/mounts/0/type", json!(null), "/mounts/0/type", "no file system type"),
            ("/mounts/0/type", json!("none"), "", "no file system type"),
            ("/mounts/7/source", json!(null), "", "without a source"),
            ("/mounts/0/options", json!("ro"), "", "expected a sequence"),
            ("/mounts/0/options", json!([1]), "/mounts/0/options/0", "expected a string"),
            ("/mounts/0/options", json!(["tmpcopyup"]), "", "tmpfs"),
            ("/mounts/7/uidMappings", ids.clone(), "/mounts/7/gidMappings", "without gidMappings"),
            ("/mounts/7/gidMappings", ids.clone(), "/mounts/7/uidMappings", "without uidMappings"),
            ("/mounts/8/uidMappings/0/size", json!(0), "", "no ids"),
            ("/mounts/8/uidMappings/0/hostID", json!(4_294_967_293u32), "", "largest id"),
            (
                "/mounts/8/uidMappings/-",
                json!({"containerID": 2, "hostID": 100, "size": 1}),
                "/mounts/8/uidMappings/1/containerID",
                "overlaps",
            ),
            ("/mounts/10/options/1", json!("idmap=uids=0-10"), "", "INSIDE-OUTSIDE-SIZE"),
            ("/mounts/10/options/1", json!("idmap=uids=0-10-1"), "", "INSIDE-OUTSIDE-SIZE"),
            ("/mounts/10/options/1", json!("idmap=uids=a-b-c;gids=0-0-1"), "", "INSIDE-OUTSIDE-SIZE"),
            ("/mounts/10/options/1", json!("idmap=uids=0-0-1;gids=0-0-1;x"), "", "INSIDE-OUTSIDE-SIZE"),
            ("/mounts/11/options/-", json!("idmap"), "/mounts/11/options", "needs a new mount"),
            ("/linux/rootfsPropagation", json!("sharred"), "", "unknown mount propagation"),
            ("/linux/rootfsPropagation", json!("ro"), "", "unknown mount propagation"),
            ("/linux/maskedPaths/0", json!("proc/kcore"), "", "not absolute"),
            ("/linux/maskedPaths/0", json!(""), "", "empty"),
            ("/linux/readonlyPaths/0", json!("../etc"), "", "not absolute"),
            ("/linux/maskedPaths", json!("/proc"), "", "expected a sequence"),
        ],
    );
}

#[test]
fn bad_devices_are_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/linux/devices/0/type", json!("a"), "", "device rules"),
            ("/linux/devices/0/type", json!("x"), "", "unknown variant"),
            ("/linux/devices/0/type", json!(null), "/linux/devices/0", "missing field"),
            ("/linux/devices/0/path", json!(null), "", "empty"),
            ("/linux/devices/0/path", json!("dev/fuse"), "", "not absolute"),
            ("/linux/devices/0/path", json!("/dev/../etc/passwd"), "", "names no file"),
            ("/linux/devices/0/path", json!("/"), "", "names no file"),
            ("/linux/devices/0/major", json!(null), "", "without a major number"),
            ("/linux/devices/0/minor", json!(null), "", "without a minor number"),
            ("/linux/devices/0/major", json!(-1), "", "0 to 4095"),
            ("/linux/devices/0/major", json!(4096), "", "0 to 4095"),
            ("/linux/devices/0/minor", json!(1_048_576), "", "0 to 1048575"),
            ("/linux/devices/0/uid", json!(65_536), "", "no mapping"),
            ("/linux/devices/0/gid", json!(4_294_967_295u32), "", "no mapping"),
            ("/linux/devices/0/fileMode", json!("0666"), "", "invalid type"),
            ("/linux/devices/1/path", json!("/dev/fuse"), "", "second device"),
        ],
    );
}

#[test]
fn bad_namespaces_are_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/linux/namespaces/0/type", json!("process"), "", "unknown variant"),
            ("/linux/namespaces/0/type", json!("PID"), "", "unknown variant"),
            ("/linux/namespaces/0/type", json!(null), "/linux/namespaces/0", "missing field"),
            ("/linux/namespaces/-", json!({"type": "pid"}), "/linux/namespaces/8/type", "second pid namespace"),
            ("/linux/namespaces/0/path", json!("proc/1/ns/pid"), "", "not absolute"),
            ("/linux/namespaces/0/path", json!("/proc/1\0"), "", "NUL"),
            ("/linux/namespaces", json!({}), "", "array of objects"),
            ("/linux/uidMappings", json!([]), "", "without a mapping"),
            ("/linux/gidMappings", json!(null), "", "without a mapping"),
            ("/linux/uidMappings/0/size", json!(0), "", "no ids"),
            ("/linux/uidMappings/0/size", json!(-1), "", "invalid value"),
            ("/linux/uidMappings/0/size", json!(4_294_967_295u32), "/linux/uidMappings/0/hostID", "largest id"),
            (
                "/linux/uidMappings/-",
                json!({"containerID": 65_535, "hostID": 0, "size": 1}),
                "/linux/uidMappings/1/containerID",
                "overlaps",
            ),
            (
                "/linux/gidMappings/-",
                json!({"containerID": 65_536, "hostID": 100_001, "size": 1}),
                "/linux/gidMappings/1/hostID",
                "overlaps",
            ),
            ("/linux/namespaces/5", json!(null), "/linux/uidMappings", "without a user namespace"),
            ("/linux/timeOffsets/realtime", json!({"secs": 1}), "", "unknown clock"),
            ("/linux/timeOffsets/boottime/nanosecs", json!(1_000_000_000), "", "a second or more"),
            ("/linux/timeOffsets/boottime", json!(5), "", "expected an object"),
            ("/linux/namespaces/7", json!(null), "/linux/timeOffsets", "without a new time namespace"),
            (
                "/linux/namespaces/7/path",
                json!("/proc/1/ns/time"),
                "/linux/timeOffsets",
                "without a new time namespace",
            ),
            ("/linux/namespaces/3", json!(null), "/hostname", "without a uts namespace"),
            ("/linux/namespaces/4", json!(null), "/mounts", "without a mount namespace"),
            ("/linux/namespaces/1", json!(null), "/linux/netDevices", "without a network namespace"),
            ("/linux/namespaces/2", json!(null), "/linux/sysctl/fs.mqueue.msg_max", "needs a ipc namespace"),
        ],
    );
}

#[test]
fn bad_linux_settings_are_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/linux/sysctl/kernel.panic", json!("1"), "", "belongs to no namespace"),
            ("/linux/sysctl/vm.swappiness", json!("1"), "", "belongs to no namespace"),
            ("/linux/sysctl/net.ipv4.ip_forward", json!(1), "", "expected a string"),
            ("/linux/sysctl/net.ipv4.conf.~1~1.x", json!("1"), "", "no name of a kernel parameter"),
            ("/linux/sysctl/net~1..~1kernel~1core_pattern", json!("|/x"), "", "no name of a kernel parameter"),
            ("/linux/sysctl/net..core", json!("1"), "", "no name of a kernel parameter"),
            ("/linux/sysctl/", json!("1"), "", "no name of a kernel parameter"),
            ("/linux/sysctl/kernel.hostname", json!("x"), "", "contradicts hostname"),
            ("/linux/sysctl/kernel.domainname", json!("x"), "", "contradicts domainname"),
            ("/linux/netDevices/eth0/name", json!("a/b"), "", "invalid character"),
            ("/linux/netDevices/eth0/name", json!("sixteen-letters-"), "", "longer than 15"),
            ("/linux/netDevices/eth0/name", json!("ens4"), "", "second network device"),
            ("/linux/netDevices/eth0/name", json!("veth%s"), "", "invalid character"),
            ("/linux/netDevices/eth0/name", json!("v%d%d"), "", "invalid character"),
            ("/linux/netDevices/eth0/name", json!("v/%d"), "", "invalid character"),
            ("/linux/netDevices/eth%d", json!({}), "", "invalid character"),
            ("/linux/netDevices/..", json!({}), "", "names a directory"),
            ("/linux/netDevices/a b", json!({}), "", "invalid character"),
            ("/linux/netDevices/", json!({}), "", "empty"),
            ("/linux/intelRdt/closID", json!("a/b"), "", "no name of a directory"),
            ("/linux/intelRdt/closID", json!(".."), "", "no name of a directory"),
            ("/linux/intelRdt/closID", json!("info"), "", "belongs to the kernel"),
            ("/linux/intelRdt/memBwSchema", json!("L3:0=1"), "", "MB:"),
            ("/linux/intelRdt/memBwSchema", json!("MB:0=1\nL3:0=1"), "", "one line"),
            ("/linux/intelRdt/schemata/0", json!("L3:0=1\nMB:0=1"), "", "one line"),
            ("/linux/memoryPolicy/mode", json!("MPOL_RANDOM"), "", "unknown memory policy"),
            ("/linux/memoryPolicy/mode", json!(null), "", "unknown memory policy"),
            ("/linux/memoryPolicy/flags/0", json!("MPOL_F_FAST"), "", "unknown memory policy flag"),
            ("/linux/memoryPolicy/nodes", json!("x"), "", "no number"),
            ("/linux/memoryPolicy/nodes", json!("1024"), "", "larger than 1023"),
            ("/linux/memoryPolicy/nodes", json!(null), "", "needs nodes"),
            ("/linux/memoryPolicy/mode", json!("MPOL_LOCAL"), "/linux/memoryPolicy/nodes", "takes no nodes"),
            (
                "/linux/memoryPolicy/flags/-",
                json!("MPOL_F_RELATIVE_NODES"),
                "/linux/memoryPolicy/flags",
                "static and relative",
            ),
            ("/linux/memoryPolicy/flags/-", json!("MPOL_F_NUMA_BALANCING"), "/linux/memoryPolicy/flags", "takes no"),
            ("/linux/personality/domain", json!("BSD"), "", "unknown variant"),
            (
                "/linux/personality/flags",
                json!(["ADDR_NO_RANDOMIZE"]),
                "/linux/personality/flags/0",
                "unknown personality flag",
            ),
            ("/linux/seccomp/defaultAction", json!("SCMP_ACT_MAYBE"), "", "unknown seccomp action"),
            ("/linux/seccomp/syscalls/0/action", json!(null), "/linux/seccomp/syscalls/0", "missing field"),
            ("/linux/resources/pids/limit", json!("max"), "", "invalid type"),
        ],
    );
}

#[test]
fn bad_hooks_are_blamed() {
    check(
        "plan/every-property.json",
        &root(),
        vec![
            ("/hooks", json!([]), "", "expected an object"),
            ("/hooks/prestart/0/path", json!(null), "/hooks/prestart/0", "missing field"),
            ("/hooks/prestart/0/path", json!("fix-mounts"), "", "not absolute"),
            ("/hooks/createRuntime/1/path", json!(""), "", "empty"),
            ("/hooks/createRuntime/1/timeout", json!(0), "", "not above zero"),
            ("/hooks/poststart/0/timeout", json!(-1), "", "not above zero"),
            ("/hooks/poststart/0/timeout", json!("5s"), "", "invalid type"),
            ("/hooks/poststop/0/args/1", json!("a\0"), "", "NUL"),
            ("/hooks/startContainer", json!({"path": "/x"}), "", "array of objects"),
        ],
    );
}

#[test]
fn bad_for_an_unprivileged_user_is_blamed() {
    check(
        "plan/rootless.json",
        &user(),
        vec![
            ("/linux/namespaces/4", json!(null), "/linux/uidMappings", "without a user namespace"),
            ("/process/user/additionalGids", json!([5]), "/process/user/additionalGids/0", "no mapping"),
        ],
    );
    let mut base = read("plan/default.json");
    assert_eq!(plan(&parse(&base).unwrap(), &user()).unwrap_err().pointer(), Some("/linux/namespaces"));
    patch(&mut base, "/linux/netDevices", Some(json!({"eth0": {}})));
    let told = HostFacts { rootless: true, ..root() };
    assert_eq!(plan(&parse(&base).unwrap(), &told).unwrap_err().pointer(), Some("/linux/netDevices"));
}

#[test]
fn bad_for_a_host_without_security_modules_is_blamed() {
    let bare = HostFacts { apparmor: false, selinux: false, ..root() };
    check(
        "plan/default.json",
        &bare,
        vec![
            ("/process/apparmorProfile", json!("docker-default"), "", "AppArmor is not enabled"),
            ("/process/selinuxLabel", json!("a:b:c"), "", "SELinux is not enabled"),
            ("/linux/mountLabel", json!("a:b:c"), "", "SELinux is not enabled"),
            (
                "/mounts/-",
                json!({"destination": "/x", "source": "/x", "options": ["bind", "idmap"]}),
                "/mounts/7/options",
                "without a user namespace",
            ),
        ],
    );
    let mut unconfined = read("plan/default.json");
    patch(&mut unconfined, "/process/apparmorProfile", Some(json!("unconfined")));
    let (plan, _) = plan(&parse(&unconfined).unwrap(), &bare).unwrap();
    assert_eq!(plan.init.process.apparmor_profile, None);
}

/// What the specification's own test suite for its schema says about Linux: three bad files (two of an earlier
/// version; the third, a huge page size of 64kB, is judged with the resources), three good ones. Its bad and good files for FreeBSD and z/OS are bad or good by sections that a
/// Linux runtime does not read.
#[test]
fn specifications_own_examples_are_judged_as_it_says() {
    let linux = |linux: Value| json!({"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "linux": linux});
    for (bad, pointer) in [
        (json!({"netDevices": {"eth0": {"name": 23}}}), "/linux/netDevices/eth0/name"),
        (
            json!({"resources": {"rdma": {"mlx5_1": {"hcaHandles": "not a uint32"}}}}),
            "/linux/resources/rdma/mlx5_1/hcaHandles",
        ),
        (json!({"resources": {"rdma": [{"device": "mlx5_1", "hcaHandles": 1}]}}), "/linux/resources/rdma"),
    ] {
        assert_eq!(parse(&linux(bad)).unwrap_err().pointer(), Some(pointer));
    }
    for good in [
        json!({"netDevices": {"eth0": {"name": "container_eth0"}, "ens4": {}, "ens5": {}}}),
        json!({"resources": {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 1000}}}}),
    ] {
        parse(&linux(good)).unwrap();
    }
    for good in [
        json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "freebsd": {"devices": [{"path": "pf", "mode": "0700"}]}}),
        json!({"ociVersion": "1.0.0", "root": {"path": "rootfs"}, "zos": {"namespaces": [{"type": "pid"}]}}),
    ] {
        parse(&good).unwrap();
    }
}

#[test]
fn lenient_values_are_accepted() {
    let base = read("plan/every-property.json");
    for (pointer, value) in [
        ("/ociVersion", json!("1.0.2-dev")),
        ("/process/consoleSize", json!({"height": 0, "width": 0})),
        ("/process/user/additionalGids", json!(null)),
        ("/process/capabilities", json!(null)),
        ("/process/rlimits", json!(null)),
        ("/process/scheduler", json!({"policy": "SCHED_OTHER", "nice": null, "flags": null})),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_NONE", "priority": 0})),
        ("/process/execCPUAffinity", json!({"initial": "", "final": null})),
        ("/process/apparmorProfile", json!("")),
        ("/hostname", json!("")),
        ("/hooks", json!({"prestart": null, "poststop": []})),
        ("/mounts/0/options", json!(null)),
        ("/linux/namespaces/0/path", json!("")),
        ("/linux/rootfsPropagation", json!("")),
        ("/linux/intelRdt", json!({"schemata": [], "enableCMT": true})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_DEFAULT", "nodes": ""})),
        ("/linux/seccomp/syscalls/0/names", json!(null)),
        ("/linux/resources/devices/0/type", json!("")),
        ("/linux/resources/pids", json!({})),
        ("/annotations", json!(null)),
        ("/unknown", json!({"a": [1, {"b": null}]})),
    ] {
        let mut config = base.clone();
        patch(&mut config, pointer, Some(value));
        parse(&config).and_then(|config| plan(&config, &root())).unwrap_or_else(|error| panic!("{pointer}: {error}"));
    }
}

#[test]
fn warnings_name_what_is_ignored() {
    let base = read("plan/default.json");
    for (pointer, value, blamed, words) in [
        ("/ociVersion", json!("1.9.0"), "/ociVersion", "newer than 1.3.0"),
        ("/ociVersion", json!("0.5.0-dev"), "/ociVersion", "read as 1.0.0"),
        ("/process/capabilities/bounding/0", json!("CAP_FLY"), "/process/capabilities/bounding", "unknown: CAP_FLY"),
        ("/process/capabilities/bounding/0", json!("cap_kill"), "/process/capabilities/bounding", "unknown: cap_kill"),
        (
            "/process/capabilities/ambient",
            json!(["CAP_KILL"]),
            "/process/capabilities/ambient",
            "not permitted and inheritable",
        ),
        ("/process/capabilities/effective/0", json!("CAP_BPF"), "/process/capabilities/effective", "not permitted"),
        ("/mounts/0/destination", json!("proc"), "/mounts/0/destination", "taken as /proc"),
    ] {
        let mut config = base.clone();
        patch(&mut config, pointer, Some(value));
        let (_, warnings) = plan(&parse(&config).unwrap(), &root()).unwrap();
        let [warning] = warnings.as_slice() else { panic!("{pointer}: {warnings:?}") };
        assert_eq!(warning.pointer.as_deref(), Some(blamed));
        assert!(warning.message.contains(words), "{warning}");
    }
}

#[test]
fn terminal_and_console_must_agree() {
    let mut value = read("plan/default.json");
    for (terminal, console, good) in [
        (true, Console::Nobody, false),
        (true, Console::Socket, true),
        (true, Console::Foreground, true),
        (false, Console::Nobody, true),
        (false, Console::Socket, false),
        (false, Console::Foreground, true),
    ] {
        patch(&mut value, "/process/terminal", Some(json!(terminal)));
        let judged = Plan::new(&parse(&value).unwrap(), Path::new("/b"), &root(), &options(console));
        assert_eq!(judged.is_ok(), good, "{terminal} {console:?}");
    }
}
