//! `delete`: removes what is left of a container.

use clap::ArgMatches;
use coracle::{Kind, Result};

use super::definition::{given_id, id, switch};
use super::{Command, ExitCode, Globals, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "delete",
    about: "Remove a stopped container",
    example: "coracle delete web",
    define: |command| command.args([switch("force", "Kill it first if it still runs").short('f'), id()]),
    run,
    ..ID_ONLY
};

/// With `--force` nothing to remove is what was wanted: engines clean up without knowing how far they came.
fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let force = matches.get_flag("force");
    match globals.container(given_id(matches)).and_then(|container| container.delete(force)) {
        Err(error) if force && error.kind() == Kind::NotFound => Ok(ExitCode::SUCCESS),
        deleted => deleted.map(|()| ExitCode::SUCCESS),
    }
}
