//! Commands of the runtime, with a time limit, and what is expected of their outcome.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Lab, PATIENCE, probe_path, strict};

/// A command of the runtime.
pub struct Cmd<'a> {
    lab: &'a Lab,
    args: Vec<String>,
    globals: Vec<String>,
    root: bool,
    log: bool,
    wrapper: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    cwd: Option<PathBuf>,
}

impl<'a> Cmd<'a> {
    pub(super) fn new(lab: &'a Lab, args: Vec<String>) -> Self {
        Cmd {
            lab,
            args,
            globals: Vec::new(),
            root: true,
            log: true,
            wrapper: Vec::new(),
            env: Vec::new(),
            stdin: Vec::new(),
            cwd: None,
        }
    }

    /// Without `--log`: errors go to stderr only.
    pub fn no_log(mut self) -> Self {
        self.log = false;
        self
    }

    /// Without `--root`.
    pub fn default_root(mut self) -> Self {
        self.root = false;
        self
    }

    /// A global option.
    pub fn global(mut self, option: &str) -> Self {
        self.globals.push(option.to_owned());
        self
    }

    /// Runs below a shell that first executes `script`: for descriptors, limits, a session keyring.
    pub fn after(mut self, script: &str) -> Self {
        self.wrapper = vec!["/bin/sh".into(), "-c".into(), format!("{script}\nexec \"$@\""), "sh".into()];
        self
    }

    /// An environment variable of the runtime.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What the command reads.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Working directory of the runtime.
    pub fn cwd(mut self, path: &Path) -> Self {
        self.cwd = Some(path.to_owned());
        self
    }

    /// Runs it to its end. Running out of time fails the test.
    pub fn output(self) -> Output {
        self.spawn().wait()
    }

    /// Runs it to its end, without failing the test.
    pub(super) fn try_output(self) -> Option<Output> {
        self.spawn().wait_for(PATIENCE)
    }

    /// Starts it. Files, not pipes, take its output: the container's processes keep them open.
    pub fn spawn(self) -> Running {
        let lab = self.lab;
        let number = lab.number();
        let file = |name: &str| lab.path(&format!("{name}-{number}"));
        let (stdin, stdout, stderr, log) = (file("stdin"), file("stdout"), file("stderr"), file("log"));
        File::create(&stdin).unwrap().write_all(&self.stdin).unwrap();
        let mut argv: Vec<String> = Vec::new();
        if let Some(user) = &lab.user {
            File::create(&log).unwrap();
            lab.give(&log, user.uid);
            argv.extend(become_user(lab, user.uid, user.subordinate.is_some()));
        }
        argv.extend(self.wrapper);
        if !lab.without.is_empty() {
            argv.extend([probe_path().to_str().unwrap().to_owned(), "without".into(), lab.without.clone()]);
        }
        argv.push(lab.runtime.to_str().unwrap().to_owned());
        if self.root {
            argv.extend(["--root".into(), lab.state_root().to_str().unwrap().to_owned()]);
        }
        if self.log {
            argv.extend(["--log".into(), log.to_str().unwrap().to_owned(), "--log-format".into(), "json".into()]);
        }
        argv.extend(self.globals);
        argv.extend(self.args);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).process_group(0);
        command.current_dir(self.cwd.as_deref().unwrap_or(&lab.dir));
        command.stdin(File::open(&stdin).unwrap());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        // The tag lets the search for leaks find what never reached a cgroup.
        command.env("CORACLE_TEST_TAG", &lab.tag).envs(self.env);
        let child = command.spawn().unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        Running { child, argv, stdout, stderr, log: self.log.then_some(log) }
    }
}

