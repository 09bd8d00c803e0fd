//! The room against the kernel: needs root and the host's cgroup file systems, and fails without. Every cgroup has
//! the pid of the test in its name and is removed even when the test fails.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::record::Version;
use super::*;
use crate::host::CgroupLayout;
use crate::plan::resources::{CgroupManager, CgroupPath, ResourcesConfig};

fn facts() -> HostFacts {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let cgroup = match () {
        () if exists("/sys/fs/cgroup/cgroup.controllers") => CgroupLayout::Unified,
        () if exists("/sys/fs/cgroup/unified/cgroup.controllers") => CgroupLayout::Hybrid,
        () => CgroupLayout::Legacy,
    };
    HostFacts {
        euid: 0,
        egid: 0,
        rootless: false,
        cgroup,
        last_capability: 40,
        effective_capabilities: u64::MAX,
        apparmor: false,
        selinux: false,
        in_user_namespace: false,
    }
}

fn resources(json: &str) -> Resources {
    Resources::new(&serde_json::from_str(json).unwrap()).unwrap().0
}

fn plan(path: &str, json: &str) -> CgroupPlan {
    let config: ResourcesConfig = serde_json::from_str(json).unwrap();
    CgroupPlan::new(Some(path), Some(&config), "unused", CgroupManager::Cgroupfs, &facts()).unwrap().0
}

