//! The parent side: everything that happens outside of the container, from `create` to `delete`.
//!
//! Uses `init`, `sync`, `cgroup`, `fs` (the mount table), `sys`, `bundle` and `host` to make a plan, and `plan`. Its
//! public part is called by `cli` and by users of the library.

mod activation;
mod console;
mod create;
mod delete;
mod events;
mod exec;
mod foreground;
mod front;
mod guard;
mod helper;
mod hooks;
mod intel_rdt;
mod liveness;
mod net_devices;
mod notify_socket;
pub(crate) mod options;
mod owner;
mod run;
pub(crate) mod seal;
mod seccomp_agent;
mod signal;
mod spawn;
mod start;
mod store;
mod update;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use events::{Event, Events};
pub use options::{CgroupManager, CreateOptions, ExecOptions, RunOptions, UpdateOptions};

use crate::bundle::{Bundle, Config, parse_config};
use crate::cgroup::{Cgroup, Stats};
use crate::error::{Error, Kind, Result, Warning};
use crate::plan::hooks::Hooks;
use crate::plan::ids;
use crate::plan::seccomp::{self, Notify};
use crate::state::{State, Status};
use create::Next;
use owner::Owners;
use store::{Directory, Record};

/// A directory of containers and the settings that all operations on them share.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
    manager: CgroupManager,
    rootless: Option<bool>,
    on_warning: fn(&Warning),
    on_detail: fn(&Warning),
    helper: Option<PathBuf>,
}

impl Runtime {
    /// A runtime that keeps the state of its containers below `root` (made when needed).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Runtime {
            root: root.into(),
            manager: CgroupManager::Cgroupfs,
            rootless: None,
            on_warning: |_| {},
            on_detail: |_| {},
            helper: None,
        }
    }

    /// Chooses who manages the control groups of containers made from now on.
    #[must_use]
    pub fn cgroup_manager(mut self, manager: CgroupManager) -> Self {
        self.manager = manager;
        self
    }

    /// Says whether this is a rootless runtime; `None` finds it out.
    #[must_use]
    pub fn rootless(mut self, rootless: Option<bool>) -> Self {
        self.rootless = rootless;
        self
    }

    /// Hands every warning to `sink`.
    #[must_use]
    pub fn on_warning(mut self, sink: fn(&Warning)) -> Self {
        self.on_warning = sink;
        self
    }

    /// Hands `sink` what has no effect and needs none, such as a rule for a system call that this machine does not
    /// have. Only somebody who looks for a cause wants to read it.
    #[must_use]
    pub fn on_detail(mut self, sink: fn(&Warning)) -> Self {
        self.on_detail = sink;
        self
    }

    /// Makes `create`, `run` and `exec` run `program`, a `coracle`, instead of forking this process: for callers
    /// with more threads than one.
    #[must_use]
    pub fn helper(mut self, program: impl Into<PathBuf>) -> Self {
        self.helper = Some(program.into());
        self
    }

    /// The directory of the state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a container from `bundle`: afterwards its init waits for [`Container::start`].
    ///
    /// # Errors
    /// [`Kind::Exists`] when the id is taken, [`Kind::Config`] for a configuration that cannot be, and whatever
    /// the host refuses. Nothing is left behind then.
    pub fn create(&self, id: &str, bundle: Bundle, options: &CreateOptions) -> Result<Container> {
        match &self.helper {
            Some(program) => helper::create(program, self, id, &bundle, options).and_then(|()| self.container(id)),
            None => create::create(self, id, bundle, options, Next::Gate).map(|created| created.container),
        }
    }

    /// Creates, starts, waits and deletes, and gives the exit code of the program (128+n for death by signal n);
    /// with [`RunOptions::detach`] creates and starts, and gives 0.
    ///
    /// # Errors
    /// Those of [`Runtime::create`] and [`Container::start`].
    pub fn run(&self, id: &str, bundle: Bundle, create: &CreateOptions, run: &RunOptions) -> Result<i32> {
        match &self.helper {
            Some(program) => helper::run(program, self, id, &bundle, create, run),
            None => run::run(self, id, bundle, create, run),
        }
    }

    /// The container named `id`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is none.
    pub fn container(&self, id: &str) -> Result<Container> {
        ids::validate(id)?;
        let directory = Directory::open(&self.root, id)?;
        Ok(Container { runtime: self.clone(), directory, id: id.to_owned() })
    }

    /// The state of every container, by id. What cannot be read is a warning.
    ///
    /// # Errors
    /// When the directory of the state cannot be read.
    pub fn states(&self) -> Result<Vec<State>> {
        let mut states = Vec::new();
        let mut owners = Owners::default();
        for id in Directory::list(&self.root)? {
            match self.container(&id).and_then(|container| container.state()) {
                Ok(state) => states.push(State { owner: owners.name(&self.root.join(&id)), ..state }),
                // Deleted meanwhile, or no directory of ours.
                Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Config) => {}
                Err(error) => (self.on_warning)(&Warning::ignored(&error.context(format!("state of {id}")))),
            }
        }
        Ok(states)
    }
}

/// A container that exists.
#[derive(Debug)]
pub struct Container {
    runtime: Runtime,
    directory: Directory,
    id: String,
}

