//! Tests of a lone cgroup v2: natively on such a host; on a hybrid one its v2 hierarchy is mounted alone, for the
//! thread of the test. Only what needs no particular controller, because a hybrid host has hardly any there.

use std::sync::{Mutex, MutexGuard};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use std::path::Path;

use super::*;
use crate::sys::test_thread::in_thread;

/// The controllers that the root hands down, as they were before the test; one test at a time may change them.
struct Root {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

const ROOT_CONTROL: &str = "/sys/fs/cgroup/cgroup.subtree_control";

impl Root {
    fn new() -> Root {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Root { before: std::fs::read_to_string(ROOT_CONTROL).unwrap(), _alone: alone }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let now = std::fs::read_to_string(ROOT_CONTROL).unwrap_or_default();
        let differing = |these: &str, those: &str, sign: char| {
            for controller in
                these.split_whitespace().filter(|this| !those.split_whitespace().any(|that| that == *this))
            {
                let _ = std::fs::write(ROOT_CONTROL, format!("{sign}{controller}"));
            }
        };
        differing(&now, &self.before, '-');
        differing(&self.before, &now, '+');
    }
}

/// Runs `test` where /sys/fs/cgroup is cgroup v2.
pub(super) fn on_v2(test: impl FnOnce(&HostFacts) + Send) {
    let mut facts = facts();
    in_thread(move || {
        if facts.cgroup == CgroupLayout::Hybrid {
            let none = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            mount(Some("/sys/fs/cgroup/unified"), "/sys/fs/cgroup", none, MsFlags::MS_BIND, none).unwrap();
            facts.cgroup = CgroupLayout::Unified;
        }
        assert_eq!(facts.cgroup, CgroupLayout::Unified, "the host has no cgroup v2");
        let _root = Root::new();
        test(&facts);
    });
}

fn scratch(facts: &HostFacts, json: &str) -> Scratch {
    let (cgroup, _) = create(&plan(&unique_path(), json), facts).unwrap();
    Scratch { cgroup, children: Vec::new() }
}

fn run<'a>(scratch: &'a mut Scratch, script: &str) -> &'a mut Child {
    // Waits for its line until it has been moved.
    scratch.run(&format!("read go; {script}"))
}

#[test]
fn create_nested_and_destroy_with_children() {
    on_v2(|facts| {
        let outer = scratch(facts, "{}");
        let path = format!("{}/a/b", outer.cgroup.record().path);
        let (inner, _) = create(&plan(&path, r#"{"unified":{"cgroup.max.depth":"3"}}"#), facts).unwrap();
        let depth = inner.record().hierarchies[0].directory.join("cgroup.max.depth");
        assert_eq!(std::fs::read_to_string(depth).unwrap().trim(), "3");
        let controllers = |directory: &Path| std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
        assert_eq!(controllers(&inner.record().hierarchies[0].directory), controllers(Path::new("/sys/fs/cgroup")));
        outer.cgroup.destroy().unwrap();
        assert_eq!(outer.exists(), 0);
    });
}

#[test]
fn create_missing_controller_is_an_error_and_leaves_nothing() {
    on_v2(|facts| {
        let path = unique_path();
        let json = r#"{"unified":{"misc.nonsense":"1"}}"#;
        let error = create(&plan(&path, json), facts).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/unified/misc.nonsense"));
        assert!(!PathBuf::from(format!("/sys/fs/cgroup{path}")).exists());
    });
}

#[test]
fn create_in_use_is_refused() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, "{}");
        scratch.cgroup.freeze().unwrap();
        let again = plan(&scratch.cgroup.record().path, "{}");
        let error = create(&again, facts).unwrap_err();
        assert!(error.to_string().contains("it is frozen"), "{error}");
        scratch.cgroup.thaw().unwrap();
        run(&mut scratch, "sleep 100");
        let error = create(&again, facts).unwrap_err();
        assert!(error.to_string().contains("it has the processes"), "{error}");
    });
}

#[test]
fn create_in_use_further_down_is_refused() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, "{}");
        let pid = run(&mut scratch, "sleep 100").id();
        let inner = scratch.cgroup.record().hierarchies[0].directory.join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("cgroup.procs"), pid.to_string()).unwrap();
        let error = create(&plan(&scratch.cgroup.record().path, "{}"), facts).unwrap_err();
        assert!(error.to_string().contains(&format!("it has the processes {pid}")), "{error}");
    });
}

