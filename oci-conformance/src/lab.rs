//! One test's own corner: a directory, a state directory for the runtime, and a tag by which everything is found again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::container::Container;
use crate::suite::Failure;

/// The runtime under test.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub path: PathBuf,
    /// It refuses machines with controllers in cgroups of both versions, so it does not get to see the second.
    pub hide_v2: bool,
    /// Cgroups are systemd's to make.
    pub systemd: bool,
    /// Seconds for one test.
    pub limit: u64,
}

impl Runtime {
    /// The features document, when the runtime prints one.
    pub fn features(&self) -> Result<Value, Failure> {
        let output = Command::new(&self.path).arg("features").stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(Failure("the runtime has no command features".into()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The N of the specification's version 1.N that the runtime claims, in its features document or else in the line
    /// `spec:` of its version.
    pub fn spec_minor(&self) -> Option<u32> {
        let told = self.features().ok().and_then(|document| Some(document["ociVersionMax"].as_str()?.to_owned()));
        let version = told.or_else(|| {
            let output = Command::new(&self.path).arg("--version").stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().find_map(|line| line.strip_prefix("spec: ").map(str::to_owned))
        })?;
        version.split('.').nth(1)?.parse().ok()
    }
}

/// Where one test works.
#[derive(Debug)]
pub struct Lab {
    pub runtime: Runtime,
    pub directory: PathBuf,
    pub tag: String,
    probe: PathBuf,
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

/// Directories of every root file system.
const DIRECTORIES: [&str; 9] = ["proc", "sys", "dev", "tmp", "data", "etc", "run", "place", "deep/er"];

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

    /// A bundle with this configuration, and a container of it that is not created yet.
    pub fn container(&self, name: &str, config: &Value) -> Result<Container<'_>, Failure> {
        let bundle = self.path(&format!("bundle-{name}"));
        let root = bundle.join("rootfs");
        for directory in DIRECTORIES {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        // A link to the run's one copy; a second container of the same name finds it there.
        match fs::hard_link(&self.probe, root.join("probe")) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let mut config = config.clone();
        if self.runtime.systemd {
            name_unit(&mut config);
        }
        fs::write(bundle.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        Ok(Container::new(self, format!("{}-{name}", self.tag), bundle))
    }

    /// What the probe answers to these actions in a container of this configuration.
    pub fn ask(&self, config: &Value, actions: &[&str]) -> Result<Value, Failure> {
        self.ask_in("a", config, actions, |_| Ok(()))
    }

    /// The same; `prepare` gets the root file system before the container is created.
    pub fn ask_in(
        &self,
        name: &str,
        config: &Value,
        actions: &[&str],
        prepare: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<Value, Failure> {
        let mut config = config.clone();
        crate::config::set_actions(&mut config, actions);
        let container = self.container(name, &config)?;
        prepare(&container.root())?;
        container.create()?;
        container.start()?;
        let code = container.wait()?;
        let output = container.output()?;
        container.delete()?;
        serde_json::from_str(&output).map_err(|error| {
            let errors = container.errors();
            Failure(format!("the probe ended with {code:?} and said {output:?} {errors:?}: {error}"))
        })
    }

    /// The probe's facts in a container of this configuration.
    pub fn facts(&self, config: &Value) -> Result<Value, Failure> {
        Ok(self.ask(config, &["facts"])?["facts"].clone())
    }

    /// `create`, or else `start`, refuses this configuration, and leaves nothing behind.
    pub fn refuses(&self, config: &Value) -> Result<(), Failure> {
        let container = self.container("refused", config)?;
        let answer = container.try_create()?;
        if answer.ok() {
            let state = container.state()?;
            let started = self.run(&["start", &container.id])?;
            container.clear();
            return if started.ok() {
                Err(Failure(format!("create and start accept the configuration (state {})", state["status"])))
            } else {
                Ok(())
            };
        }
        self.nothing_of(&container)
    }

    /// `create` refuses this configuration, and leaves nothing behind.
    pub fn create_refuses(&self, config: &Value) -> Result<(), Failure> {
        let container = self.container("refused", config)?;
        let answer = container.try_create()?;
        if answer.ok() {
            container.clear();
            return Err("create accepts the configuration".into());
        }
        self.nothing_of(&container)
    }

    /// A test in which everything was refused says something only if the runtime takes the usual configuration.
    pub fn control(&self) -> Result<(), Failure> {
        if self.created.get() {
            return Ok(());
        }
        let container = self.container("control", &crate::config::base())?;
        container
            .create()
            .map_err(|failure| Failure(format!("the usual configuration is refused too: {}", failure.0)))?;
        container.stop()?;
        container.delete()
    }

    /// After a failed create: no container of the id, no process, mount or cgroup with the tag.
    pub fn nothing_of(&self, container: &Container<'_>) -> Result<(), Failure> {
        if self.run(&["state", &container.id])?.ok() {
            container.clear();
            return Err("the failed create left a container".into());
        }
        let left = crate::leaks::find_patiently(self);
        if left.is_empty() { Ok(()) } else { Err(Failure(format!("the failed create left: {}", left.join("; ")))) }
    }
}

/// An absolute cgroupsPath, in the form that runtimes take when systemd makes the cgroup: slice, prefix and name.
fn name_unit(config: &mut Value) {
    let place = config.pointer_mut("/linux/cgroupsPath");
    if let Some(place) = place
        && let Some(name) = place.as_str().and_then(|path| path.strip_prefix('/'))
    {
        *place = Value::from(format!("system.slice:ocic:{name}"));
    }
}
