//! Limits that hold: each kind is seen in the kernel's files and in effect, changed by `update` while the container
//! runs, and counted by `events`. Nothing here measures time: what is compared are the kernel's own counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Container, Lab, args, eventually, json, runtime_path};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// Whether the container's processes are in a v1 hierarchy of `controller`.
fn is_v1(container: &Container<'_>, controller: &str) -> bool {
    cgroup_line(container, controller).is_some()
}

fn cgroup_line(container: &Container<'_>, controller: &str) -> Option<String> {
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let line = table.lines().find(|line| line.split(':').nth(1).unwrap().split(',').any(|c| c == controller))?;
    line.splitn(3, ':').nth(2).map(str::to_owned)
}

/// A file of `controller` for the container: `v1` or `v2` is its name.
fn limit_file(container: &Container<'_>, controller: &str, v1: &str, v2: &str) -> PathBuf {
    match cgroup_line(container, controller) {
        Some(path) => PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}/{v1}")),
        None => PathBuf::from(format!("/sys/fs/cgroup{}/{v2}", cgroup_line(container, "").unwrap())),
    }
}

fn limit(container: &Container<'_>, controller: &str, v1: &str, v2: &str) -> String {
    fs::read_to_string(limit_file(container, controller, v1, v2)).unwrap().trim().to_owned()
}

fn memory_limit(container: &Container<'_>) -> String {
    limit(container, "memory", "memory.limit_in_bytes", "memory.max")
}

fn pids_limit(container: &Container<'_>) -> String {
    limit(container, "pids", "pids.max", "pids.max")
}

fn sleeper<'a>(lab: &'a Lab, resources: Value) -> Container<'a> {
    lab.start(&lab.bundle(|config| {
        args(config, &["sleep", "1000"]);
        config["linux"]["resources"] = resources;
    }))
}

