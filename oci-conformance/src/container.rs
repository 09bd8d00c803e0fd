//! One container of the runtime under test, driven by the five commands of the core.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::lab::{Answer, Lab};
use crate::verdict::Failure;

/// How long anything may take that should happen at once.
const PATIENCE: Duration = Duration::from_secs(8);

/// How a container's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(i32),
    /// Somebody else's child.
    Unknown,
}

/// A bundle and the id of its container. Dropping it removes whatever is there by force, so that one failed test does
/// not make others fail; what the test itself has to remove it must remove before.
#[derive(Debug)]
pub struct Container<'a> {
    pub lab: &'a Lab,
    pub id: String,
    pub bundle: PathBuf,
    created: std::cell::Cell<bool>,
    pid: std::cell::Cell<i32>,
}

impl<'a> Container<'a> {
    pub fn new(lab: &'a Lab, id: String, bundle: PathBuf) -> Self {
        Self { lab, id, bundle, created: false.into(), pid: 0.into() }
    }

    pub fn root(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// The container's pid on the host, known after create.
    pub fn pid(&self) -> i32 {
        self.pid.get()
    }

    /// A `create` with more flags before the id.
    pub fn create_command(&self, flags: &[&str]) -> Command {
        let mut command = self.lab.command(&["create", "--bundle"]);
        command.arg(&self.bundle).args(flags).arg(&self.id);
        command
    }

    /// `create`, whatever comes of it.
    pub fn try_create(&self) -> Result<Answer, Failure> {
        self.try_create_with(self.create_command(&[]))
    }

    /// The same for a command made by `create_command`.
    pub fn try_create_with(&self, command: Command) -> Result<Answer, Failure> {
        let answer = self.lab.finish(command, &self.id)?;
        if answer.ok() {
            self.created.set(true);
            self.lab.created.set(true);
            let pid = self.state()?["pid"].as_i64().unwrap_or(0);
            self.pid.set(i32::try_from(pid).unwrap_or(0));
        }
        Ok(answer)
    }

    pub fn create(&self) -> Result<(), Failure> {
        let answer = self.try_create()?;
        if answer.ok() { Ok(()) } else { Err(Failure(format!("create failed: {}", last_line(&answer)))) }
    }

    pub fn start(&self) -> Result<(), Failure> {
        self.must(&["start", &self.id])
    }

    pub fn kill(&self, signal: &str) -> Result<(), Failure> {
        self.must(&["kill", &self.id, signal])
    }

    /// The container stops by force and is waited for.
    pub fn stop(&self) -> Result<(), Failure> {
        self.kill("KILL")?;
        self.wait().map(|_| ())
    }

    pub fn delete(&self) -> Result<(), Failure> {
        self.must(&["delete", &self.id])?;
        self.created.set(false);
        Ok(())
    }

    /// A command of the runtime that must succeed.
    pub fn must(&self, arguments: &[&str]) -> Result<(), Failure> {
        let answer = self.lab.run(arguments)?;
        let command = arguments.first().copied().unwrap_or_default();
        if answer.ok() { Ok(()) } else { Err(Failure(format!("{command} failed: {}", last_line(&answer)))) }
    }

    /// A command of the runtime that must fail.
    pub fn must_fail(&self, arguments: &[&str]) -> Result<(), Failure> {
        let answer = self.lab.run(arguments)?;
        let command = arguments.first().copied().unwrap_or_default();
        if answer.ok() { Err(Failure(format!("{command} succeeds, but must fail"))) } else { Ok(()) }
    }

    /// What `state` prints.
    pub fn state(&self) -> Result<Value, Failure> {
        let output = self.lab.command(&["state", &self.id]).output()?;
        if !output.status.success() {
            return Err(Failure(format!("state failed: {}", String::from_utf8_lossy(&output.stderr).trim_end())));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub fn status(&self) -> Result<String, Failure> {
        Ok(self.state()?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `state` says so.
    pub fn becomes(&self, status: &str) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let found = self.status()?;
            if found == status {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Failure(format!("status stays {found:?}, expected {status:?}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of the container's process, which is a child of this one: tests adopt orphans.
    pub fn wait(&self) -> Result<End, Failure> {
        let end = Instant::now() + PATIENCE;
        let pid = Pid::from_raw(self.pid.get());
        loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(End::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(End::Signal(signal as i32)),
                Err(Errno::ECHILD) if !PathBuf::from(format!("/proc/{pid}")).exists() => return Ok(End::Unknown),
                Err(Errno::ECHILD) | Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            if Instant::now() > end {
                return Err("the container's process does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a file of the root file system is there.
    pub fn wait_for(&self, name: &str) -> Result<(), Failure> {
        wait_for(&self.root().join(name))
    }

    /// What the container's process has written to its standard output.
    pub fn output(&self) -> Result<String, Failure> {
        Ok(fs::read_to_string(self.lab.path(&format!("{}.stdout", self.id)))?.trim_end().to_owned())
    }

    /// And to its standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.lab.path(&format!("{}.stderr", self.id))).unwrap_or_default().trim_end().to_owned()
    }

    /// Kills and deletes, whatever the state.
    pub fn clear(&self) {
        let _ = self.lab.run(&["kill", &self.id, "KILL"]);
        let _ = self.wait();
        let _ = self.lab.run(&["delete", &self.id]);
        self.created.set(false);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if self.created.get() {
            self.clear();
        }
    }
}

/// Waits until a file is there.
pub fn wait_for(path: &std::path::Path) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    while !path.exists() {
        if Instant::now() > end {
            return Err(Failure(format!("{} does not appear", path.display())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The end of what a command said.
pub fn last_line(answer: &Answer) -> String {
    let text = if answer.stderr.is_empty() { &answer.stdout } else { &answer.stderr };
    let line = text.lines().last().unwrap_or("no word").trim();
    line.chars().take(300).collect()
}
