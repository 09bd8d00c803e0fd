//! One test's own corner: a directory, a state directory for the runtime, and a tag by which everything is found again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::runtime::Runtime;
use crate::verdict::Failure;

/// Where one test works.
#[derive(Debug)]
pub struct Lab {
    pub runtime: Runtime,
    pub directory: PathBuf,
    pub tag: String,
    /// A copy of this program, which containers run.
    pub probe: PathBuf,
    /// Whether the runtime has created anything here.
    pub created: std::cell::Cell<bool>,
}

/// Exit code and both outputs of a command.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl Lab {
    /// `probe` is a copy of this program; the directory is `parent/tag`.
    pub fn new(runtime: Runtime, parent: &Path, tag: &str, probe: &Path) -> Result<Self, Failure> {
        let directory = parent.join(tag);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        Ok(Self { runtime, directory, tag: tag.to_owned(), probe: probe.to_owned(), created: false.into() })
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// The probe on the host, for hooks.
    pub fn host_probe(&self) -> String {
        self.probe.to_string_lossy().into_owned()
    }

    /// The state directory of the runtime.
    pub fn state_directory(&self) -> PathBuf {
        self.path("state")
    }

    /// A command of the runtime.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime.path);
        command.arg("--root").arg(self.state_directory());
        command.args(self.runtime.systemd.then_some("--systemd-cgroup")).args(arguments);
        command.env("OCI_CONFORMANCE_TAG", &self.tag).stdin(Stdio::null()).current_dir(&self.directory);
        command
    }

    /// Runs a command of the runtime to its end. Outputs go through files: a pipe would stay open as long as the
    /// container lives.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer, Failure> {
        self.finish(self.command(arguments), "last")
    }

    /// The same for a command that the caller made; `name` tells its outputs' files apart.
    pub fn finish(&self, mut command: Command, name: &str) -> Result<Answer, Failure> {
        let (stdout, stderr) = (self.path(&format!("{name}.stdout")), self.path(&format!("{name}.stderr")));
        command.stdout(fs::File::create(&stdout)?).stderr(fs::File::create(&stderr)?);
        let status = command.status()?;
        let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned());
        Ok(Answer { code: status.code(), stdout: read(&stdout)?, stderr: read(&stderr)? })
    }
}