fn stats(container: &Container<'_>) -> Value {
    let line: Value = serde_json::from_str(&container.with("events", &["--stats"], &[]).ok().stdout).unwrap();
    assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!(container.id)));
    line["data"].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn update_by_flags_moves_every_limit() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({"memory": {"limit": 64 * MIB, "swap": 128 * MIB}, "pids": {"limit": 50}}));
    // Both directions: memory cannot pass memory and swap together, nor stay above it.
    for (memory, swap) in [(256, 512), (32, 64)] {
        let (memory_flag, swap_flag) = (format!("{memory}m"), format!("{swap}MiB"));
        container.with("update", &["--memory", &memory_flag, "--memory-swap", &swap_flag], &[]).ok();
        assert_eq!(memory_limit(&container), (memory * MIB).to_string());
        let both = if is_v1(&container, "memory") { swap } else { swap - memory };
        let found = limit(&container, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        assert_eq!(found, (both * MIB).to_string());
        assert_eq!(pids_limit(&container), "50", "what is not named stays");
    }
    container
        .with(
            "update",
            &["--cpu-share=512", "--cpu-period=50000", "--cpu-quota=25000", "--cpuset-cpus=0", "--pids-limit", "60"],
            &[],
        )
        .ok();
    assert_eq!(pids_limit(&container), "60");
    assert_eq!(limit(&container, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    if is_v1(&container, "cpu") {
        assert_eq!(limit(&container, "cpu", "cpu.cfs_quota_us", ""), "25000");
        assert_eq!(limit(&container, "cpu", "cpu.cfs_period_us", ""), "50000");
        assert_eq!(limit(&container, "cpu", "cpu.shares", ""), "512");
    } else {
        assert_eq!(limit(&container, "cpu", "", "cpu.max"), "25000 50000");
        assert_eq!(limit(&container, "cpu", "", "cpu.weight"), "59");
    }
    container.with("update", &["--memory", "-1", "--cpu-quota", "-1", "--pids-limit", "-1"], &[]).ok();
    assert_eq!(pids_limit(&container), "max");
    assert!(memory_limit(&container) == "max" || memory_limit(&container).len() > 15);
    let quota = limit(&container, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota == "-1" || quota == "max 50000", "the period of the update before is kept: {quota}");
}

#[test]
fn update_by_document_is_kept_and_the_bundle_is_not_read_again() {
    let lab = Lab::new();
    let bundle = lab.bundle(|config| {
        args(config, &["sleep", "1000"]);
        config["linux"]["resources"] = json!({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}});
    });
    let container = lab.create(&bundle);
    bundle.write_config("nonsense");
    let document = json!({"memory": {"limit": 80 * MIB, "swap": 0}, "cpu": {"shares": 0, "cpus": ""}}).to_string();
    container.with_cmd("update", &["--resources", "-"], &[]).stdin(document).output().ok();
    assert_eq!(memory_limit(&container), (80 * MIB).to_string());
    container.op("start").ok();
    // Above memory and swap together as they were configured: refused by what is stored, whatever the kernel thinks.
    let refused = container.with("update", &["--memory", "100m"], &[]);
    refused.fails(1, "is below the memory limit").at("/linux/resources/memory/swap");
    let file = lab.path("resources.json");
    fs::write(&file, json!({"memory": {"swap": 128 * MIB}, "pids": {"limit": 0}}).to_string()).unwrap();
    container.with("update", &["-r", file.to_str().unwrap()], &[]).ok();
    container.with("update", &["--memory", "100m"], &[]).ok();
    assert_eq!(memory_limit(&container), (100 * MIB).to_string());
    assert_eq!(pids_limit(&container), "0", "0 is a limit");
    container.with("pause", &[], &[]).ok();
    container.with("update", &["--pids-limit", "7"], &[]).ok();
    assert_eq!((pids_limit(&container).as_str(), container.status().as_str()), ("7", "paused"));
    container.with("resume", &[], &[]).ok();
    container.stop();
    container.with("update", &["--pids-limit", "8"], &[]).fails(1, "container not running");
}

#[test]
fn update_that_fails_names_file_value_and_errno_and_changes_nothing() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 50}}));
    let cpus = limit(&container, "cpuset", "cpuset.cpus", "cpuset.cpus");
    let document = json!({"memory": {"limit": 32 * MIB}, "cpu": {"cpus": "900"}, "pids": {"limit": 40}}).to_string();
    let refused = container.with_cmd("update", &["-r", "-"], &[]).stdin(document).output();
    let refused = refused.fails(1, "write \"900\" to cpuset.cpus of ").at("/linux/resources/cpu/cpus");
    assert!(refused.stderr.contains("(E"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("could not all be put back"), "{}", refused.stderr);
    assert_eq!(memory_limit(&container), (64 * MIB).to_string());
    assert_eq!(pids_limit(&container), "50");
    assert_eq!(limit(&container, "cpuset", "cpuset.cpus", "cpuset.cpus"), cpus);
    // Nor was anything stored: the next update is not based on what failed.
    container.with("update", &["--pids-limit", "41"], &[]).ok();
    assert_eq!(memory_limit(&container), (64 * MIB).to_string());
    container.with_cmd("update", &["-r", "-"], &[]).stdin("{").output().fails(1, "not JSON");
    container.with_cmd("update", &["-r", "-"], &[]).output().fails(1, "it is empty");
    container.with("update", &["--l3-cache-schema", "L3:0=f"], &[]).fails(1, "without a class of service");
}

#[test]
fn update_below_what_is_in_use_is_refused_when_asked_to_check() {
    let lab = Lab::new();
    let script = "dd if=/dev/zero of=/dev/shm/full bs=1M count=24 2>/dev/null; : >/dev/shm/done; exec sleep 1000";
    let container = lab.start(&lab.bundle(|config| {
        args(config, &["sh", "-c", script]);
        // Swap would take it all.
        config["linux"]["resources"] = json!({"memory": {"limit": 64 * MIB, "swap": 64 * MIB}});
    }));
    let done = format!("/proc/{}/root/dev/shm/done", container.pid());
    eventually("the memory is used", || fs::exists(&done).unwrap());
    let document = json!({"memory": {"limit": 4 * MIB, "swap": 4 * MIB, "checkBeforeUpdate": true}}).to_string();
    container.with_cmd("update", &["-r", "-"], &[]).stdin(document).output().fails(1, "in use");
    assert_eq!(memory_limit(&container), (64 * MIB).to_string());
    assert_eq!(container.status(), "running");
}

