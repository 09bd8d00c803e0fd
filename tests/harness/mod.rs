//! Drives a runtime binary the way an engine does and checks that nothing of a test stays behind.
//!
//! Every test owns a [`Lab`]: a temporary directory, a state directory and a tag that occurs in every
//! path, id and cgroup of the test, so that tests run in parallel and a leak is blamed on its maker.
//!
//! `CORACLE_TEST_RUNTIME=/path/to/runtime` puts another runtime under the tests. What only coracle
//! promises (one line on stderr, one log record, JSON pointers) is then not checked: see [`strict`].
// Each test program uses its own part of the harness.
#![allow(dead_code, unused_imports)]

pub mod bundle;
pub mod command;
pub mod console;
pub mod leaks;
pub mod machine_code;
pub mod seccomp_agent;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use bundle::{Bundle, args, busybox_applets};
pub use command::{Cmd, Output, is_rfc3339};
pub use console::{ConsoleSocket, Pty};
pub use seccomp_agent::SeccompAgent;
pub use serde_json::json;

/// How long any single command may take. Generous: the machine may be shared by several builds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The runtime under test.
pub fn runtime_path() -> PathBuf {
    match std::env::var_os("CORACLE_TEST_RUNTIME") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_coracle")),
    }
}

/// Whether the runtime under test is coracle, which is held to more than the specification asks.
pub fn strict() -> bool {
    std::env::var_os("CORACLE_TEST_RUNTIME").is_none()
}

/// The static program that gathers facts inside of containers (`probe.rs` beside this file). Built on demand: cargo builds
/// examples for `cargo test`, but not for `cargo test --test NAME`.
pub fn probe_path() -> PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE
        .get_or_init(|| {
            let directory = Path::new(env!("CARGO_BIN_EXE_coracle")).parent().unwrap();
            let probe = directory.join("examples/probe");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness/probe.rs");
            let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
            if modified(&probe) < modified(&source) {
                let mut cargo = std::process::Command::new(env!("CARGO"));
                cargo.args(["build", "--quiet", "--example", "probe"]).current_dir(env!("CARGO_MANIFEST_DIR"));
                if directory.ends_with("release") {
                    cargo.arg("--release");
                }
                assert!(cargo.status().unwrap().success(), "the probe does not build");
                // cargo leaves an unchanged file alone, and then every test program would ask again.
                let _ = fs::File::open(&probe).and_then(|f| f.set_modified(std::time::SystemTime::now()));
            }
            probe
        })
        .clone()
}

/// An unprivileged user made up for one test: no entry in the host's passwd is needed or changed.
#[derive(Clone, Debug)]
pub struct User {
    pub uid: u32,
    /// First subordinate id and their number, when the test wants newuidmap(1) to work.
    pub subordinate: Option<(u32, u32)>,
}

/// What one test owns. Dropping it removes everything, and fails the test if the runtime left anything.
pub struct Lab {
    pub dir: PathBuf,
    pub tag: String,
    /// The runtime of this lab: a copy of its own where a test may ruin it or an unprivileged user runs it.
    pub runtime: PathBuf,
    pub user: Option<User>,
    counter: AtomicUsize,
}

