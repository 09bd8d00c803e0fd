//! `run`: create, start, wait and delete in one.

use clap::ArgMatches;
use coracle::{Result, RunOptions};

use super::definition::{given_id, id, switch};
use super::{Command, ExitCode, Globals, ID_ONLY, create, exit_code};

pub(crate) const COMMAND: Command = Command {
    name: "run",
    about: "Create a container, start it, wait for its end and delete it",
    example: "coracle run --bundle /srv/web web",
    enters_container: true,
    define,
    run,
    ..ID_ONLY
};

fn define(command: clap::Command) -> clap::Command {
    create::define(command).args([
        switch("detach", "Return once the program runs").short('d'),
        switch("keep", "Keep the container after its end"),
        switch("no-subreaper", "Do not become the reaper of the container's orphans"),
        id(),
    ])
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let options = RunOptions {
        detach: matches.get_flag("detach"),
        keep: matches.get_flag("keep"),
        no_subreaper: matches.get_flag("no-subreaper"),
    };
    let bundle = create::bundle(matches)?;
    let runtime = globals.runtime()?;
    runtime.run(given_id(matches), bundle, &create::options(matches), &options).map(exit_code)
}
