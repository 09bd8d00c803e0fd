//! The room against the kernel: needs root and the host's cgroup file systems, and fails without. Every cgroup has
//! the pid of the test in its name and is removed even when the test fails.

mod v1;
mod v2;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::bundle::resources::ResourcesConfig;
use crate::host::CgroupLayout;
use crate::plan::resources::{CgroupManager, Resources};

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
        ignored_signals: 0,
        umask: Some(0o022),
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

/// As the container's maker does it.
fn create(plan: &CgroupPlan, facts: &HostFacts) -> Result<(Cgroup, Vec<Warning>)> {
    let mut making = Making::new(Cgroup::locate(plan, facts)?);
    let warnings = making.begin(plan, facts).and_then(|()| making.finish(plan, facts));
    if warnings.is_err() {
        making.undo().unwrap();
    }
    warnings.map(|warnings| (making.cgroup().clone(), warnings))
}

/// A cgroup and the processes put into it; both go with it.
struct Scratch {
    cgroup: Cgroup,
    children: Vec<Child>,
}

impl Scratch {
    fn new(json: &str) -> Scratch {
        let (cgroup, warnings) = create(&plan(&unique_path(), json), &facts()).unwrap();
        assert_eq!(warnings, []);
        Scratch { cgroup, children: Vec::new() }
    }

    /// Gives the cgroup, which has limits and rules already, those of `resources`.
    fn update(&self, resources: &Resources) -> Result<Vec<Warning>> {
        let mut record = self.cgroup.record().clone();
        controllers::prepare(&mut record, resources)?;
        apply::apply(&record, resources, true)
    }

    /// Runs `script` inside: a thread joins, and its child is born there.
    fn run(&mut self, script: &str) -> &mut Child {
        self.run_in(script, &[])
    }

    fn run_in(&mut self, script: &str, sub: &[SubCgroup]) -> &mut Child {
        let (_, tasks) = self.cgroup.join_beside(0, sub).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = std::thread::spawn(move || {
            join_tasks(&tasks).unwrap();
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
        self.cgroup.record().hierarchies.iter().filter(|hierarchy| hierarchy.directory.exists()).count()
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

/// Says `yes` or `no` for each of null and kmsg once a line comes.
const PROBE: &str =
    "read go; for d in null kmsg; do if (: <>/dev/$d) 2>/dev/null; then echo yes; else echo no; fi; done";

fn probe(child: &mut Child) -> String {
    drop(child.stdin.take());
    let mut answers = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answers).unwrap();
    answers.split_whitespace().collect::<Vec<_>>().join(" ")
}
