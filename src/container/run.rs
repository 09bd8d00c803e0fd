//! `run`: create, start, wait and delete in one.

use super::create::{self, Created};
use super::front::Front;
use super::{CreateOptions, RunOptions, Runtime, start};
use crate::bundle::Bundle;
use crate::error::{Context as _, Kind, Result, Warning};

/// Runs the container to its end, or with `detach` to its start.
pub(super) fn run(
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<i32> {
    if run.detach {
        let Created { container, .. } = create::create(runtime, id, bundle, options, None)?;
        return discard_on_failure(runtime, id, container.start()).map(|()| 0);
    }
    if !run.no_subreaper {
        nix::sys::prctl::set_child_subreaper(true).context(|| "prctl PR_SET_CHILD_SUBREAPER")?;
    }
    let front = Front::new()?;
    let Created { container, child } = create::create(runtime, id, bundle, options, Some(front.console()?))?;
    let terminal = options.console_socket.is_none() && bundle.config().process.as_ref().is_some_and(|it| it.terminal);
    let finished = terminal.then(|| front.relay()).transpose().and_then(|relay| {
        let listener = start::listen(&container)?;
        start::open(&container)?;
        front.wait(&child, relay, !run.no_subreaper, listener.as_ref())
    });
    let code = discard_on_failure(runtime, id, finished)?;
    if !run.keep {
        container.delete(true)?;
    }
    Ok(code)
}

/// What a failed start left is of no use to anybody.
fn discard_on_failure<T>(runtime: &Runtime, id: &str, result: Result<T>) -> Result<T> {
    if result.is_err() {
        match runtime.container(id).and_then(|container| container.delete(true)) {
            Err(error) if error.kind() != Kind::NotFound => (runtime.on_warning)(&Warning::ignored(&error)),
            _ => {}
        }
    }
    result
}