#[test]
fn update_devices_takes_effect_on_what_runs() {
    let lab = Lab::new();
    let container = lab.start(&lab.bundle(|config| {
        args(config, &["sleep", "1000"]);
        config["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]);
    }));
    let opens = || container.exec(&["sh", "-c", ": >>/dev/kmsg"]);
    let denied = opens();
    assert_ne!(denied.code(), 0);
    assert!(denied.stderr.contains("Operation not permitted"), "EPERM: {denied:?}");
    let rule = |access: &str| {
        let allow = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": access});
        let document = json!({"devices": [{"allow": false}, allow]}).to_string();
        container.with_cmd("update", &["-r", "-"], &[]).stdin(document).output().ok();
    };
    rule("w");
    opens().ok();
    assert_eq!(container.exec(&["sh", "-c", ": >>/dev/null"]).code(), 0, "default devices stay allowed");
    rule("r");
    assert_ne!(opens().code(), 0);
}

#[test]
fn cpu_quota_bounds_the_time_that_the_kernel_counts() {
    let lab = Lab::new();
    let (quota, period) = (10_000, 50_000);
    let container = lab.start(&lab.bundle(|config| {
        args(config, &["sh", "-c", "while :; do :; done"]);
        config["linux"]["resources"] = json!({"cpu": {"quota": quota, "period": period}});
    }));
    eventually("it is throttled", || number(&stats(&container)["cpu"]["throttling"]["throttledPeriods"]) >= 10);
    let cpu = stats(&container)["cpu"].clone();
    let periods = number(&cpu["throttling"]["periods"]);
    // A period that has begun is not counted yet, and each CPU may hold a slice of 5 ms.
    let most = (periods + 2) * quota * 1000 + 20_000_000;
    let used = number(&cpu["usage"]["total"]);
    assert!(used > 0 && used <= most, "{used} ns in {periods} periods of {quota} us");
    assert!(number(&cpu["throttling"]["throttledTime"]) > 0);

    container.with("update", &["--cpu-quota", "-1"], &[]).ok();
    let before = stats(&container)["cpu"].clone();
    eventually("it runs on", || number(&stats(&container)["cpu"]["usage"]["total"]) > most + 10 * quota * 1000);
    let after = stats(&container)["cpu"].clone();
    let throttled = |cpu: &Value| number(&cpu["throttling"]["throttledPeriods"]);
    assert!(throttled(&after) <= throttled(&before) + 1, "no quota, no throttling");
}

#[test]
fn memory_limit_kills_and_events_tell_until_the_end() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}}));
    let events = container.with_cmd("events", &["--interval", "1h"], &[]).spawn();
    // Watching has begun once the descriptor for it is open.
    let watches = || {
        let links = fs::read_dir(format!("/proc/{}/fd", events.pid())).unwrap();
        links.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| {
            let link = link.to_string_lossy().into_owned();
            link.contains("[eventfd]") || link.contains("memory.events")
        })
    };
    let registered = || {
        !is_v1(&container, "memory")
            || fs::read_to_string(format!("/proc/{}/wchan", events.pid())).is_ok_and(|at| at.contains("poll"))
    };
    eventually("events watches", || watches() && registered());
    let hog = container.exec(&["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
    assert_eq!(hog.code(), 128 + 9, "{hog:?}");
    let expected = json!({"type": "oom", "id": container.id});
    let is_oom = |line: &str| serde_json::from_str::<Value>(line).unwrap() == expected;
    eventually("the event is told", || events.stdout().lines().any(is_oom));
    let most = number(&stats(&container)["memory"]["usage"]["max"]);
    assert!(most > 23 * MIB && most <= 24 * MIB, "{most}");
    assert_eq!(container.status(), "running");
    container.stop();
    let told = events.wait().ok().stdout;
    assert!(told.lines().all(is_oom), "{told}");
}

#[test]
fn events_reports_from_time_to_time_and_refuses_what_is_no_interval() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({"pids": {"limit": 20}}));
    let events = container.with_cmd("events", &["-interval=20ms"], &[]).spawn();
    // Shorter than any report takes: the end of the container is noticed all the same.
    let busy = container.with_cmd("events", &["--interval", "1us"], &[]).spawn();
    eventually("they report", || [&events, &busy].iter().all(|child| child.stdout().lines().count() >= 3));
    container.stop();
    busy.wait().ok();
    let lines = events.wait().ok().stdout;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["type"], &line["data"]["pids"]["limit"]), (&json!("stats"), &json!(20)));
    }
    for wrong in ["5", "0s", "-1s", "soon"] {
        container.with("events", &["--interval", wrong], &[]).fails(1, "interval");
    }
    container.with("events", &["--stats"], &[]).fails(1, "not running");
    container.with("events", &[], &[]).fails(1, "not running");
}