impl Container {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What `state` prints, derived from the kernel at the moment of the call.
    ///
    /// # Errors
    /// When the state directory or /proc cannot be read.
    pub fn state(&self) -> Result<State> {
        let record = self.directory.load()?;
        let status = liveness::status(&self.directory, record.as_ref())?;
        let Some(record) = record else {
            // `create` died or is at its very beginning.
            return Err(Error::new(Kind::NotFound, "container does not exist")
                .hint("its creation did not get far: delete it with --force"));
        };
        let pid = record.init.filter(|_| status != Status::Stopped).map_or(0, |init| init.pid);
        Ok(record.state(status, pid))
    }

    /// Lets init execute the program.
    ///
    /// # Errors
    /// [`Kind::Status`] unless the container is created; failures of startContainer and poststart hooks and of
    /// execve.
    pub fn start(&self) -> Result<()> {
        start::start(self)
    }

    /// Runs one more process inside. Gives its exit code, or 0 when detached.
    ///
    /// # Errors
    /// [`Kind::Status`] unless the container is created or running; whatever keeps the process from executing.
    pub fn exec(&self, options: &ExecOptions) -> Result<i32> {
        match &self.runtime.helper {
            Some(program) => helper::exec(program, &self.runtime, &self.id, options),
            None => exec::exec(self, options),
        }
    }

    /// Sends `signal` (a number, 0 to 64) to init, or to every process with `all`; SIGKILL also to every process that
    /// would outlive init for want of a pid namespace. A container without a cgroup is known by its init only.
    ///
    /// # Errors
    /// [`Kind::Status`] when the container does not run.
    pub fn kill(&self, signal: i32, all: bool) -> Result<()> {
        let record = self.record()?;
        let cgroup = Cgroup::from_record(&record.cgroup);
        if all && !cgroup.is_none() {
            return cgroup.signal_all(signal);
        }
        let init = record.init.ok_or_else(|| Error::new(Kind::Status, "container not running"))?;
        signal::kill(init, signal)?;
        match signal {
            libc::SIGKILL if !record.own_pid_namespace => cgroup.signal_all(signal),
            // A process frozen by v1 takes no signal: what is to die is thawed for it.
            libc::SIGKILL if cgroup.is_frozen()? => cgroup.thaw(),
            _ => Ok(()),
        }
    }

    /// Removes what is left of a stopped container; with `force` kills it first.
    ///
    /// # Errors
    /// [`Kind::Status`] when it is neither stopped nor created and `force` is not set.
    pub fn delete(self, force: bool) -> Result<()> {
        delete::delete(&self, force)
    }

    /// Freezes every process.
    ///
    /// # Errors
    /// [`Kind::Status`] unless the container is created or running.
    pub fn pause(&self) -> Result<()> {
        let record = self.record()?;
        match liveness::status(&self.directory, Some(&record))? {
            Status::Running | Status::Created => Cgroup::from_record(&record.cgroup).freeze(),
            status => Err(Error::new(Kind::Status, format!("cannot pause a container that is {}", status.word()))),
        }
    }

    /// Thaws every process.
    ///
    /// # Errors
    /// [`Kind::Status`] unless the container is paused.
    pub fn resume(&self) -> Result<()> {
        let record = self.record()?;
        match liveness::status(&self.directory, Some(&record))? {
            Status::Paused => Cgroup::from_record(&record.cgroup).thaw(),
            status => Err(Error::new(Kind::Status, format!("cannot resume a container that is {}", status.word()))),
        }
    }

    /// Changes limits while the container is there. They are kept, and hold for what comes after.
    ///
    /// # Errors
    /// [`Kind::Status`] when the container is stopped, [`Kind::Config`] for what cannot be, and whatever the kernel
    /// refuses, with the file and the value. The old limits are in force then.
    pub fn update(&self, options: &UpdateOptions) -> Result<()> {
        update::update(self, options)
    }

    /// What the container has used so far.
    ///
    /// # Errors
    /// [`Kind::Status`] when it does not run, and when the cgroup cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        events::stats(self)
    }

    /// What happens to the container until its end: statistics after every `interval`, and each time that the kernel
    /// finds no memory for it.
    ///
    /// # Errors
    /// [`Kind::Status`] when it does not run, and when the cgroup cannot be watched.
    pub fn events(&self, interval: Duration) -> Result<Events> {
        events::events(self, interval)
    }

    /// The process ids of the container, as the caller's pid namespace sees them.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a container without a cgroup; when the cgroup cannot be read.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let cgroup = Cgroup::from_record(&self.record()?.cgroup);
        if cgroup.is_none() {
            return Err(Error::new(Kind::Unsupported, "list processes: the container has no cgroup"));
        }
        cgroup.processes(true)
    }

    fn record(&self) -> Result<Record> {
        self.directory.load()?.ok_or_else(|| Error::new(Kind::NotFound, "container does not exist"))
    }

    fn config(&self) -> Result<Config> {
        parse_config(&self.directory.load_config()?)
    }

    /// Where the listener of the container's seccomp filter goes.
    fn seccomp_notify(&self) -> Result<Notify> {
        let filter = seccomp::of_config(&self.config()?)?.0;
        filter
            .and_then(|filter| filter.notify)
            .ok_or_else(|| Error::config("/linux/seccomp", "the filter has a listener, but no agent is configured"))
    }

    fn hooks(&self) -> Result<Hooks> {
        Hooks::new(self.config()?.hooks.as_ref())
    }
}
