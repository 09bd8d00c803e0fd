//! `run`: create, start, wait and delete in one.

use super::create::{self, Created, Next};
use super::front::Front;
use super::{Container, CreateOptions, RunOptions, Runtime, delete, start};
use crate::bundle::Bundle;
use crate::error::{Context as _, Kind, Result, Warning};
use crate::sys::fd::Descriptors;
use crate::timings;

/// Runs the container to its end, or with `detach` to its start.
pub(super) fn run(
    runtime: &Runtime,
    id: &str,
    bundle: Bundle,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<i32> {
    if run.detach {
        let created = create::create(runtime, id, bundle, options, Next::Start(None))?;
        return discard_on_failure(&created.container, start::start_created(&created)).map(|()| 0);
    }
    if !run.no_subreaper {
        nix::sys::prctl::set_child_subreaper(true).context(|| "prctl PR_SET_CHILD_SUBREAPER")?;
    }
    let mut front = Front::new()?;
    let terminal = options.console_socket.is_none() && bundle.config().process.as_ref().is_some_and(|it| it.terminal);
    let created = create::create(runtime, id, bundle, options, Next::Start(Some(&mut front)))?;
    let code = discard_on_failure(&created.container, wait(&created, &front, terminal, run))?;
    if !run.keep {
        match delete::delete_ended(&created) {
            // Somebody else has done it, and perhaps ended the program for that: how it ended is known all the same.
            Err(error) if error.kind() == Kind::NotFound => {}
            deleted => deleted?,
        }
        timings::mark("deleted");
    }
    drop(Descriptors::from_iter(created.into_open().chain(front.into_open())));
    Ok(code)
}

/// Starts what was created, and waits for its end.
fn wait(created: &Created, front: &Front, terminal: bool, run: &RunOptions) -> Result<i32> {
    // Nobody else starts or deletes what this process is about to start.
    let lock = created.container.directory.locked();
    let relay = terminal.then(|| front.relay()).transpose()?;
    let listener = start::listen(&created.container)?;
    start::open_line(created)?;
    drop(lock);
    let code = front.wait(&created.child, relay, !run.no_subreaper, listener.as_ref());
    timings::mark("program ended");
    code
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
