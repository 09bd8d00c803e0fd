//! `state`: what a container is and does (runtime.md#state).

use super::definition::given_id;
use super::output::print_json_indented;
use super::{Command, ExitCode, Group, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "state",
    about: "Print the state of a container as JSON",
    example: "coracle state web",
    group: Group::Look,
    run: |globals, matches| {
        print_json_indented(&globals.container(given_id(matches))?.state()?)?;
        Ok(ExitCode::SUCCESS)
    },
    ..ID_ONLY
};
