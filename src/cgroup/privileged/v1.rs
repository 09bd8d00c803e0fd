//! Tests for a host with v1 hierarchies.

mod places;

use std::io::Read;
use std::time::Duration;

use super::super::record::Version;
use super::super::{devices, layout, remove};
use super::v2::{on_v2, wants_hugetlb};
use super::*;
use crate::plan::resources::CgroupPath;

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
    let (inner, _) = create(&plan(&path, "{}"), &facts()).unwrap();
    let cpus = inner.record().v1("cpuset").unwrap().directory.join("cpuset.cpus");
    assert_eq!(std::fs::read_to_string(cpus).unwrap().trim(), top.v1("cpuset", "cpuset.cpus"));
    inner.destroy().unwrap();
    top.cgroup.destroy().unwrap();
    assert_eq!(top.exists(), 0, "a parent that is left is removed with the rest");
}

#[test]
fn create_failing_limit_names_it_and_leaves_nothing() {
    let top = unique_path();
    let error = create(&plan(&format!("{top}/inner"), r#"{"cpu":{"cpus":"900"}}"#), &facts()).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/cpu/cpus"));
    assert!(error.to_string().contains("write \"900\" to cpuset.cpus"), "{error}");
    for hierarchy in layout::mounted(facts().cgroup, &mut layout::Own::default()).unwrap() {
        assert!(!hierarchy.mount.join(top.trim_start_matches('/')).exists());
    }
}

#[test]
fn create_below_a_parent_that_others_make_and_take_away_succeeds() {
    let parent = unique_path();
    let path = |name: &str| format!("{parent}/{name}");
    let creates = |name: &str, json: &str| create(&plan(&path(name), json), &facts()).map(|(cgroup, _)| cgroup);
    let creates = &creates;
    std::thread::scope(|scope| {
        for name in ["bad-1", "bad-2"] {
            scope.spawn(move || (0..400).for_each(|_| drop(creates(name, r#"{"cpu":{"quota":500}}"#).unwrap_err())));
        }
        scope.spawn(move || (0..400).for_each(|_| creates("good", "{}").unwrap().destroy().unwrap()));
    });
    let located = Cgroup::locate(&plan(&parent, "{}"), &facts()).unwrap();
    for hierarchy in located.record().hierarchies.iter().filter(|hierarchy| hierarchy.directory.exists()) {
        std::fs::remove_dir(&hierarchy.directory).unwrap();
    }
}

#[test]
fn create_cgroup_in_use_is_refused_and_an_empty_one_taken() {
    let mut scratch = Scratch::new("{}");
    let again = plan(&scratch.cgroup.record().path, DOCKER);
    create(&again, &facts()).unwrap();
    assert_eq!(scratch.v1("pids", "pids.max"), "50");

    scratch.cgroup.freeze().unwrap();
    let error = create(&again, &facts()).unwrap_err();
    assert!(error.to_string().contains("it is frozen"), "{error}");
    scratch.cgroup.thaw().unwrap();

    let pid = scratch.run("sleep 100").id();
    let error = create(&again, &facts()).unwrap_err();
    assert!(error.to_string().contains(&format!("it has the processes {pid}")), "{error}");
    assert!(scratch.exists() > 1, "a refusal removes nothing");
}

#[test]
fn create_in_a_cgroup_of_somebody_elses_in_one_hierarchy_leaves_it_alone() {
    let plan = plan(&unique_path(), "{}");
    let located = Cgroup::locate(&plan, &facts()).unwrap();
    // The last one too: the first is looked at before anything is made.
    for hierarchy in located.record().hierarchies.iter().filter(|hierarchy| hierarchy.name != "cpuset") {
        std::fs::create_dir(&hierarchy.directory).unwrap();
        let mut bystander = Command::new("sleep").arg("100").spawn().unwrap();
        std::fs::write(hierarchy.directory.join("cgroup.procs"), bystander.id().to_string()).unwrap();
        let refused = create(&plan, &facts());
        let alive = bystander.try_wait().unwrap().is_none();
        let left = located.record().hierarchies.iter().filter(|hierarchy| hierarchy.directory.exists()).count();
        bystander.kill().unwrap();
        bystander.wait().unwrap();
        std::fs::remove_dir(&hierarchy.directory).unwrap();
        let name = &hierarchy.name;
        assert!(refused.unwrap_err().to_string().contains("it is not empty"), "{name}");
        assert!(alive, "killed in {name}");
        assert_eq!(left, 1, "made beside {name}");
    }
}

#[test]
fn join_tasks_moves_into_every_hierarchy() {
    let mut scratch = Scratch::new("{}");
    let pid = scratch.run("sleep 100").id();
    let path = scratch.cgroup.record().path.clone();
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let inside = own.lines().filter(|line| line.ends_with(&format!(":{path}"))).count();
    assert_eq!(inside, scratch.cgroup.record().hierarchies.len(), "{own}");
    // As was said before there was a process.
    let told = scratch.cgroup.memberships().unwrap();
    assert_eq!(memberships(told).collect::<Vec<_>>(), memberships(&own).collect::<Vec<_>>());
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

    let missing = scratch.cgroup.join_beside(0, &[SubCgroup::parse("other").unwrap()]).unwrap_err();
    assert_eq!(missing.raw_errno(), Some(libc::ENOENT));
    let unknown = scratch.cgroup.join_beside(0, &[SubCgroup::parse("nonsense:inner").unwrap()]).unwrap_err();
    assert!(unknown.to_string().contains("no v1 cgroup of \"nonsense\""), "{unknown}");
}

#[test]
fn freeze_stops_and_thaw_continues() {
    let mut scratch = Scratch::new("{}");
    let child = scratch.run("while :; do echo x || exit; done");
    let mut output = child.stdout.take().unwrap();
    let mut byte = [0];
    output.read_exact(&mut byte).unwrap();
    assert!(!scratch.cgroup.is_frozen().unwrap());
    scratch.cgroup.freeze().unwrap();
    assert!(scratch.cgroup.is_frozen().unwrap());
    assert_eq!(scratch.v1("freezer", "freezer.state"), "FROZEN");
    scratch.cgroup.thaw().unwrap();
    assert!(!scratch.cgroup.is_frozen().unwrap());
    // More than the pipe held: the writer runs again.
    let mut rest = vec![0; 200_000];
    output.read_exact(&mut rest).unwrap();
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
        scratch.update(&resources(&json)).unwrap();
        assert_eq!(scratch.v1("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(scratch.v1("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
    }
    assert_eq!(scratch.v1("pids", "pids.max"), "50", "what is not set stays");
    scratch.update(&resources(r#"{"memory":{"limit":-1},"cpu":{"quota":90000,"period":100000}}"#)).unwrap();
    assert!(scratch.v1("memory", "memory.memsw.limit_in_bytes").len() > 15);
    assert_eq!(scratch.v1("cpu", "cpu.cfs_quota_us"), "90000");
}

#[test]
fn devices_v1_only_those_allowed_open() {
    let mut scratch = Scratch::new(r#"{"devices":[{"allow":false}]}"#);
    assert_eq!(probe(scratch.run(PROBE)), "yes no");
    scratch
        .update(&resources(r#"{"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":11}]}"#))
        .unwrap();
    assert_eq!(probe(scratch.run(PROBE)), "yes yes");
    scratch.update(&resources(r#"{"devices":[]}"#)).unwrap();
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
    assert!(nothing.record().hierarchies.is_empty());
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
        ..CgroupPlan::default()
    };
    let (cgroup, _) = create(&plan, &facts).unwrap();
    assert!(cgroup.record().hierarchies.is_empty());
    assert!(cgroup.birthplace().unwrap().directory().is_none());
    assert_eq!(cgroup.tasks().unwrap().len(), 0);
}

#[test]
fn update_hybrid_asks_v2_for_what_v1_lacks() {
    let scratch = Scratch::new("{}");
    let error = scratch.update(&resources(r#"{"rdma":{"none0":{"hcaHandles":1}}}"#)).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/rdma/none0"));
    assert_eq!(error.kind(), crate::error::Kind::Unsupported);
}

#[test]
fn create_rootless_without_permission_is_none_with_a_warning() {
    let plan = plan(&unique_path(), DOCKER);
    let thread = std::thread::spawn(move || {
        // Of this thread alone; it takes the capabilities over files away, too.
        nix::unistd::setfsuid(65_534.into());
        let facts = HostFacts { rootless: true, ..facts() };
        let (cgroup, warnings) = create(&plan, &facts).unwrap();
        assert!(cgroup.record().hierarchies.is_empty());
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].message.contains("no cgroup is delegated"), "{}", warnings[0]);
        let refused = create(&plan, &HostFacts { rootless: false, ..facts }).unwrap_err();
        assert_eq!(refused.raw_errno(), Some(libc::EACCES));
    });
    thread.join().unwrap();
}

/// The root of v2 has processes and could hand down all the same. Beside v1, where nobody else wants the controller.
#[test]
fn refuse_withheld_does_not_blame_the_processes_of_the_root() {
    on_v2(|facts| {
        let (record, limit) = wants_hugetlb(facts, false);
        let directory = &record.hierarchies[0].directory;
        std::fs::create_dir(directory).unwrap();
        let error = controllers::refuse_withheld(&record, &limit).unwrap_err();
        std::fs::remove_dir(directory).unwrap();
        assert_eq!(error.raw_errno(), None, "{error}");
    });
}