impl Lab {
    /// A lab for tests that run as root.
    pub fn new() -> Lab {
        static LABS: AtomicUsize = AtomicUsize::new(0);
        // The final x keeps one tag from being the beginning of another.
        let tag = format!("coracle-test-{}-{}x", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let dir = fs::canonicalize(std::env::temp_dir()).unwrap().join(&tag);
        assert!(rustix::process::geteuid().is_root(), "these tests need root");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Lab { dir, tag, runtime: runtime_path(), user: None, counter: AtomicUsize::new(0) }
    }

    /// A lab whose runtime runs as an unprivileged user.
    pub fn rootless(subordinate: Option<(u32, u32)>) -> Lab {
        let mut lab = Lab::new();
        let user = User { uid: 54_321, subordinate };
        for name in ["run", "home", "state"] {
            fs::create_dir(lab.dir.join(name)).unwrap();
            lab.give(&lab.dir.join(name), user.uid);
        }
        // The runtime may lie below a directory that only root can enter.
        lab.copy_runtime();
        if let Some((first, size)) = subordinate {
            let passwd = fs::read_to_string("/etc/passwd").unwrap();
            let uid = user.uid;
            fs::write(lab.dir.join("passwd"), format!("{passwd}coracletest:x:{uid}:{uid}::/:/bin/sh\n")).unwrap();
            fs::write(lab.dir.join("subid"), format!("coracletest:{first}:{size}\n")).unwrap();
        }
        lab.user = Some(user);
        lab
    }

    /// Goes on with a copy of the runtime in the lab.
    pub fn copy_runtime(&mut self) {
        self.runtime = self.dir.join("runtime");
        fs::copy(runtime_path(), &self.runtime).unwrap();
    }

    /// Makes `uid` the owner of `path` and of everything below it.
    pub fn give(&self, path: &Path, uid: u32) {
        std::os::unix::fs::lchown(path, Some(uid), Some(uid)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path(), uid);
            }
        }
    }

    /// A number that is new in this lab.
    pub fn number(&self) -> usize {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A container id that is new on this host.
    pub fn id(&self) -> String {
        format!("{}-{}", self.tag, self.number())
    }

    /// A path in the lab.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The directory of the state of all containers of this lab.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A command of the runtime, with `--root` and the log options of containerd's shim in front.
    pub fn cmd<S: AsRef<str>>(&self, args: &[S]) -> Cmd<'_> {
        Cmd::new(self, args.iter().map(|s| s.as_ref().to_owned()).collect())
    }

    /// Runs `bundle` in the foreground to its end.
    pub fn run(&self, bundle: &Bundle) -> Output {
        self.cmd(&["run", "--bundle", bundle.str(), &self.id()]).output()
    }

    /// Runs a shell script in a container and gives what it prints; `patch` changes the configuration.
    pub fn sh(&self, script: &str, patch: impl FnOnce(&mut Value)) -> String {
        let bundle = self.bundle(|c| {
            args(c, &["sh", "-c", script]);
            patch(c);
        });
        self.run(&bundle).ok().stdout
    }

    /// A created container.
    pub fn create(&self, bundle: &Bundle) -> Container<'_> {
        let container = Container { lab: self, id: self.id() };
        self.cmd(&["create", "--bundle", bundle.str(), &container.id]).output().ok();
        container
    }

    /// A running container.
    pub fn start(&self, bundle: &Bundle) -> Container<'_> {
        let container = self.create(bundle);
        container.op("start").ok();
        container
    }

    /// A container in the state that the word names, whose program sleeps.
    pub fn in_state(&self, status: &str) -> Container<'_> {
        let bundle = self.bundle(|c| args(c, &["sleep", "1000"]));
        match status {
            "created" => self.create(&bundle),
            "running" => self.start(&bundle),
            "paused" => {
                let container = self.start(&bundle);
                container.freeze(true);
                container
            }
            "stopped" => {
                let container = self.start(&bundle);
                container.stop();
                container
            }
            other => panic!("no state {other}"),
        }
    }

    /// Names in the state directory.
    pub fn states(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.state_root()) else { return Vec::new() };
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Fails unless nothing of this lab is left on the host (its own directory aside).
    pub fn assert_clean(&self) {
        let left = leaks::find_patiently(self);
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for id in self.states() {
            let _ = self.cmd(&["delete", "--force", &id]).try_output();
        }
        let left = leaks::find_patiently(self);
        leaks::remove(self);
        let _ = fs::remove_dir_all(&self.dir);
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind: {left:#?}");
        }
    }
}

/// A container of a lab.
pub struct Container<'a> {
    pub lab: &'a Lab,
    pub id: String,
}

impl Container<'_> {
    /// `runtime WORD ID`.
    pub fn op(&self, word: &str) -> Output {
        self.lab.cmd(&[word, &self.id]).output()
    }

    /// `runtime WORD OPTION… ID REST…`.
    pub fn with(&self, word: &str, options: &[&str], rest: &[&str]) -> Output {
        self.with_cmd(word, options, rest).output()
    }

    /// The same, not yet started.
    pub fn with_cmd(&self, word: &str, options: &[&str], rest: &[&str]) -> Cmd<'_> {
        let args = [&[word], options, &[self.id.as_str()], rest].concat();
        self.lab.cmd(&args)
    }

    /// `exec ID ARGS…`.
    pub fn exec(&self, args: &[&str]) -> Output {
        self.with("exec", &[], args)
    }

    /// What `state` prints.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.op("state").ok().stdout).unwrap()
    }

    /// The status in the state.
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// The process id in the state.
    pub fn pid(&self) -> i64 {
        self.state()["pid"].as_i64().unwrap()
    }

    /// Waits for a status.
    pub fn wait(&self, status: &str) {
        eventually(&format!("{} becomes {status}", self.id), || self.status() == status);
    }

    /// Kills init and waits for the end.
    pub fn stop(&self) {
        self.with("kill", &[], &["KILL"]).ok();
        self.wait("stopped");
    }

    /// Freezes or thaws every process of the container through the cgroup, without the runtime.
    pub fn freeze(&self, frozen: bool) {
        let table = fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).unwrap();
        let path = |line: &str| line.splitn(3, ':').nth(2).unwrap().to_owned();
        let v1 = table
            .lines()
            .find(|l| l.contains(":freezer:"))
            .map(|l| PathBuf::from(format!("/sys/fs/cgroup/freezer{}", path(l))));
        let v2 =
            table.lines().find(|l| l.starts_with("0::")).map(|l| PathBuf::from(format!("/sys/fs/cgroup{}", path(l))));
        let (file, words) = match (&v1, &v2) {
            (Some(v1), _) => (v1.join("freezer.state"), ["THAWED", "FROZEN"]),
            (None, Some(v2)) => (v2.join("cgroup.freeze"), ["0", "1"]),
            (None, None) => panic!("no freezer in {table}"),
        };
        fs::write(&file, words[usize::from(frozen)]).unwrap();
        if v1.is_some() {
            let wanted = words[usize::from(frozen)];
            eventually("freezer", || fs::read_to_string(&file).unwrap().trim() == wanted);
        }
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The inode of a namespace of a process, `net:[4026531840]`.
pub fn namespace(pid: impl std::fmt::Display, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().into_os_string().into_string().unwrap()
}

/// One field of /proc/PID/status as it stands in `text`.
pub fn status_field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}
