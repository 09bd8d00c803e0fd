//! When hooks run and what their failure means (runtime.md#lifecycle). How one runs is `init::hooks`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Result, Warning};
use crate::init::hooks::{HookOptions, open_log, run, run_all};
use crate::plan::hooks::Hooks;
use crate::state::{State, Status};

/// Where the hooks of a container run, and the files that its annotations name for what they print.
#[derive(Debug, Default)]
pub(super) struct HookPlaces {
    /// The bundle, as long as it exists.
    bundle: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl HookPlaces {
    /// Opens them.
    pub fn open(state: &State) -> Result<HookPlaces> {
        let open = |key: &str| state.annotations.get(key).map(|path| open_log(Path::new(path))).transpose();
        Ok(HookPlaces {
            bundle: File::open(&state.bundle).ok().map(OwnedFd::from),
            stdout: open("run.oci.hooks.stdout")?,
            stderr: open("run.oci.hooks.stderr")?,
        })
    }

    /// What the hooks are run with.
    pub fn options(&self) -> HookOptions<'_> {
        HookOptions {
            directory: self.bundle.as_ref().map(AsFd::as_fd),
            stdout: self.stdout.as_ref().map(AsFd::as_fd),
            stderr: self.stderr.as_ref().map(AsFd::as_fd),
        }
    }
}

/// prestart and createRuntime: the namespaces exist, the root is not yet entered. A failure ends the creation.
pub(super) fn run_runtime(hooks: &Hooks, state: &State, pid: i32, options: &HookOptions<'_>) -> Result<()> {
    let json = state.to_hook_json(Status::Creating, pid);
    run_all(&hooks.prestart, &json, options)?;
    run_all(&hooks.create_runtime, &json, options)
}

/// poststart: the program runs. A failure stops the container.
pub(super) fn run_poststart(hooks: &Hooks, state: &State) -> Result<()> {
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let places = HookPlaces::open(state)?;
    run_all(&hooks.poststart, &state.to_hook_json(Status::Running, state.pid), &places.options())
}

/// poststop: the container is gone. Every hook runs; failures are warnings.
pub(super) fn run_poststop(hooks: &Hooks, state: &State, options: &HookOptions<'_>, on_warning: fn(&Warning)) {
    if hooks.poststop.is_empty() {
        return;
    }
    let json = state.to_hook_json(Status::Stopped, 0);
    for error in hooks.poststop.iter().filter_map(|hook| run(hook, &json, options).err()) {
        on_warning(&Warning::ignored(&error));
    }
}
