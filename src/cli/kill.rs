//! `kill`: a signal to the first process, or to all of them.

use clap::{Arg, ArgMatches};
use coracle::Result;

use super::definition::{given_id, id, switch};
use super::signal::parse_signal;
use super::{Command, ExitCode, Globals, ID_ONLY, Positionals};

pub(crate) const COMMAND: Command = Command {
    name: "kill",
    about: "Send a signal to a container's first process",
    example: "coracle kill web KILL",
    positionals: Positionals::Between(1, 2),
    define,
    run,
    ..ID_ONLY
};

fn define(command: clap::Command) -> clap::Command {
    command.args([
        switch("all", "Send it to every process of the container").short('a'),
        id(),
        Arg::new("signal").value_name("SIGNAL").default_value("TERM").help("Name, with or without SIG, or number"),
    ])
}

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let signal = parse_signal(matches.get_one::<String>("signal").map_or("TERM", String::as_str))?;
    globals.container(given_id(matches))?.kill(signal, matches.get_flag("all"))?;
    Ok(ExitCode::SUCCESS)
}