#[test]
fn events_stats_are_true_and_have_every_section() {
    let lab = Lab::new();
    let limits = json!({"memory": {"limit": 64 * MIB}, "pids": {"limit": 9}, "cpu": {"cpus": "0"}});
    let container = sleeper(&lab, limits);
    let data = stats(&container);
    assert_eq!(data["memory"]["usage"]["limit"], 64 * MIB);
    let used = number(&data["memory"]["usage"]["usage"]);
    assert!(used > 0 && used <= number(&data["memory"]["usage"]["max"]) && used < 64 * MIB, "{data}");
    for section in ["swap", "kernel", "kernelTCP"] {
        let section = &data["memory"][section];
        assert!(section["limit"].is_u64() && section["failcnt"].is_u64(), "{data}");
    }
    assert!(data["memory"]["raw"]["pgfault"].is_u64(), "{data}");
    assert_eq!(data["pids"], json!({"current": 1, "limit": 9}));
    assert_eq!(data["cpuset"]["cpus"], json!([0]));
    assert!(data["cpu"]["usage"]["kernel"].is_u64() && data["cpu"]["usage"]["user"].is_u64());
    assert!(data["blkio"].is_object() && data["hugetlb"].is_object() && data["intel_rdt"].is_object());
    if fs::exists("/proc/pressure/cpu").unwrap() && fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap() {
        for section in ["cpu", "memory", "blkio"] {
            assert!(data[section]["psi"]["some"]["total"].is_u64(), "{data}");
        }
    }
    assert_eq!(data["network_interfaces"][0]["Name"], "lo");
}

#[test]
fn pids_limit_makes_fork_fail() {
    let lab = Lab::new();
    let script = "i=0; while [ $i -lt 12 ]; do sleep 1000 & i=$((i+1)); done; wait";
    let bundle = lab.bundle(|config| {
        args(config, &["sh", "-c", script]);
        config["linux"]["resources"] = json!({"pids": {"limit": 6}});
    });
    let output = lab.run(&bundle);
    assert_ne!(output.code(), 0);
    assert!(output.stderr.contains("can't fork"), "{output:?}");
}