/// The command line that goes on as an unprivileged user, in a mount namespace in which /etc knows it.
fn become_user(lab: &Lab, uid: u32, subordinate: bool) -> Vec<String> {
    let dir = lab.dir.to_str().unwrap();
    let mut script = String::from("set -e\n");
    if subordinate {
        for (ours, theirs) in [("passwd", "passwd"), ("subid", "subuid"), ("subid", "subgid")] {
            script.push_str(&format!("mount --bind {dir}/{ours} /etc/{theirs}\n"));
        }
    }
    script.push_str(&format!(
        "export HOME={dir}/home XDG_RUNTIME_DIR={dir}/run\n\
         exec setpriv --reuid {uid} --regid {uid} --clear-groups --inh-caps=-all \"$@\""
    ));
    ["unshare", "-m", "--propagation", "slave", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// A command at work.
pub struct Running {
    child: Child,
    argv: Vec<String>,
    stdout: PathBuf,
    stderr: PathBuf,
    log: Option<PathBuf>,
}

impl Running {
    /// Process id of the runtime.
    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// What it printed so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Waits for its end.
    pub fn wait(self) -> Output {
        let what = self.argv.join(" ");
        self.wait_for(PATIENCE).unwrap_or_else(|| panic!("does not end: {what}"))
    }

    /// Waits for its end until `limit`, then kills it and its process group.
    pub fn wait_for(mut self, limit: Duration) -> Option<Output> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = nix::sys::signal::killpg(self.pid(), nix::sys::signal::Signal::SIGKILL);
                let _ = self.child.wait();
                return None;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        Some(Output {
            status,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            log: self.log.as_deref().map(text),
            what: self.argv.join(" "),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed half-way; one that went well has waited.
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// How a command ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub log: Option<String>,
    what: String,
}

impl Output {
    /// The exit code; death by signal n is 1000+n, which no expectation matches by accident.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 1000 + self.status.signal().unwrap_or(0))
    }

    /// It succeeded in silence: nothing on stderr, no log record.
    #[track_caller]
    pub fn ok(self) -> Output {
        let this = self.exits(0);
        assert_eq!(this.stderr, "", "stderr on success of {}", this.what);
        this
    }

    /// A foreground program ended with `code`: no failure of the runtime, so no log record.
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert_eq!(self.code(), code, "exit code of {self:#?}");
        let log = self.log.as_deref().unwrap_or("");
        if strict() || log.contains("\"level\":\"error\"") {
            assert_eq!(log, "", "log records without failure of {}", self.what);
        }
        self
    }

    /// The runtime failed with `code`, and says so with `needle`: one line on stderr, one record in the log.
    #[track_caller]
    pub fn fails(self, code: i32, needle: &str) -> Output {
        self.fails_any(code, &[needle])
    }

    /// The same, where one of several texts will do.
    #[track_caller]
    pub fn fails_any(self, code: i32, needles: &[&str]) -> Output {
        assert_eq!(self.code(), code, "exit code of {self:#?}");
        let has = |text: &str| needles.iter().any(|n| text.contains(n));
        assert!(has(&self.stderr), "none of {needles:?} on stderr of {self:#?}");
        if strict() {
            let lines: Vec<_> = self.stderr.lines().collect();
            assert!(lines.len() == 1 && !lines[0].is_empty(), "not one line on stderr of {self:#?}");
            assert!(!self.stderr.contains('\u{1b}'), "escape sequence on stderr of {self:#?}");
        }
        if let Some(log) = &self.log {
            let records = log_records(log);
            let errors: Vec<_> = records.iter().filter(|r| r["level"] == "error").collect();
            assert!(!errors.is_empty(), "no error record of {self:#?}");
            assert!(has(errors[errors.len() - 1]["msg"].as_str().unwrap()), "none of {needles:?} in log of {self:#?}");
            if strict() {
                assert_eq!(records.len(), 1, "not one record of {self:#?}");
            }
        }
        self
    }

    /// For coracle only: the error names the place in the configuration.
    #[track_caller]
    pub fn at(self, pointer: &str) -> Output {
        if strict() {
            let wanted = format!("(config {pointer})");
            assert!(self.stderr.contains(&wanted), "no {wanted} in {self:#?}");
        }
        self
    }
}

/// The records of a JSON log: one object a line with level, msg and an RFC 3339 time.
#[track_caller]
pub fn log_records(log: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("log line {line:?}: {e}"));
        assert!(record["msg"].is_string() && record["level"].is_string(), "log line {line:?}");
        assert!(is_rfc3339(record["time"].as_str().unwrap_or("")), "time in {line:?}");
        record
    };
    log.lines().map(parse).collect()
}

/// Whether `text` is a date and time as in RFC 3339, section 5.6.
pub fn is_rfc3339(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) if fraction.starts_with('0') => fraction.trim_start_matches('0'),
        Some(_) => return false,
        None => rest,
    };
    matches!(rest, "Z" | "+00:00" | "-00:00")
}

impl Lab {
    /// Sends nothing, reads nothing: a process of the host, for namespaces to join. Killed on drop.
    pub fn bystander(&self, argv: &[&str]) -> Bystander {
        let child = Command::new(argv[0])
            .args(&argv[1..])
            .env("CORACLE_TEST_TAG", &self.tag)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Bystander(child)
    }
}

/// A process that runs beside the containers of a test.
pub struct Bystander(pub Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
