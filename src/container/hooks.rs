//! When hooks run and what their failure means (runtime.md#lifecycle). How one runs is `init::hooks`.

use crate::error::{Error, Result, Warning};
use crate::init::hooks::run;
use crate::plan::hooks::{Hook, Hooks};
use crate::state::{State, Status};

/// prestart and createRuntime: the namespaces exist, the root is not yet entered. A failure ends the creation.
pub(super) fn run_runtime(hooks: &Hooks, state: &State, pid: i32) -> Result<()> {
    let json = state.to_hook_json(Status::Creating, pid);
    hooks.prestart.iter().chain(&hooks.create_runtime).try_for_each(|hook| run_one(hook, &json))
}

/// poststart: the program runs. A failure stops the container.
pub(super) fn run_poststart(hooks: &Hooks, state: &State) -> Result<()> {
    let json = state.to_hook_json(Status::Running, state.pid);
    hooks.poststart.iter().try_for_each(|hook| run_one(hook, &json))
}

/// poststop: the container is gone. Every hook runs; failures are warnings.
pub(super) fn run_poststop(hooks: &Hooks, state: &State, on_warning: fn(&Warning)) {
    if hooks.poststop.is_empty() {
        return;
    }
    let json = state.to_hook_json(Status::Stopped, 0);
    for error in hooks.poststop.iter().filter_map(|hook| run_one(hook, &json).err()) {
        on_warning(&Warning::ignored(&error));
    }
}

fn run_one(hook: &Hook, json: &[u8]) -> Result<(), Error> {
    run(hook, json)
}