/// A block device over a file; detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn new(lab: &Lab) -> Loop {
        let file = lab.path("disk");
        fs::File::create(&file).unwrap().set_len(16 * MIB).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "losetup: {}", String::from_utf8_lossy(&output.stderr));
        Loop(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()))
    }

    fn numbers(&self) -> (u64, u64) {
        let device = std::os::linux::fs::MetadataExt::st_rdev(&fs::metadata(&self.0).unwrap());
        (nix::sys::stat::major(device), nix::sys::stat::minor(device))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

#[test]
fn block_io_limit_holds_a_writer_back_until_it_is_raised() {
    let lab = Lab::new();
    let disk = Loop::new(&lab);
    let (major, minor) = disk.numbers();
    let writer = |rate: u64| {
        lab.start(&lab.bundle(|config| {
            args(config, &["dd", "if=/dev/zero", "of=/dev/disk", "bs=64k", "count=128", "oflag=direct"]);
            let node = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor});
            config["linux"]["devices"] = json!([node]);
            let allow = json!({"allow": true, "type": "b", "major": major, "minor": minor, "access": "rwm"});
            let throttle = json!([{"major": major, "minor": minor, "rate": rate}]);
            config["linux"]["resources"] =
                json!({"devices": [{"allow": false}, allow], "blockIO": {"throttleWriteBpsDevice": throttle}});
        }))
    };
    // 8 MiB each: two minutes, if nobody changes the limit, against no time at all.
    let slow = writer(64 << 10);
    let fast = writer(0);
    fast.wait("stopped");
    assert_eq!(slow.status(), "running");
    let document = json!({"blockIO": {"throttleWriteBpsDevice": [{"major": major, "minor": minor, "rate": 0}]}});
    slow.with_cmd("update", &["-r", "-"], &[]).stdin(document.to_string()).output().ok();
    slow.wait("stopped");
    drop((slow, fast));
}

#[test]
fn network_class_and_priority_are_set_where_v1_offers_them() {
    let lab = Lab::new();
    let bundle = lab.bundle(|config| {
        args(config, &["sleep", "1000"]);
        config["linux"]["resources"]["network"] =
            json!({"classID": 1_048_577, "priorities": [{"name": "lo", "priority": 5}]});
    });
    let path = bundle.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let mount = lab.path("net");
    fs::create_dir(&mount).unwrap();
    // A v1 hierarchy of its own, seen by nobody else.
    let script = r#"set -e
        mount -t cgroup -o net_cls,net_prio none "$1"
        "$2" --root "$3" run --detach --bundle "$4" "$5" </dev/null >/dev/null
        cat "$1$6/net_cls.classid"; grep '^lo ' "$1$6/net_prio.ifpriomap"
        printf '{"network":{"classID":7,"priorities":[{"name":"lo","priority":6}]}}' |
            "$2" --root "$3" update --resources - "$5"
        cat "$1$6/net_cls.classid"; grep '^lo ' "$1$6/net_prio.ifpriomap"
        wc -l <"$1$6/cgroup.procs"
        "$2" --root "$3" delete --force "$5"
        test ! -e "$1$6"
        # What is unmounted before the kernel has let go of the last cgroup stays a hierarchy of every process.
        for _ in $(seq 20); do
            umount "$1"
            for _ in $(seq 10); do
                grep -q net_cls /proc/self/cgroup || exit 0
                sleep 0.1
            done
            mount -t cgroup -o net_cls,net_prio none "$1"
        done
        exit 9"#;
    let state = lab.state_root();
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([&mount, &runtime_path(), &state, &bundle.path])
        .args([lab.id(), path])
        .env("CORACLE_TEST_TAG", &lab.tag)
        .output()
        .unwrap();
    if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap() {
        // v2 alone has neither, and a v1 hierarchy elsewhere is not the runtime's.
        assert!(String::from_utf8(output.stderr).unwrap().contains("/linux/resources/network"));
        return;
    }
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "1048577\nlo 5\n7\nlo 6\n1\n");
}

#[test]
fn pause_and_resume_are_seen_in_the_state_and_in_effect() {
    let lab = Lab::new();
    let container = lab.start(&lab.bundle(|config| args(config, &["sh", "-c", "while :; do :; done"])));
    let used = || number(&stats(&container)["cpu"]["usage"]["total"]);
    container.op("resume").fails(1, "cannot resume a container that is running");
    container.op("pause").ok();
    assert_eq!(container.status(), "paused");
    let before = used();
    container.op("pause").fails(1, "cannot pause a container that is paused");
    container.exec(&["true"]).fails(255, "cannot exec in a paused container (use --ignore-paused to override)");
    assert_eq!(used(), before, "nothing ran since it was paused");
    container.op("resume").ok();
    assert_eq!(container.status(), "running");
    eventually("it runs again", || used() > before);
}

