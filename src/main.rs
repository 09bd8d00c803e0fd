//! The command line program: parse, seal if needed, dispatch, exit code. It uses only the public API of the library.
#![forbid(unsafe_code)]

mod cli;
mod log;

use std::ffi::OsString;
use std::process::ExitCode;

use cli::{Failure, Globals, Request};
use dlmalloc::GlobalDlmalloc;

/// musl's gives each size a page of its own and asks the kernel for each: a hundred calls a start, and more memory in
/// every waiting init.
#[global_allocator]
static ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

fn main() -> ExitCode {
    run(std::env::args_os().skip(1)).unwrap_or_else(|failure| {
        log::error(&failure.error);
        failure.exit_code()
    })
}

/// The whole of one invocation.
fn run(words: impl Iterator<Item = OsString>) -> Result<ExitCode, Failure> {
    let (globals, words) = match cli::parse_globals(words)? {
        Request::Command(globals, words) => (globals, words),
        Request::Help(topic) => return Ok(cli::help::print(topic.as_deref())?),
        Request::Version => return Ok(cli::version::print()?),
    };
    globals.open_log()?;
    globals.open_timings()?;
    dispatch(&globals, words)
}

/// Finds the command, the first of `words`, and runs it.
fn dispatch(globals: &Globals, mut words: Vec<OsString>) -> Result<ExitCode, Failure> {
    let command = cli::find(&words.remove(0))?;
    if command.enters_container {
        // Sealing happens here: before anything else is done, because it may start the program again.
        seal()?;
    }
    let Some(matches) = command.parse(words)? else {
        return Ok(cli::help::print_command(command)?);
    };
    log::debug(|| format!("{} with state in {:?}", command.name, globals));
    (command.run)(globals, &matches).map_err(|error| command.failure(error))
}

/// Makes sure that a process of ours inside a container cannot overwrite our executable.
fn seal() -> coracle::Result<()> {
    coracle::seal()
}