#[test]
fn freeze_signal_and_destroy_by_notification() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, "{}");
        let child = run(&mut scratch, "while :; do (sleep 100; :) & sleep 0.01; done");
        drop(child.stdin.take());
        until("forks", || scratch.cgroup.processes(true).unwrap().len() > 5);
        scratch.cgroup.freeze().unwrap();
        assert!(scratch.cgroup.is_frozen().unwrap());
        let events = scratch.cgroup.record().hierarchies[0].directory.join("cgroup.events");
        assert!(std::fs::read_to_string(events).unwrap().contains("frozen 1"));
        scratch.cgroup.thaw().unwrap();
        assert!(!scratch.cgroup.is_frozen().unwrap());
        scratch.cgroup.signal_all(libc::SIGKILL).unwrap();
        scratch.cgroup.destroy().unwrap();
        assert_eq!(scratch.exists(), 0);
    });
}

#[test]
fn signal_all_other_than_kill_reaches_everybody() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, "{}");
        let child = run(&mut scratch, "sleep 100");
        drop(child.stdin.take());
        until("sleep", || scratch.cgroup.processes(true).unwrap().len() == 2);
        scratch.cgroup.signal_all(libc::SIGTERM).unwrap();
        until("gone", || scratch.cgroup.processes(true).unwrap().is_empty());
    });
}

#[test]
fn devices_program_follows_updates() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, r#"{"devices":[{"allow":false}]}"#);
        assert_eq!(probe(scratch.run(PROBE)), "yes no");
        let wider = resources(r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"rw"}]}"#);
        scratch.update(&wider).unwrap();
        assert_eq!(probe(scratch.run(PROBE)), "yes yes");
    });
}

#[test]
fn birthplace_is_the_directory() {
    on_v2(|facts| {
        let scratch = scratch(facts, "{}");
        let birthplace = scratch.cgroup.birthplace().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&birthplace.directory().unwrap());
        let linked = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert!(linked.to_str().unwrap().ends_with(&scratch.cgroup.record().path));
        assert_eq!(scratch.cgroup.tasks().unwrap().len(), 0);
    });
}

#[test]
fn join_beside_leads_to_init_where_controllers_are_handed_down() {
    on_v2(|facts| {
        let mut scratch = scratch(facts, "{}");
        let directory = scratch.cgroup.record().hierarchies[0].directory.clone();
        let inner = directory.join("init");
        std::fs::create_dir(&inner).unwrap();
        let pid = run(&mut scratch, "sleep 100").id();
        std::fs::write(inner.join("cgroup.procs"), pid.to_string()).unwrap();
        let joined = |scratch: &Scratch| {
            let (birthplace, _) = scratch.cgroup.join_beside(pid.cast_signed(), &[]).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&birthplace.directory().unwrap());
            std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().file_name().unwrap().to_owned()
        };
        assert_eq!(Some(&*joined(&scratch)), directory.file_name());
        let controllers = std::fs::read_to_string(directory.join("cgroup.controllers")).unwrap();
        let controller = controllers.split_whitespace().next().expect("a controller");
        std::fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}")).unwrap();
        assert_eq!(joined(&scratch), "init");
    });
}

/// A record of a cgroup that wants `hugetlb`, and a limit for which it is needed. The root hands it down or not.
pub(super) fn wants_hugetlb(facts: &HostFacts, handed_down: bool) -> (Record, Resources) {
    std::fs::write(ROOT_CONTROL, if handed_down { "+hugetlb" } else { "-hugetlb" }).unwrap();
    let mut record = Cgroup::locate(&plan(&unique_path(), "{}"), facts).unwrap().record;
    record.hierarchies[0].controllers = vec!["hugetlb".to_owned()];
    (record, resources(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#))
}

/// A cgroup with processes hands nothing down.
#[test]
fn refuse_withheld_blames_the_processes_of_a_cgroup() {
    on_v2(|facts| {
        let (mut record, limit) = wants_hugetlb(facts, true);
        let keeper = record.hierarchies[0].directory.clone();
        record.hierarchies[0].directory.push("inner");
        std::fs::create_dir_all(keeper.join("inner")).unwrap();
        let mut process = Command::new("sleep").arg("100").spawn().unwrap();
        std::fs::write(keeper.join("cgroup.procs"), process.id().to_string()).unwrap();
        let error = controllers::refuse_withheld(&record, &limit).unwrap_err();
        process.kill().unwrap();
        process.wait().unwrap();
        std::fs::remove_dir(keeper.join("inner")).unwrap();
        std::fs::remove_dir(&keeper).unwrap();
        assert_eq!(error.raw_errno(), Some(libc::EBUSY), "{error}");
    });
}
