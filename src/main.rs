//! The command line program: seal if needed, parse, dispatch, exit code. It uses only the public API of the library.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "the entry is that of the tests"))]

mod cli;
#[path = "sys/heap.rs"]
mod heap;
mod log;
#[path = "sys/start.rs"]
mod start;

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use cli::{ExitCode, Failure, Globals, Request};
use start::Arguments;

/// Tests have threads.
#[cfg(not(test))]
#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

/// What is executed: the exit code.
fn program(arguments: Arguments) -> ExitCode {
    let words = || arguments.iter().skip(1).map(word);
    // It may start the program again, which then need not have parsed anything before. Whether the word is the command is
    // not known yet; a failure is told where it is, once there is a log.
    if words().any(cli::may_enter_container) {
        let _ = coracle::seal_with(arguments.iter());
    }
    run(arguments).unwrap_or_else(|failure| {
        log::error(&failure.error);
        failure.exit_code()
    })
}

fn word(word: &'static CStr) -> &'static OsStr {
    OsStr::from_bytes(word.to_bytes())
}

/// The whole of one invocation.
fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    start::prepare().map_err(|errno| coracle::Error::sys(errno, "open the standard streams"))?;
    let words = arguments.iter().skip(1).map(|argument| word(argument).to_owned());
    let (globals, words) = match cli::parse_globals(words)? {
        Request::Command(globals, words) => (globals, words),
        Request::Help(topic) => return Ok(cli::help::print(topic.as_deref())?),
        Request::Version => return Ok(cli::version::print()?),
    };
    globals.open_log()?;
    globals.open_timings()?;
    dispatch(&globals, words, arguments)
}

/// Finds the command, the first of `words`, and runs it.
fn dispatch(globals: &Globals, mut words: Vec<OsString>, arguments: Arguments) -> Result<ExitCode, Failure> {
    let command = cli::find(&words.remove(0))?;
    if command.enters_container {
        // So that no process of ours inside a container can overwrite our executable. Nothing is done if it is sealed.
        coracle::seal_with(arguments.iter())?;
    }
    let Some(matches) = command.parse(words)? else {
        return Ok(cli::help::print_command(command)?);
    };
    log::debug(|| format!("{} with state in {:?}", command.name, globals));
    (command.run)(globals, &matches).map_err(|error| command.failure(error))
}