fn unique_path() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("/coracle-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A cgroup and the processes put into it; both go with it.
struct Scratch {
    cgroup: Cgroup,
    children: Vec<Child>,
}

impl Scratch {
    fn new(json: &str) -> Scratch {
        let (cgroup, warnings) = Cgroup::create(&plan(&unique_path(), json), &facts()).unwrap();
        assert_eq!(warnings, []);
        Scratch { cgroup, children: Vec::new() }
    }

    /// Runs `script` inside: a thread joins, and its child is born there.
    fn run(&mut self, script: &str) -> &mut Child {
        self.run_in(script, &[])
    }

    fn run_in(&mut self, script: &str, sub: &[SubCgroup]) -> &mut Child {
        let fds = self.cgroup.join_descriptors_for(sub).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = std::thread::spawn(move || {
            fds.join_tasks().unwrap();
            command.spawn().unwrap()
        });
        let child = child.join().unwrap();
        if let Some(v2) = self.cgroup.record().v2() {
            let procs = v2.directory.join("cgroup.procs");
            std::fs::write(procs, child.id().to_string()).unwrap();
        }
        self.children.push(child);
        self.children.last_mut().unwrap()
    }

    fn v1_file(&self, controller: &str, file: &str) -> PathBuf {
        self.cgroup.record().v1(controller).unwrap().directory.join(file)
    }

    fn v1(&self, controller: &str, file: &str) -> String {
        std::fs::read_to_string(self.v1_file(controller, file)).unwrap().trim().to_owned()
    }

    fn exists(&self) -> usize {
        self.cgroup.hierarchies().iter().filter(|hierarchy| hierarchy.directory.exists()).count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.cgroup.thaw();
        let _ = self.cgroup.signal_all(libc::SIGKILL);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.cgroup.destroy();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

const DOCKER: &str = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
    {"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229}],
    "memory":{"limit":67108864,"swap":134217728,"reservation":33554432,"disableOOMKiller":false},
    "cpu":{"shares":512,"quota":25000,"period":50000,"cpus":"0"},"pids":{"limit":50},"blockIO":{"weight":0}}"#;

#[test]
fn create_docker_limits_hold_and_destroy_leaves_nothing() {
    let scratch = Scratch::new(DOCKER);
    assert!(scratch.exists() > 1);
    for (controller, file, value) in [
        ("memory", "memory.limit_in_bytes", "67108864"),
        ("memory", "memory.memsw.limit_in_bytes", "134217728"),
        ("memory", "memory.soft_limit_in_bytes", "33554432"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "25000"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "50"),
    ] {
        assert_eq!(scratch.v1(controller, file), value, "{file}");
    }
    let devices = scratch.v1("devices", "devices.list");
    assert!(
        devices.contains("c 5:1 rwm") && devices.contains("c 1:3 rwm") && devices.contains("c 136:* rwm"),
        "{devices}"
    );
    assert!(!devices.contains("a *:*") && !devices.contains("10:229"), "{devices}");
    scratch.cgroup.destroy().unwrap();
    assert_eq!(scratch.exists(), 0);
    scratch.cgroup.destroy().unwrap();
}

#[test]
fn create_nested_path_fills_the_parents_sets() {
    let top = Scratch::new("{}");
    let path = format!("{}/a/b", top.cgroup.record().path);
    let (inner, _) = Cgroup::create(&plan(&path, "{}"), &facts()).unwrap();
    let cpus = inner.record().v1("cpuset").unwrap().directory.join("cpuset.cpus");
    assert_eq!(std::fs::read_to_string(cpus).unwrap().trim(), top.v1("cpuset", "cpuset.cpus"));
    inner.destroy().unwrap();
    top.cgroup.destroy().unwrap();
    assert_eq!(top.exists(), 0, "a parent that is left is removed with the rest");
}

#[test]
fn create_failing_limit_names_it_and_leaves_nothing() {
    let top = unique_path();
    let error = Cgroup::create(&plan(&format!("{top}/inner"), r#"{"cpu":{"cpus":"900"}}"#), &facts()).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/cpu/cpus"));
    assert!(error.to_string().contains("write \"900\" to cpuset.cpus"), "{error}");
    for hierarchy in layout::mounted(facts().cgroup).unwrap() {
        assert!(!hierarchy.mount.join(top.trim_start_matches('/')).exists());
    }
}

#[test]
fn create_cgroup_in_use_is_refused_and_an_empty_one_taken() {
    let mut scratch = Scratch::new("{}");
    let again = plan(&scratch.cgroup.record().path, DOCKER);
    Cgroup::create(&again, &facts()).unwrap();
    assert_eq!(scratch.v1("pids", "pids.max"), "50");

    scratch.cgroup.freeze().unwrap();
    let error = Cgroup::create(&again, &facts()).unwrap_err();
    assert!(error.to_string().contains("it is frozen"), "{error}");
    scratch.cgroup.thaw().unwrap();

    let pid = scratch.run("sleep 100").id();
    let error = Cgroup::create(&again, &facts()).unwrap_err();
    assert!(error.to_string().contains(&format!("it has the processes {pid}")), "{error}");
    assert!(scratch.exists() > 1, "a refusal removes nothing");
}

#[test]
fn join_tasks_moves_into_every_hierarchy() {
    let mut scratch = Scratch::new("{}");
    let pid = scratch.run("sleep 100").id();
    let path = scratch.cgroup.record().path.clone();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let inside = own.lines().filter(|line| line.ends_with(&format!(":{path}"))).count();
    assert_eq!(inside, scratch.cgroup.hierarchies().len(), "{own}");
    assert_eq!(scratch.cgroup.processes(false).unwrap().first(), Some(&pid.cast_signed()));
}

#[test]
fn join_sub_cgroup_of_one_controller() {
    let mut scratch = Scratch::new("{}");
    let inner = scratch.v1_file("memory", "inner");
    std::fs::create_dir(&inner).unwrap();
    let pid = scratch.run_in("sleep 100", &[SubCgroup::parse("memory:inner").unwrap()]).id();
    assert_eq!(
        std::fs::read_to_string(inner.join("cgroup.procs")).unwrap().lines().next(),
        Some(pid.to_string().as_str())
    );
    assert!(scratch.cgroup.processes(false).unwrap().contains(&pid.cast_signed()));

    let missing = scratch.cgroup.join_descriptors_for(&[SubCgroup::parse("other").unwrap()]).unwrap_err();
    assert_eq!(missing.raw_errno(), Some(libc::ENOENT));
    let unknown = scratch.cgroup.join_descriptors_for(&[SubCgroup::parse("nonsense:inner").unwrap()]).unwrap_err();
    assert!(unknown.to_string().contains("no v1 cgroup of \"nonsense\""), "{unknown}");
}

#[test]
fn freeze_stops_and_thaw_continues() {
    let mut scratch = Scratch::new("{}");
    let child = scratch.run("while :; do echo x || exit; done");
    let mut output = child.stdout.take().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(&mut output, &mut byte).unwrap();
    assert!(!scratch.cgroup.is_frozen().unwrap());
    scratch.cgroup.freeze().unwrap();
    assert!(scratch.cgroup.is_frozen().unwrap());
    assert_eq!(scratch.v1("freezer", "freezer.state"), "FROZEN");
    scratch.cgroup.thaw().unwrap();
    assert!(!scratch.cgroup.is_frozen().unwrap());
    // More than the pipe held: the writer runs again.
    let mut rest = vec![0; 200_000];
    std::io::Read::read_exact(&mut output, &mut rest).unwrap();
}

#[test]
fn signal_all_kills_a_forking_crowd_and_destroy_waits_for_it() {
    let mut scratch = Scratch::new(r#"{"pids":{"limit":40}}"#);
    scratch.run("while :; do (sleep 100; :) & done");
    let inner = scratch.v1_file("freezer", "inner");
    std::fs::create_dir(&inner).unwrap();
    until("forks", || scratch.cgroup.processes(true).unwrap().len() > 20);
    scratch.cgroup.signal_all(libc::SIGKILL).unwrap();
    scratch.cgroup.destroy().unwrap();
    assert_eq!(scratch.exists(), 0);
    assert!(!inner.exists());
}

#[test]
fn signal_all_frozen_container_is_killed() {
    let mut scratch = Scratch::new("{}");
    scratch.run("sleep 100");
    scratch.cgroup.freeze().unwrap();
    scratch.cgroup.signal_all(libc::SIGTERM).unwrap();
    assert!(scratch.cgroup.is_frozen().unwrap(), "a pause outlives a signal");
    scratch.cgroup.signal_all(libc::SIGKILL).unwrap();
    scratch.cgroup.destroy().unwrap();
}

#[test]
fn destroy_names_processes_that_stay() {
    let mut scratch = Scratch::new("{}");
    let pid = scratch.run("exec sleep 100").id();
    until("exec", || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() == "sleep");
    let error = remove::destroy_within(scratch.cgroup.record(), Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains(&format!("it has the processes {pid} (sleep, state S)")), "{error}");
}

#[test]
fn update_raises_and_lowers_memory_and_swap_together() {
    let scratch = Scratch::new(DOCKER);
    for (limit, swap) in [(268_435_456, 536_870_912), (16_777_216, 33_554_432)] {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
        scratch.cgroup.update(&resources(&json)).unwrap();
        assert_eq!(scratch.v1("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(scratch.v1("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
    }
    assert_eq!(scratch.v1("pids", "pids.max"), "50", "what is not set stays");
    scratch.cgroup.update(&resources(r#"{"memory":{"limit":-1},"cpu":{"quota":90000,"period":100000}}"#)).unwrap();
    assert!(scratch.v1("memory", "memory.memsw.limit_in_bytes").len() > 15);
    assert_eq!(scratch.v1("cpu", "cpu.cfs_quota_us"), "90000");
}

/// Says `yes` or `no` for each of null and kmsg once a line comes.
const PROBE: &str =
    "read go; for d in null kmsg; do if (: <>/dev/$d) 2>/dev/null; then echo yes; else echo no; fi; done";

fn probe(child: &mut Child) -> String {
    drop(child.stdin.take());
    let mut answers = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut answers).unwrap();
    answers.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn devices_v1_only_those_allowed_open() {
    let mut scratch = Scratch::new(r#"{"devices":[{"allow":false}]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes no");
    scratch
        .cgroup
        .update(&resources(r#"{"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":11}]}"#))
        .unwrap();
    assert_eq!(probe(scratch.run(PROBE)), "yes yes");
    scratch.cgroup.update(&resources(r#"{"devices":[]}"#)).unwrap();
    assert_eq!(probe(scratch.run(PROBE)), "yes no");
    let privileged = Scratch::new(r#"{"devices":[{"allow":true}]}"#);
    assert_eq!(privileged.v1("devices", "devices.list"), "a *:* rwm");
}

#[test]
fn devices_v2_program_is_loaded_replaced_and_detached() {
    let mut scratch = Scratch::new(r#"{"devices":[{"allow":true}]}"#);
    let mut record = scratch.cgroup.record().clone();
    record.hierarchies.retain(|hierarchy| hierarchy.version == Version::V2);
    let apply = |json: &str| devices::apply(&record, resources(json).devices.as_ref().unwrap(), true).unwrap();
    apply(r#"{"devices":[]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes no");
    apply(r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"rw"}]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes yes");
    apply(r#"{"devices":[{"allow":true},{"allow":false,"type":"c","major":1,"minor":11,"access":"w"}]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes no");
    apply(r#"{"devices":[{"allow":true}]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes yes");
    let directory = std::fs::File::open(&record.hierarchies[0].directory).unwrap();
    assert_eq!(crate::sys::bpf::device_programs(&directory).unwrap(), [0_u32; 0]);
}

#[test]
fn from_record_half_missing_is_harmless() {
    let scratch = Scratch::new("{}");
    let text = serde_json::to_string(scratch.cgroup.record()).unwrap();
    let record: Record = serde_json::from_str(&text).unwrap();
    assert_eq!(&record, scratch.cgroup.record());
    for hierarchy in record.hierarchies.iter().step_by(2) {
        std::fs::remove_dir(&hierarchy.directory).unwrap();
    }
    let cgroup = Cgroup::from_record(&record);
    assert_eq!(cgroup.processes(true).unwrap(), Vec::<i32>::new());
    assert!(!cgroup.is_frozen().unwrap());
    cgroup.signal_all(libc::SIGKILL).unwrap();
    cgroup.destroy().unwrap();
    assert_eq!(scratch.exists(), 0);

    let nothing = Cgroup::from_record(&serde_json::from_str("{}").unwrap());
    assert!(nothing.is_none());
    nothing.destroy().unwrap();
}

#[test]
fn destroy_never_touches_the_root_of_a_hierarchy() {
    let mut record = Scratch::new("{}").cgroup.record().clone();
    for hierarchy in &mut record.hierarchies {
        hierarchy.directory = hierarchy.mount.clone();
    }
    let error = Cgroup::from_record(&record).destroy().unwrap_err();
    assert!(error.to_string().contains("is not below"), "{error}");
}

#[test]
fn create_disabled_makes_nothing() {
    let facts = facts();
    let plan = CgroupPlan {
        manager: CgroupManager::Disabled,
        path: CgroupPath::Absolute("x".into()),
        resources: resources("{}"),
    };
    let (cgroup, _) = Cgroup::create(&plan, &facts).unwrap();
    assert!(cgroup.is_none());
    assert!(cgroup.join_descriptors().unwrap().descriptors().next().is_none());
}