#[test]
fn delete_does_not_sleep() {
    let lab = Lab::new();
    let crowd = "i=0; while [ $i -lt 20 ]; do sleep 1000 & i=$((i+1)); done; wait";
    for shared_pids in [false, true] {
        let container = lab.start(&lab.bundle(|config| {
            args(config, &["sh", "-c", crowd]);
            if shared_pids {
                config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
            }
        }));
        eventually("all are there", || number(&stats(&container)["pids"]["current"]) == 21);
        let trace = lab.path("trace");
        let script = format!("exec strace -f -o {} \"$@\"", trace.display());
        container.with_cmd("delete", &["--force"], &[]).after(&script).output().ok();
        let text = fs::read_to_string(&trace).unwrap();
        assert!(text.contains("rmdir(") || text.contains("AT_REMOVEDIR"), "{text}");
        let sleeps: Vec<&str> = text.lines().filter(|line| line.contains("nanosleep(")).collect();
        assert!(sleeps.is_empty(), "shared pids {shared_pids}: {sleeps:#?}");
    }
}

#[test]
fn delete_names_processes_that_stay_and_succeeds_later() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({}));
    let procs = limit_file(&container, "pids", "cgroup.procs", "cgroup.procs");
    container.stop();
    // The kernel removes no cgroup that has a process; this one is not the container's to kill.
    let stranger = lab.bystander(&["sleep", "1000"]);
    let pid = stranger.0.id();
    fs::write(procs, pid.to_string()).unwrap();
    container.op("delete").fails(1, &format!("it has the processes {pid} (sleep, state S)"));
    assert_eq!(container.status(), "stopped");
    drop(stranger);
    container.op("delete").ok();
    lab.assert_clean();
}

#[test]
fn exec_into_a_cgroup_that_hands_controllers_down_goes_beside_init() {
    let lab = Lab::new();
    let container = sleeper(&lab, json!({}));
    let line = cgroup_line(&container, "").expect("the host has no cgroup v2");
    let mount = if is_v1(&container, "pids") { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
    let directory = PathBuf::from(format!("{mount}{line}"));
    let inner = directory.join("init");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("cgroup.procs"), container.pid().to_string()).unwrap();
    // On a hybrid host no controller may reach the container; then it has room itself.
    let controllers = fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
    let handed_down = controllers.split_whitespace().next();
    if let Some(controller) = handed_down {
        fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
    }
    let own = container.exec(&["cat", "/proc/self/cgroup"]).ok().stdout;
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
    assert!(own.ends_with("/init") == handed_down.is_some(), "{own}");
    container.with("exec", &["--cgroup", "foo:/"], &["true"]).fails(255, "\"foo:/\"");
    container.with("exec", &["--cgroup", "../x"], &["true"]).fails(255, "leads out of the container's cgroup");
}

/// Many containers at once through their whole life. `CORACLE_TEST_CONTAINERS` is how many, 64 if it is not set.
#[test]
fn many_containers_at_once_leave_nothing() {
    const AT_ONCE: usize = 8;
    let lab = Lab::new();
    let count = std::env::var("CORACLE_TEST_CONTAINERS").map_or(64, |count| count.parse().unwrap());
    let bundle = lab.bundle(|config| {
        args(config, &["sleep", "1000"]);
        config["linux"]["resources"]["memory"] = json!({"limit": 64 * MIB});
        // Each gets a cgroup named after itself.
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    let container = lab.start(&bundle);
                    container.with("update", &["--memory", "48m", "--pids-limit", "20"], &[]).ok();
                    assert_eq!(memory_limit(&container), (48 * MIB).to_string());
                    container.op("pause").ok();
                    assert_eq!(container.status(), "paused");
                    container.op("resume").ok();
                    container.with("delete", &["--force"], &[]).ok();
                }
            });
        }
    });
    lab.assert_clean();
}
