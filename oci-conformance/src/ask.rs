//! Containers of a lab: made, asked, refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::container::Container;
use crate::lab::Lab;
use crate::leaks;
use crate::verdict::Failure;

/// Directories of every root file system.
const DIRECTORIES: [&str; 9] = ["proc", "sys", "dev", "tmp", "data", "etc", "run", "place", "deep/er"];

impl Lab {
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
        let left = leaks::find_patiently(self);
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
