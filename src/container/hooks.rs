//! When hooks run and what their failure means (runtime.md#lifecycle). How one runs is `init::hooks`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Result, Warning};
use crate::init::hooks::{HookOptions, run, run_all};
use crate::plan::hooks::Hooks;
use crate::state::{State, Status};

/// What the annotations of a container say about its hooks.
pub(super) fn options(annotations: &BTreeMap<String, String>) -> HookOptions<'static> {
    let path = |key: &str| annotations.get(key).map(PathBuf::from);
    HookOptions { directory: None, stdout: path("run.oci.hooks.stdout"), stderr: path("run.oci.hooks.stderr") }
}

/// prestart and createRuntime: the namespaces exist, the root is not yet entered. A failure ends the creation.
pub(super) fn run_runtime(hooks: &Hooks, state: &State, pid: i32, options: &HookOptions<'_>) -> Result<()> {
    let json = state.to_hook_json(Status::Creating, pid);
    run_all(&hooks.prestart, &json, options)?;
    run_all(&hooks.create_runtime, &json, options)
}

/// poststart: the program runs. A failure stops the container.
pub(super) fn run_poststart(hooks: &Hooks, state: &State) -> Result<()> {
    run_all(&hooks.poststart, &state.to_hook_json(Status::Running, state.pid), &options(&state.annotations))
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
