//! `run`: create, start, wait and delete in one.

use super::create::{self, Created};
use super::front::Front;
use super::{Container, CreateOptions, RunOptions, Runtime, delete, start};
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
        let Created { container, record, .. } = create::create(runtime, id, bundle, options, None)?;
        let lock = container.directory.locked();
        return discard_on_failure(&container, start::start_created(&container, &record, lock)).map(|()| 0);
    }
    if !run.no_subreaper {
        nix::sys::prctl::set_child_subreaper(true).context(|| "prctl PR_SET_CHILD_SUBREAPER")?;
    }
    let mut front = Front::new()?;
    let Created { container, child, record } = create::create(runtime, id, bundle, options, Some(&mut front))?;
    // Nobody else starts or deletes what this process is about to start.
    let lock = container.directory.locked();
    let terminal = options.console_socket.is_none() && bundle.config().process.as_ref().is_some_and(|it| it.terminal);
    let finished = terminal.then(|| front.relay()).transpose().and_then(|relay| {
        let listener = start::listen(&container)?;
        start::open_created(&container, &record)?;
        drop(lock);
        front.wait(&child, relay, !run.no_subreaper, listener.as_ref())
    });
    let code = discard_on_failure(&container, finished)?;
    if !run.keep {
        container.delete(true)?;
    }
    Ok(code)
}

/// What a failed start left is of no use to anybody.
fn discard_on_failure<T>(container: &Container, result: Result<T>) -> Result<T> {
    if result.is_err() {
        match delete::delete(container, true) {
            Err(error) if error.kind() != Kind::NotFound => (container.runtime.on_warning)(&Warning::ignored(&error)),
            _ => {}
        }
    }
    result
}
