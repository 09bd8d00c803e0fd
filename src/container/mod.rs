//! The parent side: everything that happens outside of the container, from `create` to `delete`.
//!
//! Uses `init`, `sync`, `cgroup`, `fs`, `sys`, and `plan` as data. Called by `cli` and by users of the library.

pub(crate) mod console;
pub(crate) mod foreground;
pub(crate) mod intel_rdt;
pub(crate) mod net_devices;
pub(crate) mod notify_socket;
pub(crate) mod options;
pub(crate) mod signal;
pub(crate) mod state;

use std::path::{Path, PathBuf};

pub use options::{CgroupManager, CreateOptions, ExecOptions, RunOptions};
pub use state::{State, Status};

use crate::bundle::Bundle;
use crate::error::{Error, Kind, Result, Warning};

/// A directory of containers and the settings that all operations on them share.
#[derive(Clone, Debug)]
pub struct Runtime {
    root: PathBuf,
    manager: CgroupManager,
    rootless: Option<bool>,
    on_warning: fn(&Warning),
}

impl Runtime {
    /// A runtime that keeps the state of its containers below `root` (made when needed).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Runtime { root: root.into(), manager: CgroupManager::Cgroupfs, rootless: None, on_warning: |_| {} }
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

    /// The directory of the state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a container from `bundle`: afterwards its init waits for [`Container::start`].
    pub fn create(&self, _id: &str, _bundle: &Bundle, _options: &CreateOptions) -> Result<Container> {
        Err(Error::new(Kind::Unsupported, "create"))
    }

    /// Creates, starts, waits and deletes, and gives the exit code of the program (128+n for death by signal n);
    /// with [`RunOptions::detach`] creates and starts, and gives 0.
    pub fn run(&self, _id: &str, _bundle: &Bundle, _create: &CreateOptions, _run: &RunOptions) -> Result<i32> {
        Err(Error::new(Kind::Unsupported, "run"))
    }

    /// The container named `id`.
    pub fn container(&self, _id: &str) -> Result<Container> {
        Err(Error::new(Kind::NotFound, "container does not exist"))
    }

    /// The state of every container, by id. What cannot be read is a warning.
    pub fn states(&self) -> Result<Vec<State>> {
        Ok(Vec::new())
    }
}

/// A container that exists.
#[derive(Debug)]
pub struct Container {}

impl Container {
    /// What `state` prints, derived from the kernel at the moment of the call.
    pub fn state(&self) -> Result<State> {
        Err(Error::new(Kind::Unsupported, "state"))
    }

    /// Lets init execute the program. Reports failures of startContainer hooks and of execve.
    pub fn start(&self) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "start"))
    }

    /// Runs one more process inside. Gives its exit code, or 0 when detached.
    pub fn exec(&self, _options: &ExecOptions) -> Result<i32> {
        Err(Error::new(Kind::Unsupported, "exec"))
    }

    /// Sends `signal` (a number, 0 to 64) to init, or to every process with `all`.
    pub fn kill(&self, _signal: i32, _all: bool) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "kill"))
    }

    /// Removes what is left of a stopped container; with `force` kills it first.
    pub fn delete(self, _force: bool) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "delete"))
    }

    /// Freezes every process.
    pub fn pause(&self) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "pause"))
    }

    /// Thaws every process.
    pub fn resume(&self) -> Result<()> {
        Err(Error::new(Kind::Unsupported, "resume"))
    }

    /// The process ids of the container, as the caller's pid namespace sees them.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Err(Error::new(Kind::Unsupported, "processes"))
    }
}
